"""Actions on chosen rows. An action is a form: its fields are what a person must say, `apply` is what happens.

The rule here: what is applied is what was shown. The confirmation carries a signed digest of the rows it named; when the
same filter finds other rows by then, nothing happens and the page asks again. Rows in entities where the person does not
hold the action's role are left out, and the page says how many.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, ClassVar

from django import forms
from django.contrib import messages
from django.core import signing
from django.core.exceptions import BadRequest, PermissionDenied, ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django_htmx.http import HttpResponseClientRedirect, trigger_client_event

from portal.access import may
from portal.models.access import Scope

BULK_LIMIT = 20_000  # rows one action may name; more is a narrower filter or an import
SALT = "portal.screens.actions"
LEVELS = {"good": messages.SUCCESS, "warn": messages.WARNING, "bad": messages.ERROR}  # of an outcome's tone
CONFIRM_WITHIN = 12 * 60 * 60  # seconds a confirmation stays good


class Refused(Exception):
    """The action may not be done; the message is the sentence the person reads."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an action did, in one sentence; `url` is where to go on, `undo` takes it back within ten seconds."""

    message: str
    url: str = ""
    undo: str = ""
    tone: str = "good"


class Action(forms.Form):
    """One thing to do with chosen rows. Subclasses name it, say who may, and write `apply`."""

    name: ClassVar[str]
    label: ClassVar[str]
    roles: ClassVar[frozenset[str]]
    key: ClassVar[str] = ""  # the keyboard's name for it, see portal.screens.keyboard
    sentence: ClassVar[str] = ""  # what is asked; {count} is the number of rows
    of_one: ClassVar[str] = ""  # the same of one row, where its words are others
    button: ClassVar[str] = ""  # the confirming button, when it says more than the label
    tone: ClassVar[str] = ""  # danger for what cannot be taken back
    immediate: ClassVar[bool] = False  # triage that needs neither fields nor a question, because it can be undone
    in_bulk: ClassVar[bool] = True  # offered for a selection, not only on a row's own page
    wide: ClassVar[bool] = False  # asks in the drawer, not in a dialog
    page_template: ClassVar[str] = "screens/action.html"

    do_not_call_in_templates = True  # templates show the class itself, and would call it

    def __init__(self, *args: Any, queryset: QuerySet[Any], user: Any, **more: Any) -> None:
        self.queryset, self.user = queryset, user
        super().__init__(*args, **more)

    def question(self, count: int) -> str:
        """The heading of the confirmation."""
        one = self.of_one or ("" if self.sentence else f"{self.label}: {{count}} row")
        asked = one if count == 1 and one else self.sentence or f"{self.label}: {{count}} rows"
        return asked.format(count=f"{count:,}")

    def preview(self) -> dict[str, Any]:
        """What the confirmation shows besides the fields, for the template; a dry-run, for example."""
        return {}

    def apply(self, queryset: QuerySet[Any], user: Any) -> Outcome:
        """Do it. Raise Refused, or ValidationError for what a field said."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Selection:
    """The rows that an action may touch, and how many were chosen beyond them."""

    queryset: QuerySet[Any]
    keys: tuple[Any, ...]
    left_out: int
    everything: bool  # all that match, not only those ticked

    @property
    def digest(self) -> str:
        """What identifies exactly these rows."""
        return hashlib.sha256("\n".join(str(key) for key in self.keys).encode()).hexdigest()


def select(chosen: QuerySet[Any], action: type[Action], user: Any, *, everything: bool = False) -> Selection:
    """The chosen rows that the person may act on."""
    keys = tuple(chosen.order_by("pk").values_list("pk", flat=True)[: BULK_LIMIT + 1])
    if len(keys) > BULK_LIMIT:
        raise Refused(f"More than {BULK_LIMIT:,} rows are chosen. Narrow the filter and do it in parts.")
    allowed = chosen.model._default_manager.visible_to(user, roles=action.roles).filter(pk__in=keys)
    scope: Scope = getattr(chosen.model, "scope", Scope())
    if scope.shared and not may(user, action.roles, None):  # what all entities share takes a right in all of them
        allowed = allowed.filter(**{f"{scope.path}__isnull": False})
    permitted = tuple(allowed.order_by("pk").values_list("pk", flat=True))
    return Selection(chosen.filter(pk__in=permitted), permitted, len(keys) - len(permitted), everything)


class ActionsMixin:
    """Runs actions for a screen that says what is chosen (`chosen`) and where to return (`back`)."""

    request: HttpRequest
    actions: Sequence[type[Action]] = ()

    def chosen(self, request: HttpRequest) -> tuple[QuerySet[Any], bool]:
        """The rows the request names, and whether that is everything that matches."""
        raise NotImplementedError

    def back(self) -> str:
        """Where a person goes when an action is done and says nothing else."""
        return self.request.get_full_path()

    def permitted(self, roles: frozenset[str]) -> list[type[Action]]:
        """The actions that the person may do somewhere."""
        return [action for action in self.actions if action.roles & roles]

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Ask, or do what was asked and confirmed."""
        action = self._action(request)
        chosen, everything = self.chosen(request)
        try:
            selection = select(chosen, action, request.user, everything=everything)
        except Refused as refusal:
            return self._tell(Outcome(str(refusal), tone="bad"), changed=False)
        if not selection.keys:
            return self._tell(Outcome(_nothing_to_do(selection), tone="warn"), changed=False)
        if action.immediate:
            return self._apply(action(queryset=selection.queryset, user=request.user), selection)
        if "confirmed" not in request.POST:
            form = action(initial=self._initial(request), queryset=selection.queryset, user=request.user)
            return self._ask(form, selection)
        form = action(request.POST, request.FILES, queryset=selection.queryset, user=request.user)
        moved = _moved(request.POST["confirmed"], action, selection)
        if moved:
            return self._ask(form, selection, moved=moved, status=HTTPStatus.UNPROCESSABLE_ENTITY)
        if not form.is_valid():
            return self._ask(form, selection, status=HTTPStatus.UNPROCESSABLE_ENTITY)
        return self._apply(form, selection)

    def _action(self, request: HttpRequest) -> type[Action]:
        name = request.POST.get("action", "")
        for action in self.actions:
            if action.name == name:
                if not action.roles & request.user.roles():  # type: ignore[union-attr]
                    raise PermissionDenied(f"You may not {action.label.lower()} here.")
                return action
        raise BadRequest(f"There is no action “{name}” here.")

    def _initial(self, request: HttpRequest) -> dict[str, Any]:
        return {name.removeprefix("with_"): value for name, value in request.POST.items() if name.startswith("with_")}

    def _apply(self, form: Action, selection: Selection) -> HttpResponse:
        try:
            outcome = form.apply(selection.queryset, self.request.user)
        except (Refused, ValidationError) as refusal:
            if form.immediate:
                return self._tell(Outcome(_sentence(refusal), tone="bad"), changed=False)
            form.add_error(None, _sentence(refusal))
            return self._ask(form, selection, status=HTTPStatus.UNPROCESSABLE_ENTITY)
        return self._tell(outcome, changed=True)

    def _ask(self, form: Action, selection: Selection, *, moved: str = "", status: int = HTTPStatus.OK) -> HttpResponse:
        count = len(selection.keys)
        context = self.context(  # type: ignore[attr-defined]
            title=form.question(count),
            form=form,
            action=form,
            selection=selection,
            count=count,
            moved=moved,
            confirmed=signing.dumps({"action": form.name, "rows": selection.digest}, salt=SALT, compress=True),
            submit_to=self.request.get_full_path(),
            back=self.back(),
            **form.preview(),
        )
        return self.page(context, template=form.page_template, status=status)  # type: ignore[attr-defined,no-any-return]

    def _tell(self, outcome: Outcome, *, changed: bool) -> HttpResponse:
        """Say what happened: beside the page when scripts run, else on the page one returns to."""
        htmx = getattr(self.request, "htmx", None)
        if htmx and not outcome.url:
            answer = HttpResponse(status=HTTPStatus.NO_CONTENT)
            notice = {"text": outcome.message, "tone": outcome.tone, "undo": outcome.undo}
            trigger_client_event(answer, "tieout:notice", notice)
            return trigger_client_event(answer, "tieout:changed") if changed else answer
        messages.add_message(self.request, LEVELS[outcome.tone], outcome.message, extra_tags=outcome.undo)
        url = outcome.url or self.back()
        return HttpResponseClientRedirect(url) if htmx else HttpResponseRedirect(url, status=HTTPStatus.SEE_OTHER)


def _sentence(refusal: Refused | ValidationError) -> str:
    return " ".join(refusal.messages) if isinstance(refusal, ValidationError) else str(refusal)


def _nothing_to_do(selection: Selection) -> str:
    if selection.left_out:
        return f"The {selection.left_out:,} chosen rows lie in entities where you may not do this; nothing was changed."
    return "No row is chosen, or the chosen rows are no longer here; nothing was changed."


def _moved(token: str, action: type[Action], selection: Selection) -> str:
    """A sentence when the rows are not those of the confirmation; empty when they are."""
    try:
        confirmed = signing.loads(token, salt=SALT, max_age=CONFIRM_WITHIN)
    except signing.BadSignature:
        return "This confirmation is too old or was changed on the way. Look at the rows again and confirm."
    if confirmed == {"action": action.name, "rows": selection.digest}:
        return ""
    return (
        f"The rows changed since you opened this: it is now about {len(selection.keys):,}. "
        "Look again and confirm; nothing was changed so far."
    )
