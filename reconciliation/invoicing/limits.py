"""What stops a proposal before it becomes a draft, each in a sentence with what is left and the way out.

The rule here: a limit is asked before the draft and not after it. What a proposal takes counts against the limit while it is
open, so that two proposals never use the same rest; `reconciliation.budgets` says what is left.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from django.utils import timezone

from portal import figures
from portal.models import Connection, Contract, Customer, InvoiceProposal, ProposalState
from reconciliation import budgets
from reconciliation.budgets import Budget
from reconciliation.invoicing import unbillable
from reconciliation.sql import invoicing as sql
from reconciliation.sql import publishing as keys_sql
from reconciliation.sql import unbillable as unbillable_sql

ZERO = Decimal(0)
TOLD = 5  # of what spoils a proposal, in one sentence
TAKING = (ProposalState.OPEN, ProposalState.RELEASED, ProposalState.APPROVED, ProposalState.HANDED_OVER)


@dataclass(frozen=True, slots=True)
class Blocker:
    """One thing that stops a proposal: its code, in words, and who has to act."""

    code: str
    words: str
    who: str


def blockers(proposal: InvoiceProposal) -> list[Blocker]:
    """Everything that stops a proposal from being released or approved; a fixed number of statements."""
    return [*_content(proposal), *_order(proposal), *_passed(proposal), *_customer(proposal)]


def _content(proposal: InvoiceProposal) -> Iterator[Blocker]:
    spoilt = list(dict.fromkeys(unbillable.words(part) for part in unbillable_sql.on_proposal(proposal.pk)))
    if spoilt:
        more = f"; and {len(spoilt) - TOLD} more" if len(spoilt) > TOLD else ""
        yield Blocker(
            "outdated", f"{'; '.join(spoilt[:TOLD])}{more}. {_anew(proposal)}", "the project's manager or finance"
        )
    for period, hours in unbillable_sql.without_rate(proposal.pk):
        yield Blocker(
            "NO_RATE",
            f"{figures.hours(hours)} h of {proposal.project.code} in {period} have no rate, so the invoice would lack them. "
            "Agree the rate and add it to the rate card, then prepare the proposal anew.",
            "finance",
        )
    if off := unbillable_sql.taken_off(proposal.pk):
        more = f", and {len(off) - TOLD} more" if len(off) > TOLD else ""
        much = figures.amount(abs(sum((one.amount for one in off), ZERO)), proposal.currency)
        yield Blocker(
            "TAKEN_OFF",
            f"{', '.join(unbillable.correction(one) for one in off[:TOLD])}{more} were taken off by corrections that stand in "
            f"the books and on no invoice, so the customer would be asked for {much} {proposal.currency} too much. "
            f"{unbillable.CORRECTED}",
            "finance",
        )
    if not proposal.lines.filter(held_by=None).exists():
        yield Blocker("empty", "Every line is on hold, so nothing is left to bill.", "the project's manager")


def _anew(proposal: InvoiceProposal) -> str:
    """The way out of a proposal that bills what may not be billed any more."""
    if proposal.state == ProposalState.OPEN:
        return "Prepare the proposal anew: it is left out until that is over."
    return "Send the proposal back and prepare it anew: it is left out until that is over."


def _order(proposal: InvoiceProposal) -> Iterator[Blocker]:
    contract, order = proposal.contract, proposal.purchase_order
    if order is None:
        if contract is not None and contract.requires_purchase_order and _is_of(contract, proposal):
            yield Blocker("PO_REQUIRED", _no_order(contract, proposal), "finance")
        return
    if order.currency != proposal.currency:
        yield Blocker(
            "PO_REQUIRED",
            f"Purchase order {order.number} is in {order.currency}, the invoice in {proposal.currency}. Ask for another order.",
            "finance",
        )
    for count, first, last in sql.outside_order(proposal.pk):
        until = f" to {figures.day(order.valid_to)}" if order.valid_to else " on"
        days = figures.day(first) if first == last else f"{figures.day(first)} to {figures.day(last)}"
        yield Blocker(
            "PO_EXPIRED",
            f"Purchase order {order.number} is valid from {figures.day(order.valid_from)}{until}, and "
            f"{'1 thing' if count == 1 else f'{count:,} things'} on the invoice {'is' if count == 1 else 'are'} of {days}. "
            "Ask the customer to prolong it, or hold the lines.",
            "finance",
        )


def _is_of(contract: Contract, proposal: InvoiceProposal) -> bool:
    """Whether a proposal is for the contract's own customer, or for who pays alone: who only shares the work gives no order."""
    own = contract.customer
    return len(contract.shares) < 2 or proposal.customer_id in (own.pk, own.merged_into_id)


def _no_order(contract: Contract, proposal: InvoiceProposal) -> str:
    last = contract.purchase_orders.filter(currency=proposal.currency).order_by("-valid_from").first()
    known = ""
    if last is not None and last.valid_to is not None and last.valid_to < timezone.localdate():
        known = f" Order {last.number} expired on {figures.day(last.valid_to)}."
    return (
        f"Contract {contract.code} needs a purchase order in {proposal.currency} and none is on this work.{known} Ask the "
        "customer for one, add it and prepare the proposal anew."
    )


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit that a proposal counts against, and what the proposal itself takes of it."""

    code: str
    name: str
    words: str
    budget: Budget
    takes: Decimal
    way_out: str
    who: str

    @property
    def left(self) -> Decimal:
        """What is left to bill before the proposal."""
        return self.rest + self.takes

    @property
    def rest(self) -> Decimal:
        """What is left to bill after it."""
        return self.budget.to_bill

    @property
    def beside(self) -> str:
        """What stands under it in other currencies."""
        return " and ".join(f"{figures.amount(amount, code)} {code}" for code, amount in self.budget.beside)


def limits_of(proposal: InvoiceProposal) -> list[Limit]:
    """The purchase order and the not-to-exceed amount that a proposal counts against."""
    contract, order = proposal.contract, proposal.purchase_order
    found: list[Limit] = []
    if order is not None:
        found.append(
            Limit(
                "PO_EXCEEDED", f"Order {order.number}", f"purchase order {order.number}", budgets.of_orders([order])[order.pk],
                _takes(proposal, order.currency), "Ask for a higher order, or hold lines.", "finance",
            )
        )  # fmt: skip
    if contract is not None and contract.cap_amount is not None:
        found.append(
            Limit(
                "CAP_EXCEEDED", "Not to exceed", f"the not-to-exceed amount of contract {contract.code}",
                budgets.of_contracts([contract])[contract.pk], _takes(proposal, contract.currency),
                "Agree a change, or hold lines.", "the project's manager",
            )
        )  # fmt: skip
    return found


def _takes(proposal: InvoiceProposal, currency: str) -> Decimal:
    """What a proposal takes of a limit in this currency, once it is not billed or given up."""
    return proposal.net if proposal.state in TAKING and proposal.currency == currency else ZERO


def _passed(proposal: InvoiceProposal) -> Iterator[Blocker]:
    for limit in limits_of(proposal):
        budget = limit.budget
        if limit.takes > limit.left:
            left = f"{figures.amount(max(limit.left, ZERO), budget.currency)} {budget.currency}"
            beside = f" Beside it stand {limit.beside}, which do not count." if limit.beside else ""
            yield Blocker(
                limit.code,
                f"{_money(proposal, proposal.net)} pass {limit.words}, of which {left} of "
                f"{figures.amount(budget.agreed, budget.currency)} {budget.currency} are left to bill.{beside} {limit.way_out}",
                limit.who,
            )


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


def _money(proposal: InvoiceProposal, value: Decimal) -> str:
    return f"{figures.amount(value, proposal.currency)} {proposal.currency}"
