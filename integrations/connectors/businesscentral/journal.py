"""The project journal: lines written, posted, and found again in the project ledger.

Business Central knows no idempotency key. What holds that nothing is booked twice: before a line is written the ledger is asked
for its key; the journal is ours alone, and what an earlier call left in it is taken out first; the page refuses a second line
under one key; what was sent without an answer is looked up and never sent again; and where posting is refused the ledger is asked
before anything is called refused, because somebody may have posted the journal meanwhile. What is in doubt is taken out of the
journal before it is looked up, so that nobody posts it once the look-up said that it is not booked. A journal posts as a whole
and holds lines of one month, so that a closed one stops no other. Where one line is refused, the others go in smaller journals,
until that line stands alone with its refusal; a closed day is refused with all its lines, and the days between two closed ones
with them. One push begins journals for a limited time, so that its answer comes while it is still waited for.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date
from itertools import groupby

from integrations.connectors.businesscentral import assumptions, bodies, odata, refusals
from integrations.connectors.businesscentral.odata import Request, Row
from integrations.connectors.businesscentral.settings import SETTINGS
from integrations.errors import ConnectorError, InDoubt, Rejected, Unauthorised, Unavailable
from integrations.http import Deadline, Http
from integrations.http.odata import of_a_look
from integrations.protocol import Account
from portal.records import Posting, Receipt, StatementLine

Outcome = Receipt | ConnectorError
CLOSED = "period-closed"
_LATER = "Not sent: the time of one push was over before its turn came."
_STOPS = (InDoubt, Unavailable, Unauthorised)  # the journal may still be at work, or takes no other


class Journal:
    """The project journal of one company, and the ledger behind it."""

    def __init__(self, account: Account, http: Http, own: Sequence[refusals.Pattern]) -> None:
        self._account = account
        self._http = http
        self._own = own
        self._names = bodies.fields(account)
        self._code = str(account.setting("journal", SETTINGS))
        self._size = int(account.setting("page_size", SETTINGS))
        self.root = f"/api/{account.setting('custom_api', SETTINGS)}"
        self._company = f"companies({account.realm})"

    def look(self) -> None:
        """See that the page is there and that the journal exists; raises what stands against it."""
        if self._journal_id() is None:
            raise Rejected(f"The company has no project journal {self._code}; make one that nobody else writes into.")

    def held(self, keys: Sequence[str]) -> dict[str, StatementLine]:
        """What the ledger holds under our keys."""
        found: dict[str, StatementLine] = {}
        for start in range(0, len(keys), odata.KEYS_AT_ONCE):
            wanted = odata.any_of(self._names["key"], keys[start : start + odata.KEYS_AT_ONCE])
            for row in self._read(assumptions.ENTRIES, {"$filter": wanted}):
                line = bodies.booked(row, self._account)
                found[line.key] = line
        return found

    def booked(self, start: date, end: date) -> Iterator[StatementLine]:
        """Every entry of the ledger with a posting date in the closed range, ours or not."""
        day = self._names["day"]
        wanted = f"{day} ge {start.isoformat()} and {day} le {end.isoformat()}"
        for row in self._read(assumptions.ENTRIES, {"$filter": wanted}):
            yield bodies.booked(row, self._account)

    def book(self, postings: Sequence[Posting], deadline: Deadline) -> dict[str, Outcome]:
        """Book postings that the ledger does not hold; one outcome each, by key. What is raised holds for all of them.

        What it does not come to, because its time is over or one of its journals may not be, is Unavailable: not sent.
        """
        outcomes: dict[str, Outcome] = {}
        closed: dict[date, Rejected] = {}
        ahead = _months(postings)
        later = _LATER
        while ahead and not (outcomes and deadline.is_over):  # each push gets on
            part = ahead.pop(0)
            if (refused := _between_closed(part, closed)) is not None:
                outcomes |= _for_all(part, refused)
                continue
            try:
                told, written, failed = self._at_one_go(part, deadline)
            except ConnectorError as error:
                if not outcomes and not ahead:
                    raise
                told, written, failed = {}, part, error
            outcomes |= told
            if isinstance(failed, Rejected):
                is_closed = failed.code == CLOSED
                if smaller := _smaller(written, is_closed=is_closed):
                    ahead = smaller + ahead
                    continue
                if is_closed:
                    closed[written[0].work_date] = failed
            if failed is not None:
                outcomes |= _for_all(written, failed)
            if stop := next((outcomes[p.key] for p in part if isinstance(outcomes[p.key], _STOPS)), None):
                if written:
                    later = f"Not sent, after a journal of which was said: {stop}"
                break
        return outcomes | _for_all([posting for part in ahead for posting in part], Unavailable(later))

    def _at_one_go(
        self, postings: Sequence[Posting], deadline: Deadline
    ) -> tuple[dict[str, Outcome], Sequence[Posting], ConnectorError | None]:
        """Book postings in one journal: outcomes by key; and where the journal was not posted, its lines and why not."""
        self._clear()
        outcomes, written = self._write(postings, deadline)
        failed = self._post() if written else None
        if isinstance(failed, Rejected):
            self._clear()  # what was refused is left to nobody who posts the journal later; only then the ledger is asked
            stands, failed = self._despite(failed, written)
            outcomes |= stands
            written = [posting for posting in written if posting.key not in stands]
        elif written and failed is None:
            outcomes |= self._receipts(written)
        return outcomes, written, failed

    def take_out(self, keys: Collection[str]) -> None:
        """Take out what an earlier call left unposted under these keys; every other line stays, whoever wrote it."""
        self._delete([line for line in self._lines() if bodies.key_of(line, self._account) in keys])

    def _lines(self) -> list[Row]:
        wanted = f"{self._names['journal']} eq {odata.quoted(self._code)}"
        return list(self._read(assumptions.LINES, {"$filter": wanted}))

    def _clear(self) -> None:
        """Take out what an earlier call of ours left unposted. Raises Unavailable where others write into the journal."""
        lines = self._lines()
        foreign = [line for line in lines if not bodies.bears_our_key(line, self._account)]
        if foreign:
            raise Unavailable(
                f"The project journal {self._code} holds {len(foreign)} lines that are not ours. Post or delete them in "
                "Business Central; the journal is for Tieout alone."
            )
        self._delete(lines)

    def _delete(self, lines: Sequence[Row]) -> None:
        for start in range(0, len(lines), odata.BATCH):
            chosen = lines[start : start + odata.BATCH]
            gone = [Request("DELETE", f"{self._company}/{assumptions.LINES}({line['id']})") for line in chosen]
            answers = odata.batch(self._http, self.root, gone, books=False)
            if failed := next((answer for answer in answers if answer.status >= 300 and answer.status != 404), None):
                raise refusals.member(failed.status, failed.body, self._own)

    def _write(self, postings: Sequence[Posting], deadline: Deadline) -> tuple[dict[str, Outcome], list[Posting]]:
        """Write lines, all or none, without those that are refused: the refusals, and what now stands in the journal.

        Each refused line costs a call. Once the time is over nothing stands there, and what is left is Unavailable.
        """
        outcomes: dict[str, Outcome] = {}
        left = list(postings)
        while left:
            lines = [Request("POST", f"{self._company}/{assumptions.LINES}", self._line(posting)) for posting in left]
            answers = odata.batch(self._http, self.root, lines)
            failed = next((answer for answer in answers if answer.status >= 300), None)
            if failed is None:
                if len(answers) != len(left):
                    raise InDoubt(f"Business Central answered {len(answers)} of {len(left)} lines of a batch.")
                break
            # the others were rolled back, also where they say 201
            refused = refusals.member(failed.status, failed.body, self._own)
            if not isinstance(refused, Rejected):
                raise refused
            outcomes[left.pop(failed.place).key] = refused
            if left and deadline.is_over:
                return outcomes | _for_all(left, Unavailable(_LATER)), []
        return outcomes, left

    def _line(self, posting: Posting) -> Mapping[str, object]:
        return bodies.line(posting, self._account)

    def _post(self) -> ConnectorError | None:
        """Post the journal: nothing where it went well, and else why not. Refused to us, it may be posted by others."""
        try:
            journal = self._journal_id()
            if journal is None:
                return Unavailable(f"The company has no project journal {self._code} any more.")
            self._http.request(
                "POST", f"{self.root}/{self._company}/{assumptions.JOURNALS}({journal})/{assumptions.POST}"
            )
        except ConnectorError as error:
            named = refusals.narrow(error, self._own)
            if (
                isinstance(named, Unavailable) and named.status == 408
            ):  # cut off by the server, in the middle of posting
                return InDoubt(named.detail, status=408)
            return named
        return None

    def _despite(
        self, refused: Rejected, written: Sequence[Posting]
    ) -> tuple[dict[str, Receipt], ConnectorError | None]:
        """What stands in the ledger although posting was refused, and what is to be said of the rest.

        A person may have posted the journal between our lines and our post, which then is told that there is nothing to post.
        """
        try:
            found = self.held([posting.key for posting in written])
        except ConnectorError as error:
            return {}, InDoubt(f"Posting was refused ({refused.detail}); the ledger could not be read: {error.detail}")
        stands = {key: Receipt(key=key, number=line.number, raw=line.raw) for key, line in found.items()}
        return stands, None if len(stands) == len(written) else refused

    def _receipts(self, postings: Sequence[Posting]) -> dict[str, Outcome]:
        """The numbers that the ledger gave to what was just posted."""
        try:
            found = self.held([posting.key for posting in postings])
        except ConnectorError as error:
            lost = InDoubt(f"The journal was posted; its entries could not be read: {error.detail}")
            return {posting.key: lost for posting in postings}
        outcomes: dict[str, Outcome] = {}
        for posting in postings:
            line = found.get(posting.key)
            outcomes[posting.key] = (
                Receipt(key=posting.key, number=line.number, raw=line.raw)
                if line is not None
                else InDoubt("The journal was posted, and the ledger does not show the entry yet.")
            )
        return outcomes

    def _journal_id(self) -> str | None:
        rows = self._read(assumptions.JOURNALS, {"$filter": f"code eq {odata.quoted(self._code)}"})
        return next((str(row["id"]) for row in rows), None)

    def _read(self, name: str, params: Mapping[str, str]) -> Iterator[Row]:
        try:
            yield from odata.rows(self._http, f"{self.root}/{self._company}/{name}", params, self._size)
        except ConnectorError as error:
            raise of_a_look(refusals.narrow(error, self._own, writes=False), odata.VENDOR) from None


def _months(postings: Sequence[Posting]) -> list[list[Posting]]:
    """Postings by the month of their work date, oldest first."""
    in_order = sorted(postings, key=lambda posting: posting.work_date)
    return [list(month) for _, month in groupby(in_order, lambda posting: f"{posting.work_date:%Y-%m}")]


def _smaller(lines: Sequence[Posting], *, is_closed: bool) -> list[list[Posting]]:
    """The smaller journals to try after one of a month was refused; none where the refusal holds for every line.

    Where a day is closed, the first and the last day go first: they tell most about those between, of which the later go first,
    because books are closed from the beginning.
    """
    if len(lines) == 1:
        return []
    if not is_closed:
        return _halves(lines)
    first, last = lines[0].work_date, lines[-1].work_date
    if first == last:
        return []
    middle = [line for line in lines if first < line.work_date < last]
    ends = [[line for line in lines if line.work_date == day] for day in (first, last)]
    return [*ends, *reversed(_halves(middle))]


def _halves(lines: Sequence[Posting]) -> list[list[Posting]]:
    half = len(lines) // 2
    return [part for part in (list(lines[:half]), list(lines[half:])) if part]


def _between_closed(lines: Sequence[Posting], closed: Mapping[date, Rejected]) -> Rejected | None:
    """The refusal of a closed day, where lines stand between two closed days of their month: see `assumptions`."""
    first, last = lines[0].work_date, lines[-1].work_date
    days = [day for day in closed if (day.year, day.month) == (first.year, first.month)]
    return closed[min(days)] if days and min(days) <= first and last <= max(days) else None


def _for_all(postings: Sequence[Posting], error: ConnectorError) -> dict[str, Outcome]:
    return dict.fromkeys((posting.key for posting in postings), error)
