"""The page of one entry: the line from its source, four views of it, what may be done and why not, and the doubt."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from integrations import registry, thread
from integrations.models import InboxMessage
from integrations.protocol import Capabilities
from portal import sql
from portal.history import bulk_update_with_reason
from portal.models import (
    Allocation,
    Contract,
    Crosswalk,
    Document,
    GrantRole,
    LedgerEntry,
    LedgerState,
    Notification,
    Project,
    ReadBack,
    State,
)
from portal.records import BillKind, BillStatus, Reference
from reconciliation import corrections
from reconciliation.models import EntryComment, ExceptionCase
from reconciliation.tables import title_of
from tests import world
from tests.bills import Erp, allocate, bill, line_of
from tests.integrations.memory_target import BOOKS, Books
from tests.reconciliation import desk
from tests.reconciliation.firm import Firm, build, document_of, hold, key, post
from tests.reconciliation.test_views_ledger import attempt_of, build_other

pytestmark = pytest.mark.django_db


@pytest.fixture
def firm(monkeypatch: pytest.MonkeyPatch) -> Firm:
    """The firm, whose target keeps the protocol in memory."""
    monkeypatch.setitem(registry.CONNECTORS, "memory", "tests.integrations.memory_target.MemoryTarget")
    made = build()
    Crosswalk.objects.filter(system=made.target.connector).update(system="memory")
    made.target.connector, made.target.name, made.source.name = "memory", "NetSuite", "Harvest"
    made.target.save()
    made.source.save()
    BOOKS[made.target.code] = Books()
    return made


@pytest.fixture
def fay(client: Client, firm: Firm) -> Client:
    """A browser in which a finance analyst of the firm is signed in."""
    client.force_login(desk.analyst(firm))
    return client


def page(client: Client, entry_id: int, status: int = 200) -> str:
    response = client.get(reverse("entry", args=[entry_id]))
    assert response.status_code == status, response.content[:500]
    return response.content.decode()


def part(text: str, start: str, end: str = "</section>") -> str:
    """A piece of a page."""
    return text.split(start, 1)[1].split(end, 1)[0]


def read_back(entry_id: int, *, differs: dict[str, list[str]] | None = None, **held: str) -> None:
    """What the target holds of a posted entry."""
    entry = LedgerEntry.objects.get(pk=entry_id)
    found = {"number": f"N{entry_id}", "work_date": entry.post_on.isoformat(), **entry.target_keys, **held}
    ReadBack.objects.create(
        entry_id=entry_id, at=sql.now(), is_equal=not differs, found=found, differences=differs or {}
    )


# The line from the source to the books


def test_the_line_shows_each_station_and_names_the_gap(fay: Client, firm: Firm) -> None:
    held = desk.mistyped(firm, 1)[0]
    ready, sending, doubtful, refused, accepted, posted = desk.ready(firm, 6)
    post([sending], State.SENDING)
    post([doubtful], State.IN_DOUBT)
    post([refused], State.REJECTED)
    post([accepted], State.ACCEPTED)
    post([posted])
    for entry_id, gaps in {
        held: (f"Held: {title_of('project-unknown')}", "none: it is held and is not sent"),
        ready: ("none yet: it waits for its turn to be sent",),
        sending: ("being sent now",),
        doubtful: ("not known: it was sent and no answer came",),
        refused: ("refused: no",),
        accepted: (f"NetSuite N{accepted}", "not read back yet, so not proved"),
        posted: ("by Pat Manager", "equal to what was sent"),
    }.items():
        line = part(page(fay, entry_id), '<ol class="line">', "</ol>")
        for words in gaps:
            assert words in line, (entry_id, words, line)
        assert line.count("<li") == 6


def test_an_hour_that_is_on_no_bill_says_why(fay: Client, firm: Firm) -> None:
    (posted,) = desk.ready(firm, 1)
    assert "none: it is on its way to" in part(page(fay, posted), '<ol class="line">', "</ol>")
    post([posted])
    line = part(page(fay, posted), '<ol class="line">', "</ol>")
    assert "none: it is posted and ready" in line
    assert "Payment" not in line


def test_the_line_goes_on_to_the_bill_its_credit_and_its_payment(fay: Client, firm: Firm) -> None:
    key(firm.target, "customer", firm.customer.pk, "C1")
    (posted,) = desk.ready(firm, 1)
    post([posted])
    erp = Erp(firm)
    erp.says(erp.bill("501", line_of(posted)))
    line = part(page(fay, posted), '<ol class="line">', "</ol>")
    assert "INV-501: 8.00 h, 960.00 USD" in line
    assert "none yet of 960.00 USD, due 30 Nov 2026" in line
    allocation = Allocation.objects.get()
    credit = bill(firm, "601", BillKind.CREDIT_NOTE)
    allocate(credit, posted, "-3", "-360.00", takes_back=allocation)
    erp.says(erp.bill("501", line_of(posted), status=BillStatus.PART_PAID), erp.payment("9", "500", ("501", "500")))
    line = part(page(fay, posted), '<ol class="line">', "</ol>")
    assert "INV-601 gave back 3.00 h, 360.00 USD" in line
    assert "500.00 of 960.00 USD paid" in line
    assert f"/bills/{allocation.line.version.invoice_id}/" in line


@pytest.mark.parametrize("known_as", ["INV-501", "501", "PAY-9", "9"])
def test_a_bill_or_a_payment_leads_to_its_hours_and_the_search_box_to_itself(
    fay: Client, firm: Firm, known_as: str
) -> None:
    key(firm.target, "customer", firm.customer.pk, "C1")
    (posted,) = desk.ready(firm, 1)
    post([posted])
    erp = Erp(firm)
    erp.says(erp.bill("501", line_of(posted)), erp.payment("9", "960", ("501", "960")))
    assert [document.pk for document in thread.find(known_as)] == [LedgerEntry.objects.get(pk=posted).document_id]
    answer = fay.get("/search/", {"q": known_as})
    where = "/payments/" if "9" in known_as else "/bills/"
    assert (answer.status_code == 302 and answer["Location"].startswith(where)) or where in answer.content.decode()


def test_a_reversed_entry_leads_to_what_took_it_back(fay: Client, firm: Firm) -> None:
    (posted,) = desk.ready(firm, 1)
    post([posted])
    corrections.reverse([posted], by=desk.analyst(firm, "gil"), reason="wrong project")
    reversal = LedgerEntry.objects.get(reverses=posted)
    before = page(fay, posted)
    assert f"by entry {reversal.pk}, ready" in before
    assert f"It is being taken back by entry {reversal.pk}." in before
    post([reversal.pk])
    corrections.settle([reversal.pk])
    after = page(fay, posted)
    assert f"by entry {reversal.pk}, posted" in part(after, '<ol class="line">', "</ol>")
    assert "It was taken back already." in after
    assert f"It is a reversal itself, of entry {posted}." in page(fay, reversal.pk)


# Four views of one entry


def test_what_the_source_says_now_stands_beside_what_the_erp_holds(fay: Client, firm: Firm) -> None:
    (posted,) = firm.admit(firm.time("1", hours=Decimal("7.00"))).ready
    post([posted])
    read_back(posted, hours="7", rate="120")
    firm.admit(firm.time("1", hours=Decimal("7.50")))
    text = page(fay, posted)
    assert "Harvest says 7.50 h, NetSuite holds 7.00 h: version 2 came after this entry&#x27;s version 1." in text


def test_what_the_target_holds_otherwise_is_said_with_both_figures(fay: Client, firm: Firm) -> None:
    (accepted,) = desk.ready(firm, 1)
    post([accepted], State.ACCEPTED)
    read_back(accepted, hours="7", differs={"hours": ["8", "7"]})
    text = part(page(fay, accepted), 'id="comparison"')
    assert "8.00 h was sent, NetSuite holds 7.00 h." in text
    assert "The target holds something else" in text


def test_a_corrected_code_and_rate_are_explained(fay: Client, firm: Firm) -> None:
    firm.policy(rate_tolerance="20")
    (entry_id,) = firm.admit(firm.time("1", rate=Decimal("110.00"))).ready
    text = page(fay, entry_id)
    assert (
        "Harvest says 110.00 USD per h, the ledger books 120.00 USD per h, as agreed in rate card ACME-2026 v3." in text
    )


def test_what_was_cut_from_a_text_is_visible(fay: Client, firm: Firm) -> None:
    firm.policy(memo_forbidden="#")
    (entry_id,) = firm.admit(firm.time("1", description="Ticket #42 <script>alert(1)</script>\x07")).ready
    text = part(page(fay, entry_id), 'id="comparison"')
    assert "The text was made acceptable to NetSuite; what went and what came is marked." in text
    assert "<del>#</del>" in text
    assert "<del>U+0007</del>" in text
    assert "<script>alert" not in text


def test_what_nobody_states_is_a_dash_and_no_difference(fay: Client, firm: Firm) -> None:
    (posted,) = firm.admit(firm.time("1", rate=None)).ready
    post([posted])
    text = part(page(fay, posted), 'id="comparison"')
    assert "Nothing differs" in text
    assert "nothing was read back" not in text
    assert "Amount" in text


def test_an_expense_is_compared_by_its_own_fields(fay: Client, firm: Firm) -> None:
    (entry_id,) = firm.admit(firm.expense("x1")).ready
    text = part(page(fay, entry_id), 'id="comparison"')
    assert "Nothing differs so far; nothing was read back" in text
    assert "119.00" in text
    assert "receipts/1.pdf" in text
    assert "Hours" not in text


# What may be done


def test_what_cannot_be_done_says_why(fay: Client, firm: Firm) -> None:
    ready, posted, refused = desk.ready(firm, 3)
    post([posted])
    post([refused], State.REJECTED)
    for entry_id, offered, reasons in (
        (ready, set(), ("It is posted by itself.", "Nothing of it is booked that could be taken back.")),
        (posted, {"reverse"}, ("It stands in the target.", "It was read back equal")),
        (refused, {"re-post"}, ("The target refused it and holds nothing of it.",)),
    ):
        acts = part(page(fay, entry_id), '<div class="acts">', "</dl>")
        for code in offered:
            assert reverse("fix_entry", args=[entry_id, code]) in acts
        for reason in reasons:
            assert reason in acts, (entry_id, reason)


def test_who_may_not_act_reads_whom_to_ask(client: Client, firm: Firm) -> None:
    (posted,) = desk.ready(firm, 1)
    post([posted])
    client.force_login(world.user("aud", GrantRole.AUDITOR, firm.entity))
    text = page(client, posted)
    assert "This is for: controller, finance analyst." in text
    assert reverse("fix_entry", args=[posted, "reverse"]) not in text


def test_a_fix_leads_to_its_causes_drawer_with_this_entry_chosen(fay: Client, firm: Firm) -> None:
    held = desk.mistyped(firm, 2)[0]
    case_id = ExceptionCase.objects.get().pk
    text = page(fay, held)
    assert f"{reverse('fix', args=[case_id, 'map-code'])}?selected={held}" in text
    assert "Cause: nobody yet" in text
    assert f"Harvest says {desk.MISTYPED}, which is not known in the master data." in text


# In doubt


def doubt(firm: Firm, *, look_ups: int = 0, minutes: int = 5, **can: Any) -> int:
    """An entry in doubt whose next look-up is some minutes away."""
    BOOKS[firm.target.code].capabilities = Capabilities(**can)
    (entry_id,) = desk.ready(firm, 1)
    post([entry_id], State.IN_DOUBT)
    due = sql.now() + timedelta(minutes=minutes)
    LedgerState.objects.filter(entry=entry_id).update(next_attempt_at=due, look_ups=look_ups)
    return entry_id


@pytest.mark.case(57)
def test_in_doubt_the_banner_counts_the_look_ups_and_replaces_the_re_post(fay: Client, firm: Firm) -> None:
    entry_id = doubt(firm, look_ups=1)
    text = page(fay, entry_id)
    banner = part(text, 'id="doubt"', "</div>")
    assert "We do not know whether NetSuite booked this." in banner
    assert "(2 of 3). Re-post is disabled until then." in banner
    assert reverse("fix_entry", args=[entry_id, "check-in-target"]) in text
    assert reverse("fix_entry", args=[entry_id, "re-post"]) not in text


def test_when_the_planned_look_ups_are_over_the_banner_says_what_comes_next(fay: Client, firm: Firm) -> None:
    banner = part(page(fay, doubt(firm, look_ups=4, upstream_timeout=600.0)), 'id="doubt"', "</div>")
    assert "after 4 look-ups without an answer." in banner
    assert "after 30 min in doubt it is a cause on the queue" in banner
    assert "10 min after it was sent, it goes again with the same key." in banner


def test_a_target_that_cannot_be_asked_is_said_to_need_a_person(fay: Client, firm: Firm) -> None:
    entry_id = doubt(firm, find_by_key=False)
    text = page(fay, entry_id)
    assert "NetSuite cannot be asked by our key, so nobody looks it up by itself." in text
    assert "NetSuite cannot be asked by our key; settle it by hand." in text
    assert reverse("fix_entry", args=[entry_id, "check-in-target"]) not in text


def test_the_banner_keeps_its_place_and_speaks_only_of_what_is_new(fay: Client, firm: Firm) -> None:
    entry_id = doubt(firm)
    address = reverse("entry_doubt", args=[entry_id])
    first = part(page(fay, entry_id), 'id="doubt" hx-get="', '"').replace("&amp;", "&")
    assert first.startswith(f"{address}?mark=")
    headers = {"HX-Request": "true", "HX-Target": "doubt"}
    same = fay.get(first, headers=headers)
    assert same.status_code == 200
    assert "HX-Trigger" not in same
    assert 'id="doubt"' in same.content.decode()
    LedgerState.objects.filter(entry=entry_id).update(look_ups=1)
    new = fay.get(first, headers=headers)
    assert "(2 of 3)" in json.loads(new["HX-Trigger"])["tieout:say"]["text"]
    LedgerState.objects.filter(entry=entry_id).update(state=State.READY)
    over = fay.get(first, headers=headers)
    assert over.status_code == 286
    assert "known now: ready" in json.loads(over["HX-Trigger"])["tieout:say"]["text"]
    assert "hx-get" not in over.content.decode()
    assert "known now: ready" in fay.get(address).content.decode()  # and as a page of its own


# Evidence, and who reads it


def test_attempts_tell_number_outcome_status_time_and_external_id(fay: Client, firm: Firm) -> None:
    (posted,) = desk.ready(firm, 1)
    post([posted])
    attempt_of(posted)
    attempts = part(page(fay, posted), 'id="attempts"')
    for words in ("Accepted", "204", '412 <span class="unit">ms</span>', f"N{posted}", "Post"):
        assert words in attempts


def test_payloads_are_for_their_readers_alone(client: Client, firm: Firm) -> None:
    message = InboxMessage.objects.create(
        connection=firm.source, stream="time_entries", external_id="1", revision="1", payload={"note": "CANARY-7731"},
        state=InboxMessage.State.DONE, received_at=sql.now(),
    )  # fmt: skip
    from portal import canonical
    from reconciliation import validation

    taken = canonical.take_in(firm.source, [(message.pk, firm.time("1"))])
    (entry_id,) = validation.admit(taken.documents, actor="test").ready
    post([entry_id])
    attempt = attempt_of(entry_id)
    client.force_login(world.user("pam", GrantRole.PROJECT_MANAGER, firm.entity))
    text = page(client, entry_id)
    assert "CANARY-7731" not in text
    assert reverse("inbox_message", args=[message.pk]) not in text
    assert reverse("entry_attempt", args=[entry_id, attempt.pk]) not in text
    for role in (GrantRole.ANALYST, GrantRole.CONTROLLER, GrantRole.ADMIN, GrantRole.AUDITOR):
        client.force_login(world.user(f"who-{role}", role, firm.entity))
        assert "CANARY-7731" in page(client, entry_id), role


def test_nothing_of_another_entitys_entry_is_found(fay: Client, firm: Firm) -> None:
    other = build_other(firm)
    for name in ("entry", "entry_doubt"):
        assert fay.get(reverse(name, args=[other])).status_code == 404


def test_history_tells_holds_fixes_and_the_master_data_that_moved(fay: Client, firm: Firm) -> None:
    held = desk.mistyped(firm, 1)[0]
    firm.project.name = "Acme roll-out phase 9"
    bulk_update_with_reason(Project, [firm.project], ["name"], reason="renamed by the client")
    (posted,) = desk.ready(firm, 1)
    Document.objects.filter(entries=posted).update(created_at=timezone.now())
    firm.contract.name = "Acme group"
    bulk_update_with_reason(Contract, [firm.contract], ["name"], reason="merged into the group", at=timezone.now())
    history = part(page(fay, posted), 'id="history"')
    assert "Contract ACME-2026 changed: merged into the group" in history
    assert "renamed by the client" not in history  # before this document was taken in
    case = hold(held, "project-unknown").case
    text = part(page(fay, held), 'id="history"')
    assert reverse("cause", args=[case.pk]) in text


def test_the_terminal_says_what_the_page_says(fay: Client, firm: Firm, capsys: pytest.CaptureFixture[str]) -> None:
    (posted,) = firm.admit(firm.time("1", hours=Decimal("7.00"))).ready
    post([posted])
    read_back(posted, hours="7", rate="120")
    firm.admit(firm.time("1", hours=Decimal("7.50")))
    doubtful = doubt(firm, look_ups=1)
    call_command("explain", "1")
    call_command("explain", str(doubtful))
    said = capsys.readouterr().out
    for entry_id in (posted, doubtful):
        entry = LedgerEntry.objects.get(pk=entry_id)
        told = thread.of(entry.document)
        mine = next(one for one in told.entries if one.entry.pk == entry_id)
        shown = page(fay, entry_id)
        words = [station.words for station in thread.lineage(told, mine)]
        words += [how for _, how in thread.explained(mine.entry, mine.settled_at)]
        words += thread.side_by_side(told, mine).sentences
        for sentence in words:
            assert sentence in said, sentence
            assert sentence.replace("'", "&#x27;") in shown, sentence
    assert "Re-post is disabled until then." in said


def test_the_page_costs_the_same_whatever_happened(fay: Client, firm: Firm) -> None:
    plain, busy = desk.ready(firm, 2)
    post([plain])
    post([busy])
    attempt_of(plain)
    for _ in range(15):
        attempt_of(busy)
        read_back(busy, hours="8")
    counts = []
    for entry_id in (plain, plain, busy):
        with CaptureQueriesContext(connection) as counted:
            page(fay, entry_id)
        counts.append(len(counted))
    assert counts[2] <= counts[1] + 1  # the contract as it was is one query, and so is what was sent


def test_a_split_amount_names_the_limit_it_was_split_at(fay: Client, firm: Firm) -> None:
    firm.contract.cap_amount = Decimal("600.00")
    firm.contract.save()
    firm.policy(split_at_cap=True)
    admitted = firm.admit(firm.time("1", project=Reference("", "ACM-1", "")))
    (below,) = admitted.ready
    (beyond,) = admitted.held
    text = part(page(fay, below), 'id="amount"')
    assert "split at the not-to-exceed amount of 600.00 USD (contract ACME-2026, as written on" in text
    assert "this is the part within it (part 1)" in text
    assert "this is the part beyond it (part 2)" in page(fay, beyond)
    assert "it was split at a limit." in part(page(fay, below), 'id="comparison"')


def test_a_rate_per_day_shows_the_unit_it_was_divided_by(fay: Client, firm: Firm) -> None:
    firm.rate.unit, firm.rate.amount = "day", Decimal("960.00")
    firm.rate.save()
    (entry_id,) = firm.admit(firm.time("1", rate=None)).ready
    text = part(page(fay, entry_id), 'id="amount"')
    assert "agreed as 960.00 a day" in text
    assert "one day is 8.00 h (contract ACME-2026, as written on" in text
    assert document_of("1").current_version == 1


# Comments


def test_a_comment_stays_and_tells_whom_it_names(fay: Client, firm: Firm) -> None:
    (entry_id,) = desk.ready(firm, 1)
    gil = desk.analyst(firm, "gil")
    world.user("eve", GrantRole.ANALYST, world.entity("GB", "GBP"))
    address = reverse("entry_comment", args=[entry_id])
    answer = fay.post(address, {"text": "  <b>Wrong</b> project? @gil @eve please look  "})
    assert (answer.status_code, answer["Location"]) == (303, f"{reverse('entry', args=[entry_id])}#comments")
    text = part(page(fay, entry_id), 'id="comments"')
    assert "&lt;b&gt;Wrong&lt;/b&gt; project? @gil @eve please look" in text
    comment = EntryComment.objects.get()
    assert comment.mentions == ["gil"]  # eve may not read the entry
    told = Notification.objects.get()
    assert (told.person, told.url) == (gil, f"{reverse('entry', args=[entry_id])}#comments")
    for change in ("UPDATE reconciliation_entrycomment SET text = 'x'", "DELETE FROM reconciliation_entrycomment"):
        with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(change)


def test_a_comment_takes_words_and_a_role_in_the_entity(fay: Client, client: Client, firm: Firm) -> None:
    (entry_id,) = desk.ready(firm, 1)
    address = reverse("entry_comment", args=[entry_id])
    refused = fay.post(address, {"text": "   "})
    assert (refused.status_code, "Write something." in refused.content.decode()) == (422, True)
    assert fay.post(reverse("entry_comment", args=[build_other(firm)]), {"text": "x"}).status_code == 404
    client.force_login(world.user("aud", GrantRole.AUDITOR, firm.entity))
    assert client.post(address, {"text": "x"}).status_code == 403
    assert address not in page(client, entry_id)
    assert not EntryComment.objects.exists()
