"""One mapping on screen: what stands, what it most likely is, and the form that drafts the change or dismisses a match.

The rule here: confirming writes a draft change set and nothing else; nothing is made in a vendor.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, cast

from django import forms
from django.contrib import messages
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.functional import cached_property
from django_htmx.http import HttpResponseClientRedirect

from portal import access
from portal.models import User
from portal.screens import Screen
from portal.views.governed import address_of, name_of_kind
from reconciliation import mappings
from reconciliation.changes import ChangeRefused
from reconciliation.mappings import Choice
from reconciliation.models import Mapping
from reconciliation.views.mapping_tables import FLAGS, TONES, State, drafts, origins, worth


class ConfirmForm(forms.Form):
    """Which record or key it is, from which day, and why."""

    match = forms.CharField(required=False, max_length=300)
    other = forms.CharField(
        label="Another one", required=False, max_length=200,
        help_text="The system's own key, as it stands there; or, for a record of theirs, the code of ours.",
    )  # fmt: skip
    allows_many = forms.BooleanField(
        label="Several keys mean this record", required=False,
        help_text="Such a key is read and never written to.",
    )  # fmt: skip
    valid_from = forms.DateField(
        label="From", required=False, widget=forms.DateInput(attrs={"type": "date"}),
        help_text="Empty: it has always been its key.",
    )  # fmt: skip
    reason = forms.CharField(max_length=300, label="Why")

    def clean(self) -> dict[str, Any]:
        """One of both."""
        said = super().clean() or {}
        if not said.get("match") and not said.get("other"):
            raise forms.ValidationError("Choose a match, or name another one.")
        return said


class MappingPage(Screen):
    """One row: what stands, what it most likely is, and the form that drafts the change."""

    template_name = "reconciliation/mapping.html"

    @cached_property
    def row(self) -> Mapping:
        """The row of this address, where the person may see its entity."""
        mappings.bring_up_to_date()
        rows = Mapping.objects.visible_to(self.request.user).select_related("connection", "entity")
        return get_object_or_404(rows, pk=self.kwargs["pk"])

    @property
    def may(self) -> bool:
        """Whether this person proposes mappings in the row's entity."""
        return self.row.state in (State.UNMAPPED, State.THEIRS) and access.may(
            self.request.user, access.OPERATORS, self.row.entity_id
        )

    def get(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """The page."""
        return self.show(ConfirmForm())

    def post(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Draft the change set, dismiss a match or have it offered again; or say what is wrong."""
        access.require(request.user, access.OPERATORS, self.row.entity_id)
        if request.POST.get("action") == "offer":
            return self.offer()
        form = ConfirmForm(request.POST)
        if form.is_valid():
            try:
                where = self.dismiss(form) if request.POST.get("action") == "dismiss" else self.confirm(form)
            except (ChangeRefused, mappings.NotDismissed) as refusal:
                form.add_error(None, str(refusal))
            else:
                return self.go(where)
        return self.show(form, HTTPStatus.UNPROCESSABLE_ENTITY)

    def go(self, where: str) -> HttpResponse:
        """On to where it leads, beside a list too."""
        if getattr(self.request, "htmx", None):
            return HttpResponseClientRedirect(where)
        return HttpResponseRedirect(where, status=HTTPStatus.SEE_OTHER)

    def confirm(self, form: ConfirmForm) -> str:
        """The change set that maps it."""
        said, person = form.cleaned_data, cast("User", self.request.user)
        return reverse("change_set", args=[mappings.confirm([self.choice(said)], by=person, reason=said["reason"]).pk])

    def dismiss(self, form: ConfirmForm) -> str:
        """The chosen match is none."""
        given = form.cleaned_data["match"]
        match = next((one for one, value in self.matches() if value == given), None)
        if match is None:
            raise mappings.NotDismissed("Choose the match that is none; it may not be suggested any more.")
        mappings.dismiss(self.row, match, by=cast("User", self.request.user), reason=form.cleaned_data["reason"])
        messages.success(self.request, f"{match.words} is not suggested for it any more.")
        return reverse("mapping", args=[self.row.pk])

    def offer(self) -> HttpResponse:
        """Suggest a dismissed match again."""
        wanted = next(
            (one for one in mappings.dismissed_of(self.row) if str(one.pk) == self.request.POST.get("dismissed")), None
        )
        if wanted is None:
            return self.show(ConfirmForm(), HTTPStatus.UNPROCESSABLE_ENTITY, "It is not dismissed any more.")
        try:
            person = cast("User", self.request.user)
            mappings.offer_again(wanted, by=person, reason=self.request.POST.get("because", ""))
        except mappings.NotDismissed as refusal:
            return self.show(ConfirmForm(), HTTPStatus.UNPROCESSABLE_ENTITY, str(refusal))
        return self.go(reverse("mapping", args=[self.row.pk]))

    def matches(self) -> list[tuple[mappings.Match, str]]:
        """What is suggested, each with the value that the form names it by."""
        found = mappings.suggest([self.row]).get(self.row.pk, [])
        return [(one, str(one.internal_id) if self.row.state == State.THEIRS else one.external_id) for one in found]

    def choice(self, said: dict[str, Any]) -> Choice:
        """What was chosen. Raises ChangeRefused where it means nothing that the person sees."""
        row, given = self.row, said["other"] or said["match"]
        more = {"allows_many": said["allows_many"]} | ({"valid_from": said["valid_from"]} if said["valid_from"] else {})
        if row.state == State.UNMAPPED and row.internal_id is not None:
            return Choice(row, row.internal_id, given, **more)
        seen = Mapping.objects.visible_to(self.request.user).filter(kind=row.kind, internal_id__isnull=False)
        wanted = Q(internal_id=int(given)) if not said["other"] and given.isdigit() else Q(code__iexact=given)
        found = seen.filter(wanted).values_list("internal_id", flat=True).first()
        if found is None:
            raise ChangeRefused(f"“{given}” is the code of no {row.get_kind_display().lower()} that you see.")
        return Choice(row, found, row.external_id or "", **more)

    def show(self, form: ConfirmForm, status: int = HTTPStatus.OK, refusal: str = "") -> HttpResponse:
        """The page with its matches, and with those that were dismissed."""
        row, matches = self.row, self.matches()
        name = name_of_kind(row.kind)
        context = self.context(
            title=str(row),
            row=row,
            tone=TONES[State(row.state)],
            flags=[words for field, words in FLAGS.items() if getattr(row, field)],
            conflicts=mappings.conflicts_of(row, self.request.user),
            worth=worth(row.money),
            matches=matches,
            dismissed=mappings.still_hidden(mappings.dismissed_of(row), [one for one, _ in matches]),
            refusal=refusal,
            form=form,
            may=self.may,
            record_url=address_of(self.request.user, name, str(row.internal_id or "")) if name else "",
            key_url=address_of(self.request.user, "crosswalk", str(row.crosswalk_id or "")),
            origin=origins([row]).get(row.crosswalk_id),
            draft=drafts([row], self.request.user).get((row.system, row.realm, row.kind, row.external_id or row.code)),
        )
        return self.page(context, status=status)
