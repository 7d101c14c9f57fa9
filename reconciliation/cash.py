"""Cash at risk: which open cause costs the firm most if nobody looks at it before the next invoices go out.

    cash at risk = what would be on an invoice, if it were not held, times the days by which its money comes later

**Amount.** What the cause holds that a customer pays for: billable work that is not cost only. Hours that have no agreed price
yet count at best guess (what their rule estimated, else the rate that their source states), and are shown as an estimate.

**Days.** Held hours miss the customer's next invoice run and go out with the run after it. The days count from the run that
would be missed until the later invoice is due: the days between the two runs, plus the payment terms. With invoices on the
last of the month and 30 days to pay, hours that miss 30 November are due on 30 January and not before: 31 + 30 = 61 days.

**Who says so.** The contract, else its customer. `none` (never invoiced, as between two companies of the group) makes no cash
wait: 0 days. A schedule that nobody told, or that has no calendar because invoices follow milestones, is *unknown*: it is
shown as unknown, and 30 days and the payment terms are counted for it. Payment terms that nobody told add nothing.

**Currencies.** A cause's cash at risk is told in one currency: that of its entity's books where it holds any of it, else the
one in which it holds most. For the order, and for nothing else, all that it holds is compared in the group's currency (policy
`group_currency`) at the latest exchange rates of the master data. No rate is invented: a cause that holds a currency without
one stands apart, after the others. Where no group currency is told, each currency is ordered by itself. The queue says which.

The rule here: what is counted is kept by the batch that counts a cause, as of a day; a new day and changed master data weigh
again. The days of a schedule are computed in this module only, and handed to the database.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from django.utils import timezone

from portal import figures
from portal.models import InvoiceSchedule
from reconciliation.schedules import UNKNOWN_DAYS, Terms
from reconciliation.sql import cash as sql

BATCH = 5_000


def weigh(case_ids: Sequence[int], today: date | None = None) -> None:
    """Write what cases hold and risk, as of today; three statements, whatever their number."""
    if case_ids:
        day = today or timezone.localdate()
        sql.weigh(case_ids, today=day, gaps=_gaps(day), unknown=UNKNOWN_DAYS)


def weigh_again(
    customers: Collection[int] = (),
    contracts: Collection[int] = (),
    *,
    entities: Collection[int] = (),
    exchange_rates: Collection[int] = (),
    limit: int = BATCH,
) -> int:
    """Weigh what changed schedules, terms, policies and rates touch, and what was weighed on another day; how many cases."""
    today = timezone.localdate()
    touched = set(sql.of_customers_and_contracts(customers, contracts)) if customers or contracts else set()
    if entities or exchange_rates:
        touched.update(sql.of_entities_and_rates(entities, exchange_rates))
    ids = sorted({*touched, *sql.not_weighed_on(today, limit)})
    weigh(ids, today)
    return len(ids)


@dataclass(frozen=True, slots=True)
class Rates:
    """What currencies are worth in another one today, as the master data says; those without a rate are not in it."""

    into: str
    factors: Mapping[str, Decimal]
    days: tuple[date, ...] = ()
    sources: tuple[str, ...] = ()

    def sum(self, amounts: Iterable[tuple[str, Decimal]]) -> Decimal:
        """What amounts are worth together; those without a rate are left out."""
        return sum((amount * self.factors[code] for code, amount in amounts if code in self.factors), Decimal(0))

    def __str__(self) -> str:
        """Of which day they are, and who said so."""
        if not self.days:
            return ""
        days = " to ".join(figures.day(day) for day in dict.fromkeys((self.days[0], self.days[-1])))
        return f"rates of {days}, {' and '.join(self.sources)}"


def rates_into(into: str, codes: Collection[str]) -> Rates:
    """The latest rates of some currencies; one statement."""
    found = sql.rates(codes, into, timezone.localdate())
    return Rates(
        into,
        {into: Decimal(1), **{code: factor for code, factor, _, _ in found}},
        tuple(sorted(day for _, _, day, _ in found)),
        tuple(sorted({source for _, _, _, source in found})),
    )


def _gaps(today: date) -> list[int]:
    """The days between the next two monthly runs, for runs on the 1st, the 2nd … the 31st."""
    gaps = []
    for day in range(1, 32):
        runs = Terms(InvoiceSchedule.MONTHLY, day).runs(today)
        gaps.append((runs[1] - runs[0]).days if runs else 0)
    return gaps
