"""Bulk fixes as objects: planned with a dry-run, confirmed, worked off in chunks, and told row by row.

The rule here: the rows are frozen with the fence at which they were seen; a row that has moved since is skipped and named. The
dry-run is the fix itself, on the real entries with the real rules, in a transaction that is rolled back. The row is the queue:
a worker that dies leaves the rest pending, and the sweeper goes on.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from typing import Any

from django.core.exceptions import ObjectDoesNotExist
from django.db import DatabaseError, InterfaceError, OperationalError, transaction

from portal import access, audit, sql
from portal.models import State, User
from reconciliation.cases import NotWaivable
from reconciliation.corrections import NoOpenPeriod, NotReversible
from reconciliation.fixes import FIXES, Fix, RowOutcome, Work, outcomes
from reconciliation.models import ExceptionCase, Operation, OperationRow
from reconciliation.sql import documents

log = logging.getLogger(__name__)

CHUNK = 500
LEASE_SECONDS = 120
LEFT_OUT: dict[str, str] = {
    State.HELD: "held, and not for what this fix mends",
    State.READY: "ready, so nothing stops them",
    State.SENDING: "on their way to the target; wait until the outcome is known",
    State.IN_DOUBT: "in doubt; check in the ERP first",
    State.ACCEPTED: "in the ERP's books already; only a reversal changes what is booked",
    State.POSTED: "posted; only a reversal changes what is booked",
    State.RECONCILED: "reconciled; only a reversal changes what is booked",
    State.REJECTED: "refused by the target; re-post them once the cause is gone",
    State.REVERSED: "taken back already",
    State.CANCELLED: "off the ledger already",
}  # why a fix does not reach entries in a state


class OperationRefused(Exception):
    """Why an operation cannot be planned, confirmed or cancelled; the text is for the person."""


class NothingToFix(OperationRefused):
    """No entry of the selection can be fixed this way."""


# What a fix says of one row. Anything else that breaks is a fault of ours, and is logged besides.
OF_THE_ROW = (
    OperationRefused, NotReversible, NoOpenPeriod, NotWaivable, ObjectDoesNotExist, ValueError, LookupError, DatabaseError,
)  # fmt: skip
TRANSIENT = (OperationalError, InterfaceError)  # of the database: no row's fault, so the whole chunk is done again


def fixable(fix: Fix, case: ExceptionCase | None, entry_ids: Sequence[int] | None) -> dict[int, int]:
    """The entries a fix can be used on, with their fences: all that the case holds, or those given."""
    states = [str(state) for state in fix.states]
    if entry_ids is None:
        if case is None:
            raise OperationRefused("Say which entries: a cause or a selection.")
        statement = """
            SELECT s.entry_id, s.fence FROM portal_ledgerstate s
              JOIN reconciliation_hold h ON h.entry_id = s.entry_id AND h.closed_at IS NULL
             WHERE h.case_id = %s AND s.state = ANY(%s) ORDER BY s.entry_id"""
        return dict(sql.rows(statement, [case.pk, states]))
    statement = "SELECT entry_id, fence FROM portal_ledgerstate WHERE entry_id = ANY(%s) AND state = ANY(%s) ORDER BY 1"
    return dict(sql.rows(statement, [list(entry_ids), states]))


def left_out(fix: Fix, case: ExceptionCase | None, entry_ids: Sequence[int] | None) -> list[dict[str, Any]]:
    """The entries of the selection that a fix does not reach: how many stand in which state, and why that is so."""
    states = [str(state) for state in fix.states]
    if entry_ids is None:
        statement = """
            SELECT s.state, count(DISTINCT s.entry_id) FROM portal_ledgerstate s
              JOIN reconciliation_hold h ON h.entry_id = s.entry_id AND h.closed_at IS NULL
             WHERE h.case_id = %s AND s.state <> ALL(%s) GROUP BY s.state ORDER BY s.state"""
        found = sql.rows(statement, [case.pk if case else None, states])
    else:
        statement = """
            SELECT state, count(*) FROM portal_ledgerstate
             WHERE entry_id = ANY(%s) AND state <> ALL(%s) GROUP BY state ORDER BY state"""
        found = sql.rows(statement, [list(entry_ids), states])
    return [{"state": state, "entries": count, "why": LEFT_OUT[state]} for state, count in found]


@contextmanager
def _rolled_back() -> Iterator[None]:
    """Everything done inside is undone, also inside an open transaction."""
    with transaction.atomic():
        point = transaction.savepoint()
        try:
            yield
        finally:
            transaction.savepoint_rollback(point)


def dry_run(fix: Fix, work: Work, entry_ids: Sequence[int]) -> dict[int, RowOutcome]:
    """What would come of each entry: the fix itself, rolled back. Raises OperationRefused when it breaks on every row."""
    with _rolled_back():
        problems = _apply(fix, work, entry_ids)
        after = outcomes(entry_ids)
    if len(problems) == len(entry_ids):
        raise OperationRefused(next(iter(problems.values())))
    return after | {
        entry_id: replace(after[entry_id], passes=False, sentence=problem) for entry_id, problem in problems.items()
    }


def plan(
    code: str,
    *,
    user: User,
    parameters: Mapping[str, Any],
    reason: str = "",
    case: ExceptionCase | None = None,
    entry_ids: Sequence[int] | None = None,
) -> Operation:
    """Freeze the rows, dry-run the fix and keep what it promises. Nothing else changes.

    Raises PermissionDenied without a role of the fix in the entity, and NothingToFix when no row qualifies.
    """
    fix = FIXES[code]()
    rows = fixable(fix, case, entry_ids)
    if not rows:
        raise NothingToFix(f"“{fix.label}” can be used on no entry of this selection any more; look at the list again.")
    entity_id = _one_entity(list(rows))
    access.require(user, fix.roles, entity_id)
    if case is not None and case.entity_id != entity_id:
        raise OperationRefused("The entries are of another legal entity than the cause; choose entries of the cause.")
    work = Work(user, reason or fix.label, parameters, case, entity_id)
    before = outcomes(list(rows))
    after = dry_run(fix, work, list(rows))
    with transaction.atomic():
        operation = Operation.objects.create(
            fix=code, title=fix.title(work, len(rows))[:300], parameters=dict(parameters), case=case, entity_id=entity_id,
            created_by=user, created_at=sql.now(), reason=reason, total=len(rows),
            preview={**_preview(before, after), "left_out": left_out(fix, case, entry_ids)},
        )  # fmt: skip
        sql.copy_in(
            "reconciliation_operationrow",
            ("operation_id", "entry_id", "fence", "promised", "will_pass", "amount_after", "currency_after", "result",
             "message"),
            (
                [operation.pk, entry_id, fence, after[entry_id].sentence[:300], after[entry_id].passes,
                 after[entry_id].amount, after[entry_id].currency, "pending", ""]
                for entry_id, fence in rows.items()
            ),
        )  # fmt: skip
    return operation


def _one_entity(entry_ids: Sequence[int]) -> int:
    entities = [
        row[0]
        for row in sql.rows("SELECT DISTINCT entity_id FROM portal_ledgerentry WHERE id = ANY(%s)", [list(entry_ids)])
    ]
    if len(entities) != 1:
        raise OperationRefused("The selection spans several legal entities; fix one entity at a time.")
    return int(entities[0])


def _preview(before: Mapping[int, RowOutcome], after: Mapping[int, RowOutcome]) -> dict[str, Any]:
    money: dict[str, dict[str, Decimal]] = defaultdict(
        lambda: {"before": Decimal(0), "after": Decimal(0), "passing": Decimal(0)}
    )
    for outcome in before.values():
        if outcome.amount is not None:
            money[outcome.currency]["before"] += outcome.amount
    for outcome in after.values():
        if outcome.amount is not None:
            money[outcome.currency]["after"] += outcome.amount
            if outcome.passes:
                money[outcome.currency]["passing"] += outcome.amount
    still: dict[str, int] = defaultdict(int)
    for outcome in after.values():
        if not outcome.passes:
            still[outcome.sentence] += 1
    return {
        "passes": sum(outcome.passes for outcome in after.values()),
        "still_held": sum(not outcome.passes for outcome in after.values()),
        "hours": str(sum((outcome.hours for outcome in after.values()), Decimal(0))),
        "money": {
            currency: {name: str(value) for name, value in sums.items()} for currency, sums in sorted(money.items())
        },
        "still": [list(pair) for pair in sorted(still.items(), key=lambda pair: -pair[1])[:10]],
    }


def confirm(operation: Operation, *, user: User, reason: str = "") -> Operation:
    """Let the planned operation run. Only the person who saw its preview confirms it; the worker picks it up.

    Raises OperationRefused when a reason is missing, when an entry changed since the preview, or when it runs already.
    """
    fix = FIXES[operation.fix]()
    access.require(user, fix.roles, operation.entity_id)
    reason = (reason or operation.reason).strip()
    if fix.needs_reason and not reason:
        raise OperationRefused("Say why: the reason is kept with every entry.")
    if operation.created_by_id != user.pk:
        raise OperationRefused("Somebody else planned this; open the fix yourself to see its preview first.")
    moved = _moved_since(operation)
    if moved:
        raise OperationRefused(f"{moved} of {operation.total} entries changed since the preview; look at it again.")
    with transaction.atomic():
        confirmed = Operation.objects.filter(pk=operation.pk, state=Operation.State.PLANNED).update(
            state=Operation.State.RUNNING, confirmed_at=sql.now(), reason=reason
        )
        if not confirmed:
            raise OperationRefused("This operation was confirmed or cancelled before.")
        operation.refresh_from_db()
        audit.record(
            user, f"operation.{operation.fix}", operation, entity=operation.entity_id, reason=reason,
            after={
                "what": operation.title, "entries": operation.total, "parameters": operation.parameters,
                "preview": operation.preview,
            },
        )  # fmt: skip
    return operation


def _moved_since(operation: Operation) -> int:
    statement = """
        SELECT count(*) FROM reconciliation_operationrow r JOIN portal_ledgerstate s ON s.entry_id = r.entry_id
         WHERE r.operation_id = %s AND r.result = 'pending' AND s.fence <> r.fence"""
    return int(sql.rows(statement, [operation.pk])[0][0])


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
    entry_ids = [entry_id for _, entry_id, _ in rows]
    documents.lock({row[1] for row in documents.entries(entry_ids)})  # before the entries, as everywhere
    standing = dict(
        sql.rows(
            "SELECT entry_id, fence FROM portal_ledgerstate WHERE entry_id = ANY(%s) ORDER BY entry_id FOR UPDATE",
            [ids],
        )
    )
    stale = {entry_id for _, entry_id, fence in rows if standing.get(entry_id) != fence}
    going = [entry_id for _, entry_id, _ in rows if entry_id not in stale]
    problems = _apply(fix, work, going)
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


def _apply(fix: Fix, work: Work, entry_ids: Sequence[int]) -> dict[int, str]:
    """Apply to all at once; where that breaks, halve until the row that breaks it stands alone. Its message by entry.

    `prepare` is undone with what it was made for, so it is made anew with the first half that holds, and found by the others.
    """
    if not entry_ids:
        return {}
    problem = _attempt(fix, work, entry_ids)
    if problem is None:
        return {}
    if len(entry_ids) > 1:
        middle = len(entry_ids) // 2
        return _apply(fix, work, entry_ids[:middle]) | _apply(fix, work, entry_ids[middle:])
    if isinstance(problem, OF_THE_ROW):
        return {entry_ids[0]: str(problem)}
    log.error("the fix %s broke on ledger entry %s", fix.code, entry_ids[0], exc_info=problem)
    return {entry_ids[0]: f"Tieout itself failed on this entry ({type(problem).__name__}); operations can read why."}


def _attempt(fix: Fix, work: Work, entry_ids: Sequence[int]) -> Exception | None:
    """Prepare and apply, all or nothing; what went wrong. Raises what is the database's trouble and no row's."""
    try:
        with transaction.atomic():
            fix.prepare(work)
            fix.apply(work, entry_ids)
    except TRANSIENT:
        raise
    except Exception as problem:  # noqa: BLE001  whatever it is, it must not stop the other rows
        return problem
    return None


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
