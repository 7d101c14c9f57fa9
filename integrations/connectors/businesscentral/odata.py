"""Reading Business Central's sets, and several requests in one call.

Microsoft: a batch takes 100 requests. With snapshot isolation one that
fails rolls all back, those that were answered 201 included, so a batch is taken as done only where every member was.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from integrations.errors import InDoubt, Unavailable
from integrations.http import Http, Response, odata
from integrations.http.odata import KEYS_AT_ONCE, Row, any_of, quoted

__all__ = [
    "BATCH",
    "KEYS_AT_ONCE",
    "VENDOR",
    "Answer",
    "Request",
    "Row",
    "any_of",
    "batch",
    "option",
    "pages",
    "quoted",
    "rows",
]

VENDOR = "Business Central"
BATCH = 100
_ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")


class Request(NamedTuple):
    """One member of a batch; `url` is below the API's root."""

    method: str
    url: str
    body: Mapping[str, Any] | None = None


class Answer(NamedTuple):
    """What one member was answered; `place` is that of the request among those that were sent."""

    place: int
    status: int
    body: Any


def option(row: Mapping[str, Any], name: str) -> str:
    """One of a choice of values, as people see it: `In_x0020_Review` is In Review, and `_x0020_` none; or as it is."""
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), str(row.get(name) or "")).strip()


def pages(http: Http, path: str, params: Mapping[str, Any], size: int) -> Iterator[tuple[list[Row], Response, bool]]:
    """The pages of a set, as `integrations.http.odata` reads them."""
    return odata.pages(http, path, params, size, vendor=VENDOR)


def rows(http: Http, path: str, params: Mapping[str, Any], size: int) -> Iterator[Row]:
    """Every row of a set."""
    return odata.rows(http, path, params, size, vendor=VENDOR)


def batch(http: Http, root: str, requests: Sequence[Request], *, books: bool = True) -> list[Answer]:
    """Carry out all of some requests or none; the answers in the order in which they came, fewer than asked where one failed.

    `books` is false where nothing is lost or doubled when it is carried out and we do not hear of it.
    """
    members = [
        {
            "id": str(number),
            "method": request.method,
            "url": request.url,
            "headers": {"Content-Type": "application/json"},
            **({"body": dict(request.body)} if request.body is not None else {}),
        }
        for number, request in enumerate(requests)
    ]
    answer = http.request(
        "POST", f"{root}/$batch", json={"requests": members}, headers={"Isolation": "snapshot"}, writes=books
    )
    found = answer.body.get("responses") if isinstance(answer.body, Mapping) else None
    answers = _answers(found, len(members), http)
    if answers is None:
        lost = "Business Central did not say what became of a batch."
        raise InDoubt(lost) if books else Unavailable(lost)
    return answers


def _answers(found: Any, asked: int, http: Http) -> list[Answer] | None:
    """Answers by the id of what they answer; None where one names no request, or the same as another."""
    places = {str(place): place for place in range(asked)}
    answers: list[Answer] = []
    if not isinstance(found, list):
        return None
    for one in found:
        if not isinstance(one, Mapping) or "status" not in one or str(one.get("id")) not in places:
            return None
        status, body = int(one["status"]), one.get("body")
        answers.append(Answer(places.pop(str(one["id"])), status, body if status < 300 else http.redact.parsed(body)))
    return answers
