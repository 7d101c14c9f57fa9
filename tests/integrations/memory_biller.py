"""A system that bills and keeps its invoices in memory; it goes wrong on purpose. Its own books are the judge of twins."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from integrations.errors import ConnectorError
from integrations.http import Http
from integrations.protocol import Account, Capabilities, Drafting, Setting
from portal.models import Connection, LegalEntity
from portal.records import BillDraft, BillStatus, HeldDraft
from tests import world


@dataclass
class Bills:
    """What one account holds, in the order in which it came. `faults` strike one call each, in order."""

    made: list[tuple[str, BillDraft, HeldDraft]] = field(default_factory=list)
    faults: deque[Callable[[Bills, BillDraft], None] | None] = field(default_factory=deque)
    alter: Callable[[HeldDraft], HeldDraft] | None = None
    tax_percent: Decimal = Decimal(0)
    calls: int = 0

    def make(self, draft: BillDraft) -> str:
        """Make an invoice as told, without looking at keys: a second one is the sender's fault and shows."""
        number = str(501 + len(self.made))
        tax = (draft.net * self.tax_percent / 100).quantize(Decimal("0.01"))
        held = HeldDraft(
            number=number, bill_number=f"INV-{number}", status=BillStatus.DRAFT, customer=draft.customer,
            currency=draft.currency, purchase_order=draft.purchase_order, net=draft.net, tax=tax, total=draft.net + tax,
            count=len(draft.lines), lines={line.key: line.net for line in draft.lines},
        )  # fmt: skip
        self.made.append((draft.key, draft, held))
        return number


BILLS: dict[str, Bills] = {}


class MemoryBiller:
    """One account."""

    name = "memory-biller"
    settings: tuple[Setting, ...] = ()
    hosts: tuple[str, ...] = ()
    capabilities = Capabilities(concurrency=1, upstream_timeout=0.0)
    drafting = Drafting()

    def __init__(self, account: Account, http: Http) -> None:
        self.bills = BILLS.setdefault(account.code, Bills())

    def check(self) -> str:
        return "answers."

    def draft_body(self, draft: BillDraft) -> Any:
        return {
            "customer": draft.customer, "currency": draft.currency, "order": draft.purchase_order, "memo": draft.memo,
            "lines": [[line.key, line.description, line.quantity, line.unit_price, line.net] for line in draft.lines],
        }  # fmt: skip

    def make_draft(self, draft: BillDraft) -> str:
        self.bills.calls += 1
        fault = self.bills.faults.popleft() if self.bills.faults else None
        if fault is not None:
            fault(self.bills, draft)
        return self.bills.make(draft)

    def drafted(self, drafts: Sequence[BillDraft]) -> Mapping[str, HeldDraft]:
        wanted = {draft.key for draft in drafts}
        alter = self.bills.alter or (lambda held: held)
        return {key: alter(held) for key, _, held in self.bills.made if key in wanted}


def loses(error: ConnectorError, *, kept: bool) -> Callable[[Bills, BillDraft], None]:
    """A call that ends in an error, its invoice made or not."""

    def strike(bills: Bills, draft: BillDraft) -> None:
        if kept:
            bills.make(draft)
        raise error

    return strike


def altered(**changes: Any) -> Callable[[HeldDraft], HeldDraft]:
    """The system shows something else than it was handed."""
    return lambda held: replace(held, **changes)


def biller(owner: LegalEntity, code: str = "billing") -> Connection:
    """A system in memory that takes invoice drafts."""
    BILLS[code] = Bills()
    return world.connection(code, "memory-biller", owner, is_biller=True, realm="bills")
