"""What a connector is told: its account as it is configured, and the settings by which it lets itself be told.

No Django and no vendor. A setting may replace what a connector assumes of its vendor; it says so, and the form shows it apart.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One account at one vendor, as configured. Secrets never leave this object in a log or a repr."""

    code: str
    base_url: str
    realm: str = ""
    zone: str = "UTC"
    settings: Mapping[str, Any] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)

    def setting(self, name: str, declared: Sequence[Setting]) -> Any:
        """A setting as it was given, or the default that is declared for it where nothing was."""
        value = self.settings.get(name)
        return next(s.default for s in declared if s.name == name) if value in (None, "") else value

    def overlap(self, declared: Sequence[Setting]) -> timedelta:
        """How far back before its cursor a stream is read again."""
        return timedelta(minutes=int(self.setting("overlap_minutes", declared)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting that a connector declares; the form and the loader follow from it.

    A `default` that is a table or a list makes the setting one, in the order of words that `help` names; `long` is a text of
    several lines. A number lies from `least` to `most`; `shape` is what a text has to be: one of `SHAPES`.
    `replaces` are names in the connector's `assumptions`: what we assume of the vendor, and this setting corrects. `words` are
    ours of a table that says which field of the vendor's each of them is.
    """

    name: str
    label: str
    help: str = ""
    required: bool = False
    secret: bool = False
    default: Any = None
    choices: tuple[str, ...] = ()
    long: bool = False
    least: int | None = None
    most: int | None = None
    shape: str = ""
    replaces: tuple[str, ...] = ()
    words: tuple[str, ...] = ()

    def objection(self, value: Any) -> str:
        """Why a value will not do, as what it is not and what is expected; empty where it will."""
        if self.choices:
            return "" if str(value) in self.choices else f"is not one of {', '.join(filter(None, self.choices))}."
        if isinstance(self.default, bool):
            return "" if isinstance(value, bool) else "is neither true nor false."
        if isinstance(self.default, int):
            return self._no_number(value)
        if self.words and isinstance(value, dict) and (unknown := sorted(set(value) - set(self.words))):
            return f"names “{unknown[0]}”, which is none of {', '.join(self.words)}."
        if isinstance(self.default, (dict, list)):
            is_table = isinstance(self.default, dict)
            return "" if isinstance(value, dict if is_table else list) else f"is no {'table' if is_table else 'list'}."
        if isinstance(value, (bool, dict)) and not self.long:
            return "is no text."
        if self.shape and value not in ("", None):
            expected, fits = SHAPES[self.shape]
            return "" if fits(str(value)) else f"is not {expected}{'' if self.required else ', or leave it empty'}."
        return ""

    def _no_number(self, value: Any) -> str:
        least, most = self.least or 0, self.most
        if (
            isinstance(value, int)
            and not isinstance(value, bool)
            and value >= least
            and (most is None or value <= most)
        ):
            return ""
        span = f"from {least} to {most}" if most is not None else f"of {least} or more"
        return f"is not a whole number {span}, as {self.default} ({self.label})."


def _is_day(text: str) -> bool:
    try:
        return len(text) == len("2026-01-31") and bool(date.fromisoformat(text))
    except ValueError:
        return False


def _is_zone(text: str) -> bool:
    try:
        return bool(ZoneInfo(text))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False


SHAPES: Mapping[str, tuple[str, Callable[[str], bool]]] = {  # what is expected, and whether a text is it
    "day": ("a day; write it as 2026-01-31", _is_day),
    "currency": (
        "a currency; write its three letters, as EUR",
        lambda text: re.fullmatch("[A-Z]{3}", text) is not None,
    ),
    "zone": ("a time zone; write its IANA name, as Europe/Berlin", _is_zone),
    "address": (
        "an address; write it whole, as https://acme.example.com",
        lambda text: re.fullmatch(r"https?://[^\s/]+(/\S*)?", text) is not None,
    ),
}


def upstream_timeout(seconds: int) -> Setting:
    """How long a call that we lost may still be carried out: `UPSTREAM_TIMEOUT` of the connector."""
    return Setting(
        name="upstream_timeout", label="Seconds until a lost call is over", default=seconds, least=30, most=86400,
        help="What got no answer and is not found by then may go again. Less than the vendor takes would book twice.",
        replaces=("UPSTREAM_TIMEOUT",),
    )  # fmt: skip


def overlap_minutes(minutes: int) -> Setting:
    """How far back before its cursor a stream is read again: `OVERLAP_MINUTES` of the connector."""
    return Setting(
        name="overlap_minutes", label="Minutes read again before the cursor", default=minutes, least=0, most=10080,
        help="For changes that the vendor shows late.", replaces=("OVERLAP_MINUTES",),
    )  # fmt: skip


def memo_limit(characters: int) -> Setting:
    """How long a text the vendor takes: `MEMO_LIMIT` of the connector."""
    return Setting(
        name="memo_limit", label="Longest text", default=characters, least=1, most=4000,
        help="Characters of a description that are sent.", replaces=("MEMO_LIMIT",),
    )  # fmt: skip
