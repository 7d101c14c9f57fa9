"""Two stand-ins that cost as little as they can: a Harvest whose pages are built beforehand, and a NetSuite that is only slow.

`python -m integrations.bench.standins harvest|netsuite --port N --told JSON`. They speak as much of the vendor's HTTP as the
connector needs for the measured way; the sandbox is the one that knows the vendor.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import re
from collections.abc import Callable, Coroutine
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qs, urlsplit

from integrations.bench import work

Answer = tuple[int, dict[str, str], bytes]
Handler = Callable[[str, str, bytes], Coroutine[Any, Any, Answer]]
_LENGTH = re.compile(rb"content-length:\s*(\d+)", re.IGNORECASE)
_KEY = re.compile(r"/record/v1/timebill/eid:([0-9a-f]{32})")


class Harvest:
    """Time entries of four accounts, `per_page` a page. The first part of the path is the round and has no meaning."""

    def __init__(self, told: dict[str, Any]) -> None:
        accounts: list[list[dict[str, Any]]] = [[] for _ in range(4)]
        for account, entry in work.worked(told["people"], told["projects"], told["count"]):
            accounts[account].append(entry)
        size = told["per_page"]
        self.pages = [
            [json.dumps(entries[start : start + size]).encode() for start in range(0, max(len(entries), 1), size)]
            for entries in accounts
        ]
        self.totals = [len(entries) for entries in accounts]

    async def answer(self, method: str, target: str, body: bytes) -> Answer:
        """A page of `/{round}/{account}/v2/time_entries`, with the link to the next one."""
        del method, body
        parts = urlsplit(target)
        turn, account, *_ = parts.path.strip("/").split("/")
        number = int(parse_qs(parts.query).get("page", ["1"])[0])
        pages = self.pages[int(account)]
        place = f"/{turn}/{account}/v2/time_entries?page="
        following = f'"{place}{number + 1}"' if number < len(pages) else "null"
        head = f'{{"total_entries": {self.totals[int(account)]}, "links": {{"next": {following}}}, "time_entries": '
        return 200, {}, head.encode() + pages[number - 1] + b"}"


class NetSuite:
    """Takes time bills under their external ids and shows them again by SuiteQL, each call after the same time."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.seconds = float(told["seconds"])
        self.records: dict[str, tuple[int, dict[str, Any]]] = {}

    async def answer(self, method: str, target: str, body: bytes) -> Answer:
        """A token, an upsert or a query."""
        if target.endswith("/token"):
            return 200, {}, b'{"access_token": "a token of the measurement", "expires_in": 3600}'
        await asyncio.sleep(self.seconds)
        if method == "PUT" and (found := _KEY.search(target)):
            known = self.records.get(found.group(1))
            number = known[0] if known else len(self.records) + 1
            self.records[found.group(1)] = (number, json.loads(body))
            return 204, {"Location": f"/services/rest/record/v1/timebill/{number}"}, b""
        keys = json.loads(body)["params"] if method == "POST" else []
        last = keys.pop() if keys else 0
        rows = [self._row(key) for key in keys if key in self.records and self.records[key][0] > last]
        rows.sort(key=lambda row: int(row["id"]))
        return 200, {}, json.dumps({"items": rows, "hasMore": False, "totalResults": len(rows)}).encode()

    def _row(self, key: str) -> dict[str, str]:
        number, record = self.records[key]
        return {
            "id": str(number), "externalid": key, "trandate": record["tranDate"], "employee": record["employee"]["id"],
            "customer": record["customer"]["id"], "subsidiary": record["subsidiary"]["id"], "hours": record["hours"],
            "rate": str(record["rate"]), "isbillable": "T" if record["isBillable"] else "F", "memo": record["memo"],
        }  # fmt: skip


class _Exchange(asyncio.Protocol):
    """One keep-alive connection: requests are answered one after the other."""

    def __init__(self, handler: Handler, tasks: set[asyncio.Task[None]]) -> None:
        self._handler = handler
        self._tasks = tasks
        self._heard = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self._heard += data
        head, found, rest = self._heard.partition(b"\r\n\r\n")
        if not found:
            return
        length = _LENGTH.search(head)
        size = int(length.group(1)) if length else 0
        if len(rest) < size:
            return
        self._heard = rest[size:]
        method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
        task = asyncio.get_running_loop().create_task(self._respond(method, target, rest[:size]))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _respond(self, method: str, target: str, body: bytes) -> None:
        status, headers, content = await self._handler(method, target, body)
        lines = [f"HTTP/1.1 {status} OK", f"Date: {formatdate(usegmt=True)}", "Content-Type: application/json"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if status != 204:
            lines.append(f"Content-Length: {len(content)}")
        self._transport.write("\r\n".join([*lines, "", ""]).encode() + content)


async def _serve(handler: Handler, port: int) -> None:
    tasks: set[asyncio.Task[None]] = set()
    server = await asyncio.get_running_loop().create_server(
        lambda: _Exchange(handler, tasks), "127.0.0.1", port, backlog=256
    )
    async with server:
        await server.serve_forever()


def main() -> None:
    """Serve until ended."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=("harvest", "netsuite"))
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--told", type=json.loads, required=True)
    options = parser.parse_args()
    kinds: dict[str, Callable[[dict[str, Any]], Harvest | NetSuite]] = {"harvest": Harvest, "netsuite": NetSuite}
    handler = kinds[options.kind](options.told).answer
    gc.freeze()  # the pages are kept to the end
    asyncio.run(_serve(handler, options.port))


if __name__ == "__main__":
    main()
