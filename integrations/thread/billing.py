"""The last stations of an hour: the bills on which it stands, what a credit gave back, what was paid, and who is told of it.

The rule here: a bill's figures and status are its system's; which hours it is about is ours. An hour that is on no bill says why,
in the words that its project's readiness uses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from django.urls import reverse

from integrations import told
from integrations.thread.stations import Station
from portal import figures
from portal.models import Allocation, InvoiceVersion, LedgerEntry, PaymentAllocation, Published, State
from portal.records import BillKind, BillStatus, PublishedKind, SettledBy
from reconciliation.readiness import why_not_billed


def stations(entry: LedgerEntry, billed: Sequence[Allocation], settled: Sequence[PaymentAllocation]) -> list[Station]:
    """Invoice, credit where there is one, payment, and the systems that are told how the bill stands."""
    if entry.reverses_id is not None:
        return []
    return line_of(billed, settled, lambda: why_not_billed(entry).words, in_hours=entry.kind == "time")


def line_of(
    billed: Sequence[Allocation], settled: Sequence[PaymentAllocation], why: Callable[[], str], *, in_hours: bool
) -> list[Station]:
    """The same of anything that is billed; `why` says why nothing of it is on a bill."""
    standing = [one for one in billed if one.takes_back_id is None and left_of(one, billed) > 0]
    found = [_invoice(standing, in_hours) if standing else Station("invoice", "Invoice", "", f"none: {_lower(why())}")]
    undone = {one.takes_back_id for one in billed if one.takes_back_id is not None}  # credits whose note is void
    alive = {one.line.version.invoice_id for one in standing}  # what such a bill released it bills otherwise
    given = [
        one for one in billed
        if one.takes_back_id is not None and one.quantity <= 0 and one.amount <= 0 and one.line.version.invoice_id not in alive
    ]  # fmt: skip
    if back := [one for one in given if one.pk not in undone]:
        found.append(_credit(back, in_hours))
    if standing:
        bills = [_bill(one) for one in standing]
        found.append(_payment(bills, settled))
        found += _told(bills)
    return found


def left_of(allocation: Allocation, billed: Sequence[Allocation]) -> Decimal:
    """What of an allocation was not taken back, in its own unit; a credit that is void takes nothing back."""
    taken = [left_of(one, billed) for one in billed if one.takes_back_id == allocation.pk]
    return allocation.quantity + sum(taken, Decimal(0))


def _bill(allocation: Allocation) -> InvoiceVersion:
    """The bill as its system states it now."""
    current: InvoiceVersion = allocation.line.version.invoice.current
    return current


def _quantity(quantity: Decimal, in_hours: bool) -> str:
    return f"{figures.hours(quantity)} h, " if in_hours and quantity else ""


def _invoice(standing: Sequence[Allocation], in_hours: bool) -> Station:
    words = [
        f"{_bill(one).number or 'a draft without a number'}: {_quantity(one.quantity, in_hours)}"
        f"{figures.amount(one.amount, one.currency)} {one.currency}"
        for one in standing
    ]
    drafts = all(_bill(one).status == BillStatus.DRAFT for one in standing)
    url = reverse("bill", args=[standing[0].line.version.invoice_id])
    return Station("invoice", "Invoice", "" if drafts else "lit", "; ".join(words), standing[0].recorded_at, url)


def _credit(back: Sequence[Allocation], in_hours: bool) -> Station:
    """What gave work back: a credit note, or a bill that was voided, deleted or changed and does not bill it any more."""
    words = []
    for one in back:
        amount = f"{figures.amount(-one.amount, one.currency)} {one.currency}"
        by = one.cause.number or _number_of(one)
        if one.cause.invoice.kind == BillKind.INVOICE:
            became = {BillStatus.VOIDED: "voided", BillStatus.DELETED: "deleted"}.get(
                BillStatus(one.cause.status), "changed"
            )
            words.append(f"{by} was {became}: {_quantity(-one.quantity, in_hours)}{amount} open again")
        else:
            price = "of the price " if in_hours else ""
            words.append(f"{by} gave back {_quantity(-one.quantity, in_hours) or price}{amount}")
    url = reverse("bill", args=[back[-1].cause.invoice_id])
    title = "Credit" if any(one.cause.invoice.kind == BillKind.CREDIT_NOTE for one in back) else "Taken off"
    return Station("credit", title, "lit", "; ".join(words), back[-1].recorded_at, url)


def _number_of(allocation: Allocation) -> str:
    """What a bill without a number now was called when it billed the work."""
    return allocation.line.version.number or str(allocation.cause.invoice_id)


def _payment(bills: Sequence[InvoiceVersion], settled: Sequence[PaymentAllocation]) -> Station:
    words, lights = [], []
    for bill in {bill.invoice_id: bill for bill in bills}.values():
        cash = [one for one in settled if one.invoice_id == bill.invoice_id and one.by == SettledBy.CASH]
        paid = sum((one.amount for one in cash), Decimal(0))
        said, light = _standing(bill, paid)
        words.append(f"{bill.number}: {said}" if len(bills) > 1 else said)
        lights.append(light)
    last = next((one for one in reversed(settled) if one.payment_version_id is not None), None)
    url = reverse("payment", args=[last.payment_version.payment_id]) if last and last.payment_version else ""
    light = "broken" if "broken" in lights else "lit" if set(lights) == {"lit"} else ""
    return Station("payment", "Payment", light, "; ".join(words), last.recorded_at if last else None, url)


def _told(bills: Sequence[InvoiceVersion]) -> list[Station]:
    """What the systems that subscribe to bills hold of these; no station where none does."""
    by_id = {bill.invoice_id: bill for bill in bills}
    subscribed = Published.objects.filter(kind=PublishedKind.INVOICE, internal_id__in=by_id).select_related(
        "connection"
    )
    rows: list[Any] = list(told.with_standing(subscribed))
    if not rows:
        return []
    words, lights = [], set()
    for row in rows:
        is_proved = row.state in (State.POSTED, State.RECONCILED)
        said = "holds something else than" if row.drift else "holds" if is_proved else "does not hold yet"
        words.append(f"{row.connection} {said} {by_id[row.internal_id].number} as it stands")
        lights.add("broken" if row.drift else "lit" if is_proved else "")
    light = "broken" if "broken" in lights else "lit" if lights == {"lit"} else ""
    at = max((row.read_at for row in rows if row.read_at), default=None)
    return [
        Station("told", "Account team", light, "; ".join(words), at, reverse("published_record", args=[rows[0].pk]))
    ]


def _standing(bill: InvoiceVersion, paid: Decimal) -> tuple[str, str]:
    """How far a bill is paid, in words, and its light."""
    total = f"{figures.amount(bill.total, bill.currency)} {bill.currency}"
    match bill.status:
        case BillStatus.PAID if paid == bill.total:
            return f"{total} paid", "lit"
        case BillStatus.PAID:
            rest = f"{figures.amount(bill.total - paid, bill.currency)} {bill.currency}"
            return f"{figures.amount(paid, bill.currency)} of {total} paid, {rest} settled otherwise", "lit"
        case BillStatus.PART_PAID:
            return f"{figures.amount(paid, bill.currency)} of {total} paid", ""
        case BillStatus.WRITTEN_OFF:
            return "written off: nobody will pay it", "broken"
        case BillStatus.VOIDED | BillStatus.DELETED:
            return f"the bill is {bill.get_status_display().lower()}", "broken"
        case BillStatus.DRAFT:
            return "none: the bill is still a draft", ""
        case _:
            due = f", due {figures.day(bill.due_on)}" if bill.due_on else ""
            return f"none yet of {total}{due}", ""


def _lower(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:].removesuffix(".")
