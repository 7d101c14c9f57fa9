"""The chain of decisions shows a changed, a removed and an invented event."""

from __future__ import annotations

import pytest
from django.db import DatabaseError, connection, transaction

from portal import audit
from portal.models import AuditEvent
from tests import world

pytestmark = pytest.mark.django_db


def _three() -> list[AuditEvent]:
    entity = world.entity()
    ana = world.user()
    return [
        audit.record(
            ana, "period.closed", entity, entity=entity, reason=f"month {n}", before={"state": "open"}, after={"n": n}
        )
        for n in range(3)
    ]


def _without_guard(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(statement)
        cursor.execute("SET LOCAL session_replication_role = origin")


def test_an_untouched_chain_holds() -> None:
    _three()
    assert audit.verify() == []


def test_the_application_cannot_change_or_delete_an_event() -> None:
    _three()
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        AuditEvent.objects.update(reason="another")
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        AuditEvent.objects.all().delete()


def test_a_changed_event_is_named() -> None:
    events = _three()
    _without_guard(f"UPDATE portal_auditevent SET reason = 'nothing' WHERE id = {events[1].pk}")
    problems = audit.verify()
    assert len(problems) == 1
    assert f"Event {events[1].pk}" in problems[0]
    assert "changed" in problems[0]


def test_a_removed_event_leaves_a_gap_that_is_named() -> None:
    events = _three()
    _without_guard(f"DELETE FROM portal_auditevent WHERE id = {events[1].pk}")
    problems = audit.verify()
    assert len(problems) == 1
    assert f"Event {events[2].pk}" in problems[0]


def test_a_decision_that_is_rolled_back_leaves_no_event() -> None:
    entity = world.entity()
    with transaction.atomic():
        audit.record(None, "tried", entity)
        transaction.set_rollback(True)
    assert not AuditEvent.objects.exists()
