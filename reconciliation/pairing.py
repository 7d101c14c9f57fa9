"""Matching what differs by sense instead of by number: by rules that suggest or match, and by hand, until nothing is left over.

A payment comes in another month than its invoice, so items of the fourth leg are matched over the periods of an entity.

The rule here: a match ends at a difference of zero, or within the entity's tolerance with a reason. It changes no figure and
moves no entry; where an item changes underneath, it breaks. What is open to be billed is explained by nothing but a line that
bills it, in parts where need be: `billing.tying` writes that, and the database keeps every hour from being billed twice.

Elsewhere a match takes items whole, any number on each side: a payment for two bills is matched with both, and their sums meet.
How much of it is for which bill the system that keeps the payment says, and its allocations settle the bills here; a split of
our own would be a second truth, which no balance and no status that others are told would follow. Until that system says it,
what is left over of a payment is told to come (`wait`), with the day. A record of a tracker or of an ERP has one figure, and only
where it is kept can it become two.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils.timezone import localdate

from portal import access, audit
from portal.models import User
from portal.sql import now
from reconciliation.models import Match, MatchingRule, ReconciliationResult
from reconciliation.policies import merged
from reconciliation.sql import pairing as sql

ZERO = Decimal(0)
HISTORY_DAYS = 180
HIT_DAYS = 30
Leg = ReconciliationResult.Leg
OVER_PERIODS = (
    Leg.TARGET_INVOICE,
    Leg.INVOICE_PAYMENT,
)  # bills and payments come in another month than what they are for
Standing = ReconciliationResult.Standing
State = Match.State
_Outcome = ReconciliationResult.Outcome
_BY_A_LINE = "What is open to be billed is matched by a person with the line of a bill that bills it, not by a rule."


class NotMatchable(Exception):
    """These items cannot be matched; the sentence says why and what can be done."""


@dataclass(frozen=True, slots=True)
class Sides:
    """What some items come to on both sides."""

    hours_left: Decimal
    hours_right: Decimal
    amount_left: Decimal
    amount_right: Decimal
    currency: str
    by_money: bool = False  # a line states no hours, so that hours are not compared

    @property
    def hours(self) -> Decimal:
        """Left less right, in hours."""
        return self.hours_left - self.hours_right

    @property
    def amount(self) -> Decimal:
        """Left less right, in money."""
        return self.amount_left - self.amount_right

    @property
    def is_even(self) -> bool:
        """Whether nothing is left over."""
        return not self.hours and not self.amount


def sides_of(items: Iterable[ReconciliationResult]) -> Sides:
    """Add up both sides; a tracker states no money for hours, so there hours alone count.

    Where a line of a bill states no hours, money alone does.

    Raises NotMatchable where they are in more than one currency.
    """
    rows = list(items)
    currencies = {row.currency for row in rows if row.currency}
    by_money = any(row.bill_line_id is not None and row.hours_right is None for row in rows)
    if len(currencies) > 1:
        raise NotMatchable(f"They are in {' and '.join(sorted(currencies))}; only one currency can be added up.")

    def total(name: str, among: Sequence[ReconciliationResult]) -> Decimal:
        return sum((getattr(row, name) or ZERO for row in among), ZERO)

    priced = [row for row in rows if row.leg != Leg.TRACKER_LEDGER or row.amount_left is not None]
    return Sides(
        ZERO if by_money else total("hours_left", rows),
        ZERO if by_money else total("hours_right", rows),
        total("amount_left", priced),
        total("amount_right", priced),
        next(iter(currencies), ""),
        by_money,
    )


def match(items: Sequence[ReconciliationResult], user: User, *, code: str = "", reason: str = "") -> Match:
    """Say that items of one leg belong together. Raises NotMatchable or PermissionDenied.

    What is left over must be zero, or within the entity's tolerance with a reason and its code. What has both sides already, and
    differs by no more, is matched by itself. What is open to be billed is matched by `billing.tying`.
    """
    first = may_decide(items, user)
    if open_to_bill(items):
        raise NotMatchable(_BY_A_LINE)
    if any(_is_lost(item) for item in items):
        raise NotMatchable("It stood on a bill that is void or gone; decide on the page of that bill what holds.")
    sides = sides_of(items)
    if len(items) < 2 and not has_both_sides(items[0]):
        raise NotMatchable("One item alone belongs to nothing; choose what it belongs to.")
    code = rest_of(first.run.entity, sides, code, reason)
    return _decide(items, user, kind=Match.Kind.MATCH, sides=sides, code=code, reason=reason)


def rest_of(entity: Any, sides: Sides, code: str, reason: str) -> str:
    """The code of what is left over. Raises NotMatchable where more is left than may be, or nobody says what it is and why."""
    if sides.is_even:
        return code or Match.Code.EXACT
    _within(entity, sides.hours, sides.amount, sides.currency)
    if not reason.strip() or code in ("", Match.Code.EXACT):
        raise NotMatchable("Something is left over; say what it is and why.")
    return code


def open_to_bill(items: Sequence[ReconciliationResult]) -> list[ReconciliationResult]:
    """The items of the third leg of which something is left to bill; nothing but the line of a bill explains that."""
    booked = [item.pk for item in items if item.leg == Leg.TARGET_INVOICE and item.bill_line_id is None]
    found = set(sql.open_to_bill(booked)) if booked else set()
    return [item for item in items if item.pk in found]


def _is_lost(item: ReconciliationResult) -> bool:
    """Whether what is not invoiced still counts as billed, by a bill of which nobody decided what holds."""
    return item.leg == Leg.TARGET_INVOICE and item.outcome in (_Outcome.MISSING_RIGHT, _Outcome.HOURS_DIFFER)


def has_both_sides(item: ReconciliationResult) -> bool:
    """Whether an item says by itself what it is compared with, so that it is matched alone."""
    return bool((item.hours_left and item.hours_right) or (item.amount_left and item.amount_right))


def wait(items: Sequence[ReconciliationResult], user: User, *, expected_on: date, reason: str) -> Match:
    """Say that what is missing is still to come, by a day and for a reason; after that day it stands unmatched again."""
    may_decide(items, user)
    if expected_on < localdate():
        raise NotMatchable("The day by which it should be there has passed already.")
    if not reason.strip():
        raise NotMatchable("Say why it is still to come.")
    return _decide(
        items, user, kind=Match.Kind.TIMING, sides=sides_of(items), code=Match.Code.TIMING, reason=reason, expected_on=expected_on
    )  # fmt: skip


def confirm(found: Match, user: User) -> Match:
    """Agree to what a rule suggests, within what the entity lets be left over today."""
    access.require(user, access.FIXERS, found.period.entity_id)
    with transaction.atomic():
        locked = _lock(found, State.SUGGESTED)
        _within(
            locked.period.entity,
            locked.hours_left - locked.hours_right,
            locked.amount_left - locked.amount_right,
            locked.currency,
        )
        locked.state, locked.decided_by, locked.decided_at = State.CONFIRMED, user, now()
        locked.save()
        _stand([*sql.periods_of([locked.pk]), locked.period_id])
        audit.record(user, "match.confirm", locked, entity=locked.period.entity_id, reason=locked.reason)
    return locked


def take_apart(found: Match, user: User, reason: str) -> Match:
    """Refuse a suggestion, or break a match, with a reason."""
    access.require(user, access.FIXERS, found.period.entity_id)
    if not reason.strip():
        raise NotMatchable("Say why they do not belong together.")
    with transaction.atomic():
        locked = _lock(found, State.SUGGESTED, State.CONFIRMED, *([State.BROKEN] if _broke_by_itself(found) else []))
        locked.state = State.REFUSED if locked.state == State.SUGGESTED else State.BROKEN
        locked.ended_by, locked.ended_at, locked.why = user, now(), reason.strip()
        locked.save()
        _stand([*sql.periods_of([locked.pk]), locked.period_id])
        audit.record(user, "match.break", locked, entity=locked.period.entity_id, reason=reason)
    return locked


def _broke_by_itself(found: Match) -> bool:
    """Whether what a match tied stands still, although an item of it changed."""
    return found.state == State.BROKEN and bool(found.allocations) and found.ended_by_id is None


def refresh(entity_id: int, period_id: int, today: date) -> None:
    """After a comparison: what changed breaks its match, rules look at what is open, and everything stands where it belongs."""
    broken = sql.break_what_changed(period_id, today)
    _stand([*sql.periods_of(broken), period_id])
    for rule in _in_use(entity_id):
        hours, amount = tolerance_of(rule.entity)
        for group in sql.groups(
            rule.leg,
            rule.criteria,
            min(rule.hours_tolerance, hours),
            min(rule.amount_tolerance, amount),
            period_id=period_id,
        ):
            if not _was_refused(entity_id, rule.leg, group.subjects):
                _found_by(rule, period_id, group)
    sql.stand(period_id)


def write(rule: MatchingRule, user: User) -> MatchingRule:
    """Keep a new rule as a draft. Raises NotMatchable where it would match what people may not."""
    access.require(user, access.FIXERS, rule.entity_id)
    _may_be(rule)
    with transaction.atomic():
        rule.state, rule.made_by = MatchingRule.State.DRAFT, user
        _save(rule, "written", user)
        audit.record(user, "matching_rule.write", rule, entity=rule.entity_id, after={"criteria": rule.criteria})
    return rule


def hit_rates(rule_ids: Sequence[int]) -> dict[int, tuple[int, int, int]]:
    """Per rule, of the last thirty days: what it found, what people confirmed of it, and what they refused or took apart."""
    return sql.hit_rates(rule_ids, HIT_DAYS)


def test(rule: MatchingRule, user: User) -> MatchingRule:
    """See what a rule would have put together in the past: what people matched likewise, or otherwise, and what is new."""
    access.require(user, access.FIXERS, rule.entity_id)
    found = sql.groups(
        rule.leg, rule.criteria, rule.hours_tolerance, rule.amount_tolerance, entity_id=rule.entity_id,
        since=localdate() - timedelta(days=HISTORY_DAYS),
    )  # fmt: skip
    agreed = sum(1 for group in found if len(group.matches) == 1 and _is_whole(group))
    new = sum(1 for group in found if not group.matches)
    rule.tested = {"groups": len(found), "agreed": agreed, "contradicted": len(found) - agreed - new, "new": new}
    rule.tested_at = now()
    _save(rule, "tested on history", user)
    return rule


def activate(rule: MatchingRule, user: User) -> MatchingRule:
    """Let a rule be used; somebody who did not write it, after it was tested. Raises NotMatchable or PermissionDenied."""
    access.require(user, access.APPROVERS, rule.entity_id)
    if rule.made_by_id == user.pk:
        raise NotMatchable("Who wrote the rule does not let it be used; ask a second person.")
    if rule.tested_at is None:
        raise NotMatchable("It was not tested on history yet.")
    _may_be(rule)
    with transaction.atomic():
        rule.state, rule.activated_by = MatchingRule.State.ACTIVE, user
        _save(rule, "in use", user)
        audit.record(user, "matching_rule.activate", rule, entity=rule.entity_id, after=rule.tested)
    return rule


def decline(rule: MatchingRule, user: User, reason: str) -> MatchingRule:
    """Say as the second person why a draft is not to be used. Raises NotMatchable or PermissionDenied."""
    access.require(user, access.APPROVERS, rule.entity_id)
    if rule.state != MatchingRule.State.DRAFT:
        raise NotMatchable(f"It is {rule.get_state_display().lower()} already; retire it instead.")
    if not reason.strip():
        raise NotMatchable("Say why it is not to be used.")
    with transaction.atomic():
        rule.state = MatchingRule.State.RETIRED
        _save(rule, f"declined: {reason.strip()}", user)
        audit.record(user, "matching_rule.decline", rule, entity=rule.entity_id, reason=reason)
    return rule


def retire(rule: MatchingRule, user: User) -> MatchingRule:
    """Let a rule find nothing more; what it matched stays."""
    access.require(user, access.FIXERS, rule.entity_id)
    with transaction.atomic():
        rule.state = MatchingRule.State.RETIRED
        _save(rule, "retired", user)
        audit.record(user, "matching_rule.retire", rule, entity=rule.entity_id)
    return rule


def tolerance_of(entity: Any) -> tuple[Decimal, Decimal]:
    """Hours and money that may be left over with a reason, by the entity's policy."""
    policy = merged(entity.policy or {})
    return policy.match_hours, policy.match_amount


def _in_use(entity_id: int) -> QuerySet[MatchingRule]:
    """The rules that look at open items, in their order; what is open to be billed is tied to lines by none."""
    found = MatchingRule.objects.filter(entity=entity_id, state=MatchingRule.State.ACTIVE).select_related("entity")
    return found.exclude(leg=Leg.TARGET_INVOICE).order_by("position", "id")


def _may_be(rule: MatchingRule) -> None:
    """Raise NotMatchable where a rule would match what people may not."""
    if rule.leg == Leg.TARGET_INVOICE:
        raise NotMatchable(_BY_A_LINE)
    hours, amount = tolerance_of(rule.entity)
    if rule.hours_tolerance > hours or rule.amount_tolerance > amount:
        raise NotMatchable(f"In {rule.entity} up to {hours} h and {amount} may be left over; a rule keeps to it.")


def _within(entity: Any, hours: Decimal, amount: Decimal, currency: str) -> None:
    """Raise NotMatchable where more is left over than the entity accepts."""
    most_hours, most_amount = tolerance_of(entity)
    if abs(hours) > most_hours or abs(amount) > most_amount:
        raise NotMatchable(
            f"{hours:,.2f} h and {amount:,.2f} {currency} are left over; up to {most_hours} h and {most_amount} "
            "can be accepted with a reason."
        )


def may_decide(items: Sequence[ReconciliationResult], user: User) -> ReconciliationResult:
    """The first of some items that this person may match with each other. Raises NotMatchable or PermissionDenied."""
    if not items:
        raise NotMatchable("Nothing is chosen.")
    first = items[0]
    if {(item.run.entity_id, item.leg) for item in items} != {(first.run.entity_id, first.leg)}:
        raise NotMatchable("Only items of one leg of one entity belong together.")
    if first.leg not in OVER_PERIODS and len({item.period_id for item in items}) > 1:
        raise NotMatchable(
            "Only bills and payments come in another period than what they are for; elsewhere one period is matched at a time."
        )
    access.require(user, access.FIXERS, first.run.entity_id)
    return first


def _decide(items: Sequence[ReconciliationResult], user: User, *, sides: Sides, **said: Any) -> Match:
    first = items[0]
    with transaction.atomic():
        rows = lock(items)
        for suggestion in {row.match for row in rows if row.match is not None}:
            suggestion.state, suggestion.ended_by, suggestion.ended_at = State.REFUSED, user, now()
            suggestion.why = "Matched otherwise by hand."
            suggestion.save()
        periods = {row.period_id for row in rows}
        _stand(periods)
        made = Match.objects.create(
            period_id=first.period_id, leg=first.leg, state=State.CONFIRMED, items=len(rows),
            subjects=sorted(row.subject for row in rows), hours_left=sides.hours_left,
            hours_right=sides.hours_right, amount_left=sides.amount_left, amount_right=sides.amount_right,
            currency=sides.currency, made_at=now(), decided_by=user, decided_at=now(), **said,
        )  # fmt: skip
        sql.take(made.pk, [row.pk for row in rows])
        _stand(periods)
        audit.record(
            user, f"match.{made.kind}", made, entity=first.run.entity_id, reason=made.reason,
            after={"items": [row.pk for row in rows], "hours": str(sides.hours), "amount": str(sides.amount)},
        )  # fmt: skip
    return made


def lock(items: Sequence[ReconciliationResult]) -> list[ReconciliationResult]:
    """Items as they stand now, locked; what only waits may be matched by what it waits for. Raises NotMatchable otherwise."""
    locked = ReconciliationResult.objects.select_for_update(of=("self",)).filter(pk__in=[item.pk for item in items])
    rows = list(locked.select_related("match").order_by("pk"))
    if any(row.ended_run_id or not _is_matchable(row) for row in rows):
        raise NotMatchable("Some of it changed or was matched meanwhile; look at it again.")
    return rows


def _is_matchable(row: ReconciliationResult) -> bool:
    is_free = row.match is None or row.match.state == State.SUGGESTED
    return (row.leg in OVER_PERIODS and row.outcome == _Outcome.OPEN and is_free) or row.standing in (
        Standing.UNMATCHED,
        Standing.SUGGESTED,
    )


def explain(made: Match, subjects: Sequence[int]) -> None:
    """What still differs of what was tied, in price alone, is what the match left over."""
    rows = ReconciliationResult.objects.standing().filter(
        period__entity=made.period.entity_id, leg=made.leg, subject__in=list(subjects), standing=Standing.UNMATCHED,
        outcome=_Outcome.AMOUNT_DIFFERS,
    )  # fmt: skip
    sql.take(made.pk, list(rows.values_list("pk", flat=True)))
    _stand(sql.periods_of([made.pk]))


def periods_of_subjects(found: Match) -> set[int]:
    """The periods in which the things of a match ever stood."""
    rows = ReconciliationResult.objects.filter(
        period__entity=found.period.entity_id, leg=found.leg, subject__in=found.subjects
    )
    return {found.period_id, *rows.values_list("period_id", flat=True)}


def _stand(period_ids: Iterable[int]) -> None:
    for period_id in sorted(set(period_ids)):
        sql.stand(period_id)


def _found_by(rule: MatchingRule, period_id: int, group: sql.Group) -> None:
    """Keep what a rule found; nothing where a comparison of another period holds some of it, which finds it then."""
    point = transaction.savepoint()
    made = Match.objects.create(
        period_id=period_id, leg=rule.leg, rule=rule, state=State.CONFIRMED if rule.is_automatic else State.SUGGESTED,
        items=len(group.ids), subjects=group.subjects, currency=group.currency, made_at=now(),
        hours_left=group.hours_left, hours_right=group.hours_right, amount_left=group.amount_left,
        amount_right=group.amount_right, reason=f"Same {', '.join(rule.criteria)}.",
    )  # fmt: skip
    if sql.take(made.pk, group.ids) < len(group.ids):
        transaction.savepoint_rollback(point)
    else:
        transaction.savepoint_commit(point)


def _was_refused(entity_id: int, leg: str, subjects: Sequence[int]) -> bool:
    """Whether people said of exactly these items that they do not belong together."""
    said = Match.objects.filter(
        period__entity=entity_id, leg=leg, state__in=[State.REFUSED, State.BROKEN], ended_by__isnull=False
    )
    return said.filter(subjects=list(subjects)).exists()


def _save(rule: MatchingRule, reason: str, user: User) -> None:
    rule._change_reason = reason  # type: ignore[attr-defined]
    rule._history_user = user  # type: ignore[attr-defined]
    rule.save()


def _is_whole(group: sql.Group) -> bool:
    return set(ReconciliationResult.objects.filter(match=group.matches[0]).values_list("pk", flat=True)) == set(
        group.ids
    )


def _lock(found: Match, *states: str) -> Match:
    locked = Match.objects.select_for_update(of=("self",)).select_related("period").get(pk=found.pk)
    if locked.state not in states:
        raise NotMatchable(f"It is {locked.get_state_display().lower()} already.")
    return locked
