"""The part of the Harvest stand-in that keeps clients, projects, tasks and people on projects, as its documents describe.

Harvest itself keeps nobody from making a second client of the same name, and neither does the stand-in: who looks for
duplicates finds them here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from integrations.sandbox.store import Store
from integrations.sandbox.vendor import Request, Response, Route

_NEEDS = {
    "clients": ("name",),
    "projects": ("client_id", "name", "is_billable", "bill_by", "budget_by"),
    "tasks": ("name",),
    "task_assignments": ("task_id",),
    "user_assignments": ("user_id",),
}
_DEFAULTS: dict[str, dict[str, Any]] = {
    "clients": {"is_active": True, "address": None, "currency": "USD"},
    "projects": {
        "code": None, "is_active": True, "is_fixed_fee": False, "hourly_rate": None, "budget": None, "fee": None,
        "cost_budget": None, "notes": None, "starts_on": None, "ends_on": None, "is_billable": True, "bill_by": "none",
        "budget_by": "none",
    },
    "tasks": {"billable_by_default": True, "default_hourly_rate": None, "is_default": False, "is_active": True},
    "task_assignments": {"is_active": True, "billable": True, "hourly_rate": None, "budget": None},
    "user_assignments": {
        "is_active": True, "is_project_manager": False, "use_default_rates": True, "hourly_rate": None, "budget": None,
    },
}  # fmt: skip
_BILL_BY = ("Project", "Tasks", "People", "none")
_BUDGET_BY = ("project", "project_cost", "task", "task_fees", "person", "none")
PARTS = ("task_assignments", "user_assignments")


class Refused(Exception):
    """A body that Harvest does not take; the message is its own."""


class Catalogue:
    """Clients, projects, tasks and assignments over one store."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.required: dict[str, tuple[str, ...]] = {}  # fields that an account came to demand, by list

    def routes(self) -> Sequence[Route]:
        """Lists, single records, making and changing."""
        routes = []
        for name in ("clients", "projects", "tasks"):
            routes += [
                Route("GET", f"/v2/{name}", self._list), Route("POST", f"/v2/{name}", self._make),
                Route("GET", f"/v2/{name}/{{id}}", self._one), Route("PATCH", f"/v2/{name}/{{id}}", self._change),
            ]  # fmt: skip
        for name in PARTS:
            routes += [
                Route("GET", f"/v2/projects/{{project}}/{name}", self._list),
                Route("POST", f"/v2/projects/{{project}}/{name}", self._make),
                Route("PATCH", f"/v2/projects/{{project}}/{name}/{{id}}", self._change),
            ]  # fmt: skip
        return routes

    def complete(self, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """A record in the vendor's full shape. A project may name its client by `client_id` or `client`."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        record = {**_DEFAULTS[name], "created_at": now, "updated_at": now, **given}
        for field, shown, collection in (
            ("client_id", "client", "clients"), ("task_id", "task", "tasks"), ("user_id", "user", "users")
        ):  # fmt: skip
            key = record.pop(field, None)
            if key is None:
                continue
            known = self.store.collection(collection).get(str(key))
            if known is None:
                raise Refused(f"{shown.capitalize()} does not exist")
            record[shown] = {part: known.get(part) for part in ("id", "name", "currency") if part in known}
        return record

    def _list(self, request: Request) -> Response:
        name = request.path.rsplit("/", 1)[1]
        items = list(self.store.collection(name).values())
        if name in PARTS:
            if request.params["project"] not in self.store.collection("projects"):
                return _error(404, "Record not found")
            items = [item for item in items if str(item["project"]["id"]) == request.params["project"]]
        items = [self.complete(name, item) for item in items]
        size, page = int(request.query.get("per_page", 2000)), int(request.query.get("page", 1))
        if not 1 <= size <= 2000:
            return _error(422, "per_page must be 1 to 2000")
        shown = items[(page - 1) * size : page * size]
        address = f"{request.base}{request.path}?per_page={size}&page="
        more = f"{address}{page + 1}" if page * size < len(items) else None
        return Response(
            body={
                name: shown, "per_page": size, "total_pages": max(1, -(-len(items) // size)), "total_entries": len(items),
                "next_page": None, "previous_page": None, "page": page,
                "links": {"first": f"{address}1", "next": more, "previous": None, "last": None},
            }
        )  # fmt: skip

    def _one(self, request: Request) -> Response:
        name = request.path.split("/")[2]
        found = self.store.collection(name).get(request.params["id"])
        return Response(body=self.complete(name, found)) if found else _error(404, "Record not found")

    def _make(self, request: Request) -> Response:
        name = request.path.rsplit("/", 1)[1]
        sent = request.json()
        needed = (*_NEEDS[name], *self.required.get(name, ()))
        missing = [field for field in needed if sent.get(field) in (None, "")]
        if missing:
            return _error(422, f"{missing[0].replace('_', ' ').capitalize()} can't be blank")
        try:
            if name in PARTS:
                sent = {**sent, "project": self._project_of(request, name, sent)}
            _check(name, sent)
            record = self.complete(name, {**sent, "id": self.store.next_id("catalogue", 90_000_001)})
        except Refused as refused:
            return _error(422, str(refused))
        self.store.collection(name)[str(record["id"])] = record
        return Response(201, record)

    def _change(self, request: Request) -> Response:
        name = request.path.split("/")[-2]
        collection = self.store.collection(name)
        found = collection.get(request.params["id"])
        if found is None or (name in PARTS and str(found["project"]["id"]) != request.params["project"]):
            return _error(404, "Record not found")
        sent = {field: value for field, value in request.json().items() if field != "id"}
        try:
            _check(name, sent)
            now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            record = self.complete(name, {**found, **sent, "updated_at": now})
        except Refused as refused:
            return _error(422, str(refused))
        collection[str(record["id"])] = record
        return Response(body=record)

    def _project_of(self, request: Request, name: str, sent: Mapping[str, Any]) -> dict[str, Any]:
        """The project that a part belongs to. Raises Refused where somebody or something is on it already."""
        project = self.store.collection("projects").get(request.params["project"])
        if project is None:
            raise Refused("Project does not exist")
        shown = name.partition("_")[0]
        for other in self.store.collection(name).values():
            if other["project"]["id"] == project["id"] and other[shown]["id"] == sent[f"{shown}_id"]:
                raise Refused(f"{shown.capitalize()} has already been taken")
        return {"id": project["id"], "name": project["name"], "code": project.get("code")}


def _check(name: str, sent: Mapping[str, Any]) -> None:
    """Raise Refused for what Harvest does not take."""
    if len(str(sent.get("name") or "")) > 255:
        raise Refused("Name is too long (maximum is 255 characters)")
    if name == "projects" and sent.get("bill_by", "none") not in _BILL_BY:
        raise Refused("Bill by is not included in the list")
    if name == "projects" and sent.get("budget_by", "none") not in _BUDGET_BY:
        raise Refused("Budget by is not included in the list")


def _error(status: int, message: str) -> Response:
    return Response(status, {"code": status, "message": message})
