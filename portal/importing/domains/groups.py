"""The group: its entities, their periods and cost centres, and who may work for whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from portal.importing import cells
from portal.importing.domains.columns import ALWAYS, code, currency, first_day, last_day, name, pointer
from portal.importing.load import Load
from portal.importing.problems import Unreadable
from portal.importing.tables import Column, Ranges, Row, Table
from portal.models import AccountingPeriod, CostCentre, IntercompanyRelation, LegalEntity, MasterChange

Kind = MasterChange.Kind

_HOURS = cells.decimal(places=2, digits=4, above=Decimal(0))


def _calendar(value: Any) -> dict[str, Any]:
    value = cells.table(value)
    if not value:
        return {}
    known = {"weekend", "holidays", "hours_per_day", "names"}
    if set(value) - known:
        raise Unreadable(f"is not a calendar; expected a table of {', '.join(sorted(known))}.")
    weekend = value.get("weekend", [6, 7])
    if not isinstance(weekend, list) or any(number not in range(1, 8) for number in weekend):
        raise Unreadable("has a weekend that is not a list of weekdays; 1 is Monday and 7 Sunday.")
    holidays, names = value.get("holidays", []), value.get("names", {})
    if not isinstance(holidays, list) or not isinstance(names, Mapping):
        raise Unreadable("has holidays that are not a list of days, or names that are not a table by day.")
    days = sorted({_day_off(day) for day in holidays})
    if unknown := sorted(set(names) - set(days)):
        raise Unreadable(f"names “{names[unknown[0]]}” on no day of its holidays; give its day as YYYY-MM-DD.")
    try:
        hours = _HOURS(value.get("hours_per_day", "8"))
    except Unreadable as error:
        raise Unreadable(f"has hours_per_day “{value.get('hours_per_day')}”, which {error}") from None
    calendar = {"weekend": list(weekend), "holidays": days, "hours_per_day": str(hours)}
    return {**calendar, "names": {day: str(name)[:100] for day, name in names.items()}} if names else calendar


def _day_off(value: Any) -> str:
    try:
        return cells.day(value).isoformat()
    except Unreadable as error:
        raise Unreadable(f"has a holiday “{value}”, which {error}") from None


CALENDAR = Column(
    name="calendar", sets="calendar", parse=_calendar, empty={}, help="weekend, holidays, hours_per_day, names"
)

ENTITIES = Table(
    name="entities",
    noun="a legal entity",
    model=LegalEntity,
    help="The companies of the group. Calendar and policy are set by `configure`.",
    columns=(
        code("short code, as US"),
        name("full name"),
        currency("currency of its books, ISO 4217"),
        Column(name="zone", sets="zone", parse=cells.zone, empty="UTC", help="IANA time zone; UTC where empty"),
        pointer("parent", "entities", "code of the parent entity"),
    ),
    hierarchies=("parent_id",),
    concerns=(Kind.ENTITY, "pk"),
)

PERIODS = Table(
    name="periods",
    noun="an accounting period",
    model=AccountingPeriod,
    help="Accounting periods of each entity.",
    columns=(
        pointer("entity", "entities", "code of the entity", required=True),
        code("code within the entity, as 2026-07"),
        first_day("starts_on"),
        Column(name="ends_on", sets="ends_on", parse=cells.day, required=True, help="last day"),
        Column(
            name="state",
            sets="state",
            parse=cells.choice(AccountingPeriod.State.values),
            empty=AccountingPeriod.State.OPEN.value,
            help="future, open, closing or closed; open where empty",
        ),
    ),
    key=("entity", "code"),
    lookup=("entity__code", "code"),
    ranges=(Ranges(("entity_id",), "periods of an entity do not overlap", "starts_on", "ends_on"),),
    concerns=(Kind.PERIOD, "pk"),
)

COST_CENTRES = Table(
    name="cost_centres",
    noun="a cost centre",
    model=CostCentre,
    help="Where cost is carried, within one entity.",
    columns=(
        pointer("entity", "entities", "code of the entity", required=True),
        code("code within the entity"),
        name(),
        first_day(required=False),
        last_day(),
    ),
    key=("entity", "code"),
    lookup=("entity__code", "code"),
    ranges=(Ranges((), ""),),
    concerns=(Kind.COST_CENTRE, "pk"),
)


def _between_two(load: Load, rows: Sequence[Row]) -> None:
    for row in rows:
        if row.sets["provider_id"] == row.sets["receiver_id"]:
            load.problem(row, "receiver", row.values["receiver"], "is the provider itself; expected another entity.")


INTERCOMPANY = Table(
    name="intercompany",
    noun="an intercompany relation",
    model=IntercompanyRelation,
    help="Leave for people of one entity to work on projects of another.",
    columns=(
        pointer("provider", "entities", "code of the entity that employs", required=True),
        pointer("receiver", "entities", "code of the entity whose project it is", required=True),
        pointer(
            "price_list",
            "rate_cards",
            "code of the rate card by which the provider charges, in the provider's currency",
            key=("price_list", "price_list_version"),
        ),
        Column(
            name="price_list_version",
            parse=cells.whole(least=1, most=9999),
            empty=1,
            help="version of that card; 1 where empty",
        ),
        first_day(required=False, empty=ALWAYS),
        last_day(),
    ),
    key=("provider", "receiver", "valid_from"),
    lookup=("provider__code", "receiver__code", "valid_from"),
    ranges=(Ranges(("provider_id", "receiver_id"), "a pair of entities has one relation a day"),),
    check=_between_two,
    concerns=(Kind.INTERCOMPANY, "pk"),
)
