"""What is done to many mappings at once: confirmed as suggested, or their likeliest match dismissed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from django import forms
from django.db import transaction
from django.db.models import QuerySet
from django.http import QueryDict
from django.urls import reverse

from portal import access
from portal.screens import Action, Outcome, Refused
from reconciliation import mappings
from reconciliation.changes import ChangeRefused
from reconciliation.mappings import Choice

AT_ONCE = 1_000  # records in one change
NAMED = 12  # matches that a confirmation names


class MapAsSuggested(Action):
    """Every chosen row whose match is beyond doubt, in one draft change set."""

    name, label, button = "map", "Map as suggested", "Draft the change"
    sentence = "Map {count} records as suggested"
    of_one = "Map 1 record as suggested"
    roles = access.OPERATORS
    reason = forms.CharField(max_length=300, widget=forms.TextInput(attrs={"autofocus": True}))

    def apply(self, queryset: QuerySet[Any], user: Any) -> Outcome:
        """Draft it; what is in doubt is left out and counted, and so is what is beyond one change."""
        rows = list(queryset.select_related("connection")[:AT_ONCE])
        beyond = queryset.count() - len(rows) if len(rows) == AT_ONCE else 0
        found = mappings.suggest(rows)
        sure = {row.pk: next((one for one in found.get(row.pk, ()) if one.is_sure), None) for row in rows}
        choices: dict[tuple[str, str, int], Choice] = {}
        for row in rows:
            match = sure[row.pk]
            if match is not None and match.internal_id is not None:
                choices[row.kind, match.external_id, match.internal_id] = Choice(
                    row, match.internal_id, match.external_id
                )
        if not choices:
            raise Refused("None of these has a match that is beyond doubt. Open one to choose among the likely ones.")
        try:
            change_set = mappings.confirm(list(choices.values()), by=user, reason=self.cleaned_data["reason"])
        except ChangeRefused as refusal:
            raise Refused(str(refusal)) from refusal
        left = len(rows) - len(choices)
        words = f"{len(choices):,} mappings are drafted" + (f"; {left:,} are in doubt and left out" if left else "")
        words += f"; {beyond:,} more were not looked at, map them with another change" if beyond else ""
        return Outcome(
            f"{words}. A second person agrees before they hold.", url=reverse("change_set", args=[change_set.pk])
        )


class DismissMatch(Action):
    """The nearest match of every chosen row, as it is named here, is none."""

    name, label, button = "dismiss", "Dismiss the match", "Dismiss"
    sentence = "Dismiss the likeliest match of {count} records"
    of_one = "Dismiss the likeliest match of 1 record"
    roles = access.OPERATORS
    page_template = "reconciliation/mapping_dismiss.html"
    reason = forms.CharField(
        max_length=300, widget=forms.TextInput(attrs={"autofocus": True}),
        help_text="It is suggested again when the code, the name or the tax number of one of both changes.",
    )  # fmt: skip
    shown = forms.CharField(widget=forms.HiddenInput, required=False)

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.count = self.queryset.count()
        rows = list(self.queryset.select_related("connection").order_by("pk")) if self.count <= AT_ONCE else []
        found = mappings.suggest(rows)
        self.matches = [(row, found[row.pk][0]) for row in rows if found.get(row.pk)]
        self.moved = self.is_bound and self.data.get("shown") != self.digest
        if self.moved:
            self.data = {**self.data.dict(), "shown": self.digest} if isinstance(self.data, QueryDict) else self.data
        self.fields["shown"].initial = self.digest

    @property
    def digest(self) -> str:
        """What names these matches, and what both sides say."""
        said = [(row.pk, match.internal_id, match.external_id, match.evidence) for row, match in self.matches]
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()

    @property
    def told(self) -> Sequence[str]:
        """The matches that are none then, as far as they fit on the screen."""
        said = [f"{row} is not {match.words}" for row, match in self.matches[:NAMED]]
        more = len(self.matches) - len(said)
        return [*said, f"and {more:,} more"] if more else said

    def clean(self) -> dict[str, Any]:
        """They are those that were shown, and no more than are done at once."""
        if self.count > AT_ONCE:
            raise forms.ValidationError(f"{self.count:,} records are chosen; choose {AT_ONCE:,} at most.")
        if self.moved:
            raise forms.ValidationError("Other matches are suggested by now; look at them, and say it again.")
        return super().clean() or {}

    def apply(self, queryset: QuerySet[Any], user: Any) -> Outcome:
        """Say so of each; a row without a match is left out."""
        if not self.matches:
            raise Refused("None of these has a suggested match.")
        with transaction.atomic():
            for row, match in self.matches:
                mappings.dismiss(row, match, by=user, reason=self.cleaned_data["reason"])
        count = len(self.matches)
        return Outcome(f"{count:,} {'match is' if count == 1 else 'matches are'} dismissed until one of both changes.")
