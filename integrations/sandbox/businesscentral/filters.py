"""The little of OData's filters that Business Central's callers use: comparisons with `and`, and `or` over one field."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

_ONE = re.compile(r"(?P<field>\w+) (?P<op>eq|ne|gt|ge|lt|le) (?P<value>'(?:[^']|'')*'|[^' ]+)")
_COMPARE: Mapping[str, Callable[[str, str], bool]] = {
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
}


class BadFilter(ValueError):
    """The filter cannot be read, or asks for what is not supported."""


def predicate(text: str) -> Callable[[Mapping[str, Any]], bool]:
    """Whether a row meets a filter."""
    if not text:
        return lambda _: True
    if " or " in text:
        parts = [_comparison(part) for part in text.split(" or ")]
        if len({field for field, _ in parts}) > 1:
            raise BadFilter("The OR operator is not supported across different fields.")
        return lambda row: any(holds(row) for _, holds in parts)
    tests = [_comparison(part)[1] for part in text.split(" and ")]
    return lambda row: all(holds(row) for holds in tests)


def _comparison(text: str) -> tuple[str, Callable[[Mapping[str, Any]], bool]]:
    found = _ONE.fullmatch(text.strip())
    if found is None:
        raise BadFilter(f"Could not parse the filter '{text}'.")
    field, value, compare = found["field"], found["value"], _COMPARE[found["op"]]
    wanted = value[1:-1].replace("''", "'") if value.startswith("'") else value

    def holds(row: Mapping[str, Any]) -> bool:
        if field not in row:
            raise BadFilter(f"Could not find a property named '{field}' on type 'Microsoft.NAV.{field}'.")
        return compare(str(row[field]), wanted)

    return field, holds
