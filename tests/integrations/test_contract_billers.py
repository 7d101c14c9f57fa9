"""Systems that take invoice drafts, over real HTTP: the contract, and what each cannot take."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from integrations import drafts
from integrations.errors import InDoubt, Rejected, Unavailable
from integrations.sandbox.server import control
from portal.records import BillStatus
from tests.integrations.bc_account import DAYS, guid
from tests.integrations.biller_contract import BillerContract, line
from tests.integrations.contract import Bench


class TestNetSuite(BillerContract):
    names = {"entity": "1", "customer": "220", "project": "1514", "currency": "USD"}
    unknown_customer = "9999"

    @pytest.fixture(autouse=True)
    def _bench(self, netsuite: Bench) -> None:
        settings = {**netsuite.account.settings, "posting_column": "custcol_tieout_posting"}
        self.bench = replace(
            netsuite, account=replace(netsuite.account, settings=settings), write={"method": "PUT", "path": "/invoice"}
        )

    def count(self) -> int:
        return sum(
            1 for bill in control(self.bench.sandbox, "GET", "netsuite/inspect")["invoices"] if bill["externalId"]
        )

    def test_without_a_field_for_our_key_nothing_is_sent_because_the_bill_could_not_say_what_it_bills(self) -> None:
        with pytest.raises(Rejected, match="posting_column"):
            self.biller(posting_column="").make_draft(self.draft())
        assert self.count() == 0

    def test_the_tax_is_the_accounts_own_and_no_difference(self) -> None:
        self.bench.control("netsuite/configure", {"tax_percent": 19})
        draft = self.draft(line(net=Decimal("100.00")))
        self.biller().make_draft(draft)
        held = self.held(draft)
        assert held is not None
        assert (held.net, held.tax, held.total) == (Decimal("100.00"), Decimal("19.00"), Decimal("119.00"))

    def test_a_bill_in_a_closed_period_is_refused_by_that_name(self) -> None:
        with pytest.raises(Rejected) as refused:
            self.biller().make_draft(self.draft(dated_on=self.draft().dated_on.replace(month=3)))
        assert refused.value.code == "period-closed"


class TestBusinessCentral(BillerContract):
    names = {"customer": "10000", "project": "J10", "currency": "EUR"}
    unknown_customer = "99999"

    @pytest.fixture(autouse=True)
    def _bench(self, businesscentral: Bench) -> None:
        settings = {**businesscentral.account.settings, "invoice_account": "8400"}
        self.bench = replace(
            businesscentral, account=replace(businesscentral.account, settings=settings),
            write={"method": "POST", "path": "v2.0/$batch"},
        )  # fmt: skip

    def invoices(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.bench.control("businesscentral/inspect")["sales_invoices"]
        return [row for row in found if row["externalDocumentNumber"]]

    def count(self) -> int:
        return len(self.invoices())

    @pytest.mark.case(74)
    def test_the_invoice_says_what_we_call_it_whose_project_it_bills_and_which_hours_a_line_is_about(self) -> None:
        self.bench.control("businesscentral/seed", {"dimensions": [{"id": guid(90), "code": "PROJECT"}]})
        value = {"id": guid(91), "code": "J10", "dimensionId": guid(90), "displayName": "Rollout"}
        self.bench.control("businesscentral/seed", {"dimensionValues": [value]})
        draft = self.draft(line())
        self.biller(project_dimension="PROJECT").make_draft(draft)
        [made] = self.invoices()
        assert made["salesInvoiceLines"][0]["description"] == "P-000017 September"
        assert made["dimensionSetLines"] == [{"code": "PROJECT", "valueCode": "J10"}]
        source = self.bench.build()
        records = [
            r for page in source.pull("sales_invoices", None) for r in page.records if r.external_id == made["id"]
        ]
        [bill] = source.map(records[0])
        assert [one.posting_key for one in bill.lines] == [draft.lines[0].key]

    @pytest.mark.case(40)
    def test_hours_of_a_resource_that_counts_in_days_are_billed_as_hours_and_a_sum_as_one_piece(self) -> None:
        self.bench.control("businesscentral/seed", {"resources": [DAYS]})
        draft = self.draft(line(), line(quantity=Decimal("0.3333"), unit_price=Decimal("145.55"), net=Decimal("48.52")))
        self.biller(invoice_line_type="Resource", invoice_account="AH").make_draft(draft)
        [made] = self.invoices()
        shown = [(one["unitOfMeasureCode"], one["quantity"], one["netAmount"]) for one in made["salesInvoiceLines"][1:]]
        assert shown == [("HOUR", 7.5, 1087.5), ("DAY", 1, 48.52)]
        self.bench.control("businesscentral/seed", {"resources": [{**DAYS, "units": {}}]})
        with pytest.raises(Rejected) as refused:
            self.biller(invoice_line_type="Resource", invoice_account="AH").make_draft(self.draft(line()))
        assert (refused.value.code, self.count()) == ("unit-unknown", 1)

    @pytest.mark.case(62)
    def test_an_invoice_of_which_one_line_is_refused_leaves_nothing_behind(self) -> None:
        with pytest.raises(Rejected):
            self.biller(project_dimension="NOWHERE").make_draft(self.draft())
        with pytest.raises(Rejected) as refused:
            self.biller(invoice_account="").make_draft(self.draft())
        assert refused.value.code == "dimension-missing"
        assert self.count() == 0

    @pytest.mark.parametrize("gives_new_id", [False, True])
    def test_where_the_connection_says_so_the_invoice_is_posted_and_found_by_our_key_whatever_its_id(
        self, gives_new_id: bool
    ) -> None:
        self.bench.control("businesscentral/configure", {"posting_gives_new_id": gives_new_id})
        draft = self.draft()
        number = self.biller(post_invoices=True).make_draft(draft)
        [made] = self.invoices()
        assert (made["id"], made["status"]) == (number, "Open")
        held = self.held(draft)
        assert held is not None
        assert (held.number, held.status, held.bill_number) == (number, BillStatus.OPEN, made["number"])
        assert drafts.differences(draft, held) == {}
        assert self.biller(post_invoices=True).make_draft(draft) == number
        assert self.count() == 1

    @pytest.mark.case(46)
    def test_an_invoice_whose_posting_is_refused_is_taken_out_again_and_one_that_stays_is_looked_up(self) -> None:
        self.bench.control("businesscentral/configure", {"posting_to": "2026-08-31"})
        with pytest.raises(Rejected) as refused:
            self.biller(post_invoices=True).make_draft(self.draft())
        assert refused.value.code == "period-closed"
        assert self.count() == 0
        self.bench.control("businesscentral/configure", {"drafts_stay": True})
        draft = self.draft()
        with pytest.raises(InDoubt, match="the draft stays"):
            self.biller(post_invoices=True).make_draft(draft)
        held = self.held(draft)
        assert held is not None
        assert held.status == BillStatus.DRAFT

    def test_a_draft_whose_posting_was_refused_and_which_its_accountant_changed_meanwhile_is_not_deleted_unseen(
        self,
    ) -> None:
        self.bench.control("businesscentral/configure", {"edits_meanwhile": True, "posting_to": "2020-12-31"})
        draft = self.draft()
        with pytest.raises(InDoubt, match="Another user has already changed"):
            self.biller(post_invoices=True).make_draft(draft)
        [stands] = self.invoices()
        assert (stands["status"], stands["customerPurchaseOrderReference"]) == ("Draft", "Edited")

    def test_a_maintenance_between_draft_and_posting_is_waited_for_and_the_draft_is_posted_then(self) -> None:
        draft = self.draft()
        self.bench.fault({"method": "POST", "path": "Microsoft.NAV.post"}, kind="status", status=503)
        with pytest.raises(Unavailable):
            self.biller(post_invoices=True).make_draft(draft)
        number = self.biller(post_invoices=True).make_draft(draft)
        assert [(one["id"], one["status"]) for one in self.invoices()] == [(number, "Open")]


class TestDynamicsFinance(BillerContract):
    names = {"customer": "US-001", "project": "000057", "currency": "USD"}
    unknown_customer = "US-999"

    @pytest.fixture(autouse=True)
    def _bench(self, dynamicsfinance: Bench) -> None:
        settings = {**dynamicsfinance.account.settings, "revenue_account": "401100"}
        write = {"method": "POST", "path": "/data/$batch"}
        self.bench = replace(dynamicsfinance, account=replace(dynamicsfinance.account, settings=settings), write=write)

    def headers(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.bench.control("dynamicsfinance/inspect")["invoices"]
        return found

    def count(self) -> int:
        return sum(1 for one in self.headers() if one["lines"])  # a header without lines is no invoice yet

    @pytest.mark.case(76)
    def test_a_header_whose_lines_did_not_come_is_finished_by_the_next_call_and_never_a_second_one(self) -> None:
        draft = self.draft()
        self.biller().check()
        self.bench.fault(self.bench.write, kind="status", status=503)
        with pytest.raises(Unavailable):
            self.biller().make_draft(draft)
        assert self.headers() == [{"key": draft.key, "lines": 0}]
        assert self.held(draft) is None
        self.biller().make_draft(draft)
        assert self.headers() == [{"key": draft.key, "lines": 2}]

    @pytest.mark.case(57)
    def test_a_header_whose_making_was_not_answered_is_in_doubt_and_then_finished(self) -> None:
        draft = self.draft()
        self.biller().check()
        self.bench.fault({"method": "POST", "path": "FreeTextInvoiceHeaders"}, kind="reset_after")
        with pytest.raises(InDoubt):
            self.biller().make_draft(draft)
        number = self.biller().make_draft(draft)
        held = self.held(draft)
        assert held is not None
        assert (held.number, self.headers()) == (number, [{"key": draft.key, "lines": 2}])

    @pytest.mark.case(62)
    def test_an_invoice_of_which_a_line_is_refused_leaves_nothing_behind(self) -> None:
        with pytest.raises(Rejected) as refused:
            self.biller(revenue_account="BLOCKED").make_draft(self.draft(line(1, item="CONSULT"), line(2)))
        assert refused.value.code == "dimension-missing"
        assert self.headers() == []

    def test_a_refused_invoice_that_cannot_be_taken_out_is_in_doubt(self) -> None:
        self.biller().check()
        self.bench.fault({"method": "DELETE"}, kind="status", status=500)
        with pytest.raises(InDoubt, match="could not be deleted"):
            self.biller(revenue_account="BLOCKED").make_draft(self.draft())

    def test_without_an_account_for_its_lines_nothing_is_sent(self) -> None:
        with pytest.raises(Rejected, match="revenue_account"):
            self.biller(revenue_account="").make_draft(self.draft())
        assert self.headers() == []

    @pytest.mark.case(74)
    def test_the_invoice_that_comes_back_says_which_hours_its_lines_bill_and_what_we_call_it(self) -> None:
        draft = self.draft(line(), part=2, parts=3)
        number = self.biller().make_draft(draft)
        source = self.bench.build()
        [record] = [r for page in source.pull("invoices", None) for r in page.records if r.external_id == number]
        [bill] = source.map(record)
        assert [one.posting_key for one in bill.lines] == [draft.lines[0].key]
        assert (bill.status, bill.memo, bill.purchase_order) == (
            BillStatus.DRAFT,
            "P-000017 (2 of 3) September",
            "PO-7",
        )
