"""What stops a proposal before it becomes a draft, each in a sentence with what is left and the way out.

The rule here: a limit is asked before the draft and not after it. What a proposal takes counts against the limit while it is
open, so that two proposals never use the same rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from django.db.models import Sum
from django.utils import timezone

from portal import figures
from portal.models import Connection, Customer, InvoiceProposal, ProposalState
from reconciliation.sql import invoicing as sql
from reconciliation.sql import publishing as keys_sql

ZERO = Decimal(0)
TAKING = (ProposalState.OPEN, ProposalState.RELEASED, ProposalState.APPROVED, ProposalState.HANDED_OVER)


@dataclass(frozen=True, slots=True)
class Blocker:
    """One thing that stops a proposal: its code, in words, and who has to act."""

    code: str
    words: str
    who: str


def blockers(proposal: InvoiceProposal) -> list[Blocker]:
    """Everything that stops a proposal from being released or approved; a fixed number of statements."""
    return [*_content(proposal), *_order(proposal), *_maximum(proposal), *_customer(proposal)]


def _content(proposal: InvoiceProposal) -> Iterator[Blocker]:
    spoilt = sql.spoilt_parts(proposal.pk)
    if spoilt:
        more = f", and {len(spoilt) - 1} more" if len(spoilt) > 1 else ""
        yield Blocker("outdated", f"{_upper(spoilt[0].why)}{more}. Prepare the proposal anew.", "finance")
    if not proposal.lines.filter(held_by=None).exists():
        yield Blocker("empty", "Every line is on hold, so nothing is left to bill.", "the project's manager")


def _order(proposal: InvoiceProposal) -> Iterator[Blocker]:
    contract, order = proposal.contract, proposal.purchase_order
    if order is None:
        if contract is not None and contract.requires_purchase_order:
            yield Blocker(
                "PO_REQUIRED",
                f"Contract {contract.code} needs a purchase order and none is on this work. Ask the customer for one and add it.",
                "finance",
            )
        return
    if order.currency != proposal.currency:
        yield Blocker(
            "PO_REQUIRED",
            f"Purchase order {order.number} is in {order.currency}, the invoice in {proposal.currency}. Ask for another order.",
            "finance",
        )
        return
    _, billed = sql.billed_under(None, order.pk)
    left = order.amount - billed - taken_by_others(proposal, purchase_order=order)
    if proposal.net > left:
        yield Blocker(
            "PO_EXCEEDED",
            f"{_money(proposal, proposal.net)} pass purchase order {order.number}, of which {_money(proposal, max(left, ZERO))} "
            f"of {_money(proposal, order.amount)} are left. Ask for a higher order, or hold lines.",
            "finance",
        )


def _maximum(proposal: InvoiceProposal) -> Iterator[Blocker]:
    contract = proposal.contract
    if contract is None or contract.cap_amount is None or contract.currency != proposal.currency:
        return
    billed, _ = sql.billed_under(contract.pk, None)
    left = contract.cap_amount - billed - taken_by_others(proposal, contract=contract)
    if proposal.net > left:
        yield Blocker(
            "CAP_EXCEEDED",
            f"{_money(proposal, proposal.net)} pass the not-to-exceed amount of contract {contract.code}, of which "
            f"{_money(proposal, max(left, ZERO))} of {_money(proposal, contract.cap_amount)} are left. Agree a change, or hold "
            "lines.",
            "the project's manager",
        )


def taken_by_others(proposal: InvoiceProposal, **of: object) -> Decimal:
    """What other proposals that no bill has come of yet take of the same limit."""
    others = InvoiceProposal.objects.filter(state__in=TAKING, **of).exclude(pk=proposal.pk)
    total: Decimal = others.aggregate(net=Sum("net", default=ZERO))["net"]
    return total


def _customer(proposal: InvoiceProposal) -> Iterator[Blocker]:
    customer = proposal.customer
    today = timezone.localdate()
    if customer.active_to is not None and customer.active_to < today:
        yield Blocker(
            "CUSTOMER_INACTIVE", f"{customer.name} is inactive since {figures.day(customer.active_to)}.", "finance"
        )
    if customer.tax_treatment == Customer.TaxTreatment.REVERSE_CHARGE and not customer.tax_number:
        yield Blocker(
            "TAX_NUMBER",
            f"{customer.name} is treated as reverse charge and has no tax number. Ask for it and add it to the customer.",
            "finance",
        )


def tax_expected(proposal: InvoiceProposal) -> bool:
    """Whether the system that bills should add tax at all; how much is its own affair."""
    return proposal.customer.tax_treatment == Customer.TaxTreatment.DOMESTIC


def tax_variance(proposal: InvoiceProposal, tax: Decimal | None) -> str:
    """What is odd about the tax that the system worked out, in words; it is shown and never forced."""
    if tax is None or tax_expected(proposal) == (tax > 0):
        return ""
    treated = proposal.customer.get_tax_treatment_display().lower()
    return f"{_money(proposal, tax)} of tax, while {proposal.customer.name} is treated as {treated}"


@dataclass(frozen=True, slots=True)
class Biller:
    """The system that bills a proposal, with its keys of what the draft names; or why there is none."""

    connection: Connection | None
    keys: dict[str, str]
    problem: str = ""


def biller_of(proposal: InvoiceProposal) -> Biller:
    """Which system bills a proposal today: the one that the routes of its sources lead to."""
    today = timezone.localdate()
    found = sql.billers(proposal.entity_id, sql.sources_of(proposal.pk), today)
    if not found:
        return Biller(
            None, {}, f"No route says which system bills the work of {proposal.entity}. Add a route of kind invoice."
        )
    if len(found) > 1:
        names = " and ".join(str(one) for one in Connection.objects.filter(pk__in=found))
        return Biller(None, {}, f"The work on it is billed by {names}. Let one route lead to the system that bills it.")
    connection = Connection.objects.get(pk=found[0])
    named = {
        "customer": ("customer", proposal.customer_id), "project": ("project", proposal.project_id),
        "entity": ("entity", proposal.entity_id),
    }  # fmt: skip
    known = keys_sql.keys_there(connection.connector, connection.realm, today, list(named.values()))
    keys = {name: known[f"{kind}:{pk}"] for name, (kind, pk) in named.items() if f"{kind}:{pk}" in known}
    if "customer" not in keys:
        return Biller(
            connection,
            keys,
            f"{connection} has no key for {proposal.customer}. Create the customer there, or add its key.",
        )
    return Biller(connection, keys)


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _money(proposal: InvoiceProposal, value: Decimal) -> str:
    return f"{figures.amount(value, proposal.currency)} {proposal.currency}"
