"""The Business Central company of the tests: a few customers, projects and people, two invoices, and its project journal."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

from integrations.connectors.businesscentral import BusinessCentralConnector
from integrations.connectors.businesscentral.streams import STREAMS
from integrations.protocol import Account
from integrations.sandbox.businesscentral.vendor import CLIENT_ID, CLIENT_SECRET, COMPANY, ENVIRONMENT, TENANT
from integrations.sandbox.server import control
from portal.records import DocumentKind, Posting
from tests.integrations.contract import Bench

STAMP = "2026-08-{:02}T08:00:00.120Z"  # by days, far beyond every overlap
INVOICE = "5d115c9c-0003-4000-8000-0000000000{:02}"
DIMENSION = "6d115c9c-0004-4000-8000-000000000001"


def guid(number: int) -> str:
    return f"1d115c9c-0005-4000-8000-{number:012}"


def invoice(number: int, total: float = 1190.0, **more: Any) -> dict[str, Any]:
    net = round(total / 1.19, 2)
    return {
        "id": INVOICE.format(number), "number": f"PS-INV10{number:04}", "externalDocumentNumber": "", "status": "Open",
        "invoiceDate": "2026-08-31", "postingDate": "2026-08-31", "dueDate": "2026-09-30", "customerNumber": "10000",
        "customerName": "Acme GmbH", "currencyCode": "", "customerPurchaseOrderReference": "PO-7",
        "totalAmountExcludingTax": net, "totalTaxAmount": round(total - net, 2), "totalAmountIncludingTax": total,
        "remainingAmount": total, "lastModifiedDateTime": STAMP.format(number),
        "salesInvoiceLines": [
            {"id": guid(900 + number), "sequence": 10000, "lineType": "Resource", "description": "August", "quantity": 10,
             "unitPrice": net / 10, "netAmount": net, "netTaxAmount": round(total - net, 2), "taxCode": "S19",
             "taxPercent": 19.0},
            {"id": guid(950 + number), "sequence": 20000, "lineType": "Comment", "description": "Thank you"},
        ],
        **more,
    }  # fmt: skip


DAYS = {"id": guid(91), "number": "AH", "baseUnitOfMeasure": "DAY", "units": {"HOUR": 0.125}}  # Annette counts in days
SEED: dict[str, Any] = {
    "companies": [{"id": COMPANY, "name": "CRONUS DE", "displayName": "Cronus Deutschland GmbH"}],
    "customers": [
        {"id": guid(1), "number": "10000", "displayName": "Acme GmbH", "blocked": " ", "currencyCode": "",
         "taxRegistrationNumber": "DE123456789", "lastModifiedDateTime": STAMP.format(1)},
        {"id": guid(2), "number": "20000", "displayName": "Old AG", "blocked": "All", "currencyCode": "CHF",
         "taxRegistrationNumber": "", "lastModifiedDateTime": STAMP.format(2)},
    ],
    "projects": [
        {"id": guid(11), "number": "J10", "displayName": "Rollout", "lastModifiedDateTime": STAMP.format(1)},
        {"id": guid(12), "number": "J20", "displayName": "Closed", "lastModifiedDateTime": STAMP.format(2)},
    ],
    "projectTasks": [
        {"id": guid(21), "projectNumber": "J10", "number": "100", "description": "Design", "type": "Posting",
         "lastModifiedDateTime": STAMP.format(1)},
        {"id": guid(22), "projectNumber": "J10", "number": "199", "description": "Total", "type": "End-Total",
         "lastModifiedDateTime": STAMP.format(2)},
    ],
    "employees": [
        {"id": guid(31), "number": "AH", "displayName": "Annette Hill", "email": "ah@example.com", "status": "Active",
         "employmentDate": "2020-01-01", "terminationDate": "0001-01-01", "birthDate": "1973-12-12",
         "iban": "DE00-PRIVATE", "lastModifiedDateTime": STAMP.format(1)},
        {"id": guid(32), "number": "BO", "displayName": "Bo Old", "email": "", "status": "Terminated",
         "employmentDate": "2019-01-01", "terminationDate": "2025-06-30", "birthDate": "1970-01-01", "iban": "",
         "lastModifiedDateTime": STAMP.format(2)},
    ],
    "dimensions": [{"id": DIMENSION, "code": "DEPARTMENT", "displayName": "Department"}],
    "dimensionValues": [
        {"id": guid(41), "code": "SALES", "dimensionId": DIMENSION, "displayName": "Sales",
         "lastModifiedDateTime": STAMP.format(1)},
        {"id": guid(42), "code": "NORTH", "dimensionId": guid(99), "displayName": "Region north",
         "lastModifiedDateTime": STAMP.format(1)},
    ],
    "accountingPeriods": [
        {"id": guid(50 + month), "startingDate": f"2026-{month:02}-01", "name": f"M{month}", "newFiscalYear": month == 1,
         "closed": month < 7, "dateLocked": month < 7, "lastModifiedDateTime": STAMP.format(month)}
        for month in range(1, 13)
    ],
    "salesInvoices": [invoice(1), invoice(2, 595.0, status="Draft", remainingAmount=0)],
    "salesCreditMemos": [
        {"id": INVOICE.format(51), "number": "PS-CR100001", "externalDocumentNumber": "", "status": "Paid",
         "creditMemoDate": "2026-09-02", "postingDate": "2026-09-02", "dueDate": "0001-01-01", "customerNumber": "10000",
         "customerName": "Acme GmbH", "currencyCode": "", "totalAmountExcludingTax": 100.0, "totalTaxAmount": 19.0,
         "totalAmountIncludingTax": 119.0, "invoiceId": INVOICE.format(1), "invoiceNumber": "PS-INV100001",
         "salesCreditMemoLines": [], "lastModifiedDateTime": STAMP.format(3)},
    ],
    "customerPaymentEntries": [
        {"id": guid(71), "documentNumber": "PAY-1", "externalDocumentNumber": "", "customerNumber": "10000",
         "customerName": "Acme GmbH", "postingDate": "2026-09-20", "currencyCode": "", "amount": -400.0,
         "remainingAmount": 0.0, "reversed": False, "lastModifiedDateTime": STAMP.format(4),
         "applications": [
             {"invoiceId": INVOICE.format(1), "invoiceNumber": "PS-INV100001", "amount": 300.0, "unapplied": False},
             {"invoiceId": INVOICE.format(1), "invoiceNumber": "PS-INV100001", "amount": 100.0, "unapplied": False},
             {"invoiceId": INVOICE.format(2), "invoiceNumber": "PS-INV100002", "amount": 50.0, "unapplied": True},
         ]},
    ],
    "projectJournals": [{"id": guid(60), "code": "TIEOUT", "displayName": "Tieout"}],
}  # fmt: skip


def account(base: str, **settings: Any) -> Account:
    """The account of the sandbox's company."""
    return Account(
        code="bc-de",
        base_url=f"{base}/businesscentral/v2.0/{TENANT}/{ENVIRONMENT}",
        realm=COMPANY,
        zone="Europe/Berlin",
        settings={
            "tenant": TENANT, "client_id": CLIENT_ID, "login_url": f"{base}/businesscentral", "currency": "EUR",
            "expense_account": "8640", **settings,
        },
        secrets={"client_secret": CLIENT_SECRET, "client_state": "state-canary-1"},
    )  # fmt: skip


def bench(base: str, **settings: Any) -> Bench:
    """What the contract suite needs."""

    def change(stream: str, key: str, at: datetime) -> None:
        read = STREAMS[stream]
        [row] = [row for row in SEED[read.path] if "/".join(str(row[name]) for name in read.key) == key]
        names = ("displayName", "description", "name", "customerName")
        said = {next(name for name in names if name in row): f"Changed at {at}"}
        stamp = at.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
        control(base, "POST", "businesscentral/seed", {read.path: [{**row, **said, "lastModifiedDateTime": stamp}]})

    return Bench(
        connector=BusinessCentralConnector,
        account=account(base, **settings),
        sandbox=base,
        vendor="businesscentral",
        read={"method": "GET", "path": "/customers"},
        write={"method": "POST", "path": "Microsoft.NAV.post"},
        change=change,
    )


def mirror_bench(found: Bench) -> Bench:
    """The same company, whose time goes into time sheets."""
    told = replace(found.account, code="bc-sheets", settings={**found.account.settings, "time_by": "time sheets"})
    return replace(found, account=told, write={"method": "POST", "path": "/timeRegistrationEntries"})


def mirrored(found: Bench, posting: Posting) -> int:
    """How many entries of time sheets say what a posting says."""
    wanted = (posting.resource, posting.project, posting.work_date.isoformat(), float(posting.hours or 0))
    rows = found.control("businesscentral/inspect")["time_entries"]
    return [(one["employeeNumber"], one["jobNumber"], one["date"], float(one["quantity"])) for one in rows].count(
        wanted
    )


def time_posting(**changes: Any) -> Posting:
    """Good hours under a new key."""
    return Posting(
        **{
            "key": uuid4().hex, "kind": DocumentKind.TIME, "work_date": date(2026, 9, 14), "resource": "AH",
            "project": "J10", "task": "J10/100", "cost_centre": "SALES", "hours": Decimal("7.5"), "rate": Decimal("145.00"),
            "currency": "EUR", "billable": True, "memo": "Rollout workshop", **changes,
        }
    )  # fmt: skip


def expense_posting(**changes: Any) -> Posting:
    """A good expense under a new key."""
    return Posting(
        **{
            "key": uuid4().hex, "kind": DocumentKind.EXPENSE, "work_date": date(2026, 9, 10), "resource": "AH",
            "project": "J10", "task": "100", "item": "8610", "amount": Decimal("84.50"), "currency": "EUR",
            "billable": True, "memo": "Train", **changes,
        }
    )  # fmt: skip


def time_postings(count: int) -> list[Posting]:
    """Good hours of one person on several days."""
    return [
        time_posting(work_date=date(2026, 9, 1) + timedelta(days=n), hours=Decimal(1 + n % 8)) for n in range(count)
    ]
