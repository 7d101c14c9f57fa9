"""What a fix would do: the rows that it reaches, frozen, and what its dry-run promises of each."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

from django.conf import settings
from django.db import transaction

from portal import access, sql
from portal.models import State, User
from reconciliation.fixes import FIXES, Fix, RowOutcome, Work, outcomes
from reconciliation.models import ExceptionCase, Operation
from reconciliation.operations.applying import CHUNK, NothingToFix, OperationRefused, dry_run
from reconciliation.sql import taken_back as billed_sql

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

SUMS = ("before", "after", "passing", "weight")  # of a preview's money, by currency


def fixable(fix: Fix, case: ExceptionCase | None, entry_ids: Sequence[int] | None) -> dict[int, int]:
    """The entries a fix can be used on, with their fences: all that the case holds, or those given."""
    statement, values = _reaching(fix, case, entry_ids)
    return dict(sql.rows(f"SELECT DISTINCT s.entry_id, s.fence {statement} ORDER BY s.entry_id", values))


def count_fixable(fix: Fix, case: ExceptionCase | None, entry_ids: Sequence[int] | None = None) -> int:
    """How many entries a fix can be used on."""
    statement, values = _reaching(fix, case, entry_ids)
    return int(sql.rows(f"SELECT count(DISTINCT s.entry_id) {statement}", values)[0][0])


def _reaching(fix: Fix, case: ExceptionCase | None, entry_ids: Sequence[int] | None) -> tuple[str, list[Any]]:
    states = [str(state) for state in fix.states]
    if entry_ids is not None:
        return "FROM portal_ledgerstate s WHERE s.entry_id = ANY(%s) AND s.state = ANY(%s)", [list(entry_ids), states]
    if case is None:
        raise OperationRefused("Say which entries: a cause or a selection.")
    held = """FROM portal_ledgerstate s JOIN reconciliation_hold h ON h.entry_id = s.entry_id AND h.closed_at IS NULL
               WHERE h.case_id = %s AND s.state = ANY(%s)"""
    return held, [case.pk, states]


def is_large(fix: Fix, case: ExceptionCase | None, entry_ids: Sequence[int] | None) -> bool:
    """Whether a fix reaches more entries than a request may dry-run."""
    return count_fixable(fix, case, entry_ids) > settings.PLAN_AT_ONCE


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


class Invoiced(NamedTuple):
    """How many of the rows stand on bills, and on which for how much; only of a fix that takes back what is booked."""

    entries: int
    bills: Sequence[billed_sql.OnBill]


@dataclass(frozen=True, slots=True)
class Look:
    """What a fix would do at one moment: the rows with their fences, where each stands before and after, and on which bills."""

    rows: Mapping[int, int]
    before: Mapping[int, RowOutcome]
    after: Mapping[int, RowOutcome]
    invoiced: Invoiced

    def fingerprint(self, code: str, parameters: Mapping[str, Any]) -> str:
        """What identifies exactly this promise: rows, fences, parameters, and each row's outcome with its money."""
        promise = [
            [entry_id, fence, after.passes, after.sentence, str(after.amount), after.currency, after.project]
            for entry_id, fence in sorted(self.rows.items())
            for after in (self.after[entry_id],)
        ]
        bills = [[[bill.bill_id, str(bill.amount), bill.currency] for bill in self.invoiced.bills]]
        text = json.dumps(
            [code, parameters, promise, *(bills if self.invoiced.bills else ())], sort_keys=True, ensure_ascii=False, default=str
        )  # fmt: skip
        return hashlib.sha256(text.encode()).hexdigest()


def look(fix: Fix, work: Work, rows: Mapping[int, int], *, seen: Callable[[int], None] = lambda _count: None) -> Look:
    """Dry-run the fix on these rows; `seen` is told how many are behind it."""
    ids = list(rows)
    before: dict[int, RowOutcome] = {}
    for start in range(0, len(ids), CHUNK):
        before |= outcomes(ids[start : start + CHUNK])
    on_bills = Invoiced(*billed_sql.on_bills(ids)) if fix.takes_back else Invoiced(0, ())
    return Look(rows, before, dry_run(fix, work, ids, seen=seen), on_bills)


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

    Where that is more than a request may take, the rows are frozen now and a worker dry-runs them: the operation is PLANNING.
    Raises PermissionDenied without a role of the fix in the entity, and NothingToFix when no row qualifies.
    """
    fix = FIXES[code]()
    rows = fixable(fix, case, entry_ids)
    if not rows:
        raise NothingToFix(f"“{fix.label}” can be used on no entry of this selection any more; look at the list again.")
    refusal = fix.refuses(parameters, len(rows))
    if refusal:
        raise OperationRefused(refusal)
    entity_id = _one_entity(list(rows))
    access.require(user, fix.roles, entity_id)
    if case is not None and case.entity_id != entity_id:
        raise OperationRefused("The entries are of another legal entity than the cause; choose entries of the cause.")
    work = Work(user, reason or fix.label, parameters, case, entity_id)
    found = look(fix, work, rows) if len(rows) <= settings.PLAN_AT_ONCE else None
    with transaction.atomic():
        operation = Operation.objects.create(
            fix=code, title=fix.title(work, len(rows))[:300], parameters=dict(parameters), case=case, entity_id=entity_id,
            created_by=user, created_at=sql.now(), reason=reason, total=len(rows), reach=_reach(case, entry_ids),
        )  # fmt: skip
        if found is not None:
            freeze(operation, fix, found, entry_ids)
        else:
            _copy_rows(operation, rows, {})
            defer(operation)
    return operation


def defer(operation: Operation, **asked: Any) -> None:
    """Leave the dry-run to a worker, and with it what a person `asked` for: to be done if the numbers are those shown."""
    operation.state, operation.planned, operation.asked, operation.moved = Operation.State.PLANNING, 0, asked, {}
    operation.lease_until = None
    operation.save(update_fields=["state", "planned", "asked", "moved", "lease_until"])


def _reach(case: ExceptionCase | None, entry_ids: Sequence[int] | None) -> str:
    if entry_ids is None:
        return Operation.Reach.ALL
    return Operation.Reach.ONE if case is None and len(entry_ids) == 1 else Operation.Reach.SELECTED


def freeze(operation: Operation, fix: Fix, found: Look, entry_ids: Sequence[int] | None) -> None:
    """Keep the rows of an operation and what its dry-run promises of them, in place of an earlier dry-run."""
    operation.rows.all().delete()
    operation.total = len(found.rows)
    operation.title = fix.title(_work(operation, fix), operation.total)[:300]
    operation.preview = {
        **preview_of(found),
        "left_out": left_out(fix, operation.case, entry_ids),
        "booked": _booked(list(found.rows)),
        "invoiced": _invoiced(found.invoiced),
    }
    operation.fingerprint = found.fingerprint(operation.fix, operation.parameters)
    operation.save(update_fields=["total", "title", "preview", "fingerprint"])
    _copy_rows(operation, found.rows, found.after)


NOT_SEEN = RowOutcome(False, "", None, Decimal(0), None, "")  # of a row that the dry-run has yet to come to


def _copy_rows(operation: Operation, rows: Mapping[int, int], after: Mapping[int, RowOutcome]) -> None:
    """Write the rows with their fences and what the dry-run promises of each, as far as it has come."""
    sql.copy_in(
        "reconciliation_operationrow",
        ("operation_id", "entry_id", "fence", "promised", "will_pass", "amount_after", "currency_after", "project_after",
         "result", "message"),
        (
            [operation.pk, entry_id, fence, one.sentence[:300], one.passes, one.amount, one.currency, one.project,
             "pending", ""]
            for entry_id, fence in rows.items()
            for one in (after.get(entry_id, NOT_SEEN),)
        ),
    )  # fmt: skip


def look_again(
    operation: Operation, *, seen: Callable[[int], None] = lambda _count: None
) -> tuple[Look, Sequence[int] | None]:
    """The operation's fix on the rows that it reaches now, as the person who planned it; and the ids that it was given.

    `seen` is told how many rows are behind it. Raises NothingToFix when none is left.
    """
    fix, given = FIXES[operation.fix](), given_to(operation)
    rows = fixable(fix, operation.case, given)
    if not rows:
        raise NothingToFix(f"“{fix.label}” can be used on none of these entries any more; somebody else was faster.")
    return look(fix, _work(operation, fix), rows, seen=seen), given


def given_to(operation: Operation) -> list[int] | None:
    """The entries that an operation was planned for; None where it is for whatever its cause holds."""
    if operation.reach == Operation.Reach.ALL and operation.case_id is not None:
        return None
    return list(operation.rows.order_by("entry_id").values_list("entry_id", flat=True))


def _work(operation: Operation, fix: Fix) -> Work:
    return Work(
        operation.created_by, operation.reason or fix.label, operation.parameters, operation.case, operation.entity_id
    )


def _one_entity(entry_ids: Sequence[int]) -> int:
    entities = [
        row[0]
        for row in sql.rows("SELECT DISTINCT entity_id FROM portal_ledgerentry WHERE id = ANY(%s)", [list(entry_ids)])
    ]
    if len(entities) != 1:
        raise OperationRefused("The selection spans several legal entities; fix one entity at a time.")
    return int(entities[0])


def _booked(entry_ids: Sequence[int]) -> dict[str, int]:
    """How far the books know the entries' documents: nothing yet, or posted, so that a correction takes a reversal."""
    statement = """
        SELECT CASE WHEN NOT EXISTS (
                 SELECT 1 FROM (SELECT x.* FROM portal_ledgerentry x WHERE x.document_id = e.document_id OFFSET 0) o
                  CROSS JOIN LATERAL (SELECT state FROM portal_ledgerstate WHERE entry_id = o.id OFFSET 0) os
                  WHERE o.target_id = e.target_id AND o.reverses_id IS NULL
                    AND os.state IN ('accepted', 'posted', 'reconciled')) THEN 'unposted' ELSE 'posted' END AS far, count(*)
          FROM portal_ledgerentry e WHERE e.id = ANY(%s) GROUP BY far"""
    return dict(sql.rows(statement, [list(entry_ids)]))


def _invoiced(found: Invoiced) -> dict[str, Any]:
    """What of the rows stands on bills, as the preview keeps it: how many entries, and each bill with its money."""
    return {
        "entries": found.entries,
        "bills": [
            {"id": bill.bill_id, "number": bill.number, "entries": bill.entries, "amount": str(bill.amount),
             "currency": bill.currency}
            for bill in found.bills
        ],
    }  # fmt: skip


def preview_of(found: Look) -> dict[str, Any]:
    """The totals of a dry-run: what passes, what is still held and why, hours, and money before and after by currency.

    `weight` is what a person decides about: each row's larger amount, without its sign.
    """
    money: dict[str, dict[str, Decimal]] = defaultdict(lambda: dict.fromkeys(SUMS, Decimal(0)))
    still: dict[str, int] = defaultdict(int)
    for entry_id, after in found.after.items():
        before = found.before[entry_id]
        if before.amount is not None:
            money[before.currency]["before"] += before.amount
        if after.amount is not None:
            money[after.currency]["after"] += after.amount
            if after.passes:
                money[after.currency]["passing"] += after.amount
        heavy = before if abs(before.amount or Decimal(0)) > abs(after.amount or Decimal(0)) else after
        if heavy.amount is not None:
            money[heavy.currency]["weight"] += abs(heavy.amount)
        if not after.passes:
            still[after.sentence] += 1
    return {
        "passes": sum(outcome.passes for outcome in found.after.values()),
        "still_held": sum(not outcome.passes for outcome in found.after.values()),
        "hours": str(sum((outcome.hours for outcome in found.after.values()), Decimal(0))),
        "money": {
            currency: {name: str(value) for name, value in sums.items()} for currency, sums in sorted(money.items())
        },
        "still": [list(pair) for pair in sorted(still.items(), key=lambda pair: -pair[1])[:10]],
    }
