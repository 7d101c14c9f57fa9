"""A change set takes effect: the master data on its day in one transaction, then exactly the entries that it touches.

The rule here: it is written as it was approved or not at all. What it touches is a queue of rows; a worker that dies leaves the
rest, and anybody goes on. One that cannot be written any more goes back to its editors with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django.db import transaction
from django.utils import timezone

from portal import audit, sql
from portal.importing.load import only_one_at_a_time
from portal.importing.problems import Refused
from portal.master_intake import rejected
from portal.models import User
from reconciliation import publishing
from reconciliation.changes import measuring, telling
from reconciliation.changes.deciding import conclude, refuse_another_base
from reconciliation.changes.drafting import hash_of, is_due, look, reached
from reconciliation.changes.lines import ChangeRefused, Line, frozen_lines, rows_of
from reconciliation.changes.measuring import Stock, Stood
from reconciliation.changes.writing import Written, write
from reconciliation.models import ChangeLine, ChangeReach, ChangeSet
from reconciliation.sql import changes as changes_sql
from reconciliation.sql import documents
from reconciliation.validation import one_batch, recheck

State = ChangeSet.State
CHUNK = 1000  # entries validated in one transaction
AT_ONCE = 1000  # entries that are validated in the transaction of the change itself


def due() -> list[tuple[int, float]]:
    """Change sets that wait for a worker, with the seconds that they have waited."""
    return changes_sql.due(timezone.localdate())


def apply(change_set: ChangeSet) -> ChangeSet:
    """Let an approved change set take effect now if its day has come, and validate what it touches; here, without a worker."""
    run(change_set.pk)
    change_set.refresh_from_db()
    return change_set


def run(change_set_id: int, *, goes_on: Callable[[], bool] = lambda: True) -> bool:
    """Do what one change set waits for: its dry-run, its day, its entries chunk by chunk; whether something is left.

    A second worker finds the row taken and leaves. `goes_on` is asked after every chunk.
    """
    while _step(change_set_id):
        if not goes_on():
            return True
    return False


def _step(change_set_id: int) -> bool:
    """One transaction of work; whether there may be more."""
    with transaction.atomic():
        locked = ChangeSet.objects.select_for_update(of=("self",), skip_locked=True).filter(pk=change_set_id).first()
        if locked is None:
            return False
        if locked.state == State.SUBMITTED and locked.previewed_at is None:
            _look(locked)
            return False
        if locked.state == State.SUBMITTED and locked.agreed_by is not None:
            return _agree(locked)
        if locked.state in (State.APPROVED, State.SCHEDULED) and is_due(locked):
            return _begin(locked)
        return locked.state == State.APPLYING and _validate_some(locked)


def _look(locked: ChangeSet) -> None:
    try:
        look(locked)
    except ChangeRefused as refusal:
        _send_back(locked, str(refusal))
    else:
        locked.save(update_fields=["preview", "previewed_at", "fingerprint"])


def _agree(locked: ChangeSet) -> bool:
    """Look again for somebody who agreed to what reaches too many entries to be looked at at once; whether it may go on."""
    try:
        return conclude(locked)
    except ChangeRefused as refusal:
        _send_back(locked, str(refusal))
        return False


@one_batch()
def _begin(locked: ChangeSet) -> bool:
    """Write the master data. Whether entries are left for further transactions."""
    rows = rows_of(locked)
    if hash_of(locked, rows) != locked.content_hash:
        _send_back(locked, "What is written in it is not what was agreed to; look at it and submit it again.")
        return False
    try:
        with transaction.atomic():
            written, stock, booked = _write(locked, rows)
            at_once = len(stock.entries) <= AT_ONCE or written.removes
            if at_once:
                _validate(locked, stock.ids)
            admitted = measuring.admit(stock, written)
            locked.result = {
                "new": admitted.figures, "causes_of_new": sorted(admitted.causes),
                "causes_before": sorted(stock.causes), "last_entry": stock.last_entry,
                "booked": booked,
            }  # fmt: skip
            measuring.settle_constraints()
    except (Refused, ChangeRefused) as refusal:
        _send_back(locked, str(refusal))
        return False
    measuring.weigh(written)
    publishing.follow(written.concerns)
    _keep_what_was_made(rows, written)
    locked.state, locked.applied_at, locked.applied_by = State.APPLYING, sql.now(), _actor(locked)
    locked.save()
    rejected.take(locked.takes_up.all(), reason=f"Change set {locked.pk} was applied.")
    audit.record(
        locked.applied_by, "change.applied", locked, entities=reached(locked), reason=locked.reason,
        before=[line.before for line in rows], after=[line.after for line in rows],
    )  # fmt: skip
    if at_once:
        _finish(locked)
    return not at_once


def _write(locked: ChangeSet, rows: Sequence[ChangeLine]) -> tuple[Written, Stock, dict[str, Any]]:
    """The lines, written once, the entries to validate, frozen, and the figures of what is booked.

    Where all that the dry-run looked at still stands, what it found of booked work holds; else that is counted anew, before and
    after, for which the lines are written, undone and written again. Raises Refused, ChangeRefused.
    """
    only_one_at_a_time()
    lines, word, point = frozen_lines(locked, rows), changes_sql.last_word(), transaction.savepoint()
    written, stock, concerned = _written(locked, rows, lines)
    if measuring.fingerprint_of(locked.content_hash, word, stock, concerned) == locked.fingerprint:
        return written, _freeze(locked, stock), locked.preview["booked"]
    after = measuring.otherwise(concerned.entry_ids)
    transaction.savepoint_rollback(point)
    booked = measuring.reversible(concerned, measuring.otherwise(sorted(after)), after)
    written, stock, _ = _written(locked, rows, lines)
    return written, _freeze(locked, stock), booked


def _written(
    locked: ChangeSet, rows: Sequence[ChangeLine], lines: Sequence[Line]
) -> tuple[Written, Stock, measuring.Concerned]:
    """The lines written, and what they touch as it stands; its documents are locked first, as everywhere."""
    written = write(lines, reason=_reason(locked), actor=_actor(locked), starts_on=locked.effective_on)
    refuse_another_base(locked, written, rows)
    documents.lock(documents.of_entries(written.entries))
    return written, measuring.take_stock(written.entries, written), measuring.booked_under(lines, written)


def _actor(locked: ChangeSet) -> User:
    """Who answers for the change: the person who agreed, else the one who declared the emergency."""
    who = locked.decided_by or locked.submitted_by
    if who is None:
        raise ChangeRefused("Nobody has agreed to this.")
    return who


def _reason(locked: ChangeSet) -> str:
    who = f"approved by {locked.decided_by}" if locked.decided_by else f"emergency by {locked.submitted_by}"
    return f"{locked.reason} (change set {locked.pk}, {who})"


def _freeze(locked: ChangeSet, stock: Stock) -> Stock:
    """Keep how the entries to validate again stand now."""
    ChangeReach.objects.bulk_create(
        (
            ChangeReach(
                change_set=locked, entry_id=one.entry_id, document_id=one.document_id, state=one.state, amount=one.amount,
                currency=one.currency,
            )
            for one in stock.entries
        ),
        batch_size=2000,
    )  # fmt: skip
    locked.total, locked.done = len(stock.entries), 0
    return stock


def _validate(locked: ChangeSet, entry_ids: Sequence[int]) -> None:
    for start in range(0, len(entry_ids), measuring.BATCH):
        part = entry_ids[start : start + measuring.BATCH]
        recheck(part, actor="validation", reason=f"change set {locked.pk}: {locked.title}"[:300])
    changes_sql.reach_done(locked.pk, entry_ids)
    locked.done += len(entry_ids)


def _validate_some(locked: ChangeSet) -> bool:
    ids = changes_sql.next_reach(locked.pk, CHUNK)
    if ids:
        _validate(locked, ids)
        locked.save(update_fields=["done"])
        return True
    _finish(locked)
    return False


def _finish(locked: ChangeSet) -> None:
    """Everything was validated again: what came of it, in the figures of the dry-run."""
    began: dict[str, Any] = locked.result
    rows = locked.reach.order_by("entry_id").values_list("entry_id", "document_id", "state", "amount", "currency")
    stock = Stock([Stood(*row, 0) for row in rows], set(began["causes_before"]), began["last_entry"])
    told = measuring.tell(stock, began["causes_of_new"])
    locked.result = {**told, **began["new"], "booked": began.get("booked", {})}
    locked.state, locked.finished_at = State.APPLIED, sql.now()
    locked.save(update_fields=["state", "finished_at", "result", "done"])
    if not kept_promise(locked):
        audit.record(
            None, "change.came-otherwise", locked, entities=reached(locked), before=locked.preview, after=locked.result,
            reason="What came of it is not what its dry-run had said: entries or master data moved in between.",
        )  # fmt: skip
    telling.to_editors(locked, "Applied", None)


def is_little(change_set: ChangeSet) -> bool:
    """Whether few enough entries are looked at when it is applied for the person who let it go to wait; else it is a worker's."""
    told = change_set.preview
    looked_at = (told.get("entries", 0), told.get("admitted", 0), told.get("booked", {}).get("looked_at", 0))
    return sum(map(int, looked_at)) <= AT_ONCE


def kept_promise(change_set: ChangeSet) -> bool:
    """Whether what came of an applied change set is what its dry-run said."""
    return measuring.same_figures(change_set.preview, change_set.result)


def _keep_what_was_made(rows: Sequence[ChangeLine], written: Written) -> None:
    made = {row.pk: did.pk for row, did in zip(rows, written.lines, strict=True) if row.key is None}
    if made:
        changes_sql.lines_made(made)


def _send_back(locked: ChangeSet, why: str) -> None:
    """To its editors: what was approved cannot be written any more. Nothing was changed, and nothing counts as decided."""
    locked.refresh_from_db()
    audit.record(None, "change.sent-back", locked, entities=reached(locked), reason=why)
    locked.state, locked.content_hash, locked.problem = State.DRAFT, "", why
    locked.submitted_by = locked.submitted_at = locked.decided_by = locked.decided_at = None
    locked.agreed_by, locked.comment, locked.agreed_plan = None, "", ""
    locked.total = locked.done = 0
    locked.result = {}
    locked.save()
    telling.to_editors(locked, "Could not be applied", None, held=True)
