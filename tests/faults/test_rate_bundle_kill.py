"""A worker that books a bundle of rates is killed, or meets a second one: each entry is taken back once and booked anew once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from datetime import date
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
from django.db import connection

from portal.models import GrantRole, LedgerEntry
from reconciliation import changes
from reconciliation.models import RateBundle
from reconciliation.rates import booking, planning
from reconciliation.rates.lines import Wanted, alike, lines_for
from reconciliation.rates.matrix import Span
from tests import bills, world
from tests.reconciliation import desk
from tests.reconciliation import firm as firms

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.case(36, 58)]
ROWS, CHUNK = 8, 3
WORKER = """
import os, signal, sys, django
django.setup()
from reconciliation import corrections
from reconciliation.rates import booking
from reconciliation.sql import rates as rates_sql
bundle, name, when = int(sys.argv[1]), sys.argv[2], sys.argv[3]
booking.CHUNK = 3
place = corrections if name == "reverse" else rates_sql
real, passings = getattr(place, name), iter(range(1, 100))
def meets_its_end(*arguments, **more):
    is_here = next(passings) == 2
    if is_here and when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    found = real(*arguments, **more)
    if is_here:
        os.kill(os.getpid(), signal.SIGKILL)
    return found
setattr(place, name, meets_its_end)
booking.run(bundle)
"""


@pytest.fixture
def bundle() -> RateBundle:
    """Eight posted entries, and the agreed plan to book them anew."""
    firm = firms.build()
    fay, cleo = desk.analyst(firm), world.user("cleo", GrantRole.CONTROLLER, firm.entity)
    bills.posted(firm, ROWS)
    september = Span(date(2026, 9, 1), date(2026, 9, 30))
    lines = lines_for(Wanted(firm.rate, Decimal(130), "hour", september), alike(firm.rate))
    change_set = changes.draft(by=fay, title="September", reason="agreed by letter", lines=lines)
    made = planning.begin(change_set, by=fay)
    changes.submit(change_set, fay)
    changes.apply(changes.approve(change_set, cleo, plan=made.version, signed_in_again=True))
    return made


def address() -> str:
    """This test's own database."""
    parts = urlsplit(os.environ["TEST_DATABASE_URL"])
    return urlunsplit(parts._replace(path=f"/{connection.settings_dict['NAME']}"))


def must_be_booked_once(bundle: RateBundle) -> None:
    bundle.refresh_from_db()
    assert (bundle.state, bundle.done, bundle.total) == ("done", ROWS, ROWS)
    taken = Counter(LedgerEntry.objects.filter(reverses__isnull=False).values_list("reverses_id", flat=True))
    anew = Counter(LedgerEntry.objects.filter(version=2, reverses=None).values_list("document_id", flat=True))
    assert (len(taken), len(anew)) == (ROWS, ROWS)
    assert set(taken.values()) == set(anew.values()) == {1}
    assert set(LedgerEntry.objects.filter(version=2).values_list("amount", flat=True)) == {Decimal(1040)}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "when"), [("reverse", "after"), ("end_rows", "before"), ("end_rows", "after")])
def test_a_killed_worker_leaves_the_rest_to_the_next_and_nothing_is_booked_twice(
    name: str, when: str, bundle: RateBundle
) -> None:
    command = [sys.executable, "-c", WORKER, str(bundle.pk), name, when]
    ended = subprocess.run(command, env={**os.environ, "DATABASE_URL": address()}, timeout=120, check=False)
    assert ended.returncode == -signal.SIGKILL
    bundle.refresh_from_db()
    assert (bundle.state, bundle.done) == ("running", CHUNK)
    assert LedgerEntry.objects.filter(reverses__isnull=False).count() == CHUNK
    assert [pk for pk, _ in booking.due()] == [bundle.pk]
    booking.run(bundle.pk)
    must_be_booked_once(bundle)


def test_two_workers_at_once_book_every_entry_once(bundle: RateBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(booking, "CHUNK", 2)
    problems: list[Any] = []
    start = threading.Barrier(2)

    def work() -> None:
        try:
            start.wait(10)
            while booking.due():
                booking.run(bundle.pk, goes_on=lambda: False)
        except Exception as problem:
            problems.append(problem)
        finally:
            connection.close()

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert problems == []
    must_be_booked_once(bundle)
