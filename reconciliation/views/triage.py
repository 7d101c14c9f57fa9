"""What a person does to causes before they fix them, one by one or in bulk: each is done at once and can be undone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, ClassVar

from django import forms
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode

from portal import keys
from portal.models import AccountingPeriod, User
from portal.models.access import ScopedQuerySet
from portal.screens import Action, Outcome, Screen
from portal.screens.actions import ActionsMixin, Refused
from reconciliation import triage
from reconciliation.models import Decision, ExceptionCase, Team
from reconciliation.models.triage import LONGEST_IGNORE

TYPED: dict[str, Any] = {"data-typeahead": True, "autofocus": True}
OFFERED_AT_MOST = 200  # causes to merge into; where there are more, another one is named by its number
MOST_COMMENTED = 50
UNTIL = [("date", "a day"), ("sync", "the source was read again"), ("period", "a period opens")]


def counted(count: int) -> str:
    """So many causes, in words."""
    return "1 cause" if count == 1 else f"{count:,} causes"


def decided(decide: Callable[[], Decision]) -> Outcome:
    """Decide, and say what was decided with the way to undo it; what is not possible is refused in its own words."""
    try:
        decision = decide()
    except triage.NotPossible as reason:
        raise Refused(str(reason)) from reason
    words = f"{counted(decision.cases.count())} {decision.words}."
    return Outcome(words[0].upper() + words[1:], undo=reverse("triage_undo", args=[decision.pk]))


class Triage(Action):
    """An action on causes. Subclasses say what is decided."""

    roles: ClassVar[frozenset[str]] = triage.TRIAGERS
    tabs: ClassVar[frozenset[str]] = frozenset({"open", "mine", "regressed", "running"})  # where a list offers it

    @property
    def ids(self) -> list[int]:
        """The chosen causes."""
        return list(self.queryset.order_by("pk").values_list("pk", flat=True))

    @property
    def entities(self) -> set[int]:
        """The entities of the chosen causes."""
        return set(self.queryset.order_by().values_list("entity_id", flat=True))

    def question(self, count: int) -> str:
        """The heading."""
        return f"{self.label}: {counted(count)}"

    def decide(self, ids: Sequence[int], user: User) -> Decision:
        """What is decided."""
        raise NotImplementedError

    def apply(self, queryset: QuerySet[Any], user: Any) -> Outcome:
        """Decide, and offer to undo it."""
        return decided(lambda: self.decide(list(queryset.order_by("pk").values_list("pk", flat=True)), user))


class AssignToMe(Triage):
    """Take the causes on."""

    name, label, key, immediate = "assign_me", "Assign to me", "assign_me", True
    tabs = Triage.tabs | {"waiting"}

    def decide(self, ids: Sequence[int], user: User) -> Decision:
        """The person becomes the owner."""
        return triage.assign(ids, by=user, to=user)


class Assign(Triage):
    """Give the causes to somebody who can fix them, to a team, or to nobody."""

    name, label, key = "assign", "Assign", "assign"
    tabs = Triage.tabs | {"waiting"}
    to = forms.ChoiceField(label="To", widget=forms.Select(attrs=TYPED))
    reason = forms.CharField(label="Note", required=False, max_length=300)

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        field = self.fields["to"]
        if isinstance(field, forms.ChoiceField):
            people = triage.assignable(self.entities)
            field.choices = [
                ("nobody", "Nobody"),
                ("Teams", [(f"team:{one.pk}", one.name) for one in triage.teams_for(self.entities)]),
                ("People", [(f"user:{one.pk}", name_of(one)) for one in people]),
            ]

    def decide(self, ids: Sequence[int], user: User) -> Decision:
        """The chosen one has them."""
        kind, _, pk = self.cleaned_data["to"].partition(":")
        to: User | Team | None = None
        if kind == "team":
            to = triage.teams_for(self.entities).get(pk=pk)
        elif kind == "user":
            to = triage.assignable(self.entities).get(pk=pk)
        return triage.assign(ids, by=user, to=to, reason=self.cleaned_data["reason"])


def name_of(user: User) -> str:
    """The name with the sign-in name, so that people of one name are told apart."""
    full = user.get_full_name()
    return f"{full} ({user.get_username()})" if full else user.get_username()


class Snooze(Triage):
    """Put the causes out of sight until something happens."""

    name, label, key = "snooze", "Snooze", "snooze"
    until = forms.ChoiceField(
        label="Until",
        choices=UNTIL,
        widget=forms.RadioSelect(),
        initial="date",
    )
    date = forms.DateField(label="Day", required=False, widget=forms.DateInput(attrs={"type": "date"}))
    period = forms.ModelChoiceField(
        AccountingPeriod.objects.none(), label="Period", required=False, empty_label="Choose the period"
    )
    reason = forms.CharField(label="Note", required=False, max_length=300)

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.fields["date"].initial = next_monday()
        field = self.fields["period"]
        if isinstance(field, forms.ModelChoiceField):
            periods: ScopedQuerySet[Any] = AccountingPeriod.objects.visible_to(self.user)
            closed = periods.filter(entity__in=self.entities).exclude(state=AccountingPeriod.State.OPEN)
            field.queryset = closed.select_related("entity").order_by("-starts_on")
            if not closed.exists():
                del self.fields["period"]
                choices = self.fields["until"]
                if isinstance(choices, forms.ChoiceField):
                    choices.choices = UNTIL[:2]

    def clean(self) -> dict[str, Any]:
        """What is waited for must be said."""
        said = super().clean() or {}
        for name, words in (("date", "Choose the day."), ("period", "Choose the period.")):
            if said.get("until") == name and not said.get(name) and name not in self.errors:
                self.add_error(name, words)
        return said

    def decide(self, ids: Sequence[int], user: User) -> Decision:
        """They sleep."""
        until = self.cleaned_data["until"]
        return triage.snooze(
            ids,
            by=user,
            until=None if until == "sync" else self.cleaned_data[until],
            reason=self.cleaned_data["reason"],
        )


def next_monday() -> Any:
    """The first day of the next working week."""
    today = timezone.localdate()
    return today + timedelta(days=7 - today.weekday())


class Wake(Triage):
    """Bring snoozed causes back."""

    name, label, key, immediate = "wake", "Wake", "snooze", True
    tabs = frozenset({"waiting"})

    def decide(self, ids: Sequence[int], user: User) -> Decision:
        """They are back."""
        return triage.wake(ids, by=user)


class Ignore(Triage):
    """Leave the causes alone, and answer for it."""

    name, label, key = "ignore", "Ignore", "ignore"
    reason = forms.CharField(
        label="Reason", max_length=1000, widget=forms.Textarea(attrs={"rows": 2, "autofocus": True}),
        help_text="Kept with the cause. The entries stay held; above your entity's limit a controller has to ignore it.",
    )  # fmt: skip
    until = forms.DateField(
        label="Until",
        widget=forms.DateInput(attrs={"type": "date"}),
        help_text=f"At most {LONGEST_IGNORE.days} days. It is back earlier when it holds more.",
    )

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        today = timezone.localdate()
        field = self.fields["until"]
        field.initial = today + timedelta(days=30)
        field.widget.attrs |= {
            "min": (today + timedelta(days=1)).isoformat(),
            "max": (today + LONGEST_IGNORE).isoformat(),
        }

    def decide(self, ids: Sequence[int], user: User) -> Decision:
        """They are left alone."""
        return triage.ignore(ids, by=user, reason=self.cleaned_data["reason"], until=self.cleaned_data["until"])


class StopIgnoring(Triage):
    """Bring ignored causes back."""

    name, label, key, immediate = "stop_ignoring", "Stop ignoring", "ignore", True
    tabs = frozenset({"ignored"})

    def decide(self, ids: Sequence[int], user: User) -> Decision:
        """They are back."""
        return triage.stop_ignoring(ids, by=user)


class Tags(Triage):
    """File the causes under words, or take words away."""

    name, label = "tag", "Tag"
    tabs = Triage.tabs | {"waiting", "ignored"}
    add = forms.CharField(
        label="Add", required=False, max_length=200, help_text="Several with commas between them.",
        widget=forms.TextInput(attrs={"autofocus": True}),
    )  # fmt: skip
    remove = forms.MultipleChoiceField(label="Take away", required=False, widget=forms.CheckboxSelectMultiple())

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        present = sorted({one for tags in self.queryset.order_by().values_list("tags", flat=True) for one in tags})
        field = self.fields["remove"]
        if isinstance(field, forms.MultipleChoiceField):
            field.choices = [(one, one) for one in present]
        if not present:
            del self.fields["remove"]

    def decide(self, ids: Sequence[int], user: User) -> Decision:
        """They are filed so."""
        added = self.cleaned_data["add"].split(",")
        return triage.tag(ids, added, by=user, remove=self.cleaned_data.get("remove", ()))


class Merge(Triage):
    """Say that the causes are one with another."""

    name, label = "merge", "Merge"
    into = forms.ModelChoiceField(
        ExceptionCase.objects.none(),
        label="Into",
        widget=forms.Select(attrs=TYPED),
        help_text="Of the same rule and entity. Its entries, and those that this cause will stop, go there.",
    )
    number = forms.CharField(
        label="Or its number", required=False, max_length=20, help_text="As in EX-1042, for one that is not offered."
    )
    reason = forms.CharField(label="Note", required=False, max_length=300)

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        field = self.fields["into"]
        if isinstance(field, forms.ModelChoiceField):
            field.queryset = triage.mergeable(self.ids, self.user)
            largest = list(field.queryset[: OFFERED_AT_MOST + 1])
            if len(largest) > OFFERED_AT_MOST:
                field.required, field.widget.is_required = False, False
            else:
                del self.fields["number"]
            largest = largest[:OFFERED_AT_MOST]
            field.widget.choices = [
                ("", "Choose a cause"),
                *((one.pk, f"EX-{one.pk} · {one.sentence}") for one in largest),
            ]

    def preview(self) -> dict[str, Any]:
        """Say it when there is no cause to choose."""
        field = self.fields["into"]
        if isinstance(field, forms.ModelChoiceField) and not (field.queryset is not None and field.queryset.exists()):
            field.help_text = "There is no other open cause of the same rule in this entity."
        return {}

    def clean(self) -> dict[str, Any]:
        """The number names a cause that these can be merged into, or one was chosen."""
        said = super().clean() or {}
        number = said.get("number", "").strip()
        if number:
            key = keys.key(number.upper().removeprefix("EX-"))
            said["into"] = triage.mergeable(self.ids, self.user).filter(pk=key).first() if key is not None else None
            if said["into"] is None:
                self.add_error("number", "No open cause of the same rule and entity has this number.")
        elif not said.get("into") and "into" not in self.errors:
            self.add_error("into", "Choose a cause, or give its number.")
        return said

    def decide(self, ids: Sequence[int], user: User) -> Decision:
        """They are one."""
        return triage.merge(ids, by=user, into=self.cleaned_data["into"].pk, reason=self.cleaned_data["reason"])


class Unmerge(Triage):
    """Take the merge apart."""

    name, label, in_bulk, immediate = "unmerge", "Take the merge apart", False, True
    tabs = frozenset()

    def apply(self, queryset: QuerySet[Any], user: Any) -> Outcome:
        """Each cause has its own entries again."""
        try:
            decision = triage.unmerge(list(queryset.values_list("pk", flat=True)), by=user)
        except triage.NotPossible as reason:
            raise Refused(str(reason)) from reason
        return Outcome(f"{counted(decision.cases.count())}: {decision.words}.")


class Comment(Triage):
    """Say the same under each of the causes."""

    name, label, key = "comment", "Comment", "comment"
    roles: ClassVar[frozenset[str]] = triage.COMMENTERS
    tabs = Triage.tabs | {"waiting", "ignored", "resolved"}
    text = forms.CharField(
        label="Comment", max_length=4000, widget=forms.Textarea(attrs={"rows": 3, "autofocus": True}),
        help_text="Write @name to tell somebody.",
    )  # fmt: skip

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        one_each = self.queryset.order_by("entity_id", "pk").distinct("entity_id")  # people are those of the entities
        if about := list(one_each.values_list("pk", flat=True)):
            query = urlencode({"also": about[1:]}, doseq=True)
            self.fields["text"].widget.attrs["data-mentions"] = f"{reverse('cause_people', args=[about[0]])}?{query}"

    def apply(self, queryset: QuerySet[Any], user: Any) -> Outcome:
        """Keep what was said."""
        ids = list(queryset.order_by("pk").values_list("pk", flat=True)[: MOST_COMMENTED + 1])
        if len(ids) > MOST_COMMENTED:
            raise Refused(f"Comment at most {MOST_COMMENTED} causes at once.")
        try:
            for pk in ids:
                triage.comment(pk, self.cleaned_data["text"], by=user)
        except triage.NotPossible as reason:
            raise Refused(str(reason)) from reason
        return Outcome(f"Said under {counted(len(ids))}.")


class TakeUp(Triage):
    """Tell colleagues that one is on it."""

    name, label, in_bulk, immediate = "take_up", "I am on it", False, True
    tabs = frozenset()

    def apply(self, queryset: QuerySet[Any], user: Any) -> Outcome:
        """It ends by itself."""
        try:
            for pk in queryset.values_list("pk", flat=True):
                lease = triage.take_up(pk, by=user)
        except triage.NotPossible as reason:
            raise Refused(str(reason)) from reason
        return Outcome(f"Colleagues see that you are on it until {timezone.localtime(lease.until):%H:%M}.")


class LayDown(Triage):
    """Tell colleagues that one is not on it any more."""

    name, label, in_bulk, immediate = "lay_down", "I am not on it any more", False, True
    tabs = frozenset()

    def apply(self, queryset: QuerySet[Any], user: Any) -> Outcome:
        """Others may take it."""
        for pk in queryset.values_list("pk", flat=True):
            triage.lay_down(pk, by=user)
        return Outcome("Colleagues see that nobody is on it.")


IN_LIST: tuple[type[Triage], ...] = (AssignToMe, Assign, Snooze, Ignore, Wake, StopIgnoring, Tags, Merge, Comment)
ON_PAGE: tuple[type[Triage], ...] = (
    AssignToMe, Assign, Snooze, Wake, Ignore, StopIgnoring, Tags, Merge, Unmerge, TakeUp, LayDown,
)  # fmt: skip


def offered_in(tab: str, actions: Sequence[type[Action]]) -> list[type[Action]]:
    """Of the actions that a person may do, those that make sense for the causes of a tab."""
    return [one for one in actions if tab in getattr(one, "tabs", {tab})]


def offered_on(case: Any, user: User, actions: Sequence[type[Action]]) -> list[type[Action]]:
    """Of the actions that a person may do, those that make sense for one cause as it stands."""
    present = {one.user_id for one in triage.present([case.pk]).get(case.pk, ()) if one.operation_id is None}
    is_open, aside = case.state == ExceptionCase.State.OPEN, case.aside
    sense: dict[type[Action], bool] = {
        AssignToMe: is_open and case.owner_id != user.pk,
        Assign: is_open,
        Snooze: is_open and not aside,
        Wake: aside == ExceptionCase.Aside.SNOOZED,
        Ignore: is_open and not aside,
        StopIgnoring: aside == ExceptionCase.Aside.IGNORED,
        Tags: is_open,
        Merge: is_open and case.open_holds > 0,
        Unmerge: case.state == ExceptionCase.State.MERGED,
        TakeUp: is_open and user.pk not in present,
        LayDown: is_open and user.pk in present,
    }
    return [one for one in actions if sense.get(one, True)]


class UndoScreen(ActionsMixin, Screen):
    """Takes a decision back, within its seconds."""

    roles = triage.TRIAGERS

    def back(self) -> str:
        """The queue."""
        return reverse("exceptions")

    def post(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Take it back, or say why that cannot be."""
        user = request.user
        assert isinstance(user, User)  # noqa: S101  a screen lets nobody else in
        own = get_object_or_404(Decision, pk=pk, by=user)
        try:
            decision = triage.undo(own.pk, by=user)
        except triage.NotPossible as reason:
            return self._tell(Outcome(str(reason), tone="bad"), changed=False)
        return self._tell(Outcome(f"Taken back: {decision.words}."), changed=True)
