"""What a target says it has booked for an entity and period, read whole and kept line by line.

The rule here: the statement is the target's word, ours or not; nothing is left out because we know nothing of it. It is read
without an open transaction and taken in by chunks; only a statement that was read to its end may say that a line is gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import islice
from typing import Any

from django.db import transaction
from django.db.models import Q

from integrations import breaker, registry, slots
from integrations.errors import ConnectorError
from integrations.sql import statements as sql
from portal.models import AccountingPeriod, Connection, Crosswalk, LegalEntity, User
from portal.records import StatementLine
from reconciliation import matching
from reconciliation.models import ReconciliationRun

_CHUNK = 5000


class NoStatement(Exception):
    """The target cannot say what it has booked, so nothing can be compared with it."""


@dataclass(frozen=True, slots=True)
class Read:
    """What one reading found."""

    read_at: datetime
    lines: int
    gone: int


def targets_of(entity: LegalEntity, period: AccountingPeriod) -> list[Connection]:
    """The targets that this entity's documents are, or were, owed to in the period."""
    of_routes = Q(routes_in__entity=entity)
    of_entries = Q(target_entries__entity=entity, target_entries__period=period)
    return list(Connection.objects.filter(of_routes | of_entries, is_target=True).distinct().order_by("code"))


def read(connection: Connection, entity: LegalEntity, period: AccountingPeriod) -> Read:
    """Read the target's statement of an entity and period and keep it. Raises a ConnectorError or NoStatement.

    A line that an earlier reading held, with a date in the period, and that this one does not, is marked as gone.
    """
    target = registry.target(connection)
    if not target.capabilities.statement:
        raise NoStatement(f"{connection} does not say what it has booked; the period cannot be tied out with it.")
    key = entity_key(connection, entity, period)
    if not key and connection.routes_in.exclude(entity=entity).exists():
        raise NoStatement(
            f"{connection} is shared and has no key for {entity}, so its statement would be everybody's; "
            "add the key to crosswalks.csv."
        )
    read_at = sql.clock()
    taken = 0
    error: ConnectorError | None = None
    with slots.lease(connection.pk, connection.concurrency, wanted=1):
        try:
            for chunk in _chunks(target.statement(period.starts_on, period.ends_on, key)):
                taken += _keep(connection, entity, key, chunk, read_at)
        except ConnectorError as failure:
            error = failure
    breaker.record(connection.pk, [breaker.hear(error)])
    if error is not None:
        raise error
    gone = sql.mark_gone(connection.pk, entity.pk, period.starts_on, period.ends_on, read_at)
    return Read(read_at, taken, gone)


def entity_key(connection: Connection, entity: LegalEntity, period: AccountingPeriod) -> str:
    """The target's own key for the entity, as of the period's end; empty where its account holds one entity only."""
    found = (
        Crosswalk.objects.filter(
            system=connection.connector,
            realm=connection.realm,
            kind=Crosswalk.Kind.ENTITY,
            internal_id=entity.pk,
            valid_from__lte=period.ends_on,
        )
        .filter(Q(valid_to=None) | Q(valid_to__gte=period.starts_on))
        .order_by("-valid_from")
        .values_list("external_id", flat=True)
        .first()
    )
    return found or ""


def _chunks(lines: Iterable[StatementLine]) -> Iterator[list[StatementLine]]:
    iterator = iter(lines)
    while chunk := list(islice(iterator, _CHUNK)):
        yield chunk


def _keep(connection: Connection, entity: LegalEntity, key: str, lines: list[StatementLine], read_at: datetime) -> int:
    rows: dict[tuple[str, str], tuple[Any, ...]] = {}
    for line in lines:
        if key and line.entity and line.entity != key:
            continue
        rows[str(line.kind), line.number] = (
            str(line.kind), line.number, line.key, line.work_date, line.resource, line.project, line.hours, line.rate,
            line.amount, line.currency, line.memo,
        )  # fmt: skip
    with transaction.atomic():
        sql.keep_lines(connection.pk, entity.pk, read_at, list(rows.values()))
    return len(rows)


def reconcile(entity: LegalEntity, period: AccountingPeriod, user: User | None = None) -> ReconciliationRun:
    """Read the statements of all the entity's targets for a period and compare; the run, failed where one cannot be read."""
    try:
        tolerances, read_at = _read_all(entity, period)
    except _Unread as unread:
        return matching.fail(entity, period, user, str(unread))
    return matching.run(entity, period, user, targets=tolerances, read_at=read_at)


def answer(run_id: int) -> ReconciliationRun | None:
    """Do the comparison that a person asked for; None when it has ended already. Whatever goes wrong ends in the run."""
    found = ReconciliationRun.objects.select_related("entity", "period").get(pk=run_id)
    if found.state != ReconciliationRun.State.RUNNING:
        return None
    try:
        tolerances, found.statement_read_at = _read_all(found.entity, found.period)
    except _Unread as unread:
        return matching.give_up(found, str(unread))
    return matching.compare(found, targets=tolerances)


class _Unread(Exception):
    """The statement of a target could not be read; the sentence says which and why."""


def _read_all(entity: LegalEntity, period: AccountingPeriod) -> tuple[dict[int, Decimal], datetime | None]:
    """Read the statements of all targets: the hours that each cannot tell apart, and when the oldest was read."""
    tolerances: dict[int, Decimal] = {}
    read_at: datetime | None = None
    for connection in targets_of(entity, period):
        try:
            tolerances[connection.pk] = registry.target(connection).capabilities.hours_tolerance
            taken = read(connection, entity, period)
        except (ConnectorError, NoStatement, registry.UnknownConnector, registry.WrongHalf) as error:
            raise _Unread(f"The statement of {connection} could not be read: {error}") from error
        read_at = min(read_at or taken.read_at, taken.read_at)
    return tolerances, read_at
