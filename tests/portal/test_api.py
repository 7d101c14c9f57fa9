"""The read API: exactly the rows of the token's user, page by page, in strings that keep every cent, and nothing to write."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from drf_spectacular.validation import validate_schema

from portal import tokens
from portal.models import ApiToken, GrantRole, LedgerEntry, LegalEntity, ReadBack, User
from portal.records import Reference, SourceStatus
from portal.sql import now
from reconciliation import validation
from reconciliation.models import ChangeSet, ReconciliationResult, ReconciliationRun
from tests import world
from tests.integrations import outbound
from tests.reconciliation import firm as firms
from tests.reconciliation.firm import Firm

pytestmark = pytest.mark.django_db

NAMES = ("time-entries", "expenses", "ledger-entries", "cases", "holds", "change-sets", "reconciliation-results")


@pytest.fixture
def firm() -> Firm:
    return firms.build()


@pytest.fixture
def reader(firm: Firm) -> User:
    return world.user("warehouse", GrantRole.AUDITOR, firm.entity)


@pytest.fixture
def client(reader: User) -> Client:
    return bearing(tokens.issue(reader, "test"))


def bearing(token: str) -> Client:
    return Client(headers={"authorization": f"Bearer {token}"})


def fill(firm: Firm, number: int, first: int = 1) -> None:
    """Some entries of every kind: time, half of it held by its own cause, expenses, and results of a run."""
    firm.admit(
        *(
            firm.time(
                f"t{n}",
                work_date=date(2026, 1, 1) + timedelta(days=n),
                project=Reference("", "ACM-1" if n % 2 else f"NO-{n}", ""),
            )
            for n in range(first, first + number)
        ),
        *(firm.expense(f"x{n}", work_date=date(2026, 1, 1) + timedelta(days=n)) for n in range(first, first + number)),
    )
    run = ReconciliationRun.objects.create(
        entity=firm.entity, period=firm.entity.periods.get(code="2026-10"), started_at=now()
    )
    entries = LedgerEntry.objects.order_by("-pk")[:number]
    ReconciliationResult.objects.bulk_create(
        ReconciliationResult(
            run=run,
            period=run.period,
            leg="tracker_ledger",
            subject=each.document_id,
            stamp=0,
            outcome="matched",
            entry=each,
            document_id=each.document_id,
            hours_left="8.0000",
        )
        for each in entries
    )
    ada = User.objects.filter(username="ada").first() or world.user("ada", GrantRole.ANALYST, firm.entity)
    for n in range(first, first + number):
        change_set = ChangeSet.objects.create(title=f"Rate {n}", reason="a letter", created_by=ada, created_at=now())
        change_set.entities.add(firm.entity)
        change_set.lines.create(
            position=1, model="rate", key=firm.rate.pk, action="change", values={"amount": str(200 + n)}
        )


def read(client: Client, address: str) -> dict[str, Any]:
    answer = client.get(address)
    assert answer.status_code == 200, answer.content
    body: dict[str, Any] = answer.json()
    return body


def every(client: Client, address: str, between: Callable[[], None] = lambda: None) -> list[dict[str, Any]]:
    """All rows, page by page; something may happen between pages."""
    rows: list[dict[str, Any]] = []
    while address:
        page = read(client, address)
        rows += page["results"]
        address = page["next"] or ""
        between()
    return rows


@pytest.mark.parametrize("name", NAMES)
def test_a_list_and_its_row_are_the_same(firm: Firm, client: Client, name: str) -> None:
    fill(firm, 3)
    rows = read(client, f"/api/v1/{name}/")["results"]
    assert rows
    assert read(client, f"/api/v1/{name}/{rows[0]['id']}/") == rows[0]
    assert client.get(f"/api/v1/{name}/999999/").status_code == 404


@pytest.mark.parametrize("name", NAMES)
def test_a_page_costs_the_same_for_few_rows_and_for_many(firm: Firm, client: Client, name: str) -> None:
    fill(firm, 10)
    read(client, f"/api/v1/{name}/")  # the token's use is noted once in five minutes

    def cost() -> int:
        with CaptureQueriesContext(connection) as queries:
            read(client, f"/api/v1/{name}/?page_size=500")
        return len(queries)

    few = cost()
    fill(firm, 190, 11)
    assert len(read(client, f"/api/v1/{name}/?page_size=500")["results"]) >= 95
    assert cost() == few <= 8


@pytest.mark.parametrize("name", NAMES)
def test_pages_neither_skip_nor_repeat_while_rows_are_added(firm: Firm, client: Client, name: str) -> None:
    fill(firm, 6)
    known = [row["id"] for row in read(client, f"/api/v1/{name}/")["results"]]
    added = iter(range(100, 1000, 2))

    def add() -> None:
        if (n := next(added)) < 108:
            fill(firm, 2, n)

    seen = [row["id"] for row in every(client, f"/api/v1/{name}/?page_size=2", add)]
    assert len(seen) == len(set(seen))
    assert seen[: len(known)] == known
    assert len(seen) > len(known)


def test_a_page_has_two_thousand_rows_at_most(client: Client) -> None:
    from portal.api.base import Pages

    assert (Pages.page_size, Pages.max_page_size) == (200, 2000)
    assert client.get("/api/v1/holds/?page_size=999999").status_code == 200


def test_the_size_of_a_page_is_capped(firm: Firm, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.api.base.Pages.max_page_size", 3)
    fill(firm, 5)
    assert len(read(client, "/api/v1/time-entries/?page_size=100000")["results"]) == 3


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_filter_is_refused_by_name(client: Client, name: str) -> None:
    for query in ("colour=red", "entity__code=US", "ordering=id", "case__entity=1", "state__in=ready"):
        answer = client.get(f"/api/v1/{name}/?{query}")
        assert answer.status_code == 400
        assert answer.json()[query.split("=")[0]].startswith("Unknown filter; expected one of ")


def test_a_value_that_cannot_be_is_refused(client: Client) -> None:
    for address in ("ledger-entries/?state=flying", "time-entries/?work_date_from=yesterday", "holds/?case=x"):
        assert client.get(f"/api/v1/{address}").status_code == 400, address
    assert client.get("/api/v1/holds/?cursor=nonsense").status_code == 404


def test_filters_find_what_they_name(firm: Firm, client: Client) -> None:
    fill(firm, 4)
    firms.post(list(LedgerEntry.objects.filter(document__external_id="t1").values_list("pk", flat=True)))

    def found(address: str) -> list[str]:
        return sorted(str(row["external_id"]) for row in every(client, f"/api/v1/{address}"))

    assert found("ledger-entries/?kind=time&state=held") == ["t2", "t4"]
    assert found("ledger-entries/?state=posted") == ["t1"]
    assert found("ledger-entries/?kind=expense&entity=US") == ["x1", "x2", "x3", "x4"]
    assert found("ledger-entries/?entity=DE") == []
    assert found("ledger-entries/?project=acm-1&work_date_from=2026-01-03&kind=time") == ["t3"]
    assert found("ledger-entries/?resource=ana&external_id=t3") == ["t3"]
    assert found("time-entries/?work_date_to=2026-01-02&current=true") == ["t1"]
    assert found("expenses/?external_id=x2") == ["x2"]
    assert {row["rule"] for row in every(client, "/api/v1/holds/?open=true")} == {"project-unknown"}
    assert [row["subject_key"] for row in every(client, "/api/v1/cases/?rule=project-unknown&text=NO-2")] == ["no-2"]


def test_decimals_and_dates_are_strings_and_money_stands_beside_its_currency(firm: Firm, client: Client) -> None:
    firm.admit(firm.time("t1", hours=Decimal("7.25")), firm.expense("x1"))
    text = client.get("/api/v1/ledger-entries/?kind=time").content.decode()
    floats: list[str] = []
    [row] = json.loads(text, parse_float=floats.append)["results"]
    assert floats == []
    assert (row["hours"], row["rate"], row["amount"], row["currency"]) == ("7.2500", "120.0000", "870.0000", "USD")
    assert (row["work_date"], row["rate_version"][:9], row["connection"]) == ("2026-10-01", "ACME-2026", "harvest-us")
    assert (row["external_id"], row["version"], row["entity"], row["period"]) == ("t1", 1, "US", "2026-10")
    assert (row["project"], row["contract"], row["resource"], row["role"]) == ("ACM-1", "ACME-2026", "ana", "senior")
    assert (row["state"], row["read_back"], row["receipt"], row["holds"]) == ("ready", "none", None, [])
    [expense] = read(client, "/api/v1/expenses/")["results"]
    assert (expense["amount"], expense["currency"]) == ("119.0000", "USD")


def test_a_held_row_says_why_and_a_posted_one_its_receipt(firm: Firm, client: Client) -> None:
    fill(firm, 2)
    [posted] = LedgerEntry.objects.filter(document__external_id="t1").values_list("pk", flat=True)
    firms.post([posted])
    rows = {row["external_id"]: row for row in every(client, "/api/v1/ledger-entries/?kind=time")}
    assert (rows["t1"]["state"], rows["t1"]["read_back"], rows["t1"]["receipt"]) == ("posted", "equal", f"N{posted}")
    [hold] = rows["t2"]["holds"]
    assert (hold["rule"], "NO-2" in hold["sentence"], "no-2" in hold["subject"]) == ("project-unknown", True, True)
    assert read(client, f"/api/v1/cases/{hold['case']}/")["open_holds"] == 1


def test_only_a_token_that_holds_opens_the_api(firm: Firm, reader: User) -> None:
    fill(firm, 1)
    token = tokens.issue(reader, "nightly")
    known = ApiToken.objects.get()
    client = bearing(token)
    assert client.get("/api/v1/holds/").status_code == 200
    for other in (
        Client(),
        bearing("tieout_unknown"),
        bearing(""),
        Client(headers={"authorization": f"Basic {token}"}),
    ):
        answer = other.get("/api/v1/holds/")
        assert answer.status_code == 401
        assert answer["WWW-Authenticate"] == 'Bearer realm="Tieout"'
    assert "Authorization: Bearer TOKEN" in answer.json()["detail"], "the scheme was wrong, not the token"
    ApiToken.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert client.get("/api/v1/holds/").status_code == 401
    ApiToken.objects.update(expires_at=known.expires_at, revoked_at=timezone.now())
    assert client.get("/api/v1/holds/").status_code == 401
    ApiToken.objects.update(revoked_at=None)
    User.objects.filter(pk=reader.pk).update(is_active=False)
    assert client.get("/api/v1/holds/").status_code == 401
    User.objects.filter(pk=reader.pk).update(is_active=True)
    assert client.get("/api/v1/holds/").status_code == 200


def test_a_signed_in_browser_is_no_token(firm: Firm, reader: User) -> None:
    browser = Client()
    browser.force_login(reader)
    assert browser.get("/api/v1/holds/").status_code == 401


@pytest.mark.parametrize("name", NAMES)
def test_a_grant_that_ended_shows_nothing_any_more(firm: Firm, client: Client, reader: User, name: str) -> None:
    fill(firm, 2)
    [row, *_] = read(client, f"/api/v1/{name}/")["results"]
    reader.grants.update(valid_to=timezone.localdate())
    assert read(client, f"/api/v1/{name}/")["results"]  # the last day counts
    reader.grants.update(valid_to=timezone.localdate() - timedelta(days=1))
    assert read(client, f"/api/v1/{name}/")["results"] == []
    assert client.get(f"/api/v1/{name}/{row['id']}/").status_code == 404


@pytest.mark.parametrize("name", NAMES)
def test_another_entitys_rows_are_neither_listed_nor_found(firm: Firm, client: Client, name: str) -> None:
    fill(firm, 2)
    hans = world.user("hans", GrantRole.CONTROLLER, LegalEntity.objects.create(code="DE", name="DE", currency="EUR"))
    stranger = bearing(tokens.issue(hans, "Berlin"))
    [row, *_] = read(client, f"/api/v1/{name}/")["results"]
    assert read(stranger, f"/api/v1/{name}/")["results"] == []
    assert stranger.get(f"/api/v1/{name}/{row['id']}/").status_code == 404


def test_nothing_is_written_through_the_api(client: Client) -> None:
    for name in [f"{name}/" for name in NAMES] + [f"{name}/1/" for name in NAMES]:
        for method in (client.post, client.put, client.patch, client.delete):
            assert method(f"/api/v1/{name}", {}, content_type="application/json").status_code == 405
        overridden = client.post(f"/api/v1/{name}", {}, headers={"x-http-method-override": "GET"})
        assert overridden.status_code == 405


def test_the_schema_is_valid_and_names_every_field_of_a_row(firm: Firm, client: Client) -> None:
    schema = read(client, "/api/v1/schema/?format=json")
    validate_schema(schema)  # type: ignore[no-untyped-call]
    assert {path for path in schema["paths"] if path.count("/") == 4} >= {f"/api/v1/{name}/" for name in NAMES}
    acts = {path for path, by in schema["paths"].items() if set(by) != {"get"}}
    assert acts == {
        "/api/v1/bills/{id}/acts/",
        "/api/v1/certificates/prepare/",
        "/api/v1/certificates/{id}/acts/",
        "/api/v1/invoice-proposals/prepare/",
        "/api/v1/invoice-proposals/{id}/acts/",
        "/api/v1/matching-rules/propose/",
        "/api/v1/matching-rules/{id}/acts/",
        "/api/v1/matches/make/",
        "/api/v1/matches/{id}/acts/",
    }
    assert {method for path in acts for method in schema["paths"][path]} == {"post"}
    fill(firm, 1)
    [row] = read(client, "/api/v1/ledger-entries/?kind=time")["results"]
    assert set(schema["components"]["schemas"]["LedgerRow"]["properties"]) == set(row)


def test_the_schema_is_made_without_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("spectacular", "--validate", "--fail-on-warn", "--format", "openapi-json")
    assert "/api/v1/ledger-entries/" in capsys.readouterr().out


def test_a_part_that_was_split_off_and_a_reversal_are_rows_of_their_own() -> None:
    target = outbound.target()
    source = outbound.firm(target)
    [entry] = outbound.entries(source)
    firms.post([entry])
    from reconciliation import corrections

    made = corrections.reverse([entry], by=world.user(everywhere=True), reason="wrong").reversals[entry]
    client = bearing(tokens.issue(User.objects.get(), "test"))
    rows = {row["id"]: row for row in every(client, "/api/v1/ledger-entries/")}
    assert (rows[made]["reverses"], rows[made]["hours"], rows[entry]["reverses"]) == (entry, "-8.0000", None)
    assert [row["id"] for row in every(client, "/api/v1/ledger-entries/?is_reversal=true")] == [made]
    [document] = every(client, "/api/v1/time-entries/")
    assert [(row["entry"], row["state"]) for row in document["ledger"]] == [(entry, "posted"), (made, "ready")]


def why(client: Client, external_id: str, version: int = 1) -> dict[str, str] | None:
    """Why nothing is owed for a version."""
    rows = every(client, f"/api/v1/time-entries/?external_id={external_id}")
    reason: dict[str, str] | None = next(row["not_owed"] for row in rows if row["version"] == version)
    return reason


def test_a_row_for_which_nothing_is_owed_says_why(firm: Firm, client: Client) -> None:
    firm.source.cut_over_on = date(2026, 9, 1)
    firm.source.save()
    firm.route.valid_to = date(2026, 10, 15)
    firm.route.save()
    firm.admit(
        firm.time("owed"),
        firm.time("early", work_date=date(2026, 8, 31)),
        firm.time("late", work_date=date(2026, 10, 16)),
        firm.time("open"),
        firm.time("held", project=Reference("", "NO-1", "")),
    )
    firm.admit(firm.time("owed", hours=Decimal("7.00")), firm.time("open", status=SourceStatus.WITHDRAWN))
    firm.take(firm.time("fresh"))
    [held] = LedgerEntry.objects.filter(document__external_id="held").values_list("pk", flat=True)
    assert why(client, "owed", 2) is None
    assert why(client, "held") is None
    said = {name: why(client, name) for name in ("owed", "early", "late", "fresh")}
    said["open"] = why(client, "open", 2)
    assert said == {
        "owed": {"code": "superseded", "sentence": "Version 2 came since; what is owed follows that."},
        "early": {
            "code": "before-cut-over",
            "sentence": "Worked before 1 Sep 2026, the cut-over of Harvest-Us: history, not posted.",
        },
        "late": {
            "code": "no-route",
            "sentence": "No route leads time entries of Harvest-Us to a target on 16 Oct 2026; add a route.",
        },
        "open": {"code": "not-approved", "sentence": "It is withdrawn at Harvest-Us: nothing is owed."},
        "fresh": {"code": "not-validated", "sentence": "It was taken in and is not validated yet."},
    }
    validation.exclude([held], by=world.user("ann", GrantRole.ANALYST, firm.entity), reason="the same work twice")
    assert why(client, "held") == {"code": "left-out", "sentence": "A person left it out: the same work twice."}


def test_a_record_that_is_not_there_any_more_reads_back_as_absent(firm: Firm, client: Client) -> None:
    [entry] = firm.admit(firm.time("t1")).ready
    firms.post([entry])
    ReadBack.objects.create(entry_id=entry, at=now(), is_equal=False)
    [row] = read(client, "/api/v1/ledger-entries/?kind=time")["results"]
    assert (row["state"], row["read_back"]) == ("posted", "absent")


def test_an_address_that_the_api_does_not_have_is_told_in_json(client: Client) -> None:
    answer = client.get("/api/v1/nothing/")
    assert (answer.status_code, answer["Content-Type"]) == (404, "application/json")
    assert answer.json() == {"detail": "There is nothing at /api/v1/nothing/; /api/v1/schema/ lists what there is."}
