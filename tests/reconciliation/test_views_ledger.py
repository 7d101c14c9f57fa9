"""The ledger's list and the page of one entry: figures explained, proof, evidence and who may read it; and the search."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from portal import sql
from portal.models import Attempt, AttemptLine, AuditEvent, GrantRole, LedgerEntry, LedgerState, ReadBack, State
from portal.records import SourceStatus
from reconciliation.models import ExceptionCase, HandBack
from tests import world
from tests.reconciliation import desk
from tests.reconciliation.firm import Firm, build, document_of, post

pytestmark = pytest.mark.django_db


@pytest.fixture
def firm() -> Firm:
    """The firm."""
    return build()


@pytest.fixture
def fay(client: Client, firm: Firm) -> Client:
    """A browser in which a finance analyst of the firm is signed in."""
    client.force_login(desk.analyst(firm))
    return client


def page(client: Client, address: str, status: int = 200) -> str:
    response = client.get(address)
    assert response.status_code == status, response.content[:500]
    return response.content.decode()


def entry_page(client: Client, entry_id: int, status: int = 200) -> str:
    return page(client, reverse("entry", args=[entry_id]), status)


def attempt_of(entry_id: int, **more: Any) -> Attempt:
    """One call to the target on behalf of an entry, with what went over the wire."""
    exchange = {
        "method": "PUT",
        "url": "https://target.example/record/v1/timeBill/eid:1",
        "request_headers": {"Authorization": "[redacted]"},
        "request_body": '{"hours": 8.00}',
        "status": 204,
        "response_headers": {"location": "…/5001"},
        "response_body": "",
        "duration_ms": 412,
    }
    entry = LedgerEntry.objects.get(pk=entry_id)
    attempt = Attempt.objects.create(
        connection_id=entry.target_id, purpose="push", worker="w1", started_at=sql.now(), ended_at=sql.now(),
        outcome="accepted", http_status=204, duration_ms=412, exchanges=[exchange], **more,
    )  # fmt: skip
    AttemptLine.objects.create(attempt=attempt, entry=entry, fence=2, outcome="accepted")
    return attempt


# The list


def test_the_list_totals_the_filter_in_its_currency_and_links_each_entry(fay: Client, firm: Firm) -> None:
    ids = desk.ready(firm, 3)
    text = page(fay, reverse("ledger"))
    assert "2,880.00" in text
    assert "24.00" in text
    assert reverse("entry", args=[ids[0]]) in text
    assert "Ana Consultant on ACM-1" in text
    post(ids[:1])
    posted = page(fay, reverse("ledger") + "?tab=posted")
    assert "960.00" in posted
    assert "2,880.00" not in posted


def test_what_an_entry_waits_for_is_said_in_words(fay: Client, firm: Firm) -> None:
    ids = desk.ready(firm, 1)
    LedgerState.objects.filter(entry__in=ids).update(waits_on="maintenance")
    assert "waits for the end of the maintenance window" in page(fay, reverse("ledger"))
    assert "Ready, and waits for the end of the maintenance window." in entry_page(fay, ids[0])


# One entry


def test_every_amount_opens_as_hours_times_rate_with_the_version_of_the_rate(fay: Client, firm: Firm) -> None:
    (entry_id,) = firm.admit(firm.time("7", hours=Decimal("7.333"))).ready
    text = entry_page(fay, entry_id)
    assert "7.333 h, as approved at source" in text
    assert "120.00 USD an hour, rate card ACME-2026 v3, valid from 1 Jan 2026" in text
    assert "7.333 × 120.00 = 879.96 USD, no rounding needed" in text  # noqa: RUF001


def test_rounding_is_told_where_it_happened(fay: Client, firm: Firm) -> None:
    firm.rate.amount = Decimal("119.99")
    firm.rate.save()
    (entry_id,) = firm.admit(firm.time("7", hours=Decimal("7.333"), rate=None)).ready
    assert "7.333 × 119.99 = 879.88667, rounded half up to 879.89 USD" in entry_page(fay, entry_id)  # noqa: RUF001


def test_a_missing_rate_is_unknown_and_never_zero(fay: Client, firm: Firm) -> None:
    held = desk.mistyped(firm, 1)
    text = entry_page(fay, held[0])
    assert "a missing rate is never taken for zero" in text
    assert "no amount" in text


def test_the_four_proofs_light_one_after_the_other(fay: Client, firm: Firm) -> None:
    fresh, accepted, posted = desk.ready(firm, 3)
    post([accepted], State.ACCEPTED)
    post([posted])

    def lit(entry_id: int) -> int:
        proofs = entry_page(fay, entry_id).split('<ol class="lamps upright">')[1].split("</ol>")[0]
        return proofs.count('class="lamp lit"')

    assert [lit(fresh), lit(accepted), lit(posted)] == [0, 2, 4]


def test_a_target_that_holds_something_else_breaks_the_proof_and_says_what(fay: Client, firm: Firm) -> None:
    (posted,) = desk.ready(firm, 1)
    post([posted])
    ReadBack.objects.create(
        entry_id=posted, at=sql.now(), is_equal=False, found={"hours": "8.5"}, differences={"hours": ["8", "8.5"]}
    )
    text = entry_page(fay, posted)
    assert "No longer equal" in text
    assert "8.00 h was sent, Netsuite-Us holds 8.50 h." in text
    assert "The target holds something else" in text


def test_in_doubt_offers_a_look_up_with_its_time_and_never_a_second_sending(fay: Client, firm: Firm) -> None:
    (doubtful,) = desk.ready(firm, 1)
    post([doubtful], State.IN_DOUBT)
    LedgerState.objects.filter(entry=doubtful).update(next_attempt_at=sql.now() + timedelta(minutes=5), look_ups=2)
    text = entry_page(fay, doubtful)
    assert "We do not know whether Netsuite-Us booked this." in text
    banner = text.split('id="doubt"')[1].split("</div>")[0]
    assert "Looking it up" in banner
    assert "(3 of 3). Re-post is disabled until then." in banner
    assert "in 4 min" in banner
    acts = text.split('<div class="acts">')[1]
    assert reverse("fix_entry", args=[doubtful, "check-in-target"]) in acts
    assert reverse("fix_entry", args=[doubtful, "re-post"]) not in text
    assert "a second posting might book it twice. It is looked up instead." in acts


def test_versions_stand_side_by_side_and_differences_are_marked(fay: Client, firm: Firm) -> None:
    firm.admit(firm.time("9"))
    firm.admit(firm.time("9", hours=Decimal("6.50")))
    entry = LedgerEntry.objects.filter(document=document_of("9")).latest("version")
    text = entry_page(fay, entry.pk)
    assert "Version 1" in text
    assert "Version 2 · this entry" in text
    assert "<ins>6.50</ins>" in text
    assert "The same document" in text


def test_a_withdrawn_entry_and_its_reasons_stay_readable(fay: Client, firm: Firm) -> None:
    (entry_id,) = firm.admit(firm.time("9")).ready
    firm.admit(firm.time("9", status=SourceStatus.WITHDRAWN))
    text = entry_page(fay, entry_id)
    assert "Cancelled" in text
    assert "withdrawn" in text


def test_a_hand_back_that_waits_is_told(fay: Client, firm: Firm) -> None:
    held = desk.mistyped(firm, 1)
    HandBack.objects.create(
        entry_id=held[0], by=desk.analyst(firm, "gil"), at=sql.now(), message="Which project was this?"
    )
    text = entry_page(fay, held[0])
    assert "Handed back to the source by gil" in text
    assert "Harvest takes no message" in text
    cause = page(fay, reverse("cause", args=[ExceptionCase.objects.get().pk]))
    assert "1 entry handed back to the source by gil" in cause
    assert "Which project was this?" in cause


@pytest.mark.parametrize(
    ("connector", "says"), [("harvest", "Harvest takes no message"), ("clockify", "a whole period")]
)
def test_who_hands_back_is_told_beforehand_that_no_message_reaches_the_source(
    fay: Client, firm: Firm, connector: str, says: str
) -> None:
    firm.source.connector = connector
    firm.source.save()
    desk.mistyped(firm, 2)
    case = ExceptionCase.objects.get()
    text = page(fay, reverse("fix", args=[case.pk, "hand-back"]))
    assert says in text
    assert "Tell the person another way; the message is kept here." in text
    assert "Tell the person another way" not in page(fay, reverse("fix", args=[case.pk, "recheck"]))


def test_what_went_over_the_wire_is_read_by_those_who_may_and_leaves_a_trace(client: Client, firm: Firm) -> None:
    (posted,) = desk.ready(firm, 1)
    post([posted])
    address = reverse("entry_attempt", args=[posted, attempt_of(posted).pk])
    client.force_login(world.user("pam", GrantRole.PROJECT_MANAGER, firm.entity))
    page(client, address, 403)
    assert address not in entry_page(client, posted)
    assert not AuditEvent.objects.filter(action="payload.read").exists()
    client.force_login(world.user("aud", GrantRole.AUDITOR, firm.entity))
    assert address in entry_page(client, posted)
    text = page(client, address)
    assert "Authorization: [redacted]" in text
    assert "&quot;hours&quot;: 8.00" in text
    assert AuditEvent.objects.get(action="payload.read").actor_name == "aud"


def test_a_call_that_carried_entries_of_another_entity_is_not_shown(fay: Client, firm: Firm) -> None:
    other = build_other(firm)
    (mine,) = desk.ready(firm, 1)
    attempt = attempt_of(mine)
    AttemptLine.objects.create(attempt=attempt, entry_id=other, fence=2, outcome="accepted")
    page(fay, reverse("entry_attempt", args=[mine, attempt.pk]), 403)


def build_other(firm: Firm) -> int:
    """An entry of an entity that the analyst holds no grant in; its id."""
    (entry_id,) = desk.ready(firm, 1, start=8000)
    entity = world.entity("GB", "GBP")
    LedgerEntry.objects.filter(pk=entry_id).update(entity=entity)
    LedgerState.objects.filter(entry=entry_id).update(entity=entity)
    return entry_id


def test_another_entitys_entry_is_not_found_by_page_fix_or_search(fay: Client, firm: Firm) -> None:
    other = build_other(firm)
    entry_page(fay, other, 404)
    page(fay, reverse("fix_entry", args=[other, "recheck"]), 404)
    assert "8000" not in page(fay, "/search/?q=8000").split("</h1>")[1]
    assert fay.get("/search/", {"q": str(other)}).status_code == 200


def test_a_page_costs_the_same_whatever_has_happened_to_the_entry(fay: Client, firm: Firm) -> None:
    plain, busy = desk.ready(firm, 2)
    post([plain])
    post([busy])
    for _ in range(20):
        attempt_of(busy)
        ReadBack.objects.create(entry_id=busy, at=sql.now(), is_equal=True)
    attempt_of(plain)
    counts = []
    for entry_id in (plain, plain, busy):
        with CaptureQueriesContext(connection) as counted:
            entry_page(fay, entry_id)
        counts.append(len(counted))
    assert counts[2] <= counts[1]


# Search


def test_an_exact_id_leads_straight_to_the_entry(fay: Client, firm: Firm) -> None:
    (posted,) = desk.ready(firm, 1, start=424242)
    post([posted])
    entry = LedgerEntry.objects.get(pk=posted)
    for words in ("424242", f"N{posted}", str(entry.idempotency_key), entry.idempotency_key.hex):
        response = fay.get("/search/", {"q": words})
        assert response.status_code == 302, words
        assert response["Location"] == reverse("entry", args=[posted])


def test_a_record_without_an_entry_is_found_with_the_reason(fay: Client, firm: Firm) -> None:
    firm.source.cut_over_on = date(2026, 11, 1)
    firm.source.save()
    firm.admit(firm.time("77123"))
    assert "Worked before 1 Nov 2026, the cut-over of Harvest-Us: history, not posted." in page(fay, "/search/?q=77123")
    fay.force_login(world.user("gus", GrantRole.ANALYST, world.entity("GB", "GBP")))
    assert "Worked before" not in page(fay, "/search/?q=77123")


def test_a_case_number_leads_to_its_cause(fay: Client, firm: Firm) -> None:
    desk.mistyped(firm, 1)
    found = ExceptionCase.objects.get()
    assert fay.get("/search/", {"q": f"ex-{found.pk}"})["Location"] == reverse("cause", args=[found.pk])


def test_a_code_or_name_lists_what_it_may_mean(fay: Client, firm: Firm) -> None:
    text = page(fay, "/search/?q=acm")
    assert "ACM-1 · Acm-1" in text
    assert "/ledger/?project=ACM-1" in text
    assert "ACME · Acme Inc." in text
    assert "Ana Consultant" in page(fay, "/search/?q=consultant")


def test_whatever_is_typed_is_answered(fay: Client) -> None:
    for words in ("", "   ", "%", "9" * 400, "\x00", "<script>alert(1)</script>", "ex-", "🦊"):
        response = fay.get("/search/", {"q": words})
        assert response.status_code == (400 if "\x00" in words else 200), words
        assert "<script>alert(1)" not in response.content.decode()
