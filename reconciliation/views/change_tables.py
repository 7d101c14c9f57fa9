"""The table of change sets, and who waits for whom."""

from __future__ import annotations

from typing import Any

from django.db.models import Count, Prefetch, Q, QuerySet
from django.urls import reverse

from portal import access
from portal.models import LegalEntity
from portal.screens import Badge, DayColumn, MainColumn, NumberColumn, StateColumn, Table, TextColumn, WhenColumn
from reconciliation.models import ChangeEditor, ChangeSet

State = ChangeSet.State
TONES: dict[str, str] = {
    State.SUBMITTED: "warn", State.APPROVED: "info", State.SCHEDULED: "info", State.APPLYING: "info", State.APPLIED: "good",
    State.REJECTED: "bad",
}  # fmt: skip
WAITING = Q(state=State.SUBMITTED)
TO_REVIEW = Q(is_emergency=True, reviewed_by=None, state__in=[State.APPLYING, State.APPLIED])


class ChangeSetTable(Table):
    """Change sets: what changes and why, from when, what its dry-run found, and who decides."""

    title = MainColumn(
        verbose_name="Change", url=lambda one: reverse("change_set", args=[one.pk]), second=lambda one: one.reason,
        drawer=False,
    )  # fmt: skip
    entities = TextColumn(accessor="pk", orderable=False, verbose_name="Entities")
    lines = NumberColumn(accessor="line_count", verbose_name="Records")
    passes = NumberColumn(accessor="preview__passes__entries", orderable=False, verbose_name="Pass")
    fails = NumberColumn(accessor="preview__fails__entries", orderable=False, verbose_name="Fail", optional=True)
    repriced = NumberColumn(accessor="preview__repriced__entries", orderable=False, verbose_name="Other price")
    booked = NumberColumn(accessor="preview__booked__entries", orderable=False, verbose_name="To reverse")
    effective_on = DayColumn(verbose_name="Takes effect")
    by = TextColumn(accessor="created_by__username", order_by="created_by__username", verbose_name="By")
    created = WhenColumn(accessor="created_at", order_by="created_at", verbose_name="When")
    decided = TextColumn(accessor="decided_by__username", order_by="decided_by__username", verbose_name="Decided by")
    state = StateColumn(TONES)

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
    """Those that wait for this person's decision or review, as far as roles say."""
    rows = ChangeSet.objects.visible_to(user, roles=access.CONFIGURERS)
    return rows.filter(WAITING | TO_REVIEW).exclude(own(user))


def to_decide(user: Any) -> Badge | None:
    """How many wait for this person."""
    count = waiting_for(user).count()
    return Badge("Change sets that wait for you", count, "warn") if count else None
