"""Published: what every system was told of every record, what it took, what it held when it was last read, and where it drifts.

The rule here: nothing is written to master data from here; what is confirmed or adopted is drafted as a change set, and a second
person agrees. Sending again and accepting a difference are decisions with a reason.
"""

from __future__ import annotations

import hashlib
import json
from functools import partial
from typing import Any, cast

import django_filters as filters
from django import forms
from django.db import transaction
from django.db.models import Q, QuerySet
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timezone import localdate

from integrations import told, wake
from integrations.filters import seen_connections
from integrations.views import adopting
from portal.access import OPERATORS
from portal.models import (
    AttemptLine,
    Customer,
    LedgerEntry,
    Project,
    Published,
    PublishedVersion,
    ReadBack,
    State,
    Task,
)
from portal.models.published import PUBLISHED_CHOICES
from portal.screens import (
    Action,
    DetailScreen,
    Empty,
    ListScreen,
    MainColumn,
    NumberColumn,
    Outcome,
    Refused,
    StateColumn,
    Tab,
    Table,
    TextColumn,
    WhenColumn,
)
from reconciliation import changes, publishing, questions
from reconciliation.models import ExceptionCase, Hold, TargetQuestion

MOST_READ = 200  # records that are read at once because somebody asks
SHOWN = 12  # entries and attempts on a record's page
STOPPED = Q(state__in=[State.HELD, State.REJECTED])
WAY = Q(state__in=[State.READY, State.SENDING, State.IN_DOUBT, State.ACCEPTED])
OPEN_DRIFT = Hold.objects.filter(rule=publishing.DRIFT, closed_at=None).values("entry__document")
DRIFTS = ~Q(drift={}) & (Q(accepted={}) | Q(pk__in=OPEN_DRIFT))
_MODELS: dict[str, Any] = {"customer": Customer, "project": Project, "task": Task}


class WithReason(Action):
    """A decision about what a system holds, with its reason."""

    roles = OPERATORS
    in_bulk = False
    reason = forms.CharField(max_length=500, widget=forms.Textarea(attrs={"rows": 2}))

    def one(self, queryset: QuerySet[Any]) -> Published:
        """The record, with its system."""
        row: Published = queryset.select_related("connection", "document", "entity", "resource").get()
        return row


class SendAgain(WithReason):
    """The current version goes once more, under a new key."""

    name, label, button = "send", "Send again", "Send it again"
    sentence = "Send this record to its system again"

    def apply(self, queryset: QuerySet[Any], user: Any) -> Outcome:
        """Owe it again; what has not gone yet is replaced."""
        row = self.one(queryset)
        if row.kind not in publishing.told_to(row.connection):
            raise Refused(f"{row.connection} is not told of records of this kind any more.")
        publishing.send_again(row, by=user, reason=self.cleaned_data["reason"])
        return Outcome(f"{row.title} goes to {row.connection} again.", url=address(row))


class ReadNow(Action):
    """The system is asked now what it holds, instead of within the day."""

    name, label = "read", "Read now"
    roles = OPERATORS
    immediate = True

    def apply(self, queryset: QuerySet[Any], user: Any) -> Outcome:
        """Ask by a row; the outbox reads, and nothing is called here."""
        if queryset.count() > MOST_READ:
            raise Refused(f"More than {MOST_READ:,} records are chosen. Narrow the filter and read them in parts.")
        found = questions.read_again(queryset, by=user)
        for connection_id in sorted(found.connections):
            transaction.on_commit(partial(wake.up, "deliver", connection_id))
        said = []
        if found.asked:
            said.append(f"{_records(len(found.asked))} asked for; what their systems hold shows here as they answer.")
        if found.fresh:
            said.append(f"{_records(found.fresh)} read or asked for within the minute already.")
        if found.untaken:
            said.append(f"{_records(found.untaken)} not taken there yet, so there is nothing to read.")
        return Outcome(" ".join(said), tone="good" if found.asked else "warn")


def _records(count: int) -> str:
    return "1 record is" if count == 1 else f"{count:,} records are"


class ConfirmTwin(WithReason):
    """The record there is the same: its key is drafted as a crosswalk."""

    name, label, button = "twin", "It is the same", "Draft the change"
    sentence = "Say that the record there is the same as ours"

    def apply(self, queryset: QuerySet[Any], user: Any) -> Outcome:
        """A change set with one crosswalk; once it is applied the record is changed there instead of made."""
        row = self.one(queryset)
        if not row.twin:
            raise Refused("No record of the same name stands in its way any more.")
        code = _MODELS[row.kind].objects.values_list("code", flat=True).get(pk=row.internal_id)
        line = changes.Line(
            "crosswalk", None, "add",
            {"connection": row.connection.code, "kind": row.kind, "external_id": row.twin["number"], "code": code},
        )  # fmt: skip
        return _drafted(
            user, f"{row.title} is record {row.twin['number']} of {row.connection}", self.cleaned_data["reason"], line
        )


class OfFigures(WithReason):
    """A decision about some of the figures in which a system differs, each as it was shown."""

    figures = forms.MultipleChoiceField(
        label="Which figures", widget=forms.CheckboxSelectMultiple,
        error_messages={
            "required": "Choose at least one figure.",
            "invalid_choice": "It was read again since you looked at it, and differs otherwise; look at it again.",
        },
    )  # fmt: skip

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.row = self.one(self.queryset)
        chosen, left = self.offered()
        field = cast("forms.MultipleChoiceField", self.fields["figures"])
        field.choices = [(_shown(self.row, name), _both(self.row, name)) for name in chosen]
        field.initial, field.help_text = (
            [_shown(self.row, name) for name in chosen],
            " ".join(f"{told.said(name).capitalize()}: {why}" for name, why in left),
        )
        self.order_fields(["figures", "reason"])

    def clean_figures(self) -> list[str]:
        """The names of what was chosen."""
        return [value.partition("=")[0] for value in self.cleaned_data["figures"]]

    def offered(self) -> tuple[list[str], list[tuple[str, str]]]:
        """The figures that may be chosen, and the others with why not."""
        return publishing.drifting(self.row), []


def _both(row: Published, name: str) -> str:
    """A figure with both of its values in words."""
    ours, theirs = row.drift[name]
    return f"{told.said(name).capitalize()}: “{theirs}” there, “{ours}” here"


def _shown(row: Published, name: str) -> str:
    """A figure with what names both of its values."""
    return f"{name}={hashlib.sha256(json.dumps(row.drift[name]).encode()).hexdigest()[:16]}"


class AdoptDrift(OfFigures):
    """What the system holds becomes ours, by a change set."""

    name, label, button = "adopt", "Adopt here", "Draft the change"
    sentence = "Take what the system holds as ours"

    def offered(self) -> tuple[list[str], list[tuple[str, str]]]:
        """What can be taken over, also of what was accepted there."""
        found = adopting.adopted(self.row, list(self.row.drift), localdate())
        return [one.name for one in found if one.lines], [(one.name, one.why_not) for one in found if not one.lines]

    def apply(self, queryset: QuerySet[Any], user: Any) -> Outcome:
        """A change set with what was chosen."""
        row = self.row
        lines = adopting.together(adopting.adopted(row, self.cleaned_data["figures"], localdate()))
        return _drafted(user, f"{row.title} as {row.connection} has it", self.cleaned_data["reason"], *lines)


class AcceptDrift(OfFigures):
    """The system keeps what it has."""

    name, label, button = "accept", "Accept as it is", "Accept it"
    sentence = "Leave the system as it is"

    def apply(self, queryset: QuerySet[Any], user: Any) -> Outcome:
        """Not a case any more once all is accepted, until the system holds something else again."""
        row = self.row
        try:
            left = publishing.accept(row, self.cleaned_data["figures"], by=user, reason=self.cleaned_data["reason"])
        except ValueError as refusal:
            raise Refused(str(refusal)) from refusal
        if left:
            return Outcome(f"Accepted; {', '.join(map(told.said, left))} still differs.", url=address(row))
        return Outcome(f"{row.connection} keeps what it has of {row.title}.", url=address(row))


def _kept_there(row: Published) -> list[tuple[str, str]]:
    """The differing figures that are not taken over from here, and why."""
    found = adopting.adopted(row, list(row.drift), localdate())
    return [(told.said(one.name), one.why_not) for one in found if one.why_not]


def _drafted(user: Any, title: str, reason: str, *lines: changes.Line) -> Outcome:
    try:
        change_set = changes.draft(by=user, title=title, reason=reason, lines=lines)
    except changes.ChangeRefused as refusal:
        raise Refused(str(refusal)) from refusal
    return Outcome("Drafted; submit it, and another person agrees.", url=reverse("change_set", args=[change_set.pk]))


def address(row: Published) -> str:
    """The page of a record in a system."""
    return reverse("published_record", args=[row.pk])


class PublishedFilter(filters.FilterSet):  # type: ignore[misc]
    """What published records are found by."""

    connection = filters.ModelChoiceFilter(queryset=seen_connections, to_field_name="code", label="System")
    kind = filters.ChoiceFilter(choices=PUBLISHED_CHOICES, label="Kind")
    text = filters.CharFilter("title", lookup_expr="icontains", label="Record")
    number = filters.CharFilter("number", lookup_expr="istartswith", label="Number there")
    read_before = filters.DateFilter("read_at", lookup_expr="date__lt", label="Last read before")

    class Meta:
        model = Published
        fields: list[str] = []


class PublishedTable(Table):
    """One record in one system a row."""

    title = MainColumn(
        verbose_name="Record",
        url=address,
        second=lambda row: f"{row.get_kind_display()} · {row.number or 'no number yet'}",
    )
    state = StateColumn(told.TONES, accessor="state", verbose_name="State")
    connection = TextColumn(verbose_name="System", order_by="connection__code")
    entity = TextColumn(order_by="entity__code")
    told_version = NumberColumn(verbose_name="Told")
    held_version = NumberColumn(verbose_name="Taken")
    read_at = WhenColumn(verbose_name="Read back")
    drift = TextColumn(verbose_name="Drift", orderable=False, empty_values=())
    not_taken = TextColumn(verbose_name="Not taken", orderable=False, empty_values=())

    def render_state(self, record: Any) -> SafeString:
        """The state in words, and what it waits for."""
        tone = told.TONES.get(record.state, "")
        return format_html('<span class="state {}">{}</span>', tone, told.words_of(record.state, record.waits_on or ""))

    def value_state(self, record: Any) -> str:
        """The words alone."""
        return told.words_of(record.state, record.waits_on or "")

    def render_drift(self, record: Any) -> str:
        """What the system holds instead."""
        return self.value_drift(record) or "none"

    def value_drift(self, record: Any) -> str:
        """The same for a file."""
        found = told.drift_of(record)
        return f"accepted: {found}" if found and not publishing.drifting(record) else found

    def render_not_taken(self, record: Any) -> str:
        """The figures that the system cannot take."""
        return self.value_not_taken(record) or "takes all"

    def value_not_taken(self, record: Any) -> str:
        """The same for a file."""
        return ", ".join(told.said(name) for name in told.not_taken(record.connection.connector, record.kind))


class PublishedScreen(ListScreen):
    """Every record that a system is told."""

    title = "Published"
    caption = "Records by system, with what each has taken"
    queryset = told.with_standing(Published.objects.select_related("connection", "entity")).order_by(
        "connection__code", "kind", "title", "pk"
    )
    filterset = PublishedFilter
    table = PublishedTable
    actions = (ReadNow,)
    tabs = (
        Tab("all", "All"),
        Tab("stopped", "Stopped", lambda _user: STOPPED),
        Tab("way", "On their way", lambda _user: WAY),
        Tab("drift", "Drift", lambda _user: DRIFTS),
        Tab("proved", "Proved", lambda _user: Q(state__in=[State.POSTED, State.RECONCILED])),
    )
    empty = Empty(
        "No system is told anything",
        "A connection with the role recipient is told the kinds that its settings name; see the configuration.",
    )

    def headline(self) -> str:
        """What this list is."""
        return "What every system was told, what it has taken, and what it held when it was last read"


class PublishedPage(DetailScreen):
    """One record in one system: figures, versions, proof and choices."""

    queryset = told.with_standing(Published.objects.select_related("connection", "entity", "document"))
    template_name = "integrations/published.html"
    actions = (ReadNow, SendAgain, ConfirmTwin, AdoptDrift, AcceptDrift)
    object: Published

    def heading(self) -> str:
        """The record and the system."""
        return f"{self.object.title} in {self.object.connection}"

    def permitted(self, roles: frozenset[str]) -> list[type[Action]]:
        """A twin and a drift are offered while there is one."""
        row: Any = self.object
        offered: dict[type[Action], bool] = {
            ReadNow: row.held_version is not None,
            SendAgain: True,
            ConfirmTwin: bool(row.twin),
            AdoptDrift: any(one.lines for one in adopting.adopted(row, list(row.drift), localdate())),
            AcceptDrift: bool(publishing.drifting(row)),
        }
        return [action for action in super().permitted(roles) if offered[action]]

    def context(self, **more: Any) -> dict[str, Any]:
        """The record in words; a fixed number of queries."""
        if "object" not in more:
            return super().context(**more)
        row: Any = self.object
        entries = list(LedgerEntry.objects.filter(document=row.pk).select_related("state_row").order_by("-pk")[:SHOWN])
        versions = {
            found.version: found
            for found in PublishedVersion.objects.filter(document=row.pk).order_by("-version")[:SHOWN]
        }
        last = ReadBack.objects.filter(entry__document=row.pk).order_by("-pk").first()
        tried = AttemptLine.objects.filter(entry__document=row.pk).select_related("attempt").order_by("-pk")[:SHOWN]
        cases = ExceptionCase.objects.visible_to(self.request.user).filter(
            holds__entry__document=row.pk, holds__closed_at=None
        )
        return super().context(
            **more,
            words=told.words_of(row.state, row.waits_on or ""),
            tone=told.TONES.get(row.state, ""),
            figures=told.figures_of(row, versions[row.document.current_version], last.found if last else {}),
            entries=[
                (entry, versions.get(entry.version), told.words_of(entry.state_row.state, entry.state_row.waits_on),
                 told.TONES[entry.state_row.state])
                for entry in entries
            ],
            reading=TargetQuestion.objects.filter(entry__document=row.pk, answered_at=None).select_related("by").first(),
            drifting=publishing.drifting(row),
            kept_there=_kept_there(row),
            tried=list(tried),
            cases=list(cases.distinct().order_by("pk")),
            drift=told.drift_of(row),
        )  # fmt: skip
