"""Causes that bills and payments bring: found when they are taken in, about the bill or the payment and about no entry alone."""

from __future__ import annotations

from reconciliation.rules.base import Rule


def _cause(code: str, title: str, subject: str, remedies: tuple[str, ...], cases: tuple[int, ...]) -> Rule:
    return Rule(
        code=code, title=title, subject=subject, waivable=False, remedies=remedies, cases=cases, can_be_off=False,
        leaves=frozenset(),
    )  # fmt: skip


BILLING: tuple[Rule, ...] = (
    _cause("hour-billed-twice", "An hour is billed a second time", "bill", ("credit-bill", "correct-bill"), (75, 106)),
    _cause("billed-line-unknown", "A line bills nothing of ours", "bill", ("correct-bill",), (85, 86, 109)),
    _cause("bill-changed", "A bill was changed in its system", "bill", ("decide-bill",), (79,)),
    _cause("bill-not-as-approved", "A bill is not what was approved", "bill", ("decide-bill",), (79,)),
    _cause("bill-deleted", "A bill was deleted in its system", "bill", ("decide-bill",), (80,)),
    _cause("void-with-payments", "A bill is void, and payments stand on it", "bill", ("unapply-payment",), (78,)),
    _cause("credit-without-hours", "A credit names no hours", "bill", ("name-hours",), (103, 104, 105)),
    _cause("credit-above-billed", "More is credited than was billed", "bill", ("correct-bill",), (90,)),
    _cause(
        "void-credit-rebilled", "A credit is void, and its hours are billed again", "bill", ("credit-bill",), (106, 108)
    ),
    _cause("bill-does-not-add-up", "The figures of a bill do not add up", "bill", ("correct-bill",), (88, 89)),
    _cause("duplicate-bill-number", "Two bills bear one number", "bill", ("correct-bill",), (81,)),
    _cause("bill-off-by-rate", "A bill is off since its rates changed", "bill", ("settle-difference",), (36,)),
    _cause("billed-work-taken-back", "A bill bills what is taken back", "bill", ("propose-credit",), (52, 107)),
    _cause("bill-overpaid", "More was paid than is owed", "bill", ("unapply-payment",), (95,)),
    _cause("balance-differs", "A bill's balance and its payments differ", "bill", ("read-payments",), (96, 97)),
    _cause(
        "credit-applied-elsewhere", "A credit settles another bill than it is of", "bill", ("re-apply-credit",), (99,)
    ),
    _cause("short-within-tolerance", "A bill is short by what may be written off", "bill", ("write-off",), (96,)),
    _cause("held-back-is-due", "What a customer held back is due", "bill", ("ask-for-it",), (102,)),
    _cause("payment-of-unknown-bill", "A payment settles a bill that is not known", "payment", ("read-bills",), (92,)),
    _cause("cash-unapplied", "Money that settles nothing", "payment", ("apply-payment",), (94, 95)),
    _cause(
        "payment-on-dead-bill", "A payment settles a draft or void bill", "payment", ("unapply-payment",), (78, 100)
    ),
)
