"""Cases and holds, set-based: opened, closed, counted. A change of a case's own state leaves history, as its model promises."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from portal.sql import as_json, copy_in, execute, rows

_TRACKED = """id, rule, subject_type, subject_key, sentence, detail, state, regressions, opened_at, closed_at, connection_id,
 entity_id, owner_id, team_id, tags, aside, merged_into_id, escalated_at"""


def remember(case_ids: Sequence[int], kind: str, reason: str, user_id: int | None = None) -> None:
    """One history row for each case as it stands now: `+` made, `~` changed."""
    if case_ids:
        execute(
            f"INSERT INTO reconciliation_historicalexceptioncase ({_TRACKED}, history_date, history_change_reason, history_type,"  # noqa: S608
            f" history_user_id) SELECT {_TRACKED}, clock_timestamp(), %s, %s, %s FROM reconciliation_exceptioncase"
            " WHERE id = ANY(%s::bigint[])",
            [reason, kind, user_id, list(case_ids)],
        )


def remember_each(case_ids: Sequence[int], kind: str, reasons: Sequence[str], user_id: int | None = None) -> None:
    """One history row for each case as it stands now, each with a reason of its own."""
    if case_ids:
        execute(
            f"INSERT INTO reconciliation_historicalexceptioncase ({_TRACKED}, history_date, history_change_reason, history_type,"  # noqa: S608
            f" history_user_id) SELECT {_TRACKED}, clock_timestamp(), w.why, %s, %s FROM reconciliation_exceptioncase"
            " JOIN unnest(%s::bigint[], %s::text[]) AS w(case_id, why) ON w.case_id = id",
            [kind, user_id, list(case_ids), list(reasons)],
        )


class HoldRow(NamedTuple):
    """One entry stopped by one rule; `merged_from` is the merged case whose cause it is."""

    entry_id: int
    case_id: int
    rule: str
    sentence: str
    detail: dict[str, Any]
    merged_from: int | None = None


def _note_opened(by_case: Mapping[int, int]) -> None:
    """Count the holds that cases took on today."""
    if by_case:
        execute(
            "INSERT INTO reconciliation_caseday (case_id, day, opened)"
            " SELECT w.id, (now() AT TIME ZONE 'UTC')::date, w.opened FROM unnest(%s::bigint[], %s::int[]) AS w(id, opened)"
            " ORDER BY w.id ON CONFLICT (case_id, day)"
            " DO UPDATE SET opened = reconciliation_caseday.opened + excluded.opened",
            [list(by_case), list(by_case.values())],
        )


def open_holds_on_new(holds: Sequence[HoldRow], moment: Any) -> None:
    """Write holds of entries that were just made and have none."""
    copy_in(
        "reconciliation_hold",
        ("entry_id", "case_id", "rule", "sentence", "detail", "merged_from_id", "opened_at", "outcome", "reason"),
        ([h.entry_id, h.case_id, h.rule, h.sentence, as_json(h.detail), h.merged_from, moment, "", ""] for h in holds),
    )
    _note_opened(Counter(hold.case_id for hold in holds))


def open_holds(holds: Sequence[HoldRow]) -> set[int]:
    """Write holds, or give those that are open already their new sentence and case; the cases that they left."""
    arrays = [list(column) for column in zip(*holds, strict=True)]
    arrays[4] = [as_json(detail) for detail in arrays[4]]
    left = rows(
        "SELECT DISTINCT h.case_id FROM reconciliation_hold h JOIN unnest(%s::bigint[], %s::text[], %s::bigint[])"
        " AS w(entry_id, rule, case_id) ON h.entry_id = w.entry_id AND h.rule = w.rule"
        " WHERE h.closed_at IS NULL AND h.case_id <> w.case_id",
        [arrays[0], arrays[2], arrays[1]],
    )
    written = rows(
        "INSERT INTO reconciliation_hold (entry_id, case_id, rule, sentence, detail, merged_from_id, opened_at, outcome, reason)"
        " SELECT w.entry_id, w.case_id, w.rule, w.sentence, w.detail, w.merged_from, now(), '', '' FROM"
        " unnest(%s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::jsonb[], %s::bigint[])"
        " AS w(entry_id, case_id, rule, sentence, detail, merged_from)"
        " ON CONFLICT (entry_id, rule) WHERE closed_at IS NULL"
        " DO UPDATE SET case_id = excluded.case_id, sentence = excluded.sentence, detail = excluded.detail,"
        "               merged_from_id = excluded.merged_from_id"
        " RETURNING case_id, xmax = 0",
        arrays,
    )
    _note_opened(Counter(case_id for case_id, is_new in written if is_new))
    return {row[0] for row in left}


def close_holds(
    entry_ids: Sequence[int], rules: Collection[str] | None, outcome: str, *, user_id: int | None, reason: str
) -> list[tuple[int, int]]:
    """Close the open holds of entries, all or those of some rules: (entry, case) of each."""
    condition = "" if rules is None else " AND rule = ANY(%s::text[])"
    return [
        (row[0], row[1])
        for row in rows(
            "UPDATE reconciliation_hold SET closed_at = now(), outcome = %s, closed_by_id = %s, reason = %s"  # noqa: S608
            f" WHERE entry_id = ANY(%s::bigint[]) AND closed_at IS NULL{condition} RETURNING entry_id, case_id",
            [outcome, user_id, reason, list(entry_ids), *([] if rules is None else [list(rules)])],
        )
    ]


def close_hold_rows(
    hold_ids: Sequence[int], outcome: str, *, user_id: int | None, reason: str
) -> list[tuple[int, int, str]]:
    """Close given holds that are still open: (entry, case, rule) of each."""
    return [
        (row[0], row[1], row[2])
        for row in rows(
            "UPDATE reconciliation_hold SET closed_at = now(), outcome = %s, closed_by_id = %s, reason = %s"
            " WHERE id = ANY(%s::bigint[]) AND closed_at IS NULL RETURNING entry_id, case_id, rule",
            [outcome, user_id, reason, list(hold_ids)],
        )
    ]


def open_holds_of(entry_ids: Sequence[int]) -> list[tuple[int, int, str, int]]:
    """(hold, entry, rule, case) of every open hold of these entries."""
    return [
        (row[0], row[1], row[2], row[3])
        for row in rows(
            "SELECT id, entry_id, rule, case_id FROM reconciliation_hold"
            " WHERE entry_id = ANY(%s::bigint[]) AND closed_at IS NULL",
            [list(entry_ids)],
        )
    ]


def holds(hold_ids: Sequence[int]) -> list[tuple[Any, ...]]:
    """(hold, entry, rule, case, entity) of given holds that are open, locked."""
    return rows(
        "SELECT h.id, h.entry_id, h.rule, h.case_id, c.entity_id FROM reconciliation_hold h"
        " JOIN reconciliation_exceptioncase c ON c.id = h.case_id"
        " WHERE h.id = ANY(%s::bigint[]) AND h.closed_at IS NULL ORDER BY h.id FOR UPDATE OF h",
        [list(hold_ids)],
    )


_COUNTED = """
    WITH counted AS (
        SELECT h.case_id, count(*) AS holds, coalesce(sum(e.hours), 0) AS hours,
               min(e.work_date) AS oldest, max(e.work_date) AS newest,
               count(DISTINCT coalesce(e.resource_id, 0)) AS people
          FROM reconciliation_hold h JOIN portal_ledgerentry e ON e.id = h.entry_id
         WHERE h.case_id = ANY(%s::bigint[]) AND h.closed_at IS NULL GROUP BY h.case_id
    )
    UPDATE reconciliation_exceptioncase c
       SET open_holds = coalesce(n.holds, 0), open_hours = coalesce(n.hours, 0), open_people = coalesce(n.people, 0),
           oldest_work_date = n.oldest, newest_work_date = n.newest, counted_at = clock_timestamp(),
           state = CASE WHEN n.is_over AND c.state = 'open' THEN 'resolved' ELSE c.state END,
           aside = CASE WHEN n.is_over THEN '' ELSE c.aside END,
           escalated_at = CASE WHEN n.is_over THEN NULL ELSE c.escalated_at END,
           closed_at = CASE WHEN n.is_over THEN coalesce(c.closed_at, now()) ELSE c.closed_at END
      FROM (SELECT w.id, counted.*, counted.holds IS NULL AND k.waiting = 0 AS is_over
              FROM unnest(%s::bigint[]) AS w(id) JOIN reconciliation_exceptioncase k ON k.id = w.id
              LEFT JOIN counted ON counted.case_id = w.id) n,
           (SELECT id, state FROM reconciliation_exceptioncase WHERE id = ANY(%s::bigint[]) ORDER BY id FOR NO KEY UPDATE) was
     WHERE c.id = n.id AND was.id = c.id
 RETURNING c.id, c.state, was.state"""


# What an hour without a price is worth at best guess: what its rule estimated, else the rate that its source states.
_REACHED = """
    INSERT INTO reconciliation_casereach
           (case_id, source_id, project_id, contract_id, customer_id, currency, holds, hours, amount, estimate, billable)
    SELECT h.case_id, e.source_id, e.project_id, e.contract_id, coalesce(e.customer_id, p.customer_id), w.currency, count(*),
           coalesce(sum(e.hours), 0), coalesce(sum(w.amount), 0), coalesce(sum(w.guess), 0),
           coalesce(sum(coalesce(w.amount, w.guess))
                    FILTER (WHERE (e.is_billable AND NOT e.is_cost_only) OR e.kind = 'invoice'), 0)
      FROM reconciliation_hold h
      JOIN portal_ledgerentry e ON e.id = h.entry_id
      LEFT JOIN portal_project p ON p.id = e.project_id
      LEFT JOIN LATERAL (SELECT t.hours, t.rate, t.currency FROM portal_timeentry t
                          WHERE e.amount IS NULL AND t.document_id = e.document_id AND t.version = e.version OFFSET 0) t ON true
      LEFT JOIN portal_invoicedraft d ON e.kind = 'invoice' AND d.document_id = e.document_id
      LEFT JOIN portal_invoiceproposal i ON i.id = d.proposal_id
     CROSS JOIN LATERAL (
           SELECT coalesce(e.amount, d.net) AS amount,
                  CASE WHEN e.amount IS NULL THEN coalesce((h.detail ->> 'estimate')::numeric, t.hours * t.rate) END AS guess,
                  CASE WHEN e.amount IS NULL AND NOT h.detail ? 'estimate'
                       THEN coalesce(nullif(t.currency, ''), i.currency, e.currency) ELSE e.currency END AS currency
           ) w
     WHERE h.case_id = ANY(%s::bigint[]) AND h.closed_at IS NULL
     GROUP BY 1, 2, 3, 4, 5, 6"""


def count(case_ids: Sequence[int]) -> list[int]:
    """Count hours, people, age and reach of cases anew; those without an open hold resolve. The ids that resolved now.

    Their money follows from the reach: `reconciliation.cash.weigh`.
    """
    ids = sorted(case_ids)
    if not ids:
        return []
    resolved = [row[0] for row in rows(_COUNTED, [ids, ids, ids]) if row[1] == "resolved" and row[2] == "open"]
    reach(ids)
    return resolved


def reach(case_ids: Sequence[int]) -> None:
    """Write anew on whose work cases hold what."""
    execute("DELETE FROM reconciliation_casereach WHERE case_id = ANY(%s::bigint[])", [list(case_ids)])
    execute(_REACHED, [list(case_ids)])


def stake(rows_of: Sequence[tuple[int, int | None, int | None, str, Decimal, bool]]) -> None:
    """Write whose money causes without entries are about: (case, source, customer, currency, amount, whether it is to come)."""
    if not rows_of:
        return
    execute("DELETE FROM reconciliation_casereach WHERE case_id = ANY(%s::bigint[])", [[row[0] for row in rows_of]])
    execute(
        "INSERT INTO reconciliation_casereach"
        " (case_id, source_id, customer_id, currency, holds, hours, amount, estimate, billable)"
        " SELECT w.case_id, w.source_id, w.customer_id, w.currency, 0, 0, w.amount, 0,"
        "        CASE WHEN w.is_to_come THEN w.amount ELSE 0 END"
        "   FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::text[], %s::numeric[], %s::boolean[])"
        "     AS w(case_id, source_id, customer_id, currency, amount, is_to_come)"
        "  WHERE w.amount > 0 AND w.currency <> ''",
        [list(column) for column in zip(*rows_of, strict=True)],
    )


def keep_totals(case_ids: Sequence[int]) -> None:
    """What cases that resolved now held in all, each document once with its last figures: it stays as their total."""
    if case_ids:
        execute(
            "INSERT INTO reconciliation_casetotal (case_id, currency, holds, amount)"
            " SELECT case_id, currency, count(*), coalesce(sum(amount), 0) FROM ("
            "  SELECT DISTINCT ON (h.case_id, e.document_id, e.part) h.case_id, e.currency, e.amount"
            "   FROM reconciliation_hold h JOIN portal_ledgerentry e ON e.id = h.entry_id"
            "   WHERE h.case_id = ANY(%s::bigint[]) AND e.currency <> ''"
            "   ORDER BY h.case_id, e.document_id, e.part, e.version DESC, e.id DESC) held GROUP BY 1, 2",
            [list(case_ids)],
        )


def resolve(case_ids: Sequence[int], *, reason: str, user_id: int | None = None) -> list[int]:
    """Close open cases that hold no entry (a connection's, a comparison's); the ids that closed."""
    closed = [
        row[0]
        for row in rows(
            "UPDATE reconciliation_exceptioncase SET state = 'resolved', closed_at = now(), aside = '', escalated_at = NULL,"
            " waiting = 0 WHERE id = ANY(%s::bigint[]) AND state = 'open' AND open_holds = 0 RETURNING id",
            [sorted(case_ids)],
        )
    ]
    remember(closed, "~", reason, user_id)
    return closed


def open_case_ids(rule: str, subject_type: str, subject_key: str, entity_id: int | None) -> list[int]:
    """The open cases of a cause, in one entity or in all."""
    return [
        row[0]
        for row in rows(
            "SELECT id FROM reconciliation_exceptioncase WHERE state = 'open' AND rule = %s AND subject_type = %s"
            " AND subject_key = %s AND (%s::bigint IS NULL OR entity_id = %s) ORDER BY id",
            [rule, subject_type, subject_key, entity_id, entity_id],
        )
    ]


def entities_of(entry_ids: Sequence[int]) -> list[tuple[Any, ...]]:
    """(entry, entity, target, project, resource, task, period, work date, posting date) of some entries."""
    return rows(
        "SELECT id, entity_id, target_id, project_id, resource_id, task_id, period_id, work_date, post_on"
        " FROM portal_ledgerentry WHERE id = ANY(%s::bigint[])",
        [list(entry_ids)],
    )
