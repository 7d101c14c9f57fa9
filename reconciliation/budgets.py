"""What is left of a not-to-exceed amount or of a purchase order, told in one way wherever it is shown.

The rule here: two things are left of a limit, and each is named. **Left to work** is what was agreed less what was delivered,
work on the ledger and milestones that are signed or billed: by it work is let through. **Left to bill** is what was agreed less
what stands on bills and what proposals take: by it an invoice is let through. Both count what is in the limit's currency.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from decimal import Decimal

from portal import figures
from portal.models import Contract, PurchaseOrder
from reconciliation.sql import budgets as sql
from reconciliation.sql import master_data

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Budget:
    """A limit and what is used of it; `beside` is what of it stands in other currencies, which does not count."""

    name: str
    agreed: Decimal
    currency: str
    delivered: Decimal
    billed: Decimal
    proposed: Decimal
    beside: tuple[tuple[str, Decimal], ...]

    @property
    def to_work(self) -> Decimal:
        """What may still be worked."""
        return self.agreed - self.delivered

    @property
    def to_bill(self) -> Decimal:
        """What may still be proposed."""
        return self.agreed - self.billed - self.proposed

    @property
    def words(self) -> str:
        """Both, in words: "213,947.50 USD to work and 198,272.50 USD to bill of the maximum of 250,000.00 USD"."""
        work, bill, agreed = (
            f"{figures.amount(value, self.currency)} {self.currency}"
            for value in (self.to_work, self.to_bill, self.agreed)
        )
        return f"{work} to work and {bill} to bill of {self.name}, {agreed}"


def of_contracts(contracts: Iterable[Contract]) -> dict[int, Budget]:
    """The not-to-exceed amounts of those contracts that have one, by contract; two statements."""
    capped = {one.pk: one for one in contracts if one.cap_amount is not None}
    delivered, used = master_data.spent_under_contracts(sorted(capped), []), sql.used_of_contracts(capped)
    return {
        pk: _budget("the maximum", one.cap_amount or ZERO, one.currency, delivered.get(pk, ZERO), used.get(pk, ()))
        for pk, one in capped.items()
    }


def of_orders(orders: Iterable[PurchaseOrder]) -> dict[int, Budget]:
    """Purchase orders, by order; two statements."""
    known = {one.pk: one for one in orders}
    contracts = {one.contract_id for one in known.values()}
    delivered, used = master_data.spent_under_purchase_orders(sorted(known), []), sql.used_of_orders(contracts, known)
    return {
        pk: _budget(f"order {one.number}", one.amount, one.currency, delivered.get(pk, ZERO), used.get(pk, ()))
        for pk, one in known.items()
    }


def _budget(
    name: str, agreed: Decimal, currency: str, delivered: Decimal, used: Collection[tuple[str, Decimal, Decimal]]
) -> Budget:
    own = next(((billed, proposed) for code, billed, proposed in used if code == currency), (ZERO, ZERO))
    beside = tuple(
        (code, billed + proposed) for code, billed, proposed in used if code != currency and billed + proposed
    )
    return Budget(name, agreed, currency, delivered, *own, beside)
