"""The list of bulk fixes: whose they are, how far each has come, and what was not done."""

from __future__ import annotations

import django_filters as filters
from django.db.models import F, Q

from portal.screens import Empty, ListScreen, Tab
from reconciliation.filters import OperationFilter
from reconciliation.fixes import FIXES
from reconciliation.models import Operation
from reconciliation.operations.following import FOLLOWED
from reconciliation.views.operation_tables import OperationTable


class DeskFilter(OperationFilter):
    """What operations are found by at the desk: the fix by its name."""

    fix = filters.ChoiceFilter("fix", choices=[(code, fix.label) for code, fix in FIXES.items()], label="Fix")


class OperationList(ListScreen):
    """Every bulk fix that was confirmed, the latest first."""

    title = "Operations"
    caption = "Bulk fixes, the latest first"
    queryset = (
        Operation.objects.exclude(state__in=[Operation.State.PLANNING, Operation.State.PLANNED], confirmed_at=None)
        .select_related("entity", "created_by")
        .annotate(missed=F("failed") + F("refused"))
    )
    filterset = DeskFilter
    fresh = "confirmed_at"
    table = OperationTable
    tabs = (
        Tab("all", "All"),
        Tab("running", "Running", lambda _user: Q(state__in=FOLLOWED, settled_at=None)),
        Tab("awaiting", "Wait for approval", lambda _user: Q(state=Operation.State.AWAITING)),
        Tab("mine", "Mine", lambda user: Q(created_by=user)),
        Tab("failed", "With failures", lambda _user: Q(failed__gt=0) | Q(refused__gt=0)),
    )
    empty = Empty(
        "No operation yet",
        "A fix of a cause becomes an operation: it keeps what was done to which entry, by whom and why.",
    )
