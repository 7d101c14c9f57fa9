"""A list on paper: every row of the filter, the filter and totals on top, and what each entity holds."""

from __future__ import annotations

import pytest
from django.test import Client

from portal.models import GrantRole
from portal.screens import printing
from tests import world
from tests.reconciliation import desk
from tests.reconciliation.firm import build

pytestmark = pytest.mark.django_db


def test_paper_has_every_row_the_filter_and_what_each_entity_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    firm = build()
    desk.off_rate(firm, 30)
    desk.mistyped(firm, 3)
    client = Client()
    client.force_login(world.user("ana", GrantRole.ANALYST, firm.entity))
    page = client.get("/ledger/?size=25&tab=stopped").content.decode()
    assert page.count("<tr data-key=") == 25
    assert "data-print-now" not in page
    paper = client.get("/ledger/?size=25&tab=stopped&print=1").content.decode()
    assert paper.count("<tr data-key=") == 33
    head = paper.split("data-print-now")[1].split("<form")[0]
    assert "Stopped" in head
    assert "printed by ana" in head
    assert "Totals by entity" in head
    assert ">US<" in head
    assert "print=1" not in paper.split("<main")[1].split("Export</summary>")[0], "paper is no state of the list"
    monkeypatch.setattr(printing, "PAPER_ROWS", 10)
    short = client.get("/ledger/?tab=stopped&print=1").content.decode()
    assert short.count("<tr data-key=") == 10
    assert "23 more are left out; an export has them all" in short


def test_the_queue_on_paper_adds_up_its_causes_by_entity() -> None:
    firm = build()
    desk.off_rate(firm, 4)
    desk.periods_closed(firm, 2)
    client = Client()
    client.force_login(world.user("ana", GrantRole.ANALYST, firm.entity))
    head = client.get("/exceptions/?print=1").content.decode().split("data-print-now")[1].split("<form")[0]
    cells = [cell.split("<")[0] for cell in head.split("<td")[1:]]
    assert [cell.split(">")[1] for cell in cells] == ["USD", "2", "6", "5,760.00"]
