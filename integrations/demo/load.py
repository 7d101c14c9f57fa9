"""Bringing the demo firm in: the operator's own commands, on files written for the month, and a sandbox that is told the rest."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command

from integrations import uploads
from integrations.demo import firm, month, vendors
from integrations.demo.firm import Month
from integrations.demo.month import Worked
from integrations.sandbox import salesforce
from integrations.sandbox.businesscentral import vendor as businesscentral
from integrations.sandbox.server import control
from integrations.sandbox.stripe import vendor as stripe
from portal.models import Connection, User

SECRETS = {
    "harvest": vendors.HARVEST_TOKEN,
    "clockify": vendors.CLOCKIFY_KEY,
    "clockify_hook": "clockify-demo-hook-token",
    "netsuite_consumer": "netsuite-demo-consumer-secret",
    "netsuite_token": "netsuite-demo-token-secret",
    "businesscentral": businesscentral.CLIENT_SECRET,
    "salesforce": salesforce.CLIENT_SECRET,
    "stripe": stripe.API_KEY,
    "stripe_hook": "whsec_stripe_demo",
}
NETSUITE_REALM = "1234567_SB1"
CONSUMER_KEY, TOKEN_ID = "demo-consumer", "demo-token"
BC_MASTER = ("periods", "cost_centres", "customers", "projects", "employees")
BC_BILLS = ("sales_invoices", "payments", "sales_credit_memos")
PEOPLE = {
    "analyst": ("Fiona", "Archer", {"analyst": "all"}),
    "analyst-de": ("Dirk", "Albers", {"analyst": ["DE"]}),
    "pm": ("Priya", "Mehta", {"project_manager": ["US", "GB", "SG", "NL"]}),
    "controller": ("Carla", "Okoye", {"controller": "all"}),
    "admin": ("Adam", "Novak", {"admin": "all", "controller": "all"}),
    "auditor": ("Ursula", "Diaz", {"auditor": "all"}),
}


def load(demo_month: Month, sandbox: str, folder: Path, say: Callable[[str], None]) -> None:
    """Write the firm's files, run the commands on them, tell the sandbox, and hand in Singapore's workbook."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in SECRETS.items():
        path = folder / "credentials" / name
        path.parent.mkdir(exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(value)
    rows = month.worked(demo_month)
    say("  the vendors' side: two ERPs, two time trackers, folders of nightly files …")
    tell_vendors(demo_month, sandbox, rows)
    vendors.german_files([*of(rows, "DE"), *month.late(demo_month)], folder / "files-de")
    vendors.sheet_of_contractors(month.twice(demo_month), folder / "files-us")
    vendors.dutch_file(of(rows, "NL"), folder / "files-nl")
    (folder / "files-sg").mkdir(exist_ok=True)
    say("  configuration and master data …")
    configuration = folder / "firm.toml"
    configuration.write_text(toml(demo_month, sandbox, folder), encoding="utf-8")
    call_command("configure", str(configuration), verbosity=0)
    write_tables(demo_month, folder / "master_data")
    call_command("import_master_data", str(folder / "master_data"), verbosity=0)
    _give_passwords()
    say("  Singapore's workbook, uploaded by hand …")
    hand_in_workbook(of(rows, "SG"))


def of(rows: list[Worked], entity: str) -> list[Worked]:
    """The hours of an entity's people."""
    return [item for item in rows if firm.person(item.person).entity == entity]


def tell_vendors(demo_month: Month, sandbox: str, rows: list[Worked]) -> None:
    """Seed the stand-ins through their control plane, with a refusal burst and one answer that gets lost."""
    control(sandbox, "POST", "netsuite/seed", {
        "records": vendors.netsuite(demo_month),
        "token_credentials": [{
            "consumer_key": CONSUMER_KEY, "consumer_secret": SECRETS["netsuite_consumer"], "token_id": TOKEN_ID,
            "token_secret": SECRETS["netsuite_token"], "realm": NETSUITE_REALM,
        }],
    })  # fmt: skip
    control(sandbox, "POST", "businesscentral/seed", vendors.businesscentral(demo_month))
    control(sandbox, "POST", "salesforce/seed", vendors.salesforce(demo_month))
    control(sandbox, "POST", "harvest/seed", vendors.harvest(of(rows, "US"), month.spent(demo_month)))
    control(sandbox, "POST", "clockify/seed", vendors.clockify(of(rows, "GB"), demo_month.approved_until))
    control(sandbox, "POST", "faults", [
        {"vendor": "netsuite", "kind": "timeout_after", "method": "PUT", "path": "timebill", "after": 20, "seconds": 10},
        {"vendor": "netsuite", "kind": "status", "status": 429, "method": "PUT", "path": "timebill", "after": 40, "times": 6},
    ])  # fmt: skip


def write_tables(demo_month: Month, folder: Path) -> None:
    """The master data as the CSV files of `import_master_data`."""
    folder.mkdir(exist_ok=True)
    for name, rows in firm.master_data(demo_month).items():
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


def _give_passwords() -> None:
    for person in User.objects.filter(username__in=PEOPLE):
        if not person.has_usable_password():
            person.set_password(settings.DEMO_PASSWORD)
            person.save(update_fields=["password"])


def hand_in_workbook(rows: list[Worked]) -> None:
    """Singapore's month, as its analyst uploads and files it."""
    connection = Connection.objects.get(code="files-sg")
    analyst = User.objects.get(username="analyst")
    upload = uploads.receive(connection, "time", "timesheet-sg.xlsx", vendors.singapore_workbook(rows), user=analyst)
    uploads.file(upload, user=analyst)


def toml(demo_month: Month, sandbox: str, folder: Path) -> str:
    """The configuration file, as an operator would write it."""
    months = list(demo_month.months())
    closed = max(first for first, state in months if state == "closed")
    opened = max(first for first, state in months if state == "open")
    standard = f'[policies.standard]\nday_hours_max = 16\ngroup_currency = "{firm.GROUP_CURRENCY}"\n'
    parts = ["# The demo firm.", standard]
    parts += [
        _table("[[entities]]", {"code": item.code, "name": item.name, "currency": item.currency, "zone": item.zone,
                                "policy": "standard"})
        for item in firm.ENTITIES
    ]  # fmt: skip
    parts.append(_table("[[periods]]", {
        "entities": "all", "first_month": f"{months[0][0]:%Y-%m}", "last_month": f"{months[-1][0]:%Y-%m}",
        "closed_through": f"{closed:%Y-%m}", "open_through": f"{opened:%Y-%m}",
    }))  # fmt: skip
    parts += [_connection(item) for item in _connections(sandbox, folder)]
    for entity, source in (
        ("US", "harvest-us"),
        ("US", "files-us"),
        ("GB", "clockify-gb"),
        ("DE", "files-de"),
        ("SG", "files-sg"),
        ("NL", "files-nl"),
    ):
        kinds = ["time"] if source.startswith("files") else ["time", "expense"]
        kinds += ["invoice"] if entity not in firm.BILLED_BY else []
        parts.append(
            _table("[[routes]]", {"entity": entity, "source": source, "target": firm.erp_of(entity), "kinds": kinds})
        )
    parts += [
        _table(
            "[[routes]]",
            {"entity": entity, "source": f"files-{entity.lower()}", "target": biller, "kinds": ["invoice"]},
        )
        for entity, biller in firm.BILLED_BY.items()
    ]
    parts += [
        _table("[[users]]", {"username": name, "email": f"{name}@halden.example", "first_name": first, "last_name": last,
                             "roles": roles})
        for name, (first, last, roles) in PEOPLE.items()
    ]  # fmt: skip
    return "\n".join(parts)


def _connections(sandbox: str, folder: Path) -> list[dict[str, Any]]:
    def secret(name: str) -> dict[str, str]:
        return {"file": str(folder / "credentials" / name)}

    return [
        {
            "code": "netsuite", "name": "NetSuite", "connector": "netsuite", "roles": ["target", "source", "biller"],
            "base_url": f"{sandbox}/netsuite", "realm": NETSUITE_REALM, "concurrency": 4,
            "settings": {"auth": "tba", "consumer_key": CONSUMER_KEY, "token_id": TOKEN_ID,
                         "service_item": firm.SERVICE_ITEM, "expense_category": firm.EXPENSE_CATEGORY,
                         "currencies": firm.CURRENCY_KEYS, "read_timeout": 5,
                         "posting_column": "custcol_tieout_posting"},
            "streams": [{"name": name, "every_seconds": 300} for name in ("invoices", "credit-memos", "payments", "deleted")],
            "credentials": {"consumer_secret": secret("netsuite_consumer"), "token_secret": secret("netsuite_token")},
        },
        {
            "code": "harvest-us", "name": "Harvest US", "connector": "harvest", "entity": "US",
            "roles": ["source", "recipient"],
            "base_url": f"{sandbox}/harvest/v2", "realm": vendors.HARVEST_ACCOUNT, "zone": "America/New_York",
            "settings": {"contact": "finance@halden.example", "subscribes": ["rate"],
                         "provisions": ["customer", "project", "task", "assignment"]},
             "credentials": {"token": secret("harvest")},
            "streams": [{"name": "time_entries", "every_seconds": 60}, {"name": "expenses", "every_seconds": 900}],
        },
        {
            "code": "clockify-gb", "name": "Clockify GB", "connector": "clockify", "entity": "GB", "roles": ["source"],
            "base_url": f"{sandbox}/clockify/api/v1", "realm": vendors.CLOCKIFY_WORKSPACE, "zone": "Europe/London",
            "settings": {"currency": "GBP"},
            "credentials": {"api_key": secret("clockify"), "webhook_token": secret("clockify_hook")},
            "streams": [{"name": "time_entries", "every_seconds": 300}, {"name": "expenses", "every_seconds": 900}],
        },
        {
            "code": "files-de", "name": "Nightly files DE", "connector": "files", "entity": "DE", "roles": ["source"],
            "base_url": str(folder / "files-de"), "zone": "Europe/Berlin",
            "settings": {"encoding": "cp1252", "delimiter": ";", "decimal": ",", "date_formats": "DD.MM.YYYY",
                         "currency": "EUR", "settle_seconds": 0, "time_columns": dict(vendors.GERMAN_COLUMNS)},
            "streams": [{"name": "time", "every_seconds": 300}],
        },
        {
            "code": "files-us", "name": "Contractors' sheet US", "connector": "files", "entity": "US", "roles": ["source"],
            "base_url": str(folder / "files-us"), "zone": "America/New_York",
            "settings": {"currency": "USD", "settle_seconds": 0}, "streams": [{"name": "time", "every_seconds": 900}],
        },
        {
            "code": "files-sg", "name": "Uploads SG", "connector": "files", "entity": "SG", "roles": ["source"],
            "base_url": str(folder / "files-sg"), "zone": "Asia/Singapore",
            "settings": {"currency": "SGD", "settle_seconds": 0, "time_columns": dict(vendors.SINGAPORE_COLUMNS)},
            "streams": [{"name": "time", "every_seconds": 3600}],
        },
        {
            "code": "files-nl", "name": "Nightly files NL", "connector": "files", "entity": "NL", "roles": ["source"],
            "base_url": str(folder / "files-nl"), "zone": "Europe/Amsterdam",
            "settings": {"currency": "EUR", "settle_seconds": 0}, "streams": [{"name": "time", "every_seconds": 900}],
        },
        {
            "code": "stripe-sg", "name": "Stripe SG", "connector": "stripe", "entity": "SG",
            "roles": ["source", "recipient", "biller"],
            "base_url": f"{sandbox}/stripe", "realm": stripe.ACCOUNT_ID, "zone": "Asia/Singapore",
            "settings": {"provisions": ["customer"], "lines_on_a_bill": 250},
            "credentials": {"api_key": secret("stripe"), "webhook_secret": secret("stripe_hook")},
            "streams": [{"name": name, "every_seconds": 300} for name in ("invoices", "credit_notes", "payments")],
        },
        {
            "code": "bc-nl", "name": "Business Central NL", "connector": "businesscentral", "entity": "NL",
            "roles": ["target", "source", "biller"],
            "base_url": f"{sandbox}/businesscentral/v2.0/{businesscentral.TENANT}/{businesscentral.ENVIRONMENT}",
            "realm": businesscentral.COMPANY, "zone": "Europe/Amsterdam",
            "settings": {"tenant": businesscentral.TENANT, "client_id": businesscentral.CLIENT_ID, "currency": "EUR",
                         "login_url": f"{sandbox}/businesscentral", "invoice_account": "8000",
                         "project_dimension": vendors.BC_PROJECTS,
                         "owns": ["period", "cost_centre.name", "customer.name", "customer.tax_number", "project.name"]},
            "streams": [
                *({"name": name, "every_seconds": 3600} for name in BC_MASTER),
                *({"name": name, "every_seconds": 300} for name in BC_BILLS),
            ],
            "credentials": {"client_secret": secret("businesscentral")},
        },
        {
            "code": "salesforce-nl", "name": "Salesforce NL", "connector": "salesforce", "entity": "NL",
            "roles": ["recipient"], "base_url": f"{sandbox}/salesforce", "zone": "Europe/Amsterdam",
            "settings": {"client_id": salesforce.CLIENT_ID, "multi_currency": True, "subscribes": ["invoice", "payment"]},
            "credentials": {"client_secret": secret("salesforce")},
        },
        {
            "code": "salesforce-us", "name": "Salesforce US", "connector": "salesforce", "entity": "US",
            "roles": ["source", "recipient"], "base_url": f"{sandbox}/salesforce", "zone": "America/New_York",
            "settings": {"client_id": salesforce.CLIENT_ID, "multi_currency": True, "subscribes": ["invoice", "payment"],
                         "owns": ["customer.merged_into"]},  # what it says of names is heard and not taken
            "credentials": {"client_secret": secret("salesforce")},
            "streams": [{"name": "customers", "every_seconds": 900}],
        },
    ]  # fmt: skip


def _connection(values: dict[str, Any]) -> str:
    return _table("[[connections]]", values)


def _table(head: str, values: dict[str, Any]) -> str:
    return "\n".join([head, *(f"{name} = {_value(value)}" for name, value in values.items())]) + "\n"


def _value(value: Any) -> str:
    """A TOML value; tables inline."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(name)} = {_value(item)}" for name, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else json.dumps(value, ensure_ascii=False)


def _key(name: str) -> str:
    return name if name.replace("_", "").replace("-", "").isalnum() else json.dumps(name)
