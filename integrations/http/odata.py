"""Reading by OData, which Microsoft's products share: pages by the server's own links, and filters.

A page's `@odata.nextLink` is followed as it is given. The rule here: a set that never ends, that is no list, or of which
less came than it says to hold, is no answer; a row that is shown twice is one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from integrations.errors import ConnectorError, Rejected, Unavailable
from integrations.http.client import Http
from integrations.http.fields import Row, day, digest, number, text
from integrations.http.outcomes import Response
from integrations.http.refusals import Said

__all__ = ["Row", "any_of", "day", "number", "of_a_look", "pages", "quoted", "rows", "said", "text", "whole"]


KEYS_AT_ONCE = 40  # in one filter, which is part of an address


def pages(
    http: Http, path: str, params: Mapping[str, Any], size: int, *, vendor: str, prefer: str = ""
) -> Iterator[tuple[list[Row], Response, bool]]:
    """The pages of a set: their rows, each once, the answer, and whether there are more. Raises Unavailable for one without end.

    `vendor` is named in sentences; `prefer` is what else the vendor is asked to do, beside keeping to the size of a page.
    """
    seen: set[str] = set()
    shown: set[str] = set()
    link, query = path, dict(params)
    wanted = ", ".join(part for part in (f"odata.maxpagesize={size}", prefer) if part)
    while True:
        answer = http.request("GET", link, params=query or None, headers={"Prefer": wanted})
        found = answer.body.get("value") if isinstance(answer.body, Mapping) else None
        if not isinstance(found, list) or not all(isinstance(row, Mapping) for row in found):
            raise Unavailable(f"{vendor} answered something that is not a list to {path}.")
        following = str(answer.body.get("@odata.nextLink") or "")
        fresh = {mark: row for row in found if (mark := digest(row)) not in shown}
        shown |= fresh.keys()
        yield list(fresh.values()), answer, bool(following)
        if not following:
            return
        if following in seen:
            raise Unavailable(f"{vendor} shows the same page of {path} again and never ends.")
        seen.add(following)
        link, query = following, {}


def rows(
    http: Http, path: str, params: Mapping[str, Any], size: int, *, vendor: str, prefer: str = ""
) -> Iterator[Row]:
    """Every row of a set. Raises Unavailable when fewer came than the set says to hold."""
    counted = {**params, "$count": "true"}
    yield from whole(pages(http, path, counted, size, vendor=vendor, prefer=prefer), path, vendor)


def whole(found: Iterable[tuple[list[Row], Response, bool]], path: str, vendor: str) -> Iterator[Row]:
    """The rows of pages that state the size of their set. Raises Unavailable when fewer came: what is left out is not absent."""
    came, stated = 0, 0
    for page, answer, _ in found:
        came += len(page)
        stated = max(stated, int(answer.body.get("@odata.count") or 0))
        yield from page
    if came < stated:
        raise Unavailable(f"{vendor} says that {path} holds {stated} rows and showed {came}.")


def quoted(text: str) -> str:
    """A text as a filter writes it."""
    return "'" + text.replace("'", "''") + "'"


def any_of(name: str, values: Sequence[str]) -> str:
    """A filter for one field with one of some texts."""
    return " or ".join(f"{name} eq {quoted(value)}" for value in values)


def of_a_look(error: ConnectorError, vendor: str) -> ConnectorError:
    """A look that is refused says nothing about what is booked."""
    if isinstance(error, Rejected):
        return Unavailable(f"{vendor} refused our look: {error.detail}", status=error.status)
    return error


def said(body: Any) -> Said:
    """The words of an error body, as Microsoft's products put them; empty when it is none of theirs."""
    error = body.get("error") if isinstance(body, Mapping) else None
    if not isinstance(error, Mapping):
        return Said()
    code, message = str(error.get("code") or ""), str(error.get("message") or "")
    return Said(code, message, f"{code} {message}")
