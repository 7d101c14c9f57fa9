"""Which record of a system one of ours most likely is, or the other way round: by tax number, code and name.

The rule here: it only suggests. What is not near, or as near as something else, is not filled in; what a person dismissed is
not suggested before one of both says something else.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from portal import quality
from portal.models import CostCentre, Crosswalk, Customer, ForeignRecord, LegalEntity, Project, Resource, Role, Task
from portal.models.governance import SHARED_KINDS
from reconciliation.mappings.dismissing import Dismissals, Evidence, evidence_of
from reconciliation.models import Mapping
from reconciliation.suggestions.nearness import Candidate, Near, Said, nearest, sure

SHOWN = 5
AT_MOST = 5_000  # records of one system and kind that are compared; more are found by their key
_MODELS: dict[str, Any] = {
    "entity": LegalEntity, "cost_centre": CostCentre, "customer": Customer, "project": Project, "task": Task,
    "resource": Resource, "item": Role,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Match:
    """One record that a row may be: its key (theirs) or id (ours), how near it is, and what speaks for and against it."""

    internal_id: int | None
    external_id: str
    words: str
    score: int
    reasons: tuple[str, ...]
    against: tuple[str, ...]
    is_sure: bool = False
    evidence: Evidence = field(default_factory=dict)  # what both say, on which it may be dismissed


def suggest(rows: Sequence[Mapping]) -> dict[int, list[Match]]:
    """The likeliest matches of each row without one, the nearest first; a fixed number of statements for each system and kind."""
    wanted: dict[tuple[str, str, str, str], list[Mapping]] = defaultdict(list)
    for row in rows:
        if row.state in (Mapping.State.UNMAPPED, Mapping.State.THEIRS):
            wanted[row.state, row.system, row.realm, row.kind].append(row)
    found: dict[int, list[Match]] = {}
    for (state, system, realm, kind), group in wanted.items():
        dismissed = Dismissals(system, realm, kind)
        if state == Mapping.State.UNMAPPED:
            theirs = candidates(system, realm, kind)
            numbers = _tax_numbers(kind, [row.internal_id for row in group])
            for row in group:
                found[row.pk] = _ours(row, theirs, numbers.get(row.internal_id or 0, ""), dismissed)
        else:
            ours = _unmapped(system, realm, kind, {row.entity_id for row in group})
            stated = ForeignRecord.objects.in_bulk([row.foreign_id for row in group])
            numbers = _tax_numbers(kind, [one[0] for one in ours]) if stated else {}
            for row in group:
                found[row.pk] = _theirs(row, stated.get(row.foreign_id or 0), ours, numbers, dismissed)
    return found


def candidates(system: str, realm: str, kind: str) -> list[ForeignRecord]:
    """The active records of a system that mean none of ours."""
    today = timezone.localdate()
    tied = Crosswalk.objects.filter(
        Q(valid_to=None) | Q(valid_to__gte=today), system=OuterRef("system"), realm=OuterRef("realm"), kind=OuterRef("kind"),
        external_id=OuterRef("external_id"),
    )  # fmt: skip
    rows = ForeignRecord.objects.filter(system=system, realm=realm, kind=kind, is_active=True)
    return list(rows.filter(~Exists(tied)).order_by("pk")[:AT_MOST])


def _ours(row: Mapping, theirs: Sequence[ForeignRecord], number: str, dismissed: Dismissals) -> list[Match]:
    said = Said(str(row.code or "").rpartition(" / ")[2], row.name or "")
    numbers = {one.pk: str(one.attributes.get("tax_number", "")) for one in theirs}
    evidence = {
        one.pk: evidence_of((row.code, row.name, number), (one.code, one.name, numbers[one.pk])) for one in theirs
    }
    fitting = [
        one
        for one in theirs
        if (one.entity_id == row.entity_id or (one.entity_id is None and row.kind in SHARED_KINDS))
        and not dismissed.holds((row.entity_id, one.entity_id), row.internal_id, one.external_id, evidence[one.pk])
    ]
    by_pk = {one.pk: one for one in fitting}
    near = _ranked(said, [Candidate(one.pk, one.entity_id, one.code, one.name) for one in fitting], number, numbers)
    certain = sure(near)
    return [
        Match(
            row.internal_id, by_pk[one.candidate.pk].external_id, str(by_pk[one.candidate.pk]), one.score, one.reasons,
            one.against, one is certain, evidence[one.candidate.pk],
        )
        for one in near
    ]  # fmt: skip


def _theirs(
    row: Mapping,
    stated: ForeignRecord | None,
    ours: Sequence[tuple[Any, ...]],
    numbers: dict[int, str],
    dismissed: Dismissals,
) -> list[Match]:
    said, key = Said(row.their_code or "", row.their_name or ""), row.external_id or ""
    number = str(stated.attributes.get("tax_number", "")) if stated is not None else ""
    fitting = {one[0]: one for one in ours if row.entity_id is None or one[3] is None or one[3] == row.entity_id}
    evidence = {
        pk: evidence_of((one[1], one[2], numbers.get(pk)), (row.their_code, row.their_name, number))
        for pk, one in fitting.items()
    }
    pool = [
        Candidate(pk, one[3], str(one[1]).rpartition(" / ")[2], one[2])
        for pk, one in fitting.items()
        if not dismissed.holds((one[3], row.entity_id), pk, key, evidence[pk])
    ]
    near = _ranked(said, pool, number, numbers if number else {})
    certain = sure(near)
    return [
        Match(
            one.candidate.pk, key, f"{fitting[one.candidate.pk][1]} {fitting[one.candidate.pk][2]}", one.score, one.reasons,
            one.against, one is certain, evidence[one.candidate.pk],
        )
        for one in near
    ]  # fmt: skip


def _ranked(said: Said, pool: Sequence[Candidate], number: str, numbers: dict[int, str]) -> list[Near]:
    """By words, lifted or lowered by the tax number."""
    mine = quality.compact(number)
    same = [one for one in pool if mine and quality.compact(numbers.get(one.pk, "")) == mine]
    found = {near.candidate.pk: near for near in nearest(said, pool, SHOWN)}
    for near in nearest(replace(said, code="", name=""), same, SHOWN):
        found.setdefault(near.candidate.pk, near)
    for one in same:
        near = found.get(one.pk) or Near(one, 0, (), ())
        found[one.pk] = replace(near, score=max(96, near.score), reasons=(*near.reasons, "same tax number"))
    for pk, near in list(found.items()):
        other = quality.compact(numbers.get(pk, ""))
        if mine and other and other != mine:
            found[pk] = replace(near, score=max(0, near.score - 25), against=(*near.against, "another tax number"))
    return sorted(found.values(), key=lambda near: (-near.score, near.candidate.code))[:SHOWN]


def _unmapped(system: str, realm: str, kind: str, entities: set[int | None]) -> list[tuple[Any, ...]]:
    """(id, code, name, entity) of our records that a system has no key for."""
    rows = Mapping.objects.filter(state=Mapping.State.UNMAPPED, system=system, realm=realm, kind=kind)
    if None not in entities:
        rows = rows.filter(entity__in=entities)
    return list(rows.values_list("internal_id", "code", "name", "entity_id")[:AT_MOST])


def _tax_numbers(kind: str, ids: Sequence[int | None]) -> dict[int, str]:
    if kind != "customer":
        return {}
    return dict(Customer.objects.filter(pk__in=[pk for pk in ids if pk]).values_list("pk", "tax_number"))


def record_of(kind: str, internal_id: int) -> Any:
    """Our record of a kind; None where there is none."""
    return _MODELS[kind]._base_manager.filter(pk=internal_id).first()
