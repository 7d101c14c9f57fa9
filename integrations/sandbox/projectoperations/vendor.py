"""The server's side: tables by link, records made under chosen ids, batches, service protection, and approval in two steps.

Seed: by the name of a table, a list of its rows (`_TABLES` below), and `"actions"`, played in order:

    {"do": "approve"}                         approvers approve everything that is submitted; {"do": "submit"} what are drafts
    {"do": "make_actuals"}                    the background job makes actuals and their origins of what is approved
    {"do": "journalize"}                      Finance journalizes every actual
    {"do": "status", "table": .., "id": .., "value": ..}     somebody sets the status of a record, e.g. returns it
    {"do": "change", "table": .., "id": .., "fields": {..}}

Settings: `secrets` (client id → secret), `token_seconds`, `forget_tokens`, `rate` ([calls, seconds]), `concurrent` (calls).
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from integrations.sandbox import entra
from integrations.sandbox.entra import Entra
from integrations.sandbox.odata import BadFilter, batched, page, predicate
from integrations.sandbox.projectoperations.errors import error, refusal
from integrations.sandbox.store import Store
from integrations.sandbox.vendor import Request, Response, Route, Vendor, Window

TENANT = "contoso.example"
ORGANISATION = "0b1c2d3e-0001-4000-8000-000000000001"
CLIENT_ID, CLIENT_SECRET = "po-sandbox-client", "po-sandbox-secret"
PAGE, BATCH, CONCURRENT = 5000, 1000, 52
_API = "/api/data/v9.2"
_TABLES: Mapping[str, str] = {
    "accounts": "accountid",
    "msdyn_projects": "msdyn_projectid",
    "msdyn_projecttasks": "msdyn_projecttaskid",
    "bookableresources": "bookableresourceid",
    "systemusers": "systemuserid",
    "transactioncurrencies": "transactioncurrencyid",
    "invoices": "invoiceid",
    "invoicedetails": "invoicedetailid",
    "msdyn_timeentries": "msdyn_timeentryid",
    "msdyn_expenses": "msdyn_expenseid",
    "msdyn_actuals": "msdyn_actualid",
    "msdyn_transactionorigins": "msdyn_transactionoriginid",
}
_MADE: Mapping[str, Mapping[str, str]] = {  # the lookups that may be bound, and the tables that they lead to
    "msdyn_timeentries": {
        "msdyn_bookableresource": "bookableresources",
        "msdyn_project": "msdyn_projects",
        "msdyn_projectTask": "msdyn_projecttasks",
        "msdyn_resourceCategory": "",
    },
    "msdyn_expenses": {
        "msdyn_bookableresource": "bookableresources",
        "msdyn_Project": "msdyn_projects",
        "msdyn_ExpenseCategory": "",
        "transactioncurrencyid": "transactioncurrencies",
    },
}
_COLUMNS: Mapping[str, frozenset[str]] = {
    "msdyn_timeentries": frozenset(
        {"msdyn_date", "msdyn_duration", "msdyn_type", "msdyn_entrystatus", "msdyn_description"}
    ),
    "msdyn_expenses": frozenset(
        {"msdyn_transactiondate", "msdyn_amount", "msdyn_expensestatus", "msdyn_name", "msdyn_externaldescription"}
    ),
}
_STATUS = {"msdyn_timeentries": "msdyn_entrystatus", "msdyn_expenses": "msdyn_expensestatus"}
_SUBMITTED = {"msdyn_timeentries": 192350003, "msdyn_expenses": 192350001}
_DRAFT, _APPROVED, _TEXT = 192350000, 192350002, 100


class ProjectOperationsSandbox(Vendor):
    """One environment of one tenant."""

    name = "projectoperations"

    def __init__(self, store: Store) -> None:
        self.entra = Entra(CLIENT_ID, CLIENT_SECRET)
        super().__init__(store)
        self._defaults()

    def _defaults(self) -> None:
        self.entra.defaults()
        self.window = Window(6000, 300.0)
        self.concurrent = CONCURRENT

    def routes(self) -> Sequence[Route]:
        """What the documents describe and a connection needs."""
        return [
            Route("POST", f"/{TENANT}{entra.TOKEN_PATH}", self.entra.token),
            Route("GET", f"{_API}/WhoAmI", self._who),
            *(Route("GET", f"{_API}/{name}", self._list) for name in _TABLES),
            *(Route("PATCH", f"{_API}/{name}({{id}})", self._upsert) for name in _MADE),
            Route("POST", f"{_API}/$batch", self._batch),
        ]

    def authenticate(self, request: Request) -> Response | None:
        """A token of Entra's; then service protection."""
        if entra.asks(request):
            return None
        if not self.entra.admits(request):
            return refusal(401)
        wait = self.window.refuses("app")
        if wait is None:
            return None
        told = refusal(429)
        told.headers["Retry-After"] = str(max(1, round(wait)))
        return told

    def limit(self, in_flight: int, request: Request) -> Response | None:
        """Too many calls at once are refused, and told to come again soon."""
        del request
        if in_flight <= self.concurrent:
            return None
        told = error(429, "0x80072326", f"Number of concurrent requests exceeded the limit of {self.concurrent}.")
        told.headers["Retry-After"] = "1"
        return told

    def error(self, status: int, request: Request) -> Response:
        """The documented error body."""
        del request
        return refusal(status)

    def _who(self, request: Request) -> Response:
        del request
        return Response(body={"UserId": str(uuid.UUID(int=7)), "OrganizationId": ORGANISATION})

    def _list(self, request: Request) -> Response:
        rows = list(self.store.collection(request.path.rsplit("/", 1)[1]).values())
        try:
            holds = predicate(request.query.get("$filter", ""))
            found = page(request, [row for row in rows if holds(row)], PAGE)
        except BadFilter as bad:
            return error(400, "0x80060888", str(bad))
        if "@odata.count" in found.body:
            found.body["@odata.count"] = min(found.body["@odata.count"], PAGE)
        return found

    def _upsert(self, request: Request) -> Response:
        """Make or change a record under the id in its address, as the conditional headers allow."""
        name, key = request.path.removeprefix(f"{_API}/").partition("(")[0], request.params["id"].lower()
        rows = self.store.collection(name)
        before = rows.get(key)
        if before is not None and request.headers.get("If-None-Match") == "*":
            return refusal(412)
        if before is None and request.headers.get("If-Match") == "*":
            return refusal(404)
        if before is not None and before[_STATUS[name]] == _APPROVED:
            return error(400, "0x80040265", "The entry is approved and cannot be changed.")
        made, refused = self._made(name, request.json())
        if refused is not None:
            return refused
        rows[key] = {**(before or {}), _TABLES[name]: key, "statecode": 0, **made, "modifiedon": self._stamp()}
        return Response(204, None, {"OData-Version": "4.0", "OData-EntityId": f"{request.base}{_API}/{name}({key})"})

    def _made(self, name: str, given: Mapping[str, Any]) -> tuple[dict[str, Any], Response | None]:
        """What a body says as a row, or its refusal."""
        made: dict[str, Any] = {f"_{lookup.lower()}_value": None for lookup in _MADE[name]}
        for field, value in given.items():
            lookup, mark, _ = field.partition("@odata.bind")
            if not mark:
                if field not in _COLUMNS[name]:
                    return {}, error(
                        400, "0x80048d19", f"An undeclared property '{field}' which only has property annotations."
                    )
                made[field] = value
                continue
            if lookup not in _MADE[name]:
                return {}, error(400, "0x80048d19", f"An undeclared property '{lookup}' was found.")
            guid = str(value).partition("(")[2].rstrip(")").lower()
            target = _MADE[name][lookup]
            if target and guid not in self.store.collection(target):
                entity = target.removesuffix("s").replace("transactioncurrencie", "transactioncurrency")
                return {}, error(404, "0x80040217", f"Entity '{entity}' With Id = {guid} Does Not Exist")
            if target and self.store.collection(target)[guid].get("statecode"):
                return {}, error(400, "0x80040265", f"Time cannot be entered: the project of {target} is closed.")
            made[f"_{lookup.lower()}_value"] = guid
        for field in ("msdyn_description", "msdyn_name"):
            if len(str(made.get(field) or "")) > _TEXT:
                return {}, error(
                    400,
                    "0x80044331",
                    f"The length of the '{field}' attribute exceeded the maximum allowed length of '{_TEXT}'.",
                )
        if int(made.get("msdyn_duration", 0)) < 0:
            return {}, error(400, "0x80044330", "The value of 'msdyn_duration' is outside the valid range: duration.")
        return made, None

    def _batch(self, request: Request) -> Response:
        return batched(request, self.handle_member, BATCH) or error(400, "0x80060888", "The batch is too large.")

    def handle_member(self, member: Request) -> Response:
        """Answer one member of a batch."""
        for method, pattern, handler in self._routes:
            found = pattern.fullmatch(member.path)
            if found and method == member.method and handler == self._upsert:
                member.params = found.groupdict()
                return handler(member)
        return refusal(404)

    def seed(self, data: Mapping[str, Any]) -> None:
        """Take rows by table, then play the actions."""
        if unknown := set(data) - {"actions", *_TABLES}:
            raise ValueError(f"Project Operations has no {min(unknown)!r}")
        for name, key in _TABLES.items():
            for given in data.get(name, ()):
                self.store.collection(name)[str(given[key])] = {"modifiedon": self._stamp(), **given}
        for action in data.get("actions", ()):
            self._act(**action)

    def _act(self, do: str, **how: Any) -> None:
        match do:
            case "submit":
                self._move(dict.fromkeys(_STATUS, _DRAFT), _SUBMITTED)
            case "approve":
                self._move(_SUBMITTED, dict.fromkeys(_STATUS, _APPROVED))
            case "make_actuals":
                for name, field in _STATUS.items():
                    for key, row in list(self.store.collection(name).items()):
                        if row[field] == _APPROVED:
                            self._make_actual(name, key, row)
            case "journalize":
                for key in list(self.store.collection("msdyn_actuals")):
                    self._set("msdyn_actuals", key, {"msdyn_isjournalized": True})
            case "recall" | "delete" | "status" | "change":
                self._treat(do, how["table"], how["id"], how)
            case _:
                raise ValueError(f"Project Operations has no action {do!r}")

    def _move(self, before: Mapping[str, int], after: Mapping[str, int]) -> None:
        for name, field in _STATUS.items():
            for key, row in list(self.store.collection(name).items()):
                if row[field] == before[name]:
                    self._set(name, key, {field: after[name]})

    def _set(self, name: str, key: str, fields: Mapping[str, Any]) -> None:
        rows = self.store.collection(name)
        rows[key] = {**rows[key], **fields, "modifiedon": self._stamp()}

    def _make_actual(self, name: str, key: str, row: Mapping[str, Any]) -> None:
        """The cost of an hour or an expense and the sale of it, each with its origin; once."""
        origins = self.store.collection("msdyn_transactionorigins")
        if any(one["msdyn_origin"] == key for one in origins.values()):
            return
        is_time = name == "msdyn_timeentries"
        for kind in (192350000, 192350004):
            actual, origin = str(uuid.uuid4()), str(uuid.uuid4())
            self.store.collection("msdyn_actuals")[actual] = {
                "msdyn_actualid": actual, "msdyn_transactiontypecode": kind, "msdyn_isjournalized": False,
                "msdyn_transactionclassification": 192350000 if is_time else 192350001,
                "msdyn_documentdate": row["msdyn_date" if is_time else "msdyn_transactiondate"],
                "msdyn_quantity": row["msdyn_duration"] / 60 if is_time else 1,
                "msdyn_amount": 0 if is_time else row["msdyn_amount"],
                "_msdyn_bookableresource_value": row["_msdyn_bookableresource_value"],
                "_msdyn_project_value": row["_msdyn_project_value"], "modifiedon": self._stamp(),
            }  # fmt: skip
            origins[origin] = {
                "msdyn_transactionoriginid": origin, "msdyn_origin": key, "msdyn_origintype": name,
                "msdyn_transaction": actual, "msdyn_transactiontype": "msdyn_actual", "modifiedon": self._stamp(),
            }  # fmt: skip

    def _treat(self, do: str, name: str, key: str, how: Mapping[str, Any]) -> None:
        match do:
            case "recall":
                self._recall(name, key)
            case "delete":
                self._delete(name, key)
            case "status":
                self._set(name, key, {_STATUS[name]: how["value"]})
            case _:
                self._set(name, key, how["fields"])

    def _recall(self, name: str, key: str) -> None:
        """An entry is a draft again, and each of its actuals gets one of the opposite figures."""
        actuals, origins = (self.store.collection(one) for one in ("msdyn_actuals", "msdyn_transactionorigins"))
        for origin in [one for one in origins.values() if one["msdyn_origin"] == key]:
            before, opposite, named = actuals[origin["msdyn_transaction"]], str(uuid.uuid4()), str(uuid.uuid4())
            turned = {field: -before[field] for field in ("msdyn_quantity", "msdyn_amount")}
            actuals[opposite] = {**before, "msdyn_actualid": opposite, **turned, "modifiedon": self._stamp()}
            origins[named] = {**origin, "msdyn_transactionoriginid": named, "msdyn_transaction": opposite}
        self._set(name, key, {_STATUS[name]: _DRAFT})

    def _delete(self, name: str, key: str) -> None:
        """What is approved cannot be deleted."""
        rows = self.store.collection(name)
        if name in _STATUS and rows[key][_STATUS[name]] == _APPROVED:
            raise ValueError("An approved entry is recalled before it is deleted.")
        del rows[key]

    def _stamp(self) -> str:
        return self.now().strftime("%Y-%m-%dT%H:%M:%SZ")

    def configure(self, settings: Mapping[str, Any]) -> None:
        """Take the settings named at the top of this module."""
        rest = dict(settings)
        self.entra.configure(rest)
        self.concurrent = int(rest.pop("concurrent", self.concurrent))
        if "rate" in rest:
            calls, seconds = rest.pop("rate")
            self.window = Window(int(calls), float(seconds))
        super().configure(rest)

    def reset(self) -> None:
        """Forget records and settings."""
        super().reset()
        self._defaults()

    def inspect(self) -> Mapping[str, Any]:
        """How many records bear each key of ours, as the hex digits of their ids."""
        ids = [key for name in _MADE for key in self.store.collection(name)]
        return {"by_key": {key.replace("-", ""): ids.count(key) for key in ids}}
