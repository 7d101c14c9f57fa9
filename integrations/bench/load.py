"""Load from outside: prebuilt requests over plain sockets, and the bare commits that webhooks are measured against.

`python -m integrations.bench.load` reads one job as JSON, does it, and writes what it saw as JSON. It builds every request
before the clock starts and only compares bytes while it runs, so that it takes as little CPU from the server as it can.
"""

from __future__ import annotations

import json
import multiprocessing
import selectors
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from typing import Any

import psycopg

_fork = multiprocessing.get_context("fork")
_LIMIT = 120.0  # seconds without an answer after which a job is given up


@dataclass(slots=True)
class _Line:
    """One keep-alive connection with its request under way."""

    sock: socket.socket
    sent_at: float = 0.0
    heard: bytes = b""
    waiting: bytes = b""  # what the socket has not taken yet


def webhook_body(number: int, workspace: str) -> bytes:
    """A changed time entry as Clockify tells it."""
    return json.dumps({
        "id": f"66e{number:021x}", "description": f"Work item {number}", "userId": "5a0ab5acb07987125438b600",
        "billable": True, "projectId": "25b687e29ae1f428e7ebe123", "timeInterval": {
            "start": "2026-10-05T09:00:00Z", "end": "2026-10-05T17:30:00Z", "duration": "PT8H30M",
        },
        "workspaceId": workspace, "isLocked": True, "hourlyRate": {"amount": 12000, "currency": "GBP"},
        "project": {"id": "25b687e29ae1f428e7ebe123", "name": "Rollout", "clientName": "Acme", "color": "#000000"},
        "task": None, "tags": [], "type": "REGULAR", "customFieldValues": [],
    }).encode()  # fmt: skip


def _webhooks(job: dict[str, Any]) -> Iterator[bytes]:
    for number in range(job["first"], job["first"] + job["count"]):
        body = webhook_body(number, job["workspace"])
        head = (
            f"POST {job['path']} HTTP/1.1\r\nHost: 127.0.0.1:{job['port']}\r\nContent-Type: application/json\r\n"
            f"clockify-signature: {job['token']}\r\nclockify-webhook-event-type: TIME_ENTRY_UPDATED\r\n"
            f"User-Agent: Clockify\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        yield head.encode() + body


def _time_bills(job: dict[str, Any]) -> Iterator[bytes]:
    for number in range(job["first"], job["first"] + job["count"]):
        body = b'{"employee": {"id": "1"}, "tranDate": "2026-10-01", "hours": "1:00", "isBillable": true, "memo": ""}'
        head = (
            f"PUT /services/rest/record/v1/timebill/eid:{number:032x} HTTP/1.1\r\nHost: 127.0.0.1:{job['port']}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        yield head.encode() + body


_REQUESTS = {"webhooks": _webhooks, "time bills": _time_bills}


def send(job: dict[str, Any]) -> dict[str, Any]:
    """Send `count` requests over `connections` connections, each the next one as soon as the last was answered.

    With `at_once` the connections are opened inside the measured time, and a first answer includes its connecting.
    """
    pending = iter(list(_REQUESTS[job["do"]](job)))
    count, address = job["count"], ("127.0.0.1", job["port"])
    selector = selectors.DefaultSelector()
    wanted = min(job["connections"], count)
    lines = [] if job.get("at_once") else [_Line(socket.create_connection(address)) for _ in range(wanted)]
    statuses: Counter[str] = Counter()
    latencies: list[float] = []
    begun = time.perf_counter()
    for _ in range(wanted - len(lines)):
        line = _Line(socket.socket())
        line.sock.setblocking(False)
        line.sock.connect_ex(address)
        lines.append(line)
    for line in lines:
        line.sock.setblocking(False)
        line.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        line.sent_at = begun if job.get("at_once") else time.perf_counter()
        line.waiting = next(pending)
        selector.register(line.sock, selectors.EVENT_WRITE, line)
    open_lines = len(lines)
    last_heard = time.perf_counter()
    while open_lines:
        events = selector.select(timeout=5.0)
        if not events and time.perf_counter() - last_heard > _LIMIT:
            break
        for key, mask in events:
            line = key.data
            try:
                done = _speak(line, selector) if mask & selectors.EVENT_WRITE else _hear(line, statuses, latencies)
            except OSError as error:
                statuses[type(error).__name__] += 1
                selector.unregister(line.sock)
                line.sock.close()
                open_lines -= 1
                continue
            if not done:
                continue
            last_heard = time.perf_counter()
            if not _next(line, pending, selector):
                open_lines -= 1
    seconds = time.perf_counter() - begun
    return {"seconds": seconds, "statuses": dict(statuses), **_percentiles(latencies)}


def _speak(line: _Line, selector: selectors.BaseSelector) -> bool:
    """Hand the request to the socket; never the end of an exchange."""
    taken = line.sock.send(line.waiting)
    line.waiting = line.waiting[taken:]
    if not line.waiting:
        selector.modify(line.sock, selectors.EVENT_READ, line)
    return False


def _hear(line: _Line, statuses: Counter[str], latencies: list[float]) -> bool:
    """Read what came; whether the answer is whole."""
    got = line.sock.recv(65536)
    if not got:
        raise ConnectionResetError("closed")
    line.heard += got
    head, found, body = line.heard.partition(b"\r\n\r\n")
    if not found:
        return False
    length = next((int(text[15:]) for text in head.lower().split(b"\r\n") if text.startswith(b"content-length:")), 0)
    if len(body) < length:
        return False
    statuses[head[9:12].decode()] += 1
    latencies.append(time.perf_counter() - line.sent_at)
    line.heard = b""
    return True


def _next(line: _Line, pending: Iterator[bytes], selector: selectors.BaseSelector) -> bool:
    """Send the next request on a connection, or close it when there is none."""
    request = next(pending, None)
    if request is None:
        selector.unregister(line.sock)
        line.sock.close()
        return False
    line.sent_at = time.perf_counter()
    taken = line.sock.send(request)
    if taken < len(request):
        line.waiting = request[taken:]
        selector.modify(line.sock, selectors.EVENT_WRITE, line)
    return True


def _percentiles(latencies: Sequence[float]) -> dict[str, float]:
    ranked = sorted(latencies) or [float("inf")]
    return {f"p{share}": ranked[min(len(ranked) - 1, len(ranked) * share // 100)] for share in (50, 95, 99)}


_ROW = """
INSERT INTO integrations_inboxmessage (connection_id, kind, stream, external_id, revision, payload, headers, state,
       attempts, failure, received_at)
VALUES (%s, 'hint', 'time_entries', %s, %s, %s::jsonb, '{}', 'new', 0, '', now())"""


def bare_commits(job: dict[str, Any]) -> dict[str, Any]:
    """The floor of a webhook: the same rows, one commit each, by bare psycopg from some clients at once."""
    each = job["count"] // job["clients"]
    prepared = [
        [
            (job["connection"], f"66e{n:021x}", f"bare-{n}", webhook_body(n, job["workspace"]).decode())
            for n in range(job["first"] + client * each, job["first"] + (client + 1) * each)
        ]
        for client in range(job["clients"])
    ]
    ready = _fork.Barrier(job["clients"] + 1)
    clients = [_fork.Process(target=_commit, args=(job["dsn"], rows, ready)) for rows in prepared]
    for client in clients:
        client.start()
    ready.wait()
    begun = time.perf_counter()
    for client in clients:
        client.join()
    seconds = time.perf_counter() - begun
    if any(client.exitcode for client in clients):
        raise RuntimeError("A client of the bare commits failed.")
    return {"seconds": seconds, "rows": each * job["clients"]}


def _commit(dsn: str, rows: Sequence[tuple[Any, ...]], ready: Barrier) -> None:
    """One client, from the moment that all are connected."""
    with psycopg.connect(dsn, autocommit=True, prepare_threshold=1) as connection:
        cursor = connection.cursor()
        ready.wait()
        for row in rows:
            cursor.execute(_ROW, row)


def main() -> int:
    """Do the job on standard input."""
    job = json.load(sys.stdin)
    done = bare_commits(job) if job["do"] == "commits" else send(job)
    json.dump(done, sys.stdout)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
