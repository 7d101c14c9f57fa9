"""What a policy holds: every setting as the rules read it, with the value that holds when nobody sets it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

KEY_DEMANDS = ("required", "where_kept", "optional", "own_code", "none")
RATE_SCOPES = ("contract", "customer", "entity", "default")
KEYED_KINDS = ("entity", "project", "task", "resource", "cost_centre", "item")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortness:
    """By how much less a bill may be paid: an amount in the bill's currency or per cent of its total, whichever is told.

    `account` is where it is written off; `days` after the bill's date it is due back, where it is.
    """

    amount: Decimal = Decimal(0)
    percent: Decimal = Decimal(0)
    account: str = ""
    days: int = 0

    def of(self, total: Decimal) -> Decimal:
        """What it comes to of a total, not rounded."""
        return self.amount or total * self.percent / 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What holds for the documents of one route. The fields are the keys of `SETTINGS`, with the same defaults."""

    rules_off: frozenset[str] = frozenset()
    rate_tolerance: Decimal = Decimal(0)
    rate_scopes: tuple[str, ...] = RATE_SCOPES
    closed_period: str = "hold"
    post_in_closing: bool = True
    calendar_owner: str = ""
    hours_max: Decimal = Decimal(24)
    day_hours_max: Decimal = Decimal(24)
    days_off: str = "accept"
    overlaps_allowed: bool = False
    credits_applied_by_system: bool = False
    duplicates_within_source: bool = False
    authoritative_sources: Mapping[str, str] = field(default_factory=dict)
    approver_required: bool = False
    approver_from_chain: bool = True
    task_required: bool = False
    cost_centre_required: bool | None = None
    cost_centre_by_role: Mapping[str, str] = field(default_factory=dict)
    merged_customer: str = "follow"
    target_keys: Mapping[str, str] = field(default_factory=dict)
    items: Mapping[str, str] = field(default_factory=dict)
    parent_missing: str = "hold"
    parent_wait_hours: Decimal = Decimal(24)
    split_at_cap: bool = True
    split_step: Decimal = Decimal("0.01")
    memo_limit: int = 4000
    memo_forbidden: str = ""
    memo_beyond_bmp: bool = True
    memo_required: bool = False
    receipt_above: Decimal = Decimal(0)
    expense_limits: Mapping[str, Decimal] = field(default_factory=dict)
    expense_foreign_currency: bool = False
    tax_codes: Mapping[str, Decimal] = field(default_factory=dict)
    tax_tolerance: Decimal = Decimal("0.02")
    short_payment: Mapping[str, Shortness] = field(default_factory=dict)
    held_back: Mapping[str, Shortness] = field(default_factory=dict)
    regression_days: int = 30
    ignore_limit: Mapping[str, Decimal] = field(default_factory=lambda: {"*": Decimal(10000)})
    escalate_days: int = 3
    escalate_idle_hours: int = 24
    escalate_above: Mapping[str, Decimal] = field(default_factory=dict)
    restore_remind_days: int = 3
    restore_escalate_days: int = 7
    second_person_rows: int = 1000
    second_person_amount: Mapping[str, Decimal] = field(default_factory=lambda: {"*": Decimal(250_000)})
    second_person_minutes: int = 60
    step_up_amount: Mapping[str, Decimal] = field(default_factory=lambda: {"*": Decimal(250_000)})
    group_currency: str = ""
    match_hours: Decimal = Decimal("0.05")
    match_amount: Decimal = Decimal(1)
    balance_amount: Decimal = Decimal("0.05")


DEFAULT = Policy()
