"""Taking the last decision back: for seconds, by the person who took it, and only while it still holds everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import transaction

from portal import sql as portal_sql
from portal.models import User
from reconciliation.models import Decision
from reconciliation.sql import cases as case_sql
from reconciliation.sql import triage as sql
from reconciliation.triage.deciding import MERGED, OPEN, UNDO_SECONDS, NotPossible, locked, note, value_of, write
from reconciliation.triage.merging import take_apart

GRACE = timedelta(seconds=5)  # for the way between the browser and here
ROWS = ("snooze", "ignore")
UNDOABLE = frozenset(Decision.Kind) - {Decision.Kind.UNMERGE}


def last_decision(by: User) -> Decision | None:
    """The person's last decision that could still be taken back."""
    since = portal_sql.now() - timedelta(seconds=UNDO_SECONDS) - GRACE
    return Decision.objects.filter(by=by, undone_at=None, at__gte=since, kind__in=UNDOABLE).order_by("-pk").first()


def undo(decision_id: int, *, by: User) -> Decision:
    """Take a decision back: every case it touched is as before.

    Raises PermissionDenied for somebody else's; NotPossible when it is too late, was taken back already, or when one of the
    cases was decided about or changed meanwhile. Then nothing is taken back.
    """
    with transaction.atomic():
        decision = Decision.objects.select_for_update().filter(pk=decision_id).first()
        if decision is None or decision.by_id != by.pk:
            raise PermissionDenied("Only the person who decided can take it back.")
        if decision.undone_at is not None:
            raise NotPossible("That was taken back already.")
        if decision.kind not in UNDOABLE or portal_sql.now() - decision.at > timedelta(seconds=UNDO_SECONDS) + GRACE:
            raise NotPossible(f"That can be taken back for {UNDO_SECONDS} seconds only; decide anew instead.")
        _take_back(decision, by)
        decision.undone_at = portal_sql.now()
        decision.save(update_fields=["undone_at"])
    return decision


def _take_back(decision: Decision, by: User) -> None:
    touched = {one.case_id: one for one in decision.cases.all()}
    found = locked(list(touched), by, states=frozenset({MERGED if decision.kind == Decision.Kind.MERGE else OPEN}))
    moved = [
        row for row in found
        if any(value_of(row, name) != value for name, value in touched[row.id].after.items() if name not in ROWS)
    ]  # fmt: skip
    if moved or sql.decided_since(decision.pk):
        first = moved[0].sentence if moved else found[0].sentence
        raise NotPossible(f"“{first}” changed meanwhile; nothing was taken back. Look at it again.")
    before = {row.id: touched[row.id].before for row in found}
    write(before)
    _rows_again(decision, touched)
    if decision.kind == Decision.Kind.MERGE:
        take_apart(list(touched))
    case_sql.remember(list(touched), "~", f"Taken back: {decision.words}", by.pk)
    note(decision, found, by=by, reason=f"Taken back: {decision.words}", after=before, action="triage.undone")


def _rows_again(decision: Decision, touched: Mapping[int, Any]) -> None:
    """What was snoozed or ignored by it ends; what it ended runs again."""
    if decision.kind in {Decision.Kind.SNOOZE, Decision.Kind.IGNORE}:
        sql.end_of(list(touched), "The decision was taken back.")
    for table in ROWS:
        ended = [one.after[table] for one in touched.values() if table in one.after]
        if ended and decision.kind in {Decision.Kind.WAKE, Decision.Kind.STOP_IGNORING, Decision.Kind.MERGE}:
            sql.run_again(table, ended)
