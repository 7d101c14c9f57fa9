"""How far a project month is, in words: what stops it, how much of it is ready, and the invoices that are proposed of it."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from portal import figures
from portal.models import InvoiceProposal, ProposalState
from reconciliation.models import ProjectMonth

PROPOSED: dict[str, str] = {
    ProposalState.OPEN: "to be released", ProposalState.RELEASED: "released, to be approved",
    ProposalState.APPROVED: "approved, not handed over", ProposalState.HANDED_OVER: "handed over as a draft",
    ProposalState.BILLED: "billed", ProposalState.VOIDED: "its bill was voided", ProposalState.DELETED: "its bill is deleted",
}  # fmt: skip


def has_it(who: str) -> str:
    """Who has to act, in words."""
    if not who:
        return ""
    return "nobody has it yet" if who == "nobody yet" else f"with {who}"


def unstopped(month: ProjectMonth) -> tuple[str, str]:
    """What is said of a month that nothing stops, and its look."""
    if not month.amount and not month.milestones:
        return "Nothing by the hour, no milestone due", "quiet"
    if month.all_billed >= month.to_bill:
        return "Invoiced", "state good"
    if month.drafted and not month.all_ready:
        return "On its way: drafted, and not issued yet", "state info"
    if (proposal := getattr(month, "proposal", None)) is not None:
        return f"{proposal}: {PROPOSED[proposal.state]}", "state info"
    return "Ready", "state good"


def percent(month: ProjectMonth) -> int | None:
    """How much of what is to be billed is ready or invoiced, hours and milestones; None where nothing is priced.

    What hours without a rate are worth nobody knows: they count as not ready, by their share of the hours.
    """
    if not month.to_bill:
        return None
    share = (month.all_ready + month.all_billed) * 100 / month.to_bill
    if month.unpriced_hours and month.hours:
        share *= max(month.hours - month.unpriced_hours, Decimal(0)) / month.hours
    return int(share)


def off_price(month: ProjectMonth) -> str:
    """By how much invoices ask for less, or more, than was agreed, in words; empty where they ask for just that."""
    amount = figures.amount(abs(month.off_price), month.currency)
    if amount == figures.amount(Decimal(0), month.currency):
        return ""
    return f"{amount} {'less' if month.off_price > 0 else 'more'} than was agreed"


def proposals_of(months: Sequence[ProjectMonth]) -> dict[int, list[InvoiceProposal]]:
    """The invoices that are proposed of each month's work, by month, the latest first; one statement."""
    found: dict[int, list[InvoiceProposal]] = {}
    rows = InvoiceProposal.objects.filter(project__in={month.project_id for month in months}, state__in=PROPOSED)
    by_project: dict[int, list[InvoiceProposal]] = {}
    for proposal in rows.select_related("customer").order_by("-pk"):
        by_project.setdefault(proposal.project_id, []).append(proposal)
    for month in months:
        of_month = [
            one
            for one in by_project.get(month.project_id, ())
            if month.period.starts_on <= one.through <= month.period.ends_on
        ]
        if of_month:
            found[month.pk] = of_month
    return found
