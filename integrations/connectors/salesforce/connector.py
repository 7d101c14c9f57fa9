"""Salesforce: customers with their hierarchy and merges, projects from won opportunities or an object of the org, and people.

Changes are read by `SystemModstamp` with deleted and merged rows among them. There is no webhook that could be proved: outbound
messages are not signed, and change events come by another protocol than HTTP.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import date

from integrations.connectors.salesforce import mapping, refusals
from integrations.connectors.salesforce.auth import sign_in
from integrations.connectors.salesforce.settings import SETTINGS
from integrations.connectors.salesforce.soql import Reader
from integrations.errors import ConnectorError, Malformed
from integrations.http import Http
from integrations.protocol import Account, Delivery, Hint, Page, SourceRecord
from portal.records import CanonicalRecord


class SalesforceConnector:
    """One org. `base_url` is its My Domain, such as https://acme.my.salesforce.com."""

    name = "salesforce"
    hosts = ("my.salesforce.com",)
    settings = SETTINGS
    streams = ("customers", "projects", "employees")
    tombstones = True
    why_untold = "Salesforce gives us master data and takes no message about it."

    def __init__(self, account: Account, http: Http) -> None:
        self.account = account
        self.http = http
        self._own = refusals.own_patterns(account.settings.get("refusals") or ())
        self._reader = Reader(account, http, self._own)
        sign_in(account, http)

    def check(self) -> str:
        """Ask what is left of the day's calls, and that each object may be read."""
        try:
            limits = self.http.request("GET", f"{self._reader.root}/limits").body
        except ConnectorError as error:
            raise refusals.narrow(error, self._own) from None
        for stream in self.streams:
            next(self._reader.identities(stream), None)
        daily = limits.get("DailyApiRequests") if isinstance(limits, Mapping) else None
        left = f"{daily.get('remaining')} of {daily.get('max')}" if isinstance(daily, Mapping) else "an unknown number"
        return f"Salesforce answers, with {left} calls left today."

    def pull(self, stream: str, since: str | None) -> Iterator[Page]:
        """What changed at or after a cursor, oldest first."""
        return self._reader.pull(stream, since)

    def fetch(self, hint: Hint) -> Iterable[SourceRecord]:
        """A record as it is now; empty when there is none."""
        return self._reader.one(hint.stream, hint.external_id)

    def present(self, stream: str, start: date, end: date) -> Iterator[str]:
        """The ids of everything in a stream; master data has no work date, so the range does not narrow it."""
        del start, end
        return self._reader.identities(stream)

    def receive(self, headers: Mapping[str, str], body: bytes) -> Delivery:
        """Salesforce sends nothing that we could believe."""
        raise Malformed("Salesforce's outbound messages are not signed; this connection is polled.")

    def map(self, record: SourceRecord) -> Iterable[CanonicalRecord]:
        """Translate one row."""
        return mapping.records(record, self.account)
