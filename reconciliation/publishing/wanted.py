"""What a system is to hold today, by record: its figures in our words and the records that it names.

The rule here: the figures are everything that any system may take of the record, so that the same version is told to all; what
one of them cannot take is said where it is shown, by what its connector declares.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

from portal.models import Connection
from portal.models.master_data import ProjectStatus
from portal.models.published import key_of
from portal.records import PublishedKind
from reconciliation.publishing import rates
from reconciliation.sql import master_data
from reconciliation.sql import publishing as sql

Kind = PublishedKind
KINDS = tuple(Kind)  # each after those that it names
PROVISIONED = (Kind.CUSTOMER, Kind.PROJECT, Kind.TASK, Kind.ASSIGNMENT)
SUBSCRIBED = (Kind.CONTRACT, Kind.RATE, Kind.INVOICE, Kind.PAYMENT)
_OF_PROJECTS = (*PROVISIONED, Kind.CONTRACT, Kind.RATE)
_RUNNING = (ProjectStatus.Status.PLANNED, ProjectStatus.Status.OPEN)


@dataclass(slots=True, kw_only=True)
class Wanted:
    """One record as a system is to hold it."""

    kind: Kind
    internal_id: int
    resource_id: int | None = None
    entity_id: int
    title: str
    figures: Mapping[str, Any]
    names: Mapping[str, str] = field(default_factory=dict)

    @property
    def record(self) -> str:
        """The record in keys."""
        return key_of(self.kind, self.internal_id, self.resource_id)


def told_to(connection: Connection) -> tuple[Kind, ...]:
    """The kinds of records that a connection is told, in the order in which one names the other."""
    if not connection.is_recipient:
        return ()
    named = {*connection.settings.get("provisions", ()), *connection.settings.get("subscribes", ())}
    return tuple(kind for kind in KINDS if kind in named)


def wanted(connection: Connection, day: date, only: Collection[int] | None = None) -> list[Wanted]:
    """Everything that a system is to hold on a day, of all projects in its reach or of some; parents first."""
    kinds = tuple(kind for kind in told_to(connection) if kind in _OF_PROJECTS)
    projects = {row[0]: row for row in sql.projects(connection.pk, day, only)} if kinds else {}
    if not projects:
        return []
    people = sql.people(projects, connection.pk, day) if {Kind.ASSIGNMENT, Kind.RATE} & set(kinds) else []
    makers = {
        Kind.CUSTOMER: lambda: _customers(projects, day),
        Kind.PROJECT: lambda: [_project(row) for row in projects.values()],
        Kind.TASK: lambda: _tasks(projects),
        Kind.ASSIGNMENT: lambda: [_assignment(projects[row[0]], row) for row in people],
        Kind.CONTRACT: lambda: _contracts(projects),
        Kind.RATE: lambda: _rates(connection, projects, people, day, Kind.ASSIGNMENT in kinds),
    }
    return [item for kind in kinds for item in makers[kind]()]


def _customers(projects: Mapping[int, sql.Row], day: date) -> list[Wanted]:
    entity_of: dict[int, int] = {}
    for row in projects.values():
        entity_of.setdefault(row[4], row[3])
    return [
        Wanted(
            kind=Kind.CUSTOMER, internal_id=customer_id, entity_id=entity_of[customer_id], title=f"{code} {name}",
            figures={"code": code, "name": name, "currency": currency, "is_active": active},
        )
        for customer_id, code, name, currency, active in sql.customers(entity_of, day)
    ]  # fmt: skip


def _project(row: sql.Row) -> Wanted:
    project_id, code, name, entity_id, customer_id, _, billing_model, status = row
    return Wanted(
        kind=Kind.PROJECT, internal_id=project_id, entity_id=entity_id, title=f"{code} {name}",
        figures={"code": code, "name": name, "billing_model": billing_model, "is_active": status in _RUNNING},
        names={"customer": key_of(Kind.CUSTOMER, customer_id)},
    )  # fmt: skip


def _tasks(projects: Mapping[int, sql.Row]) -> list[Wanted]:
    return [
        Wanted(
            kind=Kind.TASK, internal_id=task_id, entity_id=projects[project_id][3],
            title=f"{code} {name} · {projects[project_id][1]}",
            figures={"code": code, "name": name, "is_billable": billable, "is_active": active},
            names={"project": key_of(Kind.PROJECT, project_id)},
        )
        for project_id, task_id, code, name, billable, active, _ in master_data.tasks(projects)
    ]  # fmt: skip


def _assignment(project: sql.Row, row: sql.Row) -> Wanted:
    project_id, resource_id, _, name, is_active, approves = row
    return Wanted(
        kind=Kind.ASSIGNMENT, internal_id=project_id, resource_id=resource_id, entity_id=project[3],
        title=f"{name} · {project[1]}", figures={"is_active": is_active, "is_approver": approves},
        names={"project": key_of(Kind.PROJECT, project_id), "resource": f"resource:{resource_id}"},
    )  # fmt: skip


def _contracts(projects: Mapping[int, sql.Row]) -> list[Wanted]:
    found = {row[0]: row for row in sql.contracts({row[5] for row in projects.values() if row[5]})}
    made = []
    for project_id, code, _, entity_id, _, contract_id, _, _ in projects.values():
        if contract_id is None:
            continue
        _, contract, currency, cap, starts_on, ends_on = found[contract_id]
        made.append(
            Wanted(
                kind=Kind.CONTRACT, internal_id=project_id, entity_id=entity_id, title=f"{contract} · {code}",
                figures={
                    "code": contract, "currency": currency, "cap_amount": _figure(cap), "starts_on": _day(starts_on),
                    "ends_on": _day(ends_on),
                },
                names={"project": key_of(Kind.PROJECT, project_id)},
            )
        )  # fmt: skip
    return made


def _rates(
    connection: Connection, projects: Mapping[int, sql.Row], people: list[sql.Row], day: date, assigned: bool
) -> list[Wanted]:
    """The rate agreed for everybody who records time on a project; nothing for whom none is agreed."""
    wanted_of = {(row[0], row[1]): row for row in people if row[4]}
    made = []
    for (project_id, resource_id), agreed in rates.agreed(connection, wanted_of, day).items():
        project, name = projects[project_id], wanted_of[project_id, resource_id][3]
        names = {"project": key_of(Kind.PROJECT, project_id), "resource": f"resource:{resource_id}"}
        if assigned:
            names["assignment"] = key_of(Kind.ASSIGNMENT, project_id, resource_id)
        made.append(
            Wanted(
                kind=Kind.RATE, internal_id=project_id, resource_id=resource_id, entity_id=project[3],
                title=f"{agreed.hourly.normalize():f} {agreed.currency} · {name} · {project[1]}",
                figures={
                    "amount": _figure(agreed.hourly), "currency": agreed.currency, "valid_from": _day(agreed.valid_from),
                    "agreed_in": agreed.version,
                },
                names=names,
            )
        )  # fmt: skip
    return made


def _figure(value: Decimal | None) -> str | None:
    """A number as it is told: no exponent and no superfluous zeros, so that the same figure is the same text."""
    return None if value is None else f"{value.normalize():f}"


def _day(value: date | None) -> str | None:
    return value.isoformat() if value is not None else None
