"""In which units resources count: each in its base unit, and in others of which one is so much of it.

As the base application has it: a line counts in the base unit of its resource until its work type brings a unit or the line names
one; a work type that has a unit admits no other, and a resource only those that it was given.
"""

from __future__ import annotations

from typing import Any

from integrations.sandbox.store import Store

HOUR = "HOUR"


class Units:
    """The units of the resources of a company, by number; who was told nothing counts in hours alone."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def base(self, number: Any) -> str:
        """The unit of a resource's line that names none."""
        return str(self._resource(number).get("baseUnitOfMeasure") or HOUR)

    def knows(self, number: Any, unit: Any) -> bool:
        """Whether a resource counts in a unit."""
        return unit == self.base(number) or unit in self._resource(number).get("units", {})

    def per(self, number: Any, unit: Any) -> float:
        """How much of the base unit one of a unit is."""
        return float(self._resource(number).get("units", {}).get(unit, 1))

    def of_work_type(self, code: Any) -> str:
        """The unit that a work type brings, or empty."""
        rows = self._store.collection("workTypes").values()
        return next((str(row.get("unitOfMeasureCode") or "") for row in rows if row["code"] == code), "")

    def _resource(self, number: Any) -> dict[str, Any]:
        return next((row for row in self._store.collection("resources").values() if row["number"] == number), {})
