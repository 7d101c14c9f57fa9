"""Bills for tests: invoices and credit notes as an ERP states them, and who is billed for what on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.utils import timezone

from portal import billing_intake, sql
from portal.models import (
    Allocation,
    BillingBalance,
    Invoice,
    InvoiceLine,
    InvoiceProposal,
    InvoiceVersion,
    LedgerEntry,
    Payment,
    Receipt,
    User,
)
from portal.records import (
    Application,
    BillKind,
    BillLine,
    BillRecord,
    BillStatus,
    PaymentKind,
    PaymentRecord,
    PaymentStatus,
    Reference,
)
from reconciliation import billing, invoicing
from reconciliation.models import ExceptionCase
from tests.reconciliation.firm import Firm, post


def posted(firm: Firm, count: int = 1, first: int = 1, **changes: Any) -> list[int]:
    """Entries of eight hours at 120.00, a day each, that were posted and read back equal."""
    numbers = range(first, first + count)
    firm.admit(*(firm.time(str(n), **{"work_date": date(2026, 9, n % 28 + 1), **changes}) for n in numbers))
    names = [str(n) for n in numbers]
    found = list(
        LedgerEntry.objects.filter(document__external_id__in=names, state_row__state="ready")
        .order_by("pk").values_list("pk", flat=True)
    )  # fmt: skip
    post(found)
    return found


def bill(firm: Firm, external_id: str = "501", kind: str = BillKind.INVOICE, lines: int = 1, **more: Any) -> Invoice:
    """A bill with lines of 960.00, as rows."""
    with transaction.atomic():
        [invoice_id] = sql.draw_ids("portal_invoice", 1)
        [version_id] = sql.draw_ids("portal_invoiceversion", 1)
        net = Decimal("960.00") * lines
        invoice = Invoice.objects.create(
            id=invoice_id, connection=firm.target, entity=firm.entity, kind=kind, external_id=external_id,
            seen_revision="1", content_digest="", created_at=timezone.now(), current_id=version_id, agreed_id=version_id,
        )  # fmt: skip
        version = InvoiceVersion.objects.create(
            id=version_id, invoice=invoice, version=1, revision="1", number=f"INV-{external_id}", customer=firm.customer,
            status=BillStatus.OPEN, net=net, tax=0, total=net, balance=net, recorded_at=timezone.now(),
            **{"currency": "USD", **more},
        )  # fmt: skip
        InvoiceLine.objects.bulk_create(
            InvoiceLine(version=version, position=n, key=str(n), net=Decimal("960.00"), quantity=8)
            for n in range(lines)
        )
    return invoice


def allocate(invoice: Invoice, entry_id: int, quantity: str = "8", amount: str = "960.00", **more: Any) -> Allocation:
    """Part of an entry on the bill's first line, written as any code could write it."""
    values: dict[str, Any] = {
        "line": invoice.current.lines.order_by("position")[0], "cause": invoice.current, "currency": "USD", **more,
    }  # fmt: skip
    return Allocation.objects.create(
        entity=invoice.entity, entry_id=entry_id, quantity=Decimal(quantity), amount=Decimal(amount),
        actor="test", recorded_at=timezone.now(), **values,
    )  # fmt: skip


def open_hours(entry_ids: Sequence[int]) -> dict[int, Decimal]:
    """What is left to bill of some entries: delivered, less invoiced, plus credited."""
    delivered = dict(LedgerEntry.objects.filter(pk__in=entry_ids).values_list("pk", "hours"))
    billed = {b.entry_id: b.invoiced - b.credited for b in BillingBalance.objects.filter(entry__in=entry_ids)}
    return {pk: Decimal(hours or 0) - billed.get(pk, Decimal(0)) for pk, hours in delivered.items()}


@dataclass
class Erp:
    """An ERP that says what it has booked, as its connector would; every word is newer than the last."""

    firm: Firm
    said: int = 0

    def bill(self, external_id: str = "501", *lines: BillLine, **changes: Any) -> BillRecord:
        """An open invoice with these lines, without tax unless it says so."""
        net = sum((line.net for line in lines), Decimal(0))
        tax = sum((line.tax or Decimal(0) for line in lines), Decimal(0))
        values: dict[str, Any] = {
            "kind": BillKind.INVOICE, "status": BillStatus.OPEN, "number": f"INV-{external_id}", "currency": "USD",
            "customer": Reference("C1", "", "Acme Inc."), "booked_on": date(2026, 10, 31), "due_on": date(2026, 11, 30),
            "net": net, "tax": tax, "total": net + tax, "lines": lines, **changes,
        }  # fmt: skip
        return BillRecord(external_id=external_id, revision=self._next(), **values)

    def credit(self, external_id: str, of: str, *lines: BillLine, **changes: Any) -> BillRecord:
        """A credit note of an invoice."""
        return self.bill(
            external_id,
            *lines,
            **{"kind": BillKind.CREDIT_NOTE, "number": f"CM-{external_id}", "credits": of, **changes},
        )

    def payment(self, external_id: str, amount: str, *parts: tuple[str, str], **changes: Any) -> PaymentRecord:
        """A payment applied to bills."""
        values: dict[str, Any] = {
            "kind": PaymentKind.PAYMENT, "status": PaymentStatus.RECEIVED, "number": f"PAY-{external_id}", "currency": "USD",
            "customer": Reference("C1", "", "Acme Inc."), "booked_on": date(2026, 11, 15), "amount": Decimal(amount),
            "applications": tuple(Application(bill=bill, amount=Decimal(part)) for bill, part in parts), **changes,
        }  # fmt: skip
        return PaymentRecord(external_id=external_id, revision=self._next(), **values)

    def gone(self, record: BillRecord | PaymentRecord) -> BillRecord | PaymentRecord:
        """The word that a bill or a payment was deleted."""
        if isinstance(record, BillRecord):
            return BillRecord(
                external_id=record.external_id, revision=self._next(), kind=record.kind, status=BillStatus.DELETED
            )
        return PaymentRecord(
            external_id=record.external_id, revision=self._next(), kind=record.kind, status=PaymentStatus.DELETED
        )

    def says(self, *records: BillRecord | PaymentRecord) -> None:
        """Take records in and follow them, as the inbox does."""
        with transaction.atomic():
            taken = billing_intake.take_in(self.firm.target, list(enumerate(records)))
            billing.follow(taken.bills, taken.payments, actor="test")

    def again(self, record: Any, **changes: Any) -> Any:
        """The same record with what changed since."""
        return replace(record, revision=self._next(), **changes)

    def _next(self) -> str:
        self.said += 1
        return f"{self.said:06d}"


def read(proposal: InvoiceProposal) -> str:
    """What somebody says who read all that does not hold of a proposal's months, and accepts it."""
    return invoicing.digest_of(invoicing.risks_of(proposal))


def line_of(entry_id: int, hours: str = "8", net: str = "", key: str = "", **more: Any) -> BillLine:
    """A line that bills hours of an entry at 120.00, named by the number of its receipt."""
    quantity = Decimal(hours)
    number = Receipt.objects.filter(entry=entry_id).values_list("number", flat=True).first()
    return BillLine(
        key=key or f"t{entry_id}", posting_number=number or f"N{entry_id}", quantity=quantity, unit_price=Decimal(120),
        net=Decimal(net) if net else quantity * 120, description="Consulting", **more,
    )  # fmt: skip


def find(external_id: str, kind: str = BillKind.INVOICE) -> Invoice:
    """A bill by its id in the ERP."""
    return Invoice.objects.select_related("current", "agreed").get(external_id=external_id, kind=kind)


def adopt(external_id: str, kind: str = BillKind.INVOICE, *, by: User, agreed_by: User) -> None:
    """Go by what a bill's system says now; where that opens hours, a second person agrees."""
    decision = billing.adopt(find(external_id, kind), by=by, reason="so it was agreed")
    if decision.needs_approval:
        billing.approve(decision, by=agreed_by)


def causes(external_id: str = "", subject: str = "bill") -> set[str]:
    """The rules of the open cases about a bill or payment, or about all of them."""
    found = ExceptionCase.objects.filter(state="open", subject_type=subject)
    if external_id:
        model = Invoice if subject == "bill" else Payment
        keys = [str(pk) for pk in model.objects.filter(external_id=external_id).values_list("pk", flat=True)]
        found = found.filter(subject_key__in=keys)
    return set(found.values_list("rule", flat=True))
