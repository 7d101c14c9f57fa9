"""The read API of the close and of readiness: what the screens say, of what the token's user may see, at a fixed cost."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from portal import tokens
from reconciliation import holes
from reconciliation.models import MatchingRule, ProjectMonth
from tests.integrations.operate_world import Operations, operations

pytestmark = pytest.mark.django_db


@pytest.fixture
def firm(monkeypatch: pytest.MonkeyPatch) -> Operations:
    monkeypatch.setattr("integrations.wake.up", lambda *_: False)
    return operations(monkeypatch)


def bearing(user: Any) -> Client:
    return Client(headers={"authorization": f"Bearer {tokens.issue(user, 'lake')}"})


def read(client: Client, address: str, status: int = 200) -> Any:
    answer = client.get(f"/api/v1/{address}")
    assert answer.status_code == status, answer.content
    return answer.json()


def rules(firm: Operations, names: str) -> None:
    for name in names:
        MatchingRule.objects.create(
            entity=firm.us, leg="ledger_target", name=name, criteria=["day"], made_by=firm.analyst, position=1
        )


def test_a_run_tells_its_totals_leg_by_leg(firm: Operations) -> None:
    client = bearing(firm.analyst)
    rows = read(client, f"reconciliation-runs/?period={firm.period.code}&entity={firm.us.code}")["results"]
    assert firm.comparison.pk in [row["id"] for row in rows]
    row = read(client, f"reconciliation-runs/{firm.comparison.pk}/")
    assert (row["state"], row["totals"]["ledger_target"]["differing"]) == ("out_of_balance", 2)
    assert firm.foreign_comparison.pk not in [one["id"] for one in read(client, "reconciliation-runs/")["results"]]


def test_rules_tell_how_they_fare_at_the_cost_of_one(firm: Operations) -> None:
    rules(firm, "a")
    client = bearing(firm.analyst)
    [row] = read(client, "matching-rules/")["results"]
    assert (row["name"], row["found"], row["confirmed"], row["refused"], row["made_by"]) == (
        "a", 0, 0, 0, firm.analyst.username,
    )  # fmt: skip

    def cost() -> int:
        with CaptureQueriesContext(connection) as queries:
            read(client, "matching-rules/")
        return len(queries)

    few = cost()
    rules(firm, "bcdefgh")
    assert cost() == few
    assert read(bearing(firm.stranger), "matching-rules/")["results"] == []


def test_readiness_is_asked_for_a_period_and_one_month_tells_its_twelve_answers(firm: Operations) -> None:
    client = bearing(firm.analyst)
    assert "period=2026-10" in str(read(client, "readiness/", 400))
    month = ProjectMonth.objects.filter(project__entity=firm.us)[0]
    rows = read(client, f"readiness/?period={month.period.code}")["results"]
    row = next(one for one in rows if one["id"] == month.pk)
    sums = sum(Decimal(row[name]) for name in ("blocked", "under_way", "ready", "invoiced"))
    assert (row["project"], Decimal(row["amount"])) == (month.project.code, sums)
    told = read(client, f"readiness/{month.pk}/")
    assert len(told["checks"]) == 12
    assert {check["verdict"] for check in told["checks"]} <= {"pass", "fail", "n.a."}
    assert all(row["entity"] == firm.us.code for row in rows)
    shown = [Decimal(row[name]) for name in ("milestones_ready", "milestones_invoiced")]
    assert shown == [month.milestones_ready, month.milestones_invoiced]
    for cursor in ("cD1hYmM=", "cD0tMQ==", "nonsense"):  # p=abc, p=-1
        read(client, f"readiness/?period={month.period.code}&cursor={cursor}", 404)


def test_the_board_and_the_holes_say_what_their_pages_say(firm: Operations) -> None:
    client = bearing(firm.analyst)
    rows = {row["id"]: row for row in read(client, "close-board/")["results"]}
    assert firm.foreign_comparison.period_id not in rows
    close = rows[firm.period.pk]["close"]
    assert close["waiting"] == sum(stand["waiting"] for stand in close["stands"])
    assert close["stopped"] == sum(stand["held"] + stand["in_doubt"] for stand in close["stands"])
    told = read(client, f"holes/{firm.period.pk}/")["people"]
    stands = holes.of_period(firm.period)
    assert [row["resource"] for row in told] == [row.person for row in stands]
    assert [row["silent"] for row in told] == [[day.isoformat() for day in row.silent] for row in stands]
    read(client, f"holes/{firm.foreign_comparison.period_id}/", 404)
    assert client.post(f"/api/v1/holes/{firm.period.pk}/", {}).status_code == 405
