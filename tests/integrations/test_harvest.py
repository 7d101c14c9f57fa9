"""Harvest over real HTTP: increments, withdrawn approvals, the open window, deletions, limits."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import pytest

from integrations import payloads
from integrations.connectors.harvest import connector as harvest
from integrations.connectors.harvest.connector import HarvestConnector
from integrations.connectors.harvest.cursor import HarvestCursor, revision
from integrations.errors import Malformed, Unauthorised, Unavailable
from integrations.http import Http
from integrations.protocol import Account, Hint, Page, Source, SourceRecord
from integrations.sandbox.harvest import ACCOUNT_ID, TOKEN
from integrations.sandbox.server import control, sandbox_server
from portal.records import ExpenseRecord, Reference, SourceStatus, TimeEntryRecord
from tests.integrations.contract import Bench, SourceContract

TODAY = datetime.now(UTC).date()
LAST_WEEK = TODAY - timedelta(days=7)
MASTER = {
    "users": [{"id": 11, "name": "Ada Ito"}, {"id": 12, "name": "Ben Roy"}],
    "clients": [{"id": 21, "name": "Acme", "currency": "USD"}],
    "projects": [{"id": 31, "name": "Rollout", "code": "ACM-1"}],
    "tasks": [{"id": 41, "name": "Design"}],
    "categories": [{"id": 51, "name": "Travel"}],
}
LONG_AGO = "2026-01-05T09:00:00Z"


class Account11:
    """One Harvest account: the sandbox and a connector on it, with the cursor that a run would store."""

    def __init__(self, base: str, **settings: Any) -> None:
        self.base = base
        self.account = Account(
            code="harvest-us",
            base_url=f"{base}/harvest/v2",
            realm=ACCOUNT_ID,
            zone="America/New_York",
            settings={"contact": "finance@example.com", **settings},
            secrets={"token": TOKEN},
        )
        self.cursor: str | None = None

    @property
    def connector(self) -> HarvestConnector:
        return HarvestConnector(self.account, Http(self.account, hosts=HarvestConnector.hosts, allow_loopback=True))

    def having(self, **settings: Any) -> None:
        self.account = replace(self.account, settings={**self.account.settings, **settings})

    def seed(self, **data: Any) -> None:
        control(self.base, "POST", "harvest/seed", data)

    def act(self, do: str, *ids: int, **more: Any) -> None:
        self.seed(actions=[{"do": do, "ids": list(ids), **more}])

    def configure(self, **settings: Any) -> None:
        control(self.base, "POST", "harvest/configure", settings)

    def fault(self, **fault: Any) -> None:
        control(self.base, "POST", "faults", [{"vendor": "harvest", **fault}])

    def calls(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = control(self.base, "GET", "harvest/calls")
        return found

    def pages(self, stream: str = "time_entries") -> list[Page]:
        return list(self.connector.pull(stream, self.cursor))

    def take(self, stream: str = "time_entries") -> dict[str, SourceRecord]:
        pages = self.pages(stream)
        assert [page.last for page in pages] == [False] * (len(pages) - 1) + [True]
        self.cursor = pages[-1].cursor
        return {record.external_id: record for page in pages for record in page.records}

    def fetch_payload(self, number: int) -> Any:
        [record] = self.connector.fetch(Hint(stream="time_entries", external_id=str(number)))
        return record.payload

    def read(self, record: SourceRecord) -> TimeEntryRecord:
        [document] = self.connector.map(stored(record))
        assert isinstance(document, TimeEntryRecord)
        return document


def stored(record: SourceRecord) -> SourceRecord:
    return replace(record, payload=payloads.read(payloads.as_stored(record.payload)))


def entry(number: int, day: date = LAST_WEEK, **more: Any) -> dict[str, Any]:
    return {
        "id": number, "spent_date": day.isoformat(), "hours": 7.5, "user": 11, "client": 21, "project": 31, "task": 41,
        "billable_rate": 150.0, "approval_status": "approved", "updated_at": LONG_AGO, **more,
    }  # fmt: skip


def expense(number: int) -> dict[str, Any]:
    return {
        "id": number, "spent_date": "2026-03-03", "total_cost": 51.05, "user": 11, "client": 21, "project": 31,
        "expense_category": 51, "approval_status": "approved", "updated_at": LONG_AGO, "billable": True,
        "receipt": {"url": "https://files.example.com/r/9", "file_name": "taxi.pdf"},
    }  # fmt: skip


@pytest.fixture(scope="module")
def sandbox() -> Iterator[str]:
    with sandbox_server(names=["harvest"]) as base:
        yield base


@pytest.fixture
def us(sandbox: str) -> Account11:
    control(sandbox, "POST", "reset")
    account = Account11(sandbox)
    account.seed(**MASTER)
    account.configure(rate=[100_000, 15])
    return account


class TestContract(SourceContract):
    streams = ("time_entries", "expenses")

    @pytest.fixture(autouse=True)
    def _bench(self, us: Account11, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(HarvestConnector, "rate", None)
        standing = {
            "time_entries": [
                entry(1, updated_at="2026-03-03T10:00:00Z"), entry(2), entry(3, approval_status="submitted"),
            ],
            "expenses": [expense(9)],
        }  # fmt: skip
        us.seed(**standing)

        def change(stream: str, key: str, at: datetime) -> None:
            [row] = [one for one in standing[stream] if str(one["id"]) == key]
            stamp = at.strftime("%Y-%m-%dT%H:%M:%SZ")
            us.seed(**{stream: [{**row, "notes": f"Changed at {at}", "updated_at": stamp}]})

        self.bench = Bench(
            connector=HarvestConnector,
            account=us.account,
            sandbox=us.base,
            vendor="harvest",
            read={"method": "GET", "path": "/v2/time_entries"},
            change=change,
        )


def raw(base: str, path: str, headers: dict[str, str]) -> tuple[int, dict[str, Any], dict[str, str]]:
    connection = http.client.HTTPConnection(urlsplit(base).netloc, timeout=10)
    connection.putrequest("GET", f"/harvest/v2{path}", skip_accept_encoding=True)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    body = json.loads(answer.read())
    connection.close()
    return answer.status, body, {name.lower(): value for name, value in answer.getheaders()}


def test_the_connector_is_a_source_and_says_who_answers(us: Account11) -> None:
    assert isinstance(us.connector, Source)
    assert us.connector.check() == "Harvest answers for Sandbox Ltd, as Integration User."


def test_an_approved_entry_becomes_hours_with_everything_harvest_knows(us: Account11) -> None:
    us.having(web_address="https://acme.harvestapp.com")
    us.seed(
        time_entries=[
            entry(
                1,
                date(2026, 3, 3),
                hours=7.1,
                billable_rate=110.10,
                notes="Design review",
                started_time="10:00pm",
                ended_time="1:30am",
                external_reference={"id": "37", "group_id": "10001", "service": "Jira"},
            )
        ]
    )
    found = us.read(us.take()["1"])
    assert found.status is SourceStatus.APPROVED
    assert (found.hours, found.rate, found.currency) == (Decimal("7.1"), Decimal("110.1"), "USD")
    assert found.resource == Reference("11", "", "Ada Ito")
    assert found.project == Reference("31", "ACM-1", "Rollout")
    assert found.task == Reference("41", "", "Design")
    assert found.customer == Reference("21", "", "Acme")
    assert (found.work_date, found.zone, found.billable) == (date(2026, 3, 3), "America/New_York", True)
    assert found.provenance == "jira:10001/37"
    assert found.link == "https://acme.harvestapp.com/time/day/2026/03/03/11"
    assert found.starts_at is not None
    assert found.ends_at is not None
    assert found.ends_at - found.starts_at == timedelta(hours=3, minutes=30)
    assert found.description == "Design review"


def test_a_rate_of_null_is_none_and_a_rate_of_zero_is_zero(us: Account11) -> None:
    us.seed(time_entries=[entry(1, billable_rate=None), entry(2, billable_rate=0.0)])
    found = us.take()
    assert us.read(found["1"]).rate is None
    assert us.read(found["2"]).rate == Decimal(0)


def test_rounded_hours_are_taken_only_when_the_setting_says_so(us: Account11) -> None:
    us.seed(time_entries=[entry(1, hours=7.1, rounded_hours=7.25)])
    record = us.take()["1"]
    assert us.read(record).hours == Decimal("7.1")
    us.having(use_rounded_hours=True)
    assert us.read(record).hours == Decimal("7.25")


@pytest.mark.case(5)
def test_a_running_timer_and_an_unsubmitted_entry_are_seen_as_not_final(us: Account11) -> None:
    us.seed(
        time_entries=[
            entry(1, is_running=True),
            entry(2, approval_status="unsubmitted"),
            entry(3, approval_status="submitted"),
            entry(4),
        ]
    )
    statuses = {key: us.read(record).status for key, record in us.take().items()}
    assert statuses == {
        "1": SourceStatus.DRAFT,
        "2": SourceStatus.DRAFT,
        "3": SourceStatus.SUBMITTED,
        "4": SourceStatus.APPROVED,
    }


def test_an_account_from_before_approval_status_says_approved_by_its_lock(us: Account11) -> None:
    us.seed(time_entries=[entry(1)])
    record = us.take()["1"]
    payload = {name: value for name, value in record.payload.items() if name != "approval_status"}
    for changes, status in (
        ({}, SourceStatus.APPROVED),
        ({"is_closed": False}, SourceStatus.APPROVED),
        ({"is_closed": False, "locked_reason": "Item Invoiced and Locked for this Time Period"}, SourceStatus.DRAFT),
        ({"is_closed": False, "locked_reason": None}, SourceStatus.DRAFT),
    ):
        assert us.read(replace(record, payload={**payload, **changes})).status is status


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("hours", None),
        ("hours", "seven"),
        ("hours", "NaN"),
        ("billable_rate", "1,5"),
        ("billable", None),
        ("spent_date", "31.03.2026"),
        ("approval_status", "blessed"),
    ],
)
def test_a_field_that_cannot_be_read_is_named(us: Account11, field: str, value: Any) -> None:
    us.seed(time_entries=[entry(1)])
    record = us.take()["1"]
    with pytest.raises(Malformed, match=field):
        us.read(replace(record, payload={**record.payload, field: value}))


def test_an_expense_is_gross_in_its_clients_currency_with_its_receipt(us: Account11) -> None:
    us.seed(expenses=[expense(9)])
    record = us.take("expenses")["9"]
    [document] = us.connector.map(stored(record))
    assert isinstance(document, ExpenseRecord)
    assert (document.amount, document.currency, document.category) == (Decimal("51.05"), "USD", "Travel")
    assert document.receipt_reference == "https://files.example.com/r/9"
    without = {**record.payload, "client": None}
    with pytest.raises(Malformed, match=r"client\.currency"):
        list(us.connector.map(replace(record, payload=without)))
    us.having(currency="EUR")
    [document] = us.connector.map(replace(record, payload=without))
    assert isinstance(document, ExpenseRecord)
    assert document.currency == "EUR"


def test_every_page_is_followed_by_its_cursor_link_and_the_cursor_moves_with_the_last_only(
    us: Account11, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(harvest, "PER_PAGE", 2)
    us.having(window_days=0)
    us.seed(time_entries=[entry(n, LAST_WEEK - timedelta(days=n)) for n in range(1, 6)])
    pages = us.pages()
    assert [[r.external_id for r in page.records] for page in pages] == [["1", "2"], ["3", "4"], ["5"]]
    assert [page.total for page in pages] == [5, 5, 5]
    assert [HarvestCursor.of(page.cursor).updated is None for page in pages] == [True, True, False]


@pytest.mark.case(2)
def test_an_entry_dated_months_ago_is_found_by_its_update(us: Account11) -> None:
    us.seed(time_entries=[entry(1)])
    us.take()
    us.seed(time_entries=[entry(2, TODAY - timedelta(days=300), updated_at="2026-01-05T09:30:00Z")])
    assert "2" in us.take()


@pytest.mark.case(3)
def test_entries_of_the_cursors_own_second_are_read_again_and_fall_to_the_unique_key(us: Account11) -> None:
    us.seed(time_entries=[entry(1)])
    first = us.take()
    us.seed(time_entries=[entry(2)])
    second = us.take()
    assert set(second) == {"1", "2"}
    assert second["1"].revision == first["1"].revision


@pytest.mark.case(3)
def test_a_second_change_within_the_same_second_gets_a_later_revision() -> None:
    now = datetime(2026, 3, 3, 10, 0, 0, tzinfo=UTC)
    stamp = {"id": 1, "updated_at": "2026-03-03T10:00:00Z"}
    early = revision({**stamp, "hours": 1}, now, reread=False)
    changed = revision({**stamp, "hours": 2}, now, reread=False)
    settled = revision({**stamp, "hours": 2}, now + timedelta(seconds=5), reread=False)
    again = revision({**stamp, "hours": 3}, now + timedelta(days=1), reread=True)
    next_one = revision({"id": 1, "updated_at": "2026-03-03T10:00:01Z"}, now + timedelta(seconds=9), reread=False)
    assert early != changed
    assert max(early, changed) < settled < again < next_one


@pytest.mark.case(4)
def test_an_account_that_reads_the_cursor_as_local_time_loses_nothing(us: Account11) -> None:
    us.configure(updated_since_zone="America/New_York")
    us.having(cursor_zone="America/New_York", window_days=0)
    us.seed(time_entries=[entry(1, updated_at="2026-03-03T10:00:00Z")])
    us.take()
    us.seed(time_entries=[entry(2, updated_at="2026-03-03T10:00:01Z")])
    assert set(us.take()) == {"1", "2"}
    assert "updated_since=2026-03-03T04%3A00%3A00&" in us.calls()[-1]["query"] + "&"


def test_the_cursor_is_rendered_in_utc_and_an_hour_back_unless_told_otherwise(us: Account11) -> None:
    us.having(window_days=0)
    us.seed(time_entries=[entry(1, updated_at="2026-03-03T10:00:00Z")])
    us.take()
    us.take()
    assert "updated_since=2026-03-03T09%3A00%3A00Z" in us.calls()[-1]["query"]


def test_a_stamp_in_the_future_never_carries_the_cursor_beyond_the_servers_clock(us: Account11) -> None:
    us.seed(time_entries=[entry(1, updated_at="2126-01-01T00:00:00Z")])
    us.take()
    reached = HarvestCursor.of(us.cursor).updated
    assert reached is not None
    assert reached <= datetime.now(UTC) + timedelta(seconds=1)
    us.seed(time_entries=[entry(2, updated_at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))])
    assert "2" in us.take()


@pytest.mark.case(7)
def test_an_entry_twice_in_a_page_has_one_identity(us: Account11) -> None:
    us.seed(time_entries=[entry(1)])
    [page] = [page for page in us.pages() if page.last]
    [record] = page.records
    assert us.connector._records("time_entries", [record.payload, record.payload], datetime.now(UTC)) == [
        record,
        record,
    ]


@pytest.mark.case(10, 11)
def test_hours_and_day_are_harvests_own_across_a_clock_change(us: Account11) -> None:
    us.seed(time_entries=[entry(1, date(2026, 3, 8), hours=8.0, started_time="12:00am", ended_time="9:00am")])
    found = us.read(us.take()["1"])
    assert (found.hours, found.work_date, found.zone) == (Decimal(8), date(2026, 3, 8), "America/New_York")


@pytest.mark.case(12)
def test_a_list_that_ends_too_early_leaves_the_cursor_and_says_how_many_are_missing(
    us: Account11, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(harvest, "PER_PAGE", 2)
    us.having(window_days=0)
    us.seed(time_entries=[entry(n) for n in range(1, 6)])
    us.configure(drop_next_link=True)
    [page] = us.pages()
    assert (page.last, len(page.records), page.total) == (True, 2, 5)
    assert HarvestCursor.of(page.cursor).updated is None
    with pytest.raises(Unavailable, match="listed 2 of 5 time_entries"):
        list(us.connector.present("time_entries", LAST_WEEK, TODAY))


@pytest.mark.case(12)
@pytest.mark.parametrize("kind", ["garbage", "reset_mid_body", "timeout_before", "maintenance"])
def test_an_answer_that_breaks_off_is_unavailable_and_the_next_pull_has_everything(us: Account11, kind: str) -> None:
    us.having(window_days=0, read_timeout=0.4, total_timeout=1)
    us.seed(time_entries=[entry(1), entry(2)])
    us.fault(kind=kind, path="/time_entries", seconds=1.5)
    with pytest.raises(Unavailable):
        us.pages()
    assert set(us.take()) == {"1", "2"}


def test_a_stream_that_does_not_exist_is_named_with_those_that_do(us: Account11) -> None:
    us.having(window_days=0)
    with pytest.raises(Malformed, match="has no stream “invoices”"):
        us.pages("invoices")


def test_an_approval_that_was_taken_back_is_seen_by_its_update(us: Account11) -> None:
    us.seed(time_entries=[entry(1)])
    before = us.take()["1"]
    us.act("withdraw", 1)
    after = us.take()["1"]
    assert after.revision > before.revision
    assert us.read(after).status is SourceStatus.DRAFT


def window(us: Account11, **settings: Any) -> None:
    us.having(reread_hours=0, **settings)
    us.configure(approval_moves_updated_at=False)


def test_an_approval_that_leaves_the_stamp_alone_is_found_by_the_window(us: Account11) -> None:
    window(us)
    us.seed(
        time_entries=[
            entry(1, approval_status="submitted", updated_at=LONG_AGO),
            entry(2, LAST_WEEK - timedelta(days=1), updated_at="2026-02-05T09:00:00Z"),
        ]
    )
    seen = us.take()
    us.act("approve", 1)
    after = us.take()
    assert us.read(after["1"]).status is SourceStatus.APPROVED
    assert after["1"].revision > seen["1"].revision
    assert after["2"].revision == seen["2"].revision


def test_approving_and_withdrawing_again_and_again_without_a_stamp_always_moves_on(us: Account11) -> None:
    window(us)
    us.seed(time_entries=[entry(1), entry(2, updated_at="2026-02-05T09:00:00Z")])
    record = us.take()["1"]
    now = datetime.now(UTC)
    for minute, do in enumerate(("withdraw", "submit", "approve"), start=1):
        us.act(do, 1)
        moved = us.connector._records(
            "time_entries", [us.fetch_payload(1)], now + timedelta(minutes=minute), reread=True
        )
        assert moved[0].revision > record.revision
        record = moved[0]
    assert us.read(record).status is SourceStatus.APPROVED


def test_a_window_without_changes_files_nothing_again(us: Account11) -> None:
    window(us)
    us.seed(time_entries=[entry(1), entry(2, updated_at="2026-02-05T09:00:00Z")])
    us.take()
    pages = us.pages()
    assert [record.external_id for page in pages[:-1] for record in page.records] == []
    assert [record.external_id for record in pages[-1].records] == ["2"]


def test_a_rate_that_changed_without_the_stamp_is_found_by_the_window(us: Account11) -> None:
    window(us)
    us.seed(time_entries=[entry(1), entry(2, updated_at="2026-02-05T09:00:00Z")])
    us.take()
    us.seed(time_entries=[entry(1, billable_rate=175.0)])
    assert us.read(us.take()["1"]).rate == Decimal(175)


def test_the_window_is_read_once_a_day(us: Account11) -> None:
    us.seed(time_entries=[entry(1)])
    us.take()
    before = len(us.calls())
    us.take()
    assert [call["path"] for call in us.calls()[before:]] == ["/v2/users/me", "/v2/time_entries"]


def test_a_first_reading_starts_at_the_configured_day(us: Account11) -> None:
    us.having(start_on=(LAST_WEEK - timedelta(days=1)).isoformat(), window_days=0)
    us.seed(time_entries=[entry(1), entry(2, LAST_WEEK - timedelta(days=30))])
    assert set(us.take()) == {"1"}


@pytest.mark.case(1)
def test_a_deleted_entry_is_missing_from_the_sweep_and_from_a_second_look(us: Account11) -> None:
    us.seed(time_entries=[entry(1), entry(2), entry(3, LAST_WEEK - timedelta(days=40))])
    us.take()
    us.act("delete", 1)
    assert us.connector.tombstones is False
    assert list(us.connector.present("time_entries", LAST_WEEK, TODAY)) == ["2"]
    assert list(us.connector.fetch(Hint(stream="time_entries", external_id="1"))) == []
    [still] = us.connector.fetch(Hint(stream="time_entries", external_id="2"))
    assert us.read(still).hours == Decimal("7.5")


@pytest.mark.case(14)
@pytest.mark.parametrize("fault", [{"kind": "status", "status": 500}, {"kind": "maintenance", "status": 404}])
def test_a_server_error_is_never_read_as_a_deletion(us: Account11, fault: dict[str, Any]) -> None:
    us.seed(time_entries=[entry(1)])
    us.fault(**fault)
    with pytest.raises(Unavailable):
        us.connector.fetch(Hint(stream="time_entries", external_id="1"))


def test_over_a_hundred_calls_in_fifteen_seconds_are_told_when_to_come_again(us: Account11) -> None:
    us.configure(rate=[3, 15])
    for _ in range(3):
        us.connector.fetch(Hint(stream="time_entries", external_id="404"))
    with pytest.raises(Unavailable) as told:
        us.connector.check()
    assert told.value.retry_after is not None
    assert 1 <= told.value.retry_after <= 16


def test_a_503_is_waited_out_like_a_429(us: Account11) -> None:
    us.fault(kind="status", status=503, retry_after="7")
    with pytest.raises(Unavailable) as told:
        us.connector.check()
    assert told.value.retry_after == 7


@pytest.mark.case(67)
def test_a_wrong_token_or_account_is_unauthorised(us: Account11) -> None:
    us.account = replace(us.account, secrets={"token": "expired"})
    with pytest.raises(Unauthorised, match="invalid_token"):
        us.connector.check()
    us.account = replace(us.account, secrets={"token": TOKEN}, realm="2")
    with pytest.raises(Unauthorised):
        us.connector.check()
    us.account = replace(us.account, secrets={})
    with pytest.raises(Unauthorised, match="no Harvest access token"):
        us.connector.check()


def test_harvest_has_no_webhooks(us: Account11) -> None:
    with pytest.raises(Malformed, match="sends no webhooks"):
        us.connector.receive({}, b"{}")
    us.cursor = "yesterday"
    with pytest.raises(Malformed, match="cursor 'yesterday'"):
        us.pages()


def test_the_stand_in_refuses_what_harvest_refuses(us: Account11) -> None:
    good = {"Authorization": f"Bearer {TOKEN}", "Harvest-Account-Id": ACCOUNT_ID, "User-Agent": "Test (t@example.com)"}
    assert raw(us.base, "/users/me", good)[0] == 200
    assert raw(us.base, "/users/me", {**good, "User-Agent": ""})[0] == 400
    assert raw(us.base, "/users/me", {**good, "Authorization": "Bearer other"})[0] == 401
    assert raw(us.base, "/users/me", {**good, "Harvest-Account-Id": "2"})[0] == 403
    assert raw(us.base, "/time_entries?per_page=2001", good)[0] == 422
    assert raw(us.base, "/time_entries/1", good)[:2] == (404, {"code": 404, "message": "Record not found"})
    us.configure(rate=[1, 15])
    assert raw(us.base, "/users/me", good)[0] == 200
    status, _, headers = raw(us.base, "/users/me", good)
    assert (status, int(headers["retry-after"]) > 0) == (429, True)
