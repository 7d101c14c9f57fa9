"""Webhooks at the door: the signature is checked over the raw body, the hints are filed in one statement, and that is all.

The rule here: nothing is answered with "accepted" that is not committed, a repeat is recognised by the vendor's delivery id
and is a no-op, and of a delivery whose signature does not hold only its digest is kept. `FrontDoor` stands before the
site's sessions and cookies, which a machine does not need and should not wait for.
"""

from __future__ import annotations

import hashlib
import logging
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec
import psycopg
from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.db import connection as database
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.views.decorators.csrf import csrf_exempt

from integrations import payloads, registry, wake
from integrations.errors import Malformed, Unauthorised
from integrations.models import RefusedDelivery
from integrations.protocol import Delivery, Source, SubscribedSource
from portal import origin
from portal.models import Connection
from portal.plain_text import DOORS

log = logging.getLogger(__name__)

LARGEST_BODY = 1024 * 1024  # bytes
REMEMBERED = 5.0  # seconds for which a connection and its secrets are not looked up again
REFUSALS_KEPT = 30  # a minute, for each connection and process; more are only counted in the log
_WAKE_AT_MOST_EVERY = 0.25  # seconds
_PLAIN_WORD = re.compile(r"[\w.~+/=:%-]{1,1000}", re.ASCII)  # of a handshake: nothing that a browser would run
_KEPT_HEADERS = ("Content-Type", "User-Agent")
_STATUS = {
    200: "200 OK", 202: "202 Accepted", 400: "400 Bad Request", 401: "401 Unauthorized", 404: "404 Not Found",
    405: "405 Method Not Allowed", 413: "413 Content Too Large", 503: "503 Service Unavailable",
}  # fmt: skip

Answer = tuple[int, dict[str, Any]]
T = TypeVar("T")


class Headers(Mapping[str, str]):
    """The headers of a request as WSGI hands them over, looked up in any case."""

    def __init__(self, environ: Mapping[str, Any]) -> None:
        self._environ = environ

    def __getitem__(self, name: str) -> str:
        value: str = self._environ[_variable(name)]
        return value

    def __iter__(self) -> Iterator[str]:
        for variable in self._environ:
            if variable.startswith("HTTP_"):
                yield variable[5:].replace("_", "-").title()
            elif variable in ("CONTENT_TYPE", "CONTENT_LENGTH"):
                yield variable.replace("_", "-").title()

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _variable(name: str) -> str:
    plain = name.upper().replace("-", "_")
    return plain if plain in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{plain}"


@dataclass(frozen=True, slots=True)
class _Door:
    """One connection's webhook, as this process remembers it for a moment."""

    connection_id: int
    source: Source | None  # None: its credentials cannot be read
    until: float


_doors: dict[str, _Door | None] = {}


def receive(code: str, headers: Mapping[str, str], body: bytes, remote_address: str) -> Answer:
    """Take one delivery: the HTTP status and what the vendor is told.

    202 with the id of the first hint, 200 for a repeat, 401 for a signature that does not hold, 400 for what cannot be
    read, 404 for a connection without a webhook, 413 for a body over 1 MB, 503 while our own credentials are missing.
    """
    if len(body) > LARGEST_BODY:
        return 413, {"error": f"The body has {len(body)} bytes; {LARGEST_BODY} are the most."}
    door = _door(code)
    if door is None:
        return 404, {"error": "There is no such webhook."}
    if door.source is None:
        return 503, {"error": "This webhook is not set up completely; its owner has been told in the log."}
    try:
        delivery = door.source.receive(headers, body)
    except Unauthorised as error:
        _refuse(door, error, body, remote_address)
        return 401, {"error": "The signature does not hold."}
    except Malformed as error:
        return 400, {"error": str(error)}
    if not delivery.hints:
        return 202, {"id": None}
    first = _file(door.connection_id, delivery, headers, body)
    if first is None:
        return 200, {"duplicate": True}
    _waker.wake(door.connection_id)
    return 202, {"id": first}


class FrontDoor:
    """A WSGI application that takes deliveries itself and passes everything else on to the site."""

    def __init__(self, site: Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]) -> None:
        self._site = site

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer a delivery or a handshake; everything else is the site's."""
        path: str = environ.get("PATH_INFO", "")
        if not path.startswith(DOORS) or not _is_secure(environ):
            return self._site(environ, start_response)
        if word := _greeting(path, environ):
            start_response(_STATUS[200], [("Content-Length", str(len(word))), *_AS_TEXT.items()])
            return [word]
        if environ.get("REQUEST_METHOD") != "POST":
            return self._site(environ, start_response)
        status, content = _take(path, environ)
        body = msgspec.json.encode(content)
        start_response(_STATUS[status], [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]


_AS_TEXT = {"Content-Type": "text/plain", "X-Content-Type-Options": "nosniff"}


@csrf_exempt
def hook(request: HttpRequest, code: str) -> HttpResponse:
    """The same for a server that does not come through `FrontDoor`."""
    path = f"{DOORS}{code}/"
    environ: Mapping[str, Any] = request.environ if hasattr(request, "environ") else request.META
    if word := _greeting(path, environ):
        return HttpResponse(word, headers=_AS_TEXT)
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    status, content = _take(path, environ)
    return HttpResponse(msgspec.json.encode(content), status=status, content_type="application/json")


def _greeting(path: str, environ: Mapping[str, Any]) -> bytes:
    """What a vendor that tries our address wants to read back; empty when nobody does."""
    query = dict(parse_qsl(environ.get("QUERY_STRING") or ""))
    door = _door(_code(path)) if query and environ.get("REQUEST_METHOD") in ("GET", "POST") else None
    source: object = door.source if door else None
    if not isinstance(source, SubscribedSource):
        return b""
    word = source.handshake(query)
    return word.encode() if _PLAIN_WORD.fullmatch(word) else b""


def _code(path: str) -> str:
    return path[len(DOORS) :].rstrip("/")


def _take(path: str, environ: Mapping[str, Any]) -> Answer:
    try:
        length = int(environ.get("CONTENT_LENGTH") or -1)
    except ValueError:
        return 400, {"error": "The Content-Length is no number."}
    if length > LARGEST_BODY:
        return 413, {"error": f"The body has {length} bytes; {LARGEST_BODY} are the most."}
    body: bytes = environ["wsgi.input"].read(length if length >= 0 else LARGEST_BODY + 1)
    return receive(_code(path), Headers(environ), body, origin.address_of(environ))


def _is_secure(environ: Mapping[str, Any]) -> bool:
    """Whether the delivery came over TLS, or need not; the site's own redirect answers the others."""
    if not settings.SECURE_SSL_REDIRECT or environ.get("wsgi.url_scheme") == "https":
        return True
    proxy = getattr(settings, "SECURE_PROXY_SSL_HEADER", None)
    return proxy is not None and environ.get(proxy[0]) == proxy[1]


def forget() -> None:
    """Look every connection and its secrets up again; for tests and after a change of configuration."""
    _doors.clear()


def _door(code: str) -> _Door | None:
    """The connection behind a code, remembered for some seconds; None where there is no active source of that name."""
    door = _doors.get(code)
    if door is not None and door.until > time.monotonic():
        return door
    found = _again_if_broken(Connection.objects.filter(code=code, is_source=True, is_active=True).first)
    if found is None:
        _doors.pop(code, None)
        return None
    source: Source | None = None
    try:
        source = registry.source(found)
    except (Unauthorised, registry.WrongHalf, registry.UnknownConnector) as error:
        log.warning("webhook of %s: %s", code, error)
    door = _doors[code] = _Door(found.pk, source, time.monotonic() + REMEMBERED)
    return door


_INTO = """
INSERT INTO integrations_inboxmessage (connection_id, kind, stream, external_id, revision, payload, headers, state,
       attempts, failure, received_at)"""
_ONE = (
    _INTO
    + """
VALUES (%s, 'hint', %s, %s, %s, %s::jsonb, %s::jsonb, 'new', 0, '', now()) ON CONFLICT DO NOTHING RETURNING id"""
)
_MANY = (
    _INTO
    + """
SELECT %s, 'hint', h.stream, h.external_id, %s, %s::jsonb, %s::jsonb, 'new', 0, '', now()
  FROM unnest(%s::text[], %s::text[]) AS h(stream, external_id)
ON CONFLICT DO NOTHING RETURNING id"""
)
_local = threading.local()


def _file(connection_id: int, delivery: Delivery, headers: Mapping[str, str], body: bytes) -> int | None:
    """Commit the hints of a delivery in one statement; the id of the first, None when all were known."""
    text = body.decode("utf-8", "replace")
    try:
        return _again_if_broken(partial(_commit, *_statement(connection_id, delivery, headers, text)))
    except psycopg.DataError:  # the body is not JSON, or holds a character that the database does not take
        as_text = payloads.as_stored_with_care({"body": text.replace("\\u0000", "\ufffd")})
        return _again_if_broken(partial(_commit, *_statement(connection_id, delivery, headers, as_text)))


def _statement(
    connection_id: int, delivery: Delivery, headers: Mapping[str, str], payload: str
) -> tuple[str, tuple[Any, ...]]:
    kept = msgspec.json.encode({name: headers[name] for name in _KEPT_HEADERS if name in headers}).decode()
    revision = payloads.within(delivery.delivery_id, payloads.REVISION_LIMIT)
    ids = [payloads.within(hint.external_id, payloads.EXTERNAL_ID_LIMIT) for hint in delivery.hints]
    if len(ids) == 1:
        return _ONE, (connection_id, delivery.hints[0].stream, ids[0], revision, payload, kept)
    return _MANY, (connection_id, revision, payload, kept, [hint.stream for hint in delivery.hints], ids)


def _again_if_broken(ask: Callable[[], T]) -> T:
    """Ask the database, and once more over a new connection where ours broke: no request of the site mends it for us here."""
    try:
        return ask()
    except (psycopg.OperationalError, psycopg.InterfaceError, OperationalError, InterfaceError):
        if database.in_atomic_block:
            raise
        database.close()
        return ask()


def _commit(statement: str, parameters: tuple[Any, ...]) -> int | None:
    cursor = _cursor()
    cursor.execute(statement, parameters)
    found = cursor.fetchone()
    return int(found[0]) if found else None


def _cursor() -> psycopg.Cursor[Any]:
    """The thread's own cursor on the site's connection. It keeps its statements prepared, where no pooler forbids it."""
    database.ensure_connection()
    raw: psycopg.Connection[Any] = database.connection
    cursor: psycopg.Cursor[Any] | None = getattr(_local, "cursor", None)
    if cursor is None or cursor.connection is not raw:
        if not database.settings_dict.get("DISABLE_SERVER_SIDE_CURSORS"):
            raw.prepare_threshold = 2  # only cursors that bind on the server prepare, and only this one does
        cursor = _local.cursor = psycopg.Cursor(raw)
    return cursor


class _Refusals:
    """How many refused deliveries of each connection this process has kept in the current minute."""

    def __init__(self) -> None:
        self._minute = 0
        self._kept: dict[int, int] = {}

    def may_keep(self, connection_id: int) -> bool:
        minute = int(time.monotonic() // 60)
        if minute != self._minute:
            self._minute, self._kept = minute, {}
        self._kept[connection_id] = self._kept.get(connection_id, 0) + 1
        return self._kept[connection_id] <= REFUSALS_KEPT


_refusals = _Refusals()


def _refuse(door: _Door, error: Unauthorised, body: bytes, remote_address: str) -> None:
    log.warning("webhook of connection %s refused a delivery from %s", door.connection_id, remote_address)
    if _refusals.may_keep(door.connection_id):
        refused = RefusedDelivery(
            connection_id=door.connection_id, at=Now(), reason=str(error)[:300], remote_address=remote_address,
            body_digest=hashlib.sha256(body).hexdigest(),
        )  # fmt: skip
        _again_if_broken(refused.save)


class _Waker:
    """Tells workers that hints wait: at once after a pause, then at most four times a second for each connection."""

    def __init__(self) -> None:
        self._waiting: set[int] = set()
        self._something = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def wake(self, connection_id: int) -> None:
        self._waiting.add(connection_id)
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="webhook-waker", daemon=True)
                    self._thread.start()
        self._something.set()

    def _run(self) -> None:
        while True:
            self._something.wait()
            self._something.clear()
            while self._waiting:
                wake.up("answer_hints", self._waiting.pop())
            time.sleep(_WAKE_AT_MOST_EVERY)


_waker = _Waker()
