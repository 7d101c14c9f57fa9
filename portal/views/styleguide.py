"""The style guide: every component with its real markup, to look at while working on the look. Only where DEBUG or DEMO."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django import forms
from django.conf import settings
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.utils import timezone
from django.utils.html import format_html

from portal import charts
from portal.screens import (
    CurrencyColumn,
    Empty,
    MainColumn,
    MoneyColumn,
    Notice,
    NumberColumn,
    Screen,
    SparkColumn,
    Table,
    TextColumn,
    Tile,
    WhenColumn,
)
from portal.screens.tables import SelectColumn


@dataclass(frozen=True, slots=True)
class Sample:
    """A made-up cause, only to draw a row."""

    pk: int
    sentence: str
    rule: str
    tone: str
    route: str
    entity: str
    entries: int
    people: int
    amount: Decimal
    currency: str
    days: int
    trend: tuple[int, ...]
    owner: str | None

    def __str__(self) -> str:
        return f"{self.rule}, {self.entries} entries"


SAMPLES = (
    Sample(1, "ACME-17 was closed on 30 April; hours came after it", "Project closed", "bad", "Harvest → NetSuite · regressed",
           "DE", 212, 9, Decimal("148300.00"), "EUR", 11, (1, 2, 2, 3, 5, 6, 8, 9, 9, 11, 12, 12, 13, 14), "Finance DE"),
    Sample(2, "Code “ACM-2231” is not in the master data", "Project unknown", "bad", "Harvest → NetSuite · new today",
           "US", 98, 14, Decimal("61940.00"), "USD", 3, (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 6, 9, 9), None),
    Sample(3, "110.00 instead of the agreed 120.00, senior consultant", "Rate differs", "warn", "Clockify → NetSuite",
           "GB", 164, 22, Decimal("51700.00"), "GBP", 6, (3, 3, 4, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 8), "You"),
    Sample(4, "NetSuite did not answer; looking it up at 10:06", "In doubt", "info", "NetSuite · re-post is off until proven",
           "US", 40, 12, Decimal("-21860.00"), "USD", 0, (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7), None),
)  # fmt: skip


def _second(sample: Sample) -> str:
    return format_html('<span class="state {}">{}</span>{}', sample.tone, sample.rule, sample.route)


class SampleTable(Table):
    """The drawing's table."""

    select = SelectColumn()
    sentence = MainColumn(verbose_name="Cause", url=lambda sample: f"?row={sample.pk}", second=_second, drawer=False)
    entity = TextColumn()
    entries = NumberColumn()
    people = NumberColumn()
    amount = MoneyColumn()
    currency = CurrencyColumn()
    days = WhenColumn(verbose_name="Oldest", age=True, accessor="days")
    trend = SparkColumn(label="Entries over 14 days", verbose_name="14 days")
    owner = TextColumn()

    def render_days(self, value: int) -> str:
        """Samples know their age, not their day."""
        return f"{value} d"


class SampleForm(forms.Form):
    """One field of each kind, some of them wrong."""

    project = forms.CharField(help_text="Code or name of an active project.")
    amount = forms.DecimalField(label="Limit", required=False)
    period = forms.ChoiceField(choices=[("2026-11", "Nov 2026"), ("2026-12", "Dec 2026")])
    scope = forms.ChoiceField(
        choices=[("all", "All 98 that match"), ("chosen", "The 3 selected"), ("one", "Only this one")],
        widget=forms.RadioSelect,
    )
    on = forms.DateField(label="From", widget=forms.DateInput(attrs={"type": "date"}), required=False)
    remember = forms.BooleanField(
        label="Propose a rule for the future", required=False, help_text="A controller approves it."
    )
    reason = forms.CharField(widget=forms.Textarea(attrs={"rows": 2}))


class StyleguideScreen(Screen):
    """Every component on one page."""

    title = "Style guide"
    template_name = "styleguide.html"

    def get(self, request: HttpRequest) -> HttpResponseBase:
        """The page, where it may be seen at all."""
        if not (settings.DEBUG or settings.DEMO):
            raise Http404
        return self.page(self.context(**samples()))


PAYLOAD = """{
  "id": 636709355,
  "spent_date": "2026-10-14",
  "hours": 7.5,
  "user": {"id": 1782959, "name": "Kim Allen"},
  "authorization": "[redacted]"
}"""
NOTICES = (
    Notice("NetSuite data is 42 minutes old; postings wait, nothing is lost.", "warn", "#", "See the connection"),
    Notice("We do not know whether NetSuite booked this. Looking it up at 10:06. Re-post is off until then.", "info"),
    Notice("NetSuite refused 12 time entries: the period Oct 2026 is closed in entity DE. Ref 8F3K.", "bad"),
    Notice("Balanced to the cent at 07:10.", "good"),
)
TILES = (
    Tile("At risk before Thursday", "261,940.00", "EUR", url="#tiles"),
    Tile("Oldest", "11 days", tone="bad"),
    Tile("New today", "3 causes", note="2 by Harvest"),
    Tile("Waiting on others", "2 causes"),
)
CLEAR = Empty(
    "No open exceptions",
    "Last cleared 09:42 by Finance US (112 entries). Next sync 10:00.",
    "#",
    "See what was resolved",
)


def samples() -> dict[str, Any]:
    """What the page draws."""
    table = SampleTable(SAMPLES)
    now = timezone.now()
    sums = {"sentence": "Total", "entries": "514", "people": "57"}
    return {
        "table": table,
        "foot": [(sums.get(column.name, ""), column.column.css) for column in table.columns],
        "tiles": TILES,
        "notices": NOTICES,
        "empty": CLEAR,
        "form": SampleForm({"scope": "all", "amount": "many", "period": "2026-11"}),
        "plain_form": SampleForm(initial={"scope": "all"}, auto_id="plain_%s"),
        "moments": [now - timedelta(seconds=40), now - timedelta(minutes=4), now + timedelta(hours=2)],
        "payload": PAYLOAD,
        "bars": charts.bars(
            [charts.Bar(sample.rule, abs(sample.amount)) for sample in SAMPLES],
            title="Amount held by cause",
            unit="EUR",
            places=2,
        ),
        "stacked": charts.stacked(
            [("ACME rollout", [120, 30, 12, 4]), ("Nordic audit", [80, 0, 44, 0]), ("Internal tools", [12, 8, 0, 30])],
            ["Ready", "Waiting approval", "Exceptions", "Held"],
            title="Hours by readiness",
            unit="hours",
        ),
    }
