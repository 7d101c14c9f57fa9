"""How the entries that a change set touches stand, before and after; and which change sets wait for a worker."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date
from typing import Any

from portal.sql import execute, rows
from reconciliation.sql import numbers

# Where an entry stands. The ids lead, so that the plan is the same whatever the database knows of the tables.
_STANDS = """SELECT e.id, e.document_id, s.state, e.amount, e.currency, s.fence
  FROM ({}) AS w(id) JOIN portal_ledgerentry e ON e.id = w.id JOIN portal_ledgerstate s ON s.entry_id = w.id"""


def standing(entry_ids: Sequence[int]) -> list[tuple[Any, ...]]:
    """(entry, document, state, amount, currency, fence) of open entries, in order."""
    return rows(
        f"{_STANDS.format('SELECT unnest(%s::bigint[])')} WHERE s.state IN ('held', 'ready', 'rejected') ORDER BY e.id",
        [numbers(entry_ids)],
    )


def afterwards(entry_ids: Sequence[int], document_ids: Sequence[int], after: int) -> list[tuple[Any, ...]]:
    """The same columns of these entries, and of those that took their places since the entry `after`; whatever left is absent."""
    which = (
        "SELECT unnest(%s::bigint[])"
        " UNION SELECT id FROM portal_ledgerentry WHERE document_id = ANY(%s::bigint[]) AND id > %s"
    )
    return rows(
        f"{_STANDS.format(which)} WHERE e.reverses_id IS NULL AND s.state <> 'cancelled' ORDER BY e.id",
        [numbers(entry_ids), numbers(document_ids), after],
    )


def last_entry() -> int:
    """The highest entry there is."""
    return int(rows("SELECT coalesce(max(id), 0) FROM portal_ledgerentry")[0][0])


def causes_of(entry_ids: Sequence[int]) -> set[int]:
    """The open cases that hold some of these entries."""
    found = rows(
        "SELECT DISTINCT case_id FROM reconciliation_hold WHERE closed_at IS NULL AND entry_id = ANY(%s::bigint[])",
        [numbers(entry_ids)],
    )
    return {row[0] for row in found}


def causes(case_ids: Collection[int]) -> list[tuple[Any, ...]]:
    """(case, sentence, state, open holds) in the order of their ids."""
    return rows(
        "SELECT id, sentence, state, open_holds FROM reconciliation_exceptioncase WHERE id = ANY(%s::bigint[]) ORDER BY id",
        [list(case_ids)],
    )


def last_word() -> str:
    """The latest words of changed master data; whoever compares them sees whether anything changed meanwhile.

    The highest number and how many of those before it are there: a word with a lower number may be committed later.
    """
    found = rows(
        "SELECT coalesce(max(id), 0), count(*) FROM portal_masterchange"
        " WHERE id > (SELECT coalesce(max(id), 0) FROM portal_masterchange) - 10000"
    )
    return ":".join(str(part) for part in found[0])


def digest_of_booked(entry_ids: Sequence[int]) -> str:
    """Booked entries, the versions of their documents and what of them was ever billed, as one digest; made where they stand."""
    found = rows(
        "SELECT encode(sha256(convert_to(coalesce(string_agg(concat_ws(':', e.id, d.current_version, a.number, a.latest), ','"
        " ORDER BY e.id), ''), 'UTF8')), 'hex')"
        " FROM portal_ledgerentry e JOIN portal_document d ON d.id = e.document_id"
        " LEFT JOIN (SELECT entry_id, count(*) AS number, max(id) AS latest FROM portal_allocation"
        "             WHERE entry_id = ANY(%(entries)s::bigint[]) GROUP BY entry_id) a ON a.entry_id = e.id"
        " WHERE e.id = ANY(%(entries)s::bigint[])",
        {"entries": numbers(entry_ids)},
    )
    return str(found[0][0])


def lines_made(made: Mapping[int, int]) -> int:
    """Note the records that new lines became; in one statement."""
    return execute(
        "UPDATE reconciliation_changeline SET made = new.made FROM unnest(%s::bigint[], %s::bigint[]) AS new(id, made)"
        " WHERE reconciliation_changeline.id = new.id",
        [numbers(made), numbers(made.values())],
    )


def whose_keys(crosswalk_ids: Collection[int]) -> list[tuple[int, int]]:
    """(crosswalk, entity) of the entities that work in the account of a key, and of the one whose record it is there.

    An account's connections that all entities share name none: whose a key is there, the system itself says.
    """
    return rows(
        "SELECT k.id, c.entity_id FROM portal_crosswalk k"
        " JOIN portal_connection c ON c.connector = k.system AND c.realm = k.realm"
        " WHERE k.id = ANY(%(keys)s::bigint[]) AND c.entity_id IS NOT NULL"
        " UNION SELECT k.id, r.entity_id FROM portal_crosswalk k"
        " JOIN portal_foreignrecord r ON r.system = k.system AND r.realm = k.realm AND r.kind = k.kind"
        "  AND r.external_id = k.external_id"
        " WHERE k.id = ANY(%(keys)s::bigint[]) AND r.entity_id IS NOT NULL",
        {"keys": list(crosswalk_ids)},
    )


def due(today: date) -> list[tuple[int, float]]:
    """Change sets that wait for a worker: a dry-run to make (again), a day that came, entries to validate; with seconds."""
    found = rows(
        "SELECT id, extract(epoch FROM now() - coalesce(applied_at, decided_at, submitted_at, created_at))"
        "  FROM reconciliation_changeset"
        " WHERE (state IN ('approved', 'scheduled') AND (effective_on IS NULL OR effective_on <= %s))"
        "    OR state = 'applying' OR (state = 'submitted' AND (previewed_at IS NULL OR agreed_by_id IS NOT NULL)) ORDER BY id",
        [today],
    )
    return [(pk, float(seconds)) for pk, seconds in found]


def next_reach(change_set_id: int, limit: int) -> list[int]:
    """The next entries that a change set has to validate again, locked until the transaction ends."""
    found = rows(
        "SELECT entry_id FROM reconciliation_changereach WHERE change_set_id = %s AND done_at IS NULL"
        " ORDER BY entry_id LIMIT %s FOR UPDATE",
        [change_set_id, limit],
    )
    return [row[0] for row in found]


def reach_done(change_set_id: int, entry_ids: Sequence[int]) -> int:
    """Note that these entries were validated again; how many."""
    return execute(
        "UPDATE reconciliation_changereach SET done_at = now() WHERE change_set_id = %s AND entry_id = ANY(%s::bigint[])",
        [change_set_id, numbers(entry_ids)],
    )
