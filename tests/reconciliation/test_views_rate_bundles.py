"""A rate of the past changed through the screens: asked for on its card, agreed to with its consequences, booked by a worker."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from portal import figures
from portal.models import GrantRole, LedgerEntry, User
from reconciliation import changes
from reconciliation.models import ChangeSet, RateBundle
from reconciliation.rates import booking, planning
from tests import bills, world
from tests.portal.test_every_screen import INLINE
from tests.reconciliation import desk
from tests.reconciliation import firm as firms
from tests.reconciliation.firm import Firm, state

pytestmark = pytest.mark.django_db
PASSWORD = "a long one for tests"


@pytest.fixture
def firm() -> Firm:
    return firms.build()


@pytest.fixture
def fay(firm: Firm) -> User:
    return desk.analyst(firm)


@pytest.fixture
def cleo(firm: Firm) -> User:
    return world.user("cleo", GrantRole.CONTROLLER, firm.entity)


def signed_in(person: User) -> Client:
    client = Client()
    client.force_login(person)
    return client


def asked(firm: Firm, **more: Any) -> dict[str, Any]:
    return {
        "rate": firm.rate.pk, "amount": "130", "unit": "hour", "first": "2026-09-01", "last": "2026-09-30",
        "reason": "agreed by letter", **more,
    }  # fmt: skip


def text(answer: Any, status: int = 200) -> str:
    assert answer.status_code == status
    page = str(answer.content.decode())
    assert INLINE.findall(page) == []
    return page


@pytest.mark.case(36)
def test_a_rate_of_the_past_is_changed_by_two_people_and_every_entry_and_bill_is_told(
    firm: Firm, fay: User, cleo: User
) -> None:
    posted, billed = bills.posted(firm, 2), bills.posted(firm, 1, first=10)
    invoice = bills.bill(firm)
    bills.allocate(invoice, billed[0])
    writer, other = signed_in(fay), signed_in(cleo)
    form = f"/rates/{firm.card.pk}/change/"
    assert f'href="{form}"' in text(writer.get(f"/rates/{firm.card.pk}/"))
    assert "Senior consultant USD, now 120.00 an hour" in text(writer.get(form))
    answer: Any = writer.post(form, asked(firm))
    assert answer.status_code == 303
    page = text(writer.get(answer["Location"]))
    assert "Planned by fay" in page
    assert "1,920.00 to 2,080.00 USD, net +160.00" in page
    assert "A supplementary invoice." in page
    assert "INV-501" in page
    change_set, bundle = ChangeSet.objects.get(), RateBundle.objects.get()
    told = "Senior consultant USD of ACME-2026 v3: 120.00 → 130.00 USD an hour, for 1 Sep 2026 to 30 Sep 2026"
    assert change_set.title == told
    assert told in page
    address = reverse("change_set", args=[change_set.pk])
    assert "What follows in the books" in text(writer.get(address))
    writer.post(address, {"action": "submit"})
    change_set.refresh_from_db()
    assert "touches no open entry; 3 booked to correct, 2,880.00 USD" in text(other.get(reverse("approvals")))
    dialog = text(other.get(reverse("change_decide", args=[change_set.pk, "approve"])))
    for said in (
        "1,920.00 to 2,080.00 USD, net +160.00",
        "Approving the change set agrees to this too.",
        "as planned below",
    ):
        assert said in dialog
    assert "INV-501" in dialog
    assert "stay as they are" not in dialog
    assert "1,920.00 to 2,080.00 USD, net +160.00" in text(other.get(address))
    seen = dict(re.findall(r'<input type="hidden" name="(hash|fingerprint|plan)" value="([^"]+)">', dialog))
    other.post(address, {"action": "approve", **seen, "comment": "read the letter"})
    change_set.refresh_from_db()
    assert change_set.state == ChangeSet.State.APPLIED
    told = "In the books: 2 booked entries are being reversed and booked anew, 1,920.00 to 2,080.00 USD, net +160.00; "
    told += "1 bill is off by a difference."
    assert told in text(other.get(address))
    assert {state(entry) for entry in posted} == {"posted"}
    booking.run(bundle.pk)
    done = text(writer.get(address))
    assert "2 booked entries were reversed and booked anew, 1,920.00 to 2,080.00 USD, net +160.00; 1 bill" in done
    assert "stay as they are" not in done
    assert "What is booked stays as it is" not in done
    page = text(writer.get(answer["Location"]))
    assert "agreed to by cleo" in page
    assert "booked anew as" in page
    assert "since" in page
    lines = b"".join(writer.get(answer["Location"], {"export": "csv"}).streaming_content).decode().splitlines()  # type: ignore[attr-defined]
    assert len([line for line in lines if ",Taken back and booked anew," in line and ",80.00,USD,Done," in line]) == 2
    assert len([line for line in lines if ",Stands on a bill,INV-501," in line]) == 1


def test_who_approves_reads_that_a_plan_of_other_lines_books_nothing(firm: Firm, fay: User, cleo: User) -> None:
    bills.posted(firm, 1)
    writer = signed_in(fay)
    writer.post(f"/rates/{firm.card.pk}/change/", asked(firm))
    change_set = ChangeSet.objects.get()
    lines = changes.lines_of(list(change_set.lines.order_by("position")))
    changes.edit(
        change_set, fay, [*lines, changes.Line("contract", firm.contract.pk, "change", {"cap_amount": "9000"})]
    )
    changes.submit(change_set, fay)
    dialog = text(signed_in(cleo).get(reverse("change_decide", args=[change_set.pk, "approve"])))
    assert "It was planned on other lines than these, so nothing of it is booked." in dialog


def test_a_rejected_change_set_and_its_plan_say_that_nothing_comes_of_them(firm: Firm, fay: User, cleo: User) -> None:
    bills.posted(firm, 1)
    writer = signed_in(fay)
    plan = writer.post(f"/rates/{firm.card.pk}/change/", asked(firm))["Location"]
    assert "Go on in the change set" in text(writer.get(plan))
    change_set = ChangeSet.objects.get()
    changes.submit(change_set, fay)
    changes.reject(change_set, cleo, "not agreed with the customer")
    page, told = text(writer.get(reverse("change_set", args=[change_set.pk]))), text(writer.get(plan))
    for shown in (page, told):
        assert "The change set was rejected, so nothing of this is booked." in shown
        for wrong in ("once approved", "agrees to this too", "Go on in the change set", ">Planned<", ">Pending<"):
            assert wrong not in shown, wrong
    assert "takes no effect" in page
    assert told.count(">Not booked<") == 2, "the plan and its row"


def test_the_plan_of_an_emergency_says_that_nobody_agreed_to_it(firm: Firm, cleo: User) -> None:
    bills.posted(firm, 1)
    world.user("carl", GrantRole.CONTROLLER, firm.entity)  # who reviews it
    line = changes.Line("rate", firm.rate.pk, "change", {"amount": "130"})
    change_set = changes.draft(by=cleo, title="At once", reason="the customer waits", lines=[line], emergency=True)
    bundle = planning.begin(change_set, by=cleo)
    address = reverse("change_set", args=[change_set.pk])
    again = "It is planned again once the change set is applied, and a second person agrees then."
    assert f"Nobody agrees to this: nothing of it is booked. {again}" in text(signed_in(cleo).get(address))
    changes.apply(desk.declared(change_set, cleo))
    for _ in range(2):  # before and after a worker looked at it
        page = text(signed_in(cleo).get(address))
        assert f"Nobody has agreed to this: nothing of it is booked. {again}" in page
        assert "is being booked" not in page
        booking.run(bundle.pk)


def test_a_plan_of_bills_alone_says_how_many_entries_stand_on_them(firm: Firm, fay: User, cleo: User) -> None:
    booked = bills.posted(firm, 2)
    invoice = bills.bill(firm)
    for entry in booked:
        bills.allocate(invoice, entry)
    writer = signed_in(fay)
    page = text(writer.get(writer.post(f"/rates/{firm.card.pk}/change/", asked(firm))["Location"]))
    assert "No entry is to be booked anew" in page
    assert "2 stand on bills." in page
    assert "No booked entry would say something else" not in page
    change_set = ChangeSet.objects.get()
    changes.submit(change_set, fay)
    approve(signed_in(cleo), change_set)
    shown = text(writer.get(reverse("change_set", args=[change_set.pk])))
    assert "no entry is booked anew" in shown
    assert "is being booked" not in shown


def test_what_cannot_be_read_or_changes_nothing_is_asked_again(firm: Firm, fay: User) -> None:
    writer, form = signed_in(fay), f"/rates/{firm.card.pk}/change/"
    for more, said in (
        ({"amount": ""}, "This field is required"),
        ({"first": "2026-09-30", "last": "2026-09-01"}, "The last day is before the first."),
        ({"first": "2025-01-01", "last": "2025-01-31"}, "these days are outside of it"),
        ({"first": "2025-06-01"}, "days before and after it are changed on the cards that hold then"),
        ({"amount": "120"}, "It is so on all of these days already."),
        ({"rate": "999999"}, "Select a valid choice"),
    ):
        assert said in text(writer.post(form, asked(firm, **more)), 422)
    assert not ChangeSet.objects.exists()
    assert 'value="2026-09-05"' in text(writer.get(form, {"first": "2026-09-05"}))


def test_nobody_else_reaches_a_card_a_bundle_or_the_plan(firm: Firm, fay: User, cleo: User) -> None:
    bills.posted(firm, 1)
    signed_in(fay).post(f"/rates/{firm.card.pk}/change/", asked(firm))
    bundle, change_set = RateBundle.objects.get(), ChangeSet.objects.get()
    gus = signed_in(world.user("gus", GrantRole.CONTROLLER, world.entity("GB", "GBP")))
    page = f"/rates/bundles/{bundle.pk}/"
    assert gus.get(f"/rates/{firm.card.pk}/change/").status_code == 404
    assert gus.get(page).status_code == 404
    assert gus.post(page, {"action": "plan"}).status_code == 404
    assert gus.post("/rates/bundles/new/", {"change_set": change_set.pk}).status_code == 404
    auditor = signed_in(world.user("aud", GrantRole.AUDITOR, firm.entity))
    assert auditor.get(page).status_code == 200
    assert auditor.get(f"/rates/{firm.card.pk}/change/").status_code == 403
    assert "It is planned by who writes the draft" in text(auditor.post(page, {"action": "plan"}), 422)
    assert auditor.post(page, {"action": "nothing"}).status_code == 400
    assert "by who writes the draft" in text(signed_in(cleo).post(page, {"action": "plan"}), 422)


def test_a_change_set_that_nobody_planned_is_planned_from_its_page_and_agreed_to_by_another(
    firm: Firm, fay: User, cleo: User
) -> None:
    [posted] = bills.posted(firm, 1)
    line = changes.Line("rate", firm.rate.pk, "change", {"amount": "130"})
    change_set = changes.submit(changes.draft(by=fay, title="Rate", reason="a letter", lines=[line]), fay)
    changes.apply(changes.approve(change_set, cleo))
    writer, address = signed_in(fay), reverse("change_set", args=[change_set.pk])
    assert "stay as they are until somebody plans what follows" in text(writer.get(address))
    made: Any = writer.post("/rates/bundles/new/", {"change_set": change_set.pk})
    bundle = RateBundle.objects.get()
    assert (made.status_code, made["Location"], bundle.round) == (303, f"/rates/bundles/{bundle.pk}/", 2)
    assert "You planned it yourself; somebody else agrees." in text(writer.get(made["Location"]))
    assert "planned it yourself" in text(writer.post(made["Location"], {"action": "approve"}), 422)
    cleo.set_password(PASSWORD)
    cleo.save()
    firm.entity.policy = {"step_up_amount": {"*": "100"}}
    firm.entity.save()
    other = Client()
    other.post(reverse("account_login"), {"login": "cleo", "password": PASSWORD})
    assert "more than the 100.00 USD that a session alone may decide in US" in text(other.get(made["Location"]))
    again: Any = other.post(made["Location"], {"action": "approve"})
    assert again["Location"].startswith(reverse("account_reauthenticate"))
    bundle.refresh_from_db()
    assert bundle.state == "planned"
    assert other.post(again["Location"], {"password": PASSWORD})["Location"] == made["Location"]
    booking.run(bundle.pk)
    row = bundle.rows.get()
    assert (row.entry_id, row.result, row.amount_after) == (posted, "done", Decimal(1040))


@pytest.mark.case(36)
def test_a_roll_back_of_what_was_booked_anew_brings_its_plan_and_the_books_follow_it_with_one_approval(
    firm: Firm, fay: User, cleo: User
) -> None:
    bills.posted(firm, 2)
    line = changes.Line("rate", firm.rate.pk, "change", {"amount": "130"})
    change_set = changes.draft(by=fay, title="Rate", reason="a letter", lines=[line])
    writer, other = signed_in(fay), signed_in(cleo)
    address = reverse("change_set", args=[change_set.pk])
    writer.post(address, {"action": "submit"})
    assert [(one.round, one.total) for one in change_set.rate_bundles.all()] == [(1, 2)]  # nobody asked for it
    approve(other, change_set)
    booking.run(change_set.rate_bundles.get().pk)
    firms.post(list(LedgerEntry.objects.filter(state_row__state="ready", reverses=None).values_list("pk", flat=True)))

    answer: Any = writer.post(address, {"action": "roll-back", "comment": "the letter was withdrawn"})
    undoes = ChangeSet.objects.get(rolls_back=change_set)
    assert answer["Location"] == reverse("change_set", args=[undoes.pk])
    bundle = undoes.rate_bundles.get()
    assert (bundle.round, bundle.planned_by, bundle.total) == (1, fay, 2)
    page = text(writer.get(answer["Location"]))
    assert f"2,080.00 to 1,920.00 USD, net {figures.amount(Decimal(-160), 'USD')}" in page
    assert "stay as they are" not in page
    writer.post(answer["Location"], {"action": "submit"})
    approve(other, undoes)
    booking.run(bundle.pk)
    assert [(row.result, row.amount_after) for row in bundle.rows.all()] == [("done", Decimal(960))] * 2


def approve(client: Client, change_set: ChangeSet) -> None:
    """As the dialog shows it."""
    dialog = text(client.get(reverse("change_decide", args=[change_set.pk, "approve"])))
    seen = dict(re.findall(r'<input type="hidden" name="(hash|fingerprint|plan)" value="([^"]+)">', dialog))
    client.post(reverse("change_set", args=[change_set.pk]), {"action": "approve", **seen, "comment": "read it"})
    change_set.refresh_from_db()
    assert change_set.state == ChangeSet.State.APPLIED


def test_a_draft_of_rates_under_which_nothing_is_booked_has_no_plan(firm: Firm, fay: User) -> None:
    line = changes.Line("rate", firm.rate.pk, "change", {"amount": "130"})
    change_set = changes.draft(by=fay, title="Rate", reason="a letter", lines=[line])
    signed_in(fay).post(reverse("change_set", args=[change_set.pk]), {"action": "submit"})
    change_set.refresh_from_db()
    assert (change_set.state, RateBundle.objects.exists()) == ("submitted", False)
