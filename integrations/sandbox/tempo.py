"""A stand-in for Tempo's REST API v4: worklogs, approvals of people's periods, the paper trail, and signed webhooks.

Seed: `{"worklogs": [..]}` in the vendor's shape, where an author and an issue may be plain ids and `account` stands for the work
attribute, and `"actions"`, played in order:

    {"do": "submit|approve|reject|reopen", "user": .., "day": .., "by": .., "at": ..}   the period of that day
    {"do": "edit", "ids": [..], "changes": {..}, "at": ..}  {"do": "delete", "ids": [..], "at": ..}
    {"do": "log", "name": "log|trail", "row": {..}}         a row of a log as it is, however odd
    {"do": "fire", "event": "worklog.updated", "ids": [..], "times": 1, "secret": ..}   webhooks, or forged ones

Periods are weeks from Monday to Sunday. Settings: `tokens`, `rate` ([calls, seconds]), `paper_trail` (whether the token may read
it), `moves` (ids that are deleted between two pages of a list), `tries` (failed deliveries after which a subscription sleeps),
`periods_from` (the day before which there are no periods).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any
from urllib.parse import urlencode

from integrations.sandbox import outgoing
from integrations.sandbox.store import Store
from integrations.sandbox.vendor import Request, Response, Route, Vendor, Window

TOKEN = "tempo-sandbox-token"  # noqa: S105 - of the stand-in
LARGEST_PAGE, TRAIL_PAGE = 5000, 100
_STATES = {"submit": "IN_REVIEW", "approve": "APPROVED", "reject": "OPEN", "reopen": "OPEN"}
_ORDERS = {"ID": "tempoWorklogId", "START_DATE_TIME": "startDate", "UPDATED": "updatedAt"}


class TempoSandbox(Vendor):
    """One Tempo account."""

    name = "tempo"

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._defaults()

    def _defaults(self) -> None:
        self.tokens = {TOKEN}
        self.window = Window(5, 1.0)
        self.paper_trail = True
        self.moves: list[str] = []
        self.tries = 10
        self.periods_from = ""

    def routes(self) -> Sequence[Route]:
        """What the documents describe and a source needs."""
        return [
            Route("GET", "/4/worklogs", self._worklogs),
            Route("GET", "/4/worklogs/user/{user}", self._of_user),
            Route("GET", "/4/worklogs/{id}", self._worklog),
            Route("GET", "/4/periods", self._periods),
            Route("POST", "/4/timesheet-approvals/logs/search", self._log),
            Route("GET", "/4/timesheet-approvals/user/{user}", self._approval),
            Route("POST", "/4/papertrail/search", self._trail),
            Route("GET", "/4/webhooks/subscriptions", self._subscriptions),
            Route("POST", "/4/webhooks/subscriptions", self._subscribe),
            Route("PATCH", "/4/webhooks/subscriptions/{id}/refresh", self._refresh),
        ]

    def authenticate(self, request: Request) -> Response | None:
        """A bearer token; five calls a second."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or token not in self.tokens:
            page = "<html><body>Unauthorized</body></html>"
            return Response(401, page, {"Content-Type": "text/html"})
        return self.error(429, request) if self.window.refuses(token) is not None else None

    def error(self, status: int, request: Request) -> Response:
        """The documented ErrorBean."""
        words = {404: "Not found", 403: "Missing permission", 409: "Already exists", 429: "Too many requests"}
        return Response(status, {"errors": [{"message": words.get(status, f"Error {status}")}]})

    def _worklogs(self, request: Request) -> Response:
        query = request.query
        if "project" in query or int(query.get("limit", 50)) > LARGEST_PAGE:
            return self.error(400, request)
        items = [item for item in self.store.collection("worklogs").values() if self._matches(item, query)]
        order = _ORDERS[query.get("orderBy", "START_DATE_TIME")]
        items.sort(key=lambda item: (item[order], item["tempoWorklogId"]), reverse=True)
        return self._page(request, items)

    def _of_user(self, request: Request) -> Response:
        items = [
            item
            for item in self.store.collection("worklogs").values()
            if (item["author"] or {}).get("accountId") == request.params["user"] and self._matches(item, request.query)
        ]
        return self._page(request, items)

    def _matches(self, item: Mapping[str, Any], query: Mapping[str, str]) -> bool:
        """With `updatedFrom` nothing else narrows the list, as the vendor says."""
        if "updatedFrom" in query:
            return str(item["updatedAt"]) >= query["updatedFrom"]
        day = str(item["startDate"])
        return query.get("from", "") <= day <= query.get("to", "9999")

    def _page(self, request: Request, items: Sequence[Mapping[str, Any]]) -> Response:
        offset, limit = int(request.query.get("offset", 0)), int(request.query.get("limit", 50))
        shown = items[offset : offset + limit]
        meta: dict[str, Any] = {"count": len(shown), "limit": limit, "offset": offset}
        if offset + limit < len(items):
            own = {**request.query, "offset": offset + limit, "limit": limit}
            meta["next"] = f"{request.base}{request.path}?{urlencode(own)}"
            while self.moves and limit > 1:  # one row is no page of a list
                del self.store.collection("worklogs")[self.moves.pop()]
        return Response(body={"self": request.url, "metadata": meta, "results": shown})

    def _worklog(self, request: Request) -> Response:
        found = self.store.collection("worklogs").get(request.params["id"])
        return Response(body=found) if found is not None else self.error(404, request)

    def _periods(self, request: Request) -> Response:
        first, last = _monday(request.query["from"]), date.fromisoformat(request.query["to"])
        weeks = [first + timedelta(weeks=n) for n in range((last - first).days // 7 + 1)]
        periods = [_week(week) for week in weeks]
        return Response(body={"periods": [period for period in periods if period["from"] >= self.periods_from]})

    def _approval(self, request: Request) -> Response:
        return Response(body=self._approval_of(request.params["user"], request.query["from"]))

    def _approval_of(self, user: str, day: str) -> dict[str, Any]:
        period = _week(_monday(day))
        known = self.store.collection("approvals").get(f"{user}/{period['from']}")
        if known is not None:
            return known
        status = {"key": "OPEN", "comment": "", "actor": {"accountId": user}, "updatedAt": None}
        return {"period": period, "status": status, "user": {"accountId": user}, "reviewer": None}

    def _log(self, request: Request) -> Response:
        since = str(request.json()["updatedFrom"])
        oldest = (self.now() - timedelta(days=731)).strftime("%Y-%m-%d")
        if since < oldest:
            return Response(400, {"errors": [{"message": "updatedFrom reaches back more than two years"}]})
        rows = [row for row in self.store.collection("log").values() if _decided_at(row) >= since]
        return self._tokens_page(request, rows, int(request.query.get("limit", 50)))

    def _trail(self, request: Request) -> Response:
        if not self.paper_trail:
            return Response(403, "<html><body>Forbidden</body></html>", {"Content-Type": "text/html"})
        wanted = request.json()
        rows = [
            row
            for row in self.store.collection("trail").values()
            if "timestamp" not in row
            or (
                wanted["from"] <= row["timestamp"] <= wanted["to"]
                and row["entityType"] in wanted["entityType"]
                and row["action"] in wanted["action"]
            )
        ]
        return self._tokens_page(request, rows, min(int(request.query.get("limit", TRAIL_PAGE)), TRAIL_PAGE))

    def _tokens_page(self, request: Request, rows: Sequence[Any], limit: int) -> Response:
        start = int(request.query.get("nextPageToken") or 0)
        following = str(start + limit) if start + limit < len(rows) else None
        meta = {"limit": limit, "nextPageToken": following}
        return Response(body={"metadata": meta, "results": rows[start : start + limit]})

    def _subscriptions(self, request: Request) -> Response:
        hidden = [
            {name: value for name, value in item.items() if name not in ("sharedSecret", "failures")}
            for item in self.store.collection("subscriptions").values()
        ]
        return Response(body={"results": hidden})

    def _subscribe(self, request: Request) -> Response:
        """A subscription is active once its address read our random string back; its secret is shown this once."""
        given = request.json()
        known = self.store.collection("subscriptions").values()
        if any((item["url"], item["event"]) == (given["url"], given["event"]) for item in known):
            return self.error(409, request)
        if len(list(known)) >= 25:
            return self.error(400, request)
        key = str(self.store.next_id("subscription"))
        made = {"id": key, **given, "active": _shakes_hands(given["url"]), "failures": 0}
        made["sharedSecret"] = secrets.token_hex(64)
        self.store.collection("subscriptions")[key] = made
        return Response(body=made)

    def _refresh(self, request: Request) -> Response:
        found = self.store.collection("subscriptions").get(request.params["id"])
        if found is None:
            return self.error(404, request)
        active = _shakes_hands(found["url"])
        self.store.collection("subscriptions")[found["id"]] = {**found, "active": active, "failures": 0}
        return Response(body={"id": found["id"], "active": active})

    def seed(self, data: Mapping[str, Any]) -> None:
        """Take worklogs, then play the actions."""
        if unknown := set(data) - {"worklogs", "actions"}:
            raise ValueError(f"Tempo has no {min(unknown)!r}")
        for given in data.get("worklogs", ()):
            self._put(given)
        for action in data.get("actions", ()):
            self._act(**action)

    def _put(self, given: Mapping[str, Any]) -> None:
        now = self._stamp()
        seconds = given.get("timeSpentSeconds", 3600)
        record = {
            "billableSeconds": seconds, "startTime": "09:00:00", "description": "", "createdAt": now, "updatedAt": now,
            "timeSpentSeconds": seconds, "attributes": {"values": []}, **given,
        }  # fmt: skip
        if isinstance(record["author"], str):
            record["author"] = {"accountId": record["author"]}
        if not isinstance(record.get("issue"), Mapping):
            record["issue"] = {"id": record.get("issue", 10000)}
        if account := record.pop("account", None):
            record["attributes"] = {"values": [{"key": "_Account_", "value": account}]}
        self.store.collection("worklogs")[str(record["tempoWorklogId"])] = record

    def _act(self, do: str, **how: Any) -> None:
        at = str(how.get("at") or self._stamp())
        if do in _STATES:
            self._decide(_STATES[do], str(how["user"]), str(how["day"]), str(how.get("by") or "lead"), at)
        elif do == "edit":
            for key in map(str, how["ids"]):
                known = self.store.collection("worklogs")[key]
                self._put({**known, "updatedAt": at, **how["changes"]})
        elif do == "delete":
            for key in map(str, how["ids"]):
                del self.store.collection("worklogs")[key]
                row = {"entityType": "worklog", "entityId": key, "action": "Deleted", "timestamp": at, "changes": []}
                self.store.collection("trail")[f"{self.store.next_id('trail'):09}"] = row
        elif do == "log":
            self.store.collection(str(how["name"]))[f"{self.store.next_id(str(how['name'])):09}"] = dict(how["row"])
        elif do == "fire":
            for _ in range(int(how.get("times", 1))):
                self._fire(str(how["event"]), list(how["ids"]), str(how.get("secret") or ""))
        else:
            raise ValueError(f"Tempo has no action {do!r}")

    def _decide(self, state: str, user: str, day: str, by: str, at: str) -> None:
        known = self._approval_of(user, day)
        status = {"key": state, "comment": "", "actor": {"accountId": by}, "updatedAt": at}
        made = {**known, "status": status, "reviewer": {"accountId": by}}
        self.store.collection("approvals")[f"{user}/{known['period']['from']}"] = made
        self.store.collection("log")[f"{self.store.next_id('log'):09}"] = made

    def _fire(self, event: str, ids: Sequence[Any], secret: str) -> None:
        """Send a webhook to every active subscription of its event, signed; one that fails too often is put to sleep."""
        for key in list(self.store.collection("subscriptions")):
            for worklog in ids:
                subscription = self.store.collection("subscriptions")[key]
                if subscription["event"] != event or not subscription["active"]:
                    continue
                payload = self.store.collection("worklogs").get(str(worklog)) or {"tempoWorklogId": worklog}
                body = json.dumps({"eventId": secrets.token_hex(8), "eventType": event, "payload": payload})
                headers = signed(secret or subscription["sharedSecret"], body)
                status, _ = outgoing.call("POST", subscription["url"], body, headers)
                failures = subscription["failures"] + 1 if status >= 400 else 0
                after = {**subscription, "failures": failures, "active": failures < self.tries}
                self.store.collection("subscriptions")[key] = after

    def _stamp(self) -> str:
        return self.now().strftime("%Y-%m-%dT%H:%M:%SZ")

    def configure(self, settings: Mapping[str, Any]) -> None:
        """Take the settings named at the top of this module."""
        rest = dict(settings)
        if "tokens" in rest:
            self.tokens = set(map(str, rest.pop("tokens")))
        if "rate" in rest:
            calls, seconds = rest.pop("rate")
            self.window = Window(int(calls), float(seconds))
        if "moves" in rest:
            self.moves = list(map(str, rest.pop("moves")))
        self.paper_trail = bool(rest.pop("paper_trail", self.paper_trail))
        self.tries = int(rest.pop("tries", self.tries))
        self.periods_from = str(rest.pop("periods_from", self.periods_from))
        super().configure(rest)

    def reset(self) -> None:
        """Forget records and settings."""
        super().reset()
        self._defaults()

    def inspect(self) -> Mapping[str, Any]:
        """How many worklogs there are, the states of periods, and the subscriptions."""
        approvals = self.store.collection("approvals")
        return {
            "worklogs": len(self.store.collection("worklogs")),
            "approvals": {key: value["status"]["key"] for key, value in approvals.items()},
            "subscriptions": [dict(item) for item in self.store.collection("subscriptions").values()],
        }


def signed(secret: str, body: str, stamp: str = "1700000000000") -> dict[str, str]:
    """The headers of a delivery."""
    signature = hmac.new(secret.encode(), (body + stamp).encode(), hashlib.sha256).hexdigest()
    return {"Tempo-Timestamp": stamp, "Tempo-Signature": signature, "Tempo-Tenant-ID": "sandbox"}


def _shakes_hands(url: str) -> bool:
    word = secrets.token_hex(12)
    return outgoing.call("GET", f"{url}?{urlencode({'randomString': word})}") == (200, word)


def _monday(day: str) -> date:
    found = date.fromisoformat(day)
    return found - timedelta(days=found.weekday())


def _week(monday: date) -> dict[str, str]:
    return {"from": monday.isoformat(), "to": (monday + timedelta(days=6)).isoformat()}


def _decided_at(row: Mapping[str, Any]) -> str:
    """When the log says that something was decided; what does not say is in every reading."""
    status = row.get("status")
    return str(status.get("updatedAt")) if isinstance(status, Mapping) else "9999"
