"""Change sets: what somebody wants to change in the master data, seen beforehand, agreed to by another, applied on its day.

The rule here, held by triggers: who decides edited none of it; what was submitted is frozen until it is a draft again; what is
over stays as it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from django.db import models
from django.db.models import Exists, F, OuterRef, Q

from portal.models.access import Scope, ScopedQuerySet, entities_held

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser


class ChangeSets(ScopedQuerySet["ChangeSet"]):
    """Change sets, seen by who holds a role in every entity that they touch, and by who edits them."""

    def visible_to(self, user: AbstractBaseUser | AnonymousUser, *, roles: frozenset[str] | None = None) -> Self:
        """Those of which no line touches an entity in which the user holds no grant today (or none of `roles`)."""
        held = entities_held(user, roles)
        if not held:
            return self.none()
        if None in held:
            return self
        reached = ChangeSet.entities.through._default_manager.filter(changeset=OuterRef("pk"))
        within: Any = Q(is_shared=False) & ~Exists(reached.exclude(legalentity__in=held))
        if roles is None:
            own = ChangeEditor.objects.filter(change_set=OuterRef("pk"), user=user.pk)
            within |= Q(is_shared=True) & Exists(own) & ~Exists(reached.exclude(legalentity__in=held))
        return self.filter(within)


class ChangeSet(models.Model):
    """One change of master data: its lines, who edited it, what its dry-run found, who decided, and what came of it.

    `content_hash` freezes what was submitted; `fingerprint` binds the dry-run to the open entries as they stood. One that is an
    emergency was applied by one person, and is reviewed by another afterwards.
    """

    class State(models.TextChoices):
        DRAFT = "draft", "Draft"
        SUBMITTED = "submitted", "Waits for approval"
        APPROVED = "approved", "Approved"
        SCHEDULED = "scheduled", "Scheduled"
        APPLYING = "applying", "Validating again"
        APPLIED = "applied", "Applied"
        REJECTED = "rejected", "Rejected"
        WITHDRAWN = "withdrawn", "Withdrawn"

    title = models.CharField(max_length=300)
    reason = models.TextField()
    state = models.CharField(max_length=10, choices=State.choices, default=State.DRAFT)
    is_emergency = models.BooleanField(default=False)
    effective_on = models.DateField(null=True, blank=True)  # empty: as soon as it is approved
    entities = models.ManyToManyField("portal.LegalEntity", related_name="change_sets", blank=True)
    is_shared = models.BooleanField(default=False)  # touches what belongs to no entity, and so all of them
    created_by = models.ForeignKey("portal.User", models.PROTECT, related_name="change_sets")
    created_at = models.DateTimeField()
    submitted_by = models.ForeignKey("portal.User", models.PROTECT, null=True, blank=True, related_name="+")
    submitted_at = models.DateTimeField(null=True, blank=True)
    content_hash = models.CharField(max_length=64, blank=True)  # empty while it is a draft
    preview = models.JSONField(default=dict, blank=True)  # what the dry-run found, in figures
    previewed_at = models.DateTimeField(null=True, blank=True)
    fingerprint = models.CharField(max_length=64, blank=True)  # of what the dry-run looked at
    agreed_by = models.ForeignKey(
        "portal.User", models.PROTECT, null=True, blank=True, related_name="+"
    )  # waits for a look
    agreed_plan = models.CharField(max_length=60, blank=True)  # what follows in the books, as who agreed had it shown
    decided_by = models.ForeignKey("portal.User", models.PROTECT, null=True, blank=True, related_name="+")
    decided_at = models.DateTimeField(null=True, blank=True)
    comment = models.TextField(blank=True)  # of who decided
    problem = models.TextField(blank=True)  # why it came back to its editors, in words
    applied_by = models.ForeignKey("portal.User", models.PROTECT, null=True, blank=True, related_name="+")
    applied_at = models.DateTimeField(null=True, blank=True)  # when the master data changed
    finished_at = models.DateTimeField(null=True, blank=True)  # when the last entry was validated again
    result = models.JSONField(default=dict, blank=True)  # what came of it, in the figures of the preview
    total = models.PositiveIntegerField(default=0)  # entries to validate again
    done = models.PositiveIntegerField(default=0)
    reviewed_by = models.ForeignKey("portal.User", models.PROTECT, null=True, blank=True, related_name="+")
    reviewed_at = models.DateTimeField(null=True, blank=True)
    review = models.TextField(blank=True)
    takes_up = models.ManyToManyField(
        "portal.RejectedValue", related_name="change_sets", blank=True
    )  # which it proposes
    rolls_back = models.ForeignKey("self", models.PROTECT, null=True, blank=True, related_name="roll_backs")

    scope = Scope("entities", shared=True, many=True)
    objects = ChangeSets.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(decided_by=None) | ~Q(decided_by=F("created_by")), name="who_decides_did_not_draft"
            ),
            models.CheckConstraint(
                condition=~Q(state__in=["approved", "scheduled", "applying", "applied"])
                | Q(decided_by__isnull=False)
                | Q(is_emergency=True),
                name="what_applies_was_approved_or_is_an_emergency",
            ),
            models.CheckConstraint(
                condition=~Q(state="draft") | Q(content_hash="", decided_by=None, submitted_at=None),
                name="a_draft_is_neither_submitted_nor_decided",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["draft", "withdrawn"]) | ~Q(content_hash=""),
                name="what_was_submitted_has_its_hash",
            ),
            models.CheckConstraint(
                condition=Q(decided_by=None, decided_at=None) | Q(decided_by__isnull=False, decided_at__isnull=False),
                name="a_decided_change_set_has_a_person_and_a_moment",
            ),
            models.CheckConstraint(
                condition=Q(agreed_by=None) | Q(state="submitted"), name="only_what_waits_is_agreed_to_and_looked_at_again"
            ),
            models.CheckConstraint(
                condition=~Q(state="rejected") | (Q(decided_by__isnull=False) & ~Q(comment="")),
                name="a_rejected_change_set_says_why",
            ),
            models.CheckConstraint(condition=~Q(reason=""), name="a_change_set_says_why"),
            models.CheckConstraint(
                condition=Q(reviewed_by=None)
                | (Q(is_emergency=True, reviewed_at__isnull=False) & ~Q(reviewed_by=F("created_by"))),
                name="an_emergency_is_reviewed_by_another",
            ),
            models.CheckConstraint(condition=Q(done__lte=F("total")), name="no_entry_is_validated_twice_for_a_change_set"),
        ]  # fmt: skip
        indexes = [
            models.Index(
                fields=["state", "effective_on"],
                condition=Q(state__in=["submitted", "approved", "scheduled", "applying"]),
                name="change_set_under_way",
            )
        ]

    def __str__(self) -> str:
        return self.title


class ChangeLine(models.Model):
    """One record that a change set makes, changes or ends: what was asked, and the record before and after in our words."""

    class Action(models.TextChoices):
        ADD = "add", "New"
        CHANGE = "change", "Changed"
        END = "end", "Ended"
        REMOVE = "remove", "Removed"

    change_set = models.ForeignKey(ChangeSet, models.CASCADE, related_name="lines")
    position = models.PositiveIntegerField()
    model = models.CharField(max_length=40)  # the code of a kind, one of reconciliation.changes.KINDS
    key = models.BigIntegerField(null=True, blank=True)  # of the record; empty for a new one
    action = models.CharField(max_length=10, choices=Action.choices)
    values = models.JSONField(default=dict)  # field to text or JSON, as asked
    record = models.CharField(max_length=300, blank=True)  # what the record is called
    before = models.JSONField(null=True, blank=True)
    after = models.JSONField(null=True, blank=True)
    made = models.BigIntegerField(null=True, blank=True)  # the record that a new line became, once applied

    class Meta:
        ordering = ["change_set", "position"]
        constraints = [
            models.UniqueConstraint(fields=["change_set", "position"], name="lines_of_a_change_set_are_in_order"),
            models.CheckConstraint(
                condition=Q(action="add", key=None) | (~Q(action="add") & Q(key__isnull=False)),
                name="only_a_new_line_has_no_record_yet",
            ),
        ]
        indexes = [models.Index(fields=["model", "key"], name="change_line_by_record")]

    def __str__(self) -> str:
        return f"{self.get_action_display()}: {self.model} {self.record}"


class ChangeFile(models.Model):
    """One file that speaks for a change set: the letter, the signed price list. Frozen and hashed with what it belongs to."""

    change_set = models.ForeignKey(ChangeSet, models.CASCADE, related_name="files")
    name = models.CharField(max_length=200)
    digest = models.CharField(max_length=64)  # SHA-256 of the content
    size = models.PositiveIntegerField()
    content = models.BinaryField()
    added_by = models.ForeignKey("portal.User", models.PROTECT, related_name="+")
    added_at = models.DateTimeField()

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(fields=["change_set", "digest"], name="a_file_is_attached_once"),
            models.CheckConstraint(condition=Q(size__gt=0), name="an_attached_file_says_something"),
        ]

    def __str__(self) -> str:
        return self.name


class ChangeEditor(models.Model):
    """One person who wrote in a change set, and therefore never decides on it. Kept for good."""

    change_set = models.ForeignKey(ChangeSet, models.PROTECT, related_name="editors")
    user = models.ForeignKey("portal.User", models.PROTECT, related_name="+")
    since = models.DateTimeField()

    class Meta:
        ordering = ["change_set", "since"]
        constraints = [
            models.UniqueConstraint(fields=["change_set", "user"], name="an_editor_of_a_change_set_is_named_once")
        ]

    def __str__(self) -> str:
        return f"{self.user} edited {self.change_set}"


class ChangeReach(models.Model):
    """One open entry that an applied change set touches: how it stood when the master data changed, and after validation."""

    change_set = models.ForeignKey(ChangeSet, models.CASCADE, related_name="reach")
    entry = models.ForeignKey("portal.LedgerEntry", models.PROTECT, related_name="+")
    document = models.ForeignKey("portal.Document", models.PROTECT, related_name="+")
    state = models.CharField(max_length=10)
    amount = models.DecimalField(max_digits=18, decimal_places=4, null=True, blank=True)
    currency = models.CharField(max_length=3, blank=True)
    done_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["change_set", "entry"], name="a_change_set_reaches_an_entry_once")
        ]
        indexes = [
            models.Index(fields=["change_set", "document"], condition=Q(done_at=None), name="change_reach_to_validate")
        ]

    def __str__(self) -> str:
        return f"{self.entry_id} of {self.change_set_id}"
