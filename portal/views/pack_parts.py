"""What the portal puts into an auditor's pack: decisions, versions of master data, and moves on the ledger.

The rule here: a part holds the rows of the pack's entities, and of records that belong to none; a version stands with each field
that it changed, from what to what, and what was there when the days began is known from the version before.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from django.db.models import Field, ForeignKey, Q, QuerySet
from simple_history.utils import get_history_manager_for_model

from portal.access import roles_in
from portal.export import Cell
from portal.models import AuditEvent, Erasure, LedgerTransition, LegalEntity, Resource
from portal.models.access import Scope
from portal.packs import Part, Range
from portal.views.governed import SPECIAL, governed, visible

_CHUNK = 2_000
Names = dict[str, dict[int, str]]  # what each reference is called, by its field and key


def _of_entities(rows: QuerySet[Any], of: Range) -> QuerySet[Any]:
    """Rows of the pack's entities, by the model's own way to them, and those of none."""
    scope: Scope = getattr(rows.model, "scope", Scope())
    condition = Q(**{f"{scope.path}__in": of.ids})
    if scope.shared:
        condition |= Q(**{f"{scope.path}__isnull": True})
    if scope.many:
        return rows.filter(pk__in=rows.model._base_manager.filter(condition).values("pk"))
    return rows.filter(condition)


def decisions(of: Range) -> Iterator[Sequence[Cell]]:
    """Every decision, in the order of the chain, with its digest."""
    seen = AuditEvent.objects.visible_to(of.person).of_entities(of.ids).select_related("entity")
    codes = dict(LegalEntity.objects.values_list("pk", "code"))
    for event in seen.filter(at__gte=of.begins, at__lt=of.ends).order_by("pk").iterator(chunk_size=_CHUNK):
        several = " ".join(codes.get(pk, str(pk)) for pk in event.entities)
        yield (
            event.pk, event.at.isoformat(sep=" ", timespec="seconds"), event.actor_name, event.action, event.object_type,
            event.object_id, event.object_name, event.entity.code if event.entity else several, event.reason,
            _json(event.before), _json(event.after), event.request_id, event.roles, event.address, event.previous_digest,
            event.digest,
        )  # fmt: skip


def _json(value: Any) -> str:
    return "" if value is None else json.dumps(value, ensure_ascii=False, sort_keys=True)


def history(of: Range) -> Iterator[Sequence[Cell]]:
    """Every field of every record with history that changed in these days."""
    for name, model in sorted(governed().items()):
        yield from _history_of(name, model, of)


def _history_of(name: str, model: Any, of: Range) -> Iterator[Sequence[Cell]]:
    manager = get_history_manager_for_model(model)
    key = model._meta.pk.attname
    versions: QuerySet[Any] = manager.all()
    touched = versions.filter(history_date__gte=of.begins, history_date__lt=of.ends)
    if not touched.exists():
        return
    fields = [field for field in manager.model.tracked_fields if not field.primary_key]
    chosen = versions.filter(_standing(name, model, of, touched) | _gone(model, of, touched)).filter(
        **{f"{key}__in": touched.values(key)}, history_date__lt=of.ends
    )
    names = _names(fields, chosen)
    rows = chosen.select_related("history_user").order_by(key, "history_id").iterator(chunk_size=_CHUNK)
    for _, group in groupby(rows, key=lambda version: getattr(version, key)):
        before: Any = None
        for version in group:
            if version.history_date >= of.begins:
                yield from _told(name, fields, names, before, version)
            before = version


def _standing(name: str, model: Any, of: Range, touched: QuerySet[Any]) -> Q:
    """Records that stand and that the person sees within the pack's entities."""
    key = model._meta.pk.attname
    if model in SPECIAL:
        rows = visible(model, of.person)
        return Q(**{f"{key}__in": SPECIAL[model](rows, of.ids).values("pk")})
    return Q(**{f"{key}__in": _of_entities(visible(model, of.person), of).values("pk")})


def _gone(model: Any, of: Range, touched: QuerySet[Any]) -> Q:
    """Records deleted in these days: by the entity that their last version names.

    Where the way to the entity leads over other records that may be gone as well, only who sees every entity gets them.
    """
    key = model._meta.pk.attname
    deleted = touched.filter(history_type="-")
    scope: Scope = getattr(model, "scope", Scope())
    if model in SPECIAL or scope.many or "__" in scope.path or scope.path == "id":
        if not roles_in(of.person, None):
            return Q(pk__in=[])
        return Q(**{f"{key}__in": deleted.values(key)})
    condition = Q(**{f"{scope.path}__in": of.ids})
    if scope.shared:
        condition |= Q(**{f"{scope.path}__isnull": True})
    return Q(**{f"{key}__in": deleted.filter(condition).values(key)})


def _names(fields: Sequence[Field[Any, Any]], versions: QuerySet[Any]) -> Names:
    """What the records are called that these versions point at: two queries for each reference."""
    found: Names = {}
    for field in fields:
        if isinstance(field, ForeignKey):
            keys = versions.order_by().values_list(field.attname, flat=True).distinct()
            kind: Any = field.related_model
            named = kind._base_manager.in_bulk([key for key in keys if key is not None])
            found[field.attname] = {key: str(record) for key, record in named.items()}
    return found


def _told(
    name: str, fields: Sequence[Field[Any, Any]], names: Names, before: Any, version: Any
) -> Iterator[Sequence[Cell]]:
    kind = {"+": "made", "~": "changed", "-": "deleted"}[version.history_type]
    pk = getattr(version, version.instance_type._meta.pk.attname)
    who = version.history_user.get_username() if version.history_user else "system"
    head = (
        name,
        pk,
        kind,
        version.history_date.isoformat(sep=" ", timespec="seconds"),
        who,
        version.history_change_reason or "",
    )
    if kind == "deleted":
        yield (*head, "", "", "")
        return
    changed = False
    for field in fields:
        was = _word(field, names, before) if before is not None else ""
        became = _word(field, names, version)
        if was != became:
            changed = True
            yield (*head, field.name, was, became)
    if not changed:
        yield (*head, "", "", "")


def _word(field: Field[Any, Any], names: Names, version: Any) -> str:
    value = getattr(version, field.attname)
    if value is None:
        return ""
    if field.name == "credentials":
        return ", ".join(sorted(value))  # their names; where they lie is for operators
    if isinstance(field, ForeignKey):
        return names[field.attname].get(value, f"no longer there ({value})")
    return _json(value) if isinstance(value, dict | list) else str(value)


def moves(of: Range) -> Iterator[Sequence[Cell]]:
    """Every move of a ledger entry, with what it is about."""
    seen = LedgerTransition.objects.visible_to(of.person).filter(
        entry__entity__in=of.ids, at__gte=of.begins, at__lt=of.ends
    )
    rows = seen.order_by("at", "entry_id", "fence").values_list(
        "at", "entry_id", "fence", "from_state", "to_state", "actor", "reason", "entry__entity__code", "entry__source__code",
        "entry__document__external_id", "entry__version", "entry__target__code", "entry__project__code",
        "entry__resource__code", "entry__work_date", "entry__hours", "entry__rate", "entry__rate_version", "entry__amount",
        "entry__currency", "entry__receipt__number", "entry__idempotency_key",
    )  # fmt: skip
    for row in rows.iterator(chunk_size=_CHUNK):
        yield (row[0].isoformat(sep=" ", timespec="microseconds"), *row[1:-1], str(row[-1]))


def forgotten(of: Range) -> Iterator[Sequence[Cell]]:
    """Every person who was forgotten in these days, by pseudonym: on what request, by which two people, and how much went."""
    worked = Resource.objects.filter(engagements__entity__in=of.ids).values("pk")
    done = Erasure.objects.filter(resource__in=worked, at__gte=of.begins, at__lt=of.ends)
    for one in done.select_related("asked_by", "agreed_by").order_by("pk").iterator(chunk_size=_CHUNK):
        yield (
            one.pseudonym, one.reason, one.asked_by.get_username(), one.agreed_by.get_username(),
            one.at.isoformat(sep=" ", timespec="seconds"), _json(one.counts),
        )  # fmt: skip


PARTS = (
    Part(
        "decisions", "Decisions",
        ("event", "at", "who", "action", "object", "object_id", "name", "entity", "reason", "before", "after", "request",
         "roles", "address", "digest_before", "digest"),
        decisions, 10,
    ),
    Part(
        "history", "History of master data",
        ("record", "key", "what", "at", "who", "reason", "field", "before", "after"), history, 20,
    ),
    Part(
        "moves", "Moves on the ledger",
        ("at", "entry", "move", "from", "to", "who", "reason", "entity", "source", "source_id", "version", "target", "project",
         "person", "work_date", "hours", "rate", "rate_version", "amount", "currency", "receipt", "key"),
        moves, 30,
    ),
    Part(
        "forgotten", "People forgotten", ("pseudonym", "request", "asked_by", "agreed_by", "at", "counts"), forgotten, 70,
    ),
)  # fmt: skip
