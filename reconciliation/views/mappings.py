"""Mappings on screen: how much of each system is mapped and what the rest is worth, the rows in question, and confirming them.

The rule here: confirming writes a draft change set and nothing else; nothing is made in a vendor.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from decimal import Decimal
from http import HTTPStatus
from typing import Any, cast

from django import forms
from django.contrib import messages
from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django_htmx.http import HttpResponseClientRedirect

from portal import access, figures
from portal.models import Crosswalk, User
from portal.models.access import entities_held
from portal.screens import (
    Action,
    DayColumn,
    Empty,
    ListScreen,
    MainColumn,
    NumberColumn,
    Outcome,
    Refused,
    Screen,
    Tab,
    Table,
    TextColumn,
    chosen_entities,
)
from portal.views.governed import address_of, name_of_kind
from reconciliation import mappings
from reconciliation.changes import ChangeRefused
from reconciliation.filters import MappingFilter
from reconciliation.mappings import Choice
from reconciliation.models import ChangeLine, ChangeSet, Mapping

State = Mapping.State
AT_ONCE = 1_000  # records in one change
NAMED = 12  # matches that a confirmation names
TONES = {State.UNMAPPED: "warn", State.THEIRS: "info", State.MAPPED: "good", State.SCHEDULED: "info", State.ENDED: ""}
FLAGS = {
    "is_ambiguous": "Ambiguous",
    "is_expiring": "Expires soon",
    "is_conflicting": "Conflicting",
    "is_inactive": "Inactive target",
}
PENDING = (ChangeSet.State.DRAFT, ChangeSet.State.SUBMITTED, ChangeSet.State.APPROVED, ChangeSet.State.SCHEDULED)


class FigureColumn(TextColumn):
    """Amounts with their currencies, at the right like figures."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.css = "num"


class MappingTable(Table):
    """A record of ours and the key under which a system knows it, or what most likely is its key."""

    record = MainColumn(
        accessor="pk",
        order_by=("kind", "code", "their_code"),
        verbose_name="Record",
        url=lambda row: reverse("mapping", args=[row.pk]),
        second=lambda row: row.get_kind_display(),
    )
    system = TextColumn(accessor="connection__name", order_by="connection__name", verbose_name="System")
    external_id = TextColumn(verbose_name="Its key", mono=True)
    theirs = TextColumn(accessor="pk", order_by=("their_code", "their_name"), verbose_name="There", wraps=True)
    entity = TextColumn(accessor="entity__code", order_by="entity__code", verbose_name="Entity")
    valid_from = DayColumn(verbose_name="From", optional=True)
    valid_to = DayColumn(verbose_name="To", optional=True)
    state = TextColumn(verbose_name="State")
    entries = NumberColumn(verbose_name="Open entries")
    worth = FigureColumn(accessor="money", orderable=False, verbose_name="Worth")
    source = TextColumn(accessor="pk", orderable=False, verbose_name="Confidence, source", wraps=True)
    changed = TextColumn(accessor="pk", orderable=False, verbose_name="Changed", optional=True)

    def render_record(self, record: Mapping, bound_column: Any) -> SafeString:
        """Ours where there is one, else theirs."""
        shown: SafeString = bound_column.column.render(_record_words(record), record)
        return shown

    def value_record(self, record: Mapping) -> str:
        """The words alone."""
        return _record_words(record)

    def render_theirs(self, record: Mapping) -> str:
        """Code and name in the system, where it has said them."""
        return _theirs_words(record) or figures.UNKNOWN

    def value_theirs(self, record: Mapping) -> str:
        """The same."""
        return _theirs_words(record)

    def render_state(self, record: Mapping) -> SafeString:
        """The state, and what is wrong with it."""
        pill = format_html('<span class="state {}">{}</span>', TONES[State(record.state)], record.get_state_display())
        flags = [words for name, words in FLAGS.items() if getattr(record, name)]
        draft = getattr(record, "draft", None)
        if draft is not None:
            flags.append(f"in a change: {draft.get_state_display().lower()}")
        return format_html("{}<small>{}</small>", pill, ", ".join(flags)) if flags else pill

    def value_state(self, record: Mapping) -> str:
        """The words alone."""
        flags = [words for name, words in FLAGS.items() if getattr(record, name)]
        return ", ".join([str(record.get_state_display()), *flags])

    def render_worth(self, value: dict[str, Any]) -> str:
        """Amounts with their currency."""
        return _worth(value) or figures.UNKNOWN

    def value_worth(self, value: dict[str, Any]) -> str:
        """The same."""
        return _worth(value)

    def render_source(self, record: Mapping) -> SafeString | str:
        """What it most likely is, or where the key comes from."""
        matches: list[mappings.Match] = getattr(record, "matches", [])
        if matches:
            tags = format_html_join(" ", '<span class="tag">{}</span>', ((one,) for one in matches[0].reasons))
            more = f" and {len(matches) - 1} more" if len(matches) > 1 else ""
            return format_html("{} · {} %{}<small>{}</small>", matches[0].words, matches[0].score, more, tags)
        return getattr(record, "because", "") or figures.UNKNOWN

    def value_source(self, record: Mapping) -> str:
        """The words alone."""
        matches: list[mappings.Match] = getattr(record, "matches", [])
        return f"{matches[0].words} {matches[0].score} %" if matches else getattr(record, "because", "")

    def render_changed(self, record: Mapping) -> str:
        """When and by whom."""
        return getattr(record, "changed_by", "") or figures.UNKNOWN


def _record_words(row: Mapping) -> str:
    return f"{row.code} {row.name or ''}".strip() if row.internal_id else _theirs_words(row) or str(row.external_id)


def _theirs_words(row: Mapping) -> str:
    return f"{row.their_code or ''} {row.their_name or ''}".strip()


def _worth(money: dict[str, Any]) -> str:
    told = sorted(((code, Decimal(str(value))) for code, value in money.items()), key=lambda pair: -abs(pair[1]))
    return " · ".join(f"{figures.amount(value, code)} {code}" for code, value in told)


class MapAsSuggested(Action):
    """Every chosen row whose match is beyond doubt, in one draft change set."""

    name, label, button = "map", "Map as suggested", "Draft the change"
    sentence = "Map {count} records as suggested"
    roles = access.OPERATORS
    reason = forms.CharField(max_length=300, widget=forms.TextInput(attrs={"autofocus": True}))

    def apply(self, queryset: QuerySet[Any], user: Any) -> Outcome:
        """Draft it; what is in doubt is left out and counted, and so is what is beyond one change."""
        rows = list(queryset.select_related("connection")[:AT_ONCE])
        beyond = queryset.count() - len(rows) if len(rows) == AT_ONCE else 0
        found = mappings.suggest(rows)
        sure = {row.pk: next((one for one in found.get(row.pk, ()) if one.is_sure), None) for row in rows}
        choices: dict[tuple[str, str, int], Choice] = {}
        for row in rows:
            match = sure[row.pk]
            if match is not None and match.internal_id is not None:
                choices[row.kind, match.external_id, match.internal_id] = Choice(
                    row, match.internal_id, match.external_id
                )
        if not choices:
            raise Refused("None of these has a match that is beyond doubt. Open one to choose among the likely ones.")
        try:
            change_set = mappings.confirm(list(choices.values()), by=user, reason=self.cleaned_data["reason"])
        except ChangeRefused as refusal:
            raise Refused(str(refusal)) from refusal
        left = len(rows) - len(choices)
        words = f"{len(choices):,} mappings are drafted" + (f"; {left:,} are in doubt and left out" if left else "")
        words += f"; {beyond:,} more were not looked at, map them with another change" if beyond else ""
        return Outcome(
            f"{words}. A second person agrees before they hold.", url=reverse("change_set", args=[change_set.pk])
        )


class DismissMatch(Action):
    """The nearest match of every chosen row, as it is named here, is none."""

    name, label, button = "dismiss", "Dismiss the match", "Dismiss"
    sentence = "Dismiss the likeliest match of {count} records"
    roles = access.OPERATORS
    reason = forms.CharField(
        max_length=300, widget=forms.TextInput(attrs={"autofocus": True}),
        help_text="It is suggested again when the code, the name or the tax number of one of both changes.",
    )  # fmt: skip
    shown = forms.CharField(widget=forms.HiddenInput, required=False)

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.count = self.queryset.count()
        rows = list(self.queryset.select_related("connection").order_by("pk")) if self.count <= AT_ONCE else []
        found = mappings.suggest(rows)
        self.matches = [(row, found[row.pk][0]) for row in rows if found.get(row.pk)]
        self.moved = self.is_bound and self.data.get("shown") != self.digest
        if self.moved:
            self.data = {**self.data.dict(), "shown": self.digest} if isinstance(self.data, QueryDict) else self.data
        self.fields["shown"].initial = self.digest
        self.fields["reason"].help_text += f" {self.named()}"

    @property
    def digest(self) -> str:
        """What names these matches, and what both sides say."""
        said = [(row.pk, match.internal_id, match.external_id, match.evidence) for row, match in self.matches]
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()

    def named(self) -> str:
        """The matches that are none then, as far as they fit on the screen."""
        told = [f"{row}: {match.words}" for row, match in self.matches[:NAMED]]
        more = len(self.matches) - len(told)
        return f"Not the same: {'; '.join(told)}{f'; and {more:,} more' if more else ''}." if told else ""

    def clean(self) -> dict[str, Any]:
        """They are those that were shown, and no more than are done at once."""
        if self.count > AT_ONCE:
            raise forms.ValidationError(f"{self.count:,} records are chosen; choose {AT_ONCE:,} at most.")
        if self.moved:
            raise forms.ValidationError("Other matches are suggested by now; look at them, and say it again.")
        return super().clean() or {}

    def apply(self, queryset: QuerySet[Any], user: Any) -> Outcome:
        """Say so of each; a row without a match is left out."""
        if not self.matches:
            raise Refused("None of these has a suggested match.")
        with transaction.atomic():
            for row, match in self.matches:
                mappings.dismiss(row, match, by=user, reason=self.cleaned_data["reason"])
        count = len(self.matches)
        return Outcome(f"{count:,} {'match is' if count == 1 else 'matches are'} dismissed until one of both changes.")


class MappingList(ListScreen):
    """Keys and records of every system, those without one and with the most open time first."""

    title = "Mappings"
    caption = "Records and the keys under which systems know them"
    template_name = "reconciliation/mappings.html"
    queryset = Mapping.objects.select_related("connection", "entity").order_by("-entries", "kind", "code")
    filterset = MappingFilter
    table = MappingTable
    actions = (MapAsSuggested, DismissMatch)
    primary = ("system", "kind", "text")
    tabs = (
        Tab("unmapped", "Unmapped", lambda _user: Q(state=State.UNMAPPED)),
        Tab("theirs", "Theirs, not ours", lambda _user: Q(state=State.THEIRS)),
        Tab("ambiguous", "Ambiguous", lambda _user: Q(is_ambiguous=True)),
        Tab("expiring", "Expiring", lambda _user: Q(is_expiring=True)),
        Tab("conflicting", "Conflicting", lambda _user: Q(is_conflicting=True)),
        Tab("inactive", "Inactive target", lambda _user: Q(is_inactive=True)),
        Tab("mapped", "Mapped", lambda _user: Q(state=State.MAPPED)),
        Tab("all", "All"),
    )

    def rows(self) -> QuerySet[Any]:
        """The rows as of now, or of a moment ago where counting the open work takes long."""
        self.as_of = mappings.bring_up_to_date()
        return super().rows()

    def headline(self) -> str:
        """What is suggested, and what confirming does."""
        return "A match is suggested and a person confirms it; nothing is made in another system, and no name decides alone."

    def nothing(self) -> Empty:
        """What it means that a tab is empty."""
        if self.tab and self.tab.slug == "unmapped":
            return Empty("Every record has its key", "What has no key in a system that needs one stands here.")
        return Empty("Nothing of the kind", "The other tabs hold the rest.")

    def tell(self, records: Sequence[Any]) -> None:
        """Matches, where keys come from, and changes under way."""
        found = mappings.suggest(records)
        origins = _origins(records)
        drafts = _drafts(records, self.request.user)
        for row in records:
            row.matches = found.get(row.pk, [])
            row.because, row.changed_by = origins.get(row.crosswalk_id, ("", ""))
            row.draft = drafts.get((row.system, row.realm, row.kind, row.external_id or row.code))

    @cached_property
    def covers(self) -> list[mappings.Cover]:
        """Every system and kind, of the entities looked at."""
        chosen = chosen_entities(self.request)
        held = entities_held(self.request.user, None)
        return mappings.coverage(chosen.ids, everywhere=None in held and not chosen.narrowed)


def _origins(rows: Sequence[Mapping]) -> dict[int | None, tuple[str, str]]:
    """Of each key its latest change: why, and by whom and when."""
    ids = [row.crosswalk_id for row in rows if row.crosswalk_id]
    found: dict[int | None, tuple[str, str]] = {}
    if not ids:
        return found
    history: Any = Crosswalk.history
    latest = history.filter(id__in=ids).order_by("id", "-history_id").distinct("id").select_related("history_user")
    for version in latest:
        who = version.history_user.get_username() if version.history_user else "system"
        found[version.id] = (version.history_change_reason or "", f"{who}, {figures.written(version.history_date)}")
    return found


def _drafts(rows: Sequence[Mapping], user: Any) -> dict[tuple[Any, ...], ChangeSet]:
    """The change sets under way that map one of these rows, as far as the person sees them; by key and by code."""
    seen = ChangeSet.objects.visible_to(user).filter(state__in=PENDING)
    lines = ChangeLine.objects.filter(model="crosswalk", action=ChangeLine.Action.ADD, change_set__in=seen)
    found: dict[tuple[Any, ...], ChangeSet] = {}
    for line in lines.select_related("change_set").order_by("pk") if rows else ():
        said = line.values
        place = (said.get("system"), said.get("realm"), said.get("kind"))
        found[*place, said.get("external_id")] = line.change_set
        code = (
            f"{said['within']} / {said.get('code')}"
            if said.get("within") and said.get("kind") == "task"
            else said.get("code")
        )
        found[*place, code] = line.change_set
    return found


class ConfirmForm(forms.Form):
    """Which record or key it is, from which day, and why."""

    match = forms.CharField(required=False, max_length=300)
    other = forms.CharField(
        label="Another one", required=False, max_length=200,
        help_text="The system's own key, as it stands there; or, for a record of theirs, the code of ours.",
    )  # fmt: skip
    allows_many = forms.BooleanField(
        label="Several keys mean this record", required=False,
        help_text="Such a key is read and never written to.",
    )  # fmt: skip
    valid_from = forms.DateField(
        label="From", required=False, widget=forms.DateInput(attrs={"type": "date"}),
        help_text="Empty: it has always been its key.",
    )  # fmt: skip
    reason = forms.CharField(max_length=300, label="Why")

    def clean(self) -> dict[str, Any]:
        """One of both."""
        said = super().clean() or {}
        if not said.get("match") and not said.get("other"):
            raise forms.ValidationError("Choose a match, or name another one.")
        return said


class MappingPage(Screen):
    """One row: what stands, what it most likely is, and the form that drafts the change."""

    template_name = "reconciliation/mapping.html"

    @cached_property
    def row(self) -> Mapping:
        """The row of this address, where the person may see its entity."""
        mappings.bring_up_to_date()
        rows = Mapping.objects.visible_to(self.request.user).select_related("connection", "entity")
        return get_object_or_404(rows, pk=self.kwargs["pk"])

    @property
    def may(self) -> bool:
        """Whether this person proposes mappings in the row's entity."""
        return self.row.state in (State.UNMAPPED, State.THEIRS) and access.may(
            self.request.user, access.OPERATORS, self.row.entity_id
        )

    def get(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """The page."""
        return self.show(ConfirmForm())

    def post(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Draft the change set, dismiss a match or have it offered again; or say what is wrong."""
        access.require(request.user, access.OPERATORS, self.row.entity_id)
        if request.POST.get("action") == "offer":
            return self.offer()
        form = ConfirmForm(request.POST)
        if form.is_valid():
            try:
                where = self.dismiss(form) if request.POST.get("action") == "dismiss" else self.confirm(form)
            except (ChangeRefused, mappings.NotDismissed) as refusal:
                form.add_error(None, str(refusal))
            else:
                return self.go(where)
        return self.show(form, HTTPStatus.UNPROCESSABLE_ENTITY)

    def go(self, where: str) -> HttpResponse:
        """On to where it leads, beside a list too."""
        if getattr(self.request, "htmx", None):
            return HttpResponseClientRedirect(where)
        return HttpResponseRedirect(where, status=HTTPStatus.SEE_OTHER)

    def confirm(self, form: ConfirmForm) -> str:
        """The change set that maps it."""
        said, person = form.cleaned_data, cast("User", self.request.user)
        return reverse("change_set", args=[mappings.confirm([self.choice(said)], by=person, reason=said["reason"]).pk])

    def dismiss(self, form: ConfirmForm) -> str:
        """The chosen match is none."""
        given = form.cleaned_data["match"]
        match = next((one for one, value in self.matches() if value == given), None)
        if match is None:
            raise mappings.NotDismissed("Choose the match that is none; it may not be suggested any more.")
        mappings.dismiss(self.row, match, by=cast("User", self.request.user), reason=form.cleaned_data["reason"])
        messages.success(self.request, f"{match.words} is not suggested for it any more.")
        return reverse("mapping", args=[self.row.pk])

    def offer(self) -> HttpResponse:
        """Suggest a dismissed match again."""
        wanted = next(
            (one for one in mappings.dismissed_of(self.row) if str(one.pk) == self.request.POST.get("dismissed")), None
        )
        if wanted is None:
            return self.show(ConfirmForm(), HTTPStatus.UNPROCESSABLE_ENTITY, "It is not dismissed any more.")
        try:
            person = cast("User", self.request.user)
            mappings.offer_again(wanted, by=person, reason=self.request.POST.get("because", ""))
        except mappings.NotDismissed as refusal:
            return self.show(ConfirmForm(), HTTPStatus.UNPROCESSABLE_ENTITY, str(refusal))
        return self.go(reverse("mapping", args=[self.row.pk]))

    def matches(self) -> list[tuple[mappings.Match, str]]:
        """What is suggested, each with the value that the form names it by."""
        found = mappings.suggest([self.row]).get(self.row.pk, [])
        return [(one, str(one.internal_id) if self.row.state == State.THEIRS else one.external_id) for one in found]

    def choice(self, said: dict[str, Any]) -> Choice:
        """What was chosen. Raises ChangeRefused where it means nothing that the person sees."""
        row, given = self.row, said["other"] or said["match"]
        more = {"allows_many": said["allows_many"]} | ({"valid_from": said["valid_from"]} if said["valid_from"] else {})
        if row.state == State.UNMAPPED and row.internal_id is not None:
            return Choice(row, row.internal_id, given, **more)
        seen = Mapping.objects.visible_to(self.request.user).filter(kind=row.kind, internal_id__isnull=False)
        wanted = Q(internal_id=int(given)) if not said["other"] and given.isdigit() else Q(code__iexact=given)
        found = seen.filter(wanted).values_list("internal_id", flat=True).first()
        if found is None:
            raise ChangeRefused(f"“{given}” is the code of no {row.get_kind_display().lower()} that you see.")
        return Choice(row, found, row.external_id or "", **more)

    def show(self, form: ConfirmForm, status: int = HTTPStatus.OK, refusal: str = "") -> HttpResponse:
        """The page with its matches, and with those that were dismissed."""
        row, matches = self.row, self.matches()
        name = name_of_kind(row.kind)
        context = self.context(
            title=str(row),
            row=row,
            tone=TONES[State(row.state)],
            flags=[words for field, words in FLAGS.items() if getattr(row, field)],
            worth=_worth(row.money),
            matches=matches,
            dismissed=mappings.still_hidden(mappings.dismissed_of(row), [one for one, _ in matches]),
            refusal=refusal,
            form=form,
            may=self.may,
            record_url=address_of(self.request.user, name, str(row.internal_id or "")) if name else "",
            key_url=address_of(self.request.user, "crosswalk", str(row.crosswalk_id or "")),
            origin=_origins([row]).get(row.crosswalk_id),
            draft=_drafts([row], self.request.user).get((row.system, row.realm, row.kind, row.external_id or row.code)),
        )
        return self.page(context, status=status)
