"""What is due: entries that the target is asked about, locked where they are taken up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from portal import sql


@dataclass(frozen=True, slots=True)
class Standing:
    """One entry that the target is asked about. `age` is seconds since its last move, `receipt` the number it was given."""

    entry_id: int
    fence: int
    entity_id: int
    key: str
    look_ups: int
    attempts: int
    age: float
    receipt: str
    state: str
    target_id: int
    is_reversal: bool


_STANDING = """
    SELECT s.entry_id, s.fence, s.entity_id, replace(e.idempotency_key::text, '-', ''), s.look_ups, s.attempts,
           extract(epoch FROM clock_timestamp() - s.moved_at)::float, s.receipt_number, s.state, s.target_id,
           e.reverses_id IS NOT NULL"""


def due_in(state: str, target_id: int, limit: int) -> list[Standing]:
    """Lock entries in doubt or accepted whose next look is due; locked rows are passed by."""
    return [
        Standing(*row)
        for row in sql.rows(
            f"{_STANDING} FROM portal_ledgerstate s JOIN portal_ledgerentry e ON e.id = s.entry_id"
            " WHERE s.target_id = %s AND s.state = %s AND s.next_attempt_at <= clock_timestamp()"
            " ORDER BY s.next_attempt_at LIMIT %s FOR UPDATE OF s SKIP LOCKED",
            [target_id, state, limit],
        )
    ]


def named(entry_ids: Sequence[int], states: Sequence[str], target_id: int, limit: int) -> list[Standing]:
    """Lock given entries that stand in one of these states, due or not; locked rows are passed by."""
    return [
        Standing(*row)
        for row in sql.rows(
            f"{_STANDING} FROM portal_ledgerstate s JOIN portal_ledgerentry e ON e.id = s.entry_id"
            " WHERE s.target_id = %s AND s.state = ANY(%s) AND s.entry_id = ANY(%s)"
            " ORDER BY s.entry_id LIMIT %s FOR UPDATE OF s SKIP LOCKED",
            [target_id, list(states), list(entry_ids), limit],
        )
    ]


def asked_for(target_id: int, limit: int, again_after: float) -> list[Standing]:
    """Lock posted entries that a person wants looked at now, and set when they are asked for again if no answer comes."""
    found = [
        Standing(*row)
        for row in sql.rows(
            f"{_STANDING} FROM reconciliation_targetquestion q"
            " JOIN portal_ledgerstate s ON s.entry_id = q.entry_id JOIN portal_ledgerentry e ON e.id = s.entry_id"
            " WHERE q.answered_at IS NULL AND q.next_ask_at <= clock_timestamp() AND s.target_id = %s"
            " AND s.state IN ('posted', 'reconciled') ORDER BY q.next_ask_at LIMIT %s FOR UPDATE OF s SKIP LOCKED",
            [target_id, limit],
        )
    ]
    if found:
        sql.execute(
            "UPDATE reconciliation_targetquestion SET next_ask_at = clock_timestamp() + make_interval(secs => %s)"
            " WHERE answered_at IS NULL AND entry_id = ANY(%s)",
            [again_after, [entry.entry_id for entry in found]],
        )
    return found


def to_read_again(target_id: int, older_than: float, limit: int) -> list[Standing]:
    """Posted entries of open periods that were last read back more than some seconds ago."""
    return [
        Standing(*row)
        for row in sql.rows(
            f"{_STANDING} FROM portal_ledgerstate s JOIN portal_ledgerentry e ON e.id = s.entry_id"  # noqa: S608
            " JOIN portal_accountingperiod p ON p.id = e.period_id AND p.state IN ('open', 'closing')"
            " WHERE s.target_id = %s AND s.state IN ('posted', 'reconciled')"
            " AND s.proved_at < clock_timestamp() - make_interval(secs => %s)"
            " AND NOT EXISTS (SELECT 1 FROM portal_readback r WHERE r.entry_id = s.entry_id"
            " AND r.at > clock_timestamp() - make_interval(secs => %s))"
            " ORDER BY s.proved_at LIMIT %s FOR UPDATE OF s SKIP LOCKED",
            [target_id, older_than, older_than, limit],
        )
    ]


def published_to_read_again(target_id: int, older_than: float, limit: int) -> list[Standing]:
    """Publications that stand at a system and were last read more than some seconds ago; locked rows are passed by."""
    return [
        Standing(*row)
        for row in sql.rows(
            f"{_STANDING} FROM portal_published b JOIN portal_document d ON d.id = b.document_id"
            " JOIN portal_ledgerentry e ON e.document_id = d.id AND e.version = d.current_version"
            " JOIN portal_ledgerstate s ON s.entry_id = e.id AND s.state = 'posted'"
            " WHERE b.connection_id = %s AND s.proved_at < clock_timestamp() - make_interval(secs => %s)"
            " AND (b.read_at IS NULL OR b.read_at < clock_timestamp() - make_interval(secs => %s))"
            " ORDER BY s.proved_at LIMIT %s FOR UPDATE OF s SKIP LOCKED",
            [target_id, older_than, older_than, limit],
        )
    ]


def drafts_to_read_again(target_id: int, older_than: float, limit: int) -> list[Standing]:
    """Invoice drafts that stand at a system, of which no bill has come yet, last read more than some seconds ago."""
    return [
        Standing(*row)
        for row in sql.rows(
            f"{_STANDING} FROM portal_invoicedraft b JOIN portal_ledgerentry e ON e.document_id = b.document_id"
            " JOIN portal_ledgerstate s ON s.entry_id = e.id AND s.state = 'posted'"
            " WHERE b.connection_id = %s AND b.invoice_id IS NULL"
            " AND s.proved_at < clock_timestamp() - make_interval(secs => %s)"
            " AND (b.read_at IS NULL OR b.read_at < clock_timestamp() - make_interval(secs => %s))"
            " ORDER BY s.proved_at LIMIT %s FOR UPDATE OF s SKIP LOCKED",
            [target_id, older_than, older_than, limit],
        )
    ]


def expired(target_id: int, limit: int) -> list[Standing]:
    """Lock entries whose worker did not come back within their lease."""
    return [
        Standing(*row)
        for row in sql.rows(
            f"{_STANDING} FROM portal_ledgerstate s JOIN portal_ledgerentry e ON e.id = s.entry_id"
            " WHERE s.target_id = %s AND s.state = 'sending' AND s.lease_until < clock_timestamp()"
            " ORDER BY s.lease_until LIMIT %s FOR UPDATE OF s SKIP LOCKED",
            [target_id, limit],
        )
    ]


def old_doubts(target_id: int, seconds: float, rule: str, limit: int) -> list[Standing]:
    """Entries in doubt for longer than some seconds that no open hold of a rule tells of."""
    return [
        Standing(*row)
        for row in sql.rows(
            f"{_STANDING} FROM portal_ledgerstate s JOIN portal_ledgerentry e ON e.id = s.entry_id"  # noqa: S608
            " WHERE s.target_id = %s AND s.state = 'in_doubt'"
            " AND s.moved_at < clock_timestamp() - make_interval(secs => %s)"
            " AND NOT EXISTS (SELECT 1 FROM reconciliation_hold h"
            " WHERE h.entry_id = s.entry_id AND h.rule = %s AND h.closed_at IS NULL) ORDER BY s.moved_at LIMIT %s",
            [target_id, seconds, rule, limit],
        )
    ]


def asked_only(entry_ids: Sequence[int]) -> set[int]:
    """Which of these entries in doubt were not sent into it: they are asked about, because they may not go again."""
    return {
        row[0]
        for row in sql.rows(
            "SELECT t.entry_id FROM portal_ledgertransition t JOIN portal_ledgerstate s ON s.entry_id = t.entry_id"
            " AND s.fence = t.fence WHERE t.entry_id = ANY(%s) AND t.to_state = 'in_doubt' AND t.from_state <> 'sending'",
            [list(entry_ids)],
        )
    }


def superseded(entry_ids: Sequence[int]) -> list[int]:
    """Which of these entries are due under a version, or with a content, that is asked about because it may be owed no more."""
    return [
        row[0]
        for row in sql.rows(
            "SELECT s.entry_id FROM portal_ledgerstate s"
            " JOIN portal_ledgertransition t ON t.entry_id = s.entry_id AND t.fence = s.fence - 1"
            " JOIN portal_ledgerentry e ON e.id = s.entry_id JOIN portal_document d ON d.id = e.document_id"
            " WHERE s.entry_id = ANY(%s) AND s.state = 'ready' AND e.reverses_id IS NULL"
            " AND (t.to_state = 'in_doubt' AND t.from_state <> 'sending' OR d.current_version <> e.version)"
            " ORDER BY s.entry_id",
            [list(entry_ids)],
        )
    ]


def standing_of(entry_ids: Sequence[int]) -> dict[int, Standing]:
    """Where entries stand, by id."""
    return {
        row[0]: Standing(*row)
        for row in sql.rows(
            f"{_STANDING} FROM portal_ledgerstate s JOIN portal_ledgerentry e ON e.id = s.entry_id"
            " WHERE s.entry_id = ANY(%s)",
            [list(entry_ids)],
        )
    }
