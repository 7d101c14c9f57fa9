"""Exchange rates. The rule here: each says who told it, because it is nobody's own figure."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from portal.importing import cells
from portal.importing.domains.columns import currency, first_day
from portal.importing.load import Load
from portal.importing.tables import Column, Row, Table
from portal.models import ExchangeRate, MasterChange


def _between_two(load: Load, rows: Sequence[Row]) -> None:
    for row in rows:
        if row.sets["currency"] == row.sets["to_currency"]:
            load.problem(row, "to_currency", row.values["to_currency"], "is the currency itself; expected another one.")


EXCHANGE_RATES = Table(
    name="exchange_rates",
    noun="an exchange rate",
    model=ExchangeRate,
    help="What one currency is worth in another, from a day on. Causes are ordered by it; nothing is ever booked at it.",
    columns=(
        currency("ISO 4217 currency of which there is one unit"),
        Column(
            name="to_currency",
            sets="to_currency",
            parse=cells.currency,
            required=True,
            help="ISO 4217 currency in which the unit is worth the rate",
        ),
        first_day(),
        Column(
            name="rate",
            sets="rate",
            parse=cells.decimal(places=10, digits=20, above=Decimal(0)),
            required=True,
            help="above 0, with a point and up to 10 decimals",
        ),
        Column(name="source", sets="source", parse=cells.text, required=True, help="who said so, as ERP or ECB"),
    ),
    key=("currency", "to_currency", "valid_from"),
    lookup=("currency", "to_currency", "valid_from"),
    check=_between_two,
    concerns=(MasterChange.Kind.EXCHANGE_RATE, "pk"),
)
