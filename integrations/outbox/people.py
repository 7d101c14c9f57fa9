"""What a person may do about an entry on its way: have it checked now, or name the record under which it was booked by hand.

The rule here: nobody's word makes an entry posted. A number that a person names is looked up in the target, and every figure
has to be the one that was sent.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from django.db import transaction

from integrations import postings
from integrations.errors import Unavailable
from integrations.outbox import causes, door, speaking
from integrations.outbox.claim import ACTOR
from integrations.outbox.shift import Plan, work
from integrations.protocol import Capabilities, Target
from integrations.sql import outbound as sql
from portal import audit, ledger
from portal import sql as portal_sql
from portal.models import Connection, LedgerEntry, State, User
from portal.records import Posting, Receipt, StatementLine
from reconciliation import questions


class NotConfirmed(Exception):
    """The target does not confirm what a person said; the message says what it holds instead."""


def confirms(can: Capabilities) -> bool:
    """Whether a target can confirm a number: by our key, or by its statement."""
    return can.find_by_key or can.statement


def check_now(entry_ids: Sequence[int]) -> dict[int, str]:
    """Ask the target about entries it may hold, due or not; a sentence for each about how it stands afterwards."""
    targets: dict[int, list[int]] = defaultdict(list)
    for entry_id, entry in sql.standing_of(entry_ids).items():
        if entry.state in (State.IN_DOUBT, State.ACCEPTED, State.POSTED, State.RECONCILED):
            targets[entry.target_id].append(entry_id)
    for connection in Connection.objects.filter(pk__in=targets):
        ids = targets[connection.pk]
        work(connection, Plan(look_up=True, entry_ids=ids))
        work(connection, Plan(read_back=True, entry_ids=ids))
    return {entry_id: _how_it_stands(entry) for entry_id, entry in sql.standing_of(entry_ids).items()}


def _how_it_stands(entry: sql.Standing) -> str:
    match entry.state:
        case State.POSTED | State.RECONCILED:
            return f"Posted: the target holds it as {entry.receipt}, equal to what was sent."
        case State.ACCEPTED:
            return f"Accepted as {entry.receipt}, and not read back equal yet."
        case State.IN_DOUBT:
            return "Still in doubt: the target does not show it, or could not be asked. It is asked again by itself."
        case State.READY:
            return "The target does not hold it; it goes again with the same key."
        case _:
            return f"It is {State(entry.state).label.lower()} and was not asked about."


def adopt(entry_id: int, number: str, user: User, reason: str) -> None:
    """Take an entry in doubt as booked under a number that a person found in the target.

    Raises NotConfirmed unless the target holds a record of that number with the figures that were sent. Audited.
    """
    entry = LedgerEntry.objects.select_related("target", "entity", "state_row").get(pk=entry_id)
    if entry.state_row.state != State.IN_DOUBT:
        raise NotConfirmed(
            f"Entry {entry_id} is {entry.state_row.get_state_display().lower()}; only one in doubt is settled by hand."
        )
    posting = postings.build(sql.booked_by([entry_id]))[entry_id]
    try:
        with door.one_call(entry.target) as (target, _):
            line = _record(target, posting, number)
    except door.NotNow as closed:
        raise NotConfirmed(str(closed)) from closed
    differing = postings.differences(posting, line, target.capabilities.hours_tolerance)
    if differing:
        told = "; ".join(f"{name}: sent {sent}, found {found}" for name, (sent, found) in differing.items())
        raise NotConfirmed(f"Record {number} is not what was sent: {told}.")
    with transaction.atomic():
        taken = sql.taken_numbers(entry.target_id, [number])
        if number in taken:
            raise NotConfirmed(f"Record {number} already proves entry {taken[number]}.")
        said = f"booked by hand as {number}, confirmed in the target: {reason}"
        actor = user.get_username()
        receipt = Receipt(key=posting.key, number=number, raw=postings.shown(line))
        fence = entry.state_row.fence
        causes.lock_documents([entry_id] if entry.reverses_id else [])
        moved = ledger.accept(
            [(entry_id, fence, receipt)], State.IN_DOUBT, connection_id=entry.target_id, actor=actor, reason=said
        )
        if not moved:
            raise NotConfirmed(f"Entry {entry_id} moved meanwhile; look at it again.")
        if line.is_booked:
            sql.write_read_backs([(entry_id, True, portal_sql.as_json(postings.shown(line)), "{}")])
            ledger.prove([(entry_id, fence + 1)], actor=ACTOR)
        causes.adopted(moved)
        questions.holds(moved)
        causes.settle_reversals(moved if entry.reverses_id else [])
        audit.record(
            user, "entry-adopted", entry, entity=entry.entity_id, reason=reason,
            before={"state": State.IN_DOUBT},
            after={"state": State.POSTED if line.is_booked else State.ACCEPTED, "number": number},
        )  # fmt: skip


def _record(target: Target, posting: Posting, number: str) -> StatementLine:
    can = target.capabilities
    if not confirms(can):
        raise NotConfirmed(
            "This target can neither be asked by our key nor says what it has booked; two people settle it."
        )
    named = {posting.key: number}
    held = speaking.find(target, [posting], in_doubt=True, numbers=named).get(posting.key) if can.find_by_key else None
    if isinstance(held, Unavailable):
        raise NotConfirmed(held.detail)
    if isinstance(held, StatementLine):
        if held.number != number:
            raise NotConfirmed(f"The target holds this entry as {held.number}, not as {number}.")
        return held
    lines = target.statement(posting.work_date, posting.work_date, posting.entity) if can.statement else ()
    for line in lines:
        if line.number == number and line.kind == posting.kind:
            return line
    raise NotConfirmed(f"The target shows no record {number} on {posting.work_date}.")


def shown_by_statement(entry_id: int) -> str:
    """The number under which the target's statement shows an entry's key; empty when it shows none, or has no statement.

    Raises NotConfirmed while the target is not to be asked.
    """
    entry = LedgerEntry.objects.select_related("target").get(pk=entry_id)
    posting = postings.build(sql.booked_by([entry_id]))[entry_id]
    try:
        with door.one_call(entry.target) as (target, _):
            if not target.capabilities.statement:
                return ""
            lines = target.statement(posting.work_date, posting.work_date, posting.entity)
            return next((line.number for line in lines if line.key == posting.key), "")
    except door.NotNow as closed:
        raise NotConfirmed(str(closed)) from closed
