"""Entities with their calendars and policies, and periods: listed one by one, or months made from a range."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import Any

from integrations.configuration.document import MISSING, Document, TomlPlace
from portal.importing.domains import PERIODS
from portal.importing.load import Load
from portal.importing.problems import Place
from portal.models import AccountingPeriod

_RANGE = {"entities", "first_month", "last_month", "closed_through", "open_through"}


def add_periods(document: Document, load: Load) -> None:
    """Put the periods of the document into the load. The state of a month made from a range is for new ones only."""
    explicit, made = [], []
    known = {column.name for column in PERIODS.columns} | _RANGE
    for place, row in document.rows("periods", known):
        if "first_month" in row or "last_month" in row or "entities" in row:
            made += list(_months(document, place, row))
        else:
            explicit.append((place, row))
    standing = set(AccountingPeriod.objects.values_list("entity__code", "code"))
    for _, row in made:
        if (row["entity"], row["code"]) in standing:
            del row["state"]
    rows: list[tuple[Place, Mapping[str, Any]]] = [*explicit, *made]
    load.add("periods", rows)


def _months(document: Document, place: TomlPlace, row: Mapping[str, Any]) -> Iterator[tuple[TomlPlace, dict[str, Any]]]:
    if strange := sorted(set(row) & {"entity", "code", "starts_on", "ends_on", "state"}):
        document.problem(place.at(strange[0]), row[strange[0]], "does not go with a range of months; list the period.")
        return
    first, last = (_month(document, place, row, key) for key in ("first_month", "last_month"))
    closed = _month(document, place, row, "closed_through", optional=True)
    still_open = _month(document, place, row, "open_through", optional=True)
    if first is None or last is None:
        return
    if not first <= last or last.year - first.year > 20:
        document.problem(
            place.at("last_month"), row["last_month"], f"is not within 20 years from {row['first_month']}."
        )
        return
    for entity in _entities(document, place, row):
        month = first
        while month <= last:
            following = (month + timedelta(days=31)).replace(day=1)
            yield (
                TomlPlace(f"{place.path} {entity} {month:%Y-%m}"),
                {
                    "entity": entity,
                    "code": f"{month:%Y-%m}",
                    "starts_on": month,
                    "ends_on": following - timedelta(days=1),
                    "state": _state(month, closed, still_open),
                },
            )
            month = following


def _state(month: date, closed_through: date | None, open_through: date | None) -> str:
    if closed_through and month <= closed_through:
        return AccountingPeriod.State.CLOSED.value
    if open_through and month > open_through:
        return AccountingPeriod.State.FUTURE.value
    return AccountingPeriod.State.OPEN.value


def _month(
    document: Document, place: TomlPlace, row: Mapping[str, Any], key: str, *, optional: bool = False
) -> date | None:
    value = row.get(key, MISSING)
    if value is MISSING and optional:
        return None
    if isinstance(value, str) and re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", value) and not value.startswith("0000"):
        return date.fromisoformat(f"{value}-01")
    document.problem(place.at(key), "" if value is MISSING else value, "is not a month; write it as 2026-07.")
    return None


def _entities(document: Document, place: TomlPlace, row: Mapping[str, Any]) -> list[str]:
    value = row.get("entities", MISSING)
    if isinstance(value, list) and value and all(isinstance(code, str) for code in value):
        return value
    if value == "all":
        section = document.content.get("entities", [])
        return [
            entity["code"] for entity in section if isinstance(entity, dict) and isinstance(entity.get("code"), str)
        ]
    message = 'is not a list of entity codes; expected one such as ["US", "DE"], or "all" for those of this file.'
    document.problem(place.at("entities"), "" if value is MISSING else value, message)
    return []
