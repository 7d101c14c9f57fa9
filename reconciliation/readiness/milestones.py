"""The milestones of a project month, each with what stands between it and the customer's invoice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from django.db.models import Q
from django.utils import timezone

from portal import figures
from portal.models import BillingModel, Milestone, Project, ProposalPart
from reconciliation.models import ProjectMonth
from reconciliation.readiness.agreements import billing_model_of, manager_of
from reconciliation.readiness.explaining import Why, given_back, on_proposal, proposed_parts, waits
from reconciliation.sql import readiness as sql


@dataclass(frozen=True, slots=True)
class Stone:
    """One milestone, what of it is left to bill, and why it is not billed."""

    milestone: Milestone
    left: Decimal
    why: Why


def milestones_of(month: ProjectMonth, today: date | None = None) -> list[Stone]:
    """The milestones that belong to a month or are left from before; four statements at most, whatever their number."""
    period = month.period
    found = list(
        Milestone.objects.filter(project=month.project_id).filter(
            Q(due_on__lte=period.ends_on) | Q(signed_on__lte=period.ends_on)
        ).select_related("billing_balance").order_by("due_on", "code")
    )  # fmt: skip
    shown = [one for one in found if _left(one) > 0 or period.starts_on <= (one.signed_on or one.due_on)]
    return explained(month.project, shown, today or timezone.localdate())


def explained(project: Project, milestones: Sequence[Milestone], today: date) -> list[Stone]:
    """Why each of a project's milestones is not billed. Needs `billing_balance`."""
    parts = proposed_parts(milestone__in=milestones)
    by_stone: dict[int, ProposalPart] = {}
    for part in parts:
        by_stone.setdefault(part.milestone_id or 0, part)
    numbers = sql.invoices_of("milestone_id", [one.pk for one in milestones if _left(one) <= 0])
    back = sql.given_back("milestone_id", [one.pk for one in milestones if _is_open_again(one)])
    is_retainer = billing_model_of(project) == BillingModel.RETAINER
    return [
        Stone(
            one, _left(one),
            _why(project, one, by_stone.get(one.pk), numbers.get(one.pk, []), is_retainer, today, given_back(back.get(one.pk))),
        )
        for one in milestones
    ]  # fmt: skip


def _is_open_again(milestone: Milestone) -> bool:
    balance = getattr(milestone, "billing_balance", None)
    return balance is not None and balance.credited > 0 and _left(milestone) > 0


def _left(milestone: Milestone) -> Decimal:
    balance = getattr(milestone, "billing_balance", None)
    return milestone.amount if balance is None else balance.delivered - balance.invoiced + balance.credited


def _why(  # noqa: PLR0917 -- one milestone and all that is known of it
    project: Project,
    milestone: Milestone,
    part: ProposalPart | None,
    numbers: Sequence[str],
    is_retainer: bool,
    today: date,
    back: str,
) -> Why:
    if _left(milestone) <= 0:
        words = f"It is on invoice {' and '.join(numbers)}." if numbers else "There is nothing of it to bill."
        return Why(words=words, is_billed=bool(numbers))
    if not is_retainer and milestone.signed_on is None:
        words = f"It is due on {figures.day(milestone.due_on)} and nobody signed it."
        return Why(words=words, who=manager_of(project), since=milestone.due_on if milestone.due_on <= today else None)
    if is_retainer and milestone.due_on > today:
        return Why(words=f"It is an instalment that is due on {figures.day(milestone.due_on)}.")
    if part is not None:
        return on_proposal(part)
    since = milestone.due_on if is_retainer else milestone.signed_on
    return waits(project, "It is delivered", back, since, today)
