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
from reconciliation.sql import runs

RULE = "out-of-balance"
ACTOR = "reconciliation"
LEASE_SECONDS = 120.0  # of a worker on one comparison, renewed while statements are read
_AT_ONCE = 10_000
Outcome = ReconciliationResult.Outcome
Leg = ReconciliationResult.Leg
SETTLED = frozenset({Outcome.MATCHED, Outcome.OPEN})


class RunLost(Exception):
    """Another worker has taken the run over, because the lease was over; what it finds counts."""


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
    found = begin(entity, period, user)
    found.statement_read_at = read_at
    return compare(found, targets=targets)


def compare(found: ReconciliationRun, *, targets: Mapping[int, Decimal] | None = None) -> ReconciliationRun:
    """Do the comparison of a run that this worker holds; it ends with it, whatever is found. Raises RunLost."""
    try:
        with transaction.atomic():
            _keep(found)
            _compare(found, targets)
    except RunLost:
        raise
    except Exception as error:
        give_up(found, f"{type(error).__name__}: {error}")
        raise
    return found


def _keep(found: ReconciliationRun) -> None:
    if not runs.lock(found.pk, found.fence):
        raise RunLost(f"Run {found.pk} was taken over.")


def begin(entity: LegalEntity, period: AccountingPeriod, user: User | None = None) -> ReconciliationRun:
    """A run that this worker does itself, under a lease; should the worker die, the sweeper has another go on with it."""
    found = ReconciliationRun.objects.create(
        entity=entity, period=period, started_at=portal_sql.now(), requested_by=user
    )
    runs.take(found.pk, LEASE_SECONDS)
    return ReconciliationRun.objects.select_related("entity", "period").get(pk=found.pk)


def request(entity: LegalEntity, period: AccountingPeriod, user: User) -> ReconciliationRun:
    """Ask for a comparison: the RUNNING row is the question, and whoever can read statements answers it.

    A question that is open already is given back instead of a second one.
    """
    with transaction.atomic():
        AccountingPeriod.objects.select_for_update().get(pk=period.pk)
        running = ReconciliationRun.objects.filter(period=period, state=ReconciliationRun.State.RUNNING)
        return running.order_by("-pk").first() or ReconciliationRun.objects.create(
            entity=entity, period=period, started_at=portal_sql.now(), requested_by=user
        )


def requested() -> list[int]:
    """Comparisons that have not ended and that no living worker has, whoever asked for them; the oldest first."""
    return runs.due()


def take(run_id: int) -> ReconciliationRun | None:
    """Lease a run to this worker; None when it has ended, waits, or another worker has it."""
    if not runs.take(run_id, LEASE_SECONDS):
        return None
    return ReconciliationRun.objects.select_related("entity", "period").get(pk=run_id)


def hold_on(found: ReconciliationRun) -> None:
    """Renew the lease while statements are read. Raises RunLost when another worker has the run."""
    if not runs.hold_on(found.pk, found.fence, LEASE_SECONDS):
        raise RunLost(f"Run {found.pk} was taken over.")


def put_off(found: ReconciliationRun, sentence: str, seconds: float) -> ReconciliationRun:
    """Let a run wait, because a target is not to be asked now; the sweeper goes on with it after some seconds."""
    runs.put_off(found.pk, found.fence, sentence, seconds)
    found.refresh_from_db()
    return found


def give_up(found: ReconciliationRun, reason: str) -> ReconciliationRun:
    """End a run that could not be compared, and say why: no statement is no proof. Nothing when it was taken over."""
    runs.fail(found.pk, found.fence, reason)
    found.refresh_from_db()
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
    found.lease_until, found.next_try_at, found.waits_for = None, None, ""
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
