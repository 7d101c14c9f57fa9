"""The SQL of billing: bills with their lines, what of them stands allocated, what settles them, and the entries they are about.

The rule here: a fixed number of statements whatever the number of bills; rows that will be decided on are locked, bills first.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from portal import sql
from portal.sql import rows
from reconciliation.sql.taken_back import BOOKED_ANEW


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


class Entry(NamedTuple):
    """What a line bills, and what of it is open: delivered, less invoiced, plus credited."""

    id: int
    document_id: int
    entity_id: int
    kind: str
    currency: str
    delivered: Decimal
    billed: Decimal
    state: str
    may_be_billed: bool  # billable, no cost only, no reversal
    is_being_reversed: bool
    other_ids: list[int]  # other versions of its document that stand billed, and in whose place it is not
    other_billed: list[Decimal]  # how much of each
    was_ids: list[int]  # versions of its document in whose place it is, and that stand billed still
    was_billed: list[Decimal]  # how much of each

    @property
    def open(self) -> Decimal:
        """What is left to bill."""
        return self.delivered - self.billed


class Milestone(NamedTuple):
    """What a line bills that bills a milestone, and what of it is billed."""

    id: int
    code: str
    entity_id: int
    currency: str
    delivered: Decimal
    billed: Decimal


class Standing(NamedTuple):
    """Part of an entry that stands billed, or credited, on one line of a bill."""

    id: int
    bill_id: int
    line_id: int
    line_key: str
    entry_id: int | None
    milestone_id: int | None
    quantity: Decimal
    amount: Decimal
    currency: str
    was_quantity: Decimal  # as it was written, before anything was taken back
    was_amount: Decimal
    takes_back_id: int | None  # of a credit, what it gave back
    version_id: int  # of the bill, for whose line it was written


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


class Owed(NamedTuple):
    """What a bill is off by since rates changed in the past, as somebody agreed to it, and what has moved since."""

    bundle_id: int
    because: str
    entries: int
    currency: str
    net: Decimal  # above zero more is to be invoiced, below it credited
    moved: Decimal  # by which bills of these hours went up or down since

    @property
    def left(self) -> Decimal:
        """What is still to be credited (below zero) or invoiced; zero once it is made up for."""
        left = self.net - self.moved
        return left if left * self.net > 0 else Decimal(0)

    @property
    def short(self) -> Decimal:
        """How much is left, whichever way."""
        return abs(self.left)


def owed_by_rates(bill_ids: Sequence[int]) -> dict[int, list[Owed]]:
    """The latest agreed difference of each bill and currency; a later plan counted what an earlier one left."""
    found: dict[int, list[Owed]] = {}
    for bill_id, *row in rows(
        """
        SELECT d.invoice_id, d.bundle_id, c.title, d.entries, d.currency, d.would_be - d.billed, coalesce(m.amount, 0)
          FROM (SELECT DISTINCT ON (invoice_id, currency) * FROM reconciliation_billdifference
                 WHERE invoice_id = ANY(%s::bigint[]) AND proposed_at IS NOT NULL
                 ORDER BY invoice_id, currency, bundle_id DESC) d
          JOIN reconciliation_ratebundle b ON b.id = d.bundle_id JOIN reconciliation_changeset c ON c.id = b.change_set_id
          LEFT JOIN LATERAL (
               SELECT sum(a.amount) FROM portal_allocation a WHERE a.recorded_at >= d.proposed_at AND a.entry_id IN (
                      SELECT r.entry_id FROM reconciliation_bundlerow r
                       WHERE r.bundle_id = d.bundle_id AND r.invoice_id = d.invoice_id AND r.way = 'bill')) m(amount) ON true
         WHERE d.would_be <> d.billed ORDER BY d.invoice_id, d.currency""",
        [list(bill_ids)],
    ):
        found.setdefault(bill_id, []).append(Owed(*row))
    return found


def touched_by(bill_ids: Sequence[int], payment_ids: Sequence[int]) -> list[int]:
    """The bills whose standing may change with these: themselves, their credit notes or invoices, and what payments settle.

    Where something may be given back, those too that bill what stood billed elsewhere.
    """
    found = rows(
        """
        WITH given AS (
            SELECT unnest(%s::bigint[]) AS id
            UNION SELECT a.invoice_id FROM portal_paymentallocation a JOIN portal_paymentversion v ON v.id = a.payment_version_id
             WHERE v.payment_id = ANY(%s) AND a.invoice_id IS NOT NULL)
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
                      WHERE i.kind = 'credit_note' OR i.agreed_id <> i.current_id OR v.status IN ('voided', 'deleted'))""",
        [list(bill_ids), list(payment_ids)],
    )
    return sorted(row[0] for row in found)


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


_LOCKED = """locked AS (
            SELECT d.id FROM portal_document d
             WHERE d.id IN (SELECT e.document_id FROM named n JOIN portal_ledgerentry e ON e.id = n.id)
             ORDER BY d.id FOR NO KEY UPDATE OF d)"""
# What bills for an entry that was reversed and booked anew with the same to be billed: the latest such one that is in the books.
# While something of it stands on a bill that is void or gone and not let go, all of it stays where it is; so does what is said to
# be staying, since nobody knows what bills it.
_INSTEAD = f"""coalesce((
            SELECT max(n.id) FROM portal_ledgerentry e JOIN portal_ledgerstate es ON es.entry_id = e.id AND es.state = 'reversed'
              JOIN portal_ledgerentry n ON {BOOKED_ANEW}
              JOIN portal_ledgerstate ns ON ns.entry_id = n.id AND ns.state IN ('posted', 'reconciled')
             WHERE e.id = w.id AND e.document_id <> ALL(%(staying)s::bigint[]) AND NOT EXISTS (
                   SELECT 1 FROM portal_allocation a JOIN portal_invoiceline l ON l.id = a.line_id
                     JOIN portal_invoiceversion v ON v.id = l.version_id JOIN portal_invoice i ON i.id = v.invoice_id
                     JOIN portal_invoiceversion c ON c.id = i.current_id AND c.status IN ('voided', 'deleted')
                    WHERE a.entry_id = e.id AND a.takes_back_id IS NULL AND NOT EXISTS (
                          SELECT 1 FROM portal_allocation r WHERE r.takes_back_id = a.id AND r.line_id = a.line_id))), w.id)"""  # noqa: S608
_BY_THIS = _INSTEAD.replace("w.id", "o.id")
_ENTRY = f"""e.id, e.document_id, e.entity_id, e.kind, e.currency,
               coalesce(CASE WHEN e.kind = 'time' THEN e.hours ELSE e.amount END, 0),
               coalesce((SELECT b.invoiced - b.credited FROM portal_billingbalance b WHERE b.entry_id = e.id), 0), s.state,
               e.is_billable AND NOT e.is_cost_only AND e.reverses_id IS NULL,
               EXISTS (SELECT 1 FROM portal_ledgerentry r JOIN portal_ledgerstate rs ON rs.entry_id = r.id
                        WHERE r.reverses_id = e.id AND rs.state <> 'cancelled'),
               coalesce(others.ids, ARRAY[]::bigint[]), coalesce(others.billed, ARRAY[]::numeric[]),
               coalesce(others.was_ids, ARRAY[]::bigint[]), coalesce(others.was_billed, ARRAY[]::numeric[])
          FROM named n JOIN portal_ledgerentry e ON e.id = n.id JOIN portal_ledgerstate s ON s.entry_id = e.id
          JOIN locked l ON l.id = e.document_id
          LEFT JOIN LATERAL (
               SELECT array_agg(x.id ORDER BY x.id) FILTER (WHERE NOT x.goes) AS ids,
                      array_agg(x.billed ORDER BY x.id) FILTER (WHERE NOT x.goes) AS billed,
                      array_agg(x.id ORDER BY x.id) FILTER (WHERE x.goes) AS was_ids,
                      array_agg(x.billed ORDER BY x.id) FILTER (WHERE x.goes) AS was_billed
                 FROM (SELECT o.id, b.invoiced - b.credited AS billed, {_BY_THIS} = e.id AS goes
                         FROM portal_billingbalance b JOIN portal_ledgerentry o ON o.id = b.entry_id
                        WHERE b.document_id = e.document_id AND o.id <> e.id AND b.invoiced > b.credited
                          AND (o.version <> e.version OR o.part = e.part)) x) others ON true"""  # noqa: S608


def entries(
    connection_ids: Sequence[int], keys: Sequence[str], numbers: Sequence[str], *, staying: Collection[int] = ()
) -> dict[tuple[int, str], Entry]:
    """The entries behind keys and receipt numbers of some connections' systems, by (connection, key or number).

    Where one was reversed and the same was booked anew, that is what is billed, but of documents that are `staying`. Their
    documents are locked, so that what is open stays open until the transaction ends.
    """
    found = rows(
        f"""
        WITH asked AS (
            SELECT c.id AS connection_id, t.id AS target_id FROM portal_connection c
              JOIN portal_connection t ON t.id = c.id OR (t.connector = c.connector AND t.realm = c.realm AND c.realm <> '')
             WHERE c.id = ANY(%(connections)s)), worded AS (
            SELECT q.connection_id, replace(e.idempotency_key::text, '-', '') AS word, e.id FROM portal_ledgerentry e
              JOIN asked q ON q.target_id = e.target_id WHERE e.idempotency_key = ANY(%(keys)s::uuid[])
            UNION
            SELECT q.connection_id, r.number, r.entry_id FROM portal_receipt r
              JOIN asked q ON q.target_id = r.connection_id WHERE r.number = ANY(%(numbers)s)),
        named AS (SELECT w.connection_id, w.word, {_INSTEAD} AS id FROM worded w), {_LOCKED}
        SELECT n.connection_id, n.word, {_ENTRY}""",  # noqa: S608
        {"connections": list(connection_ids), "keys": list(keys), "numbers": list(numbers), "staying": list(staying)},
    )
    return {(row[0], row[1]): Entry(*row[2:]) for row in found}


def entries_by_id(ids: Collection[int], *, is_anew: bool = False, staying: Collection[int] = ()) -> dict[int, Entry]:
    """Entries by id, their documents locked; `is_anew` gives what was booked anew in the place of a reversed one.

    Nothing goes into the place of what is `staying`, by document.
    """
    if not ids:
        return {}
    found = rows(
        f"WITH named AS (SELECT w.id AS word, {_INSTEAD if is_anew else 'w.id'} AS id FROM portal_ledgerentry w"  # noqa: S608
        f" WHERE w.id = ANY(%(ids)s::bigint[])), {_LOCKED} SELECT n.word, {_ENTRY}",
        {"ids": sorted(ids), "staying": list(staying)},
    )
    return {row[0]: Entry(*row[1:]) for row in found}


def documents_of(entry_ids: Collection[int]) -> dict[int, int]:
    """The documents of entries."""
    if not entry_ids:
        return {}
    return dict(
        rows("SELECT id, document_id FROM portal_ledgerentry WHERE id = ANY(%s::bigint[])", [sorted(entry_ids)])
    )


def milestones(ids: Collection[int], codes: Collection[tuple[int, str]]) -> dict[int, Milestone]:
    """Milestones by id, or by entity and code, locked until the transaction ends."""
    if not ids and not codes:
        return {}
    found = rows(
        "SELECT m.id, m.code, p.entity_id, m.currency, m.amount, coalesce((SELECT b.invoiced - b.credited"
        " FROM portal_billingbalance b WHERE b.milestone_id = m.id), 0)"
        " FROM portal_milestone m JOIN portal_project p ON p.id = m.project_id WHERE m.id = ANY(%s::bigint[])"
        " OR (p.entity_id, m.code) IN (SELECT * FROM unnest(%s::bigint[], %s::text[])) ORDER BY m.id FOR NO KEY UPDATE OF m",
        [sorted(ids), [entity for entity, _ in codes], [code for _, code in codes]],
    )
    return {row[0]: Milestone(*row) for row in found}


_STANDING = """
    SELECT a.id, v.invoice_id, a.line_id, l.key, a.entry_id, a.milestone_id, a.quantity + t.quantity, a.amount + t.amount,
           a.currency, a.quantity, a.amount, a.takes_back_id, l.version_id
      FROM portal_allocation a
      JOIN portal_invoiceline l ON l.id = a.line_id JOIN portal_invoiceversion v ON v.id = l.version_id
     CROSS JOIN LATERAL (
           SELECT coalesce(sum(c.quantity + g.quantity), 0) AS quantity, coalesce(sum(c.amount + g.amount), 0) AS amount
             FROM portal_allocation c
            CROSS JOIN LATERAL (SELECT coalesce(sum(quantity), 0) AS quantity, coalesce(sum(amount), 0) AS amount
                                  FROM portal_allocation WHERE takes_back_id = c.id) g
            WHERE c.takes_back_id = a.id) t
     WHERE true"""
_LEFT = " AND (a.quantity + t.quantity <> 0 OR a.amount + t.amount <> 0)"


def billed(bill_ids: Sequence[int]) -> list[Standing]:
    """What was billed on the lines of invoices and not released since, of whichever version; also what is credited in full."""
    found = rows(
        f"{_STANDING} AND a.takes_back_id IS NULL AND v.invoice_id = ANY(%s) AND NOT EXISTS ("  # noqa: S608
        " SELECT 1 FROM portal_allocation r WHERE r.takes_back_id = a.id AND r.line_id = a.line_id) ORDER BY a.id",
        [list(bill_ids)],
    )
    return [Standing(*row) for row in found]


def billed_of(entry_ids: Sequence[int]) -> list[Standing]:
    """What of some entries stands billed, on whichever invoice; the oldest first."""
    found = rows(
        f"{_STANDING}{_LEFT} AND a.takes_back_id IS NULL AND a.entry_id = ANY(%s) ORDER BY a.id", [list(entry_ids)]
    )
    return [Standing(*row) for row in found]


def credited(bill_ids: Sequence[int]) -> list[Standing]:
    """What stands credited on the lines of credit notes; quantities and amounts are negative."""
    found = rows(
        f"{_STANDING}{_LEFT} AND a.takes_back_id IS NOT NULL AND a.amount <= 0 AND a.quantity <= 0 AND v.invoice_id = ANY(%s)"
        " ORDER BY a.id",
        [list(bill_ids)],
    )
    return [Standing(*row) for row in found]


_ALLOCATION = (
    "id", "entity_id", "entry_id", "milestone_id", "line_id", "cause_id", "takes_back_id", "quantity", "amount", "currency",
    "actor", "reason", "recorded_at",
)  # fmt: skip


def allocate(new: Sequence[Sequence[Any]]) -> None:
    """Write allocations, in the order of their columns but the moment; the database refuses what bills an hour twice."""
    if new:
        moment = sql.now()
        sql.copy_in("portal_allocation", _ALLOCATION, ([*row, moment] for row in new))


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


class PaymentRow(NamedTuple):
    """One payment as it stands."""

    id: int
    kind: str
    entity_id: int
    connection_id: int
    external_id: str
    status: str
    number: str
    currency: str
    amount: Decimal
    unapplied: Decimal | None
    booked_on: date | None
    customer: str
    applied: Decimal
    unknown: list[str]  # bills that it names and we do not know
    unpayable: list[str]  # bills that it settles although they are drafts, voided or gone
    previous_status: str

    @property
    def name(self) -> str:
        """As people say it."""
        word = "Payment" if self.kind == "payment" else "Write-off"
        return f"{word} {self.number or self.external_id}"


def payments(payment_ids: Sequence[int]) -> list[PaymentRow]:
    """Payments as they stand, with what is odd about what they settle."""
    found = rows(
        """
        SELECT p.id, p.kind, p.entity_id, p.connection_id, p.external_id, v.status, v.number, v.currency, v.amount, v.unapplied,
               v.booked_on, v.customer_name, s.applied, s.unknown, s.unpayable,
               coalesce((SELECT o.status FROM portal_paymentversion o
                          WHERE o.payment_id = p.id AND o.version = v.version - 1), '')
          FROM portal_payment p JOIN portal_paymentversion v ON v.id = p.current_id
         CROSS JOIN LATERAL (
               SELECT coalesce(sum(a.amount), 0) AS applied,
                      coalesce(array_agg(a.invoice_key) FILTER (WHERE a.invoice_id IS NULL), '{}') AS unknown,
                      coalesce(array_agg(coalesce(nullif(iv.number, ''), a.invoice_key) || ' (' || iv.status || ')')
                          FILTER (WHERE iv.status IN ('draft', 'voided', 'deleted')), '{}') AS unpayable
                 FROM portal_paymentallocation a JOIN portal_paymentversion av ON av.id = a.payment_version_id
                 LEFT JOIN portal_invoice i ON i.id = a.invoice_id LEFT JOIN portal_invoiceversion iv ON iv.id = i.current_id
                WHERE av.payment_id = p.id AND a.takes_back_id IS NULL
                  AND NOT EXISTS (SELECT 1 FROM portal_paymentallocation t WHERE t.takes_back_id = a.id)) s
         WHERE p.id = ANY(%s) ORDER BY p.id""",
        [list(payment_ids)],
    )
    return [PaymentRow(*row) for row in found]


class AppliedCredit(NamedTuple):
    """Part of an invoice that a credit settles which is of another bill, or of none."""

    invoice_id: int
    credit: str  # the note's number, or the payment's by which its system says so
    of: str  # the bill that it is of; empty where it is the customer's balance
    amount: Decimal


def credits_from_elsewhere(bill_ids: Sequence[int]) -> dict[int, list[AppliedCredit]]:
    """What of invoices is settled by credits of other bills, or by the customer's balance."""
    found: dict[int, list[AppliedCredit]] = {}
    for row in rows(
        """
        SELECT a.invoice_id, coalesce(nullif(nv.number, ''), n.external_id, nullif(pv.number, ''), p.external_id),
               coalesce(nullif(ov.number, ''), o.external_id, ''), sum(a.amount)
          FROM portal_paymentallocation a
          LEFT JOIN portal_invoiceversion av ON av.id = a.credit_version_id LEFT JOIN portal_invoice n ON n.id = av.invoice_id
          LEFT JOIN portal_invoiceversion nv ON nv.id = n.current_id
          LEFT JOIN portal_invoice o ON o.id = n.credits_id LEFT JOIN portal_invoiceversion ov ON ov.id = o.current_id
          LEFT JOIN portal_paymentversion bv ON bv.id = a.payment_version_id LEFT JOIN portal_payment p ON p.id = bv.payment_id
          LEFT JOIN portal_paymentversion pv ON pv.id = p.current_id
         WHERE a.invoice_id = ANY(%s) AND a.by = 'credit' AND (p.id IS NOT NULL OR n.credits_id IS DISTINCT FROM a.invoice_id)
         GROUP BY 1, 2, 3 HAVING sum(a.amount) > 0 ORDER BY 1, 2""",
        [list(bill_ids)],
    ):
        found.setdefault(row[0], []).append(AppliedCredit(*row))
    return found


def payments_of(bill_ids: Sequence[int]) -> list[int]:
    """The payments that settle, or did settle, some bills."""
    found = rows(
        "SELECT DISTINCT v.payment_id FROM portal_paymentallocation a JOIN portal_paymentversion v ON v.id = a.payment_version_id"
        " WHERE a.invoice_id = ANY(%s)",
        [list(bill_ids)],
    )
    return [row[0] for row in found]


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


def settled_by(payment_ids: Sequence[int]) -> dict[int, list[int]]:
    """The bills that each payment settles, or did settle."""
    found = rows(
        "SELECT v.payment_id, array_agg(DISTINCT a.invoice_id) FROM portal_paymentallocation a"
        " JOIN portal_paymentversion v ON v.id = a.payment_version_id"
        " WHERE v.payment_id = ANY(%s) AND a.invoice_id IS NOT NULL GROUP BY 1",
        [list(payment_ids)],
    )
    return {row[0]: row[1] for row in found}


def part_paid() -> list[int]:
    """Invoices that are paid in part, of entities whose policy says what may be short or held back."""
    found = rows(
        "SELECT i.id FROM portal_invoice i JOIN portal_invoiceversion v ON v.id = i.current_id"
        " JOIN portal_legalentity e ON e.id = i.entity_id WHERE i.kind = 'invoice' AND v.status = 'part_paid'"
        " AND (e.policy ? 'held_back' OR e.policy ? 'short_payment') ORDER BY i.id"
    )
    return [row[0] for row in found]


def keepers() -> list[int]:
    """The connections whose systems keep bills."""
    return [row[0] for row in rows("SELECT DISTINCT connection_id FROM portal_invoice ORDER BY 1")]


def to_review(connection_id: int, older_than_seconds: float) -> list[int]:
    """Bills of a connection whose stated balance is not what their settlements leave, or that are a case for it already."""
    found = rows(
        """
        SELECT i.id FROM portal_invoice i JOIN portal_invoiceversion v ON v.id = i.current_id
         WHERE i.connection_id = %s AND v.balance IS NOT NULL AND v.recorded_at <= now() - make_interval(secs => %s)
           AND v.balance <> v.total - (
               SELECT coalesce(sum(p.amount), 0) FROM portal_paymentallocation p
                WHERE CASE WHEN i.kind = 'invoice' THEN p.invoice_id = i.id
                           ELSE p.credit_version_id IN (SELECT w.id FROM portal_invoiceversion w WHERE w.invoice_id = i.id) END)
        UNION
        SELECT c.subject_key::bigint FROM reconciliation_exceptioncase c
         WHERE c.state = 'open' AND c.rule = 'balance-differs' AND c.subject_type = 'bill' AND c.connection_id = %s""",
        [connection_id, older_than_seconds, connection_id],
    )
    return [row[0] for row in found]
