"""Tryton: master data, invoices and payments out, approved time in as lines of time sheets.

A connection is one company, which is its realm. A line's uuid is our key, which Tryton takes once (`sheet.py`). Everything that
was seen on a running Tryton and is not in its documents is in `assumptions.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import Any

from integrations.connectors.tryton import assumptions, lines, mapping, refusals
from integrations.connectors.tryton.auth import Session
from integrations.connectors.tryton.catalogue import STREAMS
from integrations.connectors.tryton.rpc import Rpc, within
from integrations.connectors.tryton.settings import SETTINGS
from integrations.connectors.tryton.sheet import MODEL, Sheet
from integrations.connectors.tryton.streams import Reader
from integrations.errors import ConnectorError, Malformed, Unauthorised
from integrations.http import PUSH_SECONDS, Deadline, Http, plain
from integrations.http.fields import text
from integrations.protocol import (
    TAKES_UNBILLABLE,
    Account,
    Capabilities,
    Delivery,
    Hint,
    Page,
    SourceRecord,
    one_outcome_each,
)
from portal.records import CanonicalRecord, Posting, Receipt, StatementLine


class TrytonConnector:
    """One company. `base_url` is the server's address, the realm the company's id."""

    name = "tryton"
    hosts: tuple[str, ...] = ()  # it runs wherever a firm runs it
    settings = SETTINGS
    address_help = "The server, as https://erp.acme.example; its host is named in TIEOUT_VENDOR_HOSTS."
    realm_help = "The id of the company, a number."
    streams = tuple(STREAMS)
    tombstones = True  # what has lines cannot be deleted there; drafts and payments that go are watched
    why_untold = "Tryton gives us master data and takes no message about it."

    def __init__(self, account: Account, http: Http) -> None:
        self.account = account
        self.http = http
        self._rpc = Rpc(account, http, refusals.own_patterns(account.settings.get("refusals") or ()))
        self._reader = Reader(account, self._rpc)
        self._sheet = Sheet(self._rpc)
        self._unbillable = bool(account.setting("accepts_unbillable", SETTINGS))
        self.capabilities = Capabilities(
            batch_size=max(1, int(account.setting("batch_size", SETTINGS))),
            concurrency=4,
            unique_key=True,
            one_company=True,
            push_within=PUSH_SECONDS,
            reversal=False,
            expenses=False,
            memo_limit=int(account.setting("memo_limit", SETTINGS)),
            upstream_timeout=float(account.setting("upstream_timeout", SETTINGS)),
            hours_tolerance=lines.HOURS_TOLERANCE,
            limits=(*lines.LIMITS, TAKES_UNBILLABLE if self._unbillable else lines.REFUSES_UNBILLABLE),
        )
        Session.sign_in(account, http)

    def check(self) -> str:
        """Find the company, see that time sheets may be read, and say which Tryton it is and whether it takes our keys."""
        own = [["id", "=", self._rpc.company]]
        found = next(self._rpc.rows("company.company", own, ["party.rec_name", "currency.code"]), None)
        if found is None:
            raise Unauthorised(
                f"There is no company {self.account.realm or '(no realm)'} that the user may see; the realm is its id."
            )
        self._rpc.count(MODEL, [["company", "=", self._rpc.company]])
        version = self._rpc.version()
        name, currency = text(within(found, "party"), "rec_name"), text(within(found, "currency"), "code")
        answers = f"Tryton {version} answers for {name}, whose books are in {currency}."
        return answers if takes_keys(version) else f"{answers} {refusals.NO_KEYS}"

    def pull(self, stream: str, since: str | None) -> Iterator[Page]:
        """What changed at or after a cursor."""
        return self._reader.pull(stream, since)

    def fetch(self, hint: Hint) -> Iterable[SourceRecord]:
        """A record as it is now; empty when it is gone."""
        return self._reader.one(hint.stream, hint.external_id)

    def receive(self, headers: Mapping[str, str], body: bytes) -> Delivery:
        """Tryton sends nothing by itself."""
        raise Malformed("Tryton sends no webhooks; this connection is polled.")

    def map(self, record: SourceRecord) -> Iterable[CanonicalRecord]:
        """Translate one row."""
        return mapping.records(record, self.account)

    def body(self, posting: Posting) -> Any:
        """The line that a posting becomes."""
        return plain(lines.line(posting))

    def push(self, postings: Sequence[Posting]) -> Sequence[Receipt | ConnectorError]:
        """Book postings as one list of lines, which Tryton writes wholly or not at all."""
        deadline = Deadline()
        return one_outcome_each(
            postings,
            lambda posting: lines.objection(
                posting, self._rpc.company, self.capabilities.memo_limit, accepts_unbillable=self._unbillable
            ),
            lambda left: self._sheet.book(left, deadline),
        )

    def find(self, keys: Sequence[str]) -> Mapping[str, StatementLine]:
        """What the time sheets hold under our keys."""
        return self._sheet.held(keys)

    def statement(self, start: date, end: date, entity: str = "") -> Iterator[StatementLine]:
        """Every line with a day in the closed range. The company is the entity."""
        del entity
        return self._sheet.booked(start, end, self._rpc.company)


def takes_keys(version: str) -> bool:
    """Whether a version lets a line's uuid be written from outside; what cannot be read is tried."""
    found = re.match(r"(\d+)\.(\d+)", version)
    return found is None or (int(found[1]), int(found[2])) <= assumptions.LAST_WITH_KEYS
