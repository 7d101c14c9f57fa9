"""A bill that changed or went away, decided on its page by two people: with both figures before them, and never a dead end."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from portal import sql
from portal.models import AccountingPeriod, AuditEvent, GrantRole, Invoice, Notification, User
from reconciliation import billing, matching, triage
from reconciliation.models import BillingDecision, ExceptionCase, ReconciliationResult, Team
from reconciliation.sql import closing
from tests import world
from tests.bills import Erp, causes, find, line_of, open_hours, posted
from tests.reconciliation import firm as firms

pytestmark = pytest.mark.django_db
ZERO = Decimal(0)


@pytest.fixture
def firm() -> firms.Firm:
    made = firms.build()
    firms.key(made.target, "customer", made.customer.pk, "C1")
    for name, role in (("ana", GrantRole.ANALYST), ("fay", GrantRole.ANALYST), ("bob", GrantRole.CONTROLLER)):
        world.user(name, role, made.entity)
    made.project.manager = world.user("mia", GrantRole.PROJECT_MANAGER, made.entity)
    made.project.save()
    return made


@pytest.fixture
def erp(firm: firms.Firm) -> Erp:
    return Erp(firm)


def signed_in(name: str) -> Client:
    client = Client()
    client.force_login(User.objects.get(username=name))
    return client


def page(name: str, bill: Invoice) -> str:
    answer = signed_in(name).get(reverse("bill", args=[bill.pk]))
    assert answer.status_code == 200
    return str(answer.content.decode())


def does(name: str, bill: Invoice, action: str, reason: str = "", **more: str) -> Any:
    form = {"action": action, "reason": reason, "seen": str(find(bill.external_id).current.version), **more}
    return signed_in(name).post(reverse("bill", args=[bill.pk]), form)


def told(name: str) -> list[str]:
    return list(Notification.objects.filter(person__username=name).order_by("pk").values_list("subject", flat=True))


def test_a_deleted_bill_is_refused_withdrawn_and_decided_another_way_and_what_stood_on_it_stays_readable(
    firm: firms.Firm, erp: Erp
) -> None:
    first, second = posted(firm, 2)
    said = erp.bill("501", line_of(first), line_of(second))
    erp.says(said)
    erp.says(erp.gone(said))
    bill = find("501")
    shown = page("ana", bill)
    for words in (
        "What changed", "Ana Consultant on ACM-1", "2 Sep 2026", "Make it anew",
        "Nothing stays billed: 16.00 h worth 1,920.00 USD are open to be billed again.",
    ):  # fmt: skip
        assert words in shown, words
    assert does("ana", bill, "recreate", "it is owed").status_code == 303
    assert AuditEvent.objects.filter(action="bill.recreate").count() == 1
    assert "INV-501" in signed_in("bob").get(reverse("approvals")).content.decode()
    assert "ana asks: Invoice INV-501, make it anew. It waits for a second person." in told("bob")
    assert "There is nothing of this kind to decide" in does("fay", bill, "adopt", "a duplicate").content.decode()
    assert "needs the reason" in does("bob", bill, "refuse", " ").content.decode()
    assert does("bob", bill, "refuse", "the customer was credited").status_code == 303
    assert "bob refused: Invoice INV-501, make it anew. the customer was credited" in told("ana")
    assert "What shall hold?" in page("ana", bill)
    assert "Refused by bob" in page("ana", bill)
    assert "INV-501" not in signed_in("bob").get(reverse("approvals")).content.decode()

    assert does("ana", bill, "adopt", "it was a duplicate").status_code == 303
    assert "Whoever decided it withdraws it" in does("fay", bill, "withdraw-decision", "no").content.decode()
    assert does("ana", bill, "withdraw-decision", "chosen too early").status_code == 303
    assert open_hours([first, second]) == {first: ZERO, second: ZERO}
    assert causes("501") == {"bill-deleted"}
    assert does("ana", bill, "adopt", "it was a duplicate").status_code == 303
    assert does("bob", bill, "approve").status_code == 303
    assert open_hours([first, second]) == {first: Decimal(8), second: Decimal(8)}
    assert "It holds by now" in does("ana", bill, "withdraw-decision", "too late").content.decode()
    after = page("ana", bill)
    for words in ("as it last was; nothing of it stands billed", "Ana Consultant on ACM-1", "960.00"):
        assert words in after, words
    assert any("are open to be billed again" in one for one in told("mia"))


def test_what_is_to_be_restored_is_somebodys_task_with_both_figures_reminded_of_and_escalated(
    firm: firms.Firm, erp: Erp
) -> None:
    first, second = posted(firm, 2)
    said = erp.bill("501", line_of(first), line_of(second))
    erp.says(said)
    erp.says(erp.again(said, lines=(line_of(first, "5"), said.lines[1]), net=Decimal(1560), total=Decimal(1560)))
    bill = find("501")
    shown = page("ana", bill)
    for words in (
        "1,560.00 USD instead of 1,920.00 USD stand billed", "3.00 h are open to be billed again", "600.00", "960.00",
        "is to show 1,920.00 USD net again in the place of 1,560.00 USD",
        "until a credit note over 360.00 USD has come", "Who restores it",
    ):  # fmt: skip
        assert words in shown, words
    fay = User.objects.get(username="fay")
    assert does("ana", bill, "restore", "as agreed", to=f"user:{fay.pk}").status_code == 303
    sentence = (
        f"Restore Invoice INV-501 in {firm.target}: its total is 1,560.00 USD and was 1,920.00 USD; "
        "line 1: is 5.00 h, 600.00 USD, was 8.00 h, 960.00 USD."
    )
    assert sentence in told("fay")
    case = ExceptionCase.objects.get(rule="bill-changed")
    assert (case.owner, "ana asked to have it restored" in case.sentence) == (fay, True)
    assert "Asked of fay, who was told both figures" in page("ana", bill)

    assert "A reminder follows after 3 days, and the controllers hear of it after 7." in page("ana", bill)
    assert triage.remind() == 0
    firm.entity.policy = {**firm.entity.policy, "restore_remind_days": 5, "restore_escalate_days": 8}
    firm.entity.save()
    assert "A reminder follows after 5 days, and the controllers hear of it after 8." in page("ana", bill)
    assert triage.remind(sql.now() + timedelta(days=4, minutes=1)) == 0, "the policy of the entity is more patient"
    firm.entity.policy = {**firm.entity.policy, "restore_remind_days": 4}
    firm.entity.save()
    later = sql.now() + timedelta(days=4, minutes=1)
    assert (triage.remind(later), triage.remind(later)) == (1, 0)
    assert any("is not restored" in one and "after 4 days, asked of fay" in one for one in told("fay"))
    assert not any("is not restored" in one for one in told("bob"))
    later += timedelta(days=4)
    assert (triage.remind(later), triage.remind(later)) == (1, 0)
    assert any("after 8 days, asked of fay" in one for one in told("bob"))
    assert "The controllers were told" in page("ana", bill)
    erp.says(erp.again(said))
    assert causes("501") == set()
    assert triage.remind(later + timedelta(days=4)) == 0
    assert open_hours([first, second]) == {first: ZERO, second: ZERO}


def test_a_team_is_asked_to_restore_and_a_choice_that_changed_nothing_yet_is_withdrawn_for_another(
    firm: firms.Firm, erp: Erp
) -> None:
    [first] = posted(firm)
    said = erp.bill("501", line_of(first))
    erp.says(said)
    erp.says(erp.again(said, lines=(line_of(first, "5"),), net=Decimal(600), total=Decimal(600)))
    bill, team = find("501"), Team.objects.create(code="billing", name="Billing desk")
    team.entities.add(firm.entity)
    team.memberships.create(user=User.objects.get(username="fay"))
    assert does("ana", bill, "restore", "as agreed", to=f"team:{team.pk}").status_code == 303
    assert any(one.startswith("Restore Invoice INV-501") for one in told("fay"))
    assert ExceptionCase.objects.get(rule="bill-changed").team == team
    assert does("ana", bill, "withdraw-decision", "they cannot").status_code == 303
    assert "Withdrawn by ana" in page("fay", bill)
    assert does("fay", bill, "adopt", "so be it").status_code == 303
    assert does("bob", bill, "approve").status_code == 303
    assert open_hours([first]) == {first: Decimal(3)}
    outcomes = list(BillingDecision.objects.order_by("pk").values_list("choice", "outcome"))
    assert outcomes == [("restore", "withdrawn"), ("adopt", "")]


def test_a_controller_who_asked_withdraws_and_does_not_refuse(firm: firms.Firm, erp: Erp) -> None:
    [first] = posted(firm)
    said = erp.bill("501", line_of(first))
    erp.says(said)
    erp.says(erp.gone(said))
    cora = world.user("cora", GrantRole.CONTROLLER, firm.entity)
    decision = billing.adopt(find("501"), by=cora, reason="a duplicate")
    assert "withdraw it instead" in does("cora", find("501"), "refuse", "no").content.decode()
    billing.withdraw(decision, by=cora, reason="no")
    assert causes("501") == {"bill-deleted"}


def test_a_price_that_was_adopted_by_two_people_ends_the_difference_between_books_and_bill(
    firm: firms.Firm, erp: Erp
) -> None:
    [first] = posted(firm)
    said = erp.bill("501", line_of(first))
    erp.says(said)
    erp.says(erp.again(said, lines=(line_of(first, net="950"),), net=Decimal(950), total=Decimal(950)))
    period = AccountingPeriod.objects.get(entity=firm.entity, code="2026-09")
    bill = find("501")
    assert does("ana", bill, "adopt", "so it was agreed").status_code == 303
    matching.run(firm.entity, period)
    standing = ReconciliationResult.objects.standing().filter(period=period, leg="target_invoice", entry=first)
    assert not standing.exists()  # what we go by is still the price that was booked
    assert does("bob", bill, "approve").status_code == 303
    run = matching.run(firm.entity, period)
    found = standing.get()
    assert (found.outcome, found.amount_left, found.amount_right) == ("matched", Decimal(960), Decimal(950))
    assert found.reason == "Booked with 960.00 USD and invoiced with 950.00 USD, as its bill was adopted."
    assert run.totals["target_invoice"]["differing"] == 0
    [drawn] = closing.waterfall(firm.entity.pk, period.starts_on, period.ends_on).amounts
    assert (drawn.posted_amount, drawn.invoiced) == (960, 950)
    shown = signed_in("ana").get(reverse("reconciliation_run", args=[run.pk]), {"tab": "all"}).content.decode()
    assert "Ana Consultant on ACM-1, 2 Sep 2026 · Time 1" in shown
