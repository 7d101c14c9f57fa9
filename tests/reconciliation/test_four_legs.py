"""Four legs of a month: random histories, and the same said twice — by what was touched, and by everything once more.

At every step nothing is lost, everything stands in exactly one place, and both sides add up to what their tables hold.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.db.models import F, Sum
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from integrations.sql import statements
from portal.models import AccountingPeriod, Document, Invoice, LedgerEntry, LegalEntity, StatementLine, TimeEntry
from portal.records import BillStatus, SourceStatus
from portal.sql import draw_ids, now
from reconciliation import matching
from reconciliation.models import MatchedBucket, ReconciliationResult, ReconciliationRun
from reconciliation.sql import closing
from tests import world
from tests.bills import Erp, line_of
from tests.reconciliation import firm as firms

pytestmark = pytest.mark.django_db(transaction=True)

ZERO = Decimal(0)
LEGS = ("tracker_ledger", "ledger_target", "target_invoice", "invoice_payment")
STEP = st.tuples(
    st.sampled_from(
        ["work", "work", "post", "post", "book", "book", "book_other", "foreign", "lose", "move", "elsewhere", "reassign",
         "withdraw", "edit", "bill",
         "bill", "bill_nothing", "void", "delete", "revive", "pay", "pay", "overpay", "pay_unknown"]
    ),
    st.integers(0, 1000),
)  # fmt: skip

EVERYTHING = [
    ("work", 3), ("work", 4), ("post", 1), ("book", 0), ("book_other", 1), ("foreign", 3), ("lose", 0), ("move", 1), ("book", 0),
    ("withdraw", 0), ("edit", 5), ("work", 2), ("post", 2), ("bill", 7), ("bill_nothing", 1), ("pay", 1), ("void", 0),
    ("delete", 0), ("revive", 0),
    ("bill", 2), ("pay", 2), ("overpay", 1), ("pay_unknown", 4), ("move", 2), ("lose", 1), ("reassign", 0), ("elsewhere", 1),
    ("elsewhere", 0), ("book", 0),
]  # fmt: skip
TRICKY = {
    "book_other",
    "foreign",
    "lose",
    "move",
    "elsewhere",
    "reassign",
    "edit",
    "void",
    "delete",
    "revive",
    "pay_unknown",
}


@dataclass
class Month:
    """One month of one firm, and what its ERP says of it."""

    firm: firms.Firm
    period: AccountingPeriod
    erp: Erp
    numbers: Iterator[int]
    worked: dict[str, int] = field(default_factory=dict)  # id at the source: times said
    lines: dict[str, list[Any]] = field(default_factory=dict)
    bills: list[str] = field(default_factory=list)
    paid: Counter[str] = field(default_factory=Counter)
    records: dict[str, Any] = field(default_factory=dict)

    def entries(self, *states: str) -> list[LedgerEntry]:
        found = LedgerEntry.objects.filter(document__external_id__in=self.worked, state_row__state__in=states)
        return list(found.select_related("state_row").order_by("pk"))

    def day(self, pick: int) -> date:
        return self.period.starts_on + timedelta(days=pick % 28)

    def do(self, step: str, pick: int) -> None:
        getattr(self, step)(pick)

    def work(self, pick: int) -> None:
        for name in (str(next(self.numbers)), str(next(self.numbers))):
            self.worked[name] = 1
            self.firm.admit(self.firm.time(name, work_date=self.day(pick), hours=Decimal(pick % 8 + 1)))

    def post(self, pick: int) -> None:
        if ready := self.entries("ready"):
            firms.post([entry.pk for entry in ready[: pick % 3 + 1]])

    def _read(self) -> None:
        """The target's statement of the month, read to its end."""
        target, entity = self.firm.target.pk, self.firm.entity.pk
        with transaction.atomic():
            moment = now()
            statements.keep_lines(target, entity, moment, list(self.lines.values()))
            statements.mark_gone(target, entity, self.period.starts_on, self.period.ends_on, moment)

    def _line(self, entry: LedgerEntry, hours: Decimal | None = None) -> None:
        number = entry.state_row.receipt_number
        worked = entry.hours or ZERO
        self.lines[number] = [
            "time", number, "", entry.post_on, "", "", hours or worked, entry.rate, (hours or worked) * Decimal(120), "USD", "",
        ]  # fmt: skip

    def book(self, pick: int) -> None:
        for entry in self.entries("posted", "reconciled"):
            if entry.state_row.receipt_number not in self.lines:
                self._line(entry)
        self._read()

    def book_other(self, pick: int) -> None:
        if posted := self.entries("posted", "reconciled"):
            self._line(posted[pick % len(posted)], Decimal(pick % 5 + 1))
            self._read()

    def foreign(self, pick: int) -> None:
        number = f"X{next(self.numbers)}"
        self.lines[number] = ["time", number, "", self.day(pick), "", "", Decimal(2), None, Decimal(99), "USD", ""]
        self._read()

    def lose(self, pick: int) -> None:
        if self.lines:
            del self.lines[sorted(self.lines)[pick % len(self.lines)]]
            self._read()

    def elsewhere(self, pick: int) -> None:
        """The target books a line in another legal entity's books."""
        if self.lines:
            line = self.lines.pop(sorted(self.lines)[pick % len(self.lines)])
            self._read()
            other = LegalEntity.objects.filter(code="GB").first() or world.entity("GB", "GBP")
            with transaction.atomic():
                statements.keep_lines(self.firm.target.pk, other.pk, now(), [line])

    def reassign(self, pick: int) -> None:
        """The target books a line for another person."""
        if self.lines:
            self.lines[sorted(self.lines)[pick % len(self.lines)]][4] = f"somebody {pick}"
            self._read()

    def move(self, pick: int) -> None:
        """The target books a line on another day, perhaps of another month."""
        if self.lines:
            line = self.lines[sorted(self.lines)[pick % len(self.lines)]]
            line[3] = self.day(pick) + timedelta(days=31 * (pick % 2))
            self._read()

    def withdraw(self, pick: int) -> None:
        if self.worked:
            name = sorted(self.worked)[pick % len(self.worked)]
            self.firm.admit(
                self.firm.time(name, status=SourceStatus.WITHDRAWN, work_date=self.day(pick), hours=Decimal(1))
            )

    def edit(self, pick: int) -> None:
        """Other hours at the source, perhaps in another month."""
        if self.worked:
            name = sorted(self.worked)[pick % len(self.worked)]
            day = self.day(pick) + timedelta(days=31 * (pick % 5 == 0))
            self.firm.admit(self.firm.time(name, work_date=day, hours=Decimal(pick % 8 + 1)))

    def bill(self, pick: int) -> None:
        if posted := self.entries("posted", "reconciled")[pick % 3 :][:2]:
            self._bill(*(line_of(entry.pk, str(min(entry.hours or ZERO, Decimal(pick % 8 + 1)))) for entry in posted))

    def bill_nothing(self, pick: int) -> None:
        self._bill(line_of(10_000_000 + pick, "3"))

    def _bill(self, *lines: Any) -> None:
        name = f"B{next(self.numbers)}"
        said = self.erp.bill(name, *lines, booked_on=self.period.ends_on, due_on=self.period.ends_on)
        self.records[name] = said
        self.bills.append(name)
        self.erp.says(said)

    def void(self, pick: int) -> None:
        if self.bills:
            name = self.bills[pick % len(self.bills)]
            self.records[name] = self.erp.again(self.records[name], status=BillStatus.VOIDED)
            self.erp.says(self.records[name])

    def delete(self, pick: int) -> None:
        """A bill that was there last is not there any more."""
        if self.bills:
            self.erp.says(self.erp.gone(self.records[self.bills[-1 - pick % len(self.bills)]]))

    def revive(self, pick: int) -> None:
        """A bill that was deleted stands in its system again, as it was."""
        if self.bills:
            self.erp.says(self.erp.again(self.records[self.bills[-1 - pick % len(self.bills)]]))

    def pay(self, pick: int) -> None:
        if self.bills:
            name = self.bills[pick % len(self.bills)]
            total = self.records[name].total - self.paid[name]
            part = total if pick % 2 else Decimal(10)
            if part > 0:
                self._pay(str(part), (name, str(part)))
                self.paid[name] += part  # type: ignore[assignment]

    def overpay(self, pick: int) -> None:
        if self.bills:
            self._pay("50", (self.bills[pick % len(self.bills)], "20"), unapplied=Decimal(30))

    def pay_unknown(self, pick: int) -> None:
        self._pay("70", (f"nobody-{pick}", "70"))

    def _pay(self, amount: str, *parts: tuple[str, str], **more: Any) -> None:
        name = f"P{next(self.numbers)}"
        self.erp.says(self.erp.payment(name, amount, *parts, booked_on=self.period.ends_on, **more))

    def compare(self, *, whole: bool = False) -> ReconciliationRun:
        return matching.run(self.firm.entity, self.period, whole=whole)

    def standing(self) -> list[tuple[Any, ...]]:
        rows = ReconciliationResult.objects.standing().filter(period=self.period)
        return sorted(
            rows.values_list(
                "leg", "subject", "outcome", "standing", "hours_left", "hours_right", "amount_left", "amount_right", "reason"
            ),
            key=repr,
        )  # fmt: skip


def _sum(rows: Any, column: str) -> Decimal:
    return Decimal(rows.aggregate(total=Sum(column))["total"] or 0)


def _holds(month: Month, run: ReconciliationRun) -> None:
    """Nothing is lost, and both sides of every leg add up to what the tables say."""
    period, entity = month.period, month.firm.entity
    within = (period.starts_on, period.ends_on)
    for leg, totals in run.totals.items():
        rows = ReconciliationResult.objects.standing().filter(period=period, leg=leg)
        buckets = MatchedBucket.objects.filter(period=period, leg=leg)
        assert sum(totals["outcomes"].values()) == rows.count() + int(_sum(buckets, "rows"))
        assert sum(totals["standing"].values()) == totals["matched"] + totals["open"] + totals["differing"]
    tracked = TimeEntry.objects.filter(document__entity=entity, work_date__range=within, status="approved")
    tracked = tracked.filter(version=F("document__current_version"))
    assert Decimal(run.totals["tracker_ledger"]["hours"]["left"]) == _sum(tracked, "hours")
    booked = LedgerEntry.objects.filter(entity=entity, post_on__range=within)
    receipted = booked.filter(state_row__state__in=["accepted", "posted", "reconciled", "reversed"])
    assert Decimal(run.totals["ledger_target"]["hours"]["left"]) == _sum(receipted, "hours")
    lines = StatementLine.objects.filter(entity=entity, work_date__range=within, gone_at=None)
    there = Decimal(run.totals["ledger_target"]["hours"]["right"])
    far = ReconciliationResult.objects.standing().filter(period=period, leg="ledger_target", outcome="date_differs")
    away = _sum(far.exclude(line__work_date__range=within), "hours_right")
    assert there - away == _sum(lines, "hours")
    if "invoice_payment" in run.totals:
        owed = Invoice.objects.filter(entity=entity, kind="invoice", current__booked_on__range=within)
        owed = owed.exclude(current__status__in=["draft", "voided", "deleted"])
        money = run.totals["invoice_payment"]["money"].get("USD", {"left": "0"})
        assert Decimal(money["left"]) == _sum(owed, "current__total")


def test_what_was_touched_comes_to_the_same_as_everything_and_nothing_is_lost() -> None:
    firm = firms.build()
    months = list(AccountingPeriod.objects.filter(entity=firm.entity, starts_on__lt=date(2026, 11, 1)))
    numbers, turn = iter(range(1, 1_000_000)), iter(range(1_000_000))
    erp = Erp(firm)

    @settings(
        max_examples=2, deadline=None, database=None, derandomize=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )  # fmt: skip
    @given(st.lists(st.lists(STEP, min_size=3, max_size=6), min_size=2, max_size=2))
    def tell(parts: list[list[tuple[str, int]]]) -> None:
        month = Month(firm, months[next(turn) % len(months)], erp, numbers)
        for step in ("work", "work", "post", "post", "book", "bill", "pay"):
            month.do(step, 7)
        month.compare()
        for part in parts:
            for step, pick in part:
                month.do(step, pick)
            run = month.compare()
            if run.compared is not None:
                assert run.compared <= 8 * (Document.objects.count() + Invoice.objects.count()) * 3
            _holds(month, run)
        found, totals = month.standing(), run.totals
        again = month.compare(whole=True)
        assert month.standing() == found
        assert again.totals == totals
        assert not again.results.exists()
        assert not again.ended_results.exists()

    month = Month(firm, months[-1], erp, numbers)
    seen: set[str] = set()
    for step, pick in EVERYTHING:
        month.do(step, pick)
        run = month.compare()
        seen |= {outcome for leg in run.totals.values() for outcome in leg["outcomes"]}
        _holds(month, run)
        if step in TRICKY:
            found = month.standing()
            month.compare(whole=True)
            assert month.standing() == found, step
    assert seen >= {"matched", "open", "missing_left", "missing_right", "hours_differ", "amount_differs"}
    tell()
    assert ReconciliationRun.objects.filter(compared__isnull=False).exists()


def test_a_line_that_changed_leaves_its_sum_alone_and_no_sum_counts_others_than_it_holds() -> None:
    firm = firms.build()
    period = AccountingPeriod.objects.get(
        entity=firm.entity, starts_on__lte=date(2026, 10, 5), ends_on__gte=date(2026, 10, 5)
    )
    month = Month(firm, period, Erp(firm), iter(range(1, 1000)))
    [last] = draw_ids("portal_ledgerentry", 1)
    draw_ids("portal_ledgerentry", 63 - last % 64)  # the next ones are neighbours in one sum
    for step, pick in [("work", 3), ("work", 4), ("work", 5), ("post", 2), ("post", 2), ("book", 0)]:
        month.do(step, pick)
    month.compare()
    month.compare()  # what matched moved its entries, which is looked at once more
    kept = MatchedBucket.objects.get(period=period, leg="ledger_target")
    assert (kept.rows, kept.equal.bit_count(), kept.judged) == (6, 6, 0)
    changed = month.entries("reconciled")[2]
    month.lines[changed.state_row.receipt_number][6] = Decimal("7.5")
    month._read()
    assert month.compare().compared == 1
    left = MatchedBucket.objects.get(period=period, leg="ledger_target")
    assert (left.pk, left.rows, kept.equal - left.equal) == (kept.pk, 5, 1 << changed.pk % 64)
    assert kept.hours_left - left.hours_left == changed.hours
    assert kept.amount_right - left.amount_right == changed.amount
    month.lines[changed.state_row.receipt_number][6] = changed.hours
    month._read()
    assert month.compare().compared == 1
    month_again = MatchedBucket.objects.get(period=period, leg="ledger_target")
    assert (month_again.equal, month_again.digest, month_again.hours_right) == (
        kept.equal,
        kept.digest,
        kept.hours_right,
    )
    with pytest.raises(IntegrityError, match="a_sum_counts_whom_it_holds"):
        MatchedBucket.objects.filter(pk=kept.pk).update(rows=7)


def test_what_stands_on_a_deleted_bill_is_not_invoiced_from_that_moment_on_until_the_bill_is_there_again() -> None:
    firm = firms.build()
    period = AccountingPeriod.objects.get(
        entity=firm.entity, starts_on__lte=date(2026, 10, 5), ends_on__gte=date(2026, 10, 5)
    )
    month = Month(firm, period, Erp(firm), iter(range(1, 1000)))
    for step, pick in [("work", 3), ("work", 4), ("post", 2), ("post", 2), ("book", 0), ("bill", 6)]:
        month.do(step, pick)
    month.compare()
    part = month.entries("posted", "reconciled")[0].pk
    month.erp.says(month.erp.credit("C1", month.bills[-1], line_of(part, "3"), booked_on=period.ends_on))
    month.compare()
    billed = _billed(month)
    assert billed > 0
    month.do("delete", 0)
    gone = month.compare()
    assert gone.compared is not None  # it was found among what was touched
    assert (gone.state, _billed(month)) == ("out_of_balance", ZERO)
    lost = ReconciliationResult.objects.standing().filter(period=period, leg="target_invoice", reason__contains="gone")
    assert {row.outcome for row in lost} == {"missing_right"}
    assert lost[0].reason == (
        "It stood on Invoice INV-B5, which is gone from its system; nobody asks for its money, and what holds is to be "
        "decided there."
    )
    month.do("revive", 0)
    month.compare()
    assert (_billed(month), lost.all().count()) == (billed, 0)


def test_work_that_its_source_withdrew_waits_for_no_bill() -> None:
    firm = firms.build()
    period = AccountingPeriod.objects.get(entity=firm.entity, code="2026-10")
    month = Month(firm, period, Erp(firm), iter(range(1, 1000)))
    for step, pick in [("work", 3), ("work", 4), ("post", 2), ("post", 2), ("book", 0), ("bill_nothing", 1)]:
        month.do(step, pick)
    month.compare()
    rows = ReconciliationResult.objects.standing().filter(period=period, leg="target_invoice", entry__isnull=False)
    assert {"the bill is expected by" in row.reason for row in rows} == {True}
    month.do("withdraw", 0)
    assert month.compare().compared is not None
    withdrawn = rows.get(document__external_id=min(month.worked))
    assert withdrawn.reason == "Not invoiced; its source says by now that it is withdrawn."


def _billed(month: Month) -> Decimal:
    """What the third leg of the latest run takes as invoiced, as the plot of the period does."""
    last = ReconciliationRun.objects.filter(period=month.period).latest("pk")
    found = Decimal(last.totals["target_invoice"]["money"]["USD"]["right"])
    [drawn] = closing.waterfall(month.firm.entity.pk, month.period.starts_on, month.period.ends_on).amounts
    assert drawn.invoiced == found
    return found
