"""Master data by file: kept as it came, its columns matched, checked row by row, compared with what stands, drafted as a change.

The rule here: a file never writes master data. It becomes a draft change set as a whole, or nothing; a second time it changes
nothing.
"""

from reconciliation.imports.checking import Checked, CheckedRow, check, held, samples
from reconciliation.imports.drafting import discard, draft, kinds_of, likelier_kind, match_columns, receive, remembered

__all__ = [
    "Checked",
    "CheckedRow",
    "check",
    "discard",
    "draft",
    "held",
    "kinds_of",
    "likelier_kind",
    "match_columns",
    "receive",
    "remembered",
    "samples",
]
