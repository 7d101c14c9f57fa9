"""A rate changed for days that may be past: written as a change set, with the plan of what follows in the books beside it.

The rule here: nothing is changed by this form. It writes a draft, plans what would be booked anew and which bills are off, and
leads to both; somebody else agrees to them as one.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from http import HTTPStatus
from typing import Any, cast

from django import forms
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse

from portal import access, figures
from portal.models import Rate, RateCard, User
from reconciliation import changes
from reconciliation.rates import matrix, planning
from reconciliation.rates.lines import Wanted, alike, lines_for, span_within
from reconciliation.rates.planning import NotPlannable
from reconciliation.views.rates import CardScreen, rates_of

UNITS = {Rate.Unit.HOUR.value: "an hour", Rate.Unit.DAY.value: "a day"}


class RateForm(forms.Form):
    """Which rate, what it should be, and on which days."""

    rate = forms.TypedChoiceField(label="Rate for", coerce=int, widget=forms.Select(attrs={"data-typeahead": ""}))
    amount = forms.DecimalField(
        label="New rate", min_value=Decimal(0), max_digits=18, decimal_places=4,
        widget=forms.NumberInput(attrs={"step": "any", "inputmode": "decimal"}),
    )  # fmt: skip
    unit = forms.ChoiceField(label="Per", choices=[(Rate.Unit.HOUR, "hour"), (Rate.Unit.DAY, "day")])
    first = forms.DateField(label="From", widget=forms.DateInput(attrs={"type": "date"}))
    last = forms.DateField(
        label="To",
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}),
        help_text="Empty: as long as the card holds.",
    )
    reason = forms.CharField(
        label="Reason", max_length=300, widget=forms.Textarea(attrs={"rows": 2}),
        help_text="Who agreed to it, and when. It is kept with every record and every entry that is booked anew.",
    )  # fmt: skip

    def __init__(self, data: Any = None, *, card: RateCard, rates: list[Rate], **more: Any) -> None:
        super().__init__(data, **more)
        self.card = card
        latest = {matrix.key_of(rate): rate for rate in rates}
        self.known = {rate.pk: rate for rate in latest.values()}
        field: Any = self.fields["rate"]
        field.choices = [
            (rate.pk, f"{_label(rate)}, now {_price(rate)}") for rate in sorted(latest.values(), key=matrix.said)
        ]

    def clean(self) -> dict[str, Any]:
        """The days are in order, and within the card."""
        said: dict[str, Any] = super().clean() or {}
        if said.get("first") and (wrong := outside(self.card, said["first"], said.get("last"))):
            raise ValidationError(wrong)
        return said

    def lines(self) -> list[changes.Line]:
        """What is asked, as lines of a change set."""
        said = self.cleaned_data
        like = self.known[said["rate"]]
        span = span_within(self.card, said["first"], said["last"])
        return lines_for(Wanted(like, said["amount"], said["unit"], span), alike(like))

    def heading(self) -> str:
        """What is asked, in words: from which rate to which."""
        said = self.cleaned_data
        like = self.known[said["rate"]]
        span = span_within(self.card, said["first"], said["last"])
        days = span.label if span.label.startswith("from") else f"for {span.label}"
        standing = [rate for rate in alike(like) if matrix.span_of(rate).overlap(span)]
        before = " and ".join(dict.fromkeys(_price(rate, shown=rate.unit != said["unit"]) for rate in standing))
        after = f"{figures.exact(said['amount'])} {like.currency} {UNITS[said['unit']]}"
        return f"{_label(like)} of {self.card}: {before or 'no rate'} → {after}, {days}"


def _label(rate: Rate) -> str:
    _, name, note = matrix.said(rate)
    return f"{name}{f', {note}' if note else ''} {rate.currency}"


def _price(rate: Rate, *, shown: bool = True) -> str:
    """An amount as it is agreed, with what it is for where that is `shown`."""
    amount = str(figures.exact(rate.amount))
    return f"{amount} {UNITS[rate.unit]}" if shown else amount


def outside(card: RateCard, first: date, last: date | None) -> str:
    """Why days cannot be those of a rate of a card, in a sentence; empty where they can."""
    if last and last < first:
        return "The last day is before the first."
    span = span_within(card, first, last)
    holds = matrix.span_of(card).label
    if span.start > span.end:
        return f"The card holds {holds}; these days are outside of it."
    if span.start != first or (last and span.end != last):
        return f"The card holds {holds}; days before and after it are changed on the cards that hold then."
    return ""


class WritesRates(CardScreen):
    """A form about one card that writes a draft with the plan of what follows from it."""

    template_name = "rates/change.html"
    action = ""

    def write(self, card: RateCard, form: forms.Form, heading: str, lines: list[changes.Line]) -> HttpResponseBase:
        """Write the draft and its plan, and go on to that; or say why not."""
        by = cast("User", self.request.user)
        try:
            change_set = changes.draft(by=by, title=heading, reason=form.cleaned_data["reason"], lines=lines)
            bundle = planning.begin(change_set, by=by)
        except (changes.ChangeRefused, NotPlannable) as refusal:
            return self.ask(card, form, refusal=str(refusal), status=HTTPStatus.UNPROCESSABLE_ENTITY)
        return HttpResponseRedirect(reverse("rate_bundle", args=[bundle.pk]), status=HTTPStatus.SEE_OTHER)

    def writable(self, pk: int) -> RateCard:
        """The card of the address, for who may propose changes somewhere."""
        card = self.card(pk)
        if not self.person.roles() & access.OPERATORS:
            raise PermissionDenied("Rates are changed by analysts, controllers and admins.")
        return card

    def ask(
        self, card: RateCard, form: forms.Form, *, refusal: str = "", status: int = HTTPStatus.OK
    ) -> HttpResponseBase:
        """The page."""
        title = f"{self.action} of {card}" if self.action != "Add a rate" else f"{self.action} to {card}"
        return self.page(self.context(title=title, card=card, form=form, refusal=refusal), status=status)


class ChangeRateScreen(WritesRates):
    """The form about one rate of a card."""

    action = "Change a rate"

    def get(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """The form, with the rate and the first day of a cell where the address names them."""
        card = self.writable(pk)
        initial = {name: request.GET[name] for name in ("rate", "first", "last", "amount") if name in request.GET}
        return self.ask(card, RateForm(card=card, rates=rates_of(card, request.user), initial=initial))

    def post(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """Write the draft and its plan."""
        card = self.writable(pk)
        form = RateForm(request.POST, card=card, rates=rates_of(card, request.user))
        if not form.is_valid():
            return self.ask(card, form, status=HTTPStatus.UNPROCESSABLE_ENTITY)
        lines = form.lines()
        if not lines:
            form.add_error("amount", "It is so on all of these days already.")
            return self.ask(card, form, status=HTTPStatus.UNPROCESSABLE_ENTITY)
        return self.write(card, form, form.heading(), lines)
