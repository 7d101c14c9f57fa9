"""Entries whose worker did not come back: from SENDING to IN_DOUBT, because the call may have gone out.

The rule here: this is the only way out of a lost lease, and it never makes anything due again; only a look-up does.
"""

from __future__ import annotations

from django.db import transaction

from integrations import timing
from integrations.outbox.claim import ACTOR, DIED
from integrations.sql import outbound as sql
from portal import ledger
from portal.models import Connection

_AT_ONCE = 1000


def recover(connection_id: int | None = None) -> int:
    """Put entries with an expired lease in doubt, to be looked up at once; how many. All targets when none is named."""
    targets = Connection.objects.filter(is_target=True)
    if connection_id is not None:
        targets = targets.filter(pk=connection_id)
    return sum(_recover(pk) for pk in targets.values_list("pk", flat=True))


def _recover(connection_id: int) -> int:
    recovered = 0
    while True:
        with transaction.atomic():
            lost = sql.expired(connection_id, _AT_ONCE)
            if not lost:
                break
            refs = [(entry.entry_id, entry.fence) for entry in lost]
            recovered += len(ledger.doubt(refs, look_up_after_seconds=0, actor=ACTOR, reason=DIED))
    sql.abandon_attempts(connection_id, timing.scaled(3 * timing.LEASE))
    return recovered
