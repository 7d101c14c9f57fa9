"""What a system says of its records, kept as it was last said: from it mappings are suggested, and a person confirms them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from portal import sql
from portal.master_intake.base import Intake
from portal.models import ForeignRecord, LegalEntity, Project
from portal.records import MasterKind, MasterRecord

_KINDS = frozenset(MasterKind) - {MasterKind.PERIOD}  # a period has no key of its own here


def keep(intake: Intake, records: Sequence[MasterRecord]) -> None:
    """Remember the records of a batch; a few statements, whatever their number. What is deleted there stays, as inactive."""
    now = sql.now()
    stated = [record for record in records if record.kind in _KINDS and not record.deleted]
    entities = _entities(intake, MasterKind.ENTITY, "pk")
    projects = _entities(intake, MasterKind.PROJECT, "entity_id")
    ForeignRecord.objects.bulk_create(
        [_row(intake, record, _entity(intake, record, entities, projects), now) for record in stated],
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


def _entities(intake: Intake, kind: MasterKind, way: str) -> dict[str, int]:
    """The entity behind each key of the system for a kind of record."""
    ids = {key: row.internal_id for (of, key), row in intake.keys.items() if of == kind}
    model: Any = LegalEntity if kind is MasterKind.ENTITY else Project
    found = dict(model.objects.filter(pk__in=set(ids.values())).values_list("pk", way)) if ids else {}
    return {key: found[pk] for key, pk in ids.items() if pk in found}


def _entity(intake: Intake, record: MasterRecord, entities: dict[str, int], projects: dict[str, int]) -> int | None:
    """The entity that a record names by its key, of a task its project's; else the connection's."""
    named = entities.get(str(record.attributes.get("entity") or ""))
    return named or projects.get(str(record.attributes.get("project") or "")) or intake.connection.entity_id


def _plain(value: Any) -> Any:
    return value if isinstance(value, bool | int | str) else str(value)
