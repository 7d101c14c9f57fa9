"""Stripe's error bodies: `{"error": {"type", "code", "message", "param", "doc_url"}}`."""

from __future__ import annotations

from typing import Any

from integrations.sandbox.vendor import Response

_WORDS = {
    400: ("invalid_request_error", "parameter_invalid_empty", "The request was refused."),
    401: ("invalid_request_error", "", "Invalid API Key provided: sk_test_****"),
    402: ("card_error", "card_declined", "Your card was declined."),
    403: (
        "invalid_request_error", "secret_key_required",
        "The provided key does not have the required permissions for this endpoint.",
    ),
    404: ("invalid_request_error", "resource_missing", "No such object."),
    409: (
        "idempotency_error", "idempotency_key_in_use",
        "There is currently another in-progress request using this Idempotent Key.",
    ),
    429: ("invalid_request_error", "rate_limit", "Request rate limit exceeded."),
}  # fmt: skip


class Refused(Exception):
    """A call that the application answers with no. `kept`: the answer stands under the call's idempotency key."""

    def __init__(self, status: int, code: str, message: str, *, param: str = "", kind: str = "", kept: bool = True):
        super().__init__(message)
        self.status, self.kept = status, kept
        self.body = body(kind or "invalid_request_error", code, message, param)


def body(kind: str, code: str, message: str, param: str = "") -> dict[str, Any]:
    """The body of an error."""
    said: dict[str, Any] = {"type": kind, "message": message}
    if code:
        said |= {"code": code, "doc_url": f"https://stripe.com/docs/error-codes/{code.replace('_', '-')}"}
    if param:
        said["param"] = param
    return {"error": said}


def of_status(status: int) -> Response:
    """What Stripe answers with a status that has nothing to do with the call."""
    kind, code, message = _WORDS.get(status, ("api_error", "", "An unknown error occurred."))
    return Response(status, body(kind, code, message))


def missing(what: str, key: str, param: str = "id") -> Refused:
    """An object that is not there."""
    return Refused(404, "resource_missing", f"No such {what}: '{key}'", param=param)
