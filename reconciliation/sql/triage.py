"""Triage, set-based: who gets a case, what sets it aside and what ends that, merging, escalation.

Cases are locked in the order of their ids.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from portal.sql import as_json, copy_in, execute, rows

_TYPES = {
    "owner_id": "bigint", "team_id": "bigint", "aside": "text", "state": "text", "merged_into_id": "bigint",
    "closed_at": "timestamptz", "escalated_at": "timestamptz",
}  # fmt: skip


class CaseRow(NamedTuple):
    """One case as triage sees it, locked."""

    id: int
    entity_id: int
    rule: str
    state: str
    aside: str
    owner_id: int | None
    team_id: int | None
    tags: list[str]
    merged_into_id: int | None
    sentence: str


def lock(case_ids: Sequence[int]) -> list[CaseRow]:
    """The cases, locked until the transaction ends."""
    return [
        CaseRow(*row)
        for row in rows(
            "SELECT id, entity_id, rule, state, aside, owner_id, team_id, tags, merged_into_id, sentence"
            " FROM reconciliation_exceptioncase WHERE id = ANY(%s::bigint[]) ORDER BY id FOR NO KEY UPDATE",
            [sorted(case_ids)],
        )
    ]


def change(case_ids: Sequence[int], values: Mapping[str, Sequence[Any]]) -> int:
    """Write columns of cases, one list of values for each; how many were written."""
    names = list(values)
    sets = ", ".join(f"{name} = w.{name}" for name in names)
    arrays = ", ".join(f"%s::{_TYPES[name]}[]" for name in names)
    return execute(
        f"UPDATE reconciliation_exceptioncase c SET {sets} FROM unnest(%s::bigint[], {arrays}) AS w(id, {', '.join(names)})"  # noqa: S608
        " WHERE c.id = w.id",
        [list(case_ids), *(list(column) for column in values.values())],
    )


def change_tags(case_ids: Sequence[int], tags: Sequence[Sequence[str]]) -> int:
    """Give cases their tags; lists of lists are no arrays, so they go as JSON."""
    return execute(
        "UPDATE reconciliation_exceptioncase c SET tags = ARRAY(SELECT jsonb_array_elements_text(w.tags))"
        " FROM unnest(%s::bigint[], %s::jsonb[]) AS w(id, tags) WHERE c.id = w.id",
        [list(case_ids), [as_json(list(one)) for one in tags]],
    )


class Given(NamedTuple):
    """A case that an ownership rule gave to a team."""

    case_id: int
    team_id: int
    entity_id: int


def give_by_rule(case_ids: Sequence[int], themes: Sequence[tuple[str, str]]) -> list[Given]:
    """Give cases without a team to the team of the first ownership rule that fits; `themes` are (theme, rule code)."""
    return [
        Given(*row)
        for row in rows(
            """
            UPDATE reconciliation_exceptioncase c SET team_id = fits.team_id FROM (
                SELECT DISTINCT ON (c.id) c.id, o.team_id
                  FROM reconciliation_exceptioncase c
                  JOIN reconciliation_ownershiprule o ON o.entity_id = c.entity_id
                  JOIN reconciliation_team t ON t.id = o.team_id AND t.is_active
                 WHERE c.id = ANY(%s::bigint[]) AND c.team_id IS NULL
                   AND (o.rules = '{}' OR c.rule = ANY(o.rules))
                   AND (o.theme = '' OR EXISTS (SELECT 1 FROM unnest(%s::text[], %s::text[]) AS w(theme, rule)
                                                 WHERE w.theme = o.theme AND w.rule = c.rule))
                   AND (o.connection_id IS NULL OR o.connection_id = c.connection_id
                        OR EXISTS (SELECT 1 FROM reconciliation_hold h JOIN portal_ledgerentry e ON e.id = h.entry_id
                                    WHERE h.case_id = c.id AND h.closed_at IS NULL
                                      AND o.connection_id IN (e.source_id, e.target_id)))
                 ORDER BY c.id, o.position) fits
             WHERE c.id = fits.id
         RETURNING c.id, c.team_id, c.entity_id""",
            [list(case_ids), [theme for theme, _ in themes], [rule for _, rule in themes]],
        )
    ]


def members_of(team_ids: Sequence[int]) -> dict[int, list[int]]:
    """The members of teams, by team."""
    found: dict[int, list[int]] = {}
    for team_id, user_id in rows(
        "SELECT team_id, user_id FROM reconciliation_teammember WHERE team_id = ANY(%s::bigint[]) ORDER BY 1, 2",
        [list(team_ids)],
    ):
        found.setdefault(team_id, []).append(user_id)
    return found


def owners_of(case_ids: Sequence[int]) -> list[tuple[int, int, int, str]]:
    """(case, owner, entity, sentence) of those cases that somebody owns."""
    return [
        (row[0], row[1], row[2], row[3])
        for row in rows(
            "SELECT id, owner_id, entity_id, sentence FROM reconciliation_exceptioncase"
            " WHERE id = ANY(%s::bigint[]) AND owner_id IS NOT NULL ORDER BY id",
            [list(case_ids)],
        )
    ]


# Set aside, and back
def main_sources(case_ids: Sequence[int]) -> dict[int, int]:
    """The source that most of a case's held entries come from; else the connection that the case is about."""
    found = rows(
        "SELECT DISTINCT ON (c.id) c.id, coalesce(s.source_id, c.connection_id) FROM reconciliation_exceptioncase c"
        " LEFT JOIN LATERAL (SELECT e.source_id, count(*) AS n FROM reconciliation_hold h"
        "   JOIN portal_ledgerentry e ON e.id = h.entry_id WHERE h.case_id = c.id AND h.closed_at IS NULL"
        "   GROUP BY e.source_id ORDER BY n DESC, e.source_id LIMIT 1) s ON true"
        " WHERE c.id = ANY(%s::bigint[])",
        [list(case_ids)],
    )
    return {case_id: connection_id for case_id, connection_id in found if connection_id is not None}


def unpriced(case_ids: Sequence[int]) -> set[int]:
    """The cases that hold entries of which nobody knows what they are worth."""
    return {
        row[0]
        for row in rows(
            "SELECT DISTINCT h.case_id FROM reconciliation_hold h JOIN portal_ledgerentry e ON e.id = h.entry_id"
            " WHERE h.case_id = ANY(%s::bigint[]) AND h.closed_at IS NULL AND e.amount IS NULL",
            [list(case_ids)],
        )
    }


def end_of(case_ids: Sequence[int], why: str) -> None:
    """End what set cases aside, whatever it was."""
    if case_ids:
        for table in ("reconciliation_snooze", "reconciliation_ignore"):
            execute(
                f"UPDATE {table} SET ended_at = now(), ended_why = %s WHERE case_id = ANY(%s::bigint[]) AND ended_at IS NULL",  # noqa: S608
                [why, list(case_ids)],
            )


def end_each(case_ids: Sequence[int], reasons: Sequence[str]) -> None:
    """End what sets cases aside, each for a reason of its own."""
    for table in ("reconciliation_snooze", "reconciliation_ignore"):
        execute(
            f"UPDATE {table} s SET ended_at = now(), ended_why = w.why FROM unnest(%s::bigint[], %s::text[]) AS w(id, why)"  # noqa: S608
            " WHERE s.case_id = w.id AND s.ended_at IS NULL",
            [list(case_ids), list(reasons)],
        )


def run_again(table: str, row_ids: Sequence[int]) -> int:
    """Let snoozes or ignores run again that were ended; for taking a decision back."""
    tables = {"snooze": "reconciliation_snooze", "ignore": "reconciliation_ignore"}
    return execute(
        f"UPDATE {tables[table]} SET ended_at = NULL, ended_why = '' WHERE id = ANY(%s::bigint[])",  # noqa: S608
        [list(row_ids)],
    )


def running(table: str, case_ids: Sequence[int]) -> dict[int, int]:
    """The snooze or ignore that runs, by case."""
    tables = {"snooze": "reconciliation_snooze", "ignore": "reconciliation_ignore"}
    return dict(
        rows(
            f"SELECT case_id, id FROM {tables[table]} WHERE case_id = ANY(%s::bigint[]) AND ended_at IS NULL",  # noqa: S608
            [list(case_ids)],
        )
    )


def over_snoozes(synced: Mapping[int, datetime], limit: int) -> list[tuple[int, str]]:
    """(case, why) of snoozes whose day came, whose period opened, or whose connection was read since."""
    return [
        (row[0], row[1])
        for row in rows(
            """
            SELECT s.case_id, CASE s.until WHEN 'date' THEN 'The day has come.'
                                           WHEN 'period' THEN 'Period ' || p.code || ' is open.'
                                           ELSE k.name || ' was read again.' END
              FROM reconciliation_snooze s
              JOIN reconciliation_exceptioncase c ON c.id = s.case_id AND c.aside = 'snoozed'
              JOIN portal_legalentity e ON e.id = c.entity_id
              LEFT JOIN portal_accountingperiod p ON p.id = s.period_id
              LEFT JOIN portal_connection k ON k.id = s.connection_id
              LEFT JOIN unnest(%s::bigint[], %s::timestamptz[]) AS w(id, at) ON w.id = s.connection_id
             WHERE s.ended_at IS NULL
               AND (s.date <= (now() AT TIME ZONE e.zone)::date OR p.state = 'open' OR w.at > s.at)
             ORDER BY s.case_id LIMIT %s""",
            [list(synced), list(synced.values()), limit],
        )
    ]


def awaited_syncs() -> dict[int, datetime]:
    """The connections whose next sync somebody waits for, and since when."""
    return dict(
        rows(
            "SELECT connection_id, min(at) FROM reconciliation_snooze WHERE ended_at IS NULL AND until = 'sync' GROUP BY 1"
        )
    )


def over_ignores(limit: int) -> list[tuple[int, str]]:
    """(case, why) of ignores whose day came, or whose case holds more by now than was to be left alone."""
    return [
        (row[0], row[1])
        for row in rows(
            """
            SELECT i.case_id, CASE WHEN grown.currency IS NULL THEN 'The day has come.'
                                   ELSE 'It holds ' || trim_scale(grown.amount) || ' ' || grown.currency
                                        || ' by now, more than was to be ignored.' END
              FROM reconciliation_ignore i
              JOIN reconciliation_exceptioncase c ON c.id = i.case_id AND c.aside = 'ignored'
              JOIN portal_legalentity e ON e.id = c.entity_id
              LEFT JOIN LATERAL (
                   SELECT t.currency, t.amount FROM reconciliation_casetotal t
                    WHERE t.case_id = i.case_id
                      AND t.amount > coalesce(i.ceiling ->> t.currency, i.ceiling ->> '*')::numeric
                    ORDER BY t.amount DESC LIMIT 1) grown ON true
             WHERE i.ended_at IS NULL
               AND (i.expires_on <= (now() AT TIME ZONE e.zone)::date OR grown.currency IS NOT NULL)
             ORDER BY i.case_id LIMIT %s""",
            [limit],
        )
    ]


# Merging
def move_holds(origin_id: int, case_id: int) -> int:
    """The open holds of a merged case go to the case that takes it over; how many."""
    return execute(
        "UPDATE reconciliation_hold SET case_id = %s, merged_from_id = coalesce(merged_from_id, %s)"
        " WHERE case_id = %s AND closed_at IS NULL",
        [case_id, origin_id, origin_id],
    )


def take_back_holds(origin_id: int) -> list[int]:
    """The open holds of a merged cause, and of what had been merged into it, go back to it; the cases that they left."""
    return [
        row[0]
        for row in rows(
            """
            WITH RECURSIVE under AS (
                SELECT %s::bigint AS id
                 UNION SELECT c.id FROM reconciliation_exceptioncase c JOIN under ON c.merged_into_id = under.id),
            taken AS (
                UPDATE reconciliation_hold h
                   SET case_id = %s, merged_from_id = nullif(h.merged_from_id, %s)
                  FROM (SELECT id, case_id FROM reconciliation_hold
                         WHERE closed_at IS NULL AND merged_from_id IN (SELECT id FROM under) FOR UPDATE) was
                 WHERE h.id = was.id RETURNING was.case_id)
            SELECT DISTINCT case_id FROM taken""",
            [origin_id, origin_id, origin_id],
        )
    ]


# Decisions
class DecidedCase(NamedTuple):
    """What a decision changed of one case: values before and after, by field."""

    case_id: int
    before: Mapping[str, Any]
    after: Mapping[str, Any]


def note_cases(decision_id: int, cases: Sequence[DecidedCase]) -> None:
    """Keep what a decision changed, case by case."""
    copy_in(
        "reconciliation_decisioncase",
        ("decision_id", "case_id", "before", "after"),
        ([decision_id, one.case_id, as_json(dict(one.before)), as_json(dict(one.after))] for one in cases),
    )


def decided_since(decision_id: int) -> int:
    """How many of a decision's cases were decided about again after it."""
    found = rows(
        "SELECT count(DISTINCT l.case_id) FROM reconciliation_decisioncase d"
        " JOIN reconciliation_decisioncase l ON l.case_id = d.case_id AND l.decision_id > d.decision_id"
        " WHERE d.decision_id = %s",
        [decision_id],
    )
    return int(found[0][0])


# Escalation
_TOUCHED = """(
    EXISTS (SELECT 1 FROM reconciliation_decisioncase d JOIN reconciliation_decision k ON k.id = d.decision_id
             WHERE d.case_id = c.id AND k.at > {since})
    OR EXISTS (SELECT 1 FROM reconciliation_casecomment m WHERE m.case_id = c.id AND m.at > {since})
    OR EXISTS (SELECT 1 FROM reconciliation_operation o WHERE o.case_id = c.id AND o.created_at > {since})
    OR EXISTS (SELECT 1 FROM reconciliation_lease l WHERE l.case_id = c.id AND l.since > {since}))"""


class Untouched(NamedTuple):
    """A case that nobody touches though the books close soon on what it holds."""

    case_id: int
    entity_id: int
    team_id: int | None
    sentence: str
    period: str
    ends_on: Any


class Patience(NamedTuple):
    """How long an entity waits before it escalates: days before the period's end, hours without a touch, money from which on."""

    entity_id: int
    days: int
    idle_hours: int
    above: Mapping[str, Any]


def untouched(patience: Sequence[Patience], limit: int) -> list[Untouched]:
    """Open cases that nobody touched, whose oldest work belongs in a period that ends soon; the earliest end first."""
    return [
        Untouched(*row)
        for row in rows(
            f"""
            SELECT c.id, c.entity_id, c.team_id, c.sentence, p.code, p.ends_on
              FROM unnest(%s::bigint[], %s::int[], %s::int[], %s::jsonb[]) AS w(entity_id, days, hours, above)
              JOIN portal_legalentity e ON e.id = w.entity_id
              JOIN reconciliation_exceptioncase c ON c.entity_id = w.entity_id AND c.state = 'open' AND c.aside = ''
               AND c.escalated_at IS NULL AND c.open_holds > 0
               AND c.opened_at <= now() - make_interval(hours => w.hours)
              JOIN LATERAL (SELECT p.code, p.ends_on FROM portal_accountingperiod p
                             WHERE p.entity_id = w.entity_id AND p.state IN ('open', 'closing')
                               AND p.ends_on >= c.oldest_work_date
                             ORDER BY p.ends_on LIMIT 1) p ON p.ends_on <= (now() AT TIME ZONE e.zone)::date + w.days
             WHERE (w.above = '{{}}' OR EXISTS (
                       SELECT 1 FROM reconciliation_casetotal t WHERE t.case_id = c.id
                          AND t.amount >= coalesce(w.above ->> t.currency, w.above ->> '*')::numeric)
                    OR NOT EXISTS (SELECT 1 FROM reconciliation_casetotal t WHERE t.case_id = c.id))
               AND NOT {_TOUCHED.format(since="now() - make_interval(hours => w.hours)")}
             ORDER BY p.ends_on, c.id LIMIT %s""",  # noqa: S608
            [
                [one.entity_id for one in patience],
                [one.days for one in patience],
                [one.idle_hours for one in patience],
                [as_json(dict(one.above)) for one in patience],
                limit,
            ],
        )
    ]


def touched_since_escalation() -> list[int]:
    """Escalated cases that somebody touched since."""
    return [
        row[0]
        for row in rows(
            "SELECT c.id FROM reconciliation_exceptioncase c WHERE c.escalated_at IS NOT NULL AND"  # noqa: S608
            f" {_TOUCHED.format(since='c.escalated_at')} ORDER BY c.id"
        )
    ]


def leads_and_controllers(
    entity_ids: Sequence[int], team_ids: Sequence[int]
) -> tuple[dict[int, list[int]], dict[int, list[int]]]:
    """The leads of teams, and the controllers of entities today."""
    leads: dict[int, list[int]] = {}
    for team_id, user_id in rows(
        "SELECT team_id, user_id FROM reconciliation_teammember WHERE is_lead AND team_id = ANY(%s::bigint[]) ORDER BY 1, 2",
        [list(team_ids)],
    ):
        leads.setdefault(team_id, []).append(user_id)
    controllers: dict[int, list[int]] = {}
    for entity_id, user_id in rows(
        "SELECT w.id, g.user_id FROM unnest(%s::bigint[]) AS w(id) JOIN portal_entitygrant g ON g.role = 'controller'"
        " AND (g.entity_id = w.id OR g.entity_id IS NULL) AND g.valid_from <= current_date"
        " AND (g.valid_to IS NULL OR g.valid_to >= current_date) ORDER BY 1, 2",
        [list(entity_ids)],
    ):
        controllers.setdefault(entity_id, []).append(user_id)
    return leads, controllers
