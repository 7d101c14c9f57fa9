"""The vendor's error bodies. The status and the `o:errorCode` of each text are documented, recorded, or marked as our reading."""

from __future__ import annotations

from typing import Any

from integrations.sandbox.vendor import Response

_TITLES = {
    400: ("15.5.1", "Bad Request"), 401: ("15.5.2", "Unauthorized"), 403: ("15.5.4", "Forbidden"),
    404: ("15.5.5", "Not Found"), 409: ("15.5.10", "Conflict"), 429: ("15.5.x", "Too Many Requests"),
    500: ("15.6.1", "Internal Server Error"), 503: ("15.6.4", "Service Unavailable"),
}  # fmt: skip
_CODES = {
    400: ("INVALID_REQUEST", "Invalid request."),
    401: ("INVALID_LOGIN", "Invalid login attempt. For more details, see the Login Audit Trail."),
    403: ("INSUFFICIENT_PERMISSION", "Permission Violation: you need a higher permission to access this page."),
    404: ("NONEXISTENT_ID", "The record instance does not exist. Provide a valid record instance ID."),
    409: ("CONFLICT", "The request conflicts with another one."),
    429: ("CONCURRENCY_LIMIT_EXCEEDED", "Concurrent request limit exceeded. Request blocked."),
    500: ("UNEXPECTED_ERROR", "An unexpected error occurred. Error ID: lx7q2k9v1b8tq5c"),
    503: ("SERVICE_UNAVAILABLE", "The service is temporarily unavailable."),
}


class RefusedError(Exception):
    """A request that the vendor answers with an error."""

    def __init__(self, detail: str, *, status: int = 400, code: str = "USER_ERROR", **locators: str) -> None:
        super().__init__(detail)
        self.response = refusal(status, code, detail, **locators)


def refusal(status: int, code: str, detail: str, *, title: str = "", **locators: str) -> Response:
    """An error answer; `locators` are o:errorPath, o:errorQueryParam, o:errorHeader or o:errorUrl without their prefix."""
    section, standard = _TITLES.get(status, ("15", "Error"))
    item: dict[str, Any] = {"detail": detail, **{f"o:{name}": value for name, value in locators.items()}}
    body = {
        "type": f"https://www.rfc-editor.org/rfc/rfc9110.html#section-{section}",
        "title": title or standard,
        "status": status,
        "o:errorDetails": [{**item, "o:errorCode": code}],
    }
    return Response(status, body, {"Content-Type": "application/vnd.oracle.resource+json; type=error; charset=UTF-8"})


def standard(status: int) -> Response:
    """The error body that a status usually comes with."""
    code, detail = _CODES.get(status, ("UNEXPECTED_ERROR", f"Error {status}."))
    return refusal(status, code, detail)
