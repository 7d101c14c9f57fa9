"""What stands between an entry and its target. The app that knows names a function in `DOORS` of its `urls` module."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib import import_module
from typing import cast

from portal.screens.navigation import APPS


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedDoor:
    """Why nothing goes to one target now, as a person says it: since when, until when where that is known, and what ends it."""

    target: str
    sentence: str
    ends: str
    since: datetime | None = None
    until: datetime | None = None
    tone: str = "warn"
    url: str = ""


@cache
def _ask() -> Callable[[Collection[int]], dict[int, ClosedDoor]]:
    for app in APPS:
        source = getattr(import_module(f"{app}.urls"), "DOORS", None)
        if source is not None:
            return cast("Callable[[Collection[int]], dict[int, ClosedDoor]]", source)
    return lambda _targets: {}


def closed_doors(target_ids: Collection[int]) -> dict[int, ClosedDoor]:
    """Those of some targets that nothing goes to now, and why; a fixed number of statements."""
    return _ask()(target_ids) if target_ids else {}
