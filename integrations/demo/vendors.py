"""What the demo firm's vendors hold, in their own shapes: told to the sandbox, written into folders, handed in as a workbook."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import xlsxwriter

from integrations.demo import firm
from integrations.demo.firm import Month
from integrations.demo.month import Spent, Worked
from integrations.sandbox.businesscentral.vendor import COMPANY as BC_COMPANY

HARVEST_ACCOUNT = "1000001"
HARVEST_TOKEN = "harvest-sandbox-token"  # noqa: S105 - the sandbox's own
CLOCKIFY_WORKSPACE = "64a687e29ae1f428e7ebe303"
CLOCKIFY_KEY = "clockify-sandbox-key"
BC = "bc-nl"
TAX_NUMBERS = {"TUL": "NL004495445B01"}
BC_PROJECTS = "PROJECT"  # the dimension whose values are project numbers
DAYS = timedelta(days=1)


def moment(day: date, hour: int = 18) -> str:
    """A moment on a day, ISO 8601 in UTC."""
    return datetime.combine(day, time(hour), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def netsuite(month: Month) -> dict[str, Any]:
    """The ERP's master data. Its periods are closed where the firm's are."""
    return {
        "currency": [{"id": key, "symbol": code, "name": code} for code, key in firm.CURRENCY_KEYS.items()],
        "subsidiary": [
            {"id": item.subsidiary, "name": item.name, "currency": {"id": firm.CURRENCY_KEYS[item.currency]}}
            for item in firm.served_by("netsuite")
        ],
        "department": [
            {"id": f"3{item.subsidiary}", "name": f"{item.code}-DEL"} for item in firm.served_by("netsuite")
        ],
        "serviceItem": [{"id": firm.SERVICE_ITEM, "itemId": "Consulting"}],
        "expenseCategory": [{"id": firm.EXPENSE_CATEGORY, "name": "Travel"}],
        "accountingPeriod": [
            {"id": str(500 + n), "periodName": f"{first:%b %Y}", "startDate": first.isoformat(),
             "endDate": firm.period_days(first)[1].isoformat(), "closed": state == "closed", "allLocked": state == "closed"}
            for n, (first, state) in enumerate(month.months())
        ],
        "customer": [
            {"id": item.key, "entityId": item.code, "companyName": item.name,
             "subsidiary": {"id": _subsidiary(item.entity)}}
            for item in firm.CUSTOMERS
            if firm.erp_of(item.entity) == "netsuite"
        ],
        "job": [
            {"id": item.job, "entityId": item.code, "companyName": item.name, "allowTime": True,
             "parent": {"id": next(c.key for c in firm.CUSTOMERS if c.code == item.customer)},
             "subsidiary": {"id": _subsidiary(firm.entity_of(item.customer))}}
            for item in firm.PROJECTS
            if firm.erp_of(firm.entity_of(item.customer)) == "netsuite"
        ],
        "employee": [
            {"id": item.employee, "entityId": item.name, "firstName": item.name.split()[0],
             "lastName": item.name.split()[-1], "subsidiary": {"id": _subsidiary(item.entity)}, "isJobResource": True}
            for item in firm.PEOPLE
            if firm.erp_of(item.entity) == "netsuite"
        ],
    }  # fmt: skip


def _subsidiary(entity: str) -> str:
    return next(item.subsidiary for item in firm.ENTITIES if item.code == entity)


def businesscentral(month: Month) -> dict[str, Any]:
    """The Dutch company's ERP: its calendar, customers, projects, people and dimensions, and the journal that we write into.

    Its fiscal year ended with the month before, so what is closed there is closed here.
    """
    department, engagement, stamp = _guid(1, 1), _guid(1, 2), moment(month.first, 6)
    projects = [item for item in firm.PROJECTS if firm.erp_of(firm.entity_of(item.customer)) == BC]
    return {
        "tax": 21,
        "accountingPeriods": [
            {"id": _guid(7, n), "startingDate": first.isoformat(), "name": f"{first:%B}", "newFiscalYear": first == month.first,
             "closed": state == "closed", "dateLocked": state == "closed", "lastModifiedDateTime": stamp}
            for n, (first, state) in enumerate(month.months())
        ],
        "companies": [{"id": BC_COMPANY, "name": "HALDEN BV", "displayName": "Halden Advisory BV"}],
        "customers": [
            {"id": _guid(2, n), "number": item.key, "displayName": item.name, "blocked": " ", "currencyCode": "",
             "taxRegistrationNumber": TAX_NUMBERS[item.code], "lastModifiedDateTime": stamp}
            for n, item in enumerate(firm.CUSTOMERS)
            if firm.erp_of(item.entity) == BC
        ],
        "projects": [
            {"id": _guid(3, n), "number": item.job, "displayName": item.name, "lastModifiedDateTime": stamp}
            for n, item in enumerate(projects)
        ],
        "employees": [
            {"id": _guid(4, n), "number": item.employee, "displayName": item.name, "status": "Active",
             "email": f"{item.code}@halden.example", "employmentDate": "2020-01-01", "terminationDate": "0001-01-01",
             "lastModifiedDateTime": stamp}
            for n, item in enumerate(firm.PEOPLE)
            if firm.erp_of(item.entity) == BC
        ],
        "dimensions": [
            {"id": department, "code": "DEPARTMENT", "displayName": "Department"},
            {"id": engagement, "code": BC_PROJECTS, "displayName": "Project"},
        ],
        "dimensionValues": [
            {"id": _guid(5, 1), "code": "DELIVERY", "dimensionId": department, "displayName": "Delivery NL",
             "lastModifiedDateTime": stamp},
            *({"id": _guid(5, 10 + n), "code": item.job, "dimensionId": engagement, "displayName": item.name,
               "lastModifiedDateTime": stamp} for n, item in enumerate(projects)),
        ],
        "projectJournals": [{"id": _guid(6, 1), "code": "TIEOUT", "displayName": "Tieout"}],
    }  # fmt: skip


def _guid(group: int, number: int) -> str:
    return f"7d115c9c-{group:04}-4000-8000-{number:012}"


def salesforce(month: Month) -> dict[str, Any]:
    """The group's CRM: the accounts, in America and the Netherlands, that learn how their bills stand."""
    return {
        "Account": [
            {"Id": firm.account_id(item), "Name": firm.CRM_NAMES.get(item.code, item.name), "ParentId": None,
             "MasterRecordId": None, "AccountNumber": item.code,
             "CurrencyIsoCode": next(one.currency for one in firm.ENTITIES if one.code == item.entity),
             "SystemModstamp": f"{month.first}T06:00:00.000+0000"}
            for item in firm.CUSTOMERS
            if item.entity in firm.CRM
        ],
        "Opportunity": [],
        "User": [],
    }  # fmt: skip


def harvest(rows: Iterable[Worked], spent: Iterable[Spent]) -> dict[str, Any]:
    """The American time tracker: people, projects, and the month's approved entries and expenses."""
    people = firm.team("US")
    projects = [item for item in firm.PROJECTS if firm.entity_of(item.customer) == "US"]
    entries = [
        _harvest_entry(item, firm.person(item.person).tracker, firm.project(item.project).tracker) for item in rows
    ]
    return {
        "company": {"name": "Halden Advisory Inc.", "base_uri": "https://halden.harvestapp.com"},
        "users": [_harvest_user(item.tracker, item.name) for item in people],
        "clients": [
            {"id": int(item.key), "name": item.name, "currency": "USD"}
            for item in firm.CUSTOMERS
            if item.entity == "US"
        ],
        "projects": [{"id": int(item.tracker), "name": item.name, "code": item.code} for item in projects],
        "tasks": [{"id": 5001, "name": "Consulting"}],
        "categories": [{"id": 6001, "name": "Travel"}],
        "time_entries": entries,
        "expenses": [_harvest_expense(item) for item in spent],
    }


def _harvest_expense(item: Spent) -> dict[str, Any]:
    job = firm.project(item.project)
    return {
        "id": 1_600_000_000 + item.number, "spent_date": item.on.isoformat(), "total_cost": float(item.amount),
        "notes": item.text, "user": int(firm.person(item.person).tracker), "project": int(job.tracker),
        "client": int(next(one.key for one in firm.CUSTOMERS if one.code == job.customer)), "expense_category": 6001,
        "billable": True, "approval_status": "approved",
        "receipt": {"url": f"https://halden.harvestapp.com/receipts/{item.number}", "file_name": f"receipt-{item.number}.pdf"},
        "created_at": moment(item.on), "updated_at": moment(item.on + DAYS),
    }  # fmt: skip


def _harvest_user(key: str, name: str) -> dict[str, Any]:
    first, last = name.split(maxsplit=1)[0], name.rsplit(maxsplit=1)[-1]
    return {
        "id": int(key),
        "name": name,
        "first_name": first,
        "last_name": last,
        "email": f"{last.lower()}@halden.example",
    }


def _harvest_entry(item: Worked, user: str, project: str) -> dict[str, Any]:
    customer = firm.project(item.project).customer
    return {
        "id": 1_500_000_000 + item.number,
        "spent_date": item.on.isoformat(),
        "hours": float(item.hours),
        "notes": item.text,
        "user": int(user),
        "client": int(next(c.key for c in firm.CUSTOMERS if c.code == customer)),
        "project": int(project),
        "task": 5001,
        "billable": True,
        "billable_rate": float(item.rate) if item.rate is not None else None,
        "approval_status": "approved",
        "created_at": moment(item.on),
        "updated_at": moment(item.on + DAYS),
    }


def weeks(rows: Iterable[Worked]) -> dict[tuple[str, date], list[Worked]]:
    """Hours by person and the Monday of their week, as approvals are asked for."""
    grouped: dict[tuple[str, date], list[Worked]] = defaultdict(list)
    for item in rows:
        grouped[(item.person, item.on - timedelta(days=item.on.isoweekday() - 1))].append(item)
    return grouped


def clockify(rows: Iterable[Worked], approved_until: date) -> dict[str, Any]:
    """The British time tracker: a week of a person is one approval; those after `approved_until` are still pending."""
    entity = next(item for item in firm.ENTITIES if item.code == "GB")
    projects = [item for item in firm.PROJECTS if firm.entity_of(item.customer) == "GB"]
    return {
        "workspaces": [{"id": CLOCKIFY_WORKSPACE, "name": entity.name}],
        "users": [{"id": item.tracker, "name": item.name, "timeZone": entity.zone} for item in firm.team("GB")],
        "clients": [{"id": f"66c{item.key:0>21}", "name": item.name} for item in firm.CUSTOMERS if item.entity == "GB"],
        "projects": [
            {"id": item.tracker, "name": item.name,
             "clientId": f"66c{next(c.key for c in firm.CUSTOMERS if c.code == item.customer):0>21}"}
            for item in projects
        ],
        "approvals": [
            _approval(person, monday, items, approved=monday <= approved_until)
            for (person, monday), items in sorted(weeks(rows).items())
        ],
    }  # fmt: skip


def approval_id(person: str, monday: date) -> str:
    """The id of one person's week."""
    return f"66b{firm.person(person).tracker[-4:]}{monday:%Y%m%d}".ljust(24, "0")


def _approval(person: str, monday: date, items: list[Worked], *, approved: bool) -> dict[str, Any]:
    decided = monday + 7 * DAYS
    return {
        "id": approval_id(person, monday),
        "workspaceId": CLOCKIFY_WORKSPACE,
        "userId": firm.person(person).tracker,
        "dateRange": {"start": moment(monday, 0), "end": moment(monday + 6 * DAYS, 23)},
        "state": "APPROVED" if approved else "PENDING",
        "updatedAt": moment(decided),
        "updatedBy": firm.person(firm.approver_of(person, "GB")).tracker,
        "entries": [_clockify_entry(item) for item in items],
    }


def _clockify_entry(item: Worked) -> dict[str, Any]:
    start = datetime.combine(item.on, time(9), UTC)
    minutes = int(item.hours * 60)
    return {
        "id": f"66e{item.number:0>21}",
        "description": item.text,
        "projectId": firm.project(item.project).tracker,
        "billable": True,
        "hourlyRate": {"amount": int(item.rate * 100), "currency": "GBP"} if item.rate is not None else None,
        "timeInterval": {
            "start": start.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "end": (start + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "duration": f"PT{minutes // 60}H{minutes % 60}M" if minutes % 60 else f"PT{minutes // 60}H",
        },
    }


GERMAN_HEADINGS = ("Nr", "Person", "Datum", "Projekt", "Projektname", "Stunden", "Beschreibung", "Freigegeben von")


def german_files(rows: Iterable[Worked], folder: Path) -> list[Path]:
    """The nightly CSV files: one a week, semicolons, decimal commas, umlauts in the code page of 1993."""
    by_week: dict[date, list[Worked]] = defaultdict(list)
    for item in rows:
        by_week[item.on - timedelta(days=item.on.isoweekday() - 1)].append(item)
    written = []
    folder.mkdir(parents=True, exist_ok=True)
    for monday, items in sorted(by_week.items()):
        text = io.StringIO()
        writer = csv.writer(text, delimiter=";", lineterminator="\r\n")
        writer.writerow(GERMAN_HEADINGS)
        for item in items:
            approver = firm.approver_of(item.person, "DE")
            writer.writerow([
                f"DE-{item.number}", item.person, f"{item.on:%d.%m.%Y}", item.code or item.project,
                firm.project(item.project).name, _comma(item.hours), f"{item.text}, geprüft", approver,
            ])  # fmt: skip
        path = folder / f"time-{monday.isoformat()}.csv"
        path.write_bytes(text.getvalue().encode("cp1252"))
        written.append(path)
    return written


def _comma(number: Decimal) -> str:
    return f"{number:.2f}".replace(".", ",")


def sheet_of_contractors(rows: Iterable[Worked], folder: Path) -> None:
    """The spreadsheet that the Americans keep for contractors, exported with our own field names as headings."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "time-contractors.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "person", "date", "project", "hours", "rate", "description", "approved_by"])
        for item in rows:
            approver = firm.approver_of(item.person, "US")
            writer.writerow(
                [
                    f"US-{item.number}",
                    item.person,
                    item.on.isoformat(),
                    item.project,
                    item.hours,
                    item.rate,
                    item.text,
                    approver,
                ]
            )


def dutch_file(rows: Iterable[Worked], folder: Path) -> None:
    """The month's hours as the Dutch export them, with our own field names as headings."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "time-month.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "person", "date", "project", "hours", "description", "approved_by"])
        for item in rows:
            approver = firm.approver_of(item.person, "NL")
            writer.writerow(
                [f"NL-{item.number}", item.person, item.on.isoformat(), item.project, item.hours, item.text, approver]
            )


SINGAPORE_HEADINGS = ("Entry", "Consultant", "Date", "Project", "Hours", "Rate", "Notes", "Approved by")


def singapore_workbook(rows: Iterable[Worked]) -> bytes:
    """The workbook that Singapore's analyst uploads by hand."""
    buffer = io.BytesIO()
    with xlsxwriter.Workbook(buffer, {"in_memory": True, "strings_to_formulas": False}) as workbook:
        sheet = workbook.add_worksheet("Timesheet")
        day = workbook.add_format({"num_format": "yyyy-mm-dd"})
        sheet.write_row(0, 0, SINGAPORE_HEADINGS)
        for number, item in enumerate(rows, start=1):
            approver = firm.approver_of(item.person, "SG")
            sheet.write_string(number, 0, f"SG-{item.number}")
            sheet.write_string(number, 1, item.person)
            sheet.write_datetime(number, 2, datetime.combine(item.on, time()), day)
            sheet.write_string(number, 3, item.code or item.project)
            sheet.write_number(number, 4, float(item.hours))
            if item.rate is not None:
                sheet.write_number(number, 5, float(item.rate))
            sheet.write_string(number, 6, item.text)
            sheet.write_string(number, 7, approver)
    return buffer.getvalue()


def columns(headings: tuple[str, ...], fields: tuple[str, ...]) -> Mapping[str, str]:
    """The column settings of a files connection: our field to the file's heading."""
    return dict(zip(fields, headings, strict=True))


GERMAN_COLUMNS = columns(
    GERMAN_HEADINGS, ("id", "person", "date", "project", "project_name", "hours", "description", "approved_by")
)
SINGAPORE_COLUMNS = columns(
    SINGAPORE_HEADINGS, ("id", "person", "date", "project", "hours", "rate", "description", "approved_by")
)
