"""Bulk fixes as objects: planned with a dry-run, confirmed, worked off in chunks, and told row by row.

The rule here: the rows are frozen with the fence at which they were seen; a row that has moved since is skipped and named. The
dry-run is the fix itself, on the real entries with the real rules, in a transaction that is rolled back. The row is the queue:
a worker that dies leaves the rest pending, and the sweeper goes on.
"""

from __future__ import annotations

from reconciliation.operations.applying import OF_THE_ROW, NothingToFix, OperationRefused
from reconciliation.operations.confirming import confirm
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
from reconciliation.operations.planning import fixable, left_out, plan
from reconciliation.operations.running import due, overdue, run
from reconciliation.operations.steering import cancel, retry_failed

__all__ = [
    "OF_THE_ROW",
    "NothingToFix",
    "OperationRefused",
    "Phase",
    "Progress",
    "Waits",
    "cancel",
    "confirm",
    "due",
    "fixable",
    "follow",
    "left_out",
    "overdue",
    "plan",
    "progress",
    "retry_failed",
    "run",
    "waits",
    "with_phase",
    "with_standing",
]
