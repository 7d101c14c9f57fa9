"""The API of invoice proposals, version 1: what is proposed, line by line, and what became of its drafts.

The rule here: as in `reconciliation.api`, a page costs a fixed number of queries; decimals and dates are strings. What is decided
is decided by the services of the screens (`portal.api.acting`), of the content that the program read.
"""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema, extend_schema_field, extend_schema_view
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from portal.api import Acting, described
from portal.models import Grouping, InvoiceProposal, Project, ProposalState
from reconciliation import invoicing
from reconciliation.invoice_filters import InvoiceProposalFilter

_GOING = (ProposalState.OPEN, ProposalState.RELEASED)


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
    seen = serializers.CharField(source="content_hash")  # of what is decided on; sent back by whoever decides
    reason = serializers.CharField()  # why it was sent back or withdrawn
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


class RiskRow(serializers.Serializer[Any]):
    """What does not hold of the months of a proposal, and what stops it."""

    accepts = serializers.CharField()  # sent back by whoever releases or approves it all the same
    risks = serializers.ListField(child=serializers.CharField())
    stops = serializers.ListField(child=serializers.CharField())


class ProposalSaid(serializers.Serializer[Any]):
    """One act with a proposal: as it was `seen`, and accepting what does not hold where something does not."""

    act = serializers.ChoiceField(
        [
            "prepare-anew", "regroup", "hold", "put-back", "word", "release", "approve", "send-back", "hand-over", "send-again",
            "withdraw",
        ]
    )  # fmt: skip
    seen = serializers.CharField(default="", allow_blank=True)  # for `release` and `approve`
    accepts = serializers.CharField(default="", allow_blank=True)
    reason = serializers.CharField(max_length=500, default="", allow_blank=True)
    memo = serializers.CharField(max_length=900, default="", allow_blank=True)
    line = serializers.UUIDField(default=None, allow_null=True)  # the key of the line, for `hold` and `put-back`
    until = serializers.DateField(default=None, allow_null=True)
    grouping = serializers.ChoiceField(
        Grouping.choices, default="", allow_blank=True
    )  # what one line is, for `regroup`


class ProposalBegun(serializers.Serializer[Any]):
    """Work of a project to be proposed up to a day; without `grouping`, read as its last invoice was."""

    entity = serializers.CharField()
    project = serializers.CharField()
    through = serializers.DateField()
    grouping = serializers.ChoiceField(Grouping.choices, default="", allow_blank=True)


_REASONED = {
    "send-back": invoicing.send_back, "send-again": invoicing.send_again, "withdraw": invoicing.withdraw,
}  # fmt: skip


@extend_schema_view(
    act=described(
        ProposalSaid, InvoiceProposalRow,
        "Make a proposal anew from what is left to bill, group its lines, hold a line or put it back, release it, approve it as "
        "another person, send it back, hand it over or withdraw it. The token has to be one that may decide.",
    ),
    prepare=described(
        ProposalBegun, InvoiceProposalRow(many=True),
        "Propose the invoices of what is posted of a project and not billed yet: one for each customer, currency and order. Open "
        "proposals of it are made anew, and none is left where nothing is left to bill.",
    ),
)  # fmt: skip
class InvoiceProposals(Acting):
    """Invoice proposals."""

    rows = InvoiceProposal.objects.select_related(
        "entity", "project", "customer", "contract", "purchase_order", "released_by", "approved_by"
    ).prefetch_related("lines__parts", "lines__draft__connection")
    filterset_class = InvoiceProposalFilter
    serializer_class = InvoiceProposalRow
    said_class = ProposalSaid
    refusals = (invoicing.NotProposable,)

    @action(detail=False, methods=["post"])
    def prepare(self, request: Request) -> Response:
        """Propose the invoices of a project's work up to a day, once for each key."""

        def done(said: dict[str, Any], by: Any) -> Any:
            seen = Project.objects.visible_to(by).select_related("entity", "contract", "customer")
            project = seen.filter(entity__code=said["entity"], code=said["project"]).first()
            if project is None:
                raise NotFound("There is no such project.")
            made = invoicing.prepare(project, said["through"], by=by, how=said["grouping"])
            rows = self.get_queryset().filter(pk__in=[one.pk for one in made]).order_by("pk")
            return self.get_serializer(rows, many=True).data

        return self.once(request, ProposalBegun, done)

    @extend_schema(responses=RiskRow)
    @action(detail=True)
    def risks(self, request: Request, pk: str | None = None) -> Response:
        """What does not hold of its months, which whoever releases or approves it accepts, and what stops it."""
        proposal = self.get_object()
        found = invoicing.risks_of(proposal)
        stops = [one.words for one in invoicing.blockers(proposal)] if proposal.state in _GOING else []
        said = {"accepts": invoicing.digest_of(found), "risks": [one.words for one in found], "stops": stops}
        return Response(RiskRow(said).data)

    def do(self, row: InvoiceProposal, said: dict[str, Any], by: Any) -> None:
        """What the proposal's page does."""
        act = said["act"]
        if act in ("release", "approve"):
            going_on = invoicing.release if act == "release" else invoicing.approve
            going_on(row, by=by, seen=said["seen"], accepts=said["accepts"])
        elif act in _REASONED:
            _REASONED[act](row, by=by, reason=said["reason"])
        elif act == "hand-over":
            invoicing.hand_over_again(row, by=by)
        elif act == "prepare-anew":
            invoicing.prepare_anew(row, by=by)
        elif act == "regroup":
            if not said["grouping"]:
                raise ValidationError({"grouping": ["Say what one line is."]})
            invoicing.prepare_anew(row, by=by, how=said["grouping"])
        elif act == "word":
            invoicing.word(row, by=by, memo=said["memo"])
        else:
            line = row.lines.filter(key=said["line"]).first()
            if line is None:
                raise ValidationError({"line": ["The proposal has no such line."]})
            if act == "hold":
                invoicing.hold(line, by=by, reason=said["reason"], until=said["until"])
            else:
                invoicing.unhold(line, by=by)
