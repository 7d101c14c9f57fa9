"""The time sheet: lines written under our keys, and found again by them.

What holds that nothing is booked twice: Tryton refuses a second line under one uuid. A list is written wholly or not at all;
where it is refused, what stands there already is receipted, and the rest goes in smaller lists, until the refused line stands
alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any

from integrations.connectors.tryton import lines
from integrations.connectors.tryton.rpc import Rpc, within, written_day
from integrations.connectors.tryton.works import origin, places, sheets
from integrations.errors import ConnectorError, InDoubt, Rejected, Unavailable
from integrations.http import Deadline, plain
from integrations.http.fields import Row, text
from portal.records import Posting, Receipt, StatementLine

Outcome = Receipt | ConnectorError
KEYS_AT_ONCE = 500
MODEL = "timesheet.line"


class Sheet:
    """The time sheet of one company."""

    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc

    def held(self, keys: Sequence[str]) -> dict[str, StatementLine]:
        """What stands there under our keys."""
        found: dict[str, StatementLine] = {}
        for start in range(0, len(keys), KEYS_AT_ONCE):
            wanted = [["uuid", "in", list(keys[start : start + KEYS_AT_ONCE])]]
            found |= {line.key: line for line in self._lines(wanted)}
        return found

    def booked(self, start: date, end: date, company: int) -> Iterator[StatementLine]:
        """Every line with a day in the closed range, ours or not."""
        days = [["date", ">=", written_day(start)], ["date", "<=", written_day(end)]]
        return iter(self._lines([*days, ["company", "=", company]]))

    def book(self, postings: Sequence[Posting], deadline: Deadline) -> dict[str, Outcome]:
        """Book postings; one outcome each, by key. What is raised holds for all of them."""
        works = sheets(self._rpc, [origin(posting.project, posting.task) for posting in postings])
        outcomes: dict[str, Outcome] = {}
        bodies: dict[str, dict[str, Any]] = {}
        for posting in postings:
            body = lines.line(posting)
            work = works.get(body.pop("work.origin"))
            if work is None:
                outcomes[posting.key] = _no_sheet(posting)
            else:
                bodies[posting.key] = {**body, "work": work, "company": self._rpc.company}
        tasks = {posting.key: posting.task for posting in postings}
        return outcomes | self._write(bodies, tasks, deadline)

    def _write(
        self,
        bodies: Mapping[str, Mapping[str, Any]],
        tasks: Mapping[str, str],
        deadline: Deadline,
        *,
        is_first: bool = True,
    ) -> dict[str, Outcome]:
        """Write lines as one list; what the push does not come to is Unavailable."""
        if not bodies:
            return {}
        if deadline.is_over and not is_first:
            return dict.fromkeys(bodies, Unavailable("Not sent: the time of one push was over before its turn came."))
        try:
            made = self._rpc.write(f"model.{MODEL}.create", [dict(body) for body in bodies.values()])
        except Rejected as refused:
            return self._refused(bodies, tasks, refused, deadline)
        except ConnectorError as error:
            return dict.fromkeys(bodies, error)
        if not isinstance(made, list) or len(made) != len(bodies):
            lost = InDoubt(f"Tryton wrote {len(bodies)} lines and did not say which.")
            return dict.fromkeys(bodies, lost)
        return {
            key: Receipt(key=key, number=str(number), raw={"id": number, **plain(dict(bodies[key]))})
            for key, number in zip(bodies, made, strict=True)
        }

    def _refused(
        self, bodies: Mapping[str, Mapping[str, Any]], tasks: Mapping[str, str], refused: Rejected, deadline: Deadline
    ) -> dict[str, Outcome]:
        """A list that was refused: what stands there is receipted, the rest goes in halves."""
        try:
            held = self.held(list(bodies))
        except ConnectorError as error:
            return dict.fromkeys(bodies, error)
        outcomes: dict[str, Outcome] = {
            key: Receipt(key=key, number=line.number, raw=line.raw) for key, line in held.items()
        }
        left = [key for key in bodies if key not in held]
        if len(left) == len(bodies) == 1:
            return {left[0]: _named(refused, tasks[left[0]])}
        if held:
            return outcomes | self._write({key: bodies[key] for key in left}, tasks, deadline)
        half = len(left) // 2
        outcomes |= self._write({key: bodies[key] for key in left[:half]}, tasks, deadline)  # so that each push gets on
        outcomes |= self._write({key: bodies[key] for key in left[half:]}, tasks, deadline, is_first=False)
        return outcomes

    def _lines(self, domain: Sequence[Any]) -> list[StatementLine]:
        rows: list[Row] = list(self._rpc.rows(MODEL, domain, lines.FIELDS))
        found = places(self._rpc, {text(within(row, "work"), "origin") for row in rows})
        return [lines.booked(row, found) for row in rows]


def _no_sheet(posting: Posting) -> Rejected:
    if posting.task:
        return Rejected(
            f"Tryton has no time sheet for task {posting.task}; it is gone, or no time may be spent on it.",
            code="task-invalid",
        )
    return Rejected(
        f"Tryton has no time sheet for project {posting.project}; it is gone, or no time may be spent on it.",
        code="project-inactive",
    )


def _named(refused: Rejected, task: str) -> Rejected:
    """A work that is refused is a task, or the project itself where no task was named."""
    if refused.code == "task-invalid" and not task:
        named = Rejected(
            refused.detail, status=refused.status, code="project-inactive", vendor_code=refused.vendor_code
        )
        named.body = refused.body
        return named
    return refused
