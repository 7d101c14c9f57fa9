"""What has changed in the master data and was not looked at yet: the rows by which lower layers ask the higher ones."""

from __future__ import annotations

from django.db import models
from django.db.models import Q


class MasterChange(models.Model):
    """One master record that changed; the entries that it touches are validated again, then it is handled.

    Written only by `portal.changes_watch`, in the transaction of the change itself.
    """

    class Kind(models.TextChoices):
        """What changed.

        Dated statuses, tasks and approvers count as their project, engagements as their resource, rates as their card,
        purchase orders as their contract.
        """

        ENTITY = "entity", "Legal entity"
        PERIOD = "period", "Accounting period"
        COST_CENTRE = "cost_centre", "Cost centre"
        CUSTOMER = "customer", "Customer"
        CONTRACT = "contract", "Contract"
        PROJECT = "project", "Project"
        ROLE = "role", "Role"
        RESOURCE = "resource", "Resource"
        RATE_CARD = "rate_card", "Rate card"
        EXCHANGE_RATE = "exchange_rate", "Exchange rate"
        INTERCOMPANY = "intercompany", "Intercompany relation"
        CROSSWALK = "crosswalk", "Crosswalk"
        ALIAS = "alias", "Alias"
        CONNECTION = "connection", "Connection"
        ROUTE = "route", "Route"
        BILL = "bill", "Bill"
        PAYMENT = "payment", "Payment"

    kind = models.CharField(max_length=20, choices=Kind.choices)
    internal_id = models.BigIntegerField()  # the primary key within the kind's table
    changed_at = models.DateTimeField()
    handled_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["id"]
        indexes = [models.Index(fields=["id"], condition=Q(handled_at=None), name="change_to_look_at")]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.internal_id} changed at {self.changed_at}"
