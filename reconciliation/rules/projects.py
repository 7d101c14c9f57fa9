"""Rules about the engagement: it is known, it was open on the work date, it has its task, and its customer is active."""

from __future__ import annotations

from datetime import timedelta

from reconciliation.facts.records import Draft, normal
from reconciliation.facts.tables import Facts
from reconciliation.rules.base import TIME, Finding, rule, said


@rule(
    "project-unknown",
    title="Project code is not in the master data",
    subject="code",
    waivable=False,
    remedies=("map-code", "hand-back"),
    cases=(19, 32),
)
def project_unknown(entry: Draft, facts: Facts) -> Finding | None:
    """The project that the source names is one of ours as of the work date."""
    if entry.project is not None:
        return None
    name = said(entry.project_code, entry.project_key, entry.project_name)
    detail = {
        "kind": "project",
        "code": entry.project_code,
        "key": entry.project_key,
        "name": entry.project_name,
        "connection_id": entry.source_id,
    }
    if not name:
        sentence = f"The entry names no project; {entry.source.name} must say which one, or the entry is moved to one."
        return Finding(
            sentence=sentence, subject_key="", cause=f"Entries of {entry.source.name} name no project.", detail=detail
        )
    return Finding(
        sentence=f"Project “{name}” is not known on {entry.work_date}; map it to a project, or move the entry to one.",
        subject_key=normal(name),
        cause=f"Project “{name}” is not in the master data.",
        detail=detail,
        connection_id=entry.source_id,
    )


_NOT_OPEN = {"planned": "is only planned", "on_hold": "is on hold", "closed": "is closed"}


@rule(
    "project-closed",
    title="Project was not open on the work date",
    subject="project",
    remedies=("move-project", "make-non-billable", "waive", "hand-back"),
    cases=(20,),
)
def project_closed(entry: Draft, facts: Facts) -> Finding | None:
    """The project was open on the day the work was done, whatever it is today."""
    project = entry.project
    if project is None:
        return None
    status = facts.status_on(project.id, entry.work_date)
    if status is not None and status[2] == "open":
        return None
    name = f"Project {project.code} {project.name}"
    if status is not None:
        standing = f"{_NOT_OPEN[status[2]]} since {status[0]}"
    else:
        later = [start for start, _, _ in facts.statuses.get(project.id, ()) if start > entry.work_date]
        if later:
            standing = f"starts on {min(later)}"
        else:
            ended = [end for _, end, _ in facts.statuses.get(project.id, ()) if end < entry.work_date]
            standing = f"ended on {max(ended)}" if ended else "was never opened"
    successor = facts.projects.get(project.successor_id) if project.successor_id else None
    way_out = f"move the entry to {successor.code}" if successor else "re-open it for that day, or move the entry"
    return Finding(
        sentence=f"{name} {standing}, and the work was on {entry.work_date}; {way_out}.",
        subject_key=str(project.id),
        cause=f"{name} {standing}.",
        detail={
            "project_id": project.id,
            "code": project.code,
            "status": status[2] if status else "",
            "successor_id": project.successor_id,
            "open_from": str(min(later)) if status is None and later else None,
            "closed_since": str(status[0]) if status and status[2] == "closed" else None,
        },
    )


@rule(
    "task-required",
    title="Task is missing",
    subject="project",
    waivable=False,
    can_be_off=True,
    remedies=("map-code", "move-project", "hand-back"),
    cases=(21,),
    kinds=TIME,
)
def task_required(entry: Draft, facts: Facts) -> Finding | None:
    """Where the project or the target needs a task, there is an active one."""
    project = entry.project
    if project is None or not (project.requires_task or entry.policy.task_required):
        return None
    task = entry.task
    if task is not None and task.is_active:
        return None
    named = said(entry.task_code, entry.task_key, entry.task_name)
    detail = {
        "kind": "task", "project_id": project.id, "code": entry.task_code, "key": entry.task_key, "name": entry.task_name,
        "connection_id": entry.source_id,
    }  # fmt: skip
    if task is not None:
        sentence = f"Task {task.code} of project {project.code} is no longer active; choose another task."
    elif named:
        sentence = f"“{named}” is not a task of project {project.code}, which needs one; map it to a task."
    else:
        sentence = (
            f"Project {project.code} needs a task and the entry names none; give it a default task, or ask for one."
        )
    key = f"{project.id}:{normal(named)}"
    cause = f"Project {project.code} needs a task{f'; “{named}” is not an active one' if named else ' and entries name none'}."
    return Finding(sentence=sentence, subject_key=key, cause=cause, detail=detail)


@rule(
    "customer-inactive",
    title="Customer is inactive or merged",
    subject="customer",
    remedies=("move-project", "make-non-billable", "waive", "hand-back"),
    cases=(22, 23),
)
def customer_inactive(entry: Draft, facts: Facts) -> Finding | None:
    """The project's customer, or the one that it was merged into, was active on the work date."""
    customer = entry.customer
    if customer is None or entry.project is None:
        return None
    name = f"Customer {customer.code} {customer.name}"
    if customer.merged_into_id:
        survivor = facts.survivor(customer)
        state = f"was merged into {survivor.code} {survivor.name}"
        way_out = f"point project {entry.project.code} at the survivor"
    elif not customer.active_from <= entry.work_date:
        state, way_out = f"is active only from {customer.active_from}", "correct its first day, or move the entry"
    elif not entry.work_date <= customer.active_to:
        state = f"is inactive since {customer.active_to + timedelta(days=1)}"
        way_out = "re-activate it, or move the entry to another project"
    else:
        return None
    return Finding(
        sentence=f"{name} {state}, and the work was on {entry.work_date}; {way_out}.",
        subject_key=str(customer.id),
        cause=f"{name} {state}.",
        detail={"customer_id": customer.id, "project_id": entry.project.id, "merged_into_id": customer.merged_into_id},
    )
