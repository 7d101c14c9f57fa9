"""The hand-written SQL of questions to targets: asked, due, answered. One open question per entry; a later one refines it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from portal.sql import execute, rows


@dataclass(frozen=True, slots=True)
class Asked:
    """One open question: what is done if the target holds nothing, who decided so, and why."""

    if_absent: str
    actor: str
    reason: str


def ask(entry_ids: Sequence[int], user_id: int, reason: str, if_absent: str) -> None:
    """Ask about entries; where a question is open, a decision takes the place of a mere look and nothing else changes."""
    execute(
        """
        INSERT INTO reconciliation_targetquestion
               (entry_id, if_absent, by_id, reason, asked_at, next_ask_at, answer)
        SELECT w.id, %(if_absent)s, %(by)s, %(reason)s, now(), now(), '' FROM unnest(%(ids)s::bigint[]) AS w(id)
            ON CONFLICT (entry_id) WHERE answered_at IS NULL DO UPDATE
           SET if_absent = excluded.if_absent, by_id = excluded.by_id, reason = excluded.reason,
               asked_at = excluded.asked_at, next_ask_at = excluded.next_ask_at
         WHERE reconciliation_targetquestion.if_absent = 'nothing'""",
        {"ids": sorted(entry_ids), "if_absent": if_absent, "by": user_id, "reason": reason},
    )


def missed(entry_ids: Sequence[int], rules: Sequence[str]) -> set[int]:
    """Entries that were looked for once and not found: by a look-up, or by the target's statement."""
    return {
        row[0]
        for row in rows(
            "SELECT h.entry_id FROM reconciliation_hold h JOIN portal_ledgerstate s ON s.entry_id = h.entry_id"
            " WHERE h.entry_id = ANY(%s) AND h.closed_at IS NULL AND (h.rule = ANY(%s)"
            " OR h.rule = 'out-of-balance' AND s.state IN ('posted', 'reconciled')"
            " AND h.detail->>'outcome' = 'missing_right' AND h.detail->>'leg' = 'ledger_target')",
            [list(entry_ids), list(rules)],
        )
    }


def asked_with(entry_ids: Sequence[int], if_absent: str) -> set[int]:
    """Entries with an open question for whose absence this was decided."""
    found = rows(
        "SELECT entry_id FROM reconciliation_targetquestion"
        " WHERE answered_at IS NULL AND if_absent = %s AND entry_id = ANY(%s)",
        [if_absent, list(entry_ids)],
    )
    return {row[0] for row in found}


def asked_before(looked: Sequence[tuple[int, int]]) -> dict[int, Asked]:
    """Open questions that these (entry, attempt) answer: those asked before the attempt began."""
    return {
        row[0]: Asked(*row[1:])
        for row in rows(
            "SELECT q.entry_id, q.if_absent, u.username, q.reason FROM reconciliation_targetquestion q"
            " JOIN unnest(%s::bigint[], %s::bigint[]) AS w(entry_id, attempt_id) ON w.entry_id = q.entry_id"
            " JOIN portal_attempt a ON a.id = w.attempt_id AND a.started_at >= q.asked_at"
            " JOIN portal_user u ON u.id = q.by_id WHERE q.answered_at IS NULL",
            [[pair[0] for pair in looked], [pair[1] for pair in looked]],
        )
    }


def answer(entry_ids: Sequence[int], word: str, successors: Mapping[int, int] | None = None) -> None:
    """Close the open questions about entries with the target's answer, and name the entries that took their place."""
    made = successors or {}
    if entry_ids:
        execute(
            "UPDATE reconciliation_targetquestion q SET answered_at = clock_timestamp(), answer = %s,"
            " successor_id = w.successor FROM unnest(%s::bigint[], %s::bigint[]) AS w(entry_id, successor)"
            " WHERE q.entry_id = w.entry_id AND q.answered_at IS NULL",
            [word, list(entry_ids), [made.get(entry_id) for entry_id in entry_ids]],
        )


def withdraw(entry_ids: Sequence[int], if_absent: str) -> None:
    """Close the open questions about entries for whose absence this was decided, and is not to be done any more."""
    if entry_ids:
        execute(
            "UPDATE reconciliation_targetquestion SET answered_at = clock_timestamp(), answer = 'withdrawn'"
            " WHERE answered_at IS NULL AND if_absent = %s AND entry_id = ANY(%s::bigint[])",
            [if_absent, list(entry_ids)],
        )


def refused_as(entry_ids: Sequence[int], rule: str) -> set[int]:
    """Entries that this rule holds now."""
    found = rows(
        "SELECT entry_id FROM reconciliation_hold WHERE entry_id = ANY(%s::bigint[]) AND rule = %s AND closed_at IS NULL",
        [list(entry_ids), rule],
    )
    return {row[0] for row in found}


def withdraw_moved(states: Sequence[str]) -> int:
    """Close questions about entries that stand in one of these states; how many."""
    return execute(
        "UPDATE reconciliation_targetquestion q SET answered_at = clock_timestamp(), answer = 'withdrawn'"
        " FROM portal_ledgerstate s WHERE s.entry_id = q.entry_id AND q.answered_at IS NULL AND s.state = ANY(%s)",
        [list(states)],
    )
