"""How an operation is taken by one worker, worked off and written: one statement per question, whatever the number of rows.

The rule here: a worker holds the operation's lock while a chunk's transaction is open, and the database lets go of it when the
worker dies. Between chunks it holds a lease, numbered by its turn: a worker whose turn is over writes nothing any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from portal.sql import execute, rows

_CHUNKS, _DESKS = 0x6F7001, 0x6F7002  # the spaces of our advisory locks, beside the operation or the entity


class Row(NamedTuple):
    """One row to be worked off: its id, its entry, the fence at which that was seen, and what it was then promised to come to."""

    row_id: int
    entry_id: int
    fence: int
    will_pass: bool
    amount: Decimal | None
    currency: str


class Result(NamedTuple):
    """What came of one row."""

    row_id: int
    result: str
    message: str
    successor_id: int | None


class Conflict(NamedTuple):
    """Another operation that is at work on some of the same entries: how many, which, whose and since when."""

    entries: int
    operation_id: int
    title: str
    person: str
    since: datetime


def clock() -> datetime:
    """The database's clock, also within a transaction that has been open for a while."""
    moment: datetime = rows("SELECT clock_timestamp()")[0][0]
    return moment


def hold(operation_id: int) -> None:
    """Have the operation's rows to oneself until the transaction ends; who asked in passing is waited for."""
    execute("SELECT pg_advisory_xact_lock(%s, %s)", [_CHUNKS, operation_id])


def try_hold(operation_id: int) -> bool:
    """Have the operation's rows to oneself until the transaction ends, if no worker is at them."""
    return bool(rows("SELECT pg_try_advisory_xact_lock(%s, %s)", [_CHUNKS, operation_id])[0][0])


def hold_desk(entity_id: int) -> None:
    """Let operations of an entity begin one after the other, until the transaction ends."""
    execute("SELECT pg_advisory_xact_lock(%s, %s)", [_DESKS, entity_id])


def take_turn(operation_id: int, seconds: float) -> int | None:
    """Lease an operation that runs or is being planned and that nobody has; the number of this turn, or None."""
    found = rows(
        "UPDATE reconciliation_operation SET lease_until = now() + make_interval(secs => %s), turn = turn + 1,"
        " started_at = CASE state WHEN 'running' THEN coalesce(started_at, now()) END"
        " WHERE id = %s AND state IN ('planning', 'running') AND (lease_until IS NULL OR lease_until < now()) RETURNING turn",
        [seconds, operation_id],
    )
    return int(found[0][0]) if found else None


def has_turn(operation_id: int, turn: int) -> bool:
    """Whether the operation runs or is being planned, and is still this worker's."""
    return bool(
        rows(
            "SELECT EXISTS (SELECT 1 FROM reconciliation_operation"
            " WHERE id = %s AND state IN ('planning', 'running') AND turn = %s)",
            [operation_id, turn],
        )[0][0]
    )


def give_back(operation_id: int, turn: int) -> None:
    """End this turn before the operation is over, so that anybody may go on at once."""
    execute(
        "UPDATE reconciliation_operation SET lease_until = NULL"
        " WHERE id = %s AND turn = %s AND state IN ('planning', 'running')",
        [operation_id, turn],
    )


def keep_planned(operation_id: int, turn: int, planned: int, seconds: float) -> None:
    """Show how far the dry-run is, and lease the operation until it says so again."""
    execute(
        "UPDATE reconciliation_operation SET planned = %s, lease_until = clock_timestamp() + make_interval(secs => %s)"
        " WHERE id = %s AND turn = %s AND state = 'planning'",
        [planned, seconds, operation_id, turn],
    )


def is_to_stop(operation_id: int) -> bool:
    """Whether somebody asked for an end of the operation, or took it away."""
    return not rows(
        "SELECT 1 FROM reconciliation_operation WHERE id = %s AND cancel_requested_at IS NULL", [operation_id]
    )


def due() -> list[tuple[int, float]]:
    """Operations to be worked off or planned that nobody works on: (id, seconds for which that has been so)."""
    statement = (
        "SELECT id, extract(epoch FROM now() - coalesce(lease_until, confirmed_at, created_at))::float8"
        " FROM reconciliation_operation"
        " WHERE state IN ('planning', 'running') AND (lease_until IS NULL OR lease_until < now()) ORDER BY id"
    )
    return [(row[0], row[1]) for row in rows(statement)]


def next_rows(operation_id: int, limit: int) -> list[Row]:
    """The next rows to be worked off."""
    return [
        Row(*row)
        for row in rows(
            "SELECT id, entry_id, fence, will_pass, amount_after, currency_after FROM reconciliation_operationrow"
            " WHERE operation_id = %s AND result = 'pending' ORDER BY id LIMIT %s",
            [operation_id, limit],
        )
    ]


def lock_fences(entry_ids: Sequence[int]) -> dict[int, int]:
    """Lock where entries stand, and say at which fence."""
    statement = "SELECT entry_id, fence FROM portal_ledgerstate WHERE entry_id = ANY(%s) ORDER BY entry_id FOR UPDATE"
    return dict(rows(statement, [list(entry_ids)]))


def write_results(results: Sequence[Result]) -> None:
    """Write what came of some rows, once."""
    columns = [list(column) for column in zip(*results, strict=True)]
    execute(
        """UPDATE reconciliation_operationrow r
              SET result = w.result, message = w.message, successor_id = w.successor_id, finished_at = clock_timestamp()
             FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::bigint[]) AS w(id, result, message, successor_id)
            WHERE r.id = w.id""",
        columns,
    )


def count_results(operation_id: int, *, done: int, failed: int, to_post: int, seconds: float) -> None:
    """Add a chunk to the operation's counts, and lease it until the next one. What is to be posted counts as on its way."""
    execute(
        "UPDATE reconciliation_operation SET done = done + %s, failed = failed + %s, on_the_way = on_the_way + %s,"
        " lease_until = clock_timestamp() + make_interval(secs => %s) WHERE id = %s",
        [done, failed, to_post, seconds, operation_id],
    )


def keep_counts(counts: Sequence[tuple[int, int, int, int]]) -> None:
    """Write how operations stand on the ledger: (id, posted, refused, on the way). What has nothing on the way is settled."""
    if counts:
        execute(
            """UPDATE reconciliation_operation o SET posted = w.posted, refused = w.refused, on_the_way = w.on_the_way,
                      settled_at = CASE WHEN o.finished_at IS NOT NULL AND w.on_the_way = 0 THEN clock_timestamp() END
                 FROM unnest(%s::bigint[], %s::int[], %s::int[], %s::int[]) AS w(id, posted, refused, on_the_way)
                WHERE o.id = w.id AND o.settled_at IS NULL
                  AND ((o.posted, o.refused, o.on_the_way) <> (w.posted, w.refused, w.on_the_way)
                       OR (o.finished_at IS NOT NULL AND w.on_the_way = 0))""",
            [list(column) for column in zip(*counts, strict=True)],
        )


def ask_to_stop(operation_id: int) -> bool:
    """Note that an operation is to stop before its next chunk; false when it is over or was asked before."""
    return bool(
        execute(
            "UPDATE reconciliation_operation SET cancel_requested_at = clock_timestamp()"
            " WHERE id = %s AND finished_at IS NULL AND cancel_requested_at IS NULL",
            [operation_id],
        )
    )


def close_if_over(operation_id: int) -> bool:
    """End the operation when no row is pending, or when it is to be cancelled; whether it is over. Its rows are held."""
    execute(
        """UPDATE reconciliation_operationrow r SET result = 'cancelled', finished_at = clock_timestamp()
             FROM reconciliation_operation o
            WHERE o.id = %s AND r.operation_id = o.id AND r.result = 'pending' AND o.cancel_requested_at IS NOT NULL""",
        [operation_id],
    )
    return bool(
        execute(
            """UPDATE reconciliation_operation o SET finished_at = clock_timestamp(), lease_until = NULL,
                      state = CASE WHEN EXISTS (SELECT 1 FROM reconciliation_operationrow r
                                                 WHERE r.operation_id = o.id AND r.result = 'cancelled')
                                   THEN 'cancelled' ELSE 'done' END
                WHERE o.id = %s AND o.finished_at IS NULL
                  AND NOT EXISTS (SELECT 1 FROM reconciliation_operationrow r
                                   WHERE r.operation_id = o.id AND r.result = 'pending')""",
            [operation_id],
        )
    )


def at_work_on_the_same(operation_id: int) -> list[Conflict]:
    """Running operations that have yet to work off some of the entries that this one is about."""
    return [
        Conflict(*row)
        for row in rows(
            """
            SELECT count(*)::int, o.id, o.title, u.username, o.confirmed_at
              FROM reconciliation_operationrow mine
              JOIN reconciliation_operationrow other
                ON other.entry_id = mine.entry_id AND other.result = 'pending' AND other.operation_id <> mine.operation_id
              JOIN reconciliation_operation o ON o.id = other.operation_id AND o.state = 'running'
              JOIN portal_user u ON u.id = o.created_by_id
             WHERE mine.operation_id = %s
             GROUP BY o.id, u.username ORDER BY 1 DESC, o.id""",
            [operation_id],
        )
    ]


MANY_AHEAD = 10_000  # beyond that the number tells nobody more


def ahead_of(places: Sequence[tuple[int, int, datetime, int]]) -> list[int]:
    """How many ready entries go before some of the same target and entity: (target, entity, moved, entry) of the first.

    Counted up to MANY_AHEAD.
    """
    if not places:
        return []
    return [
        row[0]
        for row in rows(
            """
            SELECT c.ahead FROM unnest(%s::bigint[], %s::bigint[], %s::timestamptz[], %s::bigint[])
                   WITH ORDINALITY AS w(target_id, entity_id, moved_at, entry_id, number)
             CROSS JOIN LATERAL (SELECT count(*)::int AS ahead FROM (
                SELECT 1 FROM portal_ledgerstate s
                 WHERE s.target_id = w.target_id AND s.entity_id = w.entity_id AND s.state = 'ready'
                   AND (s.moved_at, s.entry_id) < (w.moved_at, w.entry_id) LIMIT %s) found) c
             ORDER BY w.number""",
            [*(list(column) for column in zip(*places, strict=True)), MANY_AHEAD],
        )
    ]
