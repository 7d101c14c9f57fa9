"""What comparisons found, thing by thing: what it is in words, where it leads, and what both sides say."""

from __future__ import annotations

from typing import Any

from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from portal import figures
from portal.screens import CurrencyColumn, HoursColumn, MainColumn, MoneyColumn, StateColumn, Table, TextColumn

ABOUT = (
    "document", "entry__resource", "entry__project", "line", "bill__current", "bill_line__version__invoice", "payment__current",
    "milestone__project",
)  # fmt: skip


def result_name(result: Any) -> str:
    """What a result is about: the document, else the target's line, the bill's line, the milestone, the bill or the payment.

    Work is named by who did it and for what, with its source's id.
    """
    if result.document is not None:
        named = f"{result.document.get_kind_display()} {result.document.external_id}"
        entry = result.entry
        if entry is None or entry.resource is None or entry.project is None:
            return named
        return f"{entry.resource.name} on {entry.project.code}, {figures.day(entry.work_date)} · {named}"
    if result.bill_line is not None:
        return f"Line {result.bill_line.position} of {result.bill_line.version.number}"
    if result.milestone is not None:
        return f"Milestone {result.milestone} of {result.milestone.project.code}"
    if result.bill is not None:
        return str(result.bill)
    if result.payment is not None:
        return str(result.payment)
    return f"Record {result.line.number}" if result.line is not None else f"Entry {result.entry_id}"


def result_address(result: Any) -> str:
    """The entry, bill, payment or milestone behind a result; without one its place in the run."""
    if result.entry_id is not None:
        return reverse("entry", args=[result.entry_id])
    if result.bill_id is not None:
        return reverse("bill", args=[result.bill_id])
    if result.payment_id is not None:
        return reverse("payment", args=[result.payment_id])
    if result.milestone_id is not None:
        return reverse("milestone_thread", args=[result.milestone_id])
    return f"{reverse('reconciliation_run', args=[result.run_id])}?outcome={result.outcome}"


class ResultTable(Table):
    """One result a row: what both sides say, and the reason in words."""

    pk = MainColumn(verbose_name="Compared", url=result_address, drawer=False, orderable=False)
    outcome = StateColumn({}, accessor="outcome")
    standing = TextColumn()
    leg = TextColumn()
    hours_left = HoursColumn(verbose_name="Hours left")
    hours_right = HoursColumn(verbose_name="Hours right")
    amount_left = MoneyColumn(verbose_name="Amount left")
    amount_right = MoneyColumn(verbose_name="Amount right")
    currency = CurrencyColumn()

    def render_pk(self, record: Any, bound_column: Any) -> SafeString:
        """What was compared, linked, and the reason under it."""
        link = format_html('<a href="{}" data-main>{}</a>', result_address(record), result_name(record))
        return format_html("{}<small>{}</small>", link, record.reason) if record.reason else link

    def value_pk(self, record: Any) -> str:
        """What was compared, and the reason."""
        return f"{result_name(record)}: {record.reason}" if record.reason else result_name(record)

    def render_outcome(self, record: Any) -> SafeString:
        """The outcome in words."""
        tone = {"matched": "good", "timing": "warn"}.get(record.standing, "bad")
        return format_html('<span class="state {}">{}</span>', tone, record.get_outcome_display())

    def value_outcome(self, record: Any) -> str:
        """The words alone."""
        return str(record.get_outcome_display())
