"""What a system says of master data, what one is told of it, and what it holds then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar

from portal.records.documents import NOTHING, CanonicalRecord, Reference


class MasterKind(StrEnum):
    """Master data that a system can own."""

    ENTITY = "entity"
    PERIOD = "period"
    COST_CENTRE = "cost_centre"
    CUSTOMER = "customer"
    PROJECT = "project"
    TASK = "task"
    RESOURCE = "resource"


@dataclass(frozen=True, slots=True, kw_only=True)
class MasterRecord(CanonicalRecord):
    """One master record as its owner system states it.

    `attributes` uses our field names (see docs/connectors/adding.md for the names of each kind); unknown ones are refused.
    """

    kind: MasterKind
    code: str
    name: str
    parent: Reference = NOTHING
    is_active: bool = True
    deleted: bool = False
    attributes: Mapping[str, Any] = field(default_factory=dict)


class PublishedKind(StrEnum):
    """What other systems are told: master data, and how bills and payments stand; each kind after those that it names."""

    CUSTOMER = "customer"
    PROJECT = "project"
    TASK = "task"
    ASSIGNMENT = "assignment"  # a person on a project
    CONTRACT = "contract"  # the terms of its contract on a project
    RATE = "rate"  # the agreed rate of a person on a project
    INVOICE = "invoice"  # how a bill stands in the system that keeps it
    PAYMENT = "payment"  # how a payment or a write-off stands, and what it settles


# What is said of each kind; a system takes some of it, and says why it does not take the rest.
FIGURES: Mapping[PublishedKind, frozenset[str]] = {
    PublishedKind.CUSTOMER: frozenset({"code", "name", "currency", "is_active"}),
    PublishedKind.PROJECT: frozenset({"code", "name", "billing_model", "is_active"}),
    PublishedKind.TASK: frozenset({"code", "name", "is_billable", "is_active"}),
    PublishedKind.ASSIGNMENT: frozenset({"is_active", "is_approver"}),
    PublishedKind.CONTRACT: frozenset({"code", "currency", "cap_amount", "starts_on", "ends_on"}),
    PublishedKind.RATE: frozenset({"amount", "currency", "valid_from", "agreed_in"}),
    PublishedKind.INVOICE: frozenset(
        {
            "number", "kind", "status", "currency", "net", "total", "balance", "booked_on", "due_on", "paid_on", "projects",
            "booked_in",
        }
    ),
    PublishedKind.PAYMENT: frozenset(
        {"number", "kind", "status", "currency", "amount", "settles", "booked_on", "booked_in"}
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """One version of a record addressed to one system: what it is to hold, in our words.

    `key` is the idempotency key of this version; `record` is our own name of the record, such as `invoice:17`, the same in every
    version. `number` is the system's own key of the record; where it is empty the record is made there, and must not be made
    twice. `names` are the system's keys of what the record names, by kind (a payment names several bills, each as
    `invoice:17`). `figures` are as JSON takes them: dates in ISO 8601, decimals as text, None for what is empty.
    """

    reverses: ClassVar[str] = ""  # a version is followed by the next one, never taken back

    key: str
    kind: PublishedKind
    version: int
    record: str = ""
    entity: str = ""
    number: str = ""
    names: Mapping[str, str] = field(default_factory=dict)
    figures: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a system holds of a master record, in our words; a figure that it does not state is left out."""

    number: str
    names: Mapping[str, str] = field(default_factory=dict)
    figures: Mapping[str, Any] = field(default_factory=dict)
