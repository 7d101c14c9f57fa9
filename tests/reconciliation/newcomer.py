"""A firm on its way in: October closed and booked by hand in its ERP, its cut-over on the first of November, nothing live yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from portal import audit, sql
from portal.models import AccountingPeriod, Connection, Crosswalk, Document, GrantRole, StatementLine, User
from reconciliation import onboarding
from reconciliation.models import Onboarding, Rehearsal
from reconciliation.onboarding import rehearsing
from tests import world
from tests.reconciliation.firm import Firm, build

MONTH = date(2026, 10, 1)
CUT_OVER = date(2026, 11, 1)


@pytest.fixture
def on_27_november(monkeypatch: pytest.MonkeyPatch) -> None:
    """The day on which the checklist is asked; what is leased goes by the database's own clock."""
    monkeypatch.setattr(sql, "now", lambda: datetime(2026, 11, 27, 12, tzinfo=UTC))


@dataclass
class Newcomer:
    """The firm, its onboarding, and two controllers."""

    firm: Firm
    onboarding: Onboarding
    cleo: User
    carl: User
    booked: int = field(default=0)

    def take(self, *days: date, first: int = 1, **changes: Any) -> list[int]:
        """Approved hours of Ana's on these days, as the source says them; their documents."""
        records = [self.firm.time(str(first + n), work_date=day, **changes) for n, day in enumerate(days)]
        self.firm.admit(*records)
        ids = [record.external_id for record in records]
        return list(Document.objects.filter(external_id__in=ids).order_by("pk").values_list("pk", flat=True))

    def book(self, day: date, hours: str = "8", amount: str | None = "960", **changes: Any) -> StatementLine:
        """A line that somebody keyed into the ERP by hand."""
        self.booked += 1
        firm = self.firm
        values: dict[str, Any] = {
            "resource_key": self.key("resource", firm.ana.pk), "project_key": self.key("project", firm.project.pk), **changes
        }  # fmt: skip
        return StatementLine.objects.create(
            connection=firm.target, entity=firm.entity, kind="time", number=f"H-{self.booked}", work_date=day,
            hours=Decimal(hours), amount=Decimal(amount) if amount else None, currency="USD", read_at=sql.now(), **values,
        )  # fmt: skip

    def key(self, kind: str, pk: int) -> str:
        """What the ERP calls one of our records."""
        return Crosswalk.objects.get(kind=kind, internal_id=pk).external_id

    def rehearse(self, **more: Any) -> Rehearsal:
        """October in shadow, with the statements as they were read."""
        period = AccountingPeriod.objects.get(entity=self.firm.entity, code="2026-10")
        asked = onboarding.request(self.onboarding, period, by=self.cleo, **more)
        found = rehearsing.take(asked.pk)
        assert found is not None
        rehearsing.play(found, {self.firm.target.pk: Decimal(0)})
        found.refresh_from_db()
        return found


def bring_in(*, complete: bool = True) -> Newcomer:
    """The firm with everything that the checklist asks for, unless told not to."""
    firm = build()
    cleo = world.user("cleo", GrantRole.CONTROLLER, firm.entity)
    carl = world.user("carl", GrantRole.CONTROLLER, firm.entity)
    begun = onboarding.begin(firm.entity, None, by=cleo, reason="Acquired in October")
    if complete:
        finish(firm)
        cut_over(begun, firm.source, cleo)
    return Newcomer(firm, begun, cleo, carl)


def finish(firm: Firm) -> None:
    """What configuration brings: a calendar, closed months, and connections that were tested."""
    firm.entity.calendar = {"weekend": [6, 7], "hours_per_day": "8", "holidays": ["2026-12-25"]}
    firm.entity.save()
    closed = AccountingPeriod.objects.filter(entity=firm.entity, ends_on__lt=CUT_OVER)
    for period in closed:
        period.state = AccountingPeriod.State.CLOSED
        period.save()
    for connection in (firm.source, firm.target):
        was_tested(connection)


def was_tested(connection: Connection, *, answers: bool = True) -> None:
    """That a person tested it."""
    now = timezone.now()  # a moment of its own, though the whole test is one transaction
    after = {"answers": answers}
    audit.record(None, "connection-tested", connection, entity=connection.entity_id, after=after, at=now)


def cut_over(found: Onboarding, source: Connection, by: User, day: date = CUT_OVER) -> None:
    """Time and expenses are owed from this day on."""
    days = {(source.pk, "time"): day, (source.pk, "expense"): day}
    onboarding.set_cut_over(found, days, by=by, reason="as agreed with the auditors")


def weekdays(start: date, count: int) -> Sequence[date]:
    """Days of work from a day on."""
    found: list[date] = []
    while len(found) < count:
        if start.weekday() < 5:
            found.append(start)
        start += timedelta(days=1)
    return found
