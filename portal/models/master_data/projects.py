"""What people work on: projects with their statuses, approval chains, tasks and milestones."""

from __future__ import annotations

from django.contrib.postgres.constraints import ExclusionConstraint
from django.db import models
from django.db.models import Q

from portal.models.access import Scope, ScopedQuerySet
from portal.models.master_data.customers import BillingModel, Contract, Customer
from portal.models.master_data.entities import CostCentre, LegalEntity
from portal.models.master_data.ranges import during, history_of, same


class Project(models.Model):
    """One engagement on which time is spent. Its status on a day is in its dated statuses, not here."""

    code = models.CharField(max_length=60, unique=True)
    name = models.CharField(max_length=200)
    entity = models.ForeignKey(LegalEntity, models.PROTECT, related_name="projects")
    customer = models.ForeignKey(Customer, models.PROTECT, related_name="projects")
    contract = models.ForeignKey(Contract, models.PROTECT, null=True, blank=True, related_name="projects")
    billing_model = models.CharField(max_length=20, choices=BillingModel.choices, blank=True)  # empty: the contract's
    manager = models.ForeignKey("portal.User", models.PROTECT, null=True, blank=True, related_name="projects")
    cost_centre = models.ForeignKey(CostCentre, models.PROTECT, null=True, blank=True, related_name="+")
    requires_task = models.BooleanField(default=False)
    successor = models.ForeignKey("self", models.PROTECT, null=True, blank=True, related_name="predecessors")

    history = history_of()
    objects = ScopedQuerySet.as_manager()

    class Meta:
        ordering = ["code"]

    def __str__(self) -> str:
        return f"{self.code} {self.name}"


class ProjectStatus(models.Model):
    """What a project was from one day to another, so that its status as of a work date is known."""

    class Status(models.TextChoices):
        PLANNED = "planned", "Planned"
        OPEN = "open", "Open"
        ON_HOLD = "on_hold", "On hold"
        CLOSED = "closed", "Closed"

    project = models.ForeignKey(Project, models.CASCADE, related_name="statuses")
    status = models.CharField(max_length=10, choices=Status.choices)
    valid_from = models.DateField()
    valid_to = models.DateField(null=True, blank=True)

    history = history_of()
    scope = Scope("project__entity")
    objects = ScopedQuerySet.as_manager()

    class Meta:
        ordering = ["project", "valid_from"]
        constraints = [
            ExclusionConstraint(name="project_has_one_status_a_day", expressions=[same("project_id"), during()])
        ]

    def __str__(self) -> str:
        return f"{self.project.code} {self.status} from {self.valid_from}"


class ApprovalStep(models.Model):
    """One link of a project's approval chain: who approves time on it, in which order."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="approval_chain")
    sequence = models.PositiveSmallIntegerField(default=1)
    approver = models.ForeignKey("portal.Resource", models.PROTECT, related_name="+")

    history = history_of()
    scope = Scope("project__entity")
    objects = ScopedQuerySet.as_manager()

    class Meta:
        ordering = ["project", "sequence"]
        constraints = [
            models.UniqueConstraint(fields=["project", "sequence"], name="approval_steps_are_in_order"),
        ]

    def __str__(self) -> str:
        return f"{self.project.code} step {self.sequence}: {self.approver}"


class Task(models.Model):
    """One kind of work within a project."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="tasks")
    code = models.CharField(max_length=60)
    name = models.CharField(max_length=200)
    is_billable = models.BooleanField(default=True)
    is_active = models.BooleanField(default=True)
    is_default = models.BooleanField(default=False)  # taken where the source names no task and the target needs one

    history = history_of()
    scope = Scope("project__entity")
    objects = ScopedQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "code"], name="task_code_is_unique_per_project"),
            models.UniqueConstraint(
                fields=["project"], condition=Q(is_default=True), name="one_default_task_per_project"
            ),
        ]

    def __str__(self) -> str:
        return self.code


class Milestone(models.Model):
    """One billing milestone of a project, billed when it is signed."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="milestones")
    code = models.CharField(max_length=60)
    name = models.CharField(max_length=200)
    due_on = models.DateField()
    amount = models.DecimalField(max_digits=18, decimal_places=4)
    currency = models.CharField(max_length=3)
    signed_on = models.DateField(null=True, blank=True)

    history = history_of()
    scope = Scope("project__entity")
    objects = ScopedQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "code"], name="milestone_code_is_unique_per_project")]

    def __str__(self) -> str:
        return self.code
