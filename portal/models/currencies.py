"""Exchange rates: what one currency is worth in another, for comparing only.

The rule here: nothing is ever booked at these rates, and none is made up. What has no rate is compared with nothing.
"""

from __future__ import annotations

from datetime import date
from typing import Self

from django.db import models
from django.db.models import F, Q
from simple_history.models import HistoricalRecords


class ExchangeRates(models.QuerySet["ExchangeRate"]):
    """Exchange rates, which no entity owns."""

    def holding_on(self, day: date) -> Self:
        """The rate of each pair that holds on a day."""
        begun = self.model._base_manager.filter(valid_from__lte=day).order_by("currency", "to_currency", "-valid_from")
        return self.filter(pk__in=begun.distinct("currency", "to_currency").values("pk"))


class ExchangeRate(models.Model):
    """How much of one currency a unit of another is worth, from a day on until the next rate of the pair; and who said so."""

    currency = models.CharField(max_length=3)
    to_currency = models.CharField(max_length=3)
    valid_from = models.DateField()
    rate = models.DecimalField(max_digits=20, decimal_places=10)  # 1 of `currency` is so much of `to_currency`
    source = models.CharField(max_length=60)  # as ERP, or ECB

    history = HistoricalRecords(history_change_reason_field=models.TextField(null=True))
    objects = ExchangeRates.as_manager()

    class Meta:
        ordering = ["currency", "to_currency", "-valid_from"]
        constraints = [
            models.UniqueConstraint(
                fields=["currency", "to_currency", "valid_from"], name="a_pair_of_currencies_has_one_rate_from_a_day"
            ),
            models.CheckConstraint(condition=Q(rate__gt=0), name="exchange_rate_is_above_zero"),
            models.CheckConstraint(
                condition=~Q(currency=F("to_currency")), name="exchange_rate_is_between_two_currencies"
            ),
        ]

    def __str__(self) -> str:
        return f"1 {self.currency} = {self.rate.normalize():f} {self.to_currency} from {self.valid_from}"
