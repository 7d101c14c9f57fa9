"""The part of the Clockify stand-in that keeps clients, projects, tasks and people on projects, as its documents describe.

A name stays reserved within its place: a second client, or a second project below the same client, is refused by the vendor
itself, with its generic error. Idempotency keys are ignored, as Clockify ignores them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from integrations.sandbox.store import Store
from integrations.sandbox.vendor import Request, Response, Route

_API = "/api/v1/workspaces/{ws}"
_DEFAULTS: dict[str, dict[str, Any]] = {
    "clients": {"archived": False, "note": None, "email": None, "address": None},
    "projects": {
        "archived": False, "billable": True, "note": "", "color": "#03A9F4", "public": True, "memberships": [],
        "hourlyRate": None, "clientId": "",
    },
    "tasks": {"status": "ACTIVE", "assigneeIds": [], "billable": True},
}  # fmt: skip
_WORDS = {"clients": "CLIENT", "projects": "PROJECT", "tasks": "TASK"}


class Catalogue:
    """Clients, projects and tasks over one store; `refuse` answers for a workspace that is not there."""

    def __init__(self, store: Store, refuse: Callable[[Request], Response | None]) -> None:
        self.store = store
        self.required: dict[str, tuple[str, ...]] = {}  # fields that an account came to demand, by list
        self.refuse = refuse

    def routes(self) -> Sequence[Route]:
        """Lists, single records, making and changing; people on projects and their rates."""
        routes = []
        for name, path in (("clients", "/clients"), ("projects", "/projects"), ("tasks", "/projects/{project}/tasks")):
            routes += [
                Route("GET", f"{_API}{path}", self._known(name, self._list)),
                Route("POST", f"{_API}{path}", self._known(name, self._make)),
                Route("GET", f"{_API}{path}/{{id}}", self._known(name, self._one)),
                Route("PUT", f"{_API}{path}/{{id}}", self._known(name, self._change)),
            ]
        return [
            *routes,
            Route("POST", f"{_API}/projects/{{id}}/memberships", self._known("projects", self._members)),
            Route("PUT", f"{_API}/projects/{{id}}/users/{{user}}/hourly-rate", self._known("projects", self._rate)),
        ]

    def _known(self, name: str, answer: Callable[[str, Request], Response]) -> Callable[[Request], Response]:
        def handle(request: Request) -> Response:
            if refused := self.refuse(request):
                return refused
            if "project" in request.params and request.params["project"] not in self.store.collection("projects"):
                return _gone("PROJECT", request.params["project"], request.params["ws"])
            return answer(name, request)

        return handle

    def _in_place(self, name: str, request: Request) -> list[dict[str, Any]]:
        items = list(self.store.collection(name).values())
        if name == "tasks":
            items = [item for item in items if item.get("projectId") == request.params["project"]]
        return [{**_DEFAULTS[name], **item} for item in items]

    def _list(self, name: str, request: Request) -> Response:
        page, size = int(request.query.get("page", 1)), int(request.query.get("page-size", 50))
        items = self._in_place(name, request)
        is_last = page * size >= len(items)
        return Response(
            body=items[(page - 1) * size : page * size], headers={"Last-Page": "true" if is_last else "false"}
        )

    def _one(self, name: str, request: Request) -> Response:
        found = next((one for one in self._in_place(name, request) if one["id"] == request.params["id"]), None)
        return Response(body=found) if found else _gone(_WORDS[name], request.params["id"], request.params["ws"])

    def _make(self, name: str, request: Request) -> Response:
        sent = request.json()
        key = f"6f0{self.store.next_id('catalogue'):021x}"
        if name == "tasks":
            sent = {**sent, "projectId": request.params["project"]}
        return self._write(name, request, {**_DEFAULTS[name], **sent, "id": key}, 201)

    def _change(self, name: str, request: Request) -> Response:
        found = next((one for one in self._in_place(name, request) if one["id"] == request.params["id"]), None)
        if found is None:
            return _gone(_WORDS[name], request.params["id"], request.params["ws"])
        return self._write(name, request, {**found, **request.json(), "id": found["id"]}, 200)

    def _write(self, name: str, request: Request, record: dict[str, Any], status: int) -> Response:
        if not 2 <= len(str(record.get("name") or "")) <= 250:
            return _error(f"{_WORDS[name].capitalize()} name has to be between 2 and 250 characters long")
        if missing := [field for field in self.required.get(name, ()) if record.get(field) in (None, "")]:
            return _error(f"{missing[0]} is required")
        client = record.get("clientId")
        if name == "projects" and client and client not in self.store.collection("clients"):
            return _gone("CLIENT", client, request.params["ws"])
        for other in self._in_place(name, request):
            same_place = name != "projects" or other.get("clientId") == client
            if other["id"] != record["id"] and same_place and other["name"] == record["name"]:
                return _error(f"{_WORDS[name].capitalize()} with name '{record['name']}' already exists")
        self.store.collection(name)[record["id"]] = record
        return Response(status, record)

    def _members(self, name: str, request: Request) -> Response:
        project = self.store.collection(name).get(request.params["id"])
        if project is None:
            return _gone("PROJECT", request.params["id"], request.params["ws"])
        sent = request.json()
        known = {member["userId"]: member for member in project.get("memberships") or ()}
        for user in sent.get("userIds") or ():
            if user not in self.store.collection("users"):
                return _gone("USER", user, request.params["ws"])
            if sent.get("remove"):
                known.pop(user, None)
            else:
                known.setdefault(
                    user,
                    {"userId": user, "hourlyRate": None, "membershipType": "PROJECT", "membershipStatus": "ACTIVE"},
                )
        return self._keep(project, known)

    def _rate(self, name: str, request: Request) -> Response:
        project, user = self.store.collection(name).get(request.params["id"]), request.params["user"]
        known = {member["userId"]: member for member in (project or {}).get("memberships") or ()}
        if project is None or user not in known:
            return _gone("USER", user, request.params["ws"])
        sent = request.json()
        if not isinstance(sent.get("amount"), int):
            return _error("amount has to be a whole number")
        rate = {"amount": sent["amount"], "currency": "GBP", "since": sent.get("since")}
        return self._keep(project, known | {user: known[user] | {"hourlyRate": rate}})

    def _keep(self, project: Mapping[str, Any], members: Mapping[str, Any]) -> Response:
        record = {**_DEFAULTS["projects"], **project, "memberships": list(members.values())}
        self.store.collection("projects")[record["id"]] = record
        return Response(body=record)


def _gone(word: str, key: str, workspace: str) -> Response:
    return _error(f"{word} with id {key} doesn't belong to WORKSPACE with id {workspace}")


def _error(message: str) -> Response:
    return Response(400, {"message": message, "code": 501})
