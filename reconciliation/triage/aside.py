"""Causes put out of sight: snoozed until something happens, or ignored by somebody who answers for it.

The rule here: the entries stay held and their money stays counted as held. Ignoring needs a reason and a last day, and above
the entity's limit a controller; it ends by itself when the day comes or when the cause holds more than was to be left alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from django.utils import timezone

from portal import access, figures
from portal import sql as portal_sql
from portal.models import AccountingPeriod, Connection, GrantRole, LegalEntity, User
from reconciliation import policies
from reconciliation.models import CaseTotal, ExceptionCase, Ignore, Snooze
from reconciliation.models import Decision as Made
from reconciliation.models.triage import LONGEST_IGNORE
from reconciliation.sql import triage as sql
from reconciliation.sql.triage import CaseRow
from reconciliation.triage.deciding import Changes, NotPossible, decide

SNOOZED, IGNORED, NO = (
    str(one) for one in (ExceptionCase.Aside.SNOOZED, ExceptionCase.Aside.IGNORED, ExceptionCase.Aside.NO)
)
LONGEST_SNOOZE = timedelta(days=366)


def snooze(
    case_ids: Sequence[int],
    *,
    by: User,
    until: date | AccountingPeriod | None = None,
    reason: str = "",
) -> Made:
    """Put causes out of sight until a day, until a period of theirs opens, or (None) until their source was read again.

    Raises NotPossible for a day that is not ahead, a period of another entity or that is open, or a cause without a source.
    """
    moment = portal_sql.now()
    if isinstance(until, date) and not timezone.localdate() < until <= timezone.localdate() + LONGEST_SNOOZE:
        raise NotPossible("Choose a day that is ahead, within a year.")
    if isinstance(until, AccountingPeriod) and until.state == AccountingPeriod.State.OPEN:
        raise NotPossible(f"Period {until.code} is open already.")
    sources = sql.main_sources(case_ids) if until is None else {}

    def check(row: CaseRow) -> Changes:
        if row.aside == IGNORED:
            raise NotPossible(f"“{row.sentence}” is ignored; stop ignoring it first.")
        if isinstance(until, AccountingPeriod) and until.entity_id != row.entity_id:
            raise NotPossible(
                f"Period {until.code} is of another entity than “{row.sentence}”; snooze each entity alone."
            )
        if until is None and row.id not in sources:
            raise NotPossible(f"“{row.sentence}” comes from no source that could be read again; choose a day.")
        return {"aside": SNOOZED}

    def keep(rows: Sequence[CaseRow]) -> Mapping[int, Changes]:
        made = Snooze.objects.bulk_create(
            Snooze(case_id=row.id, by=by, at=moment, reason=reason, **_waits(until, sources.get(row.id)))
            for row in rows
        )
        return {one.case_id: {"snooze": one.pk} for one in made}

    return decide(Made.Kind.SNOOZE, case_ids, check, by=by, words=_words(until, sources), reason=reason, after=keep)


def _waits(until: date | AccountingPeriod | None, source_id: int | None) -> dict[str, Any]:
    if until is None:
        return {"until": Snooze.Until.SYNC, "connection_id": source_id}
    if isinstance(until, AccountingPeriod):
        return {"until": Snooze.Until.PERIOD, "period": until}
    return {"until": Snooze.Until.DATE, "date": until}


def _words(until: date | AccountingPeriod | None, sources: Mapping[int, int]) -> str:
    if until is None:
        names = Connection.objects.filter(pk__in=set(sources.values())).order_by("name").values_list("name", flat=True)
        return f"snoozed until {' and '.join(names) or 'the source'} was read again"
    if isinstance(until, AccountingPeriod):
        return f"snoozed until period {until.code} opens"
    return f"snoozed until {figures.day(until)}"


def wake(case_ids: Sequence[int], *, by: User) -> Made:
    """Bring snoozed causes back at once."""
    return _back(Made.Kind.WAKE, case_ids, by, aside=SNOOZED, table="snooze", words="woken")


def stop_ignoring(case_ids: Sequence[int], *, by: User) -> Made:
    """Bring ignored causes back at once."""
    return _back(Made.Kind.STOP_IGNORING, case_ids, by, aside=IGNORED, table="ignore", words="no longer ignored")


def _back(kind: Made.Kind, case_ids: Sequence[int], by: User, *, aside: str, table: str, words: str) -> Made:
    def end(rows: Sequence[CaseRow]) -> Mapping[int, Changes]:
        ids = [row.id for row in rows]
        running = sql.running(table, ids)
        sql.end_of(ids, f"{words} by {by.get_username()}")
        return {case_id: {table: row_id} for case_id, row_id in running.items()}

    return decide(
        kind, case_ids, lambda row: {"aside": NO} if row.aside == aside else {}, by=by, words=words, after=end
    )


def ignore(case_ids: Sequence[int], *, by: User, reason: str, until: date) -> Made:
    """Leave causes alone, for a reason, until a day that is at most 90 days ahead.

    Raises NotPossible without a reason, for another day, and for a person who is no controller where a cause holds more
    than the entity's limit, or entries of unknown worth.
    """
    reason = reason.strip()
    if not reason:
        raise NotPossible("Say why it may be left alone: the reason is kept with the cause.")
    if not timezone.localdate() < until <= timezone.localdate() + LONGEST_IGNORE:
        raise NotPossible(f"Choose a day that is ahead, at most {LONGEST_IGNORE.days} days.")
    moment = portal_sql.now()
    limits = _Limits(case_ids, by)

    def check(row: CaseRow) -> Changes:
        if row.aside == SNOOZED:
            raise NotPossible(f"“{row.sentence}” is snoozed; wake it first.")
        return {"aside": IGNORED}

    def keep(rows: Sequence[CaseRow]) -> Mapping[int, Changes]:
        ceilings = limits.check(rows)
        made = Ignore.objects.bulk_create(
            Ignore(case_id=row.id, by=by, at=moment, reason=reason, expires_on=until, ceiling=ceilings[row.id])
            for row in rows
        )
        return {one.case_id: {"ignore": one.pk} for one in made}

    return decide(
        Made.Kind.IGNORE, case_ids, check, by=by, words=f"ignored until {figures.day(until)}", reason=reason, after=keep
    )


class _Limits:
    """What may be ignored by whom: the limits of the entities, and where the person is a controller."""

    def __init__(self, case_ids: Sequence[int], by: User) -> None:
        entities = LegalEntity.objects.filter(cases__in=case_ids).distinct()
        self.of = {one.pk: policies.merged(one.policy).ignore_limit for one in entities}
        self.controlled = {one for one in self.of if access.may(by, frozenset({GrantRole.CONTROLLER}), one)}

    def check(self, rows: Sequence[CaseRow]) -> dict[int, dict[str, str]]:
        """Up to what each case may grow while it is ignored. Raises NotPossible for one that takes a controller."""
        ids = [row.id for row in rows]
        held: dict[int, list[tuple[str, Decimal]]] = {}
        for case_id, currency, amount in CaseTotal.objects.filter(case__in=ids).values_list(
            "case_id", "currency", "amount"
        ):
            held.setdefault(case_id, []).append((currency, amount))
        unknown = sql.unpriced(ids)
        ceilings = {}
        for row in rows:
            limit = self.of[row.entity_id]
            ceiling = {"*": Decimal(0), **limit}
            if row.entity_id not in self.controlled and row.id in unknown:
                raise NotPossible(
                    f"“{row.sentence}” holds entries whose worth nobody knows yet; a controller may ignore it."
                )
            for currency, amount in held.get(row.id, ()):
                most = ceiling.get(currency, ceiling["*"])
                if amount <= most:
                    continue
                if row.entity_id not in self.controlled:
                    raise NotPossible(
                        f"“{row.sentence}” holds {figures.amount(amount, currency)} {currency}, more than the limit of"
                        f" {figures.amount(most, currency)} {currency}; a controller may ignore it."
                    )
                ceiling[currency] = amount
            ceilings[row.id] = {code: str(value) for code, value in ceiling.items()}
        return ceilings
