"""The columns of the portfolio: how much of a project month is ready, what stops the rest, and when it should go out."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from portal import figures
from portal.models import BillingModel
from portal.screens import (
    CurrencyColumn,
    DayColumn,
    HoursColumn,
    MainColumn,
    MoneyColumn,
    NumberColumn,
    Table,
    TextColumn,
)
from portal.screens.tables import Column
from reconciliation import readiness
from reconciliation.views.readiness.telling import has_it, percent, unstopped

MODELS: dict[str, str] = dict(BillingModel.choices)


class BlockerColumn(Column):
    """The first thing that stops the invoice, in words, with who has to act; never a bare red dot."""

    css = "text"

    def __init__(self) -> None:
        super().__init__(accessor="pk", orderable=False, verbose_name="First blocker")

    def render(self, record: Any) -> SafeString:
        """The words, linked to the cause, and under them who has to act."""
        found: readiness.Blocker | None = getattr(record, "blocker", None)
        if found is None:
            words, tone = unstopped(record)
            return format_html('<span class="{}">{}</span>', tone, words)
        text = format_html('<a class="way" href="{}">{}</a>', found.url, found.words) if found.url else found.words
        under = [has_it(found.who), f"and {found.more} more" if found.more else ""]
        small = " · ".join(word for word in under if word)
        return format_html("{}<small>{}</small>", text, small) if small else format_html("{}", text)

    def value(self, record: Any) -> str:
        """The words, and who has to act."""
        found: readiness.Blocker | None = getattr(record, "blocker", None)
        if found is None:
            return unstopped(record)[0]
        return f"{found.words} ({has_it(found.who)})" if found.who else found.words


class PortfolioTable(Table):
    """Projects in a period: how much is ready, what stops the rest, and when it should go out."""

    project = MainColumn(
        verbose_name="Project", accessor="project__name", order_by="project__code", drawer=False,
        url=lambda month: reverse("readiness_project", args=[month.pk]),
        second=lambda month: f"{month.project.code} · {month.project.customer.name}",
    )  # fmt: skip
    entity = TextColumn(accessor="project__entity__code", order_by="project__entity__code", verbose_name="Entity")
    manager = TextColumn(accessor="project__manager__username", verbose_name="Manager", optional=True)
    kind = TextColumn(accessor="pk", orderable=False, verbose_name="Billed by", optional=True)
    period = TextColumn(accessor="period__code", order_by="period__starts_on", verbose_name="Period", optional=True)
    hours = HoursColumn(verbose_name="Hours")
    amount = MoneyColumn(verbose_name="Billable")
    currency = CurrencyColumn()
    milestones = MoneyColumn(verbose_name="Milestones", strong=False)
    ready = NumberColumn(accessor="pk", orderable=False, verbose_name="Ready %")
    blocked = MoneyColumn(verbose_name="Blocked", strong=False)
    blocker = BlockerColumn()
    invoiced = MoneyColumn(
        accessor="all_invoiced", orderable=False, verbose_name="Invoiced", strong=False, optional=True
    )
    since = NumberColumn(
        accessor="period__ends_on", order_by="period__ends_on", verbose_name="Days over", optional=True
    )
    left_to_work = MoneyColumn(orderable=False, verbose_name="Maximum left to work", strong=False, optional=True)
    left_to_bill = MoneyColumn(orderable=False, verbose_name="Maximum left to bill", strong=False, optional=True)
    last = TextColumn(accessor="last_invoice", orderable=False, verbose_name="Last invoice", optional=True)
    target = DayColumn(accessor="next_run", orderable=False, verbose_name="Next invoice")

    def value_project(self, record: Any) -> str:
        """The code with the name: files are read beside the ERP's."""
        return f"{record.project.code} {record.project.name}"

    def render_ready(self, record: Any) -> str:
        """The share in whole per cent; a dash where nothing is priced."""
        share = percent(record)
        return figures.UNKNOWN if share is None else f"{share} %"

    def value_ready(self, record: Any) -> int | None:
        """The same as a figure."""
        return percent(record)

    def render_blocked(self, value: Decimal, record: Any) -> SafeString:
        """The money that is blocked, and the hours of which nobody knows the money."""
        column: MoneyColumn = self.columns["blocked"].column
        shown = column.render(value, record)
        if not record.unpriced_hours:
            return shown
        return format_html("{}<small>{} h without a rate</small>", shown, figures.hours(record.unpriced_hours))

    def value_blocked(self, value: Decimal) -> Decimal:
        """The money alone, as a figure."""
        return value

    def render_kind(self, record: Any) -> str:
        """The billing model in words."""
        return str(MODELS.get(readiness.billing_model_of(record.project), figures.UNKNOWN))

    def value_kind(self, record: Any) -> str:
        """The same."""
        return self.render_kind(record)

    def render_since(self, value: date) -> str:
        """Days since the period's end; a dash before it."""
        days = (timezone.localdate() - value).days
        return figures.number(days) if days > 0 else figures.UNKNOWN

    def value_since(self, value: date) -> int:
        """The same as a figure, 0 before the end."""
        return max(0, (timezone.localdate() - value).days)
