"""`readiness`: what a project manager waits for among the work of a year: portfolio, project, thread, explain and search.

Two million entries of twelve months, all but those of the last two months invoiced, and some of the newest held. Every page is
asked for at a hundredth of the size first: it must put as many queries then.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from datetime import date, timedelta
from itertools import pairwise

from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from integrations.bench import bills, desk, posted
from integrations.bench import firm as firms
from integrations.bench.firm import Firm
from integrations.bench.measure import Result, Scale, bounded
from integrations.bench.work import DAYS, FIRST
from portal import sql, warm
from portal.history import bulk_create_with_reason
from portal.models import AccountingPeriod

ENTRIES, HOLDS, CAUSES = 2_000_000, 20_000, 500
MONTHS, BEFORE = 12, 334  # days of the eleven months before the last one
SMALLER = 100
WAIT = 2000.0  # ms that a page may take
BARE = """SELECT project_id, currency, count(*), sum(hours), sum(amount) FROM portal_ledgerentry
           WHERE work_date BETWEEN %s AND %s GROUP BY 1, 2"""  # the least that a portfolio has to add up


def measure(scale: Scale, say: Callable[[str], None]) -> list[Result]:
    """Build a hundredth, count the queries of each page, build the rest, count again and take the time."""
    room = desk.Desk(firms.build(max(scale.of(800), 40), max(scale.of(1_000), 40), 80))
    _periods(room.firm)
    client, counted = desk.analyst(), []
    for by in (SMALLER, 1):
        first, entries, holds, causes = (
            room.entries,
            *(desk.of_four_entities(scale.of(n // by)) for n in (ENTRIES, HOLDS, CAUSES)),
        )
        began = time.perf_counter()
        day = f"DATE '{FIRST - timedelta(days=BEFORE)}' + ((n - {first})::bigint * {BEFORE + DAYS} / {entries - first})::int"
        desk.grow(room, entries, holds, causes, day=day)
        with posted.unchecked():
            for start, end in posted.chunks(first, entries):
                posted.versions(start, end)
        if by == 1:
            bills.settled(room.firm, 100, before=FIRST - timedelta(days=30))
            sql.execute("VACUUM ANALYZE")
        say(
            f"  {room.entries:,} entries of {MONTHS} months, {room.holds:,} holds, in {time.perf_counter() - began:.0f} s"
        )
        warm.up()
        counted.append({name: _queries(page) for name, page in _pages(room, client).items()})
    pages = _pages(room, client)
    values: dict[str, list[float]] = {name: [] for name in pages}
    floors: list[float] = []
    for turn in range(scale.rounds + 1):
        floor = _took(lambda: sql.rows(BARE, [FIRST, FIRST + timedelta(days=DAYS - 1)]))
        took = {name: _took(page) for name, page in pages.items()}
        if turn:
            floors.append(floor)
            for name, value in took.items():
                values[name].append(value)
    small, large = counted
    if any(large[name] > small[name] + 2 for name in large):  # a page that has bills to tell of asks for them
        raise RuntimeError(f"Pages put {large} queries among many entries and {small} among few.")
    sums = Result(
        "readiness.sum", "ms", values["portfolio"], floors, note="the portfolio beside the bare sum of its month"
    )
    return [
        sums,
        *(
            bounded(f"readiness.{name}", "ms", took, WAIT, note=f"{large[name]} queries")
            for name, took in values.items()
        ),
    ]


def _periods(firm: Firm) -> None:
    """The eleven months before the one that the firm has."""
    months = [date(2025 + (10 + i) // 12, (10 + i) % 12 + 1, 1) for i in range(12)]
    rows = [
        AccountingPeriod(entity_id=entity_id, code=f"{first:%Y-%m}", starts_on=first, ends_on=after - timedelta(days=1))
        for entity_id in firm.entities
        for first, after in pairwise(months)
    ]
    bulk_create_with_reason(AccountingPeriod, rows, reason="bench")


def _pages(room: desk.Desk, client: Client) -> dict[str, Callable[[], object]]:
    """What is asked for: the last month's portfolio and its largest project, a held entry and an old one, and an id."""
    ((month,),) = sql.rows(
        "SELECT (e.project_id << 32) + p.id FROM portal_ledgerentry e JOIN portal_accountingperiod p ON p.entity_id = e.entity_id"
        " AND p.starts_on = %s WHERE e.work_date BETWEEN p.starts_on AND p.ends_on GROUP BY e.project_id, p.id"
        " ORDER BY count(*) DESC, 1 LIMIT 1",
        [FIRST],
    )
    portfolio = f"{reverse('readiness')}?period={FIRST:%Y-%m}&tab=all"
    pages = {
        "portfolio": portfolio, "held_up": f"{portfolio}&tab=held-up", "project": reverse("readiness_project", args=[month]),
        "held": reverse("entry", args=[room.entries]), "thread": reverse("entry", args=[room.entries // 3]),
        "search": f"{reverse('search')}?q=desk-{room.entries // 3}",
    }  # fmt: skip
    asked: dict[str, Callable[[], object]] = {name: _page(client, address) for name, address in pages.items()}
    return {**asked, "explain": lambda: call_command("explain", str(room.entries // 3), stdout=io.StringIO())}


def _page(client: Client, address: str) -> Callable[[], object]:
    def ask() -> None:
        if (status := client.get(address, follow=True).status_code) != 200:
            raise RuntimeError(f"{address} answered {status} instead of a page.")

    return ask


def _queries(page: Callable[[], object]) -> int:
    page()  # what is remembered of the person is asked once
    with CaptureQueriesContext(connection) as queries:
        page()
    return len(queries)


def _took(page: Callable[[], object]) -> float:
    began = time.perf_counter()
    page()
    return (time.perf_counter() - began) * 1000
