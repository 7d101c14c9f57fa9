"""What happens in the demo firm after its month was taken in: late approvals, changes after posting, its bills, and the close.

The rule here: people act in their own tools (the sandbox's control plane plays them), and Tieout learns of it as it always does,
by webhook, by poll and by the sweep of ids. Each act is played once; a restart goes on with the next one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.db import close_old_connections
from django.db.models import QuerySet
from django.db.models.functions import Now

from integrations import wake
from integrations.demo import bills, firm, month, vendors
from integrations.demo.firm import Month
from integrations.demo.load import SECRETS, hand_in_workbook, of
from integrations.models import Stream
from integrations.sandbox.server import control
from portal.models import (
    AccountingPeriod,
    Heartbeat,
    Invoice,
    InvoiceDraft,
    LedgerState,
    LegalEntity,
    Payment,
    Project,
    State,
    User,
)
from portal.records import BillStatus
from reconciliation import certifying, invoicing, matching, pairing
from reconciliation.models import Certificate, MatchingRule, ReconciliationResult, ReconciliationRun

NAME = "demo story"
ENOUGH = 120  # posted entries that make a month
COMPARISONS = 10  # of the month that is signed, at most
DUTCH, DUTCH_SHARE, DUTCH_GIVEN_UP = "TUL-8100", Decimal("0.4"), Decimal("3.15")
RULE, RULE_CRITERIA = "A payment of what is left of one bill", ["customer", "amount"]
PATIENCE = 300.0  # seconds to wait for the month to be posted before the story goes on
EVENT = "APPROVAL_REQUEST_STATUS_UPDATED"
OPEN_ITEMS = "What is not posted has no rate yet; what is not invoiced is billed next month, by its day."
WEBHOOK = "66f000000000000000000001"


def play(demo_month: Month, sandbox: str, site: str, say: Callable[[str], None], *, pause: float = 2.0) -> None:
    """Play the acts that were not played yet. `site` is where Tieout answers, `pause` seconds lie between approvals."""
    for number, act in enumerate(ACTS, start=1):
        if number > _played():
            act(demo_month, sandbox, site, say, pause)
            Heartbeat.objects.update_or_create(name=NAME, defaults={"at": Now(), "detail": {"act": number}})


def _played() -> int:
    known = Heartbeat.objects.filter(name=NAME).values_list("detail", flat=True).first()
    return int((known or {}).get("act", 0))


def approvals_come_in(demo_month: Month, sandbox: str, site: str, say: Callable[[str], None], pause: float) -> None:
    """The British approver works through the last two weeks, and Clockify tells us of each approval by webhook."""
    control(sandbox, "POST", "clockify/seed", {"webhooks": [{
        "id": WEBHOOK, "name": "Tieout", "url": f"{site.rstrip('/')}/hooks/clockify-gb/", "webhookEvent": EVENT,
        "authToken": SECRETS["clockify_hook"], "workspaceId": vendors.CLOCKIFY_WORKSPACE,
    }]})  # fmt: skip
    weeks = vendors.weeks(of(month.worked(demo_month), "GB"))
    late = sorted(key for key in weeks if key[1] > demo_month.approved_until)
    for person, monday in late:
        approver = firm.person(firm.approver_of(person, "GB")).tracker
        _act(sandbox, "clockify", do="approve", ids=[vendors.approval_id(person, monday)], by=approver)
        time.sleep(pause)
    say(f"Demo: {len(late)} weeks were approved in Clockify, each told by webhook.")


def things_change(demo_month: Month, sandbox: str, site: str, say: Callable[[str], None], pause: float) -> None:
    """After posting: Adams shortens a day, Byrne's first week is withdrawn, and one of Rivera's entries is deleted."""
    del site, pause
    _wait_until_posted()
    rows = month.worked(demo_month)
    edited = next(item for item in rows if item.person == "adams")
    deleted = next(item for item in rows if item.person == "rivera")
    _act(
        sandbox,
        "harvest",
        do="edit",
        stream="time_entries",
        ids=[1_500_000_000 + edited.number],
        changes={"hours": 6.0},
    )
    _act(sandbox, "harvest", do="delete", stream="time_entries", ids=[1_500_000_000 + deleted.number])
    person, monday = min(key for key in vendors.weeks(of(rows, "GB")) if key[0] == "byrne")
    _act(sandbox, "clockify", do="withdraw", ids=[vendors.approval_id(person, monday)], by=firm.person("evans").tracker)
    for stream in Stream.objects.filter(connection__code="harvest-us", name="time_entries"):
        wake.up("sweep_ids", stream.pk)
    say("Demo: a posted entry was edited, a posted week withdrawn and a posted entry deleted at the source.")


def bills_are_written(demo_month: Month, sandbox: str, site: str, say: Callable[[str], None], pause: float) -> None:
    """The ERP's accountants bill what is posted of six projects."""
    del site, pause
    _wait_until_posted()
    written = [one for invoices in bills.invoices(demo_month).values() for one in invoices]
    _book(sandbox, [("invoice", one) for one in written])
    _wait_for(lambda: Invoice.objects.filter(connection__code="netsuite").count() >= len(written))
    say(f"Demo: the ERP wrote {len(written)} invoices over the posted hours of {len(bills.BILLED)} projects.")


def bills_change(demo_month: Month, sandbox: str, site: str, say: Callable[[str], None], pause: float) -> None:
    """A credit, a void with another bill, payments in part and over three invoices, a change and a deletion in the ERP."""
    del site, pause
    records = control(sandbox, "GET", "netsuite/inspect")["invoices"]
    written = {project: bills.held(records, project) for project in bills.BILLED}
    lines = bills.lines_of("ACM-2240")
    _book(sandbox, [
        ("creditMemo", bills.half_a_day_credited(demo_month, written["ACM-2213"][0])),
        ("invoice", bills.voided(written["ACM-2240"][0])),
        *bills.paid(written["THM-3301"], demo_month, Decimal("0.4")),
        *bills.paid(written["MRL-6100"], demo_month),
        ("invoice", bills.changed(written["NRD-5100"][0])),
    ])  # fmt: skip
    again = bills.invoice(demo_month, "ACM-2240", 0, lines, suffix="A")
    _book(sandbox, [("invoice", again)])
    _book(sandbox, bills.paid([again], demo_month))
    control(sandbox, "POST", "netsuite/seed", {"delete": [{"type": "invoice", "id": written["CRN-4100"][0]["id"]}]})
    _read_bills()
    say("Demo: one invoice was credited in part, one voided and billed again, five paid, one changed and one deleted.")


def the_dutch_bill(demo_month: Month, sandbox: str, site: str, say: Callable[[str], None], pause: float) -> None:
    """Tulip's month is proposed, released by its manager and approved by a controller; Business Central makes the draft."""
    del sandbox, site, pause
    _wait_until_posted()
    project = Project.objects.get(code=DUTCH)
    manager, controller = User.objects.get(username="pm"), User.objects.get(username="controller")
    for proposal in invoicing.prepare(project, demo_month.last, by=manager):
        read = invoicing.digest_of(invoicing.risks_of(proposal))
        released = invoicing.release(proposal, by=manager, seen=proposal.content_hash, accepts=read)
        read = invoicing.digest_of(invoicing.risks_of(released))
        invoicing.approve(released, by=controller, seen=released.content_hash, accepts=read)
    _wait_for(lambda: InvoiceDraft.objects.filter(proposal__project=project).exclude(bill_number="").exists())
    _read_bills(vendors.BC)
    _wait_for(lambda: _dutch_bills(BillStatus.DRAFT).exists())
    say(f"Demo: the invoice of {project.code} was approved, and is a draft in Business Central.")


def the_dutch_post(demo_month: Month, sandbox: str, site: str, say: Callable[[str], None], pause: float) -> None:
    """Their accountant posts the drafts; the Dutch account team reads in Salesforce that the bill is open."""
    del demo_month, site, pause
    drafts = [
        one for one in control(sandbox, "GET", "businesscentral/inspect")["sales_invoices"] if one["status"] == "Draft"
    ]
    control(sandbox, "POST", "businesscentral/seed", {
        "actions": [{"do": "post", "invoice": one["id"]} for one in drafts]
    })  # fmt: skip
    _read_bills(vendors.BC)
    _wait_for(lambda: _dutch_bills(BillStatus.OPEN).count() >= len(drafts))
    say(f"Demo: {len(drafts)} invoice was posted in Business Central.")


def the_dutch_are_paid(demo_month: Month, sandbox: str, site: str, say: Callable[[str], None], pause: float) -> None:
    """Tulip pays a part; its payment is read with the invoice that it is applied to, and Salesforce is told of both."""
    del demo_month, site, pause
    open_ones = [
        one for one in control(sandbox, "GET", "businesscentral/inspect")["sales_invoices"]
        if one["status"] == "Open" and one["remainingAmount"] == one["totalAmountIncludingTax"]
    ]  # fmt: skip
    control(sandbox, "POST", "businesscentral/seed", bills.paid_in_business_central(open_ones, DUTCH_SHARE))
    _read_bills(vendors.BC)
    _wait_for(lambda: _dutch_bills(BillStatus.PART_PAID).count() >= len(open_ones))
    say("Demo: a part of the Dutch invoice was paid, and Salesforce is told how it stands.")


def the_dutch_rest_is_given_up(
    demo_month: Month, sandbox: str, site: str, say: Callable[[str], None], pause: float
) -> None:
    """Tulip pays the rest but for a few euros, which Business Central gives up as payment tolerance: the bill is paid."""
    del demo_month, site, pause
    left = [
        one for one in control(sandbox, "GET", "businesscentral/inspect")["sales_invoices"] if one["status"] == "Open"
    ]
    control(sandbox, "POST", "businesscentral/seed", bills.rest_given_up(left, DUTCH_GIVEN_UP))
    _read_bills(vendors.BC)
    _wait_for(lambda: _dutch_bills(BillStatus.PAID).count() >= len(left))
    say(f"Demo: the rest of the Dutch invoice was paid but for {DUTCH_GIVEN_UP}, which were written off.")


def a_rule_suggests(demo_month: Month, sandbox: str, site: str, say: Callable[[str], None], pause: float) -> None:
    """Thames pays the rest and nobody applies it; a rule that two people agreed on suggests the bill that it is for."""
    del site, pause
    entity = LegalEntity.objects.get(code="GB")
    analyst, controller = User.objects.get(username="analyst"), User.objects.get(username="controller")
    rule = pairing.write(
        MatchingRule(entity=entity, leg=ReconciliationResult.Leg.INVOICE_PAYMENT, name=RULE, criteria=RULE_CRITERIA),
        analyst,
    )
    pairing.activate(pairing.test(rule, analyst), controller)
    [thames] = bills.held(control(sandbox, "GET", "netsuite/inspect")["invoices"], "THM-3301")
    payment = bills.paid_without_a_word(thames, demo_month)
    _book(sandbox, [("customerPayment", payment)])
    _wait_for(lambda: Payment.objects.filter(current__number=payment["tranId"]).exists())
    after = demo_month.last + timedelta(days=1)
    for period in AccountingPeriod.objects.filter(entity=entity, starts_on__in=[demo_month.first, after]):
        _compare(period, analyst)
    say("Demo: a payment came that settles nothing, and a matching rule suggests the bill that it is for.")


def _dutch_bills(status: BillStatus) -> QuerySet[Invoice]:
    return Invoice.objects.filter(connection__code=vendors.BC, current__status=status)


def singapore_is_certified(
    demo_month: Month, sandbox: str, site: str, say: Callable[[str], None], pause: float
) -> None:
    """Singapore's month is compared, its analyst names what is open and signs it, and its controller certifies it."""
    del sandbox, site, pause
    _wait_until_posted()
    period = AccountingPeriod.objects.select_related("entity").get(entity__code="SG", starts_on=demo_month.first)
    analyst, controller = User.objects.get(username="analyst"), User.objects.get(username="controller")
    for _ in range(COMPARISONS):  # what still comes in of the bills asks for another one
        try:
            certifying.certify(certifying.prepare(period, analyst, OPEN_ITEMS), controller)
        except certifying.NotCertifiable as refusal:
            why = refusal
            _compare(period, analyst)
        else:
            say(f"Demo: {period.entity} {period.code} was certified by two people.")
            return
    say(f"Demo: {period.entity} {period.code} was not certified. {why}")


def an_hour_changes(demo_month: Month, sandbox: str, site: str, say: Callable[[str], None], pause: float) -> None:
    """Wong takes two hours off a day that was certified, and her analyst hands the sheet in anew: the certificate drops."""
    del sandbox, site, pause
    is_certified = Certificate.objects.filter(
        period__entity__code="SG", period__starts_on=demo_month.first, state=Certificate.State.CERTIFIED
    ).exists()
    rows = of(month.worked(demo_month), "SG")
    place = next(number for number, item in enumerate(rows) if item.person == "wong")
    rows[place] = replace(rows[place], hours=rows[place].hours - 2)
    hand_in_workbook(rows)
    for source in Stream.objects.filter(connection__code="files-sg").values_list("connection", flat=True).distinct():
        wake.up("take_in", source)
    say(f"Demo: a day of Singapore's month was changed{', and its certificate drops' if is_certified else ''}.")


ACTS = (
    approvals_come_in,
    things_change,
    bills_are_written,
    bills_change,
    the_dutch_bill,
    the_dutch_post,
    the_dutch_are_paid,
    singapore_is_certified,
    an_hour_changes,
    the_dutch_rest_is_given_up,
    a_rule_suggests,
)


def _compare(period: AccountingPeriod, analyst: User) -> None:
    """Ask for a comparison, and wait until a worker has answered."""
    run = matching.request(period.entity, period, analyst)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        run.refresh_from_db()
        if run.state != ReconciliationRun.State.RUNNING:
            return
        close_old_connections()
        time.sleep(1)


def _book(sandbox: str, records: list[tuple[str, dict[str, Any]]]) -> None:
    told: dict[str, list[dict[str, Any]]] = {}
    for kind, record in records:
        told.setdefault(kind, []).append(record)
    control(sandbox, "POST", "netsuite/seed", {"records": told})
    _read_bills()


def _read_bills(erp: str = "netsuite") -> None:
    streams = Stream.objects.filter(connection__code=erp)
    streams.update(next_due_at=Now())
    for stream in streams:
        wake.up("pull", stream.pk)


def _act(sandbox: str, vendor: str, **action: Any) -> None:
    control(sandbox, "POST", f"{vendor}/seed", {"actions": [action]})


def _wait_for(happened: Callable[[], bool]) -> None:
    """Until something was seen to happen, or patience is over."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and not happened():
        close_old_connections()
        time.sleep(0.5)


def _wait_until_posted() -> None:
    """Until nothing is on its way any more, or patience is over."""
    deadline = time.monotonic() + PATIENCE
    busy = [State.READY, State.SENDING, State.IN_DOUBT, State.ACCEPTED]
    while time.monotonic() < deadline:
        posted = LedgerState.objects.filter(state=State.POSTED).count()
        if posted >= ENOUGH and not LedgerState.objects.filter(state__in=busy).exists():
            return
        close_old_connections()
        time.sleep(2)
