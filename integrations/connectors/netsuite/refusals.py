"""What a NetSuite error means for us. The table is data; an account's setting `refusals` goes before it.

The vendor documents few codes for REST, so most of what finance needs is in the text; the names in capitals are those that
the vendor's WSDL uses for the same refusals. A text that no pattern knows is a plain rejection with the vendor's words.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from integrations.http.refusals import Pattern, Said, narrowing, own_patterns, patterns

__all__ = ["Pattern", "narrow", "own_patterns", "read"]

# Read from the top; the text matched is "CODE path detail".
PATTERNS = patterns(
    ("unavailable", r"CONCURRENCY_LIMIT_EXCEEDED|EXCEEDED_MAX_CONCUR_RQST|EXCEEDED_REQUEST_LIMIT|WS_REQUEST_BLOCKED"),
    ("unavailable", r"WS_CONCUR_SESSION_DISALLWD|SSS_REQUEST_LIMIT_EXCEEDED|Concurrent request limit exceeded"),
    ("in-doubt", r"EXCEEDED_MAX_TIME|UNEXPECTED_ERROR"),
    ("unauthorised", r"INVALID_LOGIN|INSUFFICIENT_PERMISSION|Permission Violation|invalid_grant"),
    ("unauthorised", r"Record type '[^']*' does not exist|(Record|Field) '[^']*' (for record '[^']*' )?was not found"),
    ("period-closed", r"CLOSED_TRAN_PRD|ACCTNG_PRD_REQD|DATE_PRD_MISMATCH|INVALID_ACCT_PRD|MISSING_ACCT_PRD"),
    ("period-closed", r"(closed|locked) (accounting |posting )?period|period\b[^.]*\b(closed|locked)"),
    ("record-locked", r"RCRD_LOCKED_BY_WF|CANT_MODIFY_LOCKED_FLD|CANT_MODIFY_APPRVD_TIME"),
    ("record-locked", r"locked by a user defined workflow|already been approved|modify approved"),
    ("record-changed", r"RCRD_HAS_BEEN_CHANGED|CANT_UPDATE_RECRD_HAS_CHANGED|Record has been changed"),
    ("duplicate", r"DUP_RCRD|DUP_ENTITY|DUP_TRANS|DUP_NAME|PMT_ALREADY_EXISTS|CANT_CREATE_NON_UNIQUE_RCRD"),
    ("duplicate", r"record already exists"),
    ("text-invalid", r"memo contained more than the maximum|field 'memo'"),
    ("schema-changed", r"Unknown reference or field"),
    ("task-invalid", r"(field:? '?|value\(s\) for: [^.]*)(casetaskevent|projecttask)"),
    ("resource-inactive", r"(field:? '?|value\(s\) for: [^.]*)(employee|entity)\b"),
    ("project-inactive", r"(field:? '?|value\(s\) for: [^.]*)(\S*\.)?(customer|job)\b|not allowed on this project"),
    ("dimension-missing", r"(field:? '?|value\(s\) for: [^.]*)(\S*\.)?(department|class|location|subsidiary)\b"),
    ("amount-invalid", r"(field:? '?|value\(s\) for: [^.]*)(\S*\.)?(rate|amount|foreignamount|hours|currency)\b"),
    ("schema-changed", r"Please enter value\(s\) for"),
)


def read(body: Any) -> Said:
    """The words of an error body; empty when it is none of NetSuite's."""
    if not isinstance(body, Mapping):
        return Said()
    items: Iterable[Any] = body.get("o:errorDetails") or ()
    details = [item for item in items if isinstance(item, Mapping)]
    if not details:
        code = str(body.get("error") or "")
        return Said(code, code, code)
    texts = [str(item.get("detail") or "") for item in details]
    parts = [
        f"{item.get('o:errorCode') or ''} field '{item.get('o:errorPath')}' {item.get('detail') or ''}"
        if item.get("o:errorPath")
        else f"{item.get('o:errorCode') or ''} {item.get('detail') or ''}"
        for item in details
    ]
    return Said(str(details[0].get("o:errorCode") or ""), " ".join(texts), " ".join(parts))


narrow = narrowing(read, PATTERNS)
