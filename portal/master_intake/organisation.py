"""Companies, periods, cost centres and people as their owner states them."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from django.db.models import Q

from portal import history
from portal.master_intake.base import BEGINNING, Intake, NotYet, Unfit, stated
from portal.models import AccountingPeriod, CostCentre, Engagement, LegalEntity, Resource, Role
from portal.records import MasterKind, MasterRecord


def entity(intake: Intake, record: MasterRecord) -> None:
    """A company that is configured here: its name and zone. Its currency is the books' and is not changed from outside."""
    row = intake.by_code(MasterKind.ENTITY, record)
    if row.pk is None:
        raise Unfit(
            f"Legal entity {record.code} is not configured; a company is added by its configuration, not by an ERP."
        )
    intake.save(MasterKind.ENTITY, record, row, {"name": record.name, **stated(record, "zone")})


def period(intake: Intake, record: MasterRecord) -> None:
    """A period of one entity, or of every entity that the system speaks for."""
    starts_on, ends_on = record.attributes.get("starts_on"), record.attributes.get("ends_on")
    if starts_on is None or ends_on is None:
        raise Unfit(f"Period {record.code} has no first or last day.")
    entity = intake.named(record, "entity", MasterKind.ENTITY)
    new: list[AccountingPeriod] = []
    changes: list[tuple[AccountingPeriod, dict[str, Any]]] = []
    for each in [entity] if entity is not None else intake.entities():
        row = AccountingPeriod.objects.filter(entity=each, starts_on=starts_on, ends_on=ends_on).first()
        state = _period_state(intake, record, row, starts_on)
        if row is not None:
            if row.state != state:
                changes.append((row, {"state": state}))
            continue
        same_days = Q(code=record.code) | Q(starts_on__lte=ends_on, ends_on__gte=starts_on)
        if other := AccountingPeriod.objects.filter(same_days, entity=each).first():
            raise Unfit(f"Period {record.code} ({starts_on} to {ends_on}) overlaps {other.code} of {each}.")
        new.append(AccountingPeriod(entity=each, code=record.code, starts_on=starts_on, ends_on=ends_on, state=state))
    history.bulk_create_with_reason(AccountingPeriod, new, reason=intake.reason)
    history.update_each_with_reason(AccountingPeriod, changes, reason=intake.reason)
    intake.changed["period"].update(row.pk for row in (*new, *(row for row, _ in changes)))


def _period_state(intake: Intake, record: MasterRecord, row: AccountingPeriod | None, starts_on: date) -> str:
    """What the owner says, as far as it says it: it knows open and closed; future and closing are ours."""
    state = AccountingPeriod.State
    if record.attributes.get("closed") or not record.is_active or record.deleted:
        return state.CLOSED
    if row is not None and row.state != state.CLOSED:
        return row.state
    return state.FUTURE if row is None and starts_on > intake.today else state.OPEN


def cost_centre(intake: Intake, record: MasterRecord) -> None:
    """A cost centre and the days on which it may be used."""
    row = intake.find(MasterKind.COST_CENTRE, record.external_id)
    if row is None:
        entity = intake.named(record, "entity", MasterKind.ENTITY) or intake.only_entity(record)
        row = intake.by_code(MasterKind.COST_CENTRE, record, entity=entity)
    values = {"name": record.name, **stated(record, "valid_from", "valid_to")}
    if not record.is_active and "valid_to" not in values:
        values["valid_to"] = row.valid_to or intake.today - timedelta(days=1)
    intake.save(MasterKind.COST_CENTRE, record, row, values)


def resource(intake: Intake, record: MasterRecord) -> None:
    """A person, and the engagement under this key."""
    row = intake.by_code(MasterKind.RESOURCE, record)
    may = intake.may_set(MasterKind.RESOURCE, row, "engagement")
    entity = intake.named(record, "entity", MasterKind.ENTITY) if may else None
    cost_centre = intake.named(record, "cost_centre", MasterKind.COST_CENTRE) if may else None
    row = intake.save(MasterKind.RESOURCE, record, row, {"name": record.name, **stated(record, "email")})
    if entity is not None:
        _engagement(intake, row, entity, cost_centre, record)


def _engagement(
    intake: Intake, resource: Resource, entity: LegalEntity, cost_centre: CostCentre | None, record: MasterRecord
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
            history.update_each_with_reason(Engagement, [(mine, differing)], reason=intake.reason)
            intake.changed["resource"].add(resource.pk)
        return
    role = _role(intake, record)
    if standing or role is None:
        return
    row = Engagement(
        resource=resource, entity=entity, cost_centre=cost_centre, role=role, external_id=record.external_id,
        valid_from=record.attributes.get("hired_on") or BEGINNING, valid_to=released_on,
    )  # fmt: skip
    history.bulk_create_with_reason(Engagement, [row], reason=intake.reason)
    intake.changed["resource"].add(resource.pk)


def _role(intake: Intake, record: MasterRecord) -> Role | None:
    code = record.attributes.get("role") or intake.connection.settings.get("default_role")
    if not code:
        return None
    role = Role.objects.filter(code=code).first()
    if role is None:
        raise NotYet(f"Resource {record.code} names role {code}, which is not known here yet.")
    return role


def end_cost_centre(intake: Intake, row: CostCentre) -> None:
    """Not used any more from today on."""
    intake.end(MasterKind.COST_CENTRE, row, {"valid_to": intake.today - timedelta(days=1)})


def keep(intake: Intake, row: Any) -> None:
    """People and companies outlive their record in a system; their engagements and grants say until when they count."""
