"""Rate cards on screen: which there are, each as a matrix with its gaps and overlaps, and two versions side by side.

The rule here: a card is seen as the master data says; of its rows only those of people and tasks that the person may see.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, cast

import django_filters as filters
from django.db.models import Case, CharField, Count, F, Q, QuerySet, Value, When
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import cached_property

from portal import access, export, keys
from portal.export import Cell, Heading
from portal.models import Rate, RateCard, Resource, Task
from portal.screens import (
    DayColumn,
    Empty,
    ListScreen,
    MainColumn,
    NumberColumn,
    Screen,
    StateColumn,
    Table,
    TextColumn,
    chosen_entities,
)
from portal.views.governed import visible
from reconciliation.rates import matrix, overlaps
from reconciliation.rates.matrix import Compared
from reconciliation.rates.overlaps import owner_of

TONES = {"Holds now": "good", "From a later day": "info", "Ended": ""}


class CardFilter(filters.FilterSet):  # type: ignore[misc]
    """What rate cards are found by."""

    text = filters.CharFilter(method="by_text", label="Card, contract or customer")
    on = filters.DateFilter(method="by_day", label="Holds on")
    role = filters.CharFilter(method="by_role", label="Role")

    def by_text(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """In the codes and names of the card and of whose it is."""
        paths = ("code", "name", "contract__code", "customer__code", "customer__name", "entity__code")
        condition = Q()
        for path in paths:
            condition |= Q(**{f"{path}__icontains": value})
        return rows.filter(condition)

    def by_day(self, rows: QuerySet[Any], name: str, value: Any) -> QuerySet[Any]:
        """Cards that hold on a day."""
        return rows.filter(Q(valid_to=None) | Q(valid_to__gte=value), valid_from__lte=value)

    def by_role(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """Cards with a rate for a role, by code or name."""
        named = Q(role__code__iexact=value) | Q(role__name__icontains=value)
        return rows.filter(pk__in=Rate.objects.filter(named).values("card"))

    class Meta:
        model = RateCard
        fields: list[str] = []


NOW, LATER, ENDED = TONES


def standing_of(card: RateCard) -> str:
    """Whether a card holds today."""
    today = timezone.localdate()
    if card.valid_from > today:
        return LATER
    return ENDED if card.valid_to is not None and card.valid_to < today else NOW


def _standing() -> Case:
    """The same of every card of a list."""
    today = timezone.localdate()
    return Case(
        When(valid_from__gt=today, then=Value(LATER)), When(valid_to__lt=today, then=Value(ENDED)), default=Value(NOW),
        output_field=CharField(),
    )  # fmt: skip


class CardTable(Table):
    """Rate cards: whose, from when to when, and how much is in them."""

    card = MainColumn(
        accessor="code",
        url=lambda card: reverse("rate_card", args=[card.pk]),
        second=lambda card: card.name,
        drawer=False,
        verbose_name="Card",
    )
    owner = TextColumn(accessor="pk", orderable=False, verbose_name="For")
    valid_from = DayColumn(verbose_name="From")
    valid_to = DayColumn(verbose_name="To")
    standing = StateColumn(TONES, verbose_name="State")
    rates = NumberColumn(accessor="rate_count", verbose_name="Rates")
    roles = NumberColumn(accessor="role_count", verbose_name="Roles")

    def render_card(self, record: RateCard) -> Any:
        """Code and version, linked."""
        column: MainColumn = self.columns["card"].column
        return column.render(str(record), record)

    def value_card(self, record: RateCard) -> str:
        """Code and version."""
        return str(record)

    def render_owner(self, record: RateCard) -> str:
        """The contract, the customer, the entity, or everybody."""
        return owner_of(record)


class CardList(ListScreen):
    """Every rate card that the person sees."""

    title = "Rates"
    caption = "Rate cards with whose they are and when they hold"
    filterset = CardFilter
    table = CardTable
    empty = Empty("No rate card yet", "They come with manage.py import_master_data.")

    def rows(self) -> QuerySet[RateCard]:
        """Visible cards, of the entities looked at and those shared by all."""
        cards = visible(RateCard, self.request.user).select_related("contract", "customer", "entity")
        choice = chosen_entities(self.request)
        if choice.narrowed:
            ids = choice.ids
            own = Q(contract__entity__in=ids) | Q(entity__in=ids) | Q(customer__entity__in=ids)
            cards = cards.filter(own | Q(contract=None, entity=None, customer__entity=None))
        counted: QuerySet[RateCard] = cards.annotate(
            rate_count=Count("rates", distinct=True), role_count=Count("rates__role", distinct=True),
            standing=_standing(),
        )  # fmt: skip
        return counted.order_by("code", F("version").desc())

    def headline(self) -> str:
        """How they are asked."""
        return "The most exact card is asked first: the contract's, the customer's, the entity's, then everybody's."

    def buttons(self) -> list[tuple[str, str]]:
        """The tester and the finder."""
        return [("Which rate?", reverse("rate_tester")), ("Gaps and overlaps", reverse("rate_gaps"))]


def rates_of(card: RateCard, user: Any) -> list[Rate]:
    """The rates of a card, but for those of people and tasks that the person may not see."""
    rates = Rate.objects.filter(
        Q(resource=None) | Q(resource__in=Resource.objects.visible_to(user)),
        Q(task=None) | Q(task__in=Task.objects.visible_to(user)),
        card=card,
    )
    return list(rates.select_related("resource", "role", "task__project").order_by("valid_from", "pk"))


class CardScreen(Screen):
    """What the pages of one card have in common."""

    def card(self, pk: int) -> RateCard:
        """The card of the address, if the person may see it."""
        cards = visible(RateCard, self.request.user).select_related("contract__customer", "customer", "entity")
        return cast("RateCard", get_object_or_404(cards, pk=pk))

    @cached_property
    def person(self) -> Any:
        """Who looks."""
        return self.request.user

    def versions(self, card: RateCard) -> list[RateCard]:
        """The cards of the same code that the person sees, the latest first."""
        return list(visible(RateCard, self.person).filter(code=card.code).order_by("-version"))

    def exported(self, title: str, filters: list[str], rows: Iterable[list[Cell]]) -> HttpResponseBase | None:
        """The rows as a file, where the address asks for one."""
        form = self.request.GET.get("export", "")
        if form not in export.FORMATS:
            return None
        table = list(rows)
        heading = Heading(title=title, filters=filters, person=self.person.get_username(), count=len(table) - 1)
        return export.answer_rows(form, heading, table, own=export.dialect(self.person.preferences))


class CardPage(CardScreen):
    """One card as a matrix, with what is odd about it."""

    template_name = "rates/card.html"

    def get(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """The page, or the matrix as a file."""
        card = self.card(pk)
        rates = rates_of(card, request.user)
        found = matrix.of(card, rates)
        title = f"Rate card {card}"
        file = self.exported(title, [f"For {owner_of(card)}"], _matrix_rows(found))
        if file is not None:
            return file
        beside = _beside(card, request.user)
        said = [one for one in overlaps.find([card, *beside], rates) if one.card == card]
        versions = self.versions(card)
        return self.page(
            self.context(
                title=title,
                card=card,
                owner=owner_of(card),
                standing=standing_of(card),
                tone=TONES[standing_of(card)],
                matrix=found,
                may_write=bool(self.person.roles() & access.OPERATORS),
                overlaps=said,
                versions=versions,
                gaps=sum(row.has_gap for row in found.rows),
                before=next((one for one in versions if one.version < card.version), None),
                hidden=Rate.objects.filter(card=card).count() - len(rates),
            )
        )


def _beside(card: RateCard, user: Any) -> list[RateCard]:
    """Visible cards of wider scope that may price the same work."""
    wider = Q(contract=None, customer=None, entity=None)
    if card.contract is not None:
        wider |= Q(customer=card.contract.customer_id) | Q(entity=card.contract.entity_id)
    cards = visible(RateCard, user).filter(wider).exclude(pk=card.pk)
    return list(cards.select_related("contract", "customer", "entity"))


def _matrix_rows(found: matrix.Matrix) -> Iterator[list[Cell]]:
    """The matrix as rows of a file: one column a range, the rate's figure in it."""
    yield ["For", "Narrowed to", "Currency", "Unit", *(span.label for span in found.spans)]
    for row in found.rows:
        figures_: list[Cell] = []
        for cell in row.cells:
            figures_ += [cell.rate.amount if cell.rate is not None else ""] * cell.width
        units = sorted({cell.rate.unit for cell in row.cells if cell.rate is not None})
        yield [row.name, row.note, row.currency, " and ".join(units), *figures_]


class ComparePage(CardScreen):
    """Two versions of a card side by side."""

    template_name = "rates/compare.html"

    def get(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """The page: the card beside the one that the address names, else the version before it."""
        card = self.card(pk)
        versions = self.versions(card)
        asked = keys.key(request.GET.get("with", ""))
        if asked is not None:
            other: RateCard | None = self.card(asked)
        else:
            other = next((one for one in versions if one.version < card.version), None)
        if other is None:
            raise Http404("There is no other version of this card.")
        before, after = sorted((card, other), key=lambda one: (one.valid_from, one.version))
        rows = matrix.compare(rates_of(before, request.user), rates_of(after, request.user))
        title = f"{before} and {after}"
        file = self.exported(f"Rate cards {title}", [f"For {owner_of(card)}"], _compared_rows(before, after, rows))
        if file is not None:
            return file
        counts = {word: sum(row.standing == word for row in rows) for word in ("changed", "added", "ended", "same")}
        return self.page(
            self.context(
                title=title,
                card=card,
                before=before,
                after=after,
                rows=rows,
                counts=counts,
                others=[one for one in versions if one.pk != card.pk],
                owner=owner_of(card),
                chosen=other,
            )
        )


def _compared_rows(before: RateCard, after: RateCard, rows: list[Compared]) -> Iterator[list[Cell]]:
    yield ["For", "Narrowed to", "Currency", str(before), str(after), "Difference", "Per cent", "What"]
    for row in rows:
        percent = round(row.percent, 2) if row.percent is not None else None
        yield [
            row.name, row.note, row.currency, row.before[-1].amount if row.before else None,
            row.after[0].amount if row.after else None, row.difference, percent, row.standing,
        ]  # fmt: skip
