"""`import_master_data` loads a folder of CSV files whole or not at all, names every problem, and can be repeated."""

from __future__ import annotations

import io
import time
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from portal.importing.domains import TABLES
from portal.models import (
    Alias,
    Connection,
    Contract,
    Crosswalk,
    Customer,
    Engagement,
    LegalEntity,
    MasterChange,
    Project,
    ProjectStatus,
    Rate,
    RateCard,
    Resource,
    Task,
    User,
)

pytestmark = pytest.mark.django_db

FIRM = {
    "entities": "code,name,currency,zone,parent\nUS,Acme US Inc,USD,America/New_York,\n"
    "DE,Acme GmbH,EUR,Europe/Berlin,US\n",
    "periods": "entity,code,starts_on,ends_on,state\nUS,2026-07,2026-07-01,2026-07-31,open\n"
    "DE,2026-07,2026-07-01,2026-07-31,closed\n",
    "cost_centres": "entity,code,name\nUS,100,Consulting\nDE,100,Beratung\n",
    "customers": "code,name,currency,entity,parent,tax_number\nC-2,Globex Europe,EUR,DE,C-1,DE136695976\n"
    "C-1,Globex,USD,,,\n",
    "contracts": "code,name,customer,entity,currency,billing_model,cap_amount\n"
    "K-1,Globex 2026,C-1,US,USD,time_and_material,50000\n",
    "purchase_orders": "contract,number,amount,currency,valid_from,valid_to\nK-1,PO-9,20000.00,USD,2026-01-01,\n",
    "roles": "code,name\nSC,Senior consultant\n",
    "resources": "code,name,email\nR-1,Ada Lind,ada@example.com\nR-2,Bo Berg,\n",
    "engagements": "resource,entity,role,cost_centre,valid_from,valid_to\nR-1,US,SC,100,2026-01-01,\n"
    "R-2,DE,SC,100,2026-01-01,2026-06-30\nR-2,US,SC,,2026-07-01,\n",
    "projects": "code,name,entity,customer,contract,cost_centre,requires_task,manager\n"
    "P-1,Rollout,US,C-1,K-1,100,true,pm\n",
    "project_statuses": "project,status,valid_from,valid_to\nP-1,open,2026-01-01,2026-12-31\nP-1,closed,2027-01-01,\n",
    "approval_steps": "project,sequence,approver\nP-1,1,R-2\n",
    "assignments": "project,resource,valid_from,valid_to\nP-1,R-1,2026-01-01,\n",
    "tasks": "project,code,name,is_default\nP-1,DEV,Development,true\n",
    "milestones": "project,code,name,due_on,amount,currency\nP-1,M1,Go-live,2026-09-30,10000,USD\n",
    "rate_cards": "code,version,contract,valid_from\nACME-2026,3,K-1,2026-01-01\n",
    "rates": "card,card_version,role,resource,project,task,currency,amount,valid_from,valid_to\n"
    "ACME-2026,3,SC,,,,USD,120.00,2026-01-01,2026-06-30\n"
    "ACME-2026,3,SC,,,,USD,125.50,2026-07-01,\n"
    "ACME-2026,3,,R-1,P-1,DEV,USD,0,2026-01-01,\n",
    "exchange_rates": "currency,to_currency,valid_from,rate,source\nEUR,USD,2026-07-01,1.1642,ECB\n",
    "intercompany": "provider,receiver\nDE,US\n",
    "crosswalks": "connection,kind,external_id,within,code\nerp,project,4711,,P-1\nerp,task,88,P-1,DEV\n"
    "erp,cost_centre,9,DE,100\n",
    "aliases": "connection,kind,alias,code,valid_from,reason\n,project,P1,P-1,2026-01-01,Mistyped since January\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in FIRM.items():
        (tmp_path / f"{name}.csv").write_text(content)
    User.objects.create(username="pm")
    Connection.objects.create(
        code="erp", name="ERP", connector="netsuite", realm="123", base_url="https://x.netsuite.com"
    )
    return tmp_path


def load(folder: Path, *options: str) -> str:
    out = io.StringIO()
    call_command("import_master_data", str(folder), *options, stdout=out, stderr=out)
    return out.getvalue()


def refused(folder: Path) -> list[str]:
    """The problems of a load that is refused, each a line."""
    out = io.StringIO()
    with pytest.raises(CommandError, match="Nothing was loaded"):
        call_command("import_master_data", str(folder), stdout=out, stderr=out)
    return out.getvalue().strip().splitlines()


def test_a_whole_firm_is_loaded_from_its_codes(folder: Path) -> None:
    told = load(folder)
    assert "customers: 2 created, 0 changed, 0 unchanged" in told
    assert "rates: 3 created" in told

    project = Project.objects.get(code="P-1")
    assert (project.customer.code, project.contract.code if project.contract else "", project.requires_task) == (
        "C-1",
        "K-1",
        True,
    )
    assert project.manager is not None
    assert project.manager.username == "pm"
    assert project.cost_centre is not None
    assert project.cost_centre.entity.code == "US"
    globex = Customer.objects.get(code="C-2")
    assert globex.parent == Customer.objects.get(code="C-1")
    assert LegalEntity.objects.get(code="DE").parent == LegalEntity.objects.get(code="US")
    assert Contract.objects.get().cap_amount == Decimal(50000)
    assert list(Engagement.objects.filter(resource__code="R-2").values_list("entity__code", "valid_to")) == [
        ("DE", date(2026, 6, 30)),
        ("US", None),
    ]
    rates = Rate.objects.filter(card__version=3, role__code="SC").order_by("valid_from")
    assert [rate.amount for rate in rates] == [Decimal(120), Decimal("125.50")]
    task = Task.objects.get()
    by_kind = dict(Crosswalk.objects.values_list("kind", "internal_id"))
    assert (by_kind["project"], by_kind["task"]) == (project.pk, task.pk)
    assert set(Crosswalk.objects.values_list("system", "realm")) == {("netsuite", "123")}
    assert Alias.objects.get().internal_id == project.pk


def test_a_second_load_of_the_same_folder_changes_nothing_and_says_so(folder: Path) -> None:
    load(folder)
    history, words = Rate.history.count(), MasterChange.objects.count()
    told = load(folder)
    assert "Nothing changed." in told
    assert "rates: 0 created, 0 changed, 3 unchanged" in told
    assert (Rate.history.count(), MasterChange.objects.count()) == (history, words)


def test_a_dry_run_shows_the_numbers_of_the_run_and_writes_nothing(folder: Path) -> None:
    rehearsed = load(folder, "--dry-run")
    assert not LegalEntity.objects.exists()
    assert not Customer.history.exists()
    assert not MasterChange.objects.exists()
    assert rehearsed.removesuffix("Dry run: nothing was written.\n") == load(folder)


@pytest.mark.case(129)
def test_every_row_leaves_history_with_the_reason_and_the_person(folder: Path) -> None:
    load(folder, "--reason", "Opening balance", "--by", "pm")
    for table in TABLES:
        rows = table.model.history.values_list("history_type", "history_change_reason", "history_user__username")  # type: ignore[attr-defined]
        assert set(rows) == {("+", "Opening balance", "pm")}, table.name
        assert rows.count() == table.model._base_manager.count()


def test_a_change_writes_only_the_rows_that_differ_and_leaves_word_of_them(folder: Path) -> None:
    load(folder)
    MasterChange.objects.all().delete()
    path = folder / "rates.csv"
    path.write_text(path.read_text().replace("125.50", "130.00"))
    told = load(folder, "--reason", "New agreement")
    assert "rates: 0 created, 1 changed, 2 unchanged" in told
    changed = Rate.history.get(history_type="~")
    assert (changed.amount, changed.history_change_reason) == (Decimal(130), "New agreement")
    assert list(MasterChange.objects.values_list("kind", "internal_id")) == [("rate_card", RateCard.objects.get().pk)]


def test_a_column_that_is_not_given_leaves_what_stands_and_an_empty_cell_clears_it(folder: Path) -> None:
    load(folder)
    (folder / "customers.csv").write_text("code,name,currency\nC-2,Globex Europe SA,EUR\n")
    load(folder)
    assert Customer.objects.get(code="C-2").parent is not None
    (folder / "customers.csv").write_text("code,name,currency,parent\nC-2,Globex Europe SA,EUR,\n")
    load(folder)
    assert Customer.objects.get(code="C-2").parent is None


def test_all_problems_of_all_files_are_named_at_once_and_nothing_is_loaded(folder: Path) -> None:
    (folder / "customers.csv").write_text("code,name,currency,parent\nC-1,Globex,DEM,\nC-2,,EUR,C-9\n")
    (folder / "projects.csv").write_text("code,name,entity,customer\nP-1,Rollout,US,C-1\nP-2,Other,UK,C-2\n")
    (folder / "rates.csv").write_text(
        "card,card_version,role,currency,amount,valid_from\n"
        'ACME-2026,3,SC,USD,"120,50",2026-01-01\nACME-2026,3,SCC,USD,,01/07/2026\n'
    )
    told = refused(folder)
    assert told == [
        "customers.csv, line 2, column currency: “DEM” is not a currency in use; expected an ISO 4217 code "
        "such as EUR, USD or GBP.",
        "customers.csv, line 3, column name: is empty; a customer needs it (name).",
        "rates.csv, line 2, column amount: “120,50” is not a decimal number; write it with a point and "
        "without separators, as 1250.00.",
        "rates.csv, line 3, column amount: is empty; a rate needs it (the rate; 0 is a rate, an empty cell "
        "is refused).",
        "rates.csv, line 3, column valid_from: “01/07/2026” is not a day; write it as YYYY-MM-DD.",
        "customers.csv, line 3, column parent: “C-9” is not known as a customer.",
        "projects.csv, line 3, column entity: “UK” is not known as a legal entity.",
        "rates.csv, line 3, column role: “SCC” is not known as a role; did you mean “SC”?",
    ]
    assert not LegalEntity.objects.exists()


def test_a_failure_while_writing_leaves_nothing_half_applied(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from portal.importing.load import Load

    write_table = Load._write_table

    def fail_late(self: Load, table: object, *rest: object) -> object:
        if getattr(table, "name", "") == "aliases":
            raise RuntimeError("the disk is full")
        return write_table(self, table, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Load, "_write_table", fail_late)
    with pytest.raises(RuntimeError):
        load(folder)
    assert not LegalEntity.objects.exists()
    assert not Rate.history.exists()


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("customers", "code,name,currency,parant\n", "“parant” is not a column of this file; did you mean parent?"),
        ("customers", "code,name\nC,Name\n", "the column currency is missing; a customer needs it"),
        ("customers", "code,code,name,currency\n", "“code” stands twice in the header."),
        ("customers", "code,name,currency\nC-1,Globex, Inc,USD\n", "line 2: has 4 cells where the header has 3"),
        ("customers", 'code,name,currency\nC-1,"Globex,USD\n', "look for an unclosed quotation mark"),
        ("customers", "", "customers.csv: is empty; expected a header."),
        ("consultants", "code,name\n", "consultants.csv: is not a file of master data"),
        ("customer", "code,name\n", "did you mean customers.csv?"),
        ("roles", "code,name\nSC,One\nSC,Two\n", "roles.csv, line 3: “SC” stands twice: here and at line 2."),
        ("entities", "code,name,currency,zone\nUS,US,USD,Mars/Olympus\n", "“Mars/Olympus” is not a time zone"),
        ("resources", "code,name,email\nR-1,Ada,ada(at)x\n", "“ada(at)x” is not an e-mail address."),
        ("roles", f"code,name\n{'X' * 61},One\n", "is 61 characters long; at most 60 are kept."),
        ("tasks", "project,code,name,is_active\nP-1,DEV,Dev,maybe\n", "“maybe” is neither true nor false."),
        ("periods", "entity,code,starts_on,ends_on\nUS,X,2026-07-31,2026-07-01\n", "is before starts_on 2026-07-31."),
        ("periods", "entity,code,starts_on,ends_on\nUS,X,2026-02-30,2026-03-01\n", "is not a day of the calendar."),
        (
            "rate_cards",
            "code,contract,entity,valid_from\nX,K-1,US,2026-01-01\n",
            "has contract and entity; a rate card is for one",
        ),
        (
            "exchange_rates",
            "currency,to_currency,valid_from,rate,source\nEUR,USD,2026-07-01,0,ECB\n",
            "“0” is not above 0.",
        ),
        (
            "exchange_rates",
            "currency,to_currency,valid_from,rate,source\nUSD,USD,2026-07-01,1,ECB\n",
            "“USD” is the currency itself; expected another one.",
        ),
        ("intercompany", "provider,receiver\nUS,US\n", "“US” is the provider itself; expected another entity."),
        (
            "crosswalks",
            "kind,external_id,code\nproject,1,P-1\n",
            "is empty, as is connection; a crosswalk needs one of them.",
        ),
        (
            "crosswalks",
            "connection,kind,external_id,code\nerpp,project,1,P-1\n",
            "“erpp” is not known as a connection; did you mean “erp”?",
        ),
        (
            "tasks",
            "project,code,name,is_default\nP-1,A,A,yes\nP-1,B,B,yes\n",
            "is true for that at line 2 too; a project has one default task.",
        ),
        ("contracts", "code,name,customer,entity,currency,hours_per_day\nK-1,K,C-1,US,USD,0\n", "“0” is not above 0."),
        ("rates", "card,currency,amount,valid_from\nACME-2026,USD,-1,2026-01-01\n", "“-1” is below 0."),
        (
            "rates",
            "card,currency,amount,valid_from\nACME-2026,USD,1.00001,2026-01-01\n",
            "has more digits than are kept",
        ),
        ("rates", "card,currency,amount,valid_from\nACME-2026,USD,1e3,2026-01-01\n", "“1e3” is not a decimal number"),
        (
            "rates",
            "card,currency,amount,valid_from\nACME-2026,USD,0120,2026-01-01\nACME-2026,USD,NaN,2026-02-01\n",
            "“NaN” is not",
        ),
    ],
)
def test_what_cannot_be_taken_is_named_with_its_place_and_the_way_out(
    folder: Path, name: str, content: str, expected: str
) -> None:
    (folder / f"{name}.csv").write_text(content)
    told = refused(folder)
    assert any(expected in line for line in told), told
    assert not LegalEntity.objects.exists()


def test_a_file_that_cannot_be_read_does_not_make_everything_that_points_at_it_a_problem(folder: Path) -> None:
    (folder / "customers.csv").write_bytes("code,name,currency\nC-1,Müller,EUR\n".encode("cp1252"))
    assert refused(folder) == ["customers.csv, line 2: is not UTF-8 (byte 0xfc); save the file as CSV UTF-8."]


def test_semicolons_a_byte_order_mark_and_quoted_line_breaks_are_read(folder: Path) -> None:
    (folder / "customers.csv").write_bytes(
        b'\xef\xbb\xbfcode;name;currency\r\nC-1;"Globex\r\nInc";USD\r\n\r\nC-2;Caf\xc3\xa9;XXX\r\n'
    )
    assert refused(folder) == [
        "customers.csv, line 5, column currency: “XXX” is not a currency in use; expected an ISO 4217 code "
        "such as EUR, USD or GBP."
    ]


@pytest.mark.case(38)
def test_two_rate_cards_for_one_contract_on_the_same_day_are_refused_with_both_named(folder: Path) -> None:
    (folder / "rate_cards.csv").write_text(
        "code,version,contract,valid_from,valid_to\nACME-2026,3,K-1,2026-01-01,\nACME-2026,4,K-1,2026-07-01,\n"
    )
    assert refused(folder) == [
        "rate_cards.csv, line 3, column valid_from: “2026-07-01 to no end” overlaps that at line 2 "
        "(2026-01-01 to no end): a contract, customer or entity has one rate card a day. "
        "End the earlier one with valid_to 2026-06-30."
    ]


@pytest.mark.case(38)
def test_a_rate_that_overlaps_one_that_stands_already_is_refused(folder: Path) -> None:
    load(folder)
    (folder / "rates.csv").write_text(
        "card,card_version,role,currency,amount,valid_from\nACME-2026,3,SC,USD,140,2026-10-01\n"
    )
    assert refused(folder) == [
        "rates.csv, line 2, column valid_from: “2026-10-01 to no end” overlaps one that stands already "
        "(2026-07-01 to no end): a card has one rate a day for the same resource, role, task and currency. "
        "End the earlier one with valid_to 2026-09-30."
    ]


def test_ending_the_earlier_range_makes_room_for_the_later_one_in_the_same_load(folder: Path) -> None:
    load(folder)
    (folder / "project_statuses.csv").write_text(
        "project,status,valid_from,valid_to\nP-1,on_hold,2026-08-01,2026-12-31\nP-1,open,2026-01-01,2026-07-31\n"
    )
    assert "project_statuses: 1 created, 1 changed, 0 unchanged" in load(folder)
    assert list(ProjectStatus.objects.values_list("status", "valid_from")) == [
        ("open", date(2026, 1, 1)),
        ("on_hold", date(2026, 8, 1)),
        ("closed", date(2027, 1, 1)),
    ]


@pytest.mark.case(30)
def test_an_external_key_is_used_again_only_when_its_first_meaning_has_ended(folder: Path) -> None:
    load(folder)
    (folder / "projects.csv").write_text("code,name,entity,customer\nP-2,Second,US,C-1\n")
    path = folder / "crosswalks.csv"
    path.write_text("connection,kind,external_id,code,valid_from,valid_to\nerp,project,4711,P-2,2026-07-01,\n")
    assert (
        "overlaps one that stands already (2000-01-01 to no end): a key of a system means one record a day."
        in refused(folder)[0]
    )
    path.write_text(
        "connection,kind,external_id,code,valid_from,valid_to\n"
        "erp,project,4711,P-1,2000-01-01,2026-06-30\nerp,project,4711,P-2,2026-07-01,\n"
    )
    assert "crosswalks: 1 created, 1 changed" in load(folder)


@pytest.mark.case(30)
def test_a_record_has_one_key_in_a_system_unless_several_are_allowed_for_it(folder: Path) -> None:
    load(folder)
    path = folder / "crosswalks.csv"
    path.write_text("connection,kind,external_id,code\nerp,project,4712,P-1\n")
    assert "a record has one key in a system a day" in refused(folder)[0]
    path.write_text("connection,kind,external_id,code,allows_many\nerp,project,4712,P-1,true\n")
    assert "crosswalks: 1 created" in load(folder)


@pytest.mark.parametrize(
    ("name", "content", "circle"),
    [
        (
            "customers",
            "code,name,currency,parent\nA,A,USD,C\nB,B,USD,A\nC,C,USD,B\nC-1,G,USD,\nC-2,E,EUR,\n",
            "A → C → B → A",
        ),
        ("customers", "code,name,currency,merged_into\nA,A,USD,A\nC-1,G,USD,\nC-2,E,EUR,\n", "A → A"),
        ("entities", "code,name,currency,parent\nUS,US,USD,DE\nDE,DE,EUR,US\n", "US → DE → US"),
    ],
)
def test_a_hierarchy_that_closes_a_circle_is_refused_with_the_circle(
    folder: Path, name: str, content: str, circle: str
) -> None:
    (folder / f"{name}.csv").write_text(content)
    assert any(f"closes a circle: {circle}." in line for line in refused(folder))


def test_what_only_the_database_sees_is_refused_as_a_sentence_and_whole(folder: Path) -> None:
    load(folder)
    (folder / "crosswalks.csv").write_text(
        "connection,kind,external_id,code\nerp,project,4711,P-2\nerp,project,4712,P-1\n"
    )
    (folder / "projects.csv").write_text("code,name,entity,customer\nP-2,Second,US,C-1\n")
    load(folder)
    (folder / "crosswalks.csv").write_text(
        "connection,kind,external_id,code\nerp,project,4711,P-1\nerp,project,4712,P-2\n"
    )
    told = refused(folder)
    assert "the database refuses it, because a record has one external id" in told[0]
    assert Crosswalk.objects.get(external_id="4711").internal_id == Project.objects.get(code="P-2").pk


def test_a_zero_that_was_written_is_kept_as_a_rate(folder: Path) -> None:
    load(folder)
    assert Rate.objects.get(resource__code="R-1").amount == 0


def test_a_tax_number_that_does_not_look_valid_is_a_warning_and_is_kept(folder: Path) -> None:
    (folder / "customers.csv").write_text(
        "code,name,currency,tax_number\nC-1,G,USD,DE136695970\nC-2,E,EUR,GB 980780684\n"
    )
    told = load(folder)
    assert (
        "Warning: customers.csv, line 2, column tax_number: “DE136695970” does not look like a valid tax number" in told
    )
    assert "line 3" not in told
    assert Customer.objects.get(code="C-1").tax_number == "DE136695970"


def test_an_unknown_person_or_folder_is_refused(folder: Path) -> None:
    with pytest.raises(CommandError, match="no user “nobody”"):
        load(folder, "--by", "nobody")
    assert "is not a folder" in refused(folder / "missing")[0]
    (folder / "empty").mkdir()
    assert "holds no CSV file" in refused(folder / "empty")[0]


@pytest.mark.slow
def test_twenty_thousand_rates_are_loaded_and_changed_in_seconds(folder: Path) -> None:
    load(folder)
    people = [f"X-{number}" for number in range(2000)]
    (folder / "resources.csv").write_text("code,name\n" + "".join(f"{code},Person {code}\n" for code in people))

    def rates(extra: int) -> str:
        return "card,card_version,resource,currency,amount,valid_from,valid_to\n" + "".join(
            f"ACME-2026,3,{code},USD,{100 + year + extra}.25,{2010 + year}-01-01,{2010 + year}-12-31\n"
            for code in people
            for year in range(10)
        )

    seconds = []
    for extra, expected in ((0, "20000 created"), (1, "20000 changed"), (1, "20000 unchanged")):
        (folder / "rates.csv").write_text(rates(extra))
        started = time.perf_counter()
        assert expected in load(folder)
        seconds.append(time.perf_counter() - started)
    assert max(seconds) < 60, seconds  # a net against writing row by row, with room for a busy machine
    assert Rate.history.count() == 3 + 40_000
    assert Resource.objects.count() == 2002


@pytest.mark.django_db
def test_a_schedule_of_invoices_needs_a_day_that_fits_it(tmp_path: Path) -> None:
    (tmp_path / "customers.csv").write_text(
        "code,name,currency,invoice_schedule,invoice_day,payment_terms_days\n"
        "A,Acme,USD,monthly,31,30\nB,Bell,USD,weekly,8,30\nC,Core,USD,monthly,,\nD,Dell,USD,,4,\nE,Esso,USD,quarterly,1,\n"
    )
    err = io.StringIO()
    with pytest.raises(CommandError, match="4 problems"):
        call_command("import_master_data", str(tmp_path), stdout=io.StringIO(), stderr=err)
    assert "does not fit a weekly schedule; expected 1 to 7." in err.getvalue()
    assert "does not fit a monthly schedule; expected 1 to 31." in err.getvalue()
    assert "has no meaning without a monthly or weekly invoice_schedule." in err.getvalue()
    assert "is not one of monthly, weekly, milestone, none." in err.getvalue()
