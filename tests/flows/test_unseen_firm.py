"""A firm that nobody has seen is brought in by one TOML file and a folder of CSV files, and its hours reach the ERP.

Three companies, 40 customers, 120 projects, 200 consultants; Harvest by polling, Clockify, nightly files; NetSuite. Nothing is
set up but by the operator's commands, and what is wrong is mended by them as well.
"""

from __future__ import annotations

import csv
import io
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db.models import Q
from pytest_django.fixtures import Settings

from integrations import work
from integrations.models import Run, Stream
from integrations.sandbox.clockify import API_KEY, WORKSPACE_ID
from integrations.sandbox.harvest import ACCOUNT_ID, TOKEN
from integrations.sandbox.server import control, sandbox_server
from portal import history
from portal.models import Connection, Customer, LedgerState, MasterChange, Project, Resource
from reconciliation.models import ExceptionCase
from tests.integrations import netsuite_account

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

DAYS = (date(2026, 3, 2), date(2026, 3, 3))
COMPANIES = ("US", "GB", "DE")
CURRENCIES = {"US": "USD", "GB": "GBP", "DE": "EUR"}
RATES = {"junior": Decimal(90), "senior": Decimal(140)}
PARTNER = Decimal(300)  # agreed, and forgotten in the rate cards
MISTYPED = "DE-PRJ-X"

CONFIGURATION = """
[[entities]]
code = "US"
name = "Firm Inc."
currency = "USD"
zone = "America/New_York"
[[entities]]
code = "GB"
name = "Firm Ltd"
currency = "GBP"
zone = "Europe/London"
parent = "US"
[[entities]]
code = "DE"
name = "Firm GmbH"
currency = "EUR"
zone = "Europe/Berlin"
parent = "US"

[[periods]]
entities = "all"
first_month = "2026-01"
last_month = "2026-12"

[[connections]]
code = "erp"
name = "NetSuite"
connector = "netsuite"
roles = ["target"]
base_url = "{sandbox}/netsuite"
realm = "1234567_SB1"
concurrency = 4
credentials = {{ private_key = {{ file = "{folder}/netsuite.pem" }} }}
[connections.settings]
client_id = "client-1"
certificate_id = "cert-PS256"
batch_size = 50
service_item = "90"
currencies = {{ USD = "1", GBP = "2", EUR = "4" }}

[[connections]]
code = "harvest-us"
name = "Harvest"
connector = "harvest"
entity = "US"
roles = ["source"]
base_url = "{sandbox}/harvest/v2"
realm = "{account}"
zone = "America/New_York"
settings = {{ contact = "finance@firm.example" }}
credentials = {{ token = {{ env = "FIRM_HARVEST" }} }}

[[connections]]
code = "clockify-gb"
name = "Clockify"
connector = "clockify"
entity = "GB"
roles = ["source"]
base_url = "{sandbox}/clockify/api/v1"
realm = "{workspace}"
zone = "Europe/London"
credentials = {{ api_key = {{ env = "FIRM_CLOCKIFY" }} }}

[[connections]]
code = "files-de"
name = "Files"
connector = "files"
entity = "DE"
roles = ["source"]
base_url = "{folder}/inbox"
zone = "Europe/Berlin"
settings = {{ delimiter = ";", decimal = ",", date_formats = "DD.MM.YYYY", currency = "EUR" }}

[[routes]]
entity = "US"
source = "harvest-us"
target = "erp"
kind = "time"
[[routes]]
entity = "GB"
source = "clockify-gb"
target = "erp"
kind = "time"
[[routes]]
entity = "DE"
source = "files-de"
target = "erp"
kind = "time"
"""


@dataclass(frozen=True, slots=True)
class Person:
    number: int

    @property
    def code(self) -> str:
        return f"P-{self.number:03}"

    @property
    def company(self) -> str:
        return COMPANIES[self.number % 3]

    @property
    def role(self) -> str:
        return "partner" if self.number == 0 else ("junior", "senior")[self.number % 2]

    @property
    def project(self) -> int:
        """A project of a customer of their own company."""
        own = [number for number in range(120) if number % 40 % 3 == self.number % 3]
        return own[self.number % len(own)]

    @property
    def rate(self) -> Decimal:
        return PARTNER if self.role == "partner" else RATES[self.role]


PEOPLE = [Person(number) for number in range(200)]


def project_code(number: int) -> str:
    return f"{COMPANIES[number % 40 % 3]}-PRJ-{number:03}"


def team(company: str) -> list[Person]:
    return [person for person in PEOPLE if person.company == company]


def write(folder: Path, name: str, header: str, rows: Sequence[Sequence[object]]) -> None:
    with (folder / f"{name}.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header.split(","))
        writer.writerows(rows)


def master_data(folder: Path) -> None:
    """What an operator would export from the firm's own lists."""
    folder.mkdir()
    company = [COMPANIES[number % 3] for number in range(40)]
    write(folder, "roles", "code,name", [(code, code.title()) for code in (*RATES, "partner")])
    write(
        folder,
        "customers",
        "code,name,currency,entity",
        [(f"C-{n:02}", f"Customer {n}", CURRENCIES[company[n]], company[n]) for n in range(40)],
    )
    write(
        folder,
        "contracts",
        "code,name,customer,entity,currency",
        [(f"K-{n:02}", f"Contract {n}", f"C-{n:02}", company[n], CURRENCIES[company[n]]) for n in range(40)],
    )
    write(
        folder,
        "projects",
        "code,name,entity,customer,contract",
        [(project_code(n), f"Project {n}", company[n % 40], f"C-{n % 40:02}", f"K-{n % 40:02}") for n in range(120)],
    )
    write(
        folder,
        "project_statuses",
        "project,status,valid_from,valid_to",
        [(project_code(n), "open", "2026-01-01", "") for n in range(120)],
    )
    write(folder, "resources", "code,name", [(person.code, f"Person {person.number}") for person in PEOPLE])
    write(
        folder,
        "engagements",
        "resource,entity,role,valid_from",
        [(person.code, person.company, person.role, "2025-01-01") for person in PEOPLE],
    )
    write(
        folder, "rate_cards", "code,contract,valid_from", [(f"R-{n:02}", f"K-{n:02}", "2026-01-01") for n in range(40)]
    )
    write(
        folder,
        "rates",
        "card,role,currency,amount,valid_from",
        [
            (f"R-{n:02}", role, CURRENCIES[company[n]], rate, "2026-01-01")
            for n in range(40)
            for role, rate in RATES.items()
        ],
    )
    write(
        folder,
        "crosswalks",
        "connection,kind,external_id,code",
        [
            *(("erp", "entity", str(n + 1), code) for n, code in enumerate(COMPANIES)),
            *(("erp", "customer", str(1000 + n), f"C-{n:02}") for n in range(40)),
            *(("erp", "project", str(2000 + n), project_code(n)) for n in range(120)),
            *(("erp", "resource", str(3000 + person.number), person.code) for person in PEOPLE),
            *(("harvest-us", "resource", str(4000 + person.number), person.code) for person in team("US")),
            *(("clockify-gb", "resource", f"u{person.number}", person.code) for person in team("GB")),
            *(("clockify-gb", "project", f"p{n}", project_code(n)) for n in range(120) if n % 40 % 3 == 1),
        ],
    )


def netsuite() -> dict[str, Any]:
    """The ERP: signed in to with a certificate, its own keys for everything."""

    def ref(key: object) -> dict[str, str]:
        return {"id": str(key)}

    return {
        "certificates": netsuite_account.SEED["certificates"],
        "records": {
            "currency": [{"id": key, "symbol": code} for key, code in (("1", "USD"), ("2", "GBP"), ("4", "EUR"))],
            "subsidiary": [{"id": str(n + 1), "name": code} for n, code in enumerate(COMPANIES)],
            "serviceItem": [{"id": "90", "itemId": "CONSULTING"}],
            "accountingPeriod": [
                {"id": "503", "periodName": "Mar 2026", "startDate": "2026-03-01", "endDate": "2026-03-31"}
            ],
            "customer": [
                {"id": str(1000 + n), "entityId": f"C-{n:02}", "subsidiary": ref(n % 3 + 1)} for n in range(40)
            ],
            "job": [
                {
                    "id": str(2000 + n),
                    "entityId": project_code(n),
                    "parent": ref(1000 + n % 40),
                    "subsidiary": ref(n % 40 % 3 + 1),
                    "allowTime": True,
                }
                for n in range(120)
            ],
            "employee": [
                {
                    "id": str(3000 + person.number),
                    "entityId": person.code,
                    "subsidiary": ref(person.number % 3 + 1),
                    "isJobResource": True,
                }
                for person in PEOPLE
            ],
        },
    }


def harvest() -> dict[str, Any]:
    return {
        "users": [{"id": 4000 + person.number, "name": f"Person {person.number}"} for person in team("US")],
        "clients": [{"id": 1, "name": "All", "currency": "USD"}],
        "projects": [{"id": 5000 + n, "name": f"Project {n}", "code": project_code(n)} for n in range(120)],
        "tasks": [{"id": 41, "name": "Consulting"}],
        "time_entries": [
            {
                "id": 10_000 + 10 * person.number + place,
                "spent_date": day.isoformat(),
                "hours": 7.5,
                "user": 4000 + person.number,
                "client": 1,
                "project": 5000 + person.project,
                "task": 41,
                "billable": True,
                "billable_rate": float(person.rate),
                "approval_status": "approved",
                "updated_at": "2026-03-05T09:00:00Z",
            }
            for person in team("US")
            for place, day in enumerate(DAYS)
        ],
    }


def clockify() -> dict[str, Any]:
    return {
        "users": [{"id": f"u{p.number}", "name": f"Person {p.number}", "timeZone": "Europe/London"} for p in team("GB")]
        + [{"id": "boss", "name": "The boss", "timeZone": "Europe/London"}],
        "clients": [{"id": "c1", "name": "All"}],
        "projects": [{"id": f"p{n}", "name": f"Project {n}", "clientId": "c1"} for n in range(120) if n % 40 % 3 == 1],
        "approvals": [
            {
                "id": f"a{person.number}",
                "userId": f"u{person.number}",
                "dateRange": {"start": "2026-03-02T00:00:00Z", "end": "2026-03-08T23:59:59Z"},
                "state": "APPROVED",
                "updatedAt": "2026-03-09T10:00:00Z",
                "updatedBy": "boss",
                "entries": [
                    {
                        "id": f"e{person.number}-{place}",
                        "timeInterval": {
                            "start": f"{day}T08:00:00Z",
                            "end": f"{day}T15:30:00Z",
                            "duration": "PT7H30M",
                        },
                        "projectId": f"p{person.project}",
                        "hourlyRate": {"amount": int(person.rate * 100), "currency": "GBP"},
                        "billable": True,
                    }
                    for place, day in enumerate(DAYS)
                ],
            }
            for person in team("GB")
        ],
    }


def german_file(folder: Path) -> None:
    """One file of the night; the first consultant writes a code that nobody knows."""
    folder.mkdir()
    path = folder / "time-2026-03.csv"
    mistaken = team("DE")[0]
    rows = []
    for person in team("DE"):
        project = MISTYPED if person == mistaken else project_code(person.project)
        rows += [f"{person.code};{day:%d.%m.%Y};{project};7,5;F{person.number}-{day:%d}" for day in DAYS]
    path.write_text("person;date;project;hours;id\n" + "\n".join(rows) + "\n")
    os.utime(path, (time.time() - 60, time.time() - 60))


@pytest.fixture(scope="module")
def vendors() -> Iterator[str]:
    with sandbox_server(names=["harvest", "clockify", "netsuite"]) as base:
        yield base


@pytest.fixture
def firm(vendors: str, tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The firm's vendors, secrets and files; nothing of it is known to Tieout yet."""
    settings.ALLOW_LOOPBACK = True
    settings.TIME_SCALE = 0.01
    monkeypatch.setenv("FIRM_HARVEST", TOKEN)
    monkeypatch.setenv("FIRM_CLOCKIFY", API_KEY)
    (tmp_path / "netsuite.pem").write_text(netsuite_account.keys()["PS256"][0])
    control(vendors, "POST", "reset")
    control(vendors, "POST", "netsuite/seed", netsuite())
    control(vendors, "POST", "netsuite/configure", {"async_seconds": 0.02})
    control(vendors, "POST", "harvest/seed", harvest())
    control(vendors, "POST", "harvest/configure", {"rate": [100_000, 15]})
    control(vendors, "POST", "clockify/seed", clockify())
    german_file(tmp_path / "inbox")
    master_data(tmp_path / "master_data")
    text = CONFIGURATION.format(sandbox=vendors, folder=tmp_path, account=ACCOUNT_ID, workspace=WORKSPACE_ID)
    (tmp_path / "firm.toml").write_text(text)
    return tmp_path


def command(*arguments: str) -> str:
    out = io.StringIO()
    try:
        call_command(*arguments, stdout=out, stderr=out)
    except CommandError as error:
        pytest.fail(f"{out.getvalue()}{error}")
    return out.getvalue()


def read_everything() -> None:
    for stream in Stream.objects.exclude(next_due_at=None):
        run = work.pull(stream.pk)
        assert run is not None
        assert run.state == Run.State.DONE, run.failure


def deliver_everything() -> Counter[str]:
    """Deliver until nothing moves any more; the entries by state."""
    erp = Connection.objects.get(code="erp")
    until = time.monotonic() + 60
    while time.monotonic() < until:
        work.deliver(erp.pk)
        if not LedgerState.objects.filter(state__in=["ready", "sending", "in_doubt", "accepted"]).exists():
            break
    return Counter(LedgerState.objects.values_list("state", flat=True))


@pytest.mark.case(19, 33, 127, 129)
def test_an_unseen_firm_is_brought_in_by_commands_and_its_hours_are_posted(firm: Path, vendors: str) -> None:
    started = time.monotonic()
    command("configure", str(firm / "firm.toml"))
    command("import_master_data", str(firm / "master_data"))
    assert time.monotonic() - started < 60
    assert (Customer.objects.count(), Project.objects.count(), Resource.objects.count()) == (40, 120, 200)

    read_everything()
    entries, held = 2 * len(PEOPLE), 2 + 2
    assert deliver_everything() == {"posted": entries - held, "held": held}
    causes = ExceptionCase.objects.filter(state="open").values_list("rule", "entity__code", "open_holds")
    assert sorted(causes) == [("project-unknown", "DE", 2), ("rate-missing", "US", 2)]

    mend(firm)
    work.revalidate()
    assert not MasterChange.objects.filter(handled_at=None).exists()
    assert deliver_everything() == {"posted": entries}
    assert not ExceptionCase.objects.filter(state="open").exists()
    booked = control(vendors, "GET", "netsuite/inspect")
    assert len(booked["timebills"]) == entries
    assert booked["most_records_under_one_external_id"] == 1
    history_tells_how_everything_stands()


def history_tells_how_everything_stands() -> None:
    """Whoever wrote a row with history, its latest history row is the row, and says why."""
    for model in filter(history.has_history, apps.get_models()):
        told = model.history.model  # type: ignore[attr-defined]
        names = [field.attname for field in told.tracked_fields]
        latest = told.objects.order_by("id", "-history_date", "-history_id").distinct("id")
        assert set(map(repr, latest.values_list(*names))) == set(map(repr, model._base_manager.values_list(*names))), (
            model
        )
        assert not told.objects.filter(Q(history_change_reason=None) | Q(history_change_reason="")).exists(), model


def mend(firm: Path) -> None:
    """What the operator loads when the causes are known: an alias for the code, the rate that was forgotten."""
    folder = firm / "mended"
    folder.mkdir()
    write(
        folder,
        "aliases",
        "connection,kind,alias,code,reason",
        [("files-de", "project", MISTYPED, project_code(team("DE")[0].project), "Mistyped in the nightly file")],
    )
    card = f"R-{PEOPLE[0].project % 40:02}"
    write(folder, "rates", "card,role,currency,amount,valid_from", [(card, "partner", "USD", PARTNER, "2026-01-01")])
    told = command("import_master_data", str(folder), "--reason", "Causes of the first night")
    assert "aliases: 1 created" in told
    assert "rates: 1 created" in told
