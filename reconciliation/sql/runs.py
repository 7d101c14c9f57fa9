"""The hand-written SQL of comparisons on their way: leased to one worker, put off, or ended, each under its fence."""

from __future__ import annotations

from portal.sql import execute, rows


def due() -> list[int]:
    """Runs that have not ended, that no worker holds, and that do not wait any longer; the oldest first."""
    return [
        row[0]
        for row in rows(
            "SELECT id FROM reconciliation_reconciliationrun WHERE state = 'running'"
            " AND (lease_until IS NULL OR lease_until < clock_timestamp())"
            " AND (next_try_at IS NULL OR next_try_at <= clock_timestamp()) ORDER BY id"
        )
    ]


def take(run_id: int, seconds: float) -> bool:
    """Lease a run that nobody holds; whether it was free."""
    return bool(
        execute(
            "UPDATE reconciliation_reconciliationrun SET fence = fence + 1, next_try_at = NULL,"
            " deaths = deaths + (lease_until IS NOT NULL)::int,"
            " lease_until = clock_timestamp() + make_interval(secs => %s)"
            " WHERE id = %s AND state = 'running' AND (lease_until IS NULL OR lease_until < clock_timestamp())",
            [seconds, run_id],
        )
    )


def hold_on(run_id: int, fence: int, seconds: float) -> bool:
    """Renew a lease; whether it was still the holder's."""
    return bool(
        execute(
            "UPDATE reconciliation_reconciliationrun SET lease_until = clock_timestamp() + make_interval(secs => %s)"
            " WHERE id = %s AND fence = %s AND state = 'running'",
            [seconds, run_id, fence],
        )
    )


def lock(run_id: int, fence: int) -> bool:
    """Lock a run until the transaction ends; whether it is still the holder's."""
    return bool(
        rows(
            "SELECT 1 FROM reconciliation_reconciliationrun WHERE id = %s AND fence = %s AND state = 'running' FOR UPDATE",
            [run_id, fence],
        )
    )


def put_off(run_id: int, fence: int, sentence: str, seconds: float) -> bool:
    """Give the lease back and wait; whether it was still the holder's."""
    return bool(
        execute(
            "UPDATE reconciliation_reconciliationrun SET lease_until = NULL, waits_for = %s,"
            " next_try_at = clock_timestamp() + make_interval(secs => %s)"
            " WHERE id = %s AND fence = %s AND state = 'running'",
            [sentence, seconds, run_id, fence],
        )
    )


def fail(run_id: int, fence: int, reason: str) -> bool:
    """End a run that could not be compared; whether it was still the holder's."""
    return bool(
        execute(
            "UPDATE reconciliation_reconciliationrun SET state = 'failed', failure = %s, finished_at = clock_timestamp(),"
            " lease_until = NULL, next_try_at = NULL, waits_for = '' WHERE id = %s AND fence = %s AND state = 'running'",
            [reason, run_id, fence],
        )
    )
