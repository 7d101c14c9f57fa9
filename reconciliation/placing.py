"""How a part of a delivered thing came to be on a customer's line: the share, the contract's version, the largest remainder.

The rule here: a cent that we placed is never told as one that the system booked, and a share names who agreed to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from portal import figures, money
from portal.models import Contract, InvoiceProposal, ProposalPart
from reconciliation import amounts

WHOLE = Decimal(100)
_UNIT = Decimal("0.0001")  # of hours; below it the largest remainder decides
_FINEST = Decimal("0.000001")  # to which an exact figure is shown


def placed(part: ProposalPart) -> Iterator[tuple[str, str]]:
    """How much of a delivered thing is on its line, and how its money came to whole cents; step by step: (what, how).

    Needs the part's line with proposal, customer and contract, and its entry or milestone.
    """
    proposal, hours = part.line.proposal, _hours(part)
    delivered = hours or _worth(part)
    if delivered is None:
        return
    contract = amounts.as_of(proposal.contract, proposal.prepared_at)
    unit = "h" if hours else proposal.currency
    if proposal.share != WHOLE:
        yield "Share", _share(part, proposal, delivered, unit, contract)
    elif part.quantity != delivered:
        on_line = f"{figures.exact(part.quantity)} of {figures.exact(delivered)} {unit} are on this line"
        yield "Part", f"{on_line}; the rest is open or billed elsewhere"
    exact = _exact(part, hours)
    if exact is not None and exact != part.amount:
        yield "To the cent", _to_the_cent(part, exact, contract)


def _hours(part: ProposalPart) -> Decimal | None:
    entry = part.entry
    return entry.hours if entry is not None and entry.kind == "time" else None


def _worth(part: ProposalPart) -> Decimal | None:
    thing: Any = part.entry or part.milestone
    amount: Decimal | None = thing.amount
    return amount


def _share(part: ProposalPart, proposal: InvoiceProposal, delivered: Decimal, unit: str, contract: Any) -> str:
    exact = delivered * proposal.share / WHOLE
    off = part.quantity - exact
    customer = f"{proposal.customer.name} ({proposal.customer.code})"
    words = (
        f"{figures.exact(proposal.share)} % of {figures.exact(delivered)} {unit} are for {customer} to pay"
        f"{amounts.version_of(contract)}: exactly {_shown(exact)} {unit}"
    )
    on_line = f"{figures.exact(part.quantity)} {unit} are on this line"
    if not off:
        return f"{words}, all on this line"
    if abs(off) < (_UNIT if unit == "h" else money.unit(unit)):
        least = "four decimals" if unit == "h" else "the cent"
        return f"{words}; {on_line}, to {least} by the largest remainder among the customers"
    return f"{words}; {on_line}, the rest of the share is open or billed elsewhere"


def _exact(part: ProposalPart, hours: Decimal | None) -> Decimal | None:
    """The money of the part before anything is rounded or placed."""
    whole, share = _worth(part), part.line.proposal.share
    if whole is None:
        return None
    delivered = hours or whole
    is_share = share != WHOLE and abs(part.quantity - delivered * share / WHOLE) < _UNIT
    if is_share:
        return whole * share / WHOLE
    return whole * part.quantity / delivered if delivered else whole


def _to_the_cent(part: ProposalPart, exact: Decimal, contract: Any) -> str:
    currency = part.line.proposal.currency
    rounded = money.round_money(exact, currency)
    words = f"exactly {_shown(exact)} {currency}"
    if part.amount == rounded:
        return f"{words}, half up to {_money(part.amount, currency)}"
    return (
        f"{words}, half up {_money(rounded, currency)}; {_money(part.amount, currency)} are on this line: "
        f"{signed(part.amount - rounded, currency)} by the largest remainder, so that {_adds_up(part, contract)}"
    )


def _adds_up(part: ProposalPart, contract: Any) -> str:
    """What the largest remainder makes add up."""
    proposal, whole = part.line.proposal, _worth(part)
    currency = proposal.currency
    is_in_cents = whole is not None and whole == money.round_money(whole, currency)
    if whole is not None and is_in_cents and proposal.share != WHOLE:
        return f"the customers' parts add up to {_money(whole, currency)}"
    rounding = contract.rounding if contract is not None else Contract.Rounding.ENTRY
    if rounding == Contract.Rounding.INVOICE:
        return f"the lines of {proposal} add up to its total"
    if rounding == Contract.Rounding.LINE:
        return f"what is on the line adds up to {_money(part.line.net, currency)}"
    return "what is billed of it in parts adds up to the whole"


def _shown(value: Decimal) -> str:
    return figures.exact(value if value == value.quantize(_FINEST) else value.quantize(_FINEST))


def _money(value: Decimal, currency: str) -> str:
    return f"{figures.amount(value, currency)} {currency}"


def signed(value: Decimal, currency: str) -> str:
    """A difference with its sign."""
    return f"{'+' if value > 0 else ''}{_money(value, currency)}"
