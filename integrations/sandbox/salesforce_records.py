"""What the stand-in for Salesforce takes by upsert: collections, of which each record stands alone, and graphs kept whole.

The package's objects have the fields below; another object has those that it is seeded with under `"objects"`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from integrations.sandbox.store import Store

PACKAGE: Mapping[str, tuple[str, ...]] = {
    "Billing_Invoice__c": (
        "External_Id__c", "Account__c", "Number__c", "Kind__c", "Status__c", "Currency__c", "Net__c", "Total__c", "Balance__c",
        "Issue_Date__c", "Due_Date__c", "Paid_On__c", "Projects__c", "Booked_In__c",
    ),
    "Billing_Payment__c": (
        "External_Id__c", "Account__c", "Number__c", "Kind__c", "Status__c", "Currency__c", "Amount__c", "Booked_On__c",
        "Booked_In__c",
    ),
    "Billing_Payment_Part__c": ("External_Id__c", "Payment__c", "Invoice__c", "Amount__c"),
}  # fmt: skip
Json = dict[str, Any]
_REFERS_TO = {"Account__c": "Account", "Invoice__c": "Billing_Invoice__c", "Payment__c": "Billing_Payment__c"}
_URL = re.compile(r"/services/data/v60\.0/sobjects/(?P<object>\w+)/(?P<field>\w+)/(?P<key>[^/]+)")
COLLECTION, GRAPHS, NODES = 200, 75, 500


class Refused(Exception):
    """One record is refused, with Salesforce's code."""

    def __init__(self, code: str, message: str, *fields: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status
        self.error: Json = {"statusCode": code, "message": message, "fields": list(fields)}


class Records:
    """The objects of one org that can be written to."""

    def __init__(self, store: Store, stamp: Callable[[], str]) -> None:
        self._store = store
        self._stamp = stamp
        self.defaults()

    def defaults(self) -> None:
        """Everything may be written."""
        self.package = True
        self.locked: list[str] = []  # external ids whose rows are locked for one write
        self.required: Json = {}
        self.readonly: list[str] = []  # external ids of rows that our user may read and not write

    def fields(self, name: str) -> tuple[str, ...]:
        """The fields of an object; none when there is no such object."""
        own = self._store.collection("objects").get(name)
        return tuple(own["fields"]) if own else PACKAGE.get(name, ()) if self.package else ()

    def collection(self, name: str, field: str, given: Json) -> list[Json]:
        """The results of a collection; the call as a whole is refused by Refused."""
        self._known(name, field)
        rows = given["records"]
        if len(rows) > COLLECTION:
            raise Refused("EXCEEDED_ID_LIMIT", f"record limit reached. cannot submit more than {COLLECTION} records")
        if any(next(iter(row), "") != "attributes" for row in rows):
            raise Refused("JSON_PARSER_ERROR", "attributes must be the first key of each record")
        return [self._result(name, field, dict(row)) for row in rows]

    def _result(self, name: str, field: str, row: Json) -> Json:
        row.pop("attributes")
        try:
            key, created = self.upsert(name, field, str(row.pop(field)), row)
        except Refused as refused:
            return {"success": False, "created": False, "errors": [refused.error]}
        return {"id": key, "success": True, "created": created, "errors": []}

    def graphs(self, given: Sequence[Mapping[str, Any]]) -> Json:
        """Every graph is kept whole, or not at all."""
        if len(given) > GRAPHS or sum(len(graph["compositeRequest"]) for graph in given) > NODES:
            raise Refused("LIMIT_EXCEEDED", f"A call takes {GRAPHS} graphs and {NODES} nodes.")
        return {"graphs": [self._graph(graph) for graph in given]}

    def _graph(self, graph: Mapping[str, Any]) -> Json:
        before = {name: dict(self._store.collection(name)) for name in PACKAGE}
        answers: list[Json] = []
        made: dict[str, str] = {}
        failed = False
        for request in graph["compositeRequest"]:
            status, body = self._node(request, made) if not failed else (400, {})
            if status < 400:
                made[request["referenceId"]] = body["id"]
            failed = failed or status >= 400
            answers.append(
                {"body": body, "httpHeaders": {}, "httpStatusCode": status, "referenceId": request["referenceId"]}
            )
        if failed:
            for name, rows in before.items():
                collection = self._store.collection(name)
                for key in set(collection) - set(rows):
                    del collection[key]
                for key, row in rows.items():
                    collection[key] = row
            rolled = [{"errorCode": "PROCESSING_HALTED", "message": "The transaction was rolled back.", "fields": []}]
            for answer in answers:
                if answer["httpStatusCode"] < 400 or not answer["body"]:
                    answer.update(body=rolled, httpStatusCode=400)
        return {
            "graphId": graph["graphId"], "graphResponse": {"compositeResponse": answers}, "isSuccessful": not failed
        }  # fmt: skip

    def _node(self, request: Mapping[str, Any], made: Mapping[str, str]) -> tuple[int, Any]:
        found = _URL.fullmatch(request["url"])
        if found is None or request["method"] != "PATCH":
            return 404, [{"errorCode": "NOT_FOUND", "message": "The requested resource does not exist"}]
        try:
            self._known(found["object"], found["field"])
            body = {
                name: made.get(value[2:-4], value) if str(value).startswith("@{") else value
                for name, value in request["body"].items()
            }
            key, created = self.upsert(found["object"], found["field"], found["key"], body)
        except Refused as refused:
            error = refused.error
            return refused.status, [
                {"errorCode": error["statusCode"], "message": error["message"], "fields": error["fields"]}
            ]
        return (201 if created else 200), {"id": key, "success": True, "errors": [], "created": created}

    def upsert(self, name: str, field: str, external_id: str, row: Json) -> tuple[str, bool]:
        """Make or change the record with an external id; its id, and whether it was made."""
        known = self.fields(name)
        if unknown := sorted(set(row) - set(known)):
            raise Refused("INVALID_FIELD", f"No such column '{unknown[0]}' on sobject of type {name}", unknown[0])
        if external_id in self.locked:
            self.locked.remove(external_id)
            raise Refused("UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access to this record")
        if external_id in self.readonly:
            raise Refused("INSUFFICIENT_ACCESS_OR_READONLY", "insufficient access rights on object id")
        for needed in self.required.get(name, ()):
            if row.get(needed) in (None, ""):
                raise Refused("REQUIRED_FIELD_MISSING", f"Required fields are missing: [{needed}]", needed)
        for one, other in _REFERS_TO.items():
            if one in row and str(row[one]) not in self._store.collection(other):
                raise Refused("INVALID_CROSS_REFERENCE_KEY", f"invalid cross reference id: {row[one]}", one)
        rows = self._store.collection(name)
        key = next(
            (key for key, held in rows.items() if held.get(field) == external_id and not held["IsDeleted"]), None
        )
        created = key is None
        key = key or f"a{len(name):02}{self._store.next_id(name):012}AAA"
        blank = {**dict.fromkeys(known), "Id": key, "IsDeleted": False, field: external_id}
        rows[key] = {**(blank if created else rows[key]), **row, "SystemModstamp": self._stamp()}
        return key, created

    def _known(self, name: str, field: str) -> None:
        if not self.fields(name):
            raise Refused("NOT_FOUND", "The requested resource does not exist", status=404)
        if field not in self.fields(name):
            said = f"Provided external ID field does not exist or is not accessible: {field}"
            raise Refused("NOT_FOUND", said, status=404)
