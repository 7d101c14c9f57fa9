"""Money: a Decimal beside its ISO 4217 code, rounded half up to the currency's minor unit, split without losing a cent.

The rule here: amounts of two currencies are never added or compared, a float never becomes money, and the parts of a split
always add up to the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from functools import cache

from babel.core import get_global
from babel.numbers import get_currency_precision


class CurrencyMismatch(ValueError):
    """Two currencies met in one sum."""


class UnknownCurrency(ValueError):
    """A code that ISO 4217 does not know."""


@cache
def is_currency(code: str) -> bool:
    """Whether ISO 4217 knows the code, as far as CLDR lists it."""
    return code in get_global("all_currencies")


@cache
def minor_units(currency: str) -> int:
    """How many decimals the currency has: 2 for EUR, 0 for JPY, 3 for KWD."""
    if not is_currency(currency):
        raise UnknownCurrency(f"“{currency}” is not an ISO 4217 currency; expected a code such as EUR, USD or GBP.")
    return get_currency_precision(currency)


@cache
def unit(currency: str) -> Decimal:
    """The least amount that the currency has: 0.01 for EUR, 1 for JPY."""
    return Decimal(1).scaleb(-minor_units(currency))


def round_money(amount: Decimal, currency: str) -> Decimal:
    """The amount at the currency's minor unit, halves away from zero."""
    if not isinstance(amount, Decimal):
        raise TypeError(f"Money is Decimal; {amount!r} is {type(amount).__name__}.")
    return amount.quantize(unit(currency), ROUND_HALF_UP)


def split(total: Decimal, weights: Sequence[Decimal], currency: str) -> list[Decimal]:
    """Divide a rounded total in proportion to weights by the largest remainder, so that the parts add up to it exactly.

    Ties go to the earlier part. Raises ValueError when a weight is negative or all are zero.
    """
    if total != round_money(total, currency):
        raise ValueError(f"{total} {currency} is finer than the currency's minor unit; round it before it is split.")
    whole = sum(weights, Decimal(0))
    if whole <= 0 or any(weight < 0 for weight in weights):
        raise ValueError("Weights are zero or positive and do not all vanish.")
    least = unit(currency)
    exact = [total * weight / whole for weight in weights]
    parts = [share.quantize(least, ROUND_DOWN) for share in exact]
    missing = int((total - sum(parts, Decimal(0))) / least)
    step = least if missing >= 0 else -least
    order = sorted(range(len(parts)), key=lambda index: (-abs(exact[index] - parts[index]), index))
    for index in order[: abs(missing)]:
        parts[index] += step
    return parts


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in a currency."""

    amount: Decimal
    currency: str

    def __post_init__(self) -> None:
        if not isinstance(self.amount, Decimal):
            raise TypeError(f"Money is Decimal; {self.amount!r} is {type(self.amount).__name__}.")
        minor_units(self.currency)

    def _same(self, other: Money) -> None:
        if self.currency != other.currency:
            raise CurrencyMismatch(f"{self.currency} and {other.currency} cannot be added without a stored rate.")

    def __add__(self, other: Money) -> Money:
        self._same(other)
        return Money(self.amount + other.amount, self.currency)

    def __sub__(self, other: Money) -> Money:
        self._same(other)
        return Money(self.amount - other.amount, self.currency)

    def __neg__(self) -> Money:
        return Money(-self.amount, self.currency)

    def __mul__(self, factor: Decimal) -> Money:
        return Money(self.amount * factor, self.currency)

    def __lt__(self, other: Money) -> bool:
        self._same(other)
        return self.amount < other.amount

    def rounded(self) -> Money:
        """At the currency's minor unit."""
        return Money(round_money(self.amount, self.currency), self.currency)

    def split(self, weights: Sequence[Decimal]) -> list[Money]:
        """Parts in proportion to the weights that add up to this."""
        return [Money(part, self.currency) for part in split(self.amount, weights, self.currency)]

    def __str__(self) -> str:
        return f"{self.amount:,} {self.currency}"
