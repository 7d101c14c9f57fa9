"""Work that no rate covers: open on the ledger, being corrected at its source, and to be expected of the people who work now.

The rule here: a gap is where the product's own pricing finds nothing on the day. A price is never invented: what a gap is worth
is an estimate, and says on what it rests; where nothing is known it is unknown and not zero.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from enum import StrEnum

from portal import figures
from portal.models import LegalEntity
from reconciliation import pricing
from reconciliation.facts import Draft, Facts, drafts_of
from reconciliation.facts.load import Days
from reconciliation.facts.workdays import WorkCalendar, calendar_of
from reconciliation.pricing import Missed
from reconciliation.rates import asking
from reconciliation.rates.matrix import ONE_DAY, Span
from reconciliation.sql import rates as rates_sql

MOST = 5_000  # documents of either kind that one look asks about, the oldest first
LOOKED_BACK = timedelta(days=45)  # in which work shows who is on a project
LOOKED_AHEAD = timedelta(days=60)
YEAR = timedelta(days=366)
REOPENED_SINCE = timedelta(days=92)


class Standing(StrEnum):
    """What kind of work lacks a rate."""

    OPEN = "open"  # on the ledger, held
    REOPENED = "reopened"  # approved once, and being corrected at the source
    EXPECTED = "expected"  # nobody worked it yet


LABELS = {Standing.OPEN: "Held", Standing.REOPENED: "Being corrected", Standing.EXPECTED: "To come"}


@dataclass(slots=True)
class Gap:
    """Days of one person and role on one project without a rate, and what is at stake."""

    standing: Standing
    entity_id: int
    project: str
    project_id: int
    person: str
    person_id: int
    role: str
    task: str
    under: str  # the contract, else the customer
    contract_id: int | None
    customer_id: int
    reason: str
    first: date
    last: date
    currency: str
    hours: Decimal = Decimal(0)
    amount: Decimal | None = None  # an estimate; empty where nobody knows
    basis: str = ""
    pieces: int = 0  # entries, or working days of what is to come
    documents: list[int] = field(default_factory=list)

    @property
    def span(self) -> Span:
        """From its first to its last day."""
        return Span(self.first, self.last)

    @property
    def sentence(self) -> str:
        """The gap as finance would say it."""
        who = f"{self.person} as {self.role.lower()}" if self.role else self.person
        days = f"on {figures.day(self.first)}" if self.first == self.last else _between(self.first, self.last)
        task = f", task {self.task}," if self.task else ""
        return f"No rate covers {who} on {self.project}{task} {days}. {self.reason}"


def _between(first: date, last: date) -> str:
    return f"from {figures.day(first)} to {figures.day(last)}"


@dataclass(slots=True)
class Found:
    """Every gap, the dearest first, and whether there was more work than one look asks about."""

    gaps: list[Gap]
    is_cut: bool

    def hours(self) -> Decimal:
        """Of all gaps together."""
        return sum((gap.hours for gap in self.gaps), Decimal(0))

    def money(self) -> dict[str, Decimal]:
        """What is known to be at stake, by currency."""
        sums: dict[str, Decimal] = {}
        for gap in self.gaps:
            if gap.amount is not None:
                sums[gap.currency] = sums.get(gap.currency, Decimal(0)) + gap.amount
        return sums


def find(entity_ids: Collection[int], today: date) -> Found:
    """The gaps of some entities' work as of today; a fixed number of statements."""
    open_ids = rates_sql.open_without_rate(entity_ids, MOST + 1)
    again = rates_sql.reopened(entity_ids, today - REOPENED_SINCE, MOST + 1)
    gaps = [
        *_recorded(open_ids[:MOST], Standing.OPEN),
        *_recorded(again[:MOST], Standing.REOPENED),
        *expected(entity_ids, today),
    ]
    gaps.sort(
        key=lambda gap: (list(Standing).index(gap.standing), -(gap.amount or Decimal(0)), gap.project, gap.person)
    )
    return Found(gaps, is_cut=max(len(open_ids), len(again)) > MOST)


def _recorded(document_ids: Sequence[int], standing: Standing) -> list[Gap]:
    """The gaps of documents, by who works on what; a day and its neighbours of the same kind are one."""
    drafts = drafts_of(document_ids, lock=False) if document_ids else []
    if not drafts:
        return []
    facts = asking.known(drafts, days=_around([draft.work_date for draft in drafts]))
    found: dict[tuple[object, ...], Gap] = {}
    for draft in drafts:
        if not _lacks_rate(draft, facts):
            continue
        gap = _gap(draft, facts, standing)
        there = found.setdefault((gap.project_id, gap.person_id, gap.role, gap.task, gap.reason, gap.currency), gap)
        there.first, there.last = min(there.first, draft.work_date), max(there.last, draft.work_date)
        there.hours += draft.hours or Decimal(0)
        there.pieces += 1
        there.documents.append(draft.document_id)
        estimate = pricing.estimate(draft, facts)
        if estimate is not None:
            there.amount = (there.amount or Decimal(0)) + estimate[0]
            there.basis = there.basis or estimate[1]
    return list(found.values())


def _around(days: Sequence[date]) -> Days:
    """The days whose rates are loaded: with a year before and after, so that a rate that just ended is named."""
    return min(days) - YEAR, max(days) + YEAR


def _lacks_rate(draft: Draft, facts: Facts) -> bool:
    """Whether such hours would be billed and have no rate, by the product's own pricing."""
    if draft.project is None or draft.resource is None or draft.engagement is None:
        return False  # other rules say so first
    pricing.price(draft, facts)
    return draft.is_billable and draft.rate is None


def _gap(draft: Draft, facts: Facts, standing: Standing) -> Gap:
    project, person = draft.project, draft.resource
    if project is None or person is None:
        raise ValueError("A gap has a project and a person.")
    return Gap(
        standing=standing, entity_id=draft.entity_id, project=project.code, project_id=project.id, person=person.name,
        person_id=person.id, role=draft.role.name if draft.role else "", task=draft.task.code if draft.task else "",
        under=draft.contract.code if draft.contract else draft.customer.code if draft.customer else "",
        contract_id=project.contract_id, customer_id=project.customer_id, reason=reason_of(draft, facts),
        first=draft.work_date, last=draft.work_date, currency=pricing.agreed_currency(draft),
    )  # fmt: skip


def reason_of(draft: Draft, facts: Facts) -> str:
    """Why pricing finds nothing, in a sentence: another currency, a scope that is not let, an ended rate, a role without one."""
    wanted = pricing.agreed_currency(draft)
    there = list(pricing.candidates(draft, facts))
    foreign = next((one for one in there if one.currency != wanted), None)
    if foreign is not None and all(one.currency != wanted for one in there):
        return f"Rate card {foreign.version} has it in {foreign.currency} only; the hours are billed in {wanted}."
    if there:
        return f"The policy does not let {there[0].scope} cards price hours."
    card = pricing.card_of(draft, facts)
    late = _nearest(list(pricing.missed(draft, facts)), draft.work_date)
    if late is not None:
        return f"{late.agreed.card.code} v{late.agreed.card.version}: {late.reason}"
    role = draft.role.name.lower() if draft.role else "this person"
    if card is not None:
        return f"Rate card {card.code} v{card.version} has no rate for {role}."
    return "No rate card of the contract, the customer or the entity holds on that day."


def _nearest(missed: Sequence[Missed], day: date) -> Missed | None:
    """The rate that ended last before a day, else the one that begins first after it."""
    ended = [one for one in missed if _end(one) < day]
    later = [one for one in missed if _end(one) >= day]
    if ended:
        return max(ended, key=_end)
    return min(later, key=lambda one: max(one.agreed.valid_from, one.agreed.card.valid_from)) if later else None


def _end(missed: Missed) -> date:
    return min(missed.agreed.valid_to, missed.agreed.card.valid_to)


@dataclass(frozen=True, slots=True)
class _Pace:
    """How much a person works on a project now, and at which rate."""

    hours_a_day: Decimal
    rate: Decimal | None
    currency: str


def expected(entity_ids: Collection[int], today: date) -> list[Gap]:
    """The gaps that come: the people who work on a project now, at their pace, on the working days ahead."""
    since, first, last = today - LOOKED_BACK, today + ONE_DAY, today + LOOKED_AHEAD
    assigned = rates_sql.assignments(entity_ids, since)
    if not assigned:
        return []
    projects, people = sorted({row[3] for row in assigned}), sorted({row[2] for row in assigned})
    starts = sorted({first, *rates_sql.days_of_change(projects, people, first, last)})
    spans = [
        Span(start, end) for start, end in zip(starts, [*(day - ONE_DAY for day in starts[1:]), last], strict=True)
    ]
    calendars = {one.pk: calendar_of(one.calendar) for one in LegalEntity.objects.filter(pk__in=list(entity_ids))}
    asked: list[tuple[Draft, Span, _Pace]] = []
    for source_id, entity_id, person, project, task, hours, rate, currency in assigned:
        pace = _Pace(hours / max(1, calendars[entity_id].working_days(since, today)), rate, currency or "")
        for span in spans:
            work = asking.Work(
                source_id=source_id, entity_id=entity_id, person=person, project=project, task=task, day=span.start,
                hours=pace.hours_a_day,
            )  # fmt: skip
            asked.append((asking.draft_of(work), span, pace))
    facts = asking.known([draft for draft, _, _ in asked], days=_around([first, last]))
    return _coming(asked, facts, calendars)


def _coming(asked: Sequence[tuple[Draft, Span, _Pace]], facts: Facts, calendars: dict[int, WorkCalendar]) -> list[Gap]:
    """Neighbouring ranges without a rate as one gap each."""
    found: list[Gap] = []
    latest: dict[tuple[object, ...], Gap] = {}
    for draft, span, pace in asked:
        if not _goes_on(draft, facts) or not _lacks_rate(draft, facts):
            continue
        there = _gap(draft, facts, Standing.EXPECTED)
        key = (there.project_id, there.person_id, there.role, there.task, there.reason, draft.source_id)
        before = latest.get(key)
        if before is not None and before.last + ONE_DAY == span.start:
            there = before
        else:
            latest[key] = there
            found.append(there)
        days = calendars[draft.entity_id].working_days(span.start, span.end)
        there.last = span.end
        there.pieces += days
        there.hours += (pace.hours_a_day * days).quantize(Decimal("0.01"))
        last = _last_rate(draft, facts, pace, there.currency)
        if last is not None:
            worth = pricing.worth(draft, (pace.hours_a_day * days).quantize(Decimal("0.01")), *last)
            there.amount = (there.amount or Decimal(0)) + (worth or Decimal(0))
            there.basis = "the last rate, at the present pace"
    return _as_one([gap for gap in found if gap.hours])


def _last_rate(draft: Draft, facts: Facts, pace: _Pace, currency: str) -> tuple[Decimal, Decimal] | None:
    """The rate that was agreed last before the day, else the one of the latest hours, with the hours of its unit."""
    late = _nearest(list(pricing.missed(draft, facts)), draft.work_date)
    if late is not None and _end(late) < draft.work_date and late.agreed.currency == currency:
        return late.agreed.agreed_amount, late.agreed.hours_per_unit
    return (pace.rate, Decimal(1)) if pace.rate is not None and pace.currency == currency else None


def _as_one(found: Sequence[Gap]) -> list[Gap]:
    """Work of one person that several systems report is one gap where it says the same; not where only some has a known worth."""
    told: dict[tuple[object, ...], Gap] = {}
    for gap in found:
        key = (gap.entity_id, gap.sentence, gap.currency, gap.basis, gap.amount is None)
        there = told.setdefault(key, gap)
        if there is not gap:
            there.hours += gap.hours
            there.pieces = max(there.pieces, gap.pieces)
            if gap.amount is not None:
                there.amount = (there.amount or Decimal(0)) + gap.amount
    return list(told.values())


def _goes_on(draft: Draft, facts: Facts) -> bool:
    """Whether the project is open and the person engaged on the day."""
    if draft.project is None or draft.engagement is None:
        return False
    status = facts.status_on(draft.project.id, draft.work_date)
    return status is not None and status[2] == "open"
