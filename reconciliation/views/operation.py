"""The page of one bulk fix: its dry-run, then how far it is, what came of every row, how to stop it or try the rest again.

The rule here: nothing on the page lives in the browser. What is read again every second holds no button and takes no focus.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, cast

from django.contrib import messages
from django.core.exceptions import BadRequest
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django_htmx.http import HttpResponseClientRedirect, trigger_client_event

from portal import access, export, keys
from portal.models import AuditEvent, GrantRole, User
from portal.screens import Screen
from portal.sql import now
from reconciliation import operations
from reconciliation.fixes import FIXES
from reconciliation.models import CaseComment, Operation
from reconciliation.operations import Phase
from reconciliation.views import fixing, rows, telling, waking
from reconciliation.views.operation_tables import ResultTable

STOP_POLLING = 286  # what htmx takes as the end of polling
REFRESHES = 20  # of the rows below, at most, while an operation runs
COMMENTERS = access.EVERYBODY - {GrantRole.AUDITOR}


class OperationPage(Screen):
    """One operation: its dry-run until it is confirmed, then its progress and the result of every row."""

    template_name = "reconciliation/operation.html"

    def operation(self) -> Operation:
        """The operation of this address, where the person may see its entity."""
        found = Operation.objects.visible_to(self.request.user).select_related(
            "entity", "created_by", "case", "decided_by"
        )
        return get_object_or_404(found, pk=self.kwargs["pk"])

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """The dry-run, the page, or its rows."""
        operation = self.operation()
        if operation.state in fixing.BEFORE_IT_RUNS:
            return fixing.preview_of(self, operation)
        if request.GET.get("export") in export.FORMATS:
            return self.export(operation, request.GET["export"])
        context = {**self.told(operation), **self.rows_of(operation)}
        htmx = getattr(request, "htmx", None)
        part = "reconciliation/operation_results.html" if htmx and htmx.target == "results" else ""
        return self.page(self.context(**context), template=part)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Confirm, cancel, try again what failed, or write what came of it under the cause."""
        operation = self.operation()
        action = request.POST.get("action", "")
        acts = {"cancel": self.cancel, "retry": self.retry, "comment": self.comment}
        if action == "confirm":
            access.require(request.user, FIXES[operation.fix].roles, operation.entity_id)
            return self.confirm(operation)
        if action in fixing.STEPS:
            access.require(request.user, FIXES[operation.fix].roles, operation.entity_id)
            return fixing.STEPS[action](self, operation)
        if action not in acts:
            raise BadRequest(f"There is no action “{action}” here.")
        here = reverse("operation", args=[operation.pk])
        try:
            here = acts[action](operation, cast("User", request.user)) or here
        except fixing.REFUSALS as refusal:
            messages.error(request, str(refusal))
        return HttpResponseRedirect(here, status=HTTPStatus.SEE_OTHER)

    def confirm(self, operation: Operation) -> HttpResponse:
        """Let it run. A second click on the same preview leads to what the first one began."""
        answer = fixing.confirm(self, operation)
        if answer.status_code != HTTPStatus.UNPROCESSABLE_ENTITY:
            return answer
        operation.refresh_from_db()
        if operation.confirmed_at is None or operation.created_by_id != self.request.user.pk:
            return answer
        here = reverse("operation", args=[operation.pk])
        if getattr(self.request, "htmx", None):
            return HttpResponseClientRedirect(here)
        return HttpResponseRedirect(here, status=HTTPStatus.SEE_OTHER)

    def cancel(self, operation: Operation, user: User) -> str:
        """Stop what no worker has begun, and say how much was done before."""
        was_planned = operation.state in fixing.BEFORE_IT_RUNS
        operation = operations.cancel(operation, user=user)
        if was_planned:
            messages.success(self.request, "Cancelled before it began; nothing was changed.")
            return fixing.back_url(operation)
        ended = operation.done + operation.failed
        if operation.state == Operation.State.RUNNING:
            words = f"{ended:,} were done already; a worker finishes the rows that it has begun, and the rest is left as it is."
        else:
            words = f"{ended:,} were done already and stay done; {operation.total - ended:,} were left as they were."
        messages.success(self.request, f"Stopped. {words}")
        return ""

    def retry(self, operation: Operation, user: User) -> str:
        """Plan the failed rows again, and lead to their dry-run."""
        again = operations.retry_failed(operation, user=user)
        waking.where_due(again)
        return reverse("operation", args=[again.pk])

    def comment(self, operation: Operation, user: User) -> str:
        """Write what was done and what came of it under the cause, and lead there."""
        if operation.case is None:
            raise operations.OperationRefused("This operation is about no cause, so there is nothing to comment on.")
        access.require(user, COMMENTERS, operation.entity_id)
        url = self.request.build_absolute_uri(reverse("operation", args=[operation.pk]))
        text = telling.as_comment(operation, telling.told(operation), url)
        CaseComment.objects.create(case=operation.case, author=user, at=now(), text=text, mentions=[])
        messages.success(self.request, "Copied as a comment on the cause.")
        return f"{reverse('cause', args=[operation.case_id])}#timeline"

    def told(self, operation: Operation) -> dict[str, Any]:
        """What the head and the progress show."""
        user = self.request.user
        may_comment = operation.case_id is not None and access.may(user, COMMENTERS, operation.entity_id)
        return {
            "title": operation.title,
            "operation": operation,
            "told": telling.told(operation),
            "scope": telling.scope_of(operation),
            "promised": telling.promised(operation),
            "may": access.may(user, FIXES[operation.fix].roles, operation.entity_id),
            "may_comment": may_comment,
            "wanted": self.wanted,
            "approval": self.approval(operation),
            "audit": f"{reverse('audit')}?object_type={operation._meta.model_name}&object_id={operation.pk}",
        }

    def approval(self, operation: Operation) -> str:
        """The address of the second person's decision in the audit trail, for those who may read it there."""
        if operation.decided_by_id is None:
            return ""
        events = AuditEvent.objects.visible_to(self.request.user).filter(
            object_type=operation._meta.model_name, object_id=str(operation.pk),
            action__in=["operation.approved", "operation.refused"],
        )  # fmt: skip
        event = events.order_by("-pk").first()
        return reverse("audit_event", args=[event.pk]) if event is not None else ""

    @property
    def wanted(self) -> str:
        """The phase that the address asks for; empty for all rows."""
        asked = self.request.GET.get("result", "")
        return asked if asked in Phase.values else ""

    def found(self, operation: Operation) -> QuerySet[Any]:
        """The rows, or those in one phase."""
        found = operations.with_standing(operation.rows.all()).select_related(
            "entry__resource", "entry__document", "entry__state_row", "entry__project"
        )
        return found.filter(phase=self.wanted) if self.wanted else found

    def rows_of(self, operation: Operation) -> dict[str, Any]:
        """The page of rows."""
        queryset = self.found(operation).order_by("id")
        count = operation.total if not self.wanted else operations.with_phase(operation.rows.all()).filter(
            phase=self.wanted
        ).count()  # fmt: skip
        context = rows.paged(self.request, ResultTable, queryset, count=count)
        self.prepare(operation, rows.records_of(context["table"]))
        return context

    def prepare(self, operation: Operation, records: list[Any]) -> None:
        """Tell some rows what they show beside their own columns."""
        rows.tell_words(records, lambda row: row.entry)
        rows.tell_holds(records, operation.case_id)
        telling.tell_results(operation, records)

    def export(self, operation: Operation, form: str) -> HttpResponseBase:
        """Every row with its result, as a file."""
        queryset = self.found(operation).order_by("id")
        now_told = telling.told(operation)
        heading = export.Heading(
            title=operation.title,
            filters=[
                now_told.standing.label,
                now_told.sentence,
                *([f"Only: {Phase(self.wanted).label}"] if self.wanted else []),
                f"By: {operation.created_by.get_username()}",
                f"Reason: {operation.reason}",
                f"Scope: {telling.scope_of(operation)}",
                *filter(None, [telling.decided(operation)]),
            ],
            person=self.request.user.get_username(),
            count=queryset.count(),
        )
        sheet = export.Sheet(
            table=ResultTable, queryset=queryset, heading=heading,
            prepare=lambda records: self.prepare(operation, records),
        )  # fmt: skip
        return export.answer(form, sheet, own=export.dialect(cast("User", self.request.user).preferences))


class PlanningPart(OperationPage):
    """The part of a large fix's page that asks how far its dry-run is; when that is done, what was found takes its place."""

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """The figures, or the way to what came of it."""
        operation = self.operation()
        where = "drawer" if request.GET.get("where") == "drawer" else "page"
        if operation.state != Operation.State.PLANNING and (
            where == "page" or operation.state != Operation.State.PLANNED
        ):
            return HttpResponseClientRedirect(reverse("operation", args=[operation.pk]))
        context = self.context(operation=operation, where=where, asked=operation.asked.get("step", ""))
        return render(request, "reconciliation/planning_part.html", context)


class ProgressPart(OperationPage):
    """The part of an operation's page that asks again until nothing moves any more."""

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """How far it is; now and then, and at the end, the rows below are told to come anew."""
        operation = self.operation()
        context = self.told(operation)
        told: telling.Told = context["told"]
        seen = request.GET.get("seen", "")
        moved = told.progress.steps - (keys.key(seen) or 0)
        refresh = moved * REFRESHES >= operation.total or (moved > 0 and not told.progress.is_moving)
        context |= {
            "seen": told.progress.steps if refresh else seen,
            "acts_changed": request.GET.get("key") != told.standing.key,
        }
        answer = render(request, "reconciliation/progress_part.html", self.context(**context))
        if not told.progress.is_moving:
            answer.status_code = STOP_POLLING
            tone = "good" if told.standing.tone == "good" else "warn"
            trigger_client_event(
                answer, "tieout:notice", {"text": f"{operation.title}: {told.sentence}.", "tone": tone}
            )
        elif told.held and not request.GET.get("held"):
            trigger_client_event(answer, "tieout:say", {"text": f"Held: {told.held[0].says}"})
        if refresh or not told.progress.is_moving:
            trigger_client_event(answer, "tieout:rows")
        return answer
