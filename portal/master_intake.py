"""Master data as its owner system states it: matched by the system's own key, applied with history, told to who validates.

The rule here: a system changes only what it owns (`owns` in the connection's settings, by kind); what another system says is
left, and told. A new record is tied to the system's key at once; records are never tied by their names. What a record names
must be known here first, so a child that comes before its parent waits for it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from django.db.models import Q

from portal import changes_watch, history, sql
from portal.models import (
    AccountingPeriod,
    Connection,
    CostCentre,
    Crosswalk,
    Customer,
    Engagement,
    LegalEntity,
    Project,
    ProjectStatus,
    Resource,
    Role,
    Task,
)
from portal.records import MasterKind, MasterRecord

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


@dataclass(slots=True)
class Outcome:
    """What became of the messages of a batch: which were taken, left to the owner, wait, or cannot be taken, and why."""

    left: dict[int, str] = field(default_factory=dict)
    waiting: dict[int, str] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)


class Unfit(Exception):
    """A record that cannot become master data as it is; the message says what is wrong with it."""


class NotYet(Exception):
    """A record that names one which is not known here yet."""


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
    intake = _Intake(connection, f"{connection.connector} says so ({connection.code})")
    for kind in MasterKind:
        of_kind = sorted(
            (each for each in latest.values() if each[1].kind == kind), key=lambda each: (each[1].revision, each[0])
        )
        if kind in owned:
            _apply_all(intake, of_kind, outcome)
        else:
            sentence = f"{connection.code} does not own {kind.replace('_', ' ')} records here."
            outcome.left.update((message_id, sentence) for message_id, _ in of_kind)
    intake.tell()
    return outcome


def _apply_all(intake: _Intake, records: Sequence[tuple[int, MasterRecord]], outcome: Outcome) -> None:
    """Apply records of one kind, again and again while some of them still find what they waited for."""
    while records:
        waiting: list[tuple[int, MasterRecord]] = []
        for message_id, record in records:
            try:
                intake.apply(record)
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


class _Intake:
    """One batch of one system. Records are few and their changes fewer, so each is looked up and compared by itself."""

    def __init__(self, connection: Connection, reason: str) -> None:
        self.connection = connection
        self.reason = reason
        self.today: date = sql.now().date()
        self.changed: dict[str, set[int]] = defaultdict(set)
        self.keys: dict[tuple[str, str], Crosswalk] = {
            (key.kind, key.external_id): key
            for key in Crosswalk.objects.filter(
                Q(valid_to=None) | Q(valid_to__gte=self.today), system=connection.connector, realm=connection.realm
            )
        }

    def apply(self, record: MasterRecord) -> None:
        """Make or change one record. Raises Unfit or NotYet, having changed nothing."""
        if unknown := sorted(set(record.attributes) - ATTRIBUTES[record.kind]):
            raise Unfit(f"{', '.join(unknown)}: no such attribute of a {record.kind.replace('_', ' ')}.")
        if record.deleted and record.kind is not MasterKind.PERIOD:
            self._deleted(record)
            return
        _APPLY[record.kind](self, record)

    def tell(self) -> None:
        """Leave word of everything that changed."""
        for kind, ids in self.changed.items():
            changes_watch.note(kind, ids)

    # What the kinds share

    def find(self, kind: MasterKind, external_id: str) -> Any:
        """Our record behind a key of the system, None when there is none."""
        key = self.keys.get((kind, external_id))
        return _MODELS[kind].objects.filter(pk=key.internal_id).first() if key is not None else None

    def named(self, record: MasterRecord, attribute: str, kind: MasterKind) -> Any:
        """Our record behind a reference, None where the system states none. Raises NotYet where it is not known."""
        external_id = record.attributes.get(attribute)
        if not external_id:
            return None
        found = self.find(kind, str(external_id))
        if found is None:
            raise NotYet(
                f"{record.kind} {record.code} names {kind.replace('_', ' ')} {external_id}, which is not known here yet."
            )
        return found

    def save(self, kind: MasterKind, record: MasterRecord, row: Any, values: Mapping[str, Any]) -> Any:
        """Write what differs, tie a new record to its key, and remember that it changed. None among values: leave it."""
        stated = {name: value for name, value in values.items() if value is not None}
        for name, value in stated.items():
            limit = getattr(type(row)._meta.get_field(name), "max_length", None)
            if limit and isinstance(value, str) and len(value) > limit:
                raise Unfit(f"{name} of {kind} {record.code} has {len(value)} characters; {limit} are the most.")
        if row.pk is None:
            for name, value in stated.items():
                setattr(row, name, value)
            history.bulk_create_with_reason(type(row), [row], reason=self.reason)
            self._note(kind, row)
        else:
            differing = {name: value for name, value in stated.items() if getattr(row, name) != value}
            if differing:
                history.update_each_with_reason(type(row), [(row, differing)], reason=self.reason)
                self._note(kind, row)
        self.tie(kind, record.external_id, row.pk)
        return row

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
            others = any(other.kind == kind and other.internal_id == internal_id and not other.allows_many
                         for other in self.keys.values())  # fmt: skip
            if others and not allows_many:
                raise Unfit(f"{kind} {external_id}: our record has another key in {self.connection.connector} already.")
            key = Crosswalk(
                system=self.connection.connector, realm=self.connection.realm, kind=kind, external_id=external_id,
                internal_id=internal_id, allows_many=allows_many, valid_from=BEGINNING,
            )  # fmt: skip
            history.bulk_create_with_reason(Crosswalk, [key], reason=self.reason)
            self.keys[kind, external_id] = key
        self.changed["crosswalk"].add(key.pk)

    def by_code(self, kind: MasterKind, record: MasterRecord, **within: Any) -> Any:
        """Our record behind the system's key, else the one with its code, else a new one that is not saved yet."""
        found = self.find(kind, record.external_id)
        if found is None:
            found = _MODELS[kind].objects.filter(code=record.code, **within).first()
        return found or _MODELS[kind](code=record.code, **within)

    def _note(self, kind: MasterKind, row: Any) -> None:
        watched = _WATCHED.get(kind)
        self.changed[watched or str(kind)].add(getattr(row, f"{watched}_id") if watched else row.pk)

    def _deleted(self, record: MasterRecord) -> None:
        """A record that is gone in its system is no longer used from today on; it is kept."""
        row = self.find(record.kind, record.external_id)
        if row is not None:
            _END[record.kind](self, row)

    # Kinds

    def entity(self, record: MasterRecord) -> None:
        row = self.by_code(MasterKind.ENTITY, record)
        if row.pk is None:
            raise Unfit(
                f"Legal entity {record.code} is not configured; a company is added by its configuration, not by an ERP."
            )
        self.save(MasterKind.ENTITY, record, row, {"name": record.name, **_stated(record, "zone")})

    def period(self, record: MasterRecord) -> None:
        starts_on, ends_on = record.attributes.get("starts_on"), record.attributes.get("ends_on")
        if starts_on is None or ends_on is None:
            raise Unfit(f"Period {record.code} has no first or last day.")
        entity = self.named(record, "entity", MasterKind.ENTITY)
        for each in [entity] if entity is not None else self._entities():
            row = AccountingPeriod.objects.filter(entity=each, starts_on=starts_on, ends_on=ends_on).first()
            state = self._period_state(record, row, starts_on)
            if row is None:
                row = AccountingPeriod(entity=each, code=record.code, starts_on=starts_on, ends_on=ends_on, state=state)
                if AccountingPeriod.objects.filter(
                    Q(code=record.code) | Q(starts_on__lte=ends_on, ends_on__gte=starts_on), entity=each
                ).exists():
                    raise Unfit(f"Period {record.code} ({starts_on} to {ends_on}) overlaps another one of {each}.")
                history.bulk_create_with_reason(AccountingPeriod, [row], reason=self.reason)
            elif row.state != state:
                history.update_each_with_reason(AccountingPeriod, [(row, {"state": state})], reason=self.reason)
            else:
                continue
            self.changed["period"].add(row.pk)

    def _period_state(self, record: MasterRecord, row: AccountingPeriod | None, starts_on: date) -> str:
        """What the owner says, as far as it says it: it knows open and closed; future and closing are ours."""
        state = AccountingPeriod.State
        if record.attributes.get("closed") or not record.is_active or record.deleted:
            return state.CLOSED
        if row is not None and row.state != state.CLOSED:
            return row.state
        return state.FUTURE if row is None and starts_on > self.today else state.OPEN

    def _entities(self) -> list[LegalEntity]:
        """Whom a system speaks for: its connection's entity, else every entity that has a key in it."""
        if self.connection.entity is not None:
            return [self.connection.entity]
        ids = [key.internal_id for (kind, _), key in self.keys.items() if kind == MasterKind.ENTITY]
        return list(LegalEntity.objects.filter(pk__in=ids).order_by("code"))

    def cost_centre(self, record: MasterRecord) -> None:
        entity = self.named(record, "entity", MasterKind.ENTITY) or self._only_entity(record)
        row = self.by_code(MasterKind.COST_CENTRE, record, entity=entity)
        values = {"name": record.name, **_stated(record, "valid_from", "valid_to")}
        if not record.is_active and "valid_to" not in values:
            values["valid_to"] = row.valid_to or self.today - timedelta(days=1)
        self.save(MasterKind.COST_CENTRE, record, row, values)

    def customer(self, record: MasterRecord) -> None:
        survivor = self.named(record, "merged_into", MasterKind.CUSTOMER)
        entity = self.named(record, "entity", MasterKind.ENTITY)
        parent = self.find(MasterKind.CUSTOMER, record.parent.key) if record.parent.key else None
        if parent is None and record.parent.key:
            raise NotYet(f"customer {record.code} is below customer {record.parent.key}, which is not known here yet.")
        row = self.by_code(MasterKind.CUSTOMER, record)
        values = {
            "name": record.name, "entity": entity, "parent": parent,
            **_stated(record, "currency", "tax_number", "tax_treatment", "active_from", "active_to"),
        }  # fmt: skip
        if row.pk is None and not values.get("currency"):
            seller = entity or self.connection.entity
            if seller is None:
                raise Unfit(f"Customer {record.code} has no currency, and no entity whose currency it could have.")
            values["currency"] = seller.currency
        if not record.is_active and "active_to" not in values:
            values["active_to"] = row.active_to or self.today - timedelta(days=1)
        row = self.save(MasterKind.CUSTOMER, record, row, values)
        if record.is_active and row.active_to is not None and "active_to" not in values and row.active_to < self.today:
            history.update_each_with_reason(Customer, [(row, {"active_to": None})], reason=self.reason)
            self.changed["customer"].add(row.pk)
        if survivor is not None and survivor.pk != row.pk:
            self._merge(record, row, survivor)

    def _merge(self, record: MasterRecord, loser: Customer, survivor: Customer) -> None:
        """Follow a merge: the loser points at its survivor, and so does its key. What is posted stays as it is."""
        if loser.merged_into_id != survivor.pk:
            history.update_each_with_reason(Customer, [(loser, {"merged_into": survivor})], reason=self.reason)
            self.changed["customer"].update((loser.pk, survivor.pk))
        self.tie(MasterKind.CUSTOMER, record.external_id, survivor.pk, allows_many=True)

    def project(self, record: MasterRecord) -> None:
        row = self.by_code(MasterKind.PROJECT, record)
        values = {
            "name": record.name,
            "customer": self.named(record, "customer", MasterKind.CUSTOMER),
            "entity": self.named(record, "entity", MasterKind.ENTITY),
            "cost_centre": self.named(record, "cost_centre", MasterKind.COST_CENTRE),
            **_stated(record, "billing_model", "requires_task"),
        }
        if row.pk is None:
            values["entity"] = values["entity"] or self._only_entity(record)
            if values["customer"] is None:
                raise Unfit(f"Project {record.code} has no customer.")
        row = self.save(MasterKind.PROJECT, record, row, values)
        status = record.attributes.get("status") or "open"
        self._status(row, "closed" if not record.is_active else status, record)

    def _status(self, project: Project, status: str, record: MasterRecord) -> None:
        """What a project is from today on. What it was on earlier days stays, because hours are judged by their day."""
        statuses = list(ProjectStatus.objects.filter(project=project).order_by("valid_from"))
        starts_on = record.attributes.get("starts_on") or BEGINNING
        if not statuses:
            row = ProjectStatus(project=project, status=status, valid_from=starts_on)
            history.bulk_create_with_reason(ProjectStatus, [row], reason=self.reason)
            self.changed["project"].add(project.pk)
            return
        current = next(
            (s for s in statuses if s.valid_from <= self.today and (s.valid_to is None or s.valid_to >= self.today)),
            None,
        )
        if current is None or current.status == status:
            return
        later = [s for s in statuses if s.valid_from > self.today]
        ends = min((s.valid_from for s in later), default=None)
        if current.valid_from == self.today:
            history.update_each_with_reason(ProjectStatus, [(current, {"status": status})], reason=self.reason)
        else:
            yesterday = self.today - timedelta(days=1)
            history.update_each_with_reason(ProjectStatus, [(current, {"valid_to": yesterday})], reason=self.reason)
            new = ProjectStatus(
                project=project, status=status, valid_from=self.today, valid_to=ends and ends - timedelta(days=1)
            )
            history.bulk_create_with_reason(ProjectStatus, [new], reason=self.reason)
        self.changed["project"].add(project.pk)

    def task(self, record: MasterRecord) -> None:
        project = self.named(record, "project", MasterKind.PROJECT)
        if project is None:
            raise Unfit(f"Task {record.code} belongs to no project.")
        row = self.by_code(MasterKind.TASK, record, project=project)
        is_active = record.is_active and not record.attributes.get("closed", False)
        self.save(
            MasterKind.TASK,
            record,
            row,
            {"name": record.name, "is_active": is_active, **_stated(record, "is_billable")},
        )

    def resource(self, record: MasterRecord) -> None:
        entity = self.named(record, "entity", MasterKind.ENTITY)
        cost_centre = self.named(record, "cost_centre", MasterKind.COST_CENTRE)
        row = self.save(
            MasterKind.RESOURCE, record, self.by_code(MasterKind.RESOURCE, record),
            {"name": record.name, **_stated(record, "email")},
        )  # fmt: skip
        if entity is not None:
            self._engagement(row, entity, cost_centre, record)

    def _engagement(
        self, resource: Resource, entity: LegalEntity, cost_centre: CostCentre | None, record: MasterRecord
    ) -> None:
        """The engagement under this key, or the first one; an employer or a role that changes is a person's decision."""
        released_on = record.attributes.get("released_on")
        standing = list(Engagement.objects.filter(resource=resource).order_by("-valid_from"))
        mine = next((each for each in standing if each.external_id == record.external_id), None)
        if mine is None and len(standing) == 1 and not standing[0].external_id:
            mine = standing[0]
        if mine is not None:
            values = {"external_id": record.external_id, "cost_centre": cost_centre, "valid_to": released_on}
            differing = {name: v for name, v in values.items() if v is not None and getattr(mine, name) != v}
            if differing:
                history.update_each_with_reason(Engagement, [(mine, differing)], reason=self.reason)
                self.changed["resource"].add(resource.pk)
            return
        role = self._role(record)
        if standing or role is None:
            return
        row = Engagement(
            resource=resource, entity=entity, cost_centre=cost_centre, role=role, external_id=record.external_id,
            valid_from=record.attributes.get("hired_on") or BEGINNING, valid_to=released_on,
        )  # fmt: skip
        history.bulk_create_with_reason(Engagement, [row], reason=self.reason)
        self.changed["resource"].add(resource.pk)

    def _role(self, record: MasterRecord) -> Role | None:
        code = record.attributes.get("role") or self.connection.settings.get("default_role")
        if not code:
            return None
        role = Role.objects.filter(code=code).first()
        if role is None:
            raise NotYet(f"Resource {record.code} names role {code}, which is not known here yet.")
        return role

    def _only_entity(self, record: MasterRecord) -> LegalEntity:
        entities = self._entities()
        if len(entities) != 1:
            raise Unfit(
                f"{record.kind} {record.code} names no legal entity, and {self.connection.code} serves several."
            )
        return entities[0]

    # The end of a record

    def end_customer(self, row: Customer) -> None:
        self._end(MasterKind.CUSTOMER, row, {"active_to": self.today - timedelta(days=1)})

    def end_cost_centre(self, row: CostCentre) -> None:
        self._end(MasterKind.COST_CENTRE, row, {"valid_to": self.today - timedelta(days=1)})

    def end_task(self, row: Task) -> None:
        self._end(MasterKind.TASK, row, {"is_active": False})

    def end_project(self, row: Project) -> None:
        gone = MasterRecord(external_id="", revision="", kind=MasterKind.PROJECT, code=row.code, name=row.name)
        self._status(row, "closed", gone)

    def _end(self, kind: MasterKind, row: Any, values: Mapping[str, Any]) -> None:
        """The first end stands: a record that ended before stays ended as of then."""
        ((name, value),) = values.items()
        standing = getattr(row, name)
        if standing != value and (standing in (None, True) or standing > value):
            history.update_each_with_reason(type(row), [(row, dict(values))], reason=self.reason)
            self._note(kind, row)

    def keep(self, row: Any) -> None:
        """People and companies outlive their record in a system; their engagements and grants say until when they count."""


def _stated(record: MasterRecord, *names: str) -> dict[str, Any]:
    """The attributes that the source states, of some."""
    return {name: record.attributes[name] for name in names if record.attributes.get(name) not in (None, "")}


_APPLY: dict[MasterKind, Callable[[_Intake, MasterRecord], None]] = {
    MasterKind.ENTITY: _Intake.entity,
    MasterKind.PERIOD: _Intake.period,
    MasterKind.COST_CENTRE: _Intake.cost_centre,
    MasterKind.CUSTOMER: _Intake.customer,
    MasterKind.PROJECT: _Intake.project,
    MasterKind.TASK: _Intake.task,
    MasterKind.RESOURCE: _Intake.resource,
}
_END: dict[MasterKind, Callable[[_Intake, Any], None]] = {
    MasterKind.ENTITY: _Intake.keep,
    MasterKind.COST_CENTRE: _Intake.end_cost_centre,
    MasterKind.CUSTOMER: _Intake.end_customer,
    MasterKind.PROJECT: _Intake.end_project,
    MasterKind.TASK: _Intake.end_task,
    MasterKind.RESOURCE: _Intake.keep,
}
