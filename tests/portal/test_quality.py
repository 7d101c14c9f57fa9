"""What may not become master data, whoever says it: the rules that protect the ERP."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from portal import history, master_intake, quality
from portal.models import (
    Connection,
    Contract,
    Crosswalk,
    Customer,
    IntercompanyRelation,
    LegalEntity,
    Project,
    RejectedValue,
)
from portal.records import MasterKind, MasterRecord, Reference
from portal.sql import now
from tests import world

pytestmark = pytest.mark.django_db
TODAY = date(2026, 11, 1)
VAT, BAD_VAT, FRENCH_VAT = "DE136695976", "DE136695970", "FR40303265045"


@pytest.fixture
def de() -> LegalEntity:
    return world.entity("DE", "EUR", zone="Europe/Berlin")


@pytest.fixture
def erp(de: LegalEntity) -> Connection:
    return world.connection("erp", is_source=True, owner=de, settings={"owns": ["customer", "project"]})


def made(code: str = "A", name: str = "Acme", **more: Any) -> Customer:
    return Customer.objects.create(code=code, name=name, currency="EUR", **more)


def judged(judge: Any, row: Any = None, **values: Any) -> list[tuple[str, str]]:
    proposed = quality.Proposed("x", row.pk if row else None, values, row)
    return [(fault.field, fault.message) for fault in judge([proposed], TODAY)]


def take(connection: Connection, *records: MasterRecord) -> master_intake.Outcome:
    return master_intake.take_in(connection, list(enumerate(records)))


def said(external_id: str, name: str, revision: str = "1", **more: Any) -> MasterRecord:
    values = {"code": external_id.upper(), "parent": Reference(key=more.pop("parent", "")), **more.pop("fields", {})}
    return MasterRecord(
        kind=MasterKind.CUSTOMER, external_id=external_id, revision=revision, name=name,
        attributes={"currency": "EUR", **more}, **values,
    )  # fmt: skip


def test_a_tax_number_whose_check_digit_fails_is_not_taken_and_the_rest_is(erp: Connection) -> None:
    assert take(erp, said("c1", "Acme", tax_number=BAD_VAT)) == master_intake.Outcome()
    ours, value = Customer.objects.get(), RejectedValue.objects.get()
    assert (ours.name, ours.tax_number, value.said) == ("Acme", "", BAD_VAT)
    assert value.reason == f"Tax number “{BAD_VAT}” does not look like a valid tax number; check it with the customer."
    take(erp, said("c1", "Acme", "2", tax_number=VAT))
    ours.refresh_from_db()
    value.refresh_from_db()
    assert (ours.tax_number, value.state) == (VAT, "settled")


def test_a_number_of_a_country_that_nobody_can_judge_is_taken(erp: Connection) -> None:
    take(erp, said("c1", "Acme", tax_number="QQ-4711"))
    assert Customer.objects.get().tax_number == "QQ-4711"


@pytest.mark.case(131)
def test_a_customer_of_the_same_name_and_tax_number_is_not_made_twice(erp: Connection) -> None:
    made("A", "Acme, GmbH", tax_number="DE 136 695 976")
    outcome = take(erp, said("c1", "ACME GmbH", tax_number=VAT), said("c2", "Acme GmbH"))
    assert list(outcome.failed) == [0]
    assert "is customer A already, by name and tax number; map the key to it, or merge them" in outcome.failed[0]
    assert list(Customer.objects.order_by("code").values_list("code", flat=True)) == ["A", "C2"]


def test_a_customer_of_another_entity_is_not_named_to_who_may_not_see_it(erp: Connection, de: LegalEntity) -> None:
    made("SECRET", "Acme", tax_number=VAT, entity=world.entity("US", "USD"))
    [(_, message)] = judged(quality.customers, code="B", name="Acme", tax_number=VAT, entity_id=de.pk)
    assert message.startswith("is a customer of another entity already, by name and tax number")


def test_two_of_one_batch_are_one_customer_too(erp: Connection) -> None:
    outcome = take(erp, said("c1", "Acme", tax_number=VAT), said("c2", "Acme", tax_number=VAT))
    assert list(outcome.failed) == [1]


def test_a_branch_shares_the_number_of_its_company() -> None:
    company = made("A", "Acme", tax_number=VAT)
    alone = judged(quality.customers, code="B", name="Acme East", tax_number=VAT)
    branch = judged(quality.customers, code="B", name="Acme East", tax_number=VAT, parent_id=company.pk)
    assert alone == [("tax_number", "is the tax number of customer A too; they may be the same.")]
    assert branch == []


@pytest.mark.case(30)
def test_a_code_that_another_record_has_had_is_not_given_to_a_new_one(erp: Connection) -> None:
    ours = made("C1", "Acme")
    history.bulk_update_with_reason(Customer, [ours], ["code"], reason="made")  # as every change leaves it
    ours.code = "ACME"
    history.bulk_update_with_reason(Customer, [ours], ["code"], reason="renamed")
    outcome = take(erp, said("c1", "Somebody else"))
    assert "Code “C1” was the code of another customer before; give this one a code of its own." in outcome.failed[0]


@pytest.mark.case(30)
def test_the_code_of_a_customer_that_ended_is_not_given_to_another(erp: Connection) -> None:
    made("C1", "Acme", active_to=date(2025, 12, 31))
    outcome = take(erp, said("c1", "Somebody else"))
    assert "code C1 is that of Acme, which ended (2025-12-31); a code is not given to another" in outcome.failed[0]
    assert not Crosswalk.objects.filter(kind="customer").exists()
    assert take(erp, said("c1", "Acme", "2")) == master_intake.Outcome()  # the same one comes back


def test_a_circle_is_not_closed_and_the_batch_goes_on(erp: Connection) -> None:
    take(erp, said("c1", "Top"), said("c2", "Below", parent="c1"))
    outcome = take(erp, said("c1", "Top", "2", parent="c2"), said("c3", "Third"))
    assert outcome == master_intake.Outcome()
    assert Customer.objects.get(code="C1").parent is None
    assert Customer.objects.filter(code="C3").exists()
    assert "would stand below itself" in RejectedValue.objects.get(field="parent").reason


def test_a_parent_that_was_merged_or_ended_is_no_parent() -> None:
    survivor = made("S", "Survivor")
    merged, ended = made("M", "Merged", merged_into=survivor), made("E", "Ended", active_to=date(2026, 1, 1))
    row = made()
    assert judged(quality.customers, row, parent_id=merged.pk) == [("parent_id", "was merged into S; name that one.")]
    assert judged(quality.customers, row, parent_id=ended.pk) == [
        ("parent_id", "ended on 2026-01-01; name a customer that is active.")
    ]


def test_a_currency_does_not_change_under_a_contract(erp: Connection, de: LegalEntity) -> None:
    take(erp, said("c1", "Acme"))
    Contract.objects.create(code="K", name="K", customer=Customer.objects.get(), entity=de, currency="EUR")
    take(erp, said("c1", "Acme Holding", "2", currency="USD"))
    ours = Customer.objects.get()
    assert (ours.name, ours.currency) == ("Acme Holding", "EUR")
    assert "differs from contract K, which is in EUR" in RejectedValue.objects.get().reason


def test_tax_treatment_fits_number_and_entity(de: LegalEntity) -> None:
    def faults(**values: Any) -> list[str]:
        found = judged(quality.customers, code="X", name="X", entity_id=de.pk, **values)
        return [field for field, _ in found]

    assert faults(tax_treatment="reverse_charge", tax_number="") == ["tax_treatment"]
    assert faults(tax_treatment="reverse_charge", tax_number=VAT) == ["tax_treatment"]
    assert faults(tax_treatment="domestic", tax_number=FRENCH_VAT) == ["tax_treatment"]
    assert faults(tax_treatment="reverse_charge", tax_number=FRENCH_VAT) == []
    assert faults(tax_treatment="domestic", tax_number=VAT) == []
    assert faults(tax_treatment="domestic", tax_number="") == []


def test_contract_customer_and_entity_fit_together(de: LegalEntity) -> None:
    us = world.entity("US", "USD")
    theirs, ours = made("U", "U", entity=us), made("S", "S")
    assert [
        one[0] for one in judged(quality.contracts, code="K", customer_id=theirs.pk, entity_id=de.pk, currency="EUR")
    ] == ["entity_id"]
    assert judged(quality.contracts, code="K", customer_id=ours.pk, entity_id=de.pk, currency="USD") == [
        ("currency", "differs from EUR, in which customer S is billed.")
    ]
    assert judged(quality.contracts, code="K", customer_id=ours.pk, entity_id=de.pk, currency="EUR") == []


def test_a_project_is_of_its_contracts_customer_and_entity_unless_a_relation_joins_them(de: LegalEntity) -> None:
    us = world.entity("US", "USD")
    top = made("T", "Top")
    branch, other = made("B", "Branch", parent=top), made("O", "Other")
    contract = Contract.objects.create(code="K", name="K", customer=top, entity=us, currency="EUR")

    def faults(customer: Customer, entity: LegalEntity) -> list[str]:
        found = judged(
            quality.projects, code="P", name="P", customer_id=customer.pk, entity_id=entity.pk, contract_id=contract.pk
        )
        return [message for _, message in found]

    assert faults(branch, us) == []
    assert faults(other, us) == ["is of customer T, and the project of O."]
    assert faults(top, de) == ["is of another entity than DE, and no intercompany relation joins them."]
    IntercompanyRelation.objects.create(provider=de, receiver=us, valid_from=date(2026, 1, 1))
    assert faults(top, de) == []


def test_what_stands_is_not_judged_again_where_it_does_not_change(erp: Connection) -> None:
    row = made("C1", "Acme", tax_number=BAD_VAT)
    take(erp, said("c1", "Acme Holding", tax_number=BAD_VAT))
    row.refresh_from_db()
    assert (row.name, row.tax_number) == ("Acme Holding", BAD_VAT)
    assert not RejectedValue.objects.exists()


def test_many_records_are_judged_in_a_fixed_number_of_queries(de: LegalEntity) -> None:
    def asked(count: int) -> int:
        many = [
            quality.Proposed(n, None, {"code": f"{count}-{n}", "name": f"N{n}", "tax_number": VAT, "entity_id": de.pk})
            for n in range(count)
        ]
        with CaptureQueriesContext(database) as captured:
            assert quality.customers(many, now().date())
        return len(captured)

    assert asked(3) == asked(60)


def test_a_project_that_names_another_customers_contract_keeps_its_own(erp: Connection, de: LegalEntity) -> None:
    take(erp, said("c1", "Acme"), said("c2", "Other"))
    acme = Customer.objects.get(code="C1")
    contract = Contract.objects.create(code="K", name="K", customer=acme, entity=de, currency="EUR")
    project = Project.objects.create(code="P1", name="P", entity=de, customer=acme, contract=contract)
    Crosswalk.objects.create(system="fake", kind="project", external_id="p1", internal_id=project.pk, valid_from=TODAY)
    record = MasterRecord(
        kind=MasterKind.PROJECT, external_id="p1", revision="2", code="P1", name="P", attributes={"customer": "c2"}
    )
    take(erp, record)
    project.refresh_from_db()
    assert project.customer == acme
    assert "is of customer C1, and the project of C2" in RejectedValue.objects.get(kind="project").reason
