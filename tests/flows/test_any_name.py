"""Any number that a person has in hand: what the search box finds, the terminal and the API find as well, whoever asks how."""

from __future__ import annotations

from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from portal import tokens
from portal.models import GrantRole
from portal.records import BillLine
from reconciliation.models import ExceptionCase
from tests import world
from tests.bills import Erp, find, line_of, posted
from tests.reconciliation.firm import Firm, build

pytestmark = pytest.mark.django_db


@pytest.fixture
def firm() -> Firm:
    """A firm with a bill of hours, one without any, and three payments of which one settles nothing."""
    found = build()
    [entry] = posted(found)
    erp = Erp(found)
    licence = BillLine(key="x", quantity=Decimal(1), net=Decimal(50), description="Licence")
    erp.says(erp.bill("E1", line_of(entry)), erp.bill("E2", licence))
    erp.says(
        erp.payment("EP1", "300"), erp.payment("EP2", "300", ("E1", "300")), erp.payment("EP3", "50", ("E2", "50"))
    )
    return found


def _explained(name: str) -> str:
    out = StringIO()
    call_command("explain", name, stdout=out)
    return out.getvalue()


def _reads(person: Any, address: str, status: int = 200, **asked: str) -> Any:
    answer = Client(headers={"authorization": f"Bearer {tokens.issue(person, 'program')}"}).get(address, asked)
    assert answer.status_code == status, answer.content
    return answer.json()


def test_a_bill_without_hours_a_payment_of_nothing_and_a_number_in_small_letters_are_found_by_everything(
    firm: Firm,
) -> None:
    fay = world.user("fay", GrantRole.ANALYST, firm.entity)
    cause = ExceptionCase.objects.get(rule="cash-unapplied")
    box = Client()
    box.force_login(fay)
    for name, words in (
        ("INV-E2", "Invoice INV-E2 (US), open: 50.00 USD of Acme Inc., of which 50.00 USD are settled"),
        ("E2", "Invoice INV-E2"), ("pay-ep1", "Payment PAY-EP1 (US), received: 300.00 USD of Acme Inc., settles nothing yet"),
        ("PAY-EP3", "settles bills for 50.00"), ("inv-e1", "Invoice INV-E1 (US)"), (f"ex-{cause.pk}", cause.sentence),
    ):  # fmt: skip
        assert words in _explained(name), name
        told = _reads(fay, reverse("api_thread"), id=name)["named"]
        assert any(words.split(" (")[0] in f"{one['title']} {one['words']}" for one in told), (name, told)
        assert box.get(reverse("search"), {"q": name}).status_code == 302, name
    assert "Time 1 of" in _explained("inv-e1")
    assert len(_reads(fay, reverse("api_thread"), id="inv-e1")["documents"]) == 1
    with pytest.raises(CommandError, match="Nothing is known"):
        call_command("explain", "INV-E9")
    stranger = world.user("nils", GrantRole.ANALYST, world.entity("DE", "EUR"))
    assert _reads(stranger, reverse("api_thread"), id="INV-E2") == {
        "named": [], "documents": [], "milestones": [], "next": None, "next_milestone": None,
    }  # fmt: skip


def test_a_program_asks_why_an_hour_is_not_billed_and_how_each_cent_came_about(firm: Firm) -> None:
    fay = world.user("fay", GrantRole.ANALYST, firm.entity)
    [entry] = posted(firm, 1, first=5)
    why = _reads(fay, reverse("api_ledger_entry-why", args=[entry]))
    assert (why["is_billed"], why["words"].startswith("It is posted and")) == (False, True)
    steps = _reads(fay, reverse("api_ledger_entry-explained", args=[entry]))["steps"]
    assert {"what": "Amount", "how": "8.00 × 120.00 = 960.00 USD, no rounding needed"} in steps  # noqa: RUF001
    bill = find("E1")
    told = _reads(fay, reverse("api_bill-explained", args=[bill.pk]))
    [line] = told["lines"]
    assert (told["version"], told["next"], line["parts"][0]["amount"]) == (1, None, "960.0000")
    assert {"what": "Booked", "how": "960.00 USD, equal to our figures"} in line["parts"][0]["steps"]
    assert (
        _reads(fay, reverse("api_ledger_entry-why", args=[line["parts"][0]["entry"]]))["words"]
        == "It is on invoice INV-E1."
    )
    assert _reads(fay, reverse("api_bill-explained", args=[bill.pk]), line="nothing")["lines"] == []
    _reads(fay, reverse("api_bill-explained", args=[bill.pk]), 400, lines="1")
    stranger = world.user("nils", GrantRole.ANALYST, world.entity("DE", "EUR"))
    for address in ("api_ledger_entry-why", "api_ledger_entry-explained"):
        _reads(stranger, reverse(address, args=[entry]), 404)
    _reads(stranger, reverse("api_bill-explained", args=[bill.pk]), 404)
