"""The form of a line through the browser: codes are offered, a calendar is boxes and rows, and every fault is told at once."""

from __future__ import annotations

import html
import re

import pytest
from django.test import Client
from django.urls import reverse

from portal.models import Contract, Customer, GrantRole, LegalEntity, Task
from reconciliation import changes
from reconciliation.models import ChangeSet
from tests import world
from tests.reconciliation import firm as firms
from tests.reconciliation.firm import Firm, build

pytestmark = pytest.mark.django_db


@pytest.fixture
def firm() -> Firm:
    return build()


@pytest.fixture
def cleo(firm: Firm, client: Client) -> Client:
    client.force_login(world.user("cleo", GrantRole.CONTROLLER, firm.entity))
    return client


def draft(client: Client, title: str = "Another word") -> ChangeSet:
    client.post(reverse("change_new"), {"title": title, "reason": "agreed by letter"})
    return ChangeSet.objects.latest("pk")


def form(client: Client, change_set: ChangeSet, query: str) -> str:
    return client.get(f"{reverse('change_line_new', args=[change_set.pk])}?{query}").content.decode()


def offered(client: Client, kind: str, column: str, /, **said: str) -> list[str]:
    answer = client.get(reverse("change_codes", args=[kind, column]), said)
    assert answer.status_code == 200
    return [html.unescape(code) for code in re.findall(r'<option value="([^"]*)"', answer.content.decode())]


def test_a_code_is_offered_from_what_the_person_sees_and_any_other_is_refused_at_its_field(
    firm: Firm, cleo: Client
) -> None:
    gb = world.entity("GB", "GBP")
    Customer.objects.create(code="ACRE", name="Acre Ltd", currency="GBP", entity=gb)
    other = firms.project("ACR-1", gb, Customer.objects.get(code="ACRE"), Contract.objects.create(
        code="ACRE-2026", name="Acre", customer=Customer.objects.get(code="ACRE"), entity=gb, currency="GBP"))  # fmt: skip
    Task.objects.create(project=firm.project, code="DEV", name="Development")
    Task.objects.create(project=other, code="HID", name="Hidden")
    change_set = draft(cleo)
    page = form(cleo, change_set, "model=project&action=add")
    field = re.search(r'<input[^>]*name="customer"[^>]*>', page)
    assert field
    assert 'list="codes_customer"' in field.group()
    assert '<option value="ACME">Acme Inc.</option>' in page, "without any script the browser offers them"
    assert "ACRE" not in page
    assert offered(cleo, "project", "customer", customer="inc") == ["ACME"], "by a word of the name too"
    assert offered(cleo, "project", "customer", customer="acr") == []
    assert offered(cleo, "rate", "task", project="ACM-1") == offered(cleo, "rate", "task") == ["DEV"]
    assert offered(cleo, "rate", "task", project="ACR-1") == []
    assert offered(cleo, "rate", "card", card="acme", card_version="1") == ["ACME-2026"]
    assert offered(cleo, "crosswalk", "code", kind="resource", code="an") == ["ana", "pat"]
    assert offered(cleo, "crosswalk", "code", kind="task", within="ACM-1") == ["DEV"]
    assert offered(cleo, "project", "manager") == ["cleo"]
    assert cleo.get(reverse("change_codes", args=["grant", "user"])).status_code == 404, "only admins propose grants"
    assert cleo.get(reverse("change_codes", args=["project", "name"])).status_code == 404
    given = {
        "model": "project",
        "line_action": "add",
        "code": "ACM-9",
        "name": "Nine",
        "entity": "US",
        "customer": "ACRE",
    }
    refused = cleo.post(reverse("change_line_new", args=[change_set.pk]), given)
    assert refused.status_code == 422
    assert "“ACRE” is not known as a customer." in refused.content.decode()
    assert re.search(r'name="customer"[^>]*aria-invalid="true"', refused.content.decode())
    taken = cleo.post(reverse("change_line_new", args=[change_set.pk]), {**given, "customer": "ACME"})
    assert taken.status_code == 303
    assert changes.lines_of(list(change_set.lines.all()))[0].values["customer"] == "ACME"


def test_every_fault_of_a_line_is_told_at_once(firm: Firm, cleo: Client) -> None:
    Customer.objects.filter(pk=firm.customer.pk).update(entity=firm.entity)
    below = Customer.objects.create(
        code="BELOW", name="Below", currency="USD", entity=firm.entity, parent=firm.customer
    )
    change_set = draft(cleo)
    given = {
        "model": "customer", "key": firm.customer.pk, "line_action": "change", "code": "ACME", "name": "Acme Inc.",
        "currency": "USD", "entity": "US", "parent": below.code, "tax_number": "DE136695970", "invoice_day": "40",
        "active_from": "2026-12-31", "active_to": "2026-01-01",
    }  # fmt: skip
    refused = cleo.post(reverse("change_line_new", args=[change_set.pk]), given)
    assert refused.status_code == 422
    told = html.unescape(refused.content.decode())
    for sentence in (
        "closes a circle: ACME → BELOW → ACME", "does not look like a valid tax number", "is before active_from 2026-12-31",
    ):  # fmt: skip
        assert sentence in told
    assert len(re.findall(r'aria-invalid="true"', told)) == 4


def test_a_calendar_is_boxes_and_rows_and_says_what_is_wrong_with_one_of_them(firm: Firm, cleo: Client) -> None:
    stored = {"weekend": [6, 7], "holidays": ["2026-12-25", "2026-12-26"], "hours_per_day": "8"}
    LegalEntity.objects.filter(pk=firm.entity.pk).update(calendar=stored)
    change_set = draft(cleo)
    page = form(cleo, change_set, f"model=entity&key={firm.entity.pk}")
    assert len(re.findall(r'name="calendar.weekend"[^>]*checked', page)) == 2
    assert '<input type="date" name="calendar.day" value="2026-12-26"' in page
    assert "{" not in "".join(re.findall(r"<textarea[^>]*>([^<]*)</textarea>", page)), "no JSON is asked of anybody"
    entity = firm.entity
    given = {
        "model": "entity", "key": entity.pk, "line_action": "change", "code": entity.code, "name": "US Inc.",
        "currency": entity.currency, "zone": entity.zone, "parent": "", "calendar.weekend": ["6", "7"],
        "calendar.hours_per_day": "8", "calendar.day": ["2026-12-25", "2026-12-26", ""], "calendar.named": ["", "", ""],
    }  # fmt: skip
    where = reverse("change_line_new", args=[change_set.pk])
    assert cleo.post(where, given).status_code == 303
    assert "calendar" not in change_set.lines.get().values, "what nobody touched is not said"
    changed = {
        **given, "seen": changes.hash_of(change_set), "calendar.weekend": ["5", "6"],
        "calendar.day": ["2026-12-25", "", "2027-01-01", ""], "calendar.named": ["Christmas", "", "New Year", ""],
    }  # fmt: skip
    line = reverse("change_line", args=[change_set.pk, 1])
    refused = cleo.post(line, {**changed, "calendar.day": ["2026-02-30", "", "", ""]})
    assert refused.status_code == 422
    assert "has a holiday “2026-02-30”, which is not a day of the calendar." in html.unescape(refused.content.decode())
    assert 'value="Christmas"' in refused.content.decode(), "what was typed stays"
    assert cleo.post(line, changed).status_code == 303
    assert change_set.lines.get().values["calendar"] == {
        "weekend": [5, 6], "hours_per_day": "8", "holidays": ["2026-12-25", "2027-01-01"],
        "names": {"2026-12-25": "Christmas", "2027-01-01": "New Year"},
    }  # fmt: skip
