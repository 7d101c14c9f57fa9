"""Dynamics 365 Finance: master data, invoices and payments out, approved time, expenses and invoice drafts in.

A connection is one company, whose `dataAreaId` is its realm. Journals are posted there, by people or a batch job: what we wrote
is accepted, and posted when we read that it is. Everything that Microsoft's documents leave open is in `assumptions.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import Any

from integrations.connectors.dynamicsfinance import assumptions, bodies, drafts, mapping, refusals, streams
from integrations.connectors.dynamicsfinance.entities import Entities
from integrations.connectors.dynamicsfinance.journals import Journals
from integrations.connectors.dynamicsfinance.settings import SETTINGS
from integrations.errors import ConnectorError, Unauthorised
from integrations.http import PUSH_SECONDS, Deadline, Http, entra, plain
from integrations.http.fields import text
from integrations.http.odata import quoted
from integrations.protocol import Account, Capabilities, Delivery, Hint, Page, SourceRecord, one_outcome_each
from portal.records import BillDraft, CanonicalRecord, DocumentKind, HeldDraft, Posting, Receipt, StatementLine


class DynamicsFinanceConnector:
    """One company. `base_url` is the environment, such as https://contoso.operations.dynamics.com; the realm its `dataAreaId`."""

    name = "dynamicsfinance"
    title = "Dynamics 365 Finance"
    hosts = ("operations.dynamics.com", "cloudax.dynamics.com")
    settings = SETTINGS
    address_help = "The environment, as https://contoso.operations.dynamics.com."
    realm_help = "The company: its dataAreaId, such as usmf."
    streams = tuple(streams.STREAMS)
    tombstones = True  # nothing that it tells has a work date, so there is nothing to sweep
    deletions_untold = (
        "It does not tell what was deleted there. What has transactions cannot be deleted; "
        "a draft invoice that is gone is noticed with the next reading, anything else stays here as it was last read."
    )
    drafting = drafts.DRAFTING
    why_untold = "Dynamics 365 Finance gives us master data and takes no message about it."

    def __init__(self, account: Account, http: Http) -> None:
        self.account = account
        self.http = http
        self._own = refusals.own_patterns(account.settings.get("refusals") or ())
        self._reader = streams.Reader(account, http, self._own)
        self._journals = Journals(account, http, self._own)
        self._invoices = drafts.FreeTextInvoices(account, http, self._own)
        self.capabilities = Capabilities(
            batch_size=max(1, min(int(account.setting("batch_size", SETTINGS)), 5000)),
            concurrency=1,  # one writer, so that a key which was looked for is not written meanwhile
            upsert=False,
            one_company=True,
            expenses=bool(account.setting("expenses", SETTINGS)),
            push_within=PUSH_SECONDS,
            upstream_timeout=float(account.setting("upstream_timeout", SETTINGS)),
            books_within=3600.0 * float(account.setting("posts_within_hours", SETTINGS)),
            memo_limit=bodies.memo_limit(account),
            hours_tolerance=assumptions.HOURS_TOLERANCE,
        )
        entra.sign_in(account, http, account.base_url.rstrip("/"))

    def check(self) -> str:
        """Find the company, and the journals that wait in it."""
        entities = Entities(self.account, self.http, self._own)
        wanted = f"LegalEntityId eq {quoted(self.account.realm)}"
        found = list(entities.rows("LegalEntities", wanted, shared=True, select="LegalEntityId,Name"))
        if not found:
            seen = entities.rows("LegalEntities", shared=True, select="LegalEntityId")
            known = ", ".join([text(row, "LegalEntityId") for row in seen][:10]) or "none"
            missing = self.account.realm or "(no realm)"
            raise Unauthorised(f"There is no company {missing}; this application sees {known}.")
        waiting, journal = self._journals.look(), self.account.setting("journal", SETTINGS)
        name = text(found[0], "Name")
        return f"Dynamics 365 Finance answers for {name}; {waiting} journals of {journal} wait to be posted there."

    def pull(self, stream: str, since: str | None) -> Iterator[Page]:
        """A whole set, its rows with the moment since when they look so."""
        return self._reader.pull(stream, since)

    def fetch(self, hint: Hint) -> Iterable[SourceRecord]:
        """A record as it is now; empty when it is gone."""
        return self._reader.one(hint.stream, hint.external_id)

    def receive(self, headers: Mapping[str, str], body: bytes) -> Delivery:
        """Nothing is believed: no proof is documented that a business event bears."""
        del headers, body
        raise Unauthorised(
            "Dynamics 365 Finance sends no message that proves who sent it; its sets are read by schedule."
        )

    def map(self, record: SourceRecord) -> Iterable[CanonicalRecord]:
        """Translate one row."""
        return mapping.records(record, self.account)

    def body(self, posting: Posting) -> Any:
        """The journal line or the expense that a posting becomes; where in a journal is seen when it is written."""
        told = bodies.hours if posting.kind is DocumentKind.TIME else bodies.expense
        return plain(told(posting, self.account))

    def push(self, postings: Sequence[Posting]) -> Sequence[Receipt | ConnectorError]:
        """Write postings after a look for their keys: what stands there already is receipted and not sent."""
        deadline = Deadline()
        return one_outcome_each(
            postings,
            lambda posting: bodies.objection(posting, self.account),
            lambda left: self._write(left, deadline),
            self._journals.held,
        )

    def _write(self, postings: Sequence[Posting], deadline: Deadline) -> Mapping[str, Receipt | ConnectorError]:
        time = [posting for posting in postings if posting.kind is DocumentKind.TIME]
        expenses = [posting for posting in postings if posting.kind is DocumentKind.EXPENSE]
        return {**self._journals.write_hours(time, deadline), **self._journals.write_expenses(expenses, deadline)}

    def find(self, keys: Sequence[str]) -> Mapping[str, StatementLine]:
        """What stands under our keys, posted or not."""
        return self._journals.held(keys)

    def statement(self, start: date, end: date, entity: str = "") -> Iterator[StatementLine]:
        """Everything posted in the closed range. The company is the entity."""
        del entity
        return self._journals.booked(start, end)

    def draft_body(self, draft: BillDraft) -> Any:
        """The free text invoice that a draft becomes."""
        return plain(drafts.body(draft, self.account))

    def make_draft(self, draft: BillDraft) -> str:
        """Make an invoice that is not posted."""
        return self._invoices.make(draft)

    def drafted(self, drafts: Sequence[BillDraft]) -> Mapping[str, HeldDraft]:
        """What the company holds under the keys of drafts."""
        return self._invoices.held(drafts)
