"""Projects with their dated statuses, approval chains, tasks and milestones."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping, Sequence

from portal import quality
from portal.importing import cells
from portal.importing.domains.columns import amount, code, currency, first_day, flag, last_day, name, pointer
from portal.importing.load import Load
from portal.importing.tables import Column, Filed, Ranges, Row, Table
from portal.models import (
    ApprovalStep,
    Assignment,
    BillingBalance,
    BillingModel,
    MasterChange,
    Milestone,
    Project,
    ProjectStatus,
    Task,
)

Kind = MasterChange.Kind


def _say_status(rows: Sequence[MutableMapping[str, str]]) -> Iterator[tuple[int, str, str]]:
    """Of each project without a status, that it is open on no day, and the way out."""
    codes = {row.get("code", "") for row in rows}
    known = set(ProjectStatus.objects.filter(project__code__in=codes).values_list("project__code", flat=True))
    for index, row in enumerate(rows):
        if row.get("code", "") not in known:
            yield (
                index, "", "has no status, so it is open on no day: no system is told of it, and hours on it wait. Give it one "
                "from the day on which work may begin, by a file of project statuses or on its page.",
            )  # fmt: skip


PROJECTS = Table(
    name="projects",
    noun="a project",
    model=Project,
    help="Projects. Whether one is open on a day is in project_statuses.csv.",
    columns=(
        code("code of the project"),
        name(),
        pointer("entity", "entities", "code of the entity that runs it", required=True),
        pointer("customer", "customers", "code of the customer", required=True),
        pointer("contract", "contracts", "code of the contract"),
        Column(
            name="billing_model",
            sets="billing_model",
            parse=cells.choice(BillingModel.values),
            empty="",
            help="as in contracts.csv; the contract's where empty",
        ),
        pointer("manager", "users", "user name of the project manager"),
        pointer("cost_centre", "cost_centres", "code of a cost centre of its entity", key=("entity", "cost_centre")),
        flag("requires_task", "whether every hour names a task; false where empty", empty=False),
        pointer("successor", "projects", "code of the project that follows it"),
    ),
    hierarchies=("successor_id",),
    quality=quality.projects,
    concerns=(Kind.PROJECT, "pk"),
    filed=Filed(complete=_say_status),
)

PROJECT_STATUSES = Table(
    name="project_statuses",
    noun="a project status",
    model=ProjectStatus,
    help="What a project was from one day to another; on a day without one it is not open.",
    columns=(
        pointer("project", "projects", "code of the project", required=True),
        Column(
            name="status",
            sets="status",
            parse=cells.choice(ProjectStatus.Status.values),
            required=True,
            help="planned, open, on_hold or closed",
        ),
        first_day(),
        last_day(),
    ),
    key=("project", "valid_from"),
    lookup=("project__code", "valid_from"),
    ranges=(Ranges(("project_id",), "a project has one status a day"),),
    concerns=(Kind.PROJECT, "project_id"),
)

APPROVAL_STEPS = Table(
    name="approval_steps",
    noun="an approval step",
    model=ApprovalStep,
    help="Who approves time on a project, in which order.",
    columns=(
        pointer("project", "projects", "code of the project", required=True),
        Column(
            name="sequence",
            sets="sequence",
            parse=cells.whole(least=1, most=99),
            empty=1,
            help="place in the chain; 1 where empty",
        ),
        pointer("approver", "resources", "code of the person who approves", required=True),
    ),
    key=("project", "sequence"),
    lookup=("project__code", "sequence"),
    concerns=(Kind.PROJECT, "project_id"),
)


ASSIGNMENTS = Table(
    name="assignments",
    noun="an assignment",
    model=Assignment,
    help="Who may record time on a project, from one day to another; told to the trackers that are provisioned.",
    columns=(
        pointer("project", "projects", "code of the project", required=True),
        pointer("resource", "resources", "code of the person", required=True),
        first_day(),
        last_day(),
    ),
    key=("project", "resource", "valid_from"),
    lookup=("project__code", "resource__code", "valid_from"),
    ranges=(Ranges(("project_id", "resource_id"), "a person is assigned once a day"),),
    concerns=(Kind.PROJECT, "project_id"),
)


def _one_default(load: Load, rows: Sequence[Row]) -> None:
    """A project has at most one default task, whether it stands or comes with the load."""
    loaded = {row.pk for row in rows}
    default = {
        project_id: f"the task {code} that stands already"
        for pk, project_id, code in Task.objects.filter(is_default=True).values_list("pk", "project_id", "code")
        if pk not in loaded
    }
    for row in rows:
        if not row.will_be("is_default", Task):
            continue
        project = row.will_be("project_id", Task)
        if project in default:
            load.problem(
                row, "is_default", "true", f"is true for {default[project]} too; a project has one default task."
            )
        default.setdefault(project, f"that at {row.place.short()}")


TASKS = Table(
    name="tasks",
    noun="a task",
    model=Task,
    help="Kinds of work within a project.",
    columns=(
        pointer("project", "projects", "code of the project", required=True),
        code("code within the project"),
        name(),
        flag("is_billable", "true where empty", empty=True),
        flag("is_active", "true where empty", empty=True),
        flag("is_default", "taken where a source names none and one is needed; false where empty", empty=False),
    ),
    key=("project", "code"),
    lookup=("project__code", "code"),
    check=_one_default,
    concerns=(Kind.PROJECT, "project_id"),
)


def _keeps_what_is_billed(load: Load, rows: Sequence[Row]) -> None:
    """A milestone is not lowered below what is billed of it, nor told in another currency; a credit comes first."""
    standing = {row.pk: row for row in rows if row.standing is not None}
    for balance in BillingBalance.objects.select_related("milestone").filter(milestone__in=standing):
        row, billed = standing[balance.milestone_id or 0], balance.invoiced - balance.credited
        if billed <= 0 or balance.milestone is None:
            continue
        said = f"{billed.normalize():f} {balance.milestone.currency} of it are invoiced; have that credited first."
        amount_, currency_ = row.will_be("amount", Milestone), row.will_be("currency", Milestone)
        if amount_ is not None and amount_ < billed:
            load.problem(row, "amount", amount_, f"is less than what is billed: {said}")
        if currency_ != balance.milestone.currency:
            load.problem(row, "currency", currency_, f"is another currency than it is billed in: {said}")


MILESTONES = Table(
    name="milestones",
    noun="a milestone",
    model=Milestone,
    help="Billing milestones of a project.",
    columns=(
        pointer("project", "projects", "code of the project", required=True),
        code("code within the project"),
        name(),
        Column(name="due_on", sets="due_on", parse=cells.day, required=True, help="day it is due"),
        amount("amount", "amount billed when it is signed", required=True),
        currency(),
        Column(name="signed_on", sets="signed_on", parse=cells.day, help="day it was signed; not yet where empty"),
    ),
    key=("project", "code"),
    lookup=("project__code", "code"),
    check=_keeps_what_is_billed,
    concerns=(Kind.PROJECT, "project_id"),
)
