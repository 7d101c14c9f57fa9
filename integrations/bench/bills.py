"""Bills and payments over all entries of a bench's ledger, as their system would have stated them."""

from __future__ import annotations

from datetime import date

from integrations.bench import posted
from integrations.bench.firm import Firm
from portal import sql

ON_A_BILL = 100  # entries

_VIEW = """CREATE TEMPORARY VIEW billed AS SELECT id, entity_id, document_id, hours, amount, currency,
    (id - 1) / {size} * 4 + entity_id AS bill FROM portal_ledgerentry WHERE work_date < DATE '{before}'"""
_BILLED = (
    "INSERT INTO portal_invoice (id, external_id, seen_revision, content_digest, created_at, kind, connection_id, entity_id,"
    " current_id) SELECT DISTINCT bill, 'I' || bill, '1', '', now(), 'invoice',"
    " (%(sources)s::bigint[])[array_position(%(entities)s::bigint[], entity_id)], entity_id, bill FROM billed",
    "INSERT INTO portal_invoiceversion (id, version, revision, number, customer_key, customer_name, currency, booked_on, memo,"
    " link, recorded_at, status, due_on, net, tax, total, balance, purchase_order, invoice_id, credits_key)"
    " SELECT bill, 1, '1', 'I' || bill, 'c', '', min(currency), DATE '2026-10-31', '', '', now(), 'open', DATE '2026-11-30',"
    " sum(amount), 0, sum(amount), 0, '', bill, '' FROM billed GROUP BY bill",
    "INSERT INTO portal_invoiceline (id, position, key, posting_key, posting_number, milestone_key, project_key, project_name,"
    " description, quantity, net, tax_code, version_id) SELECT bill, 1, '1', '', '', '', '', '', '', sum(hours), sum(amount), '',"
    " bill FROM billed GROUP BY bill",
    "INSERT INTO portal_allocation (quantity, amount, currency, actor, reason, recorded_at, entity_id, entry_id, line_id,"
    " cause_id) SELECT hours, amount, currency, 'bench', '', now(), entity_id, id, bill, bill FROM billed ORDER BY id",
    "INSERT INTO portal_billingbalance (delivered, invoiced, credited, amount, document_id, entity_id, entry_id)"
    " SELECT hours, hours, 0, amount, document_id, entity_id, id FROM billed ORDER BY id",
    "INSERT INTO portal_payment (id, external_id, seen_revision, content_digest, created_at, kind, connection_id, entity_id,"
    " current_id) SELECT id, 'P' || id, '1', '', now(), 'payment', connection_id, entity_id, id FROM portal_invoice",
    "INSERT INTO portal_paymentversion (id, version, revision, number, customer_key, customer_name, currency, booked_on, memo,"
    " link, recorded_at, status, amount, unapplied, reference, payment_id) SELECT id, 1, '1', 'P' || id, 'c', '', currency,"
    " booked_on, '', '', now(), 'received', total - (id %% %(short)s = 0)::int, 0, '', id FROM portal_invoiceversion",
    "ANALYZE portal_invoice, portal_invoiceversion, portal_payment, portal_paymentversion",
    "INSERT INTO portal_paymentallocation (invoice_key, by, amount, booked_on, recorded_at, entity_id, invoice_id,"
    " payment_version_id) SELECT v.number, 'source', p.amount, p.booked_on, now(), i.entity_id, i.id, p.id FROM portal_invoice i"
    " JOIN portal_invoiceversion v ON v.id = i.current_id JOIN portal_paymentversion p ON p.id = i.id",
)


def settled(firm: Firm, short: int, *, before: date = date.max) -> None:
    """Invoices over every entry worked before a day, a hundred on each, and their payments: one in `short` pays a little less."""
    told = {"short": short, "entities": firm.entities, "sources": [one.pk for one in firm.sources]}
    with posted.unchecked():
        sql.execute(_VIEW.format(size=ON_A_BILL, before=before))
        for statement in _BILLED:
            sql.execute(statement, told)


def credit(every: int, turn: int, limit: int) -> None:
    """Give half an hour back of some billed entries that nothing was given back of yet."""
    sql.execute(
        "INSERT INTO portal_allocation (quantity, amount, currency, actor, reason, recorded_at, entity_id, entry_id, line_id,"
        " cause_id, takes_back_id) SELECT -0.5, -60, a.currency, 'bench', 'credited', now(), a.entity_id, a.entry_id, a.line_id,"
        " a.cause_id, a.id FROM portal_allocation a JOIN portal_billingbalance b ON b.entry_id = a.entry_id"
        " WHERE a.entry_id %% %s = %s AND a.takes_back_id IS NULL AND b.credited = 0 ORDER BY a.entry_id LIMIT %s",
        [every, turn % every, limit],
    )
