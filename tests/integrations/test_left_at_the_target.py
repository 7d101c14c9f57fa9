"""What an earlier sending may have left at a target is asked about before it leaves the ledger: no hour is booked twice."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from integrations import outbox, registry
from integrations.connectors.businesscentral.settings import SETTINGS
from integrations.errors import ConnectorError, InDoubt, Rejected, Unauthorised, Unavailable
from integrations.http.recording import Exchange, record
from integrations.outbox.settle import MAY_STAND
from integrations.sandbox.businesscentral.vendor import CLIENT_SECRET, COMPANY
from portal import ledger, sql
from portal.models import AttemptLine, Connection, LedgerEntry, LedgerState, LedgerTransition, State, User
from portal.records import Posting, Receipt, SourceStatus
from reconciliation import corrections, validation
from reconciliation.models import Hold, Route
from tests import world
from tests.integrations import outbound
from tests.integrations.bc_account import guid
from tests.integrations.contract import Bench
from tests.integrations.memory_target import BOOKS, Books, Fault, fails
from tests.invariants import assert_all_hold

pytestmark = pytest.mark.django_db
CHANGED = "changed-after-posting"


@pytest.fixture(autouse=True)
def _memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.CONNECTORS, "memory", "tests.integrations.memory_target.MemoryTarget")


@pytest.fixture
def controller() -> User:
    return world.user("controller")


def answers_503(*, booked: bool) -> Fault:
    """A push that goes out and is told to wait; what it carries is booked all the same, or not."""

    def strike(books: Books, postings: Sequence[Posting]) -> Sequence[Receipt | ConnectorError]:
        if booked:
            books.book(postings)
        record(
            Exchange(
                method="POST", url="memory:", request_headers={}, request_body="", status=503,
                started_at=datetime.now(UTC), duration_ms=1, may_have_written=True,
            )
        )  # fmt: skip
        raise Unavailable("Told to wait: 503", status=503)

    return strike


def changed(source: Connection, number: int, revision: int, **changes: Any) -> validation.Admitted:
    """The source says something else of an hour."""
    return outbound.take_in(source, [outbound.record(source, number, revision, **changes)])


def let_time_pass() -> None:
    """Whatever waits for a moment is due, and every lost call is over."""
    LedgerState.objects.filter(state__in=["in_doubt", "ready", "accepted"]).update(
        moved_at=sql.now() - timedelta(hours=1), next_attempt_at="2020-01-01T00:00:00Z"
    )


def deliver(target: Connection, times: int = 6) -> None:
    """Shifts at a target, with time enough between them for every look-up."""
    for _ in range(times):
        let_time_pass()
        outbox.deliver(target.pk)


def of_version(version: int) -> LedgerEntry:
    return LedgerEntry.objects.select_related("state_row").get(version=version, reverses=None)


def path_of(entry_id: int) -> list[str]:
    return list(LedgerTransition.objects.filter(entry=entry_id).order_by("fence").values_list("to_state", flat=True))


class TestATargetThatAnswers503:
    """A target that books what it carries, or not, and says that it is to be asked later."""

    @pytest.fixture
    def erp(self) -> Connection:
        return outbound.target(batch_size=1)

    @pytest.fixture
    def books(self, erp: Connection) -> Books:
        return BOOKS[erp.code]

    @pytest.fixture
    def source(self, erp: Connection) -> Connection:
        return outbound.firm(erp)

    @pytest.mark.case(57)
    def test_an_hour_that_changed_before_the_next_push_is_looked_up_and_goes_once_it_is_not_there(
        self, erp: Connection, books: Books, source: Connection
    ) -> None:
        [entry] = outbound.entries(source)
        books.faults.append(answers_503(booked=False))
        outbox.deliver(erp.pk)
        assert (outbound.state_of(entry).state, outbound.state_of(entry).may_stand) == (State.READY, True)
        assert AttemptLine.objects.get().code == MAY_STAND
        changed(source, 0, 2, hours=Decimal(6))
        assert outbound.state_of(entry).state == State.IN_DOUBT
        assert of_version(2).state_row.state == State.HELD, "it waits for what is said of the first one"
        outbox.deliver(erp.pk)
        assert outbound.state_of(entry).state == State.IN_DOUBT, "one look-up proves nothing"
        deliver(erp)
        assert path_of(entry) == ["ready", "sending", "ready", "in_doubt", "ready", "cancelled"]
        assert of_version(2).state_row.state == State.POSTED
        assert books.hours() == 6
        assert not Hold.objects.filter(closed_at=None).exists()
        assert_all_hold()

    @pytest.mark.case(57)
    def test_an_hour_that_was_booked_all_the_same_is_reversed_before_its_change_is_booked(
        self, erp: Connection, books: Books, source: Connection, controller: User
    ) -> None:
        [entry] = outbound.entries(source)
        books.faults.append(answers_503(booked=True))
        outbox.deliver(erp.pk)
        changed(source, 0, 2, hours=Decimal(6))
        deliver(erp)
        assert outbound.state_of(entry).state == State.POSTED
        assert Hold.objects.get(closed_at=None).rule == CHANGED
        assert books.hours() == 8
        corrections.reverse_standing([of_version(2).pk], by=controller, reason="changed at the source")
        deliver(erp)
        assert outbound.state_of(entry).state == State.REVERSED
        assert of_version(2).state_row.state == State.POSTED
        assert books.hours() == 6
        assert_all_hold()

    @pytest.mark.case(1)
    @pytest.mark.parametrize("booked", [True, False])
    def test_an_hour_that_was_withdrawn_meanwhile_is_in_nobodys_books_in_the_end(
        self, erp: Connection, books: Books, source: Connection, controller: User, booked: bool
    ) -> None:
        [entry] = outbound.entries(source)
        books.faults.append(answers_503(booked=booked))
        outbox.deliver(erp.pk)
        outbound.withdraw(source, 0)
        assert outbound.state_of(entry).state == State.IN_DOUBT
        deliver(erp)
        if booked:
            assert Hold.objects.get(closed_at=None).rule == "approval-withdrawn-after-posting"
            corrections.reverse([entry], by=controller, reason="withdrawn at the source")
            deliver(erp)
        assert outbound.state_of(entry).state == (State.REVERSED if booked else State.CANCELLED)
        assert books.hours() == 0
        assert not Hold.objects.filter(closed_at=None).exists()
        assert_all_hold()

    def test_an_hour_whose_route_leads_elsewhere_is_sent_there_once_the_first_target_shows_nothing(
        self, erp: Connection, books: Books, source: Connection
    ) -> None:
        [entry] = outbound.entries(source)
        books.faults.append(answers_503(booked=False))
        outbox.deliver(erp.pk)
        other = outbound.target("other")
        Route.objects.filter(source=source).update(target=other)
        document = LedgerEntry.objects.get(pk=entry).document_id
        admitted = validation.admit([document], actor="test")
        assert admitted.unchanged == [document]
        assert not LedgerEntry.objects.filter(target=other).exists()
        deliver(erp)
        assert outbound.state_of(entry).state == State.CANCELLED
        deliver(other)
        assert LedgerEntry.objects.get(target=other).state_row.state == State.POSTED
        assert books.records == []
        assert_all_hold()

    def test_what_another_answer_refused_after_it_is_looked_up_as_well(
        self, erp: Connection, books: Books, source: Connection
    ) -> None:
        [entry] = outbound.entries(source)
        books.faults.extend([answers_503(booked=True), fails(Rejected("closed", code="period-closed"))])
        outbox.deliver(erp.pk)
        let_time_pass()
        outbox.deliver(erp.pk)
        assert outbound.state_of(entry).state == State.REJECTED
        outbound.withdraw(source, 0)
        deliver(erp)
        assert path_of(entry)[-4:] == ["rejected", "in_doubt", "accepted", "posted"]

    def test_an_entry_that_a_person_leaves_out_leaves_once_the_target_shows_nothing(
        self, erp: Connection, books: Books, source: Connection, controller: User
    ) -> None:
        gone, there = outbound.entries(source, 2)
        books.faults.extend([answers_503(booked=False), answers_503(booked=True)])
        outbox.deliver(erp.pk)
        assert validation.exclude([gone, there], by=controller, reason="booked by hand") == []
        deliver(erp)
        found = {books.records[0].key: State.POSTED}
        for entry in LedgerEntry.objects.filter(pk__in=[gone, there]).select_related("state_row"):
            assert entry.state_row.state == found.get(entry.idempotency_key.hex, State.CANCELLED)
        assert len(books.records) == 1
        assert_all_hold()

    def test_a_reversal_that_may_be_there_is_not_called_back(
        self, erp: Connection, books: Books, source: Connection, controller: User
    ) -> None:
        [entry] = outbound.entries(source)
        outbox.deliver(erp.pk)
        [reversal] = corrections.reverse([entry], by=controller, reason="wrong").reversals.values()
        books.faults.append(answers_503(booked=True))
        outbox.deliver(erp.pk)
        with pytest.raises(corrections.NotReversible, match="may stand at its target"):
            corrections.withdraw_reversal([reversal], by=controller, reason="it was right")

    @pytest.mark.parametrize(
        "error",
        [
            Unavailable("Not reached: refused"),
            Unavailable("slow down", status=429, retry_after=60),
            Unauthorised("expired", status=401),
        ],
        ids=["not-reached", "told-to-slow-down", "credentials-refused"],
    )
    def test_where_nothing_went_out_the_change_is_owed_at_once(
        self, erp: Connection, books: Books, source: Connection, error: ConnectorError
    ) -> None:
        [entry] = outbound.entries(source)
        books.faults.append(fails(error))
        outbox.deliver(erp.pk)
        changed(source, 0, 2, hours=Decimal(6))
        assert outbound.state_of(entry).state == State.CANCELLED
        assert of_version(2).state_row.state == State.READY
        assert books.finds == []
        assert_all_hold()

    def test_a_target_that_overwrites_is_looked_at_until_a_lost_call_is_over(self, source: Connection) -> None:
        erp = outbound.target("upserts", upsert=True, batch_size=1)
        books, theirs = BOOKS[erp.code], outbound.firm(erp, "GB")
        [entry] = outbound.entries(theirs)
        books.faults.append(fails(InDoubt("no answer")))
        outbox.deliver(erp.pk)
        changed(theirs, 0, 2, hours=Decimal(6))
        outbound.make_due([entry])
        outbox.deliver(erp.pk)
        assert outbound.state_of(entry).state == State.IN_DOUBT, "the call that was lost may still arrive"
        assert books.records == []
        deliver(erp)
        assert (outbound.state_of(entry).state, books.hours()) == (State.CANCELLED, 6)

    def test_the_database_lets_nothing_that_may_stand_be_cancelled(
        self, erp: Connection, books: Books, source: Connection
    ) -> None:
        [entry] = outbound.entries(source)
        books.faults.append(answers_503(booked=True))
        outbox.deliver(erp.pk)
        fence = outbound.state_of(entry).fence
        assert ledger.cancel([(entry, fence)], State.READY, actor="test", reason="not owed") == []


class TestBusinessCentral:
    """The journal of Business Central, whose lines stand in it while posting is told to wait."""

    @pytest.fixture
    def erp(self, businesscentral: Bench, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Connection:
        settings.ALLOW_LOOPBACK = True
        monkeypatch.setenv("BC_SECRET", CLIENT_SECRET)
        account = businesscentral.account
        made = world.connection(
            "erp", "businesscentral", is_target=True, realm=account.realm, settings={**account.settings, "currency": "USD"},
            credentials={"client_secret": {"env": "BC_SECRET"}},
        )  # fmt: skip
        Connection.objects.filter(pk=made.pk).update(base_url=account.base_url)
        return Connection.objects.get(pk=made.pk)

    @pytest.fixture
    def source(self, erp: Connection) -> Connection:
        return outbound.firm(erp, keys={"project": "J10", "resource": "AH"})

    @pytest.fixture
    def left(self, erp: Connection, source: Connection, businesscentral: Bench) -> int:
        """An entry whose line stands in the journal, which was not posted."""
        [entry] = outbound.entries(source)
        businesscentral.fault({"method": "POST", "path": "NAV.post"}, kind="status", status=503)
        outbox.deliver(erp.pk)
        assert outbound.state_of(entry).state == State.READY
        assert self.seen(businesscentral) == ({}, {LedgerEntry.objects.get(pk=entry).idempotency_key.hex: 1})
        return entry

    def seen(self, bench: Bench) -> tuple[dict[str, int], dict[str, int]]:
        """What the ledger and the journal hold by key."""
        found = bench.control("businesscentral/inspect")
        return found["entries_by_key"], found["lines_by_key"]

    def post_by_hand(self, bench: Bench) -> None:
        """A person posts the journal."""
        connector = bench.build()
        api = bench.account.setting("custom_api", SETTINGS)
        connector.http.request(
            "POST", f"/api/{api}/companies({COMPANY})/projectJournals({guid(60)})/Microsoft.NAV.post"
        )

    @pytest.mark.case(57)
    def test_the_lines_of_an_hour_that_changed_are_taken_out_of_the_journal_before_its_change_is_booked(
        self, erp: Connection, source: Connection, left: int, businesscentral: Bench
    ) -> None:
        changed(source, 0, 2, hours=Decimal(6))
        outbox.deliver(erp.pk)
        assert self.seen(businesscentral) == ({}, {}), "from here on nobody can post them"
        deliver(erp)
        assert outbound.state_of(left).state == State.CANCELLED
        assert self.seen(businesscentral) == ({of_version(2).idempotency_key.hex: 1}, {})
        assert of_version(2).state_row.state == State.POSTED
        assert_all_hold()

    @pytest.mark.case(1)
    def test_the_lines_of_an_hour_that_was_withdrawn_are_taken_out_of_the_journal(
        self, erp: Connection, source: Connection, left: int, businesscentral: Bench
    ) -> None:
        outbound.withdraw(source, 0)
        deliver(erp)
        assert (outbound.state_of(left).state, self.seen(businesscentral)) == (State.CANCELLED, ({}, {}))
        assert_all_hold()

    @pytest.mark.case(57)
    def test_a_journal_that_a_person_posted_before_we_looked_is_found_and_reversed(
        self, erp: Connection, source: Connection, left: int, businesscentral: Bench, controller: User
    ) -> None:
        changed(source, 0, 2, hours=Decimal(6))
        self.post_by_hand(businesscentral)
        deliver(erp)
        assert (outbound.state_of(left).state, of_version(2).state_row.state) == (State.POSTED, State.HELD)
        corrections.reverse_standing([of_version(2).pk], by=controller, reason="changed at the source")
        deliver(erp)
        assert (outbound.state_of(left).state, of_version(2).state_row.state) == (State.REVERSED, State.POSTED)
        booked, lines = self.seen(businesscentral)
        assert (sorted(booked.values()), lines) == ([1, 1, 1], {})
        assert_all_hold()


ERRORS: tuple[Fault, ...] = (
    answers_503(booked=True), answers_503(booked=False), fails(InDoubt("no answer")), fails(InDoubt("no answer"), booked=True),
    fails(Unavailable("Not reached")), fails(Rejected("closed", code="period-closed")),
)  # fmt: skip


@pytest.mark.parametrize("upsert", [False, True], ids=["once", "overwrites"])
@pytest.mark.parametrize("seed", range(3))
def test_whatever_happens_in_between_the_target_holds_what_the_source_says(
    seed: int, upsert: bool, controller: User, settings: Any
) -> None:
    settings.TIME_SCALE = 0.0001  # no breaker stays open for long
    chance = random.Random(seed)  # a history that can be told again
    erp = outbound.target(batch_size=1, upsert=upsert, unique_key=not upsert)
    source, books = outbound.firm(erp), BOOKS[erp.code]
    hours = {number: Decimal(8) for number in range(4)}
    outbound.entries(source, len(hours))
    for revision in range(2, 20):
        books.faults.extend(chance.sample(ERRORS, chance.randint(0, 3)))
        number = chance.choice(list(hours))
        match chance.choice(("change", "withdraw", "again", "send", "send", "wait")):
            case "change":
                hours[number] = Decimal(chance.randint(1, 9))
                changed(source, number, revision, hours=hours[number])
            case "withdraw":
                changed(source, number, revision, hours=hours[number], status=SourceStatus.WITHDRAWN)
                hours[number] = Decimal(0)
            case "again":
                hours[number] = hours[number] or Decimal(8)
                changed(source, number, revision, hours=hours[number])
            case "send":
                outbound.make_due(list(LedgerState.objects.values_list("entry", flat=True)))
                outbox.deliver(erp.pk)
            case "wait":
                deliver(erp, 2)
        if chance.random() < 0.3:
            _mend(controller)
    books.faults.clear()
    for _ in range(4):
        deliver(erp, 4)
        _mend(controller)
    standing = {
        number: sum(
            (line.hours or Decimal(0) for line in books.records if line.work_date == outbound.record(source, number).work_date),
            Decimal(0),
        )
        for number in hours
    }  # fmt: skip
    assert standing == hours
    assert set(books.by_key().values()) <= {1}
    assert_all_hold()


def _mend(controller: User) -> None:
    """People take back what was changed or withdrawn after it was booked, and post again what was refused."""
    corrections.repost(
        list(LedgerState.objects.filter(state="rejected").values_list("entry", flat=True)), by=controller, reason="open again"
    )  # fmt: skip
    rules = (CHANGED, "approval-withdrawn-after-posting", "deleted-at-source")
    for entry in Hold.objects.filter(closed_at=None, rule__in=rules).values_list("entry", flat=True).distinct():
        try:
            corrections.reverse_standing([entry], by=controller, reason="changed at the source")
        except corrections.NotReversible:
            continue  # not known yet
