"""Clockify's two proofs: our API key on every call, and its shared token on every webhook.

The token proves the sender and nothing about the body: there is no signature over it, no timestamp and no delivery id. So a
webhook is only ever a hint, and what it names is read again.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping

from integrations.errors import Unauthorised
from integrations.http import Outgoing
from integrations.protocol import Account

SIGNATURE_HEADER = "clockify-signature"
TOKEN_SECRETS = "webhook_token"  # noqa: S105 - the name of the secrets: this one and those that begin with it


class ClockifyAuth:
    """Signs requests with the API key of a user. A second kind of credentials beside it is refused by Clockify."""

    def __init__(self, account: Account) -> None:
        self.account = account

    def __call__(self, request: Outgoing) -> None:
        """Add the key; raises Unauthorised when the connection has none."""
        key = self.account.secrets.get("api_key", "")
        if not key:
            raise Unauthorised(f"Connection {self.account.code} has no Clockify API key.")
        request.headers["X-Api-Key"] = key


def check_token(account: Account, headers: Mapping[str, str]) -> None:
    """Compare a webhook's token with every active one, in constant time; raises Unauthorised.

    Each of Clockify's webhooks has a token of its own, and while one is rotated both are good: every secret whose name begins
    with `webhook_token` is active.
    """
    header = str(account.settings.get("signature_header") or SIGNATURE_HEADER)
    given = next((value for name, value in headers.items() if name.lower() == header.lower()), "")
    active = [token for name, token in account.secrets.items() if name.startswith(TOKEN_SECRETS) and token]
    if not active:
        raise Unauthorised(f"Connection {account.code} has no webhook token, so no webhook can be believed.")
    matches = [hmac.compare_digest(given.encode(), token.encode()) for token in active]
    if not given or not any(matches):
        raise Unauthorised(f"The {header} header of a webhook is {'not ours' if given else 'missing'}.")
