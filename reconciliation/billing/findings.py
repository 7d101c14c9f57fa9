"""What does not tie on a bill or a payment, in words that finance reads; and the cases that stand for it.

The rule here: a finding names the amounts, what was expected and the way out. It stands while it is found and no longer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from portal import figures, money
from reconciliation import cases, taken_back
from reconciliation.billing import shortness
from reconciliation.billing.planning import Problem
from reconciliation.models import BillingDecision
from reconciliation.policies import Policy
from reconciliation.rules import BILLED
from reconciliation.sql import billing as sql
from reconciliation.sql.taken_back import TakenBack

DEAD = frozenset({"voided", "deleted"})


@dataclass(frozen=True, slots=True)
class Finding:
    """One cause about one bill or payment."""

    rule: str
    subject: tuple[str, str]  # "bill" or "payment", and its id
    entity_id: int
    connection_id: int
    sentence: str
    detail: dict[str, Any] = field(default_factory=dict)
    at_stake: cases.AtStake | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What is known about one bill beside itself."""

    lines: Sequence[sql.Line]
    problems: Sequence[Problem]
    differences: Sequence[str]
    decision: BillingDecision | None
    others: Sequence[str]  # live bills of the same number
    policy: Policy
    changed_by: Decimal = Decimal(0)  # the money by which its lines and total differ from what was agreed
    owed: Sequence[sql.Owed] = ()  # differences that somebody agreed to when rates changed in the past
    back: Sequence[TakenBack] = ()  # what of it the books take back
    credits: Sequence[sql.AppliedCredit] = ()  # of other bills, that settle it
    customer: str = ""  # our code


def of_bill(bill: sql.Bill, about: About) -> Iterator[Finding]:
    """Everything that is wrong with one bill."""
    by_rule: dict[str, list[Problem]] = defaultdict(list)
    for problem in about.problems:
        by_rule[problem.rule].append(problem)
    for rule, found in by_rule.items():
        said = " ".join(problem.sentence for problem in found[:5])
        about_lines = {problem.line.key: problem.line for problem in found if problem.line is not None}
        at_stake = sum((abs(line.net) for line in about_lines.values()), Decimal(0))
        yield made(
            bill,
            rule,
            f"{bill.name}: {said}{_more(len(found) - 5)}",
            at_stake or abs(bill.total),
            lines=list(about_lines),
        )
    if bill.status == "deleted" and bill.agreed_id != bill.current_id:
        stays = "What it gave back may be billed again" if bill.is_credit else "Its hours stay billed"
        yield made(
            bill,
            "bill-deleted",
            f"{bill.name} over {_money(bill, bill.agreed_total)} is gone from its system. {stays} until somebody "
            f"decides{_decided(about.decision)}.",
            abs(bill.agreed_total),
        )
    elif about.differences:
        yield made(
            bill,
            "bill-changed",
            f"{bill.name} was changed in its system: {'; '.join(about.differences)}. Adopt it, restore it or correct it by a "
            f"credit note{_decided(about.decision, is_gone=False)}.",
            about.changed_by,
            differences=list(about.differences),
        )
    if bill.status in DEAD and bill.cash > 0:
        yield made(
            bill,
            "void-with-payments",
            f"{bill.name} is {bill.status}, and {_money(bill, bill.cash)} that were paid stand on it. Its hours are not open "
            "again: take the payment off it, or credit it instead.",
            bill.cash,
        )
    if bill.status not in DEAD:
        yield from _figures(bill, about)
        yield from of_shortness(bill, about.policy, about.customer)
        if about.credits and not about.policy.credits_applied_by_system:
            yield _applied_elsewhere(bill, about.credits)


def _figures(bill: sql.Bill, about: About) -> Iterator[Finding]:
    wrong = list(_sums(bill, about.lines, about.policy))
    if wrong:
        said = "; ".join(words for words, _ in wrong)
        yield made(
            bill, "bill-does-not-add-up", f"{bill.name}: {said}. The figures are kept as they were booked.",
            max(off for _, off in wrong),
        )  # fmt: skip
    if about.others:
        yield made(
            bill,
            "duplicate-bill-number",
            f"{bill.name} bears the number of {', '.join(about.others)} as well. Have one of them numbered anew in its system; "
            "the hours are untouched.",
            max(bill.total - bill.settled, Decimal(0)),
        )
    yield from of_rates(bill, about.owed)
    if about.back:
        cause = taken_back.found(bill, about.back)
        yield Finding(
            cause.rule, ("bill", str(bill.id)), bill.entity_id, bill.connection_id, cause.sentence, dict(cause.detail),
            cause.at_stake,
        )  # fmt: skip
    if not bill.is_credit and bill.settled > bill.total:
        yield made(
            bill,
            "bill-overpaid",
            f"{bill.name} over {_money(bill, bill.total)} is settled by {_money(bill, bill.settled)}; "
            f"{_money(bill, bill.settled - bill.total)} are the customer's credit.",
            bill.settled - bill.total,
            is_to_come=False,
        )


def of_rates(bill: sql.Bill, owed: Sequence[sql.Owed]) -> Iterator[Finding]:
    """A bill that was written at rates of which others were agreed for its days since, until that is made up for."""
    yield from (_off(bill, one) for one in owed if one.left)


def _off(bill: sql.Bill, owed: sql.Owed) -> Finding:
    left = f"{figures.amount(abs(owed.left), owed.currency)} {owed.currency}"
    way = "to be credited" if owed.left < 0 else "to be invoiced besides"
    count = "1 entry" if owed.entries == 1 else f"{owed.entries:,} entries"
    return made(
        bill,
        "bill-off-by-rate",
        f"{bill.name} bills {count} at rates that changed since ({owed.because}): {left} are {way}.",
        abs(owed.left),
        bundle_id=owed.bundle_id,
        amount=str(abs(owed.left)),
        currency=owed.currency,
    )


def _sums(bill: sql.Bill, lines: Sequence[sql.Line], policy: Policy) -> Iterator[tuple[str, Decimal]]:
    """What of a bill does not add up, in words, and by how much."""
    net = sum((line.net for line in lines), Decimal(0))
    if lines and net != bill.net:
        yield f"its lines come to {_money(bill, net)} and its net is {_money(bill, bill.net)}", abs(net - bill.net)
    if bill.net + bill.tax != bill.total:
        words = f"{_money(bill, bill.net)} and {_money(bill, bill.tax)} of tax are not {_money(bill, bill.total)}"
        yield words, abs(bill.net + bill.tax - bill.total)
    for line in lines:
        if line.tax is None or line.tax_rate is None:
            continue
        due = money.round_money(line.net * line.tax_rate / 100, bill.currency)
        if abs(due - line.tax) > policy.tax_tolerance:
            yield (
                f"line {line.position} carries {_money(bill, line.tax)} of tax where {figures.exact(line.tax_rate)} % of "
                f"{_money(bill, line.net)} are {_money(bill, due)}",
                abs(due - line.tax),
            )


def _applied_elsewhere(bill: sql.Bill, found: Sequence[sql.AppliedCredit]) -> Finding:
    """A credit that its system put on another bill than it was given for; nobody here decided that."""
    said = " and ".join(
        f"{_money(bill, one.amount)} of {one.credit}, "
        + (f"which is a credit of {one.of}" if one.of else "which is the customer's balance")
        for one in found[:5]
    )
    return made(
        bill,
        "credit-applied-elsewhere",
        f"{bill.name} is settled by {said}{_more(len(found) - 5) or '.'} Its system applied it by itself. Apply it to the bill "
        "that it is of, or agree in the policy of the entity that the system applies credits.",
        sum((one.amount for one in found), Decimal(0)),
        is_to_come=False,
        amount=str(sum((one.amount for one in found), Decimal(0))),
    )


def of_shortness(bill: sql.Bill, policy: Policy, customer: str) -> Iterator[Finding]:
    """What a payment left open: held back as agreed until its day, or so little that it is written off by its reason.

    What is more than that is neither: the bill stays paid in part.
    """
    short = shortness.of(shortness.Open(bill.total, bill.settled, bill.currency, bill.booked_on, customer), policy)
    if bill.is_credit or bill.status not in ("open", "part_paid") or not bill.settled or short is None:
        return
    if short.is_due:
        yield made(
            bill, "held-back-is-due",
            f"{bill.customer or 'The customer'} holds {_money(bill, short.held_back)} of {bill.name} back, as agreed; it was due "
            f"on {figures.day(short.due_on)}. Ask for it.",
            short.held_back,
        )  # fmt: skip
    if short.reasons and short.rest > 0:
        fitting = " or ".join(
            f"{reason.replace('_', ' ')} (account {account or 'not said'})" for reason, account in short.reasons
        )
        yield made(
            bill, "short-within-tolerance",
            f"{bill.name} over {_money(bill, bill.total)} is short by {_money(bill, short.rest)}, which may be written off as "
            f"{fitting}. Until it is, the bill stays paid in part.",
            short.rest,
            reasons=[reason for reason, _ in short.reasons],
        )  # fmt: skip


def of_balance(bill: sql.Bill, policy: Policy, taken_off: Sequence[sql.TakenOff] = ()) -> Finding | None:
    """A balance that its system states and its payments do not explain; asked once payments had time to arrive.

    By how much it may differ without being a cause the entity's policy says.
    """
    if bill.balance is None or bill.status in DEAD or bill.status == "draft" or bill.settled > bill.total:
        return None
    expected = bill.total - bill.settled
    if abs(bill.balance - expected) <= policy.balance_amount:
        return None
    return made(
        bill,
        "balance-differs",
        f"{bill.name} over {_money(bill, bill.total)} has {_money(bill, bill.balance)} open in its system, and what is known to "
        f"settle it leaves {_money(bill, expected)}. {_why_off(bill, taken_off)}",
        abs(bill.balance - expected),
    )


def _why_off(bill: sql.Bill, taken_off: Sequence[sql.TakenOff]) -> str:
    """Why a balance may be off, and the way out."""
    if not taken_off or (bill.balance or 0) >= bill.total - bill.settled:
        return (
            "A payment, a credit or a write-off has not arrived here or was applied elsewhere, or money was given back. Read its "
            "payments again, or have them applied in its system."
        )
    said = " ".join(f"{one.became}, which took {_money(bill, one.amount)} off it." for one in taken_off[:5])
    return (
        f"{said}{_more(len(taken_off) - 5)} Money that was given back or never came is asked for again: have it paid by another "
        "payment, or have its balance put right in its system."
    )


def of_payment(payment: sql.PaymentRow) -> Iterator[Finding]:
    """Everything that is wrong with one payment."""
    if payment.status != "received":
        return
    if payment.unknown:
        are = "is" if len(payment.unknown) == 1 else "are"
        yield _paid(
            payment,
            "payment-of-unknown-bill",
            f"{payment.name} settles {', '.join(payment.unknown)}, which {are} not known here; the part is kept and tied when it "
            "arrives.",
            payment.unknown_amount,
        )
    if payment.unpayable:
        yield _paid(
            payment,
            "payment-on-dead-bill",
            f"{payment.name} stands on {', '.join(payment.unpayable)}. Take it off there, or apply it to the bill that it is "
            "for.",
            payment.unpayable_amount,
        )
    left = payment.unapplied
    if left is None and not payment.is_across_currencies:  # else what it settles is in other money than it is
        left = payment.amount - payment.applied
    if left is not None and left > 0:
        yield _paid(
            payment,
            "cash-unapplied",
            f"{payment.name} of {payment.customer or 'an unknown customer'} over "
            f"{figures.amount(payment.amount, payment.currency)} {payment.currency} leaves "
            f"{figures.amount(left, payment.currency)} {payment.currency} that settle nothing yet.",
            left,
        )


def keep(found: Sequence[Finding], subjects: Sequence[tuple[str, str]], rules: Sequence[str] = ()) -> tuple[int, int]:
    """Open the cases of what was found about these subjects, and close those whose cause is gone; how many of each."""
    asked = sorted(rules or (BILLED - {"balance-differs"}))
    standing = sql.open_cases(asked, subjects)
    wanted = {(f.rule, *f.subject): f for f in found}
    opened = cases.raise_each(
        [
            cases.Found(f.rule, f.entity_id, *f.subject, f.sentence, f.detail, f.connection_id, f.at_stake)
            for f in wanted.values()
        ]
    )
    gone = [case_id for cause, case_id in standing.items() if cause not in wanted]
    cases.close(gone, reason="The bill or payment is in order again.")
    return len(opened), len(gone)


def differences(bill: sql.Bill, lines: Mapping[int, Sequence[sql.Line]]) -> list[str]:
    """What its system changed of a bill since we agreed to it, in words; empty where nothing that was billed changed."""
    if bill.agreed_id == bill.current_id or bill.agreed_status == "draft" or bill.status in DEAD:
        return []
    said = []
    if bill.agreed_number and bill.number != bill.agreed_number:
        said.append(f"its number was {bill.agreed_number} and is {bill.number or 'none'}")
    if bill.currency != bill.agreed_currency:
        said.append(f"its currency was {bill.agreed_currency} and is {bill.currency}")
    if bill.customer_key != bill.agreed_customer_key:
        was, now = bill.agreed_customer or bill.agreed_customer_key, bill.customer or bill.customer_key
        said.append(f"its customer was {was or 'none'} and is {now or 'none'}")
    if bill.total != bill.agreed_total:
        was = f"{figures.amount(bill.agreed_total, bill.agreed_currency)} {bill.agreed_currency}"
        said.append(f"its total was {was} and is {_money(bill, bill.total)}")
    before = {line.key: content(line) for line in lines.get(bill.agreed_id, ())}
    after = {line.key: content(line) for line in lines.get(bill.current_id, ())}
    places = {
        line.key: line.position for version in (bill.agreed_id, bill.current_id) for line in lines.get(version, ())
    }
    for key in sorted(before.keys() | after.keys(), key=lambda key: places[key]):
        if key not in after:
            said.append(f"line {places[key]} is gone")
        elif key not in before:
            said.append(f"line {places[key]} is new")
        elif before[key] != after[key]:
            said.append(f"line {places[key]} is another")
    return said


def changed_by(bill: sql.Bill, lines: Mapping[int, Sequence[sql.Line]]) -> Decimal:
    """The money by which a bill differs from what was agreed: all of it where its currency or customer is another.

    Else what its lines bill more or less, whichever is more, and at least by what its total changed.
    """
    if bill.currency != bill.agreed_currency or bill.customer_key != bill.agreed_customer_key:
        return abs(bill.agreed_total)
    was, now = ({line.key: line.net for line in lines.get(one, ())} for one in (bill.agreed_id, bill.current_id))
    steps = [now.get(key, Decimal(0)) - was.get(key, Decimal(0)) for key in was.keys() | now.keys()]
    more = sum((step for step in steps if step > 0), Decimal(0))
    less = -sum((step for step in steps if step < 0), Decimal(0))
    return max(more, less, abs(bill.total - bill.agreed_total))


def content(line: sql.Line) -> tuple[Any, ...]:
    """What of a line says what it bills."""
    return (line.posting_key, line.posting_number, line.milestone_key, line.quantity, line.net)


def made(
    bill: sql.Bill, rule: str, sentence: str, at_stake: Decimal, *, is_to_come: bool = True, **detail: Any
) -> Finding:
    """A cause about a bill; `at_stake` is the money that it is about, in the currency of the bill as it was agreed."""
    stake = cases.AtStake(at_stake, bill.agreed_currency or bill.currency, bill.customer_id, is_to_come)
    about = {"bill_id": bill.id, "number": bill.number, "amount": str(bill.total), "currency": bill.currency, **detail}
    return Finding(rule, ("bill", str(bill.id)), bill.entity_id, bill.connection_id, sentence, about, stake)


def _paid(payment: sql.PaymentRow, rule: str, sentence: str, at_stake: Decimal) -> Finding:
    """Money that came in and is not where it belongs: it is told, and is no cash at risk."""
    about = {
        "payment_id": payment.id,
        "number": payment.number,
        "amount": str(payment.amount),
        "currency": payment.currency,
    }
    stake = cases.AtStake(at_stake, payment.currency, payment.customer_id, is_to_come=False)
    return Finding(rule, ("payment", str(payment.id)), payment.entity_id, payment.connection_id, sentence, about, stake)


def _decided(decision: BillingDecision | None, *, is_gone: bool = True) -> str:
    if decision is None:
        return ""
    words = {
        "restore": "asked to have it restored",
        "recreate": "asked to have it made anew",
        "correct": "chose to correct it by a credit note",
        "adopt": "asked to go by that it is gone"
        if is_gone
        else "asked to adopt it"
        if decision.needs_approval
        else "adopted it",
    }
    waits = (
        ", which a second person has to agree to" if decision.needs_approval and decision.approved_at is None else ""
    )
    return f"; {decision.by.get_username()} {words[decision.choice]}{waits}"


def _more(count: int) -> str:
    return f" … and {count} more." if count > 0 else ""


def _money(bill: sql.Bill, value: Decimal) -> str:
    return f"{figures.amount(value, bill.currency)} {bill.currency}"
