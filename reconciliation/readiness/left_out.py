"""Work that was handed over and whose invoice bills it otherwise, or not at all: which cause it waits for, and who has it."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from django.urls import reverse

from portal import figures
from portal.models import InvoiceProposal
from reconciliation.models import ExceptionCase, ProjectMonth
from reconciliation.readiness.agreements import with_whom
from reconciliation.readiness.words import Blocker
from reconciliation.sql import left_out as sql

OFF_BILL = ("bill-not-as-approved", "billed-line-unknown")  # the first says more of it


def causes_of(bill_ids: Collection[int], rules: Sequence[str] = OFF_BILL) -> dict[int, ExceptionCase]:
    """The open cause of each bill by one of these rules, the first rule first; one statement."""
    if not bill_ids:
        return {}
    found = ExceptionCase.objects.filter(
        state=ExceptionCase.State.OPEN, subject_type="bill", subject_key__in=[str(pk) for pk in bill_ids], rule__in=rules
    ).select_related("owner", "team")  # fmt: skip
    ordered = sorted(found, key=lambda case: rules.index(case.rule), reverse=True)
    return {int(case.subject_key): case for case in ordered}


def left_out(months: Sequence[ProjectMonth]) -> dict[int, Blocker]:
    """By project month, what stops its work that invoices leave out or bill otherwise; three statements at most."""
    blocked = {(month.project_id, month.period_id): month for month in months if month.blocked}
    of_months: dict[int, list[sql.LeftOut]] = {}
    for one in sql.of_projects({project for project, _ in blocked}):
        if (month := blocked.get((one.project_id, one.period_id))) is not None:
            of_months.setdefault(month.pk, []).append(one)
    every = [one for group in of_months.values() for one in group]
    causes = causes_of({one.bill_id for one in every if one.bill_id is not None})
    proposals = InvoiceProposal.objects.in_bulk({one.proposal_id for one in every}) if every else {}
    return {pk: _words(group, causes, proposals[group[0].proposal_id]) for pk, group in of_months.items()}


def _words(group: Sequence[sql.LeftOut], causes: dict[int, ExceptionCase], proposal: InvoiceProposal) -> Blocker:
    first, more = group[0], len({one.bill_id for one in group}) - 1
    if (case := causes.get(first.bill_id or 0)) is not None:
        return Blocker(case.sentence, with_whom(case), reverse("cause", args=[case.pk]), more)
    words = (
        f"{figures.amount(first.amount, first.currency)} {first.currency} were handed over on {proposal}, and its invoice came "
        "without them or bills them otherwise."
    )
    return Blocker(words, "finance", reverse("invoice_proposal", args=[proposal.pk]), more)
