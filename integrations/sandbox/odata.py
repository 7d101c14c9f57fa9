"""What stand-ins that speak Microsoft's OData share: filters, pages by the server's link, and multipart batches.

Filters know comparisons, `and`, `or` and parentheses, a text with `*` at an end as a wildcard where the vendor knows one, and
moments by their first characters: a day is less than any moment in it.
"""

from __future__ import annotations

import email
import email.message
import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import unquote, urlencode, urlsplit

from integrations.sandbox.vendor import Request, Response

Row = Mapping[str, Any]
Holds = Callable[[Row], bool]
_TOKEN = re.compile(r"\s*(?:(?P<par>[()])|(?P<value>'(?:[^']|'')*')|(?P<word>[^\s()']+))")
_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
}


class BadFilter(ValueError):
    """The filter cannot be read, or names a field that is not there."""


def predicate(text: str, *, wildcards: bool = False) -> Holds:
    """Whether a row meets a filter."""
    if not text:
        return lambda _: True
    tokens = [found["par"] or found["value"] or found["word"] for found in _TOKEN.finditer(text)]
    reader = _Reader(tokens, wildcards)
    holds = reader.either()
    if reader.rest:
        raise BadFilter(f"Could not parse the filter at '{reader.rest[0]}'.")
    return holds


class _Reader:
    """Reads a filter from its tokens; `and` binds closer than `or`."""

    def __init__(self, tokens: list[str], wildcards: bool) -> None:
        self.rest = tokens
        self.wildcards = wildcards

    def _next(self) -> str:
        if not self.rest:
            raise BadFilter("The filter ends too early.")
        return self.rest.pop(0)

    def either(self) -> Holds:
        parts = [self.both()]
        while self.rest and self.rest[0] == "or":
            self._next()
            parts.append(self.both())
        return lambda row: any(holds(row) for holds in parts)

    def both(self) -> Holds:
        parts = [self.one()]
        while self.rest and self.rest[0] == "and":
            self._next()
            parts.append(self.one())
        return lambda row: all(holds(row) for holds in parts)

    def one(self) -> Holds:
        if self.rest and self.rest[0] == "(":
            self._next()
            inner = self.either()
            if self._next() != ")":
                raise BadFilter("A parenthesis is not closed.")
            return inner
        field, operator, wanted = self._next(), self._next(), self._next()
        if wanted.endswith("DataEntities.NoYes") or wanted.startswith("Microsoft."):
            wanted = self._next()
        if operator not in _COMPARE:
            raise BadFilter(f"The operator '{operator}' is not supported.")
        return self._comparison(field, operator, wanted)

    def _comparison(self, field: str, operator: str, wanted: str) -> Holds:
        is_text = wanted.startswith("'")
        value = wanted[1:-1].replace("''", "'") if is_text else wanted
        compare = _COMPARE[operator]
        starts = value[:-1] if self.wildcards and is_text and value.endswith("*") else None

        def holds(row: Row) -> bool:
            if field not in row:
                raise BadFilter(f"Could not find a property named '{field}'.")
            given = row[field]
            if starts is not None and operator == "eq":
                return str(given or "").lower().startswith(starts.lower())
            if not is_text and isinstance(given, int | float) and not isinstance(given, bool):
                return compare(float(given), float(value))
            return compare("null" if given is None else str(given), value)

        return holds


def page(
    request: Request, rows: Sequence[Row], largest: int, shown: Callable[[Row], Row] = lambda row: row
) -> Response:
    """One page of a set by the caller's query, and never more rows than the caller prefers. Raises BadFilter."""
    query = request.query
    chosen = list(rows)
    for field in reversed([part.strip() for part in query.get("$orderby", "").split(",") if part.strip()]):
        chosen.sort(key=partial(_ordered, field))
    prefer = request.headers.get("Prefer", "")
    found = re.search(r"odata\.maxpagesize=(\d+)", prefer)
    size = min(int(found[1]) if found else largest, largest)
    start = int(query.get("$skiptoken") or query.get("$skip") or 0)
    end = min(start + size, int(query.get("$top") or len(chosen)))
    wanted = [name for name in query.get("$select", "").split(",") if name]
    cut = [
        {name: value for name, value in shown(row).items() if not wanted or name in wanted or name.startswith("@")}
        for row in chosen[start:end]
    ]
    body: dict[str, Any] = {"value": cut}
    if query.get("$count") == "true":
        body["@odata.count"] = len(chosen)
    if end < len(chosen) and not query.get("$top"):
        body["@odata.nextLink"] = f"{request.base}{request.path}?{urlencode({**query, '$skiptoken': str(end)})}"
    return Response(body=body)


def _ordered(field: str, row: Row) -> str:
    return str(row.get(field))


def batched(
    request: Request,
    handle: Callable[[Request], Response],
    largest: int,
    *,
    begin: Callable[[], Callable[[], None]] = lambda: lambda: None,
    goes_on: bool = False,
) -> Response | None:
    """Carry out the change sets of a batch in their order and answer each; None for one that is too large or cannot be read.

    The first that fails ends it, unless the caller prefers to continue or the vendor always does (`goes_on`). `begin` is called
    before each change set, and what it returns takes back what the set has done when a member of it fails.
    """
    sets = _change_sets(request)
    if not sets or sum(len(members) for members in sets) > largest:
        return None
    goes_on = goes_on or "odata.continue-on-error" in request.headers.get("Prefer", "")
    parts: list[str] = []
    for members in sets:
        take_back = begin()
        answers: list[Response] = []
        for member in members:
            answers.append(handle(member))
            if answers[-1].status >= 300:
                break
        failed = answers[-1].status >= 300
        if failed:
            take_back()
        parts.append(_written(answers[-1:] if failed else answers))
        if failed and not goes_on:
            break
    content = {"Content-Type": "multipart/mixed; boundary=batchresponse"}
    return Response(200, f"{''.join(parts)}--batchresponse--\r\n".encode(), content)


def _change_sets(request: Request) -> list[list[Request]]:
    kind = request.headers.get("Content-Type", "")
    whole = email.message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + request.body)
    if not whole.is_multipart():
        return []
    found = []
    for part in whole.get_payload():
        members = [one for one in part.walk() if one.get_content_type() == "application/http"]  # type: ignore[union-attr]
        found.append([_member(request, one) for one in members])
    return found


def _member(request: Request, part: email.message.Message) -> Request:
    payload = part.get_payload(decode=True)
    head, _, body = bytes(payload or b"").replace(b"\r\n", b"\n").partition(b"\n\n")
    first, _, rest = head.partition(b"\n")
    method, url, _ = first.decode().split(" ", 2)
    parts = urlsplit(url)
    path = unquote(parts.path).removeprefix(urlsplit(request.base).path)
    headers = email.message_from_bytes(rest + b"\n\n")
    headers["Authorization"] = request.headers.get("Authorization", "")
    return Request(method, path, parts.query, headers, body.strip(), request.base)


def _written(answers: Sequence[Response]) -> str:
    """A change set's answers: together where it went well, and the one that failed bare."""
    parts = []
    for answer in answers:
        body = "" if answer.body is None else json.dumps(answer.body)
        head = "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items())
        http = f"HTTP/1.1 {answer.status} Any\r\n{head}Content-Type: application/json\r\n\r\n{body}\r\n"
        parts.append(f"Content-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n{http}")
    if answers[-1].status >= 300:
        return f"--batchresponse\r\n{parts[-1]}"
    inner = "".join(f"--changesetresponse\r\n{part}" for part in parts)
    return (
        "--batchresponse\r\nContent-Type: multipart/mixed; boundary=changesetresponse\r\n\r\n"
        f"{inner}--changesetresponse--\r\n"
    )
