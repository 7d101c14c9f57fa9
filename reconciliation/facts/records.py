"""What rules see: master records as of a day, and the draft of an entry with all that was found out about it.

The rule here: these are plain slotted records filled from one batch's queries. A rule reads them and asks nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from reconciliation.facts.workdays import WorkCalendar
from reconciliation.policies import Policy

FOREVER = date(9999, 12, 31)


@dataclass(slots=True)
class Source:
    """A connection, as a source or as a target."""

    id: int
    code: str
    name: str
    connector: str
    realm: str
    entity_id: int | None
    settings: Mapping[str, Any]
    cut_over_on: date | None

    @property
    def realm_key(self) -> tuple[str, str]:
        """What crosswalks are looked up by."""
        return (self.connector, self.realm)


@dataclass(slots=True)
class Route:
    """Which target a source's documents are owed to, and the policy that holds for them."""

    id: int
    entity_id: int
    target: Source
    policy: Policy


@dataclass(slots=True)
class Entity:
    """A legal entity."""

    id: int
    code: str
    name: str
    currency: str
    policy: Mapping[str, Any]
    calendar: WorkCalendar


@dataclass(slots=True)
class Project:
    """An engagement on which time is spent."""

    id: int
    code: str
    name: str
    entity_id: int
    customer_id: int
    contract_id: int | None
    billing_model: str
    cost_centre_id: int | None
    requires_task: bool
    successor_id: int | None


@dataclass(slots=True)
class Task:
    """A kind of work within a project."""

    project_id: int
    id: int
    code: str
    name: str
    is_billable: bool
    is_active: bool
    is_default: bool


@dataclass(slots=True)
class Customer:
    """A customer, with the range of days on which it is active."""

    id: int
    code: str
    name: str
    merged_into_id: int | None
    currency: str
    active_from: date
    active_to: date


@dataclass(slots=True)
class Contract:
    """What was agreed with a customer."""

    id: int
    code: str
    customer_id: int
    entity_id: int
    billing_model: str
    currency: str
    cap_amount: Decimal | None
    requires_purchase_order: bool
    rounding: str
    hours_per_day: Decimal
    rate_tolerance: Decimal
    starts_on: date
    ends_on: date
    retainer_hours: Decimal | None
    overage: str


@dataclass(slots=True)
class PurchaseOrder:
    """A customer's order under a contract, for a range of days."""

    contract_id: int
    valid_from: date
    valid_to: date
    id: int
    number: str
    amount: Decimal
    currency: str


@dataclass(slots=True)
class Resource:
    """A person."""

    id: int
    code: str
    name: str
    email: str


@dataclass(slots=True)
class Engagement:
    """For whom and as what a person works from one day to another."""

    resource_id: int
    valid_from: date
    valid_to: date
    entity_id: int
    cost_centre_id: int | None
    role_id: int
    external_id: str


@dataclass(slots=True)
class Role:
    """What a person is sold as."""

    id: int
    code: str
    name: str


@dataclass(slots=True)
class CostCentre:
    """Where cost is carried, for a range of days."""

    id: int
    entity_id: int
    code: str
    name: str
    valid_from: date
    valid_to: date


@dataclass(slots=True)
class Period:
    """One accounting period of one entity."""

    entity_id: int
    starts_on: date
    ends_on: date
    id: int
    code: str
    state: str


@dataclass(slots=True)
class Relation:
    """Leave of one entity to lend people to another for a range of days, and the price list between the two."""

    provider_id: int
    receiver_id: int
    valid_from: date
    valid_to: date
    price_list: str  # its code; empty where none is agreed
    currencies: Sequence[str]  # of its rates, in order


@dataclass(slots=True)
class RateCard:
    """A set of agreed rates, with its scope and range of days."""

    id: int
    code: str
    version: int
    contract_id: int | None
    customer_id: int | None
    entity_id: int | None
    valid_from: date
    valid_to: date


@dataclass(slots=True)
class Other:
    """Another live time entry of the same person on the same day."""

    document_id: int
    source_id: int
    project_id: int | None
    hours: Decimal
    state: str
    is_billable: bool
    starts_at: datetime | None
    ends_at: datetime | None
    provenance: str
    text: str
    external_id: str


@dataclass(frozen=True, slots=True)
class Refused:
    """A time entry of the same person on the same day that another tool rejected, or whose approval it took back."""

    document_id: int
    source: Source
    status: str
    project_id: int | None
    hours: Decimal
    provenance: str
    text: str
    external_id: str


@dataclass(slots=True)
class Standing:
    """One entry that a document has on the ledger."""

    id: int
    document_id: int
    version: int
    part: int
    generation: int
    target_id: int
    reverses_id: int | None
    state: str
    fence: int
    body_hash: str
    may_stand: bool  # an earlier sending may have left something at the target
    waits_on: str
    moved_at: datetime
    hours: Decimal | None
    rate: Decimal | None
    amount: Decimal | None
    currency: str
    work_date: date
    post_on: date
    project_id: int | None
    resource_id: int | None
    task_id: int | None
    is_billable: bool
    memo: str
    category: str
    tax_code: str
    contract_id: int | None
    purchase_order_id: int | None
    customer_id: int | None
    role_id: int | None
    cost_centre_id: int | None
    period_id: int | None
    rate_used_id: int | None
    rate_version: str
    receipt_reference: str
    is_cost_only: bool
    tags: Sequence[str]
    target_keys: Mapping[str, str]
    kind: str
    entity_id: int
    source_id: int


@dataclass(slots=True)
class Draft:
    """One version of one document on its way to the ledger: the source's words, then what they mean to us.

    `hours` and `amount` are of this part of the version; parts come from splitting at a limit.
    """

    document_id: int
    source_id: int
    entity_id: int
    kind: str
    external_id: str
    version: int
    status: str
    resource_key: str
    resource_code: str
    resource_name: str
    project_key: str
    project_code: str
    project_name: str
    task_key: str
    task_code: str
    task_name: str
    work_date: date
    says_billable: bool
    says_currency: str
    description: str
    approver_key: str
    approver_code: str
    approver_name: str
    provenance: str
    says_post_on: date | None
    hours: Decimal | None
    says_rate: Decimal | None
    rate_source: str
    starts_at: datetime | None
    ends_at: datetime | None
    gross: Decimal | None
    category: str
    tax_code: str
    tax_amount: Decimal | None
    receipt_reference: str
    # which entry it is
    entry_id: int = 0
    part: int = 0
    whole_hours: Decimal | None = None  # of the version, where `hours` are of one part of it
    waiting_since: datetime | None = None
    # where it goes, and since when
    is_routed: bool = False
    owed_from: date | None = None  # its source's cut-over for its entity and kind; an earlier work date is history
    source: Source = field(init=False)  # set by facts.give_routes, for every draft
    entity: Entity = field(init=False)
    route: Route = field(init=False)  # for those that are routed
    policy: Policy = field(init=False)
    # whom and what it is about
    project: Project | None = None
    resource: Resource | None = None
    approver: Resource | None = None
    engagement: Engagement | None = None
    task: Task | None = None
    customer: Customer | None = None
    contract: Contract | None = None
    role: Role | None = None
    cost_centre: CostCentre | None = None
    purchase_order: PurchaseOrder | None = None
    period: Period | None = None
    post_on: date = FOREVER
    legs: Sequence[int] = ()  # the entity that books it, and the others whose people or projects it touches
    # what it is worth
    is_billable: bool = False
    is_cost_only: bool = False
    is_beyond: bool = False  # the hours that its retainer pays for in its month
    is_booked: bool = False  # so that it stays within or beyond them
    rate: Decimal | None = None
    rate_id: int | None = None
    rate_version: str = ""
    amount: Decimal | None = None
    currency: str = ""
    agreed: Any = None  # the pricing.Agreed that priced it, or was found in another currency
    # how it is said to the target
    memo: str = ""
    target_keys: dict[str, str] = field(default_factory=dict)
    missing_keys: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    # what else stands
    text: str = ""  # the description in one spelling, to find duplicates
    others: Sequence[Other] = ()
    refused: Sequence[Refused] = ()
    standing: Sequence[Standing] = ()
    waits_on: str = ""


def span_holds(item: Any, day: date) -> bool:
    """Whether a dated record holds on a day."""
    return bool(item.valid_from <= day <= item.valid_to)


def normal(code: str) -> str:
    """One spelling for codes and texts that people type: single blanks, small letters."""
    return " ".join(code.split()).lower()
