"""Bills that came of drafts beside what was approved: what somebody changed in the system before the customer got it.

The rule here: a bill is compared once its system says that it is final. What it bills otherwise is told until it bills what was
approved, or until two people agree to it as it is; work that was taken out of it stays taken until then, so that nothing is
proposed twice while a line may still come back.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

from django.db.models import Q

from portal import figures
from portal.models import Invoice
from reconciliation.billing import allocating, findings
from reconciliation.billing.planning import ZERO
from reconciliation.models import BillingDecision
from reconciliation.sql import billing as sql
from reconciliation.sql import invoicing as invoicing_sql
from reconciliation.sql.handed_over import DraftedLine, lines_of_drafts

RULE = "bill-not-as-approved"
Lines = Mapping[int, Sequence[sql.Line]]


class Strayed(NamedTuple):
    """What a bill says otherwise than was approved, in words, the money of that, and the lines of drafts that are not on it."""

    words: tuple[str, ...] = ()
    off_by: Decimal = ZERO
    left_out: tuple[int, ...] = ()


def compare(bills: Sequence[sql.Bill], lines: Lines) -> dict[int, Strayed]:
    """What invoices that count say otherwise than the drafts that they came of; those that say the same are left out.

    Two statements at most, whatever the number of bills. A draft in its system is not final, and is not compared.
    """
    asked = [
        bill for bill in bills if not bill.is_credit and bill.status != "draft" and bill.status not in findings.DEAD
    ]
    of = _drafted(asked, lines)
    found = {
        bill.id: strayed for bill in asked if bill.id in of and (strayed := _strayed(bill, lines, of[bill.id])).words
    }
    agreed_to = _agreed_to([bill for bill in asked if bill.id in found], lines) if found else {}
    return {bill_id: strayed for bill_id, strayed in found.items() if bill_id not in agreed_to}


def put_right(bills: Sequence[sql.Bill], lines: Lines) -> set[int]:
    """Bills that were not what was approved and now say what was: nobody has to decide about that change."""
    moved = [bill for bill in bills if bill.agreed_id != bill.current_id]
    if not moved or not (strayed := compare(moved, lines)):
        return set()
    asked = [as_stated(bill) for bill in moved if bill.id in strayed and bill.status not in findings.DEAD]
    return {bill.id for bill in asked} - compare(asked, lines).keys()


def give_back(bills: Sequence[sql.Bill], lines: Lines, dead: Collection[int]) -> int:
    """Give back the work of lines that are not on their bill where two people agreed to that, or where no bill counts any more.

    `dead` are invoices that no longer count. How many parts were given back. Joins the transaction, with proposals locked.
    """
    asked = [bill for bill in bills if not bill.is_credit and (bill.id in dead or bill.status not in findings.DEAD)]
    of = _drafted(asked, lines)
    over = {bill.id for bill in asked if bill.id in dead}
    alive = [bill for bill in asked if bill.id in of and bill.id not in over and _left_out(bill, lines, of[bill.id])]
    over |= _agreed_to(alive, lines).keys() if alive else set()
    ids = [line.line_id for bill in asked if bill.id in over for line in _left_out(bill, lines, of.get(bill.id, ()))]
    return invoicing_sql.give_back(line_ids=ids) if ids else 0


def as_stated(bill: sql.Bill) -> sql.Bill:
    """A bill as if what its system states now were agreed."""
    return bill._replace(
        agreed_id=bill.current_id, agreed_status=bill.status, agreed_number=bill.number, agreed_total=bill.total,
        agreed_currency=bill.currency, agreed_customer=bill.customer, agreed_customer_key=bill.customer_key,
    )  # fmt: skip


def strayed(bill: Invoice) -> Strayed:
    """What one invoice says otherwise than was approved, unless two people agreed to it; nothing where it is as approved."""
    if bill.agreed_id != bill.current_id or bill.kind != "invoice":
        return Strayed()
    bills = sql.bills([bill.pk])
    return compare(bills, sql.lines([bill.current_id])).get(bill.pk, Strayed())


def found(bill: sql.Bill, strayed: Strayed, decision: BillingDecision | None) -> findings.Finding:
    """The cause of a bill that is not what was approved."""
    asked = ""
    if decision is not None:
        what = "have it put right" if decision.choice == "restore" else "agree to it as it is"
        asked = f" {decision.by.get_full_name() or decision.by.get_username()} asked to {what}."
    return findings.made(
        bill, RULE,
        f"{bill.name} is not what was approved: {'; '.join(strayed.words)}. Put it right in its system, or agree to it as it is."
        f"{asked}",
        strayed.off_by,
        differences=list(strayed.words),
    )  # fmt: skip


def _drafted(bills: Sequence[sql.Bill], lines: Lines) -> dict[int, list[DraftedLine]]:
    """The lines of the drafts that each bill came of, or that stand on it."""
    on = {
        bill.id: {x.posting_key.lower() for x in lines.get(bill.agreed_id, ()) if allocating.is_key(x.posting_key)}
        for bill in bills
    }
    if not bills:
        return {}
    drafts: dict[int, list[DraftedLine]] = defaultdict(list)
    for line in lines_of_drafts(list(on), set().union(*on.values())):
        drafts[line.draft_id].append(line)
    of: dict[int, list[DraftedLine]] = defaultdict(list)
    for each in drafts.values():
        keys = {line.key for line in each}
        for bill_id, known in on.items():
            if each[0].bill_id == bill_id or keys & known:
                of[bill_id] += each
    return of


def _left_out(bill: sql.Bill, lines: Lines, drafted: Sequence[DraftedLine]) -> list[DraftedLine]:
    """Lines of its drafts that are neither on the bill nor on any other; what is billed is not taken any more."""
    on = {line.posting_key.lower() for line in lines.get(bill.agreed_id, ())}
    return [line for line in drafted if line.is_taken and line.key not in on]


def _strayed(bill: sql.Bill, lines: Lines, drafted: Sequence[DraftedLine]) -> Strayed:
    left_out = _left_out(bill, lines, drafted)
    told = list(_money(bill, lines.get(bill.agreed_id, ()), drafted, left_out))
    off_by = sum((off for _, off in told), ZERO)
    words = [words for words, _ in told]
    currencies = {line.currency for line in drafted}
    if bill.agreed_currency not in currencies:
        words.insert(0, f"it is in {bill.agreed_currency} where {' and '.join(sorted(currencies))} was approved")
        off_by = abs(bill.agreed_total)
    customers = {line.customer_id: line.customer for line in drafted}
    known = customers.keys() | {line.survivor_id for line in drafted}
    if bill.customer_id is not None and bill.customer_id not in known:
        words.insert(
            0, f"its customer is {bill.customer} where {' and '.join(sorted(customers.values()))} was approved"
        )
        off_by = abs(bill.agreed_total)
    return Strayed(tuple(words), off_by, tuple(line.line_id for line in left_out))


def _money(
    bill: sql.Bill, lines: Sequence[sql.Line], drafted: Sequence[DraftedLine], left_out: Sequence[DraftedLine]
) -> Iterator[tuple[str, Decimal]]:
    """What is billed more, less or not at all, in words with its money; a line that its system split counts as one."""
    approved = {line.key: line for line in drafted}
    billed: dict[str, list[sql.Line]] = defaultdict(list)
    for line in lines:
        key = line.posting_key.lower()
        billed[key if key in approved else f"line {line.key}"].append(line)
    for key, each in billed.items():
        net = sum((line.net for line in each), ZERO)
        where = f"line {' and '.join(str(line.position) for line in each)}"
        if key not in approved and net:
            yield f"{where}{_what(each[0].description)} over {_amount(bill, net)} was not approved", abs(net)
        elif key in approved and net != approved[key].net:
            off = abs(net - approved[key].net)
            yield f"{where} bills {_amount(bill, net)} where {_amount(bill, approved[key].net)} were approved", off
    for out in left_out:
        hours = f"{figures.hours(out.quantity)} h, " if out.quantity is not None else ""
        yield f"{out.what} ({hours}{_amount(bill, out.net)}) was approved and is on no bill", out.net


def _what(description: str) -> str:
    return f" ({description[:80]})" if description else ""


def _amount(bill: sql.Bill, value: Decimal) -> str:
    return f"{figures.amount(value, bill.agreed_currency)} {bill.agreed_currency}"


def _agreed_to(bills: Sequence[sql.Bill], lines: Lines) -> dict[int, BillingDecision]:
    """By bill, the decision by which somebody agreed to what it says now; payments since then do not matter."""
    decisions = list(
        BillingDecision.objects.filter(
            Q(needs_approval=False) | Q(approved_at__isnull=False),
            bill__in=[bill.id for bill in bills], choice=BillingDecision.Choice.ADOPT, outcome="",
        ).select_related("version")
    )  # fmt: skip
    if not decisions:
        return {}
    then = sql.lines(sorted({decision.version_id for decision in decisions}))
    known = {bill.id: bill for bill in bills}
    return {
        decision.bill_id: decision
        for decision in decisions
        if _says(then[decision.version_id]) == _says(lines.get(known[decision.bill_id].agreed_id, ()))
        and decision.version.currency == known[decision.bill_id].agreed_currency
        and decision.version.customer_key == known[decision.bill_id].agreed_customer_key
    }


def _says(lines: Sequence[sql.Line]) -> dict[str, object]:
    return {line.key: findings.content(line) for line in lines}
