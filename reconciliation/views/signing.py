"""Signing a period: prepare, certify and withdraw, as acts on the period's page."""

from __future__ import annotations

from typing import Any

from django import forms
from django.db.models import QuerySet

from portal.access import APPROVERS, FIXERS
from portal.screens import Action, Outcome, Refused
from reconciliation import certifying
from reconciliation.models import ReconciliationRun
from reconciliation.views.legs import leg_of, uncompared_of

_UNCOMPARED = "uncompared_"


class Prepare(Action):
    """Sign as the preparer."""

    name, label, in_bulk = "prepare", "Prepare", False
    roles = FIXERS
    sentence = "Sign that this period ties out as the latest run found it?"
    note = forms.CharField(
        label="Why open items are accepted", widget=forms.Textarea(attrs={"rows": 3}), required=False, max_length=2000,
        help_text="Needed where anything differs. It stands on the sheet.",
    )  # fmt: skip

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        runs = ReconciliationRun.objects.filter(period__in=self.queryset, seen_until__isnull=False).order_by("-pk")
        totals = runs.values_list("totals", flat=True).first() or {}
        for leg in certifying.unproved_legs(totals):
            words = leg_of(leg, totals[leg])
            self.fields[f"{_UNCOMPARED}{leg}"] = forms.CharField(
                label=f"{words.label}: why {words.unproved} are accepted without proof", required=False, max_length=500,
                widget=forms.Textarea(attrs={"rows": 2}),
                help_text=f"The leg is not compared: {words.not_compared}. It stands on the sheet.",
            )  # fmt: skip

    def apply(self, queryset: QuerySet[Any], user: Any) -> Outcome:
        """Sign, and tell who may certify."""
        period = queryset.get()
        try:
            certifying.prepare(period, user, self.cleaned_data["note"], self._uncompared())
        except certifying.NotCertifiable as refusal:
            raise Refused(str(refusal)) from refusal
        return Outcome(f"{period.entity} {period.code} is prepared; a controller is asked to certify it.")

    def _uncompared(self) -> dict[str, str]:
        said = self.cleaned_data.items()
        return {name.removeprefix(_UNCOMPARED): reason for name, reason in said if name.startswith(_UNCOMPARED)}


class Certify(Action):
    """Sign as the second person."""

    name, label, in_bulk = "certify", "Certify", False
    roles = APPROVERS

    def question(self, count: int) -> str:
        """The period, and how many open items are accepted with it."""
        period = self.queryset.select_related("entity").first()
        found = certifying.live(period) if period is not None else None
        if period is None or found is None:
            return "Certify that this period ties out?"
        items = "1 open item is accepted" if found.differing == 1 else f"{found.differing:,} open items are accepted"
        accepted = [items if found.differing else "Nothing differs", *uncompared_of(found)]
        return f"Certify that {period.entity} {period.code} ties out? {'. '.join(accepted)}"

    def apply(self, queryset: QuerySet[Any], user: Any) -> Outcome:
        """Sign what was prepared, where it still is what it was."""
        period = queryset.get()
        certificate = certifying.live(period)
        if certificate is None:
            raise Refused("Nothing is prepared.")
        try:
            certifying.certify(certificate, user)
        except certifying.NotCertifiable as refusal:
            raise Refused(str(refusal)) from refusal
        return Outcome(
            f"{period.entity} {period.code} is certified. It drops by itself when anything under it changes."
        )


class Withdraw(Action):
    """Take the signature back."""

    name, label, in_bulk, tone = "withdraw", "Withdraw", False, "danger"
    roles = FIXERS
    sentence = "Take the certificate back?"
    reason = forms.CharField(label="Reason", widget=forms.Textarea(attrs={"rows": 2}), max_length=500)

    def apply(self, queryset: QuerySet[Any], user: Any) -> Outcome:
        """End it, with the reason."""
        period = queryset.get()
        certificate = certifying.live(period)
        if certificate is None:
            raise Refused("Nothing is signed.")
        try:
            certifying.withdraw(certificate, user, self.cleaned_data["reason"])
        except certifying.NotCertifiable as refusal:
            raise Refused(str(refusal)) from refusal
        return Outcome("The certificate is withdrawn.", tone="warn")
