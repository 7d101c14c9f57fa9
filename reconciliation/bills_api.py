"""The API of bills and payments, version 1: what their systems state, whom they bill for which hours, what settles them.

The rule here: as in `reconciliation.api`, a page costs a fixed number of queries; decimals and dates are strings. What is decided
about a bill is decided by the services of its page (`portal.api.acting`), of the version that the program read.
"""

from __future__ import annotations

from typing import Any, ClassVar

from django.db.models import Prefetch, QuerySet
from drf_spectacular.utils import extend_schema_view
from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from portal.api import Acting, Endpoint, described
from portal.models import Invoice, InvoiceVersion, Payment, PaymentAllocation
from reconciliation import billing, triage
from reconciliation.bill_filters import STANDS, BillFilter, PaymentFilter
from reconciliation.models import BillingDecision


def _money(**options: Any) -> serializers.DecimalField:
    return serializers.DecimalField(max_digits=18, decimal_places=4, allow_null=True, **options)


class AllocationRow(serializers.Serializer[Any]):
    """Part of one ledger entry on one line; what takes another row back has the opposite sign and names it."""

    id = serializers.IntegerField()
    entry = serializers.IntegerField(source="entry_id", allow_null=True)
    milestone = serializers.IntegerField(source="milestone_id", allow_null=True)
    takes_back = serializers.IntegerField(source="takes_back_id", allow_null=True)
    quantity = _money()
    amount = _money()
    reason = serializers.CharField()


class LineRow(serializers.Serializer[Any]):
    """One line of the current version."""

    key = serializers.CharField()
    posting_key = serializers.CharField()
    posting_number = serializers.CharField()
    description = serializers.CharField()
    quantity = _money()
    unit_price = serializers.DecimalField(max_digits=18, decimal_places=6, allow_null=True)
    net = _money()
    tax_code = serializers.CharField()
    tax = _money()


class SettlementRow(serializers.Serializer[Any]):
    """Part of a payment, write-off or credit note that settles a bill; what was taken back stays, with its opposite."""

    payment = serializers.IntegerField(source="payment_version.payment_id", default=None)
    credit_note = serializers.IntegerField(source="credit_version.invoice_id", default=None)
    bill = serializers.IntegerField(source="invoice_id", allow_null=True)
    bill_external_id = serializers.CharField(source="invoice_key")
    by = serializers.CharField()
    amount = _money()
    booked_on = serializers.DateField(allow_null=True)


class StatedRow(serializers.Serializer[Any]):
    """What a bill and a payment have in common."""

    id = serializers.IntegerField()
    kind = serializers.CharField()
    entity = serializers.CharField(source="entity.code")
    connection = serializers.CharField(source="connection.code")
    external_id = serializers.CharField()
    version = serializers.IntegerField(source="current.version")
    number = serializers.CharField(source="current.number")
    status = serializers.CharField(source="current.status")
    customer = serializers.CharField(source="current.customer.code", default=None)
    currency = serializers.CharField(source="current.currency")
    booked_on = serializers.DateField(source="current.booked_on", allow_null=True)
    exchange_rate = serializers.DecimalField(
        source="current.exchange_rate", max_digits=20, decimal_places=10, allow_null=True
    )


class BillDecisionRow(serializers.Serializer[Any]):
    """What somebody decided about a version of a bill; it stands while `outcome` is empty."""

    choice = serializers.CharField()
    version = serializers.IntegerField(source="version.version")
    by = serializers.CharField(source="by.username")
    reason = serializers.CharField()
    asked_of = serializers.CharField()
    needs_approval = serializers.BooleanField()
    approved_by = serializers.CharField(source="approved_by.username", default=None)
    outcome = serializers.CharField()
    ended_by = serializers.CharField(source="ended_by.username", default=None)


class BillRow(StatedRow):
    """One invoice or credit note as its system states it, and whom it bills for which hours."""

    stands = (
        serializers.CharField()
    )  # by what settles it here as soon as anything did; `status` is what its system says
    agreed_version = serializers.IntegerField(source="agreed.version", default=None)
    credits = serializers.IntegerField(source="credits_id", allow_null=True)
    due_on = serializers.DateField(source="current.due_on", allow_null=True)
    net = _money(source="current.net")
    tax = _money(source="current.tax")
    total = _money(source="current.total")
    balance = _money(source="current.balance")
    lines = LineRow(source="current.lines", many=True)
    allocations = serializers.SerializerMethodField()
    settled_by = SettlementRow(many=True)
    decisions = BillDecisionRow(many=True)

    def get_allocations(self, bill: Invoice) -> list[dict[str, Any]]:
        """Everything that was allocated on lines of any of its versions."""
        rows = [
            row for version in bill.versions.all() for line in version.lines.all() for row in line.allocations.all()
        ]
        return list(AllocationRow(sorted(rows, key=lambda row: row.pk), many=True).data)


class _Settling(Endpoint):
    """What shows settlements: of the entities that the token's user may see, as on the pages."""

    settlements: ClassVar[str]

    def get_queryset(self) -> QuerySet[Any]:
        """The rows with their settlements."""
        rows = super().get_queryset()
        if getattr(self, "swagger_fake_view", False):
            return rows
        seen = PaymentAllocation.objects.visible_to(self.request.user)
        told = seen.select_related("payment_version", "credit_version").order_by("pk")
        return rows.prefetch_related(Prefetch(self.settlements, told))


class PickRow(serializers.Serializer[Any]):
    """How much of one allocation of the invoice a credit note gives back."""

    allocation = serializers.IntegerField()
    quantity = serializers.DecimalField(max_digits=18, decimal_places=4, min_value=0)
    amount = serializers.DecimalField(max_digits=18, decimal_places=4, min_value=0)


class BillSaid(serializers.Serializer[Any]):
    """One act with a bill: what is decided of `version`, which was read; of a credit note, which hours it gives back."""

    act = serializers.ChoiceField(
        [
            "adopt",
            "restore",
            "recreate",
            "correct",
            "approve",
            "refuse",
            "withdraw",
            "name-hours",
            "price-only",
            "none-of-ours",
            "take-back",
        ]
    )
    version = serializers.IntegerField(min_value=1)
    reason = serializers.CharField(max_length=2000, default="", allow_blank=True)
    to_user = serializers.CharField(default="", allow_blank=True)  # who restores it; else a team, else who decides
    to_team = serializers.CharField(default="", allow_blank=True)
    hours = PickRow(many=True, default=list)  # for `name-hours`
    rest_is_beside = serializers.BooleanField(default=False)  # with `name-hours`: the rest gives back none of our work


_CHOICES = {
    "adopt": billing.adopt, "restore": billing.restore, "recreate": billing.recreate, "correct": billing.correct,
}  # fmt: skip
_ENDS = {"refuse": billing.refuse, "withdraw": billing.withdraw}


@extend_schema_view(
    act=described(
        BillSaid, BillRow,
        "Decide about a bill that its system changed or deleted, agree as the second person, refuse, withdraw; say what a credit "
        "note gives back, or take that back. The token has to be one that may decide.",
    )
)  # fmt: skip
class Bills(_Settling, Acting):
    """Invoices and credit notes."""

    rows = Invoice.objects.select_related("entity", "connection", "current__customer", "agreed").prefetch_related(
        "versions__lines", "versions__lines__allocations", "current__lines",
        Prefetch("decisions", BillingDecision.objects.select_related("version", "by", "approved_by", "ended_by").order_by("pk")),
    ).annotate(stands=STANDS)  # fmt: skip
    settlements = "settled_by"
    filterset_class = BillFilter
    serializer_class = BillRow
    said_class = BillSaid
    refusals = (billing.NotDecidable, billing.NotCreditable, triage.NotPossible)

    def do(self, row: Invoice, said: dict[str, Any], by: Any) -> None:
        """What the bill's page does, about the version that was read."""
        act, reason = said["act"], said["reason"]
        looked_at = row.versions.filter(version=said["version"]).first()
        if looked_at is None:
            raise ValidationError({"version": ["The bill has no such version."]})
        if act in _CHOICES:
            made = _CHOICES[act](_as_seen(row, looked_at), by=by, reason=reason)
            if act == "restore":
                triage.ask(made, self._restorer(row, said, by), by=by)
        elif act == "approve" or act in _ENDS:
            decision = row.decisions.filter(version=looked_at, outcome="").first()
            if decision is None:
                raise billing.NotDecidable("Nothing is decided about this version.")
            if act == "approve":
                billing.approve(decision, by=by)
            else:
                _ENDS[act](decision, by=by, reason=reason)
        elif row.current_id != looked_at.pk:
            raise billing.NotCreditable("Its system has stated another version since you looked; look at it again.")
        elif act == "name-hours":
            picks = {one["allocation"]: billing.Part(one["quantity"], one["amount"]) for one in said["hours"]}
            billing.credit_hours(row, picks, by=by, reason=reason, rest_is_beside=said["rest_is_beside"])
        elif act == "price-only":
            billing.credit_price(row, by=by, reason=reason)
        elif act == "none-of-ours":
            billing.credit_beside(row, by=by, reason=reason)
        else:
            billing.take_back(row, by=by, reason=reason)

    def _restorer(self, bill: Invoice, said: dict[str, Any], by: Any) -> Any:
        """Who is asked to restore a bill, by name; of whom its page offers."""
        if said["to_user"]:
            found: Any = triage.assignable([bill.entity_id]).filter(username=said["to_user"]).first()
        elif said["to_team"]:
            found = triage.teams_for([bill.entity_id]).filter(name=said["to_team"]).first()
        else:
            return by
        if found is None:
            raise ValidationError(
                {"to_user" if said["to_user"] else "to_team": ["Nobody of this name works on its causes."]}
            )
        return found


def _as_seen(bill: Invoice, version: InvoiceVersion) -> Invoice:
    seen = Invoice(pk=bill.pk, entity_id=bill.entity_id)
    seen.current = version
    return seen


class PaymentRow(StatedRow):
    """One payment or write-off as its system states it, and which bills it settles."""

    reference = serializers.CharField(source="current.reference")
    refunds = serializers.ListField(child=serializers.CharField(), source="current.refunds")
    amount = _money(source="current.amount")
    unapplied = _money(source="current.unapplied")
    settles = serializers.SerializerMethodField()

    def get_settles(self, payment: Payment) -> list[dict[str, Any]]:
        """Its parts over all versions."""
        rows = [row for version in payment.versions.all() for row in version.allocations.all()]
        return list(SettlementRow(sorted(rows, key=lambda row: row.pk), many=True).data)


class Payments(_Settling):
    """Payments and write-offs."""

    rows = Payment.objects.select_related("entity", "connection", "current__customer")
    settlements = "versions__allocations"
    filterset_class = PaymentFilter
    serializer_class = PaymentRow
