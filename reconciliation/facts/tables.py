"""The facts of one batch: dictionaries by key, ranges of days in lists. Loaded by `facts.load`, read by pricing and the rules."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

import msgspec

from reconciliation.facts.records import (
    Contract,
    CostCentre,
    Customer,
    Engagement,
    Entity,
    Other,
    Period,
    Project,
    PurchaseOrder,
    RateCard,
    Relation,
    Resource,
    Role,
    Standing,
    Task,
    span_holds,
)

_decode = msgspec.json.Decoder(float_hook=Decimal).decode
Ranges = list[tuple[date, date, int]]
RateKey = tuple[int | None, int | None, int | None]  # person, role, task


@dataclass(slots=True)
class Names:
    """What one source calls our records: its own keys by kind, and aliases by kind and spelling, its own before general ones."""

    keys: dict[str, dict[str, Ranges]] = field(default_factory=lambda: defaultdict(dict))
    aliases: dict[tuple[str, str], list[tuple[date, date, int, int]]] = field(default_factory=dict)


@dataclass(slots=True)
class Book:
    """What one target calls our records, by kind and internal id, and of which kinds it has any key."""

    keys: dict[str, dict[int, list[tuple[date, date, str]]]] = field(default_factory=lambda: defaultdict(dict))
    kept: set[str] = field(default_factory=set)

    def key(self, kind: str, internal_id: int, day: date) -> str:
        """The target's key for one of our records on a day; empty when it has none."""
        for start, end, external_id in self.keys[kind].get(internal_id, ()):
            if start <= day <= end:
                return external_id
        return ""


@dataclass(slots=True)
class Facts:
    """Everything that the rules may look at for one batch."""

    now: Any
    entities: dict[int, Entity] = field(default_factory=dict)
    names: dict[int, Names] = field(default_factory=dict)
    books: dict[int, Book] = field(default_factory=dict)
    projects: dict[int, Project] = field(default_factory=dict)
    project_by_code: dict[str, Project] = field(default_factory=dict)
    statuses: dict[int, list[tuple[date, date, str]]] = field(default_factory=dict)
    tasks: dict[int, list[Task]] = field(default_factory=dict)
    approvers: dict[int, list[tuple[int, str]]] = field(default_factory=dict)
    customers: dict[int, Customer] = field(default_factory=dict)
    contracts: dict[int, Contract] = field(default_factory=dict)
    purchase_orders: dict[int, list[PurchaseOrder]] = field(default_factory=dict)
    resources: dict[int, Resource] = field(default_factory=dict)
    resource_by_code: dict[str, Resource] = field(default_factory=dict)
    resource_by_email: dict[str, Resource] = field(default_factory=dict)
    engagements: dict[int, list[Engagement]] = field(default_factory=dict)
    roles: dict[int, Role] = field(default_factory=dict)
    cost_centres: dict[int, CostCentre] = field(default_factory=dict)
    cost_centre_by_code: dict[tuple[int, str], CostCentre] = field(default_factory=dict)
    keep_cost_centres: set[int] = field(default_factory=set)
    periods: dict[int, list[Period]] = field(default_factory=dict)
    intercompany: dict[tuple[int, int], list[Relation]] = field(default_factory=dict)
    cards: dict[tuple[str, int], list[RateCard]] = field(default_factory=dict)
    rates: dict[int, dict[RateKey, list[list[Any]]]] = field(
        default_factory=dict
    )  # by card, then by what a rate hangs on
    others: dict[tuple[int, date], list[Other]] = field(default_factory=dict)
    standing: dict[int, list[Standing]] = field(default_factory=dict)
    waivers: set[tuple[int, int, int, str]] = field(default_factory=set)
    left_of_contract: dict[int, Decimal] = field(default_factory=dict)
    left_of_purchase_order: dict[int, Decimal] = field(default_factory=dict)
    left_of_retainer: dict[tuple[int, date], Decimal] = field(default_factory=dict)  # hours, by contract and month
    plans: dict[tuple[int, str], list[tuple[str, str, str]]] = field(
        default_factory=dict
    )  # keys by route: rules.targets
    _period_on: dict[tuple[int, date], Period | None] = field(default_factory=dict)

    def status_on(self, project_id: int, day: date) -> tuple[date, date, str] | None:
        """The project's dated status that holds on a day."""
        for status in self.statuses.get(project_id, ()):
            if status[0] <= day <= status[1]:
                return status
        return None

    def engagement_on(self, resource_id: int, day: date) -> Engagement | None:
        """For whom a person works on a day."""
        for engagement in self.engagements.get(resource_id, ()):
            if engagement.valid_from <= day <= engagement.valid_to:
                return engagement
        return None

    def purchase_order_on(self, contract_id: int, day: date) -> PurchaseOrder | None:
        """The purchase order under a contract that holds on a day."""
        return next((order for order in self.purchase_orders.get(contract_id, ()) if span_holds(order, day)), None)

    def period_on(self, entity_id: int, day: date) -> Period | None:
        """The accounting period of an entity that a day falls into."""
        wanted = (entity_id, day)
        if wanted not in self._period_on:
            self._period_on[wanted] = next(
                (p for p in self.periods.get(entity_id, ()) if p.starts_on <= day <= p.ends_on), None
            )
        return self._period_on[wanted]

    def next_open_period(self, entity_id: int, day: date) -> Period | None:
        """The first open period of an entity that begins after a day."""
        return next((p for p in self.periods.get(entity_id, ()) if p.starts_on > day and p.state == "open"), None)

    def survivor(self, customer: Customer) -> Customer:
        """The customer that this one was merged into at last; itself when it was not merged."""
        seen = set()
        while customer.merged_into_id and customer.id not in seen:
            seen.add(customer.id)
            customer = self.customers.get(customer.merged_into_id, customer)
        return customer

    def relation_on(self, provider_id: int, receiver_id: int, day: date) -> Relation | None:
        """Under what people of one entity work on projects of another on a day; None where they may not."""
        known = self.intercompany.get((provider_id, receiver_id), ())
        return next((one for one in known if one.valid_from <= day <= one.valid_to), None)

    def card_on(self, scope: str, scope_id: int, day: date) -> RateCard | None:
        """The rate card of a scope that holds on a day."""
        for card in self.cards.get((scope, scope_id), ()):
            if card.valid_from <= day <= card.valid_to:
                return card
        return None


def by_first(rows: Sequence[tuple[Any, ...]], make: Any = None) -> dict[Any, list[Any]]:
    """Rows grouped by their first column; the rest of each row, or what `make` builds from the whole row."""
    grouped: dict[Any, list[Any]] = {}
    for row in rows:
        grouped.setdefault(row[0], []).append(make(*row) if make else row[1:])
    return grouped


def by_id(rows: Sequence[tuple[Any, ...]], make: Any) -> dict[int, Any]:
    """Records by their id."""
    return {row[0]: make(*row) for row in rows}


def as_mapping(value: Any) -> Mapping[str, Any]:
    """A jsonb column as a mapping, whichever way the driver hands it over."""
    if isinstance(value, str):
        value = _decode(value) if value != "{}" else {}
    return value or {}
