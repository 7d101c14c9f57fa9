"""The filters of cases, holds and reconciliation results: the same for the screens, the exports and the API."""

from __future__ import annotations

from typing import Any, cast

import django_filters as filters
from django.db.models import Q, QuerySet

from portal.models import Crosswalk, LegalEntity, RejectedValue
from portal.records import MasterKind
from portal.screens.facets import AnyOf
from reconciliation.models import (
    Approval,
    ChangeLine,
    ChangeSet,
    ExceptionCase,
    Hold,
    Mapping,
    MasterImport,
    Onboarding,
    Operation,
    OwnershipRule,
    Proposal,
    ReconciliationResult,
    ReconciliationRun,
    RehearsedLine,
    Team,
)
from reconciliation.models.comparison import ResultQuerySet
from reconciliation.rules import EVERY


class CaseFilter(filters.FilterSet):
    """What causes are found by."""

    state = filters.ChoiceFilter(choices=ExceptionCase.State.choices, label="State")
    rule = filters.MultipleChoiceFilter(choices=[(rule.code, rule.title) for rule in EVERY], label="Rule")
    entity = filters.CharFilter("entity__code", label="Entity")
    connection = filters.CharFilter("connection__code", label="Source")
    owner = filters.CharFilter("owner__username", label="Owner")
    opened_since = filters.DateFilter("opened_at", lookup_expr="date__gte", label="Since")
    regressed = filters.BooleanFilter(method="by_regressed", label="Regressed")
    text = filters.CharFilter(method="by_text", label="Text")

    def by_regressed(self, rows: QuerySet[Any], name: str, value: bool) -> QuerySet[Any]:
        """Causes that came back."""
        return rows.filter(regressions__gt=0) if value else rows.filter(regressions=0)

    def by_text(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """In the sentence or the subject."""
        return rows.filter(Q(sentence__icontains=value) | Q(subject_key__icontains=value))

    class Meta:
        model = ExceptionCase
        fields: list[str] = []


class HoldFilter(filters.FilterSet):
    """What holds are found by."""

    open = filters.BooleanFilter("closed_at", lookup_expr="isnull", label="Open")
    rule = filters.CharFilter("rule", label="Rule")
    case = filters.NumberFilter("case_id", label="Case")
    entry = filters.NumberFilter("entry_id", label="Entry")
    entity = filters.CharFilter("case__entity__code", label="Entity")
    outcome = filters.ChoiceFilter(choices=Hold.Outcome.choices, label="Outcome")

    class Meta:
        model = Hold
        fields: list[str] = []


class ResultFilter(filters.FilterSet):
    """What reconciliation results are found by."""

    run = filters.NumberFilter(method="by_run", label="As this run left it")
    standing = filters.MultipleChoiceFilter(choices=ReconciliationResult.Standing.choices, label="Standing")
    entity = filters.CharFilter("run__entity__code", label="Entity")
    period = filters.CharFilter("run__period__code", label="Period")
    leg = filters.ChoiceFilter(choices=ReconciliationResult.Leg.choices, label="Leg")
    outcome = filters.MultipleChoiceFilter(choices=ReconciliationResult.Outcome.choices, label="Outcome")

    def by_run(self, rows: QuerySet[Any], name: str, value: int) -> QuerySet[Any]:
        """What stood of its period when a run had ended."""
        run = ReconciliationRun.objects.filter(pk=value).first()
        return rows.none() if run is None else cast("ResultQuerySet", rows).as_of(run)

    class Meta:
        model = ReconciliationResult
        fields: list[str] = []


class RunFilter(filters.FilterSet):
    """What reconciliation runs are found by."""

    entity = filters.CharFilter("entity__code", label="Entity")
    period = filters.CharFilter("period__code", label="Period")
    state = filters.ChoiceFilter(choices=ReconciliationRun.State.choices, label="State")

    class Meta:
        model = ReconciliationRun
        fields: list[str] = []


class OperationFilter(filters.FilterSet):
    """What bulk operations are found by."""

    entity = filters.CharFilter("entity__code", label="Entity")
    state = filters.ChoiceFilter(choices=Operation.State.choices, label="State")
    by = filters.CharFilter("created_by__username", label="By")
    since = filters.DateFilter("created_at", lookup_expr="date__gte", label="From")
    text = filters.CharFilter(method="by_text", label="Text")

    def by_text(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """In the title or the reason."""
        return rows.filter(Q(title__icontains=value) | Q(reason__icontains=value))

    class Meta:
        model = Operation
        fields: list[str] = []


class ApprovalFilter(filters.FilterSet):
    """What decisions are found by."""

    kind = AnyOf(label="Kind", words=dict(Approval.Kind.choices))
    entity = AnyOf(method="by_entity", label="Entity")
    by = AnyOf("asked_by__username", label="Asked by")
    decided_by = filters.CharFilter("decided_by__username", label="Decided by")
    since = filters.DateFilter("asked_at", lookup_expr="date__gte", label="Asked since")
    text = filters.CharFilter(method="by_text", label="Text")

    def by_entity(self, rows: QuerySet[Any], name: str, value: list[str]) -> QuerySet[Any]:
        """That reach one of some entities."""
        ids = list(LegalEntity.objects.filter(code__in=value).values_list("pk", flat=True))
        return rows.filter(entities__overlap=ids) if value else rows

    def by_text(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """In what it is called, or in its reason."""
        return rows.filter(Q(title__icontains=value) | Q(reason__icontains=value))

    class Meta:
        model = Approval
        fields: list[str] = []


class TeamFilter(filters.FilterSet):
    """What teams are found by."""

    active = filters.BooleanFilter("is_active", label="Active")

    class Meta:
        model = Team
        fields: list[str] = []


class OwnershipFilter(filters.FilterSet):
    """What ownership rules are found by."""

    entity = filters.CharFilter("entity__code", label="Entity")
    team = filters.CharFilter("team__code", label="Team")

    class Meta:
        model = OwnershipRule
        fields: list[str] = []


class ProposalFilter(filters.FilterSet):
    """What proposals are found by."""

    entity = filters.CharFilter("entity__code", label="Entity")
    code = filters.CharFilter("code", lookup_expr="icontains", label="Code")
    by = filters.CharFilter("proposed_by__username", label="By")

    class Meta:
        model = Proposal
        fields: list[str] = []


class RejectedValueFilter(filters.FilterSet):
    """What rejected values are found by."""

    entity = filters.CharFilter("entity__code", label="Entity")
    system = filters.CharFilter("connection__code", label="System")
    kind = filters.ChoiceFilter(
        choices=[(str(one), one.replace("_", " ").capitalize()) for one in MasterKind], label="Kind"
    )
    field = filters.CharFilter("field", label="Field")
    text = filters.CharFilter(method="by_text", label="Text")

    def by_text(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """In the record, in what was said or in what stands."""
        return rows.filter(Q(record__icontains=value) | Q(said__icontains=value) | Q(stands__icontains=value))

    class Meta:
        model = RejectedValue
        fields: list[str] = []


class ChangeSetFilter(filters.FilterSet):
    """What change sets are found by."""

    state = filters.MultipleChoiceFilter(choices=ChangeSet.State.choices, label="State")
    entity = filters.CharFilter(method="by_entity", label="Entity")
    model = filters.CharFilter(method="by_model", label="Kind of record")
    by = filters.CharFilter("created_by__username", label="By")
    emergency = filters.BooleanFilter("is_emergency", label="Emergency")
    since = filters.DateFilter("created_at", lookup_expr="date__gte", label="From")
    text = filters.CharFilter(method="by_text", label="Text")

    def by_entity(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """That touch an entity."""
        return rows.filter(pk__in=ChangeSet.objects.filter(entities__code=value).values("pk"))

    def by_model(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """With a line of a kind."""
        return rows.filter(pk__in=ChangeLine.objects.filter(model=value).values("change_set"))

    def by_text(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """In the title, the reason, or what a line's record is called."""
        lines = ChangeLine.objects.filter(record__icontains=value).values("change_set")
        return rows.filter(Q(title__icontains=value) | Q(reason__icontains=value) | Q(pk__in=lines))

    class Meta:
        model = ChangeSet
        fields: list[str] = []


class MappingFilter(filters.FilterSet):
    """What mappings are found by."""

    system = filters.CharFilter("connection__code", label="System")
    kind = filters.ChoiceFilter(choices=Crosswalk.Kind.choices, label="Kind")
    entity = filters.CharFilter("entity__code", label="Entity")
    state = filters.MultipleChoiceFilter(choices=Mapping.State.choices, label="State")
    ambiguous = filters.BooleanFilter("is_ambiguous", label="Ambiguous")
    expiring = filters.BooleanFilter("is_expiring", label="Expiring in 30 days")
    conflicting = filters.BooleanFilter("is_conflicting", label="Conflicting")
    inactive = filters.BooleanFilter("is_inactive", label="Inactive target")
    used = filters.BooleanFilter(method="by_use", label="With open entries")
    on = filters.DateFilter(method="by_day", label="Holds on")
    text = filters.CharFilter(method="by_text", label="Code, name or key")

    def by_use(self, rows: QuerySet[Any], name: str, value: bool) -> QuerySet[Any]:
        """Those on which something open hangs, or those on which nothing does."""
        return rows.filter(entries__gt=0) if value else rows.filter(entries=0)

    def by_day(self, rows: QuerySet[Any], name: str, value: Any) -> QuerySet[Any]:
        """Keys that hold on a day."""
        return rows.filter(Q(valid_to=None) | Q(valid_to__gte=value), valid_from__lte=value)

    def by_text(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """In what either side calls it."""
        ours = Q(code__icontains=value) | Q(name__icontains=value)
        return rows.filter(
            ours | Q(external_id__icontains=value) | Q(their_code__icontains=value) | Q(their_name__icontains=value)
        )

    class Meta:
        model = Mapping
        fields: list[str] = []


class ImportFilter(filters.FilterSet):
    """What files of master data are found by."""

    kind = filters.CharFilter("kind", label="Kind")
    by = filters.CharFilter("uploaded_by__username", label="By")
    name = filters.CharFilter("name", lookup_expr="icontains", label="Name")
    since = filters.DateFilter("uploaded_at", lookup_expr="date__gte", label="From")

    class Meta:
        model = MasterImport
        fields: list[str] = []


class OnboardingFilter(filters.FilterSet):
    """What is brought in is found by its entity, source and state."""

    entity = filters.CharFilter("entity__code", lookup_expr="iexact", label="Entity")
    source = filters.CharFilter("source__code", lookup_expr="iexact", label="Source")

    class Meta:
        model = Onboarding
        fields: list[str] = []


class RehearsedFilter(filters.FilterSet):
    """What lines of a rehearsal are found by."""

    outcome = filters.MultipleChoiceFilter(choices=RehearsedLine.Outcome.choices, label="Outcome")
    person = filters.CharFilter("person", lookup_expr="icontains", label="Person")
    project = filters.CharFilter("project", lookup_expr="icontains", label="Project")
    day = filters.DateFilter("work_date", label="Work date")
    rule = filters.CharFilter("rule", label="Rule")
    decision = filters.ChoiceFilter(choices=RehearsedLine.Decision.choices[1:], label="Decided")

    class Meta:
        model = RehearsedLine
        fields: list[str] = []
