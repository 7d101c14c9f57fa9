"""Confirming mappings: what a person chose becomes lines of one draft change set, which a second person agrees to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from portal.models import User
from reconciliation import changes
from reconciliation.mappings.suggesting import record_of
from reconciliation.models import ChangeSet, Mapping

BEGINNING = date(2000, 1, 1)  # a record's key was its key on every day


@dataclass(frozen=True, slots=True)
class Choice:
    """One key of a system for one of our records, and from which day it means it."""

    row: Mapping
    internal_id: int
    external_id: str
    valid_from: date = BEGINNING
    allows_many: bool = False


def confirm(choices: Sequence[Choice], *, by: User, reason: str, title: str = "") -> ChangeSet:
    """Draft the change set that maps these. Raises `changes.ChangeRefused` naming what cannot stand, PermissionDenied."""
    first = choices[0].row
    noun = f"{len(choices):,} records" if len(choices) > 1 else str(first)
    return changes.draft(
        by=by,
        title=title or f"Map {noun} in {first.connection.name}",
        reason=reason,
        lines=[changes.Line(model="crosswalk", action="add", values=_values(choice)) for choice in choices],
    )


def _values(choice: Choice) -> dict[str, Any]:
    record = record_of(choice.row.kind, choice.internal_id)
    if record is None:
        raise changes.ChangeRefused("The record is no longer there.")
    within = {"cost_centre": "entity", "task": "project"}.get(choice.row.kind)
    return {
        "system": choice.row.system,
        "realm": choice.row.realm,
        "kind": choice.row.kind,
        "external_id": choice.external_id,
        **({"within": str(getattr(record, within).code)} if within else {}),
        "code": record.code,
        "allows_many": choice.allows_many,
        "valid_from": choice.valid_from.isoformat(),
    }
