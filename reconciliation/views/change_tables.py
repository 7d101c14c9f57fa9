"""The table of change sets, and who waits for whom."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.models import Count, Prefetch, Q, QuerySet
from django.urls import reverse
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from portal.models import LegalEntity
from portal.screens import (
    Badge,
    DayColumn,
    MainColumn,
    NumberColumn,
    StateColumn,
    Table,
    TextColumn,
    WhenColumn,
)
from portal.screens.tables import Column
from reconciliation.models import Approval, ChangeEditor, ChangeSet
from reconciliation.views import inbox

State = ChangeSet.State
TONES: dict[str, str] = {
    State.SUBMITTED: "warn", State.APPROVED: "info", State.SCHEDULED: "info", State.APPLYING: "info", State.APPLIED: "good",
    State.REJECTED: "bad",
}  # fmt: skip
STEPS = {
    True: (("approve", "approve", "Approve"), ("reject", "new", "Reject")),
    False: (("review", "approve", "Review"),),
}  # by whether it waits for a decision or for a review: the step, the key's action, the word
KINDS = (Approval.Kind.CHANGE, Approval.Kind.REVIEW)
WAITING = Q(state=State.SUBMITTED)
TO_REVIEW = Q(is_emergency=True, reviewed_by=None, state__in=[State.APPLYING, State.APPLIED])


class DecideColumn(Column):
    """What the person may decide about a row, opened beside the list with the summary of what it lets happen."""

    def __init__(self) -> None:
        super().__init__(verbose_name="Decide", orderable=False, accessor="steps", exclude_from_export=True)

    def render(self, value: Sequence[tuple[str, str, str]], record: ChangeSet) -> SafeString:
        """The decisions, each with its key."""
        links = (
            (reverse("change_decide", args=[record.pk, step]), key, word, f"{word}: {record.title}")
            for step, key, word in value
        )
        return format_html_join(
            " ",
            '<a class="way" href="{0}" hx-get="{0}" hx-target="#dialog-body" data-shortcut="{1}" aria-label="{3}">{2}</a>',
            links,
        )


class ChangeSetTable(Table):
    """Change sets: what changes and why, from when, what its dry-run found, and who decides."""

    title = MainColumn(
        verbose_name="Change", url=lambda one: reverse("change_set", args=[one.pk]), drawer=False,
        second=lambda one: f"Change set {one.pk} · {one.reason}",
    )  # fmt: skip
    number = NumberColumn(accessor="pk", order_by="pk", verbose_name="Number", optional=True)
    entities = TextColumn(accessor="pk", orderable=False, verbose_name="Entities")
    lines = NumberColumn(accessor="line_count", verbose_name="Records", optional=True)
    passes = NumberColumn(accessor="preview__passes__entries", orderable=False, verbose_name="Pass")
    fails = NumberColumn(accessor="preview__fails__entries", orderable=False, verbose_name="Fail", optional=True)
    repriced = NumberColumn(accessor="preview__repriced__entries", orderable=False, verbose_name="Other price")
    booked = NumberColumn(accessor="preview__booked__entries", orderable=False, verbose_name="To reverse")
    effective_on = DayColumn(verbose_name="Takes effect")
    by = TextColumn(accessor="created_by__username", order_by="created_by__username", verbose_name="By")
    created = WhenColumn(accessor="created_at", order_by="created_at", verbose_name="When")
    decided = TextColumn(
        accessor="decided_by__username", order_by="decided_by__username", verbose_name="Decided by", optional=True
    )
    state = StateColumn(TONES)
    decide = DecideColumn()

    def render_entities(self, record: ChangeSet) -> str:
        """Their codes, or all."""
        codes = [one.code for one in record.entities.all()]
        return "all" if record.is_shared else ", ".join(codes)

    def value_entities(self, record: ChangeSet) -> str:
        """The same in a file."""
        return self.render_entities(record)


def listed() -> QuerySet[ChangeSet]:
    """Change sets with what their list shows."""
    entities = Prefetch("entities", queryset=LegalEntity.objects.order_by("code"))
    return (
        ChangeSet.objects.select_related("created_by", "decided_by")
        .prefetch_related(entities)
        .annotate(line_count=Count("lines"))
    )


def own(user: Any) -> Q:
    """Those that a person wrote in."""
    return Q(pk__in=ChangeEditor.objects.filter(user=user.pk).values("change_set"))


def waiting_for(user: Any) -> QuerySet[ChangeSet]:
    """Those that wait for this person's decision or review; that of a proposal is decided with it."""
    return ChangeSet.objects.filter(pk__in=inbox.waiting_keys(user, *KINDS))


def offer_decisions(records: Sequence[ChangeSet], user: Any) -> None:
    """Give the rows of a page what this person may decide about each, in one query."""
    waiting = set(waiting_for(user).filter(pk__in=[one.pk for one in records]).values_list("pk", flat=True))
    for one in records:
        if one.pk in waiting:
            one.steps = STEPS[one.state == State.SUBMITTED]  # type: ignore[attr-defined]


def to_decide(user: Any) -> Badge | None:
    """How many wait for this person."""
    return inbox.badge(user, "Change sets that wait for you", KINDS)
