"""The portfolio: the projects of a period, the most blocked money first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from functools import partial
from typing import Any

import django_filters as filters
from django.db.models import F, OuterRef, Q, QuerySet, Subquery, Sum
from django.http import QueryDict
from django.utils import timezone
from django.utils.functional import cached_property

from portal import figures
from portal.models import AccountingPeriod, GrantRole, LedgerEntry, LegalEntity, State
from portal.records import DocumentKind
from portal.screens import Empty, ListScreen, Tab, Tile, within
from portal.screens.base import roles_of
from portal.screens.entities import chosen_entities
from portal.screens.facets import AnyOf, Facet
from portal.screens.printing import EntityTotal, totals_by
from reconciliation import budgets, readiness
from reconciliation.models import ProjectMonth
from reconciliation.sql import readiness as readiness_sql
from reconciliation.views.readiness.tables import PortfolioTable
from reconciliation.views.readiness.telling import proposals_of


class PortfolioFilter(filters.FilterSet):  # type: ignore[misc]
    """What project months are found by."""

    period = AnyOf("period__code", label="Period", distinct=False)
    entity = AnyOf("project__entity__code", label="Entity", distinct=False)
    customer = AnyOf("project__customer__code", label="Customer", distinct=False)
    manager = AnyOf("project__manager__username", label="Manager", distinct=False)
    text = filters.CharFilter(method="by_text", label="Project")

    def by_text(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """In the project's code or name."""
        return rows.filter(Q(project__code__icontains=value) | Q(project__name__icontains=value))

    class Meta:
        model = ProjectMonth
        fields: list[str] = []


def _is_ready() -> Q:
    nothing_stops = Q(blocked=0, under_way=0, stopped=0, unsigned=0, unpriced_hours=0, in_other_currency=0)
    nothing_stops &= Q(on_hold=0, gone=0)
    return nothing_stops & (Q(ready__gt=0) | Q(milestones_ready__gt=0))


class _Asked:
    """What the optional columns of a page say, read for all of its rows by the first of them that is shown.

    Both look at all the work that a project or a contract ever had.
    """

    def __init__(self, records: Sequence[Any]) -> None:
        self.records = records

    @cached_property
    def invoices(self) -> dict[int, tuple[str, date | None]]:
        """The latest invoice of each project."""
        return readiness_sql.last_invoices([record.project_id for record in self.records])

    @cached_property
    def maxima(self) -> dict[int, budgets.Budget]:
        """The maximum of each capped contract."""
        contracts = [record.project.contract for record in self.records]
        return budgets.of_contracts(one for one in contracts if one is not None)

    def last_invoice(self, record: Any) -> str:
        """Its number and its day."""
        number, day = self.invoices.get(record.project_id, ("", None))
        return f"{number}, {figures.day(day)}" if day else number

    def left_to_work(self, record: Any) -> Decimal | None:
        """What may still be worked under its maximum; None where none is agreed."""
        maximum = self.maxima.get(record.project.contract_id or 0)
        return maximum.to_work if maximum else None

    def left_to_bill(self, record: Any) -> Decimal | None:
        """What may still be billed under its maximum; None where none is agreed."""
        maximum = self.maxima.get(record.project.contract_id or 0)
        return maximum.to_bill if maximum else None


class Portfolio(ListScreen):
    """Projects of a period, the most blocked money first."""

    title = "Billing readiness"
    caption = "Projects in a period, the most blocked money first"
    queryset = ProjectMonth.objects.select_related(
        "project__entity", "project__customer", "project__contract", "project__manager", "period"
    )
    filterset = PortfolioFilter
    given = frozenset({"period"})
    facets = {
        "period": Facet("period__code"), "entity": Facet("project__entity__code", "project__entity__name"),
        "customer": Facet("project__customer__code", "project__customer__name"),
        "manager": Facet("project__manager__username"),
    }  # fmt: skip
    table = PortfolioTable
    totals = {name: Sum(name, default=Decimal(0)) for name in ("hours", "amount", "milestones")}
    currency = "currency"

    @cached_property
    def tabs(self) -> Sequence[Tab]:  # type: ignore[override]
        """A project manager begins with their own."""
        mine = Tab("mine", "My projects", lambda user: Q(project__manager=user.pk))
        whole = Tab("all", "All")
        first = (mine, whole) if GrantRole.PROJECT_MANAGER in roles_of(self.request) else (whole, mine)
        return (
            *first,
            Tab(
                "held-up",
                "Blocked",
                lambda _user: Q(stopped__gt=0) | Q(blocked__gt=0) | Q(unsigned__gt=0) | Q(gone__gt=0),
            ),
            Tab("to-bill", "Ready", lambda _user: _is_ready()),
        )

    def rows(self) -> QuerySet[Any]:
        """The months of the chosen periods, so that tabs count nothing else."""
        chosen = [code for code in self.params.getlist("period") if code]
        periods = AccountingPeriod.objects.visible_to(self.request.user).filter(code__in=chosen)
        keys = list(within(periods, self.request).values_list("pk", flat=True))
        months: Any = readiness.added_up(self.queryset, keys) if chosen else self.queryset.all()
        return within(months.visible_to(self.request.user), self.request)

    @cached_property
    def params(self) -> QueryDict:
        """What the address says; where it names no period, the latest one with work."""
        said = super().params
        if any(said.getlist("period")) or not self.latest_period:
            return said
        filled = said.copy()
        filled["period"] = self.latest_period
        return filled

    @cached_property
    def latest_period(self) -> str:
        """The code of the period of the latest work that stands and is not in the future."""
        worked = LedgerEntry.objects.filter(kind__in=[DocumentKind.TIME, DocumentKind.EXPENSE], project__isnull=False)
        stands = worked.filter(reverses=None).exclude(state_row__state__in=[State.CANCELLED, State.REVERSED])
        done = stands.filter(work_date__lte=timezone.localdate())
        newest = done.filter(entity=OuterRef("pk")).order_by("-work_date").values("pk")[:1]
        of_each = LegalEntity.objects.filter(pk__in=chosen_entities(self.request).ids).values_list(Subquery(newest))
        last = LedgerEntry.objects.filter(pk__in=of_each).select_related("project").order_by("-work_date").first()
        if last is None or last.project is None:
            return ""
        held = AccountingPeriod.objects.filter(
            entity=last.project.entity_id, starts_on__lte=last.work_date, ends_on__gte=last.work_date
        )
        return held.values_list("code", flat=True).first() or ""

    def headline(self) -> str:
        """What the list is about."""
        return "How far the work of each project is on its way to the customer's invoice, and what stops the rest"

    @cached_property
    def summed(self) -> list[dict[str, Any]]:
        """What is ready, blocked and invoiced of the filter, hours and milestones, by currency, the most first."""
        whole = {
            "of_all": F("amount") + F("milestones"), "now": F("ready") + F("milestones_ready"), "held_up": F("blocked"),
            "billed": F("invoiced") + F("milestones_invoiced"), "lost": F("gone"), "unpriced": F("unpriced_hours"),
        }  # fmt: skip
        sums = {name: Sum(what, default=Decimal(0)) for name, what in whole.items()}
        return list(self.filtered.order_by().values("currency").annotate(**sums).order_by("-of_all", "currency"))

    def tiles(self) -> Sequence[Tile]:
        """Ready now, blocked, waiting for approval, invoiced."""
        if not self.summary.count:
            return []
        ids = list(self.filtered.order_by().values_list("project_id", "period__starts_on", "period__ends_on"))
        start, end = min(row[1] for row in ids), max(row[2] for row in ids)
        ((count, hours, _),) = readiness_sql.waiting_for_approval(sorted({row[0] for row in ids}), start, end)
        return [
            self._tile("Ready now", "now", "to-bill"),
            self._tile("Blocked", "held_up", "held-up", tone="bad", beside=self._unpriced()),
            Tile(
                "Waiting for approval",
                figures.hours(hours),
                "h",
                note="1 entry" if count == 1 else f"{count:,} entries",
            ),
            self._tile("Invoiced", "billed", beside=self._gone()),
        ]

    def _unpriced(self) -> str:
        hours = sum((row["unpriced"] for row in self.summed), Decimal(0))
        return f"and {figures.hours(hours)} h without a rate" if hours else ""

    def _gone(self) -> str:
        lost = [(row["lost"], row["currency"]) for row in self.summed if row["lost"]]
        return "".join(
            f"besides {figures.amount(amount, code)} {code} on void or deleted invoices" for amount, code in lost[:1]
        )

    def _tile(self, label: str, name: str, tab: str = "", tone: str = "", beside: str = "") -> Tile:
        sums = sorted(((row[name], row["currency"]) for row in self.summed if row[name]), reverse=True)
        most, code = sums[0] if sums else (Decimal(0), "")
        is_on = bool(tab and self.tab and self.tab.slug == tab)
        return Tile(
            label, figures.amount(most, code), code, self.query(tab="all" if is_on else tab) if tab else "",
            " · ".join([*(f"and {figures.amount(one, other)} {other}" for one, other in sums[1:]), *filter(None, [beside])]),
            tone if sums or beside else "", is_on,
        )  # fmt: skip

    def nothing(self) -> Empty:
        """Nothing left is good news; no work at all says where it comes from."""
        whole = self.query(tab="all")
        if self.tab and self.tab.slug == "mine":
            return Empty("None of your projects has work in this period", "", whole, "See all projects")
        if self.tab and self.tab.slug == "held-up":
            return Empty("Nothing is blocked", "Every project of this period can be billed.", whole, "See all")
        if self.tab and self.tab.slug == "to-bill":
            return Empty("No project is wholly ready", "What stops each of them is in the list.", whole, "See all")
        return Empty("No work in this period", "Work stands here once its source has been read.")

    def entity_totals(self) -> list[EntityTotal]:
        """Hours and money of each entity, for paper."""
        return totals_by(self.filtered, self.totals, entity="project__entity__code", currency="currency")

    def tell(self, records: Sequence[Any]) -> None:
        """First blocker, next and last invoice, and what is left of the maximum."""
        today = timezone.localdate()
        blockers = readiness.first_blockers(records)
        asked = _Asked(records)
        proposals = proposals_of(records)
        for record in records:
            record.blocker = blockers.get(record.pk)
            record.proposal = next(iter(proposals.get(record.pk, ())), None)
            runs = readiness.terms_of(record.project).runs(today)
            record.next_run = runs[0] if runs else None
            record.last_invoice = partial(asked.last_invoice, record)
            record.left_to_work = partial(asked.left_to_work, record)
            record.left_to_bill = partial(asked.left_to_bill, record)
