"""Sales invoices: drafts with lines that are made whole, computed, and posted; payments of the custom page."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any

from integrations.sandbox.businesscentral.journal import MEMO, PostingDates, Refused
from integrations.sandbox.businesscentral.units import Units
from integrations.sandbox.store import Store

HEADER = frozenset(
    {
        "externalDocumentNumber", "customerNumber", "invoiceDate", "postingDate", "dueDate", "currencyCode",
        "pricesIncludeTax", "customerPurchaseOrderReference", "salesInvoiceLines", "dimensionSetLines",
    }
)  # fmt: skip
LINE = frozenset(
    {
        "lineType",
        "lineObjectNumber",
        "description",
        "description2",
        "quantity",
        "unitOfMeasureCode",
        "unitPrice",
        "taxCode",
    }
)
CODE, SECOND = 35, 50
TAX = 19.0  # percent, where the company's seed says nothing else
Json = dict[str, Any]


class SalesInvoices:
    """The set `salesInvoices`."""

    def __init__(self, store: Store, stamp: Callable[[], str], dates: PostingDates) -> None:
        self._store = store
        self._stamp = stamp
        self._dates = dates
        self._units = Units(store)
        self.defaults()

    def defaults(self) -> None:
        """An invoice is posted under the id of its draft, and a draft can be deleted."""
        self.new_id = self.locked = self.edits = False

    def configure(self, rest: Json) -> None:
        """Take its settings out of those that were given."""
        self.new_id = bool(rest.pop("posting_gives_new_id", self.new_id))
        self.edits = bool(rest.pop("edits_meanwhile", self.edits))
        self.locked = bool(rest.pop("drafts_stay", self.locked))

    def create(self, given: Mapping[str, Any]) -> Json:
        """A draft with all its lines, or none of it."""
        _known(given, HEADER, "salesInvoice")
        customer = self._row("customers", given.get("customerNumber"))
        if customer is None:
            raise Refused("Application_DialogException", "The sell-to customer cannot be found.")
        if customer.get("blocked") == "All":
            raise Refused("Application_DialogException", f"You cannot create this type of document when Customer"
                          f" {customer['number']} is blocked with type All")  # fmt: skip
        if len(str(given.get("externalDocumentNumber", ""))) > CODE:
            raise Refused("Application_StringExceededLength", f"It must be less than or equal to {CODE} characters.")
        for dimension in given.get("dimensionSetLines", ()):
            self._dimension(dimension)
        lines = [self._line(number, line) for number, line in enumerate(given["salesInvoiceLines"], start=1)]
        net = round(sum(line["netAmount"] for line in lines), 2)
        tax = round(net * self._tax() / 100, 2)
        key = str(uuid.uuid4())
        made = {
            "dueDate": "0001-01-01", "customerPurchaseOrderReference": "", "dimensionSetLines": [], **given, "id": key,
            "number": f"S-INV{self._store.next_id('draft', 1001)}", "status": "Draft", "remainingAmount": 0,
            "externalDocumentNumber": str(given.get("externalDocumentNumber", "")).upper(), "salesInvoiceLines": lines,
            "customerName": customer["displayName"], "totalAmountExcludingTax": net, "totalTaxAmount": tax,
            "totalAmountIncludingTax": round(net + tax, 2), "lastModifiedDateTime": self._stamp(),
        }  # fmt: skip
        self._store.collection("salesInvoices")[key] = made
        return made

    def post(self, key: str) -> None:
        """Make a draft final, or refuse it as it is."""
        rows = self._store.collection("salesInvoices")
        row = rows.get(key)
        if row is None or row["status"] != "Draft":
            raise Refused("Application_DialogException", "The action can be applied to a draft invoice only.")
        if self.edits:
            row = rows[key] = {**row, "customerPurchaseOrderReference": "Edited", "lastModifiedDateTime": self._stamp()}
        self._dates.check(row["postingDate"])
        posted = {
            **row, "id": str(uuid.uuid4()) if self.new_id else key, "status": "Open",
            "number": f"PS-INV{self._store.next_id('invoice', 200001)}", "remainingAmount": row["totalAmountIncludingTax"],
            "lastModifiedDateTime": self._stamp(),
        }  # fmt: skip
        del rows[key]
        rows[posted["id"]] = posted

    def delete(self, key: str) -> None:
        """Take a draft out."""
        rows = self._store.collection("salesInvoices")
        if key not in rows:
            raise Refused("Internal_RecordNotFound", "The record was not found.", 404)
        if self.locked or rows[key]["status"] != "Draft":
            raise Refused("Application_DialogException", "The invoice cannot be deleted.")
        del rows[key]

    def _line(self, number: int, given: Mapping[str, Any]) -> Json:
        _known(given, LINE, "salesInvoiceLine")
        if len(given.get("description", "")) > MEMO or len(given.get("description2", "")) > SECOND:
            raise Refused("Application_StringExceededLength", "The length of the string is too long for its field.")
        is_comment = given["lineType"] == "Comment"
        if not is_comment and not given.get("lineObjectNumber"):
            raise Refused("Application_DialogException", "Account does not exist.")
        unit = given.get("unitOfMeasureCode", "")
        if given["lineType"] == "Resource":
            unit = unit or self._units.base(given["lineObjectNumber"])
            if not self._units.knows(given["lineObjectNumber"], unit):
                told = (
                    f"The field Unit of Measure Code of table Sales Line contains a value ({unit}) that cannot be found"
                )
                raise Refused(
                    "Internal_InvalidTableRelation", f"{told} in the related table (Resource Unit of Measure)."
                )
        net = 0.0 if is_comment else round(given["quantity"] * given["unitPrice"], 2)
        percent = self._tax()
        tax = round(net * percent / 100, 2)
        return {
            "description2": "", "quantity": 0, "unitPrice": 0, "taxCode": f"S{percent:g}", "taxPercent": percent, **given,
            "unitOfMeasureCode": unit,
            "id": str(uuid.uuid4()), "sequence": number * 10000, "netAmount": net, "netTaxAmount": tax,
        }  # fmt: skip

    def _tax(self) -> float:
        """The percentage of the company's sales tax."""
        return float(self._store.collection("company").get("tax", {}).get("percent", TAX))

    def _dimension(self, given: Mapping[str, Any]) -> None:
        dimension = next((d for d in self._store.collection("dimensions").values() if d["code"] == given["code"]), None)
        if dimension is None:
            raise Refused("Application_DialogException", 'The "code" does not match to a Dimension.')
        values = self._store.collection("dimensionValues").values()
        if not any(v["code"] == given["valueCode"] and v["dimensionId"] == dimension["id"] for v in values):
            raise Refused("Application_DialogException", 'The "valueCode" does not match to a Dimension Value.')

    def _row(self, name: str, number: Any) -> Json | None:
        return next((row for row in self._store.collection(name).values() if row["number"] == number), None)


def _known(given: Mapping[str, Any], fields: frozenset[str], entity: str) -> None:
    if unknown := set(given) - fields:
        raise Refused("BadRequest", f"The property '{min(unknown)}' does not exist on type '{entity}'.")
