"""The versions of one document side by side, and what each changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from itertools import pairwise

from django.utils import timezone

from integrations.postings import plain
from portal import figures
from portal.models import Expense, TimeEntry

Version = TimeEntry | Expense
FIELDS = {
    "status": "Status",
    "hours": "Hours",
    "amount": "Amount",
    "currency": "Currency",
    "rate": "Rate at source",
    "work_date": "Work date",
    "post_on": "Posting date",
    "resource_name": "Person",
    "resource_code": "Person's code",
    "project_code": "Project code",
    "project_name": "Project",
    "task_code": "Task",
    "is_billable": "Billable",
    "category": "Category",
    "tax_code": "Tax code",
    "receipt_reference": "Receipt",
    "description": "Description",
    "approver_name": "Approved by",
    "approved_at": "Approved at",
    "rate_source": "Whose rate",
}


@dataclass(frozen=True, slots=True)
class Compared:
    """One field over the versions of a document; each cell says whether it differs from the version before."""

    name: str
    cells: Sequence[tuple[str, bool]]

    @property
    def differs(self) -> bool:
        """Whether any version says something else."""
        return any(changed for _, changed in self.cells)


def compared(versions: Sequence[Version]) -> list[Compared]:
    """The fields of some versions side by side, those that say anything at all."""
    found = []
    for name, label in FIELDS.items():
        values = [_value(version, name) for version in versions]
        if any(values):
            cells = [(value, index > 0 and value != values[index - 1]) for index, value in enumerate(values)]
            found.append(Compared(label, cells))
    return found


def changes(versions: Sequence[Version]) -> dict[int, list[tuple[str, str, str]]]:
    """For each version after the first, what it changed: (field, before, after)."""
    found: dict[int, list[tuple[str, str, str]]] = {}
    for before, after in pairwise(versions):
        found[after.version] = [
            (label, _value(before, name), _value(after, name))
            for name, label in FIELDS.items()
            if _value(before, name) != _value(after, name)
        ]
    return found


def _value(version: Version, name: str) -> str:
    value = getattr(version, name, None)
    if value is None or value == "":
        return ""
    if isinstance(value, datetime):
        return f"{timezone.localtime(value):%d %b %Y %H:%M %Z}"
    if isinstance(value, date):
        return figures.day(value)
    return figures.exact(value) if isinstance(value, Decimal) else plain(value)
