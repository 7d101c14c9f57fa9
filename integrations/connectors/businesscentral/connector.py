"""Business Central: master data, bills and payments out; approved time and expenses in by the project journal, and drafts.

A connection is one company, which is its realm. The vendor knows no idempotency key, so every posting is looked up before it is
written (`journal.py`). Everything that Microsoft's documents leave open is in `assumptions.py`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any

from integrations.connectors.businesscentral import (
    assumptions,
    bodies,
    drafts,
    mapping,
    mirror,
    odata,
    refusals,
    streams,
)
from integrations.connectors.businesscentral.auth import RESOURCE, check_state
from integrations.connectors.businesscentral.journal import Journal
from integrations.connectors.businesscentral.settings import SETTINGS
from integrations.errors import ConnectorError, Malformed, Rejected, Unauthorised, Unavailable
from integrations.http import PUSH_SECONDS, Deadline, Http, Rate, entra, plain
from integrations.protocol import (
    TAKES_UNBILLABLE,
    Account,
    Beside,
    Capabilities,
    Delivery,
    Hint,
    Page,
    SourceRecord,
    one_outcome_each,
)
from portal.records import BillDraft, CanonicalRecord, HeldDraft, Posting, Receipt, StatementLine

_RESOURCE = re.compile(r"companies\((?P<company>[0-9a-f-]+)\)/(?P<set>\w+)(?:\((?P<id>[0-9a-f-]+)\))?", re.IGNORECASE)


_SUBSCRIPTIONS = f"{streams.ROOT}/subscriptions"


class BusinessCentralConnector:
    """One company. `base_url` ends in `/v2.0/{tenant}/{environment}`; the realm is the company's id."""

    name = "businesscentral"
    title = "Business Central"
    hosts = ("api.businesscentral.dynamics.com",)
    rate = Rate(6000, 300.0)
    settings = SETTINGS
    address_help = "https://api.businesscentral.dynamics.com/v2.0/ with the tenant and the environment behind it."
    realm_help = "The id of the company."
    streams = tuple(streams.STREAMS)
    tombstones = True  # nothing that it tells has a work date, so there is nothing to sweep
    deletions_untold = (
        "It does not tell what was deleted there. What has entries can only be blocked; "
        "a bill that is gone is noticed with the next reading, anything else stays here as it was last read."
    )
    drafting = drafts.DRAFTING
    why_untold = "Business Central gives us master data and takes no message about it."

    def __init__(self, account: Account, http: Http) -> None:
        self.account = account
        self.http = http
        self._own = refusals.own_patterns(account.settings.get("refusals") or ())
        self._reader = streams.Reader(account, http)
        self._journal = Journal(account, http, self._own)
        self._invoices = drafts.SalesInvoices(account, http, self._own)
        self._sheets = self._mirrors(account, http)
        self.capabilities = self._keeps() if self._sheets else self._posts()
        entra.sign_in(account, http, RESOURCE)

    def _posts(self) -> Capabilities:
        """What the project journal can do."""
        return Capabilities(
            batch_size=max(1, min(int(self.account.setting("batch_size", SETTINGS)), odata.BATCH)),
            concurrency=1,  # one writer for each journal
            upsert=False,
            one_company=True,
            expenses=bool(self.account.setting("expenses", SETTINGS)),
            push_within=PUSH_SECONDS,
            upstream_timeout=float(self.account.setting("upstream_timeout", SETTINGS)),
            memo_limit=bodies.memo_limit(self.account),
            hours_tolerance=bodies.HOURS_TOLERANCE,
        )

    def _keeps(self) -> Capabilities:
        """What time sheets can do."""
        accepts = bool(self.account.setting("accepts_unbillable", SETTINGS))
        return Capabilities(
            one_company=True,
            finds_alike=True,
            reversal=False,
            expenses=False,
            push_within=PUSH_SECONDS,
            upstream_timeout=float(self.account.setting("upstream_timeout", SETTINGS)),
            hours_tolerance=bodies.HOURS_TOLERANCE,
            limits=(*mirror.LIMITS, TAKES_UNBILLABLE if accepts else mirror.REFUSES_UNBILLABLE),
        )

    def _mirrors(self, account: Account, http: Http) -> mirror.TimeSheets | None:
        """The time sheets, where time goes there and not into the project journal."""
        if account.setting("time_by", SETTINGS) != assumptions.SHEETS:
            return None
        return mirror.TimeSheets(account, http, self._own)

    def check(self) -> str:
        """Find the company, and the project journal behind the custom page or the time sheets."""
        companies = list(odata.rows(self.http, f"{streams.ROOT}/companies", {}, 100))
        found = next((row for row in companies if str(row.get("id")) == self.account.realm), None)
        if found is None:
            known = ", ".join(f"{row.get('name')} ({row.get('id')})" for row in companies[:10]) or "none"
            raise Unauthorised(
                f"There is no company {self.account.realm or '(no realm)'}; this application sees {known}."
            )
        name = found.get("displayName") or found.get("name")
        if self._sheets:
            self._sheets.look()
            return f"Business Central answers for {name}, with its time sheets."
        self._journal.look()
        return f"Business Central answers for {name}, with the project journal {self.account.setting('journal', SETTINGS)}."

    def pull(self, stream: str, since: str | None) -> Iterator[Page]:
        """What changed at or after a cursor, oldest first."""
        try:
            yield from self._reader.pull(stream, since)
        except ConnectorError as error:
            raise refusals.narrow(error, self._own, writes=False) from None

    def fetch(self, hint: Hint) -> Iterable[SourceRecord]:
        """A record as it is now; empty when it is gone. A hint of many changes names the moment of the first."""
        return self._reader.one(hint.stream, hint.external_id)

    def receive(self, headers: Mapping[str, str], body: bytes) -> Delivery:
        """Check the state of every notification and name what moved. Another company's mean nothing to this connection."""
        del headers
        try:
            items = json.loads(body)["value"]
            notified = [(item.get("clientState"), str(item["resource"]), item) for item in items]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Malformed(f"A notification of Business Central cannot be read: {error!r}.") from None
        if not notified:
            raise Malformed("A notification of Business Central names nothing.")
        for state, _, _ in notified:
            check_state(self.account, state)
        hints = [hint for _, resource, item in notified if (hint := self._hint(resource, item))]
        return Delivery(delivery_id=_event(notified), hints=hints)

    def handshake(self, query: Mapping[str, str]) -> str:
        """Business Central reads its token back whenever a subscription is made or renewed."""
        return query.get("validationToken", "")

    def keep_subscriptions(self, address: str) -> str:
        """Renew our subscriptions, which end after three days, and make those that are missing."""
        state = self.account.secrets.get("client_state", "")
        if not state:
            return "Business Central's webhooks are not used: the connection has no client state."
        known = {str(row.get("resource")).strip("/").lower(): row for row in self._subscriptions(address)}
        for name in assumptions.SUBSCRIBED.values():
            resource = f"/api/v2.0/companies({self.account.realm})/{name}"
            body = {"notificationUrl": address, "resource": resource, "clientState": state}
            row = known.get(resource.strip("/").lower())
            if row is None:
                self.http.request("POST", _SUBSCRIPTIONS, json=body)
            else:
                self._renew(row, body)
        made = len(assumptions.SUBSCRIBED) - len(known)
        return f"{len(known)} webhook subscriptions of Business Central were renewed and {made} made."

    def _subscriptions(self, address: str) -> list[Mapping[str, Any]]:
        rows = odata.rows(self.http, _SUBSCRIPTIONS, {}, 200)
        return [row for row in rows if row.get("notificationUrl") == address]

    def _renew(self, row: Mapping[str, Any], body: Mapping[str, str]) -> None:
        """Renew one subscription; where its token went stale meanwhile, once more with the one that it has now."""
        path = f"{_SUBSCRIPTIONS}({odata.quoted(str(row['subscriptionId']))})"
        try:
            self.http.request("PATCH", path, json=body, headers={"If-Match": str(row["@odata.etag"])})
        except ConnectorError as error:
            named = refusals.narrow(error, self._own)
            if not (isinstance(named, Rejected) and named.code == "record-changed"):
                raise named from None
            again = {str(one["subscriptionId"]): one for one in self._subscriptions(body["notificationUrl"])}
            fresh = again.get(str(row["subscriptionId"]), row)
            self.http.request("PATCH", path, json=body, headers={"If-Match": str(fresh["@odata.etag"])})

    def map(self, record: SourceRecord) -> Iterable[CanonicalRecord]:
        """Translate one row."""
        return mapping.records(record, self.account)

    def body(self, posting: Posting) -> Any:
        """The journal line, or the time registration entry, that a posting becomes."""
        return plain(mirror.body(posting) if self._sheets else bodies.line(posting, self.account))

    def push(self, postings: Sequence[Posting]) -> Sequence[Receipt | ConnectorError]:
        """Book postings in one journal, after a look into the ledger: what stands there already is not sent."""
        return self.push_beside(postings, {})

    def push_beside(
        self, postings: Sequence[Posting], beside: Mapping[str, Beside]
    ) -> Sequence[Receipt | ConnectorError]:
        """The same; in time sheets an entry that is like a posting and proves another one of ours is no twin of it."""
        if self._sheets:
            return [
                mirror.objection(posting, self.account) or self._sheets.keep(posting, beside.get(posting.key, Beside()))
                for posting in postings
            ]
        deadline = Deadline()
        return one_outcome_each(
            postings,
            lambda posting: bodies.objection(posting, self.account),
            lambda left: self._journal.book(left, deadline),
            self._journal.held,
        )

    def find(self, keys: Sequence[str]) -> Mapping[str, StatementLine]:
        """What the project ledger holds under our keys. A line that still stands in the journal is not booked."""
        if self._sheets:
            raise Unavailable("Entries of time sheets bear no key of ours; they are found by what they say.")
        return self._journal.held(keys)

    def find_like(
        self, postings: Sequence[Posting], numbers: Mapping[str, str], taken: Collection[str] = ()
    ) -> Mapping[str, StatementLine | Unavailable]:
        """What the company holds of postings: by key in the project ledger, by number or likeness in time sheets.

        What has no number is in doubt: lines of it that stand unposted are taken out of the journal first.
        """
        if self._sheets:
            return self._sheets.held(postings, numbers, taken)
        if doubted := {posting.key for posting in postings if not numbers.get(posting.key)}:
            self._journal.take_out(doubted)
        return self._journal.held([posting.key for posting in postings])

    def statement(self, start: date, end: date, entity: str = "") -> Iterator[StatementLine]:
        """Every entry of the project ledger, or of time sheets, in the closed range. The company is the entity."""
        del entity
        return self._sheets.booked(start, end) if self._sheets else self._journal.booked(start, end)

    def draft_body(self, draft: BillDraft) -> Any:
        """The sales invoice that a draft becomes."""
        return plain(drafts.body(draft, self.account))

    def make_draft(self, draft: BillDraft) -> str:
        """Make a sales invoice, after a look for one under its key; posted where the connection says so."""
        return self._invoices.make(draft)

    def drafted(self, drafts: Sequence[BillDraft]) -> Mapping[str, HeldDraft]:
        """What the company holds under the keys of drafts."""
        return self._invoices.held(drafts)

    def _hint(self, resource: str, item: Mapping[str, Any]) -> Hint | None:
        """What a notification names; None for a set or a company that is not ours to read."""
        found = _RESOURCE.search(resource)
        stream = next((s for s, name in assumptions.SUBSCRIBED.items() if found and name == found["set"]), "")
        if found is None or not stream or found["company"].lower() != self.account.realm.lower():
            return None
        if item.get("changeType") == "collection" or not found["id"]:
            return Hint(stream=stream, external_id=f"since:{_before(item.get('lastModifiedDateTime'), self.account)}")
        return Hint(stream=stream, external_id=f"id:{found['id'].lower()}")


def _event(notified: Sequence[tuple[Any, str, Mapping[str, Any]]]) -> str:
    """What a delivery is about, by which its repetition is known: what moved, how and when, whatever else stands around it."""
    said = sorted(
        [resource, str(item.get("changeType")), str(item.get("lastModifiedDateTime"))] for _, resource, item in notified
    )
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:40]


def _before(written: Any, account: Account) -> str:
    """Some time before a moment, as a filter writes it. Raises Malformed."""
    try:
        moment = datetime.fromisoformat(str(written))
    except ValueError:
        raise Malformed(f"lastModifiedDateTime of a notification is “{written}”, not a moment.") from None
    return (moment - account.overlap(SETTINGS)).strftime("%Y-%m-%dT%H:%M:%S.000Z")
