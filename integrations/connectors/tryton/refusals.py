"""What a Tryton error means for us. The table is data; a connection's setting `refusals` goes before it.

Errors come inside a good answer, as [class, [message, description, domain]], and whatever else breaks in a module as [text,
traceback]. The language of our calls is English, so the texts are those of the source.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from integrations.connectors.tryton import assumptions
from integrations.errors import ConnectorError, Rejected, Unauthorised
from integrations.http.recording import Redactor
from integrations.http.refusals import Pattern, Said, narrowed, own_patterns, patterns

__all__ = ["NO_KEYS", "Pattern", "narrow", "of_answer", "own_patterns", "read"]

NO_KEYS = (
    "This Tryton lets nobody write the UUID of a time sheet line from outside, as versions from 8.2 on do not. Without it an "
    "hour whose answer was lost could be booked twice, so none is posted. Post to an 8.0, or let a module of yours allow it."
)
_UUID_REFUSED = r"not allowed to modify the field .UUID|not allowed to (modify|access) .*UUID"

# Read from the top; the text matched is "class message description".
PATTERNS = patterns(
    ("record-changed", r"^ConcurrencyException\b"),
    ("unauthorised", rf"^LoginException\b|{_UUID_REFUSED}"),
    ("duplicate", r"UUID of timesheet line must be unique"),
    ("record-locked", r"because it has been invoiced|because it is posted, paid or cancelled|can not call \"\w+\" on"),
    ("period-closed", r"reopen the period|closed journal-period|(fiscal year|period)\b[^.]*\bclosed|no (open )?period"),
    ("resource-inactive", r"field \"Employee\" in"),
    ("task-invalid", r"field \"Work\" in"),
    ("amount-invalid", r"field \"(Duration|Amount|Currency)\" in|negative duration|duration of .* must be positive"),
    ("text-invalid", r"field \"Description\" in"),
    ("schema-changed", r"^'[\w.]+'|field \"UUID\" in"),
    ("unavailable", r"database is locked|could not serialize|deadlock|lock timeout|server closed the connection"),
    ("unauthorised", r"You are not allowed to"),
)


def read(body: Any) -> Said:
    """The words of an error; empty when there is none."""
    error = body.get("error") if isinstance(body, Mapping) else None
    if not isinstance(error, Sequence) or isinstance(error, str) or not error:
        return Said()
    kind = str(error[0])[: assumptions.DETAIL_LIMIT]
    told = error[1] if len(error) > 1 else ""
    if isinstance(told, Sequence) and not isinstance(told, str):
        message, description = (str(part or "") for part in (*told, "", "")[:2])
    else:  # not one of Tryton's own errors: the traceback behind it is nobody's reading
        message, description = kind, ""
    detail = f"{message} {description}".strip()[: assumptions.DETAIL_LIMIT]
    return Said(kind if message != kind else "", detail, f"{kind} {detail}" if message != kind else kind)


def of_answer(body: Any, redact: Redactor) -> Rejected | None:
    """The refusal in a good answer, with no more of it than is kept; None where there is none."""
    if not isinstance(body, Mapping) or "error" not in body:
        return None
    said = read(redact.parsed(body))
    refused = Rejected(said.detail or "Tryton refused the call without a word.", status=200, vendor_code=said.code)
    refused.body = {"error": [said.code or said.detail, [said.detail, "", None]] if said.code else [said.detail, ""]}
    return refused


def narrow(error: ConnectorError, own: Sequence[Pattern] = (), *, writes: bool = True) -> ConnectorError:
    """The same error, named by what Tryton said."""
    said = read(error.body)
    named = narrowed(error, said, (*own, *PATTERNS), writes=writes)
    if isinstance(named, Unauthorised) and any(p.match.search(said.matched) for p in patterns(("", _UUID_REFUSED))):
        return Unauthorised(NO_KEYS, status=named.status)
    return named
