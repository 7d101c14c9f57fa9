"""Invoicing: what is to be billed next, proposed to people, and handed to the system that bills as a draft.

The rule here: nothing is sent to a customer from here. A proposal is released by who answers for the project and approved by
finance, never by one person; its draft goes through the ledger and the outbox, and its figures are read back.
"""

from reconciliation.invoicing.deciding import (
    APPROVERS,
    RELEASERS,
    Decided,
    approve,
    hand_over_again,
    hold,
    release,
    send_again,
    send_back,
    unhold,
    withdraw,
    word,
)
from reconciliation.invoicing.handing_over import kept_back, together, waited_for
from reconciliation.invoicing.limits import Blocker, Limit, biller_of, blockers, limits_of, tax_variance
from reconciliation.invoicing.preparing import PREPARERS, NotProposable, may, prepare, prepare_anew, run_due
from reconciliation.invoicing.risks import Risk, digest_of, risks_in, risks_of
from reconciliation.invoicing.standing import compared, recheck, refused, stands, taken

__all__ = [
    "APPROVERS",
    "PREPARERS",
    "RELEASERS",
    "Blocker",
    "Decided",
    "Limit",
    "NotProposable",
    "Risk",
    "approve",
    "biller_of",
    "blockers",
    "compared",
    "digest_of",
    "hand_over_again",
    "hold",
    "kept_back",
    "limits_of",
    "may",
    "prepare",
    "prepare_anew",
    "recheck",
    "refused",
    "release",
    "risks_in",
    "risks_of",
    "run_due",
    "send_again",
    "send_back",
    "stands",
    "taken",
    "tax_variance",
    "together",
    "unhold",
    "waited_for",
    "withdraw",
    "word",
]
