"""Project hour journals and expenses: written, and found again by our key with what became of them.

Dynamics 365 Finance knows no idempotency key, and posts when its people or a batch job do. What holds that nothing is booked
twice: every key is looked for before it is written; one worker writes at a time; and what was sent without an answer is looked
up and never sent again while it may still arrive. A journal holds lines of one month, so that a closed one stops no other, and a
limited number of them; each line is a change set of its own, so that one which is refused stops nobody else.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

from integrations.connectors.dynamicsfinance import assumptions, bodies, refusals
from integrations.connectors.dynamicsfinance.entities import ROOT, Entities, by, is_yes
from integrations.connectors.dynamicsfinance.settings import SETTINGS
from integrations.errors import ConnectorError, InDoubt, Rejected, Unavailable
from integrations.http import Deadline, Http, Response, multipart, plain
from integrations.http.fields import Row, number, text
from integrations.http.odata import of_a_look, quoted
from integrations.protocol import Account
from portal.records import Posting, Receipt, StatementLine

Outcome = Receipt | ConnectorError
LINES, HEADERS, EXPENSES = "JournalTrans", "JournalTables", "Expenses"
_WILDCARDS_AT_ONCE = 20
UNPOSTED = "Posted eq Microsoft.Dynamics.DataEntities.NoYes'No'"


class Open(NamedTuple):
    """An unposted journal of ours: its number, the next line and how many more lines it takes."""

    number: str
    following: int
    room: int


class Journals:
    """The hour journals and expenses of one company."""

    def __init__(self, account: Account, http: Http, own: Sequence[refusals.Pattern]) -> None:
        self._account = account
        self._http = http
        self._own = own
        self._entities = Entities(account, http, own)
        self._name = str(account.setting("journal", SETTINGS))
        self._limit = max(1, int(account.setting("line_limit", SETTINGS)))
        self._batch = max(1, min(int(account.setting("batch_size", SETTINGS)), 5000))
        self._expenses = bool(account.setting("expenses", SETTINGS))

    def look(self) -> int:
        """How many journals of ours wait to be posted; raises what stands against looking."""
        return len(list(self._look(HEADERS, f"JournalName eq {quoted(self._name)} and {UNPOSTED}")))

    def held(self, keys: Sequence[str]) -> dict[str, StatementLine]:
        """What stands under our keys, posted or not."""
        lines = list(self._by_keys(LINES, bodies.TIME, keys))
        posted = self._posted([text(row, "JournalId") for row in lines])
        found = {}
        for row in lines:
            line = bodies.booked_hours(row, self._account, is_posted=text(row, "JournalId") in posted)
            found[line.key] = line
        if self._expenses:
            for row in self._by_keys(EXPENSES, bodies.EXPENSE, keys):
                line = bodies.booked_expense(row, self._account)
                found[line.key] = line
        return {key: found[key] for key in keys if key in found}

    def booked(self, start: date, end: date) -> Iterator[StatementLine]:
        """What is posted with a work date in the closed range: lines of journals, expenses, and transactions of other ways."""
        told: set[str] = set()
        lines = list(self._look(LINES, _within("ProjectDate", start, end)))
        posted = self._posted([text(row, "JournalId") for row in lines])
        for row in lines:
            if text(row, "JournalId") in posted:
                told.add(text(row, "TransactionID"))
                yield bodies.booked_hours(row, self._account, is_posted=True)
        for row in self._look(EXPENSES, _within("TransactionDate", start, end)):
            line = bodies.booked_expense(row, self._account)
            if line.is_booked:
                told.add(text(row, "ProjectTransactionID"))
                yield line
        if not self._account.setting("read_actuals", SETTINGS):
            return
        for row in self._look(assumptions.ACTUALS, _within("ProjTransDate", start, end)):
            actual = bodies.booked_actual(row)
            if actual is not None and actual.number not in told:
                yield actual

    def write_hours(self, postings: Sequence[Posting], deadline: Deadline) -> dict[str, Outcome]:
        """Write lines into journals, a journal for each month; one outcome each, by key.

        What breaks holds for the rest of a month; what the push does not come to is Unavailable.
        """
        outcomes: dict[str, Outcome] = {}
        months: dict[str, list[Posting]] = defaultdict(list)
        for posting in postings:
            months[f"{posting.work_date:%Y-%m}"].append(posting)
        for month, all_of_it in months.items():
            left = all_of_it
            while left:
                if outcomes and deadline.is_over:
                    outcomes |= _not_come_to(left)
                    break
                try:
                    journal = self._open(month)
                    chosen = left[: min(journal.room, self._batch)]
                    outcomes |= self._write(chosen, journal)
                except ConnectorError as error:
                    outcomes |= dict.fromkeys((posting.key for posting in left), error)
                    break
                left = left[len(chosen) :]
        return outcomes

    def write_expenses(self, postings: Sequence[Posting], deadline: Deadline) -> dict[str, Outcome]:
        """Write expenses; one outcome each, by key."""
        outcomes: dict[str, Outcome] = {}
        for start in range(0, len(postings), self._batch):
            if outcomes and deadline.is_over:
                return outcomes | _not_come_to(postings[start:])
            chosen = postings[start : start + self._batch]
            told = [bodies.expense(posting, self._account) for posting in chosen]
            for posting, answer in zip(chosen, self._sent(EXPENSES, told), strict=True):
                outcomes[posting.key] = self._receipt(posting, answer, "ExpenseTransactionNumber")
        return outcomes

    def _write(self, postings: Sequence[Posting], journal: Open) -> dict[str, Outcome]:
        """Write lines into one journal, at the places that follow."""
        told = [
            {
                "JournalId": journal.number,
                "LineNumber": journal.following + place,
                **bodies.hours(posting, self._account),
            }
            for place, posting in enumerate(postings)
        ]
        outcomes: dict[str, Outcome] = {}
        for posting, body, answer in zip(postings, told, self._sent(LINES, told), strict=True):
            outcome = self._receipt(posting, answer, "", f"{body['JournalId']}/{body['LineNumber']}")
            if (
                isinstance(outcome, Rejected) and outcome.code == "duplicate"
            ):  # of its place: our key was just looked for
                outcome = Unavailable(f"Line {body['LineNumber']} of journal {journal.number} was taken meanwhile.")
            outcomes[posting.key] = outcome
        locked = [key for key, one in outcomes.items() if isinstance(one, Rejected) and one.code == "record-locked"]
        if locked and self._posted([journal.number]):  # by its people, after we had looked for one that is open
            meanwhile = Unavailable(f"Journal {journal.number} was posted meanwhile; the line goes into the next one.")
            outcomes |= dict.fromkeys(locked, meanwhile)
        return outcomes

    def _sent(self, name: str, told: Sequence[Mapping[str, Any]]) -> list[Response | ConnectorError]:
        members = [multipart.Member("POST", f"{ROOT}/{name}", body) for body in told]
        try:
            return multipart.carry_out(self._http, f"{ROOT}/$batch", members)
        except ConnectorError as error:
            named = refusals.narrow(error, self._own)
            return [named for _ in told]

    def _receipt(self, posting: Posting, answer: Response | ConnectorError, named: str, said: str = "") -> Outcome:
        """The receipt that an answer is; its number is told by the answer, or was chosen by us."""
        if isinstance(answer, ConnectorError):
            return refusals.narrow(answer, self._own)
        row = answer.body if isinstance(answer.body, Mapping) else {}
        told = said or text(row, named)
        if not told:
            return InDoubt(f"Dynamics 365 Finance took {posting.key} and did not say its number.")
        return Receipt(key=posting.key, number=told, raw=plain(dict(row)))

    def _open(self, month: str) -> Open:
        """An unposted journal of ours for a month with room for a line; one is made where there is none."""
        mark = f"Tieout {month}"
        wanted = f"JournalName eq {quoted(self._name)} and {UNPOSTED} and Description eq {quoted(mark)}"
        for header in self._look(HEADERS, wanted, orderby="JournalBatchNumber"):
            name = text(header, "JournalBatchNumber")
            places = [
                number(row, "LineNumber") or Decimal(0) for row in self._look(LINES, f"JournalId eq {quoted(name)}")
            ]
            if len(places) < self._limit:
                return Open(name, int(max(places, default=Decimal(0))) + 1, self._limit - len(places))
        header = {
            "dataAreaId": self._account.realm, "JournalName": self._name, "Description": mark,
            "DeleteLinesAfterPosting": "No",
        }  # fmt: skip
        try:  # an empty journal books nothing, whether or not we hear of it
            answer = self._http.request("POST", f"{ROOT}/{HEADERS}", json=header, writes=False)
        except ConnectorError as error:
            raise refusals.narrow(error, self._own, writes=False) from None
        name = text(answer.body, "JournalBatchNumber") if isinstance(answer.body, Mapping) else ""
        if not name:
            raise Unavailable("Dynamics 365 Finance made a journal and did not say its number.")
        return Open(name, 1, self._limit)

    def _posted(self, journals: Sequence[str]) -> set[str]:
        """Which of some journals are posted."""
        names = sorted(set(journals))
        try:
            headers = by(self._entities.among(HEADERS, "JournalBatchNumber", names), "JournalBatchNumber")
        except ConnectorError as error:
            raise of_a_look(error, "Dynamics 365 Finance") from None
        return {name for name, row in headers.items() if is_yes(row, "Posted")}

    def _by_keys(self, name: str, kind: str, keys: Sequence[str]) -> Iterator[Row]:
        """Rows that bear one of our keys, in the field that is theirs or at the beginning of a text."""
        field = bodies.key_field(self._account, kind)
        ending = "" if bodies.own_field(self._account, kind) else "*"
        for start in range(0, len(keys), _WILDCARDS_AT_ONCE):
            chosen = keys[start : start + _WILDCARDS_AT_ONCE]
            wanted = " or ".join(f"{field} eq {quoted(key + ending)}" for key in chosen)
            yield from (row for row in self._look(name, wanted) if bodies.found_key(row, self._account, kind))

    def _look(self, name: str, wanted: str, *, orderby: str = "") -> Iterator[Row]:
        try:
            yield from self._entities.rows(name, wanted, orderby=orderby)
        except ConnectorError as error:
            raise of_a_look(error, "Dynamics 365 Finance") from None


def _not_come_to(postings: Sequence[Posting]) -> dict[str, Outcome]:
    later = Unavailable("Not sent: the time of one push was over before its turn came.")
    return dict.fromkeys((posting.key for posting in postings), later)


def _within(field: str, start: date, end: date) -> str:
    return f"{field} ge {start.isoformat()}T00:00:00Z and {field} le {end.isoformat()}T23:59:59Z"
