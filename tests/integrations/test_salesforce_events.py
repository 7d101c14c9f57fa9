"""Change events and platform events of Salesforce over real HTTP: hints, heard by turns, each named once and none believed."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from integrations.errors import Malformed, Rejected, Unauthorised, Unavailable
from integrations.http import recording
from integrations.protocol import Page
from integrations.sandbox.server import control
from tests.integrations.contract import assert_no_secret
from tests.integrations.hinted_contract import HintedContract
from tests.integrations.test_salesforce import SEED, Org, account_row, opportunity

ACCOUNTS, DEALS, EVERYTHING, MOVED = (
    "/data/AccountChangeEvent", "/data/OpportunityChangeEvent", "/data/ChangeEvents", "/event/Deal_Moved__e",
)  # fmt: skip
ACME, DEAL = account_row(1)["Id"], opportunity(1)["Id"]


@pytest.fixture
def org(sandbox: str) -> Org:
    control(sandbox, "POST", "salesforce/reset", {})
    control(sandbox, "DELETE", "faults")
    control(sandbox, "POST", "salesforce/seed", {**SEED, "channels": [ACCOUNTS, DEALS, EVERYTHING, MOVED]})
    found = Org(sandbox)
    found.having(channels={ACCOUNTS: "changes", DEALS: "changes"}, listen_seconds=0.2)
    return found


class TestContract(HintedContract):
    call = {"method": "POST", "path": "/cometd"}

    @pytest.fixture(autouse=True)
    def _org(self, org: Org) -> None:
        self.org, self.bench = org, org.bench
        self.moved = 0

    def move(self) -> tuple[str, str]:
        self.moved += 1
        if self.moved % 2:
            self.org.act("edit", object="Account", ids=[ACME], changes={"Name": f"Acme {self.moved}"})
            return "customers", ACME
        self.org.act("delete", object="Opportunity", ids=[DEAL])
        return "projects", DEAL

    def forget(self) -> None:
        self.org.configure(events_expire=True)


def turn(org: Org) -> list[Page]:
    pages = list(org.connector.pull("hints", org.cursors.get("hints")))
    org.cursors["hints"] = pages[-1].cursor
    return pages


def named(pages: list[Page]) -> list[tuple[str, str]]:
    return [(hint.stream, hint.external_id) for page in pages for hint in page.hints]


def again(pages: list[Page]) -> set[str]:
    return {name for page in pages for name in page.again}


def edit(org: Org, *ids: str, name: str = "Account") -> None:
    org.act("edit", object=name, ids=list(ids), changes={"Name": "Other"})


def change(org: Org, channel: str = ACCOUNTS, **header: Any) -> None:
    told = {"entityName": "Account", "recordIds": [ACME], "changeType": "UPDATE", **header}
    org.act("event", channel=channel, payload={"ChangeEventHeader": told})


def test_an_event_is_heard_while_we_listen_and_not_only_after(org: Org) -> None:
    org.having(listen_seconds=5)
    pages = org.connector.pull("hints", None)
    next(pages)
    edit(org, ACME)
    began = time.monotonic()
    assert named([next(pages)]) == [("customers", ACME)]
    assert time.monotonic() - began < 4, "it came before the turn was over"
    pages.close()  # type: ignore[attr-defined]
    assert control(org.base, "GET", "salesforce/calls")[-1]["path"] == "/cometd/60.0"


def test_a_platform_event_names_the_record_by_the_field_that_is_set(org: Org) -> None:
    org.having(channels={MOVED: "Opportunity.Deal_Id__c"})
    assert again(turn(org)) == {"projects"}
    org.act("event", channel=MOVED, payload={"Deal_Id__c": DEAL, "Stage__c": "Won"})
    org.act("event", channel=MOVED, payload={"Stage__c": "Won"})
    pages = turn(org)
    assert (named(pages), again(pages)) == (
        [],
        {"projects"},
    )  # one that names none has its stream read, which finds both
    org.act("event", channel=MOVED, payload={"Deal_Id__c": DEAL})
    assert named(turn(org)) == [("projects", DEAL)]


def test_a_merge_names_the_account_that_is_gone(org: Org) -> None:
    turn(org)
    org.act("merge", object="Account", loser=account_row(3)["Id"], survivor=ACME)
    assert named(turn(org)) == [("customers", account_row(3)["Id"])]


@pytest.mark.parametrize(
    "header",
    [
        {"changeType": "GAP_OVERFLOW"}, {"recordIds": ["001*"]}, {"recordIds": []}, {"recordIds": None}, {"entityName": 7},
    ],
)  # fmt: skip
def test_an_event_that_does_not_say_which_records_has_its_stream_read(org: Org, header: dict[str, Any]) -> None:
    turn(org)
    change(org, **header)
    pages = turn(org)
    assert (named(pages), again(pages)) == ([], {"customers"})
    assert named(turn(org)) == []


def test_a_gap_event_that_names_its_records_is_a_hint_like_another(org: Org) -> None:
    turn(org)
    change(org, changeType="GAP_UPDATE")
    assert named(turn(org)) == [("customers", ACME)]


def test_a_bulk_load_is_read_by_its_stream_and_not_one_call_for_each_record(org: Org) -> None:
    turn(org)
    change(org, recordIds=[f"001{number:012}AAA" for number in range(80)])
    edit(org, DEAL, name="Opportunity")
    pages = turn(org)
    assert (named(pages), again(pages)) == ([("projects", DEAL)], {"customers"})


def test_a_load_that_comes_in_many_small_answers_is_read_by_its_stream_too(org: Org) -> None:
    turn(org)
    org.having(listen_seconds=5)
    pages = org.connector.pull("hints", org.cursors["hints"])
    seen = [next(pages)]
    for start in (0, 30, 60):
        change(org, recordIds=[f"001{number:012}AAA" for number in range(start, start + 30)])
        seen.append(next(pages))
    pages.close()  # type: ignore[attr-defined]
    assert [(len(named([page])), again([page])) for page in seen[1:]] == [
        (30, set()),
        (0, {"customers"}),
        (0, {"customers"}),
    ]


@pytest.mark.parametrize("seconds", [0, -1, 101, "a while", "nan"])
def test_a_turn_that_would_not_end_or_not_begin_is_refused(org: Org, seconds: object) -> None:
    org.having(listen_seconds=seconds)
    with pytest.raises(Malformed, match="cannot listen for"):
        turn(org)


def test_a_vendor_that_does_not_hold_the_poll_is_not_asked_without_pause(org: Org) -> None:
    org.configure(polls_end=0)
    org.having(listen_seconds=1.5)
    with recording() as exchanges:
        turn(org)
    assert sum("/meta/connect" in str(one.request_body) for one in exchanges) <= 4


def test_a_channel_of_everything_names_what_is_read_and_nothing_else(org: Org) -> None:
    org.having(channels={EVERYTHING: "changes"})
    assert again(turn(org)) == {"customers", "projects", "employees"}
    edit(org, ACME)
    change(org, EVERYTHING, entityName="Contact", recordIds=["003000000000001AAA"])
    assert named(turn(org)) == [("customers", ACME)]


def test_a_project_object_of_the_firm_has_a_channel_of_its_own(org: Org) -> None:
    row = {"Id": "a01000000000001AAA", "Name": "Seven", "Account__c": ACME}
    org.seed(Project__c=[row], channels=["/data/Project__ChangeEvent"])
    org.having(
        project_object="Project__c", project_fields={"name": "Name", "customer": "Account__c"},
        channels={"/data/Project__ChangeEvent": "changes"},
    )  # fmt: skip
    assert again(turn(org)) == {"projects"}
    edit(org, row["Id"], name="Project__c")
    assert named(turn(org)) == [("projects", row["Id"])]


def test_a_session_that_the_vendor_forgets_is_begun_anew_and_misses_nothing(org: Org) -> None:
    turn(org)
    org.having(listen_seconds=1)
    pages = org.connector.pull("hints", org.cursors["hints"])
    next(pages)
    org.configure(sessions_end=True)
    edit(org, ACME)
    assert named(list(pages)) == [("customers", ACME)]


@pytest.mark.case(67)
def test_a_token_that_ends_within_a_session_is_had_anew_and_the_session_with_it(org: Org) -> None:
    turn(org)
    org.having(listen_seconds=1)
    pages = org.connector.pull("hints", org.cursors["hints"])
    next(pages)
    org.configure(forget_tokens=True)
    edit(org, ACME)
    assert named(list(pages)) == [("customers", ACME)]
    org.configure(clients={})
    org.configure(forget_tokens=True)
    with pytest.raises(Unauthorised):
        turn(org)


def test_a_channel_that_is_refused_is_named_and_the_others_are_heard_all_the_same(org: Org) -> None:
    turn(org)
    org.having(channels={ACCOUNTS: "changes", "/data/LeadChangeEvent": "changes"})
    edit(org, ACME)
    seen: list[Page] = []
    with pytest.raises(Rejected, match=r"refuses /data/LeadChangeEvent: 400::The channel .* does not exist"):
        seen.extend(org.connector.pull("hints", org.cursors["hints"]))
    assert named(seen) == [("customers", ACME)]
    org.configure(restricted=[ACCOUNTS])
    with pytest.raises(Rejected, match="View All Data"):
        turn(org)


@pytest.mark.case(66)
def test_a_day_s_events_that_are_used_up_are_no_question_of_calls_or_credentials_and_are_had_later(org: Org) -> None:
    turn(org)
    edit(org, ACME)
    org.configure(events_left=0)
    with pytest.raises(Rejected, match="total events daily limit exceeded"):
        turn(org)
    assert org.pages("customers")[-1].last
    org.configure(events_left=10)
    assert named(turn(org)) == [("customers", ACME)]


def test_a_vendor_that_does_not_heed_our_time_is_waited_for(org: Org) -> None:
    turn(org)
    org.bench.fault(
        {"method": "POST", "path": "/cometd"}, kind="slow", seconds=0.7, after=3
    )  # longer than a call may take
    assert turn(org)[-1].last


def test_a_wrong_version_is_said_in_the_vendor_s_words(org: Org) -> None:
    from integrations.connectors.salesforce.bayeux import Session

    with pytest.raises(Rejected, match="Unsupported API version"):
        Session(org.connector.http, "30.0").begin()


def test_the_connection_test_says_where_it_is_heard_and_what_is_left_of_the_day(org: Org) -> None:
    assert org.connector.check().endswith("It is heard on 2 channels. 25000 of 25000 events can be delivered today.")
    org.configure(restricted=[DEALS])
    with pytest.raises(Rejected, match=DEALS):
        org.connector.check()


@pytest.mark.parametrize(
    "told", [{"/topic/Old": "changes"}, {ACCOUNTS: "yes"}, {ACCOUNTS: "Account.Id"}, {MOVED: "Deal_Id__c"}]
)
def test_a_channel_that_cannot_be_read_is_said_before_anything_is_called(org: Org, told: dict[str, str]) -> None:
    org.having(channels=told)
    with pytest.raises(Malformed, match="cannot be read"):
        turn(org)
    org.having(channels={})
    with pytest.raises(Malformed, match="hints need the setting channels"):
        turn(org)
    org.having(channels={ACCOUNTS: "changes"})
    org.cursors["hints"] = "yesterday"
    with pytest.raises(Malformed, match="no marks"):
        turn(org)


def test_a_channel_of_records_that_are_not_read_names_those_that_are(org: Org) -> None:
    org.having(channels={MOVED: "Case.Case_Id__c"})
    with pytest.raises(Malformed, match="expected one of Account, Opportunity, User"):
        turn(org)


def test_a_mark_of_a_channel_that_is_no_longer_listened_to_is_dropped(org: Org) -> None:
    org.cursors["hints"] = json.dumps({"/data/Gone": 7})
    turn(org)
    assert set(json.loads(str(org.cursors["hints"]))) == {ACCOUNTS, DEALS}


def test_neither_token_nor_cookie_of_a_session_is_recorded(org: Org) -> None:
    with recording() as exchanges:
        turn(org)
    assert_no_secret(org.bench, exchanges)
    assert {one.request_headers.get("Cookie") for one in exchanges if "cometd" in one.url} == {None, "[redacted]"}
    assert "BAYEUX_BROWSER=" not in repr(exchanges)


def test_an_answer_that_is_no_message_is_no_answer(org: Org) -> None:
    org.bench.fault({"method": "POST", "path": "/cometd"}, kind="status", status=404)
    with pytest.raises((Rejected, Unavailable)):
        turn(org)
