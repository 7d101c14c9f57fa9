"""Two causes that are one: the holds of the one go to the other, and so does whatever its cause stops from then on.

The rule here: only causes of the same rule and entity are merged, so an entry is never held twice by one case, and what mends
the one mends the other. A merge can be taken apart at any time; each hold knows whose cause it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from django.db import transaction
from django.db.models import Q, QuerySet

from portal.models import User
from reconciliation import cases
from reconciliation.models import Decision, ExceptionCase
from reconciliation.sql import cases as case_sql
from reconciliation.sql import opening
from reconciliation.sql import triage as sql
from reconciliation.sql.triage import CaseRow
from reconciliation.triage.deciding import MERGED, OPEN, Changes, NotPossible, decide, locked


def mergeable(case_ids: Sequence[int], by: User, text: str = "") -> QuerySet[ExceptionCase]:
    """The open causes that these could be merged into: of their rule and entity, the largest first."""
    kinds = ExceptionCase.objects.filter(pk__in=case_ids).values_list("entity_id", "rule").distinct()[:2]
    if len(kinds) != 1:
        return ExceptionCase.objects.none()
    (entity_id, rule), *_ = kinds
    found = (
        ExceptionCase.objects.visible_to(by)
        .filter(entity_id=entity_id, rule=rule, state=OPEN, open_holds__gt=0)
        .exclude(pk__in=case_ids)
    )
    if text:
        number = text.upper().removeprefix("EX-")
        known = Q(sentence__icontains=text) | Q(subject_key__icontains=text)
        found = found.filter(known | Q(pk=int(number)) if number.isdecimal() and len(number) < 18 else known)
    return found.order_by("-open_holds", "pk")


def merge(case_ids: Sequence[int], *, by: User, into: int, reason: str = "") -> Decision:
    """Merge causes into another. Raises NotPossible for causes of other rules or entities, and for those that hold nothing."""
    origins = sorted(set(case_ids) - {into})
    if not origins:
        raise NotPossible("A cause cannot be merged into itself; choose another one.")
    with transaction.atomic():
        _lock_causes([*origins, into])
        target = next(row for row in locked([*origins, into], by) if row.id == into)

        def check(row: CaseRow) -> Changes:
            if (row.rule, row.entity_id) != (target.rule, target.entity_id):
                raise NotPossible(
                    f"“{row.sentence}” is stopped by another rule or in another entity; it is another cause."
                )
            return {"state": MERGED, "merged_into": into, "aside": ""}

        def move(rows: Sequence[CaseRow]) -> Mapping[int, Changes]:
            ids = [row.id for row in rows]
            aside = {table: sql.running(table, ids) for table in ("snooze", "ignore")}
            for row in rows:
                if not sql.move_holds(row.id, into):
                    raise NotPossible(f"“{row.sentence}” holds no entry, so there is nothing to merge.")
            sql.end_of(ids, "It was merged into another cause.")
            cases.recount([*ids, into])
            return {
                case_id: {table: found[case_id] for table, found in aside.items() if case_id in found}
                for case_id in ids
            }

        words = f"merged into EX-{into} “{target.sentence.rstrip('.')}”"
        decision = decide(Decision.Kind.MERGE, origins, check, by=by, words=words, reason=reason, after=move)
        case_sql.remember([into], "~", f"{', '.join(f'EX-{one}' for one in origins)} merged into it", by.pk)
    return decision


def unmerge(case_ids: Sequence[int], *, by: User, reason: str = "") -> Decision:
    """Take merges apart: each cause has its own holds again; one that has none by now is resolved."""
    with transaction.atomic():
        _lock_causes(case_ids)

        def give_back(rows: Sequence[CaseRow]) -> Mapping[int, Changes]:
            take_apart([row.id for row in rows])
            return {}

        return decide(
            Decision.Kind.UNMERGE, case_ids, lambda _row: {"state": OPEN, "merged_into": None},
            by=by, words="the merge was taken apart", reason=reason, after=give_back, states=frozenset({MERGED}),
        )  # fmt: skip


def take_apart(case_ids: Sequence[int]) -> None:
    """Give causes that are open again their own holds back, and count all that are touched."""
    sql.change(case_ids, {"closed_at": [None] * len(case_ids)})
    left = {case_id for one in case_ids for case_id in sql.take_back_holds(one)}
    cases.recount({*case_ids, *left})


def _lock_causes(case_ids: Sequence[int]) -> None:
    """Let no batch open what is being merged meanwhile."""
    found = ExceptionCase.objects.filter(pk__in=case_ids).values_list(
        "rule", "entity_id", "subject_type", "subject_key"
    )
    opening.lock_causes([opening.Cause(*row) for row in found])
