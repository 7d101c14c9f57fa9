"""What a person decides about a bill that its system changed or deleted: adopt, restore, make anew or correct.

The rule here: one standing decision a version, of the version that was looked at, by somebody who may fix in its entity, with a
reason, in the audit trail; one that was refused or withdrawn makes room for another. What opens hours that stand billed (a
deleted bill, whichever way was chosen; an edit that bills less, or gives back more) holds only when a second person agrees, an
approver; nothing is made anew by itself.
"""

from __future__ import annotations

from portal import access, audit, billing_intake, figures
from portal.models import Invoice, User
from portal.sql import now
from reconciliation.billing import as_approved, telling
from reconciliation.billing.comparing import compared, effects_of
from reconciliation.billing.following import follow
from reconciliation.billing.refusals import in_words
from reconciliation.models import BillingDecision
from reconciliation.sql import billing as sql

Choice = BillingDecision.Choice
EVERY_LINE = 100_000  # more than any bill has
_MOVED = "Its system has stated another version since you looked; look at it again."


class NotDecidable(Exception):
    """A bill about which there is nothing to decide, or not by this person; the message says why."""


class Decided(NotDecidable):
    """It was decided just so already, by whomever: nothing more is to be done, and nothing went wrong."""


def choices(bill: Invoice) -> list[Choice]:
    """What can be decided about a bill now; nothing while it is as it was approved and agreed, or decided already."""
    if standing(bill) is not None:
        return []
    if bill.agreed_id == bill.current_id:
        return [Choice.ADOPT, Choice.RESTORE] if as_approved.strayed(bill).words else []
    if bill.current.status == "voided":
        return []
    return (
        [Choice.ADOPT, Choice.RESTORE, Choice.CORRECT]
        if bill.current.status != "deleted"
        else [Choice.ADOPT, Choice.RECREATE]
    )


def standing(bill: Invoice) -> BillingDecision | None:
    """What is decided about the bill as it is now, neither refused nor withdrawn."""
    found = BillingDecision.objects.filter(version=bill.current_id, outcome="")
    return found.select_related("by", "approved_by").first()


def adopt(bill: Invoice, *, by: User, reason: str) -> BillingDecision:
    """Go by what the system says now: its lines are what is billed, and what is no longer on it is open again.

    Where hours are open to be billed again by it, a second person agrees first. As in all decisions, `bill` is as it was seen:
    where its system has stated another version since, nothing is decided.
    """
    with in_words(NotDecidable, bill):
        decision = _decide(bill, Choice.ADOPT, by, reason)
        if decision.needs_approval:
            follow([bill.pk], actor=by.get_username())
        else:
            _adopted(bill, by)
    return decision


def restore(bill: Invoice, *, by: User, reason: str) -> BillingDecision:
    """Ask for the old figures back in the system that keeps the bill.

    Nothing moves until the system shows the bill as it was agreed; its hours stay billed. Who does it there is told elsewhere.
    """
    with in_words(NotDecidable, bill):
        decision = _decide(bill, Choice.RESTORE, by, reason)
        follow([bill.pk], actor=by.get_username())
    return decision


def recreate(bill: Invoice, *, by: User, reason: str) -> BillingDecision:
    """Ask for a new bill in the place of a deleted one. Its hours are open to be billed again once a second person agrees."""
    with in_words(NotDecidable, bill):
        decision = _decide(bill, Choice.RECREATE, by, reason)
        follow([bill.pk], actor=by.get_username())
    return decision


def correct(bill: Invoice, *, by: User, reason: str) -> BillingDecision:
    """Leave what was agreed as it is until a credit note has come; its hours stay billed until then."""
    with in_words(NotDecidable, bill):
        decision = _decide(bill, Choice.CORRECT, by, reason)
        follow([bill.pk], actor=by.get_username())
    return decision


def approve(decision: BillingDecision, *, by: User) -> None:
    """Agree that hours of a bill are open to be billed again; a controller does, not who asked."""
    with in_words(NotDecidable, Invoice(pk=decision.bill_id)):
        bill, held = _locked(decision)
        if not access.may(by, access.APPROVERS, bill.entity_id):
            raise NotDecidable("Only a controller of this entity agrees to it.")
        if held.approved_at is not None:
            raise Decided(state_of(held))
        if held.version_id != bill.current_id:
            raise NotDecidable(_MOVED)
        if not held.needs_approval or held.outcome:
            raise NotDecidable(state_of(held))
        if held.by_id == by.pk:
            raise NotDecidable("Somebody else has to agree: you asked for it.")
        held.approved_by, held.approved_at = by, now()
        held.save(update_fields=["approved_by", "approved_at"])
        what = "bill-recreation" if bill.current.status == "deleted" else "bill-adoption"
        audit.record(by, f"{what}.approved", bill, entity=bill.entity_id, reason=held.reason)
        effects = effects_of(bill, compared(bill, EVERY_LINE), as_approved.strayed(bill))
        _adopted(bill, by)
        telling.agreed(held, by, effects[Choice.RECREATE if bill.current.status == "deleted" else Choice.ADOPT])


def refuse(decision: BillingDecision, *, by: User, reason: str) -> None:
    """Do not agree that hours of a bill are open again, and say why; another choice may be made then."""
    with in_words(NotDecidable, Invoice(pk=decision.bill_id)):
        bill, held = _locked(decision)
        if not access.may(by, access.APPROVERS, bill.entity_id):
            raise NotDecidable("Only a controller of this entity refuses it.")
        if held.by_id == by.pk:
            raise NotDecidable("You asked for it: withdraw it instead.")
        if held.outcome == BillingDecision.Outcome.REFUSED:
            raise Decided(state_of(held))
        if not held.needs_approval or held.approved_at is not None or held.outcome:
            raise NotDecidable(state_of(held))
        _end(bill, held, BillingDecision.Outcome.REFUSED, by, reason)


def state_of(decision: BillingDecision) -> str:
    """Why a decision does not wait for a second person any more, with who ended that and when."""
    if decision.approved_by is not None and decision.approved_at is not None:
        return f"Already agreed to by {decision.approved_by}, {figures.written(decision.approved_at)}."
    if decision.ended_by is not None and decision.ended_at is not None:
        outcome = decision.get_outcome_display().lower()
        return f"Already {outcome} by {decision.ended_by}, {figures.written(decision.ended_at)}."
    return _MOVED if decision.needs_approval else "It needs nobody else."


def withdraw(decision: BillingDecision, *, by: User, reason: str) -> None:
    """Take a decision back that has had no effect yet: who made it does, or a controller; another choice may be made then."""
    with in_words(NotDecidable, Invoice(pk=decision.bill_id)):
        bill, held = _locked(decision)
        if held.by_id != by.pk and not access.may(by, access.APPROVERS, bill.entity_id):
            raise NotDecidable("Whoever decided it withdraws it, or a controller of this entity.")
        _may(bill, by)
        if not may_be_withdrawn(bill, held):
            raise NotDecidable("It holds by now, or was ended already; look at it again.")
        _end(bill, held, BillingDecision.Outcome.WITHDRAWN, by, reason)


def may_be_withdrawn(bill: Invoice, decision: BillingDecision) -> bool:
    """Whether a decision has had no effect yet: its bill is still another than was agreed or approved, by no second person."""
    if decision.outcome or decision.approved_at is not None or decision.version_id != bill.current_id:
        return False
    return bill.agreed_id != bill.current_id or bool(as_approved.strayed(bill).words)


def _locked(decision: BillingDecision) -> tuple[Invoice, BillingDecision]:
    bill = Invoice.objects.select_for_update(of=("self",)).select_related("current").get(pk=decision.bill_id)
    held = BillingDecision.objects.select_for_update(of=("self",)).select_related("by", "approved_by", "ended_by")
    return bill, held.get(pk=decision.pk)


def _end(bill: Invoice, decision: BillingDecision, outcome: str, by: User, reason: str) -> None:
    if not reason.strip():
        raise NotDecidable("Say why: whoever reads it later needs the reason.")
    decision.outcome, decision.ended_by, decision.ended_at = outcome, by, now()
    decision.ended_because = reason.strip()
    decision.save(update_fields=["outcome", "ended_by", "ended_at", "ended_because"])
    audit.record(
        by, f"bill-decision.{outcome}", bill, entity=bill.entity_id, reason=reason,
        before={"choice": decision.choice, "by": decision.by.get_username(), "reason": decision.reason},
    )  # fmt: skip
    follow([bill.pk], actor=by.get_username())
    telling.ended(decision, by)


def _adopted(bill: Invoice, by: User) -> None:
    billing_intake.agree([bill.pk])
    follow([bill.pk], actor=by.get_username())


def _decide(bill: Invoice, choice: Choice, by: User, reason: str) -> BillingDecision:
    _may(bill, by)
    if not reason.strip():
        raise NotDecidable("A decision about a bill needs a reason.")
    held = Invoice.objects.select_for_update(of=("self",)).select_related("current").get(pk=bill.pk)
    if held.current_id != bill.current_id:
        raise NotDecidable(_MOVED)
    if choice not in choices(held):
        raise NotDecidable("There is nothing of this kind to decide about the bill any more; look at it again.")
    decision = BillingDecision.objects.create(
        bill=held, version=held.current, choice=choice, reason=reason.strip(), by=by, at=now(),
        needs_approval=opens_hours(held, choice),
    )  # fmt: skip
    if decision.needs_approval:
        telling.waits(decision, by)
    [row] = sql.bills([held.pk])
    audit.record(
        by, f"bill.{choice}", held, entity=held.entity_id, reason=reason,
        before={"version": row.agreed_version, "total": str(row.agreed_total), "number": row.agreed_number},
        after={"version": row.version, "total": str(row.total), "number": row.number, "status": row.status},
    )  # fmt: skip
    return decision


def opens_hours(bill: Invoice, choice: Choice) -> bool:
    """Whether a choice opens hours that stand billed, or goes by what nobody approved, so that a second person has to agree."""
    if bill.agreed_id == bill.current_id:
        return choice == Choice.ADOPT
    if choice == Choice.CORRECT or bill.current.status == "deleted":
        return choice != Choice.CORRECT
    if choice != Choice.ADOPT:
        return False
    before, after = (
        {line.key: line for line in found} for found in sql.lines([bill.agreed_id or 0, bill.current_id]).values()
    )
    less, more = (after, before) if bill.kind == "credit_note" else (before, after)
    return any(
        (line := more.get(key)) is None
        or (was.posting_key, was.posting_number, was.milestone_key)
        != (line.posting_key, line.posting_number, line.milestone_key)
        or (was.quantity or 0) > (line.quantity or 0)
        or was.net > line.net
        for key, was in less.items()
    )


def _may(bill: Invoice, by: User) -> None:
    if not access.may(by, access.FIXERS, bill.entity_id):
        raise NotDecidable("Only finance of this entity decides about its bills.")
