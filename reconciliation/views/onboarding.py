"""Bringing in an entity or a source, on screen: the checklist, the cut-over, the rehearsals and going live.

The rule here: nobody ticks anything. What a page shows is computed when it is opened, and every step says why it cannot be taken.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from http import HTTPStatus
from typing import Any, cast

from django import forms
from django.contrib import messages
from django.core.exceptions import BadRequest
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.dateparse import parse_datetime
from django_htmx.http import HttpResponseClientRedirect

from portal import access, sessions
from portal.models import AccountingPeriod, Connection, GrantRole, LegalEntity, User
from portal.models.documents import KIND_CHOICES
from portal.screens import Badge, Empty, ListScreen, MainColumn, Screen, StateColumn, Tab, Table, TextColumn, WhenColumn
from portal.views import step_up
from reconciliation import changes, onboarding
from reconciliation.filters import OnboardingFilter
from reconciliation.models import Approval, Onboarding, Rehearsal
from reconciliation.onboarding import bookings, going_live
from reconciliation.onboarding.base import cut_overs
from reconciliation.views import inbox, waking

READERS = frozenset({*access.CONFIGURERS, *access.OPERATORS, GrantRole.AUDITOR})
STATE_TONES: dict[str, str] = {"preparing": "info", "proposed": "warn", "live": "good"}
REHEARSAL_TONES: dict[str, str] = {
    "running": "info", "tied_out": "good", "differs": "warn", "empty": "warn", "failed": "bad",
}  # fmt: skip
ITEM_TONES = {"met": "good", "fails": "bad", "not asked": ""}
STANDING = ~Q(state=Onboarding.State.LIVE)


def badge(user: Any) -> Badge | None:
    """How many wait for this person to let them go live."""
    return inbox.badge(user, "Entities that wait for you to go live", [Approval.Kind.LIVE])


class OnboardingTable(Table):
    """What is brought in, where it stands, and who began it."""

    entity = MainColumn(
        verbose_name="Brought in",
        url=lambda one: reverse("onboarding", args=[one.pk]),
        second=lambda one: one.reason,
        drawer=False,
    )
    source = TextColumn(accessor="source", verbose_name="Source", empty_values=())
    state = StateColumn(STATE_TONES)
    by = TextColumn(accessor="started_by__username", order_by="started_by__username", verbose_name="Begun by")
    started_at = WhenColumn(verbose_name="Begun")
    decided = TextColumn(accessor="decided_by__username", order_by="decided_by__username", verbose_name="Let live by")
    decided_at = WhenColumn(verbose_name="Live since")

    def render_source(self, record: Any) -> str:
        """The source, or that it is the entity as a whole."""
        return str(record.source) if record.source_id else "every source"

    def value_source(self, record: Any) -> str:
        """The same."""
        return self.render_source(record)


class OnboardingList(ListScreen):
    """Everything that is, or was, brought in."""

    title = "Onboarding"
    caption = "Entities and sources on their way in"
    roles = READERS
    queryset = Onboarding.objects.select_related("entity", "source", "started_by", "decided_by").order_by("-pk")
    filterset = OnboardingFilter
    table = OnboardingTable
    tabs = (
        Tab("standing", "Being brought in", lambda _user: STANDING),
        Tab("live", "Live", lambda _user: Q(state=Onboarding.State.LIVE)),
        Tab("all", "All"),
    )
    empty = Empty(
        "Nothing is being brought in",
        "An entity or a source is brought in here before its first document is posted: checked, rehearsed on its last closed "
        "month, and let live by a second person.",
    )

    def headline(self) -> str:
        """What holds meanwhile."""
        return "Nothing that is brought in is owed to anybody before it goes live; what was booked before is never posted again."

    def buttons(self) -> list[tuple[str, str]]:
        """Begin one."""
        held = LegalEntity.objects.visible_to(self.request.user, roles=access.CONFIGURERS)
        return [("Bring in", reverse("onboarding_new"))] if held.exists() else []


class BeginForm(forms.Form):
    """What is brought in, and why."""

    entity = forms.ModelChoiceField(LegalEntity.objects.none())
    source = forms.ModelChoiceField(
        Connection.objects.none(), required=False, empty_label="Every source of the entity",
        help_text="Choose one to change the tool of an entity that is live.",
    )  # fmt: skip
    reason = forms.CharField(max_length=500, widget=forms.Textarea(attrs={"rows": 2}))

    def __init__(self, *args: Any, user: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        entities = LegalEntity.objects.visible_to(user, roles=access.CONFIGURERS).order_by("code")
        sources = Connection.objects.visible_to(user).filter(is_source=True, entity__in=entities).order_by("name")
        cast("forms.ModelChoiceField[Any]", self.fields["entity"]).queryset = entities
        cast("forms.ModelChoiceField[Any]", self.fields["source"]).queryset = sources


class BeginScreen(Screen):
    """Begin to bring something in."""

    title = "Bring in an entity or a source"
    roles = access.CONFIGURERS
    template_name = "onboarding/new.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        """The form."""
        return self.page(self.context(form=BeginForm(user=request.user)))

    def post(self, request: HttpRequest) -> HttpResponse:
        """Begin."""
        form = BeginForm(request.POST, user=request.user)
        if form.is_valid():
            said = form.cleaned_data
            try:
                begun = onboarding.begin(
                    said["entity"], said["source"], by=cast("User", request.user), reason=said["reason"]
                )
            except onboarding.NotYet as refusal:
                form.add_error(None, str(refusal))
            else:
                messages.success(request, "It is being brought in: nothing of it is owed before it goes live.")
                return HttpResponseRedirect(reverse("onboarding", args=[begun.pk]), status=HTTPStatus.SEE_OTHER)
        return self.page(self.context(form=form), status=HTTPStatus.UNPROCESSABLE_ENTITY)


class CutOverForm(forms.Form):
    """From which work date each kind of each source is owed."""

    def __init__(self, *args: Any, found: Onboarding, **more: Any) -> None:
        super().__init__(*args, **more)
        said = cut_overs(found)
        self.names: dict[str, tuple[int, str]] = {}
        for source in onboarding.sources_of(found):
            for kind, label in KIND_CHOICES:
                name = f"day-{source.pk}-{kind}"
                self.names[name] = (source.pk, kind)
                there = said.get((source.pk, kind))
                self.fields[name] = forms.DateField(
                    required=False, label=f"{label} of {source}", initial=there.first_day if there else None,
                    widget=forms.DateInput(attrs={"type": "date"}),
                )  # fmt: skip
        self.fields["reason"] = forms.CharField(max_length=500, label="Why then")

    def days(self) -> dict[tuple[int, str], date | None]:
        """What was said; None where a field was emptied."""
        return {key: self.cleaned_data[name] for name, key in self.names.items() if name in self.data}


class RehearseForm(forms.Form):
    """Which closed month, and where it is known from what was booked."""

    period = forms.ModelChoiceField(AccountingPeriod.objects.none(), empty_label=None)
    file = forms.FileField(
        required=False, label="File of bookings",
        help_text="CSV or XLSX with number, date, person, project, hours, amount, currency. Without one the target's own "
        "statement is read.",
    )  # fmt: skip

    def __init__(self, *args: Any, found: Onboarding, **more: Any) -> None:
        super().__init__(*args, **more)
        closed = AccountingPeriod.objects.filter(entity=found.entity, state=AccountingPeriod.State.CLOSED)
        cast("forms.ModelChoiceField[Any]", self.fields["period"]).queryset = closed.order_by("-starts_on")


class OnboardingPage(Screen):
    """One onboarding: what must stand, from when it is owed, what the rehearsals found, and going live."""

    roles = READERS
    template_name = "onboarding/page.html"

    def found(self) -> Onboarding:
        """The onboarding of this address, where the person may see its entity."""
        seen = Onboarding.objects.visible_to(self.request.user)
        related = ("entity", "source", "started_by", "proposed_by", "decided_by", "rehearsal__period")
        return get_object_or_404(seen.select_related(*related), pk=self.kwargs["pk"])

    def get(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """The page."""
        return self.tell(self.found())

    def post(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """Take the step that was asked for."""
        found = self.found()
        steps: dict[str, Callable[[Onboarding], HttpResponseBase]] = {
            "cut-over": self.cut_over, "rehearse": self.rehearse, "propose": self.propose, "approve": self.approve,
            "send-back": self.send_back,
        }  # fmt: skip
        step = steps.get(request.POST.get("action", ""))
        if step is None:
            raise BadRequest(f"There is no step “{request.POST.get('action', '')}” here.")
        try:
            return step(found)
        except going_live.Decided as same:
            messages.info(request, str(same))
            return self.go(reverse("onboarding", args=[found.pk]))
        except onboarding.NotYet as refusal:
            return self.tell(self.found(), refusal=str(refusal), status=HTTPStatus.UNPROCESSABLE_ENTITY)

    @property
    def person(self) -> User:
        """Who asks."""
        return cast("User", self.request.user)

    def cut_over(self, found: Onboarding) -> HttpResponseBase:
        """Say from when it is owed."""
        access.require(self.person, access.CONFIGURERS, found.entity_id)
        form = CutOverForm(self.request.POST, found=found)
        if not form.is_valid():
            return self.tell(found, cut_over_form=form, status=HTTPStatus.UNPROCESSABLE_ENTITY)
        onboarding.set_cut_over(found, form.days(), by=self.person, reason=form.cleaned_data["reason"])
        return self.done("The cut-over is as you said.")

    def rehearse(self, found: Onboarding) -> HttpResponseBase:
        """Have the month replayed."""
        access.require(self.person, access.OPERATORS, found.entity_id)
        form = RehearseForm(self.request.POST, self.request.FILES, found=found)
        if not form.is_valid():
            return self.tell(found, rehearse_form=form, status=HTTPStatus.UNPROCESSABLE_ENTITY)
        upload = form.cleaned_data["file"]
        booked = bookings.read(upload.name, upload.read()) if upload else None
        asked = onboarding.request(found, form.cleaned_data["period"], by=self.person, bookings=booked)
        waking.rehearse(asked.pk)
        return self.done("It is being rehearsed; nothing leaves the portal.", reverse("rehearsal", args=[asked.pk]))

    def propose(self, found: Onboarding) -> HttpResponseBase:
        """Ask a second person to let it go live."""
        onboarding.propose(found, by=self.person, reason=self.request.POST.get("comment", ""))
        return self.done("A second person is asked to let it go live.")

    def approve(self, found: Onboarding) -> HttpResponseBase:
        """Let it go live, as it was proposed when the person looked at it."""
        try:
            found.proposed_at = parse_datetime(self.request.POST.get("proposed_at", ""))
        except ValueError:  # no day of the calendar, so not when it was proposed
            found.proposed_at = None
        try:
            onboarding.approve(
                found, by=self.person, comment=self.request.POST.get("comment", ""),
                signed_in_again=sessions.signed_in_just_now(self.request),
            )  # fmt: skip
        except changes.SignInAgain as limit:
            return self.go(step_up.lead(self.request, str(limit), reverse("onboarding", args=[found.pk])))
        return self.done(f"{found} is live. What is owed since the cut-over is being posted.")

    def send_back(self, found: Onboarding) -> HttpResponseBase:
        """Not yet."""
        onboarding.send_back(found, by=self.person, comment=self.request.POST.get("comment", ""))
        return self.done("It is not live yet, and whoever proposed it reads why.")

    def done(self, words: str, url: str = "") -> HttpResponseBase:
        """Say so, and go on."""
        messages.success(self.request, words)
        return self.go(url or reverse("onboarding", args=[self.kwargs["pk"]]))

    def go(self, where: str) -> HttpResponseBase:
        """Lead on, in the browser's whole window."""
        if getattr(self.request, "htmx", None):
            return HttpResponseClientRedirect(where)
        return HttpResponseRedirect(where, status=HTTPStatus.SEE_OTHER)

    def tell(
        self,
        found: Onboarding,
        *,
        refusal: str = "",
        cut_over_form: CutOverForm | None = None,
        rehearse_form: RehearseForm | None = None,
        status: int = HTTPStatus.OK,
    ) -> HttpResponse:
        """The page, with why a step was not taken."""
        is_live = found.state == Onboarding.State.LIVE
        is_preparing = found.state == Onboarding.State.PREPARING
        items = [] if is_live else onboarding.checklist(found)
        rehearsals = list(Rehearsal.objects.filter(onboarding=found).select_related("period", "asked_by")[:10])
        may_configure = access.may(self.person, access.CONFIGURERS, found.entity_id)
        may_rehearse = access.may(self.person, access.OPERATORS, found.entity_id)
        context = self.context(
            title=f"{'Brought' if is_live else 'Bringing'} in: {found}",
            found=found,
            tone=STATE_TONES[found.state],
            refusal=refusal,
            items=[(item, ITEM_TONES[item.state]) for item in items],
            met=sum(not item.fails for item in items),
            rehearsals=[(one, *standing_of(one), _told(one)) for one in rehearsals],
            cut_overs=list(cut_overs(found).values()),
            of_connections=[one for one in onboarding.sources_of(found) if one.cut_over_on],
            cut_over_form=(cut_over_form or CutOverForm(found=found)) if is_preparing and may_configure else None,
            rehearse_form=(rehearse_form or RehearseForm(found=found)) if is_preparing and may_rehearse else None,
            missing=[] if is_live else onboarding.what_is_missing(found),
            may_propose=is_preparing and may_configure,
            may_mend=may_rehearse,
            may_decide=going_live.may_decide(found, self.person),
            why_not=going_live.why_not(found, self.person) if found.state == Onboarding.State.PROPOSED else "",
            is_own=found.proposed_by_id == self.person.pk,
        )
        return self.page(context, status=status)


def standing_of(rehearsal: Rehearsal) -> tuple[str, str]:
    """How a rehearsal stands, in words, and their tone; differences that people decided stand in nobody's way any more."""
    if rehearsal.state == Rehearsal.State.DIFFERS and not going_live.undecided(rehearsal):
        return "Differences decided", "good"
    if rehearsal.state == Rehearsal.State.DIFFERS and was_replaced(rehearsal):
        return "Differed, and was rehearsed again", ""
    return str(rehearsal.get_state_display()), REHEARSAL_TONES[rehearsal.state]


def was_replaced(rehearsal: Rehearsal) -> bool:
    """Whether a later rehearsal came after it, so that nothing hangs on this one any more."""
    return Rehearsal.objects.filter(onboarding=rehearsal.onboarding_id, pk__gt=rehearsal.pk).exists()


def _told(rehearsal: Rehearsal) -> str:
    """What a rehearsal found, in a few words."""
    if rehearsal.state == Rehearsal.State.RUNNING:
        return rehearsal.waits_for or rehearsal.step or "Waiting for a worker"
    if rehearsal.state == Rehearsal.State.FAILED:
        return rehearsal.failure
    if rehearsal.state == Rehearsal.State.EMPTY:
        return "Nothing was worked and nothing booked"
    month = rehearsal.totals.get("outcomes", {}).get("month", {})
    differing = sum(count for outcome, count in month.items() if outcome != "agrees")
    left = going_live.undecided(rehearsal)
    said = f"{month.get('agrees', 0):,} agree, {differing:,} differ"
    return f"{said}; {left:,} not decided" if left else said
