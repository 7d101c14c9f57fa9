"""What was agreed about a project that its readiness asks for, and how the people who have to act are called."""

from __future__ import annotations

from portal.models import Project
from reconciliation.models import ExceptionCase
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


def manager_of(project: Project) -> str:
    """The project's manager as people say it."""
    return (project.manager.get_full_name() or project.manager.get_username()) if project.manager else "nobody yet"
