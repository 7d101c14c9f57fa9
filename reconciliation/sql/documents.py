"""Reading documents, their standing entries and what else one person has on one day."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import date
from typing import Any

from portal.sql import execute, rows
from reconciliation.sql import numbers, owed

LEFT_OUT = "left out: "  # how the reason of a move begins by which a person took an entry off the ledger for good

_SHARED = """v.version, v.status, v.resource_key, v.resource_code, v.resource_name, v.project_key, v.project_code, v.project_name,
 v.task_key, v.task_code, v.task_name, v.work_date, v.is_billable, v.currency, v.description, v.approver_key,
 v.approver_code, v.approver_name, v.provenance, v.post_on"""
_TIME = f"{_SHARED}, v.hours, v.rate, v.rate_source, v.starts_at, v.ends_at, NULL, '', '', NULL, ''"
_EXPENSE = f"{_SHARED}, NULL, NULL, '', NULL, NULL, v.amount, v.category, v.tax_code, v.tax_amount, v.receipt_reference"
_HEAD = "d.id, d.connection_id, d.entity_id, d.kind, d.external_id"
_TABLES = (("time", "portal_timeentry", _TIME), ("expense", "portal_expense", _EXPENSE))


def lock(document_ids: Collection[int]) -> None:
    """Lock documents in id order until the transaction ends; whoever validates them again waits."""
    execute(
        "SELECT 1 FROM portal_document WHERE id = ANY(%s::bigint[]) ORDER BY id FOR NO KEY UPDATE",
        [numbers(document_ids)],
    )


def of_entries(entry_ids: Sequence[int]) -> list[int]:
    """The documents that entries are about."""
    found = rows(
        "SELECT DISTINCT document_id FROM portal_ledgerentry WHERE id = ANY(%s::bigint[])", [numbers(entry_ids)]
    )
    return [row[0] for row in found]


def current_versions(document_ids: Sequence[int]) -> list[tuple[Any, ...]]:
    """The current version of each document, in the order of `Draft`'s fields."""
    ids = numbers(document_ids)
    found: list[tuple[Any, ...]] = []
    for kind, table, columns in _TABLES:
        found += rows(
            f"SELECT {_HEAD}, {columns} FROM portal_document d"  # noqa: S608 -- this module's own words
            f" JOIN {table} v ON v.document_id = d.id AND v.version = d.current_version"
            f" WHERE d.id = ANY(%s::bigint[]) AND d.kind = '{kind}'",
            [ids],
        )
    return found


ENTRY = """e.id, e.document_id, e.version, e.part, e.generation, e.target_id, e.reverses_id, s.state, s.fence, s.body_hash,
 s.may_stand, s.waits_on, s.moved_at, e.hours, e.rate, e.amount, e.currency, e.work_date, e.post_on, e.project_id,
 e.resource_id, e.task_id,
 e.is_billable, e.memo, e.category, e.tax_code, e.contract_id, e.purchase_order_id, e.customer_id, e.role_id,
 e.cost_centre_id, e.period_id, e.rate_used_id, e.rate_version, e.receipt_reference, e.is_cost_only, e.tags, e.target_keys,
 e.kind, e.entity_id, e.source_id"""


def entries_of_documents(
    document_ids: Sequence[int], *, lock: bool = False, without: Sequence[int] = ()
) -> list[tuple[Any, ...]]:
    """Every entry but `without` that these documents ever had on the ledger, in the order of `Standing`'s fields.

    Whoever acts on where they stand asks for the lock: a claim of the outbox is then either seen, or passes them by.
    """
    ending = " ORDER BY e.id FOR NO KEY UPDATE OF s" if lock else " ORDER BY e.id"
    return rows(
        f"SELECT {ENTRY} FROM portal_ledgerentry e JOIN portal_ledgerstate s ON s.entry_id = e.id"  # noqa: S608
        f" WHERE e.document_id = ANY(%s::bigint[]) AND e.id <> ALL(%s::bigint[]){ending}",
        [numbers(document_ids), numbers(without)],
    )


def entries(entry_ids: Sequence[int], *, lock: bool = False) -> list[tuple[Any, ...]]:
    """Given entries, in the order of `Standing`'s fields; their states locked in id order if asked."""
    ending = " ORDER BY e.id FOR NO KEY UPDATE OF s" if lock else " ORDER BY e.id"
    return rows(
        f"SELECT {ENTRY} FROM portal_ledgerentry e JOIN portal_ledgerstate s ON s.entry_id = e.id"  # noqa: S608
        f" WHERE e.id = ANY(%s::bigint[]){ending}",
        [numbers(entry_ids)],
    )


def left_out(entry_ids: Collection[int]) -> set[int]:
    """Which of these cancelled entries a person left out for good; the others may be owed again."""
    found = rows(
        "SELECT entry_id FROM portal_ledgertransition WHERE entry_id = ANY(%s::bigint[]) AND to_state = 'cancelled'"
        " AND starts_with(reason, %s)",
        [numbers(entry_ids), LEFT_OUT],
    )
    return {row[0] for row in found}


def reasons_of_cancelled(entry_ids: Collection[int]) -> dict[int, str]:
    """Why cancelled entries were cancelled, by entry; one statement, and none for none."""
    if not entry_ids:
        return {}
    found = rows(
        "SELECT DISTINCT ON (entry_id) entry_id, reason FROM portal_ledgertransition"
        " WHERE entry_id = ANY(%s::bigint[]) AND to_state = 'cancelled' ORDER BY entry_id, fence DESC",
        [numbers(entry_ids)],
    )
    return {row[0]: row[1] for row in found}


def live_time_on(days: Iterable[tuple[int, Any]], *, without: Collection[int] = ()) -> list[tuple[Any, ...]]:
    """Live time entries of each (resource, work date), but for those of the documents `without`.

    (resource, day, document, source, project, hours, state, billable, starts, ends, provenance, description, external id)
    """
    pairs = list(days)
    return rows(
        """
        SELECT w.resource_id, w.work_date, e.document_id, e.source_id, e.project_id, e.hours, s.state, v.is_billable,
               v.starts_at, v.ends_at, v.provenance, v.description, d.external_id
          FROM unnest(%s::bigint[], %s::date[]) AS w(resource_id, work_date)
         CROSS JOIN LATERAL (  -- day by day from the index, whatever the database knows of the table
               SELECT id, document_id, version, source_id, project_id, hours FROM portal_ledgerentry
                WHERE resource_id = w.resource_id AND work_date = w.work_date AND kind = 'time' AND reverses_id IS NULL
                  AND document_id <> ALL(%s::bigint[]) OFFSET 0) AS e
          JOIN portal_ledgerstate s ON s.entry_id = e.id AND s.state NOT IN ('cancelled', 'reversed')
          JOIN portal_timeentry v ON v.document_id = e.document_id AND v.version = e.version
          JOIN portal_document d ON d.id = e.document_id""",
        [
            numbers([pair[0] for pair in pairs]),
            "{" + ",".join([str(pair[1]) for pair in pairs]) + "}",
            numbers(without),
        ],
    )


def refused_on(days: Collection[date]) -> list[int]:
    """Documents whose current version is time of one of these days that its source rejected, or withdrew after approval."""
    found = rows(
        "SELECT d.id FROM portal_timeentry v JOIN portal_document d ON d.id = v.document_id AND d.current_version = v.version"
        " WHERE v.status IN ('rejected', 'withdrawn') AND v.work_date = ANY(%s::date[]) ORDER BY d.id",
        ["{" + ",".join(str(day) for day in days) + "}"],
    )
    return [row[0] for row in found]


def held_against(document_ids: Collection[int], rule: str) -> list[int]:
    """Entries that a rule holds because of what another tool says of these documents."""
    found = rows(
        "SELECT h.entry_id FROM reconciliation_exceptioncase c JOIN reconciliation_hold h ON h.case_id = c.id"
        " AND h.closed_at IS NULL WHERE c.state = 'open' AND c.rule = %s AND (h.detail->>'against')::bigint = ANY(%s::bigint[])",
        [rule, numbers(document_ids)],
    )
    return [row[0] for row in found]


def waivers_of(document_ids: Sequence[int]) -> list[tuple[Any, ...]]:
    """(document, version, part, rule) of every waiver that a person gave."""
    return rows(
        "SELECT e.document_id, e.version, e.part, h.rule FROM portal_ledgerentry e"
        " JOIN reconciliation_hold h ON h.entry_id = e.id AND h.outcome = 'waived'"
        " WHERE e.document_id = ANY(%s::bigint[])",
        [numbers(document_ids)],
    )


def documents_without_entry(source_id: int, after: int, limit: int) -> list[int]:
    """Approved documents of a source since its cut-over whose current version no entry stands for, after a document id."""
    return [
        row[0]
        for row in rows(
            "SELECT d.id FROM portal_document d"  # noqa: S608 -- this package's own words
            " LEFT JOIN portal_timeentry t ON d.kind = 'time' AND t.document_id = d.id AND t.version = d.current_version"
            " LEFT JOIN portal_expense x ON d.kind = 'expense' AND x.document_id = d.id AND x.version = d.current_version"
            " JOIN portal_connection c ON c.id = d.connection_id"
            " WHERE d.connection_id = %s AND d.id > %s AND coalesce(t.status, x.status) = 'approved'"
            f" AND coalesce(t.work_date, x.work_date) >= coalesce({owed.FIRST_DAY}, DATE '-infinity')"
            " AND NOT EXISTS (SELECT 1 FROM portal_ledgerentry e JOIN portal_ledgerstate s ON s.entry_id = e.id"
            " WHERE e.document_id = d.id AND e.version = d.current_version AND s.state <> 'cancelled')"
            " ORDER BY d.id LIMIT %s",
            [source_id, after, limit],
        )
    ]


def answer_hand_backs(document_ids: Sequence[int]) -> None:
    """What was handed back to the source is answered by a later version of its document."""
    execute(
        """UPDATE reconciliation_handback h SET answered_at = now()
             FROM portal_ledgerentry e JOIN portal_document d ON d.id = e.document_id
            WHERE h.answered_at IS NULL AND h.entry_id = e.id AND e.document_id = ANY(%s) AND e.version < d.current_version""",
        [numbers(document_ids)],
    )
