"""The account's records: stored once, checked as the vendor checks them, and shown to SuiteQL as tables.

A record that exists under an external id is changed by writing it again, never doubled. Times are UTC.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import Any

from integrations.sandbox.netsuite.errors import RefusedError
from integrations.sandbox.netsuite.fields import EXPENSE_REPORT, INVOICE, RECORD_TYPES, TIME_BILL, RecordType
from integrations.sandbox.store import Store

_DURATION = re.compile(r"-?\d{1,4}:[0-5]\d")
_MEMO_LIMIT = {"timebill": 4000, "expensereport": 999, "invoice": 999}
_READ_ONLY = {"id", "createdDate", "lastModifiedDate", "refName", "externalId"}

_SCHEMA = """
CREATE TABLE IF NOT EXISTS ns_record (
    id INTEGER NOT NULL, kind TEXT NOT NULL, externalid TEXT, body TEXT NOT NULL,
    modified TEXT NOT NULL, visible_at REAL NOT NULL, PRIMARY KEY (kind, id), UNIQUE (kind, externalid));
CREATE INDEX IF NOT EXISTS ns_record_modified ON ns_record (kind, modified, id);
CREATE TABLE IF NOT EXISTS ns_deleted (
    recordid INTEGER NOT NULL, scriptid TEXT NOT NULL, type TEXT NOT NULL, deleteddate TEXT NOT NULL, name TEXT);
"""


class Records:
    """Every record of the account. The caller holds the store's lock."""

    def __init__(self, store: Store, read_lag: Callable[[], float]) -> None:
        self._store = store
        self.db = store.db
        self._read_lag = read_lag
        self.tax_percent = 0.0
        self.approves_invoices = False
        self.db.executescript(_SCHEMA)

    def clear(self) -> None:
        """Forget every record."""
        self.db.execute("DELETE FROM ns_record")
        self.db.execute("DELETE FROM ns_deleted")

    def seed(self, kind: RecordType, record: Mapping[str, Any]) -> None:
        """Store a record as it is given, under its own id."""
        body = dict(record)
        identity = int(body.pop("id"))
        body.setdefault("isInactive", False)
        self._put(kind, identity, body, body.pop("externalId", None), modified=body.get("lastModifiedDate"), lag=False)

    def get(self, kind: str, key: str) -> dict[str, Any] | None:
        """A record by internal id, or by `eid:` and its external id, as far as it can be read by now."""
        column, value = ("externalid", key[4:]) if key.startswith("eid:") else ("id", key)
        row = self.db.execute(
            f"SELECT * FROM ns_record WHERE kind = ? AND {column} = ? AND visible_at <= ?",  # noqa: S608 - two columns
            (kind, value, time.time()),
        ).fetchone()
        if row is None:
            return None
        return {"id": str(row["id"]), "externalId": row["externalid"] or "", **json.loads(row["body"])}

    def delete(self, kind: RecordType, identity: int, at: str | None = None) -> None:
        """Take a record out and leave its row among the deleted ones, as of a moment or of now."""
        self.db.execute("DELETE FROM ns_record WHERE kind = ? AND id = ?", (kind.name.lower(), identity))
        self.db.execute(
            "INSERT INTO ns_deleted VALUES (?, ?, ?, ?, ?)",
            (identity, kind.name.upper(), kind.name.lower(), _stamp(at), ""),
        )

    def count(self, kind: str) -> dict[str, int]:
        """How many live records stand under each external id."""
        rows = self.db.execute(
            "SELECT coalesce(externalid, '') AS key, count(*) AS n FROM ns_record WHERE kind = ? GROUP BY 1", (kind,)
        )
        return {row["key"]: row["n"] for row in rows}

    def bodies(self, kind: str) -> list[dict[str, Any]]:
        """Every record of a kind, by internal id."""
        rows = self.db.execute("SELECT * FROM ns_record WHERE kind = ? ORDER BY id", (kind,))
        return [{"id": row["id"], "externalId": row["externalid"], **json.loads(row["body"])} for row in rows]

    def write(
        self, kind: RecordType, key: str | None, body: Mapping[str, Any], *, names: str, create: bool, replace: str = ""
    ) -> int:
        """Create a record, or change the one under `key`; returns its internal id. Raises RefusedError.

        `names` is the caller's wish for fields that do not exist: Error, Warning or Ignore. Lines are added to those
        that a record has, unless `replace` names their sublist.
        """
        checked = self._checked(kind, body, names)
        external = key[4:] if key and key.startswith("eid:") else body.get("externalId")
        row = None
        if key is not None:
            column, value = ("externalid", external) if key.startswith("eid:") else ("id", key)
            row = self.db.execute(
                f"SELECT id, body, externalid FROM ns_record WHERE kind = ? AND {column} = ?",  # noqa: S608 - two columns
                (kind.name.lower(), value),
            ).fetchone()
        elif external and external in self.count(kind.name.lower()):
            raise RefusedError("This record already exists", code="USER_ERROR")
        if row is None and not create:
            raise RefusedError(
                "The record instance does not exist. Provide a valid record instance ID.",
                status=404,
                code="NONEXISTENT_ID",
            )
        before = json.loads(row["body"]) if row else {}
        after = {**before, **checked}
        for sublist in set(kind.lines) & set(before) & set(checked) - set(replace.split(",")):
            after[sublist] = {"items": before[sublist]["items"] + checked[sublist]["items"]}
        self._business_rules(kind, before, after)
        identity = int(row["id"]) if row else self._store.next_id("record", 1001)
        if kind is INVOICE:
            self._work_out(identity, after)
        self._put(kind, identity, after, row["externalid"] if row else external, lag=row is None)
        return identity

    def _put(
        self, kind: RecordType, identity: int, body: dict[str, Any], external: str | None, *, modified: str | None = None,
        lag: bool,
    ) -> None:  # fmt: skip
        body["lastModifiedDate"] = _stamp(modified)
        self.db.execute(
            "INSERT OR REPLACE INTO ns_record VALUES (?, ?, ?, ?, ?, ?)",
            (
                identity,
                kind.name.lower(),
                external or None,
                json.dumps(body),
                body["lastModifiedDate"][:19].replace("T", " "),
                time.time() + (self._read_lag() if lag else -1),
            ),
        )

    def _checked(self, kind: RecordType, body: Mapping[str, Any], names: str) -> dict[str, Any]:
        """The body with its fields known, its values of the right form and its references existing."""
        if not isinstance(body, Mapping):
            raise RefusedError("Invalid content in the request body.", code="INVALID_CONTENT")
        checked: dict[str, Any] = {}
        for name, value in body.items():
            if name in kind.lines:
                items = value.get("items") if isinstance(value, Mapping) else None
                if not isinstance(items, list):
                    raise _invalid(name)
                checked[name] = {
                    "items": [
                        self._fields(kind.lines[name], line, names, f"{name}.items[{index}].")
                        for index, line in enumerate(items)
                    ]
                }
        plain = {name: value for name, value in body.items() if name not in kind.lines}
        return {**self._fields(kind.fields, plain, names, ""), **checked}

    def _fields(self, fields: Mapping[str, str], body: Mapping[str, Any], names: str, path: str) -> dict[str, Any]:
        checked = {}
        for name, value in body.items():
            if name not in fields:
                if names == "Error":
                    raise RefusedError(
                        f"Unknown reference or field '{name}' in the request body.",
                        code="INVALID_CONTENT",
                        errorPath=path + name,
                    )
                continue
            if name not in _READ_ONLY:
                checked[name] = self._value(fields[name], name, value, path)
        return checked

    def _value(self, form: str, name: str, value: Any, path: str) -> Any:
        good = True
        match form:
            case "text":
                good = isinstance(value, str)
            case "number":
                good = isinstance(value, int | float) and not isinstance(value, bool)
            case "bool":
                good = isinstance(value, bool)
            case "date" | "datetime":
                good = isinstance(value, str) and _is_date(value[:10])
            case "duration":
                good = isinstance(value, str) and _DURATION.fullmatch(value) is not None
            case "enum":
                good = isinstance(value, Mapping) and "id" in value
            case _:
                return self._reference(form, name, value, path)
        if not good:
            raise _invalid(path + name)
        return value

    def _reference(self, kinds: str, name: str, value: Any, path: str) -> dict[str, str]:
        if not isinstance(value, Mapping) or not ({"id", "externalId"} & set(value)):
            raise _invalid(path + name)
        key = str(value["id"]) if "id" in value else f"eid:{value['externalId']}"
        for kind in kinds.split("|"):
            found = self.get(kind, key)
            if found is not None and not found.get("isInactive"):
                return {"id": found["id"], "refName": _name(found)}
        raise RefusedError(
            f"Error while accessing a resource. Invalid Field Value {value.get('id', value.get('externalId'))} "
            f"for the following field: {name.lower()}.",
            errorPath=path + name,
        )

    def _business_rules(self, kind: RecordType, before: Mapping[str, Any], after: dict[str, Any]) -> None:
        missing = [name for name in kind.required if not after.get(name)]
        if missing:
            raise _missing(missing)
        if kind is TIME_BILL:
            self._time_rules(before, after)
        elif kind is EXPENSE_REPORT:
            self._expense_rules(after)
        elif kind is INVOICE:
            self._invoice_rules(after)
        if kind in (TIME_BILL, EXPENSE_REPORT, INVOICE):
            limit = _MEMO_LIMIT[kind.name.lower()]
            if len(after.get("memo", "")) > limit:
                raise RefusedError(
                    f"The field memo contained more than the maximum number ( {limit} ) of characters allowed."
                )
            after.setdefault("tranDate", datetime.now(UTC).date().isoformat())
            for moment in {after["tranDate"], before.get("tranDate", after["tranDate"])}:
                self._open(moment)

    def _time_rules(self, before: Mapping[str, Any], after: dict[str, Any]) -> None:
        if before.get("approvalStatus", {}).get("id") == "3":
            raise RefusedError("You cannot modify time that has already been approved.")
        if after.get("customer") and not after.get("item"):
            raise _missing(["item"])
        task = after.get("caseTaskEvent")
        if task:
            stored = self.get("projecttask", task["id"]) or {}
            wrong_project = stored.get("project", {}).get("id") != after.get("customer", {}).get("id")
            if wrong_project or stored.get("status", {}).get("id") == "COMPLETE":
                raise RefusedError(f"Invalid Field Value {task['id']} for the following field: casetaskevent.")
        job = self.get("job", after["customer"]["id"]) if after.get("customer") else None
        if job is not None and job.get("allowTime") is False:
            raise RefusedError("Time entry is not allowed on this project.")
        employee = self.get("employee", after["employee"]["id"]) or {}
        after.setdefault("subsidiary", employee.get("subsidiary") or {"id": "1", "refName": ""})
        after.setdefault("isBillable", False)
        after.setdefault("approvalStatus", {"id": "2", "refName": "Submitted"})

    def _expense_rules(self, after: dict[str, Any]) -> None:
        lines = after["expense"]["items"]
        if not lines:
            raise _missing(["expense"])
        for line in lines:
            missing = [name for name in ("category", "amount") if line.get(name) in (None, "")]
            if missing:
                raise _missing(missing)
        employee = self.get("employee", after["entity"]["id"]) or {}
        after.setdefault("subsidiary", employee.get("subsidiary") or {"id": "1", "refName": ""})

    def _invoice_rules(self, after: dict[str, Any]) -> None:
        lines = after.get("item", {}).get("items", [])
        if not lines:
            raise _missing(["item"])
        for line in lines:
            if not line.get("item"):
                raise _missing(["item"])
        customer = self.get("customer", after["entity"]["id"]) or {}
        after.setdefault("subsidiary", customer.get("subsidiary") or {"id": "1", "refName": ""})
        after.setdefault("currency", customer.get("currency") or {"id": "1", "refName": ""})

    def _work_out(self, identity: int, after: dict[str, Any]) -> None:
        """Number an invoice and work out its amounts, tax and status, as the account does."""
        for number, line in enumerate(after["item"]["items"], start=1):
            line["line"] = number
            line.setdefault("quantity", 1)
            line.setdefault("amount", round(line["quantity"] * line.get("rate", 0), 2))
        net = round(sum(line["amount"] for line in after["item"]["items"]), 2)
        details = [self._taxed(line) for line in after["item"]["items"]]
        after["taxDetails"] = {"items": details}
        tax = round(sum(one["taxAmount"] for one in details), 2)
        after.setdefault("tranId", f"INV-{identity}")
        after |= {
            "subtotal": net,
            "taxTotal": tax,
            "total": round(net + tax, 2),
            "amountRemaining": round(net + tax, 2),
        }
        pending = after.get("approvalStatus", {}).get("id") == "1" and not self.approves_invoices
        words = ("D", "Pending Approval") if pending else ("A", "Open")
        after["status"] = {"id": words[0], "refName": words[1]}

    def _taxed(self, line: dict[str, Any]) -> dict[str, Any]:
        """The tax detail of one line, tied to it by a reference, as SuiteTax writes it."""
        line["taxDetailsReference"] = f"L{line['line']}"
        return {
            "taxDetailsReference": {"id": line["taxDetailsReference"]}, "lineType": "Item", "netAmount": line["amount"],
            "taxBasis": line["amount"], "taxRate": self.tax_percent, "taxCode": {"id": "7", "refName": "S"},
            "taxAmount": round(line["amount"] * self.tax_percent / 100, 2),
        }  # fmt: skip

    def _open(self, moment: str) -> None:
        """Refuse a date in an accounting period that is closed or locked. The wording is our reading; see the manual."""
        row = self.db.execute(
            "SELECT body FROM ns_record WHERE kind = 'accountingperiod' AND json_extract(body, '$.startDate') <= ? "
            "AND json_extract(body, '$.endDate') >= ? AND NOT coalesce(json_extract(body, '$.isQuarter'), 0) "
            "AND NOT coalesce(json_extract(body, '$.isYear'), 0)",
            (moment, moment),
        ).fetchone()
        period = json.loads(row["body"]) if row else None
        if period is not None and (period.get("closed") or period.get("allLocked")):
            raise RefusedError(
                f"The accounting period {period['periodName']} is closed. You cannot create or edit transactions in a "
                "closed period."
            )


def _invalid(path: str) -> RefusedError:
    return RefusedError(
        f"Invalid value for the resource or sub-resource field '{path}'. Provide a valid value.",
        code="INVALID_CONTENT",
        errorPath=path,
    )


def _missing(names: list[str]) -> RefusedError:
    return RefusedError(f"Error while accessing a resource. Please enter value(s) for: {', '.join(names)}.")


def _name(record: Mapping[str, Any]) -> str:
    for field in ("entityId", "fullName", "name", "title", "periodName", "itemId", "symbol"):
        if record.get(field):
            return str(record[field])
    return ""


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _stamp(moment: str | None) -> str:
    return moment or datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def known_type(name: str) -> RecordType:
    """A record type by its path name; raises the vendor's 404."""
    if name.lower() not in RECORD_TYPES:
        raise RefusedError(
            f"Record type '{name}' does not exist.",
            status=404,
            code="NONEXISTENT_ID",
            errorUrl=f"/services/rest/record/v1/{name}",
        )
    return RECORD_TYPES[name.lower()]
