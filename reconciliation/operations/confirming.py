"""A planned operation is let go: by the person who saw its dry-run, while that still holds."""

from __future__ import annotations

from django.db import transaction

from portal import access, audit, sql
from portal.models import User
from reconciliation.fixes import FIXES
from reconciliation.models import Operation
from reconciliation.operations.applying import OperationRefused


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
    moved = _moved_since(operation)
    if moved:
        raise OperationRefused(f"{moved} of {operation.total} entries changed since the preview; look at it again.")
    with transaction.atomic():
        confirmed = Operation.objects.filter(pk=operation.pk, state=Operation.State.PLANNED).update(
            state=Operation.State.RUNNING, confirmed_at=sql.now(), reason=reason
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


def _moved_since(operation: Operation) -> int:
    statement = """
        SELECT count(*) FROM reconciliation_operationrow r JOIN portal_ledgerstate s ON s.entry_id = r.entry_id
         WHERE r.operation_id = %s AND r.result = 'pending' AND s.fence <> r.fence"""
    return int(sql.rows(statement, [operation.pk])[0][0])
