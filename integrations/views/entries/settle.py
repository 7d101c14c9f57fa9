"""Settling a doubt by hand: a number that the target confirms, or, where it can say nothing, the word of two people.

The rule here: nobody's word makes an entry posted. Where the target can be asked it is asked, now; where it cannot, one person
says what they found and another confirms it. Nothing is changed while the target cannot be reached.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, cast

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django_htmx.http import HttpResponseClientRedirect

from integrations import abilities, outbox
from integrations.errors import ConnectorError
from integrations.models import Settlement
from integrations.outbox import settlements
from integrations.protocol import Capabilities
from integrations.thread import doubt_of
from portal import access
from portal.models import LedgerEntry, State, User
from portal.screens import DetailScreen


class SettleForm(forms.Form):
    """What a person found in the target, and how."""

    verdict = forms.ChoiceField(label="What you found", choices=Settlement.Verdict.choices, widget=forms.RadioSelect)
    number = forms.CharField(
        label="The record's number in the target",
        max_length=120,
        required=False,
        help_text="As the target shows it; empty when it is not there.",
    )
    reason = forms.CharField(
        label="How you found it", max_length=2000, widget=forms.Textarea(attrs={"rows": 3}),
        help_text="Where you looked and what you saw; it is kept with the entry and in the audit trail.",
    )  # fmt: skip

    def __init__(self, *args: Any, by_number_only: bool, **more: Any) -> None:
        super().__init__(*args, **more)
        if by_number_only:
            del self.fields["verdict"]
            self.fields["number"].required, self.fields["number"].help_text = True, "As the target shows it."

    def clean(self) -> dict[str, Any]:
        """A record that is there has a number, and one that is not there has none."""
        cleaned = dict(super().clean() or {})
        verdict = cleaned.setdefault("verdict", Settlement.Verdict.BOOKED.value)
        number = str(cleaned.get("number") or "").strip()
        if verdict == Settlement.Verdict.BOOKED and not number and "number" not in self.errors:
            self.add_error("number", "Give the number under which you found it.")
        cleaned["number"] = "" if verdict == Settlement.Verdict.ABSENT else number
        return cleaned


class SettleScreen(DetailScreen):
    """Asks what became of one entry in doubt, or asks the second person whether it is so."""

    queryset = LedgerEntry.objects.select_related("entity", "target", "state_row")
    template_name = "ledger/settle.html"
    object: LedgerEntry

    def heading(self) -> str:
        """What is settled."""
        return f"Settle entry {self.object.pk} by hand"

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """The question, with whatever a colleague has said already."""
        self.require()
        return self.ask(self.form())

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Take what was said: ask the target, keep it for a second person, confirm it, or take it back."""
        self.require()
        act = request.POST.get("act", "say")
        try:
            if act in {"confirm", "take-back"}:
                return self.answer(act)
            form = self.form(request.POST)
            if not form.is_valid():
                return self.ask(form, status=HTTPStatus.UNPROCESSABLE_ENTITY)
            return self.say(form)
        except outbox.NotConfirmed as refusal:
            return self.refuse(str(refusal))
        except ConnectorError as fault:
            return self.refuse(f"{self.object.target} could not be asked, and nothing was changed: {fault}")

    def require(self) -> None:
        """Analysts and controllers of the entry's entity."""
        if not access.may(self.request.user, access.FIXERS, self.object.entity_id):
            raise PermissionDenied("Settling a doubt is for finance analysts and controllers of the entity.")

    def say(self, form: SettleForm) -> HttpResponse:
        """The first person's word."""
        entry, user = self.object, cast("User", self.request.user)
        verdict, number, reason = (form.cleaned_data[name] for name in ("verdict", "number", "reason"))
        can = self.can()
        if can is not None and settlements.takes_two(can, verdict):
            if verdict == Settlement.Verdict.ABSENT:
                self.must_not_be_shown()
            settlements.say(entry.pk, verdict, user, reason, number=number)
            return self.leave("Noted. A second person has to look and confirm it; they are told.")
        outbox.adopt(entry.pk, number, user, reason)
        return self.leave(f"{entry.target} confirmed it: entry {entry.pk} is posted as {number}.")

    def answer(self, act: str) -> HttpResponse:
        """The second person's answer, or the first one's change of mind."""
        user = cast("User", self.request.user)
        said = self.said()
        if said is None or str(said.pk) != self.request.POST.get("settlement"):
            raise outbox.NotConfirmed("This was confirmed or taken back meanwhile.")
        if act == "take-back":
            settlements.take_back(said.pk, user, self.request.POST.get("why", ""))
            return self.leave("Taken back. The entry stays in doubt.")
        if said.verdict == Settlement.Verdict.ABSENT:
            self.must_not_be_shown()
        settlements.confirm(said.pk, user)
        told = f"accepted as {said.number}" if said.number else "due again, under the same key"
        return self.leave(f"Confirmed: entry {self.object.pk} is {told}.")

    def must_not_be_shown(self) -> None:
        """What the target's own statement shows cannot be said to be absent. Raises NotConfirmed naming the record."""
        number = outbox.shown_by_statement(self.object.pk)
        if number:
            raise outbox.NotConfirmed(f"{self.object.target} shows it as record {number}; settle it by that number.")

    def said(self) -> Settlement | None:
        """What a person said of the entry as it stands, and nobody confirmed yet."""
        open_now = Settlement.objects.filter(entry=self.object, confirmed_at=None, dropped_at=None)
        return open_now.filter(fence=self.object.state_row.fence).select_related("by").first()

    def can(self) -> Capabilities | None:
        """What the target can do; None while its connector cannot be built."""
        return abilities.capabilities(self.object.target)

    def form(self, data: Any = None) -> SettleForm:
        """The form; where the target is looked up by key, only a number can be said."""
        can = self.can()
        absent_too = can is not None and settlements.takes_two(can, Settlement.Verdict.ABSENT)
        return SettleForm(data, by_number_only=not absent_too)

    def refuse(self, sentence: str) -> HttpResponse:
        """The form again, with the reason why nothing was changed."""
        form = self.form(self.request.POST)
        form.is_valid()
        form.add_error(None, ValidationError(sentence))
        del self.object  # it may have moved
        return self.ask(form, status=HTTPStatus.UNPROCESSABLE_ENTITY)

    def ask(self, form: SettleForm, *, status: int = HTTPStatus.OK) -> HttpResponse:
        """The page."""
        entry, can, said = self.object, self.can(), self.said()
        is_in_doubt = entry.state_row.state == State.IN_DOUBT
        context = self.context(
            title=self.heading(),
            entry=entry,
            state=entry.state_row,
            is_in_doubt=is_in_doubt,
            doubt=doubt_of(entry, can) if is_in_doubt else None,
            form=form,
            said=said,
            is_mine=said is not None and said.by_id == self.request.user.pk,
            takes_two=can is not None and settlements.takes_two(can, Settlement.Verdict.BOOKED),
            here=reverse("entry_settle", args=[entry.pk]),
            back=reverse("entry", args=[entry.pk]),
        )
        return self.page(context, status=status)

    def leave(self, sentence: str) -> HttpResponse:
        """Back to the entry, with what was done."""
        messages.success(self.request, sentence)
        url = reverse("entry", args=[self.object.pk])
        if getattr(self.request, "htmx", None):
            return HttpResponseClientRedirect(url)
        return HttpResponseRedirect(url, status=HTTPStatus.SEE_OTHER)
