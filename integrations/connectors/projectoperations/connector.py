"""Project Operations: master data and project invoices out, approved time and expenses in under ids that we choose.

A connection is one Dataverse environment, whose realm is the organisation's id. What we make there is accepted, and booked when
its approval made an actual of it. Everything that Microsoft's documents leave open is in `assumptions.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import Any

from integrations.connectors.projectoperations import assumptions, bodies, mapping, refusals, streams
from integrations.connectors.projectoperations.dataverse import HEADERS, ROOT, Tables
from integrations.connectors.projectoperations.entries import Entries
from integrations.connectors.projectoperations.settings import SETTINGS
from integrations.errors import ConnectorError, Unauthorised
from integrations.http import Http, Rate, entra, plain
from integrations.http.fields import text
from integrations.protocol import Account, Capabilities, Delivery, Hint, Page, SourceRecord, one_outcome_each
from portal.records import CanonicalRecord, Posting, Receipt, StatementLine


class ProjectOperationsConnector:
    """One environment. `base_url` is its address, such as https://contoso.crm4.dynamics.com; the realm the organisation's id."""

    name = "projectoperations"
    title = "Project Operations"
    hosts = ("dynamics.com",)
    rate = Rate(6000, 300.0)
    settings = SETTINGS
    address_help = "The environment, as https://contoso.crm4.dynamics.com."
    realm_help = "The id of the environment's organisation."
    streams = tuple(streams.STREAMS)
    tombstones = True  # nothing that it tells has a work date, so there is nothing to sweep
    deletions_untold = (
        "It does not tell what was deleted there. What has entries is deactivated; "
        "a draft invoice that is gone is noticed with the next reading, anything else stays here as it was last read."
    )
    why_untold = "Project Operations gives us master data and takes no message about it."

    def __init__(self, account: Account, http: Http) -> None:
        self.account = account
        self.http = http
        self._own = refusals.own_patterns(account.settings.get("refusals") or ())
        self._reader = streams.Reader(account, http, self._own)
        self._entries = Entries(account, http, self._own)
        self.capabilities = Capabilities(
            batch_size=max(1, min(int(account.setting("batch_size", SETTINGS)), 1000)),
            concurrency=max(1, min(int(account.setting("concurrency", SETTINGS)), 50)),
            unique_key=True,  # the same id is one record however often it is sent, and what stands is not overwritten
            reversal=False,
            expenses=bool(account.setting("expenses", SETTINGS)),
            upstream_timeout=float(account.setting("upstream_timeout", SETTINGS)),
            books_within=3600.0 * float(account.setting("books_within_hours", SETTINGS)),
            memo_limit=int(account.setting("memo_limit", SETTINGS)),
            hours_tolerance=assumptions.HOURS_TOLERANCE,
            limits=bodies.LIMITS,
        )
        entra.sign_in(account, http, account.base_url.rstrip("/"))

    def check(self) -> str:
        """See who we are there, and that time entries may be read."""
        try:
            told = self.http.request("GET", f"{ROOT}/WhoAmI", headers=HEADERS).body
        except ConnectorError as error:
            raise refusals.narrow(error, self._own, writes=False) from None
        organisation = text(told, "OrganizationId").lower() if isinstance(told, Mapping) else ""
        if self.account.realm and organisation != self.account.realm.lower():
            raise Unauthorised(
                f"The environment is of organisation {organisation or '(none)'}, not {self.account.realm}."
            )
        tables = Tables(self.account, self.http, self._own)
        submitted = next(value for value, name in assumptions.TIME_STATUSES.items() if name == "submitted")
        waiting = sum(
            1 for _ in tables.rows(bodies.TIME, f"msdyn_entrystatus eq {submitted}", select="msdyn_timeentryid")
        )
        return f"Project Operations answers; {waiting} time entries wait there for their approval."

    def pull(self, stream: str, since: str | None) -> Iterator[Page]:
        """What changed at or after a cursor, oldest first."""
        return self._reader.pull(stream, since)

    def fetch(self, hint: Hint) -> Iterable[SourceRecord]:
        """A record as it is now; empty when it is gone."""
        return self._reader.one(hint.stream, hint.external_id)

    def receive(self, headers: Mapping[str, str], body: bytes) -> Delivery:
        """Nothing is believed: webhooks of Dataverse are not used."""
        del headers, body
        raise Unauthorised("Webhooks of Project Operations are not used; its tables are read by schedule.")

    def map(self, record: SourceRecord) -> Iterable[CanonicalRecord]:
        """Translate one row."""
        return mapping.records(record, self.account)

    def body(self, posting: Posting) -> Any:
        """The record that a posting becomes."""
        return plain(bodies.body(posting, self.account))

    def push(self, postings: Sequence[Posting]) -> Sequence[Receipt | ConnectorError]:
        """Make the records of some postings under their keys; nothing is looked for before, because a key is one record."""
        return one_outcome_each(postings, lambda posting: bodies.objection(posting, self.account), self._entries.make)

    def find(self, keys: Sequence[str]) -> Mapping[str, StatementLine]:
        """What stands under our keys, booked or not."""
        return self._entries.held(keys)

    def statement(self, start: date, end: date, entity: str = "") -> Iterator[StatementLine]:
        """Every actual of cost in the closed range. The environment is the entity."""
        del entity
        return self._entries.booked(start, end)
