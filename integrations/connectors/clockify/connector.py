"""Clockify: approved time and expenses, by webhook for speed and by the approvals list as the truth.

The list has no "since": it is read newest change first and left at the first approval older than the cursor, once for every
state that can be listed, so that a withdrawn approval is seen. The cursor moves only behind the last list.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

from integrations.account import upstream_timeout
from integrations.connectors.clockify import assumptions, mapping, publishing, refusals
from integrations.connectors.clockify.assumptions import LISTED_STATES
from integrations.connectors.clockify.auth import ClockifyAuth, check_token
from integrations.errors import Malformed, Rejected, Unauthorised, Unavailable
from integrations.http import Http, Rate, Response, plain
from integrations.protocol import Account, Capabilities, Delivery, Hint, Page, Setting, SourceRecord, held_of_each
from portal.records import CanonicalRecord, Held, Publication

APPROVAL = "approval:"  # marks a hint that names an approval and not a single record
LOOK_BACK = timedelta(days=62)  # before the newest change, when an approval is looked for that has just changed
Test = Callable[[Mapping[str, Any]], bool]
STAMP = "%Y-%m-%dT%H:%M:%S.%fZ"
_ITEMS = {"time_entries": ("entries", "entry"), "expenses": ("expenses", "expense")}
_APPROVAL_EVENTS = frozenset({"NEW_APPROVAL_REQUEST", "APPROVAL_REQUEST_STATUS_UPDATED"})
_ENTRY_EVENTS = frozenset({"TIME_ENTRY_UPDATED", "TIME_ENTRY_DELETED", "TIME_ENTRY_RESTORED", "TIME_ENTRY_SPLIT"})
_EXPENSE_EVENTS = frozenset({"EXPENSE_UPDATED", "EXPENSE_DELETED", "EXPENSE_RESTORED"})


class ClockifyConnector:
    """One Clockify workspace. `base_url` ends in `/api/v1`."""

    name = "clockify"
    hosts = ("clockify.me",)
    rate = Rate(20, 1.0)
    settings: tuple[Setting, ...] = (
        Setting(name="api_key", label="API key", required=True, secret=True),
        Setting(name="webhook_token", label="Webhook token", secret=True, help="The authToken of the webhook."),
        Setting(
            name="webhook_token_previous",
            label="Former webhook token",
            secret=True,
            help="Good while a token is rotated. Further webhooks: webhook_token_2 and so on.",
        ),
        Setting(name="workspace_id", label="Workspace id", help="Empty: the realm of the connection."),
        Setting(name="currency", label="Currency where Clockify states none", help="ISO 4217.", shape="currency"),
        Setting(
            name="start_on", label="First work date to read", help="YYYY-MM-DD; empty reads everything.", shape="day"
        ),
        Setting(name="overlap_minutes", label="Minutes read again before the cursor", default=60, least=0, most=10080),
        Setting(name="page_size", label="Approvals in a page", default=50, least=1, most=200),
        Setting(name="provenance_field", label="Custom field with the original tool's id", help="Such as “Jira”."),
        upstream_timeout(assumptions.UPSTREAM_TIMEOUT),
        Setting(
            name="refusals",
            label="Refusals",
            help='Words for no that we do not know, as [{"match": "cost code is missing", "means": "schema-changed"}].',
            default=[],
            replaces=("REFUSALS",),
        ),
        Setting(name="signature_header", label="Header with the webhook's token", default="clockify-signature"),
    )
    streams: tuple[str, ...] = ("time_entries", "expenses")
    tombstones = False
    publishes = publishing.PUBLISHES
    why_untold = (
        "Clockify takes no message about one entry: a note goes only with the withdrawal of a whole period's approval, "
        "and that is not ours to withdraw."
    )

    def __init__(self, account: Account, http: Http) -> None:
        self.account = account
        self.http = http
        lost = float(account.setting("upstream_timeout", self.settings))
        self.capabilities = Capabilities(concurrency=1, find_by_key=True, upstream_timeout=lost)
        http.auth = ClockifyAuth(account)

    def check(self) -> str:
        """Name the workspace and the person whose key it is. Raises Unauthorised when the key does not reach it."""
        user = self.http.request("GET", "/user").body or {}
        workspaces = self.http.request("GET", "/workspaces").body
        wanted = self._workspace_id
        for workspace in workspaces if isinstance(workspaces, list) else ():
            if str(workspace.get("id")) == wanted:
                return (
                    f"Clockify answers for workspace {workspace.get('name')}, as {user.get('name', 'an unnamed user')}."
                )
        raise Unauthorised(f"The key of {user.get('name', 'an unnamed user')} does not reach workspace {wanted}.")

    def publication_body(self, publication: Publication) -> Any:
        """What would be sent for one record of master data."""
        return {"kind": publication.kind, "number": publication.number, **publishing.body(publication)}

    def publish(self, publication: Publication) -> str:
        """Make or change one client, project, task, person on a project or rate."""
        return self._catalogue.publish(publication)

    def held(self, publications: Sequence[Publication]) -> Mapping[str, Held]:
        """What the workspace holds of some records."""
        return held_of_each(publications, self._catalogue.held)

    @property
    def _catalogue(self) -> publishing.ClockifyCatalogue:
        size = int(self.account.setting("page_size", self.settings))
        own = refusals.own_patterns(self.account.setting("refusals", self.settings))
        return publishing.ClockifyCatalogue(self.http, self._workspace_id, size, own)

    def pull(self, stream: str, since: str | None) -> Iterator[Page]:
        """Records of every approval that changed at or after the cursor, newest first within each state."""
        self._known(stream)
        floor = _cursor(since)
        reach = (
            floor - timedelta(minutes=float(self.account.setting("overlap_minutes", self.settings))) if floor else None
        )
        closed_at: datetime | None = None
        latest = floor
        for state in LISTED_STATES:
            for items, answered_at in self._list(state, "UPDATED_AT", lambda item: _is_older(item, reach)):
                closed_at = closed_at or answered_at
                stamps = [stamp for item in items if (stamp := _updated_at(item)) <= closed_at]
                latest = max([*filter(None, [latest]), *stamps], default=None)
                records = [record for item in items for record in self._records(stream, item, answered_at)]
                yield Page(records=records, cursor=since, last=False)
        yield Page(records=(), cursor=latest.strftime(STAMP) if latest else since, last=True)

    def fetch(self, hint: Hint) -> Iterable[SourceRecord]:
        """The records of one approval, or one record with the approval that covers it, as they are now.

        Nothing for a record that Clockify says is gone. An approval that is in no list, such as a rejected one, gives nothing:
        its records are found missing by the sweep and asked for by name.
        """
        self._known(hint.stream)
        if hint.external_id.startswith(APPROVAL):
            wanted = hint.external_id.removeprefix(APPROVAL)
            return self._of_approval(hint.stream, lambda item: str(item["approvalRequest"].get("id")) == wanted, None)
        return self._of_record(hint.stream, hint.external_id)

    def _of_record(self, stream: str, external_id: str) -> list[SourceRecord]:
        path = "time-entries" if stream == "time_entries" else "expenses"
        many, one = _ITEMS[stream]
        try:
            answer = self.http.request(
                "GET",
                f"/workspaces/{self._workspace_id}/{path}/{quote(external_id, safe='')}",
                params={"hydrated": "true"},
            )
        except Rejected as refused:
            if assumptions.is_gone(refused.status, refused.body):
                return []
            raise
        if not isinstance(answer.body, Mapping) or str(answer.body.get("id")) != external_id:
            raise Unavailable(f"Clockify answered something that is not record {external_id}.")

        def holds(item: Mapping[str, Any]) -> bool:
            return any(str(part.get("id")) == external_id for part in item.get(many) or ())

        found = [
            record
            for record in self._of_approval(stream, holds, self._day(stream, answer.body))
            if record.external_id == external_id
        ]
        if found:
            return found
        revision = f"{answer.answered_at.strftime(STAMP)} without approval"
        payload = {"approvalRequest": None, one: plain(answer.body)}
        return [SourceRecord(stream=stream, external_id=external_id, revision=revision, payload=payload)]

    def _of_approval(self, stream: str, is_wanted: Test, day: date | None) -> list[SourceRecord]:
        """The records of the approval that is wanted, from the lists; by period back to `day`, or by latest change.

        The lists are read side by side, a page of each at a time. An approval that changes its state meanwhile may stand in
        two; the later stamp is the truth.
        """

        def is_beyond(item: Mapping[str, Any]) -> bool:
            return day is not None and _ends_before(item, day)

        column = "START" if day else "UPDATED_AT"
        lists = [self._list(state, column, is_beyond, reach=None if day else LOOK_BACK) for state in LISTED_STATES]
        while lists:
            pages = [(pages, page) for pages in lists if (page := next(pages, None)) is not None]
            found = [
                (_updated_at(item), self._records(stream, item, answered_at))
                for _, (items, answered_at) in pages
                for item in items
                if is_wanted(item)
            ]
            if found:
                return max(found, key=lambda pair: pair[0])[1]
            lists = [pages for pages, _ in pages]
        return []

    def present(self, stream: str, start: date, end: date) -> Iterator[str]:
        """Ids of everything that stands in an approval that can be listed, with a work date in the range."""
        self._known(stream)
        many, _ = _ITEMS[stream]
        for state in LISTED_STATES:
            for items, _ in self._list(state, "START", lambda item: _ends_before(item, start)):
                for item in items:
                    for part in item.get(many) or ():
                        if start <= self._day(stream, part, item["approvalRequest"]) <= end:
                            yield str(part["id"])

    def receive(self, headers: Mapping[str, str], body: bytes) -> Delivery:
        """Check the token and name what moved. Raises Unauthorised, or Malformed for another workspace's delivery."""
        check_token(self.account, headers)
        event = next((value for name, value in headers.items() if name.lower() == "clockify-webhook-event-type"), "")
        try:
            data = json.loads(body)
        except ValueError as error:
            raise Malformed("The body of a Clockify webhook is not JSON.") from error
        if not isinstance(data, Mapping):
            raise Malformed("The body of a Clockify webhook is not an object.")
        if str(data.get("workspaceId") or self._workspace_id) != self._workspace_id:
            raise Malformed(f"A webhook of workspace {data.get('workspaceId')} came to {self._workspace_id}.")
        if event in _APPROVAL_EVENTS:
            return self._approval_delivery(event, data)
        moved = {"time_entries": data.get("id")} if event in _ENTRY_EVENTS else {}
        if event in _EXPENSE_EVENTS:
            moved = {"expenses": data.get("expenseId") or data.get("id")}
        hints = [Hint(stream=stream, external_id=str(key)) for stream, key in moved.items() if key]
        digest = hashlib.sha256(body).hexdigest()[:32]
        return Delivery(delivery_id=f"{event}:{hints[0].external_id if hints else ''}:{digest}", hints=hints)

    def _approval_delivery(self, event: str, data: Mapping[str, Any]) -> Delivery:
        """Clockify gives no delivery id: event, approval and the moment of its state are one."""
        key, stamp = data.get("id"), (data.get("status") or {}).get("updatedAt")
        if not key or not stamp:
            raise Malformed("An approval webhook of Clockify has no id or no status.updatedAt.")
        hints = [Hint(stream=stream, external_id=f"{APPROVAL}{key}") for stream in self.streams]
        return Delivery(delivery_id=f"{event}:{key}:{stamp}", hints=hints)

    def map(self, record: SourceRecord) -> Iterable[CanonicalRecord]:
        """One entry or expense as a document. Raises Malformed naming the field that cannot be read."""
        return mapping.documents(record, self.account)

    def _list(
        self, state: str, column: str, is_beyond: Test, *, reach: timedelta | None = None
    ) -> Iterator[tuple[list[Mapping[str, Any]], datetime]]:
        """Pages of approvals in a state, latest first, up to the first that lies beyond, or `reach` behind the first.

        Stops early only while the list really comes in order: a list that does not is read to its end.
        """
        size, page, in_order = int(self.account.setting("page_size", self.settings)), 1, True
        previous: datetime | None = None
        newest: datetime | None = None
        while True:
            answer = self.http.request(
                "GET",
                f"/workspaces/{self._workspace_id}/approval-requests",
                params={
                    "status": state,
                    "sort-column": column,
                    "sort-order": "DESCENDING",
                    "page": page,
                    "page-size": size,
                },
            )
            items = _approvals(answer)
            within = []
            for item in items:
                at = _updated_at(item) if column == "UPDATED_AT" else _starts_at(item)
                in_order = in_order and (previous is None or at is None or at <= previous)
                previous, newest = at or previous, newest or at
                is_out_of_reach = reach is not None and at is not None and newest is not None and at < newest - reach
                if not is_out_of_reach and not is_beyond(item):
                    within.append(item)
            yield [item for item in within if not self._is_too_early(item)], answer.answered_at
            if _is_last(answer, len(items), size) or (in_order and len(within) < len(items)):
                return
            page += 1

    def _records(self, stream: str, item: Mapping[str, Any], now: datetime) -> list[SourceRecord]:
        """One record for each entry or expense of an approval, with the approval's own header beside it."""
        many, one = _ITEMS[stream]
        records = []
        for part in item.get(many) or ():
            payload = plain({"approvalRequest": item["approvalRequest"], one: part})
            revision = _revision(_updated_at(item), payload, now)
            records.append(SourceRecord(stream=stream, external_id=str(part["id"]), revision=revision, payload=payload))
        return records

    def _day(self, stream: str, part: Mapping[str, Any], approval: Mapping[str, Any] | None = None) -> date:
        """The work date of a record, as the mapping sees it."""
        if stream == "expenses":
            return _date(str(part.get("date"))[:10], f"the date of expense {part.get('id')}")
        interval = part.get("timeInterval") or {}
        start = _moment(interval.get("start"))
        if start is None:
            raise Unavailable(f"Clockify listed entry {part.get('id')} without a start.")
        return start.astimezone(ZoneInfo(mapping.zone_of(interval, approval or {}, self.account))).date()

    def _is_too_early(self, item: Mapping[str, Any]) -> bool:
        start_on = self.account.settings.get("start_on")
        return bool(start_on) and _ends_before(item, _date(str(start_on), "setting “start_on”"))

    @property
    def _workspace_id(self) -> str:
        found = str(self.account.settings.get("workspace_id") or self.account.realm)
        if not found:
            raise Unauthorised(f"Connection {self.account.code} names no Clockify workspace.")
        return found

    def _known(self, stream: str) -> None:
        if stream not in self.streams:
            raise Malformed(f"Clockify has no stream “{stream}”; its streams are {', '.join(self.streams)}.")


def _approvals(answer: Response) -> list[Mapping[str, Any]]:
    """The approvals of one page; Unavailable when the answer is something else."""
    items = answer.body
    is_list = isinstance(items, list) and all(
        isinstance(item, Mapping) and isinstance(item.get("approvalRequest"), Mapping) for item in items
    )
    if not is_list:
        raise Unavailable("Clockify answered something that is not a list of approvals.")
    return list(items)


def _is_last(answer: Response, count: int, size: int) -> bool:
    """By the Last-Page header; by a page that is not full where there is none."""
    header = str(answer.headers.get("last-page", "")).strip().lower()
    return header == "true" if header in ("true", "false") and count else count < size


def _updated_at(item: Mapping[str, Any]) -> datetime:
    approval = item["approvalRequest"]
    stamp = _moment((approval.get("status") or {}).get("updatedAt"))
    if stamp is None:
        raise Malformed(f"Clockify approval {approval.get('id')}: status.updatedAt cannot be read.")
    return stamp


def _starts_at(item: Mapping[str, Any]) -> datetime | None:
    return _moment((item["approvalRequest"].get("dateRange") or {}).get("start"))


def _ends_before(item: Mapping[str, Any], day: date) -> bool:
    """Whether an approval's period is over before a day, with a day's room for zones."""
    end = _moment((item["approvalRequest"].get("dateRange") or {}).get("end"))
    return end is not None and end.date() + timedelta(days=1) < day


def _date(written: str, what: str) -> date:
    try:
        return date.fromisoformat(written)
    except ValueError as error:
        raise Malformed(f"In Clockify, {what} is “{written}”, not a date.") from error


def _is_older(item: Mapping[str, Any], reach: datetime | None) -> bool:
    return reach is not None and _updated_at(item) < reach


def _revision(stamp: datetime, payload: Any, now: datetime) -> str:
    """Orders two copies of a record: the stamp of its approval's state; `open` comes before `read` of the same stamp."""
    written = stamp.strftime(STAMP)
    if stamp > now - timedelta(seconds=assumptions.SETTLED_SECONDS):
        content = json.dumps(payload, sort_keys=True)
        return f"{written} open {hashlib.sha256(content.encode()).hexdigest()[:12]}"
    return f"{written} read"


def _cursor(since: str | None) -> datetime | None:
    found = _moment(since) if since else None
    if since and found is None:
        raise Malformed(f"The cursor {since[:80]!r} of a Clockify stream cannot be read.")
    return found


def _moment(written: Any) -> datetime | None:
    try:
        parsed = datetime.fromisoformat(str(written))
    except ValueError:
        return None
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).astimezone(UTC)
