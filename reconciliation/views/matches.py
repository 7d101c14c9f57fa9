"""What was matched of a period: by whom or by which rule, what was left over and why, and what became of it."""

from __future__ import annotations

from typing import Any

import django_filters as filters
from django.db.models import F, Q, QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString

from portal import figures
from portal.models import AccountingPeriod
from portal.screens import (
    CurrencyColumn,
    Empty,
    HoursColumn,
    ListScreen,
    MainColumn,
    MoneyColumn,
    Outcome,
    Refused,
    StateColumn,
    Tab,
    Table,
    TextColumn,
    WhenColumn,
)
from reconciliation import pairing
from reconciliation.billing import tying
from reconciliation.models import Match
from reconciliation.views.open_items import TakeApart

State = Match.State
TONES: dict[str, str] = {State.SUGGESTED: "info", State.CONFIRMED: "good", State.REFUSED: "", State.BROKEN: "warn"}


class MatchFilter(filters.FilterSet):  # type: ignore[misc]
    """What matches are found by."""

    leg = filters.ChoiceFilter(choices=Match._meta.get_field("leg").choices, label="Leg")
    kind = filters.ChoiceFilter(choices=Match.Kind.choices, label="Kind")
    reason = filters.CharFilter("reason", lookup_expr="icontains", label="Reason")

    class Meta:
        model = Match
        fields: list[str] = []


class TakeMatchApart(TakeApart):
    """They do not belong together."""

    sentence = "Take {count} matches apart"
    of_one = "Take 1 match apart"
    page_template = "screens/action.html"

    def preview(self) -> dict[str, Any]:
        """Nothing besides the question: the sides stand in the list."""
        return {}

    def apply(self, queryset: QuerySet[Any], user: Any) -> Outcome:
        """Each whole; what was tied to a bill is open to be billed again."""
        found = list(queryset.select_related("period__entity").order_by("pk"))
        try:
            for match in found:
                tying.take_apart(match, user, self.cleaned_data["reason"])
        except pairing.NotMatchable as refusal:
            raise Refused(str(refusal)) from refusal
        return Outcome(
            "1 match is taken apart." if len(found) == 1 else f"{len(found)} matches are taken apart.", tone="warn"
        )


def place_of(match: Match) -> str:
    """The leg's sides beside each other."""
    return reverse("matching_panes", args=[match.period_id, match.leg])


class MatchTable(Table):
    """One match a row: what came together, what was left over, and who said so."""

    reason = MainColumn(verbose_name="Why", url=place_of, drawer=False, orderable=False, empty_values=())
    state = StateColumn(TONES)
    leg = TextColumn()
    items = TextColumn()
    hours_over = HoursColumn(verbose_name="Hours left over", orderable=False)
    amount_over = MoneyColumn(verbose_name="Left over", orderable=False)
    currency = CurrencyColumn()
    made_at = WhenColumn(verbose_name="Since")

    def render_reason(self, record: Any) -> SafeString:
        """Why, and under it who or what matched them and what became of it."""
        return format_html(
            '<a href="{}" data-main>{}</a><small>{}</small>', place_of(record), _title(record), _by(record)
        )

    def value_reason(self, record: Any) -> str:
        """The same in a file."""
        return f"{_title(record)}: {_by(record)}"


def _title(match: Match) -> str:
    if match.reason:
        return match.reason
    return "Nothing was left over" if match.kind == Match.Kind.MATCH else str(match.get_kind_display())


def _by(match: Match) -> str:
    words = [f"Rule {match.rule}" if match.rule_id else str(match.decided_by)]
    if match.code not in ("", Match.Code.EXACT):
        words.append(str(match.get_code_display()).lower())
    if match.expected_on:
        words.append(f"expected by {figures.day(match.expected_on)}")
    if match.allocations:
        words.append(
            f"tied to lines of bills in {len(match.allocations)} part{'' if len(match.allocations) == 1 else 's'}"
        )
    if match.why:
        words.append(match.why)
    return " · ".join(words)


class MatchList(ListScreen):
    """The matches of a period, the latest first."""

    template_name = "screens/list.html"
    filterset = MatchFilter
    table = MatchTable
    actions = (TakeMatchApart,)
    tabs = (
        Tab("standing", "Standing", lambda _user: Q(state__in=[State.CONFIRMED, State.SUGGESTED])),
        Tab("ended", "Ended", lambda _user: Q(state__in=[State.REFUSED, State.BROKEN])),
        Tab("all", "All"),
    )
    caption = "Matches of the period"

    @cached_property
    def period(self) -> AccountingPeriod:
        """The period of this address; one of another entity is not found."""
        seen = AccountingPeriod.objects.visible_to(self.request.user).select_related("entity")
        found: AccountingPeriod = get_object_or_404(seen, pk=self.kwargs["pk"])
        return found

    @property
    def queryset(self) -> QuerySet[Match]:  # type: ignore[override]
        """What was ever matched of the period."""
        rows = Match.objects.filter(period=self.period).select_related("rule", "decided_by")
        return rows.annotate(
            hours_over=F("hours_left") - F("hours_right"), amount_over=F("amount_left") - F("amount_right")
        ).order_by("-pk")

    def rows(self) -> QuerySet[Any]:
        """The matches of this period, whatever entities are looked at elsewhere."""
        return self.queryset

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Name the page after its period."""
        if request.user.is_authenticated:
            self.title = f"Matches of {self.period.entity} {self.period.code}"
        return super().dispatch(request, *args, **kwargs)

    def headline(self) -> str:
        """What stands here."""
        return "What belongs together, by a person or by a rule; a match breaks when one of its items changes."

    def buttons(self) -> list[tuple[str, str]]:
        """To match more, and back to the period."""
        return [
            ("Match by hand", reverse("matching", args=[self.period.pk])),
            ("The period", reverse("reconciliation_period", args=[self.period.pk])),
        ]

    def nothing(self) -> Empty:
        """Nothing was matched by sense."""
        return Empty("No match here", "What ties out by its number needs none.", "?tab=all", "See all")
