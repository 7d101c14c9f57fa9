"""What follows in the books from rates that change in the past: entries booked anew, and bills that are off by a difference.

The rule here: a bundle is planned on what stands, agreed to by somebody who did not plan it, and done row by row; a row ends
once. What moved between the plan and its turn is left, and says why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from django.db import models
from django.db.models import F, Q

from portal.models.access import Scope, ScopedQuerySet

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser


class RateBundles(ScopedQuerySet["RateBundle"]):
    """Bundles, seen with the change sets that they follow."""

    def visible_to(self, user: AbstractBaseUser | AnonymousUser, *, roles: frozenset[str] | None = None) -> Self:
        """Those whose change set the person sees."""
        from reconciliation.models.changes import ChangeSet

        return self.filter(change_set__in=ChangeSet.objects.visible_to(user, roles=roles))


class RateBundle(models.Model):
    """One plan of what becomes of booked and billed work once a change set of rates has been applied.

    The first plan of a change set is agreed to with it; a later one takes up what the earlier ones left, and needs its own
    second person. `content_hash` is that of the change set as it was when this was planned: another content, another plan.
    """

    class State(models.TextChoices):
        PLANNING = "planning", "Being planned"
        PLANNED = "planned", "Planned"
        RUNNING = "running", "Being booked"
        DONE = "done", "Done"
        OUTDATED = "outdated", "Planned on something else"
        CANCELLED = "cancelled", "Cancelled"

    change_set = models.ForeignKey("reconciliation.ChangeSet", models.CASCADE, related_name="rate_bundles")
    round = models.PositiveSmallIntegerField(default=1)
    state = models.CharField(max_length=10, choices=State.choices, default=State.PLANNING)
    content_hash = models.CharField(max_length=64)
    planned_by = models.ForeignKey("portal.User", models.PROTECT, related_name="+")
    planned_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField()
    approved_by = models.ForeignKey("portal.User", models.PROTECT, null=True, blank=True, related_name="+")
    approved_at = models.DateTimeField(null=True, blank=True)
    refused_by = models.ForeignKey("portal.User", models.PROTECT, null=True, blank=True, related_name="+")
    refused_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    total = models.PositiveIntegerField(default=0)
    done = models.PositiveIntegerField(default=0)  # rows that ended, whichever way

    scope = Scope("change_set__entities", shared=True, many=True)
    objects = RateBundles.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["change_set", "round"], name="rounds_of_a_rate_bundle_are_in_order"),
            models.CheckConstraint(
                condition=Q(approved_by=None) | ~Q(approved_by=F("planned_by")), name="who_agrees_to_a_bundle_did_not_plan_it"
            ),
            models.CheckConstraint(
                condition=~Q(state__in=["running", "done"]) | Q(approved_by__isnull=False, approved_at__isnull=False),
                name="what_is_booked_anew_was_approved",
            ),
            models.CheckConstraint(condition=Q(done__lte=F("total")), name="no_row_of_a_bundle_ends_twice"),
            models.CheckConstraint(
                condition=Q(refused_by=None, refused_at=None)
                | Q(refused_by__isnull=False, refused_at__isnull=False, approved_by=None, state="cancelled")
                & ~Q(refused_by=F("planned_by")),
                name="a_refused_bundle_was_refused_by_another_person",
            ),
        ]  # fmt: skip
        indexes = [
            models.Index(
                fields=["state"], condition=Q(state__in=["planning", "planned", "running"]), name="bundle_under_way"
            )
        ]

    def __str__(self) -> str:
        return (
            f"{self.change_set}, in the books" if self.round == 1 else f"{self.change_set}, in the books ({self.round})"
        )

    @property
    def standing(self) -> str:
        """How it stands, in words: one that was refused says so."""
        return "Refused" if self.refused_by_id is not None else self.get_state_display()

    @property
    def version(self) -> str:
        """Which plan this is, as a page shows it and a decision names it; empty until it is there."""
        return f"{self.pk}:{self.planned_at.isoformat()}" if self.planned_at else ""


class BundleRow(models.Model):
    """One booked entry that would say something else: what it says and would say, what is done about it, and how that ended.

    Amounts of a billed entry are of the part that stands on the bill.
    """

    class Way(models.TextChoices):
        REBOOK = "rebook", "Taken back and booked anew"
        BILL = "bill", "Stands on a bill"
        LEFT = "left", "Left as it is"

    class Result(models.TextChoices):
        PENDING = "pending", "Pending"
        DONE = "done", "Done"
        SKIPPED = "skipped", "Left"
        FAILED = "failed", "Failed"

    bundle = models.ForeignKey(RateBundle, models.CASCADE, related_name="rows", db_index=False)
    entry = models.ForeignKey("portal.LedgerEntry", models.PROTECT, related_name="+")
    document = models.ForeignKey("portal.Document", models.PROTECT, related_name="+", db_index=False)
    entity = models.ForeignKey("portal.LegalEntity", models.PROTECT, related_name="+", db_index=False)
    invoice = models.ForeignKey(
        "portal.Invoice", models.PROTECT, null=True, blank=True, related_name="+", db_index=False
    )
    way = models.CharField(max_length=10, choices=Way.choices)
    state = models.CharField(max_length=10)  # of the entry, when it was planned
    hours = models.DecimalField(max_digits=9, decimal_places=4, null=True, blank=True)
    currency = models.CharField(max_length=3, blank=True)
    rate_before = models.DecimalField(max_digits=18, decimal_places=4, null=True, blank=True)
    rate_after = models.DecimalField(max_digits=18, decimal_places=4, null=True, blank=True)
    amount_before = models.DecimalField(max_digits=18, decimal_places=4, null=True, blank=True)
    amount_after = models.DecimalField(max_digits=18, decimal_places=4, null=True, blank=True)
    result = models.CharField(max_length=10, choices=Result.choices, default=Result.PENDING)
    detail = models.TextField(blank=True)
    reversal = models.ForeignKey(
        "portal.LedgerEntry", models.PROTECT, null=True, blank=True, related_name="+", db_index=False
    )
    rebooked = models.ForeignKey(
        "portal.LedgerEntry", models.PROTECT, null=True, blank=True, related_name="+", db_index=False
    )
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = ScopedQuerySet.as_manager()

    class Meta:
        ordering = ["bundle", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["bundle", "entry", "invoice"], nulls_distinct=False, name="a_bundle_names_an_entry_once"
            ),
            models.CheckConstraint(
                condition=Q(result="pending", finished_at=None) | (~Q(result="pending") & Q(finished_at__isnull=False)),
                name="a_row_of_a_bundle_has_ended_or_not",
            ),
            models.CheckConstraint(
                condition=~Q(way="rebook", result="done") | Q(reversal__isnull=False, rebooked__isnull=False),
                name="what_was_booked_anew_has_its_pair",
            ),
        ]
        indexes = [models.Index(fields=["bundle", "entry"], condition=Q(result="pending"), name="bundle_row_to_do")]

    def __str__(self) -> str:
        return f"entry {self.entry_id} of {self.bundle_id}"


class RateLook(models.Model):
    """When the books were last held against what one change set of rates agreed; `waits` while an outcome is not known yet."""

    change_set = models.OneToOneField(
        "reconciliation.ChangeSet", models.CASCADE, primary_key=True, related_name="rate_look"
    )
    looked_at = models.DateTimeField()
    waits = models.BooleanField(default=False)

    scope = Scope("change_set__entities", shared=True, many=True)
    objects = ScopedQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.change_set}, looked at {self.looked_at:%Y-%m-%d %H:%M}"


class BillDifference(models.Model):
    """One bill of a bundle: what it billed for work whose rate changed, what that would be, and since when it is proposed.

    Below zero a credit is proposed, above it a supplementary invoice. What came of it is read from the bills themselves.
    """

    bundle = models.ForeignKey(RateBundle, models.CASCADE, related_name="bills")
    invoice = models.ForeignKey("portal.Invoice", models.PROTECT, related_name="rate_differences")
    entity = models.ForeignKey("portal.LegalEntity", models.PROTECT, related_name="+")
    currency = models.CharField(max_length=3)
    entries = models.PositiveIntegerField()
    billed = models.DecimalField(max_digits=18, decimal_places=4)
    would_be = models.DecimalField(max_digits=18, decimal_places=4)
    proposed_at = models.DateTimeField(null=True, blank=True)
    over_at = models.DateTimeField(null=True, blank=True)  # since when what was billed is what is agreed again

    objects = ScopedQuerySet.as_manager()

    class Meta:
        ordering = ["bundle", "invoice"]
        constraints = [
            models.UniqueConstraint(fields=["bundle", "invoice", "currency"], name="a_bundle_names_a_bill_once"),
        ]

    def __str__(self) -> str:
        return f"{self.invoice}: {self.net:+} {self.currency}"

    @property
    def net(self) -> Any:
        """By how much the bill would be higher; below zero, lower."""
        return self.would_be - self.billed
