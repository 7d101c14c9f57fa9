"""Undoing an applied change set by a new one: only what still is as it set it, unless a person chooses more.

The rule here: what another change set has set since is named and stays, until who undoes says otherwise. A record that booked
work names is never taken out: where it took the place of another, it gets that one's values; else it ends, if the person says so.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db import models, transaction
from django.db.models import Q
from django.utils import timezone

from portal.models import User
from reconciliation.changes.drafting import draft, lock
from reconciliation.changes.kinds import BY_CODE, Kind
from reconciliation.changes.lines import Action, ChangeRefused, Line
from reconciliation.changes.usage import Named, named_by, sentence
from reconciliation.changes.words import Cells, cells_of
from reconciliation.models import ChangeLine, ChangeSet

State = ChangeSet.State
UNDER_WAY = (State.DRAFT, State.SUBMITTED, State.APPROVED, State.SCHEDULED, State.APPLYING, State.APPLIED)


class Begun(ChangeRefused):
    """Somebody has begun to undo it already; `first` is theirs."""

    def __init__(self, first: ChangeSet) -> None:
        super().__init__(f"Change set {first.pk} undoes it already; go on there.")
        self.first = first


class InUse(ChangeRefused):
    """Records that it made are named by others and took nobody's place, so they can only end or be changed."""


@dataclass(frozen=True, slots=True)
class Since:
    """A change set that set something after the one that is undone; without a title where the person may not see it."""

    pk: int
    title: str


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to undo: a field, or with an empty one a whole record; as it is now, and as it would be again."""

    position: int
    kind: Kind
    record: str
    field: str
    now: Any
    again: Any
    still: bool  # it is as the change set made it
    since: list[Since]

    @property
    def key(self) -> str:
        """How a form names it."""
        return f"{self.position}:{self.field}"

    @property
    def label(self) -> str:
        """What is undone, in words."""
        return self.field.replace("_", " ") if self.field else f"the whole {self.kind.label.lower()}"


@dataclass(frozen=True, slots=True)
class Stuck:
    """A record that the change set made, that others name, and that took nobody's place."""

    position: int
    kind: Kind
    pk: int
    record: str
    why: str
    ends_on: str

    def __str__(self) -> str:
        return f"The {self.kind.label.lower()} {self.record} {self.why}"


@dataclass(slots=True)
class Undoing:
    """What undoing a change set comes to."""

    steps: list[Step] = field(default_factory=list)
    stuck: list[Stuck] = field(default_factory=list)

    @property
    def sure(self) -> list[Step]:
        """What still is as it was set, and is undone without asking."""
        return [step for step in self.steps if step.still]

    @property
    def asked(self) -> list[Step]:
        """What was set again since, and is undone only where the person chooses it."""
        return [step for step in self.steps if not step.still]

    @property
    def may_end(self) -> bool:
        """Whether everything that cannot go can end."""
        return bool(self.stuck) and all(one.kind.ends for one in self.stuck)


def begun(change_set: ChangeSet) -> ChangeSet | None:
    """The change set that undoes this one already; None where there is none that may still hold."""
    return change_set.roll_backs.filter(state__in=UNDER_WAY).order_by("pk").first()


def roll_back(
    change_set: ChangeSet, by: User, reason: str = "", *, also: Collection[str] = (), ends: bool = False
) -> ChangeSet:
    """Draft the change set that undoes an applied one; `also` are keys of steps that were set again since, to undo all the same.

    `ends` lets what is in use and took nobody's place end. Raises Begun, InUse, ChangeRefused, PermissionDenied.
    """
    with transaction.atomic():
        locked = lock(change_set)
        if locked.state != State.APPLIED:
            raise ChangeRefused("Only what was applied is rolled back; withdraw it instead.")
        if (first := begun(locked)) is not None:
            raise Begun(first)
        found = undoing(locked, by)
        if found.stuck and not (ends and found.may_end):
            raise InUse(" ".join(map(str, found.stuck)))
        lines = _lines(locked, found, {*also})
        if not lines:
            raise ChangeRefused("Nothing of it stands any more as it was set. Choose what to undo all the same.")
        left = [step for step in found.asked if step.key not in also]
        return draft(
            by=by, title=f"Roll back: {locked.title}"[:300], lines=lines, rolls_back=locked,
            reason=f"{reason.strip() or f'Undoes change set {locked.pk}.'}{_left_out(left)}",
        )  # fmt: skip


def _left_out(left: Sequence[Step]) -> str:
    if not left:
        return ""
    told = "; ".join(f"{step.label} of {step.record}{_by(step.since)}" for step in left[:5])
    return f" Left as they were set since: {told}{'; and more' if len(left) > 5 else ''}."


def _by(since: Sequence[Since]) -> str:
    return f" (change set {', '.join(str(one.pk) for one in since)})" if since else ""


def undoing(change_set: ChangeSet, user: User) -> Undoing:
    """What undoing an applied change set would do, in a number of statements that depends on its kinds only."""
    rows = list(change_set.lines.order_by("-position"))
    now = _as_they_are(rows)
    since = _set_since(change_set, rows, user)
    kept = _kept(rows, now)
    places = _places(rows, kept)
    found = Undoing()
    for row in rows:
        kind, pk = BY_CODE[row.model], row.key or row.made or 0
        cells = now.get((row.model, pk))
        later = since.get((row.model, pk), [])
        if row.action == Action.REMOVE:
            if cells is None:
                found.steps.append(Step(row.position, kind, row.record, "", "", row.before, True, []))
        elif cells is None:
            continue  # it is gone since, so nothing of it is left to undo
        elif row.key is not None:
            found.steps += _fields(
                row, kind, cells, row.before or {}, later, leaving=places.ended.get(row.position, "")
            )
        elif row.position in places.taken:
            found.steps += _fields(row, kind, cells, places.taken[row.position], later)
        elif (row.model, pk) in kept:
            why = sentence(kind, kept[row.model, pk])
            found.stuck.append(Stuck(row.position, kind, pk, row.record, why, _end_of(kind, cells)))
        else:
            touching = [one for one, _ in later]
            found.steps.append(Step(row.position, kind, row.record, "", row.record, "", not touching, touching))
    return found


def _fields(
    row: ChangeLine,
    kind: Kind,
    now: Cells,
    again: Mapping[str, Any],
    later: Sequence[tuple[Since, set[str]]],
    *,
    leaving: str = "",
) -> list[Step]:
    """The fields that a line set and that are not already what they would be again."""
    set_to = row.after or {}
    return [
        Step(
            row.position, kind, row.record, name, now.get(name), value, now.get(name) == set_to.get(name),
            [one for one, fields in later if name in fields],
        )
        for name, value in again.items()
        if name != leaving and value != set_to.get(name) and value != now.get(name)
    ]  # fmt: skip


def _end_of(kind: Kind, cells: Cells) -> str:
    """The last day of what ends now: yesterday, or its first day where that is later; empty for what ends without a day."""
    if not kind.until:
        return ""
    return max(str(cells.get(kind.since) or ""), (timezone.localdate() - timedelta(days=1)).isoformat())


def _lines(change_set: ChangeSet, found: Undoing, also: set[str]) -> list[Line]:
    """The lines of what is undone: the last thing that was done first."""
    chosen: dict[int, list[Step]] = defaultdict(list)
    for step in found.steps:
        if step.still or step.key in also:
            chosen[step.position].append(step)
    stuck = {one.position: one for one in found.stuck}
    lines = []
    for row in change_set.lines.order_by("-position"):
        steps = chosen.get(row.position, [])
        if row.position in stuck:
            last = stuck[row.position]
            lines.append(Line(row.model, last.pk, Action.END, {last.kind.ends: last.ends_on} if last.ends_on else {}))
        elif row.action == Action.REMOVE and steps:
            lines.append(Line(row.model, None, Action.ADD, row.before or {}))
        elif any(not step.field for step in steps):
            lines.append(Line(row.model, row.made, Action.REMOVE))
        elif steps:
            lines.append(
                Line(row.model, row.key or row.made, Action.CHANGE, {step.field: step.again for step in steps})
            )
    return lines


# What stands now, what was set since, and what is in use


def _as_they_are(rows: Sequence[ChangeLine]) -> dict[tuple[str, int], Cells]:
    """The records of the lines in our words, those that are there."""
    ids: dict[str, set[int]] = defaultdict(set)
    for row in rows:
        ids[row.model].add(row.key or row.made or 0)
    found = {}
    for model, some in ids.items():
        kind = BY_CODE[model]
        standing = list(kind.model._base_manager.filter(pk__in=some))
        for record, cells in zip(standing, cells_of(kind.table, standing), strict=True):
            found[model, int(record.pk)] = cells
    return found


def _set_since(
    change_set: ChangeSet, rows: Sequence[ChangeLine], user: User
) -> dict[tuple[str, int], list[tuple[Since, set[str]]]]:
    """By record the change sets that were applied after this one and changed it, each with the fields that it set."""
    ids = {row.key or row.made or 0 for row in rows}
    applied_after = Q(change_set__applied_at__gt=change_set.applied_at)
    applied_after |= Q(change_set__applied_at=change_set.applied_at, change_set__gt=change_set.pk)
    later = ChangeLine.objects.filter(applied_after, model__in={row.model for row in rows}, key__in=ids)
    lines = list(later.select_related("change_set").order_by("change_set_id"))
    seen = set(
        ChangeSet.objects.visible_to(user)
        .filter(pk__in={one.change_set_id for one in lines})
        .values_list("pk", flat=True)
    )
    found: dict[tuple[str, int], list[tuple[Since, set[str]]]] = defaultdict(list)
    for line in lines:
        before, after = line.before or {}, line.after or {}
        fields = {name for name in {*before, *after} if before.get(name) != after.get(name)}
        since = Since(line.change_set_id, line.change_set.title if line.change_set_id in seen else "")
        found[line.model, line.key or 0].append((since, fields))
    return found


def _kept(
    rows: Sequence[ChangeLine], now: Mapping[tuple[str, int], Cells]
) -> dict[tuple[str, int], list[tuple[int, str]]]:
    """What the change set made and others name, so that it stays: by record, with who names it.

    What is itself taken out names nothing any more, so this goes on until nothing else is found to stay.
    """
    going: dict[str, set[int]] = defaultdict(set)
    for row in rows:
        if row.key is None and row.made is not None and (row.model, row.made) in now:
            going[row.model].add(row.made)
    kept: dict[tuple[str, int], list[Named]] = {}
    for _ in range(len(going) + 1):  # as deep as kinds can hang on each other
        besides: dict[type[models.Model], set[int]] = {BY_CODE[model].model: ids for model, ids in going.items()}
        found = {
            (model, pk): named
            for model, ids in going.items()
            for pk, named in named_by(BY_CODE[model], ids, besides=besides).items()
        }
        if not found:
            break
        kept.update(found)
        for model, pk in found:
            going[model].discard(pk)
    return kept


@dataclass(slots=True)
class _Places:
    """Who took whose place: by position the values that a new record gets back, and the end that its predecessor keeps."""

    taken: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    ended: dict[int, str] = field(default_factory=dict)


def _places(rows: Sequence[ChangeLine], kept: Mapping[tuple[str, int], Any]) -> _Places:
    """Where a record in use took the place of one that the change set ended, it stays with that one's values, on its own days.

    The last of several in a row goes on as long as the predecessor would have.
    """
    found = _Places()
    made: dict[tuple[Any, ...], list[ChangeLine]] = defaultdict(list)
    for row in rows:
        if row.key is None and BY_CODE[row.model].until:
            made[_scope(row, row.after)].append(row)
    for row in rows:
        kind = BY_CODE[row.model]
        before, after = row.before or {}, row.after or {}
        heirs = sorted(made.get(_scope(row, before), []), key=lambda heir: str((heir.after or {}).get(kind.since)))
        is_ended = row.key is not None and kind.ends and after and before.get(kind.ends) != after.get(kind.ends)
        if not is_ended or not any((heir.model, heir.made) in kept for heir in heirs):
            continue
        found.ended[row.position] = kind.ends
        values = {name: value for name, value in before.items() if name not in (kind.since, kind.until)}
        for heir in heirs:
            found.taken[heir.position] = values
        found.taken[heirs[-1].position] = {**values, kind.until: before.get(kind.until, "")}
    return found


def _scope(row: ChangeLine, cells: Mapping[str, Any] | None) -> tuple[Any, ...]:
    """What a record holds for, whatever its days."""
    kind = BY_CODE[row.model]
    return (row.model, *((cells or {}).get(name) or "" for name in kind.table.key if name != kind.since))
