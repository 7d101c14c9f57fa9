"""The hand-written SQL of billing readiness: what stops the work of projects in a period, and what the customer would read.

The rule here: one statement for all rows of a page, or for one project; none of them depends on how many entries there are.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Literal

from portal.sql import rows
from reconciliation.sql import numbers
from reconciliation.sql.unbillable import stands_as_its_source_says

_BILLED = "e.is_billable AND NOT e.is_cost_only"
_NEWEST = """NOT EXISTS (SELECT 1 FROM portal_ledgerentry n JOIN portal_ledgerstate ns ON ns.entry_id = n.id
                          WHERE n.document_id = e.document_id AND n.version > e.version AND n.reverses_id IS NULL
                            AND ns.state NOT IN ('cancelled', 'reversed'))"""  # no version of the work came after this one


def months(columns: Sequence[str], periods: Sequence[int]) -> list[str]:
    """Every project month of these periods, as the literal of one array a column."""
    arrays = ", ".join(f"coalesce(array_agg({column})::text, '{{}}')" for column in columns)
    statement = f"SELECT {arrays} FROM reconciliation_projectmonth WHERE period_id = ANY(%s::bigint[])"  # noqa: S608
    return list(rows(statement, [numbers(periods)])[0])


@dataclass(frozen=True, slots=True)
class Stopped:
    """What one cause stops of one project in one period; `amount` in the month's currency, None where nothing is priced."""

    project_id: int
    period_id: int
    case_id: int
    rule: str
    entries: int
    hours: Decimal
    amount: Decimal | None


def stopped(months: Sequence[Any]) -> list[Stopped]:
    """Every cause that stops something of these project months, the most money first.

    It begins with what is held by causes that reach these projects, which is little beside what stands on the ledger; left to
    itself (without OFFSET) the database begins with every entry of the months.
    """
    told = {
        "projects": [month.project_id for month in months], "periods": [month.period_id for month in months],
        "currencies": [month.currency for month in months],
    }  # fmt: skip
    found = rows(
        f"""SELECT k.project_id, k.period_id, h.case_id, h.rule, count(*), coalesce(sum(e.hours), 0),
                   sum(e.amount) FILTER (WHERE {_BILLED} AND e.currency = k.currency)
              FROM (SELECT entry_id, case_id, rule FROM reconciliation_hold WHERE closed_at IS NULL AND case_id IN (
                           SELECT case_id FROM reconciliation_casereach WHERE project_id = ANY(%(projects)s::bigint[]))) h
             CROSS JOIN LATERAL (SELECT project_id, work_date, hours, amount, currency, is_billable, is_cost_only
                                   FROM portal_ledgerentry WHERE id = h.entry_id OFFSET 0) e
              JOIN unnest(%(projects)s::bigint[], %(periods)s::bigint[], %(currencies)s::text[])
                AS k(project_id, period_id, currency) ON k.project_id = e.project_id
              JOIN portal_accountingperiod ap ON ap.id = k.period_id AND e.work_date BETWEEN ap.starts_on AND ap.ends_on
             GROUP BY 1, 2, 3, 4 ORDER BY 7 DESC NULLS LAST, 5 DESC, 3""",  # noqa: S608
        told,
    )
    return [Stopped(*row) for row in found]


@dataclass(frozen=True, slots=True)
class LostBill:
    """An invoice that is void or that its system deleted, with work or milestones of one project month still on it."""

    project_id: int
    period_id: int
    currency: str
    bill_id: int
    number: str
    system: str
    is_void: bool


def lost_bills(projects: Collection[int]) -> list[LostBill]:
    """Void or deleted invoices with work of these projects that is not given back, the most money of a month first."""
    if not projects:
        return []
    found = rows(
        f"""SELECT w.project_id, ap.id, w.currency, n.id, v.number, c.name, v.status = 'voided'
              FROM portal_invoice n JOIN portal_invoiceversion v ON v.id = n.current_id
              JOIN portal_connection c ON c.id = n.connection_id
              JOIN portal_invoiceversion u ON u.invoice_id = n.id JOIN portal_invoiceline l ON l.version_id = u.id
              JOIN portal_allocation a ON a.line_id = l.id AND a.takes_back_id IS NULL
             CROSS JOIN LATERAL (SELECT a.quantity + coalesce(sum(t.quantity), 0) AS stands FROM portal_allocation t
                                  WHERE t.takes_back_id = a.id) q
             CROSS JOIN LATERAL (
                SELECT e.project_id, e.currency, e.work_date AS day FROM portal_ledgerentry e
                 WHERE e.id = a.entry_id AND {_BILLED}
                UNION ALL
                SELECT m.project_id, m.currency,
                       coalesce(CASE WHEN coalesce(nullif(p.billing_model, ''), k.billing_model) = 'retainer'
                                     THEN m.due_on ELSE m.signed_on END, m.due_on)
                  FROM portal_milestone m JOIN portal_project p ON p.id = m.project_id
                  LEFT JOIN portal_contract k ON k.id = p.contract_id WHERE m.id = a.milestone_id) w
              JOIN portal_project j ON j.id = w.project_id
              JOIN portal_accountingperiod ap ON ap.entity_id = j.entity_id AND w.day BETWEEN ap.starts_on AND ap.ends_on
             WHERE v.status IN ('voided', 'deleted') AND w.project_id = ANY(%(projects)s::bigint[])
             GROUP BY 1, 2, 3, 4, 5, 6, 7 HAVING sum(q.stands) > 0 ORDER BY sum(a.amount) DESC NULLS LAST, 4""",  # noqa: S608
        {"projects": numbers(projects)},
    )
    return [LostBill(*row) for row in found]


def last_invoices(projects: Sequence[int]) -> dict[int, tuple[str, date | None]]:
    """The latest invoice on which work or a milestone of each project stands: its number and day."""
    found = rows(
        """SELECT DISTINCT ON (w.project_id) w.project_id, v.number, v.booked_on
             FROM (SELECT e.project_id, a.line_id FROM portal_ledgerentry e JOIN portal_allocation a ON a.entry_id = e.id
                    WHERE e.project_id = ANY(%(projects)s::bigint[]) AND a.takes_back_id IS NULL
                   UNION ALL
                   SELECT m.project_id, a.line_id FROM portal_milestone m JOIN portal_allocation a ON a.milestone_id = m.id
                    WHERE m.project_id = ANY(%(projects)s::bigint[]) AND a.takes_back_id IS NULL) w
             JOIN portal_invoiceline l ON l.id = w.line_id JOIN portal_invoiceversion v ON v.id = l.version_id
            ORDER BY w.project_id, v.booked_on DESC NULLS LAST, v.id DESC""",
        {"projects": list(projects)},
    )
    return {project: (number, day) for project, number, day in found}


# Time that its source has and nobody approved yet, or whose approval was opened again: the project is named by its code, or by a
# key that a crosswalk knows.
_WAITING = """
  FROM (SELECT connection_id, project_code, project_key, approver_name, hours FROM portal_submittedtime
         WHERE work_date BETWEEN %(start)s AND %(end)s
        UNION ALL
        SELECT d.connection_id, t.project_code, t.project_key, t.approver_name, t.hours FROM portal_timeentry t
          JOIN portal_document d ON d.id = t.document_id AND d.current_version = t.version
         WHERE t.status IN ('draft', 'submitted') AND t.work_date BETWEEN %(start)s AND %(end)s) v
  JOIN portal_connection x ON x.id = v.connection_id
  JOIN portal_project p ON p.id = ANY(%(projects)s::bigint[]) AND (p.code = v.project_code OR EXISTS (
       SELECT 1 FROM portal_crosswalk w WHERE w.kind = 'project' AND w.internal_id = p.id AND w.system = x.connector
          AND w.realm = x.realm AND w.external_id = v.project_key AND v.project_key <> ''))
"""


def waiting_for_approval(projects: Sequence[int], start: date, end: date) -> list[tuple[int, Decimal, list[str]]]:
    """(entries, hours, approvers' names) of what is not approved yet, of all these projects together; one row."""
    if not projects:
        return [(0, Decimal(0), [])]
    told = {"projects": list(projects), "start": start, "end": end}
    return rows(
        "SELECT count(*), coalesce(sum(v.hours), 0),"
        f" coalesce(array_agg(DISTINCT v.approver_name) FILTER (WHERE v.approver_name <> ''), '{{}}') {_WAITING}",
        told,
    )


def average_rate(project_id: int, start: date, end: date, currency: str) -> Decimal | None:
    """What an hour of a project's priced work in some days is worth on average; None where none of it is priced."""
    found = rows(
        "SELECT sum(e.amount) / nullif(sum(e.hours), 0) FROM portal_ledgerentry e"
        " JOIN portal_ledgerstate s ON s.entry_id = e.id AND s.state NOT IN ('cancelled', 'reversed')"
        " WHERE e.project_id = %s AND e.work_date BETWEEN %s AND %s AND e.kind = 'time' AND e.reverses_id IS NULL"
        " AND e.is_billable AND NOT e.is_cost_only AND e.amount IS NOT NULL AND e.currency = %s",
        [project_id, start, end, currency],
    )
    rate: Decimal | None = found[0][0]
    return rate


def on_their_way(project_id: int, start: date, end: date) -> int:
    """How many entries of a project's days are to be booked and do not stand in the books yet, held ones left out."""
    found: int = rows(
        "SELECT count(*) FROM portal_ledgerentry e JOIN portal_ledgerstate s ON s.entry_id = e.id"
        " WHERE e.project_id = %s AND e.work_date BETWEEN %s AND %s AND s.state IN ('ready', 'sending', 'accepted')",
        [project_id, start, end],
    )[0][0]
    return found


def expenses(project_id: int, start: date, end: date) -> tuple[int, int, Decimal]:
    """(expenses, those that are not posted, what those not posted amount to) of a project's days."""
    found: tuple[int, int, Decimal] = rows(
        "SELECT count(*), count(*) FILTER (WHERE NOT s.state = ANY(%(posted)s)),"
        " coalesce(sum(e.amount) FILTER (WHERE NOT s.state = ANY(%(posted)s)), 0)"
        " FROM portal_ledgerentry e JOIN portal_ledgerstate s ON s.entry_id = e.id WHERE e.project_id = %(project)s"
        " AND e.work_date BETWEEN %(start)s AND %(end)s AND e.kind = 'expense' AND e.reverses_id IS NULL"
        " AND s.state NOT IN ('cancelled', 'reversed')",
        {"project": project_id, "start": start, "end": end, "posted": ["posted", "reconciled"]},
    )[0]
    return found


def credit_notes(project_id: int) -> list[tuple[int, str, Decimal, str]]:
    """(credit note, number, total, currency) of what counts on invoices that ever had work or milestones of a project on them."""
    return rows(
        """SELECT n.id, v.number, v.total, v.currency FROM portal_invoice n JOIN portal_invoiceversion v ON v.id = n.current_id
            WHERE n.kind = 'credit_note' AND v.status NOT IN ('voided', 'deleted', 'draft') AND n.credits_id IN (
                  SELECT iv.invoice_id
                    FROM (SELECT a.line_id FROM portal_ledgerentry e JOIN portal_allocation a ON a.entry_id = e.id
                           WHERE e.project_id = %(project)s AND a.takes_back_id IS NULL
                          UNION ALL
                          SELECT a.line_id FROM portal_milestone m JOIN portal_allocation a ON a.milestone_id = m.id
                           WHERE m.project_id = %(project)s AND a.takes_back_id IS NULL) w
                    JOIN portal_invoiceline l ON l.id = w.line_id JOIN portal_invoiceversion iv ON iv.id = l.version_id)
            ORDER BY v.number, n.id""",
        {"project": project_id},
    )


@dataclass(frozen=True, slots=True)
class Part:
    """What one person did on one task at one rate, as a line of the customer's invoice would say it."""

    task: str
    person: str
    rate: Decimal | None
    currency: str
    entries: int
    hours: Decimal
    amount: Decimal
    ready: Decimal
    before: Decimal  # the same in the period before


def parts(project_id: int, start: date, end: date, before: tuple[date, date] | None) -> list[Part]:
    """The work of a project's days that is billed and not invoiced yet, by task, person and rate, beside the days before.

    Of what is billed in part the rest counts, of what was changed after posting its latest version, and nothing is ready that a
    person holds off an invoice or that was handed over, also where its bill leaves it out: the sums are those of the month.
    """
    earlier = before or (end, start)  # an empty range where there is no period before
    found = rows(
        f"""SELECT coalesce(t.name, ''), CASE WHEN e.kind = 'expense' THEN e.category ELSE coalesce(r.name, '') END, e.rate,
                   e.currency, count(*) FILTER (WHERE now_), coalesce(sum(e.hours * q.unbilled) FILTER (WHERE now_), 0),
                   coalesce(sum(e.amount * q.unbilled) FILTER (WHERE now_), 0),
                   coalesce(sum(e.amount * (q.unbilled - coalesce(h.away, 0)))
                            FILTER (WHERE now_ AND s.state IN ('posted', 'reconciled') AND u.stands), 0),
                   coalesce(sum(e.amount) FILTER (WHERE NOT now_), 0)
              FROM portal_ledgerentry e JOIN portal_ledgerstate s ON s.entry_id = e.id
              CROSS JOIN LATERAL (SELECT e.work_date BETWEEN %(start)s AND %(end)s AS now_) w
              LEFT JOIN portal_task t ON t.id = e.task_id LEFT JOIN portal_resource r ON r.id = e.resource_id
              LEFT JOIN portal_billingbalance b ON b.entry_id = e.id
             CROSS JOIN LATERAL (SELECT {stands_as_its_source_says("e")} AS stands) u
             CROSS JOIN LATERAL (SELECT nullif(CASE WHEN e.kind = 'time' THEN e.hours ELSE e.amount END, 0) AS delivered) d
             CROSS JOIN LATERAL (SELECT 1 - coalesce((b.invoiced - b.credited) / nullif(b.delivered, 0), 0) AS unbilled) q
              LEFT JOIN LATERAL (SELECT sum(least(p.quantity, d.delivered * q.unbilled)) / d.delivered AS away
                                   FROM portal_proposalpart p
                                   JOIN portal_proposalline l ON l.id = p.line_id
                                   JOIN portal_invoiceproposal i ON i.id = l.proposal_id
                                  WHERE p.entry_id = e.id AND p.released_at IS NULL
                                    AND (i.state NOT IN ('open', 'released', 'approved') OR l.held_by_id IS NOT NULL)) h ON w.now_
             WHERE e.project_id = %(project)s AND {_NEWEST} AND e.reverses_id IS NULL AND s.state NOT IN ('cancelled', 'reversed')
               AND e.work_date BETWEEN least(%(start)s, %(from)s) AND %(end)s
               AND (w.now_ OR e.work_date BETWEEN %(from)s AND %(to)s) AND {_BILLED}
               AND (NOT w.now_ OR coalesce(b.invoiced - b.credited, 0) < coalesce(b.delivered, 1))
             GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3""",  # noqa: S608
        {"project": project_id, "start": start, "end": end, "from": earlier[0], "to": earlier[1]},
    )
    return [Part(*row) for row in found]


def unbilled(project_ids: Sequence[int], today: date) -> list[tuple[str, int, Decimal]]:
    """(currency, bucket, amount) of work, held or posted, and delivered milestones that no invoice has, by age.

    Buckets begin at 0, 15, 30, 60 and 90 days since the work, the signature, or the day of a retainer's instalment.
    """
    return rows(
        f"""SELECT w.currency,
                   CASE WHEN age < 15 THEN 0 WHEN age < 30 THEN 15 WHEN age < 60 THEN 30 WHEN age < 90 THEN 60 ELSE 90 END,
                   sum(w.amount)
              FROM (SELECT e.currency, e.work_date AS day,
                           e.amount * (1 - coalesce((b.invoiced - b.credited) / nullif(b.delivered, 0), 0)) AS amount
                      FROM portal_ledgerentry e JOIN portal_ledgerstate s ON s.entry_id = e.id
                      LEFT JOIN portal_billingbalance b ON b.entry_id = e.id
                     WHERE e.project_id = ANY(%(projects)s::bigint[]) AND s.state NOT IN ('cancelled', 'reversed')
                       AND e.reverses_id IS NULL AND {_BILLED} AND e.amount IS NOT NULL
                       AND {_NEWEST}
                    UNION ALL
                    SELECT m.currency, d.day, m.amount - coalesce(b.invoiced - b.credited, 0)
                      FROM portal_milestone m JOIN portal_project p ON p.id = m.project_id
                      LEFT JOIN portal_contract k ON k.id = p.contract_id
                      LEFT JOIN portal_billingbalance b ON b.milestone_id = m.id
                     CROSS JOIN LATERAL (SELECT CASE WHEN coalesce(nullif(p.billing_model, ''), k.billing_model) = 'retainer'
                                                     THEN m.due_on ELSE m.signed_on END AS day) d
                     WHERE m.project_id = ANY(%(projects)s::bigint[]) AND d.day <= %(today)s) w
             CROSS JOIN LATERAL (SELECT %(today)s::date - w.day AS age) a
             GROUP BY 1, 2 ORDER BY 1, 2""",  # noqa: S608
        {"projects": list(project_ids), "today": today},
    )


def billed_as_another(entry_id: int) -> list[tuple[int, str]]:
    """(entry, number of its invoice) of another version of the same document that stands billed: a credit has to come first."""
    return rows(
        """SELECT DISTINCT o.id, v.number FROM portal_ledgerentry e
             JOIN portal_billingbalance b ON b.document_id = e.document_id AND b.entry_id <> e.id AND b.invoiced > b.credited
             JOIN portal_ledgerentry o ON o.id = b.entry_id AND (o.version <> e.version OR o.part = e.part)
             JOIN portal_allocation a ON a.entry_id = o.id AND a.takes_back_id IS NULL
             JOIN portal_invoiceline l ON l.id = a.line_id JOIN portal_invoiceversion v ON v.id = l.version_id
            WHERE e.id = %s ORDER BY 1, 2""",
        [entry_id],
    )


def given_back(what: Literal["entry_id", "milestone_id"], ids: Sequence[int]) -> dict[int, tuple[str, str, str]]:
    """What last gave something back of what was billed of entries or milestones: the bill's kind, status and number."""
    found = rows(
        f"""SELECT DISTINCT ON (a.{what}) a.{what}, n.kind, v.status, v.number
             FROM portal_allocation a JOIN portal_invoiceversion v ON v.id = a.cause_id
             JOIN portal_invoice n ON n.id = v.invoice_id
            WHERE a.{what} = ANY(%s::bigint[]) AND a.takes_back_id IS NOT NULL AND a.quantity < 0
              AND NOT EXISTS (SELECT 1 FROM portal_allocation u WHERE u.takes_back_id = a.id)
            ORDER BY a.{what}, a.id DESC""",  # noqa: S608
        [list(ids)],
    )
    return {row[0]: (row[1], row[2], row[3]) for row in found}


def invoices_of(what: Literal["entry_id", "milestone_id"], ids: Sequence[int]) -> dict[int, list[str]]:
    """The numbers of the invoices on which entries, or milestones, stand, without what was given back whole."""
    found = rows(
        f"""SELECT a.{what}, array_agg(DISTINCT v.number ORDER BY v.number)
             FROM portal_allocation a JOIN portal_invoiceline l ON l.id = a.line_id
             JOIN portal_invoiceversion v ON v.id = l.version_id
            WHERE a.{what} = ANY(%s::bigint[]) AND a.takes_back_id IS NULL AND a.quantity > coalesce(
                  (SELECT -sum(t.quantity + coalesce((SELECT sum(u.quantity) FROM portal_allocation u
                                                       WHERE u.takes_back_id = t.id), 0))
                     FROM portal_allocation t WHERE t.takes_back_id = a.id), 0) GROUP BY 1""",  # noqa: S608
        [list(ids)],
    )
    return dict(found)
