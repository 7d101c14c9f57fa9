"""Publishing: what other systems are to hold of ours, owed to each like hours are, proved like hours are.

It is master data, and how bills and payments stand.

The rule here: nothing is told to a system that its connection does not name (`provisions`, `subscribes`), one version is one
entry on the ledger, an unchanged record makes none, and what a record names is known there first. What is already mapped is
changed and never made a second time; a record there of the same name is a person's decision.
"""

from reconciliation.publishing.owing import follow, owe, owe_everything
from reconciliation.publishing.proving import accept, compared, drifting, gone
from reconciliation.publishing.standing import Refusal, recheck, refused, send_again, stands, taken
from reconciliation.publishing.stopping import DRIFT
from reconciliation.publishing.wanted import KINDS, PROVISIONED, SUBSCRIBED, told_to

__all__ = [
    "DRIFT",
    "KINDS",
    "PROVISIONED",
    "SUBSCRIBED",
    "Refusal",
    "accept",
    "compared",
    "drifting",
    "follow",
    "gone",
    "owe",
    "owe_everything",
    "recheck",
    "refused",
    "send_again",
    "stands",
    "taken",
    "told_to",
]
