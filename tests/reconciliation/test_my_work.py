"""The first page: what waits for this person, their team and their projects, each with who has to act."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Coalesce
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from portal import history
from portal.models import GrantRole, NotificationKind, Project, User
from portal.notifications import notify
from reconciliation import operations
from reconciliation.models import ExceptionCase, Team, TeamMember
from reconciliation.views import approvals, work
from tests import world
from tests.reconciliation import desk
from tests.reconciliation.firm import Firm, build, case, post

pytestmark = pytest.mark.django_db


@pytest.fixture
def firm() -> Firm:
    return build()


def page(user: User) -> str:
    client = Client()
    client.force_login(user)
    return str(client.get("/").content.decode().split("<main")[1])


def asked(user: User) -> Any:
    request = RequestFactory().get("/")
    request.user = user
    request.session = {}  # type: ignore[assignment]
    return request


def give(found: ExceptionCase, **changes: Any) -> None:
    for name, value in changes.items():
        setattr(found, name, value)
    history.bulk_update_with_reason(ExceptionCase, [found], list(changes), reason="for the test")


def test_a_project_manager_reads_what_stops_each_project_why_and_who_acts(firm: Firm) -> None:
    desk.off_rate(firm, 4)
    desk.periods_closed(firm, 2)
    manager = world.user("pam", GrantRole.PROJECT_MANAGER, firm.entity)
    project = Project.objects.get(code="ACM-2213") if Project.objects.filter(code="ACM-2213") else Project.objects.get()
    project.manager = manager
    project.save()
    fay = desk.analyst(firm)
    fay.first_name, fay.last_name = "Fay", "Analyst"
    fay.save()
    give(case("rate-mismatch"), owner=fay)
    panel = work.projects(asked(manager))
    assert panel is not None
    [line] = panel.lines
    assert line.text.startswith(project.code)
    assert "with Fay Analyst" in line.note
    assert "(and 1 other cause)" in line.note
    assert "6 held · 48.00 h" in line.note
    assert "What stops my projects" in page(manager)
    assert work.projects(asked(fay)) is None


def test_an_entry_that_two_rules_stop_is_counted_once(firm: Firm) -> None:
    firm.admit(firm.time("1", rate=Decimal("110.00"), work_date=firm_day(firm)))
    manager = world.user("pam", GrantRole.PROJECT_MANAGER, firm.entity)
    Project.objects.update_or_create(pk=Project.objects.get().pk, defaults={"manager": manager})
    panel = work.projects(asked(manager))
    assert panel is not None
    assert "1 held · 8.00 h" in panel.lines[0].note
    assert ExceptionCase.objects.count() == 2


def firm_day(firm: Firm) -> Any:
    """A day of a closed month."""
    from datetime import date

    from portal.models import AccountingPeriod

    AccountingPeriod.objects.filter(entity=firm.entity, code="2026-08").update(state="closed")
    return date(2026, 8, 4)


def test_a_team_reads_what_nobody_of_it_has_taken(firm: Firm) -> None:
    desk.off_rate(firm, 2)
    fay, ben = desk.analyst(firm), desk.analyst(firm, "ben")
    team = Team.objects.create(code="us", name="Finance US")
    team.entities.add(firm.entity)
    TeamMember.objects.create(team=team, user=fay)
    give(case("rate-mismatch"), team=team)
    assert work.team(asked(ben)) is None
    panel = work.team(asked(fay))
    assert panel is not None
    assert (panel.title, len(panel.lines)) == ("Nobody of Finance US has taken", 1)
    assert "with Finance US" in panel.lines[0].note
    give(case("rate-mismatch"), owner=ben)
    panel = work.team(asked(fay))
    assert panel is not None
    assert panel.lines == []
    assert "Everything that was given to your team has its person." in page(fay)


def test_what_was_put_aside_is_out_of_sight_here_too(firm: Firm) -> None:
    desk.off_rate(firm, 2)
    fay = desk.analyst(firm)
    give(case("rate-mismatch"), owner=fay)
    mine = work.mine(asked(fay))
    assert mine is not None
    assert len(mine.lines) == 1
    give(case("rate-mismatch"), aside="snoozed")
    mine = work.mine(asked(fay))
    assert mine is not None
    assert mine.lines == []


def test_the_page_names_what_was_told_and_nothing_of_another_entity(firm: Firm) -> None:
    desk.off_rate(firm, 2)
    gb = world.entity("GB", "GBP")
    fay, gus = desk.analyst(firm), world.user("gus", GrantRole.ANALYST, gb)
    notify([fay, gus], NotificationKind.MENTIONED, "Ben mentioned you: rate of Acme", url="/", entity=firm.entity)
    assert "Ben mentioned you" in page(fay)
    text = page(gus)
    for word in ("Ben mentioned you", "ACME", "Harvest-Us", "Senior consultant"):
        assert word not in text


def test_the_page_costs_as_much_for_many_causes_as_for_few(firm: Firm) -> None:
    desk.mistyped(firm, 2, code="GONE-0")
    fay = desk.analyst(firm)
    client = Client()
    client.force_login(fay)

    def cost() -> int:
        client.get("/")
        with CaptureQueriesContext(connection) as counted:
            client.get("/")
        return len(counted)

    few = cost()
    for number in range(1, 7):
        desk.mistyped(firm, 2, start=2000 + 10 * number, code=f"GONE-{number}")
    assert cost() <= few


def under_way(user: User) -> list[Any]:
    panel = work.running(asked(user))
    assert panel is not None
    return list(panel.lines)


def test_an_operation_whose_entries_are_still_posted_is_among_those_that_run(firm: Firm) -> None:
    fay = desk.analyst(firm)
    desk.off_rate(firm, 2)
    planned = operations.plan(
        "use-contract-rate", user=fay, parameters={}, reason="As agreed", case=case("rate-mismatch")
    )
    operation = operations.confirm(planned, user=fay)
    operations.run(operation.pk)
    operation.refresh_from_db()
    assert operation.state == operation.State.DONE
    [line] = under_way(fay)
    assert (line.text, line.state) == (operation.title, "Posting")
    assert line.note.startswith("0 of 2 posted")
    assert reverse("operation", args=[operation.pk]) in page(fay)
    post(list(operation.rows.values_list(Coalesce("successor_id", "entry_id"), flat=True)))
    operations.follow()
    assert under_way(fay) == []


def test_who_decides_reads_what_waits_for_them_and_who_asked_does_not(firm: Firm) -> None:
    fay = desk.analyst(firm)
    cleo = world.user("cleo", GrantRole.CONTROLLER, firm.entity)
    firm.entity.policy = {"second_person_rows": 2}
    firm.entity.save()
    desk.off_rate(firm, 3)
    planned = operations.plan(
        "use-contract-rate", user=fay, parameters={}, reason="the card holds", case=case("rate-mismatch")
    )
    operations.confirm(planned, user=fay)
    panel = approvals.panel(asked(cleo))
    assert panel is not None
    [line] = panel.lines
    assert (line.text, line.url) == (planned.title, f"/operations/{planned.pk}/")
    assert line.note.startswith("fay · US · asked ")
    assert "Waits for your decision" in page(cleo)
    assert panel.count == 1
    hers = approvals.panel(asked(fay))
    assert hers is not None
    assert hers.lines == []
    stranger = world.user("sam", GrantRole.CONTROLLER, world.entity("GB"))
    found = approvals.panel(asked(stranger))
    assert found is not None
    assert found.lines == []
