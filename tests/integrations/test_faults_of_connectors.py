"""Each fault that a call may meet and each connector: in what it does the fault is proven to lose and double nothing, or why not.

The table is worked out of the contracts and of the faults that they let happen, and stands in docs/connectors/faults.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from integrations import registry
from integrations.protocol import Biller, Recipient, Source, Target
from tests.integrations.cases_of_connectors import SOURCES, TARGETS
from tests.integrations.contract import TIME_OUTS, WRITE_FAULTS
from tests.integrations.test_cases_of_connectors import NAMES, TESTS, borne
from tests.integrations.test_every_connector import connector
from tests.integrations.walk_contract import WALK_FAULTS

PAGE = TESTS.parent / "docs" / "connectors" / "faults.md"
STATUSES = "test_salesforce_statuses.py::"  # what Salesforce is told goes many at a time, by tests of its own
_BILLERS = {
    "businesscentral": "test_contract_billers.py::TestBusinessCentral",
    "dynamicsfinance": "test_contract_billers.py::TestDynamicsFinance",
    "netsuite": "test_contract_billers.py::TestNetSuite",
    "stripe": "test_contract_stripe.py::TestStripeBiller",
}
_RECIPIENTS = {
    "clockify": "test_contract_recipients.py::TestClockify",
    "harvest": "test_contract_recipients.py::TestHarvest",
    "salesforce": STATUSES,
    "stripe": "test_contract_stripe.py::TestStripeRecipient",
}
# What a connector may do: its word here, the role that does it, and the contract that asks for it.
DOES: tuple[tuple[str, type, Mapping[str, str]], ...] = (
    ("reads", Source, SOURCES),
    ("books", Target, TARGETS),
    ("drafts", Biller, _BILLERS),
    ("is told", Recipient, _RECIPIENTS),
)
_WALK = "test_a_fault_at_any_call_of_a_walk_is_named_by_what_we_do_next_and_the_walk_goes_on_without_loss"
_BOOKED = "test_a_fault_while_booking_is_named_and_the_look_up_settles_it"
_WRITTEN = "test_a_call_that_goes_wrong_is_the_error_that_says_what_to_do_next_and_nothing_is_made_twice"
_ANY_CALL = {
    "books": "test_a_time_out_before_or_after_commit_at_any_call_of_a_push_books_once",
    "drafts": "test_a_time_out_before_or_after_commit_at_any_call_makes_one_invoice",
    "is told": "test_a_time_out_before_or_after_commit_of_any_kind_of_record_makes_one",
}
_ENDED = {
    "books": "test_credentials_that_end_in_the_middle_book_once",
    "drafts": "test_credentials_that_end_in_the_middle_make_one_invoice",
    "is told": "test_credentials_that_end_in_the_middle_make_one_record",
}
Fault = Mapping[str, Any]


@dataclass(frozen=True)
class Row:
    """One fault: the test that proves it of each thing that a connector does, or the sentence that says why it cannot meet it."""

    words: str
    proofs: Mapping[str, str]
    happens: Callable[[Fault], bool] = lambda _: True  # picks it among the faults that a contract lets happen


def _each(happens: Callable[[Fault], bool], words: str, reads: str = _WALK) -> Row:
    return Row(words, {"reads": reads, "books": _BOOKED, "drafts": _WRITTEN, "is told": _WRITTEN}, happens)


_NO_PAGES = "What is written has no pages."
_NO_CLOCK = "What is written bears days and keys, and no moment of ours or theirs decides about it."
ROWS = (
    Row("time-out before commit", {"reads": _WALK, **_ANY_CALL}, lambda one: one["kind"] == "timeout_before"),
    Row(
        "time-out after commit",
        {"reads": "A reading commits nothing at the vendor.", **_ANY_CALL},
        lambda one: one["kind"] == "timeout_after",
    ),
    _each(lambda one: one["kind"].startswith("reset_"), "reset"),
    _each(lambda one: one["kind"] == "garbage", "garbage in a 200"),
    _each(lambda one: one.get("status") == 429 and "retry_after" in one, "429 with Retry-After"),
    _each(lambda one: one.get("status") == 429 and "retry_after" not in one, "429 without Retry-After"),
    _each(lambda one: one["kind"] == "maintenance", "maintenance page"),
    Row(
        "credentials that end in the middle",
        {"reads": "test_credentials_that_end_at_any_call_of_a_walk_for_once_or_for_good_lose_nothing", **_ENDED},
    ),
    Row(
        "paging that repeats",
        {
            "reads": "test_a_list_that_repeats_a_row_brings_nothing_new_at_any_call_of_a_walk",
            **dict.fromkeys(_ENDED, _NO_PAGES),
        },
    ),
    Row(
        "paging that skips",
        {
            "reads": "test_a_list_that_skips_a_row_is_noticed_or_read_again_or_found_by_the_night",
            **dict.fromkeys(_ENDED, _NO_PAGES),
        },
    ),
    Row(
        "clock ten minutes off",
        {"reads": "test_a_vendor_whose_clock_is_ten_minutes_off_loses_nothing", **dict.fromkeys(_ENDED, _NO_CLOCK)},
    ),
)
_LETS_HAPPEN: Mapping[str, Iterable[Fault]] = {
    _WALK: [fault for fault, _ in WALK_FAULTS],
    _BOOKED: [fault for fault, *_ in WRITE_FAULTS],
    _WRITTEN: [fault for fault, *_ in WRITE_FAULTS],
    **dict.fromkeys(_ANY_CALL.values(), TIME_OUTS),
}
_OF_SALESFORCE = {  # its own tests of what it is told, for those of the contract
    _ANY_CALL["is told"]: _WRITTEN,
    _ENDED["is told"]: "test_credentials_that_end_at_any_call_of_a_batch_tell_each_record_once",
}
FILES = "A folder and a server of files are not called over HTTP; what they may do is among their own tests."


def _is_there(where: str, test: str) -> bool:
    file, _, name = where.partition("::")
    if where == STATUSES:
        return _OF_SALESFORCE.get(test, test) in borne(TESTS / "integrations" / file)
    return f"{name}::{test}" in borne(TESTS / "integrations" / file)


def cell(row: Row, name: str, built: object) -> tuple[list[str], set[str]]:
    """In what a fault is proven of a connector, and why it is not in the rest; an assertion where neither is."""
    if name == "files":
        return [], {FILES}
    proven, reasons = [], set()
    for does, role, classes in DOES:
        if not isinstance(built, role):
            continue
        proof = row.proofs[does]
        if not proof.startswith("test_"):
            reasons.add(proof)
            continue
        assert name in classes, f"{name} {does}, and nothing asks it about: {row.words}"
        assert _is_there(classes[name], proof), (row.words, name, does)
        happening = _LETS_HAPPEN.get(proof)
        assert happening is None or any(row.happens(fault) for fault in happening), (row.words, proof)
        proven.append(does)
    assert proven or reasons, (row.words, name)
    return proven, reasons


def table(tmp_path: Path) -> str:
    """The table as the page has it, with the reasons below it."""
    built = {name: connector(name, tmp_path=tmp_path) for name in NAMES}
    lines = [f"| | {' | '.join(NAMES)} |", f"| --- |{' --- |' * len(NAMES)}"]
    reasons: dict[str, int] = {}
    for row in ROWS:
        cells = []
        for name in NAMES:
            proven, why = cell(row, name, built[name])
            marks = [str(reasons.setdefault(one, len(reasons) + 1)) for one in sorted(why)]
            cells.append(" ".join([*([", ".join(proven)] if proven else []), *(f"({mark})" for mark in marks)]))
        lines.append(f"| {row.words} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *(f"({number}) {reason}" for reason, number in reasons.items())])


def test_the_page_shows_for_every_fault_and_connector_where_it_is_proven_or_why_it_cannot_be(tmp_path: Path) -> None:
    told = table(tmp_path)
    print(told)  # noqa: T201 - what `pytest -s` is asked for
    assert told in PAGE.read_text()


def test_a_fault_that_no_contract_lets_happen_is_noticed(tmp_path: Path) -> None:
    never = Row(
        "a flood", dict.fromkeys(("reads", "books", "drafts", "is told"), _WALK), lambda one: one["kind"] == "flood"
    )
    with pytest.raises(AssertionError, match="a flood"):
        cell(never, "harvest", connector("harvest", tmp_path=tmp_path))
    assert set(registry.CONNECTORS) == set(NAMES)
