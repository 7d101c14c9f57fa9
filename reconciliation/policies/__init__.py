"""Policies: the rule settings of an entity, refined by a route. Every key, its default and its meaning stand in one table.

The rule here: what differs between entities, countries and targets is a value in this table and never a branch in a rule.
A value is checked when it is configured (`problems`) and read as a typed `Policy` when a batch is validated (`merged`).
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import InvalidOperation
from typing import Any

from reconciliation.policies import reading
from reconciliation.policies.settings import SETTINGS, Setting
from reconciliation.policies.values import DEFAULT, RATE_SCOPES, Policy, Shortness

__all__ = ["DEFAULT", "RATE_SCOPES", "SETTINGS", "Policy", "Setting", "Shortness", "merged", "of_target", "problems"]

_BY_KEY = {setting.key: setting for setting in SETTINGS}


def problems(values: Mapping[str, Any], *, standing: frozenset[str] = frozenset()) -> list[str]:
    """What is wrong with the settings that somebody wants to make, one sentence each; empty when nothing is.

    `standing` are the rule codes that may not be turned off (`reconciliation.rules.STANDING`).
    """
    found = []
    for key, value in values.items():
        setting = _BY_KEY.get(key)
        if setting is None:
            found.append(f"Policy “{key}” is not known; the keys are {', '.join(sorted(_BY_KEY))}.")
            continue
        try:
            setting.read(value)
        except (ValueError, InvalidOperation):
            found.append(f"Policy “{key}” is {value!r}; it must be {setting.expects}.")
    try:
        refused = reading.codes(values.get("rules_off", [])) & standing
    except ValueError:
        refused = frozenset()
    found.extend(
        f"Rule “{code}” cannot be turned off: it keeps money from being booked twice." for code in sorted(refused)
    )
    return found


def merged(*layers: Mapping[str, Any]) -> Policy:
    """The policy that holds where each layer refines the one before it: target, entity, route.

    Tables are refined key by key; everything else is replaced. Raises ValueError naming what is misconfigured.
    """
    values: dict[str, Any] = {}
    for layer in layers:
        wrong = problems(layer)
        if wrong:
            raise ValueError(" ".join(wrong))
        for key, value in layer.items():
            if isinstance(value, Mapping):
                values[key] = {**values.get(key, {}), **value}
            else:
                values[key] = value
    return Policy(**{key: _BY_KEY[key].read(value) for key, value in values.items()})


def of_target(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a target connection's own settings say of texts and keys; the first layer of a policy."""
    return {key: settings[key] for key in _OF_TARGET if key in settings}


_OF_TARGET = ("memo_limit", "memo_forbidden", "memo_beyond_bmp", "target_keys", "items", "task_required")
