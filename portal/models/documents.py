"""Documents: what a source says was worked or spent, as append-only versions.

The rule here: a version is written once and never changed (the database refuses it), whether it came from the vendor or from
finance. It holds the source's own words; what they mean in our master data is decided by validation and copied to the ledger.
"""

from __future__ import annotations

from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import Q

from portal.models.access import Scope, ScopedQuerySet
from portal.records import DocumentKind, SourceStatus

KIND_CHOICES = [(DocumentKind.TIME.value, "Time"), (DocumentKind.EXPENSE.value, "Expense")]
MASTER = "master"  # a document that a person did not write: a record of ours as one system is to hold it
INVOICE = "invoice"  # a document that we make: an invoice draft as the system that bills is to hold it
OURS = (MASTER, INVOICE)  # what no source wrote: neither hours nor money of the ledger's own
OWED_CHOICES = [*KIND_CHOICES, (MASTER, "Published record"), (INVOICE, "Invoice draft")]
STATUS_CHOICES = [(status.value, status.value.title()) for status in SourceStatus]


class Document(models.Model):
    """The identity of one document at its source; `current_version` is the latest version taken in.

    A document of master data or an invoice draft is identified at the system that it is owed to (see `published`, `invoicing`).
    `seen_revision` is the source's latest revision that made a version, so that an older copy never overwrites a newer one.
    """

    connection = models.ForeignKey("portal.Connection", models.PROTECT, related_name="documents", db_index=False)
    entity = models.ForeignKey("portal.LegalEntity", models.PROTECT, related_name="documents")
    kind = models.CharField(max_length=10, choices=OWED_CHOICES)
    external_id = models.CharField(max_length=200)
    current_version = models.PositiveIntegerField(default=1)
    seen_revision = models.CharField(max_length=120)
    content_digest = models.CharField(max_length=64, blank=True)  # of the current version; an echo makes no new version
    created_at = models.DateTimeField()

    objects = ScopedQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["connection", "kind", "external_id"], name="document_is_taken_in_once")
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.external_id}"


class DocumentVersion(models.Model):
    """What versions of time entries and expenses have in common."""

    version = models.PositiveIntegerField()
    revision = models.CharField(max_length=120)
    status = models.CharField(max_length=10, choices=STATUS_CHOICES)
    resource_key = models.CharField(max_length=200, blank=True)
    resource_code = models.CharField(max_length=200, blank=True)
    resource_name = models.CharField(max_length=200, blank=True)
    project_key = models.CharField(max_length=200, blank=True)
    project_code = models.CharField(max_length=200, blank=True)
    project_name = models.CharField(max_length=200, blank=True)
    task_key = models.CharField(max_length=200, blank=True)
    task_code = models.CharField(max_length=200, blank=True)
    task_name = models.CharField(max_length=200, blank=True)
    customer_key = models.CharField(max_length=200, blank=True)
    customer_code = models.CharField(max_length=200, blank=True)
    customer_name = models.CharField(max_length=200, blank=True)
    work_date = models.DateField()
    zone = models.CharField(max_length=60, blank=True)
    is_billable = models.BooleanField()
    currency = models.CharField(max_length=3, blank=True)
    description = models.TextField(blank=True)
    approver_key = models.CharField(max_length=200, blank=True)
    approver_code = models.CharField(max_length=200, blank=True)
    approver_name = models.CharField(max_length=200, blank=True)
    approved_at = models.DateTimeField(null=True, blank=True)
    provenance = models.CharField(max_length=200, blank=True)
    link = models.CharField(max_length=500, blank=True)
    post_on = models.DateField(null=True, blank=True)  # finance's posting date where the work date's period is closed
    message_id = models.BigIntegerField(
        null=True, blank=True
    )  # the inbox message that brought it; empty for finance's own
    author = models.ForeignKey("portal.User", models.PROTECT, null=True, blank=True, related_name="+")
    reason = models.TextField(blank=True)  # why finance made this version
    recorded_at = models.DateTimeField()

    class Meta:
        abstract = True


class TimeEntry(DocumentVersion):
    """One version of one person's hours on one project and day."""

    document = models.ForeignKey(Document, models.PROTECT, related_name="time_entries", db_index=False)
    hours = models.DecimalField(max_digits=9, decimal_places=4)
    rate = models.DecimalField(max_digits=18, decimal_places=4, null=True, blank=True)  # the source's, per hour
    rate_source = models.CharField(max_length=10, blank=True)  # "source" where finance accepted the source's rate
    starts_at = models.DateTimeField(null=True, blank=True)
    ends_at = models.DateTimeField(null=True, blank=True)

    scope = Scope("document__entity")
    objects = ScopedQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "time entries"
        constraints = [models.UniqueConstraint(fields=["document", "version"], name="time_entry_version_is_unique")]
        indexes = [
            BrinIndex(fields=["recorded_at"], name="time_entry_by_moment", autosummarize=True, pages_per_range=32),
            models.Index(fields=["work_date", "resource_key"], name="time_entry_by_day_and_person"),
            models.Index(
                fields=["work_date"],
                condition=models.Q(status__in=["rejected", "withdrawn"]),
                name="time_entry_refused_by_day",
            ),
        ]

    def __str__(self) -> str:
        return f"time entry {self.document_id} v{self.version}"


class Expense(DocumentVersion):
    """One version of one expense; the amount is gross, in its own currency."""

    document = models.ForeignKey(Document, models.PROTECT, related_name="expenses", db_index=False)
    amount = models.DecimalField(max_digits=18, decimal_places=4)
    category = models.CharField(max_length=120)
    tax_code = models.CharField(max_length=40, blank=True)
    tax_amount = models.DecimalField(max_digits=18, decimal_places=4, null=True, blank=True)
    receipt_reference = models.CharField(max_length=300, blank=True)

    scope = Scope("document__entity")
    objects = ScopedQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["document", "version"], name="expense_version_is_unique"),
            models.CheckConstraint(condition=~Q(currency=""), name="expense_has_a_currency"),
        ]
        indexes = [BrinIndex(fields=["recorded_at"], name="expense_by_moment", autosummarize=True, pages_per_range=32)]

    def __str__(self) -> str:
        return f"expense {self.document_id} v{self.version}"


class SubmittedTime(models.Model):
    """Time that its source has and nobody approved yet, as it was last seen; no document, and gone once somebody decided.

    It says what waits for approval and is never posted. Kept by `portal.canonical` only.
    """

    connection = models.ForeignKey("portal.Connection", models.PROTECT, related_name="+", db_index=False)
    entity = models.ForeignKey("portal.LegalEntity", models.PROTECT, related_name="+")
    external_id = models.CharField(max_length=200)
    revision = models.CharField(max_length=120)
    resource_name = models.CharField(max_length=200, blank=True)
    project_key = models.CharField(max_length=200, blank=True)
    project_code = models.CharField(max_length=200, blank=True)
    approver_name = models.CharField(max_length=200, blank=True)
    work_date = models.DateField()
    hours = models.DecimalField(max_digits=9, decimal_places=4)
    message_id = models.BigIntegerField()  # the inbox message that told it
    seen_at = models.DateTimeField()

    objects = ScopedQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["connection", "external_id"], name="submitted_time_is_seen_once")
        ]
        indexes = [models.Index(fields=["work_date"], name="submitted_time_by_day")]

    def __str__(self) -> str:
        return f"{self.hours} h on {self.work_date}, not approved"
