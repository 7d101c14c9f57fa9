"""Dataverse's error bodies."""

from __future__ import annotations

from integrations.sandbox.vendor import Response

_WORDS = {
    401: ("", "The access token is invalid or has expired."),
    403: ("0x80040220", "SecLib::AccessCheckEx failed. Principal user is missing prvReadmsdyn_timeentry privilege."),
    404: ("0x80040217", "The entity was not found."),
    412: ("0x80060882", "A record with matching key values already exists."),
    429: ("0x80072322", "Number of requests exceeded the limit of 6000 over time window of 300 seconds."),
    500: ("0x80040216", "An unexpected error occurred."),
    503: ("0x8005F103", "The server is unavailable."),
}


def error(status: int, code: str, message: str) -> Response:
    """The documented body, with its versions of the protocol."""
    return Response(status, {"error": {"code": code, "message": message}}, {"OData-Version": "4.0"})


def refusal(status: int) -> Response:
    """An error that has nothing to do with the request."""
    return error(status, *_WORDS.get(status, ("0x80040216", f"Error {status}.")))
