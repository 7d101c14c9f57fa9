"""Values that a system stated and that were not taken: what stands, what was said, why, and the way out.

The rule here: nothing is overwritten from these pages. A person keeps what stands, or proposes what was said as a change; the
third way is to mend it in the system that said it, after which the value settles by itself.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from django import forms
from django.db import transaction
from django.db.models import Q, QuerySet
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from portal import access
from portal.field_owners import FieldOwners
from portal.master_intake import rejected
from portal.models import RejectedValue
from portal.screens import (
    Action,
    Badge,
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
from portal.views.governed import address_of, name_of_kind
from reconciliation import changes
from reconciliation.changes import BY_CODE
from reconciliation.filters import RejectedValueFilter
from reconciliation.models import ChangeSet

State = RejectedValue.State
TONES: dict[str, str] = {State.OPEN: "warn", State.PROPOSED: "info", State.TAKEN: "good", State.SETTLED: "good"}


def open_values(user: Any) -> Badge | None:
    """How many values wait for a decision where the person decides."""
    found = RejectedValue.objects.visible_to(user, roles=access.CONFIGURERS).filter(state=State.OPEN)
    count = found.count()
    return Badge("Rejected values", count, "warn") if count else None


class RejectedTable(Table):
    """What was said of which field of which record, beside what stands."""

    record = MainColumn(
        verbose_name="Record",
        url=lambda row: reverse("rejected_value", args=[row.pk]),
        second=lambda row: row.kind.replace("_", " ").capitalize(),
    )
    field = TextColumn(verbose_name="Field")
    stands = TextColumn(verbose_name="Stands", wraps=True)
    said = TextColumn(verbose_name="Was said", wraps=True)
    connection = TextColumn(accessor="connection__name", order_by="connection__name", verbose_name="By")
    entity = TextColumn(accessor="entity__code", order_by="entity__code", verbose_name="Entity")
    reason = TextColumn(verbose_name="Why not taken", wraps=True, optional=True)
    times = NumberColumn(verbose_name="Times", optional=True)
    last_at = WhenColumn(verbose_name="Last said")
    state = StateColumn(TONES)

    def render_said(self, value: str, record: RejectedValue) -> SafeString:
        """What was said, and why it was not taken."""
        return format_html("{}<small>{}</small>", value or "nothing", record.reason)

    def value_said(self, value: str) -> str:
        """The value alone."""
        return value

    def render_field(self, value: str) -> str:
        """The field as people say it."""
        return value.replace("_", " ").capitalize()


class KeepWhatStands(Action):
    """What stands is right; the same value is not asked again."""

    name, label, button = "keep", "Keep what stands", "Keep"
    sentence = "Keep what stands in {count} fields"
    of_one = "Keep what stands in 1 field"
    roles = access.CONFIGURERS
    reason = forms.CharField(max_length=300, widget=forms.TextInput(attrs={"autofocus": True}))

    def apply(self, queryset: QuerySet[Any], user: Any) -> Outcome:
        """Decide what is still open."""
        count = rejected.decide(list(queryset), State.KEPT, by=user, reason=self.cleaned_data["reason"])
        fields = "1 field" if count == 1 else f"{count:,} fields"
        return Outcome(f"What stands is kept in {fields}." if count else "These were decided before.")


class ProposeTheChange(Action):
    """What was said is right; it becomes a draft change, which a second person agrees to."""

    name, label, button = "propose", "Propose what was said", "Draft the change"
    roles = access.CONFIGURERS
    reason = forms.CharField(max_length=300, widget=forms.TextInput(attrs={"autofocus": True}))

    def question(self, count: int) -> str:
        """The heading of the confirmation."""
        return f"Propose what was said for {'1 field' if count == 1 else f'{count:,} fields'}"

    def apply(self, queryset: QuerySet[Any], user: Any) -> Outcome:
        """One change set with a line for each record."""
        try:
            with transaction.atomic():
                change_set = self.drafted(list(queryset.order_by("pk").values_list("pk", flat=True)), user)
        except changes.ChangeRefused as refusal:
            raise Refused(str(refusal)) from refusal
        return Outcome(
            "Drafted. A second person agrees before it holds.", url=reverse("change_set", args=[change_set.pk])
        )

    def drafted(self, keys: list[int], user: Any) -> ChangeSet:
        """The change set with all of what was chosen, which nobody else decides meanwhile; or none."""
        locked = RejectedValue.objects.select_for_update(of=("self",)).filter(pk__in=keys, state=State.OPEN)
        rows = list(locked.select_related("connection").order_by("pk"))
        if len(rows) != len(keys):
            before = "These were" if not rows else f"{len(keys) - len(rows):,} of these {len(keys):,} were"
            raise Refused(f"{before} decided before.")
        values: dict[tuple[str, int], dict[str, str]] = defaultdict(dict)
        for row in rows:
            kind = BY_CODE.get(row.kind)
            if kind is None or row.field not in {column.name for column in kind.columns}:
                field = row.field.replace("_", " ")
                raise Refused(
                    f"The {field} of {row.record} is changed on the record's own page: it holds from a day on."
                )
            values[row.kind, row.internal_id][row.field] = row.said
        reason = self.cleaned_data["reason"]
        more = f" and {len(values) - 1} more" if len(values) > 1 else ""
        change_set = changes.draft(
            by=user,
            title=f"As {rows[0].connection.name} says: {rows[0].record}{more}",
            reason=reason,
            lines=[changes.Line(kind, key, "change", said) for (kind, key), said in values.items()],
        )
        change_set.takes_up.set(rows)
        if rejected.decide(rows, State.PROPOSED, by=user, reason=f"{reason} (change {change_set.pk})") != len(rows):
            raise Refused("Some of these were decided by somebody else just now; look at them again.")
        return change_set


class RejectedList(ListScreen):
    """Values that were not taken, the latest first."""

    title = "Rejected values"
    caption = "Values that a system stated and that were not taken"
    queryset = RejectedValue.objects.select_related("connection", "entity").order_by("-last_at", "-pk")
    filterset = RejectedValueFilter
    table = RejectedTable
    actions = (KeepWhatStands, ProposeTheChange)
    tabs = (
        Tab("open", "Open", lambda _user: Q(state=State.OPEN)),
        Tab("decided", "Decided", lambda _user: Q(state__in=[State.KEPT, State.PROPOSED, State.TAKEN])),
        Tab("ended", "Settled", lambda _user: Q(state__in=[State.SETTLED, State.SUPERSEDED])),
    )
    empty = Empty(
        "Every system says what stands",
        "What a system says of a field that another one owns, or what breaks a rule of quality, is kept here.",
    )

    def headline(self) -> str:
        """What they are, and how they go away."""
        return (
            "Keep what stands, propose what was said as a change, or mend it in the system that said it: once it says what "
            "stands, it settles by itself."
        )


class RejectedPage(DetailScreen):
    """One value that was not taken."""

    queryset = RejectedValue.objects.select_related("connection", "entity", "decided_by")
    template_name = "reconciliation/rejected.html"
    actions = (KeepWhatStands, ProposeTheChange)
    object: RejectedValue

    def permitted(self, roles: frozenset[str]) -> list[type[Action]]:
        """Nothing more once it is decided or settled."""
        return super().permitted(roles) if self.object.state == State.OPEN else []

    def heading(self) -> str:
        """The field and its record."""
        return f"{self.object.field.replace('_', ' ').capitalize()} of {self.object.record}"

    def context(self, **more: Any) -> dict[str, Any]:
        """Whose field it is, what else was said of it, and the record."""
        if "object" not in more:
            return super().context(**more)
        row = self.object
        others = RejectedValue.objects.visible_to(self.request.user).filter(
            kind=row.kind, internal_id=row.internal_id, field=row.field
        )
        return super().context(
            **more,
            tone=TONES.get(row.state, ""),
            owner=FieldOwners().in_words(row.kind, row.field, row.entity_id),
            field_words=f"{row.kind.replace('_', ' ').capitalize()}: {row.field.replace('_', ' ')}",
            change_sets=ChangeSet.objects.visible_to(self.request.user).filter(takes_up=row).order_by("-pk"),
            others=others.exclude(pk=row.pk).select_related("connection")[:20],
            record_url=address_of(self.request.user, name_of_kind(row.kind), str(row.internal_id)),
        )
