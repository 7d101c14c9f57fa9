"""The company on a real Tryton that the tests of the connector speak to, by way of a wire that can break."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

from integrations.connectors.tryton import TrytonConnector
from integrations.connectors.tryton.catalogue import STREAMS
from integrations.protocol import Account
from portal.records import DocumentKind, Posting
from tests.integrations.contract import Bench
from tests.tryton.server import DATABASE, PASSWORDS, Tryton


def account(server: Tryton, base_url: str, **settings: Any) -> Account:
    """The account of the technical user."""
    return Account(
        code="tryton-us",
        base_url=base_url,
        realm=str(server.ids["company"]),
        zone="America/New_York",
        settings={
            "database": DATABASE,
            "user": "sync",
            "read_timeout": "20",
            **settings,
        },  # a real server takes its time
        secrets={"password": PASSWORDS["sync"]},
    )


def bench(server: Tryton, base: str, **settings: Any) -> Bench:
    """What the contract suite needs. A fault meets the reading of customers and the writing of lines."""

    def change(stream: str, key: str, at: datetime) -> None:
        table = STREAMS[stream].model.replace(".", "_")
        moment = f"{at:%Y-%m-%d %H:%M:%S.%f}"
        server.write(f"UPDATE {table} SET write_date = ? WHERE id = ?", moment, int(key))

    return Bench(
        connector=TrytonConnector,
        account=account(server, f"{base}/tryton", **settings),
        sandbox=base,
        vendor="tryton",
        read={"body": "model.party.party.search_read"},
        write={"body": "model.timesheet.line.create"},
        change=change,
    )


def posting(server: Tryton, **changes: Any) -> Posting:
    """Good hours under a new key."""
    ids = server.ids
    return Posting(
        **{
            "key": uuid4().hex, "kind": DocumentKind.TIME, "work_date": date(2026, 10, 5), "entity": str(ids["company"]),
            "resource": str(ids["people"]["annette"]), "project": str(ids["project"]), "task": str(ids["tasks"]["design"]),
            "hours": Decimal("7.5"), "rate": Decimal("120.00"), "currency": "USD", "billable": True,
            "memo": "Rollout workshop", **changes,
        }
    )  # fmt: skip


def postings(server: Tryton, count: int) -> list[Posting]:
    """Good hours of one person on several days."""
    return [
        posting(server, work_date=date(2026, 9, 1) + timedelta(days=n), hours=Decimal(1 + n % 8)) for n in range(count)
    ]


def long_ago(server: Tryton) -> None:
    """Everything that stands there was written long ago, whatever other tests did."""
    for model in {stream.model for stream in STREAMS.values()} | {"timesheet.work"}:
        table = model.replace(".", "_")
        server.write(f"UPDATE {table} SET create_date = '2026-01-05 09:00:00', write_date = NULL")


def billed(server: Tryton) -> int:
    """An invoice of some hours that was paid in part; its id."""
    project = server.project("Billed")
    server.spend(project["task"], "2", "1.5")
    invoice = server.invoice(project["project"], "2026-10-31")
    server.pay(invoice, "100.00", "2026-11-05")
    return invoice
