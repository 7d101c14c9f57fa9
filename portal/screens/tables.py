"""Tables and their columns: one linked sentence a row, figures at the right, the currency beside them, states in words.

The rule here: a column's `value` is what an export gets: the figure itself, never its markup, and money at the currency's own
minor unit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar

import django_tables2 as tables
from django.utils.html import format_html
from django.utils.safestring import SafeString

from portal import charts, figures, money
from portal.screens import drawing


class Column(tables.Column):  # type: ignore[misc]
    """A column of the kit. `css` goes on its cells and head; a column that heads its row names the row to a reader.

    An optional one is shown to those who ask for it.
    """

    css: str = ""
    optional = False
    heads_row = False
    label = ""  # what a card of the narrow layout says instead of the head

    def __init__(self, *args: Any, optional: bool = False, **more: Any) -> None:
        super().__init__(*args, **more)
        self.optional = optional


class Table(tables.Table):  # type: ignore[misc]
    """A table of the kit. Rows carry their key; on narrow screens each row becomes a card with its labels."""

    stacks: ClassVar[bool] = True  # narrow screens get a card a row

    def __init__(self, data: Any, **more: Any) -> None:
        super().__init__(data, default=figures.UNKNOWN, **more)
        for bound in self.columns:
            # a table that draws a figure its own way still exports the figure, unless it says otherwise
            is_drawn = hasattr(self, f"render_{bound.name}") and not hasattr(self, f"value_{bound.name}")
            if is_drawn and type(bound.column).value is not tables.Column.value:
                bound.value = bound.column.value

    def drawn(self) -> Iterator[SafeString]:
        """The rows of the page, each with its key."""
        return drawing.rows(self, self.paginated_rows.data)

    def drawn_anew(self) -> Iterator[SafeString]:
        """The same rows for a page that shows them already."""
        return drawing.rows(self, self.paginated_rows.data, out_of_band=True)


class TextColumn(Column):
    """Plain words; `wraps` lets a long text break."""

    def __init__(self, *, wraps: bool = False, mono: bool = False, **more: Any) -> None:
        super().__init__(**more)
        self.css = " ".join(["text"] * wraps + ["mono"] * mono)


class SelectColumn(Column):
    """The check-box that puts a row into the selection, named after the row for a screen reader."""

    css = "sel"

    def __init__(self) -> None:
        super().__init__(accessor="pk", orderable=False, exclude_from_export=True)

    @property
    def header(self) -> SafeString:
        """One box for the page, which needs scripts to work."""
        return format_html(
            '<label class="needs-js"><input type="checkbox" aria-label="{}"></label>', "Select all on this page"
        )

    def render(self, value: Any, record: Any) -> SafeString:
        """The box of one row."""
        return format_html(
            '<label><input type="checkbox" name="selected" value="{}" aria-label="Select {}"></label>', value, record
        )


class MainColumn(Column):
    """The sentence a person would say, linked to the row's page; under it rule, route and age in small type.

    `second` gives the second line of a record. Without `url` the record's own address is used.
    """

    css = "main"
    heads_row = True

    def __init__(
        self,
        *,
        url: Callable[[Any], str] | None = None,
        second: Callable[[Any], str] | None = None,
        drawer: bool | Callable[[Any], bool] = True,
        **more: Any,
    ) -> None:
        self.url, self.second, self.drawer = url, second, drawer
        super().__init__(**more)

    def render(self, value: Any, record: Any) -> SafeString:
        """The link, opened beside the list when scripts run, and the second line."""
        url = self.url(record) if self.url else record.get_absolute_url()
        beside = (
            format_html(' hx-get="{}" hx-target="#drawer-body" hx-push-url="true"', url)
            if (self.drawer(record) if callable(self.drawer) else self.drawer)
            else SafeString()
        )
        link = format_html('<a href="{}" data-main{}>{}</a>', url, beside, value)
        second = self.second(record) if self.second else ""
        return format_html("{}<small>{}</small>", link, second) if second else link

    def value(self, value: Any) -> Any:
        """The sentence without its link."""
        return value


class NumberColumn(Column):
    """A count or a figure, at the right."""

    places: int | None = None

    def __init__(self, *, places: int | None = None, strong: bool = False, **more: Any) -> None:
        self.places = self.places if places is None else places
        super().__init__(**more)
        self.css = "num strong" if strong else "num"

    def render(self, value: Any) -> str:
        """The figure with thousands apart."""
        return figures.number(value, self.places)

    def value(self, value: Any) -> Any:
        """The figure itself."""
        return value


class HoursColumn(NumberColumn):
    """Hours, always two decimals."""

    places = 2


class MoneyColumn(NumberColumn):
    """An amount in the minor units of the record's currency; the currency stands in the column beside it.

    An `exact` one is a price, which may have more decimals than money: a file gets all of them.
    """

    def __init__(self, *, currency: str = "currency", exact: bool = False, **more: Any) -> None:
        self.currency, self.exact = tables.A(currency), exact
        super().__init__(**{"strong": True, **more})

    def render(self, value: Any, record: Any) -> SafeString:  # type: ignore[override]
        """The amount; its currency is repeated only where the column beside it has no room."""
        currency = self.currency.resolve(record, quiet=True) or ""
        return format_html('{}<span class="cur narrow"> {}</span>', figures.amount(value, currency), currency)

    def value(self, value: Any, record: Any) -> Any:  # type: ignore[override]
        """The amount as money is written: a share of it is no longer than its cents."""
        if self.exact or not isinstance(value, Decimal):
            return value
        currency = self.currency.resolve(record, quiet=True) or ""
        return money.round_money(value, currency) if money.is_currency(currency) else round(value, 2)


class CurrencyColumn(Column):
    """The currency code beside an amount."""

    css = "cur"
    label = "Currency"

    def __init__(self, **more: Any) -> None:
        super().__init__(orderable=False, verbose_name="Currency", **more)

    @property
    def header(self) -> SafeString:
        """Named for screen readers only: the figure beside it says enough."""
        return format_html('<span class="sr">{}</span>', self.verbose_name)


class DayColumn(Column):
    """A day without a zone."""

    def render(self, value: Any) -> str:
        """The day in words."""
        return figures.day(value)

    def value(self, value: Any) -> Any:
        """The day itself."""
        return value


class WhenColumn(Column):
    """A moment as distance from now, or only its age; the exact one is in the title."""

    def __init__(self, *, age: bool = False, **more: Any) -> None:
        self.age = age
        super().__init__(**more)

    def render(self, value: Any) -> str:
        """The distance in its largest unit."""
        return figures.age(value) if self.age else figures.moment(value)

    def value(self, value: Any) -> Any:
        """The moment itself."""
        return value


class StateColumn(Column):
    """A state in words, with its colour. `tones` goes from the stored state to good, warn, bad or info."""

    def __init__(self, tones: Mapping[str, str], **more: Any) -> None:
        self.tones = tones
        super().__init__(**more)

    def render(self, value: Any, record: Any) -> SafeString:
        """The state's own words; the tone comes from the value stored."""
        stored = tables.A(self.accessor).resolve(record, quiet=True) if self.accessor else value
        return format_html('<span class="state {}">{}</span>', self.tones.get(str(stored), ""), value)

    def value(self, value: Any) -> Any:
        """The words alone."""
        return value


class SparkColumn(Column):
    """A row of small bars; `label` says what they count."""

    def __init__(self, *, label: str, **more: Any) -> None:
        self.label = label
        super().__init__(orderable=False, **more)

    def render(self, value: Sequence[int]) -> SafeString:
        """The bars, with their sum and last value in words."""
        return charts.spark(value, label=self.label)

    def value(self, value: Sequence[int]) -> str:
        """The figures, apart by spaces."""
        return " ".join(str(one) for one in value)
