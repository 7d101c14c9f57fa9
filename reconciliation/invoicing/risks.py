"""What does not hold of the months that a proposal bills: told to who releases and who approves, and confirmed by them.

The rule here: what would make the bill wrong stops it (see `limits`); what may go wrong with it is a person's to accept, and
which of it they accepted is in the audit trail.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from portal import figures
from portal.models import InvoiceProposal
from reconciliation.models import ProjectMonth
from reconciliation.readiness import Check, Verdict, checklist
from reconciliation.sql import unbillable as sql

ASKED_ELSEWHERE = frozenset({"tax"})  # stops the proposal itself
MONTHS = ProjectMonth.objects.select_related(
    "project__entity", "project__customer", "project__contract", "project__manager", "period"
)


@dataclass(frozen=True, slots=True)
class Risk:
    """One thing that does not hold of a month that is billed, with its money, who has to act, and the way out."""

    period: str
    check: Check

    @property
    def words(self) -> str:
        """The answer to a question of the checklist, in its month."""
        return f"{self.period}, not met: {self.check.question.lower()}. {self.check.says}"


def risks_of(proposal: InvoiceProposal) -> list[Risk]:
    """What does not hold of the months of which a proposal bills something; a fixed number of statements a month."""
    periods = sql.periods_of(proposal.pk)
    months = MONTHS.filter(project=proposal.project_id, period__in=periods).order_by("period__starts_on")
    return [risk for month in months for risk in risks_in(month)]


def risks_in(month: ProjectMonth) -> list[Risk]:
    """What does not hold of one month."""
    found = (check for check in checklist(month) if check.verdict is Verdict.FAIL)
    return [Risk(month.period.code, _with_hours(check, month)) for check in found if check.code not in ASKED_ELSEWHERE]


def _with_hours(check: Check, month: ProjectMonth) -> Check:
    """What has no rate has no amount either: its hours are said."""
    if check.code != "rates" or not month.unpriced_hours:
        return check
    left_out = f"{figures.hours(month.unpriced_hours)} h have no rate and are left out."
    return replace(check, says=f"{check.says} {left_out}")


def digest_of(risks: Sequence[Risk]) -> str:
    """What identifies just these risks, so that nobody accepts others than they read."""
    return hashlib.sha256("\n".join(risk.words for risk in risks).encode()).hexdigest()[:16] if risks else ""
