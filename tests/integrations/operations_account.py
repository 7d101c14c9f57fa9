"""The Project Operations environment of the tests: accounts, projects with tasks, people, and two project invoices."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4, uuid5

from integrations.connectors.projectoperations import ProjectOperationsConnector
from integrations.connectors.projectoperations.streams import STREAMS
from integrations.protocol import Account
from integrations.sandbox.projectoperations.vendor import CLIENT_ID, CLIENT_SECRET, ORGANISATION, TENANT
from integrations.sandbox.server import control
from portal.records import DocumentKind, Posting
from tests.integrations.contract import Bench

STAMP = "2026-08-{:02}T08:00:00Z"  # by days, far beyond every overlap


def guid(number: int) -> str:
    return f"a1b2c3d4-0000-4000-8000-{number:012}"


ACME, OLD, ROLLOUT, CLOSED, DESIGN, JULIA, TED, USD, USER, TRAVEL = (guid(number) for number in range(1, 11))
OPEN_INVOICE, PAID_INVOICE, DRAFT_INVOICE = (guid(number) for number in range(21, 24))


def invoice(key: str, second: int, **more: Any) -> dict[str, Any]:
    return {
        "invoiceid": key, "invoicenumber": f"INV-0{second}", "name": "Rollout August", "totalamount": 1100.0,
        "totaltax": 100.0, "_customerid_value": ACME, "_transactioncurrencyid_value": USD,
        "duedate": "2026-09-30T00:00:00Z", "msdyn_invoicedate": "2026-08-31T00:00:00Z",
        "msdyn_projectinvoicestatus": 192350004, "statecode": 0, "statuscode": 4, "modifiedon": STAMP.format(second),
        **more,
    }  # fmt: skip


SEED: dict[str, Any] = {
    "accounts": [
        {"accountid": ACME, "name": "Acme Inc", "accountnumber": "AC-1", "_parentaccountid_value": None,
         "_transactioncurrencyid_value": USD, "statecode": 0, "modifiedon": STAMP.format(1)},
        {"accountid": OLD, "name": "Old Inc", "accountnumber": "", "_parentaccountid_value": ACME,
         "_transactioncurrencyid_value": None, "statecode": 1, "modifiedon": STAMP.format(2)},
    ],
    "transactioncurrencies": [{"transactioncurrencyid": USD, "isocurrencycode": "USD"}],
    "systemusers": [{"systemuserid": USER, "internalemailaddress": "julia@example.com", "mobilephone": "PRIVATE"}],
    "msdyn_projects": [
        {"msdyn_projectid": ROLLOUT, "msdyn_subject": "Rollout", "_msdyn_customer_value": ACME, "statecode": 0,
         "msdyn_scheduledstart": "2026-01-01T00:00:00Z", "msdyn_finish": None, "modifiedon": STAMP.format(1)},
        {"msdyn_projectid": CLOSED, "msdyn_subject": "Closed", "_msdyn_customer_value": ACME, "statecode": 1,
         "msdyn_scheduledstart": None, "msdyn_finish": "2026-03-31T00:00:00Z", "modifiedon": STAMP.format(2)},
    ],
    "msdyn_projecttasks": [
        {"msdyn_projecttaskid": DESIGN, "msdyn_subject": "Design", "_msdyn_project_value": ROLLOUT, "statecode": 0,
         "modifiedon": STAMP.format(1)},
    ],
    "bookableresources": [
        {"bookableresourceid": JULIA, "name": "Julia Funderburk", "resourcetype": 3, "_userid_value": USER, "statecode": 0,
         "msdyn_homeaddress": "PRIVATE", "modifiedon": STAMP.format(1)},
        {"bookableresourceid": TED, "name": "Ted Old", "resourcetype": 3, "_userid_value": None, "statecode": 1,
         "msdyn_homeaddress": "PRIVATE", "modifiedon": STAMP.format(2)},
        {"bookableresourceid": guid(12), "name": "Meeting room", "resourcetype": 7, "_userid_value": None, "statecode": 0,
         "modifiedon": STAMP.format(3)},
    ],
    "invoices": [
        invoice(OPEN_INVOICE, 1),
        invoice(PAID_INVOICE, 2, statecode=2, statuscode=100001),
        invoice(DRAFT_INVOICE, 3, msdyn_projectinvoicestatus=192350000),
    ],
    "invoicedetails": [
        {"invoicedetailid": guid(31), "_invoiceid_value": OPEN_INVOICE, "productdescription": "Consulting", "quantity": 10.0,
         "priceperunit": 100.0, "extendedamount": 1100.0, "tax": 100.0, "_msdyn_project_value": ROLLOUT},
    ],
}  # fmt: skip


def account(base: str, **settings: Any) -> Account:
    """The account of the sandbox's environment."""
    return Account(
        code="po",
        base_url=f"{base}/projectoperations",
        realm=ORGANISATION,
        settings={
            "tenant": TENANT, "client_id": CLIENT_ID, "login_url": f"{base}/projectoperations",
            "currencies": {"USD": USD}, "expense_category": TRAVEL, **settings,
        },
        secrets={"client_secret": CLIENT_SECRET},
    )  # fmt: skip


def bench(base: str, **settings: Any) -> Bench:
    """What the contract suite needs."""

    def change(stream: str, key: str, at: datetime) -> None:
        read = STREAMS[stream]
        [row] = [row for row in SEED[read.path] if row[read.key] == key]
        said = {name: f"Changed at {at}" for name in ("name", "msdyn_subject") if name in row}
        stamped = {**row, **said, "modifiedon": at.strftime("%Y-%m-%dT%H:%M:%SZ")}
        control(base, "POST", "projectoperations/seed", {read.path: [stamped]})

    return Bench(
        connector=ProjectOperationsConnector,
        account=account(base, **settings),
        sandbox=base,
        vendor="projectoperations",
        read={"method": "GET", "path": "/accounts"},
        write={"method": "POST", "path": "$batch"},
        change=change,
    )


def key() -> str:
    """A key of ours: of version 5, as the ledger makes them."""
    return uuid5(uuid4(), "entry").hex


def time_posting(**changes: Any) -> Posting:
    """Good hours under a new key."""
    return Posting(
        **{
            "key": key(), "kind": DocumentKind.TIME, "work_date": date(2026, 9, 14), "resource": JULIA,
            "project": ROLLOUT, "task": DESIGN, "hours": Decimal("7.5"), "rate": Decimal("145.00"), "currency": "USD",
            "billable": True, "memo": "Rollout workshop", **changes,
        }
    )  # fmt: skip


def expense_posting(**changes: Any) -> Posting:
    """A good expense under a new key."""
    return Posting(
        **{
            "key": key(), "kind": DocumentKind.EXPENSE, "work_date": date(2026, 9, 10), "resource": JULIA,
            "project": ROLLOUT, "amount": Decimal("84.50"), "currency": "USD", "billable": True, "memo": "Train",
            "receipt_reference": "R-17", **changes,
        }
    )  # fmt: skip


def time_postings(count: int) -> list[Posting]:
    """Good hours of one person on several days."""
    return [
        time_posting(work_date=date(2026, 9, 1) + timedelta(days=n % 28), hours=Decimal(1 + n % 8))
        for n in range(count)
    ]
