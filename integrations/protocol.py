"""What a connector is: a Source, a Target, a Recipient, a Biller, or several of them.

No base class to inherit, no Django, no database, no clock of its own.

A connector is built as `Connector(account, http)` and is cheap to build; it keeps nothing between calls but what `http`
keeps for it (sessions, tokens). Every failure is one of `errors.py`. `pull`, `fetch` and `receive` yield untouched vendor
records; `map` translates them later and is pure, so a mapping bug is mended by replaying the inbox.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any, Protocol, runtime_checkable

from integrations.account import Account, Setting
from integrations.errors import ConnectorError, Rejected, Unavailable
from integrations.http import Http
from integrations.pages import Delivery, Hint, Page, SourceRecord
from portal.records import (
    BillDraft,
    CanonicalRecord,
    Held,
    HeldDraft,
    Posting,
    Publication,
    PublishedKind,
    Receipt,
    StatementLine,
)

__all__ = [
    "REFUSED_WITH_THEM",
    "TAKES_UNBILLABLE",
    "Account",
    "BatchRecipient",
    "Beside",
    "Biller",
    "Capabilities",
    "ConnectorType",
    "Delivery",
    "Described",
    "Drafting",
    "Found",
    "Hint",
    "HintedSource",
    "KeylessTarget",
    "Page",
    "Receiver",
    "Recipient",
    "Said",
    "Setting",
    "Shown",
    "Source",
    "SourceRecord",
    "SubscribedSource",
    "SweptSource",
    "Takes",
    "Target",
    "held_of",
    "held_of_each",
    "holds_hints",
    "is_ours",
    "one_outcome_each",
    "other_company",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a target can do and at what size. What it cannot do becomes a case, never silence."""

    batch_size: int = 1  # postings in one call
    concurrency: int = 1  # calls at once over all our workers; the connection may lower it
    upsert: bool = False  # the same key again overwrites instead of booking twice
    unique_key: bool = False  # the same key again is refused, so it cannot book twice
    find_by_key: bool = True
    finds_alike: bool = False  # by what a posting says, since its records bear no key: that it shows none is no proof
    reversal: bool = True  # takes negative postings
    expenses: bool = True
    statement: bool = True
    push_within: float = 0.0  # seconds after which a push of several steps begins no further one; 0: it is one call
    upstream_timeout: float = 300.0  # seconds after which a call that we lost can no longer be booked
    books_within: float = 0.0  # seconds between taking a posting and booking it, where the target books later
    memo_limit: int = 4000  # characters
    memo_forbidden: str = ""  # characters the target does not take
    requires_task: bool = False
    one_company: bool = False  # its account is the books of one company, named by the realm, and of no other
    hours_tolerance: Decimal = Decimal(0)  # hours that the target's own unit cannot tell apart; read-back allows for it
    limits: tuple[str, ...] = ()  # what else it cannot do, in sentences that the connection's page shows


@dataclass(frozen=True, slots=True, kw_only=True)
class Takes:
    """What a system takes of one kind of record, by our field names; `refuses` says of every other field why not.

    `keyed` says that the number which it gives the record is the key by which it names the record ever after.
    """

    figures: frozenset[str]
    refuses: Mapping[str, str] = field(default_factory=dict)
    keyed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Drafting:
    """What a system takes of an invoice draft. A bill with more lines is split into several, whose totals add up to it."""

    lines: int = 1000  # on one bill
    line_text: int = 999  # characters of a line's description
    memo: int = 999
    quantity_places: int = 4  # decimals
    price_places: int = 4
    requires_item: bool = False


@runtime_checkable
class Source(Protocol):
    """Where approved time, expenses or master data come from."""

    name: str  # the connector's word, e.g. "harvest"
    settings: tuple[Setting, ...]
    streams: tuple[str, ...]
    # Whether deletions of what has a work date show up in `pull`, or there is none; when not, it is a `SweptSource`.
    # A source that is silent about deletions of master data or bills says so in its class attribute `deletions_untold`.
    tombstones: bool
    why_untold: str  # why no message can be handed to its people through it, in a sentence that a person reads

    def check(self) -> str:
        """Prove, without writing, that the account answers; returns one sentence for the connection page."""
        ...

    def pull(self, stream: str, since: str | None) -> Iterator[Page]:
        """Records changed at or after the cursor `since` (None: from the beginning), oldest first where the vendor can."""
        ...

    def fetch(self, hint: Hint) -> Iterable[SourceRecord]:
        """Read again what a hint names. Empty when the vendor says (404 or 410) that it is gone."""
        ...

    def receive(self, headers: Mapping[str, str], body: bytes) -> Delivery:
        """Check a webhook's signature over the raw body and unpack it; raises Unauthorised or Malformed."""
        ...

    def map(self, record: SourceRecord) -> Iterable[CanonicalRecord]:
        """Translate one vendor record; pure. Raises Malformed naming the field that cannot be read."""
        ...


@runtime_checkable
class Described(Protocol):
    """A connector that can ask its account which fields there are for our words."""

    def fields(self) -> Mapping[str, Sequence[str]]:
        """The names of the fields that the account has, by the setting whose `words` are told them; asked with the test."""
        ...


@runtime_checkable
class SweptSource(Source, Protocol):
    """A source whose vendor does not tell what was deleted: every night what it still holds is held against what is known."""

    def present(self, stream: str, start: date, end: date) -> Iterator[str]:
        """External ids of everything the source still holds with a work date in the closed range."""
        ...


@runtime_checkable
class HintedSource(Protocol):
    """A source that is asked for its hints: some of its streams hold no record and say what moved in the others.

    Such a stream is pulled like every other one. Its pages bear hints alone, its cursor is the vendor's own mark of what was
    heard, and a pull ends by itself after a short while of listening. Whoever reads no such stream finds the same by schedule.
    """

    hint_streams: tuple[str, ...]


def holds_hints(source: object, stream: str) -> bool:
    """Whether a stream of a source, or of its class, holds hints and no records."""
    return stream in getattr(source, "hint_streams", ())


@runtime_checkable
class SubscribedSource(Protocol):
    """A source whose vendor wants something done before it sends webhooks, or while it does."""

    def handshake(self, query: Mapping[str, str]) -> str:
        """What the vendor wants to read back from our address before it believes it; empty when it asked nothing."""
        ...

    def keep_subscriptions(self, address: str) -> str:
        """See that the vendor goes on sending to our address, which is called every night; one sentence of what was done."""
        ...


@runtime_checkable
class Target(Protocol):
    """Where approved time and expenses are booked."""

    name: str
    settings: tuple[Setting, ...]
    capabilities: Capabilities

    def check(self) -> str:
        """Prove, without writing, that the account answers; returns one sentence for the connection page."""
        ...

    def push(self, postings: Sequence[Posting]) -> Sequence[Receipt | ConnectorError]:
        """Book some postings; exactly one outcome per posting, in their order.

        At most `capabilities.batch_size` at once. What is raised instead of returned holds for all of them.
        """
        ...

    def body(self, posting: Posting) -> Any:
        """What would be sent for one posting, as json.dumps takes it; pure. Its hash is stored before the call."""
        ...

    def find(self, keys: Sequence[str]) -> Mapping[str, StatementLine]:
        """What the target holds under our keys; a key that it does not hold is absent from the answer."""
        ...

    def statement(self, start: date, end: date, entity: str = "") -> Iterator[StatementLine]:
        """Everything the target has booked with a work date in the closed range, ours or not."""
        ...


@dataclass(frozen=True, slots=True)
class Beside:
    """What else of ours went for the same person's day: the numbers of its receipts, and whether some lacks one yet."""

    taken: frozenset[str] = frozenset()
    is_open: bool = False


@runtime_checkable
class KeylessTarget(Protocol):
    """A target whose records bear no key of ours, or bear none as its connection is set up. It is asked in this way instead."""

    def push_beside(
        self, postings: Sequence[Posting], beside: Mapping[str, Beside]
    ) -> Sequence[Receipt | ConnectorError]:
        """Book some postings, knowing by key what else of ours is there: a record that is alike and proves another is no twin."""
        ...

    def find_like(
        self, postings: Sequence[Posting], numbers: Mapping[str, str], taken: Collection[str] = ()
    ) -> Mapping[str, StatementLine | Unavailable]:
        """What the target holds of postings, by our key: by the number of its receipt where `numbers` has one, else by likeness.

        Likeness proves something only where the connector refuses to keep two that are alike; it says so in its `limits`. A
        record is the proof of one posting: `taken` are numbers that prove others. Of what it cannot tell it says Unavailable.
        """
        ...


def held_of(
    target: Target, postings: Sequence[Posting], numbers: Mapping[str, str], taken: Collection[str] = ()
) -> Mapping[str, StatementLine | Unavailable]:
    """What a target holds of postings, by our key, asked in the way that it can be asked; `numbers` are those of its receipts."""
    if isinstance(target, KeylessTarget):
        return target.find_like(postings, numbers, taken)
    return target.find([posting.key for posting in postings])


@runtime_checkable
class Recipient(Protocol):
    """A system that is told records: a tracker that is provisioned, one that takes rates, a CRM that is told how bills stand."""

    name: str
    settings: tuple[Setting, ...]
    capabilities: Capabilities
    publishes: Mapping[PublishedKind, Takes]  # a kind that is not in it is not taken at all

    def check(self) -> str:
        """Prove, without writing, that the account answers; returns one sentence for the connection page."""
        ...

    def publication_body(self, publication: Publication) -> Any:
        """What would be sent for one publication, as json.dumps takes it; pure. Its hash is stored before the call."""
        ...

    def publish(self, publication: Publication) -> str:
        """Make or change one record; the system's own number of it.

        A record without a number is made only after the system was asked whether it has one of the same name: where it has,
        Rejected is raised with the code `twin` and its number as `vendor_code`. A record with one is changed, to the same
        values however often.
        """
        ...

    def held(self, publications: Sequence[Publication]) -> Mapping[str, Held]:
        """What the system holds of records, by our key; one that it does not hold is left out.

        A record without a number is looked for by what is the same about it whoever made it: its code, its name, its place.
        """
        ...


@runtime_checkable
class BatchRecipient(Protocol):
    """A recipient that takes several records of one kind in a call."""

    def publish_together(self, publications: Sequence[Publication]) -> Sequence[str | ConnectorError]:
        """Make or change up to `capabilities.batch_size` records; of each its number or its error, in their order.

        What is raised instead of returned holds for all of them.
        """
        ...


@runtime_checkable
class Biller(Protocol):
    """A system that bills: it takes invoice drafts, and states what became of them through its streams of bills."""

    name: str
    settings: tuple[Setting, ...]
    capabilities: Capabilities  # `find_by_key`, `upsert` and `upstream_timeout` hold for drafts as well
    drafting: Drafting

    def check(self) -> str:
        """Prove, without writing, that the account answers; returns one sentence for the connection page."""
        ...

    def draft_body(self, draft: BillDraft) -> Any:
        """What would be sent for one draft, as json.dumps takes it; pure. Its hash is stored before the call."""
        ...

    def make_draft(self, draft: BillDraft) -> str:
        """Make one draft, neither sent nor final; the system's own key of it.

        Under one key there is never a second one. Every line bears its key, so that the bill that comes back tells by it
        which hours it bills; a line that cannot is Rejected. What is raised says what to do next, as for a posting.
        """
        ...

    def drafted(self, drafts: Sequence[BillDraft]) -> Mapping[str, HeldDraft]:
        """What the system holds under our keys, draft or not any more; what it does not hold is left out."""
        ...


_KEY = re.compile(r"[0-9a-f]{32}")

Receiver = Target | Recipient | Biller  # whatever the outbox speaks to
Said = Posting | Publication | BillDraft  # what it says
Found = StatementLine | Held | HeldDraft  # what is held of it
Shown = Found | Unavailable  # the same, or why it cannot be told


def is_ours(text: str) -> bool:
    """Whether a text may be a key of ours: those of the ledger are 32 digits of base sixteen."""
    return _KEY.fullmatch(text) is not None


# What such a target adds to the sentence by which it refuses hours that are not billable.
REFUSED_WITH_THEM = (
    " What a cap or a retainer leaves as cost alone is refused with them, until the connection's setting “Accept hours that are "
    "not billable” says otherwise, for all that it takes."
)

# A limit of targets whose records do not say whether hours are billable, where their connection takes such hours all the same.
TAKES_UNBILLABLE = (
    "Hours that are not billable are taken like others, as the connection says; nothing there tells them apart."
)


def other_company(entity: str, company: str) -> Rejected | None:
    """Why what is for one company may not go to an account that is the books of another, or None; `entity` may be untold."""
    if not entity or entity.casefold() == company.casefold():
        return None
    return Rejected(f"It is for company {entity}; this connection is company {company}.", code="company-wrong")


def one_outcome_each(
    postings: Sequence[Posting],
    objection: Callable[[Posting], Rejected | None],
    write: Callable[[Sequence[Posting]], Mapping[str, Receipt | ConnectorError]],
    held: Callable[[Sequence[str]], Mapping[str, StatementLine]] | None = None,
) -> list[Receipt | ConnectorError]:
    """What became of some postings, in their order: the way of every target that writes many at once.

    What the vendor could not be told is refused unsent. Where the vendor would book a key twice, `held` is asked first: what
    stands there is receipted and not sent. The rest is written; `write` answers by key.
    """
    outcomes: dict[str, Receipt | ConnectorError] = {}
    for posting in postings:
        refused = objection(posting)
        if refused is not None:
            outcomes[posting.key] = refused
    left = [posting for posting in postings if posting.key not in outcomes]
    if left and held is not None:
        found = held([posting.key for posting in left])
        outcomes |= {key: Receipt(key=key, number=line.number, raw=line.raw) for key, line in found.items()}
        left = [posting for posting in left if posting.key not in found]
    if left:
        outcomes |= write(left)
    return [outcomes[posting.key] for posting in postings]


def held_of_each(publications: Sequence[Publication], look: Callable[[Publication], Held | None]) -> dict[str, Held]:
    """What a system holds of some records, by their key, where it is asked for one at a time; nothing of what it has not."""
    found = {told.key: look(told) for told in publications}
    return {key: held for key, held in found.items() if held is not None}


class ConnectorType(Protocol):
    """What the registry holds: the class of a connector."""

    name: str
    settings: tuple[Setting, ...]

    def __call__(self, account: Account, http: Http) -> Source | Receiver:
        """Build the connector of one account; cheap, and without a call."""
        ...
