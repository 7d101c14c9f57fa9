"""People who ask to be forgotten: the request, what it would do, and the second person who agrees to it.

The rule here: nothing of it is done by one person, and nobody agrees to anything but what the page showed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from http import HTTPStatus
from typing import cast

import django_filters as filters
from django import forms
from django.core.exceptions import BadRequest, PermissionDenied
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.functional import cached_property
from django_htmx.http import HttpResponseClientRedirect

from integrations import forgetting
from portal import sessions
from portal.audit import in_words
from portal.models import AuditEvent, ErasureRequest, Resource, User
from portal.models.governance import REQUEST_READERS
from portal.screens import Empty, ListScreen, MainColumn, Screen, StateColumn, Tab, Table, TextColumn, WhenColumn
from portal.views import step_up
from reconciliation.changes import SignInAgain

State = ErasureRequest.State
TONES: dict[str, str] = {State.WAITING: "warn", State.DONE: "good", State.REFUSED: "bad"}
WORDS = {
    "messages": "messages of systems, left as their digest",
    "versions": "versions of hours and expenses",
    "foreign_records": "records as systems state them",
    "sentences": "sentences of causes, holds and notices",
    "histories": "earlier versions of the master data",
}


class RequestTable(Table):
    """Requests with who asked, who decided, and where each stands."""

    person = MainColumn(
        accessor="resource__name", order_by="resource__name", verbose_name="Person",
        url=lambda row: reverse("erasure", args=[row.pk]), second=lambda row: row.resource.code,
    )  # fmt: skip
    state = StateColumn(TONES)
    reason = TextColumn(verbose_name="On what request", wraps=True)
    asked_by = TextColumn(accessor="asked_by__username", order_by="asked_by__username", verbose_name="Asked by")
    asked_at = WhenColumn(verbose_name="Asked")
    decided_by = TextColumn(accessor="decided_by__username", order_by="decided_by__username", verbose_name="Decided by")
    decided_at = WhenColumn(verbose_name="Decided")


class RequestFilter(filters.FilterSet):  # type: ignore[misc]
    """What requests are found by."""

    text = filters.CharFilter("resource__name", lookup_expr="icontains", label="Person")
    asked_by = filters.CharFilter("asked_by__username", lookup_expr="iexact", label="Asked by")
    since = filters.DateFilter("asked_at", lookup_expr="date__gte", label="Asked since")

    class Meta:
        model = ErasureRequest
        fields: list[str] = []


class ErasureList(ListScreen):
    """Every request to forget a person, the latest first."""

    title = "People to forget"
    caption = "Requests to forget a person"
    queryset = ErasureRequest.objects.select_related("resource", "asked_by", "decided_by").order_by("-pk")
    filterset = RequestFilter
    table = RequestTable
    roles = REQUEST_READERS
    tabs = (
        Tab("all", "All"),
        Tab("waiting", "Waiting", lambda _user: Q(state=State.WAITING)),
        Tab("done", "Forgotten", lambda _user: Q(state=State.DONE)),
    )
    empty = Empty(
        "Nobody asked to be forgotten",
        "It is asked for on the page of a person whose engagements are over; a second one agrees.",
    )

    def headline(self) -> str:
        """What it means."""
        return "Names go for good; figures, keys and digests stay as proof. One person asks, another agrees."


class AskForm(forms.Form):
    """On what request."""

    reason = forms.CharField(
        max_length=500, label="On what request", widget=forms.Textarea(attrs={"rows": 3}),
        help_text="Such as the day and number of the letter. It is kept for good: name nobody in it.",
    )  # fmt: skip


class _Forgetting(Screen):
    """The person who works here, and where it goes on."""

    roles = frozenset()  # whose request it is decides, and one that is not theirs is not found

    @property
    def user(self) -> User:
        """Who looks."""
        return cast("User", self.request.user)

    def go(self, where: str) -> HttpResponse:
        """On, beside a list too."""
        if getattr(self.request, "htmx", None):
            return HttpResponseClientRedirect(where)
        return HttpResponseRedirect(where, status=HTTPStatus.SEE_OTHER)


class AskScreen(_Forgetting):
    """Asking that a person be forgotten."""

    template_name = "integrations/forget.html"

    @cached_property
    def resource(self) -> Resource:
        """The person of this address, for who may ask."""
        found = get_object_or_404(Resource.objects.visible_to(self.request.user), pk=self.kwargs["pk"])
        if not forgetting.may_ask(found, self.user):
            raise PermissionDenied("An admin or controller of every entity in which the person worked asks for it.")
        return found

    def get(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The form."""
        return self.show(AskForm())

    def post(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Count what it would do, and ask a second person."""
        form, resource = AskForm(request.POST), self.resource
        if form.is_valid():
            try:
                made = forgetting.ask(resource, by=self.user, reason=form.cleaned_data["reason"])
            except forgetting.NotForgotten as refusal:
                form.add_error(None, str(refusal))
            else:
                return self.go(reverse("erasure", args=[made.pk]))
        return self.show(form, HTTPStatus.UNPROCESSABLE_ENTITY)

    def show(self, form: AskForm, status: int = HTTPStatus.OK) -> HttpResponse:
        """The page."""
        title = f"Forget {self.resource}"
        return self.page(self.context(title=title, resource=self.resource, form=form), status=status)


class ErasurePage(_Forgetting):
    """One request: what it would do or has done, who asked, who agreed; and the decision."""

    template_name = "integrations/erasure.html"

    @cached_property
    def found(self) -> ErasureRequest:
        """The request of this address."""
        rows = ErasureRequest.objects.visible_to(self.request.user)
        people = ("resource", "asked_by", "decided_by", "erasure")
        return get_object_or_404(rows.select_related(*people), pk=self.kwargs["pk"])

    def get(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The page."""
        return self.show()

    def post(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Agree, refuse or take back."""
        steps: dict[str, Callable[[], None]] = {"agree": self.agree, "refuse": self.refuse, "take-back": self.take_back}
        step = steps.get(request.POST.get("action", ""))
        if step is None:
            raise BadRequest("There is no such step here.")
        where = reverse("erasure", args=[self.found.pk])
        try:
            step()
        except SignInAgain as limit:
            return self.go(step_up.lead(request, str(limit), where))
        except forgetting.NotForgotten as refusal:
            del self.found
            return self.show(str(refusal), HTTPStatus.UNPROCESSABLE_ENTITY)
        return self.go(where)

    @property
    def comment(self) -> str:
        """What the person says to it."""
        return self.request.POST.get("comment", "")

    def agree(self) -> None:
        """Carry it out, as it was shown."""
        if self.request.POST.get("seen") != _seen(self.found):
            raise forgetting.EffectMoved("What it does was counted anew since you looked at it; look at it again.")
        again = sessions.signed_in_just_now(self.request)
        forgetting.agree(self.found, by=self.user, comment=self.comment, signed_in_again=again)

    def refuse(self) -> None:
        """Not this one."""
        forgetting.refuse(self.found, by=self.user, comment=self.comment)

    def take_back(self) -> None:
        """Never mind."""
        forgetting.take_back(self.found, by=self.user, comment=self.comment)

    def show(self, refusal: str = "", status: int = HTTPStatus.OK) -> HttpResponse:
        """The page, with why a step was not taken."""
        found, waits = self.found, self.found.state == State.WAITING
        counts = found.erasure.counts if found.erasure else found.shown
        about = Q(object_type="erasurerequest", object_id=str(found.pk))
        if found.erasure:
            about |= Q(object_type="resource", object_id=str(found.resource_id), action="person.forgotten")
        events = AuditEvent.objects.visible_to(self.request.user).filter(about)
        context = self.context(
            title=f"Forget {found.resource}" if waits else f"{found.resource}: {found.get_state_display().lower()}",
            found=found,
            tone=TONES.get(found.state, ""),
            counts=[(WORDS.get(name, name.replace("_", " ")), count) for name, count in counts.items()],
            seen=_seen(found),
            refusal=refusal,
            why_not=forgetting.why_not(found, self.user) if waits else "",
            is_own=found.asked_by_id == self.user.pk,
            events=[(in_words(event.action), event) for event in events.order_by("pk")],
        )
        return self.page(context, status=status)


def _seen(found: ErasureRequest) -> str:
    """What names the effect that a page shows."""
    return hashlib.sha256(json.dumps([found.shown, found.entities], sort_keys=True).encode()).hexdigest()[:16]
