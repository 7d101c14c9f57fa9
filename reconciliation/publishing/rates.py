"""Which rate is agreed for a person on a project: the same question that pricing answers for their hours, asked for a day."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date
from decimal import Decimal

from portal.models import Connection
from portal.records import SourceStatus
from reconciliation import policies, pricing
from reconciliation.facts import Draft, give_routes, load_prices
from reconciliation.sql import master_data


def agreed(
    connection: Connection, pairs: Collection[tuple[int, int]], day: date
) -> dict[tuple[int, int], pricing.Agreed]:
    """The agreed rate of each (project, person) on a day, as an hour of that day brought by this connection would be priced.

    Left out where the hours are not billed or no rate was agreed: nothing is told of what nobody agreed.
    """
    projects = {row[0]: (row[1], row[3]) for row in master_data.projects({pair[0] for pair in pairs}, ())}
    people = {row[0]: row[1] for row in master_data.resources({pair[1] for pair in pairs}, (), ())}
    drafts = {
        (project_id, person_id): _hour(connection.pk, *projects[project_id], people[person_id], day)
        for project_id, person_id in sorted(pairs)
    }
    _, entities = give_routes(list(drafts.values()))
    for draft in drafts.values():
        if not draft.is_routed:
            draft.policy = policies.merged(entities[draft.entity_id].policy)
    facts = load_prices(list(drafts.values()), entities)
    found: dict[tuple[int, int], pricing.Agreed] = {}
    for pair, draft in drafts.items():
        if pricing.billing_model(draft) != pricing.BY_THE_HOUR:
            continue
        if (rate := pricing.find(draft, facts)) is not None:
            found[pair] = rate
    return found


def _hour(source_id: int, project: str, entity_id: int, person: str, day: date) -> Draft:
    """An hour of a person on a project and day, all known by our own codes, as a source would report it."""
    return Draft(
        document_id=0, source_id=source_id, entity_id=entity_id, kind="time", external_id="", version=0,
        status=SourceStatus.APPROVED, resource_key="", resource_code=person, resource_name="", project_key="",
        project_code=project, project_name="", task_key="", task_code="", task_name="", work_date=day, says_billable=True,
        says_currency="", description="", approver_key="", approver_code="", approver_name="", provenance="",
        says_post_on=None, hours=Decimal(1), says_rate=None, rate_source="", starts_at=None, ends_at=None, gross=None,
        category="", tax_code="", tax_amount=None, receipt_reference="",
    )  # fmt: skip
