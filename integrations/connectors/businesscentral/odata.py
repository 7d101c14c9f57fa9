"""Reading Business Central's sets, and several requests in one call.

Microsoft: a batch takes 100 requests. With snapshot isolation one that
fails rolls all back, those that were answered 201 included, so a batch is taken as done only where every member was.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from integrations.errors import InDoubt, Unavailable
from integrations.http import Http, Response, odata
from integrations.http.odata import Row, any_of, quoted

__all__ = ["BATCH", "VENDOR", "Answer", "Request", "Row", "any_of", "batch", "pages", "quoted", "rows"]

VENDOR = "Business Central"
BATCH = 100


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
    """The pages of a set, as `integrations.http.odata` reads them."""
    return odata.pages(http, path, params, size, vendor=VENDOR)


def rows(http: Http, path: str, params: Mapping[str, Any], size: int) -> Iterator[Row]:
    """Every row of a set."""
    return odata.rows(http, path, params, size, vendor=VENDOR)


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
