"""What stops a project month, as it is said to people."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Blocker:
    """The first thing that stops a project month, who has to act on it, and where; without `who` nothing waits for a person."""

    words: str
    who: str = ""
    url: str = ""
    more: int = 0
    way: str = "Decide"  # what is done there, as a button says it
