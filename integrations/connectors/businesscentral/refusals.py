"""What a Business Central error means for us. The table is data; a connection's setting `refusals` goes before it.

Microsoft: Business Central web service error codes. A 409 is not always a stale token, so the code decides and not the status.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from integrations.errors import ConnectorError, InDoubt, Rejected, Unauthorised, Unavailable
from integrations.http.odata import said
from integrations.http.refusals import Pattern, narrowing, own_patterns, patterns

__all__ = ["Pattern", "member", "narrow", "own_patterns"]

# Read from the top; the text matched is "code message".
PATTERNS = patterns(
    ("unavailable", r"Internal_TenantUnavailable|run the data upgrade|deadlock|locked by another|another session"),
    ("in-doubt", r"Internal_ServerError"),
    ("unauthorised", r"Authentication_|Authorization_|Internal_CompanyNotFound|not have the following permissions"),
    ("unauthorised", r"BadRequest_(ResourceNotFound|MethodNotAllowed|MethodNotImplemented)"),
    ("record-changed", r"Request_EntityChanged|Another user has already changed the record"),
    ("duplicate", r"Internal_EntityWithSameKeyExists|already exists\. Identification fields"),
    ("period-closed", r"not within your range of allowed posting dates|(fiscal year|accounting period)\b[^.]*\bclosed"),
    ("text-invalid", r"Application_StringExceededLength|length of the string is"),
    ("unit-unknown", r"field Unit of Measure Code|Resource Unit of Measure|Unit of Measure Code must be equal"),
    (
        "dimension-missing",
        r"Select a Dimension Value|field (Shortcut |Global )?Dimension|dimension\b[^.]*\bblocked",
    ),
    ("task-invalid", r"field (Job|Project) Task No\.|(Job|Project) Task\b"),
    (
        "project-inactive",
        r"\"job(Number|Id)\" does not match"
        r"|field (Job|Project) No\.|\b(Job|Project) \S+ is blocked|Blocked must be equal to [^.]*(Job|Project)",
    ),
    (
        "resource-inactive",
        r"\"employee(Number|Id)\" does not match"
        r"|field No\. of table (Job|Project) Journal Line|Blocked must be equal to [^.]*Resource|Resource\b",
    ),
    ("amount-invalid", r"field (Currency Code|Unit Price|Unit Cost|Quantity)|exchange rate"),
    (
        "schema-changed",
        r"does not exist on type|could not find a property|BadRequest_(InvalidToken|RequiredParam)",
    ),
)
narrow = narrowing(said, PATTERNS)


def member(status: int, body: Any, own: Sequence[Pattern]) -> ConnectorError:
    """The error that one member of a batch means. A batch that failed was rolled back, so nothing of it is in doubt."""
    detail = said(body).detail or f"Business Central answered {status} to one line."
    error: ConnectorError
    if status in (401, 403):
        error = Unauthorised(detail, status=status)
    elif status in (408, 429) or status >= 500:
        error = Unavailable(detail, status=status)
    else:
        error = Rejected(detail, status=status)
    error.body = body
    named = narrow(error, own)
    return Unavailable(detail, status=status) if isinstance(named, InDoubt) else named
