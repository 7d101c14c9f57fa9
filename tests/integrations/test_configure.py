"""`configure` applies one TOML file whole or not at all, names every mistake by its path, and can be repeated."""

from __future__ import annotations

import io
from datetime import date, time
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from pytest_django.fixtures import Settings

from integrations.models import MaintenanceWindow, Stream
from portal import audit, tokens
from portal.models import (
    AccountingPeriod,
    ApiToken,
    AuditEvent,
    Connection,
    EntityGrant,
    LegalEntity,
    MasterChange,
    User,
)
from reconciliation.models import Route

pytestmark = pytest.mark.django_db

FIRM = """
[policies.strict]
day_hours_max = 12.5
approver_required = true

[[entities]]
code = "US"
name = "Acme Inc"
currency = "USD"
zone = "America/New_York"
calendar = { weekend = [6, 7], holidays = [2026-07-04], hours_per_day = 8 }
policy = "strict"

[[entities]]
code = "DE"
name = "Acme GmbH"
currency = "EUR"
parent = "US"

[[periods]]
entities = ["US", "DE"]
first_month = "2026-06"
last_month = "2026-08"
closed_through = "2026-06"
open_through = "2026-07"

[[connections]]
code = "erp"
name = "NetSuite"
connector = "netsuite"
roles = ["target"]
base_url = "https://123.suitetalk.api.netsuite.com"
realm = "123"
concurrency = 4
settings = { batch_size = 50, memo_limit = 999, read_timeout = 20.5 }
credentials = { private_key = { env = "TEST_ERP_KEY" } }

[[connections.maintenance]]
weekday = 6
start = 22:00:00
minutes = 180
zone = "America/Los_Angeles"
reason = "Weekly"

[[connections]]
code = "harvest-us"
name = "Harvest"
connector = "harvest"
entity = "US"
roles = ["source"]
base_url = "http://127.0.0.1:8765/v2"
cut_over_on = 2026-06-01
credentials = { token = { env = "TEST_HARVEST_TOKEN" } }
streams = [{ name = "time_entries", every_seconds = 60 }]

[[connections]]
code = "files-de"
name = "Files"
connector = "files"
entity = "DE"
roles = ["source"]
base_url = "FOLDER"
settings = { decimal = ",", time_columns = { person = "P", date = "D", project = "J", hours = "H" } }

[[routes]]
entity = "US"
source = "harvest-us"
target = "erp"
kinds = ["time", "expense"]
valid_from = 2026-01-01

[[routes]]
entity = "DE"
source = "files-de"
target = "erp"
kind = "time"
policy = { rules_off = ["overlap"] }

[[users]]
username = "ana"
email = "ana@example.com"
password = { env = "TEST_PASSWORD" }
roles = { analyst = ["US", "DE"], auditor = "all" }

[[users]]
username = "robot"
roles = { auditor = "all" }
tokens = [{ name = "compare" }, { name = "fixed", token = { env = "TEST_TOKEN" }, expires_on = 2027-01-31 }]
"""
TOKEN = "a-token-that-the-operator-made-elsewhere-0001"


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    settings.ALLOW_LOOPBACK = True
    settings.VENDOR_HOSTS = []
    for name, value in {
        "TEST_ERP_KEY": "pem",
        "TEST_HARVEST_TOKEN": "token",
        "TEST_PASSWORD": "correct horse battery",
        "TEST_TOKEN": TOKEN,
    }.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def firm(tmp_path: Path) -> str:
    return FIRM.replace("FOLDER", str(tmp_path))


def configure(text: str, tmp_path: Path, *options: str) -> str:
    path = tmp_path / "firm.toml"
    path.write_text(text)
    out = io.StringIO()
    call_command("configure", str(path), *options, stdout=out, stderr=out)
    return out.getvalue()


def refused(text: str, tmp_path: Path) -> list[str]:
    path = tmp_path / "firm.toml"
    path.write_text(text)
    out = io.StringIO()
    with pytest.raises(CommandError, match="Nothing was changed"):
        call_command("configure", str(path), stdout=out, stderr=out)
    return out.getvalue().strip().splitlines()


def test_a_file_configures_entities_periods_connections_routes_and_people(firm: str, tmp_path: Path) -> None:
    told = configure(firm, tmp_path)
    for line in (
        "entities: 2 created",
        "periods: 6 created",
        "connections: 3 created",
        "streams: 3 created",
        "routes: 3 created",
        "maintenance: 1 created",
        "users: 2 created",
        "grants: 4 created",
        "tokens: 2 created",
    ):
        assert line in told, told

    us = LegalEntity.objects.get(code="US")
    assert us.calendar == {"weekend": [6, 7], "holidays": ["2026-07-04"], "hours_per_day": "8"}
    assert us.policy == {"day_hours_max": "12.5", "approver_required": True}
    states = AccountingPeriod.objects.filter(entity=us).values_list("code", "ends_on", "state")
    assert list(states) == [
        ("2026-06", date(2026, 6, 30), "closed"),
        ("2026-07", date(2026, 7, 31), "open"),
        ("2026-08", date(2026, 8, 31), "future"),
    ]
    erp = Connection.objects.get(code="erp")
    assert (erp.is_source, erp.is_target, erp.concurrency, erp.realm) == (False, True, 4, "123")
    assert erp.settings == {"batch_size": 50, "memo_limit": 999, "read_timeout": "20.5"}
    assert erp.credentials == {"private_key": {"env": "TEST_ERP_KEY"}}
    window = MaintenanceWindow.objects.get()
    assert (window.weekday, window.start_time, window.minutes, window.zone) == (6, time(22), 180, "America/Los_Angeles")
    streams = {(s.connection.code, s.name): s for s in Stream.objects.select_related("connection")}
    assert streams["harvest-us", "time_entries"].every_seconds == 60
    assert streams["harvest-us", "time_entries"].next_due_at is not None
    assert {name for code, name in streams if code == "files-de"} == {"time", "expenses"}
    assert list(Route.objects.values_list("source__code", "kind", "policy")) == [
        ("files-de", "time", {"rules_off": ["overlap"]}),
        ("harvest-us", "expense", {}),
        ("harvest-us", "time", {}),
    ]
    ana = User.objects.get(username="ana")
    assert ana.check_password("correct horse battery")
    assert ana.roles(us.pk) == {"analyst", "auditor"}
    holder = tokens.known(TOKEN)
    assert holder is not None
    assert (holder.user.username, holder.may_decide) == ("robot", False)


def test_a_token_that_is_made_is_shown_once_and_works(firm: str, tmp_path: Path) -> None:
    told = configure(firm, tmp_path)
    shown = next(line for line in told.splitlines() if line.startswith("API token compare of robot"))
    assert (found := tokens.known(shown.rpartition(" ")[2])) is not None
    assert found.user == User.objects.get(username="robot")
    assert "API token" not in configure(firm, tmp_path)


def test_the_same_file_twice_changes_nothing_and_says_so(firm: str, tmp_path: Path) -> None:
    configure(firm, tmp_path)
    history, events, words = Connection.history.count(), AuditEvent.objects.count(), MasterChange.objects.count()
    told = configure(firm, tmp_path)
    assert "Nothing changed." in told
    assert "created, 0 changed" in told
    assert " 0 created" in told
    assert (Connection.history.count(), AuditEvent.objects.count()) == (history, events)
    assert MasterChange.objects.count() == words


def test_a_dry_run_shows_the_numbers_and_writes_nothing(firm: str, tmp_path: Path) -> None:
    rehearsed = configure(firm, tmp_path, "--dry-run")
    assert "Dry run: nothing was written." in rehearsed
    assert "API token" not in rehearsed
    for model in (LegalEntity, Connection, Route, User, ApiToken, AuditEvent, Stream, MasterChange):
        assert not model._base_manager.exists(), model
    told = configure(firm, tmp_path)
    assert [line for line in rehearsed.splitlines() if " created, " in line] == [
        line for line in told.splitlines() if " created, " in line
    ]


@pytest.mark.case(129)
def test_changes_leave_history_with_the_reason_and_one_audit_event_each(firm: str, tmp_path: Path) -> None:
    configure(firm, tmp_path)
    before = AuditEvent.objects.count()
    changed = firm.replace("concurrency = 4", "concurrency = 8").replace("every_seconds = 60", "every_seconds = 120")
    User.objects.create(username="boss")
    told = configure(changed, tmp_path, "--reason", "More calls allowed", "--by", "boss")
    assert "connections: 0 created, 1 changed, 2 unchanged" in told
    assert "streams: 0 created, 1 changed" in told
    row = Connection.history.filter(code="erp").latest()
    assert (row.concurrency, row.history_change_reason, row.history_user.username) == (8, "More calls allowed", "boss")
    assert AuditEvent.objects.count() == before + 1
    event = AuditEvent.objects.latest("id")
    assert (event.action, event.before, event.after) == (
        "connection.configured",
        {"concurrency": 4},
        {"concurrency": 8},
    )
    assert audit.verify() == []


def test_every_mistake_is_named_by_its_path_at_once_and_nothing_is_written(firm: str, tmp_path: Path) -> None:
    wrong = (
        firm.replace('currency = "EUR"', 'currency = "EURO"')
        .replace("https://123.suitetalk.api.netsuite.com", "https://netsuite.attacker.example")
        .replace('token = { env = "TEST_HARVEST_TOKEN" }', 'token = "pat-secret-in-the-file"')
        .replace("batch_size = 50", "bach_size = 50")
        .replace('source = "files-de"', 'source = "erp"')
        .replace('name = "time_entries"', 'name = "times"')
        .replace("weekday = 6", "weekday = 9")
        .replace('rules_off = ["overlap"]', 'rules_of = ["overlap"]')
        .replace('analyst = ["US", "DE"]', 'analist = ["US"], analyst = ["UK"]')
        .replace('email = "ana@example.com"', 'e_mail = "ana@example.com"')
        + "\n[[route]]\n"
    )
    told = refused(wrong, tmp_path)
    expected = [
        "route: is not a section that is known; did you mean routes?",
        "connections[harvest-us].streams[times].name: “times” is not a stream of harvest; it has "
        "time_entries, expenses.",
        "users[ana].e_mail: is not a key that is known here; did you mean email?",
        "users[ana].roles.analist: is not a role; expected one of analyst, project_manager, controller, "
        "admin, auditor.",
        "users[ana].roles.analyst: “UK” is not known as a legal entity.",
        "connections[erp].maintenance[#1].weekday: “9” is not a whole number from 1 to 7.",
        "entities[DE].currency: “EURO” is not a currency in use; expected an ISO 4217 code such as EUR, USD or GBP.",
        "connections[erp].base_url: “https://netsuite.attacker.example” will not do. The host",
        "connections[erp].settings.bach_size: is not a setting of netsuite; it has auth,",
        'connections[harvest-us].credentials.token: does not name where a secret lies; expected { env = "VARIABLE" }',
        "routes[#2].policy: will not do: Policy “rules_of” is not known; the keys are",
    ]
    for sentence in expected:
        assert any(line.startswith(sentence) for line in told), (sentence, told)
    assert not any("pat-secret" in line for line in told)
    assert not LegalEntity.objects.exists()
    assert not User.objects.exists()


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            'roles = ["target"]',
            'roles = ["source", "target", "sink"]',
            "connections[erp].roles: is not a list of roles",
        ),
        (
            'connector = "harvest"',
            'connector = "harwest"',
            "connections[harvest-us].connector: “harwest” is not one of businesscentral, clockify, dynamicsfinance",
        ),
        ('code = "erp"', 'code = "e r p"', "connections[e r p].code: “e r p” is not a code"),
        ('entity = "US"\nroles', "roles", "routes[#1].source: “harvest-us” does not belong to this entity"),
        ('source = "files-de"', 'source = "erp"', "routes[#2].source: “erp” is not a source; give the connection"),
        (
            'target = "erp"\nkind = "time"',
            'target = "harvest-us"\nkind = "time"',
            "routes[#2].target: “harvest-us” is not a target",
        ),
        (
            "http://127.0.0.1:8765/v2",
            "http://10.0.0.8/v2",
            "connections[harvest-us].base_url: “http://10.0.0.8/v2” will not do.",
        ),
        ("http://127.0.0.1:8765/v2", "https://api.harvestapp.com.evil.example", "is not among this connector's hosts"),
        ('decimal = ","', 'decimal = ";"', "connections[files-de].settings.decimal: “;” is not one of ., ,, auto."),
        ('hours = "H"', 'ours = "H"', "connections[files-de].settings.time_columns: names “ours”, which is none of"),
        (
            "calendar = { weekend = [6, 7]",
            "calendar = { weekend = [6, 8]",
            "entities[US].calendar: has a weekend that is not",
        ),
        (
            "holidays = [2026-07-04]",
            'holidays = ["July 4"]',
            "entities[US].calendar: has a holiday “July 4”, which is not a day",
        ),
        (
            'policy = "strict"',
            'policy = "lax"',
            "entities[US].policy: “lax” is not the name of a policy; the file has strict.",
        ),
        (
            "day_hours_max = 12.5",
            "day_hours_max = 0",
            "policies.strict: will not do: Policy “day_hours_max” is 0; it must be",
        ),
        ('rules_off = ["overlap"]', 'rules_off = ["overlaps"]', "Rule “overlaps” of rules_off is not known"),
        (
            'first_month = "2026-06"',
            'first_month = "June"',
            "periods[#1].first_month: “June” is not a month; write it as 2026-07.",
        ),
        (
            'last_month = "2026-08"',
            'last_month = "2026-05"',
            "periods[#1].last_month: “2026-05” is not within 20 years",
        ),
        (
            'entities = ["US", "DE"]',
            'entities = ["US", "FR"]',
            "periods[#1] FR 2026-06.entity: “FR” is not known as a legal entity.",
        ),
        (
            '{ env = "TEST_PASSWORD" }',
            '{ env = "TEST_NOT_SET" }',
            "users[ana].password: the environment variable TEST_NOT_SET is not set here.",
        ),
        (
            '{ env = "TEST_PASSWORD" }',
            '{ env = "TEST_ERP_KEY" }',
            "users[ana].password: is refused. This password is too short",
        ),
        (
            '{ env = "TEST_TOKEN" }',
            '{ env = "TEST_ERP_KEY" }',
            "users[robot].tokens[fixed].token: is shorter than 32 characters",
        ),
        ('username = "robot"', 'username = "ana"', "users[ana]: “ana” stands twice in the file."),
        (
            "minutes = 180",
            "minutes = 180\nstarts_at = 2026-08-01T00:00:00Z",
            "is neither once (starts_at, ends_at) nor every week",
        ),
        ('[[entities]]\ncode = "US"', '[[entities]]\ncode = "US', "firm.toml: is not TOML:"),
        (
            'kinds = ["time", "expense"]',
            'kinds = ["time", "travel"]',
            "routes[#1].kind: “travel” is not one of time, expense, invoice.",
        ),
        (
            "concurrency = 4",
            "concurrency = 0",
            "connections[erp].concurrency: “0” is not a whole number from 1 to 100.",
        ),
        (
            "credentials = { token =",
            "settings = { token = 1 }\ncredentials = { token =",
            "connections[harvest-us].settings.token: is a secret",
        ),
        (
            'credentials = { token = { env = "TEST_HARVEST_TOKEN" } }',
            "",
            "connections[harvest-us].credentials.token: is missing; harvest needs it",
        ),
        (
            'credentials = { private_key = { env = "TEST_ERP_KEY" } }',
            'credentials = "pem-in-the-file"',
            "connections[erp].credentials: is not a table.",
        ),
        ('parent = "US"', 'parent = "DE"', "entities[DE].parent: “DE” closes a circle: DE → DE."),
        pytest.param(
            'roles = ["source"]\nbase_url = "http',
            'roles = ["source", "recipient"]\nsettings = { owns = ["project"], provisions = ["customer", "project"] }'
            '\nbase_url = "http',
            "connections[harvest-us].settings.provisions: “project” is owned by this very connection",
            marks=pytest.mark.case(122),
        ),
    ],
)
def test_a_mistake_names_its_path_its_value_and_what_was_expected(
    firm: str, tmp_path: Path, old: str, new: str, expected: str
) -> None:
    assert old in firm
    told = refused(firm.replace(old, new, 1), tmp_path)
    assert any(expected in line for line in told), told
    assert not Connection.objects.exists()


def test_loopback_is_refused_where_the_settings_do_not_allow_it(firm: str, tmp_path: Path, settings: Settings) -> None:
    settings.ALLOW_LOOPBACK = False
    assert any("allow loopback in the settings to use it" in line for line in refused(firm, tmp_path))


def test_a_host_that_the_settings_add_is_reached(firm: str, tmp_path: Path, settings: Settings) -> None:
    settings.VENDOR_HOSTS = ["erp-gateway.example"]
    configure(firm.replace("123.suitetalk.api.netsuite.com", "eu.erp-gateway.example"), tmp_path)
    assert Connection.objects.get(code="erp").base_url == "https://eu.erp-gateway.example"


def test_a_secret_that_is_not_there_yet_is_a_warning(
    firm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TEST_HARVEST_TOKEN")
    told = configure(firm, tmp_path)
    assert "Warning: connections[harvest-us].credentials.token: the environment variable TEST_HARVEST_TOKEN" in told


def test_a_month_that_was_closed_by_people_is_not_opened_again_by_a_range_but_by_its_own_period(
    firm: str, tmp_path: Path
) -> None:
    configure(firm, tmp_path)
    july = AccountingPeriod.objects.get(entity__code="US", code="2026-07")
    july.state = "closed"
    july.save()
    configure(firm, tmp_path)
    july.refresh_from_db()
    assert july.state == "closed"
    listed = (
        '\n[[periods]]\nentity = "US"\ncode = "2026-07"\nstarts_on = 2026-07-01\nends_on = 2026-07-31\nstate = "open"\n'
    )
    ranged = (
        '[[periods]]\nentities = ["US", "DE"]\nfirst_month = "2026-06"\nlast_month = "2026-08"\n'
        'closed_through = "2026-06"\nopen_through = "2026-07"\n'
    )
    configure(firm.replace(ranged, listed), tmp_path)
    july.refresh_from_db()
    assert july.state == "open"
    assert MasterChange.objects.filter(kind="period", internal_id=july.pk).count() == 2


def test_what_a_file_does_not_mention_stays_and_lists_within_a_mentioned_row_are_whole(
    firm: str, tmp_path: Path
) -> None:
    configure(firm, tmp_path)
    configure('[[users]]\nusername = "ana"\nroles = { analyst = ["US"] }\n', tmp_path)
    assert Connection.objects.count() == 3
    ana = User.objects.get(username="ana")
    assert list(EntityGrant.objects.filter(user=ana).values_list("role", "entity__code")) == [("analyst", "US")]
    assert ana.check_password("correct horse battery")
    minimal = (
        '[[connections]]\ncode = "erp"\nname = "NetSuite"\nconnector = "netsuite"\nroles = ["target"]\n'
        "maintenance = []\n"
    )
    configure(minimal, tmp_path)
    assert not MaintenanceWindow.objects.exists()
    assert Connection.objects.get(code="erp").concurrency == 4


def test_overlapping_routes_of_one_source_are_refused(firm: str, tmp_path: Path) -> None:
    more = (
        firm
        + '\n[[routes]]\nentity = "US"\nsource = "harvest-us"\ntarget = "erp"\nkind = "time"\nvalid_from = 2026-09-01\n'
    )
    told = refused(more, tmp_path)
    assert "a source has one route a day for each kind. End the earlier one with valid_to 2026-08-31." in told[0]


def test_a_failure_late_in_the_file_leaves_nothing_half_applied(
    firm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **named: object) -> None:
        raise RuntimeError("the disk is full")

    monkeypatch.setattr("integrations.configuration.people.apply", fail)
    with pytest.raises(RuntimeError):
        configure(firm, tmp_path)
    assert not LegalEntity.objects.exists()
    assert not AuditEvent.objects.exists()


def test_a_file_that_is_not_there_is_refused_in_words(tmp_path: Path) -> None:
    out = io.StringIO()
    with pytest.raises(CommandError, match="Nothing was changed: 1 problem,"):
        call_command("configure", str(tmp_path / "none.toml"), stdout=out, stderr=out)
    assert "cannot be read: No such file or directory." in out.getvalue()
