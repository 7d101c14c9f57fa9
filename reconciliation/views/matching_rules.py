"""The rules that put open items together: written by one person, tested on history, let be used by another; with hit rates."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from http import HTTPStatus
from typing import Any, cast

import django_filters as filters
from django import forms
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from portal import access, figures
from portal.models import LegalEntity, User
from portal.screens import (
    Action,
    Empty,
    ListScreen,
    MainColumn,
    NumberColumn,
    Outcome,
    Refused,
    Screen,
    StateColumn,
    Tab,
    Table,
    TextColumn,
)
from reconciliation import pairing
from reconciliation.models import MatchingRule

TONES: dict[str, str] = {MatchingRule.State.ACTIVE: "good", MatchingRule.State.DRAFT: "warn"}


class MatchingRuleFilter(filters.FilterSet):  # type: ignore[misc]
    """What rules are found by."""

    entity = filters.CharFilter("entity__code", lookup_expr="iexact", label="Entity")
    leg = filters.ChoiceFilter(choices=MatchingRule._meta.get_field("leg").choices, label="Leg")
    name = filters.CharFilter("name", lookup_expr="icontains", label="Name")

    class Meta:
        model = MatchingRule
        fields: list[str] = []


class _OfRules(Action):
    """What acts on rules have in common: each rule by itself, and the first refusal is told."""

    def do(self, rule: MatchingRule, user: User) -> None:
        """Do it to one rule."""
        raise NotImplementedError

    def apply(self, queryset: QuerySet[Any], user: Any) -> Outcome:
        """Do it to each."""
        rules = list(queryset.select_related("entity"))
        try:
            for rule in rules:
                self.do(rule, user)
        except pairing.NotMatchable as refusal:
            raise Refused(str(refusal)) from refusal
        return Outcome(f"{self.label}: {', '.join(rule.name for rule in rules)}.")


class TestRule(_OfRules):
    """See what it would have put together in the past."""

    name, label = "test", "Test on history"
    roles = access.FIXERS
    sentence = "Test {count} rules on the last half year"
    of_one = "Test 1 rule on the last half year"

    def do(self, rule: MatchingRule, user: User) -> None:
        """Keep what it would have done."""
        pairing.test(rule, user)


class LetBeUsed(_OfRules):
    """Let it be used from the next comparison on."""

    name, label = "activate", "Let be used"
    roles = access.APPROVERS
    sentence = "Let {count} rules be used"
    of_one = "Let 1 rule be used"

    def do(self, rule: MatchingRule, user: User) -> None:
        """Somebody else than who wrote it."""
        pairing.activate(rule, user)


class Decline(_OfRules):
    """Say why a draft is not to be used."""

    name, label = "decline", "Decline"
    roles = access.APPROVERS
    sentence = "Decline {count} rules"
    of_one = "Decline 1 rule"
    reason = forms.CharField(label="Reason", widget=forms.Textarea(attrs={"rows": 2}), max_length=500)

    def do(self, rule: MatchingRule, user: User) -> None:
        """It finds nothing; its history says why."""
        pairing.decline(rule, user, self.cleaned_data["reason"])


class Retire(_OfRules):
    """Let it find nothing more."""

    name, label, tone = "retire", "Retire", "danger"
    roles = access.FIXERS
    sentence = "Retire {count} rules"
    of_one = "Retire 1 rule"

    def do(self, rule: MatchingRule, user: User) -> None:
        """What it matched stays."""
        pairing.retire(rule, user)


class MatchingRuleTable(Table):
    """One rule a row: what it puts together, what its test found, and how often people agreed."""

    name = MainColumn(
        url=lambda row: f"{reverse('matching_rules')}?tab=all&name={row.name}",
        drawer=False,
        second=lambda row: row.entity.code,
    )
    leg = TextColumn()
    criteria = TextColumn(orderable=False, empty_values=(), wraps=True)
    amount_tolerance = NumberColumn(verbose_name="May be left over")
    is_automatic = TextColumn(verbose_name="Does")
    state = StateColumn(TONES)
    tested = TextColumn(verbose_name="Test on history", orderable=False, empty_values=(), wraps=True)
    hits = TextColumn(accessor="pk", verbose_name="Hit rate, 30 days", orderable=False)
    made_by = TextColumn(accessor="made_by", verbose_name="Written by", optional=True)

    def render_amount_tolerance(self, value: Decimal) -> str:
        """As it was written."""
        return figures.exact(value)

    def render_made_by(self, value: User) -> str:
        """By their name."""
        return value.get_full_name() or value.get_username()

    def render_criteria(self, record: Any) -> str:
        """The criteria in words."""
        return self.value_criteria(record)

    def value_criteria(self, record: Any) -> str:
        """The same."""
        return "same " + ", ".join(str(MatchingRule.Criterion(name).label).lower() for name in record.criteria)

    def render_is_automatic(self, record: Any) -> str:
        """Whether it matches or suggests."""
        return "matches" if record.is_automatic else "suggests"

    def render_tested(self, record: Any) -> SafeString | str:
        """What its test found."""
        found = record.tested
        if not found:
            return "not tested"
        tone = "bad" if found["contradicted"] else "good"
        return format_html(
            '<span class="state {}">{} groups</span><small>{} as people matched them, {} otherwise, {} new</small>', tone,
            found["groups"], found["agreed"], found["contradicted"], found["new"],
        )  # fmt: skip

    def value_tested(self, record: Any) -> str:
        """The figures alone."""
        return ", ".join(f"{word} {figure}" for word, figure in record.tested.items())

    def render_hits(self, record: Any) -> str:
        """How many of its groups people confirmed, of those that were decided."""
        found, confirmed, refused = record.hit_rate
        decided = confirmed + refused
        return f"{100 * confirmed / decided:.0f} % of {decided}, {refused} refused" if decided else f"{found} found"


class MatchingRuleList(ListScreen):
    """Which open items rules put together."""

    title = "Matching rules"
    queryset = MatchingRule.objects.select_related("entity", "made_by").order_by("entity__code", "leg", "position")
    filterset = MatchingRuleFilter
    table = MatchingRuleTable
    actions = (TestRule, LetBeUsed, Decline, Retire)
    tabs = (
        Tab("active", "In use", lambda _user: Q(state="active")),
        Tab("draft", "Drafts", lambda _user: Q(state="draft")),
        Tab("all", "All"),
    )
    exportable = False
    caption = "Rules that put open items together, in their order"
    empty = Empty("No rule yet", "Write one: it suggests what belongs together once a second person lets it be used.")

    def headline(self) -> str:
        """What a rule does."""
        return (
            "The same in every criterion and equal in sum: one to one, one to many, many to one and many to many alike."
        )

    def tell(self, records: Sequence[Any]) -> None:
        """The hit rates of a page, in one statement."""
        found = pairing.hit_rates([record.pk for record in records])
        for record in records:
            record.hit_rate = found.get(record.pk, (0, 0, 0))

    def buttons(self) -> Sequence[tuple[str, str]]:
        """A new one."""
        may = cast("User", self.request.user).roles() & access.FIXERS
        return [("New rule", reverse("matching_rule_new"))] if may else []


class MatchingRuleForm(forms.ModelForm):  # type: ignore[type-arg]
    """What a new rule puts together."""

    criteria = forms.MultipleChoiceField(choices=MatchingRule.Criterion.choices, label="The same")

    class Meta:
        model = MatchingRule
        fields = (
            "entity",
            "leg",
            "name",
            "criteria",
            "hours_tolerance",
            "amount_tolerance",
            "is_automatic",
            "position",
        )
        labels = {
            "hours_tolerance": "Hours that may be left over", "amount_tolerance": "Money that may be left over",
            "is_automatic": "Match by itself instead of suggesting",
        }  # fmt: skip

    def __init__(self, *args: Any, user: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        entities = LegalEntity.objects.visible_to(user, roles=access.FIXERS)
        cast("forms.ModelChoiceField[Any]", self.fields["entity"]).queryset = entities


class NewMatchingRule(Screen):
    """A new rule, a draft until it is tested and let be used."""

    title = "New matching rule"
    roles = access.FIXERS
    template_name = "reconciliation_runs/rule.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        """The form."""
        return self.page(self.context(form=MatchingRuleForm(user=request.user)))

    def post(self, request: HttpRequest) -> HttpResponse:
        """Keep it as a draft."""
        form = MatchingRuleForm(request.POST, user=request.user)
        if not form.is_valid():
            return self.page(self.context(form=form), status=HTTPStatus.UNPROCESSABLE_ENTITY)
        try:
            pairing.write(form.save(commit=False), cast("User", request.user))
        except pairing.NotMatchable as refusal:
            form.add_error(None, str(refusal))
            return self.page(self.context(form=form), status=HTTPStatus.UNPROCESSABLE_ENTITY)
        return HttpResponseRedirect(f"{reverse('matching_rules')}?tab=draft", status=HTTPStatus.SEE_OTHER)
