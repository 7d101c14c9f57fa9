"""The NetSuite connector: master data out, approved time and expenses in, and what is booked back out as a statement.

A posting is one record under its key as external id, written by PUT: writing it again changes that record and never books a
second one. Everything that NetSuite's documents leave open is in `assumptions.py`.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import Any

from integrations.connectors.netsuite import (
    batches,
    bodies,
    drafts,
    mapping,
    refusals,
    statements,
    streams,
)
from integrations.connectors.netsuite.auth import sign_in
from integrations.connectors.netsuite.settings import SETTINGS
from integrations.connectors.netsuite.suiteql import PAGE, query
from integrations.errors import ConnectorError, InDoubt, Malformed, Rejected
from integrations.http import Http, check_shared_secret
from integrations.protocol import Account, Capabilities, Delivery, Hint, Page, SourceRecord
from portal.records import BillDraft, CanonicalRecord, HeldDraft, Posting, Receipt, StatementLine

_STREAM_OF_TYPE = {
    "subsidiary": "subsidiaries",
    "department": "departments",
    "accountingperiod": "periods",
    "customer": "customers",
    "job": "projects",
    "projecttask": "tasks",
    "employee": "employees",
    "invoice": "invoices",
    "creditmemo": "credit-memos",
    "customerpayment": "payments",
}


class NetSuiteConnector:
    """One NetSuite account."""

    name = "netsuite"
    title = "NetSuite"
    hosts = ("suitetalk.api.netsuite.com",)
    streams = tuple(streams.STREAMS)
    tombstones = True
    why_untold = "NetSuite gives us master data and takes no message about it."
    settings = SETTINGS
    drafting = drafts.DRAFTING

    def __init__(self, account: Account, http: Http) -> None:
        self.account = account
        self.http = http
        self._settings = account.settings
        self._own = refusals.own_patterns(account.settings.get("refusals") or ())
        self._expenses = bool(account.settings.get("expenses", True))
        self.capabilities = Capabilities(
            batch_size=max(1, min(int(account.settings.get("batch_size") or 1), batches.MAX_RECORDS)),
            concurrency=int(account.settings.get("concurrency") or 4),
            upsert=True,
            expenses=self._expenses,
            upstream_timeout=float(account.setting("upstream_timeout", SETTINGS)),
            memo_limit=int(account.setting("memo_limit", SETTINGS)),
            hours_tolerance=bodies.HOURS_TOLERANCE,
        )
        self._batches = batches.Batches(http, self._settings, self._own, self._receipts)
        sign_in(account, http)

    def check(self) -> str:
        """Read the subsidiaries and look at the time bills: the role must be allowed both."""
        found = query(self.http, "SELECT r.id, r.name FROM subsidiary r ORDER BY r.id").rows
        self._get(f"{statements.RECORD_PATH}/timebill", {"limit": "1", "offset": "0"})
        names = ", ".join(str(row.get("name", "")) for row in found[:5])
        return f"NetSuite account {self.account.realm or '?'} answers with {len(found)} subsidiaries: {names}."

    def pull(self, stream: str, since: str | None) -> Iterator[Page]:
        """Master data, bills and payments changed at or after a cursor, oldest first."""
        size = min(int(self._settings.get("page_size") or PAGE), PAGE)
        back = self.account.overlap(SETTINGS)
        return streams.pull(self.http, stream, since, size, back)

    def fetch(self, hint: Hint) -> Iterable[SourceRecord]:
        """A record as it is now; empty when it is gone."""
        return streams.one(self.http, hint.stream, hint.external_id)

    def receive(self, headers: Mapping[str, str], body: bytes) -> Delivery:
        """Hints from a SuiteScript in the account, in a form of our own (see the manual), signed with the hook secret."""
        check_shared_secret(
            self.account, headers, "X-Tieout-Signature", "hook_secret",
            lambda secret: hmac.new(secret.encode(), body, hashlib.sha256).hexdigest(),
        )  # fmt: skip
        try:
            sent = json.loads(body)
            hints = [
                Hint(stream=_STREAM_OF_TYPE[item["type"]], external_id=str(item["id"])) for item in sent["records"]
            ]
            return Delivery(delivery_id=str(sent["id"]), hints=hints)
        except (ValueError, KeyError, TypeError) as error:
            raise Malformed(f"The hook's body cannot be read: {error!r}.") from None

    def map(self, record: SourceRecord) -> Iterable[CanonicalRecord]:
        """Translate one row."""
        return mapping.records(record, self._settings)

    def body(self, posting: Posting) -> Any:
        """The record that a posting becomes."""
        return statements.plain(bodies.body(posting, self._settings))

    def push(self, postings: Sequence[Posting]) -> Sequence[Receipt | ConnectorError]:
        """Book postings by upsert under their keys: one by one, or as asynchronous batches."""
        outcomes: dict[str, Receipt | ConnectorError] = {}
        sendable: dict[str, list[Posting]] = {}
        for posting in postings:
            refused = bodies.objection(posting, self._settings)
            if refused is not None:
                outcomes[posting.key] = refused
            else:
                sendable.setdefault(bodies.record_type(posting), []).append(posting)
        for record_type, group in sendable.items():
            booked = self._put_batch(record_type, group) if self.capabilities.batch_size > 1 else map(self._put, group)
            outcomes |= {posting.key: outcome for posting, outcome in zip(group, booked, strict=True)}
        return [outcomes[posting.key] for posting in postings]

    def find(self, keys: Sequence[str]) -> Mapping[str, StatementLine]:
        """What NetSuite holds under our keys. Absence is asked for twice, by SuiteQL and by record."""
        found = statements.by_keys(self.http, keys, expenses=self._expenses)
        for key in keys:
            if key not in found:
                line = statements.by_record(self.http, key, self._own, expenses=self._expenses)
                if line is not None:
                    found[key] = line
        return found

    def statement(self, start: date, end: date, entity: str = "") -> Iterator[StatementLine]:
        """Every time bill and expense report with a date in the closed range, of one subsidiary or of all."""
        return statements.booked(self.http, start, end, entity, expenses=self._expenses)

    def draft_body(self, draft: BillDraft) -> Any:
        """The invoice that a draft becomes."""
        return statements.plain(drafts.body(draft, self._settings))

    def make_draft(self, draft: BillDraft) -> str:
        """Write one invoice, pending approval, by upsert under its key."""
        return drafts.make(self.http, draft, self._settings, self._own)

    def drafted(self, asked: Sequence[BillDraft]) -> Mapping[str, HeldDraft]:
        """The invoices that NetSuite holds under our keys, read whole one by one."""
        found = {draft.key: drafts.one(self.http, draft, self._settings, self._own) for draft in asked}
        return {key: held for key, held in found.items() if held is not None}

    def _put(self, posting: Posting) -> Receipt | ConnectorError:
        record_type = bodies.record_type(posting)
        try:
            answer = self.http.request(
                "PUT",
                f"{statements.RECORD_PATH}/{record_type}/eid:{posting.key}",
                params={"replace": "expense"} if record_type == "expensereport" else None,
                json=bodies.body(posting, self._settings),
                headers={"X-NetSuite-PropertyNameValidation": "Error"},
            )
        except ConnectorError as error:
            return refusals.narrow(error, self._own)
        return batches.receipt(posting, answer) or self._numbered(posting)

    def _numbered(self, posting: Posting) -> Receipt | ConnectorError:
        """The receipt of a record that was taken without being named: its number is read back."""
        try:
            line = statements.by_record(self.http, posting.key, self._own, expenses=self._expenses)
        except ConnectorError as error:
            return InDoubt(f"NetSuite took {posting.key}; its number could not be read: {error.detail}")
        if line is None:
            return InDoubt(f"NetSuite took {posting.key} and does not show it yet.")
        return Receipt(key=posting.key, number=line.number, raw=line.raw)

    def _put_batch(self, record_type: str, postings: Sequence[Posting]) -> list[Receipt | ConnectorError]:
        try:
            return self._batches.push(record_type, postings)
        except ConnectorError as error:
            return [error for _ in postings]

    def _receipts(self, keys: Sequence[str]) -> Mapping[str, Receipt]:
        """Receipts of what SuiteQL already shows under some keys; none when it cannot be asked."""
        try:
            lines = statements.by_keys(self.http, keys, expenses=self._expenses)
        except ConnectorError:
            return {}
        return {key: Receipt(key=key, number=line.number, raw=line.raw) for key, line in lines.items()}

    def _get(self, path: str, params: Mapping[str, str]) -> Any:
        try:
            return self.http.request("GET", path, params=params).body
        except Rejected as error:
            raise refusals.narrow(error, self._own, writes=False) from None
