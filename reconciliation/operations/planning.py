"""What a fix would do: the rows that it reaches, frozen, and what its dry-run promises of each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from django.db import transaction

from portal import access, sql
from portal.models import State, User
from reconciliation.fixes import FIXES, Fix, RowOutcome, Work, outcomes
from reconciliation.models import ExceptionCase, Operation
from reconciliation.operations.applying import NothingToFix, OperationRefused, dry_run

LEFT_OUT: dict[str, str] = {
    State.HELD: "held, and not for what this fix mends",
    State.READY: "ready, so nothing stops them",
    State.SENDING: "on their way to the target; wait until the outcome is known",
    State.IN_DOUBT: "in doubt; check in the ERP first",
    State.ACCEPTED: "in the ERP's books already; only a reversal changes what is booked",
    State.POSTED: "posted; only a reversal changes what is booked",
    State.RECONCILED: "reconciled; only a reversal changes what is booked",
    State.REJECTED: "refused by the target; re-post them once the cause is gone",
    State.REVERSED: "taken back already",
    State.CANCELLED: "off the ledger already",
}  # why a fix does not reach entries in a state


def fixable(fix: Fix, case: ExceptionCase | None, entry_ids: Sequence[int] | None) -> dict[int, int]:
    """The entries a fix can be used on, with their fences: all that the case holds, or those given."""
    states = [str(state) for state in fix.states]
    if entry_ids is None:
        if case is None:
            raise OperationRefused("Say which entries: a cause or a selection.")
        statement = """
            SELECT s.entry_id, s.fence FROM portal_ledgerstate s
              JOIN reconciliation_hold h ON h.entry_id = s.entry_id AND h.closed_at IS NULL
             WHERE h.case_id = %s AND s.state = ANY(%s) ORDER BY s.entry_id"""
        return dict(sql.rows(statement, [case.pk, states]))
    statement = "SELECT entry_id, fence FROM portal_ledgerstate WHERE entry_id = ANY(%s) AND state = ANY(%s) ORDER BY 1"
    return dict(sql.rows(statement, [list(entry_ids), states]))


def left_out(fix: Fix, case: ExceptionCase | None, entry_ids: Sequence[int] | None) -> list[dict[str, Any]]:
    """The entries of the selection that a fix does not reach: how many stand in which state, and why that is so."""
    states = [str(state) for state in fix.states]
    if entry_ids is None:
        statement = """
            SELECT s.state, count(DISTINCT s.entry_id) FROM portal_ledgerstate s
              JOIN reconciliation_hold h ON h.entry_id = s.entry_id AND h.closed_at IS NULL
             WHERE h.case_id = %s AND s.state <> ALL(%s) GROUP BY s.state ORDER BY s.state"""
        found = sql.rows(statement, [case.pk if case else None, states])
    else:
        statement = """
            SELECT state, count(*) FROM portal_ledgerstate
             WHERE entry_id = ANY(%s) AND state <> ALL(%s) GROUP BY state ORDER BY state"""
        found = sql.rows(statement, [list(entry_ids), states])
    return [{"state": state, "entries": count, "why": LEFT_OUT[state]} for state, count in found]


def plan(
    code: str,
    *,
    user: User,
    parameters: Mapping[str, Any],
    reason: str = "",
    case: ExceptionCase | None = None,
    entry_ids: Sequence[int] | None = None,
) -> Operation:
    """Freeze the rows, dry-run the fix and keep what it promises. Nothing else changes.

    Raises PermissionDenied without a role of the fix in the entity, and NothingToFix when no row qualifies.
    """
    fix = FIXES[code]()
    rows = fixable(fix, case, entry_ids)
    if not rows:
        raise NothingToFix(f"“{fix.label}” can be used on no entry of this selection any more; look at the list again.")
    entity_id = _one_entity(list(rows))
    access.require(user, fix.roles, entity_id)
    if case is not None and case.entity_id != entity_id:
        raise OperationRefused("The entries are of another legal entity than the cause; choose entries of the cause.")
    work = Work(user, reason or fix.label, parameters, case, entity_id)
    before = outcomes(list(rows))
    after = dry_run(fix, work, list(rows))
    with transaction.atomic():
        operation = Operation.objects.create(
            fix=code, title=fix.title(work, len(rows))[:300], parameters=dict(parameters), case=case, entity_id=entity_id,
            created_by=user, created_at=sql.now(), reason=reason, total=len(rows),
            preview={**_preview(before, after), "left_out": left_out(fix, case, entry_ids)},
        )  # fmt: skip
        sql.copy_in(
            "reconciliation_operationrow",
            ("operation_id", "entry_id", "fence", "promised", "will_pass", "amount_after", "currency_after", "result",
             "message"),
            (
                [operation.pk, entry_id, fence, after[entry_id].sentence[:300], after[entry_id].passes,
                 after[entry_id].amount, after[entry_id].currency, "pending", ""]
                for entry_id, fence in rows.items()
            ),
        )  # fmt: skip
    return operation


def _one_entity(entry_ids: Sequence[int]) -> int:
    entities = [
        row[0]
        for row in sql.rows("SELECT DISTINCT entity_id FROM portal_ledgerentry WHERE id = ANY(%s)", [list(entry_ids)])
    ]
    if len(entities) != 1:
        raise OperationRefused("The selection spans several legal entities; fix one entity at a time.")
    return int(entities[0])


def _preview(before: Mapping[int, RowOutcome], after: Mapping[int, RowOutcome]) -> dict[str, Any]:
    money: dict[str, dict[str, Decimal]] = defaultdict(
        lambda: {"before": Decimal(0), "after": Decimal(0), "passing": Decimal(0)}
    )
    for outcome in before.values():
        if outcome.amount is not None:
            money[outcome.currency]["before"] += outcome.amount
    for outcome in after.values():
        if outcome.amount is not None:
            money[outcome.currency]["after"] += outcome.amount
            if outcome.passes:
                money[outcome.currency]["passing"] += outcome.amount
    still: dict[str, int] = defaultdict(int)
    for outcome in after.values():
        if not outcome.passes:
            still[outcome.sentence] += 1
    return {
        "passes": sum(outcome.passes for outcome in after.values()),
        "still_held": sum(not outcome.passes for outcome in after.values()),
        "hours": str(sum((outcome.hours for outcome in after.values()), Decimal(0))),
        "money": {
            currency: {name: str(value) for name, value in sums.items()} for currency, sums in sorted(money.items())
        },
        "still": [list(pair) for pair in sorted(still.items(), key=lambda pair: -pair[1])[:10]],
    }
