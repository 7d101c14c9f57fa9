"""A worker dies by `kill -9` at each point of a delivery while the ERP does each thing that an ERP does.

The judge is the ERP: it shows every key once for what was posted and never twice, whatever happened. Nothing is left on its
way, and every promise holds. The pairs of one point run side by side, each at an ERP and in an entity of its own, because
nearly all of their time is waiting; every pair runs.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

from integrations import outbox, registry
from integrations.sandbox import VENDORS
from integrations.sandbox.server import control, sandbox_server
from portal.models import Attempt, Connection, LedgerState
from reconciliation import operations
from reconciliation.models import ExceptionCase, Operation, OperationRow
from tests import world
from tests.faults.nursery import BETWEEN_CHUNKS
from tests.faults.plain import installed
from tests.faults.workers import SCALE, TIMES, Nursery
from tests.integrations import netsuite_account, outbound
from tests.invariants import assert_all_hold

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.case(57, 58)]

POINTS = ("before-intent", "after-intent", "after-send", "after-response", "after-commit")
BEHAVIOURS: dict[str, dict[str, Any]] = {
    "ok": {},
    "400": {"kind": "status", "status": 400},
    "429": {"kind": "status", "status": 429, "retry_after": "0"},
    "503": {"kind": "status", "status": 503},
    "500 after commit": {"kind": "status", "status": 500, "commits": True},
    "time-out before commit": {"kind": "timeout_before", "seconds": 0.6},
    "time-out after commit": {"kind": "timeout_after", "seconds": 0.6},
    "commit after the time-out": {"kind": "slow", "seconds": 0.45},
    "reset mid-body": {"kind": "reset_mid_body"},
    "garbage": {"kind": "garbage"},
    "read lag": {"kind": "read_lag", "seconds": 0.5},
}
COMMITTED_UNHEARD = (
    "500 after commit",
    "time-out after commit",
    "commit after the time-out",
    "reset mid-body",
    "garbage",
)
PATIENCE = 40.0


@dataclass
class Erp:
    connection: Connection
    sandbox: str
    vendor: str
    write: str

    def fault(self, fault: dict[str, Any]) -> None:
        if fault:
            control(
                self.sandbox, "POST", "faults", [{"vendor": self.vendor, "method": "POST", "path": self.write, **fault}]
            )

    def slow_down(self, seconds: float) -> None:
        control(self.sandbox, "POST", f"{self.vendor}/configure", {"latency": seconds})

    def told(self) -> dict[str, Any]:
        told: dict[str, Any] = control(self.sandbox, "GET", f"{self.vendor}/inspect")
        return told

    def keys(self) -> Counter[str]:
        """How often each key stands in its books."""
        told = self.told()
        return Counter(told["records_by_external_id"]["timebill"] if self.vendor == "netsuite" else told["keys"])

    def pushes(self) -> int:
        """How many pushes it booked."""
        return int(self.told()["pushes"])


@pytest.fixture(scope="session")
def nursery(django_db_setup: None) -> Iterator[Nursery]:
    made = Nursery()
    yield made
    made.close()


@pytest.fixture(scope="module")
def erps() -> Iterator[str]:
    """The address of a sandbox with NetSuite and a plain ERP for each behaviour, which no other module's tests see."""
    names = installed(len(BEHAVIOURS))
    VENDORS.update(names)
    registry.CONNECTORS["plain"] = "tests.faults.plain.PlainTarget"
    os.environ["NETSUITE_KEY"] = netsuite_account.keys()["PS256"][0]
    with sandbox_server(names=[*names, "netsuite"]) as base_url:
        yield base_url
    for name in names:
        del VENDORS[name]
    del registry.CONNECTORS["plain"], os.environ["NETSUITE_KEY"]


@pytest.fixture
def sandbox(erps: str, settings: Any) -> str:
    """The same, with nothing booked and nothing going wrong."""
    settings.TIME_SCALE = SCALE
    control(erps, "POST", "reset", {})
    return erps


def plain_erp(sandbox: str, number: int) -> Erp:
    """One of the plain ERPs, as a target."""
    name = f"plain-{number}"
    connection = world.connection(name, "plain", is_target=True, concurrency=2, settings=TIMES)
    Connection.objects.filter(pk=connection.pk).update(base_url=f"{sandbox}/{name}")
    return Erp(connection, sandbox, name, "/records")


@pytest.fixture
def plain(sandbox: str) -> Erp:
    return plain_erp(sandbox, 0)


@dataclass
class Pair:
    """One behaviour of an ERP, and the entries that are owed to it while it behaves so."""

    behaviour: str
    erp: Erp
    source: Connection
    ids: list[int]

    @property
    def job(self) -> tuple[str, int, str]:
        return ("deliver", self.erp.connection.pk, "")

    def strike(self, point: str = "") -> None:
        """Let the ERP behave so, slowly enough that a worker can die in the midst of a call."""
        self.erp.slow_down(0.2 if point == "after-send" else 0.0)
        self.erp.fault(BEHAVIOURS[self.behaviour])


def pairs(sandbox: str, behaviours: Iterable[str] = BEHAVIOURS, *, count: int = 4, **changes: Any) -> list[Pair]:
    """A pair for each behaviour, with entries of its own entity at an ERP of its own."""
    made = []
    for number, behaviour in enumerate(behaviours):
        erp = plain_erp(sandbox, number)
        source = outbound.firm(erp.connection, f"E{number}")
        admitted = outbound.take_in(source, [outbound.record(source, n, **changes) for n in range(count)])
        made.append(Pair(behaviour, erp, source, sorted([*admitted.ready, *admitted.held])))
    return made


def _settle_all(nursery: Nursery, going: Sequence[Pair]) -> None:
    """Let workers come and go until nothing is on its way anywhere, then judge each pair, and the promises over all."""
    left = list(going)
    until = time.monotonic() + PATIENCE
    while left and time.monotonic() < until:
        nursery.work_all([pair.job for pair in left])
        left = [
            pair
            for pair in left
            if set(outbound.states(pair.ids).values()) & {"ready", "sending", "in_doubt", "accepted"}
        ]
        time.sleep(0.05 if left else 0.0)
    assert not left, f"still on their way after {PATIENCE:g} seconds: {[pair.behaviour for pair in left]}"
    wrong = []
    for pair in going:
        states = outbound.states(pair.ids)
        keys = dict(LedgerState.objects.filter(entry__in=pair.ids).values_list("entry_id", "entry__idempotency_key"))
        posted = Counter(keys[entry_id].hex for entry_id, state in states.items() if state == "posted")
        allowed = {"posted", "rejected"} if pair.behaviour == "400" else {"posted"}
        if not set(states.values()) <= allowed:
            wrong.append(f"{pair.behaviour}: the entries are {sorted(states.values())}")
        if pair.erp.keys() != posted:
            wrong.append(f"{pair.behaviour}: the ERP holds {pair.erp.keys()}, posted are {posted}")
        pushes = Attempt.objects.filter(connection=pair.erp.connection, purpose="push").exclude(outcome="unsent")
        if pair.erp.pushes() > pushes.count():
            wrong.append(
                f"{pair.behaviour}: the ERP saw {pair.erp.pushes()} pushes, {pushes.count()} attempts are kept"
            )
    assert not wrong, "\n".join(wrong)
    assert not Attempt.objects.filter(purpose="push", outcome="accepted", ended_at=None).exists()
    assert_all_hold()


def _settle(nursery: Nursery, erp: Erp, ids: list[int]) -> dict[int, str]:
    """Let workers come and go until nothing is on its way."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        nursery.work(erp.connection.pk)
        states = outbound.states(ids)
        if not set(states.values()) & {"ready", "sending", "in_doubt", "accepted"}:
            return states
        time.sleep(0.05)
    waiting = LedgerState.objects.filter(entry__in=ids).values_list(
        "entry_id", "state", "waits_on", "attempts", "look_ups"
    )
    raise AssertionError(f"still on their way after {PATIENCE:g} seconds: {list(waiting)}")


def _judge(erp: Erp, ids: list[int], states: dict[int, str]) -> None:
    """Every posted entry stands in the ERP once, and nothing else does."""
    keys = dict(LedgerState.objects.filter(entry__in=ids).values_list("entry_id", "entry__idempotency_key"))
    posted = {keys[entry_id].hex for entry_id, state in states.items() if state == "posted"}
    assert erp.keys() == Counter(posted)
    assert not Attempt.objects.filter(purpose="push", outcome="accepted", ended_at=None).exists()
    assert_all_hold()


@pytest.mark.parametrize("point", POINTS)
def test_a_killed_worker_never_books_twice_and_loses_nothing_whatever_the_erp_does(
    point: str, sandbox: str, nursery: Nursery
) -> None:
    going = pairs(sandbox)
    for pair in going:
        pair.strike(point)
    ended = nursery.work_all([("deliver", pair.erp.connection.pk, point) for pair in going])
    assert ended == [signal.SIGKILL] * len(BEHAVIOURS)
    for pair in going:
        pair.erp.slow_down(0.0)
    _settle_all(nursery, going)


@pytest.mark.parametrize("point", ["before-adopt", "after-adopt"])
def test_a_worker_that_dies_while_it_settles_a_doubt_leaves_it_to_the_next(
    point: str, sandbox: str, nursery: Nursery
) -> None:
    going = pairs(sandbox, COMMITTED_UNHEARD)
    for pair in going:
        pair.erp.fault({**BEHAVIOURS[pair.behaviour], "times": 2})
    left = list(going)
    until = time.monotonic() + PATIENCE
    while left:
        assert time.monotonic() < until, f"no look-up came to be settled: {[pair.behaviour for pair in left]}"
        ended = nursery.work_all([("deliver", pair.erp.connection.pk, point) for pair in left])
        left = [pair for pair, signalled in zip(left, ended, strict=True) if signalled != signal.SIGKILL]
        time.sleep(0.05 if left else 0.0)
    _settle_all(nursery, going)


@pytest.mark.case(126, 127)
def test_a_bulk_fix_whose_worker_dies_between_two_chunks_is_finished_by_the_next_and_its_entries_go_once(
    sandbox: str, nursery: Nursery
) -> None:
    going = pairs(sandbox, count=5, rate=Decimal(110))
    ana = world.user(everywhere=True)
    jobs = []
    for pair in going:
        case = ExceptionCase.objects.get(rule="rate-mismatch", entity=pair.source.entity)
        planned = operations.plan("use-contract-rate", user=ana, parameters={}, reason="as agreed", case=case)
        operations.confirm(planned, user=ana)
        jobs.append(("operation", planned.pk))
        pair.strike()
    ended = nursery.work_all([(*job, BETWEEN_CHUNKS) for job in jobs])
    assert ended == [signal.SIGKILL] * len(going)
    assert set(Operation.objects.values_list("state", "done")) == {("running", 2)}
    assert operations.due() == []  # the dead worker's lease still holds
    Operation.objects.update(lease_until="2020-01-01T00:00:00Z")
    nursery.work_all([(*job, "") for job in jobs])
    assert set(Operation.objects.values_list("state", "done", "failed")) == {("done", 5, 0)}
    rows = OperationRow.objects.values_list("entry_id", "successor_id")
    standing = {entry_id: successor or entry_id for entry_id, successor in rows}
    for pair in going:
        pair.ids = [standing[entry_id] for entry_id in pair.ids]
    _settle_all(nursery, going)


@pytest.mark.case(70)
def test_an_entry_that_kills_its_worker_three_times_is_stopped_and_the_others_flow(
    plain: Erp, nursery: Nursery
) -> None:
    source = outbound.firm(plain.connection)
    [bad] = outbound.entries(source, 1)
    for _ in range(3):
        _until_due(bad, nursery, plain)
        assert nursery.work(plain.connection.pk, "after-intent") == signal.SIGKILL
    good = outbound.entries(source, 4, start=10)
    states = _settle(nursery, plain, [bad, *good])
    assert states == {bad: "held"} | dict.fromkeys(good, "posted")
    _judge(plain, [bad, *good], states)


def _until_due(entry: int, nursery: Nursery, erp: Erp) -> None:
    """Let the leases and look-ups of an entry run their course until it may be sent again."""
    until = time.monotonic() + PATIENCE
    while outbound.state_of(entry).state != "ready":
        assert time.monotonic() < until
        outbox.recover(erp.connection.pk)
        outbox.settle_doubts(erp.connection.pk)
        time.sleep(0.05)


@pytest.fixture
def netsuite(sandbox: str) -> Erp:
    control(sandbox, "POST", "netsuite/seed", netsuite_account.SEED)
    account = netsuite_account.account(sandbox)
    connection = world.connection(
        "netsuite", "netsuite", is_target=True, concurrency=2, realm=account.realm, settings={**account.settings, **TIMES},
        credentials={"private_key": {"env": "NETSUITE_KEY"}},
    )  # fmt: skip
    Connection.objects.filter(pk=connection.pk).update(base_url=account.base_url)
    return Erp(connection, sandbox, "netsuite", "/timebill")


@pytest.mark.parametrize("behaviour", ["ok", "time-out after commit"])
@pytest.mark.parametrize("point", POINTS)
def test_netsuite_holds_every_key_once_whenever_the_worker_died(
    point: str, behaviour: str, netsuite: Erp, nursery: Nursery
) -> None:
    netsuite.write = ""
    keys = {"entity": "1", "project": "1514", "resource": "22"}
    ids = outbound.entries(outbound.firm(netsuite.connection, keys=keys), 4)
    if point == "after-send":
        netsuite.slow_down(0.2)
    fault = BEHAVIOURS[behaviour]
    if fault:
        control(netsuite.sandbox, "POST", "faults", [{"vendor": "netsuite", "method": "PUT", **fault}])
    assert nursery.work(netsuite.connection.pk, point) == signal.SIGKILL
    netsuite.slow_down(0.0)
    states = _settle(nursery, netsuite, ids)
    assert set(states.values()) == {"posted"}
    _judge(netsuite, ids, states)
