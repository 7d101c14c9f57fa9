"""Master data and project invoices by OData: which table each stream reads, and how changes are read since a cursor.

Changes are read by `modifiedon` with an overlap. A table says how many rows it has, up to five thousand; one that is cut short
leaves the cursor. Deletions are not told: what has entries is deactivated there and not deleted. A draft invoice can be: the
cursor remembers which drafts there are, and one that is missed is asked for by its id.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from integrations.connectors.projectoperations import assumptions, refusals
from integrations.connectors.projectoperations.dataverse import Tables, integer, lookup
from integrations.connectors.projectoperations.settings import SETTINGS
from integrations.errors import Malformed
from integrations.http import Http, fields, plain
from integrations.http.fields import STAMP, Row, amount, text
from integrations.protocol import Account, Page, SourceRecord

CHANGED = "modifiedon"
INVOICES = "invoices"


@dataclass(frozen=True, slots=True)
class Stream:
    """What a stream reads: the table, its id, what of a row may leave the vendor, and which rows are ours to read."""

    name: str
    path: str
    key: str
    fields: tuple[str, ...]
    wanted: str = ""


_PEOPLE = " or ".join(f"resourcetype eq {kind}" for kind in assumptions.PEOPLE)
STREAMS: Mapping[str, Stream] = {
    stream.name: stream
    for stream in (
        Stream(
            "customers",
            "accounts",
            "accountid",
            (
                "name", "accountnumber", "_parentaccountid_value", "_transactioncurrencyid_value", "statecode",
                assumptions.MERGED, f"_{assumptions.SURVIVOR}_value",
            ),
        ),
        Stream(
            "projects",
            "msdyn_projects",
            "msdyn_projectid",
            ("msdyn_subject", "_msdyn_customer_value", "msdyn_scheduledstart", "msdyn_finish", "statecode"),
        ),
        Stream(
            "tasks", "msdyn_projecttasks", "msdyn_projecttaskid", ("msdyn_subject", "_msdyn_project_value", "statecode")
        ),
        Stream("employees", "bookableresources", "bookableresourceid", ("name", "_userid_value", "statecode"), _PEOPLE),
        Stream(
            INVOICES,
            INVOICES,
            "invoiceid",
            (
                "invoicenumber", "name", "totalamount", "totaltax", "_customerid_value", "_transactioncurrencyid_value",
                "duedate", "msdyn_invoicedate", "msdyn_projectinvoicestatus", "statecode", "statuscode",
            ),
        ),
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cursor:
    """The latest stamp that was read; of invoices also which drafts there are, by id, and whether each is a credit note."""

    stamp: str = ""
    drafts: Mapping[str, bool] = field(default_factory=dict)

    @classmethod
    def of(cls, text: str | None) -> Cursor:
        """Read a cursor; raises Malformed when it is none of ours."""
        if not text or not text.startswith("{"):
            return cls(text or "")
        try:
            data: dict[str, Any] = json.loads(text)
            return cls(str(data["stamp"]), {str(key): bool(credit) for key, credit in dict(data["drafts"]).items()})
        except (ValueError, KeyError, TypeError) as error:
            raise Malformed(f"The cursor {text[:60]!r} of a Project Operations stream cannot be read.") from error

    def text(self) -> str:
        """The cursor as it is stored."""
        told = {"stamp": self.stamp, "drafts": dict(self.drafts)}
        return json.dumps(told, separators=(",", ":")) if self.drafts else self.stamp


class Reader:
    """The streams of one environment."""

    def __init__(self, account: Account, http: Http, own: Sequence[refusals.Pattern]) -> None:
        self._account = account
        self._tables = Tables(account, http, own)

    def pull(self, name: str, since: str | None) -> Iterator[Page]:
        """Pages of what changed at or after a cursor, oldest first; drafts that are gone come with the last."""
        stream, cursor = fields.stream_of(STREAMS, "Project Operations", name), Cursor.of(since)
        after = ""
        if cursor.stamp:
            back = self._account.overlap(SETTINGS)
            after = f"{CHANGED} ge {fields.rewound(cursor.stamp, back):%Y-%m-%dT%H:%M:%SZ}"
        wanted = " and ".join(part for part in (f"({stream.wanted})" if stream.wanted else "", after) if part)
        total: int | None = None
        for rows, answer, more in self._tables.pages(
            stream.path, wanted, select=_select(stream), orderby=CHANGED, counted=True
        ):
            counted = answer.body.get("@odata.count")
            total = counted if counted is not None and counted < assumptions.COUNTED else total
            closed_at = answer.answered_at.strftime(STAMP)
            reached = max((min(fields.stamp(row, CHANGED), closed_at) for row in rows), default="")
            cursor = replace(cursor, stamp=max(cursor.stamp, reached))
            records = self._records(stream, rows)
            if name == INVOICES:  # every page carries its drafts, for a walk that is cut goes on from any of them
                cursor = replace(cursor, drafts={**cursor.drafts, **_drafts(stream, rows)})
            if more or name != INVOICES:
                yield Page(records=records, cursor=cursor.text(), last=not more, total=total)
                continue
            missed, drafts = self._drafts(stream, cursor, closed_at)
            cursor = replace(cursor, drafts=drafts)
            whole = None if total is None else total + len(missed)
            yield Page(records=[*records, *missed], cursor=cursor.text(), last=True, total=whole)

    def one(self, name: str, key: str) -> list[SourceRecord]:
        """One record as it is now; empty when it is gone, and for what is no GUID."""
        stream = fields.stream_of(STREAMS, "Project Operations", name)
        if len(key) != 36:
            return []
        return self._records(
            stream, list(self._tables.rows(stream.path, f"{stream.key} eq {key}", select=_select(stream)))
        )

    def _drafts(self, stream: Stream, cursor: Cursor, now: str) -> tuple[list[SourceRecord], dict[str, bool]]:
        """What became of drafts that are none any more, which may be that they are gone; and those that there are."""
        statuses = " or ".join(f"msdyn_projectinvoicestatus eq {status}" for status in assumptions.DRAFTS)
        rows = list(self._tables.rows(stream.path, statuses, select=_select(stream)))
        drafts = _drafts(stream, rows)
        records: list[SourceRecord] = []
        for key in (key for key in cursor.drafts if key not in drafts):
            found = self.one(stream.name, key)
            told = {"gone": key, "credit": cursor.drafts[key]}
            records += found or [SourceRecord(stream=stream.name, external_id=key, revision=now, payload=told)]
        return records, drafts

    def _records(self, stream: Stream, rows: Sequence[Row]) -> list[SourceRecord]:
        """Rows as the inbox files them, each with what belongs to it and stands elsewhere."""
        beside = self._beside(stream, rows)
        return [
            SourceRecord(
                stream=stream.name,
                external_id=_key(stream, row),
                revision=fields.stamp(row, CHANGED),
                payload=plain({"row": row, **beside.get(_key(stream, row), {})}),
            )
            for row in rows
        ]

    def _beside(self, stream: Stream, rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
        """An invoice's lines, an account's and an invoice's currency, and a person's address, by the row's id."""
        found: dict[str, dict[str, Any]] = defaultdict(dict)
        if stream.name in ("customers", INVOICES):
            codes = self._named(rows, "transactioncurrencyid", "transactioncurrencies", "isocurrencycode")
            for row in rows:
                found[_key(stream, row)]["currency"] = codes.get(lookup(row, "transactioncurrencyid"), "")
        if stream.name == "employees":
            emails = self._named(rows, "userid", "systemusers", "internalemailaddress", key="systemuserid")
            for row in rows:
                found[_key(stream, row)]["email"] = emails.get(lookup(row, "userid"), "")
        if stream.name == INVOICES:
            for line in self._tables.among("invoicedetails", "_invoiceid_value", [_key(stream, row) for row in rows]):
                found[lookup(line, "invoiceid")].setdefault("lines", []).append(line)
        return found

    def _named(self, rows: Sequence[Row], field: str, path: str, wanted: str, key: str = "") -> dict[str, str]:
        """What some lookups of rows lead to, by GUID."""
        key = key or field
        guids = sorted({lookup(row, field) for row in rows} - {""})
        return {
            text(row, key).lower(): text(row, wanted)
            for row in self._tables.among(path, key, guids, select=f"{key},{wanted}")
        }


def _drafts(stream: Stream, rows: Sequence[Row]) -> dict[str, bool]:
    """The drafts among some invoices, and whether each is a credit note."""
    return {
        _key(stream, row): amount(row, "totalamount") < 0
        for row in rows
        if integer(row, "msdyn_projectinvoicestatus") in assumptions.DRAFTS
    }


def _select(stream: Stream) -> str:
    return ",".join((stream.key, *stream.fields, CHANGED))


def _key(stream: Stream, row: Row) -> str:
    found = text(row, stream.key).lower()
    if not found:
        raise Malformed(f"A row of {stream.path} has no {stream.key}.")
    return found
