"""Master data and bills by OData: which set each stream reads, and how a row that changed is known.

Sets have no time of change that could be asked for, so each reading reads one whole, in the order of its keys, and says with the
size that the set itself states how much there is. What differs from the last reading has a later revision; the rest keeps the one
that it has.

Deletions are not told: what has transactions cannot be deleted there. A draft invoice can: one that was there and is missed is
asked for by its key, and told when it is gone. Where a posted one is not shown either, invoices are hidden from us: then no
deletion is told, people are, and what is shown is read on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from integrations.connectors.dynamicsfinance import bills, refusals
from integrations.connectors.dynamicsfinance.entities import Entities
from integrations.connectors.dynamicsfinance.memory import Memory, Reading, shown
from integrations.connectors.dynamicsfinance.settings import SETTINGS
from integrations.http import Http, Response, fields, plain
from integrations.http.fields import Row
from integrations.http.odata import KEYS_AT_ONCE, quoted
from integrations.protocol import Account, Page, SourceRecord

INVOICES, PAYMENTS = "invoices", "payments"


@dataclass(frozen=True, slots=True)
class Stream:
    """What a stream reads: the set, how a row is known, and what of it may leave the vendor (empty: everything)."""

    name: str
    path: str
    key: tuple[str, ...]
    select: str = ""
    is_shared: bool = False  # whether the set belongs to no company


_PEOPLE = "PersonnelNumber,Name,WorkerStatus,PrimaryContactEmail,OriginalHireDateTime"  # and nothing private
_CUSTOMERS = (
    "dataAreaId,CustomerAccount,OrganizationName,PersonFirstName,PersonLastName,SalesCurrencyCode,TaxExemptNumber,"
    "OnHoldStatus,InvoiceAccount,PartyType"
)
STREAMS: Mapping[str, Stream] = {
    stream.name: stream
    for stream in (
        Stream("periods", "FiscalPeriods", ("FiscalYear", "PeriodName"), is_shared=True),
        Stream("cost_centres", "FinancialDimensionValues", ("DimensionValue",), is_shared=True),
        Stream("customers", "CustomersV3", ("CustomerAccount",), _CUSTOMERS),
        Stream("projects", "ProjectsV2", ("ProjectId",)),
        Stream("tasks", "ProjectTasks", ("ProjectId", "TaskId")),
        Stream("employees", "Workers", ("PersonnelNumber",), _PEOPLE, is_shared=True),
        Stream(INVOICES, "FreeTextInvoiceHeaders", ("InvoiceIdentifier",)),
        Stream(PAYMENTS, "CustomerPaymentJournalLines", ("JournalBatchNumber", "LineNumber")),
    )
}


class Reader:
    """The streams of one company."""

    def __init__(self, account: Account, http: Http, own: Sequence[refusals.Pattern]) -> None:
        self._account = account
        self._entities = Entities(account, http, own)
        self._bills = bills.Bills(account, self._entities)

    def pull(self, name: str, since: str | None) -> Iterator[Page]:
        """A whole set in the order of its keys, or the rest of it where a reading was cut; the next one begins anew."""
        stream, before = fields.stream_of(STREAMS, "Dynamics 365 Finance", name), Memory.of(since)
        reading: Reading | None = None
        counted: int | None = None
        left_out = 0
        for rows, answer, more in self._pages(stream, self._wanted(stream), counted=True, skip=before.done):
            reading = reading or Reading(before, answer.answered_at)
            reading.met(len(rows))
            counted = answer.body.get("@odata.count", counted)
            payloads = self._payloads(stream, rows)
            left_out += len(rows) - len(payloads)
            total = None if counted is None else max(0, counted - before.done - left_out)
            records = [record(stream, row, payload, reading) for row, payload in payloads]
            withheld = ""
            if name == INVOICES and not more:
                gone, withheld = self._gone(stream, reading)
                records, total = [*records, *gone], None if total is None else total + len(gone)
            cursor = reading.memory(more=more).text()
            yield Page(records=records, cursor=cursor, last=not more, total=total, withheld=withheld)

    def one(self, name: str, key: str) -> list[SourceRecord]:
        """One record as it is now; empty when it is gone."""
        stream = fields.stream_of(STREAMS, "Dynamics 365 Finance", name)
        parts = key.split("/", len(stream.key) - 1)
        if len(parts) < len(stream.key):
            return []
        wanted = " and ".join(
            f"{field} eq {part if field in _NUMBERS else quoted(part)}"
            for field, part in zip(stream.key, parts, strict=True)
        )
        both = " and ".join(part for part in (self._wanted(stream), wanted) if part)
        return [
            record(stream, row, payload, Reading(Memory(), answer.answered_at))
            for rows, answer, _ in self._pages(stream, both)
            for row, payload in self._payloads(stream, rows)
        ]

    def _gone(self, stream: Stream, reading: Reading) -> tuple[list[SourceRecord], str]:
        """Drafts that were there before and are in the company's set no more, whatever part of it is read.

        Where invoices that are posted, or most of all, are not shown either, they are hidden and not deleted: then none is told,
        and a sentence says so with every reading until they are shown again.
        """
        missed = reading.missed()
        drafts = [key for key, told in missed.items() if told.startswith(_DRAFT)]
        gone = self._absent(stream, drafts)
        if not gone:
            return [], ""
        posted = [key for key, told in missed.items() if told.startswith(_POSTED)]
        hidden = self._absent(stream, posted[:: len(posted) // KEYS_AT_ONCE + 1])
        if hidden or (len(gone) >= _MANY and len(gone) * 2 > reading.known):
            reading.keep(missed)
            return [], (
                f"Of {reading.known} invoices, {', '.join([*hidden, *gone][:3])} and others are not shown any more, which are "
                "posted or too many to be deleted drafts; a security policy may hide them. None is taken for deleted; let the "
                "user of the connection see them again. Whatever is shown is read."
            )
        reading.forget(gone)
        told = [
            SourceRecord(
                stream=stream.name,
                external_id=key,
                revision=reading.moment,
                payload={"gone": key, "credit": missed[key].startswith(_CREDIT, 1)},
            )
            for key in gone
        ]
        return told, ""

    def _absent(self, stream: Stream, keys: Sequence[str]) -> list[str]:
        """Which invoices the company's set does not hold, by few calls."""
        found: set[str] = set()
        for start in range(0, len(keys), KEYS_AT_ONCE):
            wanted = " or ".join(f"{stream.key[0]} eq {key}" for key in keys[start : start + KEYS_AT_ONCE])
            rows = self._entities.rows(stream.path, wanted, orderby=",".join(stream.key))
            found |= {fields.key_of(row, stream.key, stream.path) for row in rows}
        return [key for key in keys if key not in found]

    def _pages(
        self, stream: Stream, wanted: str, *, counted: bool = False, skip: int = 0
    ) -> Iterator[tuple[list[Row], Response, bool]]:
        return self._entities.pages(
            stream.path,
            wanted,
            shared=stream.is_shared,
            orderby=",".join(stream.key),
            select=stream.select,
            counted=counted,
            skip=skip,
        )

    def _wanted(self, stream: Stream) -> str:
        """What of a set is ours: one calendar, one dimension, the bills since a day."""
        first = str(self._account.settings.get("bills_from") or "")
        match stream.name:
            case "periods":
                return f"Calendar eq {quoted(str(self._account.setting('calendar', SETTINGS)))}"
            case "cost_centres":
                return f"FinancialDimension eq {quoted(str(self._account.setting('cost_centre_dimension', SETTINGS)))}"
            case "invoices" if first:
                return f"InvoiceDate ge {first}T00:00:00Z"
            case "payments" if first:
                return f"TransactionDate ge {first}T00:00:00Z"
        return ""

    def _payloads(self, stream: Stream, rows: Sequence[Row]) -> list[tuple[Row, Any]]:
        """Each row with what is filed of it: itself, or a bill with all that belongs to it. Unposted payments are left out."""
        if stream.name == INVOICES:
            return self._bills.invoices(rows)
        if stream.name == PAYMENTS:
            return self._bills.payments(rows)
        if stream.name == "cost_centres":  # of this company, or of all
            rows = [row for row in rows if row.get("LegalEntityId") in ("", None, self._account.realm)]
        return [(row, shown(row)) for row in rows]


_NUMBERS = ("InvoiceIdentifier", "LineNumber")
_DRAFT, _POSTED, _CREDIT = (
    "~",
    "!",
    "-",
)  # how what is remembered of an invoice begins; the last where it is a credit note
_MANY = 10  # drafts that are gone at once; of fewer, all may be deleted


def record(stream: Stream, row: Row, payload: Any, reading: Reading) -> SourceRecord:
    """A row as the inbox files it."""
    key, stored = fields.key_of(row, stream.key, stream.path), plain(payload)
    mark = ""
    if stream.name == INVOICES:
        mark = (_POSTED if bills.is_posted(row) else _DRAFT) + (_CREDIT if bills.is_credit(payload) else "")
    return SourceRecord(stream=stream.name, external_id=key, revision=reading.saw(key, stored, mark), payload=stored)
