"""What cannot be read in a file, said so that the person who sent it can mend it.

A fault of one row names row, column, value and expectation and never stops the other rows; a fault of a whole file
names the file's property and the way out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from integrations.errors import Malformed

SHOWN = 80  # characters of a value that a sentence quotes


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One cell, or one whole row when `column` is empty, that cannot be read. `row` counts as a spreadsheet does."""

    row: int
    column: str
    value: str
    expectation: str

    @property
    def sentence(self) -> str:
        """The fault in words: where it is, what stands there, what was expected."""
        if not self.column:
            return f"Row {self.row}: {self.expectation}"
        return f"Row {self.row}, column “{self.column}”: “{_short(self.value)}” is not {self.expectation}"

    def as_payload(self) -> dict[str, Any]:
        """The fault as json.dumps takes it, to travel inside a source record."""
        return {"row": self.row, "column": self.column, "value": self.value, "expectation": self.expectation}

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any]) -> Problem:
        """The fault that `as_payload` wrote."""
        return cls(
            row=int(payload["row"]),
            column=str(payload["column"]),
            value=str(payload["value"]),
            expectation=str(payload["expectation"]),
        )


class RowUnreadable(Malformed):
    """One row of a file cannot be read; `problem` says why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.sentence)
        self.problem = problem


class FileUnreadable(Malformed):
    """A whole file, or the settings that describe it, cannot be read."""


def _short(value: str) -> str:
    return value if len(value) <= SHOWN else value[: SHOWN - 1] + "…"
