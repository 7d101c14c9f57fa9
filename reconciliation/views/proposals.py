"""Codes that somebody proposes to remember: their list, and the page on which another person decides.

The rule here: who asked does not decide. What a person may not decide is shown to them all the same, with who may.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from http import HTTPStatus
from typing import Any

from django.contrib import messages
from django.core.exceptions import BadRequest
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django_htmx.http import HttpResponseClientRedirect

from portal import sessions
from portal.models import AccountingPeriod, Alias
from portal.screens import (
    Badge,
    DayColumn,
    Empty,
    ListScreen,
    MainColumn,
    NumberColumn,
    Screen,
    StateColumn,
    Tab,
    Table,
    TextColumn,
    WhenColumn,
)
from portal.screens.base import leave
from portal.views import step_up
from portal.views.governed import address_of
from reconciliation import changes, proposals
from reconciliation.changes.measuring import MOST_BOOKED
from reconciliation.filters import ProposalFilter
from reconciliation.models import Approval, ChangeSet, Operation, Proposal
from reconciliation.views import inbox
from reconciliation.views.change_figures import figures_of

PROPOSED = Q(state=Proposal.State.PROPOSED)

PROPOSAL_TONES: dict[str, str] = {Proposal.State.PROPOSED: "warn", Proposal.State.APPROVED: "good"}


class ProposalTable(Table):
    """Codes to remember: what each would stand for, since when, on what evidence."""

    code = MainColumn(
        verbose_name="Code",
        url=lambda proposal: reverse("proposal", args=[proposal.pk]),
        second=lambda proposal: f"{proposal.get_kind_display()} · {proposal.connection or 'any source'}",
    )
    record = TextColumn(verbose_name="Stands for", wraps=True)
    entity = TextColumn(accessor="entity__code", order_by="entity__code", verbose_name="Entity")
    valid_from = DayColumn(verbose_name="From")
    times = NumberColumn(accessor="evidence__operations", orderable=False, verbose_name="By hand")
    entries = NumberColumn(accessor="evidence__entries", orderable=False, verbose_name="Entries")
    by = TextColumn(accessor="proposed_by__username", order_by="proposed_by__username", verbose_name="Proposed by")
    proposed = WhenColumn(accessor="proposed_at", order_by="proposed_at", verbose_name="When")
    state = StateColumn(PROPOSAL_TONES)


def to_decide(user: Any) -> Badge | None:
    """How many proposals wait for this person."""
    return inbox.badge(user, "Proposals that wait for you", [Approval.Kind.CODE])


class ProposalList(ListScreen):
    """Codes that were mapped by hand, proposed to be remembered."""

    title = "Proposals"
    caption = "Codes to remember, as they were mapped by hand"
    queryset = Proposal.objects.select_related("entity", "connection", "proposed_by", "decided_by").order_by("pk")
    filterset = ProposalFilter
    fresh = "proposed_at"
    table = ProposalTable
    tabs = (
        Tab("open", "To decide", lambda _user: PROPOSED),
        Tab("mine", "Mine", lambda user: Q(proposed_by=user)),
        Tab("decided", "Decided", lambda _user: ~PROPOSED),
    )
    empty = Empty(
        "No proposal waits",
        "The second time a code is mapped by hand to the same record, a dated alias is proposed here with its evidence.",
    )


class ProposalPage(Screen):
    """One proposal: what it would remember, from which day, on what evidence, and the decision."""

    template_name = "reconciliation/proposal.html"

    def proposal(self) -> Proposal:
        """The proposal of this address, where the person may see its entity."""
        found = Proposal.objects.visible_to(self.request.user)
        return get_object_or_404(
            found.select_related("entity", "connection", "proposed_by", "decided_by", "case", "alias", "change_set"),
            pk=self.kwargs["pk"],
        )

    def get(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The page."""
        return self.tell(self.proposal())

    def post(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Approve, reject or take back."""
        proposal = self.proposal()
        steps: dict[str, Callable[..., Proposal]] = {
            "look": _look,
            "approve": proposals.approve,
            "reject": proposals.reject,
            "withdraw": proposals.withdraw,
        }
        action = request.POST.get("action", "")
        if action not in steps:
            raise BadRequest(f"There is no action “{action}” here.")
        again = {"signed_in_again": sessions.signed_in_just_now(request)} if action == "approve" else {}
        if proposal.change_set is not None:  # what the form showed, and not what stands by now
            proposal.change_set.content_hash = request.POST.get("hash", "")
            proposal.change_set.fingerprint = request.POST.get("fingerprint", "")
        try:
            steps[action](proposal, user=request.user, comment=request.POST.get("comment", ""), **again)
        except changes.SignInAgain as limit:
            return _lead(request, step_up.lead(request, str(limit), reverse("proposal", args=[proposal.pk])))
        except proposals.Decided as same:
            messages.info(request, str(same))
            return leave(request, reverse("proposal", args=[proposal.pk]))
        except proposals.ProposalRefused as refusal:
            return self.tell(self.proposal(), refusal=str(refusal), status=HTTPStatus.UNPROCESSABLE_ENTITY)
        if action == "look":
            return _lead(request, reverse("proposal", args=[proposal.pk]))
        words = {"approve": "Approved. The alias holds, and the entries it touches are validated again.",
                 "reject": "Rejected. Nothing is remembered.", "withdraw": "Withdrawn. Nothing is remembered."}  # fmt: skip
        made = proposal.change_set
        if action == "approve" and made is not None and made.state == ChangeSet.State.DRAFT:
            messages.warning(
                request,
                "It could not be applied, so nothing is remembered. Its change set says why; look at it once more.",
            )
            return _lead(request, reverse("proposal", args=[proposal.pk]))
        if proposal.state == Proposal.State.PROPOSED:
            words["approve"] = (
                "You have agreed. It touches many entries, so a worker goes on; the alias holds once that is done."
            )
        messages.success(request, words[action])
        return leave(request, reverse("proposals"))

    def tell(self, proposal: Proposal, *, refusal: str = "", status: int = HTTPStatus.OK) -> HttpResponse:
        """The page, with why a decision was not taken."""
        made = Operation.objects.filter(pk__in=proposal.operations).select_related("created_by").order_by("pk")
        can_decide = proposals.may_decide(proposal, self.request.user)
        seen = proposals.waiting_change(proposal) if can_decide else None
        if seen is not None and not ChangeSet.objects.visible_to(self.request.user).filter(pk=seen.pk).exists():
            seen, can_decide = None, False
        context = self.context(
            title=str(proposal),
            proposal=proposal,
            refusal=refusal,
            totals=proposals.totals_of(proposal),
            hours=Decimal(proposal.evidence.get("hours", 0)),
            operations=made,
            closed=_closed_months(proposal),
            can_decide=can_decide,
            change_set=seen,
            is_under_way=proposals.is_under_way(proposal),
            stands=can_decide and proposals.stands_already(proposal),
            figures=figures_of(seen.preview, done=False) if seen and seen.previewed_at else [],
            most_booked=MOST_BOOKED,
            step_up=changes.over_limit(seen) if seen and seen.previewed_at else "",
            is_own=proposal.proposed_by_id == self.request.user.pk,
            alias_url=address_of(self.request.user, Alias._meta.model_name or "", str(proposal.alias_id or "")),
        )
        return self.page(context, status=status)


def _lead(request: HttpRequest, url: str) -> HttpResponse:
    """Lead on, in the browser's whole window."""
    if getattr(request, "htmx", None):
        return HttpResponseClientRedirect(url)
    return HttpResponseRedirect(url, status=HTTPStatus.SEE_OTHER)


def _look(proposal: Proposal, *, user: Any, comment: str) -> Proposal:
    """What is said in the form besides is of no matter here."""
    return proposals.look(proposal, user=user)


def _closed_months(proposal: Proposal) -> list[str]:
    """Periods of the entity that the alias would reach back into and that are closed; what is posted there stays."""
    reached = AccountingPeriod.objects.filter(entity=proposal.entity_id, ends_on__gte=proposal.valid_from)
    closed = reached.filter(state=AccountingPeriod.State.CLOSED).order_by("starts_on")
    return list(closed.values_list("code", flat=True))
