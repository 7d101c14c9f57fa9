"""A station of the line that an hour takes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Station:
    """One station: reached (`lit`), in doubt, broken or not reached; what the rows say of it, since when, and where it leads."""

    key: str
    name: str
    light: str  # "", lit, doubt, broken
    words: str
    at: datetime | None = None
    url: str = ""

    @property
    def is_gap(self) -> bool:
        """Whether the line breaks off here."""
        return self.light != "lit"
