"""Master data that moves under open work: a merge in the CRM, and an entity that goes to another ERP on a day."""

from __future__ import annotations

from datetime import date

import pytest

from portal import changes_watch, master_intake
from portal.models import Crosswalk, Customer, LedgerEntry, RejectedValue
from portal.records import MasterKind, MasterRecord, Reference
from reconciliation import mappings, validation
from reconciliation.models import Mapping, Route
from tests import world
from tests.reconciliation import firm as firms
from tests.reconciliation.firm import Firm, build, entry, post, state

pytestmark = pytest.mark.django_db


@pytest.fixture
def firm() -> Firm:
    return build()


def merged(key: str, into: str) -> MasterRecord:
    return MasterRecord(
        kind=MasterKind.CUSTOMER, external_id=key, revision="9", code="ACME", name="Acme Inc.", is_active=False,
        attributes={"merged_into": into},
    )  # fmt: skip


@pytest.mark.case(22)
def test_a_merge_in_the_crm_moves_open_work_to_the_survivor_and_leaves_what_is_posted(firm: Firm) -> None:
    crm = world.connection(
        "crm", "salesforce", is_source=True, settings={"owns": ["customer.merged_into", "customer.active_to"]}
    )
    survivor = Customer.objects.create(code="BIG", name="Big Corp", currency="USD")
    firms.key(crm, "customer", firm.customer.pk, "001A")
    firms.key(crm, "customer", survivor.pk, "001B")
    firms.key(firm.target, "customer", firm.customer.pk, "55")
    booked, waiting = (firm.admit(firm.time(str(n), work_date=date(2026, 10, n))).ready[0] for n in (1, 2))
    post([booked])
    assert entry(waiting).customer == firm.customer
    assert master_intake.take_in(crm, [(1, merged("001A", "001B"))]) == master_intake.Outcome()
    validation.follow_changes()
    firm.customer.refresh_from_db()
    assert firm.customer.merged_into == survivor
    changes = firm.customer.history.count()
    assert (entry(waiting).customer, state(waiting)) == (survivor, "ready")
    assert (entry(booked).customer, state(booked)) == (firm.customer, "posted")
    theirs = Crosswalk.objects.get(system="salesforce", external_id="001A")
    assert (theirs.internal_id, theirs.allows_many) == (survivor.pk, True)
    assert Crosswalk.objects.get(system="netsuite", kind="customer").internal_id == firm.customer.pk
    mappings.bring_up_to_date()
    assert Mapping.objects.filter(kind="customer", system="netsuite", is_inactive=True, external_id="55").exists()
    assert master_intake.take_in(crm, [(2, merged("001A", "001B"))]) == master_intake.Outcome()
    assert firm.customer.history.count() == changes > 0
    assert not RejectedValue.objects.filter(state="open").exists()


@pytest.mark.case(114)
def test_an_entity_moves_to_another_erp_on_a_day_and_open_work_follows_its_work_date(firm: Firm) -> None:
    before, after, booked = (firm.admit(firm.time(str(n), work_date=date(2026, 10, n))).ready[0] for n in (5, 20, 21))
    post([booked])
    new = world.connection("erp-new", "netsuite", firm.entity, is_target=True, realm="new")
    for kind, record in (("project", firm.project), ("resource", firm.ana), ("resource", firm.pat)):
        Crosswalk.objects.filter(realm="", system="netsuite", kind=kind, internal_id=record.pk).update(
            valid_to=date(2026, 10, 15)
        )
        firms.key(new, kind, record.pk, f"NEW-{record.pk}", valid_from=date(2026, 10, 16))
    old = Route.objects.get(kind="time")
    old.valid_to = date(2026, 10, 15)
    old.save()
    following = Route.objects.create(
        entity=firm.entity, source=firm.source, target=new, kind="time", valid_from=date(2026, 10, 16)
    )
    changes_watch.note("route", [old.pk, following.pk])
    changes_watch.note("crosswalk", Crosswalk.objects.values_list("pk", flat=True))
    validation.follow_changes()
    assert (state(before), entry(before).target) == ("ready", firm.target)
    assert (state(booked), entry(booked).target) == ("posted", firm.target)
    assert state(after) == "cancelled"
    moved = LedgerEntry.objects.exclude(state_row__state="cancelled").get(document=entry(after).document_id)
    assert (moved.target, moved.target_keys["project"]) == (new, f"NEW-{firm.project.pk}")
    assert moved.idempotency_key != entry(after).idempotency_key
    again = firm.admit(firm.time("9", work_date=date(2026, 10, 22), project=Reference("", "ACM-1", ""))).ready[0]
    assert entry(again).target == new
