"""A connection added and changed by a form: typed secrets are sealed, a test comes first, and a second person approves."""

from __future__ import annotations

import re
import socket
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command
from django.db import connection as database
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from integrations import abilities, connections, registry, vault
from integrations.errors import Unauthorised
from integrations.models import KeptSecret, Run, Stream
from integrations.sandbox.harvest import ACCOUNT_ID
from integrations.sandbox.harvest import TOKEN as HARVEST_TOKEN
from integrations.sandbox.salesforce import CLIENT_ID, CLIENT_SECRET
from integrations.sandbox.server import control
from portal.models import AuditEvent, Connection, GrantRole, LegalEntity, User
from reconciliation import changes
from reconciliation.changes import Line
from reconciliation.models import ChangeSet, Route
from tests import world

pytestmark = pytest.mark.django_db

TOKEN = "a token that nobody may ever see"


@pytest.fixture
def us() -> LegalEntity:
    return world.entity("US", "USD")


@pytest.fixture
def ada(us: LegalEntity) -> User:
    return world.user("ada", GrantRole.ADMIN, us)


@pytest.fixture
def cleo(us: LegalEntity) -> User:
    return world.user("cleo", GrantRole.CONTROLLER, us)


def given(**more: Any) -> dict[str, Any]:
    return {
        "action": "propose", "code": "harvest-us", "name": "Harvest US", "entity": "US", "base_url": "https://api.harvestapp.com",
        "realm": "4711", "zone": "UTC", "concurrency": "1", "active": "true", "source": "on", "secret-token": TOKEN,
        "setting-use_rounded_hours": "true", "setting-overlap_minutes": "30", "stream-time_entries": "300",
        "stream-expenses": "", "reason": "The US offices track in Harvest.", **more,
    }  # fmt: skip


def connect(client: Client, person: User, **more: Any) -> Any:
    client.force_login(person)
    return client.post(reverse("connection_new", args=["harvest"]), given(**more))


def connected(client: Client, ada: User, cleo: User, **more: Any) -> Connection:
    assert connect(client, ada, **more).status_code == 303
    change_set = ChangeSet.objects.latest("pk")
    changes.approve(change_set, cleo, "looks right", signed_in_again=True)
    changes.apply(change_set)
    return Connection.objects.get(code="harvest-us")


def harvest(sandbox: str) -> str:
    control(sandbox, "POST", "harvest/reset", {})
    return f"{sandbox}/harvest/v2"


def text_of(response: Any) -> str:
    return " ".join(response.content.decode().split())


def test_a_form_becomes_a_change_set_and_the_approved_connection_reads_with_the_sealed_secret(
    client: Client, ada: User, cleo: User
) -> None:
    client.force_login(ada)
    page = text_of(client.get(reverse("connection_choose")))
    assert all(abilities.offered(name).title in page for name in registry.CONNECTORS)
    page = text_of(client.get(reverse("connection_new", args=["harvest"])))
    assert "Personal access token" in page
    assert 'type="password"' in page

    page = text_of(client.get(reverse("connection_new", args=["dynamicsfinance"])))
    assert "its dataAreaId, such as usmf. Mappings belong to it." in page

    usual, assumed = page.split("<summary>What is assumed of Dynamics 365 Finance</summary>")
    assert 'name="setting-upstream_timeout"' in assumed
    assert 'name="setting-upstream_timeout"' not in usual

    response = connect(client, ada)
    change_set = ChangeSet.objects.get()
    assert response["Location"] == reverse("change_set", args=[change_set.pk])
    assert (change_set.state, change_set.title) == ("submitted", "Connect Harvest US")
    assert not Connection.objects.exists()
    with pytest.raises(changes.ChangeRefused):
        changes.approve(change_set, ada, "mine", signed_in_again=True)
    with pytest.raises(changes.SignInAgain, match="credentials"):
        changes.approve(change_set, cleo, "looks right")
    changes.approve(change_set, cleo, "looks right", signed_in_again=True)
    changes.apply(change_set)

    made = Connection.objects.get()
    assert (made.entity.code if made.entity else "", made.is_source, made.is_recipient) == ("US", True, False)
    assert made.settings == {"use_rounded_hours": True, "overlap_minutes": 30}
    assert list(Stream.objects.values_list("name", "every_seconds")) == [("time_entries", 300)]
    assert Stream.objects.get().next_due_at is not None
    assert registry.account(made).secrets == {"token": TOKEN}


def test_a_typed_secret_stands_nowhere_in_the_open(client: Client, ada: User, cleo: User) -> None:
    made = connected(client, ada, cleo)
    for page in (
        reverse("connection", args=[made.code]), reverse("connection_edit", args=[made.code]),
        reverse("change_set", args=[ChangeSet.objects.get().pk]), reverse("audit"),
    ):  # fmt: skip
        assert TOKEN not in client.get(page).content.decode()
    assert "kept here since" in text_of(client.get(reverse("connection", args=[made.code])))
    with database.cursor() as cursor:
        for table in database.introspection.table_names(cursor):
            cursor.execute(f"SELECT count(*) FROM {table} t WHERE t::text LIKE %s", [f"%{TOKEN}%"])
            assert cursor.fetchone() == (0,), table
    assert AuditEvent.objects.filter(action="secret.kept").get().after == {
        "connection": "harvest-us",
        "secrets": ["token"],
    }


def test_each_mistake_is_said_at_its_field_and_nothing_is_lost(client: Client, ada: User) -> None:
    response = connect(
        client, ada, code="harvest us", base_url="https://evil.example", zone="Mars/Olympus",
        **{"setting-overlap_minutes": "often"},
    )  # fmt: skip
    page = text_of(response)
    assert response.status_code == 422
    assert "is not a code" in page
    assert "Mars/Olympus" in page
    assert 'value="The US' not in page
    assert "The US offices track in Harvest." in page
    assert not ChangeSet.objects.exists()
    page = text_of(connect(client, ada, base_url="https://evil.example", **{"setting-overlap_minutes": "often"}))
    assert "is not a whole number" in page
    assert "evil.example" in page
    page = text_of(connect(client, ada, source=""))
    assert "it is a source, a target, a recipient, a biller or several" in page
    page = text_of(connect(client, ada, **{"secret-token": "", "place-token": "somewhere"}))
    assert "names no place" in page
    page = text_of(connect(client, ada, **{"secret-token": ""}))
    assert "is missing; harvest needs it" in page


def test_a_test_asks_the_vendor_keeps_nothing_but_the_seal_and_the_proposal_needs_no_second_typing(
    client: Client, ada: User, sandbox: str
) -> None:
    address = harvest(sandbox)
    page = text_of(connect(client, ada, action="test", base_url=address, **{"secret-token": "wrong"}))
    assert "It does not answer." in page
    good = HARVEST_TOKEN
    response = connect(client, ada, action="test", base_url=address, realm=ACCOUNT_ID, **{"secret-token": good})
    page = text_of(response)
    assert "It answers." in page
    assert good not in page
    assert not ChangeSet.objects.exists()
    carried = re.search(r'name="carried" value="([^"]+)"', page)
    assert carried is not None
    connect(client, ada, base_url=address, carried=carried[1], **{"secret-token": ""})
    change_set = ChangeSet.objects.get()
    line = change_set.lines.get(model="connection")
    assert line.values["credentials"] == {"token": {"stored": KeptSecret.objects.latest("pk").pk}}


def test_a_test_needs_no_reason_and_a_secret_is_typed_once_though_the_form_was_not_complete(
    client: Client, ada: User, sandbox: str
) -> None:
    address, good = harvest(sandbox), HARVEST_TOKEN
    page = text_of(connect(client, ada, base_url=address, realm=ACCOUNT_ID, reason="", **{"secret-token": good}))
    assert "This field is required." in page
    assert "What you typed as credentials is sealed" in page
    assert good not in page
    carried = re.search(r'name="carried" value="([^"]+)"', page)
    assert carried is not None
    again = {"base_url": address, "realm": ACCOUNT_ID, "reason": "", "carried": carried[1], "secret-token": ""}
    assert "It answers." in text_of(connect(client, ada, action="test", **again))
    assert not ChangeSet.objects.exists()


def test_what_was_typed_for_one_code_goes_with_the_proposal_under_another_and_a_kept_secret_holds_its_code(
    client: Client, ada: User, cleo: User
) -> None:
    page = text_of(connect(client, ada, reason=""))
    carried = re.search(r'name="carried" value="([^"]+)"', page)
    assert carried is not None
    assert connect(client, ada, code="harvest-usa", carried=carried[1], **{"secret-token": ""}).status_code == 303
    change_set = ChangeSet.objects.get()
    changes.approve(change_set, cleo, "yes", signed_in_again=True)
    changes.apply(change_set)
    made = Connection.objects.get(code="harvest-usa")
    assert registry.account(made).secrets == {"token": TOKEN}
    renamed = Line("connection", made.pk, changes.Action.CHANGE, {"code": "harvest-new"})
    with pytest.raises(changes.ChangeRefused, match="token is sealed for “harvest-usa”"):
        changes.draft(by=ada, title="Rename it", reason="shorter", lines=[renamed])
    thief = world.user("thief", GrantRole.ADMIN, made.entity)
    assert "is missing" in text_of(connect(client, thief, code="theirs", carried=carried[1], **{"secret-token": ""}))


def test_what_was_sealed_for_a_proposal_that_was_refused_is_still_there_for_the_next(client: Client, ada: User) -> None:
    page = text_of(connect(client, ada, source=""))
    assert "it is a source, a target" in page
    carried = re.search(r'name="carried" value="([^"]+)"', page)
    assert carried is not None
    assert connect(client, ada, carried=carried[1], **{"secret-token": ""}).status_code == 303
    kept = ChangeSet.objects.get().lines.get(model="connection").values["credentials"]["token"]["stored"]
    assert KeptSecret.objects.filter(pk=kept).exists()


def test_a_private_key_is_typed_and_never_shown_again(client: Client, ada: User) -> None:
    client.force_login(ada)
    form = {
        "action": "propose", "code": "ns", "name": "NetSuite", "entity": "US", "base_url": "https://1.suitetalk.api.netsuite.com",
        "realm": "1", "zone": "UTC", "concurrency": "1", "active": "true", "target": "on", "reason": "",
        "secret-private_key": "-----BEGIN PRIVATE KEY-----",
    }  # fmt: skip
    response = client.post(reverse("connection_new", args=["netsuite"]), form)
    assert response.status_code == 422
    assert 'name="secret-private_key"' in response.content.decode()
    assert "BEGIN PRIVATE KEY" not in response.content.decode()


@pytest.mark.parametrize("scheme", ["", "file://", "FILE://"])
def test_a_folder_of_this_machine_is_read_only_once_another_person_agreed_to_it(
    client: Client, ada: User, tmp_path: Any, scheme: str
) -> None:
    (tmp_path / "secret.csv").write_text("a,b\n")
    client.force_login(ada)
    form = {
        "code": "drop",
        "name": "Drop",
        "entity": "US",
        "base_url": f"{scheme}{tmp_path}",
        "realm": "x",
        "zone": "UTC",
    }
    more = {"concurrency": "1", "active": "true", "source": "on", "action": "test", "setting-time_pattern": "secret*"}
    page = text_of(client.post(reverse("connection_new", args=["files"]), {**form, **more}))
    assert "read once another person has approved it" in page


def test_a_connection_with_routes_is_given_to_no_other_entity(
    client: Client, ada: User, cleo: User, us: LegalEntity
) -> None:
    made = connected(client, ada, cleo)
    ann = world.user("ann", GrantRole.ADMIN, everywhere=True)
    other = world.connection("books", "netsuite", is_target=True, is_source=True)
    nl = world.entity("NL", "EUR")

    def moved() -> None:
        line = Line("connection", made.pk, "change", {"entity": nl.code})
        changes.draft(by=ann, title="Theirs", reason="they asked", lines=[line])

    route = Route.objects.create(entity=us, source=made, target=other, kind="time", valid_from="2026-01-01")
    with pytest.raises(changes.ChangeRefused, match="a route of US begins at it; end the route first"):
        moved()
    route.source, route.target = other, made
    route.save()
    with pytest.raises(changes.ChangeRefused, match="a route of US leads to it; end the route first"):
        moved()
    route.valid_to = "2026-02-01"
    route.save()
    moved()


def test_what_was_sealed_for_one_connection_opens_for_no_other(client: Client, ada: User, cleo: User) -> None:
    made = connected(client, ada, cleo)
    kept = made.credentials["token"]["stored"]
    thief = Connection(code="other", connector="harvest", credentials={"token": {"stored": kept}})
    with pytest.raises(Unauthorised, match="no secret"):
        registry.account(thief)
    KeptSecret.objects.filter(pk=kept).update(connection_code="other")
    with pytest.raises(Unauthorised, match="another connection"):
        registry.account(thief)
    page = text_of(connect(client, ada, code="third", carried="forged", **{"secret-token": ""}))
    assert "is missing" in page


def test_a_change_names_what_differs_and_an_empty_secret_keeps_what_stands(
    client: Client, ada: User, cleo: User
) -> None:
    made = connected(client, ada, cleo)
    address = reverse("connection_edit", args=[made.code])
    client.force_login(ada)
    told = given(name="Harvest of the US", **{"secret-token": "", "stream-time_entries": "3600"})
    assert client.post(address, told).status_code == 303
    change_set = ChangeSet.objects.latest("pk")
    assert {line.model: line.values for line in change_set.lines.all()} == {
        "connection": {"name": "Harvest of the US"}, "stream": {"every_seconds": "3600"},
    }  # fmt: skip
    changes.approve(change_set, cleo, "yes")
    changes.apply(change_set)
    made.refresh_from_db()
    assert (made.name, registry.account(made).secrets) == ("Harvest of the US", {"token": TOKEN})
    assert "Nothing differs" in text_of(client.post(address, told))


def test_kept_credentials_are_never_sent_to_an_address_that_nobody_approved(
    client: Client, ada: User, cleo: User, sandbox: str
) -> None:
    made = connected(client, ada, cleo)
    client.force_login(ada)
    told = given(action="test", base_url=f"{sandbox}/harvest/v2", **{"secret-token": ""})
    page = text_of(client.post(reverse("connection_edit", args=[made.code]), told))
    assert "are not sent there" in page


def test_a_place_that_is_only_named_is_read_by_nobody_before_another_person_approved_it(
    client: Client, ada: User, cleo: User, sandbox: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any, settings: Any
) -> None:
    monkeypatch.setenv("OTHER_TOKEN", "of-another-connection")
    made = connected(client, ada, cleo)
    client.force_login(ada)
    address = reverse("connection_edit", args=[made.code])
    sent: list[Any] = []
    monkeypatch.setattr(connections, "try_out", lambda *told: sent.append(told))
    told = given(action="test", **{"secret-token": "", "place-token": "env:OTHER_TOKEN"})
    assert "once another person has approved it" in text_of(client.post(address, told))
    assert sent == []
    page = text_of(client.post(address, given(**{"secret-token": "", "place-token": "env:DATABASE_URL"})))
    assert "is a variable of this installation itself" in page
    page = text_of(client.post(address, given(**{"secret-token": "", "place-token": "file:/etc/shadow"})))
    assert "does not lie in a folder for credentials" in page
    settings.CREDENTIAL_FOLDERS = [str(tmp_path)]
    page = text_of(client.post(address, given(**{"secret-token": "", "place-token": f"file:{tmp_path}/../up"})))
    assert "does not lie in a folder for credentials" in page
    assert (
        client.post(address, given(**{"secret-token": "", "place-token": f"file:{tmp_path}/token"})).status_code == 303
    )


def test_another_address_is_decided_by_somebody_who_signs_in_again(client: Client, ada: User, cleo: User) -> None:
    made = connected(client, ada, cleo)
    client.force_login(ada)
    told = given(realm="4712", **{"secret-token": ""})
    assert client.post(reverse("connection_edit", args=[made.code]), told).status_code == 303
    with pytest.raises(changes.SignInAgain, match="realm"):
        changes.approve(ChangeSet.objects.latest("pk"), cleo, "looks right")


def test_only_those_who_configure_the_entity_change_its_connections(
    client: Client, ada: User, cleo: User, us: LegalEntity
) -> None:
    made = connected(client, ada, cleo)
    for person, entity, expected in (
        ("analyst", us, 403), ("auditor", us, 403), ("stranger", world.entity("DE", "EUR"), 404),
    ):  # fmt: skip
        role = {"analyst": GrantRole.ANALYST, "auditor": GrantRole.AUDITOR}.get(person, GrantRole.ADMIN)
        client.force_login(world.user(person, role, entity))
        assert client.get(reverse("connection_edit", args=[made.code])).status_code == expected
    assert "US ·" not in text_of(client.get(reverse("connection_new", args=["harvest"])))


def test_a_shared_connection_is_every_entitys(client: Client, ada: User, us: LegalEntity) -> None:
    world.entity("DE", "EUR")
    shared = Connection.objects.create(
        code="erp", name="ERP", connector="netsuite", is_target=True, base_url="https://1.suitetalk.api.netsuite.com"
    )
    client.force_login(ada)
    assert client.get(reverse("connection_edit", args=["erp"])).status_code == 403
    with pytest.raises(Exception, match="role"):
        changes.draft(
            by=ada, title="Take it over", reason="because",
            lines=[changes.Line("connection", shared.pk, "change", {"name": "Mine"})],
        )  # fmt: skip


def test_keys_rotate_and_a_lost_key_is_said(client: Client, ada: User, cleo: User, settings: Any) -> None:
    made = connected(client, ada, cleo)
    old, new = settings.SECRET_RING[0], Fernet.generate_key().decode()
    settings.SECRET_RING = [new, old]
    call_command("rotate_secrets", stdout=(said := StringIO()))
    assert "1 sealed again" in said.getvalue()
    settings.SECRET_RING = [new]
    assert registry.account(made).secrets == {"token": TOKEN}
    settings.SECRET_RING = [old]
    with pytest.raises(Unauthorised, match="no key of TIEOUT_SECRET_RING"):
        registry.account(made)
    with pytest.raises(CommandError, match="1 open with no key"):
        call_command("rotate_secrets")
    settings.SECRET_RING = []
    with pytest.raises(vault.NoRing):
        vault.keep("harvest-us", "token", "x", ada)
    client.force_login(ada)
    page = text_of(client.get(reverse("connection_edit", args=[made.code])))
    assert 'type="password"' not in page
    assert "TIEOUT_SECRET_RING" in page


def test_a_vendor_that_says_nothing_ends_a_test_with_a_sentence_soon_however_many_calls_it_takes(
    client: Client, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert connections.PATIENCE == 15
    monkeypatch.setattr(connections, "PATIENCE", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        page = text_of(connect(client, ada, action="test", base_url=f"http://127.0.0.1:{silent.getsockname()[1]}/v2"))
    assert "It does not answer." in page
    assert "It gave no whole answer: no" in page
    assert "Unavailable" not in page


def test_every_setting_is_held_to_what_its_connector_declares_in_a_test_and_in_a_proposal_alike(
    client: Client, ada: User
) -> None:
    wrong = {"setting-start_on": "31.12.2025", "setting-page_size": "99999999", "setting-currency": "euro"}
    said = (
        "“31.12.2025” is not a day; write it as 2026-01-31, or leave it empty.",
        "“99999999” is not a whole number from 1 to 2000, as 2000",
        "“euro” is not a currency; write its three letters, as EUR, or leave it empty.",
    )
    for action in ("test", "propose"):
        answer = connect(client, ada, action=action, **wrong)
        page = text_of(answer)
        assert answer.status_code == 422, action
        assert [one for one in said if one not in page] == [], action
    assert not ChangeSet.objects.exists()


def test_a_word_of_ours_chooses_from_the_fields_that_the_account_has_and_one_that_it_lacks_is_named(
    client: Client, ada: User, sandbox: str
) -> None:
    control(sandbox, "POST", "salesforce/reset", {})
    client.force_login(ada)
    address = reverse("connection_new", args=["salesforce"])
    told = {
        "action": "test", "code": "crm", "name": "CRM", "entity": "US", "base_url": f"{sandbox}/salesforce", "zone": "UTC",
        "concurrency": "1", "active": "true", "recipient": "on", "subscribes": ["invoice"], "reason": "The account team asks.",
        "setting-client_id": CLIENT_ID, "secret-client_secret": CLIENT_SECRET, "setting-currency": "USD",
        "setting-invoice_fields_number": "Nmbr__c", "setting-invoice_fields_due_on": "-",
    }  # fmt: skip
    assert 'placeholder="Number__c"' in text_of(client.get(address))
    wrong = text_of(client.post(address, told))
    assert "It does not answer." in wrong
    assert "Number: the account has no field “Nmbr__c”." in wrong
    assert wrong.count('aria-invalid="true"') == 1
    right = told | {"setting-invoice_fields_number": "Kind__c"}
    page = text_of(client.post(address, right))
    assert "It answers." in page
    assert 'list="id_setting-invoice_fields_fields"' in page
    assert '<option value="Number__c">' in page
    assert "the account has no field" not in page
    carried = re.search(r'name="carried" value="([^"]+)"', page)
    assert carried is not None
    right |= {"action": "propose", "carried": carried[1], "secret-client_secret": ""}
    assert client.post(address, right).status_code == 303
    line = ChangeSet.objects.get().lines.get(model="connection")
    assert line.values["settings"]["invoice_fields"] == {"number": "Kind__c", "due_on": ""}


def test_a_heading_of_a_file_is_chosen_from_those_of_the_newest_one(client: Client, ada: User, tmp_path: Path) -> None:
    columns = {"person": "Wer", "date": "Tag", "project": "Projekt", "hours": "Std"}
    (tmp_path / "time-1.csv").write_text("Nr,Wer,Tag,Projekt,Std\n1,ada,2026-03-02,P,8\n")
    made = Connection.objects.create(
        code="nightly", name="Nightly", connector="files", entity=LegalEntity.objects.get(), base_url=str(tmp_path),
        is_source=True, settings={"settle_seconds": 0, "time_columns": columns},
    )  # fmt: skip
    found = connections.try_out("files", registry.account(made))
    assert found.fields == {"time_columns": ("Nr", "Wer", "Tag", "Projekt", "Std")}, found.sentence


def test_every_number_that_a_connector_declares_has_bounds_and_its_default_lies_within(client: Client) -> None:
    for name in registry.CONNECTORS:
        for one in registry.connector_type(name).settings:
            if isinstance(one.default, int) and not isinstance(one.default, bool):
                assert None not in (one.least, one.most), (name, one.name)
            assert one.default is None or not one.objection(one.default), (name, one.name)


def test_a_connection_in_use_is_not_taken_out_by_a_roll_back_but_switched_off(
    client: Client, ada: User, cleo: User, us: LegalEntity
) -> None:
    connection = connected(client, ada, cleo)
    Run.objects.create(
        connection=connection, stream="time_entries", trigger=Run.Trigger.SCHEDULE, started_at=timezone.now(),
        heartbeat_at=timezone.now(),
    )  # fmt: skip
    made = ChangeSet.objects.latest("pk")
    with pytest.raises(changes.InUse, match=r"is named by .* switch it off, or change it instead"):
        changes.roll_back(made, ada)
    undone = changes.submit(changes.roll_back(made, ada, ends=True), ada)
    changes.apply(changes.approve(undone, cleo, "not used any more", signed_in_again=True))
    connection.refresh_from_db()
    assert not connection.is_active
