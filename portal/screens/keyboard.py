"""The keyboard: one table of actions and keys, which a person may change or switch off.

The help sheet, the scripts, the tooltips of the buttons and the settings page all read it from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ROWS, ACT, ANYWHERE = "In a list", "Act on the selection", "Everywhere"


@dataclass(frozen=True, slots=True)
class Key:
    """One action of the keyboard. `keys` are the browser's own names of keys; `then` is what follows the key."""

    action: str
    keys: tuple[str, ...]
    label: str
    group: str
    then: str = ""


KEYS = (
    Key("next", ("j", "ArrowDown"), "Next row", ROWS),
    Key("previous", ("k", "ArrowUp"), "Previous row", ROWS),
    Key("open", ("Enter",), "Open beside the list; again in full", ROWS),
    Key("menu", (".",), "All actions of the row", ROWS),
    Key("select", ("x",), "Select the row", ROWS),
    Key("select_range", ("X",), "Select up to the row", ROWS),
    Key("select_all", ("A",), "Select all that match", ROWS),
    Key("read_previous", ("[",), "Previous item while reading", ROWS),
    Key("read_next", ("]",), "Next item while reading", ROWS),
    Key("close", ("Escape", "u"), "Close, or back to the list", ROWS),
    Key("view", ("v",), "Saved view", ROWS, then="a digit"),
    Key("fix", ("f",), "Fix", ACT),
    Key("repost", ("r",), "Re-post", ACT),
    Key("assign", ("a",), "Assign", ACT),
    Key("assign_me", ("m",), "Assign to me", ACT),
    Key("snooze", ("s",), "Snooze", ACT),
    Key("ignore", ("i",), "Ignore, with a reason", ACT),
    Key("waive", ("w",), "Waive, with a reason", ACT),
    Key("hand_back", ("h",), "Hand back to the source", ACT),
    Key("comment", ("c",), "Comment", ACT),
    Key("new", ("n",), "New; or reject what waits for you", ACT),
    Key("approve", ("y",), "Approve", ACT),
    Key("undo", ("z",), "Undo the last triage", ACT),
    Key("export", ("e",), "Export", ANYWHERE),
    Key("density", ("d",), "Compact or comfortable rows", ANYWHERE),
    Key("reload", ("R",), "Refresh the list", ANYWHERE),
    Key("search", ("/",), "Search any id, code or name", ANYWHERE),
    Key("go", ("g",), "Go to a place", ANYWHERE, then="a letter"),
    Key("help", ("?",), "This sheet", ANYWHERE),
)
CONFIRM = "Confirm what is open"  # Ctrl or Cmd with Enter: the browser's own way to send a form, and not a single key
NAMED = {
    "ArrowDown": "↓", "ArrowUp": "↑", "ArrowLeft": "←", "ArrowRight": "→", "Escape": "Esc", "Enter": "Enter",
    "Home": "Home", "End": "End", "PageUp": "Page Up", "PageDown": "Page Down", "Delete": "Del", "Insert": "Ins",
}  # fmt: skip
KEPT_BY_BROWSER = frozenset({"Tab", " ", "Backspace"})


def keymap(preferences: Mapping[str, Any]) -> dict[str, list[str]]:
    """Action to keys for one person: the defaults, their own keys over them, or nothing when switched off."""
    if preferences.get("keyboard_off"):
        return {}
    own = preferences.get("keys", {})
    return {key.action: [own[key.action]] if own.get(key.action) else list(key.keys) for key in KEYS}


def spoken(key: str) -> str:
    """A key as it is printed on the sheet: Shift for capitals, arrows as arrows."""
    if len(key) == 1 and key.isupper():
        return f"⇧ {key}"
    return NAMED.get(key, key.upper() if len(key) == 1 else key)


def mistake(key: str) -> str:
    """Why a person may not use this key, in a sentence; empty when they may."""
    if key in KEPT_BY_BROWSER or key.isspace():
        return "Tab, Space and Backspace belong to the browser. Choose another key."
    if len(key) == 1 and key.isdigit():
        return "Digits choose a saved view. Choose another key."
    if len(key) == 1 or key in NAMED:
        return ""
    return "Give one character, or the name of a key: " + ", ".join(NAMED) + "."


def clashes(own: Mapping[str, str]) -> dict[str, str]:
    """By action, why a person's own key cannot hold: another action has it already."""
    held: dict[str, Key] = {}
    found: dict[str, str] = {}
    for key in sorted(KEYS, key=lambda one: bool(own.get(one.action))):  # the own ones give way, not the defaults
        for one in [own[key.action]] if own.get(key.action) else key.keys:
            if one in held:
                words = (
                    f"The key {spoken(one)} already means “{held[one].label}”. Choose another, or change that one too."
                )
                found[key.action] = words
            held.setdefault(one, key)
    return found


def sheet(preferences: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, list[str]]]]]:
    """The help sheet: groups of (what it does, the keys as printed)."""
    held = keymap(preferences)
    groups: dict[str, list[tuple[str, list[str]]]] = {}
    for key in KEYS:
        if key.action in held:
            after = f" then {key.then}" if key.then else ""
            printed = [f"{spoken(one)}{after}" for one in held[key.action]]
            groups.setdefault(key.group, []).append((key.label, printed))
    if groups:
        groups[ANYWHERE].append((CONFIRM, ["Ctrl Enter", "⌘ Enter"]))
    return list(groups.items())
