"""An acquired company is configured from files, rehearsed on its last closed month and let live by two people; its first week
posts. Then its tracker is changed from Harvest to Clockify by configuration alone, and nothing is posted twice.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import Settings

from integrations import connections, invariants, registry, work
from integrations.http import Exchange, recording
from integrations.sandbox.clockify import API_KEY, WORKSPACE_ID
from integrations.sandbox.harvest import ACCOUNT_ID, TOKEN
from integrations.sandbox.server import control, sandbox_server
from portal.models import AccountingPeriod, Connection, Document, LedgerEntry, LegalEntity, StatementLine, User
from portal.records import DocumentKind, Posting, Receipt
from reconciliation.models import ChangeSet, ExceptionCase, Onboarding, Rehearsal, RehearsedLine
from tests.flows.test_unseen_firm import command, deliver_everything, read_everything, write
from tests.flows.two_people import shown
from tests.integrations import netsuite_account

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

PEOPLE = ("P-0", "P-1")
PASSWORD = "long enough to prove who it is"
RATE = Decimal(140)


def _month(back: int) -> date:
    """The first day of a month before this one."""
    today = timezone.now().date()
    month = today.year * 12 + today.month - 1 - back
    return date(month // 12, month % 12 + 1, 1)


CLOSED, CUT_OVER = _month(2), _month(1)
SWAP = CUT_OVER + timedelta(days=14)


def workdays(start: date, count: int) -> list[date]:
    found: list[date] = []
    while len(found) < count:
        if start.weekday() < 5:
            found.append(start)
        start += timedelta(days=1)
    return found


LAST_MONTH, FIRST_WEEK, AFTER = workdays(CLOSED, 3), workdays(CUT_OVER, 5), workdays(SWAP, 5)

COMPANY = """
[[entities]]
code = "NEW"
name = "Acquired Inc."
currency = "USD"
zone = "America/New_York"
calendar = {{ weekend = [6, 7], hours_per_day = 8, holidays = [{year}-12-25] }}

[[periods]]
entities = ["NEW"]
first_month = "{first:%Y-%m}"
last_month = "{last:%Y-%m}"
closed_through = "{closed:%Y-%m}"

[[connections]]
code = "erp"
name = "NetSuite"
connector = "netsuite"
roles = ["target"]
base_url = "{sandbox}/netsuite"
realm = "1234567_SB1"
credentials = {{ private_key = {{ file = "{folder}/netsuite.pem" }} }}
[connections.settings]
client_id = "client-1"
certificate_id = "cert-PS256"
batch_size = 50
service_item = "90"
currencies = {{ USD = "1" }}

[[users]]
username = "cleo"
roles = {{ controller = ["NEW"] }}
[[users]]
username = "carl"
roles = {{ controller = ["NEW"] }}
"""

TRACKER = (
    "code,name,vendor,entity,source,address,account,zone,settings\n"
    "harvest-new,Harvest,Harvest,NEW,yes,{sandbox}/harvest/v2,{account},America/New_York,"
    '"{{""contact"": ""finance@firm.example""}}"\n'
)
ROUTE = "entity,source,target,kind\nNEW,harvest-new,erp,time\n"

CLOCKIFY = """
[[routes]]
entity = "NEW"
source = "harvest-new"
target = "erp"
kind = "time"
valid_to = {before}

[[connections]]
code = "clockify-new"
name = "Clockify"
connector = "clockify"
entity = "NEW"
roles = ["source"]
base_url = "{sandbox}/clockify/api/v1"
realm = "{workspace}"
zone = "America/New_York"
cut_over_on = {swap}
credentials = {{ api_key = {{ env = "NEW_CLOCKIFY" }} }}
streams = [{{ name = "time_entries", every_seconds = 300 }}]

[[routes]]
entity = "NEW"
source = "clockify-new"
target = "erp"
kind = "time"
valid_from = {swap}
"""


def master_data(folder: Path) -> None:
    folder.mkdir()
    since = (CLOSED - timedelta(days=400)).isoformat()
    write(folder, "roles", "code,name", [("senior", "Senior")])
    write(folder, "customers", "code,name,currency,entity", [("C-1", "Customer", "USD", "NEW")])
    write(folder, "contracts", "code,name,customer,entity,currency", [("K-1", "Contract", "C-1", "NEW", "USD")])
    write(folder, "projects", "code,name,entity,customer,contract", [("NEW-1", "Roll-out", "NEW", "C-1", "K-1")])
    write(folder, "project_statuses", "project,status,valid_from", [("NEW-1", "open", since)])
    write(folder, "resources", "code,name", [(code, f"Person {code}") for code in PEOPLE])
    write(folder, "engagements", "resource,entity,role,valid_from", [(code, "NEW", "senior", since) for code in PEOPLE])
    write(folder, "rate_cards", "code,contract,valid_from", [("R-1", "K-1", since)])
    write(folder, "rates", "card,role,currency,amount,valid_from", [("R-1", "senior", "USD", RATE, since)])
    write(
        folder,
        "crosswalks",
        "connection,kind,external_id,code",
        [
            ("erp", "entity", "1", "NEW"), ("erp", "project", "2000", "NEW-1"),
            *(("erp", "resource", str(3000 + n), code) for n, code in enumerate(PEOPLE)),
            *(("harvest-new", "resource", str(4000 + n), code) for n, code in enumerate(PEOPLE)),
        ],
    )  # fmt: skip


def netsuite() -> dict[str, Any]:
    return {
        "certificates": netsuite_account.SEED["certificates"],
        "records": {
            "currency": [{"id": "1", "symbol": "USD"}],
            "subsidiary": [{"id": "1", "name": "NEW"}],
            "serviceItem": [{"id": "90", "itemId": "CONSULTING"}],
            "customer": [{"id": "1000", "entityId": "C-1", "subsidiary": {"id": "1"}}],
            "job": [{"id": "2000", "entityId": "NEW-1", "parent": {"id": "1000"}, "subsidiary": {"id": "1"}, "allowTime": True}],
            "employee": [
                {"id": str(3000 + n), "entityId": code, "subsidiary": {"id": "1"}, "isJobResource": True}
                for n, code in enumerate(PEOPLE)
            ],
        },
    }  # fmt: skip


def harvest(days: Sequence[date], first: int = 10_000) -> dict[str, Any]:
    return {
        "users": [{"id": 4000 + n, "name": f"Person {code}"} for n, code in enumerate(PEOPLE)],
        "clients": [{"id": 1, "name": "All", "currency": "USD"}],
        "projects": [{"id": 5000, "name": "Roll-out", "code": "NEW-1"}],
        "tasks": [{"id": 41, "name": "Consulting"}],
        "time_entries": [
            {
                "id": first + 100 * n + place, "spent_date": day.isoformat(), "hours": 7.5, "user": 4000 + n, "client": 1,
                "project": 5000, "task": 41, "billable": True, "billable_rate": float(RATE), "approval_status": "approved",
                "updated_at": f"{day + timedelta(days=1)}T09:00:00Z",
            }
            for n in range(len(PEOPLE))
            for place, day in enumerate(days)
        ],
    }  # fmt: skip


def clockify(days: Sequence[date]) -> dict[str, Any]:
    """The new tracker, into which the old one's past was copied."""
    return {
        "users": [{"id": f"u{n}", "name": f"Person {code}", "timeZone": "America/New_York"} for n, code in enumerate(PEOPLE)]
        + [{"id": "boss", "name": "The boss", "timeZone": "America/New_York"}],
        "clients": [{"id": "c1", "name": "All"}],
        "projects": [{"id": "p0", "name": "Roll-out", "clientId": "c1"}],
        "approvals": [
            {
                "id": f"a{n}", "userId": f"u{n}", "state": "APPROVED", "updatedBy": "boss",
                "dateRange": {"start": f"{days[0]}T00:00:00Z", "end": f"{days[-1]}T23:59:59Z"},
                "updatedAt": f"{days[-1] + timedelta(days=1)}T10:00:00Z",
                "entries": [
                    {
                        "id": f"e{n}-{place}", "projectId": "p0", "billable": True,
                        "timeInterval": {"start": f"{day}T14:00:00Z", "end": f"{day}T21:30:00Z", "duration": "PT7H30M"},
                        "hourlyRate": {"amount": int(RATE * 100), "currency": "USD"},
                    }
                    for place, day in enumerate(days)
                ],
            }
            for n in range(len(PEOPLE))
        ],
    }  # fmt: skip


@pytest.fixture(scope="module")
def vendors() -> Iterator[str]:
    with sandbox_server(names=["harvest", "clockify", "netsuite"]) as base:
        yield base


@pytest.fixture
def company(vendors: str, tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The company's vendors, secrets and files; Tieout knows nothing of it yet."""
    settings.ALLOW_LOOPBACK = True
    settings.TIME_SCALE = 0.01
    monkeypatch.setenv("NEW_HARVEST", TOKEN)
    monkeypatch.setenv("NEW_CLOCKIFY", API_KEY)
    (tmp_path / "netsuite.pem").write_text(netsuite_account.keys()["PS256"][0])
    control(vendors, "POST", "reset")
    control(vendors, "POST", "netsuite/seed", netsuite())
    control(vendors, "POST", "netsuite/configure", {"async_seconds": 0.02})
    control(vendors, "POST", "harvest/seed", harvest([*LAST_MONTH, *FIRST_WEEK]))
    control(vendors, "POST", "harvest/configure", {"rate": [100_000, 15]})
    master_data(tmp_path / "master_data")
    return tmp_path


def configure(company: Path, vendors: str, more: str = "") -> None:
    values = {
        "sandbox": vendors, "folder": company, "workspace": WORKSPACE_ID, "swap": SWAP, "before": SWAP - timedelta(days=1),
        "year": timezone.now().year, "first": _month(4), "last": _month(-2), "closed": CLOSED,
    }  # fmt: skip
    (company / "firm.toml").write_text((COMPANY + more).format(**values))
    command("configure", str(company / "firm.toml"), "--reason", "The acquisition")


def book_by_hand(day: date, person: int) -> None:
    """What somebody keyed into the ERP before Tieout was there."""
    target = registry.target(Connection.objects.get(code="erp"))
    posting = Posting(
        key=uuid4().hex, kind=DocumentKind.TIME, work_date=day, entity="1", resource=str(3000 + person), project="2000",
        item="90", hours=Decimal("7.5"), rate=RATE, currency="USD", billable=True,
    )  # fmt: skip
    [receipt] = target.push([posting])
    assert isinstance(receipt, Receipt), receipt


def signed_in(name: str) -> Client:
    client, person = Client(), User.objects.get(username=name)
    person.set_password(PASSWORD)
    person.save()
    client.force_login(person)
    return client


def by_file(kind: str, text: str, writer: Client, decider: Client) -> None:
    """A file that one person uploads and submits, and another agrees to."""
    file = SimpleUploadedFile(f"{kind}.csv", text.encode())
    answer = writer.post("/imports/new/", {"kind": kind, "file": file})
    assert answer.status_code == 303, answer.content.decode()
    answer = writer.post(answer["Location"], {"action": "draft", "reason": "The acquisition"})
    assert answer.status_code == 303, answer.content.decode()
    assert writer.post(answer["Location"], {"action": "submit"}).status_code == 303
    agree(decider)


def agree(decider: Client) -> None:
    """A second person reads the latest change set and agrees to it, signed in anew."""
    made = ChangeSet.objects.latest("pk")
    page = f"/changes/{made.pk}/"
    said = {"action": "approve", "comment": "Read it", **shown(decider, made)}
    answer = decider.post(page, said)
    if (
        answer.status_code == 303 and "reauthenticate" in answer["Location"]
    ):  # what says where secrets go is agreed to anew
        assert decider.post(answer["Location"], {"password": PASSWORD}).status_code == 303
        answer = decider.post(page, said)
    assert answer.status_code == 303, answer.content.decode()
    made.refresh_from_db()
    assert made.state == "applied", made.state


def in_the_erp(vendors: str) -> Counter[tuple[str, str]]:
    """How often the ERP holds each person's day."""
    work.read_back(Connection.objects.get(code="erp").pk)
    booked = control(vendors, "GET", "netsuite/inspect")
    assert booked["most_records_under_one_external_id"] == 1
    return Counter((str(one["employee"]["id"]), str(one["tranDate"])) for one in booked["timebills"])


def what_is_asked(said: Exchange) -> str:
    """Of a call to the ERP: a token, the first word of a query, or (of anything else that is no reading) its address."""
    if said.url.partition("?")[0].endswith("/token"):
        return "token"
    if "/suiteql" in said.url:
        return str(json.loads(said.request_body)["q"]).split()[0].upper()
    return "" if said.method == "GET" else said.url


def nothing_is_broken() -> None:
    assert {one.code: found for one, found in invariants.verify(live=False) if found} == {}


@pytest.mark.case(127, 130)
def test_a_company_is_rehearsed_goes_live_posts_its_first_week_and_changes_its_tracker_without_a_double(
    company: Path, vendors: str
) -> None:
    configure(company, vendors)
    entity = LegalEntity.objects.get(code="NEW")
    cleo, carl = signed_in("cleo"), signed_in("carl")

    # its tracker and its route come by files; the token is given on the connection's page, and nothing is read before
    by_file("connection", TRACKER.format(sandbox=vendors, account=ACCOUNT_ID), cleo, carl)
    tracker = Connection.objects.get(code="harvest-new")
    assert (tracker.is_active, tracker.credentials) == (False, {})
    by_file("route", ROUTE, cleo, carl)
    begun = cleo.post("/onboarding/new/", {"entity": entity.pk, "source": "", "reason": "Acquired"})
    found = Onboarding.objects.get()
    page = f"/onboarding/{found.pk}/"
    assert begun["Location"] == page
    checked = cleo.get(page).content.decode()
    assert "Harvest is not used yet" in checked
    assert "Harvest was not tested within 7 days" in checked
    given = {
        "action": "propose", "name": "Harvest", "entity": "NEW", "base_url": tracker.base_url, "realm": tracker.realm,
        "zone": tracker.zone, "concurrency": "1", "active": "true", "source": "on", "place-token": "env:NEW_HARVEST",
        "setting-contact": "finance@firm.example", "stream-time_entries": "300", "stream-expenses": "0", "reason": "Its token",
    }  # fmt: skip
    assert cleo.post("/connections/harvest-new/edit/", given).status_code == 303
    agree(carl)
    command("import_master_data", str(company / "master_data"), "--reason", "The acquisition")
    for day in LAST_MONTH:
        for person in range(len(PEOPLE)):
            book_by_hand(day, person)
    by_hand = in_the_erp(vendors)
    assert sum(by_hand.values()) == 6

    # its history arrives and is owed to nobody
    read_everything()
    assert Document.objects.count() == 2 * (3 + 5)
    assert deliver_everything() == {}
    assert not ExceptionCase.objects.filter(state="open").exists()

    # the checklist is met, the month is rehearsed by the worker, and two people let it go live
    for one in Connection.objects.all():
        assert connections.test(one, User.objects.get(username="cleo")).is_good
    source = Connection.objects.get(code="harvest-new")
    said = {"action": "cut-over", f"day-{source.pk}-time": CUT_OVER.isoformat(), "reason": "The first open month"}
    assert cleo.post(page, said).status_code == 303
    month = AccountingPeriod.objects.get(entity=entity, starts_on=CLOSED)
    assert cleo.post(page, {"action": "rehearse", "period": month.pk}).status_code == 303
    rehearsal = Rehearsal.objects.get()
    with recording() as wire:
        work.rehearse(rehearsal.pk)
    rehearsal.refresh_from_db()
    assert wire, "what was booked is read from the ERP"
    assert {(said.method, what_is_asked(said)) for said in wire} <= {("POST", "token"), ("POST", "SELECT"), ("GET", "")}
    assert (rehearsal.state, rehearsal.failure) == ("tied_out", "")
    assert Counter(RehearsedLine.objects.values_list("outcome", flat=True)) == {"agrees": 6}
    assert not LedgerEntry.objects.exists()
    assert in_the_erp(vendors) == by_hand
    proposed = cleo.post(page, {"action": "propose", "comment": "It ties out"})
    assert proposed.status_code == 303, proposed.content.decode()
    assert cleo.post(page, {"action": "approve", "comment": "me too"}).status_code == 422
    (seen,) = re.findall(r'name="proposed_at" value="([^"]+)"', carl.get(page).content.decode())
    assert carl.post(page, {"action": "approve", "comment": "seen", "proposed_at": seen}).status_code == 303

    # its first approved week posts, and nothing of its history
    work.revalidate()
    assert deliver_everything() == {"posted": 10}
    booked = in_the_erp(vendors)
    assert booked == by_hand + Counter({(str(3000 + n), str(day)): 1 for n in range(2) for day in FIRST_WEEK})
    nothing_is_broken()

    # the tracker is changed by configuration alone; the new one brings a copy of the past, the old one goes on a little
    write(
        company / "master_data", "crosswalks", "connection,kind,external_id,code",
        [
            ("clockify-new", "project", "p0", "NEW-1"),
            *(("clockify-new", "resource", f"u{n}", code) for n, code in enumerate(PEOPLE)),
        ],
    )  # fmt: skip
    configure(company, vendors, CLOCKIFY)
    command("import_master_data", str(company / "master_data"), "--reason", "Clockify instead of Harvest")
    control(vendors, "POST", "clockify/seed", clockify([*LAST_MONTH, *FIRST_WEEK, *AFTER]))
    control(vendors, "POST", "harvest/seed", harvest(AFTER[:1], first=20_000))
    read_everything()
    work.revalidate()
    assert deliver_everything() == {"posted": 20}
    assert in_the_erp(vendors) == booked + Counter({(str(3000 + n), str(day)): 1 for n in range(2) for day in AFTER})
    assert set(ExceptionCase.objects.filter(state="open").values_list("rule", flat=True)) == {"no-route"}
    assert not StatementLine.objects.filter(gone_at__isnull=False).exists()
    nothing_is_broken()
