"""Tempo over real HTTP: approvals of periods, worklogs that change, deletions, signed webhooks, five calls a second."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from integrations.connectors.tempo.connector import PERIODS_AT_ONCE, TempoConnector
from integrations.errors import ConnectorError, Malformed, Rejected, Unauthorised, Unavailable
from integrations.http import Http, outcomes
from integrations.protocol import Hint, SourceRecord, SubscribedSource
from integrations.sandbox.server import control, sandbox_server
from integrations.sandbox.tempo import TOKEN, signed
from portal.records import Reference, SourceStatus
from tests.integrations.contract import SourceContract
from tests.integrations.tempo_account import MONDAY, SECRET, Site, days_ago, worklog


@pytest.fixture(scope="module")
def sandbox() -> Iterator[str]:
    with sandbox_server(names=["tempo"]) as base:
        yield base


@pytest.fixture
def site(sandbox: str) -> Site:
    control(sandbox, "POST", "reset")
    found = Site(sandbox)
    found.configure(rate=[100_000, 1])
    return found


class TestContract(SourceContract):
    streams = ("time_entries",)
    small = {"page_size": 2}

    @pytest.fixture(autouse=True)
    def _bench(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(TempoConnector, "rate", None)
        monkeypatch.setattr("integrations.connectors.tempo.connector.PERIODS_AT_ONCE", 1)
        self.bench = site.bench()


def test_an_approved_week_becomes_hours_on_the_account_of_the_worklog(site: Site) -> None:
    site.seed(worklog(1, account="ACM-1", timeSpentSeconds=27000, description="Workshop"))
    site.decide("approve", by="lead", at=days_ago(1))
    found = site.read(site.take()["1"])
    assert (found.status, found.hours, found.work_date) == (SourceStatus.APPROVED, Decimal("7.5"), MONDAY)
    assert (found.resource, found.project) == (Reference("ada"), Reference("ACM-1", "ACM-1"))
    assert (found.task, found.provenance) == (Reference("10001"), "jira:10001/1")
    assert (found.approved_by, found.billable, found.rate, found.currency) == (Reference("lead"), True, None, "EUR")
    assert found.approved_at is not None
    assert found.starts_at is not None
    assert found.starts_at.isoformat()[10:19] == "T09:00:00"


def test_an_approval_moves_every_worklog_of_its_period_though_none_of_them_changed(site: Site) -> None:
    site.seed(worklog(1), worklog(2, MONDAY + timedelta(days=6)), worklog(3, MONDAY + timedelta(days=7)))
    assert {site.read(record).status for record in site.take().values()} == {SourceStatus.DRAFT}
    site.decide("approve")
    after = site.take()
    assert {key: site.read(record).status for key, record in after.items() if key in "12"} == {
        "1": SourceStatus.APPROVED,
        "2": SourceStatus.APPROVED,
    }


@pytest.mark.parametrize("do", ["reopen", "reject"])
def test_an_approval_that_was_taken_back_is_a_later_revision_and_a_draft(site: Site, do: str) -> None:
    site.seed(worklog(1))
    site.decide("approve", at=days_ago(2))
    before = site.take()["1"]
    site.decide(do, at=days_ago(1))
    after = site.take()["1"]
    assert after.revision > before.revision
    assert site.read(after).status is SourceStatus.DRAFT


def test_of_several_words_about_one_period_the_last_one_holds(site: Site) -> None:
    site.seed(worklog(1))
    for number, do in enumerate(("submit", "approve", "reopen", "submit", "approve")):
        site.decide(do, at=days_ago(5 - number))
    assert site.read(site.take()["1"]).status is SourceStatus.APPROVED
    assert [call["path"] for call in site.calls()].count("/4/worklogs/user/ada") == 1


def test_a_worklog_added_late_to_an_approved_period_comes_with_its_approval(site: Site) -> None:
    site.seed(worklog(1))
    site.decide("approve", at=days_ago(9))
    site.take()
    site.seed(worklog(2, MONDAY + timedelta(days=2), updatedAt=days_ago(0.1)))
    assert site.read(site.take()["2"]).status is SourceStatus.APPROVED


def test_a_corrected_worklog_is_a_later_revision(site: Site) -> None:
    site.seed(worklog(1))
    site.decide("approve", at=days_ago(9))
    before = site.take()["1"]
    site.act("edit", ids=[1], changes={"timeSpentSeconds": 3600, "billableSeconds": 3600}, at=days_ago(1))
    after = site.take()["1"]
    assert after.revision > before.revision
    assert site.read(after).hours == 1


@pytest.mark.case(1)
def test_a_deletion_is_named_by_the_paper_trail_and_asked_for_by_name(site: Site) -> None:
    site.seed(worklog(1), worklog(2))
    site.take()
    site.act("delete", ids=[1], at=days_ago(0.5))
    [*_, last] = site.pages()
    [hint] = last.hints
    assert (hint.stream, hint.external_id, hint.because[:10]) == ("time_entries", "1", "deleted at")
    assert list(site.connector.fetch(hint)) == []
    assert list(site.connector.present("time_entries", MONDAY, MONDAY)) == ["2"]


@pytest.mark.case(132)
def test_without_the_permission_the_sentence_says_what_to_do_and_a_setting_does_without(site: Site) -> None:
    site.configure(paper_trail=False)
    site.seed(worklog(1))
    with pytest.raises(Unauthorised, match="read_deletions off"):
        site.pages()
    site.having(read_deletions=False)
    assert site.pages()[-1].hints == ()
    assert site.connector.check() == "Tempo answers with worklogs, without its paper trail."


@pytest.mark.case(14)
@pytest.mark.parametrize("fault", [{"kind": "status", "status": 500}, {"kind": "maintenance", "status": 404}])
def test_a_server_error_is_never_read_as_a_deletion(site: Site, fault: dict[str, Any]) -> None:
    site.seed(worklog(1))
    site.fault(**fault)
    with pytest.raises(Unavailable):
        site.connector.fetch(Hint(stream="time_entries", external_id="1"))


@pytest.mark.case(12)
def test_a_row_that_a_deletion_pulls_over_the_edge_of_a_page_is_not_skipped(site: Site) -> None:
    site.having(page_size=3)
    site.seed(*(worklog(n, updatedAt=days_ago(3 + n)) for n in range(1, 9)))
    site.configure(moves=[8])  # which stands first
    assert set(site.take()) >= {str(n) for n in range(1, 8)}


def test_the_approval_log_is_followed_by_its_token(site: Site) -> None:
    site.having(page_size=2)
    for number in range(5):
        site.seed(worklog(number + 1, author=f"p{number}", updatedAt=days_ago(400)))
        site.decide("approve", f"p{number}", at=days_ago(9 - number))
    pages = site.pages()
    assert {r.external_id for page in pages for r in page.records} == {"1", "2", "3", "4", "5"}


def test_a_first_reading_reaches_two_years_back_and_no_further_than_it_is_told(site: Site) -> None:
    site.seed(worklog(1, updatedAt=days_ago(900)), worklog(2, updatedAt=days_ago(300)), worklog(3))
    assert set(site.take()) == {"2", "3"}
    site.having(start_on=(MONDAY - timedelta(days=60)).isoformat())
    site.cursor = None
    assert set(site.take()) == {"3"}


def test_a_stamp_in_the_future_never_carries_the_cursor_beyond_the_servers_clock(site: Site) -> None:
    site.seed(worklog(1, updatedAt="2126-01-01T00:00:00Z"))
    site.take()
    site.seed(worklog(2, updatedAt=days_ago(0)))
    assert "2" in site.take()


@pytest.mark.parametrize(("choice", "hours"), [("billable", Decimal(1)), ("worked", Decimal(2))])
def test_a_worklog_that_is_billable_in_part_waits_until_somebody_says_which_hours_count(
    site: Site, choice: str, hours: Decimal
) -> None:
    site.seed(worklog(1, timeSpentSeconds=7200, billableSeconds=3600))
    record = site.take()["1"]
    with pytest.raises(Malformed, match=r"1 of 2 hours are billable.*partly_billable"):
        site.read(record)
    site.having(partly_billable=choice)
    assert (site.read(record).hours, site.read(record).billable) == (hours, True)


def test_what_nobody_may_bill_is_not_billable(site: Site) -> None:
    site.seed(worklog(1, billableSeconds=0))
    assert site.read(site.take()["1"]).billable is False


def test_a_connection_may_take_the_issue_for_the_project(site: Site) -> None:
    site.having(project_from="issue")
    site.seed(worklog(1, issue=20001, account=None))
    assert site.read(site.take()["1"]).project == Reference("20001")
    site.having(project_from="account")
    assert not site.read(site.take()["1"]).project


def test_a_first_reading_that_is_broken_off_goes_on_where_it_stood(site: Site) -> None:
    people = 2 * PERIODS_AT_ONCE + 5
    site.seed(*(worklog(n + 1, author=f"p{n}", updatedAt=days_ago(100 - n)) for n in range(people)))

    def asked() -> int:
        return sum(call["path"].startswith("/4/timesheet-approvals/user/") for call in site.calls())

    first = next(site.connector.pull("time_entries", None))
    assert (len(first.records), asked()) == (PERIODS_AT_ONCE, PERIODS_AT_ONCE)
    site.cursor = first.cursor
    rest = site.take()
    assert {*rest, *(record.external_id for record in first.records)} == {str(n + 1) for n in range(people)}
    assert asked() <= people + 1, "the last of the first page is read again, and nobody before"


ODD = [
    ({"author": None}, "author.accountId is missing"),
    ({"author": {}}, "author.accountId is missing"),
    ({"startDate": "31/01/2026"}, "startDate is “31/01/2026”"),
    ({"startDate": (MONDAY - timedelta(days=70)).isoformat()}, "names no period for"),
    ({"updatedAt": "sometime"}, "updatedAt is “sometime”"),
]


@pytest.mark.parametrize("has_company", [True, False])
@pytest.mark.parametrize(("odd", "names"), ODD, ids=[names for _, names in ODD])
def test_one_odd_worklog_waits_alone_and_is_read_once_it_is_mended(
    site: Site, odd: dict[str, Any], names: str, has_company: bool
) -> None:
    site.configure(periods_from=MONDAY.isoformat())
    site.seed({**worklog(1), **odd}, *([worklog(2)] if has_company else []))
    found = site.take()
    assert set(found) == ({"1", "2"} if has_company else {"1"})
    with pytest.raises(Malformed, match=names):
        site.read(found["1"])
    if has_company:
        assert site.read(found["2"]).hours == Decimal("7.5")
    assert site.take()["1"].revision == found["1"].revision, "it is no news"
    site.configure(periods_from="")
    site.seed(worklog(1, updatedAt=worklog(1)["updatedAt"]))
    mended = site.take()["1"]
    assert mended.revision > found["1"].revision
    assert site.read(mended).status is SourceStatus.DRAFT


ODD_ROWS = [
    ("log", {"status": {"key": "APPROVED", "updatedAt": days_ago(1)}, "user": {"accountId": "ada"}}, "approval log"),
    ("log", {"status": "APPROVED", "period": {"from": "2026-01-05", "to": "2026-01-11"}}, "approval log"),
    (
        "log",
        {"status": {"updatedAt": days_ago(1)}, "period": {"from": "soon", "to": "later"}, "user": {"accountId": "a"}},
        "approval log",
    ),
    ("trail", {"entityType": "worklog", "action": "Deleted", "entityId": "7"}, "paper trail"),
]


@pytest.mark.parametrize(("name", "row", "says"), ODD_ROWS)
def test_a_row_of_a_log_that_says_too_little_waits_alone_and_what_comes_after_it_is_read(
    site: Site, name: str, row: dict[str, Any], says: str
) -> None:
    site.seed(worklog(1), worklog(2, author="bob"))
    control(site.base, "POST", "tempo/seed", {"actions": [{"do": "log", "name": name, "row": row}]})
    site.decide("approve", by="lead", at=days_ago(1))
    found = site.take()
    [odd] = set(found) - {"1", "2"}
    with pytest.raises(Malformed, match=says):
        site.read(found[odd])
    assert site.read(found["1"]).status is SourceStatus.APPROVED
    again = site.take()
    assert odd not in again or again[odd].revision == found[odd].revision, "it is no news"


@pytest.mark.parametrize(
    ("broken", "names"),
    [
        ({"startDate": "31/01/2026"}, "startDate is “31/01/2026”"),
        ({"timeSpentSeconds": "much"}, "timeSpentSeconds is “much”"),
        ({"timeSpentSeconds": None}, "timeSpentSeconds is “None”"),
    ],
)
def test_what_cannot_be_read_is_named(site: Site, broken: dict[str, Any], names: str) -> None:
    payload = {"approval": {}, "worklog": {**worklog(1), **broken}}
    with pytest.raises(Malformed, match=names):
        site.read(SourceRecord(stream="time_entries", external_id="1", revision="1", payload=payload))


HOOKED = {
    **worklog(1, author={"accountId": "ada"}, issue={"id": 1}),
    "startDate": "2026-05-01T00:00:00Z",
    "startTime": 57600,
}


def test_a_webhooks_way_to_write_a_day_and_a_time_is_read_as_well(site: Site) -> None:
    payload = {"approval": {}, "worklog": HOOKED}
    found = site.read(SourceRecord(stream="time_entries", external_id="1", revision="1", payload=payload))
    assert (found.work_date.isoformat(), found.starts_at and found.starts_at.isoformat()[11:16]) == (
        "2026-05-01",
        "16:00",
    )


def hook(event: str = "worklog.updated", number: Any = 37, event_id: str = "e-1") -> bytes:
    return json.dumps({"eventId": event_id, "eventType": event, "payload": {"tempoWorklogId": number}}).encode()


def test_a_signed_webhook_names_its_worklog_and_its_event(site: Site) -> None:
    body = hook()
    delivery = site.connector.receive(signed(SECRET, body.decode()), body)
    assert (delivery.delivery_id, delivery.hints) == ("e-1", [Hint(stream="time_entries", external_id="37")])
    other = hook("plan.created")
    assert site.connector.receive(signed(SECRET, other.decode()), other).hints == []


def test_the_signature_is_that_of_the_agreed_vector(site: Site) -> None:
    vector = {
        "secret": "tempo_shared_secret", "stamp": "1700000000000",
        "body": '{"eventId":"e39e27c7-dcdb-4178-83e4-57254cf13bfa","eventType":"worklog.created","payload":{}}',
        "value": "febea78075dc89363330c37374297dcf36ae0b598017eada0426f7a15f52ed36",
    }  # fmt: skip
    assert signed(vector["secret"], vector["body"], vector["stamp"])["Tempo-Signature"] == vector["value"]
    site.account = replace(site.account, secrets={"webhook_secret": vector["secret"]})
    headers = {"tempo-timestamp": vector["stamp"], "tempo-signature": vector["value"]}
    with pytest.raises(Malformed, match="tempoWorklogId"):  # believed, and without a worklog
        site.connector.receive(headers, vector["body"].encode())


@pytest.mark.case(121)
def test_a_delivery_that_is_tried_again_is_known_by_its_event_though_its_stamp_and_body_differ(site: Site) -> None:
    first, again = hook(), hook() + b" "
    known = site.connector.receive(signed(SECRET, first.decode(), "1700000000000"), first).delivery_id
    assert site.connector.receive(signed(SECRET, again.decode(), "1700000300000"), again).delivery_id == known


@pytest.mark.case(119)
@pytest.mark.parametrize("change", ["secret", "body", "stamp", "no stamp", "no signature", "no secret of ours"])
def test_a_forged_webhook_is_refused(site: Site, change: str) -> None:
    body = hook()
    headers = signed("another" if change == "secret" else SECRET, body.decode())
    if change == "body":
        body = hook(number=38)
    if change == "stamp":
        headers["Tempo-Timestamp"] = "1700000000001"
    if change == "no stamp":
        del headers["Tempo-Timestamp"]
    if change == "no signature":
        del headers["Tempo-Signature"]
    if change == "no secret of ours":
        site.account = replace(site.account, secrets={"token": TOKEN})
    with pytest.raises(Unauthorised):
        site.connector.receive(headers, body)


@pytest.mark.case(123)
def test_every_subscription_has_a_secret_of_its_own_and_a_rotated_one_holds_beside_the_new(site: Site) -> None:
    site.account = replace(site.account, secrets={"webhook_secret": "new", "webhook_secret_2": SECRET})
    for secret in ("new", SECRET):
        body = hook()
        assert site.connector.receive(signed(secret, body.decode()), body).hints


def test_a_handshake_is_answered_with_the_vendors_own_word(site: Site) -> None:
    assert isinstance(site.connector, SubscribedSource)
    assert site.connector.handshake({"randomString": "abc123"}) == "abc123"
    assert site.connector.handshake({"other": "abc123"}) == ""


@pytest.mark.case(66)
def test_five_calls_a_second_are_kept_by_several_workers_at_once(site: Site) -> None:
    site.configure(rate=[5, 1])
    site.seed(worklog(1))
    account = replace(site.account, code="tempo-paced")

    def ask(_: int) -> int:
        http = Http(account, allow_loopback=True, rate=TempoConnector.rate)
        return len(list(TempoConnector(account, http).fetch(Hint(stream="time_entries", external_id="404"))))

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, range(12))) == [0] * 12
    mine = [
        call for call in site.calls() if call["path"].endswith("/404")
    ]  # a call of an earlier story may end only now
    assert {call["status"] for call in mine} == {404}


ERRORS: list[tuple[int, Any, type[ConnectorError]]] = [
    (400, {"errors": [{"message": "Non valid date '2022-05-011': format must be yyyy-MM-dd"}]}, Rejected),
    (401, "<html><body>Unauthorized</body></html>", Unauthorised),
    (403, "<html><body>Forbidden</body></html>", Unauthorised),
    (403, {"errors": [{"message": "Missing permission"}]}, Unauthorised),
    (404, {"errors": [{"message": "Worklog not found"}]}, Rejected),
    (409, {"errors": [{"message": "Subscription already exists"}]}, Rejected),
    (429, {"errors": [{"message": "Too many requests"}]}, Unavailable),
    (500, {"errors": [{"message": "Internal error"}]}, Unavailable),
    (503, "", Unavailable),
]


@pytest.mark.parametrize(("status", "body", "error"), ERRORS, ids=[f"{s}-{e.__name__}" for s, _, e in ERRORS])
def test_every_error_body_of_the_card_is_named_by_what_we_do_next(
    status: int, body: Any, error: type[ConnectorError]
) -> None:
    text = body if isinstance(body, str) else json.dumps(body)
    kind = "text/html" if isinstance(body, str) else "application/json"
    answer = outcomes.Response(
        status=status,
        headers={"content-type": kind},
        content=text.encode(),
        body=None if isinstance(body, str) else body,
    )
    assert type(outcomes.judge(answer, writes=False, unreadable="", excerpt=text)) is error


def test_a_wrong_token_is_unauthorised_though_it_is_said_in_html(site: Site) -> None:
    site.account = replace(site.account, secrets={"token": "expired"})
    with pytest.raises(Unauthorised):
        site.connector.check()
    site.account = replace(site.account, secrets={})
    with pytest.raises(Unauthorised, match="no Tempo API token"):
        site.connector.check()


def test_a_cursor_or_stream_that_is_not_ours_is_named(site: Site) -> None:
    site.cursor = "yesterday"
    with pytest.raises(Malformed, match="cursor 'yesterday'"):
        site.pages()
    with pytest.raises(Malformed, match="no stream “invoices”"):
        list(site.connector.pull("invoices", None))
    site.having(start_on="soon")
    site.cursor = None
    with pytest.raises(Malformed, match="start_on is “soon”"):
        site.pages()
