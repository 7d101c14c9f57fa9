"""Routes: which target an entity's time and expenses of one source are owed to, from when to when, under which policy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from integrations.configuration.document import Document
from portal.importing import cells
from portal.importing.domains.columns import ALWAYS, first_day, last_day, pointer
from portal.importing.load import Load
from portal.importing.problems import Place
from portal.importing.tables import Column, Ranges, Row, Table
from portal.models import Connection, MasterChange
from portal.records import DocumentKind
from reconciliation.models import Route

KINDS = tuple(kind.value for kind in DocumentKind)


def table(policy: Callable[[Any], dict[str, Any]]) -> Table:
    """The table of routes as the document has it."""
    return Table(
        name="routes",
        noun="a route",
        model=Route,
        columns=(
            pointer("entity", "entities", "code of the entity", required=True),
            pointer("source", "connections", "code of the connection it comes from", required=True),
            pointer("target", "connections", "code of the connection it goes to", required=True),
            Column(name="kind", sets="kind", parse=cells.choice(KINDS), required=True, help="time or expense"),
            first_day(required=False, empty=ALWAYS),
            last_day(),
            Column(name="policy", sets="policy", parse=policy, empty={}, help="a policy or the name of one"),
        ),
        key=("source", "kind", "valid_from"),
        lookup=("source__code", "kind", "valid_from"),
        ranges=(Ranges(("source_id", "kind"), "a source has one route a day for each kind"),),
        check=_check,
        concerns=(MasterChange.Kind.ROUTE, "pk"),
    )


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


def _check(load: Load, rows: Sequence[Row]) -> None:
    """A route leads from a source that belongs to its entity to a target."""
    known: dict[int, tuple[bool, bool, int | None]] = {
        pk: (is_source, is_target, entity_id)
        for pk, is_source, is_target, entity_id in Connection.objects.values_list(
            "pk", "is_source", "is_target", "entity_id"
        )
    }
    for row in load.rows.get("connections", []):
        known.pop(row.pk, None)
        if row.is_bad:
            continue  # what is wrong with it was said at its own place
        is_source, is_target, entity_id = (
            row.will_be(name, Connection) for name in ("is_source", "is_target", "entity_id")
        )
        known[row.pk] = (bool(is_source), bool(is_target), entity_id)
    for row in rows:
        source, target = known.get(row.sets["source_id"]), known.get(row.sets["target_id"])
        is_source, _, owner = source or (True, False, row.sets["entity_id"])
        if not is_source:
            load.problem(
                row, "source", row.values["source"], 'is not a source; give the connection roles = ["source"].'
            )
        elif owner != row.sets["entity_id"]:
            message = "does not belong to this entity; a source brings the documents of one entity, its own."
            load.problem(row, "source", row.values["source"], message)
        if target is not None and not target[1]:
            load.problem(
                row, "target", row.values["target"], 'is not a target; give the connection roles = ["target"].'
            )
