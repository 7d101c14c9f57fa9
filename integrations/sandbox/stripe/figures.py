"""The arithmetic of Stripe's invoices: lines, taxes by line, totals, and what is left to pay. Amounts are in minor units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

Record = dict[str, Any]


def rounded(value: Decimal) -> int:
    """An amount in whole minor units, halves away from zero."""
    return int(value.quantize(Decimal(1), ROUND_HALF_UP))


def taxes(amount: int, rates: Sequence[Mapping[str, Any]]) -> list[Record]:
    """The taxes of one line, each rounded by itself."""
    made = []
    for rate in rates:
        share = Decimal(str(rate["percentage"])) / 100
        inclusive = bool(rate["inclusive"])
        tax = Decimal(amount) * share / (1 + share) if inclusive else Decimal(amount) * share
        made.append(
            {
                "amount": rounded(tax),
                "tax_behavior": "inclusive" if inclusive else "exclusive",
                "tax_rate_details": {"tax_rate": rate["id"]},
                "taxability_reason": "standard_rated",
                "taxable_amount": amount - rounded(tax) if inclusive else amount,
                "type": "tax_rate_details",
            }
        )
    return made


def summed(lines: Sequence[Mapping[str, Any]]) -> Record:
    """What an invoice or a credit note comes to."""
    subtotal = sum(int(line["amount"]) for line in lines)
    every = [tax for line in lines for tax in line["taxes"]]
    exclusive = sum(int(tax["amount"]) for tax in every if tax["tax_behavior"] == "exclusive")
    by_rate: dict[str, Record] = {}
    for tax in every:
        rate = tax["tax_rate_details"]["tax_rate"]
        known = by_rate.setdefault(rate, {**tax, "amount": 0, "taxable_amount": 0})
        known["amount"] += tax["amount"]
        known["taxable_amount"] += tax["taxable_amount"]
    total = subtotal + exclusive
    return {
        "subtotal": subtotal,
        "subtotal_excluding_tax": total - sum(int(tax["amount"]) for tax in every),
        "total": total,
        "total_excluding_tax": total - sum(int(tax["amount"]) for tax in every),
        "total_taxes": list(by_rate.values()),
    }


def due(invoice: Mapping[str, Any]) -> Record:
    """What is left of an invoice: its total less the customer's credit, the credit notes before payment and the payments."""
    applied = int(invoice["ending_balance"] or 0) - int(invoice["starting_balance"] or 0)
    if invoice["status"] == "draft":
        applied = 0
    amount = int(invoice["total"]) - applied - int(invoice["pre_payment_credit_notes_amount"])
    return {"amount_due": amount, "amount_remaining": max(0, amount - int(invoice["amount_paid"]))}
