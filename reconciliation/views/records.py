"""Master data on screen: each kind's list, which exports in the form that is imported, and the page of one record.

The rule here: a record is read here and changed by a change set; who owns which of its fields is said beside each.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any
from urllib.parse import urlencode

from django.db.models import Count, ForeignKey, Model, QuerySet, Sum
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import reverse
from simple_history.utils import get_history_manager_for_model

from portal import access
from portal.export import Heading, Sheet
from portal.field_owners import FIELDS, FieldOwners
from portal.importing.headings import one_word
from portal.master_intake.base import entity_of
from portal.models import Erasure, LedgerEntry, Project, ProjectStatus, RejectedValue, Resource, State
from portal.models.governance import REQUEST_READERS
from portal.records import MasterKind
from portal.screens import Content, Screen, Table, TextColumn
from portal.screens.exporting import ROWS
from portal.views.audit import as_text
from portal.views.governed import Master, governed, kind_of_name, masters, visible
from portal.views.master import MasterScreen
from reconciliation import mappings
from reconciliation.changes import BY_CODE, KINDS, Action, Kind
from reconciliation.changes.words import cells_of
from reconciliation.models import ChangeLine, ChangeSet, ExceptionCase, Mapping, Route

ROUTES = Master(
    model=Route, label="Routes", main="source", second="kind", columns=("entity", "target", "valid_from", "valid_to"),
    search=("source__code", "source__name", "target__code", "target__name", "entity__code"),
    note="Which system an entity's documents of one source are owed to, and which bills them, from day to day.",
)  # fmt: skip
IMPORT = Content("import", "As it is imported")
SHOWN = 20  # related records on the page
_OPEN = (State.HELD, State.READY, State.SENDING, State.ACCEPTED, State.IN_DOUBT, State.REJECTED)
_ON_ENTRIES = {
    "customer": "customer", "contract": "contract", "project": "project", "resource": "resource", "task": "task",
    "role": "role", "costcentre": "cost_centre", "legalentity": "entity", "accountingperiod": "period",
    "purchaseorder": "purchase_order",
}  # fmt: skip
_HANGS: dict[str, tuple[tuple[str, str], ...]] = {
    "customer": (
        ("contract", "customer"),
        ("project", "customer"),
        ("customer", "parent"),
        ("customer", "merged_into"),
    ),
    "contract": (("purchaseorder", "contract"), ("project", "contract"), ("ratecard", "contract")),
    "project": (("projectstatus", "project"), ("task", "project"), ("milestone", "project")),
    "resource": (("engagement", "resource"), ("rate", "resource")),
    "ratecard": (("rate", "card"),),
    "role": (("rate", "role"), ("engagement", "role")),
    "legalentity": (("costcentre", "entity"), ("accountingperiod", "entity")),
}


@cache
def kind_for(name: str) -> Kind | None:
    """How records of a model are changed; None where they are not."""
    model = governed().get(name)
    return next((kind for kind in KINDS if kind.model is model), None)


@cache
def _import_table(code: str) -> type[Table]:
    """A table in the columns of the import."""
    columns = {
        column.name: TextColumn(accessor=f"as_imported__{column.name}", verbose_name=column.name)
        for column in BY_CODE[code].table.of_files.columns
    }
    return type(f"{code.title()}ImportTable", (Table,), columns)


def as_imported(kind: Kind, rows: QuerySet[Any], heading: Heading) -> Sheet:
    """Records of a kind as a file that an import takes unchanged."""
    return Sheet(
        table=_import_table(kind.code),
        queryset=rows,
        heading=heading,
        prepare=lambda records: _tell_cells(kind, records),
    )


class MasterList(MasterScreen):
    """The list of one kind of master data; its second export is a file that an import takes unchanged."""

    @property
    def contents(self) -> Sequence[Content]:  # type: ignore[override]
        """Its rows, and the same as they are imported."""
        return (ROWS, IMPORT) if kind_for(self.kwargs["model"]) else (ROWS,)

    def sheet(self, of: str = "", *, columns: Sequence[str] = ()) -> Sheet:
        """What a file of it holds."""
        kind = kind_for(self.kwargs["model"])
        if of != IMPORT.slug or kind is None:
            return super().sheet(of, columns=columns)
        return as_imported(kind, self.ordered(), self.heading_of(self.title, self.summary))

    def buttons(self) -> list[tuple[str, str]]:
        """Importing and adding, for those who may."""
        kind, roles = kind_for(self.kwargs["model"]), self.request.user.roles()  # type: ignore[union-attr]
        asked = (
            [("To be forgotten", reverse("erasures"))]
            if kind and kind.model is Resource and roles & REQUEST_READERS
            else []
        )
        if kind is None or not roles & kind.proposers:
            return asked
        return [
            *asked,
            ("Import", f"{reverse('import_new')}?kind={kind.code}"),
            (
                "New",
                f"{reverse('change_new')}?model={kind.code}&action=add&title=New%20{kind.label.lower().replace(' ', '%20')}",
            ),
        ]


def _tell_cells(kind: Kind, records: Sequence[Any]) -> None:
    for record, cells in zip(records, cells_of(kind.table.of_files, records), strict=True):
        record.as_imported = {
            name: json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value
            for name, value in cells.items()
        }


@dataclass(frozen=True, slots=True)
class Fact:
    """One field of a record: what it is called, what stands, where that leads, and whose it is."""

    label: str
    value: str
    url: str = ""
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Hanging:
    """Records that hang on this one: the first few, how many there are, and where the rest is."""

    label: str
    rows: Sequence[tuple[str, str, str]]  # (words, small words, address)
    count: int
    url: str


class RecordPage(Screen):
    """One record: its fields with their owners, its keys, what hangs on it, the open money, and what happened."""

    template_name = "reconciliation/record.html"

    def get(self, request: HttpRequest, model: str, pk: int) -> HttpResponseBase:
        """The page."""
        master, kind_of_model = masters().get(model), governed().get(model)
        if master is None or kind_of_model is None:
            raise Http404
        record = get_object_or_404(visible(kind_of_model, request.user), pk=pk)
        kind = kind_for(model)
        entity_id = entity_of(record) if hasattr(record, "scope") or hasattr(record, "entity_id") else None
        context = self.context(
            title=str(record),
            record=record,
            label=one_word(kind_of_model._meta.verbose_name),
            master=master,
            model=model,
            facts=_facts(model, record, entity_id, request.user),
            keys=_keys(model, record, request.user),
            hanging=[_hanging(name, field, record, request.user) for name, field in _HANGS.get(model, ())],
            open_items=_open(model, record, request.user),
            causes=_causes(model, record, request.user),
            rejected=_rejected(model, record, request.user),
            under_way=_under_way(kind, record, request.user),
            versions=_versions(kind_of_model, pk),
            propose=_propose(kind, record, request.user),
            has_no_status=isinstance(record, Project) and not ProjectStatus.objects.filter(project=record).exists(),
            give_status=_give_status(record, request.user),
            ending=_ending(kind),
            forget=_forget(kind, record, request.user),
        )
        return self.page(context)


def _facts(model: str, record: Any, entity_id: int | None, user: Any) -> list[Fact]:
    master_kind = kind_of_name(model)
    owned = FIELDS.get(MasterKind(master_kind), frozenset()) if master_kind in set(MasterKind) else frozenset()
    owners = FieldOwners() if owned else None
    facts = []
    for field in record._meta.concrete_fields:
        if field.primary_key or field.name in ("policy", "calendar"):
            continue
        owner = owners.in_words(master_kind, field.name, entity_id) if owners and field.name in owned else ""
        facts.append(Fact(one_word(field.verbose_name), *_said(record, field, user), owner))
    return facts


def _said(record: Any, field: Any, user: Any) -> tuple[str, str]:
    """The value in words, and the page of the record that it names where the person sees that."""
    value = getattr(record, field.attname)
    if isinstance(field, ForeignKey):
        other = getattr(record, field.name) if value is not None else None
        name = str(field.related_model._meta.model_name)
        if other is None:
            return "", ""
        seen = name in masters() and visible(masters()[name].model, user).filter(pk=value).exists()
        return (
            (str(other), reverse("master_record", args=[name, value]))
            if seen
            else ("of another entity" if name in masters() else str(other), "")
        )
    if field.choices:
        return str(getattr(record, f"get_{field.name}_display")() or ""), ""
    if isinstance(value, Decimal):
        return f"{value.normalize():f}", ""
    return as_text(value if value is None or isinstance(value, bool | int | dict | list) else str(value)), ""


def _keys(model: str, record: Model, user: Any) -> list[Mapping]:
    """How systems know it, and which that should do not."""
    kind = kind_of_name(model)
    if not kind:
        return []
    mappings.bring_up_to_date()
    rows = (
        Mapping.objects.visible_to(user).filter(kind=kind, internal_id=record.pk).select_related("connection", "entity")
    )
    return list(rows.defer("entries", "hours", "money").order_by("connection__name", "valid_from")[:SHOWN])


def _hanging(name: str, field: str, record: Model, user: Any) -> Hanging:
    master = masters()[name]
    rows: QuerySet[Any] = visible(master.model, user).filter(**{field: record.pk})
    count = rows.count()
    ordering = master.model._meta.ordering or ["pk"]
    found = []
    for row in rows.order_by(*ordering)[:SHOWN]:
        dated = getattr(row, "valid_from", None)
        until = getattr(row, "valid_to", None)
        small = f"{dated} to {until or 'no end'}" if dated else ""
        found.append((str(row), small, reverse("master_record", args=[name, row.pk])))
    label = {"merged_into": "Merged into it", "parent": "Below it"}.get(field, master.label)
    code = str(getattr(record, "code", ""))
    return Hanging(label, found, count, f"{reverse('master', args=[name])}?text={code}" if count > SHOWN else "")


def _open(model: str, record: Model, user: Any) -> list[dict[str, Any]]:
    """Open entries by entity, state and currency: a customer of two entities has both in one view."""
    field = _ON_ENTRIES.get(model)
    if not field:
        return []
    entries = LedgerEntry.objects.visible_to(user).filter(
        state_row__state__in=_OPEN, reverses=None, **{field: record.pk}
    )
    found = (
        entries.order_by()
        .values("entity__code", "state_row__state", "currency")
        .annotate(count=Count("pk"), hours=Sum("hours"), amount=Sum("amount"))
    )
    words = dict(State.choices)
    return [
        {**row, "state": words[row["state_row__state"]]}
        for row in sorted(
            found, key=lambda row: (row["entity__code"], _OPEN.index(row["state_row__state"]), row["currency"])
        )
    ]


def _causes(model: str, record: Model, user: Any) -> list[ExceptionCase]:
    """The open causes that hold entries of it."""
    field = _ON_ENTRIES.get(model)
    if not field:
        return []
    held = ExceptionCase.objects.visible_to(user).filter(
        state=ExceptionCase.State.OPEN, holds__closed_at=None, **{f"holds__entry__{field}": record.pk}
    )
    return list(held.distinct().order_by("pk")[:10])


def _rejected(model: str, record: Model, user: Any) -> list[RejectedValue]:
    kind = kind_of_name(model)
    rows = RejectedValue.objects.visible_to(user).filter(
        kind=kind, internal_id=record.pk, state=RejectedValue.State.OPEN
    )
    return list(rows.select_related("connection")[:SHOWN]) if kind else []


def _under_way(kind: Kind | None, record: Model, user: Any) -> list[ChangeSet]:
    """Changes of it that are not over, as far as the person sees them."""
    if kind is None:
        return []
    over = (ChangeSet.State.APPLIED, ChangeSet.State.REJECTED, ChangeSet.State.WITHDRAWN)
    lines = ChangeLine.objects.filter(model=kind.code, key=record.pk).values("change_set")
    return list(ChangeSet.objects.visible_to(user).filter(pk__in=lines).exclude(state__in=over).order_by("pk")[:SHOWN])


def _versions(model: Any, pk: int) -> list[Any]:
    rows: Any = get_history_manager_for_model(model).filter(**{model._meta.pk.attname: pk})
    return list(rows.select_related("history_user").order_by("-history_id")[:5])


def _ending(kind: Kind | None) -> tuple[str, str]:
    """How a record of this kind goes: the action and the word for it; empty where it stays for good."""
    if kind is not None and kind.ends:
        return Action.END, "End it"
    return (Action.REMOVE, "Take it out") if kind is not None and kind.is_removable else ("", "")


def _forget(kind: Kind | None, record: Any, user: Any) -> str:
    """Where it is asked that a person be forgotten; empty for who may not ask, and of who is forgotten already."""
    if not isinstance(record, Resource) or kind is None or Erasure.objects.filter(resource=record).exists():
        return ""
    may = all(access.may(user, access.CONFIGURERS, one) for one in kind.entities([record.pk])[record.pk])
    return reverse("forget", args=[record.pk]) if may else ""


def _give_status(record: Any, user: Any) -> str:
    """Where a project's first status is proposed; empty for who may not."""
    kind = BY_CODE["project_status"]
    if not isinstance(record, Project) or not access.may(user, kind.proposers, record.entity_id):
        return ""
    about = {"model": kind.code, "action": "add", "title": f"Status of {record.code}"}
    return f"{reverse('change_new')}?{urlencode(about)}"


def _propose(kind: Kind | None, record: Any, user: Any) -> str:
    """Where a change of it is proposed; empty for who may not in every entity that it touches."""
    if kind is None or not all(access.may(user, kind.proposers, one) for one in kind.entities([record.pk])[record.pk]):
        return ""
    return f"{reverse('change_new')}?model={kind.code}&key={record.pk}"
