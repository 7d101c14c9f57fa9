"""Bills and payments followed to our hours: agreed, allocated, judged and told, a batch at a time.

The rule here: everything is decided under the locks of the bills and of the documents that they are about, in one transaction,
with a fixed number of statements, and can be done again at any time with the same outcome.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from django.db import DatabaseError, transaction

from portal import billing_intake
from portal.models import Customer, LegalEntity
from reconciliation import policies, taken_back
from reconciliation.billing import allocating, as_approved, findings, handed, standing, telling
from reconciliation.billing.planning import ZERO, Plan, Problem, started
from reconciliation.models import BillingDecision
from reconciliation.sql import billing as sql
from reconciliation.sql import taken_back as taken_back_sql

log = logging.getLogger(__name__)
DEAD = findings.DEAD
SHORT = frozenset({"short-within-tolerance", "held-back-is-due"})
AT_ONCE = 200  # bills that are followed again in one transaction
GRACE = 3600.0  # seconds that a payment may arrive later than the bill that it settles, or the other way round
LATELY = 6 * 3600.0  # seconds before the grace; what was missed for longer is found at night


@dataclass(slots=True)
class Followed:
    """What came of following some bills and payments."""

    bills: int = 0
    allocations: int = 0
    opened: int = 0
    closed: int = 0


def follow(bill_ids: Sequence[int], payment_ids: Sequence[int] = (), *, actor: str) -> Followed:
    """Bring allocations and cases in line with what bills and payments say now. Joins the caller's transaction."""
    if not bill_ids and not payment_ids:
        return Followed()
    with transaction.atomic():
        bills = sql.bills(sql.touched_by(bill_ids, payment_ids), lock=True)
        lines = sql.lines(sorted({v for bill in bills for v in (bill.agreed_id, bill.current_id)}))
        changed = {bill.id: findings.differences(bill, lines) for bill in bills}
        for bill_id in as_approved.put_right(bills, lines):
            changed[bill_id] = []
        bills = _agree(bills, changed)
        given = frozenset(bill_ids)
        plan, written, freed = _settle(bills, lines, given, actor)
        as_approved.give_back(bills, lines, {bill.id for bill in _let_go(bills)})
        opened, closed = _judge(bills, lines, changed, plan, payment_ids)
        telling.tell(bills, given, payment_ids, freed)
        telling.leave_word(bill_ids, payment_ids)
    return Followed(len(bills), written, opened, closed)


def booked_anew(entry_ids: Sequence[int]) -> None:
    """What stands on a bill was reversed and the same is booked anew and proved: from now on the bill's line bills that.

    In a transaction of its own, after the one that proved it: bills are locked before documents and states. The review of
    the night follows again what could not be written.
    """
    bill_ids = taken_back_sql.bills_booked_anew(entry_ids) if entry_ids else []
    if bill_ids:
        _follow_each(bill_ids, actor="proof")


def _follow_each(bill_ids: Sequence[int], *, actor: str) -> None:
    """Follow bills together, or one by one where the database refuses that; what it refuses of one is logged."""
    try:
        follow(bill_ids, actor=actor)
    except DatabaseError:
        log.exception("Bills %s could not be followed by %s.", bill_ids, actor)
        if len(bill_ids) > 1:
            for bill_id in bill_ids:
                _follow_each([bill_id], actor=actor)


def review_every(*, older_than_seconds: float = GRACE) -> None:
    """Compare the stated balances of every system that keeps bills, each in a transaction of its own.

    Bills of which something could not be taken are followed again: what they name may be proved, or open, by now.
    """
    for connection_id in sql.keepers():
        with transaction.atomic():
            review(connection_id, older_than_seconds=older_than_seconds)
        unsettled = taken_back_sql.not_taken_whole(connection_id)
        for start in range(0, len(unsettled), AT_ONCE):
            _follow_each(unsettled[start : start + AT_ONCE], actor="review")
    with transaction.atomic():
        review_short()


def review_short() -> tuple[int, int]:
    """Look again at bills that are paid in part: what was held back becomes due by its day. Cases opened and closed."""
    bills = sql.bills(sql.part_paid())
    codes = customers_of(bills)
    policy = _policies(bills)
    found = [
        finding
        for bill in bills
        for finding in findings.of_shortness(bill, policy[bill.entity_id], codes.get(bill.customer_id or 0, ""))
    ]
    return findings.keep(found, [("bill", str(bill.id)) for bill in bills], sorted(SHORT))


def customers_of(bills: Sequence[sql.Bill]) -> dict[int, str]:
    """Our codes of the customers of bills."""
    ids = {bill.customer_id for bill in bills if bill.customer_id is not None}
    return dict(Customer.objects.filter(pk__in=ids).values_list("pk", "code"))


def _policies(bills: Sequence[sql.Bill]) -> dict[int, policies.Policy]:
    entities = LegalEntity.objects.filter(pk__in={bill.entity_id for bill in bills})
    return {entity.pk: policies.merged(entity.policy) for entity in entities}


def review(connection_id: int, *, older_than_seconds: float) -> tuple[int, int]:
    """Compare stated balances with what settles them, of bills whose last word is old enough; cases opened and closed."""
    return _compare_balances(sql.to_review(connection_id, older_than_seconds))


def review_lately(*, older_than_seconds: float = GRACE) -> tuple[int, int]:
    """The same by day, of what moved lately in any system: nobody waits for the night to hear that money is gone."""
    with transaction.atomic():
        return _compare_balances(sql.to_review_lately(older_than_seconds, LATELY))


def _compare_balances(bill_ids: Sequence[int]) -> tuple[int, int]:
    bills = sql.bills(bill_ids)
    off, policy = sql.taken_off([bill.id for bill in bills]), _policies(bills)
    judged = [(bill, findings.of_balance(bill, policy[bill.entity_id], off.get(bill.id, ()))) for bill in bills]
    found = [(bill, finding) for bill, finding in judged if finding is not None]
    telling.off_balance([(bill, finding.sentence) for bill, finding in found])
    return findings.keep([one for _, one in found], [("bill", str(bill.id)) for bill in bills], ["balance-differs"])


def tell_of_rates(bill_ids: Sequence[int]) -> tuple[int, int]:
    """Open a case for each bill that is off since its rates changed in the past; cases opened and closed.

    Whatever is read of a bill afterwards closes its case, once a credit or another invoice made up for it.
    """
    bills, owed = sql.bills(bill_ids), sql.owed_by_rates(bill_ids)
    found = [one for bill in bills if bill.status not in DEAD for one in findings.of_rates(bill, owed.get(bill.id, ()))]
    return findings.keep(found, [("bill", str(bill.id)) for bill in bills], ["bill-off-by-rate"])


def _agree(bills: Sequence[sql.Bill], changed: Mapping[int, Sequence[str]]) -> list[sql.Bill]:
    """Go by the current version wherever it changes nothing that was billed; of a void bill the last one alive.

    A void bill that is deleted afterwards bills nothing any more, so there is nothing to decide about it.
    """
    same = [
        b.id
        for b in bills
        if b.agreed_id != b.current_id
        and not changed[b.id]
        and (b.status not in DEAD or (b.status == "deleted" and b.previous_status == "voided"))
    ]
    if same:
        billing_intake.agree(same)
    return [as_approved.as_stated(b) if b.id in same else b for b in bills]


def _settle(
    bills: Sequence[sql.Bill], lines: Mapping[int, Sequence[sql.Line]], given: frozenset[int], actor: str
) -> tuple[Plan, int, Mapping[int, Decimal]]:
    """Plan and write until nothing that a bill of the batch gives back is what another of its bills lacks.

    No single pass does for every batch: a credit is planned after its invoice, since it takes from what stands on it, and an
    invoice that bills what the credit gives back would have to be planned after the credit. Of two invoices of which each bills
    what the credit of the other gives back, neither order serves both. So a pass that gave something back while a line found
    too little open is followed by another. Most batches need one; each further pass bills a line that could not be billed, or is
    the last one, so there are at most as many as bills. The last plan, what was written in all, and the money that void bills
    opened.
    """
    plan = _allocate(bills, lines, given, actor)
    written, freed = len(plan.rows), plan.opened
    for _ in bills:
        if not plan.opens_hours or all(problem.rule != standing.TWICE for problem in plan.problems):
            break
        plan = _allocate(bills, lines, given, actor)
        written += len(plan.rows)
    return plan, written, freed


def _allocate(
    bills: Sequence[sql.Bill], lines: Mapping[int, Sequence[sql.Line]], given: frozenset[int], actor: str
) -> Plan:
    """What bills say now, brought in line; where hours do not do for all, those bills that were `given` come first.

    Where what was booked anew would be billed while a line keeps what it took the place of (nobody knows which hours that line
    bills, or its bill is not among these), the document stays where it is, and who names it otherwise is told.
    """
    staying: set[int] = set()
    while True:
        plan, over, known = _planned(bills, lines, given, actor, staying)
        behind = plan.left_behind(known)
        if behind <= staying:
            break
        staying |= behind
    plan.write()
    alive = [bill for bill in bills if bill.status not in DEAD and not bill.is_credit]
    handed.keep(over, plan, [*alive, *_let_go(bills)], lines, [bill.id for bill in bills if not bill.is_credit])
    return plan


def _let_go(bills: Sequence[sql.Bill]) -> list[sql.Bill]:
    """Invoices that no longer count and on which no money stands."""
    return [bill for bill in bills if is_dead(bill) and not bill.is_credit and bill.cash <= 0]


def _planned(
    bills: Sequence[sql.Bill],
    lines: Mapping[int, Sequence[sql.Line]],
    given: frozenset[int],
    actor: str,
    staying: Collection[int],
) -> tuple[Plan, handed.HandedOver, list[sql.Entry]]:
    """What is to be written, what lines stand for, and the entries that it is about.

    Of documents that are `staying`, what was booked anew bills nothing in the place of what it replaces.
    """
    alive = [bill for bill in bills if bill.status not in DEAD]
    dead = _let_go(bills)
    over = allocating.handed_over([*alive, *dead], lines, staying)
    entries = allocating.named(alive, lines, staying)
    credited: dict[int, list[sql.Standing]] = defaultdict(list)
    for row in sql.credited([bill.id for bill in bills if bill.is_credit]):
        credited[row.bill_id].append(row)
    edited = _edited([bill for bill in alive if bill.is_credit], lines, credited)
    void = [row for bill in bills if is_dead(bill) or bill.id in edited for row in credited[bill.id]]
    back = sql.entries_by_id({row.entry_id for row in void if row.entry_id is not None}, staying=staying)
    milestones = {
        **sql.milestones({row.milestone_id for row in void if row.milestone_id is not None}, ()),
        **over.milestones,
    }
    known = {entry.id: entry for entry in (*back.values(), *entries.values(), *over.entries.values())}
    plan = started(actor, [bill.id for bill in bills if not bill.is_credit], known.values(), milestones.values())
    plan.documents = sql.documents_of({held.entry_id for held in plan.held if held.entry_id is not None})
    plan.documents |= {entry.id: entry.document_id for entry in known.values()}
    plan.rewritten = edited
    plan.beside = _beside([bill for bill in alive if bill.is_credit], lines)
    for bill in alive:
        for row in credited.get(bill.id, ()):
            plan.credits.setdefault(row.takes_back_id or 0, []).append(row)
    _release(plan, dead)
    for bill in sorted((one for one in alive if not one.is_credit), key=lambda one: (one.id not in given, one.id)):
        allocating.invoice(plan, bill, lines.get(bill.agreed_id, ()), entries, over)
    _credit(plan, alive, lines, credited, entries, over, back)
    for bill in bills:
        if is_dead(bill) and bill.is_credit:
            undo_credit(plan, bill, credited[bill.id], back, f"was {bill.status}")
    return plan, over, list(known.values())


def _credit(  # noqa: PLR0917 -- what notes are judged by
    plan: Plan,
    alive: Sequence[sql.Bill],
    lines: Mapping[int, Sequence[sql.Line]],
    credited: Mapping[int, Sequence[sql.Standing]],
    entries: allocating.Entries,
    over: handed.HandedOver,
    back: Mapping[int, sql.Entry],
) -> None:
    """Take back what live credit notes give back; one that says something else now gives back anew."""
    invoices = {bill.id: bill for bill in alive if not bill.is_credit}
    notes = sql.notes_of(sorted(invoices)) if any(bill.is_credit for bill in alive) else {}
    for bill in alive:
        if not bill.is_credit or bill.status == "draft":
            continue
        stood = credited.get(bill.id, ())
        if bill.id in plan.rewritten and not undo_credit(plan, bill, stood, back, "was changed"):
            continue
        rows = [
            row
            for row in stood
            if row.id not in plan.undone and (bill.id not in plan.rewritten or plan.credited_from(row) is None)
        ]
        of = invoices.get(bill.credits_id or 0)
        is_whole = allocating.credits_whole(bill, of, lines, notes.get(bill.credits_id or 0, ()))
        allocating.credit(plan, bill, lines.get(bill.agreed_id, ()), entries, rows, over, is_whole=is_whole)
        if of is not None and bill.id in plan.beside and not rows:
            allocating.credits_beside(plan, bill, of, lines)


def _release(plan: Plan, dead: Sequence[sql.Bill]) -> None:
    """Open the hours of invoices that no longer count."""
    for bill in dead:
        for held in plan.of_bill(bill.id):
            if held.amount:
                plan.opened[bill.id] = plan.opened.get(bill.id, ZERO) + held.amount
            plan.release(bill, held, f"{bill.name} was {bill.status}")


def is_dead(bill: sql.Bill) -> bool:
    """Whether a bill no longer counts: void, or deleted and somebody decided that it stays so."""
    return bill.status == "voided" or (bill.status == "deleted" and bill.agreed_id == bill.current_id)


def _edited(
    notes: Sequence[sql.Bill],
    lines: Mapping[int, Sequence[sql.Line]],
    credited: Mapping[int, Sequence[sql.Standing]],
) -> set[int]:
    """Credit notes that gave something back by other lines than the ones we go by now: it is credited anew."""
    was = {bill.id: {row.version_id for row in credited.get(bill.id, ())} - {bill.agreed_id} for bill in notes}
    older = sql.lines(sorted({version_id for versions in was.values() for version_id in versions}))
    return {
        bill.id
        for bill in notes
        if any(_content(older[version_id]) != _content(lines[bill.agreed_id]) for version_id in was[bill.id])
    }


def _content(found: Sequence[sql.Line]) -> dict[str, object]:
    """What lines say, by line."""
    return {line.key: findings.content(line) for line in found}


def _beside(notes: Sequence[sql.Bill], lines: Mapping[int, Sequence[sql.Line]]) -> set[int]:
    """Credit notes of which somebody said that they give back none of our work, and that say the same as they did then."""
    found = BillingDecision.objects.filter(
        bill__in=[bill.id for bill in notes], choice=BillingDecision.Choice.BESIDE, outcome=""
    )
    said = dict(found.order_by("pk").values_list("bill_id", "version_id"))
    older = sql.lines(sorted(set(said.values())))
    return {
        bill.id for bill in notes
        if bill.id in said and _content(older[said[bill.id]]) == _content(lines[bill.agreed_id])
    }  # fmt: skip


def undo_credit(
    plan: Plan, bill: sql.Bill, credited: Sequence[sql.Standing], entries: Mapping[int, sql.Entry], because: str
) -> bool:
    """Bill again what a credit note gave back, unless it was billed elsewhere since then or its own bill is dead.

    False where something stays given back since it was billed elsewhere.
    """
    whole = True
    for row in credited:
        held = plan.credited_from(row)
        if held is None:
            continue
        entry = entries.get(row.entry_id or 0)
        what = f"entry {row.entry_id}" if entry is not None else f"milestone {row.milestone_id}"
        if row.quantity and (plan.room(row) < -row.quantity or (entry is not None and plan.stands_otherwise(entry))):
            said = f"The credit of {what} {because}, and what it gave back stands billed on another bill since then."
            plan.problems.append(Problem(bill.id, "void-credit-rebilled", said))
            whole = False
            continue
        plan.undo_credit(bill, row, held, f"{bill.name} {because}")
    return whole


def _judge(
    bills: Sequence[sql.Bill],
    lines: Mapping[int, Sequence[sql.Line]],
    changed: Mapping[int, Sequence[str]],
    plan: Plan,
    payment_ids: Sequence[int],
) -> tuple[int, int]:
    decisions = {
        decision.version_id: decision
        for decision in BillingDecision.objects.filter(
            version__in=[b.current_id for b in bills], outcome=""
        ).select_related("by")
    }
    others = sql.live_numbers([bill.id for bill in bills])
    owed = sql.owed_by_rates([bill.id for bill in bills])
    back = taken_back.owed([bill.id for bill in bills if not bill.is_credit])
    applied = sql.credits_from_elsewhere([bill.id for bill in bills if not bill.is_credit])
    problems: dict[int, list[Problem]] = defaultdict(list)
    for problem in plan.problems:
        problems[problem.bill_id].append(problem)
    policy = _policies(bills)
    codes = customers_of(bills)
    found = [
        finding
        for bill in bills
        for finding in findings.of_bill(
            bill,
            findings.About(
                lines=lines.get(bill.current_id, ()),
                problems=problems[bill.id],
                differences=changed[bill.id] if bill.agreed_id != bill.current_id else (),
                decision=decisions.get(bill.current_id),
                others=others.get(bill.id, ()),
                policy=policy[bill.entity_id],
                changed_by=findings.changed_by(bill, lines),
                owed=owed.get(bill.id, ()),
                back=back.get(bill.id, ()),
                credits=applied.get(bill.id, ()),
                customer=codes.get(bill.customer_id or 0, ""),
            ),
        )
    ]
    strayed = as_approved.compare(bills, lines)
    found += [
        as_approved.found(bill, strayed[bill.id], decisions.get(bill.current_id))
        for bill in bills
        if bill.id in strayed
    ]
    paid = sql.payments(sorted({*payment_ids, *sql.payments_of([bill.id for bill in bills])}))
    found += [finding for payment in paid for finding in findings.of_payment(payment)]
    subjects = [("bill", str(bill.id)) for bill in bills] + [("payment", str(payment.id)) for payment in paid]
    return findings.keep(found, subjects)
