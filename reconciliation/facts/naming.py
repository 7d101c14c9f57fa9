"""Naming: which of our records a source means.

The rule here: a reference is resolved as of the work date, first by the source's own key, then by an alias (the connection's
own before a general one), then by our own code; names alone decide nothing but the task within its project.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from reconciliation.facts.records import Draft, Engagement, Project, Resource, Task, normal
from reconciliation.facts.tables import Facts, Names, by_first, by_id
from reconciliation.sql import master_data


def load_names(facts: Facts, drafts: Sequence[Draft]) -> None:
    """What the sources of the batch call our records."""
    sources = {draft.source_id: draft.source for draft in drafts}
    facts.names = {source_id: Names() for source_id in sources}
    keys: set[str] = set()
    for draft in drafts:
        keys.add(draft.project_key)
        keys.add(draft.resource_key)
        keys.add(draft.task_key)
        keys.add(draft.approver_key)
    keys.discard("")
    by_realm: dict[tuple[str, str], list[Names]] = {}
    for source_id, source in sources.items():
        by_realm.setdefault(source.realm_key, []).append(facts.names[source_id])
    found = master_data.keys_of_sources(list(by_realm), ("project", "task", "resource"), keys)
    for system, realm, kind, external_id, start, end, internal_id in found:
        for names in by_realm[system, realm]:
            names.keys[kind].setdefault(external_id, []).append((start, end, internal_id))
    aliases = master_data.aliases(sources, lambda: _spelled(drafts))
    aliases.sort(key=lambda row: row[0] is None)
    for connection_id, kind, code, start, end, internal_id, alias_id in aliases:
        for source_id, names in facts.names.items():
            if connection_id in (None, source_id):
                names.aliases.setdefault((kind, normal(code)), []).append((start, end, internal_id, alias_id))


def _spelled(drafts: Sequence[Draft]) -> set[str]:
    """Every code and name that the batch uses, in one spelling."""
    return {
        normal(code)
        for draft in drafts
        for code in (
            draft.project_code, draft.project_key, draft.project_name, draft.resource_code, draft.resource_key,
            draft.resource_name, draft.task_code, draft.task_key, draft.task_name, draft.approver_code, draft.approver_key,
            draft.approver_name,
        )
        if code
    }  # fmt: skip


def load_named(facts: Facts, drafts: Sequence[Draft]) -> None:
    """Projects and people that the batch may mean, by id and by our own code."""
    project_ids: set[int] = set()
    resource_ids: set[int] = set()
    for names in facts.names.values():
        for kind, ids in (("project", project_ids), ("resource", resource_ids)):
            ids.update(found[2] for ranges in names.keys[kind].values() for found in ranges)
            ids.update(found[2] for (of, _), ranges in names.aliases.items() if of == kind for found in ranges)
    codes = {draft.project_code.strip() for draft in drafts}
    facts.projects = by_id(master_data.projects(project_ids, codes), Project)
    facts.project_by_code = {project.code: project for project in facts.projects.values()}
    people = {draft.resource_code.strip() for draft in drafts} | {draft.approver_code.strip() for draft in drafts}
    people.discard("")
    facts.resources = by_id(
        master_data.resources(resource_ids, people, {code.lower() for code in people if "@" in code}), Resource
    )
    facts.resource_by_code = {resource.code: resource for resource in facts.resources.values()}
    shared: set[str] = set()
    for resource in facts.resources.values():
        email = resource.email.lower()
        if email in facts.resource_by_email:
            shared.add(email)
        facts.resource_by_email[email] = resource
    for email in shared | {""}:
        facts.resource_by_email.pop(email, None)
    facts.tasks = by_first(master_data.tasks(facts.projects), Task)
    facts.statuses = by_first(master_data.statuses(facts.projects))
    facts.approvers = by_first(master_data.approvers(facts.projects))
    facts.engagements = by_first(master_data.engagements(facts.resources), Engagement)


def _by_key_or_alias(names: Names, kind: str, said: tuple[str, str, str], day: date) -> tuple[int, int]:
    """(internal id, alias id) of what the source means by (key, code, name) on a day; zeros when nothing says."""
    key, code, name = said
    if key:
        for start, end, internal_id in names.keys[kind].get(key, ()):
            if start <= day <= end:
                return internal_id, 0
    if names.aliases:
        for spelled in (code, key, name):
            if spelled:
                for start, end, internal_id, alias_id in names.aliases.get((kind, normal(spelled)), ()):
                    if start <= day <= end:
                        return internal_id, alias_id
    return 0, 0


def resolve(facts: Facts, draft: Draft) -> None:
    """Find the project, the person and the approver."""
    names = facts.names[draft.source_id]
    day = draft.work_date
    found, alias = _by_key_or_alias(names, "project", (draft.project_key, draft.project_code, draft.project_name), day)
    draft.project = facts.projects.get(found) or facts.project_by_code.get(draft.project_code.strip())
    if alias:
        draft.tags.append(f"project-by-alias:{alias}")
    found, alias = _by_key_or_alias(
        names, "resource", (draft.resource_key, draft.resource_code, draft.resource_name), day
    )
    draft.resource = facts.resources.get(found) or _person(facts, draft.resource_code)
    if alias:
        draft.tags.append(f"resource-by-alias:{alias}")
    if draft.approver_key or draft.approver_code or draft.approver_name:
        found, _ = _by_key_or_alias(
            names, "resource", (draft.approver_key, draft.approver_code, draft.approver_name), day
        )
        draft.approver = facts.resources.get(found) or _person(facts, draft.approver_code)
    if draft.resource is not None:
        draft.engagement = facts.engagement_on(draft.resource.id, day)
    if draft.project is not None:
        draft.task = _task(facts, names, draft, draft.project)


def resolve_own(facts: Facts, draft: Draft) -> None:
    """Find the project, the person and the task by our own codes alone, whatever the source calls them."""
    draft.project = facts.project_by_code.get(draft.project_code)
    draft.resource = facts.resource_by_code.get(draft.resource_code)
    if draft.resource is not None:
        draft.engagement = facts.engagement_on(draft.resource.id, draft.work_date)
    tasks = facts.tasks.get(draft.project.id, []) if draft.project is not None else []
    named = (task for task in tasks if task.code == draft.task_code)
    default = (task for task in tasks if task.is_default and task.is_active)
    draft.task = next(named if draft.task_code else default, None)


def _person(facts: Facts, code: str) -> Resource | None:
    code = code.strip()
    if not code:
        return None
    return facts.resource_by_code.get(code) or facts.resource_by_email.get(code.lower())


def _task(facts: Facts, names: Names, draft: Draft, project: Project) -> Task | None:
    """The task within the project: by key, alias, code or name; the project's default where none is named."""
    tasks = facts.tasks.get(project.id)
    if not tasks:
        return None
    if not (draft.task_key or draft.task_code or draft.task_name):
        return next((task for task in tasks if task.is_default and task.is_active), None)
    found, _ = _by_key_or_alias(names, "task", (draft.task_key, draft.task_code, draft.task_name), draft.work_date)
    code, name = draft.task_code.strip(), normal(draft.task_name)
    for matches in (
        lambda task: task.id == found,
        lambda task: code and task.code == code,
        lambda task: name and normal(task.name) == name,
    ):
        for task in tasks:
            if matches(task):
                return task
    draft.tags.append("task-unknown")
    return None
