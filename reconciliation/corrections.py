"""Corrections of what stands in the books: reversals, their settlement, and putting back what was reversed by mistake.

The rule here: nothing booked is edited or deleted. It is taken back by a reversal in an open period, and a new version goes
only when the target has receipted that reversal. A reversed entry is put back at most once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from django.db import transaction

from portal import audit, ledger
from portal.models import LedgerEntry, State, User
from reconciliation import cases, taken_back
from reconciliation.facts import Draft, Standing, standing_entry
from reconciliation.facts.calendar import takes_postings
from reconciliation.facts.load import drafts_of, give_routes
from reconciliation.facts.records import Period
from reconciliation.models import TargetQuestion
from reconciliation.rules import BY_CODE, CHECKED
from reconciliation.sql import cases as cases_sql
from reconciliation.sql import documents, master_data, questions
from reconciliation.validation.admission import GONE_RULES, cancel, standing_of
from reconciliation.validation.judging import figures_again
from reconciliation.validation.rechecking import PUT_BACK, recheck

RECEIPTED = (State.ACCEPTED, State.POSTED, State.RECONCILED)


class NotReversible(Exception):
    """An entry that cannot be taken back: nothing is receipted, or it was taken back already."""


class NoOpenPeriod(Exception):
    """No period of the entity takes postings, so nothing can be taken back now."""


@dataclass(slots=True)
class Reversed:
    """Reversals that were made: original entry → reversal; and the successors that now wait for them."""

    reversals: dict[int, int] = field(default_factory=dict)
    waiting: list[int] = field(default_factory=list)


def reverse(
    entry_ids: Sequence[int], *, by: User | None, reason: str, told: bool = False, is_rebooked: bool = False
) -> Reversed:
    """Take booked entries back: one reversal each, ready, in the original's period or the next that is open.

    A new version that was held by `changed-after-posting` waits for the receipt from now on. All or nothing. Raises
    NotReversible or NoOpenPeriod naming the entry, ValueError without a reason. `told` says that the decision stands in the
    audit trail already, as a bulk operation's does. What stands on a bill is told there, unless the caller books it anew first.
    """
    if not reason.strip():
        raise ValueError("A reversal needs a reason.")
    actor = by.get_username() if by else "system"
    with transaction.atomic():
        documents.lock({row[1] for row in documents.entries(entry_ids)})
        entries = [standing_entry(row) for row in documents.entries(entry_ids, lock=True)]
        standing = standing_of([entry.document_id for entry in entries])
        for entry in entries:
            _must_be_reversible(entry, standing[entry.document_id].reversals)
        rows = [
            (_taken_back(entry, standing[entry.document_id].every, place), State.READY, "")
            for entry, place in places(entries)
        ]
        ids = ledger.enter(rows, actor=actor, reason=f"takes back: {reason}")
        made = Reversed(dict(zip((entry.id for entry in entries), ids, strict=True)))
        successors = [
            entry.id
            for there in standing.values()
            for entry in there.open
            if entry.state in (State.HELD, State.READY) and not entry.reverses_id
        ]
        made.waiting = recheck(successors, actor=actor, reason="the posted version is being reversed").released
        if not is_rebooked:
            taken_back.tell(standing)
        if by is not None and not told:
            for record in LedgerEntry.objects.filter(pk__in=made.reversals).select_related("entity"):
                audit.record(
                    by,
                    "reverse",
                    record,
                    entity=record.entity_id,
                    reason=reason,
                    after={"reversal": made.reversals[record.pk]},
                )
    return made


def reverse_standing(
    entry_ids: Sequence[int], *, by: User | None, reason: str, told: bool = False, is_rebooked: bool = False
) -> Reversed:
    """Take back whatever stands booked for the documents of these entries, and is not being taken back already.

    What a person means by “reverse and rebook” on a held new version as well as on the booked entry itself. Raises
    NotReversible when nothing of a document is booked, or its outcome is not known yet.
    """
    with transaction.atomic():
        entries = [standing_entry(row) for row in documents.entries(entry_ids)]
        documents.lock({entry.document_id for entry in entries})
        standing = standing_of(sorted({entry.document_id for entry in entries}))
        booked: list[int] = []
        for entry in entries:
            there = standing[entry.document_id].unreversed()
            if not there:
                raise NotReversible(
                    f"Nothing of the document of entry {entry.id} stands booked that is not being taken back already."
                )
            booked += [other.id for other in there]
        return reverse(sorted(set(booked)), by=by, reason=reason, told=told, is_rebooked=is_rebooked)


def reverse_and_rebook(entry_ids: Sequence[int], *, by: User, reason: str, told: bool = False) -> Reversed:
    """Take back what stands booked for these entries' documents, and book what is right once that is receipted.

    A later version goes by itself then. Where the booked version is the current approved one it is entered again, under a key
    of its own, and waits for the reversal. Raises as `reverse_standing` does.
    """
    with transaction.atomic():
        made = reverse_standing(entry_ids, by=by, reason=reason, told=told, is_rebooked=True)
        entries = [standing_entry(row) for row in documents.entries(sorted(made.reversals))]
        standing = standing_of(sorted({entry.document_id for entry in entries}))
        drafts = _policies(entries)
        again = [
            entry
            for entry in entries
            if (drafts[entry.document_id].version, drafts[entry.document_id].status) == (entry.version, "approved")
        ]
        rows: list[tuple[ledger.Figures, State, str]] = []
        for entry, period in places(again):
            figures = figures_again(entry)
            figures.generation = 1 + max(other.generation for other in _alike(entry, standing[entry.document_id].every))
            figures.post_on, figures.period_id = max(entry.post_on, period.starts_on), period.id
            rows.append((figures, State.READY, f"reversal:{made.reversals[entry.id]}"))
        made.waiting += ledger.enter(rows, actor=by.get_username(), reason=f"rebooked: {reason}")
        taken_back.tell(standing)
    return made


def _alike(entry: Standing, every: Sequence[Standing]) -> list[Standing]:
    """The entries of the same version, part and target, over all generations of their key."""
    identity = (entry.version, entry.target_id, entry.part)
    return [
        other
        for other in every
        if other.reverses_id is None and (other.version, other.target_id, other.part) == identity
    ]


def _must_be_reversible(entry: Standing, reversals: Sequence[Standing]) -> None:
    if entry.reverses_id is not None:
        raise NotReversible(
            f"Entry {entry.id} is a reversal itself; put the reversed entry {entry.reverses_id} back instead."
        )
    if entry.state not in RECEIPTED:
        hint = (
            "wait until its outcome is known"
            if entry.state in ("sending", "in_doubt")
            else "cancel or correct it instead"
        )
        raise NotReversible(f"Entry {entry.id} is {entry.state.replace('_', ' ')}, nothing is receipted; {hint}.")
    for reversal in reversals:
        if reversal.reverses_id == entry.id:
            raise NotReversible(f"Entry {entry.id} is being taken back already by entry {reversal.id}.")


def places(entries: Sequence[Standing]) -> list[tuple[Standing, Period]]:
    """The period in which each entry is taken back: its own while that is open, else the next open one of its entity."""
    if not entries:
        return []
    calendar: dict[int, list[Period]] = defaultdict(list)
    first = min(entry.post_on for entry in entries)
    for row in master_data.periods({entry.entity_id for entry in entries}, first):
        calendar[row[0]].append(Period(*row))
    drafts = _policies(entries)
    placed = []
    for entry in entries:
        period = next(
            (
                period
                for period in calendar[entry.entity_id]
                if period.ends_on >= entry.post_on and _takes(period, drafts[entry.document_id])
            ),
            None,
        )
        if period is None:
            raise NoOpenPeriod(
                f"No period from {entry.post_on} on takes postings, so entry {entry.id} cannot be taken back; open one."
            )
        placed.append((entry, period))
    return placed


def _takes(period: Period, draft: Draft) -> bool:
    """Whether a period may be booked into under the draft's policy; without a route, only an open one."""
    return takes_postings(period, draft.policy) if draft.is_routed else period.state == "open"


def _policies(entries: Sequence[Standing]) -> dict[int, Draft]:
    drafts = drafts_of([entry.document_id for entry in entries], lock=False)
    give_routes(drafts)
    return {draft.document_id: draft for draft in drafts}


def _taken_back(entry: Standing, every: Sequence[Standing], period: Period) -> ledger.Figures:
    """The figures of a reversal: the original's, negated, on a day of the period."""
    figures = figures_again(entry)
    figures.reverses_id = entry.id
    identity = (entry.version, entry.target_id, entry.part)
    figures.generation = sum(
        1 for other in every if other.reverses_id and (other.version, other.target_id, other.part) == identity
    )
    figures.hours = -entry.hours if entry.hours is not None else None
    figures.amount = -entry.amount if entry.amount is not None else None
    figures.post_on = max(entry.post_on, period.starts_on)
    figures.period_id = period.id
    figures.tags = ["reversal"]
    return figures


def settle(reversal_ids: Sequence[int], *, actor: str = "outbox") -> list[int]:
    """Reversals are receipted: their originals become REVERSED, and the new versions that waited go; the originals.

    Called by the outbox in the transaction that accepts the reversals; calling it again changes nothing.
    """
    reversals = [standing_entry(row) for row in documents.entries(reversal_ids)]
    receipted = {r.reverses_id: r for r in reversals if r.reverses_id is not None and r.state in RECEIPTED}
    if not receipted:
        return []
    originals = ledger.refs_of(list(receipted), lock=True)
    by_state: dict[State, list[ledger.Ref]] = defaultdict(list)
    for entry_id, (state, fence) in originals.items():
        if state in RECEIPTED:
            by_state[state].append((entry_id, fence))
    moved: list[int] = []
    for state, refs in by_state.items():
        moved += ledger.reverse(refs, state, actor=actor, reason="its reversal is receipted")
    cases.close_holds(moved, outcome=cases.WITHDRAWN, reason="reversed")
    standing = standing_of(sorted({reversal.document_id for reversal in receipted.values()}))
    waiting = [entry.id for there in standing.values() for entry in there.open if entry.reverses_id is None]
    recheck(waiting, actor=actor, reason="the posted version is reversed")
    return sorted(moved)


def withdraw_reversal(reversal_ids: Sequence[int], *, by: User, reason: str, told: bool = False) -> list[int]:
    """Call back reversals that have not gone yet; the ids that went.

    The new versions that waited for them are held again; what was to be booked again unchanged is not owed any more, and whether
    the target's people took back what stands is not asked any more. Raises
    NotReversible for an entry that is no reversal or is on its way, ValueError without a reason.
    """
    if not reason.strip():
        raise ValueError("Calling a reversal back needs a reason.")
    actor = by.get_username()
    with transaction.atomic():
        documents.lock({row[1] for row in documents.entries(reversal_ids)})
        going = [standing_entry(row) for row in documents.entries(reversal_ids, lock=True)]
        for entry in going:
            if entry.reverses_id is None:
                raise NotReversible(f"Entry {entry.id} takes nothing back, so there is nothing to call back.")
            if entry.state not in ("held", "ready", "rejected"):
                raise NotReversible(
                    f"Reversal {entry.id} is {entry.state.replace('_', ' ')}; it cannot be called back."
                )
            if entry.may_stand:
                raise NotReversible(
                    f"Reversal {entry.id} was sent, and may stand at its target; let it come to its end there first."
                )
        moved = cancel(going, actor=actor, reason=reason)
        stays = [entry.reverses_id for entry in going if entry.id in set(moved) and entry.reverses_id is not None]
        questions.withdraw(stays, TargetQuestion.IfAbsent.TAKEN_BACK)
        standing = standing_of(sorted({entry.document_id for entry in going}))
        stands = {other.version for there in standing.values() for other in there.booked}
        waited = {f"reversal:{entry_id}" for entry_id in moved}
        taken_back.tell(standing)
        waiting = [entry for there in standing.values() for entry in there.open if entry.reverses_id is None]
        rebooked = [entry for entry in waiting if entry.waits_on in waited and entry.version in stands]
        cancel(rebooked, actor=actor, reason="its reversal was called back")
        recheck([entry.id for entry in waiting], actor=actor, reason="the reversal was called back")
        for record in LedgerEntry.objects.filter(pk__in=() if told else moved).order_by("pk"):
            audit.record(by, "reversal-called-back", record, entity=record.entity_id, reason=reason)
    return moved


def put_back(entry_ids: Sequence[int], *, by: User, reason: str, told: bool = False) -> dict[int, int]:
    """Book reversed entries again, once: the reversal of a reversal. Reversed entry → the one that books it again.

    The new entry has the original's figures and a key of its own, in an open period, so that the net is the original.
    Raises NotReversible when the entry is not reversed, stands booked again or was put back before, or when its document has a
    later version.
    """
    if not reason.strip():
        raise ValueError("Putting an entry back needs a reason.")
    with transaction.atomic():
        documents.lock({row[1] for row in documents.entries(entry_ids)})
        entries = [standing_entry(row) for row in documents.entries(entry_ids, lock=True)]
        standing = standing_of([entry.document_id for entry in entries])
        drafts = _policies(entries)
        rows: list[tuple[ledger.Figures, State, str]] = []
        for entry, period in places(entries):
            every = standing[entry.document_id].every
            if entry.state != State.REVERSED:
                raise NotReversible(
                    f"Entry {entry.id} is {entry.state.replace('_', ' ')}, not reversed; there is nothing to put back."
                )
            current = drafts[entry.document_id]
            if current.version != entry.version or current.status != "approved":
                raise NotReversible(
                    f"Entry {entry.id} is version {entry.version}, and version {current.version} of its document is "
                    f"{current.status}; only the current approved version is booked again."
                )
            siblings = _alike(entry, every)
            owed = [other for other in siblings if other.state in ledger.LIVE]
            if owed:
                raise NotReversible(f"Entry {entry.id} is owed again already, as entry {owed[0].id}.")
            if any(tag.startswith(PUT_BACK) for other in siblings for tag in other.tags):
                raise NotReversible(
                    f"Entry {entry.id} was put back once already; correct the document at its source instead."
                )
            figures = figures_again(entry)
            figures.generation = max(other.generation for other in siblings) + 1
            figures.post_on, figures.period_id = max(entry.post_on, period.starts_on), period.id
            figures.tags = [*entry.tags, f"{PUT_BACK}:{entry.id}"]
            rows.append((figures, State.READY, ""))
        ids = ledger.enter(rows, actor=by.get_username(), reason=f"puts back: {reason}")
        made = dict(zip((entry.id for entry in entries), ids, strict=True))
        taken_back.tell(standing)
        for record in LedgerEntry.objects.filter(pk__in=() if told else made).order_by("pk"):
            audit.record(
                by, "put-back", record, entity=record.entity_id, reason=reason, after={"entry": made[record.pk]}
            )
    return made


def _reversals_let_go(entries: Sequence[Standing], *, actor: str, reason: str) -> list[int]:
    """Reversals that were stopped and that nothing holds any more go again; validation asks about none of them."""
    stopped = [entry for entry in entries if entry.state == State.HELD and entry.reverses_id is not None]
    held = {entry_id for _, entry_id, *_ in cases_sql.open_holds_of([entry.id for entry in stopped])}
    free = [(entry.id, entry.fence) for entry in stopped if entry.id not in held]
    return ledger.release(free, actor=actor, reason=reason) if free else []


def repost(entry_ids: Sequence[int], *, by: User, reason: str) -> list[int]:
    """The cause in the target is gone: refused entries go again under the same key, and those stopped by hand are asked again.

    The entries that are ready now. What validation's own rules still stop stays held.
    """
    if not reason.strip():
        raise ValueError("Re-posting needs a reason.")
    actor = by.get_username()
    with transaction.atomic():
        documents.lock({row[1] for row in documents.entries(entry_ids)})
        entries = [standing_entry(row) for row in documents.entries(entry_ids, lock=True)]
        refused = [(entry.id, entry.fence) for entry in entries if entry.state == State.REJECTED]
        reopened = ledger.reopen(refused, actor=actor, reason=reason)
        cases.close_holds(reopened, by=by, reason=reason)
        stopped = [entry.id for entry in entries if entry.state == State.HELD]
        cases.close_holds(stopped, set(BY_CODE) - CHECKED - set(GONE_RULES), by=by, reason=reason)
        rechecked = recheck([*reopened, *stopped], actor=actor, reason=reason)
        rechecked.released += _reversals_let_go(entries, actor=actor, reason=reason)
    return sorted((set(reopened) - set(rechecked.held) - set(rechecked.replaced)) | set(rechecked.released))
