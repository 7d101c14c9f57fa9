"""What every connector must do, whatever its vendor, over real HTTP against its sandbox.

A connector joins with a subclass per role that says how it is built and what its sandbox holds; nothing here is overridden.
`SourceContract` and `TargetContract` use a `Bench`: the connector's class, its account, and the sandbox it speaks to.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar

import pytest

from integrations.errors import ConnectorError, InDoubt, Malformed, Rejected, Unauthorised, Unavailable
from integrations.http import Exchange, Http, recording
from integrations.protocol import Account, Capabilities, Hint, Page, Source, SourceRecord, SweptSource, Target, held_of
from integrations.sandbox.server import control
from portal.records import CanonicalRecord, Posting, Receipt, StatementLine
from tests.integrations.walk_contract import WalkPromises, Walks

# Faults that any call may meet, and what a read makes of them.
READ_FAULTS: tuple[tuple[dict[str, Any], type[ConnectorError]], ...] = (
    ({"kind": "timeout_before", "seconds": 1.2}, Unavailable),
    ({"kind": "reset_before"}, Unavailable),
    ({"kind": "reset_mid_body"}, Unavailable),
    ({"kind": "status", "status": 500}, Unavailable),
    ({"kind": "status", "status": 502}, Unavailable),
    ({"kind": "status", "status": 503, "retry_after": "7"}, Unavailable),
    ({"kind": "status", "status": 429, "retry_after": "3"}, Unavailable),
    ({"kind": "status", "status": 429}, Unavailable),
    ({"kind": "status", "status": 403}, Unauthorised),
    ({"kind": "maintenance"}, Unavailable),
    ({"kind": "maintenance", "status": 200}, Unavailable),
    ({"kind": "maintenance", "status": 404}, Unavailable),
    ({"kind": "garbage"}, Unavailable),
)
# The same for a call that books, and whether the sandbox has booked it all the same.
WRITE_FAULTS: tuple[tuple[dict[str, Any], type[ConnectorError], bool], ...] = (
    ({"kind": "timeout_before", "seconds": 1.2}, InDoubt, False),
    ({"kind": "timeout_after", "seconds": 1.2}, InDoubt, True),
    ({"kind": "reset_before"}, InDoubt, False),
    ({"kind": "reset_after"}, InDoubt, True),
    ({"kind": "reset_mid_body"}, InDoubt, True),
    ({"kind": "status", "status": 500}, InDoubt, False),
    ({"kind": "status", "status": 500, "commits": True}, InDoubt, True),
    ({"kind": "status", "status": 504, "commits": True}, InDoubt, True),
    ({"kind": "status", "status": 503, "retry_after": "7"}, Unavailable, False),
    ({"kind": "status", "status": 429, "retry_after": "3"}, Unavailable, False),
    ({"kind": "status", "status": 429}, Unavailable, False),
    ({"kind": "status", "status": 403}, Unauthorised, False),
    ({"kind": "maintenance"}, Unavailable, False),
    ({"kind": "maintenance", "status": 200}, InDoubt, False),
    ({"kind": "garbage"}, InDoubt, True),
)


TIME_OUTS = ({"kind": "timeout_before", "seconds": 0.6}, {"kind": "timeout_after", "seconds": 0.6})
IMPATIENT = {"read_timeout": "0.3"}


def _named(fault: Mapping[str, Any]) -> str:
    return "-".join(str(value) for name, value in fault.items() if name != "seconds")


def _nobody_changes(stream: str, external_id: str, at: datetime) -> None:
    raise NotImplementedError(f"Nobody changes {external_id} of {stream}.")


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A connector and the sandbox it speaks to. `read` and `write` pick the vendor's calls that faults are put on.

    `change` lets somebody change a record of a stream at a moment of the vendor's clock.
    """

    connector: Callable[[Account, Http], Any]
    account: Account
    sandbox: str  # the sandbox's own address
    vendor: str
    read: Mapping[str, str] = field(default_factory=dict)  # {"method": "GET", "path": "/v2/time_entries"}
    write: Mapping[str, str] = field(default_factory=dict)
    change: Callable[[str, str, datetime], None] = _nobody_changes

    def build(self, **settings: Any) -> Any:
        """A new connector, as a worker would build it, with short time-outs."""
        account = replace(self.account, settings={"read_timeout": "0.5", **self.account.settings, **settings})
        return self.connector(account, Http(account, allow_loopback=True, rate=getattr(self.connector, "rate", None)))

    def fault(self, call: Mapping[str, str], **fault: Any) -> None:
        """Let the next matching call go wrong."""
        self.control("faults", [{"vendor": self.vendor, **call, **fault}])

    def control(self, path: str, data: Any = None) -> Any:
        """Call the sandbox's control plane: POST with data, GET without."""
        return control(self.sandbox, "GET" if data is None else "POST", path, data)

    def clear(self) -> None:
        """No fault is left."""
        control(self.sandbox, "DELETE", "faults")


def assert_no_secret(bench: Bench, exchanges: Sequence[Exchange]) -> None:
    """Nothing that was recorded shows a secret of the account."""
    assert exchanges
    text = repr(exchanges)
    for name, secret in bench.account.secrets.items():
        assert secret not in text, name
        assert json.dumps(secret)[1:-1] not in text, name


class SourcePromises(WalkPromises):
    """What every source promises, wherever its bytes come from."""

    bench: Bench
    streams: ClassVar[tuple[str, ...]]  # every stream that brings records; the sandbox was seeded with some of each
    of_hints: ClassVar[frozenset[str]] = frozenset()  # streams that only say what moved
    of_the_gone: ClassVar[frozenset[str]] = frozenset()  # streams whose records say what is gone
    span: ClassVar[tuple[date, date]] = (date(2000, 1, 1), date(2100, 1, 1))

    def source(self, **settings: Any) -> Source:
        found = self.bench.build(**settings)
        assert isinstance(found, Source)
        return found

    def pages(self, stream: str, since: str | None = None) -> list[Page]:
        return list(self.source().pull(stream, since))

    def test_it_says_in_one_sentence_that_the_account_answers(self) -> None:
        sentence = self.source().check()
        assert sentence.endswith(".")
        assert "\n" not in sentence

    def test_a_pull_yields_untouched_records_that_json_takes_and_closes_its_range(self) -> None:
        for stream in self.streams:
            pages = self.pages(stream)
            assert pages, stream
            assert [page.last for page in pages] == [False] * (len(pages) - 1) + [True]
            records = [record for page in pages for record in page.records]
            assert records, stream
            assert len({(r.external_id, r.revision) for r in records}) == len(records), "a record came twice"
            for record in records:
                assert record.stream == stream
                assert record.external_id
                assert record.revision
                json.dumps(record.payload)
            totals = {page.total for page in pages if page.total is not None}
            assert all(total <= len(records) for total in totals)

    def test_mapping_is_pure(self) -> None:
        source = self.source()
        for stream in self.streams:
            records = [record for page in self.pages(stream) for record in page.records]
            with recording() as exchanges:
                once = [list(source.map(record)) for record in records]
                twice = [list(self.source().map(record)) for record in records]
            assert exchanges == []
            assert once == twice
            assert any(once), stream
            for mapped in once:
                for canonical in mapped:
                    assert isinstance(canonical, CanonicalRecord)
                    assert canonical.external_id
                    assert canonical.revision

    def test_mapping_something_unreadable_is_malformed(self) -> None:
        payloads: tuple[Any, ...] = ([], "x", None)
        for stream in self.streams:
            for payload in payloads:
                record = SourceRecord(stream=stream, external_id="1", revision="1", payload=payload)
                with pytest.raises(Malformed):
                    list(self.source().map(record))

    def test_everything_pulled_is_present_or_its_deletion_is_told(self) -> None:
        source = self.source()
        if not isinstance(source, SweptSource):
            assert source.tombstones
            return
        for stream in set(self.streams) - self.of_the_gone:
            pulled = {record.external_id for page in self.pages(stream) for record in page.records}
            assert pulled <= set(source.present(stream, *self.span))

    @pytest.mark.case(118)
    def test_what_a_hint_names_is_read_again_and_what_is_gone_is_empty(self) -> None:
        for stream in self.streams:
            record = next(record for page in self.pages(stream) for record in page.records)
            again = list(self.source().fetch(Hint(stream=stream, external_id=record.external_id)))
            assert [r.external_id for r in again] == [record.external_id], stream
            assert list(self.source().fetch(Hint(stream=stream, external_id="999999999"))) == [], stream

    def test_a_webhook_without_a_good_signature_is_refused(self) -> None:
        with pytest.raises((Unauthorised, Malformed)):
            self.source().receive({"Content-Type": "application/json"}, b'{"id": "1", "records": []}')


class SourceContract(Walks, SourcePromises):
    """What a source promises that is called over HTTP and read by the stamps of its vendor's clock."""

    def test_no_stream_is_left_out_of_this(self) -> None:
        assert set(self.streams) | self.of_hints == set(self.source().streams)

    def test_reading_again_from_the_cursor_skips_nothing_and_the_cursor_never_goes_back(self) -> None:
        for stream in self.streams:
            first = self.pages(stream)
            cursor = first[-1].cursor
            assert cursor is not None
            latest = max(record.revision for page in first for record in page.records)
            again = self.pages(stream, cursor)
            assert any(record.revision == latest for page in again for record in page.records), "the range is closed"
            assert again[-1].cursor is not None
            assert again[-1].cursor >= cursor

    def test_a_vendor_that_does_not_answer_in_time_is_not_available(self) -> None:
        source = self.source()
        self.bench.fault(self.bench.read, kind="timeout_before", seconds=1.2)
        with pytest.raises(Unavailable):
            list(source.pull(self.streams[0], None))
        self.bench.clear()
        assert list(source.pull(self.streams[0], None))[-1].last

    def test_no_secret_is_recorded(self) -> None:
        with recording() as exchanges:
            self.source().check()
            list(self.source().pull(self.streams[0], None))
        assert_no_secret(self.bench, exchanges)


class TargetContract:
    """What a target promises. `postings` are good ones, which differ in their keys at least."""

    bench: Bench
    every_call: ClassVar[bool] = True  # whether each call of a push meets a time-out, or the first one alone
    # How the vendor says no to a write because of another's: its status and its answer. None where a record is only ever made.
    changed: ClassVar[Mapping[str, Any] | None]
    forgets: ClassVar[Mapping[str, Any]] = {"kind": "forgets"}  # how it says yes and keeps nothing

    def postings(self, count: int) -> list[Posting]:
        """Good postings under new keys."""
        raise NotImplementedError

    def bad_posting(self) -> Posting:
        """A posting that the target answers with a business refusal."""
        raise NotImplementedError

    def booked(self, key: str) -> int:
        """How many records the sandbox holds under a key: the judge of duplicates."""
        raise NotImplementedError

    def book(self) -> None:
        """Let a target that books later book what it took."""

    def target(self, **settings: Any) -> Target:
        found = self.bench.build(**settings)
        assert isinstance(found, Target)
        return found

    def push_one(self, posting: Posting, **settings: Any) -> Receipt | ConnectorError:
        """The outcome of one posting, whether it was returned or raised."""
        try:
            outcomes = self.target(**settings).push([posting])
        except ConnectorError as error:
            return error
        assert len(outcomes) == 1
        return outcomes[0]

    def pushed(self, postings: Sequence[Posting]) -> Sequence[Receipt | ConnectorError]:
        """The outcomes of one push; what is raised holds for all of it."""
        try:
            return self.target().push(postings)
        except ConnectorError as error:
            return [error] * len(postings)

    def found(self, *postings: Posting) -> Mapping[str, StatementLine]:
        """What the target holds of postings, asked as the outbox asks it before it knows their numbers."""
        held = held_of(self.target(), postings, {})
        return {key: line for key, line in held.items() if isinstance(line, StatementLine)}

    def receipt(self, posting: Posting) -> Receipt:
        outcome = self.push_one(posting)
        assert isinstance(outcome, Receipt), outcome
        return outcome

    def test_it_says_in_one_sentence_that_the_account_answers(self) -> None:
        assert self.target().check().endswith(".")

    @pytest.mark.case(73)
    def test_what_somebody_changed_there_meanwhile_is_named_so_and_booked_once_when_it_comes_again(self) -> None:
        (posting,) = self.postings(1)
        if self.changed is None:
            assert not self.target().capabilities.upsert
            return
        self.bench.fault(self.bench.write, kind="says", **self.changed)
        outcome = self.push_one(posting)
        assert isinstance(outcome, Rejected), outcome
        assert (outcome.code, self.booked(posting.key)) == ("record-changed", 0)
        self.receipt(posting)
        self.book()
        assert self.booked(posting.key) == 1

    def test_capabilities_are_declared(self) -> None:
        capabilities = self.target().capabilities
        assert isinstance(capabilities, Capabilities)
        assert capabilities.batch_size >= 1
        assert capabilities.concurrency >= 1

    @pytest.mark.case(62)
    def test_each_posting_has_one_outcome_in_its_order(self) -> None:
        size = self.target().capabilities.batch_size
        good = self.postings(max(2, min(size, 5)) - 1)
        postings = [*good, self.bad_posting()]
        outcomes: list[Receipt | ConnectorError] = []
        for start in range(0, len(postings), size):
            outcomes += self.target().push(postings[start : start + size])
        assert len(outcomes) == len(postings)
        for posting, outcome in zip(good, outcomes, strict=False):
            assert isinstance(outcome, Receipt), outcome
            assert outcome.key == posting.key
            assert outcome.number
            assert self.booked(posting.key) == 1
        assert isinstance(outcomes[-1], Rejected)
        assert self.booked(postings[-1].key) == 0

    def test_the_same_key_never_books_twice(self) -> None:
        (posting,) = self.postings(1)
        first = self.receipt(posting)
        second = self.push_one(posting)
        assert isinstance(second, Receipt | Rejected)
        if isinstance(second, Receipt):
            assert second.number == first.number
        assert self.booked(posting.key) == 1

    def test_what_is_booked_is_found_equal_and_what_is_not_is_absent(self) -> None:
        posting, absent = self.postings(2)
        receipt = self.receipt(posting)
        found = self.found(posting, absent)
        assert set(found) == {posting.key}
        line = found[posting.key]
        assert (line.number, line.key, line.work_date) == (receipt.number, posting.key, posting.work_date)
        assert (line.resource, line.project) == (posting.resource, posting.project)
        if posting.hours is not None and line.hours is not None:
            assert abs(line.hours - posting.hours) <= self.target().capabilities.hours_tolerance
        json.dumps(dict(line.raw))
        json.dumps(dict(receipt.raw))

    def test_the_statement_of_a_range_shows_what_is_booked_in_it(self) -> None:
        postings = self.postings(2)
        numbers = {self.receipt(posting).number for posting in postings}
        self.book()
        day = postings[0].work_date
        lines = {line.number: line for line in self.target().statement(day, postings[1].work_date)}
        assert numbers <= set(lines)
        assert all(day <= line.work_date <= postings[1].work_date for line in lines.values())
        before = {line.number for line in self.target().statement(day - timedelta(days=400), day - timedelta(days=399))}
        assert not numbers & before

    @pytest.mark.case(63)
    def test_what_is_taken_and_booked_later_is_told_as_such_until_it_is_booked(self) -> None:
        (posting,) = self.postings(1)
        receipt = self.receipt(posting)
        if not self.target().capabilities.books_within:
            held = self.found(posting)[posting.key]
            assert (held.number, held.is_booked) == (receipt.number, True)
            return
        day = posting.work_date
        waiting = self.target().find([posting.key])[posting.key]
        assert (waiting.number, waiting.is_booked) == (receipt.number, False)
        assert receipt.number not in {line.number for line in self.target().statement(day, day)}
        self.book()
        booked = self.target().find([posting.key])[posting.key]
        assert (booked.number, booked.is_booked, booked.waits) == (receipt.number, True, "")
        assert [line.number for line in self.target().statement(day, day) if line.key == posting.key] == [
            receipt.number
        ]

    @pytest.mark.case(63)
    def test_a_yes_of_which_nothing_was_kept_proves_nothing_and_what_goes_again_is_booked_once(self) -> None:
        (posting,) = self.postings(1)
        self.target().check()  # signed in, so that the fault meets the booking
        self.bench.fault(self.bench.write, **self.forgets)
        assert isinstance(self.push_one(posting), Receipt | InDoubt)
        self.bench.clear()
        assert self.booked(posting.key) == 0
        assert self.found(posting) == {}
        assert self.receipt(posting).number
        assert self.booked(posting.key) == 1

    def test_a_reversal_is_a_record_of_its_own(self) -> None:
        posting, other = self.postings(2)
        receipt = self.receipt(posting)
        assert posting.hours is not None
        reversal = replace(posting, key=other.key, hours=-posting.hours, reverses=receipt.number)
        if not self.target().capabilities.reversal:
            [refused] = self.target().push([reversal])
            assert isinstance(refused, Rejected)
            assert refused.code == "no-opposite"
            assert receipt.number in refused.detail, "its people are told what to take back"
            assert self.found(reversal) == {}
            return
        assert self.receipt(reversal).number != receipt.number
        line = self.target().find([reversal.key])[reversal.key]
        assert line.hours is not None
        assert line.hours < 0
        assert receipt.number in line.memo

    def test_the_body_is_pure_and_json(self) -> None:
        (posting,) = self.postings(1)
        with recording() as exchanges:
            once = json.dumps(self.target().body(posting), sort_keys=True)
            twice = json.dumps(self.target().body(posting), sort_keys=True)
        assert exchanges == []
        assert once == twice
        other = replace(posting, hours=(posting.hours or Decimal(0)) + 1)
        assert json.dumps(self.target().body(other), sort_keys=True) != once

    @pytest.mark.parametrize(("fault", "error", "books"), WRITE_FAULTS, ids=[_named(f) for f, *_ in WRITE_FAULTS])
    @pytest.mark.case(57, 66, 67)
    def test_a_fault_while_booking_is_named_and_the_look_up_settles_it(
        self, fault: dict[str, Any], error: type[ConnectorError], books: bool
    ) -> None:
        (posting,) = self.postings(1)
        self.target().check()  # signed in, so that the fault meets the booking
        self.bench.fault(self.bench.write, **fault)
        outcome = self.push_one(posting)
        assert isinstance(outcome, error), outcome
        if isinstance(outcome, Unavailable) and fault.get("retry_after"):
            assert outcome.retry_after == float(fault["retry_after"])
        self.bench.clear()
        assert self.booked(posting.key) == int(books)
        assert set(self.found(posting)) == ({posting.key} if books else set())
        if not books:
            self.receipt(posting)
        assert self.booked(posting.key) == 1

    @pytest.mark.case(57)
    def test_a_time_out_before_or_after_commit_at_any_call_of_a_push_books_once(self) -> None:
        first, *postings = self.postings(40)
        with recording() as exchanges:
            self.receipt(first)
        for number in range(len(exchanges) if self.every_call else 1):
            for fault in TIME_OUTS:
                posting = postings.pop()
                self.bench.fault({}, **fault, after=number)
                outcome = self.push_one(posting, **IMPATIENT)
                self.bench.clear()
                where = (number, fault["kind"], outcome)
                assert isinstance(outcome, Receipt | InDoubt | Unavailable), where
                if not isinstance(outcome, Receipt) and not (isinstance(outcome, InDoubt) and self.found(posting)):
                    assert self.booked(posting.key) == 0, where
                    self.receipt(posting)
                assert self.booked(posting.key) == 1, where

    def test_a_time_out_at_any_call_of_a_statement_is_unavailable_and_never_a_short_one(self) -> None:
        (posting,) = self.postings(1)
        number = self.receipt(posting).number
        self.book()
        day = posting.work_date
        with recording() as exchanges:
            assert number in {line.number for line in self.target().statement(day, day)}
        for call in range(len(exchanges)):
            self.bench.fault({}, **TIME_OUTS[call % 2], after=call)
            with pytest.raises(Unavailable):
                list(self.target(**IMPATIENT).statement(day, day))
            self.bench.clear()

    @pytest.mark.case(67)
    def test_credentials_that_end_in_the_middle_book_once(self) -> None:
        """At any call of a batch, for once or for good: what was not booked was not sent, and what nobody knows is looked up."""
        size = min(self.target().capabilities.batch_size, 3)
        pool = self.postings(40)
        batch = [pool.pop(0) for _ in range(size)]
        self.target().check()
        with recording() as exchanges:
            assert [type(outcome) for outcome in self.pushed(batch)] == [Receipt] * size
        for number in range(len(exchanges) if self.every_call else 1):
            for times in (1, None):
                if len(pool) < size:
                    return
                batch = [pool.pop(0) for _ in range(size)]
                self.bench.fault({}, kind="status", status=401, after=number, times=times)
                outcomes = self.pushed(batch)
                self.bench.clear()
                for posting, outcome in zip(batch, outcomes, strict=True):
                    where = (number, times, outcome)
                    assert isinstance(outcome, Receipt | Unauthorised | InDoubt | Unavailable), where
                    is_found = isinstance(outcome, InDoubt) and bool(self.found(posting))
                    assert self.booked(posting.key) == int(isinstance(outcome, Receipt) or is_found), where
                    if not isinstance(outcome, Receipt) and not is_found:
                        self.receipt(posting)
                    assert self.booked(posting.key) == 1, where

    @pytest.mark.case(57)
    def test_a_look_up_that_fails_never_says_absent(self) -> None:
        (posting,) = self.postings(1)
        self.receipt(posting)
        for fault, _ in READ_FAULTS:
            self.bench.fault({}, times=None, **fault)
            with pytest.raises(ConnectorError) as raised:
                self.found(posting)
            assert not isinstance(raised.value, InDoubt | Rejected)
            self.bench.clear()

    def test_nothing_listening_is_unavailable(self) -> None:
        (posting,) = self.postings(1)
        account = replace(self.bench.account, base_url="http://127.0.0.1:9")
        target = self.bench.connector(account, Http(account, allow_loopback=True))
        try:
            outcomes = target.push([posting])
        except ConnectorError as error:
            outcomes = [error]
        assert [type(outcome) for outcome in outcomes] == [Unavailable]

    @pytest.mark.case(67)
    def test_wrong_credentials_are_unauthorised(self) -> None:
        (posting,) = self.postings(1)
        account = replace(
            self.bench.account, code="stranger", secrets=dict.fromkeys(self.bench.account.secrets, "wrong-" * 4)
        )
        target = self.bench.connector(account, Http(account, allow_loopback=True))
        try:
            outcomes = target.push([posting])
        except ConnectorError as error:
            outcomes = [error]
        assert [type(outcome) for outcome in outcomes] == [Unauthorised]
        assert self.booked(posting.key) == 0

    def test_no_secret_is_recorded(self) -> None:
        (posting,) = self.postings(1)
        with recording() as exchanges:
            self.receipt(posting)
            self.found(posting)
        assert any(exchange.method in ("PUT", "POST") for exchange in exchanges)
        assert_no_secret(self.bench, exchanges)
