"""How systems' keys stand to our records, kept as rows until something that they are made of changes."""

from __future__ import annotations

from django.db import models

from portal.models import Crosswalk
from portal.models.access import Scope, ScopedQuerySet


class Mapping(models.Model):
    """One key of a system, one of our records without a key in it, or one of its records that means none of ours; per entity.

    Written by `reconciliation.mappings` from what stands, and by nobody else: what a person says of a key is a crosswalk.
    `entries`, `hours` and `money` (currency to amount) are what is open.
    """

    class State(models.TextChoices):
        UNMAPPED = "unmapped", "Unmapped"
        THEIRS = "theirs", "Theirs, not ours"
        MAPPED = "mapped", "Mapped"
        SCHEDULED = "scheduled", "Scheduled"
        ENDED = "ended", "Ended"

    id = models.BigIntegerField(primary_key=True)
    origin = models.CharField(max_length=10)  # key, record or foreign
    connection = models.ForeignKey("portal.Connection", models.DO_NOTHING, related_name="+")
    system = models.CharField(max_length=40)
    realm = models.CharField(max_length=120)
    kind = models.CharField(max_length=20, choices=Crosswalk.Kind.choices)
    external_id = models.CharField(max_length=200, null=True)  # noqa: DJ001 - there is none, which is not an empty one
    their_code = models.CharField(max_length=200, null=True)  # noqa: DJ001
    their_name = models.CharField(max_length=300, null=True)  # noqa: DJ001
    foreign_id = models.BigIntegerField(null=True)
    crosswalk_id = models.BigIntegerField(null=True)
    internal_id = models.BigIntegerField(null=True)
    code = models.CharField(max_length=200, null=True)  # noqa: DJ001
    name = models.CharField(max_length=300, null=True)  # noqa: DJ001
    entity = models.ForeignKey("portal.LegalEntity", models.DO_NOTHING, null=True, related_name="+")
    valid_from = models.DateField(null=True)
    valid_to = models.DateField(null=True)
    allows_many = models.BooleanField()
    state = models.CharField(max_length=10, choices=State.choices)
    is_ambiguous = models.BooleanField()
    is_expiring = models.BooleanField()
    is_conflicting = models.BooleanField()
    is_inactive = models.BooleanField()
    entries = models.BigIntegerField()
    hours = models.DecimalField(max_digits=18, decimal_places=4)
    money = models.JSONField()

    objects = ScopedQuerySet.as_manager()

    class Meta:
        managed = False
        db_table = "reconciliation_mapping"
        ordering = ["-entries", "kind", "code", "id"]

    def __str__(self) -> str:
        ours = f"{self.code} {self.name or ''}".strip() if self.internal_id else ""
        theirs = f"{self.their_code or self.external_id or ''} {self.their_name or ''}".strip()
        return f"{self.get_kind_display()} {ours or theirs}"


class MappingsKept(models.Model):
    """From when the rows of mappings are, and of what: changes of their records, the latest move of an entry. One row."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    word = models.BigIntegerField()
    moves = models.BigIntegerField()
    written_at = models.DateTimeField()
    seconds = models.FloatField()  # that it took

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="mappings_are_kept_once")]

    def __str__(self) -> str:
        return f"mappings as of {self.written_at}"


class DismissedMatch(models.Model):
    """That a person said of one record of ours and one of a system that they are not the same, on what both said then.

    `evidence` is code, name and tax number of both; another evidence is another match. It ends when it is offered again.
    """

    entity = models.ForeignKey("portal.LegalEntity", models.PROTECT, null=True, blank=True, related_name="+")
    system = models.CharField(max_length=40)
    realm = models.CharField(max_length=120, blank=True)
    kind = models.CharField(max_length=20, choices=Crosswalk.Kind.choices)
    internal_id = models.BigIntegerField()
    external_id = models.CharField(max_length=200)
    evidence = models.JSONField()
    words = models.CharField(max_length=700)  # both, as they were called
    reason = models.TextField()
    by = models.ForeignKey("portal.User", models.PROTECT, related_name="+")
    at = models.DateTimeField()
    offered_by = models.ForeignKey("portal.User", models.PROTECT, null=True, blank=True, related_name="+")
    offered_at = models.DateTimeField(null=True, blank=True)
    offered_because = models.TextField(blank=True)

    scope = Scope(shared=True)
    objects = ScopedQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["entity", "system", "realm", "kind", "internal_id", "external_id", "evidence"],
                condition=models.Q(offered_at=None), nulls_distinct=False, name="a_match_is_dismissed_once",
            ),
            models.CheckConstraint(condition=~models.Q(reason=""), name="a_dismissal_says_why"),
            models.CheckConstraint(
                condition=models.Q(offered_at=None)
                | (models.Q(offered_by__isnull=False) & ~models.Q(offered_because="")),
                name="a_match_is_offered_again_by_a_person_with_a_reason",
            ),
        ]  # fmt: skip

    def __str__(self) -> str:
        return self.words
