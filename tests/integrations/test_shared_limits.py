"""Several workers share one vendor's limit: they keep within it together; what is refused for it waits, and nothing is lost or
done twice.

The judge is the vendor: how often each key was booked, how many calls it refused, and what a reader sees whom nobody limits.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.db import connections

from integrations import outbox, registry, streams
from integrations.models import InboxMessage, Stream
from integrations.protocol import Account
from integrations.sandbox import harvest, salesforce
from integrations.sandbox.businesscentral.vendor import CLIENT_SECRET as BC_SECRET
from integrations.sandbox.dynamicsfinance.vendor import CLIENT_SECRET as FINANCE_SECRET
from integrations.sandbox.server import control
from integrations.sandbox.stripe.vendor import API_KEY
from portal import sql
from portal.models import Connection, State
from tests import world
from tests.faults.workers import Nursery
from tests.integrations import (
    bc_account,
    netsuite_account,
    operations_account,
    outbound,
    stripe_account,
    tempo_account,
    test_contract_recipients,
    test_harvest,
    test_salesforce,
)
from tests.integrations.contract import Bench
from tests.invariants import assert_all_hold

pytestmark = pytest.mark.django_db(transaction=True)

WORKERS = 3
QUICK = {
    "read_timeout": "1",
    "total_timeout": "2",
}  # seconds; what was refused is asked again no sooner than a call may take
ROUNDS = 150  # of all workers, after which what is not done is stuck


@dataclass(frozen=True)
class Limited:
    """A target whose vendor takes less at once than our workers would send."""

    vendor: str  # also the fixture of its bench
    keys: Mapping[str, str]
    limit: Mapping[str, Any]
    lifted: Mapping[str, Any]
    booked: Callable[[Mapping[str, Any]], Mapping[str, int]]  # by our key, in what the sandbox shows
    secret: tuple[str, str]
    ends: State
    settings: Mapping[str, Any] = field(default_factory=dict)


TARGETS = (
    Limited(
        "businesscentral", {"project": "J10", "resource": "AH"}, {"rate": [12, 2]}, {"rate": [6000, 300]},
        lambda seen: seen["entries_by_key"], ("client_secret", BC_SECRET), State.POSTED,
        {"batch_size": 4},
    ),
    Limited(
        "dynamicsfinance", {"project": "000057", "resource": "000018"}, {"rate": [6, 2]}, {"rate": [6000, 300]},
        lambda seen: seen["by_key"], ("client_secret", FINANCE_SECRET), State.ACCEPTED,
        {"batch_size": 4},
    ),
    Limited(
        "netsuite", {"entity": "1", "project": "1514", "resource": "22"}, {"concurrency": 1, "latency": 0.05},
        {"concurrency": 100, "latency": 0}, lambda seen: seen["records_by_external_id"]["timebill"],
        ("private_key", netsuite_account.keys()["PS256"][0]), State.POSTED,
    ),
)  # fmt: skip


@pytest.fixture(autouse=True)
def _at_once(settings: Any) -> None:
    """Our own waits take little time; what a vendor tells us to wait is waited."""
    settings.ALLOW_LOOPBACK = True
    settings.TIME_SCALE = 0.05


def together(work: Callable[[], Any]) -> None:
    """Let all workers do the same at once. An error in any of them fails the test."""
    errors: list[BaseException] = []

    def body() -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=body) for _ in range(WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    if errors:
        raise errors[0]


def refused(sandbox: str, vendor: str) -> int:
    """How many calls the vendor refused for its limit."""
    return sum(call["status"] == 429 for call in control(sandbox, "GET", f"{vendor}/calls"))


@pytest.mark.case(56, 66)
@pytest.mark.parametrize("limited", TARGETS, ids=[one.vendor for one in TARGETS])
def test_workers_at_a_target_with_a_limit_book_everything_once(
    limited: Limited, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench: Bench = request.getfixturevalue(limited.vendor)
    name, secret = limited.secret
    monkeypatch.setenv("LIMITED_SECRET", secret)
    target = world.connection(
        "erp", limited.vendor, is_target=True, concurrency=WORKERS, realm=bench.account.realm,
        settings={**bench.account.settings, **limited.settings, **QUICK}, credentials={name: {"env": "LIMITED_SECRET"}},
    )  # fmt: skip
    Connection.objects.filter(pk=target.pk).update(base_url=bench.account.base_url)
    ids = outbound.entries(outbound.firm(target, keys=dict(limited.keys)), 12)
    bench.control(f"{limited.vendor}/configure", limited.limit)
    for _ in range(ROUNDS):
        together(lambda: outbox.deliver(target.pk))
        if set(outbound.states(ids).values()) == {limited.ends}:
            break
        time.sleep(0.1)
    bench.control(f"{limited.vendor}/configure", limited.lifted)

    assert set(outbound.states(ids).values()) == {limited.ends}
    keys = {row[0].hex for row in sql.rows("SELECT idempotency_key FROM portal_ledgerentry WHERE id = ANY(%s)", [ids])}
    found = limited.booked(bench.control(f"{limited.vendor}/inspect"))
    assert {key: found.get(key) for key in keys} == dict.fromkeys(keys, 1)
    assert refused(bench.sandbox, limited.vendor) > 0, "the limit was met"
    assert_all_hold()


@dataclass(frozen=True)
class Read:
    """A source whose vendor takes fewer calls than our readers would make."""

    vendor: str
    path: str
    streams: tuple[str, ...]
    limit: Mapping[str, Any]
    lifted: Mapping[str, Any]
    secret: tuple[str, str]
    seed: Callable[[str], None]  # what it holds, given the sandbox's address
    realm: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)


def _crm(base: str) -> None:
    rows = [test_salesforce.account_row(n) for n in range(1, 30)]
    control(base, "POST", "salesforce/seed", {**test_salesforce.SEED, "Account": rows})
    control(base, "POST", "salesforce/configure", {"page": 5})


def _bills(base: str) -> None:
    stripe_account.bench(base)


def _hours(base: str) -> None:
    hours = [test_harvest.entry(n) for n in range(1, 20)]
    spent = [test_harvest.expense(n) for n in range(1, 10)]
    control(base, "POST", "harvest/seed", {**test_harvest.MASTER, "time_entries": hours, "expenses": spent})


SOURCES = (
    Read(
        "salesforce", "salesforce", ("customers", "projects", "employees"), {"concurrent": 2, "latency": 0.05},
        {"concurrent": 100, "latency": 0}, ("client_secret", salesforce.CLIENT_SECRET), _crm,
        settings={"client_id": salesforce.CLIENT_ID},
    ),
    Read(
        "stripe", "stripe", ("invoices", "credit_notes", "payments"), {"rate": [12, 2]}, {"rate": [100_000, 1]},
        ("api_key", API_KEY), _bills,
    ),
    Read(
        "harvest", "harvest/v2", ("time_entries", "expenses"), {"rate": [5, 3]}, {"rate": [100_000, 1]},
        ("token", harvest.TOKEN), _hours, realm=harvest.ACCOUNT_ID, settings={"page_size": 5, "window_days": 0},
    ),
)  # fmt: skip


@pytest.mark.case(56, 66)
@pytest.mark.parametrize("read", SOURCES, ids=[one.vendor for one in SOURCES])
def test_readers_of_a_source_with_a_limit_file_everything_once(
    read: Read, sandbox: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    control(sandbox, "POST", f"{read.vendor}/reset", {})
    read.seed(sandbox)
    name, secret = read.secret
    monkeypatch.setenv("LIMITED_SECRET", secret)
    source = world.connection(
        "limited", read.vendor, world.entity("US"), is_source=True, realm=read.realm, zone="America/New_York",
        settings=dict(read.settings), credentials={name: {"env": "LIMITED_SECRET"}},
    )  # fmt: skip
    Connection.objects.filter(pk=source.pk).update(base_url=f"{sandbox}/{read.path}")
    source.refresh_from_db()
    for one in read.streams:
        Stream.objects.create(connection=source, name=one, every_seconds=86_400)
    waiting = Stream.objects.filter(connection=source, succeeded_at=None)
    control(sandbox, "POST", f"{read.vendor}/configure", read.limit)
    already = refused(sandbox, read.vendor)
    for _ in range(ROUNDS):
        together(lambda: [streams.pull(pk) for pk in waiting.values_list("pk", flat=True)])
        if not waiting.exists():
            break
        time.sleep(0.1)
    met = refused(sandbox, read.vendor) - already
    control(sandbox, "POST", f"{read.vendor}/configure", read.lifted)

    assert not waiting.exists(), list(source.runs.values_list("stream", "state", "failure"))
    assert met > 0, "the limit was met"
    there = registry.source(source)
    for one in read.streams:
        filed = list(InboxMessage.objects.filter(connection=source, stream=one).values_list("external_id", "revision"))
        held = {(each.external_id, each.revision) for page in there.pull(one, None) for each in page.records}
        assert held
        assert sorted(filed) == sorted(held)


RATE = (6, 1.5)  # calls in seconds, instead of each vendor's own
PROCESSES = 3
_ACCOUNTS: Mapping[str, Callable[[str], Account]] = {
    "businesscentral": bc_account.account,
    "clockify": test_contract_recipients.clockify_account,
    "harvest": test_contract_recipients.harvest_account,
    "projectoperations": operations_account.account,
    "stripe": stripe_account.account,
    "tempo": lambda base: tempo_account.Site(base).account,
}


_SEEDS = {"businesscentral": bc_account.SEED, "projectoperations": operations_account.SEED}


@pytest.mark.case(56, 66)
def test_the_processes_of_the_installation_keep_within_a_vendors_rate_together(
    sandbox: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of every vendor with a rate: each process alone would use it up, so that three of them would be refused."""
    assert set(_ACCOUNTS) == {name for name in registry.CONNECTORS if hasattr(registry.connector_type(name), "rate")}
    jobs = []
    for number, (vendor, account_of) in enumerate(sorted(_ACCOUNTS.items())):
        control(sandbox, "POST", f"{vendor}/reset", {})
        control(sandbox, "POST", f"{vendor}/seed", _SEEDS.get(vendor, {}))
        account = account_of(sandbox)
        for name, secret in account.secrets.items():
            monkeypatch.setenv(f"PACED_{number}_{name}", secret)
        paced = world.connection(
            f"paced-{number}", vendor, is_source=True, realm=account.realm, settings=dict(account.settings),
            credentials={name: {"env": f"PACED_{number}_{name}"} for name in account.secrets},
        )  # fmt: skip
        Connection.objects.filter(pk=paced.pk).update(base_url=account.base_url)
        control(sandbox, "POST", f"{vendor}/configure", {"rate": [RATE[0], RATE[1] / 2]})
        jobs += [("pace", paced.pk, f"{RATE[0]}/{RATE[1]}")] * PROCESSES
    nursery = Nursery()
    try:
        nursery.work_all(jobs)
    finally:
        nursery.close()
    for vendor in _ACCOUNTS:
        assert refused(sandbox, vendor) == 0, vendor
        made = sum("oauth2" not in call["path"] for call in control(sandbox, "GET", f"{vendor}/calls"))
        assert made >= PROCESSES * 2, "all of them called, each twice at least"
        control(sandbox, "POST", f"{vendor}/configure", {"rate": [100_000, 1]})
