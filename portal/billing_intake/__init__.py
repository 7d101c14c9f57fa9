"""Bills and payments as their system states them: filed as versions, in batches, and tied to each other.

The rule here: the figures are theirs and are taken as they come, also when they do not add up; an older copy never overwrites
a newer one, an echo makes no version, and nothing that is gone there is deleted here. Every verb joins the caller's transaction
and issues a fixed number of statements.
"""

from __future__ import annotations

from collections.abc import Sequence

from portal import sql
from portal.billing_intake import settlements, ties
from portal.billing_intake.families import BILLS, PAYMENTS, Taken
from portal.billing_intake.filing import file
from portal.models import Connection
from portal.records import BillingRecord, BillRecord, PaymentRecord

__all__ = ["Taken", "agree", "take_in"]


def take_in(connection: Connection, records: Sequence[tuple[int, BillingRecord]]) -> Taken:
    """Store what one system says of its bills and payments; what is new, and what became of each message.

    A record of an entity that is not known here yet waits for it. A deleted one that was never seen is left.
    """
    sql.rows("SELECT pg_advisory_xact_lock(%s, %s)", [0x62696C6C, connection.pk])  # one intake per system at a time
    taken = Taken()
    known = ties.known(connection, [record for _, record in records])
    bills = [(i, record) for i, record in records if isinstance(record, BillRecord)]
    payments = [(i, record) for i, record in records if isinstance(record, PaymentRecord)]
    filed = file(BILLS, connection, bills, known, taken) if bills else {}
    paid = file(PAYMENTS, connection, payments, known, taken) if payments else {}
    taken.bills, taken.payments = list(filed), list(paid)
    if filed:
        tied = ties.tie(connection, list(filed))
        taken.bills += [i for i in tied if i not in filed]
    settlements.record(connection, bills=filed, payments=paid)
    return taken


def agree(invoice_ids: Sequence[int]) -> None:
    """Go by the current version of some bills from now on: their lines and figures are what was billed."""
    sql.execute("UPDATE portal_invoice SET agreed_id = current_id WHERE id = ANY(%s)", [list(invoice_ids)])
