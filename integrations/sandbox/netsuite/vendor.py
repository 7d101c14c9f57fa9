"""The account itself: its routes, its limits, and what the control plane may tell and ask it.

Seed: `{"records": {"job": [{"id": "1514", "entityId": "ACME-1", "parent": {"id": "220"}}, ...]}, "certificates": [...],
"token_credentials": [...], "delete": [{"type": "job", "id": "1514", "at": "2026-08-02T09:00:00Z"}]}`.
Settings: `concurrency`, `async_seconds`,
`token_seconds`, `location_on_upsert`, `forget_tokens`, `features_off` (record types that do not exist), `latency`,
`tax_percent` (what the account adds to the invoices written to it), `approves_invoices` (they are open at once).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from integrations.sandbox.netsuite.auth import TOKEN_PATH, Authority
from integrations.sandbox.netsuite.errors import RefusedError, standard
from integrations.sandbox.netsuite.fields import RECORD_TYPES, RecordType
from integrations.sandbox.netsuite.jobs import MAX_RECORDS, PREFIX, Jobs
from integrations.sandbox.netsuite.records import Records, known_type
from integrations.sandbox.netsuite.suiteql import PAGE, SuiteQL
from integrations.sandbox.store import Store
from integrations.sandbox.vendor import Request, Response, Route, Vendor

_RECORD = "/services/rest/record/v1"
_COLLECTION = "application/vnd.oracle.resource+json; type=collection"
_SINGULAR = "application/vnd.oracle.resource+json; type=singular"
_WRITABLE = ("timebill", "expensereport", "invoice")
_CONCURRENCY = 5  # a Standard account's


class NetSuiteSandbox(Vendor):
    """One NetSuite account."""

    name = "netsuite"

    def __init__(self, store: Store) -> None:
        self.concurrency = _CONCURRENCY
        self.location_on_upsert = True
        self.features_off: set[str] = set()
        self.authority = Authority(store, self.now)
        self.records = Records(store, lambda: self.read_lag)
        self.suiteql = SuiteQL(store.db)
        self.jobs = Jobs(store, self._perform)
        super().__init__(store)

    def routes(self) -> Sequence[Route]:
        """Everything that the account answers."""
        return (
            Route("POST", TOKEN_PATH, self.authority.issue),
            Route("POST", "/services/rest/query/v1/suiteql", self._query),
            Route("GET", PREFIX + "/{job}", self.jobs.job),
            Route("GET", PREFIX + "/{job}/task", self.jobs.tasks),
            Route("GET", PREFIX + "/{job}/task/", self.jobs.tasks),
            Route("GET", PREFIX + "/{job}/task/{task}", self.jobs.task),
            Route("GET", PREFIX + "/{job}/task/{task}/result", self.jobs.result),
            Route("GET", "/services/rest/system/v1/governanceLimits", self._limits),
            Route("POST", _RECORD + "/{type}/{id}/@approve", self._approve),
            Route("GET", _RECORD + "/{type}/{id}", self._read),
            Route("PUT", _RECORD + "/{type}/{id}", self._write_one),
            Route("PATCH", _RECORD + "/{type}/{id}", self._write_one),
            Route("DELETE", _RECORD + "/{type}/{id}", self._delete),
            Route("GET", _RECORD + "/{type}", self._list),
            Route("POST", _RECORD + "/{type}", self._write_many),
            Route("PUT", _RECORD + "/{type}", self._write_many),
            Route("PATCH", _RECORD + "/{type}", self._write_many),
        )

    def handle(self, request: Request) -> Response:
        """Answer one request; what the account refuses becomes its error body."""
        with self.store.lock:
            self.jobs.run_due()
            try:
                return super().handle(request)
            except RefusedError as refused:
                return refused.response

    def authenticate(self, request: Request) -> Response | None:
        """Everything but the token endpoint needs good credentials."""
        return None if request.path == TOKEN_PATH else self.authority.refusal(request)

    def error(self, status: int, request: Request) -> Response:
        """The error body that a status usually comes with."""
        return standard(status)

    def limit(self, in_flight: int, request: Request) -> Response | None:
        """The account takes no more than so many calls at once; asking for a token is not one of them."""
        if request.path == TOKEN_PATH or in_flight <= self.concurrency:
            return None
        return standard(429)

    def seed(self, data: Mapping[str, Any]) -> None:
        """Take records, credentials and deletions."""
        self.authority.register(data)
        for name, records in data.get("records", {}).items():
            for record in records:
                self.records.seed(RECORD_TYPES[name.lower()], record)
        for item in data.get("delete", ()):
            self.records.delete(RECORD_TYPES[item["type"].lower()], int(item["id"]), item.get("at"))

    def configure(self, settings: Mapping[str, Any]) -> None:
        """Change what the account allows; see the module."""
        rest = dict(settings)
        self.concurrency = int(rest.pop("concurrency", self.concurrency))
        self.jobs.delay = float(rest.pop("async_seconds", self.jobs.delay))
        self.records.tax_percent = float(rest.pop("tax_percent", self.records.tax_percent))
        self.records.approves_invoices = bool(rest.pop("approves_invoices", self.records.approves_invoices))
        self.authority.token_seconds = int(rest.pop("token_seconds", self.authority.token_seconds))
        self.location_on_upsert = bool(rest.pop("location_on_upsert", self.location_on_upsert))
        self.features_off = set(rest.pop("features_off", self.features_off))
        if rest.pop("forget_tokens", False):
            self.authority.forget_tokens()
        super().configure(rest)

    def reset(self) -> None:
        """Forget every record, credential and setting."""
        super().reset()
        self.records.clear()
        self.concurrency, self.location_on_upsert, self.features_off = _CONCURRENCY, True, set()
        self.jobs.delay, self.authority.token_seconds = 0.2, 3600
        self.records.tax_percent, self.records.approves_invoices = 0.0, False

    def inspect(self) -> Mapping[str, Any]:
        """What is booked, and how many live records stand under each external id."""
        self.jobs.run_due()
        counts = {kind: self.records.count(kind) for kind in _WRITABLE}
        return {
            "timebills": self.records.bodies("timebill"),
            "expensereports": self.records.bodies("expensereport"),
            "invoices": self.records.bodies("invoice"),
            "records_by_external_id": counts,
            "most_records_under_one_external_id": max(
                (n for count in counts.values() for key, n in count.items() if key), default=0
            ),
        }

    def _type(self, request: Request) -> RecordType:
        kind = known_type(request.params["type"])
        if kind.name.lower() in self.features_off:
            raise RefusedError(
                f"Record type '{request.params['type']}' does not exist.",
                status=404,
                code="NONEXISTENT_ID",
                errorUrl=request.path,
            )
        return kind

    def _read(self, request: Request) -> Response:
        kind = self._type(request)
        found = self.records.get(kind.name.lower(), request.params["id"])
        if found is None and kind.table == "transaction":
            raise RefusedError("Error while accessing a resource. Transaction type specified is incorrect.")
        if found is None:
            return standard(404)
        if request.query.get("expandSubResources") != "true":
            found = {name: value for name, value in found.items() if name not in kind.lines}
        wanted = request.query.get("fields")
        if wanted:
            found = {name: value for name, value in found.items() if name in wanted.split(",")}
        place = f"{request.base}{_RECORD}/{kind.name.lower()}/{found.get('id', '')}"
        return Response(200, {"links": [{"rel": "self", "href": place}], **found}, {"Content-Type": _SINGULAR})

    def _list(self, request: Request) -> Response:
        kind = self._type(request)
        limit, offset = _paging(request)
        if "q" in request.query:
            raise RefusedError("The query is not supported.", code="INVALID_PARAMETER", errorQueryParam="q")
        bodies = self.records.bodies(kind.name.lower())
        items = [{"links": [], "id": str(body["id"])} for body in bodies[offset : offset + limit]]
        return Response(200, _collection(request, items, len(bodies), limit, offset), {"Content-Type": _COLLECTION})

    def _query(self, request: Request) -> Response:
        if "transient" not in request.headers.get("Prefer", ""):
            raise RefusedError(
                "The required request header 'Prefer' is missing or does not contain the value 'transient'.",
                code="INVALID_HEADER",
                errorHeader="Prefer",
            )
        body = _json(request)
        limit, offset = _paging(request)
        rows, total = self.suiteql.run(str(body.get("q", "")), body.get("params", []), limit, offset)
        items = [{"links": [], **row} for row in rows]
        return Response(200, _collection(request, items, total, limit, offset), {"Content-Type": _COLLECTION})

    def _write_one(self, request: Request) -> Response:
        kind = self._writable(request)
        work = {
            "type": kind.name.lower(),
            "method": request.method,
            "key": request.params["id"],
            "body": _json(request),
            "names": request.headers.get("X-NetSuite-PropertyNameValidation", "Warning"),
            "replace": request.query.get("replace", ""),
        }
        if "respond-async" in request.headers.get("Prefer", ""):
            return self.jobs.accept(request, [work])
        return self._perform(work)

    def _write_many(self, request: Request) -> Response:
        kind = self._writable(request)
        names = request.headers.get("X-NetSuite-PropertyNameValidation", "Warning")
        body = _json(request)
        work: dict[str, Any] = {"type": kind.name.lower(), "method": request.method, "names": names}
        work["replace"] = request.query.get("replace", "")
        asynchronous = "respond-async" in request.headers.get("Prefer", "")
        if "type=collection" not in request.headers.get("Content-Type", "").replace(" ", ""):
            if request.method != "POST":
                return standard(404)
            works = [{**work, "key": None, "body": body}]
            return self.jobs.accept(request, works) if asynchronous else self._perform(works[0])
        items = body.get("items")
        if not asynchronous:
            raise RefusedError("Batch operations must be asynchronous.", code="INVALID_HEADER", errorHeader="Prefer")
        if not isinstance(items, list) or not 1 <= len(items) <= MAX_RECORDS:
            raise RefusedError(f"A batch has 1 to {MAX_RECORDS} items.", code="INVALID_CONTENT", errorPath="items")
        works = []
        for item in items:
            key = None if request.method == "POST" else str(item.get("id") or f"eid:{item.get('externalId', '')}")
            works.append({**work, "key": key, "body": item})
        return self.jobs.accept(request, works)

    def _perform(self, work: dict[str, Any]) -> Response:
        """Carry out one write; its place is that of the record."""
        kind = RECORD_TYPES[work["type"]]
        identity = self.records.write(
            kind,
            work["key"],
            work["body"],
            names=work["names"],
            create=work["method"] != "PATCH",
            replace=work["replace"],
        )
        headers = {}
        if work["method"] == "POST" or self.location_on_upsert:
            headers["Location"] = f"{_RECORD}/{work['type']}/{identity}"
        return Response(204, None, headers)

    def _approve(self, request: Request) -> Response:
        kind = self._type(request)
        if kind.name != "timeBill":
            return standard(404)
        found = self.records.get("timebill", request.params["id"])
        if found is None:
            return standard(404)
        self.records.seed(kind, {**found, "approvalStatus": {"id": "3", "refName": "Approved"}})
        return Response(200, {"result": True})

    def _delete(self, request: Request) -> Response:
        kind = self._writable(request)
        found = self.records.get(kind.name.lower(), request.params["id"])
        if found is None:
            return standard(404)
        self.records.delete(kind, int(found["id"]))
        return Response(204)

    def _limits(self, _: Request) -> Response:
        return Response(200, {"accountConcurrencyLimit": self.concurrency, "limitType": "accountSpecific"})

    def _writable(self, request: Request) -> RecordType:
        kind = self._type(request)
        if kind.name.lower() not in _WRITABLE:
            raise RefusedError(
                "Permission Violation: records of this type are read-only here.",
                status=403,
                code="INSUFFICIENT_PERMISSION",
            )
        return kind


def _json(request: Request) -> dict[str, Any]:
    try:
        body = request.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise RefusedError("Invalid content in the request body.", code="INVALID_CONTENT")
    return body


def _paging(request: Request) -> tuple[int, int]:
    """Limit and offset of a request, within the vendor's bounds."""
    try:
        limit, offset = int(request.query.get("limit", PAGE)), int(request.query.get("offset", 0))
    except ValueError:
        limit = offset = -1
    if not 1 <= limit <= PAGE or offset < 0 or offset % limit or offset // limit >= 1000:
        raise RefusedError(
            "The offset must be a multiple of the limit, the limit at most 1000, and at most 1000 pages can be read.",
            code="INVALID_PARAMETER",
            errorQueryParam="offset",
        )
    return limit, offset


def _collection(request: Request, items: list[Any], total: int, limit: int, offset: int) -> dict[str, Any]:
    return {
        "links": [{"rel": "self", "href": request.url}],
        "count": len(items),
        "hasMore": offset + len(items) < total,
        "items": items,
        "offset": offset,
        "totalResults": total,
    }
