"""Signing in once more before a decision that a session alone may not take."""

from __future__ import annotations

import json

from allauth.account.internal.flows import reauthentication
from django.contrib import messages
from django.http import HttpRequest
from django.urls import reverse

from portal import sessions


def lead(request: HttpRequest, limit: str, back: str) -> str:
    """Say why, and give the address where the person signs in again; back where they came from if they cannot.

    What they sent is kept in their session meanwhile, and carried out once they have proved who they are.
    """
    if not sessions.can_sign_in_again(request.user):
        messages.error(
            request,
            f"{limit} You have neither a password nor a second factor to prove that with. "
            "Somebody who has one decides, or an admin gives you a password.",
        )
        return back
    messages.info(request, f"{limit} Sign in once more; what you decided is carried out then.")
    url = str(reauthentication.suspend_request(request, reverse("account_reauthenticate")).url)
    _keep_what_matters(request)
    return url


def _keep_what_matters(request: HttpRequest) -> None:
    """What was sent, without the cookies, and not as a part of a page: the answer to it comes as a whole one."""
    kept = request.session.get(reauthentication.STATE_SESSION_KEY, {})
    if "request" in kept:
        sent = json.loads(kept["request"])
        sent["META"] = {
            name: value for name, value in sent["META"].items() if not name.startswith(("HTTP_HX_", "HTTP_COOKIE"))
        }
        request.session[reauthentication.STATE_SESSION_KEY] = {"request": json.dumps(sent)}
