"""What stands billed or credited on the lines of bills, and how more is written."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from portal import sql
from portal.sql import rows


class Standing(NamedTuple):
    """Part of an entry that stands billed, or credited, on one line of a bill."""

    id: int
    bill_id: int
    line_id: int
    line_key: str
    entry_id: int | None
    milestone_id: int | None
    quantity: Decimal
    amount: Decimal
    currency: str
    was_quantity: Decimal  # as it was written, before anything was taken back
    was_amount: Decimal
    takes_back_id: int | None  # of a credit, what it gave back
    version_id: int  # of the bill, for whose line it was written


_STANDING = """
    SELECT a.id, v.invoice_id, a.line_id, l.key, a.entry_id, a.milestone_id, a.quantity + t.quantity, a.amount + t.amount,
           a.currency, a.quantity, a.amount, a.takes_back_id, l.version_id
      FROM portal_allocation a
      JOIN portal_invoiceline l ON l.id = a.line_id JOIN portal_invoiceversion v ON v.id = l.version_id
     CROSS JOIN LATERAL (
           SELECT coalesce(sum(c.quantity + g.quantity), 0) AS quantity, coalesce(sum(c.amount + g.amount), 0) AS amount
             FROM portal_allocation c
            CROSS JOIN LATERAL (SELECT coalesce(sum(quantity), 0) AS quantity, coalesce(sum(amount), 0) AS amount
                                  FROM portal_allocation WHERE takes_back_id = c.id) g
            WHERE c.takes_back_id = a.id) t
     WHERE true"""
_LEFT = " AND (a.quantity + t.quantity <> 0 OR a.amount + t.amount <> 0)"


def billed(bill_ids: Sequence[int]) -> list[Standing]:
    """What was billed on the lines of invoices and not released since, of whichever version; also what is credited in full."""
    found = rows(
        f"{_STANDING} AND a.takes_back_id IS NULL AND v.invoice_id = ANY(%s) AND NOT EXISTS ("  # noqa: S608
        " SELECT 1 FROM portal_allocation r WHERE r.takes_back_id = a.id AND r.line_id = a.line_id) ORDER BY a.id",
        [list(bill_ids)],
    )
    return [Standing(*row) for row in found]


def billed_of(entry_ids: Sequence[int]) -> list[Standing]:
    """What of some entries stands billed, on whichever invoice; the oldest first."""
    found = rows(
        f"{_STANDING}{_LEFT} AND a.takes_back_id IS NULL AND a.entry_id = ANY(%s) ORDER BY a.id", [list(entry_ids)]
    )
    return [Standing(*row) for row in found]


def bills_of(ids: Sequence[int]) -> list[int]:
    """The bills on whose lines these allocations stand."""
    found = rows(
        "SELECT DISTINCT v.invoice_id FROM portal_allocation a JOIN portal_invoiceline l ON l.id = a.line_id"
        " JOIN portal_invoiceversion v ON v.id = l.version_id WHERE a.id = ANY(%s::bigint[]) ORDER BY v.invoice_id",
        [list(ids)],
    )
    return [row[0] for row in found]


def credited(bill_ids: Sequence[int]) -> list[Standing]:
    """What stands credited on the lines of credit notes; quantities and amounts are negative."""
    found = rows(
        f"{_STANDING}{_LEFT} AND a.takes_back_id IS NOT NULL AND a.amount <= 0 AND a.quantity <= 0 AND v.invoice_id = ANY(%s)"
        " ORDER BY a.id",
        [list(bill_ids)],
    )
    return [Standing(*row) for row in found]


_ALLOCATION = (
    "id", "entity_id", "entry_id", "milestone_id", "line_id", "cause_id", "takes_back_id", "quantity", "amount", "currency",
    "actor", "reason", "recorded_at",
)  # fmt: skip


def allocate(new: Sequence[Sequence[Any]]) -> None:
    """Write allocations, in the order of their columns but the moment; the database refuses what bills an hour twice."""
    if new:
        moment = sql.now()
        sql.copy_in("portal_allocation", _ALLOCATION, ([*row, moment] for row in new))
