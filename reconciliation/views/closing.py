"""The close board of all entities, and what of a period has not arrived."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import timezone

from portal.models import AccountingPeriod
from portal.screens import DetailScreen, Screen
from portal.screens.entities import within
from reconciliation import certifying, closing, holes
from reconciliation.models import Certificate, ReconciliationRun
from reconciliation.views.legs import legs_of, uncompared_of

SHOWN = 60
SHOWN_PEOPLE = 300
_PAST = 45  # days after its end for which a period stays on the board


class CloseBoard(Screen):
    """Every period that runs or is being closed: hours to its end, money held, waiting and in doubt, and when it is through."""

    title = "Close"
    template_name = "reconciliation_runs/close.html"

    def get(self, request: HttpRequest) -> HttpResponseBase:
        """The board, the nearest end first."""
        today = timezone.localdate()
        seen = within(AccountingPeriod.objects.visible_to(request.user), request).select_related("entity")
        begun = seen.filter(starts_on__lte=today, ends_on__gte=today - timedelta(days=_PAST)).exclude(state="future")
        periods = list(begun.order_by("ends_on", "entity__code")[:SHOWN])
        latest = Certificate.objects.filter(period__in=periods).order_by("period_id", "-pk").distinct("period_id")
        signed = {one.period_id: one for one in latest}
        runs = ReconciliationRun.objects.filter(period__in=periods, seen_until__isnull=False)
        compared = {
            run.period_id: legs_of(run.totals) for run in runs.order_by("period_id", "-pk").distinct("period_id")
        }
        rows = [
            (
                close,
                signed.get(close.period.pk),
                compared.get(close.period.pk, []),
                _accepted(signed.get(close.period.pk)),
            )
            for close in closing.board(periods)
        ]
        return self.page(self.context(rows=rows))


def _accepted(signed: Certificate | None) -> list[str]:
    """What a certificate that stands accepts without proof."""
    return uncompared_of(signed) if signed is not None and signed.state in certifying.LIVE else []


class HolesScreen(DetailScreen):
    """Whose hours of a period were expected and have not arrived, person by person and day by day."""

    queryset = AccountingPeriod.objects.select_related("entity")
    template_name = "reconciliation_runs/holes.html"
    object: AccountingPeriod

    def heading(self) -> str:
        """Entity and period."""
        return f"What has not arrived of {self.object.entity} {self.object.code}"

    def context(self, **more: Any) -> dict[str, Any]:
        """People, the most silent first."""
        found = holes.of_period(self.object)
        return super().context(
            **more, people=found[:SHOWN_PEOPLE], more_people=max(0, len(found) - SHOWN_PEOPLE),
            silent=sum(1 for row in found if row.silent), days=sum(len(row.silent) for row in found),
        )  # fmt: skip
