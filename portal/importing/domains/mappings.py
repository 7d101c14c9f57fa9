"""How other systems name our records: their own keys (crosswalks), and codes that stand for a record (aliases)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from portal.importing import cells
from portal.importing.domains.columns import ALWAYS, first_day, flag, last_day, pointer
from portal.importing.load import Load
from portal.importing.tables import Column, Key, Ranges, Row, Table
from portal.models import Alias, Crosswalk, MasterChange

Kind = MasterChange.Kind
_TABLES = {
    "entity": "entities",
    "cost_centre": "cost_centres",
    "customer": "customers",
    "project": "projects",
    "task": "tasks",
    "resource": "resources",
    "item": "roles",
}
_WITHIN = {"cost_centre", "task"}


def _record(column: str) -> Any:
    """A reference whose table the row's kind decides; cost centres and tasks are named within something."""

    def reference(values: Mapping[str, Any]) -> tuple[str, Key]:
        kind = values.get("kind")
        if kind in _WITHIN:
            return _TABLES[kind], (values.get("within"), values[column])
        return _TABLES.get(str(kind), "entities"), (values[column],)

    return reference


_KIND = Column(
    name="kind",
    sets="kind",
    parse=cells.choice(_TABLES),
    required=True,
    help="entity, cost_centre, customer, project, task, resource, or item (the service item of a role)",
)
_WITHIN_COLUMN = Column(
    name="within",
    parse=cells.code,
    help="for a cost_centre the code of its entity, for a task the code of its project; else empty",
)


def _system(load: Load, row: Row) -> None:
    """A row names its system by a connection, or by system and realm."""
    code = row.values.get("connection")
    if code is None:
        if not row.values.get("system") and not row.is_bad:
            load.problem(row, "system", "", "is empty, as is connection; a crosswalk needs one of them.")
        return
    known = load.connections.get(code)
    if known is None:
        return  # noted as an unknown connection when references are resolved
    for column, value in zip(("system", "realm"), known, strict=True):
        given = row.values.get(column)
        if given and given != value:
            load.problem(row, column, given, f"is not that of the connection {code} ({value}); leave it empty.")
        row.values[column] = row.sets[column] = value


CROSSWALKS = Table(
    name="crosswalks",
    noun="a crosswalk",
    model=Crosswalk,
    help="A system's own key for one of our records. The same key may mean another record only at another time.",
    columns=(
        Column(
            name="connection",
            parse=cells.code,
            refers=lambda values: ("connections", (values["connection"],)),
            help="code of a connection, whose connector and realm are taken; or give system and realm",
        ),
        Column(name="system", sets="system", parse=cells.code, empty="", help="name of the connector, as netsuite"),
        Column(name="realm", sets="realm", parse=cells.code, empty="", help="the vendor's account id"),
        _KIND,
        Column(name="external_id", sets="external_id", parse=cells.code, required=True, help="the system's own key"),
        _WITHIN_COLUMN,
        Column(
            name="code",
            sets="internal_id",
            parse=cells.code,
            required=True,
            refers=_record("code"),
            help="code of our record",
        ),
        flag("allows_many", "whether several keys may mean this record; false where empty", empty=False),
        first_day(required=False, empty=ALWAYS),
        last_day(),
    ),
    key=("system", "realm", "kind", "external_id", "valid_from"),
    lookup=("system", "realm", "kind", "external_id", "valid_from"),
    ranges=(
        Ranges(("system", "realm", "kind", "external_id"), "a key of a system means one record a day"),
        Ranges(
            ("system", "realm", "kind", "internal_id"),
            "a record has one key in a system a day, unless allows_many says otherwise",
            unless="allows_many",
        ),
    ),
    prepare=_system,
    concerns=(Kind.CROSSWALK, "pk"),
)

ALIASES = Table(
    name="aliases",
    noun="an alias",
    model=Alias,
    help="A mistyped or foreign code that stands for one of our records.",
    columns=(
        pointer("connection", "connections", "code of the connection where it is used; everywhere where empty"),
        _KIND,
        Column(name="alias", sets="code", parse=cells.code, required=True, help="the code as the source writes it"),
        _WITHIN_COLUMN,
        Column(
            name="code",
            sets="internal_id",
            parse=cells.code,
            required=True,
            refers=_record("code"),
            help="code of our record",
        ),
        first_day(required=False, empty=ALWAYS),
        last_day(),
        Column(name="reason", sets="reason", parse=cells.text, empty="", help="why it stands for it"),
    ),
    key=("connection", "kind", "alias", "valid_from"),
    lookup=("connection__code", "kind", "code", "valid_from"),
    ranges=(Ranges(("connection_id", "kind", "code"), "an alias means one record a day"),),
    concerns=(Kind.ALIAS, "pk"),
)
