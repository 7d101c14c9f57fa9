"""How Harvest is told master data: clients, projects, tasks and people on projects, budgets and rates.

The rule here: Harvest has no key of ours and no idempotency, so a record is looked for before it is made. A client is known by
its name and a project by its code (or its name below its client): another one of the same is a twin, and a person decides. A
task and a person on a project of ours are known by their place, so that what stands there already is taken over. Harvest's
tasks belong to the account; one of the same name is used, and assigned to the project.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from integrations.connectors.harvest import refusals
from integrations.errors import InDoubt, Rejected, Unavailable
from integrations.http import Http
from integrations.protocol import Takes
from portal.records import Held, Publication, PublishedKind

Kind = PublishedKind
Record = Mapping[str, Any]
HOURLY = "time_and_material"
PUBLISHES: Mapping[Kind, Takes] = {
    Kind.CUSTOMER: Takes(
        figures=frozenset({"name", "currency", "is_active"}), keyed=True,
        refuses={"code": "Harvest's clients have no code."},
    ),
    Kind.PROJECT: Takes(figures=frozenset({"code", "name", "billing_model", "is_active"}), keyed=True),
    Kind.TASK: Takes(
        figures=frozenset({"name", "is_billable", "is_active"}), refuses={"code": "Harvest's tasks have no code."}
    ),
    Kind.ASSIGNMENT: Takes(figures=frozenset({"is_active", "is_approver"})),
    Kind.CONTRACT: Takes(
        figures=frozenset({"cap_amount", "starts_on", "ends_on"}),
        refuses={
            "code": "Harvest's projects name no contract.",
            "currency": "A project in Harvest has the currency of its client.",
        },
    ),
    Kind.RATE: Takes(
        figures=frozenset({"amount"}),
        refuses={
            "currency": "A rate in Harvest has the currency of the client.",
            "valid_from": "A person's rate on a project has no first day in Harvest; it holds from the moment it is told.",
            "agreed_in": "A rate in Harvest names no rate card.",
        },
    ),
}  # fmt: skip


def body(told: Publication) -> dict[str, Any]:
    """What would be sent, in Harvest's own words; pure."""
    figures, names = told.figures, told.names
    match told.kind:
        case Kind.CUSTOMER:
            return {name: figures[name] for name in ("name", "currency", "is_active")}
        case Kind.PROJECT:
            is_hourly = figures["billing_model"] == HOURLY
            return {
                "client_id": _number(names["customer"]), "name": figures["name"], "code": figures["code"],
                "is_active": figures["is_active"], "is_billable": True, "bill_by": "People" if is_hourly else "none",
                "is_fixed_fee": not is_hourly,
            }  # fmt: skip
        case Kind.TASK:
            return {"name": figures["name"], "billable": figures["is_billable"], "is_active": figures["is_active"]}
        case Kind.ASSIGNMENT:
            return {
                "user_id": _number(names["resource"]), "is_active": figures["is_active"],
                "is_project_manager": figures["is_approver"],
            }  # fmt: skip
        case Kind.CONTRACT:
            cap = figures["cap_amount"]
            return {
                "budget_by": "none" if cap is None else "project_cost", "cost_budget": None if cap is None else Decimal(cap),
                "starts_on": figures["starts_on"], "ends_on": figures["ends_on"],
            }  # fmt: skip
        case _:
            return {"use_default_rates": False, "hourly_rate": Decimal(figures["amount"])}


class HarvestCatalogue:
    """What one account holds of clients, projects, tasks and people on projects."""

    def __init__(self, http: Http, own: Sequence[refusals.Pattern] = ()) -> None:
        self.http = http
        self.own = own

    def publish(self, told: Publication) -> str:
        """Make or change one record; its number. Raises Rejected for a twin, and for a number that is gone."""
        sent = body(told)
        match told.kind:
            case Kind.CUSTOMER | Kind.PROJECT:
                return self._publish_named(told, sent)
            case Kind.TASK:
                return self._publish_task(told, sent)
            case Kind.ASSIGNMENT:
                return self._publish_assignment(told, sent)
            case Kind.CONTRACT:
                self._change(f"/projects/{_number(told.names['project'])}", sent)
                return told.names["project"]
            case _:
                found = self._assignment(told)
                if found is None:
                    raise Rejected("The person is not on the project in Harvest, so no rate can be told for them.")
                self._change(f"/projects/{_number(told.names['project'])}/user_assignments/{found['id']}", sent)
                return str(found["id"])

    def held(self, told: Publication) -> Held | None:
        """What the account holds of one record; None when it holds none."""
        match told.kind:
            case Kind.CUSTOMER | Kind.PROJECT:
                path = _path(told)
                found = self._read(f"/{path}/{_number(told.number)}") if told.number else self._twin(told)
                return None if found is None else _named(told, found)
            case Kind.TASK:
                found = self._task_assignment(told)
                return None if found is None else Held(
                    number=f"{told.names['project']}/{found['task']['id']}",
                    figures={
                        "name": found["task"]["name"], "is_billable": found["billable"], "is_active": found["is_active"],
                    },
                )  # fmt: skip
            case Kind.CONTRACT:
                found = self._read(f"/projects/{_number(told.names['project'])}")
                return None if found is None else Held(
                    number=str(found["id"]),
                    figures={
                        "cap_amount": _text(found.get("cost_budget")), "starts_on": found.get("starts_on"),
                        "ends_on": found.get("ends_on"),
                    },
                )  # fmt: skip
            case _:
                found = self._assignment(told)
                if found is None:
                    return None
                figures: dict[str, Any] = {
                    "is_active": found["is_active"], "is_approver": found["is_project_manager"]
                }  # fmt: skip
                if told.kind is Kind.RATE:
                    figures = {"amount": None if found["use_default_rates"] else _text(found.get("hourly_rate"))}
                return Held(number=str(found["id"]), figures=figures)

    def _publish_named(self, told: Publication, sent: Record) -> str:
        path = _path(told)
        if told.number:
            self._change(f"/{path}/{_number(told.number)}", sent)
            return told.number
        if (twin := self._twin(told)) is not None:
            raise Rejected(
                f"“{twin.get('code') or twin['name']}” is there already, with id {twin['id']}.", code="twin",
                vendor_code=str(twin["id"]),
            )  # fmt: skip
        more = {"budget_by": "none"} if told.kind is Kind.PROJECT else {}
        return self._create(f"/{path}", {**sent, **more})

    def _publish_task(self, told: Publication, sent: Record) -> str:
        """The account's task of this name, made where there is none, on the project; a former name's is set inactive."""
        project = _number(told.names["project"])
        values = {"billable": sent["billable"], "is_active": sent["is_active"]}
        there = self._task_assignment(told)
        if there is None:
            task = next((one for one in self._all("tasks") if _same(one["name"], sent["name"])), None)
            task_id = int(task["id"]) if task is not None else int(self._create("/tasks", {"name": sent["name"]}))
            self._create(f"/projects/{project}/task_assignments", {"task_id": task_id, **values})
        else:
            task_id = int(there["task"]["id"])
            self._change(f"/projects/{project}/task_assignments/{there['id']}", values)
        former = told.number.rpartition("/")[2]
        if former and int(former) != task_id:
            for other in self._all(f"projects/{project}/task_assignments", "task_assignments"):
                if str(other["task"]["id"]) == former and other["is_active"]:
                    self._change(f"/projects/{project}/task_assignments/{other['id']}", {"is_active": False})
        return f"{project}/{task_id}"

    def _publish_assignment(self, told: Publication, sent: Record) -> str:
        project = _number(told.names["project"])
        there = self._assignment(told)
        if there is None:
            return self._create(f"/projects/{project}/user_assignments", sent)
        changes = {name: value for name, value in sent.items() if name != "user_id"}
        self._change(f"/projects/{project}/user_assignments/{there['id']}", changes)
        return str(there["id"])

    def _twin(self, told: Publication) -> Record | None:
        """A client of the same name, or a project of the same code, or of the same name below the same client."""
        name, code = told.figures["name"], told.figures.get("code")
        for record in self._all(_path(told)):
            if told.kind is Kind.CUSTOMER:
                if _same(record["name"], name):
                    return record
            elif _same(record.get("code"), code) or (
                _same(record["name"], name) and str((record.get("client") or {}).get("id")) == told.names["customer"]
            ):
                return record
        return None

    def _task_assignment(self, told: Publication) -> Record | None:
        project = _number(told.names["project"])
        everything = self._all(f"projects/{project}/task_assignments", "task_assignments")
        return next((one for one in everything if _same(one["task"]["name"], told.figures["name"])), None)

    def _assignment(self, told: Publication) -> Record | None:
        project = _number(told.names["project"])
        everything = self._all(f"projects/{project}/user_assignments", "user_assignments")
        return next((one for one in everything if str(one["user"]["id"]) == told.names["resource"]), None)

    def _all(self, path: str, name: str = "") -> Iterator[Record]:
        """Everything of a list, by `links.next`. Raises Unavailable for what is no list: absence must be the vendor's word."""
        query: Mapping[str, Any] = {"per_page": 2000}
        while True:
            answer = self.http.request("GET", f"/{path}", params=query).body
            items = answer.get(name or path) if isinstance(answer, Mapping) else None
            if not isinstance(items, list):
                raise Unavailable(f"Harvest answered something that is not a list of {name or path}.")
            yield from items
            link = (answer.get("links") or {}).get("next")
            if not link:
                return
            query = dict(parse_qsl(urlsplit(str(link)).query, keep_blank_values=True))

    def _read(self, path: str) -> Record | None:
        """One record, None when Harvest says that it does not hold it."""
        try:
            found = self.http.request("GET", path).body
        except Rejected as refused:
            if refused.status in (404, 410):
                return None
            raise
        if not isinstance(found, Mapping) or "id" not in found:
            raise Unavailable("Harvest answered something that is not a record.")
        return found

    def _create(self, path: str, sent: Record) -> str:
        made = self._send("POST", path, sent)
        if not isinstance(made, Mapping) or "id" not in made:
            raise InDoubt("Harvest answered a record that was to be made without its id.")
        return str(made["id"])

    def _send(self, method: str, path: str, sent: Record) -> Any:
        try:
            return self.http.request(method, path, json=dict(sent)).body
        except Rejected as refused:
            raise refusals.narrow(refused, self.own) from None

    def _change(self, path: str, sent: Record) -> None:
        try:
            self._send("PATCH", path, sent)
        except Rejected as refused:
            if refused.status in (404, 410):
                raise Rejected(
                    "The record is not in Harvest any more; correct its key in the crosswalk.", status=refused.status,
                    code="gone",
                ) from refused  # fmt: skip
            raise


def _path(told: Publication) -> str:
    return "clients" if told.kind is Kind.CUSTOMER else "projects"


def _named(told: Publication, found: Record) -> Held:
    """A client or a project in our words."""
    figures: dict[str, Any] = {"name": found["name"], "is_active": found["is_active"]}
    if told.kind is Kind.CUSTOMER:
        return Held(number=str(found["id"]), figures={**figures, "currency": found.get("currency")})
    model = told.figures["billing_model"]
    if bool(found.get("is_fixed_fee")) == (model == HOURLY):
        model = "fixed_fee" if found.get("is_fixed_fee") else HOURLY
    return Held(
        number=str(found["id"]), figures={**figures, "code": found.get("code"), "billing_model": model},
        names={"customer": str((found.get("client") or {}).get("id") or "")},
    )  # fmt: skip


def _same(theirs: Any, ours: Any) -> bool:
    """Whether two names are the same to people: blanks and capitals aside. An empty one is nobody's."""
    spelt = [" ".join(str(text or "").split()).casefold() for text in (theirs, ours)]
    return bool(spelt[0]) and spelt[0] == spelt[1]


def _text(value: Any) -> str | None:
    return None if value is None else f"{Decimal(str(value)).normalize():f}"


def _number(key: str) -> int:
    if not (key.isascii() and key.isdigit()):
        raise Rejected(f"“{key}” is not an id of Harvest, which are numbers; correct its key in the crosswalk.")
    return int(key)
