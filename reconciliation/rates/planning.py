"""What becomes of booked and billed work once rates have changed in the past, planned on the real entries by the real rules.

The rule here: planning writes no master data and moves no entry. What cannot be booked anew is planned too, as left, with the
reason; nothing that would say something else is passed over.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from django.db import transaction

from portal import sql
from portal.importing.problems import Refused
from portal.models import Rate, RateCard, State, User
from portal.money import is_currency, round_money
from reconciliation import changes
from reconciliation.changes import measuring
from reconciliation.changes.writing import write
from reconciliation.models import BillDifference, BundleRow, ChangeSet, RateBundle
from reconciliation.sql import rates as rates_sql
from reconciliation.validation import Otherwise, booked_at_other_rates

BATCH = 2000
INLINE = 2_000  # booked entries that are planned while a person waits; more are left to a worker
BOOKED = (State.ACCEPTED, State.POSTED, State.RECONCILED)
Way, Result = BundleRow.Way, BundleRow.Result


class NotPlannable(Exception):
    """Why nothing can be planned; the text is for the person."""


@dataclass(frozen=True, slots=True)
class _Billed:
    """What of one entry stands on one bill, and what was billed of it at first, before credits."""

    invoice_id: int
    quantity: Decimal
    amount: Decimal
    currency: str
    first_quantity: Decimal
    first_amount: Decimal


def begin(change_set: ChangeSet, *, by: User) -> RateBundle:
    """Plan what follows in the books from a change set of rates: at once where that is little, else by a worker.

    A draft is planned by who writes it, and agreed to with its plan. Once it is applied, a plan takes up what is left and needs
    a second person of its own. Raises NotPlannable.
    """
    with transaction.atomic():
        locked = ChangeSet.objects.select_for_update(of=("self",)).get(pk=change_set.pk)
        bundle = RateBundle.objects.create(
            change_set=locked,
            round=_round(locked, by),
            content_hash=content_of(locked),
            planned_by=by,
            created_at=sql.now(),
        )
        first = next(candidates(cards_of(locked), date.min, INLINE + 1), [])
        if len(first) <= INLINE:
            plan(bundle)
    return bundle


def begin_with(change_set: ChangeSet, *, by: User) -> RateBundle | None:
    """Plan a draft that changes rates however it came to be, so that what follows in the books is agreed to with it.

    A plan that is of what is written stays; None where nothing is booked at these rates, and of an emergency, which nobody agrees
    to before it holds.
    """
    if change_set.state != ChangeSet.State.DRAFT or change_set.is_emergency or not changes.is_editor(change_set, by):
        return None
    if not cards_of(change_set):
        return None
    standing = RateBundle.objects.filter(change_set=change_set, round=1).first()
    if standing is not None and content_of(change_set) == standing.content_hash:
        return standing
    try:
        made = begin(change_set, by=by)
    except Refused:  # it cannot be written; whoever submits it is told so by its dry-run
        return None
    if made.planned_at is None or made.total:
        return made
    made.delete()
    return None


def _round(locked: ChangeSet, by: User) -> int:
    """The number of the plan to be made; one that has not begun gives way to it, and one that was refused stays as decided."""
    if not cards_of(locked):
        raise NotPlannable("This change set changes no rate and no rate card.")
    latest = RateBundle.objects.filter(change_set=locked).order_by("-round").first()
    if locked.state == ChangeSet.State.DRAFT:
        if not changes.is_editor(locked, by):
            raise NotPlannable("A draft is planned by who writes it.")
        RateBundle.objects.filter(change_set=locked).delete()
        return 1
    if locked.state != ChangeSet.State.APPLIED:
        word = locked.get_state_display().lower()
        raise NotPlannable(
            f"The change set is {word}; it is planned while it is a draft, and again once it is applied."
        )
    if latest is None:
        return 2
    if latest.state in (RateBundle.State.PLANNING, RateBundle.State.RUNNING) or (
        latest.round == 1 and latest.state == RateBundle.State.PLANNED
    ):
        raise NotPlannable("The plan before is under way; wait for its end.")
    if latest.started_at is None and latest.round > 1 and latest.refused_at is None:
        latest.delete()
        return int(latest.round)
    return int(latest.round) + 1


def content_of(change_set: ChangeSet) -> str:
    """What the lines of a change set ask for, as a hash; who edits them makes every plan of them outdated."""
    lines = change_set.lines.order_by("position").values_list("model", "key", "action", "values")
    return hashlib.sha256(json.dumps(list(lines), sort_keys=True, default=str).encode()).hexdigest()


def cards_of(change_set: ChangeSet) -> list[int]:
    """The rate cards whose rates a change set changes."""
    rates = [line.key for line in change_set.lines.all() if line.model == "rate" and line.key]
    cards = {line.key or line.made for line in change_set.lines.all() if line.model == "rate_card"}
    named = {
        (line.values["card"], int(line.values.get("card_version") or 1))
        for line in change_set.lines.all()
        if line.model == "rate" and line.values.get("card")
    }
    cards |= set(Rate.objects.filter(pk__in=rates).values_list("card_id", flat=True))
    for code, version in named:
        cards |= set(RateCard.objects.filter(code=code, version=version).values_list("pk", flat=True))
    return sorted(card for card in cards if card is not None)


def plan(bundle: RateBundle) -> None:
    """Find every booked entry that would say something else, and what is to be done about it. Joins the open transaction."""
    change_set = bundle.change_set
    reach = None if change_set.is_shared else set(change_set.entities.values_list("pk", flat=True))
    found = list(_otherwise(change_set))
    stands_billed = _billed([one.entry.id for one in found])
    on_bills = rates_sql.documents_on_bills({one.entry.document_id for one in found}) if found else set()
    rows = [
        row
        for one in found
        for row in _rows(
            bundle, one, stands_billed.get(one.entry.id, []),
            _left(one, reach)
            or _torn(one, on_bills, is_billed=one.entry.id in stands_billed)
            or _unequalled(one, stands_billed.get(one.entry.id, [])),
        )
    ]  # fmt: skip
    BundleRow.objects.filter(bundle=bundle).delete()
    BillDifference.objects.filter(bundle=bundle).delete()
    BundleRow.objects.bulk_create(rows, batch_size=BATCH)
    BillDifference.objects.bulk_create(_bills(bundle, rows), batch_size=BATCH)
    bundle.total, bundle.done = len(rows), sum(row.result != Result.PENDING for row in rows)
    bundle.content_hash, bundle.planned_at = content_of(change_set), sql.now()
    bundle.state = RateBundle.State.PLANNED
    bundle.save()


def _otherwise(change_set: ChangeSet) -> Iterator[Otherwise]:
    """The booked entries that say something else than they would with the change, by today's facts and the real rules."""
    lines = changes.frozen_lines(change_set)
    is_applied = change_set.applied_at is not None
    with measuring.rolled_back():
        cards, since = cards_of(change_set), date.min
        if not is_applied:
            written = write(lines, reason="planned", actor=None, starts_on=change_set.effective_on)
            since = measuring.first_day(lines, written) or date.min
            cards = sorted(written.concerns.get("rate_card", set()) | set(cards))
        for entry_ids in candidates(cards, since, BATCH):
            yield from booked_at_other_rates(entry_ids)


def candidates(cards: Collection[int], since: date, size: int) -> Iterator[list[int]]:
    """Booked entries that the cards may have priced, some at a time."""
    after = 0
    while entry_ids := rates_sql.booked_under(cards, since, after, size):
        yield entry_ids
        after = entry_ids[-1]


def _billed(entry_ids: Sequence[int]) -> dict[int, list[_Billed]]:
    found: dict[int, list[_Billed]] = defaultdict(list)
    for entry_id, *billed in rates_sql.billed(entry_ids) if entry_ids else ():
        found[entry_id].append(_Billed(*billed))
    return found


def _rows(bundle: RateBundle, one: Otherwise, billed: Sequence[_Billed], left: str) -> Iterator[BundleRow]:
    """One row for an entry; one for each bill that it stands on."""
    entry, figures = one.entry, one.figures
    common: dict[str, Any] = {
        "bundle": bundle, "entry_id": entry.id, "document_id": entry.document_id, "entity_id": entry.entity_id,
        "state": entry.state, "rate_before": entry.rate, "rate_after": figures.rate,
    }  # fmt: skip
    whole = {
        "hours": entry.hours, "currency": entry.currency, "amount_before": entry.amount, "amount_after": figures.amount,
    }  # fmt: skip
    if left:
        yield BundleRow(way=Way.LEFT, result=Result.SKIPPED, detail=left, finished_at=sql.now(), **common, **whole)
        return
    for bill in billed:
        yield BundleRow(
            way=Way.BILL, invoice_id=bill.invoice_id, hours=bill.quantity, currency=bill.currency,
            amount_before=bill.amount, amount_after=_would_be_billed(one, bill), **common,
        )  # fmt: skip
    if not billed:
        yield BundleRow(way=Way.REBOOK, **common, **whole)


def _left(one: Otherwise, reach: set[int] | None) -> str:
    """Why an entry stays as it is for now, in words; empty where it does not."""
    entry, figures = one.entry, one.figures
    if reach is not None and entry.entity_id not in reach:
        return "It is booked by an entity that this change set does not touch; somebody there decides."
    if one.is_earlier:
        return one.stopped_by
    if entry.state not in BOOKED:
        return f"It is {entry.state.replace('_', ' ')}; plan again once its outcome is known."
    if one.is_being_reversed:
        return "It is being taken back already."
    if figures.amount is None:
        return "No rate holds for it any more; agree one first."
    if figures.currency != entry.currency:
        return f"It would be in {figures.currency} instead of {entry.currency}; correct it by hand."
    return f"It would not be booked anew: {one.stopped_by}" if one.stopped_by else ""


def _torn(one: Otherwise, on_bills: set[int], *, is_billed: bool) -> str:
    """A document is booked anew as a whole, so none of its parts is while another stands on a bill."""
    if is_billed or one.entry.document_id not in on_bills:
        return ""
    return "Another part of the same hours stands on a bill; credit it, or correct this part by hand."


def _unequalled(one: Otherwise, billed: Sequence[_Billed]) -> str:
    """Why nobody can say what a bill in another currency would say: it bills hours that were worth nothing, or none."""
    for bill in billed:
        if bill.currency != one.entry.currency and not (one.entry.amount and bill.first_quantity):
            return f"It is billed in {bill.currency}, and nothing tells at which rate; correct it by hand."
    return ""


def _would_be_billed(one: Otherwise, bill: _Billed) -> Decimal | None:
    """What the billed part of the hours is worth by the new rate, in the bill's currency.

    A bill in another currency keeps the rate of exchange that it was made at: its own price of an hour changes as the hour does.
    """
    entry, figures = one.entry, one.figures
    if bill.currency == entry.currency or not entry.amount or figures.amount is None:
        return _part(figures.amount, entry.hours, bill.quantity, figures.currency)
    price = bill.first_amount / bill.first_quantity
    return round_money(price * bill.quantity * figures.amount / entry.amount, bill.currency)


def _part(amount: Decimal | None, hours: Decimal | None, quantity: Decimal, currency: str) -> Decimal | None:
    """What the billed part of the hours is worth at the new rate; all of them exactly what the entry is worth."""
    if amount is None or not hours or quantity == hours:
        return amount
    share = amount * quantity / hours
    return round_money(share, currency) if is_currency(currency) else share


def _bills(bundle: RateBundle, rows: Sequence[BundleRow]) -> list[BillDifference]:
    """One difference for each bill and currency."""
    found: dict[tuple[int, str], BillDifference] = {}
    for row in rows:
        if row.way != Way.BILL or row.invoice_id is None:
            continue
        bill = found.setdefault(
            (row.invoice_id, row.currency),
            BillDifference(
                bundle=bundle, invoice_id=row.invoice_id, entity_id=row.entity_id, currency=row.currency, entries=0,
                billed=Decimal(0), would_be=Decimal(0),
            ),
        )  # fmt: skip
        bill.entries += 1
        bill.billed += row.amount_before or Decimal(0)
        bill.would_be += row.amount_after or Decimal(0)
    return list(found.values())
