"""A desk with work on it: one firm, and causes of several kinds with the entries that they hold."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from portal.models import AccountingPeriod, GrantRole, Project, Resource, State, User
from portal.records import Reference
from reconciliation import changes
from reconciliation.models import ChangeSet
from tests import world
from tests.reconciliation.firm import Firm, key, person, post, project

MISTYPED = "ACM-2231"


def mistyped(firm: Firm, count: int, *, start: int = 1000, code: str = MISTYPED) -> list[int]:
    """Hours on a code that is not in the master data; the entries."""
    team = people(firm, 8)
    records = [
        firm.time(
            str(start + number),
            project=Reference("", code, "Acme roll-out phase 2"),
            resource=Reference("", team[number % len(team)].code, team[number % len(team)].name),
            work_date=date(2026, 10, 1) + timedelta(days=number % 28),
            hours=Decimal(4) + Decimal(number % 9) / 2,
        )
        for number in range(count)
    ]
    return list(firm.admit(*records).held)


def people(firm: Firm, count: int) -> list[Resource]:
    """Consultants of the firm, known to the target; made once."""
    found = list(Resource.objects.filter(code__startswith="c-").order_by("code"))
    for number in range(len(found), count):
        found.append(person(f"c-{number}", f"Consultant {number}", firm.entity, firm.role))
        key(firm.target, "resource", found[-1].pk)
    return found[:count]


def near(firm: Firm, code: str = "ACM-2213") -> Any:
    """A project whose code is near the mistyped one, known to the target."""
    found = project(code, firm.entity, firm.customer, firm.contract)
    found.name = "Acme roll-out phase 2"
    found.save()
    key(firm.target, "project", found.pk)
    return found


def off_rate(firm: Firm, count: int, *, start: int = 3000, rate: str = "110.00") -> list[int]:
    """Hours that the source prices otherwise than agreed; the entries."""
    records = [
        firm.time(str(start + number), rate=Decimal(rate), work_date=date(2026, 10, 1) + timedelta(days=number % 20))
        for number in range(count)
    ]
    return list(firm.admit(*records).held)


def ready(firm: Firm, count: int, *, start: int = 5000) -> list[int]:
    """Hours that pass every rule; the entries."""
    records = [
        firm.time(str(start + number), work_date=date(2026, 10, 1) + timedelta(days=number % 28))
        for number in range(count)
    ]
    return list(firm.admit(*records).ready)


def analyst(firm: Firm, name: str = "fay") -> User:
    """A finance analyst of the firm's entity."""
    return world.user(name, GrantRole.ANALYST, firm.entity)


def furnish(firm: Firm) -> dict[str, int]:
    """A desk with several causes, and one entry in each of three states: its id by state."""
    held = mistyped(firm, 12)
    off_rate(firm, 7)
    periods_closed(firm, 5)
    doubtful, posted, refused = ready(firm, 3)
    post([doubtful], State.IN_DOUBT)
    post([posted])
    post([refused], State.REJECTED)
    return {"held": held[0], "in_doubt": doubtful, "posted": posted, "rejected": refused}


def periods_closed(firm: Firm, count: int, *, start: int = 7000) -> list[int]:
    """Hours in a month that is closed; the entries."""
    AccountingPeriod.objects.filter(entity=firm.entity, code="2026-08").update(state="closed")
    records = [
        firm.time(str(start + number), work_date=date(2026, 8, 3) + timedelta(days=number)) for number in range(count)
    ]
    return list(firm.admit(*records).held)


def near_id() -> int:
    """The key of the project that `near` made."""
    return Project.objects.get(code="ACM-2213").pk


def declared(change_set: ChangeSet, by: User) -> ChangeSet:
    """An emergency that one person looks at, and lets go as it was shown."""
    for _ in range(2):
        changes.declare_emergency(change_set, by, content=changes.hash_of(change_set), signed_in_again=True)
    return change_set
