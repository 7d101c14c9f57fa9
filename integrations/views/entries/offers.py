"""What can be done with one entry, and why the rest cannot be done now.

The rule here: an action is offered for the state and the role that allow it, and one that is not offered says in a sentence
why. In doubt nothing is sent: re-post is replaced by the look-up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.urls import reverse

from portal.models import GrantRole, LedgerEntry, State
from reconciliation.fixes import FIXES, Fix
from reconciliation.models import Hold
from reconciliation.rules import BY_CODE
from reconciliation.views.fixing import fixes_of, usable

BOOKED = (State.ACCEPTED, State.POSTED, State.RECONCILED)
TOLD = ("re-post", "check-in-target", "reverse", "hand-back")  # said also where they cannot be done

_WHY: dict[str, dict[str, str]] = {
    "re-post": {
        State.IN_DOUBT: "Nobody knows yet whether it was booked; a second posting might book it twice. It is looked up instead.",
        State.HELD: "Its cause comes first; it is posted by itself once nothing holds it.",
        State.READY: "It is posted by itself.",
        State.SENDING: "It is being sent now.",
        State.ACCEPTED: "The target has taken it.",
        State.POSTED: "It stands in the target.",
        State.RECONCILED: "It stands in the target.",
        State.REVERSED: "It was taken back; a new version is posted instead.",
        State.CANCELLED: "It is not owed any more.",
    },
    "check-in-target": {
        State.SENDING: "It is being sent now; its answer comes first.",
        State.REJECTED: "The target refused it and holds nothing of it.",
        State.POSTED: "It was read back equal, and is read again every day while its period is open.",
        State.RECONCILED: "The target's statement of the period holds it.",
        State.REVERSED: "It was taken back.",
        State.CANCELLED: "Nothing of it was sent.",
        "": "Nothing was sent that the target could hold.",
    },
    "reverse": {
        State.IN_DOUBT: "Whether there is anything to take back is not known yet.",
        State.SENDING: "It is being sent now.",
        State.REVERSED: "It was taken back already.",
        "": "Nothing of it is booked that could be taken back.",
    },
    "hand-back": {
        State.IN_DOUBT: "Its outcome is not known yet.",
        State.CANCELLED: "It is not owed any more.",
        State.REVERSED: "It was taken back.",
        "": "Only what is held or refused waits on its source.",
    },
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Offer:
    """One action: where it leads, or why it cannot be done now."""

    label: str
    help: str
    url: str = ""
    reason: str = ""
    key: str = ""  # its action of the keyboard


def offers(
    entry: LedgerEntry,
    holds: Sequence[Hold],
    held: frozenset[str],
    *,
    reversal: LedgerEntry | None = None,
    can_ask: bool = True,
) -> tuple[list[Offer], list[Offer]]:
    """What can be done with the entry now, the next step first; and what cannot, each with its reason.

    `holds` are its open holds, `reversal` is what takes it back, `can_ask` says whether its target can be looked up by key.
    """
    state = entry.state_row.state
    found: dict[str, tuple[type[Fix], str]] = {}
    if state != State.IN_DOUBT:
        for hold in holds:
            for code in _of_rule(hold.rule):
                url = f"{reverse('fix', args=[hold.case_id, code])}?selected={entry.pk}"
                found.setdefault(code, (FIXES[code], url))
    for fix in fixes_of(state, is_reversal=entry.reverses_id is not None):
        found.setdefault(fix.code, (fix, reverse("fix_entry", args=[entry.pk, fix.code])))
    now: list[Offer] = []
    not_now: list[Offer] = []
    told = [code for code in TOLD if code not in found]
    for code, (fix, url) in [*found.items(), *((code, (FIXES[code], "")) for code in told)]:
        reason = _reason(entry, fix, url, held, reversal=reversal, can_ask=can_ask)
        if not reason:
            now.append(Offer(fix.label, fix.help, url, key=fix.key))
        elif code in TOLD or fix.roles.isdisjoint(held):
            not_now.append(Offer(fix.label, fix.help, reason=reason))
    return now, not_now


def _reason(
    entry: LedgerEntry, fix: type[Fix], url: str, held: frozenset[str], *, reversal: LedgerEntry | None, can_ask: bool
) -> str:
    """Why a fix cannot be done; empty when it can."""
    state = entry.state_row.state
    if fix.roles.isdisjoint(held):
        names = ", ".join(sorted(str(GrantRole(role).label).lower() for role in fix.roles))
        return f"This is for: {names}."
    if fix.code in ("reverse", "reverse-and-rebook") and state in BOOKED:
        if entry.reverses_id is not None:
            return f"It is a reversal itself, of entry {entry.reverses_id}."
        if reversal is not None:
            return f"It is being taken back by entry {reversal.pk}."
    if fix.code == "check-in-target" and state == State.IN_DOUBT and not can_ask:
        return f"{entry.target} cannot be asked by our key; settle it by hand."
    if not url or state not in {str(allowed) for allowed in fix.states}:
        why = _WHY.get(fix.code, {})
        return why.get(state) or why.get("") or f"It is {entry.state_row.get_state_display().lower()}."
    return ""


def _of_rule(code: str) -> list[str]:
    """The fixes of a rule's cause: its remedies in their order, then what helps against any cause."""
    rule = BY_CODE.get(code)
    remedies = [remedy for remedy in (rule.remedies if rule is not None else ()) if remedy in FIXES]
    return [*remedies, *sorted(usable(code) - {*remedies, "recheck"})]
