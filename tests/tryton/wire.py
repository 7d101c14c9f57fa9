"""What stands between Tieout and the real Tryton: it passes every call on, and does a fault where a test asks for one.

It is a vendor of the sandbox's server, so faults, counts and clock are asked for as with every stand-in. An answer is lost after
Tryton has committed, or a call before it was made.
"""

from __future__ import annotations

import gzip
import json
import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from copy import deepcopy
from http.client import HTTPConnection
from typing import Any
from unittest.mock import patch

from integrations.sandbox import VENDORS
from integrations.sandbox.server import control, sandbox_server
from integrations.sandbox.store import Store
from integrations.sandbox.vendor import Request, Response, Route, Vendor
from tests.tryton.server import Tryton

_READS = re.compile(rb'"method": ?"model[.][a-z_.]+[.](search_read|search_count|read)"')
_PASSED = ("Authorization", "Content-Type", "Accept-Encoding")


class Wire(Vendor):
    """A way to one running Tryton, which is named by `configure`."""

    name = "tryton"
    port = 0
    database = ""
    answers: dict[str, Any] = {}  # what another version answers to a method, in place of the server
    remembers = False  # what was read once is answered again as it was, while nobody changes anything there

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._known: dict[bytes, Response] = {}

    def routes(self) -> list[Route]:
        return []

    def configure(self, settings: Mapping[str, Any]) -> None:
        rest = dict(settings)
        for name in ("port", "database", "answers", "remembers"):
            if name in rest:
                setattr(self, name, rest.pop(name))
        if "remembers" in settings:
            self._known.clear()
        super().configure(rest)

    def error(self, status: int, request: Request) -> Response:
        """Tryton's own: a page, and nothing for a session that is over."""
        if status == 401:
            return Response(401, "", {"Content-Type": "text/plain"})
        page = f"<!doctype html>\n<html lang=en>\n<title>{status} Error</title>\n<h1>Error</h1>\n"
        return Response(status, page, {"Content-Type": "text/html; charset=utf-8"})

    def handle(self, request: Request) -> Response:
        """Pass a call on and its answer back, however many at once; a reading that is remembered is answered here."""
        if self.remembers and request.body in self._known:
            return deepcopy(self._known[request.body])
        answer = self._passed_on(request)
        if self.remembers and answer.status == 200 and _READS.search(request.body):
            self._known[request.body] = deepcopy(answer)
        return answer

    def _passed_on(self, request: Request) -> Response:
        told = self.answers.get(request.json().get("method", "")) if self.answers else None
        if told is not None:
            return Response(200, {"id": 1, **told})
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        with closing(connection):
            headers = {name: value for name in _PASSED if (value := request.headers.get(name)) is not None}
            connection.request(request.method, request.path, request.body, headers)
            answer = connection.getresponse()
            content, kind = answer.read(), answer.headers.get("Content-Type", "text/plain")
            if answer.headers.get("Content-Encoding") == "gzip":
                content = gzip.decompress(content)
        body: Any = json.loads(content) if kind.startswith("application/json") else content
        return Response(answer.status, body, {"Content-Type": kind})

    def inspect(self) -> Mapping[str, Any]:
        """How many lines stand under each key."""
        with closing(sqlite3.connect(self.database, timeout=20)) as books:
            rows = books.execute("SELECT uuid, count(*) FROM timesheet_line WHERE uuid IS NOT NULL GROUP BY uuid")
            return {"lines_by_key": dict(rows.fetchall())}


@contextmanager
def wired(server: Tryton) -> Iterator[str]:
    """The address of a control plane with one vendor: the wire to a running Tryton."""
    with patch.dict(VENDORS, {"tryton": f"{__name__}:Wire"}), sandbox_server(names=["tryton"]) as base:
        control(base, "POST", "tryton/configure", {"port": server.port, "database": str(server.database)})
        yield base
