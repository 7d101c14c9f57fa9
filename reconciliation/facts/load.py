"""Loading: the drafts of a batch, their routes, and every fact that a rule may ask for, in a fixed number of queries.

The rule here: a batch asks by its own keys, once for all its drafts, and never row by row.
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
from reconciliation.facts.calendar import load_calendar
from reconciliation.facts.naming import load_named, load_names, resolve, resolve_own
from reconciliation.facts.records import (
    Contract,
    CostCentre,
    Customer,
    Draft,
    Entity,
    Other,
    PurchaseOrder,
    RateCard,
    Refused,
    Role,
    Route,
    Source,
    Standing,
    normal,
)
from reconciliation.facts.tables import Book, Facts, as_mapping, by_first, by_id
from reconciliation.facts.workdays import calendar_of
from reconciliation.sql import documents, master_data, owed

Days = tuple[date, date]
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
    if isinstance(value, str):
        return [] if value == "[]" else json.loads(value)
    return list(value or [])


def give_routes(drafts: Sequence[Draft]) -> tuple[dict[int, Source], dict[int, Entity]]:
    """Set each draft's source, entity, route and policy as of its work date; a draft without a route keeps None."""
    source_ids = {draft.source_id for draft in drafts}
    found = master_data.routes(source_ids)
    connections = {
        row[0]: Source(row[0], row[1], row[2], row[3], row[4], row[5], as_mapping(row[6]), row[7])
        for row in master_data.connections(source_ids | {row[6] for row in found})
    }
    entities = {
        row[0]: Entity(row[0], row[1], row[2], row[3], as_mapping(row[4]), calendar_of(as_mapping(row[5])))
        for row in master_data.entities()
    }
    routes: dict[tuple[int, int, str], list[tuple[date, date, Route]]] = {}
    for source_id, entity_id, kind, start, end, route_id, target_id, policy in found:
        target = connections[target_id]
        layers = (policies.of_target(target.settings), entities[entity_id].policy, as_mapping(policy))
        route = Route(route_id, entity_id, target, policies.merged(*layers))
        routes.setdefault((source_id, entity_id, kind), []).append((start, end, route))
    first_days = {(source, entity, kind): day for source, entity, kind, day in owed.first_days(source_ids)}
    for draft in drafts:
        draft.source = connections[draft.source_id]
        draft.entity = entities[draft.entity_id]
        own = first_days.get((draft.source_id, draft.entity_id, draft.kind))
        draft.owed_from = own or draft.source.cut_over_on
        day = draft.work_date
        for start, end, route in routes.get((draft.source_id, draft.entity_id, draft.kind), ()):
            if start <= day <= end:
                draft.is_routed = True
                draft.route = route
                draft.policy = route.policy
    return connections, entities


def name(drafts: Sequence[Draft], entities: dict[int, Entity]) -> None:
    """Find the projects and people of drafts that go nowhere yet, and nothing else of them."""
    facts = Facts(now=sql.now(), entities=entities)
    if drafts:
        load_names(facts, drafts)
        load_named(facts, drafts)
        for draft in drafts:
            resolve(facts, draft)


def load(drafts: Sequence[Draft], entities: dict[int, Entity], *, without: Sequence[int] = ()) -> Facts:
    """Resolve every reference of the routed drafts and load what the rules ask for.

    `without` are entries being validated again: what they take of a cap is not counted against them.
    """
    facts = Facts(now=sql.now(), entities=entities)
    if not drafts:
        return facts
    refused = _refused_on_the_same_days(drafts)
    load_names(facts, [*drafts, *refused])
    load_named(facts, [*drafts, *refused])
    for draft in (*drafts, *refused):
        resolve(facts, draft)
    _set_refused(drafts, refused)
    _load_agreements(facts, drafts)
    for draft in drafts:
        _resolve_more(facts, draft)
    load_calendar(facts, drafts)
    _load_books(facts, drafts)
    _load_rates(facts, drafts)
    _load_company(facts, drafts)
    _load_budgets(facts, drafts, without)
    facts.waivers = set(documents.waivers_of([draft.document_id for draft in drafts]))
    return facts


def _refused_on_the_same_days(drafts: Sequence[Draft]) -> list[Draft]:
    """What other tools rejected or withdrew on the work days of the batch; one query where there is nothing."""
    timed = [draft for draft in drafts if draft.kind == "time"]
    ids = documents.refused_on({draft.work_date for draft in timed}) if timed else []
    if not ids:
        return []
    batch = {draft.document_id for draft in drafts}
    refused = drafts_of([document_id for document_id in ids if document_id not in batch], lock=False)
    give_routes(refused)
    return refused


def _set_refused(drafts: Sequence[Draft], refused: Sequence[Draft]) -> None:
    """Give each draft what was refused of the same person on the same day by another source."""
    by_day: dict[tuple[int, date], list[Refused]] = {}
    for copy in refused:
        if copy.resource is not None and copy.hours is not None:
            by_day.setdefault((copy.resource.id, copy.work_date), []).append(
                Refused(
                    copy.document_id, copy.source, copy.status, copy.project.id if copy.project else None, copy.hours,
                    copy.provenance, normal(copy.description), copy.external_id,
                )
            )  # fmt: skip
    for draft in drafts if by_day else ():
        if draft.resource is not None and draft.kind == "time":
            there = by_day.get((draft.resource.id, draft.work_date), [])
            draft.refused = [copy for copy in there if copy.source.id != draft.source_id]


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


def load_prices(drafts: Sequence[Draft], entities: dict[int, Entity], *, days: Days | None = None) -> Facts:
    """What pricing asks for and nothing else: who, what, under which agreement, and every rate. Nothing is locked.

    Drafts that name no document are resolved by our own codes alone. `days` widens the rates beyond the work dates.
    """
    facts = Facts(now=sql.now(), entities=entities)
    if not drafts:
        return facts
    load_names(facts, drafts)
    load_named(facts, drafts)
    for draft in drafts:
        if draft.document_id:
            resolve(facts, draft)
        else:
            resolve_own(facts, draft)
    _load_agreements(facts, drafts)
    for draft in drafts:
        _resolve_more(facts, draft)
    _load_rates(facts, drafts, days)
    return facts


def _load_rates(facts: Facts, drafts: Sequence[Draft], days: Days | None = None) -> None:
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
        days or (min(draft.work_date for draft in drafts), max(draft.work_date for draft in drafts)),
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
    for resource_id, day, *rest in documents.live_time_on(days, without=timed):
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
    """Lock the contracts with a limit and the purchase orders of the batch, and what is left of each."""
    capped = {
        draft.contract.id: draft.contract
        for draft in drafts
        if draft.contract and draft.contract.cap_amount is not None
    }
    orders = {draft.purchase_order.id: draft.purchase_order for draft in drafts if draft.purchase_order}
    retained = {
        (draft.contract.id, draft.work_date.replace(day=1)): draft.contract.retainer_hours
        for draft in drafts
        if draft.contract and draft.contract.retainer_hours is not None and draft.kind == "time"
    }
    master_data.lock_budgets(sorted({*capped, *(contract_id for contract_id, _ in retained)}), list(orders))
    drawn = master_data.drawn_from_retainers(retained, without)
    for month, agreed in retained.items():
        facts.left_of_retainer[month] = agreed - drawn.get(month, Decimal(0))
    spent = master_data.spent_under_contracts(list(capped), without)
    for contract_id, contract in capped.items():
        facts.left_of_contract[contract_id] = (contract.cap_amount or Decimal(0)) - spent.get(contract_id, Decimal(0))
    spent = master_data.spent_under_purchase_orders(list(orders), without)
    for order_id, order in orders.items():
        facts.left_of_purchase_order[order_id] = order.amount - spent.get(order_id, Decimal(0))
