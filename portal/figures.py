"""How figures, money, hours and moments are written on a screen. Unknown is a dash, never a zero; minus is U+2212."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from babel.numbers import get_currency_precision
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

UNKNOWN = "\N{EM DASH}"
MINUS = "\N{MINUS SIGN}"


def number(value: Decimal | int | None, places: int | None = None) -> str:
    """A figure with thousands apart: 1,284 or 38,450.00. Without `places` a Decimal keeps its own."""
    if value is None:
        return UNKNOWN
    text = f"{value:,}" if places is None else f"{value:,.{places}f}"
    return text.replace("-", MINUS)


def exact(value: Decimal) -> str:
    """A figure with at least two decimals, and more where it has them."""
    exponent = value.normalize().as_tuple().exponent
    return number(value, max(2, -exponent if isinstance(exponent, int) else 2))


def amount(value: Decimal | None, currency: str = "") -> str:
    """An amount in the currency's own minor units (two where the currency is not known), without the currency."""
    return number(value, get_currency_precision(currency) if currency else 2)


def short(value: Decimal) -> str:
    """An amount where there is little room: 412k, 1.2M; below a thousand in whole units."""
    for letter, size in (("M", 1_000_000), ("k", 1_000)):
        if abs(value) >= size:
            whole = value / size
            return number(whole, 0 if abs(whole) >= 100 else 1) + letter
    return number(value, 0)


def money(value: Decimal | None, currency: str) -> SafeString:
    """An amount with its currency beside it in small type."""
    if value is None:
        return format_html('<span class="quiet">{}</span>', UNKNOWN)
    return format_html('<span class="figure">{} <span class="cur">{}</span></span>', amount(value, currency), currency)


def hours(value: Decimal | None) -> str:
    """Hours with two decimals."""
    return number(value, 2)


def span(length: timedelta) -> str:
    """A length of time in its largest unit: 40 s, 4 min, 3 h, 11 d."""
    seconds = int(abs(length).total_seconds())
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def span_of(seconds: float) -> str:
    """The same for a number of seconds."""
    return span(timedelta(seconds=seconds))


def moment(value: datetime | None, *, relative: bool = True) -> SafeString:
    """A moment as a person says it (4 min ago, in 2 h), with the exact one and its zone in the title.

    Both ways stand in the page where both are possible: the stylesheet shows the one that the person chose, and paper the exact.
    """
    if value is None:
        return format_html('<span class="quiet">{}</span>', UNKNOWN)
    local = timezone.localtime(value)
    whole = f"{local:%d %b %Y %H:%M:%S} {local.tzname()}"
    shown = f"{local:%d %b %Y %H:%M}"
    if not relative:
        return format_html('<time datetime="{}" title="{}">{}</time>', local.isoformat(), whole, shown)
    distance = timezone.now() - value
    words = f"in {span(distance)}" if distance < timedelta(0) else f"{span(distance)} ago"
    both = '<time datetime="{}" title="{}"><span class="ago">{}</span><span class="exact">{}</span></time>'
    return format_html(both, local.isoformat(), whole, words, shown)


def stamp(value: datetime, zone: str = "UTC") -> SafeString:
    """A moment for the record: to the second by UTC, and beside it by the clocks of a zone where those differ."""
    at = value.astimezone(UTC)
    local = value.astimezone(ZoneInfo(zone))
    beside = "" if local.utcoffset() == at.utcoffset() else f"{local:%d %b %Y %H:%M:%S} {local.tzname()}".lstrip("0")
    shown = f"{at:%d %b %Y %H:%M:%S} UTC".lstrip("0")
    small = format_html(" <small>{}</small>", beside) if beside else ""
    return format_html('<time datetime="{}">{}</time>{}', at.isoformat(), shown, small)


def written(value: datetime) -> str:
    """A moment where no page shows it, as in a mail: with its zone, and without markup."""
    local = timezone.localtime(value)
    return f"{local:%d %b %Y %H:%M} {local.tzname()}".lstrip("0")


def age(value: datetime | date | None) -> str:
    """How long ago, without the word: 11 d."""
    if value is None:
        return UNKNOWN
    if isinstance(value, datetime):
        return span(timezone.now() - value)
    return f"{(timezone.localdate() - value).days} d"


def day(value: date | None) -> str:
    """A day without a zone: 14 Oct 2026."""
    return UNKNOWN if value is None else f"{value:%d %b %Y}".lstrip("0")
