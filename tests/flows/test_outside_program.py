"""An outside program accounts for every record of every source, with nothing in hand but HTTP and the files themselves.

It reads the trackers as their vendors offer it, the sheets as they lie in their folders, and Tieout through its read API. For
each record it must be able to say: booked under which number, stopped by what, or not owed and why.
"""

from __future__ import annotations

import csv
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from pytest_django.live_server_helper import LiveServer

from integrations.demo import load, month, vendors
from integrations.sandbox.server import control
from portal import tokens
from portal.models import Connection, EntityGrant, User
from reconciliation.models import Route
from tests.flows.test_demo_month import MONTH, demo, move, sandbox  # noqa: F401 -- fixtures

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
CUT_OVER = date(2026, 10, 6)
LAST_DAY_OF_ROUTE = date(2026, 10, 20)
Key = tuple[str, str]
Worked = tuple[date, Decimal]


def fetch(address: str, **headers: str) -> tuple[Any, Any]:
    """What an address answers, and its headers."""
    with urlopen(Request(address, headers={"User-Agent": "comparison", **headers})) as answer:
        return json.load(answer), answer.headers


def harvest(base: str) -> Iterator[tuple[Key, Worked]]:
    """Harvest's own list, page by page."""
    address: str | None = f"{base}/harvest/v2/time_entries?per_page=100"
    token = load.SECRETS["harvest"]
    while address:
        page, _ = fetch(address, Authorization=f"Bearer {token}", **{"Harvest-Account-Id": vendors.HARVEST_ACCOUNT})
        for one in page["time_entries"]:
            assert one["approval_status"] == "approved"
            yield ("harvest-us", str(one["id"])), (date.fromisoformat(one["spent_date"]), Decimal(str(one["hours"])))
        address = page["links"]["next"]


def clockify(base: str) -> Iterator[tuple[Key, Worked]]:
    """The approved weeks of Clockify with their entries."""
    room = f"{base}/clockify/api/v1/workspaces/{vendors.CLOCKIFY_WORKSPACE}/approval-requests"
    number, is_last = 1, False
    while not is_last:
        page, headers = fetch(f"{room}?status=APPROVED&page={number}", **{"X-Api-Key": load.SECRETS["clockify"]})
        for one in (entry for approval in page for entry in approval["entries"]):
            interval = one["timeInterval"]
            hours, minutes = re.fullmatch(r"PT(\d+)H(?:(\d+)M)?", interval["duration"]).groups()  # type: ignore[union-attr]
            day = datetime.fromisoformat(interval["start"]).date()
            yield ("clockify-gb", one["id"]), (day, Decimal(hours) + Decimal(minutes or 0) / 60)
        number, is_last = number + 1, headers["Last-Page"] == "true"


def sheets(folder: Path) -> Iterator[tuple[Key, Worked]]:
    """The files of the Germans and the Dutch and the contractors' sheet, as they lie there; Singapore's own rows."""
    for path in sorted((folder / "files-de").rglob("*.csv")):
        with path.open(encoding="cp1252", newline="") as file:
            for row in csv.DictReader(file, delimiter=";"):
                hours = Decimal(row["Stunden"].replace(",", "."))
                yield ("files-de", row["Nr"]), (datetime.strptime(row["Datum"], "%d.%m.%Y").date(), hours)
    for path in sorted((*(folder / "files-us").rglob("*.csv"), *(folder / "files-nl").rglob("*.csv"))):
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                yield (path.parent.name, row["id"]), (date.fromisoformat(row["date"]), Decimal(row["hours"]))
    for item in load.of(month.worked(MONTH), "SG"):
        yield ("files-sg", f"SG-{item.number}"), (item.on, item.hours)


def told(base: str, token: str, name: str) -> Iterator[dict[str, Any]]:
    """All rows of one list of the read API."""
    address: str | None = f"{base}/api/v1/{name}"
    while address:
        page, _ = fetch(address, Authorization=f"Bearer {token}")
        yield from page["results"]
        address = page["next"]


def test_every_record_of_every_source_is_accounted_for_through_the_api_alone(
    demo: str,  # noqa: F811
    live_server: LiveServer,
    tmp_path: Path,
) -> None:
    tracker = Connection.objects.get(code="harvest-us")
    tracker.cut_over_on = CUT_OVER
    tracker.save()
    route = Route.objects.get(source__code="files-de", kind="time")
    route.valid_to = LAST_DAY_OF_ROUTE
    route.save()
    move()
    reader = User.objects.create_user("warehouse")
    EntityGrant.objects.create(user=reader, entity=None, role="auditor", valid_from=date(2020, 1, 1))
    token = tokens.issue(reader, "comparison")

    worked = dict([*harvest(demo), *clockify(demo), *sheets(tmp_path / "demo")])
    books = {bill["externalId"]: bill for bill in control(demo, "GET", "netsuite/inspect")["timebills"]}
    dutch_books = control(demo, "GET", "businesscentral/inspect")["entries_by_key"]
    versions = {
        (row["connection"], row["external_id"]): row
        for row in told(live_server.url, token, "time-entries/?current=true&page_size=500")
    }
    ledger: dict[Key, list[dict[str, Any]]] = defaultdict(list)
    for row in told(live_server.url, token, "ledger-entries/?kind=time&page_size=500"):
        ledger[row["connection"], row["external_id"]].append(row)

    assert set(versions) == set(worked)
    fates: Counter[str] = Counter()
    booked = Decimal(0)
    for key, (day, hours) in worked.items():
        row = versions[key]
        assert (row["work_date"], Decimal(row["hours"])) == (day.isoformat(), hours), key
        why = row["not_owed"]
        if why is not None:
            fates[why["code"]] += 1
            assert row["ledger"] == [], key
            expected = "before-cut-over" if key[0] == "harvest-us" and day < CUT_OVER else "no-route"
            assert why["code"] == expected, (key, why)
            assert ("6 Oct 2026" if expected == "before-cut-over" else "add a route") in why["sentence"]
            continue
        assert sum(Decimal(one["hours"]) for one in ledger[key]) == hours, key
        for one in ledger[key]:
            fates[one["state"]] += 1
            if one["state"] == "posted":
                assert (one["read_back"], one["holds"]) == ("equal", []), key
                name = one["idempotency_key"].replace("-", "")
                if key[0] == "files-nl":
                    assert dutch_books.pop(name) == 1, key
                else:
                    assert str(books.pop(name)["id"]) == one["receipt"], key
                booked += Decimal(one["hours"])
            else:
                assert one["state"] == "held", key
                assert all(hold["rule"] and hold["sentence"] and hold["case"] for hold in one["holds"]), key
                assert one["holds"], key
    assert (books, dutch_books) == ({}, {})  # neither ERP holds nothing that the program cannot name
    assert set(fates) == {"posted", "held", "before-cut-over", "no-route"}
    assert booked == sum(
        (Decimal(one["hours"]) for rows in ledger.values() for one in rows if one["state"] == "posted"), Decimal(0)
    )
