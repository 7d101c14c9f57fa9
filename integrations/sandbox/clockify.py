"""A stand-in for Clockify: approval requests with their entries and expenses, and the webhooks that follow them.

Seed: `{"workspaces", "users", "clients", "projects", "tasks", "categories"}` as lists of records, `"approvals"` (`id`, `userId`,
`dateRange`, `state`, `updatedAt`, `entries`, `expenses`; an entry may name its `projectId` and `taskId`), `"webhooks"` (`url`,
`authToken`, `webhookEvent`), and `"actions"`, played in order:

    {"do": "submit|approve|withdraw|reject", "ids": [approval ids], "at": .., "by": user id}    fires its webhook
    {"do": "edit", "kind": "entries|expenses", "ids": [..], "changes": {..}}
    {"do": "detach|delete", "kind": "entries|expenses", "ids": [..]}     leaves its approval; is gone
    {"do": "deliver", "times": 1, "order": "sent|reversed", "token": ..} every delivery so far again, or with another token

Settings: `api_keys`, `rate` ([calls, seconds]), `webhooks` ("send" or "hold" until `deliver`), `withdrawn_keeps_entries`,
`required` (fields that its lists came to demand).
Deliveries go to this machine only, from a thread of their own, and are kept with what was answered.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from integrations.sandbox.clockify_catalogue import Catalogue
from integrations.sandbox.clockify_webhooks import Deliveries
from integrations.sandbox.store import Store
from integrations.sandbox.vendor import Request, Response, Route, Vendor, Window

API_KEY, WORKSPACE_ID = "clockify-sandbox-key", "64a687e29ae1f428e7ebe303"
STATES = ("PENDING", "APPROVED", "WITHDRAWN_SUBMISSION", "WITHDRAWN_APPROVAL", "REJECTED")
LISTED = ("PENDING", "APPROVED", "WITHDRAWN_APPROVAL")
NEW, CHANGED = "NEW_APPROVAL_REQUEST", "APPROVAL_REQUEST_STATUS_UPDATED"
_ACTIONS = {"submit": "PENDING", "approve": "APPROVED", "withdraw": "WITHDRAWN_APPROVAL", "reject": "REJECTED"}
_SORTS = {
    "ID": ("id",),
    "USER_ID": ("owner", "userId"),
    "START": ("dateRange", "start"),
    "UPDATED_AT": ("status", "updatedAt"),
}
_PLAIN = ("workspaces", "users", "clients", "projects", "tasks", "categories")
_API = "/api/v1/workspaces/{ws}"


class ClockifySandbox(Vendor):
    """One Clockify installation with its workspaces."""

    name = "clockify"

    def __init__(self, store: Store) -> None:
        self.catalogue = Catalogue(store, self._refuse_workspace)
        super().__init__(store)
        self.deliveries = Deliveries(store)
        self._defaults()

    def _defaults(self) -> None:
        self.catalogue.required = {}
        self.api_keys = {API_KEY}
        self.window = Window(50, 1.0)
        self.deliveries.are_held = False
        self.withdrawn_keeps_entries = True

    def routes(self) -> Sequence[Route]:
        """What the documents describe and a source needs."""
        return [
            Route("GET", "/api/v1/user", self._user),
            Route("GET", "/api/v1/workspaces", self._workspaces),
            Route("GET", f"{_API}/approval-requests", self._approvals),
            Route("PATCH", f"{_API}/approval-requests/{{id}}", self._change_state),
            Route("GET", f"{_API}/time-entries/{{id}}", self._entry),
            Route("GET", f"{_API}/expenses/{{id}}", self._expense),
            Route("POST", f"{_API}/webhooks", self._register),
            Route("PATCH", f"{_API}/webhooks/{{id}}/token", self._rotate),
            *self.catalogue.routes(),
        ]

    def authenticate(self, request: Request) -> Response | None:
        """Exactly one of two keys; a Bearer token is none."""
        key, addon = request.headers.get("X-Api-Key"), request.headers.get("X-Addon-Token")
        if (key is None) == (addon is None) or request.headers.get("Authorization"):
            return _error(401, 1000, "Multiple or none auth tokens present")
        if addon is not None:
            return _error(401, 4017, "Invalid addon token")
        if key not in self.api_keys:
            return _error(401, 4003, "Api key does not exist")
        return _error(429, 429, "Too many requests") if self.window.refuses("workspace") is not None else None

    def error(self, status: int, request: Request) -> Response:
        """The documented error body."""
        return _error(status, 501 if status == 400 else status, f"Error {status}")

    def not_found(self, request: Request) -> Response:
        """No such route or method."""
        return _error(404, 3000, f"No resource for {request.method} {request.path}")

    def _user(self, request: Request) -> Response:
        return Response(
            body={
                "id": "5a0ab5acb07987125438b600",
                "name": "Integration User",
                "email": "integration@example.com",
                "activeWorkspace": next(iter(self._all_workspaces()))["id"],
            }
        )

    def _workspaces(self, request: Request) -> Response:
        return Response(body=self._all_workspaces())

    def _all_workspaces(self) -> list[dict[str, Any]]:
        known = list(self.store.collection("workspaces").values())
        return known or [{"id": WORKSPACE_ID, "name": "Sandbox", "currencies": [{"code": "GBP", "isDefault": True}]}]

    def _refuse_workspace(self, request: Request) -> Response | None:
        if any(workspace["id"] == request.params["ws"] for workspace in self._all_workspaces()):
            return None
        return _error(403, 403, "Access denied")

    def _approvals(self, request: Request) -> Response:
        """The approvals of one state. Filters by user and date are ignored, as Clockify ignores them."""
        if refused := self._refuse_workspace(request):
            return refused
        query = request.query
        state, column = query.get("status", "PENDING"), query.get("sort-column", "ID")
        order = query.get("sort-order", "ASCENDING")
        try:
            page, size = int(query.get("page", 1)), int(query.get("page-size", 50))
        except ValueError:
            return _error(400, 501, "page and page-size must be numbers")
        if (
            state not in LISTED
            or column not in _SORTS
            or order not in ("ASCENDING", "DESCENDING")
            or page < 1
            or size < 1
        ):
            return _error(400, 501, "One of status, sort-column, sort-order, page and page-size has no such value")
        found = [
            item
            for item in self.store.collection("approvals").values()
            if item["workspaceId"] == request.params["ws"] and item["status"]["state"] == state
        ]
        found.sort(key=lambda item: (_at(item, _SORTS[column]), item["id"]), reverse=order == "DESCENDING")
        shown = found[(page - 1) * size : page * size]
        is_last = page * size >= len(found)
        return Response(
            body=[self._shown(item) for item in shown], headers={"Last-Page": "true" if is_last else "false"}
        )

    def _shown(self, approval: Mapping[str, Any]) -> dict[str, Any]:
        """An approval as the list has it: header, sums, entries and expenses."""
        entries, expenses = self._parts("entries", approval), self._parts("expenses", approval)
        if approval["status"]["state"] == "WITHDRAWN_APPROVAL" and not self.withdrawn_keeps_entries:
            entries, expenses = [], []
        return {
            "approvalRequest": dict(approval),
            "entries": entries,
            "expenses": expenses,
            "expenseTotal": sum(expense["total"] for expense in expenses),
        }

    def _parts(self, kind: str, approval: Mapping[str, Any]) -> list[dict[str, Any]]:
        return [part for part in self.store.collection(kind).values() if part["approvalRequestId"] == approval["id"]]

    def _change_state(self, request: Request) -> Response:
        if refused := self._refuse_workspace(request):
            return refused
        body = request.json()
        approval = self.store.collection("approvals").get(request.params["id"])
        if approval is None:
            return _error(404, 501, "Approval request not found")
        if body.get("state") not in STATES:
            return _error(400, 501, "state has no such value")
        self._set_state(approval["id"], str(body["state"]), note=str(body.get("note") or ""))
        return Response(body=self.store.collection("approvals")[approval["id"]])

    def _entry(self, request: Request) -> Response:
        return self._part(request, "entries", "TIMEENTRY")

    def _expense(self, request: Request) -> Response:
        return self._part(request, "expenses", "EXPENSE")

    def _part(self, request: Request, kind: str, word: str) -> Response:
        if refused := self._refuse_workspace(request):
            return refused
        key, workspace = request.params["id"], request.params["ws"]
        part = self.store.collection(kind).get(key)
        if part is None or part["workspaceId"] != workspace:
            return _error(400, 501, f"{word} with id {key} doesn't belong to WORKSPACE with id {workspace}")
        return Response(body={name: value for name, value in part.items() if name != "approvalRequestId"})

    def _register(self, request: Request) -> Response:
        """A new webhook; its token is made by Clockify and shown in the answer."""
        if refused := self._refuse_workspace(request):
            return refused
        body = request.json()
        if not 2 <= len(str(body.get("name") or "")) <= 30 or not body.get("url") or not body.get("webhookEvent"):
            return _error(400, 501, "name (2 to 30 characters), url and webhookEvent are required")
        return Response(201, self._add_webhook({**body, "workspaceId": request.params["ws"]}))

    def _rotate(self, request: Request) -> Response:
        webhook = self.store.collection("webhooks").get(request.params["id"])
        if webhook is None:
            return _error(404, 501, "Webhook not found")
        webhook = webhook | {"authToken": secrets.token_urlsafe(24)}
        self.store.collection("webhooks")[webhook["id"]] = webhook
        return Response(body=webhook)

    def _add_webhook(self, given: Mapping[str, Any]) -> dict[str, Any]:
        if urlsplit(str(given["url"])).hostname not in ("127.0.0.1", "localhost"):
            raise ValueError(f"webhooks go to this machine only, not to {given['url']!r}")
        webhook = {
            "id": f"{self.store.next_id('webhook'):024x}",
            "workspaceId": self._all_workspaces()[0]["id"],
            "authToken": secrets.token_urlsafe(24),
            "enabled": True,
            "webhookEvent": CHANGED,
            **given,
        }
        self.store.collection("webhooks")[webhook["id"]] = webhook
        return webhook

    def seed(self, data: Mapping[str, Any]) -> None:
        """Take records, then play the actions."""
        unknown = set(data) - {"approvals", "webhooks", "actions", *_PLAIN}
        if unknown:
            raise ValueError(f"Clockify has no {min(unknown)!r}")
        for name in _PLAIN:
            for record in data.get(name, ()):
                self.store.collection(name)[str(record["id"])] = dict(record)
        for approval in data.get("approvals", ()):
            self._add_approval(approval)
        for webhook in data.get("webhooks", ()):
            self._add_webhook(webhook)
        for action in data.get("actions", ()):
            self._act(**action)

    def _add_approval(self, given: Mapping[str, Any]) -> None:
        """An approval in the vendor's own shape, its entries and expenses kept beside it."""
        workspace = given.get("workspaceId") or self._all_workspaces()[0]["id"]
        user = self.store.collection("users").get(str(given["userId"])) or {
            "id": given["userId"],
            "name": given["userId"],
        }
        by = self.store.collection("users").get(str(given.get("updatedBy"))) or {"id": "", "name": ""}
        approval = {
            "id": given["id"],
            "workspaceId": workspace,
            "dateRange": given["dateRange"],
            "owner": {
                "userId": user["id"],
                "userName": user["name"],
                "timeZone": user.get("timeZone", "UTC"),
                "startOfWeek": "MONDAY",
            },
            "creator": {"userId": user["id"], "userName": user["name"], "userEmail": user.get("email", "")},
            "status": {
                "state": given.get("state", "PENDING"),
                "updatedAt": given.get("updatedAt") or _now(),
                "updatedBy": by["id"],
                "updatedByUserName": by["name"],
                "note": given.get("note", ""),
            },
        }
        if approval["status"]["state"] not in STATES:
            raise ValueError(f"{approval['status']['state']!r} is no state of an approval")
        self.store.collection("approvals")[approval["id"]] = approval
        for kind in ("entries", "expenses"):
            for part in given.get(kind, ()):
                self.store.collection(kind)[str(part["id"])] = self._complete(kind, part, approval)
        self._fire(NEW if approval["status"]["state"] == "PENDING" else CHANGED, approval)

    def _complete(self, kind: str, given: Mapping[str, Any], approval: Mapping[str, Any]) -> dict[str, Any]:
        project = self.store.collection("projects").get(str(given.get("projectId"))) or {}
        client = self.store.collection("clients").get(str(project.get("clientId"))) or {}
        task = self.store.collection("tasks").get(str(given.get("taskId"))) or {}
        part: dict[str, Any] = {
            "workspaceId": approval["workspaceId"],
            "approvalRequestId": approval["id"],
            "userId": approval["owner"]["userId"],
            "billable": True,
        }
        if project:
            part["project"] = {
                "id": project["id"],
                "name": project["name"],
                "clientId": client.get("id", ""),
                "clientName": client.get("name", ""),
                "color": "#000000",
            }
        if task:
            part["task"] = {"id": task["id"], "name": task["name"]}
        if kind == "entries":
            part |= {"isLocked": True, "description": "", "type": "REGULAR", "hourlyRate": None, "tags": []}
            part |= {"customFieldValues": [], **given}
            interval = {
                "timeZone": approval["owner"]["timeZone"],
                "end": None,
                "duration": None,
                **given["timeInterval"],
            }
            return part | {"timeInterval": interval}
        category = self.store.collection("categories").get(str(given.get("categoryId")))
        part |= {"approvalStatus": approval["status"]["state"], "quantity": 1, "total": 0, "notes": "", "fileId": ""}
        return part | {"category": category, **given}

    def _act(self, do: str, **how: Any) -> None:
        if do in _ACTIONS:
            for key in how["ids"]:
                self._set_state(str(key), _ACTIONS[do], at=str(how.get("at") or ""), by=str(how.get("by") or ""))
        elif do == "deliver":
            self.deliveries.again(int(how.get("times", 1)), str(how.get("order", "sent")), str(how.get("token") or ""))
        elif do in ("edit", "detach", "delete"):
            collection = self.store.collection(str(how.get("kind", "entries")))
            for key in map(str, how["ids"]):
                if do == "delete":
                    del collection[key]
                else:
                    collection[key] = collection[key] | (
                        {"approvalRequestId": ""} if do == "detach" else how["changes"]
                    )
        else:
            raise ValueError(f"Clockify has no action {do!r}")

    def _set_state(self, key: str, state: str, *, note: str = "", at: str = "", by: str = "") -> None:
        approval = self.store.collection("approvals")[key]
        user = self.store.collection("users").get(by) or {"id": by, "name": by}
        status = {"state": state, "updatedAt": at or _now(), "updatedBy": user["id"], "updatedByUserName": user["name"]}
        approval = approval | {"status": status | {"note": note}}
        self.store.collection("approvals")[key] = approval
        for part in self._parts("expenses", approval):
            self.store.collection("expenses")[part["id"]] = part | {"approvalStatus": state}
        self._fire(CHANGED, approval)

    def _fire(self, event: str, approval: Mapping[str, Any]) -> None:
        """Send an event to every webhook that wants it. The body is flat, and says `timezone` where the list says `timeZone`."""
        owner = dict(approval["owner"])
        owner["timezone"] = owner.pop("timeZone")
        body = {name: approval[name] for name in ("id", "workspaceId", "dateRange", "status")} | {"owner": owner}
        for webhook in self.store.collection("webhooks").values():
            if webhook["enabled"] and webhook["webhookEvent"] == event:
                self.deliveries.send(webhook, event, json.dumps(body), str(webhook["authToken"]))

    def configure(self, settings: Mapping[str, Any]) -> None:
        """Take the settings named at the top of this module."""
        rest = dict(settings)
        if "api_keys" in rest:
            self.api_keys = {str(key) for key in rest.pop("api_keys")}
        if "rate" in rest:
            calls, seconds = rest.pop("rate")
            self.window = Window(int(calls), float(seconds))
        if "webhooks" in rest:
            self.deliveries.are_held = str(rest.pop("webhooks")) == "hold"
        if "withdrawn_keeps_entries" in rest:
            self.withdrawn_keeps_entries = bool(rest.pop("withdrawn_keeps_entries"))
        if "required" in rest:
            self.catalogue.required = {str(name): tuple(fields) for name, fields in rest.pop("required").items()}
        super().configure(rest)

    def reset(self) -> None:
        """Forget records and settings."""
        super().reset()
        self._defaults()

    def inspect(self) -> Mapping[str, Any]:
        """Counts, approvals by state, and every delivery with what was answered (599: nobody did)."""
        states = [item["status"]["state"] for item in self.store.collection("approvals").values()]
        return {
            "entries": len(self.store.collection("entries")),
            "expenses": len(self.store.collection("expenses")),
            **{name: list(self.store.collection(name).values()) for name in ("clients", "projects", "tasks")},
            "approvals": {state: states.count(state) for state in sorted(set(states))},
            "deliveries": self.deliveries.shown(),
        }


def _error(status: int, code: int, message: str) -> Response:
    return Response(status, {"message": message, "code": code})


def _at(item: Mapping[str, Any], path: Sequence[str]) -> str:
    value: Any = item
    for name in path:
        value = value[name]
    return str(value)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
