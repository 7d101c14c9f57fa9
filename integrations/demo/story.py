"""What happens in the demo firm after its month was taken in: late approvals, changes after posting, and its bills.

The rule here: people act in their own tools (the sandbox's control plane plays them), and Tieout learns of it as it always does,
by webhook, by poll and by the sweep of ids. Each act is played once; a restart goes on with the next one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from django.db import close_old_connections
from django.db.models.functions import Now

from integrations import wake
from integrations.demo import bills, firm, month, vendors
from integrations.demo.firm import Month
from integrations.demo.load import SECRETS, of
from integrations.models import Stream
from integrations.sandbox.server import control
from portal.models import Heartbeat, Invoice, LedgerState, State

NAME = "demo story"
ENOUGH = 120  # posted entries that make a month
PATIENCE = 300.0  # seconds to wait for the month to be posted before the story goes on
EVENT = "APPROVAL_REQUEST_STATUS_UPDATED"
WEBHOOK = "66f000000000000000000001"


def play(demo_month: Month, sandbox: str, site: str, say: Callable[[str], None], *, pause: float = 2.0) -> None:
    """Play the acts that were not played yet. `site` is where Tieout answers, `pause` seconds lie between approvals."""
    for number, act in enumerate((approvals_come_in, things_change, bills_are_written, bills_change), start=1):
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
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and Invoice.objects.filter(connection__code="netsuite").count() < len(written):
        close_old_connections()
        time.sleep(0.5)
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
    _book(sandbox, [("invoice", bills.invoice(demo_month, "ACM-2240", 0, lines, suffix="A"))])
    control(sandbox, "POST", "netsuite/seed", {"delete": [{"type": "invoice", "id": written["CRN-4100"][0]["id"]}]})
    _read_bills()
    say("Demo: one invoice was credited in part, one voided and billed again, four paid, one changed and one deleted.")


def _book(sandbox: str, records: list[tuple[str, dict[str, Any]]]) -> None:
    told: dict[str, list[dict[str, Any]]] = {}
    for kind, record in records:
        told.setdefault(kind, []).append(record)
    control(sandbox, "POST", "netsuite/seed", {"records": told})
    _read_bills()


def _read_bills() -> None:
    streams = Stream.objects.filter(connection__code="netsuite")
    streams.update(next_due_at=Now())
    for stream in streams:
        wake.up("pull", stream.pk)


def _act(sandbox: str, vendor: str, **action: Any) -> None:
    control(sandbox, "POST", f"{vendor}/seed", {"actions": [action]})


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
