"""Systems that take invoice drafts, over real HTTP: the contract, and what each cannot take."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from integrations.errors import Rejected
from integrations.sandbox.server import control
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
