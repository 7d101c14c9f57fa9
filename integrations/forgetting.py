"""A person asks to be forgotten: pseudonymised for good by two people, while money, keys and digests stay as proof.

The rule here: nobody is forgotten while their work is on its way, and nothing but names goes. What the chain of decisions says
stays as it was said: it is kept to establish and to defend claims, and every change of it would break the proof.
"""

from __future__ import annotations

from django.db import transaction

from integrations.sql import forgetting as sql
from portal import access, audit
from portal.history import bulk_update_with_reason
from portal.models import Alias, Engagement, Erasure, Resource, User
from portal.sql import now

EVERYWHERE: list[int | None] = [None]  # where a person without an engagement is known


class NotForgotten(Exception):
    """Why a person cannot be forgotten now; the sentence says what stands in the way."""


def forget(resource: Resource, *, by: User, agreed_by: User, reason: str) -> Erasure:
    """Pseudonymise a person wherever they are named. Cannot be undone. Raises NotForgotten, PermissionDenied."""
    if not reason.strip():
        raise NotForgotten("Say on what request; it is kept with the record that it was done.")
    if by == agreed_by:
        raise NotForgotten("Two people do this: one asks, another agrees.")
    with transaction.atomic():
        locked = Resource.objects.select_for_update(no_key=True).get(pk=resource.pk)
        entities: list[int] = sorted(
            set(Engagement.objects.filter(resource=locked).values_list("entity_id", flat=True))
        )
        for person in (by, agreed_by):
            for entity_id in entities or EVERYWHERE:
                access.require(person, access.CONFIGURERS, entity_id)
        _refuse_what_is_not_over(locked)
        pseudonym = f"P-{locked.pk:06d}"
        names = sql.Names(locked.pk, locked.code, locked.name, locked.email, pseudonym, entities)
        counts = _take_out(locked, names, by, reason.strip())
        made = Erasure.objects.create(
            resource=locked,
            pseudonym=pseudonym,
            asked_by=by,
            agreed_by=agreed_by,
            reason=reason.strip(),
            at=now(),
            counts=counts,
        )
        audit.record(
            by, "person.forgotten", locked, entity=entities[0] if len(entities) == 1 else None, reason=reason.strip(),
            after={"pseudonym": pseudonym, "agreed_by": agreed_by.get_username(), **counts},
        )  # fmt: skip
    return made


def _refuse_what_is_not_over(resource: Resource) -> None:
    if Erasure.objects.filter(resource=resource).exists():
        raise NotForgotten(f"{resource} is forgotten already.")
    today = now().date()
    if Engagement.objects.filter(resource=resource).exclude(valid_to__lt=today).exists():
        raise NotForgotten(f"{resource} works here by an engagement that is not over; end it first.")
    owed = sql.owed_still(resource.pk)
    if owed:
        raise NotForgotten(f"{owed:,} entries of {resource} are not booked yet; they are booked or cancelled first.")


def _take_out(resource: Resource, names: sql.Names, by: User, reason: str) -> dict[str, int]:
    """Every place at which a name stands, one after the other; how many of each."""
    sql.allow()
    documents = sql.documents_of(names)
    counts = {
        "messages": sql.empty_messages(names, documents),
        "versions": sql.rename_versions(names, documents),
        "foreign_records": sql.rename_foreign(names),
        "sentences": sql.rename_sentences(names),
    }
    resource.code = resource.name = names.pseudonym
    resource.email = ""
    said = f"Pseudonymised on request: {reason}"
    bulk_update_with_reason(Resource, [resource], ["code", "name", "email"], reason=said, actor=by)
    aliases = list(Alias.objects.filter(kind="resource", internal_id=resource.pk))
    for alias in aliases:
        alias.code = f"{names.pseudonym}-{alias.pk}"
    bulk_update_with_reason(Alias, aliases, ["code"], reason=said, actor=by)
    counts["histories"] = sql.rename_history(names)
    return counts
