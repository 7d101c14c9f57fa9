"""What an hour costs: rate cards with their rates, and between which companies people are lent at which."""

from __future__ import annotations

from django.contrib.postgres.constraints import ExclusionConstraint
from django.db import models
from django.db.models import F, Q

from portal.models.access import Scope, ScopedQuerySet
from portal.models.master_data.customers import Contract, Customer
from portal.models.master_data.entities import LegalEntity
from portal.models.master_data.people import Resource, Role
from portal.models.master_data.projects import Task
from portal.models.master_data.ranges import during, history_of, same, same_text


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

    history = history_of()

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
                expressions=[same("contract_id"), same("customer_id"), same("entity_id"), during()],
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

    history = history_of()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(amount__gte=0), name="rate_is_not_negative"),
            ExclusionConstraint(
                name="rates_do_not_overlap",
                expressions=[
                    same("card_id"),
                    same("resource_id"),
                    same("role_id"),
                    same("task_id"),
                    same_text("currency"),
                    during(),
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

    history = history_of()
    scope = Scope("provider")
    objects = ScopedQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=~Q(provider=F("receiver")), name="intercompany_is_between_two_entities"),
            ExclusionConstraint(
                name="one_intercompany_relation_a_day",
                expressions=[same("provider_id"), same("receiver_id"), during()],
            ),
        ]

    def __str__(self) -> str:
        return f"{self.provider} → {self.receiver}"
