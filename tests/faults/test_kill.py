"""A worker dies by `kill -9` at each point of a delivery while the ERP does each thing that an ERP does.

The judge is the ERP: it shows every key once for what was posted and never twice, whatever happened. Nothing is left on its
way, and every promise holds.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from integrations import outbox, registry
from integrations.sandbox import VENDORS
from integrations.sandbox.server import control, sandbox_server
from portal.models import Attempt, Connection, LedgerState
from tests import world
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
NOTHING_WAS_UNDER_WAY = ("before-intent", "after-commit")  # the next worker meets the ERP's behaviour in a fresh call
TELLING = ("ok", "time-out after commit", "reset mid-body", "garbage")
MATRIX = [(p, b) for p in POINTS for b in (TELLING if p in NOTHING_WAS_UNDER_WAY else BEHAVIOURS)]
PATIENCE = 20.0


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

    def keys(self) -> Counter[str]:
        told = control(self.sandbox, "GET", f"{self.vendor}/inspect")
        if self.vendor == "plain":
            return Counter(told["keys"])
        return Counter(told["records_by_external_id"]["timebill"])


@pytest.fixture(scope="session")
def nursery(django_db_setup: None) -> Iterator[Nursery]:
    made = Nursery()
    yield made
    made.close()


@pytest.fixture(scope="module")
def erps() -> Iterator[str]:
    """The address of a sandbox with the plain ERP and NetSuite, which no other module's tests see."""
    VENDORS["plain"] = "tests.faults.plain:PlainErp"
    registry.CONNECTORS["plain"] = "tests.faults.plain.PlainTarget"
    os.environ["NETSUITE_KEY"] = netsuite_account.keys()["PS256"][0]
    with sandbox_server(names=["plain", "netsuite"]) as base_url:
        yield base_url
    del VENDORS["plain"], registry.CONNECTORS["plain"], os.environ["NETSUITE_KEY"]


@pytest.fixture
def sandbox(erps: str, settings: Any) -> str:
    """The same, with nothing booked and nothing going wrong."""
    settings.TIME_SCALE = SCALE
    control(erps, "POST", "reset", {})
    return erps


@pytest.fixture
def plain(sandbox: str) -> Erp:
    connection = world.connection("plain", "plain", is_target=True, concurrency=2, settings=TIMES)
    Connection.objects.filter(pk=connection.pk).update(base_url=f"{sandbox}/plain")
    return Erp(connection, sandbox, "plain", "/records")


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


@pytest.mark.parametrize(("point", "behaviour"), MATRIX)
def test_a_killed_worker_never_books_twice_and_loses_nothing(
    point: str, behaviour: str, plain: Erp, nursery: Nursery
) -> None:
    source = outbound.firm(plain.connection)
    ids = outbound.entries(source, 4)
    if point == "after-send":
        plain.slow_down(0.2)
    plain.fault(BEHAVIOURS[behaviour])
    assert nursery.work(plain.connection.pk, point) == signal.SIGKILL
    plain.slow_down(0.0)
    states = _settle(nursery, plain, ids)
    refused = {"rejected"} if behaviour == "400" else set()
    assert set(states.values()) - refused == {"posted"}
    _judge(plain, ids, states)


@pytest.mark.parametrize("point", ["before-adopt", "after-adopt"])
def test_a_worker_that_dies_while_it_settles_a_doubt_leaves_it_to_the_next(
    point: str, plain: Erp, nursery: Nursery
) -> None:
    ids = outbound.entries(outbound.firm(plain.connection), 4)
    plain.fault({**BEHAVIOURS["time-out after commit"], "times": 2})
    until = time.monotonic() + PATIENCE
    while nursery.work(plain.connection.pk, point) != signal.SIGKILL:
        assert time.monotonic() < until, "no look-up came to be settled"
        time.sleep(0.05)
    states = _settle(nursery, plain, ids)
    assert set(states.values()) == {"posted"}
    _judge(plain, ids, states)


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
