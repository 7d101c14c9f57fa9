"""What is suggested for a cause: near words, the people's own booking, client, approver and days; and what is never filled in."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from portal.models import Customer, GrantRole, ProjectStatus
from portal.records import Reference
from reconciliation import suggestions
from reconciliation.models import ExceptionCase
from reconciliation.suggestions.nearness import Candidate, Near, Said, nearest, sure
from tests import world
from tests.reconciliation import desk
from tests.reconciliation import firm as firms
from tests.reconciliation.firm import build, case

OCTOBER = date(2026, 10, 1)


def one(pk: int, code: str, name: str = "", **more: object) -> Candidate:
    return Candidate(pk, 1, code, name, **more)  # type: ignore[arg-type]


def scores(found: list[Near]) -> dict[str, int]:
    return {near.candidate.code: near.score for near in found}


def test_two_that_are_close_are_never_told_apart_and_a_sure_one_is() -> None:
    said = Said("ACM-2231", "")
    both = nearest(said, [one(1, "ACM-2213"), one(2, "ACM-2230")], 5)
    assert len(both) == 2
    assert sure(both) is None
    twice = nearest(Said("", "Acme roll-out"), [one(1, "A", "Acme roll-out"), one(2, "B", "roll-out Acme")], 5)
    assert [near.score for near in twice] == [100, 100]
    assert sure(twice) is None
    alone = nearest(Said("", "Acme roll-out"), [one(1, "A", "Acme roll-out"), one(2, "B", "Globex audit")], 5)
    assert sure(alone) is alone[0]
    assert sure([Near(one(1, "A"), 94, (), ()), Near(one(2, "B"), 89, (), ())]) is None
    assert sure([Near(one(1, "A"), 95, (), ()), Near(one(2, "B"), 89, (), ())]) is not None


def test_evidence_shifts_what_words_say_and_each_reason_is_told() -> None:
    said = Said(
        "ACM-2231",
        "",
        frozenset({"Acme Inc."}),
        frozenset({"Pat Manager"}),
        OCTOBER,
        OCTOBER + timedelta(9),
        {1: 9, 7: 3},
    )
    year = ((date(2026, 1, 1), None),)
    good = one(1, "ACM-2213", client="Acme Inc.", days=year, approvers=frozenset({"pat manager"}))
    bad = one(2, "ACM-2230", client="Globex", days=((date(2026, 10, 5), None),), approvers=frozenset({"gus"}))
    found = {near.candidate.pk: near for near in nearest(said, [good, bad], 5)}
    assert found[1].reasons == (
        "code 88 % alike", "these people booked 9 entries on it lately", "same client, Acme Inc.", "same manager approves",
        "open on these days",
    )  # fmt: skip
    assert found[1].score == 100
    assert 2 not in found  # 88 for its words, less 5 for the client and 15 for the days
    assert nearest(Said("ACM-2231", "", first=OCTOBER), [bad], 5)[0].against == (
        "open from 5 Oct 2026, not on all of these days",
    )


def test_what_the_people_book_otherwise_is_shown_whatever_its_words() -> None:
    found = nearest(Said("ZZZ", "", booked={1: 20}), [one(1, "ACM-1"), one(2, "ACM-2")], 5)
    assert scores(found) == {"ACM-1": 70}
    assert sure(found) is None


@pytest.mark.django_db
def test_the_persons_history_is_read_from_the_ledger(client: Client) -> None:
    firm = build()
    desk.near(firm)
    desk.ready(firm, 6)
    firm.admit(firm.time("x", project=Reference("", "ACM-11", "")))
    found = suggestions.of([case("project-unknown")], deeply=True)[case("project-unknown").pk]
    assert (found[0].label, found[0].is_sure) == ("ACM-1", True)
    assert "these people booked 6 entries on it lately" in found[0].reasons
    client.force_login(desk.analyst(firm))
    text = client.get(reverse("cause", args=[case("project-unknown").pk])).content.decode()
    assert "these people booked 6 entries on it lately" in text
    assert "same manager approves" not in text


@pytest.mark.django_db
def test_nothing_of_another_entity_is_suggested() -> None:
    firm = build()
    other = world.entity("GB", "GBP")
    secret = firms.project("ACM-2213", other, Customer.objects.create(code="S", name="Secret", currency="GBP"), None)
    desk.mistyped(firm, 2)
    assert secret.code not in [
        one.label for one in suggestions.of([case("project-unknown")])[case("project-unknown").pk]
    ]


@pytest.mark.django_db
def test_a_closed_project_without_a_successor_offers_open_ones_of_the_same_client() -> None:
    firm = build()
    follow = firms.project("ACM-2", firm.entity, firm.customer, firm.contract)
    ProjectStatus.objects.filter(project=firm.project).update(status="closed")
    firm.admit(firm.time("1"))
    [found] = suggestions.of([case("project-closed")], deeply=True)[case("project-closed").pk]
    assert (found.remedy, found.values, found.is_sure) == ("move-project", {"project": str(follow.pk)}, False)
    assert "same client, Acme Inc." in found.reasons


@pytest.mark.django_db
def test_suggestions_ask_as_often_for_many_causes_as_for_one() -> None:
    firm = build()
    desk.near(firm)
    desk.mistyped(firm, 1)
    few = list(ExceptionCase.objects.all())
    with CaptureQueriesContext(connection) as once:
        suggestions.of(few, deeply=True)
    for number in range(12):
        desk.mistyped(firm, 2, start=2000 + 10 * number, code=f"ACM-{2300 + number}")
    many = list(ExceptionCase.objects.all())
    assert len(many) >= 13
    with CaptureQueriesContext(connection) as often:
        suggestions.of(many, deeply=True)
    assert len(often) == len(once)


@pytest.mark.django_db
def test_who_may_not_fix_sees_the_ways_out_and_whom_to_ask(client: Client) -> None:
    firm = build()
    desk.analyst(firm)
    desk.near(firm)
    desk.mistyped(firm, 2)
    client.force_login(world.user("ada", GrantRole.AUDITOR, firm.entity))
    text = client.get(reverse("cause", args=[case("project-unknown").pk])).content.decode()
    assert "For: controller or finance analyst." in text
    assert "You may not fix this. Ask fay." in text
    assert reverse("fix", args=[case("project-unknown").pk, "map-code"]) not in text
