"""The hours that a bench's firm worked, as its vendor tells them. Free of Django, because stand-ins tell them too."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

CURRENCIES = ("USD", "GBP", "EUR", "SGD")
FIRST = date(2026, 10, 1)
DAYS = 31


def worked(
    people: int, projects: int, count: int, *, faulty: float = 0.02, offset: int = 0
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Approved Harvest entries, as (index of the source, payload): an hour or an hour and a half each.

    The share `faulty` carries a project that nobody knows. Two runs with the same numbers are alike.
    """
    step = max(round(1 / faulty), 1) if faulty else 0
    for n in range(offset, offset + count):
        person = n % people
        entity = person % 4
        turn = n // people
        project = ((person + turn * 7) // 4 * 4) % (projects // 4 * 4) + entity
        is_faulty = bool(step) and n % step == step - 1
        day = FIRST + timedelta(days=turn % DAYS)
        yield entity, {
            "id": 5_000_000 + n, "spent_date": day.isoformat(), "hours": 1.5 if n % 2 else 1.0, "notes": f"Work item {n}",
            "user": {"id": 90_000 + person, "name": f"Person {person}"},
            "client": {"id": 1, "name": "Client", "currency": CURRENCIES[entity]},
            "project": {"id": 1, "name": "", "code": "NO-SUCH"} if is_faulty else _project(project),
            "task": {"id": 1, "name": "Work"}, "billable": True, "billable_rate": None, "approval_status": "approved",
            "is_running": False, "created_at": "2026-11-01T08:00:00Z", "updated_at": "2026-11-01T08:00:00Z",
            "external_reference": None,
        }  # fmt: skip


def _project(number: int) -> dict[str, Any]:
    return {"id": 10_000 + number, "name": "", "code": f"P{number}"}
