"""Tryton's JSON-RPC: one address, the method in the body, the context as its last parameter, and errors inside good answers.

A request has exactly the keys `id`, `method` and `params`; with any other there is no envelope around the answer. Without the
company in the context the record rules refuse everything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from integrations.connectors.tryton import refusals
from integrations.connectors.tryton.settings import SETTINGS
from integrations.errors import ConnectorError, InDoubt, Malformed, Rejected, Unavailable
from integrations.http import Http, Response
from integrations.http.fields import Row, number
from integrations.protocol import Account

Domain = Sequence[Any]
# A long answer says that it is packed, and is so only where we take packed ones.
_HEADERS = {"Accept-Encoding": "gzip"}
_PARTS = ("year", "month", "day", "hour", "minute", "second", "microsecond")


class Rpc:
    """The calls of one company."""

    def __init__(self, account: Account, http: Http, own: Sequence[refusals.Pattern]) -> None:
        self._http = http
        self._own = own
        self._path = f"/{account.setting('database', SETTINGS)}/rpc/"
        self.company = int(account.realm) if account.realm.isdigit() else 0
        self.page_size = max(1, int(account.setting("page_size", SETTINGS)))

    def version(self) -> str:
        """Which Tryton answers."""
        body = {"id": 1, "method": "common.server.version", "params": []}
        told = self._http.request("POST", "/rpc/", json=body, writes=False, auth=False).body
        return str(told.get("result") or "") if isinstance(told, Mapping) else ""

    def write(self, method: str, *params: Any) -> Any:
        """Call what changes something. Raises the error that the answer means; nothing is written then, unless it is in doubt."""
        try:
            answer = self._send(method, params, writes=True)
        except ConnectorError as error:
            raise refusals.narrow(error, self._own) from None
        if not isinstance(answer.body, Mapping) or "result" not in answer.body:
            raise InDoubt(f"Tryton's answer to {method} says neither yes nor no.")
        return answer.body["result"]

    def read(self, method: str, *params: Any, **context: Any) -> Any:
        """Call what changes nothing. A refusal of it says nothing about what is booked, and is raised as Unavailable."""
        return self._asked(method, params, context)[0]

    def rows(self, model: str, domain: Domain, fields: Sequence[str]) -> Iterator[Row]:
        """Every row of a model that a domain holds, by ids, so that a change in between neither repeats nor skips one."""
        after = 0
        while True:
            page, _ = self.page(model, [*domain, ["id", ">", after]], fields)
            for row in page:
                if int(row["id"]) > after:  # a row that is shown twice is one
                    after = int(row["id"])
                    yield row
            if len(page) < self.page_size:
                return

    def page(self, model: str, domain: Domain, fields: Sequence[str]) -> tuple[list[Row], Response]:
        """The first rows of a domain by id, inactive ones included, and the answer that they came with."""
        params = (list(domain), 0, self.page_size, [["id", "ASC"]], list(fields))
        found, answer = self._asked(f"model.{model}.search_read", params, {"active_test": False})
        if not isinstance(found, list) or not all(isinstance(row, Mapping) and "id" in row for row in found):
            raise Unavailable(f"Tryton answered something that is no list of {model}.")
        return found, answer

    def count(self, model: str, domain: Domain) -> int:
        """How many rows a domain holds."""
        found = self.read(f"model.{model}.search_count", list(domain), 0, None, active_test=False)
        if not isinstance(found, int):
            raise Unavailable(f"Tryton answered no count of {model}.")
        return found

    def _asked(self, method: str, params: Sequence[Any], context: Mapping[str, Any]) -> tuple[Any, Response]:
        try:
            answer = self._send(method, params, writes=False, **context)
        except ConnectorError as error:
            named = refusals.narrow(error, self._own, writes=False)
            if isinstance(named, Rejected):
                raise Unavailable(f"Tryton refused our look: {named.detail}", status=named.status) from None
            raise named from None
        if not isinstance(answer.body, Mapping) or "result" not in answer.body:
            raise Unavailable(f"Tryton answered {method} without a result.")
        return answer.body["result"], answer

    def _send(self, method: str, params: Sequence[Any], *, writes: bool, **context: Any) -> Response:
        words = {"company": self.company, "language": "en", **context}
        body = {"id": 1, "method": method, "params": [*params, words]}
        answer = self._http.request("POST", self._path, json=body, headers=_HEADERS, writes=writes)
        refused = refusals.of_answer(answer.body, self._http.redact)
        if refused is not None:
            raise refused
        return answer


def written_day(day: date) -> dict[str, Any]:
    """A day as Tryton reads it."""
    return {"__class__": "date", "year": day.year, "month": day.month, "day": day.day}


def written_moment(moment: datetime) -> dict[str, Any]:
    """A moment in UTC as Tryton reads it."""
    return {"__class__": "datetime", **{part: getattr(moment, part) for part in _PARTS}}


def day(row: Row, name: str) -> date | None:
    """A day of a row; None where it has none. Raises Malformed."""
    value = row.get(name)
    if value is None:
        return None
    try:
        return date(*(int(value[part]) for part in ("year", "month", "day")))
    except (KeyError, TypeError, ValueError):
        raise Malformed(f"{name} is {value!r}, not a day.") from None


def stamp(row: Row, name: str) -> datetime | None:
    """A moment of a row, in UTC and without a zone, as Tryton has it; None where it has none. Raises Malformed."""
    value = row.get(name)
    if value is None:
        return None
    try:
        return datetime(**{part: int(value[part]) for part in _PARTS})  # type: ignore[arg-type] # noqa: DTZ001 - as it is kept
    except (KeyError, TypeError, ValueError):
        raise Malformed(f"{name} is {value!r}, not a moment.") from None


def amount(row: Row, name: str) -> Decimal | None:
    """An amount, a number or the seconds of a duration of a row; None where it has none. Raises Malformed."""
    value = row.get(name)
    if isinstance(value, Mapping):
        value = value.get("decimal", value.get("seconds"))
        if value is None:
            raise Malformed(f"{name} is {row.get(name)!r}, not a number.")
    return number({name: value}, name)


def within(row: Row, name: str) -> Row:
    """The record that a row refers to, where it was read with it; empty where there is none."""
    found = row.get(f"{name}.")
    return found if isinstance(found, Mapping) else {}


def several(row: Row, name: str) -> list[Row]:
    """The records that a row has several of, as they were read with it. Raises Malformed."""
    found = row.get(f"{name}.") or []
    if not isinstance(found, list) or not all(isinstance(item, Mapping) for item in found):
        raise Malformed(f"{name} is no list of records.")
    return found
