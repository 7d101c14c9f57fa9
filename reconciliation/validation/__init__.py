"""Validation: whether a document may be posted, asked when it comes, when facts change, and once more at the door.

The rule here: there is one way onto the ledger (`admit`) and one way to look at an entry again (`recheck`); a vendor's edit,
finance's correction and a changed master record all take it.
"""

from reconciliation.validation.admission import Admitted, admit
from reconciliation.validation.affected import admit_unrouted, affected_by, follow_changes, overdue_parents, unrouted
from reconciliation.validation.batches import one_batch
from reconciliation.validation.explaining import Explained, explain
from reconciliation.validation.otherwise import Otherwise, booked_at_other_rates
from reconciliation.validation.rechecking import Rechecked, booked_otherwise, exclude, recheck, stands, waive

__all__ = [
    "Admitted",
    "Explained",
    "Otherwise",
    "Rechecked",
    "admit",
    "admit_unrouted",
    "affected_by",
    "booked_at_other_rates",
    "booked_otherwise",
    "exclude",
    "explain",
    "follow_changes",
    "one_batch",
    "overdue_parents",
    "recheck",
    "stands",
    "unrouted",
    "waive",
]
