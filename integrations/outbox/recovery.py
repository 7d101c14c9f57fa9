"""Entries whose worker did not come back: from SENDING to IN_DOUBT, because the call may have gone out.

The rule here: this is the only way out of a lost lease, and it never makes anything due again; only a look-up does.
"""

from __future__ import annotations

from django.db import transaction
from django.db.models import Q

from integrations import timing
from integrations.outbox import causes
from integrations.outbox.claim import ACTOR, DIED
from integrations.sql import outbound as sql
from portal import ledger
from portal.models import Connection
from reconciliation import questions

_AT_ONCE = 1000


def recover(connection_id: int | None = None) -> int:
    """Put entries with an expired lease in doubt, to be looked up at once; how many. All targets when none is named.

    What has been in doubt for half an hour becomes a case, whether or not the target can be asked.
    """
    targets = Connection.objects.filter(Q(is_target=True) | Q(is_recipient=True) | Q(is_biller=True))
    if connection_id is not None:
        targets = targets.filter(pk=connection_id)
    questions.moved_on()
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
    with transaction.atomic():  # also while the door is closed and nothing can be looked up
        seconds = timing.scaled(timing.ESCALATE_DOUBT)
        if old := sql.old_doubts(connection_id, seconds, causes.IN_DOUBT, _AT_ONCE):
            causes.in_doubt_too_long(Connection.objects.get(pk=connection_id), old)
    sql.abandon_attempts(connection_id, timing.scaled(3 * timing.LEASE))
    return recovered
