"""What can be governed by change sets: every kind of record, which entities one touches, how it ends, who decides.

The rule here: `KINDS` is the whole list, in the order in which one needs the other. Fields, and how they are read, are those of
the import tables, so that a file, a form and a change set speak alike.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from django.db import models

from portal import access
from portal.importing.domains import (
    KNOWN,
    currencies,
    customers,
    groups,
    mappings,
    people,
    projects,
    rates,
)  # fmt: skip
from portal.importing.tables import Column, Table
from portal.models import Alias, CostCentre, Crosswalk, Customer, GrantRole, Project, Resource, Task
from reconciliation.changes import tables
from reconciliation.sql import changes as changes_sql

EVERY: int | None = None  # stands for all entities: a record that belongs to none is shared
ADMINS = frozenset({GrantRole.ADMIN})
HIGHER = ("integrations",)  # by name only
Touched = dict[int, set[int | None]]  # record to the entities that it touches

Entities = Callable[[Collection[int]], Touched]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of record. `ends` is the column that an end sets, empty where a record is not ended but removed or kept.

    `entities` are those that a change of one touches, `seen_in` those whose people see it. `since` and `until` are the columns
    between which a record holds, empty for one that always does.
    """

    code: str
    label: str
    table: Table
    entities: Entities
    seen_in: Entities
    ends: str = ""
    is_removable: bool = False
    since: str = ""
    until: str = ""
    proposers: frozenset[str] = access.OPERATORS
    approvers: frozenset[str] = access.CONFIGURERS

    @property
    def is_switched_off(self) -> bool:
        """Whether it ends by being used no more, and not on a day."""
        return self.ends in ("is_active", "active")

    @property
    def model(self) -> type[models.Model]:
        """Whose rows these are."""
        return self.table.model

    @property
    def columns(self) -> tuple[Column, ...]:
        """The fields that a line may name."""
        return self.table.columns


def _over(model: type[models.Model], *paths: str) -> Entities:
    """The entities that a record reaches over these paths of its model; a record that reaches none is shared."""

    def entities(ids: Collection[int]) -> Touched:
        found: Touched = {pk: set() for pk in ids}
        for pk, *reached in model._base_manager.filter(pk__in=ids).values_list("pk", *paths):
            found[pk].update(entity for entity in reached if entity is not None)
        return {pk: reached or {EVERY} for pk, reached in found.items()}

    return entities


_NAMED: Mapping[str, Entities] = {
    Crosswalk.Kind.ENTITY: lambda ids: {pk: {pk} for pk in ids},
    Crosswalk.Kind.COST_CENTRE: _over(CostCentre, "entity_id"),
    Crosswalk.Kind.CUSTOMER: _over(Customer, "entity_id"),
    Crosswalk.Kind.PROJECT: _over(Project, "entity_id"),
    Crosswalk.Kind.TASK: _over(Task, "project__entity_id"),
    Crosswalk.Kind.RESOURCE: _over(Resource, "engagements__entity_id"),
    Crosswalk.Kind.ITEM: lambda ids: {pk: {EVERY} for pk in ids},
}  # the entities of the record that a crosswalk or an alias names


def _named(model: type[models.Model], *more: str) -> Entities:
    """The entities of the record that each row names, and those over further paths, of which an empty one means all."""

    def entities(ids: Collection[int]) -> Touched:
        rows = list(model._base_manager.filter(pk__in=ids).values_list("pk", "kind", "internal_id", *more))
        by_kind: dict[str, set[int]] = defaultdict(set)
        for _, kind, internal_id, *_ in rows:
            by_kind[kind].add(internal_id)
        reached = {kind: _NAMED[kind](named) for kind, named in by_kind.items()}
        return {pk: {*reached[kind].get(internal_id, {EVERY}), *owners} for pk, kind, internal_id, *owners in rows}

    return entities


_KEYS = _named(Crosswalk)


def _ruled_by_keys(ids: Collection[int]) -> Touched:
    """The entities of the records that keys mean, and those in whose accounts the keys are: whose words they rule."""
    touched = _KEYS(ids)
    for pk, entity_id in changes_sql.whose_keys(ids):
        touched[pk].add(entity_id)
    return touched


def _grants(ids: Collection[int]) -> Touched:
    model = tables.GRANTS.model
    return {pk: {entity} for pk, entity in model._base_manager.filter(pk__in=ids).values_list("pk", "entity_id")}


def _kind(code: str, label: str, table: Table, *paths: str, **more: Any) -> Kind:
    entities = more.pop("entities", None) or _over(table.model, *paths)
    more.setdefault("seen_in", entities)
    if "valid_to" in {column.name for column in table.columns}:
        more = {"ends": "valid_to", "since": "valid_from", "until": "valid_to", **more}
    return Kind(code=code, label=label, table=table, entities=entities, **more)


def _of_higher_apps() -> Iterator[Kind]:
    """What the higher apps have governed, as they name it in `GOVERNED` of their `governed` module."""
    for app in HIGHER:
        for code, label, table, entities, ends in import_module(f"{app}.governed").GOVERNED:
            yield _kind(code, label, table, entities=entities, ends=ends, proposers=access.CONFIGURERS)


ROUTES = tables.routes()

KINDS: tuple[Kind, ...] = (
    _kind("entity", "Legal entity", tables.entities(), "pk"),
    _kind("period", "Accounting period", groups.PERIODS, "entity_id", since="starts_on", until="ends_on"),
    *_of_higher_apps(),
    _kind("cost_centre", "Cost centre", groups.COST_CENTRES, "entity_id"),
    _kind("customer", "Customer", customers.CUSTOMERS, "entity_id", ends="active_to"),
    _kind("contract", "Contract", customers.CONTRACTS, "entity_id", ends="ends_on"),
    _kind("purchase_order", "Purchase order", customers.PURCHASE_ORDERS, "contract__entity_id"),
    _kind("role", "Role", people.ROLES, is_removable=True),
    _kind("resource", "Person", people.RESOURCES, "engagements__entity_id"),
    _kind("engagement", "Engagement", people.ENGAGEMENTS, "entity_id"),
    _kind("project", "Project", projects.PROJECTS, "entity_id"),
    _kind("project_status", "Project status", projects.PROJECT_STATUSES, "project__entity_id"),
    _kind("approval_step", "Approval step", projects.APPROVAL_STEPS, "project__entity_id", is_removable=True),
    _kind("assignment", "Assignment", projects.ASSIGNMENTS, "project__entity_id"),
    _kind("task", "Task", projects.TASKS, "project__entity_id", ends="is_active"),
    _kind("milestone", "Milestone", projects.MILESTONES, "project__entity_id"),
    _kind(
        "rate_card", "Rate card", rates.RATE_CARDS, "entity_id", "customer__entity_id", "contract__entity_id",
    ),
    _kind(
        "rate", "Rate", rates.RATES, "card__entity_id", "card__customer__entity_id", "card__contract__entity_id",
    ),
    _kind("exchange_rate", "Exchange rate", currencies.EXCHANGE_RATES),
    _kind("intercompany", "Intercompany relation", groups.INTERCOMPANY, "provider_id", "receiver_id"),
    _kind("crosswalk", "Crosswalk", mappings.CROSSWALKS, entities=_ruled_by_keys, seen_in=_KEYS),
    _kind("alias", "Alias", mappings.ALIASES, entities=_named(Alias, "connection__entity_id"), seen_in=_named(Alias)),
    _kind("route", "Route", ROUTES, "entity_id"),
    _kind("grant", "Grant", tables.GRANTS, entities=_grants, proposers=ADMINS, approvers=ADMINS),
)  # fmt: skip
BY_CODE: Mapping[str, Kind] = {kind.code: kind for kind in KINDS}
BY_TABLE: Mapping[str, Kind] = {kind.table.name: kind for kind in KINDS}
POINTED_AT: tuple[Table, ...] = KNOWN
