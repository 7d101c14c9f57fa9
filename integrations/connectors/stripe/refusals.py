"""What a Stripe error means for us. The table is data; a connection's setting `refusals` goes before it.

Stripe: error codes. The type `idempotency_error` says that our key was used before, with other content or by a call under way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from integrations.http.refusals import Pattern, Said, narrowing, own_patterns, patterns

__all__ = ["Pattern", "narrow", "own_patterns", "read"]

# Read from the top; the text matched is "type code param message".
PATTERNS = patterns(
    ("unavailable", r"\block_timeout\b|\brate_limit\b"),
    ("in-doubt", r"\bidempotency_key_in_use\b|another in-progress request using this Idempotent Key"),
    ("duplicate", r"^idempotency_error\b|Keys for idempotent requests can only be used"),
    ("unauthorised", r"\b(platform_)?api_key_expired\b|\bsecret_key_required\b|does not have the required permissions"),
    (
        "unauthorised",
        r"exists in (test|live) mode, but a (test|live) mode key|\b(livemode_mismatch|testmode_\w+|account_invalid)\b",
    ),
    ("dimension-missing", r"\btax_rates?\b|\btxr_|\btax_id|\bcustomer_tax_location_invalid\b"),
    ("gone", r"\bresource_missing\b.*\b(customer|invoice)\b"),
    ("record-locked", r"\binvoice_not_editable\b|\binvoice_not_open\b"),
    ("amount-invalid", r"\bamount_too_(small|large)\b|\bcurrency\b|\bcurrencies\b|\bcurrency_mismatch\b|\bdecimal"),
    ("amount-invalid", r"\bparameter_invalid_integer\b|\bcredit_note_amount|\bunit_amount|\bquantity"),
    ("text-invalid", r"\bparameter_invalid_string\b|\bstring_too_long\b|characters|\bemail_invalid\b"),
    ("schema-changed", r"\bparameter_(unknown|missing|invalid_empty)\b|Unrecognized request URL"),
)


def read(body: Any) -> Said:
    """The words of an error body; empty when it is none of Stripe's."""
    error = body.get("error") if isinstance(body, Mapping) else None
    if not isinstance(error, Mapping):
        return Said()
    kind, code, param, message = (str(error.get(name) or "") for name in ("type", "code", "param", "message"))
    return Said(code or kind, message, f"{kind} {code} {param} {message}")


narrow = narrowing(read, PATTERNS)
