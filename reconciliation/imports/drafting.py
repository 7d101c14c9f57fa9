"""A file on its way to a change set: received, its columns matched and remembered, drafted as a whole, or discarded."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace

from django.db import transaction

from portal import access, audit, sql
from portal.importing.headings import known_headings, match, usual_headings
from portal.importing.problems import Unreadable
from portal.importing.sheets import plain, read
from portal.models import User
from reconciliation import changes
from reconciliation.changes import BY_CODE, Action, ChangeRefused, Kind, Line
from reconciliation.imports.checking import Checked, check
from reconciliation.models import ChangeSet, ColumnChoice, MasterImport

State = MasterImport.State
OPEN = (State.MATCHING, State.CHECKED)


def kinds_of(user: User) -> list[Kind]:
    """The kinds of which a person may bring a file: those whose changes the person may propose somewhere."""
    roles = user.roles()
    return [kind for kind in changes.KINDS if roles & kind.proposers]


def remembered(kind: str) -> dict[str, str]:
    """What people said the headings of such files mean."""
    return dict(ColumnChoice.objects.filter(kind=kind).values_list("heading", "column"))


def receive(kind: str, name: str, content: bytes, *, by: User) -> MasterImport:
    """Keep a file, its columns matched as far as can be told. Raises Unreadable for what is no such file."""
    access.require_somewhere(by, BY_CODE[kind].proposers)
    table = BY_CODE[kind].table.of_files
    sheet = read(name, content, usual_headings(table), by_cell=True)
    if objection := table.filed.objection(sheet):
        raise Unreadable(objection)
    columns = match(table, sheet.header, remembered(kind))
    is_whole = len(columns) == len([one for one in sheet.header if one]) and not sheet.nameless
    needs = {column.name for column in table.columns if column.required} - set(columns.values())
    return MasterImport.objects.create(
        kind=kind, name=name[:255], content=content, digest=hashlib.sha256(content).hexdigest(), header=list(sheet.header),
        columns={str(index): column for index, column in columns.items()}, rows=len(sheet.rows),
        state=State.CHECKED if is_whole and not needs else State.MATCHING, uploaded_by=by, uploaded_at=sql.now(),
    )  # fmt: skip


def likelier_kind(master_import: MasterImport, by: User) -> Kind | None:
    """The kind whose columns a file has, all that it needs and more of its words, where it was brought as another; else None."""
    words = {plain(heading) for heading in master_import.header if heading}

    def known(kind: Kind) -> int:
        return len(words & known_headings(kind.table.of_files))

    whole = [kind for kind in kinds_of(by) if {plain(one.name) for one in kind.table.columns if one.required} <= words]
    best = max(whole, key=known, default=None)
    return best if best and known(best) > known(BY_CODE[master_import.kind]) else None


def match_columns(master_import: MasterImport, columns: Mapping[int, str], *, by: User) -> None:
    """Say which column is which, and remember it. Raises Unreadable where two are the same."""
    chosen = {index: name for index, name in columns.items() if name}
    table = BY_CODE[master_import.kind].table.of_files
    known = {column.name for column in table.columns}
    for name in chosen.values():
        if name not in known:
            raise Unreadable(f"“{name}” is no column of {table.noun}.")
    if doubled := sorted({name for name in chosen.values() if list(chosen.values()).count(name) > 1}):
        raise Unreadable(f"Two columns are {doubled[0]}; leave one of them out.")
    with transaction.atomic():
        locked = _open(master_import, by)
        locked.columns = {str(index): name for index, name in chosen.items()}
        locked.state = State.CHECKED
        locked.save(update_fields=["columns", "state"])
        ColumnChoice.objects.bulk_create(
            [
                ColumnChoice(kind=locked.kind, heading=plain(locked.header[index])[:200], column=name, chosen_at=sql.now())
                for index, name in chosen.items()
                if plain(locked.header[index])
            ],
            update_conflicts=True, unique_fields=["kind", "heading"], update_fields=["column", "chosen_at"],
        )  # fmt: skip
    master_import.refresh_from_db()


def draft(master_import: MasterImport, *, by: User, reason: str, title: str = "") -> ChangeSet:
    """Draft the change set of all that the file makes or changes. Raises ChangeRefused where something stands against it."""
    with transaction.atomic():
        locked = _open(master_import, by)
        checked = check(locked, by)
        if not checked.is_good:
            raise ChangeRefused(
                "Rows stand against it; mend the file and upload it again. Nothing of it is taken before."
            )
        if not checked.moves:
            raise ChangeRefused("Nothing changes: everything in the file stands already.")
        kind = BY_CODE[locked.kind]
        change_set = changes.draft(
            by=by,
            title=title or f"{kind.label}: {len(checked.moves):,} from {locked.name}",
            reason=f"{reason} (file {locked.name}, SHA-256 {locked.digest[:12]})",
            lines=_lines(kind, checked),
        )
        locked.state, locked.change_set, locked.reaches = State.DRAFTED, change_set, _reached(kind, checked, change_set)
        locked.save(update_fields=["state", "change_set", "reaches"])
        audit.record(
            by, "import.drafted", locked, entity=_only(locked.reaches), reason=reason,
            after={"kind": locked.kind, "digest": locked.digest, "rows": locked.rows, "lines": len(checked.moves),
                   "change_set": change_set.pk},
        )  # fmt: skip
    master_import.refresh_from_db()
    return change_set


def _lines(kind: Kind, checked: Checked) -> list[Line]:
    """What the file makes and changes, and after it what comes with what is new."""
    lines = [replace(row.as_line, model=kind.code) for row in checked.moves]
    made = [line.values for line in lines if line.action == Action.ADD]
    return [*lines, *(Line(code, None, Action.ADD, cells) for code, cells in kind.table.filed.besides(made))]


def _reached(kind: Kind, checked: Checked, change_set: ChangeSet) -> list[int] | None:
    """The entities of every row of a file, those that stay as they are too; None where it makes what all entities share."""
    if change_set.is_shared:
        return None
    standing = kind.entities([row.pk for row in checked.rows if row.pk is not None])
    reached = {*change_set.entities.values_list("pk", flat=True)}.union(*standing.values())
    return sorted(entity for entity in reached if entity is not None)


def _only(reached: list[int] | None) -> int | None:
    return reached[0] if reached is not None and len(reached) == 1 else None


def discard(master_import: MasterImport, *, by: User) -> None:
    """Take nothing of the file; it is kept."""
    with transaction.atomic():
        locked = _open(master_import, by)
        locked.state = State.DISCARDED
        locked.save(update_fields=["state"])
        audit.record(by, "import.discarded", locked, after={"kind": locked.kind, "digest": locked.digest})
    master_import.refresh_from_db()


def _open(master_import: MasterImport, by: User) -> MasterImport:
    access.require_somewhere(by, BY_CODE[master_import.kind].proposers)
    locked = MasterImport.objects.select_for_update(of=("self",)).get(pk=master_import.pk)
    if locked.uploaded_by_id != by.pk:
        raise ChangeRefused("Only who uploaded a file goes on with it.")
    if locked.state not in OPEN:
        raise ChangeRefused(f"This file is {locked.get_state_display().lower()} already.")
    return locked
