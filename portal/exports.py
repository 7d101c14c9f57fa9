"""Exports as records: what was asked for, by whom, how far it is, and where the file lies until it expires.

The rule here: the row is the queue. A worker claims it under a lease with a fence and writes under that fence only, so a worker
that died is replaced and one that only slept finds its claim gone. A file is written under the name that its row already
states, so none is ever left over that no row knows. Who lost an entity since does not get the file.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterable, Sequence
from typing import IO, Any

from django.conf import settings
from django.core.files import File
from django.core.files.storage import Storage, storages
from django.db import transaction
from django.db.models import Q
from django.urls import reverse

from portal import access, audit, sql
from portal.models import Export, LegalEntity, NotificationKind, User
from portal.notifications import notify

log = logging.getLogger(__name__)

AT_ONCE = 10_000  # rows; more are written in the background
TRIES = 3
State = Export.State


class TooMany(Exception):
    """The person has too many exports under way, or made too many within the hour; the text is for the person."""


class Gone(Exception):
    """The claim is lost: the export was cancelled, or another worker has it."""


def storage() -> Storage:
    """Where files lie."""
    return storages["exports"]


def ask(
    person: User,
    *,
    title: str,
    address: str,
    form: str,
    of: str,
    filters: Sequence[str],
    columns: Sequence[str],
    entities: Iterable[int],
    expected: int,
) -> Export:
    """Note that a person wants this file; a worker makes it. Raises TooMany."""
    return _note(
        person, State.WAITING, title=title[:200], address=address, form=form, of=of, filters=list(filters),
        columns=list(columns), entities=sorted(entities), expected=expected,
    )  # fmt: skip


def downloaded_at_once(
    person: User,
    *,
    title: str,
    address: str,
    form: str,
    of: str,
    filters: Sequence[str],
    columns: Sequence[str],
    entities: Iterable[int],
    rows: int,
) -> Export:
    """Note that a person downloads a small file now; none is kept. Raises TooMany."""
    with transaction.atomic():
        export = _note(
            person, State.DIRECT, title=title[:200], address=address, form=form, of=of, filters=list(filters),
            columns=list(columns), entities=sorted(entities), expected=rows, rows=rows, downloads=1,
        )  # fmt: skip
        _account_for(export, person)
    return export


def _note(person: User, state: str, **values: Any) -> Export:
    """One more row of the person, unless that is too many; counted under a lock on the person."""
    with transaction.atomic():
        User.objects.select_for_update(no_key=True).get(pk=person.pk)
        now = sql.now()
        own = Export.objects.filter(person=person)
        if state == State.WAITING and own.filter(state__in=Export.UNDER_WAY).count() >= settings.EXPORTS_UNDER_WAY:
            raise TooMany(
                f"{settings.EXPORTS_UNDER_WAY} of your exports are under way. Wait for one of them, or cancel it."
            )
        recent = own.filter(asked_at__gt=now - settings.EXPORTS_WINDOW).count()
        if recent >= settings.EXPORTS_AN_HOUR:
            raise TooMany(f"You made {recent} exports within the hour, as many as one may. Try again later.")
        return Export.objects.create(person=person, state=state, asked_at=now, **values)


# What a worker does


def due() -> list[int]:
    """Exports that nobody works on."""
    free = Q(lease_until=None) | Q(lease_until__lt=sql.now())
    return list(Export.objects.filter(free, state__in=Export.UNDER_WAY).order_by("id").values_list("pk", flat=True))


def claim(export_id: int) -> Export | None:
    """Take one export on; None when it is over or in other hands. What a dead worker left of its file is removed first."""
    with transaction.atomic():
        found = Export.objects.select_for_update(skip_locked=True, no_key=True).filter(
            pk=export_id, state__in=Export.UNDER_WAY
        )
        export = found.select_related("person").first()
        now = sql.now()
        if export is None or (export.lease_until is not None and export.lease_until > now):
            return None
        left_over = export.file
        export.fence += 1
        export.state, export.started_at = State.RUNNING, export.started_at or now
        export.lease_until, export.rows = now + settings.EXPORT_LEASE, 0
        export.file = f"{export.pk}-{export.fence}-{secrets.token_urlsafe(16)}.{export.form}"
        export.save()
    if left_over:
        storage().delete(left_over)
    if export.fence > TRIES:
        fail(export, f"It was begun {TRIES} times and never ended. Narrow the filter, and tell an admin.")
        return None
    return export


def go_on(export: Export, rows: int) -> None:
    """Say how far it is and keep the claim. Raises Gone when the claim is lost."""
    held = Export.objects.filter(pk=export.pk, state=State.RUNNING, fence=export.fence)
    if not held.update(rows=rows, lease_until=sql.now() + settings.EXPORT_LEASE):
        raise Gone


def keep(export: Export, content: IO[Any], *, rows: int, entities: Iterable[int]) -> None:
    """Store the finished file and tell the person. Raises Gone, with nothing stored, when the claim is lost."""
    go_on(export, rows)
    size = content.seek(0, 2)
    content.seek(0)
    stored = storage().save(export.file, File(content))
    now = sql.now()
    with transaction.atomic():
        ready = Export.objects.filter(pk=export.pk, state=State.RUNNING, fence=export.fence).update(
            state=State.READY, file=stored, rows=rows, size=size, entities=sorted(entities), ended_at=now,
            expires_at=now + settings.EXPORT_LIFE, lease_until=None,
        )  # fmt: skip
        if ready:
            export.refresh_from_db()
            _tell(export, f"Your export is ready: {export}, {rows:,} rows")
    if not ready:
        storage().delete(stored)
        raise Gone


def fail(export: Export, problem: str) -> None:
    """End it without a file, and tell the person why."""
    with transaction.atomic():
        ended = Export.objects.filter(pk=export.pk, state=State.RUNNING, fence=export.fence).update(
            state=State.FAILED, problem=problem, ended_at=sql.now(), lease_until=None
        )
        if ended:
            _tell(export, f"Your export could not be made: {export}", problem)


def _tell(export: Export, sentence: str, note: str = "") -> None:
    notify(
        [export.person_id], NotificationKind.EXPORT, sentence, note=note, url=reverse("exports"), entity=None,
        key=f"export:{export.pk}",
    )  # fmt: skip


# What a person does


def refusal(export: Export, person: User) -> str:
    """Why the person may not have the file now; empty when they may."""
    if export.state != State.READY or export.expires_at is None:
        return f"There is no file of this export: it is {export.get_state_display().lower()}."
    if export.expires_at <= sql.now():
        return "The file has expired. Make the export again."
    return lost(person, export.entities)


def lost(person: User, entity_ids: Iterable[int]) -> str:
    """Which of these entities the person may no longer see, in a sentence; empty when all may be seen."""
    held = set(access.entities_of(person).values_list("pk", flat=True))
    gone = sorted(set(entity_ids) - held)
    if not gone:
        return ""
    codes = ", ".join(LegalEntity.objects.filter(pk__in=gone).order_by("code").values_list("code", flat=True))
    return f"You hold no role any more in {codes or 'an entity of it'}, and the export holds rows of it. Make it again."


def note_download(export: Export, person: User) -> None:
    """Write down that the file leaves."""
    with transaction.atomic():
        locked = Export.objects.select_for_update(no_key=True).get(pk=export.pk)
        locked.downloads += 1
        locked.save(update_fields=["downloads"])
        _account_for(locked, person)


def cancel(export: Export) -> bool:
    """Stop one that is under way; false when it was over."""
    stopped = Export.objects.filter(pk=export.pk, state__in=Export.UNDER_WAY).update(
        state=State.CANCELLED, ended_at=sql.now(), lease_until=None
    )
    discard()
    return bool(stopped)


def delete(export: Export) -> bool:
    """Remove the file of one that is ready; its row stays. False when there was none."""
    removed = Export.objects.filter(pk=export.pk, state=State.READY).update(state=State.DELETED, ended_at=sql.now())
    discard()
    return bool(removed)


def discard() -> int:
    """Remove every file whose time is over, that was deleted, or that a cancelled worker left; how many."""
    now = sql.now()
    Export.objects.filter(state=State.READY, expires_at__lte=now).update(state=State.EXPIRED)
    over = Export.objects.filter(state__in=[State.EXPIRED, State.DELETED, State.CANCELLED, State.FAILED]).exclude(
        file=""
    )
    count = 0
    for export in over[:1000]:
        storage().delete(export.file)
        count += Export.objects.filter(pk=export.pk, file=export.file).update(file="")
    return count


def _account_for(export: Export, person: User) -> None:
    """One event for each time that a file leaves; of the entity whose rows it holds, of none where it holds several's."""
    entity = export.entities[0] if len(export.entities) == 1 else None
    after = {
        "what": export.title, "of": export.of, "format": export.form, "filter": export.filters, "columns": export.columns,
        "entities": export.entities, "rows": export.rows, "address": export.address,
    }  # fmt: skip
    audit.record(person, "export.downloaded", export, entity=entity, after=after)
