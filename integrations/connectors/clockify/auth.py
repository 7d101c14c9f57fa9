"""Clockify's two proofs: our API key on every call, and its shared token on every webhook.

The token proves the sender and nothing about the body: there is no signature over it, no timestamp and no delivery id. So a
webhook is only ever a hint, and what it names is read again.
"""

from __future__ import annotations

from collections.abc import Mapping

from integrations.errors import Unauthorised
from integrations.http import Outgoing, check_shared_secret
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
    """Compare a webhook's token with every active one; raises Unauthorised. Each of Clockify's webhooks has its own."""
    header = str(account.settings.get("signature_header") or SIGNATURE_HEADER)
    check_shared_secret(account, headers, header, TOKEN_SECRETS)
