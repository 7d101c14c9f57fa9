"""Master data of an account that several entities share: nobody reads in it the name of another entity's record."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from django.test import Client

from integrations import inbox, registry
from integrations.models import InboxMessage, Run, Stream
from integrations.protocol import SourceRecord
from integrations.sql import inbound
from portal import sql
from portal.models import Connection, Customer, GrantRole, LegalEntity
from portal.records import MasterKind, MasterRecord
from tests import world
from tests.integrations.fake_source import FakeSource
from tests.reconciliation.firm import key

pytestmark = pytest.mark.django_db
NAMES = (
    "Quietwater",
    "Nightjar",
    "Foxglove",
)  # of the other entity: taken in, refused, and waiting for what it was merged into


class Books(FakeSource):
    """A system whose customers say whose they are."""

    def map(self, record: SourceRecord) -> Iterable[Any]:
        """A customer."""
        said = record.payload
        yield MasterRecord(
            kind=MasterKind.CUSTOMER, external_id=record.external_id, revision=record.revision, code=said["code"],
            name=said["name"], attributes={key: value for key, value in said.items() if key not in ("code", "name")},
        )  # fmt: skip


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> Connection:
    """An account of US and DE, with customers of both, one that cannot be taken and one that waits."""
    made = world.connection("books", "fake", None, is_target=True, is_source=True, settings={"owns": ["customer"]})
    monkeypatch.setattr(registry, "source", lambda connection: Books.__new__(Books))
    for number, entity in (("1", world.entity("US")), ("2", world.entity("DE", "EUR"))):
        key(made, "entity", entity.pk, number)
    quiet, night, fox = NAMES
    told: list[dict[str, str]] = [
        {"code": "QUI", "name": quiet, "entity": "1", "currency": "USD"},
        {"code": "NIG", "name": night, "entity": "1", "currency": "no currency"},
        {"code": "FOX", "name": fox, "entity": "1", "currency": "USD", "merged_into": "404"},
        {"code": "OWN", "name": "Heimat", "entity": "2", "currency": "EUR"},
    ]
    now = sql.now()
    run = Run.objects.create(
        connection=made,
        stream="customers",
        trigger="schedule",
        state="done",
        started_at=now,
        heartbeat_at=now,
        read=4,
        filed=4,
    )
    Stream.objects.create(connection=made, name="customers", succeeded_at=now, next_due_at=now)
    inbound.file_records(
        made.pk,
        [
            SourceRecord(stream="customers", external_id=f"K-{said['code']}", revision="1", payload=said)
            for said in told
        ],
    )
    InboxMessage.objects.update(run_id=run.pk)
    inbox.take_in_everything(made.pk)
    return made


@pytest.mark.parametrize("role", [GrantRole.ANALYST, GrantRole.CONTROLLER, GrantRole.ADMIN, GrantRole.AUDITOR])
def test_nobody_reads_the_name_of_another_entitys_record_in_a_shared_account(
    shared: Connection, client: Client, role: GrantRole
) -> None:
    assert set(Customer.objects.values_list("name", flat=True)) >= {"Quietwater", "Heimat"}
    states = dict(InboxMessage.objects.values_list("external_id", "state"))
    assert states == {"K-QUI": "done", "K-NIG": "failed", "K-FOX": "new", "K-OWN": "done"}
    user = world.user("dora", role, LegalEntity.objects.get(code="DE"))
    run, stream = Run.objects.get(), Stream.objects.get()
    pages = [
        "/", "/inbox/?tab=all", "/inbox/?export=csv&tab=all", "/inbox/?tab=failed", "/inbox/?tab=new", "/runs/",
        f"/runs/{run.pk}/", f"/streams/{stream.pk}/", "/connections/", f"/connections/{shared.code}/", "/mappings/",
        "/mappings/?tab=theirs", "/rejected/", "/notifications/", "/audit/", "/master/customer/", "/published/", "/exceptions/",
        *(f"/search/?q={name}" for name in NAMES), *(f"/search/?q=K-{code}" for code in ("QUI", "NIG", "FOX")),
    ]  # fmt: skip
    client.force_login(user)
    for address in pages:
        told = client.get(address)
        body = (b"".join(told.streaming_content) if told.streaming else told.content).decode()  # type: ignore[attr-defined]
        sought = address.partition("q=")[2]
        assert not [name for name in (*NAMES, "K-QUI", "K-NIG", "K-FOX") if name != sought and name in body], address
        if sought:
            assert f">{sought}" not in body, address
    for message in InboxMessage.objects.all():
        assert client.get(f"/inbox/{message.pk}/").status_code == 404, message
    client.force_login(world.user("cleo", role, everywhere=True))
    listed = client.get("/inbox/?tab=all").content.decode()
    assert all(external_id in listed for external_id in states)
