"""Time that goes into Business Central's time sheets: kept once and found again without a key, and what it cannot be told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from integrations import abilities, outbox, postings, timing
from integrations.connectors.businesscentral.mirror import TimeSheets
from integrations.errors import InDoubt, Rejected, Unavailable
from integrations.http import Response
from integrations.protocol import Capabilities
from portal import ledger
from portal.models import Connection, LedgerState
from portal.records import DocumentKind, Posting, Receipt, StatementLine
from reconciliation import operations
from reconciliation.models import ExceptionCase
from reconciliation.sql import questions as question_sql
from tests import world
from tests.integrations import bc_account, outbound
from tests.integrations.contract import Bench

DAY = date(2026, 9, 14)


@pytest.fixture
def sheets(businesscentral: Bench) -> Bench:
    return bc_account.mirror_bench(businesscentral)


def posting(**changes: Any) -> Posting:
    return bc_account.time_posting(work_date=DAY, **changes)


def rows(sheets: Bench) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = sheets.control("businesscentral/inspect")["time_entries"]
    return found


def keep(sheets: Bench, one: Posting) -> Any:
    [outcome] = sheets.build().push([one])
    return outcome


def test_an_hour_is_an_open_entry_of_its_person_project_and_day_and_nothing_else(sheets: Bench) -> None:
    kept = keep(sheets, posting())
    assert isinstance(kept, Receipt)
    [row] = rows(sheets)
    assert (row["id"], row["status"], row["lineNumber"]) == (kept.number, "Open", 10_000)
    assert (row["employeeNumber"], row["jobNumber"], row["date"], row["quantity"]) == ("AH", "J10", "2026-09-14", 7.5)
    assert sheets.build().body(posting(task="")) == {
        "employeeNumber": "AH", "jobNumber": "J10", "date": "2026-09-14", "quantity": "7.5",
    }  # fmt: skip


def test_the_page_of_an_extension_is_not_needed(sheets: Bench) -> None:
    sheets.control("businesscentral/configure", {"custom_page": False})
    assert sheets.build().check() == "Business Central answers for Cronus Deutschland GmbH, with its time sheets."
    assert isinstance(keep(sheets, posting()), Receipt)


def test_other_hours_of_the_same_day_are_an_entry_of_their_own_and_as_many_are_refused_whoever_kept_them(
    sheets: Bench,
) -> None:
    first, second = posting(), posting(hours=Decimal(2))
    numbers = {one.key: keep(sheets, one).number for one in (first, second)}
    assert len(set(numbers.values())) == 2
    refused = keep(sheets, posting())
    assert isinstance(refused, Rejected)
    assert refused.code == "alike"
    assert "already hold 7.5 h of AH on J10 on 2026-09-14" in refused.detail
    typed = {
        "id": bc_account.guid(501), "employeeNumber": "AH", "jobNumber": "J10", "jobTaskNumber": "", "date": "2026-09-15",
        "quantity": 4.0, "status": "Open", "unitOfMeasureCode": "HOUR",
    }  # fmt: skip
    sheets.control("businesscentral/seed", {"timeRegistrationEntries": [typed]})
    assert isinstance(keep(sheets, bc_account.time_posting(hours=Decimal(4), work_date=date(2026, 9, 15))), Rejected)
    assert len(rows(sheets)) == 3


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hours": Decimal("-7.5"), "reverses": "x"}, "takes nothing back"),
        ({"hours": None}, "no hours"),
        ({"hours": Decimal(0)}, "no hours"),
        ({"kind": DocumentKind.EXPENSE, "hours": None, "amount": Decimal(9)}, "take no expenses"),
    ],
)
def test_what_a_time_sheet_cannot_take_is_refused_unsent_and_by_name(
    sheets: Bench, changes: dict[str, Any], said: str
) -> None:
    refused = keep(sheets, posting(**changes))
    assert isinstance(refused, Rejected)
    assert said in refused.detail
    assert rows(sheets) == []


def test_hours_that_are_not_billable_go_only_where_nobody_bills_by_the_sheets(sheets: Bench) -> None:
    refused = keep(sheets, posting(billable=False, rate=None))
    assert isinstance(refused, Rejected)
    assert (refused.code, rows(sheets)) == ("unbillable", [])
    assert any("not billable are refused" in limit for limit in sheets.build().capabilities.limits)
    settings = {**sheets.account.settings, "accepts_unbillable": True}
    free = replace(sheets, account=replace(sheets.account, settings=settings))
    assert isinstance(keep(free, posting(billable=False, rate=None)), Receipt)


def test_who_and_what_is_not_known_there_is_told_by_its_reason(sheets: Bench) -> None:
    nobody, nothing = keep(sheets, posting(resource="XX")), keep(sheets, posting(project="J99"))
    assert isinstance(nobody, Rejected)
    assert isinstance(nothing, Rejected)
    assert (nobody.code, nothing.code) == ("resource-inactive", "project-inactive")


def test_an_entry_is_found_by_its_number_also_where_somebody_changed_its_hours(sheets: Bench) -> None:
    one = posting()
    number = keep(sheets, one).number
    [row] = rows(sheets)
    sheets.control("businesscentral/seed", {"timeRegistrationEntries": [{**row, "quantity": 6.0}]})
    target = sheets.build()
    assert target.find_like([one], {}) == {}, "nothing there is like it any more"
    assert held(target, one, number).hours == Decimal(6)
    assert target.find_like([one], {one.key: "gone"}) == {}, "others of that week are shown, so it was deleted"


def held(target: Any, one: Posting, number: str) -> StatementLine:
    line = target.find_like([one], {one.key: number})[one.key]
    assert isinstance(line, StatementLine)
    return line


def test_each_of_two_that_are_alike_is_dealt_a_row_of_its_own_and_none_that_proves_another(sheets: Bench) -> None:
    for number in (501, 502):
        seeded(sheets, number)
    target, twins = sheets.build(), [posting(), posting()]
    found = target.find_like(twins, {})
    assert numbers_in(found) == {bc_account.guid(501), bc_account.guid(502)}
    assert numbers_in(target.find_like(twins[:1], {}, {bc_account.guid(501)})) == {bc_account.guid(502)}
    known = {twins[1].key: bc_account.guid(501)}
    assert numbers_in(target.find_like(twins, known)) == {bc_account.guid(501), bc_account.guid(502)}
    assert target.find_like(twins[:1], {}, {bc_account.guid(501), bc_account.guid(502)}) == {}


def numbers_in(found: Mapping[str, Any]) -> set[str]:
    return {line.number for line in found.values()}


def seeded(sheets: Bench, number: int, **changes: Any) -> None:
    row = {
        "id": bc_account.guid(number), "employeeNumber": "AH", "jobNumber": "J10", "jobTaskNumber": "",
        "date": DAY.isoformat(), "quantity": 7.5, "status": "Open", "unitOfMeasureCode": "HOUR", **changes,
    }  # fmt: skip
    sheets.control("businesscentral/seed", {"timeRegistrationEntries": [row]})


def test_codes_are_the_same_whatever_their_capitals(sheets: Bench) -> None:
    seeded(sheets, 501)
    one = posting(resource="ah", project="j10")
    assert isinstance(keep(sheets, one), Rejected)
    line = sheets.build().find_like([one], {})[one.key]
    assert isinstance(line, StatementLine)
    assert postings.differences(one, line) == {}


def test_what_an_archived_sheet_held_is_not_known_to_be_gone(sheets: Bench) -> None:
    one, next_week = posting(), bc_account.time_posting(work_date=date(2026, 9, 21))
    numbers = {each.key: keep(sheets, each).number for each in (one, next_week)}
    archive(sheets)
    found = sheets.build().find_like([one, next_week], numbers)
    assert isinstance(found[one.key], Unavailable)
    assert "the sheet is archived" in str(found[one.key])
    assert isinstance(found[next_week.key], StatementLine)


def archive(sheets: Bench) -> None:
    sheets.control("businesscentral/seed", {"actions": [{"do": "archive", "employee": "AH", "day": DAY.isoformat()}]})


def test_days_that_are_far_apart_are_asked_for_within_what_one_list_may_be(sheets: Bench) -> None:
    made = [bc_account.time_posting(work_date=day) for day in (date(2026, 1, 5), date(2026, 3, 20), date(2026, 9, 1))]
    numbers = {one.key: keep(sheets, one).number for one in made}
    target = sheets.build()
    assert {one.key: held(target, one, numbers[one.key]).number for one in made} == numbers
    assert numbers_in(target.find_like(made, numbers)) == set(numbers.values())
    assert {line.number for line in target.statement(date(2026, 1, 1), date(2026, 12, 31))} == set(numbers.values())


def test_a_sheet_that_counts_in_days_is_not_taken_for_hours(sheets: Bench) -> None:
    sheets.control("businesscentral/seed", {"resources": [bc_account.DAYS]})
    one = posting()
    number = keep(sheets, one).number
    line = held(sheets.build(), one, number)
    said = "It counts in DAY and not in HOUR, so nobody knows how many hours that is."
    assert (line.hours, line.is_booked, line.waits) == (None, False, said)
    told = held(sheets.build(other_units={"DAY": 8}), one, number)
    assert (told.hours, told.is_booked) == (8 * (one.hours or 0), True), "eight times what was sent is a difference"


def test_an_answer_without_a_number_is_in_doubt(sheets: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    target = sheets.build()
    monkeypatch.setattr(
        target.http, "request", lambda method, *_, **__: Response(
            status=200, headers={}, content=b"", body={"value": []} if method == "GET" else {}
        ),
    )  # fmt: skip
    with pytest.raises(InDoubt, match="did not say which"):
        target.push([posting()])


def test_its_limits_are_among_what_it_says_that_it_cannot_do(sheets: Bench) -> None:
    can: Capabilities = sheets.build().capabilities
    assert (can.reversal, can.expenses, can.batch_size) == (False, False, 1)
    connection = Connection(connector="businesscentral", is_target=True, settings={"time_by": "time sheets"})
    [(_, facts)] = abilities.abilities(connection)
    assert {fact.label: fact.value for fact in facts}["Looked up by our key"] == "by what a posting says"
    said = " ".join(can.limits)
    assert all(word in said for word in ("no rate", "archived", "no key"))


@pytest.mark.django_db
@pytest.mark.case(57)
@pytest.mark.parametrize("cut", ["", "reset_after", "reset_before"])
def test_an_approved_hour_is_kept_once_and_proved_whatever_happens_on_the_way_and_its_page_tells_the_limits(
    sheets: Bench, monkeypatch: pytest.MonkeyPatch, cut: str
) -> None:
    target = connected(sheets, monkeypatch)
    assert any("archived" in sentence for sentence in abilities.cannot(target))
    source = outbound.firm(target, keys={"project": "J10", "resource": "AH"})
    [entry] = outbound.entries(source)
    if cut:
        sheets.fault(sheets.write, kind=cut)
    for _ in range(6):
        outbound.make_due([entry])
        LedgerState.objects.filter(state="in_doubt").update(moved_at="2020-01-01T00:00:00Z")
        outbox.deliver(target.pk)
    [row] = rows(sheets)
    assert (outbound.state_of(entry).state, outbound.state_of(entry).receipt_number) == ("posted", row["id"])
    outbox.read_back(target.pk, again=True)
    assert open_causes() == []
    sheets.control("businesscentral/seed", {"timeRegistrationEntries": [{**row, "quantity": 6.0}]})
    monkeypatch.setattr(timing, "STILL_EQUAL_EVERY", 0.0)
    outbox.read_back(target.pk, again=True)
    assert open_causes() == ["divergent-read-back"]


def connected(sheets: Bench, monkeypatch: pytest.MonkeyPatch) -> Connection:
    monkeypatch.setenv("BC_SECRET", sheets.account.secrets["client_secret"])
    return Connection.objects.create(
        code="bc-sheets", name="Sheets", connector="businesscentral", is_target=True, realm=sheets.account.realm,
        base_url=sheets.account.base_url,
        settings={**dict(sheets.account.settings), "currency": "USD", "read_timeout": "0.5"},
        credentials={"client_secret": {"env": "BC_SECRET"}},
    )  # fmt: skip


def twins_in_doubt(sheets: Bench, target: Connection) -> list[int]:
    """Two entries that say the same, both sent without an answer, and both kept there."""
    source = outbound.firm(target, keys={"project": "J10", "resource": "AH"})
    twins = [
        *outbound.take_in(source, [outbound.record(source, 0)]).ready,
        *outbound.take_in(source, [replace(outbound.record(source, 40), **same(source))]).ready,
    ]
    claims = {claim.entry_id: claim.fence for claim in ledger.claimable(target.pk, 10)}
    assert set(claims) == set(twins)
    ledger.send([(pk, fence, "0" * 64) for pk, fence in claims.items()], lease_seconds=600, actor="test")
    refs = [(pk, outbound.state_of(pk).fence) for pk in twins]
    ledger.doubt(refs, look_up_after_seconds=0, actor="test", reason="no answer")
    for number in (501, 502):
        seeded(sheets, number, date=outbound.FIRST.isoformat(), quantity=8.0)
    return twins


def same(source: Connection) -> dict[str, Any]:
    return {name: getattr(outbound.record(source, 0), name) for name in ("resource", "work_date")}


def alike(source: Connection) -> list[int]:
    """Two approved hours of one person, project and day that say the same."""
    return [
        *outbound.take_in(source, [outbound.record(source, 0)]).ready,
        *outbound.take_in(source, [replace(outbound.record(source, 40), **same(source))]).ready,
    ]


@pytest.mark.django_db
@pytest.mark.parametrize("cut", ["", "reset_after", "reset_before"])
def test_two_of_ours_that_are_alike_both_go_each_with_a_number_of_its_own(
    sheets: Bench, monkeypatch: pytest.MonkeyPatch, cut: str
) -> None:
    target = connected(sheets, monkeypatch)
    twins = alike(outbound.firm(target, keys={"project": "J10", "resource": "AH"}))
    if cut:
        sheets.fault(sheets.write, kind=cut)
    for _ in range(8):
        outbound.make_due(twins)
        LedgerState.objects.filter(state="in_doubt").update(moved_at="2020-01-01T00:00:00Z")
        outbox.deliver(target.pk)
    assert set(outbound.states(twins).values()) == {"posted"}
    assert {outbound.state_of(pk).receipt_number for pk in twins} == {row["id"] for row in rows(sheets)}
    assert len(rows(sheets)) == 2
    assert open_causes() == []


@pytest.mark.django_db
def test_one_that_somebody_typed_there_has_ours_refused_with_both_ways_out_and_it_goes_once_that_is_deleted(
    sheets: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = connected(sheets, monkeypatch)
    seeded(sheets, 501, date=outbound.FIRST.isoformat(), quantity=8.0)
    [entry] = outbound.entries(outbound.firm(target, keys={"project": "J10", "resource": "AH"}))
    outbox.deliver(target.pk)
    assert outbound.state_of(entry).state == "rejected"
    sentence = str(ExceptionCase.objects.get().holds.get().sentence)
    assert "keeps no key" in sentence
    assert sentence.endswith("delete the one that was typed there or join the two at their source, then re-post.")
    day = outbound.FIRST.isoformat()
    sheets.control("businesscentral/seed", {"actions": [{"do": "archive", "employee": "AH", "day": day}]})
    user = world.user("fixer", everywhere=True)
    operation = operations.plan("re-post", user=user, parameters={}, reason="deleted there", entry_ids=[entry])
    operations.run(operations.confirm(operation, user=user).pk)
    again = operation.rows.get().successor_id or entry
    for _ in range(2):
        outbound.make_due([again])
        outbox.deliver(target.pk)
    assert outbound.state_of(again).state == "posted"


@pytest.mark.django_db
def test_two_alike_in_doubt_settle_together_each_by_a_row_of_its_own(
    sheets: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = connected(sheets, monkeypatch)
    twins = twins_in_doubt(sheets, target)
    outbox.deliver(target.pk)
    assert set(outbound.states(twins).values()) == {"posted"}
    receipts = {outbound.state_of(pk).receipt_number for pk in twins}
    assert receipts == {bc_account.guid(501), bc_account.guid(502)}
    assert len(rows(sheets)) == 2


@pytest.mark.django_db
def test_a_twin_whose_number_is_taken_is_offered_the_other_and_a_person_may_name_it(
    sheets: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = connected(sheets, monkeypatch)
    first, second = twins_in_doubt(sheets, target)
    user = world.user("fixer")
    outbox.adopt(first, bc_account.guid(502), user, "seen there")
    assert outbound.state_of(first).receipt_number == bc_account.guid(502)
    outbox.deliver(target.pk)
    assert outbound.state_of(second).receipt_number == bc_account.guid(501)


@pytest.mark.django_db
def test_one_number_for_two_entries_in_doubt_proves_one_of_them_and_the_rest_goes_on(
    sheets: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = connected(sheets, monkeypatch)
    twins = twins_in_doubt(sheets, target)
    always_first = lambda self, posting, rows: iter([next(iter(rows))])  # noqa: E731
    monkeypatch.setattr(TimeSheets, "_like", always_first)
    monkeypatch.setattr(TimeSheets, "held", lambda self, asked, numbers, *_: {
        one.key: self._line(next(self._like(one, self._rows(one.work_date, one.work_date))), one) for one in asked
    })  # fmt: skip
    outbox.deliver(target.pk)
    assert sorted(outbound.states(twins).values()) == ["in_doubt", "posted"]


@pytest.mark.django_db
def test_an_hour_whose_sheet_was_archived_is_neither_booked_again_nor_left_out(
    sheets: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = connected(sheets, monkeypatch)
    source = outbound.firm(target, keys={"project": "J10", "resource": "AH"})
    [entry] = outbound.entries(source)
    outbox.deliver(target.pk)
    assert outbound.state_of(entry).state == "posted"
    day = outbound.FIRST.isoformat()
    sheets.control("businesscentral/seed", {"actions": [{"do": "archive", "employee": "AH", "day": day}]})
    user = world.user("fixer")
    for if_absent in ("leave_out", "book_again"):
        question_sql.ask([entry], user.pk, "not shown there", if_absent)
        monkeypatch.setattr(timing, "STILL_EQUAL_EVERY", 0.0)
        outbox.read_back(target.pk, again=True)
        assert (outbound.state_of(entry).state, open_causes()) == ("posted", [])
        question_sql.answer([entry], "withdrawn")
    assert rows(sheets) == []


def open_causes() -> list[str]:
    return list(ExceptionCase.objects.exclude(state="resolved").values_list("rule", flat=True))
