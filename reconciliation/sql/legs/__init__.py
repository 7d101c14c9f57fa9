"""The hand-written SQL of the four legs: what is compared, what was touched since, and what is kept of it.

The rule here: both sides are whole tables joined in full, so that what is only on one side shows as loudly as what differs. A
comparison of what was touched is the same statement over fewer rows, so the two cannot come to different results.
"""

from reconciliation.sql.legs.bills import (
    compare_bills_with_payments,
    compare_target_with_bills,
    takes_in_bills,
    to_be_billed,
)
from reconciliation.sql.legs.keeping import keep, on_every_core, prepare, settled, tell_sizes, totals
from reconciliation.sql.legs.target import compare_ledger_with_target, statement_read_at, targets_of
from reconciliation.sql.legs.touched import ENGINE, SHIFT, Scope, basis, horizon
from reconciliation.sql.legs.tracker import compare_tracker_with_ledger

__all__ = [
    "ENGINE",
    "SHIFT",
    "Scope",
    "basis",
    "compare_bills_with_payments",
    "compare_ledger_with_target",
    "compare_target_with_bills",
    "compare_tracker_with_ledger",
    "horizon",
    "keep",
    "on_every_core",
    "prepare",
    "settled",
    "statement_read_at",
    "takes_in_bills",
    "targets_of",
    "tell_sizes",
    "to_be_billed",
    "totals",
]
