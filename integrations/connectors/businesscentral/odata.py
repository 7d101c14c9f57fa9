"""Reading and writing by OData: pages by the server's own links, and several requests in one call.

Microsoft: a page's `@odata.nextLink` is followed as it is given; a batch takes 100 requests. With snapshot isolation one that
fails rolls all back, those that were answered 201 included, so a batch is taken as done only where every member was.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from integrations.errors import InDoubt, Unavailable
from integrations.http import Http, Response

BATCH = 100

Row = Mapping[str, Any]


class Request(NamedTuple):
    """One member of a batch; `url` is below the API's root."""

    method: str
    url: str
    body: Mapping[str, Any] | None = None


class Answer(NamedTuple):
    """What one member was answered."""

    status: int
    body: Any


def pages(http: Http, path: str, params: Mapping[str, Any], size: int) -> Iterator[tuple[list[Row], Response, bool]]:
    """The pages of a set: their rows, the answer, and whether there are more. Raises Unavailable for one that never ends."""
    seen: set[str] = set()
    link, query = path, dict(params)
    while True:
        answer = http.request("GET", link, params=query or None, headers={"Prefer": f"odata.maxpagesize={size}"})
        rows = answer.body.get("value") if isinstance(answer.body, Mapping) else None
        if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
            raise Unavailable(f"Business Central answered something that is not a list to {path}.")
        following = str(answer.body.get("@odata.nextLink") or "")
        yield rows, answer, bool(following)
        if not following:
            return
        if following in seen:
            raise Unavailable(f"Business Central shows the same page of {path} again and never ends.")
        seen.add(following)
        link, query = following, {}


def rows(http: Http, path: str, params: Mapping[str, Any], size: int) -> Iterator[Row]:
    """Every row of a set."""
    for page, _, _ in pages(http, path, params, size):
        yield from page


def batch(http: Http, root: str, requests: Sequence[Request], *, books: bool = True) -> list[Answer]:
    """Carry out all of some requests or none; the answers by their place, fewer than asked where an early one failed.

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
    if not isinstance(found, list) or not all(isinstance(one, Mapping) and "status" in one for one in found):
        lost = "Business Central did not say what became of a batch."
        raise InDoubt(lost) if books else Unavailable(lost)
    return [Answer(int(one["status"]), one.get("body")) for one in found]


def quoted(text: str) -> str:
    """A text as a filter writes it."""
    return "'" + text.replace("'", "''") + "'"


def any_of(name: str, values: Sequence[str]) -> str:
    """A filter for one field with one of some values, which is the only way of `or` that is taken."""
    return " or ".join(f"{name} eq {quoted(value)}" for value in values)
