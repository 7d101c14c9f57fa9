"""What is to be known of entries beside what they book: queues, waits, and the codes that sentences name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from portal import sql
from portal.models import Connection


def stopped_for_their_key(entry_ids: Sequence[int], rule: str) -> list[tuple[int, int]]:
    """Entries with an open hold of the rule that says their key was used otherwise: (id, fence)."""
    return [
        (row[0], row[1])
        for row in sql.rows(
            "SELECT s.entry_id, s.fence FROM portal_ledgerstate s JOIN reconciliation_hold h ON h.entry_id = s.entry_id"
            " AND h.rule = %s AND h.closed_at IS NULL WHERE s.entry_id = ANY(%s)",
            [rule, list(entry_ids)],
        )
    ]


def waiting_on(target_id: int, events: Sequence[str]) -> list[str]:
    """Which of these events READY entries of the target wait on."""
    return [
        row[0]
        for row in sql.rows(
            "SELECT DISTINCT waits_on FROM portal_ledgerstate"
            " WHERE state = 'ready' AND waits_on = ANY(%s) AND waits_on <> '' AND target_id = %s",
            [list(events), target_id],
        )
    ]


def queue_of(target_id: int, entity_ids: Sequence[int] | None = None) -> dict[str, int]:
    """How many entries of one target are waiting, due, on their way, in doubt, or still to be read back; of some entities."""
    row = sql.rows(
        """
        SELECT count(*) FILTER (WHERE state = 'ready' AND waits_on = ''),
               count(*) FILTER (WHERE state = 'ready' AND waits_on <> ''),
               count(*) FILTER (WHERE state = 'sending'), count(*) FILTER (WHERE state = 'in_doubt'),
               count(*) FILTER (WHERE state = 'accepted')
          FROM portal_ledgerstate WHERE target_id = %s AND state IN ('ready', 'sending', 'in_doubt', 'accepted')
           AND (%s::bigint[] IS NULL OR entity_id = ANY(%s))""",
        [target_id, entity_ids, entity_ids],
    )[0]
    return dict(zip(("due", "waiting", "sending", "in_doubt", "accepted"), row, strict=True))


def documents_of(entry_ids: Sequence[int]) -> list[int]:
    """The documents of entries."""
    return [
        row[0]
        for row in sql.rows("SELECT DISTINCT document_id FROM portal_ledgerentry WHERE id = ANY(%s)", [list(entry_ids)])
    ]


def publications_among(entry_ids: Sequence[int]) -> list[int]:
    """Which of these entries owe master data."""
    return [
        row[0]
        for row in sql.rows(
            "SELECT id FROM portal_ledgerentry WHERE id = ANY(%s) AND kind = 'master' ORDER BY id", [list(entry_ids)]
        )
    ]


@dataclass(frozen=True, slots=True)
class About:
    """What sentences about one entry name: codes of its records, empty where it has none."""

    entry_id: int
    entity_id: int
    entity: str
    period_id: int | None
    period: str
    project: str
    task: str
    resource: str
    cost_centre: str


def about(entry_ids: Sequence[int]) -> dict[int, About]:
    """What sentences about entries name, by id."""
    return {
        row[0]: About(*row)
        for row in sql.rows(
            """
            SELECT e.id, e.entity_id, x.code, e.period_id, coalesce(p.code, ''), coalesce(j.code, ''), coalesce(t.code, ''),
                   coalesce(r.code, ''), coalesce(c.code, '')
              FROM portal_ledgerentry e
              JOIN portal_legalentity x ON x.id = e.entity_id
              LEFT JOIN portal_accountingperiod p ON p.id = e.period_id
              LEFT JOIN portal_project j ON j.id = e.project_id
              LEFT JOIN portal_task t ON t.id = e.task_id
              LEFT JOIN portal_resource r ON r.id = e.resource_id
              LEFT JOIN portal_costcentre c ON c.id = e.cost_centre_id
             WHERE e.id = ANY(%s)""",
            [list(entry_ids)],
        )
    }


def strangers(entry_ids: Sequence[int], connection: Connection, *, one_company: bool) -> set[int]:
    """Entries that are not for the books behind a connection.

    Where it belongs to an entity, reversals and invoice drafts of another one: of new postings a rule says the same, and master
    data is told to whom it concerns. Where it is shared though it is the books of one company, what bears no company's key.
    """
    if connection.entity_id is not None:
        found = sql.rows(
            "SELECT id FROM portal_ledgerentry WHERE id = ANY(%s) AND entity_id <> %s"
            " AND (reverses_id IS NOT NULL OR kind = 'invoice')",
            [list(entry_ids), connection.entity_id],
        )
    elif one_company:
        found = sql.rows(
            "SELECT id FROM portal_ledgerentry WHERE id = ANY(%s) AND kind <> 'master'"
            " AND coalesce(target_keys->>'entity', '') = ''"
            " AND (SELECT count(DISTINCT entity_id) FROM reconciliation_route WHERE target_id = %s) > 1",
            [list(entry_ids), connection.pk],
        )
    else:
        return set()
    return {row[0] for row in found}


def entities_over(connection_id: int) -> list[int]:
    """The entities whose documents go over a connection: by a route of today or later, or by entries still on their way."""
    return [
        row[0]
        for row in sql.rows(
            "SELECT entity_id FROM reconciliation_route WHERE (source_id = %(id)s OR target_id = %(id)s)"
            " AND (valid_to IS NULL OR valid_to >= current_date)"
            " UNION SELECT e.id FROM portal_legalentity e WHERE EXISTS (SELECT 1 FROM portal_ledgerstate s"
            " WHERE s.target_id = %(id)s AND s.entity_id = e.id AND s.state IN ('ready', 'sending', 'in_doubt', 'accepted'))"
            " ORDER BY 1",
            {"id": connection_id},
        )
    ]
