"""The work-list of a period: what differs, what is suggested and what is to come, and matching it until nothing is left over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.db.models import Q, QuerySet, Sum
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString

from portal.access import FIXERS
from portal.models import AccountingPeriod
from portal.screens import (
    Action,
    CurrencyColumn,
    DayColumn,
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
)
from portal.screens.paging import Summary
from reconciliation import pairing
from reconciliation.billing import tying
from reconciliation.models import Match, ReconciliationResult
from reconciliation.views.periods import RowFilter, of_one_leg
from reconciliation.views.results import ABOUT, result_address, result_name

Standing = ReconciliationResult.Standing


def chosen_items(queryset: QuerySet[Any]) -> list[ReconciliationResult]:
    """The chosen results with what deciding needs."""
    return list(queryset.select_related("run__entity", "match__period").order_by("pk"))


class _Deciding(Action):
    """What acts on open items have in common: both sides and what is left over are shown before anything is done."""

    roles = FIXERS
    page_template = "reconciliation_runs/match.html"

    def preview(self) -> dict[str, Any]:
        """Left, right, and what is left over."""
        try:
            return {"sides": pairing.sides_of(self.queryset)}
        except pairing.NotMatchable as refusal:
            return {"uneven": str(refusal)}


class MatchItems(_Deciding):
    """They belong together."""

    name, label = "match", "Match"
    sentence = "Match {count} items with each other"
    code = forms.ChoiceField(
        label="What is left over is",
        required=False,
        choices=[("", "Nothing"), *(choice for choice in Match.Code.choices if choice[0] != Match.Code.EXACT)],
    )
    reason = forms.CharField(label="Reason", widget=forms.Textarea(attrs={"rows": 2}), required=False, max_length=500)

    def apply(self, queryset: QuerySet[Any], user: Any) -> Outcome:
        """Match them; refused where more is left over than may be."""
        try:
            made = tying.match(
                chosen_items(queryset), user, code=self.cleaned_data["code"], reason=self.cleaned_data["reason"]
            )
        except pairing.NotMatchable as refusal:
            raise Refused(str(refusal)) from refusal
        return Outcome(f"{made.items} items are matched.")


class StillToCome(_Deciding):
    """What is missing comes by a day."""

    name, label = "timing", "Still to come"
    sentence = "Say that {count} items are still to come"
    of_one = "Say that 1 item is still to come"
    expected_on = forms.DateField(label="Expected by", widget=forms.DateInput(attrs={"type": "date"}))
    reason = forms.CharField(label="Reason", widget=forms.Textarea(attrs={"rows": 2}), max_length=500)

    def apply(self, queryset: QuerySet[Any], user: Any) -> Outcome:
        """They wait until the day."""
        day = self.cleaned_data["expected_on"]
        try:
            made = pairing.wait(chosen_items(queryset), user, expected_on=day, reason=self.cleaned_data["reason"])
        except pairing.NotMatchable as refusal:
            raise Refused(str(refusal)) from refusal
        return Outcome(f"{made.items} items are expected by {day}; after it they stand unmatched again.")


class ConfirmSuggestion(_Deciding):
    """The rule is right."""

    name, label = "confirm", "Confirm suggestion"
    sentence = "Confirm the suggestions of {count} items"
    of_one = "Confirm the suggestion of 1 item"

    def apply(self, queryset: QuerySet[Any], user: Any) -> Outcome:
        """Every suggestion that a chosen item belongs to is confirmed whole."""
        found = {item.match for item in chosen_items(queryset) if item.match is not None}
        found = {match for match in found if match.state == Match.State.SUGGESTED}
        if not found:
            raise Refused("Nothing is suggested for these.")
        try:
            for match in sorted(found, key=lambda match: match.pk):
                pairing.confirm(match, user)
        except pairing.NotMatchable as refusal:
            raise Refused(str(refusal)) from refusal
        return Outcome(f"{sum(match.items for match in found)} items are matched as suggested.")


class TakeApart(_Deciding):
    """They do not belong together."""

    name, label, tone = "break", "Take apart", "danger"
    sentence = "Take the matches of {count} items apart"
    of_one = "Take the match of 1 item apart"
    reason = forms.CharField(label="Reason", widget=forms.Textarea(attrs={"rows": 2}), max_length=500)

    def apply(self, queryset: QuerySet[Any], user: Any) -> Outcome:
        """Refuse suggestions and break matches, whole."""
        found = {item.match for item in chosen_items(queryset) if item.match is not None}
        if not found:
            raise Refused("None of these is matched.")
        try:
            for match in sorted(found, key=lambda match: match.pk):
                tying.take_apart(match, user, self.cleaned_data["reason"])
        except pairing.NotMatchable as refusal:
            raise Refused(str(refusal)) from refusal
        return Outcome(f"{len(found)} matches are taken apart.", tone="warn")


class OpenItemTable(Table):
    """One open item a row: both sides, what is wrong, its age, and the match that it belongs to."""

    subject = MainColumn(verbose_name="Item", url=result_address, drawer=False, orderable=False)
    standing = StateColumn({}, accessor="standing")
    leg = TextColumn(optional=True)
    outcome = TextColumn(verbose_name="Difference")
    dated = DayColumn(verbose_name="Since")
    hours_left = HoursColumn(verbose_name="Hours left")
    hours_right = HoursColumn(verbose_name="Hours right")
    amount_left = MoneyColumn(verbose_name="Amount left")
    amount_right = MoneyColumn(verbose_name="Amount right")
    currency = CurrencyColumn()
    match = TextColumn(verbose_name="Suggested by, or why", empty_values=(), orderable=False, wraps=True, optional=True)

    def render_subject(self, record: Any) -> SafeString:
        """What it is, linked, what is wrong in words, and what explains it."""
        link = format_html('<a href="{}" data-main>{}</a>', result_address(record), result_name(record))
        words = " ".join(filter(None, (record.reason, match_words(record) if record.match_id else "")))
        return format_html("{}<small>{}</small>", link, words) if words else link

    def value_subject(self, record: Any) -> str:
        """What it is, and what is wrong."""
        return f"{result_name(record)}: {record.reason}" if record.reason else result_name(record)

    def render_standing(self, record: Any) -> SafeString:
        """Where it stands in words."""
        tone = {"matched": "good", "timing": "warn", "suggested": "info"}.get(record.standing, "bad")
        return format_html('<span class="state {}">{}</span>', tone, record.get_standing_display())

    def value_standing(self, record: Any) -> str:
        """The words alone."""
        return str(record.get_standing_display())

    def render_match(self, record: Any) -> str:
        """Who or what put it there, and with how many."""
        return match_words(record)

    def value_match(self, record: Any) -> str:
        """The same in a file."""
        return match_words(record)


def match_words(record: Any) -> str:
    """Who or what explains an item, and until when."""
    match = record.match
    if match is None:
        return f"Expected by {record.expected_on}" if record.expected_on else ""
    by = str(match.rule) if match.rule_id else str(match.decided_by)
    until = f", expected by {match.expected_on}" if match.expected_on else ""
    return f"{by}: {match.items} items{until}. {match.reason}"


class OpenItemsScreen(ListScreen):
    """What of a period differs, is suggested, or is to come; matched by hand until nothing is left over."""

    template_name = "screens/list.html"
    filterset = RowFilter
    table = OpenItemTable
    actions = (MatchItems, ConfirmSuggestion, StillToCome, TakeApart)
    tabs = (
        Tab("unmatched", "Unmatched", lambda _user: Q(standing="unmatched")),
        Tab("suggested", "Suggested", lambda _user: Q(standing="suggested")),
        Tab("timing", "To come", lambda _user: Q(standing="timing")),
        Tab("explained", "Matched", lambda _user: Q(standing="matched")),
        Tab("all", "All"),
    )
    totals = {
        "hours_left": Sum("hours_left"), "hours_right": Sum("hours_right"),
        "amount_left": Sum("amount_left"), "amount_right": Sum("amount_right"),
    }  # fmt: skip
    currency = "currency"
    caption = "Open items of the period"

    def summary_of(self, queryset: QuerySet[Any]) -> Summary:
        """Count and totals, as far as the rows are of one leg."""
        return of_one_leg(super().summary_of(queryset), queryset)

    @cached_property
    def period(self) -> AccountingPeriod:
        """The period of this address; one of another entity is not found."""
        seen = AccountingPeriod.objects.visible_to(self.request.user).select_related("entity")
        found: AccountingPeriod = get_object_or_404(seen, pk=self.kwargs["pk"])
        return found

    @property
    def queryset(self) -> QuerySet[ReconciliationResult]:  # type: ignore[override]
        """What stands, grouped by what belongs together, the oldest first."""
        standing = ReconciliationResult.objects.standing().filter(period=self.period)
        rows: QuerySet[ReconciliationResult] = standing.select_related(
            *ABOUT, "match__rule", "match__decided_by"
        ).order_by("leg", "match_id", "dated", "pk")
        return rows

    def rows(self) -> QuerySet[Any]:
        """The items of this period, whatever entities are looked at elsewhere."""
        return self.queryset

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Name the page after its period."""
        if request.user.is_authenticated:
            self.title = f"Open items of {self.period.entity} {self.period.code}"
        return super().dispatch(request, *args, **kwargs)

    def headline(self) -> str:
        """What is done here."""
        return "Choose what belongs together on both sides; what is left over must be zero, or small and explained."

    def buttons(self) -> Sequence[tuple[str, str]]:
        """Both sides beside each other, and back to the period."""
        return [
            ("Two sides", reverse("matching", args=[self.period.pk])),
            ("The period", reverse("reconciliation_period", args=[self.period.pk])),
        ]

    def nothing(self) -> Empty:
        """Nothing open is good news."""
        if self.tab and self.tab.slug == "unmatched":
            return Empty(
                "Nothing is unmatched", "Every item ties out, is explained or is still to come.", "?tab=all", "See all"
            )
        return Empty("No item here", "Compare the period to see what stands.", "?tab=all", "See all")
