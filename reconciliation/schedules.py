"""When customers are invoiced and how long they may take to pay: the one place that computes the days of a billing schedule.

The rule here: the contract says it, else its customer. What nobody said is unknown, which is not the same as never.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from portal.models import InvoiceSchedule

UNKNOWN_DAYS = 30  # counted between two runs of a schedule that nobody told


@dataclass(frozen=True, slots=True)
class Terms:
    """When a customer is invoiced and how long it may take to pay, as the contract or the customer says."""

    schedule: str = ""
    day: int | None = None
    terms_days: int | None = None

    @property
    def is_known(self) -> bool:
        """Whether the calendar says when the next invoice goes out."""
        return self.schedule in (InvoiceSchedule.MONTHLY, InvoiceSchedule.WEEKLY)

    @property
    def is_invoiced(self) -> bool:
        """Whether an invoice goes out at all."""
        return self.schedule != InvoiceSchedule.NONE

    def runs(self, today: date) -> tuple[date, date] | None:
        """The next invoice run from today on and the one after it; None where the calendar does not say."""
        if self.schedule == InvoiceSchedule.WEEKLY and self.day:
            first = today + timedelta(days=(self.day - today.isoweekday()) % 7)
            return first, first + timedelta(days=7)
        if self.schedule == InvoiceSchedule.MONTHLY and self.day:
            first = _in_month(today, self.day)
            if first < today:
                first = _in_month(_next_month(today), self.day)
            return first, _in_month(_next_month(first), self.day)
        return None

    def last_run(self, today: date) -> date | None:
        """The latest invoice run up to today; None where the calendar does not say."""
        runs = self.runs(today)
        if runs is None:
            return None
        if runs[0] == today:
            return today
        if self.schedule == InvoiceSchedule.WEEKLY:
            return runs[0] - timedelta(days=7)
        return _in_month(_last_of_month_before(runs[0]), self.day or 1)

    def through(self, run: date) -> date:
        """The last work date that a run bills.

        A weekly run bills through its own day. A monthly one bills through its day where that is the month's last, else
        through the end of the month before: invoices of the 5th are about the month that is over.
        """
        if self.schedule != InvoiceSchedule.MONTHLY or run == _in_month(run, 31):
            return run
        return _last_of_month_before(run)

    def due_on(self, dated_on: date) -> date | None:
        """When an invoice of a day is to be paid; None where nobody told."""
        return None if self.terms_days is None else dated_on + timedelta(days=self.terms_days)

    def delay(self, today: date) -> int:
        """The days by which money comes later when its hours miss the next run."""
        if not self.is_invoiced:
            return 0
        runs = self.runs(today)
        return ((runs[1] - runs[0]).days if runs else UNKNOWN_DAYS) + (self.terms_days or 0)


def agreed(contract: Terms, customer: Terms) -> Terms:
    """What holds: the contract's schedule with its day, else the customer's; the terms likewise, by themselves."""
    told = contract if contract.schedule else customer
    terms = contract.terms_days if contract.terms_days is not None else customer.terms_days
    return Terms(told.schedule, told.day, terms)


def _in_month(of: date, day: int) -> date:
    """A day of a month; the last one where the month is shorter."""
    last = _next_month(of) - timedelta(days=1)
    return last.replace(day=min(day, last.day))


def _next_month(of: date) -> date:
    return (of.replace(day=1) + timedelta(days=32)).replace(day=1)


def _last_of_month_before(of: date) -> date:
    return of.replace(day=1) - timedelta(days=1)
