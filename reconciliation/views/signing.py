"""Signing a period: prepare, certify and withdraw, as acts on the period's page."""

from __future__ import annotations

from typing import Any

from django import forms
from django.db.models import QuerySet

from portal.access import APPROVERS, FIXERS
from portal.screens import Action, Outcome, Refused
from reconciliation import certifying


class Prepare(Action):
    """Sign as the preparer."""

    name, label, in_bulk = "prepare", "Prepare", False
    roles = FIXERS
    sentence = "Sign that this period ties out as the latest run found it?"
    note = forms.CharField(
        label="Why open items are accepted", widget=forms.Textarea(attrs={"rows": 3}), required=False, max_length=2000,
        help_text="Needed where anything differs. It stands on the sheet.",
    )  # fmt: skip

    def apply(self, queryset: QuerySet[Any], user: Any) -> Outcome:
        """Sign, and tell who may certify."""
        period = queryset.get()
        try:
            certifying.prepare(period, user, self.cleaned_data["note"])
        except certifying.NotCertifiable as refusal:
            raise Refused(str(refusal)) from refusal
        return Outcome(f"{period.entity} {period.code} is prepared; a controller is asked to certify it.")


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
        return f"Certify that {period.entity} {period.code} ties out? {items if found.differing else 'Nothing differs'}"

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
