"""Master data, bills and payments by SuiteQL: what each stream selects, and how changes are read since a cursor.

A cursor is the last change seen and its id, in the account's own time. A pull starts an overlap before it and goes
on by key, so that it may repeat records and never skips one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import NamedTuple

from integrations.connectors.netsuite import assumptions, statements
from integrations.connectors.netsuite.statements import RECORD_PATH
from integrations.connectors.netsuite.suiteql import DAY, MOMENT, PAGE, Row, query
from integrations.errors import Malformed, Rejected
from integrations.http import Http
from integrations.protocol import Page, SourceRecord

_STAMP = "%Y-%m-%d %H:%M:%S"


@dataclass(frozen=True, slots=True)
class Stream:
    """One stream: its table, read under the alias `r`, the columns that we may see, and the columns that order it."""

    name: str
    table: str
    columns: str
    joins: str = ""
    changed: str = f"r.{assumptions.MODIFIED}"
    key: str = "r.id"
    beside: str = ""  # a text column that tells rows of one id apart, where a table has such
    where: str = ""  # which rows of the table
    record: str = ""  # the REST record that holds the whole of it, where the row alone does not
    page: int = PAGE

    @property
    def select(self) -> str:
        """The statement up to its conditions; every row has `id` and `changed`."""
        stamp = f"TO_CHAR({self.changed}, {MOMENT}) AS changed"
        return f"SELECT {self.key} AS id, {stamp}, {self.columns} FROM {self.table} r {self.joins}".rstrip()  # noqa: S608 - our own names


_CURRENCY = "LEFT JOIN currency c ON c.id = r.currency"


def _days(*columns: str) -> str:
    return ", ".join(f"TO_CHAR(r.{column}, {DAY}) AS {column}" for column in columns)


STREAMS = {
    stream.name: stream
    for stream in (
        Stream(
            "subsidiaries",
            "subsidiary",
            "r.name, r.legalname, r.parent, c.symbol AS currency, r.country, r.iselimination, r.isinactive",
            joins=_CURRENCY,
        ),
        Stream("departments", "department", "r.name, r.fullname, r.parent, r.subsidiary, r.isinactive"),
        Stream(
            "periods",
            "accountingperiod",
            f"r.periodname, {_days('startdate', 'enddate')}, r.closed, r.alllocked, r.isadjust, r.isquarter, r.isyear, "
            "r.isinactive",
        ),
        Stream(
            "customers",
            "customer",
            "r.entityid, r.companyname, r.altname, r.parent, r.subsidiary, c.symbol AS currency, r.defaulttaxreg, "
            f"{_days('startdate', 'enddate')}, r.isinactive",
            joins=_CURRENCY,
        ),
        Stream(
            "projects",
            "job",
            "r.entityid, r.companyname, r.altname, r.parent, r.subsidiary, r.projectmanager, "
            "BUILTIN.DF(r.entitystatus) AS status, BUILTIN.DF(r.jobbillingtype) AS billing, "
            f"{_days('startdate', 'enddate')}, r.isinactive",
        ),
        Stream("tasks", "projecttask", "r.title, r.project, r.status, r.nonbillabletask, r.isinactive"),
        Stream(
            "employees",
            "employee",
            "r.entityid, r.firstname, r.lastname, r.email, r.subsidiary, r.department, "
            f"{_days('hiredate', 'releasedate')}, r.isinactive",
        ),
        *(
            Stream(
                name,
                "transaction",
                "r.type, BUILTIN.DF(r.status) AS status, c.symbol AS currency",
                joins=_CURRENCY,
                where=f"r.type = '{kind}'",
                record=record,
                page=50,
            )
            for name, kind, record in assumptions.BILLING_STREAMS
        ),
        Stream(
            "deleted", "deletedrecord", "r.type, r.scriptid", changed="r.deleteddate", key="r.recordid", beside="r.type"
        ),
    )
}


def stream(name: str) -> Stream:
    """A stream by name; raises Malformed."""
    if name not in STREAMS:
        raise Malformed(f"NetSuite has no stream {name!r}; know {', '.join(STREAMS)}.")
    return STREAMS[name]


def record(name: str, row: Row) -> SourceRecord:
    """A row as the inbox files it."""
    try:
        identity, changed = str(row["id"]), str(row["changed"])
    except KeyError as missing:
        raise Malformed(f"A row of {name} has no {missing}.") from None
    external = f"{row.get('type', '')}/{identity}" if name == "deleted" else identity
    return SourceRecord(stream=name, external_id=external, revision=changed, payload=dict(row), is_coarse=True)


def pull(http: Http, name: str, since: str | None, size: int, back: timedelta) -> Iterator[Page]:
    """Pages of what changed at or after a cursor, oldest first; none holds more than `size` rows.

    What changed up to `back` before the cursor is read again.
    """
    chosen = stream(name)
    where: list[str] = []
    params: tuple[str | int, ...] = ()
    cursor = since
    if since is not None:
        where, params = [f"{chosen.changed} >= TO_TIMESTAMP(?, {MOMENT})"], (_rewound(since, back),)
    total: int | None = None
    passed: list[_Mark] = []  # the places of one moment and id that the walk has come to
    while True:
        order = ", ".join(filter(None, (chosen.changed, chosen.key, chosen.beside)))
        page = query(http, f"{_filtered(chosen, where)} ORDER BY {order}", params, limit=min(chosen.page, size))
        total = total if passed else page.total
        if page.rows:
            reached = _Mark.of(chosen, page.rows[-1])
            if passed and (reached[:2] < passed[-1][:2] or reached in passed):
                raise Malformed(f"SuiteQL does not advance beyond {passed[-1].changed} in {name}.")
            passed = [*(one for one in passed if one[:2] == reached[:2]), reached]
            cursor = max(f"{reached.changed}|{reached.key}", since or "")
        last = not page.more or not passed
        yield Page(records=list(_records(http, chosen, page.rows)), cursor=cursor, last=last, total=total)
        if last:
            return
        where, params = _behind(chosen, passed[-1])


class _Mark(NamedTuple):
    """A place in a walk: everything before it was read."""

    changed: str
    key: int
    beside: str

    @classmethod
    def of(cls, chosen: Stream, row: Row) -> _Mark:
        beside = str(row.get(chosen.beside.partition(".")[2]) or "") if chosen.beside else ""
        return cls(str(row["changed"]), int(row["id"]), beside)


def _behind(chosen: Stream, mark: _Mark) -> tuple[list[str], tuple[str | int, ...]]:
    """The condition for what stands behind a place, and its values."""
    stamp = f"TO_TIMESTAMP(?, {MOMENT})"
    further = [f"{chosen.changed} > {stamp}", f"({chosen.changed} = {stamp} AND {chosen.key} > ?)"]
    values: list[str | int] = [mark.changed, mark.changed, mark.key]
    if chosen.beside:
        further.append(f"({chosen.changed} = {stamp} AND {chosen.key} = ? AND {chosen.beside} > ?)")
        values += [mark.changed, mark.key, mark.beside]
    return [f"({' OR '.join(further)})"], tuple(values)


def one(http: Http, name: str, identity: str) -> list[SourceRecord]:
    """A record as it is now; empty when it is gone."""
    number = identity.rpartition("/")[2]  # what is deleted is named by its type as well
    if not number.isdigit():
        return []
    chosen = stream(name)
    page = query(http, _filtered(chosen, [f"{chosen.key} = ?"]), (int(number),))
    return [found for found in _records(http, chosen, page.rows) if found.external_id == identity]


def _filtered(chosen: Stream, conditions: Sequence[str]) -> str:
    every = [condition for condition in (chosen.where, *conditions) if condition]
    return f"{chosen.select} WHERE {' AND '.join(every)}" if every else chosen.select


def _records(http: Http, chosen: Stream, rows: Sequence[Row]) -> Iterator[SourceRecord]:
    """Rows as the inbox files them; where a row does not hold the whole record, the record itself, read at once.

    One that is gone by then is left out: the stream of deleted records tells of it.
    """
    for row in rows:
        filed = record(chosen.name, row)
        if not chosen.record:
            yield filed
            continue
        try:
            whole = http.request(
                "GET", f"{RECORD_PATH}/{chosen.record}/{filed.external_id}", params={"expandSubResources": "true"}
            ).body
        except Rejected as error:
            if statements.is_absent(error):
                continue
            raise
        both = {"row": statements.plain(dict(row)), "record": statements.plain(whole)}
        yield replace(filed, payload=both)


def _rewound(cursor: str, back: timedelta) -> str:
    """The moment from which a pull starts: the cursor's, less the overlap. Raises Malformed."""
    try:
        return (datetime.strptime(cursor.partition("|")[0], _STAMP) - back).strftime(_STAMP)  # noqa: DTZ007
    except ValueError:
        raise Malformed(f"The cursor {cursor!r} is not a moment and an id.") from None
