"""Business Central's error bodies."""

from __future__ import annotations

from integrations.sandbox.vendor import Response

_WORDS = {
    401: ("Authentication_InvalidCredentials", "The server has rejected the client credentials."),
    403: ("Authorization_RequestDenied", "Insufficient privileges to complete the operation."),
    404: ("BadRequest_ResourceNotFound", "The resource was not found."),
    408: ("Unknown", "The operation was canceled because it took longer than 8 minutes."),
    409: ("Request_EntityChanged", "Another user has already changed the record."),
    429: ("Unknown", "Too many requests reached. Actual (6001). Maximum (6000)."),
    500: ("Internal_ServerError", "An error occurred while the SQL connection was used."),
    503: ("Internal_TenantUnavailable", "The tenant 'contoso' is not accessible."),
}


def error(status: int, code: str, message: str) -> Response:
    """The documented body, with the correlation id that support asks for."""
    correlation = "  CorrelationId:  2c074c12-0002-4000-8000-000000000002."
    return Response(status, {"error": {"code": code, "message": f"{message}{correlation}"}})


def refusal(status: int) -> Response:
    """An error that has nothing to do with the request."""
    return error(status, *_WORDS.get(status, ("Unknown", f"Error {status}.")))
