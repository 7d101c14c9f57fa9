"""The project journal of the custom page: lines that are checked when they are written, and posted all together or not at all."""

from __future__ import annotations

import re
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from integrations.sandbox.businesscentral.units import Units
from integrations.sandbox.store import Store

FIELDS = frozenset(
    {
        "externalId", "journalCode", "projectNumber", "projectTaskNumber", "type", "number", "postingDate", "quantity",
        "unitCost", "unitPrice", "chargeable", "currencyCode", "dimension1Code", "workTypeCode", "description",
        "unitOfMeasureCode",
    }
)  # fmt: skip
_RELATED = (
    "The field {field} of table Project Journal Line contains a value ({value}) that cannot be found in the related table "
    "({table})."
)
MEMO = 100
_CHOICES = ("status", "type", "lineType", "blocked")  # fields whose values are named on the wire
_ESCAPED = re.compile(r"_x([0-9A-F]{4})_")


def on_the_wire(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with the values of its choices as the server writes them: what no name may hold is `_xHHHH_`."""
    return {
        name: re.sub(r"[^A-Za-z0-9_]", lambda found: f"_x{ord(found[0]):04X}_", value)
        if name in _CHOICES and isinstance(value, str)
        else [on_the_wire(one) for one in value]
        if name.endswith("Lines")
        else value
        for name, value in row.items()
    }


def off_the_wire(value: str) -> str:
    """A value of a choice as it was written by a caller. One with what no name may hold is none."""
    if re.search(r"[^A-Za-z0-9_]", value):
        raise Refused("BadRequest", f"Cannot convert the literal '{value}' to the expected type.")
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), value)


class Refused(Exception):
    """A business rule says no."""

    def __init__(self, code: str, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.code = code
        self.status = status


class PostingDates:
    """The allowed posting dates of a company."""

    def __init__(self) -> None:
        self.defaults()

    def defaults(self) -> None:
        """Every day."""
        self.first, self.last = "0001-01-01", "9999-12-31"

    def configure(self, rest: dict[str, Any]) -> None:
        """Take them out of the settings that were given."""
        self.first = str(rest.pop("posting_from", self.first))
        self.last = str(rest.pop("posting_to", self.last))

    def check(self, day: Any, where: str = "") -> None:
        """Refuse a day outside."""
        if not self.first <= str(day) <= self.last:
            raise Refused(
                "Application_DialogException", f"Posting Date is not within your range of allowed posting dates{where}."
            )


class ProjectJournal:
    """Lines and the ledger behind them."""

    def __init__(self, store: Store, stamp: Callable[[], str], dates: PostingDates) -> None:
        self._store = store
        self._stamp = stamp
        self._dates = dates
        self._units = Units(store)
        self.requires_dimension = False

    def configure(self, rest: dict[str, Any]) -> None:
        """Take its settings out of those that were given."""
        self.requires_dimension = bool(rest.pop("requires_dimension", self.requires_dimension))

    def write(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Insert a line. What relates to nothing, is too long, or has a key that is there already is refused."""
        if unknown := set(given) - FIELDS:
            raise Refused("BadRequest", f"The property '{min(unknown)}' does not exist on type 'projectJournalLine'.")
        if self._known(str(given["externalId"])):
            raise Refused(
                "Internal_EntityWithSameKeyExists",
                f"The record already exists. Identification fields and values: External Id='{given['externalId']}'",
                409,
            )
        if len(str(given.get("description", ""))) > MEMO:
            size = len(str(given["description"]))
            raise Refused(
                "Application_StringExceededLength",
                f"The length of the string is {size}, but it must be less than or equal to {MEMO} characters.",
            )
        self._related("projects", given["projectNumber"], "Project No.", "Project")
        given = {**given, "type": off_the_wire(str(given["type"]))}
        if given["type"] not in ("Resource", "Item", "G/L Account"):
            raise Refused("BadRequest", f"Cannot convert the literal '{given['type']}' to the expected type.")
        if given["type"] == "Resource":
            self._related("employees", given["number"], "No.", "Resource")
            given = {**given, "unitOfMeasureCode": self._unit(given)}
        key = str(uuid.uuid4())
        line = {**dict.fromkeys(FIELDS, ""), "id": key, **given, "lastModifiedDateTime": self._stamp()}
        self._store.collection("projectJournalLines")[key] = line
        return line

    def post(self, journal_id: str) -> None:
        """Post every line of a journal, or none where one is refused."""
        journal = self._store.collection("projectJournals").get(journal_id)
        if journal is None:
            raise Refused("Internal_RecordNotFound", "The journal was not found.", 404)
        lines = self._store.collection("projectJournalLines")
        chosen = [(key, line) for key, line in lines.items() if line["journalCode"] == journal["code"]]
        if not chosen:
            raise Refused("Application_DialogException", "There is nothing to post.")
        for _, line in chosen:
            self._check(line)
        for key, line in chosen:
            number = self._store.next_id("entry", 1000)
            quantity = line["quantity"] or 0
            entry = {
                **line, "id": str(uuid.uuid4()), "entryNumber": number, "lastModifiedDateTime": self._stamp(),
                "quantityBase": round(quantity * self._units.per(line["number"], line["unitOfMeasureCode"]), 5),
                "totalPrice": round(quantity * (line["unitPrice"] or 0), 2),
            }  # fmt: skip
            self._store.collection("projectLedgerEntries")[str(number)] = entry
            del lines[key]

    def by_key(self, name: str) -> dict[str, int]:
        """How many rows of a set bear each key."""
        return dict(Counter(str(row.get("externalId", "")) for row in self._store.collection(name).values()))

    def _known(self, key: str) -> bool:
        return bool(key) and any(self.by_key(name).get(key) for name in ("projectJournalLines", "projectLedgerEntries"))

    def _check(self, line: Mapping[str, Any]) -> None:
        self._dates.check(line["postingDate"], f" in Project Journal Line {line['number']}")
        project = self._row("projects", line["projectNumber"])
        if project and project.get("blocked"):
            raise Refused("Application_DialogException", f"Project {line['projectNumber']} is blocked with type All.")
        if self.requires_dimension and not line["dimension1Code"]:
            raise Refused(
                "Application_DialogException",
                f"Select a Dimension Value Code for the Dimension Code DEPARTMENT for Resource {line['number']}.",
            )

    def _unit(self, given: Mapping[str, Any]) -> str:
        """The unit of a resource's line once its fields were taken in the order in which they were given."""
        base = unit = self._units.base(given["number"])
        brought = ""
        for name, value in given.items():
            if name == "workTypeCode" and value:
                brought = self._units.of_work_type(value)
                unit = brought or base
            elif name == "unitOfMeasureCode":
                unit = value or base
                if brought and unit != brought:
                    raise Refused(
                        "Application_DialogException",
                        f"Unit of Measure Code must be equal to '{brought}' in Project Journal Line: Line No.='10000'. "
                        f"Current value is '{unit}'.",
                    )
        if not self._units.knows(given["number"], unit):
            told = _RELATED.format(field="Unit of Measure Code", value=unit, table="Resource Unit of Measure")
            raise Refused("Internal_InvalidTableRelation", told)
        return str(unit)

    def _related(self, name: str, value: Any, field: str, table: str) -> None:
        if self._row(name, value) is None:
            raise Refused("Internal_InvalidTableRelation", _RELATED.format(field=field, value=value, table=table))

    def _row(self, name: str, number: Any) -> dict[str, Any] | None:
        return next((row for row in self._store.collection(name).values() if row["number"] == number), None)
