"""Stripe's lists, each followed to its end by the last row of the page before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from integrations.errors import Unavailable
from integrations.http import Http

Record = Mapping[str, Any]


def everything(http: Http, path: str, params: Mapping[str, Any], size: int = 100) -> Iterator[Record]:
    """Every row of a list, each once. Raises Unavailable for what is no list, and for one that never ends."""
    seen: set[str] = set()
    last = ""
    while True:
        query = {**params, "limit": size, **({"starting_after": last} if last else {})}
        body = http.request("GET", path, params=query).body
        rows = body.get("data") if isinstance(body, Mapping) and body.get("object") == "list" else None
        if not isinstance(rows, list) or not all(isinstance(row, Mapping) and row.get("id") for row in rows):
            raise Unavailable(f"Stripe answered something that is not a list to {path}.")
        fresh = [row for row in rows if row["id"] not in seen]
        for row in fresh:
            if row["id"] not in seen:
                seen.add(str(row["id"]))
                yield row
        if not body.get("has_more"):
            return
        if not fresh:
            raise Unavailable(f"Stripe's {path} shows the same page again and never ends.")
        last = str(rows[-1]["id"])
