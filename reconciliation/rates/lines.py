"""A rate for some days, as lines of a change set: what stood on those days makes room, and nothing else moves.

The rule here: after the lines no two rates share a day, every day of the range has the new rate, and every other day the rate
that it had.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from portal.models import Rate, RateCard
from reconciliation.changes import Line
from reconciliation.facts.records import FOREVER
from reconciliation.rates.matrix import ONE_DAY, Span, span_of


@dataclass(frozen=True, slots=True)
class Wanted:
    """A rate to hold on some days: what it hangs on and its currency are those of `like`, a rate of the card."""

    like: Rate
    amount: Decimal
    unit: str
    span: Span


def lines_for(wanted: Wanted, standing: Sequence[Rate]) -> list[Line]:
    """The lines that make it so; `standing` are the rates of the card for the same thing and currency. None where it is so."""
    found: list[Line] = []
    free = wanted.span.start
    for rate in sorted(standing, key=lambda rate: rate.valid_from):
        shared = span_of(rate).overlap(wanted.span)
        if shared is None:
            continue
        if free < shared.start:
            found.append(line_of(wanted.like, wanted.amount, wanted.unit, Span(free, shared.start - ONE_DAY)))
        found += _room(wanted, rate, shared)
        free = shared.end + ONE_DAY if shared.end < FOREVER else FOREVER
        if shared.end == FOREVER:
            return found
    if free <= wanted.span.end:
        found.append(line_of(wanted.like, wanted.amount, wanted.unit, Span(free, wanted.span.end)))
    return found


def _room(wanted: Wanted, rate: Rate, shared: Span) -> Iterator[Line]:
    """What one rate becomes: its days within the range get the new amount, the days before and after keep theirs."""
    if (rate.amount, rate.unit) == (wanted.amount, wanted.unit):
        return
    whole = span_of(rate)
    if shared == whole:
        yield Line("rate", rate.pk, "change", {"amount": str(wanted.amount), "unit": wanted.unit})
        return
    if whole.start < shared.start:
        yield Line("rate", rate.pk, "change", {"valid_to": str(shared.start - ONE_DAY)})
        yield line_of(wanted.like, wanted.amount, wanted.unit, shared)
    else:
        changed = {"amount": str(wanted.amount), "unit": wanted.unit, "valid_to": str(shared.end)}
        yield Line("rate", rate.pk, "change", changed)
    if shared.end < whole.end:
        yield line_of(wanted.like, rate.amount, rate.unit, Span(shared.end + ONE_DAY, whole.end))


def line_of(like: Rate, amount: Decimal, unit: str, span: Span, *, version: int | None = None) -> Line:
    """A line that adds a rate for the same thing and currency, on a version of the same card."""
    values = {
        "card": like.card.code, "card_version": str(version or like.card.version), "resource": _code(like.resource),
        "role": _code(like.role), "project": like.task.project.code if like.task else "", "task": _code(like.task),
        "currency": like.currency, "amount": str(amount), "unit": unit, **days_of(span),
    }  # fmt: skip
    return Line("rate", None, "add", values)


def days_of(span: Span) -> dict[str, str]:
    """A range of days in the columns of a line."""
    return {"valid_from": str(span.start), "valid_to": "" if span.end == FOREVER else str(span.end)}


def _code(record: Any) -> str:
    return str(record.code) if record is not None else ""


def alike(rate: Rate) -> list[Rate]:
    """The rates of the same card, thing and currency."""
    return list(
        Rate.objects.filter(
            card=rate.card, resource=rate.resource, role=rate.role, task=rate.task, currency=rate.currency
        ).order_by("valid_from")
    )


def span_within(card: RateCard, first: date, last: date | None) -> Span:
    """A range of days as far as a card holds."""
    whole = span_of(card)
    return Span(max(first, whole.start), min(last or FOREVER, whole.end))
