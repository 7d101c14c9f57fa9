"""The way of what is due: claimed, sent with its intent, then accepted, refused, tried again or in doubt.

Every verb joins the caller's transaction and never calls out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from portal import sql
from portal.ledger.states import Ref, move
from portal.models import State
from portal.records import Receipt

_IDLE = {"lease_until": "NULL"}


@dataclass(frozen=True, slots=True)
class Claim:
    """One due entry, locked for the length of the open transaction."""

    entry_id: int
    fence: int
    attempts: int
    body_hash: str


def claimable(target_id: int, limit: int) -> list[Claim]:
    """Lock due entries of one target, as evenly over its entities as they are due; rows another worker holds are passed by.

    Each entity gives its share first; what is left of the limit then goes to whoever has more.
    """
    entities = [row[0] for row in sql.rows(_ENTITIES_WITH_WORK, [target_id])]
    if not entities or limit < 1:
        return []
    share = -(-limit // len(entities))
    claims = _lock_due(target_id, entities, share, [])[:limit]
    if len(claims) < limit and len(entities) > 1:
        claims += _lock_due(target_id, entities, limit - len(claims), [claim.entry_id for claim in claims])
    return claims[:limit]


_ENTITIES_WITH_WORK = """
    SELECT e.id FROM portal_legalentity e
     WHERE EXISTS (SELECT 1 FROM portal_ledgerstate s
                    WHERE s.target_id = %s AND s.entity_id = e.id
                      AND s.state = 'ready' AND s.waits_on = '' AND s.next_attempt_at <= now())
     ORDER BY e.id"""


def _lock_due(target_id: int, entities: Sequence[int], share: int, held: Sequence[int]) -> list[Claim]:
    """Up to `share` due entries of each entity, beside those already held, in turn."""
    found = sql.rows(
        """
        SELECT d.entry_id, d.fence, d.attempts, d.body_hash
          FROM unnest(%s::bigint[]) AS w(entity_id), LATERAL (
            SELECT s.entry_id, s.fence, s.attempts, s.body_hash, s.next_attempt_at FROM portal_ledgerstate s
             WHERE s.target_id = %s AND s.entity_id = w.entity_id AND s.state = 'ready' AND s.waits_on = ''
               AND s.next_attempt_at <= now() AND s.entry_id <> ALL(%s)
             ORDER BY s.next_attempt_at, s.entry_id LIMIT %s FOR UPDATE SKIP LOCKED
        ) d
         ORDER BY row_number() OVER (PARTITION BY w.entity_id ORDER BY d.next_attempt_at, d.entry_id), d.entry_id""",
        [list(entities), target_id, list(held), share],
    )
    return [Claim(*row) for row in found]


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of a claim: the entries now SENDING, and those whose key was used before with another body."""

    moved: list[int]
    refused: list[int]


def send(rows: Sequence[tuple[int, int, str]], *, lease_seconds: float, actor: str) -> Sent:
    """READY → SENDING with the hash of the body: the intent. From its commit on, the entry may be in the target's books.

    `rows` are (entry id, fence, hash). A key is bound to its first body: another one is refused and stays READY.
    """
    hashes = {row[0]: row[2] for row in rows}
    moved = move(
        [(row[0], row[1]) for row in rows], State.READY, State.SENDING, actor=actor,
        assign={
            "lease_until": "now() + make_interval(secs => %s)",
            "body_hash": "w.body_hash",
            "attempts": "s.attempts + 1",
        },
        parameters=[lease_seconds],
        extra={"body_hash": ("text", [row[2] for row in rows])},
        provided="s.body_hash IN ('', w.body_hash)",
    )  # fmt: skip
    left = sorted(set(hashes) - set(moved))
    bound = (
        sql.rows("SELECT entry_id, body_hash FROM portal_ledgerstate WHERE entry_id = ANY(%s)", [left]) if left else []
    )
    refused = [entry_id for entry_id, body_hash in bound if body_hash not in ("", hashes[entry_id])]
    return Sent(moved, refused)


def accept(
    rows: Sequence[tuple[int, int, Receipt]], from_state: State, *, connection_id: int, actor: str, reason: str = ""
) -> list[int]:
    """SENDING or IN_DOUBT → ACCEPTED, and the receipts kept. Read-back is due at once."""
    moved = set(
        move(
            [(row[0], row[1]) for row in rows],
            from_state,
            State.ACCEPTED,
            actor=actor,
            reason=reason,
            assign={
                **_IDLE,
                "receipt_number": "w.number",
                "may_stand": "false",
                "next_attempt_at": "now()",
                "look_ups": "0",
                "waits_on": "''",
            },
            extra={"number": ("text", [row[2].number for row in rows])},
        )
    )
    moment = sql.now()
    sql.copy_in(
        "portal_receipt",
        ("entry_id", "connection_id", "number", "received_at", "raw"),
        (
            [e, connection_id, receipt.number, moment, sql.as_json(dict(receipt.raw))]
            for e, _, receipt in rows
            if e in moved
        ),
    )
    return [row[0] for row in rows if row[0] in moved]


def retry(
    refs: Sequence[Ref],
    *,
    from_state: State,
    after_seconds: float,
    actor: str,
    reason: str = "",
    reasons: Sequence[str] | None = None,
    waits_on: str = "",
    burn: bool = True,
    may_stand: bool | None = None,
) -> list[int]:
    """SENDING or IN_DOUBT → READY with the same key: nothing was booked. `burn=False` gives the attempt back.

    `may_stand` says whether something may have been left at the target all the same, or that it was shown to hold nothing;
    without a word about it that stays as earlier sendings left it.
    """
    return move(
        refs, from_state, State.READY, actor=actor, reason=reason, reasons=reasons,
        assign={
            **_IDLE,
            "next_attempt_at": "now() + make_interval(secs => %s)",
            "waits_on": "%s",
            "look_ups": "0",
            "attempts": "s.attempts" if burn else "greatest(s.attempts - 1, 0)",
            "may_stand": "coalesce(%s::boolean, s.may_stand)",
        },
        parameters=[after_seconds, waits_on, may_stand],
    )  # fmt: skip


def doubt(
    refs: Sequence[Ref],
    *,
    look_up_after_seconds: float,
    actor: str,
    reason: str = "",
    reasons: Sequence[str] | None = None,
) -> list[int]:
    """SENDING → IN_DOUBT: sent, and no answer. Only a look-up settles it."""
    return move(
        refs, State.SENDING, State.IN_DOUBT, actor=actor, reason=reason, reasons=reasons,
        assign={
            **_IDLE, "next_attempt_at": "now() + make_interval(secs => %s)", "look_ups": "0", "may_stand": "true",
        },
        parameters=[look_up_after_seconds],
    )  # fmt: skip


def reject(refs: Sequence[Ref], *, from_state: State, actor: str, reasons: Sequence[str]) -> list[int]:
    """SENDING or IN_DOUBT → REJECTED: the target said no and booked nothing."""
    return move(refs, from_state, State.REJECTED, actor=actor, reasons=reasons, assign=_IDLE)
