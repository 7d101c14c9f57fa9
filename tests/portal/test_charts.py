"""Charts: zero-based, labelled, safe, and never without their figures."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from xml.etree import ElementTree as ET

import pytest

from portal import charts


def rects(markup: str) -> list[dict[str, str]]:
    svg = re.search(r"<svg.*?</svg>", markup, re.DOTALL)
    assert svg
    return [node.attrib for node in ET.fromstring(svg[0]).iter("rect")]


def test_bars_start_at_zero_and_are_in_proportion() -> None:
    drawn = rects(charts.bars([charts.Bar("A", 100), charts.Bar("B", 25)], title="Held", unit="EUR"))
    assert {bar["x"] for bar in drawn} == {"160"}
    assert Decimal(drawn[0]["width"]) == 4 * Decimal(drawn[1]["width"])


def test_every_chart_says_its_figures_to_a_screen_reader_and_as_a_table() -> None:
    markup = charts.bars([charts.Bar("Closed", Decimal("148300.00"))], title="Held by cause", unit="EUR", places=2)
    assert "Held by cause</title>" in markup
    assert "EUR: Closed 148,300.00</desc>" in markup
    assert '<th scope="row">Closed</th><td class="num">148,300.00</td>' in markup


def test_the_parts_of_a_stack_add_up_to_its_length() -> None:
    markup = charts.stacked([("A", [30, 70]), ("B", [50, 0])], ["Ready", "Held"], title="Hours", unit="h")
    parts = rects(markup.split("</ul>", 1)[1])
    assert len(parts) == 3  # a part of zero is not drawn
    assert Decimal(parts[1]["x"]) + Decimal(parts[1]["width"]) + 1 == 160 + 390


def test_more_series_than_can_be_told_apart_are_refused() -> None:
    with pytest.raises(ValueError, match="7 series cannot be told apart"):
        charts.stacked([("A", [1] * 7)], list("abcdefg"), title="x", unit="y")


@pytest.mark.parametrize("values", [[], [0], [0, 0, 0], [5], [1, 2, 3]])
def test_a_spark_can_be_drawn_of_anything(values: list[int]) -> None:
    markup = charts.spark(values, label="Entries")
    assert len(re.findall("<rect", markup)) == len(values)


def test_labels_are_text_and_never_markup() -> None:
    evil = "</svg><script>alert(1)</script>"
    for markup in (
        charts.bars([charts.Bar(evil, 1)], title=evil, unit=evil),
        charts.stacked([(evil, [1])], [evil], title=evil, unit=evil),
        charts.spark([1], label=evil),
    ):
        assert "<script>" not in markup
        assert "style=" not in markup


def test_a_strip_marks_each_stretch_at_its_time_and_leaves_the_gaps() -> None:
    start = datetime(2026, 11, 22, 0, tzinfo=UTC)
    end = start + timedelta(hours=24)
    early = charts.Span(start, start + timedelta(hours=6), "good", "read well")
    late = charts.Span(start + timedelta(hours=18), end, "bad", "<failed>")
    drawn = charts.strip([("Harvest", [early, late])], start=start, end=end, title="Runs of a day")
    assert 'class="mark good" x="230" y="3" width="180.5"' in drawn
    assert 'class="mark bad" x="771.5" y="3" width="180.5"' in drawn
    assert "&lt;failed&gt;" in drawn
    assert "<title id=" in drawn
    assert "Harvest: 2" in drawn
