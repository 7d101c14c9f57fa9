"""How much of what a system should know by key it does know, and what the rest is worth in open time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal

from portal import figures
from portal.models import Connection, Crosswalk
from reconciliation.sql import mappings as sql

_NOUNS = {
    "entity": ("entity", "entities"),
    "cost_centre": ("cost centre", "cost centres"),
    "customer": ("customer", "customers"),
    "project": ("project", "projects"),
    "task": ("task", "tasks"),
    "resource": ("person", "people"),
    "item": ("role", "roles"),
}


@dataclass(frozen=True, slots=True)
class Cover:
    """One kind of record in one system: how many have a key, how many do not, and what those hold up."""

    connection: Connection
    kind: str
    mapped: int
    unmapped: int
    theirs: int
    worth: tuple[tuple[str, Decimal], ...]  # (currency, amount), the largest first

    @property
    def percent(self) -> int:
        """The share that has a key, never 100 while one has none."""
        total = self.mapped + self.unmapped
        return 100 if not self.unmapped else min(99, self.mapped * 100 // total)

    @property
    def label(self) -> str:
        """The kind as people say it."""
        return str(Crosswalk.Kind(self.kind).label)

    @property
    def sentence(self) -> str:
        """As in `12 customers unmapped, worth 48,300.00 EUR of open time`."""
        if not self.unmapped:
            return "all mapped"
        noun = _NOUNS[self.kind][self.unmapped != 1]
        worth = " and ".join(f"{figures.amount(amount, currency)} {currency}" for currency, amount in self.worth[:3])
        return f"{self.unmapped:,} {noun} unmapped" + (f", worth {worth} of open time" if worth else "")


def coverage(entities: Collection[int], *, everywhere: bool = False) -> list[Cover]:
    """Every system and kind where these entities are served, the most valuable gap first; three statements.

    `everywhere` counts what belongs to no entity as well.
    """
    worth: dict[tuple[int, str], list[tuple[str, Decimal]]] = defaultdict(list)
    for connection_id, kind, currency, amount in sql.worth_of_unmapped(entities):
        worth[connection_id, kind].append((currency, amount))
    found = sql.coverage(entities, everywhere)
    connections = Connection.objects.in_bulk({row[0] for row in found})
    covers = [
        Cover(connections[connection_id], kind, mapped, unmapped, theirs, tuple(worth[connection_id, kind]))
        for connection_id, kind, mapped, unmapped, theirs in found
    ]
    return sorted(
        covers,
        key=lambda one: (
            -max((a for _, a in one.worth), default=Decimal(0)),
            -one.unmapped,
            one.connection.name,
            one.kind,
        ),
    )
