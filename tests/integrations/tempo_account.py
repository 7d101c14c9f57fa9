"""A Tempo account of the tests: two people, weeks in 2026, and what a worklog looks like."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from integrations import payloads
from integrations.connectors.tempo.connector import TempoConnector
from integrations.http import Http
from integrations.protocol import Account, Page, SourceRecord
from integrations.sandbox.server import control
from integrations.sandbox.tempo import TOKEN
from portal.records import TimeEntryRecord
from tests.integrations.contract import Bench

MONDAY = datetime.now(UTC).date() - timedelta(days=datetime.now(UTC).weekday() + 14)
STAMP = "%Y-%m-%dT%H:%M:%SZ"
SECRET = "tempo-shared-secret"


def days_ago(days: float) -> str:
    """A moment as Tempo writes it."""
    return (datetime.now(UTC) - timedelta(days=days)).strftime(STAMP)


def worklog(number: int, day: date = MONDAY, **more: Any) -> dict[str, Any]:
    return {
        "tempoWorklogId": number, "author": "ada", "issue": 10001, "account": "ACM-1", "startDate": day.isoformat(),
        "timeSpentSeconds": 27000, "description": "Workshop", "updatedAt": days_ago(20), **more,
    }  # fmt: skip


class Site:
    """One Tempo account: the sandbox and a connector on it, with the cursor that a run would store."""

    def __init__(self, base: str, **settings: Any) -> None:
        self.base = base
        self.account = Account(
            code="tempo-at",
            base_url=f"{base}/tempo",
            zone="Europe/Vienna",
            settings={"currency": "EUR", **settings},
            secrets={"token": TOKEN, "webhook_secret": SECRET},
        )
        self.cursor: str | None = None

    @property
    def connector(self) -> TempoConnector:
        return TempoConnector(self.account, Http(self.account, hosts=TempoConnector.hosts, allow_loopback=True))

    def having(self, **settings: Any) -> None:
        self.account = replace(self.account, settings={**self.account.settings, **settings})

    def seed(self, *worklogs: dict[str, Any]) -> None:
        control(self.base, "POST", "tempo/seed", {"worklogs": worklogs})

    def act(self, do: str, **how: Any) -> None:
        control(self.base, "POST", "tempo/seed", {"actions": [{"do": do, **how}]})

    def decide(self, do: str, user: str = "ada", day: date = MONDAY, **how: Any) -> None:
        self.act(do, user=user, day=day.isoformat(), **how)

    def configure(self, **settings: Any) -> None:
        control(self.base, "POST", "tempo/configure", settings)

    def fault(self, **fault: Any) -> None:
        control(self.base, "POST", "faults", [{"vendor": "tempo", **fault}])

    def calls(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = control(self.base, "GET", "tempo/calls")
        return found

    def inspect(self) -> dict[str, Any]:
        found: dict[str, Any] = control(self.base, "GET", "tempo/inspect")
        return found

    def pages(self) -> list[Page]:
        pages = list(self.connector.pull("time_entries", self.cursor))
        self.cursor = pages[-1].cursor
        return pages

    def take(self) -> dict[str, SourceRecord]:
        return {record.external_id: record for page in self.pages() for record in page.records}

    def read(self, record: SourceRecord) -> TimeEntryRecord:
        """What a record becomes, by way of the inbox."""
        stored = replace(record, payload=payloads.read(payloads.as_stored(record.payload)))
        [document] = self.connector.map(stored)
        assert isinstance(document, TimeEntryRecord)
        return document

    def bench(self) -> Bench:
        """What the contract suite needs: an approved week, one in review, and one that nobody submitted."""
        worklogs = (
            worklog(1),
            worklog(2, MONDAY + timedelta(days=1)),
            worklog(3, author="ben"),
            worklog(4, MONDAY - timedelta(days=7)),
        )
        self.seed(*worklogs)
        self.decide("approve", at=days_ago(10))
        self.decide("submit", "ben", at=days_ago(9))

        def change(stream: str, key: str, at: datetime) -> None:
            assert stream == "time_entries"
            row = next(one for one in worklogs if str(one["tempoWorklogId"]) == key)
            self.seed({**row, "description": f"Changed at {at}", "updatedAt": at.strftime(STAMP)})

        return Bench(
            connector=TempoConnector,
            account=self.account,
            sandbox=self.base,
            vendor="tempo",
            read={"path": "updatedFrom"},
            change=change,
        )
