"""The keyboard: one table of actions and keys, which a person may change or switch off.

The help sheet, the scripts and the buttons all read it from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Key:
    """One action of the keyboard. `keys` are the browser's own names of keys."""

    action: str
    keys: tuple[str, ...]
    label: str
    group: str


KEYS = (
    Key("next", ("j", "ArrowDown"), "Next row", "In a list"),
    Key("previous", ("k", "ArrowUp"), "Previous row", "In a list"),
    Key("open", ("Enter",), "Open beside the list; again for the full page", "In a list"),
    Key("select", ("x",), "Select the row", "In a list"),
    Key("select_range", ("X",), "Select up to the row", "In a list"),
    Key("select_all", ("A",), "Select all that match", "In a list"),
    Key("read_previous", ("[",), "Previous item while reading", "In a list"),
    Key("read_next", ("]",), "Next item while reading", "In a list"),
    Key("close", ("Escape", "u"), "Close, or back to the list", "In a list"),
    Key("fix", ("f",), "Fix", "Act on the selection"),
    Key("repost", ("r",), "Re-post", "Act on the selection"),
    Key("assign", ("a",), "Assign", "Act on the selection"),
    Key("assign_me", ("m",), "Assign to me", "Act on the selection"),
    Key("snooze", ("s",), "Snooze", "Act on the selection"),
    Key("ignore", ("i",), "Ignore, with a reason", "Act on the selection"),
    Key("waive", ("w",), "Waive, with a reason", "Act on the selection"),
    Key("hand_back", ("h",), "Hand back to the source", "Act on the selection"),
    Key("comment", ("c",), "Comment", "Act on the selection"),
    Key("new", ("n",), "New", "Act on the selection"),
    Key("approve", ("y",), "Approve", "Act on the selection"),
    Key("undo", ("z",), "Undo the last triage", "Act on the selection"),
    Key("export", ("e",), "Export", "Everywhere"),
    Key("density", ("d",), "Compact or comfortable rows", "Everywhere"),
    Key("reload", ("R",), "Refresh the list", "Everywhere"),
    Key("search", ("/",), "Search any id, code or name", "Everywhere"),
    Key("go", ("g",), "Go to, followed by a letter", "Everywhere"),
    Key("help", ("?",), "This sheet", "Everywhere"),
)
LABELS = {"ArrowDown": "↓", "ArrowUp": "↑", "Escape": "Esc"}


def keymap(preferences: dict[str, Any]) -> dict[str, list[str]]:
    """Action to keys for one person: the defaults, their own keys over them, or nothing when switched off."""
    if preferences.get("keyboard_off"):
        return {}
    own = preferences.get("keys", {})
    return {key.action: [own[key.action]] if own.get(key.action) else list(key.keys) for key in KEYS}


def spoken(key: str) -> str:
    """A key as it is printed on the sheet: Shift for capitals, arrows as arrows."""
    if len(key) == 1 and key.isupper():
        return f"⇧ {key}"
    return LABELS.get(key, key.upper() if len(key) == 1 else key)


def sheet(preferences: dict[str, Any]) -> list[tuple[str, list[tuple[str, list[str]]]]]:
    """The help sheet: groups of (what it does, the keys as printed)."""
    held = keymap(preferences)
    groups: dict[str, list[tuple[str, list[str]]]] = {}
    for key in KEYS:
        if key.action in held:
            groups.setdefault(key.group, []).append((key.label, [spoken(one) for one in held[key.action]]))
    return list(groups.items())
