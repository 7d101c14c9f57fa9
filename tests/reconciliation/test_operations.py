"""Bulk fixes: what the dry-run promises is what comes of it, for exactly the rows that were seen, by exactly who may."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.apps import apps
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from portal import audit
from portal.models import Alias, AuditEvent, GrantRole, LedgerEntry, LedgerState, LegalEntity, State, TimeEntry, User
from portal.records import Reference
from reconciliation import operations, validation
from reconciliation.fixes import FIXES, Work
from reconciliation.fixes.decisions import Recheck
from reconciliation.fixes.mapping import MapCode
from reconciliation.models import ExceptionCase, Operation, OperationRow
from reconciliation.operations import Phase, running
from tests import world
from tests.integrations import outbound
from tests.reconciliation import desk
from tests.reconciliation import firm as firms
from tests.reconciliation.firm import DAY, Firm, state

pytestmark = pytest.mark.django_db


@pytest.fixture
def firm() -> Firm:
    return firms.build()


@pytest.fixture
def ana(firm: Firm) -> User:
    return world.user("ana", GrantRole.ANALYST, firm.entity)


def mistyped(firm: Firm, number: int, code: str = "ACM-9", first: int = 1) -> list[int]:
    """Held entries of one mistyped code, one a day."""
    records = [
        firm.time(str(n), project=Reference("", code, ""), work_date=DAY + timedelta(days=n % 28))
        for n in range(first, first + number)
    ]
    held = firm.admit(*records).held
    assert len(held) == number
    return sorted(held)


def cause() -> ExceptionCase:
    return ExceptionCase.objects.get(rule="project-unknown", state="open")


def planned(firm: Firm, user: User, **more: Any) -> Operation:
    """The dry-run of mapping the mistyped code to the project."""
    parameters = {"record": firm.project.pk, "valid_from": ""}
    case = more.pop("case", None) or cause()
    return operations.plan(
        "map-code", **{"user": user, "parameters": parameters, "reason": "a typing error", "case": case, **more}
    )


def done(operation: Operation, user: User) -> Operation:
    """Confirm and let the worker do it."""
    operations.run(operations.confirm(operation, user=user).pk)
    operation.refresh_from_db()
    return operation


def begun(operation: Operation) -> bool:
    """Let a worker do one chunk and give the operation back; whether something is left."""
    return operations.run(operation.pk, goes_on=lambda: False)


def results(operation: Operation) -> Counter[str]:
    return Counter(operation.rows.values_list("result", flat=True))


def everything(*without: str) -> dict[str, tuple[int, str]]:
    """Row count and checksum of every table but some."""
    found = {}
    with connection.cursor() as cursor:
        for table in sorted({model._meta.db_table for model in apps.get_models()} - set(without)):
            cursor.execute(
                f"SELECT count(*), md5(coalesce(string_agg(t::text, '' ORDER BY t::text), '')) FROM {table} t"
            )
            found[table] = cursor.fetchone()
    return found


KEPT_BY_A_PLAN = ("reconciliation_operation", "reconciliation_operationrow")


def test_a_plan_changes_no_table_but_its_own(firm: Firm, ana: User) -> None:
    mistyped(firm, 3)
    before = everything(*KEPT_BY_A_PLAN)
    operation = planned(firm, ana)
    assert everything(*KEPT_BY_A_PLAN) == before
    assert (operation.state, operation.total, results(operation)) == ("planned", 3, {"pending": 3})
    assert not Alias.objects.exists()


def test_what_the_preview_promises_is_what_comes_of_it(firm: Firm, ana: User) -> None:
    mistyped(firm, 2)
    firm.admit(firm.time("over", project=Reference("", "ACM-9", ""), rate=Decimal(150), work_date=date(2026, 10, 5)))
    operation = planned(firm, ana)
    assert operation.title == "Map “ACM-9” to ACM-1: 3 entries"
    preview = operation.preview
    assert (preview["passes"], preview["still_held"], preview["hours"]) == (2, 1, "24.0000")
    assert {name: Decimal(value) for name, value in preview["money"]["USD"].items()}["passing"] == 1920
    assert preview["still"] == [[operation.rows.get(will_pass=False).promised, 1]]
    promised = set(operation.rows.values_list("entry_id", "will_pass", "promised"))
    done(operation, ana)
    assert (operation.state, operation.done, operation.failed) == ("done", 2, 1)
    outcome = {(row.entry_id, row.result == "done", row.message) for row in operation.rows.all()}
    assert outcome == promised
    ready = LedgerState.objects.filter(state="ready").values_list("entry__amount", flat=True)
    assert sum(amount for amount in ready if amount is not None) == Decimal(preview["money"]["USD"]["passing"])


def test_a_confirmed_operation_is_one_link_of_the_audit_chain(firm: Firm, ana: User) -> None:
    mistyped(firm, 3)
    operation = planned(firm, ana)
    assert not AuditEvent.objects.exists()
    done(operation, ana)
    event = AuditEvent.objects.get()
    assert (event.action, event.actor, event.reason, event.entity) == (
        "operation.map-code", ana, "a typing error", firm.entity,
    )  # fmt: skip
    assert event.after is not None
    assert (event.after["entries"], event.after["what"]) == (3, operation.title)
    assert audit.verify() == []


def test_a_row_that_moved_is_skipped_and_named(firm: Firm, ana: User) -> None:
    first, second = mistyped(firm, 2)
    operation = operations.plan(
        "move-project", user=ana, parameters={"project": firm.project.pk}, reason="typing error", case=cause()
    )
    operations.confirm(operation, user=ana)
    firms.alias("project", "ACM-9", firm.project.pk)
    validation.recheck([first], actor="somebody else", reason="an alias was made")
    operations.run(operation.pk)
    operation.refresh_from_db()
    skipped = operation.rows.get(entry_id=first)
    assert (skipped.result, operation.done, operation.failed) == ("skipped", 1, 1)
    assert skipped.message == "It changed after the preview, so it was left alone. Now: Will be posted."
    assert (state(first), state(second)) == ("ready", "cancelled")
    assert operation.rows.get(entry_id=second).successor is not None


def test_a_plan_whose_entries_moved_is_not_confirmed(firm: Firm, ana: User) -> None:
    first, _ = mistyped(firm, 2)
    operation = planned(firm, ana)
    firms.alias("project", "ACM-9", firm.project.pk)
    validation.recheck([first], actor="test", reason="an alias was made")
    with pytest.raises(operations.OperationRefused, match=r"2 entries when you looked, 1 now\. 1 row changed"):
        operations.confirm(operation, user=ana)
    operation.refresh_from_db()
    assert (operation.state, AuditEvent.objects.count()) == ("planned", 0)


def test_a_fix_without_a_reason_is_not_confirmed(firm: Firm, ana: User) -> None:
    mistyped(firm, 1)
    operation = planned(firm, ana, reason="")
    with pytest.raises(operations.OperationRefused, match="Say why"):
        operations.confirm(operation, user=ana, reason="   ")
    assert operations.confirm(operation, user=ana, reason="a typing error").reason == "a typing error"


def test_only_who_saw_the_preview_confirms_it_and_only_once(firm: Firm, ana: User) -> None:
    mistyped(firm, 1)
    operation = planned(firm, ana)
    bob = world.user("bob", GrantRole.CONTROLLER, firm.entity)
    with pytest.raises(operations.OperationRefused, match="Somebody else planned this"):
        operations.confirm(operation, user=bob)
    operations.confirm(operation, user=ana)
    with pytest.raises(operations.OperationRefused, match="confirmed or cancelled before"):
        operations.confirm(operation, user=ana)
    assert AuditEvent.objects.count() == 1


@pytest.mark.parametrize("role", [GrantRole.AUDITOR, GrantRole.PROJECT_MANAGER, GrantRole.ADMIN])
def test_who_may_not_fix_is_refused_and_nothing_happens(firm: Firm, ana: User, role: GrantRole) -> None:
    mistyped(firm, 1)
    operation = planned(firm, ana)
    other = world.user("other", role, firm.entity)
    before = everything()
    with pytest.raises(PermissionDenied):
        planned(firm, other)
    with pytest.raises(PermissionDenied):
        operations.confirm(operation, user=other)
    with pytest.raises(PermissionDenied):
        operations.cancel(operation, user=other)
    assert everything() == before


def test_a_right_in_another_entity_is_none_here(firm: Firm) -> None:
    entries = mistyped(firm, 1)
    stranger = world.user("hans", GrantRole.CONTROLLER, world.entity("DE", "EUR"))
    before = everything()
    with pytest.raises(PermissionDenied):
        planned(firm, stranger)
    with pytest.raises(PermissionDenied):
        operations.plan("recheck", user=stranger, parameters={}, entry_ids=entries)
    assert everything() == before


def test_the_entries_of_one_entity_are_not_fixed_by_the_cause_of_another(firm: Firm, ana: User) -> None:
    entries = mistyped(firm, 1)
    ours = cause()
    germany: LegalEntity = world.entity("DE", "EUR")
    foreign = ExceptionCase.objects.create(
        rule="project-unknown", entity=germany, subject_type="code", subject_key="X", sentence="?",
        opened_at="2026-10-01T00:00Z", seen_at="2026-10-01T00:00Z",
    )  # fmt: skip
    with pytest.raises(operations.OperationRefused, match="another legal entity than the cause"):
        operations.plan("recheck", user=ana, parameters={}, case=foreign, entry_ids=entries)
    assert planned(firm, ana, case=ours, entry_ids=entries).total == 1


def test_a_right_that_ended_after_the_preview_confirms_nothing(firm: Firm, ana: User) -> None:
    mistyped(firm, 1)
    operation = planned(firm, ana)
    ana.grants.update(valid_to=date(2020, 1, 2))
    with pytest.raises(PermissionDenied):
        operations.confirm(operation, user=ana)


def test_nothing_to_fix_is_said(firm: Firm, ana: User) -> None:
    ready = firm.admit(firm.time("1")).ready
    with pytest.raises(operations.NothingToFix, match="can be used on no entry"):
        operations.plan("recheck", user=ana, parameters={}, entry_ids=ready)


class Killed(BaseException):
    """The worker's process ends here."""


def test_a_worker_that_dies_between_chunks_leaves_the_rest_to_the_next(
    firm: Firm, ana: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "CHUNK", 2)
    mistyped(firm, 5)
    operation = operations.confirm(planned(firm, ana), user=ana)
    work_off, times = running.work_off, iter(range(9))

    def dying(*arguments: Any) -> Any:
        if next(times) == 1:
            work_off(*arguments)  # the second chunk is done, and never committed
            raise Killed
        return work_off(*arguments)

    monkeypatch.setattr(running, "work_off", dying)
    with pytest.raises(Killed):
        operations.run(operation.pk)
    assert results(operation) == {"done": 2, "pending": 3}
    assert operations.due() == []
    operations.run(operation.pk)  # another worker finds it leased and leaves
    assert results(operation)["pending"] == 3
    Operation.objects.update(lease_until="2020-01-01T00:00Z")
    assert operations.due() == [operation.pk]
    operations.run(operation.pk)
    operation.refresh_from_db()
    assert (operation.state, operation.done, operation.failed, results(operation)) == ("done", 5, 0, {"done": 5})
    assert LedgerState.objects.filter(state="ready").count() == 5
    assert TimeEntry.objects.filter(version=2).count() == 5


def test_cancelling_stops_what_is_pending_and_keeps_what_is_done(
    firm: Firm, ana: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "CHUNK", 2)
    mistyped(firm, 5)
    operation = operations.confirm(planned(firm, ana), user=ana)
    assert begun(operation)
    assert operations.cancel(operation, user=ana).state == "cancelled"
    operations.run(operation.pk)
    assert results(operation) == {"done": 2, "cancelled": 3}
    assert operations.due() == []
    assert [event.action for event in AuditEvent.objects.order_by("id")] == [
        "operation.map-code",
        "operation.cancelled",
    ]
    with pytest.raises(operations.OperationRefused, match="cancelled already"):
        operations.cancel(operation, user=ana)
    with pytest.raises(operations.OperationRefused):
        operations.confirm(operation, user=ana)


def test_a_cancelled_plan_never_runs(firm: Firm, ana: User) -> None:
    held = mistyped(firm, 1)
    operation = planned(firm, ana)
    operations.cancel(operation, user=ana)
    operations.run(operation.pk)
    assert (results(operation), state(held[0]), Alias.objects.count()) == ({"cancelled": 1}, "held", 0)


def poison(monkeypatch: pytest.MonkeyPatch, entry_id: int, error: Exception) -> None:
    """Mapping breaks on one entry."""
    apply = MapCode.apply

    def breaking(self: MapCode, work: Work, entry_ids: Any) -> None:
        apply(self, work, entry_ids)
        if entry_id in entry_ids:
            raise error

    monkeypatch.setattr(MapCode, "apply", breaking)


@pytest.mark.case(70)
@pytest.mark.parametrize("which", [0, 2, 4])
def test_a_row_that_breaks_the_fix_fails_alone(
    firm: Firm, ana: User, monkeypatch: pytest.MonkeyPatch, which: int
) -> None:
    held = mistyped(firm, 5)
    poison(monkeypatch, held[which], ValueError("no way"))
    operation = planned(firm, ana)
    assert (operation.preview["passes"], operation.preview["still"]) == (4, [["no way", 1]])
    done(operation, ana)
    assert (operation.done, operation.failed, results(operation)) == (4, 1, {"done": 4, "failed": 1})
    assert operation.rows.get(result="failed").message == "no way"
    assert [state(entry) for entry in held].count("held") == 1
    assert LedgerState.objects.filter(state="ready", entry__project=firm.project).count() == 4


def test_a_fix_that_breaks_on_every_row_is_refused_with_its_own_words(
    firm: Firm, ana: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison(monkeypatch, mistyped(firm, 1)[0], ValueError("no way"))
    with pytest.raises(operations.OperationRefused, match="no way"):
        planned(firm, ana)
    assert not Operation.objects.exists()


def test_a_fault_of_ours_fails_its_row_and_is_logged(
    firm: Firm, ana: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    held = mistyped(firm, 2)
    operation = planned(firm, ana)
    poison(monkeypatch, held[0], TypeError("secret detail"))
    Operation.objects.update(state="running", confirmed_by=ana, confirmed_at=operation.created_at)
    with caplog.at_level("ERROR", logger="reconciliation.operations"):
        operations.run(operation.pk)
    row = operation.rows.get(result="failed")
    assert row.message == "Tieout itself failed on this entry (TypeError); operations can read why."
    assert caplog.records[0].exc_info is not None


def test_a_failed_row_is_planned_again_with_a_preview_of_its_own(
    firm: Firm, ana: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = mistyped(firm, 3)
    with monkeypatch.context() as patch:
        poison(patch, held[1], ValueError("not now"))
        operation = done(planned(firm, ana), ana)
    again = operations.retry_failed(operation, user=ana)
    assert (again.total, again.preview["passes"], again.reason) == (1, 1, "a typing error")
    assert list(again.rows.values_list("entry_id", flat=True)) == [held[1]]
    done(again, ana)
    assert (again.done, state(held[1])) == (1, "cancelled")
    assert LedgerState.objects.filter(state="ready").count() == 3
    with pytest.raises(operations.OperationRefused):
        operations.retry_failed(again, user=ana)


@pytest.mark.case(128)
def test_a_plan_tells_what_it_leaves_out_by_state_and_why(firm: Firm, ana: User, client: Client) -> None:
    held = mistyped(firm, 2)
    posted = firm.admit(firm.time("p1"), firm.time("p2", work_date=date(2026, 10, 20))).ready
    firms.post(posted)
    ready = firm.admit(firm.time("r", work_date=date(2026, 10, 21))).ready
    doubtful = firm.admit(firm.time("d", work_date=date(2026, 10, 22))).ready
    firms.post(doubtful, until=State.IN_DOUBT)
    before = everything(*KEPT_BY_A_PLAN)
    operation = operations.plan(
        "make-non-billable", user=ana, parameters={}, reason="agreed", entry_ids=[*held, *posted, *ready, *doubtful]
    )
    assert everything(*KEPT_BY_A_PLAN) == before
    assert operation.total == 2
    left = {row["state"]: (row["entries"], row["why"]) for row in operation.preview["left_out"]}
    assert left == {
        "in_doubt": (1, "in doubt; check in the ERP first"),
        "posted": (2, "posted; only a reversal changes what is booked"),
        "ready": (1, "ready, so nothing stops them"),
    }
    client.force_login(ana)
    page = client.get(reverse("operation", args=[operation.pk])).content.decode()
    assert "posted; only a reversal changes what is booked" in page
    figures = list(LedgerEntry.objects.filter(pk__in=[*posted, *ready, *doubtful]).order_by("pk").values())
    done(operation, ana)
    assert list(LedgerEntry.objects.filter(pk__in=[*posted, *ready, *doubtful]).order_by("pk").values()) == figures
    assert {state(entry) for entry in posted} == {"posted"}
    assert set(operation.rows.values_list("entry_id", flat=True)) == set(held)


@pytest.mark.case(128)
@pytest.mark.parametrize("code", sorted(FIXES))
def test_no_fix_takes_posted_entries_but_a_reversal_a_question_to_their_target_and_a_word_that_leaves_them(
    firm: Firm, ana: User, code: str
) -> None:
    posted = firm.admit(firm.time("p1")).ready
    firms.post(posted)
    reaches = bool(operations.fixable(FIXES[code](), None, posted))
    asking = {"check-in-target", "book-again", "leave-out"}  # nothing changes before the target has answered
    leaving = {"accept-booked"}  # what is booked stays as it is
    assert reaches == (code in {"reverse", "reverse-and-rebook", *asking, *leaving})


def test_what_can_be_booked_no_more_is_left_out_of_a_cause_too(firm: Firm, ana: User) -> None:
    held = mistyped(firm, 2)
    case = cause()
    LedgerState.objects.filter(entry=held[0]).update(state=State.CANCELLED)
    operation = planned(firm, ana, case=case)
    assert (operation.total, operation.preview["left_out"][0]["state"]) == (1, "cancelled")


def test_two_entities_in_one_selection_are_refused() -> None:
    both = world.user("both", everywhere=True)
    target = outbound.target()
    held = []
    for code in ("US", "DE"):
        source = outbound.firm(target, code)
        held += outbound.take_in(source, [outbound.record(source, 1, project=Reference("?", "", ""))]).held
    with pytest.raises(operations.OperationRefused, match="spans several legal entities"):
        operations.plan("recheck", user=both, parameters={}, entry_ids=held)


def test_rows_end_in_exactly_one_result_and_the_counts_add_up(firm: Firm, ana: User) -> None:
    mistyped(firm, 4)
    operation = done(planned(firm, ana), ana)
    assert operation.done + operation.failed == operation.total == OperationRow.objects.count()
    assert not operation.rows.filter(finished_at=None).exists()
    assert operations.progress(operation).counts[Phase.POSTING] == 4


def test_a_recheck_needs_no_reason_and_changes_nothing_that_still_fails(firm: Firm, ana: User) -> None:
    held = mistyped(firm, 1)
    operation = operations.plan("recheck", user=ana, parameters={}, case=cause())
    assert operation.preview["passes"] == 0
    done(operation, ana)
    assert (operation.failed, state(held[0]), Recheck.needs_reason) == (1, "held", False)


def test_a_chunk_costs_as_many_statements_for_forty_rows_as_for_four(firm: Firm, ana: User) -> None:
    asked = {}
    for count, first in ((4, 1), (4, 100), (40, 200)):
        team = desk.people(firm, 8)
        code = f"LOST-{first}"
        records = [
            firm.time(
                str(first + n), project=Reference("", code, ""), resource=Reference("", team[n % 8].code, ""),
                work_date=DAY + timedelta(days=n // 8),
            )
            for n in range(count)
        ]  # fmt: skip
        assert len(firm.admit(*records).held) == count
        with CaptureQueriesContext(connection) as planning:
            operation = planned(firm, ana)
        operations.confirm(operation, user=ana)
        with CaptureQueriesContext(connection) as running_it:
            operations.run(operation.pk)
        operation.refresh_from_db()
        assert operation.done == count
        asked[first] = (len(planning), len(running_it))
    assert asked[200] == asked[100]


@pytest.mark.parametrize("size", [1, 2, 500])
def test_what_was_promised_comes_true_whatever_the_size_of_a_chunk(
    firm: Firm, ana: User, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """Also where a rule looks at all hours of a day: three of nine hours each are too many, together or one by one."""
    monkeypatch.setattr(running, "CHUNK", size)
    code = Reference("", "ACM-9", "")
    crowded = [firm.time(f"c{n}", project=code, work_date=DAY, hours=Decimal(9)) for n in range(3)]
    others = [firm.time(f"o{n}", project=code, work_date=DAY + timedelta(days=n + 1)) for n in range(3)]
    firm.admit(*crowded, *others)
    operation = planned(firm, ana)
    promised = set(operation.rows.values_list("entry_id", "will_pass"))
    done(operation, ana)
    assert (operation.done, operation.failed) == (operation.preview["passes"], operation.preview["still_held"])
    assert {(row.entry_id, row.result == "done") for row in operation.rows.all()} == promised
