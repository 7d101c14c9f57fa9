"""A confirmed operation is worked off in chunks, cancelled, tried again, and followed on the ledger."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction

from portal import access, audit, sql
from portal.models import State, User
from reconciliation.fixes import FIXES, Work, outcomes
from reconciliation.models import Operation, OperationRow
from reconciliation.operations.applying import OperationRefused, apply
from reconciliation.operations.planning import plan
from reconciliation.sql import documents

CHUNK = 500
LEASE_SECONDS = 120


def cancel(operation: Operation, *, user: User) -> Operation:
    """Stop what is not yet done; what is done stays done."""
    access.require(user, FIXES[operation.fix].roles, operation.entity_id)
    with transaction.atomic():
        locked = Operation.objects.select_for_update().get(pk=operation.pk)
        if locked.state not in (Operation.State.PLANNED, Operation.State.RUNNING):
            raise OperationRefused(f"The operation is {locked.get_state_display().lower()} already.")
        locked.cancel_requested_at = sql.now()
        locked.save(update_fields=["cancel_requested_at"])
        _close_if_over(locked)
        locked.refresh_from_db()
        audit.record(user, "operation.cancelled", locked, entity=locked.entity_id)
    return locked


def retry_failed(operation: Operation, *, user: User) -> Operation:
    """Plan the failed and skipped rows again, with a preview of their own."""
    failed = operation.rows.filter(result__in=[OperationRow.Result.FAILED, OperationRow.Result.SKIPPED])
    ids = [successor or entry for entry, successor in failed.values_list("entry_id", "successor_id")]
    return plan(
        operation.fix,
        user=user,
        parameters=operation.parameters,
        reason=operation.reason,
        case=operation.case,
        entry_ids=ids,
    )


def due() -> list[int]:
    """Operations that should be running and that nobody works on."""
    return [
        row[0]
        for row in sql.rows(
            "SELECT id FROM reconciliation_operation WHERE state = 'running' AND (lease_until IS NULL OR lease_until < now())"
            " ORDER BY id"
        )
    ]


def run(operation_id: int) -> None:
    """Work off one operation, chunk by chunk, until it is done or cancelled. A second worker finds it leased and leaves."""
    leased = sql.execute(
        "UPDATE reconciliation_operation SET lease_until = now() + make_interval(secs => %s),"
        " started_at = coalesce(started_at, now())"
        " WHERE id = %s AND state = 'running' AND (lease_until IS NULL OR lease_until < now())",
        [LEASE_SECONDS, operation_id],
    )
    if not leased:
        return
    operation = Operation.objects.select_related("created_by", "case").get(pk=operation_id)
    while _chunk(operation):
        pass


def _chunk(operation: Operation) -> bool:
    """One chunk in one transaction; false when nothing is left to do."""
    with transaction.atomic():
        locked = Operation.objects.select_for_update().get(pk=operation.pk)
        if locked.state != Operation.State.RUNNING or _close_if_over(locked):
            return False
        rows = list(
            locked.rows.filter(result=OperationRow.Result.PENDING)
            .order_by("id").values_list("id", "entry_id", "fence")[:CHUNK]
        )  # fmt: skip
        results = _work_off(operation, rows)
        moment = sql.now()
        sql.execute(
            """UPDATE reconciliation_operationrow r SET result = w.result, message = w.message, successor_id = w.successor_id,
                      finished_at = %s
                 FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::bigint[]) AS w(id, result, message, successor_id)
                WHERE r.id = w.id""",
            [
                moment,
                [r[0] for r in results],
                [r[1] for r in results],
                [r[2] for r in results],
                [r[3] for r in results],
            ],
        )
        done = sum(row[1] == OperationRow.Result.DONE for row in results)
        sql.execute(
            "UPDATE reconciliation_operation SET done = done + %s, failed = failed + %s,"
            " lease_until = now() + make_interval(secs => %s) WHERE id = %s",
            [done, len(results) - done, LEASE_SECONDS, operation.pk],
        )
        locked.refresh_from_db()
        return not _close_if_over(locked)


def _work_off(operation: Operation, rows: Sequence[tuple[int, int, int]]) -> list[tuple[int, str, str, int | None]]:
    """Do the fix for the rows that have not moved; a row that breaks the fix fails alone."""
    fix = FIXES[operation.fix]()
    work = Work(operation.created_by, operation.reason, operation.parameters, operation.case, operation.entity_id)
    ids = [entry_id for _, entry_id, _ in rows]
    documents.lock(
        {row[1] for row in documents.entries(ids)}
    )  # before their entries, everywhere, so that nobody deadlocks
    standing = dict(
        sql.rows(
            "SELECT entry_id, fence FROM portal_ledgerstate WHERE entry_id = ANY(%s) ORDER BY entry_id FOR UPDATE",
            [ids],
        )
    )
    stale = {entry_id for _, entry_id, fence in rows if standing.get(entry_id) != fence}
    going = [entry_id for _, entry_id, _ in rows if entry_id not in stale]
    problems = apply(fix, work, going)
    after = outcomes(ids)
    results: list[tuple[int, str, str, int | None]] = []
    for row_id, entry_id, _ in rows:
        if entry_id in stale and fix.reaches_moved and after[entry_id].passes:
            results.append((row_id, OperationRow.Result.DONE, after[entry_id].sentence, after[entry_id].successor_id))
        elif entry_id in stale:
            now = f"It changed after the preview, so it was left alone. Now: {after[entry_id].sentence}"
            results.append((row_id, OperationRow.Result.SKIPPED, now, after[entry_id].successor_id))
        elif entry_id in problems:
            results.append((row_id, OperationRow.Result.FAILED, problems[entry_id], None))
        else:
            outcome = after[entry_id]
            result = OperationRow.Result.DONE if outcome.passes or fix.leaves_held else OperationRow.Result.FAILED
            results.append((row_id, result, outcome.sentence, outcome.successor_id))
    return results


def _close_if_over(operation: Operation) -> bool:
    """End the operation when no row is pending or when it is to be cancelled; whether it is over."""
    if operation.cancel_requested_at is not None:
        operation.rows.filter(result=OperationRow.Result.PENDING).update(
            result=OperationRow.Result.CANCELLED, finished_at=sql.now()
        )
        state = Operation.State.CANCELLED
    elif operation.rows.filter(result=OperationRow.Result.PENDING).exists():
        return False
    else:
        state = Operation.State.DONE
    Operation.objects.filter(pk=operation.pk).update(state=state, finished_at=sql.now(), lease_until=None)
    return True


def posting_progress(operation: Operation) -> dict[str, int]:
    """Where the operation's entries stand on the ledger now, by state: how many in each."""
    statement = """
        SELECT s.state, count(*) FROM reconciliation_operationrow r
          JOIN portal_ledgerstate s ON s.entry_id = coalesce(r.successor_id, r.entry_id)
         WHERE r.operation_id = %s GROUP BY s.state"""
    counts = dict(sql.rows(statement, [operation.pk]))
    return {str(state): counts.get(str(state), 0) for state in State}
