"""Published: what each system was told, took and holds; drift is seen by a reading, and people choose what becomes of it."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils.timezone import localdate

from integrations import outbox, registry
from integrations.views import adopting
from portal.models import AuditEvent, LedgerEntry, LedgerState, Project, Published, User
from portal.records import PublishedKind
from portal.sql import now
from reconciliation import changes, publishing
from reconciliation.models import ChangeLine, ChangeSet, ExceptionCase, Hold, TargetQuestion
from tests import world
from tests.integrations.memory_recipient import Records
from tests.integrations.test_publishing import deliver, follow, project, told
from tests.invariants import assert_all_hold

__all__ = ["project"]
pytestmark = pytest.mark.django_db
Kind = PublishedKind
OFFERED = re.compile(r'name="figures" value="([^"]+)"')


@pytest.fixture(autouse=True)
def _memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.CONNECTORS, "memory-recipient", "tests.integrations.memory_recipient.MemoryRecipient")


@pytest.fixture
def analyst(project: Project) -> User:
    return world.user("ana", "analyst", project.entity)


@pytest.fixture
def desk(analyst: User) -> Client:
    client = Client()
    client.force_login(analyst)
    return client


def published(project: Project, *kinds: Kind) -> tuple[Any, Records]:
    """A system that was told and has proved everything."""
    system, records = told(project, *kinds)
    follow("project", project.pk)
    deliver(system)
    return system, records


def read_again(system: Any) -> None:
    """The nightly reading of what was proved."""
    LedgerState.objects.filter(target=system).update(proved_at="2020-01-01T00:00:00Z")
    Published.objects.update(read_at=None)
    outbox.read_back(system.pk, again=True)


def drifted(project: Project) -> tuple[Any, Records, Published]:
    """Somebody renamed the client in the system itself."""
    system, records = published(project, Kind.CUSTOMER)
    next(iter(records.held[Kind.CUSTOMER].values()))["name"] = "ACME Inc."
    read_again(system)
    return system, records, Published.objects.get()


def test_a_person_has_a_record_read_now_by_a_question_that_the_outbox_answers_and_no_sooner_than_within_a_minute(
    desk: Client, project: Project
) -> None:
    system, records = published(project, Kind.CUSTOMER)
    row = Published.objects.get()
    address, listed = reverse("published_record", args=[row.pk]), reverse("published")
    next(iter(records.held[Kind.CUSTOMER].values()))["name"] = "ACME Inc."
    calls = len(records.calls)
    Published.objects.update(read_at=now() - timedelta(minutes=5))
    assert desk.post(address, {"action": "read"}).status_code in (200, 204, 303)
    question = TargetQuestion.objects.get()
    assert (question.by.username, question.if_absent, question.answered_at) == ("ana", "nothing", None)
    told = AuditEvent.objects.get(action="target-asked", actor__username="ana")
    named = (told.after or {})["record"]
    assert (told.object_type, named) == ("document", row.title), "a record, and no entry of the ledger"
    assert len(records.calls) == calls  # nothing is called within the request
    page = desk.get(address).content.decode()
    assert "to have it read" in page
    assert 'hx-trigger="every 3s"' in page
    desk.post(listed, {"action": "read", "selected": str(row.pk)})
    assert TargetQuestion.objects.count() == 1  # asked already
    outbox.deliver(system.pk)
    question.refresh_from_db()
    row.refresh_from_db()
    assert (question.answer, row.drift["name"][1]) == ("holds", "ACME Inc.")
    assert ExceptionCase.objects.get(state="open").rule == "drifted-in-target"
    assert "to have it read" not in desk.get(address).content.decode()
    desk.post(address, {"action": "read"})  # within the minute
    assert TargetQuestion.objects.count() == 1
    auditor = Client()
    auditor.force_login(world.user("otto", "auditor", project.entity))
    assert auditor.post(address, {"action": "read"}).status_code == 403


def act(desk: Client, row: Published, name: str, *figures: str) -> Any:
    """Ask for an action, and confirm it with a reason and the figures that it is about."""
    address = reverse("published_record", args=[row.pk])
    asked = desk.post(address, {"action": name})
    assert asked.status_code == 200, asked.content.decode()
    offered = {value.partition("=")[0]: value for value in OFFERED.findall(asked.content.decode())}
    chosen = [offered.get(figure, figure) for figure in figures]
    said = {"confirmed": asked.context["confirmed"], "reason": "agreed with the team", "figures": chosen}
    return desk.post(address, {"action": name, **said})


def test_the_list_says_what_was_told_taken_read_back_and_not_taken(project: Project, desk: Client) -> None:
    published(project)
    page = desk.get(reverse("published")).content.decode()
    for word in ("ACM-1 Roll-out", "ACME Acme", "Ada Ito · ACM-1", "Proved", "takes all", "Tracker"):
        assert word in page
    answer: Any = desk.get(reverse("published"), {"export": "csv", "kind": "rate"})
    lines = b"".join(answer.streaming_content).decode()
    assert "180 USD · Ada Ito · ACM-1" in lines
    assert "ACME Acme" not in lines


def test_nothing_of_another_entity_is_shown_or_found(project: Project) -> None:
    published(project)
    stranger = Client()
    stranger.force_login(world.user("gus", "controller", world.entity("DE", "EUR")))
    assert "Acme" not in stranger.get(reverse("published")).content.decode()
    for row in Published.objects.all():
        assert stranger.get(reverse("published_record", args=[row.pk])).status_code == 404
        assert stranger.get(reverse("entry", args=[row.document.entries.get().pk])).status_code == 404


def test_the_page_asks_as_often_for_many_records_as_for_few(
    project: Project, desk: Client, django_assert_max_num_queries: Any
) -> None:
    published(project, Kind.CUSTOMER)
    desk.get(reverse("published"))
    with django_assert_max_num_queries(200) as few:
        desk.get(reverse("published"))
    for number in range(8):
        Project.objects.create(
            code=f"ACM-{number + 10}", name="More", entity=project.entity, customer=project.customer
        ).statuses.create(status="open", valid_from="2020-01-01")
    system = Published.objects.get().connection
    system.settings = {"provisions": ["customer", "project", "task", "assignment"]}
    system.save()
    follow("connection", system.pk)
    assert Published.objects.count() > 9
    with django_assert_max_num_queries(len(few.captured_queries)):
        desk.get(reverse("published"))


def test_an_entry_that_owes_master_data_leads_to_its_record_and_is_not_in_the_ledgers_list(
    project: Project, desk: Client
) -> None:
    published(project, Kind.CUSTOMER)
    entry = LedgerEntry.objects.get()
    answer = desk.get(reverse("entry", args=[entry.pk]))
    assert answer["Location"] == reverse("published_record", args=[entry.document_id])
    assert "ACME Acme" not in desk.get(reverse("ledger")).content.decode()


def test_what_differs_when_it_is_read_again_is_a_case_that_names_both(project: Project, desk: Client) -> None:
    _, _, row = drifted(project)
    assert row.drift == {"name": ["Acme", "ACME Inc."]}
    case = ExceptionCase.objects.get()
    assert case.rule == "drifted-in-target"
    assert "name “ACME Inc.” there, “Acme” here" in Hold.objects.get().sentence
    page = desk.get(reverse("published_record", args=[row.pk])).content.decode()
    assert "The system drifts" in page
    assert case.sentence.split(":")[0] in page
    assert desk.get(reverse("cause", args=[case.pk])).status_code == 200
    assert "ACME Acme" in desk.get(reverse("published"), {"tab": "drift"}).content.decode()
    assert_all_hold()


def test_sending_again_puts_it_right_and_closes_the_case(project: Project, desk: Client) -> None:
    system, records, row = drifted(project)
    assert act(desk, row, "send").status_code == 303
    deliver(system)
    assert records.names(Kind.CUSTOMER) == ["Acme"]
    row.refresh_from_db()
    assert (row.drift, row.drifted_at) == ({}, None)
    assert ExceptionCase.objects.get().state == "resolved"
    assert AuditEvent.objects.filter(action="publication-sent-again", reason="agreed with the team").count() == 1
    assert_all_hold()


def test_accepting_closes_the_case_until_the_system_holds_something_else_again(project: Project, desk: Client) -> None:
    system, records, row = drifted(project)
    assert act(desk, row, "accept", "name").status_code == 303
    assert ExceptionCase.objects.get().state == "resolved"
    read_again(system)
    assert not Hold.objects.filter(closed_at=None).exists()
    next(iter(records.held[Kind.CUSTOMER].values()))["name"] = "ACME AG"
    read_again(system)
    assert Hold.objects.filter(closed_at=None).count() == 1
    assert AuditEvent.objects.filter(action="drift-accepted").count() == 1
    assert "ACME Acme" in desk.get(reverse("published"), {"tab": "drift"}).content.decode()
    assert act(desk, row, "accept", "name").status_code == 303, "there is a way out of the new difference too"
    desk.get(reverse("published"))  # which says that it was done
    assert "ACME Acme" not in desk.get(reverse("published"), {"tab": "drift"}).content.decode()


def test_what_was_read_again_since_it_was_shown_is_neither_accepted_nor_adopted(project: Project, desk: Client) -> None:
    system, records, row = drifted(project)
    address = reverse("published_record", args=[row.pk])
    shown = {name: desk.post(address, {"action": name}) for name in ("accept", "adopt")}
    next(iter(records.held[Kind.CUSTOMER].values()))["name"] = "Somebody Else Ltd."
    read_again(system)
    for name, asked in shown.items():
        said = {
            "confirmed": asked.context["confirmed"],
            "reason": "x",
            "figures": OFFERED.findall(asked.content.decode()),
        }
        assert said["figures"], name
        answer = desk.post(address, {"action": name, **said})
        assert answer.status_code == 422
        assert "It was read again since you looked at it" in answer.content.decode()
        assert "Somebody Else Ltd." in answer.content.decode(), "and what it is now is shown"
    row.refresh_from_db()
    assert (row.accepted, ChangeLine.objects.count()) == ({}, 0)


def test_of_several_differences_each_is_accepted_or_adopted_for_itself(project: Project, desk: Client) -> None:
    system, records = published(project, Kind.CUSTOMER)
    next(iter(records.held[Kind.CUSTOMER].values())).update({"name": "ACME Inc.", "is_active": False, "code": "AC"})
    read_again(system)
    row = Published.objects.get()
    page = desk.get(reverse("published_record", args=[row.pk])).content.decode()
    assert "Not taken over from there" in page
    assert "<li>Code: Our codes name our records; send ours again.</li>" in page
    assert act(desk, row, "accept").status_code == 422, "no figure was chosen"
    assert act(desk, row, "accept", "code").status_code == 303
    row.refresh_from_db()
    assert set(publishing.drifting(row)) == {"name", "is_active"}
    assert Hold.objects.filter(closed_at=None).count() == 1
    assert act(desk, row, "adopt", "code").status_code == 422, "it is no choice"
    assert act(desk, row, "adopt", "name", "is_active").status_code == 303
    yesterday = (localdate() - timedelta(days=1)).isoformat()
    line = ChangeLine.objects.get()
    assert (line.action, line.values) == ("change", {"name": "ACME Inc.", "active_to": yesterday})
    assert act(desk, row, "accept", "name", "is_active").status_code == 303
    assert not Hold.objects.filter(closed_at=None).exists()


def test_a_contract_that_the_project_has_no_more_is_not_adopted_and_says_so(project: Project) -> None:
    project.contract = None
    project.save()
    row = Published(kind=Kind.CONTRACT.value, internal_id=project.pk, drift={"currency": ["USD", "GBP"]})
    (found,) = adopting.adopted(row, ["currency"], localdate())
    assert (found.lines, found.why_not) == ((), "The project has no contract here any more.")


@pytest.mark.parametrize(
    ("kind", "name", "theirs", "actions"),
    [
        (Kind.PROJECT, "is_active", False, [("project_status", "end"), ("project_status", "add")]),
        (Kind.ASSIGNMENT, "is_active", False, [("assignment", "end")]),
        (Kind.RATE, "amount", "195", [("rate", "add")]),
    ],
)
def test_what_a_system_holds_of_a_project_its_people_and_rates_is_adopted_and_applied(
    project: Project, desk: Client, analyst: User, kind: Kind, name: str, theirs: Any, actions: list[tuple[str, str]]
) -> None:
    system, records = published(project)
    held = next(iter(records.held[kind].values()))
    assert held[name] != theirs
    held[name] = theirs
    read_again(system)
    row = Published.objects.exclude(drift={}).get()
    assert (row.kind, set(row.drift)) == (kind.value, {name})
    answer = act(desk, row, "adopt", name)
    assert answer.status_code == 303, answer.content.decode()
    change_set = ChangeSet.objects.get()
    assert sorted((line.model, line.action) for line in change_set.lines.all()) == sorted(actions)
    changes.submit(change_set, analyst)
    carla = world.user("carla", "controller", project.entity)
    changes.approve(change_set, carla, "as the tracker has it", signed_in_again=True)
    changes.run(change_set.pk)
    change_set.refresh_from_db()
    assert change_set.state == "applied"
    follow("project", project.pk)
    deliver(system)
    read_again(system)
    row.refresh_from_db()
    assert (row.drift, Hold.objects.filter(closed_at=None).count()) == ({}, 0)


def test_adopting_drafts_a_change_set_and_changes_nothing_by_itself(project: Project, desk: Client) -> None:
    _, _, row = drifted(project)
    answer = act(desk, row, "adopt", "name")
    change_set = ChangeSet.objects.get()
    assert answer["Location"] == reverse("change_set", args=[change_set.pk])
    line = ChangeLine.objects.get()
    assert (line.model, line.key, line.values) == ("customer", project.customer_id, {"name": "ACME Inc."})
    project.customer.refresh_from_db()
    assert project.customer.name == "Acme"


def test_confirming_a_twin_drafts_its_key_and_a_reader_may_not(project: Project, desk: Client) -> None:
    system, records = told(project, Kind.CUSTOMER)
    records.held[Kind.CUSTOMER]["c-9"] = {"name": "Acme", "names": {}}
    follow("project", project.pk)
    deliver(system)
    row = Published.objects.get()
    assert act(desk, row, "twin").status_code == 303
    line = ChangeLine.objects.get()
    assert (line.model, line.values["external_id"], line.values["code"]) == ("crosswalk", "c-9", "ACME")
    reader = Client()
    reader.force_login(world.user("rae", "auditor", project.entity))
    page = reader.get(reverse("published_record", args=[row.pk]))
    assert b"It is the same" not in page.content
    assert reader.post(reverse("published_record", args=[row.pk]), {"action": "twin"}).status_code == 403


def test_a_record_that_is_gone_there_is_a_case_and_is_not_made_again_by_itself(project: Project) -> None:
    system, records = published(project, Kind.CUSTOMER)
    records.held[Kind.CUSTOMER].clear()
    read_again(system)
    assert ExceptionCase.objects.get().rule == "gone-in-target"
    assert Published.objects.get().drift == {"record": ["there", "gone"]}
    deliver(system)
    assert not records.held[Kind.CUSTOMER]
