"""What can be made to go wrong, on purpose, with chosen calls. A fault is posted to `/_sandbox/faults` as JSON.

kind                  what the caller sees                                         booked
timeout_before        nothing for `seconds`, then a closed connection              no
timeout_after         the same                                                     yes
reset_before          the connection is reset unanswered                           no
reset_after           the same                                                     yes
reset_mid_body        the start of a good answer, then a reset                     yes
status                the vendor's error `status` (`retry_after`: as a header)     no, unless `commits`
says                  `answer` with `status`, as the vendor's documents have it    no, unless `commits`
maintenance           an HTML page with `status` (default 503)                     no, unless `commits`
garbage               200 with a body that is not JSON                             yes, unless `commits` is false
slow                  the good answer after `seconds`                              yes
read_lag              good answers, but what is written is not found for `seconds` yes
forgets               the good answer, of which nothing is kept                     no
row_twice             a good list that holds its first row twice                   yes
row_missing           a good list without its last row                             yes
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from integrations.sandbox.vendor import Request, Response

KINDS = (
    "timeout_before", "timeout_after", "reset_before", "reset_after", "reset_mid_body", "status", "maintenance",
    "garbage", "slow", "says", "read_lag", "row_twice", "row_missing", "forgets",
)  # fmt: skip
_COMMITS = {"timeout_after", "reset_after", "reset_mid_body", "garbage", "slow", "read_lag", "row_twice", "row_missing"}


@dataclass(slots=True)
class Fault:
    """One thing that goes wrong. It matches calls of `vendor` whose method, path and body contain what is given here."""

    vendor: str
    kind: str
    method: str = ""  # empty: any
    path: str = ""  # a part of the path with its query
    body: str = ""  # a part of the request's body
    after: int = 0  # matching calls that still go well first
    times: int | None = 1  # calls that go wrong; None: all from then on
    seconds: float = 2.0
    status: int = 503
    retry_after: str | None = None
    answer: Any = None  # of `says`: an object is sent as JSON, a text as it is
    commits: bool | None = None  # whether the call is handled although it goes wrong; None: as its kind says

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"{self.kind!r} is no fault; know {', '.join(KINDS)}")
        if self.commits is None:
            self.commits = self.kind in _COMMITS

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Fault:
        """A fault from JSON; raises ValueError for a name or kind that does not exist."""
        unknown = set(data) - {f.name for f in fields(cls)}
        if unknown or not {"vendor", "kind"} <= set(data):
            names = ", ".join(f.name for f in fields(cls))
            raise ValueError(f"a fault has a vendor, a kind and some of {names}; got {sorted(data)}")
        return cls(**data)

    def matches(self, vendor: str, request: Request) -> bool:
        """Whether a call is one that this fault is for."""
        return (
            vendor == self.vendor
            and self.method in ("", request.method)
            and self.path in f"{request.path}?{request.query_string}"
            and self.body.encode() in request.body
        )


def mangled(kind: str, answer: Response | None) -> Response | None:
    """A good answer as paging that repeats or skips would show it; unchanged for every other kind."""
    if answer is not None and kind in ("row_twice", "row_missing"):
        answer.body = _moved(answer.body, twice=kind == "row_twice")
    return answer


def _moved(body: Any, *, twice: bool) -> Any:
    """A list, or the first list inside an object."""
    if isinstance(body, list):
        return [*body[:1], *body] if twice else body[:-1]
    if isinstance(body, Mapping):
        name = next((name for name, value in body.items() if isinstance(value, list)), None)
        return {**body, name: _moved(body[name], twice=twice)} if name is not None else body
    return body


class Faults:
    """The faults that are still to strike, in the order in which they were posted."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Let a fault strike from now on."""
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> None:
        """Nothing goes wrong any more."""
        with self._lock:
            self._faults.clear()

    def left(self) -> list[dict[str, Any]]:
        """The faults that have not struck as often as they should."""
        with self._lock:
            return [asdict(fault) for fault in self._faults]

    def strike(self, vendor: str, request: Request) -> Fault | None:
        """The fault that this call meets, used up by one, or None."""
        with self._lock:
            for fault in self._faults:
                if not fault.matches(vendor, request):
                    continue
                if fault.after > 0:
                    fault.after -= 1
                    continue
                if fault.times is not None:
                    fault.times -= 1
                    if fault.times <= 0:
                        self._faults.remove(fault)
                return fault
        return None
