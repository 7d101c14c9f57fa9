"""How a measurement is taken and told: paired rounds, medians, a table for people and JSON for programs."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Protocol

from django.db import connection

ROUNDS = 7


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured: 1.0 is the size that the goals speak of; tests take a thousandth."""

    factor: float = 1.0
    rounds: int = ROUNDS

    def of(self, size: int, least: int = 1) -> int:
        """A size at this scale."""
        return max(least, round(size * self.factor))


@dataclass(slots=True)
class Result:
    """One measured figure. `ratio` is the median of the rounds' ratios of value to floor; `goal` is for the ratio."""

    name: str
    unit: str
    values: list[float]
    floors: list[float]
    goal: float | None = None
    at_least: bool = True  # whether the goal is a lower bound
    note: str = ""
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def value(self) -> float:
        """The median value."""
        return statistics.median(self.values)

    @property
    def floor(self) -> float:
        """The median floor."""
        return statistics.median(self.floors)

    @property
    def ratios(self) -> list[float]:
        """Value to floor, round by round."""
        return [value / floor for value, floor in zip(self.values, self.floors, strict=True)]

    @property
    def ratio(self) -> float:
        """The median ratio."""
        return statistics.median(self.ratios)

    @property
    def is_reached(self) -> bool | None:
        """Whether the goal is; None where there is none."""
        if self.goal is None:
            return None
        return self.ratio >= self.goal if self.at_least else self.ratio <= self.goal

    def as_json(self) -> dict[str, Any]:
        """What `--json` writes for it."""
        return {
            "value": round(self.value, 3), "floor": round(self.floor, 3), "ratio": round(self.ratio, 4),
            "ratio_min": round(min(self.ratios), 4), "ratio_max": round(max(self.ratios), 4), "rounds": len(self.values),
            "goal": self.goal, "reached": self.is_reached, "unit": self.unit, "note": self.note, **self.extra,
        }  # fmt: skip


class Bench(Protocol):
    """One bench module: measures at a scale, in the scratch database, and returns its figures."""

    def __call__(self, scale: Scale, say: Callable[[str], None]) -> list[Result]:
        """Measure."""
        ...


BENCHES: dict[str, str] = {
    "ingest": "integrations.bench.ingest",
    "admit": "integrations.bench.admit",
    "journey": "integrations.bench.journey",
    "move": "integrations.bench.move",
    "claim": "integrations.bench.claim",
    "deliver": "integrations.bench.deliver",
    "latency": "integrations.bench.latency",
    "memory": "integrations.bench.memory",
    "desk": "integrations.bench.desk",
    "dryrun": "integrations.bench.dryrun",
    "change": "integrations.bench.change",
    "reconcile": "integrations.bench.reconcile",
    "readiness": "integrations.bench.readiness",
}


def bounded(name: str, unit: str, values: list[float], bound: float, *, note: str = "", **extra: Any) -> Result:
    """A figure that must stay below a fixed bound: the bound stands in the floor's place, and the ratio is at most 1."""
    return Result(name, unit, values, [bound] * len(values), 1.0, at_least=False, note=note, extra=extra)


def paired(
    rounds: int, value: Callable[[int], float], floor: Callable[[int], float], *, is_warm: bool = False
) -> tuple[list[float], list[float]]:
    """Run value and floor alternately; what each round gave. The first pair warms up and does not count, unless all is warm."""
    values: list[float] = []
    floors: list[float] = []
    for number in range(1 if is_warm else 0, rounds + 1):
        first, second = (value, floor) if number % 2 else (floor, value)
        given = {first: first(number), second: second(number)}
        if number:
            values.append(given[value])
            floors.append(given[floor])
    return values, floors


@contextmanager
def scratch_database() -> Iterator[None]:
    """A migrated database of its own on the configured server, dropped afterwards; `fresh_copy` copies it."""
    told = connection.settings_dict
    original, wanted = told["NAME"], told["TEST"]["NAME"]
    told["TEST"]["NAME"] = f"tieout_bench_{os.getpid()}"
    connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
    try:
        yield
    finally:
        connection.creation.destroy_test_db(original, verbosity=0)
        told["TEST"]["NAME"] = wanted


@contextmanager
def fresh_copy() -> Iterator[None]:
    """A copy of the scratch database for one bench, dropped afterwards."""
    told = connection.settings_dict
    template = told["NAME"]
    copy = f"{template}_copy"
    connection.close()
    with connection._nodb_cursor() as cursor:
        cursor.execute(f'DROP DATABASE IF EXISTS "{copy}"')
        cursor.execute(f'CREATE DATABASE "{copy}" TEMPLATE "{template}"')
    told["NAME"] = copy
    try:
        yield
    finally:
        connection.close()
        told["NAME"] = template
        with connection._nodb_cursor() as cursor:
            cursor.execute(f'DROP DATABASE IF EXISTS "{copy}" WITH (FORCE)')


def run(names: list[str], scale: Scale, say: Callable[[str], None]) -> list[Result]:
    """Measure the named benches, one after the other, each in a database of its own."""
    results: list[Result] = []
    with scratch_database():
        for name in names:
            say(f"{name} …")
            measure: Bench = import_module(BENCHES[name]).measure
            begun = time.monotonic()
            with fresh_copy():
                measured = measure(scale, say)
            say(f"  took {time.monotonic() - begun:.0f} s")
            results.extend(measured)
            for result in measured:
                say(f"  {result.name}: {result.value:,.1f} {result.unit}, ratio {result.ratio:.2f}")
    return results


def table(results: list[Result]) -> str:
    """The figures for people."""
    head = f"{'what':<18}{'value':>12}{'floor':>12}  {'unit':<14}{'ratio':>7}{'spread':>15}{'goal':>8}  reached"
    lines = [head, "-" * len(head)]
    for result in results:
        goal = "" if result.goal is None else f"{'≥' if result.at_least else '≤'} {result.goal:g}"
        reached = {True: "yes", False: "no", None: ""}[result.is_reached]
        spread = f"{min(result.ratios):.2f}–{max(result.ratios):.2f}"  # noqa: RUF001 - a range
        lines.append(
            f"{result.name:<18}{result.value:>12,.1f}{result.floor:>12,.1f}  {result.unit:<14}{result.ratio:>7.2f}"
            f"{spread:>15}{goal:>8}  {reached}{'  ' + result.note if result.note else ''}"
        )
    return "\n".join(lines)
