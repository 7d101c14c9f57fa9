"""What the database refuses of a decision about a bill is a sentence on its page: the amount, the way out, and nothing moved."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.db import models
from django.test import Client
from django.urls import reverse

from portal.models import Allocation, BillingBalance, LedgerEntry
from portal.records import BillLine, BillStatus
from portal.sql import execute
from reconciliation import billing, corrections
from reconciliation.billing import deciding
from reconciliation.billing.refusals import SENTENCES
from reconciliation.models import BillingDecision
from reconciliation.sql import billing as billing_sql
from tests import world
from tests.bills import Erp, causes, find, line_of, open_hours, posted
from tests.reconciliation import firm as firms

pytestmark = pytest.mark.django_db
ENTITY, ENTRY, TAKES_BACK, QUANTITY, AMOUNT, CURRENCY = 1, 2, 6, 7, 8, 9  # where they are in a row
Spoil = Callable[[list[list[Any]]], None]


def billed(column: int, value: Any) -> Spoil:
    """Another value in what is billed."""

    def spoil(rows: list[list[Any]]) -> None:
        next(row for row in rows if row[QUANTITY] > 0)[column] = value

    return spoil


def given_back(**columns: Any) -> Spoil:
    """Other values in what is given back."""

    def spoil(rows: list[list[Any]]) -> None:
        row = next(row for row in rows if row[QUANTITY] < 0)
        for name, value in columns.items():
            row[{"quantity": QUANTITY, "amount": AMOUNT, "currency": CURRENCY}[name]] = value

    return spoil


def twice(undone: int) -> Spoil:
    """A credit that was taken back is taken back once more."""

    def spoil(rows: list[list[Any]]) -> None:
        of = Allocation.objects.get(pk=undone)
        row = next(row for row in rows if row[QUANTITY] < 0)
        row[ENTRY], row[TAKES_BACK], row[QUANTITY], row[AMOUNT] = of.entry_id, undone, -of.quantity, -of.amount

    return spoil


def deadlocks(rows: list[list[Any]]) -> None:
    execute("DO $$ BEGIN RAISE EXCEPTION 'deadlock detected' USING ERRCODE = 'deadlock_detected'; END $$")


def booked_anew(firm: firms.Firm, day: int, by: Any) -> int:
    """A billed hour reversed and booked anew, before its bill was followed to that."""
    was = LedgerEntry.objects.select_related("document").get(pk=day)
    again = firm.time(was.document.external_id, work_date=was.work_date, description="another text")
    [anew] = firm.admit(again).held
    reversal = corrections.reverse([day], by=by, reason="another text").reversals[day]
    firms.post([reversal])
    corrections.settle([reversal])
    firms.post([anew])
    return anew


def test_whatever_the_database_refuses_of_a_decision_is_said_on_the_bills_page_and_nothing_moved(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    firm = firms.build()
    firms.key(firm.target, "customer", firm.customer.pk, "C1")
    erp = Erp(firm)
    ana, bob = world.user("ana", "analyst", firm.entity), world.user("bob", "controller", firm.entity)
    first, second, third = posted(firm, 3)
    [waits] = firm.admit(firm.time("waits")).ready
    said = erp.bill("501", line_of(first))
    note = erp.credit("601", "501", line_of(first, "2"))
    erp.says(said, note, erp.bill("502", line_of(third)))
    erp.says(erp.again(note, status=BillStatus.VOIDED))
    undone = Allocation.objects.get(takes_back__takes_back__isnull=False).pk
    anew = booked_anew(firm, third, ana)
    edited = (line_of(first, "5"), line_of(second))
    erp.says(erp.again(said, lines=edited, net=Decimal(1560), total=Decimal(1560)))
    billing.adopt(find("501"), by=ana, reason="as agreed with the customer")
    other = world.entity("DE", "EUR")
    client = Client()
    client.force_login(bob)
    page = reverse("bill", args=[find("501").pk])
    form = {"action": "approve", "seen": find("501").current.version}
    before = (open_hours([first, second, third]), causes())
    allocate = billing_sql.allocate
    for spoil, sentence in {
        billed(ENTITY, other.pk): "a line of it bills work of another entity. Have it billed in the entity",
        billed(ENTRY, waits): f"entry {waits} is ready, and only what is posted, billable",
        billed(
            ENTRY, anew
        ): f"entry {anew} would be billed while another version of the same work stands billed as entry",
        billed(ENTRY, None): "a line of it would bill neither work nor a milestone. Have the line taken off",
        billed(QUANTITY, Decimal(80)): "would stand billed than was delivered. See on which other bill",
        billed(
            QUANTITY, Decimal(0)
        ): "a line of it bills nothing, or less than nothing. Have it credited by a credit note",
        billed(CURRENCY, ""): "a line of it has no currency. Have the currency of the bill set",
        billed(QUANTITY, Decimal(10) ** 15): "a figure of it is larger than any that is kept here",
        given_back(currency="EUR"): "in another currency, than what was billed. Have the note written",
        given_back(
            quantity=Decimal(-80)
        ): "more would be given back than is left of what it billed. Have the credit note",
        given_back(quantity=Decimal(0), amount=Decimal(0)): "a line of it gives back nothing at all",
        twice(undone): "a credit would be taken back a second time. Look at the bill again",
        deadlocks: "somebody decided about the same hours in the same moment. Decide once more",
    }.items():

        def spoilt(rows: list[list[Any]], spoil: Spoil = spoil) -> None:
            spoil(rows)
            allocate(rows)

        monkeypatch.setattr(billing_sql, "allocate", spoilt)
        answer = client.post(page, form)
        assert answer.status_code == 422
        refusal = answer.context["refusal"]
        assert refusal.startswith(
            "Nothing was decided about Invoice INV-501 over 1,560.00 USD, where 960.00 USD were agreed: "
        )
        assert sentence in refusal
        assert (open_hours([first, second, third]), causes()) == before
        assert BillingDecision.objects.get().approved_at is None
    monkeypatch.setattr(billing_sql, "allocate", allocate)
    monkeypatch.setattr(deciding, "choices", lambda bill: list(deciding.Choice))
    client.force_login(ana)
    answer = client.post(page, {"action": "adopt", "seen": form["seen"], "reason": "once more"})
    assert (answer.status_code, BillingDecision.objects.count()) == (422, 1)
    assert "somebody decided about the same version just now." in answer.context["refusal"]
    client.force_login(bob)
    assert client.post(page, form).status_code == 303
    assert open_hours([first, second]) == {first: Decimal(3), second: Decimal(0)}


def test_what_the_database_refuses_of_the_hours_of_a_credit_is_said_beside_the_form(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    firm = firms.build()
    erp = Erp(firm)
    [day] = posted(firm, 1)
    silent = BillLine(key="s", quantity=Decimal(1), net=Decimal(120), description="Credit")
    erp.says(erp.bill("501", line_of(day)), erp.credit("601", "501", silent))
    client = Client()
    client.force_login(world.user("ana", "analyst", firm.entity))
    row = Allocation.objects.get()
    allocate = billing_sql.allocate

    def spoilt(rows: list[list[Any]]) -> None:
        given_back(quantity=Decimal(-9))(rows)
        allocate(rows)

    monkeypatch.setattr(billing_sql, "allocate", spoilt)
    page = reverse("bill_credit", args=[find("601", "credit_note").pk])
    form = {f"{row.pk}-hours": "1", f"{row.pk}-amount": "120", "reason": "the customer says so"}
    answer = client.post(page, form)
    assert answer.status_code == 422
    assert answer.context["refusal"].startswith(
        "Nothing was decided about Credit note CM-601 over 120.00 USD: more would be given back"
    )
    assert open_hours([day]) == {day: Decimal(0)}
    monkeypatch.setattr(billing_sql, "allocate", allocate)
    assert client.post(page, form).status_code == 303
    assert open_hours([day]) == {day: Decimal(1)}


@pytest.mark.parametrize("model", [Allocation, BillingBalance, BillingDecision])
def test_every_constraint_that_can_refuse_a_decision_has_its_sentence(model: type[models.Model]) -> None:
    names = {constraint.name for constraint in model._meta.constraints}
    assert names
    assert names <= set(SENTENCES)
