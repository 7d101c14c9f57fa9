"""Who the demo firm is: its entities, customers, projects, people and rates, and the keys its vendors know them by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

Rows = list[dict[str, str]]


@dataclass(frozen=True, slots=True)
class Entity:
    """A company of the group. `subsidiary` is NetSuite's key; empty where the company keeps its books elsewhere."""

    code: str
    name: str
    currency: str
    zone: str
    subsidiary: str


@dataclass(frozen=True, slots=True)
class Customer:
    """A customer with one contract. `key` is its ERP's; `rates` are per hour, by role."""

    code: str
    name: str
    entity: str
    billing: str
    key: str
    rates: dict[str, str]
    cap: str = ""
    invoiced: tuple[str, str, str] = ("", "", "")  # schedule, day, payment terms in days; unknown where empty
    retained: str = ""  # hours of a month that a retainer pays for; those beyond are billed at the card


@dataclass(frozen=True, slots=True)
class Project:
    """An engagement; `job` is its ERP's key and `tracker` its time tracker's."""

    code: str
    name: str
    customer: str
    job: str
    tracker: str
    is_closed_early: bool = False


@dataclass(frozen=True, slots=True)
class Person:
    """A consultant; `employee` is the ERP's key and `tracker` the time tracker's."""

    code: str
    name: str
    entity: str
    role: str
    employee: str
    tracker: str


ENTITIES = (
    Entity("US", "Halden Advisory Inc.", "USD", "America/New_York", "1"),
    Entity("GB", "Halden Advisory Ltd", "GBP", "Europe/London", "2"),
    Entity("DE", "Halden Advisory GmbH", "EUR", "Europe/Berlin", "3"),
    Entity("SG", "Halden Advisory Pte Ltd", "SGD", "Asia/Singapore", "4"),
    Entity("NL", "Halden Advisory BV", "EUR", "Europe/Amsterdam", ""),
)
ROLES = {"analyst": "Analyst", "consultant": "Consultant", "senior": "Senior consultant", "manager": "Manager"}
CUSTOMERS = (
    Customer("ACM", "Acme Industrial", "US", "time_and_material", "201",
             {"analyst": "120", "consultant": "150", "senior": "180", "manager": "240"}, invoiced=("monthly", "1", "30")),
    Customer("BLU", "Bluewater Health", "US", "fixed_fee", "202", {"consultant": "150"}, invoiced=("milestone", "", "45")),
    Customer("THM", "Thames Rail", "GB", "time_and_material", "203",
             {"analyst": "85", "consultant": "110", "senior": "140", "manager": "190"}, invoiced=("weekly", "5", "14")),
    Customer("CRN", "Cairnside Power", "GB", "time_and_material", "204",
             {"analyst": "90", "consultant": "115", "senior": "145", "manager": "195"}, cap="250000",
             invoiced=("monthly", "31", "30")),
    Customer("NRD", "Nordwind Logistik", "DE", "time_and_material", "205",
             {"analyst": "95", "consultant": "120", "senior": "150", "manager": "200"}, invoiced=("monthly", "5", "14")),
    Customer("HEL", "Helvetia Werke", "DE", "time_and_material", "206",
             {"analyst": "0", "consultant": "0", "senior": "150", "manager": "200"}, invoiced=("monthly", "20", "60")),
    Customer("MRL", "Merlion Ports", "SG", "time_and_material", "207",
             {"analyst": "110", "consultant": "160", "senior": "210", "manager": "280"}, invoiced=("weekly", "1", "30")),
    Customer("ORC", "Orchid Bank", "SG", "time_and_material", "208",
             {"consultant": "170", "senior": "220", "manager": "290"}),
    Customer("LUM", "Lumen Trust", "GB", "retainer", "209", {"senior": "150"}, invoiced=("monthly", "5", "30"), retained="60"),
    Customer("TUL", "Tulip Retail", "NL", "time_and_material", "C00010",
             {"senior": "155", "manager": "205"}, invoiced=("monthly", "31", "30")),
)  # fmt: skip
PROJECTS = (
    Project("ACM-2213", "Acme roll-out", "ACM", "1501", "4001"),
    Project("ACM-2240", "Acme data platform", "ACM", "1502", "4002"),
    Project("BLU-1007", "Bluewater claims engine", "BLU", "1503", "4003"),
    Project("THM-3301", "Thames signalling", "THM", "1504", "66a000000000000000003301"),
    Project("THM-3302", "Thames ticketing", "THM", "1505", "66a000000000000000003302", is_closed_early=True),
    Project("CRN-4100", "Cairnside grid programme", "CRN", "1506", "66a000000000000000004100"),
    Project("NRD-5100", "Nordwind warehouse", "NRD", "1507", ""),
    Project("HEL-5200", "Helvetia pilot", "HEL", "1508", ""),
    Project("MRL-6100", "Merlion terminal", "MRL", "1509", ""),
    Project("ORC-7100", "Orchid core banking", "ORC", "1510", ""),
    Project("LUM-3400", "Lumen advisory desk", "LUM", "1511", "66a000000000000000003400"),
    Project("TUL-8100", "Tulip web shop", "TUL", "PR00110", ""),
)
ORDERS = (("THM", "PO-4500071123", "90000"),)  # of the customer, its number, what it is good for
MILESTONES = (  # of a fixed fee: its amount, days from the month's end until it is due, and whether the customer signed it
    ("BLU-1007", "BLU-M1", "Claims intake is live", "36000", -9, True),
    ("LUM-3400", "LUM-R1", "Retainer of the month", "7800", 0, False),  # an instalment needs no signature
    ("BLU-1007", "BLU-M2", "Adjudication rules accepted", "54000", 45, False),
)
COMING = Project("ACM-2300", "Acme data room", "ACM", "", "")  # planned: Harvest does not know it until it is told
COMING_TEAM = ("jones", "okafor")
PEOPLE = (
    Person("adams", "Grace Adams", "US", "manager", "801", "3001"),
    Person("jones", "Marcus Jones", "US", "senior", "802", "3002"),
    Person("okafor", "Ngozi Okafor", "US", "consultant", "803", "3003"),
    Person("rivera", "Elena Rivera", "US", "analyst", "804", "3004"),
    Person("clarke", "Owen Clarke", "GB", "senior", "805", "5ab0000000000000000000a1"),
    Person("patel", "Anika Patel", "GB", "consultant", "806", "5ab0000000000000000000a2"),
    Person("evans", "Rhys Evans", "GB", "manager", "807", "5ab0000000000000000000a3"),
    Person("byrne", "Aoife Byrne", "GB", "analyst", "808", "5ab0000000000000000000a4"),
    Person("vogel", "Jonas Vogel", "DE", "senior", "809", ""),
    Person("schulz", "Lena Schulz", "DE", "consultant", "810", ""),
    Person("kaya", "Deniz Kaya", "DE", "analyst", "811", ""),
    Person("brandt", "Mia Brandt", "DE", "manager", "812", ""),
    Person("tan", "Wei Ling Tan", "SG", "senior", "813", ""),
    Person("kumar", "Ravi Kumar", "SG", "consultant", "814", ""),
    Person("lim", "Joshua Lim", "SG", "analyst", "815", ""),
    Person("wong", "Sarah Wong", "SG", "manager", "816", ""),
    Person("visser", "Femke Visser", "NL", "senior", "FVI", ""),
    Person("dekker", "Bram Dekker", "NL", "manager", "BDE", ""),
    Person("hughes", "Megan Hughes", "GB", "senior", "817", "5ab0000000000000000000a5"),
)
APPROVERS = {"US": "adams", "GB": "evans", "DE": "brandt", "SG": "wong", "NL": "dekker"}
DEPUTIES = {
    "US": "jones",
    "GB": "clarke",
    "DE": "vogel",
    "SG": "tan",
    "NL": "visser",
}  # approve what the approver worked
ERP = {"NL": "bc-nl"}  # the others book in NetSuite
BILLED_BY = {"SG": "stripe-sg"}  # the ERP drafts the invoices of the others; Singapore's came from it until now
CRM = {"US": "salesforce-us", "NL": "salesforce-nl"}  # one org; each entity is told of its own bills
TRACKER = {"US": "harvest-us", "GB": "clockify-gb"}
RATE_STEP = Decimal("1.05")  # what a senior's hour for Acme costs from the middle of the month on
CURRENCY_KEYS = {"USD": "1", "GBP": "2", "EUR": "4", "SGD": "5"}
GROUP_CURRENCY = "USD"
YEAR_RATES = {"GBP": "1.3125", "EUR": "1.1350", "SGD": "0.7640"}  # of the ERP: budget for the year, then its month end
MONTH_END_RATES = {"GBP": "1.3240", "EUR": "1.1590", "SGD": "0.7715"}
SERVICE_ITEM, EXPENSE_CATEGORY = "90", "7"


def entity_of(customer: str) -> str:
    """The entity that serves a customer."""
    return next(item.entity for item in CUSTOMERS if item.code == customer)


CRM_NAMES = {"BLU": "Bluewater Healthcare Group"}  # renamed by sales, who own no names


def account_id(customer: Customer) -> str:
    """Salesforce's id of a customer of an entity whose account teams are told."""
    return f"001{customer.key:0>12}AAA"


def erp_of(entity: str) -> str:
    """The connection of the ERP that an entity keeps its books in."""
    return ERP.get(entity, "netsuite")


def served_by(erp: str) -> tuple[Entity, ...]:
    """The entities that keep their books in an ERP."""
    return tuple(item for item in ENTITIES if erp_of(item.code) == erp)


def approver_of(someone: str, entity: str) -> str:
    """Who approves this person's time: the entity's approver, or the deputy for the approver's own."""
    return APPROVERS[entity] if someone != APPROVERS[entity] else DEPUTIES[entity]


def person(code: str) -> Person:
    """A consultant by code."""
    return next(item for item in PEOPLE if item.code == code)


def project(code: str) -> Project:
    """A project by code."""
    return next(item for item in PROJECTS if item.code == code)


@dataclass(frozen=True, slots=True)
class Month:
    """The demo month: the one before today's, with the days on which things happen in it."""

    first: date

    @classmethod
    def before(cls, today: date) -> Month:
        """The last full month."""
        return cls((today.replace(day=1) - timedelta(days=1)).replace(day=1))

    @property
    def last(self) -> date:
        """Its last day."""
        return (self.first + timedelta(days=32)).replace(day=1) - timedelta(days=1)

    @property
    def closed_on(self) -> date:
        """The last day on which Thames ticketing was open."""
        return self.first.replace(day=9)

    @property
    def rate_step_on(self) -> date:
        """The Wednesday of the third week, from which Acme's senior rate is higher."""
        day = self.first.replace(day=15)
        return day + timedelta(days=(2 - day.weekday()) % 7)

    @property
    def approved_until(self) -> date:
        """The last Monday whose week the British had approved when the demo begins; later weeks come by webhook."""
        return self.last - timedelta(days=13)

    def working_days(self) -> list[date]:
        """Monday to Friday."""
        days = (self.first + timedelta(days=n) for n in range((self.last - self.first).days + 1))
        return [day for day in days if day.isoweekday() < 6]

    def months(self) -> Iterator[tuple[date, str]]:
        """The accounting periods around it, as (first day, state): two closed, this and the next open, one future."""
        start = self.first
        for back in (2, 1):
            first = start
            for _ in range(back):
                first = (first - timedelta(days=1)).replace(day=1)
            yield first, "closed"
        for ahead, state in ((0, "open"), (1, "open"), (2, "future")):
            first = start
            for _ in range(ahead):
                first = (first + timedelta(days=32)).replace(day=1)
            yield first, state


def period_days(first: date) -> tuple[date, date]:
    """First and last day of a month."""
    return first, (first + timedelta(days=32)).replace(day=1) - timedelta(days=1)


def master_data(month: Month) -> dict[str, Rows]:
    """The firm's master data as the tables of `import_master_data`: file name without ending → rows."""
    year = month.first.replace(month=1, day=1).isoformat()
    return {
        "cost_centres": [
            {"entity": item.code, "code": f"{item.code}-DEL", "name": f"Delivery {item.code}"} for item in ENTITIES
        ],
        "customers": [_customer(item) for item in CUSTOMERS],
        "contracts": [_contract(item, month.first.year) for item in CUSTOMERS],
        "projects": [_project(item, month.first.year) for item in (*PROJECTS, COMING)],
        "project_statuses": list(_statuses(month, year)),
        "approval_steps": [
            {"project": item.code, "sequence": str(place), "approver": who[entity_of(item.customer)]}
            for item in (*PROJECTS, COMING)
            for place, who in enumerate((APPROVERS, DEPUTIES), start=1)
        ],
        "purchase_orders": [
            {"contract": f"{code}-{month.first.year}", "number": number, "amount": amount, "currency": _currency(entity_of(code)),
             "valid_from": year}
            for code, number, amount in ORDERS
        ],
        "milestones": [
            {"project": code, "code": stone, "name": name, "amount": amount, "currency": _currency(entity_of(code[:3])),
             "due_on": (month.last + timedelta(days=due)).isoformat(),
             "signed_on": (month.last + timedelta(days=due - 2)).isoformat() if is_signed else ""}
            for code, stone, name, amount, due, is_signed in MILESTONES
        ],
        "assignments": [
            {"project": COMING.code, "resource": code, "valid_from": year} for code in COMING_TEAM
        ],
        "tasks": [{"project": COMING.code, "code": "RES", "name": "Research"}],
        "intercompany": [{"provider": "GB", "receiver": "US", "valid_from": year}],
        "roles": [{"code": code, "name": name} for code, name in ROLES.items()],
        "resources": [
            {"code": item.code, "name": item.name, "email": f"{item.code}@halden.example"} for item in PEOPLE
        ],
        "engagements": [
            {"resource": item.code, "entity": item.entity, "role": item.role, "cost_centre": f"{item.entity}-DEL",
             "valid_from": "2020-01-01"}
            for item in PEOPLE
        ],
        "rate_cards": [
            {"code": f"{item.code}-{month.first.year}", "version": "1", "name": f"{item.name} {month.first.year}",
             "contract": f"{item.code}-{month.first.year}", "valid_from": year}
            for item in CUSTOMERS
        ],
        "rates": list(_rates(month, year)),
        "exchange_rates": [
            {"currency": code, "to_currency": GROUP_CURRENCY, "valid_from": day, "rate": rate, "source": "ERP"}
            for day, rates in ((year, YEAR_RATES), (month.last.isoformat(), MONTH_END_RATES))
            for code, rate in rates.items()
        ],
        "crosswalks": list(_crosswalks()),
    }  # fmt: skip


def _currency(entity: str) -> str:
    return next(item.currency for item in ENTITIES if item.code == entity)


def _customer(item: Customer) -> dict[str, str]:
    schedule, day, terms = item.invoiced
    return {
        "code": item.code, "name": item.name, "currency": _currency(item.entity), "entity": item.entity,
        "invoice_schedule": schedule, "invoice_day": day, "payment_terms_days": terms,
    }  # fmt: skip


def _contract(item: Customer, year: int) -> dict[str, str]:
    return {
        "code": f"{item.code}-{year}", "name": f"{item.name} frame agreement", "customer": item.code, "entity": item.entity,
        "currency": _currency(item.entity), "billing_model": item.billing, "cap_amount": item.cap,
        "retainer_hours": item.retained, "overage": "hourly" if item.retained else "",
    }  # fmt: skip


def _project(item: Project, year: int) -> dict[str, str]:
    return {
        "code": item.code, "name": item.name, "entity": entity_of(item.customer), "customer": item.customer,
        "contract": f"{item.customer}-{year}", "manager": "pm",
    }  # fmt: skip


def _statuses(month: Month, year: str) -> Iterator[dict[str, str]]:
    for item in PROJECTS:
        if not item.is_closed_early:
            yield {"project": item.code, "status": "open", "valid_from": "2020-01-01", "valid_to": ""}
            continue
        after = (month.closed_on + timedelta(days=1)).isoformat()
        yield {"project": item.code, "status": "open", "valid_from": year, "valid_to": month.closed_on.isoformat()}
        yield {"project": item.code, "status": "closed", "valid_from": after, "valid_to": ""}
    yield {"project": COMING.code, "status": "planned", "valid_from": year, "valid_to": ""}


def _rates(month: Month, year: str) -> Iterator[dict[str, str]]:
    for item in CUSTOMERS:
        card = {"card": f"{item.code}-{month.first.year}", "card_version": "1", "currency": _currency(item.entity)}
        for role, amount in item.rates.items():
            if (item.code, role) != ("ACM", "senior"):
                yield {**card, "role": role, "amount": amount, "valid_from": year, "valid_to": ""}
                continue
            step = month.rate_step_on
            yield {
                **card,
                "role": role,
                "amount": amount,
                "valid_from": year,
                "valid_to": (step - timedelta(days=1)).isoformat(),
            }
            higher = f"{Decimal(amount) * RATE_STEP:.2f}"
            yield {**card, "role": role, "amount": higher, "valid_from": step.isoformat(), "valid_to": ""}


def _crosswalks() -> Iterator[dict[str, str]]:
    def row(connection: str, kind: str, key: str, code: str, within: str = "") -> dict[str, str]:
        return {"connection": connection, "kind": kind, "external_id": key, "code": code, "within": within}

    for entity in ENTITIES:
        erp = erp_of(entity.code)
        if entity.subsidiary:
            yield row(erp, "entity", entity.subsidiary, entity.code)
        department = f"3{entity.subsidiary}" if entity.subsidiary else "DELIVERY"
        yield row(erp, "cost_centre", department, f"{entity.code}-DEL", entity.code)
    for customer in CUSTOMERS:
        yield row(erp_of(customer.entity), "customer", customer.key, customer.code)
        if customer.entity in CRM:
            yield row(CRM[customer.entity], "customer", account_id(customer), customer.code)
        if customer.entity == "US":
            yield row(TRACKER["US"], "customer", customer.key, customer.code)
    for item in PROJECTS:
        yield row(erp_of(entity_of(item.customer)), "project", item.job, item.code)
        if item.tracker:
            yield row(TRACKER[entity_of(item.customer)], "project", item.tracker, item.code)
    for someone in PEOPLE:
        yield row(erp_of(someone.entity), "resource", someone.employee, someone.code)
        if someone.tracker:
            yield row(TRACKER[someone.entity], "resource", someone.tracker, someone.code)


def team(entity: str) -> Sequence[Person]:
    """The consultants of an entity."""
    return [item for item in PEOPLE if item.entity == entity]
