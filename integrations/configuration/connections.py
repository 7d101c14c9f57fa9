"""Connections: which account at which vendor, where it answers, where its credentials lie, what of it is read and when.

The rule here: a connection is checked against what its connector declares, so that a mistake is found here and not at night.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from integrations import registry
from integrations.configuration import declared
from integrations.configuration.document import Document, TomlPlace, plain
from integrations.models import Stream
from portal import sql
from portal.importing import cells
from portal.importing.domains.columns import pointer
from portal.importing.load import Load
from portal.importing.problems import Place, Unreadable
from portal.importing.tables import Column, Row, Table, to
from portal.models import Connection, MasterChange

EVERY_SECONDS = 900
_CODE = re.compile(r"[A-Za-z0-9_-]+")
_NESTED = {"streams", "maintenance"}
ROLES = ("source", "target", "recipient", "biller")


def _code(value: Any) -> str:
    if not isinstance(value, str) or not _CODE.fullmatch(value):
        raise Unreadable("is not a code; expected letters, digits, hyphens and underscores, as harvest-us.")
    return value


def _roles(value: Any) -> list[str]:
    if not isinstance(value, list) or not value or set(value) - set(ROLES):
        raise Unreadable('is not a list of roles; expected some of ["source", "target", "recipient", "biller"].')
    return [str(role) for role in value]


def _table(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise Unreadable("is not a table.")
    table: dict[str, Any] = plain(value)
    return table


def _give_roles(load: Load, row: Row) -> None:
    if row.has("roles"):
        row.sets |= {f"is_{role}": role in row.values["roles"] for role in ROLES}


TABLE = Table(
    name="connections",
    noun="a connection",
    model=Connection,
    columns=(
        Column(name="code", sets="code", parse=_code, required=True, help="short code, as harvest-us"),
        Column(name="name", sets="name", parse=cells.text, required=True, help="what people call it"),
        Column(
            name="connector",
            sets="connector",
            parse=cells.choice(sorted(registry.CONNECTORS)),
            required=True,
            help=f"one of {', '.join(sorted(registry.CONNECTORS))}",
        ),
        pointer("entity", "entities", "code of the entity whose documents it brings; shared where left out"),
        Column(name="roles", parse=_roles, required=True, help="source, target, recipient, biller or several of them"),
        Column(
            name="base_url", sets="base_url", parse=cells.code, empty="", help="where the vendor answers, or a folder"
        ),
        Column(name="realm", sets="realm", parse=cells.code, empty="", help="the vendor's account id"),
        Column(name="zone", sets="zone", parse=cells.zone, empty="UTC", help="IANA time zone of the account"),
        Column(name="settings", sets="settings", parse=_table, empty={}, help="what the connector declares"),
        Column(
            name="credentials",
            sets="credentials",
            parse=_table,
            empty={},
            help="where each secret lies",
            is_hidden=True,
        ),
        Column(
            name="concurrency", sets="concurrency", parse=cells.whole(least=1, most=100), empty=1, help="calls at once"
        ),
        Column(name="cut_over_on", sets="cut_over_on", parse=cells.day, help="documents before it are not posted"),
        Column(name="active", sets="is_active", parse=cells.flag, empty=True, help="whether it is used"),
    ),
    prepare=_give_roles,
    check=declared.check,
    concerns=(MasterChange.Kind.CONNECTION, "pk"),
)


def make_due(load: Load, rows: Sequence[Row]) -> None:
    """A new stream, or one whose schedule changed, is due at once; one that is read by hand never by itself."""
    for row in rows:
        every = row.will_be("every_seconds", Stream)
        if row.standing is None or vars(row.standing)["every_seconds"] != every:
            row.sets["next_due_at"] = sql.now() if every else None


STREAMS = Table(
    name="streams",
    noun="a stream",
    model=Stream,
    columns=(
        Column(
            name="connection",
            sets="connection_id",
            parse=cells.code,
            required=True,
            refers=to("connections", "connection"),
            help="code of its connection",
        ),
        Column(name="name", sets="name", parse=cells.code, required=True, help="one of the connector's streams"),
        Column(
            name="every_seconds",
            sets="every_seconds",
            parse=cells.whole(least=0, most=7 * 24 * 3600),
            empty=EVERY_SECONDS,
            help="how often it is read; 0 only by hand or by webhook",
        ),
    ),
    key=("connection", "name"),
    lookup=("connection__code", "name"),
    check=make_due,
)


def add(document: Document, load: Load) -> None:
    """Put the connections of the document and their streams into the load."""
    known = {column.name for column in TABLE.columns} | _NESTED
    rows: list[tuple[Place, Mapping[str, Any]]] = []
    streams: list[tuple[Place, Mapping[str, Any]]] = []
    for place, row in document.rows("connections", known):
        rows.append((place, {key: value for key, value in row.items() if key not in _NESTED}))
        if isinstance(row.get("code"), str):
            streams += _streams(document, place, row)
    load.add("connections", rows)
    load.add("streams", streams)


def _streams(document: Document, place: TomlPlace, row: Mapping[str, Any]) -> list[tuple[Place, Mapping[str, Any]]]:
    """The streams that are listed; where none are, all that the connector has, read every quarter of an hour."""
    offered = _offered(row)
    if "streams" not in row:
        roles = row.get("roles")
        names = offered if isinstance(roles, list) and "source" in roles else ()
        standing = set(Stream.objects.filter(connection__code=str(row.get("code"))).values_list("name", flat=True))
        return [
            (TomlPlace(f"{place.path}.streams[{name}]"), {"connection": row.get("code"), "name": name})
            for name in names
            if name not in standing
        ]
    found: list[tuple[Place, Mapping[str, Any]]] = []
    for at, stream in document.tables(row["streams"], place.at("streams"), {"name", "every_seconds"}, "name"):
        if offered and stream.get("name") not in offered:
            message = f"is not a stream of {row['connector']}; it has {', '.join(offered)}."
            document.problem(at.at("name"), stream.get("name", ""), message)
        found.append((at, {"connection": row.get("code"), **stream}))
    return found


def _offered(row: Mapping[str, Any]) -> tuple[str, ...]:
    connector = row.get("connector")
    if not isinstance(connector, str) or connector not in registry.CONNECTORS:
        return ()
    return tuple(getattr(registry.connector_type(connector), "streams", ()))
