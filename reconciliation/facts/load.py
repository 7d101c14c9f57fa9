"""Loading: the drafts of a batch, their routes, and every fact that a rule may ask for, in a fixed number of queries.

The rule here: a reference is resolved as of the work date, first by the source's own key, then by an alias (the connection's
own before a general one), then by our own code; names alone decide nothing but the task within its project.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from portal import sql
from portal.ledger import STANDING
from reconciliation import policies
from reconciliation.facts.records import (
    FOREVER,
    Contract,
    CostCentre,
    Customer,
    Draft,
    Engagement,
    Entity,
    Other,
    Period,
    Project,
    PurchaseOrder,
    RateCard,
    Resource,
    Role,
    Route,
    Source,
    Standing,
    Task,
    normal,
)
from reconciliation.facts.tables import Book, Facts, Names, as_mapping, by_first, by_id
from reconciliation.sql import documents, master_data

SENT = frozenset(str(state) for state in STANDING)


def drafts_of(document_ids: Sequence[int], *, lock: bool = True) -> list[Draft]:
    """Drafts of the current versions, by document id; the documents locked until the transaction ends, unless told not to."""
    if lock:
        documents.lock(document_ids)
    drafts = [Draft(*row) for row in documents.current_versions(document_ids)]
    for draft in drafts:
        draft.whole_hours = draft.hours
    drafts.sort(key=lambda draft: draft.document_id)
    return drafts


def standing_entry(row: Sequence[Any]) -> Standing:
    """One entry as read by `sql.documents`."""
    entry = Standing(*row)
    entry.tags = _list(entry.tags)
    entry.target_keys = as_mapping(entry.target_keys)
    return entry


def _list(value: Any) -> list[str]:
    return json.loads(value) if isinstance(value, str) else list(value or [])


def give_routes(drafts: Sequence[Draft]) -> tuple[dict[int, Source], dict[int, Entity]]:
    """Set each draft's source, entity, route and policy as of its work date; a draft without a route keeps None."""
    source_ids = {draft.source_id for draft in drafts}
    found = master_data.routes(source_ids)
    connections = {
        row[0]: Source(row[0], row[1], row[2], row[3], row[4], row[5], as_mapping(row[6]), row[7])
        for row in master_data.connections(source_ids | {row[6] for row in found})
    }
    entities = {row[0]: Entity(row[0], row[1], row[2], row[3], as_mapping(row[4])) for row in master_data.entities()}
    routes: dict[tuple[int, int, str], list[tuple[date, date, Route]]] = {}
    for source_id, entity_id, kind, start, end, route_id, target_id, policy in found:
        target = connections[target_id]
        layers = (policies.of_target(target.settings), entities[entity_id].policy, as_mapping(policy))
        route = Route(route_id, entity_id, target, policies.merged(*layers))
        routes.setdefault((source_id, entity_id, kind), []).append((start, end, route))
    for draft in drafts:
        draft.source = connections[draft.source_id]
        draft.entity = entities[draft.entity_id]
        day = draft.work_date
        for start, end, route in routes.get((draft.source_id, draft.entity_id, draft.kind), ()):
            if start <= day <= end:
                draft.is_routed = True
                draft.route = route
                draft.policy = route.policy
    return connections, entities


def load(drafts: Sequence[Draft], entities: dict[int, Entity], *, without: Sequence[int] = ()) -> Facts:
    """Resolve every reference of the routed drafts and load what the rules ask for.

    `without` are entries being validated again: what they take of a cap is not counted against them.
    """
    facts = Facts(now=sql.now(), entities=entities)
    if not drafts:
        return facts
    _load_names(facts, drafts)
    _load_named(facts, drafts)
    for draft in drafts:
        _resolve(facts, draft)
    _load_agreements(facts, drafts)
    for draft in drafts:
        _resolve_more(facts, draft)
    _load_calendar(facts, drafts)
    _load_books(facts, drafts)
    _load_rates(facts, drafts)
    _load_company(facts, drafts)
    _load_budgets(facts, drafts, without)
    facts.waivers = set(documents.waivers_of([draft.document_id for draft in drafts]))
    return facts


def _load_names(facts: Facts, drafts: Sequence[Draft]) -> None:
    """What the sources of the batch call our records."""
    sources = {draft.source_id: draft.source for draft in drafts}
    facts.names = {source_id: Names() for source_id in sources}
    keys: set[str] = set()
    for draft in drafts:
        keys.add(draft.project_key)
        keys.add(draft.resource_key)
        keys.add(draft.task_key)
        keys.add(draft.approver_key)
    keys.discard("")
    by_realm: dict[tuple[str, str], list[Names]] = {}
    for source_id, source in sources.items():
        by_realm.setdefault(source.realm_key, []).append(facts.names[source_id])
    found = master_data.keys_of_sources(list(by_realm), ("project", "task", "resource"), keys)
    for system, realm, kind, external_id, start, end, internal_id in found:
        for names in by_realm[system, realm]:
            names.keys[kind].setdefault(external_id, []).append((start, end, internal_id))
    aliases = master_data.aliases(sources, lambda: _spelled(drafts))
    aliases.sort(key=lambda row: row[0] is None)
    for connection_id, kind, code, start, end, internal_id, alias_id in aliases:
        for source_id, names in facts.names.items():
            if connection_id in (None, source_id):
                names.aliases.setdefault((kind, normal(code)), []).append((start, end, internal_id, alias_id))


def _spelled(drafts: Sequence[Draft]) -> set[str]:
    """Every code and name that the batch uses, in one spelling."""
    return {
        normal(code)
        for draft in drafts
        for code in (
            draft.project_code, draft.project_key, draft.project_name, draft.resource_code, draft.resource_key,
            draft.resource_name, draft.task_code, draft.task_key, draft.task_name, draft.approver_code, draft.approver_key,
            draft.approver_name,
        )
        if code
    }  # fmt: skip


def _load_named(facts: Facts, drafts: Sequence[Draft]) -> None:
    """Projects and people that the batch may mean, by id and by our own code."""
    project_ids: set[int] = set()
    resource_ids: set[int] = set()
    for names in facts.names.values():
        for kind, ids in (("project", project_ids), ("resource", resource_ids)):
            ids.update(found[2] for ranges in names.keys[kind].values() for found in ranges)
            ids.update(found[2] for (of, _), ranges in names.aliases.items() if of == kind for found in ranges)
    codes = {draft.project_code.strip() for draft in drafts}
    facts.projects = by_id(master_data.projects(project_ids, codes), Project)
    facts.project_by_code = {project.code: project for project in facts.projects.values()}
    people = {draft.resource_code.strip() for draft in drafts} | {draft.approver_code.strip() for draft in drafts}
    people.discard("")
    facts.resources = by_id(
        master_data.resources(resource_ids, people, {code.lower() for code in people if "@" in code}), Resource
    )
    facts.resource_by_code = {resource.code: resource for resource in facts.resources.values()}
    shared: set[str] = set()
    for resource in facts.resources.values():
        email = resource.email.lower()
        if email in facts.resource_by_email:
            shared.add(email)
        facts.resource_by_email[email] = resource
    for email in shared | {""}:
        facts.resource_by_email.pop(email, None)
    facts.tasks = by_first(master_data.tasks(facts.projects), Task)
    facts.statuses = by_first(master_data.statuses(facts.projects))
    facts.approvers = by_first(master_data.approvers(facts.projects))
    facts.engagements = by_first(master_data.engagements(facts.resources), Engagement)


def _by_key_or_alias(names: Names, kind: str, said: tuple[str, str, str], day: date) -> tuple[int, int]:
    """(internal id, alias id) of what the source means by (key, code, name) on a day; zeros when nothing says."""
    key, code, name = said
    if key:
        for start, end, internal_id in names.keys[kind].get(key, ()):
            if start <= day <= end:
                return internal_id, 0
    if names.aliases:
        for spelled in (code, key, name):
            if spelled:
                for start, end, internal_id, alias_id in names.aliases.get((kind, normal(spelled)), ()):
                    if start <= day <= end:
                        return internal_id, alias_id
    return 0, 0


def _resolve(facts: Facts, draft: Draft) -> None:
    """Find the project, the person and the approver."""
    names = facts.names[draft.source_id]
    day = draft.work_date
    found, alias = _by_key_or_alias(names, "project", (draft.project_key, draft.project_code, draft.project_name), day)
    draft.project = facts.projects.get(found) or facts.project_by_code.get(draft.project_code.strip())
    if alias:
        draft.tags.append(f"project-by-alias:{alias}")
    found, alias = _by_key_or_alias(
        names, "resource", (draft.resource_key, draft.resource_code, draft.resource_name), day
    )
    draft.resource = facts.resources.get(found) or _person(facts, draft.resource_code)
    if alias:
        draft.tags.append(f"resource-by-alias:{alias}")
    if draft.approver_key or draft.approver_code or draft.approver_name:
        found, _ = _by_key_or_alias(
            names, "resource", (draft.approver_key, draft.approver_code, draft.approver_name), day
        )
        draft.approver = facts.resources.get(found) or _person(facts, draft.approver_code)
    if draft.resource is not None:
        draft.engagement = facts.engagement_on(draft.resource.id, day)
    if draft.project is not None:
        draft.task = _task(facts, names, draft, draft.project)


def _person(facts: Facts, code: str) -> Resource | None:
    code = code.strip()
    if not code:
        return None
    return facts.resource_by_code.get(code) or facts.resource_by_email.get(code.lower())


def _task(facts: Facts, names: Names, draft: Draft, project: Project) -> Task | None:
    """The task within the project: by key, alias, code or name; the project's default where none is named."""
    tasks = facts.tasks.get(project.id)
    if not tasks:
        return None
    if not (draft.task_key or draft.task_code or draft.task_name):
        return next((task for task in tasks if task.is_default and task.is_active), None)
    found, _ = _by_key_or_alias(names, "task", (draft.task_key, draft.task_code, draft.task_name), draft.work_date)
    code, name = draft.task_code.strip(), normal(draft.task_name)
    for matches in (
        lambda task: task.id == found,
        lambda task: code and task.code == code,
        lambda task: name and normal(task.name) == name,
    ):
        for task in tasks:
            if matches(task):
                return task
    draft.tags.append("task-unknown")
    return None


def _load_agreements(facts: Facts, drafts: Sequence[Draft]) -> None:
    """Customers, contracts, purchase orders, roles and cost centres of the projects and people found."""
    used = {draft.project.id: draft.project for draft in drafts if draft.project}
    projects = used.values()
    facts.customers = by_id(master_data.customers({project.customer_id for project in projects}), Customer)
    facts.contracts = by_id(
        master_data.contracts({project.contract_id for project in projects if project.contract_id}), Contract
    )
    facts.purchase_orders = by_first(master_data.purchase_orders(facts.contracts), PurchaseOrder)
    engagements = [draft.engagement for draft in drafts if draft.engagement]
    facts.roles = by_id(master_data.roles({engagement.role_id for engagement in engagements}), Role)
    centres = {engagement.cost_centre_id for engagement in engagements if engagement.cost_centre_id}
    centres |= {project.cost_centre_id for project in projects if project.cost_centre_id}
    entity_ids = {draft.entity_id for draft in drafts}
    by_role = {code for draft in drafts for code in draft.policy.cost_centre_by_role.values()}
    found = by_id(master_data.cost_centres(centres, entity_ids, by_role), CostCentre)
    facts.cost_centres = found
    facts.cost_centre_by_code = {(centre.entity_id, centre.code): centre for centre in found.values()}
    facts.keep_cost_centres = master_data.keep_cost_centres(entity_ids)


def _resolve_more(facts: Facts, draft: Draft) -> None:
    """Follow the project to its customer and contract, and the engagement to its role and cost centre."""
    project, engagement = draft.project, draft.engagement
    centre = None
    if project is not None:
        customer = facts.customers[project.customer_id]
        if customer.merged_into_id and draft.policy.merged_customer == "follow":
            customer = facts.survivor(customer)
            draft.tags.append("customer-merged")
        draft.customer = customer
        if project.contract_id:
            draft.contract = facts.contracts[project.contract_id]
            draft.purchase_order = facts.purchase_order_on(project.contract_id, draft.work_date)
        centre = project.cost_centre_id
    if engagement is not None:
        draft.role = facts.roles.get(engagement.role_id)
        centre = engagement.cost_centre_id or centre
    if centre:
        draft.cost_centre = facts.cost_centres.get(centre)
    elif draft.role is not None and draft.role.code in draft.policy.cost_centre_by_role:
        code = draft.policy.cost_centre_by_role[draft.role.code]
        draft.cost_centre = facts.cost_centre_by_code.get((draft.entity_id, code))


def _load_calendar(facts: Facts, drafts: Sequence[Draft]) -> None:
    """Periods and intercompany relations of every entity that a draft touches; then where each draft is booked."""
    entity_ids = {draft.entity_id for draft in drafts}
    entity_ids |= {draft.project.entity_id for draft in drafts if draft.project}
    entity_ids |= {draft.engagement.entity_id for draft in drafts if draft.engagement}
    first = min(min(draft.work_date, draft.says_post_on or FOREVER) for draft in drafts)
    facts.periods = by_first(master_data.periods(entity_ids, first), Period)
    facts.intercompany = {}
    for provider, receiver, start, end in master_data.intercompany(entity_ids):
        facts.intercompany.setdefault((provider, receiver), []).append((start, end))
    for draft in drafts:
        draft.legs = _legs(draft)
        place(facts, draft)


def _legs(draft: Draft) -> tuple[int, ...]:
    """The entity that books a draft, then those of its project and of its person where they are others."""
    first = draft.entity_id
    second = draft.project.entity_id if draft.project is not None else first
    third = draft.engagement.entity_id if draft.engagement is not None else first
    if second == first == third:
        return (first,)
    return tuple(dict.fromkeys((first, second, third)))


def place(facts: Facts, draft: Draft) -> None:
    """Set the day and the period that a draft is booked under: its work date, finance's date, or the next open period."""
    day = draft.says_post_on or draft.work_date
    period = facts.period_on(draft.entity_id, day)
    if period is not None and draft.policy.closed_period == "next_open" and not takes_postings(period, draft.policy):
        following = facts.next_open_period(draft.entity_id, day)
        if following is not None:
            period, day = following, following.starts_on
    draft.period, draft.post_on = period, day
    if day != draft.work_date:
        draft.tags.append("late")


def takes_postings(period: Period, policy: policies.Policy) -> bool:
    """Whether a period may be booked into."""
    return period.state == "open" or (period.state == "closing" and policy.post_in_closing)


def _load_books(facts: Facts, drafts: Sequence[Draft]) -> None:
    """What the targets of the batch call the records found."""
    targets = {draft.route.target.id: draft.route.target for draft in drafts}
    realms = {target.realm_key for target in targets.values()}
    facts.books = {target_id: Book() for target_id in targets}
    wanted: dict[str, Collection[int]] = {
        "entity": {draft.entity_id for draft in drafts},
        "project": {draft.project.id for draft in drafts if draft.project},
        "task": {draft.task.id for draft in drafts if draft.task},
        "resource": {draft.resource.id for draft in drafts if draft.resource},
        "cost_centre": {draft.cost_centre.id for draft in drafts if draft.cost_centre},
        "item": {draft.role.id for draft in drafts if draft.role},
    }
    by_realm: dict[tuple[str, str], list[Book]] = {}
    for target_id, target in targets.items():
        by_realm.setdefault(target.realm_key, []).append(facts.books[target_id])
    for system, realm, kind in master_data.kinds_kept(realms, list(wanted)):
        for book in by_realm[system, realm]:
            book.kept.add(kind)
    for system, realm, kind, internal_id, start, end, external_id in master_data.keys_in_targets(realms, wanted):
        for book in by_realm[system, realm]:
            book.keys[kind].setdefault(internal_id, []).append((start, end, external_id))


def _load_rates(facts: Facts, drafts: Sequence[Draft]) -> None:
    """Rate cards of every scope, and their rates that may price somebody in the batch."""
    entity_ids = {draft.project.entity_id for draft in drafts if draft.project}
    found = master_data.rate_cards(facts.contracts, facts.customers, entity_ids)
    for row in found:
        card = RateCard(*row)
        scope = next(
            (
                (name, scope_id)
                for name, scope_id in (
                    ("contract", card.contract_id), ("customer", card.customer_id), ("entity", card.entity_id)
                )
                if scope_id
            ),
            ("default", 0),
        )  # fmt: skip
        facts.cards.setdefault(scope, []).append(card)
    rates = facts.rates
    for card_id, resource_id, role_id, task_id, *rest in master_data.rates(
        [row[0] for row in found],
        _roles_of_cards(facts, drafts),
        {draft.resource.id for draft in drafts if draft.resource},
        {draft.task.id for draft in drafts if draft.task},
        (min(draft.work_date for draft in drafts), max(draft.work_date for draft in drafts)),
    ):
        rates.setdefault(card_id, {}).setdefault((resource_id, role_id, task_id), []).append(rest)


def _roles_of_cards(facts: Facts, drafts: Sequence[Draft]) -> list[tuple[int, int]]:
    """(card, role) for the roles that work under each contract's card, and every role of the batch for the wider cards."""
    under = {
        (draft.contract.id, draft.role.id) for draft in drafts if draft.contract is not None and draft.role is not None
    }
    pairs = [
        (card.id, role_id) for contract_id, role_id in under for card in facts.cards.get(("contract", contract_id), ())
    ]
    wider = [card.id for (scope, _), cards in facts.cards.items() if scope != "contract" for card in cards]
    return pairs + [(card_id, role_id) for card_id in wider for role_id in facts.roles]


def _load_company(facts: Facts, drafts: Sequence[Draft]) -> None:
    """What else each person has on each day: live entries of other documents, and the other drafts of the batch."""
    timed = {draft.document_id: draft for draft in drafts if draft.kind == "time" and draft.resource}
    days = {(draft.resource.id, draft.work_date) for draft in timed.values() if draft.resource}
    company: dict[tuple[int, date], dict[int, Other]] = {}
    for resource_id, day, *rest in documents.live_time_on(days):
        if rest[0] in timed:
            continue
        there = company.setdefault((resource_id, day), {})
        if rest[0] in there:  # another part of the same version
            there[rest[0]].hours += rest[3]
        else:
            rest[9] = normal(rest[9])
            there[rest[0]] = Other(*rest)
    for draft in drafts:
        draft.text = normal(draft.description)
    for draft in timed.values():
        if draft.resource is None:
            continue
        company.setdefault((draft.resource.id, draft.work_date), {})[draft.document_id] = Other(
            draft.document_id, draft.source_id, draft.project.id if draft.project else None, draft.whole_hours or Decimal(0),
            "", draft.says_billable, draft.starts_at, draft.ends_at, draft.provenance, draft.text, draft.external_id,
        )  # fmt: skip
    facts.others = {key: list(there.values()) for key, there in company.items()}
    for draft in drafts:
        if draft.resource is not None and draft.kind == "time":
            draft.others = facts.others[draft.resource.id, draft.work_date]


def _load_budgets(facts: Facts, drafts: Sequence[Draft], without: Sequence[int]) -> None:
    """Lock the capped contracts and purchase orders of the batch, and what is left of each."""
    capped = {
        draft.contract.id: draft.contract
        for draft in drafts
        if draft.contract and draft.contract.cap_amount is not None
    }
    orders = {draft.purchase_order.id: draft.purchase_order for draft in drafts if draft.purchase_order}
    master_data.lock_budgets(list(capped), list(orders))
    spent = master_data.spent_under_contracts(list(capped), without)
    for contract_id, contract in capped.items():
        facts.left_of_contract[contract_id] = (contract.cap_amount or Decimal(0)) - spent.get(contract_id, Decimal(0))
    spent = master_data.spent_under_purchase_orders(list(orders), without)
    for order_id, order in orders.items():
        facts.left_of_purchase_order[order_id] = order.amount - spent.get(order_id, Decimal(0))
