"""Change sets: master data changed by people, seen beforehand on the real open entries, agreed to, applied on its day.

The rule here: nothing that a person makes, changes or ends passes this by. A change set is written by `draft` and `edit`, frozen
with its dry-run by `submit`, decided by somebody who edited none of it, applied as it was approved, and undone by a new one.
"""

from __future__ import annotations

from reconciliation.changes.applying import apply, due, is_little, kept_promise, run
from reconciliation.changes.attaching import attach, detach, read
from reconciliation.changes.deciding import (
    Decided,
    Moved,
    SignInAgain,
    above_the_limit,
    approve,
    may_decide,
    may_review,
    over_limit,
    plan_over_limit,
    preview,
    reject,
    review,
    weights_of,
    why_not,
)
from reconciliation.changes.drafting import draft, edit, hash_of, is_editor, may_write, submit, withdraw
from reconciliation.changes.emergencies import declare_emergency, may_declare
from reconciliation.changes.kinds import BY_CODE, KINDS, Kind
from reconciliation.changes.lines import Action, ChangeRefused, Line, frozen_lines, lines_of
from reconciliation.changes.undoing import Begun, InUse, begun, roll_back, undoing
from reconciliation.changes.writing import names_of, record_cells

__all__ = [
    "BY_CODE",
    "KINDS",
    "Action",
    "Begun",
    "ChangeRefused",
    "Decided",
    "InUse",
    "Kind",
    "Line",
    "Moved",
    "SignInAgain",
    "above_the_limit",
    "apply",
    "approve",
    "attach",
    "begun",
    "declare_emergency",
    "detach",
    "draft",
    "due",
    "edit",
    "frozen_lines",
    "hash_of",
    "is_editor",
    "is_little",
    "kept_promise",
    "lines_of",
    "may_decide",
    "may_declare",
    "may_review",
    "may_write",
    "names_of",
    "over_limit",
    "plan_over_limit",
    "preview",
    "read",
    "record_cells",
    "reject",
    "review",
    "roll_back",
    "run",
    "submit",
    "undoing",
    "weights_of",
    "why_not",
    "withdraw",
]
