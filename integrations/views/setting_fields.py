"""One declared setting as a field of a form, and what a person wrote in it as the connection keeps it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from django import forms

from integrations.protocol import Setting
from portal.importing.problems import Unreadable

YES_NO = (("true", "yes"), ("false", "no"))


class Needed(forms.CharField):
    """A field that is needed, which whoever checks the connection says with everything else."""

    def validate(self, value: Any) -> None:
        """Nothing here."""


def setting_field(one: Setting, stands: Any) -> forms.Field:
    """The field of a setting: a choice, yes or no, a number, a table, or text."""
    common: dict[str, Any] = {
        "label": one.label,
        "required": one.required,
        "help_text": one.help,
        "initial": _shown(one, stands),
    }
    is_table = isinstance(one.default, (dict, list)) or isinstance(stands, (dict, list))
    if one.choices:
        rest = [choice for choice in one.choices if choice]
        usual = f"as usual: {one.default}" if one.default else "as usual"
        return forms.ChoiceField(choices=[("", usual), *((choice, choice) for choice in rest)], **common)
    if isinstance(one.default, bool):
        usual = f"as usual: {'yes' if one.default else 'no'}"
        return forms.ChoiceField(choices=[("", usual), *YES_NO], **common)
    text = Needed if one.required else forms.CharField
    if is_table or one.long:
        if isinstance(one.default, dict) or isinstance(stands, dict):
            common["help_text"] = f"{one.help} One “key = value” a line, or JSON.".strip()
        return text(widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false"}), **common)
    hint = {} if one.default in (None, "") else {"placeholder": str(one.default)}
    if isinstance(one.default, int):
        return text(widget=forms.TextInput(attrs={"inputmode": "numeric", **hint}), **common)
    return text(widget=forms.TextInput(attrs=hint), **common)


def told(one: Setting, text: Any, stands: Any) -> Any:
    """What a field says of a setting, as the connection keeps it. Raises Unreadable, with a sentence."""
    text = str(text).strip()
    if not text:
        return None
    if isinstance(one.default, bool):
        return text == "true"
    if isinstance(one.default, list) or isinstance(stands, list):
        return _json_list(text)
    if isinstance(one.default, dict) or isinstance(stands, dict):
        return _pairs(text)
    if isinstance(one.default, int) and text.lstrip("-").isdecimal() and len(text) < 10:
        return int(text)
    return text


def _shown(one: Setting, stands: Any) -> str:
    if stands is None:
        return ""
    if isinstance(stands, bool):
        return "true" if stands else "false"
    if isinstance(stands, Mapping) and all(isinstance(value, str) for value in stands.values()):
        return "\n".join(f"{ours} = {theirs}" for ours, theirs in stands.items())
    return as_json(stands) if isinstance(stands, (Mapping, list)) else str(stands)


def _pairs(text: str) -> dict[str, Any]:
    """A table: JSON, or one pair a line."""
    if text.startswith("{"):
        return table_of(text)
    found: dict[str, Any] = {}
    for line in filter(str.strip, text.splitlines()):
        ours, equals, theirs = (part.strip() for part in line.partition("="))
        if not equals or not ours or not theirs:
            raise Unreadable(f"“{line.strip()}” is no pair; expected “key = value”, one a line.")
        if ours in found:
            raise Unreadable(f"“{ours}” stands twice.")
        found[ours] = theirs
    return found


def table_of(text: str) -> dict[str, Any]:
    """A table in JSON. Raises Unreadable."""
    try:
        found = json.loads(text, parse_float=str) if text.strip() else {}
    except ValueError as wrong:
        raise Unreadable(f"This is not JSON: {wrong}.") from None
    if not isinstance(found, dict):
        raise Unreadable('Expected a table in JSON, as {"read_timeout": 60}.')
    return found


def _json_list(text: str) -> list[Any]:
    try:
        found = json.loads(text, parse_float=str)
    except ValueError as wrong:
        raise Unreadable(f"This is not JSON: {wrong}.") from None
    if not isinstance(found, list):
        raise Unreadable("Expected a list in JSON.")
    return found


def as_json(value: Any) -> str:
    """A table or list as a person edits it."""
    return json.dumps(value, indent=1, ensure_ascii=False)
