"""Dismissing a suggested match: what two records were when a person said that they are not the same.

The rule here: a dismissed match is not suggested while both records say what they said then. When the code, the name or the tax
number of one of them changes, it is a suggestion like any other again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from django.db import transaction

from portal import access, audit, sql
from portal.models import User
from reconciliation.models import DismissedMatch
from reconciliation.models import Mapping as Row

Evidence = dict[str, list[str]]
Said = tuple[str | None, str | None, str | None]  # code, name and tax number of one record
Pair = tuple[int | None, int | None, str]  # entity, our record, their key


class NotDismissed(Exception):
    """Why a match is not dismissed, or not offered again, in a sentence."""


def evidence_of(ours: Said, theirs: Said) -> Evidence:
    """What a match rests on: code, name and tax number of both."""
    return {"ours": [part or "" for part in ours], "theirs": [part or "" for part in theirs]}


class Dismissals:
    """What was dismissed of one system and kind; one statement, whatever is asked of it then."""

    def __init__(self, system: str, realm: str, kind: str) -> None:
        """Read it."""
        self._rows: dict[Pair, list[Evidence]] = defaultdict(list)
        standing = DismissedMatch.objects.filter(system=system, realm=realm, kind=kind, offered_at=None)
        for entity_id, internal_id, external_id, evidence in standing.values_list(
            "entity_id", "internal_id", "external_id", "evidence"
        ):
            self._rows[entity_id, internal_id, external_id].append(evidence)

    def holds(
        self, entities: Collection[int | None], internal_id: int | None, external_id: str, evidence: Evidence
    ) -> bool:
        """Whether this match was dismissed in one of these entities, on what both records say now."""
        return any(evidence in self._rows.get((entity, internal_id, external_id), ()) for entity in entities)


def dismiss(row: Row, match: Any, *, by: User, reason: str) -> DismissedMatch:
    """Say that a suggested match (a `suggesting.Match` of the row) is none. Audited. Raises NotDismissed, PermissionDenied."""
    access.require(by, access.OPERATORS, row.entity_id)
    if not reason.strip():
        raise NotDismissed("Say why they are not the same; it is kept with both.")
    with transaction.atomic():
        made, is_new = DismissedMatch.objects.get_or_create(
            entity_id=row.entity_id, system=row.system, realm=row.realm, kind=row.kind, internal_id=match.internal_id,
            external_id=match.external_id, evidence=match.evidence, offered_at=None,
            defaults={"words": f"{row} and {match.words}"[:700], "reason": reason.strip(), "by": by, "at": sql.now()},
        )  # fmt: skip
        if is_new:
            audit.record(
                by, "match.dismissed", made, entity=row.entity_id, reason=reason.strip(),
                after={"kind": row.kind, "system": row.system, "key": match.external_id, "evidence": match.evidence},
            )  # fmt: skip
    return made


def offer_again(dismissed: DismissedMatch, *, by: User, reason: str) -> None:
    """Let a dismissed match be suggested again. Audited. Raises NotDismissed, PermissionDenied."""
    access.require(by, access.OPERATORS, dismissed.entity_id)
    if not reason.strip():
        raise NotDismissed("Say why it is offered again.")
    with transaction.atomic():
        locked = DismissedMatch.objects.select_for_update(of=("self",)).get(pk=dismissed.pk)
        if locked.offered_at is not None:
            raise NotDismissed("It is offered again already.")
        locked.offered_by, locked.offered_at, locked.offered_because = by, sql.now(), reason.strip()
        locked.save(update_fields=["offered_by", "offered_at", "offered_because"])
        audit.record(
            by, "match.offered-again", locked, entity=locked.entity_id, reason=reason.strip(),
            before={"dismissed_by": locked.by.get_username(), "reason": locked.reason},
        )  # fmt: skip


def dismissed_of(row: Row) -> list[DismissedMatch]:
    """What was dismissed for a row and not offered again by a person, the latest first; what changed since is among them."""
    if row.internal_id is not None:
        of: Mapping[str, Any] = {"internal_id": row.internal_id}
    else:
        of = {"external_id": row.external_id}
    found = DismissedMatch.objects.filter(
        entity_id=row.entity_id, system=row.system, realm=row.realm, kind=row.kind, offered_at=None, **of
    )
    return list(found.select_related("by").order_by("-pk")[:20])


def still_hidden(dismissed: Collection[DismissedMatch], matches: Iterable[Any]) -> list[tuple[DismissedMatch, bool]]:
    """Each with whether it is still kept back: it is not where the same two are suggested again, for what they say now."""
    offered = {(match.internal_id, match.external_id) for match in matches}
    return [(one, (one.internal_id, one.external_id) not in offered) for one in dismissed]
