"""Who is on a cause right now: fixes that run or were just planned, and people who said so.

The rule here: nothing of it needs tidying up. A plan counts for minutes, and “I am on it” ends by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q

from portal import access
from portal import sql as portal_sql
from portal.models import User
from reconciliation.models import ExceptionCase, Lease, Operation
from reconciliation.triage.deciding import TRIAGERS, NotPossible

LEASE = timedelta(minutes=30)
PLANNED = timedelta(minutes=15)  # how long a dry-run that nobody confirmed says that its person is there


@dataclass(frozen=True, slots=True)
class Present:
    """One person on one cause, since when, and the operation if there is one."""

    user_id: int
    who: str
    since: datetime
    operation_id: int | None = None
    is_running: bool = False

    @property
    def words(self) -> str:
        """As in “being fixed by Fay Analyst”."""
        if self.is_running:
            return f"being fixed by {self.who}"
        return f"{self.who} looks at a fix" if self.operation_id else f"{self.who} is on it"


def present(case_ids: Sequence[int]) -> dict[int, list[Present]]:
    """Who is on which of these causes, the running fixes first. Two statements, whatever the number of causes."""
    now = portal_sql.now()
    found: dict[int, list[Present]] = {}
    running = Operation.State.RUNNING
    before = [Operation.State.PLANNING, Operation.State.PLANNED]
    active = Q(state=running) | Q(state__in=before, created_at__gte=now - PLANNED)
    for one in Operation.objects.filter(active, case__in=case_ids).select_related("created_by").order_by("created_at"):
        since = one.confirmed_at or one.created_at
        person = Present(one.created_by_id, name_of(one.created_by), since, one.pk, one.state == running)
        found.setdefault(one.case_id or 0, []).append(person)
    for lease in Lease.objects.filter(case__in=case_ids, until__gt=now).select_related("user").order_by("since"):
        there = found.setdefault(lease.case_id, [])
        if lease.user_id not in {one.user_id for one in there}:
            there.append(Present(lease.user_id, name_of(lease.user), lease.since))
    for there in found.values():
        there.sort(key=lambda one: (not one.is_running, one.since))
    return found


def name_of(user: User) -> str:
    """The person as colleagues say it."""
    return user.get_full_name() or user.get_username()


def take_up(case_id: int, *, by: User) -> Lease:
    """Say “I am on it”, or go on saying it. Raises NotPossible for a cause that is not open."""
    with transaction.atomic():
        case = ExceptionCase.objects.visible_to(by).select_for_update(no_key=True).get(pk=case_id)
        access.require(by, TRIAGERS, case.entity_id)
        if case.state != ExceptionCase.State.OPEN:
            raise NotPossible("The cause is not open any more.")
        now = portal_sql.now()
        standing = Lease.objects.filter(case=case, user=by).first()
        since = standing.since if standing is not None and standing.until > now else now
        lease, _ = Lease.objects.update_or_create(case=case, user=by, defaults={"since": since, "until": now + LEASE})
    return lease


def lay_down(case_id: int, *, by: User) -> None:
    """Say that one is not on it any more."""
    Lease.objects.visible_to(by).filter(case=case_id, user=by).delete()
