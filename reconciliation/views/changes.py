"""Change sets on screen: the list, and the page of one with its lines, what it does, and what was decided.

The rule here: what a person may not decide is shown to them all the same, with who may. Nothing is decided on this page without
the numbers beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, ClassVar, cast

from django.contrib import messages
from django.core.exceptions import BadRequest
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.http import content_disposition_header
from django_htmx.http import HttpResponseClientRedirect

from portal import access
from portal.audit import in_words
from portal.models import AuditEvent, User
from portal.screens import Empty, ListScreen, Screen, Tab
from portal.screens.base import leave
from portal.screens.facets import Facet
from portal.views import step_up
from reconciliation import changes, proposals
from reconciliation.changes import attaching
from reconciliation.changes.measuring import MOST_BOOKED
from reconciliation.filters import ChangeSetFilter
from reconciliation.models import ChangeFile, ChangeSet, RateBundle
from reconciliation.rates import coming, unsettled
from reconciliation.views import rate_bundle
from reconciliation.views.change_figures import PLANNED, booked_of, figures_of, told, without_status
from reconciliation.views.change_steps import STEPS
from reconciliation.views.change_tables import (
    TO_REVIEW,
    TONES,
    WAITING,
    ChangeSetTable,
    listed,
    offer_decisions,
    own,
)

State = ChangeSet.State


class ChangeSetList(ListScreen):
    """Every change of master data that people wrote, the latest first."""

    title = "Changes"
    caption = "Change sets: what was proposed, decided and applied"
    queryset = listed().order_by("-pk")
    filterset = ChangeSetFilter
    table = ChangeSetTable
    tabs = (
        Tab("all", "All"),
        Tab("open", "To decide", lambda user: (WAITING | TO_REVIEW) & ~own(user)),
        Tab("mine", "Mine", own),
        Tab("scheduled", "Scheduled", lambda _user: Q(state__in=[State.APPROVED, State.SCHEDULED, State.APPLYING])),
        Tab("applied", "Applied", lambda _user: Q(state=State.APPLIED)),
    )

    facets: ClassVar[Mapping[str, Facet]] = {
        "state": Facet("state", words=lambda code: str(State(code).label)),
        "entity": Facet("entities__code", "entities__name", many=True),
        "model": Facet("lines__model", words=lambda code: changes.BY_CODE[code].label, many=True),
        "by": Facet("created_by__username"),
    }

    def tell(self, records: Sequence[Any]) -> None:
        """What the person may decide about each row."""
        offer_decisions(records, self.request.user)

    def buttons(self) -> list[tuple[str, str]]:
        """A new one, for who may propose."""
        return [("New change", reverse("change_new"))] if may_propose(self.request.user) else []

    def nothing(self) -> Empty:
        """What waits elsewhere."""
        user = self.request.user
        if self.tab and self.tab.slug == "open":
            mine = self.base.filter(own(user), state=State.SUBMITTED).count()
            told = f"{mine:,} of yours {'waits' if mine == 1 else 'wait'} for a controller." if mine else ""
            return Empty("Nothing waits for you", told, *(("?tab=mine", "See yours") if mine else ()))
        return Empty(
            "No change yet",
            "Rates, mappings, projects and everything else is changed here: seen on the real open entries first, and applied "
            "once a second person agrees.",
            *((reverse("change_new"), "Write one") if may_propose(user) else ()),
        )


def may_propose(user: Any) -> bool:
    """Whether a person may write change sets somewhere."""
    return bool(user.roles() & access.OPERATORS)


class ChangeSetPage(Screen):
    """One change set."""

    template_name = "reconciliation/change_set.html"

    def change_set(self) -> ChangeSet:
        """The one of this address, where the person may see everything that it touches."""
        rows = ChangeSet.objects.visible_to(self.request.user)
        rows = rows.select_related("created_by", "submitted_by", "decided_by", "reviewed_by", "rolls_back")
        return get_object_or_404(rows, pk=self.kwargs["pk"])

    def get(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The page."""
        return self.tell(self.change_set())

    def post(self, request: HttpRequest, pk: int, step: str = "") -> HttpResponse:
        """Submit, decide, take back, roll back, review, or dry-run again."""
        change_set = self.change_set()
        action = request.POST.get("action", step)  # a button that waits for the answer is not sent with its form
        if action not in STEPS:
            raise BadRequest(f"There is no action “{action}” here.")
        try:
            where = STEPS[action](request, change_set, cast("User", request.user))
        except changes.Decided as same:
            messages.info(request, str(same))
            return self.go(reverse("change_set", args=[change_set.pk]))
        except changes.SignInAgain as limit:
            return self.go(step_up.lead(request, str(limit), reverse("change_set", args=[change_set.pk])))
        except changes.ChangeRefused as refusal:
            change_set.refresh_from_db()
            return self.tell(change_set, refusal=refusal, status=HTTPStatus.UNPROCESSABLE_ENTITY)
        proposals.follow(change_set)
        return self.go(where or reverse("change_set", args=[change_set.pk]))

    def go(self, url: str) -> HttpResponse:
        """Lead on, in the browser's whole window; what was decided over a list leaves the list."""
        if url == reverse("change_set", args=[self.kwargs["pk"]]):
            return leave(self.request, url, own=url)
        if getattr(self.request, "htmx", None):
            return HttpResponseClientRedirect(url)
        return HttpResponseRedirect(url, status=HTTPStatus.SEE_OTHER)

    def tell(
        self, change_set: ChangeSet, *, refusal: changes.ChangeRefused | None = None, status: int = HTTPStatus.OK
    ) -> HttpResponse:
        """The page, with why something was not done."""
        user = self.request.user
        done = change_set.state == State.APPLIED
        why_not = changes.why_not(change_set, user)
        is_writer = changes.may_write(change_set, user)
        plan = rate_bundle.agreed_with(change_set, user)
        follows = rate_bundle.following(change_set, user) if done else None
        context = self.context(
            title=change_set.title,
            follows=follows,
            may_lose=coming.may_lose(change_set) and change_set.previewed_at is not None,
            unsettled=unsettled.causes_of(change_set, user) if done else [],
            change_set=change_set,
            bundles=list(RateBundle.objects.filter(change_set=change_set).prefetch_related("bills").order_by("round")),
            may_plan=bool((change_set.preview.get("booked") or {}).get("entries"))
            and rate_bundle.may_plan(change_set, user),
            tone=TONES.get(change_set.state, ""),
            codes=[entity.code for entity in change_set.entities.order_by("code")],
            lines=told(change_set, user),
            without_status=without_status(change_set),
            files=list(change_set.files.defer("content").select_related("added_by")),
            kinds=",".join(attaching.KINDS),
            plan=plan,
            figures=figures_of(change_set.preview, done=False, booked=PLANNED if plan else "")
            if change_set.previewed_at
            else [],
            results=figures_of(change_set.result, done=True, booked=follows.words if follows else "") if done else [],
            kept_promise=done and changes.kept_promise(change_set),
            most_booked=MOST_BOOKED,
            named=booked_of(change_set.result if done else change_set.preview, user),
            content=changes.hash_of(change_set),
            may_declare=changes.may_declare(change_set, user),
            editors=[one.user for one in change_set.editors.select_related("user")],
            events=[(in_words(one.action), one) for one in _events(change_set, user)],
            refusal=refusal,
            is_in_use=isinstance(refusal, changes.InUse),
            is_writer=is_writer,
            is_editor=changes.is_editor(change_set, user),
            may_decide=change_set.state == State.SUBMITTED and not why_not,
            may_review=changes.may_review(change_set, user),
            why_not=why_not,
            step_up=changes.over_limit(change_set) if change_set.state == State.SUBMITTED else "",
            may_roll_back=done and may_propose(user) and changes.begun(change_set) is None,
            proposals=change_set.proposals.visible_to(user),
            roll_backs=change_set.roll_backs.visible_to(user),
        )
        return self.page(context, status=status)


def _events(change_set: ChangeSet, user: Any) -> list[AuditEvent]:
    rows = AuditEvent.objects.visible_to(user).filter(object_type="changeset", object_id=str(change_set.pk))
    return list(rows.select_related("actor").order_by("pk"))


class ChangeFileScreen(ChangeSetPage):
    """One attached file, as an attachment that no browser shows as a page. That it was read is kept."""

    http_method_names = ["get", "head", "options"]

    def get(self, request: HttpRequest, pk: int, file: int = 0) -> HttpResponse:
        """The bytes."""
        found = get_object_or_404(ChangeFile.objects.filter(change_set=self.change_set()), pk=file)
        answer = HttpResponse(changes.read(found, cast("User", request.user)), content_type="application/octet-stream")
        answer["Content-Disposition"] = content_disposition_header(as_attachment=True, filename=found.name)
        answer["X-Content-Type-Options"] = "nosniff"
        answer["Cache-Control"] = "private, no-store"
        return answer
