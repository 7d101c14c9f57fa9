"""A card grows: a rate for a role or a person that has none on it, and its next version; each a draft with its plan.

The rule here: nothing is changed by these forms, and both lead to the draft that others agree to, as the change of a rate does.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from http import HTTPStatus
from typing import Any, cast

from django import forms
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.functional import cached_property

from portal import figures
from portal.models import Rate, RateCard, Resource, Role, User
from reconciliation.changes import Line
from reconciliation.facts.records import FOREVER
from reconciliation.rates.lines import days_of, span_within
from reconciliation.rates.matrix import Span
from reconciliation.rates.versions import NextVersion, version_lines
from reconciliation.views.rate_changing import UNITS, WritesRates, outside
from reconciliation.views.rates import rates_of

DAY = {"type": "date"}
WHY = "Who agreed to it, and when. It is kept with every record."


class AddedRateForm(forms.Form):
    """For whom, how much, and on which days."""

    role = forms.ModelChoiceField(
        Role.objects.order_by("name"), required=False, widget=forms.Select(attrs={"data-typeahead": ""}), to_field_name="code",
        empty_label="Every role",
    )  # fmt: skip
    new_role = forms.CharField(
        label="Or a new role", max_length=200, required=False, help_text="Its name; it is made with the rate."
    )
    person = forms.ModelChoiceField(
        Resource.objects.none(), required=False, widget=forms.Select(attrs={"data-typeahead": ""}), empty_label="Everybody",
    )  # fmt: skip
    amount = forms.DecimalField(
        label="Rate", min_value=Decimal(0), max_digits=18, decimal_places=4,
        widget=forms.NumberInput(attrs={"step": "any", "inputmode": "decimal"}),
    )  # fmt: skip
    currency = forms.CharField(max_length=3)
    unit = forms.ChoiceField(label="Per", choices=[(Rate.Unit.HOUR, "hour"), (Rate.Unit.DAY, "day")])
    first = forms.DateField(label="From", widget=forms.DateInput(attrs=DAY))
    last = forms.DateField(
        label="To", required=False, widget=forms.DateInput(attrs=DAY), help_text="Empty: as long as the card holds."
    )
    reason = forms.CharField(max_length=300, widget=forms.Textarea(attrs={"rows": 2}), help_text=WHY)

    def __init__(self, *args: Any, card: RateCard, user: User, **more: Any) -> None:
        super().__init__(*args, **more)
        self.card = card
        cast("forms.ModelChoiceField[Resource]", self.fields["person"]).queryset = Resource.objects.visible_to(
            user
        ).order_by("name")

    def clean(self) -> dict[str, Any]:
        """One role and not two; the days are in order, and within the card."""
        said: dict[str, Any] = super().clean() or {}
        if said.get("role") and said.get("new_role"):
            self.add_error("new_role", "Take a role that there is, or name a new one; not both.")
        if said.get("first") and (wrong := outside(self.card, said["first"], said.get("last"))):
            raise ValidationError(wrong)
        return said

    def clean_currency(self) -> str:
        """Written large, as codes of currencies are."""
        return str(self.cleaned_data["currency"]).upper()

    @cached_property
    def role_code(self) -> str:
        """The role's code; a new one's is made from its name."""
        said = self.cleaned_data
        return said["role"].code if said.get("role") else "-".join(said.get("new_role", "").lower().split())[:40]

    def lines(self) -> list[Line]:
        """The new role, where there is one, and the rate."""
        said = self.cleaned_data
        made = (
            [Line("role", None, "add", {"code": self.role_code, "name": said["new_role"]})] if said["new_role"] else []
        )
        values = {
            "card": self.card.code, "card_version": str(self.card.version), "role": self.role_code,
            "resource": said["person"].code if said["person"] else "", "currency": said["currency"],
            "amount": str(said["amount"]), "unit": said["unit"], **days_of(span_within(self.card, said["first"], said["last"])),
        }  # fmt: skip
        return [*made, Line("rate", None, "add", values)]

    def heading(self) -> str:
        """For whom which rate is agreed, in words."""
        said = self.cleaned_data
        role = said["new_role"] or (said["role"].name if said["role"] else "")
        who = ", ".join(part for part in (said["person"].name if said["person"] else "", role) if part) or "Everybody"
        days = span_within(self.card, said["first"], said["last"]).label
        price = f"{figures.exact(said['amount'])} {said['currency']} {UNITS[said['unit']]}"
        return f"{who} on {self.card}: {price}, {days if days.startswith('from') else f'for {days}'}"


class VersionForm(forms.Form):
    """From when the next version holds, and by how much its rates differ."""

    first = forms.DateField(
        label="From", widget=forms.DateInput(attrs=DAY), help_text="The version before ends on the day before."
    )
    last = forms.DateField(label="To", required=False, widget=forms.DateInput(attrs=DAY), help_text="Empty: no end.")
    percent = forms.DecimalField(
        label="Rates differ by, per cent", required=False, min_value=Decimal(-100), max_value=Decimal(1000), decimal_places=4,
        max_digits=8, widget=forms.NumberInput(attrs={"step": "any", "inputmode": "decimal"}),
        help_text="As 3.5, or -2. Empty: the same amounts; single ones are changed on the new version afterwards.",
    )  # fmt: skip
    name = forms.CharField(max_length=200, required=False)
    reason = forms.CharField(max_length=300, widget=forms.Textarea(attrs={"rows": 2}), help_text=WHY)

    def __init__(self, *args: Any, card: RateCard, **more: Any) -> None:
        super().__init__(*args, **more)
        self.card = card

    def clean(self) -> dict[str, Any]:
        """It begins after the version before, and ends after it begins."""
        said: dict[str, Any] = super().clean() or {}
        first, last = said.get("first"), said.get("last")
        if first and first <= self.card.valid_from:
            self.add_error(
                "first", f"The version before begins on {figures.day(self.card.valid_from)}; take a later day."
            )
        if first and last and last < first:
            self.add_error("last", "The last day is before the first.")
        return said

    def wanted(self, number: int) -> NextVersion:
        """What was said."""
        said = self.cleaned_data
        span = Span(said["first"], said["last"] or FOREVER)
        return NextVersion(number, span, said["name"] or self.card.name, said["percent"] or Decimal(0))


class AddRateScreen(WritesRates):
    """A rate for a role, a person or everybody, on days without one."""

    action = "Add a rate"

    def get(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """The form."""
        card = self.writable(pk)
        known = rates_of(card, self.person)
        first = max(card.valid_from, known[-1].valid_from) if known else card.valid_from
        initial = {"first": first, "currency": known[-1].currency if known else _currency(card)}
        return self.ask(card, AddedRateForm(card=card, user=self.person, initial=initial))

    def post(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """Write the draft and its plan."""
        card = self.writable(pk)
        form = AddedRateForm(request.POST, card=card, user=self.person)
        if not form.is_valid():
            return self.ask(card, form, status=HTTPStatus.UNPROCESSABLE_ENTITY)
        return self.write(card, form, form.heading(), form.lines())


def _currency(card: RateCard) -> str:
    """In what a card without rates is likely agreed."""
    owner = card.contract or card.customer or card.entity
    return str(owner.currency) if owner is not None else ""


class NextVersionScreen(WritesRates):
    """The next version of a card, with the rates of this one."""

    action = "New version"

    def get(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """The form."""
        card = self.writable(pk)
        day_after = date.fromordinal(card.valid_to.toordinal() + 1) if card.valid_to is not None else None
        return self.ask(card, VersionForm(card=card, initial={"first": day_after, "name": card.name}))

    def post(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """Write the draft and its plan."""
        card = self.writable(pk)
        form, rates = VersionForm(request.POST, card=card), rates_of(card, self.person)
        if len(rates) < Rate.objects.filter(card=card).count():
            form.add_error(
                None, "The card holds rates of people or tasks that you do not see, and its next version would lack them; "
                "somebody who sees all of them makes it.",
            )  # fmt: skip
        if not form.is_valid():
            return self.ask(card, form, status=HTTPStatus.UNPROCESSABLE_ENTITY)
        number = max(RateCard.objects.filter(code=card.code).values_list("version", flat=True)) + 1
        wanted = form.wanted(number)
        percent = f", rates by {figures.exact(wanted.percent)} per cent" if wanted.percent else ""
        heading = f"{card.code} v{number} {wanted.span.label}{percent}"
        return self.write(card, form, heading, version_lines(card, wanted, rates))
