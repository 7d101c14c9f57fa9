"""A policy as fields of a form: one for each setting, with what it means, its unit and what holds when nobody sets it.

The rule here: what is not set is left out of the policy, and what a person did not touch stays exactly as it was stored.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from django import forms

from portal import figures
from reconciliation.policies import SETTINGS, Setting, Shortness
from reconciliation.policies.reading import OneOf

PREFIX = "policy."
AGREED = ("short_payment", "held_back")  # tables of several figures each, as in `ACME = percent 5, days 365`
_COMPLAINT = re.compile(r"Policy “(\w+)” (.*?; it must be .*?\.)(?= Policy “| Rule “|$)", re.DOTALL)


def fields() -> Iterator[tuple[str, forms.Field]]:
    """The field of every setting, in the order of their table."""
    for setting in SETTINGS:
        yield PREFIX + setting.key, _field(setting)


def _field(setting: Setting) -> forms.Field:
    common: dict[str, Any] = {"label": setting.key.replace("_", " ").capitalize(), "required": False}
    default = _default(setting)
    if isinstance(setting.default, bool | None):
        words = [("", f"as by default: {default}"), ("true", "yes"), ("false", "no")]
        return forms.ChoiceField(choices=words, help_text=setting.help, **common)
    if isinstance(setting.read, OneOf):
        words = [("", f"as by default: {default}"), *((word, word.replace("_", " ")) for word in setting.read.words)]
        return forms.ChoiceField(choices=words, help_text=setting.help, **common)
    help_text = f"{setting.help} {_shape(setting)} By default {default}."
    if isinstance(setting.default, Mapping):
        return forms.CharField(
            widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false"}), help_text=help_text, **common
        )
    return forms.CharField(help_text=help_text, **common)


def _shape(setting: Setting) -> str:
    """How the field is filled in, with the unit."""
    if setting.key in AGREED:
        return "One a line, as “ACME = percent 5, days 365”."
    if isinstance(setting.default, Mapping):
        return f"One a line, as “name = value”: {setting.expects}."
    if isinstance(setting.default, frozenset | tuple):
        return f"With commas between: {setting.expects}."
    expects = setting.expects.replace(", in quotes where it has decimals", "")
    return f"{expects[:1].upper()}{expects[1:]}."


def _default(setting: Setting) -> str:
    held = setting.default
    if held is None:
        return "nothing said"
    if isinstance(held, bool):
        return "yes" if held else "no"
    if isinstance(held, OneOf | str):
        return str(held).replace("_", " ") or "nothing"
    return _text(held).replace("\n", ", ") or "nothing"


# Between what is stored and what stands in the fields


def initial(policy: Any) -> dict[str, str]:
    """What stands in the fields for a stored policy."""
    return {f"{PREFIX}{key}": _text(value) for key, value in policy.items()} if isinstance(policy, Mapping) else {}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "\n".join(f"{name} = {_inside(one)}" for name, one in value.items())
    if isinstance(value, list | tuple | frozenset):
        return ", ".join(map(str, value))
    if isinstance(value, Decimal):
        return figures.number(value, max(0, -int(value.normalize().as_tuple().exponent)))
    return "" if value is None else str(value)


def _inside(value: Any) -> str:
    if isinstance(value, Shortness):
        return _inside(
            {name: getattr(value, name) for name in ("amount", "percent", "account", "days") if getattr(value, name)}
        )
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {one}" for name, one in value.items())
    return _text(value)


def told(data: Mapping[str, str], standing: Any) -> dict[str, Any]:
    """The policy that the fields say; what is as it was keeps the form in which it was stored."""
    before = standing if isinstance(standing, Mapping) else {}
    found = {}
    for setting in SETTINGS:
        text = str(data.get(PREFIX + setting.key, "")).strip()
        if text:
            found[setting.key] = _kept(_value(setting, text), before.get(setting.key))
    return found


def _value(setting: Setting, text: str) -> Any:
    """A text as it is stored; one that cannot be read stays as it is, for whoever reads policies to refuse."""
    if isinstance(setting.default, bool | None):
        return {"true": True, "false": False}.get(text, text)
    if isinstance(setting.default, int):
        return int(text) if text.isdecimal() else text
    if isinstance(setting.default, frozenset | tuple):
        return [part.strip() for part in text.replace("\n", ",").split(",") if part.strip()]
    if not isinstance(setting.default, Mapping):
        return text
    lines = [line.partition("=") for line in text.splitlines() if line.strip()]
    if not all(sign and name.strip() and value.strip() for name, sign, value in lines):
        return text
    return {
        name.strip(): _agreed(value.strip()) if setting.key in AGREED else value.strip() for name, _, value in lines
    }


def _agreed(text: str) -> Any:
    parts = [part.split() for part in text.split(",")]
    if not all(len(part) == 2 for part in parts):
        return text
    return {name: int(value) if name == "days" and value.isdecimal() else value for name, value in parts}


def _kept(value: Any, stood: Any) -> Any:
    if isinstance(value, dict) and isinstance(stood, Mapping):
        return {name: _kept(one, stood.get(name)) for name, one in value.items()}
    return stood if stood is not None and not isinstance(value, dict) and _text(value) == _text(stood) else value


def complaints(message: str) -> list[tuple[str, str]]:
    """A refusal of a policy by field: (field, sentence); nothing where it names no setting."""
    return [(PREFIX + key, f"It {sentence}") for key, sentence in _COMPLAINT.findall(message)]
