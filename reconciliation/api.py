"""The read API, version 1: every source entry and what became of it.

The rule here: a row says everything needed to compare it with the source and the target without a second call, and a page costs
a fixed number of queries. Decimals and dates are strings; an amount stands beside its currency.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from django.db.models import OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from portal.api import Endpoint
from portal.filters import ExpenseFilter, LedgerEntryFilter, TimeEntryFilter
from portal.models import Expense, LedgerEntry, LedgerState, ReadBack, TimeEntry
from portal.models.documents import OURS
from reconciliation.filters import CaseFilter, ChangeSetFilter, HoldFilter, ResultFilter
from reconciliation.models import ChangeLine, ChangeSet, ExceptionCase, Hold, ReconciliationResult
from reconciliation.validation import owing


class OpenHoldRow(serializers.Serializer[Any]):
    """Why an entry does not go on."""

    rule = serializers.CharField()
    sentence = serializers.CharField()
    case = serializers.IntegerField(source="case_id")
    subject_type = serializers.CharField(source="case__subject_type")
    subject = serializers.CharField(source="case__subject_key")


def _decimal(**options: Any) -> serializers.DecimalField:
    return serializers.DecimalField(max_digits=18, decimal_places=4, allow_null=True, **options)


class LedgerRow(serializers.Serializer[Any]):
    """One ledger entry: what is owed to which target, and how far it has come."""

    id = serializers.IntegerField()
    kind = serializers.CharField()
    connection = serializers.CharField(source="source__code")
    external_id = serializers.CharField(source="document__external_id")
    revision = serializers.CharField()
    version = serializers.IntegerField()
    current_version = serializers.IntegerField(source="document__current_version")
    part = serializers.IntegerField()
    generation = serializers.IntegerField()
    reverses = serializers.IntegerField(source="reverses_id", allow_null=True)
    entity = serializers.CharField(source="entity__code")
    period = serializers.CharField(source="period__code", allow_null=True)
    work_date = serializers.DateField()
    post_on = serializers.DateField()
    project = serializers.CharField(source="project__code", allow_null=True)
    contract = serializers.CharField(source="contract__code", allow_null=True)
    customer = serializers.CharField(source="customer__code", allow_null=True)
    task = serializers.CharField(source="task__code", allow_null=True)
    resource = serializers.CharField(source="resource__code", allow_null=True)
    role = serializers.CharField(source="role__code", allow_null=True)
    hours = serializers.DecimalField(max_digits=9, decimal_places=4, allow_null=True)
    rate = _decimal()
    rate_version = serializers.CharField()
    amount = _decimal()
    currency = serializers.CharField()
    is_billable = serializers.BooleanField()
    is_cost_only = serializers.BooleanField()
    tags = serializers.ListField(child=serializers.CharField())
    state = serializers.CharField(source="state_row__state")
    waits_on = serializers.CharField(source="state_row__waits_on")
    target = serializers.CharField(source="target__code")
    idempotency_key = serializers.UUIDField()
    receipt = serializers.CharField(source="receipt__number", allow_null=True)
    proved_at = serializers.DateTimeField(source="state_row__proved_at", allow_null=True)
    read_back = serializers.SerializerMethodField()
    holds = serializers.SerializerMethodField()

    @extend_schema_field({"type": "string", "enum": ["equal", "different", "absent", "none"]})
    def get_read_back(self, row: dict[str, Any]) -> str:
        """Whether the target was last seen to hold what was sent: equal, different, not at all; none when never read back."""
        if row["last_read_back"] is False and not row["last_found"]:
            return "absent"
        return {True: "equal", False: "different", None: "none"}[row["last_read_back"]]

    @extend_schema_field(OpenHoldRow(many=True))
    def get_holds(self, row: dict[str, Any]) -> list[dict[str, Any]]:
        """The open holds of the entry."""
        return [dict(OpenHoldRow(hold).data) for hold in self.context.get("holds", {}).get(row["id"], ())]


def _columns(serializer: type[serializers.Serializer[Any]], *more: str) -> list[str]:
    """The columns that a row serializer reads."""
    fields = serializer().fields
    computed = serializers.SerializerMethodField
    return [*(field.source or name for name, field in fields.items() if not isinstance(field, computed)), *more]


class LedgerEntries(Endpoint):
    """Entries of hours and expenses, with their holds, receipt and read-back."""

    rows = LedgerEntry.objects
    filterset_class = LedgerEntryFilter
    serializer_class = LedgerRow

    def get_queryset(self) -> QuerySet[Any]:
        """Rows as columns, with the source's revision of the version and the last read-back."""
        version = {"document": OuterRef("document"), "version": OuterRef("version")}
        revision = Coalesce(
            Subquery(TimeEntry.objects.filter(**version).values("revision")[:1]),
            Subquery(Expense.objects.filter(**version).values("revision")[:1]),
        )
        last = ReadBack.objects.filter(entry=OuterRef("pk")).order_by("-id")
        rows = super().get_queryset().exclude(kind__in=OURS)
        rows = rows.annotate(
            revision=revision,
            last_read_back=Subquery(last.values("is_equal")[:1]),
            last_found=Subquery(last.values("found")[:1]),
        )
        columns: QuerySet[Any] = rows.values(*_columns(LedgerRow, "last_read_back", "last_found"))
        return columns

    def get_serializer(self, *args: Any, **options: Any) -> serializers.BaseSerializer[Any]:
        """The page's rows with their open holds, found in one query."""
        if args:
            rows = args[0] if options.get("many") else [args[0]]
            options["context"] = {**self.get_serializer_context(), "holds": self.open_holds(row["id"] for row in rows)}
        return super().get_serializer(*args, **options)

    def open_holds(self, entry_ids: Iterable[int]) -> dict[int, list[dict[str, Any]]]:
        """What stops some entries, as far as the caller may see the causes."""
        found: dict[int, list[dict[str, Any]]] = defaultdict(list)
        seen = Hold.objects.visible_to(self.request.user)
        holds = seen.filter(entry__in=list(entry_ids), closed_at=None).order_by("id")
        for hold in holds.values("entry_id", "rule", "sentence", "case_id", "case__subject_type", "case__subject_key"):
            found[hold["entry_id"]].append(dict(hold))
        return found


class StandingRow(serializers.Serializer[Any]):
    """What became of a document on the ledger."""

    entry = serializers.IntegerField(source="entry_id")
    version = serializers.IntegerField(source="entry__version")
    state = serializers.CharField()
    target = serializers.CharField(source="target__code")
    receipt = serializers.CharField(source="receipt_number")
    hours = serializers.DecimalField(source="entry__hours", max_digits=9, decimal_places=4, allow_null=True)
    amount = _decimal(source="entry__amount")
    currency = serializers.CharField(source="entry__currency")
    reverses = serializers.IntegerField(source="entry__reverses_id", allow_null=True)


class NotOwedRow(serializers.Serializer[Any]):
    """Why nothing is owed for a version."""

    code = serializers.ChoiceField(choices=owing.CODES)
    sentence = serializers.CharField()


class DocumentRow(serializers.Serializer[Any]):
    """One version of one document, in the source's words."""

    id = serializers.IntegerField()
    connection = serializers.CharField(source="document__connection__code")
    entity = serializers.CharField(source="document__entity__code")
    external_id = serializers.CharField(source="document__external_id")
    revision = serializers.CharField()
    version = serializers.IntegerField()
    current_version = serializers.IntegerField(source="document__current_version")
    status = serializers.CharField()
    work_date = serializers.DateField()
    zone = serializers.CharField()
    resource_key = serializers.CharField()
    resource_code = serializers.CharField()
    project_key = serializers.CharField()
    project_code = serializers.CharField()
    task_key = serializers.CharField()
    task_code = serializers.CharField()
    is_billable = serializers.BooleanField()
    currency = serializers.CharField()
    approved_at = serializers.DateTimeField(allow_null=True)
    author = serializers.CharField(source="author__username", allow_null=True)
    reason = serializers.CharField()
    not_owed = serializers.SerializerMethodField()
    ledger = serializers.SerializerMethodField()

    @extend_schema_field(NotOwedRow(allow_null=True))
    def get_not_owed(self, row: dict[str, Any]) -> dict[str, Any] | None:
        """Why nothing is owed for this version; null where its ledger entries say how it stands."""
        reason: dict[str, Any] | None = self.context.get("not_owed", {}).get(row["id"])
        return reason

    @extend_schema_field(StandingRow(many=True))
    def get_ledger(self, row: dict[str, Any]) -> list[dict[str, Any]]:
        """The ledger entries of the document, of all its versions."""
        return [dict(StandingRow(entry).data) for entry in self.context.get("ledger", {}).get(row["document_id"], ())]


class TimeEntryRow(DocumentRow):
    """One version of a time entry."""

    hours = serializers.DecimalField(max_digits=9, decimal_places=4)
    rate = _decimal()


class ExpenseRow(DocumentRow):
    """One version of an expense."""

    amount = _decimal()
    category = serializers.CharField()
    tax_code = serializers.CharField()
    tax_amount = _decimal()
    receipt_reference = serializers.CharField()


class Documents(Endpoint):
    """Document versions with what became of them."""

    def get_queryset(self) -> QuerySet[Any]:
        """Rows as columns."""
        serializer: Any = self.serializer_class
        return super().get_queryset().values(*_columns(serializer, "document_id", *_ASKED))

    def get_serializer(self, *args: Any, **options: Any) -> serializers.BaseSerializer[Any]:
        """The page's rows with their ledger entries, found in one query."""
        if args:
            rows = args[0] if options.get("many") else [args[0]]
            ledger = _standing({row["document_id"] for row in rows})
            reasons = owing.why_not([_asked(row, ledger.get(row["document_id"], ())) for row in rows])
            options["context"] = {
                **self.get_serializer_context(),
                "ledger": ledger,
                "not_owed": {row["id"]: owing.row_of(why) for row, why in zip(rows, reasons, strict=True)},
            }
        return super().get_serializer(*args, **options)


_ASKED = (
    "document__connection_id", "document__connection__name", "document__connection__cut_over_on", "document__entity_id",
    "document__kind",
)  # fmt: skip


def _asked(row: dict[str, Any], ledger: Iterable[dict[str, Any]]) -> owing.Asked:
    """A row as the question why nothing is owed for it."""
    return owing.Asked(
        document_id=row["document_id"],
        source_id=row["document__connection_id"],
        source=row["document__connection__name"],
        cut_over_on=row["document__connection__cut_over_on"],
        entity_id=row["document__entity_id"],
        kind=row["document__kind"],
        version=row["version"],
        current_version=row["document__current_version"],
        status=row["status"],
        work_date=row["work_date"],
        ledger=[(entry["entry_id"], entry["state"]) for entry in ledger if entry["entry__reverses_id"] is None],
    )


def _standing(document_ids: set[int]) -> dict[int, list[dict[str, Any]]]:
    found: dict[int, list[dict[str, Any]]] = defaultdict(list)
    states = LedgerState.objects.filter(entry__document__in=document_ids).order_by("entry_id")
    columns = _columns(StandingRow, "entry__document_id")
    for state in states.values(*columns):
        found[state["entry__document_id"]].append(state)
    return found


class TimeEntries(Documents):
    """Time entries."""

    rows = TimeEntry.objects
    filterset_class = TimeEntryFilter
    serializer_class = TimeEntryRow


class Expenses(Documents):
    """Expenses."""

    rows = Expense.objects
    filterset_class = ExpenseFilter
    serializer_class = ExpenseRow


class MoneyRow(serializers.Serializer[Any]):
    """What a case holds in one currency."""

    currency = serializers.CharField()
    holds = serializers.IntegerField()
    amount = _decimal()


class CaseRow(serializers.ModelSerializer[ExceptionCase]):
    """One cause."""

    entity = serializers.CharField(source="entity.code")
    connection = serializers.CharField(source="connection.code", default=None)
    owner = serializers.CharField(source="owner.username", default=None)
    money = MoneyRow(source="totals", many=True)

    class Meta:
        model = ExceptionCase
        fields = [
            "id", "rule", "entity", "connection", "subject_type", "subject_key", "sentence", "state", "regressions",
            "opened_at", "seen_at", "closed_at", "owner", "open_holds", "open_hours", "open_people", "oldest_work_date", "money",
        ]  # fmt: skip
        read_only_fields = fields


class Cases(Endpoint):
    """Exception cases: the causes that hold entries."""

    rows = ExceptionCase.objects.select_related("entity", "connection", "owner").prefetch_related("totals")
    filterset_class = CaseFilter
    serializer_class = CaseRow


class HoldRow(serializers.ModelSerializer[Hold]):
    """One entry stopped by one rule."""

    entity = serializers.CharField(source="case.entity.code")
    subject_type = serializers.CharField(source="case.subject_type")
    subject = serializers.CharField(source="case.subject_key")
    closed_by = serializers.CharField(source="closed_by.username", default=None)

    class Meta:
        model = Hold
        fields = [
            "id", "entry", "case", "rule", "entity", "subject_type", "subject", "sentence", "opened_at", "closed_at", "outcome",
            "closed_by", "reason",
        ]  # fmt: skip
        read_only_fields = fields


class Holds(Endpoint):
    """Holds, open and closed."""

    rows = Hold.objects.select_related("case__entity", "closed_by")
    filterset_class = HoldFilter
    serializer_class = HoldRow


class ChangeLineRow(serializers.ModelSerializer[ChangeLine]):
    """One record that a change set makes, changes, ends or removes."""

    class Meta:
        model = ChangeLine
        fields = ["position", "model", "key", "action", "record", "before", "after", "made"]
        read_only_fields = fields


class ChangeSetRow(serializers.ModelSerializer[ChangeSet]):
    """One change of master data: what, why, from when, what its dry-run found, who decided, and what came of it."""

    entities = serializers.SlugRelatedField("code", many=True, read_only=True)  # type: ignore[var-annotated]
    created_by = serializers.CharField(source="created_by.username")
    decided_by = serializers.CharField(source="decided_by.username", default=None)
    reviewed_by = serializers.CharField(source="reviewed_by.username", default=None)
    lines = ChangeLineRow(many=True)

    class Meta:
        model = ChangeSet
        fields = [
            "id", "title", "reason", "state", "is_emergency", "effective_on", "entities", "is_shared", "created_by", "created_at",
            "submitted_at", "content_hash", "preview", "previewed_at", "decided_by", "decided_at", "comment", "applied_at",
            "finished_at", "result", "total", "done", "reviewed_by", "reviewed_at", "rolls_back", "lines",
        ]  # fmt: skip
        read_only_fields = fields


class ChangeSets(Endpoint):
    """Change sets, with their lines."""

    rows = ChangeSet.objects.select_related("created_by", "decided_by", "reviewed_by").prefetch_related(
        "lines", "entities"
    )
    filterset_class = ChangeSetFilter
    serializer_class = ChangeSetRow


class ResultRow(serializers.Serializer[Any]):
    """What one reconciliation found for one document, entry or statement line."""

    id = serializers.IntegerField()
    run = serializers.IntegerField(source="run_id")
    entity = serializers.CharField(source="run__entity__code")
    period = serializers.CharField(source="run__period__code")
    leg = serializers.CharField()
    outcome = serializers.CharField()
    connection = serializers.CharField(source="document__connection__code", allow_null=True)
    external_id = serializers.CharField(source="document__external_id", allow_null=True)
    entry = serializers.IntegerField(source="entry_id", allow_null=True)
    bill = serializers.IntegerField(source="bill_id", allow_null=True)
    payment = serializers.IntegerField(source="payment_id", allow_null=True)
    standing = serializers.CharField()
    expected_on = serializers.DateField(allow_null=True)
    ended_run = serializers.IntegerField(source="ended_run_id", allow_null=True)
    receipt = serializers.CharField(source="line__number", allow_null=True)
    hours_left = serializers.DecimalField(max_digits=12, decimal_places=4, allow_null=True)
    hours_right = serializers.DecimalField(max_digits=12, decimal_places=4, allow_null=True)
    amount_left = _decimal()
    amount_right = _decimal()
    currency = serializers.CharField()
    reason = serializers.CharField()


class Results(Endpoint):
    """Reconciliation results."""

    rows = ReconciliationResult.objects
    filterset_class = ResultFilter
    serializer_class = ResultRow

    def get_queryset(self) -> QuerySet[Any]:
        """Rows as columns."""
        return super().get_queryset().values(*_columns(ResultRow))
