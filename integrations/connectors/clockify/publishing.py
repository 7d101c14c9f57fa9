"""How Clockify is told master data: clients, projects, tasks, people on projects and their rates.

The rule here: Clockify ignores idempotency keys and knows no key of ours, so a record is looked for before it is made. A client
of the same name, or a project of the same name below the same client, is a twin, and a person decides. A task and a person on a
project of ours are known by their place, so that what stands there already is taken over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from integrations.connectors.clockify import assumptions, refusals
from integrations.errors import InDoubt, Rejected, Unavailable
from integrations.http import Http
from integrations.protocol import Takes
from portal.records import Held, Publication, PublishedKind

Kind = PublishedKind
Record = Mapping[str, Any]
HOURLY = "time_and_material"
ACTIVE, DONE = "ACTIVE", "DONE"
PUBLISHES: Mapping[Kind, Takes] = {
    Kind.CUSTOMER: Takes(
        figures=frozenset({"name", "is_active"}), keyed=True,
        refuses={
            "code": "Clockify's clients have no code.",
            "currency": "The currency of a client is set in Clockify's own pages.",
        },
    ),
    Kind.PROJECT: Takes(figures=frozenset({"code", "name", "billing_model", "is_active"}), keyed=True),
    Kind.TASK: Takes(
        figures=frozenset({"name", "is_active"}), keyed=True,
        refuses={
            "code": "Clockify's tasks have no code.",
            "is_billable": "Clockify's API takes no word on whether a task is billed; its project's holds.",
        },
    ),
    Kind.ASSIGNMENT: Takes(
        figures=frozenset({"is_active"}),
        refuses={"is_approver": "Clockify's API takes no approver; name the person as manager on the project's page there."},
    ),
    Kind.RATE: Takes(
        figures=frozenset({"amount", "valid_from"}),
        refuses={
            "currency": "A rate in Clockify has the currency of its workspace.",
            "agreed_in": "A rate in Clockify names no rate card.",
        },
    ),
}  # fmt: skip


def body(told: Publication) -> dict[str, Any]:
    """What would be sent, in Clockify's own words; pure."""
    figures, names = told.figures, told.names
    match told.kind:
        case Kind.CUSTOMER:
            return {"name": figures["name"], "archived": not figures["is_active"]}
        case Kind.PROJECT:
            return {
                "name": figures["name"], "clientId": names["customer"], "billable": figures["billing_model"] == HOURLY,
                "note": figures["code"], "archived": not figures["is_active"],
            }  # fmt: skip
        case Kind.TASK:
            return {"name": figures["name"], "status": ACTIVE if figures["is_active"] else DONE}
        case Kind.ASSIGNMENT:
            return {"userIds": [names["resource"]], "remove": not figures["is_active"]}
        case _:
            return {"amount": _minor(figures["amount"]), "since": f"{figures['valid_from']}T00:00:00Z"}


class ClockifyCatalogue:
    """What one workspace holds of clients, projects, tasks and people on projects."""

    def __init__(self, http: Http, workspace: str, page_size: int, own: Sequence[refusals.Pattern] = ()) -> None:
        self.http = http
        self.own = own
        self.root = f"/workspaces/{workspace}"
        self.page_size = page_size

    def publish(self, told: Publication) -> str:
        """Make or change one record; its number. Raises Rejected for a twin, and for a number that is gone."""
        sent = body(told)
        if told.kind in (Kind.CUSTOMER, Kind.PROJECT, Kind.TASK):
            return self._publish_named(told, sent)
        project, person = told.names["project"], told.names["resource"]
        if isinstance(sent.get("amount"), str):
            raise Rejected(
                f"Clockify keeps rates in hundredths, and {sent['amount']} has more decimals.", code="amount-invalid"
            )
        if told.kind is Kind.ASSIGNMENT:
            self._send("POST", f"/projects/{project}/memberships", sent)
        else:
            self._send("PUT", f"/projects/{project}/users/{person}/hourly-rate", sent)
        return f"{project}/{person}"

    def held(self, told: Publication) -> Held | None:
        """What the workspace holds of one record; None when it holds none."""
        if told.kind in (Kind.CUSTOMER, Kind.PROJECT, Kind.TASK):
            found = self._read(f"{self._place(told)}/{told.number}") if told.number else self._there(told)
            return None if found is None else _named(told, found)
        project, person = told.names["project"], told.names["resource"]
        found = self._read(f"/projects/{project}")
        if found is None:
            return None
        members = {str(one["userId"]): one for one in found.get("memberships") or ()}
        number = f"{project}/{person}"
        if told.kind is Kind.ASSIGNMENT:
            is_told = person in members or bool(told.number)
            return Held(number=number, figures={"is_active": person in members}) if is_told else None
        rate = (members.get(person) or {}).get("hourlyRate")
        if not isinstance(rate, Mapping):
            return None
        figures: dict[str, Any] = {"amount": f"{assumptions.major(Decimal(str(rate['amount']))).normalize():f}"}
        if rate.get("since"):
            figures["valid_from"] = str(rate["since"])[:10]
        return Held(number=number, figures=figures)

    def _publish_named(self, told: Publication, sent: Record) -> str:
        place = self._place(told)
        number = told.number
        if not number and (there := self._there(told)) is not None:
            if told.kind is not Kind.TASK:
                raise Rejected(
                    f"“{there['name']}” is there already, with id {there['id']}.",
                    code="twin",
                    vendor_code=str(there["id"]),
                )
            number = str(there["id"])
        if number:
            self._send("PUT", f"{place}/{number}", sent)
            return number
        fresh = {name: value for name, value in sent.items() if name != "archived"}
        if told.kind is Kind.PROJECT:
            fresh |= {"isPublic": False, "color": "#03A9F4"}
        made = self._send("POST", place, fresh)
        if not isinstance(made, Mapping) or "id" not in made:
            raise InDoubt("Clockify answered a record that was to be made without its id.")
        return str(made["id"])

    def _place(self, told: Publication) -> str:
        match told.kind:
            case Kind.CUSTOMER:
                return "/clients"
            case Kind.PROJECT:
                return "/projects"
            case _:
                return f"/projects/{told.names['project']}/tasks"

    def _there(self, told: Publication) -> Record | None:
        """A client or task of the same name in the same place, or a project of it below the same client."""
        for record in self._all(self._place(told)):
            is_same = _spelt(record["name"]) == _spelt(told.figures["name"])
            if is_same and (told.kind is not Kind.PROJECT or str(record.get("clientId")) == told.names["customer"]):
                return record
        return None

    def _all(self, place: str) -> Iterator[Record]:
        """Every page of a list. Raises Unavailable for what is no list: absence must be the vendor's word."""
        page = 1
        while True:
            params = {"page": page, "page-size": self.page_size}
            answer = self.http.request("GET", f"{self.root}{place}", params=params)
            if not isinstance(answer.body, list):
                raise Unavailable("Clockify answered something that is not a list.")
            yield from answer.body
            header = str(answer.headers.get("last-page", "")).strip().lower()
            if header == "true" or (header != "false" and len(answer.body) < self.page_size) or not answer.body:
                return
            page += 1

    def _read(self, place: str) -> Record | None:
        """One record, None when Clockify says that the workspace does not hold it."""
        try:
            found = self.http.request("GET", f"{self.root}{place}").body
        except Rejected as refused:
            if assumptions.is_gone(refused.status, refused.body):
                return None
            raise
        if not isinstance(found, Mapping) or "id" not in found:
            raise Unavailable("Clockify answered something that is not a record.")
        return found

    def _send(self, method: str, place: str, sent: Record) -> Any:
        try:
            return self.http.request(method, f"{self.root}{place}", json=dict(sent)).body
        except Rejected as refused:
            names_it = refused.status == 404 or place.rpartition("/")[2] in str(refused.body)
            if method == "PUT" and names_it and assumptions.is_gone(refused.status, refused.body):
                raise Rejected(
                    "The record is not in Clockify any more; correct its key in the crosswalk.", status=refused.status,
                    code="gone",
                ) from refused  # fmt: skip
            raise refusals.narrow(refused, self.own) from None


def _named(told: Publication, found: Record) -> Held:
    """A client, project or task in our words."""
    number = str(found["id"])
    if told.kind is Kind.TASK:
        return Held(number=number, figures={"name": found["name"], "is_active": found.get("status") != DONE})
    figures: dict[str, Any] = {"name": found["name"], "is_active": not found.get("archived")}
    if told.kind is Kind.CUSTOMER:
        return Held(number=number, figures=figures)
    model = told.figures["billing_model"]
    if bool(found.get("billable")) != (model == HOURLY):
        model = HOURLY if found.get("billable") else "fixed_fee"
    return Held(
        number=number, figures={**figures, "code": found.get("note") or "", "billing_model": model},
        names={"customer": str(found.get("clientId") or "")},
    )  # fmt: skip


def _minor(amount: str) -> int | str:
    """In hundredths; an amount that has none stays as it is, so that its body can be hashed before it is refused."""
    try:
        return assumptions.minor(amount)
    except ValueError:
        return amount


def _spelt(name: Any) -> str:
    return " ".join(str(name or "").split()).casefold()
