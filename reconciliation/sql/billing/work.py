"""What lines of bills are about: entries and milestones, and what of each is open. What is asked for is locked."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from decimal import Decimal
from typing import NamedTuple

from portal.sql import rows
from reconciliation.sql.taken_back import BOOKED_ANEW


class Entry(NamedTuple):
    """What a line bills, and what of it is open: delivered, less invoiced, plus credited."""

    id: int
    document_id: int
    entity_id: int
    kind: str
    currency: str
    delivered: Decimal
    billed: Decimal
    state: str
    may_be_billed: bool  # billable, no cost only, no reversal
    is_being_reversed: bool
    other_ids: list[int]  # other versions of its document that stand billed, and in whose place it is not
    other_billed: list[Decimal]  # how much of each
    was_ids: list[int]  # versions of its document in whose place it is, and that stand billed still
    was_billed: list[Decimal]  # how much of each

    @property
    def open(self) -> Decimal:
        """What is left to bill."""
        return self.delivered - self.billed


class Milestone(NamedTuple):
    """What a line bills that bills a milestone, and what of it is billed."""

    id: int
    code: str
    entity_id: int
    currency: str
    delivered: Decimal
    billed: Decimal


_LOCKED = """locked AS (
            SELECT d.id FROM portal_document d
             WHERE d.id IN (SELECT e.document_id FROM named n JOIN portal_ledgerentry e ON e.id = n.id)
             ORDER BY d.id FOR NO KEY UPDATE OF d)"""
# What bills for an entry that was reversed and booked anew with the same to be billed: the latest such one that is in the books.
# While something of one of them stands on a bill that is void or gone and not let go, all of it stays where that is, also when it
# was booked anew again since then; so does what is said to be staying, since nobody knows what bills it.
_STAYS = "n.document_id = ANY(%(staying)s::bigint[])"
_STANDS_HERE = f"""({_STAYS} AND EXISTS (
                    SELECT 1 FROM portal_billingbalance b WHERE b.entry_id = n.id AND b.invoiced > b.credited)
                 OR EXISTS (
                    SELECT 1 FROM portal_allocation a JOIN portal_invoiceline l ON l.id = a.line_id
                      JOIN portal_invoiceversion v ON v.id = l.version_id JOIN portal_invoice i ON i.id = v.invoice_id
                      JOIN portal_invoiceversion c ON c.id = i.current_id AND c.status IN ('voided', 'deleted')
                     WHERE a.entry_id = n.id AND a.takes_back_id IS NULL AND NOT EXISTS (
                           SELECT 1 FROM portal_allocation r WHERE r.takes_back_id = a.id AND r.line_id = a.line_id)))"""  # noqa: S608
_INSTEAD = f"""coalesce((
            SELECT coalesce(min(n.id) FILTER (WHERE {_STANDS_HERE}),
                            CASE WHEN NOT bool_or({_STAYS})
                                 THEN max(n.id) FILTER (WHERE ns.state IN ('posted', 'reconciled')) END)
              FROM portal_ledgerentry e JOIN portal_ledgerstate es ON es.entry_id = e.id AND es.state = 'reversed'
              JOIN portal_ledgerentry n ON n.document_id = e.document_id AND (n.id = e.id OR ({BOOKED_ANEW}))
              JOIN portal_ledgerstate ns ON ns.entry_id = n.id
             WHERE e.id = w.id), w.id)"""  # noqa: S608
_BY_THIS = _INSTEAD.replace("w.id", "o.id")
_ENTRY = f"""e.id, e.document_id, e.entity_id, e.kind, e.currency,
               coalesce(CASE WHEN e.kind = 'time' THEN e.hours ELSE e.amount END, 0),
               coalesce((SELECT b.invoiced - b.credited FROM portal_billingbalance b WHERE b.entry_id = e.id), 0), s.state,
               e.is_billable AND NOT e.is_cost_only AND e.reverses_id IS NULL,
               EXISTS (SELECT 1 FROM portal_ledgerentry r JOIN portal_ledgerstate rs ON rs.entry_id = r.id
                        WHERE r.reverses_id = e.id AND rs.state <> 'cancelled'),
               coalesce(others.ids, ARRAY[]::bigint[]), coalesce(others.billed, ARRAY[]::numeric[]),
               coalesce(others.was_ids, ARRAY[]::bigint[]), coalesce(others.was_billed, ARRAY[]::numeric[])
          FROM named n JOIN portal_ledgerentry e ON e.id = n.id JOIN portal_ledgerstate s ON s.entry_id = e.id
          JOIN locked l ON l.id = e.document_id
          LEFT JOIN LATERAL (
               SELECT array_agg(x.id ORDER BY x.id) FILTER (WHERE NOT x.goes) AS ids,
                      array_agg(x.billed ORDER BY x.id) FILTER (WHERE NOT x.goes) AS billed,
                      array_agg(x.id ORDER BY x.id) FILTER (WHERE x.goes) AS was_ids,
                      array_agg(x.billed ORDER BY x.id) FILTER (WHERE x.goes) AS was_billed
                 FROM (SELECT o.id, b.invoiced - b.credited AS billed, {_BY_THIS} = e.id AS goes
                         FROM portal_billingbalance b JOIN portal_ledgerentry o ON o.id = b.entry_id
                        WHERE b.document_id = e.document_id AND o.id <> e.id AND b.invoiced > b.credited
                          AND (o.version <> e.version OR o.part = e.part)) x) others ON true"""  # noqa: S608


def entries(
    connection_ids: Sequence[int], keys: Sequence[str], numbers: Sequence[str], *, staying: Collection[int] = ()
) -> dict[tuple[int, str], Entry]:
    """The entries behind keys and receipt numbers of some connections' systems, by (connection, key or number).

    Where one was reversed and the same was booked anew, that is what is billed, but of documents that are `staying`. Their
    documents are locked, so that what is open stays open until the transaction ends.
    """
    found = rows(
        f"""
        WITH asked AS (
            SELECT c.id AS connection_id, t.id AS target_id FROM portal_connection c
              JOIN portal_connection t ON t.id = c.id OR (t.connector = c.connector AND t.realm = c.realm AND c.realm <> '')
             WHERE c.id = ANY(%(connections)s)), worded AS (
            SELECT q.connection_id, replace(e.idempotency_key::text, '-', '') AS word, e.id FROM portal_ledgerentry e
              JOIN asked q ON q.target_id = e.target_id WHERE e.idempotency_key = ANY(%(keys)s::uuid[])
            UNION
            SELECT q.connection_id, r.number, r.entry_id FROM portal_receipt r
              JOIN asked q ON q.target_id = r.connection_id WHERE r.number = ANY(%(numbers)s)),
        named AS (SELECT w.connection_id, w.word, {_INSTEAD} AS id FROM worded w), {_LOCKED}
        SELECT n.connection_id, n.word, {_ENTRY}""",  # noqa: S608
        {"connections": list(connection_ids), "keys": list(keys), "numbers": list(numbers), "staying": list(staying)},
    )
    return {(row[0], row[1]): Entry(*row[2:]) for row in found}


def entries_by_id(ids: Collection[int], *, is_anew: bool = False, staying: Collection[int] = ()) -> dict[int, Entry]:
    """Entries by id, their documents locked; `is_anew` gives what was booked anew in the place of a reversed one.

    Nothing goes into the place of what is `staying`, by document.
    """
    if not ids:
        return {}
    found = rows(
        f"WITH named AS (SELECT w.id AS word, {_INSTEAD if is_anew else 'w.id'} AS id FROM portal_ledgerentry w"  # noqa: S608
        f" WHERE w.id = ANY(%(ids)s::bigint[])), {_LOCKED} SELECT n.word, {_ENTRY}",
        {"ids": sorted(ids), "staying": list(staying)},
    )
    return {row[0]: Entry(*row[1:]) for row in found}


def documents_of(entry_ids: Collection[int]) -> dict[int, int]:
    """The documents of entries."""
    if not entry_ids:
        return {}
    return dict(
        rows("SELECT id, document_id FROM portal_ledgerentry WHERE id = ANY(%s::bigint[])", [sorted(entry_ids)])
    )


def milestones(ids: Collection[int], codes: Collection[tuple[int, str]]) -> dict[int, Milestone]:
    """Milestones by id, or by entity and code, locked until the transaction ends."""
    if not ids and not codes:
        return {}
    found = rows(
        "SELECT m.id, m.code, p.entity_id, m.currency, m.amount, coalesce((SELECT b.invoiced - b.credited"
        " FROM portal_billingbalance b WHERE b.milestone_id = m.id), 0)"
        " FROM portal_milestone m JOIN portal_project p ON p.id = m.project_id WHERE m.id = ANY(%s::bigint[])"
        " OR (p.entity_id, m.code) IN (SELECT * FROM unnest(%s::bigint[], %s::text[])) ORDER BY m.id FOR NO KEY UPDATE OF m",
        [sorted(ids), [entity for entity, _ in codes], [code for _, code in codes]],
    )
    return {row[0]: Milestone(*row) for row in found}
