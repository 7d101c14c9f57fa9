"""What outbox tests stand on: a firm whose entries are admitted by the real rules, and a target in memory."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from itertools import count
from typing import Any

from integrations.protocol import Capabilities
from portal import canonical
from portal.models import (
    AccountingPeriod,
    Connection,
    Contract,
    Crosswalk,
    Customer,
    Document,
    Engagement,
    LedgerEntry,
    LedgerState,
    LegalEntity,
    Project,
    ProjectStatus,
    Rate,
    RateCard,
    Resource,
    Role,
)
from portal.records import NOTHING, Reference, SourceStatus, TimeEntryRecord
from reconciliation import validation
from reconciliation.models import Route
from tests import world
from tests.integrations.memory_target import BOOKS, Books

FIRST = date(2026, 10, 1)
DAYS = 28
BEGINNING = date(2020, 1, 1)
_PEOPLE = 20  # enough for 560 days of work
_messages = count(1)


def target(code: str = "erp", connector: str = "memory", **capabilities: Any) -> Connection:
    """A target in memory with empty books; by default five postings a call, four calls at once."""
    BOOKS[code] = Books(capabilities=Capabilities(**{"batch_size": 5, "concurrency": 4, **capabilities}))
    return world.connection(code, connector, is_target=True, concurrency=BOOKS[code].capabilities.concurrency)


def firm(target: Connection, code: str = "US", keys: dict[str, str] | None = None) -> Connection:
    """An entity with an open month, a project at 120.00 USD an hour and twenty people; its source, routed to the target.

    `keys` are the target's own for the entity, the project and the first person; made up when not given.
    """
    entity = world.entity(code)
    source = world.connection(f"tracker-{code.lower()}", "harvest", entity, is_source=True)
    AccountingPeriod.objects.create(entity=entity, code="2026-10", starts_on=FIRST, ends_on="2026-10-31")
    customer = Customer.objects.create(code=f"ACME-{code}", name="Acme", entity=entity, currency="USD")
    contract = Contract.objects.create(
        code=f"ACME-2026-{code}", name="Acme", customer=customer, entity=entity, currency="USD"
    )
    project = Project.objects.create(
        code=f"ACM-{code}", name="Acme roll-out", entity=entity, customer=customer, contract=contract
    )
    ProjectStatus.objects.create(project=project, status="open", valid_from=BEGINNING)
    role, _ = Role.objects.get_or_create(code="senior", defaults={"name": "Senior consultant"})
    card = RateCard.objects.create(code=f"ACME-2026-{code}", contract=contract, valid_from=BEGINNING)
    Rate.objects.create(card=card, role=role, currency="USD", amount=Decimal(120), valid_from=BEGINNING)
    people = [Resource.objects.create(code=f"P-{code}-{n}", name=f"Person {n} of {code}") for n in range(_PEOPLE)]
    for person in people:
        Engagement.objects.create(resource=person, entity=entity, role=role, valid_from=BEGINNING)
    keys = keys or {}
    if "entity" in keys:
        _known("entity", source, target, "e", keys["entity"], entity.pk)
    _known("project", source, target, "p1", keys.get("project", f"1514-{code}"), project.pk)
    for n, person in enumerate(people):
        _known("resource", source, target, f"r{n}", keys["resource"] if keys and not n else f"22-{code}-{n}", person.pk)
    Route.objects.create(entity=entity, source=source, target=target, kind="time", valid_from=BEGINNING)
    return source


def _known(kind: str, source: Connection, target: Connection, theirs: str, at_target: str, internal_id: int) -> None:
    for connection, key in ((source, f"{source.code}:{theirs}"), (target, at_target)):
        Crosswalk.objects.create(
            system=connection.connector, realm=connection.realm, kind=kind, external_id=key, internal_id=internal_id,
            valid_from=BEGINNING,
        )  # fmt: skip


def record(source: Connection, number: int, revision: int = 1, **changes: Any) -> TimeEntryRecord:
    """Eight approved hours of one person on one day; the number says whose and which."""
    return world.time_record(
        str(number),
        f"{revision:04}",
        **{
            "resource": Reference(f"{source.code}:r{number // DAYS}", "", ""),
            "project": Reference(f"{source.code}:p1", "", ""),
            "task": NOTHING,
            "approved_by": NOTHING,
            "work_date": FIRST + timedelta(days=number % DAYS),
            **changes,
        },
    )


def take_in(source: Connection, records: Sequence[TimeEntryRecord]) -> validation.Admitted:
    """Store records and admit what they became."""
    taken = canonical.take_in(source, [(next(_messages), one) for one in records])
    return validation.admit(taken.documents, actor="test")


def entries(source: Connection, number: int = 1, *, start: int = 0, **changes: Any) -> list[int]:
    """Ready entries of approved documents, by document; their ids."""
    admitted = take_in(source, [record(source, start + n, **changes) for n in range(number)])
    assert not admitted.held, list(LedgerEntry.objects.filter(pk__in=admitted.held).values_list("holds__sentence"))
    assert len(admitted.ready) == number
    return sorted(admitted.ready)


def withdraw(source: Connection, number: int) -> validation.Admitted:
    """The source takes an approval back."""
    return take_in(source, [record(source, number, 9, status=SourceStatus.WITHDRAWN)])


def states(ids: Sequence[int]) -> dict[int, str]:
    """Where entries stand, by id."""
    return dict(LedgerState.objects.filter(entry__in=ids).values_list("entry_id", "state"))


def state_of(entry_id: int) -> LedgerState:
    """One entry's state row."""
    return LedgerState.objects.get(entry=entry_id)


def make_due(ids: Sequence[int]) -> None:
    """Let the waiting time of entries be over."""
    LedgerState.objects.filter(entry__in=ids).update(next_attempt_at="2020-01-01T00:00:00Z")


def entity_of(source: Connection) -> LegalEntity:
    """The source's legal entity."""
    assert source.entity is not None
    return source.entity


def documents(source: Connection) -> int:
    """How many documents the source has."""
    return Document.objects.filter(connection=source).count()
