"""Bulk fixes as objects: planned with a dry-run, confirmed, worked off in chunks, and told row by row.

The rule here: the rows are frozen with the fence at which they were seen; a row that has moved since is skipped and named. The
dry-run is the fix itself, on the real entries with the real rules, in a transaction that is rolled back. The row is the queue:
a worker that dies leaves the rest pending, and the sweeper goes on.
"""

from __future__ import annotations

from reconciliation.operations.applying import OF_THE_ROW, NothingToFix, OperationRefused
from reconciliation.operations.confirming import confirm
from reconciliation.operations.planning import fixable, left_out, plan
from reconciliation.operations.running import cancel, due, posting_progress, retry_failed, run

__all__ = [
    "OF_THE_ROW",
    "NothingToFix",
    "OperationRefused",
    "cancel",
    "confirm",
    "due",
    "fixable",
    "left_out",
    "plan",
    "posting_progress",
    "retry_failed",
    "run",
]
