"""Charts drawn on the server as SVG: no script, no inline style, colours by class, sharp in print.

Every chart starts at zero, names its unit, labels its bars, and comes with its figures as a table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from hashlib import sha256
from itertools import pairwise

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.timezone import localtime

from portal.figures import number

Figure = int | Decimal
_LAST = ' class="last"'
SERIES = 6  # more cannot be told apart


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of a chart: its label, its figure, and where the rows behind it are."""

    label: str
    value: Figure
    url: str = ""


def spark(values: Sequence[Figure], *, label: str, width: int = 84, height: int = 20) -> SafeString:
    """A row of small bars without an axis, for a table cell; the last one is today."""
    if not values:
        return format_html('<span class="quiet">{}</span>', "—")
    top, pitch = float(max([*values, 1])), width / len(values)
    last = len(values) - 1
    bars = mark_safe(  # noqa: S308 - figures alone
        "".join(
            f'<rect{_LAST if position == last and value else ""} x="{pitch * position:.5g}"'
            f' y="{height - 1 - value / top * (height - 2):.5g}" width="{pitch * 0.68:.5g}"'
            f' height="{value / top * (height - 2) + 1:.5g}" rx="1"/>'
            for position, value in enumerate(map(float, values))
        )
    )
    words = f"{label}: {number(sum(values))} in all, {number(values[-1])} at the end, at most {number(max(values))}"
    return format_html(
        '<svg class="spark" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>', width, height, words, bars
    )


def bars(data: Sequence[Bar], *, title: str, unit: str, places: int | None = None) -> SafeString:
    """Horizontal bars, longest label at the left, each with its figure; and the same as a table."""
    row, left, right, width = 28, 160, 90, 640
    top = max([abs(Decimal(bar.value)) for bar in data], default=Decimal(0)) or Decimal(1)
    room = width - left - right
    drawn = format_html_join(
        "",
        '<text x="{}" y="{}" text-anchor="end">{}</text><rect class="s1" x="{}" y="{}" width="{}" height="16" rx="2"/>'
        '<text class="strong" x="{}" y="{}">{}</text>',
        (
            (
                left - 8,
                at * row + 19,
                _short(bar.label, 24),
                left,
                at * row + 6,
                _n(abs(Decimal(bar.value)) / top * room),
                _n(left + 6 + abs(Decimal(bar.value)) / top * room),
                at * row + 19,
                number(bar.value, places),
            )
            for at, bar in enumerate(data)
        ),
    )
    axis = format_html('<line class="axis" x1="{0}" x2="{0}" y1="2" y2="{1}"/>', left, len(data) * row + 2)
    description = "; ".join(f"{bar.label} {number(bar.value, places)}" for bar in data)
    picture = _picture(title, f"{unit}: {description}", width, len(data) * row + 4, SafeString(drawn + axis))
    return format_html(
        "{}{}", picture, _twin(title, ["", unit], [[bar.label, number(bar.value, places)] for bar in data])
    )


def stacked(
    data: Sequence[tuple[str, Sequence[Figure]]],
    series: Sequence[str],
    *,
    title: str,
    unit: str,
    places: int | None = None,
) -> SafeString:
    """One bar a row, cut into the parts of its series (six at most), each as long as its share of the longest row."""
    if len(series) > SERIES:
        raise ValueError(f"{len(series)} series cannot be told apart; join the small ones until {SERIES} are left.")
    row, left, right, width = 30, 160, 90, 640
    top = max((sum(parts) for _, parts in data), default=0) or 1
    room = width - left - right
    drawn = []
    for at, (label, parts) in enumerate(data):
        edges = _edges(parts, top, room)
        drawn.append(
            format_html('<text x="{}" y="{}" text-anchor="end">{}</text>', left - 8, at * row + 20, _short(label, 24))
        )
        for part, (start, end) in enumerate(pairwise(edges)):
            if end > start:
                drawn.append(
                    format_html(
                        '<rect class="s{}" x="{}" y="{}" width="{}" height="18"><title>{}</title></rect>',
                        part + 1,
                        _n(left + start),
                        at * row + 6,
                        _n(max(end - start - 1, Decimal("0.5"))),
                        f"{label}, {series[part]}: {number(parts[part], places)} {unit}",
                    )
                )
        drawn.append(
            format_html(
                '<text class="strong" x="{}" y="{}">{}</text>',
                _n(left + edges[-1] + 6),
                at * row + 20,
                number(sum(parts), places),
            )
        )
    legend = format_html(
        '<ul class="legend">{}</ul>',
        format_html_join(
            "",
            '<li><svg viewBox="0 0 12 12" aria-hidden="true"><rect class="s{}" width="12" height="12" rx="2"/></svg>{}</li>',
            ((position + 1, name) for position, name in enumerate(series)),
        ),
    )
    description = "; ".join(
        f"{label}: " + ", ".join(f"{name} {number(part, places)}" for name, part in zip(series, parts, strict=True))
        for label, parts in data
    )
    picture = _picture(title, f"{unit}. {description}", width, len(data) * row + 4, SafeString("".join(drawn)))
    table = _twin(title, ["", *series], [[label, *(number(part, places) for part in parts)] for label, parts in data])
    return format_html("{}{}{}", legend, picture, table)


def waterfall(data: Sequence[Bar], *, title: str, unit: str, places: int | None = None) -> SafeString:
    """Bars from a first figure down to a last one, each beginning where the one before ended, with what was lost between."""
    row, left, right, width = 34, 160, 190, 640
    top = max([Decimal(bar.value) for bar in data], default=Decimal(0)) or Decimal(1)
    room = width - left - right
    drawn, rows, before = [], [], None
    for at, bar in enumerate(data):
        value, y = Decimal(bar.value), at * row + 6
        lost = max(Decimal(before) - value, Decimal(0)) if before is not None else Decimal(0)
        words = number(bar.value, places) + (f" ({number(-lost, places)})" if lost else "")
        drawn.append(
            format_html(
                '<text x="{}" y="{}" text-anchor="end">{}</text><rect class="s1" x="{}" y="{}" width="{}" height="18" rx="2"/>',
                left - 8, y + 14, _short(bar.label, 24), left, y, _n(value / top * room),
            )
        )  # fmt: skip
        if lost:
            drawn.append(
                format_html(
                    '<rect class="s2" x="{}" y="{}" width="{}" height="18" rx="2"><title>{}</title></rect>',
                    _n(left + value / top * room), y, _n(lost / top * room), f"{bar.label}: {number(lost, places)} {unit} less",
                )
            )  # fmt: skip
        drawn.append(
            format_html(
                '<text class="strong" x="{}" y="{}">{}</text>', _n(left + (value + lost) / top * room + 6), y + 14, words
            )
        )  # fmt: skip
        rows.append([bar.label, number(bar.value, places), number(-lost, places) if lost else ""])
        before = value
    axis = format_html('<line class="axis" x1="{0}" x2="{0}" y1="2" y2="{1}"/>', left, len(data) * row + 2)
    said = "; ".join(f"{label} {value}" for label, value, _ in rows)
    picture = _picture(title, f"{unit}: {said}", width, len(data) * row + 4, SafeString("".join(drawn) + axis))
    return format_html("{}{}", picture, _twin(title, ["", unit, "Less than before"], rows))


@dataclass(frozen=True, slots=True)
class Span:
    """One stretch of time on a strip: its tone, and what it was in words."""

    start: datetime
    end: datetime
    tone: str
    words: str


def strip(data: Sequence[tuple[str, Sequence[Span]]], *, start: datetime, end: datetime, title: str) -> SafeString:
    """One line a row from `start` to `end`, with a mark for each stretch; a gap is where nothing was."""
    row, left, width = 22, 230, 960
    room, whole = width - left - 8, (end - start).total_seconds() or 1.0
    bottom = len(data) * row + 4
    drawn = []
    for hour in range(5):
        at = start + (end - start) * hour / 4
        x = left + room * Decimal(hour) / 4
        anchor = "end" if hour == 4 else "middle" if hour else "start"
        drawn.append(
            format_html(
                '<line class="grid" x1="{0}" x2="{0}" y1="0" y2="{1}"/><text x="{0}" y="{2}" text-anchor="{3}">{4}</text>',
                _n(x), bottom, bottom + 14, anchor, f"{localtime(at):%H:%M}",
            )
        )  # fmt: skip
    for line, (label, spans) in enumerate(data):
        y = line * row + 3
        drawn.append(
            format_html('<text x="{}" y="{}" text-anchor="end">{}</text>', left - 10, y + 12, _short(label, 36))
        )
        for span in spans:
            begin = Decimal(max((span.start - start).total_seconds(), 0.0) / whole) * room
            length = Decimal(max((span.end - max(span.start, start)).total_seconds(), 0.0) / whole) * room
            drawn.append(
                format_html(
                    '<rect class="mark {}" x="{}" y="{}" width="{}" height="16" rx="1.5"><title>{}</title></rect>',
                    span.tone, _n(left + begin), y, _n(max(length, Decimal(4))), span.words,
                )
            )  # fmt: skip
    words = "; ".join(f"{label}: {len(spans)}" for label, spans in data)
    return _picture(title, words, width, bottom + 18, SafeString("".join(drawn)))


def _edges(parts: Sequence[Figure], top: Figure, room: int) -> list[Decimal]:
    edges = [Decimal(0)]
    for part in parts:
        edges.append(edges[-1] + Decimal(part) / Decimal(top) * room)
    return edges


def _picture(title: str, description: str, width: int, height: int, content: SafeString) -> SafeString:
    mark = sha256(f"{title}{description}".encode()).hexdigest()[:8]
    return format_html(
        '<div class="plot" tabindex="0" role="group" aria-label="{3}">'
        '<svg class="chart" viewBox="0 0 {0} {1}" role="img" aria-labelledby="t{2} d{2}">'
        '<title id="t{2}">{3}</title><desc id="d{2}">{4}</desc>{5}</svg></div>',
        width,
        height,
        mark,
        title,
        description,
        content,
    )


def _twin(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> SafeString:
    return format_html(
        '<details class="figure-twin"><summary class="hint">Show as table</summary>'
        '<div class="table-wrap inner"><table class="table"><caption class="sr">{}</caption><thead><tr>{}</tr></thead>'
        "<tbody>{}</tbody></table></div></details>",
        title,
        format_html_join("", '<th scope="col"{}>{}</th>', ((_num(at), head) for at, head in enumerate(heads))),
        format_html_join(
            "",
            '<tr><th scope="row">{}</th>{}</tr>',
            ((row[0], format_html_join("", '<td class="num">{}</td>', ((cell,) for cell in row[1:]))) for row in rows),
        ),
    )


def _num(position: int) -> SafeString:
    return SafeString(' class="num"' if position else "")


def _short(label: str, length: int) -> str:
    return label if len(label) <= length else label[: length - 1] + "…"


def _n(value: Decimal | int) -> str:
    """A coordinate with at most two decimals, whatever the language."""
    return f"{Decimal(value):.2f}".rstrip("0").rstrip(".")
