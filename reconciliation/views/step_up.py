"""Signing in once more before a decision that a session alone may not take."""

from __future__ import annotations

from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpRequest
from django.urls import reverse

from portal import sessions


def lead(request: HttpRequest, limit: str, back: str) -> str:
    """Say why, and give the address where the person signs in again; back where they came from if they cannot."""
    if not sessions.can_sign_in_again(request.user):
        messages.error(
            request,
            f"{limit} You have neither a password nor a second factor to prove that with. "
            "Somebody who has one decides, or an admin gives you a password.",
        )
        return back
    messages.info(request, f"{limit} Sign in once more, then decide.")
    return f"{reverse('account_reauthenticate')}?{urlencode({'next': back})}"
