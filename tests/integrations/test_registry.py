"""Connectors are built by name, for one half, with credentials read where they lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from integrations import abilities, registry
from integrations.errors import Unauthorised
from integrations.protocol import Source
from portal.models import Connection


def harvest(**more: object) -> Connection:
    values = {"code": "us", "connector": "harvest", "base_url": "https://api.harvestapp.com/v2", "realm": "77", **more}
    return Connection(**values)


def test_a_source_is_built_with_the_secret_that_the_environment_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("US_TOKEN", "s3cret")
    connection = harvest(credentials={"token": {"env": "US_TOKEN"}})
    assert isinstance(registry.source(connection), Source)
    account = registry.account(connection)
    assert account.secrets == {"token": "s3cret"}
    assert "s3cret" not in repr(account)


def test_a_secret_in_a_file_is_read_at_every_call(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first\n")
    connection = harvest(credentials={"token": {"file": str(file)}})
    assert registry.account(connection).secrets == {"token": "first"}
    file.write_text("second\n")
    assert registry.account(connection).secrets == {"token": "second"}


@pytest.mark.parametrize(
    ("place", "names"),
    [
        ({"env": "NOT_SET_ANYWHERE"}, "NOT_SET_ANYWHERE"),
        ({"file": "/nowhere/token"}, "/nowhere/token"),
        ({}, "names no secret kept here"),
    ],
)
def test_a_missing_secret_is_unauthorised_and_named_by_its_place(place: dict[str, str], names: str) -> None:
    with pytest.raises(Unauthorised, match=names):
        registry.source(harvest(credentials={"token": place}))


def test_a_source_cannot_be_asked_to_post(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("US_TOKEN", "s3cret")
    with pytest.raises(registry.WrongHalf, match="harvest takes no postings"):
        registry.target(harvest(credentials={"token": {"env": "US_TOKEN"}}))


def test_an_unknown_connector_is_named_beside_those_that_exist() -> None:
    with pytest.raises(registry.UnknownConnector, match=r"'hervest'.*harvest"):
        registry.source(harvest(connector="hervest"))


@pytest.mark.parametrize("name", ["businesscentral", "dynamicsfinance", "projectoperations"])
def test_a_source_that_tells_no_deletions_says_so_to_whoever_chooses_it_and_on_its_connection(name: str) -> None:
    made = Connection(connector=name, code=name, is_source=True, is_target=False)
    for sentences in (abilities.offered(name).cannot, abilities.cannot(made)):
        assert any(
            "does not tell what was deleted" in one and "is noticed with the next reading" in one for one in sentences
        )


@pytest.mark.parametrize("name", sorted(registry.CONNECTORS))
def test_every_connector_of_the_registry_exists_and_is_named_so(name: str) -> None:
    kind = registry.connector_type(name)
    assert kind.name == name
