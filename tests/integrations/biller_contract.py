"""What every system that takes invoice drafts must do, whatever its vendor, over real HTTP against its sandbox.

A connector joins with a subclass that says how it is built, whom its account bills and how its invoices are counted; nothing
here is overridden.
"""

from __future__ import annotations

import json
import uuid
from contextlib import suppress
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from integrations import drafts
from integrations.errors import ConnectorError, InDoubt, Rejected, Unauthorised, Unavailable
from integrations.http import recording
from integrations.protocol import Biller, Drafting
from portal.records import BillDraft, BillStatus, DraftLine, HeldDraft
from tests.integrations.contract import IMPATIENT, TIME_OUTS, WRITE_FAULTS, Bench, _named


def line(number: int = 1, **changes: Any) -> DraftLine:
    """A line of seven and a half hours."""
    values: dict[str, Any] = {
        "key": uuid.uuid4().hex, "description": f"Ada Ito, workshop {number}", "quantity": Decimal("7.5"),
        "unit_price": Decimal("145.00"), "net": Decimal("1087.50"), **changes,
    }  # fmt: skip
    return DraftLine(**values)


class BillerContract:
    """What a system that bills promises. `names` are its own keys of the entity, the customer and the project, and a currency."""

    bench: Bench
    names: dict[str, str]
    unknown_customer: str

    def count(self) -> int:
        """How many invoices the sandbox holds that were drafted through it: the judge of twins."""
        raise NotImplementedError

    def biller(self, **settings: Any) -> Biller:
        found = self.bench.build(**settings)
        assert isinstance(found, Biller)
        return found

    def draft(self, *lines: DraftLine, **changes: Any) -> BillDraft:
        values: dict[str, Any] = {
            "key": uuid.uuid4().hex, "reference": "P-000017", "dated_on": date(2026, 9, 15), "due_on": date(2026, 10, 15),
            "purchase_order": "PO-7", "memo": "September", "lines": lines or (line(1), line(2, net=Decimal("72.50"))),
            **self.names, **changes,
        }  # fmt: skip
        return BillDraft(**values)

    def held(self, draft: BillDraft) -> HeldDraft | None:
        return self.biller().drafted([draft]).get(draft.key)

    def test_it_says_in_one_sentence_that_the_account_answers_and_what_it_takes(self) -> None:
        assert self.biller().check().endswith(".")
        assert isinstance(self.biller().drafting, Drafting)
        assert self.biller().drafting.lines >= 1

    def test_a_draft_is_held_as_it_was_handed_over_line_by_line_and_is_not_sent_to_the_customer(self) -> None:
        draft = self.draft()
        number = self.biller().make_draft(draft)
        held = self.held(draft)
        assert held is not None
        assert held.number == number
        assert drafts.differences(draft, held) == {}
        assert held.net == Decimal("1160.00")
        assert held.lines == {one.key: one.net for one in draft.lines}
        assert held.status == BillStatus.DRAFT
        assert held.total is not None

    @pytest.mark.case(72)
    def test_a_bill_of_more_lines_than_it_takes_is_two_that_are_held_whole_and_add_up(self) -> None:
        biller = self.biller(read_timeout="20")
        most = biller.drafting.lines
        lines = [line(number) for number in range(most + 2)]
        parts = [lines[start : start + most] for start in range(0, len(lines), most)]  # as a proposal is split
        net = Decimal(0)
        for number, part in enumerate(parts, start=1):
            draft = self.draft(*part, part=number, parts=len(parts))
            biller.make_draft(draft)
            held = biller.drafted([draft]).get(draft.key)
            assert held is not None
            assert drafts.differences(draft, held) == {}
            assert len(held.lines) == len(part)
            net += held.net or 0
        assert (len(parts), net) == (2, (most + 2) * Decimal("1087.50"))

    def test_an_amount_that_is_not_quantity_times_price_is_held_to_the_cent(self) -> None:
        draft = self.draft(line(quantity=Decimal("0.3333"), unit_price=Decimal("145.55"), net=Decimal("48.52")))
        self.biller().make_draft(draft)
        held = self.held(draft)
        assert held is not None
        assert drafts.differences(draft, held) == {}

    def test_the_same_key_again_makes_no_second_invoice(self) -> None:
        draft = self.draft()
        before = self.count()
        number = self.biller().make_draft(draft)
        assert self.biller().make_draft(draft) == number
        assert self.count() == before + 1

    def test_the_body_is_pure_and_json_takes_it(self) -> None:
        draft = self.draft()
        assert self.biller().draft_body(draft) == self.biller().draft_body(draft)
        json.dumps(self.biller().draft_body(draft), default=str)

    def test_what_was_never_made_is_left_out(self) -> None:
        assert self.biller().drafted([self.draft()]) == {}

    def test_a_customer_that_it_does_not_know_is_a_refusal_and_nothing_is_made(self) -> None:
        before = self.count()
        with pytest.raises(Rejected):
            self.biller().make_draft(self.draft(customer=self.unknown_customer))
        assert self.count() == before

    @pytest.mark.parametrize(
        ("fault", "expected", "kept"), WRITE_FAULTS, ids=lambda value: _named(value) if isinstance(value, dict) else ""
    )
    def test_a_call_that_goes_wrong_is_the_error_that_says_what_to_do_next_and_nothing_is_made_twice(
        self, fault: dict[str, Any], expected: type[ConnectorError], kept: bool
    ) -> None:
        draft = self.draft()
        before = self.count()
        self.biller().check()  # signed in, so that the fault meets the draft and not a refused token
        self.bench.fault(self.bench.write, **fault)
        with pytest.raises(ConnectorError) as error:
            self.biller().make_draft(draft)
        assert isinstance(error.value, expected), error.value
        self.bench.clear()
        assert (self.held(draft) is not None) == kept
        assert self.count() == before + int(kept)
        if not kept:
            self.biller().make_draft(draft)
        assert self.count() == before + 1

    @pytest.mark.case(57)
    def test_a_time_out_before_or_after_commit_at_any_call_makes_one_invoice(self) -> None:
        with recording() as exchanges:
            self.biller().make_draft(self.draft())
        for number in range(len(exchanges)):
            for fault in TIME_OUTS:
                draft, before = self.draft(), self.count()
                self.bench.fault({}, **fault, after=number)
                with suppress(InDoubt, Unavailable):
                    self.biller(**IMPATIENT).make_draft(draft)
                self.bench.clear()
                made = self.biller().make_draft(draft)
                held = self.held(draft)
                assert held is not None, (number, fault)
                assert (held.number, drafts.differences(draft, held)) == (made, {}), (number, fault)
                assert self.count() == before + 1, (number, fault)

    @pytest.mark.case(67)
    def test_credentials_that_end_in_the_middle_make_one_invoice(self) -> None:
        self.biller().check()
        with recording() as exchanges:
            self.biller().make_draft(self.draft())
        for number in range(len(exchanges)):
            for times in (1, None):
                draft, before = self.draft(), self.count()
                self.bench.fault({}, kind="status", status=401, after=number, times=times)
                with suppress(Unauthorised, InDoubt):
                    self.biller().make_draft(draft)
                self.bench.clear()
                made = self.biller().make_draft(draft)
                held = self.held(draft)
                assert held is not None, (number, times)
                assert (held.number, drafts.differences(draft, held)) == (made, {}), (number, times)
                assert self.count() == before + 1, (number, times)
