"""The tables that SuiteQL shows of an account's records: their columns, and where each stands in a stored record.

A column is (the store's own SQL, the form of what it holds); `ref:` before a form is the SQL of its display text.
"""

from __future__ import annotations


def _json(path: str) -> str:
    return f"json_extract(body, '$.{path}')"


def _ref(path: str) -> tuple[str, str]:
    return (f"CAST({_json(f'{path}.id')} AS INTEGER)", "ref:" + _json(f"{path}.refName"))


def _enum(path: str) -> tuple[str, str]:
    return (_json(f"{path}.id"), "ref:" + _json(f"{path}.refName"))


def _flag(path: str) -> tuple[str, str]:
    return (f"CASE WHEN {_json(path)} THEN 'T' ELSE 'F' END", "text")


def _text(path: str) -> tuple[str, str]:
    return (_json(path), "text")


def _date(path: str) -> tuple[str, str]:
    return (f"substr({_json(path)}, 1, 10)", "date")


_ID = {
    "id": ("id", "number"),
    "externalid": ("externalid", "text"),
    "lastmodifieddate": ("modified", "datetime"),
}
_HOURS = (
    "(CASE WHEN {h} LIKE '-%' THEN -1 ELSE 1 END) * (CAST(ltrim(substr({h}, 1, instr({h}, ':') - 1), '-') AS REAL) "
    "+ CAST(substr({h}, instr({h}, ':') + 1) AS REAL) / 60.0)"
).replace("{h}", _json("hours"))

_TYPES = {  # what a transaction's type says by record type, and how its status is headed
    "expensereport": ("ExpRept", "Expense Report"),
    "invoice": ("CustInvc", "Invoice"),
    "creditmemo": ("CustCred", "Credit Memo"),
    "customerpayment": ("CustPymt", "Customer Payment"),
}


def _by_kind(place: int) -> str:
    cases = " ".join(f"WHEN '{kind}' THEN '{said[place]}'" for kind, said in _TYPES.items())
    return f"CASE kind {cases} END"


TABLES: dict[str, tuple[str, dict[str, tuple[str, str]]]] = {
    "timebill": (
        "timebill",
        {
            **_ID, "trandate": _date("tranDate"), "employee": _ref("employee"), "customer": _ref("customer"),
            "casetaskevent": _ref("caseTaskEvent"), "item": _ref("item"), "department": _ref("department"),
            "class": _ref("class"), "location": _ref("location"), "subsidiary": _ref("subsidiary"),
            "hours": (_HOURS, "number"), "rate": (_json("rate"), "number"), "isbillable": _flag("isBillable"),
            "memo": _text("memo"), "approvalstatus": _enum("approvalStatus"),
        },
    ),
    "transaction": (
        "' OR kind = '".join(_TYPES),
        {
            **_ID, "type": (_by_kind(0), "text"), "recordtype": ("kind", "text"), "trandate": _date("tranDate"),
            "entity": (f"CAST(coalesce({_json('entity.id')}, {_json('customer.id')}) AS INTEGER)", "number"),
            "subsidiary": _ref("subsidiary"), "memo": _text("memo"), "tranid": _text("tranId"),
            "currency": (f"CAST(coalesce({_json('expensereportcurrency.id')}, {_json('currency.id')}) AS INTEGER)", "number"),
            "status": (_json("status.id"), f"ref:{_by_kind(1)} || ' : ' || {_json('status.refName')}"),
        },
    ),
    "customer": (
        "customer",
        {
            **_ID, "entityid": _text("entityId"), "companyname": _text("companyName"), "altname": _text("altName"),
            "email": _text("email"), "parent": _ref("parent"), "subsidiary": _ref("subsidiary"),
            "currency": _ref("currency"), "isinactive": _flag("isInactive"), "isperson": _flag("isPerson"),
            "defaulttaxreg": _text("defaultTaxReg"), "startdate": _date("startDate"), "enddate": _date("endDate"),
        },
    ),
    "job": (
        "job",
        {
            **_ID, "entityid": _text("entityId"), "companyname": _text("companyName"), "altname": _text("altName"),
            "parent": _ref("parent"), "subsidiary": _ref("subsidiary"), "currency": _ref("currency"),
            "entitystatus": _enum("entityStatus"), "jobbillingtype": _enum("jobBillingType"),
            "startdate": _date("startDate"), "enddate": _date("endDate"), "allowtime": _flag("allowTime"),
            "projectmanager": _ref("projectManager"), "isinactive": _flag("isInactive"),
        },
    ),
    "projecttask": (
        "projecttask",
        {
            **_ID, "title": _text("title"), "project": _ref("project"), "parent": _ref("parent"),
            "status": _enum("status"), "nonbillabletask": _flag("nonBillableTask"), "isinactive": _flag("isInactive"),
        },
    ),
    "employee": (
        "employee",
        {
            **_ID, "entityid": _text("entityId"), "firstname": _text("firstName"), "lastname": _text("lastName"),
            "email": _text("email"), "subsidiary": _ref("subsidiary"), "department": _ref("department"),
            "hiredate": _date("hireDate"), "releasedate": _date("releasedate"), "isinactive": _flag("isInactive"),
        },
    ),
    "subsidiary": (
        "subsidiary",
        {
            **_ID, "name": _text("name"), "fullname": _text("fullName"), "legalname": _text("legalName"),
            "parent": _ref("parent"), "currency": _ref("currency"), "country": _enum("country"),
            "iselimination": _flag("isElimination"), "isinactive": _flag("isInactive"),
        },
    ),
    "department": (
        "department",
        {
            **_ID, "name": _text("name"), "fullname": _text("fullName"), "parent": _ref("parent"),
            "subsidiary": _ref("subsidiary"), "isinactive": _flag("isInactive"),
        },
    ),
    "accountingperiod": (
        "accountingperiod",
        {
            **_ID, "periodname": _text("periodName"), "startdate": _date("startDate"), "enddate": _date("endDate"),
            "closed": _flag("closed"), "alllocked": _flag("allLocked"), "arlocked": _flag("arLocked"),
            "aplocked": _flag("apLocked"), "isadjust": _flag("isAdjust"), "isquarter": _flag("isQuarter"),
            "isyear": _flag("isYear"), "isinactive": _flag("isInactive"),
        },
    ),
    "currency": ("currency", {**_ID, "symbol": _text("symbol"), "name": _text("name")}),
    "item": ("serviceitem", {**_ID, "itemid": _text("itemId"), "displayname": _text("displayName")}),
    "expensecategory": ("expensecategory", {**_ID, "name": _text("name"), "isinactive": _flag("isInactive")}),
}  # fmt: skip

LINES = """
CREATE TEMP VIEW IF NOT EXISTS ql_transactionline AS
SELECT r.id AS "transaction", l.key + 1 AS id, 'F' AS mainline, r.visible_at,
    CAST(json_extract(l.value, '$.customer.id') AS INTEGER) AS entity,
    CAST(json_extract(l.value, '$.category.id') AS INTEGER) AS category,
    CAST(json_extract(l.value, '$.projecttask.id') AS INTEGER) AS projecttask,
    CAST(json_extract(l.value, '$.department.id') AS INTEGER) AS department,
    json_extract(l.value, '$.amount') AS foreignamount, json_extract(l.value, '$.memo') AS memo,
    CASE WHEN json_extract(l.value, '$.isBillable') THEN 'T' ELSE 'F' END AS isbillable,
    r.modified AS linelastmodifieddate
FROM ns_record r, json_each(r.body, '$.expense.items') l WHERE r.kind = 'expensereport'
"""
LINE_COLUMNS = {
    "transaction": "number", "id": "number", "mainline": "text", "entity": "text", "category": "text", "memo": "text",
    "projecttask": "text", "department": "text", "isbillable": "text", "foreignamount": "number",
    "linelastmodifieddate": "datetime",
}  # fmt: skip
DELETED_COLUMNS = dict.fromkeys(("recordid", "scriptid", "type", "deleteddate", "name"), "text")
