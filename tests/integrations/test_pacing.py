"""The pace of an account over all processes: what is remembered, what is not waited for, and what if the database is silent."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import OperationalError

from integrations import pacing
from integrations.http import Rate
from integrations.http import pacing as alone
from integrations.models import Pace
from integrations.sql import pacing as sql

pytestmark = pytest.mark.django_db(transaction=True)


def test_what_would_take_longer_than_our_patience_is_said_and_takes_no_start() -> None:
    rate = Rate(2, 60.0)
    assert [pacing.pace("slow", rate, patience=1.0) for _ in range(2)] == [0.0, 0.0]
    for _ in range(2):
        assert 50 < pacing.pace("slow", rate, patience=1.0) <= 60
    assert [len(row.starts) for row in Pace.objects.all()] == [2]
    assert pacing.pace("another", rate, patience=1.0) == 0.0, "accounts have rates of their own"


def test_threads_and_their_callers_share_one_window_whatever_transaction_they_are_in() -> None:
    waits: list[float] = []

    def call() -> None:
        waits.append(pacing.pace("shared", Rate(5, 600.0), patience=0.0))

    threads = [threading.Thread(target=call) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert waits.count(0.0) == 5
    assert len(waits) == 12


def test_a_start_is_waited_for_and_only_as_many_are_remembered_as_count() -> None:
    rate = Rate(3, 0.05)
    assert [pacing.pace("quick", rate, patience=5.0) for _ in range(10)] == [0.0] * 10
    [row] = Pace.objects.all()
    assert len(row.starts) == 3
    assert row.starts == sorted(row.starts)


@pytest.mark.parametrize(
    ("rate", "kept"), [((100, 15.0), (100, 15.0)), ((6000, 300.0), (600, 30.0)), ((601, 10.0), (300, 5.0))]
)
def test_a_rate_of_many_calls_is_kept_in_shorter_spans_which_never_allow_more(
    rate: tuple[int, float], kept: tuple[int, float]
) -> None:
    assert pacing.kept(Rate(*rate)) == Rate(*kept)
    assert kept[0] / kept[1] <= rate[0] / rate[1]


def test_while_the_database_does_not_answer_the_process_keeps_the_rate_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(*_: Any) -> tuple[bool, float]:
        raise OperationalError("the connection is lost")

    asked: list[str] = []

    def by_itself(account: str, *_: Any) -> float:
        asked.append(account)
        return 7.0

    monkeypatch.setattr(sql, "reserve", silent)
    monkeypatch.setattr(alone, "pace", by_itself)
    assert pacing.pace("cut off", Rate(1, 60.0), 1.0) == 7.0
    assert asked == ["cut off"]
    monkeypatch.undo()
    assert pacing.pace("cut off", Rate(1, 60.0), 1.0) == 0.0, "it opens another connection"
