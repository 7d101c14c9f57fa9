"""A card's next version, and a rate for something it has none for, as lines of a change set.

The rule here: the version before ends the day before the next begins, and every rate that would hold then goes along, at its
amount or so many per cent of it, as exact as its currency is paid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from portal.models import Rate, RateCard
from portal.money import round_money
from reconciliation.changes import Line
from reconciliation.rates.lines import days_of, line_of
from reconciliation.rates.matrix import ONE_DAY, Span, span_of


@dataclass(frozen=True, slots=True)
class NextVersion:
    """What the next version is: from which day to which, and by how many per cent its rates differ."""

    number: int
    span: Span
    name: str
    percent: Decimal


def version_lines(card: RateCard, wanted: NextVersion, rates: Sequence[Rate]) -> list[Line]:
    """The lines that end a card and make its next version with the rates that would hold."""
    found = []
    if card.valid_to is None or card.valid_to >= wanted.span.start:
        found.append(Line("rate_card", card.pk, "change", {"valid_to": str(wanted.span.start - ONE_DAY)}))
    scope = {
        "contract": card.contract.code if card.contract else "", "customer": card.customer.code if card.customer else "",
        "entity": card.entity.code if card.entity else "",
    }  # fmt: skip
    made = {"code": card.code, "version": str(wanted.number), "name": wanted.name, **scope, **days_of(wanted.span)}
    found.append(Line("rate_card", None, "add", {name: value for name, value in made.items() if value}))
    for rate in rates:
        if (shared := span_of(rate).overlap(wanted.span)) is not None:
            amount = raised(rate.amount, rate.currency, wanted.percent)
            found.append(line_of(rate, amount, rate.unit, shared, version=wanted.number))
    return found


def raised(amount: Decimal, currency: str, percent: Decimal) -> Decimal:
    """An amount and so many per cent of it; the same one where there is nothing to add."""
    return round_money(amount * (100 + percent) / 100, currency) if percent else amount
