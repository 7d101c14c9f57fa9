"""Who is told when a bill moves: the managers of the projects whose work stands on it, and the systems that subscribe to it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from django.urls import reverse

from portal import access, changes_watch, figures, notifications
from portal.models import NotificationKind, User
from reconciliation.models import BillingDecision
from reconciliation.sql import billing as sql

WORDS = {
    "part_paid": "is paid in part",
    "paid": "is paid",
    "voided": "was voided; its hours are to be billed again",
    "voided-and-paid": "was voided while a payment stands on it; its hours are not open again",
    "deleted": "is gone from its system",
    "written_off": "was written off, not paid",
}


def tell(bills: Sequence[sql.Bill], fresh: frozenset[int], payment_ids: Sequence[int]) -> int:
    """Tell project managers what became of bills that came with a new status, and of payments that were taken back."""
    moved = {
        b.id: b
        for b in bills
        if b.id in fresh and not b.is_credit and b.status in WORDS and b.status != b.previous_status
    }
    bounced = [p for p in sql.payments(payment_ids) if p.status != "received" and p.previous_status == "received"]
    of_bounced = sql.settled_by([p.id for p in bounced])
    managers = sql.managers_of([*moved, *(bill_id for ids in of_bounced.values() for bill_id in ids)])
    known = {bill.id: bill for bill in bills}
    notices = [
        _notice(
            bill, manager_id, f"{bill.name} over {_total(bill)} {WORDS[_what(bill)]}.", f"bill:{bill.id}:{bill.status}"
        )
        for bill in moved.values()
        for manager_id in managers.get(bill.id, ())
    ]
    for payment in bounced:
        for bill in (known[bill_id] for bill_id in of_bounced.get(payment.id, ()) if bill_id in known):
            sentence = f"{payment.name} on {bill.name} was {payment.status}; the amount is open again."
            notices += [
                _notice(bill, manager_id, sentence, f"payment:{payment.id}:{payment.status}")
                for manager_id in managers.get(bill.id, ())
            ]
    return notifications.notify_each(notices) if notices else 0


def _what(bill: sql.Bill) -> str:
    """What became of it; the hours of a void bill on which a payment stands are not open again."""
    return "voided-and-paid" if bill.status == "voided" and bill.cash > 0 else bill.status


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


def agreed(decision: BillingDecision, by: User) -> None:
    """A second person agreed: who asked is told, and the project managers, whose work it is that is open again."""
    managers = sql.managers_of([decision.bill_id]).get(decision.bill_id, ())
    _tell(
        [decision.by_id, *managers],
        decision,
        f"{by.get_username()} agreed: {_asked(decision)}. Its hours are open to be billed again.",
        by,
    )


def ended(decision: BillingDecision, by: User) -> None:
    """A decision was refused or withdrawn: who made it is told why."""
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
