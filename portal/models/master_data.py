"""Master data: the firm's own record of entities, customers, contracts, projects, people and rates, whatever the vendor.

The rule here: what depends on a day carries a closed range of days (`valid_from` to `valid_to`, empty for no end), and two
ranges of the same thing never overlap; the database refuses it. Every change leaves history with a reason.
"""

from __future__ import annotations

from django.contrib.postgres.constraints import ExclusionConstraint
from django.db import models
from django.db.models import F, Func, Q, Value
from django.db.models.functions import Coalesce
from simple_history.models import HistoricalRecords

from portal.models.access import Scope, ScopedQuerySet


def _same(column: str) -> tuple[Func, str]:
    """Equality on a whole number in a GiST constraint, without btree_gist; empty counts as one value."""
    number = Coalesce(F(column), Value(0), output_field=models.BigIntegerField())
    return (Func(number, number, Value("[]"), function="int8range"), "&&")


def _same_text(*columns: str) -> tuple[Func, str]:
    """Equality on texts in a GiST constraint, by their 64-bit hash."""
    joined = " || chr(31) || ".join(columns)
    digest = Func(template=f"hashtextextended({joined}, 0)", output_field=models.BigIntegerField())
    return (Func(digest, digest, Value("[]"), function="int8range"), "&&")


def _during(start: str = "valid_from", end: str = "valid_to") -> tuple[Func, str]:
    """Overlap of two closed ranges of days."""
    return (Func(F(start), F(end), Value("[]"), function="daterange"), "&&")


def _history() -> HistoricalRecords:
    return HistoricalRecords(history_change_reason_field=models.TextField(null=True))


class BillingModel(models.TextChoices):
    """How a contract is billed. Only time and material bills its hours; the others post time as cost only."""

    TIME_AND_MATERIAL = "time_and_material", "Time and material"
    FIXED_FEE = "fixed_fee", "Fixed fee"
    RETAINER = "retainer", "Retainer"
    MILESTONE = "milestone", "Milestone"


class InvoiceSchedule(models.TextChoices):
    """When invoices go out. Without a word about it the schedule is unknown, which is not the same as none."""

    MONTHLY = "monthly", "Monthly"
    WEEKLY = "weekly", "Weekly"
    MILESTONE = "milestone", "Per milestone"
    NONE = "none", "Never invoiced"


class Invoiced(models.Model):
    """When a customer is invoiced and how long it may take to pay: said for the customer, and by a contract that differs."""

    invoice_schedule = models.CharField(
        max_length=10, choices=InvoiceSchedule.choices, blank=True, default="", db_default=""
    )
    invoice_day = models.PositiveSmallIntegerField(null=True, blank=True)  # of the month, or of the week (1 is Monday)
    payment_terms_days = models.PositiveSmallIntegerField(null=True, blank=True)  # from the invoice to its due day

    class Meta:
        abstract = True


def _invoice_day_fits(model: str) -> models.CheckConstraint:
    return models.CheckConstraint(
        condition=Q(invoice_schedule=InvoiceSchedule.MONTHLY, invoice_day__isnull=False, invoice_day__range=(1, 31))
        | Q(invoice_schedule=InvoiceSchedule.WEEKLY, invoice_day__isnull=False, invoice_day__range=(1, 7))
        | (~Q(invoice_schedule__in=[InvoiceSchedule.MONTHLY, InvoiceSchedule.WEEKLY]) & Q(invoice_day=None)),
        name=f"{model}_is_invoiced_on_a_day_that_fits_its_schedule",
    )


class LegalEntity(models.Model):
    """One company of the group, with the currency it keeps its books in."""

    code = models.CharField(max_length=20, unique=True)
    name = models.CharField(max_length=200)
    currency = models.CharField(max_length=3)
    zone = models.CharField(max_length=60, default="UTC")
    calendar = models.JSONField(
        default=dict, blank=True
    )  # {"weekend": [6, 7], "holidays": ["2026-12-25"], "hours_per_day": "8"}
    parent = models.ForeignKey("self", models.PROTECT, null=True, blank=True, related_name="subsidiaries")
    policy = models.JSONField(default=dict, blank=True)  # rule settings of the entity; a route may refine them

    history = _history()
    scope = Scope("id")
    objects = ScopedQuerySet.as_manager()

    class Meta:
        ordering = ["code"]
        verbose_name_plural = "legal entities"

    def __str__(self) -> str:
        return self.code


class AccountingPeriod(models.Model):
    """One accounting period of one entity."""

    class State(models.TextChoices):
        FUTURE = "future", "Future"
        OPEN = "open", "Open"
        CLOSING = "closing", "Closing"
        CLOSED = "closed", "Closed"

    entity = models.ForeignKey(LegalEntity, models.PROTECT, related_name="periods")
    code = models.CharField(max_length=20)
    starts_on = models.DateField()
    ends_on = models.DateField()
    state = models.CharField(max_length=10, choices=State.choices, default=State.OPEN)

    history = _history()
    objects = ScopedQuerySet.as_manager()

    class Meta:
        ordering = ["entity__code", "starts_on"]
        constraints = [
            models.UniqueConstraint(fields=["entity", "code"], name="period_code_is_unique_per_entity"),
            models.CheckConstraint(condition=Q(starts_on__lte=F("ends_on")), name="period_starts_before_it_ends"),
            ExclusionConstraint(
                name="periods_of_an_entity_do_not_overlap",
                expressions=[_same("entity_id"), _during("starts_on", "ends_on")],
            ),
        ]

    def __str__(self) -> str:
        return f"{self.code} ({self.entity})"


class CostCentre(models.Model):
    """Where the cost of a person or a project is carried, within one entity."""

    entity = models.ForeignKey(LegalEntity, models.PROTECT, related_name="cost_centres")
    code = models.CharField(max_length=40)
    name = models.CharField(max_length=200)
    valid_from = models.DateField(null=True, blank=True)
    valid_to = models.DateField(null=True, blank=True)

    history = _history()
    objects = ScopedQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["entity", "code"], name="cost_centre_code_is_unique_per_entity")]

    def __str__(self) -> str:
        return self.code


class Customer(Invoiced):
    """One customer. A merged one points at the survivor and is kept."""

    class TaxTreatment(models.TextChoices):
        DOMESTIC = "domestic", "Domestic"
        REVERSE_CHARGE = "reverse_charge", "Reverse charge"
        EXPORT = "export", "Export"
        EXEMPT = "exempt", "Exempt"

    code = models.CharField(max_length=60, unique=True)
    name = models.CharField(max_length=200)
    parent = models.ForeignKey("self", models.PROTECT, null=True, blank=True, related_name="children")
    merged_into = models.ForeignKey("self", models.PROTECT, null=True, blank=True, related_name="merged")
    entity = models.ForeignKey(LegalEntity, models.PROTECT, null=True, blank=True, related_name="customers")
    currency = models.CharField(max_length=3)
    tax_treatment = models.CharField(max_length=20, choices=TaxTreatment.choices, default=TaxTreatment.DOMESTIC)
    tax_number = models.CharField(max_length=40, blank=True)
    active_from = models.DateField(null=True, blank=True)
    active_to = models.DateField(null=True, blank=True)

    history = _history()
    scope = Scope(shared=True)
    objects = ScopedQuerySet.as_manager()

    class Meta:
        ordering = ["code"]
        constraints = [
            models.CheckConstraint(
                condition=Q(merged_into=None) | ~Q(merged_into=F("id")), name="customer_is_not_merged_into_itself"
            ),
            _invoice_day_fits("customer"),
        ]

    def __str__(self) -> str:
        return f"{self.code} {self.name}"


class Contract(Invoiced):
    """What was agreed with a customer: how it is billed, in which currency, up to which amount."""

    class Rounding(models.TextChoices):
        ENTRY = "entry", "Per entry"
        LINE = "line", "Per line"
        INVOICE = "invoice", "Per invoice"

    class Overage(models.TextChoices):
        HOURLY = "hourly", "Billed at the rate card"
        CAPPED = "capped", "Worked and not billed"
        REJECTED = "rejected", "Not accepted"

    code = models.CharField(max_length=60, unique=True)
    name = models.CharField(max_length=200)
    customer = models.ForeignKey(Customer, models.PROTECT, related_name="contracts")
    entity = models.ForeignKey(LegalEntity, models.PROTECT, related_name="contracts")
    billing_model = models.CharField(
        max_length=20, choices=BillingModel.choices, default=BillingModel.TIME_AND_MATERIAL
    )
    currency = models.CharField(max_length=3)
    cap_amount = models.DecimalField(max_digits=18, decimal_places=4, null=True, blank=True)  # not-to-exceed
    retainer_hours = models.DecimalField(
        max_digits=8, decimal_places=2, null=True, blank=True
    )  # that a retainer's instalments pay for in each month; empty: all that are worked
    overage = models.CharField(
        max_length=10, choices=Overage.choices, blank=True, default="", db_default=""
    )  # what becomes of the hours beyond them
    requires_purchase_order = models.BooleanField(default=False)
    rounding = models.CharField(max_length=10, choices=Rounding.choices, default=Rounding.ENTRY)
    hours_per_day = models.DecimalField(max_digits=5, decimal_places=2, default=8)  # unit factor of rates per day
    rate_tolerance = models.DecimalField(
        max_digits=18, decimal_places=4, default=0
    )  # per hour, in the contract's currency
    shares = models.JSONField(
        default=dict, blank=True, db_default=models.Value({}, models.JSONField())
    )  # who pays how much, in per cent, where several customers do: {"ACME": "60", "BETA": "40"}
    one_invoice = models.BooleanField(default=False, db_default=False)  # all its projects stand on one invoice
    starts_on = models.DateField(null=True, blank=True)
    ends_on = models.DateField(null=True, blank=True)

    history = _history()
    objects = ScopedQuerySet.as_manager()

    class Meta:
        ordering = ["code"]
        constraints = [
            models.CheckConstraint(condition=Q(hours_per_day__gt=0), name="contract_day_has_hours"),
            models.CheckConstraint(condition=Q(rate_tolerance__gte=0), name="rate_tolerance_is_not_negative"),
            models.CheckConstraint(
                condition=Q(retainer_hours=None, overage="")
                | Q(retainer_hours__isnull=False) & Q(retainer_hours__gt=0) & ~Q(overage=""),
                name="retainer_says_what_is_beyond_its_hours",
            ),
            _invoice_day_fits("contract"),
        ]

    def __str__(self) -> str:
        return self.code


class PurchaseOrder(models.Model):
    """One purchase order of a customer under a contract; its balance is the amount less what stands on the ledger."""

    contract = models.ForeignKey(Contract, models.PROTECT, related_name="purchase_orders")
    number = models.CharField(max_length=60)
    amount = models.DecimalField(max_digits=18, decimal_places=4)
    currency = models.CharField(max_length=3)
    valid_from = models.DateField()
    valid_to = models.DateField(null=True, blank=True)

    history = _history()
    scope = Scope("contract__entity")
    objects = ScopedQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["contract", "number"], name="purchase_order_number_is_unique_per_contract"),
            ExclusionConstraint(
                name="purchase_orders_of_a_contract_do_not_overlap", expressions=[_same("contract_id"), _during()]
            ),
        ]

    def __str__(self) -> str:
        return self.number


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

    history = _history()
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

    history = _history()
    scope = Scope("project__entity")
    objects = ScopedQuerySet.as_manager()

    class Meta:
        ordering = ["project", "valid_from"]
        constraints = [
            ExclusionConstraint(name="project_has_one_status_a_day", expressions=[_same("project_id"), _during()])
        ]

    def __str__(self) -> str:
        return f"{self.project.code} {self.status} from {self.valid_from}"


class ApprovalStep(models.Model):
    """One link of a project's approval chain: who approves time on it, in which order."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="approval_chain")
    sequence = models.PositiveSmallIntegerField(default=1)
    approver = models.ForeignKey("portal.Resource", models.PROTECT, related_name="+")

    history = _history()
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

    history = _history()
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

    history = _history()
    scope = Scope("project__entity")
    objects = ScopedQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "code"], name="milestone_code_is_unique_per_project")]

    def __str__(self) -> str:
        return self.code


class Role(models.Model):
    """What a person is sold as, e.g. senior consultant; rates hang on it."""

    code = models.CharField(max_length=60, unique=True)
    name = models.CharField(max_length=120)

    history = _history()

    class Meta:
        ordering = ["code"]

    def __str__(self) -> str:
        return self.name


class Resource(models.Model):
    """One consultant. Who employs them, where and as what, is in their dated engagements."""

    code = models.CharField(max_length=60, unique=True)
    name = models.CharField(max_length=200)
    email = models.EmailField(blank=True)

    history = _history()
    scope = Scope("engagements__entity", many=True)
    objects = ScopedQuerySet.as_manager()

    class Meta:
        ordering = ["code"]

    def __str__(self) -> str:
        return self.name


class Engagement(models.Model):
    """For whom, as what and on which cost centre a resource works from one day to another."""

    resource = models.ForeignKey(Resource, models.CASCADE, related_name="engagements")
    entity = models.ForeignKey(LegalEntity, models.PROTECT, related_name="engagements")
    cost_centre = models.ForeignKey(CostCentre, models.PROTECT, null=True, blank=True, related_name="engagements")
    role = models.ForeignKey(Role, models.PROTECT, related_name="engagements")
    external_id = models.CharField(max_length=120, blank=True)  # the person's key in the target during this engagement
    valid_from = models.DateField()
    valid_to = models.DateField(null=True, blank=True)

    history = _history()
    objects = ScopedQuerySet.as_manager()

    class Meta:
        ordering = ["resource", "valid_from"]
        constraints = [
            ExclusionConstraint(name="resource_has_one_engagement_a_day", expressions=[_same("resource_id"), _during()])
        ]

    def __str__(self) -> str:
        return f"{self.resource} in {self.entity} from {self.valid_from}"


class RateCard(models.Model):
    """A set of agreed rates for one contract, one customer, one entity, or (all empty) for everybody."""

    code = models.CharField(max_length=60)
    version = models.PositiveSmallIntegerField(default=1)
    name = models.CharField(max_length=200, blank=True)
    contract = models.ForeignKey(Contract, models.PROTECT, null=True, blank=True, related_name="rate_cards")
    customer = models.ForeignKey(Customer, models.PROTECT, null=True, blank=True, related_name="rate_cards")
    entity = models.ForeignKey(LegalEntity, models.PROTECT, null=True, blank=True, related_name="rate_cards")
    valid_from = models.DateField()
    valid_to = models.DateField(null=True, blank=True)

    history = _history()

    class Meta:
        ordering = ["code", "version"]
        constraints = [
            models.UniqueConstraint(fields=["code", "version"], name="rate_card_version_is_unique"),
            models.CheckConstraint(
                condition=(
                    Q(contract=None, customer=None) | Q(contract=None, entity=None) | Q(customer=None, entity=None)
                ),
                name="rate_card_has_at_most_one_scope",
            ),
            ExclusionConstraint(
                name="one_rate_card_per_scope_a_day",
                expressions=[_same("contract_id"), _same("customer_id"), _same("entity_id"), _during()],
            ),
        ]

    def __str__(self) -> str:
        return f"{self.code} v{self.version}"


class Rate(models.Model):
    """What one hour (or day) of a resource, a role or a task costs the customer. Zero is a rate; a missing one is not zero.

    The most exact rate wins: a resource's before a role's, with a task before without.
    """

    class Unit(models.TextChoices):
        HOUR = "hour", "Per hour"
        DAY = "day", "Per day"

    card = models.ForeignKey(RateCard, models.CASCADE, related_name="rates")
    resource = models.ForeignKey(Resource, models.PROTECT, null=True, blank=True, related_name="+")
    role = models.ForeignKey(Role, models.PROTECT, null=True, blank=True, related_name="+")
    task = models.ForeignKey(Task, models.PROTECT, null=True, blank=True, related_name="+")
    currency = models.CharField(max_length=3)
    amount = models.DecimalField(max_digits=18, decimal_places=4)
    unit = models.CharField(max_length=4, choices=Unit.choices, default=Unit.HOUR)
    valid_from = models.DateField()
    valid_to = models.DateField(null=True, blank=True)

    history = _history()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(amount__gte=0), name="rate_is_not_negative"),
            ExclusionConstraint(
                name="rates_do_not_overlap",
                expressions=[
                    _same("card_id"),
                    _same("resource_id"),
                    _same("role_id"),
                    _same("task_id"),
                    _same_text("currency"),
                    _during(),
                ],
            ),
        ]

    def __str__(self) -> str:
        return f"{self.amount} {self.currency} per {self.unit}"


class IntercompanyRelation(models.Model):
    """Leave for people of one entity to work on projects of another, for a range of days."""

    provider = models.ForeignKey(LegalEntity, models.PROTECT, related_name="provides_to")
    receiver = models.ForeignKey(LegalEntity, models.PROTECT, related_name="receives_from")
    price_list = models.ForeignKey(
        RateCard, models.PROTECT, null=True, blank=True, related_name="+"
    )  # what the provider asks of the receiver, in the provider's currency
    valid_from = models.DateField()
    valid_to = models.DateField(null=True, blank=True)

    history = _history()
    scope = Scope("provider")
    objects = ScopedQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=~Q(provider=F("receiver")), name="intercompany_is_between_two_entities"),
            ExclusionConstraint(
                name="one_intercompany_relation_a_day",
                expressions=[_same("provider_id"), _same("receiver_id"), _during()],
            ),
        ]

    def __str__(self) -> str:
        return f"{self.provider} → {self.receiver}"


class Crosswalk(models.Model):
    """One system's own key for one master record, for a range of days.

    A key means one record, and a record has one key, at any day; `allows_many` lets several keys of one system mean the same
    record, and such a row is never used in the other direction. `internal_id` is the primary key within `kind`'s table.
    """

    class Kind(models.TextChoices):
        ENTITY = "entity", "Legal entity"
        COST_CENTRE = "cost_centre", "Cost centre"
        CUSTOMER = "customer", "Customer"
        PROJECT = "project", "Project"
        TASK = "task", "Task"
        RESOURCE = "resource", "Resource"
        ITEM = "item", "Service item or expense category"

    system = models.CharField(max_length=40)
    realm = models.CharField(max_length=120, blank=True)
    kind = models.CharField(max_length=20, choices=Kind.choices)
    external_id = models.CharField(max_length=200)
    internal_id = models.BigIntegerField()
    allows_many = models.BooleanField(default=False)
    valid_from = models.DateField()
    valid_to = models.DateField(null=True, blank=True)

    history = _history()

    class Meta:
        indexes = [models.Index(fields=["system", "realm", "kind", "internal_id"], name="crosswalk_by_record")]
        constraints = [
            ExclusionConstraint(
                name="an_external_id_means_one_record",
                expressions=[_same_text("system", "realm", "kind", "external_id"), _during()],
            ),
            ExclusionConstraint(
                name="a_record_has_one_external_id",
                expressions=[_same_text("system", "realm", "kind"), _same("internal_id"), _during()],
                condition=Q(allows_many=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.system} {self.kind} {self.external_id}"


class Alias(models.Model):
    """A mistyped or foreign code that stands for a master record, for a range of days, at one connection or at all."""

    connection = models.ForeignKey("portal.Connection", models.CASCADE, null=True, blank=True, related_name="aliases")
    kind = models.CharField(max_length=20, choices=Crosswalk.Kind.choices)
    code = models.CharField(max_length=200)
    internal_id = models.BigIntegerField()
    valid_from = models.DateField()
    valid_to = models.DateField(null=True, blank=True)
    reason = models.TextField(blank=True)

    history = _history()
    scope = Scope("connection__entity", shared=True)
    objects = ScopedQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "aliases"
        constraints = [
            ExclusionConstraint(
                name="an_alias_means_one_record",
                expressions=[_same("connection_id"), _same_text("kind", "code"), _during()],
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.code}"
