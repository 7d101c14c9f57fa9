"""Master data as its owner system states it: matched by the system's own key, applied with history, told to who validates.

The rule here: a system changes only what it owns (`owns` in the connection's settings, by kind); what another system says is
left, and kept as a rejected change where it differs. A new record is tied to the system's key at once; records are never tied by
their names. What a record names must be known here first, so a child that comes before its parent waits for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from portal import audit, sql
from portal.master_intake import commercial, organisation
from portal.master_intake.base import Intake, NotYet, Unfit
from portal.models import Connection, Resource
from portal.records import MasterKind, MasterRecord

__all__ = ["ATTRIBUTES", "Outcome", "take_in"]

ATTRIBUTES: dict[MasterKind, frozenset[str]] = {
    MasterKind.ENTITY: frozenset({"currency", "zone"}),
    MasterKind.PERIOD: frozenset({"starts_on", "ends_on", "closed", "entity"}),
    MasterKind.COST_CENTRE: frozenset({"entity", "valid_from", "valid_to"}),
    MasterKind.CUSTOMER: frozenset(
        {"entity", "currency", "tax_number", "tax_treatment", "active_from", "active_to", "merged_into"}
    ),
    MasterKind.PROJECT: frozenset(
        {"customer", "entity", "status", "starts_on", "ends_on", "billing_model", "contract", "manager", "cost_centre",
         "requires_task"}
    ),
    MasterKind.TASK: frozenset({"project", "is_billable", "closed"}),
    MasterKind.RESOURCE: frozenset({"email", "entity", "cost_centre", "role", "hired_on", "released_on"}),
}  # fmt: skip

_APPLY: dict[MasterKind, Callable[[Intake, MasterRecord], None]] = {
    MasterKind.ENTITY: organisation.entity,
    MasterKind.PERIOD: organisation.period,
    MasterKind.COST_CENTRE: organisation.cost_centre,
    MasterKind.CUSTOMER: commercial.customer,
    MasterKind.PROJECT: commercial.project,
    MasterKind.TASK: commercial.task,
    MasterKind.RESOURCE: organisation.resource,
}
_END: dict[MasterKind, Callable[[Intake, Any], None]] = {
    MasterKind.ENTITY: organisation.keep,
    MasterKind.COST_CENTRE: organisation.end_cost_centre,
    MasterKind.CUSTOMER: commercial.end_customer,
    MasterKind.PROJECT: commercial.end_project,
    MasterKind.TASK: commercial.end_task,
    MasterKind.RESOURCE: organisation.keep,
}


@dataclass(slots=True)
class Outcome:
    """What became of the messages of a batch: which were taken, left to the owner, wait, or cannot be taken, and why."""

    left: dict[int, str] = field(default_factory=dict)
    waiting: dict[int, str] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)


def take_in(connection: Connection, records: Sequence[tuple[int, MasterRecord]]) -> Outcome:
    """Apply master records of one system; joins the caller's transaction.

    The latest of several copies counts. Kinds are taken in the order in which they name each other.
    """
    sql.rows("SELECT pg_advisory_xact_lock(%s, %s)", [0x6D737472, 0])  # one intake of master data at a time
    latest: dict[tuple[MasterKind, str], tuple[int, MasterRecord]] = {}
    for message_id, record in records:
        known = latest.get((record.kind, record.external_id))
        if known is None or record.revision >= known[1].revision:
            latest[record.kind, record.external_id] = (message_id, record)
    outcome = Outcome()
    owned = frozenset(connection.settings.get("owns", ()))
    intake = Intake(connection, f"{connection.connector} says so ({connection.code})")
    for kind in MasterKind:
        of_kind = sorted(
            (each for each in latest.values() if each[1].kind == kind), key=lambda each: (each[1].revision, each[0])
        )
        if kind in owned:
            _apply_all(intake, of_kind, outcome)
        else:
            outcome.left.update((message_id, _leave(intake, record)) for message_id, record in of_kind)
    intake.tell()
    return outcome


def _leave(intake: Intake, record: MasterRecord) -> str:
    """Do not take what a system says of a record that it does not own; where it differs, note what was said and what stands."""
    sentence = f"{intake.connection.code} does not own {record.kind.replace('_', ' ')} records here."
    row = intake.find(record.kind, record.external_id)
    if row is None or record.deleted:
        return sentence
    own = {field.name for field in row._meta.concrete_fields if not field.is_relation and not field.primary_key}
    says = {"name": record.name, **{name: value for name, value in record.attributes.items() if name in own}}
    stands = {name: getattr(row, name) for name, value in says.items() if value and value != getattr(row, name)}
    if not stands:
        return sentence
    said = {name: says[name] for name in stands}
    told = "; ".join(f"{name} “{said[name]}” was not taken, “{stands[name]}” stands" for name in stands)
    sentence = f"{sentence.removesuffix('.')}: {told}."
    entity = _entity_of(row)
    audit.record(None, "master-change.rejected", row, entity=entity, reason=sentence, before=stands, after=said)
    return sentence


def _entity_of(row: Any) -> int | None:
    """The entity in which a record is seen, of a person the latest employer; none for what all entities share."""
    way = row.scope.path if hasattr(row, "scope") else "entity"
    found = row._meta.base_manager.filter(pk=row.pk)
    if isinstance(row, Resource):
        found = found.order_by("-engagements__valid_from")
    entity_id: int | None = found.values_list(way, flat=True).first()
    return entity_id


def _apply_all(intake: Intake, records: Sequence[tuple[int, MasterRecord]], outcome: Outcome) -> None:
    """Apply records of one kind, again and again while some of them still find what they waited for."""
    while records:
        waiting: list[tuple[int, MasterRecord]] = []
        for message_id, record in records:
            try:
                _apply(intake, record)
                outcome.waiting.pop(message_id, None)
            except NotYet as waits:
                outcome.waiting[message_id] = str(waits)
                waiting.append((message_id, record))
            except Unfit as unfit:
                outcome.waiting.pop(message_id, None)
                outcome.failed[message_id] = str(unfit)
        if len(waiting) == len(records):
            return
        records = waiting


def _apply(intake: Intake, record: MasterRecord) -> None:
    """Make or change one record. Raises Unfit or NotYet, having changed nothing."""
    if unknown := sorted(set(record.attributes) - ATTRIBUTES[record.kind]):
        raise Unfit(f"{', '.join(unknown)}: no such attribute of a {record.kind.replace('_', ' ')}.")
    if intake.is_one_of_many(record):
        return  # several keys of the system mean our record, and none of them changes it
    if not record.deleted or record.kind is MasterKind.PERIOD:
        _APPLY[record.kind](intake, record)
    elif (row := intake.find(record.kind, record.external_id)) is not None:
        _END[record.kind](intake, row)  # gone in its system: not used from today on, and kept
