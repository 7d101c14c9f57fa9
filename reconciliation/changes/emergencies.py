"""An emergency: one person applies it at once, as its page showed it, and another reviews it afterwards.

The rule here: it lacks the second person and nothing else. It is seen before it goes, and everybody who could have decided is
told.
"""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import transaction

from portal import access, audit
from portal.models import User
from reconciliation.changes import telling
from reconciliation.changes.deciding import (
    Moved,
    SignInAgain,
    bound,
    moved_figures,
    moved_since,
    refuse_what_was_not_seen,
)
from reconciliation.changes.drafting import (
    fits,
    freeze,
    hash_of,
    is_due,
    is_editor,
    lock,
    look,
    reached,
    require_writer,
    told,
)
from reconciliation.changes.lines import ChangeRefused
from reconciliation.models import ChangeSet

State = ChangeSet.State


def declare_emergency(change_set: ChangeSet, by: User, *, content: str, signed_in_again: bool = False) -> ChangeSet:
    """One person lets an emergency go at once: everybody who could have decided is told, and one of them reviews it.

    It goes as its page showed it: `content` is the digest of its lines there, `change_set.fingerprint` that of the dry-run. A
    draft without a dry-run gets it and stays a draft. One that reaches too many entries to be looked at while the person waits
    is submitted only: a worker makes its dry-run, and the person lets it go then, unless somebody approved it before. Raises
    Moved where the dry-run says something else by now (the new one is kept), SignInAgain unless the person has just
    signed in, whatever the money; ChangeRefused where its content is another, it has a later day, changes the person's own
    rights, or would be reviewed by nobody.
    """
    if not signed_in_again:
        raise SignInAgain("An emergency change needs a sign-in of this moment.")
    with transaction.atomic():
        locked = lock(change_set)
        _refuse_no_emergency(locked, by)
        if hash_of(locked) != content:
            raise ChangeRefused("It is not what you looked at any more; read it again.")
        if locked.state == State.SUBMITTED or locked.previewed_at is not None:
            refuse_what_was_not_seen(locked, change_set)
        moved = _freeze_as_shown(locked, by) if locked.state == State.DRAFT else ""
        if by.get_username() in telling.whose_rights(locked):
            raise ChangeRefused("It changes your own rights; somebody else declares it.")
        if not telling.deciders(locked):
            raise ChangeRefused(
                "Nobody else may decide on it, so nobody could review it; ask an admin for a second person."
            )
        if locked.state == State.SUBMITTED and locked.previewed_at is None:
            telling.to_decide(locked, by)
        elif locked.state == State.SUBMITTED:
            locked.state, locked.submitted_by = State.APPROVED, by
            locked.save(update_fields=["state", "submitted_by"])
            audit.record(
                by, "change.emergency", locked, entities=reached(locked), reason=locked.reason, after=told(locked)
            )
            telling.alarm(locked, by)
    change_set.refresh_from_db()
    if moved:
        raise Moved(moved)
    return change_set


def _freeze_as_shown(locked: ChangeSet, by: User) -> str:
    """Freeze a draft whose dry-run was shown and holds; why not, where it says something else by now, in a sentence.

    One that nobody looked at stays a draft with its dry-run, unless that is left to a worker.
    """
    moved = ""
    if locked.previewed_at is None:
        is_shown = not fits(bound(locked).written)  # a worker shows it once it is submitted
    else:
        moved = moved_figures(locked) if moved_since(locked) is not None else ""
        is_shown = not moved
    if is_shown:
        freeze(locked, by)
        return ""
    if not moved:
        look(locked)
    locked.save(update_fields=["preview", "previewed_at", "fingerprint"])
    return moved


def may_declare(change_set: ChangeSet, user: Any) -> bool:
    """Whether a person may let an emergency go at once, as its page shows it."""
    if change_set.state == State.SUBMITTED and change_set.previewed_at is None:
        return False
    try:
        _refuse_no_emergency(change_set, user)
    except (ChangeRefused, PermissionDenied):
        return False
    return True


def _refuse_no_emergency(locked: ChangeSet, by: User) -> None:
    """Raise ChangeRefused or PermissionDenied where one person may not let it go alone."""
    if locked.state not in (State.DRAFT, State.SUBMITTED) or not locked.is_emergency:
        raise ChangeRefused("Only a draft that was written as an emergency is applied without a second person.")
    require_writer(by, locked)
    if locked.state == State.SUBMITTED and not is_editor(locked, by):
        raise ChangeRefused("Who did not write it decides on it as on any other.")
    roles = telling.deciding_roles(locked)
    for entity_id in locked.entities.values_list("pk", flat=True):
        access.require(by, roles, entity_id)
    if locked.is_shared:
        access.require(by, roles, None)
    if not is_due(locked):
        raise ChangeRefused("An emergency takes effect at once; what has a later day can wait for a second person.")
