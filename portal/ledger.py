"""The ledger's state machine, and the only writer of `state`.

The rule here: a move names where it comes from and the fence it was read at; a row that has moved meanwhile is not moved again,
and the caller learns which did. One move of many entries is one statement, with one transition row each. Every verb joins the
caller's transaction and never calls out.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import date
from decimal import Decimal
from operator import attrgetter
from typing import Any

import msgspec

from portal import sql
from portal.models import State
from portal.records import Receipt

NAMESPACE = uuid.UUID("6f1d9a0e-7c51-5b7e-9a55-1d2f0c7e4b10")

TRANSITIONS: dict[State, frozenset[State]] = {
    State.HELD: frozenset({State.READY, State.IN_DOUBT, State.CANCELLED}),
    State.READY: frozenset({State.SENDING, State.HELD, State.CANCELLED}),
    State.SENDING: frozenset({State.ACCEPTED, State.READY, State.REJECTED, State.IN_DOUBT}),
    State.IN_DOUBT: frozenset({State.ACCEPTED, State.READY, State.REJECTED}),
    State.REJECTED: frozenset({State.READY, State.CANCELLED}),
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


class FrozenFigures(Exception):
    """Figures of an entry that may have been sent already."""


@dataclass(slots=True, kw_only=True)
class Figures:
    """What one ledger entry books. The names are the columns of `LedgerEntry`."""

    document_id: int
    version: int
    part: int = 0
    generation: int = 0
    kind: str
    entity_id: int
    source_id: int
    target_id: int
    reverses_id: int | None = None
    project_id: int | None = None
    contract_id: int | None = None
    customer_id: int | None = None
    task_id: int | None = None
    resource_id: int | None = None
    role_id: int | None = None
    cost_centre_id: int | None = None
    purchase_order_id: int | None = None
    period_id: int | None = None
    work_date: date
    post_on: date
    hours: Decimal | None = None
    rate: Decimal | None = None
    rate_used_id: int | None = None
    rate_version: str = ""
    amount: Decimal | None = None
    currency: str = ""
    is_billable: bool
    is_cost_only: bool = False
    tags: Sequence[str] = ()
    category: str = ""
    tax_code: str = ""
    receipt_reference: str = ""
    memo: str = ""
    target_keys: Mapping[str, str] = field(default_factory=dict)


COLUMNS = tuple(item.name for item in fields(Figures))
_IDENTITY = ("document_id", "version", "part", "generation", "kind", "source_id", "target_id", "reverses_id")
_MUTABLE = tuple(name for name in COLUMNS if name not in _IDENTITY)
_JSON = frozenset({"tags", "target_keys"})


@dataclass(frozen=True, slots=True)
class Claim:
    """One due entry, locked for the length of the open transaction."""

    entry_id: int
    fence: int
    attempts: int
    body_hash: str


def key_of(
    document_id: int, version: int, target_id: int, part: int = 0, generation: int = 0, *, reversal: bool = False
) -> uuid.UUID:
    """The idempotency key: the same fact owed to the same target always has the same one."""
    return uuid.UUID(_key(document_id, version, target_id, part, generation, reversal=reversal))


def _key(document_id: int, version: int, target_id: int, part: int, generation: int, *, reversal: bool) -> str:
    """The key in hexadecimal: a UUID of version 5, without the object that `uuid.uuid5` makes of it."""
    fact = f"{document_id}:{version}:{target_id}:{part}:{generation}:{'r' if reversal else 'e'}"
    digest = bytearray(hashlib.sha1(NAMESPACE.bytes + fact.encode(), usedforsecurity=False).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    return digest.hex()


_read = attrgetter(*COLUMNS)
_encode = msgspec.json.Encoder().encode
_TAGS, _KEYS = COLUMNS.index("tags"), COLUMNS.index("target_keys")


def _values(figures: Figures) -> list[Any]:
    values = list(_read(figures))
    values[_TAGS] = _encode(figures.tags).decode() if figures.tags else "[]"
    values[_KEYS] = _encode(figures.target_keys).decode() if figures.target_keys else "{}"
    return values


def enter(
    rows: Sequence[tuple[Figures, State, str]], *, actor: str, reason: str = "", reasons: Sequence[str] | None = None
) -> list[int]:
    """Write new entries, each HELD or READY and waiting on nothing (empty) or on a named event; their ids, in order.

    `reasons` gives each entry's first transition a sentence of its own. Three COPYs and two short queries, whatever the size.
    """
    if not rows:
        return []
    for _, state, _ in rows:
        if state not in (State.HELD, State.READY):
            raise IllegalTransition(f"An entry begins held or ready, not {state}.")
    moment = sql.now()
    ids = sql.draw_ids("portal_ledgerentry", len(rows))
    sql.copy_in(
        "portal_ledgerentry",
        ("id", "idempotency_key", "created_at", *COLUMNS),
        (
            [
                entry_id,
                _key(
                    figures.document_id,
                    figures.version,
                    figures.target_id,
                    figures.part,
                    figures.generation,
                    reversal=figures.reverses_id is not None,
                ),
                moment,
                *_values(figures),
            ]
            for entry_id, (figures, _, _) in zip(ids, rows, strict=True)
        ),
    )
    sql.copy_in(
        "portal_ledgerstate",
        ("entry_id", "state", "fence", "target_id", "entity_id", "attempts", "look_ups", "next_attempt_at", "waits_on",
         "body_hash", "receipt_number", "moved_at"),
        (
            [entry_id, str(state), 1, figures.target_id, figures.entity_id, 0, 0, moment, waits_on, "", "", moment]
            for entry_id, (figures, state, waits_on) in zip(ids, rows, strict=True)
        ),
    )  # fmt: skip
    sql.copy_in(
        "portal_ledgertransition",
        ("entry_id", "fence", "from_state", "to_state", "actor", "reason", "at"),
        (
            [entry_id, 1, "", str(state), actor, (reasons[index] if reasons else reason)[:500], moment]
            for index, (entry_id, (_, state, _)) in enumerate(zip(ids, rows, strict=True))
        ),
    )
    return ids


_TYPES = {
    "document_id": "bigint", "version": "int", "part": "smallint", "generation": "smallint", "work_date": "date",
    "post_on": "date", "hours": "numeric", "rate": "numeric", "amount": "numeric", "is_billable": "boolean",
    "is_cost_only": "boolean", "tags": "jsonb", "target_keys": "jsonb",
}  # fmt: skip


def _type_of(name: str) -> str:
    return _TYPES.get(name) or ("bigint" if name.endswith("_id") else "text")


def refigure(rows: Sequence[tuple[int, Figures]]) -> None:
    """Give entries that were never sent new figures (their identity stays). Raises FrozenFigures naming any that were."""
    if not rows:
        return
    ids = [entry_id for entry_id, _ in rows]
    frozen = sql.rows(
        "SELECT entry_id, state FROM portal_ledgerstate WHERE entry_id = ANY(%s)"
        " AND (state NOT IN ('held', 'ready') OR body_hash <> '') FOR UPDATE",
        [ids],
    )
    if frozen:
        raise FrozenFigures(f"Entry {frozen[0][0]} is {frozen[0][1]}; what was sent is not changed.")
    arrays = [
        [
            sql.as_json(getattr(f, name) or ([] if name == "tags" else {})) if name in _JSON else getattr(f, name)
            for _, f in rows
        ]
        for name in _MUTABLE
    ]
    columns = ", ".join(_MUTABLE)
    unnested = ", ".join(f"%s::{'text' if name in _JSON else _type_of(name)}[]" for name in _MUTABLE)
    assignments = ", ".join(f"{name} = w.{name}{'::jsonb' if name in _JSON else ''}" for name in _MUTABLE)
    sql.execute(
        f"UPDATE portal_ledgerentry e SET {assignments} FROM unnest(%s::bigint[], {unnested}) AS w(entry_id, {columns})"  # noqa: S608
        " WHERE e.id = w.entry_id",
        [ids, *arrays],
    )
    sql.execute(
        "UPDATE portal_ledgerstate s SET entity_id = e.entity_id FROM portal_ledgerentry e"
        " WHERE e.id = s.entry_id AND s.entry_id = ANY(%s) AND s.entity_id <> e.entity_id",
        [ids],
    )


def _move(
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


_IDLE = {"lease_until": "NULL"}


def hold(refs: Sequence[Ref], *, actor: str, reason: str) -> list[int]:
    """READY → HELD: a rule stops what had not gone yet."""
    return _move(refs, State.READY, State.HELD, actor=actor, reason=reason, assign={"waits_on": "''"})


def release(refs: Sequence[Ref], *, actor: str, reason: str, waits_on: str = "") -> list[int]:
    """HELD → READY: no rule stops it any more; it may still wait on a named event."""
    return _move(
        refs, State.HELD, State.READY, actor=actor, reason=reason,
        assign={"waits_on": "%s", "next_attempt_at": "now()", "attempts": "0"}, parameters=[waits_on],
    )  # fmt: skip


def cancel(refs: Sequence[Ref], from_state: State, *, actor: str, reason: str) -> list[int]:
    """HELD, READY or REJECTED → CANCELLED: it is not owed any more, and nothing was booked.

    What is booked is reversed instead; only a record that the target has been shown not to hold is cancelled as well. Its
    receipt stays as evidence and proves nothing any more, so that the record, should it turn up, is nobody's.
    """
    return _move(
        refs, from_state, State.CANCELLED, actor=actor, reason=reason,
        assign={"waits_on": "''", "receipt_number": "''"},
    )  # fmt: skip


def ask(refs: Sequence[Ref], *, actor: str, reason: str) -> list[int]:
    """HELD → IN_DOUBT: its key was used before, and a person has the target asked what it holds under it."""
    return _move(
        refs, State.HELD, State.IN_DOUBT, actor=actor, reason=reason,
        assign={"next_attempt_at": "now()", "look_ups": "0", "waits_on": "''"}, provided="s.body_hash <> ''",
    )  # fmt: skip


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
    moved = _move(
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
        _move(
            [(row[0], row[1]) for row in rows],
            from_state,
            State.ACCEPTED,
            actor=actor,
            reason=reason,
            assign={
                **_IDLE,
                "receipt_number": "w.number",
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


def prove(refs: Sequence[Ref], *, actor: str, reason: str = "read back equal") -> list[int]:
    """ACCEPTED → POSTED: the target holds what was sent."""
    return _move(
        refs, State.ACCEPTED, State.POSTED, actor=actor, reason=reason, assign={"proved_at": "now()", "look_ups": "0"}
    )


def prove_again(entry_ids: Sequence[int]) -> None:
    """Posted entries that were read back once more and still equal."""
    sql.execute(
        "UPDATE portal_ledgerstate SET proved_at = now() WHERE entry_id = ANY(%s) AND state IN ('posted', 'reconciled')",
        [list(entry_ids)],
    )


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
) -> list[int]:
    """SENDING or IN_DOUBT → READY with the same key: nothing was booked. `burn=False` gives the attempt back."""
    return _move(
        refs, from_state, State.READY, actor=actor, reason=reason, reasons=reasons,
        assign={
            **_IDLE,
            "next_attempt_at": "now() + make_interval(secs => %s)",
            "waits_on": "%s",
            "look_ups": "0",
            "attempts": "s.attempts" if burn else "greatest(s.attempts - 1, 0)",
        },
        parameters=[after_seconds, waits_on],
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
    return _move(
        refs, State.SENDING, State.IN_DOUBT, actor=actor, reason=reason, reasons=reasons,
        assign={**_IDLE, "next_attempt_at": "now() + make_interval(secs => %s)", "look_ups": "0"},
        parameters=[look_up_after_seconds],
    )  # fmt: skip


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


def reject(refs: Sequence[Ref], *, from_state: State, actor: str, reasons: Sequence[str]) -> list[int]:
    """SENDING or IN_DOUBT → REJECTED: the target said no and booked nothing."""
    return _move(refs, from_state, State.REJECTED, actor=actor, reasons=reasons, assign=_IDLE)


def reopen(refs: Sequence[Ref], *, actor: str, reason: str) -> list[int]:
    """REJECTED → READY: the cause in the target is gone; the same content goes again under the same key."""
    return _move(
        refs, State.REJECTED, State.READY, actor=actor, reason=reason,
        assign={"next_attempt_at": "now()", "attempts": "0", "waits_on": "''"},
    )  # fmt: skip


def reconcile(refs: Sequence[Ref], *, actor: str, reason: str) -> list[int]:
    """POSTED → RECONCILED: the target's statement holds it, equal."""
    return _move(refs, State.POSTED, State.RECONCILED, actor=actor, reason=reason)


def reverse(refs: Sequence[Ref], from_state: State, *, actor: str, reason: str) -> list[int]:
    """ACCEPTED, POSTED or RECONCILED → REVERSED: its reversal is receipted."""
    return _move(refs, from_state, State.REVERSED, actor=actor, reason=reason)


def wait(entry_ids: Sequence[int], waits_on: str) -> int:
    """Park READY entries on a named event; no attempt is burnt. How many now wait."""
    return sql.execute(
        "UPDATE portal_ledgerstate SET waits_on = %s WHERE entry_id = ANY(%s) AND state = 'ready' AND waits_on = ''",
        [waits_on, list(entry_ids)],
    )


def wake(waits_on: str, *, target_id: int | None = None) -> int:
    """The named event has come: what waits on it is due. How many were woken."""
    return sql.execute(
        "UPDATE portal_ledgerstate SET waits_on = '', next_attempt_at = now() WHERE state = 'ready' AND waits_on = %s"
        " AND (%s::bigint IS NULL OR target_id = %s)",
        [waits_on, target_id, target_id],
    )


def refs_of(entry_ids: Sequence[int], *, lock: bool = False) -> dict[int, tuple[State, int]]:
    """Where entries stand: state and fence by id; locked in id order when asked, so that two callers never deadlock."""
    query = "SELECT entry_id, state, fence FROM portal_ledgerstate WHERE entry_id = ANY(%s) ORDER BY entry_id"
    found = sql.rows(f"{query} FOR UPDATE" if lock else query, [list(entry_ids)])
    return {entry_id: (State(state), fence) for entry_id, state, fence in found}
