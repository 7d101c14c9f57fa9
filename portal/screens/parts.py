"""What a list screen is made of beside its rows: tabs, tiles, and what it says where it is empty."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db.models import Q


@dataclass(frozen=True, slots=True)
class Tab:
    """A view of the same list. `where` narrows it for the person who looks; None narrows nothing."""

    slug: str
    label: str
    where: Callable[[Any], Q] | None = None


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure above the list; with a `url` it is a filter."""

    label: str
    value: str
    unit: str = ""
    url: str = ""
    note: str = ""
    tone: str = ""
    is_on: bool = False  # whether the list is filtered by it now


@dataclass(frozen=True, slots=True)
class Empty:
    """What a list without rows says, and the next thing to do."""

    title: str
    text: str = ""
    url: str = ""
    link: str = ""


@dataclass(frozen=True, slots=True)
class TabLink:
    """A tab as it is shown: with its address and count, and what it holds where a list knows."""

    tab: Tab
    query: str
    count: int
    current: bool
    sum: str = ""
