"""A stand-in for Harvest's API v2: people, company, time entries and expenses, with its paging, limits and error bodies.

Approval cannot be written through Harvest's API; the control plane plays the people who approve, edit, delete and withdraw.
Seed: `{"company", "users", "clients", "projects", "tasks", "categories", "time_entries", "expenses"}` as lists of records
(an entry may name `user`, `client`, `project`, `task`, `expense_category` by id), and `"actions"`, a list of
`{"do": "approve|submit|withdraw|edit|delete", "stream": "time_entries", "ids": [..], "at": .., "changes": {..}}`.

Settings: `tokens` (token → account id), `rate` ([calls, seconds]), `approval_moves_updated_at`, `updated_since_zone` (reads the
time of day as local to that zone, whatever its offset), `drop_next_link` (ends a list after its first page),
`required` (fields that its lists came to demand).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from integrations.sandbox.harvest_catalogue import PARTS, Catalogue, Refused
from integrations.sandbox.store import Store
from integrations.sandbox.vendor import Request, Response, Route, Vendor, Window

TOKEN, ACCOUNT_ID = "harvest-sandbox-token", "1000001"
MAX_PER_PAGE = 2000
STREAMS = ("time_entries", "expenses")
_PLAIN = ("users", "clients", "projects", "tasks", "categories")
_NAMED = {
    "user": "users",
    "client": "clients",
    "project": "projects",
    "task": "tasks",
    "expense_category": "categories",
}
_SHOWN = {
    "user": ("id", "name"),
    "client": ("id", "name", "currency"),
    "project": ("id", "name", "code"),
    "task": ("id", "name"),
    "expense_category": ("id", "name"),
}
_STATES = {"approve": "approved", "submit": "submitted", "withdraw": "unsubmitted"}
_LOCKED = "Item Approved and Locked for this Time Period"
_FILTERS = {"user_id": "user", "client_id": "client", "project_id": "project", "task_id": "task"}


class HarvestSandbox(Vendor):
    """One Harvest account."""

    name = "harvest"

    def __init__(self, store: Store) -> None:
        self.catalogue = Catalogue(store)
        super().__init__(store)
        self._defaults()

    def _defaults(self) -> None:
        self.catalogue.required = {}
        self.tokens: dict[str, str] = {TOKEN: ACCOUNT_ID}
        self.window = Window(100, 15.0)
        self.approval_moves_updated_at = True
        self.updated_since_zone = ""
        self.drop_next_link = False

    def routes(self) -> Sequence[Route]:
        """What the documents describe and a source needs."""
        lists = [Route("GET", f"/v2/{name}", self._list) for name in STREAMS]
        ones = [Route("GET", f"/v2/{name}/{{id}}", self._one) for name in STREAMS]
        return [
            Route("GET", "/v2/company", self._company),
            Route("GET", "/v2/users/me", self._me),
            *lists,
            *ones,
            *self.catalogue.routes(),
        ]

    def authenticate(self, request: Request) -> Response | None:
        """Three headers; a call without a User-Agent is refused before its token is looked at."""
        if not request.headers.get("User-Agent", "").strip():
            return Response(400, {"code": 400, "message": "User-Agent header is required."})
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or token not in self.tokens:
            return Response(
                401,
                {
                    "error": "invalid_token",
                    "error_description": "The access token provided is expired, revoked, malformed or invalid for "
                    "other reasons.",
                },
            )
        if request.headers.get("Harvest-Account-Id", "") != self.tokens[token]:
            return Response(403, {"code": 403, "message": "This token has no access to the account."})
        return self._throttle(token)

    def _throttle(self, token: str) -> Response | None:
        """So many requests in so many seconds per token; the rest is told when to come again."""
        wait = self.window.refuses(token)
        if wait is None:
            return None
        told = {"Retry-After": str(max(1, round(wait + 0.5)))}
        return Response(429, {"code": 429, "message": "Too many requests; retry later."}, told)

    def error(self, status: int, request: Request) -> Response:
        """The documented error body."""
        words = {404: "Record not found", 422: "Unprocessable", 429: "Too many requests", 503: "Throttled"}
        return Response(status, {"code": status, "message": words.get(status, f"Error {status}")})

    def _company(self, request: Request) -> Response:
        record = self.store.collection("company").get("1") or {
            "name": "Sandbox Ltd",
            "base_uri": "https://sandbox.harvestapp.com",
            "is_active": True,
            "expense_feature": True,
            "approval_feature": True,
        }
        return Response(body=record)

    def _me(self, request: Request) -> Response:
        return Response(
            body={"id": 1, "first_name": "Integration", "last_name": "User", "email": "integration@example.com"}
        )

    def _one(self, request: Request) -> Response:
        stream = request.path.split("/")[2]
        record = self.store.collection(stream).get(request.params["id"])
        return Response(body=record) if record is not None else self.error(404, request)

    def _list(self, request: Request) -> Response:
        """A list in the documented envelope, newest day first, in pages or by cursor."""
        stream, query = request.path.rsplit("/", 1)[1], request.query
        try:
            size = int(query.get("per_page", MAX_PER_PAGE))
            page = int(query.get("page", 1))
            after = _uncursor(query["cursor"]) if "cursor" in query else None
            items = [item for item in self.store.collection(stream).values() if self._matches(item, query)]
        except (ValueError, binascii.Error) as error:
            return Response(422, {"code": 422, "message": f"A parameter cannot be read: {error}"})
        if not 1 <= size <= MAX_PER_PAGE or page < 1 or ("page" in query and after is not None):
            return Response(
                422, {"code": 422, "message": "per_page must be 1 to 2000; page and cursor exclude each other"}
            )
        items.sort(key=lambda item: (str(item["spent_date"]), int(item["id"])), reverse=True)
        total = len(items)
        if after is not None:
            items = [item for item in items if (str(item["spent_date"]), int(item["id"])) < after]
        elif page > 1:
            items = items[(page - 1) * size :]
        shown, rest = items[:size], items[size:]
        links = self._links(request, shown, bool(rest) and not self.drop_next_link)
        body = {
            stream: shown,
            "per_page": size,
            "total_pages": max(1, -(-total // size)),
            "total_entries": total,
            "next_page": None,
            "previous_page": None,
            "page": page if after is None else None,
            "links": links,
        }
        return Response(body=body)

    def _links(self, request: Request, shown: Sequence[Mapping[str, Any]], has_more: bool) -> dict[str, str | None]:
        own = {k: v for k, v in request.query.items() if k not in ("cursor", "page", "ref")}
        address = request.base + request.path
        following = None
        if has_more:
            cursor = base64.urlsafe_b64encode(f"{shown[-1]['spent_date']}|{shown[-1]['id']}".encode()).decode()
            following = f"{address}?{urlencode({**own, 'cursor': cursor, 'ref': 'next_cursor'})}"
        first = f"{address}?{urlencode({**own, 'page': '1', 'ref': 'first'})}"
        return {"first": first, "next": following, "previous": None, "last": None}

    def _matches(self, item: Mapping[str, Any], query: Mapping[str, str]) -> bool:
        if "updated_since" in query and _moment(str(item["updated_at"])) < self._since(query["updated_since"]):
            return False
        if "from" in query and str(item["spent_date"]) < query["from"]:
            return False
        if "to" in query and str(item["spent_date"]) > query["to"]:
            return False
        if query.get("approval_status", item["approval_status"]) != item["approval_status"]:
            return False
        for flag in ("is_billed", "is_running"):
            if flag in query and (query[flag] == "true") != bool(item.get(flag)):
                return False
        return all(
            str((item.get(part) or {}).get("id")) == query[name] for name, part in _FILTERS.items() if name in query
        )

    def _since(self, written: str) -> datetime:
        if not self.updated_since_zone:
            return _moment(written)
        return _moment(written).replace(tzinfo=ZoneInfo(self.updated_since_zone)).astimezone(UTC)

    def seed(self, data: Mapping[str, Any]) -> None:
        """Take records, then play the actions."""
        unknown = set(data) - {"company", "actions", *_PLAIN, *PARTS, *STREAMS}
        if unknown:
            raise ValueError(f"Harvest has no {min(unknown)!r}")
        if "company" in data:
            self.store.collection("company")["1"] = dict(data["company"])
        for name in _PLAIN:
            for record in data.get(name, ()):
                self.store.collection(name)[str(record["id"])] = dict(record)
        for name in PARTS:
            for record in data.get(name, ()):
                try:
                    self.store.collection(name)[str(record["id"])] = self.catalogue.complete(name, record)
                except Refused as refused:
                    raise ValueError(str(refused)) from refused
        for name in STREAMS:
            for record in data.get(name, ()):
                self.store.collection(name)[str(record["id"])] = self._complete(name, record)
        for action in data.get("actions", ()):
            self._act(**action)

    def _complete(self, stream: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """A record in the vendor's full shape, its people and projects looked up by id."""
        now = _now()
        record: dict[str, Any] = {
            "notes": None, "is_locked": False, "locked_reason": None, "is_closed": False, "is_billed": False,
            "billable": True, "approval_status": "unsubmitted", "created_at": now, "updated_at": now, "invoice": None,
        }  # fmt: skip
        if stream == "time_entries":
            hours = given.get("hours", 0.0)
            record |= {
                "hours": hours, "hours_without_timer": hours, "rounded_hours": hours, "is_running": False,
                "timer_started_at": None, "started_time": None, "ended_time": None, "budgeted": False,
                "billable_rate": None, "cost_rate": None, "external_reference": None,
            }  # fmt: skip
        else:
            record |= {"total_cost": 0.0, "units": 1.0, "receipt": None}
        record |= given
        for part, collection in _NAMED.items():
            value = record.get(part)
            if value is not None and not isinstance(value, Mapping):
                known = self.store.collection(collection).get(str(value))
                if known is None:
                    raise ValueError(f"there is no {part} {value!r}")
                record[part] = {name: known.get(name) for name in _SHOWN[part]}
        return self._locked(record)

    def _locked(self, record: dict[str, Any]) -> dict[str, Any]:
        approved = record["approval_status"] == "approved"
        locked = approved or bool(record["is_billed"])
        return record | {
            "is_closed": approved,
            "is_locked": locked,
            "locked_reason": record["locked_reason"] or (_LOCKED if approved else None) if locked else None,
        }

    def _act(
        self, do: str, ids: Sequence[Any], stream: str = "time_entries", at: str = "", changes: Mapping[str, Any] = {}
    ) -> None:
        """What people do in Harvest's own pages."""
        collection = self.store.collection(stream)
        for key in map(str, ids):
            if do == "delete":
                del collection[key]
                continue
            record = dict(collection[key])
            if do in _STATES:
                record["approval_status"] = _STATES[do]
            elif do == "edit":
                record |= changes
                if "hours" in changes:
                    record |= {"rounded_hours": changes["hours"], "hours_without_timer": changes["hours"]} | dict(
                        changes
                    )
            else:
                raise ValueError(f"Harvest has no action {do!r}")
            if do == "edit" or self.approval_moves_updated_at:
                record["updated_at"] = at or _now()
            record["locked_reason"] = None
            collection[key] = self._complete(stream, self._locked(record))

    def configure(self, settings: Mapping[str, Any]) -> None:
        """Take the settings named at the top of this module."""
        rest = dict(settings)
        if "tokens" in rest:
            self.tokens = {str(token): str(account) for token, account in rest.pop("tokens").items()}
        if "rate" in rest:
            calls, seconds = rest.pop("rate")
            self.window = Window(int(calls), float(seconds))
        for name in ("approval_moves_updated_at", "drop_next_link"):
            if name in rest:
                setattr(self, name, bool(rest.pop(name)))
        if "updated_since_zone" in rest:
            self.updated_since_zone = str(rest.pop("updated_since_zone"))
        if "required" in rest:
            self.catalogue.required = {str(name): tuple(fields) for name, fields in rest.pop("required").items()}
        super().configure(rest)

    def reset(self) -> None:
        """Forget records and settings."""
        super().reset()
        self._defaults()

    def inspect(self) -> Mapping[str, Any]:
        """How many records there are, and their hours by approval status."""
        entries = list(self.store.collection("time_entries").values())
        states = {str(item["approval_status"]) for item in entries}
        return {
            "time_entries": len(entries),
            "expenses": len(self.store.collection("expenses")),
            **{name: list(self.store.collection(name).values()) for name in ("clients", "projects", "tasks", *PARTS)},
            "hours": {
                state: sum(item["hours"] for item in entries if item["approval_status"] == state)
                for state in sorted(states)
            },
        }


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _moment(written: str) -> datetime:
    parsed = datetime.fromisoformat(written)
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def _uncursor(cursor: str) -> tuple[str, int]:
    day, _, key = base64.urlsafe_b64decode(cursor.encode()).decode().partition("|")
    return day, int(key)
