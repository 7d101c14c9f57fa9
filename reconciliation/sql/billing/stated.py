"""Bills as they stand, with their lines: what their systems state, what we go by, and whose they are."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import NamedTuple

from portal.sql import rows


class Bill(NamedTuple):
    """One bill as it stands: what its system states now, what we go by, and what settles it."""

    id: int
    kind: str
    entity_id: int
    connection_id: int
    external_id: str
    current_id: int
    agreed_id: int
    credits_id: int | None
    version: int
    status: str
    number: str
    currency: str
    customer_id: int | None
    customer: str
    net: Decimal
    tax: Decimal
    total: Decimal
    balance: Decimal | None
    booked_on: date | None
    due_on: date | None
    recorded_at: datetime
    credits_key: str
    agreed_version: int
    agreed_status: str
    agreed_number: str
    agreed_total: Decimal
    settled: Decimal  # by whatever
    cash: Decimal
    written_off: Decimal
    previous_status: str
    customer_key: str
    agreed_currency: str
    agreed_customer: str
    agreed_customer_key: str

    @property
    def name(self) -> str:
        """As people say it."""
        word = "Invoice" if self.kind == "invoice" else "Credit note"
        return f"{word} {self.number or self.external_id}"

    @property
    def is_credit(self) -> bool:
        """Whether it gives money back."""
        return self.kind == "credit_note"


class Line(NamedTuple):
    """One line of a version of a bill."""

    id: int
    version_id: int
    position: int
    key: str
    posting_key: str
    posting_number: str
    milestone_key: str
    quantity: Decimal | None
    net: Decimal
    tax: Decimal | None
    tax_rate: Decimal | None
    description: str


_BILLS = """
    SELECT i.id, i.kind, i.entity_id, i.connection_id, i.external_id, i.current_id, i.agreed_id, i.credits_id, c.version,
           c.status, c.number, c.currency, c.customer_id, c.customer_name, c.net, c.tax, c.total, c.balance, c.booked_on,
           c.due_on,
           c.recorded_at, c.credits_key, a.version, a.status, a.number, a.total, s.settled, s.cash, s.written_off,
           coalesce((SELECT p.status FROM portal_invoiceversion p WHERE p.invoice_id = i.id AND p.version = c.version - 1), ''),
           c.customer_key, a.currency, a.customer_name, a.customer_key
      FROM portal_invoice i
      JOIN portal_invoiceversion c ON c.id = i.current_id
      JOIN portal_invoiceversion a ON a.id = i.agreed_id
     CROSS JOIN LATERAL (
           SELECT coalesce(sum(p.amount), 0) AS settled, coalesce(sum(p.amount) FILTER (WHERE p.by = 'cash'), 0) AS cash,
                  coalesce(sum(p.amount) FILTER (WHERE p.by = 'write_off'), 0) AS written_off
             FROM portal_paymentallocation p
            WHERE CASE WHEN i.kind = 'invoice' THEN p.invoice_id = i.id
                       ELSE p.credit_version_id IN (SELECT v.id FROM portal_invoiceversion v WHERE v.invoice_id = i.id) END) s
     WHERE i.id = ANY(%s) ORDER BY i.id"""


def bills(bill_ids: Sequence[int], *, lock: bool = False) -> list[Bill]:
    """Bills as they stand, by id; `lock` until the transaction ends."""
    return [Bill(*row) for row in rows(f"{_BILLS}{' FOR UPDATE OF i' if lock else ''}", [list(bill_ids)])]


def lines(version_ids: Sequence[int]) -> dict[int, list[Line]]:
    """The lines of versions, in their order."""
    found: dict[int, list[Line]] = {version_id: [] for version_id in version_ids}
    for row in rows(
        "SELECT id, version_id, position, key, posting_key, posting_number, milestone_key, quantity, net, tax, tax_rate,"
        " description FROM portal_invoiceline WHERE version_id = ANY(%s) ORDER BY version_id, position",
        [list(version_ids)],
    ):
        line = Line(*row)
        found[line.version_id].append(line)
    return found


def touched_by(bill_ids: Sequence[int], payment_ids: Sequence[int]) -> list[int]:
    """The bills whose standing may change with these: themselves, their credit notes or invoices, and what payments settle.

    Where something may be given back, those too that bill what stood billed elsewhere. With every invoice come its notes: what of
    it was refused may be credited by them.
    """
    found = rows(
        """
        WITH given AS (
            SELECT unnest(%s::bigint[]) AS id
            UNION SELECT a.invoice_id FROM portal_paymentallocation a JOIN portal_paymentversion v ON v.id = a.payment_version_id
             WHERE v.payment_id = ANY(%s) AND a.invoice_id IS NOT NULL), touched AS (
        SELECT id FROM given
        UNION SELECT i.credits_id FROM portal_invoice i JOIN given g ON g.id = i.id WHERE i.credits_id IS NOT NULL
        UNION SELECT i.id FROM portal_invoice i JOIN given g ON g.id = i.credits_id
        UNION SELECT w.invoice_id FROM portal_invoiceversion v JOIN given g ON g.id = v.invoice_id
                JOIN portal_invoiceline l ON l.version_id = v.id JOIN portal_allocation c ON c.line_id = l.id
                JOIN portal_allocation b ON b.id = c.takes_back_id JOIN portal_invoiceline m ON m.id = b.line_id
                JOIN portal_invoiceversion w ON w.id = m.version_id
        UNION SELECT w.invoice_id FROM portal_invoiceversion v JOIN given g ON g.id = v.invoice_id
                JOIN portal_invoiceline l ON l.version_id = v.id JOIN portal_allocation b ON b.line_id = l.id
                JOIN portal_allocation c ON c.takes_back_id = b.id JOIN portal_invoiceline m ON m.id = c.line_id
                JOIN portal_invoiceversion w ON w.id = m.version_id
        UNION SELECT w.invoice_id FROM portal_invoiceversion v JOIN given g ON g.id = v.invoice_id
                JOIN portal_invoiceline l ON l.version_id = v.id JOIN portal_allocation b ON b.line_id = l.id
                JOIN portal_ledgerstate s ON s.entry_id = b.entry_id AND s.state = 'reversed'
                JOIN portal_allocation c ON c.entry_id = b.entry_id JOIN portal_invoiceline m ON m.id = c.line_id
                JOIN portal_invoiceversion w ON w.id = m.version_id
        UNION SELECT a.invoice_id FROM portal_invoiceversion v JOIN given g ON g.id = v.invoice_id
                JOIN portal_paymentallocation a ON a.credit_version_id = v.id WHERE a.invoice_id IS NOT NULL
        UNION SELECT c.subject_key::bigint FROM reconciliation_exceptioncase c
               WHERE c.state = 'open' AND c.rule = 'hour-billed-twice' AND c.subject_type = 'bill' AND c.connection_id IN (
                     SELECT i.connection_id FROM given g JOIN portal_invoice i ON i.id = g.id
                       JOIN portal_invoiceversion v ON v.id = i.current_id
                      WHERE i.kind = 'credit_note' OR i.agreed_id <> i.current_id OR v.status IN ('voided', 'deleted')))
        SELECT id FROM touched UNION SELECT n.id FROM portal_invoice n JOIN touched t ON n.credits_id = t.id""",
        [list(bill_ids), list(payment_ids)],
    )
    return sorted(row[0] for row in found)


def notes_of(bill_ids: Sequence[int]) -> dict[int, list[int]]:
    """The credit notes of invoices that were issued and count, by invoice."""
    found = rows(
        "SELECT i.credits_id, array_agg(i.id ORDER BY i.id) FROM portal_invoice i"
        " JOIN portal_invoiceversion v ON v.id = i.current_id"
        " WHERE i.credits_id = ANY(%s) AND v.status NOT IN ('draft', 'voided')"
        " AND NOT (v.status = 'deleted' AND i.agreed_id = i.current_id) GROUP BY 1",
        [list(bill_ids)],
    )
    return {row[0]: row[1] for row in found}


def live_numbers(bill_ids: Sequence[int]) -> dict[int, list[str]]:
    """Of bills, the external ids of other live ones of the same connection, entity and kind that bear the same number."""
    found = rows(
        """
        SELECT i.id, array_agg(o.external_id ORDER BY o.id) FROM portal_invoice i
          JOIN portal_invoiceversion v ON v.id = i.current_id
          JOIN portal_invoiceversion w ON w.number = v.number JOIN portal_invoice o ON o.current_id = w.id
         WHERE i.id = ANY(%s) AND v.number <> '' AND o.id <> i.id AND o.connection_id = i.connection_id
           AND o.entity_id = i.entity_id AND o.kind = i.kind AND v.status NOT IN ('voided', 'deleted')
           AND w.status NOT IN ('voided', 'deleted') GROUP BY i.id""",
        [list(bill_ids)],
    )
    return {row[0]: row[1] for row in found}


def open_cases(rules: Sequence[str], subjects: Sequence[tuple[str, str]]) -> dict[tuple[str, str, str], int]:
    """Open cases of these rules about these subjects: (rule, type, key) → id."""
    found = rows(
        "SELECT c.rule, c.subject_type, c.subject_key, c.id FROM reconciliation_exceptioncase c"
        " JOIN unnest(%s::text[], %s::text[]) AS w(type, key) ON w.type = c.subject_type AND w.key = c.subject_key"
        " WHERE c.state = 'open' AND c.rule = ANY(%s)",
        [[kind for kind, _ in subjects], [key for _, key in subjects], list(rules)],
    )
    return {(row[0], row[1], row[2]): row[3] for row in found}


def managers_of(bill_ids: Sequence[int]) -> dict[int, set[int]]:
    """The project managers whose work stands, or ever stood, on bills."""
    found = rows(
        """
        SELECT DISTINCT v.invoice_id, p.manager_id FROM portal_allocation a
          JOIN portal_invoiceline l ON l.id = a.line_id JOIN portal_invoiceversion v ON v.id = l.version_id
          LEFT JOIN portal_ledgerentry e ON e.id = a.entry_id LEFT JOIN portal_milestone m ON m.id = a.milestone_id
          JOIN portal_project p ON p.id = coalesce(e.project_id, m.project_id)
         WHERE v.invoice_id = ANY(%s) AND p.manager_id IS NOT NULL""",
        [list(bill_ids)],
    )
    managers: dict[int, set[int]] = {}
    for bill_id, manager_id in found:
        managers.setdefault(bill_id, set()).add(manager_id)
    return managers


def keepers() -> list[int]:
    """The connections whose systems keep bills."""
    return [row[0] for row in rows("SELECT DISTINCT connection_id FROM portal_invoice ORDER BY 1")]


# What settlements leave of a bill `i` in its version `v` is not the balance that its system states.
_IS_OFF = """v.balance IS NOT NULL AND v.balance <> v.total - (
               SELECT coalesce(sum(p.amount), 0) FROM portal_paymentallocation p
                WHERE CASE WHEN i.kind = 'invoice' THEN p.invoice_id = i.id
                           ELSE p.credit_version_id IN (SELECT w.id FROM portal_invoiceversion w WHERE w.invoice_id = i.id) END)
           AND NOT EXISTS (SELECT 1 FROM portal_paymentallocation p
                            WHERE p.invoice_id = i.id AND p.recorded_at > now() - make_interval(secs => %(grace)s))"""
_OFF_ALREADY = """SELECT c.subject_key::bigint FROM reconciliation_exceptioncase c
                   WHERE c.state = 'open' AND c.rule = 'balance-differs' AND c.subject_type = 'bill'"""


def to_review(connection_id: int, grace: float) -> list[int]:
    """Bills of a connection whose stated balance is not what their settlements leave, or that are a case for it already.

    Nothing is asked of what was said or settled in the last `grace` seconds: the rest of it may be on its way.
    """
    found = rows(
        f"""
        SELECT i.id FROM portal_invoice i JOIN portal_invoiceversion v ON v.id = i.current_id
         WHERE i.connection_id = %(id)s AND v.recorded_at <= now() - make_interval(secs => %(grace)s) AND {_IS_OFF}
        UNION {_OFF_ALREADY} AND c.connection_id = %(id)s""",  # noqa: S608 - our own words
        {"id": connection_id, "grace": grace},
    )
    return [row[0] for row in found]


def to_review_lately(grace: float, window: float) -> list[int]:
    """The same of all systems, of what was said or settled in the `window` of seconds before the grace; cheap at any time."""
    found = rows(
        f"""
        WITH moved AS (
            SELECT i.id FROM portal_invoiceversion v JOIN portal_invoice i ON i.current_id = v.id
             WHERE v.recorded_at > now() - make_interval(secs => %(since)s)
            UNION SELECT p.invoice_id FROM portal_paymentallocation p
             WHERE p.invoice_id IS NOT NULL AND p.recorded_at > now() - make_interval(secs => %(since)s))
        SELECT i.id FROM moved m JOIN portal_invoice i ON i.id = m.id JOIN portal_invoiceversion v ON v.id = i.current_id
         WHERE v.recorded_at <= now() - make_interval(secs => %(grace)s) AND {_IS_OFF}
        UNION {_OFF_ALREADY}""",  # noqa: S608 - our own words
        {"grace": grace, "since": grace + window},
    )
    return [row[0] for row in found]


def part_paid() -> list[int]:
    """Invoices that are paid in part, of entities whose policy says what may be short or held back."""
    found = rows(
        "SELECT i.id FROM portal_invoice i JOIN portal_invoiceversion v ON v.id = i.current_id"
        " JOIN portal_legalentity e ON e.id = i.entity_id WHERE i.kind = 'invoice' AND v.status = 'part_paid'"
        " AND (e.policy ? 'held_back' OR e.policy ? 'short_payment') ORDER BY i.id"
    )
    return [row[0] for row in found]
