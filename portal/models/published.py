"""What other systems are told: one row for each record and system, and the versions that were owed to it.

A record is one of master data, or a bill or a payment as it stands.

The rule here: a version is written once and never changed, like a version of a document, and one ledger entry owes it to its
system. What the system has taken, and what it held when it was last read, is told of the record.
"""

from __future__ import annotations

from django.db import models

from portal.models.access import Scope, ScopedQuerySet
from portal.records import PublishedKind

PUBLISHED_CHOICES = [(kind.value, kind.value.capitalize()) for kind in PublishedKind]


class Published(models.Model):
    """One record as one system is to hold it; the document's current version says what that is.

    `internal_id` is the primary key within the kind's table; an assignment and a rate are a project's, and name their person
    in `resource`. `number` is the system's own key once it is known. `drift` is {field: [ours, theirs]} where the system held
    something else when it was last read, and `accepted` what of it people agreed to leave as it is.
    """

    document = models.OneToOneField("portal.Document", models.PROTECT, primary_key=True, related_name="published")
    connection = models.ForeignKey("portal.Connection", models.PROTECT, related_name="published", db_index=False)
    entity = models.ForeignKey("portal.LegalEntity", models.PROTECT, related_name="published")
    kind = models.CharField(max_length=12, choices=PUBLISHED_CHOICES)
    internal_id = models.BigIntegerField()
    resource = models.ForeignKey("portal.Resource", models.PROTECT, null=True, blank=True, related_name="+")
    title = models.CharField(max_length=300)
    number = models.CharField(max_length=200, blank=True)
    twin = models.JSONField(default=dict, blank=True)  # {"number", "name"} of the record there that may be the same
    read_at = models.DateTimeField(null=True, blank=True)
    drift = models.JSONField(default=dict, blank=True)
    drifted_at = models.DateTimeField(null=True, blank=True)
    accepted = models.JSONField(default=dict, blank=True)

    scope = Scope("entity")
    objects = ScopedQuerySet.as_manager()

    class Meta:
        verbose_name = "published record"
        ordering = ["connection__code", "kind", "title"]
        indexes = [models.Index(fields=["number"], name="told_by_their_number")]
        constraints = [
            models.UniqueConstraint(
                fields=["connection", "kind", "internal_id", "resource"],
                nulls_distinct=False,
                name="a_record_is_owed_to_a_system_once",
            ),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def record(self) -> str:
        """What the record is called in keys: its kind, its id and its person's."""
        return key_of(self.kind, self.internal_id, self.resource_id)


def key_of(kind: str, internal_id: int, resource_id: int | None = None) -> str:
    """A record in keys, as `project:17` or `assignment:17:33`."""
    return f"{kind}:{internal_id}" if resource_id is None else f"{kind}:{internal_id}:{resource_id}"


class PublishedVersion(models.Model):
    """One version of a master record as it was owed to a system, with everything that it says copied in.

    `names` are the records that it names, by kind, in keys such as `customer:5`.
    """

    document = models.ForeignKey("portal.Document", models.PROTECT, related_name="published_versions", db_index=False)
    version = models.PositiveIntegerField()
    figures = models.JSONField(default=dict)
    names = models.JSONField(default=dict, blank=True)
    reason = models.CharField(max_length=300, blank=True)
    recorded_at = models.DateTimeField()

    scope = Scope("document__entity")
    objects = ScopedQuerySet.as_manager()

    class Meta:
        ordering = ["document", "version"]
        constraints = [models.UniqueConstraint(fields=["document", "version"], name="published_version_is_unique")]

    def __str__(self) -> str:
        return f"master data {self.document_id} v{self.version}"
