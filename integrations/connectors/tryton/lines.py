"""Postings as lines of a time sheet, and such lines as statement lines. Pure.

A line's uuid is our key. It has an employee, a day, a work, a duration and a description; Tryton prices it when it is invoiced.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from integrations.connectors.tryton import assumptions
from integrations.connectors.tryton.rpc import amount, day, within, written_day
from integrations.connectors.tryton.works import Place, origin
from integrations.errors import Malformed, Rejected
from integrations.http import plain
from integrations.http.fields import Row, text
from integrations.protocol import REFUSED_WITH_THEM, is_ours, other_company
from portal.records import DocumentKind, Posting, StatementLine

LIMITS = (
    "Its lines keep person, work, day, hours and text: no rate, no currency, and not whether they are billed. Tryton prices "
    "hours by the list price of their work when it invoices them; another price than the agreed one is found when the invoice "
    "comes in.",
)
REFUSES_UNBILLABLE = (
    "Hours that are not billable are refused and become a case, because Tryton would invoice them." + REFUSED_WITH_THEM
)
HOURS_TOLERANCE = Decimal("0.000001")  # Tryton keeps microseconds
FIELDS = (
    "uuid", "date", "duration", "employee", "company", "work.origin", "description", "invoice_line", "write_date",
    "create_date",
)  # fmt: skip
SECONDS = Decimal(3600)


def line(posting: Posting) -> dict[str, Any]:
    """The line that a posting becomes. The time sheet's own id of its work is asked for when it is sent."""
    seconds = (posting.hours or Decimal(0)) * SECONDS
    return {
        "uuid": posting.key,
        "employee": int(posting.resource),
        "date": written_day(posting.work_date),
        "duration": {"__class__": "timedelta", "seconds": seconds.normalize() if seconds % 1 else int(seconds)},
        "description": memo(posting),
        "work.origin": origin(posting.project, posting.task),
    }


def memo(posting: Posting) -> str:
    """The description on one line."""
    return " ".join(posting.memo.split())


def objection(
    posting: Posting, company: int, limit: int = assumptions.MEMO_LIMIT, *, accepts_unbillable: bool = False
) -> Rejected | None:
    """Why a posting cannot be said in a line, or None. Checked before anything is sent."""
    if not is_ours(posting.key):
        return Rejected(f"The key {posting.key!r} is none of ours.")
    if posting.kind is not DocumentKind.TIME:
        return Rejected("Tryton's time sheets take no expenses.", code="amount-invalid")
    if posting.hours is None:
        return Rejected("The posting has no hours.", code="amount-invalid")
    if posting.hours < 0:
        return Rejected(
            f"Tryton's time sheets take no negative hours. Delete line {posting.reverses or '(unknown)'} in Tryton, as long as "
            "it is not invoiced; what is invoiced is credited there, and its reversal called back.",
            code="no-opposite",
        )
    if refused := other_company(posting.entity, str(company)):
        return refused
    if not (posting.billable or accepts_unbillable):
        return Rejected(
            "The hours are not billable, which no line of Tryton says: it would invoice them at the list price of their work.",
            code="unbillable",
        )
    named = {"project-inactive": ("project", posting.project), "resource-inactive": ("employee", posting.resource)}
    for code, (what, key) in named.items():
        if not key.isdigit():
            return Rejected(f"The {what} “{key}” is no id of Tryton's. Correct its mapping.", code=code)
    if posting.task and not posting.task.isdigit():
        return Rejected(f"The task “{posting.task}” is no id of Tryton's. Correct its mapping.", code="task-invalid")
    if len(memo(posting)) > limit:
        return Rejected(
            f"The memo has {len(memo(posting))} characters; {limit} are sent. Shorten the description.",
            code="text-invalid",
        )
    return None


def booked(row: Row, places: Mapping[str, Place]) -> StatementLine:
    """A line as Tryton holds it. It states neither rate nor currency. Raises Malformed naming the field that cannot be read."""
    spent_on = day(row, "date")
    if spent_on is None:
        raise Malformed(f"Line {row['id']}: date is missing.")
    seconds, key = amount(row, "duration"), text(row, "uuid")
    place = places.get(text(within(row, "work"), "origin"), Place())
    return StatementLine(
        number=str(row["id"]),
        key=key if is_ours(key) else "",
        kind=DocumentKind.TIME,
        work_date=spent_on,
        entity=text(row, "company"),
        resource=text(row, "employee"),
        project=place.project,
        task=place.task,
        hours=None if seconds is None else seconds / SECONDS,
        memo=text(row, "description"),
        raw=plain(dict(row)),
    )
