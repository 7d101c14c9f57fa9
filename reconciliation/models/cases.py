"""What stops entries: exception cases, the holds that share them, and what people say of them."""

from __future__ import annotations

from typing import Any, Self

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import F, Q
from simple_history.models import HistoricalRecords

from portal.models.access import GrantRole, Scope, ScopedQuerySet, entities_held

NOT_MANAGERS = frozenset(GrantRole.values) - {GrantRole.PROJECT_MANAGER}


class CaseQuerySet(ScopedQuerySet[Any]):
    """Causes, as people of different roles may see them."""

    def visible_to(self, user: Any, *, roles: frozenset[str] | None = None) -> Self:
        """Those of the person's entities; where they are a project manager and nothing else, those that concern them.

        That is what holds work on a project of theirs, what was given to them, and what somebody named them under.
        """
        seen = super().visible_to(user, roles=roles)
        wide, all_of_it = _seen_whole(user, roles)
        if all_of_it:
            return seen
        theirs = CaseReach.objects.filter(project__manager=user.pk).values("case")
        named = CaseComment.objects.filter(mentions__contains=[user.get_username()]).values("case")
        return seen.filter(Q(entity__in=wide) | Q(pk__in=theirs) | Q(owner=user.pk) | Q(pk__in=named))


def _seen_whole(user: Any, roles: frozenset[str] | None) -> tuple[Any, bool]:
    """The entities of which a person sees every cause, and whether those are all that the person sees anything of."""
    wide = entities_held(user, NOT_MANAGERS if roles is None else roles & NOT_MANAGERS)
    return wide, None in wide or set(wide) >= set(entities_held(user, roles))


class HoldQuerySet(ScopedQuerySet[Any]):
    """Holds, as far as a person may see their causes."""

    def visible_to(self, user: Any, *, roles: frozenset[str] | None = None) -> Self:
        """Those of the causes that the person may see."""
        seen = super().visible_to(user, roles=roles)
        if _seen_whole(user, roles)[1]:
            return seen
        return seen.filter(case__in=ExceptionCase.objects.visible_to(user, roles=roles).values("pk"))


class ExceptionCase(models.Model):
    """One cause that stops entries: a rule, an entity and the subject (a project, a code, a period …) that explains them.

    Unique while open. It closes by itself when its last hold does and re-opens as *regressed* when the cause is back.
    The counts are kept by the batch that changes its holds; money is in `CaseTotal`, per currency, and on whose work in
    `CaseReach`. Cash at risk is told in one currency: that of the entity's books where the case holds any of it, else the one
    in which it holds most. The queue is ordered by all of it, compared in the group's currency (`reconciliation.cash`). One
    that was merged holds nothing: whatever its cause stops is held by the case that it was merged into.
    """

    class State(models.TextChoices):
        OPEN = "open", "Open"
        RESOLVED = "resolved", "Resolved"
        MERGED = "merged", "Merged"

    class Aside(models.TextChoices):
        """Why an open cause is out of sight; its entries stay held all the same."""

        NO = "", "In the queue"
        SNOOZED = "snoozed", "Snoozed"
        IGNORED = "ignored", "Ignored"

    rule = models.CharField(max_length=60, db_index=True)
    entity = models.ForeignKey("portal.LegalEntity", models.PROTECT, related_name="cases")
    subject_type = models.CharField(max_length=30)  # project, resource, code, period, rate, connection, entry …
    subject_key = models.CharField(max_length=300)
    connection = models.ForeignKey("portal.Connection", models.PROTECT, null=True, blank=True, related_name="cases")
    sentence = models.TextField()
    detail = models.JSONField(default=dict, blank=True)  # value, expectation, ids that the fixes need
    state = models.CharField(max_length=10, choices=State.choices, default=State.OPEN)
    regressions = models.PositiveSmallIntegerField(default=0)
    opened_at = models.DateTimeField()
    seen_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, blank=True)
    owner = models.ForeignKey("portal.User", models.SET_NULL, null=True, blank=True, related_name="cases")
    team = models.ForeignKey("Team", models.SET_NULL, null=True, blank=True, related_name="cases")
    tags = ArrayField(models.CharField(max_length=40), default=list, db_default=[], blank=True)
    aside = models.CharField(max_length=10, choices=Aside.choices, default=Aside.NO, db_default="", blank=True)
    merged_into = models.ForeignKey("self", models.PROTECT, null=True, blank=True, related_name="merged")
    escalated_at = models.DateTimeField(null=True, blank=True)  # while nobody has touched it and its period ends soon
    open_holds = models.PositiveIntegerField(default=0)
    waiting = models.PositiveIntegerField(default=0, db_default=0)  # what it does not hold and waits because of it
    open_hours = models.DecimalField(max_digits=18, decimal_places=4, default=0)  # of both
    open_people = models.PositiveIntegerField(default=0)
    oldest_work_date = models.DateField(null=True, blank=True)
    newest_work_date = models.DateField(null=True, blank=True)
    held_currency = models.CharField(max_length=3, blank=True, default="", db_default="")
    held_amount = models.DecimalField(max_digits=18, decimal_places=4, default=0, db_default=0)  # with estimates
    cash_at_risk = models.DecimalField(max_digits=22, decimal_places=4, default=0, db_default=0)  # amount times days
    compared_in = models.CharField(
        max_length=3, blank=True, default="", db_default=""
    )  # the group's currency, else its own
    compared_amount = models.DecimalField(max_digits=38, decimal_places=4, default=0, db_default=0)
    compared_risk = models.DecimalField(max_digits=38, decimal_places=4, default=0, db_default=0)
    is_apart = models.BooleanField(default=False, db_default=False)  # it holds a currency without a rate to the group's
    weighed_on = models.DateField(null=True, blank=True)  # the day as of which the cash at risk is told
    counted_at = models.DateTimeField(null=True, blank=True)  # when its counts last changed
    best_score = models.PositiveSmallIntegerField(null=True, blank=True)  # of its nearest suggestion, 0 to 100
    # What that score is about: the counts that stood then, and the latest change of projects and people that was known.
    scored_for = models.DateTimeField(null=True, blank=True)
    scored_with = models.DateTimeField(null=True, blank=True)

    history = HistoricalRecords(
        history_change_reason_field=models.TextField(null=True),
        excluded_fields=[
            "open_holds",
            "waiting",
            "open_hours",
            "open_people",
            "oldest_work_date",
            "newest_work_date",
            "seen_at",
            "held_currency",
            "held_amount",
            "cash_at_risk",
            "compared_in",
            "compared_amount",
            "compared_risk",
            "is_apart",
            "weighed_on",
            "counted_at",
            "best_score",
            "scored_for",
            "scored_with",
        ],
    )
    objects = CaseQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["rule", "entity", "subject_type", "subject_key"],
                condition=Q(state__in=["open", "merged"]),
                name="one_standing_case_per_cause",
            ),
            models.CheckConstraint(condition=Q(state="open") | Q(aside=""), name="only_an_open_cause_is_set_aside"),
            models.CheckConstraint(
                condition=Q(state="merged", merged_into__isnull=False) | (~Q(state="merged") & Q(merged_into=None)),
                name="a_merged_cause_says_into_which",
            ),
        ]
        indexes = [
            models.Index(fields=["state", "entity", "rule"], name="case_by_state_and_entity"),
            models.Index(fields=["team"], condition=Q(state="open"), name="open_case_by_team"),
            GinIndex(fields=["tags"], name="case_by_tag"),
            models.Index(
                fields=["is_apart", "compared_in", "-compared_risk", "id"],
                condition=Q(state="open"),
                name="case_by_compared_risk",
            ),
        ]

    def __str__(self) -> str:
        return self.sentence

    @property
    def entries(self) -> int:
        """How many entries it stops: those that it holds, and those that wait because of it."""
        return self.open_holds + self.waiting


class CaseTotal(models.Model):
    """The money that one case holds in one currency; kept by the batch that changes its holds."""

    case = models.ForeignKey(ExceptionCase, models.CASCADE, related_name="totals")
    currency = models.CharField(max_length=3)
    holds = models.PositiveIntegerField(default=0)
    amount = models.DecimalField(max_digits=18, decimal_places=4, default=0)
    estimate = models.DecimalField(max_digits=18, decimal_places=4, default=0, db_default=0)  # of hours without a price
    at_risk = models.DecimalField(max_digits=22, decimal_places=4, default=0, db_default=0)  # amount times days

    class Meta:
        constraints = [models.UniqueConstraint(fields=["case", "currency"], name="one_total_per_case_and_currency")]

    def __str__(self) -> str:
        return f"{self.amount} {self.currency}"


class CaseReach(models.Model):
    """What one case holds from one source, on one project, for one customer, in one currency.

    Kept by the batch that changes its holds. The list of causes is found by source, project, customer and manager here, and
    weighed by the customer's invoice runs. `estimate` is what hours without a price are worth at best guess; `billable` is
    the part, estimates included, that would be on an invoice.
    """

    case = models.ForeignKey(ExceptionCase, models.CASCADE, related_name="reach", db_index=False)
    source = models.ForeignKey("portal.Connection", models.PROTECT, null=True, blank=True, related_name="+")
    project = models.ForeignKey("portal.Project", models.PROTECT, null=True, blank=True, related_name="+")
    contract = models.ForeignKey("portal.Contract", models.PROTECT, null=True, blank=True, related_name="+")
    customer = models.ForeignKey("portal.Customer", models.PROTECT, null=True, blank=True, related_name="+")
    currency = models.CharField(max_length=3, blank=True)
    holds = models.PositiveIntegerField()
    hours = models.DecimalField(max_digits=18, decimal_places=4)
    amount = models.DecimalField(max_digits=18, decimal_places=4)
    estimate = models.DecimalField(max_digits=18, decimal_places=4)
    billable = models.DecimalField(max_digits=18, decimal_places=4)

    scope = Scope("case__entity")
    objects = ScopedQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["case", "source", "project", "contract", "customer", "currency"],
                nulls_distinct=False,
                name="one_reach_per_case_source_and_project",
            )
        ]

    def __str__(self) -> str:
        return f"{self.holds} of case {self.case_id}"


class CaseDay(models.Model):
    """How many holds one case took on in one day (UTC), for its sparkline. Counted up when holds open; never down."""

    case = models.ForeignKey(ExceptionCase, models.CASCADE, related_name="days", db_index=False)
    day = models.DateField()
    opened = models.PositiveIntegerField()

    scope = Scope("case__entity")
    objects = ScopedQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["case", "day"], name="one_count_per_case_and_day")]

    def __str__(self) -> str:
        return f"{self.opened} on {self.day}"


class Hold(models.Model):
    """One entry stopped by one rule. Closed when the rule passes, the entry goes away, or a person waives it."""

    class Outcome(models.TextChoices):
        PASSED = "passed", "The rule passes now"
        WAIVED = "waived", "Waived"
        WITHDRAWN = "withdrawn", "The entry was withdrawn or replaced"

    entry = models.ForeignKey("portal.LedgerEntry", models.PROTECT, related_name="holds")
    case = models.ForeignKey(ExceptionCase, models.PROTECT, related_name="holds")
    merged_from = models.ForeignKey(  # the merged case whose cause it is, where `case` took that over
        ExceptionCase, models.PROTECT, null=True, blank=True, related_name="+", db_index=False
    )
    rule = models.CharField(max_length=60)
    sentence = models.TextField()
    detail = models.JSONField(default=dict, blank=True)
    opened_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(max_length=10, choices=Outcome.choices, blank=True)
    closed_by = models.ForeignKey("portal.User", models.PROTECT, null=True, blank=True, related_name="+")
    reason = models.TextField(blank=True)

    scope = Scope("case__entity")
    objects = HoldQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["entry", "rule"], condition=Q(closed_at=None), name="one_open_hold_per_rule"
            ),
            models.CheckConstraint(
                condition=Q(closed_at=None, outcome="") | (Q(closed_at__isnull=False) & ~Q(outcome="")),
                name="a_closed_hold_has_an_outcome",
            ),
            models.CheckConstraint(
                condition=~Q(outcome="waived") | (Q(closed_by__isnull=False) & ~Q(reason="")),
                name="a_waiver_has_a_person_and_a_reason",
            ),
        ]
        indexes = [
            models.Index(fields=["case", "entry"], condition=Q(closed_at=None), name="open_hold_by_case"),
            models.Index(fields=["entry"], condition=Q(outcome="waived"), name="waiver_by_entry"),
            models.Index(fields=["merged_from"], condition=Q(merged_from__isnull=False), name="hold_by_merged_case"),
        ]

    def __str__(self) -> str:
        return self.sentence


class CaseComment(models.Model):
    """What a person wrote on a case; append-only."""

    case = models.ForeignKey(ExceptionCase, models.CASCADE, related_name="comments")
    author = models.ForeignKey("portal.User", models.PROTECT, related_name="+")
    at = models.DateTimeField()
    text = models.TextField()
    mentions = ArrayField(models.CharField(max_length=150), default=list, blank=True)

    scope = Scope("case__entity")
    objects = ScopedQuerySet.as_manager()

    class Meta:
        ordering = ["case", "id"]
        constraints = [models.CheckConstraint(condition=~Q(text=""), name="a_comment_says_something")]

    def __str__(self) -> str:
        return self.text[:80]


class EntryComment(models.Model):
    """What a person wrote about one ledger entry; append-only, held by a trigger."""

    entry = models.ForeignKey("portal.LedgerEntry", models.PROTECT, related_name="comments")
    author = models.ForeignKey("portal.User", models.PROTECT, related_name="+")
    at = models.DateTimeField()
    text = models.TextField()
    mentions = ArrayField(models.CharField(max_length=150), default=list, blank=True)

    scope = Scope("entry__entity")
    objects = ScopedQuerySet.as_manager()

    class Meta:
        ordering = ["entry", "id"]
        constraints = [models.CheckConstraint(condition=~Q(text=""), name="a_comment_on_an_entry_says_something")]

    def __str__(self) -> str:
        return self.text[:80]


class HandBack(models.Model):
    """An entry handed back to its source with a message; it waits until the source sends a new version.

    No source of ours takes messages; each connector says why, and the message is kept here for a person to pass on.
    """

    entry = models.ForeignKey("portal.LedgerEntry", models.PROTECT, related_name="hand_backs")
    by = models.ForeignKey("portal.User", models.PROTECT, related_name="+")
    at = models.DateTimeField()
    message = models.TextField()
    answered_at = models.DateTimeField(null=True, blank=True)

    scope = Scope("entry__entity")
    objects = ScopedQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["entry"], condition=Q(answered_at=None), name="an_entry_is_handed_back_once_at_a_time"
            ),
            models.CheckConstraint(
                condition=Q(answered_at=None) | Q(answered_at__gte=F("at")), name="the_answer_follows_the_hand_back"
            ),
        ]

    def __str__(self) -> str:
        return self.message[:80]
