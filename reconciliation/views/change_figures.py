"""What a change set says and does, in words and figures for its page and for whoever decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from portal import figures
from portal.importing import cells
from portal.importing.cells import Amounts
from portal.importing.problems import Unreadable
from portal.importing.tables import Column
from portal.models import LedgerEntry, ProjectStatus
from portal.views.audit import Change, changes_of
from portal.views.governed import address_of
from reconciliation import changes
from reconciliation.models import ChangeLine, ChangeSet

NAMED = 5  # booked entries that are named
MONEY = 4  # decimals in which amounts of money are kept


@dataclass(frozen=True, slots=True)
class Told:
    """One line as the page shows it: what is done to which record, and its fields before and after."""

    line: ChangeLine
    kind: changes.Kind
    fields: list[Change]
    url: str

    @property
    def tone(self) -> str:
        """How loud its action is."""
        return {"add": "good", "end": "warn", "remove": "bad"}.get(self.line.action, "info")


def told(change_set: ChangeSet, user: Any) -> list[Told]:
    """The lines with what differs; a new record shows what it has."""
    found = []
    for line in change_set.lines.order_by("position"):
        kind = changes.BY_CODE[line.model]
        sides = (_in_order(kind, one) for one in (line.before, line.after))
        fields = [one for one in changes_of(*sides) if one.differs]
        pk = line.key or line.made
        url = address_of(user, kind.model._meta.model_name or "", str(pk)) if pk else ""
        found.append(Told(line, kind, fields, url))
    return found


def without_status(change_set: ChangeSet) -> list[str]:
    """The projects that it adds and that nothing gives a status: they are open on no day, and no system is told of them."""
    lines = change_set.lines.filter(model__in=["project", "project_status"]).order_by("position")
    said = [(line.model, line.action, line.values or {}) for line in lines]
    added = [str(values.get("code", "")) for model, action, values in said if (model, action) == ("project", "add")]
    given = {values.get("project") for model, _, values in said if model == "project_status"}
    if added:
        given |= set(ProjectStatus.objects.filter(project__code__in=added).values_list("project__code", flat=True))
    return [code for code in added if code not in given]


def _in_order(kind: changes.Kind, said: dict[str, Any] | None) -> dict[str, Any] | None:
    """The fields of a record in the order of its form; each setting of a table of settings is a field of its own."""
    if not said:
        return said
    found: dict[str, Any] = {}
    for column in kind.columns:
        value = said.get(column.name)
        if isinstance(value, dict):
            found.update({f"{column.name} {key}": one for key, one in value.items()})
        elif column.name in said:
            found[column.name] = _as_written(column, value)
    return found


def _as_written(column: Column, value: Any) -> Any:
    """A day in words and an amount as money is written, with its cents; everything else as it is."""
    is_money = isinstance(column.parse, Amounts) and column.parse.places == MONEY
    if not value or not (is_money or column.parse is cells.day):
        return value
    try:
        return figures.exact(column.parse(value)) if is_money else figures.day(column.parse(value))
    except Unreadable:
        return value


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of a dry-run, with its money."""

    label: str
    entries: int
    money: list[tuple[str, Decimal, Decimal]]
    tone: str = ""
    note: str = ""


PLANNED = "as planned below"
_FIGURES = (
    ("passes", ("Passed", "were held"), ("Would pass", "held now"), "good"),
    ("fails", ("Failed", "were ready"), ("Would fail", "ready now"), "bad"),
    ("new_passes", ("New, and passed", "had no target"), ("New, would pass", "without a target now"), "good"),
    ("new_fails", ("New, and held", "had no target"), ("New, would be held", "without a target now"), "bad"),
    ("repriced", ("Got another amount", ""), ("Other amount", ""), "info"),
    ("leaves", ("Left the ledger", "owed to nobody"), ("Leave the ledger", "owed to nobody"), "warn"),
    (
        "booked",
        ("Booked otherwise", "stayed as they were"),
        ("To correct in the books", "booked, and stay as they are"),
        "warn",
    ),
)  # by name: its label and note once it is done, and before


def booked_of(found: Mapping[str, Any], user: Any) -> list[tuple[int, str]]:
    """The first booked entries that would say something else, by key and as people know them, where the person sees them."""
    keys = ((found or {}).get("booked") or {}).get("named", ())[:NAMED]
    rows = LedgerEntry.objects.visible_to(user).filter(pk__in=keys).select_related("resource", "project")
    said = []
    for entry in rows.order_by("work_date", "pk"):
        who = entry.resource.name if entry.resource else entry.get_kind_display()
        where = f" on {entry.project.code}" if entry.project else ""
        hours = f", {figures.hours(entry.hours)} h" if entry.hours is not None else ""
        said.append((entry.pk, f"{who}{where}, {figures.day(entry.work_date)}{hours}"))
    return said


def figures_of(found: dict[str, Any], *, done: bool, booked: str = "") -> list[Figure]:
    """The figures that are not zero, the first two always; `booked` is what becomes or became of what is booked."""
    told = []
    for name, past, future, tone in _FIGURES:
        one = found.get(name) or {"entries": 0, "money": {}}
        if not one["entries"] and name not in ("passes", "fails"):
            continue
        label, note = past if done else future
        sums = [(code, Decimal(pair["before"]), Decimal(pair["after"])) for code, pair in one["money"].items()]
        words = booked if name == "booked" and booked else note
        told.append(Figure(label, one["entries"], sums, tone if one["entries"] else "", words))
    return told
