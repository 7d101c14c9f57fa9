"""One HTTP/1.1 server for all stand-ins, and the control plane that seeds, inspects and breaks them.

    GET    /_sandbox/health                    the vendors that are served
    POST   /_sandbox/{vendor}/seed             records in the vendor's own shape
    POST   /_sandbox/{vendor}/configure        settings of the stand-in, e.g. {"latency": 0.05}
    POST   /_sandbox/{vendor}/reset            forget everything; POST /_sandbox/reset does so for all, faults included
    GET    /_sandbox/{vendor}/inspect          the vendor's own figures, calls by method and path, most calls at once
    GET    /_sandbox/{vendor}/calls            the last calls: method, path, status, fault
    POST   /_sandbox/faults                    a list of faults, see `faults.py`; GET what is left, DELETE them all

The server listens on 127.0.0.1 only and answers only requests that name this machine as their host.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import socket
import struct
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from integrations.sandbox import VENDORS
from integrations.sandbox.faults import Fault, Faults, mangled
from integrations.sandbox.store import Store
from integrations.sandbox.vendor import Request, Response, Vendor

HOST = "127.0.0.1"
_CALLS_KEPT = 2000
_PAGE = (
    "<!DOCTYPE html><html><head><title>Scheduled maintenance</title></head>"
    "<body><h1>We are down for scheduled maintenance</h1></body></html>"
)


@dataclass(slots=True)
class Traffic:
    """What was asked of one vendor since it was last reset."""

    in_flight: int = 0
    max_in_flight: int = 0
    total: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    calls: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=_CALLS_KEPT))
    resets: int = 0  # a call that began before one is nobody's after it

    def clear(self) -> None:
        """Count from zero; calls under way stay counted as such."""
        self.resets += 1
        self.max_in_flight, self.total = self.in_flight, 0
        self.counts.clear()
        self.calls.clear()


class SandboxServer(ThreadingHTTPServer):
    """The stand-ins of `names` over the files in `state`; without `state` they remember only while they run."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, port: int = 0, state: Path | None = None, names: Iterable[str] | None = None) -> None:
        self.faults = Faults()
        self.stopping = threading.Event()
        self.traffic_lock = threading.Lock()
        self.open_sockets: set[socket.socket] = set()
        self.vendors: dict[str, Vendor] = {}
        if state is not None:
            state.mkdir(parents=True, exist_ok=True)
        for name in VENDORS if names is None else names:
            module, _, attribute = VENDORS[name].partition(":")
            store = Store(state / f"{name}.sqlite3" if state is not None else None)
            self.vendors[name] = getattr(importlib.import_module(module), attribute)(store)
        self.traffic = {name: Traffic() for name in self.vendors}
        super().__init__((HOST, port), _Handler)

    @property
    def base_url(self) -> str:
        """Where the server listens, without a trailing slash."""
        return f"http://{HOST}:{self.server_address[1]}"

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread of its own, and remember it so that stopping can end it."""
        with self.traffic_lock:
            self.open_sockets.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        with self.traffic_lock:
            self.open_sockets.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that went away is part of the play; anything else is shown."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError | ValueError):
            super().handle_error(request, client_address)

    def stop(self) -> None:
        """End every connection and close every file. Faults that hold a connection let go."""
        self.stopping.set()
        self.shutdown()
        with self.traffic_lock:
            for sock in self.open_sockets:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
        self.server_close()
        for vendor in self.vendors.values():
            vendor.store.close()

    def control(self, request: Request) -> Response:
        """Answer a request to the control plane, whose path comes without its prefix."""
        parts = request.path.strip("/").split("/")
        match request.method, parts:
            case "GET", ["health"]:
                return Response(body={"vendors": sorted(self.vendors)})
            case "POST", ["reset"]:
                self.faults.clear()
                for name in self.vendors:
                    self._reset(name)
                return Response(204)
            case "GET", ["faults"]:
                return Response(body=self.faults.left())
            case "DELETE", ["faults"]:
                self.faults.clear()
                for vendor in self.vendors.values():
                    vendor.read_lag = 0.0
                return Response(204)
            case "POST", ["faults"]:
                for fault in [Fault.read(item) for item in request.json()]:
                    if fault.vendor not in self.vendors:
                        raise ValueError(f"{fault.vendor!r} is no vendor here")
                    self.faults.add(fault)
                return Response(204)
            case method, [name, verb] if name in self.vendors:
                return self._control_vendor(method, name, verb, request)
            case _:
                return Response(404, {"error": f"no such control: {request.method} /{'/'.join(parts)}"})

    def _control_vendor(self, method: str, name: str, verb: str, request: Request) -> Response:
        vendor, traffic = self.vendors[name], self.traffic[name]
        match method, verb:
            case "POST", "seed":
                with vendor.store.lock:
                    vendor.seed(request.json())
                return Response(204)
            case "POST", "configure":
                with vendor.store.lock:
                    vendor.configure(request.json())
                return Response(204)
            case "POST", "reset":
                self._reset(name)
                return Response(204)
            case "GET", "inspect":
                with vendor.store.lock, self.traffic_lock:
                    return Response(
                        body={
                            **vendor.inspect(),
                            "calls": traffic.total,
                            "calls_by": dict(traffic.counts),
                            "max_in_flight": traffic.max_in_flight,
                        }
                    )
            case "GET", "calls":
                with self.traffic_lock:
                    return Response(body=list(traffic.calls))
            case _:
                return Response(404, {"error": f"no such control: {method} {verb}"})

    def _reset(self, name: str) -> None:
        with self.vendors[name].store.lock:
            self.vendors[name].reset()
        with self.traffic_lock:
            self.traffic[name].clear()


def _handled(vendor: Vendor, request: Request, fault: Fault) -> Response | None:
    """The good answer of a call that goes wrong, once it was carried out; None where it is not."""
    if fault.kind == "forgets":
        with vendor.store.undone():
            return vendor.handle(request)
    return vendor.handle(request) if fault.commits else None


class _Handler(BaseHTTPRequestHandler):
    """One connection. Answers are written in one piece, so that a keep-alive caller never waits for a delayed packet."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: SandboxServer

    def do_GET(self) -> None:
        """Answer one request; every method comes here."""
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        path, _, query = self.path.partition("?")
        host = (self.headers.get("Host") or "").partition(":")[0]
        if host not in (HOST, "localhost"):
            self._write(Response(421, {"error": f"this server does not speak for {host!r}"}))
            return
        name, _, rest = path.lstrip("/").partition("/")
        base = f"{self.server.base_url}/{name}"
        request = Request(self.command, "/" + rest, query, self.headers, body, base)
        if name == "_sandbox":
            try:
                self._write(self.server.control(request))
            except (ValueError, TypeError, KeyError) as error:
                self._write(Response(400, {"error": f"{type(error).__name__}: {error}"}))
        elif name in self.server.vendors:
            self._serve(self.server.vendors[name], request)
        else:
            self._write(Response(404, {"error": f"no vendor {name!r} here"}))

    do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = do_GET  # noqa: N815

    def _serve(self, vendor: Vendor, request: Request) -> None:
        traffic = self.server.traffic[vendor.name]
        with self.server.traffic_lock:
            traffic.in_flight += 1
            traffic.total += 1
            traffic.max_in_flight = max(traffic.max_in_flight, traffic.in_flight)
            in_flight, resets = traffic.in_flight, traffic.resets
        fault = self.server.faults.strike(vendor.name, request)
        call: dict[str, Any] = {"method": request.method, "path": request.path, "query": request.query_string}
        call |= {"status": None, "fault": fault.kind if fault else ""}
        try:
            response = self._answer(vendor, request, fault, in_flight)
            call["status"] = response.status if response else None
        finally:
            with self.server.traffic_lock:
                traffic.in_flight -= 1
                if resets == traffic.resets:
                    traffic.counts[f"{request.method} {request.path.rsplit('/', 1)[0]}"] += 1
                    traffic.calls.append(call)
        if response is not None:
            self._write(response, cut=fault is not None and fault.kind == "reset_mid_body", skew=vendor.clock_skew)

    def _answer(self, vendor: Vendor, request: Request, fault: Fault | None, in_flight: int) -> Response | None:
        """The answer to send, or None when this call gets none. Whether the call is handled is the fault's word."""
        if vendor.latency:
            self.server.stopping.wait(vendor.latency)
        response = vendor.limit(in_flight, request)
        if response is not None:
            return response
        if fault is None:
            return vendor.handle(request)
        if fault.kind == "slow":
            self.server.stopping.wait(fault.seconds)
        if fault.kind == "read_lag":
            vendor.read_lag = fault.seconds
        handled = _handled(vendor, request, fault)
        match fault.kind:
            case "timeout_before" | "timeout_after":
                self.server.stopping.wait(fault.seconds)
                self._reset_connection()
                return None
            case "reset_before" | "reset_after":
                self._reset_connection()
                return None
            case "status":
                response = vendor.error(fault.status, request)
            case "says" | "maintenance":
                page = Response(fault.status, _PAGE, {"Content-Type": "text/html; charset=utf-8"})
                response = Response(fault.status, fault.answer) if fault.kind == "says" else page
            case "garbage":
                return Response(200, "{'not': json", {"Content-Type": "application/json"})
            case _:
                return mangled(fault.kind, handled)
        if fault.retry_after is not None:
            response.headers["Retry-After"] = fault.retry_after
        return response

    def _write(self, response: Response, *, cut: bool = False, skew: float = 0.0) -> None:
        """Send an answer, dated `skew` seconds ahead; with `cut` only the first half of it, and then a reset."""
        content = response.encoded()
        phrase = self.responses.get(response.status, ("Unknown",))[0]
        head = [f"HTTP/1.1 {response.status} {phrase}", f"Date: {self.date_time_string(int(time.time() + skew))}"]
        head += [f"{name}: {value}" for name, value in response.headers.items()]
        if response.status != 204:
            head.append(f"Content-Length: {len(content)}")
        message = "\r\n".join([*head, "", ""]).encode("latin-1", "replace")
        if self.command != "HEAD":
            message += content
        if cut:
            message = message[: len(message) - max(1, len(content) // 2)] if content else message[: len(message) // 2]
        self.wfile.write(message)
        if cut:
            self._reset_connection()

    def _reset_connection(self) -> None:
        """Close the connection with a reset instead of a good-bye."""
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            os.close(self.connection.detach())

    def log_message(self, *_: Any) -> None:
        """Say nothing: the control plane keeps the calls."""


@contextlib.contextmanager
def sandbox_server(state: Path | None = None, names: Iterable[str] | None = None, port: int = 0) -> Iterator[str]:
    """Run the stand-ins in a thread of this process and yield their address."""
    server = SandboxServer(port, state, names)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="sandbox", daemon=True)
    thread.start()
    try:
        yield server.base_url
    finally:
        server.stop()
        thread.join(5)


def control(base_url: str, method: str, path: str, data: Any = None, *, timeout: float = 30.0) -> Any:
    """Call the control plane of a running sandbox and return its JSON; raises ValueError when it refuses."""
    connection = HTTPConnection(urlsplit(base_url).netloc, timeout=timeout)
    with contextlib.closing(connection):
        body = None if data is None else json.dumps(data)
        connection.request(method, f"/_sandbox/{path}", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        content = answer.read()
        if answer.status >= 400:
            raise ValueError(
                f"{method} /_sandbox/{path} answered {answer.status}: {content.decode('utf-8', 'replace')}"
            )
        return json.loads(content) if content else None
