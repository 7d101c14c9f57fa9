"""Causes and the cases that stand for them: as they stand, back again, new, or led to the case that they were merged into."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from portal.sql import as_json, rows
from reconciliation.sql.cases import remember


class Cause(NamedTuple):
    """What makes a case unique while it is open."""

    rule: str
    entity_id: int
    subject_type: str
    subject_key: str


class Wanted(NamedTuple):
    """A cause that has entries now, and what its case says."""

    cause: Cause
    connection_id: int | None
    sentence: str
    detail: dict[str, Any]
    regression_days: int


class Opened(NamedTuple):
    """The open case of a cause; the merged case whose cause it is, where another took it over; and what became of it now."""

    case_id: int
    merged_from: int | None = None
    is_new: bool = False
    is_back: bool = False


_COLUMNS = "rule, entity_id, subject_type, subject_key"
_CAUSES = "unnest(%s::text[], %s::bigint[], %s::text[], %s::text[])"
_SAME = "c.rule = w.rule AND c.entity_id = w.entity_id AND c.subject_type = w.subject_type AND c.subject_key = w.subject_key"

# Where merged causes lead in the end: `origin` is the merged case, `at` the case that took it over (which may be resolved).
_WAYS = f"""
    wanted AS (SELECT * FROM {_CAUSES} AS w({_COLUMNS})),
    way AS (
        SELECT w.rule, w.entity_id, w.subject_type, w.subject_key, c.id AS origin, c.merged_into_id AS at, 1 AS steps
          FROM wanted w JOIN reconciliation_exceptioncase c ON {_SAME} WHERE c.state = 'merged'
     UNION ALL
        SELECT way.rule, way.entity_id, way.subject_type, way.subject_key, way.origin, c.merged_into_id, way.steps + 1
          FROM way JOIN reconciliation_exceptioncase w ON w.id = way.at JOIN reconciliation_exceptioncase c ON {_SAME}
         WHERE c.state = 'merged' AND way.steps < 50
    )"""  # noqa: S608


def _arrays(causes: Sequence[Cause]) -> list[list[Any]]:
    return [list(column) for column in zip(*causes, strict=True)]


def open_cases(wanted: Sequence[Wanted], *, reason: str) -> dict[Cause, Opened]:
    """The open case of each cause: as it stands, re-opened as regressed where it was resolved lately, or new.

    A cause that was merged lands in the case that it was merged into.
    """
    if not wanted:
        return {}
    lock_causes([item.cause for item in wanted])
    led = _merged(wanted)
    if led:
        lock_causes([item.cause for item, _ in led.values()])
    meant = {item.cause: led[item.cause][0] if item.cause in led else item for item in wanted}
    targets = list({item.cause: item for item in meant.values()}.values())
    known = _open_ids(_arrays([item.cause for item in targets]))
    missing = [item for item in targets if item.cause not in known]
    back = _reopen(missing) if missing else {}
    new = _create([item for item in missing if item.cause not in back])
    known |= back | new
    remember(list(new.values()), "+", reason)
    remember(list(back.values()), "~", f"The cause is back: {reason}")
    return {
        cause: Opened(known[item.cause], led[cause][1] if cause in led else None, item.cause in new, item.cause in back)
        for cause, item in meant.items()
    }


def lock_causes(causes: Sequence[Cause]) -> None:
    """One at a time for each cause and for what it was merged into, in one order, until the transaction ends."""
    rows(
        f"WITH RECURSIVE {_WAYS}, every AS ("  # noqa: S608
        f" SELECT {_COLUMNS} FROM wanted UNION SELECT c.rule, c.entity_id, c.subject_type, c.subject_key"
        "  FROM way JOIN reconciliation_exceptioncase c ON c.id = way.at)"
        " SELECT pg_advisory_xact_lock(k) FROM (SELECT DISTINCT hashtextextended(rule || chr(31) || entity_id || chr(31) ||"
        " subject_type || chr(31) || subject_key, 7) AS k FROM every ORDER BY 1) locks",
        _arrays(causes),
    )


def _merged(wanted: Sequence[Wanted]) -> dict[Cause, tuple[Wanted, int]]:
    """Of causes that were merged: the cause that took each over, as its last case says it, and the merged case."""
    found = rows(
        f"WITH RECURSIVE {_WAYS}"  # noqa: S608
        " SELECT DISTINCT ON (way.rule, way.entity_id, way.subject_type, way.subject_key)"
        "  way.rule, way.entity_id, way.subject_type, way.subject_key, way.origin,"
        "  c.rule, c.entity_id, c.subject_type, c.subject_key, c.connection_id, c.sentence, c.detail::text"
        " FROM way JOIN reconciliation_exceptioncase c ON c.id = way.at"
        " ORDER BY way.rule, way.entity_id, way.subject_type, way.subject_key, way.steps DESC",
        _arrays([item.cause for item in wanted]),
    )
    days = {item.cause: item.regression_days for item in wanted} if found else {}
    return {
        Cause(*row[:4]): (
            Wanted(Cause(*row[5:9]), row[9], row[10], json.loads(row[11]), days[Cause(*row[:4])]),
            row[4],
        )
        for row in found
    }


def _open_ids(arrays: list[list[Any]]) -> dict[Cause, int]:
    found = rows(
        "UPDATE reconciliation_exceptioncase c SET seen_at = now()"  # noqa: S608
        f" FROM {_CAUSES} AS w(rule, entity_id, subject_type, subject_key) WHERE c.state = 'open' AND {_SAME}"
        " RETURNING c.rule, c.entity_id, c.subject_type, c.subject_key, c.id",
        arrays,
    )
    return {Cause(*row[:4]): row[4] for row in found}


def _reopen(wanted: Sequence[Wanted]) -> dict[Cause, int]:
    found = rows(
        f"""
        WITH wanted AS (
            SELECT * FROM unnest(%s::text[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::jsonb[], %s::int[])
                AS w(rule, entity_id, subject_type, subject_key, sentence, detail, days)
        ), latest AS (
            SELECT DISTINCT ON (w.rule, w.entity_id, w.subject_type, w.subject_key) c.id, w.sentence, w.detail
              FROM wanted w JOIN reconciliation_exceptioncase c ON {_SAME}
             WHERE c.state = 'resolved' AND c.closed_at >= now() - make_interval(days => w.days)
             ORDER BY w.rule, w.entity_id, w.subject_type, w.subject_key, c.closed_at DESC, c.id DESC
        )
        UPDATE reconciliation_exceptioncase c
           SET state = 'open', regressions = c.regressions + 1, closed_at = NULL, seen_at = now(),
               sentence = latest.sentence, detail = latest.detail
          FROM latest WHERE c.id = latest.id
     RETURNING c.rule, c.entity_id, c.subject_type, c.subject_key, c.id""",  # noqa: S608
        [
            *_arrays([item.cause for item in wanted]),
            [item.sentence for item in wanted],
            [as_json(item.detail) for item in wanted],
            [item.regression_days for item in wanted],
        ],
    )
    return {Cause(*row[:4]): row[4] for row in found}


def _create(wanted: Sequence[Wanted]) -> dict[Cause, int]:
    if not wanted:
        return {}
    found = rows(
        "INSERT INTO reconciliation_exceptioncase (rule, entity_id, subject_type, subject_key, connection_id, sentence, detail,"
        " state, regressions, opened_at, seen_at, open_holds, open_hours, open_people)"
        " SELECT w.*, 'open', 0, now(), now(), 0, 0, 0 FROM"
        " unnest(%s::text[], %s::bigint[], %s::text[], %s::text[], %s::bigint[], %s::text[], %s::jsonb[]) AS w"
        " RETURNING rule, entity_id, subject_type, subject_key, id",
        [
            *_arrays([item.cause for item in wanted]),
            [item.connection_id for item in wanted],
            [item.sentence for item in wanted],
            [as_json(item.detail) for item in wanted],
        ],
    )
    return {Cause(*row[:4]): row[4] for row in found}


def say(cases: Sequence[tuple[int, Wanted]]) -> list[int]:
    """Let open cases say what is found now; the ids of those that said something else before."""
    found = rows(
        "UPDATE reconciliation_exceptioncase c SET sentence = w.sentence, detail = w.detail"
        " FROM unnest(%s::bigint[], %s::text[], %s::jsonb[]) AS w(id, sentence, detail)"
        " WHERE c.id = w.id AND c.sentence <> w.sentence RETURNING c.id",
        [[i for i, _ in cases], [w.sentence for _, w in cases], [as_json(w.detail) for _, w in cases]],
    )
    return [row[0] for row in found]


def reword(cases: Sequence[tuple[int, str]]) -> list[int]:
    """Let open cases say another sentence; the ids of those that said something else before."""
    found = rows(
        "UPDATE reconciliation_exceptioncase c SET sentence = w.sentence FROM unnest(%s::bigint[], %s::text[]) AS w(id, sentence)"
        " WHERE c.id = w.id AND c.state = 'open' AND c.sentence <> w.sentence RETURNING c.id",
        [[i for i, _ in cases], [sentence for _, sentence in cases]],
    )
    return [row[0] for row in found]
