"""Strips above a list: what is old or unwell about its data. An app names functions in `FRESHNESS` of its `urls` module."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module

from django.http import HttpRequest

from portal.screens.navigation import APPS


@dataclass(frozen=True, slots=True)
class Notice:
    """A strip above the list: stale data, a paused connection. `url` and `link` are the next thing to do."""

    text: str
    tone: str = "warn"
    url: str = ""
    link: str = ""


@cache
def _sources() -> tuple[Callable[[HttpRequest], Iterator[Notice]], ...]:
    return tuple(source for app in APPS for source in getattr(import_module(f"{app}.urls"), "FRESHNESS", ()))


def late(request: HttpRequest) -> Iterator[Notice]:
    """What every app says of the age of its data, for the entities that the person looks at."""
    for source in _sources():
        yield from source(request)
