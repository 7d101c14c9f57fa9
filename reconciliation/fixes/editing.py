"""Single entries put right one by one: each with its own project, task, rate or period, tried and confirmed together.

The rule here: what is typed is staged and nothing more; it becomes a version of the document only by the operation that was
tried on the real entries and confirmed. A rate is a controller's decision.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from portal import access, canonical
from portal.models import AccountingPeriod, LedgerEntry, Project, State, Task
from reconciliation import validation
from reconciliation.fixes.base import Fix, Work


class EditEntries(Fix):
    """Each entry as a person typed it. `parameters["rows"]` is {entry: {project, task, rate, period}}, ids and a figure."""

    code = "edit-entries"
    label = "Correct single entries"
    help = "Makes a new version of each entry with the project, task, rate or period that you typed for it."
    states = frozenset({State.HELD, State.REJECTED})

    def apply(self, work: Work, entry_ids: Sequence[int]) -> None:
        """Make the versions, those that change alike together, and let validation admit them."""
        staged: Mapping[str, Mapping[str, Any]] = work.parameters["rows"]
        documents = dict(LedgerEntry.objects.filter(pk__in=entry_ids).values_list("pk", "document_id"))
        alike: dict[tuple[tuple[str, Any], ...], list[int]] = defaultdict(list)
        for entry_id in entry_ids:
            typed = {name: value for name, value in staged[str(entry_id)].items() if value not in ("", None)}
            alike[tuple(sorted(typed.items()))].append(documents[entry_id])
        corrected: list[int] = []
        for typed_alike, ids in alike.items():
            changes = changes_of(work, dict(typed_alike))
            corrected += canonical.correct(sorted(set(ids)), changes, author=work.user, reason=work.reason)
        validation.admit(sorted(corrected), actor=work.actor)


def changes_of(work: Work, typed: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a new version. Raises ValueError where the person may not set a rate."""
    changes: dict[str, Any] = {}
    if "project" in typed:
        project = Project.objects.visible_to(work.user).get(pk=typed["project"])
        changes |= {"project_key": "", "project_code": project.code, "project_name": project.name}
        changes |= {"task_key": "", "task_code": "", "task_name": ""}
    if "task" in typed:
        task = Task.objects.visible_to(work.user).get(pk=typed["task"])
        changes |= {"task_key": "", "task_code": task.code, "task_name": task.name}
    if "rate" in typed:
        if not access.may(work.user, access.APPROVERS, work.entity_id):
            raise ValueError("A rate is set by a controller of the entity.")
        changes |= {"rate": Decimal(str(typed["rate"])), "rate_source": "source"}
    if "period" in typed:
        period = AccountingPeriod.objects.visible_to(work.user).get(pk=typed["period"], entity=work.entity_id)
        changes["post_on"] = period.starts_on
    return changes
