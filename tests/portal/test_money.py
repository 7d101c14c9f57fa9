"""Cents are neither lost nor made, and two currencies never meet."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.money import CurrencyMismatch, Money, UnknownCurrency, minor_units, round_money, split


@pytest.mark.parametrize(("currency", "digits"), [("EUR", 2), ("JPY", 0), ("KWD", 3)])
def test_minor_units_are_those_of_the_currency(currency: str, digits: int) -> None:
    assert minor_units(currency) == digits


def test_a_code_that_is_no_currency_is_refused_by_name() -> None:
    with pytest.raises(UnknownCurrency, match="EURO"):
        minor_units("EURO")


@pytest.mark.parametrize(
    ("exact", "cents"), [("0.005", "0.01"), ("-0.005", "-0.01"), ("2.675", "2.68"), ("1.004", "1.00")]
)
def test_halves_are_rounded_away_from_zero(exact: str, cents: str) -> None:
    assert round_money(Decimal(exact), "EUR") == Decimal(cents)


def test_a_float_is_not_money() -> None:
    with pytest.raises(TypeError):
        round_money(1.1, "EUR")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        Money(1.1, "EUR")  # type: ignore[arg-type]


@pytest.mark.case(42)
def test_two_currencies_are_neither_added_nor_compared() -> None:
    with pytest.raises(CurrencyMismatch):
        Money(Decimal(1), "EUR") + Money(Decimal(1), "USD")
    with pytest.raises(CurrencyMismatch):
        assert Money(Decimal(1), "EUR") < Money(Decimal(2), "USD")


@pytest.mark.case(39)
@given(
    cents=st.integers(-(10**12), 10**12),
    weights=st.lists(st.integers(0, 10**6), min_size=1, max_size=40).filter(any),
    currency=st.sampled_from(["EUR", "JPY", "KWD"]),
)
def test_the_parts_of_a_split_add_up_and_each_is_within_a_unit_of_its_share(
    cents: int, weights: list[int], currency: str
) -> None:
    unit = Decimal(1).scaleb(-minor_units(currency))
    total = cents * unit
    parts = split(total, [Decimal(weight) for weight in weights], currency)
    assert sum(parts) == total
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part - total * weight / sum(weights)) < unit
        assert part == round_money(part, currency)


def test_a_total_finer_than_a_cent_is_not_split() -> None:
    with pytest.raises(ValueError, match="minor unit"):
        split(Decimal("1.005"), [Decimal(1)], "EUR")
