"""What a source can be told. The app that knows its connectors names a function in `SAYS` of its `urls` module."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, cast

from portal.screens.navigation import APPS

if TYPE_CHECKING:
    from portal.models import Connection


@cache
def _ask() -> Callable[[Connection], str]:
    for app in APPS:
        source = getattr(import_module(f"{app}.urls"), "SAYS", None)
        if source is not None:
            return cast("Callable[[Connection], str]", source)
    return lambda _source: ""


def why_untold(sources: Iterable[Connection]) -> list[str]:
    """Why nothing that is written here reaches the people of these sources; a sentence for each kind of source, once."""
    return list(dict.fromkeys(filter(None, (_ask()(source) for source in sources))))
