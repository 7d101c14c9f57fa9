"""Rehearsals that wait for a worker: what the targets booked is read, then the month is replayed in shadow and compared.

The rule here: reading is all that is asked of a target. Its door, its slots and its errors are those of a comparison; a rehearsal
whose worker dies is begun anew by the next one.
"""

from __future__ import annotations

from decimal import Decimal
from functools import partial

from django.db.models import Q

from integrations import registry, statements
from integrations.errors import ConnectorError
from integrations.outbox import door
from portal.models import AccountingPeriod, Connection
from portal.models.documents import INVOICE
from reconciliation.models import Rehearsal, Route
from reconciliation.onboarding import RehearsalLost, rehearsing, sources_of

_MOST_DEATHS = 3  # of workers on one rehearsal


def answer(rehearsal_id: int) -> Rehearsal | None:
    """Make a rehearsal that waits for a worker; None when it has ended, waits, or another worker has it."""
    found = rehearsing.take(rehearsal_id)
    if found is None:
        return None
    if found.deaths >= _MOST_DEATHS:
        said = f"Its worker ended {found.deaths} times before it was through, so nobody tries it again by itself."
        rehearsing.give_up(found, said)
    else:
        _see_through(found)
    found.refresh_from_db()
    return found


def _see_through(found: Rehearsal) -> None:
    """Read, judge, compare and end. Whatever goes wrong ends, or waits, in the rehearsal."""
    try:
        rehearsing.play(found, _targets(found))
    except door.NotNow as closed:
        rehearsing.put_off(found, str(closed), closed.seconds)
    except statements.NoStatement as unread:
        rehearsing.give_up(found, f"{unread} Upload a file of what was booked instead.")
    except (ConnectorError, registry.UnknownConnector, registry.WrongHalf) as error:
        rehearsing.give_up(found, f"What was booked could not be read: {error}")
    except RehearsalLost:
        return
    except Exception as error:
        rehearsing.give_up(found, f"Tieout itself failed: {type(error).__name__}: {error}")
        raise


def _targets(found: Rehearsal) -> dict[int, Decimal]:
    """The targets, each with the hours that it cannot tell apart, once what they booked since the month began was read."""
    onboarding = found.onboarding
    start, end = rehearsing.span(found)
    routes = Route.objects.filter(entity=onboarding.entity, source__in=sources_of(onboarding)).exclude(kind=INVOICE)
    if found.basis == Rehearsal.Basis.FILE:
        return {target_id: Decimal(0) for target_id in routes.values_list("target_id", flat=True)}
    tolerances: dict[int, Decimal] = {}
    periods = AccountingPeriod.objects.filter(Q(starts_on__lte=end), entity=onboarding.entity, ends_on__gte=start)
    for connection in Connection.objects.filter(pk__in=routes.values("target_id")).order_by("code"):
        for period in periods.order_by("starts_on"):
            alive = partial(rehearsing.go_on, found, f"Reading what {connection} booked in {period.code}")
            alive()
            statements.read(connection, onboarding.entity, period, alive=alive)
        tolerances[connection.pk] = registry.target(connection).capabilities.hours_tolerance
    return tolerances
