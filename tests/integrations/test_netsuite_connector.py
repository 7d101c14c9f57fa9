"""What NetSuite is sent and told, beyond the contract: fields, hours, batches, refusals, master data and signatures."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from dataclasses import replace
from datetime import date
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from integrations.connectors.netsuite import NetSuiteConnector, bodies, refusals
from integrations.errors import (
    ConnectorError,
    InDoubt,
    Malformed,
    Rejected,
    Unauthorised,
    Unavailable,
)
from integrations.http import Http, recording
from integrations.protocol import Hint, SourceRecord
from integrations.sandbox.netsuite.auth import signature
from portal.records import DocumentKind, MasterKind, MasterRecord, Posting, Receipt, Reference
from tests.integrations import netsuite_account
from tests.integrations.contract import Bench
from tests.integrations.netsuite_account import expense_posting, time_posting, time_postings


def push(bench: Bench, *postings: Posting, **settings: Any) -> list[Receipt | ConnectorError]:
    return list(bench.build(**settings).push(postings))


def rejected(bench: Bench, posting: Posting, **settings: Any) -> Rejected:
    (outcome,) = push(bench, posting, **settings)
    assert isinstance(outcome, Rejected), outcome
    return outcome


def inspect(bench: Bench) -> dict[str, Any]:
    found: dict[str, Any] = bench.control("netsuite/inspect")
    return found


class TestBodies:
    def test_time_is_written_in_netsuites_fields(self, netsuite: Bench) -> None:
        assert netsuite.build().body(time_posting(memo="Späte Arbeit")) == {
            "employee": {"id": "22"},
            "customer": {"id": "1514"},
            "caseTaskEvent": {"id": "77"},
            "item": {"id": "90"},
            "department": {"id": "3"},
            "subsidiary": {"id": "1"},
            "tranDate": "2026-09-14",
            "hours": "7:30",
            "isBillable": True,
            "rate": "145.00",
            "overrideRate": True,
            "memo": "Späte Arbeit",
        }

    def test_cost_only_time_has_no_rate_and_a_stated_zero_is_sent(self, netsuite: Bench) -> None:
        body = netsuite.build().body(time_posting(rate=None, billable=False, task="", cost_centre="", item=""))
        assert not {"rate", "overrideRate", "caseTaskEvent", "department"} & set(body)
        assert body["item"] == {"id": "90"}, "the connection's service item"
        assert netsuite.build().body(time_posting(rate=Decimal(0)))["rate"] == "0"

    def test_an_accounts_own_fields_lie_under_ours(self, netsuite: Bench) -> None:
        body = netsuite.build(time_defaults={"location": {"id": "8"}, "memo": "x"}).body(time_posting())
        assert body["location"] == {"id": "8"}
        assert body["memo"] == "Rollout workshop"

    def test_an_expense_is_a_report_with_one_line(self, netsuite: Bench) -> None:
        body = netsuite.build().body(expense_posting(tax_code="7"))
        (line,) = body["expense"]["items"]
        assert body["entity"] == {"id": "22"}
        assert body["expensereportcurrency"] == line["currency"] == {"id": "1"}
        assert (line["amount"], line["category"], line["customer"]) == ("84.50", {"id": "5"}, {"id": "1514"})
        assert (line["receipt"], line["taxCode"]) == (True, {"id": "7"})

    @pytest.mark.parametrize(
        ("hours", "written"),
        [
            ("7.5", "7:30"), ("0.25", "0:15"), ("0.33", "0:20"), ("0.3333", "0:20"), ("0.67", "0:40"), ("0.02", "0:01"),
            ("10", "10:00"), ("24", "24:00"), ("-7.5", "-7:30"), ("-0.25", "-0:15"), ("0", "0:00"), ("1.00", "1:00"),
            ("1E+1", "10:00"), ("0.0167", "0:01"),
        ],
    )  # fmt: skip
    def test_hours_that_are_whole_minutes_are_written_h_mm(self, hours: str, written: str) -> None:
        assert bodies.whole_minutes(Decimal(hours))
        assert bodies.duration(Decimal(hours)) == written
        assert abs(bodies.hours_of(written) - Decimal(hours)) <= bodies.HOURS_TOLERANCE

    @pytest.mark.parametrize("hours", ["0.01", "0.001", "7.501", "0.34", "0.1234", "-0.01"])
    def test_hours_that_are_no_whole_minutes_are_refused_before_anything_is_sent(
        self, netsuite: Bench, hours: str
    ) -> None:
        before = inspect(netsuite)["calls"]
        refused = rejected(netsuite, time_posting(hours=Decimal(hours)))
        assert refused.code == "amount-invalid"
        assert hours in refused.detail
        assert inspect(netsuite)["calls"] == before

    def test_every_minute_of_a_day_survives_two_decimals_and_comes_back_within_the_tolerance(self) -> None:
        for minute in range(24 * 60 + 1):
            hours = (Decimal(minute) / 60).quantize(Decimal("0.01"))
            assert bodies.minutes(hours) == minute
            assert bodies.whole_minutes(hours)

    def test_a_memo_beyond_the_limit_is_refused_and_not_cut(self, netsuite: Bench) -> None:
        assert rejected(netsuite, time_posting(memo="x" * 4001)).code == "text-invalid"
        assert rejected(netsuite, expense_posting(memo="x" * 1000)).code == "text-invalid"
        (outcome,) = push(netsuite, time_posting(memo="ü" * 4000))
        assert isinstance(outcome, Receipt)

    def test_an_expense_in_a_currency_that_the_connection_does_not_name_is_refused(self, netsuite: Bench) -> None:
        assert rejected(netsuite, expense_posting(currency="CHF")).code == "amount-invalid"

    def test_a_key_that_is_no_external_id_is_refused(self, netsuite: Bench) -> None:
        assert "external id" in rejected(netsuite, time_posting(key="a|b/c")).detail


class TestBooking:
    def test_what_is_booked_is_what_was_sent(self, netsuite: Bench) -> None:
        posting = time_posting()
        (receipt,) = push(netsuite, posting)
        assert isinstance(receipt, Receipt)
        (bill,) = inspect(netsuite)["timebills"]
        assert (str(bill["id"]), bill["externalId"], bill["hours"], bill["rate"]) == (
            receipt.number,
            posting.key,
            "7:30",
            145,
        )
        line = netsuite.build().find([posting.key])[posting.key]
        assert (line.hours, line.rate, line.billable, line.task) == (Decimal("7.5"), Decimal(145), True, "77")
        assert (line.entity, line.resource, line.project, line.memo) == ("1", "22", "1514", "Rollout workshop")

    def test_an_expense_is_booked_found_and_stated(self, netsuite: Bench) -> None:
        posting = expense_posting()
        (receipt,) = push(netsuite, posting)
        assert isinstance(receipt, Receipt)
        line = netsuite.build().find([posting.key])[posting.key]
        assert (line.kind, line.amount, line.currency) == (DocumentKind.EXPENSE, Decimal("84.5"), "USD")
        stated = list(netsuite.build().statement(date(2026, 9, 1), date(2026, 9, 30)))
        assert [entry.number for entry in stated] == [receipt.number]

    def test_writing_an_expense_again_leaves_one_line(self, netsuite: Bench) -> None:
        posting = expense_posting()
        push(netsuite, posting)
        push(netsuite, posting)
        (report,) = inspect(netsuite)["expensereports"]
        assert len(report["expense"]["items"]) == 1

    def test_a_number_that_the_answer_does_not_name_is_read_back(self, netsuite: Bench) -> None:
        netsuite.control("netsuite/configure", {"location_on_upsert": False})
        posting = time_posting()
        (receipt,) = push(netsuite, posting)
        assert isinstance(receipt, Receipt)
        assert receipt.number == str(inspect(netsuite)["timebills"][0]["id"])

    @pytest.mark.case(61, 63)
    def test_a_record_that_was_taken_and_cannot_be_seen_yet_is_in_doubt(self, netsuite: Bench) -> None:
        netsuite.control("netsuite/configure", {"location_on_upsert": False})
        netsuite.fault(netsuite.write, kind="read_lag", seconds=0.3)
        posting = time_posting()
        (outcome,) = push(netsuite, posting)
        assert isinstance(outcome, InDoubt)
        assert netsuite.build().find([posting.key]) == {}
        assert inspect(netsuite)["records_by_external_id"]["timebill"] == {posting.key: 1}

    def test_the_statement_is_of_one_subsidiary_where_one_is_asked_for(self, netsuite: Bench) -> None:
        push(netsuite, *time_postings(3))
        connector = netsuite.build()
        assert len(list(connector.statement(date(2026, 9, 1), date(2026, 9, 30), "1"))) == 3
        assert list(connector.statement(date(2026, 9, 1), date(2026, 9, 30), "2")) == []
        assert len(list(connector.statement(date(2026, 9, 2), date(2026, 9, 2)))) == 1

    def test_what_others_booked_is_stated_without_a_key(self, netsuite: Bench) -> None:
        bill = {
            "id": "9001",
            "externalId": "THEIRS-1",
            "employee": {"id": "22"},
            "hours": "1:15",
            "tranDate": "2026-09-05",
        }
        netsuite.control("netsuite/seed", {"records": {"timeBill": [bill]}})
        (line,) = netsuite.build().statement(date(2026, 9, 1), date(2026, 9, 30))
        assert (line.number, line.key, line.hours, line.rate) == ("9001", "", Decimal("1.25"), None)

    def test_a_statement_and_a_look_up_beyond_one_page(self, netsuite: Bench) -> None:
        bills = [
            {
                "id": str(5000 + n),
                "externalId": f"{n:032x}",
                "employee": {"id": "22"},
                "hours": "0:20",
                "tranDate": "2026-09-05",
            }
            for n in range(2300)
        ]
        netsuite.control("netsuite/seed", {"records": {"timeBill": bills}})
        lines = list(netsuite.build().statement(date(2026, 9, 1), date(2026, 9, 30)))
        assert len({line.number for line in lines}) == len(lines) == 2300
        assert {line.hours for line in lines} == {Decimal("0.3333")}
        keys = [f"{n:032x}" for n in range(0, 2300, 4)]
        before = inspect(netsuite)["calls"]
        assert set(netsuite.build().find(keys)) == set(keys)
        assert inspect(netsuite)["calls"] - before == 6, "two queries for each 200 keys"

    def test_more_calls_at_once_than_the_account_takes_are_told_to_wait(self, netsuite: Bench) -> None:
        netsuite.control("netsuite/configure", {"concurrency": 2, "latency": 0.2})
        netsuite.build().check()
        outcomes: list[Receipt | ConnectorError] = []
        postings = time_postings(6)
        threads = [threading.Thread(target=lambda p=p: outcomes.extend(push(netsuite, p))) for p in postings]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        waiting = [outcome for outcome in outcomes if isinstance(outcome, Unavailable)]
        assert len(outcomes) == 6
        assert 1 <= len(waiting) <= 4
        assert len(inspect(netsuite)["timebills"]) == 6 - len(waiting)


class TestBatches:
    def test_a_batch_is_one_call_and_each_record_has_its_outcome(self, netsuite: Bench) -> None:
        good = time_postings(60)
        bad = time_posting(project="1515")
        sent = [*good[:30], bad, *good[30:], expense_posting()]
        netsuite.build().check()
        with recording() as exchanges:
            outcomes = push(netsuite, *sent, batch_size=100)
        assert [getattr(outcome, "key", None) for outcome in outcomes] == [
            p.key if p is not bad else None for p in sent
        ]
        refused = outcomes[30]
        assert isinstance(refused, Rejected)
        assert refused.code == "project-inactive"
        writes = [exchange for exchange in exchanges if exchange.method == "PUT"]
        assert len(writes) == 2, "one of time, one of expenses"
        assert writes[0].request_headers["Prefer"] == "respond-async"
        assert len(exchanges) < 30
        assert inspect(netsuite)["most_records_under_one_external_id"] == 1
        assert len(inspect(netsuite)["timebills"]) == 60

    def test_the_batch_size_is_within_the_vendors_hundred(self, netsuite: Bench) -> None:
        assert netsuite.build(batch_size=1000).capabilities.batch_size == 100
        assert netsuite.build(batch_size=0).capabilities.batch_size == 1

    @pytest.mark.parametrize(
        "fault", [{"kind": "timeout_after", "seconds": 1.2}, {"kind": "reset_after"}, {"kind": "garbage"}]
    )
    def test_a_lost_acceptance_is_asked_for_again_under_the_same_key(
        self, netsuite: Bench, fault: dict[str, Any]
    ) -> None:
        netsuite.build(batch_size=100).check()  # signs in, by the account as it is used below
        netsuite.fault(netsuite.write, **fault)
        with recording() as exchanges:
            outcomes = push(netsuite, *time_postings(3), batch_size=100)
        assert all(isinstance(outcome, Receipt) for outcome in outcomes), outcomes
        keys = {e.request_headers["X-NetSuite-Idempotency-Key"] for e in exchanges if e.method == "PUT"}
        assert len(keys) == 1
        assert any("IDEMPOTENCY_ERROR" in e.response_body for e in exchanges)
        assert len(inspect(netsuite)["timebills"]) == 3

    def test_a_batch_that_never_arrived_is_sent_by_the_same_asking(self, netsuite: Bench) -> None:
        netsuite.build().check()
        netsuite.fault(netsuite.write, kind="reset_before")
        outcomes = push(netsuite, *time_postings(3), batch_size=100)
        assert all(isinstance(outcome, Receipt) for outcome in outcomes), outcomes
        assert len(inspect(netsuite)["timebills"]) == 3

    def test_an_acceptance_lost_twice_is_in_doubt(self, netsuite: Bench) -> None:
        netsuite.build().check()
        netsuite.fault(netsuite.write, kind="reset_after", times=2)
        outcomes = push(netsuite, *time_postings(2), batch_size=100)
        assert [type(outcome) for outcome in outcomes] == [InDoubt, InDoubt]
        netsuite.fault(netsuite.write, kind="reset_before")
        netsuite.fault(netsuite.write, kind="status", status=429)
        outcomes = push(netsuite, *time_postings(2), batch_size=100)
        assert [type(outcome) for outcome in outcomes] == [InDoubt, InDoubt]

    def test_a_batch_that_is_told_to_wait_is_unavailable(self, netsuite: Bench) -> None:
        netsuite.build().check()
        netsuite.fault(netsuite.write, kind="status", status=429)
        outcomes = push(netsuite, *time_postings(2), batch_size=100)
        assert [type(outcome) for outcome in outcomes] == [Unavailable, Unavailable]

    def test_a_job_that_is_not_done_in_time_is_in_doubt_and_found_later(self, netsuite: Bench) -> None:
        netsuite.control("netsuite/configure", {"async_seconds": 1.0})
        postings = time_postings(2)
        outcomes = push(netsuite, *postings, batch_size=100, async_deadline="0.3")
        assert [type(outcome) for outcome in outcomes] == [InDoubt, InDoubt]
        assert inspect(netsuite)["timebills"] == []
        netsuite.control("netsuite/configure", {"async_seconds": 0})
        threading.Event().wait(1.0)
        assert set(netsuite.build().find([p.key for p in postings])) == {p.key for p in postings}

    def test_looks_at_a_job_that_fail_are_no_news(self, netsuite: Bench) -> None:
        netsuite.build().check()
        netsuite.fault({"method": "GET", "path": "/job/"}, kind="status", status=500, times=2)
        outcomes = push(netsuite, *time_postings(2), batch_size=100)
        assert all(isinstance(outcome, Receipt) for outcome in outcomes), outcomes

    def test_results_answer_where_the_look_up_cannot(self, netsuite: Bench) -> None:
        netsuite.build().check()
        netsuite.fault({"path": "/suiteql"}, kind="status", status=500, times=2)
        bad = time_posting(resource="23")
        outcomes = push(netsuite, time_posting(), bad, batch_size=100)
        assert isinstance(outcomes[0], Receipt)
        assert outcomes[0].number == str(inspect(netsuite)["timebills"][0]["id"])
        assert isinstance(outcomes[1], Rejected)
        netsuite.fault({"path": "/suiteql"}, kind="status", status=500)
        netsuite.fault({"path": "/task"}, kind="status", status=500)
        (outcome,) = push(netsuite, time_posting(), batch_size=100)
        assert isinstance(outcome, InDoubt)


class TestRefusals:
    @pytest.mark.parametrize(
        ("changes", "code"),
        [
            ({"project": "1515"}, "project-inactive"),
            ({"project": "999999"}, "project-inactive"),
            ({"project": "1516", "task": ""}, "project-inactive"),
            ({"resource": "23"}, "resource-inactive"),
            ({"resource": "999999"}, "resource-inactive"),
            ({"task": "78"}, "task-invalid"),
            ({"task": "999999"}, "task-invalid"),
            ({"cost_centre": "4"}, "dimension-missing"),
            ({"entity": "999"}, "dimension-missing"),
            ({"work_date": date(2026, 3, 3)}, "period-closed"),
        ],
    )
    def test_what_the_account_refuses_is_named_for_finance(
        self, netsuite: Bench, changes: dict[str, Any], code: str
    ) -> None:
        refused = rejected(netsuite, time_posting(**changes))
        assert (refused.code, refused.status, refused.vendor_code) == (code, 400, "USER_ERROR")
        assert refused.detail
        assert inspect(netsuite)["timebills"] == []

    @pytest.mark.case(68)
    def test_a_field_that_netsuite_does_not_know_is_refused_and_not_ignored(self, netsuite: Bench) -> None:
        assert rejected(netsuite, time_posting(), time_defaults={"custcol_gone": "1"}).code == "schema-changed"
        refused = rejected(netsuite, expense_posting(), expense_line_defaults={"custcol_gone": "1"})
        assert refused.code == "schema-changed"
        assert refused.vendor_code == "INVALID_CONTENT"

    @pytest.mark.case(68)
    def test_a_field_that_netsuite_has_come_to_demand_is_a_changed_schema(self, netsuite: Bench) -> None:
        assert rejected(netsuite, time_posting(item=""), service_item="").code == "schema-changed"

    def test_approved_time_is_locked(self, netsuite: Bench) -> None:
        posting = time_posting()
        (receipt,) = push(netsuite, posting)
        assert isinstance(receipt, Receipt)
        connector = netsuite.build()
        connector.http.request("POST", f"/services/rest/record/v1/timebill/{receipt.number}/@approve")
        assert rejected(netsuite, posting).code == "record-locked"

    @pytest.mark.case(67)
    def test_a_feature_that_is_off_is_one_thing_wrong_with_the_connection(self, netsuite: Bench) -> None:
        netsuite.control("netsuite/configure", {"features_off": ["timebill"]})
        (outcome,) = push(netsuite, time_posting())
        assert isinstance(outcome, Unauthorised)
        with pytest.raises(Unauthorised):
            netsuite.build().find(["f" * 32])
        with pytest.raises(Unauthorised):
            netsuite.build().check()

    @pytest.mark.case(68, 73)
    @pytest.mark.parametrize(
        ("code", "detail", "kind", "means"),
        [
            ("USER_ERROR", "CLOSED_TRAN_PRD", Rejected, "period-closed"),
            ("ACCTNG_PRD_REQD", "An accounting period is required.", Rejected, "period-closed"),
            ("DATE_PRD_MISMATCH", "", Rejected, "period-closed"),
            ("INVALID_ACCT_PRD", "", Rejected, "period-closed"),
            ("USER_ERROR", "You cannot post to a locked period.", Rejected, "period-closed"),
            ("DUP_RCRD", "", Rejected, "duplicate"),
            ("DUP_TRANS", "", Rejected, "duplicate"),
            ("PMT_ALREADY_EXISTS", "", Rejected, "duplicate"),
            ("USER_ERROR", "This record already exists", Rejected, "duplicate"),
            ("CANT_MODIFY_APPRVD_TIME", "", Rejected, "record-locked"),
            ("CANT_MODIFY_LOCKED_FLD", "", Rejected, "record-locked"),
            ("USER_ERROR", "This record has been locked by a user defined workflow.", Rejected, "record-locked"),
            ("RCRD_HAS_BEEN_CHANGED", "", Rejected, "record-changed"),
            ("USER_ERROR", "Record has been changed", Rejected, "record-changed"),
            ("CONCURRENCY_LIMIT_EXCEEDED", "Concurrent request limit exceeded.", Unavailable, ""),
            ("SSS_REQUEST_LIMIT_EXCEEDED", "", Unavailable, ""),
            ("EXCEEDED_MAX_TIME", "", InDoubt, ""),
            ("UNEXPECTED_ERROR", "An unexpected error occurred.", InDoubt, ""),
            ("INVALID_LOGIN", "", Unauthorised, ""),
            ("INSUFFICIENT_PERMISSION", "Permission Violation", Unauthorised, ""),
            ("USER_ERROR", "Invalid Field Value 1 for the following field: rate.", Rejected, "amount-invalid"),
            ("USER_ERROR", "Please enter value(s) for: Department.", Rejected, "dimension-missing"),
            ("USER_ERROR", "Something that nobody has seen.", Rejected, "rejected"),
        ],
    )
    def test_every_name_and_text_that_is_known_means_one_thing(
        self, code: str, detail: str, kind: type[ConnectorError], means: str
    ) -> None:
        error = Rejected("raw", status=400)
        error.body = {"o:errorDetails": [{"detail": detail, "o:errorCode": code}]}
        narrowed = refusals.narrow(error)
        assert type(narrowed) is kind
        if isinstance(narrowed, Rejected):
            assert narrowed.code == means
            assert narrowed.vendor_code == code
        assert type(refusals.narrow(error, writes=False)) is (Unavailable if kind is InDoubt else kind)

    def test_an_accounts_own_words_go_first(self, netsuite: Bench) -> None:
        own = [{"match": "not allowed on this project", "means": "task-invalid"}]
        assert rejected(netsuite, time_posting(project="1516", task=""), refusals=own).code == "task-invalid"
        (outcome,) = push(
            netsuite, time_posting(project="1516", task=""), refusals=[{"match": "entry", "means": "unavailable"}]
        )
        assert isinstance(outcome, Unavailable)
        for wrong in ({"match": "x", "means": "nothing"}, {"match": "(", "means": "duplicate"}, {"means": "duplicate"}):
            with pytest.raises(Malformed):
                netsuite.build(refusals=[wrong])

    def test_what_is_none_of_netsuites_bodies_stays_as_it_was(self) -> None:
        error = Rejected("404 nothing", status=404)
        assert refusals.narrow(error) is error


class TestMasterData:
    def mapped(self, bench: Bench, stream: str) -> dict[str, MasterRecord]:
        connector = bench.build()
        rows = [row for page in connector.pull(stream, None) for row in page.records]
        found = [record for row in rows for record in connector.map(row)]
        assert all(isinstance(record, MasterRecord) for record in found)
        return {record.external_id: record for record in found}

    def test_entities(self, netsuite: Bench) -> None:
        found = self.mapped(netsuite, "subsidiaries")
        assert (found["1"].kind, found["1"].code, found["1"].name) == (MasterKind.ENTITY, "US", "Firm Inc.")
        assert found["1"].attributes == {"currency": "USD"}
        assert found["2"].parent == Reference(key="1")

    def test_cost_centres(self, netsuite: Bench) -> None:
        found = self.mapped(netsuite, "departments")
        assert (found["3"].code, found["3"].attributes) == ("Delivery", {"entity": "1"})
        assert not found["4"].is_active

    def test_periods_without_quarters(self, netsuite: Bench) -> None:
        found = self.mapped(netsuite, "periods")
        assert len(found) == 10
        assert found["103"].attributes == {
            "starts_on": date(2026, 3, 1), "ends_on": date(2026, 3, 28), "closed": True
        }  # fmt: skip
        assert found["109"].attributes["closed"] is False

    def test_customers(self, netsuite: Bench) -> None:
        found = self.mapped(netsuite, "customers")
        assert found["220"].attributes == {"entity": "1", "currency": "USD", "active_from": date(2020, 1, 1)}
        assert found["221"].parent == Reference(key="220")
        assert found["221"].attributes["tax_number"] == "DE123456789"

    def test_projects_with_the_accounts_own_words_for_their_status(self, netsuite: Bench) -> None:
        found = self.mapped(netsuite, "projects")
        assert found["1514"].attributes == {
            "customer": "220", "entity": "1", "status": "open", "starts_on": date(2026, 1, 1),
            "billing_model": "time_and_material", "manager": "22",
        }  # fmt: skip
        assert [found[key].attributes["status"] for key in ("1515", "1516")] == ["closed", "closed"]
        connector = netsuite.build(project_statuses={"In Progress": "on_hold"})
        row = next(row for page in connector.pull("projects", None) for row in page.records)
        (own,) = connector.map(row)
        assert own.attributes["status"] == "on_hold"

    def test_tasks_and_people(self, netsuite: Bench) -> None:
        tasks = self.mapped(netsuite, "tasks")
        assert tasks["78"].attributes == {"project": "1514", "is_billable": False, "closed": True}
        people = self.mapped(netsuite, "employees")
        assert (people["22"].code, people["22"].name) == ("E-22", "Ann Lee")
        assert people["22"].attributes == {
            "email": "ann@example.com", "entity": "1", "cost_centre": "3", "hired_on": date(2022, 5, 1)
        }  # fmt: skip
        assert people["23"].attributes["released_on"] == date(2026, 6, 30)

    def test_what_was_deleted_says_so(self, netsuite: Bench) -> None:
        (gone,) = self.mapped(netsuite, "deleted").values()
        assert (gone.kind, gone.external_id, gone.deleted, gone.is_active) == (MasterKind.PROJECT, "1499", True, False)
        record = SourceRecord(
            stream="deleted", external_id="x/1", revision="1", payload={"id": "1", "type": "Opportunity"}
        )
        assert list(netsuite.build().map(record)) == []

    def test_records_of_several_types_with_one_id_that_went_in_one_second_are_all_told(self, netsuite: Bench) -> None:
        kinds = ("customer", "job", "projecttask", "employee", "invoice")
        gone = [{"type": kind, "id": str(number), "at": "2026-08-02T09:00:00Z"} for number in (7, 8) for kind in kinds]
        netsuite.control("netsuite/seed", {"delete": gone})
        told = {f"{kind}/{number}" for number in (7, 8) for kind in kinds}
        for size in (1, 2, 3, 1000):
            pages = list(netsuite.build(page_size=size).pull("deleted", None))
            seen = [record.external_id for page in pages for record in page.records]
            assert sorted(seen) == sorted({*told, "job/1499"}), size
            behind = netsuite.build(page_size=size).pull("deleted", pages[0].cursor)
            assert told <= {*seen[:size], *(one.external_id for page in behind for one in page.records)}, size

    def test_changes_are_read_by_key_over_many_pages_even_within_one_second(self, netsuite: Bench) -> None:
        people = [
            {"id": str(10_000 + n), "entityId": f"E-{n}", "lastModifiedDate": "2026-08-02T09:00:00Z"}
            for n in range(2500)
        ]
        netsuite.control("netsuite/seed", {"records": {"employee": people}})
        pages = list(netsuite.build().pull("employees", None))
        assert [page.last for page in pages] == [False, False, True]
        assert [page.total for page in pages] == [2502] * 3
        seen = [record.external_id for page in pages for record in page.records]
        assert len(seen) == len(set(seen)) == 2502
        assert pages[-1].cursor == "2026-08-02 09:00:00|12499"
        again = list(netsuite.build().pull("employees", "2026-08-02 10:30:00|1"))
        assert [len(page.records) for page in again] == [0], "later than the overlap reaches back"
        assert again[0].cursor == "2026-08-02 10:30:00|1"
        assert sum(len(page.records) for page in netsuite.build().pull("employees", "2026-08-02 10:05:00|1")) == 2500

    def test_a_cursor_that_cannot_be_read_is_malformed(self, netsuite: Bench) -> None:
        with pytest.raises(Malformed):
            list(netsuite.build().pull("employees", "yesterday"))
        with pytest.raises(Malformed):
            list(netsuite.build().pull("quotes", None))

    @pytest.mark.parametrize(
        ("stream", "row", "named"),
        [
            ("periods", {"id": "1", "periodname": "x", "startdate": "31.12.2026"}, "startdate"),
            ("projects", {"id": "1", "entityid": "x", "isinactive": "maybe"}, "isinactive"),
            ("customers", {"id": "1"}, "customers 1"),
            ("periods", {"id": "1", "periodname": "x"}, "enddate"),
        ],
    )
    def test_a_field_that_cannot_be_read_is_named(
        self, netsuite: Bench, stream: str, row: dict[str, str], named: str
    ) -> None:
        record = SourceRecord(stream=stream, external_id="1", revision="1", payload=row)
        with pytest.raises(Malformed, match=named):
            list(netsuite.build().map(record))

    def test_personal_data_of_employees_is_never_asked_for(self, netsuite: Bench) -> None:
        with recording() as exchanges:
            list(netsuite.build().pull("employees", None))
        asked = exchanges[-1].request_body.lower()
        assert not any(word in asked for word in ("social", "birth", "bank", "salary", "*", "laborcost"))


class TestSigningIn:
    @pytest.mark.parametrize("algorithm", ["PS256", "ES256", "ES384", "ES512"])
    def test_every_key_that_netsuite_takes_signs_in(self, netsuite: Bench, algorithm: str) -> None:
        bench = replace(netsuite, account=netsuite_account.account(netsuite.sandbox, algorithm))
        assert bench.build().check() == "NetSuite account 1234567_SB1 answers with 2 subsidiaries: US, DE."

    def test_one_token_serves_many_calls_and_many_connectors(self, netsuite: Bench) -> None:
        bench = replace(netsuite, account=replace(netsuite.account, code="one-token"))
        for _ in range(3):
            bench.build().check()
        tokens = [call for call in bench.control("netsuite/calls") if call["path"].endswith("/token")]
        assert len(tokens) == 1

    @pytest.mark.case(67)
    def test_a_token_that_has_ended_is_replaced_and_the_posting_booked_once(self, netsuite: Bench) -> None:
        netsuite.build().check()
        netsuite.control("netsuite/configure", {"forget_tokens": True})
        posting = time_posting()
        (outcome,) = push(netsuite, posting)
        assert isinstance(outcome, Receipt)
        assert inspect(netsuite)["records_by_external_id"]["timebill"] == {posting.key: 1}

    @pytest.mark.parametrize(
        "changes",
        [
            {"settings": {"client_id": "stranger"}},
            {"settings": {"certificate_id": "cert-none"}},
            {"settings": {"certificate_id": "cert-ES256"}},
            {"secrets": {"private_key": "not a key"}},
            {"secrets": {}},
        ],
    )
    def test_an_assertion_that_does_not_hold_is_unauthorised(self, netsuite: Bench, changes: dict[str, Any]) -> None:
        account = replace(
            netsuite.account,
            code=f"wrong-{sorted(changes.items())}",
            settings={**netsuite.account.settings, **changes.get("settings", {})},
            secrets=changes.get("secrets", netsuite.account.secrets),
        )
        with pytest.raises(Unauthorised):
            NetSuiteConnector(account, Http(account, allow_loopback=True)).check()

    def test_a_key_whose_line_ends_were_written_as_text_is_read(self, netsuite: Bench) -> None:
        flat = netsuite.account.secrets["private_key"].replace("\n", "\\n")
        account = replace(netsuite.account, code="flat", secrets={"private_key": flat})
        assert NetSuiteConnector(account, Http(account, allow_loopback=True)).check()

    def test_tokens_sign_the_query_and_a_wrong_secret_is_unauthorised(self, netsuite: Bench) -> None:
        account = netsuite_account.token_account(netsuite.sandbox)
        connector = NetSuiteConnector(account, Http(account, allow_loopback=True))
        with recording() as exchanges:
            connector.check()
        assert all("limit=" in exchange.url for exchange in exchanges)
        wrong = replace(account, secrets={**account.secrets, "token_secret": "another"})
        with pytest.raises(Unauthorised):
            NetSuiteConnector(wrong, Http(wrong, allow_loopback=True)).check()
        elsewhere = replace(account, realm="7654321")
        with pytest.raises(Unauthorised):
            NetSuiteConnector(elsewhere, Http(elsewhere, allow_loopback=True)).check()

    @pytest.mark.case(67)
    @pytest.mark.parametrize("skew", [-600, 600])
    @pytest.mark.parametrize("auth", ["oauth2", "tba"])
    def test_a_sign_in_is_dated_by_netsuites_clock_and_tried_once_more_where_that_was_not_known(
        self, netsuite: Bench, auth: str, skew: int
    ) -> None:
        known = netsuite.account if auth == "oauth2" else netsuite_account.token_account(netsuite.sandbox)
        account = replace(known, code=f"skewed-{auth}-{skew}")
        netsuite.control("netsuite/configure", {"clock_skew": skew})
        connector = NetSuiteConnector(account, Http(account, allow_loopback=True))
        with recording() as exchanges:
            assert connector.check()
            connector.check()
        refused = [number for number, exchange in enumerate(exchanges) if exchange.status in (400, 401)]
        assert refused == [0], "the first answer tells the clock, and nothing is refused by it twice"

    def test_what_is_dated_beyond_five_minutes_is_refused_whoever_tries_again(
        self, netsuite: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        account = netsuite_account.token_account(netsuite.sandbox)
        for seconds, is_taken in ((290, True), (310, False)):
            ours = SimpleNamespace(time=lambda wrong=seconds: time.time() + wrong)
            monkeypatch.setattr("integrations.connectors.netsuite.auth.time", ours)
            connector = NetSuiteConnector(account, Http(account, allow_loopback=True))
            try:
                assert bool(connector.check()) == is_taken
            except Unauthorised:
                assert not is_taken

    def test_the_stand_in_signs_as_the_standard_does(self) -> None:
        """The base string of RFC 5849, section 3.4.1.1, by the sandbox's own code, with its repeated and odd parameters."""
        given = {
            "oauth_consumer_key": "9djdj82h48djs9d2", "oauth_token": "kkk9d7dh3k39sjv7",
            "oauth_signature_method": "HMAC-SHA256", "oauth_timestamp": "137131201", "oauth_nonce": "7d8f3e4a",
            "realm": "Example",
        }  # fmt: skip
        base = (
            "POST&http%3A%2F%2Fexample.com%2Frequest&a2%3Dr%2520b%26a3%3D2%2520q%26a3%3Da%26b5%3D%253D%25253D"
            "%26c%2540%3D%26oauth_consumer_key%3D9djdj82h48djs9d2%26oauth_nonce%3D7d8f3e4a"
            "%26oauth_signature_method%3DHMAC-SHA256%26oauth_timestamp%3D137131201%26oauth_token%3Dkkk9d7dh3k39sjv7"
        )
        expected = hmac.new(b"j49sn3j29djd&dh893hdasih9", base.encode(), hashlib.sha256).digest().hex()
        url = "http://EXAMPLE.COM/request?b5=%3D%253D&a3=a&c%40=&a2=r%20b&a3=2+q"
        got = signature("POST", url, given, "j49sn3j29djd", "dh893hdasih9")
        assert base64.b64decode(got).hex() == expected


class TestHints:
    def deliver(self, bench: Bench, body: bytes, secret: str = "hook-secret-canary") -> Any:
        account = replace(bench.account, secrets={**bench.account.secrets, "hook_secret": "hook-secret-canary"})
        connector = NetSuiteConnector(account, Http(account, allow_loopback=True))
        signed = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        return connector.receive({"x-TIEOUT-signature": signed}, body)

    def test_a_signed_hint_names_what_to_read_again(self, netsuite: Bench) -> None:
        body = json.dumps(
            {"id": "d-1", "records": [{"type": "job", "id": 1514}, {"type": "customer", "id": "220"}]}
        ).encode()
        delivery = self.deliver(netsuite, body)
        assert delivery.delivery_id == "d-1"
        assert delivery.hints == [
            Hint(stream="projects", external_id="1514"),
            Hint(stream="customers", external_id="220"),
        ]
        (record,) = netsuite.build().fetch(delivery.hints[0])
        assert record.payload["entityid"] == "ACME-1"

    def test_a_wrong_signature_and_a_body_that_cannot_be_read_are_refused(self, netsuite: Bench) -> None:
        with pytest.raises(Unauthorised):
            self.deliver(netsuite, b"{}", secret="another")
        for body in (b"not json", b"{}", b'{"id": 1, "records": [{"type": "secret", "id": 1}]}', b"[]"):
            with pytest.raises(Malformed):
                self.deliver(netsuite, body)
