"""The ledger: every entry that is owed to a target, and how far it has come."""

from __future__ import annotations

from decimal import Decimal

from django.db.models import Q, Sum

from portal.filters import LedgerEntryFilter
from portal.models import LedgerEntry, State
from portal.models.documents import OURS
from portal.screens import Empty, ListScreen, Tab
from portal.screens.printing import EntityTotal, totals_by
from portal.tables import LedgerTable

ON_THEIR_WAY = (State.READY, State.SENDING, State.ACCEPTED)


class LedgerList(ListScreen):
    """Ledger entries, the latest work first."""

    title = "Ledger"
    caption = "Ledger entries, the latest work first"
    queryset = (
        LedgerEntry.objects.exclude(kind__in=OURS)
        .select_related("entity", "source", "target", "document", "project", "resource", "state_row")
        .order_by("-work_date", "-pk")
    )
    filterset = LedgerEntryFilter
    primary = ("state", "entity", "period", "source", "project", "customer", "resource")
    table = LedgerTable
    totals = {
        "hours": Sum("hours", default=Decimal(0)),
        "amount": Sum("amount", default=Decimal(0)),
    }
    currency = "currency"
    tabs = (
        Tab("all", "All"),
        Tab("stopped", "Stopped", lambda _user: Q(state_row__state__in=[State.HELD, State.REJECTED])),
        Tab("way", "On their way", lambda _user: Q(state_row__state__in=ON_THEIR_WAY)),
        Tab("doubt", "In doubt", lambda _user: Q(state_row__state=State.IN_DOUBT)),
        Tab("posted", "Posted", lambda _user: Q(state_row__state__in=[State.POSTED, State.RECONCILED])),
        Tab("undone", "Taken back", lambda _user: Q(state_row__state__in=[State.REVERSED, State.CANCELLED])),
    )
    empty = Empty("No entry yet", "Approved hours and expenses stand here once a source has been read.")

    def headline(self) -> str:
        """What this list is."""
        return "Every approved hour and expense that is owed to a target, and how far it has come"

    def entity_totals(self) -> list[EntityTotal]:
        """Hours and money of each entity."""
        return totals_by(self.filtered, self.totals, entity="entity__code", currency="currency")
