"""The Dynamics 365 Finance company of the tests: customers, projects and workers, invoices and a payment, beside another one."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

from integrations.connectors.dynamicsfinance import DynamicsFinanceConnector
from integrations.connectors.dynamicsfinance.streams import STREAMS
from integrations.protocol import Account
from integrations.sandbox.dynamicsfinance.vendor import CLIENT_ID, CLIENT_SECRET, COMPANY, TENANT
from integrations.sandbox.server import control
from portal.records import DocumentKind, Posting
from tests.integrations.contract import Bench

DRAFT, POSTED, CREDIT = 5637145331, 5637145332, 5637145333


def noon(day: str) -> str:
    return f"{day}T12:00:00Z"


def customer(number: str, company: str = COMPANY, **more: Any) -> dict[str, Any]:
    return {
        "dataAreaId": company, "CustomerAccount": number, "OrganizationName": "Contoso Retail", "PersonFirstName": "",
        "PersonLastName": "", "SalesCurrencyCode": "USD", "TaxExemptNumber": "", "OnHoldStatus": "No",
        "InvoiceAccount": "", "PartyType": "Organization", "PrimaryContactEmail": "private@example.com", **more,
    }  # fmt: skip


def project(number: str, company: str = COMPANY, **more: Any) -> dict[str, Any]:
    return {
        "dataAreaId": company, "ProjectId": number, "ProjectName": "Rollout", "CustomerAccountNumber": "US-001",
        "ProjectStage": "InProcess", "ProjectManagerPersonnelNumber": "000018", "ProjectedStartDate": noon("2026-01-01"),
        "ProjectedEndDate": noon("1900-01-01"), "ActualStartDate": noon("1900-01-01"),
        "ActualEndDate": noon("1900-01-01"), "IsActivityRequiredForHourTransaction": "No", **more,
    }  # fmt: skip


def header(identifier: int, number: str, **more: Any) -> dict[str, Any]:
    return {
        "dataAreaId": COMPANY, "InvoiceIdentifier": identifier, "FreeTextNumber": number, "CustomerAccount": "US-001",
        "InvoiceAccount": "US-001", "InvoiceName": "Contoso Retail", "CurrencyCode": "USD", "CustomerReference": "",
        "InvoiceDate": noon("2026-08-31"), "DueDate": noon("2026-09-30"), "CustomerRequisition": "PO-7",
        "IsPosted": "No" if number == "Not posted" else "Yes", "CorrectedInvoiceId": "",
        "ExternalInvoiceId": "", **more,
    }  # fmt: skip


def line(identifier: int, amount: float, **more: Any) -> dict[str, Any]:
    return {
        "dataAreaId": COMPANY, "ParentRecId": identifier, "LineNumber": 1, "Description": "August", "Quantity": 10,
        "UnitPrice": amount / 10, "TransactionCurrencyAmount": amount, "SalesTaxAmount": round(amount / 10, 2),
        "SalesTaxItemGroupId": "FULL", "ProjectID": "000057", "TransactionID": "", **more,
    }  # fmt: skip


def total(number: str, amount: float, tax: float) -> dict[str, Any]:
    return {
        "dataAreaId": COMPANY, "InvoiceNumber": number, "TotalInvoiceAmount": amount, "TotalTaxAmount": tax,
        "SalesOrderNumber": "", "CurrencyCode": "USD",
    }  # fmt: skip


SEED: dict[str, Any] = {
    "LegalEntities": [
        {"LegalEntityId": COMPANY, "Name": "Contoso Entertainment System USA"},
        {"LegalEntityId": "dat", "Name": "Company accounts data"},
    ],
    "CustomersV3": [
        customer("US-001", TaxExemptNumber="US123"),
        customer("US-002", OrganizationName="", PersonFirstName="Old", PersonLastName="Person", OnHoldStatus="All"),
        customer("DE-001", "demf"),
    ],
    "ProjectsV2": [project("000057"), project("000058", ProjectStage="Finished"), project("000057", "demf")],
    "ProjectTasks": [
        {"dataAreaId": COMPANY, "ProjectId": "000057", "TaskId": "A100", "TaskName": "Design"},
        {"dataAreaId": COMPANY, "ProjectId": "000057", "TaskId": "A200", "TaskName": "Build"},
    ],
    "Workers": [
        {"PersonnelNumber": "000018", "Name": "Julia Funderburk", "WorkerStatus": "Employed", "BirthDate": "PRIVATE",
         "PrimaryContactEmail": "julia@example.com", "OriginalHireDateTime": noon("2015-03-01")},
        {"PersonnelNumber": "000020", "Name": "Ted Old", "WorkerStatus": "Terminated", "BirthDate": "PRIVATE",
         "PrimaryContactEmail": "", "OriginalHireDateTime": noon("1900-01-01")},
    ],
    "FinancialDimensionValues": [
        {"FinancialDimension": "CostCenter", "LegalEntityId": "", "DimensionValue": "007", "Description": "Consulting",
         "IsSuspended": "No", "ActiveFrom": noon("1900-01-01"), "ActiveTo": noon("2154-12-31")},
        {"FinancialDimension": "CostCenter", "LegalEntityId": "demf", "DimensionValue": "008", "Description": "Berlin",
         "IsSuspended": "No", "ActiveFrom": noon("1900-01-01"), "ActiveTo": noon("2154-12-31")},
        {"FinancialDimension": "Department", "LegalEntityId": "", "DimensionValue": "022", "Description": "Sales",
         "IsSuspended": "No", "ActiveFrom": noon("1900-01-01"), "ActiveTo": noon("2154-12-31")},
    ],
    "FiscalPeriods": [
        {"Calendar": "Fiscal", "FiscalYear": "2026", "PeriodName": f"Period {month}",
         "StartDate": noon(f"2026-{month:02}-01"), "EndDate": noon(f"2026-{month:02}-28"), "Type": "Operating"}
        for month in (8, 9)
    ],
    "FreeTextInvoiceHeaders": [
        header(DRAFT, "Not posted"),
        header(POSTED, "FTI-00000001"),
        header(CREDIT, "FTI-00000002", CorrectedInvoiceId="FTI-00000001"),
    ],
    "FreeTextInvoiceLines": [line(DRAFT, 500.0), line(POSTED, 1000.0), line(CREDIT, -100.0, Quantity=-1)],
    "SalesInvoiceHeadersV2": [total("FTI-00000001", 1100.0, 100.0), total("FTI-00000002", -110.0, -10.0)],
    "actions": [{"do": "pay", "invoice": "FTI-00000001", "amount": 400, "on": "2026-09-10"}],
}  # fmt: skip

# A field of each set in which people write words.
_SAYS = {
    "customers": "OrganizationName", "projects": "ProjectName", "tasks": "TaskName", "employees": "Name",
    "cost_centres": "Description", "periods": "Type", "invoices": "InvoiceName", "payments": "PaymentReference",
}  # fmt: skip


def account(base: str, **settings: Any) -> Account:
    """The account of the sandbox's company."""
    return Account(
        code="fo-us",
        base_url=f"{base}/dynamicsfinance",
        realm=COMPANY,
        zone="America/Los_Angeles",
        settings={
            "tenant": TENANT, "client_id": CLIENT_ID, "login_url": f"{base}/dynamicsfinance", "category": "Consult",
            "expense_category": "Travel", **settings,
        },
        secrets={"client_secret": CLIENT_SECRET},
    )  # fmt: skip


def bench(base: str, **settings: Any) -> Bench:
    """What the contract suite needs."""

    def change(stream: str, key: str, at: datetime) -> None:
        within = {"periods": "Fiscal/", "cost_centres": "CostCenter//", "employees": ""}.get(stream, f"{COMPANY}/")
        act = {"do": "change", "set": STREAMS[stream].path, "key": f"{within}{key}"}
        said = {_SAYS[stream]: f"Changed at {at}"}
        control(base, "POST", "dynamicsfinance/seed", {"actions": [{**act, "fields": said}]})

    return Bench(
        connector=DynamicsFinanceConnector,
        account=account(base, **settings),
        sandbox=base,
        vendor="dynamicsfinance",
        read={"method": "GET", "path": "/data/CustomersV3"},
        write={"method": "POST", "path": "/data/$batch"},
        change=change,
    )


def time_posting(**changes: Any) -> Posting:
    """Good hours under a new key."""
    return Posting(
        **{
            "key": uuid4().hex, "kind": DocumentKind.TIME, "work_date": date(2026, 9, 14), "resource": "000018",
            "project": "000057", "task": "000057/A100", "cost_centre": "007", "hours": Decimal("7.5"),
            "rate": Decimal("145.00"), "currency": "USD", "billable": True, "memo": "Rollout workshop", **changes,
        }
    )  # fmt: skip


def expense_posting(**changes: Any) -> Posting:
    """A good expense under a new key."""
    return Posting(
        **{
            "key": uuid4().hex, "kind": DocumentKind.EXPENSE, "work_date": date(2026, 9, 10), "resource": "000018",
            "project": "000057", "amount": Decimal("84.50"), "currency": "USD", "billable": True, "memo": "Train",
            "receipt_reference": "R-17", **changes,
        }
    )  # fmt: skip


def time_postings(count: int) -> list[Posting]:
    """Good hours of one person on several days."""
    return [
        time_posting(work_date=date(2026, 9, 1) + timedelta(days=n % 28), hours=Decimal(1 + n % 8))
        for n in range(count)
    ]
