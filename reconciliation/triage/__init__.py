"""Triage: what people decide about causes before they fix them. The only writer of who has a cause and what sets it aside.

The rule here: one decision is one row with what it changed case by case, one row of history for each case with the reason, and
one event in the audit trail for each entity. It is taken in one transaction on locked cases, in entities where the person may
fix, and can be taken back for seconds, unless somebody decided otherwise meanwhile. Entries stay held whatever is decided.
"""

from reconciliation.triage.aside import ignore, snooze, stop_ignoring, wake
from reconciliation.triage.assigning import assign, assignable, tag, teams_for, untag
from reconciliation.triage.deciding import TRIAGERS, UNDO_SECONDS, NotPossible
from reconciliation.triage.ending import awaited_syncs, end_what_is_over, escalate
from reconciliation.triage.merging import merge, mergeable, unmerge
from reconciliation.triage.presence import LEASE, Present, lay_down, present, take_up
from reconciliation.triage.restoring import ask, patience_of, remind
from reconciliation.triage.talking import COMMENTERS, comment, comment_on_entry, mentionable
from reconciliation.triage.undoing import last_decision, undo

__all__ = [
    "COMMENTERS",
    "LEASE",
    "TRIAGERS",
    "UNDO_SECONDS",
    "NotPossible",
    "Present",
    "ask",
    "assign",
    "assignable",
    "awaited_syncs",
    "comment",
    "comment_on_entry",
    "end_what_is_over",
    "escalate",
    "ignore",
    "last_decision",
    "lay_down",
    "mentionable",
    "merge",
    "mergeable",
    "patience_of",
    "present",
    "remind",
    "snooze",
    "stop_ignoring",
    "tag",
    "take_up",
    "teams_for",
    "undo",
    "unmerge",
    "untag",
    "wake",
]
