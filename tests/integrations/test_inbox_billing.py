"""Bills and payments through the inbox: filed like everything else, and whatever is wrong stays alone."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from integrations import inbox, registry
from integrations.models import InboxMessage
from integrations.protocol import SourceRecord
from integrations.sql import inbound
from integrations.views.inbox import badge
from portal.models import Connection, GrantRole, Invoice, PaymentAllocation
from portal.records import (
    Application,
    BillKind,
    BillRecord,
    BillStatus,
    PaymentKind,
    PaymentRecord,
    PaymentStatus,
    Reference,
)
from tests import world
from tests.integrations.fake_source import FakeSource
from tests.reconciliation.firm import key

pytestmark = pytest.mark.django_db


class Books(FakeSource):
    """A system whose records say what they are in our own words."""

    def map(self, record: SourceRecord) -> Iterable[Any]:
        """Bills and payments as the payload spells them."""
        said = record.payload
        common: dict[str, Any] = {
            "external_id": record.external_id,
            "revision": record.revision,
            "currency": "USD",
            "entity": Reference(said.get("entity", "")),
        }
        if record.stream == "payments":
            parts = tuple(Application(bill=bill, amount=Decimal(amount)) for bill, amount in said["bills"].items())
            yield PaymentRecord(kind=PaymentKind.PAYMENT, status=PaymentStatus.RECEIVED, amount=Decimal(said["amount"]),
                                booked_on=date(2026, 11, 15), applications=parts, **common)  # fmt: skip
            return
        total = Decimal(said["total"])
        yield BillRecord(kind=BillKind.INVOICE, status=BillStatus(said["status"]), number=said["number"], net=total, total=total,
                         **common)  # fmt: skip


@pytest.fixture
def books(monkeypatch: pytest.MonkeyPatch) -> Connection:
    made = world.connection("books", "fake", None, is_target=True, is_source=True, realm="B1")
    monkeypatch.setattr(registry, "source", lambda connection: Books.__new__(Books))
    return made


def file(books: Connection, stream: str, external_id: str, revision: str, **payload: Any) -> None:
    inbound.file_records(
        books.pk, [SourceRecord(stream=stream, external_id=external_id, revision=revision, payload=payload)]
    )


def states() -> list[str]:
    return list(InboxMessage.objects.order_by("pk").values_list("state", flat=True))


@pytest.mark.case(92)
def test_bills_and_payments_are_taken_in_like_everything_else_and_wait_for_their_entity(books: Connection) -> None:
    file(books, "payments", "9", "1", entity="2", amount="100", bills={"501": "60", "777": "40"})
    file(books, "bills", "501", "1", entity="2", status="open", number="INV-1", total="60")
    file(books, "bills", "501", "2", entity="2", status="part_paid", number="INV-1", total="60")
    inbox.take_in_everything(books.pk)
    assert not Invoice.objects.exists()
    assert set(states()) == {"new", "superseded"}
    entity = world.entity()
    key(books, "entity", entity.pk, "2")
    InboxMessage.objects.update(next_attempt_at=None)
    inbox.take_in_everything(books.pk)
    assert set(states()) == {"done", "superseded"}
    assert Invoice.objects.get().current.status == "part_paid"
    parts = {row.invoice_key: row.invoice_id is not None for row in PaymentAllocation.objects.all()}
    assert parts == {"501": True, "777": False}
    file(books, "bills", "777", "1", entity="2", status="open", number="INV-2", total="40")
    inbox.take_in_everything(books.pk)
    standing = PaymentAllocation.objects.filter(invoice_key="777", invoice__isnull=False)
    assert [row.amount for row in standing] == [Decimal(40)]


def test_a_bill_that_cannot_be_read_fails_alone(books: Connection) -> None:
    key(books, "entity", world.entity().pk, "2")
    file(books, "bills", "501", "1", entity="2", status="no such status", number="INV-1", total="60")
    file(books, "bills", "502", "1", entity="2", status="open", number="INV-2", total="60")
    inbox.take_in_everything(books.pk)
    assert states() == ["failed", "done"]
    assert Invoice.objects.get().external_id == "502"


def test_what_a_shared_account_says_of_one_company_is_told_to_its_people_alone(
    books: Connection, client: Client
) -> None:
    us, de = world.entity("US"), world.entity("DE", "EUR")
    key(books, "entity", us.pk, "1")
    key(books, "entity", de.pk, "2")
    file(books, "bills", "501", "1", entity="1", status="open", number="US-1", total="60")
    file(books, "bills", "502", "1", entity="2", status="open", number="DE-1", total="40")
    file(books, "payments", "901", "1", entity="1", amount="60", bills={"501": "60"})
    file(books, "bills", "503", "1", entity="1", status="no such status", number="US-2", total="60")
    file(books, "bills", "504", "1", entity="9", status="open", number="XX-1", total="60")
    inbox.take_in_everything(books.pk)
    shown = {row.external_id: row for row in InboxMessage.objects.all()}
    here = world.user("dora", GrantRole.ANALYST, de)
    everywhere = world.user("cleo", GrantRole.CONTROLLER, everywhere=True)
    client.force_login(here)
    for address in ("/inbox/?tab=all", "/inbox/?export=csv", "/inbox/?tab=failed", "/inbox/?tab=new", "/"):
        told = client.get(address)
        body = (b"".join(told.streaming_content) if told.streaming else told.content).decode()  # type: ignore[attr-defined]
        assert not [one for one in ("501", "901", "503", "504") if f">{one}<" in body or f"{one}," in body], address
        assert ("502" in body) is (address in ("/inbox/?tab=all", "/inbox/?export=csv")), address
    assert [client.get(f"/inbox/{shown[one].pk}/").status_code for one in ("501", "502", "503", "504", "901")] == [
        404, 200, 404, 404, 404,
    ]  # fmt: skip
    said = "is shown to those with a role in every entity"
    assert said in client.get("/inbox/?tab=all").content.decode()
    page = client.get(f"/inbox/{shown['502'].pk}/").content.decode()
    assert "Invoice DE-1, version 1: 40.00 USD" in page
    assert "&quot;DE-1&quot;" in page  # the payload of one's own company is read
    assert badge(here) is None
    client.force_login(everywhere)
    listed = client.get("/inbox/?tab=all").content.decode()
    assert all(one in listed for one in shown)
    assert said not in listed
    assert "Payment 901, version 1: 60.00 USD" in client.get(f"/inbox/{shown['901'].pk}/").content.decode()
    assert badge(everywhere) is not None
