"""What was told to whom, in words: how far a record has come in a system, what the system cannot take, what it holds instead.

The rule here: the words come from rows and from what connectors declare; nothing is called.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import F, OuterRef, QuerySet, Subquery

from integrations import registry
from integrations.protocol import Takes
from integrations.publications import shown_value
from portal.models import LedgerEntry, Published, PublishedVersion, State
from portal.records import FIGURES, PublishedKind

_WORDS = {
    State.HELD: "Stopped",
    State.READY: "To be sent",
    State.SENDING: "Being sent",
    State.IN_DOUBT: "In doubt",
    State.REJECTED: "Refused",
    State.ACCEPTED: "Taken, not proved",
    State.POSTED: "Proved",
    State.RECONCILED: "Proved",
    State.REVERSED: "Replaced",
    State.CANCELLED: "Not owed any more",
}
TONES: dict[str, str] = {
    State.HELD: "bad", State.READY: "info", State.SENDING: "info", State.IN_DOUBT: "warn", State.REJECTED: "bad",
    State.ACCEPTED: "info", State.POSTED: "good", State.RECONCILED: "good", State.REVERSED: "", State.CANCELLED: "",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of a record: what was told, what the system held when it was last read, and why it does not take it."""

    name: str
    told: str
    held: str = ""
    why_not: str = ""
    differs: bool = False


def with_standing(rows: QuerySet[Published]) -> QuerySet[Published]:
    """Records with where their latest entry stands, and the version that the system holds."""
    latest = LedgerEntry.objects.filter(document=OuterRef("pk")).order_by("-pk")
    standing = latest.filter(state_row__state__in=[State.ACCEPTED, State.POSTED, State.RECONCILED])
    return rows.annotate(
        state=Subquery(latest.values("state_row__state")[:1]),
        waits_on=Subquery(latest.values("state_row__waits_on")[:1]),
        moved_at=Subquery(latest.values("state_row__moved_at")[:1]),
        told_version=F("document__current_version"),
        held_version=Subquery(standing.values("version")[:1]),
        receipt=Subquery(standing.values("state_row__receipt_number")[:1]),
    )


def words_of(state: str | None, waits_on: str = "") -> str:
    """How far a record has come, in words; what it waits for where it does."""
    if not state:
        return "Not told yet"
    said = _WORDS[State(state)]
    if state != State.READY or not waits_on:
        return said
    if waits_on.startswith("parent:"):
        return f"Waits for its {waits_on.split(':')[1]}"
    if waits_on.startswith("settled:"):
        return "Waits for its earlier version"
    return f"Waits: {waits_on.replace('_', ' ')}"


def takes_of(connector: str, kind: str) -> Takes | None:
    """What a connector takes of a kind; None where it takes nothing of it, or is not there any more."""
    try:
        publishes: Mapping[PublishedKind, Takes] = getattr(registry.connector_type(connector), "publishes", {})
    except registry.UnknownConnector:
        return None
    return publishes.get(PublishedKind(kind))


def not_taken(connector: str, kind: str) -> list[str]:
    """The figures of a kind that a system cannot take."""
    takes = takes_of(connector, kind)
    return sorted(takes.refuses) if takes is not None else sorted(FIGURES[PublishedKind(kind)])


def drift_of(row: Published) -> str:
    """What a system holds instead, in one line; empty where nothing differs."""
    return "; ".join(f"{said(name)}: {theirs} there, {ours} here" for name, (ours, theirs) in row.drift.items())


def figures_of(row: Published, version: PublishedVersion, held: Mapping[str, Any]) -> list[Figure]:
    """Every figure of a version, with what the system held of it."""
    takes = takes_of(row.connection.connector, row.kind)
    refuses = takes.refuses if takes is not None else {}
    return [
        Figure(
            said(name), shown_value(value), str(held.get(name, "")) if name not in refuses else "", refuses.get(name, ""),
            differs=name in row.drift,
        )
        for name, value in version.figures.items()
    ]  # fmt: skip


def said(name: str) -> str:
    """A field in words."""
    return {"is_active": "active", "is_billable": "billable", "is_approver": "approver"}.get(
        name, name.replace("_", " ")
    )
