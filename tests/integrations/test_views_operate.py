"""The screens of operations: who sees what, what they may do, and what they never show."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from integrations import standing, wake, work
from integrations.errors import Unavailable
from integrations.models import Breaker, InboxMessage, Run, Stream, UploadedFile
from portal.models import AuditEvent, Connection, LedgerState, User
from tests.integrations.memory_target import BOOKS
from tests.integrations.operate_world import CSV, Operations, message, operations, run, told

pytestmark = pytest.mark.django_db
SECRET = "kept out of every page"


@pytest.fixture
def woken(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """The hints that went out."""
    hints: list[tuple[Any, ...]] = []

    def heard(*hint: Any) -> bool:
        hints.append(hint)
        return True

    monkeypatch.setattr(wake, "up", heard)
    return hints


@pytest.fixture
def firm(monkeypatch: pytest.MonkeyPatch, woken: list[tuple[Any, ...]]) -> Operations:
    firm = operations(monkeypatch)
    woken.clear()
    return firm


def get(client: Client, user: User, address: str, **more: Any) -> Any:
    client.force_login(user)
    return client.get(address, **more)


def text(response: Any) -> str:
    assert response.status_code == 200, response
    return str(response.content.decode())


def addresses(firm: Operations) -> list[str]:
    return [
        "/", "/inbox/", f"/inbox/{firm.failed.pk}/", f"/inbox/{firm.taken.pk}/", "/runs/", f"/runs/{firm.run.pk}/",
        f"/streams/{firm.stream.pk}/", "/connections/", "/connections/erp/", "/connections/tracker-us/", "/uploads/",
        "/uploads/new/", f"/uploads/{firm.upload.pk}/",
    ]  # fmt: skip


def confirmed(client: Client, address: str, **data: Any) -> Any:
    """Ask, read the confirmation of the page, and confirm."""
    asked = client.post(address, data)
    assert asked.status_code == 200, asked
    token = re.search(r'name="confirmed" value="([^"]+)"', asked.content.decode())
    assert token is not None
    return client.post(address, {**data, "confirmed": token.group(1)})


class Inline(HTMLParser):
    """Finds what the content security policy would refuse."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = dict(attrs)
        if tag == "style" or (tag == "script" and "src" not in names):
            self.found.append(tag)
        self.found += [name for name in names if name == "style" or name.startswith("on")]


def test_every_screen_answers_without_inline_code_and_never_tells_a_credential(
    client: Client, firm: Operations
) -> None:
    for address in addresses(firm):
        for person in (firm.analyst, firm.controller):
            shown = text(get(client, person, address))
            finder = Inline()
            finder.feed(shown)
            assert finder.found == [], address
            assert SECRET not in shown, address


def test_every_screen_is_also_a_part_for_the_drawer(client: Client, firm: Operations) -> None:
    for address in (f"/inbox/{firm.failed.pk}/", f"/runs/{firm.run.pk}/", f"/streams/{firm.stream.pk}/"):
        part = text(get(client, firm.analyst, address, HTTP_HX_REQUEST="true", HTTP_HX_TARGET="drawer-body"))
        assert "<html" not in part
        assert "drawer-head" in part


def test_what_belongs_to_another_entity_is_not_found_and_not_counted(client: Client, firm: Operations) -> None:
    stream = Stream.objects.get(connection=firm.foreign)
    hidden = {
        f"/inbox/{firm.foreign_message.pk}/": "replay",
        f"/runs/{firm.foreign_run.pk}/": "",
        f"/streams/{stream.pk}/": "sync",
        "/connections/tracker-de/": "test",
    }
    for address, action in hidden.items():
        assert get(client, firm.analyst, address).status_code == 404, address
        if action:
            assert client.post(address, {"action": action}).status_code == 404, address
        assert get(client, firm.stranger, address).status_code == 200, address
    for address in (f"/uploads/{firm.upload.pk}/", f"/uploads/{firm.upload.pk}/file/", f"/inbox/{firm.failed.pk}/"):
        assert get(client, firm.stranger, address).status_code == 404, address
    for address in ("/inbox/?tab=all", "/runs/", "/connections/", "/"):
        shown = text(get(client, firm.analyst, address))
        assert "Clockify DE" not in shown, address
        assert "hidden-1" not in shown, address
    offered = text(get(client, firm.stranger, "/inbox/"))
    assert 'value="tracker-us"' not in offered  # the filter offers no connection of others


def test_of_a_shared_targets_queue_each_person_counts_what_is_theirs(client: Client, firm: Operations) -> None:
    waiting = LedgerState.objects.filter(target=firm.target, state__in=standing.ON_THE_WAY).count()
    assert waiting
    for person, count in ((firm.controller, waiting), (firm.analyst, waiting), (firm.stranger, 0)):
        shown = text(get(client, person, "/connections/erp/"))
        assert f'<span class="label">On their way</span><span class="value">{count}</span>' in shown
        sheet = client.get("/connections/?export=csv")
        rows = b"".join(sheet.streaming_content).decode().splitlines()  # type: ignore[attr-defined]
        assert [row for row in rows if "NetSuite" in row and f",{count}," in row], rows


def test_payloads_are_read_by_roles_that_may_and_by_nobody_else(client: Client, firm: Operations) -> None:
    address = f"/inbox/{firm.taken.pk}/"
    assert "&quot;hours&quot;: 7.5" in text(get(client, firm.auditor, address))
    hidden = text(get(client, firm.manager, address))
    assert "&quot;hours&quot;" not in hidden
    assert "your role does not read them" in hidden
    assert get(client, firm.manager, f"/uploads/{firm.upload.pk}/file/").status_code == 403
    assert "Lena Vogt" not in text(get(client, firm.manager, f"/uploads/{firm.upload.pk}/"))


def test_a_message_tells_what_became_of_it(client: Client, firm: Operations) -> None:
    shown = text(get(client, firm.analyst, f"/inbox/{firm.taken.pk}/"))
    assert "Time entry 400, version 1: 8.00 h on 09 Oct 2026" in shown
    assert "on the ledger: ready" in shown or "on the ledger: reconciled" in shown
    failed = text(get(client, firm.analyst, f"/inbox/{firm.failed.pk}/"))
    assert "Field “hours” is “eight”, expected a number." in failed
    assert "it could not be read" in failed


def test_tabs_and_filters_of_the_inbox(client: Client, firm: Operations) -> None:
    failed = text(get(client, firm.analyst, "/inbox/?tab=failed"))
    assert "636709355" in failed
    assert "4711" not in failed
    assert "4711" in text(client.get("/inbox/?external_id=47"))
    assert "approval-9" in text(client.get("/inbox/?kind=hint"))
    assert "No row matches this filter" in text(client.get("/inbox/?connection=tracker-us&stream=nothing"))
    InboxMessage.objects.filter(pk=firm.failed.pk).update(state="done")
    assert "Everything could be read" in text(client.get("/inbox/?tab=failed"))


def test_a_failed_message_is_replayed_with_a_reason(
    client: Client, firm: Operations, woken: list[tuple[Any, ...]]
) -> None:
    client.force_login(firm.analyst)
    address = f"/inbox/{firm.failed.pk}/"
    without = client.post(address, {"action": "replay", "confirmed": "no"})
    assert without.status_code == 422
    done = confirmed(client, address, action="replay", reason="mapping mended")
    assert done.status_code == 303
    firm.failed.refresh_from_db()
    assert firm.failed.state == "new"
    event = AuditEvent.objects.latest("pk")
    assert (event.action, event.reason, event.actor) == ("messages-replayed", "mapping mended", firm.analyst)
    assert woken == [("take_in", firm.source.pk)]


def test_messages_are_replayed_in_bulk_but_only_where_one_may(client: Client, firm: Operations) -> None:
    client.force_login(firm.controller)
    everything = "/inbox/?tab=ignored"
    count = InboxMessage.objects.filter(state="ignored").count()
    confirmed(client, everything, action="replay", all_matching="1", reason="again")
    assert InboxMessage.objects.filter(state="ignored").count() == 0
    assert count
    client.force_login(firm.auditor)
    assert client.post(everything, {"action": "replay", "all_matching": "1"}).status_code == 403
    client.force_login(firm.stranger)
    client.post("/inbox/", {"action": "replay", "selected": firm.failed.pk})
    firm.failed.refresh_from_db()
    assert firm.failed.state == "failed"


def test_a_stream_is_read_now_in_the_background_with_the_persons_name(
    client: Client, firm: Operations, woken: list[tuple[Any, ...]]
) -> None:
    client.force_login(firm.analyst)
    answer = client.post(f"/streams/{firm.stream.pk}/", {"action": "sync"})
    assert answer.status_code == 303
    assert woken == [("pull", firm.stream.pk, "manual", firm.analyst.pk)]
    firm.stream.refresh_from_db()
    assert firm.stream.next_due_at is not None
    assert firm.stream.next_due_at <= timezone.now()  # the sweeper finds it where the hint is lost
    assert AuditEvent.objects.filter(action="sync-requested", actor=firm.analyst).count() == 1
    client.force_login(firm.auditor)
    assert client.post(f"/streams/{firm.stream.pk}/", {"action": "sync"}).status_code == 403


def test_a_paused_connection_is_not_read_by_hand(
    client: Client, firm: Operations, woken: list[tuple[Any, ...]]
) -> None:
    Connection.objects.filter(pk=firm.source.pk).update(paused_at=timezone.now(), pause_reason="audit of the vendor")
    client.force_login(firm.analyst)
    client.post(f"/streams/{firm.stream.pk}/", {"action": "sync"})
    assert woken == []
    assert "audit of the vendor" in text(client.get(f"/streams/{firm.stream.pk}/"))


def test_a_held_stream_is_released_with_a_reason(client: Client, firm: Operations) -> None:
    held = Stream.objects.get(connection=firm.source, name="expenses")
    client.force_login(firm.analyst)
    assert "Release" in text(client.get(f"/streams/{held.pk}/"))
    assert "Release" not in text(client.get(f"/streams/{firm.stream.pk}/"))
    confirmed(client, f"/streams/{held.pk}/", action="release", reason="bank holiday")
    held.refresh_from_db()
    assert held.held_reason == ""
    assert AuditEvent.objects.latest("pk").reason == "bank holiday"


def test_runs_say_in_words_how_they_went_and_a_silent_reader_is_stuck(client: Client, firm: Operations) -> None:
    shown = text(get(client, firm.analyst, "/runs/?tab=trouble"))
    assert "Held" in shown
    assert "Failed" in shown
    stuck = Run.objects.get(state="running")
    assert "It has shown no life for minutes" in text(client.get(f"/runs/{stuck.pk}/"))
    fresh = run(firm.source, hours_ago=0, state=Run.State.RUNNING, finished_at=None)
    assert 'hx-trigger="every 3s"' in text(client.get(f"/runs/{fresh.pk}/"))
    assert "Runs of the last 24 hours" in text(client.get("/runs/"))


def test_a_connection_is_paused_and_resumed_with_reasons_by_those_who_may(
    client: Client, firm: Operations, woken: list[tuple[Any, ...]]
) -> None:
    client.force_login(firm.analyst)
    assert client.post("/connections/tracker-us/", {"action": "pause"}).status_code == 403
    client.force_login(firm.controller)
    confirmed(client, "/connections/tracker-us/", action="pause", reason="token is being renewed")
    firm.source.refresh_from_db()
    assert firm.source.paused_at is not None
    assert firm.source.history.order_by("history_id").last().history_change_reason == "token is being renewed"
    shown = text(client.get("/connections/tracker-us/"))
    assert "token is being renewed" in shown
    assert "Resume" in shown
    confirmed(client, "/connections/tracker-us/", action="resume", reason="renewed")
    assert Connection.objects.get(pk=firm.source.pk).paused_at is None
    assert ("pull", firm.stream.pk) in woken
    actions = list(AuditEvent.objects.order_by("pk").values_list("action", flat=True))
    assert actions[-2:] == ["connection-paused", "connection-resumed"]


def test_the_breaker_is_opened_and_closed_by_hand_with_reasons(client: Client, firm: Operations) -> None:
    client.force_login(firm.controller)
    confirmed(client, "/connections/erp/", action="open_breaker", reason="month end freeze")
    row = Breaker.objects.get(connection=firm.target)
    assert row.state == "open"
    assert "month end freeze" in text(client.get("/connections/erp/"))
    confirmed(client, "/connections/erp/", action="close_breaker", reason="freeze is over")
    row.refresh_from_db()
    assert row.state == "half_open"
    assert [e.reason for e in AuditEvent.objects.order_by("-pk")[:2]] == ["freeze is over", "month end freeze"]


def test_a_connection_is_tested_and_what_it_said_is_told_and_audited(client: Client, firm: Operations) -> None:
    client.force_login(firm.analyst)
    books = BOOKS[firm.target.code]
    answer = client.post("/connections/tracker-us/", {"action": "test"}, follow=True)
    assert answer.status_code == 200
    client.force_login(firm.controller)
    before = books.checks
    answer = client.post("/connections/erp/", {"action": "test"}, follow=True)
    assert books.checks == before + 1
    event = AuditEvent.objects.latest("pk")
    assert event.action == "connection-tested"
    assert event.after is not None
    assert event.after["answers"] is True
    assert event.after["sentence"] in answer.content.decode()
    books.check_error = Unavailable("The ERP is closed.")
    answer = client.post("/connections/erp/", {"action": "test"}, follow=True)
    assert "The ERP is closed." in answer.content.decode()
    assert Breaker.objects.get(connection=firm.target).failures == 1


def test_the_page_of_a_connection_names_credentials_and_what_it_cannot_do(client: Client, firm: Operations) -> None:
    shown = text(get(client, firm.analyst, "/connections/tracker-us/"))
    assert "environment variable TIEOUT_TEST_TOKEN" in shown
    assert "Present" in shown
    assert "the ids of open periods are compared every night" in shown
    assert "environment variable" not in text(get(client, firm.manager, "/connections/tracker-us/"))
    foreign = text(get(client, firm.stranger, "/connections/tracker-de/"))
    assert "not configured" in foreign
    assert "Clockify answered 401: the token was revoked." in foreign


def test_a_file_is_uploaded_looked_at_and_filed_once(
    client: Client, firm: Operations, woken: list[tuple[Any, ...]]
) -> None:
    client.force_login(firm.analyst)
    content = CSV.replace("7,50", "3,25").encode()
    sent = {"connection": "files-us", "stream": "time", "file": SimpleUploadedFile("week-41.csv", content)}
    answer = client.post("/uploads/new/", sent, follow=True)
    shown = text(answer)
    assert "Row 3, column “Stunden”: “acht” is not a number" in shown
    assert shown.index("Cannot be read</span> Row 3") < shown.index("3.25 h")  # problems first
    upload = UploadedFile.objects.latest("pk")
    assert InboxMessage.objects.filter(connection=firm.files).count() == 0
    client.post(f"/uploads/{upload.pk}/", {"action": "file"})
    assert InboxMessage.objects.filter(connection=firm.files).count() == 3
    assert woken == [("take_in", firm.files.pk)]
    assert "File these rows" not in text(client.get(f"/uploads/{upload.pk}/"))
    again = {**sent, "file": SimpleUploadedFile("other-name.csv", content)}
    refused = client.post("/uploads/new/", again)
    assert refused.status_code == 422
    assert "is the same file as “week-41.csv”" in refused.content.decode()
    answer = client.get(f"/uploads/{upload.pk}/file/")
    assert answer.content == content
    assert answer["Content-Disposition"] == 'attachment; filename="week-41.csv"'
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Content-Type"] == "application/octet-stream"


def test_a_file_that_cannot_be_read_is_refused_with_the_reason_and_a_preview_is_discarded(
    client: Client, firm: Operations
) -> None:
    client.force_login(firm.analyst)
    sent = {"connection": "files-us", "stream": "time", "file": SimpleUploadedFile("x.csv", b"a;b\n1;2\n")}
    refused = client.post("/uploads/new/", sent)
    assert refused.status_code == 422
    assert "cannot be read" in refused.content.decode()
    client.post(f"/uploads/{firm.upload.pk}/", {"action": "discard"})
    firm.upload.refresh_from_db()
    assert firm.upload.state == "discarded"
    assert InboxMessage.objects.filter(connection=firm.files).count() == 0
    for person in (firm.auditor, firm.manager):
        client.force_login(person)
        assert client.get("/uploads/new/").status_code == 403


def test_lists_cost_a_fixed_number_of_queries(client: Client, firm: Operations) -> None:
    client.force_login(firm.controller)

    def cost(address: str) -> int:
        client.get(address)
        with CaptureQueriesContext(connection) as queries:
            text(client.get(address))
        return len(queries)

    watched = ("/inbox/", "/runs/", "/connections/", "/uploads/", "/", f"/streams/{firm.stream.pk}/")
    before = {address: cost(address) for address in watched}
    for number in range(8):
        other = Connection.objects.create(
            code=f"more-{number}",
            name=f"More {number}",
            connector="harvest",
            entity=firm.us,
            is_source=True,
            base_url="",
        )
        Stream.objects.create(connection=other, name="time_entries", held_reason="too little")
        run(other, state=Run.State.FAILED)
        message(other, f"m-{number}", state=InboxMessage.State.FAILED, failure="no")
    assert {address: cost(address) for address in watched} == before


def test_the_first_page_tells_what_waits_for_each_person(client: Client, firm: Operations) -> None:
    shown = text(get(client, firm.controller, "/"))
    assert "Field “hours” is “eight”" in shown
    assert "Clockify DE" in shown
    assert "Record M-900 was booked in the target without us." in shown
    assert "Since yesterday" in shown
    assert "What stops my projects" not in shown
    assert "What stops my projects" in text(get(client, firm.manager, "/"))
    assert "Clockify DE" not in text(get(client, firm.manager, "/"))


def test_the_background_reads_for_the_person_who_asked(firm: Operations) -> None:
    ended = work.pull(firm.stream.pk, "manual", firm.analyst.pk)
    assert ended is not None
    assert (ended.trigger, ended.requested_by) == ("manual", firm.analyst)


def test_the_page_of_a_connection_says_what_it_is_for_what_it_can_do_and_what_it_is_set_to(
    client: Client, firm: Operations
) -> None:
    told(firm)
    firm.source.settings |= {"subscribes": ["rate"], "concurrency": 2}
    firm.source.save()
    shown = text(get(client, firm.controller, "/connections/erp/"))
    for words in ("What it can do", "Postings in a call", "The same key again", "Takes a posting back", "Expenses"):
        assert words in shown, words
    shown = text(get(client, firm.controller, "/connections/tracker-us/"))
    assert "source and recipient" in shown
    assert "source and recipient" in text(client.get("/connections/"))
    assert "What it is told" in shown
    assert "<dt>Made there</dt><dd>customer</dd>" in shown
    assert "<dt>Concurrency</dt><dd>2</dd>" in shown or "<dt>Calls at once</dt><dd>2</dd>" in shown
    assert "<h2>Settings</h2>" in shown
    assert "<h2>Settings</h2>" not in text(get(client, firm.manager, "/connections/tracker-us/"))


def test_a_connection_with_messages_that_cannot_be_read_is_not_called_healthy_and_leads_to_them(
    client: Client, firm: Operations
) -> None:
    Stream.objects.filter(connection=firm.source).update(held_reason="")
    shown = text(get(client, firm.analyst, "/connections/tracker-us/"))
    assert "Not all is read" in shown
    assert 'href="/inbox/?tab=failed&amp;connection=tracker-us">1 message that cannot be read</a>' in shown
    assert "636709355" in text(client.get("/inbox/?tab=failed&connection=tracker-us"))
    InboxMessage.objects.filter(pk=firm.failed.pk).update(state="superseded")
    shown = text(client.get("/connections/tracker-us/"))
    assert "Healthy" in shown
    assert "Next probe" not in shown


def test_a_connection_in_trouble_offers_the_one_way_and_says_in_words_what_the_vendor_said(
    client: Client, firm: Operations
) -> None:
    Breaker.objects.filter(connection=firm.foreign).update(reason="Refused: 401 <html><body>Unauthorized</body></html>")
    shown = text(get(client, firm.controller, "/connections/tracker-de/"))
    assert "It refuses our credentials (401)." in shown
    assert "&lt;html&gt;" in shown[shown.index("<summary>What it said</summary>") :]
    assert "&lt;html&gt;" not in shown[: shown.index("<summary>What it said</summary>")]
    assert "Close the breaker" in shown
    assert "Open the breaker" not in shown
    assert "&lt;html" not in text(client.get("/connections/"))
    shown = text(client.get("/connections/erp/"))
    assert "Open the breaker" in shown
    assert "Close the breaker" not in shown
