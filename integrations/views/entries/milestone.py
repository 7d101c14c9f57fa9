"""The page of one milestone's thread: from its signature to the payment."""

from __future__ import annotations

from typing import Any

from integrations import thread
from portal.models import Milestone
from portal.screens import DetailScreen


class MilestonePage(DetailScreen):
    """One milestone on its way: signed, proposed, handed over, invoiced, credited and paid."""

    queryset = Milestone.objects.select_related("project__entity", "project__customer")
    template_name = "ledger/milestone.html"
    object: Milestone

    def heading(self) -> str:
        """Its name and project."""
        return f"{self.object.name}, {self.object.project.name}"

    def context(self, **more: Any) -> dict[str, Any]:
        """Its stations; a fixed number of queries."""
        (told,) = thread.of_milestones([self.object])
        return super().context(**more, milestone=self.object, stations=thread.milestone_lineage(told))
