"""A confirmed operation is worked off in chunks by one worker at a time.

The rule here: a chunk is one transaction, from the locks of its documents to the results of its rows. While it is open the
worker holds the operation's lock, which the database takes from the dead; between chunks it holds a lease, and whoever comes
back after its lease was given to another writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from django.db import transaction

from portal import figures
from reconciliation.fixes import FIXES, Fix, RowOutcome, Work, outcomes
from reconciliation.models import Operation, OperationRow
from reconciliation.operations import applying, deferring
from reconciliation.operations.applying import apply
from reconciliation.sql import documents
from reconciliation.sql import operations as sql
from reconciliation.sql.operations import Result, Row

CHUNK = applying.CHUNK  # so that what a chunk sees is what its dry-run saw
LEASE_SECONDS = 30  # from one chunk's end to the next one's; how long the rest waits when a worker dies between two


def due() -> list[int]:
    """Operations that should be running and that nobody works on."""
    return [operation_id for operation_id, _ in sql.due()]


def overdue() -> list[tuple[int, float]]:
    """The same, with the seconds for which nobody has worked on each."""
    return sql.due()


def run(operation_id: int, *, goes_on: Callable[[], bool] = lambda: True) -> bool:
    """Work off one operation, chunk by chunk, until it is over; whether something is left for another turn.

    One that is still being planned is planned, which is a turn of its own.

    A second worker finds it taken and leaves. `goes_on` is asked after every chunk; when it says no, the operation is given
    back so that anybody may go on at once.
    """
    turn = take(operation_id)
    if turn is None:
        return False
    operation = Operation.objects.select_related("created_by", "case").get(pk=operation_id)
    if operation.state == Operation.State.PLANNING:
        return deferring.work_out(operation, turn)
    while chunk(operation, turn):
        if not goes_on():
            sql.give_back(operation_id, turn)
            return True
    return False


def take(operation_id: int) -> int | None:
    """A turn at the operation; None while somebody else has one, or is in the middle of a chunk for longer than its lease."""
    with transaction.atomic():
        return sql.take_turn(operation_id, LEASE_SECONDS) if sql.try_hold(operation_id) else None


def chunk(operation: Operation, turn: int) -> bool:
    """One chunk in one transaction; false when nothing is left to do, or when the turn went to another worker."""
    with transaction.atomic():
        sql.hold(operation.pk)
        if not sql.has_turn(operation.pk, turn) or sql.close_if_over(operation.pk):
            return False
        results = work_off(operation, sql.next_rows(operation.pk, CHUNK))
        sql.write_results(results)
        done = sum(row.result == OperationRow.Result.DONE for row in results)
        to_post = 0 if FIXES[operation.fix].leaves_held else done
        sql.count_results(operation.pk, done=done, failed=len(results) - done, to_post=to_post, seconds=LEASE_SECONDS)
        return not sql.close_if_over(operation.pk)


def work_off(operation: Operation, rows: Sequence[Row]) -> list[Result]:
    """Do the fix for the rows that are as they were shown; a row that breaks the fix fails alone."""
    fix = FIXES[operation.fix]()
    work = Work(operation.created_by, operation.reason, operation.parameters, operation.case, operation.entity_id)
    ids = [row.entry_id for row in rows]
    documents.lock(documents.of_entries(ids))  # before their entries, everywhere, so that nobody deadlocks
    fences = sql.lock_fences(ids)
    moved = {row.entry_id for row in rows if fences.get(row.entry_id) != row.fence}
    problems, unlike = _as_promised(fix, work, [row for row in rows if row.entry_id not in moved])
    after = outcomes(ids)
    results = []
    for row in rows:
        outcome = after[row.entry_id]
        if row.entry_id in problems:
            results.append(Result(row.row_id, OperationRow.Result.FAILED, problems[row.entry_id], None))
        elif row.entry_id in unlike:
            results.append(Result(row.row_id, OperationRow.Result.SKIPPED, unlike[row.entry_id], None))
        elif row.entry_id in moved:
            words = f"It changed after the preview, so it was left alone. Now: {outcome.sentence}"
            results.append(Result(row.row_id, OperationRow.Result.SKIPPED, words, outcome.successor_id))
        else:
            is_done = outcome.passes or fix.leaves_held
            result = OperationRow.Result.DONE if is_done else OperationRow.Result.FAILED
            results.append(Result(row.row_id, result, outcome.sentence, outcome.successor_id))
    return results


def _as_promised(fix: Fix, work: Work, rows: Sequence[Row]) -> tuple[dict[int, str], dict[int, str]]:
    """Do the fix, and take it back for rows that would pass with other money than was shown; what is wrong with each, by entry.

    A rate or a contract may have changed since somebody agreed. Without the rows that it touches the others are tried again,
    so the second time nearly always holds.
    """
    unlike: dict[int, str] = {}
    while True:
        kept = [row for row in rows if row.entry_id not in unlike]
        point = transaction.savepoint()
        problems = apply(fix, work, [row.entry_id for row in kept])
        after = outcomes([row.entry_id for row in kept])
        found = {
            row.entry_id: _other_money(row, after[row.entry_id])
            for row in kept
            if row.entry_id not in problems and row.will_pass and after[row.entry_id].passes
            and (row.amount, row.currency) != (after[row.entry_id].amount, after[row.entry_id].currency)
        }  # fmt: skip
        if not found:
            transaction.savepoint_commit(point)
            return problems, unlike
        transaction.savepoint_rollback(point)
        unlike |= found


def _other_money(row: Row, now: RowOutcome) -> str:
    was, will = (
        f"{figures.amount(amount, currency)} {currency}" if amount is not None else "nothing"
        for amount, currency in ((row.amount, row.currency), (now.amount, now.currency))
    )
    return f"It would come to {will} now instead of {was}, because a rate or a contract changed after the preview; left alone."
