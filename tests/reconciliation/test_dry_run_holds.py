"""What a dry-run shows is what comes of it: over random entries, fixes, chunks and changes in between, row by row and in money.

Where something changed meanwhile, nobody is told other numbers than those that come: either the confirmation says so, or the row
that is not as it was shown is left alone or failed, by name.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

from portal import canonical
from portal.models import AccountingPeriod, GrantRole, ProjectStatus, Rate, TimeEntry
from portal.records import Reference
from reconciliation import operations, validation
from reconciliation.fixes import FIXES, outcomes
from reconciliation.models import ExceptionCase, Operation
from reconciliation.operations import applying, running
from tests import world
from tests.invariants import assert_all_hold
from tests.reconciliation.firm import Firm, build, key, project

pytestmark = pytest.mark.django_db

KINDS = ("mistyped", "off rate", "closed month", "both", "long day")
FIXES_OF = {
    "project-unknown": ("map-code", "move-project", "make-non-billable", "recheck"),
    "rate-mismatch": ("use-contract-rate", "accept-source-rate", "make-non-billable", "recheck"),
    "period-closed": ("post-next-period", "recheck"),
    "cap-exceeded": ("make-non-billable", "waive", "recheck"),
}
CHANGES = ("nothing", "rate", "period", "project", "cap", "newer version", "other fix")

entries = st.lists(
    st.tuples(st.sampled_from(KINDS), st.integers(0, 27), st.sampled_from(["4.00", "7.50", "8.00"])),
    min_size=2,
    max_size=9,
)
changes = st.lists(st.sampled_from(CHANGES), max_size=2)


def take_in(firm: Firm, drawn: list[tuple[str, int, str]], cap: str) -> None:
    """The entries, some of them stopped by more than one thing, on a contract that may end in their middle."""
    if cap:
        firm.contract.cap_amount = Decimal(cap)
        firm.contract.save()
    AccountingPeriod.objects.filter(entity=firm.entity, code="2026-08").update(state="closed")
    records = []
    for number, (kind, day, hours) in enumerate(drawn):
        first = date(2026, 8, 3) if kind == "closed month" else date(2026, 10, 1)
        more: dict[str, Any] = {"hours": Decimal(hours), "work_date": first + timedelta(days=day)}
        if kind in ("mistyped", "both"):
            more["project"] = Reference("", "ACM-9", "")
        if kind in ("off rate", "both"):
            more["rate"] = Decimal("110.00")
        if kind == "long day":
            more |= {"hours": Decimal("23.00"), "work_date": first, "rate": Decimal("110.00")}
        records.append(firm.time(str(100 + number), **more))
    firm.admit(*records)


def change(firm: Firm, kind: str, person: Any, operation: Operation) -> None:
    """What happens while somebody looks at a dry-run."""
    match kind:
        case "rate":
            Rate.objects.update(amount=Decimal("121.00"))
        case "period":
            AccountingPeriod.objects.filter(entity=firm.entity, code="2026-10").update(state="closed")
        case "project":
            ProjectStatus.objects.filter(project=firm.project).update(status="closed")
        case "cap":
            firm.contract.cap_amount = Decimal("1000.00")
            firm.contract.save()
        case "newer version":
            row = operation.rows.select_related("entry__document").first()
            assert row is not None
            newer = firm.time(row.entry.document.external_id, hours=Decimal("3.25"))
            number = 1_000 + TimeEntry.objects.count()  # of a message of its own
            validation.admit(canonical.take_in(firm.source, [(number, newer)]).documents, actor="test")
        case "other fix":
            ids = list(operation.rows.values_list("entry_id", flat=True)[:2])
            try:
                other = operations.plan("make-non-billable", user=person, parameters={}, reason="gift", entry_ids=ids)
                operations.confirm(other, user=person)
            except operations.OperationRefused:
                return
            finish(other)


def finish(operation: Operation) -> Operation:
    """Workers come until nothing is left for them."""
    while operations.run(operation.pk):
        pass
    operation.refresh_from_db()
    return operation


def parameters(firm: Firm, code: str, other: Any) -> dict[str, Any]:
    october = AccountingPeriod.objects.get(entity=firm.entity, code="2026-11")
    return {
        "map-code": {"record": firm.project.pk, "valid_from": ""},
        "move-project": {"project": other.pk},
        "post-next-period": {"period": october.pk},
    }.get(code, {})


@contextmanager
def taken_back() -> Iterator[None]:
    """Each example begins with the same firm."""
    with transaction.atomic():
        point = transaction.savepoint()
        yield
        transaction.savepoint_rollback(point)


def judge(operation: Operation, changed_after: bool) -> None:
    """Every row that is done came to what was shown; without a change, all of them, and the totals."""
    rows = list(operation.rows.select_related("successor", "entry"))
    assert {row.result for row in rows} <= {"done", "failed", "skipped"}
    came: dict[str, Decimal] = {}
    for row in rows:
        stands = outcomes([row.entry_id])[row.entry_id]
        if row.result == "done":
            assert stands.passes
            if row.will_pass:
                assert (stands.amount, stands.currency) == (row.amount_after, row.currency_after)
            if stands.amount is not None:
                came[stands.currency] = came.get(stands.currency, Decimal(0)) + stands.amount
        else:
            assert row.message
    if changed_after:
        return
    promised = operation.preview
    assert [row.result == "done" for row in rows] == [row.will_pass for row in rows]
    assert (operation.done, operation.failed) == (promised["passes"], promised["still_held"])
    passing = {code: Decimal(sums["passing"]) for code, sums in promised["money"].items() if code}
    assert {code: amount for code, amount in came.items() if amount} == {c: a for c, a in passing.items() if a}
    assert {row.message[:300] for row in rows if row.result == "failed"} == {
        r.promised for r in rows if not r.will_pass
    }


@pytest.fixture
def firm() -> Firm:
    return build()


@given(
    drawn=entries, cap=st.sampled_from(["", "", "1500.00"]), pick=st.integers(0, 99), before=changes, after=changes,
    chunk=st.integers(1, 5), by_worker=st.booleans(),
)  # fmt: skip
@settings(
    max_examples=20, deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # an example is a month in a database: none is made smaller
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
def test_the_numbers_of_a_dry_run_are_the_numbers_of_the_result(
    firm: Firm, monkeypatch: pytest.MonkeyPatch, settings: Any, drawn: list[tuple[str, int, str]], cap: str, pick: int,
    before: list[str], after: list[str], chunk: int, by_worker: bool,
) -> None:  # fmt: skip
    monkeypatch.setattr(applying, "CHUNK", chunk)
    monkeypatch.setattr(running, "CHUNK", chunk)
    settings.PLAN_AT_ONCE = 0 if by_worker else 1_000
    with taken_back():
        other = project("ACM-7", firm.entity, firm.customer, firm.contract)
        key(firm.target, "project", other.pk)
        person = world.user("lea", GrantRole.CONTROLLER, firm.entity)
        take_in(firm, drawn, cap)
        causes = list(ExceptionCase.objects.filter(state="open", rule__in=FIXES_OF).order_by("pk"))
        if not causes:
            return
        cause = causes[pick % len(causes)]
        code = FIXES_OF[cause.rule][pick % len(FIXES_OF[cause.rule])]
        event(f"{code} on {cause.rule}")
        asked = parameters(firm, code, other)
        operation = finish(operations.plan(code, user=person, parameters=asked, reason="agreed", case=cause))
        if operation.state == "cancelled":
            assert operation.moved["says"]
            return
        for kind in before:
            change(firm, kind, person, operation)
        if not confirmed(operation, person, expected_to_hold=not before):
            return
        for kind in after:
            change(firm, kind, person, operation)
        finish(operation)
        assert operation.state == "done"
        judge(operation, bool(after))
        assert_all_hold()


def confirmed(operation: Operation, person: Any, *, expected_to_hold: bool) -> bool:
    """Let it go, by a new dry-run where the numbers moved; false where nothing is left to be fixed."""
    for _ in range(3):
        try:
            operations.confirm(operation, user=person)
        except operations.Moved:
            if expected_to_hold:
                raise
            try:
                operations.renew(operation, user=person)
            except operations.OperationRefused:
                return False
            finish_planning(operation)
            continue
        finish_planning(operation)
        if operation.state == "running":
            return True
        assert not expected_to_hold, operation.moved
        if operation.state == "cancelled":
            return False
    raise AssertionError(f"{FIXES[operation.fix].label} was never let go: {operation.moved}")


def finish_planning(operation: Operation) -> None:
    if operation.state == "planning":
        operations.run(operation.pk)
        operation.refresh_from_db()
