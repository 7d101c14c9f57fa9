"""What people decided about differences, carried on into the next rehearsal of the same month while a difference is the same.

The rule here: the same means the same work, the same booking and the same figures, stopped by the same sentence. Anything else is
another difference and asks again. A decision that is carried on keeps its person, its moment and its reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reconciliation.models import Rehearsal, RehearsedLine

State = Rehearsal.State
_SAME = (
    "leg", "outcome", "confidence", "kind", "document_id", "target_id", "number", "work_date", "person", "project",
    "hours_left", "hours_right", "amount_left", "amount_right", "currency", "rule", "sentence",
)  # fmt: skip


def carry_on(found: Rehearsal, lines: Sequence[RehearsedLine]) -> int:
    """Give these lines, not yet written, what was decided of the same differences in the rehearsal before; how many got it."""
    before = (
        Rehearsal.objects.filter(onboarding=found.onboarding_id, period=found.period_id, pk__lt=found.pk)
        .filter(state__in=[State.DIFFERS, State.TIED_OUT])
        .order_by("-pk")
        .first()
    )
    if before is None:
        return 0
    decided = {
        _what(line): line for line in RehearsedLine.objects.filter(rehearsal=before).exclude(decision="").iterator()
    }
    kept = 0
    for line in lines:
        same = decided.get(_what(line))
        if same is not None:
            line.decision, line.reason = same.decision, same.reason
            line.decided_by_id, line.decided_at = same.decided_by_id, same.decided_at
            kept += 1
    return kept


def _what(line: RehearsedLine) -> tuple[Any, ...]:
    """All by which a difference is told from another one."""
    return tuple(getattr(line, name) for name in _SAME)
