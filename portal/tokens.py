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


def issue(user: User, name: str, *, days: int = 90) -> str:
    """Make a token of a user that holds for some days; the answer is the only time it is seen."""
    if days < 1:
        raise ValueError(f"A token holds for at least one day, not {days}.")
    token = PREFIX + secrets.token_urlsafe(32)
    ApiToken.objects.create(
        user=user, name=name, digest=digest_of(token), expires_at=timezone.now() + timedelta(days=days)
    )
    return token


def revoke(token: ApiToken) -> bool:
    """Let a token open nothing from now on; whether it did until now."""
    return bool(ApiToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=timezone.now()))


def holder(token: str) -> User | None:
    """The active user whose token this is, while it holds; None otherwise."""
    now = timezone.now()
    known = (
        ApiToken.objects.select_related("user")
        .filter(digest=digest_of(token), expires_at__gt=now, revoked_at=None, user__is_active=True)
        .first()
    )
    if known is None:
        return None
    if known.last_used_at is None or now - known.last_used_at > TOUCH_EVERY:
        ApiToken.objects.filter(pk=known.pk).update(last_used_at=now)
    return known.user
