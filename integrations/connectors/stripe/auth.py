"""Stripe's two proofs: our secret key with the version that pins its answers, and its signature over every webhook.

`Stripe-Signature: t=<seconds>,v1=<hex>[,v1=<hex>]`, where v1 is the HMAC-SHA256 of `t.body` under the endpoint's whole secret.
While a secret is rolled over Stripe signs with both; any one that holds will do.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping

from integrations.errors import Unauthorised
from integrations.http import Outgoing, check_shared_secret
from integrations.protocol import Account

API_VERSION = "2026-10-28.endive"
SIGNATURE = "Stripe-Signature"
HOOK_SECRETS = "webhook_secret"
TOLERANCE = 300  # seconds between the signature and our clock, in either direction


class StripeAuth:
    """Signs requests with the account's secret key, and names the version in which answers are written."""

    def __init__(self, account: Account) -> None:
        self.account = account

    def __call__(self, request: Outgoing) -> None:
        """Add key and version; raises Unauthorised when the connection has none."""
        key = self.account.secrets.get("api_key", "")
        if not key:
            raise Unauthorised(f"Connection {self.account.code} has no secret key of Stripe.")
        request.headers["Authorization"] = f"Bearer {key}"
        request.headers["Stripe-Version"] = API_VERSION


def check_signature(account: Account, headers: Mapping[str, str], body: bytes) -> None:
    """Check a webhook with every active secret; raises Unauthorised for one that is forged, or too old or too new."""
    header = next((value for name, value in headers.items() if name.lower() == SIGNATURE.lower()), "")
    parts = [part.strip().partition("=") for part in header.split(",")]
    stamp = next((value for name, _, value in parts if name == "t"), "")
    proofs = [value for name, _, value in parts if name == "v1"]
    if not (stamp.isascii() and stamp.isdigit() and proofs):
        raise Unauthorised(f"The {SIGNATURE} header of a webhook is missing or has neither a moment nor a proof.")

    def expected(secret: str) -> str:
        return hmac.new(secret.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()

    refused: Unauthorised | None = None
    for proof in proofs:
        try:
            check_shared_secret(account, {SIGNATURE: proof}, SIGNATURE, HOOK_SECRETS, expected)
        except Unauthorised as error:
            refused = error
        else:
            refused = None
            break
    if refused is not None:
        raise refused
    if abs(time.time() - int(stamp)) > TOLERANCE:
        raise Unauthorised(f"A webhook was signed more than {TOLERANCE} seconds away from our clock.")
