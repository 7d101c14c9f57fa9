"""Bulk fixes as objects: planned with a dry-run, confirmed, above a limit approved, worked off in chunks, and told row by row.

The rule here: the rows are frozen with the fence at which they were seen; a row that has moved since is skipped and named. The
dry-run is the fix itself, on the real entries with the real rules, in a transaction that is rolled back. The row is the queue:
a worker that dies leaves the rest pending, and the sweeper goes on.
"""

from __future__ import annotations

from reconciliation.operations.applying import OF_THE_ROW, NothingToFix, OperationRefused
from reconciliation.operations.confirming import Decided, Moved, approve, can_decide, confirm, refuse, renew
from reconciliation.operations.following import (
    Phase,
    Progress,
    Waits,
    follow,
    progress,
    waits,
    with_phase,
    with_standing,
)
from reconciliation.operations.planning import count_fixable, fixable, is_large, left_out, plan
from reconciliation.operations.running import due, overdue, run
from reconciliation.operations.second_person import why as second_person_needed
from reconciliation.operations.steering import cancel, retry_failed

__all__ = [
    "OF_THE_ROW",
    "Decided",
    "Moved",
    "NothingToFix",
    "OperationRefused",
    "Phase",
    "Progress",
    "Waits",
    "approve",
    "can_decide",
    "cancel",
    "confirm",
    "count_fixable",
    "due",
    "fixable",
    "follow",
    "is_large",
    "left_out",
    "overdue",
    "plan",
    "progress",
    "refuse",
    "renew",
    "retry_failed",
    "run",
    "second_person_needed",
    "waits",
    "with_phase",
    "with_standing",
]
