"""Reading master data by the keys of a batch. An open end of a range of days comes back as the last day there is."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from portal.sql import rows
from reconciliation.sql import numbers, texts

_END = "DATE '9999-12-31'"
_FROM_START = "DATE '0001-01-01'"
Row = tuple[Any, ...]


def connections(ids: Collection[int]) -> list[Row]:
    """(id, code, name, connector, realm, entity, settings, cut-over)."""
    return rows(
        "SELECT id, code, name, connector, realm, entity_id, settings, cut_over_on FROM portal_connection"
        " WHERE id = ANY(%s::bigint[])",
        [numbers(ids)],
    )


def routes(source_ids: Collection[int]) -> list[Row]:
    """(source, entity, kind, from, to, id, target, policy)."""
    return rows(
        f"SELECT source_id, entity_id, kind, valid_from, coalesce(valid_to, {_END}), id, target_id, policy"  # noqa: S608
        " FROM reconciliation_route WHERE source_id = ANY(%s::bigint[]) ORDER BY valid_from",
        [numbers(source_ids)],
    )


def entities() -> list[Row]:
    """(id, code, name, currency, policy, calendar) of every legal entity; a group has dozens."""
    return rows("SELECT id, code, name, currency, policy, calendar FROM portal_legalentity")


def keys_of_sources(
    realms: Collection[tuple[str, str]], kinds: Collection[str], external_ids: Collection[str]
) -> list[Row]:
    """(system, realm, kind, external id, from, to, internal id) of what sources call our records."""
    return rows(
        f"SELECT c.system, c.realm, c.kind, c.external_id, c.valid_from, coalesce(c.valid_to, {_END}), c.internal_id"  # noqa: S608
        " FROM unnest(%s::text[], %s::text[]) AS w(system, realm)"
        " JOIN portal_crosswalk c ON c.system = w.system AND c.realm = w.realm"
        " WHERE c.kind = ANY(%s::text[]) AND c.external_id = ANY(%s::text[])",
        [[r[0] for r in realms], [r[1] for r in realms], list(kinds), texts(external_ids)],
    )


def keys_in_targets(realms: Collection[tuple[str, str]], wanted: dict[str, Collection[int]]) -> list[Row]:
    """(system, realm, kind, internal id, from, to, external id) of what targets call our records, one per record and day."""
    conditions = " OR ".join(["(c.kind = %s AND c.internal_id = ANY(%s::bigint[]))"] * len(wanted))
    parameters: list[Any] = []
    for kind, ids in wanted.items():
        parameters += [kind, numbers(ids)]
    return rows(
        f"SELECT c.system, c.realm, c.kind, c.internal_id, c.valid_from, coalesce(c.valid_to, {_END}), c.external_id"  # noqa: S608
        " FROM unnest(%s::text[], %s::text[]) AS w(system, realm)"
        f" JOIN portal_crosswalk c ON c.system = w.system AND c.realm = w.realm WHERE NOT c.allows_many AND ({conditions})",
        [[r[0] for r in realms], [r[1] for r in realms], *parameters],
    )


def kinds_kept(realms: Collection[tuple[str, str]], kinds: Collection[str]) -> list[Row]:
    """(system, realm, kind) for each kind of record of which a target has at least one key."""
    return rows(
        "SELECT w.system, w.realm, k.kind FROM unnest(%s::text[], %s::text[]) AS w(system, realm)"
        " CROSS JOIN unnest(%s::text[]) AS k(kind) WHERE EXISTS (SELECT 1 FROM portal_crosswalk c"
        " WHERE c.system = w.system AND c.realm = w.realm AND c.kind = k.kind)",
        [[r[0] for r in realms], [r[1] for r in realms], list(kinds)],
    )


ALIASES_AT_ONCE = 2000


def aliases(connection_ids: Collection[int], codes: Callable[[], Collection[str]]) -> list[Row]:
    """(connection or empty, kind, code, from, to, internal id, id) of the aliases that may stand for codes of the batch.

    `codes` are in small letters with single blanks, and asked for only where the connections have very many aliases.
    """
    query = (
        f"SELECT connection_id, kind, code, valid_from, coalesce(valid_to, {_END}), internal_id, id FROM portal_alias"  # noqa: S608
        " WHERE (connection_id IS NULL OR connection_id = ANY(%s::bigint[]))"
    )
    few = rows(f"{query} LIMIT {ALIASES_AT_ONCE + 1}", [numbers(connection_ids)])
    if len(few) <= ALIASES_AT_ONCE:
        return few
    return rows(
        rf"{query} AND lower(regexp_replace(btrim(code), '\s+', ' ', 'g')) = ANY(%s::text[])",
        [numbers(connection_ids), texts(codes())],
    )


def projects(ids: Collection[int], codes: Collection[str]) -> list[Row]:
    """(id, code, name, entity, customer, contract, billing model, cost centre, requires task, successor)."""
    return rows(
        "SELECT id, code, name, entity_id, customer_id, contract_id, billing_model, cost_centre_id, requires_task, successor_id"
        " FROM portal_project WHERE id = ANY(%s::bigint[]) OR code = ANY(%s::text[])",
        [numbers(ids), texts(codes)],
    )


def statuses(project_ids: Collection[int]) -> list[Row]:
    """(project, from, to, status), oldest first."""
    return rows(
        f"SELECT project_id, valid_from, coalesce(valid_to, {_END}), status FROM portal_projectstatus"  # noqa: S608
        " WHERE project_id = ANY(%s::bigint[]) ORDER BY valid_from",
        [numbers(project_ids)],
    )


def tasks(project_ids: Collection[int]) -> list[Row]:
    """(project, id, code, name, billable, active, default)."""
    return rows(
        "SELECT project_id, id, code, name, is_billable, is_active, is_default FROM portal_task"
        " WHERE project_id = ANY(%s::bigint[]) ORDER BY id",
        [numbers(project_ids)],
    )


def approvers(project_ids: Collection[int]) -> list[Row]:
    """(project, resource, name) of every link of the approval chains."""
    return rows(
        "SELECT s.project_id, r.id, r.name FROM portal_approvalstep s JOIN portal_resource r ON r.id = s.approver_id"
        " WHERE s.project_id = ANY(%s::bigint[]) ORDER BY s.sequence",
        [numbers(project_ids)],
    )


def customers(ids: Collection[int]) -> list[Row]:
    """(id, code, name, merged into, currency, active from, active to), with the survivors that they were merged into."""
    return rows(
        "WITH RECURSIVE chain(id) AS (SELECT unnest(%s::bigint[]) UNION SELECT c.merged_into_id FROM portal_customer c"  # noqa: S608
        " JOIN chain ON c.id = chain.id WHERE c.merged_into_id IS NOT NULL)"
        f" SELECT c.id, c.code, c.name, c.merged_into_id, c.currency, coalesce(c.active_from, {_FROM_START}),"
        f" coalesce(c.active_to, {_END}) FROM portal_customer c JOIN chain ON chain.id = c.id",
        [numbers(ids)],
    )


def contracts(ids: Collection[int]) -> list[Row]:
    """(id, code, customer, entity, billing model, currency, cap, requires purchase order, and the rest).

    The rest: rounding, hours per day, rate tolerance, from, to, hours of a retainer, what becomes of those beyond.
    """
    return rows(
        "SELECT id, code, customer_id, entity_id, billing_model, currency, cap_amount, requires_purchase_order, rounding,"  # noqa: S608
        f" hours_per_day, rate_tolerance, coalesce(starts_on, {_FROM_START}), coalesce(ends_on, {_END}),"
        " retainer_hours, overage FROM portal_contract WHERE id = ANY(%s::bigint[])",
        [numbers(ids)],
    )


def purchase_orders(contract_ids: Collection[int]) -> list[Row]:
    """(contract, from, to, id, number, amount, currency), oldest first."""
    return rows(
        f"SELECT contract_id, valid_from, coalesce(valid_to, {_END}), id, number, amount, currency"  # noqa: S608
        " FROM portal_purchaseorder WHERE contract_id = ANY(%s::bigint[]) ORDER BY valid_from",
        [numbers(contract_ids)],
    )


def resources(ids: Collection[int], codes: Collection[str], emails: Collection[str]) -> list[Row]:
    """(id, code, name, e-mail)."""
    return rows(
        "SELECT id, code, name, email FROM portal_resource"
        " WHERE id = ANY(%s::bigint[]) OR code = ANY(%s::text[]) OR (email <> '' AND lower(email) = ANY(%s::text[]))",
        [numbers(ids), texts(codes), texts(emails)],
    )


def engagements(resource_ids: Collection[int]) -> list[Row]:
    """(resource, from, to, entity, cost centre, role, external id), oldest first."""
    return rows(
        f"SELECT resource_id, valid_from, coalesce(valid_to, {_END}), entity_id, cost_centre_id, role_id, external_id"  # noqa: S608
        " FROM portal_engagement WHERE resource_id = ANY(%s::bigint[]) ORDER BY valid_from",
        [numbers(resource_ids)],
    )


def roles(ids: Collection[int]) -> list[Row]:
    """(id, code, name)."""
    return rows("SELECT id, code, name FROM portal_role WHERE id = ANY(%s::bigint[])", [numbers(ids)])


def cost_centres(ids: Collection[int], entity_ids: Collection[int], codes: Collection[str]) -> list[Row]:
    """(id, entity, code, name, from, to)."""
    return rows(
        f"SELECT id, entity_id, code, name, coalesce(valid_from, {_FROM_START}), coalesce(valid_to, {_END})"  # noqa: S608
        " FROM portal_costcentre WHERE id = ANY(%s::bigint[]) OR (entity_id = ANY(%s::bigint[]) AND code = ANY(%s::text[]))",
        [numbers(ids), numbers(entity_ids), texts(codes)],
    )


def keep_cost_centres(entity_ids: Collection[int]) -> set[int]:
    """Which of these entities keep cost centres."""
    return {
        row[0]
        for row in rows(
            "SELECT w.id FROM unnest(%s::bigint[]) AS w(id)"
            " WHERE EXISTS (SELECT 1 FROM portal_costcentre c WHERE c.entity_id = w.id)",
            [numbers(entity_ids)],
        )
    }


def periods(entity_ids: Collection[int], since: date) -> list[Row]:
    """(entity, starts, ends, id, code, state) of the periods that end on or after a day, oldest first."""
    return rows(
        "SELECT entity_id, starts_on, ends_on, id, code, state FROM portal_accountingperiod"
        " WHERE entity_id = ANY(%s::bigint[]) AND ends_on >= %s ORDER BY starts_on",
        [numbers(entity_ids), since],
    )


def intercompany(entity_ids: Collection[int]) -> list[Row]:
    """(provider, receiver, from, to, code of the price list, currencies of its rates)."""
    return rows(
        f"SELECT i.provider_id, i.receiver_id, i.valid_from, coalesce(i.valid_to, {_END}), coalesce(c.code, ''),"  # noqa: S608
        " ARRAY(SELECT DISTINCT r.currency FROM portal_rate r WHERE r.card_id = c.id ORDER BY 1)"
        " FROM portal_intercompanyrelation i LEFT JOIN portal_ratecard c ON c.id = i.price_list_id"
        " WHERE i.provider_id = ANY(%s::bigint[])",
        [numbers(entity_ids)],
    )


def rate_cards(contract_ids: Collection[int], customer_ids: Collection[int], entity_ids: Collection[int]) -> list[Row]:
    """(id, code, version, contract, customer, entity, from, to) of the cards that may price the batch, latest version last."""
    return rows(
        f"SELECT id, code, version, contract_id, customer_id, entity_id, valid_from, coalesce(valid_to, {_END})"  # noqa: S608
        " FROM portal_ratecard WHERE contract_id = ANY(%s::bigint[]) OR customer_id = ANY(%s::bigint[])"
        " OR entity_id = ANY(%s::bigint[]) OR (contract_id IS NULL AND customer_id IS NULL AND entity_id IS NULL)"
        " ORDER BY code, version",
        [numbers(contract_ids), numbers(customer_ids), numbers(entity_ids)],
    )


def rates(
    card_ids: Collection[int],
    card_roles: Collection[tuple[int, int]],
    resource_ids: Collection[int],
    task_ids: Collection[int],
    days: tuple[date, date],
) -> list[Row]:
    """(card, resource, role, task, from, to, id, amount, currency, unit) that somebody in the batch may be priced by.

    Of a role's rates only those of `card_roles`: each card is asked for the roles that work under it.
    """
    return rows(
        "SELECT card_id, resource_id, role_id, task_id, valid_from,"  # noqa: S608
        f" coalesce(valid_to, {_END}), id, amount, currency, unit FROM portal_rate"
        " WHERE card_id = ANY(%s::bigint[]) AND (resource_id IS NULL OR resource_id = ANY(%s::bigint[]))"
        " AND (task_id IS NULL OR task_id = ANY(%s::bigint[]))"
        " AND (role_id IS NULL OR (card_id, role_id) IN (SELECT * FROM unnest(%s::bigint[], %s::bigint[])))"
        " AND valid_from <= %s AND (valid_to IS NULL OR valid_to >= %s)",
        [
            numbers(card_ids),
            numbers(resource_ids),
            numbers(task_ids),
            numbers([pair[0] for pair in card_roles]),
            numbers([pair[1] for pair in card_roles]),
            days[1],
            days[0],
        ],
    )


def lock_budgets(contract_ids: Sequence[int], purchase_order_ids: Sequence[int]) -> None:
    """Lock contracts with a limit and purchase orders in id order, so that two batches never spend the same balance."""
    if contract_ids:
        rows(
            "SELECT id FROM portal_contract WHERE id = ANY(%s::bigint[]) ORDER BY id FOR NO KEY UPDATE",
            [sorted(contract_ids)],
        )
    if purchase_order_ids:
        rows(
            "SELECT id FROM portal_purchaseorder WHERE id = ANY(%s::bigint[]) ORDER BY id FOR NO KEY UPDATE",
            [sorted(purchase_order_ids)],
        )


# What counts against a limit is in the currency of the limit; a milestone counts once it is signed, or billed.
_SPENT = """SELECT w.id, sum(w.amount) FROM (
    SELECT l.id, e.amount FROM {limits} l JOIN portal_ledgerentry e ON e.{column} = l.id AND e.currency = l.currency
      JOIN portal_ledgerstate s ON s.entry_id = e.id
     WHERE l.id = ANY(%(limits)s::bigint[]) AND s.state NOT IN ('held', 'cancelled') AND e.is_billable
       AND NOT e.id = ANY(%(without)s::bigint[])
    UNION ALL
    SELECT l.id, m.amount FROM {limits} l JOIN portal_project p ON p.contract_id = l.{contract}
      JOIN portal_milestone m ON m.project_id = p.id AND m.currency = l.currency
      LEFT JOIN portal_billingbalance b ON b.milestone_id = m.id
     WHERE l.id = ANY(%(limits)s::bigint[]) AND (m.signed_on IS NOT NULL OR b.invoiced > b.credited) {within}) w
 WHERE w.amount IS NOT NULL GROUP BY 1"""
_OF_CONTRACTS = _SPENT.format(limits="portal_contract", column="contract_id", contract="id", within="")
_OF_ORDERS = _SPENT.format(
    limits="portal_purchaseorder", column="purchase_order_id", contract="contract_id",
    within="AND coalesce(m.signed_on, m.due_on) BETWEEN l.valid_from AND coalesce(l.valid_to, 'infinity')",
)  # fmt: skip


# Hours that a retainer pays for: what is approved as billable, is posted as cost and is not beyond it. What takes back counts
# against what it takes back.
_DRAWN = """
    SELECT e.contract_id, q.month, sum(e.hours) FROM unnest(%(contracts)s::bigint[], %(months)s::date[]) q(contract_id, month)
      JOIN portal_ledgerentry e ON e.contract_id = q.contract_id AND e.work_date >= q.month
           AND e.work_date < q.month + interval '1 month' AND e.kind = 'time' AND e.is_cost_only
      JOIN portal_ledgerstate s ON s.entry_id = e.id AND s.state NOT IN ('held', 'cancelled')
      JOIN portal_timeentry t ON t.document_id = e.document_id AND t.version = e.version AND t.is_billable
      JOIN portal_contract c ON c.id = e.contract_id JOIN portal_project p ON p.id = e.project_id
      LEFT JOIN portal_task k ON k.id = e.task_id
     WHERE coalesce(k.is_billable, true) AND coalesce(nullif(p.billing_model, ''), c.billing_model) = 'retainer'
       AND NOT e.tags @> '["beyond-retainer"]' AND NOT e.id = ANY(%(without)s::bigint[]) GROUP BY 1, 2"""


def drawn_from_retainers(
    months: Collection[tuple[int, date]], without: Sequence[int] = ()
) -> dict[tuple[int, date], Decimal]:
    """The hours that stand against a retainer in a month, by (contract, first of the month); those of `without` apart."""
    if not months:
        return {}
    wanted = sorted(months)
    said = {"contracts": [one for one, _ in wanted], "months": [day for _, day in wanted], "without": numbers(without)}
    return {(contract_id, month): hours for contract_id, month, hours in rows(_DRAWN, said)}


def spent_under_contracts(contract_ids: Sequence[int], without: Sequence[int]) -> dict[int, Decimal]:
    """What counts against the maximum of each contract, held and cancelled entries and those of `without` apart."""
    return _spent(_OF_CONTRACTS, contract_ids, without)


def spent_under_purchase_orders(purchase_order_ids: Sequence[int], without: Sequence[int]) -> dict[int, Decimal]:
    """What counts against each purchase order, held and cancelled entries and those of `without` apart."""
    return _spent(_OF_ORDERS, purchase_order_ids, without)


def _spent(statement: str, limits: Sequence[int], without: Sequence[int]) -> dict[int, Decimal]:
    return dict(rows(statement, {"limits": numbers(limits), "without": numbers(without)})) if limits else {}
