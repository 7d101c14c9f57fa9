"""Which systems are told how a bill or a payment stands, and how far each of them is: for whoever looks at the bill."""

from __future__ import annotations

from typing import Any

from django.db.models import OuterRef, Subquery

from portal.models import LedgerEntry, Published, State
from portal.tables import STATE_TONES


def systems(kind: str, number: int, user: Any) -> list[tuple[Published, str, str]]:
    """Each system that is told of it, with the state of the latest entry that owes it, in words and as a tone."""
    latest = LedgerEntry.objects.filter(document=OuterRef("pk")).order_by("-pk").values("state_row__state")[:1]
    rows = (
        Published.objects.visible_to(user)
        .filter(kind=kind, internal_id=number)
        .select_related("connection")
        .annotate(state=Subquery(latest))
        .order_by("connection__code")
    )
    return [(row, State(row.state).label, STATE_TONES.get(row.state, "")) for row in rows if row.state]
