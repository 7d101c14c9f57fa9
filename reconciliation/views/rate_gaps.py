"""Gaps and overlaps of rates over all work of the entities that a person looks at, with the hours and the money at stake."""

from __future__ import annotations

from collections.abc import Iterator

from django.db.models import Q
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils import timezone

from portal import figures
from portal.export import Cell
from portal.models import LegalEntity, Project, Rate, RateCard
from portal.screens import Tile, chosen_entities
from portal.views.governed import visible
from reconciliation.rates import gaps, overlaps
from reconciliation.rates.gaps import LABELS, Gap, Standing
from reconciliation.sql import rates as rates_sql
from reconciliation.views.rates import CardScreen

SHOWN = 200  # of the dearest; a file holds all
TONES = {Standing.OPEN: "warn", Standing.REOPENED: "info", Standing.EXPECTED: ""}


class GapsScreen(CardScreen):
    """Where work has no rate, and where rates cover the same days."""

    title = "Gaps and overlaps"
    template_name = "rates/gaps.html"

    def get(self, request: HttpRequest) -> HttpResponseBase:
        """The page, or its gaps as a file."""
        choice = chosen_entities(request)
        found = gaps.find(choice.ids, timezone.localdate())
        asked = request.GET.get("kind", "")
        shown = [gap for gap in found.gaps if asked not in list(Standing) or gap.standing == asked]
        codes = dict(LegalEntity.objects.filter(pk__in=choice.ids).values_list("pk", "code"))
        file = self.exported(self.title, [f"Entities: {', '.join(sorted(choice.codes))}"], _rows(shown, codes))
        if file is not None:
            return file
        projects = set(Project.objects.visible_to(request.user).values_list("pk", flat=True))
        return self.page(
            self.context(
                rows=[(gap, codes[gap.entity_id], self.question(gap, projects)) for gap in shown[:SHOWN]],
                count=len(shown),
                more=max(0, len(shown) - SHOWN),
                is_cut=found.is_cut,
                most=gaps.MOST,
                asked=asked,
                tiles=_tiles(found, asked),
                overlaps=self.overlaps(choice.ids),
                tones=TONES,
                labels=LABELS,
            )
        )

    def question(self, gap: Gap, projects: set[int]) -> str:
        """The tester's address for a gap's first day, where the person may open the project."""
        if gap.project_id not in projects:
            return ""
        return f"{reverse('rate_tester')}?person={gap.person_id}&project={gap.project_id}&day={gap.first}"

    def overlaps(self, entity_ids: list[int]) -> list[overlaps.Overlap]:
        """What overlaps among the cards that may price the open work of these entities."""
        contracts, customers, entities = rates_sql.agreements_of_open_work(entity_ids)
        needed = Q(contract__in=contracts) | Q(customer__in=customers) | Q(entity__in=entities)
        shared = Q(contract=None, customer=None, entity=None)
        cards = visible(RateCard, self.person).filter(needed | shared).select_related("contract", "customer", "entity")
        rates = Rate.objects.filter(card__in=cards, resource=None, task=None).select_related("role", "resource", "task")
        return overlaps.find(list(cards), rates)


def _tiles(found: gaps.Found, asked: str) -> list[Tile]:
    """One tile for each kind of work, which narrows the list to it."""
    tiles = []
    for standing, label in LABELS.items():
        some = gaps.Found([gap for gap in found.gaps if gap.standing == standing], is_cut=False)
        money = " · ".join(f"{figures.amount(amount, code)} {code}" for code, amount in some.money().items())
        tiles.append(
            Tile(
                label,
                figures.number(len(some.gaps)),
                unit="gaps" if len(some.gaps) != 1 else "gap",
                url="?" if asked == standing else f"?kind={standing}",
                is_on=asked == standing,
                note=f"{figures.hours(some.hours())} h · about {money}"
                if money
                else f"{figures.hours(some.hours())} h",
                tone=TONES[standing] if some.gaps else "",
            )
        )
    return tiles


def _rows(found: list[Gap], codes: dict[int, str]) -> Iterator[list[Cell]]:
    yield [
        "Work", "Entity", "Project", "Under", "Person", "Role", "Task", "From", "To", "Entries or days", "Hours",
        "Estimate", "Currency", "Estimated by", "Why",
    ]  # fmt: skip
    for gap in found:
        yield [
            LABELS[gap.standing], codes[gap.entity_id], gap.project, gap.under, gap.person, gap.role, gap.task, gap.first,
            gap.last, gap.pieces, gap.hours, gap.amount, gap.currency if gap.amount is not None else "", gap.basis, gap.reason,
        ]  # fmt: skip
