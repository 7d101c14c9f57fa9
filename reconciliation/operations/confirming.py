"""A planned operation is let go: by the person who saw its dry-run, while that still holds."""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone

from portal import access, audit
from portal.models import User
from portal.sql import now
from reconciliation.fixes import FIXES
from reconciliation.models import Operation
from reconciliation.operations.applying import OperationRefused
from reconciliation.sql import operations as sql


def confirm(operation: Operation, *, user: User, reason: str = "") -> Operation:
    """Let the planned operation run. Only the person who saw its preview confirms it; the worker picks it up.

    Raises OperationRefused when a reason is missing, when an entry changed since the preview, or when it runs already.
    """
    fix = FIXES[operation.fix]()
    access.require(user, fix.roles, operation.entity_id)
    reason = (reason or operation.reason).strip()
    if fix.needs_reason and not reason:
        raise OperationRefused("Say why: the reason is kept with every entry.")
    if operation.created_by_id != user.pk:
        raise OperationRefused("Somebody else planned this; open the fix yourself to see its preview first.")
    with transaction.atomic():
        refuse_where_under_way(operation)
        moved = sql.moved_since_frozen(operation.pk)
        if moved:
            raise OperationRefused(f"{moved} of {operation.total} entries changed since the preview; look at it again.")
        confirmed = Operation.objects.filter(pk=operation.pk, state=Operation.State.PLANNED).update(
            state=Operation.State.RUNNING, confirmed_at=now(), reason=reason
        )
        if not confirmed:
            raise OperationRefused("This operation was confirmed or cancelled before.")
        operation.refresh_from_db()
        audit.record(
            user, f"operation.{operation.fix}", operation, entity=operation.entity_id, reason=reason,
            after={
                "what": operation.title, "entries": operation.total, "parameters": operation.parameters,
                "preview": operation.preview,
            },
        )  # fmt: skip
    return operation


def refuse_where_under_way(operation: Operation) -> None:
    """Refuse to let an operation go while another one is at work on some of its entries, and say whose that is.

    Operations of an entity begin one after the other from here to the end of the transaction, so that of two that are let go at
    once the second sees the first. Raises OperationRefused.
    """
    sql.hold_desk(operation.entity_id)
    for other in sql.at_work_on_the_same(operation.pk):
        since = timezone.localtime(other.since)
        raise OperationRefused(
            f"{other.entries:,} of {operation.total:,} entries are in progress by {other.person} since {since:%H:%M}:"
            f" “{other.title}”. Look again when that is done."
        )
