"""A desk whose judge is an ERP that books whatever it is sent, as often as it is sent."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from integrations import outbox
from integrations.sandbox.server import control
from portal.models import Connection, LedgerEntry, LedgerState, Project, User
from portal.records import Reference
from reconciliation import operations
from reconciliation.models import ExceptionCase, Operation
from tests import world
from tests.faults.workers import TIMES
from tests.integrations import outbound
from tests.invariants import assert_all_hold

CODE = "ACM-9"


@dataclass
class Desk:
    """A cause with its held entries, two analysts, and the ERP that they are owed to."""

    sandbox: str
    target: Connection
    source: Connection
    ana: User
    ben: User

    @property
    def project(self) -> Project:
        return Project.objects.get(entity=self.source.entity)

    @property
    def cause(self) -> ExceptionCase:
        return ExceptionCase.objects.get(rule="project-unknown")

    def held(self, count: int, start: int = 0) -> list[int]:
        """Entries of one mistyped code."""
        lost = Reference("?", CODE, "")
        records = [outbound.record(self.source, start + n, project=lost) for n in range(count)]
        found = outbound.take_in(self.source, records).held
        assert len(found) == count
        return sorted(found)

    def plan(self, user: User, **more: Any) -> Operation:
        """The dry-run of mapping that code."""
        parameters = {"record": self.project.pk, "valid_from": ""}
        return operations.plan(
            "map-code",
            **{"user": user, "parameters": parameters, "reason": "a typing error", "case": self.cause, **more},
        )

    def deliver(self) -> None:
        """Let the outbox post what is ready and read it back."""
        while LedgerState.objects.filter(state__in=["ready", "sending", "accepted"], waits_on="").exists():
            told = outbox.deliver(self.target.pk)
            assert told.accepted or told.proved, told
        operations.follow()

    def booked(self) -> Counter[str]:
        """The keys in the ERP's books, with how often each stands there."""
        return Counter(control(self.sandbox, "GET", "plain/inspect")["keys"])

    def judge(self, operation: Operation) -> Counter[str]:
        """One terminal result per row, counts that add up, and each posted entry once in the books; the results."""
        operation.refresh_from_db()
        results = Counter(operation.rows.values_list("result", flat=True))
        assert not results["pending"]
        assert (operation.done, operation.failed) == (results["done"], results["failed"] + results["skipped"])
        posted = LedgerEntry.objects.filter(state_row__state="posted").values_list("idempotency_key", flat=True)
        assert self.booked() == Counter(key.hex for key in posted)
        assert_all_hold()
        return results


def desk(sandbox: str) -> Desk:
    """The desk, with nothing on it yet."""
    target = world.connection("plain", "plain", is_target=True, concurrency=2, settings=TIMES)
    Connection.objects.filter(pk=target.pk).update(base_url=f"{sandbox}/plain")
    source = outbound.firm(target)
    entity = outbound.entity_of(source)
    return Desk(sandbox, target, source, *(world.user(name, "analyst", entity) for name in ("ana", "ben")))
