"""How the values of settings are read: what a configuration says, as the type that the rules work with. Raises ValueError."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from portal.importing import cells
from reconciliation.policies.values import KEY_DEMANDS, KEYED_KINDS, RATE_SCOPES, Shortness


def decimal(value: Any) -> Decimal:
    """A number that is not negative; in a configuration one with decimals is a text, so that no float comes near money."""
    if isinstance(value, bool | float):
        raise ValueError(value)  # noqa: TRY004 -- one error for whatever is wrong with a setting
    number = Decimal(str(value))
    if not number.is_finite() or number < 0:
        raise ValueError(value)
    return number


def positive(value: Any) -> Decimal:
    """A number above zero."""
    number = decimal(value)
    if not number:
        raise ValueError(value)
    return number


def flag(value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise ValueError(value)  # noqa: TRY004 -- one error for whatever is wrong with a setting
    return value


def maybe_flag(value: Any) -> bool | None:
    """True, false, or not said."""
    return None if value is None else flag(value)


def text(value: Any) -> str:
    """A text."""
    if not isinstance(value, str):
        raise ValueError(value)  # noqa: TRY004 -- one error for whatever is wrong with a setting
    return value


def currency(value: Any) -> str:
    """An ISO 4217 currency in use, or none."""
    if value and value not in cells.currencies():
        raise ValueError(value)
    return text(value)


def whole(value: Any) -> int:
    """A whole number of at least one."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(value)
    return value


@dataclass(frozen=True, slots=True)
class OneOf:
    """Reads one of some words."""

    words: tuple[str, ...]

    def __call__(self, value: Any) -> str:
        """The word. Raises ValueError for any other."""
        if value not in self.words:
            raise ValueError(value)
        return str(value)


def one_of(*words: str) -> OneOf:
    """One of some words."""
    return OneOf(words)


def texts(value: Any) -> tuple[str, ...]:
    """A list of texts."""
    if not isinstance(value, list | tuple):
        raise ValueError(value)  # noqa: TRY004 -- one error for whatever is wrong with a setting
    return tuple(text(item) for item in value)


def codes(value: Any) -> frozenset[str]:
    """A set of codes."""
    return frozenset(texts(value))


def scopes(value: Any) -> tuple[str, ...]:
    """Which cards are asked for a rate, in their order; at least one kind of them."""
    found = texts(value)
    if not found or set(found) - set(RATE_SCOPES):
        raise ValueError(value)
    return found


def table(read: Callable[[Any], Any]) -> Callable[[Any], dict[str, Any]]:
    """A table of texts to values that are read alike."""

    def read_table(value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise ValueError(value)  # noqa: TRY004 -- one error for whatever is wrong with a setting
        return {text(key): read(item) for key, item in value.items()}

    return read_table


def shortness(value: Any) -> Shortness:
    """By how much less a bill may be paid: an amount or per cent, never both."""
    if not isinstance(value, Mapping) or set(value) - {"amount", "percent", "account", "days"}:
        raise ValueError(value)
    if not ("amount" in value) ^ ("percent" in value):
        raise ValueError(value)
    return Shortness(
        amount=decimal(value.get("amount", 0)), percent=decimal(value.get("percent", 0)),
        account=text(value.get("account", "")), days=whole(value["days"]) if "days" in value else 0,
    )  # fmt: skip


def demands(value: Any) -> dict[str, str]:
    """What a target demands of the keys of each kind of record."""
    found: dict[str, str] = table(one_of(*KEY_DEMANDS))(value)
    if set(found) - set(KEYED_KINDS):
        raise ValueError(value)
    return found
