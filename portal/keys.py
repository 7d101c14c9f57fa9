"""Whole numbers that an address or a form names: the key of a row, a page, a count.

The rule here: what a person can type is no error. `isdigit` is true of “²” and of a number with a thousand digits, and neither
is the key of anything.
"""

from __future__ import annotations

from collections.abc import Iterable

LONGEST = 18  # digits, so that every key fits into the database's bigint


def key(text: str) -> int | None:
    """The number that a text is, in plain digits; None for everything else."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= LONGEST else None


def keys(texts: Iterable[str]) -> list[int]:
    """Those of the texts that are numbers, in their order."""
    return [number for text in texts if (number := key(text)) is not None]
