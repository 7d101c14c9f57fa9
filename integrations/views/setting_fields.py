"""One declared setting as a field of a form, and what a person wrote in it as the connection keeps it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from django import forms

from integrations.protocol import Setting
from portal.importing.problems import Unreadable

NOT_TOLD = "-"
YES_NO = (("true", "yes"), ("false", "no"))


class Needed(forms.CharField):
    """A field that is needed, which whoever checks the connection says with everything else."""

    def validate(self, value: Any) -> None:
        """Nothing here."""


class _Words(forms.MultiWidget):
    """One field a word of ours, each with the vendor's fields to choose from where the account has told them."""

    template_name = "integrations/words.html"
    use_fieldset = True

    def __init__(self, words: tuple[str, ...], usual: Mapping[str, str]) -> None:
        self.words, self.known, self.wrong = words, (), ()  # type: tuple[str, ...], tuple[str, ...], tuple[str, ...]
        texts: dict[str, forms.Widget | type[forms.Widget]] = {
            word: forms.TextInput(attrs={"placeholder": usual.get(word, ""), "spellcheck": "false"}) for word in words
        }
        super().__init__(texts)

    def decompress(self, value: Any) -> list[str]:
        """What a table says of each word; a dash where it says that nothing is told."""
        said = value if isinstance(value, Mapping) else {}
        return [NOT_TOLD if word in said and not said[word] else str(said.get(word, "")) for word in self.words]

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        """The words beside their fields, and the list that all of them choose from."""
        context = super().get_context(name, value, attrs)
        listed = f"{context['widget']['attrs'].get('id', name)}_fields"
        for word, part in zip(self.words, context["widget"]["subwidgets"], strict=True):
            part["word"] = word.replace("_", " ")
            if self.known:
                part["attrs"]["list"] = listed
            if self.wrong and word not in self.wrong:
                part["attrs"].pop("aria-invalid", None)
        context["widget"] |= {"known": self.known, "listed": listed}
        return context


class WordsField(forms.MultiValueField):
    """Which field of the vendor's each of our words is; what is empty is as usual."""

    widget: _Words

    def __init__(self, words: tuple[str, ...], usual: Mapping[str, str], **more: Any) -> None:
        self.words = words
        parts = [forms.CharField(required=False, max_length=200) for _ in words]
        super().__init__(parts, require_all_fields=False, widget=_Words(words, usual), **more)

    def compress(self, data_list: list[str]) -> dict[str, str]:
        """The words that were told something; a dash says that one is told nothing."""
        said = {word: text.strip() for word, text in zip(self.words, data_list, strict=False) if text and text.strip()}
        return {word: "" if text == NOT_TOLD else text for word, text in said.items()}


def setting_field(one: Setting, stands: Any) -> forms.Field:
    """The field of a setting: a choice, yes or no, a number, a table, or text."""
    common: dict[str, Any] = {
        "label": one.label,
        "required": one.required,
        "help_text": one.help,
        "initial": _shown(one, stands),
    }
    if one.words:
        usual_fields = one.default if isinstance(one.default, dict) else {}
        dash = " A dash: not told." if usual_fields else ""
        common |= {"help_text": f"{one.help} Empty: as usual.{dash}", "initial": _table(stands), "required": False}
        return WordsField(one.words, usual_fields, **common)
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
    if one.words:
        return stands if text and isinstance(stands, str) and _table(stands) == text else text or None
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


def _table(stands: Any) -> Mapping[str, Any]:
    """A table as it stands, also where it was written one pair a line."""
    if isinstance(stands, str):
        try:
            return _pairs(stands)
        except Unreadable:
            return {}
    return stands if isinstance(stands, Mapping) else {}


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
