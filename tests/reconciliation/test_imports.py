"""Master data by file through the browser: matched, checked, drafted, agreed to, and the second time nothing."""

from __future__ import annotations

import io
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from portal.models import (
    ApprovalStep,
    Assignment,
    AuditEvent,
    Contract,
    Customer,
    EntityGrant,
    ExchangeRate,
    GrantRole,
    IntercompanyRelation,
    Milestone,
    Project,
    ProjectStatus,
    PurchaseOrder,
    Task,
    User,
)
from portal.views.governed import masters
from reconciliation import changes, imports
from reconciliation.models import ChangeSet, ColumnChoice, MasterImport, Route
from reconciliation.views.records import kind_for
from tests import world
from tests.portal.test_importing_sheets import changed, sheets
from tests.reconciliation import desk
from tests.reconciliation import firm as firms
from tests.reconciliation.firm import Firm, build

pytestmark = pytest.mark.django_db


@pytest.fixture
def firm() -> Firm:
    made = build()
    made.customer.entity = made.entity
    made.customer.save()
    return made


@pytest.fixture
def fay(firm: Firm, client: Client) -> User:
    person = world.user("fay", GrantRole.ANALYST, firm.entity)
    client.force_login(person)
    return person


def upload(client: Client, text: str | bytes, kind: str = "customer", name: str = "customers.csv") -> MasterImport:
    content = text.encode() if isinstance(text, str) else text
    answer = client.post(reverse("import_new"), {"kind": kind, "file": SimpleUploadedFile(name, content)})
    assert answer.status_code == 303, answer.content.decode()[-3000:]
    return MasterImport.objects.latest("pk")


def carry_out(change_set: ChangeSet, firm: Firm, name: str = "carla") -> None:
    """Submit it, and let a second person agree."""
    changes.submit(change_set, change_set.created_by)
    carla = world.user(name, GrantRole.CONTROLLER, firm.entity)
    changes.approve(change_set, carla, "Agreed.", signed_in_again=True)
    changes.run(change_set.pk)
    change_set.refresh_from_db()


def drafted(client: Client, made: MasterImport, reason: str = "New in the CRM.") -> ChangeSet:
    answer = client.post(reverse("import", args=[made.pk]), {"action": "draft", "reason": reason})
    assert answer.status_code == 303, answer.content.decode()[-3000:]
    made.refresh_from_db()
    assert made.change_set is not None
    return made.change_set


def test_a_file_becomes_a_change_that_another_agrees_to_and_the_second_time_nothing(
    firm: Firm, fay: User, client: Client
) -> None:
    text = "code,name,currency,entity\nACME,Acme Holding,USD,US\nBETA,Beta Ltd,USD,US\n"
    made = upload(client, text)
    page = client.get(reverse("import", args=[made.pk])).content.decode()
    assert "<ins>Acme Holding</ins>" in page
    assert "BETA" in page
    change_set = drafted(client, made)
    assert not Customer.objects.filter(code="BETA").exists()
    assert [(line.action, line.key) for line in change_set.lines.order_by("position")] == [
        ("change", firm.customer.pk), ("add", None),
    ]  # fmt: skip
    assert "customers.csv" in change_set.reason
    carry_out(change_set, firm)
    assert Customer.objects.get(code="BETA").name == "Beta Ltd"
    firm.customer.refresh_from_db()
    assert firm.customer.name == "Acme Holding"
    client.force_login(User.objects.get(username="carla"))
    decided = AuditEvent.objects.filter(object_type="changeset", object_id=str(change_set.pk))
    assert {"change.submitted", "change.approved"} <= set(decided.values_list("action", flat=True))
    imported = AuditEvent.objects.get(action="import.drafted")
    for record in (firm.customer, Customer.objects.get(code="BETA")):
        told = client.get(reverse("history", args=["customer", record.pk])).content.decode()
        for event in (*decided, imported):
            assert reverse("audit_event", args=[event.pk]) in told, "versions and decisions stand on one line of time"
    client.force_login(fay)
    again = upload(client, text)
    assert "Nothing changes" in client.get(reverse("import", args=[again.pk])).content.decode()
    refused = client.post(reverse("import", args=[again.pk]), {"action": "draft", "reason": "again"})
    assert (refused.status_code, ChangeSet.objects.count()) == (422, 1)
    assert bytes(made.content) == text.encode()
    assert AuditEvent.objects.filter(action="import.drafted").count() == 1


def test_every_row_that_cannot_be_taken_is_named_first_and_can_be_downloaded(
    firm: Firm, fay: User, client: Client
) -> None:
    made = upload(
        client,
        "code,name,currency,entity,tax_number\nACME,Acme Inc.,USD,US,\nB,Beta,XXX,US,\nC,Gamma,USD,NOPE,\n"
        "D,Delta,USD,US,DE136695970\n",
    )
    page = client.get(reverse("import", args=[made.pk])).content.decode()
    assert "3 rows cannot be taken" in page
    assert "is not a currency in use" in page
    columns, _, rows = page.partition("those that cannot be taken first")
    assert '<span class="sample">Acme Inc.</span><span class="sample">Beta</span>' in columns, (
        "its first values tell a column"
    )
    assert '<option value="tax_number" selected>Tax number</option>' in columns
    assert "<b>Currency</b> “XXX” is not a currency in use" in rows
    answer: Any = client.get(reverse("import_problems", args=[made.pk]))
    lines = b"".join(answer.streaming_content).decode().splitlines()
    assert lines[0] == "line,column,value,problem"
    assert [line.split(",")[:3] for line in lines[1:]] == [
        ["3", "currency", "XXX"], ["4", "entity", "NOPE"], ["5", "tax_number", "DE136695970"],
    ]  # fmt: skip
    assert client.post(reverse("import", args=[made.pk]), {"action": "draft", "reason": "x"}).status_code == 422
    assert not ChangeSet.objects.exists()


def test_what_a_person_says_of_the_columns_is_remembered_for_the_next_file(
    firm: Firm, fay: User, client: Client
) -> None:
    text = "Kdnr,Bezeichnung,currency,Farbe\nBETA,Beta,USD,red\n"
    made = upload(client, text)
    assert (made.state, made.columns) == ("matching", {"2": "currency"})
    chosen = {"action": "columns", "column-0": "code", "column-1": "name", "column-2": "currency", "column-3": ""}
    assert client.post(reverse("import", args=[made.pk]), chosen).status_code == 303
    assert set(ColumnChoice.objects.values_list("heading", "column")) == {
        ("kdnr", "code"), ("bezeichnung", "name"), ("currency", "currency"),
    }  # fmt: skip
    assert upload(client, text.replace("BETA", "GAMMA")).columns == {"0": "code", "1": "name", "2": "currency"}


def test_two_columns_are_not_the_same_one(firm: Firm, fay: User, client: Client) -> None:
    made = upload(client, "a,b,currency\nBETA,Beta,USD\n")
    answer = client.post(
        reverse("import", args=[made.pk]), {"action": "columns", "column-0": "code", "column-1": "code"}
    )
    assert answer.status_code == 422
    assert "Two columns are code" in answer.content.decode()


def test_a_file_tells_nobody_which_codes_another_entity_has(firm: Firm, client: Client) -> None:
    gb = world.entity("GB", "GBP")
    client.force_login(world.user("gus", GrantRole.ANALYST, gb))

    def said(text: str, kind: str = "customer") -> list[str]:
        made = upload(client, text, kind, f"{kind}.csv")
        return [row.problems[0][2] for row in imports.check(made, made.uploaded_by).rows]

    mine = said("code,name,currency\nACME,Mine now,USD\n")
    assert mine == ["cannot be written by you as a customer; take another key."]
    header = "code,name,currency,entity,parent\n"
    unseen, unknown = said(f"{header}B,Beta,GBP,GB,ACME\n"), said(f"{header}B,Beta,GBP,GB,NOPE\n")
    assert unseen == unknown == ["is not known as a customer."]
    Customer.objects.create(code="HAND", name="Hand Ltd", currency="GBP", entity=gb)
    header = "code,name,customer,entity,currency,shares\n"
    answers = {
        other: said(header + f'K,Kay,HAND,GB,GBP,"{{""HAND"": ""60"", ""{other}"": ""40""}}"\n', "contract")
        for other in ("ACME", "NOPE")
    }
    assert answers["ACME"] == answers["NOPE"] == ["is not known as a customer."]


def test_a_file_is_seen_by_who_uploaded_it_and_by_nobody_beside(firm: Firm, fay: User, client: Client) -> None:
    made = upload(client, "code,name,currency,entity\nBETA,Beta,USD,US\n")
    client.force_login(world.user("gus", GrantRole.CONTROLLER, world.entity("GB", "GBP")))
    for name in ("import", "import_file", "import_problems"):
        assert client.get(reverse(name, args=[made.pk])).status_code == 404
    assert "customers.csv" not in client.get(reverse("imports")).content.decode()


def test_rows_that_stay_as_they_are_keep_a_file_from_who_holds_no_role_where_they_belong(
    firm: Firm, client: Client
) -> None:
    gb = world.entity("GB", "GBP")
    Customer.objects.create(code="HUSH", name="Hush Ltd", currency="GBP", entity=gb)
    both = world.user("both", GrantRole.ANALYST, firm.entity)
    EntityGrant.objects.create(user=both, entity=gb, role=GrantRole.AUDITOR, valid_from=date(2020, 1, 1))
    of_us = world.user("ursula", GrantRole.CONTROLLER, firm.entity)
    peer = world.user("peer", GrantRole.AUDITOR, firm.entity)
    EntityGrant.objects.create(user=peer, entity=gb, role=GrantRole.AUDITOR, valid_from=date(2020, 1, 1))
    head = world.user("head", GrantRole.AUDITOR, everywhere=True)
    client.force_login(both)
    made = upload(client, "code,name,currency,entity\nACME,Acme Holding,USD,US\nHUSH,Hush Ltd,GBP,GB\n")
    change_set = drafted(client, made)
    assert list(change_set.entities.all()) == [firm.entity]

    def answers(person: User) -> tuple[int, int, bool]:
        client.force_login(person)
        at_page = client.get(reverse("import", args=[made.pk]))
        at_file = client.get(reverse("import_file", args=[made.pk]))
        return at_page.status_code, at_file.status_code, b"HUSH" in at_page.content + at_file.content

    assert answers(of_us) == (200, 404, False)
    page = client.get(reverse("import", args=[made.pk])).content.decode()
    assert "What it holds" not in page, "nor its rows"
    client.force_login(peer)
    page = client.get(reverse("import", args=[made.pk])).content.decode()
    assert ">Hush Ltd</td>" in page, "who may read it sees what it holds, and why it came"
    assert "Why: New in the CRM." in page
    assert answers(both) == answers(peer) == answers(head) == (200, 200, True)
    MasterImport.objects.filter(pk=made.pk).update(reaches=None)  # as of files drafted before it was kept
    assert answers(peer) == (200, 404, False)
    assert answers(both) == answers(head) == (200, 200, True)


def test_routes_come_by_file_and_go_the_way_of_every_change(firm: Firm, client: Client) -> None:
    client.force_login(world.user("cora", GrantRole.CONTROLLER, firm.entity))
    erp = world.connection("netsuite-2", "netsuite", firm.entity, is_target=True)
    other = world.connection("elsewhere", "netsuite", world.entity("GB", "GBP"), is_target=True)
    standing = Route.objects.get(source=firm.source, kind="time")
    head = "entity,source,target,kind,valid_from,valid_to,policy\n"
    end = f"US,{firm.source.code},{firm.target.code},time,{standing.valid_from},2027-03-31,\n"
    follows = f'US,{firm.source.code},{erp.code},time,2027-04-01,,"{{""rate_tolerance"": ""2""}}"\n'
    crossed = imports.check(upload(client, head + f"US,{firm.source.code},{other.code},time,2027-04-01,,\n", "route"),
                            User.objects.get(username="cora"))  # fmt: skip
    assert [column for column, _, _ in crossed.rows[0].problems] == ["target", "valid_from"]
    assert crossed.rows[0].problems[0] == ("target", "elsewhere", "is not known as a connection.")
    overlaps = imports.check(upload(client, head + follows, "route"), User.objects.get(username="cora"))
    assert "a source has one route a day" in overlaps.rows[0].problems[0][2]
    page = client.get(reverse("master", args=["route"])).content.decode()
    assert "/imports/new/?kind=route" in page
    made = upload(client, head + end + follows, "route", "routes.csv")
    assert [row.outcome for row in imports.check(made, made.uploaded_by).rows] == ["changed", "new"]
    carry_out(drafted(client, made), firm)
    standing.refresh_from_db()
    assert standing.valid_to == date(2027, 3, 31)
    assert Route.objects.get(target=erp).policy == {"rate_tolerance": "2"}


def test_grants_come_by_file_only_from_admins_and_a_second_admin_signs_in_again_for_them(
    firm: Firm, fay: User, client: Client
) -> None:
    page = client.get(reverse("master", args=["entitygrant"])).content.decode()
    assert "No grants that you may see" in page
    assert "grant" not in client.get(reverse("import_new")).content.decode().lower()
    text = f"user,entity,role,valid_from,valid_to\n{fay.username},US,controller,2026-01-01,2026-12-31\n"
    sent = {"kind": "grant", "file": SimpleUploadedFile("grants.csv", text.encode())}
    assert client.post(reverse("import_new"), sent).status_code == 422
    client.force_login(world.user("ada", GrantRole.ADMIN, firm.entity))
    made = upload(client, text, "grant", "grants.csv")
    change_set = drafted(client, made, "Month-end.")
    assert not EntityGrant.objects.filter(user=fay, role=GrantRole.CONTROLLER).exists()
    changes.submit(change_set, change_set.created_by)
    carla, bob = world.user("carla", GrantRole.CONTROLLER, firm.entity), world.user("bob", GrantRole.ADMIN, firm.entity)
    with pytest.raises((PermissionDenied, changes.ChangeRefused)):
        changes.approve(change_set, carla, "Agreed.", signed_in_again=True)
    with pytest.raises(changes.SignInAgain):
        changes.approve(change_set, bob, "Agreed.", signed_in_again=False)
    changes.approve(change_set, bob, "Agreed.", signed_in_again=True)
    changes.run(change_set.pk)
    assert EntityGrant.objects.get(user=fay, role=GrantRole.CONTROLLER).valid_to == date(2026, 12, 31)


def test_all_that_can_be_said_of_a_file_is_said_at_once_whatever_else_is_wrong_with_its_rows(
    firm: Firm, fay: User, client: Client
) -> None:
    head = "Rate card,Version,Person,Currency,Amount,From,Until\n"
    card = firm.rate.card
    lines = (
        f"{card.code},{card.version},ana,USD,a lot,2031-01-01,2031-12-31",  # overlaps the next, and has no amount
        f"{card.code},{card.version},ana,USD,110,2031-06-01,",
        f"{card.code},{card.version},nobody,USD,120,2032-12-31,2032-01-01",
    )
    made = upload(client, head + "\n".join(lines) + "\n", "rate", "rates.csv")
    assert made.state == "checked"
    assert [*made.columns.values()] == [
        "card",
        "card_version",
        "resource",
        "currency",
        "amount",
        "valid_from",
        "valid_to",
    ]
    told = [[column for column, _, _ in row.problems] for row in imports.check(made, fay).rows]
    assert told == [["amount"], ["valid_from"], ["resource"]]
    head = "code,name,currency,entity,parent,tax_number,active_from,active_to\n"
    rows = "ACME,Acme,XXX,US,BETA,,,\nBETA,Beta,USD,US,ACME,DE136695970,2026-12-31,2026-01-01\n"
    made = upload(client, head + rows)
    told = [[column for column, _, _ in row.problems] for row in imports.check(made, fay).rows]
    assert told == [["currency", "parent"], ["active_to", "parent", "tax_number"]]
    answer: Any = client.get(reverse("import_problems", args=[made.pk]))
    assert 'filename="problems of customers.csv"' in answer["Content-Disposition"]
    assert len(b"".join(answer.streaming_content).decode().splitlines()) == 6


def test_a_formula_without_a_result_is_a_row_that_cannot_be_taken_among_the_others(
    firm: Firm, fay: User, client: Client
) -> None:
    rows = [
        ("code", "name", "currency", "entity"),
        ("BETA", '=UPPER("beta")', "USD", "US"),
        ("C", "Gamma", "XXX", "US"),
    ]
    content = changed(sheets(Customers=rows), b"</f><v>0</v>", b"</f>")
    checked = imports.check(upload(client, content, name="c.xlsx"), fay)
    assert [row.problems[0][0] for row in checked.rows] == ["name", "currency"]
    assert "holds a formula without a result" in checked.rows[0].problems[0][2]
    last = [*rows[:1], ("B", "Beta", "USD", "US"), ("", "=A1", "", "")]
    checked = imports.check(
        upload(client, changed(sheets(Customers=last), b"</f><v>0</v>", b"</f>"), name="c.xlsx"), fay
    )
    assert [row.line for row in checked.rows if row.problems] == [3], "a line that holds nothing else is not lost"


def test_a_project_manager_imports_nothing(firm: Firm, client: Client) -> None:
    client.force_login(world.user("pia", GrantRole.PROJECT_MANAGER, firm.entity))
    assert client.get(reverse("import_new")).status_code == 403


def test_thousands_of_rows_take_as_many_statements_as_a_few(firm: Firm, fay: User) -> None:
    def asked(count: int) -> int:
        rows = "".join(f"{count}-{n},Customer {count} {n},USD,US\n" for n in range(count))
        made = imports.receive("customer", "c.csv", f"code,name,currency,entity\n{rows}".encode(), by=fay)
        with CaptureQueriesContext(database) as captured:
            assert imports.check(made, fay).count("new") == count
        return len(captured)

    assert asked(2) == asked(3_000)


def test_discarding_takes_nothing_and_keeps_the_file(firm: Firm, fay: User, client: Client) -> None:
    made = upload(client, "code,name,currency\nBETA,Beta,USD\n")
    assert client.post(reverse("import", args=[made.pk]), {"action": "discard"}).status_code == 303
    made.refresh_from_db()
    assert (made.state, made.rows) == ("discarded", 1)
    assert client.post(reverse("import", args=[made.pk]), {"action": "draft", "reason": "x"}).status_code == 422


def one_of_each(firm: Firm) -> None:
    """Records of the kinds that the firm does without."""
    since = date(2026, 1, 1)
    firm.entity.calendar = {"weekend": [6, 7], "holidays": ["2026-12-25"], "hours_per_day": "8"}
    firm.entity.save()
    gb = world.entity("GB", "GBP")
    IntercompanyRelation.objects.create(provider=gb, receiver=firm.entity, valid_from=since)
    firms.centre(firm.entity, valid_from=since)
    PurchaseOrder.objects.create(
        contract=firm.contract, number="=PO-1", amount=Decimal("1000.50"), currency="USD", valid_from=since
    )
    Assignment.objects.create(project=firm.project, resource=firm.ana, valid_from=since)
    task = Task.objects.create(project=firm.project, code="DEV", name="Development")
    Milestone.objects.create(
        project=firm.project, code="M1", name="First", due_on=since, amount=Decimal(100), currency="USD"
    )
    ExchangeRate.objects.create(currency="GBP", to_currency="USD", rate=Decimal("1.25"), valid_from=since, source="ecb")
    ApprovalStep.objects.create(project=firm.project, sequence=2, approver=firm.ana)
    firms.alias("task", "develop", task.pk, firm.source)
    firms.key(firm.target, "task", task.pk, "'77")


@pytest.mark.parametrize("form", ["csv", "xlsx"])
@pytest.mark.parametrize("model", [name for name in masters() if kind_for(name)])
def test_the_export_of_every_list_is_imported_again_unchanged(
    model: str, form: str, firm: Firm, client: Client
) -> None:
    desk.furnish(firm)
    one_of_each(firm)
    boss = world.user("boss", GrantRole.CONTROLLER, everywhere=True)
    EntityGrant.objects.create(user=boss, role=GrantRole.ADMIN, valid_from=date(2020, 1, 1))
    client.force_login(boss)
    answer: Any = client.get(reverse("master", args=[model]), {"export": form, "of": "import"})
    content = b"".join(answer.streaming_content)
    kind = kind_for(model)
    assert kind is not None
    count = kind.model._base_manager.count()
    assert count
    made = imports.receive(kind.code, f"{model}.{form}", content, by=boss)
    assert made.state == "checked"
    checked = imports.check(made, boss)
    assert [row for row in checked.rows if row.outcome != "same"] == []
    assert len(checked.rows) == count


def test_a_contract_in_another_currency_than_its_customers_is_a_row_that_cannot_be_taken(
    firm: Firm, fay: User, client: Client
) -> None:
    made = upload(client, "code,name,customer,entity,currency\nK-2,Second,ACME,US,EUR\n", "contract", "contracts.csv")
    checked = imports.check(made, fay)
    assert checked.rows[0].problems == [("currency", "EUR", "differs from USD, in which customer ACME is billed.")]
    assert not Contract.objects.filter(code="K-2").exists()


def test_a_semicolon_csv_of_another_country_and_a_workbook_of_several_sheets_are_read_and_said_as_what_they_are(
    firm: Firm, fay: User, client: Client
) -> None:
    text = "\ufeffcard;card_version;currency;amount;valid_from\r\n{};3;USD;{};2027-01-01\r\n"
    card = firm.rate.card.code
    made = upload(client, text.format(card, "1.250,50"), "rate", "preise.csv")
    (row,) = imports.check(made, fay).rows
    assert (row.cells["amount"], [column for column, _, _ in row.problems if column == "amount"]) == ("1250.50", [])
    mixed = text + f"{card};3;USD;1.250;2028-01-01\r\n"
    _, unclear = imports.check(upload(client, mixed.format(card, "99,50"), "rate", "preise.csv"), fay).rows
    assert [problem for problem in unclear.problems if "may part thousands" in problem[2]]
    doubtful = upload(client, text.format(card, "1,250"), "rate", "preise.csv")
    (row,) = imports.check(doubtful, fay).rows
    assert row.problems == [
        ("amount", "1,250", "is not a decimal number; write it with a point and without separators, as 1250.00.")
    ]
    header = ("code", "name", "currency", "entity")
    content = sheets(
        Notes=[("for Fay",)], Customers=[("Customers of 2026",), (), header, ("BETA", "Beta", "USD", "US")]
    )
    page = client.get(reverse("import", args=[upload(client, content, name="c.xlsx").pk])).content.decode()
    assert "Read from the sheet “Customers”" in page
    assert "Left alone: “Notes”" in page


def test_a_file_of_another_kind_is_told_as_what_it_looks_like_and_values_without_a_heading_wait_for_a_person(
    firm: Firm, fay: User, client: Client
) -> None:
    made = upload(client, "code,name,currency,entity\nBETA,Beta,USD,US\n", "task", "tasks.csv")
    page = client.get(reverse("import", args=[made.pk])).content.decode()
    assert "The columns look like those of “Customer”, and the file was brought as “Task”" in page
    assert (
        "look like"
        not in client.get(reverse("import", args=[upload(client, "code,name,currency\nB,B,USD\n").pk])).content.decode()
    )
    rows = [("code", "name", "currency", ""), ("BETA", "Beta", "USD", "worth keeping")]
    nameless = upload(client, sheets(Customers=rows), name="c.xlsx")
    assert nameless.state == "matching"
    assert "(no heading)" in client.get(reverse("import", args=[nameless.pk])).content.decode()


def test_a_file_in_a_workbook_is_the_same_file(firm: Firm, fay: User, client: Client) -> None:
    import xlsxwriter

    held = io.BytesIO()
    book = xlsxwriter.Workbook(held)
    sheet = book.add_worksheet()
    for number, row in enumerate([("code", "name", "currency", "entity"), ("BETA", "Beta", "USD", "US")]):
        sheet.write_row(number, 0, row)
    book.close()
    made = upload(client, held.getvalue(), name="customers.xlsx")
    assert imports.check(made, fay).count("new") == 1


def test_a_single_amount_that_may_part_thousands_is_asked_about_where_the_file_is_of_semicolons(
    firm: Firm, fay: User, client: Client
) -> None:
    text = "card;card_version;role;currency;amount;valid_from\n{};3;senior;USD;{};2028-01-01\n"
    for said, stands in (("1.250", True), ("1.2500", False), ("1250.00", False), ("0.125", False)):
        made = upload(client, text.format(firm.card.code, said), "rate", "preise.csv")
        told = [problem for row in imports.check(made, fay).rows for problem in row.problems if problem[0] == "amount"]
        assert bool(told) is stands, (said, told)
        if told:
            assert told[0][2] == "may part thousands or decimals in this file; write it as 1250.00 or as 1.2500."
    made = upload(client, text.format(firm.card.code, "99,50").replace("2028-01-01", "1.2.2028"), "rate", "preise.csv")
    (row,) = imports.check(made, fay).rows
    assert row.cells["valid_from"] == "2028-02-01"
    assert all("overlaps one that stands already" in problem[2] for problem in row.problems)
    plain = upload(client, text.replace(";", ",").format(firm.card.code, "1.250"), "rate", "prices.csv")
    assert not [problem for row in imports.check(plain, fay).rows for problem in row.problems if problem[0] == "amount"]


def test_a_customer_of_the_same_name_but_for_its_legal_form_is_told_in_its_row(
    firm: Firm, fay: User, client: Client
) -> None:
    firm.customer.name = "Acme Industrial"
    firm.customer.save()
    text = 'code,name,currency,entity\nZED,Zed,USD,US\nNEW1,ACME Industrial Inc.,USD,US\nNEW2,"Acme-Industrial, S.A.",USD,US\n'
    made = upload(client, text)
    page = client.get(reverse("import", args=[made.pk])).content.decode()
    said = f"is the name of customer {firm.customer.code} too, but for spelling and legal form; they may be the same."
    rows = page[page.rindex("<tbody>") :]
    assert rows.count(said) == 2
    assert rows.index("NEW1") < rows.index("ZED")  # what is to be looked at stands first
    assert "ACME Industrial Inc." in rows


@pytest.mark.case(30)
def test_the_code_of_a_closed_project_is_not_given_to_another_by_a_file(firm: Firm, fay: User, client: Client) -> None:
    head = "code,name,entity,customer\n"
    row = f"{firm.project.code},Another roll-out,US,{firm.customer.code}\n"
    open_ = upload(client, head + row, "project", "projects.csv")
    assert [one.outcome for one in imports.check(open_, fay).rows] == ["changed"], "while it is open it is renamed"
    ProjectStatus.objects.filter(project=firm.project).update(valid_to=date(2026, 5, 31))
    ProjectStatus.objects.create(project=firm.project, status="closed", valid_from=date(2026, 6, 1))
    (closed,) = imports.check(upload(client, head + row, "project", "projects.csv"), fay).rows
    said = f"is the code of {firm.project.name}, which ended (closed on 2026-06-01); give this one a code of its own."
    assert [problem[2] for problem in closed.problems] == [said]
    line = changes.Line("project", firm.project.pk, "change", {"name": "Acme roll-out, phase 1"})
    chosen = changes.draft(by=fay, title="Name", reason="a slip", lines=[line])
    assert chosen.lines.count() == 1, "who chose this very record may mend its name"


def test_a_project_without_a_status_says_in_the_file_and_on_its_page_that_it_is_open_on_no_day(
    firm: Firm, fay: User, client: Client
) -> None:
    text = f"code,name,entity,customer,billing_model\nNEW-1,New project,US,{firm.customer.code},Time and material\n"
    made = upload(client, text, "project", "projects.csv")
    page = client.get(reverse("import", args=[made.pk])).content.decode()
    assert page.count("has no status, so it is open on no day") == 2, "once at its row, once among what to think about"
    carry_out(drafted(client, made), firm)
    project = Project.objects.get(code="NEW-1")
    assert project.billing_model == "time_and_material", "words are taken where a code is meant"
    client.force_login(fay)
    where = reverse("master_record", args=["project", project.pk])
    assert "It has no status, so it is open on no day" in client.get(where).content.decode()
    assert "model=project_status&amp;action=add&amp;title=Status+of+NEW-1" in client.get(where).content.decode()
    ProjectStatus.objects.create(project=project, status="open", valid_from=date(2026, 6, 1))
    assert "It has no status" not in client.get(where).content.decode()
