"""Time registration entries: open entries of time sheets, listed by a filter only, each made whether one like it stands or not.

As the product's own source has it: `id`, `status`, `lineNumber` and units are not the caller's to set, employees and projects are
known by number or id, a list without a filter or over more than 70 days is refused, and the number of a task is answered and
not kept.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

from integrations.sandbox.businesscentral.journal import Refused
from integrations.sandbox.businesscentral.units import Units
from integrations.sandbox.store import Store

SET = "timeRegistrationEntries"
ARCHIVE = "archivedTimeRegistrationEntries"
LONGEST = 70
_DIALOG = "Application_DialogException"
_TAKEN = frozenset({"employeeId", "employeeNumber", "jobId", "jobNumber", "jobTaskNumber", "date", "quantity"})
_DAYS = re.compile(r"date (?:ge|le|eq) (\d{4}-\d\d-\d\d)")


class TimeSheets:
    """The time sheets of one company."""

    def __init__(self, store: Store, stamp: Callable[[], str]) -> None:
        self._store = store
        self._stamp = stamp
        self._units = Units(store)

    def check(self, wanted: str) -> None:
        """Refuse a list that names neither a day, an employee nor an entry, or too many days."""
        if not re.search(r"\b(date|employeeId|id) ", wanted):
            raise Refused(_DIALOG, "A filter must be specified. The filter could be for the date, employeeId or id.")
        days = sorted(date.fromisoformat(one) for one in _DAYS.findall(wanted))
        if days and (days[-1] - days[0]).days > LONGEST:
            raise Refused(
                _DIALOG,
                f"The date filter is invalid. The date filter must be a valid range with maximum {LONGEST} days.",
            )

    def write(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Make an entry on a line of its own for its day."""
        if unknown := set(given) - _TAKEN:
            name = min(unknown)
            if name in ("id", "status", "absence", "lineNumber", "unitOfMeasureId", "unitOfMeasureCode"):
                raise Refused("Internal_ReadOnlyField", f"The property '{name}' is read-only.")
            raise Refused("BadRequest", f"The property '{name}' does not exist on type 'timeRegistrationEntry'.")
        employee = self._related("employees", "employee", given, "an Employee")
        if employee is None:
            raise Refused(
                _DIALOG, "You must specify an Employee ID or Employee number to get the time registration entries."
            )
        job = self._related("projects", "job", given, "a Job")
        for name in ("date", "quantity"):
            if not given.get(name):
                raise Refused(_DIALOG, f"{name} must have a value in Employee Time Reg Buffer.")
        same = [
            row
            for row in self._rows().values()
            if (row["employeeNumber"], row["date"]) == (employee["number"], given["date"])
        ]
        key = str(uuid.uuid4())
        made = {
            "id": key, "employeeId": employee["id"], "employeeNumber": employee["number"], "jobId": job["id"] if job else "",
            "jobNumber": job["number"] if job else "", "jobTaskNumber": "", "absence": "", "lineNumber": 10_000 * (1 + len(same)),
            "date": given["date"], "quantity": given["quantity"], "status": "Open",
            "unitOfMeasureCode": self._units.base(employee["number"]), "lastModfiedDateTime": self._stamp(),
        }  # fmt: skip
        self._rows()[key] = made
        return {**made, "jobTaskNumber": given.get("jobTaskNumber", "")}

    def archive(self, employee: str, day: str) -> None:
        """Archive the sheet of an employee's week from Monday: its entries are not listed any more."""
        week = date.fromisoformat(day).isocalendar()[:2]
        for key, row in list(self._rows().items()):
            if row["employeeNumber"] == employee and date.fromisoformat(row["date"]).isocalendar()[:2] == week:
                self._store.collection(ARCHIVE)[key] = self._rows().pop(key)

    def _rows(self) -> Any:
        return self._store.collection(SET)

    def _related(self, name: str, word: str, given: Mapping[str, Any], what: str) -> dict[str, Any] | None:
        """A row by its id or its number; None where neither is given."""
        for field, of in (("Id", "id"), ("Number", "number")):
            value = given.get(f"{word}{field}")
            if value:
                found = next((row for row in self._store.collection(name).values() if row[of] == value), None)
                if found is None:
                    raise Refused(_DIALOG, f'The "{word}{field}" does not match to {what}.')
                return dict(found)
        return None
