"""`Http`: one account's way to its vendor. Cheap to build; connections, tokens and pace outlive it.

A request is signed, paced, sent once, recorded and judged. It is sent a second time in one case only: after a 401,
which means that nothing was processed, and once fresh credentials were had.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Protocol

from integrations.account import Account
from integrations.errors import ConnectorError, Unavailable
from integrations.http import addresses, outcomes, recording, transport
from integrations.http.deadlines import left
from integrations.http.outcomes import Response
from integrations.http.pacing import Pacer, Rate, pace
from integrations.http.transport import Call, Outgoing

CONNECT_SECONDS, READ_SECONDS, TOTAL_SECONDS = 5.0, 55.0, 60.0


class Auth(Protocol):
    """Signs one request by adding headers to it."""

    def __call__(self, request: Outgoing) -> None:
        """Called for every request, after its URL and body stand."""


class Http:
    """The HTTP side of one account.

    `hosts` are the host suffixes of the connector, `rate` the vendor's published limit, which
    `pacer` keeps: in this process, or over all of them. A connector sets `auth`, and
    `renew` where credentials can be had afresh: it drops what it holds and says whether another try is worth while.
    The account's settings `connect_timeout`, `read_timeout` and `total_timeout` (seconds) replace our own.
    """

    def __init__(
        self,
        account: Account,
        *,
        hosts: Sequence[str] = (),
        allow_loopback: bool = False,
        rate: Rate | None = None,
        pacer: Pacer = pace,
    ) -> None:
        self.account = account
        self.base_url = account.base_url.rstrip("/")
        self.hosts = tuple(hosts)
        self.allow_loopback = allow_loopback
        self.rate = rate
        self.pacer = pacer
        self.auth: Auth | None = None
        self.renew: Callable[[], bool] | None = None
        self.connect_timeout = float(account.settings.get("connect_timeout") or CONNECT_SECONDS)
        self.read_timeout = float(account.settings.get("read_timeout") or READ_SECONDS)
        self.total_timeout = float(account.settings.get("total_timeout") or TOTAL_SECONDS)
        self.ahead = 0.0  # seconds by which the vendor's clock is ahead of ours, as its last answer said
        self.redact = recording.Redactor(account.secrets.values())

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        data: bytes | str | Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        writes: bool | None = None,
        raw: bool = False,
        auth: bool = True,
        secret: Callable[[Any], str] | None = None,
        patience: float = 0.0,
    ) -> Response:
        """Call the vendor once and return its good answer (2xx); everything else is one of the five errors.

        `path` is below the account's base URL, or an absolute link of the same server. `writes` says whether the call
        could book something (by default every method but GET and HEAD). With `raw` the body is not read as JSON.
        Without `auth` the request is not signed. `secret` picks out of the answer's body what must not be kept of it, such as
        the token of a sign-in that does not name it. `patience` are seconds for which the vendor was asked to wait before it
        answers; they are given beside the usual ones. An error carries the vendor's `status`, `headers` and parsed `body`.
        """
        url = self._url(path)
        content: Any = outcomes.encode(json) if json is not None else data
        outgoing_headers = {"User-Agent": "Tieout", "Accept": "application/json", **(headers or {})}
        if json is not None:
            outgoing_headers.setdefault("Content-Type", "application/json")
        writes = method.upper() not in ("GET", "HEAD") if writes is None else writes
        for fresh in (False, True):
            outgoing = transport.prepare(
                method.upper(), url, params=params, body=content, headers=dict(outgoing_headers)
            )
            if auth and self.auth is not None:
                self.auth(outgoing)
            answer = self._exchange(outgoing, writes=writes, raw=raw, secret=secret, patience=patience)
            if isinstance(answer, Response):
                return answer
            if answer.status == 401 and auth and not fresh and self.renew is not None and self.renew():
                continue
            raise answer
        raise AssertionError("the second try either answers or raises")

    def at(self, base_url: str, hosts: Sequence[str]) -> Http:
        """The same account at another address of its vendor, such as the one where it signs in."""
        return Http(replace(self.account, base_url=base_url), hosts=hosts, allow_loopback=self.allow_loopback)

    def conceal(self, secret: str) -> None:
        """Keep a secret that was had at run time, such as an access token, out of every exchange and error text."""
        self.redact.conceal(secret)

    def judged(self, answer: Response, *, writes: bool, unreadable: str = "") -> ConnectorError | None:
        """The error that an answer means, without a secret that the vendor says again; None when it is a good one."""
        excerpt = self.redact.body(answer.content)[:500] if answer.status >= 300 or unreadable else ""
        error = outcomes.judge(answer, writes=writes, unreadable=unreadable, excerpt=excerpt)
        if error is not None:
            error.body = self.redact.parsed(answer.body)
        return error

    @cached_property
    def identity(self) -> str:
        """A fingerprint of the account's address, settings and credentials: the key under which its tokens may be kept."""
        digest = hashlib.sha256()
        given = {**self.account.settings, **self.account.secrets}  # a tenant and a client's id are settings
        for part in (self.account.code, self.base_url, *(f"{k}={v}" for k, v in sorted(given.items()))):
            digest.update(part.encode() + b"\0")
        return digest.hexdigest()

    def _url(self, path: str) -> str:
        addresses.check_url(self.base_url, hosts=self.hosts, allow_loopback=self.allow_loopback)
        if "://" not in path:  # after the slash nothing changes the server
            return f"{self.base_url}/{path.lstrip('/')}"
        addresses.same_origin(self.base_url, path)
        addresses.check_url(path, hosts=self.hosts, allow_loopback=self.allow_loopback)
        return path

    def _exchange(
        self,
        request: Outgoing,
        *,
        writes: bool,
        raw: bool,
        secret: Callable[[Any], str] | None = None,
        patience: float = 0.0,
    ) -> Response | ConnectorError:
        """Send one signed request, keep the exchange, and judge the answer."""
        if self.rate is not None:
            whose = f"{self.base_url} {self.account.realm or self.account.code}"
            missing = self.pacer(whose, self.rate, left(self.total_timeout))
            if missing:
                return Unavailable("Our own rate limit for this account is used up.", retry_after=missing)
        connect, read, total = (
            left(one) for one in (self.connect_timeout, self.read_timeout + patience, self.total_timeout + patience)
        )
        if not total:
            return Unavailable("No complete answer: the time in which it had to answer is over.")
        call = Call(self.allow_loopback)
        started_at, started = datetime.now(UTC), time.monotonic()
        answer: Response | None = None
        error: ConnectorError | None
        try:
            got = transport.send(request, call, connect=connect, read=read, total=total)
            answer, error = self._read(got, request, writes=writes, raw=raw)
            if secret is not None:
                self.conceal(secret(answer.body))
        except addresses.ForbiddenAddress as forbidden:
            error = forbidden
        except transport.FAILURES as broken:
            error = outcomes.lost(self._reason(broken, call, connect, read, total), writes=writes, sent=call.sent)
        if recording.is_recording():
            recording.record(
                recording.Exchange(
                    method=request.method,
                    url=self.redact.text(request.url),
                    request_headers=self.redact.request_headers(request.headers),
                    request_body=self.redact.body(request.body),
                    status=answer.status if answer else None,
                    response_headers=self.redact.response_headers(answer.headers) if answer else {},
                    response_body=self.redact.body(answer.content) if answer else "",
                    started_at=started_at,
                    duration_ms=round((time.monotonic() - started) * 1000),
                    error=f"{type(error).__name__}: {error}" if error else "",
                    may_have_written=writes
                    and outcomes.may_have_written(answer.status if answer else None, sent=call.sent),
                )
            )
        if error is not None:
            return error
        if answer is None:
            raise AssertionError("a call without an error has an answer")
        return answer

    def _read(
        self, got: transport.Raw, request: Outgoing, *, writes: bool, raw: bool
    ) -> tuple[Response, ConnectorError | None]:
        """The answer with its JSON parsed, and the error that it means, if any."""
        body: Any = None
        unreadable = ""
        if not raw or got.status >= 400:
            try:
                body = outcomes.decode(got.content)
            except outcomes.UnreadableError as error:
                unreadable = "" if raw else str(error)
        answer = Response(status=got.status, headers=got.headers, content=got.content, body=body, url=request.url)
        self.ahead = answer.ahead
        return answer, self.judged(answer, writes=writes, unreadable=unreadable)

    def _reason(self, error: Exception, call: Call, connect: float, read: float, total: float) -> str:
        if call.expired:
            return f"no complete answer within {total:.3g} seconds"
        return self.redact.text(transport.explain(error, connect=round(connect, 1), read=round(read, 1)))


class TokenCache:
    """Access tokens of this process, each under its account's identity; one thread renews while the others wait."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._tokens: dict[str, tuple[str, float]] = {}

    def get(self, identity: str, obtain: Callable[[], tuple[str, float]], *, margin: float = 60.0) -> str:
        """The account's token, asked for when there is none or it ends within `margin` seconds.

        `obtain` returns the token and the seconds it is good for.
        """
        with self._lock:
            lock = self._locks.setdefault(identity, threading.Lock())
        with lock:
            token, until = self._tokens.get(identity, ("", 0.0))
            if time.monotonic() < until - margin:
                return token
            token, seconds = obtain()
            self._tokens[identity] = token, time.monotonic() + max(seconds, margin + 1)
            return token

    def drop(self, identity: str) -> None:
        """Forget a token that the vendor no longer takes."""
        self._tokens.pop(identity, None)
