"""What a rule is: a plain function of one draft and the batch's facts, with what finance needs to know about it.

The rule here: nothing registers itself. A rule runs because it stands in `reconciliation.rules.RULES`; a cause that something
else finds (a target's refusal, a comparison, a connection) is described the same way and has no check.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from portal.models import State
from reconciliation.facts.records import Draft
from reconciliation.facts.tables import Facts

BOTH = frozenset({"time", "expense"})
TIME = frozenset({"time"})
EXPENSE = frozenset({"expense"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Why one entry may not go: the sentence about it, and the cause that it shares with others.

    `sentence` names the value, the expectation and the way out. Entries with the same rule, entity, subject type and subject
    key are one case, whose sentence is `cause`. `detail` holds what the fixes need (ids, codes, values).
    """

    sentence: str
    subject_key: str
    cause: str
    subject_type: str = ""  # the rule's when empty
    detail: Mapping[str, Any] = field(default_factory=dict)
    connection_id: int | None = None


Check = Callable[[Draft, Facts], Finding | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A rule, or a cause found elsewhere: its stable code, what finance reads, and the ways out.

    `remedies` are codes of fixes in the order in which they are offered, and `leaves` the states in which entries stand that
    wait for one (none where the cause holds no entries); a test walks over both. What is not `waivable` would book twice,
    book what nobody approved, or cannot be booked at all. `cases` are the numbers of docs/cases.md that it answers.
    """

    code: str
    title: str
    subject: str
    waivable: bool
    remedies: tuple[str, ...]
    cases: tuple[int, ...]
    kinds: frozenset[str] = BOTH
    can_be_off: bool = True
    leaves: frozenset[State] = frozenset({State.HELD})
    check: Check | None = None

    def __call__(self, entry: Draft, facts: Facts) -> Finding | None:
        """Ask the rule about one entry."""
        return self.check(entry, facts) if self.check is not None else None


def rule(
    code: str,
    *,
    title: str,
    subject: str,
    remedies: tuple[str, ...],
    cases: tuple[int, ...] = (),
    waivable: bool = True,
    can_be_off: bool | None = None,
    kinds: frozenset[str] = BOTH,
    leaves: frozenset[State] = frozenset({State.HELD}),
) -> Callable[[Check], Rule]:
    """Make a rule of a function. A rule that cannot be waived cannot be turned off either, unless it says so."""

    def describe(check: Check) -> Rule:
        return Rule(
            code=code,
            title=title,
            subject=subject,
            waivable=waivable,
            remedies=remedies,
            cases=cases,
            kinds=kinds,
            can_be_off=waivable if can_be_off is None else can_be_off,
            leaves=leaves,
            check=check,
        )

    return describe


def who(entry: Draft) -> str:
    """The person as people say it."""
    if entry.resource is not None:
        return entry.resource.name
    return entry.resource_name or entry.resource_code or entry.resource_key or "nobody"


def said(code: str, key: str, name: str) -> str:
    """What the source calls something: its code, else its name, else its key."""
    return code or name or key
