"""The hand-written SQL of whether it is right, behind functions named in the business's words.

The rule here: every function is a fixed number of statements however many rows it is given, takes keys of the batch and never
a whole table, and reads the portal's tables without writing them (cases and holds are this app's own).
"""

from __future__ import annotations

from collections.abc import Iterable


def numbers(values: Iterable[int]) -> str:
    """Whole numbers as the literal of a bigint[]; many times faster than an array parameter of thousands."""
    return "{" + ",".join(map(str, values)) + "}"


def texts(values: Iterable[str]) -> str:
    """Texts as the literal of a text[]; many times faster than an array parameter of thousands."""
    return "{" + ",".join(['"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"' for text in values]) + "}"
