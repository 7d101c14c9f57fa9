"""The exceptions desk under load: the list of causes, its facets and the page of one cause, against an empty page of the site.

The same site answers at a hundredth of the size first, then at the whole size, as one analyst of every entity sees it. Both are
measured beside the same empty page, so that growth is a ratio of two ratios and not of two moods of the machine.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

from django.conf import settings
from django.test import Client
from django.urls import reverse

from integrations.bench import firm as firms
from integrations.bench import posted
from integrations.bench.firm import Firm
from integrations.bench.measure import Result, Scale
from portal import history, sql, warm
from portal.models import EntityGrant, GrantRole, User
from reconciliation import cases
from reconciliation.models import ExceptionCase
from reconciliation.views.queue import FACETS

ENTRIES, HOLDS, CAUSES = 2_000_000, 100_000, 3_000
SMALLER = 100
REQUESTS = 40
LIST_GOAL, GROWTH_GOAL = 4.0, 1.2
RULES = ("project-unknown", "rate-mismatch", "project-closed", "period-closed", "task-missing", "over-daily-limit")
BATCH = 500  # cases counted at a time


@dataclass(slots=True)
class Desk:
    """How much stands on the desk so far."""

    firm: Firm
    entries: int = 0
    holds: int = 0
    causes: int = 0


@dataclass(slots=True)
class Seen:
    """The p95 of each page in milliseconds, round by round."""

    pages: dict[str, list[float]] = field(default_factory=dict)

    def ratio(self, page: str, turn: int) -> float:
        """One page to the empty one, in one round."""
        return self.pages[page][turn] / self.pages["empty"][turn]


def measure(scale: Scale, say: Callable[[str], None]) -> list[Result]:
    """Build a hundredth, look at it, build the rest, and look again."""
    desk = Desk(firms.build(max(scale.of(2_000), 40), max(scale.of(1_000), 40), 400))
    client = analyst()
    whole = (ENTRIES, HOLDS, CAUSES)
    sizes = [[of_four_entities(scale.of(n // by)) for n in whole] for by in (SMALLER, 1)]
    seen = []
    for entries, holds, causes in sizes:
        began = time.perf_counter()
        grow(desk, entries, holds, causes)
        took = time.perf_counter() - began
        say(f"  {desk.holds:,} holds of {desk.causes:,} causes among {desk.entries:,} entries, in {took:.0f} s")
        warm.up()  # as the web server does before its first request
        seen.append(_look(client, scale.rounds, max(scale.of(REQUESTS), 3)))
    small, large = seen
    extra = {"holds": desk.holds, "causes": desk.causes, "entries": desk.entries}
    results = [
        Result(
            f"desk.{page}",
            "ms, p95",
            large.pages[page],
            large.pages["empty"],
            LIST_GOAL,
            at_least=False,
            extra=dict(extra),
        )
        for page in ("list", "facets", "cause")
    ]
    turns = range(scale.rounds)
    for page in ("list", "facets", "cause"):
        name = "desk.growth" if page == "list" else f"desk.growth.{page}"
        values, floors = ([one.ratio(page, turn) for turn in turns] for one in (large, small))
        results.append(Result(name, "empty pages", values, floors, GROWTH_GOAL, at_least=False, extra=dict(extra)))
    return results


def of_four_entities(size: int) -> int:
    """A size that each of the four entities has an equal part of."""
    return max(8, size // 4 * 4)


def analyst() -> Client:
    """Who sees every entity, signed in."""
    person = User.objects.create_user(username="bench-analyst")
    EntityGrant.objects.create(user=person, entity=None, role=GrantRole.ANALYST, valid_from=date(2020, 1, 1))
    client = Client(SERVER_NAME=settings.ALLOWED_HOSTS[0])
    client.force_login(person)
    return client


def _look(client: Client, rounds: int, requests: int) -> Seen:
    """Each page some times, turn by turn; the first round warms up and does not count."""
    queue = reverse("exceptions")
    largest = ExceptionCase.objects.order_by("-open_holds").values_list("pk", flat=True)[0]
    facets = [f"{queue}?facet={name}" for name in FACETS]
    pages: dict[str, Sequence[str]] = {
        "empty": [reverse("keyboard")], "list": [queue], "facets": facets, "cause": [reverse("cause", args=[largest])],
    }  # fmt: skip
    seen = Seen({name: [] for name in pages})
    for turn in range(rounds + 1):
        for name, addresses in pages.items():
            took = [
                _answer(client, addresses[number % len(addresses)]) for number in range(max(requests, len(addresses)))
            ]
            if turn:
                seen.pages[name].append(_p95(took))
    return seen


def _answer(client: Client, address: str) -> float:
    began = time.perf_counter()
    response = client.get(address)
    took = (time.perf_counter() - began) * 1000
    if response.status_code != 200:
        raise RuntimeError(f"{address} answered {response.status_code} instead of a page.")
    return took


def _p95(values: list[float]) -> float:
    return sorted(values)[math.ceil(len(values) * 0.95) - 1]


def grow(desk: Desk, entries: int, holds: int, causes: int, *, day: str = posted.OF_A_MONTH) -> None:
    """Add to the desk until it is as large as asked for. The newest entries are those that are held."""
    firm, first = desk.firm, desk.entries
    with posted.unchecked():
        for start, end in posted.chunks(first, entries):
            posted.enter(firm, start, end, day=day)
        _open_causes(firm, desk.causes, causes)
        _hold(desk, holds, causes, entries)
    sql.execute("ANALYZE")
    ids = [row[0] for row in sql.rows("SELECT id FROM reconciliation_exceptioncase WHERE state = 'open' ORDER BY id")]
    for start in range(0, len(ids), BATCH):
        cases.recount(ids[start : start + BATCH])
    desk.entries, desk.holds, desk.causes = entries, holds, causes
    counted = sql.rows("SELECT count(*), sum(open_holds) FROM reconciliation_exceptioncase WHERE state = 'open'")[0]
    if counted != (causes, holds):
        raise RuntimeError(f"{counted} causes and holds are open instead of {(causes, holds)}.")
    sql.execute("VACUUM ANALYZE")


def _open_causes(firm: Firm, first: int, until: int) -> None:
    """Causes of several rules in all entities, without holds yet."""
    now = sql.now()
    history.bulk_create_with_reason(
        ExceptionCase,
        [
            ExceptionCase(
                pk=n + 1,
                rule=RULES[n % len(RULES)],
                entity_id=firm.entities[n % 4],
                subject_type="code",
                subject_key=f"desk-{n}",
                connection=firm.sources[n % 4],
                sentence=f"Code “X-{n}” is not in the master data.",
                regressions=n % 9 // 8,
                opened_at=now - timedelta(hours=n % 400),
                seen_at=now,
            )
            for n in range(first, until)
        ],
        reason="measured",
    )


def _hold(desk: Desk, until: int, causes: int, entries: int) -> None:
    """Hold the newest entries: each new cause once, and the rest as in life, most of them by few causes of their entity."""
    told = {
        "first": desk.holds, "last": until - 1, "old": desk.causes, "causes": causes, "entries": entries, "holds": until,
    }  # fmt: skip
    sql.execute(
        "WITH held AS (SELECT n, %(entries)s::int - %(holds)s::int + n + 1 AS entry,"
        " CASE WHEN n - %(first)s::int < %(causes)s::int - %(old)s::int THEN %(old)s::int + n - %(first)s::int ELSE"
        " floor(%(causes)s / 4 * power(n * 0.6180339887 - floor(n * 0.6180339887), 3))::int * 4 + n %% 4 END AS at"
        " FROM generate_series(%(first)s::int, %(last)s::int) AS n)"
        " INSERT INTO reconciliation_hold (entry_id, case_id, rule, sentence, detail, opened_at, outcome, reason)"
        " SELECT held.entry, c.id, c.rule, c.sentence, '{}', now() - make_interval(days => held.n %% 14), '', ''"
        " FROM held JOIN reconciliation_exceptioncase c ON c.id = held.at + 1",
        told,
    )
    sql.execute("ANALYZE reconciliation_hold")
    sql.execute(
        "UPDATE portal_ledgerstate SET state = 'held', proved_at = NULL, receipt_number = '' WHERE entry_id IN"
        " (SELECT entry_id FROM reconciliation_hold WHERE closed_at IS NULL)"
    )
    sql.execute("DELETE FROM reconciliation_caseday")
    sql.execute(
        "INSERT INTO reconciliation_caseday (case_id, day, opened)"
        " SELECT case_id, (opened_at AT TIME ZONE 'UTC')::date, count(*) FROM reconciliation_hold GROUP BY 1, 2"
    )
