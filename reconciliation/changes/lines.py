"""What one line of a change set says, and how a line that cannot stand is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from portal.importing.problems import Problem, Refused
from reconciliation.changes.kinds import BY_CODE
from reconciliation.models import ChangeLine, ChangeSet

Action = ChangeLine.Action


class ChangeRefused(Exception):
    """Why a change set cannot be written, submitted, decided or applied; the text is for the person."""

    def __init__(self, message: str, problems: Sequence[Problem] = ()) -> None:
        super().__init__(message)
        self.problems = list(problems)

    @classmethod
    def by(cls, refusal: Refused) -> ChangeRefused:
        """The same refusal of a load, line by line."""
        return cls("\n".join(str(problem) for problem in refusal.problems), refusal.problems)


@dataclass(frozen=True, slots=True)
class Line:
    """One record to make, change, end or remove; `model` is the code of a kind, `values` are texts or JSON in our words."""

    model: str
    key: int | None = None
    action: str = Action.CHANGE
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LinePlace:
    """The place of a line among its change set's."""

    number: int

    def at(self, column: str = "") -> str:
        """As in `line 2, amount`."""
        return f"line {self.number}{f', {column}' if column else ''}"

    def short(self) -> str:
        """As in `line 2`."""
        return f"line {self.number}"


@dataclass(frozen=True, slots=True)
class WrittenLine:
    """What a line did: to which record, what it is called, and the record before and after in our words."""

    pk: int
    record: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None


def lines_of(rows: Sequence[ChangeLine]) -> list[Line]:
    """Stored lines as they were asked."""
    return [Line(row.model, row.key, row.action, row.values) for row in rows]


def rows_of(change_set: ChangeSet) -> list[ChangeLine]:
    """The stored lines in their order, for whoever asks several things of them: thousands are dear to read."""
    return list(change_set.lines.order_by("position"))


def frozen_lines(change_set: ChangeSet, rows: Sequence[ChangeLine] | None = None) -> list[Line]:
    """The lines in their order as they are decided on: once they are submitted, what ends does so on the day that was shown.

    `rows` as they were read already.
    """
    rows = rows_of(change_set) if rows is None else rows
    if not change_set.content_hash:
        return lines_of(rows)
    return [Line(row.model, row.key, row.action, {**row.values, **_end_shown(row)}) for row in rows]


def _end_shown(row: ChangeLine) -> dict[str, Any]:
    ends = BY_CODE[row.model].ends
    return {ends: row.after[ends]} if row.action == Action.END and row.after else {}
