"""The tables of finance's desk: causes, the entries that one holds, and the rows of operations."""

from __future__ import annotations

from reconciliation.tables.causes import (
    CASE_TONES,
    CaseExport,
    CaseTable,
    estimates_of,
    short_title_of,
    title_of,
    tone_of,
    totals_of,
    way_of,
)
from reconciliation.tables.entries import (
    BriefHeld,
    BriefPreview,
    HeldTable,
    OperationRowTable,
    PreviewTable,
    SelectableHeld,
)

__all__ = [
    "CASE_TONES",
    "BriefHeld",
    "BriefPreview",
    "CaseExport",
    "CaseTable",
    "HeldTable",
    "OperationRowTable",
    "PreviewTable",
    "SelectableHeld",
    "estimates_of",
    "short_title_of",
    "title_of",
    "tone_of",
    "totals_of",
    "way_of",
]
