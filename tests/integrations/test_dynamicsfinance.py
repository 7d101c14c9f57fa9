"""Dynamics 365 Finance over real HTTP: journals that people post, sets that stamp nothing, bills put together, words for no."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from integrations import payloads, postings
from integrations.connectors.dynamicsfinance import DynamicsFinanceConnector, refusals
from integrations.connectors.dynamicsfinance.journals import Journals, Open
from integrations.connectors.dynamicsfinance.memory import Memory
from integrations.errors import ConnectorError, InDoubt, Malformed, Rejected, Unauthorised, Unavailable
from integrations.http import Http, Response, outcomes, pacing, recording
from integrations.protocol import Hint, Page
from portal.records import (
    BillKind,
    BillRecord,
    BillStatus,
    CanonicalRecord,
    MasterRecord,
    PaymentRecord,
    Posting,
    Receipt,
)
from tests.integrations import finance_account
from tests.integrations.contract import WRITE_FAULTS, Bench, _named
from tests.integrations.finance_account import CREDIT, DRAFT, POSTED, expense_posting, time_posting, time_postings


class Company:
    """The company of the sandbox, and a connector on it with the cursors that runs would store."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.cursors: dict[str, str | None] = {}

    @property
    def connector(self) -> DynamicsFinanceConnector:
        connector: DynamicsFinanceConnector = self.bench.build()
        return connector

    def having(self, **settings: Any) -> None:
        account = self.bench.account
        self.bench = replace(self.bench, account=replace(account, settings={**account.settings, **settings}))

    def seed(self, **data: Any) -> None:
        self.bench.control("dynamicsfinance/seed", data)

    def act(self, do: str, **how: Any) -> None:
        self.seed(actions=[{"do": do, **how}])

    def configure(self, **settings: Any) -> None:
        self.bench.control("dynamicsfinance/configure", settings)

    def inspect(self) -> dict[str, Any]:
        found: dict[str, Any] = self.bench.control("dynamicsfinance/inspect")
        return found

    def calls(self, part: str, method: str = "") -> list[dict[str, Any]]:
        found = self.bench.control("dynamicsfinance/calls")
        return [call for call in found if part in call["path"] and method in ("", call["method"])]

    def pages(self, stream: str) -> list[Page]:
        pages = list(self.connector.pull(stream, self.cursors.get(stream)))
        self.cursors[stream] = pages[-1].cursor
        return pages

    def revisions(self, stream: str) -> dict[str, str]:
        return {record.external_id: record.revision for page in self.pages(stream) for record in page.records}

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

    def bill(self, identifier: int) -> BillRecord:
        found = self.read("invoices")[str(identifier)]
        assert isinstance(found, BillRecord)
        return found

    def push(self, *sent: Posting) -> list[Receipt | ConnectorError]:
        try:
            return list(self.connector.push(sent))
        except ConnectorError as error:
            return [error for _ in sent]

    def held(self) -> dict[str, int]:
        found: dict[str, int] = self.inspect()["by_key"]
        return found

    def journals(self) -> dict[str, tuple[str, int]]:
        """Every journal with its description and the number of its lines."""
        return {name: (one["description"], one["lines"]) for name, one in self.inspect()["journals"].items()}


@pytest.fixture
def company(dynamicsfinance: Bench) -> Company:
    return Company(dynamicsfinance)


class TestPosting:
    """What is written is written once, waits for people, and is posted when they post it."""

    def test_many_lines_are_one_look_one_journal_and_one_batch(self, company: Company) -> None:
        outcomes = company.push(*time_postings(20))
        assert [type(outcome) for outcome in outcomes] == [Receipt] * 20
        assert len(company.calls("$batch")) == 1
        assert len(company.calls("JournalTables", "POST")) == 1
        [(description, lines)] = company.journals().values()
        assert (description, lines) == ("Tieout 2026-09", 20)
        numbers = [outcome.number for outcome in outcomes if isinstance(outcome, Receipt)]
        assert numbers == [f"TIE-000001/{place}" for place in range(1, 21)]

    def test_each_month_has_a_journal_so_that_a_closed_one_stops_no_other(self, company: Company) -> None:
        august, september = time_posting(work_date=date(2026, 8, 31)), time_posting()
        company.push(august, september)
        assert sorted(company.journals().values()) == [("Tieout 2026-08", 1), ("Tieout 2026-09", 1)]
        company.configure(closed=["2026-08"])
        company.act("post")
        found = company.connector.find([august.key, september.key])
        assert (found[august.key].is_booked, found[september.key].is_booked) == (False, True)

    def test_a_journal_that_waits_takes_further_lines_and_a_posted_one_takes_none(self, company: Company) -> None:
        first, second, third = time_postings(3)
        company.push(first)
        company.push(second)
        assert list(company.journals().values()) == [("Tieout 2026-09", 2)]
        company.act("post")
        company.push(third)
        assert list(company.journals().values()) == [("Tieout 2026-09", 2), ("Tieout 2026-09", 1)]

    @pytest.mark.case(72)
    def test_a_journal_that_is_full_is_followed_by_the_next_and_no_line_is_lost(self, company: Company) -> None:
        company.having(line_limit=4)
        sent = time_postings(10)
        outcomes = company.push(*sent)
        assert [type(outcome) for outcome in outcomes] == [Receipt] * 10
        assert [lines for _, lines in company.journals().values()] == [4, 4, 2]
        assert company.held() == {posting.key: 1 for posting in sent}
        total = sum(line.hours or 0 for line in company.connector.find([p.key for p in sent]).values())
        assert total == sum(posting.hours or 0 for posting in sent)

    @pytest.mark.case(62)
    def test_a_line_that_is_refused_stops_nobody_else(self, company: Company) -> None:
        good = time_postings(3)
        outcomes = company.push(good[0], time_posting(project="000099"), time_posting(resource="009999"), *good[1:])
        assert [type(outcome) for outcome in outcomes] == [Receipt, Rejected, Rejected, Receipt, Receipt]
        codes = [outcome.code for outcome in outcomes if isinstance(outcome, Rejected)]
        assert codes == ["project-inactive", "resource-inactive"]
        assert company.held() == {posting.key: 1 for posting in good}

    def test_a_place_that_was_taken_meanwhile_is_tried_again_under_the_same_key(
        self, company: Company, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        mine, other = time_postings(2)
        company.push(other)
        monkeypatch.setattr(Journals, "_open", lambda *_: Open("TIE-000001", 1, 5))  # as it was seen before
        [outcome] = company.push(mine)
        assert isinstance(outcome, Unavailable)
        assert "taken meanwhile" in outcome.detail
        assert company.held() == {other.key: 1}

    def test_lines_for_a_journal_that_was_posted_meanwhile_go_into_the_next_one(
        self, company: Company, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first, *later = time_postings(3)
        company.push(first)
        company.act("post")
        with monkeypatch.context() as before:
            before.setattr(Journals, "_open", lambda *_: Open("TIE-000001", 2, 5))  # as it was seen before
            outcomes = company.push(*later)
        assert [type(outcome) for outcome in outcomes] == [Unavailable] * 2
        assert "posted meanwhile" in str(outcomes[0])
        receipts = company.push(*later)
        assert [one.number for one in receipts if isinstance(one, Receipt)] == ["TIE-000002/1", "TIE-000002/2"]

    def test_a_push_begins_no_journal_once_its_time_is_over(
        self, company: Company, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(pacing, "PUSH_SECONDS", 0.0)
        sent = [time_posting(work_date=date(2026, month, 7)) for month in (8, 9, 10)]
        outcomes = company.push(*sent)
        assert [type(outcome) for outcome in outcomes] == [Receipt, Unavailable, Unavailable]
        assert company.held() == {sent[0].key: 1}

    @pytest.mark.case(57)
    @pytest.mark.parametrize("kind", ["timeout_after", "reset_after", "garbage"])
    def test_a_batch_whose_answer_was_lost_is_in_doubt_and_found_by_its_keys(self, company: Company, kind: str) -> None:
        sent = [*time_postings(2), expense_posting()]
        company.connector.check()
        company.bench.fault({"method": "POST", "path": "$batch"}, kind=kind, seconds=1.2)
        outcomes = company.push(*sent)
        assert [type(outcome) for outcome in outcomes] == [InDoubt, InDoubt, Receipt]
        assert set(company.connector.find([p.key for p in sent])) == {p.key for p in sent}
        assert [type(outcome) for outcome in company.push(*sent)] == [Receipt] * 3
        assert company.held() == {posting.key: 1 for posting in sent}

    @pytest.mark.case(57, 66, 67)
    @pytest.mark.parametrize(("fault", "error", "books"), WRITE_FAULTS, ids=[_named(f) for f, *_ in WRITE_FAULTS])
    def test_an_expense_that_meets_a_fault_is_named_and_written_once(
        self, company: Company, fault: dict[str, Any], error: type[ConnectorError], books: bool
    ) -> None:
        expense = expense_posting()
        company.connector.check()
        company.bench.fault({"method": "POST", "path": "$batch"}, **fault)
        [outcome] = company.push(expense)
        assert isinstance(outcome, error)
        company.bench.clear()
        assert set(company.connector.find([expense.key])) == ({expense.key} if books else set())
        assert isinstance(company.push(expense)[0], Receipt)
        assert company.held() == {expense.key: 1}

    @pytest.mark.case(56, 66)
    def test_a_system_that_is_busy_in_the_middle_of_a_month_end_takes_everything_once(self, company: Company) -> None:
        sent = time_postings(60)
        company.connector.check()
        told = {"kind": "status", "status": 429, "retry_after": "2", "times": 1, "after": 1}
        company.bench.fault({"path": "$batch"}, **told)
        left, rounds = list(sent), 0
        while left:
            outcomes = company.push(*left[:20])
            waits = [one.retry_after for one in outcomes if isinstance(one, Unavailable)]
            assert set(waits) <= {2}
            left = [p for p, one in zip(left[:20], outcomes, strict=True) if not isinstance(one, Receipt)] + left[20:]
            rounds += 1
        assert rounds == 4
        assert company.held() == {posting.key: 1 for posting in sent}

    def test_a_journal_whose_making_was_not_answered_books_nothing_and_is_used_by_the_next(
        self, company: Company
    ) -> None:
        (posting,) = time_postings(1)
        company.connector.check()
        company.bench.fault({"method": "POST", "path": "JournalTables"}, kind="reset_after")
        assert isinstance(company.push(posting)[0], Unavailable)
        assert isinstance(company.push(posting)[0], Receipt)
        assert list(company.journals().values()) == [("Tieout 2026-09", 1)]

    @pytest.mark.case(65)
    def test_a_key_that_comes_again_with_other_hours_writes_nothing_and_reads_back_different(
        self, company: Company
    ) -> None:
        (posting,) = time_postings(1)
        [first] = company.push(posting)
        other = replace(posting, hours=Decimal(2))
        [second] = company.push(other)
        assert isinstance(first, Receipt)
        assert isinstance(second, Receipt)
        assert (first.number, company.held()) == (second.number, {posting.key: 1})
        assert postings.differences(other, company.connector.find([posting.key])[posting.key]) == {"hours": ["2", "1"]}

    @pytest.mark.case(66)
    def test_priority_throttling_says_how_long_and_nothing_is_written(self, company: Company) -> None:
        (posting,) = time_postings(1)
        company.connector.check()
        company.configure(busy="17")
        [outcome] = company.push(posting)
        assert isinstance(outcome, Unavailable)
        assert outcome.retry_after == 17
        company.configure(busy="")
        assert isinstance(company.push(posting)[0], Receipt)
        assert company.held() == {posting.key: 1}

    @pytest.mark.case(67)
    def test_a_token_that_ends_in_the_middle_is_had_anew(self, company: Company) -> None:
        company.push(time_posting())
        company.configure(forget_tokens=True)
        (posting,) = time_postings(1)
        assert isinstance(company.push(posting)[0], Receipt)
        assert company.held()[posting.key] == 1

    def test_an_expense_is_booked_once_it_has_a_voucher_and_says_why_it_has_none(self, company: Company) -> None:
        expense = expense_posting()
        company.configure(closed=["2026-09"])
        [receipt] = company.push(expense)
        assert isinstance(receipt, Receipt)
        waiting = company.connector.find([expense.key])[expense.key]
        assert (waiting.number, waiting.is_booked, waiting.waits) == (receipt.number, False, "")
        company.act("post")
        assert company.connector.find([expense.key])[expense.key].waits == "Fiscal period for 2026-09 is not open."
        company.configure(closed=[])
        company.act("post")
        line = company.connector.find([expense.key])[expense.key]
        assert (line.is_booked, line.waits, line.amount, line.currency) == (True, "", Decimal("84.5"), "USD")
        assert (line.project, line.resource, line.memo, line.kind) == ("000057", "000018", "Train", expense.kind)

    def test_a_reversal_has_the_sign_turned_and_names_what_it_takes_back(self, company: Company) -> None:
        hours, expense = time_posting(), expense_posting()
        taken = [outcome for outcome in company.push(hours, expense) if isinstance(outcome, Receipt)]
        back = time_posting(hours=Decimal("-7.5"), reverses=taken[0].number)
        refund = expense_posting(amount=Decimal("-84.50"), reverses=taken[1].number)
        company.push(back, refund)
        found = company.connector.find([back.key, refund.key])
        assert (found[back.key].hours, found[refund.key].amount) == (Decimal("-7.5"), Decimal("-84.5"))
        assert found[back.key].memo == f"Rev. {taken[0].number}", "the memo would not have fitted behind it"
        assert found[refund.key].memo == f"Rev. {taken[1].number} Train"

    def test_what_is_written_reads_back_with_every_figure(self, company: Company) -> None:
        posting = time_posting(currency="EUR", hours=Decimal("7.333333"))
        free = time_posting(rate=None, billable=False)
        company.push(posting, free)
        found = company.connector.find([posting.key, free.key])
        line = found[posting.key]
        assert (line.hours, line.rate, line.currency, line.billable) == (
            Decimal("7.333333"), Decimal(145), "EUR", True,
        )  # fmt: skip
        assert (line.memo, line.resource, line.project, line.entity) == (
            "Rollout workshop", "000018", "000057", "usmf",
        )  # fmt: skip
        assert (found[free.key].rate, found[free.key].billable) == (None, False)
        assert line.raw["ActivityNumber"] == "A100"

    def test_a_field_of_its_own_for_the_key_leaves_the_description_to_the_memo(self, company: Company) -> None:
        posting = time_posting(memo="A memo of more than twenty-seven characters")
        assert isinstance(company.push(posting)[0], Rejected)
        company.having(key_fields={"time": "TieoutKey"})
        assert company.connector.capabilities.memo_limit == 60
        body = company.connector.body(posting)
        assert (body["TieoutKey"], body["Description"]) == (posting.key, posting.memo)

    @pytest.mark.parametrize(
        ("posting", "says"),
        [
            (time_posting(memo="x" * 28), "takes 27"),
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

    def test_hours_without_a_category_are_refused_with_the_way_out(self, company: Company) -> None:
        company.having(category="")
        [outcome] = company.push(time_posting())
        assert isinstance(outcome, Rejected)
        assert "set category" in outcome.detail

    def test_a_cost_centre_is_written_in_the_form_of_the_customers_dimensions(self, company: Company) -> None:
        assert "DimensionDisplayValue" not in company.connector.body(time_posting())
        company.having(dimension_format="-{cost_centre}--")
        assert company.connector.body(time_posting())["DimensionDisplayValue"] == "-007--"


class TestStatement:
    """Everything that is booked, ours or not, and nothing twice."""

    def test_hours_that_others_booked_are_shown_beside_ours_and_ours_once(self, company: Company) -> None:
        posting, expense = time_posting(), expense_posting()
        company.push(posting, expense)
        company.act("post")
        foreign = {
            "dataAreaId": "usmf", "TransId": "PT-HAND", "ProjTransType": "Hour", "ProjTransDate": "2026-09-20T12:00:00Z",
            "ProjId": "000057", "ResourceId": "000018", "Qty": 3, "Voucher": "V1",
        }  # fmt: skip
        item = {**foreign, "TransId": "PT-ITEM", "ProjTransType": "Item"}
        company.seed(PSAActuals=[foreign, item, {**foreign, "TransId": "PT-DE", "dataAreaId": "demf"}])
        lines = list(company.connector.statement(date(2026, 9, 1), date(2026, 9, 30)))
        assert sorted((line.key, line.hours) for line in lines if line.kind == posting.kind) == sorted(
            [(posting.key, Decimal("7.5")), ("", Decimal(3))]
        )
        assert [line.key for line in lines if line.kind == expense.kind] == [expense.key]
        company.having(read_actuals=False)
        assert {line.key for line in company.connector.statement(date(2026, 9, 1), date(2026, 9, 30))} == {
            posting.key, expense.key,
        }  # fmt: skip


class TestMasterData:
    """What the entities state, of this company alone, and nothing that they do not."""

    def test_a_customer_of_another_company_is_not_ours(self, company: Company) -> None:
        found = company.read("customers")
        assert set(found) == {"US-001", "US-002"}
        retail, old = company.master("customers", "US-001"), company.master("customers", "US-002")
        assert (retail.name, retail.is_active, retail.attributes["tax_number"]) == ("Contoso Retail", True, "US123")
        assert (old.name, old.is_active) == ("Old Person", False)
        assert all("cross-company=true" in call["query"] for call in company.calls("/data/CustomersV3"))

    def test_a_project_tells_customer_stage_manager_and_days(self, company: Company) -> None:
        found = company.master("projects", "000057")
        assert dict(found.attributes) == {
            "customer": "US-001", "status": "open", "starts_on": date(2026, 1, 1), "manager": "000018",
            "requires_task": False,
        }  # fmt: skip
        assert company.master("projects", "000058").attributes["status"] == "closed"

    def test_a_stage_of_the_customers_own_is_told_by_a_setting_and_never_guessed(self, company: Company) -> None:
        company.act("change", set="ProjectsV2", key="usmf/000057", fields={"ProjectStage": "Userdefined1"})
        with pytest.raises(Malformed, match=r"Userdefined1.*project_stages"):
            company.read("projects")
        company.having(project_stages={"UserDefined1": "on_hold"})
        assert company.master("projects", "000057").attributes["status"] == "on_hold"

    def test_a_task_is_known_within_its_project(self, company: Company) -> None:
        found = company.master("tasks", "000057/A100")
        assert (found.code, found.name, found.attributes["project"]) == ("A100", "Design", "000057")

    def test_a_worker_who_left_is_not_active_and_nothing_private_leaves_the_vendor(self, company: Company) -> None:
        records = [record for page in company.pages("employees") for record in page.records]
        assert "PRIVATE" not in json.dumps([record.payload for record in records])
        company.cursors.clear()
        assert company.master("employees", "000018").attributes["hired_on"] == date(2015, 3, 1)
        assert company.master("employees", "000020").is_active is False
        customers = [record.payload for page in company.pages("customers") for record in page.records]
        assert "private@" not in json.dumps(customers)

    def test_cost_centres_are_those_of_one_dimension_and_of_this_company(self, company: Company) -> None:
        assert set(company.read("cost_centres")) == {"007"}
        assert "valid_from" not in company.master("cost_centres", "007").attributes

    def test_periods_are_those_of_one_calendar_and_say_nothing_about_being_closed(self, company: Company) -> None:
        assert dict(company.master("periods", "2026/Period 9").attributes) == {
            "starts_on": date(2026, 9, 1), "ends_on": date(2026, 9, 28),
        }  # fmt: skip
        company.having(calendar="Other")
        assert company.read("periods") == {}

    def test_what_did_not_change_keeps_its_revision_and_what_did_has_a_later_one(self, company: Company) -> None:
        first = company.revisions("customers")
        assert company.revisions("customers") == first
        cursor = company.cursors["customers"]
        company.revisions("customers")
        assert company.cursors["customers"] == cursor, "nothing new, so the cursor is the same"
        company.act("change", set="CustomersV3", key="usmf/US-001", fields={"OrganizationName": "Contoso Inc"})
        second = company.revisions("customers")
        assert second["US-001"] > first["US-001"]
        assert second["US-002"] == first["US-002"]
        company.act("change", set="CustomersV3", key="usmf/US-001", fields={"OrganizationName": "Contoso Retail"})
        assert company.revisions("customers")["US-001"] > second["US-001"], "back again is news, too"

    def test_a_vendors_clock_that_goes_back_gives_no_earlier_revision(self, company: Company) -> None:
        company.configure(clock_skew=600)
        first = company.revisions("customers")
        company.configure(clock_skew=-600)
        company.act("change", set="CustomersV3", key="usmf/US-001", fields={"OrganizationName": "Contoso Inc"})
        assert company.revisions("customers")["US-001"] > first["US-001"]

    def test_a_row_that_is_gone_is_forgotten_and_news_when_it_is_back(self, company: Company) -> None:
        first = company.revisions("customers")
        company.act("remove", set="CustomersV3", key="usmf/US-002")
        assert set(company.revisions("customers")) == {"US-001"}
        assert list(company.connector.fetch(Hint(stream="customers", external_id="US-002"))) == []
        company.seed(CustomersV3=[finance_account.customer("US-002")])
        assert company.revisions("customers")["US-002"] > first["US-002"]

    def test_small_pages_are_followed_to_the_end_and_the_rest_is_read_from_the_cursor_of_each(
        self, company: Company
    ) -> None:
        company.having(page_size=1)
        pages = company.pages("customers")
        assert [[r.external_id for r in page.records] for page in pages] == [["US-001"], ["US-002"]]
        assert [page.total for page in pages] == [2, 2]
        [rest] = company.connector.pull("customers", pages[0].cursor)
        assert [(r.external_id, rest.total, rest.last) for r in rest.records] == [("US-002", 1, True)]

    def test_what_a_deletion_pulls_over_the_edge_of_a_cut_reading_is_found_by_the_next(self, company: Company) -> None:
        company.having(page_size=1)
        company.seed(CustomersV3=[finance_account.customer("US-003")])
        first, *_ = company.connector.pull("customers", None)
        company.act("remove", set="CustomersV3", key="usmf/US-001")
        *_, rest = company.connector.pull("customers", first.cursor)
        assert [r.external_id for r in rest.records] == ["US-003"]
        assert "US-002" in {
            r.external_id for page in company.connector.pull("customers", rest.cursor) for r in page.records
        }

    def test_what_is_left_out_on_any_page_is_not_missed_and_the_set_is_remembered(self, company: Company) -> None:
        company.having(page_size=1)
        company.act("pay", invoice="FTI-00000001", amount=50, on="2026-09-11", is_posted=False)
        company.act("pay", invoice="FTI-00000001", amount=60, on="2026-09-12")
        pages = company.pages("payments")
        assert [len(page.records) for page in pages] == [1, 0, 1]
        assert (pages[-1].total, pages[-1].last) == (2, True)
        assert pages[-1].cursor is not None

    @pytest.mark.parametrize("cursor", ["x", "2026-01-01T00:00:00.000000Z nonsense", '{"stamp": 1}'])
    def test_a_cursor_that_is_none_of_ours_is_not_believed(self, cursor: str) -> None:
        with pytest.raises(Malformed):
            Memory.of(cursor)


class TestBills:
    """Free text invoices with what belongs to them, and customer payments."""

    def test_a_draft_has_no_number_and_the_sums_of_its_lines(self, company: Company) -> None:
        found = company.bill(DRAFT)
        assert (found.kind, found.status, found.number, found.balance) == (
            BillKind.INVOICE, BillStatus.DRAFT, "", None,
        )  # fmt: skip
        assert (found.net, found.tax, found.total) == (500, 50, 550)

    def test_a_draft_that_was_deleted_is_told_once_and_what_is_only_not_read_is_not(self, company: Company) -> None:
        bills = [bill for bill in company.read("invoices").values() if isinstance(bill, BillRecord)]
        [draft] = [bill.external_id for bill in bills if bill.status is BillStatus.DRAFT]
        company.having(bills_from="2027-01-01")
        assert company.read("invoices") == {}, "what is not read any more is not gone"
        company.having(bills_from="")
        before = company.revisions("invoices")
        header = f"/data/FreeTextInvoiceHeaders(dataAreaId='{company.bench.account.realm}',InvoiceIdentifier={draft})"
        company.connector.http.request("DELETE", header)
        gone = company.bill(int(draft))
        assert (gone.kind, gone.status) == (BillKind.INVOICE, BillStatus.DELETED)
        assert gone.revision > before[draft]
        assert draft not in company.read("invoices")

    def test_posted_invoices_that_are_not_read_any_more_are_not_asked_for(self, company: Company) -> None:
        old = [
            finance_account.header(7000 + n, f"FTI-1{n:07}", InvoiceDate=finance_account.noon("2026-01-31"))
            for n in range(90)
        ]
        company.seed(FreeTextInvoiceHeaders=old)
        company.read("invoices")
        company.having(bills_from="2026-08-01")
        before = len(company.calls("FreeTextInvoiceHeaders"))
        assert len(company.read("invoices")) == 3
        assert len(company.calls("FreeTextInvoiceHeaders")) - before <= 3

    def test_what_a_policy_hides_is_not_taken_for_deleted_but_told_and_the_rest_is_read_on(
        self, company: Company
    ) -> None:
        company.read("invoices")
        hidden = (DRAFT, POSTED)
        for identifier in hidden:
            company.act("remove", set="FreeTextInvoiceHeaders", key=f"usmf/{identifier}")
        company.seed(FreeTextInvoiceHeaders=[finance_account.header(7001, "FTI-17001")])
        for _ in range(2):
            pages = company.pages("invoices")
            assert "a security policy may hide them" in pages[-1].withheld
            assert str(POSTED) in pages[-1].withheld
            assert "7001" in {record.external_id for page in pages for record in page.records}
            assert not any("gone" in record.payload for page in pages for record in page.records)
        company.seed(FreeTextInvoiceHeaders=[finance_account.header(POSTED, "FTI-00000001")])
        pages = company.pages("invoices")
        assert pages[-1].withheld == ""
        gone = [record.external_id for page in pages for record in page.records if "gone" in record.payload]
        assert gone == [str(DRAFT)], "a draft is gone where everything else is shown"

    def test_many_drafts_that_are_gone_at_once_are_believed_where_they_are_not_most_of_all(
        self, company: Company
    ) -> None:
        company.seed(FreeTextInvoiceHeaders=[finance_account.header(8000 + n, "Not posted") for n in range(50)])
        company.read("invoices")
        for number in range(20):
            company.act("remove", set="FreeTextInvoiceHeaders", key=f"usmf/{8000 + number}")
        bills = [bill for bill in company.read("invoices").values() if isinstance(bill, BillRecord)]
        assert len([bill for bill in bills if bill.status is BillStatus.DELETED]) == 20
        for number in range(20, 50):
            company.act("remove", set="FreeTextInvoiceHeaders", key=f"usmf/{8000 + number}")
        pages = company.pages("invoices")
        assert "too many to be deleted drafts" in pages[-1].withheld
        assert not any("gone" in record.payload for record in pages[-1].records)

    def test_a_set_that_is_always_cut_tells_a_deleted_draft_all_the_same_and_once(self, company: Company) -> None:
        company.having(page_size=1)

        def cut() -> list[Page]:
            first, *_ = company.connector.pull("invoices", company.cursors.get("invoices"))
            rest = list(company.connector.pull("invoices", first.cursor))
            company.cursors["invoices"] = rest[-1].cursor
            return [first, *rest]

        def gone(pages: list[Page]) -> list[str]:
            return [one.external_id for page in pages for one in page.records if "gone" in one.payload]

        assert gone(cut()) == []
        company.act("remove", set="FreeTextInvoiceHeaders", key=f"usmf/{DRAFT}")
        assert gone(cut()) == [str(DRAFT)]
        assert gone(cut()) == []

    @pytest.mark.case(91)
    def test_a_posted_one_has_booked_totals_and_is_paid_as_payments_that_mark_it_are_posted(
        self, company: Company
    ) -> None:
        found = company.bill(POSTED)
        assert (found.number, found.status, found.total, found.tax, found.balance) == (
            "FTI-00000001", BillStatus.PART_PAID, 1100, 100, 700,
        )  # fmt: skip
        assert (found.purchase_order, found.due_on, found.currency) == ("PO-7", date(2026, 9, 30), "USD")
        before = company.revisions("invoices")
        company.act("pay", invoice="FTI-00000001", amount=700, on="2026-09-20", is_posted=False)
        assert company.revisions("invoices") == before, "what is not posted settles nothing"
        company.act("pay", invoice="FTI-00000001", amount=700, on="2026-09-20")
        assert company.revisions("invoices")[str(POSTED)] > before[str(POSTED)]
        assert (company.bill(POSTED).status, company.bill(POSTED).balance) == (BillStatus.PAID, 0)

    def test_a_negative_one_is_a_credit_note_that_names_the_invoice_it_corrects(self, company: Company) -> None:
        found = company.bill(CREDIT)
        assert (found.kind, found.credits, found.net, found.tax, found.total) == (
            BillKind.CREDIT_NOTE, str(POSTED), 100, 10, 110,
        )  # fmt: skip
        assert (found.lines[0].net, found.lines[0].quantity) == (100, 1)

    def test_a_line_bills_the_hour_whose_project_transaction_it_names(self, company: Company) -> None:
        posting = time_posting()
        [receipt] = company.push(posting)
        company.act("post")
        assert isinstance(receipt, Receipt)
        line = finance_account.line(POSTED, 1000.0, TransactionID="PT00000001")
        company.seed(FreeTextInvoiceLines=[line])
        [found] = company.bill(POSTED).lines
        assert (found.posting_key, found.posting_number) == (posting.key, receipt.number)
        assert (found.quantity, found.unit_price, found.net, found.tax) == (10, 100, 1000, 100)

    def test_a_payment_settles_the_invoice_that_it_marks(self, company: Company) -> None:
        found = company.read("payments")["PAY-000001/1"]
        assert isinstance(found, PaymentRecord)
        assert (found.customer.key, found.amount, found.booked_on) == ("US-001", 400, date(2026, 9, 10))
        assert [(one.bill, one.amount) for one in found.applications] == [(str(POSTED), 400)]
        assert (found.reference, found.unapplied) == ("WIRE-PAY-000001", 0)

    @pytest.mark.case(94)
    def test_a_payment_that_marks_nothing_is_money_that_settles_nothing_yet(self, company: Company) -> None:
        company.act("pay", invoice="", amount=50, on="2026-09-11")
        found = company.read("payments")["PAY-000002/1"]
        assert isinstance(found, PaymentRecord)
        assert (found.applications, found.unapplied) == ((), 50)

    def test_a_payment_in_another_currency_does_not_settle_at_its_own_figure(self, company: Company) -> None:
        company.act("pay", invoice="FTI-00000001", amount=645, on="2026-09-12", currency="EUR")
        found = company.read("payments")["PAY-000002/1"]
        assert isinstance(found, PaymentRecord)
        assert (found.amount, found.currency, found.applications, found.unapplied) == (645, "EUR", (), None)
        assert (company.bill(POSTED).status, company.bill(POSTED).balance) == (BillStatus.OPEN, None)

    def test_a_payment_that_is_not_posted_is_not_told(self, company: Company) -> None:
        company.act("pay", invoice="FTI-00000001", amount=50, on="2026-09-11", is_posted=False)
        assert set(company.read("payments")) == {"PAY-000001/1"}

    def test_bills_before_the_first_day_are_not_read(self, company: Company) -> None:
        company.having(bills_from="2026-09-01")
        assert company.read("invoices") == {}
        assert set(company.read("payments")) == {"PAY-000001/1"}


# Error bodies of the card, and what else an Infolog may say, with the sentence it stands for.
WROTE = "Write failed for table row of type 'ProjHourJournalTransEntity'. Infolog: "
ERRORS: list[tuple[int, str, type[ConnectorError], str]] = [
    (400, f"{WROTE}Warning: One; Error: An update conflict occurred due to another user process deleting the record or changing "
     "one or more fields in the record.", Rejected, "record-changed"),
    (400, f"{WROTE}Error: Cannot create a record in Hour journal lines. The record already exists.", Rejected, "duplicate"),
    (400, f"{WROTE}Error: Fiscal period for 9/30/2026 is not open.", Rejected, "period-closed"),
    (400, f"{WROTE}Error: Period 9 of fiscal year 2026 is on hold for module Project.", Rejected, "period-closed"),
    (400, f"{WROTE}Error: Journal TIE-000001 has already been posted.", Rejected, "record-locked"),
    (400, f"{WROTE}Error: The value '000099' in field 'Project ID' is not found in the related table 'Projects'.", Rejected,
     "project-inactive"),
    (400, f"{WROTE}Error: Project 000058 is in a stage in which no transactions may be created.", Rejected, "project-inactive"),
    (400, f"{WROTE}Error: The value 'A999' in field 'Activity number' is not found in the related table 'Activities'.", Rejected,
     "task-invalid"),
    (400, f"{WROTE}Error: The value '000099' in field 'Resource' is not found in the related table 'Resources'.", Rejected,
     "resource-inactive"),
    (400, f"{WROTE}Error: The combination of dimension values is not valid for account structure P&L.", Rejected,
     "dimension-missing"),
    (400, f"{WROTE}Error: Currency XXX does not exist.", Rejected, "amount-invalid"),
    (400, f"{WROTE}Error: Description is too long: at most 60 characters.", Rejected, "text-invalid"),
    (400, f"{WROTE}Error: Field 'Tax group' must be filled in.", Rejected, "schema-changed"),
    (400, "The property 'Extra' does not exist on type 'JournalTrans'.", Rejected, "schema-changed"),
    (400, f"{WROTE}Error: Something of our own says no.", Rejected, "rejected"),
    (400, f"{WROTE}Error: The operation was chosen as the deadlock victim.", Unavailable, ""),
    (401, "Unauthorized", Unauthorised, ""),
    (403, "The user is not authorized to access this entity.", Unauthorised, ""),
    (404, "No HTTP resource was found that matches the request URI.", Rejected, "schema-changed"),
    (429, "This request could not be processed at this time due to system experiencing high resource utilization.", Unavailable,
     ""),
    (500, "An unexpected error has occurred.", InDoubt, ""),
    (502, "Bad gateway", InDoubt, ""),
    (503, "Service unavailable.", Unavailable, ""),
    (504, "Gateway time-out", InDoubt, ""),
]  # fmt: skip


@pytest.mark.case(68, 73)
@pytest.mark.parametrize(
    ("status", "message", "kind", "ours"), ERRORS, ids=[f"{s}-{o or k.__name__}-{m[-24:]}" for s, m, k, o in ERRORS]
)
def test_every_infolog_is_named_by_what_we_do_next(
    status: int, message: str, kind: type[ConnectorError], ours: str
) -> None:
    inner = {"message": message, "type": "X", "stacktrace": "at Microsoft.Dynamics.Project"}
    body = {"error": {"code": "", "message": "An error has occurred.", "innererror": inner}}
    answer = Response(status=status, headers={"content-type": "application/json"}, content=b"{}", body=body)
    judged = outcomes.judge(answer, writes=True, unreadable="", excerpt=message)
    assert judged is not None
    judged.body = body
    named = refusals.narrow(judged)
    assert type(named) is kind
    if isinstance(named, Rejected):
        assert (named.code, named.vendor_code) == (ours, "")
        assert "stacktrace" not in named.detail
        assert "Infolog" not in named.detail


def test_an_environments_own_words_go_first(company: Company) -> None:
    company.having(refusals=[{"match": "no transactions may be created", "means": "record-locked"}])
    [outcome] = company.push(time_posting(project="000058"))
    assert isinstance(outcome, Rejected)
    assert outcome.code == "record-locked"


class TestConnection:
    """The connection test, and who may ask."""

    def test_the_sentence_names_company_journal_and_what_waits(self, company: Company) -> None:
        company.push(time_posting())
        assert company.connector.check() == (
            "Dynamics 365 Finance answers for Contoso Entertainment System USA; 1 journals of TIEOUT wait to be posted there."
        )

    def test_another_company_is_told_with_those_that_are_seen(self, company: Company) -> None:
        company.bench = replace(company.bench, account=replace(company.bench.account, realm="zzzz"))
        with pytest.raises(Unauthorised, match=r"no company zzzz.*usmf, dat"):
            company.connector.check()

    def test_an_application_that_is_mapped_to_no_user_is_refused(self, company: Company) -> None:
        company.configure(mapped=False)
        with pytest.raises(Unauthorised, match="not authorized"):
            company.connector.check()

    def test_a_message_is_not_believed(self, company: Company) -> None:
        with pytest.raises(Unauthorised, match="read by schedule"):
            company.connector.receive({}, b"{}")

    def test_a_token_is_asked_for_at_entra_and_nowhere_else(self, company: Company) -> None:
        account = replace(company.bench.account, code="real")
        account = replace(account, settings={**account.settings, "login_url": "https://login.example.com"})
        with pytest.raises(Unauthorised, match=r"login\.example\.com"):
            DynamicsFinanceConnector(account, Http(account, allow_loopback=True)).check()
