"""Project Operations over real HTTP: records under ids of ours, approval that takes its time, limits, words for no."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from integrations import payloads, postings
from integrations.connectors.projectoperations import ProjectOperationsConnector, refusals
from integrations.errors import ConnectorError, InDoubt, Malformed, Rejected, Unauthorised, Unavailable
from integrations.http import Http, Response, outcomes, recording
from integrations.protocol import Hint, Page
from integrations.sandbox.projectoperations.vendor import ORGANISATION
from portal.records import BillKind, BillRecord, BillStatus, CanonicalRecord, MasterRecord, Posting, Receipt
from tests.integrations.contract import Bench
from tests.integrations.operations_account import (
    ACME,
    CLOSED,
    DESIGN,
    DRAFT_INVOICE,
    JULIA,
    OLD,
    OPEN_INVOICE,
    PAID_INVOICE,
    ROLLOUT,
    STAMP,
    TED,
    expense_posting,
    guid,
    time_posting,
    time_postings,
)

RETURNED, REJECTED = 192350001, 192350003


class Environment:
    """The environment of the sandbox, and a connector on it with the cursors that runs would store."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.cursors: dict[str, str | None] = {}

    @property
    def connector(self) -> ProjectOperationsConnector:
        connector: ProjectOperationsConnector = self.bench.build()
        return connector

    def having(self, **settings: Any) -> None:
        account = self.bench.account
        self.bench = replace(self.bench, account=replace(account, settings={**account.settings, **settings}))

    def seed(self, **data: Any) -> None:
        self.bench.control("projectoperations/seed", data)

    def act(self, *names: str) -> None:
        self.seed(actions=[{"do": name} for name in names])

    def configure(self, **settings: Any) -> None:
        self.bench.control("projectoperations/configure", settings)

    def calls(self, part: str) -> list[dict[str, Any]]:
        return [call for call in self.bench.control("projectoperations/calls") if part in call["path"]]

    def pages(self, stream: str) -> list[Page]:
        pages = list(self.connector.pull(stream, self.cursors.get(stream)))
        self.cursors[stream] = pages[-1].cursor
        return pages

    def read(self, stream: str) -> dict[str, CanonicalRecord]:
        """What came of a stream, by external id, by way of the inbox."""
        found = {}
        for record in (record for page in self.pages(stream) for record in page.records):
            stored = replace(record, payload=payloads.read(payloads.as_stored(record.payload)))
            [found[record.external_id]] = self.connector.map(stored)
        return found

    def master(self, stream: str, key: str) -> MasterRecord:
        found = self.read(stream)[key]
        assert isinstance(found, MasterRecord)
        return found

    def bill(self, key: str) -> BillRecord:
        self.cursors.pop("invoices", None)
        found = self.read("invoices")[key]
        assert isinstance(found, BillRecord)
        return found

    def push(self, *sent: Posting) -> list[Receipt | ConnectorError]:
        try:
            return list(self.connector.push(sent))
        except ConnectorError as error:
            return [error for _ in sent]

    def held(self) -> dict[str, int]:
        found: dict[str, int] = self.bench.control("projectoperations/inspect")["by_key"]
        return found


@pytest.fixture
def environment(projectoperations: Bench) -> Environment:
    return Environment(projectoperations)


class TestPosting:
    """A key is one record, whoever sends it how often."""

    def test_many_entries_are_one_batch_and_nothing_is_looked_for_before(self, environment: Environment) -> None:
        environment.push(time_posting())  # signed in
        before = len(environment.calls(""))
        sent = [*time_postings(15), expense_posting()]
        outcomes = environment.push(*sent)
        assert [type(outcome) for outcome in outcomes] == [Receipt] * 16
        assert [call["path"].rsplit("/", 1)[1] for call in environment.calls("")[before:]] == ["$batch"]
        assert all(environment.held()[posting.key] == 1 for posting in sent)

    def test_the_number_of_a_record_is_our_key(self, environment: Environment) -> None:
        posting = time_posting()
        [receipt] = environment.push(posting)
        assert isinstance(receipt, Receipt)
        assert receipt.number.replace("-", "") == posting.key

    @pytest.mark.case(65, 73)
    def test_a_key_that_comes_again_with_other_hours_changes_nothing_and_reads_back_different(
        self, environment: Environment
    ) -> None:
        posting = time_posting(hours=Decimal(1))
        environment.push(posting)
        other = replace(posting, hours=Decimal(2))
        [second] = environment.push(other)
        assert isinstance(second, Receipt)
        found = environment.connector.find([posting.key])[posting.key]
        assert postings.differences(other, found) == {"hours": ["2", "1"]}

    def test_what_somebody_approved_meanwhile_is_not_overwritten(self, environment: Environment) -> None:
        posting = time_posting()
        environment.push(posting)
        environment.act("approve", "make_actuals")
        assert isinstance(environment.push(posting)[0], Receipt)
        assert environment.connector.find([posting.key])[posting.key].is_booked

    @pytest.mark.case(62)
    def test_a_record_that_is_refused_stops_nobody_else(self, environment: Environment) -> None:
        good = time_postings(3)
        bad = [time_posting(project=guid(99)), time_posting(resource=guid(98)), time_posting(project=CLOSED)]
        outcomes = environment.push(good[0], bad[0], good[1], bad[1], bad[2], good[2])
        assert [type(outcome) for outcome in outcomes] == [Receipt, Rejected, Receipt, Rejected, Rejected, Receipt]
        codes = [outcome.code for outcome in outcomes if isinstance(outcome, Rejected)]
        assert codes == ["project-inactive", "resource-inactive", "project-inactive"]
        assert environment.held() == {posting.key: 1 for posting in good}

    @pytest.mark.case(57)
    @pytest.mark.parametrize("kind", ["timeout_after", "reset_after", "reset_mid_body", "garbage"])
    def test_a_batch_whose_answer_was_lost_may_go_again_and_is_one_record(
        self, environment: Environment, kind: str
    ) -> None:
        sent = [*time_postings(2), expense_posting()]
        environment.connector.check()
        environment.bench.fault({"method": "POST", "path": "$batch"}, kind=kind, seconds=1.2)
        assert [type(outcome) for outcome in environment.push(*sent)] == [InDoubt] * 3
        assert [type(outcome) for outcome in environment.push(*sent)] == [Receipt] * 3
        assert environment.held() == {posting.key: 1 for posting in sent}

    @pytest.mark.case(66)
    def test_service_protection_says_how_long_and_nothing_is_written(self, environment: Environment) -> None:
        posting = time_posting()
        environment.connector.check()
        environment.bench.fault({"path": "$batch"}, kind="status", status=429, retry_after="23")
        [outcome] = environment.push(posting)
        assert isinstance(outcome, Unavailable)
        assert outcome.retry_after == 23
        assert environment.held() == {}

    @pytest.mark.case(66)
    def test_over_the_limit_of_requests_is_waited_out_and_booked_once(self, environment: Environment) -> None:
        posting = time_posting()
        environment.connector.check()
        environment.configure(rate=[1, 300])
        environment.push(time_posting())
        [outcome] = environment.push(posting)
        assert isinstance(outcome, Unavailable)
        assert outcome.retry_after is not None
        assert 0 < outcome.retry_after <= 300
        environment.configure(rate=[6000, 300])
        assert isinstance(environment.push(posting)[0], Receipt)
        assert environment.held()[posting.key] == 1

    @pytest.mark.case(56, 66)
    def test_many_workers_at_once_stay_within_the_limit_or_wait_as_long_as_they_are_told(
        self, environment: Environment
    ) -> None:
        environment.connector.check()
        environment.configure(concurrent=2, latency=0.02)
        told: list[float | None] = []

        def work(part: list[Posting]) -> None:
            for _ in range(40):
                outcomes = environment.push(*part)
                waits = [one.retry_after for one in outcomes if isinstance(one, Unavailable)]
                assert len(waits) + sum(isinstance(one, Receipt) for one in outcomes) == len(part)
                told.extend(waits)
                if not waits:
                    return
                time.sleep(0.05)
            raise AssertionError("it was refused all the time")

        sent = time_postings(40)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, [sent[start : start + 5] for start in range(0, 40, 5)]))
        assert set(told) == {1.0}, "some were refused, and told to come again in a second"
        assert environment.held() == {posting.key: 1 for posting in sent}

    @pytest.mark.case(67)
    def test_a_token_that_ends_in_the_middle_is_had_anew(self, environment: Environment) -> None:
        environment.push(time_posting())
        environment.configure(forget_tokens=True)
        posting = time_posting()
        assert isinstance(environment.push(posting)[0], Receipt)
        assert environment.held()[posting.key] == 1

    def test_what_is_made_reads_back_with_every_figure(self, environment: Environment) -> None:
        hours, money = time_posting(hours=Decimal("0.33")), expense_posting()
        environment.push(hours, money)
        found = environment.connector.find([hours.key, money.key])
        line = found[hours.key]
        assert line.raw["msdyn_duration"] == 20
        assert (line.work_date, line.resource, line.project, line.task, line.memo) == (
            date(2026, 9, 14), JULIA, ROLLOUT, DESIGN, "Rollout workshop",
        )  # fmt: skip
        assert (line.rate, line.billable) == (None, None), "Project Operations prices by itself"
        tolerance = environment.connector.capabilities.hours_tolerance
        assert postings.differences(hours, line, tolerance) == {}
        assert (found[money.key].amount, found[money.key].currency, found[money.key].memo) == (
            Decimal("84.5"), "USD", "Train",
        )  # fmt: skip

    def test_that_it_keeps_neither_rate_nor_whether_hours_are_billed_is_said(self, environment: Environment) -> None:
        [said] = environment.connector.capabilities.limits
        assert "neither a rate nor whether they are billed" in said
        sent = time_posting(billable=False)
        assert environment.connector.body(sent) == environment.connector.body(replace(sent, billable=True))

    @pytest.mark.parametrize(
        ("posting", "says"),
        [
            (time_posting(memo="x" * 101), "takes 100"),
            (time_posting(hours=None), "no hours"),
            (time_posting(hours=Decimal("0.01")), "not a whole number of minutes"),
            (time_posting(hours=Decimal(-1)), "no negative hours"),
            (expense_posting(amount=None), "no amount"),
            (expense_posting(amount=Decimal(-1)), "no negative expenses"),
            (expense_posting(currency="CHF"), "no GUID for CHF"),
            (time_posting(key="not-a-key"), "none of ours"),
        ],
    )
    def test_what_cannot_be_said_is_refused_before_anything_is_sent(
        self, environment: Environment, posting: Posting, says: str
    ) -> None:
        with recording() as exchanges:
            [outcome] = environment.push(posting)
        assert isinstance(outcome, Rejected)
        assert says in outcome.detail
        assert exchanges == []


class TestBooking:
    """Accepted now, booked when approval made an actual of it, and shown honestly in between."""

    @pytest.mark.case(63)
    def test_an_entry_is_booked_when_it_is_approved_and_has_an_actual_and_not_before(
        self, environment: Environment
    ) -> None:
        posting = time_posting()
        environment.push(posting)

        def stands() -> tuple[bool, str]:
            line = environment.connector.find([posting.key])[posting.key]
            return line.is_booked, line.waits

        assert stands() == (False, "")
        environment.act("approve")
        assert stands() == (False, ""), "approved, and no actual yet"
        environment.act("make_actuals")
        assert stands() == (True, "")

    def test_where_it_counts_from_finance_on_it_is_booked_when_its_actual_is_journalized(
        self, environment: Environment
    ) -> None:
        environment.having(booked_when="journalized")
        posting = time_posting()
        environment.push(posting)
        environment.act("approve", "make_actuals")
        day = posting.work_date
        assert environment.connector.find([posting.key])[posting.key].is_booked is False
        assert list(environment.connector.statement(day, day)) == []
        environment.act("journalize")
        assert environment.connector.find([posting.key])[posting.key].is_booked is True
        assert [line.key for line in environment.connector.statement(day, day)] == [posting.key]

    @pytest.mark.parametrize(
        ("posting", "table", "value", "says"),
        [
            (time_posting(), "msdyn_timeentries", RETURNED, "Its approver returned it."),
            (expense_posting(), "msdyn_expenses", REJECTED, "Its approver rejected it."),
        ],
    )
    def test_an_approver_who_says_no_is_told_in_words(
        self, environment: Environment, posting: Posting, table: str, value: int, says: str
    ) -> None:
        [receipt] = environment.push(posting)
        assert isinstance(receipt, Receipt)
        environment.seed(actions=[{"do": "status", "table": table, "id": receipt.number, "value": value}])
        assert environment.connector.find([posting.key])[posting.key].waits == says

    def test_an_entry_may_be_written_as_a_draft_that_a_flow_submits(self, environment: Environment) -> None:
        environment.having(written_as="draft")
        posting = time_posting()
        environment.push(posting)
        environment.act("approve", "make_actuals")
        assert environment.connector.find([posting.key])[posting.key].is_booked is False
        environment.act("submit", "approve", "make_actuals")
        assert environment.connector.find([posting.key])[posting.key].is_booked is True

    def test_the_statement_shows_the_cost_of_each_once_and_what_others_entered(self, environment: Environment) -> None:
        hours, money = time_posting(), expense_posting()
        environment.push(hours, money)
        environment.act("approve", "make_actuals")
        foreign = {
            "msdyn_actualid": guid(500), "msdyn_transactiontypecode": 192350000, "msdyn_isjournalized": False,
            "msdyn_transactionclassification": 192350000, "msdyn_documentdate": "2026-09-20T00:00:00Z",
            "msdyn_quantity": 3.0, "msdyn_amount": 0, "_msdyn_bookableresource_value": JULIA,
            "_msdyn_project_value": ROLLOUT,
        }  # fmt: skip
        milestone = {**foreign, "msdyn_actualid": guid(501), "msdyn_transactionclassification": 192350003}
        environment.seed(msdyn_actuals=[foreign, milestone])
        lines = {line.number: line for line in environment.connector.statement(date(2026, 9, 1), date(2026, 9, 30))}
        assert sorted(line.key for line in lines.values()) == sorted(["", hours.key, money.key])
        assert (lines[guid(500)].hours, lines[guid(500)].resource) == (3, JULIA)


class TestMasterData:
    """What the tables state, and nothing that they do not."""

    def test_a_customer_has_its_currency_and_its_parent_and_is_active_or_not(self, environment: Environment) -> None:
        found = environment.read("customers")
        acme, old = found[ACME], found[OLD]
        assert isinstance(acme, MasterRecord)
        assert isinstance(old, MasterRecord)
        assert (acme.code, acme.is_active, acme.attributes) == ("AC-1", True, {"currency": "USD"})
        assert (old.code, old.is_active, old.parent.key) == ("Old Inc", False, ACME)

    @pytest.mark.case(22)
    def test_a_merged_account_names_the_one_that_survives_it(self, environment: Environment) -> None:
        assert "merged_into" not in environment.master("customers", OLD).attributes
        row = {"accountid": OLD, "name": "Old Inc", "accountnumber": "", "_parentaccountid_value": ACME, "statecode": 1}
        environment.seed(
            accounts=[{**row, "merged": True, "_masterid_value": ACME.upper(), "modifiedon": STAMP.format(28)}]
        )
        merged = environment.master("customers", OLD)
        assert (merged.is_active, merged.deleted, merged.attributes["merged_into"]) == (False, False, ACME)

    def test_a_project_that_is_inactive_is_closed(self, environment: Environment) -> None:
        assert environment.master("projects", ROLLOUT).attributes == {
            "customer": ACME, "status": "open", "starts_on": date(2026, 1, 1),
        }  # fmt: skip
        environment.cursors.clear()
        assert environment.master("projects", CLOSED).attributes["status"] == "closed"

    def test_a_task_names_its_project_and_a_person_an_address_and_nothing_private_leaves(
        self, environment: Environment
    ) -> None:
        assert environment.master("tasks", DESIGN).attributes["project"] == ROLLOUT
        records = [record for page in environment.pages("employees") for record in page.records]
        assert {record.external_id for record in records} == {JULIA, TED}, "a room is nobody"
        assert "PRIVATE" not in json.dumps([record.payload for record in records])
        environment.cursors.clear()
        assert environment.master("employees", JULIA).attributes["email"] == "julia@example.com"

    def test_a_change_is_read_from_the_cursor_on_with_an_overlap(self, environment: Environment) -> None:
        environment.pages("customers")
        change = {"do": "change", "table": "accounts", "id": ACME, "fields": {"name": "Acme SE"}}
        environment.seed(actions=[change])
        found = environment.read("customers")
        acme = found[ACME]
        assert isinstance(acme, MasterRecord)
        assert acme.name == "Acme SE"
        assert environment.cursors["customers"] is not None
        assert environment.cursors["customers"] > "2026-08-02"

    def test_small_pages_are_followed_to_the_end(self, environment: Environment) -> None:
        environment.having(page_size=1)
        pages = environment.pages("customers")
        assert [[r.external_id for r in page.records] for page in pages] == [[ACME], [OLD]]
        assert [page.total for page in pages] == [2, 2]

    def test_what_is_no_id_names_nothing_and_a_cursor_of_others_is_not_believed(self, environment: Environment) -> None:
        assert list(environment.connector.fetch(Hint(stream="customers", external_id="nobody"))) == []
        assert list(environment.connector.fetch(Hint(stream="customers", external_id=guid(404)))) == []
        with pytest.raises(Malformed):
            list(environment.connector.pull("customers", "yesterday"))


class TestInvoices:
    """Project invoices with their lines."""

    def test_a_confirmed_one_is_open_with_its_lines(self, environment: Environment) -> None:
        found = environment.bill(OPEN_INVOICE)
        assert (found.kind, found.status, found.number, found.currency) == (
            BillKind.INVOICE, BillStatus.OPEN, "INV-01", "USD",
        )  # fmt: skip
        assert (found.net, found.tax, found.total, found.balance) == (1000, 100, 1100, 1100)
        [line] = found.lines
        assert (line.project.key, line.quantity, line.unit_price, line.net, line.tax) == (ROLLOUT, 10, 100, 1000, 100)

    def test_a_paid_one_a_part_paid_one_a_draft_and_a_void_one_are_told_apart(self, environment: Environment) -> None:
        assert (environment.bill(PAID_INVOICE).status, environment.bill(PAID_INVOICE).balance) == (BillStatus.PAID, 0)
        assert environment.bill(DRAFT_INVOICE).status is BillStatus.DRAFT
        for fields, status in (
            ({"statecode": 2, "statuscode": 100002}, BillStatus.PART_PAID),
            ({"statecode": 3, "statuscode": 100003}, BillStatus.VOIDED),
        ):
            change = {"do": "change", "table": "invoices", "id": OPEN_INVOICE, "fields": fields}
            environment.seed(actions=[change])
            assert (environment.bill(OPEN_INVOICE).status, environment.bill(OPEN_INVOICE).balance) == (status, None)

    def test_a_draft_that_was_deleted_is_told_once_and_one_that_was_confirmed_is_not(
        self, environment: Environment
    ) -> None:
        draft = environment.bill(DRAFT_INVOICE)
        environment.having(page_size=1)
        environment.seed(actions=[{"do": "delete", "table": "invoices", "id": DRAFT_INVOICE}])
        gone = environment.read("invoices")[DRAFT_INVOICE]
        assert isinstance(gone, BillRecord)
        assert (gone.kind, gone.status) == (BillKind.INVOICE, BillStatus.DELETED)
        assert gone.revision > draft.revision
        assert DRAFT_INVOICE not in environment.read("invoices")

    def test_a_state_that_nobody_knows_is_not_guessed(self, environment: Environment) -> None:
        fields = {"statecode": 9}
        environment.seed(actions=[{"do": "change", "table": "invoices", "id": OPEN_INVOICE, "fields": fields}])
        with pytest.raises(Malformed, match="statecode is 9"):
            environment.bill(OPEN_INVOICE)


# Error bodies of the card and of Dataverse's own list, and the sentence each stands for.
ERRORS: list[tuple[int, str, str, type[ConnectorError], str]] = [
    (400, "0x80048d19", "An undeclared property 'x' which only has property annotations.", Rejected, "schema-changed"),
    (404, "0x80060888", "Resource not found for the segment 'msdyn_timeentrys'.", Rejected, "schema-changed"),
    (404, "0x80040217", "Entity 'msdyn_project' With Id = 1 Does Not Exist", Rejected, "project-inactive"),
    (404, "0x80040217", "Entity 'msdyn_projecttask' With Id = 1 Does Not Exist", Rejected, "task-invalid"),
    (404, "0x80040217", "Entity 'bookableresource' With Id = 1 Does Not Exist", Rejected, "resource-inactive"),
    (404, "0x80040217", "Entity 'bookableresourcecategory' With Id = 1 Does Not Exist", Rejected, "dimension-missing"),
    (404, "0x80040217", "Entity 'transactioncurrency' With Id = 1 Does Not Exist", Rejected, "amount-invalid"),
    (400, "0x80044331", "The length of the 'msdyn_description' attribute exceeded the maximum allowed length of '100'.",
     Rejected, "text-invalid"),
    (400, "0x80044330", "The value of 'msdyn_duration' is outside the valid range.", Rejected, "amount-invalid"),
    (400, "0x80040265", "The entry is approved and cannot be changed.", Rejected, "record-locked"),
    (400, "0x80040265", "The accounting period is closed.", Rejected, "period-closed"),
    (400, "0x80040265", "Something of our own says no.", Rejected, "rejected"),
    (409, "0x80040237", "A record with matching key values already exists.", Rejected, "duplicate"),
    (412, "0x80060892", "A record with matching key values already exists.", Rejected, "duplicate"),
    (412, "0x80060882", "The version of the existing record doesn't match the RowVersion.", Rejected, "record-changed"),
    (400, "0x80044151", "SQL Timeout occurred.", Unavailable, ""),
    (401, "", "The access token is invalid or has expired.", Unauthorised, ""),
    (403, "0x80040220", "Principal user is missing prvCreatemsdyn_timeentry privilege", Unauthorised, ""),
    (403, "0x80040225", "The specified user is disabled.", Unauthorised, ""),
    (429, "0x80072322", "Number of requests exceeded the limit of 6000 over time window of 300 seconds.", Unavailable, ""),
    (429, "0x80072321", "Combined execution time of incoming requests exceeded limit of 1,200,000 milliseconds.", Unavailable,
     ""),
    (429, "0x80072326", "Number of concurrent requests exceeded the limit of 52.", Unavailable, ""),
    (500, "0x80040216", "An unexpected error occurred.", InDoubt, ""),
    (502, "", "Bad gateway", InDoubt, ""),
    (503, "0x8005F103", "The server is unavailable.", Unavailable, ""),
    (504, "", "Gateway time-out", InDoubt, ""),
]  # fmt: skip


@pytest.mark.case(68, 73)
@pytest.mark.parametrize(
    ("status", "code", "message", "kind", "ours"),
    ERRORS,
    ids=[f"{s}-{c}-{o or k.__name__}-{m[:20]}" for s, c, m, k, o in ERRORS],
)
def test_every_error_body_is_named_by_what_we_do_next(
    status: int, code: str, message: str, kind: type[ConnectorError], ours: str
) -> None:
    body = {"error": {"code": code, "message": message}}
    answer = Response(status=status, headers={"content-type": "application/json"}, content=b"{}", body=body)
    judged = outcomes.judge(answer, writes=True, unreadable="", excerpt=message)
    assert judged is not None
    judged.body = body
    named = refusals.narrow(judged)
    assert type(named) is kind
    if isinstance(named, Rejected):
        assert (named.code, named.vendor_code) == (ours, code)


def test_an_environments_own_words_go_first(environment: Environment) -> None:
    environment.having(refusals=[{"match": "is closed", "means": "record-locked"}])
    [outcome] = environment.push(time_posting(project=CLOSED))
    assert isinstance(outcome, Rejected)
    assert outcome.code == "record-locked"


class TestConnection:
    """The connection test, and who may ask."""

    def test_the_sentence_says_how_much_waits(self, environment: Environment) -> None:
        environment.push(time_posting(), time_posting())
        assert (
            environment.connector.check() == "Project Operations answers; 2 time entries wait there for their approval."
        )

    def test_another_organisation_is_told(self, environment: Environment) -> None:
        account = environment.bench.account
        environment.bench = replace(environment.bench, account=replace(account, realm=guid(1)))
        with pytest.raises(Unauthorised, match=ORGANISATION):
            environment.connector.check()

    def test_a_missing_privilege_is_told_in_the_vendors_words(self, environment: Environment) -> None:
        environment.bench.fault({"path": "/msdyn_timeentries"}, kind="status", status=403)
        with pytest.raises(Unauthorised, match="missing prvReadmsdyn_timeentry privilege"):
            environment.connector.check()

    def test_a_message_is_not_believed(self, environment: Environment) -> None:
        with pytest.raises(Unauthorised, match="read by schedule"):
            environment.connector.receive({}, b"{}")

    def test_a_token_is_asked_for_at_entra_and_nowhere_else(self, environment: Environment) -> None:
        account = replace(environment.bench.account, code="real")
        account = replace(account, settings={**account.settings, "login_url": "https://login.example.com"})
        with pytest.raises(Unauthorised, match=r"login\.example\.com"):
            ProjectOperationsConnector(account, Http(account, allow_loopback=True)).check()
