"""What must stand before an entity goes live, each item computed from what stands now: met, not met, or not asked of it.

The rule here: nobody ticks an item. It says what it found, what to do about it, and where.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise

from babel.numbers import is_currency
from django.db.models import Exists, OuterRef, Q
from django.urls import reverse

from portal import access, figures, sql
from portal.models import (
    AccountingPeriod,
    AuditEvent,
    Connection,
    Crosswalk,
    Customer,
    Engagement,
    IntercompanyRelation,
    Project,
    ProjectStatus,
    Task,
)
from portal.models.documents import INVOICE
from reconciliation import policies
from reconciliation.models import Onboarding, Route
from reconciliation.onboarding.base import cut_overs, sources_of
from reconciliation.rules import STANDING

MET, FAILS, NOT_ASKED = "met", "fails", "not asked"
AHEAD = 1  # periods that must stand after the current one
TESTED_WITHIN = timedelta(days=7)
NAMED = 5  # records that a sentence names


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One thing that must stand: what was found, what to do, and where."""

    code: str
    title: str
    state: str
    sentence: str
    remedy: str = ""
    url: str = ""

    @property
    def fails(self) -> bool:
        """Whether it stands in the way."""
        return self.state == FAILS


@dataclass(frozen=True, slots=True)
class _Asked:
    """What every item is computed from, read once."""

    onboarding: Onboarding
    sources: Sequence[Connection]
    routes: Sequence[Route]

    @property
    def targets(self) -> list[Connection]:
        """Where the entity's documents would be booked."""
        return list({route.target_id: route.target for route in self.routes}.values())


def checklist(onboarding: Onboarding) -> list[Item]:
    """Every item, in the order in which they are worked off; a fixed number of queries."""
    sources = sources_of(onboarding)
    routes = (
        Route.objects.filter(entity=onboarding.entity, source__in=sources)
        .exclude(kind=INVOICE)
        .select_related("source", "target")
    )
    asked = _Asked(onboarding, sources, list(routes))
    return [
        _currency(asked), _calendar(asked), _periods(asked), _tax(asked), _sources(asked), _routes(asked), _policies(asked),
        _tested(asked), *_coverage(asked), _intercompany(asked), _price_lists(asked), _cut_over(asked), _second_person(asked),
    ]  # fmt: skip


def _item(code: str, title: str, problems: Sequence[str], met: str, *, remedy: str = "", url: str = "") -> Item:
    if not problems:
        return Item(code=code, title=title, state=MET, sentence=met, url=url)
    shown = "; ".join(problems[:NAMED])
    more = f"; and {len(problems) - NAMED} more" if len(problems) > NAMED else ""
    return Item(code=code, title=title, state=FAILS, sentence=f"{shown}{more}.", remedy=remedy, url=url)


def _history(model: str, pk: int) -> str:
    return reverse("history", args=[model, pk])


def _currency(asked: _Asked) -> Item:
    entity = asked.onboarding.entity
    problems = [] if is_currency(entity.currency) else [f"“{entity.currency}” is no currency"]
    return _item(
        "currency", "Currency and zone", problems, f"Books in {entity.currency}, works in {entity.zone}.",
        remedy="Correct the entity in the configuration file.", url=_history("legalentity", entity.pk),
    )  # fmt: skip


def _calendar(asked: _Asked) -> Item:
    entity, calendar = asked.onboarding.entity, asked.onboarding.entity.calendar
    year = str(sql.now().year)
    problems = [
        f"the calendar has no {name.replace('_', ' ')}" for name in ("weekend", "hours_per_day") if name not in calendar
    ]
    if not any(str(day).startswith(year) for day in calendar.get("holidays", ())):
        problems.append(f"no holiday of {year} is in the calendar")
    return _item(
        "calendar", "Calendar", problems, f"Weekend, hours of a day and holidays ({len(calendar.get('holidays', ()))}) are said.",
        remedy="Say weekend, hours_per_day and holidays of the entity in the configuration file.",
        url=_history("legalentity", entity.pk),
    )  # fmt: skip


def _periods(asked: _Asked) -> Item:
    found = list(AccountingPeriod.objects.filter(entity=asked.onboarding.entity).order_by("starts_on"))
    today = sql.now().date()
    problems = [
        f"there is a gap after {one.code}"
        for one, following in pairwise(found)
        if one.ends_on + timedelta(days=1) != following.starts_on
    ]
    current = next((one for one in found if one.starts_on <= today <= one.ends_on), None)
    if current is None or current.state not in (AccountingPeriod.State.OPEN, AccountingPeriod.State.CLOSING):
        problems.append("no period is open today")
    if sum(one.starts_on > today for one in found) < AHEAD:
        problems.append("the period after this one does not exist yet")
    if not any(one.state == AccountingPeriod.State.CLOSED for one in found):
        problems.append("no period is closed, so none can be rehearsed")
    until = figures.day(found[-1].ends_on) if found else ""
    return _item(
        "periods", "Periods", problems, f"{len(found)} periods without a gap, to {until}.",
        remedy="Add periods to the configuration file, or have the ERP bring them.",
        url=reverse("master", args=["accountingperiod"]),
    )  # fmt: skip


def _tax(asked: _Asked) -> Item:
    billed = Customer.objects.filter(projects__entity=asked.onboarding.entity, merged_into=None).distinct()
    without = billed.filter(tax_treatment=Customer.TaxTreatment.REVERSE_CHARGE, tax_number="").order_by("code")
    problems = [f"{one.code} is billed by reverse charge and has no tax number" for one in without]
    return _item(
        "tax", "Tax", problems, f"No customer of {billed.count():,} lacks what its tax treatment needs.",
        remedy="Add the tax numbers to the customers.", url=reverse("master", args=["customer"]),
    )  # fmt: skip


def _sources(asked: _Asked) -> Item:
    problems = [] if asked.sources else ["nothing brings documents of the entity"]
    problems += [f"{one} is paused" for one in asked.sources if one.paused_at]
    names = ", ".join(str(one) for one in asked.sources)
    return _item(
        "sources", "Sources", problems, f"{names}.", remedy="Add a source to the configuration file, or resume it.",
        url=reverse("connections"),
    )  # fmt: skip


def _routes(asked: _Asked) -> Item:
    today = sql.now().date()
    standing = {
        (route.source_id, route.kind)
        for route in asked.routes
        if route.valid_from <= today and (route.valid_to is None or route.valid_to >= today)
    }
    problems = [f"time of {one} has no route today" for one in asked.sources if (one.pk, "time") not in standing]
    kinds = {(one.source_id, one.kind) for one in cut_overs(asked.onboarding).values()}
    problems += [
        f"{kind} of {one} has a cut-over and no route"
        for one in asked.sources
        for kind in ("expense",)
        if (one.pk, kind) in kinds and (one.pk, kind) not in standing
    ]
    words = ", ".join(sorted({f"{route.source} to {route.target}" for route in asked.routes}))
    return _item("routes", "Routes", problems, f"{words}.", remedy="Add the routes to the configuration file.")


def _policies(asked: _Asked) -> Item:
    entity = asked.onboarding.entity
    problems = [sentence.rstrip(".") for sentence in policies.problems(entity.policy, standing=STANDING)]
    for route in asked.routes:
        problems += [f"{route}: {one.rstrip('.')}" for one in policies.problems(route.policy, standing=STANDING)]
    billing = Route.objects.filter(entity=entity, kind=INVOICE).select_related("target")
    keepers = sorted({str(route.target) for route in billing})
    if keepers and "credits_applied_by_system" not in entity.policy:
        problems.append(
            f"nobody said whether {' and '.join(keepers)} applies a customer's credit to other bills by itself "
            "(credits_applied_by_system)"
        )
    return _item(
        "policies", "Policies", problems, "Every setting of the entity and of its routes is known and can be read.",
        remedy="Correct the policies in the configuration file.", url=_history("legalentity", entity.pk),
    )  # fmt: skip


def _tested(asked: _Asked) -> Item:
    """Whether each connection, as it is configured now, answered a test by hand of late."""
    problems = []
    needed = {one.pk: one for one in (*asked.sources, *asked.targets)}
    events = AuditEvent.objects.filter(
        action="connection-tested", object_type="connection", object_id__in=[str(pk) for pk in needed],
        at__gte=sql.now() - TESTED_WITHIN,
    )  # fmt: skip
    last = {int(event.object_id): event for event in events.order_by("pk")}
    changed = dict(Connection.history.filter(id__in=needed).order_by("history_id").values_list("id", "history_date"))
    for pk, one in needed.items():
        event = last.get(pk)
        if event is None:
            problems.append(f"{one} was not tested within {TESTED_WITHIN.days} days")
        elif not (isinstance(event.after, dict) and event.after.get("answers")):
            problems.append(f"{one} did not answer its test")
        elif pk in changed and changed[pk] > event.at:
            problems.append(f"{one} was changed since it was tested")
    return _item(
        "tested", "Connection test", problems, f"All answered: {', '.join(sorted(str(one) for one in needed.values()))}.",
        remedy="Open the connection and test it; nothing is written there.", url=reverse("connections"),
    )  # fmt: skip


def _coverage(asked: _Asked) -> Iterator[Item]:
    """Whether the targets' keys are known for the people, projects and tasks that work would be posted to."""
    entity, today = asked.onboarding.entity, sql.now().date()
    during = (Q(valid_to=None) | Q(valid_to__gte=today)) & Q(valid_from__lte=today)
    open_now = ProjectStatus.objects.filter(during, project=OuterRef("pk"), status=ProjectStatus.Status.OPEN)
    projects = Project.objects.filter(Exists(open_now), entity=entity)
    people = Engagement.objects.filter(during, entity=entity).select_related("resource")
    tasks = Task.objects.filter(is_active=True, project__in=projects).select_related("project")
    wanted = {
        Crosswalk.Kind.PROJECT: [(one.pk, one.code) for one in projects.order_by("code")],
        Crosswalk.Kind.RESOURCE: [
            (one.resource_id, one.resource.code) for one in people.order_by("resource__code") if not one.external_id
        ],
        Crosswalk.Kind.TASK: [
            (one.pk, f"{one.project.code} {one.code}") for one in tasks.order_by("project__code", "code")
        ],
    }
    for kind, records in wanted.items():
        yield _covered(asked, kind, records)


def _covered(asked: _Asked, kind: Crosswalk.Kind, records: Sequence[tuple[int, str]]) -> Item:
    title = f"Keys of {'people' if kind == Crosswalk.Kind.RESOURCE else f'{kind.label.lower()}s'}"
    problems = []
    kept = False
    for target in asked.targets:
        of_target = Crosswalk.objects.filter(system=target.connector, realm=target.realm, kind=kind)
        known = set(of_target.filter(internal_id__in=[pk for pk, _ in records]).values_list("internal_id", flat=True))
        if not known and (kind == Crosswalk.Kind.TASK or not of_target.exists()):
            continue  # this target keeps no keys of the kind: our own codes go there
        kept = True
        problems += [f"{code} has no key in {target}" for pk, code in records if pk not in known]
    url = reverse("master", args=["crosswalk"])
    if not kept:
        return Item(
            code=f"keys-{kind}",
            title=title,
            state=NOT_ASKED,
            sentence="No target keeps keys of its own for them.",
            url=url,
        )
    return _item(
        f"keys-{kind}", title, problems, f"None of {len(records):,} is without a key.",
        remedy="Map them, or close what is not worked on any more.", url=url,
    )  # fmt: skip


def _pairs(asked: _Asked) -> list[tuple[Engagement, Project]]:
    """People of one entity on the projects of another, by whom the projects' approval chains and hours name: lent either way."""
    from reconciliation.sql import rehearsals

    found = rehearsals.lent_between(asked.onboarding.entity_id, sql.now().date() - timedelta(days=92))
    people = Engagement.objects.select_related("entity", "resource").in_bulk({row[0] for row in found})
    projects = Project.objects.select_related("entity").in_bulk({row[1] for row in found})
    return [(people[person], projects[project]) for person, project in found]


def _intercompany(asked: _Asked) -> Item:
    url = reverse("master", args=["intercompanyrelation"])
    pairs = {(person.entity, project.entity) for person, project in _pairs(asked)}
    if not pairs:
        return Item(code="intercompany", title="Intercompany pairs", state=NOT_ASKED,
                    sentence="Nobody worked for another entity within three months.", url=url)  # fmt: skip
    today = sql.now().date()
    relations = IntercompanyRelation.objects.filter(Q(valid_to=None) | Q(valid_to__gte=today), valid_from__lte=today)
    standing = set(relations.values_list("provider_id", "receiver_id"))
    problems = [
        f"people of {provider.code} work for {receiver.code} without a relation"
        for provider, receiver in sorted(pairs, key=str)
        if (provider.pk, receiver.pk) not in standing
    ]
    return _item(
        "intercompany", "Intercompany pairs", problems, f"{len(pairs)} pairs lend people, each under a relation.",
        remedy="Add the relation between the two entities.", url=url,
    )  # fmt: skip


def _price_lists(asked: _Asked) -> Item:
    """Whether what people who are lent cost has a price list, in the currency of the entity that lends them."""
    url = reverse("master", args=["intercompanyrelation"])
    entity = asked.onboarding.entity
    pairs = {(person.entity_id, project.entity_id) for person, project in _pairs(asked)}
    relations = IntercompanyRelation.objects.filter(Q(provider=entity) | Q(receiver=entity)).select_related(
        "provider", "receiver", "price_list"
    )
    used = [one for one in relations if (one.provider_id, one.receiver_id) in pairs]
    if not used:
        return Item(code="price-lists", title="Intercompany price lists", state=NOT_ASKED,
                    sentence="No relation lends people of or to the entity.", url=url)  # fmt: skip
    problems = [problem for one in used if (problem := _unpriced(one))]
    return _item(
        "price-lists", "Intercompany price lists", problems, f"{len(used)} relations have a price list in the lender's currency.",
        remedy="Give the relation a price list in the currency of the entity that lends.", url=url,
    )  # fmt: skip


def _unpriced(relation: IntercompanyRelation) -> str:
    """What is wrong with the price list of a relation; empty when nothing is."""
    card, books = relation.price_list, relation.provider.currency
    if card is None:
        return f"{relation} has no price list"
    found = sorted(set(card.rates.values_list("currency", flat=True)))
    if not found:
        return f"{card} of {relation} has no rate"
    if found != [books]:
        return (
            f"{card} prices {relation} in {', '.join(found)}, and {relation.provider.code} keeps its books in {books}"
        )
    return ""


def _cut_over(asked: _Asked) -> Item:
    said = cut_overs(asked.onboarding)
    problems = [f"time of {one} has no cut-over" for one in asked.sources if (one.pk, "time") not in said]
    closed = AccountingPeriod.objects.filter(entity=asked.onboarding.entity, state=AccountingPeriod.State.CLOSED)
    last = closed.order_by("-ends_on").first()
    if last is not None:
        problems += [
            f"{one} lies in or before {last.code}, which is closed and would be posted again"
            for one in said.values()
            if one.first_day <= last.ends_on
        ]
    words = [f"{one.get_kind_display()} of {one.source} from {figures.day(one.first_day)}" for one in said.values()]
    return _item(
        "cut-over", "Cut-over", problems, f"{'; '.join(words)}.",
        remedy="Say below from which work date each kind of record is owed; what is earlier is never posted.",
    )  # fmt: skip


def _second_person(asked: _Asked) -> Item:
    people = list(access.holders(access.APPROVERS, asked.onboarding.entity_id).values_list("username", flat=True))
    problems = [] if len(people) > 1 else ["fewer than two controllers could propose and decide"]
    return _item(
        "second-person", "A second person", problems, f"{len(people)} controllers: one proposes, another decides.",
        remedy="Give a second person the role of a controller in the entity.",
    )  # fmt: skip
