"""Admission: the one way onto the ledger, for a vendor's word and for finance's own correction alike.

The rule here: the documents are locked, earlier versions are withdrawn where nothing was booked, and the current version gets
its entry, ready or held. What stands in the target's books is never touched: it is reversed first. What may stand there from an
earlier sending is asked about before it leaves the ledger. A fixed number of statements per batch.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from portal import figures, ledger
from portal.models import State
from reconciliation import cases, taken_back
from reconciliation.facts import SENT, Draft, Facts, Standing, drafts_of, give_routes, load, standing_entry
from reconciliation.facts.records import Source
from reconciliation.sql import documents, owed
from reconciliation.validation.batches import one_batch
from reconciliation.validation.judging import Judge, Judged, figures_of, holds_of, is_booked_already, reason_of

OPEN = (State.HELD, State.READY, State.REJECTED)
GONE_RULES = taken_back.GONE


@dataclass(slots=True)
class Admitted:
    """What became of a batch of documents. Ids are of ledger entries, but for the last four, which are of documents."""

    ready: list[int] = field(default_factory=list)
    held: list[int] = field(default_factory=list)
    cancelled: list[int] = field(default_factory=list)
    unrouted: list[int] = field(default_factory=list)
    history: list[int] = field(default_factory=list)  # before the cut-over, being brought in, booked before: not posted
    unapproved: list[int] = field(default_factory=list)
    unchanged: list[int] = field(default_factory=list)  # booked just so already, or left out by a person


@dataclass(slots=True)
class _Standing:
    """What one document has on the ledger, sorted by what may be done about it."""

    open: list[Standing] = field(default_factory=list)  # nothing booked: may be cancelled
    booked: list[Standing] = field(default_factory=list)  # is, or may be, in the target's books
    reversals: list[Standing] = field(default_factory=list)
    every: list[Standing] = field(default_factory=list)  # the cancelled ones too

    def unreversed(self) -> list[Standing]:
        """What is booked and has no reversal on its way."""
        reversed_ids = {reversal.reverses_id for reversal in self.reversals}
        return [entry for entry in self.booked if entry.id not in reversed_ids]


_NOTHING = _Standing()


def standing_of(
    document_ids: Sequence[int], *, lock: bool = False, known: Sequence[Standing] = ()
) -> dict[int, _Standing]:
    """What each document has on the ledger, locked if asked; documents that have nothing are absent.

    `known` are entries of theirs that were read already: they are not read again.
    """
    found: dict[int, _Standing] = defaultdict(_Standing)
    rows = documents.entries_of_documents(document_ids, lock=lock, without=[entry.id for entry in known])
    others = [standing_entry(row) for row in rows]
    for entry in sorted([*known, *others], key=lambda entry: entry.id) if others else known:
        there = found[entry.document_id]
        there.every.append(entry)
        if entry.state == "cancelled":
            continue
        if entry.reverses_id is not None:
            there.reversals.append(entry)
        elif entry.state in SENT:
            there.booked.append(entry)
        elif entry.state in OPEN:
            there.open.append(entry)
    return dict(found)


def admit(document_ids: Sequence[int], *, actor: str) -> Admitted:
    """Bring the current versions of documents onto the ledger, inside the caller's transaction.

    Admitting the same version again changes nothing but what new facts change.
    """
    with one_batch():
        return _admit(document_ids, actor=actor)


def _admit(document_ids: Sequence[int], *, actor: str) -> Admitted:
    admitted = Admitted()
    drafts = drafts_of(document_ids)
    if not drafts:
        return admitted
    _, entities = give_routes(drafts)
    standing = standing_of([draft.document_id for draft in drafts], lock=True)
    wanted, again = _sort(drafts, standing, admitted)
    _withdraw(drafts, standing, wanted, admitted, actor=actor)
    wanted = _without_asked(wanted, standing, admitted)
    if standing:
        documents.answer_hand_backs(list(standing))
    _tell_unrouted(drafts, admitted)
    again += documents.held_against([draft.document_id for draft in drafts], "approval-conflict")
    if wanted:
        wanted.sort(key=lambda draft: (draft.work_date, draft.document_id))
        for draft in wanted:
            if draft.document_id in standing:
                there = standing[draft.document_id]
                draft.standing = [*there.booked, *there.reversals]
        _enter(wanted, load(wanted, entities), standing, admitted, actor=actor)
    if again:
        from reconciliation.validation.rechecking import recheck

        rechecked = recheck(again, actor=actor, reason="admitted again")
        admitted.ready.extend(rechecked.released)
        admitted.held.extend(rechecked.held)
    return admitted


def _sort(drafts: Sequence[Draft], standing: dict[int, _Standing], admitted: Admitted) -> tuple[list[Draft], list[int]]:
    """The drafts that want an entry of their own, and the entries of those that have one to be validated again."""
    wanted: list[Draft] = []
    again: list[int] = []
    before = owed.booked_before([draft.document_id for draft in drafts])
    cancelled = [entry.id for there in standing.values() for entry in there.every if entry.state == "cancelled"]
    left_out = documents.left_out(cancelled) if cancelled else set()
    for draft in drafts:
        there = standing.get(draft.document_id, _NOTHING)
        if draft.status != "approved":
            admitted.unapproved.append(draft.document_id)
        elif not there.booked and (_is_too_early(draft) or draft.document_id in before):
            admitted.history.append(draft.document_id)
        elif not draft.is_routed:
            admitted.unrouted.append(draft.document_id)
        else:
            same = [
                entry
                for entry in there.every
                if entry.version == draft.version
                and entry.target_id == draft.route.target.id
                and entry.reverses_id is None
            ]
            still_open = [entry.id for entry in same if entry.state in OPEN]
            if still_open:
                again.extend(still_open)
            elif any(entry.version == draft.version for entry in there.booked) or any(
                entry.state == "reversed" or entry.id in left_out for entry in same
            ):
                admitted.unchanged.append(draft.document_id)  # never booked twice, whatever its route is now
            else:
                wanted.append(draft)
    return wanted, again


def _is_too_early(draft: Draft) -> bool:
    return draft.owed_from is not None and draft.work_date < draft.owed_from


def _withdraw(
    drafts: Sequence[Draft],
    standing: dict[int, _Standing],
    wanted: Sequence[Draft],
    admitted: Admitted,
    *,
    actor: str,
) -> None:
    """Cancel what earlier versions owe, and ask for the reversal of what stands booked for a document that went away.

    What an earlier sending may have left at its target counts as booked from here on, until the target says otherwise.
    """
    if not standing:
        return
    outdated: list[Standing] = []
    for draft in drafts:
        there = standing.get(draft.document_id)
        if there is None:
            continue
        target_id = draft.route.target.id if draft.is_routed else 0
        keeps = draft.status == "approved"
        outdated.extend(
            entry
            for entry in there.open
            if not (keeps and entry.version == draft.version and entry.target_id == target_id)
        )
    cancelled, asked = let_go(outdated, actor=actor, reason="replaced by a later version of the document, or withdrawn")
    admitted.cancelled.extend(cancelled)
    for entry in asked:
        there = standing[entry.document_id]
        there.open = [other for other in there.open if other.id != entry.id]
        there.booked.append(entry)
        there.every = [entry if other.id == entry.id else other for other in there.every]
    gone = [
        _gone(draft, entry)
        for draft in drafts
        if draft.status != "approved" and draft.document_id in standing
        for entry in standing[draft.document_id].unreversed()
    ]
    cases.open_holds(gone, reason="the source took the document back")
    back = [entry.id for draft in wanted for entry in standing.get(draft.document_id, _NOTHING).booked]
    cases.close_holds(back, GONE_RULES, reason="approved again at the source")
    booked = [document_id for document_id, there in standing.items() if there.booked]
    if booked:
        taken_back.tell(booked)


def _without_asked(wanted: Sequence[Draft], standing: dict[int, _Standing], admitted: Admitted) -> list[Draft]:
    """The drafts of which nothing is asked about under the same version: it may stand at the target that the route left."""
    left: list[Draft] = []
    for draft in wanted:
        there = standing.get(draft.document_id, _NOTHING)
        if any(entry.version == draft.version for entry in there.booked):
            admitted.unchanged.append(draft.document_id)
        else:
            left.append(draft)
    return left


def _gone(draft: Draft, entry: Standing) -> cases.NewHold:
    """The hold on a booked entry whose document was deleted or is not approved any more."""
    deleted = draft.status == "deleted"
    what = (
        "deleted"
        if deleted
        else "no longer approved"
        if draft.status != "withdrawn"
        else "withdrawn after its approval"
    )
    figures = f"{entry.hours.normalize():f} hours" if entry.hours is not None else f"{entry.amount} {entry.currency}"
    return cases.NewHold(
        entry_id=entry.id,
        rule="deleted-at-source" if deleted else "approval-withdrawn-after-posting",
        entity_id=entry.entity_id,
        subject_type="project",
        subject_key=str(entry.project_id or 0),
        sentence=f"The entry was {what} at {draft.source.name}, but version {entry.version} with {figures} of {entry.work_date} "
        f"is {entry.state.replace('_', ' ')}; reverse it, or approve it again at the source.",
        cause=f"Posted entries were {'deleted' if deleted else 'withdrawn'} at {draft.source.name}.",
        detail={"posted": [entry.id], "status": draft.status, "hours": str(entry.hours), "amount": str(entry.amount)},
        connection_id=draft.source_id,
    )


def let_go(entries: Sequence[Standing], *, actor: str, reason: str) -> tuple[list[int], list[Standing]]:
    """Take open entries off the ledger that are owed no more: the ids that went, and the entries that are asked about first.

    What an earlier sending may have left at its target is in doubt from now on. Shown to be absent it leaves the ledger then;
    found, it is accepted, and taken back as everything booked is.
    """
    moved = cancel([entry for entry in entries if not entry.may_stand], actor=actor, reason=reason)
    by_state: dict[State, list[ledger.Ref]] = defaultdict(list)
    for entry in entries:
        if entry.may_stand:
            by_state[State(entry.state)].append((entry.id, entry.fence))
    said = f"an earlier sending may have left it there, so the target is asked: {reason}"
    went: set[int] = set()
    for state, refs in by_state.items():
        went.update(ledger.ask(refs, from_state=state, actor=actor, reason=said))
    cases.close_holds(sorted(went), outcome=cases.WITHDRAWN, reason=reason)
    asked = [
        replace(entry, state=str(State.IN_DOUBT), fence=entry.fence + 1, waits_on="")
        for entry in entries
        if entry.id in went
    ]
    return moved, asked


def cancel(entries: Iterable[Standing], *, actor: str, reason: str) -> list[int]:
    """Take open entries off the ledger and close their holds; the ids that really went. What may stand elsewhere does not."""
    by_state: dict[State, list[ledger.Ref]] = defaultdict(list)
    for entry in entries:
        by_state[State(entry.state)].append((entry.id, entry.fence))
    moved = []
    for state, refs in by_state.items():
        moved += ledger.cancel(refs, state, actor=actor, reason=reason)
    cases.close_holds(moved, outcome=cases.WITHDRAWN, reason=reason)
    return moved


def _tell_unrouted(drafts: Sequence[Draft], admitted: Admitted) -> None:
    """One case per source, entity and kind whose documents are owed to nobody."""
    if not admitted.unrouted:
        return
    ids = set(admitted.unrouted)
    causes: dict[tuple[int, int, str], tuple[Source, list[Draft]]] = {}
    for draft in drafts:
        if draft.document_id in ids:
            causes.setdefault((draft.source_id, draft.entity_id, draft.kind), (draft.source, []))[1].append(draft)
    for (source_id, entity_id, kind), (source, lost) in causes.items():
        first = min(draft.work_date for draft in lost)
        what = "Time entries" if kind == "time" else "Expenses"
        cases.raise_case(
            "no-route",
            entity_id,
            "connection",
            f"{source_id}:{kind}",
            f"{what} of {source.name} have no target on {figures.day(first)}; add a route.",
            detail={
                "source_id": source_id,
                "kind": kind,
                "first_day": str(first),
                "documents": [d.document_id for d in lost[:50]],
            },
            connection_id=source_id,
        )


def _generation(draft: Draft, there: _Standing | None) -> int:
    """The next generation of a draft's key: another than 0 where the same part was owed to the same target and cancelled."""
    identity = (draft.version, draft.route.target.id, draft.part)
    every = there.every if there is not None else ()
    same = [
        entry.generation
        for entry in every
        if (entry.version, entry.target_id, entry.part) == identity and entry.reverses_id is None
    ]
    return max(same, default=-1) + 1


def _enter(
    drafts: Sequence[Draft], facts: Facts, standing: dict[int, _Standing], admitted: Admitted, *, actor: str
) -> None:
    """Judge the drafts and write their entries, holds and cases."""
    judge = Judge(facts)
    rows: list[tuple[ledger.Figures, State, str]] = []
    reasons: list[str] = []
    entered: list[Judged] = []
    for draft in drafts:
        judge.prepare(draft)
        there = standing.get(draft.document_id)
        if there is not None and there.booked and is_booked_already(draft, there.unreversed()):
            admitted.unchanged.append(draft.document_id)
            continue
        judged: Judged | None = judge.judge(draft, draft.part + 1)
        while judged is not None:
            passes = not judged.findings
            rows.append(
                (
                    figures_of(judged.draft, _generation(judged.draft, there)),
                    State.READY if passes else State.HELD,
                    judged.draft.waits_on if passes else "",
                )
            )
            reasons.append(reason_of(judged))
            entered.append(judged)
            judged = judged.rest
    ids = ledger.enter(rows, actor=actor, reasons=reasons)
    holds: list[cases.NewHold] = []
    for entry_id, judged in zip(ids, entered, strict=True):
        if judged.findings:
            admitted.held.append(entry_id)
            holds.extend(holds_of(judged, entry_id))
        else:
            admitted.ready.append(entry_id)
    cases.open_holds(holds, fresh=True)
