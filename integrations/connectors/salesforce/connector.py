"""Salesforce: customers with hierarchy and merges, projects from won opportunities, people; and told how bills stand.

Changes are read by `SystemModstamp` with deleted and merged rows among them. Hints come two ways: a flow of the org calls us
with a secret of ours, because outbound messages are not signed; or its change events and platform events are listened to.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from integrations.connectors.salesforce import assumptions, events, mapping, publishing, refusals, soql
from integrations.connectors.salesforce.auth import sign_in
from integrations.connectors.salesforce.settings import SETTINGS
from integrations.connectors.salesforce.soql import Reader
from integrations.errors import ConnectorError, Malformed, Rejected
from integrations.http import Http, check_shared_secret
from integrations.protocol import Account, Capabilities, Delivery, Hint, Page, SourceRecord
from portal.records import CanonicalRecord, Held, Publication

SECRET_HEADER, SECRETS = "X-Tieout-Secret", "webhook_secret"


class SalesforceConnector:
    """One org. `base_url` is its My Domain, such as https://acme.my.salesforce.com."""

    name = "salesforce"
    hosts = ("my.salesforce.com",)
    settings = SETTINGS
    address_help = "The org's My Domain, as https://acme.my.salesforce.com."
    realm_help = "The org, by a name of your own."
    streams = ("customers", "projects", "employees", events.STREAM)
    hint_streams = (events.STREAM,)
    tombstones = True
    publishes = publishing.PUBLISHES
    why_untold = "Salesforce gives us master data and takes no message about it."

    def __init__(self, account: Account, http: Http) -> None:
        self.account = account
        self.http = http
        self._own = refusals.own_patterns(account.settings.get("refusals") or ())
        self._reader = Reader(account, http, self._own)
        lost = float(account.setting("upstream_timeout", SETTINGS))
        self.capabilities = Capabilities(batch_size=assumptions.COLLECTION, upsert=True, upstream_timeout=lost)
        sign_in(account, http)

    def check(self) -> str:
        """Ask what is left of the day's calls, and that each object may be read."""
        try:
            limits = self.http.request("GET", f"{self._reader.root}/limits").body
        except ConnectorError as error:
            raise refusals.narrow(error, self._own) from None
        for stream in soql.streams(self.account):
            next(self._reader.identities(stream), None)
        told = self.account.settings.get("subscribes") or ()
        if told:
            self._statuses().look(told)
        sentence = f"Salesforce answers, with {_left(limits, 'DailyApiRequests')} calls left today."
        if events.channels(self.account):
            heard = events.Listener(self.account, self.http).look()
            sentence += (
                f" {heard} {_left(limits, 'DailyDeliveredPlatformEvents').capitalize()} events can be delivered today."
            )
        return sentence

    def fields(self) -> Mapping[str, Sequence[str]]:
        """The fields of the object that is a project, and of those that are told how bills and payments stand."""
        objects = {"project_fields": str(self.account.setting("project_object", SETTINGS))}
        if self.account.settings.get("subscribes"):
            objects |= {
                f"{one}_fields": str(self.account.setting(f"{one}_object", SETTINGS))
                for one in ("invoice", "payment", "part")
            }
        found: dict[str, Sequence[str]] = {}
        for setting, name in objects.items():
            try:
                found[setting] = self._reader.fields_of(name)
            except Rejected:  # the org has no such object, which the test itself says
                continue
        return found

    def pull(self, stream: str, since: str | None) -> Iterator[Page]:
        """What changed at or after a cursor, oldest first; or what is heard in a turn of listening."""
        if stream == events.STREAM:
            return events.Listener(self.account, self.http).pull(since)
        return self._reader.pull(stream, since)

    def fetch(self, hint: Hint) -> Iterable[SourceRecord]:
        """A record as it is now; empty when there is none."""
        return self._reader.one(hint.stream, hint.external_id)

    def receive(self, headers: Mapping[str, str], body: bytes) -> Delivery:
        """Check the secret of the org's flow and name the records that it says moved; objects that are not read mean nothing."""
        check_shared_secret(self.account, headers, SECRET_HEADER, SECRETS)
        try:
            said = json.loads(body)
            moved = [(str(item["object"]), str(item["id"])) for item in said["records"]]
            delivery_id = str(said.get("id") or "") or hashlib.sha256(body).hexdigest()[:40]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Malformed(f"The hint of a Salesforce flow cannot be read: {error!r}.") from None
        names = {stream.object: stream.name for stream in soql.streams(self.account).values()}
        hints = [Hint(stream=names[name], external_id=key) for name, key in moved if name in names]
        return Delivery(delivery_id=delivery_id, hints=hints)

    def publication_body(self, publication: Publication) -> Any:
        """What would be sent for one bill or payment."""
        return {"kind": publication.kind, "record": publication.record, **self._statuses().body(publication)}

    def publish(self, publication: Publication) -> str:
        """Make or change one bill or payment."""
        [outcome] = self.publish_together([publication])
        if isinstance(outcome, ConnectorError):
            raise outcome
        return outcome

    def publish_together(self, publications: Sequence[Publication]) -> Sequence[str | ConnectorError]:
        """Make or change many bills, or many payments with what they settle."""
        return self._statuses().publish(publications)

    def held(self, publications: Sequence[Publication]) -> Mapping[str, Held]:
        """What the org holds of some bills and payments."""
        return self._statuses().held(publications)

    def map(self, record: SourceRecord) -> Iterable[CanonicalRecord]:
        """Translate one row."""
        return mapping.records(record, self.account)

    def _statuses(self) -> publishing.SalesforceStatuses:
        return publishing.SalesforceStatuses(self.account, self.http, self._reader, self._own)


def _left(limits: Any, name: str) -> str:
    """How much of a limit of the day is left, in words."""
    found = limits.get(name) if isinstance(limits, Mapping) else None
    if not isinstance(found, Mapping):
        return "an unknown number of"
    said = {str(key).lower(): value for key, value in found.items()}
    return f"{said.get('remaining')} of {said.get('max')}"
