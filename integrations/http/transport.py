"""One request over one connection, and what the library does not tell about it.

That is: who the peer really is, whether a byte of the request left this machine, and when the whole call must be over.
Connections belong to one thread and one address policy and are kept alive; what the environment says of proxies and
credentials is not asked, and cookies and redirects do not exist.
"""

from __future__ import annotations

import os
import re
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import requests
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3 import BaseHTTPResponse, PoolManager, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, ReadTimeoutError

from integrations.http import deadlines
from integrations.http.addresses import check_peer

RESPONSE_LIMIT = 64 * 1024 * 1024  # bytes; a larger answer is no answer
_PLAIN_URL = re.compile(r"https?://[A-Za-z0-9.:-]+/[A-Za-z0-9/:@?&=._~,;!$'()*+-]*")  # leaves as it is written


@dataclass(slots=True)
class Outgoing:
    """A request as it is about to leave; an `Auth` adds its headers here. `url` carries the query as it is sent."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes | None


@dataclass(slots=True)
class Call:
    """What is known about the call that the current thread has under way."""

    allow_loopback: bool
    sent: bool = False  # a byte of the request may have reached the vendor
    expired: bool = False
    done: bool = False
    sock: Any = None


@dataclass(slots=True)
class Raw:
    """An answer as it came: status, headers, and the whole body."""

    status: int
    headers: Mapping[str, str]  # looked up in any case
    content: bytes = field(repr=False)


class TooLargeError(HTTPError):
    """The answer does not end where an answer should."""


FAILURES = (requests.RequestException, HTTPError, OSError)  # whatever the network can raise


_local = threading.local()


class _Guarded:
    """Connection behaviour shared by http and https: check the peer, note the first byte."""

    sock: Any

    def _new_conn(self) -> socket.socket:
        sock: socket.socket = super()._new_conn()  # type: ignore[misc]
        try:
            check_peer(sock.getpeername()[0], allow_loopback=_local.call.allow_loopback)
        except BaseException:
            sock.close()
            raise
        return sock

    def send(self, data: Any) -> None:
        call: Call = _local.call
        if self.sock is None:
            self.connect()  # type: ignore[attr-defined]
        call.sock = self.sock
        call.sent = True
        super().send(data)  # type: ignore[misc]


class _GuardedHTTP(_Guarded, HTTPConnection):
    pass


class _GuardedHTTPS(_Guarded, HTTPSConnection):
    pass


class _HTTPPool(HTTPConnectionPool):
    ConnectionCls = _GuardedHTTP


class _HTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _GuardedHTTPS


def _connections(allow_loopback: bool) -> PoolManager:
    """The connections of this thread under an address policy. There is no session: no cookies, proxies or redirects."""
    managers: dict[bool, PoolManager] = _local.__dict__.setdefault("managers", {})
    if allow_loopback not in managers:
        manager = PoolManager(num_pools=16, maxsize=1, cert_reqs="CERT_REQUIRED", ca_certs=DEFAULT_CA_BUNDLE_PATH)
        manager.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}
        managers[allow_loopback] = manager
    return managers[allow_loopback]


def _forget_connections() -> None:
    """A forked child must never speak on its parent's connections."""
    _local.__dict__.clear()


os.register_at_fork(after_in_child=_forget_connections)


def explain(error: Exception, *, connect: float, read: float) -> str:
    """What the network did, in a few words without the library's object names."""
    if isinstance(error, ConnectTimeoutError) and not isinstance(error, NewConnectionError):
        return f"no connection within {connect:g} seconds"
    if isinstance(error, ReadTimeoutError):
        return f"no answer within {read:g} seconds"
    cause: BaseException = error
    for _ in range(10):  # the library wraps a handful deep
        inner = cause.__cause__ or cause.__context__ or next((a for a in cause.args if isinstance(a, Exception)), None)
        if inner is None:
            break
        cause = inner
    return f"{type(cause).__name__}: {getattr(cause, 'strerror', None) or cause}"[:300]


def prepare(method: str, url: str, *, params: Any, body: Any, headers: dict[str, str]) -> Outgoing:
    """Spell a request the way it will leave: the query encoded once, and the body as bytes."""
    if params or not (body is None or isinstance(body, bytes)) or not _PLAIN_URL.fullmatch(url):
        prepared = requests.Request(method, url, params=params, data=body, headers=headers).prepare()
        content = prepared.body.encode() if isinstance(prepared.body, str) else prepared.body
        return Outgoing(method=method, url=prepared.url or url, headers=dict(prepared.headers), body=content)
    if body is not None or method not in ("GET", "HEAD"):
        headers["Content-Length"] = str(len(body or b""))
    return Outgoing(method=method, url=url, headers=headers, body=body)


def send(request: Outgoing, call: Call, *, connect: float, read: float, total: float) -> Raw:
    """Send one request and read its whole answer. Raises what the network raises; `call` says how far it came.

    Times are seconds: to connect, between two reads, and for everything together.
    """
    scheme, _, rest = request.url.partition("://")
    host, _, path = rest.partition("/")
    _local.call = call
    with deadlines.over(call, total):
        answer = (
            _connections(call.allow_loopback)
            .connection_from_url(f"{scheme}://{host}")
            .urlopen(
                request.method,
                f"/{path}",
                body=request.body,
                headers=request.headers,
                timeout=Timeout(connect=connect, read=read),
                retries=False,
                redirect=False,
                assert_same_host=False,
                preload_content=False,
                decode_content=False,
            )
        )
        try:
            content = _whole(answer)
        except BaseException:
            answer.close()
            raise
    if call.expired:
        raise HTTPError(f"no complete answer within {total:g} seconds")
    return Raw(answer.status, answer.headers, content)


def _whole(answer: BaseHTTPResponse) -> bytes:
    """All of an answer's body; its connection is free for the next call then."""
    chunks, size = [], 0
    for chunk in answer.stream(64 * 1024, decode_content=True):
        chunks.append(chunk)
        size += len(chunk)
        if size > RESPONSE_LIMIT:
            raise TooLargeError(f"the answer is larger than {RESPONSE_LIMIT} bytes")
    answer.release_conn()
    return b"".join(chunks)
