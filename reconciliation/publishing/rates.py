"""Which rate is agreed for a person on a project: the same question that pricing answers for their hours, asked for a day."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date

from reconciliation import policies, pricing
from reconciliation.facts import Draft, load_prices
from reconciliation.facts.records import Engagement, Entity, Project, Resource
from reconciliation.facts.tables import as_mapping, by_id
from reconciliation.sql import master_data


def agreed(pairs: Collection[tuple[int, int]], day: date) -> dict[tuple[int, int], pricing.Agreed]:
    """The agreed rate of each (project, person) on a day; left out where the hours are not billed or no rate was agreed."""
    projects = by_id(master_data.projects({pair[0] for pair in pairs}, ()), Project)
    people = by_id(master_data.resources({pair[1] for pair in pairs}, (), ()), Resource)
    entities = {row[0]: Entity(row[0], row[1], row[2], row[3], as_mapping(row[4])) for row in master_data.entities()}
    engagements: dict[int, Engagement] = {}
    for row in master_data.engagements(people):
        engagement = Engagement(*row)
        if engagement.valid_from <= day <= engagement.valid_to:
            engagements[engagement.resource_id] = engagement
    drafts = {
        pair: _draft(projects[pair[0]], people[pair[1]], engagements.get(pair[1]), entities, day)
        for pair in sorted(pairs)
    }
    facts = load_prices(list(drafts.values()), entities)
    found: dict[tuple[int, int], pricing.Agreed] = {}
    for pair, draft in drafts.items():
        if pricing.billing_model(draft) != pricing.BY_THE_HOUR:
            continue
        if (rate := pricing.find(draft, facts)) is not None:
            found[pair] = rate
    return found


def _draft(
    project: Project, person: Resource, engagement: Engagement | None, entities: dict[int, Entity], day: date
) -> Draft:
    """An hour of this person on this project and day, as far as its price depends on it."""
    draft = Draft(
        document_id=0, source_id=0, entity_id=project.entity_id, kind="time", external_id="", version=1, status="approved",
        resource_key="", resource_code=person.code, resource_name=person.name, project_key="", project_code=project.code,
        project_name=project.name, task_key="", task_code="", task_name="", work_date=day, says_billable=True,
        says_currency="", description="", approver_key="", approver_code="", approver_name="", provenance="",
        says_post_on=None, hours=None, says_rate=None, rate_source="", starts_at=None, ends_at=None, gross=None, category="",
        tax_code="", tax_amount=None, receipt_reference="",
    )  # fmt: skip
    draft.entity = entities[project.entity_id]
    draft.policy = policies.merged(draft.entity.policy)
    draft.project, draft.resource, draft.engagement = project, person, engagement
    return draft
