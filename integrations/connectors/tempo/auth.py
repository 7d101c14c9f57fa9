"""Tempo's two proofs: our token on every call, and its signature over every webhook.

The signature is the hex HMAC-SHA256, under the subscription's shared secret, of the raw body followed by the timestamp header. A
token of OAuth 2.0 is not used: its refresh token changes with every use, and a credential is never written back from here.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

from integrations.errors import Unauthorised
from integrations.http import Outgoing, check_shared_secret
from integrations.protocol import Account

SIGNATURE_HEADER, TIMESTAMP_HEADER = "Tempo-Signature", "Tempo-Timestamp"
HOOK_SECRETS = "webhook_secret"


class TempoAuth:
    """Signs requests with the API token of a user."""

    def __init__(self, account: Account) -> None:
        self.account = account

    def __call__(self, request: Outgoing) -> None:
        """Add the token; raises Unauthorised when the connection has none."""
        token = self.account.secrets.get("token", "")
        if not token:
            raise Unauthorised(f"Connection {self.account.code} has no Tempo API token.")
        request.headers["Authorization"] = f"Bearer {token}"


def check_signature(account: Account, headers: Mapping[str, str], body: bytes) -> None:
    """Check a webhook's signature with every active secret; raises Unauthorised. Each subscription has a secret of its own."""
    stamp = next((value for name, value in headers.items() if name.lower() == TIMESTAMP_HEADER.lower()), "")
    if not stamp:
        raise Unauthorised(f"The {TIMESTAMP_HEADER} header of a webhook is missing.")

    def expected(secret: str) -> str:
        return hmac.new(secret.encode(), body + stamp.encode(), hashlib.sha256).hexdigest()

    check_shared_secret(account, headers, SIGNATURE_HEADER, HOOK_SECRETS, expected)
