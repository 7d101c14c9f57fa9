"""The confirmation of one decision about a change set: what it lets happen, or why the person may not take it."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, ClassVar, cast

from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse

from portal.models import User
from reconciliation import changes
from reconciliation.changes.measuring import MOST_BOOKED
from reconciliation.models import ChangeSet
from reconciliation.rates import coming
from reconciliation.views import rate_bundle
from reconciliation.views.change_figures import PLANNED, figures_of, told
from reconciliation.views.changes import ChangeSetPage, may_propose

State = ChangeSet.State


class DecisionScreen(ChangeSetPage):
    """The confirmation of one decision, with the summary of what it lets happen: beside the page, or by itself."""

    template_name = "reconciliation/change_decide.html"
    words: ClassVar[dict[str, tuple[str, str]]] = {
        "approve": ("Approve", "Comment"),
        "reject": ("Reject", "Why"),
        "withdraw": ("Withdraw", "Comment"),
        "roll-back": ("Write the roll-back", "Why"),
        "emergency": ("Apply at once", "Comment"),
        "review": ("Keep the review", "What you found"),
    }

    def get(self, request: HttpRequest, pk: int, step: str = "") -> HttpResponse:
        """The form; without a button for who may not decide."""
        return self.ask(self.change_set(), step)

    def tell(
        self, change_set: ChangeSet, *, refusal: changes.ChangeRefused | None = None, status: int = HTTPStatus.OK
    ) -> HttpResponse:
        """The form again, with why nothing was decided."""
        return self.ask(change_set, self.kwargs["step"], refusal=refusal, status=status)

    def ask(
        self,
        change_set: ChangeSet,
        step: str,
        *,
        refusal: changes.ChangeRefused | None = None,
        status: int = HTTPStatus.OK,
    ) -> HttpResponse:
        """The form, on the change set as it stands now."""
        user = cast("User", self.request.user)
        if step not in self.words:
            raise BadRequest(f"There is no decision “{step}” here.")
        verb, label = self.words[step]
        plan = rate_bundle.agreed_with(change_set, user)
        context = self.context(
            title=f"{verb}: {change_set.title}", change_set=change_set, content=changes.hash_of(change_set), step=step, verb=verb,
            label=label, why_not=why_not(change_set, user, step),
            needed=step in ("reject", "review"), lines=told(change_set, user)[:6],
            more=max(0, change_set.lines.count() - 6), plan=plan, most_booked=MOST_BOOKED,
            figures=figures_of(change_set.preview, done=False, booked=PLANNED if plan else "")
            if change_set.previewed_at else [],
            may_lose=step in ("approve", "emergency") and coming.may_lose(change_set),
            step_up=changes.over_limit(change_set) if step == "approve" else "", refusal=refusal,
        )  # fmt: skip
        if step == "roll-back" and not context["why_not"]:
            context["begun"] = changes.begun(change_set)
            context["undoing"] = changes.undoing(change_set, user)
        return self.page(context, status=status)


def why_not(change_set: ChangeSet, user: Any, step: str) -> str:
    """Why a person may not take this step now, in a sentence; empty where they may."""
    by = f" by {change_set.decided_by}" if change_set.decided_by else ""
    state = f"It is {change_set.get_state_display().lower()}{by}." if change_set.state != State.SUBMITTED else ""
    if step in ("approve", "reject"):
        return f"{state} It does not wait for a decision." if state else changes.why_not(change_set, user)
    if step == "review":
        return (
            "" if changes.may_review(change_set, user) else changes.why_not(change_set, user) or "Nothing is to review."
        )
    if step == "withdraw":
        may = changes.may_write(change_set, user) and changes.is_editor(change_set, user)
        return "" if may else "Who wrote it takes it back, before it is applied."
    if step == "emergency":
        return "" if changes.may_declare(change_set, user) else "A controller or admin who wrote it lets it go at once."
    if change_set.state != State.APPLIED:
        return f"{state or 'It waits for approval.'} Only what was applied is rolled back."
    return "" if may_propose(user) else "Who may propose changes writes the roll-back."
