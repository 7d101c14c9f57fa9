"""A stand-in for Salesforce's REST API: tokens on My Domain, SOQL over what was seeded, pages, limits, merges and deletions.

Upserts by collection and graph are in `salesforce_records.py`, events of the Streaming API in `salesforce_events.py`.

Seed: rows by object (`{"Account": [..], "Opportunity": [..], "User": [..], ..}`), `"jwt_keys"` (consumer key → public PEM),
`"objects"` (name → fields), `"channels"` and `"actions"`, played in order:

    {"do": "merge", "object": "Account", "loser": id, "survivor": id}
    {"do": "delete|edit", "object": .., "ids": [..], "changes": {..}}
    {"do": "flow", "url": .., "secret": .., "id": .., "records": [{"object": .., "id": ..}]}

Settings: `clients` (consumer key → secret), `forget_tokens`, `page` (rows in a page), `locators_end` (the next page is no
longer known), `daily` (calls left today), `concurrent` (calls at once), `refuse` (an errorCode with its status for every
query), `package` (whether our objects are installed), `locked` (external ids that cannot be written once), `readonly`
(external ids that our user may not write), `required` (fields by object).
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

import jwt
from jwt.types import Options

from integrations.sandbox import outgoing
from integrations.sandbox.salesforce_events import DELIVERIES, Events
from integrations.sandbox.salesforce_records import PACKAGE, Records, Refused
from integrations.sandbox.store import Store
from integrations.sandbox.vendor import Request, Response, Route, Vendor

CLIENT_ID, CLIENT_SECRET = "sf-sandbox-client", "sf-sandbox-secret"
DAILY = 15_000
CONCURRENT = 25
LONGEST_ASSERTION = 300  # seconds until a JWT may end
_JWT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_QUERY = re.compile(
    r"SELECT (?P<fields>.+?) FROM (?P<object>\w+)"
    r"(?: WHERE (?P<field>\w+) (?P<op>>=|=|IN) (?P<value>\([^)]*\)|\S+))?(?: ORDER BY (?P<order>.+?))?(?: LIMIT (?P<limit>\d+))?"
)
_WORDS = {
    401: ("INVALID_SESSION_ID", "Session expired or invalid"),
    403: ("INSUFFICIENT_ACCESS_OR_READONLY", "insufficient access rights on object id"),
    404: ("NOT_FOUND", "The requested resource does not exist"),
    429: ("REQUEST_LIMIT_EXCEEDED", "ConcurrentRequests (Concurrent API Requests) Limit exceeded."),
    503: ("SERVER_UNAVAILABLE", "Server is unavailable"),
}


class SalesforceSandbox(Vendor):
    """One org."""

    name = "salesforce"

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._tokens: set[str] = set()
        self._cursors: dict[str, list[dict[str, Any]]] = {}
        self.records = Records(store, self._stamp)
        self.events = Events(store, self._tokens)
        self._defaults()

    def _defaults(self) -> None:
        self.clients = {CLIENT_ID: CLIENT_SECRET}
        self.page = 2000
        self.locators_end = False
        self.daily = DAILY
        self.concurrent = CONCURRENT
        self.refuse: tuple[str, int] | None = None
        self.records.defaults()
        self.events.defaults()
        self._tokens.clear()
        self._cursors.clear()

    def routes(self) -> Sequence[Route]:
        """What the documents describe and we need."""
        root = "/services/data/v60.0"
        return [
            Route("POST", "/services/oauth2/token", self._token),
            Route("GET", f"{root}/limits", self._limits),
            Route("GET", f"{root}/query", self._query),
            Route("GET", f"{root}/queryAll", self._query),
            Route("GET", f"{root}/query/{{locator}}", self._more),
            Route("GET", f"{root}/sobjects/{{object}}/describe", self._describe),
            Route("PATCH", f"{root}/composite/sobjects/{{object}}/{{field}}", self._collection),
            Route("POST", f"{root}/composite/graph", self._graphs),
        ]

    def handle(self, request: Request) -> Response:
        """Answer one request, one at a time; a poll for events lets the others go on."""
        if request.path.startswith("/cometd"):
            return self.events.answer(request)
        return super().handle(request)

    def authenticate(self, request: Request) -> Response | None:
        """A token; then the day's limit."""
        if request.path.endswith("/oauth2/token"):
            return None
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or token not in self._tokens:
            return self.error(401, request)
        if self.daily <= 0:
            return errors(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")
        self.daily -= 1
        return None

    def limit(self, in_flight: int, request: Request) -> Response | None:
        """Too many calls at once are refused; asking for a token is not one of them."""
        if request.path.endswith("/oauth2/token") or in_flight <= self.concurrent:
            return None
        return self.error(429, request)

    def error(self, status: int, request: Request) -> Response:
        """The documented error body."""
        del request
        return errors(status, *_WORDS.get(status, ("UNKNOWN_EXCEPTION", "An unexpected error occurred.")))

    def _token(self, request: Request) -> Response:
        form = dict(parse_qsl(request.body.decode()))
        if form.get("grant_type") == "client_credentials":
            good = self.clients.get(form.get("client_id", "")) == form.get("client_secret")
        else:
            good = form.get("grant_type") == _JWT and self._is_signed(form.get("assertion", ""))
        if not good:
            return Response(400, {"error": "invalid_grant", "error_description": "authentication failure"})
        token = secrets.token_hex(24)
        self._tokens.add(token)
        return Response(body={"access_token": token, "instance_url": request.base, "token_type": "Bearer"})

    def _is_signed(self, assertion: str) -> bool:
        try:
            claims = jwt.decode(assertion, options={"verify_signature": False})
            key = self.store.collection("jwt_keys")[str(claims["iss"])]["public_key"]
            dated: Options = {"verify_exp": False, "require": ["exp"]}  # PyJWT knows no clock but ours
            jwt.decode(assertion, key, algorithms=["RS256"], audience="https://login.salesforce.com", options=dated)
        except (jwt.InvalidTokenError, KeyError):
            return False
        now = self.now().timestamp()
        return bool(now < claims["exp"] <= now + LONGEST_ASSERTION)

    def _limits(self, request: Request) -> Response:
        del request
        events = {"Max": DELIVERIES, "Remaining": self.events.left}
        calls = {"Max": DAILY, "max": DAILY, "remaining": self.daily}
        return Response(body={"DailyApiRequests": calls, "DailyDeliveredPlatformEvents": events})

    def _describe(self, request: Request) -> Response:
        """The fields of an object: those that it was made with, and those of its rows."""
        name = request.params["object"]
        rows = list(self.store.collection(name).values())
        known = {*self.records.fields(name), *(field for row in rows for field in row)}
        if not known:
            return errors(404, "NOT_FOUND", "The requested resource does not exist")
        return Response(body={"name": name, "fields": [{"name": field} for field in sorted({"Id", *known})]})

    def _query(self, request: Request) -> Response:
        if self.refuse is not None:
            return errors(self.refuse[1], self.refuse[0], "Refused for the test.")
        found = _QUERY.fullmatch(request.query.get("q", ""))
        if found is None:
            return errors(400, "MALFORMED_QUERY", "unexpected token")
        rows = [dict(row) for row in self.store.collection(found["object"]).values()]
        if not request.path.endswith("queryAll"):
            rows = [row for row in rows if not row.get("IsDeleted")]
        fields = [field.strip() for field in found["fields"].split(",")]
        known = {"Id", "IsDeleted", "SystemModstamp", *self.records.fields(found["object"])}
        if not rows and len(known) == 3 and found["object"] in PACKAGE:
            return errors(400, "INVALID_TYPE", f"sObject type '{found['object']}' is not supported.")
        there = known | set(rows[0]) if rows else known if len(known) > 3 else set()
        unknown = next((field for field in fields if there and field not in there), None)
        if unknown:
            return errors(400, "INVALID_FIELD", f"No such column '{unknown}' on entity '{found['object']}'.")
        rows = [row for row in rows if _holds(row, found["field"], found["op"], found["value"])]
        rows = rows[: int(found["limit"])] if found["limit"] else rows
        rows.sort(key=lambda row: tuple(str(row[name.strip()]) for name in (found["order"] or "Id").split(",")))
        shown = [{"attributes": {"type": found["object"]}, **{name: row[name] for name in fields}} for row in rows]
        return self._page(shown, len(shown))

    def _page(self, rows: list[dict[str, Any]], total: int) -> Response:
        body: dict[str, Any] = {"totalSize": total, "done": len(rows) <= self.page, "records": rows[: self.page]}
        if not body["done"]:
            locator = f"0r8{secrets.token_hex(6)}-{self.page}"
            self._cursors[locator] = [{"total": total}, *rows[self.page :]]
            body["nextRecordsUrl"] = f"/services/data/v60.0/query/{locator}"
        return self._counted(body)

    def _more(self, request: Request) -> Response:
        held = self._cursors.get(request.params["locator"])
        if held is None or self.locators_end:
            return errors(400, "INVALID_QUERY_LOCATOR", "invalid query locator")
        return self._page(held[1:], held[0]["total"])

    def _collection(self, request: Request) -> Response:
        try:
            return self._counted(self.records.collection(**_target(request), given=request.json()))
        except Refused as refused:
            return errors(refused.status, refused.error["statusCode"], str(refused))

    def _graphs(self, request: Request) -> Response:
        try:
            return self._counted(self.records.graphs(request.json()["graphs"]))
        except Refused as refused:
            return errors(refused.status, refused.error["statusCode"], str(refused))

    def _counted(self, body: Any) -> Response:
        return Response(body=body, headers={"Sforce-Limit-Info": f"api-usage={DAILY - self.daily}/{DAILY}"})

    def seed(self, data: Mapping[str, Any]) -> None:
        """Take rows by object, then play the actions."""
        for name, rows in data.items():
            if name == "jwt_keys":
                for key, pem in rows.items():
                    self.store.collection("jwt_keys")[key] = {"public_key": pem}
            elif name == "objects":
                for key, fields in rows.items():
                    self.store.collection("objects")[key] = {"fields": list(fields)}
            elif name == "channels":
                for channel in rows:
                    self.store.collection("channels")[channel] = {}
            elif name != "actions":
                for row in rows:
                    stamped = {"SystemModstamp": self._stamp(), "IsDeleted": False, **row}
                    self.store.collection(name)[str(row["Id"])] = stamped
        for action in data.get("actions", ()):
            self._act(**action)

    def _act(self, do: str, **how: Any) -> None:
        if do == "flow":
            said = {"id": how["id"], "records": how["records"]}
            status, _ = outgoing.call("POST", how["url"], json.dumps(said), {"X-Tieout-Secret": how["secret"]})
            self.store.collection("flows")[f"{self.store.next_id('flows'):06}"] = {"status": status}
            return
        if do == "event":
            self.events.publish(how["channel"], how["payload"])
            return
        rows = self.store.collection(str(how["object"]))
        if do == "merge":
            gone = {"IsDeleted": True, "MasterRecordId": how["survivor"], "SystemModstamp": self._stamp()}
            rows[how["loser"]] = {**rows[how["loser"]], **gone}
            self.events.changed(how["object"], [how["loser"]], "DELETE")
        elif do in ("delete", "edit"):
            changes = {"IsDeleted": True} if do == "delete" else how["changes"]
            for key in how["ids"]:
                rows[key] = {**rows[key], "SystemModstamp": self._stamp(), **changes}
            self.events.changed(how["object"], how["ids"], "DELETE" if do == "delete" else "UPDATE")
        else:
            raise ValueError(f"Salesforce has no action {do!r}")

    def _stamp(self) -> str:
        return self.now().strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "+0000"

    def configure(self, settings: Mapping[str, Any]) -> None:
        """Take the settings named at the top of this module."""
        rest = dict(settings)
        self.clients = dict(rest.pop("clients", self.clients))
        self.page = int(rest.pop("page", self.page))
        self.locators_end = bool(rest.pop("locators_end", self.locators_end))
        self.daily = int(rest.pop("daily", self.daily))
        self.concurrent = int(rest.pop("concurrent", self.concurrent))
        if "refuse" in rest:
            given = rest.pop("refuse")
            self.refuse = (str(given[0]), int(given[1])) if given else None
        self.records.package = bool(rest.pop("package", self.records.package))
        self.records.readonly = list(rest.pop("readonly", self.records.readonly))
        self.records.locked = list(rest.pop("locked", self.records.locked))
        self.records.required = dict(rest.pop("required", self.records.required))
        self.events.configure(rest)
        if rest.pop("forget_tokens", False):
            self._tokens.clear()
        super().configure(rest)

    def inspect(self) -> Mapping[str, Any]:
        """What was told of bills and payments, the calls left today, and how flows were answered."""
        told = {name: list(self.store.collection(name).values()) for name in PACKAGE}
        return {
            **told,
            "daily": self.daily,
            "flows": [row["status"] for row in self.store.collection("flows").values()],
        }

    def reset(self) -> None:
        """Forget records and settings."""
        super().reset()
        self._defaults()


def _target(request: Request) -> dict[str, str]:
    return {"name": request.params["object"], "field": request.params["field"]}


def errors(status: int, code: str, message: str) -> Response:
    """Salesforce's list of errors."""
    return Response(status, [{"message": message, "errorCode": code}])


def _holds(row: Mapping[str, Any], field: str | None, op: str | None, value: str | None) -> bool:
    if field is None:
        return True
    if op == "IN":
        return str(row.get(field)) in re.findall(r"'([^']*)'", str(value))
    held, wanted = str(row.get(field)).replace("+0000", "Z"), str(value).strip("'")
    return held == wanted if op == "=" else held >= wanted
