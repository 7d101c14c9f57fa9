"""Reading by SOQL: what each stream selects, and how changes are read since a cursor, deleted and merged rows included."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from integrations.connectors.salesforce import assumptions, refusals
from integrations.connectors.salesforce.settings import SETTINGS
from integrations.errors import ConnectorError, Malformed, Unavailable
from integrations.http import Http, fields, plain
from integrations.http.fields import STAMP
from integrations.protocol import Account, Page, SourceRecord

CHANGED = "SystemModstamp"
_ID = re.compile(r"[A-Za-z0-9]{15,18}")
_USAGE = re.compile(r"(?<![\w-])api-usage=(?P<used>\d+)/(?P<of>\d+)")
_NAME = re.compile(r"[A-Za-z]\w*(?:__r\.\w+)?")

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Stream:
    """What a stream reads: the object and its fields."""

    name: str
    object: str
    fields: tuple[str, ...]

    @property
    def select(self) -> str:
        """The query without its conditions."""
        return f"SELECT {', '.join(dict.fromkeys(('Id', *self.fields, CHANGED)))} FROM {self.object}"  # noqa: S608


def streams(account: Account) -> Mapping[str, Stream]:
    """The streams of an account, by name. Raises Malformed for a setting that is no name of an object or field."""
    currency = ("CurrencyIsoCode",) if account.setting("multi_currency", SETTINGS) else ()
    code = str(account.settings.get("account_number") or "")
    chosen = tuple(str(field) for field in project_fields(account).values() if field)
    found = (
        Stream(
            "customers",
            "Account",
            ("Name", "ParentId", "IsDeleted", "MasterRecordId", *filter(None, [code]), *currency),
        ),
        Stream("projects", str(account.setting("project_object", SETTINGS)), ("IsDeleted", *chosen)),
        Stream("employees", "User", ("Username", "Name", "Email", "EmployeeNumber", "IsActive")),
    )
    for stream in found:
        for name in (stream.object, *stream.fields):
            checked_name(name)
    return {stream.name: stream for stream in found}


def checked_name(name: str) -> str:
    """The name of an object or a field, which may stand in a query. Raises Malformed."""
    if not _NAME.fullmatch(name):
        raise Malformed(f"“{name}” is no name of an object or field of Salesforce.")
    return name


def project_fields(account: Account) -> Mapping[str, str]:
    """Our word for each field of a project, and the org's."""
    return dict(account.setting("project_fields", SETTINGS))


class Reader:
    """The streams of one org."""

    def __init__(self, account: Account, http: Http, own: Sequence[refusals.Pattern]) -> None:
        self._account = account
        self._http = http
        self._own = own
        self._keep = int(account.setting("keep_calls", SETTINGS))
        self.root = f"/services/data/v{account.setting('api_version', SETTINGS)}"

    def pull(self, name: str, since: str | None) -> Iterator[Page]:
        """Pages of what changed at or after a cursor, oldest first."""
        stream = self.stream(name)
        where = ""
        if since:
            after = fields.rewound(since, self._account.overlap(SETTINGS))
            where = f" WHERE {CHANGED} >= {fields.to_the_millisecond(after)}"
        cursor = since
        gets_on = lambda: cursor != since  # noqa: E731 - else the next reading would begin with the same page
        for rows, total, last in self._pages(f"{stream.select}{where} ORDER BY {CHANGED}, Id", may_end=gets_on):
            records = [record(stream, row) for row in rows]
            cursor = max(filter(None, [cursor, *(one.revision for one in records)]), default=None)
            yield Page(records=records, cursor=cursor, last=last, total=total)

    def one(self, name: str, key: str) -> list[SourceRecord]:
        """A record as it is now, also where it is deleted; empty when the org knows none of that id."""
        stream = self.stream(name)
        if not _ID.fullmatch(key):
            return []
        return [
            record(stream, row) for rows, _, _ in self._pages(f"{stream.select} WHERE Id = '{key}'") for row in rows
        ]

    def identities(self, name: str) -> Iterator[str]:
        """The ids of everything that a stream still holds."""
        query = f"SELECT Id FROM {self.stream(name).object}"  # noqa: S608 - a name that was checked
        yield from (str(row["Id"]) for row in self.rows(query))

    def rows(self, query: str) -> Iterator[Row]:
        """Everything that a query finds which is not deleted."""
        for found, _, _ in self._pages(query, verb="query"):
            yield from found

    def fields_of(self, name: str) -> list[str]:
        """The names of an object's fields, as the org describes it."""
        body = self._http.request("GET", f"{self.root}/sobjects/{checked_name(name)}/describe").body
        rows = body.get("fields") if isinstance(body, Mapping) else None
        if not isinstance(rows, list):
            raise Unavailable(f"Salesforce described {name} without its fields.")
        return sorted(str(row["name"]) for row in rows if isinstance(row, Mapping) and row.get("name"))

    def stream(self, name: str) -> Stream:
        """A stream by name; raises Malformed."""
        known = streams(self._account)
        if name not in known:
            raise Malformed(f"Salesforce has no stream “{name}”; its streams are {', '.join(known)}.")
        return known[name]

    def _pages(
        self, query: str, verb: str = "queryAll", may_end: Callable[[], bool] = lambda: True
    ) -> Iterator[tuple[list[Row], int | None, bool]]:
        """The pages of a query: rows, how many the whole has, and whether it is the last.

        It ends after a page when few calls are left, and `may_end` says that nothing is lost by it.
        """
        path, params = f"{self.root}/{verb}", {"q": query}
        seen: set[str] = set()
        while True:
            try:
                answer = self._http.request("GET", path, params=params or None)
            except ConnectorError as error:
                raise refusals.of_a_query(error, self._own) from None
            body = answer.body
            if not isinstance(body, Mapping) or not isinstance(body.get("records"), list):
                raise Unavailable("Salesforce answered something that is not the result of a query.")
            following = str(body.get("nextRecordsUrl") or "")
            yield body["records"], body.get("totalSize"), not following
            if not following:
                return
            if may_end():
                self._keep_calls(answer.headers)
            if following in seen:
                raise Unavailable("Salesforce shows the same page again and never ends.")
            seen.add(following)
            path, params = following, {}

    def _keep_calls(self, headers: Mapping[str, str]) -> None:
        """End a reading after its page when the day's calls come to their end, so that what is to be written still goes."""
        found = _USAGE.search(headers.get("sforce-limit-info", ""))
        if found is None or (left := int(found["of"]) - int(found["used"])) >= self._keep:
            return
        raise Unavailable(
            f"Salesforce has {left} of the day's {found['of']} calls left, kept for writing; reading goes page by page.",
            status=429, retry_after=assumptions.LIMIT_AGAIN,
        )  # fmt: skip


def record(stream: Stream, row: Row) -> SourceRecord:
    """A row as the inbox files it."""
    if not row.get("Id"):
        raise Malformed(f"A row of {stream.object} has no Id.")
    return SourceRecord(
        stream=stream.name,
        external_id=str(row["Id"]),
        revision=_stamp(row, stream),
        payload=plain(dict(row)),
        is_coarse=True,
    )


def _stamp(row: Row, stream: Stream) -> str:
    try:
        return datetime.fromisoformat(str(row.get(CHANGED))).astimezone(UTC).strftime(STAMP)
    except ValueError:
        raise Malformed(f"{stream.object} {row.get('Id')}: {CHANGED} is “{row.get(CHANGED)}”, not a moment.") from None
