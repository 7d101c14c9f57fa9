"""A small firm for tests, built by the same words the product uses: entities, connections, a project, people, documents."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from portal.models import Connection, EntityGrant, GrantRole, LegalEntity, State, User
from portal.records import NOTHING, Reference, SourceStatus, TimeEntryRecord


def entity(code: str = "US", currency: str = "USD", **more: Any) -> LegalEntity:
    """A legal entity."""
    return LegalEntity.objects.create(code=code, name=f"Firm {code}", currency=currency, **more)


def connection(code: str, connector: str = "fake", owner: LegalEntity | None = None, **more: Any) -> Connection:
    """A connection of an entity, or shared when none is given."""
    return Connection.objects.create(
        code=code, name=code.title(), connector=connector, entity=owner, base_url="http://127.0.0.1:1", **more
    )


def user(
    name: str = "ana", role: str = GrantRole.ANALYST, owner: LegalEntity | None = None, *, everywhere: bool = False
) -> User:
    """A person with one role in one entity, in every entity, or (neither) in none."""
    person = User.objects.create_user(username=name)
    if owner or everywhere:
        EntityGrant.objects.create(user=person, entity=owner, role=role, valid_from=date(2020, 1, 1))
    return person


def time_record(external_id: str = "1", revision: str = "2026-10-02T10:00:00Z", **changes: Any) -> TimeEntryRecord:
    """An approved time entry of eight hours, with what the test says instead."""
    values: dict[str, Any] = {
        "status": SourceStatus.APPROVED,
        "resource": Reference("r1", "", "Ana Consultant"),
        "project": Reference("p1", "ACM-2213", "Acme roll-out"),
        "task": NOTHING,
        "work_date": date(2026, 10, 1),
        "zone": "America/New_York",
        "billable": True,
        "currency": "USD",
        "description": "Workshop",
        "approved_by": Reference("r9", "", "Pat Manager"),
        "approved_at": datetime(2026, 10, 2, 10, tzinfo=UTC),
        "hours": Decimal("8.00"),
        "rate": Decimal("120.00"),
        **changes,
    }
    return TimeEntryRecord(external_id=external_id, revision=revision, **values)


READY = State.READY
HELD = State.HELD
