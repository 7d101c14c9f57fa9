"""What NetSuite says it has booked: time bills and expense reports as statement lines, by date range or by our keys.

An expense report is one line of a statement, with the sum of its lines; ours have one. A key that SuiteQL does not show is
asked for by REST before it counts as absent, because an absent key is sent again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal, InvalidOperation
from itertools import groupby
from typing import Any

from integrations.connectors.netsuite import assumptions, bodies, refusals
from integrations.connectors.netsuite.suiteql import DAY, Row, by_id
from integrations.errors import ConnectorError, Malformed, Rejected, Unavailable
from integrations.http import Http, fields
from integrations.protocol import is_ours
from portal.records import DocumentKind, StatementLine

RECORD_PATH = "/services/rest/record/v1"
CHUNK = 200  # keys in one query

_TIME = (
    "SELECT tb.id, tb.externalid, TO_CHAR(tb.trandate, 'YYYY-MM-DD') AS trandate, tb.employee, tb.customer, "
    "tb.casetaskevent, tb.item, tb.department, tb.subsidiary, tb.hours, tb.rate, tb.isbillable, tb.memo FROM timebill tb"
)
_EXPENSES = (
    "SELECT t.id, t.externalid, TO_CHAR(t.trandate, 'YYYY-MM-DD') AS trandate, t.entity AS employee, t.subsidiary, "
    "t.memo, c.symbol AS currency, tl.entity AS customer, tl.projecttask, tl.category, tl.department, tl.foreignamount, "
    "tl.isbillable FROM transaction t JOIN transactionline tl ON tl.transaction = t.id "
    "LEFT JOIN currency c ON c.id = t.currency"
)
_EXPENSES_ONLY = ("t.type = 'ExpRept'", assumptions.EXPENSE_LINES)


def booked(http: Http, start: date, end: date, entity: str, *, expenses: bool) -> Iterator[StatementLine]:
    """Every time bill and expense report with a date in the closed range, ours or not."""
    days: list[str | int] = [start.isoformat(), end.isoformat()]
    for alias, select, fixed, read in _sources(expenses=expenses):
        where = [*fixed, f"{alias}.trandate >= TO_DATE(?, {DAY})", f"{alias}.trandate <= TO_DATE(?, {DAY})"]
        params = list(days)
        if entity:
            where.append(f"{alias}.subsidiary = ?")
            params.append(int(entity) if entity.isdigit() else entity)
        yield from read(by_id(http, select, where, params, key=f"{alias}.id"))


def by_keys(http: Http, keys: Sequence[str], *, expenses: bool) -> dict[str, StatementLine]:
    """What SuiteQL shows under our keys."""
    found: dict[str, StatementLine] = {}
    for start in range(0, len(keys), CHUNK):
        chunk = list(keys[start : start + CHUNK])
        marks = ", ".join("?" * len(chunk))
        for alias, select, fixed, read in _sources(expenses=expenses):
            where = [*fixed, f"{alias}.externalid IN ({marks})"]
            for line in read(by_id(http, select, where, chunk, key=f"{alias}.id")):
                found[line.key] = line
    return found


def by_record(http: Http, key: str, own: Sequence[refusals.Pattern], *, expenses: bool) -> StatementLine | None:
    """What REST holds under a key; None only when NetSuite says in its own words that there is nothing."""
    types = ("timebill", "expensereport") if expenses else ("timebill",)
    for name in types:
        try:
            answer = http.request("GET", f"{RECORD_PATH}/{name}/eid:{key}", params={"expandSubResources": "true"}).body
        except ConnectorError as error:
            if not is_absent(error):
                raise refusals.narrow(error, own, writes=False) from None
            continue
        if not isinstance(answer, Mapping):
            raise Unavailable(f"The record {key} came without a body.")
        return _time_record(answer) if name == "timebill" else _expense_record(answer)
    return None


def is_absent(error: ConnectorError) -> bool:
    """Whether NetSuite says in its own words that a record does not exist."""
    said = refusals.read(error.body)
    if not isinstance(error, Rejected):
        return False
    if error.status == 404:
        return said.code == "NONEXISTENT_ID" and "record instance" in said.detail
    return error.status == 400 and assumptions.ABSENT_TRANSACTION in said.detail


def _sources(*, expenses: bool) -> list[tuple[str, str, tuple[str, ...], Any]]:
    found: list[tuple[str, str, tuple[str, ...], Any]] = [("tb", _TIME, (), _time_lines)]
    if expenses:
        found.append(("t", _EXPENSES, _EXPENSES_ONLY, _expense_lines))
    return found


def _key(text: Any) -> str:
    return text if isinstance(text, str) and is_ours(text) else ""


def _hours(row: Row) -> Decimal | None:
    value = row.get("hours")
    if value in (None, ""):
        return None
    try:
        return bodies.hours_of(str(value))
    except (ValueError, InvalidOperation):
        raise Malformed(f"hours is {value!r}, neither h:mm nor a number.") from None


def _time_lines(rows: Iterator[Row]) -> Iterator[StatementLine]:
    for row in rows:
        yield StatementLine(
            number=str(row["id"]),
            key=_key(row.get("externalid")),
            kind=DocumentKind.TIME,
            work_date=fields.needed_day(row, "trandate"),
            entity=str(row.get("subsidiary", "")),
            resource=str(row.get("employee", "")),
            project=str(row.get("customer", "")),
            task=str(row.get("casetaskevent", "")),
            hours=_hours(row),
            rate=fields.number(row, "rate"),
            billable=row.get("isbillable") == "T" if "isbillable" in row else None,
            memo=str(row.get("memo", "")),
            raw=plain(row),
        )


def _expense_lines(rows: Iterator[Row]) -> Iterator[StatementLine]:
    for number, group in groupby(rows, key=lambda row: str(row["id"])):
        lines = list(group)
        first = lines[0]
        amounts = [amount for line in lines if (amount := fields.number(line, "foreignamount")) is not None]
        yield StatementLine(
            number=number,
            key=_key(first.get("externalid")),
            kind=DocumentKind.EXPENSE,
            work_date=fields.needed_day(first, "trandate"),
            entity=str(first.get("subsidiary", "")),
            resource=str(first.get("employee", "")),
            project=str(first.get("customer", "")),
            task=str(first.get("projecttask", "")),
            amount=sum(amounts, Decimal(0)) if amounts else None,
            currency=str(first.get("currency", "")),
            billable=first.get("isbillable") == "T" if "isbillable" in first else None,
            memo=str(first.get("memo", "")),
            raw={"lines": [plain(line) for line in lines]},
        )


def plain(value: Any) -> Any:
    """A vendor's record as json.dumps takes it: links left out, numbers with a point as texts."""
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items() if name != "links"}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, Decimal) else value


def _id(record: Row, name: str) -> str:
    value = record.get(name)
    return str(value.get("id", "")) if isinstance(value, Mapping) else ""


def _time_record(record: Row) -> StatementLine:
    return StatementLine(
        number=str(record["id"]),
        key=_key(record.get("externalId")),
        kind=DocumentKind.TIME,
        work_date=fields.needed_day(record, "tranDate"),
        entity=_id(record, "subsidiary"),
        resource=_id(record, "employee"),
        project=_id(record, "customer"),
        task=_id(record, "caseTaskEvent"),
        hours=_hours(record),
        rate=fields.number(record, "rate"),
        billable=record.get("isBillable"),
        memo=str(record.get("memo", "")),
        raw=plain(record),
    )


def _expense_record(record: Row) -> StatementLine:
    sublist = record.get("expense")
    lines = sublist.get("items", []) if isinstance(sublist, Mapping) else []
    first = lines[0] if lines else {}
    amounts = [amount for line in lines if (amount := fields.number(line, "amount")) is not None]
    return StatementLine(
        number=str(record["id"]),
        key=_key(record.get("externalId")),
        kind=DocumentKind.EXPENSE,
        work_date=fields.needed_day(record, "tranDate"),
        entity=_id(record, "subsidiary"),
        resource=_id(record, "entity"),
        project=_id(first, "customer"),
        task=_id(first, "projecttask"),
        amount=sum(amounts, Decimal(0)) if amounts else None,
        billable=first.get("isBillable"),
        memo=str(record.get("memo", "")),
        raw=plain(record),
    )
