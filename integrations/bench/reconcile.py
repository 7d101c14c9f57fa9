"""`reconcile`: a month in four legs, one statement line in a hundred differing, and once more after few changes.

The floor of a leg is the bare join of the same rows, and that of the whole run all four of them. The second run comes after a
thousand things changed: most of them lines of the statement, one in ten a bill that was credited in part. All of the month is
invoiced, and one invoice in a hundred is paid in part.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from decimal import Decimal

import psutil
from django.db import transaction

from integrations.bench import bills, posted
from integrations.bench import firm as firms
from integrations.bench.firm import Firm
from integrations.bench.measure import Result, Scale, bounded
from integrations.bench.work import FIRST
from integrations.sql import statements
from portal import sql
from portal.models import AccountingPeriod
from reconciliation import matching
from reconciliation.models import ReconciliationRun
from reconciliation.sql import legs

LINES, CHANGED = 1_000_000, 1_000
DIFFERS = 100  # one in so many
GROWTH = 60.0  # MB that the worker may hold more after the run than before

_LEGS = {
    "tracker": matching.Leg.TRACKER_LEDGER, "target": matching.Leg.LEDGER_TARGET,
    "bills": matching.Leg.TARGET_INVOICE, "payments": matching.Leg.INVOICE_PAYMENT,
}  # fmt: skip
# The statement; one line in a hundred says more hours.
_LINES = """INSERT INTO portal_statementline (connection_id, entity_id, kind, number, key, work_date, resource_key, project_key,
       hours, rate, amount, currency, memo, read_at)
SELECT e.target_id, e.entity_id, 'time', s.receipt_number, '', e.post_on, '', e.target_keys ->> 'project',
       e.hours + (e.id %% %(differs)s = 0)::int, e.rate, e.amount, e.currency, '', now()
  FROM portal_ledgerentry e JOIN portal_ledgerstate s ON s.entry_id = e.id
 WHERE e.id BETWEEN %(start)s AND %(end)s ORDER BY e.id"""
_BARE = {
    "target": """SELECT count(*),
               count(*) FILTER (WHERE e.hours IS DISTINCT FROM l.hours OR e.amount IS DISTINCT FROM l.amount)
          FROM (SELECT e.id, e.target_id, e.kind, s.receipt_number, e.hours, e.amount, e.rate, e.currency, e.post_on
                  FROM portal_ledgerstate s JOIN portal_ledgerentry e ON e.id = s.entry_id
                 WHERE s.entity_id = %(entity)s AND e.post_on BETWEEN %(start)s AND %(end)s) e
          FULL JOIN (SELECT id, connection_id, kind, number, hours, amount, rate, currency, work_date FROM portal_statementline
                      WHERE entity_id = %(entity)s AND work_date BETWEEN %(start)s AND %(end)s AND gone_at IS NULL) l
            ON l.connection_id = e.target_id AND l.kind = e.kind AND l.number = e.receipt_number""",
    "tracker": """SELECT count(*), count(*) FILTER (WHERE d.hours IS DISTINCT FROM e.hours OR NOT e.is_booked)
          FROM (SELECT d.id, v.hours, v.status, v.work_date FROM portal_document d
                  JOIN portal_timeentry v ON v.document_id = d.id AND v.version = d.current_version
                 WHERE d.entity_id = %(entity)s AND v.work_date BETWEEN %(start)s AND %(end)s) d
          FULL JOIN (SELECT e.document_id, sum(e.hours) AS hours, bool_and(s.state IN ('posted', 'reconciled')) AS is_booked
                       FROM portal_ledgerentry e JOIN portal_ledgerstate s ON s.entry_id = e.id
                      WHERE e.entity_id = %(entity)s AND e.work_date BETWEEN %(start)s AND %(end)s GROUP BY e.document_id) e
            ON e.document_id = d.id""",
    "bills": """SELECT count(*), count(*) FILTER (WHERE e.amount IS DISTINCT FROM a.amount)
          FROM (SELECT e.id, e.amount FROM portal_ledgerstate s JOIN portal_ledgerentry e ON e.id = s.entry_id
                 WHERE s.entity_id = %(entity)s AND e.post_on BETWEEN %(start)s AND %(end)s) e
          FULL JOIN (SELECT a.entry_id, sum(a.amount) AS amount FROM portal_allocation a
                       JOIN portal_billingbalance b ON b.entry_id = a.entry_id
                      WHERE a.entity_id = %(entity)s GROUP BY a.entry_id) a ON a.entry_id = e.id""",
    "payments": """SELECT count(*), count(*) FILTER (WHERE i.total IS DISTINCT FROM p.paid)
          FROM (SELECT i.id, v.total FROM portal_invoice i JOIN portal_invoiceversion v ON v.id = i.current_id
                 WHERE i.entity_id = %(entity)s AND v.booked_on BETWEEN %(start)s AND %(end)s) i
          FULL JOIN (SELECT invoice_id, sum(amount) AS paid FROM portal_paymentallocation WHERE entity_id = %(entity)s
                      GROUP BY invoice_id) p ON p.invoice_id = i.id""",
}


def measure(scale: Scale, say: Callable[[str], None]) -> list[Result]:
    """Every round compares the month of every entity anew, beside the bare joins; then a part of the statement changes."""
    firm, count = firms.build(40, 200, 80), scale.of(LINES, 400)
    say(f"  booking {count} entries")
    periods = _book(firm, count)
    changed = max(4, scale.of(CHANGED))
    names = ("tracker", "target", "bills", "payments", "run", "rerun")
    value: dict[str, list[float]] = {name: [] for name in names}
    floor: dict[str, list[float]] = {name: [] for name in names}
    before = psutil.Process().memory_info().rss / 1e6
    for turn in range(scale.rounds + 1):
        bare = {leg: _bare(leg, periods) for leg in _BARE}
        found = {leg: sum(_alone(leg, period) for period in periods) for leg in _LEGS}
        found["run"] = _run(periods, whole=True)
        _change(firm, count, changed, turn)
        found["rerun"] = _run(periods)
        _check(periods, count, changed)
        bare |= {"run": sum(bare.values()), "rerun": found["run"]}
        if turn:
            for name in names:
                value[name].append(found[name])
                floor[name].append(bare[name])
    grown = psutil.Process().memory_info().rss / 1e6 - before
    note = "whole, and the differences written"
    return [
        Result(
            "reconcile",
            "s",
            value["target"],
            floor["target"],
            1.5,
            at_least=False,
            note=f"ledger and statement, {note}",
        ),
        Result(
            "reconcile.tracker",
            "s",
            value["tracker"],
            floor["tracker"],
            1.5,
            at_least=False,
            note=f"hours worked and ledger, {note}",
        ),
        Result(
            "reconcile.bills",
            "s",
            value["bills"],
            floor["bills"],
            1.5,
            at_least=False,
            note=f"ledger and bills, {note}",
        ),
        Result("reconcile.payments", "s", value["payments"], floor["payments"], note=f"bills and payments, {note}"),
        Result(
            "reconcile.run",
            "s",
            value["run"],
            floor["run"],
            note="all legs, sums, matches, causes and the certificate looked at",
        ),
        Result(
            "reconcile.rerun",
            "s",
            value["rerun"],
            floor["rerun"],
            0.02,
            at_least=False,
            note=f"after {changed} changes",
        ),
        bounded("reconcile.memory", "MB", [max(grown, 0.1)], GROWTH, note="more held after all rounds"),
    ]


def _book(firm: Firm, count: int) -> list[AccountingPeriod]:
    """Entries that were compared before, the documents behind them, and the statement that holds them."""
    with posted.unchecked():
        for start, end in posted.chunks(0, count):
            posted.enter(firm, start, end)
            posted.versions(start, end)
            posted.evidence(start, end)
            sql.execute(_LINES, {"start": start + 1, "end": end, "differs": DIFFERS})
    bills.settled(firm, DIFFERS)
    sql.execute("VACUUM ANALYZE")
    month = AccountingPeriod.objects.filter(entity__in=firm.entities, starts_on__lte=FIRST, ends_on__gte=FIRST)
    return list(month.select_related("entity"))


def _change(firm: Firm, count: int, changed: int, turn: int) -> None:
    """The target says other hours of some lines, and one bill in ten of as many is credited by an hour."""
    credited = changed // 10
    picked = sql.rows(
        "SELECT entity_id, kind, number, key, work_date, resource_key, project_key, hours, rate, amount, currency, memo"
        " FROM portal_statementline WHERE id %% %s = %s ORDER BY id LIMIT %s",
        [max(1, count // changed), turn % max(1, count // changed), changed],
    )
    with transaction.atomic():
        for entity in firm.entities:
            lines = [(*row[1:7], row[7] + Decimal("0.5"), *row[8:]) for row in picked if row[0] == entity]
            statements.keep_lines(firm.target.pk, entity, sql.now(), lines)
        bills.credit(max(1, count // max(credited, 1) - 1), turn, credited)


def _bare(leg: str, periods: list[AccountingPeriod]) -> float:
    """The bare join of a leg, with the cores and the memory that a run has."""
    with transaction.atomic():
        legs.on_every_core()
        begun = time.perf_counter()
        for period in periods:
            sql.rows(_BARE[leg], {"entity": period.entity_id, "start": period.starts_on, "end": period.ends_on})
        return time.perf_counter() - begun


def _alone(leg: str, period: AccountingPeriod) -> float:
    """One leg alone, as a run does it: joined, differences kept, and all of it taken back."""
    start, end = period.starts_on, period.ends_on
    with transaction.atomic():
        run = ReconciliationRun.objects.create(entity_id=period.entity_id, period=period, started_at=sql.now())
        targets = dict.fromkeys(legs.targets_of(period.entity_id, start, end), Decimal(0))
        scope = legs.Scope(period.entity_id, period.pk, end)
        begun = time.perf_counter()
        legs.prepare(scope)
        if leg == "tracker":
            legs.compare_tracker_with_ledger(run.pk, scope, start, end)
        elif leg == "target":
            legs.compare_ledger_with_target(run.pk, scope, targets, start, end)
        elif leg == "bills":
            legs.compare_target_with_bills(run.pk, scope, start, end)
        else:
            legs.compare_bills_with_payments(run.pk, scope, start, end)
        legs.keep(_LEGS[leg], run.pk, period.pk, scope)
        seconds = time.perf_counter() - begun
        transaction.set_rollback(True)
    return seconds


def _run(periods: list[AccountingPeriod], *, whole: bool = False) -> float:
    begun = time.perf_counter()
    for period in periods:
        matching.run(period.entity, period, read_at=sql.now(), whole=whole)  # as one that has read the statements
    return time.perf_counter() - begun


def _check(periods: list[AccountingPeriod], count: int, changed: int) -> None:
    """Every entry was compared in each leg, and the second run looked at little more than what changed."""
    runs = [ReconciliationRun.objects.filter(period=period).latest("pk") for period in periods]
    for leg in ("tracker_ledger", "ledger_target", "target_invoice"):
        compared = sum(sum(run.totals[leg]["outcomes"].values()) for run in runs)
        if compared != count:
            raise RuntimeError(f"{compared} of {count} entries were compared in {leg}.")
    looked_at = [run.compared for run in runs]
    if None in looked_at or sum(one or 0 for one in looked_at) > 2 * changed:
        raise RuntimeError(f"The second run looked at {looked_at} things after {changed} changes.")
