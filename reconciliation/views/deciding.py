"""One decision of a second person over the list of approvals: what it means, a reason where it asks for one, and yes or no.

The rule here: the dialog decides by the same service as the page of what is decided on, on exactly what it shows. Who comes
second, or twice, reads what stands; nothing is decided a second time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import cast

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.dateparse import parse_datetime
from django_htmx.http import HttpResponseClientRedirect

from portal import access, figures, sessions
from portal.models import Invoice, User
from portal.screens import Screen, Tile
from portal.screens.base import leave
from portal.views import step_up
from reconciliation import billing, changes, onboarding
from reconciliation.models import Approval, BillingDecision, Onboarding, RateBundle
from reconciliation.onboarding import going_live
from reconciliation.rates import booking
from reconciliation.rates.planning import NotPlannable
from reconciliation.views import rate_bundle, rehearsal
from reconciliation.views.bills import deciding as bill_words

Kind = Approval.Kind
REFUSALS = (billing.NotDecidable, NotPlannable, onboarding.NotYet)
SAME = (billing.Decided, booking.Decided, going_live.Decided)
SHOWN = 6  # bills of a plan that the dialog names


@dataclass(frozen=True, slots=True)
class Question:
    """What one decision asks: its button, what it lets happen, and why the person may not take it."""

    title: str
    verb: str
    page: str  # the address of what is decided on
    says: Sequence[str]  # what it means, in sentences
    asked: str = ""  # who asked for it, and why
    tiles: Sequence[Tile] = ()
    reason: str = ""  # the label of the reason; empty where none is asked for
    needed: bool = False
    seen: str = ""  # what the dialog shows, where the thing itself can become another
    why_not: str = ""
    step_up: str = ""


@dataclass(frozen=True, slots=True)
class _Way:
    """How one kind is asked about and decided on."""

    ask: Callable[[User, int, bool], Question]
    decide: Callable[[HttpRequest, User, int, bool], str]
    steps: tuple[str, str] = field(default=("approve", "refuse"))


def _bill(user: User, key: int) -> BillingDecision:
    seen = BillingDecision.objects.filter(bill__in=Invoice.objects.visible_to(user))
    related = (
        "bill__entity",
        "bill__current",
        "bill__agreed",
        "bill__connection",
        "version",
        "by",
        "approved_by",
        "ended_by",
    )
    return get_object_or_404(seen.select_related(*related), pk=key)


def _ask_bill(user: User, key: int, agrees: bool) -> Question:
    decision = _bill(user, key)
    bill = decision.bill
    said = bill_words.said(decision)
    choice = BillingDecision.Choice.RECREATE if said == BillingDecision.Choice.RECREATE.label else decision.choice
    effect = (
        billing.effects_of(bill, billing.compared(bill), billing.strayed(bill)).get(choice, "") if bill.agreed else ""
    )
    what = "Agree" if agrees else "Refuse"
    undone = f"{said} does not hold then: what was agreed stays billed, and another choice may be made."
    return Question(
        title=f"{what}: {bill}", verb=what, page=reverse("bill", args=[bill.pk]), asked=f"{decision.by}: “{decision.reason}”",
        says=[f"{said}: {effect}"] if agrees else [undone], reason="" if agrees else "Why", needed=not agrees,
        why_not=_why_not_bill(decision, user),
    )  # fmt: skip


def _why_not_bill(decision: BillingDecision, user: User) -> str:
    bill = decision.bill
    if decision.approved_at is not None or decision.outcome or decision.version_id != bill.current_id:
        return billing.state_of(decision)
    if decision.by_id == user.pk:
        return "You asked for it; somebody else decides."
    return "" if access.may(user, access.APPROVERS, bill.entity_id) else f"A controller of {bill.entity.code} decides."


def _decide_bill(request: HttpRequest, user: User, key: int, agrees: bool) -> str:
    decision = _bill(user, key)
    if agrees:
        billing.approve(decision, by=user)
        return f"Agreed: {bill_words.said(decision).lower()} holds for {decision.bill}."
    billing.refuse(decision, by=user, reason=request.POST.get("reason", ""))
    return f"Refused. {decision.by} reads why."


def _bundle(user: User, key: int) -> RateBundle:
    seen = RateBundle.objects.visible_to(user).select_related("change_set", "planned_by", "approved_by", "refused_by")
    return get_object_or_404(seen, pk=key)


def _ask_bundle(user: User, key: int, agrees: bool) -> Question:
    bundle, what = _bundle(user, key), "Approve" if agrees else "Refuse"
    is_open = bundle.state == RateBundle.State.PLANNED and bundle.round > 1
    undone = "Nothing is booked. What stands at other rates stays a cause until it is planned again or accepted."
    return Question(
        title=f"{what}: {bundle}", verb=what, page=reverse("rate_bundle", args=[bundle.pk]),
        tiles=rate_bundle.tiles_of(bundle, bundle.rows.visible_to(user)),
        says=[*_bills_of(bundle, user), *([] if agrees else [undone])],
        asked=f"{bundle.planned_by}: “{bundle.change_set.reason}”", reason="" if agrees else "Why", needed=not agrees,
        why_not=booking.why_not(bundle, user) if is_open else booking.state_of(bundle),
        step_up=changes.plan_over_limit(bundle) if agrees else "",
    )  # fmt: skip


def _bills_of(bundle: RateBundle, user: User) -> list[str]:
    """What some of its bills billed and what that would be."""
    bills = bundle.bills.visible_to(user).select_related("invoice__current")[:SHOWN]
    return [
        f"{bill.invoice}: {figures.amount(bill.billed, bill.currency)} {bill.currency} billed, "
        f"{figures.amount(bill.would_be, bill.currency)} {bill.currency} it would be."
        for bill in bills
    ]


def _decide_bundle(request: HttpRequest, user: User, key: int, agrees: bool) -> str:
    bundle = _bundle(user, key)
    if agrees:
        booking.approve(bundle, by=user, signed_in_again=sessions.signed_in_just_now(request))
        return "Approved. It is booked now."
    booking.refuse(bundle, by=user, reason=request.POST.get("reason", ""))
    return f"Refused. {bundle.planned_by} reads why."


def _live(user: User, key: int) -> Onboarding:
    related = ("entity", "source", "rehearsal__period", "proposed_by", "decided_by")
    return get_object_or_404(Onboarding.objects.visible_to(user).select_related(*related), pk=key)


def _ask_live(user: User, key: int, agrees: bool) -> Question:
    found, what = _live(user, key), "Let it go live" if agrees else "Send back"
    is_open = found.state == Onboarding.State.PROPOSED
    undone = "It goes back to who prepares it, who reads what must be done first."
    done = "What is owed since the cut-over is posted from now on, and it cannot be taken back."
    rehearsed = f" on the rehearsal of {found.rehearsal.period.code}" if found.rehearsal else ""
    decided = rehearsal.decided_of(found.rehearsal) if found.rehearsal else []
    missing = onboarding.what_is_missing(found) if is_open and agrees else []
    return Question(
        title=f"{what}: {found}", verb=what, page=reverse("onboarding", args=[found.pk]),
        tiles=rehearsal.tiles_of(found.rehearsal) if found.rehearsal else (),
        says=[*decided, done if agrees else undone, *missing],
        asked=f"{found.proposed_by}{rehearsed}: “{found.proposed_because}”",
        reason="Comment" if agrees else "What must be done first", needed=not agrees,
        seen=found.proposed_at.isoformat() if found.proposed_at else "", why_not=_why_not_live(found, user),
        step_up=going_live.over_limit(found) if agrees and is_open else "",
    )  # fmt: skip


def _why_not_live(found: Onboarding, user: User) -> str:
    if found.state != Onboarding.State.PROPOSED:
        return going_live.state_of(found)
    if going_live.may_decide(found, user):
        return ""
    return going_live.why_not(found, user) or f"A controller of {found.entity.code} decides."


def _decide_live(request: HttpRequest, user: User, key: int, agrees: bool) -> str:
    found = _live(user, key)
    if not agrees:
        going_live.send_back(found, by=user, comment=request.POST.get("reason", ""))
        return f"{found} is not live yet, and whoever proposed it reads why."
    try:
        found.proposed_at = parse_datetime(request.POST.get("seen", ""))
    except ValueError:  # no day of the calendar, so not when it was proposed
        found.proposed_at = None
    going_live.approve(
        found, by=user, comment=request.POST.get("reason", ""), signed_in_again=sessions.signed_in_just_now(request)
    )
    return f"{found} is live. What is owed since the cut-over is being posted."


WAYS: dict[str, _Way] = {
    Kind.BILL: _Way(_ask_bill, _decide_bill),
    Kind.BUNDLE: _Way(_ask_bundle, _decide_bundle),
    Kind.LIVE: _Way(_ask_live, _decide_live),
}


class DecisionDialog(Screen):
    """One decision: beside the list of approvals, or as a page by itself."""

    template_name = "reconciliation/approval_decide.html"

    @property
    def way(self) -> _Way:
        """How this kind is decided; a kind that is decided elsewhere is not found here."""
        way = WAYS.get(self.kwargs["kind"])
        if way is None or self.kwargs["step"] not in way.steps:
            raise Http404
        return way

    @property
    def agrees(self) -> bool:
        """Whether this is the yes."""
        return str(self.kwargs["step"]) == "approve"

    def get(self, request: HttpRequest, kind: str, key: int, step: str) -> HttpResponse:
        """The question; without a button for who may not decide."""
        return self.ask()

    def post(self, request: HttpRequest, kind: str, key: int, step: str) -> HttpResponse:
        """Decide, and leave the list with what is left in it."""
        user, here = cast("User", request.user), request.path
        try:
            said = self.way.decide(request, user, key, self.agrees)
        except SAME as same:
            messages.info(request, str(same))
        except changes.SignInAgain as limit:
            return self.go(step_up.lead(request, str(limit), here))
        except REFUSALS as refusal:
            return self.ask(refusal=str(refusal), status=HTTPStatus.UNPROCESSABLE_ENTITY)
        else:
            messages.success(request, said)
        return leave(request, reverse("approvals"), own=here)

    def go(self, url: str) -> HttpResponse:
        """Lead on, in the browser's whole window."""
        if getattr(self.request, "htmx", None):
            return HttpResponseClientRedirect(url)
        return HttpResponseRedirect(url, status=HTTPStatus.SEE_OTHER)

    def ask(self, *, refusal: str = "", status: int = HTTPStatus.OK) -> HttpResponse:
        """The question as it stands now."""
        question = self.way.ask(cast("User", self.request.user), self.kwargs["key"], self.agrees)
        context = self.context(
            title=question.title, question=question, refusal=refusal, typed=self.request.POST.get("reason", ""),
            tiles=question.tiles,
        )  # fmt: skip
        return self.page(context, status=status)
