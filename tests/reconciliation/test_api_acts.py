"""Outside programs decide as people do: with a token that may, in the roles of its user, once for each key, refused in words."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from portal import tokens
from portal.models import ApiAnswer, AuditEvent, GrantRole, InvoiceProposal, ProposalState, User
from portal.records import BillKind, BillLine
from reconciliation import invoicing
from reconciliation.models import BillingDecision
from tests import world
from tests.bills import Erp, find, line_of, open_hours, posted
from tests.reconciliation import firm as firms

pytestmark = pytest.mark.django_db
ZERO = Decimal(0)


@pytest.fixture
def firm() -> firms.Firm:
    made = firms.build()
    firms.key(made.target, "customer", made.customer.pk, "C1")
    for name, role in (
        ("ana", GrantRole.ANALYST), ("bob", GrantRole.CONTROLLER), ("aud", GrantRole.AUDITOR), ("mia", GrantRole.PROJECT_MANAGER)
    ):  # fmt: skip
        world.user(name, role, made.entity)
    made.project.manager = User.objects.get(username="mia")
    made.project.save()
    return made


class Program:
    """An outside program with a token of its own."""

    def __init__(self, name: str, *, may_decide: bool = True) -> None:
        self.token = tokens.issue(User.objects.get(username=name), "program", may_decide=may_decide)
        self.sent = 0

    def reads(self, address: str) -> Any:
        return Client().get(address, headers={"Authorization": f"Bearer {self.token}"}).json()

    def posts(self, address: str, key: str = "", **said: Any) -> tuple[int, Any]:
        """What is answered: its status and what it says; a problem is one by its type."""
        self.sent += 1
        headers = {
            "Authorization": f"Bearer {self.token}",
            "Idempotency-Key": key or f"{self.token[-6:]}-{self.sent:06}",
        }
        answer = Client().post(address, said, content_type="application/json", headers=headers)
        is_problem = answer.headers["Content-Type"].startswith("application/problem+json")
        assert is_problem == (answer.status_code >= 400)
        return answer.status_code, answer.json()


def test_a_deleted_bill_is_decided_by_two_programs_once_each_and_never_by_one(firm: firms.Firm) -> None:
    erp, [entry] = Erp(firm), posted(firm)
    said = erp.bill("501", line_of(entry))
    erp.says(said)
    erp.says(erp.gone(said))
    acts = reverse("api_bill-act", args=[find("501").pk])
    ana, bob = Program("ana"), Program("bob")
    version = ana.reads(reverse("api_bill-detail", args=[find("501").pk]))["version"]
    asked = {"act": "adopt", "version": version, "reason": "it was a duplicate"}

    status, problem = Program("ana", may_decide=False).posts(acts, **asked)
    assert (status, problem["detail"]) == (403, "This token reads; ask an admin for one that may decide.")
    status, problem = Program("aud").posts(acts, **asked)
    assert (status, problem["detail"]) == (422, "Only finance of this entity decides about its bills.")
    status, problem = ana.posts(acts, **{**asked, "reason": " "})
    assert (status, problem["detail"]) == (422, "A decision about a bill needs a reason.")
    assert ana.posts(acts, **{**asked, "version": 99})[1]["errors"] == {"version": ["The bill has no such version."]}
    assert ana.posts(acts, **asked, why="x")[1]["errors"] == {"why": ["Unknown; see the schema."]}
    assert ana.posts(acts, key="short", **asked)[0] == 400
    assert not BillingDecision.objects.exists()
    assert not ApiAnswer.objects.exists(), "what is refused keeps no key"

    status, bill = ana.posts(acts, key="adopt-501-v2", **asked)
    assert (status, bill["decisions"][0]["choice"], bill["decisions"][0]["needs_approval"]) == (200, "adopt", True)
    assert ana.posts(acts, key="adopt-501-v2", **asked) == (200, bill), (
        "a repeat does nothing and is answered as before"
    )
    status, problem = ana.posts(acts, key="adopt-501-v2", **{**asked, "act": "recreate"})
    assert (status, problem["title"]) == (422, "The key was used before")
    assert BillingDecision.objects.count() == AuditEvent.objects.filter(action="bill.adopt").count() == 1
    assert open_hours([entry]) == {entry: ZERO}
    assert (
        ana.posts(acts, act="approve", version=version)[1]["detail"] == "Only a controller of this entity agrees to it."
    )
    status, bill = bob.posts(acts, act="approve", version=version)
    assert (status, bill["decisions"][0]["approved_by"]) == (200, "bob")
    assert open_hours([entry]) == {entry: Decimal(8)}


def test_a_program_names_the_hours_of_a_credit_and_sees_nothing_of_another_entity(firm: firms.Firm) -> None:
    erp, [entry] = Erp(firm), posted(firm)
    erp.says(
        erp.bill("501", line_of(entry)), erp.credit("601", "501", BillLine(key="c1", net=Decimal(360), description="x"))
    )
    note = find("601", BillKind.CREDIT_NOTE)
    acts, ana = reverse("api_bill-act", args=[note.pk]), Program("ana")
    [allocation] = ana.reads(reverse("api_bill-detail", args=[find("501").pk]))["allocations"]
    pick = {"allocation": allocation["id"], "quantity": "3", "amount": "360.00"}
    asked: dict[str, Any] = {"act": "name-hours", "version": 1, "reason": "too many", "hours": [pick]}
    world.user("eve", GrantRole.CONTROLLER, world.entity("GB", currency="GBP"))
    assert Program("eve").posts(acts, **asked)[0] == 404
    assert ana.posts(acts, **{**asked, "hours": [{**pick, "amount": "300"}]})[1]["detail"].endswith(
        "the note credits 360.00."
    )
    assert ana.posts(acts, **asked)[0] == 200
    assert open_hours([entry]) == {entry: Decimal(3)}
    assert ana.posts(acts, act="take-back", version=1, reason="others")[0] == 200
    assert open_hours([entry]) == {entry: ZERO}


def test_a_program_prepares_an_invoice_once_groups_its_lines_and_makes_it_anew(firm: firms.Firm) -> None:
    first, second = posted(firm, 2)
    mia, prepare = Program("mia"), reverse("api_invoice_proposal-prepare")
    asked = {"entity": firm.entity.code, "project": firm.project.code, "through": "2026-09-30"}
    world.user("eve", GrantRole.CONTROLLER, world.entity("GB", currency="GBP"))
    assert Program("eve").posts(prepare, **asked)[0] == 404
    assert Program("aud").posts(prepare, **asked)[1]["detail"].startswith("Only the project's manager or finance")
    assert Program("mia", may_decide=False).posts(prepare, **asked)[0] == 403
    assert mia.posts(prepare, **{**asked, "grouping": "colour"})[0] == 400
    status, made = mia.posts(prepare, key="september-1", **asked)
    assert (status, [one["net"] for one in made], len(made[0]["lines"])) == (200, ["1920.0000"], 1)
    assert mia.posts(prepare, key="september-1", **asked) == (200, made)
    assert AuditEvent.objects.filter(action="proposal.prepared").count() == 1

    acts = reverse("api_invoice_proposal-act", args=[made[0]["id"]])
    assert mia.posts(acts, act="regroup")[1]["errors"] == {"grouping": ["Say what one line is."]}
    status, grouped = mia.posts(acts, act="regroup", grouping="entry")
    assert (status, len(grouped["lines"]), grouped["net"]) == (200, 2, "1920.0000")
    erp = Erp(firm)
    erp.says(erp.bill("501", line_of(first)))
    status, anew = mia.posts(acts, act="prepare-anew")
    assert (status, anew["net"], [part["entry"] for line in anew["lines"] for part in line["parts"]]) == (
        200,
        "960.0000",
        [second],
    )
    erp.says(erp.bill("502", line_of(second)))
    assert mia.posts(acts, act="prepare-anew")[1]["state"] == "withdrawn"
    assert mia.posts(acts, act="prepare-anew")[1]["detail"].startswith("Only an open proposal")
    assert mia.posts(prepare, **asked) == (200, [])


def test_a_proposal_is_released_and_approved_by_programs_of_two_people_who_accept_what_does_not_hold(
    firm: firms.Firm,
) -> None:
    posted(firm)
    [proposal] = invoicing.prepare(firm.project, firms.SINCE.replace(2026, 9, 30), by=None)
    mia, ana = Program("mia"), Program("ana")
    acts, here = (reverse(f"api_invoice_proposal-{name}", args=[proposal.pk]) for name in ("act", "detail"))
    seen, risks = mia.reads(here)["seen"], mia.reads(reverse("api_invoice_proposal-risks", args=[proposal.pk]))
    assert risks["risks"]
    status, problem = mia.posts(acts, act="release", seen=seen)
    assert status == 422
    assert problem["detail"].startswith("Say that you have read what does not hold")
    line = mia.reads(here)["lines"][0]["key"]
    assert mia.posts(acts, act="hold", line=line, reason="disputed", until="2020-01-01")[0] == 422
    status, held = mia.posts(acts, act="hold", line=line, reason="disputed", until="2099-01-01")
    assert (status, held["net"]) == (200, "0.0000")
    assert mia.posts(acts, act="put-back", line=line)[0] == 200
    seen = mia.reads(here)["seen"]
    assert ana.posts(acts, act="release", seen=seen, accepts=risks["accepts"])[1]["detail"].startswith(
        "Only the project's"
    )
    status, gone = mia.posts(acts, act="release", seen=seen, accepts=risks["accepts"])
    assert (status, gone["state"], gone["released_by"]) == (200, "released", "mia")
    assert ana.posts(acts, act="send-back", reason="the order is missing")[1]["state"] == "open"
    assert InvoiceProposal.objects.get(pk=proposal.pk).state == ProposalState.OPEN
