"""What moved, told by the list of events; what it is now is read by name.

Lists of invoices cannot be asked for what changed, so events are: they say which things moved and when, and are kept for a month.
A cursor that is older reads the lists whole. A record has no stamp of its own: its revision is the moment of its last event.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from integrations.connectors.stripe import assumptions, reading
from integrations.connectors.stripe.paging import Record, everything
from integrations.errors import Malformed
from integrations.http import Http, Response, plain
from integrations.http.fields import portions
from integrations.protocol import Page, SourceRecord

AT_ONCE = 50  # records before the cursor moves
_INVOICE = tuple(
    f"invoice.{what}"
    for what in (
        "created", "updated", "finalized", "finalization_failed", "sent", "paid", "payment_failed", "voided",
        "marked_uncollectible", "overdue", "overpaid", "deleted",
    )
)  # fmt: skip
_CREDIT = tuple(f"credit_note.{what}" for what in ("created", "updated", "voided"))
_PAID = ("invoice_payment.paid",)
_MONEY = (
    "charge.refunded",
    "charge.dispute.closed",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.funds_reinstated",
)
DELETED = "invoice.deleted"


@dataclass(frozen=True, slots=True)
class Stream:
    """One stream: the events that tell of it, the list that holds it whole, and how one record of it is read."""

    name: str
    types: tuple[str, ...]  # at most twenty
    path: str
    expand: tuple[str, ...]
    one: Callable[[Http, str], tuple[Response, Record] | None]
    whole: Callable[[Http, Record], Record] | None  # None: rows of the list only name the records


STREAMS = {
    stream.name: stream
    for stream in (
        Stream("invoices", (*_INVOICE, *_CREDIT, *_PAID), "/v1/invoices", ("data.payments",), reading.invoice,
               reading.whole_invoice),
        Stream("credit_notes", _CREDIT, "/v1/credit_notes", (), reading.credit_note, reading.whole_credit_note),
        Stream("payments", (*_PAID, *_MONEY), "/v1/invoice_payments", (), reading.payment, None),
    )
}  # fmt: skip


def stream(name: str) -> Stream:
    """A stream by name; raises Malformed."""
    if name not in STREAMS:
        raise Malformed(f"Stripe has no stream {name!r}; know {', '.join(STREAMS)}.")
    return STREAMS[name]


def named(event: Record) -> dict[str, str]:
    """What an event is about, by stream. Raises Malformed for one that says so unreadably."""
    kind, data = str(event.get("type") or ""), event.get("data")
    said = data.get("object") if isinstance(data, Mapping) else None
    if not isinstance(said, Mapping):
        raise Malformed(f"data.object of event {event.get('id')} is missing.")
    found = {}
    if kind in _INVOICE:
        found["invoices"] = reading.identity(said)
    elif kind in _CREDIT:
        found = {"credit_notes": reading.identity(said), "invoices": reading.identity(said.get("invoice"))}
    elif kind in _PAID:
        found = {"payments": reading.paid_by(said), "invoices": reading.identity(said.get("invoice"))}
    elif kind in _MONEY:
        found["payments"] = reading.identity(said.get("payment_intent")) or reading.identity(said.get("charge") or said)
    return {name: key for name, key in found.items() if key}


def pull(http: Http, name: str, since: str | None, size: int, back: timedelta) -> Iterator[Page]:
    """Records that moved at or after a cursor, oldest first; everything where the cursor is older than events are kept."""
    return _Reader(http, stream(name), _moment(since), size, back).pages()


def one(http: Http, name: str, key: str) -> list[SourceRecord]:
    """A record as it is now; nothing when Stripe says that it is gone."""
    found = stream(name).one(http, key)
    if found is None:
        return []
    answer, payload = found
    return [_record(name, key, payload, int(answer.answered_at.timestamp()), answer.answered_at)]


class _Reader:
    """One pull of one stream. `since` is the cursor's moment, 0 from the beginning."""

    def __init__(self, http: Http, chosen: Stream, since: int, size: int, back: timedelta) -> None:
        self.http, self.chosen, self.since, self.size, self.back = http, chosen, since, size, back
        self.moved: dict[str, int] = {}  # the moment of the last event about each thing
        self.at_once = min(size, AT_ONCE)
        self.gone: set[str] = set()
        self.until = since

    def pages(self) -> Iterator[Page]:
        """Whatever happens from now on is read by the next pull."""
        params = {"limit": 1, "types[]": list(self.chosen.types)}
        self.until = max(self.since, int(self.http.request("GET", "/v1/events", params=params).answered_at.timestamp()))
        reach = self.until - int(assumptions.REACH.total_seconds())
        floor = self.since - int(self.back.total_seconds())
        self._look(max(floor, reach))
        yield from self._changed() if floor >= reach else self._everything()
        yield Page(records=(), cursor=_cursor(self.until), last=True)

    def _look(self, floor: int) -> None:
        params = {"types[]": list(self.chosen.types), "created[gte]": floor}
        for event in everything(self.http, "/v1/events", params, self.size):
            key = named(event).get(self.chosen.name)
            if key:
                self.moved[key] = max(self.moved.get(key, 0), int(event["created"]))
                if event["type"] == DELETED:
                    self.gone.add(key)

    def _changed(self) -> Iterator[Page]:
        """Things that moved, as they are now; a draft that was deleted by the word of its event."""
        for keys in portions(sorted(self.moved, key=lambda key: (self.moved[key], key)), self.at_once):
            records = []
            for key in keys:
                found = None if key in self.gone else self.chosen.one(self.http, key)
                if found is not None:
                    answer, payload = found
                    records.append(_record(self.chosen.name, key, payload, self.moved[key], answer.answered_at))
                elif key in self.gone:
                    records.append(self._deleted(key))
            yield Page(records=records, cursor=_cursor(max(self.moved[keys[-1]], self.since)), last=False)

    def _everything(self) -> Iterator[Page]:
        """The whole list. What no event speaks of has the moment that it shows itself, and none before the cursor."""
        params = {"expand[]": list(self.chosen.expand)} if self.chosen.expand else {}
        read_at = datetime.fromtimestamp(self.until, UTC)
        done: set[str] = set()
        for rows in portions(list(everything(self.http, self.chosen.path, params, self.size)), self.at_once):
            records = []
            for row in rows:
                key = reading.paid_by(row) if self.chosen.whole is None else str(row["id"])
                payload = None if key in done else self._payload(key, row)
                done.add(key)
                if payload is not None:
                    stamp = self.moved.get(key, max(_shown(row), self.since))
                    records.append(_record(self.chosen.name, key, payload, stamp, read_at))
            yield Page(records=records, cursor=_cursor(self.since) if self.since else None, last=False)
        unlisted = [self._deleted(key) for key in sorted(self.gone - done)]
        for key in sorted(self.moved.keys() - self.gone - done):  # which an event names and the list did not show
            found = self.chosen.one(self.http, key)
            if found is not None:
                unlisted.append(_record(self.chosen.name, key, found[1], self.moved[key], found[0].answered_at))
        yield Page(records=unlisted, cursor=_cursor(self.since) if self.since else None, last=False)

    def _payload(self, key: str, row: Record) -> Record | None:
        if self.chosen.whole is not None:
            return self.chosen.whole(self.http, row)
        found = self.chosen.one(self.http, key)
        return None if found is None else found[1]

    def _deleted(self, key: str) -> SourceRecord:
        revision = f"{_cursor(self.moved[key])}.2"
        return SourceRecord(stream=self.chosen.name, external_id=key, revision=revision, payload={"deleted": key})


def _cursor(moment: int) -> str:
    return f"{moment:010}"


def _record(name: str, key: str, payload: Any, stamp: int, read_at: datetime) -> SourceRecord:
    """A record as the inbox files it. Of one moment, what may still move within its second comes before what may not."""
    kept = plain(payload)
    revision = f"{_cursor(stamp)}.1"
    if stamp > read_at.timestamp() - assumptions.SETTLED_SECONDS:
        content = json.dumps(kept, sort_keys=True, default=str)
        revision = f"{_cursor(stamp)}.0 {hashlib.sha256(content.encode()).hexdigest()[:12]}"
    return SourceRecord(stream=name, external_id=key, revision=revision, payload=kept)


def _shown(row: Record) -> int:
    """The latest moment that a record itself shows."""
    moments = row.get("status_transitions")
    stamps: Iterable[Any] = (row.get("created"), row.get("voided_at"), *(moments or {}).values())
    return max((int(stamp) for stamp in stamps if stamp), default=0)


def _moment(cursor: str | None) -> int:
    if not cursor:
        return 0
    if not (cursor.isascii() and cursor.isdigit()):
        raise Malformed(f"The cursor {cursor[:40]!r} of a Stripe stream is no moment.")
    return int(cursor)
