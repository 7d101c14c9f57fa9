"""What a change set says and does, in words and figures for its page and for whoever decides."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from portal.views.audit import Change, changes_of
from portal.views.governed import address_of
from reconciliation import changes
from reconciliation.models import ChangeLine, ChangeSet


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
        sides = (_in_order(kind, cells) for cells in (line.before, line.after))
        fields = [one for one in changes_of(*sides) if one.differs]
        pk = line.key or line.made
        url = address_of(user, kind.model._meta.model_name or "", str(pk)) if pk else ""
        found.append(Told(line, kind, fields, url))
    return found


def _in_order(kind: changes.Kind, cells: dict[str, Any] | None) -> dict[str, Any] | None:
    """The fields of a record in the order of its form."""
    return cells and {column.name: cells[column.name] for column in kind.columns if column.name in cells}


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of a dry-run, with its money."""

    label: str
    entries: int
    money: list[tuple[str, Decimal, Decimal]]
    tone: str = ""
    note: str = ""


_FIGURES = (
    ("passes", "Pass", "Would pass", "good", "held now"),
    ("fails", "Fail", "Would fail", "bad", "ready now"),
    ("repriced", "Other amount", "Other amount", "info", ""),
    ("leaves", "Left the ledger", "Leave the ledger", "warn", "owed to nobody"),
    ("booked", "To reverse or credit", "To reverse or credit", "warn", "booked, and stay as they are"),
)


def figures_of(found: dict[str, Any], *, done: bool, is_planned: bool = False) -> list[Figure]:
    """The figures that are not zero, the first two always; `is_planned` where it is planned what becomes of what is booked."""
    told = []
    for name, past, future, tone, note in _FIGURES:
        one = found.get(name) or {"entries": 0, "money": {}}
        if not one["entries"] and name not in ("passes", "fails"):
            continue
        words = "as planned below" if name == "booked" and is_planned else note
        sums = [(code, Decimal(pair["before"]), Decimal(pair["after"])) for code, pair in one["money"].items()]
        told.append(Figure(past if done else future, one["entries"], sums, tone if one["entries"] else "", words))
    return told
