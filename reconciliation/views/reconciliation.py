"""Reconciliation: which periods tie out, what differs in those that do not, and asking for another comparison.

The rule here: a figure on these screens is what a run found when it ran; the screen says when that was, and never adds up
anew. Network stays outside the request: asking writes a row.
"""

from __future__ import annotations

from typing import Any

from django.db.models import Case, IntegerField, OuterRef, Q, QuerySet, Subquery, Sum, Value, When
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString

from portal import figures
from portal.access import FIXERS, may
from portal.models import AccountingPeriod
from portal.screens import (
    Action,
    DetailScreen,
    Empty,
    ListScreen,
    MainColumn,
    Notice,
    Outcome,
    Tab,
    Table,
    Tile,
    WhenColumn,
)
from portal.screens.paging import Summary
from portal.screens.tables import Column
from reconciliation import certifying, matching
from reconciliation.models import Certificate, ReconciliationResult, ReconciliationRun
from reconciliation.views import plots
from reconciliation.views.legs import changes_of, leg_of, legs_of, uncompared_of
from reconciliation.views.periods import PeriodFilter, RowFilter, of_one_leg
from reconciliation.views.results import ABOUT, ResultTable, result_name
from reconciliation.views.signing import Certify, Prepare, Withdraw

State = ReconciliationRun.State
Leg = ReconciliationResult.Leg
DIFFERS = ~Q(standing__in=sorted(matching.SETTLED))
RUN_TONES = {State.RUNNING: "info", State.BALANCED: "good", State.OUT_OF_BALANCE: "bad", State.FAILED: "bad"}
SIGNED = Certificate.State
SHEET_ROWS = 200  # open items on the printed sheet; the export has every one


class ReconcileNow(Action):
    """Compare a period anew."""

    name, label, immediate = "reconcile", "Reconcile now", True
    roles = FIXERS

    def apply(self, queryset: QuerySet[Any], user: Any) -> Outcome:
        """Write the question; a worker reads the statements and answers it."""
        runs = [matching.request(period.entity, period, user) for period in queryset.select_related("entity")]
        if len(runs) == 1:
            return Outcome(
                f"{runs[0]} is compared now; statements are read first.",
                url=reverse("reconciliation_run", args=[runs[0].pk]),
            )
        return Outcome(f"{len(runs):,} periods are compared now; statements are read first.")


class LegColumn(Column):
    """One leg of a period's latest run: its state, what differs, and how much matched."""

    css = "text"

    def __init__(self, leg: str, **more: Any) -> None:
        self.leg = leg
        super().__init__(accessor="latest_totals", orderable=False, empty_values=(), **more)

    def render(self, value: Any, record: Any) -> SafeString:
        """The state, and under it what is missing on the right (minus: on the left)."""
        if not value or self.leg not in value:
            return format_html('<span class="quiet">{}</span>', figures.UNKNOWN)
        leg = leg_of(self.leg, value[self.leg])
        words = [leg.percent]
        if leg.hours:
            words.append(f"{figures.hours(leg.hours)} h")
        words.extend(f"{figures.amount(amount, code)} {code}" for code, amount in leg.money if amount)
        return format_html(
            '<span class="state {}">{}</span><small>{}</small>', leg.tone, leg.verdict, " · ".join(words)
        )

    def value(self, value: Any) -> str:
        """The words alone, for an export."""
        if not value or self.leg not in value:
            return ""
        leg = leg_of(self.leg, value[self.leg])
        return f"{leg.verdict}, {leg.percent}, {leg.hours} h"


class OverviewTable(Table):
    """One period of one entity a row, one leg a column."""

    code = MainColumn(
        verbose_name="Period",
        url=lambda row: reverse("reconciliation_period", args=[row.pk]),
        second=lambda row: f"{row.entity} · {row.get_state_display().lower()}",
        drawer=False,
        order_by="starts_on",
    )
    latest_state = Column(verbose_name="State", empty_values=(), orderable=False)
    tracker = LegColumn(Leg.TRACKER_LEDGER, verbose_name="Tracker ↔ ledger")
    target = LegColumn(Leg.LEDGER_TARGET, verbose_name="Ledger ↔ ERP")
    bills = LegColumn(Leg.TARGET_INVOICE, verbose_name="ERP ↔ invoice")
    payments = LegColumn(Leg.INVOICE_PAYMENT, verbose_name="Invoice ↔ payment")
    latest_at = WhenColumn(verbose_name="Last run", orderable=False)

    def render_latest_state(self, value: Any, record: Any) -> SafeString:
        """The state in words, and under it whether two people signed the period and their word still stands."""
        if not record.signed:
            return state_word(value)
        return format_html("{}<small>{}</small>", state_word(value), SIGNED(record.signed).label)

    def value_latest_state(self, value: Any, record: Any) -> str:
        """The words alone."""
        state = str(State(value).label) if value else "Not run"
        return f"{state}, {str(SIGNED(record.signed).label).lower()}" if record.signed else state


def state_word(state: str | None) -> SafeString:
    """The state of a run as a coloured word."""
    if not state:
        return format_html('<span class="state">{}</span>', "Not run")
    return format_html('<span class="state {}">{}</span>', RUN_TONES[State(state)], State(state).label)


def periods_with_runs() -> QuerySet[AccountingPeriod]:
    """Periods that have begun, with what their latest run found, in one statement."""
    latest = ReconciliationRun.objects.filter(period=OuterRef("pk")).order_by("-pk")
    signed = Certificate.objects.filter(period=OuterRef("pk")).order_by("-pk")
    return (
        AccountingPeriod.objects.filter(starts_on__lte=timezone.localdate())
        .select_related("entity")
        .annotate(
            latest_run=Subquery(latest.values("pk")[:1]),
            latest_state=Subquery(latest.values("state")[:1]),
            latest_totals=Subquery(latest.values("totals")[:1]),
            latest_at=Subquery(latest.values("started_at")[:1]),
            signed=Subquery(signed.values("state")[:1]),
        )
        .order_by("-starts_on", "entity__code")
    )


class ReconciliationScreen(ListScreen):
    """Entity by period, the four legs beside each other."""

    title = "Reconciliation"
    filterset = PeriodFilter
    table = OverviewTable
    actions = (ReconcileNow,)
    tabs = (
        Tab("all", "All"),
        Tab("differ", "Out of balance", lambda _user: Q(latest_state__in=[State.OUT_OF_BALANCE, State.FAILED])),
        Tab("not-run", "Not run", lambda _user: Q(latest_state=None)),
        Tab("balanced", "Balanced", lambda _user: Q(latest_state=State.BALANCED)),
    )
    caption = "Entities and periods with their four legs"
    empty = Empty("No period has begun yet", "Periods come with the master data, by import or from the ERP.")

    @property
    def queryset(self) -> QuerySet[AccountingPeriod]:  # type: ignore[override]
        """Periods as of today."""
        return periods_with_runs()

    def headline(self) -> str:
        """What is compared."""
        return "What was worked, booked on the ledger, booked in the ERP, invoiced and paid: each against the next."

    def nothing(self) -> Empty:
        """By tab: nothing out of balance is good news."""
        if self.tab and self.tab.slug == "differ":
            return Empty("Nothing is out of balance", "Every period that was compared ties out.", "?tab=all", "See all")
        if self.tab and self.tab.slug == "not-run":
            return Empty(
                "Every period was compared", "Compare one again to see it as it stands now.", "?tab=all", "See all"
            )
        return self.empty


class PeriodScreen(DetailScreen):
    """One period of one entity: its latest run leg by leg, its certificates, its plots, and the runs before."""

    template_name = "reconciliation_runs/period.html"
    actions = (ReconcileNow, Prepare, Certify, Withdraw)
    object: AccountingPeriod

    @cached_property
    def certificate(self) -> Certificate | None:
        """The certificate that stands."""
        return certifying.live(self.object)

    def permitted(self, roles: frozenset[str]) -> list[type[Action]]:
        """What may be done as the period stands: what is signed is certified or withdrawn, else it is prepared."""
        signed = self.certificate
        fitting: set[type[Action]] = {ReconcileNow}
        if signed is None:
            fitting.add(Prepare)
        else:
            fitting.add(Withdraw)
            if signed.state == Certificate.State.PREPARED and signed.prepared_by_id != self.request.user.pk:
                fitting.add(Certify)
        return [action for action in super().permitted(roles) if action in fitting]

    @property
    def queryset(self) -> QuerySet[AccountingPeriod]:  # type: ignore[override]
        """Periods with their latest run."""
        return AccountingPeriod.objects.select_related("entity")

    def heading(self) -> str:
        """Entity and period."""
        return f"{self.object.entity} {self.object.code}"

    def context(self, **more: Any) -> dict[str, Any]:
        """The runs, latest first."""
        runs = ReconciliationRun.objects.filter(period=self.object).select_related("entity", "period", "requested_by")
        shown = [(run, state_word(run.state), legs_of(run.totals)) for run in runs.order_by("-pk")[:12]]
        past = self.object.certificates.exclude(state__in=certifying.LIVE)
        ended = [
            (one, changes_of(one.delta.get("legs", {})))
            for one in past.select_related("prepared_by", "certified_by")[:5]
        ]
        return super().context(
            **more, runs=shown, latest=shown[0] if shown else None, certificate=self.certificate, ended=ended,
            uncompared=uncompared_of(self.certificate) if self.certificate else [],
            plots=plots.of_period(self.object), rates=plots.match_rates([run for run, _, _ in reversed(shown)]),
        )  # fmt: skip


class RunScreen(ListScreen):
    """What one run found: totals per leg, and every result, differences first."""

    template_name = "reconciliation_runs/run.html"
    filterset = RowFilter
    table = ResultTable
    tabs = (
        Tab("differ", "Differences", lambda _user: DIFFERS),
        Tab("timing", "Waiting", lambda _user: Q(standing="timing")),
        Tab("matched", "Explained", lambda _user: Q(standing="matched")),
        Tab("all", "All"),
    )
    totals = {
        "hours_left": Sum("hours_left"), "hours_right": Sum("hours_right"),
        "amount_left": Sum("amount_left"), "amount_right": Sum("amount_right"),
    }  # fmt: skip
    currency = "currency"
    caption = "Results of the comparison, differences first"

    def summary_of(self, queryset: QuerySet[Any]) -> Summary:
        """Count and totals, as far as the rows are of one leg."""
        return of_one_leg(super().summary_of(queryset), queryset)

    @cached_property
    def run(self) -> ReconciliationRun:
        """The run of this address; one of another entity is not found."""
        seen = ReconciliationRun.objects.visible_to(self.request.user).select_related(
            "entity", "period", "requested_by"
        )
        found: ReconciliationRun = get_object_or_404(seen, pk=self.kwargs["pk"])
        return found

    @property
    def queryset(self) -> QuerySet[ReconciliationResult]:  # type: ignore[override]
        """The run's results, what differs before what waits before what matched."""
        weight = Case(
            When(standing="matched", then=Value(2)), When(standing="timing", then=Value(1)), default=Value(0),
            output_field=IntegerField(),
        )  # fmt: skip
        results = ReconciliationResult.objects.as_of(self.run).select_related(*ABOUT)
        found: QuerySet[ReconciliationResult] = results.annotate(weight=weight).order_by("weight", "leg", "outcome")
        return found

    def rows(self) -> QuerySet[Any]:
        """The results of this run, whatever entities are looked at elsewhere."""
        return self.queryset

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Name the page after its run."""
        if request.user.is_authenticated:
            self.title = str(self.run)
        return super().dispatch(request, *args, **kwargs)

    def context(self, **more: Any) -> dict[str, Any]:
        """The run and its legs beside the list."""
        return super().context(
            **more,
            run=self.run,
            state=state_word(self.run.state),
            legs=legs_of(self.run.totals),
            is_running=self.run.state == State.RUNNING,
            may_reconcile=may(self.request.user, FIXERS, self.run.entity_id),
            latest=ReconciliationRun.objects.filter(period=self.run.period_id).order_by("-pk").first(),
        )

    def tiles(self) -> list[Tile]:
        """Per leg: the verdict, and how much matched."""
        found = []
        for leg in legs_of(self.run.totals):
            found.append(Tile(leg.label, leg.verdict, note=leg.percent, tone="bad" if leg.differing else ""))
            money = " · ".join(f"{figures.amount(amount, code)} {code}" for code, amount in leg.money if amount)
            said = money or f"{figures.hours(leg.left_hours)} h on the left"
            found.append(Tile("Left less right", figures.hours(leg.hours), "h", note=said))
        return found

    def notices(self) -> list[Notice]:
        """Why it failed, or that a later one is there."""
        found = []
        if self.run.failure:
            found.append(Notice(self.run.failure, "bad"))
        if self.run.waits_for:
            found.append(Notice(f"{self.run.waits_for} It goes on by itself.", "info"))
        elif self.run.state == State.RUNNING and self.run.lease_until and self.run.lease_until < timezone.now():
            found.append(Notice("The worker that compared it has ended. Another one goes on with it.", "warn"))
        later = ReconciliationRun.objects.filter(period=self.run.period_id, pk__gt=self.run.pk).order_by("-pk").first()
        if later is not None:
            address = reverse("reconciliation_run", args=[later.pk])
            found.append(Notice("A later run of this period is there.", "info", address, "See the latest run"))
        return found

    def nothing(self) -> Empty:
        """By tab and state."""
        if self.run.state == State.RUNNING:
            if self.run.waits_for:
                return Empty(
                    "It waits", "Nothing is compared before every statement is read; this page follows by itself."
                )
            return Empty("It is being compared", "Statements are read first; this page follows by itself.")
        if self.run.state == State.FAILED:
            return Empty("It could not be compared", "No statement is no proof; nothing was moved.")
        if self.tab and self.tab.slug == "differ":
            return Empty("Nothing differs", "Every row matches or only waits.", "?tab=all", "See all rows")
        return Empty("No row here", "The period holds nothing of this kind.")


class SheetScreen(DetailScreen):
    """The run on paper: totals, open items, and room for two signatures."""

    queryset = ReconciliationRun.objects.select_related("entity", "period", "requested_by")
    template_name = "reconciliation_runs/sheet.html"
    object: ReconciliationRun

    def heading(self) -> str:
        """Entity and period."""
        return f"Reconciliation {self.object}"

    def context(self, **more: Any) -> dict[str, Any]:
        """What is signed."""
        results = ReconciliationResult.objects.as_of(self.object).exclude(standing="matched")
        items = list(results.select_related(*ABOUT).order_by("leg", "outcome", "pk")[: SHEET_ROWS + 1])
        live = Certificate.objects.filter(run=self.object, state__in=certifying.LIVE)
        signed = live.select_related("prepared_by", "certified_by").first()
        return super().context(
            **more,
            certificate=signed,
            uncompared=uncompared_of(signed) if signed else [],
            state=state_word(self.object.state),
            legs=legs_of(self.object.totals),
            items=[(item, result_name(item)) for item in items[:SHEET_ROWS]],
            more_items=results.count() - SHEET_ROWS if len(items) > SHEET_ROWS else 0,
        )
