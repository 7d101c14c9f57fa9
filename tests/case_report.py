"""`pytest --cases`: which cases of docs/cases.md are proven by a test that carries their number."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

CATALOGUE = Path(__file__).resolve().parent.parent / "docs" / "cases.md"


def catalogue() -> dict[int, str]:
    """The cases by number, with what happens in each."""
    rows = re.findall(r"^\| (\d+) \| ([^|]+) \|", CATALOGUE.read_text(), re.MULTILINE)
    return {int(number): title.strip() for number, title in rows}


def numbers_of(item: pytest.Item) -> set[int]:
    """The cases that one test says it proves. Raises UsageError for a number that the catalogue does not know."""
    numbers = {number for marker in item.iter_markers("case") for number in marker.args}
    unknown = numbers - catalogue().keys()
    if unknown:
        raise pytest.UsageError(f"{item.nodeid} names {sorted(unknown)}, which docs/cases.md does not hold.")
    return numbers


class CaseReport:
    """Collects without running, then prints the table."""

    def __init__(self) -> None:
        self.proofs: Counter[int] = Counter()

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            self.proofs.update(numbers_of(item))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        cases = catalogue()
        terminalreporter.section("cases")
        for number, title in cases.items():
            tests = self.proofs[number]
            state = f"proven by {tests:>3}" if tests else "not proven   "
            terminalreporter.write_line(f"{number:>4}  {state}  {title}")
        terminalreporter.write_line(f"{len(self.proofs)} of {len(cases)} cases are proven by at least one test.")
