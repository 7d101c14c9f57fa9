"""A worker that applies a change set is killed between its chunks: the page shows how far it is, and the next ends it once."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from decimal import Decimal
from urllib.parse import urlsplit, urlunsplit

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse

from portal.models import AuditEvent, GrantRole, LedgerEntry, Rate
from reconciliation import changes
from reconciliation.changes import Line, applying
from reconciliation.models import ChangeSet
from tests import world
from tests.reconciliation import desk
from tests.reconciliation import firm as firms

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.case(36, 58)]
ENTRIES, CHUNK = 8, 3
WORKER = """
import os, signal, sys, django
django.setup()
from reconciliation import changes
from reconciliation.changes import applying
applying.CHUNK, applying.AT_ONCE = 3, 1
place = applying.changes_sql
real, passings = place.reach_done, iter(range(1, 100))
def meets_its_end(*arguments):
    is_here = next(passings) == 2
    if is_here and sys.argv[2] == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    found = real(*arguments)
    if is_here:
        os.kill(os.getpid(), signal.SIGKILL)
    return found
place.reach_done = meets_its_end
changes.run(int(sys.argv[1]))
"""


def address() -> str:
    """This test's own database."""
    parts = urlsplit(os.environ["TEST_DATABASE_URL"])
    return urlunsplit(parts._replace(path=f"/{connection.settings_dict['NAME']}"))


def shown(browser: Client, change_set: ChangeSet) -> tuple[int, int]:
    """How many of how many entries the page says are validated again."""
    page = browser.get(reverse("change_set", args=[change_set.pk])).content.decode()
    told = re.search(r'<progress value="(\d+)" max="(\d+)"', page)
    assert told is not None, "the page shows no progress"
    assert 'hx-trigger="every 2s"' in page
    return int(told[1]), int(told[2])


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_killed_worker_leaves_the_rest_to_the_next_and_what_comes_is_what_was_shown(
    when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    firm = firms.build()
    fay, cleo = desk.analyst(firm), world.user("cleo", GrantRole.CONTROLLER, firm.entity)
    entries = desk.ready(firm, ENTRIES)
    line = Line("rate", firm.rate.pk, "change", {"amount": "125.00"})
    change_set = changes.submit(changes.draft(by=fay, title="Dearer", reason="agreed by letter", lines=[line]), fay)
    changes.approve(change_set, cleo)
    assert change_set.preview["repriced"]["entries"] == ENTRIES

    command = [sys.executable, "-c", WORKER, str(change_set.pk), when]
    ended = subprocess.run(command, env={**os.environ, "DATABASE_URL": address()}, timeout=120, check=False)
    assert ended.returncode == -signal.SIGKILL
    change_set.refresh_from_db()
    assert (change_set.state, change_set.done, change_set.total) == ("applying", CHUNK, ENTRIES)
    assert Rate.objects.get(pk=firm.rate.pk).amount == Decimal(125)
    assert [firms.entry(entry).rate for entry in entries].count(Decimal(125)) == CHUNK

    browser = Client()
    browser.force_login(cleo)
    assert shown(browser, change_set) == (CHUNK, ENTRIES)
    assert [pk for pk, _ in changes.due()] == [change_set.pk]
    monkeypatch.setattr(applying, "CHUNK", CHUNK)
    assert changes.run(change_set.pk, goes_on=lambda: False) is True  # a turn of one chunk
    assert shown(browser, change_set) == (2 * CHUNK, ENTRIES)
    assert changes.run(change_set.pk) is False

    change_set.refresh_from_db()
    assert (change_set.state, change_set.done, changes.due()) == ("applied", ENTRIES, [])
    assert change_set.result == change_set.preview
    assert set(LedgerEntry.objects.values_list("rate", flat=True)) == {Decimal(125)}
    assert LedgerEntry.objects.count() == ENTRIES
    assert Rate.history.filter(id=firm.rate.pk, history_type="~").count() == 1
    assert AuditEvent.objects.filter(action="change.applied").count() == 1
    assert not AuditEvent.objects.filter(action="change.came-otherwise").exists()
    page = browser.get(reverse("change_set", args=[change_set.pk])).content.decode()
    assert "<progress" not in page
