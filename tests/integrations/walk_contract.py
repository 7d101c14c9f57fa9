"""What every source promises of a walk through each of its streams, wherever it is cut and whatever the vendor does meanwhile.

A walk is cut when the reader dies, when its time is up, or when a call fails. `Inbox` keeps what reading keeps, by the rules of
`integrations.streams`; what it holds in the end is held against a walk that nothing disturbed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from itertools import cycle
from typing import TYPE_CHECKING, Any, ClassVar, cast

import pytest

from integrations.errors import ConnectorError, Unauthorised, Unavailable
from integrations.http import recording
from integrations.protocol import Page, Source, SourceRecord, SweptSource

if TYPE_CHECKING:
    from tests.integrations.contract import Bench

# What may meet any call of a walk, and what becomes of the reading. A refused token may be had anew, so nothing need come of it.
WALK_FAULTS: tuple[tuple[dict[str, Any], type[ConnectorError] | None], ...] = (
    ({"kind": "timeout_before", "seconds": 0.3}, Unavailable),
    ({"kind": "reset_before"}, Unavailable),
    ({"kind": "reset_mid_body"}, Unavailable),
    ({"kind": "status", "status": 500}, Unavailable),
    ({"kind": "status", "status": 502}, Unavailable),
    ({"kind": "status", "status": 503, "retry_after": "7"}, Unavailable),
    ({"kind": "status", "status": 429, "retry_after": "3"}, Unavailable),
    ({"kind": "status", "status": 429}, Unavailable),
    ({"kind": "status", "status": 403}, Unauthorised),
    ({"kind": "status", "status": 401}, None),
    ({"kind": "maintenance"}, Unavailable),
    ({"kind": "maintenance", "status": 200}, Unavailable),
    ({"kind": "maintenance", "status": 404}, Unavailable),
    ({"kind": "garbage"}, Unavailable),
)


class Inbox:
    """What is kept of one stream: every revision of a record once, and the cursor behind the last page that was filed."""

    def __init__(self, stream: str) -> None:
        self.stream = stream
        self.cursor: str | None = None
        self.filed: dict[str, dict[str, Any]] = defaultdict(dict)  # what a record looked like, by its id and revision
        self.pages = 0

    def read(self, source: Source, *, until: int | None = None) -> bool:
        """One reading; whether it came whole to its end. With `until` the reader dies once so many pages are filed.

        The page after them has been fetched by then and is lost with it.
        """
        began, read, total = self.cursor, 0, None
        walk = cast("Generator[Page]", source.pull(self.stream, began))
        with closing(walk):
            for number, page in enumerate(walk):
                if number == until:
                    return False
                read += len(page.records)
                total = page.total if page.total is not None else total
                is_short = page.last and total is not None and read < total
                self._file(page.records)
                self._file(record for hint in page.hints for record in source.fetch(hint))
                self.pages += 1
                if page.cursor is not None and not is_short:
                    self.cursor = page.cursor
                if page.last:
                    self.cursor = began if is_short else self.cursor
                    return not is_short
        return False

    def _file(self, records: Iterable[SourceRecord]) -> None:
        for record in records:
            self.filed[record.external_id].setdefault(record.revision, record.payload)

    def now(self) -> dict[str, Any]:
        """What every record looks like by its latest revision."""
        return {key: copies[max(copies)] for key, copies in self.filed.items()}

    def copies(self) -> dict[str, int]:
        """How many revisions of each record are filed."""
        return {key: len(copies) for key, copies in self.filed.items()}


class WalkPromises:
    """What holds for every stream, wherever its bytes come from. With the settings of `small` a page holds next to nothing."""

    bench: Bench
    streams: ClassVar[tuple[str, ...]]
    small: ClassVar[Mapping[str, Any]] = {"page_size": 1}

    def narrow(self, read_timeout: str = "20") -> Source:
        """A source whose walks have many pages."""
        source: Source = self.bench.build(**{**self.small, "read_timeout": read_timeout})
        return source

    def later(self) -> None:
        """Some time goes by until the next reading."""

    def walked(self, stream: str) -> Inbox:
        """What a reader has that nothing disturbed."""
        inbox = Inbox(stream)
        assert inbox.read(self.narrow()), stream
        return inbox

    def test_a_walk_whose_reader_dies_after_any_page_loses_nothing_and_files_nothing_twice(self) -> None:
        longest = 0
        for stream in self.streams:
            whole = self.walked(stream)
            longest = max(longest, whole.pages)
            for pages in range(1, whole.pages):
                inbox = Inbox(stream)
                assert not inbox.read(self.narrow(), until=pages)
                self.later()
                assert inbox.read(self.narrow())
                assert (inbox.now(), inbox.copies()) == (whole.now(), whole.copies()), (stream, pages)
        assert longest > 1, "no walk had several pages"

    @pytest.mark.django_db
    def test_a_reader_whose_time_is_up_after_every_page_files_everything_once(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from integrations import registry, streams
        from integrations.models import InboxMessage, Run, Stream
        from tests import world

        monkeypatch.setattr(registry, "source", lambda _: self.narrow())
        connection = world.connection("walked", owner=world.entity(), is_source=True)
        for stream in self.streams:
            whole = self.walked(stream)
            row = Stream.objects.create(connection=connection, name=stream, every_seconds=900)
            for _ in range(whole.pages + 1):
                run = streams.pull(row.pk, budget=0.0)
                assert run is not None
                assert run.state == Run.State.DONE, run.failure
                if not run.failure:
                    break
            else:
                pytest.fail(f"{stream} does not come to its end")
            filed = InboxMessage.objects.filter(connection=connection, stream=stream)
            found = [key for key in filed.values_list("external_id", flat=True) if key]
            assert sorted(found) == sorted(whole.filed), stream


class Walks(WalkPromises):
    """What holds for every stream that is read over HTTP. Each meets every fault."""

    def later(self) -> None:
        """The vendor's clock shows another second."""
        self._seconds = getattr(self, "_seconds", 0) + 2
        self.bench.control(f"{self.bench.vendor}/configure", {"clock_skew": self._seconds})

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """While nobody changes anything at the vendor; a real system need not be asked again what it said before."""
        yield

    def sign_in_anew(self) -> None:
        """Nothing that was had by an earlier sign-in is left: whoever calls now signs in by the clocks of now."""
        http = cast("Any", self.narrow()).http
        if http.renew is not None:
            http.renew()

    def calls(self, stream: str) -> int:
        """How many calls a walk makes."""
        with recording() as exchanges:
            self.walked(stream)
        return len(exchanges)

    @pytest.mark.case(132)
    def test_a_test_of_the_account_that_is_refused_at_any_of_its_calls_says_so(self) -> None:
        self.narrow().check()  # signed in
        with recording() as exchanges:
            well = self.narrow().check()
        for number in range(len(exchanges)):
            self.bench.fault({}, kind="status", status=403, after=number)
            told: object = None
            try:
                told = self.narrow().check()
            except Unauthorised as refused:
                told = refused
            self.bench.clear()
            assert told != well, f"call {number} is for nothing"
        assert {exchange.method for exchange in exchanges} <= {"GET", "POST"}

    @pytest.mark.case(66, 67)
    def test_a_fault_at_any_call_of_a_walk_is_named_by_what_we_do_next_and_the_walk_goes_on_without_loss(self) -> None:
        with self.unchanged():
            self._meet_every_fault()

    def _meet_every_fault(self) -> None:
        faults = cycle(WALK_FAULTS)
        for stream in self.streams:
            whole, calls = self.walked(stream), self.calls(stream)
            for number in range(max(calls, len(WALK_FAULTS))):
                fault, expected = next(faults)
                inbox, where = Inbox(stream), (stream, number % calls, fault)
                self.bench.fault({}, **fault, after=number % calls)
                raised = self._broken(inbox, "0.15" if fault["kind"] == "timeout_before" else "20")
                self.bench.clear()
                if expected is None:
                    assert raised is None or isinstance(raised, Unauthorised), where
                else:
                    assert isinstance(raised, expected), where
                if isinstance(raised, Unavailable) and fault.get("retry_after"):
                    assert raised.retry_after == float(fault["retry_after"]), where
                self.later()
                assert inbox.read(self.narrow()), where
                assert (inbox.now(), inbox.copies()) == (whole.now(), whole.copies()), where

    @pytest.mark.case(67)
    def test_credentials_that_end_at_any_call_of_a_walk_for_once_or_for_good_lose_nothing(self) -> None:
        with self.unchanged():
            for stream in self.streams:
                self._meet_refusals(stream)

    def _meet_refusals(self, stream: str) -> None:
        whole, calls = self.walked(stream), self.calls(stream)
        for number in range(calls):
            for times in (1, None):
                inbox, where = Inbox(stream), (stream, number, times)
                self.bench.fault({}, kind="status", status=401, after=number, times=times)
                raised = self._broken(inbox)
                self.bench.clear()
                assert isinstance(raised, Unauthorised) or (raised is None and times), where
                assert inbox.read(self.narrow()), where
                assert (inbox.now(), inbox.copies()) == (whole.now(), whole.copies()), where

    def _broken(self, inbox: Inbox, read_timeout: str = "20") -> ConnectorError | None:
        try:
            inbox.read(self.narrow(read_timeout))
        except ConnectorError as error:
            return error
        return None

    @pytest.mark.case(7)
    def test_a_list_that_repeats_a_row_brings_nothing_new_at_any_call_of_a_walk(self) -> None:
        for stream, whole, inbox in self._mangled("row_twice"):
            assert (inbox.now(), inbox.copies()) == (whole.now(), whole.copies()), stream

    @pytest.mark.case(12)
    def test_a_list_that_skips_a_row_is_noticed_or_read_again_or_found_by_the_night(self) -> None:
        for where, whole, inbox in self._mangled("row_missing"):
            source, stream = self.narrow(), inbox.stream
            found = set(inbox.filed)
            if not source.tombstones:
                assert isinstance(source, SweptSource)
                found |= set(source.present(stream, datetime(2000, 1, 1).date(), datetime(2100, 1, 1).date()))
            assert found >= set(whole.filed), where

    def _mangled(self, kind: str) -> Iterator[tuple[str, Inbox, Inbox]]:
        """Every stream with what stands there, and what is filed by a walk one of whose lists is wrong, and by the next one."""
        with self.unchanged():
            yield from self._mangled_calls(kind)

    def _mangled_calls(self, kind: str) -> Iterator[tuple[str, Inbox, Inbox]]:
        for stream in self.streams:
            whole, calls = self.walked(stream), self.calls(stream)
            for call in range(calls):
                inbox = Inbox(stream)
                self.bench.fault({}, kind=kind, after=call)
                self._broken(inbox)
                self.bench.clear()
                assert inbox.read(self.narrow()), (stream, call)
                yield f"{stream}, call {call}", whole, inbox

    @pytest.mark.case(120)
    def test_what_changes_while_a_walk_is_cut_is_filed_as_it_is_then(self) -> None:
        for stream in self.streams:
            whole = self.walked(stream)
            keys = sorted(whole.filed)
            inbox = Inbox(stream)
            inbox.read(self.narrow(), until=1)
            changed = {*([keys[0], keys[-1]]), *inbox.filed}
            for key in changed:
                self.bench.change(stream, key, datetime.now(UTC))
            self.later()
            assert inbox.read(self.narrow())
            self.later()
            assert inbox.read(self.narrow())
            truth = self.walked(stream)
            assert truth.now() != whole.now(), stream
            assert inbox.now() == truth.now(), stream
            untouched = {
                key: count for key, count in inbox.copies().items() if truth.now()[key] == whole.now().get(key)
            }
            assert set(untouched.values()) <= {1}, stream

    @pytest.mark.parametrize("skew", [-600.0, 600.0])
    @pytest.mark.case(119)
    def test_a_vendor_whose_clock_is_ten_minutes_off_loses_nothing(self, skew: float) -> None:
        self.bench.control(f"{self.bench.vendor}/configure", {"clock_skew": skew})
        self.sign_in_anew()
        for stream in self.streams:
            inbox = self.walked(stream)
            changed = max(inbox.filed)
            self.bench.change(stream, changed, datetime.now(UTC) + timedelta(seconds=skew))
            assert inbox.read(self.narrow())
            truth = self.walked(stream).now()
            assert inbox.now()[changed] == truth[changed], stream
