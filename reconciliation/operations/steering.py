"""What a person does to an operation that was let go: stop what is not yet done, or try again what failed."""

from __future__ import annotations

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Coalesce

from portal import access, audit
from portal.models import User
from reconciliation.fixes import FIXES
from reconciliation.models import Operation
from reconciliation.operations.applying import NothingToFix, OperationRefused
from reconciliation.operations.following import Phase, with_phase
from reconciliation.operations.planning import plan
from reconciliation.sql import operations as sql

REPOST = "re-post"


def cancel(operation: Operation, *, user: User) -> Operation:
    """Stop what no worker has begun; what is done stays done, and a chunk that is open is finished first.

    It never waits for the worker: while one is in the middle of a chunk the operation is still running, and ends with it.
    """
    access.require(user, FIXES[operation.fix].roles, operation.entity_id)
    with transaction.atomic():
        if not sql.ask_to_stop(operation.pk):
            operation.refresh_from_db()
            if operation.finished_at is None:
                raise OperationRefused("It is being stopped already.")
            raise OperationRefused(f"The operation is {operation.get_state_display().lower()} already.")
        if sql.try_hold(operation.pk):
            sql.close_if_over(operation.pk)
        operation.refresh_from_db()
        audit.record(
            user, "operation.cancelled", operation, entity=operation.entity_id, reason=operation.reason,
            after={"what": operation.title, "done": operation.done, "failed": operation.failed, "of": operation.total},
        )  # fmt: skip
    return operation


def retry_failed(operation: Operation, *, user: User) -> Operation:
    """Plan exactly the rows again that failed or were skipped, with a preview of their own.

    What the target refused after the fix went well is not fixed again: it is posted again, once nothing else is left.
    """
    access.require(user, FIXES[operation.fix].roles, operation.entity_id)
    failed = with_phase(operation.rows.all()).filter(phase__in=[Phase.FAILED, Phase.SKIPPED])
    ids = list(failed.order_by("id").values_list(Coalesce(F("successor_id"), F("entry_id")), flat=True))
    if not ids:
        raise NothingToFix("Nothing of this operation failed.")
    again = {
        "user": user, "parameters": operation.parameters, "reason": operation.reason, "case": operation.case,
        "entry_ids": ids,
    }  # fmt: skip
    try:
        return plan(operation.fix, **again)
    except NothingToFix:
        if operation.fix == REPOST:
            raise
        return plan(REPOST, **{**again, "parameters": {}, "case": None})
