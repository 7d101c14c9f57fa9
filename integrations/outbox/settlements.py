"""Settling a doubt by two people's word, where the target itself can say nothing.

The rule here: one person says what they found in the target and why, another confirms it, and the database holds that they
are two. Found means accepted, not posted: nothing was read back. Not found means due again under the same key.
"""

from __future__ import annotations

from django.db import IntegrityError, transaction
from django.urls import reverse

from integrations import registry
from integrations.models import Settlement
from integrations.outbox import causes
from integrations.outbox.people import NotConfirmed, confirms
from integrations.protocol import Capabilities
from integrations.sql import outbound as sql
from portal import access, audit, ledger
from portal import sql as portal_sql
from portal.models import LedgerEntry, NotificationKind, State, User
from portal.notifications import answered, notify
from portal.records import Receipt


def takes_two(can: Capabilities, verdict: str) -> bool:
    """Whether a word about an entry needs a second person, because the target cannot tell."""
    if verdict == Settlement.Verdict.ABSENT:
        return not can.find_by_key or can.finds_alike
    return not confirms(can)


def say(entry_id: int, verdict: str, user: User, reason: str, *, number: str = "") -> Settlement:
    """Say what became of an entry in doubt; it waits for a second person. Audited.

    Raises NotConfirmed when the entry is not in doubt, when the target can tell by itself, or when somebody said so already.
    """
    if not reason.strip():
        raise NotConfirmed("Say how you found out; the reason is kept with the entry.")
    with transaction.atomic():
        entry = _in_doubt(entry_id)
        access.require(user, access.FIXERS, entry.entity_id)
        if not takes_two(registry.target(entry.target).capabilities, verdict):
            raise NotConfirmed(f"{entry.target} can tell by itself; it is asked instead.")
        open_now = Settlement.objects.filter(entry=entry, confirmed_at=None, dropped_at=None)
        outdated = open_now.exclude(fence=entry.state_row.fence)
        outdated.update(dropped_at=portal_sql.now(), dropped_reason="The entry moved after it was said.")
        if open_now.exists():
            raise NotConfirmed("A colleague has said already what became of it; confirm that, or take it back first.")
        if verdict == Settlement.Verdict.BOOKED:
            _must_be_free(entry, number)
        said = Settlement.objects.create(
            entry=entry, fence=entry.state_row.fence, verdict=verdict, number=number, reason=reason.strip(), by=user,
            at=portal_sql.now(),
        )  # fmt: skip
        audit.record(
            user, "doubt-settled-by-one", entry, entity=entry.entity_id, reason=reason, after={"verdict": str(said)}
        )
        notify(
            access.holders(access.FIXERS, entry.entity_id),
            NotificationKind.APPROVAL,
            f"{user} says that entry {entry.pk} is {said} in {entry.target}; look and confirm it",
            url=reverse("entry_settle", args=[entry.pk]),
            entity=entry.entity_id,
            by=user,
            note=reason,
            key=f"settlement:{said.pk}",
        )
    return said


def confirm(settlement_id: int, user: User) -> None:
    """A second person confirms what a first one said: the entry is accepted under the number, or goes again. Audited.

    Raises NotConfirmed when the entry has moved, when it is one's own word, or when it is not open any more.
    """
    with transaction.atomic():
        said = Settlement.objects.get(pk=settlement_id)
        entry = _in_doubt(said.entry_id, lock_document=True)
        said = Settlement.objects.select_for_update().get(pk=settlement_id)
        access.require(user, access.FIXERS, entry.entity_id)
        if not said.is_open:
            raise NotConfirmed("This was confirmed or taken back meanwhile.")
        if said.by_id == user.pk:
            raise NotConfirmed("You said it yourself; a second person has to look and confirm it.")
        if said.fence != entry.state_row.fence:
            raise NotConfirmed("The entry moved after this was said; look at it again.")
        try:
            with transaction.atomic():
                moved = _settle(entry, said, user)
        except IntegrityError as taken:
            raise NotConfirmed(f"Record {said.number} proves another entry since a moment ago.") from taken
        if not moved:
            raise NotConfirmed(f"Entry {entry.pk} moved meanwhile; look at it again.")
        said.confirmed_by, said.confirmed_at = user, portal_sql.now()
        said.save(update_fields=["confirmed_by", "confirmed_at"])
        causes.settled(moved)
        answered(reverse("entry_settle", args=[entry.pk]))
        after = State.ACCEPTED if said.verdict == Settlement.Verdict.BOOKED else State.READY
        audit.record(
            user, "doubt-settled-by-two", entry, entity=entry.entity_id, reason=said.reason,
            before={"state": State.IN_DOUBT}, after={"state": after, "verdict": str(said), "said_by": said.by.get_username()},
        )  # fmt: skip


def take_back(settlement_id: int, user: User, reason: str) -> None:
    """Drop an open word: it was wrong, or the second person does not find it so. Audited."""
    with transaction.atomic():
        said = Settlement.objects.select_for_update().get(pk=settlement_id)
        entry = LedgerEntry.objects.get(pk=said.entry_id)
        access.require(user, access.FIXERS, entry.entity_id)
        if not said.is_open:
            raise NotConfirmed("This was confirmed or taken back meanwhile.")
        said.dropped_by, said.dropped_at, said.dropped_reason = user, portal_sql.now(), reason.strip() or "taken back"
        said.save(update_fields=["dropped_by", "dropped_at", "dropped_reason"])
        answered(reverse("entry_settle", args=[entry.pk]))
        audit.record(
            user,
            "doubt-settlement-dropped",
            entry,
            entity=entry.entity_id,
            reason=reason,
            before={"verdict": str(said)},
        )


def _settle(entry: LedgerEntry, said: Settlement, user: User) -> list[int]:
    """Move the entry as two people say; its id, or nothing when it has moved."""
    fence, actor = entry.state_row.fence, user.get_username()
    words = f"{said}, said by {said.by.get_username()} and confirmed by {actor}: {said.reason}"[:500]
    if said.verdict == Settlement.Verdict.ABSENT:
        return ledger.retry(
            [(entry.pk, fence)],
            from_state=State.IN_DOUBT,
            after_seconds=0,
            actor=actor,
            reason=words,
            burn=False,
            may_stand=False,
        )
    _must_be_free(entry, said.number)
    receipt = Receipt(
        key=entry.idempotency_key.hex,
        number=said.number,
        raw={"said_by": said.by.get_username(), "confirmed_by": actor, "reason": said.reason},
    )
    moved = ledger.accept(
        [(entry.pk, fence, receipt)], State.IN_DOUBT, connection_id=entry.target_id, actor=actor, reason=words
    )
    causes.settle_reversals(moved if entry.reverses_id else [])
    return moved


def _in_doubt(entry_id: int, *, lock_document: bool = False) -> LedgerEntry:
    entries = LedgerEntry.objects.select_related("target", "entity", "state_row")
    if lock_document:
        reverses = LedgerEntry.objects.filter(pk=entry_id, reverses__isnull=False).exists()
        causes.lock_documents([entry_id] if reverses else [])
    entry = entries.get(pk=entry_id)
    if entry.state_row.state != State.IN_DOUBT:
        state = entry.state_row.get_state_display().lower()
        raise NotConfirmed(f"Entry {entry_id} is {state}; only one in doubt is settled by hand.")
    return entry


def _must_be_free(entry: LedgerEntry, number: str) -> None:
    taken = sql.taken_numbers(entry.target_id, [number])
    if number in taken:
        raise NotConfirmed(f"Record {number} already proves entry {taken[number]}.")
