"""The screens of the close: signing a period, matching its open items, what has not arrived, and the board."""

from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import DatabaseError, transaction
from django.db import connection as database
from django.test import Client

from portal import figures
from portal.models import LedgerEntry, User
from reconciliation import matching
from reconciliation.models import Certificate, Match, MatchingRule, ReconciliationResult
from reconciliation.sql import closing
from tests.bills import bill
from tests.integrations.operate_world import Operations, operations

pytestmark = pytest.mark.django_db


@pytest.fixture
def firm(monkeypatch: pytest.MonkeyPatch) -> Operations:
    monkeypatch.setattr("integrations.wake.up", lambda *_: False)
    return operations(monkeypatch)


def act(client: Client, user: User, address: str, action: str, rows: Any = (), **fields: Any) -> Any:
    """Ask for an act, look at its question, and confirm it."""
    client.force_login(user)
    chosen = {"action": action, "selected": [row.pk for row in rows]}
    asked = client.post(address, chosen)
    if asked.status_code != 200:
        return asked
    return client.post(address, {**chosen, "confirmed": asked.context["confirmed"], **fields}, follow=True)


def test_a_period_is_signed_by_two_people_on_its_page_and_on_its_sheet(client: Client, firm: Operations) -> None:
    address = f"/reconciliation/periods/{firm.period.pk}/"
    refused = act(client, firm.analyst, address, "prepare")
    assert refused.status_code == 422
    assert "say why" in refused.content.decode()
    assert (
        "ERP ↔ invoice was not compared" in act(client, firm.analyst, address, "prepare", note="Both.").content.decode()
    )
    by_hand = {"uncompared_target_invoice": "Invoiced by hand until the route is there."}
    act(client, firm.analyst, address, "prepare", note="Both are being corrected in the ERP.", **by_hand)
    certificate = Certificate.objects.get()
    assert (certificate.state, certificate.differing) == ("prepared", 2)
    client.force_login(firm.analyst)
    assert 'value="certify"' not in client.get(address).content.decode()
    act(client, firm.controller, address, "certify")
    certificate.refresh_from_db()
    assert certificate.certified_by == firm.controller
    assert certificate.uncompared == {"target_invoice": "Invoiced by hand until the route is there."}
    page = client.get(address).content.decode()
    for place in (address, f"/reconciliation/{certificate.run_id}/sheet/", "/reconciliation/close/"):
        shown = client.get(place).content.decode()
        assert "are accepted without proof: Invoiced by hand until the route is there." in shown
    with pytest.raises(DatabaseError, match="is not changed"), transaction.atomic():
        Certificate.objects.filter(pk=certificate.pk).update(uncompared={})
    assert "Both are being corrected in the ERP." in page
    assert "Hours, from the tracker to the ERP" in page
    sheet = client.get(f"/reconciliation/{certificate.run_id}/sheet/").content.decode()
    assert "2 open items accepted" in sheet
    assert firm.controller.username in sheet
    act(client, firm.analyst, address, "withdraw", reason="One more came.")
    assert "One more came." in client.get(address).content.decode()


def test_open_items_are_matched_with_what_is_left_over_in_sight(client: Client, firm: Operations) -> None:
    address = f"/reconciliation/periods/{firm.period.pk}/items/"
    rows = list(ReconciliationResult.objects.standing().filter(period=firm.period, standing="unmatched"))
    client.force_login(firm.analyst)
    assert "Record M-900" in client.get(address).content.decode()
    asked = client.post(address, {"action": "match", "selected": [row.pk for row in rows]})
    assert "Left over" in asked.content.decode()
    refused = act(client, firm.analyst, address, "match", rows)
    assert refused.status_code == 422
    assert "left over" in refused.content.decode()
    act(client, firm.analyst, address, "timing", rows[:1], expected_on="2099-01-01", reason="The clerk corrects it.")
    assert Match.objects.get().kind == "timing"
    assert "The clerk corrects it." in client.get(f"{address}?tab=timing").content.decode()
    act(client, firm.analyst, address, "break", rows[:1], reason="She does not.")
    assert Match.objects.get().state == "broken"
    client.force_login(firm.stranger)
    assert client.get(address).status_code == 404
    client.force_login(firm.auditor)
    assert client.post(address, {"action": "match", "selected": [rows[0].pk]}).status_code == 403


def test_the_board_and_the_holes_say_what_is_missing_of_ones_own_entities(client: Client, firm: Operations) -> None:
    client.force_login(firm.analyst)
    board = client.get("/reconciliation/close/").content.decode()
    assert f"/reconciliation/periods/{firm.foreign_comparison.period_id}/" not in board
    assert f"/reconciliation/periods/{firm.period.pk}/" in board
    holes = client.get(f"/reconciliation/periods/{firm.period.pk}/holes/")
    assert holes.status_code == 200
    assert "expected on every working day" in holes.content.decode()
    assert client.get(f"/reconciliation/periods/{firm.foreign_comparison.period_id}/holes/").status_code == 404


def test_a_rule_is_written_tested_and_let_be_used_on_its_screen(client: Client, firm: Operations) -> None:
    client.force_login(firm.analyst)
    said = {
        "entity": firm.us.pk, "leg": "ledger_target", "name": "Same day", "criteria": ["day"], "hours_tolerance": "0",
        "amount_tolerance": "0", "position": "10",
    }  # fmt: skip
    assert client.post("/reconciliation/rules/new/", {**said, "criteria": []}).status_code == 422
    assert client.post("/reconciliation/rules/new/", said).status_code == 303
    rule = MatchingRule.objects.get()
    address = "/reconciliation/rules/?tab=all"
    refused = act(client, firm.controller, address, "activate", [rule])
    assert refused.status_code == 422
    act(client, firm.analyst, address, "test", [rule])
    assert "not tested" not in client.get(address).content.decode()
    act(client, firm.controller, address, "activate", [rule])
    rule.refresh_from_db()
    assert (rule.state, rule.activated_by, rule.made_by) == ("active", firm.controller, firm.analyst)
    act(client, firm.analyst, address, "retire", [rule])
    assert rule.history.latest().history_change_reason == "retired"
    client.force_login(firm.stranger)
    assert "Same day" not in client.get(address).content.decode()


def test_money_that_is_not_known_is_no_zero_on_the_board(client: Client, firm: Operations) -> None:
    start, end = firm.period.starts_on, firm.period.ends_on
    with database.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(
            "UPDATE portal_ledgerentry SET amount = NULL, is_cost_only = false WHERE entity_id = %s", [firm.us.pk]
        )
        cursor.execute("UPDATE portal_ledgerstate SET state = 'held'")
        cursor.execute("SET LOCAL session_replication_role = origin")
    held = LedgerEntry.objects.filter(entity=firm.us, work_date__range=(start, end)).count()
    assert held
    [stand, *_] = closing.board([firm.period.pk])
    assert (stand.held_amount, stand.held_unpriced) == (None, stand.held)
    client.force_login(firm.analyst)
    assert "without a price" in client.get("/reconciliation/close/").content.decode()


def test_both_sides_are_matched_beside_each_other_down_to_nothing(client: Client, firm: Operations) -> None:
    left, right = (
        ReconciliationResult.objects.standing().filter(period=firm.period, standing="unmatched").order_by("pk")
    )
    ReconciliationResult.objects.filter(pk=left.pk).update(
        hours_left=8, hours_right=0, amount_left=960, amount_right=0, currency="USD"
    )
    ReconciliationResult.objects.filter(pk=right.pk).update(
        leg=left.leg, hours_left=0, hours_right=8, amount_left=0, amount_right="959.99", currency="USD"
    )
    address = f"/reconciliation/periods/{firm.period.pk}/match/{left.leg}/"
    client.force_login(firm.analyst)
    page = client.get(address)
    panes = {pane["name"]: [row["item"].pk for row in pane["rows"]] for pane in page.context["panes"]}
    assert panes == {"left": [left.pk], "right": [right.pk]}
    assert "Nothing is chosen." in page.content.decode()
    both = {"selected": [left.pk, right.pk]}
    weighed = client.post(address, {**both, "do": "weigh"})
    assert weighed.context["weighed"]["sides"].amount == Decimal("0.01")
    assert "Small enough to be matched with a reason" in weighed.content.decode()
    too_much = client.post(address, {"selected": [left.pk], "do": "weigh"}).content.decode()
    assert "Too much is left over" in too_much
    assert "match many with many. Or have the record divided where it is kept" in too_much
    refused = client.post(address, {**both, "do": "match"})
    assert refused.status_code == 422
    assert "Something is left over; say what it is and why." in refused.content.decode()
    for code in ("longer than a code", "exact"):
        refused = client.post(address, {**both, "do": "match", "code": code, "reason": "A cent."})
        assert (refused.status_code, "is not one of the available choices" in refused.content.decode()) == (422, True)
    assert not Match.objects.exists()
    done = client.post(
        address, {**both, "do": "match", "code": "rounding", "reason": "A cent of the bank."}, follow=True
    )
    assert "2 items are matched." in done.content.decode()
    made = Match.objects.get()
    assert (made.code, made.items, made.amount_left - made.amount_right) == ("rounding", 2, Decimal("0.01"))
    assert "Nothing has more on the left." in client.get(address).content.decode()
    client.force_login(firm.auditor)
    assert 'name="selected"' not in client.get(address).content.decode()
    more = ReconciliationResult.objects.exclude(pk__in=[left.pk, right.pk]).filter(period=firm.period)[:1]
    assert client.post(address, {"selected": [one.pk for one in more], "do": "match"}).status_code in (403, 422)
    assert Match.objects.count() == 1
    client.force_login(firm.stranger)
    assert client.get(address).status_code == 404


def test_a_leg_that_is_not_compared_is_named_with_its_reason_and_money_wherever_the_period_is_signed(
    client: Client, firm: Operations
) -> None:
    run = matching.run(firm.us, firm.period)
    reason, booked = "no bill of US was ever taken in", run.totals["target_invoice"]["money"]["USD"]["left"]
    assert run.totals["invoice_payment"]["not_compared"] == run.totals["target_invoice"]["not_compared"] == reason
    words = f"{figures.amount(Decimal(booked), 'USD')} USD"
    assert Decimal(booked) > 0
    client.force_login(firm.analyst)
    page = f"/reconciliation/periods/{firm.period.pk}/"
    for address in (page, f"/reconciliation/{run.pk}/sheet/"):
        shown = client.get(address).content.decode()
        assert "ERP ↔ invoice is not compared:" in shown
        assert f"{reason}. Nothing proves that {words} were invoiced." in shown
    assert f"{words} not compared with any bill" in client.get("/reconciliation/close/").content.decode()
    assert reason in client.get("/reconciliation/").content.decode()
    by_hand = {"note": "They are invoiced by hand.", "uncompared_target_invoice": "They are invoiced by hand."}
    act(client, firm.analyst, page, "prepare", **by_hand)
    assert Certificate.objects.get().totals["target_invoice"]["money"]["USD"]["left"] == booked
    act(client, firm.controller, page, "certify")
    assert "Certified" in client.get("/reconciliation/").content.decode()

    books: Any = SimpleNamespace(target=firm.target, entity=firm.us, customer=None)
    bill(books, booked_on=firm.period.ends_on)
    matching.run(firm.us, firm.period)
    dropped = Certificate.objects.get()
    assert dropped.state == "dropped"
    assert "ERP ↔ invoice: " in client.get(page).content.decode()
    for address in ("/reconciliation/", "/reconciliation/close/"):
        assert "Dropped" in client.get(address).content.decode()
