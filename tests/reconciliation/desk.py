"""A desk with work on it: one firm, and causes of several kinds with the entries that they hold."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from portal.models import GrantRole, User
from portal.records import Reference
from tests import world
from tests.reconciliation.firm import Firm, build, key, person, project

MISTYPED = "ACM-2231"


def mistyped(firm: Firm, count: int, *, start: int = 1000, code: str = MISTYPED) -> list[int]:
    """Hours on a code that is not in the master data; the entries."""
    records = [
        firm.time(
            str(start + number),
            project=Reference("", code, "Acme roll-out phase 2"),
            work_date=date(2026, 10, 1) + timedelta(days=number % 28),
            hours=Decimal(4) + Decimal(number % 9) / 2,
        )
        for number in range(count)
    ]
    return list(firm.admit(*records).held)


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


__all__ = ["MISTYPED", "Firm", "analyst", "build", "mistyped", "near", "off_rate", "person", "ready"]
