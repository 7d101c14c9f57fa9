"""The SQL of billing: bills with their lines, what of them stands allocated, what settles them, and the entries they are about.

The rule here: a fixed number of statements whatever the number of bills; rows that will be decided on are locked, bills first.
"""

from reconciliation.sql.billing.allocations import Standing, allocate, billed, billed_of, bills_of, credited
from reconciliation.sql.billing.owed import Owed, owed_by_rates
from reconciliation.sql.billing.settling import (
    AppliedCredit,
    PaymentRow,
    TakenOff,
    credits_from_elsewhere,
    payments,
    payments_of,
    taken_off,
)
from reconciliation.sql.billing.stated import (
    Bill,
    Line,
    bills,
    keepers,
    lines,
    live_numbers,
    managers_of,
    notes_of,
    open_cases,
    part_paid,
    to_review,
    to_review_lately,
    touched_by,
)
from reconciliation.sql.billing.work import Entry, Milestone, documents_of, entries, entries_by_id, milestones

__all__ = [
    "AppliedCredit",
    "Bill",
    "Entry",
    "Line",
    "Milestone",
    "Owed",
    "PaymentRow",
    "Standing",
    "TakenOff",
    "allocate",
    "billed",
    "billed_of",
    "bills",
    "bills_of",
    "credited",
    "credits_from_elsewhere",
    "documents_of",
    "entries",
    "entries_by_id",
    "keepers",
    "lines",
    "live_numbers",
    "managers_of",
    "milestones",
    "notes_of",
    "open_cases",
    "owed_by_rates",
    "part_paid",
    "payments",
    "payments_of",
    "taken_off",
    "to_review",
    "to_review_lately",
    "touched_by",
]
