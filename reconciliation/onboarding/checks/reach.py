"""What must stand of what reaches across: keys in the targets, and people lent between entities."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from urllib.parse import urlencode

from django.db.models import Exists, OuterRef, Q
from django.urls import reverse

from portal import sql
from portal.models import Crosswalk, Customer, Engagement, IntercompanyRelation, Project, ProjectStatus, Task
from reconciliation.onboarding.checks.base import Asked, Item, change_of, item, not_asked
from reconciliation.sql import rehearsals

Kind = Crosswalk.Kind
TITLES = {Kind.PROJECT: "projects", Kind.RESOURCE: "people", Kind.TASK: "tasks", Kind.CUSTOMER: "customers"}


def coverage(asked: Asked) -> Iterator[Item]:
    """Whether the targets' keys are known for the customers, projects, tasks and people that work would be posted to."""
    entity, today = asked.entity, sql.now().date()
    during = (Q(valid_to=None) | Q(valid_to__gte=today)) & Q(valid_from__lte=today)
    open_now = ProjectStatus.objects.filter(during, project=OuterRef("pk"), status=ProjectStatus.Status.OPEN)
    projects = Project.objects.filter(Exists(open_now), entity=entity)
    people = Engagement.objects.filter(during, entity=entity).select_related("resource")
    tasks = Task.objects.filter(is_active=True, project__in=projects).select_related("project")
    customers = Customer.objects.filter(projects__in=projects, merged_into=None).distinct()
    wanted = {
        Kind.CUSTOMER: list(customers.order_by("code").values_list("pk", "code")),
        Kind.PROJECT: list(projects.order_by("code").values_list("pk", "code")),
        Kind.RESOURCE: [
            (one.resource_id, one.resource.code) for one in people.order_by("resource__code") if not one.external_id
        ],
        Kind.TASK: [(one.pk, f"{one.project.code} {one.code}") for one in tasks.order_by("project__code", "code")],
    }
    for kind, records in wanted.items():
        yield _covered(asked, kind, records)


def _covered(asked: Asked, kind: Crosswalk.Kind, records: Sequence[tuple[int, str]]) -> Item:
    title = f"Keys of {TITLES[kind]}"
    problems, short = [], None
    kept = False
    for target in asked.targets:
        of_target = Crosswalk.objects.filter(system=target.connector, realm=target.realm, kind=kind)
        known = set(of_target.filter(internal_id__in=[pk for pk, _ in records]).values_list("internal_id", flat=True))
        if not known and (kind == Kind.TASK or not of_target.exists()):
            continue  # this target keeps no keys of the kind: our own codes go there
        kept = True
        without = [f"{code} has no key in {target}" for pk, code in records if pk not in known]
        problems += without
        short = short or (target if without else None)
    if not kept:
        url = reverse("master", args=["crosswalk"])
        return not_asked(f"keys-{kind}", title, "No target keeps keys of its own for them.", url)
    about = {"kind": kind.value, "entity": asked.entity.code} | (
        {"system": short.code, "state": "unmapped"} if short else {}
    )
    return item(
        f"keys-{kind}", title, problems, f"None of {len(records):,} is without a key.",
        remedy="Map them, or close what is not worked on any more.", url=f"{reverse('mappings')}?{urlencode(about)}",
    )  # fmt: skip


def _lent(asked: Asked) -> list[tuple[Engagement, Project]]:
    """People of one entity on the projects of another, by whom the projects' approval chains and hours name: lent either way."""
    found = rehearsals.lent_between(asked.entity.pk, sql.now().date() - timedelta(days=92))
    people = Engagement.objects.select_related("entity", "resource").in_bulk({row[0] for row in found})
    projects = Project.objects.select_related("entity").in_bulk({row[1] for row in found})
    return [(people[person], projects[project]) for person, project in found]


def intercompany(asked: Asked) -> Item:
    """A relation for every pair of entities between which people are lent."""
    url = reverse("master", args=["intercompanyrelation"])
    pairs = {(person.entity, project.entity) for person, project in _lent(asked)}
    if not pairs:
        return not_asked(
            "intercompany", "Intercompany pairs", "Nobody worked for another entity within three months.", url
        )
    today = sql.now().date()
    relations = IntercompanyRelation.objects.filter(Q(valid_to=None) | Q(valid_to__gte=today), valid_from__lte=today)
    standing = set(relations.values_list("provider_id", "receiver_id"))
    problems = [
        f"people of {provider.code} work for {receiver.code} without a relation"
        for provider, receiver in sorted(pairs, key=str)
        if (provider.pk, receiver.pk) not in standing
    ]
    return item(
        "intercompany", "Intercompany pairs", problems, f"{len(pairs)} pairs lend people, each under a relation.",
        remedy="Add the relation between the two entities.", url=url,
        mend=change_of("intercompany", f"Intercompany of {asked.entity.code}"),
    )  # fmt: skip


def price_lists(asked: Asked) -> Item:
    """Whether what people who are lent cost has a price list, in the currency of the entity that lends them."""
    url = reverse("master", args=["intercompanyrelation"])
    entity = asked.entity
    pairs = {(person.entity_id, project.entity_id) for person, project in _lent(asked)}
    relations = IntercompanyRelation.objects.filter(Q(provider=entity) | Q(receiver=entity)).select_related(
        "provider", "receiver", "price_list"
    )
    used = [one for one in relations if (one.provider_id, one.receiver_id) in pairs]
    if not used:
        return not_asked(
            "price-lists", "Intercompany price lists", "No relation lends people of or to the entity.", url
        )
    problems = [problem for one in used if (problem := _unpriced(one))]
    return item(
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
