"""What was touched since a period was last compared, from the moments that every row of evidence bears.

The rule here: a moment counts from when the oldest transaction of that time had begun, so nothing that was still on its way
when the last run looked can be missed; what is looked at twice comes to the same. What was summed as equal leaves its sum by its
own figures, which never change; only what was judged makes its neighbours be looked at as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from hashlib import sha256
from typing import cast

from portal import sql

SHIFT = 6  # bits of an id that a bucket of neighbours leaves out: as many things as a bigint has bits
ENGINE = 7  # another number makes every period be compared as a whole once more
MILESTONES = 1 << 60  # the subject of a milestone is its id above this, so that it is never that of an entry

_TABLES = (
    "CREATE TEMPORARY TABLE IF NOT EXISTS touched (entry_id bigint, document_id bigint) ON COMMIT DELETE ROWS",
    "CREATE TEMPORARY TABLE IF NOT EXISTS scope_left (id bigint PRIMARY KEY) ON COMMIT DELETE ROWS",
    "CREATE TEMPORARY TABLE IF NOT EXISTS scope_right (id bigint PRIMARY KEY) ON COMMIT DELETE ROWS",
    "CREATE TEMPORARY TABLE IF NOT EXISTS scope_whole (bucket bigint PRIMARY KEY) ON COMMIT DELETE ROWS",
)
_AGAIN = "ON CONFLICT DO NOTHING"
BIT = f"(1::bigint << (s.id & {(1 << SHIFT) - 1})::int)"  # of a thing in its bucket
# What is touched is found among the sums by its buckets, whatever is known of how many of either there are.
TOUCHED_BUCKETS = f"SELECT DISTINCT id >> {SHIFT} FROM scope_left"  # noqa: S608
IN_BUCKET = f"s.id BETWEEN b.bucket << {SHIFT} AND (b.bucket << {SHIFT}) + {(1 << SHIFT) - 1}"


def horizon() -> datetime:
    """The moment before which nothing can still be written: now, or when the oldest open transaction began.

    Sessions of other roles of the database do not show when theirs began; all processes of Tieout sign in as one role.
    """
    return cast(
        "datetime",
        sql.rows(
            "SELECT least(now(), min(xact_start)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND backend_type = 'client backend'"
        )[0][0],
    )


def basis(entity_id: int, start: date, end: date, targets: Mapping[int, Decimal], bills: bool) -> str:
    """A hash of what every result of a period rests on besides the rows compared: while it is the same, a part is enough."""
    owed = sql.rows(
        "SELECT (SELECT coalesce(string_agg(format('%%s %%s %%s', source_id, kind, first_day), ',' ORDER BY source_id, kind), '')"
        " FROM reconciliation_cutover WHERE entity_id = %(entity)s),"
        " (SELECT coalesce(string_agg(format('%%s %%s', id, state), ',' ORDER BY id), '') FROM reconciliation_onboarding"
        " WHERE entity_id = %(entity)s),"
        " (SELECT count(*) FROM reconciliation_bookedbefore b JOIN portal_document d ON d.id = b.document_id"
        " WHERE d.entity_id = %(entity)s),"
        " (SELECT coalesce(string_agg(format('%%s %%s', id, cut_over_on), ',' ORDER BY id), '') FROM portal_connection"
        " WHERE is_source AND (entity_id IS NULL OR entity_id = %(entity)s)),"
        # when work and milestones are to be billed
        " (SELECT md5(coalesce(string_agg(concat_ws(' ', p.id, p.billing_model, k.id, k.billing_model, k.invoice_schedule,"
        " k.invoice_day, u.id, u.invoice_schedule, u.invoice_day), ',' ORDER BY p.id), '')) FROM portal_project p"
        " LEFT JOIN portal_contract k ON k.id = p.contract_id JOIN portal_customer u ON u.id = p.customer_id"
        " WHERE p.entity_id = %(entity)s)",
        {"entity": entity_id},
    )[0]
    said = (ENGINE, entity_id, start, end, sorted((key, str(value)) for key, value in targets.items()), bills, owed)
    return sha256(repr(said).encode()).hexdigest()


@dataclass(slots=True)
class Scope:
    """What a run looks at: the whole period, or what was touched since a moment, leg by leg."""

    entity_id: int
    period_id: int
    today: date
    since: datetime | None = None
    looked_at: int = 0
    is_idle: bool = False  # whether nothing of the leg at hand was touched

    @property
    def is_whole(self) -> bool:
        """Whether everything is compared."""
        return self.since is None

    def begin(self) -> None:
        """Find the entries that moved since; nothing where everything is compared."""
        if self.since is None:
            return
        sql.execute("; ".join((*_TABLES, "TRUNCATE touched, scope_left, scope_right, scope_whole")))
        sql.execute(
            "INSERT INTO touched SELECT e.id, e.document_id FROM portal_ledgerentry e WHERE e.entity_id = %s AND e.id = ANY("
            "ARRAY(SELECT DISTINCT entry_id FROM portal_ledgertransition WHERE at >= %s))",
            [self.entity_id, self.since],
        )

    def of_tracker(self, start: date, end: date) -> None:
        """Documents of which a version came, or whose entries moved; with its neighbours where more than one entry stands of it.

        Of several entries nobody can say which one was summed.
        """
        self._empty()
        sql.execute(
            f"INSERT INTO scope_left SELECT d.id FROM portal_document d WHERE d.entity_id = %(entity)s AND d.id = ANY(ARRAY("  # noqa: S608
            " SELECT document_id FROM touched UNION SELECT document_id FROM portal_timeentry WHERE recorded_at >= %(since)s"
            f" UNION SELECT document_id FROM portal_expense WHERE recorded_at >= %(since)s)) {_AGAIN}",
            self._told,
        )
        several = (
            "(SELECT count(*) FROM portal_ledgerentry e WHERE e.document_id = s.id AND e.kind IN ('time', 'expense')"
            " AND e.work_date BETWEEN %(start)s AND %(end)s) > 1"
        )
        self._with_neighbours("tracker_ledger", several, start=start, end=end)

    def of_target(self) -> None:
        """Entries that moved, lines that changed, and whatever was found between these and others."""
        self._empty()
        sql.execute("INSERT INTO scope_left SELECT DISTINCT entry_id FROM touched")
        sql.execute(
            "INSERT INTO scope_right SELECT id FROM portal_statementline"  # noqa: S608
            " WHERE entity_id = %(entity)s AND changed_at >= %(since)s"
            # what was booked in the books of another entity since
            " UNION SELECT l.id FROM portal_statementline l LEFT JOIN portal_receipt p"
            " ON p.connection_id = l.connection_id AND p.number = l.number LEFT JOIN portal_ledgerentry e ON e.id = p.entry_id"
            " WHERE l.entity_id <> %(entity)s AND l.changed_at >= %(since)s AND (e.entity_id = %(entity)s OR EXISTS ("
            "SELECT 1 FROM reconciliation_reconciliationresult r WHERE r.line_id = l.id AND r.period_id = %(period)s"
            " AND r.leg = 'ledger_target' AND r.ended_run_id IS NULL))"
            " UNION SELECT line_id FROM reconciliation_reconciliationresult WHERE period_id = %(period)s"
            " AND leg = 'ledger_target' AND ended_run_id IS NULL AND line_id IS NOT NULL"
            f" AND entry_id IN (SELECT entry_id FROM touched) {_AGAIN}",
            self._told,
        )
        same = "p.connection_id = l.connection_id AND p.number = l.number"
        receipts = f" FROM portal_statementline l JOIN portal_receipt p ON {same}"
        sql.execute(
            f"INSERT INTO scope_left SELECT p.entry_id{receipts} WHERE l.id = ANY(ARRAY(SELECT id FROM scope_right))"  # noqa: S608
            " UNION SELECT entry_id FROM reconciliation_reconciliationresult WHERE period_id = %(period)s"
            " AND leg = 'ledger_target' AND ended_run_id IS NULL AND subject > 0"
            f" AND line_id IN (SELECT id FROM scope_right) {_AGAIN}",
            self._told,
        )
        self._with_neighbours("ledger_target")
        if self.is_idle:
            return
        sql.execute(
            f"INSERT INTO scope_right SELECT l.id FROM scope_left s JOIN portal_receipt p ON p.entry_id = s.id"  # noqa: S608
            f" JOIN portal_statementline l ON l.connection_id = p.connection_id AND l.number = p.number"
            f" WHERE l.entity_id = %(entity)s {_AGAIN}",
            self._told,
        )
        sql.execute("ANALYZE scope_right")

    def of_bills(self, start: date, end: date) -> None:
        """Entries that moved, were billed or credited, whose bill went away, or that should be billed by now, and lines of bills.

        Milestones are few: all of the period are looked at, those that changed since, and those that stood in it.
        """
        self._empty()
        sql.execute(
            f"INSERT INTO scope_left SELECT {MILESTONES} + m.id FROM portal_milestone m"  # noqa: S608
            " JOIN portal_project p ON p.id = m.project_id WHERE p.entity_id = %(entity)s"
            " AND (m.signed_on BETWEEN %(start)s AND %(end)s OR m.due_on BETWEEN %(start)s AND %(end)s"
            " OR m.id IN (SELECT id FROM portal_historicalmilestone WHERE history_date >= %(since)s)"
            " OR m.id IN (SELECT milestone_id FROM portal_allocation WHERE recorded_at >= %(since)s))"
            " UNION SELECT subject FROM reconciliation_reconciliationresult WHERE period_id = %(period)s"
            f" AND leg = 'target_invoice' AND ended_run_id IS NULL AND milestone_id IS NOT NULL {_AGAIN}",
            {**self._told, "start": start, "end": end},
        )
        sql.execute(
            f"INSERT INTO scope_left SELECT entry_id FROM touched UNION SELECT a.entry_id FROM portal_allocation a"  # noqa: S608
            " WHERE a.recorded_at >= %(since)s AND a.entry_id IS NOT NULL"
            # what its source says otherwise by now
            " UNION SELECT e.id FROM portal_ledgerentry e WHERE e.document_id = ANY(ARRAY("
            "SELECT document_id FROM portal_timeentry WHERE recorded_at >= %(since)s AND version > 1"
            " UNION SELECT document_id FROM portal_expense WHERE recorded_at >= %(since)s AND version > 1))"
            " AND e.entity_id = %(entity)s"
            # what stands on a draft that was issued, or on a bill that went away or came back: nothing was written of it
            " UNION SELECT a.entry_id FROM portal_invoiceversion v JOIN portal_invoiceline l ON l.version_id = v.id"
            " JOIN portal_allocation a ON a.line_id = l.id AND a.entry_id IS NOT NULL WHERE v.invoice_id IN (SELECT w.invoice_id"
            " FROM portal_invoiceversion w WHERE w.recorded_at >= %(since)s AND EXISTS (SELECT 1 FROM portal_invoiceversion g"
            " WHERE g.invoice_id = w.invoice_id AND g.status IN ('draft', 'voided', 'deleted')))"
            " UNION SELECT entry_id FROM reconciliation_reconciliationresult WHERE period_id = %(period)s"
            " AND leg = 'target_invoice' AND ended_run_id IS NULL AND expected_on < %(today)s AND outcome = 'open'"
            f" AND entry_id IS NOT NULL {_AGAIN}",
            self._told,
        )
        sql.execute(
            "INSERT INTO scope_right SELECT l.id FROM portal_invoiceline l"  # noqa: S608
            " JOIN portal_invoiceversion v ON v.id = l.version_id"
            " WHERE v.invoice_id IN (SELECT invoice_id FROM portal_invoiceversion WHERE recorded_at >= %(since)s"
            " UNION SELECT bill_id FROM reconciliation_billingdecision WHERE at >= %(since)s OR approved_at >= %(since)s"
            " UNION SELECT w.invoice_id FROM portal_allocation a JOIN portal_invoiceline m ON m.id = a.line_id"
            f" JOIN portal_invoiceversion w ON w.id = m.version_id WHERE a.recorded_at >= %(since)s) {_AGAIN}",
            self._told,
        )
        self._with_neighbours("target_invoice")

    def of_payments(self) -> None:
        """Bills that changed, were settled or are due by now, and payments that came or changed."""
        self._empty()
        settled = "FROM portal_paymentallocation a WHERE a.recorded_at >= %(since)s"
        sql.execute(
            f"INSERT INTO scope_left SELECT invoice_id FROM portal_invoiceversion WHERE recorded_at >= %(since)s"  # noqa: S608
            f" UNION SELECT a.invoice_id {settled} AND a.invoice_id IS NOT NULL"
            " UNION SELECT bill_id FROM reconciliation_reconciliationresult WHERE period_id = %(period)s"
            " AND leg = 'invoice_payment' AND ended_run_id IS NULL AND expected_on < %(today)s AND outcome = 'open'"
            f" AND bill_id IS NOT NULL {_AGAIN}",
            self._told,
        )
        sql.execute(
            "INSERT INTO scope_right SELECT payment_id FROM portal_paymentversion WHERE recorded_at >= %(since)s"  # noqa: S608
            " UNION SELECT v.payment_id FROM portal_paymentversion v WHERE v.id IN"
            f" (SELECT a.payment_version_id {settled}) {_AGAIN}",
            self._told,
        )
        self._with_neighbours("invoice_payment")

    @property
    def _told(self) -> dict[str, object]:
        return {
            "entity": self.entity_id, "period": self.period_id, "since": self.since, "today": self.today,
        }  # fmt: skip

    def _empty(self) -> None:
        # cheaper than TRUNCATE for few rows
        sql.execute("DELETE FROM scope_left; DELETE FROM scope_right; DELETE FROM scope_whole")

    def _with_neighbours(self, leg: str, unless: str = "false", **told: object) -> None:
        """What was judged and then summed is compared with all that is in its sum, and so is what `unless` says of `s`."""
        ((looked_at, lines),) = sql.rows("SELECT (SELECT count(*) FROM scope_left), (SELECT count(*) FROM scope_right)")
        self.is_idle = not looked_at and not lines
        if self.is_idle:
            return
        sql.execute(
            "INSERT INTO scope_whole SELECT DISTINCT b.bucket FROM reconciliation_matchedbucket b"  # noqa: S608
            f" JOIN scope_left s ON {IN_BUCKET} WHERE b.period_id = %(period)s AND b.leg = %(leg)s"
            f" AND b.bucket = ANY(ARRAY({TOUCHED_BUCKETS}))"
            f" AND (b.judged & {BIT} <> 0 OR b.equal & {BIT} <> 0 AND {unless})",
            {**self._told, "leg": leg, **told},
        )
        self.looked_at += looked_at + sql.execute(
            f"INSERT INTO scope_left SELECT (bucket << {SHIFT}) + n FROM scope_whole"  # noqa: S608
            f" CROSS JOIN generate_series(0, (1 << {SHIFT}) - 1) AS n {_AGAIN}"
        )
        sql.execute("ANALYZE scope_left, scope_whole")
