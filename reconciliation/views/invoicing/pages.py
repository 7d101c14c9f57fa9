"""The page of a proposal as the customer reads it, and of one of its lines, explained to the cent."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal
from http import HTTPStatus
from typing import Any

from django import forms
from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.functional import cached_property

from portal import figures
from portal.models import BillingModel, Invoice, InvoiceDraft, InvoiceProposal, ProposalLine, ProposalState
from portal.records import BillStatus
from portal.screens import Action, DetailScreen, Screen
from portal.tables import STATE_TONES, name_of
from reconciliation import amounts, invoicing, placing, readiness
from reconciliation.models import ExceptionCase
from reconciliation.sql import billing as billing_sql
from reconciliation.sql import invoicing as sql
from reconciliation.sql import master_data
from reconciliation.tables import title_of
from reconciliation.views.invoicing.actions import EVERY, OFFERED
from reconciliation.views.invoicing.lists import GONE, TONES, WAITS

ZERO = Decimal(0)
DEAD = (BillStatus.VOIDED, BillStatus.DELETED)
SEEN = InvoiceProposal.objects.select_related(
    "entity", "project__manager", "project__customer", "project__contract", "customer", "contract__customer",
    "purchase_order", "prepared_by", "released_by", "approved_by",
)  # fmt: skip


class ProposalPage(DetailScreen):
    """One proposal: what the customer would read, what stops it, whose turn it is, and what became of its drafts."""

    queryset = SEEN
    template_name = "invoicing/proposal.html"
    actions = EVERY
    object: InvoiceProposal

    def heading(self) -> str:
        """Its project and customer."""
        return f"Invoice of {self.object.project.name}"

    def permitted(self, roles: frozenset[str]) -> list[type[Action]]:
        """What the person may do with it now."""
        proposal, user = self.object, self.request.user
        may = [action for action in OFFERED.get(proposal.state, ()) if action.roles & roles]
        went = any(draft.state not in ("held", "ready", "rejected", "cancelled") for draft in self.drafts)
        own = proposal.released_by_id == user.pk or proposal.editors.filter(user=user.pk).exists()
        refused = any(draft.state == "rejected" for draft in self.drafts)
        return [
            action
            for action in may
            if not (action.name == "approve" and own)
            and not (action.name == "send-again" and not refused)
            and not (action.name == "withdraw" and went)
        ]

    @cached_property
    def drafts(self) -> list[Any]:
        """Its drafts, each with where it stands."""
        found: list[Any] = list(
            InvoiceDraft.objects.of(self.object).select_related("connection", "invoice__current", "document", "proposal")
            .prefetch_related("document__entries__state_row")
        )  # fmt: skip
        for draft in found:
            entry = max(draft.document.entries.all(), key=lambda one: one.pk, default=None)
            draft.state = entry.state_row.state if entry else ""
            draft.state_words = entry.state_row.get_state_display() if entry else ""
            draft.tone = STATE_TONES.get(draft.state, "")
            draft.odd_tax = invoicing.tax_variance(self.object, draft.tax)
        return found

    def context(self, **more: Any) -> dict[str, Any]:
        """Everything that is known of the proposal; a fixed number of queries."""
        if "object" not in more:
            return super().context(**more)
        proposal, user = self.object, self.request.user
        lines = list(proposal.lines.select_related("held_by").order_by("position"))
        going = [line for line in lines if line.held_by_id is None]
        held = [line for line in lines if line.held_by_id is not None]
        is_open = proposal.state == ProposalState.OPEN
        stops = invoicing.blockers(proposal) if proposal.state in (ProposalState.OPEN, ProposalState.RELEASED) else []
        biller = invoicing.biller_of(proposal) if not self.drafts else None
        return super().context(
            **more,
            proposal=proposal,
            tone=TONES[proposal.state],
            waits=WAITS.get(proposal.state, ""),
            going=going,
            held=held,
            held_net=sum((line.net for line in held), ZERO),
            hours=sum((line.quantity or ZERO for line in going if line.quantity is not None), ZERO),
            stops=stops,
            risks=invoicing.risks_of(proposal)
            if proposal.state in (ProposalState.OPEN, ProposalState.RELEASED)
            else [],
            biller=biller,
            waited_for=invoicing.waited_for(proposal) if proposal.state == ProposalState.APPROVED else "",
            beside=_beside(proposal, user),
            drafts=self.drafts,
            became=_became(proposal, self.drafts),
            open_cases=_cases(proposal, user),
            may_edit=is_open and invoicing.may(user, invoicing.PREPARERS, proposal.project),
            limits=invoicing.limits_of(proposal),
            drawn=_drawn(proposal),
            model=dict(BillingModel.choices).get(readiness.billing_model_of(proposal.project), ""),
            needs_other=proposal.state == ProposalState.RELEASED and proposal.released_by_id == user.pk,
        )


def _became(proposal: InvoiceProposal, drafts: Sequence[InvoiceDraft]) -> list[str]:
    """What became of its bills that do not count any more, and whether their work is open again; one statement."""
    dead = {draft.invoice for draft in drafts if draft.invoice is not None and draft.invoice.current.status in DEAD}
    stands: dict[int, Decimal] = defaultdict(Decimal)
    for row in billing_sql.billed([one.pk for one in dead]):
        stands[row.bill_id] += row.amount
    return [_gone(one, stands[one.pk], proposal.currency) for one in sorted(dead, key=lambda one: one.pk)]


def _gone(bill: Invoice, stands: Decimal, currency: str) -> str:
    if not stands:
        opened = "Its work is open to be proposed again, as far as it stood on it."
        return f"{bill} {'was voided' if bill.current.status == 'voided' else 'is deleted'}. {opened}"
    kept = f"{figures.amount(stands, currency)} {currency} stay billed on it"
    if bill.current.status == "voided":
        return f"{bill} was voided while a payment stands on it: {kept} until that is taken off, or it is credited."
    return f"{bill} is gone from its system: {kept} until somebody decides about it."


def _beside(proposal: InvoiceProposal, user: Any) -> list[tuple[InvoiceProposal, str]]:
    """The proposals of other projects that stand, or will stand, on one invoice with it, and how far they are."""
    if proposal.state in (ProposalState.HANDED_OVER, ProposalState.BILLED, *GONE):
        on_drafts = ProposalLine.objects.filter(draft__lines__proposal=proposal).values("proposal")
        found = InvoiceProposal.objects.filter(pk__in=on_drafts)
    elif proposal.state != ProposalState.WITHDRAWN and proposal.contract is not None and proposal.contract.one_invoice:
        found = InvoiceProposal.objects.filter(
            contract=proposal.contract, entity=proposal.entity, customer=proposal.customer, currency=proposal.currency,
            purchase_order=proposal.purchase_order, through__lte=proposal.through,
            state__in=[ProposalState.OPEN, ProposalState.RELEASED, ProposalState.APPROVED],
        )  # fmt: skip
    else:
        return []
    rows = found.exclude(pk=proposal.pk).visible_to(user).select_related("project").order_by("project__code", "pk")
    return [
        (one, f"waits for {WAITS[one.state]}" if one.state in WAITS else one.get_state_display().lower())
        for one in rows
    ]


def _drawn(proposal: InvoiceProposal) -> dict[str, Any] | None:
    """Of a retainer: what of its instalments is due and billed, the hours worked against it, and what they pay for."""
    if readiness.billing_model_of(proposal.project) != BillingModel.RETAINER:
        return None
    due, billed, hours = sql.drawn(proposal.project_id, proposal.currency, proposal.through)
    contract = proposal.contract
    agreed = contract.retainer_hours if contract is not None else None
    month = proposal.through.replace(day=1)
    paid_for = master_data.drawn_from_retainers([(contract.pk, month)]) if contract is not None and agreed else {}
    return {
        "due": due, "billed": billed, "hours": hours, "agreed": agreed, "month": month,
        "drawn": sum(paid_for.values(), Decimal(0)), "overage": contract.get_overage_display().lower() if contract else "",
    }  # fmt: skip


def _cases(proposal: InvoiceProposal, user: Any) -> list[tuple[ExceptionCase, str]]:
    found = ExceptionCase.objects.visible_to(user).filter(
        state="open", subject_type="proposal", subject_key=str(proposal.pk)
    )
    return [(case, title_of(case.rule)) for case in found.order_by("pk")]


class HoldForm(forms.Form):
    """Why a line stays off the invoice, and until when."""

    reason = forms.CharField(max_length=500, widget=forms.Textarea(attrs={"rows": 2}), label="Reason")
    until = forms.DateField(
        required=False, widget=forms.DateInput(attrs={"type": "date"}), label="Until",
        help_text="From that day on it is proposed again; without one it stays on hold until somebody puts it back.",
    )  # fmt: skip


class LinePage(Screen):
    """One line of a proposal: each hour on it explained to the cent, and a way to hold it or put it back."""

    template_name = "invoicing/line.html"

    def line(self) -> ProposalLine:
        """The line of this address, as far as the person may see its entity."""
        seen: QuerySet[InvoiceProposal] = InvoiceProposal.objects.visible_to(self.request.user)
        return get_object_or_404(
            ProposalLine.objects.select_related("proposal__project", "proposal__contract", "held_by"),
            pk=self.kwargs["line"], proposal__in=seen, proposal=self.kwargs["pk"],
        )  # fmt: skip

    def get(self, request: HttpRequest, pk: int, line: int) -> HttpResponse:
        """The line."""
        return self.show(self.line(), HoldForm())

    def post(self, request: HttpRequest, pk: int, line: int) -> HttpResponse:
        """Hold it, or put it back."""
        found = self.line()
        form = HoldForm(request.POST)
        user: Any = request.user
        try:
            if request.POST.get("action") == "put-back":
                invoicing.unhold(found, by=user)
                said = "The line is on the invoice again."
            elif form.is_valid():
                invoicing.hold(found, by=user, reason=form.cleaned_data["reason"], until=form.cleaned_data["until"])
                said = "The line is on hold and stays off the invoice."
            else:
                return self.show(found, form, status=HTTPStatus.UNPROCESSABLE_ENTITY)
        except invoicing.NotProposable as refusal:
            form.is_valid()
            form.add_error(None, str(refusal))
            return self.show(found, form, status=HTTPStatus.UNPROCESSABLE_ENTITY)
        messages.success(request, said)
        return HttpResponseRedirect(reverse("invoice_proposal", args=[pk]), status=HTTPStatus.SEE_OTHER)

    def show(self, line: ProposalLine, form: forms.Form, *, status: int = HTTPStatus.OK) -> HttpResponse:
        """The line with everything on it."""
        proposal = line.proposal
        parts = line.parts.select_related(
            "entry__rate_used__card", "entry__contract", "entry__purchase_order", "entry__project", "entry__resource",
            "entry__document", "entry__source", "milestone", "line__proposal__customer", "line__proposal__contract",
        ).order_by("entry__work_date", "pk")  # fmt: skip
        told = [
            (part, name_of(part.entry) if part.entry else f"Milestone {part.milestone}", _steps(part, proposal))
            for part in parts
        ]
        may = proposal.state == ProposalState.OPEN and invoicing.may(
            self.request.user, invoicing.PREPARERS, proposal.project
        )
        return self.page(
            self.context(
                title=f"{proposal}, line {line.position}",
                line=line,
                proposal=proposal,
                parts=told,
                form=form,
                may_edit=may,
            ),
            status=status,
        )


def _steps(part: Any, proposal: InvoiceProposal) -> Sequence[tuple[str, str]]:
    steps = list(amounts.explained(part.entry)) if part.entry else [("Milestone", str(part.milestone.name))]
    steps += placing.placed(part)
    steps.append(("On the line", f"{figures.amount(part.amount, proposal.currency)} {proposal.currency}"))
    return steps
