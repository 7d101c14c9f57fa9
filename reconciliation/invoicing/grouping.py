"""What is left to bill as lines that the customer reads, to the cent: grouped, rounded as the contract says, split by share.

The rule here: an average is never made, so work at two rates is two lines; every total is built from rounded lines, and what
does not divide goes by the largest remainder. Pure: the same work gives the same lines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import ROUND_DOWN, Decimal

from portal import figures, money
from portal.models import Contract, Grouping
from reconciliation.sql.invoicing import Billable

ZERO = Decimal(0)
_UNIT = Decimal("0.0001")  # of hours


@dataclass(slots=True)
class Part:
    """One delivered thing on a line: how much of it, and its money before and after rounding."""

    item: Billable
    quantity: Decimal
    exact: Decimal
    amount: Decimal = ZERO


@dataclass(slots=True)
class Line:
    """One line about to be proposed."""

    description: str
    unit_price: Decimal | None
    tax_code: str
    parts: list[Part] = field(default_factory=list)
    net: Decimal = ZERO

    @property
    def quantity(self) -> Decimal | None:
        """Its hours; None for what has none."""
        hours = [part.quantity for part in self.parts if part.item.hours is not None]
        return sum(hours, ZERO) if hours else None


def shared(
    items: Sequence[Billable],
    shares: Sequence[tuple[int, Decimal]],
    rounding: str,
    had: Mapping[tuple[int, int], Decimal],
) -> list[list[Part]]:
    """What each of some customers is yet to pay of the work: quantities and amounts by the largest remainder, item by item.

    `had` is what (work, customer) has already: nobody is asked for more than their share of all that was delivered.
    """
    whole = len(shares) == 1
    found: list[list[Part]] = [[] for _ in shares]
    for item in items:
        exact = _exact(item, rounding)
        if whole:
            found[0].append(Part(item, item.left, exact))
            continue
        weights = _wanted(item, shares, had)
        if item.hours is None:  # an expense or a milestone is counted in money
            quantities = amounts = money.split(money.round_money(item.left, item.currency), weights, item.currency)
        else:
            quantities = _split(item.left, weights)
            rounded = exact == money.round_money(exact, item.currency)
            amounts = (
                money.split(exact, weights, item.currency)
                if rounded
                else [exact * quantity / item.left for quantity in quantities]
            )
        for parts, quantity, amount in zip(found, quantities, amounts, strict=True):
            if quantity > 0:
                parts.append(Part(item, quantity, amount))
    return found


def _wanted(
    item: Billable, shares: Sequence[tuple[int, Decimal]], had: Mapping[tuple[int, int], Decimal]
) -> list[Decimal]:
    """In what proportion customers share what is left: their shares while nobody has any, else what each lacks of theirs."""
    weights = [weight for _, weight in shares]
    taken = [had.get((item.key, customer_id), ZERO) for customer_id, _ in shares]
    if not any(taken):
        return weights
    if item.hours is None:
        targets = money.split(money.round_money(item.delivered, item.currency), weights, item.currency)
    else:
        targets = _split(item.delivered, weights)
    lacking = [max(target - has, ZERO) for target, has in zip(targets, taken, strict=True)]
    return lacking if any(lacking) else weights


def _exact(item: Billable, rounding: str) -> Decimal:
    """The money of what is left: all of it, less what its billed part came to, so that the parts add up to the whole."""
    if not item.delivered or item.left == item.delivered:
        return item.amount
    before = item.amount * (item.delivered - item.left) / item.delivered
    if rounding == Contract.Rounding.ENTRY:
        before = money.round_money(before, item.currency)
    return item.amount - before


def _split(total: Decimal, weights: Sequence[Decimal]) -> list[Decimal]:
    """Hours in proportion, to four decimals, by the largest remainder."""
    whole = sum(weights, ZERO)
    exact = [total * weight / whole for weight in weights]
    parts = [share.quantize(_UNIT, ROUND_DOWN) for share in exact]
    missing = int((total - sum(parts, ZERO)) / _UNIT)
    for index in sorted(range(len(parts)), key=lambda i: (parts[i] - exact[i], i))[:missing]:
        parts[index] += _UNIT
    return parts


def lines(parts: Sequence[Part], grouping: str, rounding: str, currency: str, holds: dict[int, object]) -> list[Line]:
    """Lines in their order: milestones, hours, expenses. What carries a hold is apart from what does not."""
    groups: dict[tuple[object, ...], Line] = {}
    days: dict[tuple[object, ...], list[date]] = {}
    for part in sorted(parts, key=lambda one: (_order(one.item), one.item.work_date, one.item.entry_id or 0)):
        key = (*_key(part.item, grouping), holds.get(part.item.key))
        line = groups.get(key)
        if line is None:
            price = part.item.rate if part.item.hours is not None else None
            line = groups[key] = Line("", price, part.item.tax_code)
        line.parts.append(part)
        days.setdefault(key, []).append(part.item.work_date)
    for key, line in groups.items():
        line.description = _said(line.parts[0].item, grouping, min(days[key]), max(days[key]))
    found = list(groups.values())
    _round(found, rounding, currency)
    return found


def _order(item: Billable) -> int:
    return 0 if item.milestone_id else 1 if item.hours is not None else 2


def _key(item: Billable, grouping: str) -> tuple[object, ...]:
    if item.milestone_id is not None:
        return ("milestone", item.milestone_id)
    if item.hours is None or grouping == Grouping.ENTRY:
        return ("entry", item.entry_id)
    by = {Grouping.PERSON: (item.person, item.role), Grouping.ROLE: (item.role,), Grouping.TASK: (item.task,)}
    return (grouping, *by[Grouping(grouping)], item.rate, item.tax_code, item.is_beyond)


def _said(item: Billable, grouping: str, first: date, last: date) -> str:
    """A line as the customer reads it."""
    if item.milestone_id is not None:
        return item.what
    when = figures.day(first) if first == last else f"{figures.day(first)} to {figures.day(last)}"
    if item.hours is None:
        return f"{item.what or 'Expense'}, {when}"
    beyond = "beyond the retainer" if item.is_beyond else ""
    if grouping == Grouping.ENTRY:
        return ", ".join(word for word in (item.person, when, item.what, beyond) if word)
    words = {
        Grouping.PERSON: [item.person, item.role], Grouping.ROLE: [item.role or "Consulting"],
        Grouping.TASK: [item.task or "Consulting"],
    }[Grouping(grouping)]  # fmt: skip
    return ", ".join([*(word for word in words if word), when, *([beyond] if beyond else [])])


def _round(found: Sequence[Line], rounding: str, currency: str) -> None:
    """Give lines and parts their cents. Lines add up to the total, parts to their line."""
    exact = [sum((part.exact for part in line.parts), ZERO) for line in found]
    if rounding == Contract.Rounding.INVOICE:
        nets = _by_weight(money.round_money(sum(exact, ZERO), currency), exact, currency)
    else:
        nets = [money.round_money(value, currency) for value in exact]
    if rounding == Contract.Rounding.ENTRY:
        for line in found:
            for part in line.parts:
                part.amount = money.round_money(part.exact, currency)
        nets = [sum((part.amount for part in line.parts), ZERO) for line in found]
    for line, net in zip(found, nets, strict=True):
        line.net = net
        if rounding != Contract.Rounding.ENTRY:
            shares = _by_weight(net, [part.exact for part in line.parts], currency)
            for part, share in zip(line.parts, shares, strict=True):
                part.amount = share


def _by_weight(total: Decimal, weights: Sequence[Decimal], currency: str) -> list[Decimal]:
    return money.split(total, weights, currency) if sum(weights, ZERO) > 0 else [ZERO for _ in weights]
