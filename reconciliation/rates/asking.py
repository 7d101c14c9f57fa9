"""Work that is asked for its price without a document: a person, a project, a task and a day, all known by our own codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from portal.records import SourceStatus
from reconciliation import policies
from reconciliation.facts import Draft, Facts, give_routes, load_prices
from reconciliation.facts.load import Days


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Hours of one person on one project and day, as a source of an entity would report them. Empty task: the default."""

    source_id: int
    entity_id: int
    person: str
    project: str
    task: str = ""
    day: date
    hours: Decimal


def draft_of(work: Work) -> Draft:
    """The draft that such hours would be."""
    draft = Draft(
        document_id=0, source_id=work.source_id, entity_id=work.entity_id, kind="time", external_id="", version=0,
        status=SourceStatus.APPROVED, resource_key="", resource_code=work.person, resource_name="", project_key="",
        project_code=work.project, project_name="", task_key="", task_code=work.task, task_name="", work_date=work.day,
        says_billable=True, says_currency="", description="", approver_key="", approver_code="", approver_name="",
        provenance="", says_post_on=None, hours=work.hours, says_rate=None, rate_source="", starts_at=None, ends_at=None,
        gross=None, category="", tax_code="", tax_amount=None, receipt_reference="",
    )  # fmt: skip
    draft.whole_hours = work.hours
    return draft


def known(drafts: Sequence[Draft], *, days: Days | None = None) -> Facts:
    """Resolve drafts and load what prices them. Where no route leads one on its day, its entity's own policy holds."""
    _, entities = give_routes(drafts)
    for draft in drafts:
        if not draft.is_routed:
            draft.policy = policies.merged(entities[draft.entity_id].policy)
    return load_prices(drafts, entities, days=days)
