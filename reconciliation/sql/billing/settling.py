"""Payments and credits as what settles bills."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import NamedTuple

from portal.sql import rows


class PaymentRow(NamedTuple):
    """One payment as it stands."""

    id: int
    kind: str
    entity_id: int
    connection_id: int
    external_id: str
    status: str
    number: str
    currency: str
    amount: Decimal
    unapplied: Decimal | None
    booked_on: date | None
    customer: str
    applied: Decimal
    unknown: list[str]  # bills that it names and we do not know
    unpayable: list[str]  # bills that it settles although they are drafts, voided or gone
    previous_status: str
    customer_id: int | None
    unknown_amount: Decimal
    unpayable_amount: Decimal  # without what stands on void bills: their own cause tells of that money
    is_across_currencies: bool  # it settles a bill of another currency, in that bill's money

    @property
    def name(self) -> str:
        """As people say it."""
        word = "Payment" if self.kind == "payment" else "Write-off"
        return f"{word} {self.number or self.external_id}"


def payments(payment_ids: Sequence[int]) -> list[PaymentRow]:
    """Payments as they stand, with what is odd about what they settle."""
    found = rows(
        """
        SELECT p.id, p.kind, p.entity_id, p.connection_id, p.external_id, v.status, v.number, v.currency, v.amount, v.unapplied,
               v.booked_on, v.customer_name, s.applied, s.unknown, s.unpayable,
               coalesce((SELECT o.status FROM portal_paymentversion o
                          WHERE o.payment_id = p.id AND o.version = v.version - 1), ''),
               v.customer_id, s.unknown_amount, s.unpayable_amount, s.across
          FROM portal_payment p JOIN portal_paymentversion v ON v.id = p.current_id
         CROSS JOIN LATERAL (
               SELECT coalesce(sum(a.amount), 0) AS applied,
                      coalesce(array_agg(a.invoice_key) FILTER (WHERE a.invoice_id IS NULL), '{}') AS unknown,
                      coalesce(array_agg(coalesce(nullif(iv.number, ''), a.invoice_key) || ' (' || iv.status || ')')
                          FILTER (WHERE iv.status IN ('draft', 'voided', 'deleted')), '{}') AS unpayable,
                      coalesce(sum(a.amount) FILTER (WHERE a.invoice_id IS NULL), 0) AS unknown_amount,
                      coalesce(sum(a.amount) FILTER (WHERE iv.status IN ('draft', 'deleted')), 0) AS unpayable_amount,
                      coalesce(bool_or(iv.currency <> v.currency), FALSE) AS across
                 FROM portal_paymentallocation a JOIN portal_paymentversion av ON av.id = a.payment_version_id
                 LEFT JOIN portal_invoice i ON i.id = a.invoice_id LEFT JOIN portal_invoiceversion iv ON iv.id = i.current_id
                WHERE av.payment_id = p.id AND a.takes_back_id IS NULL
                  AND NOT EXISTS (SELECT 1 FROM portal_paymentallocation t WHERE t.takes_back_id = a.id)) s
         WHERE p.id = ANY(%s) ORDER BY p.id""",
        [list(payment_ids)],
    )
    return [PaymentRow(*row) for row in found]


class AppliedCredit(NamedTuple):
    """Part of an invoice that a credit settles which is of another bill, or of none."""

    invoice_id: int
    credit: str  # the note's number, or the payment's by which its system says so
    of: str  # the bill that it is of; empty where it is the customer's balance
    amount: Decimal


def credits_from_elsewhere(bill_ids: Sequence[int]) -> dict[int, list[AppliedCredit]]:
    """What of invoices is settled by credits of other bills, or by the customer's balance."""
    found: dict[int, list[AppliedCredit]] = {}
    for row in rows(
        """
        SELECT a.invoice_id, coalesce(nullif(nv.number, ''), n.external_id, nullif(pv.number, ''), p.external_id),
               coalesce(nullif(ov.number, ''), o.external_id, ''), sum(a.amount)
          FROM portal_paymentallocation a
          LEFT JOIN portal_invoiceversion av ON av.id = a.credit_version_id LEFT JOIN portal_invoice n ON n.id = av.invoice_id
          LEFT JOIN portal_invoiceversion nv ON nv.id = n.current_id
          LEFT JOIN portal_invoice o ON o.id = n.credits_id LEFT JOIN portal_invoiceversion ov ON ov.id = o.current_id
          LEFT JOIN portal_paymentversion bv ON bv.id = a.payment_version_id LEFT JOIN portal_payment p ON p.id = bv.payment_id
          LEFT JOIN portal_paymentversion pv ON pv.id = p.current_id
         WHERE a.invoice_id = ANY(%s) AND a.by = 'credit' AND (p.id IS NOT NULL OR n.credits_id IS DISTINCT FROM a.invoice_id)
         GROUP BY 1, 2, 3 HAVING sum(a.amount) > 0 ORDER BY 1, 2""",
        [list(bill_ids)],
    ):
        found.setdefault(row[0], []).append(AppliedCredit(*row))
    return found


def payments_of(bill_ids: Sequence[int]) -> list[int]:
    """The payments that settle, or did settle, some bills."""
    found = rows(
        "SELECT DISTINCT v.payment_id FROM portal_paymentallocation a JOIN portal_paymentversion v ON v.id = a.payment_version_id"
        " WHERE a.invoice_id = ANY(%s)",
        [list(bill_ids)],
    )
    return [row[0] for row in found]


class TakenOff(NamedTuple):
    """What the last word about a payment took off one bill: all of it where the payment is gone, else what it is less."""

    invoice_id: int
    payment_id: int
    kind: str
    external_id: str
    number: str
    status: str
    version: int
    amount: Decimal

    @property
    def became(self) -> str:
        """What became of it, as people say it."""
        payment = f"{'Payment' if self.kind == 'payment' else 'Write-off'} {self.number or self.external_id}"
        how = {"bounced": "bounced", "voided": "was voided"}.get(self.status, "was changed in its system")
        return f"{payment} {'was deleted in its system' if self.status == 'deleted' else how}"


def taken_off(bill_ids: Sequence[int] = (), payment_ids: Sequence[int] = ()) -> dict[int, list[TakenOff]]:
    """What payments, by their last word, no longer settle of bills: of these bills, or by these payments; by bill."""
    found: dict[int, list[TakenOff]] = {}
    for row in rows(
        """
        SELECT a.invoice_id, p.id, p.kind, p.external_id, v.number, v.status, v.version, -sum(a.amount)
          FROM portal_paymentallocation a JOIN portal_payment p ON p.current_id = a.payment_version_id
          JOIN portal_paymentversion v ON v.id = p.current_id
         WHERE a.invoice_id IS NOT NULL AND (a.invoice_id = ANY(%s) OR p.id = ANY(%s))
         GROUP BY a.invoice_id, p.id, v.id HAVING sum(a.amount) < 0 ORDER BY a.invoice_id, p.id""",
        [list(bill_ids), list(payment_ids)],
    ):
        found.setdefault(row[0], []).append(TakenOff(*row))
    return found
