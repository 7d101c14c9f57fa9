"""People and machine users: who signs in, what they may do in which entity, and their API tokens.

The rule here: no password and no token is in the file. Grants of a user that the file lists are the whole of them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db.models import Q
from django.utils import timezone

from integrations.configuration.declared import lies_nowhere, not_there_yet
from integrations.configuration.document import Document, TomlPlace, shown
from portal import audit, history, tokens
from portal.importing import cells
from portal.importing.load import Load
from portal.importing.problems import Unreadable
from portal.importing.tables import Counts, Result
from portal.models import ApiToken, EntityGrant, GrantRole, User

KEYS = {"username", "email", "first_name", "last_name", "active", "password", "roles", "tokens"}
_TOKEN_KEYS = {"name", "expires_on", "days", "token", "digest"}
_USERNAME = re.compile(r"[\w.@+-]{1,150}")
ALL = "all"


@dataclass(slots=True)
class Token:
    """One API token as the file describes it; without a digest it is made and shown once."""

    name: str
    digest: str
    days: int
    expires_on: date | None


@dataclass(slots=True)
class Person:
    """One user as the file describes them; what is None was not mentioned."""

    place: TomlPlace
    username: str
    sets: dict[str, Any]
    password: str | None = None
    roles: set[tuple[str, str]] | None = None  # role and entity code, or ALL
    tokens: list[Token] = field(default_factory=list)


def read(document: Document, load: Load) -> list[Person]:
    """The users of the document; mistakes are noted in it."""
    people, seen = [], set()
    for place, row in document.rows("users", KEYS, "username"):
        username = row.get("username")
        if not isinstance(username, str) or not _USERNAME.fullmatch(username):
            document.problem(
                place.at("username"), shown(username or ""), "is not a user name; letters, digits and @.+-_ will do."
            )
            continue
        if username in seen:
            document.problem(place.at(), username, "stands twice in the file.")
        seen.add(username)
        person = Person(place, username, _plain(document, place, row))
        person.password = _password(document, place, row, person)
        person.roles = _roles(document, load, place, row)
        person.tokens = _tokens(document, place, row)
        people.append(person)
    return people


def apply(people: list[Person], load: Load, result: Result, *, reason: str, actor: User | None) -> None:
    """Make the users what the file says; counts of users, grants and tokens go into the result."""
    change = _Change(load, result, reason, actor)
    standing = User.objects.in_bulk([person.username for person in people], field_name="username")
    for person in people:
        user = _user(change, person, standing.get(person.username))
        if person.roles is not None:
            _grant(change, user, person.roles)
        for token in person.tokens:
            _token(change, user, token)


@dataclass(frozen=True, slots=True)
class _Change:
    """What every step of one run needs."""

    load: Load
    result: Result
    reason: str
    actor: User | None

    def counts(self, section: str) -> Counts:
        return self.result.counts.setdefault(section, Counts())


def _plain(document: Document, place: TomlPlace, row: Mapping[str, Any]) -> dict[str, Any]:
    parsers: dict[str, tuple[str, cells.Parse]] = {
        "email": ("email", cells.email),
        "first_name": ("first_name", cells.code),
        "last_name": ("last_name", cells.code),
        "active": ("is_active", cells.flag),
    }
    sets = {}
    for key, (attribute, parse) in parsers.items():
        if key in row:
            try:
                sets[attribute] = parse(row[key])
            except Unreadable as error:
                document.problem(place.at(key), shown(row[key]), str(error))
    return sets


def _secret(document: Document, place: str, where: Any) -> str | None:
    """The secret that lies where the file says; None, with a problem noted, where none does."""
    wrong = lies_nowhere(where) or not_there_yet(where)
    if wrong:
        document.problem(place, "", wrong)
        return None
    return os.environ[where["env"]] if "env" in where else Path(where["file"]).read_text(encoding="utf-8").strip()


def _password(document: Document, place: TomlPlace, row: Mapping[str, Any], person: Person) -> str | None:
    if "password" not in row:
        return None
    password = _secret(document, place.at("password"), row["password"])
    if password is not None:
        names = {key: value for key, value in person.sets.items() if isinstance(value, str)}
        try:
            validate_password(password, User(username=person.username, **names))
        except ValidationError as error:
            document.problem(place.at("password"), "", f"is refused. {' '.join(error.messages)}")
    return password


def _roles(document: Document, load: Load, place: TomlPlace, row: Mapping[str, Any]) -> set[tuple[str, str]] | None:
    roles = row.get("roles")
    if roles is None:
        return None
    if not isinstance(roles, Mapping):
        document.problem(
            place.at("roles"), shown(roles), 'is not a table of role to entities, as { analyst = ["US"] }.'
        )
        return None
    known = {str(key[0]) for key in load.ids_of("entities")} | {
        str(row.cells.get("code")) for row in load.rows.get("entities", [])
    }
    found = set()
    for role, entities in roles.items():
        at = place.at(f"roles.{role}")
        if role not in GrantRole.values:
            document.problem(at, "", f"is not a role; expected one of {', '.join(GrantRole.values)}.")
        elif entities == ALL:
            found.add((role, ALL))
        elif not isinstance(entities, list) or not entities:
            document.problem(at, shown(entities), 'is not a list of entity codes; expected ["US", "DE"] or "all".')
        else:
            for code in entities:
                if code in known:
                    found.add((role, code))
                else:
                    document.problem(at, shown(code), "is not known as a legal entity.")
    return found


def _tokens(document: Document, place: TomlPlace, row: Mapping[str, Any]) -> list[Token]:
    found: list[Token] = []
    for at, table in document.tables(row.get("tokens", []), place.at("tokens"), _TOKEN_KEYS, "name"):
        name, expires_on, days = table.get("name"), table.get("expires_on"), table.get("days", 90)
        if not isinstance(name, str) or not name or len(name) > 80 or name in {token.name for token in found}:
            document.problem(at.at("name"), shown(name or ""), "is not a name of its own, up to 80 characters long.")
        elif isinstance(days, bool) or not isinstance(days, int) or not 1 <= days <= 3650:
            document.problem(at.at("days"), shown(days), "is not a whole number of days up to 3650.")
        elif expires_on is not None and (not isinstance(expires_on, date) or isinstance(expires_on, datetime)):
            document.problem(at.at("expires_on"), shown(expires_on), "is not a day; write it as 2027-01-31.")
        else:
            digest = _digest(document, at, table)
            if digest is not None:
                found.append(Token(name, digest, days, expires_on))
    return found


def _digest(document: Document, at: TomlPlace, table: Mapping[str, Any]) -> str | None:
    """The digest of a token that exists already; empty for one to be made, None where a mistake was noted."""
    if "token" in table and "digest" in table:
        document.problem(at.at("digest"), "", "stands beside token; give one of them.")
        return None
    if "token" in table:
        token = _secret(document, at.at("token"), table["token"])
        if token is not None and len(token) < 32:
            document.problem(at.at("token"), "", "is shorter than 32 characters; a token must not be guessed.")
            return None
        return None if token is None else tokens.digest_of(token)
    if "digest" not in table:
        return ""
    given = table["digest"]
    digest = given if isinstance(given, str) else _secret(document, at.at("digest"), given)
    if digest is not None and not re.fullmatch(r"[0-9a-f]{64}", digest):
        document.problem(at.at("digest"), "", "is not a SHA-256 in 64 lower-case hexadecimal digits.")
        return None
    return digest


def _user(change: _Change, person: Person, standing: User | None) -> User:
    counts = change.counts("users")
    user = standing or User(username=person.username)
    before = {name: getattr(user, name) for name in person.sets}
    is_new_password = person.password is not None and (standing is None or not user.check_password(person.password))
    for name, value in person.sets.items():
        setattr(user, name, value)
    if is_new_password:
        user.set_password(person.password)
    elif standing is None:
        user.set_unusable_password()
        change.result.notices.append(
            f"{person.username} has no password; set one with: manage.py changepassword {person.username}"
        )
    if standing is not None and before == person.sets and not is_new_password:
        counts.unchanged += 1
        return user
    user.save()
    after = {**person.sets, **({"password": "set"} if is_new_password else {})}
    audit.record(
        change.actor, "user.configured", user, reason=change.reason, before=before if standing else None, after=after
    )
    counts.created += standing is None
    counts.changed += standing is not None
    return user


def _grant(change: _Change, user: User, wanted: set[tuple[str, str]]) -> None:
    """Make the grants of a user exactly these, from today on where they are new."""
    today, counts = timezone.localdate(), change.counts("grants")
    entities = change.load.ids_of("entities")
    ids = {(role, None if code == ALL else entities[(code,)]) for role, code in wanted}
    standing = {(grant.role, grant.entity_id): grant for grant in EntityGrant.objects.filter(user=user)}
    running = {key for key, grant in standing.items() if grant.valid_to is None or grant.valid_to >= today}
    new = [
        EntityGrant(user=user, role=role, entity_id=entity_id, valid_from=today)
        for role, entity_id in sorted(ids - standing.keys(), key=str)
    ]
    again = [(standing[key], {"valid_from": today, "valid_to": None}) for key in ids - running if key in standing]
    gone = [standing[key] for key in running - ids]
    told: dict[str, Any] = {"reason": change.reason, "actor": change.actor}
    history.bulk_create_with_reason(EntityGrant, new, **told)
    history.update_each_with_reason(EntityGrant, again, **told)
    history.bulk_delete_with_reason(EntityGrant, gone, **told)
    counts.created += len(ids - running)
    counts.changed += len(gone)
    counts.unchanged += len(ids & running)
    if ids != running:
        codes: dict[int | None, Any] = {None: ALL, **{pk: code for (code,), pk in entities.items()}}
        before, after = (sorted(f"{role} in {codes[entity_id]}" for role, entity_id in held) for held in (running, ids))
        audit.record(
            change.actor, "user.granted", user, reason=change.reason, before={"roles": before}, after={"roles": after}
        )


def _token(change: _Change, user: User, token: Token) -> None:
    counts = change.counts("tokens")
    standing = ApiToken.objects.filter(Q(user=user, name=token.name, revoked_at=None)).order_by("-pk").first()
    expires_at = datetime.combine(token.expires_on + timedelta(days=1), time(), UTC) if token.expires_on else None
    if standing is not None:
        digest = token.digest or standing.digest
        if (standing.digest, standing.expires_at) == (digest, expires_at or standing.expires_at):
            counts.unchanged += 1
            return
        standing.digest, standing.expires_at = digest, expires_at or standing.expires_at
        standing.save(update_fields=["digest", "expires_at"])
        counts.changed += 1
        return
    counts.created += 1
    if token.digest:
        end = expires_at or timezone.now() + timedelta(days=token.days)
        ApiToken.objects.create(user=user, name=token.name, digest=token.digest, expires_at=end)
        return
    shown_once = tokens.issue(user, token.name, days=token.days)
    if expires_at is not None:
        ApiToken.objects.filter(digest=tokens.digest_of(shown_once)).update(expires_at=expires_at)
    change.result.notices.append(f"API token {token.name} of {user.username}, shown this once: {shown_once}")
