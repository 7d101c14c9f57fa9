"""The tables of bulk fixes: the list of them, and the rows of one with what came of each."""

from __future__ import annotations

from typing import Any

from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from portal.models import State
from portal.screens import MainColumn, MoneyColumn, NumberColumn, Table, TextColumn, WhenColumn
from portal.screens.tables import Column
from portal.tables import STATE_TONES, PricedCurrencyColumn
from reconciliation.models import Operation
from reconciliation.operations import Phase
from reconciliation.operations.following import FOLLOWED
from reconciliation.tables import OperationRowTable
from reconciliation.views import telling


class ProgressColumn(Column):
    """How far an operation is: a bar while it is under way, and the figures in words."""

    def __init__(self) -> None:
        super().__init__(accessor="pk", orderable=False, verbose_name="Progress")

    def render(self, value: Any, record: Operation) -> SafeString:
        """The bar and the words."""
        words = telling.in_short(record)
        if record.settled_at is not None or record.state not in FOLLOWED:
            return format_html('<span class="telling">{}</span>', words)
        return format_html(
            '<progress value="{}" max="{}" aria-label="{}">{}</progress><small class="telling">{}</small>',
            record.over, record.total or 1, f"{record.over} of {record.total}", words, words,
        )  # fmt: skip

    def value(self, value: Any, record: Operation) -> str:
        """The words alone."""
        return telling.in_short(record)


class OperationTable(Table):
    """Bulk fixes: what was done to how many, by whom, and what came of it."""

    title = MainColumn(
        verbose_name="Operation",
        url=lambda operation: reverse("operation", args=[operation.pk]),
        second=lambda operation: operation.reason,
        drawer=False,
    )
    entity = TextColumn(accessor="entity__code", order_by="entity__code", verbose_name="Entity")
    by = TextColumn(accessor="created_by__username", order_by="created_by__username", verbose_name="By")
    at = WhenColumn(accessor="created_at", verbose_name="When")
    total = NumberColumn(verbose_name="Entries")
    posted = NumberColumn()
    missed = NumberColumn(verbose_name="Not done", order_by="missed")
    progress = ProgressColumn()
    state = TextColumn(verbose_name="State", order_by=("state", "settled_at"))

    def render_state(self, record: Operation) -> SafeString:
        """Where it stands, with its colour."""
        standing = telling.counted(record)
        return format_html('<span class="state {}">{}</span>', standing.tone, standing.label)

    def value_state(self, record: Operation) -> str:
        """The word alone."""
        return telling.counted(record).label


class ResultTable(OperationRowTable):
    """The rows of one operation: as the entry stands now, what came of it, and where it is on the ledger."""

    amount = MoneyColumn(accessor="amount_now", currency="currency_now", verbose_name="Amount")
    currency = PricedCurrencyColumn(accessor="currency_now", amount="amount_now")
    outcome = TextColumn(accessor="pk", wraps=True, orderable=False, verbose_name="What came of it")
    ledger = TextColumn(accessor="pk", orderable=False, verbose_name="On the ledger now")

    def render_outcome(self, record: Any) -> SafeString:
        """How far the row is, with its sentence."""
        return format_html(
            '<span class="state {}">{}</span> {}',
            telling.PHASE_TONES[record.phase],
            Phase(record.phase).label,
            record.came,
        )

    def value_outcome(self, record: Any) -> str:
        """The words alone."""
        return f"{Phase(record.phase).label}: {record.came}"

    def render_ledger(self, record: Any) -> SafeString:
        """Where the followed entry stands."""
        return format_html(
            '<span class="state {}">{}</span>', STATE_TONES.get(record.stands, ""), State(record.stands).label
        )

    def value_ledger(self, record: Any) -> str:
        """The words alone."""
        return str(State(record.stands).label)
