"""What holds of rates whatever is agreed: they never overlap, a line names the rate of its day, and cents come out the same."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portal import sql
from portal.models import LedgerEntry, Rate, RateCard, Task
from portal.records import Reference
from reconciliation import validation
from reconciliation.facts.records import FOREVER
from reconciliation.rates import matrix, tester
from tests.reconciliation import firm as firms
from tests.reconciliation.firm import Firm

pytestmark = pytest.mark.django_db
FIRST = date(2026, 9, 1)
quickly = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

days = st.integers(0, 59).map(lambda number: FIRST + timedelta(days=number))
amounts = st.decimals(Decimal(0), Decimal(400), places=2)


@st.composite
def agreements(draw: Any) -> dict[str, Any]:
    """One rate that somebody may try to agree: on what it hangs, for how much, from when to when."""
    start = draw(days)
    length = draw(st.none() | st.integers(0, 40))
    return {
        "card": draw(st.integers(0, 2)), "person": draw(st.booleans()), "role": draw(st.booleans()),
        "task": draw(st.booleans()), "currency": draw(st.sampled_from(["USD", "USD", "USD", "EUR"])),
        "unit": draw(st.sampled_from(["hour", "hour", "day"])), "amount": draw(amounts), "valid_from": start,
        "valid_to": None if length is None else start + timedelta(days=length),
    }  # fmt: skip


entries = st.tuples(days, st.decimals(Decimal("0.25"), Decimal(10), places=2), st.booleans())


@pytest.fixture
def firm() -> Firm:
    made = firms.build()
    made.policy(day_hours_max="24", hours_max="24")
    return made


def agree(firm: Firm, wanted: Sequence[dict[str, Any]]) -> list[Rate]:
    """Save what the database lets, on the contract's card, the entity's and everybody's."""
    Rate.objects.all().delete()
    RateCard.objects.exclude(pk=firm.card.pk).delete()
    Task.objects.all().delete()
    cards = [
        firm.card, RateCard.objects.create(code="ENTITY", entity=firm.entity, valid_from=date(2026, 9, 10)),
        RateCard.objects.create(code="LIST", valid_from=firms.SINCE),
    ]  # fmt: skip
    task = Task.objects.create(project=firm.project, code="DEV", name="Development")
    saved = []
    for one in wanted:
        values = {name: one[name] for name in ("currency", "unit", "amount", "valid_from", "valid_to")}
        hangs_on = {
            "resource": firm.ana if one["person"] else None, "role": firm.role if one["role"] else None,
            "task": task if one["task"] else None,
        }  # fmt: skip
        try:
            with transaction.atomic():
                saved.append(Rate.objects.create(card=cards[one["card"]], **hangs_on, **values))
        except IntegrityError as refused:
            assert "rates_do_not_overlap" in str(refused)  # noqa: PT017 -- no other reason is expected
    return saved


@pytest.mark.case(38)
@quickly
@given(wanted=st.lists(agreements(), max_size=14))
def test_no_two_rates_for_one_thing_and_currency_share_a_day(firm: Firm, wanted: list[dict[str, Any]]) -> None:
    with transaction.atomic():
        saved = agree(firm, wanted)
        by_thing: dict[Any, list[matrix.Span]] = {}
        for rate in saved:
            by_thing.setdefault((rate.card_id, matrix.key_of(rate)), []).append(matrix.span_of(rate))
        for spans in by_thing.values():
            spans.sort(key=lambda span: span.start)
            assert all(one.end < other.start for one, other in pairwise(spans))
        for card in RateCard.objects.all():
            shown = matrix.of(card, [rate for rate in saved if rate.card_id == card.pk])
            assert shown.spans[0].start == card.valid_from
            assert shown.spans[-1].end == FOREVER
            assert all(sum(cell.width for cell in row.cells) == len(shown.spans) for row in shown.rows)
        transaction.set_rollback(True)


@pytest.mark.case(38)
def test_two_rates_that_share_a_day_are_refused_to_direct_sql_too(firm: Firm) -> None:
    firm.rate.valid_to = date(2026, 11, 30)
    firm.rate.save()
    later = Rate.objects.create(
        card=firm.card, role=firm.role, currency="USD", amount=130, valid_from=date(2026, 12, 1)
    )
    columns = "card_id, role_id, resource_id, task_id, currency, amount, unit"
    for statement in (
        f"INSERT INTO portal_rate ({columns}, valid_from) SELECT {columns}, '2026-11-30' FROM portal_rate WHERE id = {later.pk}",
        f"UPDATE portal_rate SET valid_to = '2026-12-01' WHERE id = {firm.rate.pk}",
        f"UPDATE portal_rate SET valid_to = NULL WHERE id = {firm.rate.pk}",
        f"UPDATE portal_rate SET valid_from = '2026-06-01' WHERE id = {later.pk}",
    ):
        with pytest.raises(IntegrityError, match="rates_do_not_overlap"), transaction.atomic():
            sql.execute(f"{statement}; SET CONSTRAINTS ALL IMMEDIATE")
    assert sql.execute("UPDATE portal_rate SET valid_to = '2026-11-15' WHERE id = %s", [firm.rate.pk]) == 1


@pytest.mark.case(37, 39, 40)
@quickly
@given(wanted=st.lists(agreements(), max_size=12), worked=st.lists(entries, min_size=1, max_size=6))
def test_a_line_names_the_rate_that_holds_on_its_day_and_the_tester_and_a_second_look_agree_to_the_cent(
    firm: Firm, wanted: list[dict[str, Any]], worked: list[tuple[date, Decimal, bool]]
) -> None:
    with transaction.atomic():
        agree(firm, wanted)
        task = Task.objects.get(code="DEV")
        records = [
            firm.time(f"p{number}", rate=None, work_date=day, hours=hours, description=f"Piece {number}",
                      task=Reference("", "DEV") if with_task else Reference("", "", ""))
            for number, (day, hours, with_task) in enumerate(worked)
        ]  # fmt: skip
        admitted = firm.admit(*records)
        lines = list(LedgerEntry.objects.select_related("rate_used__card", "document", "task"))
        assert len(lines) == len(worked) == len(admitted.ready) + len(admitted.held)
        for line in lines:
            said = tester.ask(
                person=firm.ana, project=firm.project, day=line.work_date, task=task if line.task_id else None,
                hours=line.hours or Decimal(0),
            )  # fmt: skip
            assert (line.rate, line.amount, line.rate_version) == (
                said.draft.rate,
                said.draft.amount,
                said.draft.rate_version,
            )
            used = line.rate_used
            if used is None:
                assert line.amount is None
                continue
            assert matrix.span_of(used).overlap(matrix.Span(line.work_date, line.work_date)) is not None
            assert matrix.span_of(used.card).overlap(matrix.Span(line.work_date, line.work_date)) is not None
            assert line.rate_version.startswith(f"{used.card.code} v{used.card.version}")
            assert line.currency == used.currency
        before = {line.pk: (line.rate, line.amount, line.rate_used_id) for line in lines}
        again = validation.recheck(list(before), actor="test", reason="a second look")
        assert again.refigured == []
        assert before == {one.pk: (one.rate, one.amount, one.rate_used_id) for one in LedgerEntry.objects.all()}
        transaction.set_rollback(True)
