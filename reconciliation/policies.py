"""Policies: the rule settings of an entity, refined by a route. Every key, its default and its meaning stand in one table.

The rule here: what differs between entities, countries and targets is a value in this table and never a branch in a rule.
A value is checked when it is configured (`problems`) and read as a typed `Policy` when a batch is validated (`merged`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

from portal.importing import cells

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
    second_person_rows: int = 1000
    second_person_amount: Mapping[str, Decimal] = field(default_factory=lambda: {"*": Decimal(250_000)})
    second_person_minutes: int = 60
    step_up_amount: Mapping[str, Decimal] = field(default_factory=lambda: {"*": Decimal(250_000)})
    group_currency: str = ""
    match_hours: Decimal = Decimal("0.05")
    match_amount: Decimal = Decimal(1)


@dataclass(frozen=True, slots=True)
class Setting:
    """One key of a policy: how its value is read, and what it means to the person who sets it."""

    key: str
    read: Callable[[Any], Any]
    expects: str
    help: str

    @property
    def default(self) -> Any:
        """The value that holds when nobody sets the key."""
        return getattr(DEFAULT, self.key)


def _decimal(value: Any) -> Decimal:
    if isinstance(value, bool | float):
        raise ValueError(value)  # noqa: TRY004 -- one error for whatever is wrong with a setting
    number = Decimal(str(value))
    if not number.is_finite() or number < 0:
        raise ValueError(value)
    return number


def _positive(value: Any) -> Decimal:
    number = _decimal(value)
    if not number:
        raise ValueError(value)
    return number


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(value)  # noqa: TRY004 -- one error for whatever is wrong with a setting
    return value


def _maybe_flag(value: Any) -> bool | None:
    return None if value is None else _flag(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(value)  # noqa: TRY004 -- one error for whatever is wrong with a setting
    return value


def _currency(value: Any) -> str:
    if value and value not in cells.currencies():
        raise ValueError(value)
    return _text(value)


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(value)
    return value


def _one_of(*words: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if value not in words:
            raise ValueError(value)
        return str(value)

    return read


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise ValueError(value)  # noqa: TRY004 -- one error for whatever is wrong with a setting
    return tuple(_text(item) for item in value)


def _codes(value: Any) -> frozenset[str]:
    return frozenset(_texts(value))


def _scopes(value: Any) -> tuple[str, ...]:
    scopes = _texts(value)
    if not scopes or set(scopes) - set(RATE_SCOPES):
        raise ValueError(value)
    return scopes


def _table(read: Callable[[Any], Any]) -> Callable[[Any], dict[str, Any]]:
    def read_table(value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise ValueError(value)  # noqa: TRY004 -- one error for whatever is wrong with a setting
        return {_text(key): read(item) for key, item in value.items()}

    return read_table


def _shortness(value: Any) -> Shortness:
    if not isinstance(value, Mapping) or set(value) - {"amount", "percent", "account", "days"}:
        raise ValueError(value)
    if not ("amount" in value) ^ ("percent" in value):
        raise ValueError(value)
    return Shortness(
        amount=_decimal(value.get("amount", 0)), percent=_decimal(value.get("percent", 0)),
        account=_text(value.get("account", "")), days=_whole(value["days"]) if "days" in value else 0,
    )  # fmt: skip


def _demands(value: Any) -> dict[str, str]:
    demands: dict[str, str] = _table(_one_of(*KEY_DEMANDS))(value)
    if set(demands) - set(KEYED_KINDS):
        raise ValueError(value)
    return demands


DEFAULT = Policy()

_YES_NO = "true or false"
_AMOUNT = "a number that is not negative, in quotes where it has decimals"
SETTINGS: tuple[Setting, ...] = (
    Setting(
        "rules_off", _codes, "a list of rule codes", "Rules that do not run. A rule that cannot be waived stays on."
    ),
    Setting(
        "rate_tolerance",
        _decimal,
        _AMOUNT,
        "By how much per hour the source's rate may differ from the agreed one, where the contract states no tolerance.",
    ),
    Setting(
        "rate_scopes",
        _scopes,
        f"a list of {', '.join(RATE_SCOPES)}",
        "Which rate cards may price an hour, most exact first. A scope that is left out only gives an estimate.",
    ),
    Setting(
        "closed_period",
        _one_of("hold", "next_open"),
        "hold or next_open",
        "What happens to a document whose period is closed: it waits, or it is booked on the first day of the next open "
        "period and keeps its work date.",
    ),
    Setting("post_in_closing", _flag, _YES_NO, "Whether a period that is being closed still takes postings."),
    Setting("calendar_owner", _text, "a name", "Who opens accounting periods; named where a period is missing."),
    Setting("hours_max", _positive, "hours above zero", "The most hours that one time entry may have."),
    Setting(
        "day_hours_max", _positive, "hours above zero", "The most hours of one person on one day, over all sources."
    ),
    Setting(
        "days_off",
        _one_of("accept", "hold", "hold_billable"),
        "accept, hold or hold_billable",
        "What happens to work on a weekend or holiday of the calendar of the entity that employs the person: it goes, it waits "
        "for somebody's word, or only what is billed waits.",
    ),
    Setting(
        "credits_applied_by_system",
        _flag,
        _YES_NO,
        "Whether it is agreed that the system that keeps bills applies a customer's credit to other bills by itself.",
    ),
    Setting("overlaps_allowed", _flag, _YES_NO, "Whether intervals of one person may overlap."),
    Setting(
        "duplicates_within_source",
        _flag,
        _YES_NO,
        "Whether equal entries of one source are suspected too, and not only those that two tools report.",
    ),
    Setting(
        "authoritative_sources",
        _table(_text),
        "a table of project code to connection code; * for the rest",
        "Which tool's word counts where one approved work that another rejected. Without one, such work waits.",
    ),
    Setting("approver_required", _flag, _YES_NO, "Whether the source must say who approved."),
    Setting(
        "approver_from_chain",
        _flag,
        _YES_NO,
        "Whether the approver must be in the project's approval chain, where the project has one.",
    ),
    Setting("task_required", _flag, _YES_NO, "Whether every time entry needs a task, whatever its project says."),
    Setting(
        "cost_centre_required",
        _maybe_flag,
        "true, false or nothing",
        "Whether an entry needs a cost centre. When nothing is said: where the entity keeps cost centres.",
    ),
    Setting(
        "cost_centre_by_role",
        _table(_text),
        "a table of role code to cost centre code",
        "The cost centre of a role, where neither the person's engagement nor the project names one.",
    ),
    Setting(
        "merged_customer",
        _one_of("follow", "hold"),
        "follow or hold",
        "Whether work for a merged customer goes to the survivor or waits.",
    ),
    Setting(
        "target_keys",
        _demands,
        f"a table of {', '.join(KEYED_KINDS)} to {', '.join(KEY_DEMANDS)}",
        "Which of our records need a key in the target's crosswalk: required; where_kept (the target has keys of that "
        "kind); optional; own_code (our code is the target's key); none (not sent). Projects and people are required, the "
        "rest is where_kept.",
    ),
    Setting(
        "items",
        _table(_text),
        "a table of role code or expense category to the target's item; * for the rest",
        "The service item or expense category in the target, where the crosswalk has none.",
    ),
    Setting(
        "parent_missing",
        _one_of("hold", "wait"),
        "hold or wait",
        "What happens while the target does not know a project, person or task yet: a case for finance, or waiting for "
        "its arrival.",
    ),
    Setting("parent_wait_hours", _positive, "hours above zero", "After how long such waiting becomes a case."),
    Setting(
        "split_at_cap",
        _flag,
        _YES_NO,
        "Whether hours that pass a not-to-exceed amount or a purchase order are split, so that the part below it goes.",
    ),
    Setting("split_step", _positive, "hours above zero", "The smallest part of an hour that a split makes."),
    Setting("memo_limit", _whole, "a whole number", "How many characters of text the target takes."),
    Setting("memo_forbidden", _text, "characters", "Characters that the target does not take; they become blanks."),
    Setting("memo_beyond_bmp", _flag, _YES_NO, "Whether the target takes emoji and other characters of that range."),
    Setting("memo_required", _flag, _YES_NO, "Whether a text is needed."),
    Setting("receipt_above", _decimal, _AMOUNT, "Above which amount an expense needs a receipt."),
    Setting(
        "expense_limits",
        _table(_decimal),
        "a table of category to amount; * for the rest",
        "The most that one expense of a category may cost, in the entity's currency.",
    ),
    Setting(
        "expense_foreign_currency",
        _flag,
        _YES_NO,
        "Whether a rebillable expense may be in another currency than its contract.",
    ),
    Setting(
        "tax_codes",
        _table(_decimal),
        "a table of tax code to per cent",
        "The tax codes of the entity and their rates. When empty, tax codes are not checked.",
    ),
    Setting("tax_tolerance", _decimal, _AMOUNT, "By how much a stated tax may differ from the computed one."),
    Setting(
        "short_payment",
        _table(_shortness),
        'a table of reason to amount or percent, and account, as {"bank_fee": {"amount": "25", "account": "6855"}}',
        "By how much less than its total a bill may be paid to be closed by a write-off, by reason, and to which account.",
    ),
    Setting(
        "held_back",
        _table(_shortness),
        'a table of customer to amount or percent, and days, as {"ACME": {"percent": "5", "days": 365}}',
        "What a customer keeps back of each bill, as agreed (a retention, a tax withheld), and after how many days it is due.",
    ),
    Setting(
        "regression_days",
        _whole,
        "a whole number",
        "Within how many days a cause that is back re-opens its old case instead of making a new one.",
    ),
    Setting(
        "ignore_limit",
        _table(_decimal),
        "a table of currency to amount; * for the rest",
        "Up to what a cause may hold for an analyst to ignore it. Above it, and in a currency that is not named, a controller "
        "must. The entity's policy counts, not the route's.",
    ),
    Setting(
        "escalate_days",
        _whole,
        "a whole number",
        "How many days before its period ends a cause that nobody touches is told to the leads of its team and to the "
        "controllers. The entity's policy counts.",
    ),
    Setting(
        "escalate_idle_hours",
        _whole,
        "a whole number",
        "For how many hours nobody must have touched such a cause. The entity's policy counts.",
    ),
    Setting(
        "escalate_above",
        _table(_decimal),
        "a table of currency to amount; * for the rest",
        "Causes that hold less are not escalated; what nobody can price is. The entity's policy counts.",
    ),
    Setting(
        "second_person_rows",
        _whole,
        "a whole number",
        "Above how many entries a fix waits for a second person. Read from the entity's policy, as the next two.",
    ),
    Setting(
        "second_person_amount",
        _table(_positive),
        "a table of currency to amount above zero; * for the rest",
        "Above which amount a fix waits for a second person. Shares of several currencies' limits are added; a currency "
        "that is not named takes the number under *.",
    ),
    Setting(
        "second_person_minutes",
        _whole,
        "a whole number",
        "Fixes that one person confirms in one entity within so many minutes count together, of whatever kind.",
    ),
    Setting(
        "step_up_amount",
        _table(_positive),
        "a table of currency to amount above zero; * for the rest",
        "Above which amount whoever approves a change set signs in once more before it counts. The entity's policy counts.",
    ),
    Setting(
        "group_currency",
        _currency,
        "an ISO 4217 currency in use",
        "The currency in which the causes of several currencies are compared, so that they stand in one order: at the rates "
        "of exchange_rates.csv, and for the order and its totals only. The entity's policy counts; a group gives all of its "
        "entities the same.",
    ),
    Setting(
        "match_hours",
        _decimal,
        "a number of hours that is not negative, in quotes where it has decimals",
        "How many hours may be left over where items of a reconciliation are matched by hand with a reason. The entity's policy "
        "counts.",
    ),
    Setting(
        "match_amount",
        _decimal,
        _AMOUNT,
        "How much money may be left over where items of a reconciliation are matched by hand with a reason. The entity's policy "
        "counts.",
    ),
)
_BY_KEY = {setting.key: setting for setting in SETTINGS}


def problems(values: Mapping[str, Any], *, standing: frozenset[str] = frozenset()) -> list[str]:
    """What is wrong with the settings that somebody wants to make, one sentence each; empty when nothing is.

    `standing` are the rule codes that may not be turned off (`reconciliation.rules.STANDING`).
    """
    found = []
    for key, value in values.items():
        setting = _BY_KEY.get(key)
        if setting is None:
            found.append(f"Policy “{key}” is not known; the keys are {', '.join(sorted(_BY_KEY))}.")
            continue
        try:
            setting.read(value)
        except (ValueError, InvalidOperation):
            found.append(f"Policy “{key}” is {value!r}; it must be {setting.expects}.")
    try:
        refused = _codes(values.get("rules_off", [])) & standing
    except ValueError:
        refused = frozenset()
    found.extend(
        f"Rule “{code}” cannot be turned off: it keeps money from being booked twice." for code in sorted(refused)
    )
    return found


def merged(*layers: Mapping[str, Any]) -> Policy:
    """The policy that holds where each layer refines the one before it: target, entity, route.

    Tables are refined key by key; everything else is replaced. Raises ValueError naming what is misconfigured.
    """
    values: dict[str, Any] = {}
    for layer in layers:
        wrong = problems(layer)
        if wrong:
            raise ValueError(" ".join(wrong))
        for key, value in layer.items():
            if isinstance(value, Mapping):
                values[key] = {**values.get(key, {}), **value}
            else:
                values[key] = value
    return Policy(**{key: _BY_KEY[key].read(value) for key, value in values.items()})


def of_target(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a target connection's own settings say of texts and keys; the first layer of a policy."""
    return {key: settings[key] for key in _OF_TARGET if key in settings}


_OF_TARGET = ("memo_limit", "memo_forbidden", "memo_beyond_bmp", "target_keys", "items", "task_required")
