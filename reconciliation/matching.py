"""Reconciliation of an entity and period: the tracker against the ledger, and the ledger against what the target says.

The rule here: every document, every receipted entry and every line of the target gets a result, matched ones too, so that
what is not there shows as well as what differs. A surplus is as loud as a shortage. Only what matched moves an entry, and a
run that is repeated finds the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import transaction

from portal import ledger
from portal import sql as portal_sql
from portal.models import AccountingPeriod, LegalEntity, User
from reconciliation import cases
from reconciliation.models import ReconciliationResult, ReconciliationRun
from reconciliation.sql import matching as sql

RULE = "out-of-balance"
ACTOR = "reconciliation"
_AT_ONCE = 10_000
Outcome = ReconciliationResult.Outcome
Leg = ReconciliationResult.Leg
SETTLED = frozenset({Outcome.MATCHED, Outcome.OPEN})


def run(
    entity: LegalEntity,
    period: AccountingPeriod,
    user: User | None = None,
    *,
    targets: Mapping[int, Decimal] | None = None,
    read_at: datetime | None = None,
) -> ReconciliationRun:
    """Compare an entity's period with the statements as last read, and keep what was found.

    `targets` are ids of targets with the hours that their own unit cannot tell apart (all of the entity's, exactly, when not
    given); `read_at` is when their statements were read. Balanced means that nothing is left but what matches or only waits.
    """
    found = ReconciliationRun.objects.create(
        entity=entity, period=period, started_at=portal_sql.now(), requested_by=user, statement_read_at=read_at
    )
    return compare(found, targets=targets)


def compare(found: ReconciliationRun, *, targets: Mapping[int, Decimal] | None = None) -> ReconciliationRun:
    """Do the comparison of a run that stands as RUNNING; it ends with it, whatever is found."""
    try:
        with transaction.atomic():
            _compare(found, targets)
    except Exception as error:
        found.state = ReconciliationRun.State.FAILED
        found.failure = f"{type(error).__name__}: {error}"
        found.finished_at = portal_sql.now()
        found.save()
        raise
    return found


def fail(entity: LegalEntity, period: AccountingPeriod, user: User | None, reason: str) -> ReconciliationRun:
    """Note that a period could not be compared, and why: no statement is no proof."""
    now = portal_sql.now()
    return ReconciliationRun.objects.create(
        entity=entity, period=period, started_at=now, finished_at=now, requested_by=user,
        state=ReconciliationRun.State.FAILED, failure=reason,
    )  # fmt: skip


def request(entity: LegalEntity, period: AccountingPeriod, user: User) -> ReconciliationRun:
    """Ask for a comparison: the RUNNING row is the question, and whoever can read statements answers it.

    A question that is open already is given back instead of a second one.
    """
    with transaction.atomic():
        AccountingPeriod.objects.select_for_update().get(pk=period.pk)
        waiting = ReconciliationRun.objects.filter(pk__in=requested(), period=period).order_by("-pk").first()
        if waiting is not None:
            return waiting
        return ReconciliationRun.objects.create(
            entity=entity, period=period, started_at=portal_sql.now(), requested_by=user
        )


def requested() -> list[int]:
    """Comparisons that people asked for and that have not ended, oldest first."""
    open_ones = ReconciliationRun.objects.filter(state=ReconciliationRun.State.RUNNING, requested_by__isnull=False)
    return list(open_ones.order_by("pk").values_list("pk", flat=True))


def give_up(found: ReconciliationRun, reason: str) -> ReconciliationRun:
    """End a run that could not be compared, and say why."""
    found.state, found.failure = ReconciliationRun.State.FAILED, reason
    found.finished_at = portal_sql.now()
    found.save(update_fields=["state", "failure", "finished_at"])
    return found


def _compare(found: ReconciliationRun, targets: Mapping[int, Decimal] | None) -> None:
    entity_id, start, end = found.entity_id, found.period.starts_on, found.period.ends_on
    if targets is None:
        targets = dict.fromkeys(sql.targets_of(entity_id, start, end), Decimal(0))
    if found.statement_read_at is None:
        found.statement_read_at = sql.statement_read_at(entity_id, list(targets), start, end)
    sql.compare_tracker_with_ledger(found.pk, entity_id, start, end)
    sql.compare_ledger_with_target(found.pk, entity_id, targets, start, end)
    found.totals = _totals(found.pk)
    differing = sum(leg["differing"] for leg in found.totals.values())
    found.state = ReconciliationRun.State.OUT_OF_BALANCE if differing else ReconciliationRun.State.BALANCED
    _move_matched(found)
    _tell(found)
    found.finished_at = portal_sql.rows("SELECT clock_timestamp()")[0][0]
    found.save()


def _totals(run_id: int) -> dict[str, dict[str, Any]]:
    """Per leg: rows by outcome, how many are matched, open and differing, and hours and money of both sides."""
    legs: dict[str, dict[str, Any]] = {}
    hours: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    money: dict[tuple[str, str, str], Decimal] = defaultdict(Decimal)
    for leg in Leg.values:
        legs[leg] = {"outcomes": {}, "matched": 0, "open": 0, "differing": 0}
    for leg, outcome, currency, rows, hours_left, hours_right, amount_left, amount_right in sql.totals(run_id):
        totals = legs[leg]
        totals["outcomes"][outcome] = totals["outcomes"].get(outcome, 0) + rows
        totals[outcome if outcome in SETTLED else "differing"] += rows
        hours[leg, "left"] += hours_left
        hours[leg, "right"] += hours_right
        if currency:
            money[leg, currency, "left"] += amount_left
            money[leg, currency, "right"] += amount_right
    for leg, totals in legs.items():
        totals["hours"] = {side: str(hours[leg, side]) for side in ("left", "right")}
        totals["money"] = {
            currency: {side: str(money[leg, currency, side]) for side in ("left", "right")}
            for currency in sorted({key[1] for key in money if key[0] == leg})
        }
    return legs


def _move_matched(found: ReconciliationRun) -> None:
    """POSTED → RECONCILED for what the target's statement holds as it was posted."""
    after = 0
    while refs := sql.matched_and_posted(found.pk, after, _AT_ONCE):
        ledger.reconcile(refs, actor=ACTOR, reason=f"matched in run {found.pk}")
        after = refs[-1][0]


def _tell(found: ReconciliationRun) -> None:
    """Keep one case per kind of difference, and close those of earlier runs whose difference is gone."""
    prefix = f"{found.period_id}:"
    cases.close_hold_rows(sql.outdated_holds(RULE, prefix, found.pk), reason=f"ties out in run {found.pk}")
    differing = sql.differing(found.pk)
    keys = {f"{prefix}{leg}:{outcome}" for leg, outcome, _, _, _ in differing}
    for key in sql.open_keys(RULE, prefix):
        if key not in keys:
            cases.resolve(RULE, "comparison", key, entity_id=found.entity_id, reason=f"ties out in run {found.pk}")
    for leg, outcome, count, entries, reasons in differing:
        between, what = Leg(leg).label, Outcome(outcome).label.lower()
        rows = "one row" if count == 1 else f"{count} rows"
        cases.raise_case(
            RULE,
            found.entity_id,
            "comparison",
            f"{prefix}{leg}:{outcome}",
            f"{found.entity} {found.period.code}, {between}: {rows} {what}. {' '.join(reasons)}".strip(),
            entries=entries,
            detail={"run_id": found.pk, "period_id": found.period_id, "leg": leg, "outcome": outcome, "rows": count},
        )
