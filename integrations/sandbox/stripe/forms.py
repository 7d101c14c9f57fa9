"""Stripe's bracketed forms: `metadata[our_id]=42&lines[0][amount]=100&expand[]=payments` as nested values, all of them text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from integrations.sandbox.stripe.errors import Refused

_PART = re.compile(r"\[([^\]]*)\]")


def parsed(text: str) -> dict[str, Any]:
    """A form or a query. Numbered and empty brackets make lists."""
    found: dict[str, Any] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        head, _, rest = name.partition("[")
        path = [head, *_PART.findall(f"[{rest}" if rest else "")]
        _put(found, path, value)
    return {name: _lists(value) for name, value in found.items()}


def _put(into: dict[str, Any], path: list[str], value: str) -> None:
    for part in path[:-1]:
        into = into.setdefault(part or str(len(into)), {})
    into[path[-1] or str(len(into))] = value


def _lists(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    made = {name: _lists(inner) for name, inner in value.items()}
    return list(made.values()) if made and all(name.isdigit() for name in made) else made


def allowed(form: Mapping[str, Any], names: str, required: str = "") -> None:
    """Refuse a parameter that the call does not know, and a call without one that it needs."""
    for name in form:
        if name not in {*names.split(), *required.split(), "expand", "metadata"}:
            raise Refused(400, "parameter_unknown", f"Received unknown parameter: {name}", param=name, kept=False)
    for name in required.split():
        if not form.get(name):
            raise Refused(400, "parameter_missing", f"Missing required param: {name}.", param=name, kept=False)


def whole(form: Mapping[str, Any], name: str) -> int | None:
    """An integer parameter, or None. Refuses anything else."""
    value = form.get(name)
    if value in (None, ""):
        return None
    if not re.fullmatch(r"-?\d+", str(value)):
        raise Refused(400, "parameter_invalid_integer", f"Invalid integer: {value}", param=name, kept=False)
    return int(str(value))
