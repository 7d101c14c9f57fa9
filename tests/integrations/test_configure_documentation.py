"""docs/configuration.md is complete and its worked example loads: what the code takes and what is written agree."""

from __future__ import annotations

import io
import re
import shutil
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import call_command

from integrations import registry
from integrations.configuration import connections, people, teams
from portal.importing.domains import TABLES
from portal.importing.tables import Table
from portal.models import Connection, Crosswalk, LegalEntity, Project, Rate, User
from reconciliation import policies
from reconciliation.changes import tables
from reconciliation.models import Route
from reconciliation.rules import RULES, THEMES

DOCS = Path(settings.BASE_DIR) / "docs"
TEXT = (DOCS / "configuration.md").read_text()


def section(heading: str) -> str:
    """The text below a heading, up to the next one of the same depth or less."""
    depth = heading.count("#")
    found = re.search(rf"^{re.escape(heading)}\n(.*?)(?=^#{{1,{depth}}} |\Z)", TEXT, re.MULTILINE | re.DOTALL)
    assert found, heading
    return found.group(1)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_every_column_of_every_file_is_described(table: Table) -> None:
    told = section(f"### {table.name}.csv")
    for column in table.columns:
        key = "key, " if column.name in table.key else ""
        assert f"| `{column.name}` | {key}{'yes' if column.required else 'no'} | {column.help} |" in told


def test_every_policy_key_and_rule_is_described_as_it_is() -> None:
    told = section("## Policies")
    for setting in policies.SETTINGS:
        assert f"| `{setting.key}` | {setting.expects} | " in told
        assert f"| {setting.help} |" in told
    told = section("## Rules")
    for rule in RULES:
        assert f"| `{rule.code}` | {rule.title} | {'yes' if rule.can_be_off else 'no'} |" in told


def test_every_key_of_the_configuration_file_is_described() -> None:
    keys = {
        "### entities": [column.name for column in tables.entities(dict).columns],
        "### connections": [*(column.name for column in connections.TABLE.columns), "streams", "maintenance"],
        "### routes": [column.name for column in tables.routes(dict).columns],
        "### users": sorted(people.KEYS),
        "### teams": sorted(teams.TEAM_KEYS),
        "### ownership": sorted([*teams.OWNERSHIP_KEYS, *THEMES]),
    }
    for heading, names in keys.items():
        told = section(heading)
        assert [name for name in names if f"`{name}`" not in told] == [], heading


def test_every_setting_and_secret_of_every_connector_is_named() -> None:
    told = section("### connections")
    for name in registry.CONNECTORS:
        row = next(line for line in told.splitlines() if line.startswith(f"| `{name}` |"))
        assert [one.name for one in registry.connector_type(name).settings if f"`{one.name}`" not in row] == []


def test_every_environment_variable_of_the_settings_is_described() -> None:
    source = (Path(settings.BASE_DIR) / "portal" / "settings.py").read_text()
    variables = set(re.findall(r'env\.\w+\(\s*"([A-Z_]+)"', source))
    assert "DATABASE_URL" in variables
    told = section("## The environment")
    assert sorted(name for name in variables if f"`{name}`" not in told) == []


@pytest.mark.django_db
def test_the_worked_example_is_a_whole_firm_that_loads_twice_with_the_same_result(tmp_path: Path) -> None:
    folder = tmp_path / "firm"
    shutil.copytree(DOCS / "examples" / "firm", folder)
    for time in ("first", "second"):
        out = io.StringIO()
        call_command(
            "configure", str(folder / "firm.toml"), "--by", "carla" if time == "second" else "", stdout=out, stderr=out
        )
        call_command("import_master_data", str(folder / "master_data"), stdout=out, stderr=out)
        assert out.getvalue().count("Nothing changed.") == (2 if time == "second" else 0), out.getvalue()
    counts = {model: model._base_manager.count() for model in (LegalEntity, Connection, Project, Route, User)}
    assert counts == {LegalEntity: 3, Connection: 4, Project: 3, Route: 5, User: 5}
    assert Rate.objects.filter(amount=0).count() == 1
    assert Crosswalk.objects.filter(system="netsuite", realm="1234567").count() == 20
    assert {table.name for table in TABLES} - {path.stem for path in (folder / "master_data").iterdir()} == {
        "entities",
        "periods",
    }
