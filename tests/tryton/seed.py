"""A firm on Tryton, made by proteus in the server's own environment; Tieout's never runs this.

Called as `python seed.py config database passwords`, where the last is JSON; writes the ids of what it made to standard output.
"""

from __future__ import annotations

import datetime as dt
import json
import sys
from decimal import Decimal
from typing import Any

from proteus import Model, Wizard
from proteus import config as proteus_config
from trytond.modules.account.tests.tools import create_chart, create_fiscalyear, create_tax, get_accounts
from trytond.modules.account_invoice.tests.tools import create_payment_term, set_fiscalyear_invoice_sequences
from trytond.modules.company.tests.tools import create_company, get_company

GROUPS = ("Timesheet Administration", "Accounting", "Project Invoice")
MORE = (
    "Administration",
    "Project Administration",
    "Accounting Administration",
    "Party Administration",
    "Employee Administration",
)


def made(model: str, **values: Any) -> Any:
    record = Model.get(model)(**values)
    record.save()
    return record


def one(model: str, *domain: Any) -> Any:
    [found] = Model.get(model).find(list(domain), limit=1)
    return found


def books() -> dict[str, Any]:
    """The company, its chart, its year of monthly periods, a tax and a way to be paid."""
    create_company(made("party.party", name="Acme Consulting Inc.", code="ACME"), "USD")
    company = get_company()
    company.timezone = "America/New_York"
    company.save()
    create_chart(company)
    year = set_fiscalyear_invoice_sequences(create_fiscalyear(company, (dt.date(2026, 1, 1), dt.date(2026, 12, 31))))
    year.click("create_period")
    periods = Model.get("account.period").find([("fiscalyear", "=", year.id)], order=[("start_date", "ASC")])
    for period in periods[:6]:
        period.click("close")
    tax = create_tax(Decimal("0.10"))
    tax.save()
    accounts = get_accounts(company)
    term = create_payment_term()
    term.lines[0].relativedeltas.new(days=30)
    term.save()
    cash = one("account.journal", ("type", "=", "cash"))
    method = made(
        "account.invoice.payment.method", name="Bank", journal=cash, credit_account=accounts["cash"],
        debit_account=accounts["cash"],
    )  # fmt: skip
    write_off = made(
        "account.move.reconcile.write_off", name="Small differences", journal=one("account.journal", ("type", "=", "write-off")),
        credit_account=accounts["revenue"], debit_account=accounts["expense"],
    )  # fmt: skip
    return {
        "company": company.id,
        "method": method.id,
        "write_off": write_off.id,
        "periods": {f"{period.start_date:%Y-%m}": period.id for period in periods},
        "tax": tax,
        "accounts": accounts,
        "term": term,
        "year": year.id,
    }


def service(tax: Any, accounts: Any) -> Any:
    category = Model.get("product.category")(name="Services", accounting=True, account_revenue=accounts["revenue"])
    category.customer_taxes.append(tax)
    category.save()
    template = made(
        "product.template", name="Senior consultant", type="service", default_uom=one("product.uom", ("name", "=", "Hour")),
        list_price=Decimal("120.00"), account_category=category,
    )  # fmt: skip
    return template.products[0]


def people(names: dict[str, dict[str, Any]]) -> dict[str, int]:
    found = {}
    for name, values in names.items():
        party = Model.get("party.party")(name=name)
        party.contact_mechanisms.new(type="email", value=f"{name.split()[0].lower()}@acme.example")
        party.save()
        found[name.split()[0].lower()] = made("company.employee", party=party, **values).id
    return found


def projects(customer: Any, product: Any) -> dict[str, Any]:
    project = Model.get("project.work")(
        name="Rollout", type="project", party=customer, project_invoice_method="timesheet", product=product,
        timesheet_available=True,
    )  # fmt: skip
    for name in ("Design", "Build", "Locked"):
        project.children.new(name=name, type="task", timesheet_available=True, product=product)
    project.save()
    tasks = {task.name.lower(): task for task in project.children}
    part = tasks["build"].children.new(name="Testing", type="task", timesheet_available=True, product=product)
    tasks["build"].save()
    [part] = tasks["build"].children
    tasks["locked"].timesheet_end_date = dt.date(2026, 6, 30)
    tasks["locked"].save()
    ended = made("project.work", name="Old", type="project", party=customer, project_invoice_method="manual")
    return {
        "project": project.id,
        "tasks": {**{name: task.id for name, task in tasks.items()}, "testing": part.id},
        "old": ended.id,
        "product": product.id,
    }


def users(company: int, passwords: dict[str, str]) -> None:
    """The technical user, and the accountant who invoices and books what was paid."""
    User, Group = Model.get("res.user"), Model.get("res.group")
    for login, groups in (("sync", GROUPS), ("ada", (*GROUPS, *MORE))):
        user = User(login=login, name=login.title(), password=passwords[login])
        user.companies.append(Model.get("company.company")(company))
        user.company = Model.get("company.company")(company)
        user.groups.extend(Group.find([("name", "in", groups)]))
        user.save()


def main(config: str, database: str, passwords: dict[str, str]) -> None:
    proteus_config.set_trytond(database, config_file=config)
    Model.reset()
    wizard = one("ir.module", ("name", "=", "project_invoice"))
    assert wizard.state == "activated", wizard.state
    for item in Model.get("ir.module.config_wizard.item").find([("state", "!=", "done")]):
        item.state = "done"
        item.save()
    kept = books()
    tax, accounts, term = kept.pop("tax"), kept.pop("accounts"), kept.pop("term")
    parties = {
        key: made("party.party", name=name, customer_payment_term=term)
        for key, name in (("northwind", "Northwind Ltd"), ("old", "Survivor plc"), ("survivor", "Survivor plc"))
    }
    replace = Wizard("party.replace", models=[parties["old"]])
    replace.form.destination = parties["survivor"]
    replace.execute("replace")
    product = service(tax, accounts)
    kept |= projects(parties["northwind"], product)
    kept["parties"] = {key: party.id for key, party in parties.items()}
    kept["people"] = people({"Annette Hill": {}, "Bo Old": {"end_date": dt.date(2025, 6, 30)}, "Cleo Park": {}})
    users(kept["company"], passwords)
    sys.stdout.write(json.dumps(kept))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))
