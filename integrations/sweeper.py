"""The one recovery path: whatever waits for a worker and was forgotten is found here, by its row.

The rule here: one sweeper at a time. What is due gets a hint; what has been due for long, or has nobody to hint, is done at
once by the sweeper itself, so a dead broker costs speed and no work.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import time

from django.db import connection

from integrations import outbox, wake, work
from integrations.sql import streams as stream_sql
from integrations.sql import waiting
from portal import digests, exports
from portal.health import heard_from
from portal.sql import now
from reconciliation import billing, changes, holes, matching, operations
from reconciliation.onboarding import rehearsing
from reconciliation.rates import booking, unsettled

log = logging.getLogger(__name__)

PATIENCE = 45.0  # seconds that something may be due before the sweeper does it itself
NIGHT_IS_OVER = time(2)  # UTC; from then on the nightly comparison of ids is overdue, because its hint was lost

_STAGES: dict[str, Callable[[int], object]] = {
    "pull": work.pull,
    "answer_hints": work.answer_hints,
    "take_in": work.take_in,
    "deliver": work.deliver,
    "sweep_ids": work.sweep_ids,
    "operation": work.operation,
    "change_set": work.change_set,
    "rate_bundle": work.rate_bundle,
    "rate_look": work.rate_look,
    "reconcile": work.reconcile,
    "rehearse": work.rehearse,
    "export": work.export,
    "digest": work.digest,
}


_OVERDUE: dict[str, Callable[[], Iterable[tuple[int, float]]]] = {  # with the seconds that each has waited
    "operation": operations.overdue,
    "change_set": changes.due,
    "rate_bundle": booking.due,
    "rate_look": unsettled.due,
}
_ASKED: dict[str, Callable[[], Sequence[int]]] = {  # what somebody waits for: due as soon as it is asked
    "reconcile": matching.requested,
    "rehearse": rehearsing.due,
    "export": exports.due,
    "digest": digests.due,
}


@dataclass(slots=True)
class Swept:
    """What one sweep found: leases of the dead, hints given, and what it did itself."""

    streams: int = 0
    entries: int = 0
    hinted: int = 0
    done: int = 0
    failed: int = 0


def sweep(*, patience: float = PATIENCE) -> Swept | None:
    """Find everything that is due; None while another sweeper is at it."""
    if not waiting.try_lock(work.Stage.SWEEP, 0):
        return None
    swept = Swept()
    try:
        swept.streams = stream_sql.recover_streams()
        _do("recovering entries", lambda: _recover_entries(swept), swept)
        _do("validating again", work.revalidate, swept)
        _do("looking after causes", work.look_after_causes, swept)
        _do("publishing what its day brought", work.publish_what_its_day_brought, swept)
        _do("proposing invoices", work.propose_invoices, swept)
        _do("comparing balances of bills", work.compare_balances, swept)
        _do("removing files that expired", exports.discard, swept)
        _do("following operations", operations.follow, swept)
        _do("watching certificates", matching.watch, swept)
        _do("telling mails in doubt", digests.recover, swept)
        for task, number, overdue in list(_due()):
            heard_from("sweeper")
            _see_to(task, number, overdue > patience, swept)
        heard_from("sweeper", hinted=swept.hinted, done=swept.done, failed=swept.failed)
    finally:
        waiting.unlock(work.Stage.SWEEP, 0)
    return swept


def nightly() -> None:
    """What is done once a night: ids of open periods compared, webhooks kept alive, and what was posted read once more."""
    for stream_id in stream_sql.unswept_streams():
        wake.up("sweep_ids", stream_id)
    for source_id in waiting.active_sources():
        wake.up("keep_subscriptions", source_id)
    for target_id in waiting.active_targets():
        wake.up("read_back", target_id)
    billing.review_every()
    holes.look()
    unsettled.let_go()


def _due() -> Iterator[tuple[str, int, float]]:
    """Every piece of work that is due: its task, its number, and the seconds that it has been due."""
    for stream_id, _, overdue in stream_sql.due_streams():
        yield "pull", stream_id, overdue
    for connection_id, overdue in waiting.waiting_connections("hint"):
        yield "answer_hints", connection_id, overdue
    for connection_id, overdue in waiting.waiting_connections("record"):
        yield "take_in", connection_id, overdue
    for target_id, overdue in waiting.due_targets():
        yield "deliver", target_id, overdue
    for task, waits in _OVERDUE.items():
        for number, overdue in waits():
            yield task, number, overdue
    for task, asked in _ASKED.items():
        for number in asked():
            yield task, number, 0.0
    if now().time() >= NIGHT_IS_OVER:
        for stream_id in stream_sql.unswept_streams():
            yield "sweep_ids", stream_id, 0.0


def _see_to(task: str, number: int, is_late: bool, swept: Swept) -> None:
    """Hint at one piece of work, or do it here."""
    if not is_late and wake.up(task, number):
        swept.hinted += 1
    elif _do(f"{task} {number}", lambda: _STAGES[task](number), swept):
        swept.done += 1


def _do(what: str, step: Callable[[], object], swept: Swept) -> bool:
    """Do one piece of work; whether it went well. Its failure is its own: the next sweep finds it again."""
    try:
        step()
    except Exception:
        log.exception("%s failed", what)
        swept.failed += 1
        return False
    return True


def _recover_entries(swept: Swept) -> None:
    swept.entries = outbox.recover()


def sweep_and_leave(*, patience: float = PATIENCE) -> None:
    """One sweep of a loop of its own: whatever fails is told and tried again, and no database connection stays open."""
    try:
        sweep(patience=patience)
    except Exception:
        log.exception("the sweep failed")
    finally:
        connection.close()
