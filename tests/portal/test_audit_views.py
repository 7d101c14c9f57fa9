"""The audit trail, the history of records and master data on screen: what they tell, to whom, and that the chain is proved."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from portal import audit
from portal.history import update_each_with_reason
from portal.models import (
    Alias,
    AuditEvent,
    Contract,
    Crosswalk,
    Customer,
    EntityGrant,
    GrantRole,
    LegalEntity,
    Project,
    Rate,
    RateCard,
    Role,
    User,
)
from portal.views.governed import governed, masters
from tests import world

pytestmark = pytest.mark.django_db


@pytest.fixture
def us() -> LegalEntity:
    return world.entity("US", "USD")


@pytest.fixture
def de() -> LegalEntity:
    return world.entity("DE", "EUR")


@pytest.fixture
def cleo(us: LegalEntity) -> User:
    return world.user("cleo", GrantRole.CONTROLLER, us)


@pytest.fixture
def otto(us: LegalEntity) -> User:
    return world.user("otto", GrantRole.AUDITOR, us)


def project(code: str, owner: LegalEntity) -> Project:
    customer = Customer.objects.create(code=f"C-{code}", name=f"Customer {code}", entity=owner, currency=owner.currency)
    contract = Contract.objects.create(
        code=f"K-{code}", name="Contract", customer=customer, entity=owner, currency=owner.currency
    )
    return Project.objects.create(code=code, name=f"Project {code}", entity=owner, customer=customer, contract=contract)


def page(client: Client, user: User, address: str) -> str:
    client.force_login(user)
    response = client.get(address)
    assert response.status_code == 200, address
    return str(response.content.decode())


def status(client: Client, user: User, address: str) -> int:
    client.force_login(user)
    return int(client.get(address).status_code)


def test_an_auditor_reads_the_events_of_the_entity_and_of_what_all_share_but_not_of_another(
    client: Client, us: LegalEntity, de: LegalEntity, cleo: User, otto: User
) -> None:
    audit.record(
        cleo, "period-opened", us, entity=us, reason="late hours", before={"state": "closed"}, after={"state": "open"}
    )
    audit.record(cleo, "connection-paused", de, entity=de, reason="not for the US to read")
    audit.record(None, "key-rotated", world.connection("group", "harvest"), reason="for everybody")
    shown = page(client, otto, "/audit/")
    assert "Period opened" in shown
    assert "Key rotated" in shown
    assert "not for the US to read" not in shown
    foreign = AuditEvent.objects.get(entity=de)
    assert status(client, otto, f"/audit/{foreign.pk}/") == 404


def test_a_decision_tells_as_what_and_in_which_request_it_was_taken_and_from_where_to_those_who_prove(
    client: Client, us: LegalEntity, cleo: User
) -> None:
    client.force_login(cleo)
    answer = client.get("/audit/?export=csv", REMOTE_ADDR="192.0.2.7")
    event = AuditEvent.objects.get(action="export.downloaded")
    assert (event.roles, event.address, event.request_id) == ("controller", "192.0.2.7", answer["X-Request-ID"])
    assert len(event.request_id) == 32
    assert audit.verify() == []
    shown = page(client, cleo, f"/audit/{event.pk}/")
    assert "as controller" in shown
    assert "192.0.2.7" in shown
    assert "192.0.2.7" in page(client, cleo, "/audit/?columns=action,address")
    pm = world.user("paula", GrantRole.PROJECT_MANAGER, us)
    assert "Export downloaded" in page(client, pm, "/audit/?columns=action,address")
    for address in ("/audit/?columns=action,address", f"/audit/{event.pk}/"):
        assert "192.0.2.7" not in page(client, pm, address)


def test_lists_and_kinds_are_told_in_words(client: Client, us: LegalEntity, otto: User) -> None:
    audit.record(None, "legalentity.configured", us, entity=us, after={"roles": ["auditor in all", "analyst in US"]})
    shown = page(client, otto, "/audit/")
    assert "Legal entity configured" in shown
    assert "Roles: auditor in all, analyst in US" in shown
    assert "legalentity" not in shown.replace("/history/legalentity", "")


def test_a_grant_keeps_its_history_and_is_read_by_those_who_answer_for_it(
    client: Client, us: LegalEntity, de: LegalEntity, cleo: User, otto: User
) -> None:
    grant = EntityGrant.objects.get(user=otto)
    foreign = EntityGrant.objects.get(user=world.user("dieter", GrantRole.AUDITOR, de))
    update_each_with_reason(
        EntityGrant, [(grant, {"role": GrantRole.CONTROLLER})], reason="Takes over from Cleo", actor=cleo
    )
    told = page(client, otto, f"/history/entitygrant/{grant.pk}/")
    assert "Takes over from Cleo" in told
    assert "<del>Auditor</del>" in told
    listed = page(client, cleo, "/master/entitygrant/")
    assert "otto" in listed
    assert "dieter" not in listed
    assert status(client, cleo, f"/history/entitygrant/{foreign.pk}/") == 404
    pm = world.user("paula", GrantRole.PROJECT_MANAGER, us)
    assert "otto" not in page(client, pm, "/master/entitygrant/")
    assert status(client, pm, f"/master/entitygrant/{grant.pk}/") == 404


def test_what_another_person_took_out_is_told_only_where_its_rows_belong(
    client: Client, us: LegalEntity, de: LegalEntity, cleo: User, otto: User
) -> None:
    client.force_login(cleo)
    client.get("/audit/?text=Secret%20customer&export=csv")
    event = AuditEvent.objects.get(action="export.downloaded")
    assert event.entity == us
    assert "Export downloaded" in page(client, otto, "/audit/")
    foreign = world.user("dieter", GrantRole.AUDITOR, de)
    assert "Export downloaded" not in page(client, foreign, "/audit/")
    assert status(client, foreign, f"/audit/{event.pk}/") == 404
    EntityGrant.objects.create(user=cleo, entity=de, role=GrantRole.AUDITOR)
    client.force_login(cleo)
    client.get("/audit/?text=Secret%20merger&export=csv")
    of_both = AuditEvent.objects.filter(action="export.downloaded").latest("pk")
    assert of_both.entity is None
    assert status(client, foreign, f"/audit/{of_both.pk}/") == 404
    assert status(client, cleo, f"/audit/{of_both.pk}/") == 200
    assert status(client, world.user("head", GrantRole.AUDITOR, everywhere=True), f"/audit/{of_both.pk}/") == 200


def test_a_decision_without_an_entity_is_told_only_where_all_entities_share_what_it_is_about(
    client: Client, us: LegalEntity, cleo: User, otto: User
) -> None:
    shared = world.connection("group", "harvest")
    paused = audit.record(cleo, "connection-paused", shared, reason="maintenance")
    configured = audit.record(cleo, "connection.configured", shared, after={"credentials": {"token": {"env": "T"}}})
    of_several = audit.record(cleo, "rates.rebooked", us, after={"bills": {"INV-7": {"billed": "100"}}})
    assert status(client, otto, f"/audit/{paused.pk}/") == 200
    for event in (configured, of_several):
        assert status(client, otto, f"/audit/{event.pk}/") == 404
        assert status(client, cleo, f"/audit/{event.pk}/") == 200


def test_a_decision_of_several_entities_says_which_and_is_found_by_each(client: Client, us: LegalEntity) -> None:
    gb, fr = world.entity("GB", "GBP"), world.entity("FR", "EUR")
    event = audit.record(None, "note", gb, entities=[gb.pk, fr.pk], reason="for two of them")
    head = world.user("head", GrantRole.AUDITOR, everywhere=True)
    shown = page(client, head, f"/audit/{event.pk}/")
    assert "<dd>GB, FR</dd>" in shown
    assert "all entities" not in shown
    assert "GB, FR" in page(client, head, "/audit/")
    for asked, is_found in (("entity=GB", True), ("entity=FR", True), ("entity=US", False)):
        assert ("for two of them" in page(client, head, f"/audit/?{asked}")) == is_found
    for asked, is_found in (("entities=GB", True), ("entities=FR", True), ("entities=US", False)):
        assert ("for two of them" in page(client, head, f"/audit/?{asked}")) == is_found


def test_an_event_shows_before_and_after_field_by_field(
    client: Client, us: LegalEntity, cleo: User, otto: User
) -> None:
    event = audit.record(
        cleo, "period-opened", us, entity=us, reason="late hours",
        before={"state": "closed", "code": "2026-10"}, after={"state": "open", "code": "2026-10"},
    )  # fmt: skip
    shown = page(client, otto, f"/audit/{event.pk}/")
    assert "<del>closed</del>" in shown
    assert "<ins>open</ins>" in shown
    assert "<del>2026-10</del>" not in shown
    assert event.digest in shown


def test_a_decision_about_several_records_is_told_field_by_field_and_never_as_it_is_stored(
    client: Client, us: LegalEntity, cleo: User, otto: User
) -> None:
    before = [{"code": "ACME", "payment_terms": "14", "name": "Acme"}, None]
    after = [{"code": "ACME", "payment_terms": "33", "name": "Acme"}, {"code": "NRD", "name": "Nordhaven"}]
    event = audit.record(cleo, "change.applied", us, entity=us.pk, before=before, after=after)
    nested = audit.record(
        cleo, "change.submitted", us, entity=us.pk,
        after={"hash": "a" * 64, "preview": {
            "passes": {"entries": 3, "money": {"USD": {"before": "0", "after": "360"}}}, "fails": {"entries": 0, "money": {}},
            "repriced": {"entries": 1, "money": {"USD": {"before": "100", "after": "120"}}},
            "booked": {"entries": 2, "billed": 1, "is_cut": False}, "causes": {"close": 1, "open": 0},
        }},
    )  # fmt: skip
    client.force_login(otto)
    page = client.get(f"/audit/{event.pk}/").content.decode().split("As it is stored")[0]
    assert '<span class="name">ACME: payment terms</span>' in page
    assert "<del>14</del>" in page
    assert "<ins>33</ins>" in page
    assert '<span class="name">NRD: name</span>' in page
    assert "ACME: name" not in page
    listed = client.get("/audit/").content.decode()
    assert "ACME: payment terms: 14 → 33" in listed
    said = "Dry-run: 3 entries would pass (360.00 USD); 1 entry would get another amount (+20.00 USD)"
    assert said[:59] in listed
    whole = client.get(f"/audit/{nested.pk}/").content.decode()
    assert (
        f"{said[9:]}; 2 entries are booked and would need a correction, 1 of them billed; 1 cause would close" in whole
    )
    assert "Digest of what was submitted" in whole
    assert "&quot;payment_terms&quot;" not in listed
    assert nested.pk > event.pk


def test_filters_find_events_by_person_action_and_text(client: Client, us: LegalEntity, cleo: User, otto: User) -> None:
    audit.record(cleo, "period-opened", us, entity=us, reason="late hours")
    audit.record(None, "case-closed", us, entity=us, reason="by itself")
    assert "Case closed" not in page(client, otto, "/audit/?actor=cleo")
    assert "Period opened" not in page(client, otto, "/audit/?action=case")
    assert "Case closed" in page(client, otto, "/audit/?text=itself")
    assert "No row matches this filter" in page(client, otto, "/audit/?text=nowhere")


def test_the_chain_is_verified_and_a_changed_event_is_named(
    client: Client, us: LegalEntity, cleo: User, otto: User
) -> None:
    for number in range(3):
        audit.record(cleo, "note", us, entity=us, reason=f"number {number}")
    client.force_login(otto)
    shown = client.post("/audit/verify/").content.decode()
    assert "Nobody has walked it yet" not in shown
    assert "Last walked" in shown
    head = AuditEvent.objects.exclude(action=audit.PROVED).order_by("pk").last()
    assert head is not None
    assert "The chain holds: 3 events" in shown
    assert head.digest in shown
    changed = AuditEvent.objects.order_by("pk")[1]
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute("UPDATE portal_auditevent SET reason = 'other' WHERE id = %s", [changed.pk])
        cursor.execute("SET LOCAL session_replication_role = DEFAULT")
    broken = client.post("/audit/verify/").content.decode()
    assert "The chain is broken at 1 place" in broken
    assert f"Event {changed.pk} (note) was changed after it was written." in broken


def test_what_a_governed_change_did_is_told_in_a_few_words_and_line_by_line_on_its_page(
    client: Client, us: LegalEntity, cleo: User, otto: User
) -> None:
    rate = {
        "card": "ACME-2026",
        "card_version": "3",
        "role": "senior",
        "amount": "120",
        "currency": "USD",
        "valid_to": "",
    }
    lines = [
        {"model": "rate", "key": 7, "action": "change", "before": rate, "after": {**rate, "amount": "155"}},
        {
            "model": "purchase_order",
            "key": None,
            "action": "add",
            "before": None,
            "after": {"contract": "A", "number": "PO-1"},
        },
        {
            "model": "rate",
            "key": 8,
            "action": "change",
            "before": rate,
            "after": {**rate, "amount": "156"},
            "record": "R",
        },
    ]
    audit.record(
        cleo, "change.submitted", us, entity=us, reason="x", after={"title": "Rates", "lines": lines, "hash": "a" * 64}
    )
    shown = page(client, otto, "/audit/")
    assert "rate ACME-2026 · 3 · senior: amount 120 → 155; purchase order A · PO-1 added; and 1 more" in shown
    event = AuditEvent.objects.get(action="change.submitted")
    detail = page(client, otto, f"/audit/{event.pk}/")
    assert "rate ACME-2026 · 3 · senior: amount" in detail
    assert "rate R: amount" in detail
    assert "before (card" not in detail


def test_verifying_is_for_auditors_controllers_and_admins(client: Client, us: LegalEntity) -> None:
    analyst = world.user("ana", GrantRole.ANALYST, us)
    assert "Verify the chain" not in page(client, analyst, "/audit/")
    assert client.post("/audit/verify/").status_code == 403
    assert status(client, analyst, "/audit/verify/") == 403


def test_the_history_of_a_record_joins_its_versions_and_its_decisions(
    client: Client, us: LegalEntity, cleo: User, otto: User
) -> None:
    subject = project("ACM-1", us)
    other = Customer.objects.create(code="NORD", name="Nordic", entity=us, currency="USD")
    update_each_with_reason(Project, [(subject, {"name": "Renamed", "customer": other})], reason="merged", actor=cleo)
    audit.record(cleo, "project-reopened", subject, entity=us, reason="late hours")
    shown = page(client, otto, f"/history/project/{subject.pk}/")
    assert "<del>Project ACM-1</del>" in shown
    assert "<ins>Renamed</ins>" in shown
    assert "<ins>NORD Nordic</ins>" in shown  # names, not keys
    assert "by cleo" in shown
    assert "merged" in shown
    assert shown.index("Project reopened") < shown.index("Renamed</ins>")  # latest first


def test_histories_and_lists_of_another_entity_are_not_found(
    client: Client, us: LegalEntity, de: LegalEntity, otto: User
) -> None:
    ours, theirs = project("ACM-1", us), project("SECRET-1", de)
    assert status(client, otto, f"/history/project/{ours.pk}/") == 200
    for subject in (theirs, theirs.contract, theirs.customer):
        assert subject is not None
        assert status(client, otto, f"/history/{subject._meta.model_name}/{subject.pk}/") == 404
        assert "SECRET-1" not in page(client, otto, f"/master/{subject._meta.model_name}/")
    assert status(client, otto, "/history/user/1/") == 404
    assert status(client, otto, "/history/session/1/") == 404


def test_rates_keys_and_aliases_are_seen_with_the_record_they_hang_on(
    client: Client, us: LegalEntity, de: LegalEntity, otto: User
) -> None:
    role = Role.objects.create(code="senior", name="Senior consultant")
    for owner, code, amount in ((us, "ACM-1", 120), (de, "SECRET-1", 999)):
        subject = project(code, owner)
        card = RateCard.objects.create(code=f"CARD-{code}", contract=subject.contract, valid_from="2020-01-01")
        Rate.objects.create(card=card, role=role, currency=owner.currency, amount=amount, valid_from="2020-01-01")
        Crosswalk.objects.create(
            system="harvest", kind="project", external_id=f"h-{code}", internal_id=subject.pk, valid_from="2020-01-01"
        )
        Alias.objects.create(kind="project", code=f"typo-{code}", internal_id=subject.pk, valid_from="2020-01-01")
    RateCard.objects.create(code="DEFAULT", valid_from="2020-01-01")
    for kind in ("ratecard", "rate", "crosswalk", "alias"):
        shown = page(client, otto, f"/master/{kind}/")
        assert "ACM-1" in shown, kind
        assert "SECRET-1" not in shown, kind
    assert "999" not in page(client, otto, "/master/rate/")
    assert "DEFAULT" in page(client, otto, "/master/ratecard/")
    secret = Rate.objects.get(amount=999)
    for address in (f"/history/rate/{secret.pk}/", f"/history/ratecard/{secret.card_id}/"):
        assert status(client, otto, address) == 404
    hidden = Crosswalk.objects.get(external_id="h-SECRET-1")
    assert status(client, otto, f"/history/crosswalk/{hidden.pk}/") == 404


@pytest.mark.parametrize("kind", sorted(masters()))
def test_every_kind_of_master_data_has_a_list_an_export_and_a_fixed_number_of_queries(
    client: Client, us: LegalEntity, cleo: User, kind: str
) -> None:
    role = Role.objects.create(code="senior", name="Senior consultant")

    def fill(code: str) -> None:
        subject = project(code, us)
        card = RateCard.objects.create(code=f"CARD-{code}", contract=subject.contract, valid_from="2020-01-01")
        Rate.objects.create(card=card, role=role, currency="USD", amount=120, valid_from="2020-01-01")
        Crosswalk.objects.create(
            system="harvest", kind="project", external_id=code, internal_id=subject.pk, valid_from="2020-01-01"
        )
        Alias.objects.create(kind="project", code=code, internal_id=subject.pk, valid_from="2020-01-01")

    fill("ONE")
    page(client, cleo, f"/master/{kind}/")
    with CaptureQueriesContext(connection) as few:
        page(client, cleo, f"/master/{kind}/")
    for number in range(5):
        fill(f"MORE-{number}")
    with CaptureQueriesContext(connection) as many:
        page(client, cleo, f"/master/{kind}/?text=")
    assert len(many) <= len(few), [query["sql"] for query in many.captured_queries]
    answer: Any = client.get(f"/master/{kind}/?export=csv&text=a&on=2026-10-01")
    assert b"Tieout" in b"".join(answer.streaming_content)


@pytest.mark.parametrize("kind", ["connection", "exceptioncase", "nothing-at-all"])
@pytest.mark.parametrize("query", ["", "?export=csv", "?export=xlsx"])
def test_what_is_no_master_data_is_not_found_as_a_page_nor_as_a_file(
    client: Client, cleo: User, kind: str, query: str
) -> None:
    assert status(client, cleo, f"/master/{kind}/{query}") == 404


def test_every_record_with_history_is_reachable_or_named_by_an_audit_event() -> None:
    assert set(masters()) <= set(governed())
    assert {"connection", "route", "exceptioncase"} <= set(governed())


def test_a_person_without_a_role_sees_none_of_it(client: Client, us: LegalEntity) -> None:
    stranger = world.user("nobody")
    for address in ("/audit/", "/audit/verify/", "/master/project/", f"/history/legalentity/{us.pk}/"):
        assert status(client, stranger, address) == 403
    assert "hold no role yet" in page(client, stranger, "/")
