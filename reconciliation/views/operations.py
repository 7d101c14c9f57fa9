"""Bulk fixes as they run: how far each has come, what came of every row, and how to stop it or try the rest again."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from django.contrib import messages
from django.core.exceptions import BadRequest
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django_htmx.http import HttpResponseClientRedirect, trigger_client_event

from portal import access, export
from portal.figures import span
from portal.models import State
from portal.screens import Empty, ListScreen, Screen, Tab
from portal.tables import STATE_TONES
from reconciliation import operations
from reconciliation.filters import OperationFilter
from reconciliation.fixes import FIXES
from reconciliation.models import Operation, OperationRow
from reconciliation.tables import RESULT_TONES, OperationRowTable, OperationTable
from reconciliation.views import fixing, rows

STOP_POLLING = 286  # what htmx takes as the end of polling
SETTLED = (State.HELD, State.POSTED, State.RECONCILED, State.REVERSED, State.CANCELLED, State.REJECTED)
WATCHED = 600  # seconds after its end that an operation's entries are watched on their way


class OperationList(ListScreen):
    """Every bulk fix that was confirmed, the latest first."""

    title = "Operations"
    caption = "Bulk fixes, the latest first"
    queryset = Operation.objects.exclude(state=Operation.State.PLANNED).select_related("entity", "created_by")
    filterset = OperationFilter
    table = OperationTable
    tabs = (
        Tab("all", "All"),
        Tab("running", "Running", lambda _user: Q(state=Operation.State.RUNNING)),
        Tab("mine", "Mine", lambda user: Q(created_by=user)),
        Tab("failed", "With failures", lambda _user: Q(failed__gt=0)),
    )
    empty = Empty(
        "No operation yet",
        "A fix of a cause becomes an operation: it keeps what was done to which entry, by whom and why.",
    )


class OperationPage(Screen):
    """One operation: its dry-run until it is confirmed, then its progress and the result of every row."""

    template_name = "reconciliation/operation.html"

    def operation(self) -> Operation:
        """The operation of this address, where the person may see its entity."""
        found = Operation.objects.visible_to(self.request.user).select_related("entity", "created_by", "case")
        return get_object_or_404(found, pk=self.kwargs["pk"])

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """The dry-run, the page, or its rows."""
        operation = self.operation()
        if operation.state == Operation.State.PLANNED:
            return fixing.preview_of(self, operation)
        if request.GET.get("export") in export.FORMATS:
            return self.export(operation, request.GET["export"])
        context = {**self.told(operation), **self.rows_of(operation)}
        htmx = getattr(request, "htmx", None)
        part = "reconciliation/operation_rows.html" if htmx and htmx.target == "results" else ""
        return self.page(self.context(**context), template=part)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Confirm, cancel, or try again what failed."""
        operation = self.operation()
        access.require(request.user, FIXES[operation.fix].roles, operation.entity_id)
        action = request.POST.get("action", "")
        here = reverse("operation", args=[operation.pk])
        if action == "confirm":
            return self.confirm(operation, here)
        try:
            if action == "cancel":
                was_planned = operation.state == Operation.State.PLANNED
                operations.cancel(operation, user=request.user)  # type: ignore[arg-type]
                messages.success(request, "Cancelled. What is done stays done; the rest was left as it was.")
                here = fixing.back_url(operation) if was_planned else here
            elif action == "retry":
                again = operations.retry_failed(operation, user=request.user)  # type: ignore[arg-type]
                here = reverse("operation", args=[again.pk])
            else:
                raise BadRequest(f"There is no action “{action}” here.")
        except fixing.REFUSALS as refusal:
            messages.error(request, str(refusal))
        return HttpResponseRedirect(here, status=HTTPStatus.SEE_OTHER)

    def confirm(self, operation: Operation, here: str) -> HttpResponse:
        """Let it run. A second click on the same preview leads to what the first one began."""
        answer = fixing.confirm(self, operation)
        if answer.status_code == HTTPStatus.UNPROCESSABLE_ENTITY:
            operation.refresh_from_db()
            if operation.confirmed_at is not None and operation.created_by_id == self.request.user.pk:
                is_htmx = getattr(self.request, "htmx", None)
                return (
                    HttpResponseClientRedirect(here)
                    if is_htmx
                    else HttpResponseRedirect(here, status=HTTPStatus.SEE_OTHER)
                )
        return answer

    def told(self, operation: Operation) -> dict[str, Any]:
        """What the head and the progress show."""
        may = access.may(self.request.user, FIXES[operation.fix].roles, operation.entity_id)
        return {"title": operation.title, "operation": operation, "may": may, **progress_of(operation)}

    def found(self, operation: Operation) -> QuerySet[OperationRow]:
        """The rows, or those with one result."""
        found = operation.rows.select_related(
            "entry__resource", "entry__document", "entry__state_row", "entry__project", "successor__state_row"
        )
        wanted = self.request.GET.get("result", "")
        return found.filter(result=wanted) if wanted in OperationRow.Result.values else found

    def rows_of(self, operation: Operation) -> dict[str, Any]:
        """The page of rows."""
        queryset = self.found(operation).order_by("id")
        context = rows.paged(self.request, OperationRowTable, queryset, count=queryset.count())
        records = rows.records_of(context["table"])
        rows.tell_words(records, lambda row: row.entry)
        rows.tell_holds(records, operation.case_id)
        return {**context, "wanted": self.request.GET.get("result", "")}

    def export(self, operation: Operation, form: str) -> HttpResponseBase:
        """Every row with its result, as a file."""
        queryset = self.found(operation).order_by("id")
        heading = export.Heading(
            title=operation.title,
            filters=[operation.get_state_display(), f"Reason: {operation.reason}"],
            person=self.request.user.get_username(),
            count=queryset.count(),
        )
        return export.answer(form, export.Sheet(table=OperationRowTable, queryset=queryset, heading=heading))


class ProgressPart(OperationPage):
    """The part of an operation's page that asks again until nothing moves any more."""

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """How far it is; the end of it tells the rows below to come anew."""
        operation = self.operation()
        told = self.told(operation)
        answer = render(request, "reconciliation/progress.html", self.context(**told))
        if not told["is_moving"]:
            answer.status_code = STOP_POLLING
            trigger_client_event(answer, "tieout:rows")
            trigger_client_event(answer, "tieout:say", {"text": f"{operation.title}: {told['sentence']}"})
        elif operation.state == Operation.State.DONE and request.GET.get("state") == Operation.State.RUNNING:
            trigger_client_event(answer, "tieout:rows")
        return answer


def progress_of(operation: Operation) -> dict[str, Any]:
    """How far an operation and its entries have come, in figures and in a sentence."""
    found = dict(operation.rows.order_by().values_list("result").annotate(Count("pk")))
    counts = {str(result): found.get(str(result), 0) for result in OperationRow.Result}
    standing = operations.with_phase(operation.rows.all()).order_by().values_list("stands").annotate(Count("pk"))
    posting = dict(standing)
    over = operation.total - counts[OperationRow.Result.PENDING]
    is_running = operation.state == Operation.State.RUNNING
    under_way = any(State(state) not in SETTLED for state in posting)
    ended = operation.finished_at
    watched = ended is not None and (timezone.now() - ended).total_seconds() < WATCHED
    return {
        "counts": [
            (OperationRow.Result(r), RESULT_TONES.get(OperationRow.Result(r), ""), n) for r, n in counts.items() if n
        ],
        "posting": [(State(state).label, STATE_TONES.get(State(state), ""), n) for state, n in posting.items()],
        "over": over,
        "failed": counts[OperationRow.Result.FAILED] + counts[OperationRow.Result.SKIPPED],
        "is_running": is_running,
        "is_moving": is_running or (under_way and watched),
        "sentence": _sentence(operation, counts, over),
    }


def _sentence(operation: Operation, counts: dict[str, int], over: int) -> str:
    words = [f"{counts[OperationRow.Result.DONE]:,} of {operation.total:,} done"]
    for result, word in (
        (OperationRow.Result.FAILED, "failed"),
        (OperationRow.Result.SKIPPED, "changed meanwhile"),
        (OperationRow.Result.CANCELLED, "cancelled"),
    ):
        if counts[result]:
            words.append(f"{counts[result]:,} {word}")
    if operation.state == Operation.State.RUNNING:
        if operation.started_at is None:
            words.append("waiting for a worker")
        elif over and over < operation.total:
            passed = timezone.now() - operation.started_at
            words.append(f"about {span(passed / over * (operation.total - over))} left")
    return " · ".join(words)


class RunningPart(Screen):
    """The chip in the top bar: operations of this person that run now."""

    def get(self, request: HttpRequest) -> HttpResponse:
        """The chip, or nothing; one query."""
        mine = Operation.objects.visible_to(request.user).filter(
            state=Operation.State.RUNNING, created_by_id=request.user.pk
        )
        found = list(mine.order_by("-id")[:10])
        return render(request, "reconciliation/running.html", {"operations": found})
