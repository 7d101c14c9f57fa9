"""The tables of the portal's own lists."""

from __future__ import annotations

from typing import Any

import django_tables2 as tables
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from portal import figures
from portal.models import Export, Notification, State
from portal.models.documents import OURS
from portal.screens import (
    CurrencyColumn,
    DayColumn,
    HoursColumn,
    MainColumn,
    MoneyColumn,
    NumberColumn,
    StateColumn,
    Table,
    TextColumn,
    WhenColumn,
)

STATE_TONES: dict[str, str] = {
    State.HELD: "warn",
    State.READY: "",
    State.SENDING: "info",
    State.IN_DOUBT: "info",
    State.REJECTED: "bad",
    State.ACCEPTED: "info",
    State.POSTED: "good",
    State.RECONCILED: "good",
    State.REVERSED: "",
    State.CANCELLED: "",
}


class PricedCurrencyColumn(CurrencyColumn):
    """The currency beside an amount, and nothing beside an unknown one. `amount` is the path to the amount."""

    def __init__(self, *, amount: str = "amount", **more: Any) -> None:
        self.amount = tables.A(amount)
        super().__init__(**more)

    def render(self, value: str, record: Any) -> str:
        """Its code, where there is an amount."""
        return value if self.amount.resolve(record, quiet=True) is not None else ""


def name_of(entry: Any) -> str:
    """An entry as a person says it: who, on which project; of what we make ourselves what it tells."""
    if entry.kind in OURS:
        return str(entry.memo)
    who = entry.resource.name if entry.resource else "Somebody unknown"
    what = entry.project.code if entry.project else "no known project"
    return f"{who} on {what}"


def _under(entry: Any) -> str:
    words = [f"{entry.source.name} {entry.document.external_id} v{entry.version}"]
    if entry.reverses_id:
        words.append(f"takes back entry {entry.reverses_id}")
    if entry.is_cost_only:
        words.append("cost only")
    elif not entry.is_billable:
        words.append("not billable")
    if entry.kind == "expense":
        words.append(entry.category or "expense")
    return " · ".join(words)


class LedgerTable(Table):
    """Ledger entries: whose work on what, when, worth how much, and how far it has come."""

    entry = MainColumn(
        verbose_name="Entry",
        accessor="pk",
        url=lambda entry: reverse("entry", args=[entry.pk]),
        second=_under,
        drawer=False,
        order_by=("resource__name", "pk"),
    )
    entity = TextColumn(accessor="entity__code", order_by="entity__code", verbose_name="Entity")
    work_date = DayColumn(verbose_name="Work date")
    hours = HoursColumn()
    rate = MoneyColumn(strong=False, exact=True)
    amount = MoneyColumn()
    currency = PricedCurrencyColumn()
    target = TextColumn(accessor="target__name", order_by="target__name", verbose_name="Target")
    receipt = TextColumn(
        accessor="state_row__receipt_number", order_by="state_row__receipt_number", mono=True, verbose_name="Receipt"
    )
    state = StateColumn(STATE_TONES, accessor="state_row__state", order_by="state_row__state", verbose_name="State")
    moved = WhenColumn(accessor="state_row__moved_at", order_by="state_row__moved_at", age=True, verbose_name="Since")

    def render_entry(self, record: Any) -> SafeString:
        """Who and on what."""
        column: MainColumn = self.columns["entry"].column
        return column.render(name_of(record), record)

    def value_entry(self, record: Any) -> int:
        """The entry's number."""
        return int(record.pk)

    def render_receipt(self, value: str) -> str:
        """The receipt's number, or nothing yet."""
        return value or figures.UNKNOWN

    def render_state(self, record: Any) -> SafeString:
        """The state in words, and what it waits on."""
        state = record.state_row
        pill = format_html(
            '<span class="state {}">{}</span>', STATE_TONES.get(state.state, ""), state.get_state_display()
        )
        return format_html("{}<small>{}</small>", pill, waiting(state.waits_on)) if state.waits_on else pill

    def value_state(self, record: Any) -> str:
        """The word alone."""
        return str(record.state_row.get_state_display())


_WAITS = {
    "maintenance": "waits for the end of the maintenance window",
    "breaker": "waits until the target answers again",
    "connection": "waits until the connection is switched on",
    "paused": "waits until the connection goes on",
    "unauthorised": "waits for new credentials",
    "throttled": "waits because the target asked for it",
}


def waiting(waits_on: str) -> str:
    """What a ready entry waits for, in words."""
    if not waits_on:
        return ""
    kind, _, which = waits_on.partition(":")
    if kind == "reversal":
        return f"waits for the receipt of reversal {which}"
    return _WAITS.get(kind, f"waits on {waits_on.replace(':', ' ').replace('_', ' ')}")


EXPORT_TONES: dict[str, str] = {
    Export.State.READY: "good",
    Export.State.WAITING: "info",
    Export.State.RUNNING: "info",
    Export.State.FAILED: "bad",
}


def _size(bytes_: int) -> str:
    return f"{bytes_ / 1_000_000:,.1f} MB" if bytes_ >= 1_000_000 else f"{max(bytes_, 1) / 1_000:,.0f} kB"


class ExportTable(Table):
    """A person's exports: what they hold, how many rows, and how long the file can be had."""

    title = MainColumn(
        verbose_name="Export",
        url=lambda one: reverse("export_file", args=[one.pk]) if one.state == Export.State.READY else one.address,
        second=lambda one: one.problem or " · ".join(one.filters),
        drawer=False,
    )
    form = TextColumn(verbose_name="Format")
    rows_written = NumberColumn(accessor="rows", verbose_name="Rows")
    state = StateColumn(EXPORT_TONES)
    asked_at = WhenColumn(verbose_name="Asked")
    expires_at = WhenColumn(verbose_name="Expires")
    downloads = NumberColumn(verbose_name="Downloads")
    file = TextColumn(accessor="pk", orderable=False, verbose_name="File")

    def render_title(self, value: str, record: Export) -> SafeString:
        """What it holds, linked to the list with the same filter."""
        column: MainColumn = self.columns["title"].column
        return column.render(value, record)

    def render_form(self, value: str) -> str:
        """The format as people say it."""
        return "Excel" if value == "xlsx" else value.upper()

    def render_expires_at(self, value: Any, record: Export) -> str:
        """When the file goes; nothing for what has none."""
        return figures.moment(value) if record.state == Export.State.READY else figures.UNKNOWN

    def render_file(self, record: Export) -> str:
        """The way to the file, where there is one."""
        if record.state != Export.State.READY:
            return figures.UNKNOWN
        url = reverse("export_file", args=[record.pk])
        return format_html('<a class="button small" href="{}">Download <small>{}</small></a>', url, _size(record.size))


class NotificationTable(Table):
    """Notices: what happened, why the person is told, and when."""

    subject = MainColumn(
        verbose_name="What",
        url=lambda notice: reverse("notification", args=[notice.pk]),
        second=lambda notice: notice.note,
        drawer=False,
    )
    kind = TextColumn(accessor="get_kind_display", order_by="kind", verbose_name="Why")
    entity = TextColumn(accessor="entity__code", order_by="entity__code", verbose_name="Entity")
    by = TextColumn(accessor="by__username", order_by="by__username", verbose_name="By")
    at = WhenColumn(verbose_name="When")
    read = StateColumn({"": "info"}, accessor="read_at", verbose_name="Read", empty_values=())

    def render_read(self, record: Notification) -> SafeString:
        """Whether it was looked at."""
        words, tone = ("Read", "") if record.read_at else ("New", "info")
        return format_html('<span class="state {}">{}</span>', tone, words)
