"""What states there are, how one follows another, and the one statement that moves entries.

The rule here: a move names where it comes from and the fence it was read at; a row that has moved meanwhile is not moved again,
and the caller learns which did. One move of many entries is one statement, with one transition row each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from portal import sql
from portal.models import State

TRANSITIONS: dict[State, frozenset[State]] = {
    State.HELD: frozenset({State.READY, State.IN_DOUBT, State.CANCELLED}),
    State.READY: frozenset({State.SENDING, State.HELD, State.IN_DOUBT, State.CANCELLED}),
    State.SENDING: frozenset({State.ACCEPTED, State.READY, State.REJECTED, State.IN_DOUBT}),
    State.IN_DOUBT: frozenset({State.ACCEPTED, State.READY, State.REJECTED}),
    State.REJECTED: frozenset({State.READY, State.IN_DOUBT, State.CANCELLED}),
    State.ACCEPTED: frozenset({State.POSTED, State.REVERSED, State.CANCELLED}),
    State.POSTED: frozenset({State.RECONCILED, State.REVERSED, State.CANCELLED}),
    State.RECONCILED: frozenset({State.REVERSED, State.CANCELLED}),
    State.REVERSED: frozenset(),
    State.CANCELLED: frozenset(),
}
RECEIPTED = (State.ACCEPTED, State.POSTED, State.RECONCILED, State.REVERSED)
ON_ITS_WAY = (State.SENDING, State.IN_DOUBT)
STANDING = (*ON_ITS_WAY, State.ACCEPTED, State.POSTED, State.RECONCILED)  # may be, or is, in the target's books
LIVE = (State.HELD, State.READY, State.REJECTED, *STANDING)  # owed, or in the books

Ref = tuple[int, int]  # an entry's id and the fence at which it was read


class IllegalTransition(Exception):
    """A move that the state machine does not know."""


def move(
    refs: Sequence[Ref],
    source: State,
    target: State,
    *,
    actor: str,
    reason: str = "",
    reasons: Sequence[str] | None = None,
    assign: Mapping[str, str] | None = None,
    parameters: Sequence[Any] = (),
    extra: Mapping[str, tuple[str, Sequence[Any]]] | None = None,
    provided: str = "true",
) -> list[int]:
    """Move entries from one state to another and write their transitions; the ids that moved.

    `assign` are SQL expressions for columns of the state row, over `s` (the row) and `w` (the wanted move, with the arrays of
    `extra` as columns); `parameters` belong to them, in order. `provided` is one more condition over both.
    """
    if target not in TRANSITIONS[source]:
        raise IllegalTransition(f"A ledger entry does not go from {source} to {target}.")
    if not refs:
        return []
    extra = extra or {}
    if reasons is not None:
        extra = {**extra, "reason": ("text", reasons)}
    sets = "".join(f", {column} = {expression}" for column, expression in (assign or {}).items())
    ids, fences = [ref[0] for ref in refs], [ref[1] for ref in refs]
    wanted, read_at, read_fence = "", "s.fence = %b::int", [fences[0]]
    arrays: list[list[Any]] = []
    if extra or len(set(fences)) > 1:  # what differs from entry to entry is joined; one fence for all needs no join
        names = ", ".join(("entry_id", "fence", *extra))
        kinds = "".join(f", %b::{kind}[]" for kind, _ in extra.values())
        wanted = f" FROM unnest(%b::bigint[], %b::int[]{kinds}) AS w({names})"
        read_at, read_fence = "s.entry_id = w.entry_id AND s.fence = w.fence", []
        arrays = [ids, fences, *(list(values) for _, values in extra.values())]
    statement = f"""
        WITH moved AS (
            UPDATE portal_ledgerstate s SET state = %s, fence = s.fence + 1, moved_at = now(){sets}{wanted}
             WHERE s.entry_id = ANY(%b::bigint[]) AND {read_at} AND s.state = %s AND {provided}
         RETURNING s.entry_id, s.fence{"" if reasons is None else ", w.reason"}
        )
        INSERT INTO portal_ledgertransition (entry_id, fence, from_state, to_state, actor, reason, at)
        SELECT entry_id, fence, %s, %s, %s, {"%s" if reasons is None else "left(reason, 500)"}, now() FROM moved
        RETURNING entry_id"""  # noqa: S608 -- the parts are this module's own words
    moved = sql.rows_bound(
        statement,
        [
            str(target),
            *parameters,
            *arrays,
            ids,
            *read_fence,
            str(source),
            str(source),
            str(target),
            actor,
            *([reason[:500]] if reasons is None else []),
        ],
    )
    return [row[0] for row in moved]


def refs_of(entry_ids: Sequence[int], *, lock: bool = False) -> dict[int, tuple[State, int]]:
    """Where entries stand: state and fence by id; locked in id order when asked, so that two callers never deadlock."""
    query = "SELECT entry_id, state, fence FROM portal_ledgerstate WHERE entry_id = ANY(%s) ORDER BY entry_id"
    found = sql.rows(f"{query} FOR UPDATE" if lock else query, [list(entry_ids)])
    return {entry_id: (State(state), fence) for entry_id, state, fence in found}
