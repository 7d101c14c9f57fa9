"""Parts of the form of a connection that know nothing of connections: sections, secrets that are not shown, places."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django import forms
from django.forms import BoundField

PLACES = (("env", "an environment variable"), ("file", "a file"))


class Unseen(forms.Textarea):
    """A long secret, such as a private key: typed and never shown again, as a password is."""

    def format_value(self, value: Any) -> None:
        """Nothing, whatever was typed."""
        return


@dataclass(frozen=True, slots=True)
class Section:
    """Some fields under one heading."""

    title: str
    fields: list[BoundField]
    note: str = ""
    is_optional: bool = False

    @property
    def is_open(self) -> bool:
        """Whether it shows its fields at once: what must be said does, and what was said or is wrong."""
        return not self.is_optional or any(one.errors or says(one.value()) for one in self.fields)


def says(value: Any) -> bool:
    """Whether a field says anything; one of several parts does where one of them does."""
    return any(value) if isinstance(value, list) else bool(value)


def place_of(text: str) -> dict[str, str] | None:
    """Where a credential lies, from `env:NAME` or `file:/path`."""
    kind, _, where = text.partition(":")
    return {kind: where.strip()} if kind in dict(PLACES) and where.strip() else None
