"""What a source promises that is asked for its hints, over real HTTP against its sandbox.

A connector joins with a subclass that says on which call a fault is put and how somebody changes a record that is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from integrations.errors import ConnectorError, Unavailable
from integrations.protocol import HintedSource, Page, Source, holds_hints
from tests.integrations.contract import READ_FAULTS, Bench, _named


class HintedContract:
    """What holds of every stream of hints."""

    bench: Bench
    call: dict[str, str]  # the vendor's call by which it is listened to

    def move(self) -> tuple[str, str]:
        """Let somebody change a record; its stream and its key."""
        raise NotImplementedError

    def forget(self) -> None:
        """Let the vendor forget what it said so far."""
        raise NotImplementedError

    def source(self) -> Any:
        found = self.bench.build()
        assert isinstance(found, Source)
        assert isinstance(found, HintedSource)
        return found

    def pages(self, since: str | None) -> list[Page]:
        source = self.source()
        return list(source.pull(source.hint_streams[0], since))

    def named(self, pages: Sequence[Page]) -> list[tuple[str, str]]:
        return [(hint.stream, hint.external_id) for page in pages for hint in page.hints]

    def test_its_streams_of_hints_are_among_its_streams_and_others_hold_records(self) -> None:
        source = self.source()
        assert set(source.hint_streams) < set(source.streams)
        assert all(holds_hints(type(source), name) for name in source.hint_streams)

    def test_a_turn_ends_by_itself_bears_no_record_and_is_closed_with_a_mark(self) -> None:
        pages = self.pages(None)
        assert [page.last for page in pages] == [False] * (len(pages) - 1) + [True]
        assert [record for page in pages for record in page.records] == []
        assert all(page.cursor for page in pages)

    def test_what_moves_is_named_by_its_stream_and_key_with_a_mark_of_its_own(self) -> None:
        mark = self.pages(None)[-1].cursor
        moved = [self.move(), self.move()]
        pages = self.pages(mark)
        assert self.named(pages) == moved
        marks = [hint.because for page in pages for hint in page.hints]
        assert len(set(marks)) == len(moved)
        assert "" not in marks

    def test_what_was_named_is_not_named_again_from_the_mark_behind_it_and_is_from_the_one_before(self) -> None:
        before = self.pages(None)[-1].cursor
        moved = self.move()
        pages = self.pages(before)
        assert self.named(self.pages(pages[-1].cursor)) == []
        again = self.pages(before)
        assert self.named(again) == [moved]
        assert [hint for page in again for hint in page.hints] == [hint for page in pages for hint in page.hints]

    def test_what_moves_between_two_turns_that_heard_nothing_is_named_by_the_third(self) -> None:
        mark = self.pages(self.pages(None)[-1].cursor)[-1].cursor
        moved = self.move()
        assert self.named(self.pages(mark)) == [moved]

    def test_where_hints_may_be_lost_the_streams_are_to_be_read(self) -> None:
        first = self.pages(None)
        assert first[0].again
        mark = first[-1].cursor
        stream, _ = self.move()
        mark = self.pages(mark)[-1].cursor
        self.forget()
        late = self.pages(mark)
        assert stream in late[0].again
        moved = self.move()
        assert self.named(self.pages(late[-1].cursor)) == [moved]

    @pytest.mark.parametrize(("fault", "error"), READ_FAULTS, ids=[_named(f) for f, _ in READ_FAULTS])
    def test_a_fault_while_listening_is_named_by_what_we_do_next_and_loses_nothing(
        self, fault: dict[str, Any], error: type[ConnectorError]
    ) -> None:
        mark = self.pages(None)[-1].cursor
        moved = self.move()
        self.bench.fault(self.call, **fault)
        seen: list[Page] = []
        source = self.source()
        with pytest.raises(error) as raised:
            seen.extend(source.pull(source.hint_streams[0], mark))
        if isinstance(raised.value, Unavailable) and fault.get("retry_after"):
            assert raised.value.retry_after == float(fault["retry_after"])
        self.bench.clear()
        assert moved in self.named([*seen, *self.pages(mark)])
