"""What the page of a changed or deleted bill says of each choice, and what a person does about it there."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import BadRequest
from django.db import transaction
from django.http import HttpRequest
from django.shortcuts import get_object_or_404

from portal import access
from portal.models import Invoice, User
from reconciliation import billing, triage
from reconciliation.models import BillingDecision, Team

STEPS = {
    "adopt": billing.adopt, "restore": billing.restore, "recreate": billing.recreate, "correct": billing.correct,
}  # fmt: skip
ENDS = {"approve": billing.approve, "refuse": billing.refuse, "withdraw-decision": billing.withdraw}
HELP = {
    "adopt": "Go by what the system says now.",
    "restore": "Whoever you name gets the task with both figures, is reminded after {remind} days, and the controllers hear of "
    "it after {escalate}. Nothing moves until the system shows the old figures.",
    "correct": "What was agreed stays as it is.",
    "recreate": "It was deleted wrongly: the customer is to get a new bill over the same.",
}
GONE = "It was deleted rightly: go by that."  # to adopt that a bill is gone
LABELS = {
    "adopt": "Adopt", "restore": "Restore", "recreate": "Make it anew", "correct": "Correct by a credit note",
}  # fmt: skip
SECOND = " A second person has to agree before its hours are open to be billed again."
UNAPPROVED = " A second person has to agree, because nobody approved it like that."
LESS = " A second person has to agree, because hours that stand billed are open again by it."


def offered(bill: Invoice, compared: list[billing.Compared]) -> list[tuple[str, str, str]]:
    """Each choice: its code, its name, and what it would do, in money as well."""
    effects, days = billing.effects_of(bill, compared, billing.strayed(bill)), days_of(bill)
    return [
        (str(c), LABELS[c], f"{_help(bill, c).format(**days)} {effects.get(c, '')}{_second(bill, c)}")
        for c in billing.choices(bill)
    ]


def _help(bill: Invoice, choice: str) -> str:
    return GONE if choice == "adopt" and bill.current.status == "deleted" else HELP[choice]


def days_of(bill: Invoice) -> dict[str, int]:
    """After how many days who restores a bill is reminded, and the controllers hear of it."""
    patience = triage.patience_of(bill.entity)
    return {"remind": patience.reminded.days, "escalate": patience.escalated.days}


def _second(bill: Invoice, choice: billing.Choice) -> str:
    if bill.current.status == "deleted":
        return SECOND
    if bill.agreed_id == bill.current_id:
        return UNAPPROVED if billing.opens_hours(bill, choice) else ""
    return LESS if billing.opens_hours(bill, choice) else ""


def decision_of(bill: Invoice, user: Any, held: frozenset[str]) -> dict[str, Any]:
    """What is decided about the bill as it is now, and what this person may do about that."""
    decision = billing.standing(bill)
    waits = decision is not None and decision.needs_approval and decision.approved_at is None
    mine = decision is not None and decision.by_id == user.pk
    open_ = decision is not None and billing.may_be_withdrawn(bill, decision)
    return {
        "decision": decision,
        "decided_words": said(decision) if decision is not None else "",
        "asked_of": _asked_of(decision) if decision is not None else "",
        "to_approve": waits,
        "may_approve": waits and not mine and bool(held & access.APPROVERS),
        "may_withdraw": open_
        and bool(held & access.FIXERS)
        and (mine or (not waits and bool(held & access.APPROVERS))),
        "stands_open": open_,
    }


def _asked_of(decision: BillingDecision) -> str:
    """Who is to restore a bill, by the name that people know."""
    name = decision.asked_of or decision.by.get_username()
    person = User.objects.filter(username=name).first()
    return person.get_full_name() or name if person is not None else name


def said(decision: BillingDecision) -> str:
    """A decision by the name under which it was offered; of a deleted bill, an earlier wish to restore meant a new one."""
    if decision.choice == BillingDecision.Choice.RESTORE and decision.version.status == "deleted":
        return BillingDecision.Choice.RECREATE.label
    return decision.get_choice_display()


def restorers(bill: Invoice) -> list[tuple[str, str]]:
    """The people and teams who may be asked to restore a bill in its system."""
    people = [
        (f"user:{one.pk}", one.get_full_name() or one.get_username()) for one in triage.assignable([bill.entity_id])
    ]
    return [*people, *((f"team:{one.pk}", f"Team {one.name}") for one in triage.teams_for([bill.entity_id]))]


def decide(request: HttpRequest, bill: Invoice, seen: int) -> None:
    """Do what the form says about the version that was on the page. Raises NotDecidable or NotPossible with the sentence."""
    action, reason, user = request.POST.get("action", ""), request.POST.get("reason", ""), request.user
    if action in ENDS:
        decision = get_object_or_404(_ending(bill, seen, action))
        more = {} if action == "approve" else {"reason": reason}
        ENDS[action](decision, by=user, **more)  # type: ignore[operator]
        return
    if action not in STEPS:
        raise BadRequest(f"There is no action “{action}” here.")
    looked_at = Invoice(pk=bill.pk, entity_id=bill.entity_id)
    looked_at.current = get_object_or_404(bill.versions.filter(version=seen))
    with transaction.atomic():
        made = STEPS[action](looked_at, by=user, reason=reason)  # type: ignore[arg-type]
        if action == "restore":
            triage.ask(made, _chosen(request, bill), by=user)  # type: ignore[arg-type]


def _ending(bill: Invoice, seen: int, action: str) -> Any:
    """The decision about a version that a second person ends; one that was refused already is found by who refuses it again."""
    found = bill.decisions.filter(version__version=seen)
    standing = found.filter(outcome="")
    return standing if action != "refuse" or standing.exists() else found.order_by("-pk")[:1]


def _chosen(request: HttpRequest, bill: Invoice) -> User | Team:
    """Whom the form names. Raises NotDecidable where it names nobody."""
    kind, _, number = request.POST.get("to", "").partition(":")
    if not number.isdecimal():
        raise billing.NotDecidable("Choose who restores it in its system.")
    found: Any = triage.assignable([bill.entity_id]) if kind == "user" else triage.teams_for([bill.entity_id])
    return get_object_or_404(found, pk=int(number))  # type: ignore[no-any-return]
