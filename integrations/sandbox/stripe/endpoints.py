"""Webhook endpoints, and how deliveries are signed: hex HMAC-SHA256 over the moment and the raw body, by every secret."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from integrations.sandbox.stripe.forms import allowed
from integrations.sandbox.stripe.records import Record, Records, described


class Endpoints:
    """What is done about webhook endpoints. A secret is shown once, when its endpoint is made."""

    def __init__(self, records: Records) -> None:
        self.records = records

    def make(self, form: Mapping[str, Any]) -> Record:
        """POST /v1/webhook_endpoints."""
        allowed(form, "api_version description connect", required="url enabled_events")
        secret = str((form.get("metadata") or {}).get("secret") or f"whsec_{secrets.token_hex(16)}")
        made = self.records.add(
            "webhook_endpoints",
            {
                "object": "webhook_endpoint", "url": form["url"], "enabled_events": form["enabled_events"], "status": "enabled",
                "api_version": form.get("api_version"), "_secrets": [secret], **described(form, "description"),
            },
        )  # fmt: skip
        return {**made, "secret": secret}

    def change(self, form: Mapping[str, Any], key: str) -> Record:
        """POST /v1/webhook_endpoints/{id}."""
        allowed(form, "url enabled_events description disabled")
        known = self.records.one("webhook_endpoints", key)
        changes = described(form, "url enabled_events description")
        if "disabled" in form:
            changes["status"] = "disabled" if form["disabled"] == "true" else "enabled"
        return self.records.change("webhook_endpoints", known["id"], **changes)

    def roll(self, key: str, secret: str) -> None:
        """A second secret beside the one that ends."""
        known = self.records.one("webhook_endpoints", key)
        self.records.change("webhook_endpoints", key, _secrets=[*known["_secrets"], secret])


def signature(active: Sequence[str], body: str, stamp: int) -> str:
    """The header of a delivery."""
    signed = f"{stamp}.{body}".encode()
    proofs = [hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest() for secret in active]
    return ",".join([f"t={stamp}", *(f"v1={proof}" for proof in proofs)])
