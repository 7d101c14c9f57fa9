"""Mappings as rows: a record of ours and its key in a system, what is wrong with it, what it is worth, where it comes from."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from portal import figures
from portal.models import Crosswalk
from portal.screens import DayColumn, MainColumn, NumberColumn, Table, TextColumn
from reconciliation import mappings
from reconciliation.models import ChangeLine, ChangeSet, Mapping

State = Mapping.State
TONES = {State.UNMAPPED: "warn", State.THEIRS: "info", State.MAPPED: "good", State.SCHEDULED: "info", State.ENDED: ""}
FLAGS = {
    "is_ambiguous": "Ambiguous",
    "is_expiring": "Expires soon",
    "is_conflicting": "Conflicting",
    "is_inactive": "Inactive target",
}
PENDING = (ChangeSet.State.DRAFT, ChangeSet.State.SUBMITTED, ChangeSet.State.APPROVED, ChangeSet.State.SCHEDULED)


class FigureColumn(TextColumn):
    """Amounts with their currencies, at the right like figures."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.css = "num"


class MappingTable(Table):
    """A record of ours and the key under which a system knows it, or what most likely is its key."""

    record = MainColumn(
        accessor="pk",
        order_by=("kind", "code", "their_code"),
        verbose_name="Record",
        url=lambda row: reverse("mapping", args=[row.pk]),
        second=lambda row: row.get_kind_display(),
    )
    system = TextColumn(accessor="connection__name", order_by="connection__name", verbose_name="System")
    external_id = TextColumn(verbose_name="Its key", mono=True)
    theirs = TextColumn(accessor="pk", order_by=("their_code", "their_name"), verbose_name="There", wraps=True)
    entity = TextColumn(accessor="entity__code", order_by="entity__code", verbose_name="Entity")
    valid_from = DayColumn(verbose_name="From", optional=True)
    valid_to = DayColumn(verbose_name="To", optional=True)
    state = TextColumn(verbose_name="State")
    entries = NumberColumn(verbose_name="Open entries")
    worth = FigureColumn(accessor="money", orderable=False, verbose_name="Worth")
    source = TextColumn(accessor="pk", orderable=False, verbose_name="Confidence, source", wraps=True)
    changed = TextColumn(accessor="pk", orderable=False, verbose_name="Changed", optional=True)

    def render_record(self, record: Mapping, bound_column: Any) -> SafeString:
        """Ours where there is one, else theirs."""
        shown: SafeString = bound_column.column.render(record_words(record), record)
        return shown

    def value_record(self, record: Mapping) -> str:
        """The words alone."""
        return record_words(record)

    def render_theirs(self, record: Mapping) -> str:
        """Code and name in the system, where it has said them."""
        return theirs_words(record) or figures.UNKNOWN

    def value_theirs(self, record: Mapping) -> str:
        """The same."""
        return theirs_words(record)

    def render_state(self, record: Mapping) -> SafeString:
        """The state, and what is wrong with it."""
        pill = format_html('<span class="state {}">{}</span>', TONES[State(record.state)], record.get_state_display())
        flags = [words for name, words in FLAGS.items() if getattr(record, name)]
        draft = getattr(record, "draft", None)
        if draft is not None:
            flags.append(f"in a change: {draft.get_state_display().lower()}")
        return format_html("{}<small>{}</small>", pill, ", ".join(flags)) if flags else pill

    def value_state(self, record: Mapping) -> str:
        """The words alone."""
        flags = [words for name, words in FLAGS.items() if getattr(record, name)]
        return ", ".join([str(record.get_state_display()), *flags])

    def render_worth(self, value: dict[str, Any]) -> str:
        """Amounts with their currency."""
        return worth(value) or figures.UNKNOWN

    def value_worth(self, value: dict[str, Any]) -> str:
        """The same."""
        return worth(value)

    def render_source(self, record: Mapping) -> SafeString | str:
        """What it most likely is, or where the key comes from."""
        matches: list[mappings.Match] = getattr(record, "matches", [])
        if matches:
            tags = format_html_join(" ", '<span class="tag">{}</span>', ((one,) for one in matches[0].reasons))
            more = f" and {len(matches) - 1} more" if len(matches) > 1 else ""
            return format_html("{} · {} %{}<small>{}</small>", matches[0].words, matches[0].score, more, tags)
        return getattr(record, "because", "") or figures.UNKNOWN

    def value_source(self, record: Mapping) -> str:
        """The words alone."""
        matches: list[mappings.Match] = getattr(record, "matches", [])
        return f"{matches[0].words} {matches[0].score} %" if matches else getattr(record, "because", "")

    def render_changed(self, record: Mapping) -> str:
        """When and by whom."""
        return getattr(record, "changed_by", "") or figures.UNKNOWN


def record_words(row: Mapping) -> str:
    """Ours where there is one, else theirs."""
    return f"{row.code} {row.name or ''}".strip() if row.internal_id else theirs_words(row) or str(row.external_id)


def theirs_words(row: Mapping) -> str:
    """Code and name in the system."""
    return f"{row.their_code or ''} {row.their_name or ''}".strip()


def worth(money: dict[str, Any]) -> str:
    """Amounts with their currencies, the largest first."""
    told = sorted(((code, Decimal(str(value))) for code, value in money.items()), key=lambda pair: -abs(pair[1]))
    return " · ".join(f"{figures.amount(value, code)} {code}" for code, value in told)


def origins(rows: Sequence[Mapping]) -> dict[int | None, tuple[str, str]]:
    """Of each key its latest change: why, and by whom and when."""
    ids = [row.crosswalk_id for row in rows if row.crosswalk_id]
    found: dict[int | None, tuple[str, str]] = {}
    if not ids:
        return found
    history: Any = Crosswalk.history
    latest = history.filter(id__in=ids).order_by("id", "-history_id").distinct("id").select_related("history_user")
    for version in latest:
        who = version.history_user.get_username() if version.history_user else "system"
        found[version.id] = (version.history_change_reason or "", f"{who}, {figures.written(version.history_date)}")
    return found


def drafts(rows: Sequence[Mapping], user: Any) -> dict[tuple[Any, ...], ChangeSet]:
    """The change sets under way that map one of these rows, as far as the person sees them; by key and by code."""
    seen = ChangeSet.objects.visible_to(user).filter(state__in=PENDING)
    lines = ChangeLine.objects.filter(model="crosswalk", action=ChangeLine.Action.ADD, change_set__in=seen)
    found: dict[tuple[Any, ...], ChangeSet] = {}
    for line in lines.select_related("change_set").order_by("pk") if rows else ():
        said = line.values
        place = (said.get("system"), said.get("realm"), said.get("kind"))
        found[*place, said.get("external_id")] = line.change_set
        code = (
            f"{said['within']} / {said.get('code')}"
            if said.get("within") and said.get("kind") == "task"
            else said.get("code")
        )
        found[*place, code] = line.change_set
    return found
