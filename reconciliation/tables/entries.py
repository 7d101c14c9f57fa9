"""The tables of entries at the desk: those that one cause holds, and those that a fix is about, before and after."""

from __future__ import annotations

from typing import Any

from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from portal import figures
from portal.screens import (
    HoursColumn,
    MainColumn,
    MoneyColumn,
    StateColumn,
    Table,
    TextColumn,
)
from portal.screens.tables import SelectColumn
from portal.tables import STATE_TONES, PricedCurrencyColumn


def _entry_line(hold: Any) -> str:
    entry = hold.entry
    who = entry.resource.name if entry.resource else getattr(hold, "said_person", "") or "Somebody unknown"
    return f"{who}, {figures.day(entry.work_date)}"


class HeldTable(Table):
    """The entries that one cause holds: who worked when, what the source said, what it is worth."""

    entry = MainColumn(
        verbose_name="Entry",
        accessor="entry_id",
        url=lambda hold: reverse("entry", args=[hold.entry_id]),
        second=lambda hold: hold.sentence,
        drawer=False,
        order_by=("entry__work_date", "entry_id"),
    )
    said = TextColumn(verbose_name="At source", accessor="pk", orderable=False)
    project = TextColumn(accessor="entry__project__code", order_by="entry__project__code", verbose_name="Project")
    hours = HoursColumn(accessor="entry__hours", order_by="entry__hours", verbose_name="Hours")
    rate = MoneyColumn(
        accessor="entry__rate",
        currency="entry__currency",
        strong=False,
        exact=True,
        order_by="entry__rate",
        verbose_name="Rate",
    )
    amount = MoneyColumn(
        accessor="entry__amount", currency="entry__currency", order_by="entry__amount", verbose_name="Amount"
    )
    currency = PricedCurrencyColumn(accessor="entry__currency", amount="entry__amount")
    state = StateColumn(
        STATE_TONES, accessor="entry__state_row__state", order_by="entry__state_row__state", verbose_name="State"
    )

    def render_entry(self, record: Any) -> SafeString:
        """The person and the day."""
        column: MainColumn = self.columns["entry"].column
        return column.render(_entry_line(record), record)

    def render_said(self, record: Any) -> str:
        """The source's words for the project, else its id of the record."""
        return getattr(record, "said_project", "") or record.entry.document.external_id


class BriefHeld(HeldTable):
    """A few of the entries, where there is little room."""

    class Meta:
        exclude = ("said", "project", "rate")


class EntryBox(SelectColumn):
    """Selects the entry that a row is about."""

    def render(self, value: Any, record: Any) -> SafeString:
        """The box, named after the entry."""
        return super().render(record.entry_id, _entry_line(record))


class SelectableHeld(HeldTable):
    """The entries with a box each, so that a fix can be used on some of them."""

    select = EntryBox()

    class Meta:
        sequence = ("select", "...")


class OperationRowTable(Table):
    """The rows of one operation: the entries as they are."""

    entry = MainColumn(
        accessor="entry_id",
        url=lambda row: reverse("entry", args=[getattr(row, "followed", None) or row.successor_id or row.entry_id]),
        second=lambda row: row.before,
        drawer=False,
        verbose_name="Entry",
        order_by="entry_id",
    )
    hours = HoursColumn(accessor="entry__hours", order_by="entry__hours", verbose_name="Hours")
    amount = MoneyColumn(
        accessor="entry__amount", currency="entry__currency", order_by="entry__amount", verbose_name="Amount"
    )
    currency = PricedCurrencyColumn(accessor="entry__currency", amount="entry__amount")

    def render_entry(self, record: Any) -> SafeString:
        """The person and the day."""
        column: MainColumn = self.columns["entry"].column
        return column.render(_entry_line(record), record)

    def value_entry(self, record: Any) -> int:
        """The entry's number."""
        return int(record.entry_id)


class PreviewTable(OperationRowTable):
    """The rows of a dry-run: as they are, and what would come of them."""

    after = MoneyColumn(verbose_name="After", accessor="amount_after", currency="currency_after")
    currency_after = PricedCurrencyColumn(accessor="currency_after", amount="amount_after")
    promise = TextColumn(accessor="promised", wraps=True, verbose_name="Would be")

    class Meta:
        sequence = ("entry", "hours", "amount", "currency", "after", "currency_after", "promise")

    def render_promise(self, record: Any) -> SafeString:
        """Whether it passes, the sentence, and the project before and after where that changes."""
        tone, word = ("good", "Passes") if record.will_pass else ("warn", "Still held")
        told = format_html('<span class="state {}">{}</span> {}', tone, word, record.promised)
        before = record.entry.project.code if record.entry.project else getattr(record, "said_project", "")
        after = record.project_after
        return (
            format_html("{}<small>{} → {}</small>", told, before or "—", after) if after not in ("", before) else told
        )


class BriefPreview(PreviewTable):
    """The dry-run where there is little room."""

    class Meta:
        sequence = ("entry", "amount", "after", "currency_after", "promise")
        exclude = ("hours", "currency")
