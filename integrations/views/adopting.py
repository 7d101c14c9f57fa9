"""What a system holds otherwise, said as the lines of a change set: figure by figure, and why one of them cannot be.

The rule here: what is adopted holds from the day on which it is agreed to. What would change more than this one record is not
adopted from here; it is agreed where it is written.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from django.db.models import Q

from portal.models import ApprovalStep, Assignment, Contract, Project, ProjectStatus, Published, Rate
from portal.records import PublishedKind
from reconciliation.changes import Action, Line
from reconciliation.publishing import rates

_PLAIN = {"yes": "true", "no": "false", "nothing": ""}
_FIELDS: dict[PublishedKind, frozenset[str]] = {
    PublishedKind.CUSTOMER: frozenset({"name", "currency"}),
    PublishedKind.PROJECT: frozenset({"name", "billing_model"}),
    PublishedKind.TASK: frozenset({"name", "is_billable", "is_active"}),
    PublishedKind.CONTRACT: frozenset({"currency", "cap_amount", "starts_on", "ends_on"}),
}  # what a line takes over as it is
_ELSEWHERE = {
    "code": "Our codes name our records; send ours again.",
    "valid_from": "It follows from the rate that is agreed.",
    "agreed_in": "It names the rate card in which it is agreed.",
}


@dataclass(frozen=True, slots=True)
class Adopted:
    """One figure in which a system differs: the lines that take it over, or why it is not taken over from here."""

    name: str
    lines: tuple[Line, ...] = ()
    why_not: str = ""


def adopted(row: Published, names: Collection[str], day: date) -> list[Adopted]:
    """Each of these differing figures of a record as it would be taken over on a day."""
    return [_adopted(row, PublishedKind(row.kind), name, str(row.drift[name][1]), day) for name in names]


def together(found: Collection[Adopted]) -> list[Line]:
    """Their lines; changes of one record are one line."""
    changed: dict[tuple[str, int | None], dict[str, Any]] = {}
    lines: list[Line] = []
    for line in (line for one in found for line in one.lines):
        if line.action == Action.CHANGE:
            changed.setdefault((line.model, line.key), {}).update(line.values)
        else:
            lines.append(line)
    return [*(Line(model, key, Action.CHANGE, values) for (model, key), values in changed.items()), *lines]


def _adopted(row: Published, kind: PublishedKind, name: str, theirs: str, day: date) -> Adopted:
    if name == "record":
        return Adopted(name, why_not="It is gone there; send it again, or accept that it is.")
    if name in _ELSEWHERE:
        return Adopted(name, why_not=_ELSEWHERE[name])
    if name in _FIELDS.get(kind, ()):
        key = _key(row, kind)
        if key is None:
            return Adopted(name, why_not="The project has no contract here any more.")
        return Adopted(name, (Line(str(kind), key, Action.CHANGE, {name: _PLAIN.get(theirs, theirs)}),))
    makers = {
        (PublishedKind.CUSTOMER, "is_active"): _customer,
        (PublishedKind.PROJECT, "is_active"): _project,
        (PublishedKind.ASSIGNMENT, "is_active"): _assignment,
        (PublishedKind.ASSIGNMENT, "is_approver"): _approver,
        (PublishedKind.RATE, "amount"): _rate,
    }
    maker = makers.get((kind, name))
    found = maker(row, theirs, day) if maker else "It is agreed here and not there; send ours again."
    return Adopted(name, why_not=found) if isinstance(found, str) else Adopted(name, tuple(found))


def _key(row: Published, kind: PublishedKind) -> int | None:
    if kind is PublishedKind.CONTRACT:
        return Contract.objects.filter(projects=row.internal_id).values_list("pk", flat=True).first()
    return row.internal_id


def _customer(row: Published, theirs: str, day: date) -> list[Line]:
    """A customer ends the day before, or goes on."""
    until = "" if theirs == "yes" else (day - timedelta(days=1)).isoformat()
    return [Line("customer", row.internal_id, Action.CHANGE, {"active_to": until})]


def _project(row: Published, theirs: str, day: date) -> list[Line]:
    """A project is open or closed from the day on."""
    status = ProjectStatus.Status.OPEN if theirs == "yes" else ProjectStatus.Status.CLOSED
    standing = _on(ProjectStatus.objects.filter(project=row.internal_id), day).first()
    if standing is not None and standing.valid_from == day:
        return [Line("project_status", standing.pk, Action.CHANGE, {"status": status.value})]
    project = Project.objects.get(pk=row.internal_id)
    told = {"project": project.code, "status": status.value, "valid_from": day.isoformat()}
    if standing is None:
        return [Line("project_status", None, Action.ADD, told)]
    until = standing.valid_to.isoformat() if standing.valid_to else ""
    return [
        _ended("project_status", standing.pk, day),
        Line("project_status", None, Action.ADD, {**told, "valid_to": until}),
    ]


def _assignment(row: Published, theirs: str, day: date) -> list[Line] | str:
    """A person leaves the project the day before, or joins it."""
    standing = list(_on(Assignment.objects.filter(project=row.internal_id, resource=row.resource_id), day))
    if theirs == "yes":
        if standing:
            return "The person is on the project already."
        project = Project.objects.get(pk=row.internal_id)
        told = {"project": project.code, "resource": _person(row), "valid_from": day.isoformat()}
        return [Line("assignment", None, Action.ADD, told)]
    if any(one.valid_from == day for one in standing):
        return "The person joined the project today; end the assignment tomorrow, or send ours again."
    if not standing:
        return "The person approves for the project and is not assigned to it; change its approval chain."
    return [_ended("assignment", one.pk, day) for one in standing]


def _approver(row: Published, theirs: str, day: date) -> list[Line] | str:
    """A person approves no more; where the chain gets another member its order is agreed here."""
    if theirs == "yes":
        return "An approval chain has an order; add the person to it at their place."
    steps = ApprovalStep.objects.filter(project=row.internal_id)
    own = list(steps.filter(approver=row.resource_id))
    if len(own) == steps.count():
        return "Nobody else approves for the project; name somebody first."
    return [Line("approval_step", one.pk, Action.REMOVE, {}) for one in own]


def _rate(row: Published, theirs: str, day: date) -> list[Line] | str:
    """The person's own rate in the contract's card from the day on; the card's other rates stay."""
    agreed = rates.agreed(row.connection, [(row.internal_id, row.resource_id or 0)], day)
    found = agreed.get((row.internal_id, row.resource_id or 0))
    if found is None:
        return "No rate is agreed for this person on this project any more."
    won = Rate.objects.select_related("card", "task__project").get(pk=found.rate_id)
    if won.card.contract_id is None:
        return f"It is agreed in {won.card}, which prices other work too; agree a card of the contract, or send ours again."
    own = Rate.objects.filter(card=won.card, resource=row.resource_id, role=None, task=won.task, currency=won.currency)
    standing = _on(own, day).first()
    if standing is not None and standing.valid_from == day:
        return [Line("rate", standing.pk, Action.CHANGE, {"amount": theirs, "unit": Rate.Unit.HOUR.value})]
    later = own.filter(valid_from__gt=day).order_by("valid_from").values_list("valid_from", flat=True).first()
    until = standing.valid_to if standing is not None else later - timedelta(days=1) if later else None
    told = {
        "card": won.card.code, "card_version": won.card.version, "resource": _person(row), "currency": won.currency,
        "amount": theirs, "unit": Rate.Unit.HOUR.value, "valid_from": day.isoformat(),
        **({"project": won.task.project.code, "task": won.task.code} if won.task else {}),
        **({"valid_to": until.isoformat()} if until else {}),
    }  # fmt: skip
    ended = [_ended("rate", standing.pk, day)] if standing is not None else []
    return [*ended, Line("rate", None, Action.ADD, told)]


def _on(rows: Any, day: date) -> Any:
    return rows.filter(Q(valid_to=None) | Q(valid_to__gte=day), valid_from__lte=day).order_by("pk")


def _ended(model: str, key: int, day: date) -> Line:
    return Line(model, key, Action.END, {"valid_to": (day - timedelta(days=1)).isoformat()})


def _person(row: Published) -> str:
    return row.resource.code if row.resource is not None else ""
