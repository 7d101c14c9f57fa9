"""What was agreed about a project that its readiness asks for, and how the people who have to act are called."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from portal import figures
from portal.models import BillingModel, LedgerEntry, Milestone, Project, TimeEntry
from reconciliation.models import ExceptionCase
from reconciliation.pricing import BEYOND
from reconciliation.schedules import Terms, agreed


def with_whom(case: ExceptionCase) -> str:
    """Who has to act on a cause."""
    if case.owner is not None:
        return case.owner.get_full_name() or case.owner.get_username()
    return str(case.team) if case.team is not None else "nobody yet"


def terms_of(project: Project) -> Terms:
    """When the project's customer is invoiced, and how long they take."""
    contract, customer = project.contract, project.customer
    own = Terms(contract.invoice_schedule, contract.invoice_day, contract.payment_terms_days) if contract else Terms()
    return agreed(own, Terms(customer.invoice_schedule, customer.invoice_day, customer.payment_terms_days))


def billing_model_of(project: Project) -> str:
    """How the project is billed: as it says itself, else as its contract says."""
    return project.billing_model or (project.contract.billing_model if project.contract else "")


def without_milestones(projects: Iterable[Project]) -> set[int]:
    """Of some projects those whose fee is billed by milestones and that have none: nothing of them would ever be invoiced."""
    by_milestones = {
        one.pk for one in projects if billing_model_of(one) in (BillingModel.FIXED_FEE, BillingModel.MILESTONE)
    }
    if not by_milestones:
        return set()
    return by_milestones - set(Milestone.objects.filter(project__in=by_milestones).values_list("project_id", flat=True))


def manager_of(project: Project) -> str:
    """The project's manager as people say it."""
    return (project.manager.get_full_name() or project.manager.get_username()) if project.manager else "nobody yet"


def retainer_words(entry: LedgerEntry, contract: Any) -> str:
    """How hours stand to the retainer of their contract: paid for by it, or beyond it; empty where they draw on none.

    `contract` is as it stood when that was settled.
    """
    is_beyond = BEYOND in entry.tags
    if contract is None or contract.retainer_hours is None or not (is_beyond or _draws(entry, contract)):
        return ""
    agreed = f"the {figures.hours(contract.retainer_hours)} h that the instalments of {entry.work_date:%B %Y} pay for"
    if not is_beyond:
        return f"within {agreed}"
    then = {
        "hourly": "billed at the rate card", "capped": "worked and not billed", "rejected": "not accepted by the contract",
    }[contract.overage]  # fmt: skip
    return f"beyond {agreed}; such hours are {then}"


def _draws(entry: LedgerEntry, contract: Any) -> bool:
    """Whether it is work that was approved as billable, under a retainer."""
    model = (entry.project.billing_model if entry.project else "") or contract.billing_model
    return (
        entry.is_cost_only
        and model == BillingModel.RETAINER
        and (entry.task is None or entry.task.is_billable)
        and TimeEntry.objects.filter(document=entry.document_id, version=entry.version, is_billable=True).exists()
    )
