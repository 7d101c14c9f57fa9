"""Asking the approvers of a project for what waits, once in 24 hours."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.urls import reverse
from django.utils import timezone

from portal import audit, figures, notifications, sql
from portal.access import FIXERS
from portal.models import ApprovalStep, AuditEvent, GrantRole, NotificationKind, Project, User
from portal.screens import Action, Outcome, Refused
from reconciliation.models import ProjectMonth
from reconciliation.sql import readiness as readiness_sql

NUDGED = "approver.nudged"
ONCE_IN = timedelta(hours=24)


class NudgeApprover(Action):
    """Ask the people of the approval chain for what waits."""

    name, label, button = "nudge", "Nudge approver", "Ask them"
    sentence = "Ask the approvers of {count} project for what waits for approval"
    roles = FIXERS | {GrantRole.PROJECT_MANAGER}
    in_bulk = False

    def apply(self, queryset: QuerySet[Any], user: Any) -> Outcome:
        """Tell each approver who signs in here, once in 24 hours."""
        month = queryset.select_related("project", "period").get()
        with transaction.atomic():
            sql.rows("SELECT pg_advisory_xact_lock(%s, %s)", [0x6E756467, month.project_id % 2**31])
            _not_yet_nudged(month)
            period = month.period
            ((waiting, _, _),) = readiness_sql.waiting_for_approval(
                [month.project_id], period.starts_on, period.ends_on
            )
            if not waiting:
                raise Refused(f"Nothing of {month.project.code} in {period.code} waits for approval.")
            chain = list(ApprovalStep.objects.filter(project=month.project_id).select_related("approver"))
            emails = {step.approver.email.casefold() for step in chain if step.approver.email}
            people = [person for person in User.objects.exclude(email="") if person.email.casefold() in emails]
            told = notifications.notify(
                people, NotificationKind.APPROVAL, f"Time on {month.project} in {month.period.code} waits for your approval",
                url=reverse("readiness_project", args=[month.pk]), entity=month.project.entity_id, by=user,
                key=f"readiness:{month.pk}",
            )  # fmt: skip
            known = {person.email.casefold() for person in people}
            others = [step.approver for step in chain if step.approver.email.casefold() not in known]
            if not told:
                raise Refused(_unreachable(month.project, [str(one.email or one.name) for one in others]))
            audit.record(
                user, NUDGED, month.project, entity=month.project.entity_id, reason=f"Billing of {month.period.code}",
                after={"period": month.period.code, "told": sorted(person.username for person in people)},
            )  # fmt: skip
        more = f" {_and(others)} has no sign-in here." if others else ""
        return Outcome(f"{told} {'approver was' if told == 1 else 'approvers were'} asked.{more}")


def _not_yet_nudged(month: ProjectMonth) -> None:
    last = (
        AuditEvent.objects.filter(
            action=NUDGED, object_type="project", object_id=str(month.project_id), after__period=month.period.code,
            at__gt=sql.now() - ONCE_IN,
        ).order_by("-pk").first()
    )  # fmt: skip
    if last is not None:
        again = timezone.localtime(last.at + ONCE_IN)
        raise Refused(
            f"{last.actor_name} asked {figures.age(last.at)} ago; once in 24 hours is enough. Again from {again:%d %b %H:%M}."
        )


def _unreachable(project: Project, others: Sequence[str]) -> str:
    if not others:
        return f"{project.code} has no approval chain. Add who approves its time to the project's record."
    return f"{_and(others)} cannot be told here: no sign-in has that address. Write to them yourself."


def _and(names: Sequence[Any]) -> str:
    return " and ".join(str(name) for name in names)
