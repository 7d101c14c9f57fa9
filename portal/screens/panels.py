"""Panels of the first page. An app names functions in `HOME` of its `urls` module; each answers one request with a panel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One thing that waits: its sentence and page, what stands under it, a state, and figures at the right."""

    text: str
    url: str = ""
    note: str = ""
    state: str = ""
    tone: str = ""
    figures: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Some lines under a title. `nothing` is what an empty one says; `url` leads to all of them, `count` many where known."""

    key: str
    title: str
    position: int
    lines: Sequence[Line]
    nothing: str = ""
    url: str = ""
    is_wide: bool = False
    count: int = 0
