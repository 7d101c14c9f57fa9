"""What is kept of a comparison: the rows that say something, the sums of what matched, and nothing twice.

The rule here: a thing stands in a leg once. What a run finds unchanged stays the row it was; what it finds otherwise ends, and
a new row begins. What matched without a word is summed by neighbours, in buckets of `1 << SHIFT` ids of the left side, and a
bucket says whom it holds, a bit a thing. What is equal in every figure is summed in one pass over both sides, as fast as they
can be joined; only the rest is judged. A run that looks at a part takes each thing out of its sum first, by its own figures.
"""

from __future__ import annotations

from datetime import date
from typing import Any, cast

from portal import sql
from reconciliation.sql.legs.touched import BIT, IN_BUCKET, MILESTONES, SHIFT, TOUCHED_BUCKETS, Scope

_FIGURES = "hours_left, hours_right, amount_left, amount_right, currency"
_ABOUT = "document_id, entry_id, line_id, bill_id, bill_line_id, payment_id"
_FOUND = f"subject, stamp, outcome, {_ABOUT}, {_FIGURES}, dated, expected_on, reason"

_TABLES = (
    "CREATE TEMPORARY TABLE IF NOT EXISTS found (leg text, subject bigint, stamp bigint, outcome text, document_id bigint,"
    " entry_id bigint, line_id bigint, bill_id bigint, bill_line_id bigint, payment_id bigint, hours_left numeric,"
    " hours_right numeric, amount_left numeric, amount_right numeric, currency text, dated date, expected_on date,"
    " reason text, PRIMARY KEY (leg, subject)) ON COMMIT DELETE ROWS",
    "CREATE TEMPORARY TABLE IF NOT EXISTS to_settle (entry_id bigint, fence int) ON COMMIT DELETE ROWS",
    "CREATE TEMPORARY TABLE IF NOT EXISTS rest_left (id bigint) ON COMMIT DELETE ROWS",
    "CREATE TEMPORARY TABLE IF NOT EXISTS rest_right (id bigint) ON COMMIT DELETE ROWS",
)
_SUMMED = "rows, hours_left, hours_right, amount_left, amount_right, digest, equal, judged"
_BUCKETS = f"INSERT INTO reconciliation_matchedbucket AS b (period_id, leg, bucket, currency, {_SUMMED}, run_id)"
_ADDED = """ON CONFLICT (period_id, leg, bucket, currency) DO UPDATE SET rows = b.rows + excluded.rows,
       hours_left = b.hours_left + excluded.hours_left, hours_right = b.hours_right + excluded.hours_right,
       amount_left = b.amount_left + excluded.amount_left, amount_right = b.amount_right + excluded.amount_right,
       digest = b.digest + excluded.digest, equal = b.equal | excluded.equal, judged = b.judged | excluded.judged,
       run_id = excluded.run_id"""
_PLACE = f"(1::bigint << ({{}} & {(1 << SHIFT) - 1})::int)"


def sum_what_is_equal(pairs: str, told: dict[str, Any], scope: Scope) -> bool:
    """Sum up what is equal on both sides, and keep what is not in `rest_left` and `rest_right`; whether anything is not.

    `pairs` ends with the expression `pairs`, which has of each pair: the bucket and the currency, hours and amount, `left_id` and
    `right_id`, a digest, `is_equal`, and `fence` where it is to be settled, else NULL. Hours, amount, currency and digest of what
    is equal follow from figures that never change (see `forget`). What is summed is put aside first: PostgreSQL joins in
    parallel only where a statement writes into no table that stands.
    """
    sql.execute(
        f"""CREATE TEMPORARY TABLE summed ON COMMIT DROP AS {pairs}
        SELECT bucket, currency, count(*) FILTER (WHERE is_equal) AS rows, sum(hours) FILTER (WHERE is_equal) AS hours,
               sum(amount_left) FILTER (WHERE is_equal) AS amount_left, sum(amount_right) FILTER (WHERE is_equal) AS amount_right,
               sum(digest) FILTER (WHERE is_equal) AS digest, bit_or({_PLACE.format("left_id")}) FILTER (WHERE is_equal) AS equal,
               array_agg(left_id) FILTER (WHERE NOT is_equal) AS lefts, array_agg(right_id) FILTER (WHERE NOT is_equal) AS rights,
               array_agg(left_id) FILTER (WHERE is_equal AND fence IS NOT NULL) AS posted,
               array_agg(fence) FILTER (WHERE is_equal AND fence IS NOT NULL) AS fences
          FROM pairs GROUP BY bucket, currency""",  # noqa: S608
        told,
    )
    sql.execute(
        f"{_BUCKETS} SELECT %(period)s, %(leg)s, bucket, currency, rows, coalesce(hours, 0), coalesce(hours, 0),"  # noqa: S608
        " coalesce(amount_left, 0), coalesce(amount_right, 0), digest, equal, 0, %(run)s FROM summed WHERE rows > 0"
        f" {'' if scope.is_whole else _ADDED}",
        told,
    )
    found = sql.rows(
        """WITH posted AS (INSERT INTO to_settle SELECT u.* FROM summed, unnest(posted, fences) AS u WHERE posted IS NOT NULL),
        lefts AS (INSERT INTO rest_left SELECT u FROM summed, unnest(lefts) AS u WHERE u IS NOT NULL RETURNING 1),
        rights AS (INSERT INTO rest_right SELECT u FROM summed, unnest(rights) AS u WHERE u IS NOT NULL RETURNING 1)
        SELECT EXISTS (SELECT 1 FROM lefts) OR EXISTS (SELECT 1 FROM rights)"""
    )
    sql.execute("DROP TABLE summed; ANALYZE rest_left, rest_right")
    return bool(found[0][0])


def statement(head: str, *, settles: bool = False) -> str:
    """One leg as one statement: `head` ends with the expression `judged`, whose rows are kept, summed or settled.

    `judged` has every column of what is found, except the stamp, and `version`: what else makes a matched thing another one.
    """
    settling = (
        ", settling AS (INSERT INTO to_settle SELECT entry_id, fence FROM told"
        " WHERE outcome = 'matched' AND subject > 0 AND state = 'posted')"
        if settles
        else ""
    )
    more = ", fence, state" if settles else ""
    return f"""{head}, told AS MATERIALIZED (
    SELECT subject, hash_record_extended(ROW(outcome::text, {_FIGURES}, expected_on, {_ABOUT}, version), 0) AS stamp, outcome,
           {_ABOUT}, {_FIGURES}, dated, expected_on, reason{more}
      FROM judged
), kept AS (
    INSERT INTO found SELECT %(leg)s, {_FOUND} FROM told WHERE outcome <> 'matched' OR reason <> '' OR subject < 0
){settling}
{_BUCKETS}
SELECT %(period)s, %(leg)s, subject >> {SHIFT}, currency, count(*), coalesce(sum(hours_left), 0), coalesce(sum(hours_right), 0),
       coalesce(sum(amount_left), 0), coalesce(sum(amount_right), 0), sum(stamp), 0, bit_or({_PLACE.format("subject")}), %(run)s
  FROM told WHERE outcome = 'matched' AND reason = '' AND subject > 0
 GROUP BY subject >> {SHIFT}, currency {_ADDED}"""  # noqa: S608


# PostgreSQL takes handing rows to one process as dearer than it is here, and its memory for a join as smaller than it may be.
_ON_EVERY_CORE = (
    "SET LOCAL parallel_setup_cost = 0",
    "SET LOCAL parallel_tuple_cost = 0",
    "SET LOCAL work_mem = '64MB'",
)


def on_every_core() -> None:
    """Let the rest of this transaction join what is large in parallel and in memory; few rows would only wait for it."""
    sql.execute("; ".join(_ON_EVERY_CORE))


def prepare(scope: Scope) -> None:
    """Empty places of this transaction for what will be found. Compiling these statements costs more than they run for."""
    sql.execute("; ".join(("SET LOCAL jit = off", *_TABLES, "TRUNCATE found, to_settle")))
    if scope.is_whole:
        on_every_core()


def forget(leg: str, scope: Scope, equal: str = "", **days: date) -> None:
    """Take what is compared anew out of the sums: all of it, whole buckets, or each thing by its own figures.

    `equal` says of each thing of `were` that was summed as equal what it was summed with, as `pairs` said it then: `id`,
    `currency`, `hours_left`, `hours_right`, `amount_left`, `amount_right` and `digest`. Sums are taken away, corrected and put
    back by one grouping and looked up by their buckets: joined with them, a plan for few sums costs the square of many.
    """
    told = {"period": scope.period_id, "leg": leg, **days}
    sums = "reconciliation_matchedbucket"
    sql.execute("TRUNCATE rest_left, rest_right")
    if scope.is_whole:
        sql.execute(f"DELETE FROM {sums} WHERE period_id = %(period)s AND leg = %(leg)s", told)  # noqa: S608
        return
    sql.execute(
        f"DELETE FROM {sums} WHERE period_id = %(period)s AND leg = %(leg)s AND bucket IN (SELECT bucket FROM scope_whole)",  # noqa: S608
        told,
    )
    if not equal:
        return
    sql.execute(
        f"""WITH were AS MATERIALIZED (
            SELECT s.id FROM {sums} b JOIN scope_left s ON {IN_BUCKET}
             WHERE b.period_id = %(period)s AND b.leg = %(leg)s AND b.bucket = ANY(ARRAY({TOUCHED_BUCKETS}))
               AND b.equal & {BIT} <> 0
        ), one AS ({equal}), gone AS MATERIALIZED (
            SELECT id >> {SHIFT} AS bucket, currency, count(*) AS rows, coalesce(sum(hours_left), 0) AS hours_left,
                   coalesce(sum(hours_right), 0) AS hours_right, coalesce(sum(amount_left), 0) AS amount_left,
                   coalesce(sum(amount_right), 0) AS amount_right, sum(digest) AS digest, bit_or({_PLACE.format("id")}) AS equal
              FROM one GROUP BY 1, 2
        ), summed AS (
            DELETE FROM {sums} b WHERE period_id = %(period)s AND leg = %(leg)s AND bucket = ANY(ARRAY(SELECT bucket FROM gone))
            RETURNING *
        ), parts AS (
            SELECT id, bucket, currency, {_SUMMED}, 0::bigint AS gone, run_id FROM summed
            UNION ALL
            SELECT 0, bucket, currency, -rows, -hours_left, -hours_right, -amount_left, -amount_right, -digest, 0, 0, equal, 0
              FROM gone
        )
        INSERT INTO {sums} (id, period_id, leg, bucket, currency, {_SUMMED}, run_id)
        SELECT max(id), %(period)s, %(leg)s, bucket, currency, sum(rows), sum(hours_left), sum(hours_right), sum(amount_left),
               sum(amount_right), sum(digest), bit_or(equal) & ~bit_or(gone), bit_or(judged), max(run_id)
          FROM parts GROUP BY bucket, currency HAVING sum(rows) > 0""",  # noqa: S608
        told,
    )


def keep(leg: str, run_id: int, period_id: int, scope: Scope) -> tuple[int, int]:
    """End what a leg finds otherwise and begin what it finds anew; how many of each."""
    if scope.is_idle:
        return 0, 0
    told = {"leg": leg, "run": run_id, "period": period_id}
    within = "" if scope.is_whole else (
        " AND r.subject = ANY(ARRAY(SELECT id FROM scope_left UNION ALL SELECT -id FROM scope_right))"
    )  # fmt: skip
    standing = "r.period_id = %(period)s AND r.leg = %(leg)s AND r.ended_run_id IS NULL"
    sql.execute("ANALYZE found")
    ended = sql.execute(
        "UPDATE reconciliation_reconciliationresult r SET ended_run_id = %(run)s"  # noqa: S608
        f" WHERE {standing}{within} AND NOT EXISTS (SELECT 1 FROM found f"
        " WHERE f.leg = r.leg AND f.subject = r.subject AND f.stamp = r.stamp)",
        told,
    )
    sql.execute(
        "UPDATE reconciliation_reconciliationresult r SET reason = f.reason FROM found f"  # noqa: S608
        f" WHERE {standing}{within} AND f.leg = r.leg AND f.subject = r.subject AND f.reason <> r.reason",
        told,
    )
    begun = sql.execute(
        f"INSERT INTO reconciliation_reconciliationresult (run_id, period_id, leg, milestone_id, standing, {_FOUND})"  # noqa: S608
        f" SELECT %(run)s, %(period)s, f.leg, CASE WHEN f.subject > {MILESTONES} THEN f.subject - {MILESTONES} END,"
        " CASE f.outcome WHEN 'matched' THEN 'matched' WHEN 'open' THEN 'timing'"
        f" ELSE 'unmatched' END, {', '.join('f.' + name.strip() for name in _FOUND.split(','))} FROM found f"
        " WHERE f.leg = %(leg)s AND NOT EXISTS (SELECT 1 FROM reconciliation_reconciliationresult r"
        f" WHERE {standing} AND r.subject = f.subject) ORDER BY f.subject",
        told,
    )
    return ended, begun


def tell_sizes(scope: Scope) -> None:
    """After a whole run, tell the database how much is kept, as it would find out by itself a minute later."""
    if scope.is_whole:
        sql.execute(
            "ANALYZE (SKIP_LOCKED) reconciliation_reconciliationresult (period_id, leg, ended_run_id),"
            " reconciliation_matchedbucket (period_id, leg)"
        )


def settled(after: int, limit: int) -> list[tuple[int, int]]:
    """Entries that were compared just now, matched with the target and were posted: (id, fence), in id order after an id."""
    return cast(
        "list[tuple[int, int]]",
        sql.rows(
            "SELECT entry_id, fence FROM to_settle WHERE entry_id > %s ORDER BY entry_id LIMIT %s", [after, limit]
        ),
    )


def totals(period_id: int) -> list[tuple[Any, ...]]:
    """What stands of a period: (leg, outcome, standing, currency, rows, hours left and right, amount left and right, digest)."""
    sides = ("hours_left", "hours_right", "amount_left", "amount_right")
    sums = ", ".join(f"coalesce(sum({side}), 0)" for side in sides)
    return sql.rows(
        f"SELECT leg, outcome, standing, currency, count(*), {sums}, sum(stamp) FROM reconciliation_reconciliationresult"  # noqa: S608
        " WHERE period_id = %(period)s AND ended_run_id IS NULL GROUP BY 1, 2, 3, 4"
        f" UNION ALL SELECT leg, 'matched', 'matched', currency, sum(rows), {sums}, sum(digest)"
        " FROM reconciliation_matchedbucket WHERE period_id = %(period)s GROUP BY leg, currency ORDER BY 1, 2, 3, 4",
        {"period": period_id},
    )
