"""Teams and ownership rules of the configuration file: whole lists, named mistakes, one event for each change."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from portal.models import AuditEvent, GrantRole
from reconciliation import teams
from reconciliation.models import Team
from tests import world

pytestmark = pytest.mark.django_db

TEAMS = """
[[teams]]
code = "collections"
name = "Collections"
entities = ["US"]
members = ["fay", "ken"]
leads = ["fay"]

[[ownership]]
entities = ["US"]
theme = "rates"
team = "collections"

[[ownership]]
entities = ["US"]
rules = ["project-unknown"]
connection = "harvest-us"
team = "collections"
"""


@pytest.fixture(autouse=True)
def firm() -> None:
    us = world.entity("US", "USD")
    world.entity("GB", "GBP")
    world.connection("harvest-us", "harvest", us, is_source=True)
    for name in ("fay", "ken"):
        world.user(name, GrantRole.ANALYST, us)


def configure(text: str, folder: Path, *options: str) -> str:
    file = folder / "firm.toml"
    file.write_text(text)
    said = io.StringIO()
    call_command("configure", str(file), *options, stdout=said, stderr=said)
    return said.getvalue()


def refused(text: str, folder: Path) -> str:
    file = folder / "firm.toml"
    file.write_text(text)
    said = io.StringIO()
    with pytest.raises(CommandError, match="Nothing was changed"):
        call_command("configure", str(file), stdout=said, stderr=said)
    return said.getvalue()


def ownership() -> list[dict[str, object]]:
    return [one.told() for one in teams.standing(Team.objects.get().entities.get())]


def test_the_file_makes_teams_and_the_order_of_ownership(tmp_path: Path) -> None:
    said = configure(TEAMS, tmp_path, "--reason", "Go-live")
    assert "teams: 1 created" in said
    team = Team.objects.get()
    assert set(team.memberships.values_list("user__username", "is_lead")) == {("fay", True), ("ken", False)}
    assert [(one["theme"], one["rules"], one["connection"]) for one in ownership()] == [
        ("rates", [], ""), ("", ["project-unknown"], "harvest-us"),
    ]  # fmt: skip
    events = AuditEvent.objects.filter(action__in=("team.configured", "ownership.configured"))
    assert set(events.values_list("action", "entity__code", "reason")) == {
        ("team.configured", "US", "Go-live"), ("ownership.configured", "US", "Go-live"),
    }  # fmt: skip


def test_the_same_file_twice_changes_nothing_and_a_list_is_the_whole_list(tmp_path: Path) -> None:
    configure(TEAMS, tmp_path)
    before = AuditEvent.objects.count()
    said = configure(TEAMS, tmp_path)
    assert "teams: 0 created, 0 changed, 1 unchanged" in said
    assert AuditEvent.objects.count() == before
    configure('[[teams]]\ncode = "collections"\nmembers = ["ken"]\nleads = []\n', tmp_path)
    assert list(Team.objects.get().memberships.values_list("user__username", flat=True)) == ["ken"]
    assert list(Team.objects.get().entities.values_list("code", flat=True)) == ["US"]
    configure('[[ownership]]\nentities = ["US"]\nteam = "collections"\n', tmp_path)
    assert len(ownership()) == 1


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    assert "teams: 1 created" in configure(TEAMS, tmp_path, "--dry-run")
    assert not Team.objects.exists()


def test_every_mistake_is_named_at_its_place(tmp_path: Path) -> None:
    wrong = """
[[teams]]
code = "collections"
entities = ["FR"]
members = ["nobody"]
lead = ["fay"]

[[ownership]]
entities = []
team = "nowhere"
theme = "weather"
rules = ["rate-mismatch", "rate-mismtch"]
"""
    said = refused(wrong, tmp_path)
    for words in (
        "teams[collections].entities: “FR” is not known as a legal entity.",
        "teams[collections].members: “nobody” is not known as a user.",
        "did you mean leads?",
        "ownership[nowhere].team: “nowhere” is not known as a team.",
        "ownership[nowhere].theme: “weather” is not known as a theme",
        "ownership[nowhere].rules: “rate-mismtch” is not known as a rule.",
        "stands beside theme; give one of them.",
        "ownership[nowhere].entities",
    ):
        assert words in said, words
    assert not Team.objects.exists()


def test_a_team_gets_causes_of_its_own_entities_only(tmp_path: Path) -> None:
    said = refused(TEAMS + '\n[[ownership]]\nentities = ["GB"]\nteam = "collections"\n', tmp_path)
    assert "Collections does not work for GB" in said
    assert not Team.objects.exists()
