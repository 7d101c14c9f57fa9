"""Tokens for outside programs: shown once, kept only as a digest, scoped to their user's grants, and always with an end."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta

from django.utils import timezone

from portal.models import ApiToken, User

PREFIX = "tieout_"  # so that a leaked one is recognised by scanners
TOUCH_EVERY = timedelta(minutes=5)


def digest_of(token: str) -> str:
    """The SHA-256 under which a token is kept."""
    return hashlib.sha256(token.encode()).hexdigest()


def issue(user: User, name: str, *, days: int = 90, may_decide: bool = False) -> str:
    """Make a token of a user that holds for some days; the answer is the only time it is seen.

    One that `may_decide` does what its user may do by the acts of the API; every other one reads.
    """
    if days < 1:
        raise ValueError(f"A token holds for at least one day, not {days}.")
    token = PREFIX + secrets.token_urlsafe(32)
    ApiToken.objects.create(
        user=user, name=name, digest=digest_of(token), expires_at=timezone.now() + timedelta(days=days),
        may_decide=may_decide,
    )  # fmt: skip
    return token


def revoke(token: ApiToken) -> bool:
    """Let a token open nothing from now on; whether it did until now."""
    return bool(ApiToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=timezone.now()))


def known(token: str) -> ApiToken | None:
    """A token of an active user, while it holds; None otherwise."""
    now = timezone.now()
    found = (
        ApiToken.objects.select_related("user")
        .filter(digest=digest_of(token), expires_at__gt=now, revoked_at=None, user__is_active=True)
        .first()
    )
    if found is not None and (found.last_used_at is None or now - found.last_used_at > TOUCH_EVERY):
        ApiToken.objects.filter(pk=found.pk).update(last_used_at=now)
    return found
