"""The hand-written SQL of corrections that hang: the old figures are out of the books, and the new ones did not get in.

The rule here: a reversal and what is booked in the place of what it takes back are one bundle, tied by the document. It hangs
while the first leg is receipted and the second is not; then the work stands nowhere, so nobody may call it done.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from portal.sql import rows

_HANGING = """
SELECT o.id, r.id, n.id, s.state, o.work_date, coalesce(p.name, d.external_id), coalesce(j.code, '')
  FROM portal_ledgerentry r
  JOIN portal_ledgerstate rs ON rs.entry_id = r.id AND rs.state IN ('accepted', 'posted', 'reconciled')
  JOIN portal_ledgerentry o ON o.id = r.reverses_id
  JOIN portal_document d ON d.id = o.document_id
  JOIN portal_ledgerentry n ON n.document_id = o.document_id AND n.id > o.id AND n.reverses_id IS NULL
  JOIN portal_ledgerstate s ON s.entry_id = n.id AND s.state IN ('held', 'ready', 'sending', 'in_doubt', 'rejected')
  LEFT JOIN portal_resource p ON p.id = n.resource_id
  LEFT JOIN portal_project j ON j.id = n.project_id
 WHERE {}
 ORDER BY o.work_date, n.id"""
_OF_DAYS = """r.entity_id = %(entity)s AND r.reverses_id IS NOT NULL AND
       (o.work_date BETWEEN %(start)s AND %(end)s OR o.post_on BETWEEN %(start)s AND %(end)s
        OR r.post_on BETWEEN %(start)s AND %(end)s OR n.work_date BETWEEN %(start)s AND %(end)s
        OR n.post_on BETWEEN %(start)s AND %(end)s)"""


@dataclass(frozen=True, slots=True)
class Hanging:
    """One correction of which only the first leg is through."""

    entry_id: int  # what was taken back
    reversal_id: int
    anew_id: int  # what is to stand in its place
    state: str
    work_date: date
    person: str
    project: str

    @property
    def says(self) -> str:
        """Both legs in words."""
        return (
            f"reversal {self.reversal_id} took entry {self.entry_id} out of the books, and entry {self.anew_id} in its place is "
            f"{self.state.replace('_', ' ')}"
        )


def of_days(entity_id: int, start: date, end: date) -> list[Hanging]:
    """What hangs of an entity with a leg in a closed range of days."""
    told = {"entity": entity_id, "start": start, "end": end}
    return [Hanging(*row) for row in rows(_HANGING.format(_OF_DAYS), told)]


def of_documents(ids: Sequence[int]) -> list[Hanging]:
    """What hangs of some documents."""
    return [Hanging(*row) for row in rows(_HANGING.format("o.document_id = ANY(%s::bigint[])"), [list(ids)])]
