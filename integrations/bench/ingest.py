"""`ingest`: webhooks through the product's own web server into the inbox, one by one and all at once; and whole pages.

A webhook is checked, committed and answered 202 before it counts. Its floor is the same row, committed by bare psycopg.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from django.db import connection, transaction

from integrations import payloads
from integrations.bench import ledger as entries
from integrations.bench import work
from integrations.bench.measure import Result, Scale, bounded, paired
from integrations.bench.processes import aside, directory, plain_dsn, web_server
from integrations.protocol import SourceRecord
from integrations.sql import inbound
from portal import sql
from portal.models import Connection, LegalEntity

EVENTS = 20_000
BURST, BURST_CONNECTIONS = 5000, 1000
PAGES, PAGE = 100, 500
WORKSPACE = "64a687e29ae1f428e7ebe303"
TOKEN = "the token of a measured webhook"  # noqa: S105 - of the scratch database only
LOAD = "integrations.bench.load"


def measure(scale: Scale, say: Callable[[str], None]) -> list[Result]:
    """Single events and a burst against one server, then pages."""
    entity = LegalEntity.objects.create(code="E0", name="Entity", currency="GBP")
    source = Connection.objects.create(
        code="hooks", name="Hooks", connector="clockify", entity=entity, is_source=True, realm=WORKSPACE,
        base_url="http://127.0.0.1:9",
        credentials={"api_key": {"env": "TIEOUT_BENCH_TOKEN"}, "webhook_token": {"env": "TIEOUT_BENCH_TOKEN"}},
    )  # fmt: skip
    with directory() as var, web_server(var, TIEOUT_BENCH_TOKEN=TOKEN) as port:
        door = _Door(source, port)
        results = [*_single(door, scale, say), *_burst(door, scale, say)]
    return [*results, _batch(source, scale, say)]


class _Door:
    """One webhook address, and numbers for deliveries that were not sent before."""

    def __init__(self, source: Connection, port: int) -> None:
        self.source = source
        self.port = port
        self._used = 0

    def job(self, do: str, count: int, **more: Any) -> dict[str, Any]:
        first, self._used = self._used, self._used + count
        return {
            "do": do, "port": self.port, "path": f"/hooks/{self.source.code}/", "token": TOKEN, "workspace": WORKSPACE,
            "first": first, "count": count, **more,
        }  # fmt: skip

    def send(self, count: int, connections: int, *, at_once: bool = False) -> dict[str, Any]:
        """Send webhooks; every one must be answered 202 and stand in the inbox."""
        before = _messages()
        done = aside(LOAD, self.job("webhooks", count, connections=connections, at_once=at_once))
        if done["statuses"] != {"202": count} or _messages() - before != count:
            raise RuntimeError(f"{count} webhooks were answered {done['statuses']}, {_messages() - before} are filed.")
        return done

    def commit(self, count: int, clients: int) -> float:
        """Commits a second by bare psycopg."""
        job = self.job("commits", count, clients=clients, dsn=plain_dsn(), connection=self.source.pk)
        done = aside(LOAD, job)
        return float(done["rows"] / done["seconds"])


def _messages() -> int:
    return int(sql.rows("SELECT count(*) FROM integrations_inboxmessage")[0][0])


def _single(door: _Door, scale: Scale, say: Callable[[str], None]) -> list[Result]:
    count = scale.of(EVENTS, 40)
    say(f"  {count} webhooks a round over 8 connections, then over 128")
    waits: dict[int, list[float]] = {8: [], 128: []}

    def value(_: int) -> float:
        entries.empty("integrations_inboxmessage")
        done = door.send(count, 8)
        waits[8].append(done["p99"] * 1000)
        return float(count / done["seconds"])

    def floor(_: int) -> float:
        entries.empty("integrations_inboxmessage")
        return door.commit(count, 4)

    values, floors = paired(scale.rounds, value, floor)
    for _ in range(scale.rounds):
        waits[128].append(door.send(count, 128)["p99"] * 1000)
    return [
        Result("ingest.single", "events/s", values, floors, 0.45, note="8 connections; p99 in ms: p99_ms",
               extra={"p99_ms": round(sorted(waits[8])[len(waits[8]) // 2], 2)}),
        bounded("ingest.single.p99", "ms", waits[128], 100.0, note="at 128 connections"),
    ]  # fmt: skip


def _burst(door: _Door, scale: Scale, say: Callable[[str], None]) -> list[Result]:
    count, connections = scale.of(BURST, 40), scale.of(BURST_CONNECTIONS, 10)
    say(f"  {count} webhooks at once from {connections} connections, none refused")
    waits = [door.send(count, connections, at_once=True)["p99"] for _ in range(scale.rounds + 1)]
    return [bounded("ingest.burst", "s (p99)", waits[1:], 0.5, note="none refused", refused=0, events=count)]


def _batch(source: Connection, scale: Scale, say: Callable[[str], None]) -> Result:
    pages = scale.of(PAGES, 2)
    say(f"  {pages} pages of {PAGE} records a round")

    def records(number: int) -> list[list[SourceRecord]]:
        entries = [entry for _, entry in work.worked(200, 500, pages * PAGE, offset=number * pages * PAGE)]
        filed = [
            SourceRecord(
                stream="time_entries", external_id=str(entry["id"]), revision=entry["updated_at"], payload=entry
            )
            for entry in entries
        ]
        return [filed[start : start + PAGE] for start in range(0, len(filed), PAGE)]

    def value(number: int) -> float:
        prepared = records(number)
        entries.empty("integrations_inboxmessage")
        begun = time.perf_counter()
        for page in prepared:
            with transaction.atomic():
                inbound.file_records(source.pk, page)
        seconds = time.perf_counter() - begun
        if _messages() != pages * PAGE:
            raise RuntimeError(f"{_messages()} of {pages * PAGE} records are filed.")
        return pages * PAGE / seconds

    def floor(number: int) -> float:
        prepared = [_as_copied(source, page) for page in records(number)]
        entries.empty("integrations_inboxmessage")
        begun = time.perf_counter()
        for page in prepared:
            with transaction.atomic(), connection.cursor() as cursor, cursor.copy(_COPY) as copy:
                copy.write(page)
        return pages * PAGE / (time.perf_counter() - begun)

    values, floors = paired(scale.rounds, value, floor)
    return Result("ingest.batch", "records/s", values, floors, 0.30, note="against COPY of 500 rows a commit")


_COLUMNS = (
    "connection_id", "kind", "stream", "external_id", "revision", "payload", "headers", "state", "attempts", "failure",
    "received_at",
)  # fmt: skip
_COPY = f"COPY integrations_inboxmessage ({', '.join(_COLUMNS)}) FROM STDIN"


def _as_copied(source: Connection, page: list[SourceRecord]) -> str:
    """A page as COPY reads it, built before the clock starts."""
    rows = []
    for record in page:
        payload = payloads.as_stored(record.payload).replace("\\", "\\\\")
        told = (record.stream, record.external_id, record.revision, payload)
        rows.append("\t".join((str(source.pk), "record", *told, "{}", "new", "0", "", "2026-11-01 08:00:00+00")))
    return "\n".join(rows) + "\n"
