"""The hand-written SQL of what should be there and is not: per source and person, day by day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from portal import sql

_LOOK_BACK = 42  # days in which a person reported through a source that is expected to go on telling of them

_HOLES = """
WITH days AS (
    SELECT d::date AS day FROM generate_series(%(start)s::date, %(end)s::date, INTERVAL '1 day') AS d
     WHERE NOT extract(isodow FROM d)::int = ANY(%(weekend)s::int[]) AND NOT d::date = ANY(%(holidays)s::date[])
), people AS (
    SELECT n.resource_id, n.valid_from, n.valid_to FROM portal_engagement n
     WHERE n.entity_id = %(entity)s AND n.valid_from <= %(end)s AND (n.valid_to IS NULL OR n.valid_to >= %(start)s)
), called AS (
    SELECT DISTINCT c.id AS source_id, x.external_id AS key, x.internal_id AS resource_id
      FROM portal_crosswalk x JOIN portal_connection c ON c.connector = x.system AND c.realm = x.realm
     WHERE x.kind = 'resource' AND x.internal_id IN (SELECT resource_id FROM people)
), named AS (
    SELECT id AS resource_id, code, lower(name) AS name FROM portal_resource WHERE id IN (SELECT resource_id FROM people)
), on_ledger AS (
    SELECT e.resource_id, e.work_date, e.source_id, e.hours, 0::numeric AS waiting,
           CASE WHEN s.state IN ('posted', 'reconciled') THEN e.hours ELSE 0 END AS posted,
           CASE WHEN s.state IN ('posted', 'reconciled') THEN coalesce(b.invoiced - b.credited, 0) ELSE 0 END AS invoiced
      FROM portal_ledgerentry e
      JOIN portal_ledgerstate s ON s.entry_id = e.id
      LEFT JOIN portal_billingbalance b ON b.entry_id = e.id
     WHERE e.entity_id = %(entity)s
       AND e.resource_id IN (SELECT resource_id FROM people) AND e.kind = 'time' AND e.reverses_id IS NULL
       AND s.state NOT IN ('cancelled', 'reversed') AND e.work_date BETWEEN %(start)s::date - %(back)s AND %(end)s
), beside AS (
    SELECT coalesce(k.resource_id, n.resource_id) AS resource_id, v.work_date, d.connection_id AS source_id,
           CASE WHEN v.status = 'approved' THEN v.hours ELSE 0 END AS hours,
           CASE WHEN v.status = 'approved' THEN 0 ELSE v.hours END AS waiting, 0::numeric AS posted, 0::numeric AS invoiced,
           d.entity_id = %(entity)s AS is_here
      FROM portal_timeentry v
      JOIN portal_document d ON d.id = v.document_id AND d.current_version = v.version
      LEFT JOIN called k ON k.source_id = d.connection_id AND k.key = v.resource_key
      LEFT JOIN named n ON k.resource_id IS NULL AND (n.code = v.resource_code OR n.name = lower(v.resource_name))
     WHERE v.work_date BETWEEN %(start)s::date - %(back)s AND %(end)s AND v.status <> 'deleted'
       AND (d.entity_id = %(entity)s OR v.status <> 'approved' AND v.work_date >= %(start)s)
       AND NOT EXISTS (SELECT 1 FROM portal_ledgerentry e JOIN portal_ledgerstate s ON s.entry_id = e.id
                        WHERE e.document_id = d.id AND e.resource_id IS NOT NULL AND s.state NOT IN ('cancelled', 'reversed'))
), submitted AS (
    SELECT n.resource_id, t.work_date, t.connection_id AS source_id, 0::numeric AS hours, t.hours AS waiting,
           0::numeric AS posted, 0::numeric AS invoiced, t.entity_id = %(entity)s AS is_here
      FROM portal_submittedtime t JOIN named n ON n.name = lower(t.resource_name)
     WHERE t.work_date BETWEEN %(start)s::date - %(back)s AND %(end)s
), told AS (
    SELECT *, true AS is_here FROM on_ledger UNION ALL SELECT * FROM beside WHERE is_here AND resource_id IS NOT NULL
    UNION ALL SELECT * FROM submitted WHERE is_here
), elsewhere AS (
    SELECT e.resource_id, e.work_date FROM portal_ledgerentry e JOIN portal_ledgerstate s ON s.entry_id = e.id
     WHERE e.entity_id <> %(entity)s AND e.resource_id IN (SELECT resource_id FROM people) AND e.kind = 'time'
       AND e.reverses_id IS NULL AND s.state NOT IN ('cancelled', 'reversed') AND e.work_date BETWEEN %(start)s AND %(end)s
     UNION SELECT resource_id, work_date FROM beside WHERE NOT is_here
     UNION SELECT resource_id, work_date FROM submitted WHERE NOT is_here
), source AS (
    SELECT DISTINCT ON (resource_id) resource_id, source_id FROM told ORDER BY resource_id, work_date DESC, source_id
), expected AS (
    SELECT p.resource_id, coalesce(o.source_id, 0) AS source_id, d.day
      FROM people p JOIN days d ON d.day BETWEEN p.valid_from AND coalesce(p.valid_to, d.day)
      LEFT JOIN source o ON o.resource_id = p.resource_id
), by_day AS (
    SELECT resource_id, work_date, sum(hours) AS hours, sum(waiting) AS waiting, sum(posted) AS posted, sum(invoiced) AS invoiced
      FROM told
     WHERE work_date >= %(start)s GROUP BY 1, 2
)
SELECT x.source_id, coalesce(c.name, ''), x.resource_id, r.name, count(*), count(*) * %(full)s::numeric,
       coalesce(sum(b.hours), 0) + coalesce(max(off.hours), 0), coalesce(sum(b.waiting), 0) + coalesce(max(off.waiting), 0),
       coalesce(sum(b.posted), 0) + coalesce(max(off.posted), 0),
       coalesce(sum(b.invoiced), 0) + coalesce(max(off.invoiced), 0),
       coalesce(array_agg(x.day ORDER BY x.day) FILTER (WHERE b.resource_id IS NULL AND w.resource_id IS NULL), '{}')
  FROM expected x
  JOIN portal_resource r ON r.id = x.resource_id
  LEFT JOIN portal_connection c ON c.id = x.source_id
  LEFT JOIN by_day b ON b.resource_id = x.resource_id AND b.work_date = x.day
  LEFT JOIN elsewhere w ON w.resource_id = x.resource_id AND w.work_date = x.day
  LEFT JOIN LATERAL (
    SELECT sum(o.hours) AS hours, sum(o.waiting) AS waiting, sum(o.posted) AS posted, sum(o.invoiced) AS invoiced FROM by_day o
     WHERE o.resource_id = x.resource_id AND NOT EXISTS (SELECT 1 FROM days d WHERE d.day = o.work_date)) off ON true
 GROUP BY 1, 2, 3, 4
 ORDER BY count(*) FILTER (WHERE b.resource_id IS NULL AND w.resource_id IS NULL) DESC, r.name
"""


@dataclass(frozen=True, slots=True)
class PersonDays:
    """One person of one source: days and hours expected, and hours that arrived, stand in the ERP and are invoiced.

    `submitted` is what the source has and nobody approved yet. `silent` are the working days of which nothing was told at all,
    neither that nor work that is not owed, nor work for another entity, which is summed there. `source_id` is 0 for who has told
    nothing for weeks.
    """

    source_id: int
    source: str
    resource_id: int
    person: str
    days: int
    expected: Decimal
    arrived: Decimal
    submitted: Decimal
    posted: Decimal
    invoiced: Decimal
    silent: list[date]


def person_days(
    entity_id: int, start: date, end: date, *, weekend: Sequence[int], holidays: Sequence[date], full_day: Decimal
) -> list[PersonDays]:
    """Everybody engaged by an entity on the days of a closed range, who is silent the longest first."""
    told = {
        "entity": entity_id, "start": start, "end": end, "weekend": list(weekend), "holidays": list(holidays),
        "full": full_day, "back": _LOOK_BACK,
    }  # fmt: skip
    return [PersonDays(*row) for row in sql.rows(_HOLES, told)]
