"""What a NetSuite error means for us. The table is data; an account's setting `refusals` goes before it.

The vendor documents few codes for REST, so most of what finance needs is in the text; the names in capitals are those that
the vendor's WSDL uses for the same refusals. A text that no pattern knows is a plain rejection with the vendor's words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from integrations.errors import (
    REJECTION_CODES,
    ConnectorError,
    InDoubt,
    Malformed,
    Rejected,
    Unauthorised,
    Unavailable,
)


@dataclass(frozen=True, slots=True)
class Pattern:
    """Texts that mean one thing. `means` is a rejection code, or the word for one of the other errors."""

    match: re.Pattern[str]
    means: str


_KINDS: Mapping[str, type[ConnectorError]] = {
    "unavailable": Unavailable,
    "in-doubt": InDoubt,
    "unauthorised": Unauthorised,
}


def _patterns(*rows: tuple[str, str]) -> tuple[Pattern, ...]:
    return tuple(Pattern(re.compile(match, re.IGNORECASE), means) for means, match in rows)


# Read from the top; the text matched is "CODE path detail".
PATTERNS = _patterns(
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


@dataclass(frozen=True, slots=True)
class Said:
    """What an error body says: the vendor's code, its text for people, and everything to match on."""

    code: str = ""
    detail: str = ""
    matched: str = ""


def own_patterns(rows: Sequence[Mapping[str, str]]) -> tuple[Pattern, ...]:
    """An account's own patterns from its settings: [{"match": "...", "means": "period-closed"}, ...]. Raises Malformed."""
    found = []
    for row in rows:
        means = row.get("means", "")
        if means not in REJECTION_CODES and means not in _KINDS:
            raise Malformed(f"The setting refusals has {means!r}; know {', '.join((*REJECTION_CODES, *_KINDS))}.")
        try:
            found.append(Pattern(re.compile(row["match"], re.IGNORECASE), means))
        except (re.error, KeyError) as error:
            raise Malformed(f"The setting refusals has a pattern that cannot be read: {error}.") from None
    return tuple(found)


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


def narrow(error: ConnectorError, own: Sequence[Pattern] = (), *, writes: bool = True) -> ConnectorError:
    """The same error, named by what NetSuite said: a rejection with its code, or one of the other kinds.

    Nothing is in doubt after a read, so what would be is merely not available.
    """
    said = read(error.body)
    if not said.matched or not isinstance(error, Rejected | Unauthorised):
        return error
    means = next((p.means for p in (*own, *PATTERNS) if p.match.search(said.matched)), "rejected")
    narrowed: ConnectorError
    if means == "in-doubt" and not writes:
        narrowed = Unavailable(said.detail, status=error.status)
    elif means in _KINDS:
        narrowed = _KINDS[means](said.detail, status=error.status)
    elif isinstance(error, Unauthorised):
        narrowed = Unauthorised(said.detail, status=error.status)
    else:
        narrowed = Rejected(said.detail, status=error.status, code=means, vendor_code=said.code)
    narrowed.body, narrowed.headers = error.body, error.headers
    return narrowed
