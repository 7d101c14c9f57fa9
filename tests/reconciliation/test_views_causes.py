"""The queue of causes and the page of one: what they show, to whom, and how a fix is asked for, tried and confirmed."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from portal.models import AccountingPeriod, AuditEvent, GrantRole, LedgerState, Project, State
from reconciliation import operations
from reconciliation.models import CaseComment, ExceptionCase, Operation, OperationRow
from tests import world
from tests.reconciliation import desk
from tests.reconciliation.firm import Firm, build, case, post, state

pytestmark = pytest.mark.django_db


@pytest.fixture
def firm() -> Firm:
    """The firm, with a project whose code is near a mistyped one."""
    made = build()
    desk.near(made)
    return made


@pytest.fixture
def fay(client: Client, firm: Firm) -> Client:
    """A browser in which a finance analyst of the firm is signed in."""
    client.force_login(desk.analyst(firm))
    return client


def page(client: Client, address: str, status: int = 200, **more: Any) -> str:
    response = client.get(address, **more)
    assert response.status_code == status, response.content[:500]
    return response.content.decode()


def fix_url(rule: str, code: str) -> str:
    return reverse("fix", args=[case(rule).pk, code])


def plan(client: Client, rule: str, code: str, **data: Any) -> Operation:
    response = client.post(fix_url(rule, code), data)
    assert response.status_code == 303, response.content.decode()
    return Operation.objects.latest("pk")


# The queue


def test_the_queue_says_what_a_cause_stops_in_entries_people_money_and_age(fay: Client, firm: Firm) -> None:
    desk.mistyped(firm, 6)
    desk.off_rate(firm, 2)
    text = page(fay, reverse("exceptions"))
    assert "Project “ACM-2231” is not in the master data." in text
    assert "Project unknown" in text
    assert "Harvest-Us → Netsuite-Us" in text
    assert "2 causes hold <b>8 entries</b>" in text
    assert "ACM-2213 · 100 %" in text
    assert "Use the contract&#x27;s rate" in text
    assert "1,920.00" in text


def test_hours_without_a_price_are_shown_at_their_sources_rate_and_said_to_be_an_estimate(
    fay: Client, firm: Firm
) -> None:
    desk.mistyped(firm, 1)
    text = page(fay, reverse("exceptions"))
    assert "≈ 480.00" in text
    assert "An estimate at the list price or the source&#x27;s own rate" in text


def test_currencies_of_one_cause_stand_apart_and_are_never_added(fay: Client, firm: Firm) -> None:
    desk.off_rate(firm, 2)
    found = case("rate-mismatch")
    found.totals.create(currency="GBP", amount="100", holds=1)
    text = page(fay, reverse("exceptions"))
    assert "1,920.00" in text
    assert "<small>100.00 GBP</small>" in text
    assert "2,020" not in text


def test_the_most_money_comes_first_then_the_oldest(fay: Client, firm: Firm) -> None:
    desk.periods_closed(firm, 1)
    desk.off_rate(firm, 3)
    text = page(fay, reverse("exceptions"))
    assert text.index("agreed are 120.00") < text.index("Period 2026-08 of US is closed.")


def test_the_export_says_in_columns_what_the_screen_says_in_small_type(fay: Client, firm: Firm) -> None:
    desk.off_rate(firm, 2)
    response: Any = fay.get(reverse("exceptions"), {"export": "csv"})
    lines = b"".join(response.streaming_content).decode().splitlines()
    head = next(line for line in lines if line.startswith("Number,"))
    row = next(line for line in lines if line.startswith("EX-"))
    assert head.startswith("Number,Cause,Rule,Entity,Entries,People,Projects,Hours,Amount,Currency,Cash at risk,")
    assert f"EX-{case('rate-mismatch').pk}," in row
    assert "Source's rate differs from the agreed one,US,2,1,1,16.00,1920.00,USD,57600.00,,2026-10-01" in row
    assert ",open," in row.lower()


def test_a_cleared_queue_names_what_was_cleared_last(fay: Client, firm: Firm) -> None:
    assert "Nothing has been taken in yet" in page(fay, reverse("exceptions"))
    held = desk.off_rate(firm, 1)
    ExceptionCase.objects.filter(pk=case("rate-mismatch").pk).update(state="resolved", closed_at="2026-10-05T09:42Z")
    text = page(fay, reverse("exceptions"))
    assert "No open exceptions" in text
    assert "Last cleared 05 Oct 09:42" in text
    assert held


def test_an_empty_tab_never_says_that_all_is_clear_while_causes_are_open(fay: Client, firm: Firm) -> None:
    desk.off_rate(firm, 1)
    for tab, words in (("mine", "Nothing is assigned to you"), ("regressed", "Nothing came back"), ("resolved", "yet")):
        text = page(fay, reverse("exceptions") + f"?tab={tab}")
        assert words in text
        assert "No open exceptions" not in text


def test_another_entitys_causes_are_neither_listed_nor_found(client: Client, firm: Firm) -> None:
    desk.off_rate(firm, 1)
    client.force_login(world.user("gus", GrantRole.ANALYST, world.entity("GB", "GBP")))
    assert "agreed are 120.00" not in page(client, reverse("exceptions"))
    found = case("rate-mismatch").pk
    page(client, reverse("cause", args=[found]), 404)
    page(client, reverse("fix", args=[found, "recheck"]), 404)
    assert client.post(reverse("cause_comment", args=[found]), {"text": "hello"}).status_code == 404


def test_a_cause_is_taken_on_and_its_history_says_by_whom(fay: Client, firm: Firm) -> None:
    desk.off_rate(firm, 1)
    found = case("rate-mismatch")
    fay.post(reverse("exceptions"), {"action": "assign_me", "selected": [found.pk]})
    found.refresh_from_db()
    assert found.owner is not None
    assert found.owner.get_username() == "fay"
    assert "Given to fay" in page(fay, reverse("cause", args=[found.pk]))
    assert "agreed are 120.00" in page(fay, reverse("exceptions") + "?tab=mine")


# The page of a cause


def test_the_page_of_a_cause_lists_its_ways_out_in_order_with_the_evidence(fay: Client, firm: Firm) -> None:
    desk.mistyped(firm, 3)
    text = page(fay, reverse("cause", args=[case("project-unknown").pk]))
    assert text.index("Map the code") < text.index("Hand back to the source") < text.index("Handled outside")
    assert "ACM-2213 · 100 %" in text
    assert "code 88 % alike" in text
    assert "Consultant 1, 2 Oct 2026" in text
    assert "Opened: found by validation" in text


def test_an_auditor_sees_the_cause_and_may_do_nothing(client: Client, firm: Firm) -> None:
    desk.off_rate(firm, 1)
    client.force_login(world.user("aud", GrantRole.AUDITOR, firm.entity))
    found = case("rate-mismatch")
    text = page(client, reverse("cause", args=[found.pk]))
    assert "Use the contract&#x27;s rate" in text
    assert "/fix/" not in text
    assert "assign_me" not in text.split("<main")[1].split("</main>")[0]
    assert "Add the comment" not in text
    page(client, fix_url("rate-mismatch", "use-contract-rate"), 403)
    assert client.post(fix_url("rate-mismatch", "use-contract-rate")).status_code == 403
    assert client.post(reverse("cause_comment", args=[found.pk]), {"text": "hello"}).status_code == 403
    assert not Operation.objects.exists()


def test_a_project_manager_sees_causes_and_comments_but_does_not_fix(client: Client, firm: Firm) -> None:
    desk.off_rate(firm, 1)
    pam = world.user("pam", GrantRole.PROJECT_MANAGER, firm.entity)
    Project.objects.filter(pk=firm.project.pk).update(manager=pam)
    client.force_login(pam)
    page(client, fix_url("rate-mismatch", "use-contract-rate"), 403)
    found = case("rate-mismatch")
    client.post(reverse("cause_comment", args=[found.pk]), {"text": "Ask @pam about this."})
    comment = CaseComment.objects.get()
    assert comment.mentions == ["pam"]
    assert "Ask @pam about this." in page(client, reverse("cause", args=[found.pk]))


def test_what_the_target_said_is_on_the_page_of_a_refusal(fay: Client, firm: Firm) -> None:
    desk.off_rate(firm, 1)
    ExceptionCase.objects.filter(pk=case("rate-mismatch").pk).update(
        detail={"vendor_text": "<b>INSUFFICIENT_PERMISSION</b>", "vendor_code": "USER_ERROR"}
    )
    text = page(fay, reverse("cause", args=[case("rate-mismatch").pk]))
    assert "&lt;b&gt;INSUFFICIENT_PERMISSION&lt;/b&gt;" in text
    assert "USER_ERROR" in text


# A fix: asked for, tried, confirmed


def test_a_sure_suggestion_is_filled_in_and_begins_its_dry_run_in_the_drawer(fay: Client, firm: Firm) -> None:
    desk.mistyped(firm, 3)
    text = page(fay, fix_url("project-unknown", "map-code"), headers={"hx-request": "true", "hx-target": "drawer-body"})
    assert "selected>ACM-2213 · Acme roll-out phase 2" in text
    assert 'hx-trigger="submit, load"' in text
    again = page(
        fay,
        fix_url("project-unknown", "map-code") + "?edit=1",
        headers={"hx-request": "true", "hx-target": "drawer-body"},
    )
    assert 'hx-trigger="submit"' in again


def test_a_dry_run_shows_every_row_before_and_after_and_changes_nothing(fay: Client, firm: Firm) -> None:
    held = desk.mistyped(firm, 3)
    operation = plan(fay, "project-unknown", "map-code", record=desk.near_id(), valid_from="")
    assert operation.state == Operation.State.PLANNED
    text = page(fay, reverse("operation", args=[operation.pk]))
    assert "Map “ACM-2231” to ACM-2213: 3 entries" in text
    assert "Project “ACM-2231” is not known on 2026-10-01" in text
    assert "Will be posted." in text
    assert "540.00" in text
    assert {state(entry_id) for entry_id in held} == {"held"}
    row = OperationRow.objects.filter(operation=operation).order_by("pk").first()
    assert row is not None
    assert (str(row.amount_after), row.currency_after, row.will_pass) == ("480.0000", "USD", True)


def test_a_confirmed_fix_wakes_a_worker_and_ends_row_by_row(
    fay: Client, firm: Firm, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    held = desk.mistyped(firm, 3)
    woken: list[int] = []
    monkeypatch.setattr("reconciliation.views.waking.up", woken.append)
    operation = plan(fay, "project-unknown", "map-code", record=desk.near_id(), valid_from="")
    with django_capture_on_commit_callbacks(execute=True):
        response = fay.post(
            reverse("operation", args=[operation.pk]), {"action": "confirm", "reason": "A typo in the tracker."}
        )
    assert response.status_code == 303
    assert woken == [operation.pk]
    assert "waiting for a worker" in page(fay, reverse("operation", args=[operation.pk]))
    assert "Map “ACM-2231” to ACM-2213" in page(fay, reverse("operations_running"))
    operations.run(operation.pk)
    text = page(fay, reverse("operation", args=[operation.pk]))
    assert "0 of 3 posted" in text
    assert "A typo in the tracker." in text
    assert {state(entry_id) for entry_id in held} == {"cancelled"}
    going = list(LedgerState.objects.filter(state="ready").values_list("entry_id", flat=True))
    assert len(going) == 3
    post(going)
    operations.follow()
    assert "3 of 3 posted" in page(fay, reverse("operation", args=[operation.pk]))
    assert "Nothing is under way any more." in page(fay, reverse("operations_running"), 286)
    assert AuditEvent.objects.get(action="operation.map-code").reason == "A typo in the tracker."


def test_a_dead_broker_does_not_break_the_confirmation(
    fay: Client, firm: Firm, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    desk.off_rate(firm, 1)

    def refuse(*args: Any, **more: Any) -> None:
        raise OSError("nobody listens")

    monkeypatch.setattr("reconciliation.views.waking.app.send_task", refuse)
    operation = plan(fay, "rate-mismatch", "use-contract-rate")
    with django_capture_on_commit_callbacks(execute=True):
        response = fay.post(reverse("operation", args=[operation.pk]), {"action": "confirm", "reason": "As agreed."})
    assert response.status_code == 303
    assert operations.due() == [operation.pk]


def test_a_fix_that_needs_a_reason_is_not_confirmed_without_one(fay: Client, firm: Firm) -> None:
    desk.off_rate(firm, 1)
    operation = plan(fay, "rate-mismatch", "waive")
    response = fay.post(reverse("operation", args=[operation.pk]), {"action": "confirm", "reason": "  "})
    assert response.status_code == 422
    assert "Say why: the reason is kept with every entry." in response.content.decode()
    operation.refresh_from_db()
    assert operation.state == Operation.State.PLANNED


def test_a_set_that_moved_is_refused_and_the_new_preview_is_one_step_away(fay: Client, firm: Firm) -> None:
    held = desk.off_rate(firm, 3)
    operation = plan(fay, "rate-mismatch", "use-contract-rate")
    LedgerState.objects.filter(entry=held[0]).update(fence=7)
    response = fay.post(reverse("operation", args=[operation.pk]), {"action": "confirm", "reason": "As agreed."})
    text = response.content.decode()
    assert response.status_code == 422
    assert "1 row changed since you looked." in text
    assert reverse("entry", args=[held[0]]) in text
    assert 'value="again"' in text


def test_only_the_chosen_entries_of_this_cause_are_fixed(fay: Client, firm: Firm) -> None:
    held = desk.off_rate(firm, 3)
    other = desk.periods_closed(firm, 1)
    assert "<b>2</b> selected entries" in page(
        fay,
        fix_url("rate-mismatch", "use-contract-rate") + f"?selected={held[0]}&selected={held[1]}&selected={other[0]}",
    )
    operation = plan(fay, "rate-mismatch", "use-contract-rate", selected=[held[0], other[0]])
    assert list(operation.rows.values_list("entry_id", flat=True)) == [held[0]]


def test_a_fix_that_does_not_belong_to_the_rule_is_not_found(fay: Client, firm: Firm) -> None:
    desk.mistyped(firm, 1)
    page(fay, fix_url("project-unknown", "use-contract-rate"), 404)
    page(fay, fix_url("project-unknown", "waive"), 404)
    page(fay, fix_url("project-unknown", "no-such-fix"), 404)


def test_an_operation_is_confirmed_by_nobody_but_who_saw_its_preview(client: Client, fay: Client, firm: Firm) -> None:
    desk.off_rate(firm, 1)
    operation = plan(fay, "rate-mismatch", "use-contract-rate")
    client.force_login(desk.analyst(firm, "gil"))
    assert "fay planned this." in page(client, reverse("operation", args=[operation.pk]))
    response = client.post(reverse("operation", args=[operation.pk]), {"action": "confirm", "reason": "Mine."})
    assert response.status_code == 422


def test_a_running_operation_is_cancelled_and_what_was_left_is_named(fay: Client, firm: Firm) -> None:
    desk.off_rate(firm, 2)
    operation = plan(fay, "rate-mismatch", "use-contract-rate")
    fay.post(reverse("operation", args=[operation.pk]), {"action": "confirm", "reason": "As agreed."})
    fay.post(reverse("operation", args=[operation.pk]), {"action": "cancel"})
    operations.run(operation.pk)
    text = page(fay, reverse("operation", args=[operation.pk]))
    assert "0 of 2 done · 2 cancelled" in text
    assert case("rate-mismatch").open_holds == 2


def test_failed_rows_are_tried_again_with_a_preview_of_their_own(fay: Client, firm: Firm) -> None:
    desk.mistyped(firm, 2)
    operation = plan(fay, "project-unknown", "recheck")
    fay.post(reverse("operation", args=[operation.pk]), {"action": "confirm"})
    operations.run(operation.pk)
    assert "Try 2 again" in page(fay, reverse("operation", args=[operation.pk]))
    response = fay.post(reverse("operation", args=[operation.pk]), {"action": "retry"})
    again = Operation.objects.latest("pk")
    assert again.pk != operation.pk
    assert response["Location"] == reverse("operation", args=[again.pk])
    assert again.state == Operation.State.PLANNED


def test_a_row_that_can_no_longer_be_fixed_fails_alone_with_its_reason(fay: Client, firm: Firm) -> None:
    (posted,) = desk.ready(firm, 1)
    post([posted])
    assert fay.post(reverse("fix_entry", args=[posted, "reverse"])).status_code == 303
    operation = Operation.objects.latest("pk")
    fay.post(reverse("operation", args=[operation.pk]), {"action": "confirm", "reason": "Booked by mistake."})
    AccountingPeriod.objects.filter(entity=firm.entity).update(state="closed")
    operations.run(operation.pk)
    row = OperationRow.objects.get(operation=operation)
    assert row.result == OperationRow.Result.FAILED
    assert "No period from 2026-10-01 on takes postings" in page(fay, reverse("operation", args=[operation.pk]))
    assert state(posted) == State.POSTED


def test_what_a_fix_does_not_reach_is_named_with_why(fay: Client, firm: Firm) -> None:
    held = desk.off_rate(firm, 3)
    LedgerState.objects.filter(entry=held[0]).update(state="ready")
    operation = plan(fay, "rate-mismatch", "use-contract-rate")
    assert operation.total == 2
    text = page(fay, reverse("operation", args=[operation.pk]))
    assert "1 more entry is left out: ready, so nothing stops them." in text


def test_polling_ends_when_nothing_moves_any_more(fay: Client, firm: Firm) -> None:
    desk.mistyped(firm, 1)
    operation = plan(fay, "project-unknown", "recheck")
    fay.post(reverse("operation", args=[operation.pk]), {"action": "confirm"})
    progress = reverse("operation_progress", args=[operation.pk])
    assert fay.get(progress).status_code == 200
    operations.run(operation.pk)
    ended = fay.get(progress)
    assert ended.status_code == 286
    assert "tieout:rows" in ended["HX-Trigger"]


def test_the_results_of_an_operation_are_exported_row_by_row(fay: Client, firm: Firm) -> None:
    desk.off_rate(firm, 2)
    operation = plan(fay, "rate-mismatch", "use-contract-rate")
    fay.post(reverse("operation", args=[operation.pk]), {"action": "confirm", "reason": "As agreed."})
    operations.run(operation.pk)
    response: Any = fay.get(reverse("operation", args=[operation.pk]) + "?export=csv")
    text = b"".join(response.streaming_content).decode()
    assert "Reason: As agreed." in text
    assert text.count("Posting: Ready; its turn comes.") == 2


def test_a_refused_entry_is_posted_again_and_one_in_doubt_only_looked_up(fay: Client, firm: Firm) -> None:
    refused, doubtful = desk.ready(firm, 2)
    post([refused], State.REJECTED)
    post([doubtful], State.IN_DOUBT)
    assert fay.post(reverse("fix_entry", args=[refused, "re-post"])).status_code == 303
    operation = Operation.objects.latest("pk")
    fay.post(reverse("operation", args=[operation.pk]), {"action": "confirm"})
    operations.run(operation.pk)
    assert state(refused) == State.READY
    response = fay.post(reverse("fix_entry", args=[doubtful, "re-post"]))
    assert response.status_code == 422
    assert "There is nothing to fix this way" in response.content.decode()
    assert state(doubtful) == State.IN_DOUBT
