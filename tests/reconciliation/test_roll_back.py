"""Undoing what was applied: only what still stands, later approvals named, and never a record from under what was booked."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from portal.models import Customer, GrantRole, Rate, Role, User
from reconciliation import changes
from reconciliation.changes import ChangeRefused, Line
from reconciliation.models import ChangeSet
from tests import world
from tests.reconciliation import desk
from tests.reconciliation import firm as firms
from tests.reconciliation.firm import Firm, build, post

pytestmark = pytest.mark.django_db


@pytest.fixture
def firm() -> Firm:
    made = build()
    desk.near(made)
    return made


@pytest.fixture
def fay(firm: Firm) -> User:
    return desk.analyst(firm)


@pytest.fixture
def cleo(firm: Firm) -> User:
    return world.user("cleo", GrantRole.CONTROLLER, firm.entity)


@pytest.fixture
def zoe(firm: Firm) -> User:
    return world.user("zoe", GrantRole.CONTROLLER, everywhere=True)


def applied(by: User, other: User, *lines: Line, title: str = "Another rate") -> ChangeSet:
    made = changes.draft(by=by, title=title, reason="agreed by letter", lines=lines)
    return changes.apply(changes.approve(changes.submit(made, by), other, "read the letter"))


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def form(client: Client, change_set: ChangeSet) -> str:
    return client.get(reverse("change_decide", args=[change_set.pk, "roll-back"])).content.decode()


def roll_back(client: Client, change_set: ChangeSet, **more: Any) -> Any:
    return client.post(reverse("change_set", args=[change_set.pk]), {"action": "roll-back", **more})


def senior(**more: str) -> Line:
    values = {
        "card": "ACME-2026",
        "card_version": "3",
        "resource": "ana",
        "currency": "USD",
        "valid_from": "2026-01-01",
    }
    return Line("rate", None, "add", {**values, "amount": "120", **more})


def test_what_a_later_change_set_set_is_named_and_stays_unless_it_is_chosen(firm: Firm, fay: User, zoe: User) -> None:
    customer = firm.project.customer
    assert customer is not None
    first = applied(fay, zoe, Line("customer", customer.pk, "change", {"payment_terms_days": "33", "name": "Acme Ltd"}))
    second = applied(
        fay, zoe, Line("customer", customer.pk, "change", {"payment_terms_days": "41"}), title="Longer terms by letter"
    )
    client = signed_in(fay)
    text = form(client, first)
    assert f"Change set {second.pk}: Longer terms by letter" in text
    assert "payment terms days, now 41, back to" in text
    assert roll_back(client, first).status_code == 303
    back = first.roll_backs.get()
    assert set(back.lines.get().values) == {"name"}
    assert f"Left as they were set since: payment terms days of ACME · Acme Ltd (change set {second.pk})" in back.reason
    answer = roll_back(client, first)
    assert answer["Location"] == reverse("change_set", args=[back.pk])
    assert "so no second one was written" in client.get(answer["Location"]).content.decode()
    assert first.roll_backs.count() == 1
    changes.withdraw(back, fay)
    number = first.lines.get().position
    assert roll_back(client, first, also=f"{number}:payment_terms_days").status_code == 303
    changes.apply(changes.approve(changes.submit(first.roll_backs.latest("pk"), fay), zoe))
    assert Customer.objects.get(pk=customer.pk).payment_terms_days == customer.payment_terms_days


def test_a_rate_in_use_that_took_nobody_s_place_is_not_taken_out_but_may_end(firm: Firm, fay: User, cleo: User) -> None:
    change_set = applied(fay, cleo, senior())
    post(desk.ready(firm, 1))
    client = signed_in(fay)
    told = "is named by 1 booked or open entry; end it from a day on, or change its amount instead."
    text = form(client, change_set)
    assert told in text
    assert "Write the roll-back" in text
    refused = roll_back(client, change_set)
    assert refused.status_code == 422
    assert told in refused.content.decode()
    assert "Ways out" in refused.content.decode()
    assert "violates" not in refused.content.decode()
    assert roll_back(client, change_set, ends="true").status_code == 303
    back = changes.submit(change_set.roll_backs.get(), fay)
    changes.apply(changes.approve(back, cleo))
    made = Rate.objects.get(pk=change_set.lines.get().made or 0)
    assert made.valid_to == timezone.localdate() - timedelta(days=1)


def test_a_rate_in_use_that_took_another_s_place_gets_that_one_s_price_back(firm: Firm, fay: User, cleo: User) -> None:
    old = Rate.objects.get(pk=firm.rate.pk)
    assert old.role is not None
    new = {"card": old.card.code, "card_version": str(old.card.version), "currency": old.currency, "amount": "155",
           "valid_from": "2026-02-01", "role": old.role.code}  # fmt: skip
    entries = desk.ready(firm, 2)
    change_set = applied(
        fay, cleo, Line("rate", old.pk, "change", {"valid_to": "2026-01-31"}), Line("rate", None, "add", new)
    )
    assert {firms.entry(pk).amount for pk in entries} == {Decimal(155 * 8)}
    client = signed_in(fay)
    assert "amount" in form(client, change_set)
    assert roll_back(client, change_set).status_code == 303
    back = change_set.roll_backs.get()
    assert [(line.action, line.values) for line in back.lines.all()] == [("change", {"amount": "120"})]
    changes.apply(changes.approve(changes.submit(back, fay), cleo))
    assert {firms.entry(pk).amount for pk in entries} == {Decimal(960)}


def test_no_record_that_others_name_is_taken_out_and_nobody_reads_sql(firm: Firm, fay: User) -> None:
    role = Role.objects.get(pk=firm.rate.role_id or 0)
    admin = world.user("ann", GrantRole.ADMIN, everywhere=True)
    with pytest.raises(ChangeRefused, match=r"is named by \d+ .*; change it instead") as refusal:
        changes.draft(by=admin, title="No role", reason="unused", lines=[Line("role", role.pk, "remove")])
    assert "violates" not in str(refusal.value)
