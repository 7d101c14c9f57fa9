"""One vendor replaced by another at a cut-over date: only its connection and routes change, and nothing is booked twice."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from integrations import inbox, registry, statements, streams, work
from integrations.models import Run, Stream
from integrations.sandbox.businesscentral.vendor import CLIENT_SECRET
from integrations.sandbox.harvest import ACCOUNT_ID
from integrations.sandbox.harvest import TOKEN as HARVEST_TOKEN
from integrations.sandbox.server import control, sandbox_server
from integrations.sandbox.tempo import TOKEN as TEMPO_TOKEN
from portal.models import (
    AccountingPeriod,
    Connection,
    LedgerEntry,
    LedgerState,
    Project,
    Resource,
    State,
    TimeEntry,
)
from reconciliation import corrections, validation
from reconciliation.models import ExceptionCase, ReconciliationRun, Route
from tests import world
from tests.flows import two_people
from tests.integrations import bc_account, netsuite_account, outbound, test_harvest
from tests.integrations.tempo_account import Site, worklog
from tests.invariants import assert_all_hold

pytestmark = pytest.mark.django_db(transaction=True)

CUT_OVER = date(2026, 10, 15)


@pytest.fixture(scope="module")
def vendors() -> Iterator[str]:
    secrets = {
        "NETSUITE_KEY": netsuite_account.keys()["PS256"][0], "BC_SECRET": CLIENT_SECRET, "HARVEST_TOKEN": HARVEST_TOKEN,
        "TEMPO_TOKEN": TEMPO_TOKEN,
    }  # fmt: skip
    os.environ.update(secrets)
    with sandbox_server(names=["netsuite", "businesscentral", "harvest", "tempo"]) as base_url:
        yield base_url
    for name in secrets:
        del os.environ[name]


@pytest.fixture(autouse=True)
def _clean(vendors: str, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.ALLOW_LOOPBACK = True
    monkeypatch.setitem(registry.CONNECTORS, "memory", "tests.integrations.memory_target.MemoryTarget")
    monkeypatch.setattr("integrations.connectors.tempo.connector.TempoConnector.rate", None)
    control(vendors, "POST", "reset", {})
    control(vendors, "POST", "tempo/configure", {"rate": [100_000, 1]})


def connect(code: str, connector: str, account: Any, credentials: dict[str, str], **more: Any) -> Connection:
    """A connection to an account of the sandbox."""
    made = world.connection(
        code, connector, realm=account.realm, settings=account.settings,
        credentials={name: {"env": variable} for name, variable in credentials.items()}, **more,
    )  # fmt: skip
    Connection.objects.filter(pk=made.pk).update(base_url=account.base_url)
    made.refresh_from_db()
    return made


def ties_out(source: Connection) -> bool:
    """Whether October of the source's entity balances, on all legs that are compared."""
    october = AccountingPeriod.objects.get(entity=source.entity, code="2026-10")
    run = statements.reconcile(outbound.entity_of(source), october)
    assert run.state == ReconciliationRun.State.BALANCED, list(run.results.values_list("leg", "outcome", "reason"))
    return True


class TestTheErp:
    """NetSuite gives way to Business Central in the middle of a month."""

    @pytest.fixture
    def netsuite(self, vendors: str) -> Connection:
        control(vendors, "POST", "netsuite/seed", netsuite_account.SEED)
        return connect(
            "netsuite", "netsuite", netsuite_account.account(vendors), {"private_key": "NETSUITE_KEY"}, is_target=True
        )

    @pytest.fixture
    def bc(self, vendors: str) -> Connection:
        control(vendors, "POST", "businesscentral/seed", bc_account.SEED)
        account = bc_account.account(vendors, currency="USD")
        return connect("bc", "businesscentral", account, {"client_secret": "BC_SECRET"}, is_target=True)

    def booked(self, vendors: str) -> tuple[Counter[str], Counter[str]]:
        """What each ERP holds, by our key."""
        netsuite = control(vendors, "GET", "netsuite/inspect")["records_by_external_id"].get("timebill", {})
        bc = control(vendors, "GET", "businesscentral/inspect")["entries_by_key"]
        return Counter(netsuite), Counter(bc)

    def deliver(self, *targets: Connection) -> None:
        moving = [State.READY, State.SENDING, State.ACCEPTED, State.IN_DOUBT]
        for _ in range(8):
            LedgerState.objects.filter(state__in=moving).update(next_attempt_at="2020-01-01T00:00:00Z")
            for target in targets:
                work.deliver(target.pk)
            if not LedgerState.objects.filter(state__in=moving).exists():
                return

    def cut_over(self, source: Connection, old: Connection, new: Connection) -> None:
        """What two people of the firm do: keys of the new ERP, the old route ends, the new one begins."""
        project, person = Project.objects.get(), Resource.objects.order_by("pk")[0]
        two_people.change(
            "Business Central from the cut-over on",
            *(
                {
                    "model": "crosswalk", "line_action": "add", "connection": new.code, "kind": kind, "external_id": key,
                    "code": code, "valid_from": outbound.BEGINNING.isoformat(),
                }
                for kind, key, code in (("project", "J10", project.code), ("resource", "AH", person.code))
            ),
            *two_people.following(Route.objects.get(source=source, target=old), new.code, CUT_OVER, CUT_OVER - timedelta(days=1)),
        )  # fmt: skip
        while validation.follow_changes():
            pass

    @pytest.mark.case(114)
    def test_open_items_go_by_their_work_date_posted_ones_stay_and_nothing_is_booked_twice(
        self, vendors: str, netsuite: Connection, bc: Connection
    ) -> None:
        source = outbound.firm(netsuite, keys={"entity": "1", "project": "1514", "resource": "22"})
        early = outbound.entries(source, 4)  # 1 to 4 October, posted before anybody thinks of Business Central
        late = outbound.entries(source, 4, start=20)  # 21 to 24 October, posted as well
        self.deliver(netsuite)
        assert set(outbound.states([*early, *late]).values()) == {State.POSTED}
        outbound.entries(source, 12, start=8)  # 9 to 20 October, still open

        self.cut_over(source, netsuite, bc)
        self.deliver(netsuite, bc)

        posted = LedgerEntry.objects.filter(state_row__state=State.POSTED)
        posted_ids = set(posted.values_list("pk", flat=True))
        assert len(posted_ids) == 20
        at_old, at_new = self.booked(vendors)
        assert at_old == Counter(e.idempotency_key.hex for e in posted.filter(target=netsuite))
        assert at_new == Counter(e.idempotency_key.hex for e in posted.filter(target=bc))
        assert {e.document.external_id for e in posted.filter(target=bc)} == {str(n) for n in range(14, 20)}
        assert all(e.post_on >= CUT_OVER for e in posted.filter(target=bc))
        assert Counter(e.document_id for e in posted) == Counter(set(posted.values_list("document_id", flat=True)))
        assert set(outbound.states([*early, *late]).values()) == {State.POSTED}

        assert ties_out(source), "the month is compared with the statements of both"
        assert set(outbound.states(list(posted_ids)).values()) == {State.RECONCILED}
        assert_all_hold()

    @pytest.mark.case(57, 114)
    def test_what_is_in_doubt_at_the_old_erp_is_settled_there_and_never_sent_to_the_new_one(
        self, vendors: str, netsuite: Connection, bc: Connection
    ) -> None:
        source = outbound.firm(netsuite, keys={"entity": "1", "project": "1514", "resource": "22"})
        [entry] = outbound.entries(source, 1, start=20)
        registry.target(netsuite).check()  # signed in, so that the answer is lost and not the sign-in
        lost = {"vendor": "netsuite", "kind": "reset_after", "method": "PUT", "path": "/timebill"}
        control(vendors, "POST", "faults", [lost])
        work.deliver(netsuite.pk)
        assert outbound.state_of(entry).state in (State.IN_DOUBT, State.ACCEPTED, State.POSTED)
        self.cut_over(source, netsuite, bc)
        self.deliver(netsuite, bc)
        at_old, at_new = self.booked(vendors)
        assert (sum(at_old.values()), sum(at_new.values())) == (1, 0)
        assert outbound.states([entry]) == {entry: State.POSTED}
        assert_all_hold()

    def test_a_correction_is_taken_back_where_the_hour_stands_and_booked_where_its_day_is_now(
        self, vendors: str, netsuite: Connection, bc: Connection
    ) -> None:
        source = outbound.firm(netsuite, keys={"entity": "1", "project": "1514", "resource": "22"})
        [entry] = outbound.entries(source, 1, start=20)
        self.deliver(netsuite)
        self.cut_over(source, netsuite, bc)
        waiting = outbound.take_in(source, [outbound.record(source, 20, 9, hours=Decimal(6))]).held
        corrections.reverse_standing(
            waiting, by=world.user("fay", "analyst", outbound.entity_of(source)), reason="Six, not eight."
        )
        self.deliver(netsuite, bc)
        assert outbound.states([entry]) == {entry: State.REVERSED}
        at_old, at_new = self.booked(vendors)
        assert (sum(at_old.values()), sum(at_new.values())) == (2, 1), (
            "hour and reversal in one, the correction in the other"
        )
        assert ties_out(source)
        assert_all_hold()


class TestTheTracker:
    """Harvest gives way to Tempo at a cut-over date; both are connected for a while."""

    def read(self, connection: Connection) -> None:
        stream, _ = Stream.objects.get_or_create(
            connection=connection, name="time_entries", defaults={"every_seconds": 900}
        )
        Stream.objects.filter(pk=stream.pk).update(next_due_at=None, usual_volume=0)
        run = streams.pull(stream.pk)
        assert run is not None
        assert run.state == Run.State.DONE, run.failure
        inbox.take_in_everything(connection.pk)

    @pytest.mark.case(114)
    def test_hours_of_both_sides_of_the_day_are_owed_once_and_old_ones_that_were_moved_over_are_history(
        self, vendors: str
    ) -> None:
        books = outbound.target()
        source = outbound.firm(books)
        harvest = test_harvest.Account11(vendors)
        Connection.objects.filter(pk=source.pk).update(
            base_url=harvest.account.base_url, realm=ACCOUNT_ID, settings={"window_days": 0},
            credentials={"token": {"env": "HARVEST_TOKEN"}},
        )  # fmt: skip
        source.refresh_from_db()
        site = Site(vendors)
        tempo = connect(
            "tempo-us", "tempo", site.account, {"token": "TEMPO_TOKEN"}, owner=source.entity, is_source=True,
            zone="America/New_York",
        )  # fmt: skip
        self.know(source, tempo)

        harvest.seed(**test_harvest.MASTER)
        worked = [test_harvest.entry(n, date(2026, 10, n), billable_rate=None, hours=8.0) for n in (12, 13, 14, 15)]
        harvest.seed(time_entries=worked)  # somebody went on in the old tracker for a day, and moved it over
        moved = [worklog(n, date(2026, 10, n), account="ACM", timeSpentSeconds=28800) for n in (12, 13, 14)]
        fresh = [worklog(n, date(2026, 10, n), account="ACM", timeSpentSeconds=28800) for n in (15, 16, 19)]
        site.seed(*moved, *fresh)
        for day in (date(2026, 10, 12), date(2026, 10, 19)):
            site.decide("approve", day=day)
        self.read(source)
        self.read(tempo)

        owed = LedgerEntry.objects.filter(state_row__state=State.READY)
        found = Counter((entry.document.connection.code, entry.post_on.day) for entry in owed)
        assert found == Counter(
            {**{("tracker-us", n): 1 for n in (12, 13, 14)}, **{("tempo-us", n): 1 for n in (15, 16, 19)}}
        )
        [gone] = ExceptionCase.objects.filter(state="open")
        assert gone.sentence == "Time entries of Tracker-Us have no target on 15 Oct 2026; add a route."
        assert TimeEntry.objects.filter(document__connection=tempo).count() == 6, "history is stored, and not posted"
        while LedgerState.objects.filter(state__in=[State.READY, State.ACCEPTED]).exists():
            work.deliver(books.pk)
        assert LedgerEntry.objects.filter(state_row__state=State.POSTED).count() == 6
        october = AccountingPeriod.objects.get(entity=source.entity, code="2026-10")
        run = statements.reconcile(outbound.entity_of(source), october)
        off = run.results.exclude(outcome="matched").values_list("leg", "outcome", "reason")
        assert [*off] == [
            (
                "tracker_ledger",
                "missing_right",
                "Approved, and no ledger entry exists for it: no route leads it to a target.",
            )
        ], "what both trackers hold of the month is in the books once, and what was moved over is named"
        assert_all_hold()

    def know(self, harvest: Connection, tempo: Connection) -> None:
        """Both trackers' keys of one project and one person, and the route of the new one: as two people agree."""
        project, person = Project.objects.get(), Resource.objects.order_by("pk")[0]
        keys = (
            (harvest, "project", "31", project.code), (harvest, "resource", "11", person.code),
            (tempo, "project", "ACM", project.code), (tempo, "resource", "ada", person.code),
        )  # fmt: skip
        route = Route.objects.get(source=harvest)
        begins = {
            "model": "route", "line_action": "add", "entity": route.entity.code, "source": tempo.code, "kind": "time",
            "target": route.target.code,
        }  # fmt: skip
        since = outbound.BEGINNING.isoformat()
        two_people.change(
            "Tempo from the cut-over on",
            *(
                {
                    "model": "crosswalk", "line_action": "add", "connection": connection.code, "kind": kind,
                    "external_id": key, "code": code, "valid_from": since,
                }
                for connection, kind, key, code in keys
            ),
            {"model": "route", "key": route.pk, "line_action": "change", "valid_to": (CUT_OVER - timedelta(days=1)).isoformat()},
            begins,
            {"model": "connection", "key": tempo.pk, "line_action": "change", "cut_over_on": CUT_OVER.isoformat()},
        )  # fmt: skip
