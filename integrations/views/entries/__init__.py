"""The page of one ledger entry and what is opened from it."""

from integrations.views.entries.attempt import AttemptPage
from integrations.views.entries.milestone import MilestonePage
from integrations.views.entries.page import DoubtPart, EntryPage
from integrations.views.entries.settle import SettleScreen
from integrations.views.entries.talk import CommentScreen

__all__ = ["AttemptPage", "CommentScreen", "DoubtPart", "EntryPage", "MilestonePage", "SettleScreen"]
