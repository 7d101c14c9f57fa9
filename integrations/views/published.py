"""Published: what every system was told of every record, what it took, what it held when it was last read, and where it drifts.

The rule here: nothing is written to master data from here; what is confirmed or adopted is drafted as a change set, and a second
person agrees. Sending again and accepting a difference are decisions with a reason.
"""

from __future__ import annotations

from typing import Any

import django_filters as filters
from django import forms
from django.db.models import Q, QuerySet
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from integrations import told
from integrations.filters import seen_connections
from portal.access import OPERATORS
from portal.models import (
    AttemptLine,
    Contract,
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
from portal.records import PublishedKind
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
from reconciliation import changes, publishing
from reconciliation.models import ExceptionCase

SHOWN = 12  # entries and attempts on a record's page
STOPPED = Q(state__in=[State.HELD, State.REJECTED])
WAY = Q(state__in=[State.READY, State.SENDING, State.IN_DOUBT, State.ACCEPTED])
DRIFTS = ~Q(drift={}) & Q(accepted={})
ADOPTED = {
    PublishedKind.CUSTOMER: ("name", "currency"),
    PublishedKind.PROJECT: ("name",),
    PublishedKind.TASK: ("name", "is_billable", "is_active"),
    PublishedKind.CONTRACT: ("cap_amount", "starts_on", "ends_on"),
}  # what a change set can take over as it is; a rate and a person on a project are agreed in more than one place
_PLAIN = {"yes": "true", "no": "false", "nothing": ""}
_MODELS: dict[str, Any] = {"customer": Customer, "project": Project, "task": Task}


class WithReason(Action):
    """A decision about what a system holds, with its reason."""

    roles = OPERATORS
    in_bulk = False
    reason = forms.CharField(max_length=500, widget=forms.Textarea(attrs={"rows": 2}))

    def one(self, queryset: QuerySet[Any]) -> Published:
        """The record, with its system."""
        row: Published = queryset.select_related("connection", "document", "entity").get()
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


class AdoptDrift(WithReason):
    """What the system holds becomes ours, by a change set."""

    name, label, button = "adopt", "Adopt here", "Draft the change"
    sentence = "Take what the system holds as ours"

    def apply(self, queryset: QuerySet[Any], user: Any) -> Outcome:
        """A change set with what differs."""
        row = self.one(queryset)
        kind = PublishedKind(row.kind)
        differing = {name: theirs for name, (_, theirs) in row.drift.items()}
        if not differing:
            raise Refused("Nothing differs any more.")
        if outside := [told.said(name) for name in differing if name not in ADOPTED.get(kind, ())]:
            raise Refused(
                f"{', '.join(outside).capitalize()} cannot be taken over as it stands; agree it here, or send ours again."
            )
        key = row.internal_id
        if kind is PublishedKind.CONTRACT:
            key = Contract.objects.values_list("pk", flat=True).get(projects=row.internal_id)
        values = {name: _PLAIN.get(theirs, theirs) for name, theirs in differing.items()}
        line = changes.Line(str(kind), key, "change", values)
        return _drafted(user, f"{row.title} as {row.connection} has it", self.cleaned_data["reason"], line)


class AcceptDrift(WithReason):
    """The system keeps what it has."""

    name, label, button = "accept", "Accept as it is", "Accept it"
    sentence = "Leave the system as it is"

    def apply(self, queryset: QuerySet[Any], user: Any) -> Outcome:
        """Not a case any more, until the system holds something else again."""
        row = self.one(queryset)
        try:
            publishing.accept(row, by=user, reason=self.cleaned_data["reason"])
        except ValueError as refusal:
            raise Refused(str(refusal)) from refusal
        return Outcome(f"{row.connection} keeps what it has of {row.title}.", url=address(row))


def _drafted(user: Any, title: str, reason: str, line: changes.Line) -> Outcome:
    try:
        change_set = changes.draft(by=user, title=title, reason=reason, lines=[line])
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
        return f"accepted: {found}" if found and record.accepted else found

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
    actions = (SendAgain, ConfirmTwin, AdoptDrift, AcceptDrift)
    object: Published

    def heading(self) -> str:
        """The record and the system."""
        return f"{self.object.title} in {self.object.connection}"

    def permitted(self, roles: frozenset[str]) -> list[type[Action]]:
        """A twin and a drift are offered while there is one."""
        row = self.object
        drifts = bool(row.drift) and not row.accepted
        offered: dict[type[Action], bool] = {
            SendAgain: True,
            ConfirmTwin: bool(row.twin),
            AdoptDrift: drifts,
            AcceptDrift: drifts,
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
            tried=list(tried),
            cases=list(cases.distinct().order_by("pk")),
            drift=told.drift_of(row),
        )  # fmt: skip
