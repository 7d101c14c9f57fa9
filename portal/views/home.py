"""My work: what waits for this person, in one page that reads itself in a minute.

The rule here: each app says what it knows by naming panels in `HOME` of its `urls` module, as it names its places in
`NAVIGATION`; this module asks no other app for anything and only lays the answers out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils import timezone

from portal.screens import Screen
from portal.screens.base import roles_of
from portal.screens.navigation import APPS
from portal.screens.panels import Line, Panel

Source = Callable[[HttpRequest], "Panel | None"]
NEWS = "news"  # the panel whose lines come from every app


@dataclass(slots=True)
class Work:
    """What the page shows: the wide column, the narrow one, and what changed since yesterday."""

    wide: list[Panel] = field(default_factory=list)
    side: list[Panel] = field(default_factory=list)
    news: list[Line] = field(default_factory=list)

    @property
    def is_clear(self) -> bool:
        """Whether nothing at all waits."""
        return not any(panel.lines for panel in [*self.wide, *self.side])


@cache
def sources() -> tuple[Source, ...]:
    """Every panel of every app; the higher apps are known by name only."""
    found: Iterable[Source] = (source for app in APPS for source in getattr(import_module(f"{app}.urls"), "HOME", ()))
    return tuple(found)


def gather(request: HttpRequest) -> Work:
    """Ask every app, and sort what they say."""
    work = Work()
    panels = [panel for panel in (source(request) for source in sources()) if panel is not None]
    for panel in sorted(panels, key=lambda one: one.position):
        if panel.key == NEWS:
            work.news.extend(panel.lines)
        elif panel.is_wide:
            work.wide.append(panel)
        else:
            work.side.append(panel)
    return work


class HomeScreen(Screen):
    """The first page of everybody who holds a role."""

    title = "My work"
    template_name = "home.html"

    def dispatch(self, request: HttpRequest, *args: object, **kwargs: object) -> HttpResponseBase:
        """Without any role, a page that says whom to ask."""
        if request.user.is_authenticated and not roles_of(request):
            return render(request, "welcome.html")
        return super().dispatch(request, *args, **kwargs)

    def get(self, request: HttpRequest) -> HttpResponseBase:
        """The page."""
        return self.page(self.context(work=gather(request), today=timezone.localdate()))
