"""`latency`: from an approval at the source to POSTED, by webhook, on an idle system of real processes.

The web server, a Celery worker on the embedded broker and the vendors' sandbox run beside us as they do for `manage.py
serve`. Measured is what we add: the whole wait less one answer time of the target.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from integrations.bench import firm as firms
from integrations.bench.firm import Firm
from integrations.bench.measure import Result, Scale, bounded
from integrations.bench.processes import directory, environment, free_port, listens, running, web_server
from integrations.bench.work import FIRST
from integrations.models import Stream
from integrations.sandbox.server import control
from portal import celery, history, sql
from portal.models import Connection, Crosswalk

APPROVALS = 20
TARGET_SECONDS = 0.1
BOUND = 4.0  # seconds, with the embedded broker
WAIT_SECONDS = 60.0
WORKSPACE = "64a687e29ae1f428e7ebe303"
API_KEY = "clockify-sandbox-key"
SECRETS = {"TIEOUT_BENCH_API": API_KEY, "TIEOUT_BENCH_HOOK": "hook-token", "TIEOUT_BENCH_TBA": "secret"}
TOKENS = {"consumer_key": "bench", "consumer_secret": "secret", "token_id": "bench", "token_secret": "secret"}
REALM = "1234567_SB1"


def measure(scale: Scale, say: Callable[[str], None]) -> list[Result]:
    """One approval after the other, each awaited until it is posted; the first warms everything up."""
    firm = firms.build(4, 4, 40, connector="clockify")
    count = scale.of(APPROVALS, 1) + 1
    with directory() as var, _system(firm, var) as sandbox:
        _tell_vendors(firm, sandbox, count)
        say(f"  {count - 1} approvals, one after the other")
        waits = []
        for number in range(count):
            waits.append(_approve(sandbox, number) - TARGET_SECONDS)
            time.sleep(0.5)
    waits = sorted(waits[1:])
    p95 = waits[min(len(waits) - 1, len(waits) * 95 // 100)]
    return [
        bounded("latency", "s (p95)", [p95], BOUND, note="more than the target's answer; embedded broker",
                p50=round(waits[len(waits) // 2], 3), worst=round(waits[-1], 3), approvals=len(waits))
    ]  # fmt: skip


@contextmanager
def _system(firm: Firm, var: Path) -> Iterator[str]:
    """Sandbox, web server and worker on the scratch database; yields the sandbox's address."""
    port = free_port()
    sandbox = f"http://127.0.0.1:{port}"
    _connect(firm, sandbox)
    worker = (
        "-A", "portal.celery", "worker", "--queues", ",".join(celery.QUEUES), "--concurrency", "3", "--loglevel", "WARNING",
        "--without-gossip", "--without-mingle", "--without-heartbeat",
    )  # fmt: skip
    env = environment(var, "worker", **SECRETS)
    with (
        running(
            "integrations.sandbox", "--port", str(port), log=var / "sandbox.log", env=environment(var, "command"),
            ready=lambda: listens(port),
        ),
        web_server(var, **SECRETS) as site,
        running("celery", *worker, log=var / "worker.log", env=env, ready=_heard_from_sweeper),
    ):  # fmt: skip
        hook = f"http://127.0.0.1:{site}/hooks/{firm.sources[0].code}/"
        control(
            sandbox, "POST", "clockify/seed", {"webhooks": [{"url": hook, "authToken": SECRETS["TIEOUT_BENCH_HOOK"]}]}
        )
        yield sandbox


def _heard_from_sweeper() -> bool:
    """The worker's own sweeper is its last part to start."""
    return bool(sql.rows("SELECT EXISTS (SELECT 1 FROM portal_heartbeat WHERE name = 'sweeper')")[0][0])


def _connect(firm: Firm, sandbox: str) -> None:
    """Point the firm's first source and its target at the sandbox; the other sources stay silent."""
    source, target = firm.sources[0], firm.target
    vendor = {
        "base_url": f"{sandbox}/clockify/api/v1", "settings": {"workspace_id": WORKSPACE, "currency": "USD"},
        "credentials": {"api_key": {"env": "TIEOUT_BENCH_API"}, "webhook_token": {"env": "TIEOUT_BENCH_HOOK"}},
    }  # fmt: skip
    erp = {
        "base_url": f"{sandbox}/netsuite", "realm": REALM,
        "settings": {
            "auth": "tba", "consumer_key": "bench", "token_id": "bench", "service_item": "90", "expenses": False,
        },
        "credentials": {"consumer_secret": {"env": "TIEOUT_BENCH_TBA"}, "token_secret": {"env": "TIEOUT_BENCH_TBA"}},
    }  # fmt: skip
    history.update_each_with_reason(Connection, [(source, vendor), (target, erp)], reason="measured")
    keys = Crosswalk.objects.filter(system="netsuite")
    history.update_each_with_reason(Crosswalk, [(key, {"realm": REALM}) for key in keys], reason="measured")
    Stream.objects.create(connection=source, name="time_entries", every_seconds=0)


def _tell_vendors(firm: Firm, sandbox: str, count: int) -> None:
    """The two vendors' own records, and pending approvals with one entry each."""
    references: dict[str, list[dict[str, Any]]] = {
        "currency": [{"id": "1", "symbol": "USD", "name": "US Dollar"}],
        "subsidiary": [{"id": "1", "name": "E0", "currency": {"id": "1"}}],
        "serviceItem": [{"id": "90", "itemId": "Consulting"}],
        "customer": [{"id": "7", "entityId": "C0", "companyName": "Customer", "subsidiary": {"id": "1"}}],
        "job": [{"id": "500000", "entityId": "P0", "companyName": "Project", "allowTime": True, "parent": {"id": "7"},
                 "subsidiary": {"id": "1"}}],
        "employee": [{"id": "800000", "entityId": "W0", "firstName": "Ann", "lastName": "Lee", "subsidiary": {"id": "1"},
                      "isJobResource": True}],
    }  # fmt: skip
    control(
        sandbox, "POST", "netsuite/seed", {"records": references, "token_credentials": [{**TOKENS, "realm": REALM}]}
    )
    control(sandbox, "POST", "netsuite/configure", {"latency": TARGET_SECONDS})
    control(sandbox, "POST", "clockify/seed", {
        "users": [{"id": "90000", "name": "Person 0"}],
        "projects": [{"id": "10000", "name": "Project 0"}],
        "approvals": [_approval(number) for number in range(count)],
    })  # fmt: skip
    time.sleep(3.0)  # the new approvals' own webhooks are answered before anything is measured


def _approval(number: int) -> dict[str, Any]:
    """One pending day with two hours."""
    begins = datetime(FIRST.year, FIRST.month, 1 + number % 28, 9 + 2 * (number // 28 % 4), tzinfo=UTC)
    stamps = [moment.strftime("%Y-%m-%dT%H:%M:%SZ") for moment in (begins, begins + timedelta(hours=2))]
    return {
        "id": f"{number:024x}", "userId": "90000", "state": "PENDING", "dateRange": {"start": stamps[0], "end": stamps[1]},
        "updatedAt": "2026-10-01T00:00:00Z",
        "entries": [{
            "id": f"e{number:023x}", "description": f"Work item {number}", "projectId": "10000", "billable": True,
            "timeInterval": {"start": stamps[0], "end": stamps[1], "duration": "PT2H"},
        }],
    }  # fmt: skip


def _approve(sandbox: str, number: int) -> float:
    """Approve one day; the seconds until its entry is posted, by the clock that both processes share."""
    begun = time.time()
    control(sandbox, "POST", "clockify/seed", {"actions": [{"do": "approve", "ids": [f"{number:024x}"]}]})
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        found = sql.rows(
            "SELECT extract(epoch FROM s.proved_at)::float8, s.state FROM portal_ledgerstate s"
            " JOIN portal_ledgerentry e ON e.id = s.entry_id JOIN portal_document d ON d.id = e.document_id"
            " WHERE d.external_id = %s",
            [f"e{number:023x}"],
        )
        if found and found[0][0] is not None:
            return float(found[0][0] - begun)
        time.sleep(0.05)
    raise RuntimeError(f"Approval {number} was not posted within {WAIT_SECONDS:.0f} s; its entry: {found}.")
