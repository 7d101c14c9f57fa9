"""Tempo Timesheets: approved time of a Jira firm, by the approval log and the worklogs' own changes, webhooks for speed.

An approval belongs to a person's period and never to a worklog. So three things are read: periods whose approval changed, with
all their worklogs; worklogs that changed, with the approval of their period; and from the paper trail what was deleted, which is
asked for by name. No event tells of an approval: the log is polled.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from urllib.parse import quote

from integrations.connectors.tempo import assumptions, mapping, paging
from integrations.connectors.tempo.auth import TempoAuth, check_signature
from integrations.connectors.tempo.cursor import SECONDS, TempoCursor, changed_at, latest, revision, stamp_of
from integrations.errors import Malformed, Rejected, Unauthorised, Unavailable
from integrations.http import Http, Rate, fields, plain
from integrations.protocol import Account, Delivery, Hint, Page, Setting, SourceRecord
from portal.records import CanonicalRecord

STREAM = "time_entries"
PERIODS_AT_ONCE = 25  # periods, at least one call each, before the cursor moves
LOG_REACH = timedelta(days=729)  # the approval log is kept for two years
EVENTS = ("worklog.created", "worklog.updated", "worklog.deleted")
_NOTHING_DECIDED: Mapping[str, Any] = {}

PeriodKey = tuple[str, str, str]  # a person, and the first and last day of a period
Approvals = dict[PeriodKey, Mapping[str, Any]]


class TempoConnector:
    """One Tempo account of one Jira site. `base_url` is the region's address, such as https://api.eu.tempo.io."""

    name = "tempo"
    hosts = ("api.tempo.io", "api.eu.tempo.io", "api.us.tempo.io")
    rate = Rate(5, 1.2)  # five a second, and room for what the network shifts
    settings: tuple[Setting, ...] = (
        Setting(name="token", label="API token", required=True, secret=True),
        Setting(
            name="webhook_secret",
            label="Webhook secret",
            secret=True,
            help="The sharedSecret of the subscription. Further subscriptions: webhook_secret_2 and so on.",
        ),
        Setting(name="start_on", label="First change to read", help="YYYY-MM-DD; at most two years back.", shape="day"),
        Setting(name="overlap_minutes", label="Minutes read again before the cursor", default=60, least=0, most=10080),
        Setting(name="page_size", label="Rows in a page", help="At most 5000.", default=5000, least=1, most=5000),
        Setting(
            name="project_from",
            label="What a project is",
            help="The Tempo account of a worklog, or its Jira issue.",
            default="account",
            choices=("account", "issue"),
        ),
        Setting(
            name="account_attribute",
            label="Work attribute with the account",
            default=assumptions.ACCOUNT_ATTRIBUTE,
            replaces=("ACCOUNT_ATTRIBUTE",),
        ),
        Setting(
            name="partly_billable",
            label="Hours of a worklog that is billable in part",
            help="“refuse” lets it wait until one of the others is chosen.",
            default="refuse",
            choices=mapping.PARTLY_BILLABLE,
        ),
        Setting(
            name="read_deletions",
            label="Read deletions from the paper trail",
            help="Needs the permission to view it; without it the nightly comparison finds them.",
            default=True,
        ),
        Setting(name="currency", label="Currency", help="ISO 4217; Tempo states none.", shape="currency"),
    )
    streams: tuple[str, ...] = (STREAM,)
    tombstones = False  # the paper trail tells most deletions; the nightly comparison is there for the rest
    why_untold = "Tempo takes no message about one worklog: a comment goes only with the reopening of a whole period."

    def __init__(self, account: Account, http: Http) -> None:
        self.account = account
        self.http = http
        http.auth = TempoAuth(account)

    def check(self) -> str:
        """Read one worklog and, where it is used, the paper trail; say which subscriptions are asleep."""
        now = self._server_time()
        if self._reads_deletions:
            next(self._trail(now, now), None)
        asleep = [item for item in self._subscriptions() if not item.get("active")]
        webhooks = f"; {len(asleep)} webhook subscriptions are inactive" if asleep else ""
        trail = "with its paper trail" if self._reads_deletions else "without its paper trail"
        return f"Tempo answers with worklogs, {trail}{webhooks}."

    def pull(self, stream: str, since: str | None) -> Iterator[Page]:
        """What was approved, changed and deleted since the cursor, in this order, each with a cursor of its own."""
        self._known(stream)
        cursor = TempoCursor.of(since)
        closed_at = self._server_time()
        read: set[PeriodKey] = set()
        decided, odd = self._decided(cursor, closed_at)
        if odd:
            yield Page(records=[_unread("approval", row) for row in odd], cursor=cursor.text(), last=False)
        for approvals in fields.portions(decided, PERIODS_AT_ONCE):
            records = [record for approval in approvals for record in self._of_period(approval, closed_at)]
            read.update(_period_key(approval) for approval in approvals)
            reached = max(stamp_of(approval["status"], "approval") for approval in approvals)
            cursor = replace(cursor, approvals=latest(cursor.approvals, min(reached, closed_at)))
            yield Page(records=records, cursor=cursor.text(), last=False)
        known: Approvals = {}
        changed = sorted(self._changed(cursor, closed_at), key=_order)
        for portion in _portions(self._with_periods(changed), read):
            records = self._with_approvals(portion, known, read, closed_at)
            stamps = [min(stamp, closed_at) for worklog, _ in portion if (stamp := changed_at(worklog))]
            cursor = replace(cursor, worklogs=latest(cursor.worklogs, *stamps))
            yield Page(records=records, cursor=cursor.text(), last=False)
        hints: Sequence[Hint] = ()
        lost: Sequence[SourceRecord] = ()
        if self._reads_deletions:
            hints, lost, gone_at = self._deleted(cursor, closed_at)
            cursor = replace(cursor, deletions=latest(cursor.deletions, gone_at and min(gone_at, closed_at)))
        yield Page(records=lost, cursor=cursor.text(), last=True, hints=hints)

    def fetch(self, hint: Hint) -> Iterable[SourceRecord]:
        """One worklog as it is now, with the approval of its period; nothing when Tempo says that it is gone."""
        self._known(hint.stream)
        try:
            answer = self.http.request("GET", f"/4/worklogs/{quote(hint.external_id, safe='')}")
        except Rejected as refused:
            if refused.status in (404, 410):
                return []
            raise
        if not isinstance(answer.body, Mapping) or str(answer.body.get("tempoWorklogId")) != hint.external_id:
            raise Unavailable(f"Tempo answered something that is not worklog {hint.external_id}.")
        return self._with_approvals(self._with_periods([answer.body]), {}, set(), answer.answered_at)

    def present(self, stream: str, start: date, end: date) -> Iterator[str]:
        """Ids of everything with a work date in the range."""
        self._known(stream)
        dates = {"from": start.isoformat(), "to": end.isoformat(), "orderBy": "ID"}
        yield from (str(item["tempoWorklogId"]) for item in self._worklogs("/4/worklogs", dates))

    def receive(self, headers: Mapping[str, str], body: bytes) -> Delivery:
        """Check the signature and name the worklog. Other events are taken and mean nothing."""
        check_signature(self.account, headers, body)
        try:
            data = json.loads(body)
            event, delivery_id = str(data["eventType"]), str(data["eventId"])
            moved = [str(data["payload"]["tempoWorklogId"])] if event in EVENTS else []
        except (ValueError, KeyError, TypeError) as error:
            raise Malformed(f"The body of a Tempo webhook cannot be read: {error!r}.") from None
        return Delivery(delivery_id=delivery_id, hints=[Hint(stream=STREAM, external_id=key) for key in moved])

    def handshake(self, query: Mapping[str, str]) -> str:
        """Tempo activates a subscription once its random string was read back from our address."""
        return query.get("randomString", "")

    def keep_subscriptions(self, address: str) -> str:
        """Wake our subscriptions that Tempo put to sleep after failures. A missing one is told: its secret is shown once."""
        ours = [item for item in self._subscriptions() if str(item.get("url")) == address]
        asleep = [item for item in ours if not item.get("active")]
        for item in asleep:
            self.http.request("PATCH", f"/4/webhooks/subscriptions/{item['id']}/refresh")
        missing = [event for event in EVENTS if event not in {item.get("event") for item in ours}]
        lacks = f" There is none for {', '.join(missing)}." if missing else ""
        return f"{len(asleep)} of {len(ours)} webhook subscriptions of Tempo were refreshed.{lacks}"

    def map(self, record: SourceRecord) -> Iterable[CanonicalRecord]:
        """One worklog as a document. Raises Malformed naming the field that cannot be read."""
        return [mapping.document(record, self.account)]

    def _decided(self, cursor: TempoCursor, now: datetime) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
        """The approval log's last word on every period that it names since the cursor, oldest first; and rows that name none."""
        since = self._floor(cursor.approvals, now)
        rows = paging.by_token(
            self.http,
            "/4/timesheet-approvals/logs/search",
            {"updatedFrom": since.strftime(SECONDS)},
            self._page_size,
        )
        last: Approvals = {}
        odd: list[Mapping[str, Any]] = []
        for row in rows:
            try:
                key, stamp = _period_key(row), stamp_of(mapping.status_of(row), "approval")
            except Malformed:
                odd.append(row)
                continue
            if key not in last or stamp >= stamp_of(last[key]["status"], "approval"):
                last[key] = row
        return sorted(last.values(), key=lambda row: stamp_of(row["status"], "approval")), odd

    def _of_period(self, approval: Mapping[str, Any], now: datetime) -> list[SourceRecord]:
        """Every worklog of one person and period."""
        user, start, end = _period_key(approval)
        worklogs = self._worklogs(f"/4/worklogs/user/{quote(user, safe='')}", {"from": start, "to": end})
        return [self._record(worklog, approval, now) for worklog in worklogs]

    def _changed(self, cursor: TempoCursor, now: datetime) -> list[Mapping[str, Any]]:
        """Worklogs that changed since the cursor. Tempo honours `updatedFrom` only where nothing else narrows the list."""
        since = self._floor(cursor.worklogs, now)
        return self._worklogs("/4/worklogs", {"updatedFrom": since.strftime(SECONDS)})

    def _with_periods(self, worklogs: Sequence[Mapping[str, Any]]) -> list[tuple[Mapping[str, Any], PeriodKey | None]]:
        """Worklogs, each with whose period it lies in: None where it names nobody, no day, or a day of no period."""
        days = [day for worklog in worklogs if (day := mapping.day_of(worklog))]
        if not days:
            return [(worklog, None) for worklog in worklogs]
        span = {"from": min(days).isoformat(), "to": max(days).isoformat()}
        periods = assumptions.periods(self.http.request("GET", "/4/periods", params=span).body)
        return [(worklog, _period_of(worklog, periods)) for worklog in worklogs]

    def _with_approvals(
        self,
        worklogs: Sequence[tuple[Mapping[str, Any], PeriodKey | None]],
        known: Approvals,
        read: Collection[PeriodKey],
        now: datetime,
    ) -> list[SourceRecord]:
        """Worklogs with the approvals of their periods; those of periods that were just read are left out.

        One without a period comes without an approval, so that it alone waits. `known` takes what was asked for.
        """
        records = []
        for worklog, key in worklogs:
            if key is None:
                records.append(self._record(worklog, None, now))
            elif key not in read:
                if key not in known:
                    known[key] = self._approval(*key)
                records.append(self._record(worklog, known[key], now))
        return records

    def _approval(self, user: str, start: str, end: str) -> Mapping[str, Any]:
        """The approval of one person's period."""
        path = f"/4/timesheet-approvals/user/{quote(user, safe='')}"
        body = self.http.request("GET", path, params={"from": start, "to": end}).body
        if not isinstance(body, Mapping) or not isinstance(body.get("status"), Mapping):
            raise Unavailable(f"Tempo answered something that is not the approval of {user} from {start}.")
        return body

    def _deleted(self, cursor: TempoCursor, now: datetime) -> tuple[list[Hint], list[SourceRecord], datetime | None]:
        """What the paper trail says was deleted since the cursor, rows of it that cannot be read, and when the last of it was."""
        hints, lost, stamps = [], [], []
        for row in self._trail(self._floor(cursor.deletions, now), now):
            try:
                stamp = stamp_of(row, "paper trail", "timestamp")
            except Malformed:
                stamp = None
            if stamp is None or not row.get("entityId"):
                lost.append(_unread("deletion", row))
                continue
            stamps.append(stamp)
            because = f"deleted at {row.get('timestamp')}"
            hints.append(Hint(stream=STREAM, external_id=str(row["entityId"]), because=because))
        return hints, lost, latest(*stamps)

    def _trail(self, since: datetime, now: datetime) -> Iterator[Mapping[str, Any]]:
        until = now + timedelta(days=1)  # what happens while it is read is not cut off
        span = {"from": since.strftime(SECONDS), "to": until.strftime(SECONDS)}
        wanted = {**span, "entityType": ["worklog"], "action": ["Deleted"]}
        try:
            yield from paging.by_token(self.http, "/4/papertrail/search", wanted, paging.TRAIL_LIMIT)
        except Unauthorised as refused:
            raise Unauthorised(
                f"Tempo's paper trail may not be read: {refused.detail} Give the token's user the permission, or turn the "
                "setting read_deletions off.",
                status=refused.status,
            ) from None

    def _worklogs(self, path: str, params: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """Every worklog of a list, each once."""
        rows = paging.by_offset(self.http, path, params, self._page_size)
        return list({str(row["tempoWorklogId"]): row for row in rows}.values())

    def _record(self, worklog: Mapping[str, Any], approval: Mapping[str, Any] | None, now: datetime) -> SourceRecord:
        payload = plain({"approval": approval, "worklog": worklog})
        status = None if approval is None else approval.get("status") or _NOTHING_DECIDED
        return SourceRecord(
            stream=STREAM,
            external_id=str(worklog["tempoWorklogId"]),
            revision=revision(worklog, status, payload, now),
            payload=payload,
        )

    def _subscriptions(self) -> list[Mapping[str, Any]]:
        return assumptions.subscriptions(self.http.request("GET", "/4/webhooks/subscriptions").body)

    def _server_time(self) -> datetime:
        return self.http.request("GET", "/4/worklogs", params={"limit": 1}).answered_at

    def _floor(self, stamp: datetime | None, now: datetime) -> datetime:
        """From where to read: the cursor less the overlap, or the first change that is wanted."""
        if stamp is not None:
            return stamp - timedelta(minutes=float(self.account.setting("overlap_minutes", self.settings)))
        oldest = now - LOG_REACH
        start_on = str(self.account.settings.get("start_on") or "")
        try:
            first = datetime.combine(date.fromisoformat(start_on), time(), UTC) if start_on else oldest
        except ValueError:
            raise Malformed(f"The setting start_on is “{start_on}”, not a date.") from None
        return max(first, oldest)

    @property
    def _page_size(self) -> int:
        return min(int(self.account.setting("page_size", self.settings)), paging.LIMIT)

    @property
    def _reads_deletions(self) -> bool:
        return bool(self.account.setting("read_deletions", self.settings))

    def _known(self, stream: str) -> None:
        if stream != STREAM:
            raise Malformed(f"Tempo has no stream “{stream}”; its only stream is {STREAM}.")


def _unread(what: str, row: Mapping[str, Any]) -> SourceRecord:
    """A row of one of Tempo's logs that says too little to be followed; it is filed as it is and waits alone."""
    payload = plain({what: row})
    digest = hashlib.sha256(json.dumps(payload, sort_keys=True, default=str).encode()).hexdigest()[:24]
    return SourceRecord(stream=STREAM, external_id=f"{what}-{digest}", revision=digest, payload=payload)


def _period_key(approval: Mapping[str, Any]) -> PeriodKey:
    """Whose period an approval is about: the person, and its first and last day."""
    try:
        period = approval["period"]
        days = str(date.fromisoformat(str(period["from"]))), str(date.fromisoformat(str(period["to"])))
        return str(approval["user"]["accountId"]), *days
    except (KeyError, TypeError, ValueError) as error:
        raise Malformed(f"A row of Tempo's approval log has no {error}.") from None


def _period_of(worklog: Mapping[str, Any], periods: Sequence[Mapping[str, Any]]) -> PeriodKey | None:
    """Whose period a worklog lies in, or None."""
    author, day = mapping.author_of(worklog), mapping.day_of(worklog)
    if not author or day is None:
        return None
    found = next((p for p in periods if str(p["from"]) <= day.isoformat() <= str(p["to"])), None)
    return None if found is None else (author, str(found["from"]), str(found["to"]))


def _portions(
    worklogs: Iterable[tuple[Mapping[str, Any], PeriodKey | None]], read: Collection[PeriodKey]
) -> Iterator[list[tuple[Mapping[str, Any], PeriodKey | None]]]:
    """Worklogs in their order, in portions for each of which the approvals of a limited number of periods are asked for."""
    asked: set[PeriodKey] = set()
    portion: list[tuple[Mapping[str, Any], PeriodKey | None]] = []
    new = 0
    for worklog, key in worklogs:
        if key is not None and key not in read and key not in asked:
            if new == PERIODS_AT_ONCE:
                yield portion
                portion, new = [], 0
            asked.add(key)
            new += 1
        portion.append((worklog, key))
    if portion:
        yield portion


def _order(worklog: Mapping[str, Any]) -> tuple[datetime, str]:
    """By change, so that a cursor may stand between two; what does not say when comes first and moves none."""
    return changed_at(worklog) or datetime.min.replace(tzinfo=UTC), str(worklog["tempoWorklogId"])
