"""What stands in the cells of master data, in words: a file and a change set speak in codes, and people read words."""

from __future__ import annotations

import json
import re
from datetime import date
from typing import Any

from django.db.models import BooleanField

from portal import figures
from portal.importing.tables import Table
from portal.views.audit import as_text

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_NOTHING = "empty"


def value(table: Table, name: str, said: Any) -> str:
    """What stands in a cell: a choice by its label, yes or no, a day, a table as its settings; empty where nothing does."""
    if said is None or said in ("", {}, []):
        return _NOTHING
    text = str(said)
    if isinstance(said, str) and text.startswith(("{", "[")):
        said = _read(text)
    if isinstance(said, dict | list):
        return as_text(said) or _NOTHING
    column = table.column(name)
    field = next((one for one in table.model._meta.concrete_fields if column and one.attname == column.sets), None)
    if isinstance(field, BooleanField) and text.lower() in ("true", "yes", "1", "false", "no", "0"):
        return "yes" if text.lower() in ("true", "yes", "1") else "no"
    if field is not None and field.choices:
        return str(dict(field.flatchoices).get(text, text))
    if _DAY.fullmatch(text):
        return _day(text)
    return text


def _day(text: str) -> str:
    try:
        return figures.day(date.fromisoformat(text))
    except ValueError:
        return text


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
