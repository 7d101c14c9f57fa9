"""Dynamics 365 Finance's error bodies: an empty code, and an Infolog somewhere inside."""

from __future__ import annotations

from integrations.sandbox.vendor import Response

BUSY = "This request could not be processed at this time due to system experiencing high resource utilization."
_WORDS = {
    401: "Unauthorized",
    403: "The user is not authorized to access this entity.",
    404: "No HTTP resource was found that matches the request URI.",
    429: BUSY,
    500: "An unexpected error has occurred.",
    503: "Service unavailable.",
}


def infolog(kind: str, *words: str) -> Response:
    """A write that failed for table rows of a type, and why."""
    told = "; ".join(f"Error: {word}" for word in words)
    message = f"Write failed for table row of type '{kind}'. Infolog: {told}."
    inner = {
        "message": message,
        "type": "Microsoft.Dynamics.Platform.Integration.Services.OData.ODataArgumentException",
    }
    return Response(
        400,
        {"error": {"code": "", "message": "An error has occurred.", "innererror": {**inner, "stacktrace": "   at …"}}},
    )


def refusal(status: int) -> Response:
    """An error that has nothing to do with the request."""
    words = _WORDS.get(status, f"Error {status}.")
    return Response(status, {"error": {"code": "", "message": words}})
