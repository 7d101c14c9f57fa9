"""Bringing in an entity on screen: begun, checked, rehearsed, decided and let live through the front door; and who may not."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from portal import sql
from portal.models import AccountingPeriod, AuditEvent, GrantRole, LedgerEntry, User
from portal.packs import Range
from reconciliation import onboarding, validation
from reconciliation.models import CutOver, Onboarding, Rehearsal, RehearsedLine
from reconciliation.onboarding import rehearsing
from reconciliation.views import pack
from tests import world
from tests.reconciliation.firm import build
from tests.reconciliation.newcomer import MONTH, Newcomer, bring_in, finish, on_27_november, weekdays

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures(on_27_november.__name__)]
__all__ = ["on_27_november"]


@pytest.fixture
def newcomer() -> Newcomer:
    return bring_in()


def as_person(person: User) -> Client:
    client = Client()
    client.force_login(person)
    return client


def text_of(answer: Any) -> str:
    return str(answer.content.decode())


def test_an_entity_is_brought_in_from_the_first_form_to_its_first_posting_by_two_people(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    firm = build()
    cleo, carl = (world.user(name, GrantRole.CONTROLLER, firm.entity) for name in ("cleo", "carl"))
    carl.set_password("a long one for tests")
    carl.save()
    firm.entity.policy = {"step_up_amount": {"*": "100"}}
    firm.entity.save()
    hers, his = as_person(cleo), as_person(carl)
    begun = hers.post("/onboarding/new/", {"entity": firm.entity.pk, "source": "", "reason": "Acquired in October"})
    assert begun.status_code == 303
    found = Onboarding.objects.get()
    page = f"/onboarding/{found.pk}/"
    assert begun["Location"] == page
    text = text_of(hers.get(page))
    for words in (
        "Calendar",
        "no period is closed",
        "was not tested within",
        "has no cut-over",
        "was not replayed yet",
    ):
        assert words in text, words
    refused = hers.post(page, {"action": "propose", "comment": "now"})
    assert refused.status_code == 422
    assert "Nothing was changed" in text_of(refused)
    finish(firm)
    days = {f"day-{firm.source.pk}-{kind}": "2026-11-01" for kind in ("time", "expense")}
    assert hers.post(page, {"action": "cut-over", **days, "reason": "agreed"}).status_code == 303
    assert {(one.kind, one.first_day) for one in CutOver.objects.all()} == {
        ("time", date(2026, 11, 1)), ("expense", date(2026, 11, 1)),
    }  # fmt: skip
    newcomer = Newcomer(firm, found, cleo, carl)
    newcomer.take(MONTH)
    newcomer.book(MONTH, hours="7")
    week = newcomer.take(*weekdays(date(2026, 11, 2), 5), first=20)
    month = AccountingPeriod.objects.get(entity=firm.entity, code="2026-10")
    asked = hers.post(page, {"action": "rehearse", "period": month.pk})
    rehearsal = Rehearsal.objects.get()
    assert (asked.status_code, asked["Location"]) == (303, f"/onboarding/rehearsals/{rehearsal.pk}/")
    assert "Waiting for a worker" in text_of(hers.get(asked["Location"]))
    followed = hers.get(asked["Location"], HTTP_HX_REQUEST="true", HTTP_HX_TARGET="main")
    assert "<h1>Rehearsal of" in text_of(followed), "the page that follows by itself keeps its heading"
    taken = rehearsing.take(rehearsal.pk)
    assert taken is not None
    rehearsing.play(taken, {firm.target.pk: Decimal(0)})
    shown = text_of(hers.get(asked["Location"]))
    assert "8.00 h would be posted, 7.00 h were booked." in shown
    line = RehearsedLine.objects.get(leg="month")
    form = hers.post(asked["Location"], {"action": "accept", "selected": line.pk})
    assert "Accept 1 difference<" in text_of(form)
    assert decide(hers, asked["Location"], "accept", line.pk, "keyed in wrongly").status_code in (302, 303)
    line.refresh_from_db()
    assert (line.decision, line.decided_by, line.reason) == ("accepted", cleo, "keyed in wrongly")
    assert hers.post(page, {"action": "propose", "comment": "October ties out"}).status_code == 303
    assert f'href="{page}"' in text_of(his.get("/approvals/"))
    assert f'href="{page}"' not in text_of(hers.get("/approvals/"))
    own = hers.post(page, {"action": "approve", "comment": "me too"})
    assert own.status_code == 422
    assert "somebody else decides" in text_of(own)
    seen = {"action": "approve", "comment": "seen", "proposed_at": proposed_at(his.get(page))}
    assert hers.post(page, {"action": "send-back", "comment": "a moment"}).status_code == 303
    monkeypatch.setattr(sql, "now", lambda: datetime(2026, 11, 27, 12, 1, tzinfo=UTC))
    assert hers.post(page, {"action": "propose", "comment": "It ties out now"}).status_code == 303
    for stale in (seen, {"action": "approve", "comment": "seen"}):
        assert "It was proposed anew since you looked at it" in text_of(his.post(page, stale))
    assert not LedgerEntry.objects.exists()
    for odd in ("2026-13-45T00:00:00", "", "yesterday"):
        refused = his.post(page, {**seen, "proposed_at": odd})
        assert refused.status_code == 422, "it is not when it was proposed"
        assert "proposed anew since you looked at it" in text_of(refused)
    again: Any = his.post(page, {**seen, "proposed_at": proposed_at(his.get(page))})
    assert again["Location"].startswith(
        "/accounts/reauthenticate/"
    )  # the month is worth more than a session alone decides
    assert "proposed" in Onboarding.objects.get().state
    assert his.post(again["Location"], {"password": "a long one for tests"}).status_code == 303
    validation.follow_changes()
    assert sorted(LedgerEntry.objects.values_list("document_id", flat=True)) == sorted(week)
    assert "let live by carl" in text_of(his.get(page))
    assert [event.action for event in AuditEvent.objects.filter(object_type="onboarding").order_by("pk")] == [
        "onboarding.begun", "onboarding.cut-over", "rehearsal.asked", "rehearsal.accepted", "onboarding.submitted",
        "onboarding.sent-back", "onboarding.submitted", "onboarding.live",
    ]  # fmt: skip
    (told,) = pack.going_live(Range(carl, [firm.entity], date(2020, 1, 1), timezone.now().date()))
    assert (told[3], told[7], told[8], told[9], told[13], told[15]) == ("Live", "2026-10", 1, "cleo", "carl", "seen")
    assert f"{firm.source.code} time from 2026-11-01" in str(told[-1])


def proposed_at(page: Any) -> str:
    """Of which proposal a page tells."""
    (found,) = re.findall(r'name="proposed_at" value="([^"]+)"', text_of(page))
    return str(found)


def decide(client: Client, address: str, action: str, pk: int, reason: str) -> Any:
    """Confirm an action as the dialog does: with the stamp of what it showed."""
    form = client.post(address, {"action": action, "selected": pk})
    hidden = dict(re.findall(r'<input type="hidden" name="([a-z_]+)" value="([^"]*)"', text_of(form)))
    return client.post(address, {**hidden, "action": action, "selected": pk, "reason": reason})


def test_a_file_of_bookings_is_taken_by_the_form_and_its_faults_are_shown_by_row(newcomer: Newcomer) -> None:
    newcomer.take(MONTH)
    hers = as_person(newcomer.cleo)
    page = f"/onboarding/{newcomer.onboarding.pk}/"
    month = AccountingPeriod.objects.get(entity=newcomer.firm.entity, code="2026-10")

    def upload(content: bytes) -> Any:
        file = SimpleUploadedFile("booked.csv", content)
        return hers.post(page, {"action": "rehearse", "period": month.pk, "file": file})

    wrong = upload(b"number,date,person,project,hours\nB1,2026-10-01,ana,ACM-1,eight\n")
    assert wrong.status_code == 422
    assert "Row 2: hours “eight” is not a decimal number" in text_of(wrong)
    assert (
        upload(b"number,date,person,project,hours,amount,currency\nB1,2026-10-01,ana,ACM-1,8,960,USD\n").status_code
        == 303
    )
    asked = Rehearsal.objects.get()
    assert (asked.basis, asked.file_name, asked.bookings.count()) == ("file", "booked.csv", 1)


def test_another_entitys_onboarding_and_rehearsal_are_not_found_and_not_listed(newcomer: Newcomer) -> None:
    newcomer.take(MONTH)
    rehearsal = newcomer.rehearse()
    gus = as_person(world.user("gus", GrantRole.CONTROLLER, world.entity("GB", "GBP")))
    for address in (f"/onboarding/{newcomer.onboarding.pk}/", f"/onboarding/rehearsals/{rehearsal.pk}/"):
        assert gus.get(address).status_code == 404
        assert gus.post(address, {"action": "approve"}).status_code == 404
        assert gus.get(f"{address}?export=csv").status_code == 404
    assert "Acquired in October" not in text_of(gus.get("/onboarding/?tab=all"))
    own = gus.post("/onboarding/new/", {"entity": newcomer.firm.entity.pk, "source": "", "reason": "not mine"})
    assert own.status_code == 422


def test_an_auditor_reads_and_changes_nothing_and_a_project_manager_is_refused(newcomer: Newcomer) -> None:
    newcomer.take(MONTH)
    rehearsal = newcomer.rehearse()
    otto = as_person(world.user("otto", GrantRole.AUDITOR, newcomer.firm.entity))
    page = f"/onboarding/{newcomer.onboarding.pk}/"
    text = text_of(otto.get(page))
    assert "What must stand" in text
    assert "Save the cut-over" not in text
    assert "Propose to go live" not in text
    for action in ("cut-over", "rehearse", "propose"):
        assert otto.post(page, {"action": action, "comment": "x"}).status_code == 403, action
    line = RehearsedLine.objects.get()
    assert (
        otto.post(f"/onboarding/rehearsals/{rehearsal.pk}/", {"action": "accept", "selected": line.pk}).status_code
        == 403
    )
    assert otto.get("/onboarding/new/").status_code == 403
    pat = as_person(world.user("pat", GrantRole.PROJECT_MANAGER, newcomer.firm.entity))
    for address in ("/onboarding/", page, f"/onboarding/rehearsals/{rehearsal.pk}/"):
        assert pat.get(address).status_code == 403


def test_a_rehearsal_is_exported_and_printed_and_asks_as_often_for_fifty_lines_as_for_one(newcomer: Newcomer) -> None:
    newcomer.take(MONTH)
    rehearsal = newcomer.rehearse()
    hers = as_person(newcomer.cleo)
    address = f"/onboarding/rehearsals/{rehearsal.pk}/"

    def asked() -> int:
        hers.get(address)
        with CaptureQueriesContext(connection) as queries:
            assert hers.get(address).status_code == 200
        return len(queries)

    few = asked()
    line = RehearsedLine.objects.get()
    for _ in range(49):
        line.pk = None
        line.save()
    assert asked() <= few
    exported: Any = hers.get(f"{address}?export=csv&tab=all")
    content = b"".join(exported.streaming_content).decode()
    assert content.count("Not booked") == 50
    assert "No booking is like it." in content
    assert hers.get(f"{address}?print=1").status_code == 200


def test_a_step_that_does_not_exist_and_a_cut_over_without_a_reason_change_nothing(newcomer: Newcomer) -> None:
    hers = as_person(newcomer.cleo)
    page = f"/onboarding/{newcomer.onboarding.pk}/"
    assert hers.post(page, {"action": "dance"}).status_code == 400
    before = CutOver.objects.values_list("first_day", flat=True).first()
    wrong = hers.post(page, {"action": "cut-over", f"day-{newcomer.firm.source.pk}-time": "2026-12-01", "reason": ""})
    assert wrong.status_code == 422
    assert CutOver.objects.values_list("first_day", flat=True).first() == before


def test_a_cut_over_is_taken_back_by_emptying_its_field_and_what_the_form_does_not_name_stays(
    newcomer: Newcomer,
) -> None:
    hers, source = as_person(newcomer.cleo), newcomer.firm.source
    page, expense = f"/onboarding/{newcomer.onboarding.pk}/", f"day-{source.pk}-expense"
    said = {"action": "cut-over", expense: "", "reason": "its expenses stay where they are"}
    assert hers.post(page, said).status_code == 303
    assert list(CutOver.objects.values_list("kind", flat=True)) == ["time"]
    assert f"Expense of {source}</dt>" not in text_of(hers.get(page))
    gone: Any = CutOver.history.get(history_type="-")
    assert (gone.kind, gone.history_user, gone.history_change_reason) == (
        "expense", newcomer.cleo, "its expenses stay where they are",
    )  # fmt: skip
    event = AuditEvent.objects.filter(action="onboarding.cut-over").latest("pk")
    assert (event.before, event.after) == ({f"{source.code} expense": "2026-11-01"}, {})


def test_a_rehearsal_of_a_month_without_work_and_bookings_proves_nothing_and_says_so(newcomer: Newcomer) -> None:
    found = newcomer.rehearse()
    hers = as_person(newcomer.cleo)
    for address in (f"/onboarding/{newcomer.onboarding.pk}/", f"/onboarding/rehearsals/{found.pk}/"):
        page = text_of(hers.get(address))
        assert "Nothing to compare" in page
        assert "Ties out" not in page
    assert "nothing was compared and nothing is proved" in page
    refused = hers.post(f"/onboarding/{newcomer.onboarding.pk}/", {"action": "propose", "comment": "now"})
    assert refused.status_code == 422
    assert "so it proves nothing" in text_of(refused)


def test_what_waits_for_a_controller_stands_in_the_navigation_of_the_other_one(newcomer: Newcomer) -> None:
    newcomer.take(MONTH)
    newcomer.book(MONTH)
    newcomer.rehearse()
    onboarding.propose(newcomer.onboarding, by=newcomer.cleo, reason="ties out")
    assert "Entities that wait for you to go live" in text_of(as_person(newcomer.carl).get("/onboarding/"))
    assert "Entities that wait for you to go live" not in text_of(as_person(newcomer.cleo).get("/onboarding/"))
