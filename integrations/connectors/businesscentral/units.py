"""Which quantities are hours: those in the unit of measure that the connection names, and in others whose hours it states. Pure.

A resource of Business Central counts in its own base unit where a line names none, so eight hours of somebody who counts in days
would be booked as eight days. A quantity in a unit that nobody told us is never read as hours.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation

from integrations.connectors.businesscentral.settings import SETTINGS
from integrations.errors import Malformed
from integrations.protocol import Account


def hour(account: Account) -> str:
    """The code of the unit in which we state hours."""
    return str(account.setting("hour_unit", SETTINGS))


def hours_of_one(unit: str, account: Account) -> Decimal | None:
    """How many hours one of a unit is; None where that is not known. Codes are the same in capitals or not."""
    if unit.upper() == hour(account).upper():
        return Decimal(1)
    others: Mapping[str, object] = account.setting("other_units", SETTINGS)
    stated = next((hours for code, hours in others.items() if code.upper() == unit.upper()), None)
    if stated is None:
        return None
    try:
        found = Decimal(str(stated))
    except InvalidOperation:
        found = Decimal(0)
    if not found.is_finite() or found <= 0:
        raise Malformed(f"The setting other_units has {stated!r} for {unit}, not a number of hours.")
    return found


def untold(unit: str, account: Account) -> str:
    """What is said of a quantity whose unit is not known."""
    return f"It counts in {unit or 'no unit'} and not in {hour(account)}, so nobody knows how many hours that is."
