"""The lines of a change set written into the master data: checked as a file would be, with history and a reason.

The rule here: whoever previews, submits or applies writes by `write`, and who only looks rolls back. A fixed number of
statements for each kind of record, however many lines.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from django.db import models
from django.utils import timezone

from portal import changes_watch, history
from portal.importing.constraints import in_words
from portal.importing.load import Load, only_one_at_a_time
from portal.importing.problems import Problem, Refused
from portal.importing.tables import Column, Key, Row
from portal.models import Connection, User
from portal.models.access import entities_held
from reconciliation.changes.kinds import BY_CODE, EVERY, KINDS, POINTED_AT, Kind, Touched
from reconciliation.changes.lines import Action, Line, LinePlace, WrittenLine
from reconciliation.changes.usage import named_by, sentence
from reconciliation.changes.words import Cells, cells_of
from reconciliation.validation import affected_by, one_batch


@dataclass(slots=True)
class Written:
    """What lines did: each of them, the entities and the open entries that they touch, and the records to look at again."""

    lines: list[WrittenLine] = field(default_factory=list)
    entities: set[int | None] = field(default_factory=set)
    concerns: dict[str, set[int]] = field(default_factory=dict)
    entries: list[int] = field(default_factory=list)
    removes: bool = False


@dataclass(slots=True)
class _Asked:
    """One line on its way: its kind, the record that stands, and what will stand."""

    place: LinePlace
    line: Line
    kind: Kind
    standing: models.Model | None = None
    before: Cells | None = None
    row: Row | None = None

    @property
    def pk(self) -> int:
        if self.row is not None:
            return self.row.pk
        if self.standing is None:
            raise ValueError("This line means no record.")
        return int(self.standing.pk)

    @property
    def removes(self) -> bool:
        return self.line.action == Action.REMOVE


@one_batch()
def write(
    lines: Sequence[Line], *, reason: str, actor: User | None, viewer: User | None = None, starts_on: date | None = None
) -> Written:
    """Write the lines inside the caller's transaction, one change set at a time. Raises Refused with every problem found.

    `viewer` is whose eyes limit what a line may name; a line that only ends a record ends it the day before `starts_on`.
    """
    with in_words():
        only_one_at_a_time()
        asked = _read(lines)
        _find(asked, viewer)
        written = Written(removes=any(one.removes for one in asked))
        before = _concerned(asked)
        entries = _entries(before)
        _reach(written, asked)
        _remove([one for one in asked if one.removes], reason, actor)  # first: it makes room for what takes its place
        load = _load(asked, viewer, starts_on or timezone.localdate())
        load.write(reason, actor)
        _refuse_what_is_named([one for one in asked if one.removes])
        for kind, ids in (*before.items(), *load.concerns.items()):
            written.concerns.setdefault(kind, set()).update(ids)
        written.entries = sorted(entries | _entries(written.concerns))
        _reach(written, [one for one in asked if not one.removes])
        _share_what_has_no_people_yet(written, asked)
        written.lines = _told(asked)
    return written


def _read(lines: Sequence[Line]) -> list[_Asked]:
    problems, asked = [], []
    for number, line in enumerate(lines, 1):
        place = LinePlace(number)
        kind = BY_CODE.get(line.model)
        if kind is None:
            problems.append(Problem(place.at(), line.model, f"is no kind of record; expected {', '.join(BY_CODE)}."))
            continue
        if line.action not in Action.values or (line.action == Action.ADD) != (line.key is None):
            problems.append(
                Problem(place.at(), str(line.action), "does not go with this record; add, change or end it.")
            )
        known = {column.name for column in kind.columns}
        problems += [
            Problem(place.at(name), "", f"is not a field of {kind.table.noun}; {', '.join(sorted(known))}.")
            for name in sorted(set(line.values) - known)
        ]
        if line.action == Action.END and not kind.ends:
            problems.append(Problem(place.at(), "", f"ends {kind.table.noun}, which has no end; change it instead."))
        asked.append(_Asked(place, line, kind))
    meant = Counter((one.kind.code, one.line.key) for one in asked if one.line.key is not None)
    problems += [
        Problem("the lines", f"{code} {key}", "stands in several of them; put it into one.")
        for (code, key), times in meant.items()
        if times > 1
    ]
    if problems:
        raise Refused(problems)
    return asked


def _find(asked: Sequence[_Asked], viewer: User | None) -> None:
    """Find the records that lines mean, where the viewer may see them, and say them in our words."""
    problems = []
    for kind, ours in _by_kind(one for one in asked if one.line.key is not None):
        keys = [one.line.key for one in ours if one.line.key is not None]
        rows = kind.model._base_manager.filter(pk__in=keys).select_for_update(of=("self",))
        seen = _seen(kind, keys, viewer)
        found = {row.pk: row for row in rows if row.pk in seen}
        for one in ours:
            one.standing = found.get(one.line.key)
            if one.standing is None:
                problems.append(Problem(one.place.at(), str(one.line.key), f"is not known as {kind.table.noun}."))
        standing = [one for one in ours if one.standing is not None]
        told = cells_of(kind.table, [one.standing for one in standing if one.standing is not None])
        for one, cells in zip(standing, told, strict=True):
            one.before = cells
    if problems:
        raise Refused(problems)


def _seen(kind: Kind, keys: Sequence[int], viewer: User | None) -> set[int]:
    """Which of these records a person may see: shared ones, and those of an entity in which they hold a grant."""
    held = None if viewer is None else {*entities_held(viewer, None)}
    if held is None or None in held:
        return set(keys)
    return {pk for pk, entities in kind.seen_in(keys).items() if EVERY in entities or entities & held}


def record_cells(kind: Kind, pk: int, viewer: User) -> Cells | None:
    """A record in our words; None where there is none that the person may see."""
    row = kind.model._base_manager.filter(pk=pk).first()
    if row is None or pk not in _seen(kind, [pk], viewer):
        return None
    return cells_of(kind.table, [row])[0]


def names_of(kind: Kind, ids: Sequence[int]) -> list[tuple[int, str]]:
    """What records of a kind are called, in the order of their ids given."""
    rows = kind.model._base_manager.in_bulk(ids)
    standing = [rows[pk] for pk in ids if pk in rows]
    told = cells_of(kind.table, standing)
    return [(int(row.pk), name_of(kind, cells)) for row, cells in zip(standing, told, strict=True)]


def _visible(model: type[models.Model], viewer: User | None) -> Any:
    manager: Any = model._default_manager
    if viewer is None or not hasattr(manager, "visible_to"):
        return model._base_manager.all()
    return model._base_manager.filter(pk__in=manager.visible_to(viewer).values("pk"))


def _load(asked: Sequence[_Asked], viewer: User | None, starts_on: date) -> Load:
    """The lines as rows of a load, checked. Raises Refused."""
    sees_all = viewer is None or None in entities_held(viewer, None)
    load = Load(
        [kind.table for kind in KINDS], POINTED_AT, suggests=sees_all, leaves_word=False,
        examine=None if sees_all else lambda load: refuse_unseen(load, viewer),
    )  # fmt: skip
    for one in asked:
        if one.removes:
            continue
        cells = {**(one.before or {}), **one.line.values}
        if one.line.action == Action.END:
            cells = {**cells, **_ended(one, starts_on)}
        one.row = load.address(one.kind.table.name, one.place, cells, one.line.key)
    load.check()
    return load


def _ended(one: _Asked, starts_on: date) -> dict[str, Any]:
    if one.kind.is_switched_off:
        return {one.kind.ends: "false"}
    return {one.kind.ends: one.line.values.get(one.kind.ends) or (starts_on - timedelta(days=1)).isoformat()}


def refuse_unseen(load: Load, viewer: User | None) -> None:
    """What a person may not see is not known to them, whatever the code that a row of the load points by."""
    wanted: dict[str, dict[int, list[tuple[Row, Column, Key]]]] = defaultdict(lambda: defaultdict(list))
    rows = [(load.tables[name], row) for name in load.order for row in load.rows.get(name, [])]
    for table, row in rows:
        for column in table.columns:
            for name, key in column.points_at(row.values):
                found = load.ids_of(name).get(key)
                if found is not None:
                    wanted[name][found].append((row, column, key))
    made = {(table.name, row.pk) for table, row in rows if row.standing is None}
    for name, places in wanted.items():
        table = load.tables[name]
        seen = set(_visible(table.model, viewer).filter(pk__in=list(places)).values_list("pk", flat=True))
        for pk in [pk for pk in places if pk not in seen and (name, pk) not in made]:
            for row, column, key in places[pk]:
                load.unknown(row, column, name, key)
    _refuse_unseen_accounts(load, viewer)


def _refuse_unseen_accounts(load: Load, viewer: User | None) -> None:
    """A person names keys in the accounts of connections that they see; no other account is known to them."""
    seen = set(_visible(Connection, viewer).values_list("connector", "realm"))
    for row in load.rows.get("crosswalks", []):
        account = (row.values.get("system") or "", row.values.get("realm") or "")
        if not row.wrong & {"connection", "system", "realm"} and account not in seen:
            load.problem(row, "realm", " ".join(account).strip(), "is not known as an account of a connection.")


def _remove(asked: Sequence[_Asked], reason: str, actor: User | None) -> None:
    """Take records out; the database refuses where others depend on one, when constraints are checked."""
    for kind, ours in reversed(list(_by_kind(asked))):
        rows = [one.standing for one in ours if one.standing is not None]
        if history.has_history(kind.model):
            history.bulk_delete_with_reason(kind.model, rows, reason=reason, actor=actor)
        else:
            kind.model._base_manager.filter(pk__in=[row.pk for row in rows]).delete()
        what, attribute = kind.table.concerns
        if what:
            changes_watch.note(what, {getattr(row, attribute) for row in rows}, handled=True)


def _refuse_what_is_named(gone: Sequence[_Asked]) -> None:
    """What was taken out and is named all the same, once everything is written. Raises Refused, with who names it."""
    problems = []
    for kind, ours in _by_kind(gone):
        named = named_by(kind, [one.pk for one in ours])
        problems += [
            Problem(one.place.at(), name_of(kind, one.before or {}), sentence(kind, named[one.pk]))
            for one in ours
            if one.pk in named
        ]
    if problems:
        raise Refused(problems)


def _concerned(asked: Iterable[_Asked]) -> dict[str, set[int]]:
    """What the records that stand are looked at for, before they change."""
    found: dict[str, set[int]] = {}
    for one in asked:
        what, attribute = one.kind.table.concerns
        if what and one.standing is not None:
            found.setdefault(what, set()).add(getattr(one.standing, attribute))
    return found


def _entries(concerns: Mapping[str, set[int]]) -> set[int]:
    return {entry for kind, ids in concerns.items() for entry in affected_by(kind, ids)}


def _reach(written: Written, asked: Sequence[_Asked]) -> None:
    """Add the entities that these records touch as they stand now."""
    for kind, ours in _by_kind(one for one in asked if one.row is not None or one.standing is not None):
        touched: Touched = kind.entities([one.pk for one in ours])
        for entities in touched.values():
            written.entities |= entities


def _share_what_has_no_people_yet(written: Written, asked: Sequence[_Asked]) -> None:
    """A legal entity that these lines make has nobody who could see it, so it and what they give it concern everybody."""
    made = {one.pk for one in asked if one.kind.code == "entity" and one.standing is None}
    if made:
        written.entities = (written.entities - made) | {EVERY}


def _told(asked: Sequence[_Asked]) -> list[WrittenLine]:
    """Every line with its record before and after, in order."""
    after: dict[int, Cells] = {}
    for kind, ours in _by_kind(one for one in asked if one.row is not None):
        rows = kind.model._base_manager.in_bulk([one.pk for one in ours])
        for one, cells in zip(ours, cells_of(kind.table, [rows[one.pk] for one in ours]), strict=True):
            after[id(one)] = cells
    return [
        WrittenLine(one.pk, name_of(one.kind, after.get(id(one)) or one.before or {}), one.before, after.get(id(one)))
        for one in asked
    ]


def name_of(kind: Kind, cells: Mapping[str, Any]) -> str:
    """What a record is called: its key, and its name where it has one."""
    parts = [str(cells.get(column) or "") for column in kind.table.key]
    return " · ".join(part for part in (*parts, str(cells.get("name") or "")) if part)[:300]


def _by_kind(asked: Iterable[_Asked]) -> list[tuple[Kind, list[_Asked]]]:
    """Lines by kind, in the order in which one kind needs the other."""
    found: dict[str, list[_Asked]] = defaultdict(list)
    for one in asked:
        found[one.kind.code].append(one)
    return [(kind, found[kind.code]) for kind in KINDS if kind.code in found]
