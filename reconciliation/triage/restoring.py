"""A bill that somebody in its own system has to put back: asked of a named person or team, reminded of, and escalated by its age.

The rule here: nobody is told that something is restored before its system shows it. Until then the cause stands, with whoever was
asked, and the longer it takes the more people hear of it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import transaction
from django.db.models import CharField, Exists, F, OuterRef, Q, QuerySet
from django.db.models.functions import Cast
from django.urls import reverse

from portal import access, figures, sql
from portal.models import LegalEntity, NotificationKind, User
from portal.notifications import notify
from reconciliation import policies
from reconciliation.billing import as_approved, comparing
from reconciliation.models import BillingDecision, ExceptionCase, Team
from reconciliation.triage.assigning import assign

RULES = ("bill-changed", "bill-not-as-approved")


class Patience(NamedTuple):
    """After how long a bill that is not restored is said again to who was asked, and to the controllers."""

    reminded: timedelta
    escalated: timedelta


def patience_of(entity: LegalEntity) -> Patience:
    """How long an entity waits, by its policy."""
    policy = policies.merged(entity.policy)
    return Patience(timedelta(days=policy.restore_remind_days), timedelta(days=policy.restore_escalate_days))


def ask(decision: BillingDecision, to: User | Team, *, by: User) -> None:
    """Give the cause of a changed bill to who restores it, and tell them both figures. Joins the caller's transaction."""
    decision.asked_of = to.name if isinstance(to, Team) else to.get_username()
    decision.save(update_fields=["asked_of"])
    case = _case(decision)
    if case is not None:
        assign([case.pk], by=by, to=to, reason=decision.reason)
    people = list(to.members.all()) if isinstance(to, Team) else [to]
    _tell(people, decision, f"Restore {decision.bill} in {decision.bill.connection}: {_figures(decision)}")


def remind(at: datetime | None = None) -> int:
    """Remind who was asked to restore a bill, and tell the controllers after longer; how many bills. Each is told once."""
    moment = at or sql.now()
    waits = BillingDecision.objects.filter(
        choice=BillingDecision.Choice.RESTORE, outcome="", bill__current=F("version"), escalated_at=None
    ).exclude(~Exists(_not_as_approved()), bill__agreed=F("bill__current"))
    patience = {
        entity.pk: patience_of(entity) for entity in LegalEntity.objects.filter(pk__in=waits.values("bill__entity"))
    }
    due = Q(pk=None)
    for entity_id, long in patience.items():
        is_late = Q(at__lte=moment - long.escalated) | Q(at__lte=moment - long.reminded, reminded_at=None)
        due |= Q(bill__entity=entity_id) & is_late
    count = 0
    with transaction.atomic():
        rows = (
            waits.filter(due)
            .select_for_update(of=("self",), skip_locked=True)
            .select_related("bill__connection", "bill__current", "by")
        )
        for decision in rows.order_by("pk")[:200]:
            days = (moment - decision.at).days
            since = f"{decision.bill} is not restored in {decision.bill.connection} after {days} days"
            if moment - decision.at >= patience[decision.bill.entity_id].escalated:
                people = {decision.by, *_asked(decision), *access.holders(access.APPROVERS, decision.bill.entity_id)}
                decision.escalated_at = moment
            else:
                people, decision.reminded_at = {decision.by, *_asked(decision)}, moment
            decision.save(update_fields=["reminded_at", "escalated_at"])
            kind = NotificationKind.ESCALATED if decision.escalated_at else NotificationKind.ASSIGNED
            _tell(
                list(people),
                decision,
                f"{since}, asked of {decision.asked_of or decision.by}: {_figures(decision)}",
                kind,
            )
            count += 1
    return count


def _not_as_approved() -> QuerySet[ExceptionCase]:
    """The open causes that say of a decision's bill that it is not what was approved."""
    return ExceptionCase.objects.filter(
        rule="bill-not-as-approved", subject_type="bill", state=ExceptionCase.State.OPEN,
        subject_key=Cast(OuterRef("bill_id"), CharField()),
    )  # fmt: skip


def _asked(decision: BillingDecision) -> list[User]:
    """Who has the cause by now."""
    case = _case(decision)
    if case is None:
        return []
    owner = [case.owner] if case.owner is not None else []
    return [*owner, *(case.team.members.all() if case.team is not None else [])]


def _case(decision: BillingDecision) -> ExceptionCase | None:
    found = ExceptionCase.objects.select_related("owner", "team").filter(
        rule__in=RULES, subject_type="bill", subject_key=str(decision.bill_id), state=ExceptionCase.State.OPEN
    )
    return found.first()


def _figures(decision: BillingDecision) -> str:
    bill = decision.bill
    if bill.agreed_id == bill.current_id:
        return f"{'; '.join(as_approved.strayed(bill).words)}."
    lines = comparing.compared(bill)
    agreed = bill.agreed or bill.current
    totals = (
        f"its total is {figures.amount(bill.current.total, bill.current.currency)} {bill.current.currency} and was "
        f"{figures.amount(agreed.total, agreed.currency)} {agreed.currency}"
    )
    told = comparing.told(lines, agreed.currency)
    return f"{totals}{f'; {told}' if told else ''}."


def _tell(
    people: list[User], decision: BillingDecision, subject: str, kind: NotificationKind = NotificationKind.ASSIGNED
) -> None:
    notify(
        people, kind, subject, url=reverse("bill", args=[decision.bill_id]), entity=decision.bill.entity_id,
        note=decision.reason[:300], key=f"restore:{decision.pk}:{kind}:{decision.reminded_at or ''}",
    )  # fmt: skip
