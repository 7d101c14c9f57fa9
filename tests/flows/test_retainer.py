"""A retainer pays for so many hours a month; what becomes of those beyond is the contract's word: billed, or not, or refused."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.test import Client
from django.urls import reverse

from portal.models import AccountingPeriod, GrantRole, LedgerEntry, Milestone, State, User
from reconciliation import amounts, changes, corrections, invoicing, readiness, validation
from reconciliation.models import ExceptionCase, ProjectMonth
from tests import world
from tests.reconciliation.firm import Firm, build, post

pytestmark = [pytest.mark.django_db, pytest.mark.case(85)]
END = date(2026, 9, 30)


@pytest.fixture
def firm() -> Firm:
    """A retainer of 20 h a month for 3,000.00, with an instalment for September."""
    made = build()
    made.contract.billing_model, made.contract.retainer_hours, made.contract.overage = "retainer", Decimal(20), "hourly"
    made.contract.save()
    made.project.manager = world.user("mia", GrantRole.PROJECT_MANAGER, made.entity)
    made.project.save()
    Milestone.objects.create(
        project=made.project, code="RET-9", name="Retainer September", due_on=END, amount=Decimal(3000), currency="USD"
    )
    return made


def works(firm: Firm, *days: int, month: int = 9) -> list[LedgerEntry]:
    """Eight approved hours on each of some days, entered onto the ledger in their order."""
    firm.admit(*(firm.time(f"{month}-{day}", work_date=date(2026, month, day)) for day in days))
    names = [f"{month}-{day}" for day in days]
    return list(LedgerEntry.objects.filter(document__external_id__in=names).order_by("work_date", "part"))


def told(entry: LedgerEntry) -> str:
    return " ".join(f"{what}: {how}." for what, how in amounts.explained(LedgerEntry.objects.get(pk=entry.pk)))


def budget(firm: Firm) -> str:
    month = ProjectMonth.objects.get(
        project=firm.project, period=AccountingPeriod.objects.get(entity=firm.entity, code="2026-09")
    )
    return next(check.says for check in readiness.checklist(month) if check.code == "budget")


def test_hours_beyond_the_retainer_are_split_off_priced_and_billed_with_the_instalment_and_say_why(firm: Firm) -> None:
    first, second, within, beyond, fourth = works(firm, 1, 2, 3, 4)
    assert [(one.hours, one.is_cost_only, one.amount) for one in (first, second, within)] == [
        (Decimal(8), True, None), (Decimal(8), True, None), (Decimal(4), True, None)
    ]  # fmt: skip
    assert [(one.hours, one.is_billable, one.rate, one.amount) for one in (beyond, fourth)] == [
        (Decimal(4), True, Decimal(120), Decimal(480)), (Decimal(8), True, Decimal(120), Decimal(960))
    ]  # fmt: skip
    assert within.document_id == beyond.document_id
    [october] = works(firm, 1, month=10)
    assert (october.is_cost_only, october.hours) == (True, Decimal(8)), "the next month has hours of its own"
    post([first.pk, second.pk, within.pk, beyond.pk, fourth.pk])
    [proposal] = invoicing.prepare(firm.project, END, by=None)
    lines = list(proposal.lines.values_list("description", "quantity", "unit_price", "net"))
    assert lines == [
        ("Retainer September (RET-9)", None, None, Decimal(3000)),
        (
            "Ana Consultant, Senior consultant, 3 Sep 2026 to 4 Sep 2026, beyond the retainer", Decimal(12), Decimal(120),
            Decimal(1440),
        ),
    ]  # fmt: skip
    assert "Retainer: within the 20.00 h that the instalments of September 2026 pay for (contract ACME-2026" in told(
        first
    )
    said = told(beyond)
    assert "Retainer: beyond the 20.00 h that the instalments of September 2026 pay for; such hours are billed" in said
    assert "4 × 120 = 480" in said.replace(".00", "")  # noqa: RUF001
    assert "20.00 h a month of the retainer" in said
    first.refresh_from_db()
    assert "within the 20.00 h" in readiness.why_not_billed(first).words
    assert "0.00 of 20.00 h of the retainer (beyond them: billed at the rate card)" in budget(firm)
    client = Client()
    client.force_login(firm.project.manager or User())
    page = client.get(reverse("invoice_proposal", args=[proposal.pk])).content.decode()
    assert "20.00 of 20.00 h of September drawn, beyond it billed at the rate card" in page
    assert "beyond the retainer" in page


def test_an_hour_beyond_the_retainer_without_a_rate_is_an_exception_and_never_free(firm: Firm) -> None:
    works(firm, 1, 2)
    firm.rate.delete()
    within, beyond = works(firm, 3)
    assert (within.hours, within.state_row.state) == (Decimal(4), State.READY)
    assert (beyond.hours, beyond.amount, beyond.state_row.state) == (Decimal(4), None, State.HELD)
    assert ExceptionCase.objects.get(state="open").rule == "rate-missing"


def test_hours_beyond_a_capped_retainer_are_booked_as_cost_and_say_that_they_are_not_billed(firm: Firm) -> None:
    firm.contract.overage = "capped"
    firm.contract.save()
    *_, within, beyond = works(firm, 1, 2, 3)
    assert [(one.is_cost_only, one.amount) for one in (within, beyond)] == [(True, None)] * 2
    post([within.pk, beyond.pk])
    assert "such hours are worked and not billed" in told(beyond)
    assert (
        "such hours are worked and not billed" in readiness.why_not_billed(LedgerEntry.objects.get(pk=beyond.pk)).words
    )
    [proposal] = invoicing.prepare(firm.project, END, by=None)
    assert proposal.net == Decimal(3000)


def test_a_retainer_that_takes_none_beyond_holds_them_until_more_is_agreed_by_two_people(firm: Firm) -> None:
    firm.contract.overage = "rejected"
    firm.contract.save()
    *_, within, beyond = works(firm, 1, 2, 3)
    case = ExceptionCase.objects.get(rule="retainer-exceeded", state="open")
    assert case.sentence == "The 20.00 h a month of retainer ACME-2026 are used up."
    assert (within.state_row.state, beyond.state_row.state) == (State.READY, State.HELD)
    sentence = case.holds.get().sentence
    assert "4.00 h on 3 Sep 2026 pass the retainer of contract ACME-2026" in sentence
    assert "of which 0.00 of 20.00 h are left in September 2026" in sentence
    ana, bob = world.user("ana", "analyst", firm.entity), world.user("bob", "controller", firm.entity)
    more = changes.Line("contract", firm.contract.pk, "change", {"retainer_hours": "40"})
    change_set = changes.submit(changes.draft(by=ana, title="More hours", reason="a letter", lines=[more]), ana)
    changes.apply(changes.approve(change_set, bob))
    beyond.refresh_from_db()
    case.refresh_from_db()
    assert (beyond.state_row.state, beyond.is_cost_only, case.state) == (State.READY, True, "resolved")


def test_what_is_taken_back_gives_its_hours_to_the_retainer_again(firm: Firm) -> None:
    first, second, within, beyond = works(firm, 1, 2, 3)
    post([first.pk])
    ana = world.user("ana", "analyst", firm.entity)
    reversal = corrections.reverse([first.pk], by=ana, reason="another project").reversals[first.pk]
    post([reversal])
    corrections.settle([reversal])
    validation.recheck([second.pk, within.pk, beyond.pk], actor="test", reason="hours are free")
    beyond.refresh_from_db()
    assert (beyond.is_cost_only, beyond.is_billable, beyond.amount, beyond.tags) == (
        True,
        False,
        None,
        ["split-at-cap"],
    )


def test_what_is_booked_stays_within_or_beyond_whichever_came_first(firm: Firm) -> None:
    """The fourth comes in before the first: it drew on the retainer, and nothing is booked anew for that."""
    later = works(firm, 2, 3, 4)
    [first] = works(firm, 1)
    assert [one.tags for one in (*later, first)][2:] == [
        ["split-at-cap"],
        ["split-at-cap", "beyond-retainer"],
        ["beyond-retainer"],
    ]
    booked = [one.pk for one in (*later, first)]
    post(booked)
    assert validation.booked_otherwise(booked) == {}


def test_a_retainer_without_hours_of_its_own_pays_for_all_and_hours_without_a_word_are_refused(firm: Firm) -> None:
    firm.contract.retainer_hours, firm.contract.overage = None, ""
    firm.contract.save()
    assert all(one.is_cost_only and one.tags == [] for one in works(firm, 1, 2, 3, 4))
    for hours, overage in ((Decimal(20), ""), (None, "capped"), (Decimal(0), "hourly")):
        firm.contract.retainer_hours, firm.contract.overage = hours, overage
        with pytest.raises(IntegrityError, match="retainer_says_what_is_beyond_its_hours"), transaction.atomic():
            firm.contract.save()


def test_an_hour_draws_on_the_month_of_its_work_date_and_no_month_gives_to_another(firm: Firm) -> None:
    """Twelve hours of September are left over; October has its own twenty, and a late day of September draws on September."""
    works(firm, 1)
    for day in (5, 6, 7):
        works(firm, day, month=10)
    october = LedgerEntry.objects.filter(work_date__month=10).order_by("work_date", "part")
    assert [(one.hours, one.is_beyond_retainer) for one in _tagged(october)] == [
        (Decimal(8), False), (Decimal(8), False), (Decimal(4), False), (Decimal(4), True),
    ]  # fmt: skip
    AccountingPeriod.objects.filter(entity=firm.entity, code="2026-09").update(state="closed")
    firm.policy(closed_period="next_open")
    late = _tagged(works(firm, 29, 30))
    assert [(one.post_on.month, one.hours, one.is_beyond_retainer) for one in late] == [
        (10, Decimal(8), False), (10, Decimal(4), False), (10, Decimal(4), True),
    ]  # fmt: skip


def _tagged(entries: Iterable[LedgerEntry]) -> list[Any]:
    """Entries that say whether they are beyond their retainer."""
    found: list[Any] = list(entries)
    for one in found:
        one.is_beyond_retainer = "beyond-retainer" in one.tags
    return found
