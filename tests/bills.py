"""Bills for tests: invoices and credit notes as an ERP states them, and who is billed for what on them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.utils import timezone

from portal import sql
from portal.models import Allocation, BillingBalance, Invoice, InvoiceLine, InvoiceVersion, LedgerEntry
from portal.records import BillKind, BillStatus
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
            currency="USD", status=BillStatus.OPEN, net=net, tax=0, total=net, balance=net, recorded_at=timezone.now(), **more,
        )  # fmt: skip
        InvoiceLine.objects.bulk_create(
            InvoiceLine(version=version, position=n, key=str(n), net=Decimal("960.00"), quantity=8)
            for n in range(lines)
        )
    return invoice


def allocate(invoice: Invoice, entry_id: int, quantity: str = "8", amount: str = "960.00", **more: Any) -> Allocation:
    """Part of an entry on the bill's first line, written as any code could write it."""
    values: dict[str, Any] = {"line": invoice.current.lines.order_by("position")[0], "cause": invoice.current, **more}
    return Allocation.objects.create(
        entity=invoice.entity, entry_id=entry_id, quantity=Decimal(quantity), amount=Decimal(amount), currency="USD",
        actor="test", recorded_at=timezone.now(), **values,
    )  # fmt: skip


def open_hours(entry_ids: Sequence[int]) -> dict[int, Decimal]:
    """What is left to bill of some entries: delivered, less invoiced, plus credited."""
    delivered = dict(LedgerEntry.objects.filter(pk__in=entry_ids).values_list("pk", "hours"))
    billed = {b.entry_id: b.invoiced - b.credited for b in BillingBalance.objects.filter(entry__in=entry_ids)}
    return {pk: Decimal(hours or 0) - billed.get(pk, Decimal(0)) for pk, hours in delivered.items()}
