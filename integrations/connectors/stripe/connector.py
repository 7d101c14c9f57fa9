"""The Stripe connector: bills and payments by the list of events and signed webhooks; customers and invoice drafts out.

An event only says that something moved; what is true is read again by name and in the version that we pin. What the documents
leave open is in `assumptions.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from integrations.connectors.stripe import customers, drafts, mapping, refusals, streams
from integrations.connectors.stripe.auth import StripeAuth, check_signature
from integrations.connectors.stripe.paging import everything
from integrations.connectors.stripe.settings import SETTINGS
from integrations.errors import ConnectorError, Malformed, Rejected, Unauthorised
from integrations.http import Http, Rate
from integrations.protocol import Account, Capabilities, Delivery, Hint, Page, Setting, SourceRecord
from portal.records import BillDraft, CanonicalRecord, Held, HeldDraft, Publication

EVENTS = tuple(dict.fromkeys(kind for stream in streams.STREAMS.values() for kind in stream.types))


class StripeConnector:
    """One Stripe account."""

    name = "stripe"
    hosts = ("api.stripe.com",)
    rate = Rate(25, 1.2)  # what test mode takes, with room for what the network shifts; live takes 100
    settings: tuple[Setting, ...] = SETTINGS
    streams = tuple(streams.STREAMS)
    tombstones = True
    why_untold = "Stripe keeps bills and payments and takes no message about an hour."
    publishes = customers.PUBLISHES
    drafting = drafts.DRAFTING

    def __init__(self, account: Account, http: Http) -> None:
        self.account = account
        self.http = http
        self._own = refusals.own_patterns(account.setting("refusals", SETTINGS))
        self._drafts = drafts.Drafts(http, account, self._own)
        self._customers = customers.Customers(http, self._own)
        self.capabilities = Capabilities(
            concurrency=4, reversal=False, expenses=False, statement=False,
            upstream_timeout=float(account.setting("upstream_timeout", SETTINGS)),
        )  # fmt: skip
        http.auth = StripeAuth(account)

    def check(self) -> str:
        """Read the account, and one row of everything that is read from it: the key must be allowed all of it."""
        body = self.http.request("GET", "/v1/account").body
        said = body if isinstance(body, Mapping) else {}
        if self.account.realm not in ("", said.get("id")):
            raise Unauthorised(
                f"The key is of account {said.get('id')}, and the connection names {self.account.realm}."
            )
        for path in ("events", "customers", "invoices", "credit_notes", "invoice_payments"):
            try:
                next(everything(self.http, f"/v1/{path}", {}, 1), None)
            except ConnectorError as error:
                raise refusals.narrow(error, self._own, writes=False) from None
        name = ((said.get("settings") or {}).get("dashboard") or {}).get("display_name") or said.get("id") or "?"
        key = self.account.secrets.get("api_key", "")
        mode = "in test mode" if key.startswith(("sk_test_", "rk_test_")) else "live"
        return f"Stripe account {name} answers, {mode}."

    def pull(self, stream: str, since: str | None) -> Iterator[Page]:
        """Bills and payments that moved at or after a cursor, oldest first."""
        back = self.account.overlap(SETTINGS)
        return streams.pull(self.http, stream, since, self._page_size, back)

    def fetch(self, hint: Hint) -> Iterable[SourceRecord]:
        """A record as it is now; empty when it is gone."""
        return streams.one(self.http, hint.stream, hint.external_id)

    def receive(self, headers: Mapping[str, str], body: bytes) -> Delivery:
        """Check the signature and name what moved. Events of other things are taken and mean nothing."""
        check_signature(self.account, headers, body)
        try:
            event = json.loads(body)
            delivery_id = str(event["id"])
            moved = streams.named(event)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Malformed(f"The body of a Stripe webhook cannot be read: {error!r}.") from None
        hints = [Hint(stream=name, external_id=key) for name, key in moved.items()]
        return Delivery(delivery_id=delivery_id, hints=hints)

    def handshake(self, query: Mapping[str, str]) -> str:
        """Stripe asks nothing of an address before it sends."""
        del query
        return ""

    def keep_subscriptions(self, address: str) -> str:
        """Wake our endpoint where Stripe disabled it. A missing one is told: its secret is shown once, to a person."""
        ours = [one for one in everything(self.http, "/v1/webhook_endpoints", {}) if one.get("url") == address]
        asleep = [one for one in ours if one.get("status") != "enabled"]
        for one in asleep:
            self.http.request("POST", f"/v1/webhook_endpoints/{one['id']}", data={"disabled": "false"})
        heard = {kind for one in ours for kind in one.get("enabled_events") or ()}
        missing = [] if "*" in heard else [kind for kind in EVENTS if kind not in heard]
        lacks = f" None is told {', '.join(missing)}." if missing else ""
        return f"{len(asleep)} of {len(ours)} webhook endpoints of Stripe were enabled again.{lacks}"

    def map(self, record: SourceRecord) -> Iterable[CanonicalRecord]:
        """An invoice, a credit note or a payment; an invoice also with what was settled beside payments."""
        field = str(self.account.setting("purchase_order_field", SETTINGS))
        return mapping.records(record, self.account.zone, field)

    def draft_body(self, draft: BillDraft) -> Any:
        """The forms of a draft and of its lines; of one that cannot be said to Stripe, why not."""
        try:
            return drafts.body(draft, self.account)
        except Rejected as refused:
            return {"refused": refused.detail}

    def make_draft(self, draft: BillDraft) -> str:
        """Make one draft with its lines; its id."""
        return self._drafts.make(draft)

    def drafted(self, drafts: Sequence[BillDraft]) -> Mapping[str, HeldDraft]:
        """What stands whole under our keys."""
        return self._drafts.held(drafts)

    def publication_body(self, publication: Publication) -> Any:
        """The form of a customer."""
        return customers.body(publication)

    def publish(self, publication: Publication) -> str:
        """Make or change one customer; its id."""
        return self._customers.publish(publication)

    def held(self, publications: Sequence[Publication]) -> Mapping[str, Held]:
        """What Stripe holds of customers, by our key."""
        found = {publication.key: self._customers.held(publication) for publication in publications}
        return {key: held for key, held in found.items() if held is not None}

    @property
    def _page_size(self) -> int:
        return max(1, min(int(self.account.setting("page_size", SETTINGS)), 100))
