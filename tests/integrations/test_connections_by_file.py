"""Connections by file: agreed to by two, switched off until their secrets are given on their page, exported as they import."""

from __future__ import annotations

import re
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from integrations import registry, work
from integrations.models import Stream
from integrations.protocol import Setting
from portal.models import Connection, GrantRole, LegalEntity, User
from reconciliation import changes, onboarding
from reconciliation.changes import Line
from reconciliation.models import ChangeSet, MasterImport
from reconciliation.onboarding.checklist import checklist
from tests import world

pytestmark = pytest.mark.django_db

FILE = (
    "Code,Name,Vendor,Company,source,Base URL,Realm,Zone,Settings\n"
    "harvest-us,Harvest US,Harvest,US,yes,https://api.harvestapp.com/v2,4711,America/New_York,"
    '"{""contact"": ""it@firm.example""}"\n'
    "drop-us,Nightly files,Files,US,yes,,,UTC,\n"
)


@pytest.fixture
def us() -> LegalEntity:
    return world.entity("US", "USD")


@pytest.fixture
def ada(us: LegalEntity, client: Client, settings: Any) -> User:
    settings.SECRET_RING = [Fernet.generate_key().decode()]
    person = world.user("ada", GrantRole.CONTROLLER, us)
    client.force_login(person)
    return person


@pytest.fixture
def carl(us: LegalEntity) -> User:
    return world.user("carl", GrantRole.CONTROLLER, us)


def sent(client: Client, text: str, kind: str = "connection") -> Any:
    file = SimpleUploadedFile("connections.csv", text.encode())
    return client.post(reverse("import_new"), {"kind": kind, "file": file})


def drafted(client: Client, text: str, kind: str = "connection") -> ChangeSet:
    answer = sent(client, text, kind)
    assert answer.status_code == 303, answer.content.decode()
    made = MasterImport.objects.latest("pk")
    answer = client.post(reverse("import", args=[made.pk]), {"action": "draft", "reason": "The new office"})
    assert answer.status_code == 303, re.findall(r"(?s)<main.*</main>", answer.content.decode())
    return ChangeSet.objects.latest("pk")


def agreed(change_set: ChangeSet, by: User) -> None:
    changes.submit(change_set, change_set.created_by)
    changes.approve(change_set, by, "Read it", signed_in_again=True)
    changes.apply(change_set)


def text_of(answer: Any) -> str:
    return " ".join(answer.content.decode().split())


def exported(client: Client, of: str) -> str:
    answer = client.get(reverse("connections"), {"export": "csv", "of": of})
    assert answer.status_code == 200
    content: str = answer.getvalue().decode("utf-8-sig")
    return content


@pytest.mark.case(127)
def test_connections_come_by_file_and_are_not_used_until_somebody_gives_what_they_sign_in_with(
    client: Client, ada: User, carl: User, us: LegalEntity
) -> None:
    begun = onboarding.begin(us, None, by=ada, reason="Acquired")
    change_set = drafted(client, FILE)
    assert not Connection.objects.exists()
    agreed(change_set, carl)
    made = Connection.objects.get(code="harvest-us")
    assert (made.connector, made.entity, made.is_source, made.is_active) == ("harvest", us, True, False)
    assert (made.settings, made.credentials) == ({"contact": "it@firm.example"}, {})
    assert Connection.objects.get(code="drop-us").is_active, "a folder that is filled by upload needs no secret"
    assert set(Stream.objects.filter(connection=made).values_list("name", flat=True)) == {"time_entries", "expenses"}
    assert {work.pull(one.pk) for one in Stream.objects.filter(connection=made)} == {None}, "nothing is read from it"

    # the page says what is missing, and the checklist holds it open
    assert "Personal access token must still be given" in text_of(
        client.get(reverse("connection", args=["harvest-us"]))
    )
    items = {one.code: one for one in checklist(begun)}
    assert items["tested"].fails

    # it is used only once the secret is there, and then by a second person's word
    with pytest.raises(changes.ChangeRefused, match="is missing; harvest needs it"):
        changes.draft(
            by=ada, title="Use it", reason="now", lines=[Line("connection", made.pk, "change", {"active": "true"})]
        )
    form = {
        "action": "propose", "name": "Harvest US", "entity": "US", "base_url": made.base_url, "realm": "4711",
        "zone": "America/New_York", "concurrency": "1", "active": "true", "source": "on", "secret-token": "a token",
        "setting-contact": "it@firm.example", "stream-time_entries": "900", "stream-expenses": "900", "reason": "Its token",
    }  # fmt: skip
    shown = client.get(reverse("connection_edit", args=["harvest-us"])).content.decode()
    assert '<option value="true" selected>yes' in shown, "with its secret it is used"
    answer = client.post(reverse("connection_edit", args=["harvest-us"]), form)
    assert answer.status_code == 303, answer.content.decode()
    given = ChangeSet.objects.latest("pk")
    changes.approve(given, carl, "Read it", signed_in_again=True)
    changes.apply(given)
    made.refresh_from_db()
    assert (made.is_active, registry.account(made).secrets) == (True, {"token": "a token"})

    # what is exported holds no secret, and imports to nothing
    again = exported(client, "import")
    assert "a token" not in again
    assert "credentials" not in again
    assert sent(client, again).status_code == 303
    assert "Nothing changes" in text_of(client.get(reverse("import", args=[MasterImport.objects.latest("pk").pk])))
    assert sent(client, exported(client, "streams"), "stream").status_code == 303
    assert "Nothing changes" in text_of(client.get(reverse("import", args=[MasterImport.objects.latest("pk").pk])))
    schedule = drafted(client, "connection,name,every_seconds\nharvest-us,time_entries,300\n", "stream")
    agreed(schedule, carl)
    assert Stream.objects.get(connection=made, name="time_entries").every_seconds == 300


def test_the_row_says_what_must_still_be_given_and_the_mistakes_of_a_file_stand_at_their_rows(
    client: Client, ada: User
) -> None:
    assert sent(client, FILE).status_code == 303
    page = text_of(client.get(reverse("import", args=[MasterImport.objects.get().pk])))
    assert "until Personal access token is given on the page of the connection" in page
    assert page.count("is given on the page of the connection") == 2, "once at the row, once among what to think about"
    bad = (
        "code,name,connector,entity,source,base_url,settings\n"
        "one,One,harvest,US,yes,https://evil.example,\n"
        'two,Two,harvest,US,yes,https://api.harvestapp.com,"{""colour"": ""red""}"\n'
        "three,Three,kantata,US,yes,,\n"
        "four,Four,harvest,DE,yes,https://api.harvestapp.com,\n"
        "five,Five,files,US,,,\n"
    )
    assert sent(client, bad).status_code == 303
    page = text_of(client.get(reverse("import", args=[MasterImport.objects.latest("pk").pk])))
    for said in (
        "evil.example",
        "is not a setting of harvest",
        "kantata",
        "“DE” is not known",
        "brings nothing and takes",
    ):
        assert said in page


@pytest.mark.parametrize(
    "text",
    [
        "code,name,connector,API token\nh,H,harvest,s3cr3t-value\n",
        'code,name,connector,settings\nh,H,harvest,"{""token"": ""s3cr3t-value""}"\n',
        'code,name,connector,settings\nh,H,harvest,"{""password"": ""s3cr3t-value"",}"\n',
        'code,name,Vendor,settings\nn,N,NetSuite,"{""token_id"": ""1"", ""token_secret"": ""s3cr3t-value""}"\n',
        'code,name,Vendor,settings\nb,B,Business Central,"{""client_state"": ""s3cr3t-value""}"\n',
        'code,name,connector,settings\nh,H,harvest,"{""token_id"": ""s3cr3t-value""}"\n',
    ],
)
def test_a_file_that_holds_a_secret_is_not_even_kept(client: Client, ada: User, text: str) -> None:
    answer = sent(client, text)
    assert answer.status_code == 422
    assert "files are kept as they come" in text_of(answer)
    assert "s3cr3t-value" not in answer.content.decode()
    assert not MasterImport.objects.exists()


def told_of(setting: Setting) -> Any:
    """A value that a setting takes."""
    if setting.long:
        words = [word for word in setting.words if not word.endswith("_name")]
        return "\n".join(f"{word} = {word}" for word in words) or "Freigegeben = approved"
    if setting.choices:
        return setting.choices[-1]
    if setting.shape:
        return {"day": "2026-01-31", "currency": "USD", "zone": "UTC", "address": "https://firm.example"}[setting.shape]
    return setting.default if setting.default is not None else f"our {setting.name}"


def test_what_is_exported_with_every_setting_of_every_vendor_imports_as_unchanged(
    client: Client, ada: User, us: LegalEntity
) -> None:
    given: dict[str, dict[str, Any]] = {}
    for name in sorted(registry.CONNECTORS):
        kind = registry.connector_type(name)
        given[name] = {one.name: told_of(one) for one in kind.settings if not one.secret}
        role = "is_source" if hasattr(kind, "pull") else "is_target"
        made = world.connection(f"our-{name}", name, owner=us, is_active=False, settings=given[name], **{role: True})
        if name == "files":
            made.base_url = ""  # it is filled by upload
            made.save()
    assert given["netsuite"]["token_id"] == "our token_id"
    answer = sent(client, exported(client, "import"))
    assert answer.status_code == 303, text_of(answer)
    brought = MasterImport.objects.latest("pk")
    assert brought.rows == len(given)
    page = text_of(client.get(reverse("import", args=[brought.pk])))
    assert "Nothing changes: everything in the file stands already" in page, re.findall(r"state bad.*?</tr>", page)
    assert f'Unchanged</span><span class="value">{len(given)}<' in page


def test_who_may_not_read_settings_gets_no_file_of_them_and_nobody_those_of_another_entity(
    client: Client, ada: User, us: LegalEntity
) -> None:
    other = world.entity("DE", "EUR")
    world.connection("theirs", "harvest", owner=other, is_source=True, settings={"contact": "de@firm.example"})
    world.connection("shared", "netsuite", is_target=True, settings={"client_id": "of-all"})
    world.connection("ours", "harvest", owner=us, is_source=True, settings={"contact": "us@firm.example"})
    found = exported(client, "import")
    assert "us@firm.example" in found
    assert "de@firm.example" not in found
    assert "of-all" not in found, "of a shared one only who may read it everywhere"
    client.force_login(world.user("mia", GrantRole.PROJECT_MANAGER, us))
    assert "us@firm.example" not in exported(client, "import")
