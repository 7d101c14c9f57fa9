"""How the sentences of a comparison write money, hours and days, in the statement that judges: as `portal.figures` on screens.

The rule here: what these give is SQL text; the value and the currency are expressions of that statement, never a person's words.
"""

from __future__ import annotations

from babel.numbers import get_currency_precision, list_currencies

_WHOLE = "FM999,999,999,999,990"
_OTHER = {
    places: sorted(code for code in list_currencies() if get_currency_precision(code) == places) for places in (0, 3)
}


def _minus(written: str) -> str:
    return f"replace({written}, '-', '\N{MINUS SIGN}')"


def money(value: str, currency: str = "currency") -> str:
    """An amount in the minor units of its currency, with thousands apart, then the currency."""
    return f"{amount(value, currency)} || ' ' || {currency}"


def amount(value: str, currency: str = "currency") -> str:
    """The amount alone."""
    none, three = (", ".join(f"'{code}'" for code in _OTHER[places]) for places in (0, 3))
    mask = f"CASE WHEN {currency} IN ({none}) THEN '' WHEN {currency} IN ({three}) THEN '.000' ELSE '.00' END"
    return _minus(f"to_char({value}, '{_WHOLE}' || {mask})")


def hours(value: str) -> str:
    """Hours with two decimals."""
    return _minus(f"to_char({value}, '{_WHOLE}.00')")


def day(value: str) -> str:
    """A day as people say it: 3 Oct 2026."""
    return f"to_char({value}, 'FMDD Mon YYYY')"
