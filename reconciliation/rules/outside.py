"""Causes that are found elsewhere: by a target's refusal, by a read-back, at a connection, or because a document went away."""

from __future__ import annotations

from reconciliation.rules.base import Rule


def _cause(
    code: str, title: str, subject: str, remedies: tuple[str, ...], cases: tuple[int, ...], *, waivable: bool = False
) -> Rule:
    return Rule(
        code=code, title=title, subject=subject, waivable=waivable, remedies=remedies, cases=cases, can_be_off=False
    )


OUTSIDE: tuple[Rule, ...] = (
    _cause("no-route", "No route to a target", "connection", ("add-route",), (130,)),
    _cause(
        "rejected-by-target", "Refused by the target", "refusal", ("re-post", "move-project", "hand-back"), (46, 62, 68)
    ),
    _cause("connection-unauthorised", "Connection is not authorised", "connection", ("renew-credentials",), (67,)),
    _cause("in-doubt-too-long", "Outcome is not known", "connection", ("check-in-target",), (57, 58)),
    _cause(
        "not-persisted", "Accepted, but not found in the target", "connection", ("check-in-target", "re-post"), (63,)
    ),
    _cause("poison", "Stopped after repeated failures", "connection", ("re-post", "hand-back"), (70,)),
    _cause(
        "divergent-read-back",
        "The target holds other figures",
        "connection",
        ("check-in-target", "reverse-and-rebook"),
        (41, 69),
    ),
    _cause("gone-in-target", "No longer in the target", "connection", ("check-in-target", "reverse-and-rebook"), (80,)),
    _cause("key-reused", "The key was used with other content", "connection", ("check-in-target", "hand-back"), (65,)),
    _cause(
        "approval-withdrawn-after-posting",
        "Approval withdrawn after posting",
        "project",
        ("reverse", "check-in-target"),
        (51,),
    ),
    _cause(
        "out-of-balance",
        "The period does not tie out",
        "comparison",
        ("check-in-target", "reverse-and-rebook", "hand-back"),
        (69, 80),
    ),
    _cause("volume-drop", "A source sends far less than usual", "stream", ("release-stream",), (13,)),
    _cause("truncated", "A source sends less than it announces", "stream", ("read-again",), (12,)),
    _cause("deleted-at-source", "Deleted at source after posting", "project", ("reverse", "check-in-target"), (1,)),
)
