"""The first thing that stops each project month of a page, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from django.urls import reverse

from portal import figures
from portal.models import ProposalLine, ProposalState
from reconciliation.models import ExceptionCase, ProjectMonth
from reconciliation.readiness.agreements import manager_of, with_whom, without_milestones
from reconciliation.readiness.left_out import left_out
from reconciliation.readiness.lost import lost
from reconciliation.readiness.words import Blocker
from reconciliation.sql import readiness as sql


def first_blockers(months: Sequence[ProjectMonth]) -> dict[int, Blocker]:
    """By project month; nine statements at most, whatever their number. What is ready has none."""
    stopped: dict[tuple[int, int], list[sql.Stopped]] = {}
    for one in sql.stopped(months):
        stopped.setdefault((one.project_id, one.period_id), []).append(one)
    ids = {causes[0].case_id for causes in stopped.values()}
    cases = ExceptionCase.objects.select_related("owner", "team").in_bulk(ids)
    on_hold, on_lost_bills, off_bills = _on_hold(months), lost(months), left_out(months)
    feeless = without_milestones(month.project for month in months if month.hours)
    found: dict[int, Blocker] = {}
    for month in months:
        causes = stopped.get((month.project_id, month.period_id), [])
        other = off_bills.get(month.pk) or _otherwise(month) or on_hold.get(month.project_id)
        blocker = _held(causes, cases) if causes else other
        if blocker is None and month.hours and month.project_id in feeless:
            blocker = Blocker("The fee is billed by milestones, and the project has none.", manager_of(month.project))
        if (gone := on_lost_bills.get(month.pk)) is not None:
            blocker = replace(gone, more=gone.more + (1 + blocker.more if blocker else 0))
        if blocker is not None:
            found[month.pk] = blocker
    return found


def _held(causes: Sequence[sql.Stopped], cases: Mapping[int, ExceptionCase]) -> Blocker:
    case = cases[causes[0].case_id]
    return Blocker(case.sentence, with_whom(case), reverse("cause", args=[case.pk]), len(causes) - 1)


def _on_hold(months: Sequence[ProjectMonth]) -> dict[int, Blocker]:
    """By project, the first line that a person holds off an invoice which is not handed over yet."""
    lines = ProposalLine.objects.filter(
        proposal__project__in={month.project_id for month in months}, held_by__isnull=False,
        proposal__state__in=[ProposalState.OPEN, ProposalState.RELEASED, ProposalState.APPROVED],
    ).select_related("proposal", "held_by").order_by("proposal", "position")  # fmt: skip
    found: dict[int, Blocker] = {}
    counts = Counter(line.proposal.project_id for line in lines)
    for line in lines:
        if line.held_by is None:
            continue
        who = line.held_by.get_full_name() or line.held_by.get_username()
        words = f"A line of {line.proposal} is on hold: {line.hold_reason.removesuffix('.')}."
        url = reverse("invoice_proposal", args=[line.proposal_id])
        found.setdefault(line.proposal.project_id, Blocker(words, who, url, counts[line.proposal.project_id] - 1))
    return found


def _otherwise(month: ProjectMonth) -> Blocker | None:
    """What stops a month of which no entry is held."""
    if month.stopped:
        return Blocker(f"{in_number(month.stopped)} in doubt: looked up at the target before anything is sent again.")
    if month.unsigned:
        words = (
            "1 milestone is due and not signed"
            if month.unsigned == 1
            else f"{month.unsigned} milestones are due and not signed"
        )
        return Blocker(f"{words}.", manager_of(month.project))
    if month.unpriced_hours:
        return Blocker(f"{figures.hours(month.unpriced_hours)} h have no rate yet.", "finance")
    if month.in_other_currency:
        return Blocker(f"{in_number(month.in_other_currency)} in another currency than {month.currency}.", "finance")
    if month.under_way:
        return Blocker(
            f"{figures.amount(month.under_way, month.currency)} {month.currency} are on their way to the books."
        )
    return None


def in_number(count: int) -> str:
    """So many entries, with their verb."""
    return "1 entry is" if count == 1 else f"{count:,} entries are"
