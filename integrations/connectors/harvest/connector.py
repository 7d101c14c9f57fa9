"""Harvest: approved time and expenses by polling; it has no webhooks.

Updates are read since the cursor, with an overlap, in every approval state, so that an approval that was taken back is
seen. Lists are sorted by day and not by update, so the cursor moves only behind the last page: to the latest stamp that
was read, never beyond the server's own clock at its first answer. The days of the open window are read again on a
schedule (see `assumptions.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from itertools import groupby
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from zoneinfo import ZoneInfo

from integrations.account import upstream_timeout
from integrations.connectors.harvest import assumptions, mapping, publishing, refusals
from integrations.connectors.harvest.auth import HarvestAuth
from integrations.connectors.harvest.cursor import STAMP, HarvestCursor, day_digest, revision, stamp_of
from integrations.errors import Malformed, Rejected, Unavailable
from integrations.http import Http, Rate, Response, plain
from integrations.protocol import Account, Capabilities, Delivery, Hint, Page, Setting, SourceRecord, held_of_each
from portal.records import CanonicalRecord, Held, Publication

PER_PAGE = 2000  # the documented maximum; more is answered 422
SLICE = timedelta(days=7)  # of the window, held in memory at once
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One page of a list: its items, how many the whole list holds, and when the server says it answered."""

    items: Sequence[Mapping[str, Any]]
    total: int
    answered_at: datetime
    last: bool
    is_cut_short: bool  # the last page, and fewer items than the list was said to hold


class HarvestConnector:
    """One Harvest account. `base_url` ends in `/v2`."""

    name = "harvest"
    hosts = ("api.harvestapp.com",)
    rate = Rate(100, 15.0)
    settings: tuple[Setting, ...] = (
        Setting(name="token", label="Personal access token", required=True, secret=True),
        Setting(name="account_id", label="Account id", help="Empty: the realm of the connection."),
        Setting(name="contact", label="Contact address", help="Sent to Harvest in the User-Agent, as it asks."),
        Setting(
            name="start_on", label="First work date to read", help="YYYY-MM-DD; empty reads everything.", shape="day"
        ),
        Setting(name="overlap_minutes", label="Minutes read again before the cursor", default=60, least=0, most=10080),
        Setting(
            name="cursor_zone",
            label="Zone in which the account reads updated_since",
            help="UTC as documented; another zone for an account that takes the time of day as local.",
            default="UTC",
        ),
        Setting(name="window_days", label="Days of the open window that are read again", default=62, least=1, most=366),
        Setting(name="reread_hours", label="Hours between two readings of the window", default=24, least=1, most=720),
        Setting(name="page_size", label="Rows in a page", help="At most 2000.", default=PER_PAGE, least=1, most=2000),
        Setting(name="use_rounded_hours", label="Take Harvest's rounded hours", default=False),
        Setting(name="currency", label="Currency of clients without one", help="ISO 4217.", shape="currency"),
        upstream_timeout(assumptions.UPSTREAM_TIMEOUT),
        Setting(
            name="refusals",
            label="Refusals",
            help='Words for no that we do not know, as [{"match": "cost code is missing", "means": "schema-changed"}].',
            default=[],
            replaces=("REFUSALS",),
        ),
        Setting(
            name="web_address",
            label="Web address",
            help="Such as https://acme.harvestapp.com; for links.",
            shape="address",
        ),
    )
    streams: tuple[str, ...] = ("time_entries", "expenses")
    publishes = publishing.PUBLISHES
    tombstones = False
    why_untold = "Harvest takes no message from us: approved time is locked there, and only its people can reopen it."

    def __init__(self, account: Account, http: Http) -> None:
        self.account = account
        self.http = http
        lost = float(account.setting("upstream_timeout", self.settings))
        self.capabilities = Capabilities(concurrency=1, find_by_key=True, upstream_timeout=lost)
        http.auth = HarvestAuth(account)

    def check(self) -> str:
        """Name the company and the person whose token it is."""
        company = self.http.request("GET", "/company").body or {}
        user = self.http.request("GET", "/users/me").body or {}
        person = f"{user.get('first_name', '')} {user.get('last_name', '')}".strip()
        return f"Harvest answers for {company.get('name', 'an unnamed company')}, as {person or 'an unnamed user'}."

    def pull(self, stream: str, since: str | None) -> Iterator[Page]:
        """What changed since the cursor, after the window where it is due. A list cut short leaves the cursor."""
        cursor = HarvestCursor.of(since)
        count = 0
        for page, behind in self._window(stream, cursor):
            cursor = behind
            count += len(page)
            yield Page(records=page, cursor=cursor.text(), last=False)
        closed_at: datetime | None = None
        latest = cursor.updated
        for listed in self._list(stream, self._updated(cursor)):
            closed_at = closed_at or listed.answered_at
            records = self._records(stream, listed.items, closed_at)
            latest = max([*filter(None, [latest]), *map(stamp_of, listed.items)], default=None)
            is_whole = listed.last and not listed.is_cut_short
            after = replace(cursor, updated=latest and min(latest, closed_at)) if is_whole else cursor
            yield Page(records=records, cursor=after.text(), last=listed.last, total=count + listed.total)

    def _window(self, stream: str, cursor: HarvestCursor) -> Iterator[tuple[list[SourceRecord], HarvestCursor]]:
        """The records of days that differ from what was seen of them, week by week, and the cursor behind each week.

        On a first reading nothing was seen before; the days are only noted, because the updates that are read next bring
        every record. Noting them first means that no change falls between the two readings.
        """
        days = int(self.account.setting("window_days", self.settings))
        if days <= 0:
            return
        now = self._server_time()
        if not cursor.is_due(now, float(self.account.setting("reread_hours", self.settings))):
            return
        is_first = cursor.reread_at is None
        today = now.date()
        start = today - timedelta(days=days)
        begun = replace(cursor, days={day: seen for day, seen in cursor.days.items() if day >= start.isoformat()})
        while start <= today + _DAY:  # the account's today may be a day ahead of UTC
            end = min(start + SLICE - _DAY, today + _DAY)
            items = self._between(stream, start, end)
            digests = _digests(items, start, end)
            differing = {day for day, digest in digests.items() if begun.days.get(day) != digest}
            changed = [] if is_first else [item for item in items if str(item.get("spent_date")) in differing]
            begun = begun.with_days(digests)
            start = end + _DAY
            if start > today + _DAY:
                begun = replace(begun, reread_at=now)
            yield self._records(stream, changed, now, reread=True), begun

    def fetch(self, hint: Hint) -> Iterable[SourceRecord]:
        """One record as it is now; nothing when Harvest says that it does not exist."""
        try:
            answer = self.http.request("GET", f"/{_path(hint.stream)}/{_number(hint.external_id)}")
        except Rejected as refused:
            if refused.status in (404, 410):
                return []
            raise
        if not isinstance(answer.body, Mapping) or "id" not in answer.body:
            raise Unavailable("Harvest answered something that is not a record.")
        return self._records(hint.stream, [answer.body], answer.answered_at)

    def present(self, stream: str, start: date, end: date) -> Iterator[str]:
        """Ids of everything with a work date in the range. Raises Unavailable for a list cut short, never too few."""
        yield from dict.fromkeys(str(item["id"]) for item in self._between(stream, start, end))

    def receive(self, headers: Mapping[str, str], body: bytes) -> Delivery:
        """Harvest has no webhooks."""
        raise Malformed("Harvest sends no webhooks; this connection is polled.")

    def publication_body(self, publication: Publication) -> Any:
        """What would be sent for one record of master data."""
        return {"kind": publication.kind, "number": publication.number, **publishing.body(publication)}

    def publish(self, publication: Publication) -> str:
        """Make or change one client, project, task, person on a project, budget or rate."""
        return self._catalogue.publish(publication)

    def held(self, publications: Sequence[Publication]) -> Mapping[str, Held]:
        """What the account holds of some records."""
        return held_of_each(publications, self._catalogue.held)

    @property
    def _catalogue(self) -> publishing.HarvestCatalogue:
        own = refusals.own_patterns(self.account.setting("refusals", self.settings))
        return publishing.HarvestCatalogue(self.http, own)

    def map(self, record: SourceRecord) -> Iterable[CanonicalRecord]:
        """One time entry or expense as a document. Raises Malformed naming the field that cannot be read."""
        return [mapping.document(record, self.account)]

    def _list(self, stream: str, params: Mapping[str, Any]) -> Iterator[Listed]:
        """Every page of a list, by `links.next` until there is none.

        The pages must add up to `total_entries` of the first one, or to what is left when some were deleted meanwhile.
        """
        name = _path(stream)
        query: Mapping[str, Any] = {**params, "per_page": self._page_size}
        read, expected = 0, None
        while True:
            answer = self.http.request("GET", f"/{name}", params=query)
            items, link, total = _envelope(answer, name)
            expected = total if expected is None else min(expected, total)
            read += len(items)
            yield Listed(
                items=items,
                total=expected,
                answered_at=answer.answered_at,
                last=link is None,
                is_cut_short=link is None and read < expected,
            )
            if link is None:
                return
            query = dict(parse_qsl(urlsplit(link).query, keep_blank_values=True))

    def _between(self, stream: str, start: date, end: date) -> list[Mapping[str, Any]]:
        """Everything with a work date in the range. Raises Unavailable for a list cut short."""
        items: list[Mapping[str, Any]] = []
        for listed in self._list(stream, {"from": start.isoformat(), "to": end.isoformat()}):
            items += listed.items
            if listed.is_cut_short:
                raise Unavailable(f"Harvest listed {len(items)} of {listed.total} {stream} and said there are no more.")
        return items

    def _updated(self, cursor: HarvestCursor) -> dict[str, Any]:
        """The parameters for what changed at or after the cursor, rendered as the account reads them."""
        params: dict[str, Any] = {}
        if start_on := self.account.settings.get("start_on"):
            params["from"] = str(start_on)
        if cursor.updated is not None:
            overlap = max(
                timedelta(minutes=float(self.account.setting("overlap_minutes", self.settings))), timedelta(minutes=1)
            )
            zone = str(self.account.setting("cursor_zone", self.settings))
            local = (cursor.updated - overlap).astimezone(ZoneInfo(zone))
            params["updated_since"] = local.strftime(STAMP if zone == "UTC" else STAMP.removesuffix("Z"))
        return params

    def _records(
        self, stream: str, items: Sequence[Mapping[str, Any]], now: datetime, *, reread: bool = False
    ) -> list[SourceRecord]:
        return [
            SourceRecord(
                stream=stream,
                external_id=str(item["id"]),
                revision=revision(item, now, reread=reread),
                payload=plain(item),
            )
            for item in items
        ]

    @property
    def _page_size(self) -> int:
        return max(1, min(int(self.account.setting("page_size", self.settings)), PER_PAGE))

    def _server_time(self) -> datetime:
        return self.http.request("GET", "/users/me").answered_at


def _number(external_id: str) -> int:
    if not (external_id.isascii() and external_id.isdigit()):
        raise Malformed(f"“{external_id}” is not an id of Harvest, which are numbers.")
    return int(external_id)


def _path(stream: str) -> str:
    if stream not in HarvestConnector.streams:
        raise Malformed(f"Harvest has no stream “{stream}”; its streams are {', '.join(HarvestConnector.streams)}.")
    return stream


def _digests(items: Sequence[Mapping[str, Any]], start: date, end: date) -> dict[str, str]:
    """The digest of every day in the range, days without entries included."""
    by_day = {day: list(group) for day, group in groupby(sorted(items, key=_spent_date), key=_spent_date)}
    days = [(start + timedelta(days=n)).isoformat() for n in range((end - start).days + 1)]
    return {day: day_digest(by_day.get(day, ())) for day in days}


def _spent_date(item: Mapping[str, Any]) -> str:
    return str(item.get("spent_date"))


def _envelope(answer: Response, name: str) -> tuple[Sequence[Mapping[str, Any]], str | None, int]:
    """The items, the link to the next page and the total of one answer; Unavailable when it is not a list."""
    body = answer.body
    items = body.get(name) if isinstance(body, Mapping) else None
    if not isinstance(items, list) or not all(isinstance(item, Mapping) and "id" in item for item in items):
        raise Unavailable(f"Harvest answered something that is not a list of {name}.")
    link = (body.get("links") or {}).get("next")
    total = body.get("total_entries")
    return items, str(link) if link else None, total if isinstance(total, int) else len(items)
