"""Whom a bill is for and what it belongs to: entities and customers by the system's keys, credit notes to their invoices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from portal import sql
from portal.models import Connection
from portal.records import BillingRecord


@dataclass(frozen=True, slots=True)
class Known:
    """Our records behind the system's keys: by (kind, key)."""

    entity_id: int | None  # of the connection, where it has one
    records: dict[tuple[str, str], int]

    def entity(self, record: BillingRecord) -> int | None:
        """The entity of a record; None while it is not known here."""
        return self.entity_id or self.records.get(("entity", record.entity.key))

    def customer(self, record: BillingRecord) -> int | None:
        """The customer of a record; None where it is not known here."""
        return self.records.get(("customer", record.customer.key))


def known(connection: Connection, records: Sequence[BillingRecord]) -> Known:
    """What a batch names, looked up once. A merged customer is the one it was merged into."""
    keys = {("customer", record.customer.key) for record in records if record.customer.key}
    keys |= {("entity", record.entity.key) for record in records if record.entity.key}
    found = sql.rows_bound(
        """
        SELECT w.kind, w.external_id, coalesce(c.merged_into_id, k.internal_id)
          FROM unnest(%b::text[], %b::text[]) AS w(kind, external_id)
          JOIN portal_crosswalk k ON k.system = %s AND k.realm = %s AND k.kind = w.kind AND k.external_id = w.external_id
          LEFT JOIN portal_customer c ON w.kind = 'customer' AND c.id = k.internal_id
         WHERE k.valid_from <= current_date AND (k.valid_to IS NULL OR k.valid_to >= current_date)""",
        [[kind for kind, _ in keys], [key for _, key in keys], connection.connector, connection.realm],
    )
    return Known(connection.entity_id, {(row[0], row[1]): row[2] for row in found})


def tie(connection: Connection, bill_ids: Sequence[int]) -> list[int]:
    """Tie credit notes to the invoice that they name, whichever of the two came first; the credit notes that were tied."""
    tied = sql.rows(
        """
        UPDATE portal_invoice c SET credits_id = i.id
          FROM portal_invoiceversion v, portal_invoice i
         WHERE c.connection_id = %s AND c.kind = 'credit_note' AND v.id = c.current_id AND v.credits_key <> ''
           AND i.connection_id = c.connection_id AND i.kind = 'invoice' AND i.external_id = v.credits_key
           AND i.entity_id = c.entity_id AND c.credits_id IS DISTINCT FROM i.id AND (c.id = ANY(%s) OR i.id = ANY(%s))
     RETURNING c.id""",
        [connection.pk, list(bill_ids), list(bill_ids)],
    )
    return [row[0] for row in tied]
