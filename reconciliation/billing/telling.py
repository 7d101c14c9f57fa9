"""Who is told when a bill moves: the managers of the projects whose work stands on it, and the systems that subscribe to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from django.urls import reverse

from portal import access, changes_watch, figures, notifications
from portal.models import GrantRole, NotificationKind, User
from reconciliation.models import BillingDecision
from reconciliation.sql import billing as sql
from reconciliation.sql import invoicing as invoicing_sql

DEAD = frozenset({"voided", "deleted"})
WORDS = {
    "part_paid": "is paid in part",
    "paid": "is paid",
    "deleted": "is gone from its system; its hours stay billed until somebody decides about it",
    "written_off": "was written off, not paid",
}


def tell(
    bills: Sequence[sql.Bill], fresh: frozenset[int], payment_ids: Sequence[int], freed: Mapping[int, Decimal]
) -> int:
    """Tell project managers what became of bills that came with a new status, and what payments settle no longer.

    `freed` is the money of the work that is open again by this, by void bill: also where a payment stood on it until now.
    """
    moved = [
        b
        for b in bills
        if not b.is_credit
        and ((b.id in fresh and b.status in (*WORDS, "voided") and b.status != b.previous_status) or b.id in freed)
    ]
    off = sql.taken_off(payment_ids=payment_ids) if payment_ids else {}
    people = concerned([*(b.id for b in moved), *off])
    known = {bill.id: bill for bill in bills}
    notices = [
        _notice(bill, person_id, f"{bill.name} over {_total(bill)} {words}.", key)
        for bill in moved
        for words, key in [_became(bill, freed.get(bill.id))]
        for person_id in people.get(bill.id, ())
        if words
    ]
    notices += [
        _notice(
            known[bill_id], person_id, _lost(known[bill_id], one), f"payment:{one.payment_id}:{one.version}:{bill_id}"
        )
        for bill_id, each in off.items()
        if bill_id in known
        for one in each
        for person_id in people.get(bill_id, ())
    ]
    return notifications.notify_each(notices) if notices else 0


def off_balance(found: Sequence[tuple[sql.Bill, str]]) -> None:
    """Tell the analysts of a bill's entity that its balance is not what settles it; once for each balance that is stated."""
    people = {
        entity: list(access.holders(frozenset({GrantRole.ANALYST}), entity).values_list("pk", flat=True))
        for entity in {bill.entity_id for bill, _ in found}
    }
    notices = [
        _notice(bill, person_id, sentence, f"balance:{bill.id}:{bill.balance}:{bill.settled}")
        for bill, sentence in found
        for person_id in people[bill.entity_id]
    ]
    if notices:
        notifications.notify_each(notices)


def concerned(bill_ids: Sequence[int]) -> dict[int, set[int]]:
    """Who is told of bills: the managers of the projects whose work stands on them, and who released their proposals."""
    found = sql.managers_of(bill_ids)
    for bill_id, people in invoicing_sql.releasers_of(bill_ids).items():
        found.setdefault(bill_id, set()).update(people)
    return found


def _became(bill: sql.Bill, freed: Decimal | None) -> tuple[str, str]:
    """What became of a bill in words, and the key of that notice; of a deleted one, who decided about it is told otherwise."""
    key = f"bill:{bill.id}:{bill.status}"
    if bill.status != "voided":
        is_told = freed is not None or (bill.status == "deleted" and bill.previous_status == "voided")
        return "" if is_told else WORDS[bill.status], key
    if freed:
        money = f"{figures.amount(freed, bill.agreed_currency)} {bill.agreed_currency}"
        return f"was voided; work worth {money} is to be billed again", f"{key}:open"
    if bill.cash > 0:
        return "was voided while a payment stands on it; its hours are not open again", key
    return "was voided; nothing of ours stood billed on it", key


def _lost(bill: sql.Bill, off: sql.TakenOff) -> str:
    """What a payment no longer settles of a bill, and what is open of it by that."""
    stands = f"which is {bill.status}"
    if bill.status not in DEAD:
        left = figures.amount(max(bill.total - bill.settled, Decimal(0)), bill.currency)
        stands = f"of which {left} {bill.currency} are open"
        if bill.status == "paid":
            stands += ", although its system still says that it is paid"
    return f"{off.became}: {figures.amount(off.amount, bill.currency)} {bill.currency} no longer settle {bill.name}, {stands}."


def waits(decision: BillingDecision, by: User) -> None:
    """A decision opens hours that stand billed: the controllers agree to it, or refuse."""
    people = access.holders(access.APPROVERS, decision.bill.entity_id)
    _tell(
        people,
        decision,
        f"{by.get_username()} asks: {_asked(decision)}. It waits for a second person.",
        by,
        NotificationKind.APPROVAL,
    )


def agreed(decision: BillingDecision, by: User, effect: str) -> None:
    """A second person agreed: who asked is told what follows, and the project managers, whose work it is."""
    notifications.answered(reverse("bill", args=[decision.bill_id]))
    _tell(
        {decision.by_id, *concerned([decision.bill_id]).get(decision.bill_id, ())},
        decision,
        f"{by.get_username()} agreed: {_asked(decision)}. {effect}",
        by,
    )


def ended(decision: BillingDecision, by: User) -> None:
    """A decision was refused or withdrawn: who made it is told why."""
    notifications.answered(reverse("bill", args=[decision.bill_id]))
    said = f"{by.get_username()} {'refused' if decision.outcome == 'refused' else 'withdrew'}: {_asked(decision)}."
    _tell([decision.by_id], decision, f"{said} {decision.ended_because}", by)


def _asked(decision: BillingDecision) -> str:
    return f"{decision.bill}, {decision.get_choice_display().lower()}"


def _tell(
    people: Iterable[User | int],
    decision: BillingDecision,
    subject: str,
    by: User,
    kind: NotificationKind = NotificationKind.BILLING,
) -> None:
    notifications.notify(
        people, kind, subject, url=reverse("bill", args=[decision.bill_id]), entity=decision.bill.entity_id, by=by,
        key=f"bill-decision:{decision.pk}:{decision.outcome}",
    )  # fmt: skip


def leave_word(bill_ids: Sequence[int], payment_ids: Sequence[int]) -> None:
    """Leave word for whoever owes systems how bills and payments stand (`reconciliation.publishing`), as entries of their own."""
    changes_watch.note("bill", bill_ids)
    changes_watch.note("payment", payment_ids)


def _notice(bill: sql.Bill, person_id: int, sentence: str, key: str) -> notifications.Notice:
    return notifications.Notice(
        person_id=person_id,
        kind=NotificationKind.BILLING,
        subject=sentence,
        url=reverse("bill", args=[bill.id]),
        entity_id=bill.entity_id,
        key=key,
    )


def _total(bill: sql.Bill) -> str:
    return f"{figures.amount(bill.total, bill.currency)} {bill.currency}"
