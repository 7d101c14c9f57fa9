"""What a stand-in is: routes to handlers over a store. Subclass `Vendor`, list `routes()`, answer each with a `Response`."""

from __future__ import annotations

import json
import re
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import Message
from typing import Any, NamedTuple
from urllib.parse import parse_qs

from integrations.sandbox.store import Store


@dataclass(slots=True)
class Request:
    """One request as a vendor sees it: `path` is below the vendor's prefix, `base` is the prefix's own address."""

    method: str
    path: str
    query_string: str
    headers: Message  # looked up in any case
    body: bytes
    base: str  # e.g. http://127.0.0.1:9000/harvest
    query: dict[str, str] = field(init=False)  # the last value of each parameter
    params: dict[str, str] = field(default_factory=dict)  # the named parts of the route

    def __post_init__(self) -> None:
        self.query = {k: v[-1] for k, v in parse_qs(self.query_string, keep_blank_values=True).items()}

    def json(self) -> Any:
        """The body as JSON; raises ValueError."""
        return json.loads(self.body)

    @property
    def url(self) -> str:
        """The address that was called, query included."""
        return self.base + self.path + (f"?{self.query_string}" if self.query_string else "")


@dataclass(slots=True)
class Response:
    """What a vendor answers. A dict or list is sent as JSON, text as it is, None as an empty body."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)

    def encoded(self) -> bytes:
        """The body as bytes; the content type is set when the handler set none."""
        if self.body is None:
            return b""
        if isinstance(self.body, bytes):
            return self.body
        if isinstance(self.body, str):
            self.headers.setdefault("Content-Type", "text/plain; charset=utf-8")
            return self.body.encode()
        self.headers.setdefault("Content-Type", "application/json; charset=utf-8")
        return json.dumps(self.body).encode()


Handler = Callable[[Request], Response]


class Route(NamedTuple):
    """A method, a path such as `/v2/users/{id}`, and what answers it. A part never contains a slash."""

    method: str
    path: str
    handler: Handler


class Window:
    """A vendor's limit: so many calls of one caller in so many seconds."""

    def __init__(self, calls: int, seconds: float) -> None:
        self.calls, self.seconds = calls, seconds
        self._starts: dict[str, deque[float]] = {}

    def refuses(self, caller: str) -> float | None:
        """The seconds until a call of this caller would be taken; None when this one is, and counts."""
        starts, now = self._starts.setdefault(caller, deque()), time.monotonic()
        while starts and starts[0] <= now - self.seconds:
            starts.popleft()
        if len(starts) >= self.calls:
            return starts[0] + self.seconds - now
        starts.append(now)
        return None


class Vendor:
    """A stand-in for one vendor. One request at a time holds `store.lock` while it is handled."""

    name = ""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.latency = 0.0  # seconds that every call takes before it is handled
        self.read_lag = 0.0  # seconds until a written record can be read; set by the fault of that name
        self.clock_skew = 0.0  # seconds by which the vendor's clock is ahead of ours
        self._routes = [(r.method, _pattern(r.path), r.handler) for r in self.routes()]

    def routes(self) -> Sequence[Route]:
        """Everything this vendor answers, tried in order."""
        raise NotImplementedError

    def authenticate(self, request: Request) -> Response | None:
        """The vendor's refusal of a request's credentials, or None when they are good."""
        del request
        return None

    def error(self, status: int, request: Request) -> Response:
        """The vendor's own body for an error that has nothing to do with the request: injected faults use it."""
        del request
        return Response(status, {"message": f"Error {status}"})

    def not_found(self, request: Request) -> Response:
        """The vendor's answer to a path that it does not know."""
        return self.error(404, request)

    def limit(self, in_flight: int, request: Request) -> Response | None:
        """The vendor's refusal when `in_flight` calls, this one included, are too many."""
        del in_flight, request
        return None

    def seed(self, data: Mapping[str, Any]) -> None:
        """Take records from the control plane, in the vendor's own shape; one that is there already is replaced."""
        raise NotImplementedError

    def now(self) -> datetime:
        """The time by the vendor's own clock."""
        return datetime.now(UTC) + timedelta(seconds=self.clock_skew)

    def configure(self, settings: Mapping[str, Any]) -> None:
        """Change how the stand-in behaves; `latency` and `clock_skew` are known to all. Unknown names raise ValueError."""
        for name, value in settings.items():
            if name not in ("latency", "clock_skew"):
                raise ValueError(f"{self.name} has no setting {name!r}")
            setattr(self, name, float(value))

    def reset(self) -> None:
        """Forget everything that was written."""
        self.store.clear()
        self.latency = self.read_lag = self.clock_skew = 0.0

    def inspect(self) -> Mapping[str, Any]:
        """What tests and benchmarks want to know of the state: booked records, counts per key."""
        return {}

    def handle(self, request: Request) -> Response:
        """Answer one request, one at a time."""
        with self.store.lock:
            refused = self.authenticate(request)
            if refused is not None:
                return refused
            for method, pattern, handler in self._routes:
                found = pattern.fullmatch(request.path)
                if found and method == request.method:
                    request.params = found.groupdict()
                    return handler(request)
            return self.not_found(request)


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(path)))
