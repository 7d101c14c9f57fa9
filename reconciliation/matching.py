"""Reconciliation of an entity and period in four legs: tracker, ledger, target, bills and payments, each against the next.

The rule here: every document, every receipted entry, every line of the target, every bill and every payment is compared, so that
what is not there shows as well as what differs. A surplus is as loud as a shortage. Only what matched moves an entry. A run looks
at what was touched since the last one of its period, unless what results rest on changed; both ways come to the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

from django.db import transaction
from django.utils.timezone import localdate

from portal import ledger
from portal import sql as portal_sql
from portal.models import AccountingPeriod, LegalEntity, User
from reconciliation import cases, certifying, pairing
from reconciliation.models import ReconciliationResult, ReconciliationRun
from reconciliation.sql import legs, runs
from reconciliation.sql import matching as sql
from reconciliation.totals import of_period

RULE = "out-of-balance"
ACTOR = "reconciliation"
LEASE_SECONDS = 120.0  # of a worker on one comparison, renewed while statements are read
_AT_ONCE = 10_000
Outcome = ReconciliationResult.Outcome
Leg = ReconciliationResult.Leg
Standing = ReconciliationResult.Standing
SETTLED = frozenset({Standing.MATCHED, Standing.TIMING})


class RunLost(Exception):
    """Another worker has taken the run over, because the lease was over; what it finds counts."""


def run(
    entity: LegalEntity,
    period: AccountingPeriod,
    user: User | None = None,
    *,
    targets: Mapping[int, Decimal] | None = None,
    read_at: datetime | None = None,
    whole: bool = False,
) -> ReconciliationRun:
    """Compare an entity's period with the statements as last read, and keep what was found.

    `targets` are ids of targets with the hours that their own unit cannot tell apart; when not given, those of the latest run,
    and exactly where the entity has more. `read_at` is when their statements were read; `whole` compares everything, whatever was
    touched. Balanced means that nothing is left but what matches or only waits.
    """
    found = begin(entity, period, user)
    found.statement_read_at = read_at
    return compare(found, targets=targets, whole=whole)


def compare(
    found: ReconciliationRun, *, targets: Mapping[int, Decimal] | None = None, whole: bool = False
) -> ReconciliationRun:
    """Do the comparison of a run that this worker holds; it ends with it, whatever is found. Raises RunLost."""
    try:
        with transaction.atomic():
            _keep(found)
            _compare(found, targets, whole)
    except RunLost:
        raise
    except Exception as error:
        give_up(found, f"{type(error).__name__}: {error}")
        raise
    return found


def _keep(found: ReconciliationRun) -> None:
    AccountingPeriod.objects.select_for_update(of=("self",)).get(pk=found.period_id)  # one comparison of it at a time
    if not runs.lock(found.pk, found.fence):
        raise RunLost(f"Run {found.pk} was taken over.")
    if _latest(found.period_id, after=found.pk) is not None:
        raise RunLost(f"A later run than {found.pk} has compared the period already.")


def _latest(period_id: int, *, after: int = 0) -> ReconciliationRun | None:
    """The latest run of a period that compared it."""
    ended = ReconciliationRun.objects.filter(period=period_id, pk__gt=after, seen_until__isnull=False)
    return ended.order_by("-pk").first()


def begin(entity: LegalEntity, period: AccountingPeriod, user: User | None = None) -> ReconciliationRun:
    """A run that this worker does itself, under a lease; should the worker die, the sweeper has another go on with it."""
    found = ReconciliationRun.objects.create(
        entity=entity, period=period, started_at=portal_sql.now(), requested_by=user
    )
    runs.take(found.pk, LEASE_SECONDS)
    return ReconciliationRun.objects.select_related("entity", "period").get(pk=found.pk)


def request(entity: LegalEntity, period: AccountingPeriod, user: User | None) -> ReconciliationRun:
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


def _compare(found: ReconciliationRun, targets: Mapping[int, Decimal] | None, whole: bool) -> None:
    entity_id, start, end = found.entity_id, found.period.starts_on, found.period.ends_on
    last = _latest(found.period_id)
    if targets is None:
        known = {int(target): Decimal(hours) for target, hours in last.tolerances.items()} if last is not None else {}
        since = last.seen_until if last is not None and known else None
        targets = dict.fromkeys(legs.targets_of(entity_id, start, end, since=since), Decimal(0)) | known
    found.tolerances = {str(target): str(hours) for target, hours in targets.items()}
    if found.statement_read_at is None:
        found.statement_read_at = legs.statement_read_at(entity_id, list(targets), start, end)
    has_bills = legs.takes_in_bills(entity_id)
    found.basis = legs.basis(entity_id, start, end, targets, has_bills)
    found.seen_until = legs.horizon()
    since = last.seen_until if last is not None and last.basis == found.basis and not whole else None
    scope = legs.Scope(entity_id, found.period_id, localdate(), since)
    legs.prepare(scope)
    scope.begin()
    legs.compare_tracker_with_ledger(found.pk, scope, start, end)
    legs.keep(Leg.TRACKER_LEDGER, found.pk, found.period_id, scope)
    legs.compare_ledger_with_target(found.pk, scope, targets, start, end)
    legs.keep(Leg.LEDGER_TARGET, found.pk, found.period_id, scope)
    if has_bills:
        legs.compare_target_with_bills(found.pk, scope, start, end)
        legs.keep(Leg.TARGET_INVOICE, found.pk, found.period_id, scope)
        legs.compare_bills_with_payments(found.pk, scope, start, end)
        legs.keep(Leg.INVOICE_PAYMENT, found.pk, found.period_id, scope)
    found.compared = None if scope.is_whole else scope.looked_at
    _end(found, scope, has_bills=has_bills)


def _end(found: ReconciliationRun, scope: legs.Scope, *, has_bills: bool) -> None:
    """Add up what stands, move what matched, tell what differs, and end the run."""
    legs.tell_sizes(scope)
    pairing.refresh(found.entity_id, found.period_id, scope.today)
    found.totals = of_period(found.period, has_bills=has_bills)
    differing = sum(leg["differing"] for leg in found.totals.values())
    found.state = ReconciliationRun.State.OUT_OF_BALANCE if differing else ReconciliationRun.State.BALANCED
    _move_matched(found)
    _tell(found, None if scope.is_whole else found.pk)
    found.finished_at = portal_sql.rows("SELECT clock_timestamp()")[0][0]
    found.lease_until, found.next_try_at, found.waits_for = None, None, ""
    found.save()
    certifying.review(found)


def watch() -> int:
    """Compare the certified periods in which anything was touched since, with the statements as last read; how many.

    What changed lets a certificate drop, and so does opening the books again. Where nobody ever said what hours a target cannot
    tell apart, the targets are asked for their statements instead: to the last digit, they would differ without a reason.
    """
    compared = 0
    for certificate in certifying.to_watch():
        period = certificate.period
        targets = _targets_of(period)
        if targets is None:
            last = _latest(period.pk)
            if not ReconciliationRun.objects.filter(period=period, pk__gt=last.pk if last else 0).exists():
                request(period.entity, period, None)
            continue
        found = run(period.entity, period, targets=targets, read_at=certificate.run.statement_read_at)
        compared += found.finished_at is not None
    return compared


def _targets_of(period: AccountingPeriod) -> dict[int, Decimal] | None:
    """The targets of a period with the hours that each cannot tell apart, as any run was told last; None where one is unknown."""
    last = _latest(period.pk)
    told = last.tolerances if last is not None else {}
    found = {int(target): Decimal(hours) for target, hours in told.items()}
    since = last.seen_until if last is not None and found else None
    for target in legs.targets_of(period.entity_id, period.starts_on, period.ends_on, since=since):
        if target not in found:
            runs_of_it = ReconciliationRun.objects.filter(tolerances__has_key=str(target)).order_by("-pk")
            said = runs_of_it.values_list("tolerances", flat=True).first()
            if said is None:
                return None
            found[target] = Decimal(said[str(target)])
    return found


def _move_matched(found: ReconciliationRun) -> None:
    """POSTED → RECONCILED for what the target's statement holds as it was posted."""
    after = 0
    while refs := legs.settled(after, _AT_ONCE):
        ledger.reconcile(refs, actor=ACTOR, reason=f"matched in run {found.pk}")
        after = refs[-1][0]


def _tell(found: ReconciliationRun, ended_by: int | None) -> None:
    """Keep one case per kind of difference, and close those of earlier runs whose difference is gone."""
    prefix = f"{found.period_id}:"
    outdated = sql.outdated_holds(RULE, prefix, found.period_id, ended_by)
    cases.close_hold_rows(outdated, reason=f"ties out in run {found.pk}")
    differing = sql.differing(found.pk, found.period_id)
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
            f"{found.entity} {found.period.code}, {between}: {rows} {what}. {' '.join(dict.fromkeys(reasons))}".strip(),
            entries=entries,
            detail={"run_id": found.pk, "period_id": found.period_id, "leg": leg, "outcome": outcome, "rows": count},
        )
