"""A target that keeps the protocol in memory, and goes wrong on purpose. Its own books are the judge of duplicates."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from typing import Any

from integrations.errors import ConnectorError, Rejected
from integrations.http import Http
from integrations.protocol import Account, Capabilities, Setting
from portal.records import DocumentKind, Posting, Receipt, StatementLine

Fault = Callable[["Books", Sequence[Posting]], Sequence[Receipt | ConnectorError]]


@dataclass
class Books:
    """What one account of the target holds. `faults` strike one push each, in order; `lag` hides this many look-ups."""

    capabilities: Capabilities = field(default_factory=lambda: Capabilities(batch_size=5, concurrency=4))
    records: list[StatementLine] = field(default_factory=list)
    faults: deque[Fault | None] = field(default_factory=deque)
    latency: float = 0.0
    pushes: list[list[str]] = field(default_factory=list)
    finds: list[list[str]] = field(default_factory=list)
    statements: list[tuple[date, date, str]] = field(default_factory=list)
    checks: int = 0
    check_error: ConnectorError | None = None
    find_error: ConnectorError | None = None
    lag: int = 0
    alter: Callable[[StatementLine], StatementLine] | None = None
    in_flight: int = 0
    most_in_flight: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    numbers: int = 0

    def book(self, postings: Sequence[Posting]) -> list[Receipt | ConnectorError]:
        """Book as told, without looking at keys unless it can: a duplicate is the sender's fault and shows."""
        with self.lock:
            receipts: list[Receipt | ConnectorError] = []
            for posting in postings:
                known = [line for line in self.records if line.key == posting.key]
                if known and self.capabilities.unique_key:
                    receipts.append(Rejected("The key was used.", code="duplicate"))
                    continue
                known = known if self.capabilities.upsert else []
                number = known[0].number if known else f"M-{self.numbers + 1}"
                if not known:
                    self.numbers += 1
                    self.records.append(as_booked(posting, number))
                receipts.append(Receipt(key=posting.key, number=number))
            return receipts

    def shown(self, line: StatementLine) -> StatementLine:
        """What the target says it holds."""
        return self.alter(line) if self.alter else line

    def by_key(self) -> Counter[str]:
        """How often each key was booked."""
        return Counter(line.key for line in self.records)

    def hours(self) -> Decimal:
        """Everything booked."""
        return sum((line.hours or Decimal(0) for line in self.records), Decimal(0))


def as_booked(posting: Posting, number: str) -> StatementLine:
    """A posting as the target's statement shows it."""
    return StatementLine(
        number=number, key=posting.key, kind=DocumentKind(posting.kind), work_date=posting.work_date, entity=posting.entity,
        resource=posting.resource, project=posting.project, task=posting.task, hours=posting.hours, rate=posting.rate,
        amount=posting.amount, currency=posting.currency, billable=posting.billable, memo=posting.memo,
    )  # fmt: skip


BOOKS: dict[str, Books] = {}


class MemoryTarget:
    """One account's target."""

    name = "memory"
    settings: tuple[Setting, ...] = ()
    hosts: tuple[str, ...] = ()

    def __init__(self, account: Account, http: Http) -> None:
        self.books = BOOKS.setdefault(account.code, Books())
        self.capabilities = self.books.capabilities

    def check(self) -> str:
        self.books.checks += 1
        if self.books.check_error is not None:
            raise self.books.check_error
        return "answers"

    def body(self, posting: Posting) -> Any:
        return {"key": posting.key, "hours": posting.hours, "amount": posting.amount, "memo": posting.memo}

    def push(self, postings: Sequence[Posting]) -> Sequence[Receipt | ConnectorError]:
        books = self.books
        with books.lock:
            books.in_flight += 1
            books.most_in_flight = max(books.most_in_flight, books.in_flight)
            books.pushes.append([posting.key for posting in postings])
            fault = books.faults.popleft() if books.faults else None
        try:
            time.sleep(books.latency)
            return fault(books, postings) if fault else books.book(postings)
        finally:
            with books.lock:
                books.in_flight -= 1

    def find(self, keys: Sequence[str]) -> Mapping[str, StatementLine]:
        books = self.books
        with books.lock:
            books.finds.append(list(keys))
            if books.find_error is not None:
                raise books.find_error
            if books.lag > 0:
                books.lag -= 1
                return {}
            return {line.key: books.shown(line) for line in books.records if line.key in set(keys)}

    def statement(self, start: date, end: date, entity: str = "") -> Iterator[StatementLine]:
        self.books.statements.append((start, end, entity))
        for line in list(self.books.records):
            if start <= line.work_date <= end and entity in ("", line.entity):
                yield self.books.shown(line)


def fails(error: ConnectorError, *, booked: bool = False) -> Fault:
    """A push that ends in an error, its postings booked or not."""

    def strike(books: Books, postings: Sequence[Posting]) -> Sequence[Receipt | ConnectorError]:
        if booked:
            books.book(postings)
        raise error

    return strike


def answers(make: Callable[[Sequence[Receipt | ConnectorError]], Sequence[Receipt | ConnectorError]]) -> Fault:
    """A push that books and answers something else."""
    return lambda books, postings: make(books.book(postings))


def altered(**changes: Any) -> Callable[[StatementLine], StatementLine]:
    """The target changes what it holds."""
    return lambda line: replace(line, **changes)
