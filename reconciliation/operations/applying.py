"""A fix is done to many entries at once, and a row that breaks it fails alone; the dry-run is the same, rolled back."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from celery.exceptions import SoftTimeLimitExceeded
from django.core.exceptions import ObjectDoesNotExist
from django.db import DatabaseError, InterfaceError, OperationalError, transaction

from reconciliation.cases import NotWaivable
from reconciliation.corrections import NoOpenPeriod, NotReversible
from reconciliation.fixes import Fix, RowOutcome, Work, outcomes
from reconciliation.sql import documents

CHUNK = 500  # rows that a fix is done to in one go, some seconds of work at most; in its dry-run as when it runs

log = logging.getLogger(__name__)


class OperationRefused(Exception):
    """Why an operation cannot be planned, confirmed or cancelled; the text is for the person."""


class NothingToFix(OperationRefused):
    """No entry of the selection can be fixed this way."""


# What a fix says of one row. Anything else that breaks is a fault of ours, and is logged besides.
OF_THE_ROW = (
    OperationRefused, NotReversible, NoOpenPeriod, NotWaivable, ObjectDoesNotExist, ValueError, LookupError, DatabaseError,
)  # fmt: skip
# Of the database, or of the time that a task may take: no row's fault, so the whole chunk is done again.
TRANSIENT = (OperationalError, InterfaceError, SoftTimeLimitExceeded)


@contextmanager
def _rolled_back() -> Iterator[None]:
    """Everything done inside is undone, also inside an open transaction."""
    with transaction.atomic():
        point = transaction.savepoint()
        try:
            yield
        finally:
            transaction.savepoint_rollback(point)


def dry_run(
    fix: Fix, work: Work, entry_ids: Sequence[int], *, seen: Callable[[int], None] = lambda _count: None
) -> dict[int, RowOutcome]:
    """What would come of each entry: the fix itself in the chunks in which it will run, all of it rolled back at the end.

    A chunk sees what those before it did, as it will when it runs. `seen` is told after each how many rows are behind it; what
    it raises ends the dry-run. Raises OperationRefused when the fix breaks on every row.
    """
    problems: dict[int, str] = {}
    after: dict[int, RowOutcome] = {}
    with _rolled_back():
        documents.lock(documents.of_entries(entry_ids))  # all of them in order, so that chunks deadlock with nobody
        for start in range(0, len(entry_ids), CHUNK):
            some = entry_ids[start : start + CHUNK]
            problems |= apply(fix, work, some)
            after |= outcomes(some)
            seen(start + len(some))
    if len(problems) == len(entry_ids):
        raise OperationRefused(next(iter(problems.values())))
    return after | {
        entry_id: replace(after[entry_id], passes=False, sentence=problem) for entry_id, problem in problems.items()
    }


def apply(fix: Fix, work: Work, entry_ids: Sequence[int]) -> dict[int, str]:
    """Apply to all at once; where that breaks, halve until the row that breaks it stands alone. Its message by entry.

    `prepare` is undone with what it was made for, so it is made anew with the first half that holds, and found by the others.
    """
    if not entry_ids:
        return {}
    problem = _attempt(fix, work, entry_ids)
    if problem is None:
        return {}
    if len(entry_ids) > 1:
        middle = len(entry_ids) // 2
        return apply(fix, work, entry_ids[:middle]) | apply(fix, work, entry_ids[middle:])
    if isinstance(problem, OF_THE_ROW):
        return {entry_ids[0]: str(problem)}
    log.error("the fix %s broke on ledger entry %s", fix.code, entry_ids[0], exc_info=problem)
    return {entry_ids[0]: f"Tieout itself failed on this entry ({type(problem).__name__}); operations can read why."}


def _attempt(fix: Fix, work: Work, entry_ids: Sequence[int]) -> Exception | None:
    """Prepare and apply, all or nothing; what went wrong. Raises what is the database's trouble and no row's."""
    try:
        with transaction.atomic():
            fix.prepare(work)
            fix.apply(work, entry_ids)
    except TRANSIENT:
        raise
    except Exception as problem:  # noqa: BLE001  whatever it is, it must not stop the other rows
        return problem
    return None
