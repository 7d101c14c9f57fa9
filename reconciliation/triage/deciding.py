"""One decision: the cases locked and checked, what changes written, and the decision kept with its reason.

The rule here: nobody but `decide` and `undoing` writes a decision, so none is without history and a place in the audit trail.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import models, transaction

from portal import access, audit
from portal import sql as portal_sql
from portal.models import User
from reconciliation.models import Decision, ExceptionCase
from reconciliation.sql import cases as case_sql
from reconciliation.sql import triage as sql
from reconciliation.sql.triage import CaseRow

TRIAGERS = access.FIXERS
UNDO_SECONDS = 10  # how long a decision can be taken back; the server allows a little more for the way to it

OPEN, MERGED = str(ExceptionCase.State.OPEN), str(ExceptionCase.State.MERGED)
Changes = Mapping[str, Any]  # a case's fields and their new values: owner, team, tags, aside


class NotPossible(Exception):
    """Why something cannot be decided about these causes; the text is for the person."""


def locked(case_ids: Sequence[int], by: User, *, states: frozenset[str] = frozenset({OPEN})) -> list[CaseRow]:
    """The cases for a decision, locked.

    Raises PermissionDenied for one that the person may not triage; NotPossible when one is not open any more.
    """
    ids = sorted(set(case_ids))
    allowed = set(ExceptionCase.objects.visible_to(by, roles=TRIAGERS).filter(pk__in=ids).values_list("pk", flat=True))
    if not ids or allowed != set(ids):
        raise PermissionDenied("You may not decide about these causes.")
    found = sql.lock(ids)
    gone = [row for row in found if row.state not in states]
    if gone:
        others = f" and {len(gone) - 1:,} others" if len(gone) > 1 else ""
        raise NotPossible(
            f"“{gone[0].sentence}”{others} changed meanwhile and is not open any more; look at the list again."
        )
    return found


def decide(
    kind: Decision.Kind,
    case_ids: Sequence[int],
    changes: Callable[[CaseRow], Changes],
    *,
    by: User,
    words: str,
    reason: str = "",
    after: Callable[[Sequence[CaseRow]], Mapping[int, Changes]] | None = None,
    states: frozenset[str] = frozenset({OPEN}),
) -> Decision:
    """Decide: write what `changes` says of each case that it changes, and keep the decision.

    `after` runs in the same transaction with the cases that changed, and may return more to remember of each (`before` and
    `after` of what is no column). Raises NotPossible when nothing would change.
    """
    with transaction.atomic():
        found = locked(case_ids, by, states=states)
        wanted = {row.id: _differing(row, changes(row)) for row in found}
        changed = [row for row in found if wanted[row.id]]
        if not changed:
            raise NotPossible("Nothing would change: it is so already.")
        write({row.id: wanted[row.id] for row in changed})
        more = after(changed) if after else {}
        decision = Decision.objects.create(kind=kind, by=by, at=portal_sql.now(), words=words[:300], reason=reason)
        sql.note_cases(
            decision.pk,
            [
                sql.DecidedCase(
                    row.id,
                    {name: value_of(row, name) for name in wanted[row.id]},
                    {**wanted[row.id], **more.get(row.id, {})},
                )
                for row in changed
            ],
        )
        ids = [row.id for row in changed]
        case_sql.remember(ids, "~", f"{words}: {reason}" if reason else words, by.pk)
        note(decision, changed, by=by, reason=reason, after=wanted)
    return decision


def value_of(row: CaseRow, name: str) -> Any:
    """The value of one of a case's fields."""
    return getattr(row, f"{name}_id" if name in {"owner", "team", "merged_into"} else name)


def _differing(row: CaseRow, changes: Changes) -> Changes:
    return {name: value for name, value in changes.items() if value_of(row, name) != value}


def write(changes: Mapping[int, Changes]) -> None:
    """Write fields of cases, those that change in the same fields together; what was escalated counts as touched."""
    alike: dict[tuple[str, ...], list[int]] = {}
    for case_id, values in changes.items():
        alike.setdefault(tuple(sorted(values)), []).append(case_id)
    for names, ids in alike.items():
        columns = {
            f"{name}_id" if name in {"owner", "team", "merged_into"} else name: [changes[one][name] for one in ids]
            for name in names
            if name != "tags"
        }
        if "tags" in names:
            sql.change_tags(ids, [changes[one]["tags"] for one in ids])
        sql.change(ids, {**columns, "escalated_at": [None] * len(ids)})


def note(
    decision: Decision,
    cases: Sequence[CaseRow],
    *,
    by: User,
    reason: str,
    after: Mapping[int, Changes],
    action: str = "",
) -> None:
    """One event in the audit trail for each entity: about the case where there is one, else about the decision."""
    by_entity: dict[int, list[CaseRow]] = {}
    for row in cases:
        by_entity.setdefault(row.entity_id, []).append(row)
    for entity_id, rows in sorted(by_entity.items()):
        one = rows[0]
        subject: models.Model = ExceptionCase(pk=one.id, sentence=one.sentence) if len(rows) == 1 else decision
        audit.record(
            by,
            action or f"triage.{decision.kind}",
            subject,
            entity=entity_id,
            reason=reason or decision.words,
            before={str(row.id): {name: value_of(row, name) for name in after[row.id]} for row in rows},
            after={"words": decision.words, "cases": {str(row.id): dict(after[row.id]) for row in rows}},
        )


def counted(count: int) -> str:
    """As in “3 causes”."""
    return "1 cause" if count == 1 else f"{count:,} causes"
