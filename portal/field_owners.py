"""Which system owns which field of master data.

The rule here: a connection's `owns` names kinds (`customer`) and fields (`customer.tax_number`). A field that is named belongs to
whoever names it; the rest of a kind belongs to whoever names the kind, and only such a system makes and ends records of it.
What a connection of one entity names, it owns in that entity.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from portal.models import Connection
from portal.records import MasterKind

FIELDS: dict[MasterKind, frozenset[str]] = {
    MasterKind.ENTITY: frozenset({"name", "zone"}),
    MasterKind.PERIOD: frozenset(),  # owned as a whole
    MasterKind.COST_CENTRE: frozenset({"name", "valid_from", "valid_to"}),
    MasterKind.CUSTOMER: frozenset(
        {"name", "entity", "parent", "currency", "tax_number", "tax_treatment", "active_from", "active_to", "merged_into"}
    ),
    MasterKind.PROJECT: frozenset(
        {"name", "customer", "entity", "status", "billing_model", "cost_centre", "requires_task"}
    ),
    MasterKind.TASK: frozenset({"name", "is_billable", "is_active"}),
    MasterKind.RESOURCE: frozenset({"name", "email", "engagement"}),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Claim:
    """One connection's word that it owns a field of a kind, or (field empty) the kind; in one entity or in all."""

    connection_id: int
    code: str
    name: str
    kind: str
    field: str
    entity_id: int | None

    def reaches(self, entity_id: int | None) -> bool:
        """Whether it holds for a record of an entity; what has no entity is everybody's."""
        return self.entity_id is None or entity_id is None or self.entity_id == entity_id


def problems(owns: object) -> list[str]:
    """What is wrong with a connection's `owns`, in sentences; empty when it will do."""
    if not isinstance(owns, list) or not all(isinstance(one, str) for one in owns):
        return ["owns is a list of kinds and fields, as [“customer”, “project.status”]."]
    known = {str(kind): fields for kind, fields in FIELDS.items()}
    found = []
    for one in owns:
        kind, _, field = one.partition(".")
        if kind not in known:
            found.append(f"owns names “{kind}”, which is no kind; expected one of {', '.join(sorted(known))}.")
        elif "." in one and field not in known[kind]:
            expected = (
                f"expected one of {', '.join(sorted(known[kind]))}." if known[kind] else "it is owned as a whole."
            )
            found.append(f"owns names “{one}”, which is no field of a {kind.replace('_', ' ')}; {expected}")
    return found


class FieldOwners:
    """Whose word counts for which field, over all connections that are switched on."""

    def __init__(self, connections: Iterable[Connection] | None = None) -> None:
        """One query where the connections are not given."""
        found = Connection.objects.filter(is_active=True) if connections is None else connections
        self.claims = [
            Claim(one.pk, one.code, one.name, *_split(word), one.entity_id)
            for one in found
            for word in one.settings.get("owns", ())
        ]

    def claims_kind(self, connection_id: int, kind: str) -> bool:
        """Whether a system makes and ends records of a kind."""
        return any(one.connection_id == connection_id and one.kind == kind and not one.field for one in self.claims)

    def claims_some(self, connection_id: int, kind: str) -> bool:
        """Whether a system owns at least one field of a kind."""
        return any(one.connection_id == connection_id and one.kind == kind for one in self.claims)

    def owners(self, kind: str, field: str, entity_id: int | None) -> list[Claim]:
        """Whose a field is: those who name it, else those who name its kind; empty when it is kept here."""
        of_kind = [one for one in self.claims if one.kind == kind and one.reaches(entity_id)]
        return [one for one in of_kind if one.field == field] or [one for one in of_kind if not one.field]

    def owns(self, connection_id: int, kind: str, field: str, entity: Callable[[], int | None]) -> bool:
        """Whether a system owns a field. The record's entity is asked for only where the answer hangs on it."""
        named = [one for one in self.claims if one.kind == kind and one.field == field]
        if not named:
            return self.claims_kind(connection_id, kind)
        return any(one.connection_id == connection_id for one in self.owners(kind, field, entity()))

    def in_words(self, kind: str, field: str, entity_id: int | None) -> str:
        """Who owns a field, as a person reads it."""
        return ", ".join(dict.fromkeys(one.name for one in self.owners(kind, field, entity_id))) or "Tieout"


def _split(word: str) -> tuple[str, str]:
    kind, _, field = word.partition(".")
    return kind, field
