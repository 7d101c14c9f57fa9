"""Invoices of a project month that are void or that their system deleted: nobody asks for what stands on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from django.urls import reverse

from portal import figures
from reconciliation.models import ExceptionCase, ProjectMonth
from reconciliation.readiness.agreements import with_whom
from reconciliation.readiness.left_out import causes_of
from reconciliation.readiness.words import Blocker
from reconciliation.sql import readiness as sql

VOID = ("void-with-payments",)


def lost(months: Sequence[ProjectMonth]) -> dict[int, Blocker]:
    """By project month, the dearest of its void or deleted invoices, which comes before everything; two statements at most."""
    of_months = {(month.project_id, month.period_id, month.currency): month for month in months if month.gone}
    bills: dict[int, list[sql.LostBill]] = {}
    for bill in sql.lost_bills({project for project, _, _ in of_months}):
        if (month := of_months.get((bill.project_id, bill.period_id, bill.currency))) is not None:
            bills.setdefault(month.pk, []).append(bill)
    causes = causes_of({group[0].bill_id for group in bills.values() if group[0].is_void}, VOID)
    return {month.pk: _words(month, bills[month.pk], causes) for month in of_months.values() if month.pk in bills}


def _words(month: ProjectMonth, bills: Sequence[sql.LostBill], causes: Mapping[int, ExceptionCase]) -> Blocker:
    """In words. A deleted invoice is decided about on its page; on a void one payments stand, and its cause says what is done."""
    first = bills[0]
    words = (
        f"Invoice {first.number} was {'voided' if first.is_void else 'deleted'} in {first.system}: "
        f"{figures.amount(month.gone, month.currency)} {month.currency} are asked for by no invoice"
    )
    if (case := causes.get(first.bill_id)) is not None:
        url = reverse("cause", args=[case.pk])
        return Blocker(f"{words} while payments stand on it.", with_whom(case), url, len(bills) - 1, "Open the cause")
    return Blocker(f"{words} until somebody decides.", "finance", reverse("bill", args=[first.bill_id]), len(bills) - 1)
