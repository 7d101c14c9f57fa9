"""`manage.py reconcile --entity E --period P`: read the target's statement, compare, print the table; 0 when it ties out."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from integrations import statements
from portal.models import AccountingPeriod, LegalEntity
from reconciliation.models import ReconciliationResult, ReconciliationRun

_SHOWN = 20


class Command(BaseCommand):
    """Tie a month out."""

    help = "Compares tracker, ledger and ERP of an entity and period. Exit 0 when balanced, 1 when not."

    def add_arguments(self, parser: CommandParser) -> None:
        """Which entity and period."""
        parser.add_argument("--entity", required=True, help="the legal entity's code, e.g. US")
        parser.add_argument("--period", required=True, help="the accounting period's code, e.g. 2026-09")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run and print."""
        entity = LegalEntity.objects.filter(code=options["entity"]).first()
        if entity is None:
            known = ", ".join(LegalEntity.objects.values_list("code", flat=True)) or "none"
            raise CommandError(f"There is no legal entity {options['entity']!r}; the entities are {known}.")
        period = AccountingPeriod.objects.filter(entity=entity, code=options["period"]).first()
        if period is None:
            known = ", ".join(AccountingPeriod.objects.filter(entity=entity).values_list("code", flat=True)) or "none"
            raise CommandError(f"{entity} has no period {options['period']!r}; its periods are {known}.")
        run = statements.reconcile(entity, period)
        self._print(run)
        if run.state != ReconciliationRun.State.BALANCED:
            raise SystemExit(1)

    def _print(self, run: ReconciliationRun) -> None:
        self.stdout.write(f"{run.entity} {run.period.code}: {run.get_state_display()} (run {run.pk})")
        if run.failure or run.waits_for:
            self.stdout.write(run.failure or f"{run.waits_for} It goes on by itself.")
            return
        line = "{:<18} {:>8} {:>8} {:>8} {:>14} {:>14}"
        self.stdout.write(line.format("", "matched", "open", "differ", "hours left", "hours right"))
        for leg, totals in run.totals.items():
            label = ReconciliationResult.Leg(leg).label
            hours = totals["hours"]
            self.stdout.write(
                line.format(
                    label, totals["matched"], totals["open"], totals["differing"], hours["left"], hours["right"]
                )
            )
            if "not_compared" in totals:
                self.stdout.write(f"  not compared: {totals['not_compared']}")
            for currency, money in totals["money"].items():
                self.stdout.write(line.format(f"  {currency}", "", "", "", money["left"], money["right"]))
        differing = (
            ReconciliationResult.objects.standing()
            .filter(period=run.period_id, standing__in=("unmatched", "suggested"))
            .order_by("leg", "outcome", "id")
        )
        for result in differing[:_SHOWN]:
            self.stdout.write(f"  {result.get_leg_display()}: {result.get_outcome_display()}: {result.reason}")
        if (more := differing.count() - _SHOWN) > 0:
            self.stdout.write(f"  and {more} more")
