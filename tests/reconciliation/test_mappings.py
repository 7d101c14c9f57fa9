"""Mappings: what is not mapped and what it is worth, what it most likely is, and that a person confirms it."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from portal.models import (
    Alias,
    AuditEvent,
    Connection,
    Contract,
    Crosswalk,
    ForeignRecord,
    GrantRole,
    Project,
    Rate,
    RateCard,
    RejectedValue,
    User,
)
from portal.records import Reference
from portal.sql import now
from reconciliation import changes, mappings
from reconciliation.models import ChangeSet, DismissedMatch, Mapping, MappingsKept, Route
from reconciliation.views.mapping_acts import DismissMatch, MapAsSuggested
from tests import world
from tests.reconciliation import firm as firms
from tests.reconciliation.firm import Firm, build, state

pytestmark = pytest.mark.django_db
VAT = "DE136695976"


@pytest.fixture
def firm() -> Firm:
    return build()


@pytest.fixture
def fay(firm: Firm, client: Client) -> User:
    person = world.user("fay", GrantRole.ANALYST, firm.entity)
    client.force_login(person)
    return person


def foreign(connection: Connection, external_id: str, kind: str = "customer", **more: Any) -> ForeignRecord:
    values = {"code": external_id.upper(), "name": external_id.title(), "entity": connection.entity, **more}
    return ForeignRecord.objects.create(
        connection=connection, system=connection.connector, realm=connection.realm, kind=kind, external_id=external_id,
        seen_at=now(), **values,
    )  # fmt: skip


def unmapped(firm: Firm, code: str, name: str) -> Project:
    made = firms.project(code, firm.entity, firm.customer, firm.contract)
    made.name = name
    made.save()
    return made


def rows(**wanted: Any) -> list[Mapping]:
    mappings.bring_up_to_date()
    return list(Mapping.objects.filter(**wanted).order_by("kind", "code", "their_code"))


def cover(firm: Firm, kind: str, connection: Connection | None = None) -> mappings.Cover:
    wanted = connection or firm.target
    mappings.bring_up_to_date()
    return next(one for one in mappings.coverage([firm.entity.pk]) if (one.kind, one.connection) == (kind, wanted))


def test_a_record_without_a_key_is_counted_with_the_open_time_that_hangs_on_it(firm: Firm) -> None:
    lost = unmapped(firm, "ACM-2", "Acme audit")
    firm.admit(
        firm.time("1", project=Reference("", "ACM-2", "")),
        firm.time("2", project=Reference("", "ACM-2", ""), work_date=date(2026, 10, 2)),
    )
    (row,) = rows(state="unmapped")
    assert (row.kind, row.internal_id, row.entity, row.entries, row.hours) == ("project", lost.pk, firm.entity, 2, 16)
    told = cover(firm, "project")
    assert (told.mapped, told.unmapped, told.percent) == (1, 1, 50)
    assert told.sentence == "1 project unmapped, worth 1,920.00 USD of open time"
    assert cover(firm, "resource").sentence == "all mapped"


def test_a_system_is_asked_only_for_what_it_keeps_and_of_whom_it_serves(firm: Firm) -> None:
    assert {row.kind for row in rows()} == {"project", "resource"}
    foreign(firm.target, "77")
    assert {row.state for row in rows(kind="customer")} == {"theirs", "unmapped"}
    other = world.entity("GB", "GBP")
    firms.project("GB-1", other, firm.customer, None)
    assert not rows(kind="project", code="GB-1")


def test_a_closed_project_needs_no_key(firm: Firm) -> None:
    unmapped(firm, "ACM-2", "Acme audit").statuses.update(status="closed")
    assert rows(state="unmapped") == []


@pytest.mark.case(131)
def test_a_match_is_suggested_with_its_reasons_and_never_made_by_itself(firm: Firm) -> None:
    firm.customer.tax_number = VAT
    firm.customer.save()
    foreign(firm.target, "77", name="ACME Holding SE", code="CUST-77", attributes={"tax_number": "DE 136695976"})
    foreign(firm.target, "78", name="Acme Inc", code="CUST-78", attributes={"tax_number": "DE811569869"})
    foreign(firm.target, "79", name="Zeta", code="CUST-79")
    (row,) = rows(kind="customer", state="unmapped")
    best, second = mappings.suggest([row])[row.pk]
    assert (best.external_id, best.score, best.reasons, best.is_sure) == ("77", 96, ("same tax number",), True)
    assert (second.external_id, second.against, second.is_sure) == ("78", ("another tax number",), False)
    assert not Crosswalk.objects.filter(kind="customer").exists()


def test_two_of_the_same_name_are_ambiguous_and_neither_is_filled_in(firm: Firm) -> None:
    for key in ("77", "78"):
        foreign(firm.target, key, name="Acme Inc.", code=f"CUST-{key}")
    (row,) = rows(kind="customer", state="unmapped")
    assert row.is_ambiguous
    assert [one.is_sure for one in mappings.suggest([row])[row.pk]] == [False, False]


def test_a_record_of_theirs_finds_ours(firm: Firm) -> None:
    foreign(firm.target, "77", name="Acme Inc.", code="CUST-77")
    (row,) = rows(kind="customer", state="theirs")
    (match,) = mappings.suggest([row])[row.pk]
    assert (match.internal_id, match.is_sure) == (firm.customer.pk, True)


def test_a_key_that_ends_soon_without_another_is_expiring(firm: Firm) -> None:
    key = Crosswalk.objects.get(kind="project")
    today = now().date()
    key.valid_to = today + timedelta(days=20)
    key.save()
    assert [row.crosswalk_id for row in rows(is_expiring=True)] == [key.pk]
    firms.key(firm.target, "project", firm.project.pk, "NEXT", valid_from=today + timedelta(days=21))
    assert rows(is_expiring=True) == []


def test_a_key_whose_record_ended_here_or_there_has_an_inactive_target(firm: Firm) -> None:
    key = Crosswalk.objects.get(kind="project")
    foreign(firm.target, key.external_id, "project", is_active=False)
    assert [row.crosswalk_id for row in rows(is_inactive=True)] == [key.pk]
    ForeignRecord.objects.update(is_active=True)
    assert rows(is_inactive=True) == []
    firm.project.statuses.update(status="closed")
    assert [row.crosswalk_id for row in rows(is_inactive=True)] == [key.pk]


def test_what_systems_say_against_a_key_is_conflicting_and_says_with_what(
    firm: Firm, fay: User, client: Client
) -> None:
    key = Crosswalk.objects.get(kind="project")
    assert rows(is_conflicting=True) == []
    other = unmapped(firm, "ACM-2", "Acme audit")
    alias = Alias.objects.create(
        kind="project", code=key.external_id, internal_id=other.pk, valid_from=date(2020, 1, 1)
    )
    [row] = rows(is_conflicting=True)
    assert row.crosswalk_id == key.pk
    ours = f"{firm.project.code} {firm.project.name}"
    said = f"{row.connection.name} means {ours} by “{key.external_id}”, and as an alias it stands for "
    assert mappings.conflicts_of(row, fay) == [f"{said}ACM-2 Acme audit."]
    assert "it stands for ACM-2 Acme audit." in client.get(reverse("mapping", args=[row.pk])).content.decode()
    theirs = firms.project("GB-1", world.entity("GB", "GBP"), firm.customer, None)
    Alias.objects.filter(pk=alias.pk).update(internal_id=theirs.pk)
    assert mappings.conflicts_of(row, fay) == [f"{said}a record you do not see."]
    alias.delete()
    RejectedValue.objects.create(
        connection=firm.target, kind="project", internal_id=firm.project.pk, record="x", field="name", reason="x",
        entity=firm.entity, stands="Acme roll-out", said="Acme rollout", first_at=now(), last_at=now(),
    )  # fmt: skip
    [row] = rows(is_conflicting=True)
    assert row.crosswalk_id == key.pk
    assert mappings.conflicts_of(row, fay) == [
        f"As name of {ours} stands “Acme roll-out” here, and {firm.target} says “Acme rollout”."
    ]


@pytest.mark.case(131)
def test_confirming_drafts_a_change_and_the_entries_go_once_another_agrees(
    firm: Firm, fay: User, client: Client
) -> None:
    lost = unmapped(firm, "ACM-2", "Acme audit")
    held = firm.admit(firm.time("1", project=Reference("", "ACM-2", ""))).held
    foreign(firm.target, "991", "project", name="Acme audit", code="P-991")
    row = next(one for one in rows(state="unmapped") if one.internal_id == lost.pk)
    page = client.get(reverse("mapping", args=[row.pk])).content.decode()
    assert 'value="991" checked' in page
    answer = client.post(reverse("mapping", args=[row.pk]), {"match": "991", "reason": "The same audit."})
    assert answer.status_code == 303
    change_set = ChangeSet.objects.get()
    assert not Crosswalk.objects.filter(internal_id=lost.pk, kind="project").exists()
    assert "under way" in client.get(reverse("mapping", args=[row.pk])).content.decode()
    changes.submit(change_set, fay)
    changes.approve(change_set, world.user("carla", GrantRole.CONTROLLER, firm.entity), "Yes.", signed_in_again=True)
    changes.run(change_set.pk)
    assert Crosswalk.objects.get(internal_id=lost.pk, kind="project").external_id == "991"
    assert state(held[0]) == "ready"
    assert rows(state="unmapped") == []


def test_a_key_that_no_system_has_said_is_typed_and_nothing_is_made_there(
    firm: Firm, fay: User, client: Client
) -> None:
    unmapped(firm, "ACM-2", "Acme audit")
    (row,) = rows(state="unmapped")
    assert client.post(reverse("mapping", args=[row.pk]), {"reason": "x"}).status_code == 422
    assert (
        client.post(
            reverse("mapping", args=[row.pk]), {"other": "4711", "reason": "Told by the ERP's owner."}
        ).status_code
        == 303
    )
    line = ChangeSet.objects.get().lines.get()
    assert (line.values["external_id"], line.values["code"], line.values["system"]) == ("4711", "ACM-2", "netsuite")


def test_many_are_confirmed_as_suggested_in_one_change_and_what_is_in_doubt_is_left_out(
    firm: Firm, fay: User, client: Client
) -> None:
    for number in (2, 3):
        unmapped(firm, f"ACM-{number}", f"Assignment number {'two' if number == 2 else 'three'}")
    foreign(firm.target, "992", "project", name="Assignment number two", code="ACM-2")
    listed = reverse("mappings")
    keys = [str(row.pk) for row in rows(state="unmapped")]
    asked = client.post(listed, {"action": "map", "selected": keys})
    answer = client.post(
        listed, {"action": "map", "selected": keys, "confirmed": asked.context["confirmed"], "reason": "As suggested."}
    )
    assert answer.status_code == 303
    assert [line.values["external_id"] for line in ChangeSet.objects.get().lines.all()] == ["992"]


def test_a_dismissed_match_stays_away_until_one_of_both_says_something_else(
    firm: Firm, fay: User, client: Client
) -> None:
    project = unmapped(firm, "ACM-2", "Assignment number two")
    theirs = foreign(firm.target, "992", "project", name="Assignment number two", code="ACM-2")
    (ours,), (other,) = rows(state="unmapped"), rows(state="theirs", external_id="992")
    page = reverse("mapping", args=[ours.pk])

    def offered() -> tuple[list[str], list[int | None]]:
        rows()
        found = mappings.suggest([Mapping.objects.get(pk=ours.pk), Mapping.objects.get(pk=other.pk)])
        return [one.external_id for one in found[ours.pk]], [one.internal_id for one in found[other.pk]]

    assert offered() == (["992"], [project.pk])
    said = {"action": "dismiss", "match": "992", "reason": ""}
    assert client.post(page, said).status_code == 422
    assert client.post(page, {**said, "match": "4711", "reason": "x"}).status_code == 422
    assert client.post(page, {**said, "reason": "Theirs is the internal one."}).status_code == 303
    assert offered() == ([], []), "from both sides"
    text = client.get(page).content.decode()
    assert "Theirs is the internal one." in text
    assert 'value="992"' not in text
    firm.project.name = "Nothing to do with it"
    firm.project.save()
    assert offered() == ([], [])
    theirs.name = "Assignment number two, external"
    theirs.save()
    assert offered() == (["992"], [project.pk]), "another evidence is another match"
    assert "what one of both says has changed since" in client.get(page).content.decode()
    theirs.name = "Assignment number two"
    theirs.save()
    assert offered() == ([], [])
    (dismissed,) = DismissedMatch.objects.all()
    again = {"action": "offer", "dismissed": dismissed.pk, "because": "It is the same after all."}
    assert client.post(page, {**again, "because": " "}).status_code == 422
    assert client.post(page, again).status_code == 303
    assert offered() == (["992"], [project.pk])
    events = AuditEvent.objects.filter(object_type="dismissedmatch").order_by("pk")
    assert [(event.action, event.actor, event.entity, event.reason) for event in events] == [
        ("match.dismissed", fay, firm.entity, "Theirs is the internal one."),
        ("match.offered-again", fay, firm.entity, "It is the same after all."),
    ]
    listed = reverse("mappings")
    asked = client.post(listed, {"action": "dismiss", "selected": [ours.pk]})
    told = {"action": "dismiss", "selected": [ours.pk], "confirmed": asked.context["confirmed"], "reason": "Still not."}
    assert "<li>Project ACM-2" in asked.content.decode()
    theirs.name = "Assignment number two, really"
    theirs.save()
    moved = client.post(listed, {**told, "shown": asked.context["form"].digest})
    assert moved.status_code == 422
    assert "Other matches are suggested by now" in moved.content.decode()
    assert offered() == (["992"], [project.pk]), "what it was not shown is not dismissed"
    assert client.post(listed, {**told, "shown": moved.context["form"].data["shown"]}).status_code == 303
    assert offered() == ([], [])
    with pytest.raises(IntegrityError, match="a_dismissal_says_why"), transaction.atomic():
        DismissedMatch.objects.update(reason="")
    client.force_login(world.user("otto", GrantRole.AUDITOR, firm.entity))
    assert client.post(page, {**said, "reason": "I may not."}).status_code == 403


def test_more_than_one_change_holds_is_said_and_not_cut_without_a_word(
    firm: Firm, fay: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, name in (("2", "Assignment number two"), ("3", "Quarterly review")):
        unmapped(firm, f"ACM-{number}", name)
        foreign(firm.target, f"99{number}", "project", name=name, code=f"ACM-{number}")
    rows()
    asked = Mapping.objects.filter(state="unmapped").order_by("code")
    monkeypatch.setattr("reconciliation.views.mapping_acts.AT_ONCE", 1)
    dismissed = DismissMatch({"reason": "None of them."}, queryset=asked, user=fay)
    assert not dismissed.is_valid()
    assert "2 records are chosen; choose 1 at most." in str(dismissed.errors)
    said = MapAsSuggested({"reason": "As suggested."}, queryset=asked, user=fay)
    assert said.is_valid()
    outcome = said.apply(asked, fay)
    assert outcome.message.startswith("1 mappings are drafted; 1 more were not looked at")
    assert [line.values["code"] for line in ChangeSet.objects.get().lines.all()] == ["ACM-2"]


def test_nobody_sees_or_maps_what_is_of_another_entity(firm: Firm, client: Client) -> None:
    lost = unmapped(firm, "ACM-2", "Acme audit")
    (row,) = rows(state="unmapped")
    client.force_login(world.user("gus", GrantRole.CONTROLLER, world.entity("GB", "GBP")))
    text = client.get(reverse("mappings"), {"tab": "all"}).content.decode()
    assert lost.name not in text
    assert client.get(reverse("mapping", args=[row.pk])).status_code == 404
    assert client.post(reverse("mapping", args=[row.pk]), {"other": "1", "reason": "x"}).status_code == 404


def test_an_auditor_reads_and_confirms_nothing(firm: Firm, client: Client) -> None:
    unmapped(firm, "ACM-2", "Acme audit")
    (row,) = rows(state="unmapped")
    client.force_login(world.user("ada", GrantRole.AUDITOR, firm.entity))
    assert "Draft the change" not in client.get(reverse("mapping", args=[row.pk])).content.decode()
    assert client.post(reverse("mapping", args=[row.pk]), {"other": "1", "reason": "x"}).status_code == 403


def test_the_page_of_a_record_tells_owner_keys_open_money_and_what_hangs_on_it(
    firm: Firm, fay: User, client: Client
) -> None:
    firm.source.settings = {"owns": ["project.name"]}
    firm.source.save()
    firm.admit(firm.time("1"))
    text = client.get(reverse("master_record", args=["project", firm.project.pk])).content.decode()
    for words in ("owned by Harvest-Us", "owned by Tieout", "960.00", "ACME-2026", "Propose a change", "Netsuite-Us"):
        assert words in text, words
    client.force_login(world.user("gus", GrantRole.CONTROLLER, world.entity("GB", "GBP")))
    assert client.get(reverse("master_record", args=["project", firm.project.pk])).status_code == 404


@pytest.mark.case(116)
def test_a_customer_of_two_entities_is_one_page_with_each_entitys_open_items(firm: Firm, client: Client) -> None:
    gb = build_second(firm)
    firm.admit(firm.time("1"))
    gb.admit(
        gb.time(
            "2",
            resource=Reference("", "bob", ""),
            project=Reference("", "ACM-GB", ""),
            approved_by=Reference("", "pia", ""),
        ),
        source=gb.source,
    )
    client.force_login(world.user("boss", GrantRole.CONTROLLER, everywhere=True))
    shown = client.get(reverse("master_record", args=["customer", firm.customer.pk])).context["open_items"]
    assert [(row["entity__code"], row["count"], row["amount"], row["currency"]) for row in shown] == [
        ("GB", 1, Decimal("960.00"), "USD"), ("US", 1, Decimal("960.00"), "USD"),
    ]  # fmt: skip
    client.force_login(world.user("gus", GrantRole.CONTROLLER, gb.entity))
    shown = client.get(reverse("master_record", args=["customer", firm.customer.pk])).context["open_items"]
    assert [row["entity__code"] for row in shown] == ["GB"]


def build_second(firm: Firm) -> Firm:
    """A second entity that works for the same customer, with a contract of its own."""
    entity = world.entity("GB", "USD")
    source = world.connection("harvest-gb", "harvest", entity, is_source=True, realm="gb")
    target = world.connection("netsuite-gb", "netsuite", entity, is_target=True, realm="gb")
    route = Route.objects.create(entity=entity, source=source, target=target, kind="time", valid_from=firms.SINCE)
    firms.periods(entity)
    contract = Contract.objects.create(
        code="ACME-GB", name="Acme", customer=firm.customer, entity=entity, currency="USD"
    )
    card = RateCard.objects.create(code="ACME-GB", contract=contract, valid_from=firms.SINCE)
    rate = Rate.objects.create(
        card=card, role=firm.role, currency="USD", amount=Decimal("120.00"), valid_from=firms.SINCE
    )
    found = firms.project("ACM-GB", entity, firm.customer, contract)
    bob, pia = (firms.person(code, code.title(), entity, firm.role) for code in ("bob", "pia"))
    for kind, record in (("project", found), ("resource", bob), ("resource", pia)):
        firms.key(target, kind, record.pk)
    return Firm(entity, source, target, route, firm.customer, contract, found, firm.role, bob, pia, card, rate)


def test_what_changed_shows_at_once_and_open_work_within_a_minute_where_counting_it_takes_long(firm: Firm) -> None:
    first = mappings.bring_up_to_date()
    assert mappings.bring_up_to_date() == first  # nothing moved, nothing is written
    MappingsKept.objects.update(seconds=1.0)  # as in a firm of thousands of projects
    firm.admit(firm.time("1"))
    assert mappings.bring_up_to_date() == first
    MappingsKept.objects.update(written_at=first - timedelta(minutes=2))
    assert mappings.bring_up_to_date() > first
    assert Mapping.objects.get(kind="project", code="ACM-1", system="netsuite").entries == 1
    MappingsKept.objects.update(seconds=1.0)
    unmapped(firm, "ACM-2", "Acme audit")  # a record is another matter: it shows at once, and so does its end
    assert rows(state="unmapped", code="ACM-2")
    Project.objects.filter(code="ACM-2").delete()
    assert not rows(code="ACM-2")


def test_the_page_is_read_from_what_is_kept_and_says_from_when_the_open_work_is(
    firm: Firm, fay: User, client: Client
) -> None:
    client.force_login(fay)
    assert "open work as of" in client.get(reverse("mappings")).content.decode()
    with CaptureQueriesContext(connection) as asked:
        client.get(reverse("mappings"))
    assert not any("reconciliation_mappings()" in query["sql"] for query in asked.captured_queries)


def test_the_list_and_its_file_say_what_a_mapping_is_worth_as_money(firm: Firm, fay: User, client: Client) -> None:
    unmapped(firm, "ACM-2", "Acme audit")
    firm.admit(firm.time("1", project=Reference("", "ACM-2", "")))
    mappings.bring_up_to_date()
    client.force_login(fay)
    address = reverse("mappings")
    page = client.get(address, {"tab": "unmapped"}).content.decode()
    assert "960.00 USD</td>" in page
    answer: Any = client.get(address, {"tab": "unmapped", "export": "csv"})
    told = b"".join(answer.streaming_content).decode()
    assert ",960.00 USD," in told
    assert "{" not in told
