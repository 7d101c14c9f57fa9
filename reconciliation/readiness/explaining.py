"""“Why is this not billed?”: where one entry stands on its way to the invoice."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

from django.db.models import QuerySet
from django.urls import reverse
from django.utils import timezone

from portal import figures
from portal.models import InvoiceSchedule, LedgerEntry, Project, ProposalPart, ProposalState, State
from reconciliation.models import Hold
from reconciliation.readiness.agreements import manager_of, retainer_words, terms_of, with_whom
from reconciliation.readiness.left_out import causes_of
from reconciliation.schedules import Terms
from reconciliation.sql import left_out as left_out_sql
from reconciliation.sql import readiness as sql
from reconciliation.sql import unbillable


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """Where one entry stands on its way to the invoice, in words: who has to act, since when, and where to go on."""

    words: str
    who: str = ""
    since: Any = None
    url: str = ""
    is_billed: bool = False


_UNDER_WAY = {
    State.READY: "It is on its way to {target}.",
    State.SENDING: "It is being sent to {target}.",
    State.ACCEPTED: "{target} took it; it counts once it was read back equal.",
    State.IN_DOUBT: "Nobody knows yet whether {target} booked it: it is looked up before anything is sent again.",
}


def why_not_billed(entry: LedgerEntry, today: date | None = None) -> Why:
    """What stands between one entry and the customer's invoice. Needs `state_row`, project, contract and customer."""
    state = entry.state_row
    if entry.reverses_id or state.state in (State.CANCELLED, State.REVERSED):
        return Why(words="It is taken back or left out, so nothing of it is billed.", since=state.moved_at)
    if state.state in (State.HELD, State.REJECTED):
        hold = (
            Hold.objects.filter(entry=entry, closed_at=None)
            .select_related("case__owner", "case__team")
            .order_by("pk")
            .first()
        )
        if hold is not None:
            return Why(
                words=hold.sentence,
                who=with_whom(hold.case),
                since=hold.opened_at,
                url=reverse("cause", args=[hold.case_id]),
            )
    if not entry.is_billable and (words := retainer_words(entry, entry.contract)):
        return Why(words=f"It is {words}: the hours are posted as cost.", since=state.moved_at)
    if not entry.is_billable:
        return Why(words="It is not billable: the hours are posted as cost.", since=state.moved_at)
    if entry.is_cost_only:
        return Why(words="Its contract is not billed by the hour: the hours are posted as cost.", since=state.moved_at)
    if state.state in _UNDER_WAY:
        words = _UNDER_WAY[State(state.state)].format(target=entry.target.name)
        return Why(words=words, who="Tieout", since=state.moved_at)
    return _posted(entry, state, today or timezone.localdate())


_PROPOSED = {
    ProposalState.OPEN: "It is on {proposal}, which its project manager has to release.",
    ProposalState.RELEASED: "It is on {proposal}, which was released and waits for finance to approve it.",
    ProposalState.APPROVED: "It is on {proposal}, which was approved and is not handed over yet.",
    ProposalState.HANDED_OVER: "It is on {proposal}, which was handed over as a draft; its invoice has not come back yet.",
    ProposalState.BILLED: "It was handed over on {proposal}, and its invoice came without it or bills it otherwise.",
    ProposalState.VOIDED: "It was handed over on {proposal}, and its invoice came without it and is void.",
    ProposalState.DELETED: "It was handed over on {proposal}, and its invoice came without it and is deleted.",
}
_BILL_CAME = (ProposalState.BILLED, ProposalState.VOIDED, ProposalState.DELETED)


def proposed_parts(**of: Any) -> QuerySet[ProposalPart]:
    """The parts of living proposals that take some work, the oldest first."""
    found = ProposalPart.objects.filter(released_at=None, line__proposal__state__in=_PROPOSED, **of)
    return found.select_related("line__proposal__project__manager", "line__held_by").order_by("pk")


def on_proposal(part: ProposalPart) -> Why:
    """The proposal that work sits in: held there, or on its way."""
    proposal, line = part.line.proposal, part.line
    url = reverse("invoice_proposal", args=[proposal.pk])
    if line.held_by is not None:
        who = line.held_by.get_full_name() or line.held_by.get_username()
        return Why(
            words=f"It is on hold on {proposal}: {line.hold_reason}", who=who, since=proposal.prepared_at, url=url
        )
    if proposal.state in _BILL_CAME and (why := _left_out(part)) is not None:
        return why
    who = manager_of(proposal.project) if proposal.state == ProposalState.OPEN else "finance"
    since = proposal.handed_over_at or proposal.approved_at or proposal.released_at or proposal.prepared_at
    if proposal.state == ProposalState.HANDED_OVER:
        who = "Tieout"
    return Why(words=_PROPOSED[ProposalState(proposal.state)].format(proposal=proposal), who=who, since=since, url=url)


def _left_out(part: ProposalPart) -> Why | None:
    """The cause of the invoice that bills work otherwise than it was handed over, or came without it; None where none is open."""
    bill_id = left_out_sql.bill_of(part.line_id)
    case = causes_of([bill_id]).get(bill_id) if bill_id is not None else None
    if case is None:
        return None
    words = f"{_PROPOSED[ProposalState(part.line.proposal.state)].format(proposal=part.line.proposal)} {case.sentence}"
    return Why(words=words, who=with_whom(case), since=case.opened_at, url=reverse("cause", args=[case.pk]))


def _posted(entry: LedgerEntry, state: Any, today: date) -> Why:
    if ((entry.hours if entry.kind == "time" else entry.amount) or 0) < 0:
        return Why(
            words="It takes off what was delivered before, and no line of an invoice bills less than nothing. No invoice of its "
            "project is released until the work itself is corrected in its source and this correction is reversed.",
            who="finance", since=state.moved_at,
        )  # fmt: skip
    balance = getattr(entry, "billing_balance", None)
    if balance is not None and balance.invoiced - balance.credited >= balance.delivered:
        numbers = sql.invoices_of("entry_id", [entry.pk]).get(entry.pk, [])
        return Why(words=f"It is on invoice {' and '.join(numbers)}.", since=state.moved_at, is_billed=True)
    if others := sql.billed_as_another(entry.pk):
        on = " and ".join(sorted({number for _, number in others}))
        return Why(
            words=f"It waits for a credit: entry {others[0][0]}, which it replaces, still stands on invoice {on}.",
            who="finance", since=state.moved_at,
        )  # fmt: skip
    if (stopped := unbillable.stopped(entry.pk)) is not None:
        return _stopped(*stopped, state)
    if (part := proposed_parts(entry=entry).first()) is not None:
        return on_proposal(part)
    is_back = balance is not None and balance.credited > 0
    back = sql.given_back("entry_id", [entry.pk]).get(entry.pk) if is_back else None
    return waits(entry.project, "It is posted", given_back(back), state.moved_at, today)


def _stopped(case_id: int | None, says: str, state: Any) -> Why:
    """Posted work that its source took back or changed since, or that a cause stops: it is not billed until that is over."""
    if case_id is None:
        says = says.replace("_", " ")
        words = f"It is posted, and its source says otherwise by now ({says}): it is not billed until that is booked."
        return Why(words=words, who="Tieout", since=state.moved_at)
    hold = (
        Hold.objects.filter(case_id=case_id, closed_at=None)
        .select_related("case__owner", "case__team")
        .order_by("pk")[0]
    )
    words = f"It is posted, and is not billed while this stands: {hold.sentence}"
    return Why(words=words, who=with_whom(hold.case), since=hold.opened_at, url=reverse("cause", args=[case_id]))


def given_back(by: tuple[str, str, str] | None) -> str:
    """How work that was billed before came to be open again, by the kind, status and number of its bill; in a sentence."""
    if by is None:
        return ""
    kind, status, number = by
    if kind == "credit_note":
        return " A credit note gave it back."
    became = {"voided": "was voided", "deleted": "was deleted"}.get(status, "was changed in its system")
    return f" Its invoice {number or 'without a number'} {became}, so it is to be billed again."


def waits(project: Project | None, stands: str, credited: str, since: Any, today: date) -> Why:
    """Why work that could be billed is on no proposal: its run is still to come, or nobody said when there is one.

    `credited` says how it came to be open again where it was billed before.
    """
    terms = terms_of(project) if project is not None else Terms()
    if project is not None and (runs := terms.runs(today)):
        words = f"{stands} and ready: the next invoice run of {project.customer.name} is {figures.day(runs[0])}."
        return Why(words=words + credited, who=manager_of(project), since=since)
    if terms.is_invoiced and not terms.is_known and terms.schedule != InvoiceSchedule.MILESTONE:
        return Why(
            words=f"{stands} and ready, and nobody said when the customer is invoiced.{credited}", who="finance", since=since
        )  # fmt: skip
    who = manager_of(project) if project else "finance"
    return Why(words=f"{stands} and waits for its invoice.{credited}", who=who, since=since)
