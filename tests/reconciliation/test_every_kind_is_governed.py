"""Every kind of governed record goes the whole way through the front door, by two people who sign in with passwords.

One story, told of each kind: rejected with a comment; submitted, approved after a second sign-in, edited and so a draft again;
approved once more and applied on its day with the numbers that were shown; rolled back by a change set of its own; and once more
as an emergency that raises the alarm and is reviewed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from portal.models import (
    AccountingPeriod,
    AuditEvent,
    GrantRole,
    IntercompanyRelation,
    Notification,
    User,
)
from portal.records import Reference
from reconciliation import changes
from reconciliation.models import ChangeSet
from tests import world
from tests.reconciliation import desk
from tests.reconciliation import firm as firms
from tests.reconciliation.firm import Firm, build

pytestmark = pytest.mark.django_db
PASSWORD = "a long one for tests"
SIGNS_IN = {"step_up_amount": {"*": "1"}}  # whatever moves money is above the limit
UNKNOWN = "P-9000"  # a key of the source that nobody mapped


@dataclass(frozen=True, slots=True)
class Told:
    """What one line says of one kind, and what becomes of open work by it: so many entries that pass, fail or are priced anew."""

    kind: str
    values: dict[str, Any]
    key: Callable[[Firm], int | None] = lambda _firm: None
    action: str = "change"
    moves: dict[str, int] = field(default_factory=dict)
    roles: str = GrantRole.CONTROLLER


def month(firm: Firm) -> int:
    return AccountingPeriod.objects.get(entity=firm.entity, code="2026-10").pk


def lent(_firm: Firm) -> int:
    return IntercompanyRelation.objects.get().pk


STORIES = {
    "a mapping": Told(
        "crosswalk",
        {"connection": "harvest-us", "kind": "project", "external_id": UNKNOWN, "code": "ACM-2213", "valid_from": "2026-01-01"},
        action="add", moves={"passes": 1, "repriced": 1},
    ),
    "an alias": Told(
        "alias", {"kind": "project", "alias": desk.MISTYPED, "code": "ACM-2213", "valid_from": "2026-01-01"},
        action="add", moves={"passes": 2, "repriced": 2},
    ),
    "a customer": Told(
        "customer", {"active_to": "2026-09-30"}, lambda firm: firm.customer.pk, moves={"fails": 3},
    ),
    "a project": Told("project", {"requires_task": "true"}, lambda firm: firm.project.pk, moves={"fails": 3}),
    "a contract": Told("contract", {"cap_amount": "1000"}, lambda firm: firm.contract.pk, moves={"fails": 2}),
    "a tolerance of a rule": Told(
        "contract", {"rate_tolerance": "15"}, lambda firm: firm.contract.pk, moves={"passes": 1},
    ),
    "a rate card": Told("rate_card", {"valid_to": "2026-09-30"}, lambda firm: firm.card.pk, moves={"fails": 3, "repriced": 4}),
    "a rate": Told("rate", {"amount": "125"}, lambda firm: firm.rate.pk, moves={"fails": 3, "repriced": 4}),
    "a period": Told("period", {"state": "closed"}, month, moves={"fails": 3}),
    "an intercompany relation": Told("intercompany", {"valid_to": "2026-09-30"}, lent, moves={"fails": 1}),
    "a route": Told(
        "route", {"policy": json.dumps({"hours_max": "6"})}, lambda firm: firm.route.pk, moves={"fails": 3},
    ),
    "a policy": Told(
        "entity", {"policy": json.dumps({**SIGNS_IN, "rules_off": ["rate-mismatch"]})}, lambda firm: firm.entity.pk,
        moves={"passes": 1},
    ),
    "a grant": Told(
        "grant", {"user": "gus", "entity": "US", "role": "auditor", "valid_from": "2026-01-01"}, action="add",
        roles=GrantRole.ADMIN,
    ),
}  # fmt: skip


@pytest.fixture
def firm() -> Firm:
    """Work that is ready, work that three causes hold, and somebody whom another entity lends."""
    made = build()
    desk.near(made)
    gb = world.entity("GB", "GBP")
    firms.periods(gb)
    bob = firms.person("bob", "Bob", gb, made.role)
    firms.key(made.target, "resource", bob.pk)
    firms.lends(gb, made)
    desk.ready(made, 2)
    desk.mistyped(made, 2)
    desk.off_rate(made, 1)
    made.admit(
        made.time("lent", resource=Reference("", "bob"), work_date=date(2026, 10, 5)),
        made.time("unknown", project=Reference(UNKNOWN, "", "Acme roll-out"), work_date=date(2026, 10, 6)),
    )
    made.entity.policy = SIGNS_IN
    made.entity.save()
    world.user("gus")
    return made


@dataclass
class Person:
    """Somebody at the keyboard, signed in by password."""

    user: User
    browser: Client

    @classmethod
    def called(cls, name: str, role: str) -> Person:
        user = world.user(name, role, everywhere=True)
        user.set_password(PASSWORD)
        user.save()
        browser = Client()
        browser.post(reverse("account_login"), {"login": name, "password": PASSWORD})
        return cls(user, browser)

    def writes(self, firm: Firm, told: Told, **more: str) -> ChangeSet:
        """A draft with the line of a story."""
        self.browser.post(reverse("change_new"), {"title": "As agreed", "reason": "a letter", **more})
        change_set = ChangeSet.objects.latest("pk")
        line = {"model": told.kind, "key": told.key(firm) or "", "line_action": told.action, **told.values}
        answer = self.browser.post(reverse("change_line_new", args=[change_set.pk]), line)
        assert answer.status_code == 303, answer.content.decode()
        return change_set

    def sees(self, change_set: ChangeSet) -> str:
        text: str = self.browser.get(reverse("change_set", args=[change_set.pk])).content.decode()
        return text

    def does(self, change_set: ChangeSet, action: str, **more: str) -> Any:
        """Open what asks for the decision, and press its button."""
        where = reverse("change_set", args=[change_set.pk])
        if action in ("approve", "reject", "emergency"):
            asked = self.browser.get(reverse("change_decide", args=[change_set.pk, action])).content.decode()
            more = {**dict(re.findall(r'<input type="hidden" name="(hash|fingerprint)" value="(\w*)">', asked)), **more}
        answer = self.browser.post(where, {"action": action, **more})
        change_set.refresh_from_db()
        return answer

    def signs_in_again(self, answer: Any) -> None:
        where = answer["Location"]
        assert where.startswith(reverse("account_reauthenticate")), where
        self.browser.post(where, {"password": PASSWORD})


def cells(firm: Firm, told: Told, by: Person) -> Any:
    """The record in our words; nothing where it is not there."""
    kind = changes.BY_CODE[told.kind]
    pk = told.key(firm)
    if pk is not None:
        return changes.record_cells(kind, pk, by.user)
    wanted = {name: told.values[name] for name in told.values if name in {"external_id", "alias", "user", "role"}}
    rows = [changes.record_cells(kind, row.pk, by.user) or {} for row in kind.model._base_manager.all()]
    return next((row for row in rows if all(row[name] == value for name, value in wanted.items())), None)


@pytest.mark.parametrize("story", STORIES)
def test_every_kind_is_drafted_seen_agreed_to_by_another_applied_on_its_day_and_undone(
    firm: Firm, story: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = STORIES[story]
    wren, cleo = Person.called("wren", told.roles), Person.called("cleo", told.roles)
    before = cells(firm, told, wren)

    # Rejected, with a word
    no = wren.writes(firm, told)
    assert wren.does(no, "submit").status_code == 303
    assert wren.does(no, "approve").status_code == 422
    assert cleo.does(no, "reject", comment=" ").status_code == 422
    assert cleo.does(no, "reject", comment="not what the letter says").status_code == 303
    assert (no.state, no.decided_by) == ("rejected", cleo.user)
    assert "not what the letter says" in wren.sees(no)

    # Agreed to for tomorrow after a second sign-in, edited, and agreed to once more
    tomorrow = timezone.localdate() + timedelta(days=1)
    yes = wren.writes(firm, told, effective_on=str(tomorrow))
    wren.does(yes, "submit")
    shown = {name: yes.preview[name]["entries"] for name in ("passes", "fails", "repriced")}
    assert {name: count for name, count in shown.items() if count} == told.moves
    asked = cleo.does(yes, "approve")
    assert yes.state == "submitted"
    cleo.signs_in_again(asked)  # and what was decided is carried out
    yes.refresh_from_db()
    assert (yes.state, yes.decided_by) == ("scheduled", cleo.user)
    edit = reverse("change_edit", args=[yes.pk])
    seen = dict(re.findall(r'name="(seen)" value="(\w*)"', wren.browser.get(edit).content.decode()))
    wren.browser.post(edit, {"title": "As agreed", "reason": "two letters", "effective_on": str(tomorrow), **seen})
    yes.refresh_from_db()
    assert (yes.state, yes.decided_by, yes.content_hash) == ("draft", None, "")
    wren.does(yes, "submit")
    cleo.does(yes, "approve")
    assert cells(firm, told, wren) == before  # nothing before its day

    # Its day
    monkeypatch.setattr(timezone, "localdate", lambda *_: tomorrow)
    assert [pk for pk, _ in changes.due()] == [yes.pk]
    changes.run(yes.pk)
    yes.refresh_from_db()
    assert (yes.state, yes.result) == ("applied", yes.preview), yes.problem
    after = cells(firm, told, wren)
    assert after != before
    assert "Exactly what the dry-run said" in wren.sees(yes)
    kept = AuditEvent.objects.filter(object_type="changeset", object_id=str(yes.pk)).order_by("pk")
    assert [(one.action.removeprefix("change."), one.actor_name) for one in kept] == [
        ("drafted", "wren"), ("edited", "wren"), ("submitted", "wren"), ("approved", "cleo"), ("edited", "wren"),
        ("submitted", "wren"), ("approved", "cleo"), ("applied", "cleo"),
    ]  # fmt: skip

    # Undone by a change set of its own
    wren.does(yes, "roll-back", comment="the letters were wrong")
    back = ChangeSet.objects.get(rolls_back=yes)
    wren.does(back, "submit")
    cleo.does(back, "approve")
    assert (back.state, back.result) == ("applied", back.preview), back.problem
    assert cells(firm, told, wren) == before

    # And at once, by one person who signs in again; another reviews it
    now = wren.writes(firm, told, emergency="on")
    wren.signs_in_again(wren.does(now, "emergency"))  # it is seen before it goes
    now.refresh_from_db()
    assert (now.state, cells(firm, told, wren)) == ("draft", before)
    wren.does(now, "emergency")
    assert (now.state, now.decided_by) == ("applied", None), now.problem
    assert cells(firm, told, wren) == after
    assert Notification.objects.get(person=cleo.user, kind="escalated").subject.startswith(
        "Emergency change, review it"
    )
    assert wren.does(now, "review", comment="all good").status_code == 422
    assert cleo.does(now, "review", comment="it had to be").status_code == 303
    assert now.reviewed_by == cleo.user
