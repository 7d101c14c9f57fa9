"""Master data as its owner system states it: matched by the system's own key, applied with history, told to who validates.

The rule here: a system changes only what it owns (`owns` in the connection's settings, by kind and by field); what another system
says, and what would break a rule of quality, is kept as a rejected value where it differs. A new record is tied to the system's
key at once; records are never tied by their names. What a record names must be known here first, so a child that comes before
its parent waits for it. What every system says is kept besides, so that a person can map it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from portal import sql
from portal.master_intake import commercial, foreign, organisation, rejected
from portal.master_intake.base import Intake, NotYet, Unfit
from portal.models import Connection
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
    intake = Intake(connection, f"{connection.connector} says so ({connection.code})")
    for kind in MasterKind:
        of_kind = sorted(
            (each for each in latest.values() if each[1].kind == kind), key=lambda each: (each[1].revision, each[0])
        )
        if intake.owners.claims_kind(connection.pk, kind):
            _apply_all(intake, of_kind, outcome)
        else:
            _apply_fields(intake, kind, of_kind, outcome)
    rejected.keep(connection, intake.rejections, intake.looked_at)
    foreign.keep(intake, [record for _, record in latest.values()])
    intake.tell()
    return outcome


def _apply_fields(
    intake: Intake, kind: MasterKind, records: Sequence[tuple[int, MasterRecord]], outcome: Outcome
) -> None:
    """Take from a system that does not own the kind what it owns of it, of records that its keys mean; leave the rest."""
    owns_some = intake.owners.claims_some(intake.connection.pk, kind)
    sentence = f"{intake.connection.code} does not own {kind.replace('_', ' ')} records here."
    for message_id, record in records:
        before = len(intake.rejections)
        if kind in _END and not record.deleted and intake.find(kind, record.external_id) is not None:
            _apply_all(intake, [(message_id, record)], outcome)
        elif owns_some and not record.deleted:
            outcome.left[message_id] = f"{sentence.removesuffix('.')}, and key {record.external_id} is not mapped yet."
            continue
        if message_id in outcome.waiting or message_id in outcome.failed:
            continue
        if told := "; ".join(each.told for each in intake.rejections[before:] if each.is_owners):
            outcome.left[message_id] = f"{sentence.removesuffix('.')}: {told}."
        elif not owns_some:
            outcome.left[message_id] = sentence


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
