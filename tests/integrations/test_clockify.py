"""Clockify over real HTTP: approvals by webhook and by list, withdrawn and resubmitted ones, tokens, money and days."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import urlsplit

import pytest

from integrations.connectors.clockify import assumptions
from integrations.connectors.clockify.connector import APPROVAL, ClockifyConnector
from integrations.errors import Malformed, Unauthorised, Unavailable
from integrations.http import Http
from integrations.protocol import Account, Delivery, Hint, Page, Source, SourceRecord
from integrations.sandbox.clockify import API_KEY, CHANGED, NEW, WORKSPACE_ID
from integrations.sandbox.server import control, sandbox_server
from portal.records import DocumentRecord, ExpenseRecord, Reference, SourceStatus, TimeEntryRecord
from tests.integrations.contract import Bench, SourceContract

TOKEN = "a-token-that-clockify-made"
MASTER = {
    "users": [
        {"id": "u1", "name": "johndoe", "timeZone": "Europe/Budapest"},
        {"id": "u2", "name": "jane", "timeZone": "America/Los_Angeles"},
        {"id": "boss", "name": "juandelacruz", "timeZone": "Europe/London"},
    ],
    "clients": [{"id": "c1", "name": "Client X"}],
    "projects": [{"id": "p1", "name": "Software Development", "clientId": "c1"}],
    "tasks": [{"id": "t1", "name": "Bugfixing"}],
    "categories": [{"id": "k1", "name": "Procurement", "hasUnitPrice": False}],
}
WEEK = {"start": "2026-03-02T00:00:00Z", "end": "2026-03-08T23:59:59Z"}


def entry(
    key: str, start: str = "2026-03-03T08:00:00Z", duration: str | None = "PT1H30M", **more: Any
) -> dict[str, Any]:
    interval = {"start": start, "end": "2026-03-03T09:30:00Z", "duration": duration, **more.pop("interval", {})}
    rate = {"amount": 10500, "currency": "GBP"}
    return {"id": key, "timeInterval": interval, "projectId": "p1", "taskId": "t1", "hourlyRate": rate, **more}


def expense(key: str, **more: Any) -> dict[str, Any]:
    given = {"id": key, "date": "2026-03-04", "total": 10550, "currency": "GBP", "projectId": "p1", "categoryId": "k1"}
    return {**given, "notes": "Cables", "fileId": "f1", **more}


def approval(key: str, *entries: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "id": key, "userId": "u1", "dateRange": WEEK, "state": "APPROVED", "updatedAt": "2026-03-09T10:00:00Z",
        "updatedBy": "boss", "entries": list(entries), **more,
    }  # fmt: skip


class Workspace:
    """One Clockify workspace: the sandbox and a connector on it, with the cursor that a run would store."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.account = Account(
            code="clockify-gb",
            base_url=f"{base}/clockify/api/v1",
            realm=WORKSPACE_ID,
            zone="Europe/London",
            secrets={"api_key": API_KEY, "webhook_token": TOKEN},
        )
        self.cursor: str | None = None

    @property
    def connector(self) -> ClockifyConnector:
        return ClockifyConnector(self.account, Http(self.account, hosts=ClockifyConnector.hosts, allow_loopback=True))

    def having(self, **settings: Any) -> None:
        self.account = replace(self.account, settings={**self.account.settings, **settings})

    def trusting(self, **secrets: str) -> None:
        self.account = replace(self.account, secrets={"api_key": API_KEY, **secrets})

    def seed(self, **data: Any) -> None:
        control(self.base, "POST", "clockify/seed", data)

    def act(self, do: str, *ids: str, **more: Any) -> None:
        self.seed(actions=[{"do": do, "ids": list(ids), **more}])

    def configure(self, **settings: Any) -> None:
        control(self.base, "POST", "clockify/configure", settings)

    def calls(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = control(self.base, "GET", "clockify/calls")
        return found

    def pages(self, stream: str = "time_entries") -> list[Page]:
        return list(self.connector.pull(stream, self.cursor))

    def take(self, stream: str = "time_entries") -> list[SourceRecord]:
        pages = self.pages(stream)
        assert [page.last for page in pages] == [False] * (len(pages) - 1) + [True]
        self.cursor = pages[-1].cursor
        return [record for page in pages for record in page.records]

    def read(self, record: SourceRecord) -> DocumentRecord:
        [document] = self.connector.map(replace(record, payload=json.loads(json.dumps(record.payload))))
        assert isinstance(document, DocumentRecord)
        return document

    def time(self, record: SourceRecord) -> TimeEntryRecord:
        document = self.read(record)
        assert isinstance(document, TimeEntryRecord)
        return document

    def only(self, given: dict[str, Any]) -> TimeEntryRecord:
        self.seed(approvals=[approval("a1", given)])
        [record] = self.take()
        return self.time(record)

    def fetch(self, external_id: str, stream: str = "time_entries") -> list[SourceRecord]:
        return list(self.connector.fetch(Hint(stream=stream, external_id=external_id)))


@pytest.fixture(scope="module")
def sandbox() -> Iterator[str]:
    with sandbox_server(names=["clockify"]) as base:
        yield base


@pytest.fixture
def gb(sandbox: str) -> Workspace:
    control(sandbox, "POST", "reset")
    workspace = Workspace(sandbox)
    workspace.seed(**MASTER)
    workspace.configure(rate=[100_000, 1])
    return workspace


class Door:
    """Where webhooks arrive: everything is taken, checked by the connector, and kept."""

    def __init__(self, gb: Workspace) -> None:
        self.gb = gb
        self.taken: list[Delivery] = []
        self.refused: list[str] = []
        door = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                try:
                    door.taken.append(door.gb.connector.receive(dict(self.headers.items()), body))
                    self.send_response(202)
                except Unauthorised as error:
                    door.refused.append(str(error))
                    self.send_response(401)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        url = f"http://127.0.0.1:{self.server.server_address[1]}/hooks/clockify-gb/"
        gb.seed(webhooks=[{"url": url, "authToken": TOKEN, "webhookEvent": event} for event in (CHANGED, NEW)])

    def wait_for(self, count: int) -> None:
        until = time.monotonic() + 10
        while len(self.taken) + len(self.refused) < count and time.monotonic() < until:
            time.sleep(0.01)
        assert len(self.taken) + len(self.refused) == count

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def door(gb: Workspace) -> Iterator[Door]:
    opened = Door(gb)
    yield opened
    opened.close()


class TestContract(SourceContract):
    streams = ("time_entries", "expenses")

    @pytest.fixture(autouse=True)
    def _bench(self, gb: Workspace) -> None:
        standing = [
            approval("a1", entry("e1"), entry("e2"), expenses=[expense("x1")]),
            approval("a2", entry("e3"), state="PENDING", updatedAt="2026-03-09T11:00:00Z", expenses=[expense("x2")]),
            approval("a3", entry("e4"), state="WITHDRAWN_APPROVAL", updatedAt="2026-03-09T12:00:00Z"),
        ]
        gb.seed(approvals=standing)

        def change(stream: str, key: str, at: datetime) -> None:
            many = "entries" if stream == "time_entries" else stream
            [covering] = [one for one in standing if any(part["id"] == key for part in one.get(many, ()))]
            gb.seed(approvals=[{**covering, "updatedAt": at.strftime("%Y-%m-%dT%H:%M:%SZ"), "updatedBy": "boss"}])

        self.bench = Bench(
            connector=ClockifyConnector,
            account=gb.account,
            sandbox=gb.base,
            vendor="clockify",
            read={"method": "GET", "path": "/approval-requests"},
            change=change,
        )


def test_the_connector_is_a_source_and_says_who_answers(gb: Workspace) -> None:
    assert isinstance(gb.connector, Source)
    assert gb.connector.check() == "Clockify answers for workspace Sandbox, as Integration User."
    gb.account = replace(gb.account, realm="another")
    with pytest.raises(Unauthorised, match="does not reach workspace another"):
        gb.connector.check()


def test_an_approved_entry_becomes_hours_with_who_approved_it(gb: Workspace) -> None:
    gb.having(provenance_field="Jira")
    found = gb.only(
        entry(
            "e1",
            description="Fix",
            customFieldValues=[{"customFieldId": "f", "name": "jira", "value": "JIRA:10001/37"}],
        )
    )
    assert found.status is SourceStatus.APPROVED
    assert (found.hours, found.rate, found.currency) == (Decimal("1.5"), Decimal(105), "GBP")
    assert found.resource == Reference("u1", "", "johndoe")
    assert found.project == Reference("p1", "", "Software Development")
    assert found.task == Reference("t1", "", "Bugfixing")
    assert found.customer == Reference("c1", "", "Client X")
    assert found.approved_by == Reference("boss", "", "juandelacruz")
    assert found.approved_at == datetime(2026, 3, 9, 10, 0, tzinfo=UTC)
    assert (found.work_date, found.zone) == (date(2026, 3, 3), "Europe/Budapest")
    assert (found.description, found.provenance, found.billable) == ("Fix", "jira:10001/37", True)


def test_the_payload_is_the_untouched_entry_beside_its_approval(gb: Workspace) -> None:
    gb.seed(approvals=[approval("a1", entry("e1"))])
    [record] = gb.take()
    assert set(record.payload) == {"approvalRequest", "entry"}
    assert record.payload["approvalRequest"]["status"]["state"] == "APPROVED"
    assert record.payload["entry"]["timeInterval"]["duration"] == "PT1H30M"


@pytest.mark.case(10)
@pytest.mark.parametrize(
    ("duration", "hours"),
    [
        ("PT1H30M", "1.5"),
        ("PT8H", "8"),
        ("PT45M", "0.75"),
        ("PT50M", "0.8333"),
        ("PT1H0M36S", "1.01"),
        ("PT90S", "0.025"),
        ("P1DT1H", "25"),
        ("PT0S", "0"),
        ("PT7H30M0.5S", "7.5001"),
    ],
)
def test_hours_are_the_duration_whatever_start_and_end_say(gb: Workspace, duration: str, hours: str) -> None:
    given = entry("e1", "2026-03-29T00:00:00Z", duration, interval={"end": "2026-03-29T09:00:00Z"})
    assert gb.only(given).hours == Decimal(hours)


@pytest.mark.case(11)
@pytest.mark.parametrize(
    ("start", "zone", "day"),
    [
        ("2026-03-31T22:30:00Z", "Europe/Budapest", date(2026, 4, 1)),
        ("2026-04-01T02:00:00Z", "America/Los_Angeles", date(2026, 3, 31)),
        ("2026-03-31T23:30:00Z", "Europe/London", date(2026, 4, 1)),
        ("2026-03-31T12:00:00Z", "Pacific/Kiritimati", date(2026, 4, 1)),
    ],
)
def test_the_work_date_is_the_local_day_where_the_work_was_done(
    gb: Workspace, start: str, zone: str, day: date
) -> None:
    found = gb.only(entry("e1", start, interval={"timeZone": zone}))
    assert (found.work_date, found.zone) == (day, zone)


def test_a_rate_that_is_absent_is_none_and_zero_is_zero(gb: Workspace) -> None:
    gb.having(currency="GBP")
    gb.seed(
        approvals=[
            approval("a1", entry("e1", hourlyRate=None), entry("e2", hourlyRate={"amount": 0, "currency": "GBP"}))
        ]
    )
    found = {record.external_id: gb.time(record) for record in gb.take()}
    assert (found["e1"].rate, found["e1"].currency) == (None, "GBP")
    assert found["e2"].rate == Decimal(0)


def test_an_expense_total_is_in_hundredths_with_its_fraction_kept(gb: Workspace) -> None:
    gb.seed(approvals=[approval("a1", expenses=[expense("x1"), expense("x2", total=10500.5, currency=None)])])
    first, second = gb.take("expenses")
    document = gb.read(first)
    assert isinstance(document, ExpenseRecord)
    assert (document.amount, document.currency, document.category) == (Decimal("105.5"), "GBP", "Procurement")
    assert (document.work_date, document.receipt_reference, document.description) == (date(2026, 3, 4), "f1", "Cables")
    with pytest.raises(Malformed, match="currency is missing"):
        gb.read(second)
    gb.having(currency="EUR")
    other = gb.read(second)
    assert isinstance(other, ExpenseRecord)
    assert (other.amount, other.currency) == (Decimal("105.005"), "EUR")


def test_breaks_and_days_off_are_not_work(gb: Workspace) -> None:
    gb.seed(approvals=[approval("a1", entry("e1", type="BREAK"), entry("e2", type="TIME_OFF"), entry("e3"))])
    assert [len(list(gb.connector.map(record))) for record in gb.take()] == [0, 0, 1]


@pytest.mark.case(5)
def test_only_an_approved_state_is_approved(gb: Workspace) -> None:
    gb.seed(approvals=[approval("a1", entry("e1"))])
    [record] = gb.take()
    for state, status in {
        "APPROVED": SourceStatus.APPROVED,
        "PENDING": SourceStatus.SUBMITTED,
        "WITHDRAWN_APPROVAL": SourceStatus.WITHDRAWN,
        "WITHDRAWN_SUBMISSION": SourceStatus.DRAFT,
        "REJECTED": SourceStatus.REJECTED,
    }.items():
        header = {**record.payload["approvalRequest"], "status": {"state": state}}
        found = gb.read(replace(record, payload={**record.payload, "approvalRequest": header}))
        assert found.status is status
    running = {
        **record.payload["entry"],
        "timeInterval": {"start": "2026-03-03T08:00:00Z", "end": None, "duration": None},
    }
    assert gb.read(replace(record, payload={**record.payload, "entry": running})).status is SourceStatus.DRAFT


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"timeInterval": None}, "timeInterval"),
        ({"timeInterval": {"start": "today", "duration": "PT1H", "end": "x"}}, r"timeInterval\.start"),
        (
            {"timeInterval": {"start": "2026-03-03T08:00:00Z", "duration": "1:30"}},
            "“1:30”, not one such as PT1H30M|DRAFT",
        ),
        ({"hourlyRate": {"amount": "much", "currency": "GBP"}}, r"hourlyRate\.amount"),
        ({"billable": None}, "billable"),
    ],
)
def test_a_field_that_cannot_be_read_is_named(gb: Workspace, changes: dict[str, Any], named: str) -> None:
    gb.seed(approvals=[approval("a1", entry("e1"))])
    [record] = gb.take()
    with pytest.raises(Malformed, match=named):
        gb.read(replace(record, payload={**record.payload, "entry": {**record.payload["entry"], **changes}}))


def test_the_list_is_left_at_the_first_approval_older_than_the_cursor(gb: Workspace) -> None:
    gb.having(page_size=2)
    gb.seed(
        approvals=[approval(f"a{n}", entry(f"e{n}"), updatedAt=f"2026-03-{10 + n:02d}T10:00:00Z") for n in range(1, 8)]
    )
    assert len(gb.take()) == 7
    before = len(gb.calls())
    again = gb.take()
    assert [record.external_id for record in again] == ["e7"]
    assert len([call for call in gb.calls()[before:] if "status=APPROVED" in call["query"]]) == 1


def test_a_list_that_ignores_the_order_is_read_to_its_end(gb: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    gb.having(page_size=2)
    gb.seed(approvals=[approval(f"a{n}", entry(f"e{n}"), updatedAt=f"2026-03-1{n}T10:00:00Z") for n in range(1, 4)])
    asked = gb.connector
    request = asked.http.request

    def unordered(method: str, path: str, *, params: Any = None, **rest: Any) -> Any:
        return request(method, path, params={**params, "sort-order": "ASCENDING"}, **rest)

    monkeypatch.setattr(asked.http, "request", unordered)
    pages = asked.pull("time_entries", "2026-03-12T12:00:00.000000Z")
    assert [record.external_id for page in pages for record in page.records] == ["e3"]


@pytest.mark.case(3)
def test_approvals_of_the_cursors_own_second_are_read_again(gb: Workspace) -> None:
    gb.seed(approvals=[approval("a1", entry("e1"))])
    [first] = gb.take()
    gb.seed(approvals=[approval("a2", entry("e2"))])
    again = {record.external_id: record for record in gb.take()}
    assert set(again) == {"e1", "e2"}
    assert again["e1"].revision == first.revision


@pytest.mark.case(3)
def test_withdrawing_and_approving_within_one_second_ends_with_the_last_word(gb: Workspace) -> None:
    now = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=60)
    stamp = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    gb.seed(approvals=[approval("a1", entry("e1"), updatedAt=stamp)])
    [open_one] = gb.fetch(f"{APPROVAL}a1")
    assert " open " in open_one.revision
    item = {"approvalRequest": open_one.payload["approvalRequest"], "entries": [open_one.payload["entry"]]}
    [settled] = gb.connector._records("time_entries", item, now + timedelta(seconds=1))
    assert settled.revision > open_one.revision


@pytest.mark.case(4)
def test_the_cursor_never_passes_the_servers_clock(gb: Workspace) -> None:
    gb.seed(
        approvals=[
            approval("a1", entry("e1"), updatedAt="2126-01-01T00:00:00Z"),
            approval("a2", entry("e2"), updatedAt="2026-03-09T10:00:00+02:00"),
        ]
    )
    gb.take()
    assert gb.cursor == "2026-03-09T08:00:00.000000Z"


def test_a_withdrawn_approval_withdraws_its_entries_with_a_later_revision(gb: Workspace) -> None:
    gb.seed(approvals=[approval("a1", entry("e1"), expenses=[expense("x1")])])
    [before] = gb.take()
    gb.act("withdraw", "a1", at="2026-03-10T10:00:00Z", by="boss")
    [after] = gb.take()
    assert after.external_id == before.external_id
    assert after.revision > before.revision
    assert gb.read(after).status is SourceStatus.WITHDRAWN
    gb.cursor = None
    [spent] = gb.take("expenses")
    assert gb.read(spent).status is SourceStatus.WITHDRAWN


def test_a_resubmitted_approval_brings_the_edit_as_the_next_revision(gb: Workspace) -> None:
    gb.seed(approvals=[approval("a1", entry("e1"))])
    [before] = gb.take()
    gb.act("withdraw", "a1", at="2026-03-10T10:00:00Z")
    changed = {"timeInterval": entry("e1", duration="PT2H")["timeInterval"]}
    gb.seed(actions=[{"do": "edit", "ids": ["e1"], "changes": changed}])
    gb.act("submit", "a1", at="2026-03-10T11:00:00Z")
    gb.act("approve", "a1", at="2026-03-10T12:00:00Z", by="boss")
    [after] = gb.take()
    assert after.revision > before.revision
    assert (gb.time(after).hours, gb.read(after).status) == (Decimal(2), SourceStatus.APPROVED)


def present(gb: Workspace, stream: str = "time_entries") -> set[str]:
    return set(gb.connector.present(stream, date(2026, 3, 1), date(2026, 3, 31)))


@pytest.mark.case(1)
def test_an_entry_that_left_its_approval_is_missed_and_asked_for_by_name(gb: Workspace) -> None:
    gb.seed(approvals=[approval("a1", entry("e1"), entry("e2"), entry("e3"))])
    first = {record.external_id: record for record in gb.take()}
    assert present(gb) == {"e1", "e2", "e3"}
    gb.act("detach", "e2")
    gb.act("delete", "e3")
    assert gb.connector.tombstones is False
    assert present(gb) == {"e1"}
    [detached] = gb.fetch("e2")
    assert detached.revision > first["e2"].revision
    assert gb.read(detached).status is SourceStatus.DRAFT
    assert gb.fetch("e3") == []
    [kept] = gb.fetch("e1")
    assert kept.revision == first["e1"].revision


def test_entries_of_a_withdrawn_approval_that_lists_none_are_found_by_name(gb: Workspace) -> None:
    gb.configure(withdrawn_keeps_entries=False)
    gb.seed(approvals=[approval("a1", entry("e1"), expenses=[expense("x1")])])
    gb.act("withdraw", "a1", at="2026-03-10T10:00:00Z")
    assert gb.take() == []
    assert present(gb) == set()
    [found] = gb.fetch("e1")
    assert gb.read(found).status is SourceStatus.DRAFT
    [spent] = gb.fetch("x1", "expenses")
    assert gb.read(spent).status is SourceStatus.DRAFT


def test_a_rejected_approval_is_in_no_list_and_its_entries_are_drafts(gb: Workspace) -> None:
    gb.seed(approvals=[approval("a1", entry("e1"))])
    gb.act("reject", "a1")
    assert gb.fetch(f"{APPROVAL}a1") == []
    [found] = gb.fetch("e1")
    assert gb.read(found).status is SourceStatus.DRAFT


def test_the_sweep_keeps_to_its_days_and_leaves_older_periods_alone(gb: Workspace) -> None:
    gb.having(page_size=1)
    old = {"start": "2025-11-03T00:00:00Z", "end": "2025-11-09T23:59:59Z"}
    gb.seed(
        approvals=[
            approval("a1", entry("e1"), entry("e2", "2026-03-08T08:00:00Z"), expenses=[expense("x1")]),
            approval("a0", entry("e0", "2025-11-04T08:00:00Z"), dateRange=old),
            approval("a00", entry("e00", "2025-11-05T08:00:00Z"), dateRange=old),
        ]
    )
    days = date(2026, 3, 3), date(2026, 3, 4)
    before = len(gb.calls())
    assert list(gb.connector.present("time_entries", *days)) == ["e1"]
    assert len([call for call in gb.calls()[before:] if "status=APPROVED" in call["query"]]) == 2
    assert list(gb.connector.present("expenses", *days)) == ["x1"]


@pytest.mark.case(12)
@pytest.mark.parametrize("kind", ["garbage", "reset_mid_body", "maintenance"])
def test_a_page_that_breaks_off_leaves_the_cursor_and_the_next_pull_has_everything(gb: Workspace, kind: str) -> None:
    gb.having(page_size=1)
    gb.seed(approvals=[approval(f"a{n}", entry(f"e{n}")) for n in range(3)])
    control(gb.base, "POST", "faults", [{"vendor": "clockify", "kind": kind, "path": "/approval-requests", "after": 1}])
    cursors: list[str | None] = []
    with pytest.raises(Unavailable):
        cursors.extend(page.cursor for page in gb.connector.pull("time_entries", None))
    assert set(cursors) <= {None}
    assert len(gb.take()) == 3


@pytest.mark.case(14)
def test_an_error_that_is_not_an_absence_is_never_read_as_one(gb: Workspace) -> None:
    gb.seed(approvals=[approval("a1", entry("e1"))])
    for fault in ({"kind": "status", "status": 500}, {"kind": "maintenance", "status": 404}):
        control(gb.base, "POST", "faults", [{"vendor": "clockify", "path": "/time-entries/", **fault}])
        with pytest.raises(Unavailable):
            gb.fetch("e1")
    assert not assumptions.is_gone(400, {"code": 501, "message": "page must be a number"})
    assert assumptions.is_gone(
        400, {"code": 501, "message": "TIMEENTRY with id e9 doesn't belong to WORKSPACE with id w"}
    )


@pytest.mark.case(118)
def test_a_webhook_is_a_hint_and_what_is_true_is_read_again(gb: Workspace, door: Door) -> None:
    gb.seed(approvals=[approval("a1", entry("e1"), state="PENDING", expenses=[expense("x1")])])
    gb.act("approve", "a1", by="boss")
    door.wait_for(2)
    hints = [hint for delivery in door.taken for hint in delivery.hints]
    assert set(hints) == {Hint(stream=s, external_id=f"{APPROVAL}a1") for s in ("time_entries", "expenses")}
    gb.act("withdraw", "a1")
    door.wait_for(3)
    [record] = gb.connector.fetch(hints[0])
    assert gb.read(record).status is SourceStatus.WITHDRAWN
    [spent] = gb.connector.fetch(Hint(stream="expenses", external_id=f"{APPROVAL}a1"))
    assert spent.external_id == "x1"


@pytest.mark.case(117)
def test_a_delivery_that_is_repeated_or_reordered_has_the_same_identity(gb: Workspace, door: Door) -> None:
    gb.seed(approvals=[approval("a1", entry("e1"), state="PENDING", updatedAt="2026-03-09T09:00:00Z")])
    gb.act("approve", "a1", at="2026-03-09T10:00:00Z")
    gb.act("withdraw", "a1", at="2026-03-09T11:00:00Z")
    door.wait_for(3)
    first = {delivery.delivery_id for delivery in door.taken}
    assert first == {
        f"{NEW}:a1:2026-03-09T09:00:00Z",
        f"{CHANGED}:a1:2026-03-09T10:00:00Z",
        f"{CHANGED}:a1:2026-03-09T11:00:00Z",
    }
    gb.seed(actions=[{"do": "deliver", "times": 2, "order": "reversed"}])
    door.wait_for(9)
    assert {delivery.delivery_id for delivery in door.taken} == first


@pytest.mark.case(119)
def test_a_forged_delivery_is_unauthorised(gb: Workspace, door: Door) -> None:
    gb.configure(webhooks="hold")
    gb.seed(approvals=[approval("a1", entry("e1"))])
    gb.seed(actions=[{"do": "deliver", "token": "guessed"}])
    door.wait_for(1)
    assert door.taken == []
    assert "not ours" in door.refused[0]
    for headers in (
        {},
        {"clockify-signature": ""},
        {"clockify-signature": TOKEN[:-1]},
        {"clockify-signature": TOKEN + "é"},
    ):
        with pytest.raises(Unauthorised):
            gb.connector.receive({**headers, "clockify-webhook-event-type": CHANGED}, b"{}")
    gb.trusting()
    with pytest.raises(Unauthorised, match="no secret webhook_token"):
        gb.connector.receive({"clockify-signature": ""}, b"{}")


def body(**changes: Any) -> bytes:
    status = {"state": "APPROVED", "updatedAt": "2026-03-09T10:00:00Z"}
    return json.dumps({"id": "a1", "workspaceId": WORKSPACE_ID, "status": status, **changes}).encode()


@pytest.mark.case(123)
def test_two_tokens_are_good_while_one_is_rotated(gb: Workspace) -> None:
    gb.trusting(webhook_token="new", webhook_token_previous="old", webhook_token_2="of another webhook")
    for token in ("new", "old", "of another webhook"):
        delivery = gb.connector.receive({"Clockify-Signature": token, "Clockify-Webhook-Event-Type": CHANGED}, body())
        assert delivery.delivery_id == f"{CHANGED}:a1:2026-03-09T10:00:00Z"
    gb.trusting(webhook_token="new")
    with pytest.raises(Unauthorised):
        gb.connector.receive({"Clockify-Signature": "old", "Clockify-Webhook-Event-Type": CHANGED}, body())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not json", "not JSON"),
        (b"[]", "not an object"),
        (body(workspaceId="another"), "workspace another came"),
        (body(status={}), r"no status\.updatedAt"),
        (body(id=None), "no id"),
    ],
)
def test_a_delivery_that_cannot_be_read_is_malformed(gb: Workspace, content: bytes, message: str) -> None:
    with pytest.raises(Malformed, match=message):
        gb.connector.receive({"clockify-signature": TOKEN, "clockify-webhook-event-type": CHANGED}, content)


@pytest.mark.parametrize(
    ("event", "content", "hints"),
    [
        ("TIME_ENTRY_DELETED", {"id": "e1"}, [Hint(stream="time_entries", external_id="e1")]),
        ("EXPENSE_DELETED", {"expenseId": "x1"}, [Hint(stream="expenses", external_id="x1")]),
        ("NEW_PROJECT", {"id": "p1"}, []),
    ],
)
def test_other_events_name_their_record_or_nothing(
    gb: Workspace, event: str, content: dict[str, Any], hints: list[Hint]
) -> None:
    raw = json.dumps(content | {"workspaceId": WORKSPACE_ID}).encode()
    headers = {"clockify-signature": TOKEN, "clockify-webhook-event-type": event}
    delivery = gb.connector.receive(headers, raw)
    assert list(delivery.hints) == hints
    assert delivery.delivery_id == gb.connector.receive(headers, raw).delivery_id


def test_a_hint_about_an_approval_deep_in_the_list_is_found(gb: Workspace) -> None:
    gb.having(page_size=1)
    gb.seed(approvals=[approval(f"a{n}", entry(f"e{n}"), updatedAt=f"2026-03-{10 + n}T10:00:00Z") for n in range(1, 6)])
    assert [record.external_id for record in gb.fetch(f"{APPROVAL}a2")] == ["e2"]
    assert gb.fetch(f"{APPROVAL}a9") == []


def test_the_first_reading_starts_at_the_configured_day(gb: Workspace) -> None:
    gb.having(start_on="2026-03-01")
    old = {"start": "2025-11-03T00:00:00Z", "end": "2025-11-09T23:59:59Z"}
    gb.seed(approvals=[approval("a1", entry("e1")), approval("a0", entry("e0"), dateRange=old)])
    assert [record.external_id for record in gb.take()] == ["e1"]


def test_a_cursor_or_stream_that_is_none_is_malformed(gb: Workspace) -> None:
    gb.cursor = "yesterday"
    with pytest.raises(Malformed, match="cursor 'yesterday'"):
        gb.pages()
    with pytest.raises(Malformed, match="no stream “invoices”"):
        gb.pages("invoices")


@pytest.mark.case(67)
def test_a_wrong_key_is_unauthorised(gb: Workspace) -> None:
    gb.account = replace(gb.account, secrets={"api_key": "other"})
    with pytest.raises(Unauthorised, match="4003"):
        gb.connector.check()
    gb.account = replace(gb.account, secrets={})
    with pytest.raises(Unauthorised, match="no Clockify API key"):
        gb.connector.check()


def test_too_many_requests_are_waited_out(gb: Workspace) -> None:
    gb.configure(rate=[1, 60])
    with pytest.raises(Unavailable, match="Too many requests"):
        gb.connector.check()


def raw(base: str, method: str, path: str, headers: dict[str, str], data: Any = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(urlsplit(base).netloc, timeout=10)
    connection.request(method, f"/clockify/api/v1{path}", json.dumps(data) if data is not None else None, headers)
    answer = connection.getresponse()
    status, content = answer.status, answer.read()
    connection.close()
    return status, json.loads(content) if content else None


def test_the_stand_in_refuses_what_clockify_refuses(gb: Workspace) -> None:
    key = {"X-Api-Key": API_KEY}
    lists = f"/workspaces/{WORKSPACE_ID}/approval-requests"
    assert raw(gb.base, "GET", "/user", {}) == (401, {"message": "Multiple or none auth tokens present", "code": 1000})
    assert raw(gb.base, "GET", "/user", {**key, "Authorization": "Bearer x"})[1]["code"] == 1000
    assert raw(gb.base, "GET", "/user", {**key, "X-Addon-Token": "x"})[1]["code"] == 1000
    assert raw(gb.base, "GET", "/user", {"X-Api-Key": "x"}) == (
        401,
        {"message": "Api key does not exist", "code": 4003},
    )
    assert raw(gb.base, "GET", "/nowhere", key)[1]["code"] == 3000
    assert raw(gb.base, "GET", f"{lists}?status=REJECTED", key)[1]["code"] == 501
    assert raw(gb.base, "GET", f"{lists}?status=APPROVED&sort-column=NAME", key)[0] == 400
    assert raw(gb.base, "GET", "/workspaces/other/approval-requests", key)[0] == 403


def test_the_stand_in_changes_states_and_makes_webhooks_as_documented(gb: Workspace, door: Door) -> None:
    key = {"X-Api-Key": API_KEY}
    base = f"/workspaces/{WORKSPACE_ID}"
    hook = {"name": "Tieout", "url": "http://127.0.0.1:9/", "webhookEvent": CHANGED}
    status, made = raw(gb.base, "POST", f"{base}/webhooks", key, hook)
    assert (status, bool(made["authToken"])) == (201, True)
    rotated = raw(gb.base, "PATCH", f"{base}/webhooks/{made['id']}/token", key)[1]
    assert rotated["authToken"] != made["authToken"]
    gb.seed(approvals=[approval("a1", entry("e1"), state="PENDING")])
    assert raw(gb.base, "PATCH", f"{base}/approval-requests/a1", key, {"state": "DONE"})[0] == 400
    status, changed = raw(gb.base, "PATCH", f"{base}/approval-requests/a1", key, {"state": "APPROVED"})
    assert (status, changed["status"]["state"]) == (200, "APPROVED")
    door.wait_for(2)
    [record] = gb.take()
    assert gb.read(record).status is SourceStatus.APPROVED
