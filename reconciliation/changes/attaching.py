"""Files that speak for a change set: attached while it is a draft, frozen with it, read by whoever may see it.

The rule here: who attaches a file has written in the change set, and never decides on it. What was attached is part of what is
decided on; who reads one leaves an event.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TypeVar

from django.db import transaction

from portal import audit, sql
from portal.models import User
from reconciliation.changes.drafting import lock, reached, require_writer
from reconciliation.changes.lines import ChangeRefused
from reconciliation.models import ChangeEditor, ChangeFile, ChangeSet

T = TypeVar("T")
LARGEST = 5 * 1024 * 1024  # bytes
MOST = 10  # files of one change set
KINDS = (".pdf", ".png", ".jpg", ".jpeg", ".csv", ".xlsx", ".docx", ".txt", ".eml", ".msg")


def attach(change_set: ChangeSet, by: User, name: str, content: bytes) -> ChangeFile:
    """Add a file to a draft. Raises ChangeRefused for what cannot be kept, PermissionDenied."""
    short = name.replace("\\", "/").rpartition("/")[2].strip()[:200]
    if not short.lower().endswith(KINDS):
        raise ChangeRefused(f"“{short}” is none of {', '.join(one[1:] for one in KINDS)}.")
    if not content or len(content) > LARGEST:
        raise ChangeRefused(f"“{short}” is empty, or larger than {LARGEST // 1024 // 1024} MB.")

    def add(locked: ChangeSet) -> ChangeFile:
        digest = hashlib.sha256(content).hexdigest()
        if locked.files.count() >= MOST or locked.files.filter(digest=digest).exists():
            raise ChangeRefused(f"“{short}” is attached already, or {MOST} files are.")
        made = ChangeFile.objects.create(
            change_set=locked,
            name=short,
            digest=digest,
            size=len(content),
            content=content,
            added_by=by,
            added_at=sql.now(),
        )
        _tell(locked, by, "change.file-attached", made)
        return made

    return _in_draft(change_set, by, add)


def detach(change_set: ChangeSet, by: User, file_id: int) -> None:
    """Take a file out of a draft. Raises ChangeRefused, PermissionDenied."""

    def take(locked: ChangeSet) -> None:
        found = locked.files.filter(pk=file_id).first()
        if found is None:
            raise ChangeRefused("This file is not attached any more.")
        _tell(locked, by, "change.file-taken-out", found)
        found.delete()

    _in_draft(change_set, by, take)


def read(found: ChangeFile, by: User) -> bytes:
    """What a file holds, and that this person read it."""
    _tell(found.change_set, by, "change.file-read", found)
    return bytes(found.content)


def _in_draft(change_set: ChangeSet, by: User, do: Callable[[ChangeSet], T]) -> T:
    with transaction.atomic():
        locked = lock(change_set)
        if locked.state != ChangeSet.State.DRAFT:
            raise ChangeRefused("Files are attached while it is a draft; edit it first.")
        require_writer(by, locked)
        ChangeEditor.objects.get_or_create(change_set=locked, user=by, defaults={"since": sql.now()})
        return do(locked)


def _tell(change_set: ChangeSet, by: User, action: str, found: ChangeFile) -> None:
    audit.record(
        by,
        action,
        change_set,
        entities=reached(change_set),
        after={"name": found.name, "sha256": found.digest, "bytes": found.size},
    )
