"""Values that were not taken: each kept with what stands, once while it is open, and told to those who decide.

The rule here: the same value said again is the same rejected value; another value supersedes it; a system that comes to say what
stands settles it. What a person decided to keep is not asked again for the same value; what was proposed as a change stands once
that is applied, and is asked again once it is not to come.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone

from portal import audit, notifications, sql
from portal.models import Connection, EntityGrant, GrantRole, NotificationKind, RejectedValue, User

State = RejectedValue.State
DECIDERS = frozenset({GrantRole.CONTROLLER, GrantRole.ADMIN})


@dataclass(frozen=True, slots=True)
class Rejection:
    """One value of one field that is not taken; `is_owners` when another system owns it, else the value itself will not do."""

    kind: str
    row: Any
    entity_id: int | None
    field: str
    stands: Any
    said: Any
    reason: str
    revision: str
    is_owners: bool

    @property
    def told(self) -> str:
        """What was not taken, as part of a sentence."""
        return f"{self.field} “{as_text(self.said)}” was not taken, “{as_text(self.stands)}” stands"


def as_text(value: Any) -> str:
    """A value as it is kept: codes of records, ISO days, yes and no."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(getattr(value, "code", value))


def keep(connection: Connection, rejections: Sequence[Rejection], looked_at: Mapping[tuple[str, int], Any]) -> None:
    """Keep what was not taken, and settle what the system no longer says; a fixed number of statements but for the audit."""
    ids = {row.pk for row in looked_at.values()} | {each.row.pk for each in rejections}
    standing = RejectedValue.objects.select_for_update(of=("self",)).filter(connection=connection, internal_id__in=ids)
    rows = list(standing.filter(state__in=[State.OPEN, State.KEPT, State.PROPOSED]).order_by("id")) if ids else []
    opened = {(row.kind, row.internal_id, row.field): row for row in rows if row.state == State.OPEN}
    kept = {(row.kind, row.internal_id, row.field): row for row in rows if row.state != State.OPEN}
    now = sql.now()
    made: list[RejectedValue] = []
    news: dict[tuple[str, int], list[Rejection]] = defaultdict(list)
    ended: list[RejectedValue] = []
    for each in rejections:
        place = (each.kind, each.row.pk, each.field)
        before = opened.pop(place, None) or kept.get(place)
        if before is not None and before.said == as_text(each.said):
            before.times, before.last_at, before.stands = before.times + 1, now, as_text(each.stands)
            ended.append(before)
            continue
        if before is not None and before.state == State.OPEN:
            before.state = State.SUPERSEDED
            ended.append(before)
        made.append(_row(connection, each, now))
        news[each.kind, each.row.pk].append(each)
    said = {(each.kind, each.row.pk, each.field) for each in rejections}
    proposed = {place: row for place, row in kept.items() if row.state == State.PROPOSED and place not in said}
    for (kind, pk, _), row in (*opened.items(), *proposed.items()):
        if (kind, pk) in looked_at:
            row.state, row.last_at = State.SETTLED, now
            ended.append(row)
    RejectedValue.objects.bulk_update(ended, ["state", "times", "last_at", "stands"])
    RejectedValue.objects.bulk_create(made)
    for of_record in news.values():
        _record(connection, of_record)
    _tell(made)


def _row(connection: Connection, each: Rejection, now: Any) -> RejectedValue:
    return RejectedValue(
        connection=connection, kind=each.kind, internal_id=each.row.pk, record=str(each.row)[:300], entity_id=each.entity_id,
        field=each.field, stands=as_text(each.stands), said=as_text(each.said), reason=each.reason, revision=each.revision,
        first_at=now, last_at=now,
    )  # fmt: skip


def _record(connection: Connection, rejections: Sequence[Rejection]) -> None:
    """One event for what one record's message brought."""
    first = rejections[0]
    told = "; ".join(each.told for each in rejections)
    if all(each.is_owners for each in rejections):
        reason = f"{connection.code} does not own {first.kind.replace('_', ' ')} records here: {told}."
    else:
        reason = f"{connection.code}: {told}. {' '.join(dict.fromkeys(each.reason for each in rejections))}"
    audit.record(
        None, "master-change.rejected", first.row, entity=first.entity_id, reason=reason,
        before={each.field: as_text(each.stands) for each in rejections},
        after={each.field: as_text(each.said) for each in rejections},
    )  # fmt: skip


def _tell(made: Sequence[RejectedValue]) -> None:
    """A notice to the controllers and admins of each value's entity; of what all entities share, to those of every entity."""
    if not made:
        return
    day = timezone.localdate()
    holding = EntityGrant.objects.filter(Q(valid_to=None) | Q(valid_to__gte=day), valid_from__lte=day)
    grants = list(holding.filter(role__in=DECIDERS, user__is_active=True).values_list("user_id", "entity_id"))
    notifications.notify_each([
        notifications.Notice(
            person_id=person_id, kind=NotificationKind.REJECTED, subject=f"{row.connection.name} says {row}"[:300],
            url=reverse("rejected_value", args=[row.pk]), entity_id=row.entity_id,
            note=f"“{row.stands}” stands. {row.reason}", key=f"rejected:{row.kind}:{row.internal_id}:{row.field}",
        )
        for row in made
        for person_id in {person for person, entity_id in grants if entity_id in (None, row.entity_id)}
    ])  # fmt: skip


def reopen(rows: Iterable[RejectedValue], *, by: User | None, reason: str) -> int:
    """Ask again about values whose proposed change is not to come; how many. Of one field only what was said last is asked."""
    with transaction.atomic():
        locked = RejectedValue.objects.select_for_update(of=("self",)).filter(
            pk__in=[row.pk for row in rows], state=State.PROPOSED
        )
        found = list(locked.order_by("pk"))
        said = RejectedValue.objects.filter(internal_id__in=[row.internal_id for row in found]).order_by("pk")
        places: dict[tuple[Any, ...], list[RejectedValue]] = defaultdict(list)
        for one in said:
            places[_place(one)].append(one)
        for row in found:
            *earlier, last = places[_place(row)]
            if last.pk == row.pk:
                before = [one.pk for one in earlier if one.state == State.OPEN]
                RejectedValue.objects.filter(pk__in=before).update(state=State.SUPERSEDED)
            row.state = State.OPEN if last.pk == row.pk else State.SUPERSEDED
            row.decided_by, row.decided_at, row.decision = None, None, ""
            audit.record(
                by, "rejected-value.reopened", row, entity=row.entity_id, reason=reason, after={row.field: row.said}
            )
        RejectedValue.objects.bulk_update(found, ["state", "decided_by", "decided_at", "decision"])
    return len(found)


def take(rows: Iterable[RejectedValue], *, reason: str) -> int:
    """The change that proposed these values holds: what was said stands now; how many."""
    with transaction.atomic():
        locked = RejectedValue.objects.select_for_update(of=("self",)).filter(
            pk__in=[row.pk for row in rows], state=State.PROPOSED
        )
        found = list(locked.order_by("pk"))
        for row in found:
            audit.record(
                None, "rejected-value.taken", row, entity=row.entity_id, reason=reason,
                before={row.field: row.stands}, after={row.field: row.said},
            )  # fmt: skip
            row.state, row.stands = State.TAKEN, row.said
        RejectedValue.objects.bulk_update(found, ["state", "stands"])
    return len(found)


def _place(row: RejectedValue) -> tuple[Any, ...]:
    return row.connection_id, row.kind, row.internal_id, row.field


def decide(rows: Sequence[RejectedValue], state: str, *, by: User, reason: str) -> int:
    """Say of open values that what stands is kept, or that each was proposed as a change; how many were still open."""
    if not reason.strip():
        raise ValueError("Say why; it is kept with the value.")
    with transaction.atomic():
        locked = RejectedValue.objects.select_for_update(of=("self",)).filter(
            pk__in=[row.pk for row in rows], state=State.OPEN
        )
        found = list(locked.order_by("pk"))
        for row in found:
            row.state, row.decided_by, row.decided_at, row.decision = state, by, sql.now(), reason.strip()
            audit.record(
                by, f"rejected-value.{state}", row, entity=row.entity_id, reason=row.decision,
                before={row.field: row.stands}, after={row.field: row.stands if state == State.KEPT else row.said},
            )  # fmt: skip
        RejectedValue.objects.bulk_update(found, ["state", "decided_by", "decided_at", "decision"])
    return len(found)
