"""Everything else that happens to an entry: held and released, proved and reconciled, reversed, put off and woken.

Every verb joins the caller's transaction and never calls out.
"""

from __future__ import annotations

from collections.abc import Sequence

from portal import sql
from portal.ledger.states import Ref, move
from portal.models import State


def hold(refs: Sequence[Ref], *, actor: str, reason: str) -> list[int]:
    """READY → HELD: a rule stops what had not gone yet."""
    return move(refs, State.READY, State.HELD, actor=actor, reason=reason, assign={"waits_on": "''"})


def release(refs: Sequence[Ref], *, actor: str, reason: str, waits_on: str = "") -> list[int]:
    """HELD → READY: no rule stops it any more; it may still wait on a named event."""
    return move(
        refs, State.HELD, State.READY, actor=actor, reason=reason,
        assign={"waits_on": "%s", "next_attempt_at": "now()", "attempts": "0"}, parameters=[waits_on],
    )  # fmt: skip


def cancel(refs: Sequence[Ref], from_state: State, *, actor: str, reason: str) -> list[int]:
    """HELD, READY or REJECTED → CANCELLED: it is not owed any more, and nothing was booked.

    What may stand at the target from an earlier sending does not move: it is asked about first. What is booked is reversed
    instead; only a record that the target has been shown not to hold is cancelled as well. Its
    receipt stays as evidence and proves nothing any more, so that the record, should it turn up, is nobody's.
    """
    return move(
        refs, from_state, State.CANCELLED, actor=actor, reason=reason,
        assign={"waits_on": "''", "receipt_number": "''"}, provided="NOT s.may_stand",
    )  # fmt: skip


def ask(refs: Sequence[Ref], *, from_state: State = State.HELD, actor: str, reason: str) -> list[int]:
    """HELD, READY or REJECTED → IN_DOUBT: its key was used before, and the target is asked what it holds under it."""
    return move(
        refs, from_state, State.IN_DOUBT, actor=actor, reason=reason,
        assign={"next_attempt_at": "now()", "look_ups": "0", "waits_on": "''"}, provided="s.body_hash <> ''",
    )  # fmt: skip


def prove(refs: Sequence[Ref], *, actor: str, reason: str = "read back equal") -> list[int]:
    """ACCEPTED → POSTED: the target holds what was sent."""
    return move(
        refs, State.ACCEPTED, State.POSTED, actor=actor, reason=reason, assign={"proved_at": "now()", "look_ups": "0"}
    )


def prove_again(entry_ids: Sequence[int]) -> None:
    """Posted entries that were read back once more and still equal."""
    sql.execute(
        "UPDATE portal_ledgerstate SET proved_at = now() WHERE entry_id = ANY(%s) AND state IN ('posted', 'reconciled')",
        [list(entry_ids)],
    )


def look_up_again(entry_ids: Sequence[int], *, after_seconds: float) -> None:
    """The look-up or read-back said nothing final; ask once more later. No move, so no transition."""
    sql.execute(
        "UPDATE portal_ledgerstate SET look_ups = look_ups + 1, next_attempt_at = now() + make_interval(secs => %s)"
        " WHERE entry_id = ANY(%s) AND state IN ('in_doubt', 'accepted')",
        [after_seconds, list(entry_ids)],
    )


def look_up_now(entry_ids: Sequence[int]) -> int:
    """A person asks: the next look-up or read-back of these entries is due at once. How many can be looked up."""
    return sql.execute(
        "UPDATE portal_ledgerstate SET next_attempt_at = now() WHERE entry_id = ANY(%s) AND state IN ('in_doubt', 'accepted')",
        [list(entry_ids)],
    )


def reopen(refs: Sequence[Ref], *, actor: str, reason: str) -> list[int]:
    """REJECTED → READY: the cause in the target is gone; the same content goes again under the same key."""
    return move(
        refs, State.REJECTED, State.READY, actor=actor, reason=reason,
        assign={"next_attempt_at": "now()", "attempts": "0", "waits_on": "''"},
    )  # fmt: skip


def reconcile(refs: Sequence[Ref], *, actor: str, reason: str) -> list[int]:
    """POSTED → RECONCILED: the target's statement holds it, equal."""
    return move(refs, State.POSTED, State.RECONCILED, actor=actor, reason=reason)


def reverse(refs: Sequence[Ref], from_state: State, *, actor: str, reason: str) -> list[int]:
    """ACCEPTED, POSTED or RECONCILED → REVERSED: its reversal is receipted."""
    return move(refs, from_state, State.REVERSED, actor=actor, reason=reason)


def wait(entry_ids: Sequence[int], waits_on: str) -> int:
    """Park READY entries on a named event; no attempt is burnt. How many now wait."""
    return sql.execute(
        "UPDATE portal_ledgerstate SET waits_on = %s WHERE entry_id = ANY(%s) AND state = 'ready' AND waits_on = ''",
        [waits_on, list(entry_ids)],
    )


def put_off(entry_ids: Sequence[int], waits_on: str) -> int:
    """Let waiting READY entries wait on something else, or on nothing any more (empty). How many."""
    return sql.execute(
        "UPDATE portal_ledgerstate SET waits_on = %s, next_attempt_at = now() WHERE state = 'ready' AND entry_id = ANY(%s)",
        [waits_on, list(entry_ids)],
    )


def wake(waits_on: str, *, target_id: int | None = None) -> int:
    """The named event has come: what waits on it is due. How many were woken."""
    return sql.execute(
        "UPDATE portal_ledgerstate SET waits_on = '', next_attempt_at = now() WHERE state = 'ready' AND waits_on = %s"
        " AND (%s::bigint IS NULL OR target_id = %s)",
        [waits_on, target_id, target_id],
    )
