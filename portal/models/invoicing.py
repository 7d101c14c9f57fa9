"""What is to be billed next: proposals that people release and approve, and the invoice drafts that follow from them.

The rule here: what sits in an open proposal sits in no other one, and no more of it than is left to bill; the database refuses
it. Who approves a proposal neither released nor edited it. What was approved stays as it was.
"""

from __future__ import annotations

import uuid
from typing import Self

from django.db import models
from django.db.models import F, Q

from portal.models.access import Scope, ScopedQuerySet


class ProposalState(models.TextChoices):
    """How far a proposal has come. Only an open one is edited; a handed-over one is owed to the system that bills.

    A billed one whose every bill was voided there, or is deleted and somebody agreed to that, says so: it bills nothing. Whether
    its work is open again is said by the balance of the work alone; of a void bill on which a payment stands, it is not.
    """

    OPEN = "open", "Open"
    RELEASED = "released", "Released"
    APPROVED = "approved", "Approved"
    HANDED_OVER = "handed_over", "Handed over"
    BILLED = "billed", "Billed"
    VOIDED = "voided", "Bill voided"
    DELETED = "deleted", "Bill deleted"
    WITHDRAWN = "withdrawn", "Withdrawn"


class Grouping(models.TextChoices):
    """What the customer reads as one line. A rate is never averaged: work at two rates is two lines."""

    PERSON = "person", "Per person and rate"
    ROLE = "role", "Per role and rate"
    TASK = "task", "Per task and rate"
    ENTRY = "entry", "Every entry"


class InvoiceProposal(models.Model):
    """One invoice that is proposed: the work of one project up to a day, for one customer and one purchase order.

    `share` is the customer's part, in per cent, where several customers share the project. `content_hash` is of everything that
    the approver decides on; `net` leaves out lines on hold. Empty `prepared_by`: the invoice run made it.
    """

    entity = models.ForeignKey("portal.LegalEntity", models.PROTECT, related_name="invoice_proposals")
    project = models.ForeignKey("portal.Project", models.PROTECT, related_name="invoice_proposals")
    contract = models.ForeignKey("portal.Contract", models.PROTECT, null=True, blank=True, related_name="+")
    customer = models.ForeignKey("portal.Customer", models.PROTECT, related_name="invoice_proposals")
    purchase_order = models.ForeignKey("portal.PurchaseOrder", models.PROTECT, null=True, blank=True, related_name="+")
    share = models.DecimalField(max_digits=7, decimal_places=4, default=100)
    currency = models.CharField(max_length=3)
    through = models.DateField()  # the last work date that it bills
    grouping = models.CharField(max_length=10, choices=Grouping.choices, default=Grouping.PERSON)
    state = models.CharField(max_length=12, choices=ProposalState.choices, default=ProposalState.OPEN)
    net = models.DecimalField(max_digits=18, decimal_places=4, default=0)
    memo = models.TextField(blank=True)  # what the customer reads above the lines
    content_hash = models.CharField(max_length=64, blank=True)
    prepared_by = models.ForeignKey("portal.User", models.PROTECT, null=True, blank=True, related_name="+")
    prepared_at = models.DateTimeField()
    released_by = models.ForeignKey("portal.User", models.PROTECT, null=True, blank=True, related_name="+")
    released_at = models.DateTimeField(null=True, blank=True)
    approved_by = models.ForeignKey("portal.User", models.PROTECT, null=True, blank=True, related_name="+")
    approved_at = models.DateTimeField(null=True, blank=True)
    handed_over_at = models.DateTimeField(null=True, blank=True)
    reason = models.CharField(max_length=500, blank=True)  # why it was sent back or withdrawn

    objects = ScopedQuerySet.as_manager()

    class Meta:
        ordering = ["-prepared_at", "-pk"]
        constraints = [
            models.CheckConstraint(
                condition=~Q(state__in=["released", "approved", "handed_over", "billed", "voided", "deleted"])
                | Q(released_by__isnull=False),
                name="what_goes_on_was_released",
            ),
            models.CheckConstraint(
                condition=~Q(state__in=["approved", "handed_over", "billed", "voided", "deleted"])
                | Q(approved_by__isnull=False),
                name="what_is_handed_over_was_approved",
            ),
            models.CheckConstraint(
                condition=Q(approved_by=None) | ~Q(approved_by=F("released_by")),
                name="who_approves_a_proposal_did_not_release_it",
            ),
            models.CheckConstraint(condition=Q(share__gt=0, share__lte=100), name="a_share_is_a_part"),
        ]
        indexes = [models.Index(fields=["state", "project"], name="proposal_by_state")]

    def __str__(self) -> str:
        return f"P-{self.pk:06}"


class ProposalEditor(models.Model):
    """Somebody who edited a proposal: held a line, took one out, grouped or worded it. They do not approve it."""

    proposal = models.ForeignKey(InvoiceProposal, models.CASCADE, related_name="editors", db_index=False)
    user = models.ForeignKey("portal.User", models.PROTECT, related_name="+")

    scope = Scope("proposal__entity")
    objects = ScopedQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["proposal", "user"], name="an_editor_is_named_once")]

    def __str__(self) -> str:
        return f"{self.user} edited {self.proposal}"


class ProposalLine(models.Model):
    """One line of a proposal as the customer reads it. `key` is what the line bears in the system that bills.

    `net` is what counts; it is quantity times price as the contract rounds it. A line on hold is not handed over. `is_late`:
    its work is of days that an earlier invoice was to bill.
    """

    proposal = models.ForeignKey(InvoiceProposal, models.CASCADE, related_name="lines", db_index=False)
    position = models.PositiveIntegerField()
    key = models.UUIDField(unique=True, default=uuid.uuid4)
    description = models.TextField()
    quantity = models.DecimalField(max_digits=18, decimal_places=4, null=True, blank=True)
    unit_price = models.DecimalField(max_digits=18, decimal_places=6, null=True, blank=True)
    net = models.DecimalField(max_digits=18, decimal_places=4)
    tax_code = models.CharField(max_length=40, blank=True)
    is_late = models.BooleanField(default=False)
    hold_reason = models.CharField(max_length=500, blank=True)
    held_until = models.DateField(null=True, blank=True)
    held_by = models.ForeignKey("portal.User", models.PROTECT, null=True, blank=True, related_name="+")
    draft = models.ForeignKey("portal.InvoiceDraft", models.PROTECT, null=True, blank=True, related_name="lines")

    scope = Scope("proposal__entity")
    objects = ScopedQuerySet.as_manager()

    class Meta:
        ordering = ["proposal", "position"]
        constraints = [
            models.UniqueConstraint(fields=["proposal", "position"], name="lines_of_a_proposal_are_in_order"),
            models.CheckConstraint(condition=Q(net__gte=0), name="a_proposal_asks_for_money"),
            models.CheckConstraint(
                condition=Q(held_by=None, hold_reason="") | Q(held_by__isnull=False) & ~Q(hold_reason=""),
                name="a_line_on_hold_has_a_reason",
            ),
            models.CheckConstraint(condition=Q(draft=None) | Q(held_by=None), name="a_line_on_hold_is_not_handed_over"),
        ]

    def __str__(self) -> str:
        return f"{self.proposal}, line {self.position}"


class ProposalPart(models.Model):
    """Part of one delivered thing on one line of a proposal: hours, or money for an expense or a milestone.

    While `released_at` is empty the part is taken: no other proposal may hold it. It is given back when the proposal is
    withdrawn, when its line stayed on hold, and when the bill has come that bills it.
    """

    line = models.ForeignKey(ProposalLine, models.CASCADE, related_name="parts")
    entity = models.ForeignKey("portal.LegalEntity", models.PROTECT, related_name="+")
    entry = models.ForeignKey("portal.LedgerEntry", models.PROTECT, null=True, blank=True, related_name="proposed")
    milestone = models.ForeignKey("portal.Milestone", models.PROTECT, null=True, blank=True, related_name="proposed")
    quantity = models.DecimalField(max_digits=18, decimal_places=4)
    amount = models.DecimalField(max_digits=18, decimal_places=4)
    released_at = models.DateTimeField(null=True, blank=True)

    objects = ScopedQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(entry=None, milestone__isnull=False) | Q(entry__isnull=False, milestone=None),
                name="a_part_is_of_an_entry_or_a_milestone",
            ),
            models.CheckConstraint(condition=Q(quantity__gt=0, amount__gte=0), name="a_part_is_something"),
        ]
        indexes = [
            models.Index(fields=["entry"], condition=Q(released_at=None), name="part_that_takes_an_entry"),
            models.Index(fields=["milestone"], condition=Q(released_at=None), name="part_that_takes_a_milestone"),
        ]

    def __str__(self) -> str:
        return f"{self.quantity} on line {self.line_id}"


class DraftQuerySet(ScopedQuerySet["InvoiceDraft"]):
    """Invoice drafts, also by the proposals whose lines stand on them."""

    def of(self, *proposals: InvoiceProposal) -> Self:
        """The drafts on which lines of these proposals stand, in their order."""
        lines = ProposalLine.objects.filter(proposal__in=proposals, draft__isnull=False)
        return self.filter(pk__in=lines.values("draft")).order_by("proposal", "part")


class InvoiceDraft(models.Model):
    """One invoice draft owed to the system that bills: a document with one version, its content the proposal's lines.

    A proposal with more lines than the system takes becomes several drafts (`part` of `parts`); where a contract asks for one
    invoice over its projects, their proposals share drafts, of which `proposal` is the first. `number` is the system's own
    key of the record, `bill_number` what people call it. `tax` and `total` are as the system worked them out, never forced;
    `drift` is {field: [ours, theirs]} where it holds something else than it was handed. `invoice` is the bill that came of it.
    """

    document = models.OneToOneField("portal.Document", models.PROTECT, primary_key=True, related_name="invoice_draft")
    connection = models.ForeignKey("portal.Connection", models.PROTECT, related_name="invoice_drafts")
    entity = models.ForeignKey("portal.LegalEntity", models.PROTECT, related_name="invoice_drafts")
    proposal = models.ForeignKey(InvoiceProposal, models.PROTECT, related_name="drafts")
    part = models.PositiveSmallIntegerField(default=1)
    parts = models.PositiveSmallIntegerField(default=1)
    net = models.DecimalField(max_digits=18, decimal_places=4)
    dated_on = models.DateField()
    due_on = models.DateField(null=True, blank=True)
    number = models.CharField(max_length=200, blank=True)
    bill_number = models.CharField(max_length=120, blank=True)
    tax = models.DecimalField(max_digits=18, decimal_places=4, null=True, blank=True)
    total = models.DecimalField(max_digits=18, decimal_places=4, null=True, blank=True)
    read_at = models.DateTimeField(null=True, blank=True)
    drift = models.JSONField(default=dict, blank=True)
    invoice = models.OneToOneField(
        "portal.Invoice", models.PROTECT, null=True, blank=True, related_name="invoice_draft"
    )

    objects = DraftQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["proposal", "part"], name="a_part_of_a_proposal_is_drafted_once")
        ]

    def __str__(self) -> str:
        return str(self.proposal) if self.parts == 1 else f"{self.proposal}, {self.part} of {self.parts}"
