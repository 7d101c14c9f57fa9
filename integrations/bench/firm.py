"""A large firm, built deterministically by COPY: the master data that a bench's entries are judged against.

Four entities, as many projects, people and dated rates as asked for. Numbers follow from positions, so two runs are alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from integrations.bench.work import CURRENCIES, DAYS, FIRST
from portal import sql
from portal.models import Connection, LegalEntity
from portal.records import DocumentKind
from reconciliation.models import Route

ROLES = 20
START = date(2020, 1, 1)


@dataclass(frozen=True, slots=True)
class Firm:
    """What was built: ids and sizes."""

    sources: list[Connection]
    target: Connection
    projects: list[int]
    people: list[int]

    @property
    def entities(self) -> list[int]:
        """The entities, one for each source."""
        return [source.entity_id for source in self.sources if source.entity_id is not None]


def _copy(table: str, columns: tuple[str, ...], rows: list[list[Any]]) -> list[int]:
    ids = sql.draw_ids(table, len(rows))
    sql.copy_in(table, ("id", *columns), ([row_id, *row] for row_id, row in zip(ids, rows, strict=True)))
    return ids


def build(projects: int, people: int, rates: int, *, connector: str = "harvest", target: str = "netsuite") -> Firm:
    """Write the firm. People of entity n work on projects of entity n; every tenth rate is a day rate."""
    entities = [
        LegalEntity.objects.create(code=f"E{n}", name=f"Entity {n}", currency=currency)
        for n, currency in enumerate(CURRENCIES)
    ]
    sources = [
        Connection.objects.create(
            code=f"source-{n}", name=f"Source {n}", connector=connector, entity=entity, is_source=True, realm=str(n),
            base_url="http://127.0.0.1:9", credentials={"token": {"env": "PATH"}, "api_key": {"env": "PATH"}},
        )
        for n, entity in enumerate(entities)
    ]  # fmt: skip
    erp = Connection.objects.create(
        code="erp",
        name="ERP",
        connector=target,
        is_target=True,
        realm="1",
        base_url="http://127.0.0.1:9",
        concurrency=8,
    )
    for source, entity in zip(sources, entities, strict=True):
        Route.objects.create(entity=entity, source=source, target=erp, kind=DocumentKind.TIME, valid_from=START)
    ids = [entity.pk for entity in entities]
    _copy(
        "portal_accountingperiod",
        ("entity_id", "code", "starts_on", "ends_on", "state"),
        [[e, "2026-10", FIRST, FIRST + timedelta(days=DAYS - 1), "open"] for e in ids],
    )
    _copy("portal_role", ("code", "name"), [[f"R{n}", f"Role {n}"] for n in range(ROLES)])
    roles = [row[0] for row in sql.rows("SELECT id FROM portal_role ORDER BY id")]
    customers = _copy(
        "portal_customer", ("code", "name", "currency", "tax_treatment", "tax_number", "entity_id"),
        [[f"C{n}", f"Customer {n}", CURRENCIES[n % 4], "domestic", "", ids[n % 4]] for n in range(max(projects // 10, 4))],
    )  # fmt: skip
    contracts = _copy(
        "portal_contract",
        ("code", "name", "customer_id", "entity_id", "billing_model", "currency", "requires_purchase_order", "rounding",
         "hours_per_day", "rate_tolerance"),
        [[f"K{n}", f"Contract {n}", customer, ids[n % 4], "time_and_material", CURRENCIES[n % 4], False, "entry", 8, 0]
         for n, customer in enumerate(customers)],
    )  # fmt: skip
    owners = [_parent(n, len(customers)) for n in range(projects)]
    project_ids = _copy(
        "portal_project", ("code", "name", "entity_id", "customer_id", "contract_id", "billing_model", "requires_task"),
        [[f"P{n}", f"Project {n}", ids[n % 4], customers[owner], contracts[owner], "", False] for n, owner in enumerate(owners)],
    )  # fmt: skip
    _copy(
        "portal_projectstatus", ("project_id", "status", "valid_from"),
        [[project, "open", START] for project in project_ids],
    )  # fmt: skip
    person_ids = _copy(
        "portal_resource", ("code", "name", "email"), [[f"W{n}", f"Person {n}", ""] for n in range(people)]
    )
    _copy(
        "portal_engagement", ("resource_id", "entity_id", "role_id", "external_id", "valid_from"),
        [[person, ids[n % 4], roles[n % ROLES], "", START] for n, person in enumerate(person_ids)],
    )  # fmt: skip
    _rates(contracts, roles, rates)
    _crosswalks(connector, project_ids, person_ids, ids)
    sql.execute("ANALYZE")
    return Firm(sources, erp, project_ids, person_ids)


def _parent(number: int, customers: int) -> int:
    """A customer of the project's own entity: the same remainder by four."""
    return (number // 4 * 4) % (customers // 4 * 4) + number % 4


def _rates(contracts: list[int], roles: list[int], wanted: int) -> None:
    cards = _copy(
        "portal_ratecard", ("code", "version", "name", "contract_id", "valid_from"),
        [[f"K{n}", 1, "", contract, START] for n, contract in enumerate(contracts)],
    )  # fmt: skip
    per_card = max(wanted // max(len(cards) * len(roles), 1), 1)
    rows = list(_dated(cards, roles, per_card))
    _copy("portal_rate", ("card_id", "role_id", "currency", "amount", "unit", "valid_from", "valid_to"), rows)


def _dated(cards: list[int], roles: list[int], ranges: int) -> Iterator[list[Any]]:
    """For each card and role, `ranges` rates one after the other, the last one without an end."""
    for n, card in enumerate(cards):
        for place, role in enumerate(roles):
            start = START
            for turn in range(ranges):
                last = turn == ranges - 1
                end = None if last else start + timedelta(days=400)
                yield [card, role, CURRENCIES[n % 4], 100 + place + turn, "hour", start, end]
                start = start + timedelta(days=401)


def _crosswalks(system: str, projects: list[int], people: list[int], entities: list[int]) -> None:
    rows: list[list[Any]] = []
    for n, project in enumerate(projects):
        rows.append([system, str(n % 4), "project", str(10_000 + n), project, False, START])
        rows.append(["netsuite", "1", "project", str(500_000 + n), project, False, START])
    for n, person in enumerate(people):
        rows.append([system, str(n % 4), "resource", str(90_000 + n), person, False, START])
        rows.append(["netsuite", "1", "resource", str(800_000 + n), person, False, START])
    rows += [["netsuite", "1", "entity", str(n + 1), entity, False, START] for n, entity in enumerate(entities)]
    _copy(
        "portal_crosswalk", ("system", "realm", "kind", "external_id", "internal_id", "allows_many", "valid_from"), rows
    )
