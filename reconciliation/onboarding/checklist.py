"""What must stand before an entity goes live, each item computed from what stands now: met, not met, or not asked of it.

The rule here: nobody ticks an item. It says what it found, what to do about it, and where.
"""

from __future__ import annotations

from portal.models.documents import INVOICE
from reconciliation.models import Onboarding, Route
from reconciliation.onboarding.base import sources_of
from reconciliation.onboarding.checks import connections, entity, reach
from reconciliation.onboarding.checks.base import FAILS, MET, NOT_ASKED, Asked, Item

__all__ = ["FAILS", "MET", "NOT_ASKED", "Item", "checklist"]


def checklist(onboarding: Onboarding) -> list[Item]:
    """Every item, in the order in which they are worked off; a fixed number of queries."""
    sources = sources_of(onboarding)
    routes = (
        Route.objects.filter(entity=onboarding.entity, source__in=sources)
        .exclude(kind=INVOICE)
        .select_related("source", "target")
    )
    asked = Asked(onboarding, sources, list(routes))
    return [
        entity.currency(asked), entity.calendar(asked), entity.periods(asked), entity.tax(asked), connections.sources(asked),
        connections.routes(asked), connections.policies(asked), connections.tested(asked), *reach.coverage(asked),
        reach.intercompany(asked), reach.price_lists(asked), connections.cut_over(asked), entity.second_person(asked),
    ]  # fmt: skip
