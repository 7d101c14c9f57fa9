"""Tables of what is governed and not imported: entities with calendar and policy, routes, grants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from portal.importing import cells
from portal.importing.domains import ENTITIES
from portal.importing.domains.columns import ALWAYS, first_day, last_day, pointer
from portal.importing.domains.groups import CALENDAR
from portal.importing.load import Load
from portal.importing.problems import Unreadable
from portal.importing.tables import Column, Ranges, Row, Table
from portal.models import Connection, EntityGrant, GrantRole, MasterChange
from portal.models.documents import INVOICE
from portal.records import DocumentKind
from reconciliation import policies
from reconciliation.models import Route
from reconciliation.rules import BY_CODE, STANDING

Read = Callable[[Any], dict[str, Any]]

_DOCUMENTS = (*(kind.value for kind in DocumentKind), INVOICE)


def policy(value: Any) -> dict[str, Any]:
    """A policy as it is stored, from a table or from JSON text. Raises Unreadable naming every setting that will not do."""
    settings = dict(cells.table(value))
    wrong = policies.problems(settings, standing=STANDING)
    switched_off = settings.get("rules_off", [])
    if isinstance(switched_off, list):
        rules = ", ".join(sorted(BY_CODE))
        unknown = [str(code) for code in switched_off if not isinstance(code, str) or code not in BY_CODE]
        wrong += [f"Rule “{code}” of rules_off is not known; the rules are {rules}." for code in unknown]
    if wrong:
        raise Unreadable(f"will not do: {' '.join(wrong)}")
    return settings


def entities(read: Read = policy) -> Table:
    """The table of entities with calendar and policy; `read` takes a policy."""
    settings = Column(name="policy", sets="policy", parse=read, empty={}, help="a policy or the name of one")
    return replace(ENTITIES, columns=(*ENTITIES.columns, CALENDAR, settings))


def routes(read: Read = policy) -> Table:
    """The table of routes; `read` takes a policy."""
    return Table(
        help="Which target an entity's documents of one source are owed to, and which system bills them, from day to day.",
        name="routes",
        noun="a route",
        model=Route,
        columns=(
            pointer("entity", "entities", "code of the entity", required=True),
            pointer("source", "connections", "code of the connection it comes from", required=True),
            pointer("target", "connections", "code of the connection it goes to", required=True),
            Column(
                name="kind", sets="kind", parse=cells.choice(_DOCUMENTS), required=True, help="time, expense or invoice"
            ),
            first_day(required=False, empty=ALWAYS),
            last_day(),
            Column(name="policy", sets="policy", parse=read, empty={}, help="a policy or the name of one"),
        ),
        key=("source", "kind", "valid_from"),
        lookup=("source__code", "kind", "valid_from"),
        ranges=(Ranges(("source_id", "kind"), "a source has one route a day for each kind"),),
        check=_leads_somewhere,
        concerns=(MasterChange.Kind.ROUTE, "pk"),
    )


def _leads_somewhere(load: Load, rows: Sequence[Row]) -> None:
    """A route leads from a source that belongs to its entity to a target."""
    known: dict[int, tuple[bool, bool, bool, int | None]] = {
        pk: (is_source, is_target, is_biller, entity_id)
        for pk, is_source, is_target, is_biller, entity_id in Connection.objects.values_list(
            "pk", "is_source", "is_target", "is_biller", "entity_id"
        )
    }
    for row in load.rows.get("connections", []):
        known.pop(row.pk, None)
        if row.is_bad:
            continue  # what is wrong with it was said at its own place
        is_source, is_target, is_biller, entity_id = (
            row.will_be(name, Connection) for name in ("is_source", "is_target", "is_biller", "entity_id")
        )
        known[row.pk] = (bool(is_source), bool(is_target), bool(is_biller), entity_id)
    for row in rows:
        source, target = known.get(row.sets["source_id"]), known.get(row.sets["target_id"])
        is_source, _, _, owner = source or (True, False, False, row.sets["entity_id"])
        if not is_source:
            load.problem(
                row, "source", row.values["source"], 'is not a source; give the connection roles = ["source"].'
            )
        elif owner != row.sets["entity_id"]:
            message = "does not belong to this entity; a source brings the documents of one entity, its own."
            load.problem(row, "source", row.values["source"], message)
        if target is not None and row.sets["kind"] == INVOICE:
            if not target[2]:
                message = 'takes no invoice drafts; give the connection roles = ["biller"].'
                load.problem(row, "target", row.values["target"], message)
        elif target is not None and not target[1]:
            load.problem(
                row, "target", row.values["target"], 'is not a target; give the connection roles = ["target"].'
            )
        if target is not None and target[3] not in (None, row.sets["entity_id"]):
            message = "belongs to another entity; a target takes what its own entity owes, or it is shared by all."
            load.problem(row, "target", row.values["target"], message)


GRANTS = Table(
    name="grants",
    noun="a grant",
    model=EntityGrant,
    help="What a person may do in an entity, from one day to another.",
    columns=tuple(
        replace(column, is_guarded=True)
        for column in (
            pointer("user", "users", "user name of the person", required=True),
            pointer("entity", "entities", "code of the entity; every entity where empty"),
            Column(
                name="role",
                sets="role",
                parse=cells.choice(GrantRole.values),
                required=True,
                help=", ".join(GrantRole.values),
            ),
            first_day(),
            last_day(),
        )
    ),
    key=("user", "entity", "role"),
    lookup=("user__username", "entity__code", "role"),
    ranges=(Ranges((), "", "valid_from", "valid_to"),),
)
