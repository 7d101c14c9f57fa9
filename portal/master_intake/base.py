"""What every kind of master data shares on its way in: keys, references, saving with history, and the word of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import date
from functools import cached_property
from typing import Any

from django.db.models import Q

from portal import changes_watch, history, quality, sql
from portal.field_owners import FieldOwners
from portal.master_intake.rejected import Rejection, as_text
from portal.models import Connection, CostCentre, Crosswalk, Customer, LegalEntity, Project, Resource, Task
from portal.records import MasterKind, MasterRecord

BEGINNING = date(1900, 1, 1)  # of a key's validity: a record's key was its key on every day
_MODELS: dict[MasterKind, Any] = {
    MasterKind.ENTITY: LegalEntity,
    MasterKind.COST_CENTRE: CostCentre,
    MasterKind.CUSTOMER: Customer,
    MasterKind.PROJECT: Project,
    MasterKind.TASK: Task,
    MasterKind.RESOURCE: Resource,
}
_WATCHED = {MasterKind.TASK: "project"}  # tasks count as their project
_NEEDED = {
    MasterKind.CUSTOMER: ("currency",),
    MasterKind.PROJECT: ("customer", "entity"),
}  # without them there is no record


class Unfit(Exception):
    """A record that cannot become master data as it is; the message says what is wrong with it."""


class NotYet(Exception):
    """A record that names one which is not known here yet."""


class Intake:
    """One batch of one system. Records are few and their changes fewer, so each is looked up and compared by itself."""

    def __init__(self, connection: Connection, reason: str) -> None:
        self.connection = connection
        self.reason = reason
        self.owners = FieldOwners([connection, *Connection.objects.filter(is_active=True).exclude(pk=connection.pk)])
        self.rejections: list[Rejection] = []
        self.looked_at: dict[tuple[str, int], Any] = {}  # records that the system spoke of, by kind and id
        self.today: date = sql.now().date()
        self.changed: dict[str, set[int]] = defaultdict(set)
        self.keys: dict[tuple[str, str], Crosswalk] = {
            (key.kind, key.external_id): key
            for key in Crosswalk.objects.filter(
                Q(valid_to=None) | Q(valid_to__gte=self.today), system=connection.connector, realm=connection.realm
            )
        }

    def tell(self) -> None:
        """Leave word of everything that changed."""
        for kind, ids in self.changed.items():
            changes_watch.note(kind, ids)

    def find(self, kind: MasterKind, external_id: str) -> Any:
        """Our record behind a key of the system, None when there is none."""
        key = self.keys.get((kind, external_id))
        return _MODELS[kind].objects.filter(pk=key.internal_id).first() if key is not None else None

    def named(self, record: MasterRecord, attribute: str, kind: MasterKind, of: Any = None) -> Any:
        """Our record behind a reference, None where the system states none. Raises NotYet where it is not known.

        `of` is the record that the reference would change: where the system may not set it, an unknown one is none.
        """
        external_id = record.attributes.get(attribute)
        if not external_id:
            return None
        found = self.find(kind, str(external_id))
        if found is None:
            if of is not None and of.pk is not None and not self.may_set(record.kind, of, attribute):
                return None
            raise NotYet(
                f"{record.kind} {record.code} names {kind.replace('_', ' ')} {external_id}, which is not known here yet."
            )
        return found

    def may_set(self, kind: MasterKind, row: Any, field: str) -> bool:
        """Whether the system owns a field of a record that stands; a new record is filled by whoever makes it."""
        if row.pk is None:
            return self.owners.claims_kind(self.connection.pk, kind)
        return self.owners.owns(self.connection.pk, kind, field, lambda: entity_of(row))

    def reject(self, record: MasterRecord, row: Any, field: str, *, said: Any, stands: Any, why: str = "") -> None:
        """Keep a value that is not taken, with what stands instead; without a reason it is the owner's."""
        kind, entity_id = record.kind, entity_of(row)
        reason = why or f"It belongs to {self.owners.in_words(kind, field, entity_id)}."
        self.rejections.append(Rejection(kind, row, entity_id, field, stands, said, reason, record.revision, not why))

    def save(self, kind: MasterKind, record: MasterRecord, row: Any, values: Mapping[str, Any]) -> Any:
        """Write what differs and may be taken, tie a new record to its key, and remember that it changed.

        None among values: leave it. What the system does not own, and what would break a rule of quality, is rejected by field.
        """
        self._check_key(kind, record.external_id, row.pk)
        stated = {name: value for name, value in values.items() if value is not None}
        for name, value in stated.items():
            limit = getattr(type(row)._meta.get_field(name), "max_length", None)
            if limit and isinstance(value, str) and len(value) > limit:
                raise Unfit(f"{name} of {kind} {record.code} has {len(value)} characters; {limit} are the most.")
        standing = row.pk is not None
        differing = {name: value for name, value in stated.items() if not standing or getattr(row, name) != value}
        for name in [name for name in differing if standing and not self.may_set(kind, row, name)]:
            self.reject(record, row, name, said=differing.pop(name), stands=getattr(row, name))
        faulty = self._judge(kind, row, differing)
        left = {name: (differing.pop(name), why) for name, why in faulty.items()}
        if not standing:
            for name, value in differing.items():
                setattr(row, name, value)
            history.bulk_create_with_reason(type(row), [row], reason=self.reason)
            self.note(kind, row)
        elif differing:
            history.update_each_with_reason(type(row), [(row, differing)], reason=self.reason)
            self.note(kind, row)
        for name, (said, why) in left.items():
            self.reject(record, row, name, said=said, stands=getattr(row, name), why=why)
        self.tie(kind, record.external_id, row.pk)
        self.looked_at[kind, row.pk] = row
        return row

    def _judge(self, kind: MasterKind, row: Any, differing: Mapping[str, Any]) -> dict[str, str]:
        """The fields whose new value breaks a rule of quality, and why. Raises Unfit where the whole record does."""
        if kind not in (MasterKind.CUSTOMER, MasterKind.PROJECT) or not differing:
            return {}
        values = {type(row)._meta.get_field(name).attname: _key_of(value) for name, value in differing.items()}
        if row.pk is None:
            names = [part.attname for part in type(row)._meta.concrete_fields if not part.primary_key]
            values = {name: getattr(row, name) for name in names} | values
        found: dict[str, str] = {}
        for fault in self._faults(kind, quality.Proposed(row, row.pk, values, row if row.pk else None)):
            blamed = (each.removesuffix("_id") for each in (fault.field, *fault.causes))
            name = next((each for each in blamed if each in differing), "")
            if fault.weight is quality.Weight.NOTHING or (fault.weight is quality.Weight.FIELD and not name):
                continue
            field = fault.field.removesuffix("_id")
            shown = as_text(differing.get(field, getattr(row, field)))
            sentence = f"{field.replace('_', ' ').capitalize()} “{shown}” {fault.message}"
            if fault.weight is quality.Weight.RECORD or (row.pk is None and name in _NEEDED.get(kind, ())):
                raise Unfit(f"{kind} {row.code}: {sentence}")
            found[name] = sentence
        return found

    def _faults(self, kind: MasterKind, proposed: quality.Proposed) -> list[quality.Fault]:
        if kind is MasterKind.PROJECT:
            return quality.projects([proposed], self.today)
        return quality.customers([proposed], self.today, self.twins)

    @cached_property
    def twins(self) -> quality.Twins:
        """The customers that stand, by name and tax number."""
        return quality.Twins()

    def tie(self, kind: MasterKind, external_id: str, internal_id: int, *, allows_many: bool = False) -> None:
        """See to it that a key of the system means one of our records."""
        key = self.keys.get((kind, external_id))
        if key is not None and key.internal_id == internal_id:
            return
        if key is not None:
            history.update_each_with_reason(
                Crosswalk, [(key, {"internal_id": internal_id, "allows_many": allows_many})], reason=self.reason
            )
        else:
            key = Crosswalk(
                system=self.connection.connector, realm=self.connection.realm, kind=kind, external_id=external_id,
                internal_id=internal_id, allows_many=allows_many, valid_from=BEGINNING,
            )  # fmt: skip
            history.bulk_create_with_reason(Crosswalk, [key], reason=self.reason)
            self.keys[kind, external_id] = key
        self.changed["crosswalk"].add(key.pk)

    def _check_key(self, kind: MasterKind, external_id: str, internal_id: int | None) -> None:
        """Raise Unfit where our record has another key in the system."""
        for (of_kind, other), key in self.keys.items():
            if of_kind == kind and key.internal_id == internal_id and other != external_id and not key.allows_many:
                system = self.connection.connector
                raise Unfit(
                    f"{kind} {external_id}: our record has key {other} in {system} already; mend the crosswalk."
                )

    def by_code(self, kind: MasterKind, record: MasterRecord, **within: Any) -> Any:
        """Our record behind the system's key, else the one with its code, else a new one that is not saved yet."""
        found = self.find(kind, record.external_id)
        if found is None:
            found = _MODELS[kind].objects.filter(code=record.code, **within).first()
            ended = self._ended(found) if found is not None else ""
            if ended and quality.plain(found.name) != quality.plain(record.name):
                raise Unfit(
                    f"{kind} {record.external_id}: code {record.code} is that of {found.name}, which ended ({ended}); a code "
                    "is not given to another. Give it a code of its own, or map its key if it is the same."
                )
        return found or _MODELS[kind](code=record.code, **within)

    def _ended(self, row: Any) -> str:
        """When a record ended, in words; empty when it did not."""
        if isinstance(row, Task):
            return "" if row.is_active else "not active"
        if isinstance(row, Project):
            last = row.statuses.order_by("-valid_from").first()
            return f"closed on {last.valid_from}" if last is not None and last.status == "closed" else ""
        return quality.ended_on(row, self.today)

    def is_one_of_many(self, record: MasterRecord) -> bool:
        """Whether the record's key is one of several that mean the same record of ours, as after a merge."""
        key = self.keys.get((record.kind, record.external_id))
        return key is not None and key.allows_many

    def note(self, kind: MasterKind, row: Any) -> None:
        """Remember that a record changed; a task counts as its project."""
        watched = _WATCHED.get(kind)
        self.changed[watched or str(kind)].add(getattr(row, f"{watched}_id") if watched else row.pk)

    def entities(self) -> list[LegalEntity]:
        """Whom a system speaks for: its connection's entity, else every entity that has a key in it."""
        if self.connection.entity is not None:
            return [self.connection.entity]
        ids = [key.internal_id for (kind, _), key in self.keys.items() if kind == MasterKind.ENTITY]
        return list(LegalEntity.objects.filter(pk__in=ids).order_by("code"))

    def only_entity(self, record: MasterRecord) -> LegalEntity:
        """The one entity that a system speaks for. Raises Unfit where it is not one."""
        entities = self.entities()
        if len(entities) != 1:
            raise Unfit(
                f"{record.kind} {record.code} names no legal entity, and {self.connection.code} serves several."
            )
        return entities[0]

    def end(self, kind: MasterKind, row: Any, values: Mapping[str, Any]) -> None:
        """The first end stands: a record that ended before stays ended as of then."""
        ((name, value),) = values.items()
        if not self.may_set(kind, row, name):
            return
        standing = getattr(row, name)
        if standing != value and (standing in (None, True) or standing > value):
            history.update_each_with_reason(type(row), [(row, dict(values))], reason=self.reason)
            self.note(kind, row)


def stated(record: MasterRecord, *names: str) -> dict[str, Any]:
    """The attributes that the source states, of some."""
    return {name: record.attributes[name] for name in names if record.attributes.get(name) not in (None, "")}


def entity_of(row: Any) -> int | None:
    """The entity in which a record is seen, of a person the latest employer; none for what all entities share."""
    way = row.scope.path if hasattr(row, "scope") else "entity"
    found = row._meta.base_manager.filter(pk=row.pk)
    if isinstance(row, Resource):
        found = found.order_by("-engagements__valid_from")
    entity_id: int | None = found.values_list(way, flat=True).first()
    return entity_id


def _key_of(value: Any) -> Any:
    return getattr(value, "pk", value)
