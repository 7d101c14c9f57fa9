"""Time that goes into Business Central's time sheets: kept once and found again without a key, and what it cannot be told."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from integrations import outbox, standing, timing
from integrations.errors import InDoubt, Rejected
from integrations.http import Response
from integrations.protocol import Capabilities
from portal.models import Connection, LedgerState
from portal.records import DocumentKind, Posting, Receipt
from reconciliation.models import ExceptionCase
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
    assert target.find_like([one], {one.key: number})[one.key].hours == Decimal(6)
    assert target.find_like([one], {one.key: "gone"}) == {}


def test_days_that_are_far_apart_are_asked_for_within_what_one_list_may_be(sheets: Bench) -> None:
    made = [bc_account.time_posting(work_date=day) for day in (date(2026, 1, 5), date(2026, 3, 20), date(2026, 9, 1))]
    numbers = {one.key: keep(sheets, one).number for one in made}
    target = sheets.build()
    assert {key: line.number for key, line in target.find_like(made, numbers).items()} == numbers
    assert {line.number for line in target.statement(date(2026, 1, 1), date(2026, 12, 31))} == set(numbers.values())


def test_a_sheet_that_counts_in_days_is_not_taken_for_hours(sheets: Bench) -> None:
    sheets.control("businesscentral/configure", {"sheet_unit": "DAY"})
    one = posting()
    number = keep(sheets, one).number
    line = sheets.build().find_like([one], {one.key: number})[one.key]
    assert (line.hours, line.is_booked, line.waits) == (None, False, "The time sheet counts in DAY and not in HOUR.")


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
    said = " ".join(can.limits)
    assert all(word in said for word in ("no rate", "archived", "no key"))


@pytest.mark.django_db
@pytest.mark.case(57)
@pytest.mark.parametrize("cut", ["", "reset_after", "reset_before"])
def test_an_approved_hour_is_kept_once_and_proved_whatever_happens_on_the_way_and_its_page_tells_the_limits(
    sheets: Bench, monkeypatch: pytest.MonkeyPatch, cut: str
) -> None:
    monkeypatch.setenv("BC_SECRET", sheets.account.secrets["client_secret"])
    target = Connection.objects.create(
        code="bc-sheets", name="Sheets", connector="businesscentral", is_target=True, realm=sheets.account.realm,
        base_url=sheets.account.base_url,
        settings={**dict(sheets.account.settings), "currency": "USD", "read_timeout": "0.5"},
        credentials={"client_secret": {"env": "BC_SECRET"}},
    )  # fmt: skip
    assert any("archived" in sentence for sentence in standing.cannot(target))
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


def open_causes() -> list[str]:
    return list(ExceptionCase.objects.exclude(state="resolved").values_list("rule", flat=True))
