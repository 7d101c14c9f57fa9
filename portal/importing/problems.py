"""What is wrong with an input, each at its place, in words that say what was expected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that stops a load, or that the operator should know of (a warning)."""

    place: str  # file, line and column, or a path in a TOML file
    value: str  # what stands there; empty where nothing does
    message: str  # the rest of the sentence after the value

    def __str__(self) -> str:
        return f"{self.place}: {f'“{self.value}” ' if self.value else ''}{self.message}"


class Place(Protocol):
    """Where a row stands in its input."""

    def at(self, column: str = "") -> str:
        """The place of the row or of one of its columns, as people find it."""
        ...

    def short(self) -> str:
        """The place of the row as another row of the same input names it."""
        ...


@dataclass(frozen=True, slots=True)
class FilePlace:
    """One record of a CSV file. Lines count from 1, the header being the first."""

    file: str
    line: int = 0

    def at(self, column: str = "") -> str:
        """As in `rates.csv, line 17, column amount`."""
        line = f", line {self.line}" if self.line else ""
        return f"{self.file}{line}{f', column {column}' if column else ''}"

    def short(self) -> str:
        """As in `line 17`."""
        return f"line {self.line}"


class Refused(Exception):
    """The input has problems, and nothing of it was loaded."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = list(problems)

    @property
    def counted(self) -> str:
        """How many, in words."""
        return "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"


class Unreadable(ValueError):
    """One value cannot be taken; the message continues a sentence that begins with the value."""
