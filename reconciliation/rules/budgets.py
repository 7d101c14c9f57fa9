"""Rules about what the customer agreed to pay: the not-to-exceed amount, the purchase order, and the hours of a retainer.

Hours that pass a limit are split by `validation`, so that the part below it goes and only the rest is held. These rules run
last: an entry that waits for another reason takes nothing of a limit.
"""

from __future__ import annotations

from decimal import Decimal

from portal import figures
from reconciliation import pricing
from reconciliation.facts.records import Draft
from reconciliation.facts.tables import Facts
from reconciliation.pricing import figure
from reconciliation.rules.base import TIME, Finding, rule


@rule(
    "purchase-order-missing",
    title="Purchase order is missing or expired",
    subject="contract",
    remedies=("add-purchase-order", "make-non-billable", "waive", "hand-back"),
    cases=(82,),
)
def purchase_order_missing(entry: Draft, facts: Facts) -> Finding | None:
    """Where the contract needs a purchase order, there is one on the work date, in the contract's currency."""
    contract, order = entry.contract, entry.purchase_order
    if contract is None or not entry.is_billable or not contract.requires_purchase_order:
        return None
    if order is not None and order.currency == contract.currency:
        return None
    expired = [known for known in facts.purchase_orders.get(contract.id, ()) if known.valid_to < entry.work_date]
    if order is not None:
        standing = (
            f"Purchase order {order.number} is in {order.currency}, contract {contract.code} in {contract.currency}"
        )
    elif expired:
        last = max(expired, key=lambda known: known.valid_to)
        standing = f"Purchase order {last.number} of contract {contract.code} expired on {last.valid_to}"
    else:
        standing = f"Contract {contract.code} needs a purchase order and has none"
    return Finding(
        sentence=f"{standing}; the work was on {entry.work_date}. Ask the customer for an order and add it.",
        subject_key=str(contract.id),
        cause=f"{standing}.",
        detail={"contract_id": contract.id},
    )


@rule(
    "purchase-order-exceeded",
    title="Purchase order is used up",
    subject="purchase_order",
    remedies=("raise-purchase-order", "make-non-billable", "waive", "hand-back"),
    cases=(82, 83),
)
def purchase_order_exceeded(entry: Draft, facts: Facts) -> Finding | None:
    """The entry's amount fits into what is left of the purchase order."""
    order = entry.purchase_order
    if order is None or not entry.is_billable or not entry.amount or entry.currency != order.currency:
        return None
    left = max(facts.left_of_purchase_order[order.id], Decimal(0))
    if entry.amount <= left:
        return None
    return Finding(
        sentence=f"{figure(entry.amount)} {entry.currency} pass purchase order {order.number}, of which {figure(left)} of "
        f"{figure(order.amount)} {order.currency} are left; raise the order, or do not bill the rest.",
        subject_key=str(order.id),
        cause=f"Purchase order {order.number} over {figure(order.amount)} {order.currency} is used up.",
        detail={
            "purchase_order_id": order.id,
            "contract_id": order.contract_id,
            "left": str(left),
            "value": str(entry.amount),
        },
    )


@rule(
    "cap-exceeded",
    title="Not-to-exceed amount is reached",
    subject="contract",
    remedies=("raise-cap", "make-non-billable", "waive", "hand-back"),
    cases=(83,),
)
def cap_exceeded(entry: Draft, facts: Facts) -> Finding | None:
    """The entry's amount fits into what is left of the contract's not-to-exceed amount."""
    contract = entry.contract
    if contract is None or contract.cap_amount is None or not entry.is_billable or not entry.amount:
        return None
    if entry.currency != contract.currency:
        return None
    left = max(facts.left_of_contract[contract.id], Decimal(0))
    if entry.amount <= left:
        return None
    return Finding(
        sentence=f"{figure(entry.amount)} {entry.currency} pass the not-to-exceed amount of contract {contract.code}, of which "
        f"{figure(left)} of {figure(contract.cap_amount)} {contract.currency} are left; agree a change, or do not bill the rest.",
        subject_key=str(contract.id),
        cause=f"The not-to-exceed amount of contract {contract.code} ({figure(contract.cap_amount)} {contract.currency}) is "
        "reached.",
        detail={"contract_id": contract.id, "left": str(left), "value": str(entry.amount)},
    )


@rule(
    "retainer-exceeded",
    title="Hours of the retainer are used up",
    subject="contract",
    remedies=("raise-retainer", "make-non-billable", "waive", "hand-back"),
    cases=(85,),
    kinds=TIME,
)
def retainer_exceeded(entry: Draft, facts: Facts) -> Finding | None:
    """Where the contract takes no hours beyond its retainer, the entry's fit into what is left of its month."""
    contract = entry.contract
    if contract is None or contract.retainer_hours is None or not entry.is_beyond or contract.overage != "rejected":
        return None
    month = entry.work_date.strftime("%B %Y")
    left = left_of_retainer(entry, facts) or Decimal(0)
    return Finding(
        sentence=f"{figures.hours(entry.hours or Decimal(0))} h on {figures.day(entry.work_date)} pass the retainer of contract "
        f"{contract.code}, of which {figures.hours(left)} of {figures.hours(contract.retainer_hours)} h are left in {month}, and "
        "the contract takes none beyond; agree more hours, or do not bill these.",
        subject_key=str(contract.id),
        cause=f"The {figures.hours(contract.retainer_hours)} h a month of retainer {contract.code} are used up.",
        detail={"contract_id": contract.id, "left": str(left), "value": str(entry.hours)},
    )


BUDGETS = (purchase_order_exceeded, cap_exceeded)


def left_of_retainer(entry: Draft, facts: Facts) -> Decimal | None:
    """How many hours the entry's retainer pays for yet in its month; None where it draws on none."""
    if entry.contract is None or not pricing.draws(entry):
        return None
    left = facts.left_of_retainer.get((entry.contract.id, entry.work_date.replace(day=1)))
    return None if left is None else max(left, Decimal(0))


def draw(entry: Draft, facts: Facts) -> None:
    """Count the entry's hours against its retainer."""
    if entry.contract is not None:
        facts.left_of_retainer[entry.contract.id, entry.work_date.replace(day=1)] -= entry.hours or Decimal(0)


def left_for(entry: Draft, facts: Facts) -> Decimal | None:
    """How much of the entry's amount fits into every limit that holds for it; None where none does."""
    contract, order = entry.contract, entry.purchase_order
    limits = []
    if (
        entry.is_billable
        and contract is not None
        and contract.cap_amount is not None
        and contract.currency == entry.currency
    ):
        limits.append(facts.left_of_contract[contract.id])
    if entry.is_billable and order is not None and order.currency == entry.currency:
        limits.append(facts.left_of_purchase_order[order.id])
    return max(min(limits), Decimal(0)) if limits else None


def take(entry: Draft, facts: Facts, amount: Decimal) -> None:
    """Count an amount that goes against the limits that hold for the entry, where they are in its currency."""
    contract, order = entry.contract, entry.purchase_order
    if contract is not None and contract.id in facts.left_of_contract and contract.currency == entry.currency:
        facts.left_of_contract[contract.id] -= amount
    if order is not None and order.id in facts.left_of_purchase_order and order.currency == entry.currency:
        facts.left_of_purchase_order[order.id] -= amount
