"""How far the work of a project in one accounting period is on its way to the customer's invoice, as the database adds it up."""

from __future__ import annotations

from decimal import Decimal

from django.db import models

from portal.models.access import Scope, ScopedQuerySet


class ProjectMonth(models.Model):
    """One project in one period of its entity's calendar, by work date; a view over the ledger, so nothing keeps it up to date.

    Amounts are billable and in `currency`, the contract's or else the customer's; what is in another one, or has no rate yet,
    is counted beside them (`in_other_currency`, `unpriced_hours`). Every amount stands in exactly one of `blocked`,
    `under_way`, `ready`, `drafted`, `on_hold`, `invoiced`, `gone` and `off_price`: nothing is ready that would not be billed,
    and invoiced is what bills ask for that were issued and are neither void nor gone, as in the plots and in the leg of bills.
    Posted work that its source took back is blocked, as is what was handed over and is not billed as it was approved, and what a
    held version replaces counts there. Work that its contract bills by milestones counts in hours only. A milestone stands in
    the period in which it was signed, and until then in that in which it is due, as an instalment of a retainer does.
    """

    id = models.BigIntegerField(primary_key=True)  # the project's key shifted by 32 bits, and the period's
    project = models.ForeignKey("portal.Project", models.DO_NOTHING, related_name="months")
    period = models.ForeignKey("portal.AccountingPeriod", models.DO_NOTHING, related_name="+")
    currency = models.CharField(max_length=3)
    entries = models.IntegerField()
    hours = models.DecimalField(max_digits=18, decimal_places=4)
    amount = models.DecimalField(max_digits=18, decimal_places=4)
    blocked = models.DecimalField(
        max_digits=18, decimal_places=4
    )  # held, refused, in doubt, taken back, left out of its bill
    under_way = models.DecimalField(max_digits=18, decimal_places=4)  # to be sent, sent, or receipted and not read back
    ready = models.DecimalField(max_digits=18, decimal_places=4)  # posted, and to be billed by whoever bills next
    invoiced = models.DecimalField(
        max_digits=18, decimal_places=4
    )  # issued, less what was credited, price alone as well
    stopped = models.IntegerField()  # entries that are held, refused, in doubt, or posted and taken back
    unpriced_hours = models.DecimalField(max_digits=18, decimal_places=4)
    in_other_currency = models.IntegerField()
    milestones = models.DecimalField(max_digits=18, decimal_places=4)  # of the period, in `currency`
    unsigned = models.IntegerField()  # milestones due by the period's end that nobody signed
    milestones_ready = models.DecimalField(
        max_digits=18, decimal_places=4
    )  # of `milestones`, delivered and not invoiced
    milestones_invoiced = models.DecimalField(max_digits=18, decimal_places=4)  # of `milestones`, as `invoiced`
    drafted = models.DecimalField(
        max_digits=18, decimal_places=4
    )  # on a draft that was handed over or that nobody issued
    on_hold = models.DecimalField(max_digits=18, decimal_places=4)  # on a line that a person holds off an invoice
    gone = models.DecimalField(
        max_digits=18, decimal_places=4
    )  # on invoices that are void or that their system deleted, until somebody lets them go
    off_price = models.DecimalField(
        max_digits=18, decimal_places=4
    )  # by which bills of hours and milestones ask for less than was agreed: credited in price, or adopted so

    scope = Scope("project__entity")
    objects = ScopedQuerySet.as_manager()

    class Meta:
        managed = False
        db_table = "reconciliation_projectmonth"
        ordering = ["-blocked", "project__code"]

    def __str__(self) -> str:
        return f"{self.project.code} {self.period.code}"

    @property
    def to_bill(self) -> Decimal:
        """All that is to be billed of it, hours and milestones."""
        return self.amount + self.milestones

    @property
    def all_ready(self) -> Decimal:
        """What of it may be billed now, hours and milestones."""
        return self.ready + self.milestones_ready

    @property
    def all_invoiced(self) -> Decimal:
        """What invoices ask for of it, hours and milestones."""
        return self.invoiced + self.milestones_invoiced

    @property
    def all_billed(self) -> Decimal:
        """What of it needs no other invoice, at whichever price it was billed."""
        return self.all_invoiced + self.off_price
