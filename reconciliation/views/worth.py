"""What causes hold in one figure: compared in the group's currency where one is told, else the most in one currency.

The rule here: a converted figure says that it is one, of which day and by whose word its rates are, and what is not in it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db.models.fields.json import KeyTextTransform

from portal import figures
from portal.screens import Tile
from reconciliation.cash import Rates, rates_into

GROUP = KeyTextTransform("group_currency", "entity__policy")
ORDER = "By cash at risk: amount times the days its invoice would come later"

Sums = Sequence[tuple[str, Decimal]]


@dataclass(frozen=True, slots=True)
class Worth:
    """What open causes hold per currency, priced and estimated, and the rates at which that is compared; None without."""

    priced: Sums
    guessed: Sums
    groups: tuple[str, ...]
    rates: Rates | None

    @property
    def is_converted(self) -> bool:
        """Whether one figure stands for several currencies."""
        return self.rates is not None and bool(self.rates.days)

    @property
    def without_rate(self) -> list[str]:
        """The currencies that cannot be compared."""
        held = dict.fromkeys(code for code, _ in (*self.priced, *self.guessed))
        return [code for code in held if self.rates is not None and code not in self.rates.factors]

    def tile(self, leads: Leading | None) -> Tile:
        """The amount of the queue, which is the figure of its tab in full, and what it is made of."""
        if leads is None:
            return Tile("Open amount", figures.UNKNOWN, "", "?tab=open")
        notes = []
        if self.rates is not None and self.is_converted:
            notes += [f"at {self.rates}"]
            notes += [f"and {_amount(amount, code)} without a rate" for code, amount in self.priced if self.lacks(code)]
            if guess := self.rates.sum(self.guessed):
                notes.append(f"of it ≈ {figures.number(guess, 0)} {self.rates.into} unpriced")
            notes += [f"≈ {_amount(guess, code)} unpriced" for code, guess in self.guessed if self.lacks(code)]
            total = figures.number(leads.amount, 0)
        else:
            notes += [f"and {_amount(amount, code)}" for code, amount in self.priced if code != leads.currency]
            notes += [
                f"{'of it ' if code == leads.currency else ''}≈ {_amount(guess, code)} unpriced"
                for code, guess in self.guessed
            ]
            total = figures.amount(leads.amount, leads.currency)
        about = "≈ " if leads.is_about or self.guessed else ""
        return Tile("Open amount", f"{about}{total}", leads.currency, "?tab=open", " · ".join(notes))

    def lacks(self, code: str) -> bool:
        """Whether a currency cannot be compared."""
        return code in self.without_rate

    def order(self, codes: Iterable[str]) -> str:
        """What the order of causes in these currencies compares, and what it does not."""
        apart = self.without_rate
        if self.rates is not None:
            words = f"{ORDER}, in {self.rates.into} at {self.rates}." if self.is_converted else f"{ORDER}."
            return (
                f"{words} What holds {', '.join(apart)} comes last: no rate to {self.rates.into} is kept."
                if apart
                else words
            )
        if len(self.groups) > 1:
            return f"{ORDER}; in {' and '.join(self.groups)} each by itself, as the entities' group currencies differ."
        return f"{ORDER}." if len(set(codes)) < 2 else f"{ORDER}; each currency by itself, as no group currency is set."


def worth_of(held: Iterable[Mapping[str, Any]], groups: Iterable[str]) -> Worth:
    """The worth of what is held per currency. One statement where the entities have one group currency, else none."""
    found = [(row["currency"], row["amount"], row["guess"]) for row in held]
    told = tuple(sorted(set(groups)))
    rates = rates_into(told[0], [code for code, amount, guess in found if amount or guess]) if len(told) == 1 else None
    priced = [(code, amount) for code, amount, _ in found if amount]
    return Worth(priced, [(code, guess) for code, _, guess in found if guess], told, rates)


def folded(counted: Iterable[Mapping[str, Any]], tabs: Iterable[str], kinds: Iterable[str]) -> list[dict[str, Any]]:
    """Counts of causes by all that they are in (`in_…`), added up for each tab and kind in each leading currency."""
    tabs, kinds = list(tabs), list(kinds)
    rows: dict[tuple[str, str, str], dict[str, Any]] = {}
    for part in counted:
        key = (part["held_currency"], part["compared_in"], part["group"] or "")
        row = rows.get(key)
        if row is None:
            row = dict.fromkeys((*(f"count_{tab}" for tab in tabs), *kinds, "entries"), 0)
            row |= dict.fromkeys((f"{what}_{tab}" for tab in tabs for what in ("sum", "own")), Decimal(0))
            row |= {"held_currency": key[0], "compared_in": key[1], "group": part["group"], "first_open": None}
            rows[key] = row
        for tab in tabs:
            if part[f"in_{tab}"]:
                row[f"count_{tab}"] += part["n"]
                row[f"sum_{tab}"] += part["compared"] or 0
                row[f"own_{tab}"] += part["own"] or 0
        for kind in kinds:
            row[kind] += part["n"] if part[f"in_{kind}"] else 0
        if part["in_causes"]:
            row["entries"] += part["held"] or 0
        if part["in_open"]:
            row["first_open"] = min((day for day in (row["first_open"], part["first"]) if day), default=None)
    return [rows[key] for key in sorted(rows)]


@dataclass(frozen=True, slots=True)
class Leading:
    """The one figure for what a tab holds: estimates included, in the currency that leads, and how many others stand beside."""

    currency: str
    amount: Decimal
    others: int
    is_about: bool


def leading(rows: Iterable[Mapping[str, Any]], tab: str, groups: Sequence[str]) -> Leading | None:
    """What the causes of a tab hold, in the group's currency where there is one, else in that of the most; None for nothing."""
    sums: dict[str, Decimal] = defaultdict(Decimal)
    about = False
    for row in rows:
        amount, own = row[f"sum_{tab}"] or Decimal(0), row[f"own_{tab}"] or Decimal(0)
        sums[row["compared_in"]] += amount
        about |= bool(amount) and (amount != own or row["compared_in"] != row["held_currency"])
    held = {code: amount for code, amount in sums.items() if amount}
    if not held:
        return None
    code = max(held, key=lambda one: (one in groups, held[one], one))
    return Leading(code, held[code], len(held) - 1, about)


def in_one(found: Leading | None, *, guess: bool) -> str:
    """What the causes of a tab hold: one figure in short, and how many currencies are not in it."""
    if found is None:
        return ""
    more = f" +{found.others}" if found.others else ""
    return f"{'≈ ' if found.is_about or guess else ''}{figures.short(found.amount)} {found.currency}{more}"


def _amount(amount: Decimal, code: str) -> str:
    return f"{figures.amount(amount, code)} {code}"
