"""The line of a milestone: signed, proposed, handed over, invoiced, credited and paid.

The rule here: as with an hour, a station that was not reached says why, in the words of the row that stops it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from django.db.models import QuerySet
from django.urls import reverse
from django.utils import timezone

from integrations.thread import billing
from integrations.thread.stations import Station
from portal import figures
from portal.models import Allocation, Milestone, PaymentAllocation, ProposalPart, ProposalState
from reconciliation import naming


@dataclass(slots=True, kw_only=True)
class MilestoneThread:
    """One milestone with what takes it: parts of proposals, allocations on bills and what settles these, oldest first."""

    milestone: Milestone
    parts: Sequence[ProposalPart] = ()
    billed: Sequence[Allocation] = ()
    settled: Sequence[PaymentAllocation] = ()


def milestones_named(name: str) -> QuerySet[Milestone]:
    """The milestones that a code, or the number of a proposal, a draft, a bill or a payment leads to."""
    name = name.strip()
    found = naming.milestones(name)
    bills, proposals = naming.on_bills(name)
    if bills or proposals:
        found = found | naming.milestones_of(bills, proposals)
    return found.select_related("project__entity", "project__customer").order_by("due_on", "pk")


def of_milestones(milestones: Sequence[Milestone]) -> list[MilestoneThread]:
    """Everything that is known of some milestones, in a fixed number of queries."""
    ids = [milestone.pk for milestone in milestones]
    parts = ProposalPart.objects.filter(milestone__in=ids).select_related("line__proposal", "line__draft__connection")
    billed = list(
        Allocation.objects.filter(milestone__in=ids)
        .select_related("line__version__invoice__current", "cause__invoice").order_by("pk")
    )  # fmt: skip
    bills = {one.line.version.invoice_id for one in billed}
    settled = list(
        PaymentAllocation.objects.filter(invoice__in=bills)
        .select_related("payment_version").order_by("recorded_at", "pk")
    )  # fmt: skip
    taken = list(parts.order_by("pk"))
    return [_of(milestone, taken, billed, settled) for milestone in milestones]


def _of(
    milestone: Milestone,
    parts: Sequence[ProposalPart],
    billed: Sequence[Allocation],
    settled: Sequence[PaymentAllocation],
) -> MilestoneThread:
    on = [one for one in billed if one.milestone_id == milestone.pk]
    bills = {one.line.version.invoice_id for one in on}
    return MilestoneThread(
        milestone=milestone, parts=[part for part in parts if part.milestone_id == milestone.pk], billed=on,
        settled=[one for one in settled if one.invoice_id in bills],
    )  # fmt: skip


def milestone_lineage(told: MilestoneThread) -> list[Station]:
    """Signature, proposal, draft, invoice, credit and payment."""
    milestone = told.milestone
    if milestone.signed_on:
        signed = Station("signed", "Signature", "lit", f"signed on {figures.day(milestone.signed_on)}")
    else:
        signed = Station("signed", "Signature", "", f"not signed; due on {figures.day(milestone.due_on)}")
    return [signed, *_proposed(told), *billing.line_of(told.billed, told.settled, lambda: _why(told), in_hours=False)]


def _proposed(told: MilestoneThread) -> Iterator[Station]:
    """The latest proposal that took it, and the draft by which it was handed over."""
    part = next((part for part in reversed(told.parts) if not _is_over(part)), None)
    if part is None:
        if not told.billed:
            yield Station("proposal", "Proposal", "", "on none")
        return
    proposal, draft = part.line.proposal, part.line.draft
    url = reverse("invoice_proposal", args=[proposal.pk])
    words = f"{proposal}, {proposal.get_state_display().lower()}"
    if part.line.hold_reason:
        yield Station(
            "proposal", "Proposal", "broken", f"{words}, on hold: {part.line.hold_reason}", proposal.prepared_at, url
        )
        return
    yield Station("proposal", "Proposal", "lit", words, proposal.prepared_at, url)
    if draft is not None:
        said = (
            f"{draft.connection} {draft.number}" if draft.number else f"to {draft.connection}, which gave no number yet"
        )
        yield Station("draft", "Draft", "lit" if draft.number else "", said, proposal.handed_over_at, url)


def _is_over(part: ProposalPart) -> bool:
    return part.line.proposal.state in (ProposalState.WITHDRAWN, ProposalState.VOIDED, ProposalState.DELETED)


def _why(told: MilestoneThread) -> str:
    """Why nothing of a milestone is on a bill."""
    if any(not _is_over(part) for part in told.parts):
        return "Its proposal has not come back as an invoice."
    return "It is signed and proposed at the next invoice run." if told.milestone.signed_on else "It is not signed."


def milestones_told(threads: Sequence[MilestoneThread]) -> Iterator[str]:
    """Milestones in lines for a terminal."""
    for told in threads:
        one = told.milestone
        amount = f"{figures.amount(one.amount, one.currency)} {one.currency}"
        yield f"Milestone {one.code} ({one.name}) of {one.project.code} ({one.project.entity}), {amount}, due on {one.due_on}"
        for station in milestone_lineage(told):
            moment = f", {timezone.localtime(station.at):%Y-%m-%d %H:%M:%S}" if station.at is not None else ""
            yield f"    {station.name}: {station.words}{moment}"
