"""The side navigation: each app names its places in `NAVIGATION` of its `urls` module, and nothing registers itself.

A person sees the places whose address exists and whose roles they hold, by group; a group folded away in this browser
stays folded, except the one that holds the page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from itertools import groupby
from typing import Any

from django.urls import NoReverseMatch, reverse
from django.utils.text import slugify

APPS = ("portal", "reconciliation", "integrations")  # the higher apps by name only
GROUPS = ("", "Billing", "Master data", "Govern", "Operate")  # the first has no heading: what a day begins with
FOLDED_COOKIE = "tieout_folded"  # the slugs of folded groups with dots between them; static/js/shell.js writes it


@dataclass(frozen=True, slots=True)
class Badge:
    """The small figure or dot beside a place. `label` says to a screen reader what it counts."""

    label: str
    count: int | None = None
    tone: str = ""  # "", good, warn, bad


@dataclass(frozen=True, slots=True, kw_only=True)
class NavItem:
    """One place. Without `roles` everybody with a grant sees it; `key` follows G on the keyboard."""

    label: str
    url_name: str
    position: int
    group: str = ""
    roles: frozenset[str] = frozenset()
    key: str = ""
    badge: Callable[[Any], Badge | None] | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """A place as one person sees it on one page."""

    name: str  # of its address
    label: str
    url: str
    key: str
    badge: Badge | None
    counts: bool  # whether it ever has a badge
    current: bool


@dataclass(frozen=True, slots=True)
class Group:
    """Places under one heading."""

    name: str
    slug: str
    places: list[Place]
    folded: bool


@cache
def items() -> tuple[NavItem, ...]:
    """Every place of every app, in the order of the page."""
    found: Iterable[NavItem] = (
        item for app in APPS for item in getattr(import_module(f"{app}.urls"), "NAVIGATION", ())
    )
    return tuple(sorted(found, key=lambda item: (GROUPS.index(item.group), item.position)))


@cache
def _top() -> tuple[Callable[[Any], str], ...]:
    return tuple(part for app in APPS for part in getattr(import_module(f"{app}.urls"), "TOP", ()))


def top_parts(request: Any) -> list[str]:
    """What the apps show in the top bar of every page, as they name it in `TOP` of their `urls`; without what is empty."""
    return [part for part in (source(request) for source in _top()) if part]


def places(user: Any, roles: frozenset[str], path: str, folded: str = "") -> list[Group]:
    """The places this person sees, by group; the one that holds `path` is current. `folded` is the cookie's value."""
    seen = []
    for item in items():
        if item.roles and not item.roles & roles:
            continue
        try:
            url = reverse(item.url_name)
        except NoReverseMatch:
            continue
        seen.append((item, url))
    holding = [url for _, url in seen if path == url or (url != "/" and path.startswith(url))]
    here = max(holding, key=len, default="")
    groups = []
    for name, members in groupby(seen, key=lambda pair: pair[0].group):
        shown = [_place(item, url, user, here) for item, url in members]
        slug = slugify(name)
        groups.append(Group(name, slug, shown, slug in folded.split(".") and not any(place.current for place in shown)))
    return groups


def _place(item: NavItem, url: str, user: Any, here: str) -> Place:
    badge = item.badge(user) if item.badge else None
    return Place(item.url_name, item.label, url, item.key, badge, item.badge is not None, url == here)
