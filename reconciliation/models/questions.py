"""Questions to a target: what a person wants to know of one entry, and what they decided in case the target holds nothing."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q

from portal.models.access import Scope, ScopedQuerySet


class TargetQuestion(models.Model):
    """One question of a person to a target about one entry that it may hold, and what is done should it hold nothing.

    The row is the question: the outbox looks, and only what the target shows after it was asked answers it.
    """

    class IfAbsent(models.TextChoices):
        NOTHING = "nothing", "Only look"
        BOOK_AGAIN = "book_again", "Book again under a new key"
        LEAVE_OUT = "leave_out", "Leave out"
        TAKEN_BACK = "taken_back", "It was taken back there"

    class Answer(models.TextChoices):
        HOLDS = "holds", "The target holds it"
        ABSENT = "absent", "The target does not hold it"
        WITHDRAWN = "withdrawn", "The entry moved on before the answer"

    entry = models.ForeignKey("portal.LedgerEntry", models.PROTECT, related_name="questions")
    if_absent = models.CharField(max_length=10, choices=IfAbsent.choices, default=IfAbsent.NOTHING)
    by = models.ForeignKey("portal.User", models.PROTECT, related_name="+")
    reason = models.TextField(blank=True)
    asked_at = models.DateTimeField()
    next_ask_at = models.DateTimeField()
    answered_at = models.DateTimeField(null=True, blank=True)
    answer = models.CharField(max_length=10, choices=Answer.choices, blank=True)
    successor = models.ForeignKey("portal.LedgerEntry", models.PROTECT, null=True, blank=True, related_name="+")

    scope = Scope("entry__entity")
    objects = ScopedQuerySet.as_manager()

    class Meta:
        ordering = ["entry", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["entry"], condition=Q(answered_at=None), name="one_open_question_per_entry"
            ),
            models.CheckConstraint(
                condition=Q(if_absent="nothing") | ~Q(reason=""), name="what_is_decided_beforehand_has_a_reason"
            ),
            models.CheckConstraint(
                condition=Q(answered_at=None, answer="", successor=None)
                | (Q(answered_at__gte=F("asked_at")) & ~Q(answer="")),
                name="an_answer_follows_its_question",
            ),
            models.CheckConstraint(
                condition=Q(successor=None) | Q(if_absent="book_again", answer="absent"),
                name="only_what_is_absent_is_booked_again",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_if_absent_display()}: {self.get_answer_display() or 'not answered yet'}"
