"""An ERP that books whatever it is sent, as often as it is sent: over HTTP, without upsert, so that it shows every duplicate.

`PlainErp` is its server side for the sandbox, with the sandbox's faults; `PlainTarget` is the connector to it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from integrations.errors import ConnectorError
from integrations.http import Http
from integrations.protocol import Account, Capabilities, Setting
from integrations.sandbox.vendor import Request, Response, Route, Vendor
from portal.records import DocumentKind, Posting, Receipt, StatementLine


class PlainErp(Vendor):
    """The server."""

    name = "plain"

    def routes(self) -> Sequence[Route]:
        return [
            Route("POST", "/records", self._book),
            Route("POST", "/search", self._search),
            Route("GET", "/ping", self._ping),
        ]

    def _book(self, request: Request) -> Response:
        self.store.collection("pushes")[str(self.store.next_id("push"))] = {"at": time.time()}
        made = []
        for record in request.json()["records"]:
            number = f"P-{self.store.next_id('record')}"
            self.store.collection("records")[number] = {**record, "number": number, "at": time.time()}
            made.append(number)
        return Response(201, {"numbers": made})

    def _search(self, request: Request) -> Response:
        seen_before = time.time() - self.read_lag
        wanted = request.json()
        found = [
            record
            for record in self.store.collection("records").values()
            if record["at"] <= seen_before and ("keys" not in wanted or record["key"] in wanted["keys"])
        ]
        return Response(200, {"records": found})

    def _ping(self, request: Request) -> Response:
        return Response(200, {"ok": True})

    def inspect(self) -> Mapping[str, Any]:
        keys = [record["key"] for record in self.store.collection("records").values()]
        return {"keys": keys, "pushes": len(self.store.collection("pushes"))}


def installed(number: int) -> dict[str, str]:
    """So many such ERPs with books of their own, by name, as the sandbox knows its vendors."""
    made = {}
    for n in range(number):
        name = f"plain-{n}"
        globals()[f"PlainErp{n}"] = type(f"PlainErp{n}", (PlainErp,), {"name": name})
        made[name] = f"{__name__}:PlainErp{n}"
    return made


class PlainTarget:
    """The connector."""

    name = "plain"
    settings: tuple[Setting, ...] = ()
    hosts: tuple[str, ...] = ()
    capabilities = Capabilities(batch_size=2, concurrency=2)

    def __init__(self, account: Account, http: Http) -> None:
        self._http = http

    def check(self) -> str:
        self._http.request("GET", "ping")
        return "answers"

    def body(self, posting: Posting) -> Any:
        return {
            "key": posting.key, "kind": str(posting.kind), "date": str(posting.work_date), "resource": posting.resource,
            "project": posting.project, "hours": posting.hours, "rate": posting.rate, "currency": posting.currency,
            "billable": posting.billable,
        }  # fmt: skip

    def push(self, postings: Sequence[Posting]) -> Sequence[Receipt | ConnectorError]:
        answer = self._http.request("POST", "records", json={"records": [self.body(posting) for posting in postings]})
        return [Receipt(key=p.key, number=n) for p, n in zip(postings, answer.body["numbers"], strict=True)]

    def find(self, keys: Sequence[str]) -> Mapping[str, StatementLine]:
        answer = self._http.request("POST", "search", json={"keys": list(keys)}, writes=False)
        return {record["key"]: self._line(record) for record in answer.body["records"]}

    def statement(self, start: date, end: date, entity: str = "") -> Iterator[StatementLine]:
        for record in self._http.request("POST", "search", json={}, writes=False).body["records"]:
            yield self._line(record)

    @staticmethod
    def _line(record: Mapping[str, Any]) -> StatementLine:
        return StatementLine(
            number=record["number"], key=record["key"], kind=DocumentKind(record["kind"]),
            work_date=date.fromisoformat(record["date"]), resource=record["resource"], project=record["project"],
            hours=Decimal(record["hours"]), rate=Decimal(record["rate"]), currency=record["currency"],
            billable=record["billable"],
        )  # fmt: skip
