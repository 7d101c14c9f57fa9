"""What a person decides about a bill that its system changed or deleted: adopt, restore or correct.

The rule here: one decision a version, by somebody who may fix in its entity, with a reason, in the audit trail; what is gone is
made anew only when a second person agrees, and never by itself.
"""

from __future__ import annotations

from django.db import transaction

from portal import access, audit, billing_intake
from portal.models import Invoice, User
from portal.sql import now
from reconciliation.billing.following import follow
from reconciliation.models import BillingDecision
from reconciliation.sql import billing as sql

Choice = BillingDecision.Choice


class NotDecidable(Exception):
    """A bill about which there is nothing to decide, or not by this person; the message says why."""


def choices(bill: Invoice) -> list[Choice]:
    """What can be decided about a bill now; nothing while it is as it was agreed or decided already."""
    if bill.agreed_id == bill.current_id or BillingDecision.objects.filter(version=bill.current_id).exists():
        return []
    if bill.current.status == "voided":
        return []
    return (
        [Choice.ADOPT, Choice.RESTORE, Choice.CORRECT]
        if bill.current.status != "deleted"
        else [Choice.ADOPT, Choice.RESTORE]
    )


def adopt(bill: Invoice, *, by: User, reason: str) -> BillingDecision:
    """Go by what the system says now: its lines are what is billed, and what is no longer on it is open again."""
    with transaction.atomic():
        decision = _decide(bill, Choice.ADOPT, by, reason)
        _adopted(bill, by)
    return decision


def restore(bill: Invoice, *, by: User, reason: str) -> BillingDecision:
    """Ask for the old figures back in the system that keeps the bill; of a deleted one, for a new bill.

    A new bill needs a second person. Nothing moves until the system shows the bill as it was agreed; its hours stay billed.
    """
    with transaction.atomic():
        decision = _decide(bill, Choice.RESTORE, by, reason)
        follow([bill.pk], actor=by.get_username())
    return decision


def correct(bill: Invoice, *, by: User, reason: str) -> BillingDecision:
    """Leave what was agreed as it is until a credit note has come; its hours stay billed until then."""
    with transaction.atomic():
        decision = _decide(bill, Choice.CORRECT, by, reason)
        follow([bill.pk], actor=by.get_username())
    return decision


def approve(decision: BillingDecision, *, by: User) -> None:
    """Agree that a deleted bill is made anew: its hours are open to be billed again, on a new bill. Not by who asked for it."""
    with transaction.atomic():
        held = BillingDecision.objects.select_for_update().select_related("bill").get(pk=decision.pk)
        _may(held.bill, by)
        if not held.needs_approval or held.approved_at is not None:
            raise NotDecidable("There is nothing to agree to.")
        if held.by_id == by.pk:
            raise NotDecidable("Somebody else has to agree: you asked for it.")
        held.approved_by, held.approved_at = by, now()
        held.save(update_fields=["approved_by", "approved_at"])
        audit.record(by, "bill-recreation.approved", held.bill, entity=held.bill.entity_id, reason=held.reason)
        _adopted(held.bill, by)


def _adopted(bill: Invoice, by: User) -> None:
    billing_intake.agree([bill.pk])
    follow([bill.pk], actor=by.get_username())


def _decide(bill: Invoice, choice: Choice, by: User, reason: str) -> BillingDecision:
    _may(bill, by)
    if not reason.strip():
        raise NotDecidable("A decision about a bill needs a reason.")
    held = Invoice.objects.select_for_update(of=("self",)).select_related("current").get(pk=bill.pk)
    if choice not in choices(held):
        raise NotDecidable("There is nothing of this kind to decide about the bill any more; look at it again.")
    decision = BillingDecision.objects.create(
        bill=held, version=held.current, choice=choice, reason=reason.strip(), by=by, at=now(),
        needs_approval=choice == Choice.RESTORE and held.current.status == "deleted",
    )  # fmt: skip
    [row] = sql.bills([held.pk])
    audit.record(
        by, f"bill.{choice}", held, entity=held.entity_id, reason=reason,
        before={"version": row.agreed_version, "total": str(row.agreed_total), "number": row.agreed_number},
        after={"version": row.version, "total": str(row.total), "number": row.number, "status": row.status},
    )  # fmt: skip
    return decision


def _may(bill: Invoice, by: User) -> None:
    if not access.may(by, access.FIXERS, bill.entity_id):
        raise NotDecidable("Only finance of this entity decides about its bills.")
