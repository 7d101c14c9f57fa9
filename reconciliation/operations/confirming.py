"""A planned operation is let go: by the person who saw its dry-run, and above a limit by a second one, while that still holds.

The rule here: nobody agrees to numbers that are no longer true. Confirming and approving dry-run the fix once more, and
compare rows, fences, parameters, outcomes and money with what was shown; for a large one, the worker does it (`deferring`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.urls import reverse
from django.utils import timezone

from portal import access, audit, figures, notifications, sql
from portal.models import Notification, NotificationKind, User
from reconciliation import proposals
from reconciliation.fixes import FIXES
from reconciliation.models import Operation
from reconciliation.operations import second_person
from reconciliation.operations.applying import NothingToFix, OperationRefused
from reconciliation.operations.planning import Look, defer, freeze, given_to, is_large, look_again, preview_of
from reconciliation.sql import operations as operations_sql

AGREED = (Operation.State.RUNNING, Operation.State.DONE, Operation.State.CANCELLED)
NAMED = 20  # entries that are named one by one


@dataclass(frozen=True, slots=True)
class Difference:
    """How the rows of a dry-run differ from those now: how many there were and are, and which ones changed, came or went."""

    was: int
    now: int
    changed: Sequence[int] = ()
    came: Sequence[int] = ()
    gone: Sequence[int] = ()


class Decided(OperationRefused):
    """The same person has decided just so already: nothing more is to be done, and nothing went wrong."""


class Moved(OperationRefused):
    """What was shown is no longer true; the text says how, and `difference` names the rows."""

    def __init__(self, message: str, difference: Difference) -> None:
        super().__init__(message)
        self.difference = difference


def confirm(operation: Operation, *, user: User, reason: str = "") -> Operation:
    """Let the planned operation run, or wait for a second person. Only who saw its preview confirms it; the worker picks it up.

    Raises OperationRefused when a reason is missing or when it was confirmed before, and Moved when rows or money are not
    those of the preview any more. A large one is PLANNING meanwhile: it goes on, or comes back, once a worker has looked.
    """
    fix = FIXES[operation.fix]()
    access.require(user, fix.roles, operation.entity_id)
    reason = (reason or operation.reason).strip()
    if fix.needs_reason and not reason:
        raise OperationRefused("Say why: the reason is kept with every entry.")
    if operation.created_by_id != user.pk:
        raise OperationRefused("Somebody else planned this; open the fix yourself to see its preview first.")
    with transaction.atomic():
        locked = _lock(operation)
        if locked.state != Operation.State.PLANNED:
            raise OperationRefused("This operation was confirmed or cancelled before.")
        Notification.objects.filter(key=planned_key(locked), read_at=None).update(read_at=sql.now())
        if _is_large(locked):
            _refuse_where_at_work(locked)
            defer(locked, step="confirm", by=user.pk, words=reason)
        else:
            _must_be_free_and_hold(locked)
            let_go(locked, user, reason)
    operation.refresh_from_db()
    return operation


def planned_key(operation: Operation) -> str:
    """What names the notice that a dry-run by a worker can be looked at; who confirms it has looked."""
    return f"operation:{operation.pk}:planned"


def let_go(operation: Operation, user: User, reason: str) -> None:
    """What was shown holds: let it run, or wait for a second person. The caller has the operation's row and the desk."""
    operation.second_person = second_person.why(operation)
    operation.state = Operation.State.AWAITING if operation.second_person else Operation.State.RUNNING
    operation.confirmed_by, operation.confirmed_at, operation.reason = user, operations_sql.clock(), reason
    operation.asked, operation.moved = {}, {}
    operation.save(update_fields=["second_person", "state", "confirmed_by", "confirmed_at", "reason", "asked", "moved"])
    audit.record(
        user, f"operation.{operation.fix}", operation, entity=operation.entity_id, reason=reason,
        after={
            "what": operation.title, "entries": operation.total, "parameters": operation.parameters,
            "preview": operation.preview, "second_person": operation.second_person,
        },
    )  # fmt: skip
    if operation.state == Operation.State.RUNNING:
        proposals.learn(operation)
    else:
        _tell(operation, proposals.approvers(operation.entity_id), NotificationKind.APPROVAL, "Waits for you", user)


def _is_large(operation: Operation) -> bool:
    return is_large(FIXES[operation.fix](), operation.case, given_to(operation))


def _must_be_free_and_hold(operation: Operation) -> None:
    """Raise OperationRefused while another operation is at work on some of the entries, Moved when the preview is not true.

    The dry-run comes before the desk of the entity is held, so that others do not wait for it.
    """
    _refuse_where_at_work(operation)
    _must_still_hold(operation)
    refuse_where_under_way(operation)


def refuse_where_under_way(operation: Operation) -> None:
    """Refuse to let an operation go while another one is at work on some of its entries, and say whose that is.

    Operations of an entity begin one after the other from here to the end of the transaction, so that of two that are let go at
    once the second sees the first, and what one person confirms at once is counted together. Raises OperationRefused.
    """
    operations_sql.hold_desk(operation.entity_id)
    _refuse_where_at_work(operation)


def _refuse_where_at_work(operation: Operation) -> None:
    for other in operations_sql.at_work_on_the_same(operation.pk):
        since = timezone.localtime(other.since)
        raise OperationRefused(
            f"{other.entries:,} of {operation.total:,} entries are in progress by {other.person} since {since:%H:%M}:"
            f" “{other.title}”. Look again when that is done."
        )


def approve(operation: Operation, *, user: User, comment: str = "") -> Operation:
    """A second person agrees, and the operation runs. Raises OperationRefused for somebody who planned or confirmed it.

    When what was confirmed is no longer true, the operation goes back to its planner with a new dry-run, and Moved says how.
    """
    _may_decide(operation, user)
    moved: Moved | None = None
    with transaction.atomic():
        locked = _lock_awaiting(operation, user, AGREED)
        if _is_large(locked):
            _refuse_where_at_work(locked)
            defer(locked, step="approve", by=user.pk, words=comment.strip())
        else:
            try:
                _must_be_free_and_hold(locked)
            except Moved as found:
                moved = found
                send_back(locked, user, str(found), lambda: freeze_again(locked))
            else:
                agree(locked, user, comment.strip())
    operation.refresh_from_db()
    if moved is not None:
        raise moved
    return operation


def agree(operation: Operation, user: User, comment: str) -> None:
    """What was confirmed holds, and a second person agrees: it runs. The caller has the operation's row and the desk."""
    operation.asked, operation.moved = {}, {}
    operation.save(update_fields=["asked", "moved"])
    _decide(operation, user, Operation.State.RUNNING, comment)
    audit.record(
        user, "operation.approved", operation, entity=operation.entity_id, reason=comment,
        after={"what": operation.title, "entries": operation.total, "preview": operation.preview},
    )  # fmt: skip
    proposals.learn(operation)
    _tell(operation, [operation.created_by_id], NotificationKind.FINISHED, "Approved", user)


def refuse(operation: Operation, *, user: User, comment: str) -> Operation:
    """A second person does not agree and says why; nothing is changed."""
    _may_decide(operation, user)
    if not comment.strip():
        raise OperationRefused("Say why you do not agree: whoever planned it reads it.")
    with transaction.atomic():
        locked = _lock_awaiting(operation, user, [Operation.State.REFUSED])
        _decide(locked, user, Operation.State.REFUSED, comment.strip())
        locked.finished_at = locked.decided_at
        locked.save(update_fields=["finished_at"])
        locked.rows.filter(result="pending").update(result="cancelled", finished_at=locked.decided_at)
        audit.record(user, "operation.refused", locked, entity=locked.entity_id, reason=comment.strip())
        _tell(locked, [locked.created_by_id], NotificationKind.HELD, "Refused", user)
    operation.refresh_from_db()
    return operation


def renew(operation: Operation, *, user: User) -> Operation:
    """A new dry-run of a planned operation, on the rows that it reaches now; for the person who planned it."""
    access.require(user, FIXES[operation.fix].roles, operation.entity_id)
    with transaction.atomic():
        locked = _lock(operation)
        if locked.state != Operation.State.PLANNED or locked.created_by_id != user.pk:
            raise OperationRefused("Only who planned it, and before it is confirmed, looks at it again.")
        if _is_large(locked):
            defer(locked)
        else:
            freeze_again(locked)
            locked.moved = {}
            locked.save(update_fields=["moved"])
    operation.refresh_from_db()
    return operation


def can_decide(operation: Operation, user: Any) -> bool:
    """Whether a person may approve or refuse this operation now."""
    return (
        operation.state == Operation.State.AWAITING
        and user.pk not in (operation.created_by_id, operation.confirmed_by_id)
        and access.may(user, access.APPROVERS, operation.entity_id)
    )


def _lock(operation: Operation) -> Operation:
    return Operation.objects.select_for_update(of=("self",)).select_related("created_by", "case").get(pk=operation.pk)


def _lock_awaiting(operation: Operation, user: User, same: Collection[str]) -> Operation:
    """The row that waits; `same` are its states once it was decided as it is now. Raises Decided, OperationRefused."""
    locked = _lock(operation)
    state = locked.get_state_display().lower()
    if locked.state == Operation.State.AWAITING:
        return locked
    if locked.decided_by_id == user.pk and locked.state in same:
        raise Decided(f"You have decided so already: it is {state}.")
    if locked.state == Operation.State.PLANNING and (locked.asked.get("step"), locked.asked.get("by")) == (
        "approve",
        user.pk,
    ):
        raise Decided("You have agreed already: a worker looks at it once more, and it runs where it says the same.")
    if locked.decided_by is not None:
        what = "refused" if locked.state == Operation.State.REFUSED else "approved"
        who = f"You {what} this" if locked.decided_by_id == user.pk else f"{locked.decided_by} {what} this before you"
        raise OperationRefused(f"{who}: it is {state}.")
    raise OperationRefused(f"This does not wait for approval any more: it is {state}.")


def _may_decide(operation: Operation, user: User) -> None:
    access.require(user, access.APPROVERS, operation.entity_id)
    if user.pk in (operation.created_by_id, operation.confirmed_by_id):
        raise OperationRefused("You planned this yourself; somebody else has to agree.")


def _decide(operation: Operation, user: User, state: str, comment: str) -> None:
    operation.state, operation.decided_by, operation.decided_at, operation.decision = state, user, sql.now(), comment
    operation.save(update_fields=["state", "decided_by", "decided_at", "decision"])
    notifications.answered(reverse("operation", args=[operation.pk]))


def send_back(operation: Operation, user: User, why: str, renewed: Callable[[], None]) -> None:
    """To the planner, with a new dry-run (`renewed`); where nothing is left to be fixed, the operation is over."""
    try:
        renewed()
    except NothingToFix:
        operation.state, operation.finished_at = Operation.State.CANCELLED, sql.now()
        operation.rows.filter(result="pending").update(result="cancelled", finished_at=operation.finished_at)
    else:
        operation.state = Operation.State.PLANNED
    operation.confirmed_by = operation.confirmed_at = None
    operation.save(update_fields=["state", "finished_at", "confirmed_by", "confirmed_at"])
    notifications.answered(reverse("operation", args=[operation.pk]))
    audit.record(user, "operation.sent-back", operation, entity=operation.entity_id, reason=why)
    by = user if user.pk != operation.created_by_id else None  # whoever asked for it may have left the page since
    _tell(operation, [operation.created_by_id], NotificationKind.HELD, "Look again, the numbers moved", by)


def _tell(operation: Operation, people: Sequence[int], kind: NotificationKind, what: str, by: User | None) -> None:
    notifications.notify(
        people, kind, f"{what}: {operation.title}", by=by, url=reverse("operation", args=[operation.pk]),
        entity=operation.entity_id, note=operation.decision or operation.reason, key=f"operation:{operation.pk}:{what}",
    )  # fmt: skip


def freeze_again(operation: Operation) -> None:
    """A new dry-run in place of the one that was shown."""
    found, given = look_again(operation)
    freeze(operation, FIXES[operation.fix](), found, given)


def _must_still_hold(operation: Operation) -> None:
    """Raise Moved unless rows, outcomes and money are exactly those of the preview."""
    try:
        found, _ = look_again(operation)
    except NothingToFix as nothing:
        raise gone(operation, nothing) from nothing
    compare(operation, found)


def gone(operation: Operation, nothing: NothingToFix) -> Moved:
    """Nothing is left of what was shown."""
    frozen = sorted(operation.rows.values_list("entry_id", flat=True))
    return Moved(
        f"{len(frozen):,} entries when you looked, none now. {nothing}", Difference(len(frozen), 0, gone=frozen[:NAMED])
    )


def compare(operation: Operation, found: Look) -> None:
    """Raise Moved unless what was found is exactly what is frozen."""
    frozen = dict(operation.rows.values_list("entry_id", "fence"))
    if found.fingerprint(operation.fix, operation.parameters) == operation.fingerprint:
        return
    changed = sorted(entry for entry, fence in found.rows.items() if frozen.get(entry, fence) != fence)
    came, left = sorted(found.rows.keys() - frozen.keys()), sorted(frozen.keys() - found.rows.keys())
    difference = Difference(len(frozen), len(found.rows), changed[:NAMED], came[:NAMED], left[:NAMED])
    words = []
    if came or left:
        words.append(f"{len(frozen):,} entries when you looked, {len(found.rows):,} now.")
    touched = len(changed) + len(left)
    if touched:
        words.append(f"{_rows(touched)} changed since you looked.")
    words.append(
        _money_moved(operation.preview, found, why="" if touched or came else "; a rate, a project or a period changed")
    )
    raise Moved(" ".join(filter(None, words)) + " Nothing was changed; look at it again.", difference)


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"


def _money_moved(shown: dict[str, Any], found: Look, *, why: str) -> str:
    """How the promise differs in figures, in a sentence; empty where rows came or went and no figure moved."""
    now = preview_of(found)
    words = []
    if shown.get("passes") != now["passes"]:
        words.append(f"{shown.get('passes'):,} would have passed, {now['passes']:,} would now")
    for currency in sorted({*shown.get("money", {}), *now["money"]}):
        was, will = (Decimal(sums.get(currency, {}).get("after", 0)) for sums in (shown.get("money", {}), now["money"]))
        if was != will:
            words.append(
                f"{figures.amount(was, currency)} {currency} would be {figures.amount(will, currency)} {currency} now"
            )
    was, on_bills = (shown.get("invoiced") or {}).get("bills", []), found.invoiced.bills
    if sorted((b["id"], Decimal(b["amount"])) for b in was) != sorted((b.bill_id, b.amount) for b in on_bills):
        words.append("what of them stands on bills is something else now")
    if not words:
        return "What would come of some rows is different now." if why else ""
    return f"{'; '.join(words)}{why}."
