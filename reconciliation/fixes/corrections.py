"""Fixes that correct entries: finance's own new version of the document, validated like any other.

What the vendor said stays as it was; the new version names its author and the reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django import forms

from portal import canonical, sql
from portal.models import AccountingPeriod, Project, State
from reconciliation import validation
from reconciliation.fixes.base import Fix, FixForm, Work


def _documents(entry_ids: Sequence[int]) -> list[int]:
    return [
        row[0]
        for row in sql.rows(
            "SELECT DISTINCT document_id FROM portal_ledgerentry WHERE id = ANY(%s) ORDER BY 1", [list(entry_ids)]
        )
    ]


class Correction(Fix):
    """A fix that changes the same fields of every document; what was refused is corrected as well as what is held."""

    states = frozenset({State.HELD, State.REJECTED})

    def changes(self, work: Work) -> Mapping[str, Any]:
        """The fields of the new version and their values."""
        raise NotImplementedError

    def apply(self, work: Work, entry_ids: Sequence[int]) -> None:
        """Make the versions and let validation admit them."""
        corrected = canonical.correct(
            _documents(entry_ids), self.changes(work), author=work.user, reason=work.reason or self.label
        )
        validation.admit(corrected, actor=work.actor)


class ProjectForm(FixForm):
    """A project of an entity that the person may see."""

    project = forms.ModelChoiceField(Project.objects.none(), label="Project")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        field = self.fields["project"]
        if isinstance(field, forms.ModelChoiceField):
            field.queryset = Project.objects.visible_to(self.user).order_by("code")


class MoveProject(Correction):
    """The hours belong to another project."""

    code = "move-project"
    label = "Move to another project"
    help = "Makes a new version of each entry on the project you choose and validates it there."
    form_class = ProjectForm

    def title(self, work: Work, count: int) -> str:
        """Name the project."""
        project = Project.objects.get(pk=work.parameters["project"])
        return f"Move {count} {'entry' if count == 1 else 'entries'} to {project.code}"

    def changes(self, work: Work) -> Mapping[str, Any]:
        """The project by its code; the source's own key and task do not hold there any more."""
        project = Project.objects.visible_to(work.user).get(pk=work.parameters["project"])
        return {
            "project_key": "",
            "project_code": project.code,
            "project_name": project.name,
            "task_key": "",
            "task_code": "",
            "task_name": "",
        }


class UseContractRate(Correction):
    """The source's rate is wrong; what was agreed is billed."""

    code = "use-contract-rate"
    label = "Use the contract's rate"
    help = "Prices the hours by the rate card. The source's own rate stays on record."

    def changes(self, work: Work) -> Mapping[str, Any]:
        """Say which rate holds."""
        return {"rate_source": "contract"}


class AcceptSourceRate(Correction):
    """The source's rate was agreed after all."""

    code = "accept-source-rate"
    label = "Accept the source's rate"
    help = "Prices the hours by the rate the time tracker sent. Say in the reason who agreed to it."

    def changes(self, work: Work) -> Mapping[str, Any]:
        """Say which rate holds."""
        return {"rate_source": "source"}


class MakeNonBillable(Correction):
    """The hours were worked but are not billed."""

    code = "make-non-billable"
    label = "Make non-billable"
    help = "The hours are posted as cost only and never reach an invoice."

    def changes(self, work: Work) -> Mapping[str, Any]:
        """Not billable."""
        return {"is_billable": False}


class PeriodForm(FixForm):
    """An open period of the case's entity."""

    period = forms.ModelChoiceField(AccountingPeriod.objects.none(), label="Open period")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        periods = AccountingPeriod.objects.visible_to(self.user).filter(state=AccountingPeriod.State.OPEN)
        if self.case is not None:
            periods = periods.filter(entity=self.case.entity)
        field = self.fields["period"]
        if isinstance(field, forms.ModelChoiceField):
            field.queryset = periods.order_by("starts_on")
            field.initial = periods.order_by("starts_on").first()


class PostNextPeriod(Correction):
    """The period of the work date is closed; the hours are booked in an open one and keep their work date."""

    code = "post-next-period"
    label = "Post in an open period"
    help = "Keeps the work date and books on the first day of the period you choose."
    form_class = PeriodForm

    def title(self, work: Work, count: int) -> str:
        """Name the period."""
        period = AccountingPeriod.objects.get(pk=work.parameters["period"])
        return f"Post {count} {'entry' if count == 1 else 'entries'} in {period.code}"

    def changes(self, work: Work) -> Mapping[str, Any]:
        """The posting date."""
        period = AccountingPeriod.objects.visible_to(work.user).get(pk=work.parameters["period"])
        return {"post_on": period.starts_on}
