"""Master data, invoices and payments by what changed since a cursor.

A change is seen by `write_date`, which is empty until the first one, and by `create_date`. A walk goes by ids and so neither
repeats nor skips a row that moves meanwhile. Rows that may come to look otherwise without a stamp, such as open invoices, are
watched: each reading compares how they look, and says of one that is gone that it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from integrations.connectors.tryton import works
from integrations.connectors.tryton.catalogue import STREAMS, Stream
from integrations.connectors.tryton.cursor import STAMP, Cursor
from integrations.connectors.tryton.rpc import Domain, Rpc, stamp, written_moment
from integrations.connectors.tryton.settings import SETTINGS
from integrations.errors import Malformed
from integrations.http import fields, plain
from integrations.http.fields import Row, digest, text
from integrations.protocol import Account, Page, SourceRecord

Payload = Mapping[str, Any]


class Reader:
    """The streams of one company."""

    def __init__(self, account: Account, rpc: Rpc) -> None:
        self._account = account
        self._rpc = rpc

    def pull(self, name: str, since: str | None) -> Iterator[Page]:
        """Pages of what changed at or after a cursor; what is watched and looks otherwise comes with the last one."""
        stream, cursor = fields.stream_of(STREAMS, "Tryton", name), Cursor.of(since)
        changed = [*self._domain(stream), *_changed(stream, cursor, self._account.overlap(SETTINGS))]
        total = self._rpc.count(stream.model, [*changed, ["id", ">", cursor.after]])
        while True:
            rows, answer = self._rpc.page(stream.model, [*changed, ["id", ">", cursor.after]], stream.fields)
            began = cursor.began or answer.answered_at.strftime(STAMP)
            moment = cursor.moment_after(answer.answered_at.strftime(STAMP))
            found = self._payloads(stream, rows)
            records = [_record(stream, payload, _moved(payload, cursor, moment)) for payload in found]
            reached = max((min(_stamp(stream, row), began) for row in rows), default="")
            after = max((int(row["id"]) for row in rows), default=cursor.after)
            cursor = replace(cursor, after=after, began=began, reached=max(cursor.reached, reached))
            if (
                stream.watched is not None
            ):  # every page carries how they look, for a walk that is cut goes on from any of them
                cursor = replace(cursor, watched=_still_watched(stream, cursor.watched, found), looked_at=moment)
            if len(rows) >= self._rpc.page_size:
                yield Page(records=records, cursor=cursor.text(), last=False, total=total)
                continue
            moment = cursor.moment_after(moment)
            looked, watched = self._watched(stream, cursor, moment)
            cursor = Cursor(
                since=max(cursor.since, cursor.reached), looked_at=moment if stream.watched else "", watched=watched
            )
            yield Page(records=[*records, *looked], cursor=cursor.text(), last=True, total=total + len(looked))
            return

    def one(self, name: str, key: str) -> list[SourceRecord]:
        """One record as it is now; empty when it is gone."""
        stream = fields.stream_of(STREAMS, "Tryton", name)
        if not key.isdigit():
            return []
        rows, _ = self._rpc.page(stream.model, [*self._domain(stream), ["id", "=", int(key)]], stream.fields)
        return [_record(stream, payload) for payload in self._payloads(stream, rows)]

    def _domain(self, stream: Stream) -> list[Any]:
        """What belongs to a stream: rows of the company, and of parties those that are sold to."""
        domain = [*stream.domain]
        if stream.company:
            domain.append([stream.company, "=", self._rpc.company])
        if stream.name == "customers":
            own = [["id", "=", self._rpc.company]]
            companies = self._rpc.rows("company.company", own, ["party"])
            people = self._rpc.rows("company.employee", [["company", "=", self._rpc.company]], ["party"])
            domain.append(["id", "not in", sorted({int(row["party"]) for rows in (companies, people) for row in rows})])
            domain += list(self._account.setting("customers", SETTINGS))
        return domain

    def _watched(self, stream: Stream, cursor: Cursor, moment: str) -> tuple[list[SourceRecord], dict[str, str]]:
        """Watched records that differ from how they last looked or are gone, and how all of them look now."""
        if stream.watched is None:
            return [], {}
        rows = list(self._rpc.rows(stream.model, [*self._domain(stream), stream.watched.domain], stream.fields))
        found = {_key(payload): payload for payload in self._payloads(stream, rows)}
        records = [
            _record(stream, payload, moment)
            for key, payload in found.items()
            if cursor.watched.get(key) != _digest(payload)
        ]
        for key in (key for key in cursor.watched if key not in found):
            now = self.one(stream.name, key)
            records += [replace(record, revision=f"{record.revision} reread {moment}") for record in now]
            if not now:
                gone = {"gone": key, "credit": cursor.watched[key].startswith(_CREDIT)}
                records.append(SourceRecord(stream=stream.name, external_id=key, revision=moment, payload=gone))
        return records, {key: _digest(payload) for key, payload in found.items()}

    def _payloads(self, stream: Stream, rows: Sequence[Row]) -> list[Payload]:
        """Rows with what is read beside them: the project of a task, and the hours that an invoice's lines bill."""
        if stream.name == "tasks":
            roots = works.projects(self._rpc, rows)
            return [plain({"row": row, "project": roots[int(row["id"])]}) for row in rows]
        if stream.name == "invoices":
            hours = self._hours(rows)
            return [
                plain({"row": row, "hours": [one for n in _lines(row) for one in hours.get(n, ())]}) for row in rows
            ]
        return [plain({"row": row}) for row in rows]

    def _hours(self, invoices: Sequence[Row]) -> Mapping[int, list[Row]]:
        """Lines of time sheets by the invoice line that bills them; of a credit note those of the line that it credits."""
        wanted = sorted({line for invoice in invoices for line in _lines(invoice)})
        found: dict[int, list[Row]] = {}
        for row in self._rpc.rows("timesheet.line", [["invoice_line", "in", wanted]], _HOURS) if wanted else ():
            found.setdefault(int(row["invoice_line"]), []).append(row)
        return found


_HOURS = ("duration", "invoice_line")
_OF_LINE = "account.invoice.line,"
_CREDIT = "-"  # how the digest of a credit note begins


def _changed(stream: Stream, cursor: Cursor, back: timedelta) -> Domain:
    when = cursor.from_when(back)
    if when is None:
        return []
    written = written_moment(when)
    return [["OR", *([name, ">=", written] for name in stream.stamps)]]


def _lines(invoice: Row) -> Iterator[int]:
    """The ids of an invoice's lines and of those that they credit."""
    for line in invoice.get("lines.") or ():
        yield int(line["id"])
        named = text(line, "origin")
        if named.startswith(_OF_LINE) and named[len(_OF_LINE) :].isdigit():
            yield int(named.removeprefix(_OF_LINE))


def _record(stream: Stream, payload: Payload, moment: str = "") -> SourceRecord:
    """A row as the inbox files it. With `moment` it was found to differ although its stamp did not move."""
    written = _stamp(stream, payload["row"])
    revision = f"{written} reread {moment}" if moment else written
    return SourceRecord(stream=stream.name, external_id=_key(payload), revision=revision, payload=payload)


def _still_watched(stream: Stream, known: Mapping[str, str], found: Sequence[Payload]) -> dict[str, str]:
    """What is watched with its digests, once some records were seen."""
    seen = {_key(payload): payload for payload in found}
    kept = {key: digest for key, digest in known.items() if key not in seen}
    holds = stream.watched
    return kept | {key: _digest(one) for key, one in seen.items() if holds is not None and holds(one["row"])}


def _moved(payload: Payload, cursor: Cursor, moment: str) -> str:
    """When a watched record was seen to look otherwise; empty for every other one."""
    return moment if cursor.watched.get(_key(payload)) not in (None, _digest(payload)) else ""


def _key(payload: Payload) -> str:
    return str(payload["row"]["id"])


def _digest(payload: Payload) -> str:
    total = payload["row"].get("total_amount")
    is_credit = isinstance(total, Mapping) and str(total.get("decimal", "")).startswith("-")
    return f"{_CREDIT if is_credit else ''}{digest(payload)}"


def _stamp(stream: Stream, row: Row) -> str:
    """When a row or what is read with it was last written."""
    found = [moment for name in stream.stamps for moment in _at(row, name.split("."))]
    if not found:
        raise Malformed(f"A row of {stream.model} has neither write_date nor create_date.")
    latest: datetime = max(found)
    return latest.strftime(STAMP)


def _at(row: Row, path: Sequence[str]) -> Iterator[datetime]:
    if len(path) == 1:
        moment = stamp(row, path[0])
        if moment is not None:
            yield moment
        return
    inner = row.get(f"{path[0]}.")
    for one in inner if isinstance(inner, list) else [inner]:
        if isinstance(one, Mapping):
            yield from _at(one, path[1:])
