"""What was booked and a bill that names nothing of it are matched by hand: tied in the database, down to nothing or to a rest."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from django.core.exceptions import PermissionDenied
from django.test import Client
from django.urls import reverse

from portal.models import AccountingPeriod, Allocation, AuditEvent, GrantRole, User
from portal.records import BillLine
from reconciliation import matching, pairing
from reconciliation.billing import tying
from reconciliation.models import Match, ReconciliationResult, ReconciliationRun
from tests import world
from tests.bills import Erp, find, line_of, open_hours, posted
from tests.reconciliation.firm import Firm, build

pytestmark = pytest.mark.django_db
LEG = "target_invoice"


@pytest.fixture
def firm() -> Firm:
    return build()


@pytest.fixture
def period(firm: Firm) -> AccountingPeriod:
    return AccountingPeriod.objects.get(entity=firm.entity, code="2026-09")


@pytest.fixture
def ana(firm: Firm) -> User:
    return world.user("ana", GrantRole.ANALYST, firm.entity)


def silent(key: str, net: str, hours: str | None = None) -> BillLine:
    """A line that somebody wrote by hand: it names no work."""
    return BillLine(
        key=key, quantity=Decimal(hours) if hours else None, net=Decimal(net), description="Consulting in September"
    )


def items(period: AccountingPeriod) -> list[ReconciliationResult]:
    """What of the third leg is not through."""
    found = ReconciliationResult.objects.standing().filter(period__entity=period.entity_id, leg=LEG)
    return list(found.exclude(outcome="matched").select_related("run__entity", "period").order_by("subject"))


def compared(period: AccountingPeriod) -> list[ReconciliationResult]:
    for one in AccountingPeriod.objects.filter(entity=period.entity_id, code__in=["2026-09", "2026-10"]):
        matching.run(period.entity, one)
    return items(period)


def standing(entry_ids: list[int]) -> dict[int, list[tuple[Decimal, Decimal]]]:
    """What stands billed of entries, part by part."""
    found: dict[int, list[tuple[Decimal, Decimal]]] = {entry: [] for entry in entry_ids}
    for row in Allocation.objects.filter(entry__in=entry_ids, takes_back=None, taken_back_by=None).order_by("pk"):
        found[row.entry_id or 0].append((row.quantity, row.amount))
    return found


@pytest.mark.case(75)
def test_lines_over_several_entries_are_tied_in_parts_from_the_screen_and_taken_apart_again(
    firm: Firm, period: AccountingPeriod, ana: User, client: Client
) -> None:
    entries = posted(firm, 3)  # 8 h at 960.00 each
    Erp(firm).says(Erp(firm).bill("501", silent("a", "1440", "12"), silent("b", "1440"), booked_on=date(2026, 10, 5)))
    # Three wait for their bill, and two lines of the next month bill nothing.
    assert len(compared(period)) == 5
    client.force_login(ana)
    address = reverse("matching_panes", args=[period.pk, LEG])
    page = client.get(address)
    assert [[len(pane["rows"]) for pane in page.context["panes"]]] == [[3, 2]]
    assert '<span class="tag">2026-10</span>' in page.content.decode()
    everything = [item.pk for item in items(period)]
    weighed = client.post(address, {"selected": everything, "do": "weigh"})
    assert (weighed.context["weighed"]["sides"].amount, weighed.context["weighed"]["is_within"]) == (Decimal(0), True)
    assert "3 items" not in client.post(address, {"selected": everything[:1], "do": "match"}).content.decode()
    done = client.post(address, {"selected": everything, "do": "match"}, follow=True)
    assert "5 items are matched." in done.content.decode()
    assert standing(entries) == {
        entries[0]: [(Decimal(8), Decimal(960))],
        entries[1]: [(Decimal(4), Decimal(480)), (Decimal(4), Decimal(480))],
        entries[2]: [(Decimal(8), Decimal(960))],
    }
    assert items(period) == []
    assert set(open_hours(entries).values()) == {Decimal(0)}
    latest = ReconciliationRun.objects.filter(period=period).latest("pk")
    assert (latest.totals[LEG]["matched"], latest.totals[LEG]["differing"], latest.requested_by) == (3, 0, ana)
    listed = client.get(reverse("matches", args=[period.pk])).content.decode()
    assert "tied to lines of bills in 4 parts" in listed
    Erp(firm, said=9).says(
        Erp(firm, said=5).bill("501", silent("a", "1440", "12"), silent("b", "1440"), number="INV-501b")
    )
    assert set(open_hours(entries).values()) == {Decimal(0)}  # what its system says next takes nothing off
    made = Match.objects.get()
    tying.take_apart(made, ana, "Another customer's work.")
    assert set(open_hours(entries).values()) == {Decimal(8)}
    assert len(items(period)) == 5
    assert AuditEvent.objects.filter(action__in=["match.tie", "match.break"]).count() == 2


def test_what_is_left_over_lies_in_the_price_within_the_rest_and_needs_its_reason(
    firm: Firm, period: AccountingPeriod, ana: User
) -> None:
    entries = posted(firm, 2)
    Erp(firm).says(Erp(firm).bill("501", silent("a", "1919.50"), booked_on=date(2026, 9, 30)))
    rows = compared(period)
    with pytest.raises(pairing.NotMatchable, match="say what it is and why"):
        tying.match(rows, ana)
    assert not Allocation.objects.exists()
    made = tying.match(rows, ana, code="rounding", reason="The ERP rounds its rate.")
    assert (made.amount_left - made.amount_right, made.hours_left) == (Decimal("0.5"), Decimal(0))
    assert standing(entries) == {entry: [(Decimal(8), Decimal("959.75"))] for entry in entries}
    assert [(row.outcome, row.standing, row.match_id) for row in items(period)] == [
        ("amount_differs", "matched", made.pk)
    ] * 2
    assert matching.run(firm.entity, period).totals[LEG]["differing"] == 0


def test_a_line_that_bills_a_part_leaves_the_rest_open_by_itself_and_more_than_is_left_is_refused(
    firm: Firm, period: AccountingPeriod, ana: User
) -> None:
    entries = posted(firm, 2)
    Erp(firm).says(Erp(firm).bill("501", silent("a", "1200"), booked_on=date(2026, 9, 30)))
    rows = compared(period)
    with pytest.raises(pairing.NotMatchable, match="are left over"):
        tying.match(rows, ana)
    with pytest.raises(pairing.NotMatchable, match="Say why a part"):
        tying.match(rows, ana, in_part=True)
    tying.match(rows, ana, in_part=True, reason="The rest is billed in October.")
    assert standing(entries) == {entries[0]: [(Decimal(8), Decimal(960))], entries[1]: [(Decimal(2), Decimal(240))]}
    assert open_hours(entries) == {entries[0]: Decimal(0), entries[1]: Decimal(6)}
    [rest] = items(period)
    assert (rest.entry_id, rest.hours_right) == (entries[1], Decimal(2))
    Erp(firm, said=9).says(Erp(firm, said=9).bill("502", silent("z", "720", "6"), booked_on=date(2026, 9, 30)))
    rows = compared(period)
    assert len(rows) == 2
    tying.match(rows, ana)
    assert items(period) == []
    assert standing(entries)[entries[1]] == [(Decimal(2), Decimal(240)), (Decimal(6), Decimal(720))]


def test_open_work_is_explained_by_lines_alone_and_a_line_that_names_its_work_by_nothing_else(
    firm: Firm, period: AccountingPeriod, ana: User
) -> None:
    first, second, third = posted(firm, 3)
    erp = Erp(firm)
    erp.says(
        erp.bill("501", line_of(first, net="955"), booked_on=date(2026, 9, 30)),
        erp.bill("502", line_of(first, net="960", key="again"), silent("a", "960", "8"), booked_on=date(2026, 9, 30)),
    )
    rows = {(row.entry_id, row.bill_line_id): row for row in compared(period)}
    by_entry = {entry: row for (entry, _), row in rows.items() if entry}
    lines = {row.bill_line.key: row for row in rows.values() if row.bill_line is not None}
    with pytest.raises(pairing.NotMatchable, match="the line of a bill that bills it; choose one"):
        tying.match([by_entry[second], by_entry[third]], ana)
    with pytest.raises(pairing.NotMatchable, match="with lines of bills alone"):
        tying.match([by_entry[first], by_entry[second], lines["a"]], ana)
    with pytest.raises(pairing.NotMatchable, match="names its work itself"):
        tying.match([by_entry[second], lines["again"]], ana)
    with pytest.raises(pairing.NotMatchable, match="are left over"):
        tying.match([by_entry[first]], ana)  # 5.00 are more than the entity lets be left over
    firm.entity.policy = {"match_amount": "5"}
    firm.entity.save()
    by_entry = {row.entry_id: row for row in items(period) if row.entry_id}  # as they stand, with the entity's policy
    alone = tying.match([by_entry[first]], ana, code="write_off", reason="Agreed with the customer on the phone.")
    assert (alone.items, alone.allocations, by_entry[first].outcome) == (1, [], "amount_differs")
    tying.match([by_entry[second], lines["a"]], ana)
    stranger = world.user("gus", GrantRole.ANALYST, world.entity("GB", "GBP"))
    with pytest.raises(PermissionDenied):
        tying.match([by_entry[third], lines["again"]], stranger)
    assert find("502").current.lines.count() == 2
    assert sorted(row.standing for row in items(period)) == ["matched", "unmatched", "unmatched"]
