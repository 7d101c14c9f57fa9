"""What an Infolog of Dynamics 365 Finance means for us. The table is data; a connection's setting `refusals` goes before it.

An error's code is empty, so its text decides: that behind “Infolog:” where there is one. What is answered 400 was rolled back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from integrations.http.refusals import Pattern, Said, narrowing, own_patterns, patterns

__all__ = ["Pattern", "narrow", "own_patterns", "read"]

# Read from the top. Only the words of an update conflict and of throttling are documented; the others are assumptions.
PATTERNS = patterns(
    ("record-changed", r"update conflict occurred"),
    ("unavailable", r"deadlock|high resource utilization|maintenance mode|Cannot edit a record[^.]*locked"),
    ("unauthorised", r"not authorized|insufficient (access|privileges)|access denied"),
    ("duplicate", r"record already exists|duplicate key"),
    (
        "period-closed",
        r"(fiscal |ledger )?period\b[^.]*\b(not open|closed|on hold)|not (within|in) an open period|fiscal calendar",
    ),
    ("record-locked", r"already (been )?posted|journal\b[^.]*\b(is )?(in use|blocked|locked|approved)|workflow"),
    (
        "schema-changed",
        r"property '[^']+' does not exist|could not find a property|No HTTP resource was found|must be filled in",
    ),
    ("task-invalid", r"\bactivity\b|\btask\b"),
    (
        "dimension-missing",
        r"dimension|cost ?cent(er|re)|account structure|related table 'Operating units'",
    ),
    ("project-inactive", r"\bproject\b(?! journal)(?! categor)|\bstage\b"),
    ("resource-inactive", r"\b(resource|worker|personnel|employee)\b"),
    ("amount-invalid", r"\b(currency|exchange rate|sales price|amount|quantity|hours|tax group)\b"),
    ("text-invalid", r"(too long|maximum length|exceeds? (the )?length|\d+ characters)"),
)


def read(body: Any) -> Said:
    """The words of an error body; empty when it is none of the vendor's."""
    error = body.get("error") if isinstance(body, Mapping) else None
    if not isinstance(error, Mapping):
        return Said()
    inner = error.get("innererror")
    told = str(inner.get("message") or "") if isinstance(inner, Mapping) else ""
    message = told or str(error.get("message") or "")
    _, mark, infolog = message.partition("Infolog:")
    words = (infolog if mark else message).strip()
    return Said(str(error.get("code") or ""), words, words)


narrow = narrowing(read, PATTERNS)
