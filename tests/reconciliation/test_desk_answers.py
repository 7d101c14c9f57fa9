"""What the desk answers where a request cannot be meant, and what it says once a fix is over."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from portal.models import EntityGrant, GrantRole, LedgerState, Notification, Project, State, User
from portal.records import Reference
from reconciliation import operations, suggestions, triage
from reconciliation.models import CaseComment, EntryComment, ExceptionCase, Hold, Operation
from tests import world
from tests.reconciliation import desk
from tests.reconciliation.firm import Firm, build, case, post, project

pytestmark = pytest.mark.django_db


@pytest.fixture
def firm() -> Firm:
    return build()


@pytest.fixture
def fay(firm: Firm, client: Client) -> User:
    person = desk.analyst(firm)
    client.force_login(person)
    return person


def flat(response: Any) -> str:
    return " ".join(response.content.decode().split())


@pytest.mark.parametrize(
    "asked", [{"selected": "garbage"}, {"selected": ["7", "1e9"]}, {"selected": "²"}, {"reach": "some"}]
)
def test_a_selection_that_cannot_be_read_is_refused_by_its_name_and_never_widened(
    client: Client, firm: Firm, fay: User, asked: dict[str, Any]
) -> None:
    desk.off_rate(firm, 3)
    address = reverse("fix", args=[case("rate-mismatch").pk, "use-contract-rate"])
    value = asked.get("reach") or (asked["selected"] if isinstance(asked["selected"], str) else asked["selected"][-1])
    for answer in (client.get(address, asked), client.post(address, asked)):
        assert answer.status_code == 422
        assert f"“{value}”" in flat(answer)
    assert not Operation.objects.exists()
    if "selected" in asked:
        edit = reverse("cause_edit", args=[case("rate-mismatch").pk])
        for answer in (client.get(edit, asked), client.post(edit, asked)):
            assert (answer.status_code, f"“{value}”" in flat(answer)) == (422, True)


def test_entries_of_another_cause_are_no_selection_of_this_one(client: Client, firm: Firm, fay: User) -> None:
    desk.off_rate(firm, 3)
    other = desk.mistyped(firm, 1)
    address = reverse("fix", args=[case("rate-mismatch").pk, "use-contract-rate"])
    assert "There is nothing to fix this way" in flat(client.get(address, {"selected": other}))
    assert client.post(address, {"selected": other}).status_code == 422
    assert not Operation.objects.exists()


def test_an_empty_comment_is_refused_beside_its_field_with_what_was_typed(
    client: Client, firm: Firm, fay: User
) -> None:
    entry = desk.off_rate(firm, 1)[0]
    cause = case("rate-mismatch").pk
    for address, model in (
        (reverse("cause_comment", args=[cause]), CaseComment),
        (reverse("entry_comment", args=[entry]), EntryComment),
    ):
        answer = client.post(address, {"text": "   "})
        text = flat(answer)
        assert answer.status_code == 422
        assert '<div class="error" id="comment-error">Write something.</div>' in text
        assert 'aria-invalid="true" autofocus' in text
        answer = client.post(address, {"text": "x" * 4001})
        assert (answer.status_code, "x" * 4001 in answer.content.decode()) == (422, True)
        assert not model._default_manager.exists()
        assert client.post(address, {"text": "seen"}).status_code == 303
        assert client.get(address).status_code == 303


def done(user: User, code: str, found: ExceptionCase, **parameters: Any) -> Operation:
    operation = operations.plan(code, user=user, parameters=parameters, reason="as agreed", case=found)
    operations.run(operations.confirm(operation, user=user).pk)
    operation.refresh_from_db()
    return operation


def test_what_holds_an_operation_up_is_named_with_what_ends_it(firm: Firm, fay: User) -> None:
    desk.off_rate(firm, 2)
    operation = done(fay, "use-contract-rate", case("rate-mismatch"))
    LedgerState.objects.filter(state=State.READY).update(waits_on="paused")
    firm.target.paused_at, firm.target.pause_reason = operation.created_at, "year-end close"
    firm.target.save()
    operations.follow()
    assert Notification.objects.get().note == (
        "2 of 2 entries wait. Netsuite-Us is paused: year-end close. It goes on when somebody resumes it. Nothing is lost."
    )


def test_entries_handed_back_are_done_at_once_and_not_posting(client: Client, firm: Firm, fay: User) -> None:
    desk.off_rate(firm, 2)
    operation = done(fay, "hand-back", case("rate-mismatch"), message="Which rate?")
    assert (operation.state, operation.done, operation.on_the_way) == ("done", 2, 0)
    listed = flat(client.get(reverse("operations")))
    assert "2 of 2 done" in listed
    assert "of 2 posted" not in listed


def test_the_chip_says_what_ended_and_the_navigation_counts_anew(client: Client, firm: Firm, fay: User) -> None:
    held = desk.off_rate(firm, 2)
    desk.mistyped(firm, 1)
    part = reverse("operations_running")
    operation = done(fay, "use-contract-rate", case("rate-mismatch"))
    running = client.get(part, {"watched": operation.pk})
    assert "1 running" in flat(running)
    assert "badge-exceptions" not in flat(running)
    post(list(LedgerState.objects.filter(state=State.READY).values_list("entry_id", flat=True)))
    operations.follow()
    ended = client.get(part, {"watched": operation.pk})
    text = flat(ended)
    assert ended.status_code == 286
    assert '<span class="figure">Done</span>' in text
    assert f'href="{reverse("operation", args=[operation.pk])}"' in text
    assert (
        '<span id="badge-exceptions" hx-swap-oob="true"><span class="badge warn"><span class="sr">Open causes: </span>1'
        in text
    )
    assert held


def test_the_rows_of_an_operation_show_what_they_came_to(client: Client, firm: Firm, fay: User) -> None:
    near: Project = desk.near(firm)
    desk.mistyped(firm, 2)
    operation = done(fay, "move-project", case("project-unknown"), project=near.pk)
    amounts = list(operation.rows.order_by("pk").values_list("successor__amount", flat=True))
    text = flat(client.get(reverse("operation", args=[operation.pk])))
    for amount in amounts:
        assert f"{amount:.2f}" in text
    assert text.count(f"{desk.MISTYPED} → {near.code}") == 2
    assert "is not in the master data" not in text.split('id="results"')[1]


def test_the_queue_is_found_by_whether_a_suggestion_is_near_and_not_by_the_rule(
    client: Client, firm: Firm, fay: User
) -> None:
    desk.near(firm)
    desk.mistyped(firm, 2)
    strange = {"project": Reference("", "QQQ-7", "Internal zero-sum")}
    firm.admit(firm.time("2000", **strange))
    desk.off_rate(firm, 1)
    near, far, rate = (
        ExceptionCase.objects.get(**found).pk
        for found in ({"detail__code": desk.MISTYPED}, {"detail__code": "QQQ-7"}, {"rule": "rate-mismatch"})
    )

    def found(value: str) -> set[int]:
        rows = client.get(reverse("exceptions"), {"suggestion": value}).content.decode().split('<tr data-key="')[1:]
        return {int(row.split('"')[0]) for row in rows}

    assert (found("yes"), found("no")) == ({rate}, {near, far}), "nothing was scored yet"
    assert suggestions.score_stale() == 2
    assert (found("yes"), found("no")) == ({rate, near}, {far})
    assert suggestions.score_stale() == 0
    firm.admit(firm.time("3000", **strange))
    assert suggestions.score_stale() == 1, "it holds more than it was scored for"
    project("QQQ-77", firm.entity, firm.customer, firm.contract)
    assert suggestions.score_stale() == 2, "a project came that may be meant"
    assert found("no") == set()


def test_scoring_takes_the_same_statements_for_many_causes(firm: Firm, fay: User) -> None:
    def statements(count: int, start: int) -> int:
        for number in range(count):
            desk.mistyped(firm, 1, start=start + number, code=f"ZZ-{start + number}")
        with CaptureQueriesContext(connection) as asked:
            assert suggestions.score_stale() == count
        return len(asked)

    statements(1, 100)
    assert statements(2, 200) == statements(9, 300)


def test_causes_without_an_amount_or_a_rate_come_last_in_both_directions(client: Client, firm: Firm, fay: User) -> None:
    desk.off_rate(firm, 1)
    desk.periods_closed(firm, 2)
    desk.mistyped(firm, 1)
    ExceptionCase.objects.filter(rule="project-unknown").update(compared_amount=0)
    apart = ExceptionCase.objects.get(rule="project-unknown").pk
    small, large = (case(rule).pk for rule in ("rate-mismatch", "period-closed"))

    def order(sort: str) -> list[int]:
        rows = client.get(reverse("exceptions"), {"sort": sort}).content.decode().split('<tr data-key="')[1:]
        return [int(row.split('"')[0]) for row in rows]

    assert order("amount") == [small, large, apart]
    assert order("-amount") == [large, small, apart]


def test_the_tile_of_the_open_amount_is_the_figure_of_its_tab(client: Client, firm: Firm, fay: User) -> None:
    desk.off_rate(firm, 1)
    desk.periods_closed(firm, 2)
    ExceptionCase.objects.filter(rule="period-closed").update(aside="snoozed")
    text = flat(client.get(reverse("exceptions")))
    assert '<span class="value">960.00 <span class="unit">USD</span></span>' in text.replace(
        'class="value "', 'class="value"'
    )
    assert "960 USD" in text.split("?tab=open")[1][:400] or "960.00 USD" in text


def test_a_project_manager_sees_the_causes_of_their_projects_and_what_was_given_or_said_to_them(
    client: Client, firm: Firm
) -> None:
    desk.off_rate(firm, 1)
    other = project("ACM-9", firm.entity, firm.customer, firm.contract)
    pam = world.user("pam", GrantRole.PROJECT_MANAGER, firm.entity)
    seen = ExceptionCase.objects.visible_to
    rate = case("rate-mismatch")
    holds = Hold.objects.visible_to
    assert not seen(pam).exists()
    assert not holds(pam).exists()
    client.force_login(pam)
    assert client.get(reverse("cause", args=[rate.pk])).status_code == 404
    assert "rate-mismatch" not in client.get(reverse("exceptions")).content.decode().split("<main")[1]
    Project.objects.filter(pk=other.pk).update(manager=pam)
    assert not seen(pam).exists(), "it holds nothing of that one"
    Project.objects.filter(pk=firm.project.pk).update(manager=pam)
    assert list(seen(pam)) == [rate]
    assert [hold.case for hold in holds(pam)] == [rate]
    Project.objects.filter(pk=firm.project.pk).update(manager=None)
    triage.comment(rate.pk, "Is that so, @pam?", by=desk.analyst(firm))
    assert list(seen(pam)) == [rate]
    both = world.user("bo", GrantRole.PROJECT_MANAGER, firm.entity)
    EntityGrant.objects.create(user=both, entity=firm.entity, role=GrantRole.AUDITOR, valid_from=date(2026, 1, 1))
    assert list(seen(both)) == [rate], "who is more than a project manager sees all of the entity"


def test_small_fixes_of_different_kinds_count_together(firm: Firm, fay: User) -> None:
    firm.entity.policy = {"second_person_rows": 3}
    firm.entity.save()
    held = desk.off_rate(firm, 4)
    first = operations.plan("use-contract-rate", user=fay, parameters={}, reason="x", entry_ids=held[:2])
    assert operations.confirm(first, user=fay).state == "running"
    second = operations.plan("make-non-billable", user=fay, parameters={}, reason="x", entry_ids=held[2:])
    assert operations.confirm(second, user=fay).state == "awaiting"
    assert "Counted together with one other fix of fay" in second.second_person


def test_the_codes_of_merged_causes_are_named_where_their_entries_are_mapped(firm: Firm, fay: User) -> None:
    near = desk.near(firm)
    desk.mistyped(firm, 2)
    desk.mistyped(firm, 1, start=2000, code="ACM-22131")
    into, from_ = (ExceptionCase.objects.get(detail__code=code) for code in (desk.MISTYPED, "ACM-22131"))
    triage.merge([from_.pk], by=fay, into=into.pk)
    operation = done(fay, "map-code", into, record=near.pk, valid_from="")
    assert operation.title == f"Map “{desk.MISTYPED}”, “ACM-22131” to {near.code}: 3 entries"
    assert operation.done == 3


def test_who_may_be_named_is_found_among_those_who_may_read_it(client: Client, firm: Firm, fay: User) -> None:
    entry = desk.off_rate(firm, 1)[0]
    world.user("carl", GrantRole.CONTROLLER, firm.entity)
    world.user("carlotta", GrantRole.CONTROLLER, world.entity("GB", "GBP"))
    for address in (reverse("cause_people", args=[case("rate-mismatch").pk]), reverse("entry_people", args=[entry])):
        whole = flat(client.get(address, {"text": "car"}))
        assert "@carl<" in whole
        assert "carlotta" not in whole
        part = client.get(address, {"text": "car"}, HTTP_HX_REQUEST="true", HTTP_HX_TARGET="mentions-1")
        assert flat(part).strip().startswith('<li data-value="carl">')
    auditor = world.user("audrey", GrantRole.AUDITOR, firm.entity)
    client.force_login(auditor)
    assert client.get(reverse("entry_people", args=[entry])).status_code == 403


def test_a_cause_that_holds_other_entries_says_so_and_moves_no_row(client: Client, firm: Firm, fay: User) -> None:
    desk.off_rate(firm, 2)
    found = case("rate-mismatch")
    text = flat(client.get(reverse("cause", args=[found.pk])))
    poll = text.split('id="news" hx-get="')[1].split('"')[0]

    def said() -> str:
        return flat(client.get(poll, HTTP_HX_REQUEST="true", HTTP_HX_TARGET="news")).strip()

    assert said() == ""
    desk.off_rate(firm, 3, start=4000)
    assert "<p>3 new; it holds 5 entries now.</p>" in said()
    assert "<tr" not in said()
    done(fay, "make-non-billable", found)
    assert "<p>This cause is resolved now.</p>" in said()
