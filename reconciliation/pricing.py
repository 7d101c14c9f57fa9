"""Pricing: which agreed rate an hour has, and what the hours are worth.

The rule here: the most exact agreement wins (contract, customer, entity, everybody; within a card a person's rate before a
role's, with the task before without), as of the work date. A missing rate is never zero: hours without one have no amount.
Hours that are not billed by the hour (fixed fee, retainer, milestone, or not billable) have neither rate nor amount and are
cost only; readers say so instead of showing a zero. Those beyond what a retainer pays for in a month are billed at the rate card
where its contract says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from typing import Any

from portal import figures
from portal.money import is_currency, round_money
from reconciliation.facts.records import FOREVER, Contract, Draft, RateCard
from reconciliation.facts.tables import Facts, RateKey
from reconciliation.policies import RATE_SCOPES

BY_THE_HOUR = "time_and_material"
ZERO_BY_CONTRACT = "zero-by-contract"
RETAINER, HOURLY, BEYOND = "retainer", "hourly", "beyond-retainer"
FINE = Decimal("0.0001")  # what the ledger keeps
DEFAULT_DAY = Decimal(8)
ONE_HOUR = Decimal(1)


@dataclass(slots=True)
class Agreed:
    """One agreed rate: per hour, with the card and the unit it was agreed in."""

    rate_id: int
    scope: str
    card: RateCard
    hourly: Decimal
    currency: str
    unit: str
    agreed_amount: Decimal  # per unit
    hours_per_unit: Decimal
    level: RateKey  # what the rate hangs on
    valid_from: date
    valid_to: date

    @property
    def match(self) -> str:
        """What the rate hangs on, in words, as “person and task”."""
        return (
            " and ".join(word for word, part in zip(("person", "role", "task"), self.level, strict=True) if part)
            or "everybody"
        )

    @property
    def version(self) -> str:
        """What the ledger names: the card, its version, and the factor of a daily rate."""
        label = f"{self.card.code} v{self.card.version}"
        return label if self.unit == "hour" else f"{label} ({figure(self.hours_per_unit)} h a day)"


@dataclass(slots=True)
class Candidate:
    """One rate that could have priced an hour, and why it did or did not."""

    agreed: Agreed
    wins: bool
    reason: str


def figure(value: Decimal) -> str:
    """A number as people write it: at least two decimals where it has any, no empty ones."""
    text = f"{value.normalize():f}"
    whole, _, decimals = text.partition(".")
    return f"{whole}.{decimals:0<2}" if decimals else f"{whole}.00"


def _levels(person: int | None, role: int | None, task: int | None) -> list[RateKey]:
    """What a rate may hang on, most exact first: a person before a role, with the task before without."""
    levels: list[RateKey] = []
    for who in (person, None) if person else (None,):
        for what in (role, None) if role else (None,):
            if task:
                levels.append((who, what, task))
            levels.append((who, what, None))
    return levels


def levels_of(draft: Draft) -> list[RateKey]:
    """What the rates of a draft may hang on, most exact first."""
    return _levels(
        draft.resource.id if draft.resource is not None else None,
        draft.role.id if draft.role is not None else None,
        draft.task.id if draft.task is not None else None,
    )


def _scopes(draft: Draft) -> Iterator[tuple[str, int]]:
    """Whose cards may price the draft, most exact first."""
    if draft.contract is not None:
        yield "contract", draft.contract.id
    if draft.customer is not None:
        yield "customer", draft.customer.id
    if draft.project is not None and draft.project.customer_id != (draft.customer.id if draft.customer else 0):
        yield "customer", draft.project.customer_id  # the customer before it was merged
    if draft.project is not None:
        yield "entity", draft.project.entity_id
    yield "default", 0


def candidates(draft: Draft, facts: Facts) -> Iterator[Agreed]:
    """Every rate that holds on the work date for this person, role and task, the one that wins in its card first."""
    day = draft.work_date
    currency = agreed_currency(draft)
    levels = levels_of(draft)
    for scope, scope_id in _scopes(draft):
        card = facts.card_on(scope, scope_id, day)
        by_level = facts.rates.get(card.id) if card is not None else None
        if card is None or by_level is None:
            continue
        foreign = []
        for level in levels:
            for row in by_level.get(level, ()):
                if not row[0] <= day <= row[1]:
                    continue
                agreed = _agreed(draft, scope, card, level, row)
                if agreed.currency == currency:
                    yield agreed
                else:
                    foreign.append(agreed)
        yield from foreign


def card_of(draft: Draft, facts: Facts) -> RateCard | None:
    """The most exact card that holds on the work date, whether or not it has a rate for the draft."""
    held = (facts.card_on(scope, scope_id, draft.work_date) for scope, scope_id in _scopes(draft))
    return next((card for card in held if card is not None), None)


@dataclass(slots=True)
class Missed:
    """One rate that would have fitted but for the day, and why it was not asked."""

    agreed: Agreed
    reason: str


def missed(draft: Draft, facts: Facts) -> Iterator[Missed]:
    """Rates of the same scopes, person, role and task that do not hold on the work date, by card, and why not."""
    day = draft.work_date
    levels = levels_of(draft)
    for scope, scope_id in _scopes(draft):
        for card in facts.cards.get((scope, scope_id), ()):
            for level in levels:
                for row in facts.rates.get(card.id, {}).get(level, ()):
                    agreed = _agreed(draft, scope, card, level, row)
                    if not card.valid_from <= day <= card.valid_to:
                        yield Missed(
                            agreed, f"Card {card.code} v{card.version} {_holds(card.valid_from, card.valid_to)}."
                        )
                    elif not agreed.valid_from <= day <= agreed.valid_to:
                        yield Missed(agreed, f"The rate {_holds(agreed.valid_from, agreed.valid_to)}.")


def _holds(start: date, end: date) -> str:
    first = figures.day(start)
    return f"holds from {first} on" if end == FOREVER else f"holds from {first} to {figures.day(end)}"


def _agreed(draft: Draft, scope: str, card: RateCard, level: RateKey, row: list[Any]) -> Agreed:
    """A rate as agreed, per hour whatever its unit."""
    start, end, rate_id, amount, currency, unit = row
    hours = ONE_HOUR
    hourly = amount
    if unit == "day":
        hours = draft.contract.hours_per_day if draft.contract is not None else DEFAULT_DAY
        hourly = (amount / hours).quantize(FINE, ROUND_HALF_UP)
    return Agreed(rate_id, scope, card, hourly, currency, unit, amount, hours, level, start, end)


def find(draft: Draft, facts: Facts) -> Agreed | None:
    """The agreed rate of a draft; the contract's currency first within a card. None when nothing was agreed."""
    allowed = draft.policy.rate_scopes
    for agreed in candidates(draft, facts):
        if allowed is RATE_SCOPES or agreed.scope in allowed:
            return agreed
    return None


def agreed_currency(draft: Draft) -> str:
    """The currency in which the draft's hours are billed: the contract's, else the customer's, else the entity's."""
    if draft.contract is not None:
        return draft.contract.currency
    if draft.customer is not None:
        return draft.customer.currency
    return draft.entity.currency


def billing_model(draft: Draft) -> str:
    """How the draft's project is billed: its own word before its contract's."""
    if draft.project is not None and draft.project.billing_model:
        return draft.project.billing_model
    return draft.contract.billing_model if draft.contract is not None else BY_THE_HOUR


def draws(draft: Draft) -> bool:
    """Whether a draft's hours draw on a retainer that pays for so many hours a month."""
    return (
        draft.kind == "time"
        and draft.contract is not None
        and draft.contract.retainer_hours is not None
        and billing_model(draft) == RETAINER
        and _is_chargeable(draft)
    )


def _is_chargeable(draft: Draft) -> bool:
    return draft.says_billable and (draft.task is None or draft.task.is_billable)


def price(draft: Draft, facts: Facts) -> None:
    """Set whether a draft is billed, its rate, its amount and their currency. What has no rate gets no amount."""
    if draft.kind == "expense":
        draft.is_billable = draft.says_billable
        draft.is_cost_only = not draft.says_billable
        draft.amount, draft.currency = draft.gross, draft.says_currency
        return
    draft.currency = agreed_currency(draft)
    draft.is_beyond = draft.is_beyond and draws(draft)
    draft.tags = [tag for tag in draft.tags if tag != BEYOND] + ([BEYOND] if draft.is_beyond else [])
    by_the_hour = (
        draft.contract.overage == HOURLY if draft.is_beyond and draft.contract else billing_model(draft) == BY_THE_HOUR
    )
    draft.is_billable = by_the_hour and _is_chargeable(draft)
    draft.is_cost_only = not draft.is_billable
    if not draft.is_billable or draft.project is None:
        return
    draft.agreed = agreed = find(draft, facts)
    if draft.rate_source == "source" and draft.says_rate is not None:
        draft.rate, draft.rate_version = draft.says_rate, "source"
        if draft.says_currency in ("", draft.currency):
            draft.amount = worth(draft, draft.hours, draft.says_rate, Decimal(1))
        return
    if agreed is None or agreed.currency != draft.currency:
        return
    draft.rate, draft.rate_id, draft.rate_version = agreed.hourly, agreed.rate_id, agreed.version
    if not agreed.hourly:
        draft.tags.append(ZERO_BY_CONTRACT)
    draft.amount = worth(draft, draft.hours, agreed.agreed_amount, agreed.hours_per_unit)


def worth(draft: Draft, hours: Decimal | None, per_unit: Decimal, hours_per_unit: Decimal) -> Decimal | None:
    """Hours times rate, rounded once: to the cent where the contract rounds per entry, else as finely as the ledger keeps."""
    if hours is None or not is_currency(draft.currency):
        return None
    exact = hours * per_unit if hours_per_unit == 1 else hours * per_unit / hours_per_unit
    if draft.contract is None or draft.contract.rounding == "entry":
        return round_money(exact, draft.currency)
    return exact.quantize(FINE, ROUND_HALF_UP)


def reprice(draft: Draft, hours: Decimal) -> Decimal | None:
    """What another number of hours of the same draft would be worth."""
    if draft.rate is None:
        return None
    agreed: Agreed | None = draft.agreed
    if draft.rate_version == "source" or agreed is None:
        return worth(draft, hours, draft.rate, Decimal(1))
    return worth(draft, hours, agreed.agreed_amount, agreed.hours_per_unit)


def hours_within(draft: Draft, limit: Decimal) -> Decimal:
    """The most hours of a draft, in the policy's steps, whose amount stays within a limit."""
    if draft.rate is None or draft.rate <= 0 or limit <= 0 or draft.hours is None:
        return Decimal(0)
    step = draft.policy.split_step
    steps = (limit / draft.rate / step).quantize(Decimal(1), ROUND_DOWN)
    hours = min(steps * step, draft.hours)
    while hours > 0 and (reprice(draft, hours) or Decimal(0)) > limit:
        hours -= step
    return max(hours, Decimal(0))


def tolerance(draft: Draft) -> Decimal:
    """By how much per hour the source may differ from the agreed rate: the contract's word, else the policy's."""
    contract: Contract | None = draft.contract
    if contract is not None and contract.rate_tolerance:
        return contract.rate_tolerance
    return draft.policy.rate_tolerance


def estimate(draft: Draft, facts: Facts) -> tuple[Decimal, str] | None:
    """What hours without an agreed rate are worth at best guess, and whence: list price, else the source's own rate.

    Only for showing cash at risk, marked as an estimate; never booked.
    """
    if draft.hours is None:
        return None
    for agreed in candidates(draft, facts):
        if agreed.currency == draft.currency:
            value = worth(draft, draft.hours, agreed.agreed_amount, agreed.hours_per_unit)
            if value is not None:
                return value, f"list price of {agreed.version}"
    if draft.says_rate and draft.says_currency in ("", draft.currency):
        value = worth(draft, draft.hours, draft.says_rate, Decimal(1))
        if value is not None:
            return value, "the source's rate"
    return None


def explain(draft: Draft, facts: Facts) -> list[Candidate]:
    """Every candidate for a draft in the order in which they are asked, and which of them priced it."""
    winner = find(draft, facts)
    wanted = agreed_currency(draft)
    listed = []
    for agreed in candidates(draft, facts):
        wins = winner is not None and agreed.rate_id == winner.rate_id
        if wins:
            reason = "It is the most exact rate that holds on the day."
        elif agreed.scope not in draft.policy.rate_scopes:
            reason = f"The policy does not let {agreed.scope} cards price hours."
        elif agreed.currency != wanted:
            reason = f"It is in {agreed.currency}; the hours are billed in {wanted}."
        else:
            reason = f"A more exact rate was found first ({winner.scope}, {winner.match})." if winner else ""
        listed.append(Candidate(agreed, wins, reason))
    return listed
