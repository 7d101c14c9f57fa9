"""The read API of invoice proposals, version 1: what is proposed, line by line, and what became of its drafts.

The rule here: as in `reconciliation.api`, a page costs a fixed number of queries; decimals and dates are strings.
"""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from portal.api import Endpoint
from portal.models import InvoiceProposal
from reconciliation.invoice_filters import InvoiceProposalFilter


def _money(**options: Any) -> serializers.DecimalField:
    return serializers.DecimalField(max_digits=18, decimal_places=4, allow_null=True, **options)


class PartRow(serializers.Serializer[Any]):
    """Part of one ledger entry or milestone on one line."""

    entry = serializers.IntegerField(source="entry_id", allow_null=True)
    milestone = serializers.IntegerField(source="milestone_id", allow_null=True)
    quantity = _money()
    amount = _money()


class ProposalLineRow(serializers.Serializer[Any]):
    """One line as the customer reads it; `key` is what it bears in the system that bills."""

    position = serializers.IntegerField()
    key = serializers.CharField(source="key.hex")
    description = serializers.CharField()
    quantity = _money()
    unit_price = serializers.DecimalField(max_digits=18, decimal_places=6, allow_null=True)
    net = _money()
    is_late = serializers.BooleanField()
    hold_reason = serializers.CharField()
    held_until = serializers.DateField(allow_null=True)
    parts = PartRow(many=True)


class InvoiceDraftRow(serializers.Serializer[Any]):
    """One draft in the system that bills, with the bill that came of it."""

    system = serializers.CharField(source="connection.code")
    part = serializers.IntegerField()
    parts = serializers.IntegerField()
    net = _money()
    number = serializers.CharField()
    bill_number = serializers.CharField()
    tax = _money()
    total = _money()
    bill = serializers.IntegerField(source="invoice_id", allow_null=True)


class InvoiceProposalRow(serializers.Serializer[Any]):
    """One invoice that is proposed, with its lines and drafts."""

    id = serializers.IntegerField()
    reference = serializers.CharField(source="__str__")
    entity = serializers.CharField(source="entity.code")
    project = serializers.CharField(source="project.code")
    customer = serializers.CharField(source="customer.code")
    contract = serializers.CharField(source="contract.code", default=None)
    purchase_order = serializers.CharField(source="purchase_order.number", default=None)
    share = serializers.DecimalField(max_digits=7, decimal_places=4)
    currency = serializers.CharField()
    through = serializers.DateField()
    state = serializers.CharField()
    net = _money()
    prepared_at = serializers.DateTimeField()
    released_by = serializers.CharField(source="released_by.username", default=None)
    released_at = serializers.DateTimeField(allow_null=True)
    approved_by = serializers.CharField(source="approved_by.username", default=None)
    approved_at = serializers.DateTimeField(allow_null=True)
    lines = ProposalLineRow(many=True)
    drafts = serializers.SerializerMethodField()

    @extend_schema_field(InvoiceDraftRow(many=True))
    def get_drafts(self, proposal: InvoiceProposal) -> Any:
        """The drafts on which its lines stand, each once."""
        drafts = {line.draft.pk: line.draft for line in proposal.lines.all() if line.draft is not None}
        return InvoiceDraftRow(sorted(drafts.values(), key=lambda one: (one.proposal_id, one.part)), many=True).data


class InvoiceProposals(Endpoint):
    """Invoice proposals."""

    rows = InvoiceProposal.objects.select_related(
        "entity", "project", "customer", "contract", "purchase_order", "released_by", "approved_by"
    ).prefetch_related("lines__parts", "lines__draft__connection")
    filterset_class = InvoiceProposalFilter
    serializer_class = InvoiceProposalRow
