"""What of the connections is changed by a change set, as a person's form or file would write it.

The rule here: a connection is checked against what its connector declares, by the same words whoever writes it. One that is
shared by all entities is changed only by those who may do so in each of them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db.models import Q
from django.utils import timezone

from integrations import registry
from integrations.configuration import declared
from integrations.configuration.connections import ROLES, STREAMS, TABLE, make_due
from integrations.filed import FILED
from integrations.models import Stream
from portal.importing import cells
from portal.importing.load import Load
from portal.importing.tables import Column, Row
from portal.models import Connection, LegalEntity
from reconciliation.models import Route

TAKEN = frozenset({"new"})  # parts of addresses
GUARDED = frozenset({"connector", "base_url", "realm", "credentials"})  # where secrets lie, and to whom they are sent
_OWN = (
    "SECRET_KEY",
    "DATABASE_URL",
    "REDIS_URL",
    "CACHE_URL",
    "EMAIL_URL",
    "EXPORTS_",
    "TIEOUT_",
)  # this installation's


def _give_roles(_load: Load, row: Row) -> None:
    row.values["roles"] = [role for role in ROLES if row.values.get(role)]


def _check(load: Load, rows: Sequence[Row]) -> None:
    for row in rows:
        if not row.values["roles"]:
            load.problem(
                row,
                "source",
                "",
                "brings nothing and takes nothing; it is a source, a target, a recipient, a biller or several.",
            )
        for name, place in dict(row.values.get("credentials") or {}).items():
            if (row.standing is None or vars(row.standing)["credentials"].get(name) != place) and (
                wrong := _not_ours(place)
            ):
                load.problem(row, f"credentials.{name}", "", wrong)
        if row.standing is not None and (wrong := _loses_seal(vars(row.standing), row)):
            load.problem(row, "code", row.values["code"], wrong)
        if row.values["code"] in TAKEN:
            load.problem(row, "code", row.values["code"], "is a word of this site; take another code.")
    _check_owners(load, [row for row in rows if row.standing is not None])
    declared.check(load, [row for row in rows if not row.is_bad])


def _loses_seal(stands: Mapping[str, Any], row: Row) -> str:
    """Why another code would lose a secret, in a sentence: what is kept here is sealed for the connection's code."""
    places = row.values.get("credentials") or stands["credentials"]
    kept = sorted(name for name, place in places.items() if "stored" in place)
    if row.values["code"] == stands["code"] or not kept:
        return ""
    return (
        f"cannot be: {' and '.join(kept)} is sealed for “{stands['code']}” and would not open; say first where it lies outside "
        "of here, or make a new connection."
    )


def _check_owners(load: Load, rows: Sequence[Row]) -> None:
    """A connection changes its entity only when no route of another one begins at it or leads to it."""
    routes = Route.objects.filter(Q(source__in=[row.pk for row in rows]) | Q(target__in=[row.pk for row in rows]))
    lasting = routes.filter(Q(valid_to=None) | Q(valid_to__gte=timezone.localdate())).select_related("entity")
    for row in rows:
        owner = row.will_be("entity_id", Connection)
        for route in lasting:
            begins = route.source_id == row.pk
            leads = route.target_id == row.pk and owner is not None
            if (begins or leads) and route.entity_id != owner:
                how = "begins at it" if begins else "leads to it"
                message = f"cannot be: a route of {route.entity.code} {how}; end the route first."
                load.problem(row, "entity", row.values.get("entity") or "", message)
                break


def _not_ours(place: Any) -> str:
    """Why a person may not name this place, in a sentence; who runs this machine may, in the configuration file."""
    if not isinstance(place, Mapping):
        return ""
    if any(str(place.get("env", "")).startswith(own) for own in _OWN):
        return "is a variable of this installation itself; expected one that was set for a connection."
    folders = [Path(folder) for folder in settings.CREDENTIAL_FOLDERS]
    if "file" in place and not any(Path(str(place["file"])).resolve().is_relative_to(folder) for folder in folders):
        return f"does not lie in a folder for credentials; expected {' or '.join(map(str, folders))}."
    return ""


def _column(column: Column) -> Sequence[Column]:
    if column.name == "roles":
        helps = {
            "source": "hours, expenses or master data come from it",
            "target": "hours and expenses are booked there",
            "recipient": "it is told master data and how bills stand",
            "biller": "invoice drafts are handed to it",
        }
        return [Column(name=role, sets=f"is_{role}", parse=cells.flag, empty=False, help=helps[role]) for role in ROLES]
    parse = cells.table if column.name in ("settings", "credentials") else column.parse
    return [replace(column, parse=parse, is_guarded=column.name in GUARDED)]


CONNECTIONS = replace(
    TABLE,
    help="An account at a vendor: where it answers, where its credentials lie, what it is used for.",
    columns=tuple(one for column in TABLE.columns for one in _column(column)),
    prepare=_give_roles,
    check=_check,
    filed=FILED,
)


def _offered(load: Load, rows: Sequence[Row]) -> None:
    """Only what the connector can read."""
    coming = {row.values.get("code"): row.values.get("connector") for row in load.rows.get("connections", [])}
    standing = dict(Connection.objects.values_list("code", "connector"))
    for row in rows:
        code = row.values["connection"]
        connector = coming.get(code) or standing.get(code, "")
        streams = (
            tuple(getattr(registry.connector_type(connector), "streams", ()))
            if connector in registry.CONNECTORS
            else ()
        )
        if row.values["name"] not in streams:
            known = ", ".join(streams) or "none"
            load.problem(row, "name", row.values["name"], f"is not a stream of {connector}; it has {known}.")
    make_due(load, [row for row in rows if not row.is_bad])


GOVERNED_STREAMS = replace(STREAMS, help="What of a connection is read, and how often.", check=_offered)


def _entities_of(ids: Collection[int]) -> dict[int, set[int | None]]:
    """The entity of each connection; a shared one is every entity's."""
    every = {None, *LegalEntity.objects.values_list("pk", flat=True)}
    found = Connection._base_manager.filter(pk__in=ids).values_list("pk", "entity_id")
    return {pk: {entity} if entity else every for pk, entity in found}


def _entities_of_streams(ids: Collection[int]) -> dict[int, set[int | None]]:
    owners = dict(Stream._base_manager.filter(pk__in=ids).values_list("pk", "connection_id"))
    reached = _entities_of(set(owners.values()))
    return {pk: reached[connection] for pk, connection in owners.items()}


GOVERNED = (
    ("connection", "Connection", CONNECTIONS, _entities_of, "active"),  # one in use is switched off, and stays
    ("stream", "Stream", GOVERNED_STREAMS, _entities_of_streams, ""),
)
