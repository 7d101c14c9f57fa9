"""Routes: which target an entity's time and expenses of one source are owed to, from when to when, under which policy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from integrations.configuration.document import Document
from portal.importing.load import Load
from portal.importing.problems import Place


def add(document: Document, load: Load) -> None:
    """Put the routes of the document into the load, one for each of their kinds."""
    rows: list[tuple[Place, Mapping[str, Any]]] = []
    for place, row in document.rows("routes", {*(column.name for column in load.tables["routes"].columns), "kinds"}):
        if "kinds" not in row:
            rows.append((place, row))
            continue
        rest = {key: value for key, value in row.items() if key != "kinds"}
        if "kind" in row or not isinstance(row["kinds"], list) or not row["kinds"]:
            document.problem(place.at("kinds"), "", 'is not a list such as ["time", "expense"], in place of kind.')
            continue
        rows += [(place, {**rest, "kind": kind}) for kind in row["kinds"]]
    load.add("routes", rows)
