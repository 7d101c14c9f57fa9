"""Business Central over real HTTP: journals that post whole or not at all, what is left of invoices, its words for no."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from integrations import payloads, postings
from integrations.connectors.businesscentral import BusinessCentralConnector, mapping, refusals, streams
from integrations.errors import ConnectorError, InDoubt, Malformed, Rejected, Unauthorised, Unavailable
from integrations.http import Http, Response, outcomes, pacing, recording
from integrations.http.recording import HIDDEN
from integrations.protocol import Hint, Page, SubscribedSource
from integrations.sandbox.businesscentral.vendor import CLIENT_SECRET, COMPANY
from portal.records import (
    BillKind,
    BillRecord,
    BillStatus,
    CanonicalRecord,
    MasterRecord,
    Posting,
    Receipt,
    SettledBy,
)
from tests.integrations.bc_account import (
    DAYS,
    INVOICE,
    SEED,
    expense_posting,
    guid,
    invoice,
    time_posting,
    time_postings,
)
from tests.integrations.contract import Bench

ENTRIES = f"/api/tieout/finance/v1.0/companies({COMPANY})/projectLedgerEntries"
SALES_INVOICES = f"/api/v2.0/companies({COMPANY})/salesInvoices"


class Company:
    """The company of the sandbox, and a connector on it with the cursors that runs would store."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.cursors: dict[str, str | None] = {}

    @property
    def connector(self) -> BusinessCentralConnector:
        connector: BusinessCentralConnector = self.bench.build()
        return connector

    def having(self, **settings: Any) -> None:
        account = self.bench.account
        self.bench = replace(self.bench, account=replace(account, settings={**account.settings, **settings}))

    def seed(self, **data: Any) -> None:
        self.bench.control("businesscentral/seed", data)

    def act(self, do: str, **how: Any) -> None:
        self.seed(actions=[{"do": do, **how}])

    def configure(self, **settings: Any) -> None:
        self.bench.control("businesscentral/configure", settings)

    def inspect(self) -> dict[str, Any]:
        found: dict[str, Any] = self.bench.control("businesscentral/inspect")
        return found

    def calls(self, part: str) -> list[dict[str, Any]]:
        return [call for call in self.bench.control("businesscentral/calls") if part in call["path"]]

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

    def bill(self, number: int) -> BillRecord | None:
        found = self.read("sales_invoices").get(INVOICE.format(number))
        assert found is None or isinstance(found, BillRecord)
        return found

    def push(self, *sent: Posting) -> list[Receipt | ConnectorError]:
        try:
            return list(self.connector.push(sent))
        except ConnectorError as error:
            return [error for _ in sent]

    def entries(self) -> dict[str, int]:
        found: dict[str, int] = self.inspect()["entries_by_key"]
        return found

    def lines(self) -> dict[str, int]:
        found: dict[str, int] = self.inspect()["lines_by_key"]
        return found


def bill_of(company: Company, status: str) -> BillRecord:
    """The bill of a row as it is read from the wire, with a status that is written in some way."""
    row = invoice(7, status=status)
    [bill] = mapping.records(streams.record(streams.STREAMS[streams.INVOICES], row), company.bench.account)
    assert isinstance(bill, BillRecord)
    return bill


@pytest.fixture
def company(businesscentral: Bench) -> Company:
    return Company(businesscentral)


class TestPosting:
    """What is booked is booked once, and what is refused stops nobody else."""

    def test_a_journal_of_many_lines_is_one_batch_one_post_and_one_look(self, company: Company) -> None:
        outcomes = company.push(*time_postings(20))
        assert [type(outcome) for outcome in outcomes] == [Receipt] * 20
        assert len(company.calls("$batch")) == len(company.calls("NAV.post")) == 1
        assert company.lines() == {}

    @pytest.mark.case(62)
    def test_a_line_that_posting_refuses_stands_alone_and_the_others_are_booked(self, company: Company) -> None:
        company.configure(posting_from="2026-09-01")
        good = time_postings(6)
        closed = time_posting(work_date=date(2026, 8, 31))
        outcomes = company.push(*good[:3], closed, *good[3:])
        refused = outcomes.pop(3)
        assert isinstance(refused, Rejected)
        assert (refused.code, refused.vendor_code) == ("period-closed", "Application_DialogException")
        assert [type(outcome) for outcome in outcomes] == [Receipt] * 6
        assert company.entries() == {posting.key: 1 for posting in good}

    @pytest.mark.case(62)
    def test_a_closed_month_is_refused_by_few_calls_and_stops_no_other(self, company: Company) -> None:
        company.configure(posting_from="2026-09-01")
        closed = [time_posting(work_date=date(2026, 8, 1 + n % 25)) for n in range(50)]
        good = time_postings(5)
        with recording() as exchanges:
            outcomes = company.push(*closed[:20], *good, *closed[20:])
        refused = outcomes[:20] + outcomes[25:]
        assert [outcome.code for outcome in refused if isinstance(outcome, Rejected)] == ["period-closed"] * 50
        assert [type(outcome) for outcome in outcomes[20:25]] == [Receipt] * 5
        assert len(exchanges) <= 31

    @pytest.mark.case(62)
    def test_of_a_month_that_is_closed_in_part_the_open_days_are_booked_within_two_pushes(
        self, company: Company
    ) -> None:
        company.configure(posting_from="2026-09-11")
        postings = time_postings(25)
        found = dict(zip(postings, company.push(*postings), strict=True))
        left = [posting for posting, outcome in found.items() if isinstance(outcome, Unavailable)]
        assert len(left) < 10
        found |= dict(zip(left, company.push(*left), strict=True))
        for posting, outcome in found.items():
            assert isinstance(outcome, Receipt if posting.work_date >= date(2026, 9, 11) else Rejected)
        assert company.entries() == {posting.key: 1 for posting in postings[10:]}

    def test_a_push_begins_no_journal_once_its_time_is_over_and_says_what_it_did_not_come_to(
        self, company: Company, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(pacing, "PUSH_SECONDS", 0.0)
        company.act("block", set="projects", number="J20")
        postings = [time_posting(project="J20", task="J20/100") for _ in range(40)]
        outcomes = company.push(*postings)
        kinds = [type(outcome) for outcome in outcomes]
        assert (kinds.count(Rejected), kinds.count(Unavailable)) == (1, 39), "each push gets on"
        assert len(company.calls("NAV.post")) == 6
        monkeypatch.setattr(pacing, "PUSH_SECONDS", 60.0)
        assert {type(outcome) for outcome in company.push(*postings)} == {Rejected}
        assert company.entries() == {}

    def test_lines_that_are_refused_one_by_one_are_not_written_on_once_the_time_is_over(
        self, company: Company, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(pacing, "PUSH_SECONDS", 0.0)
        postings = [time_posting(project="J99", task="J99/100") for _ in range(20)]
        outcomes = company.push(*postings)
        kinds = [type(outcome) for outcome in outcomes]
        assert (kinds.count(Rejected), kinds.count(Unavailable)) == (1, 19), "each push gets on"
        assert len(company.calls("$batch")) == 1
        assert company.calls("NAV.post") == []
        assert {str(outcome) for outcome in outcomes if isinstance(outcome, Unavailable)} == {
            "Not sent: the time of one push was over before its turn came."
        }

    def test_no_journal_is_begun_after_one_that_is_in_doubt(self, company: Company) -> None:
        company.bench.fault({"method": "POST", "path": "NAV.post"}, kind="status", status=504)
        first, second = time_posting(work_date=date(2026, 8, 3)), time_posting()
        lost, unsent = company.push(first, second)
        assert [type(lost), type(unsent)] == [InDoubt, Unavailable]
        assert len(company.calls("NAV.post")) == 1
        assert isinstance(company.push(second)[0], Receipt)

    @pytest.mark.case(62)
    def test_a_batch_whose_201s_were_rolled_back_is_written_again_without_the_line_that_failed(
        self, company: Company
    ) -> None:
        good = time_postings(3)
        for place in range(4):  # the first is answered alone, a later one after 201s that are worth nothing
            mixed = [*good[:place], time_posting(project="J99"), *good[place:]]
            fresh = [replace(posting, key=time_posting().key) for posting in mixed]
            outcomes = company.push(*fresh)
            assert [type(outcome) for outcome in outcomes].count(Receipt) == 3
            refused = outcomes[place]
            assert isinstance(refused, Rejected)
            assert (refused.code, company.entries().get(fresh[place].key)) == ("project-inactive", None)
            assert all(company.entries()[p.key] == 1 for n, p in enumerate(fresh) if n != place)

    def test_a_batch_that_is_answered_in_another_order_refuses_the_line_that_was_refused(
        self, company: Company
    ) -> None:
        company.configure(backwards=True)
        good = time_postings(3)
        outcomes = company.push(good[0], good[1], time_posting(project="J99"), good[2])
        assert [type(outcome) for outcome in outcomes] == [Receipt, Receipt, Rejected, Receipt]
        assert company.entries() == {posting.key: 1 for posting in good}

    def test_an_error_of_a_batch_says_none_of_our_secrets_again(self, company: Company) -> None:
        [outcome] = company.push(time_posting(project=CLIENT_SECRET))
        assert isinstance(outcome, Rejected)
        assert CLIENT_SECRET not in outcome.detail
        assert HIDDEN in outcome.detail

    def test_what_an_earlier_call_left_in_the_journal_is_taken_out_and_not_posted_with_the_next(
        self, company: Company
    ) -> None:
        left, later = time_postings(2)
        company.bench.fault({"method": "POST", "path": "NAV.post"}, kind="status", status=503)
        assert isinstance(company.push(left)[0], Unavailable)
        assert company.lines() == {left.key: 1}
        assert isinstance(company.push(later)[0], Receipt)
        assert (company.entries(), company.lines()) == ({later.key: 1}, {})
        assert isinstance(company.push(left)[0], Receipt)
        assert company.entries() == {later.key: 1, left.key: 1}

    def test_a_journal_with_lines_of_others_is_left_alone_and_says_so(self, company: Company) -> None:
        foreign = {"id": guid(800), "journalCode": "TIEOUT", "externalId": "", "number": "AH", "description": "By hand"}
        company.seed(projectJournalLines=[foreign])
        [outcome] = company.push(time_posting())
        assert isinstance(outcome, Unavailable)
        assert "holds 1 lines that are not ours" in outcome.detail
        assert company.entries() == {}

    @pytest.mark.case(57)
    @pytest.mark.parametrize("kind", ["timeout_after", "reset_after", "garbage"])
    def test_lines_whose_answer_was_lost_are_in_doubt_and_end_as_one_entry(self, company: Company, kind: str) -> None:
        (posting,) = time_postings(1)
        company.connector.check()
        company.bench.fault({"method": "POST", "path": "$batch"}, kind=kind, seconds=1.2)
        assert isinstance(company.push(posting)[0], InDoubt)
        assert company.connector.find([posting.key]) == {}
        assert isinstance(company.push(posting)[0], Receipt)
        assert (company.entries(), company.lines()) == ({posting.key: 1}, {})

    @pytest.mark.case(57)
    @pytest.mark.parametrize("count", [1, 3])
    def test_a_journal_that_somebody_posted_before_our_post_is_receipted_and_not_called_refused(
        self, company: Company, count: int
    ) -> None:
        sent = time_postings(count)
        company.connector.check()
        nothing = {"error": {"code": "Application_DialogException", "message": "There is nothing to post."}}
        fault = {"kind": "says", "status": 400, "answer": nothing, "commits": True}
        company.bench.fault({"method": "POST", "path": "NAV.post"}, **fault)
        assert [type(outcome) for outcome in company.push(*sent)] == [Receipt] * count
        assert company.entries() == {posting.key: 1 for posting in sent}

    @pytest.mark.case(57)
    def test_lines_whose_post_was_refused_are_left_in_no_journal_that_a_person_may_post(self, company: Company) -> None:
        company.configure(posting_from="2026-10-01")
        sent = time_postings(1)
        [outcome] = company.push(*sent)
        assert isinstance(outcome, Rejected)
        assert (company.entries(), company.lines()) == ({}, {})

    def test_a_refused_post_whose_ledger_cannot_be_read_is_in_doubt(self, company: Company) -> None:
        company.configure(posting_from="2026-10-01")
        company.connector.check()
        company.bench.fault({"method": "GET", "path": "projectLedgerEntries"}, kind="status", status=503, after=1)
        [outcome] = company.push(*time_postings(1))
        assert isinstance(outcome, InDoubt)
        assert "allowed posting dates" in outcome.detail

    def test_a_post_that_the_server_cut_off_after_eight_minutes_is_in_doubt(self, company: Company) -> None:
        (posting,) = time_postings(1)
        company.bench.fault({"method": "POST", "path": "NAV.post"}, kind="status", status=408, commits=True)
        assert isinstance(company.push(posting)[0], InDoubt)
        assert isinstance(company.push(posting)[0], Receipt)
        assert company.entries() == {posting.key: 1}

    @pytest.mark.case(63)
    def test_a_post_that_says_good_and_books_nothing_is_in_doubt(self, company: Company) -> None:
        (posting,) = time_postings(1)
        company.bench.fault({"method": "POST", "path": "NAV.post"}, kind="garbage", commits=False)
        assert isinstance(company.push(posting)[0], InDoubt)
        assert company.connector.find([posting.key]) == {}

    @pytest.mark.case(65)
    def test_a_key_that_comes_again_with_other_hours_books_nothing_and_reads_back_different(
        self, company: Company
    ) -> None:
        (posting,) = time_postings(1)
        [first] = company.push(posting)
        other = replace(posting, hours=Decimal(2))
        [second] = company.push(other)
        assert isinstance(first, Receipt)
        assert isinstance(second, Receipt)
        assert (first.number, company.entries()) == (second.number, {posting.key: 1})
        held = company.connector.find([posting.key])[posting.key]
        assert postings.differences(other, held) == {"hours": ["2", "1"]}

    @pytest.mark.case(67)
    def test_a_token_that_ends_in_the_middle_is_had_anew(self, company: Company) -> None:
        company.push(time_posting())
        company.configure(forget_tokens=True)
        (posting,) = time_postings(1)
        assert isinstance(company.push(posting)[0], Receipt)
        assert company.entries()[posting.key] == 1

    @pytest.mark.case(72)
    def test_no_call_has_more_members_than_a_batch_may(self, company: Company) -> None:
        company.having(batch_size=500)
        size = company.connector.capabilities.batch_size
        assert size == 100
        assert [type(outcome) for outcome in company.push(*time_postings(size))] == [Receipt] * size

    def test_an_expense_is_a_line_on_its_account_and_a_reversal_one_with_the_sign_turned(
        self, company: Company
    ) -> None:
        expense = expense_posting()
        [receipt] = company.push(expense)
        assert isinstance(receipt, Receipt)
        line = company.connector.find([expense.key])[expense.key]
        assert (line.amount, line.currency, line.project, line.kind) == (Decimal("84.5"), "EUR", "J10", expense.kind)
        back = expense_posting(amount=Decimal("-84.50"), reverses=receipt.number)
        company.push(back)
        assert company.connector.find([back.key])[back.key].amount == Decimal("-84.5")
        assert company.connector.find([back.key])[back.key].memo == f"Reversal of {receipt.number}. Train"

    def test_the_type_of_an_expense_is_written_as_a_choice_is_on_the_wire_or_as_the_connection_says(
        self, company: Company
    ) -> None:
        assert isinstance(company.push(expense_posting())[0], Receipt)
        [entry] = company.connector.http.request("GET", ENTRIES).body["value"]
        assert entry["type"] == "G_x002F_L_x0020_Account"
        assert company.inspect()["entries"][0]["type"] == "G/L Account"
        company.having(expense_type="G/L Account")
        [refused] = company.push(expense_posting())
        assert isinstance(refused, Rejected)
        assert "G/L Account" in refused.detail

    def test_what_is_booked_reads_back_with_every_figure(self, company: Company) -> None:
        posting = time_posting(currency="CHF", hours=Decimal("7.3333"))
        company.push(posting)
        line = company.connector.find([posting.key])[posting.key]
        assert (line.hours, line.rate, line.currency, line.billable) == (Decimal("7.3333"), Decimal(145), "CHF", True)
        assert (line.task, line.memo, line.resource) == ("J10/100", "Rollout workshop", "AH")
        free = time_posting(rate=None, billable=False)
        company.push(free)
        assert company.connector.find([free.key])[free.key].rate is None

    @pytest.mark.case(40)
    def test_hours_of_somebody_who_counts_in_days_are_booked_as_hours_with_their_money(self, company: Company) -> None:
        company.seed(resources=[DAYS], workTypes=[{"id": guid(95), "code": "SENIOR", "unitOfMeasureCode": "HOUR"}])
        postings_ = [time_posting(hours=Decimal(8)), time_posting(hours=Decimal(-8), item="SENIOR", reverses="1000")]
        for posting in postings_:
            assert isinstance(company.push(posting)[0], Receipt)
            line = company.connector.find([posting.key])[posting.key]
            assert (postings.differences(posting, line), line.is_booked) == ({}, True)
        booked = [
            (row["unitOfMeasureCode"], row["quantityBase"], row["totalPrice"]) for row in company.inspect()["entries"]
        ]
        assert booked == [("HOUR", 1.0, 1160.0), ("HOUR", -1.0, -1160.0)]

    @pytest.mark.case(40)
    @pytest.mark.parametrize(
        ("resource", "work_type"),
        [({**DAYS, "units": {}}, {}), (DAYS, {"unitOfMeasureCode": "DAY"}), (DAYS, {"code": "OTHER"})],
    )
    def test_a_person_or_a_work_type_that_knows_no_hours_is_a_refusal_that_says_so(
        self, company: Company, resource: dict[str, Any], work_type: dict[str, Any]
    ) -> None:
        company.seed(resources=[resource], workTypes=[{"id": guid(95), "code": "SENIOR", **work_type}])
        [outcome] = company.push(time_posting(item="SENIOR"))
        if work_type.get("code"):
            assert isinstance(outcome, Receipt), "a work type without a unit leaves it to the line"
            return
        assert isinstance(outcome, Rejected)
        assert (outcome.code, company.entries()) == ("unit-unknown", {})

    @pytest.mark.case(40)
    def test_an_entry_in_days_is_never_read_as_hours_and_counts_in_hours_where_that_is_told(
        self, company: Company
    ) -> None:
        posting = time_posting(hours=Decimal(8))
        company.push(posting)
        [entry] = company.inspect()["entries"]
        company.seed(projectLedgerEntries=[{**entry, "id": str(entry["entryNumber"]), "unitOfMeasureCode": "DAY"}])
        line = company.connector.find([posting.key])[posting.key]
        assert (line.hours, line.rate, line.is_booked) == (None, None, False)
        assert line.waits == "It counts in DAY and not in HOUR, so nobody knows how many hours that is."
        company.having(other_units={"day": "8"})
        told = company.connector.find([posting.key])[posting.key]
        assert postings.differences(posting, told) == {"hours": ["8", "64"], "rate": ["145", "18.125"]}
        company.having(other_units={"DAY": "none"})
        with pytest.raises(Malformed, match="other_units"):
            company.connector.find([posting.key])

    def test_a_page_that_knows_no_unit_is_a_changed_schema_and_books_nothing(self, company: Company) -> None:
        company.having(fields={"unit": "unitCode"})
        [outcome] = company.push(time_posting())
        assert isinstance(outcome, Rejected)
        assert (outcome.code, company.entries()) == ("schema-changed", {})

    @pytest.mark.parametrize(
        ("posting", "says"),
        [
            (time_posting(memo="x" * 101), "takes 100"),
            (time_posting(hours=None), "no hours"),
            (expense_posting(amount=None), "no amount"),
            (time_posting(key="not-a-key"), "none of ours"),
        ],
    )
    def test_what_cannot_be_said_is_refused_before_anything_is_sent(
        self, company: Company, posting: Posting, says: str
    ) -> None:
        with recording() as exchanges:
            [outcome] = company.push(posting)
        assert isinstance(outcome, Rejected)
        assert says in outcome.detail
        assert exchanges == []

    @pytest.mark.case(111)
    @pytest.mark.parametrize("time_by", ["project journal", "time sheets"])
    def test_what_is_for_another_company_is_refused_before_anything_is_sent(
        self, company: Company, time_by: str
    ) -> None:
        company.having(time_by=time_by)
        with recording() as exchanges:
            [outcome] = company.push(time_posting(entity=guid(999)))
        assert isinstance(outcome, Rejected)
        assert (outcome.code, exchanges) == ("company-wrong", [])
        assert isinstance(company.push(time_posting(entity=COMPANY.upper()))[0], Receipt)

    def test_an_environment_may_name_the_fields_of_its_page_otherwise(self, company: Company) -> None:
        company.having(fields={"project": "jobNo"})
        body = company.connector.body(time_posting())
        assert body["jobNo"] == "J10"
        assert "projectNumber" not in body


def active_of(found: CanonicalRecord) -> bool:
    assert isinstance(found, MasterRecord)
    return found.is_active


class TestMasterData:
    """What API v2.0 states, and nothing that it does not."""

    def test_periods_end_where_the_next_one_starts(self, company: Company) -> None:
        found = company.read("periods")
        july = found["2026-07-01"]
        assert isinstance(july, MasterRecord)
        assert dict(july.attributes) == {"starts_on": date(2026, 7, 1), "ends_on": date(2026, 7, 31), "closed": False}
        june = found["2026-06-01"]
        assert isinstance(june, MasterRecord)
        assert june.attributes["closed"] is True
        before = {r.external_id: r.revision for page in company.pages("periods") for r in page.records}
        company.seed(accountingPeriods=[{"id": guid(70), "startingDate": "2027-01-01", "name": "", "closed": False}])
        after = {r.external_id: r.revision for page in company.pages("periods") for r in page.records}
        assert after["2026-12-01"] > before["2026-12-01"]

    def test_a_blocked_customer_a_person_who_left_and_a_heading_are_not_active(self, company: Company) -> None:
        for stream, active, inactive in (
            ("customers", "10000", "20000"), ("employees", "AH", "BO"), ("tasks", "J10/100", "J10/199"),
        ):  # fmt: skip
            found = company.read(stream)
            assert [active_of(found[key]) for key in (active, inactive)] == [True, False], stream

    def test_nothing_private_of_a_person_leaves_the_vendor(self, company: Company) -> None:
        records = [record for page in company.pages("employees") for record in page.records]
        assert "PRIVATE" not in json.dumps([record.payload for record in records])
        assert "birthDate" not in json.dumps([record.payload for record in records])

    def test_cost_centres_are_the_values_of_the_one_dimension_that_is_named(self, company: Company) -> None:
        assert set(company.read("cost_centres")) == {"SALES"}
        company.having(cost_centre_dimension="NOWHERE")
        assert company.read("cost_centres") == {}

    def test_a_customer_is_known_by_number_and_found_by_id(self, company: Company) -> None:
        [by_id] = company.connector.fetch(Hint(stream="customers", external_id=f"id:{guid(1)}"))
        [by_number] = company.connector.fetch(Hint(stream="customers", external_id="10000"))
        assert by_id.external_id == by_number.external_id == "10000"
        assert list(company.connector.fetch(Hint(stream="customers", external_id=f"id:{guid(404)}"))) == []


class TestInvoices:
    """Sales invoices, what is left of them, and credit memos."""

    def test_an_open_invoice_comes_with_its_lines(self, company: Company) -> None:
        found = company.bill(1)
        assert found is not None
        assert (found.status, found.number, found.currency) == (BillStatus.OPEN, "PS-INV100001", "EUR")
        assert (found.net, found.tax, found.total, found.balance) == (1000, 190, 1190, 1190)
        [line] = found.lines
        assert (line.key, line.quantity, line.net, line.tax_rate) == ("10000", 10, 1000, 19)

    def test_a_draft_states_no_balance(self, company: Company) -> None:
        found = company.bill(2)
        assert found is not None
        assert (found.status, found.balance) == (BillStatus.DRAFT, None)

    @pytest.mark.parametrize("moves_stamp", [True, False])
    def test_a_part_payment_and_the_rest_are_seen_even_when_the_invoice_keeps_its_stamp(
        self, company: Company, moves_stamp: bool
    ) -> None:
        assert company.bill(1) is not None
        company.act("pay", invoice=INVOICE.format(1), amount=500, moves_stamp=moves_stamp)
        part = company.bill(1)
        assert part is not None
        assert (part.status, part.balance) == (BillStatus.PART_PAID, 690)
        company.act("pay", invoice=INVOICE.format(1), amount=690, moves_stamp=moves_stamp)
        paid = company.bill(1)
        assert paid is not None
        assert (paid.status, paid.balance) == (BillStatus.PAID, 0)
        assert paid.revision > part.revision

    @pytest.mark.parametrize("is_resumed", [True, False])
    @pytest.mark.parametrize(("amount", "status"), [(500, BillStatus.PART_PAID), (1190, BillStatus.PAID)])
    def test_a_payment_in_the_middle_of_a_walk_is_seen_although_it_moves_no_stamp(
        self, company: Company, *, amount: int, status: BillStatus, is_resumed: bool
    ) -> None:
        company.having(page_size=1)
        company.seed(salesInvoices=[invoice(3), invoice(4)])
        walk = company.connector.pull("sales_invoices", None)
        while True:
            page = next(walk)
            [first] = page.records
            if first.external_id == INVOICE.format(3):
                break
        assert not page.last
        company.act("pay", invoice=INVOICE.format(3), amount=amount, moves_stamp=False)
        rest = company.connector.pull("sales_invoices", page.cursor) if is_resumed else walk
        found = [one for each in rest for one in each.records if one.external_id == INVOICE.format(3)]
        [bill] = company.connector.map(max(found, key=lambda one: one.revision))
        assert isinstance(bill, BillRecord)
        assert (bill.status, bill.balance) == (status, 1190 - amount)
        assert bill.revision > first.revision

    def test_a_payment_that_is_taken_back_is_a_later_revision(self, company: Company) -> None:
        company.bill(1)
        company.act("pay", invoice=INVOICE.format(1), amount=500, moves_stamp=False)
        part = company.bill(1)
        company.act("pay", invoice=INVOICE.format(1), amount=-500, moves_stamp=False)
        again = company.bill(1)
        assert part is not None
        assert again is not None
        assert again.balance == 1190

    def test_an_open_invoice_that_did_not_change_is_not_filed_again(self, company: Company) -> None:
        first = {r.revision for page in company.pages("sales_invoices") for r in page.records}
        second = {r.revision for page in company.pages("sales_invoices") for r in page.records}
        assert second <= first

    @pytest.mark.parametrize("status", ["In Review", " "])
    def test_a_draft_whose_status_is_not_asked_for_is_filed_when_it_changes_and_only_then(
        self, company: Company, status: str
    ) -> None:
        def filed() -> list[str]:
            pages = company.pages("sales_invoices")
            return [one.revision for page in pages for one in page.records if one.external_id == INVOICE.format(6)]

        company.seed(salesInvoices=[invoice(6, status=status)])
        [first] = filed()
        company.seed(customers=[{**SEED["customers"][0], "lastModifiedDateTime": "2026-08-01T09:00:00.120Z"}])
        assert set(filed()) | set(filed()) <= {first}, "the overlap reads it again, the look does not"
        company.seed(salesInvoices=[invoice(6, status=status, dueDate="2026-10-15")])
        assert max(filed()) > first

    @pytest.mark.parametrize("status", ["In_x0020_Review", "_x0020_", "In Review", " "])
    def test_a_status_is_read_however_its_blanks_are_written(self, company: Company, status: str) -> None:
        found = bill_of(company, status)
        assert (found.status, found.balance) == (BillStatus.DRAFT, None)

    def test_drafts_in_review_are_looked_at_many_in_a_call(self, company: Company) -> None:
        company.seed(
            salesInvoices=[{**invoice(6, status="In Review"), "id": INVOICE.format(n)} for n in range(10, 100)]
        )
        assert len(company.read("sales_invoices")) > 90
        answered = [call for call in company.calls("salesInvoices") if call["status"] == 200]  # a token may have ended
        assert len(answered) <= 5, "a page, the look, and forty in a call"
        company.seed(salesInvoices=[{**invoice(6, status="In Review", dueDate="2026-10-15"), "id": INVOICE.format(50)}])
        bills = [one for one in company.read("sales_invoices").values() if isinstance(one, BillRecord)]
        assert [one.external_id for one in bills if one.due_on == date(2026, 10, 15)] == [INVOICE.format(50)]

    def test_a_credit_memo_names_the_invoice_that_it_settles(self, company: Company) -> None:
        [found] = company.read("sales_credit_memos").values()
        assert isinstance(found, BillRecord)
        assert (found.status, found.credits, found.total) == (BillStatus.PAID, INVOICE.format(1), 119)
        [applied] = found.applications
        assert (applied.bill, applied.amount, applied.by) == (INVOICE.format(1), 119, SettledBy.CREDIT)

    def test_a_credit_memo_that_is_applied_later_is_seen_though_it_keeps_its_stamp(self, company: Company) -> None:
        [memo] = SEED["salesCreditMemos"]
        company.seed(salesCreditMemos=[{**memo, "status": "Open"}])
        [waits] = company.read("sales_credit_memos").values()
        company.seed(salesCreditMemos=[memo])
        [applied] = company.read("sales_credit_memos").values()
        assert isinstance(waits, BillRecord)
        assert isinstance(applied, BillRecord)
        assert (waits.status, waits.applications, applied.status) == (BillStatus.OPEN, (), BillStatus.PAID)
        assert [one.amount for one in applied.applications] == [119]
        assert applied.revision > waits.revision

    def test_a_draft_that_was_deleted_is_told_once_and_nothing_else_is(self, company: Company) -> None:
        draft = company.bill(2)
        assert draft is not None
        company.connector.http.request("DELETE", f"{SALES_INVOICES}({INVOICE.format(2)})")
        gone = company.bill(2)
        assert gone is not None
        assert (gone.kind, gone.status) == (BillKind.INVOICE, BillStatus.DELETED)
        assert gone.revision > draft.revision
        bills = [bill for bill in company.read("sales_invoices").values() if isinstance(bill, BillRecord)]
        assert BillStatus.DELETED not in {bill.status for bill in bills}
        assert company.bill(2) is None

    def test_a_draft_that_posting_gave_a_new_id_is_void_and_the_new_one_stands_in_its_place(
        self, company: Company
    ) -> None:
        company.configure(posting_gives_new_id=True)
        key = uuid4().hex.upper()
        company.seed(salesInvoices=[invoice(5, status="Draft", externalDocumentNumber=key)])
        assert company.bill(5) is not None
        company.connector.http.request("POST", f"{SALES_INVOICES}({INVOICE.format(5)})/Microsoft.NAV.post")
        read = company.read("sales_invoices")
        before = read[INVOICE.format(5)]
        assert isinstance(before, BillRecord)
        assert before.status == BillStatus.VOIDED
        bills = [bill for bill in read.values() if isinstance(bill, BillRecord)]
        assert [bill.status for bill in bills if bill.memo == key] == [BillStatus.OPEN]

    def test_a_deleted_draft_is_not_taken_for_posted_because_another_bill_has_its_number(
        self, company: Company
    ) -> None:
        same = [invoice(n, status="Draft", externalDocumentNumber="PO-7") for n in (5, 6)]
        company.seed(salesInvoices=same)
        company.read("sales_invoices")
        company.connector.http.request("DELETE", f"{SALES_INVOICES}({INVOICE.format(5)})")
        gone = company.bill(5)
        assert gone is not None
        assert gone.status == BillStatus.DELETED, "the number is the customer's, and no key of ours"


class TestWebhooks:
    """Notifications are hints; subscriptions are renewed."""

    def notification(self, resource: str = "", state: Any = "state-canary-1", change: str = "updated") -> bytes:
        where = resource or f"https://host/api/v2.0/companies({COMPANY})/customers({guid(1)})"
        item = {
            "subscriptionId": "s", "clientState": state, "resource": where, "changeType": change,
            "lastModifiedDateTime": "2026-08-01T08:00:02.120Z",
        }  # fmt: skip
        return json.dumps({"value": [item]}).encode()

    def test_a_notification_names_what_moved(self, company: Company) -> None:
        delivery = company.connector.receive({}, self.notification())
        assert delivery.hints == [Hint(stream="customers", external_id=f"id:{guid(1)}")]
        assert delivery.delivery_id == company.connector.receive({}, self.notification()).delivery_id

    def test_many_changes_are_one_hint_that_reads_since_their_moment(self, company: Company) -> None:
        resource = f"/api/v2.0/companies({COMPANY})/customers"
        [hint] = company.connector.receive({}, self.notification(resource, change="collection")).hints
        assert hint.external_id.startswith("since:2026-08-01T07:45:02")
        assert {record.external_id for record in company.connector.fetch(hint)} == {"10000", "20000"}

    @pytest.mark.parametrize(
        "resource", [f"/companies({guid(9)})/customers({guid(1)})", f"/companies({COMPANY})/items"]
    )
    def test_another_company_or_set_means_nothing(self, company: Company, resource: str) -> None:
        assert company.connector.receive({}, self.notification(resource)).hints == []

    @pytest.mark.case(119)
    @pytest.mark.parametrize("state", ["guessed", "", None])
    def test_a_notification_with_another_state_is_refused(self, company: Company, state: Any) -> None:
        with pytest.raises(Unauthorised):
            company.connector.receive({}, self.notification(state=state))

    @pytest.mark.case(123)
    def test_while_the_state_is_changed_both_hold(self, company: Company) -> None:
        account = company.bench.account
        secrets = {**account.secrets, "client_state": "new", "client_state_previous": "state-canary-1"}
        company.bench = replace(company.bench, account=replace(account, secrets=secrets))
        for state in ("new", "state-canary-1"):
            assert company.connector.receive({}, self.notification(state=state)).hints

    @pytest.mark.parametrize("body", [b"[]", b"{}", b'{"value": []}', b'{"value": [1]}', b"<html>"])
    def test_what_is_no_notification_cannot_be_read(self, company: Company, body: bytes) -> None:
        with pytest.raises(Malformed):
            company.connector.receive({}, body)

    def test_the_token_is_read_back(self, company: Company) -> None:
        assert isinstance(company.connector, SubscribedSource)
        assert company.connector.handshake({"validationToken": "abc"}) == "abc"


# Every error body of the card, and the sentence it stands for.
ERRORS: list[tuple[int, str, str, type[ConnectorError], str]] = [
    (400, "BadRequest", "Unable to convert value to Date", Rejected, "rejected"),
    (400, "BadRequest", "The property 'x' does not exist on type 'line'.", Rejected, "schema-changed"),
    (400, "BadRequest_InvalidToken", "Could not validate the client concurrency token", Rejected, "schema-changed"),
    (400, "BadRequest_RequiredParamNotProvided", "A parameter is required", Rejected, "schema-changed"),
    (404, "BadRequest_ResourceNotFound", "No HTTP resource was found", Unauthorised, ""),
    (404, "Internal_RecordNotFound", "The record was not found.", Rejected, "rejected"),
    (404, "Internal_DataNotFoundFilter", "There is no Customer within the filter.", Rejected, "rejected"),
    (405, "BadRequest_MethodNotAllowed", "The verb is not allowed", Unauthorised, ""),
    (400, "BadRequest_MethodNotImplemented", "Not implemented", Unauthorised, ""),
    (409, "Request_EntityChanged", "Another user has already changed the record.", Rejected, "record-changed"),
    (412, "Request_EntityChanged", "Another user has already changed the record.", Rejected, "record-changed"),
    (409, "Internal_EntityWithSameKeyExists", "The record already exists.", Rejected, "duplicate"),
    (400, "Internal_EntityWithSameKeyExists", "The record already exists. Identification fields", Rejected, "duplicate"),
    (400, "Internal_InvalidTableRelation", "The field Project No. of table Project Journal Line contains a value (J9) that "
     "cannot be found in the related table (Project).", Rejected, "project-inactive"),
    (400, "Internal_InvalidTableRelation", "The field Job Task No. of table Job Journal Line contains a value (9) that cannot "
     "be found in the related table (Job Task).", Rejected, "task-invalid"),
    (400, "Internal_InvalidTableRelation", "The field No. of table Project Journal Line contains a value (XX) that cannot be "
     "found in the related table (Resource).", Rejected, "resource-inactive"),
    (400, "Internal_InvalidTableRelation", "The field Shortcut Dimension 1 Code of table Project Journal Line contains a value "
     "(X) that cannot be found", Rejected, "dimension-missing"),
    (400, "Internal_InvalidTableRelation", "The field Currency Code of table X contains a value (XXX)", Rejected,
     "amount-invalid"),
    (404, "Internal_CompanyNotFound", "The company does not exist", Unauthorised, ""),
    (400, "Internal_TenantUnavailable", "The tenant 'contoso' is not accessible", Unavailable, ""),
    (400, "Internal_ServerError", "An error occurred while the SQL connection was used", InDoubt, ""),
    (400, "Application_DialogException", "Posting Date is not within your range of allowed posting dates", Rejected,
     "period-closed"),
    (400, "Application_DialogException", "Project J20 is blocked with type All.", Rejected, "project-inactive"),
    (400, "Application_DialogException", "Select a Dimension Value Code for the Dimension Code AREA", Rejected,
     "dimension-missing"),
    (400, "Application_FieldValidationException", "Something of our own says no", Rejected, "rejected"),
    (400, "Application_StringExceededLength", "The length of the string is 157, but it must be less than or equal to 100",
     Rejected, "text-invalid"),
    (400, "BadRequest", "You must run the data upgrade for this API page. schedule upgrade for tonight", Unavailable, ""),
    (400, "Unknown", "The operation was deadlocked with another user", Unavailable, ""),
    (401, "Authentication_InvalidCredentials", "The server has rejected the client credentials.", Unauthorised, ""),
    (403, "Authorization_RequestDenied", "Insufficient privileges", Unauthorised, ""),
    (408, "Unknown", "The operation was canceled", Unavailable, ""),
    (429, "Unknown", "Too many requests", Unavailable, ""),
    (502, "Unknown", "Bad gateway", InDoubt, ""),
    (503, "Internal_TenantUnavailable", "The tenant is not accessible", Unavailable, ""),
    (504, "Unknown", "Gateway time-out", InDoubt, ""),
]  # fmt: skip


@pytest.mark.case(68, 73)
@pytest.mark.parametrize(
    ("status", "code", "message", "kind", "ours"),
    ERRORS,
    ids=[f"{s}-{c}-{o or k.__name__}" for s, c, _, k, o in ERRORS],
)
def test_every_error_body_of_the_card_is_named_by_what_we_do_next(
    status: int, code: str, message: str, kind: type[ConnectorError], ours: str
) -> None:
    body = {"error": {"code": code, "message": f"{message}  CorrelationId:  2c074c12-…."}}
    answer = Response(status=status, headers={"content-type": "application/json"}, content=b"{}", body=body)
    judged = outcomes.judge(answer, writes=True, unreadable="", excerpt=message)
    assert judged is not None
    judged.body = body
    named = refusals.narrow(judged)
    assert type(named) is kind
    if isinstance(named, Rejected):
        assert (named.code, named.vendor_code) == (ours, code)
        assert "CorrelationId" in named.detail


def test_an_environments_own_words_go_first(company: Company) -> None:
    company.having(refusals=[{"match": "blocked with type", "means": "record-locked"}])
    company.act("block", set="projects", number="J20")
    [outcome] = company.push(time_posting(project="J20"))
    assert isinstance(outcome, Rejected)
    assert outcome.code == "record-locked"


class TestConnection:
    """The connection test, and what the environment says to everything."""

    def test_the_sentence_names_company_and_journal(self, company: Company) -> None:
        assert company.connector.check() == (
            "Business Central answers for Cronus Deutschland GmbH, with the project journal TIEOUT."
        )

    def test_another_company_is_told_with_those_that_are_seen(self, company: Company) -> None:
        company.bench = replace(company.bench, account=replace(company.bench.account, realm="elsewhere"))
        with pytest.raises(Unauthorised, match=rf"no company elsewhere.*CRONUS DE \({COMPANY}\)"):
            company.connector.check()

    @pytest.mark.case(132)
    def test_a_journal_or_a_page_that_is_missing_is_told(self, company: Company) -> None:
        company.having(journal="NOWHERE")
        with pytest.raises(Rejected, match="no project journal NOWHERE"):
            company.connector.check()
        company.configure(custom_page=False)
        with pytest.raises(Unauthorised, match="No HTTP resource"):
            company.connector.check()

    def test_a_page_that_waits_for_a_data_upgrade_is_waited_for(self, company: Company) -> None:
        company.configure(upgrade="Schedule upgrade for tonight.")
        with pytest.raises(Unavailable, match="data upgrade"):
            company.pages("customers")
        (posting,) = time_postings(1)
        assert isinstance(company.push(posting)[0], Unavailable)

    @pytest.mark.case(66)
    def test_over_the_speed_limit_is_waited_out_and_booked_once(self, company: Company) -> None:
        (posting,) = time_postings(1)
        company.configure(rate=[2, 300])
        assert isinstance(company.push(posting)[0], Unavailable)
        company.configure(rate=[6000, 300])
        assert isinstance(company.push(posting)[0], Receipt)
        assert company.entries() == {posting.key: 1}

    def test_a_missing_secret_is_told_by_name(self, company: Company) -> None:
        company.bench = replace(company.bench, account=replace(company.bench.account, code="bare", secrets={}))
        with pytest.raises(Unauthorised, match="no client_secret for Entra"):
            company.connector.check()

    def test_a_token_is_asked_for_at_entra_and_nowhere_else(self, company: Company) -> None:
        account = replace(company.bench.account, code="real")
        account = replace(account, settings={**account.settings, "login_url": "https://login.example.com"})
        http = Http(account, allow_loopback=True)
        with pytest.raises(Unauthorised, match=r"login\.example\.com"):
            BusinessCentralConnector(account, http).check()

    def test_small_pages_are_followed_to_the_end(self, company: Company) -> None:
        company.having(page_size=1)
        pages = company.pages("customers")
        assert [[r.external_id for r in page.records] for page in pages] == [["10000"], ["20000"]]
        assert [page.total for page in pages] == [2, 2]
