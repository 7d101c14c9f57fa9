"""The approvals inbox: whatever takes a second person is a row of one list, for exactly those who may be that person."""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from portal.models import EntityGrant, GrantRole, Notification, NotificationKind, User
from portal.sql import now
from reconciliation import changes, operations, proposals
from reconciliation.changes import Line, telling
from reconciliation.models import (
    Approval,
    ChangeSet,
    MatchingRule,
    Onboarding,
    Operation,
    Proposal,
)
from reconciliation.models.approvals import may_decide
from reconciliation.onboarding import going_live
from reconciliation.views import approvals
from tests import world
from tests.reconciliation import desk
from tests.reconciliation.deciding import KINDS, ask, grant
from tests.reconciliation.firm import Firm, build

pytestmark = pytest.mark.django_db


@pytest.fixture
def firm() -> Firm:
    return build()


def open_of(user: User) -> set[str]:
    return set(Approval.objects.filter(may_decide(user)).values_list("kind", flat=True))


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def inbox(user: User, **query: str) -> str:
    return signed_in(user).get(reverse("approvals"), query).content.decode()


def badge_of(text: str) -> int:
    """What the side says beside Approvals."""
    found = re.search(r'href="/approvals/".*?</a>', text, re.DOTALL)
    assert found is not None
    number = re.search(r"(\d+)<", found[0])
    return int(number[1]) if number else 0


def waits_at_the_bell(user: User) -> list[str]:
    """Unread notices that ask this person to decide."""
    unread = Notification.objects.visible_to(user).unread().filter(kind=NotificationKind.APPROVAL)
    return list(unread.values_list("subject", flat=True))


def tab_of(text: str, tab: str) -> int:
    found = re.search(rf'id="count-{tab}">(\d+)<', text)
    assert found is not None
    return int(found[1])


def test_every_kind_of_decision_is_a_row_with_its_money_its_age_and_what_follows(firm: Firm) -> None:
    cleo = grant("cleo", "controller", firm)
    ask(firm, desk.analyst(firm))
    text = inbox(cleo)
    assert open_of(cleo) == KINDS
    for words in (
        "A dearer rate", "Certify US 2026-09", "2 open items are accepted with it", "Use the rule “Same day”", "goes live",
        "An alias from 1 Sep 2026 on; mapped by hand 2 times", "600.00", "Names go for good", "fay", "3 pass. 3 entries",
    ):  # fmt: skip
        assert words in text, words
    keys = re.findall(r'<tr data-key="(\d+)"', text)
    assert len(keys) == len(set(keys)) == len(KINDS)
    narrowed = inbox(cleo, kind="rule")
    assert "Use the rule" in narrowed
    assert "A dearer rate" not in narrowed
    assert "Certify" not in inbox(cleo, text="dearer")
    assert "No row matches this filter" in inbox(cleo, entity="GB")
    assert 'value="US"' in inbox(cleo, facet="entity")
    assert "Change" in inbox(cleo, facet="kind")
    file = signed_in(cleo).get(reverse("approvals"), {"export": "csv"})
    rows = b"".join(file.streaming_content) if file.streaming else file.content  # type: ignore[attr-defined]
    assert rows.decode("utf-8-sig").count("fay") >= len(KINDS)
    for order in ("title", "kind", "entities", "-amount", "entries", "by", "-asked_at"):
        assert signed_in(cleo).get(reverse("approvals"), {"sort": order}).status_code == 200


def test_the_side_the_tab_and_my_work_say_the_same_number_and_it_falls_as_one_decides(firm: Firm) -> None:
    cleo, fay = grant("cleo", "controller", firm), desk.analyst(firm)
    ask(firm, fay)
    for user, count in ((cleo, len(KINDS)), (fay, 0)):
        request: Any = RequestFactory().get("/")
        request.user, request.session = user, {}
        panel = approvals.panel(request)
        assert panel is not None
        text = inbox(user)
        assert (badge_of(text), tab_of(text, "open"), panel.count) == (count, count, count)
        assert badge_of(signed_in(user).get("/").content.decode()) == count
    assert tab_of(inbox(fay), "mine") == len(KINDS) - 1  # who is to be forgotten, an analyst does not read
    assert tab_of(inbox(cleo), "others") == 0
    change = ChangeSet.objects.get()
    dora = grant("dora", "controller", firm)
    telling.to_decide(change, fay)
    assert waits_at_the_bell(dora) == [f"Waits for you: {change.title}"]
    changes.reject(change, cleo, "not agreed")
    assert waits_at_the_bell(dora) == []
    text = inbox(cleo)
    assert (badge_of(text), tab_of(text, "open"), tab_of(text, "decided")) == (len(KINDS) - 1,) * 2 + (1,)
    decided = inbox(cleo, tab="decided")
    assert "by cleo" in decided
    assert "Refused" in decided
    assert f"{len(KINDS) - 2} of yours wait for" in inbox(fay)


def test_nobody_finds_what_they_asked_for_nor_what_another_entity_decides(firm: Firm) -> None:
    cleo = grant("cleo", "controller", firm)
    gb = world.entity("GB", "GBP")
    gus = world.user("gus", GrantRole.CONTROLLER, gb)
    ask(firm, cleo)
    assert open_of(cleo) == set()
    assert open_of(gus) == set()
    for tab in ("open", "mine", "others", "decided"):
        text = inbox(gus, tab=tab)
        for words in ("A dearer rate", "Certify", "Same day", desk.MISTYPED, "Forget", "rate-mismatch"):
            assert words not in text, (tab, words)
        assert all(tab_of(text, slug) == 0 for slug in ("open", "mine", "others", "decided"))
    assert "US" not in inbox(gus, facet="entity")
    file = signed_in(gus).get(reverse("approvals"), {"export": "csv", "tab": "others"})
    assert b"dearer" not in (b"".join(file.streaming_content) if file.streaming else file.content)  # type: ignore[attr-defined]
    auditor = grant("otto", "auditor", firm)
    assert open_of(auditor) == set()
    assert "A dearer rate" in inbox(auditor, tab="others")
    manager = grant("mia", "project_manager", firm)
    assert "Forget" not in inbox(manager, tab="others")


def test_what_is_found_to_decide_is_what_the_business_lets_a_person_decide(firm: Firm) -> None:
    fay = desk.analyst(firm)
    gb = world.entity("GB", "GBP")
    people = [
        fay, grant("cleo", "controller", firm), grant("ada", "admin", firm), grant("otto", "auditor", firm),
        grant("mia", "project_manager", firm), world.user("gus", GrantRole.CONTROLLER, gb),
    ]  # fmt: skip
    both = world.user("bo", GrantRole.CONTROLLER, firm.entity)
    EntityGrant.objects.create(user=both, entity=gb, role=GrantRole.ANALYST, valid_from=date(2020, 1, 1))
    chief = world.user("kim", GrantRole.CONTROLLER)
    people += [both, chief]
    ask(firm, fay)
    given = Line("grant", None, "add", {"user": "mia", "entity": "US", "role": "analyst", "valid_from": "2026-01-01"})
    rights = changes.draft(by=grant("abe", "admin", firm), title="Rights of mia", reason="new job", lines=[given])
    changes.submit(rights, User.objects.get(username="abe"))
    Proposal.objects.create(
        entity=firm.entity, kind="project", code="ANY-1", internal_id=1, record="ACM-1 · Acme", valid_from=date(2026, 9, 1),
        reason="everywhere", proposed_by=fay, proposed_at=now(),
    )  # fmt: skip
    deciding: dict[str, Any] = {
        "fix": (Operation, operations.can_decide), "change": (ChangeSet, changes.may_decide),
        "code": (Proposal, proposals.may_decide), "live": (Onboarding, going_live.may_decide),
    }  # fmt: skip
    seen = set()
    for user in people:
        found = set(Approval.objects.filter(may_decide(user)).values_list("kind", "key"))
        for one in Approval.objects.filter(is_open=True, kind__in=deciding):
            model, may = deciding[one.kind]
            allowed = may(model.objects.get(pk=one.key), user)
            assert ((one.kind, one.key) in found) == allowed, (user.username, one.kind, one.title)
            seen.add((one.kind, allowed))
    assert seen == {(kind, allowed) for kind in deciding for allowed in (True, False)}


def test_the_inbox_asks_as_often_for_many_decisions_as_for_few(firm: Firm) -> None:
    cleo, fay = grant("cleo", "controller", firm), desk.analyst(firm)
    client = signed_in(cleo)

    def cost(address: str) -> int:
        client.get(address)
        with CaptureQueriesContext(connection) as counted:
            client.get(address)
        return len(counted)

    ask(firm, fay)
    changes.reject(ChangeSet.objects.get(), cleo, "not agreed")
    pages = [reverse("approvals"), f"{reverse('approvals')}?tab=decided", "/"]
    few = [cost(page) for page in pages]
    for number in range(8):
        line = Line("rate", firm.rate.pk, "change", {"amount": str(130 + number)})
        made = changes.draft(by=fay, title=f"Rate {number}", reason="x", lines=[line])
        changes.submit(made, fay)
        if number % 2:
            changes.reject(made, cleo, "no")
        rule = {"leg": "ledger_target", "criteria": ["day"], "made_by": fay, "tested": {}, "tested_at": now()}
        MatchingRule.objects.create(entity=firm.entity, name=f"Rule {number}", **rule)
    assert [cost(page) for page in pages] == few


def test_who_was_just_given_rights_by_who_wrote_a_change_does_not_find_it(firm: Firm) -> None:
    abe, ada = grant("abe", "admin", firm), grant("ada", "admin", firm)
    newcomer = world.user("new")
    given = Line(
        "grant", None, "add", {"user": "new", "entity": "US", "role": "controller", "valid_from": "2026-01-01"}
    )
    rights = changes.draft(by=abe, title="Rights", reason="new job", lines=[given])
    changes.submit(rights, abe)
    changes.apply(changes.approve(rights, ada, signed_in_again=True))
    line = Line("rate", firm.rate.pk, "change", {"amount": "140"})
    changes.submit(changes.draft(by=abe, title="By abe", reason="x", lines=[line]), abe)
    assert open_of(newcomer) == set()
    ChangeSet.objects.filter(pk=rights.pk).update(applied_at=timezone.now() - timedelta(hours=2))
    assert open_of(newcomer) == {"change"}
