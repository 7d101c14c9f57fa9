"""Approved hours as time registration entries: a mirror in Business Central's own time sheets, without the custom page.

An entry bears no key, rate, price or text of ours. What holds that nothing is kept twice: before one is made the day is looked
at, and as many hours of the same person on the same project and day are refused where they are not proved to be others of ours;
while others have no answer yet, it waits. So an entry that is like what was sent without an answer is the one that was sent.
Where two that are alike were sent so, each is dealt a row of its own. Once its number is known an entry is found by it; where a
person's week shows nothing at all, its sheet may be archived, and nobody can tell a deleted entry from an approved one.

Microsoft: APIV2 Time Registr. Entries (page 30041) and the buffer behind it. Entries are made Open, each on a line of its own for
its day; a list wants a filter of at most 70 days; the number of a task is answered and not kept.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from integrations.connectors.businesscentral import assumptions, odata, refusals, units
from integrations.connectors.businesscentral.odata import Row
from integrations.connectors.businesscentral.settings import SETTINGS
from integrations.connectors.businesscentral.streams import ROOT
from integrations.errors import ConnectorError, InDoubt, Malformed, Rejected, Unavailable
from integrations.http import Deadline, Http, plain
from integrations.http.odata import day, number, of_a_look
from integrations.protocol import REFUSED_WITH_THEM, Account, Beside, other_company
from portal.records import DocumentKind, Posting, Receipt, StatementLine

LIMITS = (
    "Its time sheets keep person, project, day and hours: no rate, no text, no cost centre, not whether they are billable, and "
    "of a task nothing that can be read again. What they say of money is Business Central's own.",
    "An hour is kept as an open entry of a time sheet. Approving and posting it is done in Business Central and is not seen "
    "here; once a sheet is archived, its entries are no longer shown. So an entry that is missing counts as deleted only while "
    "something else of that person's week is shown.",
    "An entry bears no key of ours. Two of ours that are alike go one after the other, each known by its number. One of the same "
    "person, project, day and hours that somebody else typed has ours refused, because nobody could tell the two apart.",
)
REFUSES_UNBILLABLE = (
    "Hours that are not billable are refused and become a case, because a time sheet keeps them like any other."
    + REFUSED_WITH_THEM
)
Outcome = Receipt | ConnectorError
_ALIKE_AGAIN = 30.0  # seconds, while the number of an entry that is alike is not known yet
_WEEK = timedelta(days=6)  # from the first to the last day of a time sheet


class TimeSheets:
    """The time registration entries of one company."""

    def __init__(self, account: Account, http: Http, own: Sequence[refusals.Pattern]) -> None:
        self._http = http
        self._own = own
        self._size = int(account.setting("page_size", SETTINGS))
        self._account = account
        self._path = f"{ROOT}/companies({account.realm})/timeRegistrationEntries"

    def look(self) -> None:
        """See that entries may be read; raises what stands against it."""
        next(self._rows(date(2000, 1, 1), date(2000, 1, 1)), None)

    def keep(self, posting: Posting, beside: Beside) -> Outcome:
        """Make the entry of a posting, unless one like it stands there that proves no other, or looking for it took too long."""
        deadline = Deadline()
        alike = self._like(posting, self._rows(posting.work_date, posting.work_date))
        if any(str(row.get("id")).lower() not in beside.taken for row in alike):
            said = f"{posting.hours:f} h of {posting.resource} on {posting.project} on {posting.work_date}"
            if beside.is_open:
                return Unavailable(
                    f"Not sent: the time sheets hold {said}, which may be other hours of ours that have no answer yet.",
                    retry_after=_ALIKE_AGAIN,
                    awaits=True,
                )
            return Rejected(
                f"Business Central's time sheets already hold {said}, which none of ours is known to be. An entry there bears no "
                "key, so a second one like it could not be told apart.",
                code="alike",
            )
        if deadline.is_over:
            return Unavailable("Not sent: looking for an entry like it took too long.")
        try:
            answer = self._http.request("POST", self._path, json=body(posting))
        except ConnectorError as error:
            named = refusals.narrow(error, self._own)
            if isinstance(named, Rejected):
                return named
            raise named from None
        made = answer.body if isinstance(answer.body, Mapping) else {}
        if not made.get("id"):
            raise InDoubt(
                "Business Central made a time registration entry and did not say which.", status=answer.status
            )
        return Receipt(key=posting.key, number=str(made["id"]).lower(), raw=plain(dict(made)))

    def held(
        self, postings: Sequence[Posting], numbers: Mapping[str, str], taken: Collection[str] = ()
    ) -> dict[str, StatementLine | Unavailable]:
        """What stands there of some postings: by its number where that is known, else by what is the same about it.

        A row is dealt out once, and none that proves another entry. What is missing from a week of which nothing of its person
        is shown is Unavailable: its sheet may be archived.
        """
        found: dict[str, StatementLine | Unavailable] = {}
        dealt = {*taken, *numbers.values()}
        for first, last in _spans(_week(posting.work_date) for posting in postings):
            rows = {str(row.get("id")).lower(): row for row in self._rows(first, last + _WEEK)}
            shown = {(_text(row, "employeeNumber").upper(), _week(_on(row))) for row in rows.values()}
            for posting in postings:
                if not first <= _week(posting.work_date) <= last:
                    continue
                if (known := numbers.get(posting.key)) is not None:
                    row = rows.get(known)
                    if row is None and (posting.resource.upper(), _week(posting.work_date)) not in shown:
                        found[posting.key] = _archived(posting)
                else:
                    alike = self._like(posting, iter(rows.values()))
                    row = next((one for one in alike if str(one.get("id")).lower() not in dealt), None)
                if row is not None:
                    dealt.add(str(row.get("id")).lower())
                    found[posting.key] = self._line(row, posting)
        return found

    def booked(self, start: date, end: date) -> Iterator[StatementLine]:
        """Every entry with a date in the closed range, ours or not."""
        while start <= end:
            last = min(end, start + assumptions.SHEETS_SPAN)
            yield from (self._line(row) for row in self._rows(start, last))
            start = last + timedelta(days=1)

    def _like(self, posting: Posting, rows: Iterator[Row]) -> Iterator[Row]:
        """The entries that say of person, project, day and hours what a posting says, in the order of their numbers."""
        wanted = (posting.resource.upper(), posting.project.upper(), posting.work_date, posting.hours)
        alike = [
            row
            for row in rows
            if (_text(row, "employeeNumber").upper(), _text(row, "jobNumber").upper(), _on(row), _hours(row)) == wanted
        ]
        return iter(sorted(alike, key=lambda row: str(row.get("id"))))

    def _rows(self, start: date, end: date) -> Iterator[Row]:
        wanted = {"$filter": f"date ge {start.isoformat()} and date le {end.isoformat()}"}
        try:
            yield from odata.rows(self._http, self._path, wanted, self._size)
        except ConnectorError as error:
            raise of_a_look(refusals.narrow(error, self._own, writes=False), odata.VENDOR) from None

    def _line(self, row: Row, sent: Posting | None = None) -> StatementLine:
        """An entry as a statement line. Where it counts in a unit of unknown hours it is not what was sent, and says so.

        A code that is the same but for capitals is the one that was sent: Business Central keeps codes in capitals.
        """
        unit = _text(row, "unitOfMeasureCode")
        one = units.hours_of_one(unit, self._account)
        return StatementLine(
            number=str(row.get("id") or "").lower(),
            key=sent.key if sent else "",
            kind=DocumentKind.TIME,
            work_date=_on(row),
            resource=_code(row, "employeeNumber", sent.resource if sent else ""),
            project=_code(row, "jobNumber", sent.project if sent else ""),
            hours=_hours(row) * one if one else None,
            is_booked=bool(one),
            waits="" if one else units.untold(unit, self._account),
            raw=plain(dict(row)),
        )


def body(posting: Posting) -> dict[str, Any]:
    """The entry that a posting becomes."""
    told: dict[str, Any] = {
        "employeeNumber": posting.resource, "jobNumber": posting.project, "date": posting.work_date.isoformat(),
        "quantity": posting.hours,
    }  # fmt: skip
    task = posting.task.removeprefix(f"{posting.project}/")
    return {**told, "jobTaskNumber": task} if task else told


def objection(posting: Posting, account: Account) -> Rejected | None:
    """Why a posting cannot be an entry of a time sheet, or None. Checked before anything is sent."""
    if refused := other_company(posting.entity, account.realm):
        return refused
    if posting.kind is not DocumentKind.TIME:
        return Rejected("Time sheets take no expenses; send them to a connection with a project journal.")
    if not posting.hours:
        return Rejected("The posting has no hours.", code="amount-invalid")
    if posting.hours > 0 and not (posting.billable or account.setting("accepts_unbillable", SETTINGS)):
        return Rejected(
            "The hours are not billable, which no time sheet says: whoever bills by them would bill these too.",
            code="unbillable",
        )
    if posting.hours < 0:
        return Rejected(
            f"A time sheet takes nothing back. Delete entry {posting.reverses or '(unknown)'} in Business Central, as long as "
            "its sheet is open; what is approved is corrected there, and its reversal called back.",
            code="no-opposite",
        )
    return None


def _spans(weeks: Iterable[date]) -> Iterator[tuple[date, date]]:
    """The first and the last of weeks that together are no longer than one list may be."""
    left = sorted(set(weeks))
    while left:
        inside = [one for one in left if one + _WEEK - left[0] <= assumptions.SHEETS_SPAN]
        yield inside[0], inside[-1]
        left = left[len(inside) :]


def _week(on: date) -> date:
    """The first day of the time sheet that holds a day."""
    return on - timedelta(days=on.weekday())


def _archived(posting: Posting) -> Unavailable:
    return Unavailable(
        f"Business Central shows nothing of {posting.resource} in the week of {posting.work_date}: the sheet is archived, or "
        "all of it was deleted. Only a look into its archived time sheets can tell; nothing is booked again and nothing left out."
    )


def _text(row: Row, name: str) -> str:
    return str(row.get(name) or "")


def _code(row: Row, name: str, sent: str) -> str:
    held = _text(row, name)
    return sent if held.upper() == sent.upper() else held


def _on(row: Row) -> date:
    found = day(row, "date")
    if found is None:
        raise Malformed("date of a time registration entry is empty, not a day.")
    return found


def _hours(row: Row) -> Decimal:
    return number(row, "quantity") or Decimal(0)
