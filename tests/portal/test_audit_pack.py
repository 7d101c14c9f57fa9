"""The chain proved by range and by a noted head, and the auditor's pack: whole, scoped, and true to its own manifest."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import zipfile
from datetime import date, timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.utils import timezone

from integrations.models import InboxMessage
from portal import audit, exports
from portal.history import bulk_create_with_reason, bulk_delete_with_reason, update_each_with_reason
from portal.models import AuditEvent, CostCentre, Export, GrantRole, LegalEntity, User
from portal.packs import Range
from portal.screens import exporting
from portal.views import pack_parts
from reconciliation import validation
from reconciliation.models import Hold
from tests import world
from tests.reconciliation import desk
from tests.reconciliation.firm import Firm, build

pytestmark = pytest.mark.django_db


def decide(count: int) -> list[AuditEvent]:
    entity = LegalEntity.objects.filter(code="US").first() or world.entity()
    return [audit.record(None, "period.closed", entity, entity=entity, reason=f"month {n}") for n in range(count)]


def verified(*arguments: str) -> tuple[int, str]:
    said = io.StringIO()
    try:
        call_command("verify_audit", *arguments, stdout=said)
    except SystemExit as ended:
        return int(ended.code or 0), said.getvalue()
    return 0, said.getvalue()


def tamper(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(statement)
        cursor.execute("SET LOCAL session_replication_role = origin")


def test_the_command_tells_range_result_and_head_and_ends_well_when_the_chain_holds() -> None:
    events = decide(3)
    code, said = verified()
    assert code == 0
    assert f"event {events[0].pk}" in said
    assert "events  3" in said
    assert events[2].digest in said
    assert "the chain holds" in said


def test_the_command_ends_badly_and_names_the_place_when_an_event_was_changed() -> None:
    events = decide(3)
    tamper(f"UPDATE portal_auditevent SET reason = 'other' WHERE id = {events[1].pk}")
    code, said = verified()
    assert code == 1
    assert "BROKEN at 1 place" in said
    assert f"Event {events[1].pk} (period.closed) was changed" in said


def test_a_range_is_walked_from_the_event_before_it_so_that_a_cut_at_its_edge_shows() -> None:
    old = [audit.record(None, "note", world.entity(), at=timezone.now() - timedelta(days=40))]
    new = decide(3)
    today = timezone.now().date()
    walked = audit.walk(today, today)
    assert walked.holds
    assert (walked.events, walked.head) == (3, new[2].digest)
    assert audit.walk(None, today - timedelta(days=1)).events == 1
    tamper(f"DELETE FROM portal_auditevent WHERE id = {new[0].pk}")
    assert not audit.walk(today, today).holds
    assert audit.walk(None, today - timedelta(days=1)).head == old[0].digest


def test_a_chain_cut_at_its_end_is_noticed_by_the_head_that_somebody_noted() -> None:
    events = decide(3)
    noted = events[2].digest
    assert verified("--head", noted)[0] == 0
    tamper(f"DELETE FROM portal_auditevent WHERE id = {events[2].pk}")
    assert audit.walk().holds
    code, said = verified("--head", noted)
    assert code == 1
    assert "No event bears the noted head" in said


def test_a_range_that_is_no_day_is_refused_in_words() -> None:
    with pytest.raises(CommandError, match="is no day"):
        call_command("verify_audit", "--since", "yesterday")


def test_on_screen_a_range_is_walked_and_that_it_was_walked_is_an_event_itself(client: Client) -> None:
    events = decide(2)
    otto = world.user("otto", GrantRole.AUDITOR, LegalEntity.objects.get(code="US"))
    client.force_login(otto)
    today = timezone.now().date().isoformat()
    shown = client.post("/audit/verify/", {"since": today, "until": today, "noted": events[1].digest})
    assert "The chain holds: 2 events" in shown.content.decode()
    proof = AuditEvent.objects.get(action=audit.PROVED)
    assert proof.actor == otto
    assert isinstance(proof.after, dict)
    assert proof.after["head"] == events[1].digest
    assert proof.after["result"] == "holds"
    assert "by otto" in client.get("/audit/").content.decode()
    wrong = client.post("/audit/verify/", {"since": "2026-10-02", "until": "2026-10-01"})
    assert wrong.status_code == 422
    assert "ends before it begins" in wrong.content.decode()
    assert client.post("/audit/verify/", {"noted": "not a digest"}).status_code == 422


def test_events_are_found_by_kind_operation_privilege_second_person_and_what_they_changed(client: Client) -> None:
    us = world.entity("US", "USD")
    otto = world.user("otto", GrantRole.AUDITOR, us)
    audit.record(otto, "user.granted", us, entity=us, after={"role": "admin"}, reason="r-grant")
    audit.record(otto, "operation.approved", us, entity=us, after={"operation": 77}, reason="r-approve")
    audit.record(
        otto, "entry-adopted", us, entity=us, before={"code": "ACM-1"}, after={"code": "ZED-9"}, reason="r-adopt"
    )
    client.force_login(otto)

    def found(query: str) -> set[str]:
        text = client.get(f"/audit/?{query}").content.decode()
        return {reason for reason in ("r-grant", "r-approve", "r-adopt") if reason in text}

    assert found("kind=access") == {"r-grant"}
    assert found("kind=entries") == {"r-approve", "r-adopt"}
    assert found("operation=77") == {"r-approve"}
    assert found("privileged=true") == {"r-grant"}
    assert found("privileged=false") == {"r-approve", "r-adopt"}
    assert found("maker_checker=true") == {"r-approve"}
    assert found("changed=zed-9") == {"r-adopt"}
    assert "Code: ACM-1 → ZED-9" in client.get("/audit/").content.decode()


def test_reading_a_payload_leaves_an_event_and_not_being_let_see_it_leaves_none(client: Client) -> None:
    us = world.entity("US", "USD")
    source = world.connection("harvest-us", "harvest", us, is_source=True)
    message = InboxMessage.objects.create(
        connection=source,
        stream="time",
        external_id="7",
        revision="1",
        payload={"hours": 8},
        received_at=timezone.now(),
    )
    manager = world.user("pat", GrantRole.PROJECT_MANAGER, us)
    client.force_login(manager)
    client.get(f"/inbox/{message.pk}/")
    assert not AuditEvent.objects.filter(action="payload.read").exists()
    otto = world.user("otto", GrantRole.AUDITOR, us)
    client.force_login(otto)
    assert client.get(f"/inbox/{message.pk}/").status_code == 200
    read = AuditEvent.objects.get(action="payload.read")
    assert (read.actor, read.entity, read.object_id) == (otto, us, str(message.pk))


# The pack


@pytest.fixture
def firm() -> Firm:
    return build()


@pytest.fixture
def otto(firm: Firm) -> User:
    return world.user("otto", GrantRole.AUDITOR, firm.entity)


def pack_of(client: Client, person: User, **more: str) -> tuple[Export, zipfile.ZipFile]:
    client.force_login(person)
    today = timezone.now().date()
    said = {"since": (today - timedelta(days=1)).isoformat(), "until": (today + timedelta(days=1)).isoformat(), **more}
    answer = client.post("/audit/pack/", said)
    assert (answer.status_code, answer["Location"]) == (303, "/exports/")
    export = Export.objects.latest("pk")
    exporting.make(export.pk)
    export.refresh_from_db()
    assert export.state == Export.State.READY, export.problem
    got: Any = client.get(f"/exports/{export.pk}/file/")
    assert got.status_code == 200
    assert got["Content-Type"] == "application/zip"
    return export, zipfile.ZipFile(io.BytesIO(b"".join(got.streaming_content)))


def rows_of(pack: zipfile.ZipFile, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(pack.read(name).decode("utf-8-sig"))))


def test_a_pack_holds_decisions_history_moves_and_causes_and_says_whether_the_chain_holds(
    client: Client, firm: Firm, otto: User
) -> None:
    desk.off_rate(firm, 3)
    desk.ready(firm, 2)
    cleo = world.user("cleo", GrantRole.CONTROLLER, firm.entity)
    before = firm.project.name
    update_each_with_reason(type(firm.project), [(firm.project, {"name": "Renamed"})], reason="as ordered", actor=cleo)
    event = audit.record(cleo, "project-renamed", firm.project, entity=firm.entity, reason="=as ordered()")
    export, pack = pack_of(client, otto)
    manifest = json.loads(pack.read("manifest.json"))
    assert manifest["chain"]["result"] == "holds"
    assert manifest["chain"]["head"] == event.digest
    for file in manifest["files"]:
        assert hashlib.sha256(pack.read(file["name"])).hexdigest() == file["sha256"], file["name"]
    by_name = {file["name"]: file["rows"] for file in manifest["files"]}
    decisions = rows_of(pack, "decisions.csv")
    assert len(decisions) == by_name["decisions.csv"] == 1
    assert decisions[0]["digest"] == event.digest
    assert decisions[0]["reason"] == "'=as ordered()"  # no spreadsheet runs it
    changed = [row for row in rows_of(pack, "history.csv") if row["field"] == "name" and row["what"] == "changed"]
    assert [(row["record"], row["before"], row["after"], row["who"], row["reason"]) for row in changed] == [
        ("project", before, "Renamed", "cleo", "as ordered")
    ]
    moves = rows_of(pack, "moves.csv")
    assert [row["to"] for row in moves].count("held") == 3
    assert [row["to"] for row in moves].count("ready") == 2
    assert {row["entity"] for row in moves} == {"US"}
    assert len(rows_of(pack, "cases.csv")) == by_name["cases.csv"] == 1
    assert pack.read("summary.pdf").startswith(b"%PDF")
    assert pack.read("pack.xlsx").startswith(b"PK")
    assert export.rows == sum(by_name[f"{part}.csv"] for part in (
        "decisions", "history", "moves", "cases", "resolutions", "comparisons"
    ))  # fmt: skip


def test_a_pack_made_over_a_broken_chain_says_so(client: Client, firm: Firm, otto: User) -> None:
    events = decide(3)
    tamper(f"UPDATE portal_auditevent SET reason = 'other' WHERE id = {events[1].pk}")
    manifest = json.loads(pack_of(client, otto)[1].read("manifest.json"))
    assert manifest["chain"]["result"] == "broken"
    assert f"Event {events[1].pk}" in manifest["chain"]["problems"][0]


def test_a_pack_holds_nothing_of_an_entity_that_its_reader_does_not_see(client: Client, firm: Firm) -> None:
    desk.off_rate(firm, 2)
    centre = CostCentre(entity=firm.entity, code="SECRET", name="Secret")
    bulk_create_with_reason(CostCentre, [centre], reason="new")
    bulk_delete_with_reason(CostCentre, [centre], reason="gone again")
    audit.record(None, "note", firm.project, entity=firm.entity, reason="only for the US")
    gb = world.entity("GB", "GBP")
    gus = world.user("gus", GrantRole.AUDITOR, gb)
    audit.record(None, "note", gb, entity=gb, reason="for GB")
    pack = pack_of(client, gus)[1]
    assert [row["reason"] for row in rows_of(pack, "decisions.csv")] == ["for GB"]
    assert rows_of(pack, "moves.csv") == rows_of(pack, "cases.csv") == rows_of(pack, "resolutions.csv") == []
    whole = b"".join(pack.read(name) for name in pack.namelist() if name.endswith((".csv", ".json")))
    for word in (b"SECRET", b"ACM-1", b"only for the US", b"netsuite-us"):
        assert word not in whole, word


def test_a_decision_of_several_entities_is_in_the_pack_of_each_of_them_and_in_no_other(
    client: Client, firm: Firm
) -> None:
    gb, fr = world.entity("GB", "GBP"), world.entity("FR", "EUR")
    audit.record(None, "note", gb, entities=[gb.pk, fr.pk], reason="for GB and FR")
    audit.record(None, "note", world.connection("group", "harvest"), reason="for all")
    head = world.user("head", GrantRole.AUDITOR, everywhere=True)
    told = {}
    for entity in (firm.entity, gb):
        today = timezone.now().date()
        told[entity.code] = {row[8] for row in pack_parts.decisions(Range(head, [entity], today, today))}
    assert "for GB and FR" in told["GB"]
    assert "for GB and FR" not in told["US"]
    assert "for all" in told["US"] & told["GB"]


def test_a_pack_is_narrowed_to_the_entities_looked_at(client: Client, firm: Firm) -> None:
    gb = world.entity("GB", "GBP")
    audit.record(None, "note", gb, entity=gb, reason="for GB")
    audit.record(None, "note", firm.entity, entity=firm.entity, reason="for US")
    head = world.user("head", GrantRole.AUDITOR, everywhere=True)
    assert {row["reason"] for row in rows_of(pack_of(client, head)[1], "decisions.csv")} >= {"for GB", "for US"}
    client.post("/entities/", {"entities": ["GB"], "next": "/audit/"})
    session = client.session
    session["entities"] = ["GB"]
    session.save()
    today = timezone.now().date().isoformat()
    client.post("/audit/pack/", {"since": today, "until": today})
    export = Export.objects.latest("pk")
    assert export.entities == [gb.pk]


def test_a_pack_is_for_auditors_controllers_and_admins_in_the_entities_where_they_are(
    client: Client, firm: Firm
) -> None:
    analyst = world.user("ana2", GrantRole.ANALYST, firm.entity)
    client.force_login(analyst)
    assert client.get("/audit/pack/").status_code == 403
    assert client.post("/audit/pack/", {"since": "2026-10-01", "until": "2026-10-31"}).status_code == 403
    assert "Auditor&#x27;s pack" not in client.get("/audit/").content.decode()


def test_who_lost_the_role_before_it_was_made_gets_no_pack(client: Client, firm: Firm, otto: User) -> None:
    client.force_login(otto)
    client.post("/audit/pack/", {"since": "2026-10-01", "until": "2026-10-31"})
    export = Export.objects.latest("pk")
    otto.grants.update(role=GrantRole.ANALYST)
    exporting.make(export.pk)
    export.refresh_from_db()
    assert export.state == Export.State.FAILED
    assert "This page is for" in export.problem


def test_days_that_end_before_they_begin_or_are_too_many_are_refused_in_words(
    client: Client, firm: Firm, otto: User
) -> None:
    client.force_login(otto)
    wrong = client.post("/audit/pack/", {"since": "2026-10-31", "until": "2026-10-01"})
    assert wrong.status_code == 422
    assert "end before they begin" in wrong.content.decode()
    long = client.post("/audit/pack/", {"since": "2024-01-01", "until": "2026-10-01"})
    assert long.status_code == 422
    assert exports.due() == []
    assert date(2026, 10, 1).isoformat() in long.content.decode()


def test_bulk_writes_stand_in_the_history_of_the_record_and_in_the_pack(client: Client, firm: Firm, otto: User) -> None:
    centres = [CostCentre(entity=firm.entity, code=f"CC-{n}", name=f"Centre {n}") for n in range(30)]
    bulk_create_with_reason(CostCentre, centres, reason="the new chart", actor=otto)
    update_each_with_reason(
        CostCentre, [(c, {"name": f"New {c.code}"}) for c in centres], reason="renamed all", actor=otto
    )
    bulk_delete_with_reason(CostCentre, centres[:5], reason="not used", actor=otto)
    shown = client
    shown.force_login(otto)
    page = shown.get(f"/history/costcentre/{centres[9].pk}/").content.decode()
    assert "<del>Centre 9</del>" in page
    assert "renamed all" in page
    told = [row for row in rows_of(pack_of(client, otto)[1], "history.csv") if row["record"] == "costcentre"]
    assert sum(row["what"] == "changed" and row["field"] == "name" for row in told) == 30
    assert {row["what"] for row in told} >= {"made", "changed"}


def test_a_waiver_stands_in_the_pack_with_its_person_and_reason(client: Client, firm: Firm, otto: User) -> None:
    [held] = desk.off_rate(firm, 1)
    ana = world.user("ana2", GrantRole.ANALYST, firm.entity)
    hold = Hold.objects.get(entry_id=held)
    validation.waive([hold.pk], by=ana, reason="agreed by mail")
    told = rows_of(pack_of(client, otto)[1], "resolutions.csv")
    assert [(row["outcome"], row["by"], row["reason"]) for row in told] == [("Waived", "ana2", "agreed by mail")]
