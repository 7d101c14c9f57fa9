"""The history of one record: its versions and the decisions about it on one line of time.

The rule here: the history is shown to whoever may see the record as it stands; each change says who, when, why, and from what
to what.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from itertools import pairwise
from typing import Any

from django.db.models import Field, ForeignKey, Q, QuerySet
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import reverse
from simple_history.utils import get_history_manager_for_model

from portal import figures
from portal.audit import in_words
from portal.importing.headings import one_word
from portal.models import AuditEvent, Rate
from portal.screens import Screen
from portal.screens.navigation import APPS
from portal.views.audit import Change, as_text, changes_of
from portal.views.governed import governed, masters, visible

SHOWN = 200  # versions and events each
_KINDS = {"+": ("Made", "good"), "~": ("Changed", ""), "-": ("Deleted", "bad")}


@dataclass(frozen=True, slots=True)
class Moment:
    """One thing that happened to the record."""

    at: datetime
    what: str
    who: str
    why: str
    tone: str = ""
    changes: tuple[Change, ...] = ()
    url: str = ""

    @property
    def is_first(self) -> bool:
        """Whether the record was made by it, so that there is nothing before."""
        return self.what == _KINDS["+"][0]


class HistoryScreen(Screen):
    """One record as it stands, and everything that happened to it, latest first."""

    template_name = "audit/history.html"

    def get(self, request: HttpRequest, model: str, pk: int) -> HttpResponseBase:
        """The page."""
        kind = governed().get(model)
        if kind is None:
            raise Http404
        record = get_object_or_404(visible(kind, request.user), pk=pk)
        versions = _versions(kind, pk)
        names = _names_of(kind, [*versions, record])
        moments = [*_from_events(request, model, pk), *reversed(_from_versions(kind, versions, names))]
        master = masters().get(model)
        return self.page(
            self.context(
                title=_named(record),
                kind=one_word(kind._meta.verbose_name),
                facts=[(label, value) for _, label, value in _facts(kind, record, names) if value],
                moments=sorted(moments, key=lambda one: one.at, reverse=True),
                back_url=reverse("master", args=[model]) if master else "",
                back_label=f"← {master.label}" if master else "",
                zoned=getattr(record, "entity", None),
                here=request.get_full_path(),
                most=SHOWN if len(versions) == SHOWN or len(moments) - len(versions) == SHOWN else 0,
            )
        )


def _named(record: Any) -> str:
    """What a record is called where nothing stands beside it: a rate with its card and whom it is for."""
    if not isinstance(record, Rate):
        return str(record)
    whose = " and ".join(str(one) for one in (record.resource or record.role, record.task) if one)
    return f"{record.card}: {whose or 'everybody'}, {figures.exact(record.amount)} {record.currency} per {record.unit}"


def _versions(model: Any, pk: int) -> list[Any]:
    """The last versions, oldest first."""
    history = get_history_manager_for_model(model)
    key = model._meta.pk.attname
    rows: QuerySet[Any] = history.filter(**{key: pk}).select_related("history_user")
    return list(rows.order_by("-history_id")[:SHOWN])[::-1]


def _tracked(model: Any) -> list[Field[Any, Any]]:
    history = get_history_manager_for_model(model).model
    return [field for field in history.tracked_fields if not field.primary_key]


def _names_of(model: Any, rows: Sequence[Any]) -> dict[tuple[str, int], str]:
    """The names of the records that these versions point at: one query for each kind of record."""
    wanted: dict[type[Any], set[int]] = defaultdict(set)
    fields = [field for field in _tracked(model) if isinstance(field, ForeignKey)]
    for field in fields:
        for row in rows:
            key = getattr(row, field.attname, None)
            if key is not None:
                wanted[field.related_model].add(key)
    found = {kind: kind._base_manager.in_bulk(keys) for kind, keys in wanted.items()}
    return {
        (str(kind._meta.model_name), key): str(record)
        for kind, records in found.items()
        for key, record in records.items()
    }


def _facts(model: Any, row: Any, names: dict[tuple[str, int], str]) -> list[tuple[str, str, str]]:
    """Every field of one version: (name, label, value in words)."""
    facts = []
    for field in _tracked(model):
        value = getattr(row, field.attname, None)
        if isinstance(field, ForeignKey) and value is not None:
            kind: Any = field.related_model
            said = names.get((str(kind._meta.model_name), value), f"no longer there ({value})")
        elif field.name == "credentials":
            said = ", ".join(sorted(value or {}))  # their names; where they lie is for operators
        elif field.choices:
            said = str(dict(field.flatchoices).get(value, value) or "")
        else:
            said = as_text(value if value is None or isinstance(value, bool | int | dict | list) else str(value))
        facts.append((field.name, one_word(field.verbose_name), said))
    return facts


def _from_versions(model: Any, versions: list[Any], names: dict[tuple[str, int], str]) -> list[Moment]:
    told = [_facts(model, version, names) for version in versions]
    moments = []
    if versions:
        first = [Change(label, "", value) for _, label, value in told[0] if value]
        moments.append(_moment(versions[0], first if versions[0].history_type == "+" else []))
    for (before, after), version in zip(pairwise(told), versions[1:], strict=True):
        changed = [
            Change(label, old, new) for (_, label, old), (_, _, new) in zip(before, after, strict=True) if old != new
        ]
        moments.append(_moment(version, changed))
    return moments


def _moment(version: Any, changes: list[Change]) -> Moment:
    what, tone = _KINDS[version.history_type]
    who = version.history_user.get_username() if version.history_user else "system"
    return Moment(version.history_date, what, who, version.history_change_reason or "", tone, tuple(changes))


def _from_events(request: HttpRequest, model: str, pk: int) -> list[Moment]:
    """Decisions about the record itself with what they changed, and decisions by which it was changed, with where they stand.

    An app names a function in `CONCERNS` of its `urls` that says which objects of the chain concern a record.
    """
    own = Q(object_type=model, object_id=str(pk))
    of_others = Q()
    for app in APPS:
        concerns = getattr(import_module(f"{app}.urls"), "CONCERNS", None)
        for name, ids in concerns(model, pk) if concerns else ():
            of_others |= Q(object_type=name, object_id__in=[str(one) for one in ids]) if ids else Q()
    events = AuditEvent.objects.visible_to(request.user).filter(own | of_others)
    return [_decided(event, is_own=event.object_type == model) for event in events.order_by("-pk")[:SHOWN]]


def _decided(event: AuditEvent, *, is_own: bool) -> Moment:
    what = in_words(event.action)
    changes = tuple(change for change in changes_of(event.before, event.after) if change.differs) if is_own else ()
    return Moment(
        event.at,
        what if is_own else f"{what}: {event.object_name}",
        event.actor_name,
        event.reason,
        "info",
        changes,
        reverse("audit_event", args=[event.pk]),
    )
