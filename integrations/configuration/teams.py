"""Teams and ownership rules of the document. The list of an entity's ownership rules is its whole list, in the file's order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from integrations.configuration.document import Document, TomlPlace, shown
from portal.importing import cells
from portal.importing.load import Load
from portal.importing.problems import Unreadable
from portal.importing.tables import Counts, Result
from portal.models import Connection, LegalEntity, User
from reconciliation import teams
from reconciliation.models import Team
from reconciliation.rules import BY_CODE, THEMES

TEAM_KEYS = {"code", "name", "entities", "members", "leads", "active"}
OWNERSHIP_KEYS = {"entities", "theme", "rules", "connection", "team"}


@dataclass(slots=True)
class Wanted:
    """The teams and ownership rules that the file describes."""

    teams: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    ownership: dict[str, list[dict[str, Any]]] = field(default_factory=dict)  # by entity


def read(document: Document, load: Load) -> Wanted:
    """Teams and ownership rules; every mistake is noted at its place."""
    wanted = Wanted()
    known = _Known(document, load)
    for place, row in document.rows("teams", TEAM_KEYS):
        code = row.get("code")
        if not isinstance(code, str) or not code or len(code) > 40 or code in dict(wanted.teams):
            document.problem(place.at("code"), shown(code or ""), "is not a code of its own, up to 40 characters long.")
            continue
        told: dict[str, Any] = {key: row[key] for key in ("name", "active") if key in row}
        told |= {
            "entities": known.names(place, row, "entities", known.entities, "a legal entity"),
            "members": known.names(place, row, "members", known.people, "a user"),
            "leads": known.names(place, row, "leads", known.people, "a user"),
        }
        _check_plain(document, place, told)
        wanted.teams.append((code, told))
    for place, row in document.rows("ownership", OWNERSHIP_KEYS, "team"):
        _read_rule(document, known, wanted, place, row)
    return wanted


class _Known:
    """What the file or the firm has, to be named by code."""

    def __init__(self, document: Document, load: Load) -> None:
        self.document = document
        self.entities = {str(key[0]) for key in load.ids_of("entities")} | self._in_file("entities", "code")
        self.people = set(User.objects.values_list("username", flat=True)) | self._in_file("users", "username")
        self.connections = set(Connection.objects.values_list("code", flat=True)) | self._in_file("connections", "code")
        self.teams = set(Team.objects.values_list("code", flat=True)) | self._in_file("teams", "code")

    def _in_file(self, section: str, key: str) -> set[str]:
        rows = self.document.content.get(section, [])
        return (
            {str(row[key]) for row in rows if isinstance(row, Mapping) and key in row}
            if isinstance(rows, list)
            else set()
        )

    def names(self, place: TomlPlace, row: Mapping[str, Any], key: str, known: set[str], noun: str) -> list[str] | None:
        """A list of codes; None where the file does not say."""
        if key not in row:
            return None
        value = row[key]
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            self.document.problem(place.at(key), shown(value), 'is not a list of texts, as ["one", "two"].')
            return []
        for one in value:
            if one not in known:
                self.document.problem(place.at(key), one, f"is not known as {noun}.")
        return list(value)

    def name(self, place: TomlPlace, row: Mapping[str, Any], key: str, known: set[str], noun: str) -> str:
        """One code; empty where the file does not say."""
        value = row.get(key, "")
        if value and value not in known:
            self.document.problem(place.at(key), shown(value), f"is not known as {noun}.")
        return str(value)


def _check_plain(document: Document, place: TomlPlace, told: dict[str, Any]) -> None:
    for key, parse in (("name", cells.text), ("active", cells.flag)):
        if key in told:
            try:
                told[key] = parse(told[key])
            except Unreadable as error:
                document.problem(place.at(key), shown(told[key]), str(error))
    if told["entities"] == []:
        document.problem(place.at("entities"), "", "is empty; a team works for at least one entity.")


def _read_rule(document: Document, known: _Known, wanted: Wanted, place: TomlPlace, row: Mapping[str, Any]) -> None:
    told = {
        "team": known.name(place, row, "team", known.teams, "a team"),
        "theme": known.name(place, row, "theme", set(THEMES), f"a theme; the themes are {', '.join(THEMES)}"),
        "rules": known.names(place, row, "rules", set(BY_CODE), "a rule") or [],
        "connection": known.name(place, row, "connection", known.connections, "a connection"),
    }
    entities = known.names(place, row, "entities", known.entities, "a legal entity")
    if not told["team"]:
        document.problem(place.at("team"), "", "is missing; say which team gets these causes.")
    if told["theme"] and told["rules"]:
        document.problem(place.at("rules"), "", "stands beside theme; give one of them.")
    if not entities:
        document.problem(place.at("entities"), "", "is missing; say for which entities it holds.")
    for code in entities or ():
        wanted.ownership.setdefault(code, []).append(told)


def apply(wanted: Wanted, result: Result, *, reason: str, actor: User | None) -> None:
    """Write teams, then ownership rules; their counts go into the result. Raises ValueError for a team of other entities."""
    for code, told in wanted.teams:
        counts = result.counts.setdefault("teams", Counts())
        standing = Team.objects.filter(code=code).first()
        team = standing or Team(code=code, name=code)
        team.name = told.get("name", team.name)
        team.is_active = told.get("active", team.is_active)
        changed = teams.save_team(team, **_people(team, told), by=actor, reason=reason)
        counts.created += standing is None
        counts.changed += standing is not None and changed
        counts.unchanged += not changed
    for code, rules in wanted.ownership.items():
        counts = result.counts.setdefault("ownership", Counts())
        entity = LegalEntity.objects.get(code=code)
        changed = teams.set_ownership(entity, [_fits(told) for told in rules], by=actor, reason=reason)
        counts.changed += changed
        counts.unchanged += not changed


def _people(team: Team, told: Mapping[str, Any]) -> dict[str, Any]:
    """Entities, members and leads as the file has them; what it does not mention stays."""
    entities, members, leads = told["entities"], told["members"], told["leads"]
    held = list(team.memberships.select_related("user")) if team.pk else []
    return {
        "entities": list(LegalEntity.objects.filter(code__in=entities)) if entities is not None
        else list(team.entities.all()) if team.pk else [],
        "members": list(User.objects.filter(username__in=members)) if members is not None else [one.user for one in held],
        "leads": list(User.objects.filter(username__in=leads)) if leads is not None
        else [one.user for one in held if one.is_lead],
    }  # fmt: skip


def _fits(told: Mapping[str, Any]) -> teams.Fits:
    connection = Connection.objects.get(code=told["connection"]) if told["connection"] else None
    return teams.Fits(Team.objects.get(code=told["team"]), told["theme"], tuple(told["rules"]), connection)
