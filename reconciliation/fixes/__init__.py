"""What a person can do about a cause: each fix is one class, and FIXES is the whole list.

The rule here: a fix says what it needs (a form), who may use it, and what it does to a set of entries inside the caller's
transaction; it never validates by itself but goes through `validation`, so that a dry-run is the same code, rolled back.
A rule names the fixes that help it, in order, as its remedies.
"""

from __future__ import annotations

from reconciliation.fixes.advice import ADVICE
from reconciliation.fixes.base import Fix, RowOutcome, Work, outcomes
from reconciliation.fixes.corrections import (
    AcceptSourceRate,
    MakeNonBillable,
    MoveProject,
    PostNextPeriod,
    UseContractRate,
)
from reconciliation.fixes.decisions import (
    AcceptBooked,
    BookAgain,
    CallBackReversal,
    CheckInTarget,
    HandBackToSource,
    LeaveOut,
    PutBack,
    Recheck,
    Repost,
    Reverse,
    ReverseAndRebook,
    SameWork,
    TakenBackThere,
    Waive,
)
from reconciliation.fixes.editing import EditEntries
from reconciliation.fixes.mapping import MapCode
from reconciliation.fixes.outside import HandledOutside

FIXES: dict[str, type[Fix]] = {
    fix.code: fix
    for fix in (
        MapCode,
        MoveProject,
        UseContractRate,
        AcceptSourceRate,
        MakeNonBillable,
        PostNextPeriod,
        SameWork,
        ReverseAndRebook,
        AcceptBooked,
        Reverse,
        TakenBackThere,
        CallBackReversal,
        PutBack,
        BookAgain,
        LeaveOut,
        Waive,
        HandBackToSource,
        CheckInTarget,
        Repost,
        Recheck,
        EditEntries,
        HandledOutside,
    )
}

__all__ = ["ADVICE", "FIXES", "Fix", "RowOutcome", "Work", "outcomes"]
