"""The server's side: companies with their sets, pages by link, ETags, batches that roll back, and a project journal that posts.

Seed: `{"companies": [..]}` and, by the name of a set, a list of rows of the company `COMPANY` (`_SETS` and `_CUSTOM_SETS` below;
invoices with their `salesInvoiceLines`); `resources` (`number`, `baseUnitOfMeasure`, and `units`: how much of that one of another
is) and `workTypes` (`code`, `unitOfMeasureCode`), which no set shows; `"tax"`, the percentage of its sales tax; and
`"actions"`, played in order:

    {"do": "pay", "invoice": id, "amount": .., "moves_stamp": true}     {"do": "block", "set": "projects", "number": ..}
    {"do": "post", "invoice": id}   a draft, by its accountant
    {"do": "archive", "employee": number, "day": ..}   the time sheet of that week
    {"do": "notify", "set": "customers", "ids": [..], "change": "updated|collection", "state": ..}   to every subscription of it

Settings: `secrets` (client id → secret), `token_seconds`, `forget_tokens`, `posting_from`, `posting_to` (the allowed posting
dates), `requires_dimension`, `posting_gives_new_id`, `drafts_stay` (they cannot be deleted), `edits_meanwhile` (an accountant
changes a draft just before it is posted), `upgrade` (a text: the page waits for a data upgrade), `custom_page` (whether it is
installed), `backwards` (a batch is answered from its last member on), `subscribed_seconds` (until a subscription ends).
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from integrations.sandbox import entra, outgoing
from integrations.sandbox.businesscentral.errors import error, refusal
from integrations.sandbox.businesscentral.invoices import SalesInvoices
from integrations.sandbox.businesscentral.journal import PostingDates, ProjectJournal, Refused, on_the_wire
from integrations.sandbox.businesscentral.timesheets import TimeSheets
from integrations.sandbox.entra import Entra
from integrations.sandbox.odata import BadFilter, page, predicate
from integrations.sandbox.store import Store
from integrations.sandbox.vendor import Request, Response, Route, Vendor, Window

TENANT, ENVIRONMENT = "contoso.example", "Production"
COMPANY = "258bb9c0-0001-4000-8000-000000000001"
CLIENT_ID, CLIENT_SECRET = "bc-sandbox-client", "bc-sandbox-secret"
CUSTOM = ("tieout", "finance", "v1.0")
PAGE, BATCH, CONCURRENT = 20_000, 100, 100
SUBSCRIBED = 3 * 86_400.0  # seconds until a subscription ends
_API = f"/v2.0/{TENANT}/{ENVIRONMENT}/api"
_CUSTOM_SETS = (
    "projectTasks",
    "projectJournals",
    "projectJournalLines",
    "projectLedgerEntries",
    "customerPaymentEntries",
)
_SETS = (
    "customers", "projects", "employees", "dimensions", "dimensionValues", "accountingPeriods", "salesInvoices",
    "salesCreditMemos",
)  # fmt: skip
_UNSHOWN = ("resources", "workTypes")
_NESTED = {
    "salesInvoices": "salesInvoiceLines",
    "salesCreditMemos": "salesCreditMemoLines",
    "customerPaymentEntries": "applications",
}
_BATCHED = ("projectJournalLines", "salesInvoices")  # sets that a batch may write


class BusinessCentralSandbox(Vendor):
    """One environment of one tenant."""

    name = "businesscentral"

    def __init__(self, store: Store) -> None:
        self.entra = Entra(CLIENT_ID, CLIENT_SECRET)
        self.dates = PostingDates()
        self.journal = ProjectJournal(store, self._stamp, self.dates)
        self.invoices = SalesInvoices(store, self._stamp, self.dates)
        self.sheets = TimeSheets(store, self._stamp)
        super().__init__(store)
        self._defaults()

    def _defaults(self) -> None:
        self.entra.defaults()
        self.window = Window(6000, 300.0)
        self.upgrade = ""
        self.custom_page = True
        self.backwards = False
        self.subscribed_seconds = SUBSCRIBED
        self.dates.defaults()
        self.journal.requires_dimension = False
        self.invoices.defaults()

    def routes(self) -> Sequence[Route]:
        """What the documents describe and a connection needs."""
        custom = f"{_API}/{'/'.join(CUSTOM)}"
        company = f"companies({COMPANY})"
        return [
            Route("POST", f"/{TENANT}{entra.TOKEN_PATH}", self.entra.token),
            Route("GET", f"{_API}/v2.0/companies", self._companies),
            Route("GET", f"{_API}/v2.0/subscriptions", self._subscriptions),
            Route("POST", f"{_API}/v2.0/subscriptions", self._subscribe),
            Route("PATCH", f"{_API}/v2.0/subscriptions('{{id}}')", self._renew),
            Route("GET", f"{_API}/v2.0/{company}/dimensions({{dimension}})/dimensionValues", self._values),
            *(Route("GET", f"{_API}/v2.0/{company}/{name}", self._list) for name in _SETS),
            *(Route("GET", f"{_API}/v2.0/{company}/{name}({{id}})", self._one) for name in _SETS),
            *(Route("GET", f"{custom}/{company}/{name}", self._list) for name in _CUSTOM_SETS),
            *(Route("GET", f"{custom}/{company}/{name}({{id}})", self._one) for name in _CUSTOM_SETS),
            Route("GET", f"{_API}/v2.0/{company}/timeRegistrationEntries", self._list_sheets),
            Route("POST", f"{_API}/v2.0/{company}/timeRegistrationEntries", self._register),
            Route("POST", f"{custom}/$batch", self._batch),
            Route("POST", f"{_API}/v2.0/$batch", self._batch),
            Route("POST", f"{_API}/v2.0/{company}/salesInvoices({{id}})/Microsoft.NAV.post", self._post_invoice),
            Route("DELETE", f"{_API}/v2.0/{company}/salesInvoices({{id}})", self._delete_invoice),
            Route("POST", f"{custom}/{company}/projectJournalLines", self._write_line),
            Route("DELETE", f"{custom}/{company}/projectJournalLines({{id}})", self._delete_line),
            Route("POST", f"{custom}/{company}/projectJournals({{id}})/Microsoft.NAV.post", self._post),
        ]

    def authenticate(self, request: Request) -> Response | None:
        """A token of Entra's; then the speed limit, the upgrade, and whether the custom page is there."""
        if entra.asks(request):
            return None
        if not self.entra.admits(request):
            return error(401, "Authentication_InvalidCredentials", "The server has rejected the client credentials.")
        if self.window.refuses("app") is not None:
            return self.error(429, request)
        if self.upgrade:
            return error(400, "BadRequest", f"You must run the data upgrade for this API page. {self.upgrade}")
        if not self.custom_page and f"/api/{CUSTOM[0]}/" in request.path:
            return error(404, "BadRequest_ResourceNotFound", f"No HTTP resource was found that matches {request.path}.")
        return None

    def error(self, status: int, request: Request) -> Response:
        """The documented error body."""
        del request
        return refusal(status)

    def limit(self, in_flight: int, request: Request) -> Response | None:
        """More connections than there are places in the queue are refused."""
        return self.error(429, request) if in_flight > CONCURRENT else None

    def _companies(self, request: Request) -> Response:
        del request
        return Response(body={"value": list(self.store.collection("companies").values())})

    def _list(self, request: Request) -> Response:
        name = request.path.rsplit("/", 1)[1]
        return self._page(request, name, list(self.store.collection(name).values()))

    def _values(self, request: Request) -> Response:
        rows = [
            row
            for row in self.store.collection("dimensionValues").values()
            if row["dimensionId"] == request.params["dimension"]
        ]
        return self._page(request, "dimensionValues", rows)

    def _page(self, request: Request, name: str, rows: list[dict[str, Any]]) -> Response:
        """One page, by the server's own link to the next, and never more than the caller prefers."""
        try:
            holds = predicate(request.query.get("$filter", ""))
            chosen = [row for row in rows if holds(row)]
        except BadFilter as bad:
            return error(400, "BadRequest", str(bad))
        return page(request, chosen, PAGE, lambda row: self._shown(name, row, request.query))

    def _shown(self, name: str, row: Mapping[str, Any], query: Mapping[str, str]) -> dict[str, Any]:
        shown = on_the_wire(row)
        nested = _NESTED.get(name)
        if nested and query.get("$expand") != nested:
            shown.pop(nested, None)
        return {"@odata.etag": f'W/"{_etag(row)}"', **shown}

    def _one(self, request: Request) -> Response:
        name = request.path.rsplit("/", 1)[1].partition("(")[0]
        found = next((row for row in self.store.collection(name).values() if row["id"] == request.params["id"]), None)
        if found is None:
            return error(404, "Internal_RecordNotFound", "The record was not found.")
        return Response(body=self._shown(name, found, request.query))

    def _batch(self, request: Request) -> Response:
        """Several requests, all or none. A failing one rolls back the others, which keep their 201 in the answer."""
        members = request.json()["requests"]
        if len(members) > BATCH:
            return error(500, "Unknown", f"The maximum number of '{BATCH}' query operations was exceeded.")
        sets = {name: self.store.collection(name) for name in _BATCHED}
        before = {name: dict(rows) for name, rows in sets.items()}
        answers: list[dict[str, Any]] = []
        for number, member in enumerate(members):
            status, body = self._member(member)
            answers.append({"id": member.get("id"), "status": status, "headers": {}, "body": body})
            if status >= 300:
                for name, rows in sets.items():
                    for key in set(rows) - set(before[name]):
                        del rows[key]
                    for key, row in before[name].items():
                        rows[key] = row
                answers = answers[-1:] if number == 0 else answers
                break
        return Response(body={"responses": answers[::-1] if self.backwards else answers})

    def _member(self, member: Mapping[str, Any]) -> tuple[int, Any]:
        if member["method"] == "DELETE":
            key = str(member["url"]).rpartition("(")[2].rstrip(")")
            found = self.store.collection("projectJournalLines").pop(key, None)
            return (204, None) if found else (404, error(404, "Internal_RecordNotFound", "It was not found.").body)
        writes = self.invoices.create if "/salesInvoices" in member["url"] else self.journal.write
        try:
            made = writes(member["body"])
            return 201, {"@odata.etag": f'W/"{_etag(made)}"', **on_the_wire(made)}
        except Refused as refused:
            return refused.status, error(refused.status, refused.code, str(refused)).body

    def _post_invoice(self, request: Request) -> Response:
        return _done(lambda: self.invoices.post(request.params["id"]))

    def _delete_invoice(self, request: Request) -> Response:
        row, match = (
            self.store.collection("salesInvoices").get(request.params["id"]),
            request.headers.get("If-Match", "*"),
        )
        if row is not None and match not in ("*", f'W/"{_etag(row)}"'):
            return error(409, "Request_EntityChanged", "Another user has already changed the record.")
        return _done(lambda: self.invoices.delete(request.params["id"]))

    def _list_sheets(self, request: Request) -> Response:
        try:
            self.sheets.check(request.query.get("$filter", ""))
        except Refused as refused:
            return error(refused.status, refused.code, str(refused))
        return self._list(request)

    def _register(self, request: Request) -> Response:
        try:
            return Response(201, self.sheets.write(request.json()))
        except Refused as refused:
            return error(refused.status, refused.code, str(refused))

    def _write_line(self, request: Request) -> Response:
        try:
            return Response(201, on_the_wire(self.journal.write(request.json())))
        except Refused as refused:
            return error(refused.status, refused.code, str(refused))

    def _delete_line(self, request: Request) -> Response:
        found = self.store.collection("projectJournalLines").pop(request.params["id"], None)
        return Response(204) if found else error(404, "Internal_RecordNotFound", "The record was not found.")

    def _post(self, request: Request) -> Response:
        return _done(lambda: self.journal.post(request.params["id"]))

    def _subscriptions(self, request: Request) -> Response:
        del request
        rows = [
            {**{k: v for k, v in row.items() if k != "clientState"}, "@odata.etag": f'W/"{_etag(row)}"'}
            for row in self._alive()
        ]
        return Response(body={"value": rows})

    def _alive(self) -> list[dict[str, Any]]:
        """The subscriptions that have not ended, which is three days after they were made or renewed."""
        now = self._stamp()
        return [row for row in self.store.collection("subscriptions").values() if row["expirationDateTime"] > now]

    def _ends(self) -> str:
        return _stamp(self.now() + timedelta(seconds=self.subscribed_seconds))

    def _subscribe(self, request: Request) -> Response:
        given = request.json()
        if not _shakes_hands(given["notificationUrl"]):
            return error(
                400, "Application_DialogException", "The notification URL did not return the validation token."
            )
        key = secrets.token_hex(16)
        made = {"subscriptionId": key, **given, "expirationDateTime": self._ends(), "renewals": 0}
        self.store.collection("subscriptions")[key] = made
        return Response(201, made)

    def _renew(self, request: Request) -> Response:
        row = next((one for one in self._alive() if one["subscriptionId"] == request.params["id"]), None)
        if row is None:
            return error(404, "Internal_RecordNotFound", "The subscription was not found.")
        match = request.headers.get("If-Match", "")
        if match not in ("*", f'W/"{_etag(row)}"'):
            code = "Request_EntityChanged" if match else "BadRequest_InvalidToken"
            return error(409 if match else 400, code, "Another user has already changed the record.")
        if not _shakes_hands(row["notificationUrl"]):
            return error(
                400, "Application_DialogException", "The notification URL did not return the validation token."
            )
        self.store.collection("subscriptions")[row["subscriptionId"]] = {
            **row, **request.json(), "expirationDateTime": self._ends(), "renewals": row["renewals"] + 1,
        }  # fmt: skip
        return Response(200, row)

    def seed(self, data: Mapping[str, Any]) -> None:
        """Take rows by set, then play the actions."""
        known = {"companies", "actions", "tax", "timeRegistrationEntries", *_UNSHOWN, *_SETS, *_CUSTOM_SETS}
        if unknown := set(data) - known:
            raise ValueError(f"Business Central has no {min(unknown)!r}")
        for name in known - {"actions", "tax"}:
            for given in data.get(name, ()):
                row = {"lastModifiedDateTime": self._stamp(), **given}
                self.store.collection(name)[str(row["id"])] = row
        if "tax" in data:
            self.store.collection("company")["tax"] = {"percent": float(data["tax"])}
        for action in data.get("actions", ()):
            self._act(**action)

    def _act(self, do: str, **how: Any) -> None:
        if do == "pay":
            self._pay(str(how["invoice"]), float(how["amount"]), moves_stamp=bool(how.get("moves_stamp", True)))
        elif do == "block":
            rows = self.store.collection(str(how["set"]))
            key, row = next((key, row) for key, row in rows.items() if row["number"] == how["number"])
            rows[key] = {**row, "blocked": "All", "lastModifiedDateTime": self._stamp()}
        elif do == "post":
            self.invoices.post(str(how["invoice"]))
        elif do == "archive":
            self.sheets.archive(str(how["employee"]), str(how["day"]))
        elif do == "notify":
            self._notify(str(how["set"]), list(how.get("ids", ())), str(how.get("change", "updated")), how.get("state"))
        else:
            raise ValueError(f"Business Central has no action {do!r}")

    def _pay(self, invoice: str, amount: float, *, moves_stamp: bool) -> None:
        row = self.store.collection("salesInvoices")[invoice]
        left = round(row["remainingAmount"] - amount, 2)
        stamp = self._stamp() if moves_stamp else row["lastModifiedDateTime"]
        status = "Paid" if left == 0 else "Open"
        paid = {**row, "remainingAmount": left, "status": status, "lastModifiedDateTime": stamp}
        self.store.collection("salesInvoices")[invoice] = paid

    def _notify(self, name: str, ids: Sequence[str], change: str, state: Any) -> None:
        for row in self._alive():
            if not str(row["resource"]).endswith(f"/{name}"):
                continue
            value = [
                {
                    "subscriptionId": row["subscriptionId"],
                    "clientState": row["clientState"] if state is None else state,
                    "resource": f"https://host{row['resource']}({key})" if key else f"https://host{row['resource']}",
                    "changeType": change,
                    "lastModifiedDateTime": self._stamp(),
                }
                for key in (ids or [""])
            ]
            status, _ = outgoing.post(row["notificationUrl"], {"value": value})
            self.store.collection("notified")[f"{self.store.next_id('notified'):06}"] = {"status": status}

    def _stamp(self) -> str:
        return _stamp(self.now())

    def configure(self, settings: Mapping[str, Any]) -> None:
        """Take the settings named at the top of this module."""
        rest = dict(settings)
        self.entra.configure(rest)
        self.upgrade = str(rest.pop("upgrade", self.upgrade))
        self.custom_page = bool(rest.pop("custom_page", self.custom_page))
        self.subscribed_seconds = float(rest.pop("subscribed_seconds", self.subscribed_seconds))
        self.backwards = bool(rest.pop("backwards", self.backwards))
        if "rate" in rest:
            calls, seconds = rest.pop("rate")
            self.window = Window(int(calls), float(seconds))
        self.dates.configure(rest)
        self.invoices.configure(rest)
        self.journal.configure(rest)
        super().configure(rest)

    def reset(self) -> None:
        """Forget records and settings."""
        super().reset()
        self._defaults()

    def inspect(self) -> Mapping[str, Any]:
        """Entries and lines by our key, the subscriptions, and how notifications were answered."""
        return {
            "entries_by_key": self.journal.by_key("projectLedgerEntries"),
            "lines_by_key": self.journal.by_key("projectJournalLines"),
            "entries": [dict(row) for row in self.store.collection("projectLedgerEntries").values()],
            "time_entries": [dict(row) for row in self.store.collection("timeRegistrationEntries").values()],
            "sales_invoices": [dict(row) for row in self.store.collection("salesInvoices").values()],
            "subscriptions": [dict(row) for row in self.store.collection("subscriptions").values()],
            "notified": [row["status"] for row in self.store.collection("notified").values()],
        }


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def _done(act: Callable[[], None]) -> Response:
    """The answer of an action that says nothing when it goes well."""
    try:
        act()
    except Refused as refused:
        return error(refused.status, refused.code, str(refused))
    return Response(204)


def _etag(row: Mapping[str, Any]) -> str:
    """A mark of everything that a row says: two changes in one millisecond are two."""
    said = json.dumps(row, sort_keys=True, default=str)
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def _shakes_hands(url: str) -> bool:
    word = secrets.token_hex(12)
    return outgoing.call("POST", f"{url}?{urlencode({'validationToken': word})}") == (200, word)
