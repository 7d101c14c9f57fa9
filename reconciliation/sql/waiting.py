"""What waits because of a cause that holds no entry: at the door of its target, or without a route to any.

The rule here: one statement says it of every such cause, and only the causes of which it changed are written.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

from portal.models.documents import OURS
from portal.sql import execute, rows
from reconciliation.sql import owed
from reconciliation.sql.cases import reach

NO_ROUTE, REFUSED = "no-route", "connection-unauthorised"
RULES = (NO_ROUTE, REFUSED)

# Of a case `c`: entries that may go and cannot, because their target refuses us. What waits on another entry waits on that.
_AT_THE_DOOR = f"""
    SELECT c.id AS case_id, e.document_id, e.id AS entry_id, e.source_id, e.project_id, e.contract_id,
           coalesce(e.customer_id, p.customer_id) AS customer_id, e.currency, e.work_date, e.hours, e.amount,
           NULL::numeric AS guess, e.is_billable AND NOT e.is_cost_only AS is_billed, e.resource_id::text AS person
      FROM chosen c
      JOIN portal_ledgerstate s ON s.target_id = c.connection_id AND s.entity_id = c.entity_id
       AND s.state = 'ready' AND strpos(s.waits_on, ':') = 0
      JOIN portal_ledgerentry e ON e.id = s.entry_id
      LEFT JOIN portal_project p ON p.id = e.project_id
     WHERE c.rule = '{REFUSED}'"""  # noqa: S608

# Approved documents that no route of their work date leads anywhere, at the price that their source states.
_NOWHERE = f"""
    SELECT w.case_id, d.id, NULL::bigint, d.connection_id, NULL::bigint, NULL::bigint, NULL::bigint,
           coalesce(nullif(coalesce(t.currency, x.currency), ''), n.currency), coalesce(t.work_date, x.work_date),
           coalesce(t.hours, 0), NULL::numeric, coalesce(t.hours * t.rate, x.amount),
           coalesce(t.is_billable, x.is_billable),
           coalesce(nullif(t.resource_key, ''), nullif(t.resource_code, ''), t.resource_name,
                    nullif(x.resource_key, ''), nullif(x.resource_code, ''), x.resource_name)
      FROM (SELECT id AS case_id, connection_id, entity_id, split_part(subject_key, ':', 2) AS kind
              FROM chosen WHERE rule = '{NO_ROUTE}') w
      JOIN portal_document d ON d.connection_id = w.connection_id AND d.entity_id = w.entity_id AND d.kind = w.kind
      JOIN portal_connection c ON c.id = d.connection_id
      JOIN portal_legalentity n ON n.id = d.entity_id
      LEFT JOIN portal_timeentry t ON d.kind = 'time' AND t.document_id = d.id AND t.version = d.current_version
      LEFT JOIN portal_expense x ON d.kind = 'expense' AND x.document_id = d.id AND x.version = d.current_version
     WHERE coalesce(t.status, x.status) = 'approved'
       AND coalesce(t.work_date, x.work_date) >= coalesce({owed.FIRST_DAY}, DATE '-infinity')
       AND NOT EXISTS (SELECT 1 FROM reconciliation_route r WHERE r.source_id = d.connection_id AND r.kind = d.kind
                          AND coalesce(t.work_date, x.work_date) >= r.valid_from
                          AND (r.valid_to IS NULL OR coalesce(t.work_date, x.work_date) <= r.valid_to))
       AND NOT EXISTS (SELECT 1 FROM portal_ledgerentry e JOIN portal_ledgerstate s ON s.entry_id = e.id
                        WHERE e.document_id = d.id AND s.state <> 'cancelled')"""  # noqa: S608

_WAITS = f"""
    WITH chosen AS (SELECT id, rule, entity_id, connection_id, subject_key FROM reconciliation_exceptioncase
                     WHERE rule = ANY(%(rules)s::text[]) AND state = 'open' AND (%(ids)s::bigint[] IS NULL OR id = ANY(%(ids)s))),
         waits AS ({_AT_THE_DOOR} UNION ALL {_NOWHERE})"""  # noqa: S608


class Moved(NamedTuple):
    """A cause of which something else waits now than it says; `kind` is that of the documents without a route."""

    case_id: int
    rule: str
    kind: str
    connection: str
    entries: int
    first: date | None
    last: date | None


def moved(case_ids: Sequence[int] | None = None) -> list[Moved]:
    """The open causes of which it changed what waits; all of them, or some."""
    found = rows(
        f"""{_WAITS},
        counted AS (SELECT case_id, count(*) AS entries, sum(hours) AS hours, min(work_date) AS first, max(work_date) AS last,
                           coalesce(sum(amount), 0) + coalesce(sum(guess), 0) AS worth FROM waits GROUP BY 1),
        told AS (SELECT r.case_id, sum(r.amount + r.estimate) AS worth FROM reconciliation_casereach r
                  WHERE r.case_id IN (SELECT id FROM chosen) GROUP BY 1)
        SELECT c.id, c.rule, split_part(c.subject_key, ':', 2), k.name, coalesce(n.entries, 0), n.first, n.last
          FROM reconciliation_exceptioncase c
          JOIN chosen USING (id)
          JOIN portal_connection k ON k.id = c.connection_id
          LEFT JOIN counted n ON n.case_id = c.id
          LEFT JOIN told ON told.case_id = c.id
         WHERE c.waiting <> coalesce(n.entries, 0)
            OR (c.open_holds = 0 AND (c.open_hours <> coalesce(n.hours, 0) OR c.oldest_work_date IS DISTINCT FROM n.first
                OR c.newest_work_date IS DISTINCT FROM n.last OR coalesce(told.worth, 0) <> coalesce(n.worth, 0)))
         ORDER BY c.id""",  # noqa: S608
        {"rules": list(RULES), "ids": None if case_ids is None else list(case_ids)},
    )
    return [Moved(*row) for row in found]


def keep(case_ids: Sequence[int]) -> None:
    """Write what waits because of some causes beside what they hold; three statements. Its money: `reconciliation.cash`."""
    told: dict[str, Any] = {"rules": list(RULES), "ids": list(case_ids)}
    reach(case_ids)
    execute(
        f"""{_WAITS}
        INSERT INTO reconciliation_casereach AS r
               (case_id, source_id, project_id, contract_id, customer_id, currency, holds, hours, amount, estimate, billable)
        SELECT case_id, source_id, project_id, contract_id, customer_id, currency, count(*), coalesce(sum(hours), 0),
               coalesce(sum(amount), 0), coalesce(sum(guess), 0),
               coalesce(sum(coalesce(amount, guess)) FILTER (WHERE is_billed), 0)
          FROM waits GROUP BY 1, 2, 3, 4, 5, 6
        ON CONFLICT (case_id, source_id, project_id, contract_id, customer_id, currency) DO UPDATE
           SET holds = r.holds + excluded.holds, hours = r.hours + excluded.hours, amount = r.amount + excluded.amount,
               estimate = r.estimate + excluded.estimate, billable = r.billable + excluded.billable""",  # noqa: S608
        told,
    )
    execute(
        f"""{_WAITS},
        every AS (SELECT case_id, work_date, hours, person, true AS waits FROM waits
                  UNION ALL SELECT h.case_id, e.work_date, e.hours, e.resource_id::text, false FROM reconciliation_hold h
                    JOIN portal_ledgerentry e ON e.id = h.entry_id
                   WHERE h.closed_at IS NULL AND h.case_id = ANY(%(ids)s::bigint[])),
        counted AS (SELECT case_id, count(*) FILTER (WHERE waits) AS waiting, coalesce(sum(hours), 0) AS hours,
                           min(work_date) AS oldest, max(work_date) AS newest,
                           count(DISTINCT coalesce(person, '')) AS people FROM every GROUP BY 1)
        UPDATE reconciliation_exceptioncase c
           SET waiting = coalesce(n.waiting, 0), open_hours = coalesce(n.hours, 0), open_people = coalesce(n.people, 0),
               oldest_work_date = n.oldest, newest_work_date = n.newest, counted_at = clock_timestamp()
          FROM unnest(%(ids)s::bigint[]) AS w(id) LEFT JOIN counted n ON n.case_id = w.id
         WHERE c.id = w.id AND c.state = 'open'""",  # noqa: S608
        told,
    )


class Waits(NamedTuple):
    """One document that waits because of a cause, with its entry where it has one."""

    document_id: int
    entry_id: int | None
    external_id: str
    person: str
    project: str
    work_date: date
    hours: Decimal
    worth: Decimal | None
    currency: str


def waiting_for(case_id: int, limit: int) -> list[Waits]:
    """What waits because of one cause, the oldest work first."""
    found = rows(
        f"""{_WAITS}
        SELECT w.document_id, w.entry_id, d.external_id,
               coalesce(nullif(t.resource_name, ''), nullif(x.resource_name, ''), nullif(t.resource_code, ''),
                        nullif(x.resource_code, ''), t.resource_key, x.resource_key, ''),
               coalesce(nullif(t.project_code, ''), nullif(x.project_code, ''), nullif(t.project_name, ''),
                        nullif(x.project_name, ''), ''),
               w.work_date, w.hours, coalesce(w.amount, w.guess), w.currency
          FROM waits w JOIN portal_document d ON d.id = w.document_id
          LEFT JOIN portal_timeentry t ON d.kind = 'time' AND t.document_id = d.id AND t.version = d.current_version
          LEFT JOIN portal_expense x ON d.kind = 'expense' AND x.document_id = d.id AND x.version = d.current_version
         WHERE d.kind <> ALL(%(ours)s::text[]) ORDER BY w.work_date, w.document_id LIMIT %(limit)s""",  # noqa: S608
        {"rules": list(RULES), "ids": [case_id], "ours": list(OURS), "limit": limit},
    )
    return [Waits(*row) for row in found]
