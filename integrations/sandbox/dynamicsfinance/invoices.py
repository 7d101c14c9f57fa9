"""Free text invoices that are written: headers named by a number sequence, and lines that the system taxes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from integrations.sandbox.dynamicsfinance.books import Refused
from integrations.sandbox.store import Store

HEADER = frozenset(
    {
        "dataAreaId", "CustomerAccount", "InvoiceAccount", "InvoiceDate", "DueDate", "CurrencyCode", "CustomerRequisition",
        "CustomerReference", "ExternalInvoiceId",
    }
)  # fmt: skip
LINE = frozenset(
    {
        "dataAreaId", "ParentRecId", "LineNumber", "Description", "Quantity", "UnitPrice", "TransactionCurrencyAmount",
        "CurrencyCode", "ProjectID", "MainAccountDisplayValue", "BillingCode", "SalesTaxItemGroupId", "ExternalInvoiceId",
    }
)  # fmt: skip
_KEY = re.compile(r"dataAreaId='(\w+)',InvoiceIdentifier=(\d+)")


class Invoices:
    """Free text invoices of all companies."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def header(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Make an unposted invoice without lines."""
        kind = "CustFreeTextInvoiceHeaderEntity"
        if unknown := set(given) - HEADER:
            raise Refused(kind, f"The property '{min(unknown)}' does not exist on type 'FreeTextInvoiceHeader'")
        company, customer = given["dataAreaId"], given["CustomerAccount"]
        if f"{company}/{customer}" not in self._store.collection("CustomersV3"):
            raise Refused(
                kind,
                f"The value '{customer}' in field 'Customer account' is not found in the related table 'Customers'",
            )
        number = self._store.next_id("invoice", 5637150000)
        empty = {"CorrectedInvoiceId": "", "InvoiceName": "", **dict.fromkeys(HEADER, "")}
        made = {**empty, **given, "InvoiceIdentifier": number, "FreeTextNumber": "Not posted", "IsPosted": "No"}
        for field in ("InvoiceDate", "DueDate"):
            made[field] = f"{str(made[field] or '1900-01-01')[:10]}T12:00:00Z"
        self._store.collection("FreeTextInvoiceHeaders")[f"{company}/{number}"] = made
        return made

    def line(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Write a line; a tenth of it is tax."""
        kind = "CustFreeTextInvoiceLineEntity"
        if unknown := set(given) - LINE:
            raise Refused(kind, f"The property '{min(unknown)}' does not exist on type 'FreeTextInvoiceLine'")
        if given.get("MainAccountDisplayValue") == "BLOCKED":
            raise Refused(kind, "The combination of dimension values is not valid for account structure P&L")
        key = f"{given['dataAreaId']}/{given['ParentRecId']}/{given['LineNumber']}"
        lines = self._store.collection("FreeTextInvoiceLines")
        if key in lines:
            raise Refused(kind, "Cannot create a record in Free text invoice lines. The record already exists")
        tax = round(given["TransactionCurrencyAmount"] / 10, 2)
        lines[key] = {**dict.fromkeys(LINE, ""), "TransactionID": "", **given, "SalesTaxAmount": tax}
        return lines[key]

    def delete(self, key: str) -> bool:
        """Delete an unposted invoice with its lines; whether there was one."""
        found = _KEY.fullmatch(key)
        headers = self._store.collection("FreeTextInvoiceHeaders")
        name = f"{found[1]}/{found[2]}" if found else ""
        if name not in headers:
            return False
        del headers[name]
        lines = self._store.collection("FreeTextInvoiceLines")
        for one in [one for one in lines if one.startswith(f"{name}/")]:
            del lines[one]
        return True

    def lines_by_key(self) -> list[dict[str, Any]]:
        """Every invoice that bears a key of ours, with how many lines it has."""
        lines = [str(row["ParentRecId"]) for row in self._store.collection("FreeTextInvoiceLines").values()]
        return [
            {"key": row["ExternalInvoiceId"], "lines": lines.count(str(row["InvoiceIdentifier"]))}
            for row in self._store.collection("FreeTextInvoiceHeaders").values()
            if row.get("ExternalInvoiceId")
        ]
