"""Where rates cover the same days: two currencies of one thing, rates beyond their card, and cards of which one is asked first.

The rule here: the database refuses two rates for one thing, currency and day, and two cards for one scope and day. What is
found here is allowed, and misread easily.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from portal import figures
from portal.models import Rate, RateCard
from reconciliation.rates.matrix import Span, key_of, said, span_of

SCOPES = ("contract", "customer", "entity", "default")  # in the order in which pricing asks them


@dataclass(frozen=True, slots=True)
class Overlap:
    """One thing that covers the same days as another, in words; `tone` is warn where money may go wrong, else info."""

    card: RateCard
    sentence: str
    tone: str = "info"


def scope_of(card: RateCard) -> str:
    """Whose card it is."""
    return next((name for name in SCOPES[:3] if getattr(card, f"{name}_id")), SCOPES[3])


def owner_of(card: RateCard) -> str:
    """The same in words, with the code of the contract, customer or entity."""
    scope = scope_of(card)
    return "everybody" if scope == "default" else f"{scope} {getattr(card, scope).code}"


def find(cards: Sequence[RateCard], rates: Iterable[Rate]) -> list[Overlap]:
    """What overlaps within each card, and between cards that may price the same work; what may cost money first."""
    by_card: dict[int, list[Rate]] = defaultdict(list)
    for rate in rates:
        by_card[rate.card_id].append(rate)
    found = [one for card in cards for one in (*_beyond(card, by_card[card.pk]), *_currencies(card, by_card[card.pk]))]
    found += _cards(cards)
    found.sort(key=lambda one: (one.tone != "warn", one.card.code, one.card.version))
    return found


def _beyond(card: RateCard, rates: Iterable[Rate]) -> Iterable[Overlap]:
    """Rates, or parts of their days, that the card's own days leave out."""
    whole = span_of(card)
    for rate in rates:
        span = span_of(rate)
        shared = whole.overlap(span)
        if shared == span or (rate.valid_to is None and shared is not None and shared.start == span.start):
            continue  # a rate without an end ends with its card
        _, name, note = said(rate)
        what = f"{name}, {note}" if note else name
        never = "never" if shared is None else "only within the card's days"
        yield Overlap(
            card,
            f"{what}: {figures.exact(rate.amount)} {rate.currency} is agreed {_days(span)}, and the card holds {_days(whole)}. "
            f"It prices work {never}.",
            "warn",
        )


def _currencies(card: RateCard, rates: Sequence[Rate]) -> Iterable[Overlap]:
    """The same person, role or task with rates in two currencies on the same days."""
    by_key: dict[tuple[int, int, int], list[Rate]] = defaultdict(list)
    for rate in sorted(rates, key=lambda rate: (rate.currency, rate.valid_from)):
        by_key[key_of(rate)[:3]].append(rate)
    for same in by_key.values():
        pairs = [
            (one, other, shared)
            for place, one in enumerate(same)
            for other in same[place + 1 :]
            if one.currency != other.currency and (shared := span_of(one).overlap(span_of(other))) is not None
        ]
        for one, other, shared in pairs:
            _, name, note = said(one)
            yield Overlap(
                card,
                f"{name}{f', {note}' if note else ''}: both {figures.exact(one.amount)} {one.currency} and "
                f"{figures.exact(other.amount)} {other.currency} {_days(shared)}. The currency of the contract decides.",
                "warn" if _currency_of(card) not in ("", one.currency, other.currency) else "info",
            )


def _currency_of(card: RateCard) -> str:
    """The currency that work under the card is billed in, where the card says whose it is."""
    owner = card.contract or card.customer or card.entity
    return owner.currency if owner is not None else ""


def _cards(cards: Sequence[RateCard]) -> list[Overlap]:
    """Cards of wider scope that hold on the same days as one that is asked before them."""
    wider: dict[tuple[str, int], list[RateCard]] = defaultdict(list)
    for card in cards:
        scope = scope_of(card)
        wider[scope, getattr(card, f"{scope}_id", 0) or 0].append(card)
    found = []
    for card in cards:
        if card.contract is not None:
            after = [
                *wider["customer", card.contract.customer_id], *wider["entity", card.contract.entity_id],
                *wider["default", 0],
            ]  # fmt: skip
        elif card.customer is not None:
            after = wider["default", 0]
        else:
            continue
        for other in after:
            shared = span_of(card).overlap(span_of(other))
            if shared is not None:
                found.append(
                    Overlap(
                        card,
                        f"It holds {_days(shared)} beside {other.code} v{other.version} of {owner_of(other)}, and is asked "
                        "first; the other prices only what it leaves out.",
                    )
                )
    return found


def _days(span: Span) -> str:
    """A range of days within a sentence."""
    label = span.label
    return label if label.startswith("from") else f"{'on' if span.start == span.end else 'from'} {label}"
