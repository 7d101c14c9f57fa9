"""What files of the desk hold beyond the screen's own tables: the entries under the causes of a filter.

The rule here: a row is one hold. An entry that two rules stop stands under both of its causes, once each, as on the screen.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.db.models import Count, Q, QuerySet, Sum

from portal.screens import CurrencyColumn, DayColumn, HoursColumn, MoneyColumn, Table, TextColumn
from portal.screens.paging import Summary
from reconciliation.models import Hold
from reconciliation.rules import BY_CODE


class HeldSheet(Table):
    """One held entry a row, with the cause that holds it."""

    cause = TextColumn(accessor="case_id", verbose_name="Cause")
    rule = TextColumn(verbose_name="Rule")
    sentence = TextColumn(verbose_name="What is wrong")
    entity = TextColumn(accessor="entry__entity__code", verbose_name="Entity")
    entry = TextColumn(accessor="entry_id", verbose_name="Entry")
    source = TextColumn(accessor="entry__source__name", verbose_name="Source")
    external_id = TextColumn(accessor="entry__document__external_id", verbose_name="Id at source")
    work_date = DayColumn(accessor="entry__work_date", verbose_name="Work date")
    person = TextColumn(accessor="pk", verbose_name="Person")
    said = TextColumn(accessor="pk", verbose_name="Project at source")
    project = TextColumn(accessor="entry__project__code", verbose_name="Project")
    task = TextColumn(accessor="entry__task__code", verbose_name="Task")
    hours = HoursColumn(accessor="entry__hours", verbose_name="Hours")
    rate = MoneyColumn(accessor="entry__rate", currency="entry__currency", verbose_name="Rate", exact=True)
    amount = MoneyColumn(accessor="entry__amount", currency="entry__currency", verbose_name="Amount")
    currency = CurrencyColumn(accessor="entry__currency")
    state = TextColumn(accessor="entry__state_row__get_state_display", verbose_name="State")

    def value_cause(self, value: int) -> str:
        """The number as it is spoken."""
        return f"EX-{value}"

    def value_rule(self, value: str) -> str:
        """The rule's title."""
        rule = BY_CODE.get(value)
        return rule.title if rule else value

    def value_person(self, record: Any) -> str:
        """The person as known here, else in the source's words."""
        return str(record.entry.resource.name if record.entry.resource else record.said_person)

    def value_said(self, record: Any) -> str:
        """The source's own word for the project."""
        return str(record.said_project)


def held_under(causes: QuerySet[Any]) -> tuple[QuerySet[Hold], Summary]:
    """The entries that these causes hold (for a closed one: held), with their count and their totals per currency."""
    standing = Q(closed_at=None) | Q(case__closed_at__isnull=False)
    holds = Hold.objects.filter(standing, case__in=causes.order_by().values("pk"))
    sums = holds.order_by().values("entry__currency").annotate(
        count=Count("pk"), hours=Sum("entry__hours", default=Decimal(0)), amount=Sum("entry__amount", default=Decimal(0))
    )  # fmt: skip
    found = list(sums.order_by("entry__currency"))
    totals = {row["entry__currency"] or "": {"hours": row["hours"], "amount": row["amount"]} for row in found}
    rows = holds.select_related(
        "entry__entity", "entry__source", "entry__document", "entry__resource", "entry__project", "entry__task",
        "entry__state_row",
    ).order_by("case_id", "entry__work_date", "entry_id")  # fmt: skip
    return rows, Summary(sum(row["count"] for row in found), totals=totals)
