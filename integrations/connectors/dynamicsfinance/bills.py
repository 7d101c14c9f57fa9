"""Invoices and payments with what belongs to them: lines, booked totals, the hours they bill, and what was settled.

A free text invoice's header tells no amount: its lines do, and once it is posted the set of posted invoices tells the totals that
were booked. A customer payment names the invoice that it is marked against by number.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from integrations.connectors.dynamicsfinance import assumptions, bodies
from integrations.connectors.dynamicsfinance.entities import Entities, by, is_yes
from integrations.connectors.dynamicsfinance.memory import shown
from integrations.http import odata
from integrations.http.fields import Row, amount, text
from integrations.protocol import Account

HEADERS, LINES = "FreeTextInvoiceHeaders", "FreeTextInvoiceLines"
POSTED = "SalesInvoiceHeadersV2"
PAYMENT_HEADERS, PAYMENT_LINES = "CustomerPaymentJournalHeaders", "CustomerPaymentJournalLines"


class Bills:
    """The bills of one company."""

    def __init__(self, account: Account, entities: Entities) -> None:
        self._account = account
        self._entities = entities

    def invoices(self, headers: Sequence[Row]) -> list[tuple[Row, dict[str, Any]]]:
        """Each header with its lines, its booked totals, the hours that its lines name, and the payments marked against it."""
        lines = self._lines([text(row, "InvoiceIdentifier") for row in headers])
        numbers = [text(row, "FreeTextNumber") for row in headers if is_posted(row)]
        posted = by(self._entities.among(POSTED, "InvoiceNumber", numbers), "InvoiceNumber")
        settled = self._settled(numbers)
        hours = self._hours(sorted({text(row, "TransactionID") for some in lines.values() for row in some} - {""}))
        corrected = self._numbered([text(row, "CorrectedInvoiceId") for row in headers])
        told = []
        for row in headers:
            number = text(row, "FreeTextNumber") if is_posted(row) else ""
            own = lines.get(text(row, "InvoiceIdentifier"), [])
            named = {text(line, "TransactionID") for line in own}
            payload = {
                "header": shown(row),
                "lines": [shown(line) for line in own],
                "posted": shown(posted[number]) if number in posted else None,
                "settled": [shown(line) for line in settled.get(number, [])] if number else [],
                "hours": {name: hour for name, hour in hours.items() if name in named},
                "corrects": text(corrected.get(text(row, "CorrectedInvoiceId"), {}), "InvoiceIdentifier"),
            }
            told.append((row, payload))
        return told

    def payments(self, lines: Sequence[Row]) -> list[tuple[Row, dict[str, Any]]]:
        """Posted lines by which a customer paid, each with the invoice that it is marked against and that invoice's currency."""
        posted = self._posted_journals([text(row, "JournalBatchNumber") for row in lines])
        chosen = [
            row for row in lines if text(row, "JournalBatchNumber") in posted and text(row, "AccountType") == "Cust"
        ]
        bills = self._numbered([text(row, "MarkedInvoice") for row in chosen])
        told = []
        for row in chosen:
            bill = bills.get(text(row, "MarkedInvoice"), {})
            named = {"bill": text(bill, "InvoiceIdentifier"), "bill_currency": text(bill, "CurrencyCode")}
            told.append((row, {"line": shown(row), **named}))
        return told

    def _lines(self, identifiers: Sequence[str]) -> dict[str, list[Row]]:
        """The lines of some invoices, by the identifier, which is a number."""
        found: dict[str, list[Row]] = defaultdict(list)
        for start in range(0, len(identifiers), odata.KEYS_AT_ONCE):
            wanted = " or ".join(f"ParentRecId eq {one}" for one in identifiers[start : start + odata.KEYS_AT_ONCE])
            for row in self._entities.rows(LINES, wanted, orderby="ParentRecId,LineNumber"):
                found[text(row, "ParentRecId")].append(row)
        return found

    def _settled(self, numbers: Sequence[str]) -> dict[str, list[Row]]:
        """Posted payment lines that are marked against some invoices, by the invoice's number."""
        marked = list(
            self._entities.among(PAYMENT_LINES, "MarkedInvoice", numbers, orderby="JournalBatchNumber,LineNumber")
        )
        posted = self._posted_journals([text(row, "JournalBatchNumber") for row in marked])
        found: dict[str, list[Row]] = defaultdict(list)
        for row in marked:
            if text(row, "JournalBatchNumber") in posted:
                found[text(row, "MarkedInvoice")].append(row)
        return found

    def _posted_journals(self, names: Sequence[str]) -> set[str]:
        headers = self._entities.among(PAYMENT_HEADERS, "JournalBatchNumber", sorted(set(names)))
        return {text(row, "JournalBatchNumber") for row in headers if is_yes(row, "IsPosted")}

    def _numbered(self, numbers: Sequence[str]) -> dict[str, Row]:
        """Free text invoices by their numbers."""
        wanted = sorted({number for number in numbers if number and number != assumptions.UNPOSTED})
        return by(self._entities.among(HEADERS, "FreeTextNumber", wanted), "FreeTextNumber")

    def _hours(self, transactions: Sequence[str]) -> dict[str, dict[str, str]]:
        """Which of our lines became some project transactions: our key and the line's number, by the transaction."""
        found = {}
        for row in self._entities.among("JournalTrans", "TransactionID", transactions):
            key = bodies.found_key(row, self._account, bodies.TIME)
            found[text(row, "TransactionID")] = {"key": key, "number": bodies.line_number(row)}
        return found


def totals(payload: Mapping[str, Any]) -> tuple[Decimal, Decimal]:
    """Net and tax of an invoice, below zero of a credit note: what was booked, else what its lines add up to."""
    posted = payload.get("posted")
    if isinstance(posted, Mapping):
        tax = amount(posted, "TotalTaxAmount")
        return amount(posted, "TotalInvoiceAmount") - tax, tax
    lines = [line for line in payload.get("lines") or () if isinstance(line, Mapping)]
    net, tax = (
        sum((amount(line, name) for line in lines), Decimal(0))
        for name in ("TransactionCurrencyAmount", "SalesTaxAmount")
    )
    return net, tax


def is_credit(payload: Mapping[str, Any]) -> bool:
    """Whether an invoice is a credit note."""
    return sum(totals(payload)) < 0


def is_posted(header: Row | Mapping[str, Any]) -> bool:
    """Whether a free text invoice is posted, and so has a number."""
    return is_yes(header, "IsPosted") or text(header, "FreeTextNumber") not in ("", assumptions.UNPOSTED)
