"""The audit trail's only writer, and its proof.

The rule here: one event per human or governed decision, appended under a lock, each carrying the digest of the one before it.
A changed, removed or inserted event breaks the chain at its place, and `verify` names it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.db import models, transaction

from portal import origin, sql
from portal.models import AuditEvent

if TYPE_CHECKING:
    from portal.models import LegalEntity, User

GENESIS = "0" * 64
PROVED = "audit.verified"
_BEYOND = 2**63 - 1
_LOCK = 0x7469656F  # one writer at a time; the chain has one end
_BEFORE = """
    SELECT (SELECT digest FROM portal_auditevent ORDER BY id DESC LIMIT 1),
           (SELECT coalesce(string_agg(DISTINCT role, ', ' ORDER BY role), '') FROM portal_entitygrant
             WHERE user_id = %(actor)s AND valid_from <= CURRENT_DATE AND coalesce(valid_to >= CURRENT_DATE, true)
               AND (entity_id IS NULL OR %(entity)s::bigint IS NULL OR entity_id = %(entity)s))"""


def _digest(previous: str, event: AuditEvent) -> str:
    content = {
        "at": event.at.astimezone(UTC).isoformat(),
        "actor": event.actor_name,
        "actor_id": event.actor_id,
        "action": event.action,
        "object": [event.object_type, event.object_id, event.object_name],
        "entity": event.entity_id,
        "reason": event.reason,
        "before": event.before,
        "after": event.after,
        "request": event.request_id,
        **{name: value for name in ("roles", "address", "entities") if (value := getattr(event, name))},
    }
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(f"{previous}\n{text}".encode()).hexdigest()


def _plain(value: Any) -> Any:
    """The value as JSON gives it back, so that a digest taken before and after storage is the same."""
    return None if value is None else json.loads(json.dumps(value, default=str))


def record(
    actor: User | None,
    action: str,
    subject: models.Model,
    *,
    entity: LegalEntity | int | None = None,
    entities: Collection[int | None] = (),
    reason: str = "",
    before: Any = None,
    after: Any = None,
    at: datetime | None = None,
) -> AuditEvent:
    """Append one decision about `subject`, with the request that it came from and the roles that the person held there.

    `entities` are those of a decision that touches more than one, None among them standing for all.
    Joins the open transaction: without the decision there is no event.
    """
    asked = origin.current()
    entity_id = entity if isinstance(entity, int) or entity is None else entity.pk
    several = [] if None in entities else sorted(one for one in {*entities} if one is not None)
    if len(several) == 1:
        entity_id, several = several[0], []
    with transaction.atomic():
        sql.rows("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        last, roles = sql.rows(_BEFORE, {"actor": actor.pk if actor else None, "entity": entity_id})[0]
        event = AuditEvent(
            at=at or sql.now(),
            actor=actor,
            actor_name=actor.get_username() if actor else "system",
            action=action,
            object_type=subject._meta.model_name or "",
            object_id=str(subject.pk),
            object_name=str(subject)[:300],
            entity_id=entity_id,
            entities=several,
            reason=reason,
            before=_plain(before),
            after=_plain(after),
            request_id=asked.request_id,
            roles=roles[:200],
            address=asked.address,
            previous_digest=last or GENESIS,
        )
        event.digest = _digest(event.previous_digest, event)
        event.save(force_insert=True)
    return event


@dataclass(slots=True)
class Walk:
    """What walking the chain found: its range, the digest at its head, and a sentence for each place where it does not hold.

    `head` is to be kept outside of the system: a chain that was cut at its end is noticed only by a digest noted before.
    """

    since: date | None = None
    until: date | None = None
    events: int = 0
    first: AuditEvent | None = None
    last: AuditEvent | None = None
    problems: list[str] = field(default_factory=list)

    @property
    def head(self) -> str:
        """The digest of the last event walked; of an empty chain, what its first event would follow."""
        return self.last.digest if self.last is not None else GENESIS

    @property
    def unused(self) -> int:
        """How many numbers between the first and the last event belong to none: drawn by work that was taken back."""
        if self.first is None or self.last is None:
            return 0
        return int(self.last.pk) - int(self.first.pk) + 1 - self.events

    @property
    def holds(self) -> bool:
        """Whether nothing was found to be changed or missing."""
        return not self.problems


def walk(since: date | None = None, until: date | None = None, *, noted: str = "") -> Walk:
    """Walk the chain, or its part with the events of a closed range of days (UTC).

    `noted` is a head digest that somebody kept: it must still be in the chain, wherever the range lies.
    """
    found = Walk(since, until)
    previous = GENESIS
    events = _within(since, until)
    before = events.order_by("id").values_list("id", flat=True).first() if since else None
    if before is not None:
        earlier = AuditEvent.objects.filter(id__lt=before).order_by("-id").values_list("digest", flat=True).first()
        previous = earlier or GENESIS
    for event in events.order_by("id").iterator(chunk_size=2000):
        found.first = found.first or event
        found.last = event
        found.events += 1
        if event.previous_digest != previous:
            found.problems.append(
                f"Event {event.pk} ({event.action}) does not follow the event before it: one is missing."
            )
        if event.digest != _digest(event.previous_digest, event):
            found.problems.append(f"Event {event.pk} ({event.action}) was changed after it was written.")
        previous = event.digest
    if noted and not AuditEvent.objects.filter(digest=noted.strip().lower()).exists():
        found.problems.append(f"No event bears the noted head {noted.strip()[:64]}: the chain was cut or written anew.")
    return found


def _within(since: date | None, until: date | None) -> models.QuerySet[AuditEvent]:
    """Every event between the first and the last one of a range of days; events of one transaction may be out of order."""
    events = AuditEvent.objects.order_by()
    first = events.filter(at__gte=_start(since)) if since else events
    last = events.filter(at__lt=_start(until + timedelta(days=1))) if until else events
    if since:
        events = events.filter(id__gte=first.aggregate(edge=models.Min("id"))["edge"] or _BEYOND)
    if until:
        events = events.filter(id__lte=last.aggregate(edge=models.Max("id"))["edge"] or 0)
    return events


def _start(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def verify() -> list[str]:
    """Walk the whole chain; a sentence for each place where it does not hold, empty when it does."""
    return walk().problems


def prove(actor: User | None, since: date | None = None, until: date | None = None, *, noted: str = "") -> Walk:
    """Walk the chain and append that it was walked, by whom and with which result, so that the last proof is known."""
    found = walk(since, until, noted=noted)
    if found.last is not None:
        after = {
            "range": [found.first.pk if found.first else None, found.last.pk], "events": found.events,
            "result": "holds" if found.holds else "broken", "problems": found.problems[:20], "head": found.head,
        }  # fmt: skip
        record(actor, PROVED, found.last, after=after)
    return found


def last_proof() -> AuditEvent | None:
    """When the chain was last walked, by whom, and what was found."""
    return AuditEvent.objects.filter(action=PROVED).order_by("-id").first()


def is_untouched(event: AuditEvent) -> bool:
    """Whether the event's digest is still that of its content."""
    return event.digest == _digest(event.previous_digest, event)


@cache
def _nouns() -> dict[str, str]:
    """What a stored kind of object is called: `legalentity` is “legal entity”."""
    return {str(model._meta.model_name): str(model._meta.verbose_name) for model in apps.get_models()}


def noun_of(object_type: str) -> str:
    """The kind of an object as a person says it."""
    return _nouns().get(object_type, object_type)


def in_words(action: str) -> str:
    """A stored action as a person says it: `breaker-opened` is “Breaker opened”, `legalentity.configured` names the entity."""
    subject, dot, done = action.partition(".")
    words = f"{noun_of(subject)} {done}" if dot else action
    return words.replace("-", " ").replace(".", " ").replace("_", " ").capitalize()
