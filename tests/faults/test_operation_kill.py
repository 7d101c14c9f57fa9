"""A worker dies, stops or loses its database in the middle of a bulk fix: each row ends once, and nothing is booked twice.

The judge is the ERP, which shows every key as often as it was sent.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psutil
import pytest
from django.conf import settings
from django.db import connection

from integrations import registry
from integrations.sandbox import VENDORS
from integrations.sandbox.server import control, sandbox_server
from portal.models import AuditEvent, LedgerState, LedgerTransition
from reconciliation import operations
from reconciliation.models import Operation
from tests.faults import fixer, judged
from tests.faults.judged import Desk
from tests.faults.workers import SCALE, Fixers

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.case(57, 60)]

PATIENCE = 20.0
ROWS = 8
DEPLOY = 60.0  # seconds that a worker may take to start or to end
PLANNING = ["in the middle of a dry-run", "before a dry-run is kept"]
ASKED = "before what was asked for is kept"
KILLED = [
    point for point, (_, _, told) in fixer.POINTS.items()
    if told == signal.SIGKILL and point not in (*PLANNING, ASKED)
]  # fmt: skip


@pytest.fixture(scope="session")
def fixers(django_db_setup: None) -> Iterator[Fixers]:
    made = Fixers()
    yield made
    made.close()


@pytest.fixture(scope="module")
def erp() -> Iterator[str]:
    VENDORS["plain"] = "tests.faults.plain:PlainErp"
    registry.CONNECTORS["plain"] = "tests.faults.plain.PlainTarget"
    with sandbox_server(names=["plain"]) as base_url:
        yield base_url
    del VENDORS["plain"], registry.CONNECTORS["plain"]


@pytest.fixture
def desk(erp: str, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setattr(settings, "TIME_SCALE", SCALE)
    control(erp, "POST", "reset", {})
    return judged.desk(erp)


def until(what: Callable[[], bool], told: str, *, patience: float = PATIENCE) -> None:
    end = time.monotonic() + patience
    while not what():
        assert time.monotonic() < end, told
        time.sleep(0.02)


def goes_on(fixers: Fixers, operation: Operation, until_it_is: str = "") -> None:
    """Let workers come, as the sweeper finds the operation, until it is over, or in a state."""

    def is_over() -> bool:
        if operations.due() == [operation.pk]:
            assert fixers.ended(fixers.begin(operation.pk)) == 0
        state = Operation.objects.values_list("state", flat=True).get(pk=operation.pk)
        return state == until_it_is if until_it_is else state != "running"

    until(is_over, "nobody went on with the operation")


@pytest.mark.parametrize("point", KILLED)
def test_a_killed_worker_leaves_the_rest_to_the_next_and_no_row_is_done_twice(
    point: str, desk: Desk, fixers: Fixers
) -> None:
    held = desk.held(ROWS)
    operation = operations.confirm(desk.plan(desk.ana), user=desk.ana)
    assert fixers.ended(fixers.begin(operation.pk, point)) == signal.SIGKILL
    operation.refresh_from_db()
    kept = 2 * fixer.CHUNK if point == "between two chunks" else fixer.CHUNK
    assert (operation.state, operation.done) == ("running", kept)
    goes_on(fixers, operation)
    desk.deliver()
    assert desk.judge(operation) == {"done": ROWS}
    operation.refresh_from_db()
    assert (operation.state, operation.posted, operation.turn) == ("done", ROWS, 2)
    assert operation.settled_at is not None
    replaced = LedgerTransition.objects.filter(entry__in=held, from_state="held", to_state="cancelled")
    assert replaced.count() == ROWS


@pytest.mark.parametrize("point", PLANNING)
def test_a_worker_killed_while_it_plans_has_changed_nothing_and_the_next_one_begins_anew(
    point: str, desk: Desk, fixers: Fixers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "PLAN_AT_ONCE", 2)
    desk.held(ROWS)
    operation = desk.plan(desk.ana)
    assert fixers.ended(fixers.begin(operation.pk, point)) == signal.SIGKILL
    operation.refresh_from_db()
    assert (operation.state, operation.planned) == (
        "planning",
        6 if point == PLANNING[0] else ROWS,
    )  # seen by everybody
    assert set(operation.rows.values_list("promised", flat=True)) == {""}
    assert not LedgerState.objects.exclude(state="held").exists()
    goes_on(fixers, operation, until_it_is="planned")
    operation.refresh_from_db()
    assert (operation.preview["passes"], operation.turn) == (ROWS, 2)
    operations.confirm(operation, user=desk.ana)
    assert fixers.ended(fixers.begin(operation.pk, ASKED)) == signal.SIGKILL
    operation.refresh_from_db()
    assert (operation.state, operation.confirmed_at) == ("planning", None)
    goes_on(fixers, operation, until_it_is="done")
    desk.deliver()
    assert desk.judge(operation) == {"done": ROWS}
    assert AuditEvent.objects.filter(action="operation.map-code").count() == 1


def test_a_worker_that_comes_back_after_its_turn_writes_nothing(desk: Desk, fixers: Fixers) -> None:
    """It was stopped for longer than its lease, as a machine that sleeps; another worker has finished meanwhile."""
    desk.held(ROWS)
    operation = operations.confirm(desk.plan(desk.ana), user=desk.ana)
    slow = fixers.begin(operation.pk, "stopped between two chunks")
    until(lambda: psutil.Process(slow).status() == psutil.STATUS_STOPPED, "the first worker did not stop")
    goes_on(fixers, operation)
    ended = list(operation.rows.order_by("pk").values("pk", "result", "finished_at", "message"))
    os.kill(slow, signal.SIGCONT)
    assert fixers.ended(slow) == 0
    assert list(operation.rows.order_by("pk").values("pk", "result", "finished_at", "message")) == ended
    desk.deliver()
    assert desk.judge(operation) == {"done": ROWS}


def test_a_worker_in_the_middle_of_a_chunk_keeps_it_whatever_its_lease_says(desk: Desk, fixers: Fixers) -> None:
    desk.held(ROWS)
    operation = operations.confirm(desk.plan(desk.ana), user=desk.ana)
    slow = fixers.begin(operation.pk, "stopped in the middle of a chunk")
    until(lambda: psutil.Process(slow).status() == psutil.STATUS_STOPPED, "the first worker did not stop")
    until(lambda: operations.due() == [operation.pk], "its lease did not run out")
    assert fixers.ended(fixers.begin(operation.pk)) == 0  # the second leaves at once: the first is alive
    operation.refresh_from_db()
    assert (operation.done, operation.turn) == (fixer.CHUNK, 1)
    os.kill(slow, signal.SIGCONT)
    assert fixers.ended(slow) == 0
    desk.deliver()
    assert desk.judge(operation) == {"done": ROWS}


def test_a_worker_that_lost_its_database_in_a_chunk_has_done_nothing_of_it(desk: Desk, fixers: Fixers) -> None:
    """The server ends sessions that idle in a transaction; the worker wakes up and finds its connection gone."""
    desk.held(ROWS)
    operation = operations.confirm(desk.plan(desk.ana), user=desk.ana)
    frozen = fixers.begin(operation.pk, "stopped in the middle of a chunk")
    until(lambda: psutil.Process(frozen).status() == psutil.STATUS_STOPPED, "the first worker did not stop")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity a JOIN pg_locks l ON l.pid = a.pid"
            " WHERE l.locktype = 'advisory' AND l.objid = %s AND a.datname = current_database()",
            [operation.pk],
        )
        assert cursor.rowcount == 1
    goes_on(fixers, operation)
    os.kill(frozen, signal.SIGCONT)
    assert fixers.ended(frozen) == 1
    desk.deliver()
    assert desk.judge(operation) == {"done": ROWS}


@contextmanager
def deployed(var: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A worker as production runs it, over a broker of its own."""
    parts = urlsplit(os.environ["DATABASE_URL"])
    here = urlunsplit(parts._replace(path=f"/{connection.settings_dict['NAME']}"))
    command = [
        sys.executable, "-m", "celery", "-A", "tests.faults.deployed", "worker", "--pool", "solo", "--queues", "bulk",
        "--loglevel", "ERROR",
    ]  # fmt: skip
    process = subprocess.Popen(
        command, cwd=settings.BASE_DIR, start_new_session=True,
        env={**os.environ, "DATABASE_URL": here, "TIEOUT_VAR": str(var), "REDIS_URL": "", "TIEOUT_PROCESS": "worker"},
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


def test_a_deploy_in_the_middle_ends_the_turn_and_the_next_worker_goes_on_at_once(desk: Desk, tmp_path: Path) -> None:
    rows = 4 * ROWS  # several turns, so that the end of a worker falls into their middle on a fast machine too
    desk.held(rows)
    operation = operations.confirm(desk.plan(desk.ana), user=desk.ana)

    def done() -> int:
        return Operation.objects.values_list("done", flat=True).get(pk=operation.pk)

    with deployed(tmp_path) as old:
        until(lambda: done() > 0, "no worker began", patience=DEPLOY)
        os.kill(old.pid, signal.SIGTERM)
        assert old.wait(DEPLOY) == 0
    assert 0 < done() < rows
    assert operations.due() == [operation.pk]  # given back, not left to run out
    with deployed(tmp_path):
        until(lambda: done() == rows, "no worker went on", patience=DEPLOY)
    desk.deliver()
    assert desk.judge(operation) == {"done": rows}
