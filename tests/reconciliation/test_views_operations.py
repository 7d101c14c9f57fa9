"""An operation as it is told: how far it is, what holds it, what came of each row; the list, and the chip on every page."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Coalesce
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from integrations.models import Breaker, MaintenanceWindow
from portal.models import Connection, LedgerState, State, User
from reconciliation import operations
from reconciliation.models import CaseComment, Operation
from reconciliation.operations import Phase, running
from reconciliation.views import telling
from tests import world
from tests.reconciliation import desk
from tests.reconciliation.firm import Firm, build, case, post

pytestmark = pytest.mark.django_db


@pytest.fixture
def firm() -> Firm:
    made = build()
    desk.near(made)
    return made


@pytest.fixture
def fay(firm: Firm) -> User:
    return desk.analyst(firm)


@pytest.fixture
def site(client: Client, fay: User) -> Client:
    client.force_login(fay)
    return client


def begun(firm: Firm, user: User, count: int, *, work: bool = True) -> Operation:
    """A confirmed fix of a cause; worked off if asked."""
    desk.mistyped(firm, count)
    parameters = {"record": desk.near_id(), "valid_from": ""}
    planned = operations.plan(
        "map-code", user=user, parameters=parameters, reason="A typo.", case=case("project-unknown")
    )
    operation = operations.confirm(planned, user=user)
    if work:
        operations.run(operation.pk)
    operation.refresh_from_db()
    return operation


def entries(operation: Operation) -> list[int]:
    return list(operation.rows.order_by("pk").values_list(Coalesce("successor_id", "entry_id"), flat=True))


def page(site: Client, operation: Operation, query: str = "", status: int = 200) -> str:
    answer = site.get(reverse("operation", args=[operation.pk]) + query)
    assert answer.status_code == status
    return " ".join(answer.content.decode().split())


def moved(ids: list[int], seconds_ago: float) -> None:
    """Let entries have moved some seconds ago, one every half second before that."""
    for number, entry_id in enumerate(ids):
        at = timezone.now() - timedelta(seconds=seconds_ago + number / 2)
        LedgerState.objects.filter(entry=entry_id).update(moved_at=at)


def test_every_row_is_counted_in_one_phase_and_told_in_a_sentence(firm: Firm, fay: User, site: Client) -> None:
    operation = begun(firm, fay, 6)
    ids = entries(operation)
    post(ids[:2])
    post(ids[2:3], State.REJECTED)
    post(ids[3:4], State.IN_DOUBT)
    counts = operations.progress(operation).counts
    assert {phase: count for phase, count in counts.items() if count} == {
        Phase.POSTED: 2, Phase.FAILED: 1, Phase.IN_DOUBT: 1, Phase.POSTING: 2,
    }  # fmt: skip
    text = page(site, operation)
    assert "2 of 6 posted · 1 failed · 1 in doubt" in text
    assert "read back equal." in text
    assert "Sent, and no answer came. It is looked up" in text
    assert "Ready; its turn comes." in text
    only = page(site, operation, "?result=in_doubt")
    assert only.count("<tr data-key") == 1
    assert "Sent, and no answer came." in only


def test_no_time_is_named_before_a_pace_was_seen(firm: Firm, fay: User) -> None:
    operation = begun(firm, fay, 30)
    ids = entries(operation)
    assert (operations.progress(operation).per_minute, operations.progress(operation).left) == (None, None)
    post(ids[:4])
    moved(ids[:4], 1)
    assert operations.progress(operation).left is None  # four say nothing yet
    post(ids[4:20])
    moved(ids[:20], 0.5)
    found = operations.progress(operation)
    assert found.per_minute is not None
    assert 100 <= found.per_minute <= 130
    assert found.left is not None
    assert timedelta(seconds=4) <= found.left <= timedelta(seconds=7)
    assert "about" in telling.told(operation).sentence


def test_a_pace_that_stalled_promises_nothing(firm: Firm, fay: User) -> None:
    operation = begun(firm, fay, 30)
    ids = entries(operation)
    post(ids[:20])
    moved(ids[:20], 30)
    found = operations.progress(operation)
    assert (found.per_minute, found.left) == (None, None)


def test_an_open_breaker_is_named_with_since_until_and_place_and_no_time_is_promised(
    firm: Firm, fay: User, site: Client
) -> None:
    others = desk.ready(firm, 3, start=9000)
    LedgerState.objects.filter(entry__in=others).update(moved_at=timezone.now() - timedelta(hours=1))
    operation = begun(firm, fay, 20)
    ids = entries(operation)
    post(ids[:10])
    moved(ids[:10], 0.5)
    since, until = timezone.now() - timedelta(minutes=3), timezone.now() + timedelta(minutes=2)
    Breaker.objects.create(
        connection=firm.target, state="open", changed_at=since, reason="Five calls failed", probe_at=until
    )
    told = telling.told(operation)
    [held] = told.held
    assert held.says == f"{firm.target} is failing: Five calls failed."
    assert held.waiting.startswith("10 entries wait since ")
    assert held.waiting.endswith("at the earliest.")
    assert held.place == "3 entries go first."
    assert "left" not in told.sentence
    assert "a minute" not in told.sentence
    text = page(site, operation)
    assert "It goes on by itself after a good probe." in text
    assert 'hx-trigger="every 5s"' in text


def test_a_maintenance_window_a_pause_and_refused_credentials_are_named(firm: Firm, fay: User) -> None:
    operation = begun(firm, fay, 2)
    LedgerState.objects.filter(state="ready").update(waits_on="maintenance")
    now = timezone.now()
    window = MaintenanceWindow.objects.create(
        connection=firm.target, starts_at=now - timedelta(hours=1), ends_at=now + timedelta(hours=3), reason="Release"
    )
    [held] = telling.told(operation).held
    assert held.door is not None
    assert held.says.endswith("is in a maintenance window: Release.")
    assert (held.door.since, held.door.until) == (window.starts_at, window.ends_at)
    window.delete()
    row = Breaker.objects.create(connection=firm.target, changed_at=now, unauthorised_at=now, reason="401")
    assert telling.told(operation).held[0].says.endswith("refuses our credentials.")
    row.delete()
    Connection.objects.filter(pk=firm.target.pk).update(paused_at=now, pause_reason="Audit")
    assert telling.told(operation).held[0].says.endswith("is paused: Audit.")
    Connection.objects.filter(pk=firm.target.pk).update(paused_at=None, is_active=False)
    assert telling.told(operation).held[0].says.endswith("is switched off.")
    Connection.objects.filter(pk=firm.target.pk).update(is_active=True)
    assert telling.told(operation).held == []  # the door is open again; they are released in a moment


def test_the_page_stops_asking_when_the_last_entry_has_come_to_its_end(firm: Firm, fay: User, site: Client) -> None:
    operation = begun(firm, fay, 2)
    address = reverse("operation_progress", args=[operation.pk])
    going = site.get(address + "?key=running&seen=0")
    assert going.status_code == 200
    assert 'id="operation-acts"' in going.content.decode()  # it posts now, which leaves nothing to cancel
    assert 'id="operation-acts"' not in site.get(address + "?key=posting").content.decode()
    post(entries(operation))
    ended = site.get(address + "?key=posting&seen=0")
    assert ended.status_code == 286
    assert "2 of 2 posted" in ended["HX-Trigger"]
    assert "tieout:notice" in ended["HX-Trigger"]
    assert "tieout:rows" in ended["HX-Trigger"]
    assert "hx-trigger" not in ended.content.decode()


def test_cancelling_says_how_much_was_done(
    firm: Firm, fay: User, site: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "CHUNK", 2)
    operation = begun(firm, fay, 5, work=False)
    operations.run(operation.pk, goes_on=lambda: False)
    answer = site.post(reverse("operation", args=[operation.pk]), {"action": "cancel"}, follow=True)
    assert "2 were done already and stay done; 3 were left as they were." in answer.content.decode()
    assert "Left as it was: the operation was stopped before its turn." in page(site, operation, "?result=cancelled")


def test_what_the_target_refused_is_tried_again_as_a_re_post_of_exactly_these_rows(
    firm: Firm, fay: User, site: Client
) -> None:
    operation = begun(firm, fay, 3)
    ids = entries(operation)
    post(ids[:2])
    post(ids[2:], State.REJECTED)
    operations.follow()
    operation.refresh_from_db()
    assert (operation.posted, operation.refused, telling.counted(operation).label) == (2, 1, "Partly failed")
    site.post(reverse("operation", args=[operation.pk]), {"action": "retry"})
    again = Operation.objects.latest("pk")
    assert (again.fix, entries(again)) == ("re-post", ids[2:])


def test_an_operation_is_copied_as_a_comment_on_its_cause(firm: Firm, fay: User, site: Client) -> None:
    operation = begun(firm, fay, 2)
    post(entries(operation))
    answer = site.post(reverse("operation", args=[operation.pk]), {"action": "comment"})
    comment = CaseComment.objects.get()
    assert answer["Location"] == reverse("cause", args=[comment.case_id]) + "#timeline"
    assert operation.title in comment.text
    assert "Done: 2 of 2 posted" in comment.text
    assert reverse("operation", args=[operation.pk]) in comment.text


def test_an_auditor_reads_an_operation_and_changes_nothing(firm: Firm, fay: User, client: Client) -> None:
    operation = begun(firm, fay, 2, work=False)
    client.force_login(world.user("tom", "auditor", firm.entity))
    text = page(client, operation)
    assert "Cancel the rest" not in text
    assert "Copy as comment" not in text
    for action in ("cancel", "retry", "comment"):
        assert client.post(reverse("operation", args=[operation.pk]), {"action": action}).status_code == 403
    assert Operation.objects.get().state == "running"


def test_the_chip_is_on_every_page_while_something_is_under_way_own_first(firm: Firm, fay: User, site: Client) -> None:
    assert 'id="running"' not in site.get(reverse("exceptions")).content.decode()
    own = begun(firm, fay, 3)
    gil = desk.analyst(firm, "gil")
    desk.off_rate(firm, 2)
    other = operations.plan(
        "use-contract-rate", user=gil, parameters={}, reason="As agreed.", case=case("rate-mismatch")
    )
    operations.confirm(other, user=gil)
    for name in ("exceptions", "ledger", "operations", "inbox"):
        text = site.get(reverse(name)).content.decode()
        assert "2 running" in text
        assert text.index(f'id="running-{own.pk}"') < text.index(f'id="running-{other.pk}"')
    operations.run(other.pk)
    post([*entries(own), *entries(other)])
    operations.follow()
    assert 'id="running"' not in site.get(reverse("exceptions")).content.decode()


def test_the_chip_shows_nothing_of_another_entity(firm: Firm, fay: User, client: Client) -> None:
    operation = begun(firm, fay, 1, work=False)
    client.force_login(world.user("gus", "analyst", world.entity("GB", "GBP")))
    assert operation.title not in client.get(reverse("exceptions")).content.decode()
    answer = client.get(reverse("operations_running") + f"?watched={operation.pk}")
    assert answer.status_code == 286
    assert operation.title not in answer.content.decode() + answer.get("HX-Trigger", "")


def test_the_chip_costs_one_query_and_stops_asking_when_nothing_runs(firm: Firm, fay: User, site: Client) -> None:
    operation = begun(firm, fay, 3)
    with CaptureQueriesContext(connection) as counted:
        text = site.get(reverse("operations_running")).content.decode()
    asked = [one["sql"] for one in counted if "reconciliation_operation" in one["sql"]]
    assert len(asked) == 1
    assert "operationrow" not in asked[0]
    assert f"watched={operation.pk}" in text
    post(entries(operation))
    operations.follow()
    ended = site.get(reverse("operations_running") + f"?watched={operation.pk}")
    assert ended.status_code == 286
    assert "done, 3 of 3 posted." in ended["HX-Trigger"]
    assert "hx-trigger" not in ended.content.decode()
    here = {"HX-Current-URL": f"http://testserver{reverse('operation', args=[operation.pk])}"}
    own_page = site.get(reverse("operations_running") + f"?watched={operation.pk}", headers=here)
    assert "HX-Trigger" not in own_page  # the page itself says it


def test_the_list_is_found_by_mine_running_failed_fix_and_entity(firm: Firm, fay: User, site: Client) -> None:
    operation = begun(firm, fay, 3)
    post(entries(operation)[:2])
    post(entries(operation)[2:], State.REJECTED)
    address = reverse("operations")
    running_tab = site.get(address + "?tab=running").content.decode()
    assert operation.title in running_tab
    assert "<progress" in running_tab
    operations.follow()
    assert operation.title not in _rows(site.get(address + "?tab=running"))
    for query in ("?tab=mine", "?tab=failed", "?fix=map-code", "?entity=US", "?text=typo"):
        text = site.get(address + query).content.decode()
        assert operation.title in text
        assert "2 of 3 posted · 1 not done" in text
    assert operation.title not in _rows(site.get(address + "?fix=re-post"))


def _rows(answer: Any) -> str:
    text: str = answer.content.decode()
    return text[text.index('id="results"') :]
