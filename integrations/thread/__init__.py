"""The thread of one hour: from the source's record over versions, rules, ledger, attempts and receipt to invoice and payment.

The rule here: any id that a person may have in hand leads to the same thread, what is told is only what the rows say, and a
sentence about an entry is written once: the page, the terminal and the comparison take it from here.
"""

from integrations.thread.comparison import side_by_side
from integrations.thread.doubt import Doubt, doubt_of
from integrations.thread.finding import EntryThread, Thread, documents_named, find, of, of_documents
from integrations.thread.lineage import lineage
from integrations.thread.milestones import (
    MilestoneThread,
    milestone_lineage,
    milestones_named,
    milestones_told,
    of_milestones,
)
from integrations.thread.named import Named, bears
from integrations.thread.proposals import proposals_told
from integrations.thread.stations import Station
from integrations.thread.telling import told
from integrations.thread.versions import changes, compared
from reconciliation.amounts import explained

__all__ = [
    "Doubt",
    "EntryThread",
    "MilestoneThread",
    "Named",
    "Station",
    "Thread",
    "bears",
    "changes",
    "compared",
    "documents_named",
    "doubt_of",
    "explained",
    "find",
    "lineage",
    "milestone_lineage",
    "milestones_named",
    "milestones_told",
    "of",
    "of_documents",
    "of_milestones",
    "proposals_told",
    "side_by_side",
    "told",
]
