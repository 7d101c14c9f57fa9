"""Beginning to bring in an entity or a source, its cut-over, and what its configuration was when it was rehearsed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import date

from django.db import IntegrityError, transaction

from portal import access, audit, sql
from portal.history import bulk_create_with_reason, bulk_delete_with_reason, bulk_update_with_reason
from portal.models import Connection, LedgerEntry, LegalEntity, User
from portal.models.documents import INVOICE, KIND_CHOICES
from reconciliation.models import CutOver, Onboarding, Route
from reconciliation.sql import rehearsals as rehearsals_sql

State = Onboarding.State


class NotYet(Exception):
    """It cannot be done as things stand; the sentence says what stands in the way."""


def begin(entity: LegalEntity, source: Connection | None, *, by: User, reason: str) -> Onboarding:
    """Bring in an entity, or one source of it. From now on nothing that it brings is owed before it goes live. Audited."""
    access.require(by, access.CONFIGURERS, entity.pk)
    if not reason.strip():
        raise NotYet("Say why it is brought in; it is kept in the audit trail.")
    entries = LedgerEntry.objects.filter(entity=entity)
    if source is not None:
        if source.entity_id not in (None, entity.pk) or not source.is_source:
            raise NotYet(f"{source} is no source of {entity.code}.")
        entries = entries.filter(source=source)
    try:
        with transaction.atomic():
            LegalEntity.objects.select_for_update(no_key=True).get(pk=entity.pk)
            if entries.exists():
                raise NotYet(
                    f"{source or entity.code} has entries on the ledger already: it is live. "
                    "Bring in a new source of it, or begin before the first document is taken in."
                )
            found = Onboarding.objects.create(
                entity=entity, source=source, reason=reason.strip(), started_by=by, started_at=sql.now()
            )
            audit.record(by, "onboarding.begun", found, entity=entity, reason=reason.strip(), after=_said(found))
    except IntegrityError as error:
        raise NotYet(f"{source or entity.code} is being brought in already.") from error
    return found


def _said(onboarding: Onboarding) -> dict[str, str]:
    return {"entity": onboarding.entity.code, "source": onboarding.source.code if onboarding.source else "every source"}


def sources_of(onboarding: Onboarding) -> list[Connection]:
    """What brings documents for it: its one source, or every source of the entity and every one with a route for it."""
    if onboarding.source is not None:
        return [onboarding.source]
    own = Connection.objects.filter(entity=onboarding.entity, is_source=True, is_active=True)
    routed = Connection.objects.filter(routes_out__entity=onboarding.entity)
    return list((own | routed).distinct().order_by("code"))


def cut_overs(onboarding: Onboarding) -> dict[tuple[int, str], CutOver]:
    """The cut-overs that were said, by source and kind."""
    found = CutOver.objects.filter(entity=onboarding.entity, source__in=sources_of(onboarding))
    return {(one.source_id, one.kind): one for one in found.select_related("source")}


def first_days(onboarding: Onboarding) -> dict[tuple[int, str], date]:
    """From which work date each source's documents of each kind are owed: its own cut-over, else that of its connection."""
    of_connections = {
        (source.pk, kind): source.cut_over_on
        for source in sources_of(onboarding)
        for kind, _ in KIND_CHOICES
        if source.cut_over_on is not None
    }
    return of_connections | {key: one.first_day for key, one in cut_overs(onboarding).items()}


def set_cut_over(onboarding: Onboarding, days: Mapping[tuple[int, str], date | None], *, by: User, reason: str) -> int:
    """Say from which work date each source's documents of each kind are owed; how many changed. Not after going live.

    None takes back what was said; what is not named stays.
    """
    access.require(by, access.CONFIGURERS, onboarding.entity_id)
    if not reason.strip():
        raise NotYet("Say why; it is kept with the history of the cut-over.")
    known = {source.pk for source in sources_of(onboarding)}
    if not {source_id for source_id, _ in days} <= known:
        raise NotYet("One of these sources does not belong to what is brought in.")
    with transaction.atomic():
        locked = Onboarding.objects.select_for_update(no_key=True).get(pk=onboarding.pk)
        if locked.state != State.PREPARING:
            raise NotYet(f"It is {locked.get_state_display().lower()}: the cut-over stays as it was rehearsed.")
        there = cut_overs(onboarding)
        fresh = [
            CutOver(entity=onboarding.entity, source_id=source_id, kind=kind, first_day=day)
            for (source_id, kind), day in days.items()
            if day is not None and (source_id, kind) not in there
        ]
        gone = [there[key] for key, day in days.items() if key in there and day is None]
        moved = {key: day for key, day in days.items() if key in there and day and day != there[key].first_day}
        changed = [there[key] for key in moved]
        before = {f"{one.source.code} {one.kind}": one.first_day.isoformat() for one in (*changed, *gone)}
        for one in changed:
            one.first_day = moved[one.source_id, one.kind]
        bulk_create_with_reason(CutOver, fresh, reason=reason, actor=by)
        bulk_update_with_reason(CutOver, changed, ["first_day"], reason=reason, actor=by)
        bulk_delete_with_reason(CutOver, gone, reason=reason, actor=by)
        if fresh or changed or gone:
            after = {f"{one.source.code} {one.kind}": one.first_day.isoformat() for one in (*fresh, *changed)}
            audit.record(
                by,
                "onboarding.cut-over",
                onboarding,
                entity=onboarding.entity,
                reason=reason,
                before=before,
                after=after,
            )
    return len(fresh) + len(changed) + len(gone)


def fingerprint(onboarding: Onboarding) -> str:
    """What identifies what a rehearsal ran on: entity, sources, targets, routes, cut-overs, and its rates and mappings."""
    entity = onboarding.entity
    entity.refresh_from_db()
    routes = Route.objects.filter(entity=entity, source__in=sources_of(onboarding)).exclude(kind=INVOICE).order_by("pk")
    parts = [f"{entity.currency} {entity.zone} {entity.calendar} {entity.policy}"]
    ids = {source.pk for source in sources_of(onboarding)}
    for route in routes:
        ids.add(route.target_id)
        parts.append(f"{route.pk} {route.target_id} {route.kind} {route.policy} {route.valid_from} {route.valid_to}")
    parts += [
        f"{one.pk} {one.connector} {one.base_url} {one.realm} {one.settings} {one.cut_over_on}"
        for one in Connection.objects.filter(pk__in=ids).order_by("pk")
    ]
    parts += [f"{key} {one.first_day}" for key, one in sorted(cut_overs(onboarding).items())]
    parts += rehearsals_sql.rates_and_mappings(entity.pk, ids)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
