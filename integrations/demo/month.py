"""What was worked in the demo month, and what is wrong with some of it.

who        what                                                            what comes of it
clarke     goes on recording on Thames ticketing after it was closed        project closed
schulz     writes NRD-5010 for NRD-5100 in the nightly file                 project unknown
lim        works for Orchid Bank, whose card has no analyst                 rate missing
jones      Acme's senior rate rose in mid-week, his tracker was not told    rate differs
kaya       is free of charge at Helvetia, as agreed                         posted at zero
vogel      brings three days of the month before, which is closed           period closed
patel      records four days in Harvest as well                             duplicate from two tools
okafor     works on a fixed fee                                             posted as cost only
hughes     passes the hours that her customer's retainer pays for           split, and those beyond are billed
rivera     flies to Acme and takes a cab                                    posted as expenses, on Acme's bill
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from integrations.demo import firm
from integrations.demo.firm import Month

MISTYPED = "NRD-5010"
STEADY = {
    "adams": "ACM-2213", "rivera": "ACM-2213", "jones": "ACM-2240", "okafor": "BLU-1007",
    "clarke": "THM-3302", "patel": "THM-3301", "evans": "CRN-4100", "byrne": "CRN-4100",
    "vogel": "NRD-5100", "schulz": "NRD-5100", "kaya": "HEL-5200", "brandt": "NRD-5100",
    "tan": "MRL-6100", "kumar": "MRL-6100", "lim": "ORC-7100", "wong": "ORC-7100",
    "visser": "TUL-8100", "dekker": "TUL-8100", "hughes": "LUM-3400",
}  # fmt: skip
TEXTS = (
    "Workshop",
    "Design session",
    "Build and test",
    "Review with the client",
    "Data migration",
    "Steering committee",
)


@dataclass(frozen=True, slots=True)
class Worked:
    """One person's hours on one project and day, as recorded. `rate` is what the tracker believes; none in files."""

    number: int
    person: str
    project: str
    on: date
    hours: Decimal
    text: str
    rate: Decimal | None = None
    code: str = ""  # the project code as written, where it is not the project's


@dataclass(frozen=True, slots=True)
class Spent:
    """What one person spent for a project on a day, with its receipt, as recorded in the tracker."""

    number: int
    person: str
    project: str
    on: date
    amount: Decimal
    text: str


def spent(month: Month) -> list[Spent]:
    """Rivera's journey to Acme, in the month's second week."""
    day = month.working_days()[5]
    return [
        Spent(1, "rivera", "ACM-2213", day, Decimal("412.60"), "Flight to the client"),
        Spent(2, "rivera", "ACM-2213", day, Decimal("38.00"), "Cab to the site"),
    ]


def _rate(person: str, project: str, on: date, month: Month) -> Decimal | None:
    customer = next(item for item in firm.CUSTOMERS if item.code == firm.project(project).customer)
    agreed = customer.rates.get(firm.person(person).role)
    if agreed is None:
        return None
    raised = (customer.code, firm.person(person).role) == ("ACM", "senior") and on >= month.rate_step_on
    return Decimal(agreed) * firm.RATE_STEP if raised and person != "jones" else Decimal(agreed)


def worked(month: Month) -> list[Worked]:
    """Everything recorded in the month, in a fixed order, some 2,400 hours."""
    return list(_worked(month))


def _worked(month: Month) -> Iterator[Worked]:
    number = 0
    for place, person in enumerate(firm.PEOPLE):
        for index, day in enumerate(month.working_days()):
            if (index + place) % 4 == 3:
                continue  # a day for something else: the firm is not this project alone
            number += 1
            project = STEADY[person.code]
            code = MISTYPED if person.code == "schulz" else ""
            hours = Decimal("7.5") if (index + place) % 5 == 0 else Decimal(8)
            text = TEXTS[(index + place) % len(TEXTS)]
            yield Worked(number, person.code, project, day, hours, text, _rate(person.code, project, day, month), code)


def late(month: Month) -> list[Worked]:
    """Vogel's three last days of the month before, handed in late."""
    day = month.first - timedelta(days=1)
    days: list[date] = []
    while len(days) < 3:
        if day.isoweekday() < 6:
            days.append(day)
        day -= timedelta(days=1)
    return [
        Worked(9000 + n, "vogel", "NRD-5100", on, Decimal(8), "Handed in late") for n, on in enumerate(sorted(days))
    ]


def twice(month: Month) -> list[Worked]:
    """Four of Rivera's days that also stand in the spreadsheet from her time as a contractor."""
    hers = [item for item in worked(month) if item.person == "rivera"][4:8]
    return [
        Worked(9100 + n, "rivera", item.project, item.on, item.hours, item.text, item.rate)
        for n, item in enumerate(hers)
    ]
