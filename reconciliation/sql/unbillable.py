"""The hand-written SQL of posted work that may not be billed: taken back, changed, stopped by a cause, billed elsewhere.

The rule here: what is proposed and what stands in a proposal or a draft is asked with the same conditions, in one statement.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date
from decimal import Decimal
from typing import Final, NamedTuple

from portal.sql import rows
from reconciliation.sql import numbers
from reconciliation.sql.taken_back import GONE

# What holds work of which one version is booked: a cause on the booked entry itself, or on a later version of its document.
_HELD = """
    SELECT h.case_id, h.rule FROM portal_ledgerentry w JOIN reconciliation_hold h ON h.entry_id = w.id AND h.closed_at IS NULL
     WHERE w.document_id = {entry}.document_id AND (w.id = {entry}.id OR w.version > {entry}.version)"""

# What the source says by now where nothing of it stands on the ledger: a later version of other content, or of no approval that
# nobody let pass.
_SAYS_OTHERWISE = """
    SELECT n.status FROM portal_document d JOIN {table} n ON n.document_id = d.id AND n.version = d.current_version
      JOIN {table} o ON o.document_id = d.id AND o.version = {entry}.version
     WHERE d.id = {entry}.document_id AND d.current_version > {entry}.version
       AND CASE WHEN n.status = 'approved'
                THEN (n.{quantity}, n.work_date, n.is_billable) IS DISTINCT FROM (o.{quantity}, o.work_date, o.is_billable)
                ELSE NOT EXISTS (SELECT 1 FROM reconciliation_hold k WHERE k.entry_id = {entry}.id AND k.outcome = 'waived'
                                    AND k.rule IN ({gone})) END
       AND NOT EXISTS (SELECT 1 FROM portal_ledgerentry w WHERE w.document_id = d.id AND w.version = d.current_version)"""
_GONE = ", ".join(f"'{rule}'" for rule in GONE)


def _otherwise(entry: str) -> str:
    time = _SAYS_OTHERWISE.format(entry=entry, table="portal_timeentry", quantity="hours", gone=_GONE)
    expense = _SAYS_OTHERWISE.format(entry=entry, table="portal_expense", quantity="amount", gone=_GONE)
    return f"{time} UNION ALL {expense}"


def stands_as_its_source_says(entry: str) -> str:
    """The condition that booked work of this alias may be billed: no cause stops it, and its source says nothing else by now."""
    return f"(NOT EXISTS ({_HELD.format(entry=entry)}) AND NOT EXISTS ({_otherwise(entry)}))"


_REVERSED: Final = """EXISTS (SELECT 1 FROM portal_ledgerentry r JOIN portal_ledgerstate rs ON rs.entry_id = r.id
                         WHERE r.reverses_id = e.id AND rs.state <> 'cancelled')"""

# Parts that may not be billed, and why. What is left to bill has to do for every proposal that takes of the same work: which
# of them a bill from elsewhere took it from, nobody knows.
_WRONG: Final = f"""
    SELECT l.draft_id, l.proposal_id, p.id, e.kind, coalesce(r.name, ''), e.work_date, coalesce(m.code, ''), x.name,
           s.state, coalesce(NOT e.is_billable OR e.is_cost_only, FALSE), {_REVERSED}, coalesce(m.amount < p.quantity, FALSE),
           h.case_id, coalesce(h.rule, ''), coalesce(y.status, '')
      FROM portal_proposalpart p JOIN portal_proposalline l ON l.id = p.line_id
      LEFT JOIN portal_ledgerentry e ON e.id = p.entry_id LEFT JOIN portal_ledgerstate s ON s.entry_id = e.id
      LEFT JOIN portal_resource r ON r.id = e.resource_id LEFT JOIN portal_connection x ON x.id = e.source_id
      LEFT JOIN portal_milestone m ON m.id = p.milestone_id
      LEFT JOIN portal_billingbalance b ON b.entry_id = e.id OR b.milestone_id = m.id
      LEFT JOIN LATERAL ({_HELD.format(entry="e")}
                         ORDER BY h.rule NOT IN ({_GONE}, 'changed-after-posting'), h.case_id LIMIT 1) h ON TRUE
      LEFT JOIN LATERAL ({_otherwise("e")} LIMIT 1) y ON TRUE
     WHERE p.released_at IS NULL
       AND (s.state NOT IN ('posted', 'reconciled') OR NOT e.is_billable OR e.is_cost_only
            OR m.amount < p.quantity OR b.delivered - b.invoiced + b.credited < (
                   SELECT sum(x.quantity) FROM portal_proposalpart x
                    WHERE x.released_at IS NULL AND (x.entry_id = p.entry_id OR x.milestone_id = p.milestone_id))
            OR {_REVERSED} OR h.case_id IS NOT NULL OR y.status IS NOT NULL)"""  # noqa: S608


class Unbillable(NamedTuple):
    """One part of a proposal that may not be billed any more: what it is, and what of it stands against it."""

    draft_id: int | None
    proposal_id: int
    part_id: int
    kind: str | None  # of an entry; None for a milestone
    person: str
    work_date: date | None
    milestone: str
    source: str | None
    state: str | None
    is_not_billable: bool
    is_reversed: bool
    is_less: bool  # a milestone is worth less than is proposed of it
    case_id: int | None
    rule: str  # of the cause that stops it
    says: str  # the status at its source, where that says something else and nothing of it stands on the ledger


def stopped(entry_id: int) -> tuple[int | None, str] | None:
    """What stops booked work from being billed, if anything: the case, or what its source says where no case tells of that."""
    found = rows(
        f"""
        SELECT h.case_id, coalesce(y.status, '') FROM portal_ledgerentry e
          LEFT JOIN LATERAL ({_HELD.format(entry="e")} ORDER BY h.case_id LIMIT 1) h ON TRUE
          LEFT JOIN LATERAL ({_otherwise("e")} LIMIT 1) y ON TRUE
         WHERE e.id = %s AND (h.case_id IS NOT NULL OR y.status IS NOT NULL)""",  # noqa: S608
        [entry_id],
    )
    return found[0] if found else None


def on_drafts(draft_ids: Collection[int]) -> list[Unbillable]:
    """What stands on drafts and may not be billed any more."""
    found = rows(f"{_WRONG} AND l.draft_id = ANY(%s::bigint[]) ORDER BY p.id", [numbers(draft_ids)])
    return [Unbillable(*row) for row in found]


def on_proposal(proposal_id: int) -> list[Unbillable]:
    """What stands on a proposal and may not be billed any more."""
    return [Unbillable(*row) for row in rows(f"{_WRONG} AND l.proposal_id = %s ORDER BY p.id", [proposal_id])]


def periods_of(proposal_id: int) -> list[int]:
    """The accounting periods of the days of which a proposal bills something."""
    found = rows(
        """
        SELECT DISTINCT ap.id FROM portal_invoiceproposal i JOIN portal_proposalline l ON l.proposal_id = i.id
          JOIN portal_proposalpart p ON p.line_id = l.id
          LEFT JOIN portal_ledgerentry e ON e.id = p.entry_id LEFT JOIN portal_milestone m ON m.id = p.milestone_id
          JOIN portal_accountingperiod ap ON ap.entity_id = i.entity_id
           AND coalesce(e.work_date, m.signed_on, m.due_on) BETWEEN ap.starts_on AND ap.ends_on
         WHERE i.id = %s""",
        [proposal_id],
    )
    return [row[0] for row in found]


def without_rate(proposal_id: int) -> list[tuple[str, Decimal]]:
    """(period, hours) without a rate of a project in the periods of which a proposal bills something, up to its day.

    What a cause holds is not asked here: that is an exception with its owner, and is told as such.
    """
    return rows(
        """
        SELECT ap.code, sum(e.hours) FROM portal_invoiceproposal i
          JOIN portal_accountingperiod ap ON ap.id = ANY(%s::bigint[])
          JOIN portal_ledgerentry e ON e.project_id = i.project_id AND e.kind = 'time' AND e.reverses_id IS NULL
           AND e.work_date BETWEEN ap.starts_on AND least(ap.ends_on, i.through)
           AND e.is_billable AND NOT e.is_cost_only AND e.amount IS NULL
          JOIN portal_ledgerstate s ON s.entry_id = e.id AND s.state NOT IN ('cancelled', 'reversed', 'held', 'rejected')
         WHERE i.id = %s GROUP BY ap.code ORDER BY ap.code""",
        [numbers(periods_of(proposal_id)), proposal_id],
    )


class TakenOff(NamedTuple):
    """Booked work of less than nothing: a correction that takes something off what was delivered before."""

    person: str
    work_date: date
    hours: Decimal | None
    amount: Decimal
    currency: str


def taken_off(proposal_id: int) -> list[TakenOff]:
    """What booked corrections take off the work of a proposal's project in its currency, up to its day."""
    found = rows(
        f"""
        SELECT coalesce(r.name, ''), e.work_date, CASE WHEN e.kind = 'time' THEN e.hours END, e.amount, e.currency
          FROM portal_invoiceproposal i
          JOIN portal_ledgerentry e ON e.project_id = i.project_id AND e.work_date <= i.through AND e.currency = i.currency
          JOIN portal_ledgerstate s ON s.entry_id = e.id AND s.state IN ('posted', 'reconciled')
          LEFT JOIN portal_resource r ON r.id = e.resource_id
         WHERE i.id = %s AND e.kind IN ('time', 'expense') AND e.reverses_id IS NULL AND e.is_billable AND NOT e.is_cost_only
           AND CASE WHEN e.kind = 'time' THEN e.hours ELSE e.amount END < 0 AND NOT {_REVERSED}
         ORDER BY e.work_date, e.id""",  # noqa: S608
        [proposal_id],
    )
    return [TakenOff(*row) for row in found]


def outdated() -> list[int]:
    """Open proposals with something on them that may not be billed any more, or with a hold whose day has come."""
    found = rows(
        f"{_WRONG} AND l.proposal_id IN (SELECT id FROM portal_invoiceproposal WHERE state = 'open')"  # noqa: S608
    )
    over = rows(
        "SELECT DISTINCT l.proposal_id FROM portal_proposalline l JOIN portal_invoiceproposal i ON i.id = l.proposal_id"
        " WHERE i.state = 'open' AND l.held_until <= current_date"
    )
    return sorted({row[1] for row in found} | {row[0] for row in over})
