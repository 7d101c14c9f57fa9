"""How far the work of a project in one accounting period is on its way to the customer's invoice, as the database adds it up."""

from __future__ import annotations

from django.db import models

from portal.models.access import Scope, ScopedQuerySet


class ProjectMonth(models.Model):
    """One project in one period of its entity's calendar, by work date; a view over the ledger, so nothing keeps it up to date.

    Amounts are billable and in `currency`, the contract's or else the customer's; what is in another one, or has no rate yet,
    is counted beside them (`in_other_currency`, `unpriced_hours`). Every amount stands in exactly one of `blocked`,
    `under_way`, `ready` and `invoiced`. Work that its contract bills by milestones counts in hours only.
    """

    id = models.BigIntegerField(primary_key=True)  # the project's key shifted by 32 bits, and the period's
    project = models.ForeignKey("portal.Project", models.DO_NOTHING, related_name="months")
    period = models.ForeignKey("portal.AccountingPeriod", models.DO_NOTHING, related_name="+")
    currency = models.CharField(max_length=3)
    entries = models.IntegerField()
    hours = models.DecimalField(max_digits=18, decimal_places=4)
    amount = models.DecimalField(max_digits=18, decimal_places=4)
    blocked = models.DecimalField(max_digits=18, decimal_places=4)  # held, refused or in doubt
    under_way = models.DecimalField(max_digits=18, decimal_places=4)  # to be sent, sent, or receipted and not read back
    ready = models.DecimalField(max_digits=18, decimal_places=4)  # posted and not invoiced
    invoiced = models.DecimalField(max_digits=18, decimal_places=4)  # less what was credited
    stopped = models.IntegerField()  # entries that are held, refused or in doubt
    unpriced_hours = models.DecimalField(max_digits=18, decimal_places=4)
    in_other_currency = models.IntegerField()
    milestones = models.DecimalField(max_digits=18, decimal_places=4)  # due in the period, in `currency`
    unsigned = models.IntegerField()  # milestones due by the period's end that nobody signed

    scope = Scope("project__entity")
    objects = ScopedQuerySet.as_manager()

    class Meta:
        managed = False
        db_table = "reconciliation_projectmonth"
        ordering = ["-blocked", "project__code"]

    def __str__(self) -> str:
        return f"{self.project.code} {self.period.code}"
