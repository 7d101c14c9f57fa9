"""Money between Stripe's integers and Decimal: the currency says how many decimals an integer has, and it is Stripe's own table.

Nothing is rounded here: an amount that Stripe cannot hold is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from integrations.connectors.stripe import assumptions
from integrations.errors import Rejected
from integrations.http.fields import needed_number, number


def decimals(currency: str) -> int:
    """How many decimals an amount of a currency has in Stripe."""
    code = currency.upper()
    if code in assumptions.ZERO_DECIMALS:
        return 0
    return 3 if code in assumptions.THREE_DECIMALS else 2


def money(said: Mapping[str, Any], name: str, currency: str) -> Decimal:
    """An amount that must be there. Raises Malformed naming the field."""
    return needed_number(said, name).scaleb(-decimals(currency))


def optional(said: Mapping[str, Any], name: str, currency: str) -> Decimal | None:
    """An amount, or None where Stripe states none; also a price of a fraction of a minor unit."""
    value = number(said, name)
    return None if value is None else value.scaleb(-decimals(currency))


def minor(amount: Decimal, currency: str) -> int:
    """An amount as Stripe takes it. Raises Rejected for one that it cannot hold."""
    scaled = amount.scaleb(decimals(currency))
    step = assumptions.STEPS.get(currency.upper(), 1)
    if scaled != scaled.to_integral_value() or int(scaled) % step:
        raise Rejected(
            f"{amount} {currency} cannot be said to Stripe, whose amounts of {currency} are multiples of "
            f"{Decimal(step).scaleb(-decimals(currency))}.",
            code="amount-invalid",
        )
    if abs(int(scaled)) > assumptions.LARGEST_AMOUNT:
        raise Rejected(f"{amount} {currency} is more than Stripe takes on one line.", code="amount-invalid")
    return int(scaled)


def minor_price(price: Decimal, currency: str) -> str:
    """A price as Stripe takes it: in minor units, with up to twelve decimals."""
    return f"{price.scaleb(decimals(currency)).normalize():f}"
