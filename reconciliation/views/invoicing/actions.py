"""What people do with a proposal on screen. Each asks, says what follows, and does it as the business does."""

from __future__ import annotations

from typing import Any

from django import forms
from django.db.models import QuerySet
from django.urls import reverse

from portal.models import Grouping, InvoiceProposal, ProposalState
from portal.screens import Action, Outcome, Refused
from reconciliation import invoicing


class _OnProposal(Action):
    """Something done with the proposal of a page, as it was seen there."""

    in_bulk = False
    asks_reason = True
    seen = forms.CharField(required=False, widget=forms.HiddenInput)
    reason = forms.CharField(max_length=500, widget=forms.Textarea(attrs={"rows": 2}), label="Reason")

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        if not self.asks_reason:
            del self.fields["reason"]

    def apply(self, queryset: QuerySet[Any], user: Any) -> Outcome:
        """Do it, or say why not."""
        try:
            return Outcome(self.do(queryset.get(), user))
        except invoicing.Decided as same:
            return Outcome(str(same))
        except invoicing.NotProposable as refusal:
            raise Refused(str(refusal)) from None

    def do(self, proposal: InvoiceProposal, user: Any) -> str:
        """What is done, and the sentence about it."""
        raise NotImplementedError


class _Accepting(_OnProposal):
    """Something by which a proposal goes on: what does not hold of its months is told, and accepted by name."""

    page_template = "invoicing/going_on.html"
    asks_reason = False
    told = forms.CharField(required=False, widget=forms.HiddenInput)
    accepts = forms.BooleanField(required=False, label="I have read it, and it shall go on all the same")

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.proposal: InvoiceProposal | None = self.queryset.first()
        self.risks = invoicing.risks_of(self.proposal) if self.proposal else []
        self.stops = invoicing.blockers(self.proposal) if self.proposal else []
        self.initial["told"] = invoicing.digest_of(self.risks)
        if not self.risks:
            del self.fields["accepts"]

    def preview(self) -> dict[str, Any]:
        """What it comes to, what stops it, and what does not hold."""
        return {"proposal": self.proposal, "lines": self._lines(), "stops": self.stops, "risks": self.risks}

    def _lines(self) -> int:
        return self.proposal.lines.filter(held_by=None).count() if self.proposal else 0

    def read(self) -> str:
        """The digest of the risks that the person read and accepted; without their word, none."""
        return str(self.cleaned_data["told"]) if self.cleaned_data.get("accepts") else ""


class Release(_Accepting):
    """The project's side lets it go to finance."""

    name, label, button = "release", "Release for billing", "Release"
    sentence = "Release this invoice for billing? Finance approves it, then it goes to the system that bills as a draft"
    roles = invoicing.RELEASERS

    def do(self, proposal: InvoiceProposal, user: Any) -> str:
        """Released as it was seen."""
        invoicing.release(proposal, by=user, seen=self.cleaned_data["seen"], accepts=self.read())
        return "Released. Finance approves it; until then it can be sent back."


class Approve(_Accepting):
    """Finance agrees."""

    name, label, button = "approve", "Approve", "Approve and hand over"
    sentence = "Approve this invoice? It is handed to the system that bills, as a draft"
    roles = invoicing.APPROVERS

    def do(self, proposal: InvoiceProposal, user: Any) -> str:
        """Approved as it was seen, and owed."""
        found = invoicing.approve(proposal, by=user, seen=self.cleaned_data["seen"], accepts=self.read())
        if found.state == ProposalState.HANDED_OVER:
            return "Approved, and owed to the system that bills. Its number and totals are read back."
        return f"Approved, and not handed over yet: {invoicing.kept_back(found)}"


class HandOver(_OnProposal):
    """Try again what could not be handed over."""

    name, label = "hand-over", "Hand over"
    sentence = "Hand this invoice to the system that bills?"
    roles = invoicing.APPROVERS
    asks_reason = False

    def do(self, proposal: InvoiceProposal, user: Any) -> str:
        """Owed now."""
        invoicing.hand_over_again(proposal, by=user)
        return "Handed over. Its number and totals are read back."


class SendBack(_OnProposal):
    """Not as it is."""

    name, label = "send-back", "Send back"
    sentence = "Send this invoice back to its project manager?"
    roles = invoicing.PREPARERS

    def do(self, proposal: InvoiceProposal, user: Any) -> str:
        """Open again."""
        invoicing.send_back(proposal, by=user, reason=self.cleaned_data["reason"])
        return "Sent back; whoever released it is told why."


class SendAgain(_OnProposal):
    """What was refused goes once more."""

    name, label = "send-again", "Send draft again"
    sentence = "Send the refused draft again, under the same key?"
    roles = invoicing.APPROVERS

    def do(self, proposal: InvoiceProposal, user: Any) -> str:
        """On its way again."""
        count = len(invoicing.send_again(proposal, by=user, reason=self.cleaned_data["reason"]))
        return "1 draft goes again." if count == 1 else f"{count} drafts go again."


class Withdraw(_OnProposal):
    """Give the work back."""

    name, label, tone = "withdraw", "Withdraw", "danger"
    sentence = "Withdraw this invoice? Its hours are open to be proposed again"
    roles = invoicing.PREPARERS

    def do(self, proposal: InvoiceProposal, user: Any) -> str:
        """Its hours are open again."""
        invoicing.withdraw(proposal, by=user, reason=self.cleaned_data["reason"])
        return "Withdrawn. Its hours are open to be proposed again."


class Word(_OnProposal):
    """What the customer reads above the lines."""

    name, label = "word", "Edit text"
    sentence = "What the customer reads above the lines"
    roles = invoicing.PREPARERS
    asks_reason = False
    memo = forms.CharField(required=False, max_length=900, label="Text", widget=forms.Textarea(attrs={"rows": 3}))

    def do(self, proposal: InvoiceProposal, user: Any) -> str:
        """Worded."""
        invoicing.word(proposal, by=user, memo=self.cleaned_data["memo"])
        return "The text is kept."


class Regroup(_OnProposal):
    """What the customer reads as one line."""

    name, label = "regroup", "Group lines"
    sentence = "How shall the customer read the lines? They are made anew; what is on hold stays on hold"
    roles = invoicing.PREPARERS
    asks_reason = False
    grouping = forms.ChoiceField(choices=Grouping.choices, widget=forms.RadioSelect, label="One line")

    def do(self, proposal: InvoiceProposal, user: Any) -> str:
        """Grouped anew."""
        invoicing.prepare_anew(proposal, by=user, how=self.cleaned_data["grouping"])
        return "The lines are grouped anew."


class PrepareAnew(_OnProposal):
    """What is left to bill now, in the place of what was when it was prepared."""

    name, label = "prepare-anew", "Prepare anew"
    sentence = "Prepare this invoice anew from what is posted and not billed now? What is on hold stays on hold"
    roles = invoicing.PREPARERS
    asks_reason = False

    def do(self, proposal: InvoiceProposal, user: Any) -> str:
        """Made anew, or withdrawn where nothing is left of it."""
        invoicing.prepare_anew(proposal, by=user)
        if proposal.state == ProposalState.WITHDRAWN:
            return "Nothing of it is left to bill, so it is withdrawn."
        return "Prepared anew from what is left to bill."


# Which acts are offered in which state, the one to do next first.
OFFERED: dict[str, tuple[type[_OnProposal], ...]] = {
    ProposalState.OPEN: (Release, PrepareAnew, Regroup, Word, Withdraw),
    ProposalState.RELEASED: (Approve, SendBack, Withdraw),
    ProposalState.APPROVED: (HandOver, Withdraw),
    ProposalState.HANDED_OVER: (SendAgain, Withdraw),
}
EVERY: tuple[type[Action], ...] = (
    Release,
    PrepareAnew,
    Approve,
    HandOver,
    SendBack,
    SendAgain,
    Regroup,
    Word,
    Withdraw,
)


class Prepare(Action):
    """Propose the invoices of a project's month."""

    name, label, button = "prepare", "Prepare invoice", "Prepare"
    sentence = "Propose the invoice of what is posted and not billed yet"
    roles = invoicing.PREPARERS
    in_bulk = False
    page_template = "invoicing/going_on.html"
    through = forms.DateField(
        label="Work up to and with",
        widget=forms.DateInput(attrs={"type": "date"}),
        help_text="Later work stays for the next.",
    )
    grouping = forms.ChoiceField(choices=Grouping.choices, label="One line", initial=Grouping.PERSON)

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        of_month = self.queryset.select_related("period", "project__entity", "project__customer", "project__contract")
        self.month = of_month.select_related("project__manager").first()
        if self.month is not None and not self.initial.get("through"):
            self.initial["through"] = self.month.period.ends_on

    def preview(self) -> dict[str, Any]:
        """What does not hold of the month; it is asked again when the proposal is released."""
        return {"risks": invoicing.risks_in(self.month) if self.month is not None else []}

    def apply(self, queryset: QuerySet[Any], user: Any) -> Outcome:
        """One proposal for each customer, currency and order; the first of them is opened."""
        month = queryset.select_related("project__entity", "project__customer", "project__contract").get()
        try:
            made = invoicing.prepare(
                month.project, self.cleaned_data["through"], by=user, how=self.cleaned_data["grouping"]
            )
        except invoicing.NotProposable as refusal:
            raise Refused(str(refusal)) from None
        if not made:
            raise Refused("Nothing that is posted is left to bill up to that day, or it sits in a proposal already.")
        more = f" and {len(made) - 1} more" if len(made) > 1 else ""
        return Outcome(f"{made[0]}{more} is proposed.", url=reverse("invoice_proposal", args=[made[0].pk]))
