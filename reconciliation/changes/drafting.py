"""Change sets while they are written: drafted, edited, submitted and withdrawn.

The rule here: nothing of a draft changes the master data. Whoever writes in it is kept as an editor and never decides on it; an
edit after submission makes it a draft again, and what was decided falls away.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.utils import timezone

from portal import access, audit, sql
from portal.importing.problems import Refused, Unreadable
from portal.master_intake import rejected
from portal.models import User
from portal.models.access import entities_held
from reconciliation.changes import measuring, telling
from reconciliation.changes.kinds import BY_CODE, EVERY
from reconciliation.changes.lines import Action, ChangeRefused, Line, frozen_lines, lines_of, rows_of
from reconciliation.changes.writing import Written, write
from reconciliation.models import ChangeEditor, ChangeLine, ChangeSet

State = ChangeSet.State
EDITABLE = (State.DRAFT, State.SUBMITTED, State.APPROVED, State.SCHEDULED)
INLINE = 20_000  # entries that a dry-run validates while a person waits; more are left to a worker


def draft(
    *, by: User, title: str, reason: str, lines: Sequence[Line] = (), effective_on: date | None = None,
    emergency: bool = False, rolls_back: ChangeSet | None = None, note: str = "",
) -> ChangeSet:  # fmt: skip
    """Write a change set that changes nothing yet; `note` goes into the audit trail with it.

    Raises ChangeRefused naming every line that cannot stand, PermissionDenied.
    """
    if not title.strip() or not reason.strip():
        raise ChangeRefused("A change set says what it changes, and why.")
    with transaction.atomic():
        written = _rehearse(lines, by, effective_on, rolls_back)
        change_set = ChangeSet.objects.create(
            title=title.strip()[:300], reason=reason.strip(), effective_on=effective_on, is_emergency=emergency,
            created_by=by, created_at=sql.now(), rolls_back=rolls_back,
        )  # fmt: skip
        _store(change_set, by, lines, written)
        audit.record(
            by,
            "change.drafted",
            change_set,
            entities=reached(change_set),
            reason=_noted(reason, note),
            after=told(change_set),
        )
    return change_set


def edit(
    change_set: ChangeSet, by: User, lines: Sequence[Line], *, title: str = "", reason: str = "", emergency: bool | None = None,
    effective_on: date | str | None = "", seen: str = "",
) -> ChangeSet:  # fmt: skip
    """Give it other lines, and what else is given (an empty text keeps what stands; `effective_on` None: once approved).

    `seen` is the hash of what the new lines were made from: where somebody else wrote in it since, nothing is overwritten.
    What was submitted or approved is a draft again. Raises ChangeRefused, PermissionDenied.
    """
    with transaction.atomic():
        locked = lock(change_set)
        if locked.state not in EDITABLE:
            raise ChangeRefused(f"This is {locked.get_state_display().lower()}; write a new change set.")
        if seen and seen != hash_of(locked):
            raise ChangeRefused("Somebody wrote in it since you opened this; open it again.")
        before, reached_before = told(locked), reached(locked)
        day = locked.effective_on if isinstance(effective_on, str) else effective_on
        require_writer(by, locked)
        written = _rehearse(lines, by, day, locked.rolls_back)
        _back_to_draft(locked)
        locked.title, locked.reason, locked.effective_on = (
            title.strip() or locked.title,
            reason.strip() or locked.reason,
            day,
        )
        locked.is_emergency = locked.is_emergency if emergency is None else emergency
        locked.problem, locked.preview, locked.previewed_at, locked.fingerprint = "", {}, None, ""
        locked.save()
        _store(locked, by, lines, written)
        _give_back_left_out(locked, by)
        audit.record(
            by,
            "change.edited",
            locked,
            entities=reached_before | reached(locked),
            reason=locked.reason,
            before=before,
            after=told(locked),
        )
    change_set.refresh_from_db()
    return change_set


def submit(change_set: ChangeSet, by: User, *, note: str = "") -> ChangeSet:
    """Freeze it with its dry-run, and ask those who may decide; `note` as in `draft`. Raises ChangeRefused, PermissionDenied."""
    with transaction.atomic():
        locked = lock(change_set)
        if locked.state == State.SUBMITTED and locked.submitted_by_id == by.pk:
            return change_set  # pressed twice
        if locked.state != State.DRAFT:
            raise ChangeRefused(
                f"Only a draft is submitted, and not what is said to be “{locked.get_state_display()}”."
            )
        require_writer(by, locked)
        if locked.is_emergency:
            raise ChangeRefused("An emergency is not submitted; a controller applies it at once.")
        freeze(locked, by, note=note)
        telling.to_decide(locked, by)
    change_set.refresh_from_db()
    return change_set


def freeze(locked: ChangeSet, by: User, *, note: str = "") -> None:
    """Keep every line with its record before and after, take the hash of all, and dry-run. For a draft that is locked."""
    lines = lines_of(list(locked.lines.all()))
    if not lines:
        raise ChangeRefused("There is nothing to submit: it has no lines.")
    written = _rehearse(lines, by, locked.effective_on, locked.rolls_back)
    if any(line.before == line.after for line in written.lines):
        same = next(line.record for line in written.lines if line.before == line.after)
        raise ChangeRefused(f"{same} stays as it is; take the line out, or change something.")
    _store(locked, by, lines, written)
    locked.submitted_by, locked.submitted_at, locked.state = by, sql.now(), State.SUBMITTED
    locked.problem, locked.content_hash = "", hash_of(locked)
    look(locked, inline=fits(written))
    locked.save()
    audit.record(
        by, "change.submitted", locked, entities=reached(locked), reason=_noted(locked.reason, note),
        after={**told(locked), "hash": locked.content_hash, "preview": locked.preview},
    )  # fmt: skip


def fits(written: Written) -> bool:
    """Whether few enough entries are touched to dry-run them while a person waits."""
    return len(written.entries) <= INLINE


def look(locked: ChangeSet, *, inline: bool = True) -> None:
    """Dry-run what is frozen, and keep what it found; left to a worker when not `inline`. Raises ChangeRefused."""
    if not inline:
        locked.preview, locked.previewed_at, locked.fingerprint = {}, None, ""
        return
    try:
        looked = measuring.dry_run(frozen_lines(locked), content=locked.content_hash, starts_on=locked.effective_on)
    except Refused as refusal:
        raise ChangeRefused.by(refusal) from refusal
    locked.preview, locked.fingerprint, locked.previewed_at = looked.preview, looked.fingerprint, sql.now()


def withdraw(change_set: ChangeSet, by: User, comment: str = "") -> ChangeSet:
    """Its editors take it back before it is applied."""
    with transaction.atomic():
        locked = lock(change_set)
        if locked.state not in EDITABLE:
            raise ChangeRefused(f"This is {locked.get_state_display().lower()}; roll it back by a new change set.")
        if not is_editor(locked, by):
            raise ChangeRefused("Only who wrote it takes it back; somebody else rejects it.")
        locked.state, locked.comment, locked.agreed_by = State.WITHDRAWN, comment.strip(), None
        locked.save(update_fields=["state", "comment", "agreed_by"])
        telling.answered(locked)
        audit.record(by, "change.withdrawn", locked, entities=reached(locked), reason=locked.comment)
        rejected.reopen(
            locked.takes_up.all(), by=by, reason=f"Change set {locked.pk} was withdrawn. {locked.comment}".strip()
        )
    change_set.refresh_from_db()
    return change_set


# Who may write, and what is kept


def require_writer(by: User, change_set: ChangeSet) -> None:
    """Raise PermissionDenied unless the person may propose every line where it reaches."""
    entities = set(change_set.entities.values_list("pk", flat=True))
    _may_write(by, [line.model for line in change_set.lines.all()], entities, is_shared=change_set.is_shared)


def may_write(change_set: ChangeSet, user: Any) -> bool:
    """Whether a person may edit, submit or take back what is not applied yet."""
    if change_set.state not in EDITABLE:
        return False
    try:
        require_writer(user, change_set)
    except PermissionDenied:
        return False
    return True


def is_editor(change_set: ChangeSet, user: Any) -> bool:
    """Whether a person wrote in it."""
    return ChangeEditor.objects.filter(change_set=change_set, user=user.pk).exists()


def _may_write(by: User, models: Sequence[str], entities: set[int], *, is_shared: bool) -> None:
    roles = access.OPERATORS
    for model in models:
        roles = roles & BY_CODE[model].proposers
    for entity_id in sorted(entities):
        access.require(by, roles, entity_id)
    if (is_shared or not entities) and not entities_held(by, roles):
        raise PermissionDenied("Nobody without a role that proposes changes writes in a change set.")


def _rehearse(lines: Sequence[Line], by: User, starts_on: date | None, rolls_back: ChangeSet | None) -> Written:
    """The lines written and undone, with the eyes of who writes them. Raises ChangeRefused, PermissionDenied."""
    made = set(rolls_back.lines.exclude(made=None).values_list("model", "made")) if rolls_back else set()
    for line in lines:
        kind = BY_CODE.get(line.model)
        if line.action == Action.REMOVE and (line.model, line.key) not in made and not (kind and kind.is_removable):
            raise ChangeRefused(
                "A record is removed only where a change set that made it is rolled back; end it instead."
            )
    try:
        with measuring.rolled_back():
            written = write(lines, reason="draft", actor=None, viewer=by, starts_on=starts_on)
    except Refused as refusal:
        raise ChangeRefused.by(refusal) from refusal
    entities = {entity for entity in written.entities if entity is not None}
    try:
        _may_write(by, [line.model for line in lines], entities, is_shared=EVERY in written.entities)
    except PermissionDenied as denied:
        if any(line.model != "crosswalk" for line in lines) or not by.roles() & access.OPERATORS:
            raise
        raise ChangeRefused(
            "Other entities work in the same account or know the record by this key, so it is theirs as well: somebody with a "
            "role in each of them proposes it."
        ) from denied
    return written


def _back_to_draft(locked: ChangeSet) -> None:
    locked.state, locked.content_hash = State.DRAFT, ""
    locked.submitted_by = locked.submitted_at = locked.decided_by = locked.decided_at = None
    locked.agreed_by, locked.comment, locked.agreed_plan = None, "", ""
    locked.save()


def _store(change_set: ChangeSet, by: User, lines: Sequence[Line], written: Written) -> None:
    """Keep lines, entities and editor of a draft."""
    ChangeEditor.objects.get_or_create(change_set=change_set, user=by, defaults={"since": sql.now()})
    change_set.lines.all().delete()
    ChangeLine.objects.bulk_create(
        ChangeLine(
            change_set=change_set, position=number, model=line.model, key=line.key, action=line.action,
            values=dict(line.values), record=did.record, before=did.before, after=did.after,
        )
        for number, (line, did) in enumerate(zip(lines, written.lines, strict=True), 1)
    )  # fmt: skip
    change_set.entities.set([entity for entity in written.entities if entity is not None])
    change_set.is_shared = EVERY in written.entities or not lines
    change_set.save(update_fields=["is_shared"])


def _give_back_left_out(locked: ChangeSet, by: User) -> None:
    """Values of other systems that the lines do not propose any more are asked about again."""
    proposed = {(line.model, line.key): line.values for line in locked.lines.all()}
    gone = [
        one for one in locked.takes_up.all()
        if not _says(one.kind, one.field, proposed.get((one.kind, one.internal_id), {}), one.said)
    ]  # fmt: skip
    rejected.reopen(gone, by=by, reason=f"Change set {locked.pk} does not propose it any more.")
    locked.takes_up.remove(*gone)


def _says(kind: str, field: str, values: Mapping[str, Any], said: str) -> bool:
    """Whether a line's values say the same of a field as a system did, however either is written."""
    if field not in values:
        return False
    column = next((column for column in BY_CODE[kind].columns if column.name == field), None)

    def parsed(value: Any) -> Any:
        if value is None or value == "":
            return None
        try:
            return column.parse(value) if column else str(value)
        except Unreadable:
            return str(value)

    return bool(parsed(values[field]) == parsed(said))


def hash_of(change_set: ChangeSet, rows: Sequence[ChangeLine] | None = None) -> str:
    """The SHA-256 of all that is decided on; `rows` are its lines where they were read already."""
    content = [
        change_set.title, change_set.reason, str(change_set.effective_on or ""), change_set.is_emergency,
        [
            [line.position, line.model, line.key, line.action, line.values, line.before, line.after]
            for line in (rows_of(change_set) if rows is None else rows)
        ],
        *change_set.files.order_by("digest").values_list("name", "digest"),
    ]  # fmt: skip
    text = json.dumps(content, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def told(change_set: ChangeSet) -> dict[str, Any]:
    """The change set as the audit trail keeps it."""
    return {
        "title": change_set.title,
        "effective_on": str(change_set.effective_on or ""),
        "emergency": change_set.is_emergency,
        "lines": [
            {
                "model": line.model,
                "key": line.key,
                "action": line.action,
                "record": line.record,
                "before": line.before,
                "after": line.after,
            }
            for line in rows_of(change_set)
        ],
        "files": dict(change_set.files.values_list("name", "digest")),
    }


def reached(change_set: ChangeSet) -> set[int | None]:
    """The entities that its lines touch as they stand; of a draft without lines none."""
    found: set[int | None] = {*change_set.entities.values_list("pk", flat=True)}
    return found | {EVERY} if change_set.is_shared and change_set.lines.exists() else found


def _noted(reason: str, note: str) -> str:
    return f"{reason} [{note}]" if note else reason


def lock(change_set: ChangeSet) -> ChangeSet:
    """The row, held until the transaction ends."""
    return ChangeSet.objects.select_for_update(of=("self",)).get(pk=change_set.pk)


def is_due(change_set: ChangeSet) -> bool:
    """Whether its day has come."""
    return change_set.effective_on is None or change_set.effective_on <= timezone.localdate()
