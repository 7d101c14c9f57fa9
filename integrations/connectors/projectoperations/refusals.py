"""What a Dataverse error means for us. The table is data; a connection's setting `refusals` goes before it.

Microsoft: Web service error codes. A plug-in's refusal has one code for all (0x80040265), so its text decides.
"""

from __future__ import annotations

from integrations.errors import ConnectorError
from integrations.http.odata import said
from integrations.http.refusals import Pattern, narrowing, own_patterns, patterns

__all__ = ["Pattern", "exists_already", "narrow", "own_patterns"]

# Read from the top; the text matched is "code message".
PATTERNS = patterns(
    ("unavailable", r"0x8007232[126]|0x80044151|0x8005f10[23]|deadlock|database operation timed out"),
    ("unauthorised", r"0x80040220|0x80040225|0x8004d24b|privilege|not a member of the organization"),
    ("record-changed", r"0x80060882|ConcurrencyVersionMismatch"),
    ("duplicate", r"0x80040237|0x80060892|0x80040333|already exists"),
    ("text-invalid", r"0x80044331|exceeded the maximum allowed length"),
    (
        "schema-changed",
        r"0x80048d19|undeclared property|does not exist on type|0x80060888|Resource not found for the segment",
    ),
    ("period-closed", r"\bperiod\b[^.]*\b(closed|not open|on hold)"),
    (
        "record-locked",
        r"(is|been) (approved|locked|submitted)[^.]*(cannot|not be)|read-only|0x8004022e|inactive record",
    ),
    ("task-invalid", r"msdyn_projecttask|project task"),
    ("project-inactive", r"msdyn_project\b|\bproject\b"),
    ("resource-inactive", r"bookableresource\b|bookable resource|team member"),
    ("dimension-missing", r"organi[sz]ational ?unit|resourcing unit|bookableresourcecategory|\brole\b"),
    ("amount-invalid", r"0x80044330|0x8004432f|transactioncurrency|price list|\b(duration|amount|quantity)\b"),
    ("text-invalid", r"msdyn_description"),
)
narrow = narrowing(said, PATTERNS)


def exists_already(error: ConnectorError) -> bool:
    """Whether a record was not made because there is one of its key: the answer to `If-None-Match: *`."""
    return error.status == 412
