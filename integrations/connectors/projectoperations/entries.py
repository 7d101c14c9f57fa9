"""Time entries and expenses: made under ids that we chose, and found again with what became of them.

The id of a record is our key, and is made only where there is none (`If-None-Match: *`): sent once or five times, it is one
record, and what somebody approved meanwhile is never overwritten. What is made is accepted; it is booked when approval made an
actual of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date

from integrations.connectors.projectoperations import assumptions, bodies, refusals
from integrations.connectors.projectoperations.dataverse import HEADERS, ROOT, VENDOR, Tables, guid_of
from integrations.connectors.projectoperations.settings import SETTINGS
from integrations.errors import ConnectorError
from integrations.http import Http, Response, multipart
from integrations.http.fields import Row, text
from integrations.http.odata import of_a_look
from integrations.protocol import Account
from portal.records import DocumentKind, Posting, Receipt, StatementLine

Outcome = Receipt | ConnectorError
ORIGINS, ACTUALS = "msdyn_transactionorigins", "msdyn_actuals"
_IDS = {DocumentKind.TIME: "msdyn_timeentryid", DocumentKind.EXPENSE: "msdyn_expenseid"}
_PATHS = {DocumentKind.TIME: bodies.TIME, DocumentKind.EXPENSE: bodies.EXPENSES}


class Entries:
    """Time entries and expenses of one environment."""

    def __init__(self, account: Account, http: Http, own: Sequence[refusals.Pattern]) -> None:
        self._account = account
        self._http = http
        self._own = own
        self._tables = Tables(account, http, own)
        self._kinds = [DocumentKind.TIME, *([DocumentKind.EXPENSE] if account.setting("expenses", SETTINGS) else [])]
        self._journalized = account.setting("booked_when", SETTINGS) == "journalized"

    def make(self, postings: Sequence[Posting]) -> dict[str, Outcome]:
        """Make the records of some postings; one outcome each, by key. One that is there already is receipted as it is."""
        members = [
            multipart.Member(
                "PATCH",
                f"{ROOT}/{bodies.table(posting)}({guid_of(posting.key)})",
                bodies.body(posting, self._account),
                {"If-None-Match": "*", **HEADERS},
            )
            for posting in postings
        ]
        headers = {"Prefer": "odata.continue-on-error", **HEADERS}
        answers: Sequence[Response | ConnectorError]
        try:
            answers = multipart.carry_out(self._http, f"{ROOT}/$batch", members, headers)
        except ConnectorError as error:
            answers = [error] * len(members)
        return {posting.key: self._outcome(posting, answer) for posting, answer in zip(postings, answers, strict=True)}

    def held(self, keys: Sequence[str]) -> dict[str, StatementLine]:
        """What stands under our keys, booked or not."""
        guids = [guid_of(key) for key in keys]
        found: dict[str, StatementLine] = {}
        try:
            rows = [(kind, row) for kind in self._kinds for row in self._tables.among(_PATHS[kind], _IDS[kind], guids)]
            with_actual = self._with_actual([text(row, _IDS[kind]).lower() for kind, row in rows])
        except ConnectorError as error:
            raise of_a_look(error, VENDOR) from None
        for kind, row in rows:
            has_actual = text(row, _IDS[kind]).lower() in with_actual
            line = bodies.held(row, kind, self._account, has_actual=has_actual)
            found[line.key] = line
        return found

    def booked(self, start: date, end: date) -> Iterator[StatementLine]:
        """Actuals of cost with a document date in the closed range, ours or not, those of one entry together."""
        wanted = (
            f"msdyn_transactiontypecode eq {assumptions.COST} and msdyn_documentdate ge {start.isoformat()}T00:00:00Z "
            f"and msdyn_documentdate le {end.isoformat()}T23:59:59Z"
        )
        try:
            rows = [row for row in self._tables.rows(ACTUALS, wanted) if not self._journalized or _is_journalized(row)]
            ids = [text(row, "msdyn_actualid").lower() for row in rows]
            origins = {
                text(row, "msdyn_transaction").lower(): text(row, "msdyn_origin").lower()
                for row in self._tables.among(ORIGINS, "msdyn_transaction", ids, texts=True)
            }
        except ConnectorError as error:
            raise of_a_look(error, VENDOR) from None
        told = (bodies.actual(row, origins.get(guid, "")) for row, guid in zip(rows, ids, strict=True))
        yield from bodies.together(line for line in told if line is not None)

    def _outcome(self, posting: Posting, answer: Response | ConnectorError) -> Outcome:
        number = guid_of(posting.key)
        if isinstance(answer, Response):
            return Receipt(key=posting.key, number=number)
        if refusals.exists_already(answer):
            return Receipt(key=posting.key, number=number, raw={"already": True})
        return refusals.narrow(answer, self._own)

    def _with_actual(self, guids: Sequence[str]) -> set[str]:
        """Which of some records have become actuals that count."""
        actual_of: Mapping[str, str] = {
            text(row, "msdyn_transaction").lower(): text(row, "msdyn_origin").lower()
            for row in self._tables.among(ORIGINS, "msdyn_origin", guids, texts=True)
        }
        if not self._journalized:
            return set(actual_of.values())
        rows = self._tables.among(ACTUALS, "msdyn_actualid", sorted(actual_of))
        return {actual_of[text(row, "msdyn_actualid").lower()] for row in rows if _is_journalized(row)}


def _is_journalized(row: Row) -> bool:
    return row.get("msdyn_isjournalized") is True
