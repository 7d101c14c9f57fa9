"""The table of settings: every key of a policy, how it is read, what is expected, and what it means to the person who sets it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from reconciliation.policies.reading import (
    codes,
    currency,
    decimal,
    demands,
    flag,
    maybe_flag,
    one_of,
    positive,
    scopes,
    shortness,
    table,
    text,
    whole,
)
from reconciliation.policies.values import DEFAULT, KEY_DEMANDS, KEYED_KINDS, RATE_SCOPES


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


_YES_NO = "true or false"
_AMOUNT = "a number that is not negative, in quotes where it has decimals"
SETTINGS: tuple[Setting, ...] = (
    Setting(
        "rules_off", codes, "a list of rule codes", "Rules that do not run. A rule that cannot be waived stays on."
    ),
    Setting(
        "rate_tolerance",
        decimal,
        _AMOUNT,
        "By how much per hour the source's rate may differ from the agreed one, where the contract states no tolerance.",
    ),
    Setting(
        "rate_scopes",
        scopes,
        f"a list of {', '.join(RATE_SCOPES)}",
        "Which rate cards may price an hour, most exact first. A scope that is left out only gives an estimate.",
    ),
    Setting(
        "closed_period",
        one_of("hold", "next_open"),
        "hold or next_open",
        "What happens to a document whose period is closed: it waits, or it is booked on the first day of the next open "
        "period and keeps its work date.",
    ),
    Setting("post_in_closing", flag, _YES_NO, "Whether a period that is being closed still takes postings."),
    Setting("calendar_owner", text, "a name", "Who opens accounting periods; named where a period is missing."),
    Setting("hours_max", positive, "hours above zero", "The most hours that one time entry may have."),
    Setting(
        "day_hours_max", positive, "hours above zero", "The most hours of one person on one day, over all sources."
    ),
    Setting(
        "days_off",
        one_of("accept", "hold", "hold_billable"),
        "accept, hold or hold_billable",
        "What happens to work on a weekend or holiday of the calendar of the entity that employs the person: it goes, it waits "
        "for somebody's word, or only what is billed waits.",
    ),
    Setting(
        "credits_applied_by_system",
        flag,
        _YES_NO,
        "Whether it is agreed that the system that keeps bills applies a customer's credit to other bills by itself.",
    ),
    Setting("overlaps_allowed", flag, _YES_NO, "Whether intervals of one person may overlap."),
    Setting(
        "duplicates_within_source",
        flag,
        _YES_NO,
        "Whether equal entries of one source are suspected too, and not only those that two tools report.",
    ),
    Setting(
        "authoritative_sources",
        table(text),
        "a table of project code to connection code; * for the rest",
        "Which tool's word counts where one approved work that another rejected. Without one, such work waits.",
    ),
    Setting("approver_required", flag, _YES_NO, "Whether the source must say who approved."),
    Setting(
        "approver_from_chain",
        flag,
        _YES_NO,
        "Whether the approver must be in the project's approval chain, where the project has one.",
    ),
    Setting("task_required", flag, _YES_NO, "Whether every time entry needs a task, whatever its project says."),
    Setting(
        "cost_centre_required",
        maybe_flag,
        "true, false or nothing",
        "Whether an entry needs a cost centre. When nothing is said: where the entity keeps cost centres.",
    ),
    Setting(
        "cost_centre_by_role",
        table(text),
        "a table of role code to cost centre code",
        "The cost centre of a role, where neither the person's engagement nor the project names one.",
    ),
    Setting(
        "merged_customer",
        one_of("follow", "hold"),
        "follow or hold",
        "Whether work for a merged customer goes to the survivor or waits.",
    ),
    Setting(
        "target_keys",
        demands,
        f"a table of {', '.join(KEYED_KINDS)} to {', '.join(KEY_DEMANDS)}",
        "Which of our records need a key in the target's crosswalk: required; where_kept (the target has keys of that "
        "kind); optional; own_code (our code is the target's key); none (not sent). Projects and people are required, the "
        "rest is where_kept.",
    ),
    Setting(
        "items",
        table(text),
        "a table of role code or expense category to the target's item; * for the rest",
        "The service item or expense category in the target, where the crosswalk has none.",
    ),
    Setting(
        "parent_missing",
        one_of("hold", "wait"),
        "hold or wait",
        "What happens while the target does not know a project, person or task yet: a case for finance, or waiting for "
        "its arrival.",
    ),
    Setting("parent_wait_hours", positive, "hours above zero", "After how long such waiting becomes a case."),
    Setting(
        "split_at_cap",
        flag,
        _YES_NO,
        "Whether hours that pass a not-to-exceed amount or a purchase order are split, so that the part below it goes.",
    ),
    Setting("split_step", positive, "hours above zero", "The smallest part of an hour that a split makes."),
    Setting("memo_limit", whole, "a whole number", "How many characters of text the target takes."),
    Setting("memo_forbidden", text, "characters", "Characters that the target does not take; they become blanks."),
    Setting("memo_beyond_bmp", flag, _YES_NO, "Whether the target takes emoji and other characters of that range."),
    Setting("memo_required", flag, _YES_NO, "Whether a text is needed."),
    Setting("receipt_above", decimal, _AMOUNT, "Above which amount an expense needs a receipt."),
    Setting(
        "expense_limits",
        table(decimal),
        "a table of category to amount; * for the rest",
        "The most that one expense of a category may cost, in the entity's currency.",
    ),
    Setting(
        "expense_foreign_currency",
        flag,
        _YES_NO,
        "Whether a rebillable expense may be in another currency than its contract.",
    ),
    Setting(
        "tax_codes",
        table(decimal),
        "a table of tax code to per cent",
        "The tax codes of the entity and their rates. When empty, tax codes are not checked.",
    ),
    Setting("tax_tolerance", decimal, _AMOUNT, "By how much a stated tax may differ from the computed one."),
    Setting(
        "short_payment",
        table(shortness),
        'a table of reason to amount or percent, and account, as {"bank_fee": {"amount": "25", "account": "6855"}}',
        "By how much less than its total a bill may be paid to be closed by a write-off, by reason, and to which account.",
    ),
    Setting(
        "held_back",
        table(shortness),
        'a table of customer to amount or percent, and days, as {"ACME": {"percent": "5", "days": 365}}',
        "What a customer keeps back of each bill, as agreed (a retention, a tax withheld), and after how many days it is due.",
    ),
    Setting(
        "regression_days",
        whole,
        "a whole number",
        "Within how many days a cause that is back re-opens its old case instead of making a new one.",
    ),
    Setting(
        "ignore_limit",
        table(decimal),
        "a table of currency to amount; * for the rest",
        "Up to what a cause may hold for an analyst to ignore it. Above it, and in a currency that is not named, a controller "
        "must. The entity's policy counts, not the route's.",
    ),
    Setting(
        "escalate_days",
        whole,
        "a whole number",
        "How many days before its period ends a cause that nobody touches is told to the leads of its team and to the "
        "controllers. The entity's policy counts.",
    ),
    Setting(
        "escalate_idle_hours",
        whole,
        "a whole number",
        "For how many hours nobody must have touched such a cause. The entity's policy counts.",
    ),
    Setting(
        "escalate_above",
        table(decimal),
        "a table of currency to amount; * for the rest",
        "Causes that hold less are not escalated; what nobody can price is. The entity's policy counts.",
    ),
    Setting(
        "restore_remind_days",
        whole,
        "a whole number",
        "After how many days whoever was asked to restore a bill in its system is reminded. The entity's policy counts.",
    ),
    Setting(
        "restore_escalate_days",
        whole,
        "a whole number",
        "After how many days the controllers are told of a bill that is not restored yet. The entity's policy counts.",
    ),
    Setting(
        "second_person_rows",
        whole,
        "a whole number",
        "Above how many entries a fix waits for a second person. Read from the entity's policy, as the next two.",
    ),
    Setting(
        "second_person_amount",
        table(positive),
        "a table of currency to amount above zero; * for the rest",
        "Above which amount a fix waits for a second person. Shares of several currencies' limits are added; a currency "
        "that is not named takes the number under *.",
    ),
    Setting(
        "second_person_minutes",
        whole,
        "a whole number",
        "Fixes that one person confirms in one entity within so many minutes count together, of whatever kind.",
    ),
    Setting(
        "step_up_amount",
        table(positive),
        "a table of currency to amount above zero; * for the rest",
        "Above which amount whoever approves a change set signs in once more before it counts. The entity's policy counts.",
    ),
    Setting(
        "group_currency",
        currency,
        "an ISO 4217 currency in use",
        "The currency in which the causes of several currencies are compared, so that they stand in one order: at the rates "
        "of exchange_rates.csv, and for the order and its totals only. The entity's policy counts; a group gives all of its "
        "entities the same.",
    ),
    Setting(
        "match_hours",
        decimal,
        "a number of hours that is not negative, in quotes where it has decimals",
        "How many hours may be left over where items of a reconciliation are matched by hand with a reason. The entity's policy "
        "counts.",
    ),
    Setting(
        "match_amount",
        decimal,
        _AMOUNT,
        "How much money may be left over where items of a reconciliation are matched by hand with a reason. The entity's policy "
        "counts.",
    ),
    Setting(
        "balance_amount",
        decimal,
        _AMOUNT,
        "By how much the balance that a system states of a bill may differ from what is known to settle it before it is a cause, "
        "in the bill's currency. The entity's policy counts.",
    ),
)
