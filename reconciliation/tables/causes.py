"""The table of causes: the sentence, how much it stops, since when, and the way out; on the screen and as a file."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

from django.db.models import Case, F, QuerySet, SmallIntegerField, Value, When
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from portal import figures
from portal.models import InvoiceSchedule
from portal.screens import (
    CurrencyColumn,
    HoursColumn,
    MainColumn,
    MoneyColumn,
    NumberColumn,
    SparkColumn,
    StateColumn,
    Table,
    TextColumn,
    WhenColumn,
)
from portal.screens.tables import Column
from reconciliation.models import ExceptionCase
from reconciliation.rules import BY_CODE

CASE_TONES: dict[str, str] = {ExceptionCase.State.OPEN: "warn", ExceptionCase.State.RESOLVED: "good"}


def tone_of(case: ExceptionCase) -> str:
    """Red for what cannot be let pass, amber for what may be waived, blue for what is only not known yet."""
    if case.state == ExceptionCase.State.RESOLVED:
        return "good"
    if case.state == ExceptionCase.State.MERGED or case.aside:
        return ""
    if case.rule in ("in-doubt-too-long", "not-persisted", "not-booked"):
        return "info"
    rule = BY_CODE.get(case.rule)
    return "warn" if rule is not None and rule.waivable else "bad"


def title_of(code: str) -> str:
    """The rule as finance calls it."""
    rule = BY_CODE.get(code)
    return rule.title if rule is not None else code


def short_title_of(code: str) -> str:
    """The rule in two or three words, from its code: Project unknown."""
    return code.replace("-", " ").capitalize()


def way_of(case: Any) -> str:
    """Source → target of what the case holds, as the list asked for it; else the connection that it is about."""
    source, target = getattr(case, "source_name", None), getattr(case, "target_name", None)
    if source and target:
        return f"{source} → {target}"
    return str(case.connection) if case.connection_id else ""


def _under(case: Any) -> SafeString:
    """What stands about a cause first, the way last: the line is cut at its end where there is no room."""
    words = list(getattr(case, "marks", ()))
    if case.regressions:
        words.append("regressed" if case.regressions == 1 else f"regressed {case.regressions} times")
    elif (
        not words
        and case.state == ExceptionCase.State.OPEN
        and timezone.localdate(case.opened_at) == timezone.localdate()
    ):
        words.append("new today")
    words += ["no exchange rate"] if case.is_apart else []
    told = " · ".join(filter(None, [*words, way_of(case)]))
    return format_html(
        '<span class="one-line" title="{}"><span class="state {}" title="{}">{}</span>{}</span>',
        told,
        tone_of(case),
        title_of(case.rule),
        short_title_of(case.rule),
        told,
    )


class TotalsColumn(MoneyColumn):
    """What a case holds, the largest currency first; more currencies stand below, never added up. Estimates say so."""

    def __init__(self, **more: Any) -> None:
        super().__init__(empty_values=(), **more)

    def render(self, record: Any) -> SafeString:  # type: ignore[override]
        """The largest amount, and the others in small type."""
        totals = totals_of(record)
        if not totals:
            guess = estimates_of(record)
            if not guess:
                return format_html('<span class="quiet">{}</span>', figures.UNKNOWN)
            currency, value = guess[0]
            words = "An estimate at the list price or the source's own rate; nothing is agreed yet"
            return format_html(
                '<abbr title="{}">≈ {}</abbr><span class="cur narrow"> {}</span>',
                words,
                figures.amount(value, currency),
                currency,
            )
        first, others = totals[0], totals[1:]
        return format_html(
            '{}<span class="cur narrow"> {}</span>{}',
            figures.amount(first[1], first[0]),
            first[0],
            format_html_join(
                "", "<small>{} {}</small>", ((figures.amount(value, code), code) for code, value in others)
            ),
        )

    def value(self, record: Any) -> Decimal | str | None:  # type: ignore[override]
        """The figure, or all of them in words where currencies do not add up."""
        totals = totals_of(record)
        if len(totals) == 1:
            return totals[0][1]
        return " + ".join(f"{value} {code}" for code, value in totals) or None


class TotalsCurrencyColumn(CurrencyColumn):
    """The currency of the largest amount."""

    def __init__(self) -> None:
        super().__init__(empty_values=())

    def render(self, record: Any) -> str:
        """Its code."""
        totals = totals_of(record)
        if totals:
            return totals[0][0]
        guess = estimates_of(record)
        return guess[0][0] if guess else ""

    def value(self, record: Any) -> str:
        """Its code; empty beside several."""
        totals = totals_of(record)
        return totals[0][0] if len(totals) == 1 else ""


def totals_of(case: Any) -> list[tuple[str, Decimal]]:
    """(currency, amount) of a case, the largest first; what is all without a rate has none."""
    found = [(total.currency, total.amount) for total in case.totals.all() if total.amount]
    return sorted(found, key=lambda pair: (-abs(pair[1]), pair[0]))


def estimates_of(case: Any) -> list[tuple[str, Decimal]]:
    """(currency, amount) that the hours of a case without a price are worth at best guess, the largest first."""
    found = [(total.currency, total.estimate) for total in case.totals.all() if total.estimate]
    return sorted(found, key=lambda pair: (-abs(pair[1]), pair[0]))


class InvoiceColumn(Column):
    """When the next invoice goes out that lacks what a cause holds, and whose it is; unknown where nobody said when."""

    def __init__(self, **more: Any) -> None:
        super().__init__(empty_values=(), orderable=False, **more)

    def render(self, record: Any) -> SafeString:
        """The next run, with the customer and how many more there are."""
        reached = getattr(record, "reached", None)
        following = reached.next if reached else None
        if reached is None or following is None:
            return format_html('<span class="quiet">{}</span>', figures.UNKNOWN)
        others = len({one.customer for one in reached.blocked} - {following.customer})
        words = f"{following.customer} and {others} more" if others else following.customer
        if following.run is None:
            when = "per milestone" if following.terms.schedule == InvoiceSchedule.MILESTONE else "unknown"
            return format_html('<span class="quiet">{}</span><small>{}</small>', when, words)
        return format_html("{}<small>{}</small>", f"{following.run:%d %b}".lstrip("0"), words)

    def value(self, record: Any) -> date | None:
        """The day of the next run."""
        reached = getattr(record, "reached", None)
        return reached.next.run if reached and reached.next else None


class RiskColumn(MoneyColumn):
    """Amount times days, in the currency that leads; what orders the queue."""

    def render(self, value: Any, record: Any) -> SafeString:  # type: ignore[override]
        """In short, with the whole figure in the title."""
        if not value:
            return format_html('<span class="quiet">{}</span>', figures.UNKNOWN)
        whole = f"{figures.number(value, 0)} {record.held_currency} times days"
        if record.compared_in != record.held_currency or record.compared_risk != value:
            whole += f"; in the order about {figures.number(record.compared_risk, 0)} {record.compared_in}, with all it holds"
        return format_html(
            '<abbr title="{}">{}</abbr> <span class="cur">{}·d</span>',
            whole,
            figures.short(value),
            record.held_currency,
        )


class CaseTable(Table):
    """Causes: the sentence, how much it stops, since when, and the way out."""

    sentence = MainColumn(
        verbose_name="Cause", url=lambda case: reverse("cause", args=[case.pk]), second=_under, order_by="sentence"
    )
    entity = TextColumn(accessor="entity__code", order_by="entity__code", verbose_name="Entity")
    entries = NumberColumn(verbose_name="Entries")
    people = NumberColumn(accessor="open_people", verbose_name="People", optional=True)
    projects = NumberColumn(empty_values=(), orderable=False, verbose_name="Projects", optional=True)
    hours = HoursColumn(accessor="open_hours", verbose_name="Hours", optional=True)
    amount = TotalsColumn(order_by=("compared_in", "compared_amount"))
    currency = TotalsCurrencyColumn()
    risk = RiskColumn(
        accessor="cash_at_risk", order_by=("compared_in", "compared_risk"), verbose_name="Cash at risk", strong=False,
        currency="held_currency", optional=True,
    )  # fmt: skip
    invoices = InvoiceColumn(verbose_name="Next invoice")
    oldest = WhenColumn(accessor="oldest_work_date", age=True, verbose_name="Oldest")
    seen = WhenColumn(accessor="seen_at", verbose_name="Last seen", optional=True)
    trend = SparkColumn(label="Entries held over 14 days", verbose_name="14 days", exclude_from_export=True)
    suggestion = TextColumn(orderable=False, empty_values=(), wraps=True, exclude_from_export=True)
    owner = TextColumn(accessor="owner__username", order_by="owner__username", empty_values=(), verbose_name="Owner")
    state = StateColumn(CASE_TONES, optional=True)
    tags = TextColumn(orderable=False, optional=True, verbose_name="Tags")

    def order_entries(self, queryset: QuerySet[Any], is_descending: bool) -> tuple[QuerySet[Any], bool]:
        """By all that it stops."""
        stopped = F("open_holds") + F("waiting")
        return queryset.order_by(stopped.desc() if is_descending else stopped.asc()), True

    def order_amount(self, queryset: QuerySet[Any], is_descending: bool) -> tuple[QuerySet[Any], bool]:
        """By what is compared; whatever the direction, causes without an amount or without a rate come last."""
        none = Case(When(compared_amount=0, then=Value(1)), default=Value(0), output_field=SmallIntegerField())
        amount = "-compared_amount" if is_descending else "compared_amount"
        return queryset.annotate(without_amount=none).order_by(
            "without_amount", "is_apart", "compared_in", amount
        ), True

    def render_projects(self, record: Any) -> int:
        """How many projects' work it holds."""
        return len(record.reached.projects) if hasattr(record, "reached") else 0

    def value_projects(self, record: Any) -> int:
        """The same as a figure."""
        return self.render_projects(record)

    def render_state(self, record: Any) -> SafeString:
        """Open, resolved or merged; and why an open one is out of sight."""
        words = record.get_aside_display() if record.aside else record.get_state_display()
        return format_html('<span class="state {}">{}</span>', CASE_TONES.get(record.state, ""), words)

    def value_state(self, record: Any) -> str:
        """The word alone."""
        return str(record.state)

    def render_tags(self, value: list[str]) -> SafeString:
        """Each in a pill."""
        return format_html_join(" ", '<span class="tag">{}</span>', ((tag,) for tag in value))

    def value_tags(self, value: list[str]) -> str:
        """All of them, apart by spaces."""
        return " ".join(value)

    def render_suggestion(self, record: Any) -> SafeString:
        """The first way out, leading to its form where it can be done here."""
        found = getattr(record, "suggestion", None)
        if found is None or record.state != ExceptionCase.State.OPEN:
            return format_html('<span class="quiet">{}</span>', "none" if found is None else "—")
        ways = {address: (keys, label) for keys, label, address in getattr(record, "ways", ())}
        suggested = reverse("fix", args=[record.pk, found.remedy]) if found.is_fix else ""
        keys, _ = ways.pop(suggested, ("", ""))
        shown = (
            _leads(suggested, keys, found.words) if keys else format_html('<span class="quiet">{}</span>', found.words)
        )
        hidden = ((_leads(address, *way),) for address, way in ways.items())  # in sight in the menu of the row
        return shown + format_html_join("", "<span hidden>{}</span>", hidden)

    def render_owner(self, record: Any) -> SafeString | str:
        """Who has it."""
        if record.owner is None and record.team is not None:
            return format_html('<span title="Taken by nobody of the team yet">{}</span>', record.team.name)
        if record.owner is None:
            return format_html('<span class="quiet">{}</span>', "nobody")
        return str(record.owner.get_full_name() or record.owner.get_username())

    def value_owner(self, record: Any) -> str:
        """The sign-in name, else the team."""
        return record.owner.get_username() if record.owner else str(record.team or "")


def _leads(address: str, keys: str, words: str) -> SafeString:
    """A way out of a cause, that opens beside the list."""
    return format_html(
        '<a class="way" href="{0}" hx-get="{0}" hx-target="#drawer-body" hx-push-url="true" data-shortcut="{1}">{2}</a>',
        address,
        keys,
        words,
    )


class CaseExport(CaseTable):
    """Causes as a file: with what the screen says in small type in columns of its own."""

    number = TextColumn(accessor="pk", verbose_name="Number")
    rule = TextColumn(verbose_name="Rule")
    connection = TextColumn(accessor="connection__name", verbose_name="Connection")
    regressions = NumberColumn(verbose_name="Times back")
    opened = TextColumn(accessor="opened_at", verbose_name="Opened")
    resolved = TextColumn(accessor="closed_at", verbose_name="Resolved")

    class Meta:
        sequence = ("number", "sentence", "rule", "...")

    def value_number(self, value: int) -> str:
        """The number as it is spoken."""
        return f"EX-{value}"

    def value_rule(self, value: str) -> str:
        """The rule's title."""
        return title_of(value)
