"""Mappings on screen: how much of each system is mapped and what the rest is worth, the rows in question, and confirming them.

The rule here: confirming writes a draft change set and nothing else; nothing is made in a vendor.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.models import Q, QuerySet
from django.utils.functional import cached_property

from portal.models.access import entities_held
from portal.screens import Empty, ListScreen, Tab, chosen_entities
from reconciliation import mappings
from reconciliation.filters import MappingFilter
from reconciliation.models import Mapping
from reconciliation.views.mapping_acts import DismissMatch, MapAsSuggested
from reconciliation.views.mapping_tables import MappingTable, State, drafts, origins


class MappingList(ListScreen):
    """Keys and records of every system, those without one and with the most open time first."""

    title = "Mappings"
    caption = "Records and the keys under which systems know them"
    template_name = "reconciliation/mappings.html"
    queryset = Mapping.objects.select_related("connection", "entity").order_by("-entries", "kind", "code")
    filterset = MappingFilter
    table = MappingTable
    actions = (MapAsSuggested, DismissMatch)
    primary = ("system", "kind", "text")
    tabs = (
        Tab("unmapped", "Unmapped", lambda _user: Q(state=State.UNMAPPED)),
        Tab("theirs", "Theirs, not ours", lambda _user: Q(state=State.THEIRS)),
        Tab("ambiguous", "Ambiguous", lambda _user: Q(is_ambiguous=True)),
        Tab("expiring", "Expiring", lambda _user: Q(is_expiring=True)),
        Tab("conflicting", "Conflicting", lambda _user: Q(is_conflicting=True)),
        Tab("inactive", "Inactive target", lambda _user: Q(is_inactive=True)),
        Tab("mapped", "Mapped", lambda _user: Q(state=State.MAPPED)),
        Tab("all", "All"),
    )

    def rows(self) -> QuerySet[Any]:
        """The rows as of now, or of a moment ago where counting the open work takes long."""
        self.as_of = mappings.bring_up_to_date()
        return super().rows()

    def headline(self) -> str:
        """What is suggested, and what confirming does."""
        return "A match is suggested and a person confirms it; nothing is made in another system, and no name decides alone."

    def nothing(self) -> Empty:
        """What it means that a tab is empty."""
        if self.tab and self.tab.slug == "unmapped":
            return Empty("Every record has its key", "What has no key in a system that needs one stands here.")
        return Empty("Nothing of the kind", "The other tabs hold the rest.")

    def tell(self, records: Sequence[Any]) -> None:
        """Matches, where keys come from, and changes under way."""
        found = mappings.suggest(records)
        said = origins(records)
        under_way = drafts(records, self.request.user)
        for row in records:
            row.matches = found.get(row.pk, [])
            row.because, row.changed_by = said.get(row.crosswalk_id, ("", ""))
            row.draft = under_way.get((row.system, row.realm, row.kind, row.external_id or row.code))

    @cached_property
    def covers(self) -> list[mappings.Cover]:
        """Every system and kind, of the entities looked at."""
        chosen = chosen_entities(self.request)
        held = entities_held(self.request.user, None)
        return mappings.coverage(chosen.ids, everywhere=None in held and not chosen.narrowed)
