"""Salesforce over real HTTP: accounts with hierarchy and merges, won opportunities, tokens without an end, limits of a day."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime
from typing import Any, cast

import pytest

from integrations import payloads
from integrations.connectors.salesforce import SalesforceConnector, events, refusals
from integrations.errors import ConnectorError, InDoubt, Malformed, Rejected, Unauthorised, Unavailable
from integrations.http import Response, outcomes
from integrations.protocol import Account, Hint, Page, Source
from integrations.sandbox.salesforce import CLIENT_ID, CLIENT_SECRET
from integrations.sandbox.server import control
from portal.records import MasterKind, MasterRecord, Reference
from tests.integrations import netsuite_account
from tests.integrations.contract import Bench, SourceContract
from tests.integrations.walk_contract import WalkPromises

STAMP = "2026-08-{:02}T08:00:00.120+0000"  # by days, far beyond every overlap


def account_row(number: int, **more: Any) -> dict[str, Any]:
    return {
        "Id": f"001000000000{number:03}AAA", "Name": f"Acme {number}", "ParentId": None, "MasterRecordId": None,
        "AccountNumber": f"C-{number}", "CurrencyIsoCode": "EUR", "SystemModstamp": STAMP.format(number), **more,
    }  # fmt: skip


def opportunity(number: int, *, won: bool = True, **more: Any) -> dict[str, Any]:
    return {
        "Id": f"006000000000{number:03}AAA", "Name": f"Rollout {number}", "AccountId": account_row(1)["Id"],
        "OwnerId": "005000000000001AAA", "IsWon": won, "SystemModstamp": STAMP.format(number), **more,
    }  # fmt: skip


SEED: dict[str, Any] = {
    "Account": [account_row(1), account_row(2, ParentId=account_row(1)["Id"]), account_row(3)],
    "Opportunity": [opportunity(1), opportunity(2, won=False)],
    "User": [
        {"Id": "005000000000001AAA", "Username": "ada@example.com", "Name": "Ada Ito", "Email": "ada@example.com",
         "EmployeeNumber": "E-1", "IsActive": True, "SystemModstamp": STAMP.format(1)},
        {"Id": "005000000000002AAA", "Username": "old@example.com", "Name": "Old User", "Email": None,
         "EmployeeNumber": None, "IsActive": False, "SystemModstamp": STAMP.format(2)},
    ],
}  # fmt: skip


class Org:
    """The org of the sandbox, and a connector on it with the cursors that runs would store."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.account = Account(
            code="sf", base_url=f"{base}/salesforce", settings={"client_id": CLIENT_ID},
            secrets={"client_secret": CLIENT_SECRET},
        )  # fmt: skip
        self.cursors: dict[str, str | None] = {}

    @property
    def bench(self) -> Bench:
        def change(stream: str, key: str, at: datetime) -> None:
            name = {"customers": "Account", "projects": "Opportunity", "employees": "User"}[stream]
            [row] = [one for one in SEED[name] if one["Id"] == key]
            stamp = at.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "+0000"
            self.seed(**{name: [{**row, "Name": f"Changed at {at}", "SystemModstamp": stamp}]})

        return Bench(
            connector=SalesforceConnector, account=self.account, sandbox=self.base, vendor="salesforce",
            read={"method": "GET", "path": "/query"}, change=change,
        )  # fmt: skip

    @property
    def connector(self) -> SalesforceConnector:
        found: SalesforceConnector = self.bench.build()
        return found

    def having(self, **settings: Any) -> None:
        self.account = replace(self.account, settings={**self.account.settings, **settings})

    def seed(self, **data: Any) -> None:
        control(self.base, "POST", "salesforce/seed", data)

    def act(self, do: str, **how: Any) -> None:
        self.seed(actions=[{"do": do, **how}])

    def configure(self, **settings: Any) -> None:
        control(self.base, "POST", "salesforce/configure", settings)

    def pages(self, stream: str) -> list[Page]:
        pages = list(self.connector.pull(stream, self.cursors.get(stream)))
        self.cursors[stream] = pages[-1].cursor
        return pages

    def read(self, stream: str) -> dict[str, MasterRecord]:
        found = {}
        for record in (record for page in self.pages(stream) for record in page.records):
            stored = replace(record, payload=payloads.read(payloads.as_stored(record.payload)))
            for made in self.connector.map(stored):
                assert isinstance(made, MasterRecord)
                found[made.external_id] = made
        return found


@pytest.fixture
def org(sandbox: str) -> Org:
    control(sandbox, "POST", "salesforce/reset", {})
    control(sandbox, "DELETE", "faults")
    control(sandbox, "POST", "salesforce/seed", SEED)
    return Org(sandbox)


class TestContract(SourceContract):
    streams = ("customers", "projects", "employees")
    of_hints = frozenset({events.STREAM})

    @pytest.fixture(autouse=True)
    def _bench(self, org: Org) -> None:
        org.configure(page=1)
        self.bench = org.bench


class RunsAhead:
    """A reader that is wrong: the cursor of each page stands behind the last one."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def pull(self, stream: str, since: str | None) -> Iterator[Page]:
        pages = list(self._source.pull(stream, since))
        yield from (replace(page, cursor=pages[-1].cursor) for page in pages)


class _WalksAhead(WalkPromises):
    streams = ("customers",)

    def __init__(self, bench: Bench) -> None:
        self.bench = bench

    def narrow(self, read_timeout: str = "20") -> Source:
        return cast("Source", RunsAhead(super().narrow(read_timeout)))


def test_the_contract_catches_a_reader_whose_cursor_runs_ahead_of_its_page(org: Org) -> None:
    org.configure(page=1)
    with pytest.raises(AssertionError, match="customers"):
        _WalksAhead(org.bench).test_a_walk_whose_reader_dies_after_any_page_loses_nothing_and_files_nothing_twice()


def test_an_account_stands_under_its_parent(org: Org) -> None:
    org.having(account_number="AccountNumber", multi_currency=True)
    found = org.read("customers")
    child = found[account_row(2)["Id"]]
    assert (child.kind, child.code, child.parent) == (MasterKind.CUSTOMER, "C-2", Reference(key=account_row(1)["Id"]))
    assert dict(child.attributes) == {"currency": "EUR"}


@pytest.mark.case(22)
def test_a_merged_account_names_the_one_that_survives_it(org: Org) -> None:
    org.read("customers")
    loser, survivor = account_row(3)["Id"], account_row(1)["Id"]
    org.act("merge", object="Account", loser=loser, survivor=survivor)
    merged = org.read("customers")[loser]
    assert (merged.is_active, merged.deleted, merged.attributes["merged_into"]) == (False, False, survivor)


def test_a_deleted_account_is_gone(org: Org) -> None:
    org.read("customers")
    org.act("delete", object="Account", ids=[account_row(3)["Id"]])
    gone = org.read("customers")[account_row(3)["Id"]]
    assert (gone.deleted, "merged_into" in gone.attributes) == (True, False)


def test_an_opportunity_becomes_a_project_once_it_is_won(org: Org) -> None:
    first = org.read("projects")
    assert {key for key, made in first.items() if not made.deleted} == {opportunity(1)["Id"]}
    org.act("edit", object="Opportunity", ids=[opportunity(2)["Id"]], changes={"IsWon": True})
    made = org.read("projects")[opportunity(2)["Id"]]
    assert (made.kind, made.name) == (MasterKind.PROJECT, "Rollout 2")
    assert dict(made.attributes) == {"customer": account_row(1)["Id"], "manager": "005000000000001AAA"}


def test_a_deal_that_is_opened_again_is_no_project_any_more(org: Org) -> None:
    org.read("projects")
    org.act("edit", object="Opportunity", ids=[opportunity(1)["Id"]], changes={"IsWon": False})
    gone = org.read("projects")[opportunity(1)["Id"]]
    assert (gone.deleted, gone.is_active) == (True, False)


def test_a_firm_may_keep_its_projects_in_an_object_of_its_own(org: Org) -> None:
    org.having(
        project_object="Project__c",
        project_fields={
            "code": "Code__c", "name": "Name", "customer": "Account__c", "status": "Status__c", "starts_on": "Start__c",
        },
        project_statuses={"Live": "open"},
    )  # fmt: skip
    row = {"Id": "a01000000000001AAA", "Code__c": "P-7", "Name": "Seven", "Account__c": account_row(1)["Id"]}
    org.seed(Project__c=[{**row, "Status__c": "Live", "Start__c": "2026-09-01"}])
    [made] = org.read("projects").values()
    assert (made.code, made.attributes["status"], made.attributes["starts_on"]) == ("P-7", "open", date(2026, 9, 1))


@pytest.mark.parametrize("name", ["Account; DROP", "x' OR 'a'='a", ""])
def test_a_setting_that_is_no_name_never_becomes_a_query(org: Org, name: str) -> None:
    org.having(project_object=name or " ")
    with pytest.raises(Malformed, match="no name of an object or field"):
        org.pages("projects")


def test_an_id_that_is_none_is_not_asked_for(org: Org) -> None:
    assert list(org.connector.fetch(Hint(stream="customers", external_id="' OR Id != '"))) == []


def test_people_are_known_by_their_number_and_by_user_name_without_one(org: Org) -> None:
    found = org.read("employees")
    assert {one.code: one.is_active for one in found.values()} == {"E-1": True, "old@example.com": False}


def test_pages_are_followed_and_the_cursor_moves_with_each(org: Org) -> None:
    org.configure(page=2)
    pages = org.pages("customers")
    assert [len(page.records) for page in pages] == [2, 1]
    assert [page.total for page in pages] == [3, 3]
    assert pages[0].cursor != pages[1].cursor


def test_a_locator_that_ended_is_begun_anew_from_the_last_whole_page(org: Org) -> None:
    org.configure(page=2, locators_end=True)
    seen: list[Page] = []
    with pytest.raises(Unavailable, match="locator"):
        seen.extend(org.connector.pull("customers", None))
    org.configure(locators_end=False, page=2000)
    again = list(org.connector.pull("customers", seen[-1].cursor))
    assert {r.external_id for page in (*seen, *again) for r in page.records} == {row["Id"] for row in SEED["Account"]}


@pytest.mark.case(67)
def test_a_session_that_ended_is_begun_anew_once(org: Org) -> None:
    org.pages("customers")
    org.configure(forget_tokens=True)
    assert org.pages("customers")[-1].last


@pytest.mark.case(66)
def test_a_limit_of_the_day_is_waited_for_and_is_no_question_of_credentials(org: Org) -> None:
    org.pages("customers")
    org.configure(daily=0)
    with pytest.raises(Unavailable, match="TotalRequests") as told:
        org.pages("customers")
    assert told.value.retry_after == 900


@pytest.mark.case(66)
def test_too_many_calls_at_once_are_waited_out_shortly_and_not_for_the_days_limit(org: Org) -> None:
    org.connector.check()
    org.configure(concurrent=0)
    with pytest.raises(Unavailable, match="ConcurrentRequests") as told:
        org.pages("customers")
    assert (told.value.status, told.value.retry_after) == (429, None)


def test_the_sentence_says_how_many_calls_are_left(org: Org) -> None:
    org.configure(daily=100)
    assert org.connector.check() == "Salesforce answers, with 99 of 15000 calls left today."


def test_a_jwt_signed_by_our_key_signs_in(org: Org) -> None:
    private, public = netsuite_account.keys()["PS256"]
    org.seed(jwt_keys={CLIENT_ID: public})
    org.account = replace(org.account, code="sf-jwt", secrets={"private_key": private})
    org.having(auth="jwt", username="integration@example.com")
    assert org.connector.check().startswith("Salesforce answers")
    org.account = replace(org.account, code="sf-bad", secrets={"private_key": netsuite_account.keys()["ES256"][0]})
    with pytest.raises(Unauthorised, match="RS256"):
        org.connector.check()


@pytest.mark.parametrize("skew", [-600.0, 600.0])
def test_a_jwt_ends_by_the_orgs_clock_where_it_is_ten_minutes_off(org: Org, skew: float) -> None:
    private, public = netsuite_account.keys()["PS256"]
    org.seed(jwt_keys={CLIENT_ID: public})
    org.configure(clock_skew=skew)
    org.account = replace(org.account, code=f"sf-skew{skew}", secrets={"private_key": private})
    org.having(auth="jwt", username="integration@example.com")
    assert org.connector.check().startswith("Salesforce answers")


def test_a_token_of_another_client_is_not_used_for_this_one(org: Org) -> None:
    org.connector.check()
    org.having(client_id="another")
    with pytest.raises(Unauthorised, match="gave us no token"):
        org.connector.check()


def test_while_few_calls_are_left_a_reading_still_gets_past_what_it_reads_again(org: Org) -> None:
    rows = [account_row(n, SystemModstamp=f"2026-09-02T08:00:{n:02}.000+0000") for n in range(10, 16)]
    org.seed(Account=rows)
    org.read("customers")
    since = org.cursors["customers"]
    org.seed(Account=[account_row(16, SystemModstamp="2026-09-02T08:01:00.000+0000")])
    org.configure(page=2, daily=100)
    seen: set[str] = set()
    for page in _until_it_waits(org, since):
        seen |= {one.external_id for one in page.records}
    assert account_row(16)["Id"] in seen, "the pages before it hold only what was read already"


def _until_it_waits(org: Org, since: str | None) -> Iterator[Page]:
    try:
        yield from org.connector.pull("customers", since)
    except Unavailable:
        return


def test_wrong_or_missing_credentials_are_unauthorised(org: Org) -> None:
    org.account = replace(org.account, code="sf-wrong", secrets={"client_secret": "guessed-canary"})
    with pytest.raises(Unauthorised, match="gave us no token") as told:
        org.connector.check()
    assert "guessed-canary" not in str(told.value)
    org.account = replace(org.account, code="sf-none", secrets={})
    with pytest.raises(Unauthorised, match="no client_secret"):
        org.connector.check()


def test_a_field_that_the_user_may_not_see_is_a_question_of_permission(org: Org) -> None:
    org.having(account_number="Secret__c")
    with pytest.raises(Unauthorised, match="No such column"):
        org.pages("customers")


ERRORS: list[tuple[int, str, type[ConnectorError], str]] = [
    (400, "MALFORMED_QUERY", Rejected, "schema-changed"),
    (400, "INVALID_FIELD", Unauthorised, ""),
    (400, "REQUIRED_FIELD_MISSING", Rejected, "schema-changed"),
    (400, "FIELD_CUSTOM_VALIDATION_EXCEPTION", Rejected, "rejected"),
    (400, "DUPLICATE_VALUE", Rejected, "duplicate"),
    (400, "DUPLICATE_EXTERNAL_ID", Rejected, "duplicate"),
    (400, "DUPLICATES_DETECTED", Rejected, "duplicate"),
    (400, "STRING_TOO_LONG", Rejected, "text-invalid"),
    (300, "", InDoubt, ""),  # of a whole call, which is looked up; of a record it is a refusal that names both
    (405, "METHOD_NOT_ALLOWED", Rejected, "rejected"),
    (415, "UNSUPPORTED_MEDIA_TYPE", Rejected, "rejected"),
    (
        400,
        "INSUFFICIENT_ACCESS_OR_READONLY",
        Unauthorised,
        "",
    ),  # of a whole call; of one record see the statuses' tests
    (400, "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", Rejected, "record-locked"),
    (400, "UNABLE_TO_LOCK_ROW", Unavailable, ""),
    (400, "QUERY_TIMEOUT", Unavailable, ""),
    (400, "INVALID_QUERY_LOCATOR", Unavailable, ""),
    (400, "ENTITY_IS_LOCKED", Rejected, "record-locked"),
    (400, "RECORD_IN_USE_BY_WORKFLOW", Rejected, "record-locked"),
    (401, "INVALID_SESSION_ID", Unauthorised, ""),
    (403, "REQUEST_LIMIT_EXCEEDED", Unavailable, ""),
    (403, "API_CURRENTLY_DISABLED", Unauthorised, ""),
    (403, "API_DISABLED_FOR_ORG", Unauthorised, ""),
    (404, "NOT_FOUND", Rejected, "rejected"),
    (400, "INSERT_UPDATE_DELETE_NOT_ALLOWED_DURING_MAINTENANCE", Unavailable, ""),
    (500, "UNKNOWN_EXCEPTION", InDoubt, ""),
    (503, "SERVER_UNAVAILABLE", Unavailable, ""),
    (503, "ORG_IN_MAINTENANCE", Unavailable, ""),
]


@pytest.mark.case(68)
@pytest.mark.parametrize(("status", "code", "kind", "ours"), ERRORS, ids=[f"{s}-{c}" for s, c, _, _ in ERRORS])
def test_every_error_body_of_the_card_is_named_by_what_we_do_next(
    status: int, code: str, kind: type[ConnectorError], ours: str
) -> None:
    body = [{"message": "The words of the org.", "errorCode": code, "fields": []}]
    answer = Response(status=status, headers={"content-type": "application/json"}, content=b"[]", body=body)
    judged = outcomes.judge(answer, writes=True, unreadable="", excerpt=json.dumps(body))
    assert judged is not None
    judged.body = body
    named = refusals.narrow(judged, writes=True)
    assert type(named) is kind
    if isinstance(named, Rejected):
        assert (named.code, named.vendor_code) == (ours, code)


def test_a_cursor_or_stream_that_is_not_ours_is_named(org: Org) -> None:
    org.cursors["customers"] = "yesterday"
    with pytest.raises(Malformed, match="cursor 'yesterday'"):
        org.pages("customers")
    with pytest.raises(Malformed, match="no stream “invoices”"):
        org.pages("invoices")
