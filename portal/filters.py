"""The filters of documents, ledger and audit: the same for the screens, the exports and the API."""

from __future__ import annotations

from typing import Any

import django_filters as filters
from django.db.models import F, Q, QuerySet, TextField
from django.db.models.functions import Cast

from portal.models import AuditEvent, Expense, LedgerEntry, LegalEntity, State, TimeEntry
from portal.models.documents import KIND_CHOICES, STATUS_CHOICES


class DocumentFilter(filters.FilterSet):
    """What time entries and expenses are found by."""

    entity = filters.CharFilter("document__entity__code", label="Entity")
    connection = filters.CharFilter("document__connection__code", label="Source")
    external_id = filters.CharFilter("document__external_id", label="Source id")
    status = filters.ChoiceFilter(choices=STATUS_CHOICES, label="Status at source")
    project = filters.CharFilter("project_code", lookup_expr="iexact", label="Project code")
    resource = filters.CharFilter(method="by_resource", label="Person")
    work_date_from = filters.DateFilter("work_date", lookup_expr="gte", label="Work date from")
    work_date_to = filters.DateFilter("work_date", lookup_expr="lte", label="Work date to")
    current = filters.BooleanFilter(method="by_current", label="Current version only")

    def by_resource(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """By the source's key, code or name of the person."""
        return rows.filter(Q(resource_key=value) | Q(resource_code__iexact=value) | Q(resource_name__icontains=value))

    def by_current(self, rows: QuerySet[Any], name: str, value: bool) -> QuerySet[Any]:
        """The latest version of each document, or the earlier ones."""
        latest = Q(version=F("document__current_version"))
        return rows.filter(latest if value else ~latest)


class TimeEntryFilter(DocumentFilter):
    """Time entries."""

    class Meta:
        model = TimeEntry
        fields: list[str] = []


class ExpenseFilter(DocumentFilter):
    """Expenses."""

    class Meta:
        model = Expense
        fields: list[str] = []


class LedgerEntryFilter(filters.FilterSet):
    """What ledger entries are found by."""

    state = filters.MultipleChoiceFilter(field_name="state_row__state", choices=State.choices, label="State")
    kind = filters.ChoiceFilter(choices=KIND_CHOICES, label="Kind")
    entity = filters.CharFilter("entity__code", label="Entity")
    period = filters.CharFilter("period__code", label="Period")
    source = filters.CharFilter("source__code", label="Source")
    target = filters.CharFilter("target__code", label="Target")
    project = filters.CharFilter("project__code", lookup_expr="iexact", label="Project")
    contract = filters.CharFilter("contract__code", lookup_expr="iexact", label="Contract")
    customer = filters.CharFilter("customer__code", lookup_expr="iexact", label="Customer")
    resource = filters.CharFilter(method="by_resource", label="Person")
    work_date_from = filters.DateFilter("work_date", lookup_expr="gte", label="Work date from")
    work_date_to = filters.DateFilter("work_date", lookup_expr="lte", label="Work date to")
    external_id = filters.CharFilter("document__external_id", label="Source id")
    receipt = filters.CharFilter("receipt__number", label="Receipt number")
    is_billable = filters.BooleanFilter("is_billable", label="Billable")
    is_reversal = filters.BooleanFilter(field_name="reverses", lookup_expr="isnull", exclude=True, label="Reversal")

    def by_resource(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """By the person's code or name."""
        return rows.filter(Q(resource__code__iexact=value) | Q(resource__name__icontains=value))

    class Meta:
        model = LedgerEntry
        fields: list[str] = []


_GOVERNED = r"^(change|master|proposal|rate|alias|crosswalk|project|period|customer|contract|merge)"
ACTION_CLASSES = {  # what kind of decision an action is, by the words it is made of
    "access": ("People, roles and tokens", r"^(user|token|grant|settings|session)"),
    "systems": ("Connections and routes", r"^(connection|breaker|stream|sync|target|route|window|onboarding|rehearsal)"),
    "governed": ("Master data and rules", _GOVERNED),
    "entries": ("Entries and money", r"^(operation|entry|doubt|put-back|reversal|invoice|credit|payment|settlement)"),
    "causes": ("Causes and teams", r"^(triage|case|team|ownership)"),
    "evidence": ("Files, payloads and proof", r"^(export|payload|upload|messages|audit|person)"),
}  # fmt: skip
PRIVILEGED = (
    r"^(user|token|grant|connection|breaker|stream|route|team|ownership|change|onboarding|messages|person)"
    r"|emergency|by-one"
)
MAKER_CHECKER = (
    r"(^|[-.])(approved|refused|rejected|sent-back|submitted|applied|by-two|live|certified)$|^(proposal|change)[-.]"
)


class AuditFilter(filters.FilterSet):
    """What decisions are found by."""

    actor = filters.CharFilter("actor_name", lookup_expr="iexact", label="Who")
    kind = filters.ChoiceFilter(
        method="by_kind",
        choices=[(name, words) for name, (words, _) in ACTION_CLASSES.items()],
        label="Kind of decision",
    )
    action = filters.CharFilter("action", lookup_expr="istartswith", label="Action")
    entity = filters.CharFilter(method="by_entity", label="Entity")
    object_type = filters.CharFilter("object_type", lookup_expr="iexact", label="Object type")
    object_id = filters.CharFilter("object_id", label="Object id")
    operation = filters.NumberFilter(method="by_operation", label="Operation")
    since = filters.DateFilter("at", lookup_expr="date__gte", label="From")
    until = filters.DateFilter("at", lookup_expr="date__lte", label="To")
    privileged = filters.BooleanFilter(method="by_privilege", label="Privileged")
    maker_checker = filters.BooleanFilter(method="by_second_person", label="Maker and checker")
    text = filters.CharFilter(method="by_text", label="Text")
    changed = filters.CharFilter(method="by_change", label="Text in before or after")

    def by_entity(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """Decisions of an entity, alone or with others."""
        asked = LegalEntity.objects.filter(code=value).values_list("pk", flat=True)
        return rows.filter(Q(entity__code=value) | Q(entities__overlap=list(asked)))

    def by_kind(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """By what kind of decision it is."""
        return rows.filter(action__regex=ACTION_CLASSES[value][1])

    def by_operation(self, rows: QuerySet[Any], name: str, value: Any) -> QuerySet[Any]:
        """What was decided about one operation, and what was decided by it."""
        number = int(value)
        return rows.filter(Q(object_type="operation", object_id=str(number)) | Q(after__operation=number))

    def by_privilege(self, rows: QuerySet[Any], name: str, value: bool) -> QuerySet[Any]:
        """Decisions that change what others may do or what the machinery does, and the others."""
        return _that(rows, PRIVILEGED, value)

    def by_second_person(self, rows: QuerySet[Any], name: str, value: bool) -> QuerySet[Any]:
        """Steps of what takes two people, and everything else."""
        return _that(rows, MAKER_CHECKER, value)

    def by_text(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """In the object's name or the reason."""
        return rows.filter(Q(object_name__icontains=value) | Q(reason__icontains=value))

    def by_change(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """In what stood before or stands after."""
        told = rows.annotate(was=Cast("before", TextField()), became=Cast("after", TextField()))
        found: QuerySet[Any] = told.filter(Q(was__icontains=value) | Q(became__icontains=value))
        return found

    class Meta:
        model = AuditEvent
        fields: list[str] = []


def _that(rows: QuerySet[Any], pattern: str, wanted: bool) -> QuerySet[Any]:
    matching = Q(action__regex=pattern)
    found: QuerySet[Any] = rows.filter(matching if wanted else ~matching)
    return found
