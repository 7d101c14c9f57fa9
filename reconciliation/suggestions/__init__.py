"""What most likely mends a cause, with the evidence for it and against it.

The rule here: a suggestion only proposes. It names a fix or a remedy elsewhere, fills in its form, and a person looks at the
dry-run before anything is done; what is not near enough, or as near as something else, is not filled in.
"""

from __future__ import annotations

from reconciliation.suggestions.offering import SHOWN, Suggestion, of
from reconciliation.suggestions.scoring import NEAR_ENOUGH, SCORED, score_stale

__all__ = ["NEAR_ENOUGH", "SCORED", "SHOWN", "Suggestion", "of", "score_stale"]
