"""What must stand of the entity itself: currency, calendar, periods, tax, and a second person."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from itertools import pairwise

from babel.numbers import is_currency
from django.db.models import Q
from django.urls import reverse

from portal import access, figures, quality, sql
from portal.models import AccountingPeriod, Customer, IntercompanyRelation
from reconciliation.onboarding.checks.base import Asked, Item, change_of, change_of_entity, item

AHEAD = 1  # periods that must stand after the current one
Period = AccountingPeriod.State


def _page(asked: Asked) -> str:
    return reverse("master_record", args=["legalentity", asked.entity.pk])


def currency(asked: Asked) -> Item:
    """A currency that exists."""
    entity = asked.entity
    problems = [] if is_currency(entity.currency) else [f"“{entity.currency}” is no currency"]
    return item(
        "currency", "Currency and zone", problems, f"Books in {entity.currency}, works in {entity.zone}.",
        remedy="Correct the entity.", url=_page(asked), mend=change_of_entity(asked, "Currency"),
    )  # fmt: skip


def calendar(asked: Asked) -> Item:
    """A weekend, the hours of a day, and the holidays of this year."""
    said, year = asked.entity.calendar, str(sql.now().year)
    problems = [
        f"the calendar has no {name.replace('_', ' ')}" for name in ("weekend", "hours_per_day") if name not in said
    ]
    if not any(str(day).startswith(year) for day in said.get("holidays", ())):
        problems.append(f"no holiday of {year} is in the calendar")
    return item(
        "calendar", "Calendar", problems, f"Weekend, hours of a day and holidays ({len(said.get('holidays', ()))}) are said.",
        remedy="Say weekend, hours_per_day and holidays of the entity.", url=_page(asked),
        mend=change_of_entity(asked, "Calendar"),
    )  # fmt: skip


def periods(asked: Asked) -> Item:
    """No gap, one open, one ahead, one closed to rehearse, and as many of them as where people are lent to or from."""
    found = list(AccountingPeriod.objects.filter(entity=asked.entity).order_by("starts_on"))
    today = sql.now().date()
    problems = [*_of_periods(found, today), *_other_numbers(asked, found, today)]
    until = figures.day(found[-1].ends_on) if found else ""
    of_year = sum(one.starts_on.year == today.year for one in found)
    return item(
        "periods", "Periods", problems,
        f"{len(found)} periods without a gap, to {until}; {of_year} of {today.year}.",
        remedy="Add or open the periods, or have the ERP bring them.", url=reverse("master", args=["accountingperiod"]),
        mend=change_of("period", f"Periods of {asked.entity.code}"),
    )  # fmt: skip


def _of_periods(found: Sequence[AccountingPeriod], today: date) -> Iterator[str]:
    for one, following in pairwise(found):
        if one.ends_on + timedelta(days=1) != following.starts_on:
            yield f"there is a gap after {one.code}"
    current = next((one for one in found if one.starts_on <= today <= one.ends_on), None)
    if current is None or current.state not in (Period.OPEN, Period.CLOSING):
        yield "no period is open today"
    if sum(one.starts_on > today for one in found) < AHEAD:
        yield "the period after this one does not exist yet"
    if not any(one.state == Period.CLOSED for one in found):
        yield "no period is closed, so none can be rehearsed"


def _other_numbers(asked: Asked, found: Sequence[AccountingPeriod], today: date) -> Iterator[str]:
    """Entities between which people are lent, and that divide the months since both keep periods into another number of them."""
    entity = asked.entity
    holds = Q(valid_to=None) | Q(valid_to__gte=today)
    ours = IntercompanyRelation.objects.filter(holds, Q(provider=entity) | Q(receiver=entity), valid_from__lte=today)
    partners = {one for pair in ours.values_list("provider_id", "receiver_id") for one in pair} - {entity.pk}
    if not partners or not found:
        return
    theirs: dict[int, list[tuple[date, date, str]]] = {}
    rows = AccountingPeriod.objects.filter(entity__in=partners).order_by("starts_on")
    for entity_id, code, start, end in rows.values_list("entity_id", "entity__code", "starts_on", "ends_on"):
        theirs.setdefault(entity_id, []).append((start, end, code))
    for spans in theirs.values():
        start, end = max(found[0].starts_on, spans[0][0]), min(found[-1].ends_on, spans[-1][1])
        here = sum(start <= one.starts_on and one.ends_on <= end for one in found)
        there = sum(start <= first and last <= end for first, last, _ in spans)
        if here != there:
            yield (
                f"{spans[0][2]}, with which people are lent, has {there} periods from {figures.day(start)} to "
                f"{figures.day(end)} where {entity.code} has {here}"
            )


def tax(asked: Asked) -> Item:
    """Customers whose tax number is missing where their treatment needs one, or does not hold."""
    billed = Customer.objects.filter(projects__entity=asked.entity, merged_into=None).distinct()
    needs = Customer.TaxTreatment.REVERSE_CHARGE
    problems = []
    for code, treatment, number in billed.order_by("code").values_list("code", "tax_treatment", "tax_number"):
        if not number and treatment == needs:
            problems.append(f"{code} is billed by reverse charge and has no tax number")
        elif number and not quality.tax_number_holds(number):
            problems.append(f"the check digits of {code}'s tax number {number} do not hold")
    return item(
        "tax", "Tax", problems, f"No customer of {billed.count():,} lacks what its tax treatment needs, and every number holds.",
        remedy="Correct the tax numbers of these customers.", url=reverse("master", args=["customer"]),
    )  # fmt: skip


def second_person(asked: Asked) -> Item:
    """Two people who could let it go live."""
    people = list(access.holders(access.APPROVERS, asked.entity.pk).values_list("username", flat=True))
    problems = [] if len(people) > 1 else ["fewer than two controllers could propose and decide"]
    return item(
        "second-person", "A second person", problems, f"{len(people)} controllers: one proposes, another decides.",
        remedy="Give a second person the role of a controller in the entity.", url=reverse("master", args=["entitygrant"]),
        mend=change_of("grant", f"A second controller of {asked.entity.code}"),
    )  # fmt: skip
