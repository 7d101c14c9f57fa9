"""Triage on screen: the tabs of the queue, the actions on one cause and on many, and undoing them."""

from __future__ import annotations

import html
import re
import threading
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from portal.models import AuditEvent, GrantRole, Notification, User
from reconciliation import cases, operations, teams, triage
from reconciliation.models import CaseComment, Decision, ExceptionCase, HandBack, Hold, OwnershipRule, Team
from reconciliation.views import triage as screens
from tests import world
from tests.reconciliation import desk
from tests.reconciliation import firm as firms
from tests.reconciliation.firm import Firm

pytestmark = pytest.mark.django_db
QUEUE = "/exceptions/"


@pytest.fixture
def firm() -> Firm:
    return firms.build()


@pytest.fixture
def fay(firm: Firm) -> User:
    return desk.analyst(firm)


@pytest.fixture
def at(fay: User, client: Client) -> Client:
    client.force_login(fay)
    return client


def cause(firm: Firm, count: int = 2, code: str = "TYPO-1", start: int = 1000) -> ExceptionCase:
    desk.mistyped(firm, count, code=code, start=start)
    return ExceptionCase.objects.get(subject_key__icontains=code, rule="project-unknown", state="open")


def act(at: Client, url: str, name: str, ids: list[int], **fields: Any) -> Any:
    """Ask for an action and confirm it."""
    told = {"action": name, "selected": ids}
    asked = at.post(url, told)
    assert asked.status_code in (200, 303), asked.status_code
    if asked.status_code == 303:
        return asked
    return at.post(url, {**told, "confirmed": asked.context["confirmed"], **fields})


def tabs(at: Client) -> dict[str, int]:
    """The count of each tab."""
    return {link.tab.slug: link.count for link in at.get(QUEUE).context["tabs"]}


def rows(at: Client, tab: str) -> list[int]:
    """The causes in a tab."""
    return [row.pk for row in at.get(QUEUE, {"tab": tab}).context["table"].page.object_list.data]


def test_each_cause_is_in_the_tabs_where_it_belongs(at: Client, fay: User, firm: Firm) -> None:
    firm.policy(day_hours_max=99)
    near = desk.near(firm)
    plain, mine, teams, asleep, left, back, gone, running, taken = (
        cause(firm, 1, f"TYPO-{n}", 1000 + n) for n in range(9)
    )
    collections = Team.objects.create(code="c", name="Collections")
    collections.entities.add(firm.entity)
    collections.memberships.create(user=fay)
    carl = world.user("carl", GrantRole.CONTROLLER, firm.entity)
    triage.assign([mine.pk], by=fay, to=fay)
    triage.assign([teams.pk, taken.pk], by=carl, to=collections)
    triage.assign([taken.pk], by=carl, to=carl)
    triage.snooze([asleep.pk], by=fay, until=timezone.localdate() + timedelta(days=2))
    triage.ignore([left.pk], by=carl, reason="tiny", until=timezone.localdate() + timedelta(days=2))
    HandBack.objects.create(entry=Hold.objects.get(case=back).entry, by=fay, at=timezone.now(), message="Which?")
    operation = operations.plan("move-project", user=fay, parameters={"project": near.pk}, reason="x", case=running)
    operations.confirm(operation, user=fay)
    cases.close_holds([Hold.objects.get(case=gone).entry_id])
    assert tabs(at) == {
        "open": 6, "mine": 2, "regressed": 0, "waiting": 2, "running": 1, "resolved": 1, "ignored": 1
    }  # fmt: skip
    assert set(rows(at, "mine")) == {mine.pk, teams.pk}
    assert set(rows(at, "waiting")) == {asleep.pk, back.pk}
    assert rows(at, "running") == [running.pk]
    assert rows(at, "ignored") == [left.pk]
    assert set(rows(at, "open")) == {plain.pk, mine.pk, teams.pk, back.pk, running.pk, taken.pk}


def test_what_is_snoozed_is_still_counted_as_held(at: Client, fay: User, firm: Firm) -> None:
    case = cause(firm, 3)
    triage.snooze([case.pk], by=fay, until=timezone.localdate() + timedelta(days=2))
    assert "1 cause holds <b>3 entries</b>" in at.get(QUEUE).content.decode()


def test_the_tabs_cost_as_many_queries_for_many_causes_as_for_few(at: Client, fay: User, firm: Firm) -> None:
    def asked(tab: str) -> int:
        at.get(QUEUE, {"tab": tab})
        with CaptureQueriesContext(connection) as found:
            at.get(QUEUE, {"tab": tab})
        return len(found)

    def more(start: int, count: int) -> None:
        for n in range(count):
            one, two = (
                cause(firm, 1, f"TYPO-{start + n}-", start + n),
                cause(firm, 1, f"LOST-{start + n}-", 5000 + start + n),
            )
            triage.snooze([one.pk], by=fay, until=timezone.localdate() + timedelta(days=2))
            triage.take_up(two.pk, by=fay)

    more(100, 2)
    few = {tab: asked(tab) for tab in ("open", "waiting")}
    more(200, 12)
    for tab, count in few.items():
        assert asked(tab) <= count, tab


def test_causes_are_given_to_a_team_from_the_list_and_the_undo_gives_them_back(
    at: Client, fay: User, firm: Firm
) -> None:
    one, two = cause(firm), cause(firm, 1, "TYPO-2", 2000)
    team = Team.objects.create(code="c", name="Collections")
    team.entities.add(firm.entity)
    answer = act(at, QUEUE, "assign", [one.pk, two.pk], to=f"team:{team.pk}", reason="")
    assert answer.status_code == 303
    assert list(ExceptionCase.objects.values_list("team", flat=True)) == [team.pk, team.pk]
    made = Decision.objects.get()
    undo = at.post(reverse("triage_undo", args=[made.pk]), headers={"HX-Request": "true"})
    assert undo.status_code == 204
    assert "Taken back: given to the team Collections." in undo.headers["HX-Trigger"]
    assert list(ExceptionCase.objects.values_list("team", flat=True)) == [None, None]
    again = at.post(reverse("triage_undo", args=[made.pk]), headers={"HX-Request": "true"})
    assert "taken back already" in again.headers["HX-Trigger"]


def test_one_key_takes_a_cause_on_and_offers_the_undo(at: Client, fay: User, firm: Firm) -> None:
    case = cause(firm)
    answer = at.post(QUEUE, {"action": "assign_me", "selected": [case.pk]}, headers={"HX-Request": "true"})
    assert answer.status_code == 204
    assert f"/exceptions/undo/{Decision.objects.get().pk}/" in answer.headers["HX-Trigger"]
    assert "1 cause given to fay." in answer.headers["HX-Trigger"]


def test_snooze_asks_until_when_and_says_what_is_missing(at: Client, firm: Firm) -> None:
    case = cause(firm)
    page = reverse("cause", args=[case.pk])
    refused = act(at, page, "snooze", [case.pk], until="date", date="")
    assert refused.status_code == 422
    assert "Choose the day." in refused.content.decode()
    assert act(at, page, "snooze", [case.pk], until="date", date="2020-01-01").status_code == 422
    act(at, page, "snooze", [case.pk], until="sync", reason="Harvest is late")
    text = at.get(page).content.decode()
    assert "Snoozed until Harvest-Us was read again" in text
    assert "Harvest is late" in text
    assert 'value="wake"' in text
    act(at, page, "wake", [case.pk])
    assert "Snoozed until" not in at.get(page).content.decode().split('id="timeline"')[0]


def test_ignoring_above_the_limit_is_refused_in_the_dialog_with_the_amounts(at: Client, firm: Firm) -> None:
    firm.entity.policy = {"ignore_limit": {"*": 5}}
    firm.entity.save()
    desk.off_rate(firm, 1)
    case = ExceptionCase.objects.get()
    until = (timezone.localdate() + timedelta(days=3)).isoformat()
    refused = act(at, QUEUE, "ignore", [case.pk], reason="small", until=until)
    assert refused.status_code == 422
    assert "more than the limit of 5.00 USD" in refused.content.decode()


def test_tags_are_added_and_taken_away_in_one_go(at: Client, firm: Firm) -> None:
    case = cause(firm)
    act(at, QUEUE, "tag", [case.pk], add="month-end, acme")
    act(at, QUEUE, "tag", [case.pk], add="vip", remove=["acme"])
    case.refresh_from_db()
    assert case.tags == ["month-end", "vip"]
    assert "vip" in at.get(reverse("cause", args=[case.pk])).content.decode()


def test_a_cause_is_merged_by_choosing_another_and_its_page_leads_there(at: Client, firm: Firm) -> None:
    one, two = cause(firm), cause(firm, 1, "TYPO-2", 2000)
    page = reverse("cause", args=[two.pk])
    act(at, page, "merge", [two.pk], into=one.pk, reason="the same typing error")
    text = at.get(page).content.decode()
    assert f'Merged into <a href="{reverse("cause", args=[one.pk])}">' in text
    assert "Together with" in at.get(reverse("cause", args=[one.pk])).content.decode()
    act(at, page, "unmerge", [two.pk])
    two.refresh_from_db()
    assert two.state == "open"


def test_a_comment_from_the_list_tells_whom_it_names(at: Client, firm: Firm) -> None:
    cora = world.user("cora", GrantRole.CONTROLLER, firm.entity)
    case = cause(firm)
    act(at, QUEUE, "comment", [case.pk], text="@cora please")
    assert CaseComment.objects.get().mentions == ["cora"]
    assert Notification.objects.get().person == cora


def test_where_more_causes_stand_than_are_offered_one_is_named_by_its_number(
    at: Client, firm: Firm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(screens, "OFFERED_AT_MOST", 1)
    for start, code in ((1000, "LOST-1"), (2000, "LOST-2"), (3000, "LOST-3")):
        desk.mistyped(firm, 1, start=start, code=code)
    one, two, three = ExceptionCase.objects.order_by("pk").values_list("pk", flat=True)
    assert "has this number" in act(at, QUEUE, "merge", [one], number="EX-999999").content.decode()
    assert "Choose a cause, or give its number." in act(at, QUEUE, "merge", [one], number="").content.decode()
    act(at, QUEUE, "merge", [one], number=f"ex-{three}")
    assert ExceptionCase.objects.get(pk=one).merged_into_id == three
    assert ExceptionCase.objects.get(pk=two).merged_into_id is None


def test_a_comment_on_several_causes_offers_only_who_may_read_all_of_them(client: Client, firm: Firm) -> None:
    one, gb = cause(firm).pk, world.entity("GB")
    now = timezone.now()
    theirs = {"subject_type": "rate", "subject_key": "x", "sentence": "Theirs.", "opened_at": now, "seen_at": now}
    two = ExceptionCase.objects.create(rule="rate-mismatch", entity=gb, **theirs).pk
    for entity in (firm.entity, gb):
        world.user(f"only-{entity.code.lower()}", GrantRole.ANALYST, entity)
    client.force_login(world.user("eve", GrantRole.ANALYST, everywhere=True))
    said = client.post(
        QUEUE, {"action": "comment", "selected": [one, two]}, headers={"HX-Request": "true"}
    ).content.decode()
    address = html.unescape(re.search(r'data-mentions="([^"]+)"', said)[1])  # type: ignore[index]
    named = client.get(f"{address}&text=").content.decode()
    assert "eve" in named
    assert "only-" not in named
    assert "only-gb" in client.get(f"/exceptions/{two}/people/?text=only").content.decode()


def test_colleagues_see_who_is_on_a_cause(at: Client, fay: User, firm: Firm) -> None:
    case = cause(firm)
    page = reverse("cause", args=[case.pk])
    act(at, page, "take_up", [case.pk])
    assert 'value="lay_down"' in at.get(page).content.decode()
    other = Client()
    other.force_login(world.user("cora", GrantRole.CONTROLLER, firm.entity))
    assert "Fay is on it" in other.get(page).content.decode()
    assert "fay is on it since" in other.get(QUEUE).content.decode()


@pytest.mark.case(60)
def test_a_second_person_sees_that_a_cause_is_being_fixed_by_whom(at: Client, fay: User, firm: Firm) -> None:
    case, near = cause(firm), desk.near(firm)
    operation = operations.plan("move-project", user=fay, parameters={"project": near.pk}, reason="x", case=case)
    operations.confirm(operation, user=fay)
    other = Client()
    other.force_login(world.user("cora", GrantRole.CONTROLLER, firm.entity))
    assert "being fixed by fay since" in other.get(QUEUE).content.decode()
    text = other.get(reverse("cause", args=[case.pk])).content.decode()
    assert "Being fixed by fay" in text
    assert reverse("operation", args=[operation.pk]) in text


# Nothing of another entity
def test_no_person_team_tag_or_cause_of_another_entity_is_offered(at: Client, fay: User, firm: Firm) -> None:
    gb = world.entity("GB", "GBP")
    world.user("gus", GrantRole.ANALYST, gb)
    foreign = Team.objects.create(code="london", name="London desk")
    foreign.entities.add(gb)
    case = cause(firm)
    hidden = ExceptionCase.objects.create(
        rule=case.rule, entity=gb, subject_type="code", subject_key="z", sentence="Secret of London",
        opened_at=timezone.now(), seen_at=timezone.now(), open_holds=3, tags=["secret-tag"],
    )  # fmt: skip
    for name in ("assign", "merge", "tag"):
        text = at.post(QUEUE, {"action": name, "selected": [case.pk, hidden.pk]}).content.decode()
        for word in ("gus", "London", "Secret", "secret-tag"):
            assert word not in text, (name, word)
    text = at.get(QUEUE).content.decode()
    assert "secret-tag" not in text
    refused = act(at, QUEUE, "merge", [case.pk], into=hidden.pk)
    assert refused.status_code == 422
    assert act(at, QUEUE, "assign", [case.pk], to=f"team:{foreign.pk}").status_code == 422


def test_who_only_reads_is_offered_nothing_and_refused(firm: Firm, client: Client) -> None:
    case = cause(firm)
    client.force_login(world.user("aud", GrantRole.AUDITOR, firm.entity))
    assert "assign_me" not in client.get(QUEUE).content.decode().split("<main")[1].split("</main>")[0]
    for name in ("assign_me", "snooze", "ignore", "merge", "tag", "comment"):
        assert client.post(QUEUE, {"action": name, "selected": [case.pk]}).status_code == 403
    assert client.post(reverse("triage_undo", args=[1])).status_code == 403


# Races
@pytest.mark.django_db(transaction=True)
def test_of_two_people_who_snooze_and_ignore_at_once_one_decides(firm: Firm) -> None:
    cora, carl = (world.user(name, GrantRole.CONTROLLER, firm.entity) for name in ("cora", "carl"))
    case = cause(firm)
    until = timezone.localdate() + timedelta(days=2)
    together(
        lambda: triage.snooze([case.pk], by=cora, until=until),
        lambda: triage.ignore([case.pk], by=carl, reason="x", until=until),
    )
    case.refresh_from_db()
    assert Decision.objects.count() == 1
    assert case.aside in ("snoozed", "ignored")
    assert AuditEvent.objects.filter(action__startswith="triage.").count() == 1


@pytest.mark.django_db(transaction=True)
def test_of_two_undos_at_once_one_takes_back(firm: Firm) -> None:
    fay = desk.analyst(firm)
    case = cause(firm)
    made = triage.assign([case.pk], by=fay, to=fay)
    refused = together(lambda: triage.undo(made.pk, by=fay), lambda: triage.undo(made.pk, by=fay))
    assert len(refused) == 1
    case.refresh_from_db()
    assert case.owner is None


@pytest.mark.django_db(transaction=True)
def test_two_bulk_decisions_over_the_same_causes_never_deadlock(firm: Firm) -> None:
    fay, cora = desk.analyst(firm), world.user("cora", GrantRole.CONTROLLER, firm.entity)
    ids = [cause(firm, 1, f"TYPO-{n}-", 100 + n).pk for n in range(6)]
    refused = together(lambda: triage.assign(ids, by=fay, to=fay), lambda: triage.assign(ids[::-1], by=cora, to=cora))
    assert refused == []
    owners = set(ExceptionCase.objects.values_list("owner__username", flat=True))
    assert len(owners) == 1
    assert Decision.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_entries_that_arrive_while_their_cause_is_merged_are_never_left_behind(firm: Firm) -> None:
    fay = desk.analyst(firm)
    one, two = cause(firm, 2, "TYPO-1", 100), cause(firm, 2, "TYPO-2", 200)
    refused = together(
        lambda: triage.merge([two.pk], by=fay, into=one.pk), lambda: desk.mistyped(firm, 2, code="TYPO-2", start=300)
    )
    assert refused == []
    assert list(ExceptionCase.objects.filter(state="open", rule="project-unknown").values_list("pk", "open_holds")) == [
        (one.pk, 6)
    ]
    assert not Hold.objects.filter(case=two, closed_at=None).exists()


def together(*acts: Any) -> list[Exception]:
    """Do it all at once, each in a thread of its own; what was refused."""
    start = threading.Barrier(len(acts))
    refused: list[Exception] = []

    def run(one: Any) -> None:
        try:
            start.wait(20)
            one()
        except (triage.NotPossible, PermissionDenied) as problem:
            refused.append(problem)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=[one]) for one in acts]
    for one in threads:
        one.start()
    for one in threads:
        one.join(60)
    return refused


# Teams and ownership rules
def test_a_controller_writes_a_team_and_a_rule_that_gives_it_new_causes(firm: Firm, client: Client) -> None:
    cora, fay = world.user("cora", GrantRole.CONTROLLER, firm.entity), desk.analyst(firm)
    client.force_login(cora)
    told = {"name": "Collections", "code": "collections", "entities": [firm.entity.pk], "is_active": "on"}
    refused = client.post(reverse("team_new"), told)
    assert refused.status_code == 422
    assert not Team.objects.exists()
    made = client.post(reverse("team_new"), {**told, "members": [fay.pk], "leads": [fay.pk], "reason": "new desk"})
    assert made.status_code == 303
    team = Team.objects.get()
    assert AuditEvent.objects.get(action="team.configured").reason == "new desk"
    rule = {"entity": firm.entity.pk, "theme": "projects", "team": team.pk, "reason": "theirs"}
    assert client.post(reverse("ownership_new"), {**rule, "rules": ["rate-mismatch"]}).status_code == 422
    assert client.post(reverse("ownership_new"), rule).status_code == 303
    assert "Projects and customers" in client.get(reverse("ownership")).content.decode()
    assert cause(firm).team == team
    assert "1" in client.get(reverse("teams")).content.decode()
    refused = client.post(reverse("team", args=[team.pk]), {**told, "entities": [], "reason": "x"})
    assert refused.status_code == 422


def test_ownership_rules_are_reordered_and_removed_with_a_reason(firm: Firm, client: Client) -> None:
    cora = world.user("cora", GrantRole.CONTROLLER, firm.entity)
    one, two = (Team.objects.create(code=code, name=code) for code in ("one", "two"))
    for team in (one, two):
        team.entities.add(firm.entity)
    teams.set_ownership(firm.entity, [teams.Fits(one), teams.Fits(two)], by=cora, reason="begin")
    client.force_login(cora)
    last = OwnershipRule.objects.get(team=two)
    act(client, reverse("ownership"), "ask_first", [last.pk], reason="two is faster")
    assert [fits.team for fits in teams.standing(firm.entity)] == [two, one]
    act(client, reverse("ownership"), "remove", [OwnershipRule.objects.get(team=one).pk], reason="gone")
    assert [fits.team for fits in teams.standing(firm.entity)] == [two]
    assert AuditEvent.objects.filter(action="ownership.configured").count() == 3


def test_teams_are_configured_by_those_who_configure_all_their_entities(firm: Firm, client: Client) -> None:
    cora, gb = world.user("cora", GrantRole.CONTROLLER, firm.entity), world.entity("GB", "GBP")
    shared, foreign = (Team.objects.create(code=code, name=f"The {code} desk") for code in ("shared", "foreign"))
    shared.entities.set([firm.entity, gb])
    foreign.entities.set([gb])
    client.force_login(cora)
    text = client.get(reverse("teams")).content.decode()
    assert "The shared desk" in text
    assert "The foreign desk" not in text
    assert "GB" not in text.split("<tbody")[1].split("</tbody>")[0]
    assert client.get(reverse("team", args=[foreign.pk])).status_code == 404
    told = {"name": "x", "code": "shared", "entities": [firm.entity.pk], "reason": "mine now"}
    assert client.post(reverse("team", args=[shared.pk]), told).status_code == 403
    client.force_login(desk.analyst(firm))
    assert "New team" not in client.get(reverse("teams")).content.decode()
    assert client.get(reverse("ownership_new")).status_code == 403
    assert client.post(reverse("team_new"), told).status_code == 403
    assert client.get(reverse("team_new")).status_code == 403
