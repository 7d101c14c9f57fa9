"""Which amounts settle which bills: recorded as they are stated, and taken back by their opposites when that changes.

The rule here: what bounced, was voided, deleted or applied elsewhere is taken back and the rest applied anew in one
transaction, under the bookkeeping date, and both stay to be seen. A part whose bill is not known here is kept all the same.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from portal import sql
from portal.models import Connection
from portal.records import BillingRecord, BillRecord

_LIVE = frozenset({"open", "part_paid", "paid", "written_off", "received", "draft"})
_COLUMNS = (
    "payment_version_id", "credit_version_id", "entity_id", "invoice_id", "invoice_key", "by", "amount", "takes_back_id",
    "booked_on", "recorded_at",
)  # fmt: skip


class _Part(NamedTuple):
    """One amount to one bill; the same part twice is counted twice."""

    invoice_key: str
    by: str
    amount: Decimal


class _Row(NamedTuple):
    """A settlement that stands."""

    id: int
    owner: tuple[str, int]
    invoice_id: int | None
    part: _Part


def record(
    connection: Connection, *, bills: Mapping[int, BillingRecord], payments: Mapping[int, BillingRecord]
) -> None:
    """Record what payments and credit notes with a new version settle now, and tie parts whose bill has arrived."""
    notes = {i: r for i, r in bills.items() if isinstance(r, BillRecord) and r.kind == "credit_note"}
    stated = {("payment", i): r for i, r in payments.items()} | {("credit", i): r for i, r in notes.items()}
    standing = _standing(connection, list(payments), list(notes), [r.external_id for r in bills.values()])
    wanted = {owner: _parts(record) for owner, record in stated.items()}
    stays: dict[tuple[str, int], Counter[_Part]] = {owner: Counter(parts) for owner, parts in wanted.items()}
    known = _bills(
        connection, {p.invoice_key for parts in wanted.values() for p in parts} | {r.part.invoice_key for r in standing}
    )
    gone: list[_Row] = []
    again: list[tuple[tuple[str, int], _Part]] = []
    for row in standing:
        arrived = row.invoice_id is None and row.part.invoice_key in known
        if row.owner not in stated:
            if arrived:
                gone.append(row)
                again.append((row.owner, row.part))
        elif stays[row.owner][row.part] > 0 and not arrived:
            stays[row.owner][row.part] -= 1
        else:
            gone.append(row)
    again += [(owner, part) for owner, parts in stays.items() for part, count in parts.items() for _ in range(count)]
    if gone or again:
        _write(gone, again, known)


def _parts(record: BillingRecord) -> list[_Part]:
    if str(record.status) not in _LIVE:  # type: ignore[attr-defined]
        return []
    return [_Part(each.bill, str(each.by), each.amount) for each in record.applications if each.amount > 0]


def _standing(connection: Connection, payments: list[int], notes: list[int], arrived: list[str]) -> list[_Row]:
    """What these documents settle, and what settles bills that were not known until now."""
    found = sql.rows(
        """
        SELECT a.id, CASE WHEN p.id IS NULL THEN 'credit' ELSE 'payment' END, coalesce(p.id, c.id), a.invoice_id,
               a.invoice_key, a.by, a.amount
          FROM portal_paymentallocation a
          LEFT JOIN portal_paymentversion pv ON pv.id = a.payment_version_id LEFT JOIN portal_payment p ON p.id = pv.payment_id
          LEFT JOIN portal_invoiceversion cv ON cv.id = a.credit_version_id LEFT JOIN portal_invoice c ON c.id = cv.invoice_id
         WHERE a.takes_back_id IS NULL AND NOT EXISTS (SELECT 1 FROM portal_paymentallocation t WHERE t.takes_back_id = a.id)
           AND (p.id = ANY(%s) OR c.id = ANY(%s)
                OR (a.invoice_id IS NULL AND a.invoice_key = ANY(%s) AND coalesce(p.connection_id, c.connection_id) = %s))
         ORDER BY a.id""",
        [payments, notes, arrived, connection.pk],
    )
    return [_Row(row[0], (row[1], row[2]), row[3], _Part(*row[4:7])) for row in found]


def _bills(connection: Connection, keys: set[str]) -> dict[str, int]:
    found = sql.rows(
        "SELECT external_id, id FROM portal_invoice WHERE connection_id = %s AND kind = 'invoice' AND external_id = ANY(%s)",
        [connection.pk, sorted(keys)],
    )
    return dict(found)


def _write(gone: list[_Row], again: list[tuple[tuple[str, int], _Part]], known: Mapping[str, int]) -> None:
    heads = _heads({row.owner for row in gone} | {owner for owner, _ in again})
    moment = sql.now()
    rows: list[list[Any]] = []
    for row in gone:
        version_id, entity_id, booked_on = heads[row.owner]
        rows.append([*_owner(row.owner, version_id), entity_id, row.invoice_id, row.part.invoice_key, row.part.by,
                     -row.part.amount, row.id, booked_on, moment])  # fmt: skip
    for owner, part in again:
        version_id, entity_id, booked_on = heads[owner]
        rows.append(
            [*_owner(owner, version_id), entity_id, known.get(part.invoice_key), *part, None, booked_on, moment]
        )
    sql.copy_in("portal_paymentallocation", _COLUMNS, rows)


def _owner(owner: tuple[str, int], version_id: int) -> tuple[int | None, int | None]:
    return (version_id, None) if owner[0] == "payment" else (None, version_id)


def _heads(owners: set[tuple[str, int]]) -> dict[tuple[str, int], tuple[int, int, Any]]:
    """The current version, the entity and the bookkeeping date of documents."""
    by_kind: dict[str, list[int]] = defaultdict(list)
    for kind, number in owners:
        by_kind[kind].append(number)
    found = sql.rows(
        """
        SELECT 'payment', p.id, p.current_id, p.entity_id, v.booked_on FROM portal_payment p
          JOIN portal_paymentversion v ON v.id = p.current_id WHERE p.id = ANY(%s)
        UNION ALL
        SELECT 'credit', c.id, c.current_id, c.entity_id, v.booked_on FROM portal_invoice c
          JOIN portal_invoiceversion v ON v.id = c.current_id WHERE c.id = ANY(%s)""",
        [by_kind["payment"], by_kind["credit"]],
    )
    return {(row[0], row[1]): (row[2], row[3], row[4]) for row in found}
