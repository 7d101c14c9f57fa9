"""Rate cards and their rates. The rule here: a zero that was written is a rate, an empty cell is a mistake."""

from __future__ import annotations

from collections.abc import Sequence

from portal.importing import cells
from portal.importing.domains.columns import amount, code, currency, first_day, last_day, name, pointer
from portal.importing.load import Load
from portal.importing.tables import Column, Ranges, Row, Table, to
from portal.models import MasterChange, Rate, RateCard

Kind = MasterChange.Kind
_VERSION = cells.whole(least=1, most=9999)
_SCOPES = ("contract_id", "customer_id", "entity_id")


def _one_scope(load: Load, rows: Sequence[Row]) -> None:
    for row in rows:
        scopes = [name for name in _SCOPES if row.will_be(name, RateCard) is not None]
        if len(scopes) > 1:
            named = " and ".join(name.removesuffix("_id") for name in scopes)
            load.problem(row, "", row.values["code"], f"has {named}; a rate card is for one of them, or for everybody.")


RATE_CARDS = Table(
    name="rate_cards",
    noun="a rate card",
    model=RateCard,
    help="A set of agreed rates for one contract, customer or entity, or (all empty) for everybody.",
    columns=(
        code("code of the card"),
        Column(name="version", sets="version", parse=_VERSION, empty=1, help="version of the card; 1 where empty"),
        name(required=False),
        pointer("contract", "contracts", "code of the contract it is for"),
        pointer("customer", "customers", "code of the customer it is for"),
        pointer("entity", "entities", "code of the entity it is for"),
        first_day(),
        last_day(),
    ),
    key=("code", "version"),
    lookup=("code", "version"),
    ranges=(Ranges(_SCOPES, "a contract, customer or entity has one rate card a day"),),
    check=_one_scope,
    concerns=(Kind.RATE_CARD, "pk"),
)


def _project_with_task(load: Load, rows: Sequence[Row]) -> None:
    for row in rows:
        if row.values.get("project") and not row.values.get("task"):
            load.problem(row, "task", "", "is empty beside a project; name the task, or leave both empty.")


RATES = Table(
    name="rates",
    noun="a rate",
    model=Rate,
    help="What an hour or a day costs. The most exact wins: resource before role, with a task before without.",
    columns=(
        pointer("card", "rate_cards", "code of the rate card", required=True, key=("card", "card_version")),
        Column(name="card_version", parse=_VERSION, empty=1, help="version of the card; 1 where empty"),
        pointer("resource", "resources", "code of the person; every person where empty"),
        pointer("role", "roles", "code of the role; every role where empty"),
        Column(
            name="project",
            parse=cells.code,
            refers=to("projects", "project"),
            help="code of the project of the task; needed with a task only",
        ),
        pointer("task", "tasks", "code of the task; every task where empty", key=("project", "task")),
        currency("ISO 4217 currency of the rate"),
        amount("amount", "the rate; 0 is a rate, an empty cell is refused", required=True),
        Column(
            name="unit",
            sets="unit",
            parse=cells.choice(Rate.Unit.values),
            empty=Rate.Unit.HOUR.value,
            help="hour or day; hour where empty",
        ),
        first_day(),
        last_day(),
    ),
    key=("card", "card_version", "resource", "role", "project", "task", "currency", "valid_from"),
    lookup=(
        "card__code",
        "card__version",
        "resource__code",
        "role__code",
        "task__project__code",
        "task__code",
        "currency",
        "valid_from",
    ),
    ranges=(
        Ranges(
            ("card_id", "resource_id", "role_id", "task_id", "currency"),
            "a card has one rate a day for the same resource, role, task and currency",
        ),
    ),
    check=_project_with_task,
    concerns=(Kind.RATE_CARD, "card_id"),
)
