"""The record types of this account: their fields, what each field holds, and their SuiteQL tables.

Field names follow the vendor's REST API Browser 2026.1, cut down to what time, expenses, bills, payments and their master data
need. A field is `text`, `number`, `bool`, `date`, `datetime`, `duration` (h:mm), `enum`, a sublist (`lines`), or a reference,
which is written as the name of the record type that it points to.
"""

from __future__ import annotations

from dataclasses import dataclass, field

_DIMENSIONS = {"department": "department", "class": "classification", "location": "location"}


@dataclass(frozen=True, slots=True)
class RecordType:
    """One record type. `required` must be given on creation; `table` is what SuiteQL calls it."""

    name: str
    fields: dict[str, str]
    required: tuple[str, ...] = ()
    lines: dict[str, dict[str, str]] = field(default_factory=dict)
    table: str = ""


TIME_BILL = RecordType(
    "timeBill",
    {
        "approvalStatus": "enum", "billingClass": "enum", "billingSubsidiary": "subsidiary", "caseTaskEvent": "projecttask",
        "createdDate": "datetime", "customForm": "enum", "customer": "customer|job", "displayField": "text",
        "employee": "employee", "externalId": "text", "hours": "duration", "id": "text", "isBillable": "bool",
        "isExempt": "bool", "isProductive": "bool", "isUtilized": "bool", "item": "serviceitem",
        "lastModifiedDate": "datetime", "memo": "text", "nextApprover": "employee", "overrideRate": "bool",
        "paidExternally": "bool", "payrollItem": "enum", "payrollWorkplace": "enum", "posted": "bool", "price": "enum",
        "rate": "number", "refName": "text", "rejectionNote": "text", "resourceAllocation": "enum",
        "subsidiary": "subsidiary", "supervisorApproval": "bool", "timeModified": "bool", "timeOffType": "enum",
        "timeType": "enum", "timesheet": "enum", "tranDate": "date", **_DIMENSIONS,
    },
    required=("employee", "hours"),
    table="timebill",
)  # fmt: skip

EXPENSE_REPORT = RecordType(
    "expenseReport",
    {
        "entity": "employee", "tranDate": "date", "tranId": "text", "memo": "text", "subsidiary": "subsidiary",
        "approvalStatus": "enum", "status": "enum", "complete": "bool", "supervisorapproval": "bool",
        "accountingapproval": "bool", "expensereportcurrency": "currency", "usemulticurrency": "bool",
        "acctcorpcardexp": "enum", "postingPeriod": "accountingperiod", "duedate": "date", "externalId": "text",
        "id": "text", "lastModifiedDate": "datetime", **_DIMENSIONS,
    },
    required=("entity", "expense"),
    lines={
        "expense": {
            "category": "expensecategory", "amount": "number", "foreignamount": "number", "currency": "currency",
            "exchangerate": "number", "expensedate": "date", "customer": "customer|job", "projecttask": "projecttask",
            "memo": "text", "isBillable": "bool", "isnonreimbursable": "bool", "corporatecreditcard": "bool",
            "receipt": "bool", "expmediaitem": "enum", "quantity": "number", "rate": "number", "taxCode": "enum",
            "line": "number", "refnumber": "number", "expenseaccount": "enum", **_DIMENSIONS,
        }
    },
    table="transaction",
)  # fmt: skip

_RECEIVABLE = {
    "tranDate": "date", "tranId": "text", "memo": "text", "subsidiary": "subsidiary", "currency": "currency",
    "exchangeRate": "number", "status": "enum", "postingPeriod": "accountingperiod", "total": "number", "externalId": "text",
    "id": "text", "lastModifiedDate": "datetime", **_DIMENSIONS,
}  # fmt: skip
_BILL = {
    **_RECEIVABLE, "entity": "customer", "dueDate": "date", "otherRefNum": "text", "subtotal": "number", "taxTotal": "number",
    "amountPaid": "number", "amountRemaining": "number", "approvalStatus": "enum",
}  # fmt: skip
_ITEM = {"item": "serviceitem", "quantity": "number", "rate": "number", "amount": "number", "description": "text",
         "line": "number", "job": "job", "custcol_tieout_posting": "text"}  # fmt: skip
_APPLY = {"doc": "invoice", "apply": "bool", "amount": "number", "due": "number", "total": "number", "refNum": "text",
          "applyDate": "date", "line": "number", "type": "text"}  # fmt: skip

INVOICE = RecordType(
    "invoice",
    {**_BILL, "job": "job"},
    required=("entity",),
    lines={
        "item": _ITEM,
        "time": {"apply": "bool", "doc": "timebill", "rate": "number", "amount": "number", "quantity": "duration",
                 "billedDate": "date", "employee": "employee", "item": "serviceitem", "job": "job", "memo": "text"},
        "expCost": {"apply": "bool", "doc": "expensereport", "amount": "number", "originalAmount": "number", "line": "number",
                    "employee": "employee", "job": "job", "memo": "text"},
    },
    table="transaction",
)  # fmt: skip
CREDIT_MEMO = RecordType(
    "creditMemo",
    {**_BILL, "createdFrom": "invoice", "applied": "number", "unapplied": "number"},
    required=("entity",),
    lines={"item": _ITEM, "apply": _APPLY},
    table="transaction",
)
CUSTOMER_PAYMENT = RecordType(
    "customerPayment",
    {**_RECEIVABLE, "customer": "customer", "payment": "number", "checkNumber": "text", "applied": "number",
     "unapplied": "number", "balance": "number", "autoApply": "bool"},
    required=("customer", "payment"),
    lines={"apply": {**_APPLY, "disc": "number", "discAmt": "number", "discDate": "date"}},
    table="transaction",
)  # fmt: skip
RECEIVABLES = (INVOICE, CREDIT_MEMO, CUSTOMER_PAYMENT)

_STAMPS = {"id": "text", "externalId": "text", "lastModifiedDate": "datetime", "isInactive": "bool"}

MASTER_DATA = (
    RecordType(
        "customer",
        {
            "entityId": "text", "companyName": "text", "altName": "text", "isPerson": "bool", "firstName": "text",
            "lastName": "text", "email": "text", "parent": "customer", "subsidiary": "subsidiary", "currency": "currency",
            "defaultTaxReg": "text", "startDate": "date", "endDate": "date", "comments": "text", **_STAMPS,
        },
        required=("entityId",),
        table="customer",
    ),
    RecordType(
        "job",
        {
            "entityId": "text", "companyName": "text", "altName": "text", "parent": "customer", "entityStatus": "enum",
            "jobBillingType": "enum", "jobType": "enum", "billingRateCard": "enum", "billingSchedule": "enum",
            "startDate": "date", "endDate": "date", "projectedEndDate": "date", "scheduledEndDate": "date",
            "allowTime": "bool", "allowExpenses": "bool", "limitTimeToAssignees": "bool", "projectManager": "employee",
            "subsidiary": "subsidiary", "currency": "currency", "timeApproval": "enum", "projectExpenseType": "enum",
            **_STAMPS,
        },
        required=("entityId",),
        table="job",
    ),
    RecordType(
        "projectTask",
        {
            "title": "text", "project": "job", "parent": "projecttask", "status": "enum", "nonBillableTask": "bool",
            "estimatedWork": "number", "plannedWork": "text", "startDateTime": "datetime", "endDate": "datetime",
            "message": "text", **_STAMPS,
        },
        required=("title", "project"),
        table="projecttask",
    ),
    RecordType(
        "employee",
        {
            "entityId": "text", "firstName": "text", "lastName": "text", "email": "text", "supervisor": "employee",
            "subsidiary": "subsidiary", "billingClass": "enum", "laborCost": "number", "rate": "number",
            "isJobResource": "bool", "isJobManager": "bool", "hireDate": "date", "releasedate": "date",
            **_DIMENSIONS, **_STAMPS,
        },
        required=("entityId",),
        table="employee",
    ),
    RecordType(
        "subsidiary",
        {
            "name": "text", "fullName": "text", "legalName": "text", "parent": "subsidiary", "currency": "currency",
            "country": "enum", "fiscalCalendar": "enum", "isElimination": "bool", "federalIdNumber": "text", **_STAMPS,
        },
        required=("name",),
        table="subsidiary",
    ),
    RecordType(
        "department",
        {"name": "text", "fullName": "text", "parent": "department", "subsidiary": "subsidiary", **_STAMPS},
        required=("name",),
        table="department",
    ),
    RecordType(
        "accountingPeriod",
        {
            "periodName": "text", "startDate": "date", "endDate": "date", "closed": "bool", "closedOnDate": "datetime",
            "allLocked": "bool", "arLocked": "bool", "apLocked": "bool", "payrollLocked": "bool",
            "allowNonGLChanges": "bool", "isAdjust": "bool", "isPosting": "bool", "isQuarter": "bool", "isYear": "bool",
            "parent": "accountingperiod", **_STAMPS,
        },
        required=("periodName", "startDate", "endDate"),
        table="accountingperiod",
    ),
    RecordType("currency", {"name": "text", "symbol": "text", **_STAMPS}, required=("symbol",), table="currency"),
    RecordType("classification", {"name": "text", **_STAMPS}, table="classification"),
    RecordType("location", {"name": "text", **_STAMPS}, table="location"),
    RecordType("serviceItem", {"itemId": "text", "displayName": "text", **_STAMPS}, table="item"),
    RecordType("expenseCategory", {"name": "text", **_STAMPS}, table="expensecategory"),
)  # fmt: skip

RECORD_TYPES = {kind.name.lower(): kind for kind in (TIME_BILL, EXPENSE_REPORT, *RECEIVABLES, *MASTER_DATA)}
