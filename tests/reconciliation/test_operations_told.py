"""Who began an operation is told when it ends and when it is held up, each once."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from integrations.models import MaintenanceWindow
from portal import figures
from portal.models import LedgerState, Notification, State, User
from reconciliation import operations
from reconciliation.models import Operation
from tests.reconciliation import desk
from tests.reconciliation.firm import Firm, build, case, post

pytestmark = pytest.mark.django_db


@pytest.fixture
def firm() -> Firm:
    return build()


def begun(firm: Firm, fay: User) -> Operation:
    desk.off_rate(firm, 3)
    planned = operations.plan(
        "use-contract-rate", user=fay, parameters={}, reason="last year's rate", case=case("rate-mismatch")
    )
    operations.run(operations.confirm(planned, user=fay).pk)
    return planned


def told() -> list[tuple[str, str]]:
    return list(Notification.objects.order_by("pk").values_list("kind", "subject"))


def test_it_is_told_once_when_every_entry_came_to_its_end(firm: Firm) -> None:
    operation = begun(firm, desk.analyst(firm))
    operations.follow()
    assert told() == [], "posting is not over"
    ready = list(LedgerState.objects.filter(state=State.READY).values_list("entry_id", flat=True))
    assert len(ready) == 3
    post(ready)
    for _ in range(3):
        operations.follow()
    assert told() == [("finished", f"Finished: {operation.title}")]
    notice = Notification.objects.get()
    assert (notice.note, notice.url) == ("3 of 3 posted", f"/operations/{operation.pk}/")


def test_it_is_told_once_when_a_closed_door_holds_it_even_after_it_was_read(firm: Firm) -> None:
    operation = begun(firm, desk.analyst(firm))
    LedgerState.objects.filter(state=State.READY).update(waits_on="breaker")
    operations.follow()
    Notification.objects.update(read_at=operation.created_at)
    operations.follow()
    assert told() == [("held", f"Held up: {operation.title}")]
    assert Notification.objects.get().note.startswith("3 of 3 entries wait")


def test_what_holds_it_is_said_in_plain_words_with_the_hour_and_its_zone(firm: Firm) -> None:
    operation = begun(firm, desk.analyst(firm))
    moment = timezone.now()
    MaintenanceWindow.objects.create(
        connection=firm.target, reason="Upgrade", starts_at=moment, ends_at=moment + timedelta(hours=2)
    )
    LedgerState.objects.filter(state=State.READY).update(waits_on="maintenance")
    operations.follow()
    note = Notification.objects.get().note
    assert f"until {figures.written(moment + timedelta(hours=2))} at the earliest" in note
    assert "<" not in note
    assert operation.title in Notification.objects.get().subject


def test_what_was_handed_back_is_done_and_not_posted(firm: Firm) -> None:
    fay = desk.analyst(firm)
    desk.off_rate(firm, 2)
    planned = operations.plan(
        "hand-back", user=fay, parameters={"message": "Which role?"}, reason="", case=case("rate-mismatch")
    )
    operations.run(operations.confirm(planned, user=fay).pk)
    operations.follow()
    assert Notification.objects.get().note == "2 of 2 done"


def test_an_operation_that_never_ran_tells_nothing(firm: Firm) -> None:
    fay = desk.analyst(firm)
    desk.off_rate(firm, 2)
    planned = operations.plan("use-contract-rate", user=fay, parameters={}, reason="x", case=case("rate-mismatch"))
    operations.cancel(planned, user=fay)
    operations.follow()
    assert told() == []
