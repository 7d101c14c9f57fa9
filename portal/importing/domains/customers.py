"""Customers, what was agreed with them, and their purchase orders."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from portal import quality
from portal.importing import cells
from portal.importing.domains.columns import (
    amount,
    code,
    currency,
    first_day,
    fits_its_schedule,
    flag,
    invoicing,
    last_day,
    name,
    pointer,
)
from portal.importing.load import Load
from portal.importing.problems import Unreadable
from portal.importing.tables import Column, Ranges, Row, Table
from portal.models import BillingModel, Contract, Customer, MasterChange, PurchaseOrder

Kind = MasterChange.Kind


def _customers(load: Load, rows: Sequence[Row]) -> None:
    fits_its_schedule(load, rows, Customer)


def _shares(value: Any) -> dict[str, str]:
    """Parts of a hundred by customer, as {"ACME": "60", "BETA": "40"}; nothing where one customer pays all of it."""
    shares: dict[str, str] = {}
    for code_, share in cells.table(value).items():
        part = cells.decimal(places=4, digits=7, above=Decimal(0))(share)
        shares[str(code_)] = f"{part.normalize():f}"
    if shares and (sum(Decimal(share) for share in shares.values()) != 100 or len(shares) < 2):
        raise Unreadable("is not how several customers share 100 per cent; expected such as ACME 60, BETA 40.")
    return shares


def _contracts(load: Load, rows: Sequence[Row]) -> None:
    fits_its_schedule(load, rows, Contract)
    for row in rows:
        hours, overage = row.sets.get("retainer_hours"), row.sets.get("overage")
        if "retainer_hours" in row.sets and "overage" in row.sets and (hours is None) != (not overage):
            load.problem(
                row, "overage", overage or "",
                "does not go with its retainer hours: where hours are paid for, and only there, it is said what is beyond.",
            )  # fmt: skip


CUSTOMERS = Table(
    name="customers",
    noun="a customer",
    model=Customer,
    help="Customers. A merged one points at the survivor and stays.",
    columns=(
        code("code of the customer"),
        name(),
        currency("ISO 4217 currency it is billed in"),
        pointer("entity", "entities", "code of the entity that serves it; shared by all where empty"),
        pointer("parent", "customers", "code of the customer it belongs to"),
        pointer("merged_into", "customers", "code of the customer that took its place"),
        Column(
            name="tax_treatment",
            sets="tax_treatment",
            parse=cells.choice(Customer.TaxTreatment.values),
            empty=Customer.TaxTreatment.DOMESTIC.value,
            help="domestic, reverse_charge, export or exempt; domestic where empty",
        ),
        Column(
            name="tax_number",
            sets="tax_number",
            parse=cells.code,
            empty="",
            help="with its country, as DE136695976",
        ),
        *invoicing("unknown"),
        first_day("active_from", required=False),
        last_day("active_to"),
    ),
    ranges=(Ranges((), "", "active_from", "active_to"),),
    hierarchies=("parent_id", "merged_into_id"),
    check=_customers,
    quality=quality.customers,
    concerns=(Kind.CUSTOMER, "pk"),
)

CONTRACTS = Table(
    name="contracts",
    noun="a contract",
    model=Contract,
    help="What was agreed: how it is billed, in which currency, up to which amount.",
    columns=(
        code("code of the contract"),
        name(),
        pointer("customer", "customers", "code of the customer", required=True),
        pointer("entity", "entities", "code of the entity that contracts", required=True),
        currency("ISO 4217 currency of the contract"),
        Column(
            name="billing_model",
            sets="billing_model",
            parse=cells.choice(BillingModel.values),
            empty=BillingModel.TIME_AND_MATERIAL.value,
            help="time_and_material, fixed_fee, retainer or milestone; time_and_material where empty",
        ),
        amount("cap_amount", "not-to-exceed amount; none where empty"),
        Column(
            name="retainer_hours",
            sets="retainer_hours",
            parse=cells.decimal(places=2, digits=8, above=Decimal(0)),
            help="hours that a retainer's instalments pay for in each calendar month, over all projects of the contract; all "
            "that are worked where empty. An hour draws on the month of its work date, also where it comes late or is booked in "
            "a later period; what a month leaves unused is not carried into the next, and a month does not borrow from one",
        ),
        Column(
            name="overage",
            sets="overage",
            parse=cells.choice(Contract.Overage.values),
            empty="",
            help="what becomes of hours beyond: hourly (billed at the rate card), capped (worked and not billed), rejected",
        ),
        flag("requires_purchase_order", "whether hours need a purchase order; false where empty", empty=False),
        flag("one_invoice", "whether all its projects stand on one invoice; false where empty", empty=False),
        Column(
            name="rounding",
            sets="rounding",
            parse=cells.choice(Contract.Rounding.values),
            empty=Contract.Rounding.ENTRY.value,
            help="entry, line or invoice; entry where empty",
        ),
        Column(
            name="hours_per_day",
            sets="hours_per_day",
            parse=cells.decimal(places=2, digits=5, above=Decimal(0)),
            empty=Decimal(8),
            help="hours of one day where rates are per day; 8 where empty",
        ),
        amount("rate_tolerance", "how much a source's hourly rate may differ; 0 where empty", empty=Decimal(0)),
        *invoicing("the customer's"),
        Column(
            name="shares",
            sets="shares",
            mentions="customers",
            parse=_shares,
            empty={},
            help='who pays how many per cent, as {"ACME": "60", "BETA": "40"}; the customer all of it where empty',
        ),
        first_day("starts_on", required=False),
        last_day("ends_on"),
    ),
    ranges=(Ranges((), "", "starts_on", "ends_on"),),
    check=_contracts,
    quality=quality.contracts,
    concerns=(Kind.CONTRACT, "pk"),
)

PURCHASE_ORDERS = Table(
    name="purchase_orders",
    noun="a purchase order",
    model=PurchaseOrder,
    help="Purchase orders under a contract.",
    columns=(
        pointer("contract", "contracts", "code of the contract", required=True),
        code("the customer's number", "number"),
        amount("amount", "amount of the order", required=True),
        currency(),
        first_day(),
        last_day(),
    ),
    key=("contract", "number"),
    lookup=("contract__code", "number"),
    ranges=(Ranges(("contract_id",), "a contract has one purchase order a day"),),
    concerns=(Kind.CONTRACT, "contract_id"),
)
