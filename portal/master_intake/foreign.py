"""What a system says of its records, kept as it was last said: from it mappings are suggested, and a person confirms them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from portal import sql
from portal.master_intake.base import Intake
from portal.models import ForeignRecord, LegalEntity
from portal.records import MasterKind, MasterRecord

_KINDS = frozenset(MasterKind) - {MasterKind.PERIOD}  # a period has no key of its own here


def keep(intake: Intake, records: Sequence[MasterRecord]) -> None:
    """Remember the records of a batch; two statements, whatever their number. What is deleted there stays, as inactive."""
    now = sql.now()
    entities = {key.external_id: key.internal_id for (kind, _), key in intake.keys.items() if kind == MasterKind.ENTITY}
    known = (
        set(LegalEntity.objects.filter(pk__in=set(entities.values())).values_list("pk", flat=True))
        if entities
        else set()
    )
    stated = [record for record in records if record.kind in _KINDS and not record.deleted]
    ForeignRecord.objects.bulk_create(
        [_row(intake, record, _entity(intake, record, entities, known), now) for record in stated],
        update_conflicts=True,
        unique_fields=["system", "realm", "kind", "external_id"],
        update_fields=["connection", "code", "name", "entity", "attributes", "is_active", "revision", "seen_at"],
    )
    if gone := [record for record in records if record.kind in _KINDS and record.deleted]:
        of_system = ForeignRecord.objects.filter(system=intake.connection.connector, realm=intake.connection.realm)
        for kind in {record.kind for record in gone}:
            keys = [record.external_id for record in gone if record.kind == kind]
            of_system.filter(kind=kind, external_id__in=keys).update(is_active=False, seen_at=now)


def _row(intake: Intake, record: MasterRecord, entity_id: int | None, now: Any) -> ForeignRecord:
    attributes = {name: _plain(value) for name, value in record.attributes.items() if value not in (None, "")}
    if record.parent.key:
        attributes["parent"] = record.parent.key
    return ForeignRecord(
        connection=intake.connection, system=intake.connection.connector, realm=intake.connection.realm,
        kind=str(record.kind), external_id=record.external_id, code=record.code[:200], name=record.name[:300],
        entity_id=entity_id, attributes=attributes, is_active=record.is_active, revision=record.revision[:64], seen_at=now,
    )  # fmt: skip


def _entity(intake: Intake, record: MasterRecord, entities: dict[str, int], known: set[int]) -> int | None:
    """The entity that a record names by its key, else the connection's."""
    named = entities.get(str(record.attributes.get("entity") or ""))
    return named if named in known else intake.connection.entity_id


def _plain(value: Any) -> Any:
    return value if isinstance(value, bool | int | str) else str(value)
