"""Every bench runs, small: its own counts hold (each raises where they do not), and its figures are those that are promised.

How fast anything is, is not asserted here; `manage.py bench` measures that.
"""

from __future__ import annotations

import json
import math
import os
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from integrations.bench.measure import BENCHES, Result, Scale, bounded, paired, run, table

SMALL = Scale(factor=0.002, rounds=1)
FIGURES = {
    "ingest": ["ingest.single", "ingest.single.p99", "ingest.burst", "ingest.batch"],
    "admit": ["admit"],
    "journey": ["journey"],
    "move": ["move"],
    "claim": ["claim"],
    "deliver": ["deliver.5", "deliver.5.cpu", "deliver.8", "deliver.8.cpu", "deliver.32", "deliver.32.cpu"],
    "latency": ["latency"],
    "memory": ["memory"],
    "desk": ["desk.list", "desk.facets", "desk.cause", "desk.growth", "desk.growth.facets", "desk.growth.cause"],
    "dryrun": ["dryrun", "dryrun.wait"],
    "change": ["change", "change.agree"],
    "reconcile": [
        "reconcile",
        "reconcile.tracker",
        "reconcile.bills",
        "reconcile.payments",
        "reconcile.run",
        "reconcile.rerun",
        "reconcile.memory",
    ],
    "readiness": [
        "readiness.sum",
        "readiness.portfolio",
        "readiness.held_up",
        "readiness.project",
        "readiness.held",
        "readiness.thread",
        "readiness.search",
        "readiness.explain",
    ],
}


@pytest.fixture
def bench_database(django_db_blocker: Any) -> Any:
    """Benches make databases of their own beside the tests'."""
    with django_db_blocker.unblock():
        yield
        connection.close()


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "names",
    [
        ["ingest", "admit", "journey", "move", "claim"],
        ["deliver", "latency", "memory"],
        ["desk", "readiness"],
        ["dryrun", "change"],
        ["reconcile"],
    ],
)
def test_every_bench_runs_small(bench_database: Any, names: list[str]) -> None:
    said: list[str] = []
    results = run(names, SMALL, said.append)
    assert [result.name for result in results] == [figure for name in names for figure in FIGURES[name]]
    for result in results:
        assert len(result.values) == len(result.floors) == 1
        assert all(math.isfinite(value) and value > 0 for value in (*result.values, *result.floors)), result
        has_none = result.name in (
            "reconcile.run",
            "reconcile.payments",
            "readiness.sum",
        )  # told beside the legs that have one
        assert (result.goal is None) == has_none
        assert json.loads(json.dumps(result.as_json()))["unit"] == result.unit
    assert all(result.name in table(results) for result in results)
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_database WHERE datname LIKE %s", [f"tieout_bench_{os.getpid()}%"])
        assert cursor.fetchone() == (0,)


def test_the_benches_are_those_that_are_promised() -> None:
    assert list(BENCHES) == list(FIGURES)


def test_rounds_alternate_and_the_first_pair_only_warms_up() -> None:
    calls: list[str] = []

    def value(number: int) -> float:
        calls.append(f"value {number}")
        return 10.0 * number

    def floor(number: int) -> float:
        calls.append(f"floor {number}")
        return 20.0

    values, floors = paired(3, value, floor)
    assert values == [10.0, 20.0, 30.0]
    assert floors == [20.0] * 3
    assert calls == [
        "floor 0", "value 0", "value 1", "floor 1", "floor 2", "value 2", "value 3", "floor 3",
    ]  # fmt: skip


def test_a_result_tells_the_median_ratio_and_whether_its_goal_is_reached() -> None:
    result = Result("x", "rows/s", [10.0, 30.0, 20.0], [20.0, 20.0, 20.0], goal=0.9)
    assert result.ratio == 1.0
    assert result.is_reached
    assert result.as_json() == {
        "value": 20.0, "floor": 20.0, "ratio": 1.0, "ratio_min": 0.5, "ratio_max": 1.5, "rounds": 3, "goal": 0.9,
        "reached": True, "unit": "rows/s", "note": "",
    }  # fmt: skip
    slow = bounded("y", "ms", [120.0], 100.0)
    assert slow.is_reached is False
    assert slow.ratio == 1.2


def test_a_bench_that_does_not_exist_is_named() -> None:
    with pytest.raises(CommandError, match="There is no bench “nonsense”; expected any of ingest, admit"):
        call_command("bench", "nonsense")
