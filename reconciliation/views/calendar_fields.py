"""A calendar as fields of a form: the days of the weekend as boxes, the hours of a day, and a row for each holiday.

The rule here: what a person did not touch stays exactly as it was stored; an emptied row is taken out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django import forms

PREFIX = "calendar."
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
WEEKEND = [6, 7]  # where nothing is said
HOURS = "8"
SPARE = 6  # empty rows below the holidays that stand
_DAY, _NAME = f"{PREFIX}day", f"{PREFIX}named"

Holiday = tuple[str, str]  # the day and what it is called, as texts


class HolidayRows(forms.Widget):
    """A row of two fields for each holiday, and some more to fill in."""

    template_name = "reconciliation/holidays.html"
    use_fieldset = True

    def get_context(self, name: str, value: Any, attrs: Any) -> dict[str, Any]:
        """The rows, with a number for the labels of each."""
        rows = [*(value or []), *[("", "")] * SPARE]
        return {
            **super().get_context(name, value, attrs),
            "rows": [(number, day, named) for number, (day, named) in enumerate(rows, 1)],
            "day": _DAY,
            "named": _NAME,
        }

    def value_from_datadict(self, data: Any, files: Any, name: str) -> list[Holiday]:
        """The rows that are not empty."""
        return holidays_in(data)

    def value_omitted_from_data(self, data: Any, files: Any, name: str) -> bool:
        """Whether a form has none."""
        return _DAY not in data


def fields() -> Iterator[tuple[str, forms.Field]]:
    """The fields of a calendar, in their order."""
    boxes = [(str(number), name) for number, name in enumerate(DAYS, 1)]
    yield PREFIX + "weekend", forms.MultipleChoiceField(
        label="Weekend", choices=boxes, required=False, widget=forms.CheckboxSelectMultiple,
        help_text="Nobody is expected to work on these days.",
    )  # fmt: skip
    yield PREFIX + "hours_per_day", forms.CharField(
        label="Hours of a day", required=False, widget=forms.TextInput(attrs={"inputmode": "decimal"}),
        help_text=f"What a full day of work is; {HOURS} where empty.",
    )  # fmt: skip
    yield PREFIX + "holidays", forms.Field(
        label="Holidays", required=False, widget=HolidayRows,
        help_text=f"Empty a row to take it out. {SPARE} more at a time; save, and open it again for others.",
    )  # fmt: skip


def initial(calendar: Any) -> dict[str, Any]:
    """What stands in the fields for a stored calendar."""
    said = calendar if isinstance(calendar, Mapping) else {}
    names = said.get("names") or {}
    return {
        PREFIX + "weekend": [str(day) for day in said.get("weekend", WEEKEND)],
        PREFIX + "hours_per_day": str(said.get("hours_per_day", "")),
        PREFIX + "holidays": [(str(day), str(names.get(day, ""))) for day in said.get("holidays", ())],
    }


def holidays_in(data: Any) -> list[Holiday]:
    """The holidays that a form says, in its order; a name without a day stays, to be refused."""
    rows = zip(data.getlist(_DAY), data.getlist(_NAME), strict=False)
    return [(day.strip(), named.strip()) for day, named in rows if day.strip() or named.strip()]


def told(data: Any, standing: Any) -> dict[str, Any]:
    """The calendar that the fields say; one that says what stands is that."""
    before = standing if isinstance(standing, Mapping) else {}
    given = holidays_in(data)
    weekend: Sequence[str] = data.getlist(PREFIX + "weekend")
    found: dict[str, Any] = {
        "weekend": sorted(int(day) for day in weekend if day.isdecimal()),
        "hours_per_day": data.get(PREFIX + "hours_per_day", "").strip() or HOURS,
        "holidays": [day for day, _ in given],
    }
    if names := {day: named for day, named in given if named}:
        found["names"] = names
    as_default = {"weekend": WEEKEND, "hours_per_day": HOURS, "holidays": []}
    return dict(before) if found == {**as_default, **before} else found


def field_of(message: str) -> str:
    """Which of the fields a refusal of a calendar is about."""
    word = next((word for word in ("weekend", "hours_per_day") if word in message), "holidays")
    return PREFIX + word
