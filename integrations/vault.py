"""Secrets that people typed: sealed under a ring of keys of their own, opened for a call, never shown.

The rule here: a seal holds for one connection and one name. What was sealed for another does not open, so nobody reads a secret
by pointing somewhere else at it.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.db import transaction

from integrations.models import KeptSecret
from portal.models import User
from portal.sql import now

BATCH = 500


class NoRing(Exception):
    """No secret can be kept: this installation has no ring of keys."""

    def __init__(self) -> None:
        super().__init__("TIEOUT_SECRET_RING is not set, so secrets are not kept here; name where each lies instead.")


class Sealed(Exception):
    """A kept secret cannot be opened; the text says why."""


def is_open() -> bool:
    """Whether secrets can be kept here."""
    return bool(settings.SECRET_RING)


def keep(code: str, name: str, value: str, user: User) -> KeptSecret:
    """Seal a credential of a connection. It does nothing until the connection's credentials name it. Raises NoRing."""
    if not is_open():
        raise NoRing
    envelope = json.dumps({"connection": code, "name": name, "value": value})
    return KeptSecret.objects.create(
        connection_code=code, name=name, sealed=_ring().encrypt(envelope.encode()).decode(), key_id=key_id(),
        kept_by=user, kept_at=now(),
    )  # fmt: skip


def read(number: Any, code: str, name: str) -> str:
    """Open a kept credential of a connection. Raises Sealed."""
    kept = find(number, code, name)
    if kept is None:
        raise Sealed(f"no secret {number} is kept for {name!r} of connection {code}")
    if not is_open():
        raise Sealed("TIEOUT_SECRET_RING is not set")
    try:
        envelope = json.loads(_ring().decrypt(kept.sealed.encode()))
    except InvalidToken:
        raise Sealed(f"no key of TIEOUT_SECRET_RING opens it; it was sealed with key {kept.key_id}") from None
    if (envelope["connection"], envelope["name"]) != (code, name):
        raise Sealed("it was sealed for another connection")
    return str(envelope["value"])


def find(number: Any, code: str, name: str) -> KeptSecret | None:
    """The secret of a number where it was kept for this connection and name."""
    if not isinstance(number, int) or isinstance(number, bool):
        return None
    return KeptSecret.objects.select_related("kept_by").filter(pk=number, connection_code=code, name=name).first()


def rotate() -> Counter[str]:
    """Seal everything under the first key of the ring; how many were sealed again, stood so already, or do not open.

    Raises NoRing.
    """
    if not is_open():
        raise NoRing
    ring, first, counts, last = _ring(), key_id(), Counter[str](), 0
    while True:
        with transaction.atomic():
            rows = list(KeptSecret.objects.select_for_update().filter(pk__gt=last).order_by("pk")[:BATCH])
            turned = []
            for row in rows:
                if row.key_id == first:
                    counts["stood"] += 1
                    continue
                try:
                    row.sealed, row.key_id = ring.rotate(row.sealed.encode()).decode(), first
                except InvalidToken:
                    counts["closed"] += 1
                else:
                    turned.append(row)
            KeptSecret.objects.bulk_update(turned, ["sealed", "key_id"])
            counts["rotated"] += len(turned)
        if not rows:
            return counts
        last = rows[-1].pk


def new_key() -> str:
    """A key for the ring."""
    return Fernet.generate_key().decode()


def key_id(key: str = "") -> str:
    """By what a key is told from another without being told."""
    return hashlib.sha256((key or settings.SECRET_RING[0]).encode()).hexdigest()[:8]


def said(place: Mapping[str, Any], code: str, name: str) -> str:
    """Where a credential lies, in words that tell nothing of it."""
    if "stored" in place:
        kept = find(place["stored"], code, name)
        return f"kept here since {kept.kept_at:%d %b %Y}, by {kept.kept_by}" if kept else "kept nowhere"
    kind, where = next(iter(place.items()), ("", ""))
    return {"env": f"environment variable {where}", "file": f"file {where}"}.get(kind, "nowhere")


def _ring() -> MultiFernet:
    return MultiFernet([Fernet(key) for key in settings.SECRET_RING])
