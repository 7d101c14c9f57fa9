"""Customers, projects and tasks as their owner states them."""

from __future__ import annotations

from datetime import timedelta

from portal import history
from portal.master_intake.base import BEGINNING, Intake, NotYet, Unfit, stated
from portal.models import Customer, Project, ProjectStatus, Task
from portal.records import MasterKind, MasterRecord


def customer(intake: Intake, record: MasterRecord) -> None:
    """A customer, its place in the hierarchy, its active range, and the merge that it may have come to."""
    row = intake.by_code(MasterKind.CUSTOMER, record)
    survivor = intake.named(record, "merged_into", MasterKind.CUSTOMER, row)
    entity = intake.named(record, "entity", MasterKind.ENTITY, row)
    parent = intake.find(MasterKind.CUSTOMER, record.parent.key) if record.parent.key else None
    if parent is None and record.parent.key and intake.may_set(MasterKind.CUSTOMER, row, "parent"):
        raise NotYet(f"customer {record.code} is below customer {record.parent.key}, which is not known here yet.")
    values = {
        "name": record.name, "entity": entity, "parent": parent,
        **stated(record, "currency", "tax_number", "tax_treatment", "active_from", "active_to"),
    }  # fmt: skip
    if row.pk is None and not values.get("currency"):
        seller = entity or intake.connection.entity
        if seller is None:
            raise Unfit(f"Customer {record.code} has no currency, and no entity whose currency it could have.")
        values["currency"] = seller.currency
    if not record.is_active and "active_to" not in values:
        values["active_to"] = row.active_to or intake.today - timedelta(days=1)
    row = intake.save(MasterKind.CUSTOMER, record, row, values)
    ended = row.active_to is not None and row.active_to < intake.today
    if (
        record.is_active
        and ended
        and "active_to" not in values
        and intake.may_set(MasterKind.CUSTOMER, row, "active_to")
    ):
        history.update_each_with_reason(Customer, [(row, {"active_to": None})], reason=intake.reason)
        intake.changed["customer"].add(row.pk)
    if survivor is not None and survivor.pk != row.pk:
        _merge(intake, record, row, survivor)


def _merge(intake: Intake, record: MasterRecord, loser: Customer, survivor: Customer) -> None:
    """Follow a merge: the loser points at its survivor, and so does its key. What is posted stays as it is."""
    if not intake.may_set(MasterKind.CUSTOMER, loser, "merged_into"):
        if loser.merged_into_id != survivor.pk:
            intake.reject(record, loser, "merged_into", said=survivor, stands=loser.merged_into)
        return
    if loser.merged_into_id != survivor.pk:
        history.update_each_with_reason(Customer, [(loser, {"merged_into": survivor})], reason=intake.reason)
        intake.changed["customer"].update((loser.pk, survivor.pk))
    intake.tie(MasterKind.CUSTOMER, record.external_id, survivor.pk, allows_many=True)


def project(intake: Intake, record: MasterRecord) -> None:
    """A project and its status as of today."""
    row = intake.by_code(MasterKind.PROJECT, record)
    values = {
        "name": record.name,
        "customer": intake.named(record, "customer", MasterKind.CUSTOMER, row),
        "entity": intake.named(record, "entity", MasterKind.ENTITY, row),
        "cost_centre": intake.named(record, "cost_centre", MasterKind.COST_CENTRE, row),
        **stated(record, "billing_model", "requires_task"),
    }
    if row.pk is None:
        values["entity"] = values["entity"] or intake.only_entity(record)
        if values["customer"] is None:
            raise Unfit(f"Project {record.code} has no customer.")
    row = intake.save(MasterKind.PROJECT, record, row, values)
    status = record.attributes.get("status") or "open"
    _status(intake, row, "closed" if not record.is_active else status, record)


def _status(intake: Intake, project: Project, status: str, record: MasterRecord) -> None:
    """What a project is from today on. What it was on earlier days stays, because hours are judged by their day."""
    statuses = list(ProjectStatus.objects.filter(project=project).order_by("valid_from"))
    may = intake.may_set(MasterKind.PROJECT, project, "status")
    starts_on = record.attributes.get("starts_on") or BEGINNING
    if not statuses and may:
        row = ProjectStatus(project=project, status=status, valid_from=starts_on)
        history.bulk_create_with_reason(ProjectStatus, [row], reason=intake.reason)
        intake.changed["project"].add(project.pk)
        return
    current = next(
        (s for s in statuses if s.valid_from <= intake.today and (s.valid_to is None or s.valid_to >= intake.today)),
        None,
    )
    if current is None or current.status == status:
        return
    if not may:
        if "status" in record.attributes or not record.is_active:
            intake.reject(record, project, "status", said=status, stands=current.status)
        return
    later = [s for s in statuses if s.valid_from > intake.today]
    ends = min((s.valid_from for s in later), default=None)
    if current.valid_from == intake.today:
        history.update_each_with_reason(ProjectStatus, [(current, {"status": status})], reason=intake.reason)
    else:
        yesterday = intake.today - timedelta(days=1)
        history.update_each_with_reason(ProjectStatus, [(current, {"valid_to": yesterday})], reason=intake.reason)
        new = ProjectStatus(
            project=project, status=status, valid_from=intake.today, valid_to=ends and ends - timedelta(days=1)
        )
        history.bulk_create_with_reason(ProjectStatus, [new], reason=intake.reason)
    intake.changed["project"].add(project.pk)


def task(intake: Intake, record: MasterRecord) -> None:
    """A kind of work within a project."""
    project = intake.named(record, "project", MasterKind.PROJECT)
    if project is None:
        raise Unfit(f"Task {record.code} belongs to no project.")
    row = intake.by_code(MasterKind.TASK, record, project=project)
    is_active = record.is_active and not record.attributes.get("closed", False)
    intake.save(
        MasterKind.TASK,
        record,
        row,
        {"name": record.name, "is_active": is_active, **stated(record, "is_billable")},
    )


def end_customer(intake: Intake, row: Customer) -> None:
    """Nothing is sold to it any more from today on."""
    intake.end(MasterKind.CUSTOMER, row, {"active_to": intake.today - timedelta(days=1)})


def end_task(intake: Intake, row: Task) -> None:
    """Nothing is booked on it any more."""
    intake.end(MasterKind.TASK, row, {"is_active": False})


def end_project(intake: Intake, row: Project) -> None:
    """Closed from today on."""
    gone = MasterRecord(external_id="", revision="", kind=MasterKind.PROJECT, code=row.code, name=row.name)
    _status(intake, row, "closed", gone)
