"""Causes that are found elsewhere: by a target's refusal, by a read-back, at a connection, or because a document went away."""

from __future__ import annotations

from portal.models import State
from reconciliation.rules.base import Rule

_NOWHERE: frozenset[State] = frozenset()  # the cause stands for itself and holds no entries
_PROVED = frozenset({State.POSTED, State.RECONCILED})
_IN_BOOKS = _PROVED | {State.ACCEPTED}
_SENT = _IN_BOOKS | {State.IN_DOUBT}
UNSETTLED = "books-at-other-rates"


def _cause(  # noqa: PLR0917 -- a cause's columns, in their order
    code: str, title: str, subject: str, remedies: tuple[str, ...], cases: tuple[int, ...], leaves: frozenset[State]
) -> Rule:
    return Rule(
        code=code, title=title, subject=subject, waivable=False, remedies=remedies, cases=cases, can_be_off=False,
        leaves=leaves,
    )  # fmt: skip


OUTSIDE: tuple[Rule, ...] = (
    _cause("no-route", "No route to a target", "connection", ("add-route",), (130,), frozenset({State.HELD})),
    _cause(
        "rejected-by-target", "Refused by the target", "refusal",
        ("re-post", "move-project", "hand-back", "call-back-reversal"), (46, 62, 68), frozenset({State.REJECTED}),
    ),
    _cause(
        "not-taken-back", "The target takes nothing back by an opposite", "refusal",
        ("taken-back-there", "call-back-reversal"), (108,), frozenset({State.REJECTED}),
    ),
    _cause(
        "connection-unauthorised", "Connection is not authorised", "connection", ("renew-credentials",), (67,), _NOWHERE
    ),
    _cause(
        "in-doubt-too-long", "Outcome is not known", "connection", ("check-in-target",), (57, 58),
        frozenset({State.IN_DOUBT}),
    ),
    _cause(
        "not-persisted", "Accepted, but not found in the target", "connection",
        ("check-in-target", "book-again", "leave-out"), (63, 64), frozenset({State.ACCEPTED}),
    ),
    _cause(
        "not-booked", "Accepted, but not booked in time", "connection", ("check-in-target",), (63,),
        frozenset({State.ACCEPTED}),
    ),
    _cause(
        "poison", "Stopped after repeated failures", "connection", ("re-post", "hand-back"), (70,), frozenset({State.HELD})
    ),
    _cause(
        "books-of-another-entity", "Nobody knows into whose books it would go", "connection",
        ("re-post", "call-back-reversal"), (111, 114), frozenset({State.HELD})
    ),
    _cause(
        "divergent-read-back", "The target holds other figures", "connection", ("check-in-target", "reverse-and-rebook"),
        (41, 69), _IN_BOOKS,
    ),
    _cause(
        "gone-in-target", "No longer in the target", "connection", ("check-in-target", "book-again", "leave-out"), (80,),
        _PROVED,
    ),
    _cause(
        "key-reused", "The key was used with other content", "connection",
        ("check-in-target", "book-again", "leave-out", "hand-back"), (65,), frozenset({State.HELD}),
    ),
    _cause(
        "approval-withdrawn-after-posting", "Approval withdrawn after posting", "project", ("reverse", "check-in-target"),
        (51,), _SENT,
    ),
    _cause(
        "out-of-balance", "The period does not tie out", "comparison",
        ("check-in-target", "reverse-and-rebook", "book-again", "correct-in-target"), (69, 80), _IN_BOOKS,
    ),
    _cause("nothing-arrived", "Nothing has arrived", "silence", ("ask-for-hours",), (), _NOWHERE),
    _cause(
        "twin-in-target", "The system has one of the same name", "publication", ("confirm-twin", "send-again"), (),
        frozenset({State.REJECTED}),
    ),
    _cause(
        "publication-refused", "Master data was refused", "publication", ("send-again",), (), frozenset({State.REJECTED})
    ),
    _cause(
        "drifted-in-target", "The system holds other master data", "publication",
        ("send-again", "adopt-drift", "accept-drift"), (), frozenset({State.ACCEPTED, State.POSTED}),
    ),
    _cause(
        "draft-outdated", "A draft bills what may not be billed any more", "proposal", ("withdraw-proposal",), (75,),
        frozenset({State.HELD}),
    ),
    _cause(
        "draft-refused", "An invoice draft was refused", "proposal", ("send-draft-again", "withdraw-proposal"), (81, 88),
        frozenset({State.REJECTED}),
    ),
    _cause(
        "draft-differs", "An invoice draft was made with other figures", "proposal", ("correct-in-target",), (41, 88),
        frozenset({State.ACCEPTED, State.POSTED}),
    ),
    _cause(
        UNSETTLED, "Booked at other rates than are agreed", "change_set",
        ("plan-the-books", "reverse-and-rebook", "accept-booked"), (36, 37), _IN_BOOKS,
    ),
    _cause("volume-drop", "A source sends far less than usual", "stream", ("release-stream",), (13,), _NOWHERE),
    _cause("webhooks-not-renewed", "Webhooks could not be renewed", "connection", ("renew-webhooks",), (), _NOWHERE),
    _cause("truncated", "A source sends less than it announces", "stream", ("read-again",), (12,), _NOWHERE),
    _cause(
        "deleted-at-source", "Deleted at source after posting", "project", ("reverse", "check-in-target"), (1,), _SENT
    ),
)  # fmt: skip
