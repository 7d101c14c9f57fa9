"""Master data and sales invoices by OData: which set each stream reads, and how changes are read since a cursor.

Deletions are not told. A customer, a project or a person with entries cannot be deleted in Business Central, only blocked. Drafts
and open bills are looked at with every reading, because a payment may leave a stamp as it was and a draft may be deleted; the
cursor remembers how each looked. A set says how many rows it has, which is how one that is cut short is noticed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from integrations.connectors.businesscentral import assumptions, odata
from integrations.connectors.businesscentral.odata import Row
from integrations.connectors.businesscentral.settings import SETTINGS
from integrations.errors import Malformed, Rejected
from integrations.http import Http, fields, plain
from integrations.http.fields import STAMP
from integrations.protocol import Account, Page, SourceRecord, is_ours

ROOT = "/api/v2.0"
CHANGED = "lastModifiedDateTime"
INVOICES = "sales_invoices"
_LOOKED_AT = ("Open", "Draft")  # the statuses that a look asks for
_WATCHED = ("", "draft", "in review", "open")  # those of which the cursor remembers how a bill looked


@dataclass(frozen=True, slots=True)
class Stream:
    """What a stream reads: the set, how a record is known, and what of a row may leave the vendor."""

    name: str
    path: str
    key: tuple[str, ...] = ("number",)
    params: Mapping[str, str] = field(default_factory=dict)
    is_whole: bool = False  # small sets are read whole with every reading
    is_watched: bool = False  # drafts and open ones are looked at with every reading: see above


_PEOPLE = (
    "id,number,displayName,email,employmentDate,terminationDate,status,lastModifiedDateTime"  # and nothing private
)
STREAMS: Mapping[str, Stream] = {
    stream.name: stream
    for stream in (
        Stream("periods", "accountingPeriods", ("startingDate",), is_whole=True),
        Stream("cost_centres", "dimensionValues", ("code",), is_whole=True),
        Stream("customers", "customers"),
        Stream("projects", "projects"),
        Stream("tasks", assumptions.TASKS, ("projectNumber", "number")),
        Stream("employees", "employees", params={"$select": _PEOPLE}),
        Stream(INVOICES, "salesInvoices", ("id",), {"$expand": "salesInvoiceLines"}, is_watched=True),
        Stream("payments", assumptions.PAYMENTS, ("id",), {"$expand": assumptions.APPLIED}),
        Stream("sales_credit_memos", "salesCreditMemos", ("id",), {"$expand": "salesCreditMemoLines"}, is_watched=True),
    )
}


@dataclass(frozen=True, slots=True)
class Cursor:
    """The latest stamp that was read, how each draft and open bill looked, by id, and when these were last looked at."""

    stamp: str = ""
    open: Mapping[str, str] = field(default_factory=dict)
    looked_at: str = ""

    @classmethod
    def of(cls, text: str | None) -> Cursor:
        """Read a cursor; raises Malformed when it is none of ours."""
        if not text:
            return cls()
        try:
            data: dict[str, Any] = json.loads(text)
            return cls(str(data["stamp"]), dict(data.get("open") or {}), str(data.get("looked_at") or ""))
        except (ValueError, KeyError, TypeError) as error:
            raise Malformed(f"The cursor {text[:80]!r} of a Business Central stream cannot be read.") from error

    def text(self) -> str:
        """The cursor as it is stored."""
        told = {"stamp": self.stamp, "open": dict(self.open), "looked_at": self.looked_at}
        return json.dumps(told, separators=(",", ":"))

    def looked(self, moment: str, records: Sequence[SourceRecord]) -> Cursor:
        """The cursor behind a look whose moment some records bear. One that nothing bears moves no cursor: no way was made."""
        return replace(self, looked_at=moment) if any(one.revision.endswith(moment) for one in records) else self

    def moment_after(self, now: str) -> str:
        """The moment of a look, which is later than that of the look before however soon it follows."""
        if now > self.looked_at:
            return now
        return (datetime.strptime(self.looked_at, STAMP) + timedelta(microseconds=1)).strftime(STAMP)  # noqa: DTZ007


class Reader:
    """The streams of one company."""

    def __init__(self, account: Account, http: Http) -> None:
        self._account = account
        self._http = http
        self._size = int(account.setting("page_size", SETTINGS))

    def pull(self, name: str, since: str | None) -> Iterator[Page]:
        """Pages of what changed at or after a cursor, oldest first; watched bills that look otherwise come with the last."""
        stream, cursor = fields.stream_of(STREAMS, "Business Central", name), Cursor.of(since)
        if stream.is_whole:
            yield from self._whole(stream)
            return
        params = {**stream.params, "$orderby": CHANGED, "$count": "true"}
        if cursor.stamp:
            after = fields.rewound(cursor.stamp, self._account.overlap(SETTINGS))
            params["$filter"] = f"{CHANGED} ge {fields.to_the_millisecond(after)}"
        total: int | None = None
        for rows, answer, more in odata.pages(self._http, self.path(stream), params, self._size):
            closed_at = answer.answered_at.strftime(STAMP)
            total = answer.body.get("@odata.count", total)
            moment = cursor.moment_after(closed_at)
            records = [record(stream, row, moment=_moved(row, cursor, moment)) for row in rows]
            reached = max((min(fields.stamp(row, CHANGED), closed_at) for row in rows), default="")
            cursor = replace(cursor, stamp=max(cursor.stamp, reached))
            if stream.is_watched:  # every page carries how they look, for a walk that is cut goes on from any of them
                cursor = replace(cursor, open=_still_open(cursor.open, rows)).looked(moment, records)
            if more or not stream.is_watched:
                yield Page(records=records, cursor=cursor.text(), last=not more, total=total)
                continue
            moment = cursor.moment_after(moment)
            changed, still_open = self._open_bills(stream, cursor, moment)
            cursor = replace(cursor, open=still_open).looked(moment, changed)
            whole = total + len(changed) if total is not None else None
            yield Page(records=[*records, *changed], cursor=cursor.text(), last=True, total=whole)

    def one(self, name: str, key: str) -> list[SourceRecord]:
        """One record as it is now, by its own key or by the vendor's id; empty when it is gone."""
        stream = fields.stream_of(STREAMS, "Business Central", name)
        if key.startswith("since:"):
            params = {**stream.params, "$filter": f"{CHANGED} ge {key.removeprefix('since:')}"}
            return [record(stream, row) for row in odata.rows(self._http, self.path(stream), params, self._size)]
        if stream.is_whole:
            return [one for page in self._whole(stream) for one in page.records if one.external_id == key]
        if key.startswith("id:") or stream.key == ("id",):
            return self._by_id(stream, key.removeprefix("id:"))
        parts = key.split("/", len(stream.key) - 1)
        wanted = " and ".join(f"{n} eq {odata.quoted(part)}" for n, part in zip(stream.key, parts, strict=False))
        params = {**stream.params, "$filter": wanted}
        return [record(stream, row) for row in odata.rows(self._http, self.path(stream), params, self._size)]

    def path(self, stream: Stream) -> str:
        """Where a stream is read."""
        is_ours = stream.path in (assumptions.TASKS, assumptions.PAYMENTS)
        root = f"/api/{self._account.setting('custom_api', SETTINGS)}" if is_ours else ROOT
        return f"{root}/companies({self._account.realm})/{stream.path}"

    def _by_id(self, stream: Stream, key: str) -> list[SourceRecord]:
        try:
            answer = self._http.request("GET", f"{self.path(stream)}({key})", params=stream.params or None)
        except Rejected as refused:
            if refused.status in (404, 410):
                return []
            raise
        return [record(stream, answer.body)] if isinstance(answer.body, Mapping) else []

    def _whole(self, stream: Stream) -> Iterator[Page]:
        """A small set, all of it. A period ends on the day before the next one starts; a dimension value says whose it is."""
        path, params = self.path(stream), dict(stream.params)
        if stream.name == "cost_centres":
            code = odata.quoted(str(self._account.setting("cost_centre_dimension", SETTINGS)))
            dimensions = f"{ROOT}/companies({self._account.realm})/dimensions"
            found = list(odata.rows(self._http, dimensions, {"$filter": f"code eq {code}"}, self._size))
            if not found:
                yield Page(records=(), cursor=Cursor().text(), last=True)
                return
            path = f"{dimensions}({found[0]['id']})/{stream.path}"
        held = {
            fields.key_of(row, stream.key, stream.path): row for row in odata.rows(self._http, path, params, self._size)
        }
        rows = [held[key] for key in sorted(held)]
        following: list[Row | None] = [*rows[1:], None] if rows else []
        records = [
            record(stream, row, {"row": row, "next": (after or {}).get("startingDate")})
            for row, after in zip(rows, following, strict=True)
        ]
        latest = max((fields.stamp(row, CHANGED) for row in rows), default="")
        yield Page(records=records, cursor=Cursor(latest).text(), last=True)

    def _open_bills(self, stream: Stream, cursor: Cursor, now: str) -> tuple[list[SourceRecord], dict[str, str]]:
        """Watched bills that differ from how they were last seen, and how all of them look now.

        One that was watched and is not among them has another status, which may have left its stamp alone, or is gone. One whose
        status is not asked for, such as in review, looks as it did until something of it changes.
        """
        params = {**stream.params, "$filter": odata.any_of("status", _LOOKED_AT)}
        found = {str(row["id"]): row for row in odata.rows(self._http, self.path(stream), params, self._size)}
        looks = {key: _look(row) for key, row in found.items()}
        records = [record(stream, row, moment=now) for key, row in found.items() if cursor.open.get(key) != looks[key]]
        missed = self._named(stream, [key for key in cursor.open if key not in found])
        for key in (key for key in cursor.open if key not in found):
            again = [missed[key]] if key in missed else self._by_id(stream, key)
            changed = [one for one in again if _look(one.payload) != cursor.open[key]]
            records += [replace(one, revision=f"{one.revision} reread {now}") for one in changed]
            looks |= _still_open({}, [one.payload for one in again])
            if not again:
                told = {"gone": key, "became": self._became(stream, key, cursor.open[key])}
                records.append(SourceRecord(stream=stream.name, external_id=key, revision=now, payload=told))
        return records, looks

    def _named(self, stream: Stream, keys: Sequence[str]) -> dict[str, SourceRecord]:
        """Bills by their ids, many in a call. One that a list does not show may be there all the same, and is asked for alone."""
        found: dict[str, SourceRecord] = {}
        for start in range(0, len(keys), odata.KEYS_AT_ONCE):
            wanted = " or ".join(f"id eq {key}" for key in keys[start : start + odata.KEYS_AT_ONCE])
            params = {**stream.params, "$filter": wanted}
            rows = odata.rows(self._http, self.path(stream), params, self._size)
            found |= {str(row["id"]): record(stream, row) for row in rows}
        return found

    def _became(self, stream: Stream, key: str, look: str) -> str:
        """The id of the bill that a draft of ours became, where posting gave it a new one; empty for one that was deleted."""
        number = look.partition("|")[2]
        params = {**stream.params, "$filter": f"externalDocumentNumber eq {odata.quoted(number)}"}
        rows = odata.rows(self._http, self.path(stream), params, self._size) if number else ()
        return next((str(row["id"]) for row in rows if str(row["id"]) != key), "")


def record(stream: Stream, row: Row, payload: Any = None, *, moment: str = "") -> SourceRecord:
    """A row as the inbox files it. With `moment` it was found to differ although its stamp did not move."""
    revision = f"{fields.stamp(row, CHANGED)} reread {moment}" if moment else fields.stamp(row, CHANGED)
    if payload is not None and stream.name == "periods":
        revision = f"{revision} {payload['next'] or ''}"  # when the calendar goes on, its last period ends otherwise
    key = fields.key_of(row, stream.key, stream.path)
    return SourceRecord(stream=stream.name, external_id=key, revision=revision, payload=plain(payload or row))


def _still_open(known: Mapping[str, str], rows: Sequence[Row]) -> dict[str, str]:
    """The watched bills with how they look, once some rows were seen."""
    seen = {str(row["id"]): row for row in rows}
    kept = {key: look for key, look in known.items() if key not in seen}
    return kept | {key: _look(row) for key, row in seen.items() if _status(row) in _WATCHED}


def _status(row: Row) -> str:
    return odata.option(row, "status").lower()


def _look(row: Row) -> str:
    """How a bill looks: a digest, and of a draft of ours the key by which it is found once it is posted."""
    number = str(row.get("externalDocumentNumber") or "")
    return (
        f"{fields.digest(row)}|{number}" if is_ours(number.lower()) and _status(row) != "open" else fields.digest(row)
    )


def _moved(row: Row, cursor: Cursor, now: str) -> str:
    """When a bill that was watched was seen to look otherwise; empty for every other row."""
    return now if cursor.open.get(str(row.get("id"))) not in (None, _look(row)) else ""
