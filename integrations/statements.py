"""What a target says it has booked for an entity and period, read whole and kept line by line.

The rule here: the statement is the target's word, ours or not; nothing is left out because we know nothing of it. It is read
through the same door and under the same slots as everything else, without an open transaction, and taken in by chunks; only a
statement that was read to its end may say that a line is gone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from itertools import islice
from typing import Any

from django.db import transaction
from django.db.models import Q

from integrations import registry, slots, timing
from integrations.errors import ConnectorError
from integrations.outbox import door
from integrations.sql import statements as sql
from portal.models import AccountingPeriod, Connection, Crosswalk, LegalEntity, User
from portal.records import StatementLine
from reconciliation import matching
from reconciliation.models import ReconciliationRun

_CHUNK = 5000
_MOST_DEATHS = 3  # of workers on one comparison
_LOOK = 1.0  # seconds between two looks at the door while a statement is read


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


def read(
    connection: Connection, entity: LegalEntity, period: AccountingPeriod, *, alive: Callable[[], None] = lambda: None
) -> Read:
    """Read the target's statement of an entity and period and keep it. Raises a ConnectorError, NoStatement or door.NotNow.

    A line that an earlier reading held, with a date in the period, and that this one does not, is marked as gone. `alive` is
    called every now and then while it is read, and may raise to stop it.
    """
    read_at = sql.clock()
    taken = 0
    with door.one_call(connection) as (target, held):
        if not target.capabilities.statement:
            raise NoStatement(f"{connection} does not say what it has booked; the period cannot be tied out with it.")
        key = entity_key(connection, entity, period)
        if not key and connection.routes_in.exclude(entity=entity).exists():
            raise NoStatement(
                f"{connection} is shared and has no key for {entity}, so its statement would be everybody's; "
                "add the key to crosswalks.csv."
            )
        lines = _at_leisure(connection, held, target.statement(period.starts_on, period.ends_on, key), alive)
        for chunk in _chunks(lines):
            taken += _keep(connection, entity, key, chunk, read_at)
    gone = sql.mark_gone(connection.pk, entity.pk, period.starts_on, period.ends_on, read_at)
    return Read(read_at, taken, gone)


def whole(connection: Connection, start: date, end: date) -> Iterator[StatementLine]:
    """Everything that the target says it has booked on some days, whoever's it is. Raises as `read` does."""
    with door.one_call(connection) as (target, held):
        if not target.capabilities.statement:
            raise NoStatement(f"{connection} does not say what it has booked.")
        yield from _at_leisure(connection, held, target.statement(start, end), lambda: None)


def _at_leisure(
    connection: Connection, held: slots.Lease, lines: Iterable[StatementLine], alive: Callable[[], None]
) -> Iterator[StatementLine]:
    """The lines as they come; between them, every second, the slot is kept and the door is looked at.

    Whoever reads for minutes stops, as everybody does, when a maintenance window begins or the breaker opens.
    """
    looked = renewed = time.monotonic()
    for line in lines:
        yield line
        now = time.monotonic()
        if now - looked < _LOOK:
            continue
        looked = now
        alive()
        connection.refresh_from_db()
        door.stay(connection)
        if now - renewed > timing.scaled(timing.SLOT_LEASE) / 3:
            renewed = now
            held.renew()
            if not held.numbers:
                raise door.NotNow(f"The leave to call {connection} was lost to another worker.")


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
    """Read the statements of all the entity's targets for a period and compare.

    The run is failed where a statement cannot be read. Where a target is not to be asked now it stays RUNNING, says why, and
    the sweeper goes on with it.
    """
    return _see_through(matching.begin(entity, period, user))


def answer(run_id: int) -> ReconciliationRun | None:
    """Go on with a comparison that waits for a worker; None when it has ended, waits, or another worker has it."""
    found = matching.take(run_id)
    if found is None:
        return None
    if found.deaths >= _MOST_DEATHS:
        said = f"Its worker ended {found.deaths} times before it was through, so nobody tries it again by itself."
        return matching.give_up(found, said)
    return _see_through(found)


def _see_through(found: ReconciliationRun) -> ReconciliationRun:
    """Read, compare and end a run that this worker holds. Whatever goes wrong ends, or waits, in the run."""
    try:
        tolerances, found.statement_read_at = _read_all(found)
        return matching.compare(found, targets=tolerances)
    except door.NotNow as closed:
        return matching.put_off(found, str(closed), closed.seconds)
    except _Unread as unread:
        return matching.give_up(found, str(unread))
    except matching.RunLost:
        found.refresh_from_db()
        return found
    except Exception as error:
        matching.give_up(found, f"Tieout itself failed: {type(error).__name__}: {error}")
        raise


class _Unread(Exception):
    """The statement of a target could not be read; the sentence says which and why."""


def _read_all(found: ReconciliationRun) -> tuple[dict[int, Decimal], datetime | None]:
    """Read the statements of all targets: the hours that each cannot tell apart, and when the oldest was read."""
    tolerances: dict[int, Decimal] = {}
    read_at: datetime | None = None
    for connection in targets_of(found.entity, found.period):
        try:
            taken = read(connection, found.entity, found.period, alive=lambda: matching.hold_on(found))
            tolerances[connection.pk] = registry.target(connection).capabilities.hours_tolerance
        except (ConnectorError, NoStatement, registry.UnknownConnector, registry.WrongHalf) as error:
            raise _Unread(f"The statement of {connection} could not be read: {error}") from error
        matching.hold_on(found)
        read_at = min(read_at or taken.read_at, taken.read_at)
    return tolerances, read_at
