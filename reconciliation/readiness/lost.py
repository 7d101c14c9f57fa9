"""Invoices of a project month that are void or that their system deleted: nobody asks for what stands on them."""

from __future__ import annotations

from collections.abc import Sequence

from django.urls import reverse

from portal import figures
from reconciliation.models import ProjectMonth
from reconciliation.readiness.words import Blocker
from reconciliation.sql import readiness as sql


def lost(months: Sequence[ProjectMonth]) -> dict[int, Blocker]:
    """By project month, the dearest of its void or deleted invoices, which comes before everything; one statement at most."""
    of_months = {(month.project_id, month.period_id, month.currency): month for month in months if month.gone}
    bills: dict[int, list[sql.LostBill]] = {}
    for bill in sql.lost_bills({project for project, _, _ in of_months}):
        if (month := of_months.get((bill.project_id, bill.period_id, bill.currency))) is not None:
            bills.setdefault(month.pk, []).append(bill)
    return {month.pk: _words(month, bills[month.pk]) for month in of_months.values() if month.pk in bills}


def _words(month: ProjectMonth, bills: Sequence[sql.LostBill]) -> Blocker:
    first = bills[0]
    words = (
        f"Invoice {first.number} was {'voided' if first.is_void else 'deleted'} in {first.system}: "
        f"{figures.amount(month.gone, month.currency)} {month.currency} are asked for by no invoice until somebody decides."
    )
    return Blocker(words, "finance", reverse("bill", args=[first.bill_id]), len(bills) - 1)
