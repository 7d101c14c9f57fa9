"""One project in one period: the twelve questions, what the customer would read, and how old the unbilled work is."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from django.db.models import QuerySet
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString

from portal import charts
from portal.models import AccountingPeriod, ProposalLine
from portal.screens import DetailScreen
from reconciliation import readiness
from reconciliation.models import ProjectMonth
from reconciliation.readiness import Verdict
from reconciliation.sql import readiness as readiness_sql
from reconciliation.views.invoicing.actions import Prepare
from reconciliation.views.readiness.nudging import NudgeApprover
from reconciliation.views.readiness.portfolio import Portfolio
from reconciliation.views.readiness.tables import MODELS
from reconciliation.views.readiness.telling import PROPOSED, off_price, percent, proposals_of

BUCKETS = ((0, "0 to 14 days"), (15, "15 to 29"), (30, "30 to 59"), (60, "60 to 89"), (90, "90 and more"))


class ReadinessScreen(DetailScreen):
    """One project in one period: the twelve questions, what the customer would read, and how old the unbilled work is."""

    template_name = "reconciliation/readiness.html"
    queryset = Portfolio.queryset
    actions = (Prepare, NudgeApprover)
    object: ProjectMonth

    def rows(self) -> QuerySet[Any]:
        """The month of the address, where this person may open it."""
        return readiness.of_key(super().rows(), self.kwargs["pk"])

    def heading(self) -> str:
        """Project and period."""
        return f"{self.object.project.name}, {self.object.period.code}"

    def entity_id(self) -> int | None:
        """The project's entity."""
        return self.object.project.entity_id

    def context(self, **more: Any) -> dict[str, Any]:
        """Everything the page shows."""
        month, period = self.object, self.object.period
        checks = readiness.checklist(month)
        before = _before(period)
        parts = readiness_sql.parts(
            month.project_id, period.starts_on, period.ends_on, (before.starts_on, before.ends_on) if before else None
        )
        failing = [check for check in checks if check.verdict is Verdict.FAIL]
        return super().context(
            **more,
            month=month,
            checks=checks,
            failing=failing,
            percent=percent(month),
            lost=readiness.lost([month]).get(month.pk),
            held_lines=_held_lines(month),
            off_price=off_price(month),
            parts=[part for part in parts if part.entries],
            stones=readiness.milestones_of(month),
            gone=[part for part in parts if not part.entries and part.before],
            totals=_totals(parts),
            before=before,
            manager=readiness.manager_of(month.project),
            proposals=[(one, PROPOSED[one.state]) for one in proposals_of([month]).get(month.pk, ())],
            model=MODELS.get(readiness.billing_model_of(month.project), ""),
            runs=readiness.terms_of(month.project).runs(timezone.localdate()),
            ageing=ageing([month.project_id]),
            entries=f"{reverse('ledger')}?project={month.project.code}&work_date_from={period.starts_on}&work_date_to={period.ends_on}",
        )  # fmt: skip


def _held_lines(month: ProjectMonth) -> list[ProposalLine]:
    """The lines that a person holds off an invoice with work of the month on them."""
    lines = ProposalLine.objects.filter(
        proposal__project=month.project_id, held_by__isnull=False, parts__released_at=None,
        parts__entry__work_date__range=(month.period.starts_on, month.period.ends_on),
    )  # fmt: skip
    return list(lines.distinct().order_by("pk")[:5])


def _before(period: AccountingPeriod) -> AccountingPeriod | None:
    """The period before, of the same entity."""
    earlier = AccountingPeriod.objects.filter(entity=period.entity_id, ends_on__lt=period.starts_on)
    return earlier.order_by("-ends_on").first()


def _totals(parts: Sequence[readiness_sql.Part]) -> list[tuple[str, Decimal, Decimal, Decimal, Decimal]]:
    """(currency, hours, amount, ready, amount before) of all lines."""
    sums: dict[str, list[Decimal]] = {}
    for part in parts:
        if part.currency:
            kept = sums.setdefault(part.currency, [Decimal(0)] * 4)
            for place, value in enumerate((part.hours, part.amount, part.ready, part.before)):
                kept[place] += value
    return [(code, *values) for code, values in sums.items()]  # type: ignore[misc]


def ageing(project_ids: Sequence[int]) -> list[tuple[str, SafeString]]:
    """One chart a currency: posted work and delivered milestones that no invoice has, by age in days."""
    sums: dict[str, dict[int, Decimal]] = {}
    for currency, bucket, amount in readiness_sql.unbilled(project_ids, timezone.localdate()):
        if amount:
            sums.setdefault(currency, {})[bucket] = amount
    return [
        (
            currency,
            charts.bars(
                [charts.Bar(words, found.get(bucket, Decimal(0))) for bucket, words in BUCKETS],
                title=f"Delivered and not invoiced, by age in days, {currency}", unit=currency, places=2,
            ),
        )
        for currency, found in sums.items()
    ]  # fmt: skip
