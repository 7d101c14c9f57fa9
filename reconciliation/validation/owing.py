"""Why nothing is owed for a version of a document, in one sentence: the API, the terminal and the search say it alike.

The rule here: the order is that of admission. What has a live entry on the ledger is owed, and the ledger says how it stands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from django.db.models import F

from portal import figures
from portal.models import Document, Expense, LedgerState, State, TimeEntry
from portal.models.documents import STATUS_CHOICES
from reconciliation.sql import documents, master_data, owed

SUPERSEDED, NOT_APPROVED, BEFORE_CUT_OVER = "superseded", "not-approved", "before-cut-over"
BEING_BROUGHT_IN, BOOKED_BEFORE = "being-brought-in", "booked-before"
NO_ROUTE, LEFT_OUT, TAKEN_BACK, NOT_VALIDATED = "no-route", "left-out", "taken-back", "not-validated"
CODES = (
    SUPERSEDED, NOT_APPROVED, BEFORE_CUT_OVER, BEING_BROUGHT_IN, BOOKED_BEFORE, NO_ROUTE, LEFT_OUT, TAKEN_BACK, NOT_VALIDATED,
)  # fmt: skip
_STATUS = dict(STATUS_CHOICES)


@dataclass(frozen=True, slots=True)
class Asked:
    """One version of a document and what stands on the ledger for it: (entry id, state) of entries that take nothing back."""

    document_id: int
    source_id: int
    source: str
    cut_over_on: date | None
    entity_id: int
    kind: str
    version: int
    current_version: int
    status: str
    work_date: date
    ledger: Sequence[tuple[int, str]]


@dataclass(frozen=True, slots=True)
class NotOwed:
    """Why nothing is owed: a stable code, and the sentence that finance reads."""

    code: str
    sentence: str


def why_not(asked: Sequence[Asked]) -> list[NotOwed | None]:
    """For each version why nothing is owed for it; None for what is owed. Four queries, whatever the number."""
    sources = {one.source_id for one in asked}
    routes = _routes(sources)
    before = owed.booked_before({one.document_id for one in asked})
    first_days = {(source, entity, kind): day for source, entity, kind, day in owed.first_days(sources)}
    withdrawn = [entry_id for one in asked for entry_id, state in one.ledger if state == State.CANCELLED]
    reasons = documents.reasons_of_cancelled(withdrawn)
    return [
        _why_not(
            one,
            routes,
            reasons,
            first_days.get((one.source_id, one.entity_id, one.kind), one.cut_over_on),
            before.get(one.document_id),
        )
        for one in asked
    ]


def why_not_of(found: Sequence[Document]) -> list[NotOwed | None]:
    """The same for the current versions of documents."""
    ids = [document.pk for document in found]
    columns = ("document_id", "status", "work_date")
    current: dict[int, tuple[str, date]] = {}
    for model in (TimeEntry, Expense):
        rows = model.objects.filter(document__in=ids, version=F("document__current_version"))
        current.update({row[0]: (row[1], row[2]) for row in rows.values_list(*columns)})
    standing: dict[int, list[tuple[int, str]]] = {}
    states = LedgerState.objects.filter(entry__document__in=ids, entry__reverses=None)
    for document_id, entry_id, state in states.values_list("entry__document_id", "entry_id", "state"):
        standing.setdefault(document_id, []).append((entry_id, state))
    return why_not(
        [
            Asked(
                document.pk, document.connection_id, document.connection.name, document.connection.cut_over_on,
                document.entity_id, document.kind, document.current_version, document.current_version, *current[document.pk],
                standing.get(document.pk, ()),
            )
            for document in found
        ]
    )  # fmt: skip


def _routes(source_ids: set[int]) -> dict[tuple[int, int, str], list[tuple[date, date]]]:
    """The days on which a source's documents of an entity and kind have a target."""
    found: dict[tuple[int, int, str], list[tuple[date, date]]] = {}
    for source_id, entity_id, kind, start, end, *_ in master_data.routes(source_ids) if source_ids else ():
        found.setdefault((source_id, entity_id, kind), []).append((start, end))
    return found


def _why_not(
    one: Asked,
    routes: Mapping[tuple[int, int, str], Sequence[tuple[date, date]]],
    reasons: Mapping[int, str],
    owed_from: date | None,
    number: str | None,
) -> NotOwed | None:
    if one.version != one.current_version:
        return NotOwed(SUPERSEDED, f"Version {one.current_version} came since; what is owed follows that.")
    if one.status != "approved":
        return NotOwed(
            NOT_APPROVED, f"It is {_STATUS.get(one.status, one.status).lower()} at {one.source}: nothing is owed."
        )
    states = {state for _, state in one.ledger}
    if states - {State.CANCELLED, State.REVERSED}:
        return None
    if number is not None:
        return NotOwed(BOOKED_BEFORE, f"It was booked as {number} before {one.source} went live: history, not posted.")
    if owed_from == owed.NEVER:
        return NotOwed(BEING_BROUGHT_IN, f"What {one.source} brings is rehearsed: nothing is owed before it goes live.")
    if owed_from is not None and one.work_date < owed_from and State.REVERSED not in states:
        words = f"Worked before {figures.day(owed_from)}, the cut-over of {one.source}: history, not posted."
        return NotOwed(BEFORE_CUT_OVER, words)
    if State.REVERSED in states:
        return NotOwed(TAKEN_BACK, "It was booked and taken back; nothing is owed.")
    said = [reasons[entry_id] for entry_id, _ in one.ledger if reasons.get(entry_id, "").startswith(documents.LEFT_OUT)]
    if said:
        return NotOwed(LEFT_OUT, f"A person left it out: {said[-1].removeprefix(documents.LEFT_OUT)}.")
    days = routes.get((one.source_id, one.entity_id, one.kind), ())
    if not any(start <= one.work_date <= end for start, end in days):
        what = "expenses" if one.kind == "expense" else "time entries"
        words = f"No route leads {what} of {one.source} to a target on {figures.day(one.work_date)}; add a route."
        return NotOwed(NO_ROUTE, words)
    return NotOwed(NOT_VALIDATED, "It was taken in and is not validated yet.")


def row_of(found: NotOwed | None) -> dict[str, Any] | None:
    """The reason as a row shows it."""
    return {"code": found.code, "sentence": found.sentence} if found is not None else None
