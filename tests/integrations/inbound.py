"""A source of one entity with its stream, in memory, for the tests of the way in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from integrations import registry, streams, wake, webhooks
from integrations.models import InboxMessage, Run, Stream
from portal.models import Connection, LegalEntity, TimeEntry
from tests import world
from tests.integrations import fake_source
from tests.integrations.fake_source import Vendor


@dataclass
class Inbound:
    """What stands at the vendor, and the connection and stream through which we read it."""

    vendor: Vendor
    connection: Connection
    stream: Stream
    woken: list[tuple[str, int]] = field(default_factory=list)

    @property
    def entity(self) -> LegalEntity:
        assert self.connection.entity is not None
        return self.connection.entity

    def pull(self, **more: Any) -> Run:
        """Read the stream now."""
        run = streams.pull(self.stream.pk, **more)
        assert run is not None
        self.stream.refresh_from_db()
        return run

    def messages(self) -> list[tuple[str, str, str]]:
        """External id, kind and state of every message, in the order in which they were filed."""
        return list(InboxMessage.objects.order_by("id").values_list("external_id", "kind", "state"))

    def versions(self, external_id: str | int) -> list[tuple[int, str]]:
        """Version and status of a document."""
        found = TimeEntry.objects.filter(document__external_id=str(external_id), document__connection=self.connection)
        return list(found.order_by("version").values_list("version", "status"))


def build(monkeypatch: pytest.MonkeyPatch, code: str = "us-time", **more: Any) -> Inbound:
    """An entity's source with one stream, read every quarter of an hour."""
    vendor = fake_source.VENDORS[code] = Vendor()
    monkeypatch.setitem(registry.CONNECTORS, "fake", "tests.integrations.fake_source.FakeSource")
    monkeypatch.setenv("HOOK_SECRET", "s3cret")
    owner = more.pop("owner", None) or world.entity()
    values = {"is_source": True, "credentials": {"secret": {"env": "HOOK_SECRET"}}, **more}
    connection = world.connection(code, owner=owner, **values)
    inbound = Inbound(vendor, connection, Stream.objects.create(connection=connection, name="time", every_seconds=900))

    def up(task: str, number: int) -> bool:
        inbound.woken.append((task, number))
        return True

    monkeypatch.setattr(wake, "up", up)
    webhooks.forget()
    return inbound


def put(vendor: Vendor, numbers: Sequence[int], stamp: str = "2026-10-02T10:00:00Z", **values: Any) -> None:
    """Some approved entries."""
    for number in numbers:
        vendor.put(number, stamp, **values)
