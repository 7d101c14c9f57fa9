"""Validating again: the same version under new facts, and the question at the door.

The rule here: an entry that was never sent takes new figures in place; one whose key may have been used gets a new key (a new
generation) when its content changes, and stays as it is when it does not: nothing goes again after a refusal unchanged.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from portal import ledger
from portal.models import State, User
from portal.models.documents import INVOICE, MASTER, OURS
from reconciliation import cases, invoicing, pricing, publishing
from reconciliation.facts import Draft, Standing, drafts_of, give_routes, load, standing_entry
from reconciliation.models import TargetQuestion
from reconciliation.rules import CHECKED
from reconciliation.sql import cases as cases_sql
from reconciliation.sql import documents, master_data, questions
from reconciliation.validation.admission import OPEN, admit, let_go, standing_of
from reconciliation.validation.batches import one_batch
from reconciliation.validation.judging import Judge, Judged, books_otherwise, differing, figures_of, holds_of, reason_of

PUT_BACK = "puts-back"  # tag prefix of an entry that books a reversed one again
OURS_TO_WAKE = ("reversal:", "parent:")  # what validation parks; everything else the outbox does


@dataclass(slots=True)
class Rechecked:
    """What became of entries that were validated again."""

    released: list[int] = field(default_factory=list)
    held: list[int] = field(default_factory=list)
    refigured: list[int] = field(default_factory=list)
    replaced: dict[int, int] = field(default_factory=dict)  # cancelled entry → the one that took its place
    cancelled: list[int] = field(default_factory=list)  # superseded, with nothing in its place


@dataclass(slots=True)
class _Case:
    """One entry, what it would book now, and whether that differs."""

    entry: Standing
    judged: Judged
    figures: ledger.Figures
    changes: set[str]  # in which figures it differs

    @property
    def is_unsent(self) -> bool:
        """Whether its key was never used, so that its figures may change in place."""
        return self.entry.state in (State.HELD, State.READY) and not self.entry.body_hash


@dataclass(slots=True)
class _Assessment:
    cases: list[_Case] = field(default_factory=list)
    outdated: list[Standing] = field(
        default_factory=list
    )  # another version is current, or no longer approved or routed so
    unrouted: list[tuple[Standing, Draft]] = field(default_factory=list)
    next_part: dict[int, int] = field(default_factory=dict)
    generations: dict[tuple[int, int, int, int], int] = field(default_factory=dict)


def assess(entries: Sequence[Standing]) -> _Assessment:
    """Judge entries by today's facts, writing nothing."""
    found = _Assessment()
    document_ids = sorted({entry.document_id for entry in entries})
    drafts = {draft.document_id: draft for draft in drafts_of(document_ids, lock=False)}
    _, entities = give_routes(list(drafts.values()))
    standing = standing_of(document_ids, known=entries)
    pairs: list[tuple[Standing, Draft]] = []
    parts_of = Counter(entry.document_id for entry in entries)
    for entry in entries:
        current = drafts[entry.document_id]
        if parts_of[entry.document_id] > 1:
            current = copy(current)  # a draft of its own for each; copying is dear, and most documents have one entry
        there = standing[entry.document_id]
        if current.version != entry.version or current.status != "approved":
            found.outdated.append(entry)
        elif not current.is_routed:
            found.unrouted.append((entry, current))
        elif current.route.target.id != entry.target_id:
            found.outdated.append(entry)
        else:
            pairs.append((entry, _draft_for(entry, current, there.every)))
            parts = [other.part for other in there.every if other.version == entry.version]
            found.next_part[entry.document_id] = max(parts) + 1
            for other in there.every:
                identity = (other.document_id, other.version, other.target_id, other.part)
                if other.reverses_id is None:
                    found.generations[identity] = max(found.generations.get(identity, 0), other.generation)
    judged_drafts = [draft for _, draft in pairs]
    for draft in judged_drafts:
        there = standing[draft.document_id]
        draft.standing = [*there.booked, *there.reversals]
    facts = load(judged_drafts, entities, without=[entry.id for entry in entries])
    judge = Judge(facts)
    for entry, draft in sorted(pairs, key=lambda pair: (pair[1].work_date, pair[1].document_id, pair[1].part)):
        judge.prepare(draft)
        _keep_cents(draft, entry, standing[draft.document_id].every)
        judged = judge.judge(draft, found.next_part[entry.document_id])
        figures = figures_of(draft, entry.generation)
        found.cases.append(_Case(entry, judged, figures, differing(entry, figures)))
    return found


def _draft_for(entry: Standing, draft: Draft, every: Sequence[Standing]) -> Draft:
    """Narrow the draft of a version to one entry: the whole of it, or the part that the entry stands for."""
    draft.tags = [tag for tag in entry.tags if tag.startswith(PUT_BACK)]
    draft.missing_keys, draft.target_keys = [], {}
    draft.entry_id, draft.part = entry.id, entry.part
    draft.is_beyond, draft.is_booked = pricing.BEYOND in entry.tags, entry.state not in OPEN
    if entry.waits_on.startswith("parent:"):
        draft.waiting_since = entry.moved_at
    if _siblings(entry, every):
        draft.hours = entry.hours
        draft.tags.append("split-at-cap")
    return draft


def _siblings(entry: Standing, every: Sequence[Standing]) -> list[Standing]:
    """The other parts of the same version that are not cancelled."""
    return [
        other
        for other in every
        if other.version == entry.version
        and other.target_id == entry.target_id
        and other.part != entry.part
        and other.reverses_id is None
        and other.state != "cancelled"
    ]


def _keep_cents(draft: Draft, entry: Standing, every: Sequence[Standing]) -> None:
    """Give the last part of a split the cents that the others leave, so that the parts add up to the whole."""
    siblings = _siblings(entry, every)
    if not siblings or draft.amount is None or draft.whole_hours is None:
        return
    is_last = all(other.part < entry.part for other in siblings)
    same_rate = all(other.rate == draft.rate and other.amount is not None for other in siblings)
    hours = sum((other.hours or Decimal(0) for other in siblings), draft.hours or Decimal(0))
    whole = pricing.reprice(draft, draft.whole_hours)
    if is_last and same_rate and hours == draft.whole_hours and whole is not None:
        draft.amount = whole - sum((other.amount or Decimal(0) for other in siblings), Decimal(0))


def recheck(entry_ids: Sequence[int], *, actor: str, reason: str) -> Rechecked:
    """Validate open entries again: release what passes now, hold what does not, give what is unsent its new figures.

    Joins the caller's transaction. Entries on their way or booked, and reversals, are left alone.
    """
    with one_batch():
        return _recheck(entry_ids, actor=actor, reason=reason)


def _recheck(entry_ids: Sequence[int], *, actor: str, reason: str) -> Rechecked:
    rechecked = Rechecked()
    documents.lock(documents.of_entries(entry_ids))  # before the entries, everywhere, so that nobody deadlocks
    entries = [
        entry
        for entry in (standing_entry(row) for row in documents.entries(entry_ids, lock=True))
        if entry.state in OPEN and entry.reverses_id is None
    ]
    if masters := [entry for entry in entries if entry.kind == MASTER]:
        rechecked.released += publishing.recheck(masters, actor=actor, reason=reason)
    if drafts := [entry for entry in entries if entry.kind == INVOICE]:
        rechecked.released += invoicing.recheck(drafts, actor=actor, reason=reason)
    entries = [entry for entry in entries if entry.kind not in OURS]
    if not entries:
        return rechecked
    assessment = assess(entries)
    rechecked.cancelled, _ = let_go(
        assessment.outdated, actor=actor, reason="another version or another target holds now"
    )
    if assessment.outdated:
        entered = admit(sorted({entry.document_id for entry in assessment.outdated}), actor=actor)
        rechecked.released += entered.ready
        rechecked.held += entered.held
    _hold_unrouted(assessment, rechecked, actor=actor)
    _apply(assessment, rechecked, actor=actor, reason=reason)
    return rechecked


def _hold_unrouted(assessment: _Assessment, rechecked: Rechecked, *, actor: str) -> None:
    """Entries whose route is gone wait for one."""
    going = [(entry.id, entry.fence) for entry, _ in assessment.unrouted if entry.state == State.READY]
    rechecked.held += ledger.hold(going, actor=actor, reason="there is no route any more")
    cases.open_holds(
        [
            cases.NewHold(
                entry_id=entry.id,
                rule="no-route",
                entity_id=entry.entity_id,
                subject_type="connection",
                subject_key=f"{draft.source_id}:{draft.kind}",
                sentence=f"{draft.source.name} has no target for {draft.work_date}; add a route.",
                detail={"source_id": draft.source_id, "kind": draft.kind},
                connection_id=draft.source_id,
            )
            for entry, draft in assessment.unrouted
        ]
    )


def _apply(assessment: _Assessment, rechecked: Rechecked, *, actor: str, reason: str) -> None:
    """Write what the assessment found."""
    open_holds: dict[int, dict[str, int]] = defaultdict(dict)
    for hold_id, entry_id, rule, _ in cases_sql.open_holds_of([case.entry.id for case in assessment.cases]):
        open_holds[entry_id][rule] = hold_id
    refigure = [case for case in assessment.cases if case.changes and case.is_unsent]
    ledger.refigure(
        [(case.entry.id, case.figures) for case in refigure],
        only=set[str]().union(*(case.changes for case in refigure)),
    )
    rechecked.refigured = [case.entry.id for case in refigure]
    release: dict[str, list[ledger.Ref]] = defaultdict(list)
    stop: list[ledger.Ref] = []
    renew: dict[str, list[ledger.Ref]] = defaultdict(list)
    opened: list[cases.NewHold] = []
    passed: list[int] = []
    replace: list[_Case] = []
    for case in assessment.cases:
        entry, judged = case.entry, case.judged
        holds = open_holds[entry.id]
        if case.changes and not case.is_unsent:
            replace.append(case)
            continue
        if entry.state == State.REJECTED:
            continue
        ref = (entry.id, entry.fence)
        found = {rule.code for rule, _ in judged.findings}
        passed += [
            hold_id for rule, hold_id in holds.items() if rule not in found and (rule in CHECKED or rule == "no-route")
        ]
        opened += holds_of(judged, entry.id)
        stays = any(rule not in CHECKED and rule != "no-route" for rule in holds)
        if found:
            if entry.state == State.READY:
                stop.append(ref)
        elif entry.state == State.HELD and not stays:
            release[judged.draft.waits_on].append(ref)
        elif entry.state == State.READY and _parked_otherwise(entry.waits_on, judged.draft.waits_on):
            renew[judged.draft.waits_on].append(ref)
    cases.close_hold_rows(passed, reason=reason)
    cases.open_holds(opened)
    rechecked.held += ledger.hold(stop, actor=actor, reason=reason)
    for waits_on, refs in release.items():
        rechecked.released += ledger.release(refs, actor=actor, reason=reason, waits_on=waits_on)
    for waits_on, refs in renew.items():
        held = ledger.hold(refs, actor=actor, reason=reason)
        again = [(entry_id, fence + 1) for entry_id, fence in refs if entry_id in set(held)]
        rechecked.released += ledger.release(again, actor=actor, reason=reason, waits_on=waits_on)
    _replace(replace, assessment, rechecked, actor=actor, reason=reason)
    replaced_ids = {case.entry.id for case in replace}
    _enter_rests(
        [case.judged for case in assessment.cases if case.entry.id not in replaced_ids], rechecked, actor=actor
    )


def _parked_otherwise(stands: str, wanted: str) -> bool:
    """Whether a waiting entry should wait on something else now, as far as validation decides that."""
    return stands != wanted and (not stands or stands.startswith(OURS_TO_WAKE))


def _replace(
    replaced: Sequence[_Case], assessment: _Assessment, rechecked: Rechecked, *, actor: str, reason: str
) -> None:
    """Cancel entries whose key was used with other content, and enter them anew under the next generation.

    What may stand at the target is asked about first, and validated again once it is shown to be absent.
    """
    if not replaced:
        return
    gone = set(let_go([case.entry for case in replaced], actor=actor, reason=f"its content changed: {reason}")[0])
    rows: list[tuple[ledger.Figures, State, str]] = []
    kept: list[_Case] = []
    for case in replaced:
        if case.entry.id not in gone:
            continue
        draft = case.judged.draft
        identity = (draft.document_id, draft.version, case.entry.target_id, draft.part)
        figures = figures_of(draft, assessment.generations[identity] + 1)
        passes = case.judged.passes
        rows.append((figures, State.READY if passes else State.HELD, draft.waits_on if passes else ""))
        kept.append(case)
    ids = ledger.enter(rows, actor=actor, reasons=[reason_of(case.judged) for case in kept])
    holds: list[cases.NewHold] = []
    for entry_id, case in zip(ids, kept, strict=True):
        rechecked.replaced[case.entry.id] = entry_id
        (rechecked.released if case.judged.passes else rechecked.held).append(entry_id)
        holds += holds_of(case.judged, entry_id)
    cases.open_holds(holds, fresh=True)
    _enter_rests([case.judged for case in kept], rechecked, actor=actor)


def _enter_rests(judged: Sequence[Judged], rechecked: Rechecked, *, actor: str) -> None:
    """Enter what was split off where entries passed a limit."""
    rests = [item.rest for item in judged if item.rest is not None]
    ids = ledger.enter(
        [(figures_of(rest.draft), State.READY if rest.passes else State.HELD, "") for rest in rests],
        actor=actor,
        reasons=[reason_of(rest) for rest in rests],
    )
    holds: list[cases.NewHold] = []
    for entry_id, rest in zip(ids, rests, strict=True):
        (rechecked.released if rest.passes else rechecked.held).append(entry_id)
        holds += holds_of(rest, entry_id)
    cases.open_holds(holds, fresh=True)


def stands(entry_ids: Sequence[int]) -> set[int]:
    """Which of these entries may still go, asked at the door by the outbox; writes nothing.

    An entry stands when its version is current and approved, no rule stops it and it still says what it would say today. A
    reversal stands while its period takes postings. What does not stand is to be validated again with `recheck`.
    """
    entries = [standing_entry(row) for row in documents.entries(entry_ids)]
    masters = [entry for entry in entries if entry.kind == MASTER]
    drafts = [entry for entry in entries if entry.kind == INVOICE]
    entries = [entry for entry in entries if entry.kind not in OURS]
    reversals = [entry for entry in entries if entry.reverses_id is not None]
    plain = [entry for entry in entries if entry.reverses_id is None]
    going = _reversals_that_stand(reversals)
    if plain:
        for case in assess(plain).cases:
            if case.judged.passes and case.judged.rest is None and not case.changes and not case.judged.draft.waits_on:
                going.add(case.entry.id)
    if masters:
        going |= publishing.stands(masters)
    return going | invoicing.stands(drafts)


def booked_otherwise(entry_ids: Sequence[int]) -> dict[int, tuple[Standing, ledger.Figures]]:
    """Booked work that would say something else in the target's books by today's facts, and what; writes nothing.

    Entries of an earlier version, without a route, or cut at a limit today are another matter and left out.
    """
    entries = [standing_entry(row) for row in documents.entries(entry_ids)]
    with one_batch():
        assessed = assess(entries)
    return {
        case.entry.id: (case.entry, case.figures)
        for case in assessed.cases
        if case.judged.rest is None and books_otherwise(case.entry, case.figures)
    }


def _reversals_that_stand(reversals: Sequence[Standing]) -> set[int]:
    if not reversals:
        return set()
    periods: dict[int, list[tuple[Any, ...]]] = defaultdict(list)
    first = min(entry.post_on for entry in reversals)
    for row in master_data.periods({entry.entity_id for entry in reversals}, first):
        periods[row[0]].append(row)
    return {
        entry.id
        for entry in reversals
        if any(row[1] <= entry.post_on <= row[2] and row[5] in ("open", "closing") for row in periods[entry.entity_id])
    }


def waive(hold_ids: Sequence[int], *, by: User, reason: str, told: bool = False) -> Rechecked:
    """Waive holds and release what no other rule stops; `told` as in `cases.waive`. Raises cases.NotWaivable."""
    entries = cases.waive(hold_ids, by=by, reason=reason, told=told)
    return recheck(entries, actor=by.get_username(), reason=f"waived: {reason}")


def exclude(entry_ids: Sequence[int], *, by: User, reason: str) -> list[int]:
    """Leave open entries out for good, with a reason: the same work was reported by another tool. The ids that went.

    What an earlier sending may have left at its target is asked about first, and left out once the target shows nothing of it.
    """
    if not reason.strip():
        raise ValueError("Leaving an entry out needs a reason.")
    documents.lock({row[1] for row in documents.entries(entry_ids)})
    entries = [standing_entry(row) for row in documents.entries(entry_ids, lock=True)]
    said = f"{documents.LEFT_OUT}{reason}"
    moved, asked = let_go([entry for entry in entries if entry.state in OPEN], actor=by.get_username(), reason=said)
    if asked:
        questions.ask([entry.id for entry in asked], by.pk, reason, TargetQuestion.IfAbsent.LEAVE_OUT)
    return moved
