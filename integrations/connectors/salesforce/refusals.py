"""What a Salesforce error means for us. The table is data; a connection's setting `refusals` goes before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from integrations.connectors.salesforce import assumptions
from integrations.errors import ConnectorError, Malformed, Rejected, Unauthorised, Unavailable
from integrations.http.refusals import Pattern, Said, narrowed, own_patterns, patterns

__all__ = ["ROLLED_BACK", "Pattern", "narrow", "of_a_query", "of_a_record", "own_patterns", "read"]

# Read from the top; the text matched is "errorCode message".
PATTERNS = patterns(
    ("unavailable", r"REQUEST_LIMIT_EXCEEDED|UNABLE_TO_LOCK_ROW|QUERY_TIMEOUT|INVALID_QUERY_LOCATOR|UNKNOWN_EXCEPTION"),
    ("unavailable", r"SERVER_UNAVAILABLE|ORG_IN_MAINTENANCE|NOT_ALLOWED_DURING_MAINTENANCE"),
    ("unauthorised", r"INVALID_SESSION_ID|invalid_grant|invalid_client|API_(CURRENTLY_)?DISABLED|INSUFFICIENT_ACCESS"),
    ("unauthorised", r"INVALID_TYPE|INVALID_FIELD\b|Provided external ID field"),
    ("duplicate", r"DUPLICATE_VALUE|DUPLICATE_EXTERNAL_ID|DUPLICATES_DETECTED"),
    ("record-locked", r"ENTITY_IS_LOCKED|RECORD_IN_USE_BY_WORKFLOW|CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY"),
    ("text-invalid", r"STRING_TOO_LONG"),
    ("schema-changed", r"REQUIRED_FIELD_MISSING|MALFORMED_QUERY|JSON_PARSER_ERROR"),
)


ROLLED_BACK = ("ALL_OR_NONE_OPERATION_ROLLED_BACK", "PROCESSING_HALTED")


def read(body: Any) -> Said:
    """The words of an error body: a list of errors, or the one of a token that was not given."""
    if isinstance(body, Mapping) and "error" in body:
        code = str(body["error"])
        return Said(code, str(body.get("error_description") or code), f"{code} {body.get('error_description') or ''}")
    if not isinstance(body, list):
        return Said()
    if body and all(isinstance(item, str) for item in body):  # an answer 300: the records that have one external id
        return Said("DUPLICATE_EXTERNAL_ID", f"Several records have it: {', '.join(body)}", "DUPLICATE_EXTERNAL_ID")
    errors = [item for item in body if isinstance(item, Mapping)]
    codes = [str(item.get("errorCode") or item.get("statusCode") or "") for item in errors]
    texts = [str(item.get("message") or "") for item in errors]
    return Said(
        codes[0] if codes else "", " ".join(texts), " ".join(f"{c} {t}" for c, t in zip(codes, texts, strict=True))
    )


def narrow(error: ConnectorError, own: Sequence[Pattern] = (), *, writes: bool = False) -> ConnectorError:
    """The same error, named by what Salesforce said. The day's limit is waited for; that of calls at once is soon over."""
    said = read(error.body)
    named = narrowed(error, said, (*own, *PATTERNS), writes=writes)
    if isinstance(named, Unavailable) and named.retry_after is None and "REQUEST_LIMIT" in said.matched:
        named.status = 429  # we are told to wait, whatever the status
        named.retry_after = None if "Concurrent" in said.matched else assumptions.LIMIT_AGAIN
    return named


def of_a_record(errors: Any, own: Sequence[Pattern]) -> ConnectorError:
    """The error of one record of a collection or a graph. Two writes of one external id at a time: the later one comes again."""
    said = read(errors)
    error = Rejected(said.detail or "Salesforce refused the record and did not say why.")
    error.body = errors
    named = narrow(error, own, writes=True)
    if (
        isinstance(named, Unauthorised) and "INSUFFICIENT_ACCESS" in said.matched
    ):  # to this record: the others are written
        named = Rejected(said.detail, code="rejected", vendor_code=said.code)
    if not isinstance(named, Rejected) or named.code != "duplicate":
        return named
    if "DUPLICATE_VALUE" in said.matched:
        return Unavailable(said.detail)
    return Rejected(said.detail, code="rejected", vendor_code=said.code)


def of_a_query(error: ConnectorError, own: Sequence[Pattern]) -> ConnectorError:
    """The error of a query of ours: what Salesforce refuses about it is ours to mend."""
    named = narrow(error, own)
    if isinstance(named, Rejected):
        return Malformed(f"Salesforce refused our query: {named.detail}", status=error.status)
    return named
