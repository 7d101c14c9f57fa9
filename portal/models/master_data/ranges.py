"""What the constraints of master data are made of: the same thing, on the same day, and the history of every change."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Func, Value
from django.db.models.functions import Coalesce
from simple_history.models import HistoricalRecords


def same(column: str) -> tuple[Func, str]:
    """Equality on a whole number in a GiST constraint, without btree_gist; empty counts as one value."""
    number = Coalesce(F(column), Value(0), output_field=models.BigIntegerField())
    return (Func(number, number, Value("[]"), function="int8range"), "&&")


def same_text(*columns: str) -> tuple[Func, str]:
    """Equality on texts in a GiST constraint, by their 64-bit hash."""
    joined = " || chr(31) || ".join(columns)
    digest = Func(template=f"hashtextextended({joined}, 0)", output_field=models.BigIntegerField())
    return (Func(digest, digest, Value("[]"), function="int8range"), "&&")


def during(start: str = "valid_from", end: str = "valid_to") -> tuple[Func, str]:
    """Overlap of two closed ranges of days."""
    return (Func(F(start), F(end), Value("[]"), function="daterange"), "&&")


def history_of() -> HistoricalRecords:
    """The history of every change, with its reason."""
    return HistoricalRecords(history_change_reason_field=models.TextField(null=True))
