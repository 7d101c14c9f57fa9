"""A person asks to be forgotten: pseudonymised for good by two people, while money, keys and digests stay as proof.

The rule here: nobody is forgotten while their work is on its way, nothing but names goes, and what is carried out is what the
second person was shown. What the chain of decisions says
stays as it was said: it is kept to establish and to defend claims, and every change of it would break the proof.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import IntegrityError, transaction
from django.urls import reverse

from integrations.sql import forgetting as sql
from portal import access, audit, notifications
from portal.history import bulk_update_with_reason
from portal.models import Alias, Engagement, Erasure, ErasureRequest, LegalEntity, NotificationKind, Resource, User
from portal.sql import now
from reconciliation.changes import SignInAgain
from reconciliation.changes.measuring import rolled_back

Asked = ErasureRequest.State
EVERYWHERE: list[int | None] = [None]  # where a person without an engagement is known


class NotForgotten(Exception):
    """Why a person cannot be forgotten now; the sentence says what stands in the way."""


class EffectMoved(NotForgotten):
    """It would do something else by now than was shown; the new effect is kept for the next look."""


def forget(resource: Resource, *, by: User, agreed_by: User, reason: str) -> Erasure:
    """Pseudonymise a person wherever they are named. Cannot be undone. Raises NotForgotten, PermissionDenied."""
    if not reason.strip():
        raise NotForgotten("Say on what request; it is kept with the record that it was done.")
    if by == agreed_by:
        raise NotForgotten("Two people do this: one asks, another agrees.")
    with _refusals_told(), transaction.atomic():
        locked = _locked(resource)
        entities = _entities(locked)
        for person in (by, agreed_by):
            _require(person, entities)
        return _carry_out(locked, entities, by=by, agreed_by=agreed_by, reason=reason.strip())


def ask(resource: Resource, *, by: User, reason: str) -> ErasureRequest:
    """Ask that a person be forgotten, with what it would do counted by doing it and undoing all of it. Audited.

    Raises NotForgotten, PermissionDenied.
    """
    if not reason.strip():
        raise NotForgotten("Say on what request; it is kept with the record that it was done.")
    with _refusals_told(), transaction.atomic():
        locked = _locked(resource)
        entities = _entities(locked)
        _require(by, entities)
        if ErasureRequest.objects.filter(resource=locked, state=Asked.WAITING).exists():
            raise NotForgotten("A request of this person waits for a second person already.")
        _refuse_what_is_not_over(locked)
        made = ErasureRequest.objects.create(
            resource=locked,
            entities=entities,
            reason=reason.strip(),
            shown=effect(locked, by),
            asked_by=by,
            asked_at=now(),
        )
        audit.record(by, "forgetting.asked", made, entities=_of(entities), reason=reason.strip(), after=made.shown)
        _ask_who_may_decide(made)
    return made


def effect(resource: Resource, by: User) -> dict[str, int]:
    """How much would be pseudonymised, counted by doing it in a transaction that is rolled back."""
    with rolled_back():
        person = Resource.objects.get(pk=resource.pk)
        return _take_out(person, _names(person, _entities(person)), by, "dry-run")


def agree(request: ErasureRequest, *, by: User, comment: str = "", signed_in_again: bool = False) -> Erasure:
    """Agree to a request as the person read it, and carry it out. Cannot be undone. Audited.

    Raises SignInAgain unless the person has just signed in, NotForgotten (also where who asked may not ask for it any more),
    EffectMoved where it would do something else than was shown, PermissionDenied.
    """
    moved = False
    with _refusals_told(), transaction.atomic():
        locked = _to_decide(request, by)
        if (locked.shown, locked.entities) != (request.shown, request.entities):
            raise EffectMoved("What it does was counted anew since you looked at it; look at it again.")
        if not signed_in_again:
            raise SignInAgain("Nobody can undo it.")
        resource = _locked(locked.resource)
        _refuse_what_is_not_over(resource)
        counted, entities = effect(resource, by), _entities(resource)
        _refuse_an_asker_without_the_role(locked, entities)
        moved = (counted, entities) != (locked.shown, locked.entities)
        if moved:
            reaches_others = entities != locked.entities
            locked.shown, locked.entities = counted, entities
            locked.save(update_fields=["shown", "entities"])
            if reaches_others:
                _ask_who_may_decide(locked)
        else:
            locked.erasure = _carry_out(
                resource, locked.entities, by=locked.asked_by, agreed_by=by, reason=locked.reason, of=locked
            )
            _decided(locked, Asked.DONE, by, comment)
    request.refresh_from_db()
    if moved:
        raise EffectMoved("It would do something else by now than was shown. Nothing was done; look at it again.")
    return Erasure.objects.get(request=request)


def refuse(request: ErasureRequest, *, by: User, comment: str) -> None:
    """Do not agree, and say why. Audited. Raises NotForgotten, PermissionDenied."""
    if not comment.strip():
        raise NotForgotten("Say why; whoever asked reads it.")
    with transaction.atomic():
        locked = _to_decide(request, by)
        _decided(locked, Asked.REFUSED, by, comment)
        audit.record(by, "forgetting.refused", locked, entities=_of(locked.entities), reason=comment.strip())
    request.refresh_from_db()


def take_back(request: ErasureRequest, *, by: User, comment: str) -> None:
    """Whoever asked takes it back. Audited. Raises NotForgotten."""
    with transaction.atomic():
        locked = _waiting(request)
        if locked.asked_by_id != by.pk:
            raise NotForgotten("Only who asked takes it back.")
        _decided(locked, Asked.WITHDRAWN, by, comment)
        audit.record(by, "forgetting.withdrawn", locked, entities=_of(locked.entities), reason=comment.strip())
    request.refresh_from_db()


def why_not(request: ErasureRequest, user: User) -> str:
    """Why a person may not decide on a request that waits, in a sentence; empty where they may."""
    if request.asked_by_id == user.pk:
        return "You asked for it; somebody else decides."
    if not ErasureRequest.objects.to_decide(user, access.CONFIGURERS).filter(pk=request.pk).exists():
        return "An admin or controller of every entity in which the person worked decides."
    return ""


def may_ask(resource: Resource, user: User) -> bool:
    """Whether a person may ask that this one be forgotten."""
    return all(access.may(user, access.CONFIGURERS, entity_id) for entity_id in _entities(resource) or EVERYWHERE)


def _to_decide(request: ErasureRequest, by: User) -> ErasureRequest:
    locked = _waiting(request)
    if locked.asked_by_id == by.pk:
        raise NotForgotten("Two people do this: one asks, another agrees.")
    _require(by, locked.entities)
    return locked


def _waiting(request: ErasureRequest) -> ErasureRequest:
    locked = ErasureRequest.objects.select_for_update(of=("self",), no_key=True).select_related("resource", "asked_by")
    found = locked.get(pk=request.pk)
    if found.state != Asked.WAITING:
        raise NotForgotten(f"It does not wait any more: {found.get_state_display().lower()}.")
    return found


def _decided(locked: ErasureRequest, state: str, by: User, comment: str) -> None:
    locked.state, locked.decided_by, locked.decided_at, locked.comment = state, by, now(), comment.strip()
    locked.save()
    notifications.answered(reverse("erasure", args=[locked.pk]))
    people = [locked.asked_by, *_who_may_decide(locked)]
    _tell(locked, people, NotificationKind.FINISHED, f"{Asked(state).label} by {by}", by=by, note=comment.strip())


def _ask_who_may_decide(locked: ErasureRequest) -> None:
    people = _who_may_decide(locked)
    _tell(locked, people, NotificationKind.APPROVAL, "Waits for you", by=locked.asked_by, note=locked.reason)


def _who_may_decide(locked: ErasureRequest) -> list[User]:
    """Those who hold the role wherever the person worked, and did not ask."""
    everywhere = [set(access.holders(access.CONFIGURERS, entity)) for entity in _of(locked.entities)]
    return sorted(set.intersection(*everywhere) - {locked.asked_by}, key=str)


def _tell(
    locked: ErasureRequest, people: list[User], kind: NotificationKind, what: str, *, by: User, note: str
) -> None:
    """Say what became of a request, and not of whom: a notice is no place for the name of somebody who is to be forgotten."""
    notifications.notify(
        people, kind, f"{what}: request {locked.pk} to forget a person", url=reverse("erasure", args=[locked.pk]),
        entity=_of(locked.entities)[0], by=by, note=note, key=f"erasure:{locked.pk}:{what}:{len(locked.entities)}",
    )  # fmt: skip


def _refuse_an_asker_without_the_role(locked: ErasureRequest, entities: list[int]) -> None:
    """Who asked must hold the role wherever the person worked as is known now, not only as it was known then."""
    asker = locked.asked_by
    for entity_id in _of(entities):
        if not access.may(asker, access.CONFIGURERS, entity_id):
            where = "every entity" if entity_id is None else LegalEntity.objects.get(pk=entity_id).code
            raise NotForgotten(
                f"{asker}, who asked, is no admin or controller of {where} today, and the person worked there. "
                "Refuse this request; somebody of all these entities asks anew."
            )


def _locked(resource: Resource) -> Resource:
    return Resource.objects.select_for_update(no_key=True).get(pk=resource.pk)


def _entities(resource: Resource) -> list[int]:
    return sorted(set(Engagement.objects.filter(resource=resource).values_list("entity_id", flat=True)))


def _of(entities: list[int]) -> list[int | None]:
    """The entities of a decision about a person who worked in these."""
    return [*entities] or EVERYWHERE


@contextmanager
def _refusals_told() -> Iterator[None]:
    """What the database refuses is told as what stands in the way; nothing of it was done. Raises NotForgotten."""
    try:
        yield
    except IntegrityError as refusal:
        said = str(refusal).partition("\n")[0]
        raise NotForgotten(f"What is kept as proof stands in the way, and nothing was done: {said}.") from refusal


def _require(person: User, entities: list[int]) -> None:
    for entity_id in entities or EVERYWHERE:
        access.require(person, access.CONFIGURERS, entity_id)


def _names(resource: Resource, entities: list[int]) -> sql.Names:
    return sql.Names(resource.pk, resource.code, resource.name, resource.email, f"P-{resource.pk:06d}", entities)


def _carry_out(
    locked: Resource, entities: list[int], *, by: User, agreed_by: User, reason: str, of: ErasureRequest | None = None
) -> Erasure:
    """Take the names out, and keep who asked, who agreed and how much it was. The person is locked."""
    _refuse_what_is_not_over(locked)
    names = _names(locked, entities)
    counts = _take_out(locked, names, by, reason)
    made = Erasure.objects.create(
        resource=locked,
        pseudonym=names.pseudonym,
        asked_by=by,
        agreed_by=agreed_by,
        reason=reason,
        at=now(),
        counts=counts,
    )
    audit.record(
        agreed_by if of else by, "person.forgotten", locked, entities=_of(entities), reason=reason,
        after={
            "pseudonym": names.pseudonym, "asked_by": by.get_username(), "agreed_by": agreed_by.get_username(),
            **({"request": of.pk} if of else {}), **counts,
        },
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
