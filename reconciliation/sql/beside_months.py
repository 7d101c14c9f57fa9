"""The hand-written SQL of what stands beside a project month's own figures: work held out, drafted, held by a person, or gone.

The rule here: each statement begins with what is little (open causes, parts of proposals, dead bills and drafts), and never with
the entries of a month.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from decimal import Decimal

from portal.sql import rows
from reconciliation.sql import numbers

ZERO = Decimal(0)
_BILLED = "e.is_billable AND NOT e.is_cost_only AND e.reverses_id IS NULL AND e.amount IS NOT NULL"
_LEFT = "e.amount * (1 - coalesce((b.invoiced - b.credited) / nullif(b.delivered, 0), 0))"
_PERIOD = """JOIN portal_project j ON j.id = e.project_id
             JOIN portal_accountingperiod ap ON ap.entity_id = j.entity_id AND e.work_date BETWEEN ap.starts_on AND ap.ends_on"""

# Posted work that is not to be billed: its own cause is open, or a later version of it is held; and whether that one replaces it,
# so that its money stands there already.
_HELD_OUT = f"""
    SELECT e.id, bool_or(w.id <> e.id) AS is_replaced
      FROM reconciliation_hold h JOIN portal_ledgerentry w ON w.id = h.entry_id
      JOIN portal_ledgerentry e ON e.document_id = w.document_id AND (e.id = w.id OR e.version < w.version)
      JOIN portal_ledgerstate s ON s.entry_id = e.id AND s.state IN ('posted', 'reconciled')
     WHERE h.closed_at IS NULL AND e.project_id = ANY(%(projects)s::bigint[]) AND {_BILLED}
     GROUP BY e.id"""  # noqa: S608


@dataclass(slots=True)
class Beside:
    """What of one project month's figures stands elsewhere than they say, in one currency."""

    held_out: Decimal = ZERO  # posted, and its source took it back or changed it: blocked, not ready
    replaced: Decimal = ZERO  # posted, and held anew as another version: counted there
    replaced_hours: Decimal = ZERO
    drafted: Decimal = ZERO  # on a draft that was handed over: on its way
    on_hold: Decimal = ZERO  # a person holds it off an invoice
    issued_to_nobody: Decimal = ZERO  # on a bill that is a draft: counted as invoiced, and on its way
    gone: Decimal = ZERO  # counted as invoiced on a bill that its system deleted
    gone_bills: list[tuple[int, str, str]] = field(default_factory=list)  # (bill, number, system)


Key = tuple[int, int, str]  # project, period, currency


def beside(project_ids: Collection[int]) -> dict[Key, Beside]:
    """What stands beside the months of these projects; three statements, whatever their number."""
    found: dict[Key, Beside] = {}
    told = {"projects": numbers(project_ids)}
    held = rows(
        f"""SELECT e.project_id, ap.id, e.currency, coalesce(sum({_LEFT}) FILTER (WHERE NOT w.is_replaced), 0),
                   coalesce(sum({_LEFT}) FILTER (WHERE w.is_replaced), 0),
                   coalesce(sum(e.hours) FILTER (WHERE w.is_replaced AND b.id IS NULL), 0)
              FROM ({_HELD_OUT}) w JOIN portal_ledgerentry e ON e.id = w.id {_PERIOD}
              LEFT JOIN portal_billingbalance b ON b.entry_id = e.id GROUP BY 1, 2, 3""",  # noqa: S608
        told,
    )
    for project, period, currency, out, replaced, hours in held:
        one = found.setdefault((project, period, currency), Beside())
        one.held_out, one.replaced, one.replaced_hours = out, replaced, hours
    taken = rows(
        f"""SELECT e.project_id, ap.id, e.currency,
                   coalesce(sum(e.amount * p.quantity / d.delivered) FILTER (WHERE i.state = 'handed_over'), 0),
                   coalesce(sum(e.amount * p.quantity / d.delivered)
                            FILTER (WHERE i.state <> 'handed_over' AND l.held_by_id IS NOT NULL), 0)
              FROM portal_invoiceproposal i JOIN portal_proposalline l ON l.proposal_id = i.id
              JOIN portal_proposalpart p ON p.line_id = l.id AND p.released_at IS NULL
              JOIN portal_ledgerentry e ON e.id = p.entry_id {_PERIOD}
             CROSS JOIN LATERAL (SELECT nullif(CASE WHEN e.kind = 'time' THEN e.hours ELSE e.amount END, 0) AS delivered) d
             WHERE i.project_id = ANY(%(projects)s::bigint[]) AND {_BILLED} AND e.id NOT IN (SELECT id FROM ({_HELD_OUT}) x)
             GROUP BY 1, 2, 3""",  # noqa: S608
        told,
    )
    for project, period, currency, drafted, on_hold in taken:
        one = found.setdefault((project, period, currency), Beside())
        one.drafted, one.on_hold = drafted, on_hold
    bills = rows(
        f"""SELECT e.project_id, ap.id, e.currency, v.status, n.id, v.number, c.name,
                   sum(e.amount * (a.quantity + coalesce(t.quantity, 0)) / d.delivered)
              FROM portal_invoice n JOIN portal_invoiceversion v ON v.id = n.current_id
              JOIN portal_connection c ON c.id = n.connection_id
              JOIN portal_invoiceversion o ON o.invoice_id = n.id JOIN portal_invoiceline l ON l.version_id = o.id
              JOIN portal_allocation a ON a.line_id = l.id AND a.takes_back_id IS NULL
              LEFT JOIN LATERAL (SELECT sum(x.quantity) AS quantity FROM portal_allocation x
                                  WHERE x.takes_back_id = a.id) t ON TRUE
              JOIN portal_ledgerentry e ON e.id = a.entry_id {_PERIOD}
             CROSS JOIN LATERAL (SELECT nullif(CASE WHEN e.kind = 'time' THEN e.hours ELSE e.amount END, 0) AS delivered) d
             WHERE (v.status = 'draft' OR (v.status = 'deleted' AND n.agreed_id IS DISTINCT FROM n.current_id))
               AND e.project_id = ANY(%(projects)s::bigint[]) AND {_BILLED}
             GROUP BY 1, 2, 3, 4, 5, 6, 7 HAVING sum(a.quantity + coalesce(t.quantity, 0)) > 0 ORDER BY 8 DESC""",  # noqa: S608
        told,
    )
    for project, period, currency, status, bill, number, system, amount in bills:
        one = found.setdefault((project, period, currency), Beside())
        if status == "draft":
            one.issued_to_nobody += amount or ZERO
        else:
            one.gone += amount or ZERO
            one.gone_bills.append((bill, number, system))
    return found
