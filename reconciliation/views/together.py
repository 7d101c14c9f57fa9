"""What is done to several causes of the list at once besides triage: one fix over all their entries, and their export.

The rule here: causes that are fixed together are one operation, with one dry-run, one confirmation and one result for each row.
"""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.urls import reverse
from django.utils.http import urlencode

from portal import access
from portal.screens import Action, Outcome
from portal.screens.actions import Refused
from reconciliation import operations
from reconciliation.fixes import FIXES
from reconciliation.models import ExceptionCase, Hold
from reconciliation.views import fixing, waking
from reconciliation.views.tabs import TABS
from reconciliation.views.triage import counted

MOST_EXPORTED = 500  # causes that an address can name


class FixTogether(Action):
    """One way out of all the chosen causes: those of one company that share it, where it needs no value of its own."""

    name, label, button, wide = "fix_together", "Fix", "Dry-run", True
    roles: ClassVar[frozenset[str]] = access.FIXERS
    tabs: ClassVar[frozenset[str]] = frozenset({"open", "mine", "regressed", "waiting"})
    fix = forms.ChoiceField(label="Way out", widget=forms.RadioSelect)
    reason = forms.CharField(label="Why", max_length=2000, widget=forms.Textarea(attrs={"rows": 2}))

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.causes = list(self.queryset.order_by("pk").values_list("pk", "rule", "entity_id"))
        field = self.fields["fix"]
        if isinstance(field, forms.ChoiceField):
            ways = [] if self.obstacle else self.ways()
            field.choices = [(code, FIXES[code].label) for code in ways]
            field.initial = ways[0] if ways else None
            field.help_text = self.obstacle

    def question(self, count: int) -> str:
        """The heading."""
        return f"Fix {counted(count)} together"

    @property
    def obstacle(self) -> str:
        """Why there is no way out of all of them, in a sentence; empty where there is one."""
        if len({entity for _, _, entity in self.causes}) > 1:
            return "These causes are of several companies; choose those of one."
        return (
            "" if self.ways() else "These causes share no way out that needs no value of its own; fix them one by one."
        )

    def ways(self) -> list[str]:
        """The fixes that help every one of the causes and ask for nothing, in the order of the catalogue."""
        shared = set.intersection(*(fixing.usable(rule) for rule in {rule for _, rule, _ in self.causes} or {""}))
        held = self.user.roles()
        return [
            code
            for code, fix in FIXES.items()
            if code in shared and not fix.form_class.base_fields and fix.roles & held
        ]

    def apply(self, queryset: QuerySet[Any], user: Any) -> Outcome:
        """Dry-run it on everything that they hold; the person confirms what they then see."""
        if self.obstacle:
            raise Refused(self.obstacle)
        held = Hold.objects.filter(case__in=[pk for pk, _, _ in self.causes], closed_at=None)
        try:
            operation = operations.plan(
                self.cleaned_data["fix"], user=user, parameters={}, reason=self.cleaned_data["reason"],
                entry_ids=sorted(set(held.values_list("entry_id", flat=True))),
            )  # fmt: skip
        except (*fixing.REFUSALS, PermissionDenied) as refusal:
            raise Refused(str(refusal)) from refusal
        waking.where_due(operation)
        return Outcome("Nothing is changed yet: look at the dry-run.", url=reverse("operation", args=[operation.pk]))


class _Export(Action):
    """The chosen causes as a file, with the columns that one sees."""

    roles = access.EVERYBODY
    immediate = True
    form: ClassVar[str]

    def apply(self, queryset: QuerySet[Any], user: Any) -> Outcome:
        """Lead to the export of exactly these."""
        ids = list(queryset.order_by("pk").values_list("pk", flat=True)[: MOST_EXPORTED + 1])
        if len(ids) > MOST_EXPORTED:
            raise Refused(f"More than {MOST_EXPORTED} causes are chosen; export what the filter finds instead.")
        query = {"tab": _tab_of(ids, user), "only": ",".join(map(str, ids)), "export": self.form}
        return Outcome(f"{counted(len(ids))} exported.", url=f"{reverse('exceptions')}?{urlencode(query)}")


class ExportCsv(_Export):
    """As CSV."""

    name, label, form = "export_csv", "Export CSV", "csv"


class ExportXlsx(_Export):
    """As a workbook."""

    name, label, form = "export_xlsx", "Export XLSX", "xlsx"


def _tab_of(ids: list[int], user: Any) -> str:
    """A tab that holds all of them; they were chosen in one."""
    causes = ExceptionCase.objects.filter(pk__in=ids)
    for tab in TABS:
        if causes.filter(tab.where(user) if tab.where else Q()).count() == len(ids):
            return str(tab.slug)
    raise Refused("The chosen causes moved; look at the list again.")
