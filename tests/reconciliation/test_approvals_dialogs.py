"""Bills, plans for the books and going live are decided over the list of approvals: what it means, yes, no, and what stands."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from portal import sessions
from portal.models import AuditEvent, Document, GrantRole, Invoice, Notification, User
from reconciliation import changes
from reconciliation.models import Approval, BillingDecision, Onboarding, RateBundle, Rehearsal, RehearsedLine
from reconciliation.onboarding import going_live
from reconciliation.rates import planning
from reconciliation.rates.lines import Wanted, alike, lines_for
from tests import bills, world
from tests.reconciliation import desk
from tests.reconciliation import firm as firms
from tests.reconciliation.deciding import ask
from tests.reconciliation.firm import Firm
from tests.reconciliation.test_rate_bundles import SEPTEMBER

pytestmark = pytest.mark.django_db
OVER_LIST: Any = {"HTTP_HX_REQUEST": "true", "HTTP_HX_CURRENT_URL": "http://testserver/approvals/"}


@pytest.fixture
def firm() -> Firm:
    made = firms.build()
    firms.key(made.target, "customer", made.customer.pk, "C1")
    for name in ("bob", "cleo"):
        world.user(name, GrantRole.CONTROLLER, made.entity)
    desk.analyst(made)
    return made


def client_of(name: str) -> Client:
    client = Client()
    client.force_login(User.objects.get(username=name))
    return client


def address(kind: str, step: str = "approve") -> str:
    return reverse("approval_decide", args=[kind, Approval.objects.get(kind=kind, is_open=True).key, step])


def text(answer: Any) -> str:
    return re.sub(r"\s+", " ", answer.content.decode())


def notice(answer: Any) -> str:
    """What the list says once the dialog has gone."""
    assert answer.status_code == 204, text(answer)
    return str(answer["HX-Trigger"])


def deleted_bill(firm: Firm) -> Invoice:
    """A bill that its system deleted, and of which fay wants a new one."""
    erp = bills.Erp(firm)
    said = erp.bill("501", bills.line_of(bills.posted(firm, 1, first=20)[0]))
    erp.says(said)
    erp.says(erp.gone(said))
    bill = bills.find("501")
    form = {"action": "recreate", "reason": "it is owed", "seen": str(bill.current.version)}
    assert client_of("fay").post(reverse("bill", args=[bill.pk]), form).status_code == 303
    return bill


def later_plan(firm: Firm) -> RateBundle:
    """A plan of fay's for what an emergency of cleo's left in the books."""
    bills.posted(firm, 2)
    lines = lines_for(Wanted(firm.rate, Decimal(130), "hour", SEPTEMBER), alike(firm.rate))
    cleo, fay = User.objects.get(username="cleo"), User.objects.get(username="fay")
    change_set = changes.draft(by=cleo, title="At once", reason="the customer waits", lines=lines, emergency=True)
    desk.declared(change_set, cleo)
    changes.apply(change_set)
    return planning.begin(change_set, by=fay)


def test_a_bill_is_agreed_to_over_the_list_and_who_comes_second_reads_who_did(firm: Firm) -> None:
    bill = deleted_bill(firm)
    yes, no = address("bill"), address("bill", "refuse")
    listed = text(client_of("bob").get(reverse("approvals")))
    assert f'href="{yes}"' in listed
    assert f'href="{no}"' in listed
    dialog = text(client_of("bob").get(yes, **OVER_LIST))
    for words in ("fay: “it is owed”", "8.00 h worth 960.00 USD are open to be billed again", ">Agree <"):
        assert words in dialog, words
    own = text(client_of("fay").get(yes, **OVER_LIST))
    assert "You asked for it; somebody else decides." in own
    assert ">Agree <" not in own
    assert client_of("fay").post(yes, **OVER_LIST).status_code == 422
    assert "Agreed: make it anew holds for Invoice INV-501." in notice(client_of("bob").post(yes, **OVER_LIST))
    for name in ("bob", "cleo"):  # twice, and by another one
        assert "Already agreed to by bob, " in notice(client_of(name).post(yes, **OVER_LIST))
    assert "Already agreed to by bob, " in text(client_of("cleo").post(no, {"reason": "no"}, **OVER_LIST))
    page = client_of("cleo").post(
        reverse("bill", args=[bill.pk]), {"action": "approve", "seen": str(bill.current.version)}
    )
    assert page.status_code == 303
    assert AuditEvent.objects.filter(action="bill-recreation.approved").count() == 1


def test_a_bill_is_refused_over_the_list_with_a_reason_and_once(firm: Firm) -> None:
    deleted_bill(firm)
    no = address("bill", "refuse")
    assert 'name="reason" rows="2" maxlength="2000" required' in text(client_of("bob").get(no, **OVER_LIST))
    empty = client_of("bob").post(no, {"reason": " "}, **OVER_LIST)
    assert (empty.status_code, BillingDecision.objects.get().outcome) == (422, "")
    assert "Refused. fay reads why." in notice(client_of("bob").post(no, {"reason": "it was credited"}, **OVER_LIST))
    assert "Already refused by bob, " in notice(client_of("cleo").post(no, {"reason": "me too"}, **OVER_LIST))
    assert BillingDecision.objects.get().ended_because == "it was credited"


def test_a_plan_for_the_books_is_refused_over_the_list_and_the_next_one_approved(firm: Firm) -> None:
    bundle = later_plan(firm)
    yes, no = address("bundle"), address("bundle", "refuse")
    dialog = text(client_of("bob").get(yes, **OVER_LIST))
    assert "1,920.00 to 2,080.00 USD, net +160.00" in dialog, dialog
    assert "fay: “the customer waits”" in dialog
    assert "1,920.00 to 2,080.00 USD, net +160.00" in text(client_of("bob").get(no, **OVER_LIST))
    assert client_of("bob").post(no, {"reason": ""}, **OVER_LIST).status_code == 422
    assert "Refused. fay reads why." in notice(client_of("bob").post(no, {"reason": "not agreed yet"}, **OVER_LIST))
    assert "Already refused by bob, " in notice(client_of("cleo").post(no, {"reason": "no"}, **OVER_LIST))
    refused = client_of("cleo").post(yes, **OVER_LIST)
    assert (refused.status_code, "Already refused by bob, " in text(refused)) == (422, True)
    told = Notification.objects.get(person__username="fay", subject__startswith="Not agreed to")
    assert told.note == "not agreed yet"
    assert not Approval.objects.filter(kind="bundle", is_open=True).exists()

    again = planning.begin(bundle.change_set, by=User.objects.get(username="fay"))
    decided = Approval.objects.get(kind="bundle", is_open=False)
    assert (decided.key, decided.outcome, str(decided.decided_by)) == (bundle.pk, "refused", "bob")
    listed = text(client_of("cleo").get(reverse("approvals"), {"tab": "decided", "kind": "bundle"}))
    assert bundle.change_set.title in listed
    assert "Refused" in listed
    assert "refused by bob" in text(client_of("cleo").get(reverse("rate_bundle", args=[bundle.pk])))
    assert "Already refused by bob, " in text(client_of("bob").get(yes))  # it stays as it was decided
    yes = address("bundle")
    assert "Approved. It is booked now." in notice(client_of("bob").post(yes, **OVER_LIST))
    assert "Already approved by bob, " in notice(client_of("cleo").post(yes, **OVER_LIST))
    page = client_of("bob").post(reverse("rate_bundle", args=[again.pk]), {"action": "approve"}, follow=True)
    assert "Already approved by bob, " in text(page)
    again.refresh_from_db()
    assert (again.state, again.approved_by_id) == ("running", User.objects.get(username="bob").pk)


def test_much_money_asks_for_a_sign_in_and_comes_back_to_the_decision(
    firm: Firm, monkeypatch: pytest.MonkeyPatch
) -> None:
    later_plan(firm)
    firm.entity.policy = {"step_up_amount": {"*": "100"}}
    firm.entity.save()
    yes = address("bundle")
    assert "You are asked to sign in once more." in text(client_of("bob").get(yes))
    led = client_of("bob").post(yes)
    assert led.status_code == 303
    assert yes in led["Location"] or "%2Fapprovals%2F" in led["Location"]
    monkeypatch.setattr(sessions, "signed_in_just_now", lambda _request: True)
    assert client_of("bob").post(yes)["Location"] == reverse("approvals")
    assert RateBundle.objects.get().state == "running"


def rehearsed(by: User) -> None:
    """What the rehearsal found: four agree, one differs and is accepted, one was booked for other work; one is owed besides."""
    found = Rehearsal.objects.get()
    money, hours = {"USD": {"left": "4740", "right": "4720"}}, {"left": "40", "right": "40"}
    found.totals = {
        "outcomes": {"month": {"agrees": 4, "amount": 2}, "since": {"booked": 1}}, "hours": hours, "money": money,
        "confident": 4, "to_post": 1, "owed": {"USD": "1600.00"}, "kept": 0,
    }  # fmt: skip
    found.save()
    Onboarding.objects.update(state="preparing")
    document = Document.objects.earliest("pk")
    alike: Any = {
        "rehearsal": found, "kind": "time", "work_date": SEPTEMBER.start, "currency": "USD", "decided_by": by,
        "decided_at": found.asked_at, "reason": "a late correction", "document": document,
    }  # fmt: skip
    RehearsedLine.objects.create(
        leg="month",
        outcome="amount",
        confidence="review",
        decision="accepted",
        amount_left=900,
        amount_right=880,
        **alike,
    )
    RehearsedLine.objects.create(
        leg="since", outcome="booked", confidence="review", decision="other", amount_left=960, amount_right=960, **alike
    )
    Onboarding.objects.update(state="proposed")


def test_going_live_is_decided_over_the_list_on_what_the_dialog_shows(
    firm: Firm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(going_live, "what_is_missing", lambda _found: [])
    fay = User.objects.get(username="fay")
    ask(firm, fay)
    rehearsed(fay)
    yes, no = address("live"), address("live", "refuse")
    dialog = text(client_of("bob").get(yes, **OVER_LIST))
    assert "fay on the rehearsal of 2026-09: “it ties out”" in dialog
    assert "it cannot be taken back" in dialog
    for step in (yes, no):
        asked = text(client_of("bob").get(step, **OVER_LIST))
        for words in (
            "4 of 6", "documents since the cut-over · 2,560.00 USD", "by fay: “a late correction”",
            "1 difference (900.00 USD here, 880.00 USD booked): accepted",
        ):  # fmt: skip
            assert words in asked, words
    listed = Approval.objects.get(kind="live", is_open=True)
    assert (listed.entries, listed.amounts) == (2, {"USD": 2560})
    for odd in ("", "yesterday", "2026-13-45T00:00"):
        stale = client_of("bob").post(yes, {"seen": odd}, **OVER_LIST)
        assert (stale.status_code, "proposed anew since you looked" in text(stale)) == (422, True), odd
    assert "reads why" in notice(client_of("bob").post(no, {"reason": "two differences"}, **OVER_LIST))
    assert "Already sent back by bob, " in notice(client_of("cleo").post(no, {"reason": "no"}, **OVER_LIST))
    found = Onboarding.objects.get()
    going_live.propose(found, by=world.user("abe", GrantRole.ADMIN, firm.entity), reason="once more")
    [seen] = re.findall(r'name="seen" value="([^"]+)"', text(client_of("bob").get(yes, **OVER_LIST)))
    assert "is live." in notice(client_of("bob").post(yes, {"seen": seen}, **OVER_LIST))
    assert "bob let it, " in notice(client_of("cleo").post(yes, {"seen": seen}, **OVER_LIST))
    assert AuditEvent.objects.filter(action="onboarding.live").count() == 1


def test_another_entity_finds_no_decision_and_what_is_decided_elsewhere_has_no_dialog(firm: Firm) -> None:
    deleted_bill(firm)
    later_plan(firm)
    gus = world.user("gus", GrantRole.CONTROLLER, world.entity("GB", "GBP"))
    client = Client()
    client.force_login(gus)
    for kind in ("bill", "bundle"):
        for step in ("approve", "refuse"):
            assert client.get(address(kind, step)).status_code == 404
            assert client.post(address(kind, step), {"reason": "no"}).status_code == 404
    for odd in ("/approvals/fix/1/approve/", "/approvals/bill/1/adopt/", "/approvals/none/1/approve/"):
        assert client_of("bob").get(odd).status_code == 404
