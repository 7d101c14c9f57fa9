"""The hand-written SQL of work that was handed over and is not billed as it was approved.

The rule here: such work stays taken by its proposal until its bill is put right, agreed to as it is, or counts no more.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal

from portal.sql import rows
from reconciliation.sql import numbers

# The bill that came of a line's draft; of several drafts on one bill the first names it, the others by what is billed of them.
_BILL = """coalesce(d.invoice_id, (
       SELECT min(v.invoice_id) FROM portal_proposalline o JOIN portal_proposalpart q ON q.line_id = o.id
         JOIN portal_allocation a ON a.entry_id = q.entry_id OR a.milestone_id = q.milestone_id
         JOIN portal_invoiceline x ON x.id = a.line_id AND lower(x.posting_key) = replace(o.key::text, '-', '')
         JOIN portal_invoiceversion v ON v.id = x.version_id
        WHERE o.draft_id = d.document_id AND a.takes_back_id IS NULL))"""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Work of one project month that a proposal takes and no bill bills as it was approved; `bill_id` is the bill that came."""

    project_id: int
    period_id: int
    currency: str
    proposal_id: int
    bill_id: int | None
    amount: Decimal


def of_projects(projects: Collection[int]) -> list[LeftOut]:
    """What bills leave out or bill otherwise of these projects' work, by period, proposal and bill, the most money first."""
    if not projects:
        return []
    found = rows(
        f"""SELECT e.project_id, ap.id, e.currency, i.id, {_BILL} AS bill,
                   sum(e.amount * least(p.quantity, greatest(coalesce(b.delivered - b.invoiced + b.credited, p.quantity), 0))
                       / nullif(CASE WHEN e.kind = 'time' THEN e.hours ELSE e.amount END, 0)) AS amount
              FROM portal_invoiceproposal i JOIN portal_project j ON j.id = i.project_id
              JOIN portal_proposalline l ON l.proposal_id = i.id JOIN portal_invoicedraft d ON d.document_id = l.draft_id
              JOIN portal_proposalpart p ON p.line_id = l.id AND p.released_at IS NULL
              JOIN portal_ledgerentry e ON e.id = p.entry_id LEFT JOIN portal_billingbalance b ON b.entry_id = e.id
              JOIN portal_accountingperiod ap ON ap.entity_id = j.entity_id AND e.work_date BETWEEN ap.starts_on AND ap.ends_on
             WHERE i.project_id = ANY(%(projects)s::bigint[]) AND i.state IN ('billed', 'voided', 'deleted')
             GROUP BY 1, 2, 3, 4, 5 ORDER BY 6 DESC NULLS LAST, 4""",  # noqa: S608
        {"projects": numbers(projects)},
    )
    return [LeftOut(*row) for row in found]


def bill_of(line_id: int) -> int | None:
    """The bill that came of the draft on which a line of a proposal was handed over."""
    found = rows(
        f"SELECT {_BILL} FROM portal_proposalline l JOIN portal_invoicedraft d ON d.document_id = l.draft_id WHERE l.id = %s",  # noqa: S608
        [line_id],
    )
    return found[0][0] if found else None
