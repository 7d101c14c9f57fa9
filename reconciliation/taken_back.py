"""What a bill owes since the books take back what it bills: one case a bill, from the reversal to the credit note.

The rule here: a bill is never changed from here. What is taken back stays billed, and what is booked in its place is not billed,
until the system that keeps the bill has credited it; then the case ends by itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from decimal import Decimal

from django.urls import reverse

from portal import figures, notifications
from portal.models import NotificationKind, Project
from reconciliation import cases
from reconciliation.sql import billing as billing_sql
from reconciliation.sql import taken_back as sql
from reconciliation.sql.taken_back import TakenBack

RULE = "billed-work-taken-back"
GONE = sql.GONE
DEAD = ("voided", "deleted")
ZERO = Decimal(0)


def owed(bill_ids: Collection[int]) -> dict[int, list[TakenBack]]:
    """What each of these bills is to credit, since the books took it back."""
    found: dict[int, list[TakenBack]] = defaultdict(list)
    for row in sql.of_bills(bill_ids) if bill_ids else ():
        found[row.bill_id].append(row)
    return dict(found)


def found(bill: billing_sql.Bill, rows: Sequence[TakenBack]) -> cases.Found:
    """The cause about one bill: what it bills of what is taken back, what is to be credited, and what may be billed then."""
    [(currency, amount), *_] = sorted(_sums((row.currency, row.amount) for row in rows).items())
    return cases.Found(
        RULE, bill.entity_id, "bill", str(bill.id), _sentence(bill, rows),
        {
            "bill_id": bill.id, "number": bill.number, "amount": str(amount), "currency": currency,
            "entries": [row.entry_id for row in rows], "reversals": [r.reversal_id for r in rows if r.reversal_id],
            "successors": [row.successor_id for row in rows if row.successor_id],
        },
        bill.connection_id,
        cases.AtStake(amount, currency, bill.customer_id),
    )  # fmt: skip


def _sentence(bill: billing_sql.Bill, rows: Sequence[TakenBack]) -> str:
    hours = sum((row.quantity for row in rows if row.kind == "time"), ZERO)
    what = "1 entry" if len(rows) == 1 else f"{len(rows):,} entries"
    projects = ", ".join(sorted({row.project for row in rows if row.project})[:3])
    by = "the books take back" if all(row.reversal_id for row in rows) else "the source or the books took back"
    owes = _sums((row.currency, row.amount) for row in rows)
    instead = _sums((row.successor_currency, row.successor_amount or ZERO) for row in rows if row.successor_amount)
    said = (
        f"{bill.name} bills {what}{f' of {projects}' if projects else ''} that {by}"
        f"{f', {figures.hours(hours)} h' if hours else ''}: {_money(owes)} are to be credited."
    )
    if not instead:
        return f"{said} Nothing is billed in their place."
    net = _sums([*instead.items(), *((currency, -amount) for currency, amount in owes.items())])
    change = " and ".join(
        f"{figures.amount(abs(value), currency)} {currency} {'more' if value > 0 else 'less'}"
        for currency, value in sorted(net.items())
        if value
    )
    return (
        f"{said} Once they are, {_money(instead)} may be billed in their place{f', {change} in all' if change else ''}."
    )


def _sums(pairs: Iterable[tuple[str, Decimal]]) -> dict[str, Decimal]:
    sums: dict[str, Decimal] = defaultdict(lambda: ZERO)
    for currency, amount in pairs:
        sums[currency] += amount
    return dict(sums)


def _money(sums: dict[str, Decimal]) -> str:
    return " and ".join(f"{figures.amount(value, code)} {code}" for code, value in sorted(sums.items()))


def tell(document_ids: Collection[int]) -> None:
    """Open, word anew or close the cases of the bills on which these documents stand, and tell the managers of both projects.

    Joins the transaction that takes something back, or calls that back.
    """
    bill_ids = sql.bills_of(document_ids)
    if not bill_ids:
        return
    bills, rows = billing_sql.bills(bill_ids), owed(bill_ids)
    standing = billing_sql.open_cases([RULE], [("bill", str(bill_id)) for bill_id in bill_ids])
    alive = [bill for bill in bills if bill.id in rows and bill.status not in DEAD]
    cases.raise_each([found(bill, rows[bill.id]) for bill in alive])
    kept = {str(bill.id) for bill in alive}
    cases.close(
        [case_id for (_, _, key), case_id in standing.items() if key not in kept],
        reason="Nothing on the bill is taken back any more.",
    )
    _tell_managers(alive, [row for some in rows.values() for row in some if row.document_id in set(document_ids)])


def _tell_managers(bills: Sequence[billing_sql.Bill], rows: Sequence[TakenBack]) -> None:
    """The manager of the project that billed the work, and of the one that it goes to, read the same sentence."""
    ids = {one for row in rows for one in (row.project_id, row.successor_project_id) if one is not None}
    managers = dict(Project.objects.filter(pk__in=ids, manager__isnull=False).values_list("pk", "manager_id"))
    notices = []
    for bill in bills:
        of = [row for row in rows if row.bill_id == bill.id]
        projects = {one for row in of for one in (row.project_id, row.successor_project_id)}
        notices += [
            notifications.Notice(
                person_id=person_id,
                kind=NotificationKind.BILLING,
                subject=_moved(bill, of),
                url=reverse("bill", args=[bill.id]),
                entity_id=bill.entity_id,
                key=f"bill:{bill.id}:taken-back:{min(row.entry_id for row in of)}:{len(of)}",
            )
            for person_id in sorted({managers[one] for one in projects if one in managers})
        ]
    if notices:
        notifications.notify_each(notices)


def _moved(bill: billing_sql.Bill, rows: Sequence[TakenBack]) -> str:
    owes = _money(_sums((row.currency, row.amount) for row in rows))
    goes = sorted({row.successor_project for row in rows if row.successor_project} - {row.project for row in rows})
    return (
        f"{bill.name}: {owes} on {', '.join(sorted({row.project for row in rows}))} are taken back and to be credited"
        f"{'; the work goes to ' + ', '.join(goes) if goes else ''}."
    )
