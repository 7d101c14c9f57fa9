"""Tryton as it really answers: its words for no, lists that go whole or not at all, invoices, payments, and sessions that end."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from integrations import abilities, payloads, postings
from integrations.connectors.tryton import TrytonConnector, lines, refusals
from integrations.errors import ConnectorError, Malformed, Rejected, Unauthorised, Unavailable
from integrations.http import Http, pacing, recording
from integrations.http.recording import Redactor
from integrations.protocol import TAKES_UNBILLABLE, Hint, SourceRecord
from portal.records import (
    Application,
    BillKind,
    BillRecord,
    BillStatus,
    CanonicalRecord,
    MasterRecord,
    PaymentKind,
    PaymentRecord,
    PaymentStatus,
    Receipt,
    SettledBy,
)
from tests.integrations.contract import Bench
from tests.integrations.tryton_account import posting
from tests.tryton.server import Tryton

pytestmark = pytest.mark.timeout(900)  # the first of a machine installs the server


class Office:
    """A connector on the company, with the cursors that runs would store."""

    def __init__(self, bench: Bench, server: Tryton) -> None:
        self.bench, self.server = bench, server
        self.cursors: dict[str, str | None] = {}
        self.filed: set[tuple[str, str, str]] = set()

    def connector(self, **settings: Any) -> TrytonConnector:
        built: TrytonConnector = self.bench.build(**settings)
        return built

    def records(self, stream: str, **settings: Any) -> list[SourceRecord]:
        pages = list(self.connector(**settings).pull(stream, self.cursors.get(stream)))
        self.cursors[stream] = pages[-1].cursor
        return [record for page in pages for record in page.records]

    def read(self, stream: str, **settings: Any) -> dict[str, CanonicalRecord]:
        """What is new of a stream since it was last read, by external id, by way of the inbox, which files a revision once."""
        found: dict[str, CanonicalRecord] = {}
        for record in self.records(stream, **settings):
            filing = (stream, record.external_id, record.revision)
            if filing in self.filed:
                continue
            self.filed.add(filing)
            stored = replace(record, payload=payloads.read(payloads.as_stored(record.payload)))
            [one] = self.connector(**settings).map(stored)
            known = found.get(record.external_id)
            assert known is None or known.revision < one.revision
            found[record.external_id] = one
        return found

    def bill(self, number: int) -> BillRecord | None:
        found = self.read("invoices").get(str(number))
        assert found is None or isinstance(found, BillRecord)
        return found

    def master(self, stream: str, number: int, **settings: Any) -> MasterRecord:
        found = self.read(stream, **settings)[str(number)]
        assert isinstance(found, MasterRecord)
        return found

    def calls(self) -> int:
        count: int = self.bench.control("tryton/inspect")["calls"]
        return count


@pytest.fixture
def office(tryton: Bench, tryton_server: Tryton) -> Office:
    return Office(tryton, tryton_server)


def test_the_connection_test_names_the_version_the_company_and_its_books(office: Office) -> None:
    assert office.connector().check() == "Tryton 8.0 answers for Acme Consulting Inc., whose books are in USD."
    nowhere = replace(office.bench.account, realm="99", code="nowhere")
    with pytest.raises(Unauthorised, match="no company 99"):
        TrytonConnector(nowhere, Http(nowhere, allow_loopback=True)).check()


def test_what_it_cannot_do_is_said_and_that_it_would_book_twice_is_not(office: Office) -> None:
    said = list(abilities._target_cannot(office.connector().capabilities))
    assert said == [
        "It takes no negative postings; a correction after posting becomes a case.",
        "It takes no expenses; an expense owed to it becomes a case.",
        *lines.LIMITS,
        lines.REFUSES_UNBILLABLE,
    ]
    taken = abilities._target_cannot(office.connector(accepts_unbillable=True).capabilities)
    assert [*taken][-1] == TAKES_UNBILLABLE


class TestMasterData:
    @pytest.mark.case(22)
    def test_it_is_named_by_ids_and_says_what_tryton_says(self, office: Office) -> None:
        ids = office.server.ids
        customers = office.read("customers")
        survivor, old = (customers[str(ids["parties"][name])] for name in ("survivor", "old"))
        assert isinstance(old, MasterRecord)
        assert (old.is_active, old.attributes["merged_into"]) == (False, survivor.external_id)
        assert {one.name for one in customers.values() if isinstance(one, MasterRecord)} == {
            "Northwind Ltd",
            "Survivor plc",
        }, "neither people nor the company itself are customers"
        project = office.master("projects", ids["project"])
        assert (project.code, project.name) == ("1", "Rollout")
        assert project.attributes == {
            "customer": str(ids["parties"]["northwind"]), "entity": "1", "status": "open", "billing_model": "time_and_material",
        }  # fmt: skip
        tasks = office.read("tasks")
        assert {
            one.name: one.attributes for key, one in tasks.items()
            if isinstance(one, MasterRecord) and int(key) in ids["tasks"].values()
        } == {
            name: {"project": str(ids["project"]), "closed": False} for name in ("Design", "Build", "Locked", "Testing")
        }  # fmt: skip
        people = office.read("employees")
        bo = people[str(ids["people"]["bo"])]
        assert isinstance(bo, MasterRecord)
        assert (bo.name, bo.attributes["email"], bo.attributes["released_on"]) == (
            "Bo Old",
            "bo@acme.example",
            date(2025, 6, 30),
        )
        periods = {one.code: one.attributes for one in office.read("periods").values() if isinstance(one, MasterRecord)}
        assert len(periods) == 12
        assert (periods["2026-06"]["closed"], periods["2026-07"]["closed"]) == (True, False)
        company = office.master("companies", 1)
        assert (company.code, company.attributes) == ("ACME", {"currency": "USD", "zone": "America/New_York"})

    def test_a_domain_of_the_firm_narrows_who_is_a_customer(self, office: Office) -> None:
        narrowed = office.read("customers", customers=[["name", "=", "Northwind Ltd"]])
        assert set(narrowed) == {str(office.server.ids["parties"]["northwind"])}

    def test_a_change_shows_where_only_a_part_of_the_record_was_written(self, office: Office) -> None:
        """The end of a project stands in its time sheet, and a name in its party: neither moves the stamp of the record."""
        made = office.server.project("Ending")
        for stream in ("projects", "employees"):
            office.read(stream)
        [sheet] = office.server.call(
            "model.timesheet.work.search", [["origin", "=", f"project.work,{made['project']}"]], 0, None, None
        )
        end = {"__class__": "date", "year": 2026, "month": 11, "day": 30}
        office.server.call("model.timesheet.work.write", [sheet], {"timesheet_end_date": end})
        before = {record.external_id: record.revision for record in office.records("projects")}
        project = office.connector().fetch(Hint(stream="projects", external_id=str(made["project"])))
        [ended] = [one for record in project for one in office.connector().map(record)]
        assert isinstance(ended, MasterRecord)
        assert ended.attributes["ends_on"] == date(2026, 11, 30)
        assert before[str(made["project"])] == ended.revision

    def test_a_status_of_the_firm_is_said_in_our_words_or_not_taken(self, office: Office) -> None:
        number = office.server.ids["project"]
        assert office.master("projects", number, project_statuses={"Open": "on_hold"}).attributes["status"] == "on_hold"
        office.filed.clear()
        with pytest.raises(Malformed, match="project_statuses"):
            office.read("projects", project_statuses={"Open": "paused"})

    def test_many_pages_are_walked_by_id_and_gone_on_with_from_any_of_them(self, office: Office) -> None:
        whole = {record.external_id for record in office.records("tasks")}
        pages = list(office.connector(page_size=2).pull("tasks", None))
        assert len(pages) == len(whole) // 2 + 1
        assert {record.external_id for page in pages for record in page.records} == whole
        resumed = list(office.connector(page_size=2).pull("tasks", pages[0].cursor))
        assert {record.external_id for page in resumed for record in page.records} == whole - {
            record.external_id for record in pages[0].records
        }
        assert resumed[-1].cursor == pages[-1].cursor

    def test_a_cursor_of_somebody_else_is_not_read_from(self, office: Office) -> None:
        with pytest.raises(Malformed, match="cannot be read"):
            list(office.connector().pull("tasks", "page 3"))
        with pytest.raises(Malformed, match="no stream"):
            list(office.connector().pull("moods", None))


class TestBills:
    @pytest.fixture
    def work(self, office: Office) -> dict[str, int]:
        office.bill(0)
        return office.server.project("Bills")

    def test_an_invoice_line_becomes_one_for_each_line_of_time_and_its_amount_is_split_to_the_cent(
        self, office: Office, work: dict[str, int]
    ) -> None:
        times = office.server.spend(work["task"], "1.3333", "2.6667", "0.3333")
        number = office.server.draft(work["project"])
        draft = office.bill(number)
        assert draft is not None
        assert (draft.kind, draft.status, draft.number, draft.balance) == (BillKind.INVOICE, BillStatus.DRAFT, "", None)
        assert {line.posting_number for line in draft.lines} == {str(one) for one in times}
        assert sum(line.net for line in draft.lines) == draft.net
        assert {line.tax_rate for line in draft.lines} == {Decimal(10)}
        assert draft.tax == round(draft.net / 10, 2)
        assert all(abs(line.net - (line.quantity or 0) * 120) <= Decimal("0.60") for line in draft.lines)
        assert office.bill(number) is None, "what looks as it did is no news"

    @pytest.mark.case(74)
    def test_hours_that_we_booked_come_back_on_the_invoice_under_the_number_of_their_receipt(
        self, office: Office, work: dict[str, int]
    ) -> None:
        sent = [posting(office.server, project=str(work["project"]), task=str(work["task"])) for _ in range(2)]
        receipts = [one.number for one in office.connector().push(sent) if isinstance(one, Receipt)]
        bill = office.bill(office.server.invoice(work["project"], "2026-10-31"))
        assert bill is not None
        assert [line.posting_number for line in bill.lines] == receipts

    def test_posted_paid_in_part_and_paid_are_read_with_what_is_left_and_what_settled_it(
        self, office: Office, work: dict[str, int]
    ) -> None:
        office.read("payments")
        office.server.spend(work["task"], "4", "2")
        number = office.server.invoice(work["project"], "2026-10-31")
        bill = office.bill(number)
        assert bill is not None
        assert (bill.status, bill.total, bill.balance) == (BillStatus.OPEN, Decimal(792), Decimal(792))
        assert (bill.booked_on, bill.due_on, bill.currency) == (date(2026, 10, 31), date(2026, 11, 30), "USD")
        assert (bill.entity.key, bill.customer.name, bill.exchange_rate) == ("1", "Northwind Ltd", Decimal(1))

        office.server.pay(number, "100.00", "2026-11-05")
        bill = office.bill(number)
        assert bill is not None
        assert (bill.status, bill.balance) == (BillStatus.PART_PAID, Decimal(692))
        [paid] = office.read("payments").values()
        assert isinstance(paid, PaymentRecord)
        assert (paid.amount, paid.unapplied, paid.booked_on) == (Decimal(100), Decimal(0), date(2026, 11, 5))
        assert paid.applications == (Application(bill=str(number), amount=Decimal(100)),)

        office.server.pay(number, "690.00", "2026-11-20", write_off=True)
        bill = office.bill(number)
        assert bill is not None
        assert (bill.status, bill.balance) == (BillStatus.PAID, Decimal(0))
        settled = [one for one in office.read("payments").values() if isinstance(one, PaymentRecord)]
        parts = {(one.kind, part.amount, part.by) for one in settled for part in one.applications}
        assert parts == {
            (PaymentKind.PAYMENT, Decimal(100), SettledBy.CASH),
            (PaymentKind.PAYMENT, Decimal(690), SettledBy.CASH),
            (PaymentKind.WRITE_OFF, Decimal(2), SettledBy.WRITE_OFF),
        }
        assert {part.bill for one in settled for part in one.applications} == {str(number)}

    def test_a_payment_that_was_taken_back_settles_nothing_and_the_invoice_is_open_again_without_a_stamp(
        self, office: Office, work: dict[str, int]
    ) -> None:
        office.read("payments")
        office.server.spend(work["task"], "1")
        number = office.server.invoice(work["project"], "2026-10-31")
        office.server.pay(number, "32.00", "2026-11-05")
        bill = office.bill(number)
        assert bill is not None
        assert bill.status == BillStatus.PART_PAID
        [line] = office.read("payments")
        office.server.cancel_payment(int(line))
        again = office.bill(number)
        assert again is not None
        assert (again.status, again.balance) == (BillStatus.OPEN, Decimal(132))
        assert again.revision > bill.revision
        taken_back = office.read("payments")[line]
        assert isinstance(taken_back, PaymentRecord)
        assert (taken_back.status, taken_back.applications) == (PaymentStatus.VOIDED, ())

    def test_a_payment_in_the_middle_of_a_walk_that_is_cut_is_seen_although_it_moves_no_stamp(
        self, office: Office, work: dict[str, int]
    ) -> None:
        office.server.spend(work["task"], "1")
        first = office.server.invoice(work["project"], "2026-10-31")
        office.server.spend(work["task"], "1")
        office.server.invoice(work["project"], "2026-10-31")
        walk = office.connector(page_size=1).pull("invoices", office.cursors["invoices"])
        page = next(page for page in walk if [one.external_id for one in page.records] == [str(first)])
        assert not page.last
        office.server.pay(first, "32.00", "2026-11-05")
        rest = office.connector(page_size=1).pull("invoices", page.cursor)
        [paid] = [one for each in rest for one in each.records if one.external_id == str(first)]
        [bill] = office.connector().map(paid)
        assert isinstance(bill, BillRecord)
        assert (bill.status, bill.balance) == (BillStatus.PART_PAID, Decimal(100))
        assert bill.revision > page.records[0].revision

    def test_a_credit_note_names_its_invoice_and_the_hours_that_it_takes_back(
        self, office: Office, work: dict[str, int]
    ) -> None:
        times = office.server.spend(work["task"], "4", "2")
        number = office.server.invoice(work["project"], "2026-10-31")
        note = office.bill(office.server.credit(number, "2026-10-31", refund=True))
        assert note is not None
        assert (note.kind, note.status, note.credits) == (BillKind.CREDIT_NOTE, BillStatus.PAID, str(number))
        assert (note.net, note.tax, note.total, note.balance) == (Decimal(720), Decimal(72), Decimal(792), Decimal(0))
        assert {(line.posting_number, line.quantity, line.net) for line in note.lines} == {
            (str(times[0]), Decimal(4), Decimal(480)), (str(times[1]), Decimal(2), Decimal(240)),
        }  # fmt: skip
        assert note.applications == (Application(bill=str(number), amount=Decimal(792), by=SettledBy.CREDIT),)

    def test_a_draft_that_was_deleted_is_gone_and_nothing_else_is(self, office: Office, work: dict[str, int]) -> None:
        office.server.spend(work["task"], "1")
        number = office.server.draft(work["project"])
        assert office.bill(number) is not None
        office.server.call("model.account.invoice.delete", [number])
        read = office.read("invoices")
        assert [(key, one.status) for key, one in read.items() if isinstance(one, BillRecord)] == [
            (str(number), BillStatus.DELETED)
        ]
        assert list(office.connector().fetch(Hint(stream="invoices", external_id=str(number)))) == []

    def test_what_cannot_be_read_names_its_field(self, office: Office, billed: int) -> None:
        [record] = office.connector().fetch(Hint(stream="invoices", external_id=str(billed)))
        for change, field in (
            ({"state": "dreamt"}, "state"),
            ({"total_amount": None}, "total_amount"),
            ({"lines.": 3}, "lines"),
        ):
            broken = replace(record, payload={**record.payload, "row": {**record.payload["row"], **change}})
            with pytest.raises(Malformed, match=field):
                list(office.connector().map(broken))


class TestPosting:
    """Hours on the time sheet, and why not."""

    def test_what_was_sent_is_read_back_equal_and_says_neither_rate_nor_currency(self, office: Office) -> None:
        sent = posting(office.server, hours=Decimal("1.3333"), memo="Two\nlines  of text")
        [receipt] = office.connector().push([sent])
        assert isinstance(receipt, Receipt)
        line = office.connector().find([sent.key])[sent.key]
        assert postings.differences(sent, line, office.connector().capabilities.hours_tolerance) == {}
        assert (line.number, line.memo, line.rate, line.currency) == (receipt.number, "Two lines of text", None, "")
        assert (line.project, line.task) == (sent.project, sent.task)

    def test_a_task_below_a_task_and_the_project_itself_are_read_back_as_they_were_sent(self, office: Office) -> None:
        ids = office.server.ids
        below = posting(office.server, task=str(ids["tasks"]["testing"]))
        bare = posting(office.server, task="")
        assert all(isinstance(one, Receipt) for one in office.connector().push([below, bare]))
        found = office.connector().find([below.key, bare.key])
        assert [(found[p.key].project, found[p.key].task) for p in (below, bare)] == [
            (str(ids["project"]), str(ids["tasks"]["testing"])), (str(ids["project"]), ""),
        ]  # fmt: skip

    @pytest.mark.case(57)
    def test_one_bad_line_does_not_keep_the_others_of_its_list(self, office: Office) -> None:
        good = [posting(office.server, hours=Decimal(n)) for n in range(1, 8)]
        locked = posting(office.server, task=str(office.server.ids["tasks"]["locked"]))
        known = posting(office.server)
        [first] = office.connector().push([known])
        outcomes = office.connector().push([*good[:3], locked, known, *good[3:]])
        assert [type(one) for one in outcomes] == [Receipt] * 3 + [Rejected] + [Receipt] * 5
        assert isinstance(outcomes[3], Rejected)
        assert outcomes[3].code == "task-invalid"
        assert isinstance(first, Receipt)
        assert isinstance(outcomes[4], Receipt)
        assert outcomes[4].number == first.number
        stood = office.bench.control("tryton/inspect")["lines_by_key"]
        assert [stood.get(p.key) for p in (*good, known, locked)] == [1] * 8 + [None]

    @pytest.mark.parametrize(
        ("change", "code"),
        [
            (lambda ids: {"task": str(ids["tasks"]["locked"])}, "task-invalid"),
            (lambda ids: {"task": "99999"}, "task-invalid"),
            (lambda ids: {"task": "", "project": str(ids["old"])}, "project-inactive"),
            (lambda ids: {"project": "ACM", "task": ""}, "project-inactive"),
            (lambda ids: {"resource": str(ids["people"]["bo"])}, "resource-inactive"),
            (lambda ids: {"resource": "99999"}, "resource-inactive"),
            (lambda ids: {"resource": "Ana"}, "resource-inactive"),
            (lambda ids: {"entity": "7"}, "company-wrong"),
            (lambda ids: {"hours": Decimal("-7.5"), "reverses": "12"}, "no-opposite"),
            (lambda ids: {"hours": None}, "amount-invalid"),
            (lambda ids: {"billable": False, "rate": None}, "unbillable"),
            (lambda ids: {"memo": "x" * 1001}, "text-invalid"),
        ],
    )
    def test_what_tryton_or_its_words_do_not_take_is_named(
        self, office: Office, change: Callable[[dict[str, Any]], dict[str, Any]], code: str
    ) -> None:
        sent = posting(office.server, **change(office.server.ids))
        [refused] = office.connector().push([sent])
        assert isinstance(refused, Rejected), refused
        assert refused.code == code
        assert 0 < len(refused.detail) <= 500
        assert len(json.dumps(refused.body)) < 1500, "what is stored of Tryton's answer is short"
        assert office.connector().find([sent.key]) == {}

    def test_hours_that_are_not_billable_are_taken_where_the_connection_accepts_them(self, office: Office) -> None:
        sent = posting(office.server, billable=False, rate=None)
        target = office.connector(accepts_unbillable=True)
        assert isinstance(target.push([sent])[0], Receipt)
        assert list(target.find([sent.key])) == [sent.key]

    def test_a_push_divides_no_list_once_its_time_is_over_and_still_gets_on(
        self, office: Office, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(pacing, "PUSH_SECONDS", 0.0)
        wrong = [posting(office.server, resource="999999") for _ in range(8)]
        kinds = [type(outcome) for outcome in office.connector().push(wrong)]
        assert (kinds.count(Rejected), kinds.count(Unavailable)) == (1, 7)
        assert office.connector().find([one.key for one in wrong]) == {}

    @pytest.mark.case(23)
    def test_a_line_that_was_invoiced_is_not_changed_by_the_same_key(self, office: Office) -> None:
        work = office.server.project("Invoiced")
        sent = posting(office.server, project=str(work["project"]), task=str(work["task"]))
        [receipt] = office.connector().push([sent])
        office.server.invoice(work["project"], "2026-10-31")
        [again] = office.connector().push([replace(sent, hours=Decimal(1))])
        assert isinstance(receipt, Receipt)
        assert isinstance(again, Receipt)
        assert again.number == receipt.number
        assert office.connector().find([sent.key])[sent.key].hours == Decimal("7.5")
        with pytest.raises(ValueError, match="because it has been invoiced"):
            office.server.call("model.timesheet.line.delete", [int(receipt.number)])

    def test_a_version_that_lets_nobody_write_the_uuid_is_told_before_and_when_it_is_tried(
        self, office: Office
    ) -> None:
        """The answers of a running 8.2.1, given in place of the server's."""
        words = 'You are not allowed to modify the field "UUID" of "Timesheet Line".'
        office.bench.control(
            "tryton/configure",
            {
                "answers": {
                    "common.server.version": {"result": "8.2"},
                    "model.timesheet.line.create": {"error": ["UserError", [words, "", None]]},
                }
            },
        )
        assert refusals.NO_KEYS in office.connector().check()
        [refused] = office.connector().push([posting(office.server)])
        assert isinstance(refused, Unauthorised), "one case for the connection; every entry waits"
        assert refused.detail == refusals.NO_KEYS


class TestSessions:
    def test_one_that_ended_is_had_again_and_the_call_is_made_once_more(self, office: Office) -> None:
        connector = office.connector()
        connector.check()
        [user] = office.server.call("model.res.user.search", [["login", "=", "sync"]], 0, None, None)
        office.server.write("DELETE FROM ir_session WHERE create_uid = ?", user)
        sent = posting(office.server)
        [receipt] = connector.push([sent])
        assert isinstance(receipt, Receipt)
        assert office.bench.control("tryton/inspect")["lines_by_key"][sent.key] == 1

    def test_neither_the_password_nor_the_session_stands_in_what_is_kept(self, office: Office) -> None:
        fresh = replace(office.bench.account, code="fresh")
        connector = TrytonConnector(fresh, Http(fresh, allow_loopback=True))
        with recording() as exchanges:
            connector.check()
        signed_in = next(one for one in exchanges if "common.db.login" in one.request_body)
        assert fresh.secrets["password"] not in repr(exchanges)
        result = json.loads(signed_in.response_body)["result"]
        assert result[1] == "[redacted]"

    def test_without_a_password_nothing_is_asked(self, office: Office) -> None:
        before = office.calls()
        bare = replace(office.bench.account, code="bare", secrets={})
        with pytest.raises(Unauthorised, match="no user and password"):
            TrytonConnector(bare, Http(bare, allow_loopback=True)).check()
        assert office.calls() == before

    def test_a_user_who_may_not_see_invoices_is_a_matter_of_the_connection(self, office: Office) -> None:
        fault = {
            "error": [
                "UserError",
                ['You are not allowed to access "Account Invoice".', "Within groups: Timesheet", None],
            ]
        }
        office.bench.control("tryton/configure", {"answers": {"model.account.invoice.search_count": fault}})
        with pytest.raises(Unauthorised, match="Account Invoice"):
            list(office.connector().pull("invoices", None))


DEFINITIONS = [["OR", ["timesheet_end_date", "=", None]], {"timesheet_end_date": {"string": "x" * 100_000}}]


def invalid(field: str) -> list[Any]:
    """What Tryton says of a value that a field does not take, with the definitions of its fields behind it."""
    words = (
        f'The value "x" for field "{field}" in record "(5)" of "Timesheet Line" is not valid according to its domain.'
    )
    return ["UserError", [words, "", DEFINITIONS]]


def said(words: str, description: str = "") -> list[Any]:
    return ["UserError", [words, description, None]]


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (said("The UUID of timesheet line must be unique."), Rejected, "duplicate"),
        (invalid("Duration"), Rejected, "amount-invalid"),
        (invalid("Work"), Rejected, "task-invalid"),
        (said('A value is required for field "Work" in record "(5)" of "Timesheet Line".'), Rejected, "task-invalid"),
        (invalid("Employee"), Rejected, "resource-inactive"),
        (invalid("Description"), Rejected, "text-invalid"),
        (
            said('You cannot modify the duration of timesheet line "(1)" because it has been invoiced.'),
            Rejected,
            "record-locked",
        ),
        (said('You cannot delete timesheet line "(1)" because it has been invoiced.'), Rejected, "record-locked"),
        (said('You cannot modify invoice "1" because it is posted, paid or cancelled.'), Rejected, "record-locked"),
        (said('You can not call "cancel" on "3" of "Account Invoice".'), Rejected, "record-locked"),
        (
            said('To continue, you must reopen the period "2026-11" of company "Acme" for the date "11/20/2026".'),
            Rejected,
            "period-closed",
        ),
        (said('You cannot add/modify/delete lines on closed journal-period "2026-11".'), Rejected, "period-closed"),
        (["ConcurrencyException", "Records were modified in the meanwhile"], Rejected, "record-changed"),
        (["UserWarning", ["invoice_1", "Are you sure?", ""]], Rejected, "rejected"),
        (["'bogus'", ""], Rejected, "schema-changed"),
        (["'project.work'", "Traceback (most recent call last): ..."], Rejected, "schema-changed"),
        (["database is locked", "Traceback (most recent call last): ..."], Unavailable, ""),
        (["could not serialize access due to concurrent update", ""], Unavailable, ""),
        (["LoginException", ["password", "Password for sync", "password"]], Unauthorised, ""),
        (said('You are not allowed to access "User".', "Within groups: Timesheet"), Unauthorised, ""),
        (
            said(
                'You are not allowed to create records of "Timesheet Line" because they fail on at least one of these rules.'
            ),
            Unauthorised,
            "",
        ),
        (said('You are not allowed to modify the field "UUID" of "Timesheet Line".'), Unauthorised, ""),
    ],
    ids=range(22),
)
@pytest.mark.case(62, 68, 73, 111)
def test_every_word_for_no_is_a_thing_that_we_do_next(error: list[Any], kind: type[ConnectorError], code: str) -> None:
    refused = refusals.of_answer({"id": 1, "error": error}, Redactor(()))
    assert refused is not None
    named = refusals.narrow(refused)
    assert type(named) is kind
    assert getattr(named, "code", "") == code
    assert named.detail
    assert len(named.detail) <= 500
    assert len(json.dumps(named.body)) < 1500


def test_the_firms_own_words_go_before_ours() -> None:
    own = refusals.own_patterns([{"match": "budget is frozen", "means": "project-inactive"}])
    refused = refusals.of_answer({"error": ["UserError", ["The budget is frozen.", "", None]]}, Redactor(()))
    assert refused is not None
    named = refusals.narrow(refused, own)
    assert isinstance(named, Rejected)
    assert named.code == "project-inactive"
