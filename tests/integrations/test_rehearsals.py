"""A rehearsal by its worker: statements are read through the target's door, nothing is pushed, and a dead worker is replaced."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal

import pytest

from integrations import registry, rehearsals, sweeper, work
from integrations.errors import Unavailable
from integrations.protocol import Capabilities
from portal.models import AccountingPeriod, Attempt, Connection, Crosswalk, StatementLine
from portal.records import DocumentKind
from portal.records import StatementLine as Booked
from reconciliation import onboarding
from reconciliation.models import Rehearsal, RehearsedLine
from reconciliation.onboarding import rehearsing
from tests.integrations.memory_target import BOOKS, Books
from tests.reconciliation.newcomer import MONTH, Newcomer, bring_in, on_27_november

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures(on_27_november.__name__)]
__all__ = ["on_27_november"]


@pytest.fixture
def newcomer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Newcomer]:
    """The newcomer, whose ERP keeps its books in memory."""
    monkeypatch.setitem(registry.CONNECTORS, "memory", "tests.integrations.memory_target.MemoryTarget")
    found = bring_in()
    target = found.firm.target
    BOOKS[target.code] = Books()
    Crosswalk.objects.filter(system=target.connector).update(system="memory")
    Connection.objects.filter(pk=target.pk).update(connector="memory")
    target.refresh_from_db()
    yield found
    BOOKS.pop(target.code, None)


def books(newcomer: Newcomer) -> Books:
    return BOOKS[newcomer.firm.target.code]


def keyed_in(newcomer: Newcomer, day: date, hours: str = "8") -> None:
    """A line that somebody keyed into the ERP."""
    records = books(newcomer).records
    records.append(
        Booked(
            number=f"H-{len(records)}", kind=DocumentKind.TIME, work_date=day, hours=Decimal(hours), amount=Decimal(960),
            resource=newcomer.key("resource", newcomer.firm.ana.pk), project=newcomer.key("project", newcomer.firm.project.pk),
            currency="USD",
        )
    )  # fmt: skip


def asked(newcomer: Newcomer) -> Rehearsal:
    period = AccountingPeriod.objects.get(entity=newcomer.firm.entity, code="2026-10")
    return onboarding.request(newcomer.onboarding, period, by=newcomer.cleo)


def test_a_worker_reads_what_was_booked_and_pushes_nothing(newcomer: Newcomer) -> None:
    newcomer.take(MONTH, date(2026, 11, 3))
    keyed_in(newcomer, MONTH)
    work.rehearse(asked(newcomer).pk)
    found = Rehearsal.objects.get()
    assert (found.state, found.failure) == ("tied_out", "")
    assert [line.outcome for line in RehearsedLine.objects.all()] == ["agrees"]
    assert found.totals["to_post"] == 1
    assert books(newcomer).pushes == []
    assert not Attempt.objects.filter(purpose="push").exists()
    assert StatementLine.objects.count() == 1
    assert {start for start, _, _ in books(newcomer).statements} == {date(2026, 10, 1), date(2026, 11, 1)}


def test_hours_that_the_target_cannot_tell_apart_agree(newcomer: Newcomer) -> None:
    books(newcomer).capabilities = Capabilities(hours_tolerance=Decimal("0.01"))
    newcomer.take(MONTH)
    keyed_in(newcomer, MONTH, "7.995")
    rehearsals.answer(asked(newcomer).pk)
    assert Rehearsal.objects.get().state == "tied_out"


def test_a_target_that_cannot_say_what_it_booked_ends_it_with_the_way_out(newcomer: Newcomer) -> None:
    books(newcomer).capabilities = Capabilities(statement=False)
    rehearsals.answer(asked(newcomer).pk)
    found = Rehearsal.objects.get()
    assert found.state == "failed"
    assert "Upload a file of what was booked instead." in found.failure


def test_while_the_targets_door_is_closed_it_waits_and_says_why(newcomer: Newcomer) -> None:
    Connection.objects.filter(pk=newcomer.firm.target.pk).update(paused_at="2026-11-27T00:00:00Z", pause_reason="audit")
    rehearsals.answer(asked(newcomer).pk)
    found = Rehearsal.objects.get()
    assert found.state == "running"
    assert found.waits_for
    assert found.next_try_at is not None
    assert rehearsing.due() == []


def test_what_fails_in_the_target_ends_it_in_words(newcomer: Newcomer, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise Unavailable("The ERP does not answer.")

    monkeypatch.setattr("integrations.statements.read", broken)
    rehearsals.answer(asked(newcomer).pk)
    found = Rehearsal.objects.get()
    assert (found.state, "does not answer" in found.failure) == ("failed", True)


def test_the_sweeper_takes_over_from_a_worker_that_was_killed_and_gives_up_on_one_that_kills_every_worker(
    newcomer: Newcomer,
) -> None:
    newcomer.take(MONTH)
    keyed_in(newcomer, MONTH)
    found = asked(newcomer)
    first = rehearsing.take(found.pk)
    assert first is not None
    rehearsing.go_on(first, "Judging work", documents=10, judged=4)
    Rehearsal.objects.filter(pk=found.pk).update(lease_until="2020-01-01T00:00:00Z")
    sweeper.sweep(patience=-1)
    found.refresh_from_db()
    assert (found.state, found.deaths) == ("tied_out", 1)
    again = asked(newcomer)
    Rehearsal.objects.filter(pk=again.pk).update(lease_until="2020-01-01T00:00:00Z", deaths=2)
    rehearsals.answer(again.pk)
    again.refresh_from_db()
    assert again.state == "failed"
    assert "ended 3 times" in again.failure
