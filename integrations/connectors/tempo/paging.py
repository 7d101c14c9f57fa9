"""Tempo's two ways of paging, each followed to its end.

By offset, rows move while people log time: one that is new pushes others down, so a row may come twice; one that is deleted
pulls them up, so a row could be skipped. Each page therefore starts with the last row of the one before, and where it does not,
the list is read again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from integrations.errors import Unavailable
from integrations.http import Http

LIMIT, TRAIL_LIMIT = 5000, 100  # rows in a page, as documented
TRIES = 3  # of a list whose rows move


def by_offset(http: Http, path: str, params: Mapping[str, Any], limit: int) -> list[Mapping[str, Any]]:
    """Every row of a list; rows may repeat. Raises Unavailable when it does not hold still."""
    for _ in range(TRIES):
        found = _at_one_go(http, path, params, limit)
        if found is not None:
            return found
    raise Unavailable(f"The rows of Tempo's {path} move faster than they can be read.")


def _at_one_go(http: Http, path: str, params: Mapping[str, Any], limit: int) -> list[Mapping[str, Any]] | None:
    rows: list[Mapping[str, Any]] = []
    offset = 0
    while True:
        body = http.request("GET", path, params={**params, "limit": limit, "offset": offset}).body
        page = _rows(body, path)
        if offset:
            if not page or _name(page[0]) != _name(rows[-1]):
                return None
            page = page[1:]
        rows += page
        link = (body.get("metadata") or {}).get("next")
        if not link:
            return rows
        following = int((parse_qs(urlsplit(str(link)).query).get("offset") or ["0"])[-1]) - 1
        if following <= offset:
            raise Unavailable(f"Tempo's {path} goes from offset {offset} to {following + 1} and never ends.")
        offset = following


def by_token(http: Http, path: str, body: Mapping[str, Any], limit: int) -> Iterator[Mapping[str, Any]]:
    """Every row of a search, which is posted and books nothing."""
    token, seen = "", set()
    while True:
        params: dict[str, Any] = {"limit": limit, **({"nextPageToken": token} if token else {})}
        answer = http.request("POST", path, params=params, json=dict(body), writes=False).body
        yield from _rows(answer, path)
        token = str((answer.get("metadata") or {}).get("nextPageToken") or "")
        if not token:
            return
        if token in seen:
            raise Unavailable(f"Tempo's {path} shows the page {token[:20]} again and never ends.")
        seen.add(token)


def _rows(body: Any, path: str) -> list[Mapping[str, Any]]:
    rows = body.get("results") if isinstance(body, Mapping) else None
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
        raise Unavailable(f"Tempo answered something that is not a list to {path}.")
    return rows


def _name(row: Mapping[str, Any]) -> Any:
    return row.get("tempoWorklogId") or row
