"""What waits for a second person: the inbox with large fixes in a list, and the list of codes that somebody proposes to remember.

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

from portal import access, figures, sessions
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
    within,
)
from portal.screens.base import roles_of
from portal.screens.panels import Line, Panel
from portal.views import step_up
from portal.views.governed import address_of
from reconciliation import changes, proposals
from reconciliation.changes.measuring import MOST_BOOKED
from reconciliation.filters import OperationFilter, ProposalFilter
from reconciliation.models import ChangeSet, Operation, Proposal
from reconciliation.views import change_tables, inbox
from reconciliation.views.change_figures import figures_of

SHOWN = 8  # on a person's first page
AWAITING = Q(state=Operation.State.AWAITING)
PROPOSED = Q(state=Proposal.State.PROPOSED)

APPROVAL_TONES: dict[str, str] = {
    Operation.State.AWAITING: "warn",
    Operation.State.REFUSED: "bad",
    Operation.State.RUNNING: "info",
    Operation.State.DONE: "good",
}
PROPOSAL_TONES: dict[str, str] = {Proposal.State.PROPOSED: "warn", Proposal.State.APPROVED: "good"}


class ApprovalTable(Table):
    """Fixes that need a second person: what, why one is needed, who asked, and what was decided."""

    title = MainColumn(
        verbose_name="Fix",
        url=lambda operation: reverse("operation", args=[operation.pk]),
        second=lambda operation: operation.second_person,
    )
    entity = TextColumn(accessor="entity__code", order_by="entity__code", verbose_name="Entity")
    total = NumberColumn(verbose_name="Entries")
    by = TextColumn(accessor="created_by__username", order_by="created_by__username", verbose_name="Asked by")
    asked = WhenColumn(accessor="confirmed_at", order_by="confirmed_at", verbose_name="When")
    reason = TextColumn(wraps=True)
    decided = TextColumn(accessor="decided_by__username", order_by="decided_by__username", verbose_name="Decided by")
    state = StateColumn(APPROVAL_TONES)


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


def _fixes(user: Any) -> Any:
    """Large fixes that wait for this person."""
    return Operation.objects.visible_to(user, roles=access.APPROVERS).filter(AWAITING).exclude(created_by=user.pk)


def to_approve(user: Any) -> Badge | None:
    """How many fixes wait for this person."""
    count = _fixes(user).count()
    return Badge("Fixes that wait for you", count, "warn") if count else None


def to_decide(user: Any) -> Badge | None:
    """How many proposals wait for this person."""
    count = inbox.proposals(user).count()
    return Badge("Proposals that wait for you", count, "warn") if count else None


def panel(request: HttpRequest) -> Panel | None:
    """What waits for this person's decision, fixes before everything else; nothing for a person who decides nowhere."""
    if not roles_of(request) & (access.APPROVERS | access.CONFIGURERS):
        return None
    fixes = within(_fixes(request.user), request).select_related("created_by", "entity").order_by("pk")[:SHOWN]
    lines = [
        Line(
            text=one.title, url=reverse("operation", args=[one.pk]), state="Large fix",
            note=f"{one.created_by} · {one.entity.code} · asked {figures.age(one.confirmed_at)} ago",
        )
        for one in fixes
    ]  # fmt: skip
    for one in inbox.waiting(request.user)[: SHOWN - len(lines)]:
        tone = "bad" if one.is_alarm else ""
        lines.append(Line(text=one.title, url=one.url, note=one.note, state=one.tag or "Change", tone=tone))
    return Panel(
        key="decisions", title="Waits for your decision", position=11, is_wide=True, lines=lines,
        nothing="Nothing waits for a second person like you.", url=reverse("approvals"),
    )  # fmt: skip


class ApprovalList(ListScreen):
    """Fixes above the limit of one person, the oldest first, below everything else that waits for the person who looks."""

    template_name = "reconciliation/approvals.html"
    title = "Approvals"
    caption = "Fixes that need a second person"
    queryset = (
        Operation.objects.exclude(second_person="")
        .exclude(state=Operation.State.CANCELLED)
        .select_related("entity", "created_by", "decided_by")
        .order_by("pk")
    )
    filterset = OperationFilter
    fresh = "confirmed_at"
    table = ApprovalTable
    tabs = (
        Tab("open", "To decide", lambda user: AWAITING & ~Q(created_by=user)),
        Tab("mine", "Mine", lambda user: Q(created_by=user)),
        Tab("decided", "Decided", lambda _user: Q(decided_by__isnull=False)),
    )

    def list_context(self) -> dict[str, Any]:
        """The list, and everything else that waits for this person."""
        return {**super().list_context(), "waiting": inbox.waiting(self.request.user)}

    def nothing(self) -> Empty:
        """What waits elsewhere."""
        user = self.request.user
        own = self.base.filter(AWAITING, created_by=user).count()
        changed = (
            ChangeSet.objects.visible_to(user).filter(change_tables.own(user), state=ChangeSet.State.SUBMITTED).count()
        )
        if (own or changed) and self.tab and self.tab.slug == "open":
            url = "?tab=mine" if own else f"{reverse('changes')}?tab=mine"
            words = f"{own + changed:,} of yours {'waits' if own + changed == 1 else 'wait'} for a controller."
            return Empty("Nothing waits for you", words, url, "See yours")
        title = "No fix waits for approval" if inbox.waiting(user) else "Nothing waits for approval"
        return Empty(
            title,
            "Changes, bills, certificates, going live, codes to remember, and fixes above the limit of one person wait here.",
        )


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
        return _lead(request, reverse("proposals"))

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
