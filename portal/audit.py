"""The audit trail's only writer, and its proof.

The rule here: one event per human or governed decision, appended under a lock, each carrying the digest of the one before it.
A changed, removed or inserted event breaks the chain at its place, and `verify` names it.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from django.db import models, transaction

from portal import sql
from portal.models import AuditEvent

if TYPE_CHECKING:
    from portal.models import LegalEntity, User

GENESIS = "0" * 64
_LOCK = 0x7469656F  # one writer at a time; the chain has one end


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
    reason: str = "",
    before: Any = None,
    after: Any = None,
    request_id: str = "",
    at: datetime | None = None,
) -> AuditEvent:
    """Append one decision about `subject`. Joins the open transaction: without the decision there is no event."""
    entity_id = entity if isinstance(entity, int) or entity is None else entity.pk
    with transaction.atomic():
        sql.rows("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        last = AuditEvent.objects.order_by("-id").values_list("digest", flat=True).first()
        event = AuditEvent(
            at=at or sql.now(),
            actor=actor,
            actor_name=actor.get_username() if actor else "system",
            action=action,
            object_type=subject._meta.model_name or "",
            object_id=str(subject.pk),
            object_name=str(subject)[:300],
            entity_id=entity_id,
            reason=reason,
            before=_plain(before),
            after=_plain(after),
            request_id=request_id,
            previous_digest=last or GENESIS,
        )
        event.digest = _digest(event.previous_digest, event)
        event.save(force_insert=True)
    return event


def verify() -> list[str]:
    """Walk the whole chain; a sentence for each place where it does not hold, empty when it does."""
    problems: list[str] = []
    previous = GENESIS
    for event in AuditEvent.objects.order_by("id").iterator(chunk_size=2000):
        if event.previous_digest != previous:
            problems.append(f"Event {event.pk} ({event.action}) does not follow the event before it: one is missing.")
        if event.digest != _digest(event.previous_digest, event):
            problems.append(f"Event {event.pk} ({event.action}) was changed after it was written.")
        previous = event.digest
    return problems
