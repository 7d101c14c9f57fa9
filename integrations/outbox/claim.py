"""What goes next: entries are claimed and their intent is written, before anything is sent.

The rule here: claim, the last look at the rules, body, hash, lease and attempt are one transaction, and it is committed
before the call. From then on an entry whose worker dies is in doubt, never simply due again.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from django.db import transaction

from integrations import failpoints, postings, slots, timing
from integrations.outbox import causes, speaking
from integrations.outbox.crew import Call
from integrations.protocol import Receiver, Said
from integrations.sql import outbound as sql
from integrations.sql.outbound import Standing
from portal import ledger
from portal.ledger import Claim
from portal.models import Attempt, Connection
from reconciliation import validation

ACTOR = "outbox"
DIED = "The worker ended before it could write the answer."
MOST_CLAIMS = 5
MOST_DEATHS = 3
_STEP_CALLS = 6  # calls that the last step of a push may need after its time is over: Business Central's journal
_SUSPECT = 2  # claims without a result after which an entry goes alone


@dataclass(slots=True)
class Claimed:
    """Calls whose intent is written, and how many entries were looked at for them."""

    calls: list[Call]
    looked_at: int


def lease_of(longest: float) -> float:
    """Seconds that an entry may be on its way: always longer than it may take to answer."""
    return max(timing.scaled(timing.LEASE), 2 * longest)


def longest_push(target: Receiver, deadline: float) -> float:
    """Seconds that a push may take at most: one call, or some steps of several calls."""
    within = target.capabilities.push_within
    return within + _STEP_CALLS * deadline if within else deadline


def pushes(connection: Connection, target: Receiver, limit: int, deadline: float, *, idle: bool) -> Claimed:
    """Claim due entries, fairly between entities, and write the intent to push them.

    `deadline` is one call's, in seconds; `idle` says that no other call of this worker is under way.
    """
    fallen: list[int] = []
    with transaction.atomic():
        claims = ledger.claimable(connection.pk, limit)
        if not claims:
            return Claimed([], 0)
        claims = _into_their_own_books(connection, claims, one_company=target.capabilities.one_company)
        going, fallen = _at_the_door(connection, claims, idle=idle)
        built = speaking.build([claim.entry_id for claim in going])
        hashes = {entry_id: postings.digest(speaking.body(target, said)) for entry_id, said in built.items()}
        failpoints.pass_by("before-intent")
        longest = longest_push(target, deadline)
        seconds = lease_of(longest)
        sent = ledger.send(
            [(c.entry_id, c.fence, hashes[c.entry_id]) for c in going], lease_seconds=seconds, actor=ACTOR
        )
        if sent.refused:
            _refuse(connection, going, sent.refused)
        moved = set(sent.moved)
        standing = sql.standing_of(sorted(moved))
        entries = [standing[claim.entry_id] for claim in going if claim.entry_id in moved]
        groups = _in_calls(entries, built, target.capabilities.batch_size)
        beside = sql.beside(sorted(moved)) if target.capabilities.finds_alike else {}
        ids = sql.open_attempts(
            connection.pk,
            Attempt.Purpose.PUSH,
            slots.worker_name(),
            [[(entry.entry_id, entry.fence, hashes[entry.entry_id]) for entry in group] for group in groups],
        )
    if fallen:  # in a transaction of its own, because validation locks documents before entries
        with transaction.atomic():
            validation.recheck(fallen, actor=ACTOR, reason="checked again before it was sent")
    send_by = time.monotonic() + seconds - longest
    calls = [
        Call(
            attempt_id=attempt_id,
            purpose=Attempt.Purpose.PUSH,
            entries=group,
            postings=[built[entry.entry_id] for entry in group],
            send_by=send_by,
            beside={entry.key: beside[entry.entry_id] for entry in group if entry.entry_id in beside},
        )
        for attempt_id, group in zip(ids, groups, strict=True)
    ]
    return Claimed(calls, len(claims))


def questions(
    connection: Connection,
    purpose: Attempt.Purpose,
    due: Sequence[Standing],
    per_call: int,
    deadline: float,
    *,
    taken: Collection[str] = (),
) -> list[Call]:
    """Write the intent to ask the target about entries; joins the caller's transaction, which locked them.

    Each call is about one entity's entries, so that what it says may be shown to whoever may read there. `taken` are the
    numbers that prove others, for a target that is asked for what is alike.
    """
    of_entities: dict[int, list[Standing]] = {}
    for entry in due:
        of_entities.setdefault(entry.entity_id, []).append(entry)
    groups = [
        entries[start : start + per_call]
        for entries in of_entities.values()
        for start in range(0, len(entries), per_call)
    ]
    built = speaking.build([entry.entry_id for entry in due], asking=True)
    ids = sql.open_attempts(
        connection.pk,
        purpose,
        slots.worker_name(),
        [[(entry.entry_id, entry.fence, "") for entry in group] for group in groups],
    )
    send_by = time.monotonic() + lease_of(deadline) - deadline
    return [
        Call(
            attempt_id=attempt_id,
            purpose=purpose,
            entries=group,
            postings=[built[entry.entry_id] for entry in group],
            send_by=send_by,
            taken=taken,
        )
        for attempt_id, group in zip(ids, groups, strict=True)
    ]


def _into_their_own_books(connection: Connection, claims: list[Claim], *, one_company: bool) -> list[Claim]:
    """The claims that go into the books of their own entity, as far as no rule is asked about that; the others are stopped."""
    strangers = sql.strangers([claim.entry_id for claim in claims], connection, one_company=one_company)
    causes.other_books(connection, [claim for claim in claims if claim.entry_id in strangers])
    return [claim for claim in claims if claim.entry_id not in strangers]


def _at_the_door(connection: Connection, claims: list[Claim], *, idle: bool) -> tuple[list[Claim], list[int]]:
    """The claims that may still go, and the entries that fell: the rules are asked once more, and poison is stopped.

    What has been tried before without a result goes last and alone, so that it takes nobody with it.
    """
    tried = [claim for claim in claims if claim.attempts >= _SUSPECT]
    if tried:
        claims = _part(connection, claims, tried, idle=idle)
    standing = validation.stands([claim.entry_id for claim in claims])
    fallen = [claim.entry_id for claim in claims if claim.entry_id not in standing]
    return [claim for claim in claims if claim.entry_id in standing], fallen


def _part(connection: Connection, claims: list[Claim], tried: list[Claim], *, idle: bool) -> list[Claim]:
    died = sql.deaths([claim.entry_id for claim in tried], DIED)
    poison = [claim for claim in tried if claim.attempts >= MOST_CLAIMS or died.get(claim.entry_id, 0) >= MOST_DEATHS]
    causes.poison(connection, poison, died)
    aside = {claim.entry_id for claim in tried}
    others = [claim for claim in claims if claim.entry_id not in aside]
    suspects = [claim for claim in tried if claim not in poison]
    return others or (suspects[:1] if idle else [])


def _refuse(connection: Connection, going: Sequence[Claim], refused: Sequence[int]) -> None:
    causes.key_reused(connection, [claim for claim in going if claim.entry_id in set(refused)])


def _in_calls(entries: Sequence[Standing], built: dict[int, Said], size: int) -> list[list[Standing]]:
    """Entries in calls of at most `size`, each of one kind and one entity's, reversals apart from what is new."""
    kinds: dict[tuple[str, str, bool], list[Standing]] = {}
    for entry in entries:
        posting = built[entry.entry_id]
        kinds.setdefault((posting.kind, posting.entity, bool(posting.reverses)), []).append(entry)
    return [group[start : start + size] for group in kinds.values() for start in range(0, len(group), size)]
