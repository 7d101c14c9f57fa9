"""Fixing: what a fix asks for, its dry-run on the real entries, and the confirmation that lets it run.

The rule here: nothing is changed before a person has seen what would come of it, row by row and in money, and has said why.
What was seen is what is done: entries that moved meanwhile are not touched, and the preview is offered anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import partial
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import DatabaseError
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.http import urlencode
from django_htmx.http import HttpResponseClientRedirect

from portal import access, keys
from portal.models import Connection, GrantRole, LedgerEntry, LedgerState, State
from portal.screens import Screen
from portal.screens.base import PAGE, layout, leave
from portal.screens.sources import why_untold
from reconciliation import operations, suggestions
from reconciliation.fixes import FIXES, Fix
from reconciliation.fixes.base import FixForm
from reconciliation.fixes.editing import EditEntries
from reconciliation.models import ExceptionCase, Operation
from reconciliation.rules import BY_CODE
from reconciliation.tables import BriefPreview, PreviewTable, short_title_of
from reconciliation.views import asking, remedies, rows, telling, waking

REFUSALS = tuple(kind for kind in operations.OF_THE_ROW if kind is not DatabaseError)
SPOKEN_FOR = frozenset(
    {
        "waive",
        "accept-source-rate",
        "make-non-billable",
        "same-work",
        "reverse",
        "reverse-and-rebook",
        "put-back",
        "call-back-reversal",
        "book-again",
        "leave-out",
        "taken-back-there",
    }
)
ON_ENTRY: dict[str, tuple[str, ...]] = {
    State.REJECTED: ("re-post",),
    State.IN_DOUBT: ("check-in-target",),
    State.ACCEPTED: ("check-in-target", "reverse"),
    State.POSTED: ("reverse",),
    State.RECONCILED: ("reverse",),
    State.REVERSED: ("put-back",),
    State.HELD: ("recheck", "hand-back"),
}
ON_REVERSAL: dict[str, tuple[str, ...]] = {
    State.HELD: ("call-back-reversal",),
    State.READY: ("call-back-reversal",),
    State.REJECTED: ("re-post", "call-back-reversal"),
    State.IN_DOUBT: ("check-in-target",),
    State.ACCEPTED: ("check-in-target",),
}  # the same for an entry that takes another one back


def fixes_of(state: str, *, is_reversal: bool = False) -> list[type[Fix]]:
    """What can be done with one entry in a state, without a cause."""
    return [FIXES[code] for code in (ON_REVERSAL if is_reversal else ON_ENTRY).get(state, ())]


class FixScreen(Screen):
    """Asks what a fix needs, and plans it: for all entries of a cause, for chosen ones, or for one entry."""

    template_name = "reconciliation/fix.html"
    case: ExceptionCase | None = None
    entry: LedgerEntry | None = None
    fix: type[Fix]

    def setup(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        """Keep what the address names; it is looked up once the person is known."""
        super().setup(request, *args, **kwargs)
        code = kwargs["code"]
        if code not in FIXES:
            raise Http404(f"There is no fix “{code}”.")
        self.fix = FIXES[code]

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """The form, filled in where the way out is sure."""
        self.find()
        if self.unreadable(request.GET):
            return self.ask(self.form(), status=HTTPStatus.UNPROCESSABLE_ENTITY)
        values = {**self.suggested(), **{name: request.GET[name] for name in self.fields() if name in request.GET}}
        form = self.form(initial=values)
        return self.ask(form, complete=self.is_complete(form, values) and "edit" not in request.GET)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Plan the operation, and show its dry-run."""
        self.find()
        form = self.form(request.POST)
        if self.unreadable(request.POST) or not form.is_valid():
            return self.ask(form, status=HTTPStatus.UNPROCESSABLE_ENTITY)
        chosen = self.chosen(request.POST)
        try:
            operation = operations.plan(
                self.fix.code,
                user=request.user,  # type: ignore[arg-type]
                parameters=form.parameters(),
                reason=self.reason(),
                case=self.case,
                entry_ids=chosen,
            )
        except REFUSALS as refusal:
            form.add_error(None, ValidationError(str(refusal)))
            return self.ask(form, status=HTTPStatus.UNPROCESSABLE_ENTITY)
        self.replace(request.POST.get("replaces", ""))
        waking.where_due(operation)
        return HttpResponseRedirect(reverse("operation", args=[operation.pk]), status=HTTPStatus.SEE_OTHER)

    def replace(self, key: str) -> None:
        """Forget the person's own dry-run that this one takes the place of."""
        number = keys.key(key)
        if number is not None:
            own = Operation.objects.filter(pk=number, created_by_id=self.request.user.pk, confirmed_by=None)
            own.filter(state=Operation.State.PLANNED, fix=self.fix.code, case=self.case).delete()

    def find(self) -> None:
        """The cause or the entry, and the right to fix it. What may not be seen is not found."""
        if "case" in self.kwargs:
            causes = ExceptionCase.objects.visible_to(self.request.user).select_related("entity", "connection")
            self.case = get_object_or_404(causes, pk=self.kwargs["case"])
            if self.fix.code not in usable(self.case.rule):
                raise Http404(f"“{self.fix.label}” does not help here.")
            entity_id = self.case.entity_id
        else:
            entries = LedgerEntry.objects.visible_to(self.request.user).select_related("state_row", "entity")
            self.entry = get_object_or_404(entries, pk=self.kwargs["pk"])
            entity_id = self.entry.entity_id
        if not access.may(self.request.user, self.fix.roles, entity_id):
            names = ", ".join(sorted(GrantRole(role).label.lower() for role in self.fix.roles))
            raise PermissionDenied(f"“{self.fix.label}” is for: {names}.")

    def form(self, data: Any = None, *, initial: dict[str, Any] | None = None) -> FixForm:
        """The fix's own form."""
        return asking.form_of(self.fix, self.case, self.request.user, data, initial=initial, near=self.near)

    def fields(self) -> list[str]:
        """The names of what the form asks."""
        return list(self.fix.form_class.base_fields)

    def suggested(self) -> dict[str, str]:
        """What is filled in beforehand, where one suggestion is sure."""
        return dict(self.sure.values) if self.sure is not None else {}

    @cached_property
    def near(self) -> list[suggestions.Suggestion]:
        """What most likely mends the cause by this fix, the best first."""
        if self.case is None:
            return []
        offered = suggestions.of([self.case], deeply=True)[self.case.pk]
        return [one for one in offered if one.remedy == self.fix.code]

    @property
    def sure(self) -> suggestions.Suggestion | None:
        """The suggestion that fills the form."""
        return next((one for one in self.near if one.is_sure), None)

    def is_complete(self, form: FixForm, values: dict[str, Any]) -> bool:
        """Whether nothing is left to be asked, so that the dry-run can begin by itself."""
        return all(values.get(name) or not field.required for name, field in form.fields.items())

    def unreadable(self, data: Any) -> str:
        """What the request says of entries and cannot mean, in a sentence; empty where it can be read.

        A selection that cannot be read is never taken for the whole cause.
        """
        reach = data.get("reach", "")
        if reach not in ("", Operation.Reach.ALL, Operation.Reach.SELECTED):
            return f"“{reach}” is no choice of entries; expected “all” or “selected”."
        return asking.unreadable(data.getlist("selected"))

    def chosen(self, data: Any) -> list[int] | None:
        """The entries that the request names; None for all that the cause holds."""
        if self.entry is not None:
            return [self.entry.pk]
        if data.get("reach") == Operation.Reach.ALL:
            return None
        named = keys.keys(data.getlist("selected"))
        if not data.getlist("selected"):
            return None
        states = LedgerState.objects.visible_to(self.request.user).filter(
            entry__in=named, entry__holds__case=self.case, entry__holds__closed_at=None
        )
        return sorted(set(states.values_list("entry_id", flat=True)))

    def reason(self) -> str:
        """What the confirmation proposes as reason; the dry-run needs one as the real thing does."""
        return f"{self.fix.label}: {self.case.sentence}" if self.case is not None else self.fix.label

    def back(self) -> str:
        """Where the person came from."""
        if self.case is not None:
            return reverse("cause", args=[self.case.pk])
        return reverse("entry", args=[self.kwargs["pk"]])

    def ask(self, form: FixForm, *, complete: bool = False, status: int = HTTPStatus.OK) -> HttpResponse:
        """The form."""
        data = self.request.POST if form.is_bound else self.request.GET
        chosen, refusal = self.chosen(data), self.unreadable(data)
        try:
            count = operations.count_fixable(self.fix(), self.case, chosen)
        except operations.OperationRefused:
            count = 0
        case = self.case
        context = self.context(
            title=self.fix.label,
            fix=self.fix,
            case=case,
            entry=self.entry,
            form=form,
            count=count,
            refusal=refusal,
            large=count > settings.PLAN_AT_ONCE,
            chosen=chosen if self.entry is None else None,
            complete=complete and count > 0 and not refusal,
            untold=why_untold(self.sources(chosen)) if self.fix.asks_source and count else [],
            near=remedies.addressed((one for one in self.near if one.score is not None), self.request.path),
            future=asking.FUTURE,
            submit_to=self.request.path,
            back=self.back(),
            rule_title=short_title_of(case.rule) if case is not None else "",
        )
        return self.page(context, status=status)

    def sources(self, chosen: Sequence[int] | None) -> QuerySet[Connection]:
        """Where the entries that it reaches come from."""
        reached = operations.fixable(self.fix(), self.case, chosen)
        found = LedgerEntry.objects.filter(pk__in=reached).order_by().values("source").distinct()
        return Connection.objects.filter(pk__in=found).order_by("code")


def usable(rule_code: str) -> set[str]:
    """The fixes that a cause of this rule may take."""
    rule = BY_CODE.get(rule_code)
    if rule is None:
        return {"recheck"}
    return {*rule.remedies, "recheck", "handled-outside", *(("waive",) if rule.waivable else ())} & set(FIXES)


def preview_of(
    screen: Screen, operation: Operation, *, refusal: Exception | None = None, status: int = HTTPStatus.OK
) -> HttpResponse:
    """The dry-run of an operation that does not run yet: what passes, what is still held and why, money before and after.

    Who planned it confirms it; where it waits for a second person, that person approves or refuses it. While a worker plans it,
    how far that is.
    """
    if operation.state == Operation.State.PLANNING:
        return screen.page(planning_of(screen, operation), template="reconciliation/planning.html")
    fix = FIXES[operation.fix]
    found = rows.paged(
        screen.request,
        PreviewTable if layout(screen.request) == PAGE else BriefPreview,
        operation.rows.select_related(
            "entry__resource", "entry__document", "entry__state_row", "entry__project", "successor__state_row"
        ).order_by("will_pass", "id"),
        count=operation.total,
        per_page=25,
    )
    records = rows.records_of(found["table"])
    rows.tell_words(records, lambda row: row.entry)
    rows.tell_holds(records, operation.case_id)
    preview = operation.preview
    context = screen.context(
        title=operation.title,
        operation=operation,
        fix=fix,
        preview=preview,
        waits=fix.leaves_held,
        money=_money(preview),
        invoiced=_invoiced(preview),
        scope=telling.scope_of(operation),
        refusal=str(refusal or operation.moved.get("says", "")),
        difference=getattr(refusal, "difference", None) or (operation.moved if "now" in operation.moved else None),
        is_new=refusal is None and "now" in operation.moved,
        second_person=operation.second_person or operations.second_person_needed(operation),
        can_decide=operations.can_decide(operation, screen.request.user),
        reason="" if operation.fix in SPOKEN_FOR else operation.reason,
        is_own=operation.created_by_id == screen.request.user.pk,
        edit=edit_url(operation),
        **_asked(screen, operation),
        back=back_url(operation),
        **found,
    )
    return screen.page(context, template="reconciliation/preview.html", status=status)


def planning_of(screen: Screen, operation: Operation) -> dict[str, Any]:
    """How far a worker is with the dry-run, and what it is for."""
    asked = operation.asked.get("step", "")
    return screen.context(
        title=operation.title,
        operation=operation,
        asked=asked,
        may=access.may(screen.request.user, FIXES[operation.fix].roles, operation.entity_id),
        back=back_url(operation),
        where="drawer" if layout(screen.request) != PAGE else "page",
    )


def _asked(screen: Screen, operation: Operation) -> dict[str, Any]:
    """What was asked, to be answered otherwise above the dry-run: the form, and the reach where entries were chosen."""
    user = screen.request.user
    if operation.state != Operation.State.PLANNED or operation.created_by_id != user.pk:
        return {}
    if operation.case is None or operation.fix not in usable(operation.case.rule):
        return {}
    fix = FIXES[operation.fix]
    form = asking.form_of(fix, operation.case, user, initial=operation.parameters)
    for field in form.fields.values():
        field.widget.attrs.pop("autofocus", None)
    chosen = None
    if operation.reach == Operation.Reach.SELECTED:
        chosen = list(operation.rows.order_by("entry_id").values_list("entry_id", flat=True))
    return {
        "form": form,
        "future": asking.FUTURE,
        "chosen": chosen,
        "submit_to": reverse("fix", args=[operation.case_id, operation.fix]),
        "everything": operations.count_fixable(fix(), operation.case) if chosen else 0,
    }


def _invoiced(preview: dict[str, Any]) -> dict[str, Any]:
    """What of the entries stands on bills; empty where nothing does, or the fix takes nothing back."""
    found = preview.get("invoiced") or {}
    if not found.get("entries"):
        return {}
    return {**found, "bills": [{**bill, "amount": Decimal(bill["amount"])} for bill in found["bills"]]}


def _money(preview: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"currency": code, **{name: Decimal(value) for name, value in sums.items()}}
        for code, sums in preview.get("money", {}).items()
        if code
    ]


def edit_url(operation: Operation) -> str:
    """The form of the fix with what was said, to say something else."""
    query: list[tuple[str, Any]]
    if operation.fix == EditEntries.code:
        query = [("operation", operation.pk), *(("selected", key) for key in operation.parameters["rows"])]
        return f"{reverse('cause_edit', args=[operation.case_id])}?{urlencode(query)}"
    query = [("edit", 1)]
    query += [(name, said) for name, said in operation.parameters.items() if isinstance(said, str | int) and said != ""]
    if operation.case_id is None:
        entry_id = operation.rows.values_list("entry_id", flat=True).first()
        address = reverse("fix_entry", args=[entry_id, operation.fix])
    else:
        address = reverse("fix", args=[operation.case_id, operation.fix])
        if operation.reach != Operation.Reach.ALL:
            query += [("selected", entry_id) for entry_id in operation.rows.values_list("entry_id", flat=True)]
    return f"{address}?{urlencode(query)}"


def back_url(operation: Operation) -> str:
    """The cause or the entry that the operation is about."""
    if operation.case_id is not None:
        return reverse("cause", args=[operation.case_id])
    entry_id = operation.rows.values_list("entry_id", flat=True).first()
    return reverse("entry", args=[entry_id])


def confirm(screen: Screen, operation: Operation) -> HttpResponse:
    """Let the operation run or wait for a second person, and go to its page; or say why not, with the preview again."""
    reason = screen.request.POST.get("reason", "")
    if FIXES[operation.fix].needs_reason and not reason.strip():
        refusal = operations.OperationRefused("Say why: the reason is kept with every entry.")
        return preview_of(screen, operation, refusal=refusal, status=HTTPStatus.UNPROCESSABLE_ENTITY)
    return _act(screen, operation, partial(operations.confirm, reason=reason))


def again(screen: Screen, operation: Operation) -> HttpResponse:
    """A new dry-run of what was planned, on the rows that it reaches now."""
    return _act(screen, operation, operations.renew)


def approve(screen: Screen, operation: Operation) -> HttpResponse:
    """The second person agrees."""
    step = partial(operations.approve, comment=screen.request.POST.get("comment", ""))
    return _decide(screen, operation, step, "Approved, and it runs: {}.")


def refuse(screen: Screen, operation: Operation) -> HttpResponse:
    """The second person does not agree."""
    step = partial(operations.refuse, comment=screen.request.POST.get("comment", ""))
    return _decide(screen, operation, step, "Refused: {}. Nothing was changed.")


STEPS: dict[str, Callable[[Screen, Operation], HttpResponse]] = {
    "confirm": confirm,
    "again": again,
    "approve": approve,
    "refuse": refuse,
}
BEFORE_IT_RUNS = (
    Operation.State.PLANNING,
    Operation.State.PLANNED,
    Operation.State.AWAITING,
)  # the states in which the dry-run is shown


def _decide(screen: Screen, operation: Operation, step: Callable[..., Operation], words: str) -> HttpResponse:
    """The second person's answer. The same one again is no error; over a list, the list stays and says what was decided."""
    request = screen.request
    here = reverse("operation", args=[operation.pk])
    try:
        after = step(operation, user=request.user)
    except operations.Decided as same:
        messages.info(request, str(same))
        return leave(request, here)
    except REFUSALS as refusal:
        operation.refresh_from_db()
        return preview_of(screen, operation, refusal=refusal, status=HTTPStatus.UNPROCESSABLE_ENTITY)
    waking.where_due(after)
    if after.state == Operation.State.PLANNING:
        words = "You have agreed: {}. A worker looks at it once more, and it runs where it says the same."
    messages.success(request, words.format(operation.title))
    return leave(request, here)


def _act(screen: Screen, operation: Operation, step: Callable[..., Operation]) -> HttpResponse:
    """Do one step of a person, wake a worker where it may run now, and go to the operation's page; or say why not."""
    request = screen.request
    try:
        after = step(operation, user=request.user)
    except REFUSALS as refusal:
        operation.refresh_from_db()
        return preview_of(screen, operation, refusal=refusal, status=HTTPStatus.UNPROCESSABLE_ENTITY)
    waking.where_due(after)
    url = reverse("operation", args=[operation.pk])
    if getattr(request, "htmx", None) and after.state not in (Operation.State.PLANNED, Operation.State.PLANNING):
        return HttpResponseClientRedirect(url)
    return HttpResponseRedirect(url, status=HTTPStatus.SEE_OTHER)
