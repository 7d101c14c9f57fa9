"""What a person says of the differences that a rehearsal found, one by one or many at once.

The rule here: a decision has a person and a reason, and is taken while its onboarding is locked, so that none comes after going
live was proposed. *Accepted* is a difference that may stay; *the same work* makes a document that somebody had booked before
history for good; *not the same work* lets it be posted when it goes live.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction

from portal import access, audit, sql
from portal.models import User
from reconciliation.models import Onboarding, RehearsedLine
from reconciliation.onboarding.base import NotYet

Decision = RehearsedLine.Decision
Outcome = RehearsedLine.Outcome


def decide(line_ids: Sequence[int], decision: str, *, by: User, reason: str) -> int:
    """Decide on these differences; how many were. What is decided may be decided anew until going live is proposed. Audited."""
    if not reason.strip():
        raise NotYet("A decision needs a reason; it is kept with the difference.")
    with transaction.atomic():
        chosen = RehearsedLine.objects.filter(pk__in=line_ids).exclude(outcome=Outcome.AGREES)
        onboardings = list(
            Onboarding.objects.select_for_update(of=("self",), no_key=True)
            .select_related("entity", "source")
            .filter(pk__in=chosen.values("rehearsal__onboarding"))
            .order_by("pk")
        )
        lines = list(chosen.select_for_update(of=("self",)).select_related("rehearsal").order_by("pk"))
        for onboarding in onboardings:
            access.require(by, access.FIXERS, onboarding.entity_id)
            if onboarding.state != Onboarding.State.PREPARING:
                raise NotYet(f"{onboarding} is {onboarding.get_state_display().lower()}; its differences are decided.")
        for line in lines:
            _check(line, decision)
            line.decision, line.decided_by, line.decided_at, line.reason = decision, by, sql.now(), reason.strip()
        RehearsedLine.objects.bulk_update(lines, ["decision", "decided_by", "decided_at", "reason"], batch_size=2_000)
        for onboarding in onboardings:
            own = [line.pk for line in lines if line.rehearsal.onboarding_id == onboarding.pk]
            audit.record(
                by, f"rehearsal.{decision}", onboarding, entity=onboarding.entity, reason=reason.strip(),
                after={"differences": len(own), "first": own[0], "last": own[-1]},
            )  # fmt: skip
    return len(lines)


def _check(line: RehearsedLine, decision: str) -> None:
    is_booked = line.outcome == Outcome.BOOKED
    if decision in (Decision.SAME, Decision.OTHER) and not is_booked:
        raise NotYet("Only what was booked already is the same work or not; accept the others with a reason.")
    if decision == Decision.ACCEPTED and is_booked:
        raise NotYet("Say of what was booked already whether it is the same work: it would be posted a second time.")
    if decision not in Decision.values or not decision:
        raise NotYet(f"“{decision}” is no decision.")
