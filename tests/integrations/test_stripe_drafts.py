"""Invoice drafts and customers in Stripe: many calls, one invoice, whatever breaks between them."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from integrations import drafts
from integrations.connectors.stripe import StripeConnector, writing
from integrations.errors import ConnectorError, InDoubt, Rejected, Unauthorised, Unavailable
from integrations.protocol import Hint
from integrations.sandbox.server import control
from portal.records import BillDraft, BillRecord, BillStatus, DraftLine
from tests.integrations import biller_contract, stripe_account
from tests.integrations.biller_contract import line
from tests.integrations.stripe_account import Office


@pytest.fixture
def office(sandbox: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    monkeypatch.setattr(StripeConnector, "rate", None)
    yield stripe_account.fresh(sandbox)
    control(sandbox, "DELETE", "faults")


def draft(*lines: DraftLine, **changes: Any) -> BillDraft:
    contract = biller_contract.BillerContract()
    contract.names = {"entity": "1", "customer": "cus_acme", "project": "ACM-1", "currency": "USD"}
    return contract.draft(*lines, **changes)


def make(office: Office, wanted: BillDraft, **settings: Any) -> str | ConnectorError:
    """What comes of one try."""
    connector = stripe_account.connector(office.base, read_timeout="0.5", **settings)
    try:
        return connector.make_draft(wanted)
    except ConnectorError as error:
        return error


def made(office: Office, wanted: BillDraft, **settings: Any) -> str:
    outcome = make(office, wanted, **settings)
    assert isinstance(outcome, str), outcome
    return outcome


def strike(office: Office, kind: str, **call: Any) -> None:
    fault = {"vendor": "stripe", "kind": kind, "method": "POST", "seconds": 1.2, **call}
    control(office.base, "POST", "faults", [fault])


def invoices(office: Office) -> dict[str, Any]:
    found: dict[str, Any] = office.inspect()["invoices"]
    return found


def refused(outcome: str | ConnectorError) -> Rejected:
    assert isinstance(outcome, Rejected), outcome
    return outcome


CALLS: dict[str, dict[str, Any]] = {
    "the invoice": {"path": "/v1/invoices?"}, "the first line": {"path": "/v1/invoiceitems"},
    "the second line": {"path": "/v1/invoiceitems", "after": 1}, "the mark": {"body": "tieout_lines"},
}  # fmt: skip


@pytest.mark.case(57, 66, 67, 76)
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("kind", "how", "error"),
    [("reset_before", {}, InDoubt), ("reset_after", {}, InDoubt), ("timeout_after", {}, InDoubt), ("garbage", {}, InDoubt),
     ("status", {"status": 401}, Unauthorised), ("status", {"status": 429}, Unavailable),
     ("status", {"status": 500, "commits": True}, InDoubt)],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else getattr(value, "__name__", value),
)  # fmt: skip
def test_a_draft_that_broke_off_is_gone_on_with_and_there_is_one_invoice_with_each_line_once(
    office: Office, call: str, kind: str, how: dict[str, Any], error: type[ConnectorError]
) -> None:
    wanted = draft()
    strike(office, kind, **CALLS[call], **how)
    assert isinstance(make(office, wanted), error)
    control(office.base, "DELETE", "faults")
    connector = stripe_account.connector(office.base)
    was_whole = call == "the mark" and kind != "reset_before" and how.get("status") not in (401, 429)
    assert (wanted.key in connector.drafted([wanted])) == was_whole
    number = made(office, wanted)
    [(key, invoice)] = invoices(office).items()
    assert key == number
    assert [one["metadata"]["tieout_line"] for one in invoice["lines"]] == [one.key for one in wanted.lines]
    assert drafts.differences(wanted, connector.drafted([wanted])[wanted.key]) == {}


def test_after_a_day_stripe_has_forgotten_the_key_and_the_look_up_has_not(office: Office) -> None:
    wanted = draft()
    number = made(office, wanted)
    office.configure(forget_keys=True)
    assert made(office, wanted) == number
    strike(office, "reset_after", path="/v1/invoiceitems")
    other = draft()
    assert isinstance(make(office, other), InDoubt)
    office.configure(forget_keys=True)
    made(office, other)
    assert sorted(len(one["lines"]) for one in invoices(office).values()) == [2, 2]


def test_the_same_key_with_another_content_is_refused_by_stripe_and_a_duplicate_to_us(office: Office) -> None:
    first = office.do("customers", key="k-1", name="Acme")
    assert office.do("customers", key="k-1", name="Acme")["id"] == first["id"]
    office.do("customers", key="k-1", refused=400, name="Umbrella")
    connector = stripe_account.connector(office.base)
    with pytest.raises(Rejected) as duplicate:
        writing.make(connector.http, "/v1/customers", {"name": "Umbrella"}, "k-1", ())
    assert duplicate.value.code == "duplicate"


@pytest.mark.parametrize("commits", [False, True])
def test_a_failure_that_stripe_keeps_under_the_key_is_not_believed_for_a_day(office: Office, commits: bool) -> None:
    wanted = draft()
    office.act("fail", path="/v1/invoices", commits=commits)
    assert isinstance(make(office, wanted), InDoubt)
    number = made(office, wanted)
    office.act("fail", path="/v1/invoiceitems", commits=commits)
    other = draft()
    assert isinstance(make(office, other), InDoubt)
    assert set(invoices(office)) == {number, made(office, other)}
    assert [len(one["lines"]) for one in invoices(office).values()] == [2, 2]


def test_a_refusal_that_stripe_keeps_ends_when_its_cause_does(office: Office) -> None:
    wanted = draft(customer="cus_new")
    assert refused(make(office, wanted)).code == "gone"
    control(office.base, "POST", "stripe/seed", {"customers": [{"id": "cus_new", "name": "New"}]})
    made(office, wanted)
    assert len(invoices(office)) == 1


@pytest.mark.case(88)
def test_a_line_that_is_refused_leaves_no_half_draft_and_the_draft_is_made_anew_once_it_is_put_right(
    office: Office,
) -> None:
    wanted = draft(line(1), line(2, tax_code="txr_coming"))
    assert refused(make(office, wanted)).code == "dimension-missing"
    assert invoices(office) == {}
    control(
        office.base, "POST", "stripe/seed",
        {"tax_rates": [{"id": "txr_coming", "display_name": "VAT", "percentage": 20}]},
    )  # fmt: skip
    number = made(office, wanted)
    [(key, invoice)] = invoices(office).items()
    assert (key, invoice["total"]) == (number, 108750 + 130500)


@pytest.mark.case(88)
def test_tax_is_by_our_code_and_an_unknown_code_is_refused_before_anything_is_sent(office: Office) -> None:
    wanted = draft(line(1, tax_code="VAT20"))
    assert refused(make(office, wanted)).code == "dimension-missing"
    assert office.calls("POST") == []
    made(office, wanted, tax_rates={"VAT20": "txr_vat20"})
    held = stripe_account.connector(office.base).drafted([wanted])[wanted.key]
    assert (held.net, held.tax, held.total) == tuple(map(Decimal, ("1087.50", "217.50", "1305.00")))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"lines": [line(net=Decimal("10.005"))]}, "amount-invalid"),
        ({"lines": [line(net=Decimal("10.50"))], "currency": "JPY"}, "amount-invalid"),
        ({"lines": [line(description="x" * 501)]}, "text-invalid"), ({"memo": "x" * 1501}, "text-invalid"),
        ({"purchase_order": "x" * 141}, "text-invalid"), ({"lines": [line(n) for n in range(251)]}, "rejected"),
    ],
)  # fmt: skip
@pytest.mark.case(72)
def test_what_stripe_cannot_hold_is_refused_before_anything_is_sent(
    office: Office, changes: dict[str, Any], code: str
) -> None:
    lines = changes.pop("lines", [])
    wanted = draft(*lines, **changes)
    assert refused(make(office, wanted)).code == code
    assert office.calls("POST") == []
    assert stripe_account.connector(office.base).draft_body(wanted) is not None


@pytest.mark.case(84, 87, 89)
@pytest.mark.case(74)
def test_a_line_is_hours_times_price_or_one_piece_with_its_hours_beside_it_and_comes_back_as_it_went(
    office: Office,
) -> None:
    wanted = draft(
        line(1), line(2, quantity=Decimal("3.3333"), unit_price=Decimal("145.55"), net=Decimal("485.10")),
        line(3, quantity=None, unit_price=None, net=Decimal("250.00"), milestone="M-1", postings=("1001",)),
    )  # fmt: skip
    key = made(office, wanted)
    sent = invoices(office)[key]["lines"]
    assert [one["quantity_decimal"] for one in sent] == ["7.5", "1", "1"]
    [record] = stripe_account.connector(office.base).fetch(Hint(stream="invoices", external_id=key))
    [found] = stripe_account.connector(office.base).map(record)
    assert isinstance(found, BillRecord)
    assert (found.status, found.number, found.entity.key, found.purchase_order) == (BillStatus.DRAFT, "", "1", "PO-7")
    assert [(one.posting_key, one.quantity, one.unit_price, one.net) for one in found.lines] == [
        (wanted.lines[0].key, Decimal("7.5"), Decimal(145), Decimal("1087.5")),
        (wanted.lines[1].key, Decimal("3.3333"), None, Decimal("485.1")),
        (wanted.lines[2].key, None, None, Decimal(250)),
    ]
    assert found.lines[2].milestone.key == "M-1"
    assert {one.project.key for one in found.lines} == {"ACM-1"}


@pytest.mark.case(81)
def test_the_number_is_stripes_and_is_read_back_once_somebody_finalised_the_draft(office: Office) -> None:
    wanted = draft()
    key = made(office, wanted)
    office.do(f"invoices/{key}/finalize")
    held = stripe_account.connector(office.base).drafted([wanted])[wanted.key]
    assert (held.bill_number, held.status, held.total) == ("NWA-0001", BillStatus.OPEN, Decimal(1160))
    assert made(office, wanted) == key, "what stands is not made again, a draft or not any more"


@pytest.mark.case(73)
def test_what_somebody_changed_of_a_draft_is_a_difference_and_not_an_absence(office: Office) -> None:
    wanted = draft()
    key = made(office, wanted)
    item = invoices(office)[key]["lines"][0]["parent"]["invoice_item_details"]["invoice_item"]
    office.delete(f"invoiceitems/{item}")
    held = stripe_account.connector(office.base).drafted([wanted])[wanted.key]
    assert set(drafts.differences(wanted, held)) == {"lines", "line_1", "net"}
    assert made(office, wanted) == key
    assert len(invoices(office)[key]["lines"]) == 1, "it is never changed from here"


def test_a_half_made_draft_that_somebody_finalised_is_told_and_not_gone_on_with(office: Office) -> None:
    wanted = draft()
    strike(office, "reset_before", path="/v1/invoiceitems", after=1)
    assert isinstance(make(office, wanted), InDoubt)
    [key] = invoices(office)
    office.do(f"invoices/{key}/finalize")
    assert refused(make(office, wanted)).code == "record-locked"
    assert list(invoices(office)) == [key]


@pytest.mark.case(73)
def test_while_somebody_else_changes_the_customer_the_draft_waits(office: Office) -> None:
    wanted = draft()
    office.configure(locked=["cus_acme"])
    outcome = make(office, wanted)
    assert isinstance(outcome, Unavailable)
    assert outcome.retry_after is None
    office.configure(locked=[])
    made(office, wanted)


def test_drafts_of_two_customers_are_looked_up_each_in_their_own_list(office: Office) -> None:
    wanted = [draft(), draft(customer="cus_umbrella"), draft(customer="cus_nobody")]
    numbers = [made(office, one) for one in wanted[:2]]
    held = stripe_account.connector(office.base).drafted(wanted)
    assert {key: one.number for key, one in held.items()} == {
        one.key: number for one, number in zip(wanted[:2], numbers, strict=True)
    }
