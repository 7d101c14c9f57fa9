"""Values that a system stated and that were not taken: what stands, what was said, why, and the way out.

The rule here: nothing is overwritten from these pages. A person keeps what stands, or proposes what was said as a change; the
third way is to mend it in the system that said it, after which the value settles by itself.
"""

from __future__ import annotations

from typing import Any

from django import forms
from django.db.models import Q, QuerySet
from django.urls import reverse

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
    StateColumn,
    Tab,
    Table,
    TextColumn,
    WhenColumn,
)
from portal.views.governed import address_of, name_of_kind
from reconciliation.filters import RejectedValueFilter

State = RejectedValue.State
TONES: dict[str, str] = {State.OPEN: "warn", State.PROPOSED: "info", State.SETTLED: "good"}


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
    reason = TextColumn(verbose_name="Why not taken", wraps=True)
    times = NumberColumn(verbose_name="Times")
    last_at = WhenColumn(verbose_name="Last said")
    state = StateColumn(TONES)

    def render_field(self, value: str) -> str:
        """The field as people say it."""
        return value.replace("_", " ").capitalize()


class KeepWhatStands(Action):
    """What stands is right; the same value is not asked again."""

    name, label, button = "keep", "Keep what stands", "Keep"
    sentence = "Keep what stands in {count} fields"
    roles = access.CONFIGURERS
    reason = forms.CharField(max_length=300, widget=forms.TextInput(attrs={"autofocus": True}))

    def apply(self, queryset: QuerySet[Any], user: Any) -> Outcome:
        """Decide what is still open."""
        count = rejected.decide(list(queryset), State.KEPT, by=user, reason=self.cleaned_data["reason"])
        fields = "1 field" if count == 1 else f"{count:,} fields"
        return Outcome(f"What stands is kept in {fields}." if count else "These were decided before.")


class RejectedList(ListScreen):
    """Values that were not taken, the latest first."""

    title = "Rejected values"
    caption = "Values that a system stated and that were not taken"
    queryset = RejectedValue.objects.select_related("connection", "entity").order_by("-last_at", "-pk")
    filterset = RejectedValueFilter
    table = RejectedTable
    actions = (KeepWhatStands,)
    tabs = (
        Tab("open", "Open", lambda _user: Q(state=State.OPEN)),
        Tab("decided", "Decided", lambda _user: Q(state__in=[State.KEPT, State.PROPOSED])),
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
    actions = (KeepWhatStands,)
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
            others=others.exclude(pk=row.pk).select_related("connection")[:20],
            record_url=address_of(self.request.user, name_of_kind(row.kind), str(row.internal_id)),
        )
