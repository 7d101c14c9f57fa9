"""The lines of a bill with the hours on each: who worked, how often and on which days, and what of it stands billed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

from django.db.models import Q

from portal.models import Allocation, Invoice, InvoiceLine, LedgerEntry
from portal.records import BillStatus
from portal.tables import name_of

ZERO = Decimal(0)
SHOWN = 500
DEAD = (BillStatus.VOIDED, BillStatus.DELETED)


@dataclass(frozen=True, slots=True)
class Worked:
    """What one person did on one project, as it stands on one line: how many entries, from the first day to the last."""

    name: str
    first: date
    last: date
    entries: tuple[int, ...]


@dataclass(slots=True)
class Told:
    """One line of a bill with what stands on it."""

    line: InvoiceLine
    works: list[Worked] = field(default_factory=list)
    quantity: Decimal = ZERO
    amount: Decimal = ZERO
    credited: Decimal = ZERO


def standing(which: Q) -> list[Any]:
    """Allocations that stand billed, each with what is left of it as `left_quantity` and `left_amount`."""
    rows = (
        Allocation.objects.filter(which, takes_back=None)
        .select_related("entry__resource", "entry__project", "milestone", "line")
        .prefetch_related("taken_back_by__taken_back_by")
        .order_by("line__position", "pk")
    )
    found = []
    for row in rows:
        back = list(row.taken_back_by.all())
        back += [again for one in list(back) for again in one.taken_back_by.all()]
        row.left_quantity = row.quantity + sum((one.quantity for one in back), ZERO)  # type: ignore[attr-defined]
        row.left_amount = row.amount + sum((one.amount for one in back), ZERO)  # type: ignore[attr-defined]
        if row.left_quantity or row.left_amount:  # type: ignore[attr-defined]
            found.append(row)
    return found


def of(bill: Invoice) -> list[Told]:
    """The lines that we go by, with the hours on each; of a credit note, with what each gives back."""
    version_id = bill.agreed_id or bill.current_id
    if gone := is_gone(bill):
        stated = bill.versions.filter(lines__isnull=False).order_by("-version").first()
        version_id = stated.pk if stated is not None else version_id
    told = {
        line.key: Told(line) for line in InvoiceLine.objects.filter(version=version_id).order_by("position")[:SHOWN]
    }
    if gone:
        rows: list[Any] = list(
            Allocation.objects.filter(line__version__invoice=bill, takes_back=None)
            .select_related("entry__resource", "entry__project", "line")
            .order_by("line__position", "pk")
        )
    elif bill.kind == "invoice":
        rows = standing(Q(line__version__invoice=bill))
    else:
        rows = list(
            Allocation.objects.filter(line__version__invoice=bill, takes_back__isnull=False)
            .select_related("entry__resource", "entry__project", "line")
            .order_by("pk")
        )
    by_key: dict[str, list[Any]] = defaultdict(list)
    for row in rows:
        by_key[row.line.key].append(row)
    for key, line in told.items():
        line.works = worked(row.entry for row in by_key[key] if row.entry is not None)
        for row in by_key[key]:
            left, amount = getattr(row, "left_quantity", row.quantity), getattr(row, "left_amount", row.amount)
            line.quantity += left
            line.amount += amount
            line.credited += row.amount - amount
    return list(told.values())


def is_gone(bill: Invoice) -> bool:
    """Whether somebody agreed that it is deleted: its lines are read as they last were, and nothing of it stands."""
    return bill.current.status == "deleted" and bill.agreed_id == bill.current_id


def hours_of(bill: Invoice) -> dict[str, list[Worked]]:
    """The hours that stand on each line of a bill, by the line's key."""
    found: dict[str, list[LedgerEntry]] = defaultdict(list)
    for row in standing(Q(line__version__invoice=bill)):
        if row.entry is not None:
            found[row.line.key].append(row.entry)
    return {key: worked(entries) for key, entries in found.items()}


def worked(entries: Iterable[LedgerEntry]) -> list[Worked]:
    """Entries by who did them on which project, in the order in which they stand there."""
    found: dict[str, list[LedgerEntry]] = defaultdict(list)
    for entry in entries:
        found[name_of(entry)].append(entry)
    return [
        Worked(name, min(one.work_date for one in of), max(one.work_date for one in of), tuple(one.pk for one in of))
        for name, of in found.items()
    ]
