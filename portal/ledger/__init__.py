"""The ledger's state machine, and the only writer of `state`.

The rule here: a move names where it comes from and the fence it was read at; a row that has moved meanwhile is not moved again,
and the caller learns which did. One move of many entries is one statement, with one transition row each. Every verb joins the
caller's transaction and never calls out. `states` moves, `figures` enters, `sending` is the way out, `standing` all the rest.
"""

from __future__ import annotations

from portal.ledger.figures import (
    COLUMNS,
    NAMESPACE,
    Figures,
    FrozenFigures,
    enter,
    key_of,
    refigure,
)
from portal.ledger.sending import (
    Claim,
    Sent,
    accept,
    claimable,
    doubt,
    reject,
    retry,
    send,
)
from portal.ledger.standing import (
    ask,
    cancel,
    hold,
    look_up_again,
    look_up_now,
    prove,
    prove_again,
    put_off,
    reconcile,
    release,
    reopen,
    reverse,
    wait,
    wake,
)
from portal.ledger.states import (
    LIVE,
    ON_ITS_WAY,
    RECEIPTED,
    STANDING,
    TRANSITIONS,
    IllegalTransition,
    Ref,
    move,
    refs_of,
)

__all__ = [
    "COLUMNS",
    "LIVE",
    "NAMESPACE",
    "ON_ITS_WAY",
    "RECEIPTED",
    "STANDING",
    "TRANSITIONS",
    "Claim",
    "Figures",
    "FrozenFigures",
    "IllegalTransition",
    "Ref",
    "Sent",
    "accept",
    "ask",
    "cancel",
    "claimable",
    "doubt",
    "enter",
    "hold",
    "key_of",
    "look_up_again",
    "look_up_now",
    "move",
    "prove",
    "prove_again",
    "put_off",
    "reconcile",
    "refigure",
    "refs_of",
    "reject",
    "release",
    "reopen",
    "retry",
    "reverse",
    "send",
    "wait",
    "wake",
]
